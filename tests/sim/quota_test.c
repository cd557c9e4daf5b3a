// SPDX-License-Identifier: ISC
// Allowances of gateways: never overrun, whatever happens, and given back when nothing was taken.
#include "small_world.h"

#include "base/buf.h"
#include "spool/state.h"
#include "sys/clock.h"
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

// The most that one took within any window, or any calendar day of UTC.
static unsigned most_within(const struct small_server *s, int64_t window_ms)
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

static unsigned most_in_a_day(const struct small_server *s, int64_t offset_ms)
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
    small_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 10;
}

static void a_day_has_its_allowance_and_the_next_another(void **state)
{
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_int_equal(small_waiting(), 15);
    small_pass(DAY);
    assert_int_equal(one.mails, 20);
    // It went at once when the day began, in the first minute.
    assert_in_range(one.taken[10].wall_ms % DAY, 0, MINUTE);
    small_pass(DAY);
    assert_int_equal(one.mails, 25);
    assert_int_equal(most_in_a_day(&one, 0), 10);
    assert_int_equal(one.reports, 0);
}

static void days_are_those_of_the_zone(void **state)
{
    world_set_zone(-8 * 60);
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 15; i++)
        small_send_one();
    small_pass(DAY);
    assert_int_equal(one.mails, 15);
    assert_in_range((one.taken[10].wall_ms - 8 * HOUR) % DAY, 0, MINUTE);
}

static void per_day_10_in_india(struct conf *conf)
{
    per_day_10(conf);
    small_gateway(conf, "one")->quota_zone = "+05:30";
}

static void a_gateway_may_have_a_zone_of_its_own(void **state)
{
    small_start(HEAD ONE, per_day_10_in_india);
    for (int i = 0; i < 15; i++)
        small_send_one();
    small_pass(MINUTE);
    small_stop();
    small_restart();
    small_pass(DAY);
    assert_int_equal(one.mails, 15);
    assert_in_range((one.taken[10].wall_ms + 11 * HOUR / 2) % DAY, 0, MINUTE);
}

static void a_traveller_gets_no_second_day(void **state)
{
    static const int zones[] = {-8 * 60, 90, 13 * 60, 0};
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        small_send_one();
    small_pass(MINUTE);
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        small_stop();
        world_set_zone(zones[i]);
        small_restart();
        small_pass(MINUTE);
        assert_int_equal(one.mails, 10);
    }
    small_pass(DAY);
    assert_int_equal(one.mails, 20);
}

static void the_rest_takes_another_way(void **state)
{
    small_start(HEAD BOTH, per_day_10);
    for (int i = 0; i < 25; i++)
        small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_int_equal(two.mails, 15);
    small_pass(DAY);
    small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 11);
}

static void with_reserve(struct conf *conf)
{
    per_day_10(conf);
    small_gateway(conf, "one")->reserve_percent = 20;
}

static void the_reserve_is_for_urgent_mail(void **state)
{
    small_start(HEAD ONE, with_reserve);
    for (int i = 0; i < 20; i++)
        small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 8);
    for (int i = 0; i < 5; i++)
        small_send("urgent.example", PRIORITY_URGENT, 1, 0);
    small_pass(MINUTE);
    assert_int_equal(one.mails, 10);
    assert_non_null(strstr(one.last, "urgent"));
    struct queue_gateway_view *v = small_gateway_view("one");
    assert_int_equal(v->quota_count, 1);
    assert_int_equal(v->quotas[0].used, 10);
    assert_int_equal(v->quotas[0].limit, 10);
    assert_int_equal(v->quotas[0].reserve, 2);
    assert_true(v->quotas[0].exhausts_ms > 0);
}

static void what_was_not_taken_is_given_back(void **state)
{
    one.final = "451 4.3.0 not now\r\n";
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 10; i++)
        small_send_one();
    small_pass(HOUR);
    assert_int_equal(one.mails, 0);
    one.fate = WORLD_LINK_REFUSED;
    small_pass(HOUR);
    one.fate = WORLD_LINK_UP;
    one.final = NULL;
    small_pass(30 * MINUTE);
    assert_int_equal(one.mails, 10);
}

static void rcpts_10(struct conf *conf)
{
    small_gateway(conf, "one")->quota[UNIT_RECIPIENTS][PERIOD_DAY] = 10;
}

