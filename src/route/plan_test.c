// SPDX-License-Identifier: ISC
// The planner: which way, and the judge: what an outcome means.
#include "base/buf.h"
#include "route/judge.h"
#include "route/explain.h"
#include "route/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { DIRECT, HIGH, LOW, TWIN };
static struct conf_gateway gateways[] = {
    {.name = "direct",
     .index = 0,
     .kind = GATEWAY_DIRECT,
     .enabled = true,
     .priority = 30,
     .weight = 1},
    {.name = "high",
     .index = 1,
     .kind = GATEWAY_SMTP,
     .enabled = true,
     .priority = 20,
     .weight = 1},
    {.name = "low", .index = 2, .kind = GATEWAY_SMTP, .enabled = true, .priority = 50, .weight = 1},
    {.name = "twin",
     .index = 3,
     .kind = GATEWAY_SMTP,
     .enabled = true,
     .priority = 50,
     .weight = 3},
};
static const char *const to_shop[] = {"*@shop.example"};
static const char *const from_boss[] = {"boss@*"};
static const struct conf_step via_shop[] = {{.gateway = DIRECT},
                                            {.gateway = HIGH, .on = 1u << OUTCOME_NET},
                                            {.gateway = LOW, .after_tries = 3}};
static const struct conf_step via_boss[] = {{.gateway = LOW, .after_ms = 60000}};
static const struct conf_route routes[] = {
    {.to = to_shop, .to_count = 1, .via = via_shop, .via_count = 3, .line = 4},
    {.from = from_boss, .from_count = 1, .via = via_boss, .via_count = 1, .line = 5},
};
static struct conf conf = {.gateways = gateways,
                           .gateway_count = 4,
                           .routes = routes,
                           .route_count = 2,
                           .choice = {.automatic = true}};
static struct plan_gateway now[4];

static struct envelope envelope;

static struct plan_input input(const char *from, const char *to)
{
    envelope.sender = str_of(from);
    return (struct plan_input){.conf = &conf,
                               .gateways = now,
                               .envelope = &envelope,
                               .rcpt = str_of(to),
                               .now_ms = 1000000};
}

static void assert_plan(struct plan_input in, enum plan_kind kind, uint32_t gateway, unsigned step)
{
    struct plan p = plan_next(&in);
    assert_int_equal(p.kind, kind);
    if (kind == PLAN_GO || kind == PLAN_WAIT)
        assert_int_equal(p.gateway, gateway);
    if (kind == PLAN_GO)
        assert_int_equal(p.step, step);
}

static void the_first_matching_route_decides(void **state)
{
    struct plan_input in = input("boss@a", "x@shop.example");
    assert_int_equal(plan_route(&in), 0);
    in = input("boss@a", "x@other.example");
    assert_int_equal(plan_route(&in), 1);
    in = input("a@a", "x@other.example");
    assert_int_equal(plan_route(&in), ROUTE_DEFAULT);
}

static void the_default_chain_goes_by_priority_and_leaves_direct_out(void **state)
{
    struct plan_input in = input("a@a", "x@other.example");
    struct plan_chain chain;
    size_t twins_first = 0;
    for (in.share = 0; in.share < 4000; in.share++) {
        plan_chain(&in, &chain);
        assert_int_equal(chain.count, 3);
        uint32_t second = chain.steps[1].gateway, third = chain.steps[2].gateway;
        assert_int_equal(chain.steps[0].gateway, HIGH);
        assert_true((second == LOW && third == TWIN) || (second == TWIN && third == LOW));
        twins_first += second == TWIN;
    }
    assert_in_range(twins_first, 2800, 3200); // weight 3 against 1
    struct conf only_direct = {
        .gateways = gateways, .gateway_count = 1, .choice = {.automatic = true}};
    in.conf = &only_direct;
    plan_chain(&in, &chain);
    assert_int_equal(chain.count, 1);
    assert_int_equal(chain.steps[0].gateway, DIRECT);
}

// However many stand before it, all of them in trouble.
static void the_last_of_all_gateways_is_found(void **state)
{
    static struct conf_gateway all[LIMIT_GATEWAYS + 1];
    static struct plan_gateway lanes[LIMIT_GATEWAYS + 1];
    enum { COUNT = sizeof(all) / sizeof(all[0]), LAST = COUNT - 1 };
    all[DIRECT] = gateways[DIRECT];
    for (uint32_t i = 1; i < COUNT; i++) {
        all[i] = gateways[LOW];
        all[i].index = i;
        all[i].priority = (int)i;
        lanes[i].rest_until_ms = i == LAST ? 0 : 2000000;
    }
    struct conf large = {.gateways = all, .gateway_count = COUNT, .choice = {.automatic = true}};
    struct plan_input in = input("a@a", "x@other.example");
    in.conf = &large;
    in.gateways = lanes;
    assert_plan(in, PLAN_GO, LAST, LAST);
    in.from_step = LAST - 1;
    in.last_class = OUTCOME_NET;
    assert_plan(in, PLAN_GO, LAST, LAST);
    in.from_step = LAST;
    assert_plan(in, PLAN_END, 0, 0);
}

static void a_step_follows_only_on_its_classes(void **state)
{
    struct plan_input in = input("a@a", "x@shop.example");
    assert_plan(in, PLAN_GO, DIRECT, 1);
    in.from_step = 1;
    in.last_class = OUTCOME_NET;
    assert_plan(in, PLAN_GO, HIGH, 2);
    in.last_class = OUTCOME_BUSY; // not in `on` of high, and low asks for three tries
    assert_plan(in, PLAN_END, 0, 0);
    in.tries = 3;
    assert_plan(in, PLAN_GO, LOW, 3);
    in.last_class = OUTCOME_REFUSED;
    assert_plan(in, PLAN_END, 0, 0);
}

