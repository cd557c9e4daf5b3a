// SPDX-License-Identifier: ISC
// The directory of an archive.
#include "archive/shelf.h"

#include "base/base64.h"
#include "base/limits.h"
#include "base/timefmt.h"

#include <stdio.h>

enum { DAY_TEXT = 10 }; // 2026-11-21

const char *shelf_name(uint64_t id, int64_t wall_ms, int offset_minutes, char name[SHELF_NAME])
{
    char when[TIME_TEXT], text[ID_TEXT_SIZE];
    time_iso(wall_ms + (int64_t)offset_minutes * 60000, when); // 2026-11-21T09:07:00.123Z
    snprintf(name, SHELF_NAME, "%.10s/%.2s%.2s%.2s-%s.eml", when, when + 11, when + 14, when + 17,
             id_format(id, text));
    return name;
}

static void path_of(const char *dir, const char *name, const char *end, char path[SHELF_PATH])
{
    snprintf(path, SHELF_PATH, "%.3900s/%s%s", dir, name, end);
}

// ---- Writing ----

static bool has_room(const char *dir, uint64_t size, struct err *err)
{
    uint64_t bytes, inodes;
    if (!disk_free(dir, &bytes, &inodes, err))
        return false;
    if (bytes >= size && bytes - size >= LIMIT_ARCHIVE_FREE)
        return true;
    err_set(err, "%s: less than %d MiB would be left on its disk", dir, LIMIT_ARCHIVE_FREE >> 20);
    return false;
}

struct file *shelf_begin(const char *dir, const char *name, uint64_t size, struct err *err)
{
    char path[SHELF_PATH], day[DAY_TEXT + 1];
    snprintf(day, sizeof(day), "%s", name);
    path_of(dir, day, "", path);
    if (!dir_make(dir, 0700, err) || !has_room(dir, size, err) || !dir_make(path, 0700, err))
        return NULL;
    path_of(dir, name, ".new", path);
    return path_remove(path, err) ? file_open(path, FILE_CREATE_NEW, err) : NULL;
}

bool shelf_end(const char *dir, const char *name, struct file **file, struct err *err)
{
    char from[SHELF_PATH], to[SHELF_PATH];
    path_of(dir, name, ".new", from);
    path_of(dir, name, "", to);
    file_close(file);
    return path_rename(from, to, err);
}

void shelf_abandon(const char *dir, const char *name, struct file **file)
{
    char path[SHELF_PATH];
    struct err err;
    if (*file == NULL)
        return;
    file_close(file);
    path_of(dir, name, ".new", path);
    path_remove(path, &err);
}

// ---- Sweeping ----

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_digit(s.ptr[i]))
            return false;
    return s.len > 0;
}

static bool is_day(const char *name)
{
    struct str s = str_of(name);
    return s.len == DAY_TEXT && s.ptr[4] == '-' && s.ptr[7] == '-' &&
           all_digits(str_make(s.ptr, 4)) && all_digits(str_make(s.ptr + 5, 2)) &&
           all_digits(str_make(s.ptr + 8, 2));
}

static bool is_ours(const char *name)
{
    struct str s = str_of(name);
    return s.len > 11 && s.ptr[6] == '-' && all_digits(str_make(s.ptr, 6)) &&
           (str_iends(s, STR(".eml")) || str_iends(s, STR(".eml.new")));
}

// One day: everything of it, or from its oldest on as much as is too much. *excess goes down by
// what was removed, *bytes up by what stays.
static bool sweep_day(const char *dir, const char *day, bool all, uint64_t *excess, uint64_t *bytes,
                      struct err *err)
{
    char path[SHELF_PATH], file[SHELF_PATH + 300];
    struct path_facts facts;
    path_of(dir, day, "", path);
    char **names = dir_list(path, err);
    if (names == NULL)
        return false;
    bool ok = true, empty = true;
    for (size_t i = 0; ok && names[i] != NULL; i++) {
        snprintf(file, sizeof(file), "%s/%.255s", path, names[i]);
        if (!is_ours(names[i]) || !path_stat(file, &facts, err)) {
            empty = false;
            continue;
        }
        if (!all && *excess == 0 && !str_iends(str_of(names[i]), STR(".new"))) {
            *bytes += facts.size;
            empty = false;
            continue;
        }
        ok = path_remove(file, err);
        *excess -= facts.size < *excess ? facts.size : *excess;
    }
    dir_list_free(&names);
    struct err ignored;
    if (empty && ok)
        path_remove(path, &ignored);
    return ok;
}

static bool is_there(const char *dir, const char *day)
{
    char path[SHELF_PATH];
    path_of(dir, day, "", path);
    return path_exists(path);
}

bool shelf_sweep(const char *dir, int64_t now_ms, int offset_minutes, int64_t keep_ms,
                 uint64_t max_bytes, uint64_t *bytes_out, struct err *err)
{
    char first[TIME_TEXT];
    uint64_t whole = 0, none = 0;
    *bytes_out = 0;
    if (!dir_make(dir, 0700, err))
        return false;
    char **days = dir_list(dir, err);
    if (days == NULL)
        return false;
    time_iso(now_ms - keep_ms + (int64_t)offset_minutes * 60000, first);
    first[DAY_TEXT] = '\0';
    bool ok = true;
    for (size_t i = 0; ok && days[i] != NULL; i++)
        if (is_day(days[i]))
            ok = sweep_day(dir, days[i], keep_ms > 0 && strcmp(days[i], first) < 0, &none, &whole,
                           err);
    // Names rise with time, so the oldest days and files come first.
    uint64_t excess = whole > max_bytes ? whole - max_bytes : 0, left = 0;
    for (size_t i = 0; ok && excess > 0 && days[i] != NULL; i++)
        if (is_day(days[i]) && is_there(dir, days[i]))
            ok = sweep_day(dir, days[i], false, &excess, &left, err);
    *bytes_out = whole > max_bytes ? max_bytes : whole;
    dir_list_free(&days);
    return ok;
}