static void a_message_is_split_to_keep_to_the_recipients(void **state)
{
    small_start(HEAD ONE, rcpts_10);
    small_send("far.example", PRIORITY_NORMAL, 25, 0);
    small_pass(MINUTE);
    assert_int_equal(one.rcpts, 10);
    small_pass(DAY);
    assert_int_equal(one.rcpts, 20);
    small_pass(DAY);
    assert_int_equal(one.rcpts, 25);
    assert_int_equal(one.mails, 3);
    assert_int_equal(small_waiting(), 0);
}

static void bytes_100k(struct conf *conf)
{
    small_gateway(conf, "one")->quota[UNIT_BYTES][PERIOD_DAY] = 100 * 1000;
}

static void bytes_count_and_what_never_fits_stops_nobody(void **state)
{
    small_start(HEAD ONE, bytes_100k);
    small_send("far.example", PRIORITY_NORMAL, 1, 200 * 1000);
    for (int i = 0; i < 5; i++)
        small_send("far.example", PRIORITY_NORMAL, 1, 30 * 1000);
    small_pass(MINUTE);
    assert_int_equal(one.mails, 3);
    small_pass(DAY);
    assert_int_equal(one.mails, 5);
    assert_int_equal(small_waiting(), 1);
}

static void per_hour_20(struct conf *conf)
{
    small_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_HOUR] = 20;
    small_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_MINUTE] = 5;
}

static void any_hour_and_any_minute_holds_no_more(void **state)
{
    small_start(HEAD ONE, per_hour_20);
    for (int i = 0; i < 100; i++) {
        small_send_one();
        small_pass((int64_t)world_below(3 * MINUTE));
    }
    small_pass(6 * HOUR);
    assert_int_equal(one.mails, 100);
    assert_in_range(most_within(&one, HOUR), 19, 20);
    assert_in_range(most_within(&one, MINUTE), 1, 5);
}

static void a_restart_grants_nothing_anew(void **state)
{
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 25; i++)
        small_send_one();
    for (int i = 0; i < 6; i++) {
        small_pass(10 * SECOND);
        small_stop();
        small_restart();
    }
    small_pass(10 * SECOND);
    assert_int_equal(one.mails, 10); // and an end in order loses none either
    for (int i = 0; i < 6; i++) {
        small_pass(10 * SECOND);
        small_crash(i % 2 ? WORLD_KILLED : WORLD_POWER_CUT);
        small_restart();
    }
    small_pass(10 * SECOND);
    assert_int_equal(one.mails, 10);
}

static void per_day_1000(struct conf *conf)
{
    small_gateway(conf, "one")->quota[UNIT_MESSAGES][PERIOD_DAY] = 1000;
}

static void a_crash_loses_a_lease_at_most(void **state)
{
    small_start(HEAD ONE, per_day_1000);
    for (int crash = 0; crash < 5; crash++) {
        for (int i = 0; i < 50; i++)
            small_send_one();
        small_pass(10 * SECOND);
        small_crash(WORLD_KILLED);
        small_restart();
    }
    for (int i = 0; i < 1000; i++)
        small_send_one();
    small_pass(30 * MINUTE);
    // Some were sent twice perhaps, none beyond; each crash costs 20 or so.
    assert_in_range(one.mails, 1000 - 5 * 45, 1000);
}

static void a_jump_of_the_clock_grants_nothing_twice(void **state)
{
    small_start(HEAD ONE, per_day_10);
    for (int i = 0; i < 100; i++)
        small_send_one();
    small_pass(MINUTE);
    assert_int_equal(one.mails, 10);
    // To tomorrow and back, again and again: tomorrow has its ten, once.
    for (int i = 0; i < 5; i++) {
        world_jump_clock(DAY);
        small_pass(5 * MINUTE);
        world_jump_clock(-DAY);
        small_pass(5 * MINUTE);
    }
    assert_int_equal(one.mails, 20);
    int64_t today = one.taken[0].wall_ms / DAY;
    small_pass(3 * (int64_t)DAY);
    // Tomorrow's are gone already; and nothing is blocked for ever.
    int64_t days = one.taken[one.mails - 1].wall_ms / DAY - today;
    assert_in_range(days, 3, 4);
    assert_int_equal(one.mails, 10 + 10 * days);
}

