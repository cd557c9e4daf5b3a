// SPDX-License-Identifier: ISC
// Calendar periods against the C library's own calendar.
#include "queue/period.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static int system_offset(void *ctx, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local;
    localtime_r(&seconds, &local);
    return (int)(local.tm_gmtoff / 60);
}

static void check(enum conf_period period, int64_t at)
{
    int64_t begin, end;
    period_around(period, at, system_offset, NULL, &begin, &end);
    if (at < begin || at >= end)
        fail_msg("%lld is not in its %s [%lld, %lld)", (long long)at, period_name(period),
                 (long long)begin, (long long)end);
    for (int i = 0; i < 2; i++) {
        time_t seconds = (time_t)((i == 0 ? begin : end) / 1000);
        struct tm tm;
        localtime_r(&seconds, &tm);
        // Where midnight is skipped, the day begins at one.
        bool midnight = tm.tm_hour <= 1 && tm.tm_min == 0 && tm.tm_sec == 0;
        bool right = period == PERIOD_DAY || (period == PERIOD_WEEK && tm.tm_wday == 1) ||
                     (period == PERIOD_MONTH && tm.tm_mday == 1);
        if (!midnight || !right)
            fail_msg("a %s around %lld begins or ends at %s", period_name(period), (long long)at,
                     asctime(&tm));
    }
}

static void periods_begin_at_midnight_of_the_zone(void **state)
{
    static const char *const zones[] = {"UTC", "Europe/Berlin", "America/Los_Angeles",
                                        "Asia/Kolkata", "Pacific/Auckland"};
    for (size_t z = 0; z < sizeof(zones) / sizeof(zones[0]); z++) {
        setenv("TZ", zones[z], 1);
        tzset();
        // Some three years in steps that hit every hour of the day sooner or later.
        for (int64_t at = 1700000000000; at < 1800000000000; at += 6997 * 1000) {
            check(PERIOD_DAY, at);
            check(PERIOD_WEEK, at);
            check(PERIOD_MONTH, at);
        }
    }
}

static void a_day_with_a_change_has_its_own_length(void **state)
{
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    int64_t begin, end;
    period_around(PERIOD_DAY, 1774746000000, system_offset, NULL, &begin, &end); // 2026-03-29
    assert_int_equal(end - begin, (int64_t)23 * 3600 * 1000);
    period_around(PERIOD_DAY, 1792890000000, system_offset, NULL, &begin, &end); // 2026-10-25
    assert_int_equal(end - begin, (int64_t)25 * 3600 * 1000);
}

static void the_distant_past_has_months_too(void **state)
{
    setenv("TZ", "UTC", 1);
    tzset();
    for (int64_t at = -2000000000000; at < 0; at += (int64_t)86399 * 9 * 1000)
        check(PERIOD_MONTH, at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periods_begin_at_midnight_of_the_zone),
        cmocka_unit_test(a_day_with_a_change_has_its_own_length),
        cmocka_unit_test(the_distant_past_has_months_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
