// SPDX-License-Identifier: ISC
// Sessions in virtual time: what takes minutes, many clients, or a disk that hangs.
#include "accept/accept.h"
#include "base/mem.h"
#include "sim/world.h"
#include "sys/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND };

// ---- A daemon of one session loop. ----

static struct {
    struct conf_listener set;
    struct net_addr address;
    struct accept *accept;
    struct store *store;
    unsigned arrived;
    bool stopped;
} daemon_;

static void on_accepted(void *ctx, struct store_message *m)
{
    daemon_.arrived++;
    store_message_free(&m);
}

static void on_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
}

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_true(net_addr_parse(str_of(text), 0, &a));
    return a;
}

static void boot(void *ctx)
{
    struct err err;
    struct arena *arena = arena_new();
    struct conf *conf = arena_alloc(arena, sizeof(*conf));
    atomic_store(&conf->refs, 1);
    conf->arena = arena;
    conf->hostname = "mx.test";
    conf->spool_dir = "/spool";
    conf->listeners = &daemon_.set;
    conf->listener_count = 1;
    struct store_settings settings = {.dir = "/spool", .disk_floor = 1, .no_index = true};
    daemon_.store = store_open(&settings, on_accepted, NULL, &err);
    assert_non_null(daemon_.store);
    struct loop *conductor = loop_new("conductor"), *sessions = loop_new("sessions");
    store_start(daemon_.store, conductor, on_accepted, on_moved, NULL);
    daemon_.accept = accept_new(sessions, conf, daemon_.store, &err);
    assert_non_null(daemon_.accept);
    conf_unref(&conf);
    loop_start(conductor);
    loop_start(sessions);
}

static void begin(uint64_t seed, struct conf_listener set)
{
    static struct net_range everybody[1];
    assert_true(net_range_parse(STR("10.0.0.0/8"), &everybody[0]));
    world_new(seed);
    world_disk_mkdirs("/spool");
    memset(&daemon_, 0, sizeof(daemon_));
    daemon_.address = addr("0.0.0.0:25");
    set.name = "test";
    set.addresses = &daemon_.address;
    set.address_count = 1;
    set.message_size = 1000000;
    set.recipients = 100;
    set.clients = everybody;
    set.client_count = 1;
    daemon_.set = set;
    assert_int_equal(world_boot(boot, NULL), WORLD_RAN);
}

static void run_for(int64_t ms)
{
    world_run_until(world_now_ms() + ms, NULL, NULL);
}

// ---- A client. ----

struct client {
    struct stream *s;
    struct buf got;
    bool tls, secure, over;
    int64_t over_ms;
};

static size_t client_data(void *ctx, const char *bytes, size_t len)
{
    struct client *c = ctx;
    buf_append(&c->got, bytes, len);
    return len;
}

static void client_event(void *ctx, enum stream_event event)
{
    struct client *c = ctx;
    struct tls_client_params params = {.verify = TLS_VERIFY_NONE};
    if (event == STREAM_CONNECTED && c->tls)
        stream_start_tls_client(c->s, &params);
    c->secure = c->secure || event == STREAM_TLS_READY;
    if ((event == STREAM_EOF || event == STREAM_ERROR) && !c->over) {
        c->over = true;
        c->over_ms = world_now_ms();
    }
}

static const struct stream_handler client_handler = {client_data, client_event};

static void client_begin(struct client *c, const char *from_ip, bool tls)
{
    struct net_addr to = addr("192.0.2.10:25"), from;
    assert_true(net_addr_parse_ip(str_of(from_ip), &from));
    *c = (struct client){.tls = tls};
    buf_init(&c->got, 1000000);
    c->s = world_connect(&to, &from, &client_handler, c);
}

static void client_end(struct client *c)
{
    stream_close(&c->s, false);
    buf_free(&c->got);
}

static void say(struct client *c, const char *text)
{
    stream_write(c->s, text, strlen(text));
}

static bool heard(struct client *c, const char *text)
{
    return strstr(buf_cstr(&c->got), text) != NULL;
}

static void expect(struct client *c, const char *text)
{
    if (!heard(c, text))
        fail_msg("'%s' was not said, but '%s'", text, buf_cstr(&c->got));
    buf_clear(&c->got);
}

