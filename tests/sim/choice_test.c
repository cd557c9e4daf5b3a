// SPDX-License-Identifier: ISC
// Which way mail takes, in the simulated world: picks by hand, rules over mail exchangers, detours,
// dry runs, explanations, what is kept instead of returned.
#include "scene.h"

#include "base/mem.h"

#define BOTH "one: {url: \"smtp://10.0.0.1\"}\n  two: {url: \"smtp://10.0.0.2\", priority: low}\n"

// ---- Asking the conductor ----

static struct {
    const char *text;
    char answer[256], why[QUEUE_WHY], words[32768];
    bool ok, done;
    int64_t until_ms;
    struct arena *arena;
    struct queue_diff diff;
    struct queue_assume assume;
    struct conf *conf;
} ask;

static void do_pick(void *ctx)
{
    struct err err;
    ask.ok = queue_pick(daemon_queue(run.daemon), str_of(ask.text), "test", &err);
}
static bool pick(const char *name)
{
    ask.text = name;
    world_boot(do_pick, NULL);
    return ask.ok;
}

static void do_next(void *ctx)
{
    struct err err;
    struct buf passed;
    buf_init(&passed, LIMIT_LOG_LINE);
    const char *name = queue_pick_next(daemon_queue(run.daemon), "test", &passed, &err);
    snprintf(ask.answer, sizeof(ask.answer), "%s", name != NULL ? name : "");
    buf_free(&passed);
}

static void do_active(void *ctx)
{
    const char *name = queue_active_gateway(daemon_queue(run.daemon), ask.why);
    snprintf(ask.answer, sizeof(ask.answer), "%s", name != NULL ? name : "");
}
static const char *active(void)
{
    world_boot(do_active, NULL);
    return ask.answer;
}

static void do_picked(void *ctx)
{
    const char *name = queue_picked(daemon_queue(run.daemon), &ask.until_ms);
    snprintf(ask.answer, sizeof(ask.answer), "%s", name != NULL ? name : "");
}
static const char *picked(void)
{
    world_boot(do_picked, NULL);
    return ask.answer;
}

static void do_explain(void *ctx)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json j = json_to(&out);
    ask.ok = queue_explain(daemon_queue(run.daemon), run.last_id, &ask.assume,
                           ask.text == NULL ? &out : NULL, ask.text != NULL ? &j : NULL);
    snprintf(ask.words, sizeof(ask.words), "%.*s", STR_FMT(buf_str(&out)));
    buf_free(&out);
}
static const char *explain(void)
{
    ask.text = NULL;
    world_boot(do_explain, NULL);
    return ask.words;
}

static void on_explained(void *ctx, struct str text)
{
    snprintf(ask.words, sizeof(ask.words), "%.*s", STR_FMT(text));
    ask.done = true;
}
static void do_explain_envelope(void *ctx)
{
    struct envelope e = {.sender = STR("sender@home.example"), .priority = PRIORITY_NORMAL};
    ask.done = false;
    queue_explain_envelope(daemon_queue(run.daemon), &e, str_of(ask.text), 1000, &ask.assume, false,
                           on_explained, NULL);
}

static void on_diff(void *ctx, const struct queue_diff *diff)
{
    ask.diff = *diff;
    ask.done = true;
}
static void do_diff(void *ctx)
{
    ask.conf = scene_conf();
    queue_diff(daemon_queue(run.daemon), ask.conf, ask.arena, on_diff, NULL);
}

// ---- Picks ----

static void what_is_picked_goes_first_until_it_is_automatic_again(void **state)
{
    start(HEAD GATEWAYS);
    pass(SECOND);
    assert_string_equal(active(), "one");
    assert_true(pick("two"));
    assert_string_equal(active(), "two");
    assert_non_null(strstr(ask.why, "picked by hand"));
    assert_string_equal(picked(), "two");
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(two.mails, 1);
    assert_true(pick(""));
    assert_string_equal(picked(), "");
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(one.mails, 1);
    assert_false(pick("three"));
}

static void waiting_mail_follows_the_pick_at_once(void **state)
{
    one.down = true;
    start(HEAD "choice: {fallback: default}\ngateways:\n  " BOTH);
    for (int i = 0; i < 500; i++)
        send_one("far.example");
    pass(MINUTE);
    assert_int_equal(waiting(), 500);
    assert_true(pick("two"));
    pass(10 * SECOND);
    assert_int_equal(two.mails, 500);
}

