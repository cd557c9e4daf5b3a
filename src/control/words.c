// SPDX-License-Identifier: ISC
// Local days are found by the zone's distance from UTC at that moment.
#include "control/words.h"
#include "base/timefmt.h"
#include "sys/clock.h"

#include <stdio.h>
#include <time.h>

enum { DAY_MS = 24 * 3600 * 1000, MINUTE_MS = 60 * 1000 };

const char *words_size(uint64_t bytes, char text[WORDS_TEXT])
{
    if (bytes < 1000)
        snprintf(text, WORDS_TEXT, "%llu B", (unsigned long long)bytes);
    else if (bytes < 1000 * 1000)
        snprintf(text, WORDS_TEXT, "%.1f kB", (double)bytes / 1e3);
    else if (bytes < 1000ull * 1000 * 1000)
        snprintf(text, WORDS_TEXT, "%.1f MB", (double)bytes / 1e6);
    else
        snprintf(text, WORDS_TEXT, "%.1f GB", (double)bytes / 1e9);
    return text;
}

const char *words_number(uint64_t number, char text[WORDS_TEXT])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number), n = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text[n++] = ',';
        text[n++] = digits[i];
    }
    text[n] = '\0';
    return text;
}

static int64_t local(int64_t wall_ms)
{
    return wall_ms + (int64_t)clock_utc_offset_minutes(wall_ms) * MINUTE_MS;
}

const char *words_when(int64_t wall_ms, int64_t now_ms, char text[WORDS_TEXT])
{
    char when[TIME_TEXT];
    time_when(wall_ms, clock_utc_offset_minutes(wall_ms), now_ms, clock_utc_offset_minutes(now_ms),
              when);
    snprintf(text, WORDS_TEXT, "%s", when);
    return text;
}

const char *words_moment(int64_t wall_ms, char text[WORDS_TEXT])
{
    char iso[TIME_TEXT]; // 2026-11-21T14:02:11.204Z
    time_iso(local(wall_ms), iso);
    snprintf(text, WORDS_TEXT, "%.10s %.12s", iso, iso + 11);
    return text;
}

void words_quota(const struct queue_quota_view *quota, int64_t now_ms, bool forecast,
                 struct buf *out)
{
    static const char *const periods[] = {
        [PERIOD_MINUTE] = "this minute", [PERIOD_HOUR] = "this hour",   [PERIOD_DAY] = "today",
        [PERIOD_WEEK] = "this week",     [PERIOD_MONTH] = "this month",
    };
    static const char *const units[] = {[UNIT_MESSAGES] = "", [UNIT_RECIPIENTS] = "recipients "};
    char used[WORDS_TEXT], limit[WORDS_TEXT], when[WORDS_TEXT];
    if (quota->unit == UNIT_BYTES)
        buf_printf(out, "%s of %s ", words_size(quota->used, used),
                   words_size(quota->limit, limit));
    else
        buf_printf(out, "%s of %s %s", words_number(quota->used, used),
                   words_number(quota->limit, limit), units[quota->unit]);
    buf_printf(out, "used %s", periods[quota->period]);
    if (quota->reset_ms > 0)
        buf_printf(out, ", resets %s", words_when(quota->reset_ms, now_ms, when));
    if (quota->learnt)
        buf_puts(out, " (learnt from a refusal)");
    if (forecast && quota->reserve > 0)
        buf_printf(out, "; %s kept for urgent mail",
                   quota->unit == UNIT_BYTES ? words_size(quota->reserve, used)
                                             : words_number(quota->reserve, used));
    if (forecast && quota->exhausts_ms > 0 && quota->used < quota->limit)
        buf_printf(out, "; at this pace used up %s", words_when(quota->exhausts_ms, now_ms, when));
}

bool words_parse_size(struct str text, uint64_t *bytes_out)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0},    {"b", 0},    {"k", 10}, {"kb", 10}, {"kib", 10}, {"m", 20},
                 {"mb", 20}, {"mib", 20}, {"g", 30}, {"gb", 30}, {"gib", 30}};
    size_t digits = 0;
    while (digits < text.len && ascii_is_digit(text.ptr[digits]))
        digits++;
    struct str unit = str_trim(str_make(text.ptr + digits, text.len - digits));
    uint64_t number;
    if (!str_u64(str_make(text.ptr, digits), UINT64_MAX >> 31, &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (str_ieq(unit, str_of(units[i].unit))) {
            *bytes_out = number << units[i].shift;
            return true;
        }
    }
    return false;
}

static bool parse_clock(struct str text, int *hour, int *minute)
{
    struct str head;
    uint64_t h, m;
    if (!str_split(&text, ':', &head) || !str_u64(head, 23, &h) || !str_u64(text, 59, &m))
        return false;
    *hour = (int)h;
    *minute = (int)m;
    return true;
}

static bool parse_date(struct str text, struct tm *tm)
{
    struct str part[2];
    uint64_t year, month, day;
    if (!str_split(&text, '-', &part[0]) || !str_split(&text, '-', &part[1]) ||
        !str_u64(part[0], 9999, &year) || year < 1970 || !str_u64(part[1], 12, &month) ||
        month == 0 || !str_u64(text, 31, &day) || day == 0)
        return false;
    tm->tm_year = (int)year - 1900;
    tm->tm_mon = (int)month - 1;
    tm->tm_mday = (int)day;
    return true;
}

// The moment at which the clocks of this place show that; `shown` as if they showed UTC.
static int64_t from_local(int64_t shown)
{
    int before = clock_utc_offset_minutes(shown - DAY_MS);
    int after = clock_utc_offset_minutes(shown + DAY_MS);
    int64_t early = shown - (int64_t)before * MINUTE_MS, late = shown - (int64_t)after * MINUTE_MS;
    bool is_late =
        clock_utc_offset_minutes(early) != before && clock_utc_offset_minutes(late) == after;
    return is_late ? late : early;
}

bool words_parse_when(struct str text, int64_t now_ms, int64_t *wall_ms_out)
{
    struct str date, clock = str_trim(text);
    int64_t now = local(now_ms);
    if (time_parse_rfc3339(clock, wall_ms_out))
        return true;
    time_t today = (time_t)(now / 1000);
    struct tm tm;
    gmtime_r(&today, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    if (str_find(clock, '-') < clock.len) {
        size_t gap = str_find(clock, ' ');
        gap = gap < clock.len ? gap : str_find(clock, 'T');
        date = str_make(clock.ptr, gap);
        clock = gap < clock.len ? str_make(clock.ptr + gap + 1, clock.len - gap - 1) : STR("00:00");
        if (!parse_date(date, &tm))
            return false;
    }
    if (!parse_clock(str_trim(clock), &tm.tm_hour, &tm.tm_min))
        return false;
    *wall_ms_out = from_local((int64_t)timegm(&tm) * 1000);
    return true;
}

bool words_parse_future(struct str text, int64_t now_ms, int64_t *wall_ms_out)
{
    int64_t span;
    text = str_trim(text);
    if (str_starts(text, STR("+"))) {
        bool good = time_parse_span(str_make(text.ptr + 1, text.len - 1), &span);
        *wall_ms_out = good ? now_ms + span : 0;
        return good;
    }
    if (!words_parse_when(text, now_ms, wall_ms_out))
        return false;
    // Only a bare time of the day stands for one of two days.
    if (*wall_ms_out <= now_ms && str_find(text, '-') == text.len)
        return words_parse_when(text, now_ms + DAY_MS, wall_ms_out);
    return true;
}
