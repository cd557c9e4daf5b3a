// SPDX-License-Identifier: ISC
// Points in time as text, without asking any clock.
#pragma once

#include "base/str.h"

enum { TIME_TEXT = 48 };

// Wall-clock milliseconds since 1970-01-01 UTC. The offset is the local zone's distance from UTC.
const char *time_rfc5322(int64_t wall_ms, int offset_minutes,
                         char text[TIME_TEXT]);              // Sat, 21 Nov 2026 09:07:00 +0000
const char *time_iso(int64_t wall_ms, char text[TIME_TEXT]); // 2026-11-21T09:07:00.123Z
// As people say it, by the clock of the place: "10:00", "tomorrow 09:00", "Tue 24 Nov 10:00". Each
// offset is the zone's distance from UTC at that moment.
const char *time_when(int64_t wall_ms, int offset_minutes, int64_t now_ms, int now_offset_minutes,
                      char text[TIME_TEXT]);
// "4 m", "2 h 05 m", "3 d 4 h": the two largest units.
const char *time_span(int64_t ms, char text[TIME_TEXT]);
// "90s", "1m", "4h", "5d", "2w"; a bare number is seconds. False on anything else.
bool time_parse_span(struct str text, int64_t *ms_out);
// A distance from UTC, east of it with "+", as people write it: "+02:00", "-5", "+05:30"; at most
// 14 hours. False on anything else.
bool time_parse_offset(struct str text, int *minutes_out);
// RFC 3339 section 5.6: "2026-11-21T09:07:00Z", "2026-11-21T10:07:00.5+01:00"; a leap second counts
// as the second after it. False on anything else, also on a day that no month has.
bool time_parse_rfc3339(struct str text, int64_t *wall_ms_out);
// The same moment to the second: "2026-11-21T09:07:00Z".
const char *time_rfc3339(int64_t wall_ms, char text[TIME_TEXT]);
