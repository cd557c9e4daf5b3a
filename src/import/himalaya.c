// SPDX-License-Identifier: ISC
// himalaya's config.toml, of 0.5 to 1.x: the keys moved, their last words stayed.
#include "import/source.h"

struct account {
    struct str name, email, host, port, login, encryption, starttls, insecure, command, raw,
        keyring, auth;
    bool is_default;
    unsigned line, raw_line;
};

static void emit(struct import *im, const char *file, const struct account *a)
{
    if (a->host.len == 0)
        return;
    struct import_found *f = found_add(im, file, a->line, a->name);
    if (f == NULL)
        return;
    bool off = str_is(a->encryption, "none") || is_yes(a->insecure);
    bool starttls = str_is(a->encryption, "start-tls") || is_yes(a->starttls);
    f->tls = off ? IMPORT_TLS_OFF : starttls ? IMPORT_TLS_STARTTLS : IMPORT_TLS_IMPLICIT;
    found_host(im, f, a->host, starttls ? 587 : 465);
    found_port(f, a->port);
    found_user(im, f, a->login.len > 0 ? a->login : a->email);
    found_senders(im, f, a->email);
    f->is_default = a->is_default;
    if (str_istarts(a->auth, STR("oauth2")))
        f->login = IMPORT_LOGIN_OAUTH2;
    found_password(im, f, a->raw, file, a->raw_line);
    found_command(im, f, a->command);
    if (a->keyring.len > 0)
        found_keyring(im, f,
                      strpbrk(arena_str(im->arena, a->keyring), "'\\") != NULL
                          ? NULL
                          : arena_printf(im->arena,
                                         "secret-tool lookup service himalaya-cli username '%.*s'",
                                         STR_FMT(a->keyring)),
                      "the keyring, as %.*s", STR_FMT(a->keyring));
}

// { cmd = "x" }, { raw = "y" }: its first pair.
static void inline_table(struct import *im, struct str *key, struct str *value)
{
    struct str body = str_after(*value, 1), name;
    if (!str_split(&body, '=', &name))
        return;
    *key = str_of(arena_printf(im->arena, "%.*s.%.*s", STR_FMT(*key), STR_FMT(str_trim(name))));
    body = str_trim(body);
    if (body.len > 0 && (body.ptr[0] == '"' || body.ptr[0] == '\''))
        *value = unquote(im, body);
    else
        *value = str_trim(str_make(body.ptr, str_find(body, '}')));
}

static void set(struct account *a, const struct ini_entry *e, struct str key)
{
    const struct {
        const char *tail;
        struct str *value;
    } rows[] = {
        {"host", &a->host},
        {"port", &a->port},
        {"login", &a->login},
        {"starttls", &a->starttls},
        {"insecure", &a->insecure},
        {"encryption", &a->encryption},
        {"encryption.type", &a->encryption},
        {"auth.type", &a->auth},
        {"auth", &a->auth},
        {"cmd", &a->command},
        {"command", &a->command},
        {"passwd-cmd", &a->command},
        {"raw", &a->raw},
        {"keyring", &a->keyring},
    };
    // Of the part that sends only: smtp.host, smtp-host, message.send.backend.host.
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str tail = str_of(rows[i].tail);
        if (!str_iends(key, tail) || key.len == tail.len ||
            strchr(".-", key.ptr[key.len - tail.len - 1]) == NULL)
            continue;
        *rows[i].value = e->value;
        if (rows[i].value == &a->host)
            a->line = e->line;
        if (rows[i].value == &a->raw)
            a->raw_line = e->line;
    }
}

static void read_file(struct import *im, const char *path)
{
    struct ini ini;
    struct ini_entry e;
    struct account a = {0};
    static const char *const sends[] = {"smtp.", "smtp-", "message.send.", "sender."};
    struct str here = {0}; // the rest of a section's name: accounts.NAME.REST
    if (!ini_open(im, &ini, path, INI_TOML))
        return;
    while (ini_next_or_section(&ini, &e)) {
        if (e.key.ptr == NULL) {
            struct str rest = e.section, name;
            if (str_starts(rest, STR("accounts.")))
                rest = str_after(rest, 9);
            bool quoted = rest.len > 0 && rest.ptr[0] == '"';
            name = quoted ? unquote(im, rest) : str_make(rest.ptr, str_find(rest, '.'));
            here = str_after(rest, name.len + (quoted ? 3 : 1));
            if (!str_eq(name, a.name)) {
                emit(im, ini.text.file, &a);
                a = (struct account){.name = name};
            }
            continue;
        }
        struct str key = e.key;
        if (here.len > 0)
            key = str_of(arena_printf(im->arena, "%.*s.%.*s", STR_FMT(here), STR_FMT(e.key)));
        if (e.value.len > 0 && e.value.ptr[0] == '{')
            inline_table(im, &key, &e.value);
        if (str_is(key, "email"))
            a.email = e.value;
        a.is_default |= str_is(key, "default") && is_yes(e.value);
        for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]); i++)
            if (str_istarts(key, str_of(sends[i])))
                set(&a, &e, key);
    }
    emit(im, ini.text.file, &a);
}

void himalaya_home(struct import *im)
{
    static const char *const paths[] = {".config/himalaya/config.toml", ".himalaya.toml",
                                        ".himalayarc"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        read_file(im, home_path(im, paths[i]));
}
