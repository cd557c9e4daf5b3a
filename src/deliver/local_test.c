// SPDX-License-Identifier: ISC
// Lines at every boundary of pieces, and what exit statuses mean to the judge.
#include "deliver/local.h"
#include "deliver/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sysexits.h>

static void lines_end_in_lf_wherever_a_piece_ends(void **state)
{
    static const char in[] = "a: b\r\n\r\nbody\r\r\n\rx\n\r\n", want[] = "a: b\n\nbody\r\n\rx\n\n";
    size_t len = sizeof(in) - 1;
    for (size_t first = 0; first <= len; first++)
        for (size_t second = first; second <= len; second++) {
            char out[sizeof(in) + 1];
            bool kept = false;
            size_t n = local_unix_lines(&kept, in, first, out);
            n += local_unix_lines(&kept, in + first, second - first, out + n);
            n += local_unix_lines(&kept, in + second, len - second, out + n);
            assert_false(kept);
            assert_int_equal(n, sizeof(want) - 1);
            assert_memory_equal(out, want, n);
        }
}

static void only_the_recipients_and_the_messages_fault_returns_it(void **state)
{
    static const struct {
        int status;
        enum outcome_class class;
        unsigned code;
    } rows[] = {
        {EX_OK, OUTCOME_OK, 250},
        {EX_NOUSER, OUTCOME_REFUSED, 550},
        {EX_NOHOST, OUTCOME_REFUSED, 550},
        {EX_DATAERR, OUTCOME_REFUSED, 554},
        {EX_NOPERM, OUTCOME_REFUSED, 550},
        {EX_UNAVAILABLE, OUTCOME_REFUSED, 554},
        {EX_TEMPFAIL, OUTCOME_BUSY, 0},
        {EX_CONFIG, OUTCOME_BUSY, 0},
        {EX_CANTCREAT, OUTCOME_BUSY, 0},
        {127, OUTCOME_BUSY, 0},
        {1, OUTCOME_BUSY, 0},
        {255, OUTCOME_BUSY, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome o = {0};
        program_outcome(rows[i].status, STR("it said\n  so\n\n"), &o);
        assert_int_equal(o.class, rows[i].class);
        assert_int_equal(o.code, rows[i].code);
        assert_non_null(strstr(o.text, ": so"));
    }
}

static void what_a_program_prints_is_bounded_and_harmless(void **state)
{
    char flood[5000];
    struct outcome o = {0};
    memset(flood, 'x', sizeof(flood));
    program_outcome(75, str_make(flood, sizeof(flood)), &o);
    assert_true(strlen(o.text) > 100 && strlen(o.text) < sizeof(o.text));
    program_outcome(75, STR("\x1b[31mred\r\nFrom: x"), &o);
    assert_null(strchr(o.text, '\x1b'));
    assert_null(strchr(o.text, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_in_lf_wherever_a_piece_ends),
        cmocka_unit_test(only_the_recipients_and_the_messages_fault_returns_it),
        cmocka_unit_test(what_a_program_prints_is_bounded_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
