// SPDX-License-Identifier: ISC
// Postfix as a sender: relayhost, the relays of senders, passwords and transports. Tables are read
// from their source texts; binary and networked ones are only named.
//
// A next hop is [host]:port, or host:port, whose MX Postfix would look up.
#include "import/source.h"

struct param {
    struct param *next;
    struct str name, value;
    unsigned line;
};

struct row { // of a table
    struct row *next;
    struct str key, value;
    const char *file;
    unsigned line;
};

struct state {
    struct import *im;
    const char *file; // main.cf
    struct map *params;
    struct row *passwords, *transports, *relays;
    bool by_sender; // passwords by sender
    unsigned expansions;
};

enum { EXPANSIONS = 1000 }; // of one value: they may name each other in a circle

static const struct param *param(struct state *s, const char *name)
{
    return map_get(s->params, str_of(name));
}

// $name, ${name}, $(name), ${name?text}, ${name:text}; what Postfix has built in is not known here.
static void expand(struct state *s, struct str in, struct buf *out, unsigned depth)
{
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] != '$' || i + 1 == in.len) {
            buf_putc(out, in.ptr[i]);
            continue;
        }
        char open = in.ptr[++i];
        struct str name;
        if (open == '{' || open == '(') {
            size_t end = str_find(str_after(in, i + 1), open == '{' ? '}' : ')');
            name = str_make(in.ptr + i + 1, end);
            i += end + 1;
        } else if (open == '$') {
            buf_putc(out, '$');
            continue;
        } else {
            size_t end = i;
            while (end < in.len && (ascii_is_alnum(in.ptr[end]) || in.ptr[end] == '_'))
                end++;
            name = str_make(in.ptr + i, end - i);
            i = end - 1;
        }
        size_t end = 0;
        while (end < name.len && name.ptr[end] != '?' && name.ptr[end] != ':')
            end++;
        struct str other = str_after(name, end + 1);
        char sign = end < name.len ? name.ptr[end] : 0;
        const struct param *p = map_get(s->params, str_trim(str_make(name.ptr, end)));
        bool set = p != NULL && p->value.len > 0;
        if (depth < LIMIT_IMPORT_DEPTH && s->expansions++ < EXPANSIONS &&
            (sign == 0 ? set : (sign == '?') == set))
            expand(s, sign == 0 ? p->value : other, out, depth + 1);
    }
}

static struct str value(struct state *s, const char *name)
{
    const struct param *p = param(s, name);
    if (p == NULL || memchr(p->value.ptr, '$', p->value.len) == NULL)
        return p != NULL ? p->value : STR("");
    struct buf out;
    buf_init(&out, 64 * 1024);
    s->expansions = 0;
    expand(s, p->value, &out, 0);
    struct str v = arena_dup(s->im->arena, buf_str(&out));
    buf_free(&out);
    return str_trim(v);
}

static bool read_main(struct state *s)
{
    struct text t;
    struct str line, name;
    s->file = etc_path(s->im, "/etc/postfix/main.cf");
    if (!text_open(s->im, &t, s->file))
        return false;
    for (unsigned n = 0; n < 10000 && text_next_folded(&t, &line); n++) {
        size_t equals = str_find(line, '=');
        if (equals == line.len)
            continue;
        name = str_trim(str_make(line.ptr, equals));
        struct param *p = arena_alloc(s->im->arena, sizeof(*p));
        *p = (struct param){
            .name = name, .value = str_trim(str_after(line, equals + 1)), .line = t.line};
        map_put(s->params, p->name, p);
    }
    return true;
}

// ---- tables ----

static void table_row(struct state *s, struct row ***end, struct str key, struct str v,
                      const char *file, unsigned line)
{
    struct row *r = arena_alloc(s->im->arena, sizeof(*r));
    *r = (struct row){.key = key, .value = v, .file = file, .line = line};
    **end = r;
    *end = &r->next;
}

static void read_table_file(struct state *s, struct row ***end, struct str path)
{
    struct text t;
    struct str line, key;
    if (!text_open_named(s->im, &t, named_path(s->im, etc_path(s->im, "/etc/postfix"), path)))
        return;
    for (unsigned n = 0; n < LIMIT_IMPORT_ROUTES && text_next_folded(&t, &line); n++) {
        line = str_trim(line);
        size_t cut = 0;
        while (cut < line.len && line.ptr[cut] != ' ' && line.ptr[cut] != '\t')
            cut++;
        key = str_make(line.ptr, cut);
        table_row(s, end, key, str_trim(str_after(line, cut)), t.file, t.line);
    }
}