static void a_refusal_teaches_and_more_unteaches(void **state)
{
    small_start(HEAD ONE, NULL);
    for (int i = 0; i < 7; i++)
        small_send_one();
    small_pass(MINUTE);
    one.rcpt = "550 5.4.5 Daily user sending quota exceeded\r\n";
    small_send_one();
    small_pass(MINUTE);
    struct queue_gateway_view *v = small_gateway_view("one");
    assert_int_equal(v->quota_count, 1);
    assert_true(v->quotas[0].learnt);
    assert_int_equal(v->quotas[0].limit, 7);
    assert_int_equal(v->quotas[0].period, PERIOD_DAY);
    small_stop();
    small_restart();
    unsigned before = one.sessions;
    small_send_one();
    small_pass(10 * MINUTE);
    assert_int_equal(one.sessions, before); // it is left alone over a restart, too
    assert_true(small_gateway_view("one")->quotas[0].learnt);
    one.rcpt = NULL;
    small_pass(3 * HOUR);
    assert_int_equal(one.mails, 9);
    for (int i = 0; i < 8; i++) // it may be tomorrow by now
        small_send_one();
    small_pass(MINUTE);
    assert_int_equal(small_gateway_view("one")->quota_count, 0);
    assert_int_equal(small_waiting(), 0);
}

// ---- A month ----

static void month(struct conf *conf)
{
    struct conf_gateway *g = small_gateway(conf, "one");
    g->quota[UNIT_MESSAGES][PERIOD_MINUTE] = 6;
    g->quota[UNIT_MESSAGES][PERIOD_HOUR] = 30;
    g->quota[UNIT_MESSAGES][PERIOD_DAY] = 200;
    g->quota[UNIT_RECIPIENTS][PERIOD_DAY] = 300;
    g->quota[UNIT_MESSAGES][PERIOD_MONTH] = 3000;
    g->reserve_percent = 10;
}

static unsigned most_rcpts_in_a_day(const struct small_server *s)
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
    small_new(seed);
    world_set_zone(0);
    one.lost_permille = 50;
    one.slow_us = 300 * 1000;
    small_start(HEAD ONE, month);
    for (int hour = 0; hour < days * 24; hour++) {
        for (unsigned i = (unsigned)world_below(24); i > 0; i--) {
            small_send("far.example", world_chance(100) ? PRIORITY_URGENT : PRIORITY_NORMAL,
                       1 + world_below(world_chance(100) ? 20 : 2), 0);
            small_pass((int64_t)world_below(4 * MINUTE));
        }
        if (crashes && world_chance(100))
            world_crash_at_call(1 + world_below(300),
                                world_chance(500) ? WORLD_KILLED : WORLD_POWER_CUT);
        if (world_chance(20)) {
            small_stop();
            small_restart();
        }
        small_pass((int64_t)world_below(HOUR));
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
    small_free();
}

// Everything is limited, and each second and minute of the last hour was full.
static void limit_all(struct conf *conf)
{
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            small_gateway(conf, "one")->quota[u][p] = (uint64_t)1 << 60;
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
    small_start(HEAD ONE, limit_all);
    small_stop();
    world_boot(write_busy_hour, NULL);
    small_restart();
    small_send_one();
    small_pass(MINUTE / 2);
    assert_int_equal(one.mails, 1);
    small_stop();
    small_restart();
    struct queue_gateway_view *v = small_gateway_view("one");
    assert_true(v->quotas[1].used > 123456789012 * 60);
}

static void a_refusal_rests_no_longer_than_a_day(void **state)
{
    small_start(HEAD ONE, NULL);
    one.final = "450 4.7.1 limit of 5 messages per hour exceeded, try again in 20 days\r\n";
    small_send_one();
    small_pass(MINUTE);
    one.final = NULL;
    small_pass(DAY + HOUR);
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_day_has_its_allowance_and_the_next_another),
        T(days_are_those_of_the_zone),
        T(a_gateway_may_have_a_zone_of_its_own),
        T(a_traveller_gets_no_second_day),
        T(the_rest_takes_another_way),
        T(the_reserve_is_for_urgent_mail),
        T(what_was_not_taken_is_given_back),
        T(a_message_is_split_to_keep_to_the_recipients),
        T(bytes_count_and_what_never_fits_stops_nobody),
        T(any_hour_and_any_minute_holds_no_more),
        T(a_restart_grants_nothing_anew),
        T(a_crash_loses_a_lease_at_most),
        T(a_jump_of_the_clock_grants_nothing_twice),
        T(a_refusal_teaches_and_more_unteaches),
        T(a_busy_hour_is_kept_whole),
        T(a_refusal_rests_no_longer_than_a_day),
        cmocka_unit_test(no_month_overruns),
        cmocka_unit_test(no_days_with_crashes_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
