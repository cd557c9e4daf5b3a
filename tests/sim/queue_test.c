// SPDX-License-Identifier: ISC
// The conductor in the simulated world: the whole daemon against scripted servers, in virtual time.
#include "base/mem.h"
#include "conf/read.h"
#include "main/daemon.h"
#include "queue/queue_view.h"
#include "sim/world.h"
#include "spool/store.h"
#include "sys/clock.h"
#include "sys/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, TIMES = 4000 };

// ---- Servers that do as they are told ----

static struct server {
    const char *ip;
    const char *greeting, *rcpt, *final; // instead of 220, 250, 250
    const char *only;                    // `rcpt` only for addresses with this part
    bool lose_final, down;
    unsigned connections, asked, mails, rcpts, reports, most_at_once, now;
    int64_t mail_ms[TIMES], asked_ms[TIMES];
    char last[64]; // recipient of the last mail
    struct listener *listener;
} one = {.ip = "10.0.0.1"}, two = {.ip = "10.0.0.2"}, mx = {.ip = "10.0.1.1"},
  dead = {.ip = "10.0.9.9"};
static struct server *const all[] = {&one, &two, &mx, &dead};
enum { SERVERS = sizeof(all) / sizeof(all[0]) };

struct session {
    struct server *server;
    struct stream *stream;
    bool in_data, null_sender;
    unsigned rcpts;
    char to[64];
};

static void say(struct session *s, const char *text)
{
    stream_write(s->stream, text, strlen(text));
}

static void end(struct session *s)
{
    s->server->now--;
    stream_close(&s->stream, true);
    xfree(s);
}

static bool finish(struct session *s)
{
    struct server *v = s->server;
    s->in_data = false;
    bool good = v->final == NULL || v->lose_final;
    if (good && s->null_sender)
        v->reports++;
    if (good && !s->null_sender) {
        if (v->mails < TIMES)
            v->mail_ms[v->mails] = world_now_ms();
        v->mails++;
        v->rcpts += s->rcpts;
        snprintf(v->last, sizeof(v->last), "%s", s->to);
    }
    if (v->lose_final) {
        end(s);
        return false;
    }
    say(s, v->final != NULL ? v->final : "250 2.0.0 stored\r\n");
    return true;
}

static void on_rcpt(struct session *s, struct str line)
{
    struct server *v = s->server;
    if (v->asked < TIMES)
        v->asked_ms[v->asked] = world_now_ms();
    v->asked++;
    snprintf(s->to, sizeof(s->to), "%.*s", STR_FMT(line));
    bool meant = v->only == NULL || strstr(s->to, v->only) != NULL;
    if (v->rcpt != NULL && meant) {
        say(s, v->rcpt);
        return;
    }
    s->rcpts++;
    say(s, "250 2.1.5 yes\r\n");
}

static bool on_line(struct session *s, struct str line)
{
    if (s->in_data)
        return line.len != 3 || line.ptr[0] != '.' || finish(s);
    if (str_istarts(line, STR("EHLO"))) {
        say(s, "250-server\r\n250-DSN\r\n250 8BITMIME\r\n");
    } else if (str_istarts(line, STR("MAIL"))) {
        s->rcpts = 0;
        s->null_sender = str_istarts(line, STR("MAIL FROM:<>"));
        say(s, "250 2.1.0 yes\r\n");
    } else if (str_istarts(line, STR("RCPT"))) {
        on_rcpt(s, line);
    } else if (str_istarts(line, STR("DATA"))) {
        s->in_data = s->rcpts > 0;
        say(s, s->in_data ? "354 go\r\n" : "554 5.5.1 nobody\r\n");
    } else if (str_istarts(line, STR("QUIT"))) {
        end(s);
        return false;
    } else {
        say(s, "250 2.0.0 well\r\n");
    }
    return true;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    size_t taken = 0;
    for (const char *nl; (nl = memchr(bytes + taken, '\n', len - taken)) != NULL;) {
        struct str line = str_make(bytes + taken, (size_t)(nl - bytes) + 1 - taken);
        taken += line.len;
        if (!on_line(ctx, line))
            break;
    }
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        end(ctx);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->server = ctx;
    s->stream = stream;
    s->server->connections++;
    if (++s->server->now > s->server->most_at_once)
        s->server->most_at_once = s->server->now;
    stream_attach(stream, &handler, s);
    say(s, s->server->greeting != NULL ? s->server->greeting : "220 hello\r\n");
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    char text[NET_ADDR_TEXT];
    net_addr_format(to, text);
    for (size_t i = 0; i < SERVERS; i++)
        if (all[i]->down && strstr(text, all[i]->ip) != NULL)
            link->fate = WORLD_LINK_REFUSED;
    if (strstr(text, dead.ip) != NULL)
        link->fate = WORLD_LINK_BLACKHOLE;
}