static void next_goes_round_in_the_order_of_the_file(void **state)
{
    start(HEAD "gateways:\n  " BOTH "  off: {url: \"smtp://10.0.0.3\", enabled: no}\n");
    world_boot(do_next, NULL);
    assert_string_equal(ask.answer, "two");
    world_boot(do_next, NULL);
    assert_string_equal(ask.answer, "one");
}

static void a_pick_ends_with_its_time(void **state)
{
    start(HEAD "choice: {manual: 1h}\n" GATEWAYS);
    pass(SECOND);
    assert_true(pick("two"));
    pass(59 * MINUTE);
    assert_string_equal(picked(), "two");
    assert_true(ask.until_ms > 0);
    pass(2 * MINUTE);
    assert_string_equal(picked(), "");
    assert_string_equal(active(), "one");
}

static void a_pick_outlives_a_reload_but_not_its_gateway(void **state)
{
    start(HEAD GATEWAYS);
    assert_true(pick("two"));
    reload(HEAD "gateways:\n  three: {url: \"smtp://10.0.0.3\"}\n  " BOTH);
    assert_string_equal(picked(), "two");
    reload(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n");
    assert_string_equal(picked(), "");
}

static void a_pick_outlives_the_process(void **state)
{
    start(HEAD GATEWAYS);
    assert_true(pick("two"));
    pass(10 * SECOND);
    world_crash(WORLD_POWER_CUT);
    start(run.config);
    assert_string_equal(picked(), "two");
    send_one("far.example");
    pass(5 * SECOND);
    assert_int_equal(two.mails, 1);
}

// ---- Rules over mail exchangers ----

#define MX_RULE                                                                                    \
    "gateways:\n  " BOTH "routes:\n  - {mx: [\"*.big.example\"], via: [two]}\n  - {via: [one]}\n"

static void many_of_one_domain_cost_one_look_up(void **state)
{
    world_name_mx("hosted.example", 10, "in.big.example");
    world_name_mx("other.example", 10, "mail.other.example");
    start(HEAD MX_RULE);
    for (int i = 0; i < 300; i++) {
        send_one("hosted.example");
        send_one("other.example");
    }
    pass(30 * SECOND);
    assert_int_equal(two.mails, 300);
    assert_int_equal(one.mails, 300);
}

static void without_an_answer_the_rule_does_not_match_and_nobody_else_waits(void **state)
{
    world_names_dead(true, true);
    start(HEAD "gateways:\n  " BOTH "routes:\n  - {to: [\"*@plain.example\"], via: [one]}\n"
               "  - {mx: [\"*.big.example\"], via: [two]}\n  - {via: [one]}\n");
    send_one("hosted.example");
    send_one("plain.example");
    pass(SECOND);
    assert_int_equal(one.mails, 1);
    pass(30 * SECOND);
    assert_int_equal(one.mails, 2);
    assert_int_equal(two.mails, 0);
    world_names_dead(false, false);
    world_name_mx("hosted.example", 10, "in.big.example");
    pass(2 * MINUTE);
    send_one("hosted.example");
    pass(5 * SECOND);
    assert_int_equal(two.mails, 1);
}

// ---- Detours ----

#define DETOUR "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\nroutes:\n  - {via: [direct, one]}\n"

static size_t detours(struct queue_detour_view *view)
{
    return queue_detours(daemon_queue(run.daemon), view, 10);
}

static void do_pin(void *ctx)
{
    struct err err;
    ask.ok = queue_detour_set(daemon_queue(run.daemon), STR("direct.example"), ask.text, &err);
}

static void a_detour_is_learnt_used_and_forgotten(void **state)
{
    struct queue_detour_view view[10];
    mx.rcpt = "550 5.7.1 blocked using a list of addresses\r\n";
    start(HEAD "queue: {detour: 1d}\n" DETOUR);
    send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(mx.asked, 1);
    assert_int_equal(detours(view), 1);
    assert_string_equal(view[0].provider, "direct.example");
    assert_string_equal(view[0].gateway, "one");
    for (int i = 0; i < 10; i++)
        send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 11);
    assert_int_equal(mx.asked, 1);
    mx.rcpt = NULL;
    pass(DAY + HOUR);
    assert_int_equal(detours(view), 0);
    send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(mx.mails, 1);
}

