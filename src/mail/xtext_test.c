// SPDX-License-Identifier: ISC
// xtext: strict both ways.
#include "mail/xtext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void every_octet_comes_back(void **state)
{
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct buf text, back;
    buf_init(&text, 1000);
    buf_init(&back, 1000);
    assert_true(xtext_encode(&text, str_make(all, 256)));
    for (size_t i = 0; i < text.len; i++)
        assert_true(text.data[i] > ' ' && text.data[i] < 0x7f && text.data[i] != '=');
    assert_true(xtext_decode(&back, buf_str(&text)));
    assert_int_equal(back.len, 256);
    assert_memory_equal(back.data, all, 256);
    buf_free(&text);
    buf_free(&back);
}

static void only_the_strict_form_is_taken(void **state)
{
    static const char *const bad[] = {"+",
                                      "a+",
                                      "+2",
                                      "+2g",
                                      "+0d",
                                      "a b",
                                      "a=b",
                                      "\x7f",
                                      "\xe4",
                                      "a\r\nb",
                                      "a\t",
                                      "+ 20",
                                      "x+0D+0AX-Inj:+20y+"};
    struct buf out;
    buf_init(&out, 100);
    buf_puts(&out, "kept");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(xtext_decode(&out, str_of(bad[i])));
        assert_string_equal(buf_cstr(&out), "kept");
    }
    assert_true(xtext_decode(&out, STR("")));
    assert_true(xtext_decode(&out, STR(":+2B+3D+0D+0A")));
    assert_string_equal(buf_cstr(&out), "kept:+=\r\n");
    buf_free(&out);
}

static void a_full_buffer_keeps_what_it_had(void **state)
{
    struct buf out;
    buf_init(&out, 6);
    buf_puts(&out, "kept");
    assert_false(xtext_encode(&out, STR("a b")));
    assert_string_equal(buf_cstr(&out), "kept");
    assert_false(xtext_decode(&out, STR("abc")));
    assert_string_equal(buf_cstr(&out), "kept");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_octet_comes_back),
        cmocka_unit_test(only_the_strict_form_is_taken),
        cmocka_unit_test(a_full_buffer_keeps_what_it_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