// ---- The daemon ----

static struct {
    struct daemon *daemon;
    struct loop *conductor;
    const char *config;
    uint64_t last_id;
    bool reloaded, stopped;
} run;

struct store *__real_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err);
struct store *__wrap_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err);
struct store *__wrap_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err)
{
    struct store_settings mine = *settings;
    mine.no_index = true;
    return __real_store_open(&mine, adopt, ctx, err);
}

#define HEAD "hostname: relay.example.org\nspool: /spool\nrun: /run\nloops: 1\n"
#define GATEWAYS                                                                                   \
    "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n  two: {url: \"smtp://10.0.0.2\", priority: "   \
    "low}\n"

static struct conf *read_conf(void)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *conf = conf_read_text("test.yaml", str_of(run.config), &report);
    if (conf == NULL) {
        struct buf text;
        buf_init(&text, 1 << 16);
        conf_report_print(&report, &text);
        fprintf(stderr, "%s\n", buf_cstr(&text));
        abort();
    }
    conf_report_free(&report);
    return conf;
}

static void boot(void *ctx)
{
    struct err err;
    struct conf *conf = read_conf();
    run.conductor = loop_new("conductor");
    run.daemon = daemon_start(conf, run.conductor, &err);
    conf_unref(&conf);
    if (run.daemon == NULL)
        fprintf(stderr, "%s\n", err.text);
    assert_non_null(run.daemon);
    loop_start(run.conductor);
}

static void start(const char *config)
{
    run.config = config;
    assert_int_not_equal(world_boot(boot, NULL), WORLD_CRASHED);
}

static void pass(int64_t ms)
{
    assert_int_not_equal(world_run_until(world_now_ms() + ms, NULL, NULL), WORLD_CRASHED);
}

static void on_reloaded(void *ctx, bool ok, const struct err *err)
{
    assert_true(ok);
    run.reloaded = true;
}

static void do_reload(void *ctx)
{
    struct conf *conf = read_conf();
    daemon_reload(run.daemon, conf, on_reloaded, NULL);
    conf_unref(&conf);
}

static void reload(const char *config)
{
    run.config = config;
    run.reloaded = false;
    world_boot(do_reload, NULL);
    pass(100);
    assert_true(run.reloaded);
}

struct mail {
    const char *to;
    enum envelope_priority priority;
    size_t count; // of recipients: user0@..., user1@...
};

static void do_send(void *ctx)
{
    const struct mail *mail = ctx;
    struct store *store = daemon_store(run.daemon);
    struct arena *arena = arena_new();
    struct envelope e = {
        .sender = STR("sender@home.example"), .client = STR("local"), .priority = mail->priority};
    e.accepted_ms = (int64_t)1 << 40;
    e.count = mail->count > 0 ? mail->count : 1;
    e.rcpts = arena_alloc(arena, e.count * sizeof(*e.rcpts));
    for (size_t i = 0; i < e.count; i++)
        e.rcpts[i].address = str_of(arena_printf(arena, "user%zu@%s", i, mail->to));
    e.accepted_ms = clock_wall_ms();
    static const char content[] = "Subject: a test\r\n\r\nHello.\r\n";
    struct err err;
    struct store_body *body = store_body_begin(store, run.conductor, sizeof(content) - 1);
    assert_int_equal(store_body_append(body, content, sizeof(content) - 1, NULL, NULL, &err), 1);
    run.last_id = store_next_id(store);
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = run.last_id,
                          .wall_ms = e.accepted_ms,
                          .envelope = &e,
                          .body = body};
    store_commit_quietly(store, &op, 1);
    arena_free(&arena);
}

