// SPDX-License-Identifier: ISC
// import: what other mail programs know of outgoing servers, and a configuration of it. A dry run
// unless --write names a file that does not exist yet.
//
// With --test what was found is asked whether it works, by --login with the password; else nothing
// is connected to.
//
// With --append the gateways go into the configuration in force, which is checked and taken over as
// by any other command that changes it.
//
// The files of passwords are written first and the configuration last: when that one is there,
// everything it names is, too. What was written goes again when the rest cannot be.
#include "base/utf8.h"
#include "conf/edit.h"
#include "import/show.h"
#include "import/source.h"
#include "main/conf_file.h"
#include "main/import_try.h"
#include "sys/file.h"
#include "sys/host.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { TEXT_BYTES = 4 << 20, HOMES = 64 };
static const char default_file[] = "/etc/waypost/waypost.yaml";

struct wishes {
    const char *write, *passwords, *root;
    const char *homes[HOMES];
    size_t home_count;
    const struct import_source *only;
    bool json, append, test, login;
};

static int usage(void)
{
    fprintf(stderr, "usage: waypost import [--from PROGRAM] [--home DIR]... [--root DIR] [--json]\n"
                    "                      [--test [--login] | --write FILE | --append] "
                    "[--passwords DIR]\n");
    return EX_USAGE;
}

static int unknown_program(const char *name)
{
    fprintf(stderr, "waypost: no program called `%s` is read here; these are:\n", name);
    for (const struct import_source *s = import_sources; s->name != NULL; s++)
        fprintf(stderr, "  %-12s %s\n", s->name, s->places);
    return EX_USAGE;
}

// 0, or the exit status.
static int read_wishes(int argc, char **argv, struct wishes *w)
{
    const char *from = NULL, *home = NULL;
    const struct {
        const char *name;
        const char **value;
    } rows[] = {{"--write", &w->write},
                {"--passwords", &w->passwords},
                {"--root", &w->root},
                {"--from", &from},
                {"--home", &home}};
    w->json = main_flag(&argc, argv, "--json");
    w->append = main_flag(&argc, argv, "--append");
    w->login = main_flag(&argc, argv, "--login");
    w->test = main_flag(&argc, argv, "--test") || w->login;
    for (int i = 0; i < argc; i++) {
        size_t row = 0, len = 0;
        for (; row < sizeof(rows) / sizeof(rows[0]); row++) {
            len = strlen(rows[row].name);
            if (strncmp(argv[i], rows[row].name, len) == 0 &&
                (argv[i][len] == '\0' || argv[i][len] == '='))
                break;
        }
        if (row == sizeof(rows) / sizeof(rows[0]) || (argv[i][len] == '\0' && i + 1 == argc))
            return usage();
        *rows[row].value = argv[i][len] == '=' ? argv[i] + len + 1 : argv[++i];
        if (home != NULL && w->home_count < HOMES)
            w->homes[w->home_count++] = home;
        home = NULL;
    }
    if (from != NULL && (w->only = import_source_find(from)) == NULL)
        return unknown_program(from);
    if (w->passwords != NULL && w->write == NULL && !w->append) {
        fprintf(stderr, "waypost: --passwords goes with --write FILE or --append\n");
        return EX_USAGE;
    }
    if (w->append && (w->write != NULL || w->json))
        return usage();
    if (w->test && (w->append || w->write != NULL)) {
        fprintf(stderr, "waypost: --test is for looking before --write or --append; afterwards: "
                        "waypost gateway test NAME\n");
        return EX_USAGE;
    }
    const char *own = host_env("HOME");
    if (w->home_count == 0 && w->root == NULL && own != NULL && own[0] == '/')
        w->homes[w->home_count++] = own;
    return 0;
}

// ---- writing ----

