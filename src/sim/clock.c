// SPDX-License-Identifier: ISC
// The date, the monotonic clock and the random source of the simulated world.
#include "sim/inside.h"
#include "sys/clock.h"

int64_t clock_wall_ms(void)
{
    return sim_departs_us() / 1000 + sim.wall_offset_ms;
}

int64_t clock_mono_us(void)
{
    return sim_departs_us();
}

int clock_utc_offset_minutes(int64_t wall_ms)
{
    return sim.zone_minutes;
}

uint64_t random_u64(void)
{
    return sim_random(&sim.daemon_random);
}

uint64_t random_below(uint64_t limit)
{
    assert(limit > 0);
    return (uint64_t)(((unsigned __int128)random_u64() * limit) >> 64);
}

void random_bytes(void *out, size_t len)
{
    unsigned char *to = out;
    while (len > 0) {
        uint64_t r = random_u64();
        size_t n = len < sizeof(r) ? len : sizeof(r);
        memcpy(to, &r, n);
        to += n;
        len -= n;
    }
}
