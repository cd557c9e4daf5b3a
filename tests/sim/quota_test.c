// SPDX-License-Identifier: ISC
// Allowances of gateways: never overrun, whatever happens, and given back when nothing was taken.
#include "scene.h"

#include "base/buf.h"
#include "spool/state.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdio.h>
#include <string.h>

#define ONE                                                                                        \
    "queue: {warn: 0s, retry: [1m, 5m, 30m]}\ngateways:\n  one: {url: \"smtp://10.0.0.1\"}\n"
#define BOTH ONE "  two: {url: \"smtp://10.0.0.2\", priority: low}\n"

// The most that one took within any window, or any calendar day of UTC.
static unsigned most_within(const struct server *s, int64_t window_ms)
{
    unsigned most = 0, first = 0;
    for (unsigned i = 0; i < s->mails; i++) {
        while (s->taken[i].at_ms - s->taken[first].at_ms >= window_ms)
            first++;
        if (i - first + 1 > most)
            most = i - first + 1;
    }
    return most;
}

static unsigned most_in_a_day(const struct server *s, int64_t offset_ms)
{
    unsigned most = 0, now = 0;
    int64_t day = -1;
    for (unsigned i = 0; i < s->mails; i++) {
        int64_t d = (s->taken[i].wall_ms + offset_ms) / DAY;
        now = d == day ? now + 1 : 1;
        day = d;
        if (now > most)
            most = now;
    }
    return most;
}

static void per_day_10(struct conf *conf)
{
    tuned_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 10;
}

static void a_day_has_its_allowance_and_the_next_another(void **state)
{
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_int_equal(waiting(), 15);
    pass(DAY);
    assert_int_equal(one.mails, 20);
    // It went at once when the day began, in the first minute.
    assert_in_range(one.taken[10].wall_ms % DAY, 0, MINUTE);
    pass(DAY);
    assert_int_equal(one.mails, 25);
    assert_int_equal(most_in_a_day(&one, 0), 10);
    assert_int_equal(one.reports, 0);
}

static void days_are_those_of_the_zone(void **state)
{
    world_set_zone(-8 * 60);
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 15; i++)
        send_one("far.example");
    pass(DAY);
    assert_int_equal(one.mails, 15);
    assert_in_range((one.taken[10].wall_ms - 8 * HOUR) % DAY, 0, MINUTE);
}

static void per_day_10_in_india(struct conf *conf)
{
    per_day_10(conf);
    tuned_gateway(conf, "one")->quota_zone = "+05:30";
}

static void a_gateway_may_have_a_zone_of_its_own(void **state)
{
    start_tuned(HEAD ONE, per_day_10_in_india);
    for (int i = 0; i < 15; i++)
        send_one("far.example");
    pass(MINUTE);
    stop();
    restart();
    pass(DAY);
    assert_int_equal(one.mails, 15);
    assert_in_range((one.taken[10].wall_ms + 11 * HOUR / 2) % DAY, 0, MINUTE);
}

static void a_traveller_gets_no_second_day(void **state)
{
    static const int zones[] = {-8 * 60, 90, 13 * 60, 0};
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        send_one("far.example");
    pass(MINUTE);
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        stop();
        world_set_zone(zones[i]);
        restart();
        pass(MINUTE);
        assert_int_equal(one.mails, 10);
    }
    pass(DAY);
    assert_int_equal(one.mails, 20);
}

static void the_rest_takes_another_way(void **state)
{
    start_tuned(HEAD BOTH, per_day_10);
    for (int i = 0; i < 25; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_int_equal(two.mails, 15);
    pass(DAY);
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 11);
}

static void with_reserve(struct conf *conf)
{
    per_day_10(conf);
    tuned_gateway(conf, "one")->reserve_percent = 20;
}

static void the_reserve_is_for_urgent_mail(void **state)
{
    start_tuned(HEAD ONE, with_reserve);
    for (int i = 0; i < 20; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 8);
    for (int i = 0; i < 5; i++)
        send_mail("urgent.example", PRIORITY_URGENT, 1, 0);
    pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_non_null(strstr(one.last, "urgent"));
    const struct queue_gateway_view *v = gateway_view("one");
    assert_int_equal(v->quota_count, 1);
    assert_int_equal(v->quotas[0].used, 10);
    assert_int_equal(v->quotas[0].limit, 10);
    assert_int_equal(v->quotas[0].reserve, 2);
    assert_true(v->quotas[0].exhausts_ms > 0);
}

