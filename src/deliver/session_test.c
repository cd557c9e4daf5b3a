// SPDX-License-Identifier: ISC
// The clock of a session against peers that play for time. Loop and stream are made up here, so
// that hours pass at once.
#include "deliver/session.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

// --- in place of sys ---

static int64_t now_ms;
static struct timer *timers[8];

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    *timer = (struct timer){.loop = loop, .fn = fn, .ctx = ctx};
}

void timer_stop(struct timer *timer)
{
    if (timer->heap_pos != 0)
        timers[timer->heap_pos - 1] = NULL;
    timer->heap_pos = 0;
}

void timer_start(struct timer *timer, int64_t after_ms)
{
    timer_stop(timer);
    uint32_t at = 0;
    while (timers[at] != NULL)
        at++;
    timers[at] = timer;
    timer->heap_pos = at + 1;
    timer->due_ms = now_ms + after_ms;
}

static void pass(int64_t ms)
{
    int64_t until = now_ms + ms;
    for (;;) {
        struct timer *next = NULL;
        for (size_t i = 0; i < 8; i++)
            if (timers[i] != NULL && (next == NULL || timers[i]->due_ms < next->due_ms))
                next = timers[i];
        if (next == NULL || next->due_ms > until)
            break;
        now_ms = next->due_ms;
        timer_stop(next);
        next->fn(next->ctx);
    }
    now_ms = until;
}

struct stream {
    const struct stream_handler *handler;
    void *ctx;
    size_t queued;
    bool stuck; // the peer's window is zero
    bool closed;
    struct net_addr peer;
};

static struct stream wire;

void stream_attach(struct stream *s, const struct stream_handler *handler, void *ctx)
{
    s->handler = handler;
    s->ctx = ctx;
}
void stream_write(struct stream *s, const void *bytes, size_t len)
{
    s->queued += s->stuck ? len : 0;
}
void stream_flush(struct stream *s)
{
}
size_t stream_queued(const struct stream *s)
{
    return s->queued;
}
void stream_close(struct stream **s, bool drain)
{
    wire.closed = true;
    *s = NULL;
}
void stream_start_tls_client(struct stream *s, const struct tls_client_params *params)
{
}
const struct net_addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}
const char *stream_error(const struct stream *s)
{
    return "error";
}
bool stream_error_is_tls(const struct stream *s)
{
    return false;
}
bool stream_is_tls(const struct stream *s)
{
    return false;
}
const char *stream_tls_text(const struct stream *s)
{
    return "";
}
bool stream_tls_verified(const struct stream *s)
{
    return false;
}
bool stream_tls_reused(const struct stream *s)
{
    return false;
}

// --- a session with one long job ---

enum { RCPTS = 40 };

struct bench {
    struct session *session;
    unsigned ready, over;
    struct outcome failure;
    struct envelope envelope;
    struct envelope_rcpt address;
    struct outcome outcomes[RCPTS];
    struct smtp_client_rcpt rcpts[RCPTS];
    struct smtp_client_mail mail;
    struct body_source body;
    uint64_t read;
    char slice[SESSION_SLICE];
};

static struct bench *bench;

static void on_ready(void *ctx)
{
    bench->ready++;
}

static void on_over(void *ctx)
{
    bench->over++;
    bench->failure = deliver_session_client(bench->session)->failure;
}

static const struct session_events events = {on_ready, on_over};

static ssize_t read_now(struct body_source *src, uint64_t offset, void *out, size_t len)
{
    memset(out, 'x', len);
    bench->read += len;
    return (ssize_t)len;
}

static const struct body_ops ops = {.read_now = read_now};

static void hear(const char *text)
{
    if (!wire.closed)
        wire.handler->data(wire.ctx, text, strlen(text));
}

