// SPDX-License-Identifier: ISC
// Time zones by name, from the system's zone files (zone_file.h reads them).
#include "sys/zone.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/zone_file.h"

#include <stdio.h>

static const char ZONE_DIR[] = "/usr/share/zoneinfo";
enum { FILE_MOST = 256 * 1024, NAME_MOST = 64, MINUTES_MOST = 14 * 60 };

struct zone {
    bool local; // the machine's own: the C library follows it
    struct zone_table table;
};

// "Europe/Berlin": words of letters, digits and - + _ between single slashes, so that no name leads
// out of the directory.
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MOST || !ascii_is_alpha(name[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!ascii_is_alnum(name[i]) && strchr("-+_", name[i]) == NULL &&
            (name[i] != '/' || !ascii_is_alpha(name[i + 1])))
            return false;
    return true;
}

// "+02:00", "-5": east of UTC, as people write it, and not as POSIX does.
static bool is_distance(const char *name, int32_t *seconds_out)
{
    struct str rest = str_of(name), hours;
    uint64_t h, m = 0;
    if (name[0] != '+' && name[0] != '-')
        return false;
    rest = str_make(rest.ptr + 1, rest.len - 1);
    bool minutes = str_find(rest, ':') < rest.len;
    if (!str_split(&rest, ':', &hours) || !str_u64(hours, 14, &h) ||
        (minutes && (rest.len != 2 || !str_u64(rest, 59, &m))) || h * 60 + m > MINUTES_MOST)
        return false;
    *seconds_out = (int32_t)(h * 60 + m) * 60 * (name[0] == '-' ? -1 : 1);
    return true;
}

static bool open_file(struct zone *z, const char *name, struct err *err)
{
    char path[sizeof(ZONE_DIR) + NAME_MOST + 1];
    size_t len;
    struct err why = {0};
    snprintf(path, sizeof(path), "%s/%s", ZONE_DIR, name);
    char *bytes = file_slurp(path, FILE_MOST, &len, &why);
    if (bytes == NULL) {
        err_set(err, "there is no time zone %s: %s", name, why.text);
        return false;
    }
    bool ok = zone_table_read(str_make(bytes, len), &z->table);
    xfree(bytes);
    if (!ok)
        err_set(err, "the time zone file %s is not as RFC 8536 says", path);
    return ok;
}

struct zone *zone_open(const char *name, struct err *err)
{
    struct zone *z = xcalloc(1, sizeof(*z));
    int32_t seconds = 0;
    z->local = name == NULL;
    if (name == NULL)
        return z;
    if (strcmp(name, "UTC") == 0 || is_distance(name, &seconds)) {
        z->table.count = 1;
        z->table.changes[0] = (struct zone_change){INT64_MIN, seconds};
        return z;
    }
    if (!is_name(name))
        err_set(err, "%.80s is no time zone; write \"Europe/Berlin\" or \"+02:00\"", name);
    else if (open_file(z, name, err))
        return z;
    zone_free(&z);
    return NULL;
}

void zone_free(struct zone **zone)
{
    xfree(*zone);
    *zone = NULL;
}

int zone_offset_minutes(const struct zone *zone, int64_t wall_ms)
{
    if (zone->local)
        return clock_utc_offset_minutes(wall_ms);
    int64_t seconds = wall_ms / 1000 - (wall_ms % 1000 < 0);
    return zone_table_offset(&zone->table, seconds) / 60;
}
