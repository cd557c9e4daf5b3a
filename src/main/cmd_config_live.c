// SPDX-License-Identifier: ISC
// config diff --live, apply, rollback: the configuration and the daemon that has one in force.
#include "base/mem.h"
#include "conf/read.h"
#include "control/control.h"
#include "main/conf_file.h"
#include "main/kept.h"
#include "sys/file.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static int usage(const char *words)
{
    fprintf(stderr, "usage: waypost %s\n", words);
    return EX_USAGE;
}

static char *read_file(const char *path, size_t *len_out)
{
    struct err err;
    char *text = file_slurp(path, LIMIT_CONFIG_FILE, len_out, &err);
    if (text == NULL)
        fprintf(stderr, "waypost: %s\n", err.text);
    return text;
}

static void forget(char **text, size_t len)
{
    if (*text != NULL)
        explicit_bzero(*text, len);
    xfree(*text);
    *text = NULL;
}

// ---- diff --live ----

// The daemon may not be able to read the file, and need not: the text is sent.
int main_config_live(const struct main_options *options, const char *file, bool json)
{
    char path[256];
    size_t len;
    struct err err = {0};
    if (file == NULL)
        return usage("config diff --live FILE [--json]");
    char *text = read_file(file, &len);
    if (text == NULL)
        return EX_NOINPUT;
    struct conf *conf = main_places(options, NULL);
    snprintf(path, sizeof(path), "%s/control.sock", conf->run_dir);
    conf_unref(&conf);
    const char *const argv[] = {"config", "live", file, text, "--json"};
    int status = control_call(path, json ? 5 : 4, argv, &err);
    forget(&text, len);
    if (status >= 0)
        return status;
    fprintf(stderr,
            "waypost: no daemon answers at %s: %s\n  without one: waypost config diff OLD NEW\n",
            path, err.text);
    return EX_UNAVAILABLE;
}

// ---- apply ----

int cmd_config_apply(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    int status;
    size_t len;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    if (argc != 1 || argv[0][0] == '-') {
        conf_file_close(&f);
        return usage("config apply FILE [--dry-run] [--json]");
    }
    char *text = read_file(argv[0], &len);
    f.source = argv[0];
    status = text != NULL ? conf_file_change(&f, str_make(text, len)) : EX_NOINPUT;
    forget(&text, len);
    conf_file_close(&f);
    return status;
}

// ---- rollback ----

// What was edited since is not in force and was never kept: it is put aside.
static bool keep_edit(const struct conf_file *f)
{
    struct buf path;
    struct err err;
    buf_init(&path, 4096);
    buf_printf(&path, "%s.edited", f->path);
    bool ok =
        f->dry_run || conf_file_write(buf_cstr(&path), buf_str(&f->text), 0600, -1, -1, NULL, &err);
    if (ok)
        fprintf(stderr, "%s has changes that are not in force; they %s kept in %s\n", f->path,
                f->dry_run ? "would be" : "are", path.data);
    else
        fprintf(stderr, "waypost: %s\n", err.text);
    buf_free(&path);
    return ok;
}

// NULL after it was said that there is none.
static char *kept(const char *spool_dir, bool before, size_t *len_out, int *status)
{
    struct err err = {0};
    char *text = kept_get(spool_dir, before, len_out, &err);
    *status = err.code == ENOENT ? EX_UNAVAILABLE : EX_NOPERM;
    if (text == NULL && err.code == ENOENT)
        fprintf(stderr, "waypost: no earlier configuration is known; the daemon keeps one from its "
                        "first change on\n");
    else if (text == NULL)
        fprintf(stderr, "waypost: %s\n", err.text);
    return text;
}

static int rollback(struct conf_file *f)
{
    size_t now_len = 0, before_len = 0;
    int status;
    struct conf *conf = main_places(f->options, NULL);
    char *now = kept(conf->spool_dir, false, &now_len, &status), *before = NULL;
    struct str file = buf_str(&f->text);
    if (now != NULL && !str_eq(file, str_make(now, now_len))) {
        status = keep_edit(f) ? conf_file_change(f, str_make(now, now_len)) : EX_CANTCREAT;
    } else if (now != NULL) {
        before = kept(conf->spool_dir, true, &before_len, &status);
        if (before != NULL)
            status = conf_file_change(f, str_make(before, before_len));
    }
    forget(&now, now_len);
    forget(&before, before_len);
    conf_unref(&conf);
    return status;
}

int cmd_config_rollback(const struct main_options *options, int argc, char **argv)
{
    struct conf_file f;
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    status = argc == 0 ? rollback(&f) : usage("config rollback [--dry-run] [--json]");
    conf_file_close(&f);
    return status;
}
