// SPDX-License-Identifier: ISC
// The header scanner: what it finds, and that it finds the same in every piecing.
#include "mail/header.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void note_field(void *ctx, enum header_field field, uint64_t start, uint64_t end)
{
    buf_printf(ctx, "%d[%d,%d) ", (int)field, (int)start, (int)end);
}

// Everything found, as one text. `step` 0: all at once; else the first piece ends at `cut` and the
// others are `step` long.
static char *scan(struct str in, size_t cut, size_t step)
{
    struct header_scan s;
    struct buf got, values;
    buf_init(&got, 65536);
    buf_init(&values, 65536);
    header_scan_init(&s);
    s.own_host = STR("relay.example.org");
    s.on_field = note_field;
    s.ctx = &got;
    s.capture[HEADER_TO] = s.capture[HEADER_CC] = s.capture[HEADER_BCC] = &values;
    for (size_t at = 0; at < in.len;) {
        size_t n = at == 0 && cut > 0 ? cut : step > 0 ? step : in.len;
        n = n < in.len - at ? n : in.len - at;
        char *copy = xmalloc(n); // of exact size: the sanitizer sees a read behind it
        memcpy(copy, in.ptr + at, n);
        header_scan_feed(&s, copy, n);
        xfree(copy);
        at += n;
    }
    header_scan_end(&s);
    buf_printf(&got, "size %d fields %d body %d sep %d own %d longest %d", (int)s.size,
               (int)s.fields_end, (int)s.body_at, s.separator, (int)s.own_hops,
               (int)s.longest_line);
    buf_printf(&got, "%s%s%s%s%s", s.header_8bit ? " h8" : "", s.body_8bit ? " b8" : "",
               s.bare_cr ? " cr" : "", s.bare_lf ? " lf" : "", s.nul ? " nul" : "");
    buf_printf(&got, " subject '%.*s' id '%.*s' values '%s'", STR_FMT(header_subject(&s)),
               STR_FMT(header_message_id(&s)), buf_cstr(&values));
    for (int i = 0; i < HEADER_FIELDS; i++)
        buf_printf(&got, " %d", (int)s.count[i]);
    char *text = xstrdup(buf_cstr(&got));
    buf_free(&got);
    buf_free(&values);
    return text;
}

