// SPDX-License-Identifier: ISC
// Mail that passes through, in virtual time: how long a client waits for gateways that say nothing,
// for room, and for the last word; and that whoever leaves, leaves nothing behind.
#include "scene.h"

#include "base/mem.h"
#include "sys/stream.h"

#define PROXY         "listeners:\n  p: {address: \"0.0.0.0:2525\", mode: proxy, clients: [10.0.0.0/8]}\n"
#define ONE_AT_A_TIME "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {connections: 1}}\n"

// ---- A client ----

struct client {
    struct stream *s;
    struct buf got;
    bool over;
};

static size_t client_data(void *ctx, const char *bytes, size_t len)
{
    buf_append(&((struct client *)ctx)->got, bytes, len);
    return len;
}

static void client_event(void *ctx, enum stream_event event)
{
    struct client *c = ctx;
    c->over = c->over || event == STREAM_EOF || event == STREAM_ERROR;
}

static const struct stream_handler client_handler = {client_data, client_event};

static void client_say(struct client *c, const char *text)
{
    buf_clear(&c->got);
    stream_write(c->s, text, strlen(text));
}

static void client_begin(struct client *c)
{
    struct net_addr to, from;
    assert_true(net_addr_parse(STR(OWN_ADDRESS), 2525, &to));
    assert_true(net_addr_parse_ip(STR("10.1.1.1"), &from));
    *c = (struct client){0};
    buf_init(&c->got, 100000);
    c->s = world_connect(&to, &from, &client_handler, c);
    pass(SECOND);
    client_say(c, "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\n");
    pass(SECOND);
    assert_non_null(strstr(buf_cstr(&c->got), "250 2.1.0"));
}

static void client_end(struct client *c)
{
    stream_close(&c->s, false);
    buf_free(&c->got);
}

// How long until a reply with that begin comes; anything else fails.
static int64_t waits_for(struct client *c, const char *reply, int64_t most_ms)
{
    int64_t began = world_now_ms();
    while (c->got.len == 0 && world_now_ms() < began + most_ms)
        pass(SECOND);
    if (strncmp(buf_cstr(&c->got), reply, strlen(reply)) != 0)
        fail_msg("\"%s\", expected \"%s\"", buf_cstr(&c->got), reply);
    return world_now_ms() - began;
}

static void rcpt(struct client *c)
{
    client_say(c, "RCPT TO:<b@x.test>\r\n");
}

static void content(struct client *c)
{
    client_say(c, "DATA\r\n");
    waits_for(c, "354", MINUTE);
    client_say(c, "Subject: x\r\n\r\nHello.\r\n.\r\n");
}

// ---- The tests ----