static void a_resting_or_disabled_gateway_is_passed_by(void **state)
{
    struct plan_input in = input("a@a", "x@other.example");
    now[HIGH].rest_until_ms = in.now_ms + 5000;
    struct plan p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_GO);
    assert_int_not_equal(p.gateway, HIGH);
    now[LOW].rest_until_ms = in.now_ms + 2000;
    now[TWIN].rest_until_ms = in.now_ms + 3000;
    p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_WAIT);
    assert_int_equal(p.gateway, HIGH);
    assert_int_equal(p.until_ms, in.now_ms + 2000);
    for (int i = 0; i < 4; i++)
        now[i].rest_until_ms = 0;
    gateways[HIGH].enabled = false;
    p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_GO);
    assert_int_not_equal(p.gateway, HIGH);
    gateways[HIGH].enabled = true;
}

static void a_step_may_wait_for_the_messages_age(void **state)
{
    struct plan_input in = input("boss@a", "x@other.example");
    in.age_ms = 20000;
    struct plan p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_WAIT);
    assert_int_equal(p.until_ms, in.now_ms + 40000);
    in.age_ms = 60000;
    assert_plan(in, PLAN_GO, LOW, 1);
}

static void a_resting_destination_rests_only_direct(void **state)
{
    struct plan_input in = input("a@a", "x@shop.example");
    in.direct_rest_ms = in.now_ms + 1000;
    assert_plan(in, PLAN_GO, HIGH, 2); // nothing was tried, so no class is asked for
}

// ---- Conditions ----

static bool matches(const struct conf_route *r, const struct plan_input *in, const char *miss)
{
    const char *got = plan_route_miss(in, r);
    if ((got == NULL) != (miss == NULL) || (got != NULL && strcmp(got, miss) != 0))
        fail_msg("missed %s instead of %s", got != NULL ? got : "nothing",
                 miss != NULL ? miss : "nothing");
    return got == NULL;
}

