// SPDX-License-Identifier: ISC
// Time zones of the simulated world: the machine's own, UTC, "+HH:MM", and one with summer time,
// "Sim/Summer" (an hour ahead of UTC, two from April to September).
#include "base/timefmt.h"
#include "sim/inside.h"
#include "sys/zone.h"

struct zone {
    int minutes; // INT32_MAX: the machine's own
    bool summer;
};

struct zone *zone_open(const char *name, struct err *err)
{
    SIM_CALL;
    struct zone zone = {.minutes = INT32_MAX};
    if (name != NULL && strcmp(name, "UTC") == 0)
        zone.minutes = 0;
    else if (name != NULL && strcmp(name, "Sim/Summer") == 0)
        zone = (struct zone){.minutes = 60, .summer = true};
    else if (name != NULL && !time_parse_offset(str_of(name), &zone.minutes)) {
        err_set(err, "there is no time zone %s", name);
        return NULL;
    }
    struct zone *z = sim_alloc(SIM_CALLER, sizeof(*z));
    *z = zone;
    return z;
}

void zone_free(struct zone **zone)
{
    SIM_CALL;
    xfree(*zone);
    *zone = NULL;
}

int zone_offset_minutes(const struct zone *zone, int64_t wall_ms)
{
    if (zone->minutes == INT32_MAX)
        return sim.zone_minutes;
    // Days from April 1 on are the 90th to the 272nd of a year, near enough.
    int64_t day = wall_ms / 86400000 * 100 % 36525 / 100;
    return zone->minutes + (zone->summer && day >= 90 && day < 273 ? 60 : 0);
}
