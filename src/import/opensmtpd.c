// SPDX-License-Identifier: ISC
// smtpd.conf(5): actions that relay by a host, their tables of passwords, and the rules that choose
// them.
#include "import/source.h"

struct pair { // a table's row, or a macro
    struct pair *next;
    struct str table, key, value;
    const char *file;
    unsigned line;
};

struct action {
    struct action *next;
    struct str name;
    struct import_found *found; // NULL: it delivers directly
};

struct state {
    struct import *im;
    struct pair *pairs, *macros;
    struct action *actions;
    unsigned rows;
};

enum { FLAGS = WORD_HASH };

static void add_pair(struct state *s, struct pair **list, struct str table, struct str key,
                     struct str value, const struct text *t)
{
    if (s->rows++ >= LIMIT_IMPORT_ROUTES)
        return;
    struct pair *p = arena_alloc(s->im->arena, sizeof(*p));
    *p = (struct pair){*list, table, key, value, t->file, t->line};
    *list = p;
}

static const struct pair *find(const struct pair *list, struct str table, struct str key)
{
    for (const struct pair *p = list; p != NULL; p = p->next)
        if (str_eq(p->table, table) && str_eq(p->key, key))
            return p;
    return NULL;
}

// The next word, a macro replaced by what it stands for.
static bool next(struct state *s, struct str *rest, struct str *word_out)
{
    if (!word_next(s->im, rest, FLAGS, word_out))
        return false;
    if (word_out->len > 1 && word_out->ptr[0] == '$') {
        const struct pair *p = find(s->macros, STR(""), str_after(*word_out, 1));
        if (p != NULL)
            *word_out = p->value;
    }
    return true;
}

// `table NAME file:/path`, `table NAME { key = value, ... }`, `table NAME db:...`
static void read_table(struct state *s, struct text *t, struct str rest)
{
    struct str name, what, line, key, item;
    struct text file;
    if (!next(s, &rest, &name))
        return;
    rest = str_trim(rest);
    if (rest.len > 0 && rest.ptr[0] == '{') {
        rest = str_after(rest, 1);
        rest.len = str_find(rest, '}');
        while (str_split(&rest, ',', &item))
            if (str_split(&item, '=', &key) && has_text(key))
                add_pair(s, &s->pairs, name, unquote(s->im, str_trim(key)),
                         unquote(s->im, str_trim(item)), t);
        return;
    }
    if (!next(s, &rest, &what))
        return;
    if (str_starts(what, STR("file:")))
        what = str_after(what, 5);
    else if (str_starts(what, STR("db:")) && str_iends(what, STR(".db")))
        what = str_make(what.ptr + 3, what.len - 6); // beside it lies the text it was made from
    else if (what.len == 0 || what.ptr[0] != '/')
        return;
    if (!text_open_named(s->im, &file, named_path(s->im, etc_path(s->im, "/etc"), what)))
        return;
    while (text_next(&file, &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || !word_next(s->im, &line, 0, &key))
            continue;
        add_pair(s, &s->pairs, name, key, str_trim(line), &file);
    }
}

static enum import_tls tls_of(struct str scheme)
{
    return str_is(scheme, "smtps")            ? IMPORT_TLS_IMPLICIT
           : str_is(scheme, "smtp+tls")       ? IMPORT_TLS_STARTTLS
           : str_is(scheme, "smtp+notls")     ? IMPORT_TLS_OFF
           : str_istarts(scheme, STR("lmtp")) ? IMPORT_TLS_OFF
                                              : IMPORT_TLS_WANTED;
}

static struct str bare_table(struct str name)
{
    return name.len > 1 && name.ptr[0] == '<' ? str_make(name.ptr + 1, name.len - 2) : name;
}

static struct import_found *add_relay(struct state *s, struct text *t, struct str name,
                                      struct str where)
{
    struct import *im = s->im;
    struct mail_url url;
    struct import_found *f = found_add(im, t->file, t->line, name);
    if (f == NULL)
        return NULL;
    if (!mail_url(im, where, &url)) {
        url = (struct mail_url){.scheme = STR("smtp")};
        host_port(where, &url.host, &url.port);
    }
    f->tls = tls_of(url.scheme);
    f->lmtp = str_is(url.scheme, "lmtp");
    f->host = arena_str(im->arena, url.host);
    f->port = url.port != 0 ? url.port : f->tls == IMPORT_TLS_IMPLICIT ? 465 : f->lmtp ? 24 : 25;
    f->user = url.user.len > 0 ? arena_str(im->arena, url.user) : NULL; // the label for now
    return f;
}