static void globs_of_recipients_are_those_of_a_shell(void **state)
{
    static const struct {
        const char *glob, *rcpt;
        bool yes;
    } cases[] = {
        {"*@shop.example", "a@shop.example", true},
        {"*@shop.example", "a@SHOP.example", true},
        {"*@SHOP.Example", "a@shop.example", true},
        {"*@shop.example", "a@sub.shop.example", false},
        {"*@*.shop.example", "a@sub.shop.example", true},
        {"*@*.shop.example", "a@shop.example", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"a@b", "a@b", true},
        {"a@b", "aa@b", false},
        {"aa@b", "a@b", false},
        {"a?@shop.example", "ab@shop.example", true},
        {"a?@shop.example", "a@shop.example", false},
        {"*@shop.exampl?", "a@shop.example", true},
        {"*@a.very.long.domain.example", "someone@a.very.long.domain.example", true},
        {"*@b.very.long.domain.example", "someone@a.very.long.domain.example", false},
        {"long-name*@very.long.domain.example", "long-name1@very.long.domain.example", true},
        {"*.long.domain.*", "x@very.long.domain.example", true},
        {"*a*12345678", "b12345678", false},
        {"*12345678*12345678", "12345678", false},
        {"*12345678*12345678", "1234567812345678", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_route r = {.to = &cases[i].glob, .to_count = 1};
        struct plan_input in = input("a@a", cases[i].rcpt);
        bool yes = plan_route_miss(&in, &r) == NULL;
        bool shell = str_glob(str_of(cases[i].glob), str_of(cases[i].rcpt));
        if (yes != cases[i].yes || yes != shell)
            fail_msg("%s against %s", cases[i].glob, cases[i].rcpt);
    }
}

static void a_client_is_known_by_address_uid_or_user(void **state)
{
    static const char *const globs[] = {"uid 1000", "user alice"};
    struct net_range office;
    assert_true(net_range_parse(STR("10.20.0.0/16"), &office));
    struct conf_route r = {
        .client = globs, .client_count = 2, .client_range = &office, .client_range_count = 1};
    struct plan_input in = input("a@a", "b@b");
    envelope.client = STR("uid 1000");
    matches(&r, &in, NULL);
    envelope.client = STR("uid 10001");
    matches(&r, &in, "client");
    envelope.client = STR("10.20.3.4");
    matches(&r, &in, NULL);
    envelope.client = STR("10.21.3.4");
    matches(&r, &in, "client");
    envelope.user = STR("alice");
    matches(&r, &in, NULL);
    envelope.user = STR("alice2");
    matches(&r, &in, "client");
    static char large[LIMIT_PATH + 1];
    memset(large, 'x', sizeof(large));
    envelope.user = str_make(large, sizeof(large));
    matches(&r, &in, "client");
    r = (struct conf_route){.client_range = &office, .client_range_count = 1};
    envelope.client = STR("::ffff:10.20.3.4");
    envelope.user = str_make(NULL, 0);
    plan_route_miss(&in, &r); // whichever: it must not be read beyond
    envelope.client = STR("local");
    matches(&r, &in, "client");
    envelope = (struct envelope){0};
}

static void every_condition_must_hold(void **state)
{
    static const char *const from[] = {"boss@*", "chief@*"}, *const listener[] = {"scan*"};
    static const struct conf_header header[] = {{"x-tag", "bulk*"}, {"x-prio", "1"}};
    static const struct conf_hours hours[] = {{8 * 60, 18 * 60}, {7 * 1440 - 60, 7 * 1440 + 60}};
    struct envelope_header kept[] = {{STR("x-prio"), STR("1")}};
    struct plan_place place = {.networks = 1 << 3, .picked = UINT32_MAX};
    struct conf_route r = {.from = from,
                           .from_count = 2,
                           .listener = listener,
                           .listener_count = 1,
                           .larger = 1000,
                           .smaller = 2000,
                           .header = header,
                           .header_count = 2,
                           .classes = 1u << PRIORITY_URGENT,
                           .networks = 1 << 3 | 1 << 4,
                           .not_networks = 1 << 5,
                           .hours = hours,
                           .hours_count = 2};
    struct plan_input in = input("chief@a", "b@b");
    in.place = &place;
    in.size = 1001;
    in.minute_of_week = 8 * 60;
    envelope.listener = STR("scanner");
    envelope.headers = kept;
    envelope.header_count = 1;
    envelope.priority = PRIORITY_URGENT;
    matches(&r, &in, NULL);
    in.size = 1000;
    matches(&r, &in, "size");
    in.size = 2000;
    matches(&r, &in, "size");
    in.size = 1999;
    matches(&r, &in, NULL);
    in.minute_of_week = 18 * 60;
    matches(&r, &in, "time");
    in.minute_of_week = 59; // behind the week's end
    matches(&r, &in, NULL);
    in.minute_of_week = 7 * 1440 - 60;
    matches(&r, &in, NULL);
    in.minute_of_week = 60;
    matches(&r, &in, "time");
    in.minute_of_week = 0;
    place.networks = 1 << 5 | 1 << 3;
    matches(&r, &in, "network");
    place.networks = 1 << 2;
    matches(&r, &in, "network");
    in.place = NULL;
    matches(&r, &in, "network");
    r.networks = 0;
    matches(&r, &in, NULL);
    envelope.priority = PRIORITY_NORMAL;
    matches(&r, &in, "class");
    envelope.priority = PRIORITY_URGENT;
    kept[0].text = STR("2");
    matches(&r, &in, "header");
    envelope.header_count = 0;
    matches(&r, &in, "header");
    r.header_count = 0;
    envelope.listener = STR("local");
    matches(&r, &in, "listener");
    envelope.sender = STR("worker@a");
    matches(&r, &in, "sender");
    envelope = (struct envelope){0};
}

static void exchangers_are_asked_for_only_where_a_rule_depends_on_them(void **state)
{
    static const char *const mx_outlook[] = {"*.outlook.com"}, *const to_b[] = {"*@b"};
    static const struct conf_step via[] = {{.gateway = LOW}};
    struct conf_route rules[] = {
        {.to = to_b, .to_count = 1, .mx = mx_outlook, .mx_count = 1, .via = via, .via_count = 1},
        {.to = to_b, .to_count = 1, .via = via_shop, .via_count = 1}};
    struct conf c = conf;
    c.routes = rules;
    c.route_count = 2;
    struct plan_input in = input("a@a", "x@b");
    in.conf = &c;
    assert_int_equal(plan_route(&in), ROUTE_NEEDS_MX);
    assert_int_equal(plan_next(&in).kind, PLAN_MX);
    const char *const outlook[] = {"b.mail.protection.outlook.com", NULL}, *const own[] = {"mx.b",
                                                                                           NULL};
    in.mx = outlook;
    assert_int_equal(plan_route(&in), 0);
    in.mx = own;
    assert_int_equal(plan_route(&in), 1);
    in.mx = NULL;
    in.mx_failed = true;
    assert_int_equal(plan_route(&in), 1);
    in = input("a@a", "x@other");
    in.conf = &c;
    assert_int_equal(plan_route(&in), ROUTE_DEFAULT);
}

// ---- The default chain ----

enum { D, COMPANY, ISP, SES, LAN, PLACES = 5 };
static struct conf_gateway many[PLACES];
static struct plan_gateway many_now[PLACES];
static struct plan_place here;
static struct conf office;

static struct plan_input at_office(void)
{
    static const char *const names[] = {"direct", "company", "isp", "ses", "lan"};
    memset(many_now, 0, sizeof(many_now));
    for (uint32_t i = 0; i < PLACES; i++)
        many[i] = (struct conf_gateway){.name = names[i],
                                        .index = i,
                                        .kind = i == D ? GATEWAY_DIRECT : GATEWAY_SMTP,
                                        .host = "smtp.example.org",
                                        .enabled = true,
                                        .priority = 30,
                                        .weight = 1};
    many[COMPANY].networks = 1; // office
    many[COMPANY].priority = 50;
    many[ISP].networks = 2; // home
    many[SES].priority = 20;
    office = (struct conf){
        .gateways = many, .gateway_count = PLACES, .choice = {.automatic = true, .subnet = true}};
    here = (struct plan_place){.networks = 1, .picked = UINT32_MAX};
    struct plan_input in = input("a@a", "b@b");
    envelope.priority = PRIORITY_NORMAL;
    in.conf = &office;
    in.gateways = many_now;
    in.place = &here;
    return in;
}

#define CHAIN(in, ...)                                                                             \
    assert_chain(in, (const int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int) / 2)

// Pairs of gateway and rank.
static void assert_chain(const struct plan_input *in, const int *want, size_t count)
{
    struct plan_chain c;
    plan_chain(in, &c);
    assert_int_equal(c.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(c.steps[i].gateway, want[2 * i]);
        assert_int_equal(c.rank[i], want[2 * i + 1]);
    }
}

static void a_network_comes_before_a_subnet_before_priority(void **state)
{
    struct plan_input in = at_office();
    many_now[LAN].in_subnet = true;
    CHAIN(&in, COMPANY, RANK_NETWORK, LAN, RANK_SUBNET, SES, RANK_PRIORITY, ISP, RANK_PRIORITY);
    office.choice.subnet = false;
    CHAIN(&in, COMPANY, RANK_NETWORK, SES, RANK_PRIORITY, LAN, RANK_PRIORITY, ISP, RANK_PRIORITY);
    here.networks = 2;
    CHAIN(&in, ISP, RANK_NETWORK, SES, RANK_PRIORITY, LAN, RANK_PRIORITY, COMPANY, RANK_PRIORITY);
    assert_int_equal(plan_next(&in).gateway, ISP);
    here.networks = 0; // then none of the two may be used
    assert_int_equal(plan_next(&in).gateway, SES);
}

static void the_fallback_is_the_one_marked_or_the_first(void **state)
{
    struct plan_input in = at_office();
    office.choice.fallback = FALLBACK_DEFAULT;
    CHAIN(&in, COMPANY, RANK_NETWORK, ISP, RANK_PRIORITY); // company is the first: no other one
    here.networks = 0;
    CHAIN(&in, SES, RANK_FALLBACK, ISP, RANK_PRIORITY, COMPANY, RANK_PRIORITY);
    many[LAN].fallback = true;
    CHAIN(&in, LAN, RANK_FALLBACK, ISP, RANK_PRIORITY, COMPANY, RANK_PRIORITY);
    here.networks = 1;
    CHAIN(&in, COMPANY, RANK_NETWORK, LAN, RANK_FALLBACK, ISP, RANK_PRIORITY);
    office.choice.fallback = FALLBACK_NONE;
    CHAIN(&in, COMPANY, RANK_NETWORK, ISP, RANK_PRIORITY);
    here.networks = 4;
    assert_plan(in, PLAN_WAIT, ISP, 0);
    many[D].fallback = true; // direct delivery may be the fallback
    many[LAN].fallback = false;
    office.choice.fallback = FALLBACK_DEFAULT;
    CHAIN(&in, D, RANK_FALLBACK, ISP, RANK_PRIORITY, COMPANY, RANK_PRIORITY);
}

static void a_pick_by_hand_comes_first_wherever_it_is_bound(void **state)
{
    struct plan_input in = at_office();
    here.picked = ISP;
    CHAIN(&in, ISP, RANK_PICKED, COMPANY, RANK_NETWORK, SES, RANK_PRIORITY, LAN, RANK_PRIORITY);
    assert_plan(in, PLAN_GO, ISP, 1);
    here.picked = D;
    assert_plan(in, PLAN_GO, D, 1);
    // Nothing else once automatic choice is switched off.
    office.choice.automatic = false;
    here.picked = SES;
    CHAIN(&in, SES, RANK_PICKED);
    here.picked = UINT32_MAX;
    CHAIN(&in, COMPANY, RANK_FALLBACK);
    here.networks = 0;
    CHAIN(&in, SES, RANK_FALLBACK);
}

static void a_pick_by_hand_comes_first_in_a_route_that_names_it(void **state)
{
    static const struct conf_step via[] = {
        {.gateway = D}, {.gateway = ISP, .after_tries = 3}, {.gateway = SES}};
    struct conf_route r = {.via = via, .via_count = 3};
    struct plan_input in = at_office();
    office.routes = &r;
    office.route_count = 1;
    here.picked = ISP;
    CHAIN(&in, ISP, RANK_PICKED, D, RANK_ROUTE, SES, RANK_ROUTE);
    assert_plan(in, PLAN_GO, ISP, 1); // at once, and on a network it is not bound to
    here.picked = COMPANY;
    CHAIN(&in, D, RANK_ROUTE, ISP, RANK_ROUTE, SES, RANK_ROUTE);
}

static void mail_behind_one_that_rests_is_shared_by_weight_too(void **state)
{
    struct plan_input in = at_office();
    for (uint32_t i = COMPANY; i < PLACES; i++) {
        many[i].networks = 0;
        many[i].priority = 30;
    }
    many_now[COMPANY].rest_until_ms = in.now_ms + 1;
    unsigned taken[PLACES] = {0};
    for (in.share = 0; in.share < 3000; in.share++)
        taken[plan_next(&in).gateway]++;
    assert_int_equal(taken[COMPANY], 0);
    for (uint32_t i = ISP; i < PLACES; i++)
        assert_in_range(taken[i], 900, 1100);
    many[SES].weight = 0; // never first among those that have one
    many_now[COMPANY].rest_until_ms = 0;
    for (in.share = 0; in.share < 1000; in.share++)
        assert_int_not_equal(plan_next(&in).gateway, SES);
    for (uint32_t i = COMPANY; i < PLACES; i++)
        many[i].weight = 0;
    plan_next(&in);
}

// ---- States and waiting ----

static enum plan_state state_of(const struct plan_input *in, struct conf_step step, int64_t *until)
{
    return plan_step_state(in, &step, until);
}

static void a_gateway_sends_in_its_hours_only(void **state)
{
    static const struct conf_hours hours[] = {{8 * 60, 18 * 60}, {6 * 1440 + 1380, 7 * 1440 + 60}};
    struct plan_input in = at_office();
    int64_t until, midnight = 100 * 86400000LL;
    struct conf_step step = {.gateway = COMPANY};
    in.now_ms = midnight + 30000;
    many[COMPANY].hours = hours;
    many[COMPANY].hours_count = 2;
    in.minute_of_week = 8 * 60;
    assert_int_equal(state_of(&in, step, &until), STEP_OPEN);
    in.minute_of_week = 18 * 60; // until Sunday at 23:00
    assert_int_equal(state_of(&in, step, &until), STEP_HOURS);
    assert_int_equal(until, midnight + ((6 * 1440 + 1380) - 18 * 60) * 60000LL);
    in.minute_of_week = 30; // still Sunday's night
    assert_int_equal(state_of(&in, step, &until), STEP_OPEN);
    in.minute_of_week = 7 * 60 + 59;
    assert_int_equal(state_of(&in, step, &until), STEP_HOURS);
    assert_int_equal(until, midnight + 60000);
    for (uint32_t i = 0; i < PLACES; i++)
        many[i].enabled = i == COMPANY;
    struct plan p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_WAIT);
    assert_int_equal(p.state, STEP_HOURS);
    assert_int_equal(p.until_ms, midnight + 60000);
    struct plan_place place = *in.place; // a pick by hand means now
    place.picked = COMPANY;
    in.place = &place;
    assert_int_equal(plan_next(&in).kind, PLAN_GO);
    many[COMPANY].hours_count = 0;
}

