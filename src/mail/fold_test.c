// SPDX-License-Identifier: ISC
// Folding: the width, the longest word, and one field in, one field out.
#include "mail/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void folds_between_words_at_78(void **state)
{
    struct buf b;
    buf_init(&b, 10000);
    struct fold f = fold_begin(&b, "X:");
    for (int i = 0; i < 200; i++) {
        char word[32];
        int n = snprintf(word, sizeof(word), "%0*d", i % 20 + 1, 7);
        fold_word(&f, str_make(word, (size_t)n));
    }
    fold_end(&f);
    size_t line = 0;
    for (size_t i = 0; i < b.len; i++) {
        line = b.data[i] == '\n' ? 0 : b.data[i] == '\r' ? line : line + 1;
        assert_true(line <= FOLD_COLUMN);
        if (b.data[i] == '\n' && i + 1 < b.len)
            assert_int_equal(b.data[i + 1], '\t');
    }
    buf_free(&b);
}

static void a_line_never_passes_998(void **state)
{
    static char word[5000];
    memset(word, 'w', sizeof(word));
    struct buf b;
    buf_init(&b, 10000);
    struct fold f = fold_begin(&b, "X:");
    fold_word(&f, str_make(word, sizeof(word)));
    fold_end(&f);
    size_t line = 0, letters = 0;
    for (size_t i = 0; i < b.len; i++) {
        line = b.data[i] == '\n' ? 0 : line + 1;
        letters += b.data[i] == 'w';
        assert_true(line <= 999);
    }
    assert_int_equal(letters, sizeof(word));
    buf_free(&b);
}

static void a_field_stays_one_field(void **state)
{
    struct buf b;
    buf_init(&b, 10000);
    struct fold f = fold_begin(&b, "X:");
    fold_word(&f, STR("a b\r\nY: z\n\r\n\0\x7f"));
    fold_text(&f, STR("  c   d "));
    fold_break(&f);
    fold_word(&f, STR("e"));
    fold_end(&f);
    assert_string_equal(buf_cstr(&b), "X: a b??Y: z????? c d\r\n\te\r\n");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_between_words_at_78),
        cmocka_unit_test(a_line_never_passes_998),
        cmocka_unit_test(a_field_stays_one_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
