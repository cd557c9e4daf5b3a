// SPDX-License-Identifier: ISC
// Which way a waiting recipient takes: the pure plan carried out.
//
// Where a recipient waits after it was planned:
//
//   in the lane of its gateway    it may go, or its way rests or has used up its quota
//   aside                         no way here and now: bound to another network, offline, too
//                                 young, its connections broke by the clock; whatever changes for
//                                 all mail (the place, the rules, a pick, a way come back) finds
//                                 it; when a network that is dialled is all it lacks, in that one's
//                                 lane
//   with a look-up                a rule asks for its mail exchangers
//   in the heap only              its own retry clock: a server has said "come again"
//
// When everything is planned anew, the legs of all lanes and of those aside are swept, so the last
// kind keeps its clock.
#include "queue/queue_int.h"

#include "sys/clock.h"

#include <stdio.h>

enum { ASK_AGAIN_MS = 60 * 1000 };

struct plan_input planning_input(struct queue *q, const struct qmsg *m, const struct envelope *e,
                                 size_t i)
{
    const struct qrcpt *r = &m->rcpts[i];
    struct plan_input in = planning_fresh(q, e, e->rcpts[i].address, m->id, m->body_size);
    in.age_ms = q->now_ms - qmsg_born_ms(m);
    in.tries = r->tries;
    in.from_step = r->step;
    in.last_class = (enum outcome_class)r->class;
    return in;
}

struct plan_input planning_fresh(struct queue *q, const struct envelope *e, struct str rcpt,
                                 uint64_t id, uint64_t size)
{
    struct str domain = envelope_domain(rcpt);
    struct plan_input in = {
        .conf = q->conf,
        .gateways = q->gateways,
        .place = &q->place,
        .detours = q->detours.plan,
        .detour_count = q->detours.count,
        .envelope = e,
        .rcpt = rcpt,
        .size = size,
        .now_ms = q->now_ms,
        .minute_of_week = q->minute_of_week,
        .share = id,
        .direct_rest_ms = lane_direct_rest(q, domain),
    };
    exchangers_fill(q, domain, &in);
    return in;
}

// Only a change of the place or of the hour opens it.
static bool ends_with_place(enum plan_state state)
{
    return state == STEP_NETWORK || state == STEP_HOURS || state == STEP_OFFLINE;
}

bool planning_shut(struct queue *q, uint32_t gateway)
{
    struct plan_input in = {.conf = q->conf,
                            .place = &q->place,
                            .now_ms = q->now_ms,
                            .minute_of_week = q->minute_of_week};
    struct conf_step step = {.gateway = gateway};
    int64_t until;
    return ends_with_place(plan_step_state(&in, &step, &until));
}

static uint32_t gateway_by_name(struct queue *q, const char *name)
{
    const struct conf_gateway *g = name != NULL ? conf_gateway_find(q->conf, str_of(name)) : NULL;
    return g != NULL ? g->index : UINT32_MAX;
}

uint32_t planning_doubt(struct queue *q, const struct qmsg *m, const struct qrcpt *r)
{
    if ((r->flags & RCPT_DOUBT) == 0)
        return UINT32_MAX;
    bool over = (int64_t)r->doubt_until_s * 1000 <= q->now_ms;
    uint32_t same = gateway_by_name(q, r->last != NULL ? r->last->gateway : NULL);
    if (same == UINT32_MAX || !q->conf->gateways[same].enabled)
        return UINT32_MAX;
    return over && q->conf->queue.doubt[m->priority] != DOUBT_AGAIN ? UINT32_MAX : same;
}

int64_t queue_retry_delay(struct queue *q, unsigned tries)
{
    const struct conf *c = q->conf;
    if (c->queue.retry_count == 0)
        return ASK_AGAIN_MS;
    size_t at = tries > 0 ? tries - 1 : 0;
    int64_t delay = c->queue.retry_ms[at < c->queue.retry_count ? at : c->queue.retry_count - 1];
    // Up to a tenth later, so that mail deferred together does not come back together.
    return delay + (int64_t)random_below((uint64_t)(delay / 10) + 1);
}

// ---- In doubt ----

static void note_doubt_over(struct queue *q, const struct qmsg *m, const struct qrcpt *r)
{
    char text[256];
    snprintf(text, sizeof(text),
             "nothing was heard of it from %s in the time it may stay in doubt (queue.doubt_wait): "
             "any way may take it now, and the recipient may get it twice",
             r->last != NULL && r->last->gateway != NULL ? r->last->gateway : "its gateway");
    struct store_op op = {.kind = STORE_NOTE, .id = m->id, .wall_ms = q->now_ms, .text = text};
    queue_record(q, &op, 1);
}

