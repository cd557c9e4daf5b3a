// SPDX-License-Identifier: ISC
// Probes against small servers on loopback.
#include "deliver/probe.h"

#include "base/mem.h"
#include "sys/names.h"
#include "sys/stream.h"
#include "sys/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

// --- names: every one is 127.0.0.1 ---

struct names_query {
    struct timer timer;
    enum names_type type;
    void (*done)(void *ctx, const struct names_answer *answer);
    void *ctx;
};

static struct loop *loop;

static void answer_query(void *ctx)
{
    struct names_query *q = ctx;
    struct names_record record = {0};
    struct names_answer answer = {.status = NAMES_NODATA, .records = &record};
    if (q->type == NAMES_A) {
        net_addr_parse_ip(STR("127.0.0.1"), &record.addr);
        answer.status = NAMES_OK;
        answer.count = 1;
    }
    q->done(q->ctx, &answer);
    xfree(q);
}

struct names_query *names_lookup(struct names *names, const char *name, enum names_type type,
                                 void (*done)(void *ctx, const struct names_answer *answer),
                                 void *ctx)
{
    struct names_query *q = xcalloc(1, sizeof(*q));
    q->type = type;
    q->done = done;
    q->ctx = ctx;
    timer_init(&q->timer, loop, answer_query, q);
    timer_start(&q->timer, 0);
    return q;
}

void names_cancel(struct names_query **query)
{
    if (*query == NULL)
        return;
    timer_stop(&(*query)->timer);
    xfree(*query);
    *query = NULL;
}

// --- a server ---

static struct server {
    const char *greeting, *ehlo, *auth; // NULL: the usual; "": silence
    bool implicit;
    struct tls_server *tls;
    struct listener *listener;
    struct stream *stream;
    unsigned connections, mails, quits;
} server;

static void say(const char *text, const char *usual)
{
    text = text != NULL ? text : usual;
    stream_write(server.stream, text, strlen(text));
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct str line = str_make(bytes, len);
    if (str_istarts(line, STR("EHLO"))) {
        say(server.ehlo, server.tls != NULL && !stream_is_tls(server.stream)
                             ? "250-mail.example\r\n250 STARTTLS\r\n"
                             : "250-mail.example\r\n250 AUTH PLAIN\r\n");
    } else if (str_istarts(line, STR("STARTTLS"))) {
        say(NULL, "220 go\r\n");
        stream_start_tls_server(server.stream, server.tls);
    } else if (str_istarts(line, STR("AUTH"))) {
        say(server.auth, "235 2.7.0 welcome\r\n");
    } else if (str_istarts(line, STR("QUIT"))) {
        server.quits++;
        say(NULL, "221 bye\r\n");
    } else {
        server.mails += str_istarts(line, STR("MAIL"));
        say(NULL, "500 what?\r\n");
    }
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        stream_close(&server.stream, false);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    stream_close(&server.stream, false);
    server.stream = stream;
    server.connections++;
    stream_attach(stream, &handler, NULL);
    if (server.implicit)
        stream_start_tls_server(stream, server.tls);
    say(server.greeting, "220 mail.example ESMTP\r\n");
}

// --- a probe ---

static struct deliver *deliver;
static struct deliver_probe probe;
static struct conf conf = {.hostname = "relay.example"};
static struct conf_gateway gateway;
static struct timer last;

static void on_last(void *ctx)
{
    loop_stop(loop);
}

static void on_done(struct deliver_probe *p)
{
    timer_start(&last, 30); // QUIT is on its way
}

static void listen_there(void *ctx)
{
    struct err err;
    struct net_addr at;
    net_addr_parse(STR("127.0.0.1:0"), 0, &at);
    server.listener = listener_new(loop, &at, on_accepted, NULL, &err);
    assert_non_null(server.listener);
    gateway.port = listener_addr(server.listener)->port;
}

static int setup(void **state)
{
    memset(&server, 0, sizeof(server));
    memset(&probe, 0, sizeof(probe));
    gateway = (struct conf_gateway){
        .name = "one", .kind = GATEWAY_SMTP, .host = "mail.example", .tls = TLS_WANTED};
    loop = loop_new("test");
    timer_init(&last, loop, on_last, NULL);
    deliver = deliver_new(loop, NULL);
    listen_there(NULL);
    return 0;
}

static int teardown(void **state)
{
    stream_close(&server.stream, false);
    listener_free(&server.listener);
    tls_server_unref(&server.tls);
    buf_free(&probe.transcript);
    deliver_free(&deliver);
    loop_free(&loop);
    return 0;
}

static void ask(enum conf_probe_depth depth)
{
    probe.home = loop;
    probe.done = on_done;
    probe.conf = &conf;
    probe.gateway = &gateway;
    probe.depth = depth;
    probe.domain = "";
    deliver_probe(deliver, &probe);
    loop_run(loop);
}

