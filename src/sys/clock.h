// SPDX-License-Identifier: ISC
// The date, the monotonic clock and the random source. Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);                   // since 1970-01-01 UTC; may jump either way
int64_t clock_mono_us(void);                   // microseconds, for measuring
int clock_utc_offset_minutes(int64_t wall_ms); // local zone

void random_bytes(void *out, size_t len); // fit for keys
uint64_t random_u64(void);
uint64_t random_below(uint64_t limit); // uniform in [0, limit), limit > 0