static void each_state_has_its_cause(void **state)
{
    static const char *const senders[] = {"*@example.org"};
    struct plan_input in = at_office();
    int64_t until;
    in.size = 100;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = COMPANY}, &until), STEP_OPEN);
    assert_int_equal(until, INT64_MAX);
    many[COMPANY].enabled = false;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = COMPANY}, &until), STEP_DISABLED);
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = ISP}, &until), STEP_NETWORK);
    many[SES].senders = senders;
    many[SES].sender_count = 1;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_SENDER);
    envelope.sender = STR("me@example.org");
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_OPEN);
    many[SES].message_size = 99;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_SIZE);
    many[SES].message_size = 100;
    many_now[SES].quota_until_ms[QUOTA_OTHERS] = in.now_ms + 7;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_QUOTA);
    assert_int_equal(until, in.now_ms + 7);
    envelope.priority = PRIORITY_URGENT; // the reserve
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_OPEN);
    many_now[SES].quota_until_ms[QUOTA_URGENT] = in.now_ms + 5;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_QUOTA);
    many_now[LAN].rest_until_ms = in.now_ms + 9;
    assert_int_equal(state_of(&in, (struct conf_step){.gateway = LAN}, &until), STEP_RESTS);
    assert_int_equal(until, in.now_ms + 9);
    many_now[LAN].rest_until_ms = in.now_ms;
    struct conf_step step = {.gateway = LAN, .after_tries = 2, .after_ms = 1000};
    assert_int_equal(state_of(&in, step, &until), STEP_EARLY_TRIES);
    in.tries = 2;
    assert_int_equal(state_of(&in, step, &until), STEP_EARLY_TIME);
    assert_int_equal(until, in.now_ms + 1000);
    in.age_ms = 1000;
    assert_int_equal(state_of(&in, step, &until), STEP_OPEN);
}

