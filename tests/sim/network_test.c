// SPDX-License-Identifier: ISC
// The machine moves: what waits follows at once, nothing is lost, doubled or counted for it.
#include "moves.h"
#include "scene.h"

#include "base/mem.h"

#define PLACES                                                                                     \
    "networks:\n  office: {address: [10.20.0.0/16]}\n  home: {address: [192.168.178.0/24]}\n"
enum { NOWHERE = 0, OFFICE = 1, HOME = 2 };

// ---- Being somewhere ----

static struct {
    bool offline;
    uint64_t holding;
} here;

static void do_move(void *ctx)
{
    moves_tell(daemon_queue(run.daemon), here.offline, here.holding, 2);
}

static void move_to(uint64_t networks)
{
    here.offline = false;
    here.holding = networks;
    world_boot(do_move, NULL);
}

static void go_offline(void)
{
    here.offline = true;
    here.holding = 0;
    world_boot(do_move, NULL);
}

static unsigned last_tries;
static bool last_doubt;
static void do_show(void *ctx)
{
    struct arena *arena = arena_new();
    struct queue_message_view view;
    assert_true(queue_show(daemon_queue(run.daemon), run.last_id, arena, &view));
    last_tries = view.rcpts[0].tries;
    last_doubt = view.rcpts[0].in_doubt;
    arena_free(&arena);
}
static unsigned tries(void)
{
    world_boot(do_show, NULL);
    return last_tries;
}

static char chosen[64], why[QUEUE_WHY];
static void do_active(void *ctx)
{
    const char *name = queue_active_gateway(daemon_queue(run.daemon), why);
    snprintf(chosen, sizeof(chosen), "%s", name != NULL ? name : "");
}
static const char *active(void)
{
    world_boot(do_active, NULL);
    return chosen;
}

// ---- Coming and going ----

static void offline_nobody_is_asked_and_online_all_goes_at_once(void **state)
{
    start(HEAD GATEWAYS "queue: {warn: never, expire: 2d}\n");
    go_offline();
    for (int i = 0; i < 200; i++)
        send_one(i % 2 == 0 ? "far.example" : "direct.example");
    pass(3 * DAY);
    assert_int_equal(one.connections + two.connections + mx.connections, 0);
    assert_int_equal(waiting(), 200);
    assert_int_equal(tries(), 0);
    move_to(NOWHERE);
    pass(15 * SECOND);
    assert_int_equal(one.mails, 200);
}

static void a_gateway_of_a_network_is_used_there_only(void **state)
{
    start(HEAD PLACES "gateways:\n  one: {url: \"smtp://10.0.0.1\", networks: [office]}\n"
                      "  two: {url: \"smtp://10.0.0.2\"}\n");
    move_to(HOME);
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(two.mails, 1);
    assert_string_equal(active(), "two");
    move_to(OFFICE);
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(one.mails, 1);
    assert_string_equal(active(), "one");
    assert_non_null(strstr(why, "its network holds"));
}

static void what_waits_for_a_network_goes_when_it_is_there(void **state)
{
    start(HEAD PLACES "gateways:\n  one: {url: \"smtp://10.0.0.1\", networks: [office]}\n");
    move_to(HOME);
    for (int i = 0; i < 1000; i++)
        send_one("far.example");
    pass(DAY);
    assert_int_equal(one.connections, 0);
    assert_string_equal(active(), "");
    move_to(OFFICE);
    pass(20 * SECOND);
    assert_int_equal(one.mails, 1000);
}

static void a_route_of_a_network_holds_for_what_waits(void **state)
{
    one.down = true;
    start(HEAD PLACES "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n  two: {url: "
                      "\"smtp://10.0.0.2\"}\nroutes:\n  - {network: home, via: [two]}\n"
                      "  - {via: [one]}\n");
    move_to(OFFICE);
    for (int i = 0; i < 100; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(waiting(), 100);
    move_to(HOME);
    pass(10 * SECOND);
    assert_int_equal(two.mails, 100);
}

// ---- Trouble of before ----

static void a_rest_of_another_network_is_over(void **state)
{
    one.down = true;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    send_one("far.example");
    pass(2 * HOUR);
    one.down = false;
    move_to(NOWHERE);
    pass(3 * SECOND);
    assert_int_equal(one.mails, 1);
}

static void a_rest_for_the_quota_is_not(void **state)
{
    one.final = "550 5.4.5 Daily user sending quota exceeded\r\n";
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(one.asked, 1);
    for (int i = 0; i < 10; i++) {
        move_to(NOWHERE);
        pass(MINUTE);
    }
    assert_int_equal(one.asked, 1);
}

static void greylisting_keeps_its_clock(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [30m]}\n");
    send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(mx.asked, 1);
    for (int i = 0; i < 10; i++) {
        move_to(NOWHERE);
        pass(MINUTE);
    }
    assert_int_equal(mx.asked, 1);
    pass(25 * MINUTE);
    assert_int_equal(mx.asked, 2);
}

