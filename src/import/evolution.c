// SPDX-License-Identifier: ISC
// Evolution: a file for each of account, identity and transport, tied by their names (UIDs). The
// passwords are in the desktop's keyring.
#include "import/source.h"

struct source {
    struct source *next;
    const char *file;
    struct str uid, name, backend, host, port, user, method, security, address, aliases, transport;
    unsigned line;
    bool off;
};

static struct source *read_source(struct import *im, const char *path, struct str uid)
{
    struct source *s = arena_alloc(im->arena, sizeof(*s));
    const struct {
        const char *section, *key;
        struct str *value;
    } rows[] = {
        {"Data Source", "DisplayName", &s->name},
        {"Mail Transport", "BackendName", &s->backend},
        {"Authentication", "Host", &s->host},
        {"Authentication", "Port", &s->port},
        {"Authentication", "User", &s->user},
        {"Authentication", "Method", &s->method},
        {"Security", "Method", &s->security},
        {"Mail Identity", "Address", &s->address},
        {"Mail Identity", "Aliases", &s->aliases},
        {"Mail Submission", "TransportUid", &s->transport},
    };
    struct ini ini;
    struct ini_entry e;
    if (!ini_open(im, &ini, path, INI_PLAIN))
        return NULL;
    s->uid = uid;
    s->file = ini.text.file;
    while (ini_next(&ini, &e)) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (str_is(e.section, rows[i].section) && str_is(e.key, rows[i].key))
                *rows[i].value = e.value;
        if (str_is(e.section, "Authentication") && str_is(e.key, "Host"))
            s->line = e.line;
        s->off |= str_is(e.section, "Data Source") && str_is(e.key, "Enabled") && !is_yes(e.value);
    }
    return s;
}

static void emit(struct import *im, const struct source *s, const struct source *all)
{
    struct import_found *f = found_add(im, s->file, s->line, s->name);
    if (f == NULL)
        return;
    f->tls = str_is(s->security, "ssl-on-alternate-port")       ? IMPORT_TLS_IMPLICIT
             : str_is(s->security, "starttls-on-standard-port") ? IMPORT_TLS_STARTTLS
                                                                : IMPORT_TLS_OFF;
    f->host = arena_str(im->arena, s->host);
    f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : f->tls == IMPORT_TLS_STARTTLS ? 587 : 25;
    found_port(f, s->port);
    bool none = s->method.len == 0 || str_is(s->method, "none");
    if (!none)
        found_user(im, f, s->user);
    if (str_is(s->method, "XOAUTH2") || str_is(s->method, "Google") ||
        str_is(s->method, "Outlook") || str_is(s->method, "OAuth2") || str_is(s->method, "Yahoo"))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_is(s->method, "GSSAPI") || str_is(s->method, "NTLM"))
        f->login = IMPORT_LOGIN_OTHER;
    for (const struct source *o = all; o != NULL; o = o->next) {
        if (!str_eq(o->transport, s->uid))
            continue;
        found_senders(im, f, o->address);
        found_senders(im, f, o->aliases);
    }
    if (f->user != NULL)
        found_keyring(
            im, f,
            arena_printf(im->arena, "secret-tool lookup e-source-uid '%.*s'", STR_FMT(s->uid)),
            "the desktop's keyring");
}

static void read_dir(struct import *im, const char *dir)
{
    struct source *all = NULL, **end = &all;
    for (const char *const *n = names_in(im, dir); *n != NULL; n++) {
        struct str uid = str_of(*n);
        if (!str_iends(uid, STR(".source")) || strchr(*n, '\'') != NULL)
            continue;
        uid.len -= sizeof(".source") - 1;
        struct source *s = read_source(im, arena_printf(im->arena, "%s/%s", dir, *n), uid);
        if (s == NULL)
            continue;
        *end = s;
        end = &s->next;
    }
    for (const struct source *s = all; s != NULL; s = s->next)
        if (str_is(s->backend, "smtp") && !s->off && s->host.len > 0)
            emit(im, s, all);
}

void evolution_home(struct import *im)
{
    read_dir(im, home_path(im, ".config/evolution/sources"));
    read_dir(im, home_path(im, ".var/app/org.gnome.Evolution/config/evolution/sources"));
}
