// SPDX-License-Identifier: ISC
// Days, weeks and months of a time zone.
#include "queue/period.h"

enum { MINUTE_MS = 60 * 1000, DAY_MS = 24 * 60 * MINUTE_MS };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

// Days since 1970-01-01 of the first of a month; months are counted from January of the year 0.
static int64_t days_of_month(int64_t months)
{
    int64_t y = floor_div(months, 12);
    unsigned m = (unsigned)(months - y * 12) + 1;
    // Years from March on, so that the leap day is the last of its year.
    y -= m <= 2;
    int64_t era = floor_div(y, 400);
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static int64_t month_of_day(int64_t day)
{
    int64_t month = floor_div(day * 12, 365); // near it, from January 1970
    month += (int64_t)1970 * 12;
    while (days_of_month(month) > day)
        month--;
    while (days_of_month(month + 1) <= day)
        month++;
    return month;
}

// The moment at which this day begins there.
static int64_t day_begins(int64_t day, period_offset *offset, void *ctx)
{
    int64_t local = day * DAY_MS, at = local;
    for (int i = 0; i < 3; i++) // settles at once but near a change of the clock
        at = local - (int64_t)offset(ctx, at) * MINUTE_MS;
    return at;
}

void period_around(enum conf_period period, int64_t wall_ms, period_offset *offset, void *ctx,
                   int64_t *begin_out, int64_t *end_out)
{
    int64_t day = floor_div(wall_ms + (int64_t)offset(ctx, wall_ms) * MINUTE_MS, DAY_MS);
    // The clock may be set back over midnight: then the new day has begun already.
    if (day_begins(day + 1, offset, ctx) <= wall_ms)
        day++;
    int64_t first = day, next = day + 1;
    if (period == PERIOD_WEEK) {
        first = floor_div(day + 3, 7) * 7 - 3; // 1970-01-01 was a Thursday
        next = first + 7;
    } else if (period == PERIOD_MONTH) {
        int64_t month = month_of_day(day);
        first = days_of_month(month);
        next = days_of_month(month + 1);
    }
    *begin_out = day_begins(first, offset, ctx);
    *end_out = day_begins(next, offset, ctx);
}

const char *period_name(enum conf_period period)
{
    static const char *const names[PERIODS] = {"minute", "hour", "day", "week", "month"};
    return names[period];
}

const char *unit_name(enum conf_unit unit)
{
    static const char *const names[UNITS] = {"messages", "recipients", "bytes"};
    return names[unit];
}
