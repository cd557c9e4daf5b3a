// SPDX-License-Identifier: ISC
// git send-email: [sendemail], [sendemail "identity"], and the files that include.path names.
#include "import/source.h"

struct values {
    struct str server, port, user, password, encryption, auth, from, verify;
    const char *file, *password_file;
    unsigned line, password_line;
};

struct identity {
    struct identity *next;
    struct str name;
    struct values own;
};

struct state {
    struct import *im;
    struct values base;
    struct identity *identities;
    struct str email;  // user.email
    struct str chosen; // sendemail.identity
    bool helper;
};

static struct values *values_of(struct state *s, struct str identity)
{
    if (identity.len == 0)
        return &s->base;
    size_t count = 0;
    struct identity **end = &s->identities;
    for (; *end != NULL; end = &(*end)->next, count++)
        if (str_eq((*end)->name, identity))
            return &(*end)->own;
    if (count >= LIMIT_IMPORT_FOUND)
        return &s->base;
    struct identity *i = arena_alloc(s->im->arena, sizeof(*i));
    i->name = identity;
    *end = i;
    return &i->own;
}

static void set(struct state *s, const struct ini *ini, const struct ini_entry *e,
                struct str identity)
{
    struct values *v = values_of(s, identity);
    const struct {
        const char *key;
        struct str *value;
    } rows[] = {
        {"smtpserver", &v->server}, {"smtpserverport", &v->port},       {"smtpuser", &v->user},
        {"smtppass", &v->password}, {"smtpencryption", &v->encryption}, {"smtpauth", &v->auth},
        {"from", &v->from},         {"smtpsslcertpath", &v->verify}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_is(e->key, rows[i].key))
            *rows[i].value = e->value;
    if (str_is(e->key, "smtppass")) {
        v->password_file = ini->text.file;
        v->password_line = e->line;
    } else if (str_is(e->key, "smtpserver") || v->line == 0) {
        v->file = ini->text.file;
        v->line = e->line;
    }
    if (str_is(e->key, "identity") && identity.len == 0)
        s->chosen = e->value;
    if (str_is(e->key, "smtpssl") && is_yes(e->value))
        v->encryption = STR("ssl");
}

static void read_file(struct state *s, const char *path, unsigned depth);

static void include(struct state *s, const struct ini *ini, struct str path, unsigned depth)
{
    if (depth >= LIMIT_IMPORT_DEPTH) {
        import_note(s->im, ini->text.file, ini->text.line, "files that include files, too deep");
        return;
    }
    read_file(s, named_path(s->im, dir_of(s->im, ini->text.file), path), depth + 1);
}

// `sendemail "work"` is a section and what it is about.
static bool section_is(struct import *im, struct str section, const char *name, struct str *sub)
{
    size_t len = strlen(name);
    if (!str_istarts(section, str_of(name)))
        return false;
    struct str rest = str_after(section, len);
    *sub = STR("");
    if (rest.len == 0)
        return true;
    if (rest.ptr[0] == '.') // the old form
        *sub = str_after(rest, 1);
    else if (rest.ptr[0] == ' ' || rest.ptr[0] == '\t')
        *sub = unquote(im, str_trim(rest));
    else
        return false;
    return true;
}

static void read_file(struct state *s, const char *path, unsigned depth)
{
    struct ini ini;
    struct ini_entry e;
    struct str sub;
    if (!ini_open(s->im, &ini, path, INI_GIT))
        return;
    while (ini_next(&ini, &e)) {
        if (section_is(s->im, e.section, "sendemail", &sub))
            set(s, &ini, &e, sub);
        else if (section_is(s->im, e.section, "user", &sub) && str_is(e.key, "email"))
            s->email = e.value;
        else if (section_is(s->im, e.section, "credential", &sub) && str_is(e.key, "helper"))
            s->helper |= e.value.len > 0;
        else if (section_is(s->im, e.section, "include", &sub) && str_is(e.key, "path"))
            include(s, &ini, e.value, depth);
        else if (section_is(s->im, e.section, "includeIf", &sub) && str_is(e.key, "path"))
            import_note(s->im, ini.text.file, e.line,
                        "a file included for some repositories only was left alone; to read it: "
                        "waypost import --from git with a $HOME that includes it always");
    }
}