static void with_tls(void)
{
    struct err err;
    server.tls = tls_server_self_signed("mail.example", &err);
    assert_non_null(server.tls);
}

static void a_connection_is_enough_for_the_least_depth(void **state)
{
    ask(PROBE_TCP);
    assert_int_equal(probe.outcome.class, OUTCOME_OK);
    assert_true(probe.connect_ms >= 0);
    assert_int_equal(probe.ehlo_ms, -1);
    assert_int_equal(probe.address.port, gateway.port);
}

static void ehlo_tells_who_it_is_and_what_it_offers(void **state)
{
    with_tls();
    ask(PROBE_EHLO);
    assert_int_equal(probe.outcome.class, OUTCOME_OK);
    assert_string_equal(probe.greeting, "mail.example");
    assert_true(probe.offers_tls);
    assert_true(probe.offers_auth);
    assert_true(probe.ehlo_ms >= 0 && probe.tls_ms >= 0);
    assert_int_equal(probe.auth_ms, -1);
    assert_int_equal(server.quits, 1);
    assert_int_equal(server.mails, 0);
}

static void tls_from_the_first_byte(void **state)
{
    with_tls();
    server.implicit = true;
    gateway.tls = TLS_IMPLICIT;
    ask(PROBE_TLS);
    assert_int_equal(probe.outcome.class, OUTCOME_OK);
    assert_true(probe.tls_ms >= 0);
    assert_true(probe.offers_tls);
    assert_non_null(strstr(probe.facts, "TLS"));
}

static void a_login_is_tried_and_its_secret_not_shown(void **state)
{
    with_tls();
    gateway.user = "me";
    gateway.password = "open-sesame";
    ask(PROBE_AUTH);
    assert_int_equal(probe.outcome.class, OUTCOME_OK);
    assert_true(probe.auth_ms >= 0);
    assert_non_null(strstr(probe.facts, "login"));
    const char *text = buf_cstr(&probe.transcript);
    assert_non_null(strstr(text, "AUTH"));
    assert_null(strstr(text, "open-sesame"));
    assert_null(strstr(text, "AG1lAG9wZW4tc2VzYW1l")); // "\0me\0open-sesame" in base64
}

static void a_refused_login_is_found(void **state)
{
    with_tls();
    gateway.user = "me";
    gateway.password = "wrong";
    server.auth = "535 5.7.8 no\r\n";
    ask(PROBE_AUTH);
    assert_int_equal(probe.outcome.class, OUTCOME_AUTH);
    assert_int_equal(probe.outcome.phase, PHASE_AUTH);
    assert_int_equal(server.connections, 1);
}

static void a_lesser_probe_does_not_log_in(void **state)
{
    with_tls();
    gateway.user = "me";
    gateway.password = "wrong";
    server.auth = "535 5.7.8 no\r\n";
    ask(PROBE_EHLO);
    assert_int_equal(probe.outcome.class, OUTCOME_OK);
}

static void encryption_that_is_required_and_missing_is_found(void **state)
{
    gateway.tls = TLS_REQUIRED;
    ask(PROBE_TLS);
    assert_int_equal(probe.outcome.class, OUTCOME_TLS);
    assert_false(probe.offers_tls);
}

static void a_closed_port_is_found(void **state)
{
    listener_free(&server.listener);
    ask(PROBE_EHLO);
    assert_int_equal(probe.outcome.class, OUTCOME_NET);
    assert_int_equal(probe.outcome.phase, PHASE_CONNECT);
}

static void an_unwelcome_greeting_is_found(void **state)
{
    server.greeting = "554 5.7.1 go away\r\n";
    ask(PROBE_EHLO);
    assert_int_equal(probe.outcome.code, 554);
    assert_int_equal(probe.outcome.phase, PHASE_GREETING);
}

static void stop_early(void *ctx)
{
    deliver_free(&deliver);
}

static void the_end_ends_probes(void **state)
{
    struct timer timer;
    server.greeting = "";
    timer_init(&timer, loop, stop_early, NULL);
    timer_start(&timer, 50);
    ask(PROBE_EHLO);
    assert_int_equal(probe.outcome.class, OUTCOME_LOCAL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_connection_is_enough_for_the_least_depth),
        TEST(ehlo_tells_who_it_is_and_what_it_offers),
        TEST(tls_from_the_first_byte),
        TEST(a_login_is_tried_and_its_secret_not_shown),
        TEST(a_refused_login_is_found),
        TEST(a_lesser_probe_does_not_log_in),
        TEST(encryption_that_is_required_and_missing_is_found),
        TEST(a_closed_port_is_found),
        TEST(an_unwelcome_greeting_is_found),
        TEST(the_end_ends_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
