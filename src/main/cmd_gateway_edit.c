// SPDX-License-Identifier: ISC
// gateway add, edit, enable, disable, remove, move: changes of the configuration file, with
// everything else in it left as it was written.
#include "base/mem.h"
#include "conf/edit.h"
#include "conf/read.h"
#include "conf/schema.h"
#include "main/conf_file.h"
#include "main/password.h"
#include "sys/file.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static int usage(const char *words)
{
    fprintf(stderr, "usage: waypost gateway %s\n", words);
    return EX_USAGE;
}

// An error of conf/edit ends without a change.
static int refuse(const struct err *err)
{
    fprintf(stderr, "waypost: %s; nothing was changed\n", err->text);
    return EX_DATAERR;
}

// ---- Values ----

// May stand in YAML as it is: a word, a number, a time.
static bool is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (!ascii_is_alnum(value.ptr[i]) && (i == 0 || strchr("./%_-", value.ptr[i]) == NULL))
            return false;
    return value.len > 0;
}

static void put_text(struct buf *out, struct str value)
{
    if (is_plain(value))
        buf_add(out, value);
    else
        conf_edit_quote(out, value);
}

// What was typed as YAML stays so; "a,b" is a list; everything else is text.
static void put_value(struct buf *out, struct str value)
{
    struct str item;
    if (value.len > 0 && strchr("[{!\"'", value.ptr[0]) != NULL) {
        buf_add(out, value);
        return;
    }
    if (str_find(value, ',') == value.len) {
        put_text(out, value);
        return;
    }
    for (const char *gap = "["; str_split(&value, ',', &item); gap = ", ") {
        buf_puts(out, gap);
        put_text(out, str_trim(item));
    }
    buf_putc(out, ']');
}

static void put_pair(struct buf *out, const char *key, struct str value)
{
    buf_printf(out, "%s%s: ", out->len > 1 ? ", " : "", key);
    put_value(out, value);
}

// ---- Passwords never stand on a command line ----

static bool url_holds_password(struct str url)
{
    size_t begin = 0;
    for (size_t i = 0; i + 2 < url.len; i++)
        if (memcmp(url.ptr + i, "://", 3) == 0 && begin == 0)
            begin = i + 3;
    struct str rest = str_make(url.ptr + begin, url.len - begin);
    rest.len = str_find(rest, '/');
    size_t at = rest.len;
    while (at > 0 && rest.ptr[at - 1] != '@')
        at--;
    return at > 0 && str_find(str_make(rest.ptr, at), ':') < at;
}

static bool url_has_user(struct str url)
{
    return str_find(url, '@') < url.len;
}

static int refuse_password(void)
{
    fprintf(stderr,
            "waypost: a password does not belong on a command line, where others see it. Leave it "
            "out and type it when you are asked, or name a file that holds it: --password-file "
            "FILE\n");
    return EX_USAGE;
}

// Who reads it: the user the daemon becomes, else whoever may read the configuration.
static void reader_of(const struct conf_file *f, unsigned *mode, int64_t *uid, int64_t *gid)
{
    struct conf_report report = {0};
    struct path_facts facts;
    struct err err;
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text(f->path, buf_str(&f->text), &report);
    const struct passwd *p = conf != NULL && conf->user != NULL ? getpwnam(conf->user) : NULL;
    *mode = 0600;
    *uid = *gid = -1;
    if (p != NULL && getuid() == 0) {
        *uid = p->pw_uid;
        *gid = p->pw_gid;
    } else if (f->exists && path_stat(f->path, &facts, &err)) {
        *uid = facts.uid;
        *gid = facts.gid;
        *mode = facts.mode & 0040 ? 0640 : 0600;
    }
    conf_unref(&conf);
    conf_report_free(&report);
}

