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

static void explanations_name_every_rule(void **state)
{
    struct plan_input in = input("boss@a", "x@other.example");
    struct buf out;
    buf_init(&out, 10000);
    explain_text(&in, &out);
    assert_string_equal(buf_cstr(&out), "boss@a -> x@other.example\n"
                                        "  route 1 (line 4): to *@shop.example  no (recipient)\n"
                                        "  route 2 (line 5): from boss@*  YES\n"
                                        "  1. low          not yet: in 1 min\n");
    buf_free(&out);
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
        cmocka_unit_test(explanations_name_every_rule),
        cmocka_unit_test(replies_are_judged_by_whose_fault_they_are),
        cmocka_unit_test(offline_and_dns_trouble_never_count),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
