// SPDX-License-Identifier: ISC
// ssmtp(8): one mail hub, and a sender and hub for each local user.
#include "import/source.h"

// `local:address[:hub[:port]]`: who sends as whom, and where.
static void read_revaliases(struct import *im, struct import_found *hub)
{
    struct text t;
    struct str line, local, address;
    if (!text_open(im, &t, etc_path(im, "/etc/ssmtp/revaliases")))
        return;
    while (text_next(&t, &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || !str_split(&line, ':', &local) ||
            !str_split(&line, ':', &address))
            continue;
        struct import_found *f = hub;
        if (has_text(line)) {
            if ((f = found_add(im, t.file, t.line, str_trim(local))) == NULL)
                return;
            found_host(im, f, line, 25);
            f->tls = hub->tls;
            f->user = hub->user;
            if (hub->secret == IMPORT_SECRET_CLEAR)
                found_password(im, f, str_of(hub->password), hub->secret_file, hub->secret_line);
            found_senders(im, f, address);
        }
    }
}

void ssmtp_etc(struct import *im)
{
    struct ini ini;
    struct ini_entry e;
    bool tls = false, starttls = false;
    struct str user = {0}, password = {0};
    unsigned password_line = 0;
    struct import_found *f = NULL;
    if (!ini_open(im, &ini, etc_path(im, "/etc/ssmtp/ssmtp.conf"), INI_PLAIN))
        return;
    while (ini_next(&ini, &e)) {
        // Values end at a blank or a #.
        e.value.len = str_find(e.value, '#');
        e.value = str_trim(str_make(e.value.ptr, str_find(e.value, ' ')));
        if (str_is(e.key, "mailhub") && f == NULL) {
            if ((f = found_add(im, ini.text.file, e.line, STR(""))) == NULL)
                return;
            found_host(im, f, e.value, 25);
        } else if (str_is(e.key, "AuthUser")) {
            user = e.value;
        } else if (str_is(e.key, "AuthPass")) {
            password = e.value;
            password_line = e.line;
        } else if (str_is(e.key, "UseTLS")) {
            tls = is_yes(e.value);
        } else if (str_is(e.key, "UseSTARTTLS")) {
            starttls = is_yes(e.value);
        }
    }
    if (f == NULL)
        return;
    f->is_default = true;
    f->tls = starttls ? IMPORT_TLS_STARTTLS : tls ? IMPORT_TLS_IMPLICIT : IMPORT_TLS_OFF;
    found_user(im, f, user);
    found_password(im, f, password, ini.text.file, password_line);
    read_revaliases(im, f);
}
