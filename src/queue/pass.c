// SPDX-License-Identifier: ISC
// Ways for mail whose client waits.
//
// Invariants
//  1. A way is held exactly while `lane` is set: a place in the lane (lane_enter), a charge, and a
//     reference to the configuration it is of.
//  2. Whoever finds no room stands in queue.passes, asks again at every turn, and hears no after
//     LIMIT_PASS_WAIT_MS at the latest, or at once when we stop or nobody waits any more.
//  3. Within one transaction the chain is only walked forward (from_step), and MOVES_MOST times.
#include "queue/health.h"
#include "queue/quota.h"

#include <stdio.h>

enum {
    MOVES_MOST = 12,
    LOOK_MS = 500, // what waits looks so often, should nothing wake it
};

static void on_answer(struct post *post)
{
    struct pass *p = (struct pass *)post;
    p->answered(p);
}

static void answer(struct pass *p, enum pass_answer answer)
{
    p->answer = answer;
    p->post.run = on_answer;
    loop_post(p->home, &p->post);
}

static void no_way(struct pass *p, const char *why)
{
    snprintf(p->why, sizeof(p->why), "%s", why);
    answer(p, PASS_NONE);
}

static void give_up(struct queue *q, struct pass *p, size_t taken)
{
    if (p->lane == NULL)
        return;
    quota_settle(q, &p->charge, taken);
    lane_leave(q, p->lane, p->loop, p->unproven, p->open);
    conf_unref(&p->conf);
    p->gateway = NULL;
    p->lane = NULL;
    queue_wake(q);
}

static struct str domain_of(struct queue *q, uint32_t gateway, struct str rcpt)
{
    bool direct = q->conf->gateways[gateway].kind == GATEWAY_DIRECT;
    return direct ? envelope_domain(rcpt) : STR("");
}

// ---- No way, in words ----

static const char *waits_for(enum plan_state state)
{
    static const char *const words[STEP_STATES] = {
        [STEP_NETWORK] = "it is bound to another network",
        [STEP_HOURS] = "it sends at other times",
        [STEP_OFFLINE] = "this machine has no network",
        [STEP_QUOTA] = "its allowance is used up",
        [STEP_RESTS] = "it rests after trouble",
    };
    return words[state] != NULL ? words[state] : "it may not be used now";
}

static void say_no_way(struct queue *q, struct pass *p, const struct plan *plan)
{
    const struct outcome *o = &p->outcome;
    if (plan->kind == PLAN_WAIT) {
        struct str rcpt = p->envelope->rcpts[0].address;
        struct lane *lane = lane_for(q, plan->gateway, domain_of(q, plan->gateway, rcpt));
        const char *trouble =
            plan->state == STEP_RESTS && lane->trouble != NULL ? lane->trouble->outcome.text : "";
        snprintf(p->why, sizeof(p->why), "gateway %.60s: %s%s%.160s",
                 q->conf->gateways[plan->gateway].name, waits_for(plan->state),
                 trouble[0] != '\0' ? ": " : "", trouble);
    } else if (plan->kind == PLAN_END && p->moves > 0) {
        snprintf(p->why, sizeof(p->why), "the last gateway that was tried says: %.200s", o->text);
    } else {
        snprintf(p->why, sizeof(p->why), "no gateway that is enabled may carry it");
    }
    answer(p, PASS_NONE);
}

// ---- Choosing ----

static struct plan_input input_for(struct queue *q, const struct pass *p, size_t i)
{
    struct plan_input in =
        planning_fresh(q, p->envelope, p->envelope->rcpts[i].address, p->id, p->size);
    in.from_step = p->from_step;
    in.last_class = p->last_class;
    return in;
}

// Is that gateway one of the ways of this recipient, whatever stands before it?
static bool on_its_chain(struct queue *q, const struct pass *p, size_t i, uint32_t gateway)
{
    struct plan_input in = input_for(q, p, i);
    struct plan_chain chain;
    int64_t until;
    plan_chain(&in, &chain);
    for (size_t k = 0; k < chain.count; k++)
        if (chain.steps[k].gateway == gateway &&
            plan_step_state(&in, &chain.steps[k], &until) == STEP_OPEN)
            return true;
    return false;
}

// All of them go where the first goes.
static bool together(struct queue *q, const struct pass *p, uint32_t gateway)
{
    const struct envelope *e = p->envelope;
    struct str domain = domain_of(q, gateway, e->rcpts[0].address);
    for (size_t i = 1; i < e->count; i++)
        if (!str_ieq(domain_of(q, gateway, e->rcpts[i].address), domain) ||
            !on_its_chain(q, p, i, gateway))
            return false;
    return true;
}