static void send_mail(const char *to, enum envelope_priority priority, size_t rcpts)
{
    struct mail mail = {to, priority, rcpts};
    world_boot(do_send, &mail);
}

static void send_one(const char *to)
{
    send_mail(to, PRIORITY_NORMAL, 1);
}

static struct queue_counts counts;
static void do_count(void *ctx)
{
    queue_counts(daemon_queue(run.daemon), &counts);
}
static uint64_t waiting(void)
{
    world_boot(do_count, NULL);
    return counts.recipients;
}

static int setup(void **state)
{
    world_new(7);
    memset(&run, 0, sizeof(run));
    world_disk_mkdirs("/spool");
    world_disk_mkdirs("/run");
    world_on_connect(decide, NULL);
    world_name_mx("direct.example", 10, "mx.direct.example");
    world_name_address("mx.direct.example", "10.0.1.1");
    world_name_mx("dead.example", 10, "mx.dead.example");
    world_name_address("mx.dead.example", "10.0.9.9");
    world_name_mx("home.example", 10, "mx.home.example");
    world_name_address("mx.home.example", "10.0.1.1");
    for (size_t i = 0; i < SERVERS; i++) {
        const char *ip = all[i]->ip;
        *all[i] = (struct server){.ip = ip};
        struct net_addr at;
        assert_true(net_addr_parse(str_of(ip), 25, &at));
        all[i]->listener = world_listen(&at, on_accepted, all[i]);
    }
    return 0;
}

static void on_stopped(void *ctx)
{
    daemon_free(&run.daemon);
    run.stopped = true;
}
static void do_stop(void *ctx)
{
    daemon_stop(run.daemon, on_stopped, NULL);
}
static void do_end(void *ctx)
{
    loop_free(&run.conductor);
    worker_stop_all();
}

static int teardown(void **state)
{
    if (run.daemon != NULL) {
        world_boot(do_stop, NULL);
        pass(HOUR);
        assert_true(run.stopped);
        world_boot(do_end, NULL);
        assert_int_equal(world_daemon_bytes(), 0);
    }
    for (size_t i = 0; i < SERVERS; i++)
        listener_free(&all[i]->listener);
    world_free();
    return 0;
}

// ---- Failover ----

static void a_dead_gateway_is_passed_by_and_comes_back(void **state)
{
    one.down = true;
    start(HEAD GATEWAYS);
    for (int i = 0; i < 10; i++) {
        send_one("far.example");
        pass(20 * SECOND);
    }
    assert_int_equal(two.mails, 10);
    one.down = false;
    pass(10 * MINUTE);
    for (int i = 0; i < 10; i++) {
        send_one("far.example");
        pass(SECOND);
    }
    assert_in_range(one.mails, 9, 10); // at most the one that proved it was on its way elsewhere
    assert_int_equal(one.mails + two.mails, 20);
}

static void what_waits_for_both_goes_to_whichever_comes_first(void **state)
{
    one.down = two.down = true;
    start(HEAD GATEWAYS);
    for (int i = 0; i < 50; i++)
        send_one("far.example");
    pass(HOUR);
    assert_int_equal(waiting(), 50);
    two.down = false;
    pass(11 * MINUTE);
    assert_int_equal(two.mails, 50);
    assert_int_equal(waiting(), 0);
}

static void a_quota_refusal_is_the_gateways_and_moves_on(void **state)
{
    one.final = "550 5.4.5 Daily user sending quota exceeded\r\n";
    start(HEAD GATEWAYS);
    for (int i = 0; i < 5; i++) {
        send_one("far.example");
        pass(MINUTE);
    }
    assert_int_equal(two.mails, 5);
    assert_int_equal(two.reports + one.reports, 0);
    assert_int_equal(one.asked, 1); // and it is left alone for an hour
}

