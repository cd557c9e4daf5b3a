// SPDX-License-Identifier: ISC
// Delivery reports: one golden text, and everything that must not get into one.
#include "mail/dsn.h"
#include "base/utf8.h"
#include "mail/dsn_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char original[] = "From: alice@example.org\r\n"
                               "To: bob@example.net\r\n"
                               "Subject: Hello\r\n"
                               "Message-ID: <1@example.org>\r\n"
                               "\r\n"
                               "Hi Bob\r\n";

static const struct outcome refused = {
    .class = OUTCOME_REFUSED,
    .phase = PHASE_RCPT,
    .code = 550,
    .enhanced = {5, 1, 1},
    .where = "mx.example.net[192.0.2.1]:25",
    .text = "No such user here; see https://example.net/help for more about what this may mean to "
            "you",
};
static const struct outcome unreachable = {
    .class = OUTCOME_NET,
    .phase = PHASE_CONNECT,
    .where = "mx.example.com[2001:db8::1]:25",
    .text = "connection timed out after 30 s",
};
static const struct dsn_rcpt three[] = {
    {STR("bob@example.net"), STR("rfc822;Bob@example.net"), &refused, .last_ms = 1795252020000},
    {STR("carol@example.net"), {0}, &refused, .last_ms = 1795252020000},
    {STR("dave@example.com"), {0}, &unreachable, .expired = true, .last_ms = 1795252020000},
};

static struct dsn common(void)
{
    return (struct dsn){
        .kind = DSN_FAILURE,
        .id = 123456789,
        .hostname = STR("relay.example.org"),
        .sender = STR("alice@example.org"),
        .envid = STR("QQ1"),
        .content = str_of(original),
        .whole = true,
        .arrived_ms = 1795242020000,
        .wall_ms = 1795252020000,
        .rcpts = three,
        .count = 3,
    };
}

// Valid until the next call.
static const char *written(const struct dsn *d)
{
    static struct buf b;
    buf_free(&b);
    if (d == NULL)
        return NULL;
    buf_init(&b, dsn_max(d));
    assert_true(dsn_write(&b, d));
    // What holds for every report: lines end in CRLF and keep to 998, no stray octets.
    size_t line = 0;
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.data[i];
        assert_true(c != '\0');
        assert_true(c != '\n' || (i > 0 && b.data[i - 1] == '\r'));
        assert_true(c != '\r' || b.data[i + 1] == '\n');
        line = c == '\n' ? 0 : line + 1;
        assert_true(line <= 999);
    }
    return buf_cstr(&b);
}

static void has(const char *text, const char *piece)
{
    if (strstr(text, piece) == NULL)
        fail_msg("not in it: %s\n%s", piece, text != NULL ? text : "");
}

static void has_not(const char *text, const char *piece)
{
    if (strstr(text, piece) != NULL)
        fail_msg("in it: %s\n%s", piece, text != NULL ? text : "");
}