// What is due and was in doubt too long. False: the message is on hold now.
static bool end_doubts(struct queue *q, struct qmsg *m)
{
    bool hold = false;
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if ((r->flags & RCPT_DOUBT) == 0 || rcpt_state_final(r->state) || r->leg != 0 ||
            (r->flags & (RCPT_BUSY | RCPT_CLOSING)) != 0 || planning_doubt(q, m, r) != UINT32_MAX)
            continue;
        r->flags &= (uint8_t)~RCPT_DOUBT;
        int policy = q->conf->queue.doubt[m->priority];
        if (policy == DOUBT_HOLD || policy == DOUBT_ONCE)
            hold = true;
        else
            note_doubt_over(q, m, r);
    }
    if (hold)
        queue_hold(q, m->id,
                   "in doubt: it may have been delivered, and nothing more was heard "
                   "(queue.doubt); release it to send it again");
    return !hold;
}

// ---- One recipient ----

// The way rests because of what it said to this very message: that it asks again must not wake or
// rest the way for all others.
static bool was_answered(const struct qrcpt *r)
{
    return r->class == OUTCOME_AUTH || r->class == OUTCOME_QUOTA ||
           r->class == OUTCOME_REPUTATION || r->class == OUTCOME_BUSY || r->class == OUTCOME_DOUBT;
}

bool class_of_network(enum outcome_class class)
{
    return class == OUTCOME_OFFLINE || class == OUTCOME_NET || class == OUTCOME_DNS ||
           class == OUTCOME_NO_RECORD || class == OUTCOME_TLS;
}

static uint32_t seconds(int64_t ms)
{
    const int64_t end_ms = (int64_t)UINT32_MAX * 1000;
    return ms >= end_ms ? UINT32_MAX : (uint32_t)((ms + 999) / 1000);
}

static void wait_in(struct queue *q, struct lane *lane, struct qmsg *m, size_t i, int64_t until_ms)
{
    lane_add(q, lane, m, i);
    m->rcpts[i].next_s = seconds(until_ms);
}

static void put_aside(struct queue *q, struct qmsg *m, size_t i, int64_t until_ms)
{
    wait_in(q, &q->aside, m, i, until_ms);
}

static void no_way(struct queue *q, struct qmsg *m, size_t i)
{
    struct outcome o = {.class = OUTCOME_LOCAL};
    snprintf(o.text, sizeof(o.text), "no gateway that is enabled may carry it; it waits");
    if (m->rcpts[i].last == NULL || (m->rcpts[i].flags & (RCPT_OLD | RCPT_DOUBT)) == RCPT_OLD)
        settle_remember(q, &m->rcpts[i], NULL, &o);
    put_aside(q, m, i, q->now_ms + ASK_AGAIN_MS);
}

// In doubt: the gateway it was with, as soon as that may be used.
static void plan_doubt(struct queue *q, struct qmsg *m, const struct envelope *e, size_t i,
                       uint32_t gateway)
{
    struct str domain = envelope_domain(e->rcpts[i].address);
    struct qrcpt *r = &m->rcpts[i];
    bool over = (int64_t)r->doubt_until_s * 1000 <= q->now_ms;
    int64_t until_ms = over ? INT64_MAX : (int64_t)r->doubt_until_s * 1000;
    r->step = 0;
    if (planning_shut(q, gateway)) {
        struct plan_input in = planning_input(q, m, e, i);
        wait_in(q, dialup_aside(q, &in, gateway), m, i, until_ms);
        return;
    }
    bool direct = q->conf->gateways[gateway].kind == GATEWAY_DIRECT;
    lane_add(q, lane_for(q, gateway, direct ? domain : STR("")), m, i);
    r->next_s = seconds(until_ms);
}

