// SPDX-License-Identifier: ISC
// Changes of the configuration file: read, changed as text (edit_text.c), checked, replaced.
#include "conf/edit.h"
#include "conf/read.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <stdio.h>

enum { NEW_FILE_MODE = 0640, PATH_TEXT = 4096 };

// Errors of a text as a configuration, and the first of them.
static unsigned errors_of(const char *path, struct str text, char *first, size_t size)
{
    struct conf_report report;
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text(path, text, &report);
    unsigned errors = report.errors;
    first[0] = '\0';
    for (size_t i = 0; i < report.count && first[0] == '\0'; i++)
        if (!report.problems[i].warning)
            snprintf(first, size, "%s", report.problems[i].sentence);
    conf_unref(&conf);
    conf_report_free(&report);
    return errors;
}

static bool still_good(const char *path, struct str before, struct str after, struct err *err)
{
    char first[400];
    unsigned had = errors_of(path, before, first, sizeof(first));
    if (errors_of(path, after, first, sizeof(first)) <= had)
        return true;
    err_set(err, "%s", first);
    return false;
}

// Beside the old one, under a name of its own until it is whole.
static bool write_new(const char *path, const struct path_facts *old, struct str text,
                      struct err *err)
{
    char temp[PATH_TEXT], dir[PATH_TEXT];
    struct err ignored;
    const char *slash = strrchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash - path) : 0;
    if (strlen(path) + 40 > sizeof(temp)) {
        err_set(err, "the path of the configuration is too long");
        return false;
    }
    snprintf(dir, sizeof(dir), "%.*s",
             slash == NULL ? 1
             : len > 0     ? (int)len
                           : 1,
             slash == NULL ? "." : path);
    snprintf(temp, sizeof(temp), "%s.new-%016llx", path, (unsigned long long)random_u64());
    struct file *file = file_open(temp, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    struct file_piece piece = {text.ptr, text.len};
    // Owner first: giving away a file may take rights from it.
    bool ok = (old == NULL || file_set_owner(file, old->uid, old->gid, err)) &&
              file_set_mode(file, old != NULL ? old->mode & 07777 : NEW_FILE_MODE, err) &&
              file_write(file, 0, &piece, text.len > 0, err) && file_sync(file, err);
    file_close(&file);
    ok = ok && path_rename(temp, path, err);
    if (!ok)
        path_remove(temp, &ignored);
    return ok && dir_sync(dir, err);
}

enum kind { SET, ADD, REMOVE, MOVE };
struct change {
    enum kind kind;
    const char *group, *name, *value; // of SET and REMOVE the key's path stands in `name`
};

static bool change_text(struct str text, const struct change *c, struct buf *out, struct err *err)
{
    switch (c->kind) {
    case SET: return conf_edit_text_set(text, c->name, c->value, out, err);
    case ADD: return conf_edit_text_add(text, c->group, c->name, c->value, out, err);
    case REMOVE: return conf_edit_text_remove(text, c->name, out, err);
    case MOVE: return conf_edit_text_move(text, c->group, c->name, c->value, out, err);
    }
    return false;
}

static bool change_file(const char *path, const struct change *c, struct err *err)
{
    struct path_facts facts;
    struct buf out;
    size_t len = 0;
    bool makes = c->kind == SET || c->kind == ADD;
    bool there = path_stat_follow(path, &facts, err);
    if (!there && (err->code != ENOENT || !makes))
        return false;
    char *real = there ? path_real(path, err) : xstrdup(path);
    char *text = real == NULL ? NULL
                 : there      ? file_slurp(real, LIMIT_CONFIG_FILE, &len, err)
                              : xstrdup("");
    buf_init(&out, LIMIT_CONFIG_FILE);
    bool ok = text != NULL && change_text(str_make(text, len), c, &out, err) &&
              still_good(path, str_make(text, len), buf_str(&out), err);
    if (!ok && real != NULL)
        err_prefix(err, "%s is not changed", path);
    ok = ok && ((there && str_eq(buf_str(&out), str_make(text, len))) ||
                write_new(real, there ? &facts : NULL, buf_str(&out), err));
    if (text != NULL)
        explicit_bzero(text, len);
    if (out.data != NULL)
        explicit_bzero(out.data, out.len);
    buf_free(&out);
    xfree(text);
    xfree(real);
    return ok;
}

bool conf_edit_set(const char *path, const char *key_path, const char *value, struct err *err)
{
    return change_file(path, &(struct change){SET, NULL, key_path, value}, err);
}

bool conf_edit_add(const char *path, const char *group, const char *name, const char *value,
                   struct err *err)
{
    return change_file(path, &(struct change){ADD, group, name, value}, err);
}

bool conf_edit_remove(const char *path, const char *key_path, struct err *err)
{
    return change_file(path, &(struct change){REMOVE, NULL, key_path, NULL}, err);
}

bool conf_edit_move(const char *path, const char *group, const char *name, const char *before,
                    struct err *err)
{
    return change_file(path, &(struct change){MOVE, group, name, before}, err);
}