static const struct {
    struct str in;
    const char *facts; // a part of the text of scan()
} rows[] = {
    {STR(""), "size 0 fields 0 body 0 sep 0"},
    {STR("\r\n"), "size 2 fields 0 body 2 sep 1"},
    {STR("\r\nbody\r\n"), "size 8 fields 0 body 2 sep 1 own 0 longest 4"},
    {STR("Subject: x\r\n\r\nbody"), "8[0,12) size 18 fields 12 body 14 sep 1 own 0 longest 10"},
    {STR("Subject: x"), "8[0,10) size 10 fields 10 body 10 sep 0"},
    {STR("Subject: x\r\n"), "8[0,12) size 12 fields 12 body 12 sep 0"},
    {STR("Hello,\r\nworld\r\n"), "size 15 fields 0 body 0 sep 0"},
    {STR("Subject: x\r\nHello there\r\n\r\n"), "8[0,12) size 27 fields 12 body 12 sep 0"},
    {STR("Subject: x\r\nHello"), "fields 12 body 12 sep 0"},
    {STR(" leading: blank\r\n\r\n"), "size 19 fields 0 body 0 sep 0"},
    {STR(": x\r\n\r\n"), "fields 0 body 0 sep 0"},
    {STR("Subject: Hello\r\n  folded\r\n\tworld \r\nTo: a\r\n\r\n"),
     "subject 'Hello  folded\tworld'"},
    {STR("SUBJECT:x\r\nSubject: second\r\n\r\n"), "subject 'x'"},
    {STR("Subject \t: x\r\n\r\n"), "subject 'x'"},
    {STR("Subject:\r\n\r\n"), "subject ''"},
    {STR("Message-Id:\r\n <1@x.example> \r\n\r\n"), "id '<1@x.example>'"},
    {STR("To: a@b,\r\n c@d\r\ncc: e@f\r\nBcc: \r\nX: y\r\n\r\n"), "values 'a@b, c@d\ne@f\n\n'"},
    {STR("From x@y Mon Jan 1 2001\r\nFrom: a@b\r\n\r\n"), "13[0,25) 1[25,36) size 38 fields 36"},
    {STR("From : a@b\r\n\r\n"), "1[0,12) size 14 fields 12 body 14"},
    {STR("To: x\r\nFrom y\r\n\r\n"), "3[0,7) size 17 fields 7 body 7 sep 0"},
    // 8-bit octets belong to the side their line is on
    {STR("Subject: \xc3\xb6\r\n\r\nascii"), "longest 11 h8 subject"},
    {STR("Subject: x\r\n\r\n\xc3\xb6\r\n"), "longest 10 b8 subject"},
    {STR("Subject: x\r\nJ\xc3\xb6rg: y\r\n"),
     "fields 12 body 12 sep 0 own 0 longest 10 b8 subject"},
    {STR("Subject: x\r\nno field, J\xc3\xb6rg"), "fields 12 body 12 sep 0 own 0 longest 15 b8"},
    {STR("X: \xff"), "longest 4 h8"},
    // stray octets
    {STR("Subject: x\n\nbody\n"), "fields 11 body 12 sep 1 own 0 longest 10 lf subject"},
    {STR("Subject: x\r\r\n\r\nbody"), "fields 13 body 15 sep 1 own 0 longest 11 cr subject"},
    {STR("Subject: x\r\n\r\r\nbody"), "fields 12 body 12 sep 0 own 0 longest 10 cr subject"},
    {STR("Subject: x\r\n\r\nbo\rdy\r"), "body 14 sep 1 own 0 longest 10 cr subject"},
    {STR("Subject: x\r\n\r\r"), "fields 12 body 12 sep 0 own 0 longest 10 cr subject"},
    {STR("\r"), "fields 0 body 0 sep 0 own 0 longest 1 cr"},
    {STR("Subject: a\0b\r\n\r\n"), "longest 12 nul subject"},
    {STR("Subject: x\r\n\r\n\0"), "nul"},
    {STR("Sub\rject: x\r\n\r\n"), "fields 0 body 0 sep 0 own 0 longest 11 cr"},
    {STR("Subject: \rx\r\n\r\n"), "subject '\rx'"},
    // loops
    {STR("Received: from x ([192.0.2.1])\r\n\tby RELAY.example.org (Waypost) with ESMTP\r\n"
         "\tid 1; now\r\nReceived: by other.example (Waypost)\r\n"
         "Received: by relay.example.org (Postfix)\r\n"
         "Received: from a\r\n by  relay.example.org\r\n\t(Waypost, from uid 1)\r\n\r\n"),
     "own 2"},
    {STR("Received: from by.relay.example.org (Waypost) xby relay.example.org (Waypost)\r\n\r\n"),
     "own 0"},
};

static void finds_what_is_there_in_every_piecing(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *whole = scan(rows[i].in, 0, 0);
        if (strstr(whole, rows[i].facts) == NULL)
            fail_msg("%s\n--- has not: %s\n--- but: %s", rows[i].in.ptr, rows[i].facts, whole);
        for (size_t cut = 0; cut < rows[i].in.len; cut++) {
            for (size_t step = cut == 0; step < 4; step++) {
                char *again = scan(rows[i].in, cut, step);
                assert_string_equal(again, whole);
                xfree(again);
            }
        }
        xfree(whole);
    }
}

static void counts_hops(void **state)
{
    struct header_scan s;
    header_scan_init(&s);
    for (int i = 0; i < 120; i++)
        header_scan_feed(&s, "Received: by x\r\n", 16);
    header_scan_feed(&s, "\r\n", 2);
    header_scan_end(&s);
    assert_int_equal(s.count[HEADER_RECEIVED], 120);
}

static void long_values_are_cut_at_their_limits(void **state)
{
    struct buf in, values;
    buf_init(&in, 1 << 20);
    buf_init(&values, 1000);
    buf_puts(&in, "Subject: x");
    for (int i = 0; i < 500; i++)
        buf_puts(&in, "\xc3\xb6");
    buf_puts(&in, "\r\nMessage-ID: <");
    for (int i = 0; i < 300; i++)
        buf_puts(&in, "x");
    buf_puts(&in, "@y>\r\nTo: ");
    for (int i = 0; i < 500; i++)
        buf_puts(&in, "a@b, ");
    buf_puts(&in, "\r\nCc: c@d\r\n\r\n");
    struct header_scan s;
    header_scan_init(&s);
    s.capture[HEADER_TO] = s.capture[HEADER_CC] = &values;
    header_scan_feed(&s, in.data, in.len);
    header_scan_end(&s);
    assert_int_equal(s.subject_len, 199); // not half a character
    assert_int_equal(s.message_id_len, 0);
    assert_true(values.full);
    assert_true(values.len <= 1000);
    buf_free(&in);
    buf_free(&values);
}