// Asks for it and keeps it beside the configuration. The file's name relative to it; NULL after it
// was said why not.
static const char *keep_password(struct conf_file *f, const char *name, struct arena *arena)
{
    char password[1024];
    struct err err;
    unsigned mode;
    int64_t uid, gid;
    const char *slash = strrchr(f->path, '/');
    const char *file = arena_printf(arena, "%s.pw", name);
    const char *path = slash == NULL
                           ? file
                           : arena_printf(arena, "%.*s/%s", (int)(slash - f->path), f->path, file);
    if (strchr(name, '/') != NULL || name[0] == '.') {
        fprintf(stderr, "waypost: `%s` is no name for a gateway; take letters, digits, - and _\n",
                name);
        return NULL;
    }
    if (path_exists(path)) {
        fprintf(stderr,
                "waypost: %s is there already; take it with --password-file %s, or remove "
                "it\n",
                path, file);
        return NULL;
    }
    if (!password_read(arena_printf(arena, "password of %s: ", name), password)) {
        fprintf(stderr, "waypost: no password on standard input\n");
        return NULL;
    }
    reader_of(f, &mode, &uid, &gid);
    struct str line = str_of(arena_printf(arena, "%s\n", password));
    bool ok = f->dry_run || conf_file_write(path, line, mode, uid, gid, NULL, &err);
    explicit_bzero(password, sizeof(password));
    explicit_bzero((char *)(uintptr_t)line.ptr, line.len);
    if (!ok)
        fprintf(stderr, "waypost: %s\n", err.text);
    else
        f->extra = path;
    return ok ? file : NULL;
}

// ---- One key ----

// "limits.per_day=500": set, or taken out with an empty value.
static bool set_key(struct buf *text, const char *name, struct str pair, struct err *err)
{
    struct str value = pair, key;
    struct buf path, yaml, next;
    buf_init(&path, 4096);
    buf_init(&yaml, 64 * 1024);
    buf_init(&next, LIMIT_CONFIG_FILE);
    str_split(&value, '=', &key);
    buf_printf(&path, "gateways.%s.%.*s", name, STR_FMT(key));
    put_value(&yaml, value);
    bool ok = value.len > 0
                  ? conf_edit_text_set(buf_str(text), buf_cstr(&path), buf_cstr(&yaml), &next, err)
                  : conf_edit_text_remove(buf_str(text), buf_cstr(&path), &next, err);
    if (ok) {
        buf_free(text);
        *text = next;
    } else {
        buf_free(&next);
    }
    buf_free(&path);
    buf_free(&yaml);
    return ok;
}

// ---- add ----

struct adding {
    const char *name, *url;
    struct str networks, senders, priority;
    const char *password_file; // "-": ask
    struct buf value;
};

static bool take_value(int *argc, char **argv, const char *option, struct str *value_out)
{
    const char *text = main_option(argc, argv, option);
    *value_out = str_of(text);
    return text != NULL;
}

// What is left behind name and url: KEY=VALUE.
static bool check_keys(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        struct str rest = str_of(argv[i]), key;
        str_split(&rest, '=', &key);
        if (argv[i][0] == '-' || argv[i][0] == '=' || strchr(argv[i], '=') == NULL) {
            usage("add NAME URL [KEY=VALUE]... [--networks A,B] [--senders GLOB,GLOB] "
                  "[--priority low] [--password-file FILE|-] [--dry-run] [--json]");
            return false;
        }
        if (str_eq(key, STR("password")) && !str_starts(rest, STR("!"))) {
            refuse_password();
            return false;
        }
    }
    return true;
}

static bool names_key(int argc, char **argv, const char *name)
{
    for (int i = 2; i < argc; i++) {
        struct str rest = str_of(argv[i]), key;
        str_split(&rest, '=', &key);
        if (str_starts(key, str_of(name)))
            return true;
    }
    return false;
}