static void what_was_not_taken_is_given_back(void **state)
{
    one.final = "451 4.3.0 not now\r\n";
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 10; i++)
        send_one("far.example");
    pass(HOUR);
    assert_int_equal(one.mails, 0);
    one.fate = WORLD_LINK_REFUSED;
    pass(HOUR);
    one.fate = WORLD_LINK_UP;
    one.final = NULL;
    pass(30 * MINUTE);
    assert_int_equal(one.mails, 10);
}

static void rcpts_10(struct conf *conf)
{
    tuned_gateway(conf, "one")->quota[UNIT_RECIPIENTS][PERIOD_DAY] = 10;
}

static void a_message_is_split_to_keep_to_the_recipients(void **state)
{
    start_tuned(HEAD ONE, rcpts_10);
    send_mail("far.example", PRIORITY_NORMAL, 25, 0);
    pass(MINUTE);
    assert_int_equal(one.rcpts, 10);
    pass(DAY);
    assert_int_equal(one.rcpts, 20);
    pass(DAY);
    assert_int_equal(one.rcpts, 25);
    assert_int_equal(one.mails, 3);
    assert_int_equal(waiting(), 0);
}

static void bytes_100k(struct conf *conf)
{
    tuned_gateway(conf, "one")->quota[UNIT_BYTES][PERIOD_DAY] = 100 * 1000;
}

static void bytes_count_and_what_never_fits_stops_nobody(void **state)
{
    start_tuned(HEAD ONE, bytes_100k);
    send_mail("far.example", PRIORITY_NORMAL, 1, 200 * 1000);
    for (int i = 0; i < 5; i++)
        send_mail("far.example", PRIORITY_NORMAL, 1, 30 * 1000);
    pass(MINUTE);
    assert_int_equal(one.mails, 3);
    pass(DAY);
    assert_int_equal(one.mails, 5);
    assert_int_equal(waiting(), 1);
}

static void per_hour_20(struct conf *conf)
{
    tuned_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_HOUR] = 20;
    tuned_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_MINUTE] = 5;
}

static void any_hour_and_any_minute_holds_no_more(void **state)
{
    start_tuned(HEAD ONE, per_hour_20);
    for (int i = 0; i < 100; i++) {
        send_one("far.example");
        pass((int64_t)world_below(3 * MINUTE));
    }
    pass(6 * HOUR);
    assert_int_equal(one.mails, 100);
    assert_in_range(most_within(&one, HOUR), 19, 20);
    assert_in_range(most_within(&one, MINUTE), 1, 5);
}

static void a_restart_grants_nothing_anew(void **state)
{
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        send_one("far.example");
    for (int i = 0; i < 6; i++) {
        pass(10 * SECOND);
        stop();
        restart();
    }
    pass(10 * SECOND);
    assert_int_equal(one.mails, 10); // and an end in order loses none either
    for (int i = 0; i < 6; i++) {
        pass(10 * SECOND);
        crash(i % 2 ? WORLD_KILLED : WORLD_POWER_CUT);
        restart();
    }
    pass(10 * SECOND);
    assert_int_equal(one.mails, 10);
}

static void per_day_1000(struct conf *conf)
{
    tuned_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 1000;
}

static void do_reset(void *ctx)
{
    struct err err;
    assert_true(queue_reset_quota(daemon_queue(run.daemon), STR("one"), "the test", &err));
}

static void a_damaged_state_grants_nothing(void **state)
{
    start_tuned(HEAD BOTH, per_day_10);
    for (int i = 0; i < 4; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 4);
    stop();
    world_disk_put("/spool/state", "garbage\n", 8);
    restart();
    pass(SECOND);
    for (int i = 0; i < 10; i++)
        send_one("far.example");
    pass(10 * MINUTE);
    assert_int_equal(one.mails, 4); // it may have been all
    assert_int_equal(two.mails, 10);
    assert_true(gateway_view("one")->quota_lost_ms > 0);
    // So it stays over another restart, until a person knows better.
    stop();
    restart();
    pass(SECOND);
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 4);
    assert_true(gateway_view("one")->quota_lost_ms > 0);
    world_boot(do_reset, NULL);
    for (int i = 0; i < 12; i++)
        send_one("far.example");
    pass(10 * MINUTE);
    assert_int_equal(one.mails, 14);
    assert_true(gateway_view("one")->quota_lost_ms == 0);
    // And anew the next day.
    pass(DAY);
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 15);
}