static void offline_only_what_is_on_this_machine_is_open(void **state)
{
    static const struct conf_socks tor = {.host = "127.0.0.1", .port = 9050};
    static const struct {
        const char *host;
        bool local;
    } hosts[] = {{"127.0.0.1", true}, {"::1", true},        {"[::1]", true},
                 {"LocalHost", true}, {"192.0.2.1", false}, {"localhost.example", false},
                 {"", false},         {"mx.example", false}};
    struct plan_input in = at_office();
    int64_t until;
    for (int captive = 0; captive < 2; captive++) {
        here.offline = !captive;
        here.captive = captive;
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
            many[LAN].host = hosts[i].host;
            assert_int_equal(state_of(&in, (struct conf_step){.gateway = LAN}, &until),
                             hosts[i].local ? STEP_OPEN : STEP_OFFLINE);
        }
        many[LAN].host = "127.0.0.1";
        many[LAN].socks = &tor;
        assert_int_equal(state_of(&in, (struct conf_step){.gateway = LAN}, &until), STEP_OFFLINE);
        many[LAN].socks = NULL;
        assert_int_equal(state_of(&in, (struct conf_step){.gateway = D}, &until), STEP_OFFLINE);
        many[SES].unix_path = "/run/dovecot/lmtp";
        assert_int_equal(state_of(&in, (struct conf_step){.gateway = SES}, &until), STEP_OPEN);
        many[SES].unix_path = NULL;
    }
}

static void what_another_place_opens_is_waited_for(void **state)
{
    struct plan_input in = at_office();
    many[SES].enabled = many[LAN].enabled = false;
    here.networks = 0;
    struct plan p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_WAIT);
    assert_int_equal(p.gateway, ISP); // by priority
    assert_int_equal(p.state, STEP_NETWORK);
    assert_true(p.rests);
    assert_int_equal(p.until_ms, INT64_MAX);
    // What comes back by itself is preferred, and its time is when to ask again.
    many[LAN].enabled = true;
    many[LAN].priority = 90;
    many_now[LAN].rest_until_ms = in.now_ms + 50;
    p = plan_next(&in);
    assert_int_equal(p.gateway, LAN);
    assert_int_equal(p.state, STEP_RESTS);
    assert_int_equal(p.until_ms, in.now_ms + 50);
    here.offline = true;
    many_now[LAN].rest_until_ms = 0;
    p = plan_next(&in);
    assert_int_equal(p.gateway, LAN);
    assert_int_equal(p.state, STEP_OFFLINE);
    assert_true(p.rests);
}

static void what_could_never_carry_it_is_not_waited_for(void **state)
{
    static const char *const senders[] = {"*@example.org"};
    struct plan_input in = at_office();
    here.networks = 0;
    many[SES].enabled = many[LAN].enabled = false;
    many[ISP].senders = many[COMPANY].senders = senders;
    many[ISP].sender_count = many[COMPANY].sender_count = 1;
    assert_plan(in, PLAN_NONE, 0, 0);
    many[COMPANY].sender_count = 0;
    assert_plan(in, PLAN_WAIT, COMPANY, 0);
    many[COMPANY].message_size = 10;
    in.size = 11;
    assert_plan(in, PLAN_NONE, 0, 0);
}

static void attempts_that_nothing_makes_are_not_asked_for(void **state)
{
    static const struct conf_step via[] = {{.gateway = SES}, {.gateway = LAN, .after_tries = 3}};
    struct conf_route r = {.via = via, .via_count = 2};
    struct plan_input in = at_office();
    office.routes = &r;
    office.route_count = 1;
    many_now[SES].rest_until_ms = in.now_ms + 10;
    assert_plan(in, PLAN_WAIT, SES, 0);
    many[SES].enabled = false;
    assert_plan(in, PLAN_GO, LAN, 2);
    many_now[LAN].rest_until_ms = in.now_ms + 10;
    assert_plan(in, PLAN_WAIT, LAN, 0);
}

