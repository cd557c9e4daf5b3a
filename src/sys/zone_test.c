// SPDX-License-Identifier: ISC
// Real zones around their changes, and files that are none.
#include "sys/zone.h"
#include "base/mem.h"
#include "sys/zone_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

// Seconds since 1970 of a UTC time.
static int64_t utc(int year, int month, int day, int hour, int minute)
{
    static const int days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t n = 365 * (int64_t)(year - 1970) + (year - 1969) / 4 - (year - 1901) / 100 +
                (year - 1601) / 400 + days[month - 1] + day - 1;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return (n + (month > 2 && leap)) * 86400 + hour * 3600 + minute * 60;
}

static void expect(const char *name, int64_t seconds, int minutes)
{
    struct err err;
    struct zone *zone = zone_open(name, &err);
    assert_non_null(zone);
    assert_int_equal(zone_offset_minutes(zone, seconds * 1000), minutes);
    zone_free(&zone);
}

static void real_zones_change_when_they_do(void **state)
{
    for (int year = 2026; year <= 2060; year += 34) { // by the table, and by the rule
        int march = year == 2026 ? 29 : 28, october = year == 2026 ? 25 : 31;
        expect("Europe/Berlin", utc(year, 3, march, 0, 59), 60);
        expect("Europe/Berlin", utc(year, 3, march, 1, 0), 120);
        expect("Europe/Berlin", utc(year, 10, october, 0, 59), 120);
        expect("Europe/Berlin", utc(year, 10, october, 1, 0), 60);
    }
    expect("America/Los_Angeles", utc(2026, 3, 8, 9, 59), -480);
    expect("America/Los_Angeles", utc(2026, 3, 8, 10, 0), -420);
    expect("America/Los_Angeles", utc(2026, 11, 1, 8, 59), -420);
    expect("America/Los_Angeles", utc(2026, 11, 1, 9, 0), -480);
    expect("Asia/Kolkata", utc(2026, 6, 1, 0, 0), 330);
    expect("Australia/Sydney", utc(2050, 1, 10, 0, 0), 660); // summer in the south
    expect("Australia/Sydney", utc(2050, 7, 10, 0, 0), 600);
    expect("UTC", utc(2026, 6, 1, 0, 0), 0);
    expect("-08:00", utc(2026, 6, 1, 0, 0), -480);
}

static void names_that_are_none_are_told_so(void **state)
{
    static const char *const bad[] = {
        "",       "../../etc/passwd", "/etc/passwd", "Europe/Nowhere", "a b",
        "+25:00", "Europe",           "Europe//..",  "zone.tab"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err;
        assert_null(zone_open(bad[i], &err));
        assert_true(strlen(err.text) > 10);
    }
}

static void rules_are_read(void **state)
{
    struct zone_table t = {.count = 1};
    assert_true(zone_rule_read(STR("<+0330>-3:30"), &t));
    assert_int_equal(t.standard, 12600);
    assert_true(zone_rule_read(STR("EST5EDT,M3.2.0,M11.1.0"), &t));
    assert_int_equal(t.summer, -4 * 3600);
    assert_true(zone_rule_read(STR("XXX3YYY2:30,J60/0,300/-1:00"), &t));
    assert_int_equal(t.end.seconds, -3600);
    assert_false(zone_rule_read(STR("EST"), &t));
    assert_false(zone_rule_read(STR("EST5EDT,M13.2.0,M11.1.0"), &t));
    assert_false(zone_rule_read(STR("EST5EDT,M3.2.0"), &t));
}

static void damaged_files_are_refused_or_read_safely(void **state)
{
    struct zone_table t;
    char bytes[512] = "TZif2";
    for (size_t len = 0; len < sizeof(bytes); len++)
        assert_false(zone_table_read(str_make(bytes, len), &t));
    memset(bytes + 20, 0xff, 24);
    assert_false(zone_table_read(str_make(bytes, sizeof(bytes)), &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_zones_change_when_they_do),
        cmocka_unit_test(names_that_are_none_are_told_so),
        cmocka_unit_test(rules_are_read),
        cmocka_unit_test(damaged_files_are_refused_or_read_safely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