static void a_crash_loses_a_lease_at_most(void **state)
{
    start_tuned(HEAD ONE, per_day_1000);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 50; i++)
            send_one("far.example");
        pass(10 * SECOND);
        crash(WORLD_KILLED);
        restart();
    }
    for (int i = 0; i < 1000; i++)
        send_one("far.example");
    pass(30 * MINUTE);
    // Some were sent twice perhaps, none beyond; each crash costs 20 or so.
    assert_in_range(one.mails, 1000 - 5 * 45, 1000);
}

static void a_jump_of_the_clock_grants_nothing_twice(void **state)
{
    start_tuned(HEAD ONE, per_day_10);
    for (int i = 0; i < 100; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 10);
    // To tomorrow and back, again and again: tomorrow has its ten, once.
    for (int i = 0; i < 5; i++) {
        world_jump_clock(DAY);
        pass(5 * MINUTE);
        world_jump_clock(-DAY);
        pass(5 * MINUTE);
    }
    assert_int_equal(one.mails, 20);
    int64_t today = one.taken[0].wall_ms / DAY;
    pass(3 * (int64_t)DAY);
    // Tomorrow's are gone already; and nothing is blocked for ever.
    int64_t days = one.taken[one.mails - 1].wall_ms / DAY - today;
    assert_in_range(days, 3, 4);
    assert_int_equal(one.mails, 10 + 10 * days);
}

static void a_refusal_teaches_and_more_unteaches(void **state)
{
    start(HEAD ONE);
    for (int i = 0; i < 7; i++)
        send_one("far.example");
    pass(MINUTE);
    one.rcpt = "550 5.4.5 Daily user sending quota exceeded\r\n";
    send_one("far.example");
    pass(MINUTE);
    const struct queue_gateway_view *v = gateway_view("one");
    assert_int_equal(v->quota_count, 1);
    assert_true(v->quotas[0].learnt);
    assert_int_equal(v->quotas[0].limit, 7);
    assert_int_equal(v->quotas[0].period, PERIOD_DAY);
    stop();
    restart();
    unsigned before = one.sessions;
    send_one("far.example");
    pass(10 * MINUTE);
    assert_int_equal(one.sessions, before); // it is left alone over a restart, too
    assert_true(gateway_view("one")->quotas[0].learnt);
    one.rcpt = NULL;
    pass(3 * HOUR);
    assert_int_equal(one.mails, 9);
    for (int i = 0; i < 8; i++) // it may be tomorrow by now
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(gateway_view("one")->quota_count, 0);
    assert_int_equal(waiting(), 0);
}

// ---- A month ----

static void month(struct conf *conf)
{
    struct conf_gateway *g = tuned_gateway(conf, "one");
    g->quota[UNIT_MESSAGES][PERIOD_MINUTE] = 6;
    g->quota[UNIT_MESSAGES][PERIOD_HOUR] = 30;
    g->quota[UNIT_MESSAGES][PERIOD_DAY] = 200;
    g->quota[UNIT_RECIPIENTS][PERIOD_DAY] = 300;
    g->quota[UNIT_MESSAGES][PERIOD_MONTH] = 3000;
    g->reserve_percent = 10;
}

static unsigned most_rcpts_in_a_day(const struct server *s)
{
    unsigned most = 0, now = 0;
    int64_t day = -1;
    for (unsigned i = 0; i < s->mails; i++) {
        int64_t d = s->taken[i].wall_ms / DAY;
        now = d == day ? now + s->taken[i].rcpts : s->taken[i].rcpts;
        day = d;
        if (now > most)
            most = now;
    }
    return most;
}

