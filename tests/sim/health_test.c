// SPDX-License-Identifier: ISC
// Gateways that fall ill and recover, networks that lie, and trials by hand.
#include "small_world.h"

#include "base/mem.h"
#include "sys/log.h"

#include <stdio.h>
#include <string.h>

#define ONE                                                                                        \
    "queue: {warn: 0s, retry: [1m, 5m, 30m]}\ngateways:\n  one: {url: \"smtp://10.0.0.1\"}\n"
#define BOTH ONE "  two: {url: \"smtp://10.0.0.2\", priority: low}\n"

static int setup(void **state)
{
    small_new(7);
    world_set_zone(0);
    return 0;
}

static int teardown(void **state)
{
    small_free();
    return 0;
}

static void no_mail_is_risked_with_a_gateway_that_is_ill(void **state)
{
    small_start(HEAD BOTH, NULL);
    one.greeting = "421 4.3.2 not now\r\n";
    for (int i = 0; i < 20; i++) {
        small_send_one();
        small_pass(MINUTE);
    }
    // The first found out; all others went the other way, none waited.
    assert_int_equal(two.mails, 20);
    assert_int_equal(one.mails, 0);
    assert_int_equal(small_waiting(), 0);
    struct queue_gateway_view *v = small_gateway_view("one");
    assert_true(v->score < 1000);
    assert_true(v->probe_ms > 0); // it was asked meanwhile
    one.greeting = NULL;
    small_pass(10 * MINUTE);
    for (int i = 0; i < 10; i++) {
        small_send_one();
        small_pass(SECOND);
    }
    assert_in_range(one.mails, 9, 10);
}

static void three_failures(struct conf *conf)
{
    small_gateway(conf, "one")->health.failures = 3;
}

static void the_breaker_opens_after_so_many_troubles(void **state)
{
    small_start(HEAD BOTH, three_failures);
    one.fate = WORLD_LINK_REFUSED;
    for (int i = 1; i <= 3; i++) {
        assert_string_not_equal(small_gateway_view("one")->state, "resting");
        small_send_one();
        small_pass(SECOND * 2);
        assert_int_equal(two.mails, i);
    }
    assert_string_equal(small_gateway_view("one")->state, "resting");
}

static void hold_10m(struct conf *conf)
{
    small_gateway(conf, "one")->health.hold_ms = 10 * MINUTE;
}

static void mail_goes_back_only_when_it_was_well_for_a_while(void **state)
{
    small_start(HEAD BOTH, hold_10m);
    one.fate = WORLD_LINK_REFUSED;
    small_send_one();
    small_pass(MINUTE);
    // It comes and goes, never for ten minutes.
    for (int i = 0; i < 10; i++) {
        one.fate = WORLD_LINK_UP;
        small_pass(5 * MINUTE);
        small_send_one();
        small_pass(SECOND);
        one.fate = WORLD_LINK_REFUSED;
        small_pass(MINUTE);
    }
    assert_int_equal(one.mails, 0);
    assert_int_equal(two.mails, 11);
    one.fate = WORLD_LINK_UP;
    small_pass(20 * MINUTE);
    for (int i = 0; i < 3; i++) {
        small_send_one();
        small_pass(SECOND);
    }
    assert_in_range(one.mails, 2, 3);
}

static void each_minute(struct conf *conf)
{
    small_gateway(conf, "one")->health.every_ms = MINUTE;
    small_gateway(conf, "one")->health.depth = PROBE_EHLO;
}

static void an_idle_gateway_is_asked_before_mail_comes(void **state)
{
    small_start(HEAD BOTH, each_minute);
    small_pass(10 * MINUTE);
    assert_in_range(one.sessions, 8, 11);
    one.fate = WORLD_LINK_REFUSED;
    small_pass(3 * MINUTE);
    assert_string_equal(small_gateway_view("one")->state, "resting");
    unsigned before = one.connections;
    small_send_one();
    small_pass(SECOND * 2);
    assert_int_equal(two.mails, 1);
    assert_int_equal(one.connections, before);
    one.fate = WORLD_LINK_UP;
    small_pass(10 * MINUTE);
    small_send_one();
    small_pass(SECOND * 2);
    assert_int_equal(one.mails, 1);
}

#define DIRECT "queue: {warn: 0s, retry: [1m, 5m]}\n"

static void send_to_silent(int count)
{
    char name[64], host[64];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "silent%d.example", i);
        snprintf(host, sizeof(host), "mx.silent%d.example", i);
        world_name_mx(name, 10, host);
        world_name_address(host, "10.7.7.7"); // nobody there
        small_send(name, PRIORITY_NORMAL, 1, 0);
    }
}

static void a_blocked_port_is_the_networks_fault(void **state)
{
    small_start(HEAD DIRECT, NULL);
    send_to_silent(5);
    small_pass(10 * MINUTE);
    struct queue_gateway_view *v = small_gateway_view("direct");
    assert_non_null(strstr(v->why, "port 25 is blocked"));
    assert_false(v->usable);
    // Nobody knocks at a door that is shut.
    unsigned before = mx.connections;
    small_send("direct.example", PRIORITY_NORMAL, 1, 0);
    small_pass(MINUTE);
    assert_int_equal(mx.connections, before);
    // Until it is looked at again.
    small_pass(20 * MINUTE);
    assert_int_equal(mx.mails, 1);
    v = small_gateway_view("direct");
    assert_null(strstr(v->why, "blocked"));
}