static void a_connection_that_broke_by_moving_counts_for_nothing(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.9.9\"}\n");
    send_one("far.example");
    pass(SECOND); // nobody answers, and nobody says so
    move_to(NOWHERE);
    reload(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    assert_int_equal(tries(), 0);
    pass(3 * MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(waiting(), 0);
}

// The kernel may have no memory for an answer just then: that is no move, and no new place.
static void a_reload_while_the_kernel_is_silent_stays_where_it_is(void **state)
{
    static const char *const at_office[] = {"10.20.1.1/16", NULL};
    static const char here_too[] =
        "gateways:\n  one: {url: \"smtp://10.0.0.1\", networks: [office]}\n"
        "  two: {url: \"smtp://10.0.0.2\"}\n";
    char conf[1000];
    world_link_set("eth0", "", at_office, true);
    snprintf(conf, sizeof(conf), HEAD PLACES "%s", here_too);
    start(conf);
    assert_string_equal(active(), "one");
    world_links_fail(1);
    snprintf(conf, sizeof(conf),
             HEAD "networks:\n  home: {address: [192.168.178.0/24]}\n"
                  "  office: {address: [10.20.0.0/16]}\n%s",
             here_too);
    reload(conf);
    assert_string_equal(active(), "one");
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(one.mails, 1);
    world_links_fail(2); // twice in a row, by two configurations
    reload(conf);
    reload(conf);
    assert_string_equal(active(), "one");
}

static void what_fails_for_the_place_before_rests_nobody(void **state)
{
    one.rcpt = NULL;
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.9.9\"}\n  two: {url: \"smtp://10.0.0.2\", "
               "priority: low}\n");
    send_one("far.example");
    pass(10 * SECOND);
    move_to(NOWHERE);
    pass(25 * SECOND); // the first attempt is given up: begun before the move
    assert_int_equal(tries(), 0);
    assert_int_equal(two.mails, 0);
    pass(MINUTE); // the second counts
    assert_int_equal(two.mails, 1);
}

static void doubt_outlives_a_move(void **state)
{
    one.lose_final = true;
    start(HEAD GATEWAYS "queue: {retry: [1m], doubt_wait: 1h}\n");
    send_one("far.example");
    pass(10 * SECOND);
    assert_int_equal(one.mails, 1);
    one.down = true;
    for (int i = 0; i < 20; i++) {
        move_to((uint64_t)i % 2);
        pass(2 * MINUTE);
    }
    assert_int_equal(two.connections, 0);
    (void)tries();
    assert_true(last_doubt);
    one.down = one.lose_final = false;
    move_to(HOME);
    pass(2 * MINUTE);
    assert_int_equal(one.mails, 2);
    assert_int_equal(waiting(), 0);
}

// ---- Much of it ----

static void a_flapping_network_loses_and_doubles_nothing(void **state)
{
    start(HEAD GATEWAYS);
    unsigned sent = 0;
    for (int i = 0; i < 1000; i++) {
        if (i % 2 == 0)
            go_offline();
        else
            move_to(i % 4 == 1 ? OFFICE : HOME);
        if (i % 4 == 0) {
            send_one(i % 8 == 0 ? "far.example" : "direct.example");
            sent++;
        }
        pass((int64_t)world_below(300));
    }
    move_to(HOME);
    pass(MINUTE);
    assert_int_equal(waiting(), 0);
    assert_int_equal(one.mails + two.mails + mx.mails, sent);
    assert_int_equal(mx.reports, 0);
}

static void cut_connections_of_a_moving_machine_are_no_strikes(void **state)
{
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\nqueue: {expire_tries: 3}\n");
    for (int i = 0; i < 50; i++)
        send_one("far.example");
    for (int i = 0; i < 100; i++) {
        go_offline();
        world_cut_links(i % 2 == 0);
        pass((int64_t)world_below(200));
        move_to(HOME);
        pass((int64_t)world_below(100));
    }
    pass(40 * MINUTE);
    assert_int_equal(waiting(), 0);
    assert_int_equal(mx.reports, 0); // nobody used up three attempts
    assert_true(one.mails >= 50);
}

// ---- Picks ----

static void do_pick(void *ctx)
{
    struct err err;
    assert_true(queue_pick(daemon_queue(run.daemon), STR("two"), "test", &err));
}

static void a_pick_for_the_network_ends_with_it(void **state)
{
    start(HEAD PLACES "choice: {manual: network}\n" GATEWAYS);
    move_to(OFFICE);
    world_boot(do_pick, NULL);
    assert_string_equal(active(), "two");
    move_to(OFFICE); // another address, the same place
    assert_string_equal(active(), "two");
    go_offline();
    move_to(OFFICE);
    assert_string_equal(active(), "two");
    move_to(HOME);
    assert_string_equal(active(), "one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(offline_nobody_is_asked_and_online_all_goes_at_once),
        TEST(a_gateway_of_a_network_is_used_there_only),
        TEST(what_waits_for_a_network_goes_when_it_is_there),
        TEST(a_route_of_a_network_holds_for_what_waits),
        TEST(a_rest_of_another_network_is_over),
        TEST(a_rest_for_the_quota_is_not),
        TEST(greylisting_keeps_its_clock),
        TEST(a_connection_that_broke_by_moving_counts_for_nothing),
        TEST(a_reload_while_the_kernel_is_silent_stays_where_it_is),
        TEST(what_fails_for_the_place_before_rests_nobody),
        TEST(doubt_outlives_a_move),
        TEST(a_flapping_network_loses_and_doubles_nothing),
        TEST(cut_connections_of_a_moving_machine_are_no_strikes),
        TEST(a_pick_for_the_network_ends_with_it),
    };
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
