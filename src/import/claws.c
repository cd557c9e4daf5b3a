// SPDX-License-Identifier: ISC
// Claws Mail and Sylpheed, of one family: accountrc with a section for each account. Sylpheed
// keeps passwords there in clear; Claws keeps them encrypted in passwordstorerc.
#include "import/source.h"

struct account {
    struct str name, address, host, port, own_port, auth, method, user, in_user, password,
        in_password, tls, command, is_default;
    unsigned line, password_line, in_password_line;
};

static void emit(struct import *im, const char *file, const struct account *a, bool sylpheed)
{
    if (a->host.len == 0 || is_yes(a->command))
        return;
    struct import_found *f = found_add(im, file, a->line, a->name);
    uint64_t method = 0;
    if (f == NULL)
        return;
    f->tls = str_eq(a->tls, STR("1"))   ? IMPORT_TLS_IMPLICIT
             : str_eq(a->tls, STR("2")) ? IMPORT_TLS_STARTTLS
                                        : IMPORT_TLS_OFF;
    f->host = arena_str(im->arena, a->host);
    f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : 25;
    if (is_yes(a->own_port))
        found_port(f, a->port);
    f->is_default = is_yes(a->is_default);
    found_senders(im, f, a->address);
    if (!is_yes(a->auth))
        return;
    // Without a login of its own the one for fetching mail is used.
    bool own = a->user.len > 0;
    found_user(im, f, own ? a->user : a->in_user);
    str_u64(a->method, UINT32_MAX, &method);
    if (!sylpheed && method == 32)
        f->login = IMPORT_LOGIN_OAUTH2;
    struct str password = own ? a->password : a->in_password;
    bool hidden = password.len > 0 && password.ptr[0] == '!';
    if (sylpheed && !hidden)
        found_password(im, f, password, file, own ? a->password_line : a->in_password_line);
    if (f->user != NULL)
        found_keyring(im, f, NULL, "%s",
                      sylpheed ? "nowhere in clear; Sylpheed asks for it"
                               : "Claws Mail's own encrypted store (passwordstorerc)");
}

static void set(struct account *a, const struct ini_entry *e)
{
    const struct {
        const char *key;
        struct str *value;
        unsigned *line;
    } rows[] = {{"account_name", &a->name, NULL},
                {"address", &a->address, NULL},
                {"smtp_server", &a->host, &a->line},
                {"smtp_port", &a->port, NULL},
                {"set_smtpport", &a->own_port, NULL},
                {"use_smtp_auth", &a->auth, NULL},
                {"smtp_auth_method", &a->method, NULL},
                {"smtp_auth_type", &a->method, NULL},
                {"smtp_user_id", &a->user, NULL},
                {"user_id", &a->in_user, NULL},
                {"smtp_password", &a->password, &a->password_line},
                {"password", &a->in_password, &a->in_password_line},
                {"ssl_smtp", &a->tls, NULL},
                {"use_mail_command", &a->command, NULL},
                {"is_default", &a->is_default, NULL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!str_is(e->key, rows[i].key))
            continue;
        *rows[i].value = e->value;
        if (rows[i].line != NULL)
            *rows[i].line = e->line;
    }
}

static void read_file(struct import *im, const char *path, bool sylpheed)
{
    struct ini ini;
    struct ini_entry e;
    struct account a = {0};
    if (!ini_open(im, &ini, path, INI_PLAIN))
        return;
    while (ini_next_or_section(&ini, &e)) {
        if (e.key.ptr != NULL) {
            set(&a, &e);
            continue;
        }
        emit(im, ini.text.file, &a, sylpheed);
        a = (struct account){0};
    }
    emit(im, ini.text.file, &a, sylpheed);
}

void claws_home(struct import *im)
{
    read_file(im, home_path(im, ".claws-mail/accountrc"), false);
    read_file(im, home_path(im, ".var/app/org.claws_mail.Claws-Mail/.claws-mail/accountrc"), false);
}

void sylpheed_home(struct import *im)
{
    read_file(im, home_path(im, ".sylpheed-2.0/accountrc"), true);
    read_file(im, home_path(im, ".sylpheed/accountrc"), true);
}