static void live(int days, uint64_t seed, bool crashes)
{
    scene_new(seed);
    world_set_zone(0);
    one.lost_permille = 50;
    one.slow_us = 300 * 1000;
    start_tuned(HEAD ONE, month);
    for (int hour = 0; hour < days * 24; hour++) {
        for (unsigned i = (unsigned)world_below(24); i > 0; i--) {
            send_mail("far.example", world_chance(100) ? PRIORITY_URGENT : PRIORITY_NORMAL,
                      1 + world_below(world_chance(100) ? 20 : 2), 0);
            pass((int64_t)world_below(4 * MINUTE));
        }
        if (crashes && world_chance(100))
            world_crash_at_call(1 + world_below(300),
                                world_chance(500) ? WORLD_KILLED : WORLD_POWER_CUT);
        if (world_chance(20)) {
            stop();
            restart();
        }
        pass((int64_t)world_below(HOUR));
    }
    world_crash_at_call(0, WORLD_KILLED);
    if (most_within(&one, MINUTE) > 6 || most_within(&one, HOUR) > 30 ||
        most_in_a_day(&one, 0) > 200 || most_rcpts_in_a_day(&one) > 300)
        fail_msg("seed %lu: %u a minute, %u an hour, %u a day, %u recipients a day",
                 (unsigned long)seed, most_within(&one, MINUTE), most_within(&one, HOUR),
                 most_in_a_day(&one, 0), most_rcpts_in_a_day(&one));
    print_message("seed %lu: %u mails; at most %u a minute, %u an hour, %u (%u) a day\n",
                  (unsigned long)seed, one.mails, most_within(&one, MINUTE),
                  most_within(&one, HOUR), most_in_a_day(&one, 0), most_rcpts_in_a_day(&one));
    assert_true(one.mails > 50 * (unsigned)days); // nothing is kept back for ever either
    scene_free();
}

// Everything is limited, and each second and minute of the last hour was full.
static void limit_all(struct conf *conf)
{
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            tuned_gateway(conf, "one")->quota[u][p] = (uint64_t)1 << 60;
}

static void write_busy_hour(void *ctx)
{
    struct err err;
    struct buf b;
    struct state *state = state_open("/spool", &err);
    assert_non_null(state);
    buf_init(&b, 1 << 16);
    buf_printf(&b, "%lld 0 0 0", (long long)clock_wall_ms());
    for (int u = 0; u < UNITS; u++)
        for (int p = PERIOD_MINUTE; p <= PERIOD_HOUR; p++) {
            buf_printf(&b, " %d%d", u, p);
            for (int i = 0; i < 61; i++)
                buf_printf(&b, " %d:123456789012", i);
        }
    state_set(state, "quota.one", buf_str(&b));
    state_close(&state);
    buf_free(&b);
}

static void a_busy_hour_is_kept_whole(void **state)
{
    start_tuned(HEAD ONE, limit_all);
    stop();
    world_boot(write_busy_hour, NULL);
    restart();
    send_one("far.example");
    pass(MINUTE / 2);
    assert_int_equal(one.mails, 1);
    stop();
    restart();
    const struct queue_gateway_view *v = gateway_view("one");
    assert_true(v->quotas[1].used > 123456789012 * 60);
}

static void a_refusal_rests_no_longer_than_a_day(void **state)
{
    start(HEAD ONE);
    one.final = "450 4.7.1 limit of 5 messages per hour exceeded, try again in 20 days\r\n";
    send_one("far.example");
    pass(MINUTE);
    one.final = NULL;
    pass(DAY + HOUR);
    assert_int_equal(one.mails, 1);
}

static void no_month_overruns(void **state)
{
    live(30, 1, false);
}

static void no_days_with_crashes_overrun(void **state)
{
    live(10, 11, true);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL + 1, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        TEST(a_day_has_its_allowance_and_the_next_another),
        TEST(days_are_those_of_the_zone),
        TEST(a_gateway_may_have_a_zone_of_its_own),
        TEST(a_traveller_gets_no_second_day),
        TEST(the_rest_takes_another_way),
        TEST(the_reserve_is_for_urgent_mail),
        TEST(what_was_not_taken_is_given_back),
        TEST(a_message_is_split_to_keep_to_the_recipients),
        TEST(bytes_count_and_what_never_fits_stops_nobody),
        TEST(any_hour_and_any_minute_holds_no_more),
        TEST(a_restart_grants_nothing_anew),
        TEST(a_damaged_state_grants_nothing),
        TEST(a_crash_loses_a_lease_at_most),
        TEST(a_jump_of_the_clock_grants_nothing_twice),
        TEST(a_refusal_teaches_and_more_unteaches),
        TEST(a_busy_hour_is_kept_whole),
        TEST(a_refusal_rests_no_longer_than_a_day),
        cmocka_unit_test(no_month_overruns),
        cmocka_unit_test(no_days_with_crashes_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