static void too_young_mail_rests_in_no_lane(void **state)
{
    static const struct conf_step via[] = {{.gateway = SES}, {.gateway = LAN, .after_ms = 500}};
    struct conf_route r = {.via = via, .via_count = 2};
    struct plan_input in = at_office();
    office.routes = &r;
    office.route_count = 1;
    many[SES].networks = 2;
    // The lane of a gateway of elsewhere; the age is when to ask again.
    struct plan p = plan_next(&in);
    assert_int_equal(p.gateway, SES);
    assert_true(p.rests);
    assert_int_equal(p.until_ms, in.now_ms + 500);
    assert_int_equal(p.age_ms, in.now_ms + 500);
    many[SES].enabled = false;
    many_now[LAN].rest_until_ms = in.now_ms + 9; // shorter than what it lacks in age
    p = plan_next(&in);
    assert_int_equal(p.kind, PLAN_WAIT);
    assert_false(p.rests);
    assert_int_equal(p.state, STEP_EARLY_TIME);
    assert_int_equal(p.until_ms, in.now_ms + 500);
    assert_int_equal(p.age_ms, in.now_ms + 500);
}

static void urgent_mail_begins_the_next_way_beside(void **state)
{
    static const struct conf_step via[] = {{.gateway = SES},
                                           {.gateway = ISP, .parallel_ms = 1},
                                           {.gateway = LAN, .parallel_ms = 5000}};
    struct conf_route r = {.via = via, .via_count = 3};
    struct plan_input in = at_office();
    office.routes = &r;
    office.route_count = 1;
    assert_int_equal(plan_next(&in).parallel_ms, 0);
    envelope.priority = PRIORITY_URGENT;
    assert_int_equal(plan_next(&in).parallel_ms, 5000); // isp is not here
    in.from_step = 2;
    in.last_class = OUTCOME_NET;
    assert_int_equal(plan_next(&in).parallel_ms, 0);
}

static void a_detour_stands_before_direct_delivery(void **state)
{
    static const struct conf_step via[] = {{.gateway = D}, {.gateway = LAN}, {.gateway = SES}};
    static const struct plan_detour detours[] = {{.provider = "example.net", .gateway = LAN},
                                                 {.provider = "outlook.com", .gateway = SES}};
    static const char *const outlook[] = {"b.mail.protection.OUTLOOK.com.", NULL};
    static const char *const like[] = {"mx.myoutlook.com", NULL};
    struct conf_route r = {.via = via, .via_count = 3};
    struct plan_input in = at_office();
    office.routes = &r;
    office.route_count = 1;
    in.detours = detours;
    in.detour_count = 2;
    CHAIN(&in, D, RANK_ROUTE, LAN, RANK_ROUTE, SES, RANK_ROUTE);
    in.mx = outlook;
    CHAIN(&in, SES, RANK_DETOUR, D, RANK_ROUTE, LAN, RANK_ROUTE);
    assert_plan(in, PLAN_GO, SES, 1);
    in.from_step = 1;
    in.last_class = OUTCOME_REPUTATION; // direct would hear the same again
    assert_plan(in, PLAN_GO, LAN, 3);
    in.last_class = OUTCOME_NET;
    assert_plan(in, PLAN_GO, D, 2);
    in.from_step = 0;
    in.mx = like;
    CHAIN(&in, D, RANK_ROUTE, LAN, RANK_ROUTE, SES, RANK_ROUTE);
    r.via_count = 1;
    in.mx = outlook;
    CHAIN(&in, SES, RANK_DETOUR, D, RANK_ROUTE);
    here.picked = D; // a person says so
    CHAIN(&in, D, RANK_PICKED);
}

// ---- Whatever the configuration ----

static uint64_t seed;
static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

struct world {
    struct conf conf;
    struct conf_gateway gateways[6];
    struct plan_gateway now[6];
    struct conf_step steps[3][5];
    struct conf_route routes[3];
    struct plan_place place;
    struct plan_detour detour;
    const char *senders[1], *to[3][1], *mx[2];
};

static void throw_gateways(struct world *w)
{
    static const char *const hosts[] = {"127.0.0.1", "mx.example", "localhost"};
    for (uint32_t i = 0; i < w->conf.gateway_count; i++) {
        w->gateways[i] = (struct conf_gateway){.name = "g",
                                               .index = i,
                                               .kind = i == 0 ? GATEWAY_DIRECT : GATEWAY_SMTP,
                                               .host = hosts[dice(3)],
                                               .enabled = dice(4) > 0,
                                               .priority = (int)dice(3),
                                               .weight = dice(3),
                                               .fallback = dice(6) == 0,
                                               .networks = dice(3) == 0 ? dice(4) : 0,
                                               .message_size = dice(5) == 0 ? 100 : 0,
                                               .senders = w->senders,
                                               .sender_count = dice(5) == 0};
        w->now[i] = (struct plan_gateway){
            .rest_until_ms = dice(3) == 0 ? (dice(4) == 0 ? INT64_MAX : 1000 + dice(50)) : 0,
            .rest_class = OUTCOME_NET,
            .quota_until_ms = {dice(5) == 0 ? 1020 : 0, dice(9) == 0 ? 1010 : 0},
            .in_subnet = dice(4) == 0};
    }
}