static void wait_for_room(struct queue *q, struct pass *p, uint32_t gateway,
                          void (*again)(struct queue *q, struct pass *p))
{
    if (p->until_ms == 0) {
        p->until_ms = q->mono_ms + LIMIT_PASS_WAIT_MS;
        queue_wake(q); // for its timer
    }
    if (q->mono_ms < p->until_ms && !q->stopping && !atomic_load(&p->gone)) {
        p->again = again;
        list_append(&q->passes, &p->waiting);
        return;
    }
    snprintf(p->why, sizeof(p->why), "gateway %.60s: as much is under way there as it may take now",
             q->conf->gateways[gateway].name);
    answer(p, PASS_NONE);
}

static void hold(struct queue *q, struct pass *p, const struct plan *plan, struct lane *lane)
{
    p->lane = lane;
    p->unproven = lane_enter(q, lane, p->loop);
    p->step = plan->step;
    p->conf_age = q->conf_age;
    p->place_age = q->place_age;
    p->conf = conf_ref(q->conf);
    p->gateway = &p->conf->gateways[plan->gateway];
    snprintf(p->domain, sizeof(p->domain), "%s", lane->domain);
    if (p->charge.spent)
        lane_sweep_gateway(q, plan->gateway);
    answer(p, PASS_GO);
}

static void choose(struct queue *q, struct pass *p);
static void on_exchangers(void *ctx);

// One look at the plan. True: it was answered, or waits.
static bool choose_once(struct queue *q, struct pass *p)
{
    const struct envelope *e = p->envelope;
    struct plan_input in = input_for(q, p, 0);
    struct plan plan = plan_next(&in);
    if (planning_needs_mx(q, &in, &plan)) {
        exchangers_when(q, envelope_domain(in.rcpt), on_exchangers, p);
        return true;
    }
    if (plan.kind != PLAN_GO) {
        say_no_way(q, p, &plan);
        return true;
    }
    if (!together(q, p, plan.gateway)) {
        no_way(p, "the recipients' ways part here; send to each of them by itself");
        return true;
    }
    struct lane *lane = lane_for(q, plan.gateway, domain_of(q, plan.gateway, in.rcpt));
    if (!lane_open(q, lane, p->loop)) {
        wait_for_room(q, p, plan.gateway, choose);
        return true;
    }
    size_t rcpts = e->count;
    switch (quota_charge(q, plan.gateway, e->priority, p->size, &rcpts, &p->charge)) {
    case QUOTA_GO:
        if (rcpts == e->count) {
            hold(q, p, &plan, lane);
            return true;
        }
        quota_settle(q, &p->charge, 0);
        break;
    case QUOTA_SPENT: lane_sweep_gateway(q, plan.gateway); return false;
    case QUOTA_LATER: wait_for_room(q, p, plan.gateway, choose); return true;
    case QUOTA_NEVER: break;
    }
    // More than is left, or ever there: as if the gateway had said so.
    p->from_step = plan.step;
    p->last_class = OUTCOME_QUOTA;
    return false;
}

static void choose(struct queue *q, struct pass *p)
{
    for (; p->moves < MOVES_MOST; p->moves++) {
        if (q->stopping || atomic_load(&p->gone)) {
            no_way(p, "shutting down");
            return;
        }
        if (choose_once(q, p))
            return;
    }
    no_way(p, "too many ways were tried in vain");
}

static void on_exchangers(void *ctx)
{
    struct pass *p = ctx;
    queue_now(p->queue);
    choose(p->queue, p);
}

// ---- The questions ----

// May the recipient asked for go by the way held?
static bool fits_way(struct queue *q, const struct pass *p)
{
    size_t last = p->envelope->count - 1;
    uint32_t gateway = p->lane->gateway;
    struct plan_input in = input_for(q, p, last);
    in.from_step = 0;
    struct plan plan = plan_next(&in);
    // After a failure the way held may not be the first of its chain.
    bool same = (plan.kind == PLAN_GO && plan.gateway == gateway) ||
                (p->from_step > 0 && on_its_chain(q, p, last, gateway));
    return same && !p->lane->closed &&
           str_ieq(domain_of(q, gateway, in.rcpt), str_of(p->lane->domain));
}

// Takes more of the allowance of the way held, or says why not.
static void charge_more(struct queue *q, struct pass *p, size_t rcpts, uint64_t octets,
                        void (*again)(struct queue *q, struct pass *p))
{
    uint32_t gateway = p->lane->gateway;
    switch (quota_more(q, gateway, p->envelope->priority, rcpts, octets, &p->charge)) {
    case QUOTA_GO: answer(p, PASS_GO); return;
    case QUOTA_LATER: wait_for_room(q, p, gateway, again); return;
    case QUOTA_SPENT:
    case QUOTA_NEVER: break;
    }
    snprintf(p->why, sizeof(p->why), "the allowance of gateway %.60s has no room for %s",
             p->gateway->name, rcpts > 0 ? "another recipient" : "a message so large");
    answer(p, PASS_NONE);
}