static const char golden[] =
    "Date: Sat, 21 Nov 2026 09:07:00 +0000\r\n"
    "From: Mail Delivery System <MAILER-DAEMON@relay.example.org>\r\n"
    "To: alice@example.org\r\n"
    "Subject: Your message could not be delivered: Hello\r\n"
    "Message-ID: <3NQK8N.failed.2624af93@relay.example.org>\r\n"
    "In-Reply-To: <1@example.org>\r\n"
    "References: <1@example.org>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"3NQK8N-failed-2624af93-0\"\r\n"
    "\r\n"
    "This is a report of several parts (MIME).\r\n"
    "\r\n"
    "--3NQK8N-failed-2624af93-0\r\n"
    "Content-Description: In words\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system of relay.example.org.\r\n"
    "\r\n"
    "Your message could not be delivered to the addresses below. No further\r\n"
    "attempt will be made for them.\r\n"
    "\r\n"
    "  bob@example.net\r\n"
    "  carol@example.net\r\n"
    "    The receiving server refused the message.\r\n"
    "    There is no such address at that server.\r\n"
    "    The server mx.example.net[192.0.2.1]:25 said about this address:\r\n"
    "        550 5.1.1 No such user here; see https://example.net/help for more\r\n"
    "        about what this may mean to you\r\n"
    "    What you can do:\r\n"
    "        Check the address for a mistake in writing, or ask the recipient for\r\n"
    "        the right one in another way.\r\n"
    "\r\n"
    "  dave@example.com\r\n"
    "    Every attempt in the time allowed has failed. Lastly:\r\n"
    "    The receiving server could not be reached.\r\n"
    "    In detail, with the server mx.example.com[2001:db8::1]:25:\r\n"
    "        connection timed out after 30 s\r\n"
    "    What you can do:\r\n"
    "        Check the part of the address behind the @. If it is right, try\r\n"
    "        again later, or reach the recipient in another way.\r\n"
    "\r\n"
    "Your message is attached. Its reference here is 3NQK8N.\r\n"
    "\r\n"
    "--3NQK8N-failed-2624af93-0\r\n"
    "Content-Description: For machines\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; relay.example.org\r\n"
    "Original-Envelope-Id: QQ1\r\n"
    "Arrival-Date: Sat, 21 Nov 2026 06:20:20 +0000\r\n"
    "X-Waypost-Reference: 3NQK8N\r\n"
    "\r\n"
    "Original-Recipient: rfc822;Bob@example.net\r\n"
    "Final-Recipient: rfc822; bob@example.net\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.example.net\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user here; see\r\n"
    "\thttps://example.net/help for more about what this may mean to you\r\n"
    "Last-Attempt-Date: Sat, 21 Nov 2026 09:07:00 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; carol@example.net\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.example.net\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user here; see\r\n"
    "\thttps://example.net/help for more about what this may mean to you\r\n"
    "Last-Attempt-Date: Sat, 21 Nov 2026 09:07:00 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; dave@example.com\r\n"
    "Action: failed\r\n"
    "Status: 4.4.7\r\n"
    "Remote-MTA: dns; mx.example.com\r\n"
    "Diagnostic-Code: x-waypost; connection timed out after 30 s\r\n"
    "Last-Attempt-Date: Sat, 21 Nov 2026 09:07:00 +0000\r\n"
    "\r\n"
    "--3NQK8N-failed-2624af93-0\r\n"
    "Content-Description: Your message\r\n"
    "Content-Type: message/rfc822\r\n"
    "\r\n"
    "From: alice@example.org\r\n"
    "To: bob@example.net\r\n"
    "Subject: Hello\r\n"
    "Message-ID: <1@example.org>\r\n"
    "\r\n"
    "Hi Bob\r\n"
    "\r\n"
    "--3NQK8N-failed-2624af93-0--\r\n";

static void a_failure_is_told_in_full(void **state)
{
    struct dsn d = common();
    assert_string_equal(written(&d), golden);
}

static void a_delay_tells_until_when(void **state)
{
    struct dsn_rcpt r = {.address = STR("dave@example.com"),
                         .outcome = &unreachable,
                         .last_ms = 1795252020000,
                         .will_retry_ms = 1795552020000};
    struct dsn d = common();
    d.kind = DSN_DELAY;
    d.rcpts = &r;
    d.count = 1;
    const char *text = written(&d);
    has(text, "Subject: Your message is delayed: Hello\r\n");
    has(text, "You need not\r\nsend it again");
    has(text, "    Attempts go on until Tue, 24 Nov 2026 20:27:00 +0000.\r\n");
    has(text, "Action: delayed\r\nStatus: 4.4.1\r\n");
    has(text, "Will-Retry-Until: Tue, 24 Nov 2026 20:27:00 +0000\r\n");
    has_not(text, "What you can do");
    has_not(text, "Hi Bob"); // only a failure returns the body
    has(text, "Content-Type: text/rfc822-headers\r\n");
}