static bool add_password(struct adding *a, struct conf_file *f, int argc, char **argv,
                         struct arena *arena)
{
    bool ask = a->password_file != NULL && strcmp(a->password_file, "-") == 0;
    if (a->password_file == NULL && url_has_user(str_of(a->url)) && isatty(STDIN_FILENO))
        ask = !names_key(argc, argv, "password") && !names_key(argc, argv, "oauth2");
    const char *file = ask ? keep_password(f, a->name, arena) : a->password_file;
    if (ask && file == NULL)
        return false;
    if (file != NULL) {
        struct buf quoted;
        buf_init(&quoted, 8192);
        conf_edit_quote(&quoted, str_of(file));
        buf_printf(&a->value, ", password: !file %s", buf_cstr(&quoted));
        buf_free(&quoted);
    }
    return true;
}

static int add(struct adding *a, struct conf_file *f, int argc, char **argv)
{
    struct arena *arena = arena_new();
    struct err err = {0};
    struct buf text;
    int status = EX_USAGE;
    buf_init(&text, LIMIT_CONFIG_FILE);
    buf_init(&a->value, 64 * 1024);
    buf_putc(&a->value, '{');
    put_pair(&a->value, "url", str_of(a->url));
    if (a->networks.len > 0)
        put_pair(&a->value, "networks", a->networks);
    if (a->senders.len > 0)
        put_pair(&a->value, "senders", a->senders);
    if (a->priority.len > 0)
        put_pair(&a->value, "priority", a->priority);
    if (check_keys(argc, argv) && add_password(a, f, argc, argv, arena)) {
        buf_putc(&a->value, '}');
        bool ok = conf_edit_text_add(buf_str(&f->text), "gateways", a->name, buf_cstr(&a->value),
                                     &text, &err);
        for (int i = 2; ok && i < argc; i++)
            ok = set_key(&text, a->name, str_of(argv[i]), &err);
        status = ok ? conf_file_change(f, buf_str(&text)) : refuse(&err);
        if (!ok && f->extra != NULL)
            path_remove(f->extra, &err);
    }
    buf_free(&text);
    buf_free(&a->value);
    arena_free(&arena);
    return status;
}

int cmd_gateway_add(const struct main_options *options, int argc, char **argv)
{
    struct adding a = {0};
    struct conf_file f;
    int status;
    if (main_option(&argc, argv, "--password") != NULL)
        return refuse_password();
    a.password_file = main_option(&argc, argv, "--password-file");
    take_value(&argc, argv, "--networks", &a.networks);
    take_value(&argc, argv, "--senders", &a.senders);
    take_value(&argc, argv, "--priority", &a.priority);
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    if (argc < 2 || argv[0][0] == '-' || argv[1][0] == '-') {
        status = usage("add NAME URL [KEY=VALUE]... [--networks A,B] [--senders GLOB,GLOB] "
                       "[--priority low] [--password-file FILE|-] [--dry-run] [--json]\n"
                       "for example: waypost gateway add isp smtp+starttls://me@mail.isp.example");
    } else if (url_holds_password(str_of(argv[1]))) {
        status = refuse_password();
    } else {
        a.name = argv[0];
        a.url = argv[1];
        status = add(&a, &f, argc, argv);
    }
    conf_file_close(&f);
    return status;
}

// ---- Those that are there ----

// Is it in the file (or built in)? Else the nearest is offered.
static bool known(const struct conf_file *f, const char *name)
{
    struct conf_report report = {0};
    struct conf_nearest near = {0};
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text(f->path, buf_str(&f->text), &report);
    bool found = conf == NULL || conf_gateway_find(conf, str_of(name)) != NULL;
    for (size_t i = 0; !found && i < conf->gateway_count; i++)
        conf_nearest_offer(&near, str_of(name), conf->gateways[i].name);
    if (!found && near.word != NULL)
        fprintf(stderr, "waypost: there is no gateway `%s`; did you mean `%s`?\n", name, near.word);
    else if (!found)
        fprintf(stderr, "waypost: there is no gateway `%s` in %s\n", name, f->path);
    conf_unref(&conf);
    conf_report_free(&report);
    return found;
}

