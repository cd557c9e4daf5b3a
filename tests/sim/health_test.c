// SPDX-License-Identifier: ISC
// Gateways that fall ill and recover, networks that lie, and trials by hand.
#include "scene.h"

#include "base/mem.h"
#include "sys/log.h"

#include <stdio.h>
#include <string.h>

#define ONE                                                                                        \
    "queue: {warn: 0s, retry: [1m, 5m, 30m]}\ngateways:\n  one: {url: \"smtp://10.0.0.1\"}\n"
#define BOTH ONE "  two: {url: \"smtp://10.0.0.2\", priority: low}\n"

static void no_mail_is_risked_with_a_gateway_that_is_ill(void **state)
{
    start(HEAD BOTH);
    one.greeting = "421 4.3.2 not now\r\n";
    for (int i = 0; i < 20; i++) {
        send_one("far.example");
        pass(MINUTE);
    }
    // The first found out; all others went the other way, none waited.
    assert_int_equal(two.mails, 20);
    assert_int_equal(one.mails, 0);
    assert_int_equal(waiting(), 0);
    const struct queue_gateway_view *v = gateway_view("one");
    assert_true(v->score < 1000);
    assert_true(v->probe_ms > 0); // it was asked meanwhile
    one.greeting = NULL;
    pass(10 * MINUTE);
    for (int i = 0; i < 10; i++) {
        send_one("far.example");
        pass(SECOND);
    }
    assert_in_range(one.mails, 9, 10);
}

static void three_failures(struct conf *conf)
{
    tuned_gateway(conf, "one")->health.failures = 3;
}

static void the_breaker_opens_after_so_many_troubles(void **state)
{
    start_tuned(HEAD BOTH, three_failures);
    one.fate = WORLD_LINK_REFUSED;
    for (int i = 1; i <= 3; i++) {
        assert_string_not_equal(gateway_view("one")->state, "resting");
        send_one("far.example");
        pass(SECOND * 2);
        assert_int_equal(two.mails, i);
    }
    assert_string_equal(gateway_view("one")->state, "resting");
}

static void hold_10m(struct conf *conf)
{
    tuned_gateway(conf, "one")->health.hold_ms = 10 * MINUTE;
}

static void mail_goes_back_only_when_it_was_well_for_a_while(void **state)
{
    start_tuned(HEAD BOTH, hold_10m);
    one.fate = WORLD_LINK_REFUSED;
    send_one("far.example");
    pass(MINUTE);
    // It comes and goes, never for ten minutes.
    for (int i = 0; i < 10; i++) {
        one.fate = WORLD_LINK_UP;
        pass(5 * MINUTE);
        send_one("far.example");
        pass(SECOND);
        one.fate = WORLD_LINK_REFUSED;
        pass(MINUTE);
    }
    assert_int_equal(one.mails, 0);
    assert_int_equal(two.mails, 11);
    one.fate = WORLD_LINK_UP;
    pass(20 * MINUTE);
    for (int i = 0; i < 3; i++) {
        send_one("far.example");
        pass(SECOND);
    }
    assert_in_range(one.mails, 2, 3);
}

static void each_minute(struct conf *conf)
{
    tuned_gateway(conf, "one")->health.every_ms = MINUTE;
    tuned_gateway(conf, "one")->health.depth = PROBE_EHLO;
}

static void an_idle_gateway_is_asked_before_mail_comes(void **state)
{
    start_tuned(HEAD BOTH, each_minute);
    pass(10 * MINUTE);
    assert_in_range(one.sessions, 8, 11);
    one.fate = WORLD_LINK_REFUSED;
    pass(3 * MINUTE);
    assert_string_equal(gateway_view("one")->state, "resting");
    unsigned before = one.connections;
    send_one("far.example");
    pass(SECOND * 2);
    assert_int_equal(two.mails, 1);
    assert_int_equal(one.connections, before);
    one.fate = WORLD_LINK_UP;
    pass(10 * MINUTE);
    send_one("far.example");
    pass(SECOND * 2);
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
        send_mail(name, PRIORITY_NORMAL, 1, 0);
    }
}