// inline:{key=value, {key=value}}
static void read_inline(struct state *s, struct row ***end, struct str body, unsigned line)
{
    struct str item, key;
    body = str_trim(body);
    if (body.len > 1 && body.ptr[0] == '{')
        body = str_make(body.ptr + 1, body.len - 2);
    while (str_split(&body, ',', &item)) {
        item = str_trim(item);
        if (item.len > 1 && item.ptr[0] == '{')
            item = str_trim(str_make(item.ptr + 1, item.len - 2));
        if (str_split(&item, '=', &key))
            table_row(s, end, str_trim(key), str_trim(item), s->file, line);
    }
}

static struct row *read_tables(struct state *s, const char *name)
{
    static const char *const texts[] = {"hash", "btree", "texthash", "lmdb", "cdb", "dbm", "sdbm"};
    struct row *first = NULL, **end = &first;
    const struct param *p = param(s, name);
    struct str rest = value(s, name), type;
    while (has_text(rest)) {
        rest = str_trim(rest);
        size_t cut = 0;
        for (unsigned braces = 0; cut < rest.len; cut++) {
            char c = rest.ptr[cut];
            braces += c == '{';
            braces -= c == '}' && braces > 0;
            if (braces == 0 && (c == ',' || c == ' ' || c == '\t'))
                break;
        }
        struct str one = str_make(rest.ptr, cut);
        rest = str_after(rest, cut + 1);
        if (one.len == 0 || !str_split(&one, ':', &type))
            continue;
        if (str_starts(one, STR("proxy:")))
            one = str_after(one, 6);
        bool known = false;
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
            known |= str_is(type, texts[i]);
        if (known)
            read_table_file(s, &end, one);
        else if (str_is(type, "static"))
            table_row(s, &end, STR("*"), one, s->file, p->line);
        else if (str_is(type, "inline"))
            read_inline(s, &end, one, p->line);
        else
            import_note(s->im, s->file, p->line, "%s is of a kind that is not read here: %.*s",
                        name, STR_FMT(type));
    }
    return first;
}

static const struct row *look_up(const struct row *table, struct str key)
{
    for (const struct row *r = table; r != NULL; r = r->next)
        if (str_ieq(r->key, key) || str_eq(r->key, STR("*")))
            return r;
    return NULL;
}

// ---- servers ----

static void set_tls(struct state *s, struct import_found *f)
{
    struct str level = value(s, "smtp_tls_security_level");
    bool may = str_is(level, "may") || is_yes(value(s, "smtp_use_tls"));
    bool must = is_yes(value(s, "smtp_enforce_tls"));
    bool checks = str_is(level, "verify") || str_is(level, "secure");
    if (level.len > 0)
        must = !may && !str_is(level, "none");
    if (is_yes(value(s, "smtp_tls_wrappermode")))
        f->tls = IMPORT_TLS_IMPLICIT;
    else
        f->tls = must ? IMPORT_TLS_STARTTLS : may ? IMPORT_TLS_WANTED : IMPORT_TLS_OFF;
    f->no_verify = must && level.len > 0 && !checks && !str_is(level, "fingerprint") &&
                   !str_istarts(level, STR("dane"));
    struct str ca = value(s, "smtp_tls_CAfile");
    if (checks && ca.len > 0)
        f->ca = named_path(s->im, "/etc/postfix", ca);
}

static void set_login(struct state *s, struct import_found *f, struct str hop, struct str sender)
{
    const struct row *r = NULL;
    struct str host, user;
    uint16_t port;
    if (!is_yes(value(s, "smtp_sasl_auth_enable")))
        return;
    if (s->by_sender && sender.len > 0)
        r = look_up(s->passwords, sender);
    if (r == NULL)
        r = look_up(s->passwords, hop);
    if (r == NULL && host_port(hop, &host, &port))
        r = look_up(s->passwords, host);
    if (r == NULL)
        return;
    struct str password = r->value;
    str_split(&password, ':', &user);
    found_user(s->im, f, user);
    found_password(s->im, f, password, r->file, r->line);
    // With a login the certificate is worth checking, whatever Postfix does.
    if (f->user != NULL && f->no_verify) {
        f->no_verify = false;
        found_remark(s->im, f,
                     "Postfix does not check its certificate; Waypost does (`verify: false` "
                     "turns it off)");
    }
}

// What `smtp:[host]:port` says behind its transport.
static struct import_found *add_hop(struct state *s, struct str hop, struct str sender,
                                    const char *file, unsigned line, const char *what)
{
    struct import_found *f = found_add(s->im, file, line, str_of(what));
    if (f == NULL)
        return NULL;
    found_host(s->im, f, hop, 25);
    set_tls(s, f);
    set_login(s, f, hop, sender);
    if (hop.len > 0 && hop.ptr[0] != '[')
        found_remark(s->im, f,
                     "without brackets Postfix looks up the MX of %s; Waypost connects to it "
                     "directly. Where they differ: put the MX's name into the url",
                     f->host);
    return f;
}

