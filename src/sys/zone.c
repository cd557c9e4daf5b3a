// SPDX-License-Identifier: ISC
// Time zones by name, from the system's zone files (zone_file.h reads them).
#include "sys/zone.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/zone_file.h"

#include <stdio.h>

static const char ZONE_DIR[] = "/usr/share/zoneinfo";
enum { FILE_MOST = 256 * 1024, NAME_MOST = 64 };

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
    int minutes = 0;
    z->local = name == NULL;
    if (name == NULL)
        return z;
    if (strcmp(name, "UTC") == 0 || time_parse_offset(str_of(name), &minutes)) {
        z->table.count = 1;
        z->table.changes[0] = (struct zone_change){INT64_MIN, minutes * 60};
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
