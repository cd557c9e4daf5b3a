// SPDX-License-Identifier: ISC
// What of the servers found becomes a gateway, which are one, and how they are called.
#include "import/source.h"
#include "base/netaddr.h"
#include "base/utf8.h"
#include "mail/address.h"

#include <stdio.h>

// ---- what can be carried over ----

static const char *clean_host(struct import *im, const char *host)
{
    struct net_addr ip;
    char ascii[LIMIT_DOMAIN + 1], text[NET_ADDR_TEXT];
    struct str h = str_trim(str_of(host));
    if (net_addr_parse_ip(h, &ip)) {
        net_addr_format_ip(&ip, text);
        return arena_strdup(im->arena, text);
    }
    if (h.len > 1 && h.ptr[h.len - 1] == '.')
        h.len--;
    if (!address_domain_to_ascii(h, ascii))
        return NULL;
    // What a url of the configuration takes (labels of letters, digits, - and _).
    size_t label = 0;
    for (const char *p = ascii; *p != '\0'; p++) {
        bool dot = *p == '.';
        if (dot ? label == 0 : !ascii_is_alnum(*p) && *p != '_' && (*p != '-' || label == 0))
            return NULL;
        label = dot ? 0 : label + 1;
        if (label > LIMIT_LABEL)
            return NULL;
    }
    return ascii[0] != '\0' ? arena_strdup(im->arena, ascii) : NULL;
}

static bool is_loopback(const char *host)
{
    struct net_addr ip;
    return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.localdomain") == 0 ||
           (net_addr_parse_ip(str_of(host), &ip) && net_addr_is_loopback(&ip));
}

static bool has_control(const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0))
            return true;
    }
    return false;
}

static void judge_tls(struct import *im, struct import_found *f)
{
    if (f->tls == IMPORT_TLS_UNSAID)
        f->tls = f->port == 465                      ? IMPORT_TLS_IMPLICIT
                 : f->user != NULL || f->port == 587 ? IMPORT_TLS_STARTTLS
                                                     : IMPORT_TLS_WANTED;
    if (f->user == NULL) {
        // Without a password at stake TLS is taken where it is offered.
        if (f->tls == IMPORT_TLS_OFF && !f->lmtp)
            f->tls = IMPORT_TLS_WANTED;
        return;
    }
    if (is_loopback(f->host)) {
        // A bridge beside us, with a certificate that it made itself.
        f->no_verify = f->tls != IMPORT_TLS_OFF;
        return;
    }
    if (f->tls == IMPORT_TLS_OFF) {
        found_remark(im, f,
                     "there the password went over the network without TLS; Waypost demands TLS. "
                     "Should the server have none: write smtp:// in the url, `tls: off` and "
                     "`auth_in_clear: true`");
        f->tls = IMPORT_TLS_STARTTLS;
    } else if (f->tls == IMPORT_TLS_WANTED) {
        f->tls = IMPORT_TLS_STARTTLS;
        found_remark(im, f, "there TLS was used only if offered; with a login Waypost demands it");
    }
}

static void judge_ca(struct import *im, struct import_found *f)
{
    static const char system[] = "/etc/ssl/certs/ca-certificates.crt";
    struct err err = {0};
    size_t len;
    if (f->ca == NULL || str_iends(str_of(f->ca), str_of(system))) {
        f->ca = NULL;
        return;
    }
    struct arena *arena = arena_new();
    bool there = im->files.read(im->files.ctx, arena, f->ca, &len, &err) != NULL;
    arena_free(&arena);
    if (there && utf8_valid(str_of(f->ca)) && !has_control(f->ca))
        return;
    found_remark(im, f, "its file of authorities cannot be read: %s", f->ca);
    f->ca = NULL;
}

static void judge_secret(struct import *im, struct import_found *f)
{
    if (f->secret == IMPORT_SECRET_CLEAR && has_control(f->password)) {
        explicit_bzero(f->password, strlen(f->password));
        f->secret = IMPORT_SECRET_NONE;
        f->password = NULL;
        found_remark(im, f, "the password there has a control character in it; look again at %s",
                     f->secret_file);
    }
    if (f->secret_command != NULL &&
        (has_control(f->secret_command) || !utf8_valid(str_of(f->secret_command)))) {
        found_remark(im, f,
                     "the command for the password has characters in it that have no place "
                     "in a configuration");
        f->secret = f->secret == IMPORT_SECRET_COMMAND ? IMPORT_SECRET_NONE : f->secret;
        f->secret_command = NULL;
    }
}