// Hosted mail has long names: what tells the provider is their end.
static void a_detour_is_learnt_of_a_long_name(void **state)
{
    struct queue_detour_view view[10];
    mx.rcpt = "550 5.7.1 blocked using a list of addresses\r\n";
    start(HEAD "queue: {detour: 1d}\n" DETOUR);
    world_name_mx("long.example", 10,
                  "a-company-of-some-name-example.mail.protection.provider.example");
    world_name_address("a-company-of-some-name-example.mail.protection.provider.example",
                       "10.0.1.1");
    send_one("long.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(detours(view), 1);
    assert_string_equal(view[0].provider, "provider.example");
    send_one("long.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 2);
    assert_int_equal(mx.asked, 1);
}

static void a_pinned_detour_stays_until_it_is_taken_back(void **state)
{
    struct queue_detour_view view[10];
    start(HEAD DETOUR);
    ask.text = "one";
    world_boot(do_pin, NULL);
    assert_true(ask.ok);
    pass(10 * (int64_t)DAY);
    send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
    assert_int_equal(detours(view), 1);
    assert_true(view[0].until_ms == INT64_MAX);
    ask.text = NULL;
    world_boot(do_pin, NULL);
    assert_true(ask.ok);
    send_one("direct.example");
    pass(MINUTE);
    assert_int_equal(mx.mails, 1);
}

static void a_detour_outlives_the_process(void **state)
{
    struct queue_detour_view view[10];
    start(HEAD DETOUR);
    ask.text = "one";
    world_boot(do_pin, NULL);
    pass(10 * SECOND);
    world_crash(WORLD_POWER_CUT);
    start(run.config);
    assert_int_equal(detours(view), 1);
    assert_string_equal(view[0].provider, "direct.example");
    assert_string_equal(view[0].why, "pinned by hand");
    assert_true(view[0].until_ms == INT64_MAX);
}

// ---- A dry run ----

static void a_dry_run_counts_and_changes_nothing(void **state)
{
    one.down = two.down = true;
    start(HEAD GATEWAYS);
    for (int i = 0; i < 300; i++)
        send_one(i % 3 == 0 ? "partner.example" : "far.example");
    send_one("nowhere.example");
    pass(MINUTE);
    uint64_t before = waiting();
    ask.arena = arena_new();
    ask.done = false;
    const char *old = run.config;
    run.config = HEAD "gateways:\n  " BOTH "  off: {url: \"smtp://10.0.0.3\", enabled: no}\n"
                      "routes:\n  - {to: [\"*@partner.example\"], via: [two]}\n"
                      "  - {to: [\"*@nowhere.example\"], via: [off]}\n  - {via: [one]}\n";
    world_boot(do_diff, NULL);
    pass(SECOND);
    assert_true(ask.done);
    assert_int_equal(ask.diff.recipients, 301);
    assert_int_equal(ask.diff.same, 200);
    assert_int_equal(ask.diff.stranded, 1);
    assert_int_equal(ask.diff.move_count, 2);
    assert_string_equal(ask.diff.moves[0].from, "one");
    assert_string_equal(ask.diff.moves[0].to, "two");
    assert_int_equal(ask.diff.moves[0].recipients, 100);
    assert_string_equal(ask.diff.moves[1].to, "");
    assert_true(ask.diff.moves[1].example == run.last_id);
    assert_int_equal(waiting(), before);
    conf_unref(&ask.conf);
    arena_free(&ask.arena);
    run.config = old;
    // Twice gives the same: the marks of the first do not stand in the way.
    ask.arena = arena_new();
    ask.done = false;
    world_boot(do_diff, NULL);
    pass(SECOND);
    assert_true(ask.done);
    assert_int_equal(ask.diff.same, 301);
    conf_unref(&ask.conf);
    arena_free(&ask.arena);
    // And what came in since is looked at like the rest.
    for (int i = 0; i < 4; i++) {
        send_one("far.example");
        pass(SECOND);
        ask.arena = arena_new();
        ask.done = false;
        world_boot(do_diff, NULL);
        pass(SECOND);
        assert_true(ask.done);
        assert_int_equal(ask.diff.recipients, 302 + i);
        conf_unref(&ask.conf);
        arena_free(&ask.arena);
    }
}

// ---- Words ----

// All of it happens in one turn of the conductor, whoever asks.
static void of_many_recipients_the_first_are_explained(void **state)
{
    one.down = two.down = true;
    start(HEAD GATEWAYS);
    send_mail("far.example", PRIORITY_NORMAL, 70, 0);
    pass(MINUTE);
    const char *said = explain();
    assert_non_null(strstr(said, "user19@far.example"));
    assert_null(strstr(said, "user20@far.example"));
    assert_non_null(strstr(said, "and 50 more recipients\n"));
}

static void an_explanation_says_what_it_waits_for(void **state)
{
    mx.rcpt = "450 4.2.0 greylisted\r\n";
    start(HEAD "queue: {retry: [30m]}\n");
    send_one("direct.example");
    pass(MINUTE);
    assert_non_null(strstr(explain(), "waits for its own clock until"));
    assert_non_null(strstr(ask.words, "1 attempt so far"));
    ask.text = "json";
    world_boot(do_explain, NULL);
    assert_non_null(strstr(ask.words, "\"waits\":\"it waits for its own clock"));
    assert_int_equal(ask.words[strlen(ask.words) - 1], '}');
}

static void an_explanation_knows_doubt(void **state)
{
    one.lose_final = true;
    start(HEAD GATEWAYS "queue: {retry: [10m], doubt_wait: 30m}\n");
    send_one("far.example");
    pass(10 * SECOND);
    assert_non_null(strstr(explain(), "in doubt: it asks only one until"));
}

static void what_if_is_asked_with_gateways_down(void **state)
{
    static const char *const down[] = {"one"};
    start(HEAD GATEWAYS);
    pass(SECOND);
    memset(&ask.assume, 0, sizeof(ask.assume));
    ask.text = "user@far.example";
    world_boot(do_explain_envelope, NULL);
    assert_true(ask.done);
    assert_null(strstr(ask.words, "rests"));
    ask.assume.down = down;
    ask.assume.down_count = 1;
    world_boot(do_explain_envelope, NULL);
    assert_true(ask.done);
    assert_non_null(strstr(ask.words, "two"));
    memset(&ask.assume, 0, sizeof(ask.assume));
}

static void what_if_looks_mail_exchangers_up(void **state)
{
    world_name_mx("hosted.example", 10, "in.big.example");
    start(HEAD MX_RULE);
    memset(&ask.assume, 0, sizeof(ask.assume));
    ask.text = "user@hosted.example";
    world_boot(do_explain_envelope, NULL);
    assert_false(ask.done);
    pass(5 * SECOND);
    assert_true(ask.done);
    assert_non_null(strstr(ask.words, "two"));
}

// ---- What is kept ----

static void what_fails_is_kept_where_the_route_says_so(void **state)
{
    one.rcpt = "550 5.1.1 nobody\r\n";
    start(HEAD "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\nroutes:\n"
               "  - {to: [\"*@home.example\"], via: [direct]}\n"
               "  - {to: [\"*@kept.example\"], via: [one], keep_failed: yes}\n  - {via: [one]}\n");
    send_one("kept.example");
    pass(MINUTE);
    assert_int_equal(mx.reports, 0);
    assert_int_equal(waiting(), 1);
    send_one("far.example");
    pass(MINUTE);
    assert_int_equal(mx.reports, 1);
    assert_int_equal(waiting(), 1);
}

static void do_release(void *ctx)
{
    assert_true(queue_release(daemon_queue(run.daemon), run.last_id, "test"));
}

static void in_doubt_too_long_it_is_held_for_a_person(void **state)
{
    one.lose_final = true;
    start(HEAD GATEWAYS "queue: {retry: [1m], doubt_wait: 30m, doubt: hold}\n");
    send_one("far.example");
    pass(10 * SECOND);
    one.lose_final = false;
    one.rcpt = "450 4.2.0 not now\r\n";
    pass(2 * HOUR);
    assert_int_equal(two.connections, 0);
    assert_int_equal(waiting(), 1);
    world_boot(do_release, NULL);
    pass(MINUTE);
    assert_int_equal(two.mails, 1);
}

static void in_doubt_the_same_gateway_goes_on_being_asked(void **state)
{
    one.lose_final = true;
    start(HEAD GATEWAYS "queue: {retry: [1m], doubt_wait: 30m, doubt: again}\n");
    send_one("far.example");
    pass(10 * SECOND);
    one.lose_final = false;
    one.rcpt = "450 4.2.0 not now\r\n";
    pass(3 * HOUR);
    assert_int_equal(two.connections, 0);
    one.rcpt = NULL;
    pass(10 * MINUTE);
    assert_int_equal(one.mails, 2);
    assert_int_equal(two.connections, 0);
}

// ---- Two ways at once ----

#define HURRY                                                                                      \
    "gateways:\n  slow: {url: \"smtp://10.0.9.9\"}\n  one: {url: \"smtp://10.0.0.1\"}\n  two: "    \
    "{url: \"smtp://10.0.0.2\"}\nroutes:\n  - {via: [slow, {gateway: one, parallel_after: 5s}]}\n"

static void urgent_mail_does_not_wait_for_a_silent_gateway(void **state)
{
    start(HEAD HURRY);
    send_mail("far.example", PRIORITY_URGENT, 3, 0);
    pass(12 * SECOND);
    assert_int_equal(one.mails, 1);
    assert_int_equal(one.rcpts, 3);
    assert_int_equal(waiting(), 0);
    pass(HOUR); // the first comes to its end, and nothing comes of it
    assert_int_equal(one.mails, 1);
}

static void ordinary_mail_waits(void **state)
{
    start(HEAD HURRY);
    send_one("far.example");
    pass(12 * SECOND);
    assert_int_equal(one.mails, 0);
    pass(MINUTE);
    assert_int_equal(one.mails, 1);
}

static void when_the_second_way_fails_the_first_decides(void **state)
{
    one.rcpt = "450 4.2.0 not now\r\n";
    start(HEAD "gateways:\n  slow: {url: \"smtp://10.0.9.9\"}\n  one: {url: \"smtp://10.0.0.1\"}\n"
               "  two: {url: \"smtp://10.0.0.2\"}\nroutes:\n"
               "  - {via: [slow, {gateway: one, parallel_after: 5s}, two]}\n");
    send_mail("far.example", PRIORITY_URGENT, 1, 0);
    pass(12 * SECOND);
    assert_int_equal(one.asked, 1);
    assert_int_equal(waiting(), 1);
    pass(MINUTE);
    assert_int_equal(two.mails, 1); // behind both
    assert_int_equal(one.asked, 1);
    assert_int_equal(waiting(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_picked_goes_first_until_it_is_automatic_again),
        TEST(waiting_mail_follows_the_pick_at_once),
        TEST(next_goes_round_in_the_order_of_the_file),
        TEST(a_pick_ends_with_its_time),
        TEST(a_pick_outlives_a_reload_but_not_its_gateway),
        TEST(a_pick_outlives_the_process),
        TEST(many_of_one_domain_cost_one_look_up),
        TEST(without_an_answer_the_rule_does_not_match_and_nobody_else_waits),
        TEST(a_detour_is_learnt_used_and_forgotten),
        TEST(a_detour_is_learnt_of_a_long_name),
        TEST(a_pinned_detour_stays_until_it_is_taken_back),
        TEST(a_detour_outlives_the_process),
        TEST(a_dry_run_counts_and_changes_nothing),
        TEST(of_many_recipients_the_first_are_explained),
        TEST(an_explanation_says_what_it_waits_for),
        TEST(an_explanation_knows_doubt),
        TEST(what_if_is_asked_with_gateways_down),
        TEST(what_if_looks_mail_exchangers_up),
        TEST(what_fails_is_kept_where_the_route_says_so),
        TEST(in_doubt_too_long_it_is_held_for_a_person),
        TEST(in_doubt_the_same_gateway_goes_on_being_asked),
        TEST(urgent_mail_does_not_wait_for_a_silent_gateway),
        TEST(ordinary_mail_waits),
        TEST(when_the_second_way_fails_the_first_decides),
    };
    return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