static bool write_file(const char *path, struct str text, unsigned mode, struct err *err)
{
    struct file_piece piece = {text.ptr, text.len};
    struct file *file = file_open(path, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    // Its name begins with 0600; only then may others get to it.
    bool ok = file_write(file, 0, &piece, 1, err) && file_set_mode(file, mode, err) &&
              file_sync(file, err);
    file_close(&file);
    return ok;
}

static bool has_password(const struct import_found *f)
{
    return import_kept(f) == f && f->user != NULL && f->secret == IMPORT_SECRET_CLEAR;
}

// NULL, or the first of them that is there already.
static const char *in_the_way(struct import *im, const struct import_layout *layout)
{
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        if (has_password(f) && path_exists(import_password_file(im, layout, f)))
            return import_password_file(im, layout, f);
    return NULL;
}

static bool write_passwords(struct import *im, const struct import_layout *layout, struct err *err)
{
    struct buf line;
    // Root's files are for a daemon of another user, who must get at them; each is closed by
    // itself.
    bool ok = dir_make(layout->dir, host_uid() == 0 ? 0755 : 0700, err);
    buf_init(&line, 64 * 1024);
    for (const struct import_found *f = im->found; ok && f != NULL; f = f->next) {
        if (!has_password(f))
            continue;
        buf_clear(&line);
        buf_printf(&line, "%s\n", f->password);
        ok = write_file(import_password_file(im, layout, f), buf_str(&line), 0600, err);
        explicit_bzero(line.data, line.len);
    }
    buf_free(&line);
    return ok && dir_sync(layout->dir, err);
}

static void remove_passwords(struct import *im, const struct import_layout *layout)
{
    struct err err;
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        if (has_password(f))
            path_remove(import_password_file(im, layout, f), &err);
}

static int refuse(const struct wishes *w, const char *path, struct str yaml)
{
    fprintf(stderr,
            "waypost: %s exists and is left as it is; to use this, put what follows into it, name "
            "another file, or take --append\n",
            path);
    if (!w->json)
        fwrite(yaml.ptr, 1, yaml.len, stdout);
    return EX_CANTCREAT;
}

static int write_all(struct import *im, const struct wishes *w, const struct import_layout *layout,
                     struct str yaml)
{
    struct err err = {0};
    const char *other;
    if (path_exists(w->write))
        return refuse(w, w->write, yaml);
    if (layout->passwords && (other = in_the_way(im, layout)) != NULL) {
        fprintf(stderr,
                "waypost: %s exists and is left as it is; move it away, or name another "
                "directory\n",
                other);
        return EX_CANTCREAT;
    }
    bool ok = !layout->passwords || write_passwords(im, layout, &err);
    // Root's is for a daemon of another user; there is no secret in it.
    ok = ok && write_file(w->write, yaml, host_uid() == 0 ? 0644 : 0600, &err);
    if (ok)
        return 0;
    if (layout->passwords)
        remove_passwords(im, layout);
    fprintf(stderr, "waypost: %s\n", err.text);
    return EX_CANTCREAT;
}

// ---- appending ----

// *out: the text with all gateways in it that are not there yet; their number.
static size_t add_all(struct import *im, const struct import_layout *layout, struct str text,
                      struct buf *out)
{
    struct buf value, next;
    struct err err;
    size_t count = 0;
    buf_init(&value, 256 * 1024);
    buf_init(&next, LIMIT_CONFIG_FILE);
    buf_add(out, text);
    for (struct import_found *f = im->found; f != NULL; f = f->next) {
        if (import_kept(f) != f)
            continue;
        buf_clear(&value);
        buf_clear(&next);
        import_entry(im, layout, f, &value);
        if (!conf_edit_text_add(buf_str(out), "gateways", f->name, buf_cstr(&value), &next, &err)) {
            fprintf(stderr, "waypost: `%s` is left out: %s\n", f->name, err.text);
            f->name = NULL; // so that no password is written for it
            continue;
        }
        buf_clear(out);
        buf_add(out, buf_str(&next));
        count++;
    }
    buf_free(&value);
    buf_free(&next);
    return count;
}

static int append(struct import *im, const struct main_options *options,
                  const struct import_layout *layout)
{
    struct conf_file file;
    struct buf text;
    struct err err = {0};
    const char *other;
    int none = 0, status = EX_CANTCREAT;
    if (!conf_file_open(&file, options, &none, NULL, &status))
        return status;
    buf_init(&text, LIMIT_CONFIG_FILE);
    size_t count = add_all(im, layout, buf_str(&file.text), &text);
    if (count == 0) {
        status = EX_DATAERR;
    } else if (layout->passwords && (other = in_the_way(im, layout)) != NULL) {
        fprintf(stderr, "waypost: %s exists and is left as it is; move it away\n", other);
    } else {
        bool ok = !layout->passwords || write_passwords(im, layout, &err);
        if (ok)
            status = conf_file_change(&file, buf_str(&text));
        else
            fprintf(stderr, "waypost: %s\n", err.text);
        if (status != 0 && layout->passwords)
            remove_passwords(im, layout);
    }
    if (status == 0 && im->routes != NULL)
        fprintf(stderr, "waypost: routes are not added to what is there; `waypost import` shows "
                        "them\n");
    buf_free(&text);
    conf_file_close(&file);
    return status;
}

// ---- saying ----

static void say_yaml(struct str yaml)
{
    struct str line;
    printf("\nthe configuration would be\n");
    while (str_split(&yaml, '\n', &line))
        printf("    %.*s\n", STR_FMT(line));
}

static bool any_clear(const struct import *im)
{
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        if (has_password(f))
            return true;
    return false;
}

static void say_next(struct import *im, const struct wishes *w, const struct import_layout *layout)
{
    const char *file = w->write != NULL ? w->write : default_file, *name = NULL;
    for (const struct import_found *f = im->found; name == NULL && f != NULL; f = f->next)
        name = import_kept(f) == f ? f->name : NULL;
    printf("\nnext\n");
    if (w->write == NULL)
        printf("  waypost import --write %s%s\n", file,
               any_clear(im) ? " --passwords /etc/waypost" : "");
    else if (host_uid() == 0 && layout->passwords && any_clear(im))
        printf("  chown waypost: %s %s/*.pw    (when the daemon runs as the user waypost)\n",
               layout->dir, layout->dir);
    printf("  waypost config check %s\n", file);
    if (!w->test)
        printf(
            "  waypost import --test        do these servers answer? --login: with the password\n");
    printf(
        "  waypost serve, then: waypost gateway test %s\n"
        "  waypost setup                what is to do until sendmail and other programs use it\n",
        name);
}

// ---- trying ----

static int say_tried(const struct import_try *tried, const struct wishes *w)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES);
    import_try_say(tried, &out);
    printf("\ntried%s\n", w->login ? "" : " up to the login (--login: with it); no mail was sent");
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return import_try_all_work(tried) ? 0 : EX_UNAVAILABLE;
}