static void a_success_says_how_far(void **state)
{
    struct outcome ok = {.class = OUTCOME_OK,
                         .phase = PHASE_FINAL,
                         .relayed = true,
                         .code = 250,
                         .enhanced = {2, 6, 0},
                         .where = "mx.example.net[192.0.2.1]:25",
                         .text = "250 2.6.0 queued"};
    struct dsn_rcpt r = {.address = STR("bob@example.net"), .outcome = &ok};
    struct dsn d = common();
    d.kind = DSN_SUCCESS;
    d.rcpts = &r;
    d.count = 1;
    const char *text = written(&d);
    has(text, "Action: relayed\r\nStatus: 2.6.0\r\n");
    has(text, "Diagnostic-Code: smtp; 250 2.6.0 queued\r\n");
    has(text, "will hear no more from here");
    r.delivered = true;
    text = written(&d);
    has(text, "Action: delivered\r\n");
    has(text, "    The recipient's own mail server took the message.\r\n");
}

static void a_report_has_one_message_id(void **state)
{
    char one[DSN_ID_MAX], two[DSN_ID_MAX];
    struct dsn d = common();
    dsn_message_id(&d, one);
    d.wall_ms += 1000;
    d.content = STR("");
    assert_string_equal(dsn_message_id(&d, two), one);
    d.count = 2;
    assert_string_not_equal(dsn_message_id(&d, two), one);
    d = common();
    d.kind = DSN_DELAY;
    assert_string_not_equal(dsn_message_id(&d, two), one);
    d = common();
    d.id++;
    assert_string_not_equal(dsn_message_id(&d, two), one);
}

static void what_is_returned(void **state)
{
    static char big[LIMIT_DSN_BODY + 2000];
    struct dsn d = common();
    d.ret = RET_HDRS;
    const char *text = written(&d);
    has(text, "Content-Type: text/rfc822-headers\r\n\r\nFrom: alice@example.org\r\n");
    has_not(text, "Hi Bob");
    d.ret = RET_FULL;
    has(written(&d), "Content-Type: message/rfc822\r\n\r\nFrom: alice@example.org\r\n");
    d.binary = true;
    has_not(written(&d), "Hi Bob");
    d.binary = false;
    d.whole = false;
    has_not(written(&d), "Hi Bob");
    d.whole = true;
    d.content = STR("Subject: x\r\n\r\nstray \n end\r\n");
    has_not(written(&d), "stray");
    // Larger than may be returned: its header.
    memset(big, 'y', sizeof(big));
    memcpy(big, original, sizeof(original) - 1);
    d.content = str_make(big, sizeof(big));
    text = written(&d);
    has_not(text, "yyyy");
    assert_true(strlen(text) < 8000);
    // And of a large header what fits.
    for (size_t i = 0; i + 10 <= sizeof(big); i += 10)
        memcpy(big + i, "X: yyyyy\r\n", 10);
    text = written(&d);
    has(text, "X: yyyyy\r\nX: yyyyy\r\n");
    assert_in_range(strlen(text), LIMIT_DSN_BODY - 20, LIMIT_DSN_BODY + 8000);
    d.content = STR("");
    text = written(&d);
    has_not(text, "attached");
    has_not(text, "rfc822-headers");
}

static void what_others_say_stays_quoted(void **state)
{
    struct outcome o = refused;
    struct dsn_rcpt r = {.address = STR("bob@example.net"), .outcome = &o};
    struct dsn d = common();
    d.rcpts = &r;
    d.count = 1;
    snprintf(o.text, sizeof(o.text), "%s",
             "\x1b[31m550-x\r\n550-type: mda\r\n\r\nAction: delivered\r\n<script> %s%n \xc3\xb6");
    snprintf(o.where, sizeof(o.where), "%s", "mx\r\nX-Injected: 1[192.0.2.1]:25");
    r.orcpt = STR("rfc822;x\r\nX-Inj: y");
    d.envid = STR("1\r\nX-Inj: y\r\n\r\n--");
    const char *text = written(&d);
    has_not(text, "\nX-Inj");
    has_not(text, "\n550-type");
    has_not(text, "Action: delivered\r\n");
    has_not(text, "\x1b");
    has(text, "Original-Recipient: rfc822;x\\x0d\\x0aX-Inj: y\r\n");
    has(text, "Original-Envelope-Id: 1\\x0d\\x0aX-Inj: y\\x0d\\x0a\\x0d\\x0a--\r\n");
    has(text, "<script> %s%n \\xc3\\xb6");
    assert_true(ascii_only(str_of(text)));
}

