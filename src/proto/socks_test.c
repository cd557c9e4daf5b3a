// SPDX-License-Identifier: ISC
// SOCKS 5 at every boundary of what a proxy sends.
#include "proto/socks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct talk {
    struct socks socks;
    struct buf said;
    size_t taken, len;
};

// Everything a proxy says, in pieces of `step` bytes; what is not taken comes again.
static void run(struct talk *t, const struct socks_settings *settings, struct str in, size_t step)
{
    buf_init(&t->said, SOCKS_OUT);
    t->taken = 0;
    t->len = in.len;
    socks_begin(&t->socks, settings, &t->said);
    for (size_t end = 0; end < in.len;) {
        end = end + step < in.len ? end + step : in.len;
        t->taken += socks_take(&t->socks, str_make(in.ptr + t->taken, end - t->taken), &t->said);
        assert_in_range(t->taken, 0, end);
    }
}

static void assert_talk(const struct socks_settings *settings, struct str in, struct str said,
                        size_t taken, enum socks_state state, const char *why)
{
    for (size_t step = 1; step <= in.len; step++) {
        struct talk t;
        run(&t, settings, in, step);
        assert_int_equal(t.socks.state, state);
        assert_string_equal(socks_why(&t.socks), why);
        if (state == SOCKS_OPEN)
            assert_int_equal(t.taken, taken);
        assert_int_equal(t.said.len, said.len);
        assert_memory_equal(t.said.data, said.ptr, said.len);
        buf_free(&t.said);
    }
}

static const struct socks_settings plain = {.host = "mx.example", .port = 587};
static const struct socks_settings login = {
    .host = "192.0.2.1", .port = 25, .user = "me", .password = "secret"};

static void a_name_goes_to_the_proxy_as_it_is(void **state)
{
    // The peer's greeting stands right behind the reply and is not taken.
    assert_talk(&plain,
                STR("\5\0"
                    "\5\0\0\1\0\0\0\0\0\0"
                    "220 hello\r\n"),
                STR("\5\1\0"
                    "\5\1\0\3\12mx.example\2\113"),
                12, SOCKS_OPEN, "");
    assert_talk(&plain,
                STR("\5\0"
                    "\5\0\0\3\4host\0\31"
                    "2"),
                STR("\5\1\0"
                    "\5\1\0\3\12mx.example\2\113"),
                13, SOCKS_OPEN, "");
}

static void a_login_is_sent_when_it_is_asked_for(void **state)
{
    assert_talk(&login,
                STR("\5\2"
                    "\1\0"
                    "\5\0\0\1\0\0\0\0\0\0"),
                STR("\5\2\0\2"
                    "\1\2me\6secret"
                    "\5\1\0\1\300\0\2\1\0\31"),
                14, SOCKS_OPEN, "");
    assert_talk(&login,
                STR("\5\0"
                    "\5\0\0\1\0\0\0\0\0\0"),
                STR("\5\2\0\2"
                    "\5\1\0\1\300\0\2\1\0\31"),
                12, SOCKS_OPEN, "");
    struct socks_settings six = login;
    six.host = "2001:db8::1";
    assert_talk(&six,
                STR("\5\0"
                    "\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\31"),
                STR("\5\2\0\2"
                    "\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\31"),
                24, SOCKS_OPEN, "");
}

static void refusals_are_told_apart(void **state)
{
    static const struct {
        struct str in;
        enum socks_fault fault;
        const char *why;
    } cases[] = {
        {STR("\5\377"), SOCKS_LOGIN_FAULT, "wants a user and a password"},
        {STR("\5\2"), SOCKS_LOGIN_FAULT, "wants a user and a password"},
        {STR("\4\0"), SOCKS_STRANGE, "does not speak SOCKS 5"},
        {STR("HTTP/1.0 400 Bad Request"), SOCKS_STRANGE, "does not speak SOCKS 5"},
        {STR("\5\0"
             "\4\0\0\1\0\0\0\0\0\0"),
         SOCKS_STRANGE, "does not speak SOCKS 5"},
        {STR("\5\0"
             "\5\0\0\2\0\0\0\0\0\0"),
         SOCKS_STRANGE, "does not speak SOCKS 5"},
        {STR("\5\0"
             "\5\1"),
         SOCKS_UNREACHED, "failed"},
        {STR("\5\0"
             "\5\2\0\1\0\0\0\0\0\0"),
         SOCKS_FORBIDDEN, "does not allow it"},
        {STR("\5\0"
             "\5\3\0\1\0\0\0\0\0\0"),
         SOCKS_UNREACHED, "finds its network unreachable"},
        {STR("\5\0"
             "\5\5\0\1\0\0\0\0\0\0"),
         SOCKS_UNREACHED, "was refused by it"},
        {STR("\5\0"
             "\5\377\0\1\0\0\0\0\0\0"),
         SOCKS_UNREACHED, "cannot connect to it"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t step = 1; step <= cases[i].in.len; step++) {
            struct talk t;
            run(&t, &plain, cases[i].in, step);
            assert_int_equal(t.socks.state, SOCKS_FAILED);
            assert_int_equal(t.socks.fault, cases[i].fault);
            assert_string_equal(socks_why(&t.socks), cases[i].why);
            buf_free(&t.said);
        }
    assert_talk(&login,
                STR("\5\2"
                    "\1\1"),
                STR("\5\2\0\2"
                    "\1\2me\6secret"),
                4, SOCKS_FAILED, "refuses the user or the password");
}

static void what_the_protocol_cannot_say_fails_at_once(void **state)
{
    static char large[SOCKS_TEXT + 2];
    memset(large, 'a', sizeof(large) - 1);
    struct talk t;
    struct socks_settings s = plain;
    s.host = large;
    run(&t, &s, STR(""), 1);
    assert_int_equal(t.socks.fault, SOCKS_UNREACHED);
    assert_int_equal(t.said.len, 0);
    buf_free(&t.said);
    s = login;
    s.password = large;
    run(&t, &s, STR(""), 1);
    assert_int_equal(t.socks.fault, SOCKS_LOGIN_FAULT);
    buf_free(&t.said);
    s.password = large + 1; // just fits
    s.user = large + 1;
    run(&t, &s, STR("\5\2"), 1);
    assert_int_equal(t.socks.state, SOCKS_LOGIN);
    assert_int_equal(t.said.len, 4 + 1 + 2 * 256);
    buf_free(&t.said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_goes_to_the_proxy_as_it_is),
        cmocka_unit_test(a_login_is_sent_when_it_is_asked_for),
        cmocka_unit_test(refusals_are_told_apart),
        cmocka_unit_test(what_the_protocol_cannot_say_fails_at_once),
    };
    return cmocka_run_group_tests_name("socks", tests, NULL, NULL);
}
