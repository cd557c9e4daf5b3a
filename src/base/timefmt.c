// SPDX-License-Identifier: ISC
// Points in time as text.
#include "base/timefmt.h"

#include <stdio.h>

struct civil {
    int64_t year;
    int month, day, hour, minute, second, ms, weekday;
};

// Days to a Gregorian date, counting from 0000-03-01 so that the leap day ends a year.
static struct civil civil_of(int64_t wall_ms)
{
    int64_t days = wall_ms / 86400000, rest = wall_ms % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    struct civil c = {
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .month = (int)(mp < 10 ? mp + 3 : mp - 9),
        .hour = (int)(rest / 3600000),
        .minute = (int)(rest / 60000 % 60),
        .second = (int)(rest / 1000 % 60),
        .ms = (int)(rest % 1000),
        .weekday = (int)(((days % 7) + 11) % 7), // 1970-01-01 was a Thursday
    };
    c.year = yoe + era * 400 + (c.month <= 2);
    return c;
}

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

const char *time_rfc5322(int64_t wall_ms, int offset_minutes, char text[TIME_TEXT])
{
    struct civil c = civil_of(wall_ms + (int64_t)offset_minutes * 60000);
    int off = offset_minutes < 0 ? -offset_minutes : offset_minutes;
    snprintf(text, TIME_TEXT, "%.3s, %d %.3s %04lld %02d:%02d:%02d %c%02d%02d",
             day_names + 3 * c.weekday, c.day, month_names + 3 * (c.month - 1), (long long)c.year,
             c.hour, c.minute, c.second, offset_minutes < 0 ? '-' : '+', off / 60 % 100, off % 60);
    return text;
}

const char *time_iso(int64_t wall_ms, char text[TIME_TEXT])
{
    struct civil c = civil_of(wall_ms);
    snprintf(text, TIME_TEXT, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)c.year, c.month,
             c.day, c.hour, c.minute, c.second, c.ms);
    return text;
}

// Days since 1970.
static int64_t day_of(int64_t local_ms)
{
    return local_ms >= 0 ? local_ms / 86400000 : -1;
}

const char *time_when(int64_t wall_ms, int offset_minutes, int64_t now_ms, int now_offset_minutes,
                      char text[TIME_TEXT])
{
    int64_t at = wall_ms + (int64_t)offset_minutes * 60000;
    int64_t away = day_of(at) - day_of(now_ms + (int64_t)now_offset_minutes * 60000);
    struct civil c = civil_of(at);
    const char *day = away == 0 ? "" : away == 1 ? "tomorrow " : away == -1 ? "yesterday " : NULL;
    if (day != NULL) {
        snprintf(text, TIME_TEXT, "%s%02d:%02d", day, c.hour, c.minute);
        return text;
    }
    char year[24] = "";
    if (away > 300 || away < -300)
        snprintf(year, sizeof(year), " %04lld", (long long)c.year);
    snprintf(text, TIME_TEXT, "%.3s %d %.3s%s %02d:%02d", day_names + 3 * c.weekday, c.day,
             month_names + 3 * (c.month - 1), year, c.hour, c.minute);
    return text;
}

const char *time_span(int64_t ms, char text[TIME_TEXT])
{
    int64_t s = ms < 0 ? 0 : ms / 1000;
    if (s < 1)
        snprintf(text, TIME_TEXT, "%lld ms", (long long)(ms < 0 ? 0 : ms));
    else if (s < 60)
        snprintf(text, TIME_TEXT, "%lld s", (long long)s);
    else if (s < 3600)
        snprintf(text, TIME_TEXT, "%lld min", (long long)(s / 60));
    else if (s < 86400)
        snprintf(text, TIME_TEXT, "%lld h %02lld min", (long long)(s / 3600),
                 (long long)(s / 60 % 60));
    else
        snprintf(text, TIME_TEXT, "%lld d %lld h", (long long)(s / 86400),
                 (long long)(s / 3600 % 24));
    return text;
}