static void one_silent_destination_is_its_own(void **state)
{
    small_start(HEAD DIRECT, NULL);
    send_to_silent(2);
    small_pass(5 * MINUTE);
    small_send("direct.example", PRIORITY_NORMAL, 1, 0);
    small_pass(MINUTE);
    assert_int_equal(mx.mails, 1);
    assert_null(strstr(small_gateway_view("direct")->why, "blocked"));
}

// ---- Networks that lie ----

static void each_minute_wanted(struct conf *conf)
{
    each_minute(conf);
    small_gateway(conf, "one")->tls = TLS_WANTED;
}

static void move_to(const char *address)
{
    const char *const addresses[] = {address, NULL};
    world_link_set("eth0", "", addresses, true);
}

static void an_interceptor_gets_no_mail(void **state)
{
    one.greeting = "220 mail.provider.example ESMTP\r\n";
    one.ehlo = "250-mail.provider.example\r\n250 AUTH PLAIN\r\n";
    small_start(HEAD BOTH, each_minute_wanted);
    small_pass(5 * MINUTE);
    small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 1);
    // The hotel's network answers for every server.
    one.greeting = "220 gateway.hotel.example\r\n";
    one.ehlo = "250 gateway.hotel.example\r\n";
    move_to("10.99.0.7/24");
    small_pass(MINUTE);
    struct queue_gateway_view *v = small_gateway_view("one");
    assert_non_null(strstr(v->last_trouble, "intercepted"));
    small_send_one();
    small_pass(20 * MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(two.mails, 1);
    // Home again.
    one.greeting = "220 mail.provider.example ESMTP\r\n";
    one.ehlo = "250-mail.provider.example\r\n250 AUTH PLAIN\r\n";
    move_to("192.0.2.10/24");
    small_pass(10 * MINUTE);
    small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 2);
}

// ---- Trials ----

static struct queue_trial trial;
static struct arena *trial_arena;
static bool tried, trial_began;
static struct err trial_err;
static char verdict[512];

static void on_tried(struct queue_trial *t)
{
    tried = true;
    snprintf(verdict, sizeof(verdict), "%s", t->verdict);
    buf_free(&t->transcript);
}

static void do_try(void *ctx)
{
    trial.arena = trial_arena = arena_new();
    trial.done = on_tried;
    tried = false;
    trial_began = queue_try(small_queue(), &trial, &trial_err);
}

static void do_forget(void *ctx)
{
    arena_free(&trial_arena);
}

static void try_it(const char *gateway, enum conf_probe_depth depth, const char *rcpt)
{
    trial = (struct queue_trial){.gateway = gateway, .depth = depth, .rcpt = str_of(rcpt)};
    world_boot(do_try, NULL);
    small_pass(2 * MINUTE);
    assert_int_equal(tried, trial_began);
    world_boot(do_forget, NULL);
}

static void a_trial_tells_what_is_wrong_and_what_to_do(void **state)
{
    small_start(HEAD BOTH, NULL);
    try_it("one", PROBE_EHLO, "");
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_non_null(strstr(trial.facts, "10.0.0.1"));
    try_it("one", PROBE_EHLO, "me@far.example");
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_int_equal(one.mails, 1);
    assert_non_null(strstr(one.last, "me@far.example"));
    assert_int_equal(small_waiting(), 0);
    one.fate = WORLD_LINK_REFUSED;
    try_it("one", PROBE_EHLO, "");
    assert_int_equal(trial.outcome.class, OUTCOME_NET);
    assert_non_null(strstr(verdict, "nobody listens"));
    one.fate = WORLD_LINK_BLACKHOLE;
    try_it("one", PROBE_EHLO, "");
    assert_non_null(strstr(verdict, "filtered"));
    two.mail = "535 5.7.8 Username and Password not accepted. google\r\n";
    try_it("two", PROBE_EHLO, "me@far.example");
    assert_int_not_equal(trial.outcome.class, OUTCOME_OK);
    try_it("three", PROBE_EHLO, "");
    assert_false(trial_began);
    assert_non_null(strstr(trial_err.text, "no gateway named three"));
}

static void limited(struct conf *conf)
{
    small_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 1000;
}

static void a_trial_waits_until_its_lease_is_on_disk(void **state)
{
    small_start(HEAD BOTH, limited);
    try_it("one", PROBE_EHLO, "me@far.example");
    assert_true(trial_began);
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_int_equal(one.mails, 1);
    assert_int_equal(small_gateway_view("one")->quotas[0].used, 1);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL + 1, LOG_TEXT);
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(no_mail_is_risked_with_a_gateway_that_is_ill),
        T(the_breaker_opens_after_so_many_troubles),
        T(mail_goes_back_only_when_it_was_well_for_a_while),
        T(an_idle_gateway_is_asked_before_mail_comes),
        T(a_blocked_port_is_the_networks_fault),
        T(one_silent_destination_is_its_own),
        T(an_interceptor_gets_no_mail),
        T(a_trial_tells_what_is_wrong_and_what_to_do),
        T(a_trial_waits_until_its_lease_is_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