static struct plan_input throw_world(struct world *w, struct envelope *e)
{
    static const char *const rcpts[] = {"*@b", "*@c", "*"};
    *w = (struct world){.senders = {"*@a"}, .mx = {"mx.b", NULL}};
    w->conf = (struct conf){.gateways = w->gateways,
                            .gateway_count = 1 + dice(6),
                            .routes = w->routes,
                            .route_count = dice(4),
                            .choice = {.automatic = dice(4) > 0,
                                       .subnet = dice(2) == 0,
                                       .fallback = (enum conf_fallback)dice(3)}};
    throw_gateways(w);
    for (size_t i = 0; i < 3; i++) {
        w->to[i][0] = rcpts[dice(3)];
        size_t steps = 1 + dice(5);
        for (size_t k = 0; k < steps; k++)
            w->steps[i][k] =
                (struct conf_step){.gateway = dice((unsigned)w->conf.gateway_count),
                                   .on = dice(3) == 0 ? 1u << dice(OUTCOME_CLASSES) : 0,
                                   .after_tries = dice(4) == 0 ? dice(4) : 0,
                                   .after_ms = dice(4) == 0 ? dice(100) : 0,
                                   .parallel_ms = dice(2)};
        w->routes[i] = (struct conf_route){.to = w->to[i],
                                           .to_count = 1,
                                           .networks = dice(3) == 0 ? dice(4) : 0,
                                           .mx = w->mx,
                                           .mx_count = dice(4) == 0,
                                           .via = w->steps[i],
                                           .via_count = steps};
    }
    w->place = (struct plan_place){.networks = dice(4),
                                   .offline = dice(8) == 0,
                                   .captive = dice(8) == 0,
                                   .picked = dice(3) == 0 ? dice(6) : UINT32_MAX};
    w->detour = (struct plan_detour){.provider = "b", .gateway = dice(6)};
    *e = (struct envelope){.sender = dice(2) == 0 ? STR("x@a") : STR("x@z"),
                           .priority = (enum envelope_priority)dice(3)};
    return (struct plan_input){.conf = &w->conf,
                               .gateways = w->now,
                               .place = dice(6) > 0 ? &w->place : NULL,
                               .detours = &w->detour,
                               .detour_count = dice(2),
                               .envelope = e,
                               .rcpt = dice(2) == 0 ? STR("r@b") : STR("r@c"),
                               .size = dice(200),
                               .mx = dice(3) == 0 ? w->mx : NULL,
                               .mx_failed = dice(3) == 0,
                               .now_ms = 1000,
                               .age_ms = dice(100),
                               .tries = dice(4),
                               .from_step = dice(3) == 0 ? dice(4) : 0,
                               .last_class = (enum outcome_class)dice(OUTCOME_CLASSES),
                               .share = seed};
}

// What explain says must be what is done.
static void assert_explained(const struct plan_input *in, struct plan p)
{
    static const char *const said[] = {[PLAN_GO] = "\n  so: goes through g now",
                                       [PLAN_WAIT] = "\n  so: waits for g: ",
                                       [PLAN_END] = "\n  so: the ways of this round",
                                       [PLAN_NONE] = "\n  so: no way: ",
                                       [PLAN_MX] = "\n  so: first the mail exchangers"};
    struct buf out;
    buf_init(&out, 100000);
    explain_text(in, NULL, &out);
    if (strstr(buf_cstr(&out), said[p.kind]) == NULL)
        fail_msg("kind %d, but: %s", p.kind, buf_cstr(&out));
    buf_clear(&out);
    explain_choice(in, &p, &out);
    assert_true(p.kind != PLAN_GO || out.len > 0);
    buf_free(&out);
}

static void decisions_keep_their_promises(void **state)
{
    unsigned kinds[PLAN_MX + 1] = {0};
    for (seed = 1; seed < 40000; seed++) {
        uint64_t begin = seed;
        struct world w;
        struct envelope e;
        struct plan_input in = throw_world(&w, &e);
        struct plan_chain c;
        plan_chain(&in, &c);
        struct plan p = plan_next(&in);
        kinds[p.kind]++;
        int64_t until;
        bool open = false, hope = false;
        for (size_t i = in.from_step; i < c.count; i++) {
            enum plan_state s = plan_chain_state(&in, &c, i, &until);
            open = open || s == STEP_OPEN;
            if (s != STEP_DISABLED && s != STEP_SENDER && s != STEP_SIZE &&
                plan_step_state(&in, &(struct conf_step){.gateway = c.steps[i].gateway}, &until) !=
                    STEP_NETWORK)
                hope = true;
        }
        if (p.kind == PLAN_GO) {
            assert_in_range(p.step, in.from_step + 1, c.count);
            assert_int_equal(c.steps[p.step - 1].gateway, p.gateway);
            assert_int_equal(plan_chain_state(&in, &c, p.step - 1, &until), STEP_OPEN);
            assert_true(w.gateways[p.gateway].enabled);
        } else {
            assert_false(open);
        }
        if (p.kind == PLAN_NONE && hope && in.place != NULL && !in.place->offline &&
            !in.place->captive)
            fail_msg("seed %llu has no way", (unsigned long long)begin);
        if (p.kind == PLAN_WAIT) {
            assert_true(p.until_ms > in.now_ms);
            assert_true(p.rests == (p.state != STEP_EARLY_TIME));
        }
        assert_true((p.kind == PLAN_MX) == (c.route == ROUTE_NEEDS_MX));
        assert_true(p.kind != PLAN_END || in.from_step > 0);
        assert_explained(&in, p);
        seed = begin;
    }
    for (int k = PLAN_GO; k <= PLAN_MX; k++)
        assert_in_range(kinds[k], 500, 40000);
}

// ---- The judge ----

struct reply {
    const char *name;
    uint32_t gateway;
    enum outcome_class class;
    enum outcome_phase phase;
    uint16_t code;
    uint8_t enhanced[3];
    const char *text;
    enum outcome_class want;
    enum outcome_scope scope;
    enum verdict_action action;
};