static int nothing(struct import *im, const struct wishes *w)
{
    fprintf(stderr, "waypost: no outgoing server was found that could be used%s\n",
            w->home_count == 0 ? "; no home directory was looked at, see --home" : "");
    if (w->only != NULL)
        fprintf(stderr, "  looked at: %s\n", w->only->places);
    else if (host_uid() == 0)
        fprintf(stderr, "  as root, name the homes of those who send: --home /home/NAME\n");
    return EX_UNAVAILABLE;
}

static int answer_json(struct import *im, const struct wishes *w,
                       const struct import_layout *layout, struct str yaml, size_t count,
                       const struct import_try *tried)
{
    struct buf out;
    int status = count == 0         ? nothing(im, w)
                 : w->write != NULL ? write_all(im, w, layout, yaml)
                                    : 0;
    struct json j = main_json(&out);
    import_json(im, layout, &j);
    json_text(&j, "written", count > 0 && status == 0 ? w->write : NULL);
    json_str(&j, "yaml", count > 0 ? yaml : STR(""));
    import_try_json(tried, &j);
    main_json_print(&j);
    return status == 0 && tried != NULL && !import_try_all_work(tried) ? EX_UNAVAILABLE : status;
}

static int answer(struct import *im, const struct wishes *w, const struct import_layout *layout,
                  struct str yaml, size_t count, const struct import_try *tried)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES);
    import_show(im, layout, &text);
    // A file that is refused is the answer by itself.
    int status = count > 0 && w->write != NULL ? write_all(im, w, layout, yaml) : 0;
    if (status == 0)
        fputs(buf_cstr(&text), stdout);
    buf_free(&text);
    if (count == 0)
        return nothing(im, w);
    if (status != 0)
        return status;
    if (w->write == NULL)
        say_yaml(yaml);
    else
        printf("\nwritten: %s\n", w->write);
    if (tried != NULL)
        status = say_tried(tried, w);
    say_next(im, w, layout);
    return status;
}

