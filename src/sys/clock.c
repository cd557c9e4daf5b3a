// SPDX-License-Identifier: ISC
// The date, the monotonic clock and the random source of the kernel.
#include "sys/clock.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int64_t clock_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_mono_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int clock_utc_offset_minutes(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) == NULL)
        return 0;
    return (int)(local.tm_gmtoff / 60);
}

static void from_kernel(void *out, size_t len)
{
    unsigned char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n <= 0)
            continue; // a signal; nothing else is possible
        p += n;
        len -= (size_t)n;
    }
}

void random_bytes(void *out, size_t len)
{
    // A system call for every number would cost more than the number: each thread keeps a few.
    // What was given out is wiped, so that no later look at memory finds it here.
    static _Thread_local unsigned char pool[256];
    static _Thread_local size_t left;
    if (len > sizeof(pool) / 4) {
        from_kernel(out, len);
        return;
    }
    if (left < len) {
        from_kernel(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= len;
    memcpy(out, pool + left, len);
    explicit_bzero(pool + left, len);
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}

uint64_t random_below(uint64_t limit)
{
    assert(limit > 0);
    // Numbers below 2^64 mod limit are drawn again: the rest is a whole multiple of limit.
    uint64_t least = -limit % limit, v;
    do
        v = random_u64();
    while (v < least);
    return v % limit;
}
