// SPDX-License-Identifier: ISC
// Tables: cells keep to their columns at a terminal, and are whole elsewhere.
#include "control/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct table_column columns[] = {{"ID", 6, false, false},
                                              {"SIZE", 5, true, false},
                                              {"TO", 10, false, true},
                                              {"WHY", 0, false, false},
                                              {NULL}};

static void line(const char *to, const char *why, int terminal, const char *wanted)
{
    struct buf out;
    const struct str cells[] = {STR("ABC"), STR("12"), str_of(to), str_of(why)};
    buf_init(&out, 4096);
    table_line(&out, columns, cells, terminal);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void cells_stand_in_their_columns(void **state)
{
    struct buf out;
    buf_init(&out, 4096);
    table_line(&out, columns, NULL, 0);
    assert_string_equal(buf_cstr(&out), "ID      SIZE TO         WHY");
    buf_free(&out);
    line("a@b.c", "busy", 0, "ABC       12 a@b.c      busy");
    line("a@b.c", "", 0, "ABC       12 a@b.c");
}

static void nothing_is_cut_elsewhere(void **state)
{
    line("long-name@long-host.example", "", 0, "ABC       12 long-name@long-host.example");
}

static void a_terminal_cuts_the_middle(void **state)
{
    line("long-name@long-host.example", "busy", 48, "ABC       12 long-…mple busy");
    line("0123456789", "busy", 48, "ABC       12 0123456789 busy");
}

static void a_wider_terminal_shows_more(void **state)
{
    line("long-name@long-host.example", "", 84, "ABC       12 long-name@long-host.example");
}

static void characters_count_not_octets(void **state)
{
    line("\xc3\xa4\xc3\xa4\xc3\xa4@b.c", "x", 48, "ABC       12 \xc3\xa4\xc3\xa4\xc3\xa4@b.c    x");
    line(
        "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4",
        "x", 48,
        "ABC       12 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4…\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 x");
}

static void a_terminal_is_not_commanded(void **state)
{
    line("\x1b[2J", "x", 48, "ABC       12 \\x1b[2J    x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_stand_in_their_columns),
        cmocka_unit_test(nothing_is_cut_elsewhere),
        cmocka_unit_test(a_terminal_cuts_the_middle),
        cmocka_unit_test(a_wider_terminal_shows_more),
        cmocka_unit_test(characters_count_not_octets),
        cmocka_unit_test(a_terminal_is_not_commanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
