// SPDX-License-Identifier: ISC
// Times of the week: [days] [from-to], as in "mon-fri 08:00-18:00", "sat,sun", "22:00-06:00".
#include "conf/reader.h"

enum { DAY_MINUTES = 24 * 60, WEEK_DAYS = 7 };

static const char *const days[WEEK_DAYS] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static int find_day(struct str text)
{
    for (int i = 0; i < WEEK_DAYS; i++)
        if (str_ieq(text, str_of(days[i])))
            return i;
    return -1;
}

// "mon", "mon-fri", "fri-mon", and several of them between commas; a set of 1 << day, 0: no days.
static unsigned parse_days(struct str text)
{
    unsigned set = 0;
    struct str item, first;
    if (text.len == 0 || text.ptr[text.len - 1] == ',')
        return 0;
    while (str_split(&text, ',', &item)) {
        bool range = str_find(item, '-') < item.len;
        str_split(&item, '-', &first);
        int from = find_day(first), to = range ? find_day(item) : from;
        if (from < 0 || to < 0)
            return 0;
        for (int day = from;; day = (day + 1) % WEEK_DAYS) {
            set |= 1u << day;
            if (day == to)
                break;
        }
    }
    return set;
}

// HH:MM, up to 24:00.
static bool parse_clock(struct str text, unsigned *minutes_out)
{
    uint64_t hour, minute;
    if (text.len != 5 || text.ptr[2] != ':' || !str_u64(str_make(text.ptr, 2), 24, &hour) ||
        !str_u64(str_make(text.ptr + 3, 2), 59, &minute) || (hour == 24 && minute > 0))
        return false;
    *minutes_out = (unsigned)(hour * 60 + minute);
    return true;
}

// An end at or before the beginning is on the next day.
static bool parse_span(struct str text, unsigned *begin_out, unsigned *end_out)
{
    struct str from;
    if (!str_split(&text, '-', &from) || !parse_clock(from, begin_out) ||
        !parse_clock(text, end_out) || *begin_out == *end_out || *begin_out == DAY_MINUTES)
        return false;
    if (*end_out <= *begin_out)
        *end_out += DAY_MINUTES;
    return true;
}

size_t hours_parse(struct str text, struct conf_hours out[HOURS_MAX])
{
    struct str rest = str_trim(text), head;
    unsigned set = 0x7f, begin = 0, end = DAY_MINUTES;
    size_t n = 0;
    if (!str_split(&rest, ' ', &head))
        return 0;
    rest = str_trim(rest);
    if (ascii_is_digit(head.ptr[0])) {
        if (rest.len > 0 || !parse_span(head, &begin, &end))
            return 0;
    } else {
        set = parse_days(head);
        if (set == 0 || (rest.len > 0 && !parse_span(rest, &begin, &end)))
            return 0;
    }
    for (unsigned day = 0; day < WEEK_DAYS; day++)
        if ((set & 1u << day) != 0)
            out[n++] = (struct conf_hours){(uint16_t)(day * DAY_MINUTES + begin),
                                           (uint16_t)(day * DAY_MINUTES + end)};
    return n;
}

const char *hours_text(struct arena *arena, struct conf_hours hours)
{
    unsigned day = hours.begin / DAY_MINUTES, begin = hours.begin % DAY_MINUTES;
    unsigned end = hours.end - day * DAY_MINUTES;
    if (begin == 0 && end == DAY_MINUTES)
        return days[day];
    if (end > DAY_MINUTES)
        end -= DAY_MINUTES;
    return arena_printf(arena, "%s %02u:%02u-%02u:%02u", days[day], begin / 60, begin % 60,
                        end / 60, end % 60);
}
