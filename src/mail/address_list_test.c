// SPDX-License-Identifier: ISC
// Address lists as people and programs write them.
#include "mail/address_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

// The addresses with a blank behind each; "!" for what is none.
static const struct {
    const char *in, *out;
} rows[] = {
    {"", ""},
    {" , ,, ;", ""},
    {"a@b", "a@b "},
    {"a@b, c@d,e@f", "a@b c@d e@f "},
    {"A <a@b>", "a@b "},
    {"\"Doe, John\" <j@d.example>, x@y", "j@d.example x@y "},
    {"\"a \\\" <evil@x>, \" <a@b>", "a@b "},
    {"=?UTF-8?Q?J=C3=B6rg=2C?= <j@d>", "j@d "},
    {"John (Jack, \\) (really)) Doe <j@d> (work)", "j@d "},
    {"j@d (John Doe)", "j@d "},
    {"(x) j (y) @ (z) d . example", "j@d.example "},
    {"j . doe @ d.example", "j.doe@d.example "},
    {"Friends: a@b, C <c@d>; , e@f", "a@b c@d e@f "},
    {"The old friends : a@b ;", "a@b "},
    {"undisclosed-recipients:;", ""},
    {"A <@r1,@r2:a@b>, c@d", "a@b c@d "},
    {"a@b,\r\n c@d,\r\n\t\"e\r\n f\" <e@f>", "a@b c@d e@f "},
    {"a@[192.0.2.1], b@[IPv6:::1]", "a@[192.0.2.1] b@[IPv6:::1] "},
    {"\"a b\"@d", "\"a b\"@d "},
    {"\"a,b\" @ d", "\"a,b\"@d "},
    {"root, joe", "root joe "},
    {"joe bob, a@b", "! a@b "},
    {"a@b c@d", "! "},
    {"<a@b> <c@d>, e@f", "! e@f "},
    {"<<a@b>>", "! "},
    {"<a@b", "! "},
    {"a@b>", "! "},
    {"A <>", "! "},
    {"\"open", "! "},
    {"(open, a@b", "! "},
    {"a@[1.2.3, c@d", "! "},
    {"a@@b, c@d", "! c@d "},
    {"a\x01@b", "! "},
    {"\"a\\\r\nDATA\"@b", "! "},
    {"j\xc3\xb6rg@d", "! "},
    {"J\xc3\xb6rg <j@d>", "j@d "},
    {"trailing\\", "! "},
    {"\"x\\", "! "},
};

static void finds_the_addresses(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf got;
        buf_init(&got, 1000);
        struct address_list list = address_list_of(str_of(rows[i].in), ADDRESS_NO_DOMAIN);
        struct address a;
        struct str item;
        const char *why;
        enum address_list_step step;
        while ((step = address_list_next(&list, &a, &item, &why)) != ADDRESS_LIST_END) {
            assert_true(item.len > 0);
            buf_printf(&got, "%s ", step == ADDRESS_LIST_ADDRESS ? a.text : "!");
        }
        if (strcmp(buf_cstr(&got), rows[i].out) != 0)
            fail_msg("%s: %s, not %s", rows[i].in, buf_cstr(&got), rows[i].out);
        buf_free(&got);
    }
}

static size_t walk(struct str value)
{
    struct address_list list = address_list_of(value, 0);
    struct address a;
    struct str item;
    const char *why;
    size_t count = 0;
    for (enum address_list_step step;
         (step = address_list_next(&list, &a, &item, &why)) != ADDRESS_LIST_END;)
        count += step == ADDRESS_LIST_ADDRESS;
    return count;
}

static void bombs_cost_linear_time(void **state)
{
    static const char *const pieces[] = {"(",  "<", "\"", "a@b,", "a:",      "[",
                                         "\\", ",", "a ", "()",   "a@b (x) "};
    clock_t begin = clock();
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        while (b.len < 500000)
            buf_puts(&b, pieces[i]);
        size_t count = walk(buf_str(&b));
        if (strcmp(pieces[i], "a@b,") == 0)
            assert_int_equal(count, 125000);
        else
            assert_int_equal(count, 0);
        buf_free(&b);
    }
    assert_true(clock() - begin < 10 * CLOCKS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_addresses),
        cmocka_unit_test(bombs_cost_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