// Absolute, because the configuration takes relative paths from its own directory.
static const char *absolute(struct import *im, const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/' || path[0] == '\0' || realpath(".", here) == NULL)
        return path;
    return arena_printf(im->arena, "%s/%s", here, path);
}

static const char *password_dir(struct import *im, const struct wishes *w)
{
    const char *path = w->passwords;
    if (path == NULL)
        path = w->write != NULL ? w->write : default_file;
    struct str dir = str_of(absolute(im, path));
    if (w->passwords == NULL)
        while (dir.len > 0 && dir.ptr[dir.len - 1] != '/')
            dir.len--;
    while (dir.len > 1 && dir.ptr[dir.len - 1] == '/')
        dir.len--;
    return arena_str(im->arena, dir);
}

// A command is run whenever the configuration is read, also by root. One that stands in a file of
// another user is that user's, who must not get others' rights by it: it is shown, not carried
// over.
static void distrust_commands(struct import *im)
{
    struct path_facts facts;
    struct err err;
    for (struct import_found *f = im->found; f != NULL; f = f->next) {
        if (f->secret_command == NULL || f->places == NULL)
            continue;
        if (path_stat_follow(f->places->file, &facts, &err) &&
            (facts.uid == host_uid() || facts.uid == 0))
            continue;
        found_remark(im, f,
                     "to do: the password comes from a command in a file of another user, which "
                     "is not carried over: %s",
                     f->secret_command);
        f->secret_command = NULL;
        f->secret = IMPORT_SECRET_NONE;
    }
}

int cmd_import(const struct main_options *options, int argc, char **argv)
{
    struct wishes w = {0};
    struct buf yaml;
    int status = read_wishes(argc, argv, &w);
    if (status != 0)
        return status;
    struct import *im = import_new(NULL, w.root != NULL ? w.root : "");
    struct import_layout layout = {password_dir(im, &w), w.passwords != NULL};
    im->root = absolute(im, im->root);
    for (size_t i = 0; i < w.home_count; i++)
        w.homes[i] = absolute(im, w.homes[i]);
    if (!utf8_valid(str_of(layout.dir))) {
        fprintf(stderr,
                "waypost: the directory's name is not UTF-8, as the configuration must be\n");
        import_free(&im);
        return EX_USAGE;
    }
    import_read(im, w.only, w.homes, w.home_count);
    distrust_commands(im);
    size_t count = import_settle(im);
    buf_init(&yaml, TEXT_BYTES);
    if (count > 0)
        import_yaml(im, &layout, &yaml);
    struct import_try *tried = NULL;
    struct err err = {0};
    if (w.test && count > 0 && (tried = import_try(im, buf_str(&yaml), w.login, &err)) == NULL) {
        fprintf(stderr, "waypost import: %s\n", err.text);
        status = EX_OSERR;
    } else if (w.append)
        status = count > 0 ? append(im, options, &layout) : nothing(im, &w);
    else if (w.json)
        status = answer_json(im, &w, &layout, buf_str(&yaml), count, tried);
    else
        status = answer(im, &w, &layout, buf_str(&yaml), count, tried);
    import_try_free(&tried);
    buf_free(&yaml);
    import_free(&im);
    return status;
}
