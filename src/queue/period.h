// SPDX-License-Identifier: ISC
// Days, weeks and months of a time zone as spans of the wall clock. Pure.
#pragma once

#include "conf/conf.h"

// Minutes east of UTC at that moment.
typedef int period_offset(void *ctx, int64_t wall_ms);

// The day, week (from Monday) or month around the moment: [begin, end). A day with a change of the
// clock has 23 or 25 hours.
void period_around(enum conf_period period, int64_t wall_ms, period_offset *offset, void *ctx,
                   int64_t *begin_out, int64_t *end_out);

const char *period_name(enum conf_period period); // "minute", ...
const char *unit_name(enum conf_unit unit);       // "messages", ...
