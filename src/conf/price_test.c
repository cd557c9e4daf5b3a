// SPDX-License-Identifier: ISC
// Money as it is typed, counted and told.
#include "conf/price.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void assert_told(const char *typed, const char *told)
{
    struct conf_price p;
    struct buf out;
    buf_init(&out, 100);
    assert_true(price_parse(str_of(typed), &p));
    price_put(&out, &p);
    assert_string_equal(buf_cstr(&out), told);
    buf_free(&out);
}

static void what_is_typed_is_told_again(void **state)
{
    assert_told("0.10 USD/1000", "0.10 USD/1000");
    assert_told("0.1 USD / 1000", "0.10 USD/1000");
    assert_told("5 EUR", "5.00 EUR");
    assert_told(" 0.000125 EUR ", "0.000125 EUR");
    assert_told("1000000 CHF", "1000000.00 CHF");
}

static void nonsense_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",         "5",        "USD",         "5USD",        "-1 USD",        "0 USD",
        "0.0 USD",  "1. USD",   ".5 USD",      "1,50 EUR",    "1.1234567 EUR", "1 USD/0",
        "1 USD/",   "1 USD/x",  "1 DUBLOONSS", "1000001 USD", "1 $",           "1 USD/1000001",
        "1 US D/1", "1 USD/1/1"};
    struct conf_price p;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (price_parse(str_of(wrong[i]), &p))
            fail_msg("\"%s\" was taken", wrong[i]);
}

static void a_budget_is_never_exceeded(void **state)
{
    struct conf_price p;
    assert_true(price_parse(STR("0.07 USD/1000"), &p));
    for (uint64_t micros = 1; micros < 100000; micros += 77) {
        uint64_t n = price_recipients(&p, micros);
        assert_true(price_of(&p, n) <= micros);
        assert_true(price_of(&p, n + 1) > micros);
    }
    assert_int_equal(price_of(&p, 1000000000), 70000ull * 1000000);
}

static void the_smaller_of_budget_and_quota_holds(void **state)
{
    struct conf_gateway g = {.quota[UNIT_RECIPIENTS][PERIOD_MONTH] = 300};
    assert_int_equal(price_quota(&g, UNIT_RECIPIENTS, PERIOD_MONTH), 300);
    assert_true(price_parse(STR("0.01 USD"), &g.cost));
    assert_int_equal(price_quota(&g, UNIT_RECIPIENTS, PERIOD_MONTH), 300);
    assert_true(price_parse(STR("2 USD"), &g.budget));
    assert_int_equal(price_quota(&g, UNIT_RECIPIENTS, PERIOD_MONTH), 200);
    assert_int_equal(price_quota(&g, UNIT_RECIPIENTS, PERIOD_DAY), 0);
    assert_true(price_parse(STR("9 USD"), &g.budget));
    assert_int_equal(price_quota(&g, UNIT_RECIPIENTS, PERIOD_MONTH), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_typed_is_told_again),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_budget_is_never_exceeded),
        cmocka_unit_test(the_smaller_of_budget_and_quota_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
