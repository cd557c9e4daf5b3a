// SPDX-License-Identifier: ISC
// The conductor in the simulated world: failover, the retry clock, fairness, doubt, the end of
// mail, orders.
#include "scene.h"

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

static void too_large_for_one_gateway_goes_through_the_next(void **state)
{
    one.final = "552 5.3.4 Message size exceeds fixed limit\r\n";
    two.down = true;
    start(HEAD GATEWAYS);
    send_one("far.example");
    pass(2 * MINUTE);
    assert_int_equal(waiting(), 1); // the next is down, which is no reason to return it
    two.down = false;
    pass(2 * HOUR);
    assert_int_equal(two.mails, 1);
    assert_int_equal(one.reports + two.reports, 0);
}

static void too_large_for_all_gateways_is_returned(void **state)
{
    one.final = two.final = "552 5.3.4 Message size exceeds fixed limit\r\n";
    start(HEAD GATEWAYS);
    send_one("far.example");
    pass(MINUTE);
    assert_in_range(one.asked, 1, 2); // the message, and the report on it, which is refused too
    assert_in_range(two.asked, 1, 2);
    assert_int_equal(waiting(), 0);
}

static void a_full_mailbox_is_asked_again_the_same_way(void **state)
{
    one.rcpt = "452 4.2.2 mailbox full\r\n";
    start(HEAD GATEWAYS);
    send_one("far.example");
    pass(30 * MINUTE);
    assert_in_range(one.asked, 2, 10);
    assert_int_equal(two.asked, 0);
    one.rcpt = NULL;
    pass(2 * HOUR);
    assert_int_equal(one.mails, 1);
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
    send_mail("direct.example", PRIORITY_NORMAL, 3, 0);
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
    assert_in_range(mx.taken[19].at_ms - before, 0, 10 * SECOND);
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
        assert_true(one.taken[i].at_ms - one.taken[i - 60].at_ms >= HOUR - SECOND);
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
    start(HEAD
          "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {rate: 10/min, connections: 1}}\n");
    send_mail("low.example", PRIORITY_LOW, 1, 0);
    for (int i = 0; i < 30; i++)
        send_mail("urgent.example", PRIORITY_URGENT, 1, 0);
    pass(MINUTE);
    one.down = false;
    bool low_early = false, urgent_seen = false;
    for (int i = 0; i < 75000 && one.mails < 20; i++) {
        pass(SECOND / 100);
        low_early = low_early || strstr(one.last, "low.example") != NULL;
        urgent_seen = urgent_seen || strstr(one.last, "urgent.example") != NULL;
    }
    assert_true(urgent_seen);
    assert_true(low_early); // well before the thirty urgent ones are through
}

static void many_recipients_are_split_by_the_gateways_limit(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\", limits: {recipients: 50}}\n");
    send_mail("far.example", PRIORITY_NORMAL, 200, 0);
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
    assert_true(queue_drop(daemon_queue(run.daemon), run.last_id, true, "test", &err));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dead_gateway_is_passed_by_and_comes_back),
        TEST(what_waits_for_both_goes_to_whichever_comes_first),
        TEST(a_quota_refusal_is_the_gateways_and_moves_on),
        TEST(too_large_for_one_gateway_goes_through_the_next),
        TEST(too_large_for_all_gateways_is_returned),
        TEST(a_full_mailbox_is_asked_again_the_same_way),
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