static void a_reload_takes_waiting_mail_off_a_vanished_gateway(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    for (int i = 0; i < 2000; i++)
        send_one("far.example");
    pass(MINUTE);
    reload(HEAD "gateways:\n  two: {url: \"smtp://10.0.0.2\"}\n");
    pass(MINUTE);
    assert_int_equal(two.mails, 2000);
    assert_int_equal(waiting(), 0);
}

static void a_reload_asks_a_resting_gateway_at_once(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    send_one("far.example");
    pass(2 * HOUR);
    one.down = false;
    reload(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    pass(5 * SECOND);
    assert_int_equal(one.mails, 1);
}

static void with_all_disabled_mail_waits_and_goes_when_one_is_back(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", enabled: no}\n");
    send_one("far.example");
    pass(HOUR);
    assert_int_equal(waiting(), 1);
    reload(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    pass(2 * MINUTE);
    assert_int_equal(one.mails, 1);
}

// ---- The retry clock ----

static void greylisting_is_retried_by_the_clock_and_not_earlier(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [5m, 10m]}\n");
    send_one("direct.example");
    pass(16 * MINUTE + 40 * SECOND);
    assert_int_equal(mx.asked, 3);
    assert_in_range(mx.asked_ms[1] - mx.asked_ms[0], 5 * MINUTE, 5 * MINUTE + 32 * SECOND);
    assert_in_range(mx.asked_ms[2] - mx.asked_ms[1], 10 * MINUTE, 11 * MINUTE + 2 * SECOND);
    mx.rcpt = NULL;
    pass(12 * MINUTE);
    assert_int_equal(mx.mails, 1);
}

static void one_deferred_recipient_does_not_repeat_the_others(void **state)
{
    mx.rcpt = "450 4.2.0 later\r\n";
    mx.only = "user1@";
    start(HEAD "queue: {retry: [5m]}\n");
    send_mail("direct.example", PRIORITY_NORMAL, 3);
    pass(MINUTE);
    assert_int_equal(mx.rcpts, 2);
    assert_int_equal(waiting(), 1);
    mx.rcpt = NULL;
    pass(6 * MINUTE);
    assert_int_equal(mx.rcpts, 3);
    assert_int_equal(mx.mails, 2);
}

static void a_restart_keeps_the_time_of_the_next_attempt(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [30m]}\n");
    send_one("direct.example");
    pass(MINUTE);
    world_crash(WORLD_KILLED);
    pass(MINUTE);
    start(run.config);
    pass(25 * MINUTE);
    assert_int_equal(mx.asked, 1);
    pass(10 * MINUTE);
    assert_int_equal(mx.asked, 2);
}

static void a_clock_set_back_does_not_stop_retries(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [10m]}\n");
    send_one("direct.example");
    pass(MINUTE);
    world_jump_clock(-3 * (int64_t)DAY);
    pass(12 * MINUTE);
    assert_int_equal(mx.asked, 2);
}

static void a_clock_set_forward_returns_nothing(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [10m], expire: 2d}\n");
    for (int i = 0; i < 10; i++)
        send_one("direct.example");
    pass(MINUTE);
    world_jump_clock(30 * (int64_t)DAY);
    pass(2 * MINUTE);
    assert_int_equal(mx.reports, 0);
    assert_int_equal(waiting(), 10);
    mx.rcpt = NULL;
    pass(12 * MINUTE);
    assert_int_equal(mx.mails, 10);
}

// ---- Fairness ----

static void a_dead_destination_does_not_delay_another(void **state)
{
    start(HEAD "queue: {connections: 20}\n");
    for (int i = 0; i < 1000; i++)
        send_one("dead.example");
    pass(SECOND);
    int64_t before = world_now_ms();
    for (int i = 0; i < 20; i++)
        send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(mx.mails, 20);
    assert_in_range(mx.mail_ms[19] - before, 0, 10 * SECOND);
    assert_int_equal(waiting(), 1000);
}

static void one_connection_in_all_is_enough_for_direct_delivery(void **state)
{
    start(HEAD "queue: {connections: 1}\n");
    for (int i = 0; i < 5; i++)
        send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(mx.mails, 5);
    assert_int_equal(mx.most_at_once, 1);
}