static void send_message(struct client *c)
{
    say(c, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    run_for(10 * SECOND);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    run_for(20 * SECOND);
    expect(c, "250 2.0.0");
}

// ---- Time. ----

static void a_session_without_mail_ends(void **state)
{
    struct client c;
    begin(1, (struct conf_listener){0});
    int64_t from = world_now_ms();
    client_begin(&c, "10.0.0.1", false);
    for (int i = 0; i < 30 && !c.over; i++) {
        say(&c, "NOOP\r\n");
        run_for(MINUTE);
    }
    assert_true(c.over);
    expect(&c, "421 4.4.2 no mail came for 10 minutes");
    assert_true(c.over_ms - from >= 10 * MINUTE && c.over_ms - from < 11 * MINUTE);
    client_end(&c);
    world_free();
}

static void a_dripped_command_is_no_progress(void **state)
{
    struct client c;
    begin(2, (struct conf_listener){0});
    int64_t from = world_now_ms();
    client_begin(&c, "10.0.0.1", false);
    for (int i = 0; i < 1000 && !c.over; i++) {
        say(&c, "x");
        run_for(SECOND);
    }
    assert_true(c.over);
    expect(&c, "421 4.4.2 no command came for 5 minutes");
    assert_true(c.over_ms - from < 5 * MINUTE + 5 * SECOND);
    client_end(&c);
    world_free();
}

static void a_dripped_message_ends_after_an_hour(void **state)
{
    struct client c;
    begin(3, (struct conf_listener){0});
    int64_t from = world_now_ms();
    client_begin(&c, "10.0.0.1", false);
    say(&c, "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    for (int i = 0; i < 200 && !c.over; i++) {
        say(&c, "x");
        run_for(MINUTE);
    }
    assert_true(c.over);
    expect(&c, "421 4.4.2 the message took longer than an hour");
    assert_true(c.over_ms - from < 66 * MINUTE);
    assert_int_equal(daemon_.arrived, 0);
    client_end(&c);
    world_free();
}

// As long as mail moves on, a session lives.
static void a_session_that_sends_lives_on(void **state)
{
    struct client c;
    begin(4, (struct conf_listener){0});
    client_begin(&c, "10.0.0.1", false);
    say(&c, "EHLO c\r\n");
    for (int i = 0; i < 10; i++) {
        run_for(4 * MINUTE);
        send_message(&c);
    }
    say(&c, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    for (int i = 0; i < 12; i++) {
        run_for(2 * MINUTE);
        say(&c, "BDAT 3\r\nx\r\n");
    }
    say(&c, "BDAT 0 LAST\r\n");
    run_for(MINUTE);
    expect(&c, "250 2.0.0");
    assert_false(c.over);
    assert_int_equal(daemon_.arrived, 11);
    client_end(&c);
    world_free();
}

// ---- Number. ----

static void connections_of_a_client_are_counted(void **state)
{
    struct client c[4];
    begin(5, (struct conf_listener){.connections_per_client = 2});
    for (int i = 0; i < 3; i++)
        client_begin(&c[i], "10.0.0.1", false);
    client_begin(&c[3], "10.0.0.2", false);
    run_for(10 * SECOND);
    unsigned refused = 0;
    for (int i = 0; i < 3; i++) {
        refused += c[i].over;
        if (c[i].over)
            expect(&c[i], "421 4.7.0 more than 2 connections at once from 10.0.0.1 "
                          "(listeners.test.connections_per_client); use fewer");
    }
    assert_int_equal(refused, 1);
    assert_false(c[3].over);
    for (int i = 0; i < 4; i++)
        client_end(&c[i]);
    // And counted out again.
    run_for(10 * SECOND);
    assert_int_equal(accept_sessions(daemon_.accept), 0);
    client_begin(&c[0], "10.0.0.1", false);
    run_for(10 * SECOND);
    expect(&c[0], "220 ");
    client_end(&c[0]);
    world_free();
}

static void connections_of_all_are_counted(void **state)
{
    enum { MORE = LIMIT_SESSIONS + 5 };
    struct client *c = xcalloc(MORE, sizeof(*c));
    begin(6, (struct conf_listener){0});
    for (int i = 0; i < MORE; i++) {
        char from[32];
        snprintf(from, sizeof(from), "10.0.%d.%d", i / 250, i % 250 + 1);
        client_begin(&c[i], from, false);
        if (i % 100 == 0)
            run_for(SECOND);
    }
    run_for(30 * SECOND);
    unsigned refused = 0;
    for (int i = 0; i < MORE; i++) {
        refused += c[i].over;
        if (c[i].over)
            expect(&c[i], "421 4.7.0 all 4000 connections of this server are in use");
        client_end(&c[i]);
    }
    assert_int_equal(refused, 5);
    xfree(c);
    world_free();
}

// ---- A disk that hangs while the daemon is to stop. ----

static void on_stopped(void *ctx)
{
    daemon_.stopped = true;
}

static void stop_daemon(void *ctx)
{
    accept_stop(daemon_.accept, on_stopped, NULL);
}

static void what_may_be_on_disk_is_never_denied(void **state)
{
    for (uint64_t seed = 10; seed < 30; seed++) {
        struct client busy, idle;
        begin(seed, (struct conf_listener){0});
        client_begin(&busy, "10.0.0.1", false);
        client_begin(&idle, "10.0.0.2", false);
        say(&busy, "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        say(&idle, "HELO c\r\nMAIL FROM:<a@b>\r\n");
        run_for(20 * SECOND);
        expect(&busy, "354");
        world_disk_stall(WORLD_DISK_SYNC, 3 * ACCEPT_STOP_MS);
        say(&busy, "x\r\n.\r\n");
        run_for(5 * SECOND);
        world_boot(stop_daemon, NULL);
        run_for(2 * ACCEPT_STOP_MS - 6 * SECOND);
        expect(&idle, "421 4.3.2 shutting down");
        assert_true(idle.over && !busy.over && busy.got.len == 0 && !daemon_.stopped);
        run_for(3 * ACCEPT_STOP_MS);
        assert_true(heard(&busy, "250 2.0.0"));
        expect(&busy, "421 4.3.2 shutting down");
        assert_true(busy.over && daemon_.stopped && daemon_.arrived == 1);
        client_end(&busy);
        client_end(&idle);
        world_free();
    }
}

// ---- A port that guesses. ----

static void the_first_byte_tells_tls(void **state)
{
    for (uint64_t seed = 40; seed < 60; seed++) {
        struct client plain, eager, secure;
        begin(seed, (struct conf_listener){.tls = LISTEN_TLS_AUTO});
        client_begin(&plain, "10.0.0.1", false);
        client_begin(&eager, "10.0.0.2", false);
        client_begin(&secure, "10.0.0.3", true);
        say(&eager, "EHLO c\r\n"); // does not wait for the banner
        run_for(10 * SECOND);
        say(&plain, "EHLO c\r\n");
        say(&secure, "EHLO c\r\n");
        run_for(10 * SECOND);
        assert_true(heard(&plain, "220 ") && heard(&plain, "250-STARTTLS"));
        assert_true(heard(&eager, "220 ") && heard(&eager, "250-STARTTLS"));
        assert_true(secure.secure && heard(&secure, "220 ") && !heard(&secure, "STARTTLS"));
        send_message(&secure);
        struct client liar;
        client_begin(&liar, "10.0.0.4", false);
        say(&liar, "\x16\x03\x01 no handshake");
        run_for(10 * SECOND);
        assert_true(liar.over && liar.got.len == 0);
        client_end(&plain);
        client_end(&eager);
        client_end(&secure);
        client_end(&liar);
        world_free();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_without_mail_ends),
        cmocka_unit_test(a_dripped_command_is_no_progress),
        cmocka_unit_test(a_dripped_message_ends_after_an_hour),
        cmocka_unit_test(a_session_that_sends_lives_on),
        cmocka_unit_test(connections_of_a_client_are_counted),
        cmocka_unit_test(connections_of_all_are_counted),
        cmocka_unit_test(what_may_be_on_disk_is_never_denied),
        cmocka_unit_test(the_first_byte_tells_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