static void a_forged_message_id_is_not_copied(void **state)
{
    static const char *const ids[] = {"<a b@c>", "<a>@<b>", "x", "<>", "<\xc3\xb6@d>", "<a\tb@c>"};
    char content[200];
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct dsn d = common();
        snprintf(content, sizeof(content), "Message-ID: %s\r\n\r\n", ids[i]);
        d.content = str_of(content);
        has_not(written(&d), "In-Reply-To");
    }
}

static void the_subject_names_the_message(void **state)
{
    static char header[1200];
    struct dsn d = common();
    d.content = STR("To: x\r\n\r\n");
    has(written(&d), "Subject: Your message could not be delivered\r\n");
    d.content = STR("Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n\r\n");
    has(written(&d), "Subject: Your message could not be delivered: =?UTF-8?B?R3LDvMOfZQ==?=\r\n");
    // What is hidden in an encoded word ends no line, and begins no field.
    d.content = STR("Subject: =?utf-8?q?x=0D=0ABcc:_eve@example.com?=\r\n\r\n");
    has(written(&d), "Subject: Your message could not be delivered: x??Bcc: eve@example.com\r\n");
    d.content = STR("Subject: \xff\xfe\r\n\r\n");
    has(written(&d), "Subject: Your message could not be delivered: ??\r\n");
    snprintf(header, sizeof(header), "Subject: %0900d\r\n\r\n", 7);
    d.content = str_of(header);
    has(written(&d), "\tboundary=");
    const char *subject = strstr(written(&d), "Subject: "), *end = strstr(subject, "Message-ID:");
    assert_true(end - subject < 200);
}

static void the_boundary_is_not_in_the_original(void **state)
{
    char content[500];
    struct dsn d = common();
    const char *text = written(&d);
    has(text, "boundary=\"3NQK8N-failed-2624af93-0\"");
    snprintf(content, sizeof(content),
             "Subject: x\r\n\r\n--3NQK8N-failed-2624af93-0\r\nContent-Type: text/html\r\n\r\n"
             "--3NQK8N-failed-2624af93-1--\r\n");
    d.content = str_of(content);
    has(written(&d), "boundary=\"3NQK8N-failed-2624af93-2\"");
}

static void utf8_goes_into_the_global_forms(void **state)
{
    struct dsn_rcpt r = {.address = STR("j\xc3\xb6rg@example.net"), .outcome = &refused};
    struct dsn d = common();
    d.rcpts = &r;
    d.count = 1;
    d.smtputf8 = true;
    const char *text = written(&d);
    has(text, "report-type=global-delivery-status;");
    has(text, "Content-Type: message/global-delivery-status\r\n"
              "Content-Transfer-Encoding: 8bit\r\n");
    has(text, "Final-Recipient: utf-8; j\xc3\xb6rg@example.net\r\n");
    has(text, "Content-Type: message/global\r\n");
    // SMTPUTF8 was said, but not needed.
    d.rcpts = three;
    has_not(written(&d), "global");
    // Octets of 8 bits without SMTPUTF8 make no UTF-8 report.
    d.smtputf8 = false;
    d.content = STR("Subject: \xc3\xb6\r\n\r\n");
    text = written(&d);
    has_not(text, "global");
    has(text, "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n");
    written(NULL);
}

