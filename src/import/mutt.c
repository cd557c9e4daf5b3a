// SPDX-License-Identifier: ISC
// mutt(1) and neomutt(1): `set`, `source`, hooks and macros that source. Commands are never run;
// a password by `command` becomes that command.
//
// Each hook sees a copy of the variables; a server that it sets is one of its own.
#include "import/source.h"

struct variable {
    struct variable *next;
    struct str name, value;
    bool command; // it stood in backticks
    const char *file;
    unsigned line;
};

struct state {
    struct import *im;
    struct variable *variables; // the newest first
    unsigned settings;
    const char *mode; // the account of a hook; NULL: none
};

enum {
    FLAGS = WORD_HASH | WORD_ESCAPE | WORD_SINGLE | WORD_SEMICOLON,
    VARIABLES = 5000,
    EXPANDED = 4096
};

static const struct variable *get(const struct state *s, const char *name)
{
    for (const struct variable *v = s->variables; v != NULL; v = v->next)
        if (str_is(v->name, name))
            return v;
    return NULL;
}

static struct str value(const struct state *s, const char *name)
{
    const struct variable *v = get(s, name);
    return v != NULL ? v->value : STR("");
}

// $name and ${name} of what was set before.
static struct str expand(struct state *s, struct str in)
{
    if (in.len == 0 || in.len > EXPANDED || memchr(in.ptr, '$', in.len) == NULL)
        return in;
    struct buf out;
    buf_init(&out, EXPANDED);
    for (size_t i = 0; i < in.len; i++) {
        size_t from = i + 1, end;
        bool braces = from < in.len && in.ptr[from] == '{';
        from += braces;
        for (end = from; end < in.len && (ascii_is_alnum(in.ptr[end]) || in.ptr[end] == '_');)
            end++;
        if (in.ptr[i] != '$' || end == from) {
            buf_putc(&out, in.ptr[i]);
            continue;
        }
        buf_add(&out, value(s, arena_str(s->im->arena, str_make(in.ptr + from, end - from))));
        i = end - 1 + (braces && end < in.len);
    }
    struct str made = arena_dup(s->im->arena, buf_str(&out));
    buf_free(&out);
    return made;
}

static bool is_set(const struct state *s, const char *name, bool otherwise)
{
    const struct variable *v = get(s, name);
    return v == NULL ? otherwise : is_yes(v->value);
}

static void emit(struct state *s)
{
    const struct variable *at = get(s, "smtp_url"), *pass = get(s, "smtp_pass");
    struct import *im = s->im;
    struct mail_url url;
    if (at == NULL || at->value.len == 0)
        return;
    struct import_found *f =
        found_add(im, at->file, at->line, str_of(s->mode != NULL ? s->mode : ""));
    if (f == NULL)
        return;
    if (!mail_url(im, at->value, &url)) {
        found_why_not(im, f, "its smtp_url is no url");
        return;
    }
    bool implicit = str_is(url.scheme, "smtps");
    bool starttls = is_set(s, "ssl_starttls", true), force = is_set(s, "ssl_force_tls", true);
    f->tls = implicit    ? IMPORT_TLS_IMPLICIT
             : !starttls ? IMPORT_TLS_OFF
             : force     ? IMPORT_TLS_STARTTLS
                         : IMPORT_TLS_WANTED;
    f->host = arena_str(im->arena, url.host);
    f->port = url.port != 0 ? url.port : implicit ? 465 : 25;
    f->is_default = s->mode == NULL;
    found_user(im, f, url.user.len > 0 ? url.user : value(s, "smtp_user"));
    struct str from = value(s, "from");
    found_senders(im, f, from);
    struct str ways = value(s, "smtp_authenticators");
    if (str_istarts(ways, STR("xoauth")) || str_istarts(ways, STR("oauth")))
        f->login = IMPORT_LOGIN_OAUTH2;
    found_password(im, f, url.password, at->file, at->line);
    if (pass != NULL && pass->command)
        found_command(im, f, pass->value);
    else if (pass != NULL)
        found_password(im, f, pass->value, pass->file, pass->line);
}

static void read_file(struct state *s, const char *path, unsigned depth);
static void read_line(struct state *s, struct text *t, struct str line, unsigned depth);

static void set_variable(struct state *s, struct text *t, struct str name, struct str raw)
{
    struct str v = raw, bare;
    bool ticks = v.len > 1 && v.ptr[0] == '`';
    if (s->settings++ > VARIABLES)
        return;
    struct variable *made = arena_alloc(s->im->arena, sizeof(*made));
    if (ticks)
        v = str_make(v.ptr + 1, str_find(str_after(v, 1), '`'));
    // A value of another variable may itself be what a command says.
    const struct variable *other = NULL;
    if (!ticks && v.len > 1 && v.ptr[0] == '$') {
        bare = str_after(v, v.ptr[1] == '{' ? 2 : 1);
        bare.len = str_find(bare, '}');
        other = get(s, arena_str(s->im->arena, bare));
    }
    *made = (struct variable){.next = s->variables,
                              .name = name,
                              .value = other != NULL ? other->value
                                       : ticks       ? v
                                                     : expand(s, v),
                              .command = other != NULL ? other->command : ticks,
                              .file = t->file,
                              .line = t->line};
    s->variables = made;
}

