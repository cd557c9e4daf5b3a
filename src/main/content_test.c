// SPDX-License-Identifier: ISC
// Line ends and the lone dot, at every cut.
#include "main/content.h"

#include <setjmp.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    struct str in;
    bool dot_ends;
    struct str out;
    bool ended;
} cases[] = {
    {STR(""), true, STR(""), false},
    {STR("a"), true, STR("a\r\n"), false},
    {STR("a\nb\n"), true, STR("a\r\nb\r\n"), false},
    {STR("a\r\nb\r\n"), true, STR("a\r\nb\r\n"), false},
    {STR("10%\r20%\r\n"), true, STR("10%\r\n20%\r\n"), false},
    {STR("a\r\r\nb"), true, STR("a\r\n\r\nb\r\n"), false},
    {STR("\n\n"), true, STR("\r\n\r\n"), false},
    {STR("a\0b\0\n"), true, STR("ab\r\n"), false},
    {STR("a\r\0\nb"), true, STR("a\r\nb\r\n"), false},
    {STR("a\n.\nb\n"), true, STR("a\r\n"), true},
    {STR("a\n.\r\nb\n"), true, STR("a\r\n"), true},
    {STR("a\n."), true, STR("a\r\n"), true},
    {STR(".\n"), true, STR(""), true},
    {STR("a\n..\n.b\n"), true, STR("a\r\n..\r\n.b\r\n"), false},
    {STR("a.\n"), true, STR("a.\r\n"), false},
    {STR("a\n.\nb\n"), false, STR("a\r\n.\r\nb\r\n"), false},
    {STR("."), false, STR(".\r\n"), false},
};

static void lines_are_mended(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step <= cases[i].in.len + 1; step++) {
            struct buf out;
            struct content c;
            buf_init(&out, 1000);
            content_begin(&c, &out, cases[i].dot_ends);
            for (size_t at = 0; at < cases[i].in.len; at += step) {
                size_t left = cases[i].in.len - at;
                content_feed(&c, cases[i].in.ptr + at, left < step ? left : step);
            }
            content_end(&c);
            buf_cstr(&out);
            assert_int_equal(out.len, cases[i].out.len);
            assert_memory_equal(out.data, cases[i].out.ptr, out.len);
            assert_int_equal(c.ended, cases[i].ended);
            buf_free(&out);
        }
    }
}

static void a_pipe_is_read_to_its_end(void **state)
{
    int ends[2];
    struct buf out;
    const char *why;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a\nb", 3), 3);
    close(ends[1]);
    buf_init(&out, 1000);
    assert_true(content_read(&out, ends[0], true, &why));
    assert_string_equal(buf_cstr(&out), "a\r\nb\r\n");
    close(ends[0]);
    buf_free(&out);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "aaaaaaaaaaaaaaaaaaaa\n", 21), 21);
    close(ends[1]);
    buf_init(&out, 10);
    assert_false(content_read(&out, ends[0], true, &why));
    assert_string_equal(why, "the message is too large");
    close(ends[0]);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_are_mended),
                                       cmocka_unit_test(a_pipe_is_read_to_its_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
