// SPDX-License-Identifier: ISC
// s-nail(1) and Heirloom mailx: `set smtp=` or `set mta=`, in the open or in an `account` block.
#include "import/source.h"

struct values {
    struct str server, user, password, from, auth;
    bool starttls;
    const char *file, *password_file;
    unsigned line, password_line;
};

struct state {
    struct import *im;
    struct values open, block;
    struct str account; // ptr NULL: in the open
};

enum { FLAGS = WORD_HASH | WORD_ESCAPE | WORD_SINGLE };

static void emit(struct state *s, const struct values *v)
{
    struct import *im = s->im;
    struct mail_url url;
    if (v->server.len == 0)
        return;
    bool is_url = mail_url(im, v->server, &url);
    // A path is a program.
    if (!is_url && (v->server.ptr[0] == '/' || str_istarts(v->server, STR("file:"))))
        return;
    if (!is_url) {
        url = (struct mail_url){.scheme = STR("smtp")};
        if (!host_port(v->server, &url.host, &url.port))
            return;
    }
    if (!str_istarts(url.scheme, STR("smtp")) && !str_istarts(url.scheme, STR("submission")))
        return;
    struct import_found *f =
        found_add(im, v->file, v->line, s->account.ptr != NULL ? s->account : STR(""));
    if (f == NULL)
        return;
    bool submission = str_istarts(url.scheme, STR("submission"));
    bool implicit = str_is(url.scheme, "smtps") || str_is(url.scheme, "submissions");
    f->tls = implicit ? IMPORT_TLS_IMPLICIT : v->starttls ? IMPORT_TLS_STARTTLS : IMPORT_TLS_OFF;
    f->host = arena_str(im->arena, url.host);
    f->port = url.port != 0 ? url.port : implicit ? 465 : submission ? 587 : 25;
    f->is_default = s->account.ptr == NULL;
    found_user(im, f, url.user.len > 0 ? url.user : v->user);
    found_password(im, f, url.password, v->file, v->line);
    found_password(im, f, v->password, v->password_file, v->password_line);
    found_senders(im, f, v->from);
    if (str_is(v->auth, "none"))
        f->login = IMPORT_LOGIN_NONE;
    else if (str_is(v->auth, "oauthbearer") || str_is(v->auth, "xoauth2"))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_is(v->auth, "gssapi") || str_is(v->auth, "external"))
        f->login = IMPORT_LOGIN_OTHER;
}

// Of smtp-auth-user-ME@HOST only the front counts: it is for this block's server nearly always.
static bool key_is(struct str key, const char *name)
{
    return str_is(key, name) || (str_istarts(key, str_of(name)) && key.len > strlen(name) &&
                                 key.ptr[strlen(name)] == '-');
}

static void set(struct state *s, struct text *t, struct str key, struct str value)
{
    struct values *v = s->account.ptr != NULL ? &s->block : &s->open;
    if (str_is(key, "smtp") || str_is(key, "mta")) {
        v->server = value;
        v->file = t->file;
        v->line = t->line;
    } else if (key_is(key, "smtp-auth-password") || key_is(key, "password")) {
        v->password = value;
        v->password_file = t->file;
        v->password_line = t->line;
    } else if (key_is(key, "smtp-auth-user") || str_is(key, "user")) {
        v->user = value;
    } else if (key_is(key, "smtp-use-starttls")) {
        v->starttls = true;
    } else if (key_is(key, "smtp-auth") || key_is(key, "smtp-config")) {
        v->auth = value;
    } else if (str_is(key, "from")) {
        v->from = value;
    }
}

static void read_set(struct state *s, struct text *t, struct str line)
{
    struct str word, key;
    while (word_next(s->im, &line, FLAGS, &word)) {
        struct str value = word;
        str_split(&value, '=', &key);
        set(s, t, key, value);
    }
}

static void read_file(struct state *s, const char *path, unsigned depth)
{
    struct text t;
    struct str line, word, name;
    if (depth > 0 ? !text_open_named(s->im, &t, path) : !text_open(s->im, &t, path))
        return;
    while (text_next_joined(&t, &line)) {
        if (!word_next(s->im, &line, FLAGS, &word))
            continue;
        if (str_eq(word, STR("set"))) {
            read_set(s, &t, line);
        } else if (str_eq(word, STR("account")) && word_next(s->im, &line, FLAGS, &name)) {
            s->account = name;
            s->block = s->open;
            s->block.server.len = 0;
        } else if (str_eq(word, STR("}")) && s->account.ptr != NULL) {
            emit(s, &s->block);
            s->account.ptr = NULL;
        } else if (str_eq(word, STR("source")) && word_next(s->im, &line, FLAGS, &name)) {
            if (depth < LIMIT_IMPORT_DEPTH)
                read_file(s, named_path(s->im, dir_of(s->im, path), name), depth + 1);
            else
                import_note(s->im, t.file, t.line, "files that source files, too deep");
        }
    }
}

static void read_all(struct import *im, const char *path)
{
    struct state s = {.im = im};
    read_file(&s, path, 0);
    s.account.ptr = NULL;
    emit(&s, &s.open);
}

void mailx_home(struct import *im)
{
    read_all(im, home_path(im, ".mailrc"));
}

void mailx_etc(struct import *im)
{
    static const char *const paths[] = {"/etc/s-nail.rc", "/etc/mail.rc", "/etc/nail.rc"};
    im->home = NULL;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        read_all(im, etc_path(im, paths[i]));
}
