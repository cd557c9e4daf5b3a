// SPDX-License-Identifier: ISC
// Geary: a directory for each account. The passwords are in the desktop's keyring.
#include "import/source.h"

struct account {
    struct str label, provider, senders, status, in_host, in_login, host, port, security, login,
        credentials;
    unsigned line;
};

static const struct provider {
    const char *name, *host;
    uint16_t port;
    enum import_tls tls;
} providers[] = {
    {"gmail", "smtp.gmail.com", 465, IMPORT_TLS_IMPLICIT},
    {"yahoo", "smtp.mail.yahoo.com", 465, IMPORT_TLS_IMPLICIT},
    {"outlook", "smtp-mail.outlook.com", 587, IMPORT_TLS_STARTTLS},
};

static void add_senders(struct import *im, struct import_found *f, struct str list)
{
    struct str one;
    while (str_split(&list, ';', &one))
        found_senders(im, f, one);
}

static void login(struct import *im, struct import_found *f, const struct account *a)
{
    bool incoming =
        str_is(a->credentials, "use-incoming") || (a->credentials.len == 0 && a->login.len == 0);
    struct str user = incoming ? a->in_login : a->login, host = incoming ? a->in_host : a->host;
    if (str_is(a->credentials, "none"))
        return;
    found_user(im, f, user);
    // Accounts that GNOME keeps log in by OAuth2, and have no login of their own here.
    if (f->user == NULL)
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (strpbrk(f->user, "'\\") == NULL && memchr(host.ptr, '\'', host.len) == NULL)
        found_keyring(im, f,
                      arena_printf(im->arena, "secret-tool lookup proto %s host '%.*s' login '%s'",
                                   incoming ? "IMAP" : "SMTP", STR_FMT(host), f->user),
                      "the desktop's keyring");
}

static void emit(struct import *im, const char *file, struct account *a)
{
    const struct provider *p = NULL;
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
        if (str_is(a->provider, providers[i].name))
            p = &providers[i];
    if (str_is(a->status, "removed") || (a->host.len == 0 && p == NULL))
        return;
    struct import_found *f = found_add(im, file, a->line, a->label);
    if (f == NULL)
        return;
    if (a->host.len == 0) {
        a->host = str_of(p->host);
        f->port = p->port;
        f->tls = p->tls;
    } else {
        f->tls = str_is(a->security, "transport")   ? IMPORT_TLS_IMPLICIT
                 : str_is(a->security, "start-tls") ? IMPORT_TLS_STARTTLS
                                                    : IMPORT_TLS_OFF;
        f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : f->tls == IMPORT_TLS_OFF ? 25 : 587;
        found_port(f, a->port);
    }
    if (a->in_host.len == 0)
        a->in_host = str_of(p != NULL && str_is(a->provider, "gmail") ? "imap.gmail.com" : "");
    f->host = arena_str(im->arena, a->host);
    add_senders(im, f, a->senders);
    login(im, f, a);
}

static void read_account(struct import *im, const char *path)
{
    struct account a = {0};
    const struct {
        const char *section, *key;
        struct str *value;
    } rows[] = {{"Metadata", "status", &a.status},
                {"Account", "label", &a.label},
                {"Account", "service_provider", &a.provider},
                {"Account", "sender_mailboxes", &a.senders},
                {"Incoming", "host", &a.in_host},
                {"Incoming", "login", &a.in_login},
                {"Outgoing", "host", &a.host},
                {"Outgoing", "port", &a.port},
                {"Outgoing", "transport_security", &a.security},
                {"Outgoing", "login", &a.login},
                {"Outgoing", "credentials", &a.credentials}};
    struct ini ini;
    struct ini_entry e;
    if (!ini_open(im, &ini, path, INI_PLAIN))
        return;
    while (ini_next(&ini, &e)) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (str_is(e.section, rows[i].section) && str_is(e.key, rows[i].key))
                *rows[i].value = e.value;
        if (str_is(e.section, "Outgoing") && (a.line == 0 || str_is(e.key, "host")))
            a.line = e.line;
    }
    a.line += a.line == 0;
    emit(im, ini.text.file, &a);
}

void geary_home(struct import *im)
{
    static const char *const dirs[] = {".config/geary", ".var/app/org.gnome.Geary/config/geary"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        const char *dir = home_path(im, dirs[i]);
        for (const char *const *n = names_in(im, dir); *n != NULL; n++)
            read_account(im, arena_printf(im->arena, "%s/%s/geary.ini", dir, *n));
    }
}