static const struct reply replies[] = {
    {"Gmail's daily quota comes as 550",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_BODY,
     550,
     {5, 4, 5},
     "Daily user sending quota exceeded. For more information",
     OUTCOME_QUOTA,
     SCOPE_ACCOUNT,
     VERDICT_NEXT},
    {"the same words from a recipient's own MX are its refusal",
     DIRECT,
     OUTCOME_REFUSED,
     PHASE_RCPT,
     550,
     {5, 4, 5},
     "Daily user sending quota exceeded",
     OUTCOME_REFUSED,
     SCOPE_RECIPIENT,
     VERDICT_FAIL},
    {"From is not ours at this gateway",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_MAIL,
     553,
     {5, 7, 1},
     "Sender address rejected: not owned by user me",
     OUTCOME_AUTH,
     SCOPE_ACCOUNT,
     VERDICT_NEXT},
    {"an unknown user is the recipient's fault",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_RCPT,
     550,
     {5, 1, 1},
     "User unknown",
     OUTCOME_REFUSED,
     SCOPE_RECIPIENT,
     VERDICT_FAIL},
    {"relay denied: we are on the wrong network for this gateway",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_RCPT,
     554,
     {5, 7, 1},
     "<x@y>: Relay access denied",
     OUTCOME_AUTH,
     SCOPE_GATEWAY,
     VERDICT_NEXT},
    {"listed at a blocklist: this way is unwelcome, not the mail",
     DIRECT,
     OUTCOME_REFUSED,
     PHASE_RCPT,
     554,
     {5, 7, 1},
     "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
     OUTCOME_REPUTATION,
     SCOPE_GATEWAY,
     VERDICT_NEXT},
    {"a 5xx greeting is about us",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_GREETING,
     554,
     {0, 0, 0},
     "no service",
     OUTCOME_REPUTATION,
     SCOPE_GATEWAY,
     VERDICT_NEXT},
    {"greylisting is the recipient's",
     DIRECT,
     OUTCOME_BUSY,
     PHASE_RCPT,
     450,
     {4, 2, 0},
     "Greylisted",
     OUTCOME_BUSY,
     SCOPE_RECIPIENT,
     VERDICT_NEXT},
    {"421 closes the destination",
     DIRECT,
     OUTCOME_BUSY,
     PHASE_MAIL,
     421,
     {4, 3, 2},
     "shutting down",
     OUTCOME_BUSY,
     SCOPE_DESTINATION,
     VERDICT_NEXT},
    {"no such domain is final",
     DIRECT,
     OUTCOME_REFUSED,
     PHASE_RESOLVE,
     0,
     {5, 1, 2},
     "no such domain",
     OUTCOME_REFUSED,
     SCOPE_RECIPIENT,
     VERDICT_FAIL},
    {"lost after the dot is doubt",
     HIGH,
     OUTCOME_DOUBT,
     PHASE_FINAL,
     0,
     {0, 0, 0},
     "connection lost",
     OUTCOME_DOUBT,
     SCOPE_MESSAGE,
     VERDICT_DOUBT},
    {"refused content is the message's fault",
     HIGH,
     OUTCOME_REFUSED,
     PHASE_BODY,
     554,
     {5, 6, 0},
     "spam",
     OUTCOME_REFUSED,
     SCOPE_MESSAGE,
     VERDICT_FAIL},
};

static void replies_are_judged_by_whose_fault_they_are(void **state)
{
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        const struct reply *r = &replies[i];
        struct outcome o = {.class = r->class, .phase = r->phase, .code = r->code};
        memcpy(o.enhanced, r->enhanced, 3);
        snprintf(o.text, sizeof(o.text), "%s", r->text);
        judge_classify(&o, &conf, &gateways[r->gateway]);
        struct verdict v = judge_verdict(&o, &conf, &gateways[r->gateway]);
        if (o.class != r->want || o.scope != r->scope || v.action != r->action)
            fail_msg("%s: class %s scope %d action %d", r->name, outcome_class_name(o.class),
                     o.scope, v.action);
    }
}

static void offline_and_dns_trouble_never_count(void **state)
{
    struct outcome o = {.class = OUTCOME_DNS, .phase = PHASE_RESOLVE};
    judge_classify(&o, &conf, &gateways[DIRECT]);
    assert_false(judge_verdict(&o, &conf, &gateways[DIRECT]).counts);
    o = (struct outcome){.class = OUTCOME_OFFLINE};
    assert_false(judge_verdict(&o, &conf, &gateways[HIGH]).counts);
    o = (struct outcome){.class = OUTCOME_LOCAL};
    assert_false(judge_verdict(&o, &conf, &gateways[HIGH]).counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_matching_route_decides),
        cmocka_unit_test(the_default_chain_goes_by_priority_and_leaves_direct_out),
        cmocka_unit_test(a_step_follows_only_on_its_classes),
        cmocka_unit_test(a_resting_or_disabled_gateway_is_passed_by),
        cmocka_unit_test(a_step_may_wait_for_the_messages_age),
        cmocka_unit_test(a_resting_destination_rests_only_direct),
        cmocka_unit_test(globs_of_recipients_are_those_of_a_shell),
        cmocka_unit_test(a_client_is_known_by_address_uid_or_user),
        cmocka_unit_test(every_condition_must_hold),
        cmocka_unit_test(exchangers_are_asked_for_only_where_a_rule_depends_on_them),
        cmocka_unit_test(a_network_comes_before_a_subnet_before_priority),
        cmocka_unit_test(the_fallback_is_the_one_marked_or_the_first),
        cmocka_unit_test(a_pick_by_hand_comes_first_wherever_it_is_bound),
        cmocka_unit_test(a_pick_by_hand_comes_first_in_a_route_that_names_it),
        cmocka_unit_test(mail_behind_one_that_rests_is_shared_by_weight_too),
        cmocka_unit_test(a_gateway_sends_in_its_hours_only),
        cmocka_unit_test(each_state_has_its_cause),
        cmocka_unit_test(offline_only_what_is_on_this_machine_is_open),
        cmocka_unit_test(what_another_place_opens_is_waited_for),
        cmocka_unit_test(what_could_never_carry_it_is_not_waited_for),
        cmocka_unit_test(attempts_that_nothing_makes_are_not_asked_for),
        cmocka_unit_test(too_young_mail_rests_in_no_lane),
        cmocka_unit_test(urgent_mail_begins_the_next_way_beside),
        cmocka_unit_test(the_last_of_all_gateways_is_found),
        cmocka_unit_test(a_detour_stands_before_direct_delivery),
        cmocka_unit_test(decisions_keep_their_promises),
        cmocka_unit_test(replies_are_judged_by_whose_fault_they_are),
        cmocka_unit_test(offline_and_dns_trouble_never_count),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
