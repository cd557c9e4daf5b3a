// SPDX-License-Identifier: ISC
// Time zones by name, from the system's zone files. A zone is immutable; any thread.
#pragma once

#include "base/err.h"

#include <stdint.h>

struct zone;
// "Europe/Berlin", "UTC", "+02:00"; NULL: the machine's own. NULL with err when unknown. Blocks.
struct zone *zone_open(const char *name, struct err *err);
void zone_free(struct zone **zone);
int zone_offset_minutes(const struct zone *zone, int64_t wall_ms); // east of UTC