static void a_thousand_recipients_fit(void **state)
{
    static struct dsn_rcpt many[LIMIT_RECIPIENTS];
    static struct outcome worst = {
        .class = OUTCOME_REFUSED, .code = 550, .enhanced = {5, 255, 255}};
    static char local[LIMIT_PATH];
    memset(worst.text, '\xff', sizeof(worst.text) - 1);
    memset(worst.where, '\xff', sizeof(worst.where)); // not even terminated
    memset(local, '\xff', sizeof(local));
    for (size_t i = 0; i < LIMIT_RECIPIENTS; i++)
        many[i] = (struct dsn_rcpt){str_make(local, sizeof(local)), str_make(local, sizeof(local)),
                                    &worst, .expired = i % 2, .last_ms = 1};
    struct dsn d = common();
    d.rcpts = many;
    d.count = LIMIT_RECIPIENTS;
    written(&d);
    written(NULL);
}

static void status_codes(void **state)
{
    static const struct {
        enum dsn_kind kind;
        enum outcome_class class;
        uint8_t enhanced[3];
        bool expired;
        const char *status;
    } rows[] = {
        {DSN_FAILURE, OUTCOME_REFUSED, {5, 1, 10}, false, "5.1.10"},
        {DSN_FAILURE, OUTCOME_REFUSED, {0}, false, "5.0.0"},
        {DSN_FAILURE, OUTCOME_BUSY, {4, 2, 2}, true, "4.4.7"},
        {DSN_FAILURE, OUTCOME_OK, {0}, true, "4.4.7"},
        {DSN_FAILURE, OUTCOME_DOUBT, {0}, false, "5.4.2"},
        {DSN_DELAY, OUTCOME_QUOTA, {5, 4, 5}, false, "4.4.5"}, // permanent only by its code
        {DSN_DELAY, OUTCOME_NET, {0}, false, "4.4.1"},
        {DSN_DELAY, OUTCOME_DNS, {0}, false, "4.4.3"},
        {DSN_DELAY, OUTCOME_BUSY, {4, 7, 1}, false, "4.7.1"},
        {DSN_SUCCESS, OUTCOME_OK, {2, 1, 5}, false, "2.1.5"},
        {DSN_SUCCESS, OUTCOME_OK, {0}, false, "2.0.0"},
        {DSN_SUCCESS, OUTCOME_OK, {5, 1, 1}, false, "2.0.0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome o = {.class = rows[i].class};
        memcpy(o.enhanced, rows[i].enhanced, 3);
        struct dsn_rcpt r = {.outcome = &o, .expired = rows[i].expired};
        char text[DSN_STATUS_MAX];
        assert_string_equal(dsn_status(rows[i].kind, &r, text), rows[i].status);
    }
}

static void every_class_has_words(void **state)
{
    for (int c = 0; c < OUTCOME_CLASSES + 1; c++) {
        struct outcome o = {.class = (enum outcome_class)c};
        struct dsn_rcpt r = {.outcome = &o};
        assert_in_range(strlen(dsn_reason(&r)), 10, 200);
        assert_in_range(strlen(dsn_advice(DSN_FAILURE, &r)), 10, 200);
    }
}

static void a_full_buffer_is_said(void **state)
{
    struct dsn d = common();
    struct buf b;
    for (size_t max = 0; max < sizeof(golden) - 1; max += 37) {
        buf_init(&b, max);
        assert_false(dsn_write(&b, &d));
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_told_in_full),
        cmocka_unit_test(a_delay_tells_until_when),
        cmocka_unit_test(a_success_says_how_far),
        cmocka_unit_test(a_report_has_one_message_id),
        cmocka_unit_test(what_is_returned),
        cmocka_unit_test(what_others_say_stays_quoted),
        cmocka_unit_test(a_forged_message_id_is_not_copied),
        cmocka_unit_test(the_subject_names_the_message),
        cmocka_unit_test(the_boundary_is_not_in_the_original),
        cmocka_unit_test(utf8_goes_into_the_global_forms),
        cmocka_unit_test(a_thousand_recipients_fit),
        cmocka_unit_test(status_codes),
        cmocka_unit_test(every_class_has_words),
        cmocka_unit_test(a_full_buffer_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
