// SPDX-License-Identifier: ISC
// masqmail.route(5): a file for each way out.
#include "import/source.h"

static void senders(struct import *im, struct import_found *f, struct str list)
{
    struct str one;
    while (str_split(&list, ';', &one)) {
        one = unquote(im, str_trim(one));
        found_senders(im, f, one);
    }
}

static void read_route(struct import *im, const char *path, struct str name)
{
    struct ini ini;
    struct ini_entry e;
    struct import_found *f = NULL;
    struct str user = {0}, password = {0}, list = {0};
    unsigned line = 0;
    bool wrapped = false;
    if (!ini_open(im, &ini, path, INI_PLAIN))
        return;
    while (ini_next(&ini, &e)) {
        struct str value = unquote(im, e.value);
        if (str_eq(e.key, STR("mail_host")) && f == NULL) {
            if ((f = found_add(im, ini.text.file, e.line, name)) == NULL)
                return;
            found_host(im, f, value, 25);
        } else if (str_eq(e.key, STR("auth_login"))) {
            user = value;
        } else if (str_eq(e.key, STR("auth_secret"))) {
            password = value;
            line = e.line;
        } else if (str_eq(e.key, STR("wrapper"))) {
            wrapped = true;
        } else if (str_eq(e.key, STR("allowed_senders")) ||
                   str_eq(e.key, STR("allowed_return_paths"))) {
            list = e.value;
        }
    }
    if (f == NULL)
        return;
    // The wrapper is usually openssl or stunnel.
    f->tls = wrapped ? IMPORT_TLS_IMPLICIT : IMPORT_TLS_OFF;
    f->is_default = list.len == 0;
    found_user(im, f, user);
    found_password(im, f, password, ini.text.file, line);
    senders(im, f, list);
    if (wrapped)
        found_remark(im, f,
                     "masqmail reaches it through a `wrapper`; TLS from the first byte is "
                     "assumed");
}

void masqmail_etc(struct import *im)
{
    const char *dir = etc_path(im, "/etc/masqmail");
    for (const char *const *n = names_in(im, dir); *n != NULL; n++) {
        struct str name = str_of(*n);
        if (!str_iends(name, STR(".route")))
            continue;
        name.len -= sizeof(".route") - 1;
        read_route(im, arena_printf(im->arena, "%s/%s", dir, *n), name);
    }
}
