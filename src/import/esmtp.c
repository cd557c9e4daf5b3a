// SPDX-License-Identifier: ISC
// esmtprc(5): a server, and others for identities.
#include "import/source.h"

struct server {
    struct str host, user, password, tls, identity;
    unsigned line, password_line;
    bool is_default;
};

static void emit(struct import *im, const char *file, const struct server *s)
{
    struct import_found *f = s->host.len > 0 ? found_add(im, file, s->line, s->identity) : NULL;
    if (f == NULL)
        return;
    found_host(im, f, s->host, 25);
    found_user(im, f, s->user);
    found_password(im, f, s->password, file, s->password_line);
    found_senders(im, f, s->identity);
    f->is_default = s->is_default;
    f->tls = str_is(s->tls, "required")  ? IMPORT_TLS_STARTTLS
             : str_is(s->tls, "enabled") ? IMPORT_TLS_WANTED
                                         : IMPORT_TLS_OFF;
}

static void read_file(struct import *im, const char *path)
{
    struct text t;
    struct server now = {.is_default = true}, first = {0};
    struct str line, key, value;
    if (!text_open(im, &t, path))
        return;
    while (text_next(&t, &line)) {
        enum { FLAGS = WORD_HASH | WORD_EQUALS };
        if (!word_next(im, &line, FLAGS, &key))
            continue;
        if (!word_next(im, &line, FLAGS, &value))
            value = STR("");
        if (str_is(key, "identity")) {
            emit(im, t.file, &now);
            if (first.line == 0)
                first = now;
            now = (struct server){.identity = value, .tls = first.tls, .line = t.line};
        } else if (str_is(key, "default")) {
            now.is_default = true;
        } else if (str_is(key, "hostname")) {
            now.host = value;
            now.line = t.line;
        } else if (str_is(key, "username")) {
            now.user = value;
        } else if (str_is(key, "password")) {
            now.password = value;
            now.password_line = t.line;
        } else if (str_is(key, "starttls")) {
            now.tls = value;
        }
    }
    emit(im, t.file, &now);
}

void esmtp_home(struct import *im)
{
    read_file(im, home_path(im, ".esmtprc"));
}

void esmtp_etc(struct import *im)
{
    read_file(im, etc_path(im, "/etc/esmtprc"));
}