static void a_blocked_port_is_the_networks_fault(void **state)
{
    start(HEAD DIRECT);
    send_to_silent(5);
    pass(10 * MINUTE);
    const struct queue_gateway_view *v = gateway_view("direct");
    assert_non_null(strstr(v->why, "port 25 is blocked"));
    assert_false(v->usable);
    // Nobody knocks at a door that is shut.
    unsigned before = mx.connections;
    send_mail("direct.example", PRIORITY_NORMAL, 1, 0);
    pass(MINUTE);
    assert_int_equal(mx.connections, before);
    // Until it is looked at again.
    pass(20 * MINUTE);
    assert_int_equal(mx.mails, 1);
    v = gateway_view("direct");
    assert_null(strstr(v->why, "blocked"));
}

static void one_silent_destination_is_its_own(void **state)
{
    start(HEAD DIRECT);
    send_to_silent(2);
    pass(5 * MINUTE);
    send_mail("direct.example", PRIORITY_NORMAL, 1, 0);
    pass(MINUTE);
    assert_int_equal(mx.mails, 1);
    assert_null(strstr(gateway_view("direct")->why, "blocked"));
}

// ---- Networks that lie ----

static void each_minute_wanted(struct conf *conf)
{
    each_minute(conf);
    tuned_gateway(conf, "one")->tls = TLS_WANTED;
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
    start_tuned(HEAD BOTH, each_minute_wanted);
    pass(5 * MINUTE);
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
    // The hotel's network answers for every server.
    one.greeting = "220 gateway.hotel.example\r\n";
    one.ehlo = "250 gateway.hotel.example\r\n";
    move_to("10.99.0.7/24");
    pass(MINUTE);
    const struct queue_gateway_view *v = gateway_view("one");
    assert_non_null(strstr(v->last_trouble, "intercepted"));
    send_one("far.example");
    pass(20 * MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(two.mails, 1);
    // Home again.
    one.greeting = "220 mail.provider.example ESMTP\r\n";
    one.ehlo = "250-mail.provider.example\r\n250 AUTH PLAIN\r\n";
    move_to("192.0.2.10/24");
    pass(10 * MINUTE);
    send_one("far.example");
    pass(MINUTE);
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
    trial_began = queue_try(daemon_queue(run.daemon), &trial, &trial_err);
}

static void do_forget(void *ctx)
{
    arena_free(&trial_arena);
}

static void try_it(const char *gateway, enum conf_probe_depth depth, const char *rcpt)
{
    trial = (struct queue_trial){.gateway = gateway, .depth = depth, .rcpt = str_of(rcpt)};
    world_boot(do_try, NULL);
    pass(2 * MINUTE);
    assert_int_equal(tried, trial_began);
    world_boot(do_forget, NULL);
}

static void a_trial_tells_what_is_wrong_and_what_to_do(void **state)
{
    start(HEAD BOTH);
    try_it("one", PROBE_EHLO, "");
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_non_null(strstr(trial.facts, "10.0.0.1"));
    try_it("one", PROBE_EHLO, "me@far.example");
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_int_equal(one.mails, 1);
    assert_non_null(strstr(one.last, "me@far.example"));
    assert_int_equal(waiting(), 0);
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
    tuned_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 1000;
}

static void a_trial_waits_until_its_lease_is_on_disk(void **state)
{
    start_tuned(HEAD BOTH, limited);
    try_it("one", PROBE_EHLO, "me@far.example");
    assert_true(trial_began);
    assert_int_equal(trial.outcome.class, OUTCOME_OK);
    assert_int_equal(one.mails, 1);
    assert_int_equal(gateway_view("one")->quotas[0].used, 1);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL + 1, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        TEST(no_mail_is_risked_with_a_gateway_that_is_ill),
        TEST(the_breaker_opens_after_so_many_troubles),
        TEST(mail_goes_back_only_when_it_was_well_for_a_while),
        TEST(an_idle_gateway_is_asked_before_mail_comes),
        TEST(a_blocked_port_is_the_networks_fault),
        TEST(one_silent_destination_is_its_own),
        TEST(an_interceptor_gets_no_mail),
        TEST(a_trial_tells_what_is_wrong_and_what_to_do),
        TEST(a_trial_waits_until_its_lease_is_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
