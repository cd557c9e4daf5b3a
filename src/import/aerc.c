// SPDX-License-Identifier: ISC
// aerc-accounts(5), aerc-smtp(5): `outgoing` of each account.
#include "import/source.h"

struct account {
    struct str name, outgoing, command, from, aliases, starttls;
    unsigned line;
};

static void emit(struct import *im, const char *file, const struct account *a)
{
    struct mail_url url;
    struct str method;
    if (!mail_url(im, a->outgoing, &url)) // a program
        return;
    struct import_found *f = found_add(im, file, a->line, a->name);
    if (f == NULL)
        return;
    method = url.scheme;
    str_split(&method, '+', &url.scheme);
    bool implicit = str_is(url.scheme, "smtps");
    f->tls = implicit ? IMPORT_TLS_IMPLICIT
             : str_is(method, "insecure") || str_istarts(method, STR("insecure+")) ||
                     str_is(a->starttls, "no")
                 ? IMPORT_TLS_OFF
                 : IMPORT_TLS_STARTTLS;
    f->host = arena_str(im->arena, url.host);
    f->port = url.port != 0 ? url.port : implicit ? 465 : 587;
    found_user(im, f, url.user);
    if (str_iends(method, STR("oauthbearer")) || str_iends(method, STR("xoauth2")))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_iends(method, STR("none")))
        f->login = IMPORT_LOGIN_NONE;
    found_password(im, f, url.password, file, a->line);
    found_command(im, f, a->command);
    found_senders(im, f, a->from);
    found_senders(im, f, a->aliases);
}

void aerc_home(struct import *im)
{
    struct ini ini;
    struct ini_entry e;
    struct account a = {0};
    if (!ini_open(im, &ini, home_path(im, ".config/aerc/accounts.conf"), INI_PLAIN))
        return;
    while (ini_next_or_section(&ini, &e)) {
        if (e.key.ptr == NULL) {
            emit(im, ini.text.file, &a);
            a = (struct account){.name = e.section};
        } else if (str_is(e.key, "outgoing")) {
            a.outgoing = e.value;
            a.line = e.line;
        } else if (str_is(e.key, "outgoing-cred-cmd")) {
            a.command = e.value;
        } else if (str_is(e.key, "from")) {
            a.from = e.value;
        } else if (str_is(e.key, "aliases")) {
            a.aliases = e.value;
        } else if (str_is(e.key, "smtp-starttls")) {
            a.starttls = e.value;
        }
    }
    emit(im, ini.text.file, &a);
}
