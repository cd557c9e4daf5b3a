// SPDX-License-Identifier: ISC
// Who is told what, and who is not.
#include "report/report.h"
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct outcome refused = {.class = OUTCOME_REFUSED,
                                       .phase = PHASE_RCPT,
                                       .code = 550,
                                       .enhanced = {5, 1, 1},
                                       .where = "mx.example.net[192.0.2.1]:25",
                                       .text = "550 5.1.1 No such user"};
static const struct outcome busy = {.class = OUTCOME_BUSY,
                                    .code = 451,
                                    .where = "mx.example.net[192.0.2.1]:25",
                                    .text = "451 later"};
static const struct outcome ok = {.class = OUTCOME_OK,
                                  .relayed = true,
                                  .code = 250,
                                  .where = "mx.example.net[192.0.2.1]:25",
                                  .text = "250 queued"};

static struct envelope_rcpt rcpts[] = {
    {STR("failed@example.net"), {0}, 0},
    {STR("late@example.net"), {0}, 0},
    {STR("done@example.net"), {0}, NOTIFY_SUCCESS | NOTIFY_FAILURE},
    {STR("also-failed@example.net"), {0}, NOTIFY_FAILURE},
};

static struct envelope message(void)
{
    return (struct envelope){
        .sender = STR("alice@example.org"),
        .envid = STR("QQ1"),
        .accepted_ms = 1795242020000,
        .count = 4,
        .rcpts = rcpts,
    };
}

static const struct report_rcpt fates[] = {
    {.index = 0, .kind = DSN_FAILURE, .outcome = &refused},
    {.index = 1, .kind = DSN_DELAY, .outcome = &busy, .will_retry_ms = 1795552020000},
    {.index = 2, .kind = DSN_SUCCESS, .outcome = &ok},
    {.index = 3, .kind = DSN_FAILURE, .outcome = &refused},
};

static struct report_input input(const struct envelope *e)
{
    return (struct report_input){
        .envelope = e,
        .id = 123456789,
        .hostname = STR("relay.example.org"),
        .return_to_sender = true,
        .content = STR("Message-ID: <1@example.org>\r\n\r\nHi\r\n"),
        .whole = true,
        .wall_ms = 1795252020000,
        .rcpts = fates,
        .count = 4,
    };
}

static void free_all(struct report *reports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        report_free(&reports[i]);
}

static void one_report_a_kind(void **state)
{
    struct envelope e = message();
    struct report_input in = input(&e);
    struct report r[REPORT_MAX];
    assert_int_equal(report_compose(&in, r), 3);
    assert_int_equal(r[0].kind, DSN_FAILURE);
    const char *text = buf_cstr(&r[0].body);
    assert_non_null(strstr(text, "Final-Recipient: rfc822; failed@example.net\r\n"));
    assert_non_null(strstr(text, "Final-Recipient: rfc822; also-failed@example.net\r\n"));
    assert_null(strstr(text, "late@"));
    assert_null(strstr(text, "done@"));
    assert_non_null(strstr(buf_cstr(&r[1].body), "Action: delayed\r\n"));
    assert_non_null(strstr(buf_cstr(&r[1].body), "late@"));
    assert_non_null(strstr(buf_cstr(&r[2].body), "Action: relayed\r\n"));
    assert_null(strstr(buf_cstr(&r[2].body), "failed@"));
    free_all(r, 3);
}

static void a_report_cannot_come_back(void **state)
{
    struct envelope e = message();
    struct report_input in = input(&e);
    struct report r[REPORT_MAX];
    size_t count = report_compose(&in, r);
    for (size_t i = 0; i < count; i++) {
        const struct envelope *own = &r[i].envelope;
        assert_int_equal(own->sender.len, 0);
        assert_true(own->is_dsn);
        assert_int_equal(own->count, 1);
        assert_true(str_eq(own->rcpts[0].address, e.sender));
        assert_int_equal(own->rcpts[0].notify, NOTIFY_NEVER);
        assert_int_equal(own->body, BODY_7BIT);
        assert_false(own->smtputf8);
        // What fails about it is nobody's to be told.
        struct report_rcpt again = {.index = 0, .kind = DSN_FAILURE, .outcome = &refused};
        struct report_input second = in;
        struct report none[REPORT_MAX];
        second.envelope = own;
        second.rcpts = &again;
        second.count = 1;
        assert_int_equal(report_compose(&second, none), 0);
        assert_int_equal(report_failed_state(own, 0, true), RCPT_BAD);
        // And it survives the disk.
        struct buf packed;
        struct envelope back;
        struct arena *arena = arena_new();
        buf_init(&packed, 4096);
        assert_true(envelope_pack(&packed, own));
        assert_true(envelope_unpack(buf_str(&packed), arena, &back));
        assert_true(back.is_dsn && back.sender.len == 0);
        arena_free(&arena);
        buf_free(&packed);
    }
    free_all(r, count);
}