static void a_rate_holds_in_every_window(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {rate: 60/h}}\n");
    for (int i = 0; i < 200; i++)
        send_one("far.example");
    pass(3 * HOUR + 30 * MINUTE);
    assert_int_equal(one.mails, 200);
    for (unsigned i = 60; i < 200; i++)
        assert_true(one.mail_ms[i] - one.mail_ms[i - 60] >= HOUR - SECOND);
}

static void too_many_connections_means_fewer_not_none(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {connections: 3}}\n");
    for (int i = 0; i < 100; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 100);
    assert_true(one.most_at_once <= 3);
}

static void the_urgent_go_first_but_the_low_do_not_starve(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {rate: 10/min, connections: 1}}\n");
    send_mail("low.example", PRIORITY_LOW, 1);
    for (int i = 0; i < 30; i++)
        send_mail("urgent.example", PRIORITY_URGENT, 1);
    pass(MINUTE);
    one.down = false;
    bool low_early = false, urgent_seen = false;
    for (int i = 0; i < 1500 && one.mails < 20; i++) {
        pass(SECOND / 2);
        low_early = low_early || strstr(one.last, "low.example") != NULL;
        urgent_seen = urgent_seen || strstr(one.last, "urgent.example") != NULL;
    }
    assert_true(urgent_seen);
    assert_true(low_early); // well before the thirty urgent ones are through
}

static void many_recipients_are_split_by_the_gateways_limit(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {recipients: 50}}\n");
    send_mail("far.example", PRIORITY_NORMAL, 200);
    pass(MINUTE);
    assert_int_equal(one.mails, 4);
    assert_int_equal(one.rcpts, 200);
}

// ---- Doubt ----

static void in_doubt_no_other_gateway_gets_it(void **state)
{
    one.lose_final = true;
    start(HEAD GATEWAYS "queue: {retry: [1m], doubt_wait: 30m}\n");
    send_one("far.example");
    pass(10 * SECOND);
    assert_int_equal(one.mails, 1);
    one.lose_final = false;
    one.rcpt = "450 4.2.0 not now\r\n";
    pass(28 * MINUTE);
    assert_int_equal(two.connections, 0);
    assert_in_range(one.asked, 10, 40); // by the clock, not in haste
    pass(10 * MINUTE);
    assert_int_equal(two.mails, 1); // the wait is bounded
    assert_int_equal(waiting(), 0);
}

// ---- The end ----

static void expiry_by_time_gives_one_report(void **state)
{
    mx.rcpt = "450 4.2.0 later\r\n";
    mx.only = "user";
    start(HEAD "queue: {retry: [10m], expire: 6h, warn: never}\n");
    send_one("direct.example");
    pass(5 * HOUR + 50 * MINUTE);
    assert_int_equal(mx.reports, 0);
    pass(30 * MINUTE);
    assert_int_equal(mx.reports, 1);
    assert_int_equal(waiting(), 0);
    pass(DAY);
    assert_int_equal(mx.reports, 1);
}

static void behind_a_dead_gateway_all_expire_in_time(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\nroutes:\n"
               "  - {to: [\"*@home.example\"], via: [direct]}\n  - {via: [one]}\n"
               "queue: {retry: [10m], expire: 6h, warn: never}\n");
    for (int i = 0; i < 90; i++)
        send_one("far.example");
    pass(6 * HOUR + 2 * MINUTE);
    assert_int_equal(mx.reports, 90);
    assert_int_equal(waiting(), 0);
}

static void expiry_by_tries_gives_one_report(void **state)
{
    mx.rcpt = "450 4.2.0 later\r\n";
    mx.only = "user";
    start(HEAD "queue: {retry: [1m], expire_tries: 3, warn: never}\n");
    send_one("direct.example");
    pass(HOUR);
    assert_int_equal(mx.asked, 3 + 1); // and the report's
    assert_int_equal(mx.reports, 1);
}