// `set a=b c noc my_x="..."`: in "..." backticks may stand for the whole.
static void read_set(struct state *s, struct text *t, struct str *rest)
{
    struct str blank, name, v;
    for (;;) {
        *rest = str_trim(*rest);
        size_t end = 0;
        while (end < rest->len && (ascii_is_alnum(rest->ptr[end]) || rest->ptr[end] == '_'))
            end++;
        if (end == 0) {
            if (!word_next(s->im, rest, FLAGS, &blank)) // something else; or the end
                return;
            continue;
        }
        name = str_make(rest->ptr, end);
        *rest = str_trim(str_after(*rest, end));
        if (rest->len == 0 || rest->ptr[0] != '=') {
            bool no = str_istarts(name, STR("no"));
            set_variable(s, t, no ? str_after(name, 2) : name, no ? STR("no") : STR("yes"));
            continue;
        }
        *rest = str_trim(str_after(*rest, 1));
        if (rest->len > 0 && rest->ptr[0] == '`') {
            size_t close = str_find(str_after(*rest, 1), '`') + 2;
            v = str_make(rest->ptr, close < rest->len ? close : rest->len);
            *rest = str_after(*rest, close);
        } else if (!word_next(s->im, rest, FLAGS, &v)) {
            return;
        }
        set_variable(s, t, name, v);
    }
}

static void source(struct state *s, struct text *t, struct str path, unsigned depth)
{
    path = str_trim(expand(s, path));
    if (path.len == 0)
        return;
    if (path.ptr[path.len - 1] == '|') {
        import_note(s->im, t->file, t->line,
                    "what a command says is read in here; import runs no commands, so a password "
                    "in it is not found");
        return;
    }
    if (depth >= LIMIT_IMPORT_DEPTH) {
        import_note(s->im, t->file, t->line, "files that source files, too deep");
        return;
    }
    read_file(s, named_path(s->im, dir_of(s->im, t->file), path), depth + 1);
}

// What a hook or a macro does, on a copy of the variables. Reported when it names a server.
static void read_hook(struct state *s, struct text *t, struct str name, struct str command,
                      unsigned depth)
{
    struct state inner = *s;
    if (depth >= LIMIT_IMPORT_DEPTH)
        return;
    inner.mode = arena_str(s->im->arena, name);
    read_line(&inner, t, command, depth + 1);
    s->settings = inner.settings;
    if (get(&inner, "smtp_url") != get(s, "smtp_url"))
        emit(&inner);
}

static void read_macro(struct state *s, struct text *t, struct str rest, unsigned depth)
{
    static const char enter[] = "<enter-command>";
    for (size_t i = 0; i + sizeof(enter) < rest.len; i++) {
        struct str here = str_after(rest, i), command;
        if (here.ptr[0] != '<' || !str_istarts(here, STR("<enter-command>source")))
            continue;
        command = str_after(here, sizeof(enter) - 1);
        command.len = str_find(command, '<');
        read_hook(s, t, STR("macro"), command, depth);
    }
}

static void read_line(struct state *s, struct text *t, struct str line, unsigned depth)
{
    static const char *const hooks[] = {"account-hook", "folder-hook", "send-hook",
                                        "send2-hook",   "reply-hook",  "startup-hook"};
    struct str word, name, command;
    while (line.len > 0) {
        while (word_next(s->im, &line, FLAGS, &word)) {
            bool hook = false;
            for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
                hook |= str_eq(word, str_of(hooks[i]));
            if (str_eq(word, STR("set"))) {
                read_set(s, t, &line);
            } else if (str_eq(word, STR("source")) && word_next(s->im, &line, FLAGS, &name)) {
                source(s, t, name, depth);
            } else if (hook && word_next(s->im, &line, FLAGS, &name) &&
                       word_next(s->im, &line, FLAGS, &command)) {
                read_hook(s, t, name, command, depth);
            } else if (str_eq(word, STR("macro"))) {
                read_macro(s, t, line, depth);
                return;
            }
        }
        if (line.len == 0 || line.ptr[0] != ';')
            return; // a remark
        line = str_after(line, 1);
    }
}

static void read_file(struct state *s, const char *path, unsigned depth)
{
    struct text t;
    struct str line;
    if (depth > 0 ? !text_open_named(s->im, &t, path) : !text_open(s->im, &t, path))
        return;
    while (text_next_joined(&t, &line))
        read_line(s, &t, line, depth);
}

static void read_all(struct import *im, const char *path)
{
    struct state s = {.im = im};
    read_file(&s, path, 0);
    emit(&s);
}

void mutt_home(struct import *im)
{
    static const char *const paths[] = {".muttrc",
                                        ".mutt/muttrc",
                                        ".config/mutt/muttrc",
                                        ".neomuttrc",
                                        ".neomutt/neomuttrc",
                                        ".neomutt/muttrc",
                                        ".config/neomutt/neomuttrc",
                                        ".config/neomutt/muttrc"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        read_all(im, home_path(im, paths[i]));
}

void mutt_etc(struct import *im)
{
    im->home = NULL;
    read_all(im, etc_path(im, "/etc/Muttrc"));
    read_all(im, etc_path(im, "/etc/neomuttrc"));
}