static void written_twice_it_is_the_same(void **state)
{
    struct envelope e = message();
    struct report_input in = input(&e);
    struct report a[REPORT_MAX], b[REPORT_MAX];
    assert_int_equal(report_compose(&in, a), report_compose(&in, b));
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(buf_cstr(&a[i].body), buf_cstr(&b[i].body));
    free_all(a, 3);
    free_all(b, 3);
}

static void who_is_told(void **state)
{
    static const struct {
        const char *sender;
        bool is_dsn;
        uint8_t notify;
        bool return_to_sender;
        bool told[3]; // by kind
        enum rcpt_state state;
    } rows[] = {
        {"a@b", false, 0, true, {true, true, false}, RCPT_RETURNED},
        {"a@b", false, NOTIFY_NEVER, true, {false, false, false}, RCPT_RETURNED},
        {"a@b", false, NOTIFY_FAILURE, true, {true, false, false}, RCPT_RETURNED},
        {"a@b", false, NOTIFY_DELAY, true, {false, true, false}, RCPT_RETURNED},
        {"a@b", false, NOTIFY_SUCCESS, true, {false, false, true}, RCPT_RETURNED},
        {"a@b",
         false,
         NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY,
         true,
         {true, true, true},
         RCPT_RETURNED},
        {"a@b", false, 0, false, {false, false, false}, RCPT_BAD},
        {"a@b", false, NOTIFY_SUCCESS | NOTIFY_FAILURE, false, {false, false, true}, RCPT_BAD},
        {"a@b", false, NOTIFY_NEVER, false, {false, false, false}, RCPT_RETURNED},
        {"", false, 0, true, {false, false, false}, RCPT_BAD},
        {"", false, NOTIFY_SUCCESS | NOTIFY_FAILURE, true, {false, false, false}, RCPT_BAD},
        {"a@b", true, NOTIFY_FAILURE, true, {false, false, false}, RCPT_BAD},
    };
    static const struct outcome *const outcomes[] = {&refused, &busy, &ok};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct envelope_rcpt rcpt = {STR("x@y"), {0}, rows[i].notify};
        struct envelope e = {
            .sender = str_of(rows[i].sender), .is_dsn = rows[i].is_dsn, .count = 1, .rcpts = &rcpt};
        for (enum dsn_kind kind = DSN_FAILURE; kind <= DSN_SUCCESS; kind++) {
            assert_int_equal(report_wanted(&e, 0, kind, rows[i].return_to_sender),
                             rows[i].told[kind]);
            struct report_rcpt fate = {.kind = kind, .outcome = outcomes[kind]};
            struct report_input in = input(&e);
            struct report r[REPORT_MAX];
            in.return_to_sender = rows[i].return_to_sender;
            in.rcpts = &fate;
            in.count = 1;
            size_t count = report_compose(&in, r);
            assert_int_equal(count, rows[i].told[kind]);
            free_all(r, count);
        }
        assert_int_equal(report_failed_state(&e, 0, rows[i].return_to_sender), rows[i].state);
    }
}

static void the_next_server_reports_what_it_took_over(void **state)
{
    struct report_rcpt fate = {.index = 2, .kind = DSN_SUCCESS, .outcome = &ok, .passed_dsn = true};
    struct envelope e = message();
    struct report_input in = input(&e);
    struct report r[REPORT_MAX];
    in.rcpts = &fate;
    in.count = 1;
    assert_int_equal(report_compose(&in, r), 0);
}

static void the_way_it_must_travel(void **state)
{
    struct envelope e = message();
    struct report_input in = input(&e);
    struct report r[REPORT_MAX];
    in.rcpts = fates;
    in.count = 1;
    in.content = STR("Subject: \xc3\xb6\r\n\r\n");
    assert_int_equal(report_compose(&in, r), 1);
    assert_int_equal(r[0].envelope.body, BODY_8BITMIME);
    assert_false(r[0].envelope.smtputf8);
    report_free(&r[0]);
    e.sender = STR("j\xc3\xb6rg@example.org");
    e.smtputf8 = true;
    assert_int_equal(report_compose(&in, r), 1);
    assert_true(r[0].envelope.smtputf8);
    assert_non_null(strstr(buf_cstr(&r[0].body), "To: j\xc3\xb6rg@example.org\r\n"));
    report_free(&r[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_report_a_kind),
        cmocka_unit_test(a_report_cannot_come_back),
        cmocka_unit_test(written_twice_it_is_the_same),
        cmocka_unit_test(who_is_told),
        cmocka_unit_test(the_next_server_reports_what_it_took_over),
        cmocka_unit_test(the_way_it_must_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
