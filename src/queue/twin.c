// SPDX-License-Identifier: ISC
// Urgent mail that does not wait for a slow way (`parallel_after` of a step).
//
// When a transaction has not ended after that time, the next step of the chain is begun beside it,
// for the same recipients. The first of the two that succeeds decides; the other is let go on,
// because nobody could say how far it is. So a recipient may get two copies, on purpose, and both
// are told in the timeline. When one of the two fails the other decides alone.
//
// A recipient with two transactions has RCPT_TWIN; it counts as busy once.
#include "queue/queue_int.h"
#include "sys/log.h"

#include <stdio.h>

enum { NO_ROOM_MS = 1000 }; // the other way has no room at this moment: so soon again

static bool any_parallel(const struct conf *conf)
{
    for (size_t i = 0; i < conf->route_count; i++)
        for (size_t k = 0; k < conf->routes[i].via_count; k++)
            if (conf->routes[i].via[k].parallel_ms > 0)
                return true;
    return false;
}

void twin_watch(struct queue *q, struct qjob *j)
{
    if (j->msg->priority != PRIORITY_URGENT || !any_parallel(q->conf))
        return;
    struct plan_input in = planning_input(q, j->msg, j->job.envelope, j->index[0]);
    struct plan plan = plan_next(&in);
    if (plan.kind == PLAN_GO && plan.gateway == j->lane->gateway && plan.parallel_ms > 0)
        heap_set(&q->twins, &j->twin, q->mono_ms + plan.parallel_ms);
}

static void note(struct queue *q, const struct qjob *j, const char *text)
{
    struct store_op op = {.kind = STORE_NOTE, .id = j->msg->id, .wall_ms = q->now_ms, .text = text};
    queue_record(q, &op, 1);
    log_info("parallel", j->msg->id, "%s", text);
}

// The lane of the step behind the one that j is at, for recipient i; NULL: none is open.
static struct lane *next_lane(struct queue *q, const struct qjob *j, size_t i)
{
    const struct qrcpt *r = &j->msg->rcpts[j->index[i]];
    if (rcpt_state_final((enum rcpt_state)r->state) ||
        (r->flags & (RCPT_BUSY | RCPT_TWIN | RCPT_DOUBT)) != RCPT_BUSY)
        return NULL;
    struct plan_input in = planning_input(q, j->msg, j->job.envelope, j->index[i]);
    in.from_step = r->step + 1;
    in.last_class = OUTCOME_NET; // as if it had not answered
    struct plan plan = plan_next(&in);
    if (plan.kind != PLAN_GO || plan.gateway == j->lane->gateway)
        return NULL;
    bool direct = q->conf->gateways[plan.gateway].kind == GATEWAY_DIRECT;
    return lane_for(q, plan.gateway, direct ? envelope_domain(in.rcpt) : STR(""));
}

static void begin(struct queue *q, struct qjob *j)
{
    struct lane *lane = NULL;
    size_t n = 0;
    if (j->msg->held || j->msg->later || j->conf_age != q->conf_age || j->place_age != q->place_age)
        return;
    uint32_t *index = arena_alloc(j->arena, j->job.count * sizeof(*index));
    for (size_t i = 0; i < j->job.count; i++) {
        struct lane *mine = next_lane(q, j, i);
        if (mine == NULL || (lane != NULL && mine != lane))
            continue;
        lane = mine;
        index[n++] = j->index[i];
    }
    if (n == 0)
        return;
    const char *gateway = queue_gateway(q, lane)->name;
    if (!lane_twin(q, lane, j, index, n)) {
        heap_set(&q->twins, &j->twin, q->mono_ms + NO_ROOM_MS);
        return;
    }
    char text[512];
    snprintf(text, sizeof(text),
             "sent twice on purpose: %s gets it too, as %s has not ended in the time its route "
             "gives it (parallel_after)",
             gateway, j->gateway_name);
    note(q, j, text);
}

void twin_turn(struct queue *q)
{
    for (struct heap_node *top; (top = heap_top(&q->twins)) != NULL && top->due <= q->mono_ms;) {
        struct qjob *j = container_of(top, struct qjob, twin);
        heap_remove(&q->twins, top);
        begin(q, j);
    }
}

int64_t twin_due(const struct queue *q)
{
    struct heap_node *top = heap_top(&q->twins);
    return top != NULL ? q->now_ms + (top->due - q->mono_ms) : INT64_MAX;
}

enum twin_part twin_settle(struct queue *q, struct qjob *j, size_t i, const struct verdict *v)
{
    const struct outcome *o = &j->job.rcpts[i].outcome;
    struct qrcpt *r = &j->msg->rcpts[j->index[i]];
    if (rcpt_state_final((enum rcpt_state)r->state)) {
        char text[512];
        snprintf(text, sizeof(text), "sent twice on purpose: %s has taken it too%s",
                 j->gateway_name, o->class == OUTCOME_DOUBT ? ", perhaps" : "");
        if (o->class == OUTCOME_OK || o->class == OUTCOME_DOUBT)
            note(q, j, text);
        return TWIN_LATE;
    }
    if ((r->flags & RCPT_TWIN) == 0 || v->action == VERDICT_DONE)
        return TWIN_NONE;
    r->flags &= (uint8_t)~RCPT_TWIN;
    r->step = (uint8_t)(r->step + j->ahead);
    if (v->counts && r->tries < UINT16_MAX)
        r->tries++;
    if (o->class == OUTCOME_DOUBT) {
        r->flags |= RCPT_DOUBT;
        r->doubt_until_s = (uint32_t)((q->now_ms + q->conf->queue.doubt_wait_ms) / 1000);
    }
    settle_remember(q, r, j->gateway_name, o);
    return TWIN_OTHER;
}
