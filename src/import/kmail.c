// SPDX-License-Identifier: ISC
// KMail and the other programs of KDE: transports by number, identities that choose one. The
// passwords are in KWallet.
#include "import/source.h"

struct transport {
    struct transport *next;
    struct str id, host, port, user, encryption, method, kind, name;
    bool login;
    unsigned line;
    struct import_found *found;
};

// KConfig writes \s, \t, \\ and marks keys with [$e].
static struct str plain(struct import *im, struct str in)
{
    char *out = arena_alloc(im->arena, in.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        bool code = in.ptr[i] == '\\' && i + 1 < in.len;
        char c = in.ptr[i += code];
        out[n++] = code && c == 's' ? ' ' : code && c == 't' ? '\t' : c;
    }
    return str_make(out, n);
}

static void emit(struct import *im, const char *file, struct transport *t, struct str preset)
{
    if (t->host.len == 0 || (t->kind.len > 0 && !str_is(t->kind, "SMTP") && !str_is(t->kind, "0")))
        return;
    struct import_found *f = found_add(im, file, t->line, t->name);
    if (f == NULL)
        return;
    t->found = f;
    f->tls = str_is(t->encryption, "SSL")   ? IMPORT_TLS_IMPLICIT
             : str_is(t->encryption, "TLS") ? IMPORT_TLS_STARTTLS
                                            : IMPORT_TLS_OFF;
    f->host = arena_str(im->arena, t->host);
    f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : f->tls == IMPORT_TLS_STARTTLS ? 587 : 25;
    found_port(f, t->port);
    f->is_default = str_eq(t->id, preset);
    if (t->login)
        found_user(im, f, t->user);
    if (str_is(t->method, "XOAUTH2") || str_is(t->method, "GMAIL"))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_is(t->method, "GSSAPI") || str_is(t->method, "NTLM"))
        f->login = IMPORT_LOGIN_OTHER;
    if (f->user != NULL)
        found_keyring(im, f,
                      strpbrk(arena_str(im->arena, t->id), "'\\") != NULL
                          ? NULL
                          : arena_printf(im->arena,
                                         "kwallet-query -f mailtransports -r '%.*s' kdewallet",
                                         STR_FMT(t->id)),
                      "KWallet");
}

// [Identity #0], [Identity #1]: an address and a transport each.
static void read_identities(struct import *im, const char *path, struct transport *all,
                            struct str preset)
{
    struct ini ini;
    struct ini_entry e;
    struct str address = {0}, transport = {0};
    if (!ini_open(im, &ini, path, INI_PLAIN))
        return;
    for (bool more = true; more;) {
        more = ini_next_or_section(&ini, &e);
        if (more && e.key.ptr != NULL) {
            struct str key = str_make(e.key.ptr, str_find(e.key, '['));
            if (str_is(key, "Email Address"))
                address = plain(im, e.value);
            else if (str_is(key, "Transport"))
                transport = e.value;
            continue;
        }
        struct str id = transport.len > 0 ? transport : preset;
        for (struct transport *t = all; t != NULL; t = t->next)
            if (t->found != NULL && str_eq(t->id, id))
                found_senders(im, t->found, address);
        address.len = transport.len = 0;
    }
}

static void set(struct import *im, struct transport *t, const struct ini_entry *e)
{
    struct str key = str_make(e->key.ptr, str_find(e->key, '[')), value = plain(im, e->value);
    const struct {
        const char *key;
        struct str *value;
    } rows[] = {{"id", &t->id},           {"host", &t->host},      {"port", &t->port},
                {"user", &t->user},       {"name", &t->name},      {"encryption", &t->encryption},
                {"authtype", &t->method}, {"identifier", &t->kind}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_is(key, rows[i].key))
            *rows[i].value = value;
    if (str_is(key, "auth"))
        t->login = is_yes(value);
    if (str_is(key, "host"))
        t->line = e->line;
}

static void read_dir(struct import *im, const char *dir)
{
    struct ini ini;
    struct ini_entry e;
    struct transport *all = NULL, *now = NULL, **end = &all;
    struct str preset = {0};
    unsigned count = 0;
    if (!ini_open(im, &ini, arena_printf(im->arena, "%s/mailtransports", dir), INI_PLAIN))
        return;
    while (count < LIMIT_IMPORT_FOUND && ini_next_or_section(&ini, &e)) {
        bool transport = str_starts(e.section, STR("Transport "));
        if (e.key.ptr == NULL && transport) {
            now = arena_alloc(im->arena, sizeof(*now));
            now->id = str_trim(str_after(e.section, sizeof("Transport ") - 1));
            *end = now;
            end = &now->next;
            count++;
        } else if (transport) {
            set(im, now, &e);
        } else if (str_is(e.key, "default-transport")) {
            preset = e.value;
        }
    }
    for (struct transport *t = all; t != NULL; t = t->next)
        emit(im, ini.text.file, t, preset);
    read_identities(im, arena_printf(im->arena, "%s/emailidentities", dir), all, preset);
}

void kmail_home(struct import *im)
{
    static const char *const dirs[] = {".config", ".kde/share/config", ".kde4/share/config",
                                       ".var/app/org.kde.kontact/config",
                                       ".var/app/org.kde.kmail2/config"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        read_dir(im, home_path(im, dirs[i]));
}