static struct str or_else(struct str own, struct str base)
{
    return own.ptr != NULL ? own : base;
}

static void secret_of(struct state *s, const struct values *v, struct import_found *f)
{
    struct import *im = s->im;
    found_password(im, f, v->password, v->password_file, v->password_line);
    if (f->secret != IMPORT_SECRET_NONE || f->user == NULL)
        return;
    // As git-credential(1) is asked by git send-email.
    bool plain = strpbrk(f->user, "'\\\"%$`") == NULL && strpbrk(f->host, "'\\\"%$`") == NULL;
    if (s->helper && plain)
        found_keyring(im, f,
                      arena_printf(im->arena,
                                   "printf 'protocol=smtp\\nhost=%s:%u\\nusername=%s\\n\\n' | git "
                                   "credential fill | sed -n 's/^password=//p'",
                                   f->host, f->port, f->user),
                      "git's credential helper");
}

static void emit(struct state *s, const struct values *own, struct str name)
{
    struct import *im = s->im;
    const struct values *b = &s->base;
    struct values v = {
        .server = or_else(own->server, b->server),
        .port = or_else(own->port, b->port),
        .user = or_else(own->user, b->user),
        .password = or_else(own->password, b->password),
        .encryption = or_else(own->encryption, b->encryption),
        .auth = or_else(own->auth, b->auth),
        .from = or_else(own->from, b->from),
        .verify = or_else(own->verify, b->verify),
        .file = own->file,
        .line = own->line,
        .password_file = own->password.ptr != NULL ? own->password_file : b->password_file,
        .password_line = own->password.ptr != NULL ? own->password_line : b->password_line,
    };
    // An absolute path is a program, such as msmtp, which is read by itself.
    if (v.server.len == 0 || v.server.ptr[0] == '/' || v.server.ptr[0] == '~')
        return;
    struct import_found *f = found_add(im, v.file, v.line, name);
    if (f == NULL)
        return;
    f->tls = str_is(v.encryption, "ssl")   ? IMPORT_TLS_IMPLICIT
             : str_is(v.encryption, "tls") ? IMPORT_TLS_STARTTLS
                                           : IMPORT_TLS_OFF;
    found_host(im, f, v.server, f->tls == IMPORT_TLS_IMPLICIT ? 465 : 25);
    found_port(f, v.port);
    f->no_verify = v.verify.ptr != NULL && v.verify.len == 0;
    f->is_default = s->chosen.len > 0 ? str_eq(s->chosen, name) : name.len == 0;
    if (!str_is(v.auth, "none"))
        found_user(im, f, v.user);
    if (str_is(v.auth, "XOAUTH2") || str_is(v.auth, "OAUTHBEARER"))
        f->login = IMPORT_LOGIN_OAUTH2;
    found_senders(im, f, v.from.len > 0 ? v.from : s->email);
    secret_of(s, &v, f);
}

static void emit_all(struct state *s)
{
    emit(s, &s->base, STR(""));
    for (struct identity *i = s->identities; i != NULL; i = i->next)
        emit(s, &i->own, i->name);
}

void git_home(struct import *im)
{
    struct state s = {.im = im};
    read_file(&s, home_path(im, ".config/git/config"), 0);
    read_file(&s, home_path(im, ".gitconfig"), 0);
    emit_all(&s);
}

void git_etc(struct import *im)
{
    struct state s = {.im = im};
    im->home = NULL;
    read_file(&s, etc_path(im, "/etc/gitconfig"), 0);
    emit_all(&s);
}
