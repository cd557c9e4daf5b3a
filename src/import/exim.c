// SPDX-License-Identifier: ISC
// Exim as Debian sets it up: a smart host, and passwords as host:user:password.
#include "import/source.h"

// In a value of passwd.client a colon is written :: and a caret ^^.
static bool piece(struct import *im, struct str *rest, struct str *out)
{
    char *text = arena_alloc(im->arena, rest->len + 1);
    size_t n = 0, i = 0;
    if (rest->len == 0)
        return false;
    for (; i < rest->len; i++) {
        char c = rest->ptr[i];
        bool twice = (c == ':' || c == '^') && i + 1 < rest->len && rest->ptr[i + 1] == c;
        if (c == ':' && !twice)
            break;
        text[n++] = c;
        i += twice;
    }
    *rest = str_after(*rest, i + 1);
    *out = str_make(text, n);
    return true;
}

static void read_passwords(struct import *im, struct import_found *f)
{
    struct text t;
    struct str line, host, user, password;
    if (!text_open(im, &t, etc_path(im, "/etc/exim4/passwd.client")))
        return;
    while (text_next(&t, &line)) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || !piece(im, &line, &host) ||
            !piece(im, &line, &user) || !piece(im, &line, &password))
            continue;
        // Exim asks by the name the host really has, which may be another; patterns are usual.
        if (f->user != NULL || !str_glob(host, str_of(f->host)))
            continue;
        found_user(im, f, user);
        found_password(im, f, password, t.file, t.line);
    }
    if (f->user == NULL && password.len > 0)
        found_remark(im, f,
                     "no line of %s is for this host; Exim looks for the name behind any CNAME",
                     t.file);
}

// host::port;host::port, with single colons for lists of hosts on port 25.
static void read_hosts(struct import *im, const char *file, unsigned line, struct str hosts)
{
    struct str one;
    while (str_split(&hosts, ';', &one)) {
        one = str_trim(one);
        if (one.len == 0)
            continue;
        struct import_found *f = found_add(im, file, line, STR(""));
        if (f == NULL)
            return;
        char *plain = arena_alloc(im->arena, one.len + 1);
        size_t n = 0;
        for (size_t i = 0; i < one.len; i++)
            if (one.ptr[i] != ':' || i + 1 == one.len || one.ptr[i + 1] != ':')
                plain[n++] = one.ptr[i];
        found_host(im, f, str_make(plain, n), 25);
        f->is_default = true;
        read_passwords(im, f);
        // By default Exim takes TLS when offered, and sends no password without it.
        f->tls = f->port == 465    ? IMPORT_TLS_IMPLICIT
                 : f->user != NULL ? IMPORT_TLS_STARTTLS
                                   : IMPORT_TLS_WANTED;
    }
}

void exim_etc(struct import *im)
{
    struct ini ini;
    struct ini_entry e;
    struct str type = {0}, hosts = {0};
    unsigned line = 0;
    if (!ini_open(im, &ini, etc_path(im, "/etc/exim4/update-exim4.conf.conf"), INI_PLAIN))
        return;
    while (ini_next(&ini, &e)) {
        if (str_eq(e.key, STR("dc_eximconfig_configtype")))
            type = unquote(im, e.value);
        if (str_eq(e.key, STR("dc_smarthost"))) {
            hosts = unquote(im, e.value);
            line = e.line;
        }
    }
    if (str_is(type, "satellite") || str_is(type, "smarthost"))
        read_hosts(im, ini.text.file, line, hosts);
}
