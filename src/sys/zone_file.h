// SPDX-License-Identifier: ISC
// The bytes of a zone file (RFC 8536) as a table. Pure. Not for other rooms.
#pragma once

#include "base/str.h"

enum { ZONE_CHANGES = 512 };
struct zone_change {
    int64_t at;      // seconds since 1970; the first one: since ever
    int32_t seconds; // east of UTC from then on
};
// When summer time begins or ends: the week-th day (5: the last) of a month, or a day of the year.
struct zone_day {
    enum { ZONE_MONTH, ZONE_JULIAN, ZONE_ORDINAL } kind;
    int month, week, day; // MONTH: day of the week; else day of the year
    int32_t seconds;      // of that day, local time before the change
};
struct zone_table {
    size_t count; // at least 1
    struct zone_change changes[ZONE_CHANGES];
    bool has_rule;
    int32_t standard, summer; // seconds east; equal: no summer time
    struct zone_day begin, end;
};
bool zone_table_read(struct str bytes, struct zone_table *out);
bool zone_rule_read(struct str rule, struct zone_table *out); // the line at the end of a file
int32_t zone_table_offset(const struct zone_table *table, int64_t seconds);
