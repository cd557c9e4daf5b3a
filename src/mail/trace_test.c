// SPDX-License-Identifier: ISC
// The Received field: its words, its width, and nothing of the client's making.
#include "mail/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct trace common(void)
{
    return (struct trace){
        .client = STR("192.0.2.1"),
        .helo = STR("client.example.org"),
        .hostname = STR("relay.example.org"),
        .id = 123456789,
        .esmtp = true,
        .rcpt = STR("bob@example.net"),
        .rcpt_count = 1,
        .wall_ms = 1795252020000,
    };
}

static void expect(const struct trace *t, const char *text)
{
    struct buf b;
    buf_init(&b, TRACE_MAX);
    assert_true(trace_write(&b, t));
    assert_string_equal(buf_cstr(&b), text);
    buf_free(&b);
}

static void says_who_and_how(void **state)
{
    struct trace t = common();
    expect(&t, "Received: from client.example.org ([192.0.2.1])\r\n"
               "\tby relay.example.org (Waypost) with ESMTP id 3NQK8N for <bob@example.net>;\r\n"
               "\tSat, 21 Nov 2026 09:07:00 +0000\r\n");
    t.tls = t.auth = true;
    t.tls_facts = STR("TLSv1.3 TLS_AES_256_GCM_SHA384");
    t.client = STR("2001:db8::1");
    t.helo = STR("");
    t.rcpt_count = 2;
    t.offset_minutes = 60;
    expect(&t, "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n"
               "\tby relay.example.org (Waypost) with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
               "\tid 3NQK8N; Sat, 21 Nov 2026 10:07:00 +0100\r\n");
}

static void local_mail_and_hidden_clients(void **state)
{
    struct trace t = common();
    t.client = STR("uid 1000");
    t.esmtp = false;
    expect(&t, "Received: by relay.example.org (Waypost, from uid 1000) id 3NQK8N\r\n"
               "\tfor <bob@example.net>; Sat, 21 Nov 2026 09:07:00 +0000\r\n");
    t = common();
    t.hide_client = true;
    expect(&t, "Received: by relay.example.org (Waypost) with ESMTP id 3NQK8N\r\n"
               "\tfor <bob@example.net>; Sat, 21 Nov 2026 09:07:00 +0000\r\n");
}

static void names_the_protocol(void **state)
{
    static const struct {
        bool lmtp, esmtp, tls, auth, utf8;
        const char *word;
    } rows[] = {
        {0, 0, 0, 0, 0, "SMTP"},       {0, 1, 0, 0, 0, "ESMTP"},      {0, 1, 1, 0, 0, "ESMTPS"},
        {0, 1, 0, 1, 0, "ESMTPA"},     {0, 1, 1, 1, 0, "ESMTPSA"},    {1, 0, 0, 0, 0, "LMTP"},
        {1, 1, 1, 0, 0, "LMTPS"},      {1, 1, 0, 1, 0, "LMTPA"},      {1, 1, 1, 1, 0, "LMTPSA"},
        {0, 1, 0, 0, 1, "UTF8SMTP"},   {0, 1, 1, 0, 1, "UTF8SMTPS"},  {0, 1, 0, 1, 1, "UTF8SMTPA"},
        {0, 1, 1, 1, 1, "UTF8SMTPSA"}, {1, 1, 1, 1, 1, "UTF8LMTPSA"}, {1, 1, 0, 0, 1, "UTF8LMTP"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct trace t = {.lmtp = rows[i].lmtp,
                          .esmtp = rows[i].esmtp,
                          .tls = rows[i].tls,
                          .auth = rows[i].auth,
                          .smtputf8 = rows[i].utf8};
        assert_string_equal(trace_protocol(&t), rows[i].word);
    }
}

static void a_hostile_client_adds_nothing(void **state)
{
    static const char *const helos[] = {
        "x) \x1b[2J\tY (z", "a\r\nX-Injected: 1", "\xc3\xb6.example", "(((((", "x; Mon, 1 Jan 2001",
    };
    struct trace t = common();
    for (size_t i = 0; i < sizeof(helos) / sizeof(helos[0]); i++) {
        struct buf b;
        buf_init(&b, TRACE_MAX);
        t.helo = str_of(helos[i]);
        t.client = i % 2 ? STR("192.0.2.1") : STR("x)\r\nY: (\x80");
        t.tls = true;
        t.tls_facts = t.helo;
        assert_true(trace_write(&b, &t));
        int depth = 0, lines = 0, semicolons = 0;
        for (size_t j = 0; j < b.len; j++) {
            unsigned char c = (unsigned char)b.data[j];
            assert_true((c >= ' ' && c < 0x7f) || c == '\r' || c == '\n' || c == '\t');
            depth += c == '(' ? 1 : c == ')' ? -1 : 0;
            assert_in_range(depth, 0, 1);
            semicolons += c == ';';
            if (c == '\n' && j + 1 < b.len)
                assert_int_equal(b.data[j + 1], '\t');
            lines += c == '\n';
        }
        assert_int_equal(semicolons, 1);
        assert_in_range(lines, 2, 6);
        buf_free(&b);
    }
}

static void the_longest_fits(void **state)
{
    char big[5000];
    memset(big, 'x', sizeof(big));
    struct trace t = common();
    t.helo = t.hostname = t.tls_facts = str_make(big, sizeof(big));
    t.tls = true;
    t.rcpt = str_make(big, 1024);
    struct buf b;
    buf_init(&b, TRACE_MAX);
    assert_true(trace_write(&b, &t));
    size_t line = 0;
    for (size_t i = 0; i < b.len; i++) {
        line = b.data[i] == '\n' ? 0 : line + 1;
        assert_true(line <= 998);
    }
    buf_free(&b);
}

static void an_8_bit_recipient_is_said_only_with_smtputf8(void **state)
{
    struct trace t = common();
    struct buf b;
    buf_init(&b, TRACE_MAX);
    t.rcpt = STR("j\xc3\xb6rg@example.net");
    assert_true(trace_write(&b, &t));
    assert_null(strstr(buf_cstr(&b), " for "));
    buf_clear(&b);
    t.smtputf8 = true;
    assert_true(trace_write(&b, &t));
    assert_non_null(strstr(buf_cstr(&b), "with UTF8SMTP id 3NQK8N"));
    assert_non_null(strstr(buf_cstr(&b), "<j\xc3\xb6rg@example.net>"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_who_and_how),
        cmocka_unit_test(local_mail_and_hidden_clients),
        cmocka_unit_test(names_the_protocol),
        cmocka_unit_test(a_hostile_client_adds_nothing),
        cmocka_unit_test(the_longest_fits),
        cmocka_unit_test(an_8_bit_recipient_is_said_only_with_smtputf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
