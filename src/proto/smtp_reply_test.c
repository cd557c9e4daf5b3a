// SPDX-License-Identifier: ISC
// Replies and capabilities, at every chunk boundary.
#include "proto/smtp_ehlo.h"
#include "proto/smtp_reply.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct row {
    const char *in;
    unsigned code;
    uint8_t enhanced[3];
    const char *line;
    size_t left; // bytes behind the reply
} rows[] = {
    {"250 ok\r\n", 250, {0}, "ok", 0},
    {"250\r\n", 250, {0}, "", 0},
    {"250 \r\n", 250, {0}, "", 0},
    {"250 ok\n", 250, {0}, "ok", 0},
    {"250\n", 250, {0}, "", 0},
    {"250 2.1.0 Ok\r\n", 250, {2, 1, 0}, "Ok", 0},
    {"550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", 550, {5, 1, 1}, "no such user", 0},
    {"550-5.1.1\r\n550 gone\r\n", 550, {5, 1, 1}, "gone", 0},
    {"550 4.1.1 other class\r\n", 550, {0}, "4.1.1 other class", 0},
    {"354 3.0.0 go\r\n", 354, {0}, "3.0.0 go", 0},
    {"550 5.1.999 big\r\n", 550, {0}, "5.1.999 big", 0},
    {"550 5.1.x\r\n", 550, {0}, "5.1.x", 0},
    {"250 one\r\n250 two\r\n", 250, {0}, "one", 9},
    {"250-a\n250 b\nX", 250, {0}, "a b", 1},
    // Nothing inside a line begins a reply, and nothing of it reaches a terminal.
    {"550 a\r250 b\r\n", 550, {0}, "a\\x0d250 b", 0},
    {"550 \x1b[31mred\x07\r\r\n", 550, {0}, "\\x1b[31mred\\x07", 0},
    {"550 caf\xc3\xa9 \xff\r\n", 550, {0}, "caf\xc3\xa9 \\xff", 0},
    {"550 %s%n<script>\r\n", 550, {0}, "%s%n<script>", 0},
    // What is no reply.
    {"550-x\r\n551 y\r\n", 0, {0}, "551 y", 0},
    {"550-x\r\ntype: mda\r\n550 z\r\n", 0, {0}, "type: mda", 7},
    {"HTTP/1.1 400 Bad\r\n", 0, {0}, "HTTP/1.1 400 Bad", 0},
    {"\r\n", 0, {0}, "", 0},
    {"\n", 0, {0}, "", 0},
    {"25\r\n", 0, {0}, "25", 0},
    {"250ok\r\n", 0, {0}, "250ok", 0},
    {"250\tok\r\n", 0, {0}, "250\\x09ok", 0},
    {"250\rok\r\n", 0, {0}, "ok", 0},
    {"150 x\r\n", 0, {0}, "150 x", 0},
    {"650 x\r\n", 0, {0}, "650 x", 0},
    {" 250 x\r\n", 0, {0}, "250 x", 0},
};

static void feed_in(struct smtp_reply *r, struct str in, size_t chunk, const struct row *row)
{
    size_t at = 0;
    bool done = false;
    while (at < in.len && !done) {
        size_t n = in.len - at < chunk ? in.len - at : chunk, used;
        done = smtp_reply_feed(r, in.ptr + at, n, &used);
        assert_true(done || used == n);
        at += used;
    }
    assert_true(done);
    assert_int_equal(in.len - at, row->left);
    assert_int_equal(r->code, row->code);
    assert_true((r->bad != NULL) == (row->code == 0));
    assert_memory_equal(r->enhanced, row->enhanced, 3);
    struct str line = smtp_reply_line(r);
    assert_int_equal(line.len, strlen(row->line));
    assert_memory_equal(line.ptr != NULL ? line.ptr : "", row->line, line.len);
}

static void replies_are_read_the_same_however_they_are_cut(void **state)
{
    struct smtp_reply r;
    smtp_reply_init(&r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t chunk = 1; chunk <= strlen(rows[i].in); chunk++) {
            smtp_reply_reset(&r);
            feed_in(&r, str_of(rows[i].in), chunk, &rows[i]);
        }
    smtp_reply_free(&r);
}

static void endless_replies_end(void **state)
{
    static const char *const pieces[] = {"250-x\r\n", "x", "2",
                                         "250-yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "250-\r\n"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct smtp_reply r;
        smtp_reply_init(&r);
        size_t taken = 0, used = 0;
        while (!smtp_reply_feed(&r, pieces[i], strlen(pieces[i]), &used)) {
            taken += used;
            assert_true(taken <= LIMIT_EHLO_BYTES);
        }
        assert_non_null(r.bad);
        assert_true(r.text.len <= LIMIT_REPLY_BYTES);
        assert_true(smtp_reply_line(&r).len <= 8 * LIMIT_OUTCOME_TEXT);
        smtp_reply_free(&r);
    }
}

static void long_lines_are_cut(void **state)
{
    struct smtp_reply r;
    smtp_reply_init(&r);
    char *long_line = xmalloc(10000);
    memset(long_line, 0x01, 10000);
    memcpy(long_line, "550 ", 4);
    size_t used;
    assert_false(smtp_reply_feed(&r, long_line, 10000, &used));
    assert_true(smtp_reply_feed(&r, "\r\n", 2, &used));
    assert_null(r.bad);
    assert_int_equal(r.text.len, LIMIT_REPLY_LINE);
    assert_true(smtp_reply_line(&r).len >= LIMIT_OUTCOME_TEXT);
    xfree(long_line);
    smtp_reply_free(&r);
}

static void capabilities_are_understood(void **state)
{
    struct smtp_ehlo e;
    smtp_ehlo_parse(&e,
                    STR("mx.example.org greets PIPELINING\nPIPELINING\nSIZE 1000\nsize 5\n"
                        "8bitmime\nSMTPUTF8\nDSN\nENHANCEDSTATUSCODES\nCHUNKING\nBINARYMIME\n"
                        "STARTTLS\nAUTH PLAIN  LOGIN DIGEST-MD5\nLIMITS RCPTMAX=50 MAILMAX=9 X\n"
                        "UNKNOWN thing"));
    assert_int_equal(e.caps, (1 << 11) - 1);
    assert_int_equal(e.size, 1000);
    assert_int_equal(e.auth, SMTP_AUTH_PLAIN | SMTP_AUTH_LOGIN);
    assert_string_equal(e.auth_text, "PLAIN LOGIN DIGEST-MD5");
    assert_int_equal(e.rcpt_max, 50);
    assert_int_equal(e.mail_max, 9);
    smtp_ehlo_parse(&e, STR("x\nAUTH=LOGIN PLAIN\nSIZE\nSIZEX 1\n\nLIMITS RCPTMAX=0"));
    assert_int_equal(e.caps, SMTP_CAP_AUTH | SMTP_CAP_SIZE | SMTP_CAP_LIMITS);
    assert_int_equal(e.auth, SMTP_AUTH_PLAIN | SMTP_AUTH_LOGIN);
    assert_int_equal(e.size, 0);
    assert_int_equal(e.rcpt_max, 0);
    smtp_ehlo_parse(&e, STR("x\nSIZE 99999999999999999999999\nAUTH \x1b[2J PLAI"));
    assert_int_equal(e.size, 0);
    assert_int_equal(e.auth, 0);
    assert_string_equal(e.auth_text, "PLAI");
    smtp_ehlo_parse(&e, (struct str){0});
    assert_int_equal(e.caps, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_the_same_however_they_are_cut),
        cmocka_unit_test(endless_replies_end),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(capabilities_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