static int setup_with(int step_ms)
{
    now_ms = 0;
    memset(timers, 0, sizeof(timers));
    wire = (struct stream){0};
    net_addr_parse_ip(STR("192.0.2.1"), &wire.peer);
    bench = xcalloc(1, sizeof(*bench));
    struct session_params params = {
        .settings = {.helo = "me", .peer = SCOPE_GATEWAY, .step_ms = step_ms},
        .host = "mx.example"};
    bench->session = deliver_session_new(NULL, &wire, &params, NULL, &events, NULL);
    bench->address.address = STR("a@b.example");
    for (size_t i = 0; i < RCPTS; i++)
        bench->rcpts[i] =
            (struct smtp_client_rcpt){.rcpt = &bench->address, .outcome = &bench->outcomes[i]};
    bench->mail = (struct smtp_client_mail){
        .envelope = &bench->envelope, .rcpts = bench->rcpts, .count = RCPTS};
    bench->body = (struct body_source){.ops = &ops, .size = 100 * 1024 * 1024};
    return 0;
}

static int setup(void **state)
{
    return setup_with(0);
}

static int setup_quick(void **state)
{
    return setup_with(20 * 1000);
}

static int setup_slow(void **state)
{
    return setup_with(3600 * 1000);
}

static int teardown(void **state)
{
    deliver_session_free(&bench->session);
    for (size_t i = 0; i < 8; i++)
        assert_null(timers[i]);
    xfree(bench);
    return 0;
}

static void send(const char *ehlo)
{
    hear("220 hi\r\n");
    hear(ehlo);
    assert_int_equal(bench->ready, 1);
    deliver_session_send(bench->session, &bench->mail, &bench->body, bench->slice);
}

static void check_over(enum outcome_class class, enum outcome_phase phase, int64_t from, int64_t to)
{
    assert_int_equal(bench->over, 1);
    assert_int_equal(bench->failure.class, class);
    assert_int_equal(bench->failure.phase, phase);
    assert_in_range(now_ms, from, to);
    assert_true(wire.closed);
}

static void a_reply_that_drips_in_gets_no_more_time(void **state)
{
    hear("220-");
    while (bench->over == 0 && now_ms < 3600 * 1000) {
        hear("x");
        pass(1000);
    }
    check_over(OUTCOME_NET, PHASE_GREETING, LIMIT_GREETING_MS, LIMIT_GREETING_MS + 1000);
}

static void neither_does_one_that_drips_line_by_line(void **state)
{
    hear("220 hi\r\n");
    while (bench->over == 0 && now_ms < 3600 * 1000) {
        hear("250-AND SO ON\r\n");
        pass(1000);
    }
    check_over(OUTCOME_NET, PHASE_EHLO, LIMIT_MAIL_MS, LIMIT_MAIL_MS + 1000);
}

static void slow_replies_end_with_the_transaction(void **state)
{
    send("250 mx\r\n");
    while (bench->over == 0 && now_ms < 24 * 3600 * 1000) {
        pass(LIMIT_MAIL_MS - 1000);
        hear("250 ok\r\n");
    }
    check_over(OUTCOME_NET, PHASE_RCPT, LIMIT_TRANSACTION_MS, LIMIT_TRANSACTION_MS + LIMIT_MAIL_MS);
}

static void a_peer_that_stops_reading_is_cut_and_does_not_fill_memory(void **state)
{
    send("250-mx\r\n250 PIPELINING\r\n");
    wire.stuck = true;
    for (size_t i = 0; i <= RCPTS; i++)
        hear("250 ok\r\n");
    hear("354 go\r\n");
    assert_in_range(bench->read, 1, SESSION_QUEUE + SESSION_SLICE);
    // Some progress renews the time.
    pass(LIMIT_DATA_OUT_MS - 1000);
    wire.queued = 0;
    wire.handler->event(wire.ctx, STREAM_DRAINED);
    pass(LIMIT_DATA_OUT_MS - 1000);
    assert_int_equal(bench->over, 0);
    pass(1000);
    check_over(OUTCOME_NET, PHASE_BODY, 2 * LIMIT_DATA_OUT_MS - 2000, 2 * LIMIT_DATA_OUT_MS);
    assert_in_range(bench->read, 1, 2 * (SESSION_QUEUE + SESSION_SLICE));
}

