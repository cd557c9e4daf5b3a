// SPDX-License-Identifier: ISC
// dma(8): a smart host, and passwords as user|host:password.
#include "import/source.h"

static void read_auth(struct import *im, struct import_found *f, const char *path)
{
    struct text t;
    struct str line, user, host;
    if (!text_open_named(im, &t, path))
        return;
    while (text_next(&t, &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || !str_split(&line, '|', &user) ||
            !str_split(&line, ':', &host))
            continue;
        if (f->user == NULL && str_is(str_trim(host), f->host)) {
            found_user(im, f, str_trim(user));
            found_password(im, f, line, t.file, t.line);
        }
    }
}

void dma_etc(struct import *im)
{
    struct text t;
    struct str line, word, value;
    struct str host = {0}, port = {0}, masquerade = {0};
    const char *auth = NULL;
    bool secure = false, starttls = false, opportunistic = false;
    unsigned at = 0;
    if (!text_open(im, &t, etc_path(im, "/etc/dma/dma.conf")))
        return;
    while (text_next(&t, &line)) {
        line.len = str_find(line, '#');
        if (!word_next(im, &line, 0, &word))
            continue;
        value = str_trim(line);
        if (str_eq(word, STR("SMARTHOST"))) {
            host = value;
            at = t.line;
        } else if (str_eq(word, STR("PORT"))) {
            port = value;
        } else if (str_eq(word, STR("AUTHPATH"))) {
            auth = named_path(im, "/etc/dma", value);
        } else if (str_eq(word, STR("MASQUERADE"))) {
            masquerade = value;
        }
        secure |= str_eq(word, STR("SECURETRANSFER"));
        starttls |= str_eq(word, STR("STARTTLS"));
        opportunistic |= str_eq(word, STR("OPPORTUNISTIC_TLS"));
    }
    struct import_found *f = host.len > 0 ? found_add(im, t.file, at, STR("")) : NULL;
    if (f == NULL)
        return;
    f->tls = !secure         ? IMPORT_TLS_OFF
             : !starttls     ? IMPORT_TLS_IMPLICIT
             : opportunistic ? IMPORT_TLS_WANTED
                             : IMPORT_TLS_STARTTLS;
    f->is_default = true;
    found_host(im, f, host, 25);
    found_port(f, port);
    if (auth != NULL)
        read_auth(im, f, auth);
    if (masquerade.len > 0)
        found_remark(im, f,
                     "dma puts another sender on the mail (MASQUERADE); Waypost leaves "
                     "senders as they are");
}