// Where the big providers make passwords for programs that know no OAuth2.
static const char *app_password(const char *host)
{
    static const struct {
        const char *tail, *where;
    } rows[] = {
        {"gmail.com", "make an app password (Google account, Security, 2-Step Verification)"},
        {"googlemail.com", "make an app password (Google account, Security, 2-Step Verification)"},
        {"yahoo.com", "make an app password (Yahoo account, Security)"},
        {"office365.com", "ask your administrator for SMTP AUTH with an app password, or for a "
                          "relay that takes this machine's address"},
        {"outlook.com", "this provider takes no passwords any more; use another account here"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_iends(str_of(host), str_of(rows[i].tail)))
            return rows[i].where;
    return "ask the provider for an app password";
}

static void judge(struct import *im, struct import_found *f)
{
    const char *host = clean_host(im, f->host);
    if (f->login == IMPORT_LOGIN_NONE)
        f->user = NULL;
    if (!has_text(str_of(f->host)))
        found_why_not(im, f, "no server is named there");
    else if (host == NULL)
        found_why_not(im, f, "its host is no good name or address");
    else
        f->host = host;
    if (f->user != NULL && has_control(f->user))
        found_why_not(im, f, "its user has a control character in it");
    if (f->login == IMPORT_LOGIN_OAUTH2)
        found_why_not(im, f,
                      "it logs in by OAuth2, which is not available in this version; %s, then "
                      "write the gateway with `password: !file ...`",
                      app_password(f->host));
    if (f->login == IMPORT_LOGIN_OTHER)
        found_why_not(im, f,
                      "it logs in by a certificate, Kerberos or NTLM, which Waypost does not do; "
                      "ask the provider for a password");
    if (f->port == 0)
        f->port = f->tls == IMPORT_TLS_IMPLICIT                      ? 465
                  : f->tls == IMPORT_TLS_STARTTLS || f->user != NULL ? 587
                                                                     : 25;
    if (is_loopback(f->host) && f->port == 25)
        found_why_not(im, f, "it is this machine's own port 25, where Waypost itself will listen");
    judge_tls(im, f);
    judge_ca(im, f);
    judge_secret(im, f);
}

// ---- which are one ----

static bool same(const struct import_found *a, const struct import_found *b)
{
    bool users =
        a->user == NULL || b->user == NULL ? a->user == b->user : strcmp(a->user, b->user) == 0;
    return users && a->port == b->port && a->lmtp == b->lmtp && strcasecmp(a->host, b->host) == 0;
}

static struct import_found *find_same(struct import *im, const struct import_found *f)
{
    for (struct import_found *o = im->found; o != f; o = o->next)
        if (o->same == NULL && (o->why_not == NULL) == (f->why_not == NULL) && same(o, f))
            return o;
    return NULL;
}

static void join_texts(struct import_text **list, struct import_text *more)
{
    for (struct import_text *next; more != NULL; more = next) {
        struct import_text **at = list;
        next = more->next;
        while (*at != NULL && !str_ieq(str_of((*at)->text), str_of(more->text)))
            at = &(*at)->next;
        if (*at != NULL)
            continue;
        more->next = NULL;
        *at = more;
    }
}

static void merge(struct import *im, struct import_found *to, struct import_found *from)
{
    struct import_place **end = &to->places;
    while (*end != NULL)
        end = &(*end)->next;
    *end = from->places;
    // Who sends everything that way needs no list of senders.
    to->is_default |= from->is_default;
    to->routed |= from->routed;
    join_texts(&to->senders, from->senders);
    join_texts(&to->remarks, from->remarks);
    if (to->secret == IMPORT_SECRET_CLEAR && from->secret == IMPORT_SECRET_CLEAR &&
        strcmp(to->password, from->password) != 0)
        found_remark(im, to, "the passwords in %s and %s differ; the first is taken",
                     to->secret_file, from->secret_file);
    if (from->secret > to->secret) {
        to->secret = from->secret;
        to->password = from->password;
        to->secret_file = from->secret_file;
        to->secret_line = from->secret_line;
        to->secret_command = from->secret_command;
        to->secret_where = from->secret_where;
        from->password = NULL;
    }
    if (to->tls != from->tls)
        to->tls = to->tls > from->tls ? to->tls : from->tls;
    to->no_verify &= from->no_verify;
    from->same = to;
}

// ---- names ----

static const struct {
    const char *tail, *name;
} providers[] = {
    {"gmail.com", "gmail"},
    {"googlemail.com", "gmail"},
    {"smtp-relay.gmail.com", "google-relay"},
    {"office365.com", "office365"},
    {"outlook.com", "outlook"},
    {"hotmail.com", "outlook"},
    {"yahoo.com", "yahoo"},
    {"mail.me.com", "icloud"},
    {"gmx.net", "gmx"},
    {"gmx.com", "gmx"},
    {"web.de", "web-de"},
    {"messagingengine.com", "fastmail"},
    {"fastmail.com", "fastmail"},
    {"amazonaws.com", "ses"},
    {"sendgrid.net", "sendgrid"},
    {"mailgun.org", "mailgun"},
    {"mailbox.org", "mailbox-org"},
    {"posteo.de", "posteo"},
    {"zoho.com", "zoho"},
    {"zoho.eu", "zoho"},
    {"mailjet.com", "mailjet"},
    {"postmarkapp.com", "postmark"},
    {"sendinblue.com", "brevo"},
    {"brevo.com", "brevo"},
    {"aol.com", "aol"},
    {"yandex.ru", "yandex"},
    {"yandex.com", "yandex"},
    {"t-online.de", "t-online"},
    {"ionos.de", "ionos"},
    {"ionos.com", "ionos"},
    {"strato.de", "strato"},
    {"orange.fr", "orange"},
    {"migadu.com", "migadu"},
    {"protonmail.ch", "proton"},
};

// Letters, digits and single dashes, at most 40 of them.
static const char *slug(struct import *im, struct str text)
{
    char out[41];
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < sizeof(out) - 1; i++) {
        char c = ascii_lower(text.ptr[i]);
        if (ascii_is_alnum(c))
            out[n++] = c;
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    return arena_str(im->arena, str_make(out, n));
}

// The host without the label that only says that it takes mail.
static const char *plain_name(struct import *im, const char *host)
{
    static const char *const labels[] = {
        "smtp",      "mail",     "relay", "mx",    "out",        "outgoing", "submission",
        "smtpout",   "send",     "smtps", "asmtp", "securesmtp", "mailout",  "smarthost",
        "smtp-mail", "mailhost", "email", "mta",   "outbound"};
    struct net_addr ip;
    struct str h = str_of(host);
    for (size_t i = sizeof(providers) / sizeof(providers[0]); i-- > 0;) {
        struct str tail = str_of(providers[i].tail);
        bool whole = h.len == tail.len || (h.len > tail.len && h.ptr[h.len - tail.len - 1] == '.');
        if (whole && str_iends(h, tail))
            return providers[i].name;
    }
    if (is_loopback(host))
        return "local";
    if (net_addr_parse_ip(h, &ip))
        return arena_printf(im->arena, "ip-%s", slug(im, h));
    size_t dot = str_find(h, '.');
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        struct str rest = str_after(h, dot + 1);
        if (str_is(str_make(h.ptr, dot), labels[i]) && str_find(rest, '.') < rest.len)
            return slug(im, rest);
    }
    return slug(im, h);
}