static bool shows_password(struct str pair)
{
    struct str value = pair, key;
    str_split(&value, '=', &key);
    return (str_eq(key, STR("password")) && value.len > 0 && !str_starts(value, STR("!"))) ||
           (str_eq(key, STR("url")) && url_holds_password(value));
}

static int edit(struct conf_file *f, const char *name, int count, char **pairs)
{
    struct buf text;
    struct err err = {0};
    int status = 0;
    if (!known(f, name))
        return EX_USAGE;
    buf_init(&text, LIMIT_CONFIG_FILE);
    buf_add(&text, buf_str(&f->text));
    for (int i = 0; status == 0 && i < count; i++) {
        if (shows_password(str_of(pairs[i])))
            status = refuse_password();
        else if (!set_key(&text, name, str_of(pairs[i]), &err))
            status = refuse(&err);
    }
    if (status == 0)
        status = conf_file_change(f, buf_str(&text));
    buf_free(&text);
    return status;
}

int cmd_gateway_edit(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    bool pairs = argc >= 2;
    for (int i = 1; i < argc; i++)
        pairs = pairs && argv[i][0] != '-' && argv[i][0] != '=' && strchr(argv[i], '=') != NULL;
    status = pairs ? edit(&f, argv[0], argc - 1, argv + 1)
                   : usage("edit NAME KEY=VALUE... [--dry-run] [--json]    (KEY= takes it out; "
                           "keys: waypost "
                           "config explain gateways)");
    conf_file_close(&f);
    return status;
}

static int set_enabled(const struct main_options *options, int argc, char **argv, const char *word,
                       char *pair)
{
    struct conf_file f;
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    if (argc == 1 && argv[0][0] != '-') {
        status = edit(&f, argv[0], 1, &pair);
    } else {
        fprintf(stderr, "usage: waypost gateway %s NAME [--dry-run] [--json]\n", word);
        status = EX_USAGE;
    }
    conf_file_close(&f);
    return status;
}

int cmd_gateway_enable(const struct main_options *options, int argc, char **argv)
{
    char pair[] = "enabled=true";
    return set_enabled(options, argc, argv, "enable", pair);
}

int cmd_gateway_disable(const struct main_options *options, int argc, char **argv)
{
    char pair[] = "enabled=false";
    return set_enabled(options, argc, argv, "disable", pair);
}

// `before` NULL: removes it; "": to the end; else before that one.
static int place(struct conf_file *f, const char *name, const char *before)
{
    struct buf text, path;
    struct err err = {0};
    if (!known(f, name) || (before != NULL && before[0] != '\0' && !known(f, before)))
        return EX_USAGE;
    buf_init(&text, LIMIT_CONFIG_FILE);
    buf_init(&path, 4096);
    buf_printf(&path, "gateways.%s", name);
    bool ok = before == NULL
                  ? conf_edit_text_remove(buf_str(&f->text), buf_cstr(&path), &text, &err)
                  : conf_edit_text_move(buf_str(&f->text), "gateways", name,
                                        before[0] != '\0' ? before : NULL, &text, &err);
    int status = ok ? conf_file_change(f, buf_str(&text)) : refuse(&err);
    buf_free(&text);
    buf_free(&path);
    return status;
}

int cmd_gateway_remove(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    status = argc == 1 && argv[0][0] != '-' ? place(&f, argv[0], NULL)
                                            : usage("remove NAME [--dry-run] [--json]");
    conf_file_close(&f);
    return status;
}

int cmd_gateway_move(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    int status;
    const char *before = main_option(&argc, argv, "--before");
    bool last = main_flag(&argc, argv, "--last");
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    bool ok = argc == 1 && argv[0][0] != '-' && last == (before == NULL);
    status = ok ? place(&f, argv[0], last ? "" : before)
                : usage("move NAME --before OTHER | --last [--dry-run] [--json]");
    conf_file_close(&f);
    return status;
}