static void it_passes(void **state)
{
    struct client c;
    start(HEAD PROXY GATEWAYS);
    client_begin(&c);
    rcpt(&c);
    waits_for(&c, "250 2.1.5 yes", MINUTE);
    content(&c);
    waits_for(&c, "250 2.0.0 stored", MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(waiting(), 0);
    client_end(&c);
}

static void a_silent_gateway_costs_a_minute_and_the_next_is_asked(void **state)
{
    struct client c;
    start(HEAD PROXY GATEWAYS);
    one.rcpt = "";
    client_begin(&c);
    rcpt(&c);
    assert_in_range(waits_for(&c, "250 2.1.5 yes", 5 * MINUTE), 50 * SECOND, 75 * SECOND);
    content(&c);
    waits_for(&c, "250 2.0.0 stored", MINUTE);
    assert_int_equal(one.mails, 0);
    assert_int_equal(two.mails, 1);
    client_end(&c);
}

static void when_all_are_silent_the_client_hears_it_before_it_gives_up(void **state)
{
    struct client c;
    start(HEAD PROXY GATEWAYS);
    one.greeting = two.rcpt = "";
    client_begin(&c);
    rcpt(&c);
    assert_in_range(waits_for(&c, "451 4.4.", 5 * MINUTE), MINUTE, 5 * MINUTE - 1);
    client_end(&c);
}

static void room_is_waited_for_half_a_minute(void **state)
{
    struct client first, second;
    start(HEAD PROXY ONE_AT_A_TIME);
    client_begin(&first);
    rcpt(&first);
    waits_for(&first, "250", MINUTE);
    client_begin(&second);
    rcpt(&second);
    assert_in_range(waits_for(&second, "451 4.4.0", MINUTE), 25 * SECOND, 35 * SECOND);
    rcpt(&second);
    pass(5 * SECOND);
    assert_int_equal(second.got.len, 0);
    content(&first);
    waits_for(&first, "250 2.0.0 stored", MINUTE);
    waits_for(&second, "250 2.1.5 yes", 5 * SECOND);
    assert_int_equal(one.most_at_once, 1);
    client_end(&first);
    client_end(&second);
}

// Mail that can wait gives way, but is not forgotten.
static void queued_mail_and_mail_that_passes_share_the_connections(void **state)
{
    struct client c;
    start(HEAD PROXY ONE_AT_A_TIME);
    client_begin(&c);
    rcpt(&c);
    waits_for(&c, "250", MINUTE);
    send_one("x.test");
    pass(30 * SECOND);
    assert_int_equal(one.mails, 0);
    content(&c);
    waits_for(&c, "250 2.0.0 stored", MINUTE);
    pass(5 * SECOND);
    assert_int_equal(one.mails, 2);
    assert_int_equal(one.most_at_once, 1);
    assert_int_equal(waiting(), 0);
    client_end(&c);
}

static void silence_after_the_dot_is_in_doubt(void **state)
{
    struct client c;
    start(HEAD PROXY GATEWAYS);
    one.final = "";
    client_begin(&c);
    rcpt(&c);
    waits_for(&c, "250", MINUTE);
    content(&c);
    assert_in_range(waits_for(&c, "451 4.4.2 in doubt", 10 * MINUTE), MINUTE, 10 * MINUTE - 1);
    assert_int_equal(two.connections, 0);
    client_end(&c);
}

// At each moment: nothing of it remains (teardown counts the bytes), and its place is free again.
static void whoever_leaves_leaves_nothing_behind(void **state)
{
    static const int64_t moments_ms[] = {0, 1, 3, 10, 50, 200, SECOND, 20 * SECOND};
    start(HEAD PROXY ONE_AT_A_TIME);
    for (size_t i = 0; i < sizeof(moments_ms) / sizeof(moments_ms[0]); i++) {
        struct client c;
        one.rcpt = i % 2 == 0 ? "" : NULL;
        client_begin(&c);
        rcpt(&c);
        pass(moments_ms[i]);
        client_end(&c);
        one.rcpt = NULL;
        pass(30 * SECOND);
    }
    struct client c;
    client_begin(&c);
    rcpt(&c);
    waits_for(&c, "250", MINUTE);
    content(&c);
    waits_for(&c, "250 2.0.0 stored", MINUTE);
    client_end(&c);
}

// The daemon is told to end while clients are in the middle: teardown waits for it.
static void an_orderly_end_cuts_who_does_not_go_on(void **state)
{
    static struct client c[3];
    start(HEAD PROXY "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {connections: 2}}\n");
    client_begin(&c[0]);
    rcpt(&c[0]);
    waits_for(&c[0], "250", MINUTE);
    one.rcpt = "";
    client_begin(&c[1]);
    rcpt(&c[1]); // asked, without an answer
    client_begin(&c[2]);
    rcpt(&c[2]); // waits for room
    pass(5 * SECOND);
    teardown(state);
    for (int i = 0; i < 3; i++)
        assert_true(c[i].got.len > 0);
    setup(state); // for the usual teardown
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_passes),
        TEST(a_silent_gateway_costs_a_minute_and_the_next_is_asked),
        TEST(when_all_are_silent_the_client_hears_it_before_it_gives_up),
        TEST(room_is_waited_for_half_a_minute),
        TEST(queued_mail_and_mail_that_passes_share_the_connections),
        TEST(silence_after_the_dot_is_in_doubt),
        TEST(whoever_leaves_leaves_nothing_behind),
        TEST(an_orderly_end_cuts_who_does_not_go_on),
    };
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
