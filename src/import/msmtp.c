// SPDX-License-Identifier: ISC
// msmtp(1): accounts that take over from others, and ~/.netrc.
#include "import/source.h"

struct account {
    struct account *next;
    const char *name, *file;
    unsigned line, password_line;
    struct str host, port, from, user, password, passwordeval, auth, protocol, trust, socket;
    bool tls, starttls, certcheck;
};

struct state {
    struct import *im;
    struct account *accounts;
    struct account defaults, *now; // NULL: `defaults`
    unsigned count;
};

static struct account *find(struct state *s, struct str name)
{
    for (struct account *a = s->accounts; a != NULL; a = a->next)
        if (str_eq(str_of(a->name), name))
            return a;
    return NULL;
}

// `account NAME [: OTHER[,...]]`
static void begin_account(struct state *s, struct text *t, struct str value)
{
    struct str name, others = value, other;
    str_split(&others, ':', &name);
    name = str_trim(name);
    struct account *a = arena_alloc(s->im->arena, sizeof(*a));
    *a = s->defaults;
    for (unsigned n = 0; n < LIMIT_IMPORT_TEXTS && str_split(&others, ',', &other); n++) {
        struct account *from = find(s, str_trim(other));
        if (from == NULL) {
            import_note(s->im, t->file, t->line, "it takes over from an account that is not there");
            continue;
        }
        *a = *from;
    }
    a->next = s->accounts;
    a->name = arena_str(s->im->arena, name);
    a->file = t->file;
    a->line = t->line;
    s->now = a;
    if (s->count++ < LIMIT_IMPORT_ROUTES)
        s->accounts = a;
}

static bool is_on(struct str value)
{
    return value.len == 0 || str_is(value, "on");
}

static void set(struct state *s, struct text *t, struct str key, struct str value)
{
    struct account *a = s->now != NULL ? s->now : &s->defaults;
    const struct {
        const char *key;
        struct str *value;
    } rows[] = {{"host", &a->host},         {"port", &a->port},
                {"from", &a->from},         {"user", &a->user},
                {"password", &a->password}, {"passwordeval", &a->passwordeval},
                {"auth", &a->auth},         {"protocol", &a->protocol},
                {"socket", &a->socket},     {"tls_trust_file", &a->trust}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_is(key, rows[i].key))
            *rows[i].value = value;
    if (str_is(key, "password"))
        a->password_line = t->line;
    else if (str_is(key, "tls"))
        a->tls = is_on(value);
    else if (str_is(key, "tls_starttls"))
        a->starttls = is_on(value);
    else if (str_is(key, "tls_certcheck"))
        a->certcheck = is_on(value);
    else if (str_is(key, "account"))
        begin_account(s, t, value);
    else if (str_is(key, "defaults"))
        s->now = NULL;
    else if (str_is(key, "eval"))
        import_note(s->im, t->file, t->line, "what the command of `eval` says was not asked for");
}

// The password of ~/.netrc for a host and user.
static void ask_netrc(struct import *im, struct import_found *f)
{
    struct text t;
    struct str line, word, password = {0};
    bool host = false, user = false;
    unsigned at = 0;
    if (im->home == NULL || !text_open(im, &t, home_path(im, ".netrc")))
        return;
    const char *want = NULL;
    while (text_next(&t, &line)) {
        while (word_next(im, &line, WORD_HASH | WORD_ESCAPE, &word)) {
            if (want == NULL && (str_eq(word, STR("machine")) || str_eq(word, STR("default")))) {
                if (host && user && password.len > 0)
                    break;
                host = str_eq(word, STR("default"));
                user = host;
                password.len = 0;
                want = host ? NULL : "machine";
            } else if (want == NULL) {
                want = str_eq(word, STR("login"))      ? "login"
                       : str_eq(word, STR("password")) ? "password"
                                                       : NULL;
            } else {
                if (want[0] == 'm')
                    host = str_is(word, f->host);
                else if (want[0] == 'l')
                    user = f->user != NULL && str_eq(word, str_of(f->user));
                else {
                    password = word;
                    at = t.line;
                }
                want = NULL;
            }
        }
        if (host && user && password.len > 0 && want == NULL) {
            found_password(im, f, password, t.file, at);
            return;
        }
    }
}

