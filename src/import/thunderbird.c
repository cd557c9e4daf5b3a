// SPDX-License-Identifier: ISC
// Thunderbird and its kin: profiles.ini names directories, prefs.js in each holds the servers and
// the identities that use them. The passwords are encrypted (logins.json, key4.db).
#include "import/source.h"

#include <stdio.h>

struct pref {
    struct pref *next; // in the order of the file
    struct str name, value;
    unsigned line;
};

struct prefs {
    struct import *im;
    const char *file;
    struct map *map;
    struct pref *first;
};

// user_pref("name", value);
static bool read_pref(struct import *im, struct str line, struct str *name_out,
                      struct str *value_out)
{
    line = str_trim(line);
    if (!str_starts(line, STR("user_pref(\"")))
        return false;
    line = str_after(line, sizeof("user_pref(\"") - 1);
    size_t end = str_find(line, '"');
    *name_out = str_make(line.ptr, end);
    line = str_trim(str_after(line, end + 1));
    if (line.len == 0 || line.ptr[0] != ',')
        return false;
    line = str_trim(str_after(line, 1));
    if (line.len > 0 && (line.ptr[0] == '"' || line.ptr[0] == '\''))
        *value_out = unquote(im, line);
    else
        *value_out = str_trim(str_make(line.ptr, str_find(line, ')')));
    return true;
}

static struct pref *pref(struct prefs *p, const char *branch, struct str id, const char *key)
{
    char name[256];
    snprintf(name, sizeof(name), "%s%.*s.%s", branch, id.len < 100 ? (int)id.len : 100, id.ptr,
             key);
    return map_get(p->map, str_of(name));
}

static struct str value(struct prefs *p, const char *branch, struct str id, const char *key)
{
    struct pref *f = pref(p, branch, id, key);
    return f != NULL ? f->value : STR("");
}

static void senders(struct prefs *p, struct import_found *f, struct str server, struct str preset)
{
    static const char branch[] = "mail.identity.";
    for (const struct pref *e = p->first; e != NULL; e = e->next) {
        if (!str_starts(e->name, str_of(branch)) || !str_iends(e->name, STR(".useremail")))
            continue;
        struct str id = str_after(e->name, sizeof(branch) - 1);
        id.len = str_find(id, '.');
        struct str uses = value(p, branch, id, "smtpServer");
        if (str_eq(uses.len > 0 ? uses : preset, server))
            found_senders(p->im, f, e->value);
    }
}

static void login(struct import_found *f, struct str method)
{
    if (str_eq(method, STR("1")))
        f->login = IMPORT_LOGIN_NONE;
    else if (str_eq(method, STR("10")))
        f->login = IMPORT_LOGIN_OAUTH2;
    else if (str_eq(method, STR("5")) || str_eq(method, STR("6")) || str_eq(method, STR("7")))
        f->login = IMPORT_LOGIN_OTHER;
}

static void server(struct prefs *p, struct str id, struct str preset)
{
    static const char branch[] = "mail.smtpserver.";
    struct pref *host = pref(p, branch, id, "hostname");
    struct str tls = value(p, branch, id, "try_ssl"), label = value(p, branch, id, "description");
    if (host == NULL || host->value.len == 0)
        return;
    struct import_found *f = found_add(p->im, p->file, host->line, label.len > 0 ? label : id);
    if (f == NULL)
        return;
    f->tls = str_eq(tls, STR("3"))   ? IMPORT_TLS_IMPLICIT
             : str_eq(tls, STR("2")) ? IMPORT_TLS_STARTTLS
             : str_eq(tls, STR("1")) ? IMPORT_TLS_WANTED
                                     : IMPORT_TLS_OFF;
    f->host = arena_str(p->im->arena, host->value);
    f->port = f->tls == IMPORT_TLS_IMPLICIT ? 465 : 587;
    found_port(f, value(p, branch, id, "port"));
    found_user(p->im, f, value(p, branch, id, "username"));
    login(f, value(p, branch, id, "authMethod"));
    f->is_default = str_eq(id, preset);
    senders(p, f, id, preset);
    if (f->user != NULL)
        found_keyring(p->im, f, NULL,
                      "Thunderbird's own store (Settings, Privacy & Security, Saved Passwords)");
}

static void read_profile(struct import *im, const char *dir)
{
    struct prefs p = {.im = im, .file = arena_printf(im->arena, "%s/prefs.js", dir)};
    struct text t;
    struct str line, name, v, list, id;
    struct pref **end = &p.first;
    if (!text_open(im, &t, p.file))
        return;
    p.map = map_new();
    while (text_next(&t, &line)) {
        if (!read_pref(im, line, &name, &v) || !str_starts(name, STR("mail.")))
            continue;
        struct pref *e = arena_alloc(im->arena, sizeof(*e));
        *e = (struct pref){.name = name, .value = v, .line = t.line};
        *end = e;
        end = &e->next;
        map_put(p.map, e->name, e);
    }
    struct pref *servers = map_get(p.map, STR("mail.smtpservers"));
    struct pref *preset = map_get(p.map, STR("mail.smtp.defaultserver"));
    list = servers != NULL ? servers->value : STR("");
    struct str first = str_trim(str_make(list.ptr, str_find(list, ',')));
    for (unsigned n = 0; n < LIMIT_IMPORT_FOUND && str_split(&list, ',', &id); n++)
        server(&p, str_trim(id), preset != NULL ? preset->value : first);
    map_free(&p.map);
}

static void read_profiles(struct import *im, const char *dir)
{
    struct ini ini;
    struct ini_entry e;
    struct str path = {0};
    bool relative = true;
    if (!ini_open(im, &ini, arena_printf(im->arena, "%s/profiles.ini", dir), INI_PLAIN))
        return;
    for (bool more = true; more;) {
        more = ini_next_or_section(&ini, &e);
        if (more && e.key.ptr != NULL) {
            if (str_is(e.key, "Path"))
                path = e.value;
            else if (str_is(e.key, "IsRelative"))
                relative = !str_eq(e.value, STR("0"));
            continue;
        }
        if (path.len > 0 && relative)
            read_profile(im, arena_printf(im->arena, "%s/%.*s", dir, STR_FMT(path)));
        else if (path.len > 0)
            read_profile(im, named_path(im, dir, path));
        path.len = 0;
        relative = true;
    }
}

void thunderbird_home(struct import *im)
{
    static const char *const dirs[] = {
        ".thunderbird",
        ".icedove",
        ".mozilla-thunderbird",
        ".betterbird",
        "snap/thunderbird/common/.thunderbird",
        ".var/app/org.mozilla.Thunderbird/.thunderbird",
        ".var/app/org.mozilla.thunderbird/.thunderbird",
        ".var/app/eu.betterbird.Betterbird/.thunderbird",
    };
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        read_profiles(im, home_path(im, dirs[i]));
}