// transport:nexthop → the hop; false when it is no SMTP to some server.
static bool smtp_hop(struct str text, struct str *hop_out)
{
    struct str rest = text, transport;
    if (text.len == 0 || text.ptr[0] == '[' || str_find(text, ':') == text.len)
        return false;
    str_split(&rest, ':', &transport);
    *hop_out = str_trim(rest);
    return str_eq(transport, STR("smtp")) || str_eq(transport, STR("relay")) || transport.len == 0;
}

static void relayhost(struct state *s)
{
    const struct param *p = param(s, "relayhost");
    struct str hop = value(s, "relayhost"), rest;
    if (hop.len == 0) {
        p = param(s, "default_transport");
        if (p == NULL || !smtp_hop(value(s, "default_transport"), &hop) || hop.len == 0) {
            s->im->direct = s->relays != NULL || s->transports != NULL;
            return;
        }
    }
    // Since Postfix 3.5 a list, tried in order.
    rest = hop;
    for (unsigned n = 0; n < LIMIT_IMPORT_TEXTS && has_text(rest); n++) {
        size_t cut = 0;
        rest = str_trim(rest);
        while (cut < rest.len && strchr(", \t", rest.ptr[cut]) == NULL)
            cut++;
        struct str one = str_make(rest.ptr, cut);
        rest = str_after(rest, cut + 1);
        if (one.len == 0)
            continue;
        struct import_found *f = add_hop(s, one, STR(""), s->file, p->line, "relayhost");
        if (f == NULL)
            return;
        f->is_default = true;
    }
}

static void sender_relays(struct state *s)
{
    struct str hop;
    for (const struct row *r = s->relays; r != NULL; r = r->next) {
        bool direct = str_is(r->value, "DUNNO");
        if (direct || r->value.len == 0)
            continue;
        hop = r->value;
        smtp_hop(r->value, &hop);
        struct import_found *f = add_hop(s, hop, r->key, r->file, r->line, "a sender's relay");
        if (f == NULL)
            return;
        if (str_eq(r->key, STR("*")))
            f->is_default = true;
        else
            found_senders(s->im, f, r->key);
        if (!f->is_default && f->senders == NULL)
            import_note(s->im, r->file, r->line, "this key is no address and no @domain");
    }
}

// example.org, .example.org, user@example.org, * as globs of recipients.
static const char *recipients(struct import *im, struct str key)
{
    const char *text = arena_str(im->arena, key);
    if (memchr(key.ptr, '@', key.len) != NULL)
        return key.ptr[0] == '@' ? arena_printf(im->arena, "*%s", text) : text;
    if (str_eq(key, STR("*")))
        return "*";
    return key.ptr[0] == '.' ? arena_printf(im->arena, "*@*%s", text)
                             : arena_printf(im->arena, "*@%s", text);
}

static void transports(struct state *s)
{
    struct str hop;
    for (const struct row *r = s->transports; r != NULL; r = r->next) {
        struct import_found *f = NULL;
        if (r->key.len == 0 || !smtp_hop(r->value, &hop)) {
            import_note(s->im, r->file, r->line,
                        "mail to this goes by a transport that is not SMTP; deliver it by another "
                        "program and write a route to that one's port");
            continue;
        }
        // `:` alone says nothing; `smtp:` is the recipient's own server.
        if (hop.len == 0 && r->value.ptr[0] == ':')
            continue;
        if (hop.len > 0 && (f = add_hop(s, hop, STR(""), r->file, r->line, "transport")) == NULL)
            return;
        route_add(s->im, recipients(s->im, r->key), NULL, f, r->file, r->line);
    }
}

void postfix_etc(struct import *im)
{
    struct state s = {.im = im, .params = map_new()};
    if (read_main(&s)) {
        if (param(&s, "smtp_tls_policy_maps") != NULL)
            import_note(im, s.file, param(&s, "smtp_tls_policy_maps")->line,
                        "what smtp_tls_policy_maps says of single servers is not read; look at "
                        "their `tls`");
        s.by_sender = is_yes(value(&s, "smtp_sender_dependent_authentication"));
        s.passwords = read_tables(&s, "smtp_sasl_password_maps");
        s.transports = read_tables(&s, "transport_maps");
        s.relays = read_tables(&s, "sender_dependent_relayhost_maps");
        relayhost(&s);
        sender_relays(&s);
        transports(&s);
    }
    map_free(&s.params);
}