// A word of a shell's command as it is.
static bool is_plain(const char *word)
{
    for (const char *c = word; *c != '\0'; c++)
        if (!ascii_is_alnum(*c) && strchr("@._+-:", *c) == NULL)
            return false;
    return word[0] != '\0' && word[0] != '-';
}

static void secret_of(struct import *im, const struct account *a, struct import_found *f)
{
    found_password(im, f, a->password, a->file, a->password_line);
    found_command(im, f, a->passwordeval);
    if (f->secret == IMPORT_SECRET_NONE)
        ask_netrc(im, f);
    if (f->secret == IMPORT_SECRET_NONE && f->user != NULL)
        found_keyring(im, f,
                      is_plain(f->host) && is_plain(f->user)
                          ? arena_printf(im->arena,
                                         "secret-tool lookup host %s service smtp user %s", f->host,
                                         f->user)
                          : NULL,
                      "not in the files of msmtp, so perhaps in the desktop's keyring");
}

static void emit(struct state *s, const struct account *a)
{
    struct import *im = s->im;
    if (a->host.len == 0 && a->socket.len == 0)
        return;
    struct import_found *f = found_add(im, a->file, a->line, str_of(a->name));
    if (f == NULL)
        return;
    f->tls = !a->tls ? IMPORT_TLS_OFF : a->starttls ? IMPORT_TLS_STARTTLS : IMPORT_TLS_IMPLICIT;
    f->lmtp = str_is(a->protocol, "lmtp");
    found_host(im, f, a->host, f->tls == IMPORT_TLS_IMPLICIT ? 465 : f->lmtp ? 24 : 25);
    found_port(f, a->port);
    f->is_default = strcmp(a->name, "default") == 0;
    f->no_verify = a->tls && !a->certcheck;
    if (a->trust.len > 0 && !str_eq(a->trust, STR("system")))
        f->ca = named_path(im, im->home != NULL ? im->home : "/etc", a->trust);
    found_senders(im, f, a->from);
    if (a->host.len == 0)
        found_why_not(im, f, "it is a socket in the file system; write `smtp+unix:///path`");
    bool auth = a->auth.len > 0 && !str_is(a->auth, "off");
    if (!auth)
        return;
    found_user(im, f, a->user);
    if (str_is(a->auth, "oauthbearer") || str_is(a->auth, "xoauth2"))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_is(a->auth, "external") || str_is(a->auth, "gssapi") || str_is(a->auth, "ntlm"))
        f->login = IMPORT_LOGIN_OTHER;
    secret_of(im, a, f);
}

static void emit_all(struct state *s)
{
    struct account *list = NULL;
    // They were kept newest first.
    for (struct account *a = s->accounts, *next; a != NULL; a = next) {
        next = a->next;
        a->next = list;
        list = a;
    }
    // `account default : work` is a copy of `work`, and merged with it in the end.
    for (struct account *a = list; a != NULL; a = a->next)
        emit(s, a);
}

static void read_file(struct import *im, const char *path)
{
    struct state s = {.im = im, .defaults = {.starttls = true, .certcheck = true}};
    struct text t;
    struct str line;
    if (!text_open(im, &t, path))
        return;
    while (text_next(&t, &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        size_t end = 0;
        while (end < line.len && line.ptr[end] != ' ' && line.ptr[end] != '\t')
            end++;
        struct str value = str_trim(str_after(line, end));
        // The quotes around it are all the quoting there is.
        if (value.len > 1 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = str_make(value.ptr + 1, value.len - 2);
        set(&s, &t, str_make(line.ptr, end), value);
    }
    emit_all(&s);
}

void msmtp_home(struct import *im)
{
    read_file(im, home_path(im, ".msmtprc"));
    read_file(im, home_path(im, ".config/msmtp/config"));
}

void msmtp_etc(struct import *im)
{
    im->home = NULL;
    read_file(im, etc_path(im, "/etc/msmtprc"));
}