bool time_parse_span(struct str text, int64_t *ms_out)
{
    uint64_t unit = 1000, value;
    if (str_iends(text, STR("ms"))) {
        unit = 1;
        text.len -= 2;
    } else if (text.len > 0 && !ascii_is_digit(text.ptr[text.len - 1])) {
        switch (ascii_lower(text.ptr[--text.len])) {
        case 's': unit = 1000; break;
        case 'm': unit = 60000; break;
        case 'h': unit = 3600000; break;
        case 'd': unit = 86400000; break;
        case 'w': unit = 604800000; break;
        default: return false;
        }
    }
    if (!str_u64(str_trim(text), 1000000000, &value))
        return false;
    *ms_out = (int64_t)(value * unit);
    return true;
}

const char *time_rfc3339(int64_t wall_ms, char text[TIME_TEXT])
{
    struct civil c = civil_of(wall_ms);
    snprintf(text, TIME_TEXT, "%04lld-%02d-%02dT%02d:%02d:%02dZ", (long long)c.year, c.month, c.day,
             c.hour, c.minute, c.second);
    return text;
}

// The inverse of civil_of, for the date alone.
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

// `shape` in digits and the marks between them: each run of 0 is a number of so many digits.
static bool take_shape(struct str *in, const char *shape, int *numbers_out)
{
    size_t at = 0;
    for (; shape[at] != '\0'; at++) {
        bool digit = shape[at] == '0';
        char c = at < in->len ? in->ptr[at] : '\0';
        if (digit ? !ascii_is_digit(c) : ascii_lower(c) != shape[at])
            return false;
        if (digit && (at == 0 || shape[at - 1] != '0'))
            *numbers_out = 0;
        if (digit)
            *numbers_out = *numbers_out * 10 + (c - '0');
        if (digit && shape[at + 1] != '0')
            numbers_out++;
    }
    in->ptr += at;
    in->len -= at;
    return true;
}

static bool take_zone(struct str *in, int *minutes_out)
{
    int sign = in->len > 0 && in->ptr[0] == '-' ? -1 : 1, at[2];
    if (take_shape(in, "z", at)) {
        *minutes_out = 0;
        return true;
    }
    if (!take_shape(in, sign < 0 ? "-00:00" : "+00:00", at) || at[0] > 23 || at[1] > 59)
        return false;
    *minutes_out = sign * (at[0] * 60 + at[1]);
    return true;
}

bool time_parse_offset(struct str text, int *minutes_out)
{
    enum { MOST = 14 * 60 };
    struct str hours;
    uint64_t h, m = 0;
    if (text.len == 0 || (text.ptr[0] != '+' && text.ptr[0] != '-'))
        return false;
    bool west = text.ptr[0] == '-';
    text = str_make(text.ptr + 1, text.len - 1);
    bool minutes = str_find(text, ':') < text.len;
    if (!str_split(&text, ':', &hours) || !str_u64(hours, 14, &h) ||
        (minutes && (text.len != 2 || !str_u64(text, 59, &m))) || h * 60 + m > MOST)
        return false;
    *minutes_out = (int)(h * 60 + m) * (west ? -1 : 1);
    return true;
}

bool time_parse_rfc3339(struct str text, int64_t *wall_ms_out)
{
    int n[6], zone, ms = 0;
    if (!take_shape(&text, "0000-00-00t00:00:00", n))
        return false;
    if (text.len > 0 && text.ptr[0] == '.') {
        size_t digits = 1;
        for (int unit = 100; digits < text.len && ascii_is_digit(text.ptr[digits]); unit /= 10)
            ms += (text.ptr[digits++] - '0') * unit;
        if (digits == 1)
            return false;
        text = str_make(text.ptr + digits, text.len - digits);
    }
    if (!take_zone(&text, &zone) || text.len > 0 || n[1] < 1 || n[1] > 12 || n[2] < 1 ||
        n[3] > 23 || n[4] > 59 || n[5] > 60)
        return false;
    int64_t days = days_of(n[0], n[1], n[2]);
    struct civil c = civil_of(days * 86400000);
    if (c.month != n[1] || c.day != n[2])
        return false;
    int64_t seconds = days * 86400 + n[3] * 3600 + n[4] * 60 + n[5] - (int64_t)zone * 60;
    *wall_ms_out = seconds * 1000 + ms;
    return true;
}
