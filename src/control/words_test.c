// SPDX-License-Identifier: ISC
// Sizes, numbers, moments and quotas, told and typed.
#include "control/words.h"
#include "base/timefmt.h"
#include "sys/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static const int64_t now = 1795255200000; // 2026-11-21 10:00 UTC, a Saturday

static void test_sizes(void **state)
{
    char text[WORDS_TEXT];
    assert_string_equal(words_size(812, text), "812 B");
    assert_string_equal(words_size(4100, text), "4.1 kB");
    assert_string_equal(words_size(31000000, text), "31.0 MB");
    assert_string_equal(words_size(2500000000u, text), "2.5 GB");
}

static void test_numbers(void **state)
{
    char text[WORDS_TEXT];
    assert_string_equal(words_number(0, text), "0");
    assert_string_equal(words_number(999, text), "999");
    assert_string_equal(words_number(4812, text), "4,812");
    assert_string_equal(words_number(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void test_moments(void **state)
{
    char text[WORDS_TEXT];
    const int64_t hour = 3600 * 1000, day = 24 * hour;
    assert_string_equal(words_when(now, now, text), "10:00");
    assert_string_equal(words_when(now + day - hour, now, text), "tomorrow 09:00");
    assert_string_equal(words_when(now - day, now, text), "yesterday 10:00");
    assert_string_equal(words_when(now + 3 * day, now, text), "Tue 24 Nov 10:00");
    assert_string_equal(words_when(now + 400 * day, now, text), "Sun 26 Dec 2027 10:00");
}

static void test_quotas(void **state)
{
    struct queue_quota_view q = {.unit = UNIT_MESSAGES,
                                 .period = PERIOD_DAY,
                                 .used = 4812,
                                 .limit = 10000,
                                 .reset_ms = now + 23 * 3600 * 1000};
    struct buf out;
    buf_init(&out, 1000);
    words_quota(&q, now, false, &out);
    assert_string_equal(buf_cstr(&out), "4,812 of 10,000 used today, resets tomorrow 09:00");
    buf_clear(&out);
    q.exhausts_ms = now + 3600 * 1000;
    q.reserve = 500;
    words_quota(&q, now, true, &out);
    assert_string_equal(
        buf_cstr(&out),
        "4,812 of 10,000 used today, resets tomorrow 09:00; 500 kept for urgent mail; "
        "at this pace used up 11:00");
    buf_clear(&out);
    q = (struct queue_quota_view){
        .unit = UNIT_BYTES, .period = PERIOD_HOUR, .used = 1000, .limit = 2000000};
    words_quota(&q, now, true, &out);
    assert_string_equal(buf_cstr(&out), "1.0 kB of 2.0 MB used this hour");
    buf_clear(&out);
    q = (struct queue_quota_view){
        .unit = UNIT_MESSAGES, .period = PERIOD_DAY, .used = 1, .limit = 1, .learnt = true};
    words_quota(&q, now, false, &out);
    assert_string_equal(buf_cstr(&out), "1 of 1 used today (learnt from a refusal)");
    buf_free(&out);
}

static void test_sizes_typed(void **state)
{
    uint64_t n;
    assert_true(words_parse_size(STR("10M"), &n) && n == 10 << 20);
    assert_true(words_parse_size(STR("300 kB"), &n) && n == 300 << 10);
    assert_true(words_parse_size(STR("17"), &n) && n == 17);
    assert_false(words_parse_size(STR(""), &n));
    assert_false(words_parse_size(STR("M"), &n));
    assert_false(words_parse_size(STR("-1"), &n));
    assert_false(words_parse_size(STR("1x"), &n));
    assert_false(words_parse_size(STR("99999999999999999999"), &n));
}

static void test_moments_typed(void **state)
{
    int64_t at;
    assert_true(words_parse_when(STR("2026-12-01 08:30"), now, &at) && at == 1796113800000);
    assert_true(words_parse_when(STR("2026-12-01T08:30"), now, &at) && at == 1796113800000);
    assert_true(words_parse_when(STR("2026-11-21"), now, &at) && at == now - 10 * 3600 * 1000);
    assert_true(words_parse_when(STR("11:30"), now, &at) && at == now + 90 * 60 * 1000);
    assert_false(words_parse_when(STR("now"), now, &at));
    assert_false(words_parse_when(STR(""), now, &at));
    assert_false(words_parse_when(STR("24:00"), now, &at));
    assert_false(words_parse_when(STR("2026-13-01"), now, &at));
}

static void test_moments_ahead(void **state)
{
    int64_t at, hour = 3600 * 1000;
    assert_true(words_parse_future(STR("11:30"), now, &at) && at == now + 90 * 60 * 1000);
    assert_true(words_parse_future(STR("08:00"), now, &at) && at == now + 22 * hour);
    assert_true(words_parse_future(STR("10:00"), now, &at) && at == now + 24 * hour);
    assert_true(words_parse_future(STR("+2h"), now, &at) && at == now + 2 * hour);
    assert_true(words_parse_future(STR("2026-11-21 08:00"), now, &at) && at == now - 2 * hour);
    assert_true(words_parse_future(STR("2026-11-21T12:00:00+01:00"), now, &at) && at == now + hour);
    assert_false(words_parse_future(STR("+"), now, &at));
    assert_false(words_parse_future(STR("+soon"), now, &at));
    assert_false(words_parse_future(STR("2h"), now, &at));
}

static void zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

// Berlin: forward on 2027-03-28 at 02:00 (01:00 UTC), back on 2026-10-25 at 03:00 (01:00 UTC).
static void test_moments_around_a_change_of_clocks(void **state)
{
    static const struct {
        const char *typed, *utc;
    } cases[] = {
        {"2027-03-28 01:59", "2027-03-28T00:59:00Z"}, {"2027-03-28 03:00", "2027-03-28T01:00:00Z"},
        {"2027-03-28 02:30", "2027-03-28T01:30:00Z"}, // there is none: 03:30 then
        {"2027-03-28 12:00", "2027-03-28T10:00:00Z"}, {"2027-03-27 12:00", "2027-03-27T11:00:00Z"},
        {"2026-10-25 01:30", "2026-10-24T23:30:00Z"}, {"2026-10-25 02:30", "2026-10-25T00:30:00Z"},
        {"2026-10-25 03:00", "2026-10-25T02:00:00Z"}, {"2026-10-25 12:00", "2026-10-25T11:00:00Z"},
    };
    zone("CET-1CEST,M3.5.0,M10.5.0/3");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t at = 0, right;
        assert_true(time_parse_rfc3339(str_of(cases[i].utc), &right));
        if (!words_parse_when(str_of(cases[i].typed), now, &at) || at != right)
            fail_msg("%s: %lld s off", cases[i].typed, (long long)(at - right) / 1000);
    }
    zone("UTC");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_sizes_typed),
        cmocka_unit_test(test_moments_typed),
        cmocka_unit_test(test_moments_ahead),
        cmocka_unit_test(test_moments_around_a_change_of_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