static void resolve_login(struct state *s, struct import_found *f, struct str table)
{
    struct str label = f->user != NULL ? str_of(f->user) : STR(""), password, user;
    const struct pair *p = table.len > 0 ? find(s->pairs, bare_table(table), label) : NULL;
    f->user = NULL;
    if (p == NULL && table.len > 0) {
        found_remark(s->im, f, "its table of passwords has no such label, or could not be read");
        return;
    }
    if (p == NULL)
        return;
    password = p->value;
    str_split(&password, ':', &user);
    found_user(s->im, f, str_trim(user));
    found_password(s->im, f, password, p->file, p->line);
}

static void read_action(struct state *s, struct text *t, struct str rest)
{
    struct str name, word, value, host = {0}, table = {0}, from = {0};
    bool relay = false, no_verify = false;
    if (!next(s, &rest, &name))
        return;
    while (next(s, &rest, &word)) {
        relay |= str_eq(word, STR("relay"));
        no_verify |= str_eq(word, STR("no-verify"));
        bool takes = str_eq(word, STR("host")) || str_eq(word, STR("auth")) ||
                     str_eq(word, STR("mail-from"));
        if (!takes || !next(s, &rest, &value))
            continue;
        *(word.ptr[0] == 'h' ? &host : word.ptr[0] == 'a' ? &table : &from) = value;
    }
    if (!relay || s->rows++ >= LIMIT_IMPORT_ROUTES)
        return;
    struct action *a = arena_alloc(s->im->arena, sizeof(*a));
    *a = (struct action){.name = name, .next = s->actions};
    s->actions = a;
    if (host.len == 0 || (a->found = add_relay(s, t, name, host)) == NULL)
        return;
    resolve_login(s, a->found, table);
    a->found->no_verify = no_verify;
    if (from.len > 0)
        found_remark(s->im, a->found,
                     "OpenSMTPD puts another sender on this mail (mail-from); Waypost leaves "
                     "senders as they are");
}

// The words of a match that choose by sender or recipient; `!` and tables are left to a person.
static void read_match(struct state *s, struct text *t, struct str rest)
{
    struct str word, value, domain = {0}, sender = {0}, action = {0};
    bool unclear = false, negated = false;
    while (next(s, &rest, &word)) {
        bool for_domain = str_eq(word, STR("domain"));
        unclear |= negated && !str_eq(word, STR("from"));
        negated = str_eq(word, STR("!"));
        if ((for_domain || str_eq(word, STR("mail-from")) || str_eq(word, STR("action"))) &&
            next(s, &rest, &value)) {
            unclear |=
                !str_eq(word, STR("action")) && value.len > 0 && strchr("<{", value.ptr[0]) != NULL;
            *(for_domain ? &domain : word.ptr[0] == 'm' ? &sender : &action) = value;
        }
    }
    struct action *a = s->actions;
    while (a != NULL && !str_eq(a->name, action))
        a = a->next;
    if (a == NULL || action.len == 0)
        return;
    if (unclear) {
        import_note(s->im, t->file, t->line,
                    "this rule has tables or exceptions; write it as a route by hand");
        return;
    }
    if (domain.len > 0)
        route_add(s->im, arena_printf(s->im->arena, "*@%.*s", STR_FMT(domain)), NULL, a->found,
                  t->file, t->line);
    else if (sender.len > 0 && a->found != NULL)
        found_senders(s->im, a->found, sender);
    else if (a->found != NULL)
        a->found->is_default = true;
    else
        s->im->direct = true;
}

static void read_file(struct state *s, const char *path, unsigned depth)
{
    struct text t;
    struct str line, word, rest;
    if (depth > 0 ? !text_open_named(s->im, &t, path) : !text_open(s->im, &t, path))
        return;
    while (text_next_joined(&t, &line)) {
        rest = line;
        if (!word_next(s->im, &rest, FLAGS, &word))
            continue;
        struct str value = str_trim(rest);
        if (str_eq(word, STR("table"))) {
            read_table(s, &t, rest);
        } else if (str_eq(word, STR("action"))) {
            read_action(s, &t, rest);
        } else if (str_eq(word, STR("match"))) {
            read_match(s, &t, rest);
        } else if (str_eq(word, STR("include")) && next(s, &rest, &word)) {
            if (depth < LIMIT_IMPORT_DEPTH)
                read_file(s, named_path(s->im, etc_path(s->im, "/etc"), word), depth + 1);
            else
                import_note(s->im, t.file, t.line, "files that include files, too deep");
        } else if (value.len > 0 && value.ptr[0] == '=') {
            add_pair(s, &s->macros, STR(""), word, unquote(s->im, str_trim(str_after(value, 1))),
                     &t);
        }
    }
}

void opensmtpd_etc(struct import *im)
{
    static const char *const paths[] = {"/etc/smtpd.conf", "/etc/mail/smtpd.conf",
                                        "/etc/opensmtpd/smtpd.conf"};
    struct state s = {.im = im};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        read_file(&s, etc_path(im, paths[i]), 0);
}