static void begin_body(size_t size)
{
    bench->body.size = size;
    send("250-mx\r\n250 PIPELINING\r\n");
    wire.stuck = true;
    for (size_t i = 0; i <= RCPTS; i++)
        hear("250 ok\r\n");
    hear("354 go\r\n");
}

// The peer reads what was sent, all of it each time.
static void drain_every(int64_t ms, int64_t until_ms)
{
    while (bench->over == 0 && now_ms < until_ms && bench->read < bench->body.size) {
        pass(ms);
        wire.queued = 0;
        if (!wire.closed)
            wire.handler->event(wire.ctx, STREAM_DRAINED);
    }
}

static void a_large_body_has_time_over_a_slow_line(void **state)
{
    // 50 MB at 33 kbit/s: three and a half hours.
    begin_body(50 * 1000 * 1000);
    int64_t pace = (SESSION_QUEUE + SESSION_SLICE / 2) / 4;
    drain_every(pace, 24 * 3600 * 1000);
    assert_int_equal(bench->over, 0);
    assert_true(bench->read >= bench->body.size && now_ms > 2 * LIMIT_TRANSACTION_MS);
    hear("250 kept\r\n");
    assert_int_equal(bench->ready, 2);
}

static void but_not_for_ever(void **state)
{
    begin_body(50 * 1000 * 1000);
    drain_every(LIMIT_DATA_OUT_MS - 1000, (int64_t)72 * 3600 * 1000);
    int64_t most = LIMIT_TRANSACTION_MS + 50 * 1000 * 1000 / LIMIT_SLOWEST_OUT;
    check_over(OUTCOME_NET, PHASE_BODY, most, most + LIMIT_DATA_OUT_MS);
}

static void no_answer_to_the_final_dot_is_doubt(void **state)
{
    bench->body.size = 1000;
    bench->body.whole = str_make(bench->slice, 1000);
    send("250-mx\r\n250 PIPELINING\r\n");
    for (size_t i = 0; i <= RCPTS; i++)
        hear("250 ok\r\n");
    hear("354 go\r\n");
    pass(LIMIT_FINAL_MS - 1);
    assert_int_equal(bench->over, 0);
    pass(1);
    check_over(OUTCOME_DOUBT, PHASE_FINAL, LIMIT_FINAL_MS, LIMIT_FINAL_MS);
    for (size_t i = 0; i < RCPTS; i++)
        assert_int_equal(bench->outcomes[i].class, OUTCOME_DOUBT);
}

static void a_server_has_the_time_it_is_given(void **state)
{
    hear("220 hi\r\n");
    pass(19 * 1000);
    assert_int_equal(bench->over, 0);
    pass(1000);
    check_over(OUTCOME_NET, PHASE_EHLO, 20 * 1000, 20 * 1000);
}

static void but_for_the_reply_to_a_message_at_least_the_usual(void **state)
{
    no_answer_to_the_final_dot_is_doubt(state);
}

static void and_more_when_it_is_given_more(void **state)
{
    pass(LIMIT_GREETING_MS + 1000);
    assert_int_equal(bench->over, 0);
    pass(3600 * 1000 - LIMIT_GREETING_MS);
    check_over(OUTCOME_NET, PHASE_GREETING, 3600 * 1000, 3601 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reply_that_drips_in_gets_no_more_time, setup, teardown),
        cmocka_unit_test_setup_teardown(neither_does_one_that_drips_line_by_line, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_replies_end_with_the_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_stops_reading_is_cut_and_does_not_fill_memory,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_body_has_time_over_a_slow_line, setup, teardown),
        cmocka_unit_test_setup_teardown(but_not_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(no_answer_to_the_final_dot_is_doubt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_has_the_time_it_is_given, setup_quick, teardown),
        cmocka_unit_test_setup_teardown(but_for_the_reply_to_a_message_at_least_the_usual,
                                        setup_quick, teardown),
        cmocka_unit_test_setup_teardown(and_more_when_it_is_given_more, setup_slow, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