static void ask_way(struct queue *q, struct pass *p)
{
    bool alone = p->envelope->count == 1, fits = p->lane != NULL && fits_way(q, p);
    if (p->lane == NULL || (alone && (!fits || p->conf_age != q->conf_age))) {
        give_up(q, p, 0);
        p->from_step = p->moves = 0;
        choose(q, p);
    } else if (!fits) {
        answer(p, PASS_APART);
    } else if (alone) {
        answer(p, PASS_GO);
    } else {
        charge_more(q, p, 1, 0, ask_way);
    }
}

static void ask_content(struct queue *q, struct pass *p)
{
    uint64_t have = p->charge.n[UNIT_BYTES];
    if (p->lane != NULL && p->size > have)
        charge_more(q, p, 0, p->size - have, ask_content);
    else
        answer(p, PASS_GO);
}

static struct verdict learn(struct queue *q, struct pass *p)
{
    struct outcome *o = &p->outcome;
    judge_classify(o, p->conf, p->gateway);
    struct verdict v =
        settle_verdict(q, p->lane, p->place_age, o, judge_verdict(o, p->conf, p->gateway));
    if (v.rests_gateway)
        settle_blame(q, p->lane, o, &v);
    else if (o->class == OUTCOME_OK || o->code != 0)
        settle_praise(q, p->lane, p->latency_ms);
    return v;
}

// The chain's next step, if what was said leads there.
static bool goes_on(struct queue *q, struct pass *p, const struct verdict *v)
{
    bool same = p->conf_age == q->conf_age && p->place_age == q->place_age;
    if (v->action != VERDICT_NEXT && v->action != VERDICT_FAIL)
        return false;
    p->from_step = same ? p->step : 0;
    p->last_class = p->outcome.class;
    struct plan_input in = input_for(q, p, 0);
    if (v->action == VERDICT_FAIL && v->elsewhere)
        in.last_class = p->last_class = OUTCOME_REPUTATION;
    struct plan plan = plan_next(&in);
    return plan.kind == PLAN_GO || plan.kind == PLAN_MX;
}

static void ask_again(struct queue *q, struct pass *p)
{
    struct verdict v = learn(q, p);
    bool spoke = p->outcome.code != 0 && p->outcome.phase >= PHASE_MAIL;
    if (goes_on(q, p, &v)) {
        give_up(q, p, 0);
        p->moves++;
        choose(q, p);
    } else if (spoke || v.action == VERDICT_FAIL) {
        answer(p, PASS_VERDICT);
    } else {
        snprintf(p->why, sizeof(p->why), "gateway %.60s: %.220s", p->gateway->name,
                 p->outcome.text);
        give_up(q, p, 0);
        answer(p, PASS_NONE);
    }
}

static void ask_end(struct queue *q, struct pass *p)
{
    if (p->lane != NULL && p->outcome.class != OUTCOME_LOCAL)
        learn(q, p);
    q->counts.passed += p->outcome.class == OUTCOME_OK;
    give_up(q, p, p->taken);
    answer(p, PASS_GO);
    queue_check_idle(q);
}

static void on_ask(struct post *post)
{
    struct pass *p = (struct pass *)post;
    struct queue *q = p->queue;
    queue_now(q);
    p->until_ms = 0;
    switch (p->question) {
    case PASS_WAY: ask_way(q, p); break;
    case PASS_AGAIN: ask_again(q, p); break;
    case PASS_CONTENT: ask_content(q, p); break;
    case PASS_END: ask_end(q, p); break;
    }
}

void queue_pass_ask(struct pass *p)
{
    if (p->gateway != NULL)
        p->open = deliver_open(p->queue->parts.delivers[p->loop], p->gateway->name, p->domain);
    p->post.run = on_ask;
    loop_post(p->queue->parts.loop, &p->post);
}

// ---- Waiting ----

void pass_turn(struct queue *q)
{
    struct link now;
    struct pass *p;
    list_init(&now);
    while ((p = list_first(&q->passes, struct pass, waiting)) != NULL) {
        list_remove(&p->waiting);
        list_append(&now, &p->waiting);
    }
    while ((p = list_first(&now, struct pass, waiting)) != NULL) {
        list_remove(&p->waiting);
        p->again(q, p);
    }
}

void pass_stop(struct queue *q)
{
    pass_turn(q);
}

int64_t pass_due(const struct queue *q)
{
    return list_empty(&q->passes) ? INT64_MAX : q->now_ms + LOOK_MS;
}