static void the_notice_of_delay_comes_once(void **state)
{
    mx.rcpt = "450 4.2.0 later\r\n";
    mx.only = "user";
    start(HEAD "queue: {retry: [10m], expire: 5d, warn: 1h}\n");
    send_one("direct.example");
    pass(55 * MINUTE);
    assert_int_equal(mx.reports, 0);
    pass(10 * MINUTE);
    assert_int_equal(mx.reports, 1);
    pass(DAY);
    assert_int_equal(mx.reports, 1);
}

static void reports_have_a_rate_and_none_is_lost(void **state)
{
    one.rcpt = "550 5.1.1 nobody\r\n";
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\nroutes:\n"
               "  - {to: [\"*@home.example\"], via: [direct]}\n  - {via: [one]}\n");
    for (int i = 0; i < 500; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_in_range(mx.reports, 100, 100 + 125);
    assert_int_equal(one.asked, 500);
    pass(5 * MINUTE);
    assert_int_equal(mx.reports, 500);
    assert_int_equal(one.asked, 500);
    assert_int_equal(waiting(), 0);
}

// ---- Orders ----

static void do_hold(void *ctx)
{
    assert_true(queue_hold(daemon_queue(run.daemon), run.last_id, "test"));
}
static void do_release(void *ctx)
{
    assert_true(queue_release(daemon_queue(run.daemon), run.last_id, "test"));
}
static void do_drop(void *ctx)
{
    struct err err;
    assert_true(queue_drop(daemon_queue(run.daemon), run.last_id, "test", &err));
}
static void do_retry(void *ctx)
{
    assert_true(queue_retry(daemon_queue(run.daemon), run.last_id));
}

static void held_mail_waits_for_its_release(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    send_one("far.example");
    pass(MINUTE);
    world_boot(do_hold, NULL);
    one.down = false;
    pass(DAY);
    assert_int_equal(one.mails, 0);
    world_crash(WORLD_POWER_CUT);
    start(run.config);
    pass(HOUR);
    assert_int_equal(one.mails, 0);
    world_boot(do_release, NULL);
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
}

static void dropped_mail_is_gone_and_retried_mail_goes_at_once(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    send_one("dropped.example");
    pass(MINUTE);
    world_boot(do_drop, NULL);
    send_one("kept.example");
    pass(3 * HOUR);
    assert_int_equal(waiting(), 1);
    one.down = false;
    world_boot(do_retry, NULL);
    pass(SECOND);
    assert_int_equal(one.mails, 1);
    assert_non_null(strstr(one.last, "kept"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dead_gateway_is_passed_by_and_comes_back),
        TEST(what_waits_for_both_goes_to_whichever_comes_first),
        TEST(a_quota_refusal_is_the_gateways_and_moves_on),
        TEST(a_reload_takes_waiting_mail_off_a_vanished_gateway),
        TEST(a_reload_asks_a_resting_gateway_at_once),
        TEST(with_all_disabled_mail_waits_and_goes_when_one_is_back),
        TEST(greylisting_is_retried_by_the_clock_and_not_earlier),
        TEST(one_deferred_recipient_does_not_repeat_the_others),
        TEST(a_restart_keeps_the_time_of_the_next_attempt),
        TEST(a_clock_set_back_does_not_stop_retries),
        TEST(a_clock_set_forward_returns_nothing),
        TEST(a_dead_destination_does_not_delay_another),
        TEST(one_connection_in_all_is_enough_for_direct_delivery),
        TEST(a_rate_holds_in_every_window),
        TEST(too_many_connections_means_fewer_not_none),
        TEST(the_urgent_go_first_but_the_low_do_not_starve),
        TEST(many_recipients_are_split_by_the_gateways_limit),
        TEST(in_doubt_no_other_gateway_gets_it),
        TEST(expiry_by_time_gives_one_report),
        TEST(behind_a_dead_gateway_all_expire_in_time),
        TEST(expiry_by_tries_gives_one_report),
        TEST(the_notice_of_delay_comes_once),
        TEST(reports_have_a_rate_and_none_is_lost),
        TEST(held_mail_waits_for_its_release),
        TEST(dropped_mail_is_gone_and_retried_mail_goes_at_once),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
