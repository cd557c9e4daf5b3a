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
    struct names *names = names_new(sessions, &(struct names_settings){0}, &err);
    assert_non_null(names);
    accept_set_names(daemon_.accept, names);
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

static void the_time_of_a_listener_can_be_set(void **state)
{
    static const struct {
        int64_t ms;
        const char *command, *content;
    } cases[] = {
        {20 * SECOND, "no command came for 20 seconds",
         "no part of the message came for 20 seconds"},
        {MINUTE, "no command came for 1 minute;", "no part of the message came for 1 minute;"},
        {30 * MINUTE, "no command came for 30 minutes",
         "no part of the message came for 30 minutes"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client idle, mute;
        begin(9, (struct conf_listener){.timeout_ms = cases[i].ms});
        int64_t from = world_now_ms();
        client_begin(&idle, "10.0.0.1", false);
        client_begin(&mute, "10.0.0.1", false);
        say(&mute, "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubj");
        run_for(cases[i].ms - SECOND);
        assert_false(idle.over || mute.over);
        run_for(cases[i].ms / 2 + 20 * SECOND);
        assert_true(idle.over && mute.over);
        assert_true(idle.over_ms - from < cases[i].ms + 15 * SECOND);
        expect(&idle, cases[i].command);
        expect(&mute, cases[i].content);
        client_end(&idle);
        client_end(&mute);
        world_free();
    }
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
    struct accept_counts n;
    accept_counts(daemon_.accept, "test", &n);
    assert_true(n.connections == 4 && n.turned_away == 1 && n.open == 3);
    for (int i = 0; i < 4; i++)
        client_end(&c[i]);
    // And counted out again.
    run_for(10 * SECOND);
    assert_int_equal(accept_sessions(daemon_.accept), 0);
    accept_counts(daemon_.accept, "test", &n);
    assert_true(n.connections == 4 && n.turned_away == 1 && n.open == 0);
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

// ---- Where senders come from. ----

static void on_stopped(void *ctx)
{
    daemon_.stopped = true;
}

static void stop_daemon(void *ctx)
{
    accept_stop(daemon_.accept, on_stopped, NULL);
}

static void begin_checking(uint64_t seed)
{
    begin(seed, (struct conf_listener){.sender_domain = SENDER_DOMAIN_CHECK});
    world_name_mx("mx.example", 10, "mx.mx.example");
    world_name_address("host.example", "192.0.2.20");
    world_name_address("six.example", "2001:db8::20");
    world_name_mx("null.example", 0, "");
    world_name_text("text.example", NAMES_TXT, "nothing else");
    world_name_status("bad.example", NAMES_MX, NAMES_FAILED);
    world_name_status("forged.example", NAMES_MX, NAMES_BOGUS);
    world_name_text("half.example", NAMES_TXT, "x");
    world_name_status("half.example", NAMES_AAAA, NAMES_FAILED);
}

static void senders_nobody_could_answer_are_refused(void **state)
{
    static const struct {
        const char *sender, *reply;
    } cases[] = {
        {"a@mx.example", "250 2.1.0"},
        {"a@host.example", "250 2.1.0"},
        {"a@six.example", "250 2.1.0"},
        {"", "250 2.1.0"},
        {"a@[192.0.2.1]", "250 2.1.0"},
        {"a@bad.example", "250 2.1.0"},
        {"a@forged.example", "250 2.1.0"},
        {"a@half.example", "250 2.1.0"},
        {"a@none.example", "550 5.1.8 the sender's domain does not exist"},
        {"a@text.example", "550 5.1.8 the sender's domain has neither MX nor address"},
        {"a@null.example", "550 5.7.27 the sender's domain takes no mail (null MX)"},
    };
    struct client c;
    char line[100];
    begin_checking(7);
    client_begin(&c, "10.0.0.1", false);
    say(&c, "EHLO c\r\n");
    run_for(10 * SECOND);
    buf_clear(&c.got);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", cases[i].sender);
        say(&c, line);
        run_for(20 * SECOND);
        expect(&c, cases[i].reply);
        say(&c, "RSET\r\n");
        run_for(10 * SECOND);
        expect(&c, "250 2.0.0");
    }
    // A sender refused is no transaction, and what was sent behind it in one go stays in order.
    say(&c, "MAIL FROM:<a@none.example>\r\nRCPT TO:<c@d>\r\nMAIL FROM:<a@mx.example>\r\n"
            "RCPT TO:<c@d>\r\nDATA\r\n");
    run_for(30 * SECOND);
    const char *said = buf_cstr(&c.got);
    const char *no = strstr(said, "550 5.1.8"), *order = strstr(said, "503 5.5.1");
    const char *yes = strstr(said, "250 2.1.5");
    assert_true(no != NULL && order > no && yes > order && strstr(yes, "354") != NULL);
    client_end(&c);
    world_free();
}

static void no_answer_of_dns_refuses_nobody(void **state)
{
    struct client c;
    for (int slow = 0; slow < 2; slow++) {
        begin_checking(8);
        world_names_dead(true, slow);
        client_begin(&c, "10.0.0.1", false);
        say(&c, "EHLO c\r\n");
        run_for(10 * SECOND);
        say(&c, "MAIL FROM:<a@none.example>\r\nRCPT TO:<c@d>\r\n");
        run_for(MINUTE);
        expect(&c, "250 2.1.5");
        client_end(&c);
        world_free();
    }
}

// Clients that leave, and a daemon that ends, while the domain is looked up.
static void a_look_up_may_be_left_alone(void **state)
{
    for (uint64_t seed = 60; seed < 80; seed++) {
        struct client c[3];
        begin_checking(seed);
        world_names_dead(true, true);
        for (int i = 0; i < 3; i++) {
            client_begin(&c[i], "10.0.0.1", false);
            say(&c[i], "EHLO c\r\n");
        }
        run_for(5 * SECOND);
        for (int i = 0; i < 3; i++)
            say(&c[i], "MAIL FROM:<a@mx.example>\r\n");
        run_for(2 * SECOND);
        client_end(&c[0]);
        run_for(2 * SECOND);
        world_boot(stop_daemon, NULL);
        run_for(MINUTE);
        expect(&c[1], "421 4.3.2 shutting down");
        assert_true(c[1].over && c[2].over && daemon_.stopped);
        assert_int_equal(accept_sessions(daemon_.accept), 0);
        client_end(&c[1]);
        client_end(&c[2]);
        world_free();
    }
}

// ---- A disk that hangs while the daemon is to stop. ----

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
        cmocka_unit_test(the_time_of_a_listener_can_be_set),
        cmocka_unit_test(a_session_that_sends_lives_on),
        cmocka_unit_test(connections_of_a_client_are_counted),
        cmocka_unit_test(connections_of_all_are_counted),
        cmocka_unit_test(senders_nobody_could_answer_are_refused),
        cmocka_unit_test(no_answer_of_dns_refuses_nobody),
        cmocka_unit_test(a_look_up_may_be_left_alone),
        cmocka_unit_test(what_may_be_on_disk_is_never_denied),
        cmocka_unit_test(the_first_byte_tells_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
