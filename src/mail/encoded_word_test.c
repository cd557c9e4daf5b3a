// SPDX-License-Identifier: ISC
// Encoded words: the examples of RFC 2047, what people really send, and what must stay as it is.
#include "mail/encoded_word.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void shows(const char *field, const char *wanted, size_t max)
{
    struct buf out;
    buf_init(&out, 4096);
    encoded_word_show(&out, str_of(field), max);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_free(&out);
}

static void words_are_decoded(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"plain  text = here", "plain  text = here"},
        {"=?utf-8?q?h=C3=A9?=", "h\xc3\xa9"},
        {"=?UTF-8?B?w6TDtsO8?=", "\xc3\xa4\xc3\xb6\xc3\xbc"},
        {"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
        {"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"},
        // RFC 2047 section 8, within unstructured text
        {"=?ISO-8859-1?Q?a?=", "a"},
        {"=?ISO-8859-1?Q?a?= b", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=", "ab"},
        {"=?ISO-8859-1?Q?a_b?=", "a b"},
        {"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a =?ISO-8859-2?Q?_b?="},
        // a character torn between two words
        {"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9"},
        {"Re: =?utf-8?q?x?= y =?utf-8?q?z?=", "Re: x y z"},
        {"[=?utf-8?q?x?=]", "[x]"},
        {"=?utf-8?q?"
         "?=",
         ""},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        shows(pairs[i][0], pairs[i][1], 1000);
}

static void others_stay(void **state)
{
    static const char *const same[] = {
        "=?",
        "=?utf-8",
        "=?utf-8?q?a",
        "=?utf-8?q?a b?=",
        "=?utf-8?x?a?=",
        "=?big5?b?AA?=",
        "=?utf-8?q?=4?=",
        "=?utf-8?q?=GG?=",
        "=?utf-8?b?w6?=",
        "=?utf-8?b?!!!!?=",
        "=?=?=?",
        "a =? b ?= c",
        "=?koi8-r?q?x?= =?koi8-r?q?y?=",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        shows(same[i], same[i], 1000);
}

static void the_result_is_bounded(void **state)
{
    shows("=?utf-8?q?=C3=A9=C3=A9?=", "\xc3\xa9", 3);
    shows("abcdef", "abc", 3);
    shows("=?utf-8?q?=C3=A9?=", "", 1);
}

// Whatever comes: no longer than max, and well-formed in is well-formed out for ISO-8859-1.
static void noise_is_harmless(void **state)
{
    static const char alphabet[] = "=?qQbButf-8iso1_ \tA9C3";
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t len = 0;
        while (len < sizeof(text) - 1) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[len++] = alphabet[(seed >> 33) % (sizeof(alphabet) - 1)];
        }
        struct buf out;
        buf_init(&out, 4096);
        encoded_word_show(&out, str_make(text, len), 40);
        assert_true(out.len <= 40);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_decoded),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(the_result_is_bounded),
        cmocka_unit_test(noise_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