static bool taken(struct import *im, const struct import_found *f, const char *name)
{
    if (name[0] == '\0' || strcmp(name, "direct") == 0)
        return true;
    for (struct import_found *o = im->found; o != f; o = o->next)
        if (o->name != NULL && strcmp(o->name, name) == 0)
            return true;
    return false;
}

// example-org, then example-org-alice, then example-org-2.
static const char *give_name(struct import *im, const struct import_found *f)
{
    const char *base = plain_name(im, f->host), *name = base;
    if (base[0] == '\0')
        base = "gateway";
    if (taken(im, f, name) && f->user != NULL) {
        struct str user = str_of(f->user);
        user.len = str_find(user, '@');
        name = slug(im, str_of(arena_printf(im->arena, "%s %.*s", base, STR_FMT(user))));
    }
    for (unsigned i = 2; taken(im, f, name); i++)
        name = arena_printf(im->arena, "%s-%u", base, i);
    return name;
}

size_t import_settle(struct import *im)
{
    size_t count = 0;
    for (struct import_found *f = im->found; f != NULL; f = f->next) {
        judge(im, f);
        struct import_found *twin = find_same(im, f);
        if (twin != NULL)
            merge(im, twin, f);
        else if (f->why_not == NULL)
            f->name = give_name(im, f);
        count += f->name != NULL;
    }
    return count;
}
