// SPDX-License-Identifier: ISC
// nullmailer-send(8): remotes, tried in the order they stand.
#include "import/source.h"

static void option(struct import *im, struct import_found *f, struct str word, struct text *t)
{
    struct str value = word, name;
    str_split(&value, '=', &name);
    if (str_eq(name, STR("--user")))
        found_user(im, f, value);
    else if (str_eq(name, STR("--pass")))
        found_password(im, f, value, t->file, t->line);
    else if (str_eq(name, STR("--port")))
        found_port(f, value);
    else if (str_eq(name, STR("--ssl")))
        f->tls = IMPORT_TLS_IMPLICIT;
    else if (str_eq(name, STR("--starttls")))
        f->tls = IMPORT_TLS_STARTTLS;
    else if (str_eq(name, STR("--insecure")))
        f->no_verify = true;
    else if (str_eq(name, STR("--x509cafile")))
        f->ca = named_path(im, "/", value);
}

static struct import_found *remote(struct import *im, struct text *t, struct str line)
{
    enum { FLAGS = WORD_HASH | WORD_ESCAPE | WORD_SINGLE };
    struct str word;
    struct import_found *f;
    if (!word_next(im, &line, FLAGS, &word) ||
        (f = found_add(im, t->file, t->line, STR(""))) == NULL)
        return NULL;
    found_host(im, f, word, 0);
    f->tls = IMPORT_TLS_OFF;
    f->is_default = true;
    for (bool first = true; word_next(im, &line, FLAGS, &word); first = false) {
        if (first && word.len > 0 && word.ptr[0] != '-' && !str_eq(word, STR("smtp")))
            found_why_not(im, f, "its protocol is not SMTP");
        option(im, f, word, t);
    }
    if (f->port == 0)
        f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : 25;
    return f;
}

// Files of one line that change addresses.
static void read_line_file(struct import *im, const char *path, const char *says)
{
    struct text t;
    struct str line;
    if (text_open(im, &t, etc_path(im, path)) && text_next(&t, &line) && has_text(line))
        import_note(im, t.file, 1, "%s", says);
}

void nullmailer_etc(struct import *im)
{
    struct text t;
    struct str line;
    bool any = false;
    if (!text_open(im, &t, etc_path(im, "/etc/nullmailer/remotes")))
        return;
    while (text_next(&t, &line)) {
        any |= remote(im, &t, line) != NULL;
    }
    if (!any)
        return;
    read_line_file(im, "/etc/nullmailer/adminaddr",
                   "it sends all mail to local users to one address; Waypost does not do that");
    read_line_file(im, "/etc/nullmailer/allmailfrom",
                   "it puts one sender on all mail; Waypost leaves senders as they are, so the "
                   "server must take them");
}
