// SPDX-License-Identifier: ISC
// TZif, version 2 and up: the second block, with 64-bit times, and the rule behind it.
#include "sys/zone_file.h"

#include <string.h>

enum { HEADER = 44, DAY = 86400 };

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int64_t be64(const char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_header(struct str *in, struct counts *c, char *version)
{
    if (in->len < HEADER || memcmp(in->ptr, "TZif", 4) != 0)
        return false;
    *version = in->ptr[4];
    *c = (struct counts){be32(in->ptr + 20), be32(in->ptr + 24), be32(in->ptr + 28),
                         be32(in->ptr + 32), be32(in->ptr + 36), be32(in->ptr + 40)};
    in->ptr += HEADER;
    in->len -= HEADER;
    return c->type > 0 && c->type <= 256 && c->time < 100000 && c->chars < 10000 &&
           c->leap < 10000 && c->isut < 10000 && c->isstd < 10000;
}

static size_t block_size(const struct counts *c, size_t time_size)
{
    return c->time * time_size + c->time + c->type * (size_t)6 + c->chars +
           c->leap * (time_size + 4) + c->isstd + c->isut;
}

static bool offset_of(struct str types, uint32_t count, uint8_t type, int32_t *seconds_out)
{
    if (type >= count)
        return false;
    *seconds_out = (int32_t)be32(types.ptr + type * (size_t)6);
    return *seconds_out > -DAY && *seconds_out < DAY;
}

static bool read_block(struct str in, const struct counts *c, struct zone_table *out)
{
    struct str times = str_make(in.ptr, c->time * (size_t)8);
    struct str which = str_make(times.ptr + times.len, c->time);
    struct str types = str_make(which.ptr + which.len, c->type * (size_t)6);
    if (!offset_of(types, c->type, 0, &out->changes[0].seconds))
        return false;
    out->changes[0].at = INT64_MIN;
    out->count = 1;
    // The latest ones when there are too many.
    uint32_t first = c->time > ZONE_CHANGES - 1 ? c->time - (ZONE_CHANGES - 1) : 0;
    for (uint32_t i = first; i < c->time; i++) {
        struct zone_change *to = &out->changes[out->count];
        to->at = be64(times.ptr + i * (size_t)8);
        if (!offset_of(types, c->type, (uint8_t)which.ptr[i], &to->seconds) ||
            to->at < out->changes[out->count - 1].at)
            return false;
        out->count++;
    }
    return true;
}

bool zone_table_read(struct str in, struct zone_table *out)
{
    struct counts c;
    char version;
    memset(out, 0, sizeof(*out));
    if (!read_header(&in, &c, &version) || version < '2' || block_size(&c, 4) > in.len)
        return false;
    size_t skip = block_size(&c, 4);
    in = str_make(in.ptr + skip, in.len - skip);
    if (!read_header(&in, &c, &version) || block_size(&c, 8) > in.len || !read_block(in, &c, out))
        return false;
    skip = block_size(&c, 8);
    in = str_make(in.ptr + skip, in.len - skip);
    if (in.len < 2 || in.ptr[0] != '\n')
        return false;
    struct str rule = str_make(in.ptr + 1, in.len - 1);
    rule.len = str_find(rule, '\n');
    // Without a rule the last change holds for ever; one that is not understood is as none.
    if (rule.len > 0)
        out->has_rule = zone_rule_read(rule, out);
    return true;
}

// ---- The rule ----

static bool skip_name(struct str *in)
{
    size_t n = 0;
    if (in->len > 0 && in->ptr[0] == '<') {
        n = str_find(*in, '>') + 1;
    } else {
        while (n < in->len && ascii_is_alpha(in->ptr[n]))
            n++;
    }
    if (n < 3 || n > in->len)
        return false;
    *in = str_make(in->ptr + n, in->len - n);
    return true;
}

static bool take_number(struct str *in, int most, int *out)
{
    size_t n = 0;
    *out = 0;
    while (n < in->len && n < 4 && ascii_is_digit(in->ptr[n]))
        *out = *out * 10 + (in->ptr[n++] - '0');
    *in = str_make(in->ptr + n, in->len - n);
    return n > 0 && *out <= most;
}

static bool take_char(struct str *in, char c)
{
    if (in->len == 0 || in->ptr[0] != c)
        return false;
    *in = str_make(in->ptr + 1, in->len - 1);
    return true;
}

// "-3:30", up to 167 hours as the RFC allows.
static bool take_time(struct str *in, int32_t *seconds_out)
{
    int sign = take_char(in, '-') ? -1 : 1, h, m = 0, s = 0;
    if (sign > 0)
        take_char(in, '+');
    if (!take_number(in, 167, &h))
        return false;
    if (take_char(in, ':') && !take_number(in, 59, &m))
        return false;
    if (take_char(in, ':') && !take_number(in, 59, &s))
        return false;
    *seconds_out = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_day(struct str *in, struct zone_day *out)
{
    out->seconds = 2 * 3600;
    if (take_char(in, 'M')) {
        out->kind = ZONE_MONTH;
        if (!take_number(in, 12, &out->month) || !take_char(in, '.') ||
            !take_number(in, 5, &out->week) || !take_char(in, '.') ||
            !take_number(in, 6, &out->day))
            return false;
        if (out->month == 0 || out->week == 0)
            return false;
    } else {
        out->kind = take_char(in, 'J') ? ZONE_JULIAN : ZONE_ORDINAL;
        if (!take_number(in, 365, &out->day))
            return false;
    }
    return !take_char(in, '/') || take_time(in, &out->seconds);
}

bool zone_rule_read(struct str rule, struct zone_table *out)
{
    int32_t west;
    if (!skip_name(&rule) || !take_time(&rule, &west))
        return false;
    out->standard = out->summer = -west;
    if (rule.len == 0)
        return true;
    if (!skip_name(&rule))
        return false;
    out->summer = out->standard + 3600;
    if (rule.len > 0 && rule.ptr[0] != ',') {
        if (!take_time(&rule, &west))
            return false;
        out->summer = -west;
    }
    return take_char(&rule, ',') && take_day(&rule, &out->begin) && take_char(&rule, ',') &&
           take_day(&rule, &out->end) && rule.len == 0;
}

// ---- Asking ----

static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

// Days from 1970-01-01 to January 1 of the year.
static int64_t year_begin(int64_t y)
{
    int64_t before = y - 1;
    return 365 * (y - 1970) + (before / 4 - 1969 / 4) - (before / 100 - 1969 / 100) +
           (before / 400 - 1969 / 400);
}

// Local seconds since 1970 when the day of the rule comes in that year.
static int64_t when(const struct zone_day *d, int64_t year)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = year_begin(year);
    if (d->kind == ZONE_ORDINAL) {
        day += d->day;
    } else if (d->kind == ZONE_JULIAN) {
        day += d->day - 1 + (leap(year) && d->day >= 60);
    } else {
        for (int m = 1; m < d->month; m++)
            day += lengths[m - 1] + (m == 2 && leap(year));
        int length = lengths[d->month - 1] + (d->month == 2 && leap(year));
        int first =
            (int)(((day + 4) % 7 + 7) % 7); // its day of the week; 1970-01-01 was a Thursday
        int at = (d->day - first + 7) % 7 + (d->week - 1) * 7;
        while (at >= length)
            at -= 7;
        day += at;
    }
    return day * DAY + d->seconds;
}

static int32_t by_rule(const struct zone_table *t, int64_t seconds)
{
    if (t->standard == t->summer)
        return t->standard;
    int64_t local = seconds + t->standard, year = 1970 + local / DAY / 366;
    while (year_begin(year + 1) * DAY <= local)
        year++;
    int64_t begin = when(&t->begin, year) - t->standard, end = when(&t->end, year) - t->summer;
    bool summer = begin < end ? seconds >= begin && seconds < end // the north
                              : seconds >= begin || seconds < end;
    return summer ? t->summer : t->standard;
}

int32_t zone_table_offset(const struct zone_table *t, int64_t seconds)
{
    if (t->has_rule && seconds >= 0 && (t->count == 1 || seconds >= t->changes[t->count - 1].at))
        return by_rule(t, seconds);
    size_t low = 0, high = t->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (t->changes[middle].at <= seconds)
            low = middle;
        else
            high = middle;
    }
    return t->changes[low].seconds;
}