static const struct {
    bool drop_bcc;
    const char *in, *out;
} fixes[] = {
    {true, "Subject: x\r\n\r\nbody\r\n",
     "Subject: x\r\nDate: Sat, 21 Nov 2026 09:07:00 +0000\r\nFrom: me@x.example\r\n"
     "Message-ID: <1@x.example>\r\n\r\nbody\r\n"},
    {true,
     "From: a@b\r\nBcc: c@d,\r\n e@f\r\nDate: d\r\nresent-bcc: g@h\r\nMessage-Id: <i>\r\n\r\nBcc: "
     "x",
     "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\nBcc: x"},
    {false, "From: a@b\r\nBcc: c@d\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n",
     "From: a@b\r\nBcc: c@d\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n"},
    {true, "Bcc: c@d\r\n\r\nbody",
     "Date: Sat, 21 Nov 2026 09:07:00 +0000\r\nFrom: me@x.example\r\n"
     "Message-ID: <1@x.example>\r\n\r\nbody"},
    {true, "From x Mon Jan\r\nFrom: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n",
     "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n"},
    {true, "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\nHello\r\n",
     "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\nHello\r\n"},
    {true, "From: a@b\r\nDate: d\r\nMessage-Id: <i>",
     "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n"},
    {true, "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\nBcc: x",
     "From: a@b\r\nDate: d\r\nMessage-Id: <i>\r\n\r\n"},
};

static void completes_what_a_program_submits(void **state)
{
    for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++) {
        struct header_wants wants = {
            .drop_bcc = fixes[i].drop_bcc,
            .add_date = true,
            .wall_ms = 1795252020000,
            .from = STR("me@x.example"),
            .message_id = STR("<1@x.example>"),
        };
        struct arena *arena = arena_new();
        struct header_edit *edits;
        size_t count = header_fix(str_of(fixes[i].in), &wants, arena, &edits);
        struct buf out;
        buf_init(&out, 65536);
        assert_true(header_apply(&out, str_of(fixes[i].in), edits, count));
        assert_string_equal(buf_cstr(&out), fixes[i].out);
        // Once complete, nothing is left to do.
        assert_int_equal(header_fix(buf_str(&out), &wants, arena, &edits), 0);
        buf_free(&out);
        arena_free(&arena);
    }
}

static void what_is_added_stays_one_field(void **state)
{
    struct header_wants wants = {.from = STR("x\r\nBcc: evil@d\n\r\n")};
    struct arena *arena = arena_new();
    struct header_edit *edits;
    assert_int_equal(header_fix(STR("Date: d\r\n\r\n"), &wants, arena, &edits), 1);
    assert_true(str_eq(edits[0].insert, STR("From: x??Bcc: evil@d???\r\n")));
    arena_free(&arena);
}

static void mailboxes_are_quoted_or_encoded(void **state)
{
    static const char *const names[][2] = {
        {"", "a@b"},
        {"Full Name", "\"Full Name\" <a@b>"},
        {" J. \"R\" \\ Doe ", "\"J. \\\"R\\\" \\\\ Doe\" <a@b>"},
        {"a\r\nBcc: x", "\"a  Bcc: x\" <a@b>"},
        {"J\xc3\xb6rg", "=?UTF-8?B?SsO2cmc=?= <a@b>"},
        {"\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
         "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
         "\xc3\xb6",
         "=?UTF-8?B?w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7bDtsO2w7Y=?= "
         "=?UTF-8?B?w7Y=?= <a@b>"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct buf out;
        buf_init(&out, 1000);
        assert_true(header_put_mailbox(&out, str_of(names[i][0]), STR("a@b")));
        assert_string_equal(buf_cstr(&out), names[i][1]);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_there_in_every_piecing),
        cmocka_unit_test(counts_hops),
        cmocka_unit_test(long_values_are_cut_at_their_limits),
        cmocka_unit_test(completes_what_a_program_submits),
        cmocka_unit_test(what_is_added_stays_one_field),
        cmocka_unit_test(mailboxes_are_quoted_or_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