// The round is over. When the chain's ways rest, it waits for them in their lane; when one is open,
// or rests so shortly that this message would be the one to wake it, it was this message they would
// not take, so the retry clock says when to ask again. True: it waits for that.
static bool next_round(struct queue *q, struct qmsg *m, size_t i, struct plan_input *in,
                       struct plan *plan)
{
    struct qrcpt *r = &m->rcpts[i];
    r->step = 0;
    in->from_step = 0;
    *plan = plan_next(in);
    int64_t at_ms = q->now_ms + queue_retry_delay(q, r->tries) + 1000;
    bool shortly = plan->kind == PLAN_WAIT && was_answered(r) && plan->until_ms < at_ms;
    if (plan->kind != PLAN_GO && !shortly)
        return false;
    if (class_of_network((enum outcome_class)r->class))
        put_aside(q, m, i, at_ms);
    else
        r->next_s = (uint32_t)(at_ms / 1000);
    return true;
}

static void count_route(struct queue *q, struct qrcpt *r, int route)
{
    if ((r->flags & RCPT_ROUTED) != 0)
        return;
    r->flags |= RCPT_ROUTED;
    q->route_hits[route >= 0 ? (size_t)route : q->conf->route_count]++;
}

bool planning_needs_mx(struct queue *q, const struct plan_input *in, const struct plan *plan)
{
    if (plan->kind == PLAN_MX)
        return true;
    return in->detour_count > 0 && in->mx == NULL && !in->mx_failed &&
           (plan->kind == PLAN_GO || plan->kind == PLAN_WAIT) &&
           q->conf->gateways[plan->gateway].kind == GATEWAY_DIRECT;
}

static void plan_rcpt(struct queue *q, struct qmsg *m, const struct envelope *e, size_t i)
{
    struct qrcpt *r = &m->rcpts[i];
    struct str domain = envelope_domain(e->rcpts[i].address);
    uint32_t same = planning_doubt(q, m, r);
    if (same != UINT32_MAX) {
        plan_doubt(q, m, e, i, same);
        return;
    }
    struct plan_input in = planning_input(q, m, e, i);
    struct plan plan = plan_next(&in);
    if (plan.kind == PLAN_END && next_round(q, m, i, &in, &plan))
        return;
    if (planning_needs_mx(q, &in, &plan)) {
        lane_add(q, exchangers_ask(q, domain), m, i);
        r->next_s = UINT32_MAX;
        return;
    }
    count_route(q, r, plan.route);
    if (plan.kind == PLAN_NONE) {
        no_way(q, m, i);
        return;
    }
    if (plan.kind == PLAN_WAIT && (!plan.rests || ends_with_place(plan.state))) {
        r->step = 0;
        wait_in(q, dialup_aside(q, &in, UINT32_MAX), m, i,
                plan.age_ms < plan.until_ms ? plan.age_ms : plan.until_ms);
        return;
    }
    r->step = plan.step > 0 ? (uint8_t)(plan.step - 1) : 0;
    bool direct = q->conf->gateways[plan.gateway].kind == GATEWAY_DIRECT;
    lane_add(q, lane_for(q, plan.gateway, direct ? domain : STR("")), m, i);
    // In its lane it is planned anew when another step of its chain comes of age.
    r->next_s = plan.kind == PLAN_WAIT ? seconds(plan.age_ms) : UINT32_MAX;
}

static bool is_due(const struct queue *q, const struct qrcpt *r)
{
    return !rcpt_state_final(r->state) &&
           (r->flags & (RCPT_BUSY | RCPT_CLOSING | RCPT_RETURN)) == 0 &&
           (int64_t)r->next_s * 1000 <= q->now_ms;
}

// Those who wait aside each have a clock of their own.
static void leave(struct queue *q, struct qmsg *m, struct qrcpt *r)
{
    unsigned number = r->leg;
    struct leg *leg = qmsg_leg(m, number);
    if (leg->lane->aside) {
        rcpt_leave(q, r);
        for (size_t i = 0; i < m->count; i++)
            if (m->rcpts[i].leg == number)
                return;
    }
    leg_remove(q, leg);
}

void qmsg_plan(struct queue *q, struct qmsg *m)
{
    bool any = false;
    for (size_t i = 0; i < m->count; i++) {
        if (!is_due(q, &m->rcpts[i]))
            continue;
        any = true;
        if (m->rcpts[i].leg != 0)
            leave(q, m, &m->rcpts[i]);
    }
    if (!any || !end_doubts(q, m))
        return;
    struct envelope e;
    arena_clear(q->scratch);
    qmsg_envelope(q, m, q->scratch, &e);
    for (size_t i = 0; i < m->count; i++)
        if (m->rcpts[i].leg == 0 && is_due(q, &m->rcpts[i]))
            plan_rcpt(q, m, &e, i);
}
