// SPDX-License-Identifier: ISC
// config.now and config.before: a new text is written beside them, then now becomes before and new
// becomes now. After a crash between the two config.now is missing, and the next start writes it.
#include "main/kept.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/file.h"

#include <stdio.h>

static const char *path_in(const char *dir, const char *name, char out[4096])
{
    snprintf(out, 4096, "%s/config.%s", dir, name);
    return out;
}

char *kept_get(const char *spool_dir, bool before, size_t *len_out, struct err *err)
{
    char path[4096];
    return file_slurp(path_in(spool_dir, before ? "before" : "now", path), LIMIT_CONFIG_FILE,
                      len_out, err);
}

static bool write_new(const char *path, struct str text, struct err *err)
{
    struct file_piece piece = {text.ptr, text.len};
    if (!path_remove(path, err))
        return false;
    struct file *file = file_open(path, FILE_CREATE_NEW, err);
    bool ok = file != NULL && file_write(file, 0, &piece, 1, err) && file_sync(file, err);
    file_close(&file);
    return ok;
}

bool kept_put(const char *spool_dir, struct str text, struct err *err)
{
    char now[4096], before[4096], fresh[4096];
    struct err none;
    size_t len;
    char *old = kept_get(spool_dir, false, &len, &none);
    bool same = old != NULL && str_eq(str_make(old, len), text);
    if (old != NULL)
        explicit_bzero(old, len);
    xfree(old);
    if (same)
        return true;
    path_in(spool_dir, "now", now);
    path_in(spool_dir, "before", before);
    path_in(spool_dir, "new", fresh);
    return write_new(fresh, text, err) && (old == NULL || path_rename(now, before, err)) &&
           path_rename(fresh, now, err) && dir_sync(spool_dir, err);
}
