// SPDX-License-Identifier: ISC
// What becomes of a message after a transaction: the judge's verdicts carried out and recorded.
#include "queue/health.h"
#include "queue/quota.h"
#include "base/base64.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

void settle_remember(struct queue *q, struct qrcpt *r, const char *gateway, const struct outcome *o)
{
    const struct trouble *last = trouble_keep(q->troubles, str_of(gateway), 0, o);
    trouble_drop(q->troubles, &r->last);
    r->last = last;
    r->flags &= (uint8_t)~RCPT_OLD;
}

void settle_doubt(const struct qrcpt *r, struct store_rcpt_result *result, int64_t *doubt_ms)
{
    int64_t until = (int64_t)r->doubt_until_s * 1000;
    result->in_doubt = (r->flags & RCPT_DOUBT) != 0;
    if (result->in_doubt && until > *doubt_ms)
        *doubt_ms = until;
}

// ---- One recipient ----

// Does the chain name a way for what would otherwise be final (`on: [refused]`)?
static bool chain_goes_on(struct queue *q, const struct qjob *j, size_t i)
{
    struct plan_input in = planning_input(q, j->msg, j->job.envelope, j->index[i]);
    return plan_next(&in).kind == PLAN_GO;
}

// Final for this way only: the chain is asked as if the way were at fault. One that rests now is
// worth waiting for.
static bool goes_elsewhere(struct queue *q, const struct qjob *j, size_t i)
{
    struct qrcpt *r = &j->msg->rcpts[j->index[i]];
    if ((r->flags & RCPT_DOUBT) != 0)
        return false;
    r->class = OUTCOME_REPUTATION;
    struct plan_input in = planning_input(q, j->msg, j->job.envelope, j->index[i]);
    struct plan plan = plan_next(&in);
    return plan.kind == PLAN_GO || plan.rests;
}

static uint32_t now_seconds(const struct queue *q)
{
    return (uint32_t)(q->now_ms / 1000);
}

static void wait_for_clock(struct queue *q, struct qrcpt *r)
{
    r->next_s = (uint32_t)((q->now_ms + queue_retry_delay(q, r->tries)) / 1000) + 1;
}

static void begin_doubt(struct queue *q, const struct qmsg *m, struct qrcpt *r)
{
    bool once = q->conf->queue.doubt[m->priority] == DOUBT_ONCE;
    int64_t wait_ms = once ? 0 : q->conf->queue.doubt_wait_ms;
    if ((r->flags & RCPT_DOUBT) == 0)
        r->doubt_until_s = (uint32_t)((q->now_ms + wait_ms) / 1000);
    r->flags |= RCPT_DOUBT;
    if (once) {
        r->next_s = now_seconds(q) + 1; // then it is held; the attempt is on record before
        return;
    }
    wait_for_clock(q, r);
    // The same gateway is asked at least once before the time is over.
    uint32_t half = (uint32_t)(q->conf->queue.doubt_wait_ms / 2000), now_s = now_seconds(q);
    if (r->doubt_until_s > now_s && r->next_s > now_s + half)
        r->next_s = now_s + half;
}

// Begun where the machine no longer is: that it came to nothing says nothing about here. What is in
// doubt stays so, but nobody rests for it.
static struct verdict since_moved(const struct outcome *o, struct verdict v)
{
    if (class_of_network(o->class))
        return (struct verdict){.action = VERDICT_NEXT};
    if (o->class == OUTCOME_DOUBT)
        v.rests_gateway = v.counts = false;
    return v;
}

struct verdict settle_verdict(struct queue *q, struct lane *lane, unsigned place_age,
                              const struct outcome *o, struct verdict v)
{
    if (place_age != q->place_age)
        return since_moved(o, v);
    if (health_direct(q, lane, o))
        v.counts = v.rests_gateway = false;
    return v;
}

// Direct delivery was unwelcome there, and this way was not.
static void learn_detour(struct queue *q, const struct qjob *j, const struct qrcpt *r)
{
    if (r->last == NULL || r->last->outcome.class != OUTCOME_REPUTATION ||
        r->last->gateway == NULL || j->job.gateway->kind == GATEWAY_DIRECT)
        return;
    const struct conf_gateway *refused = conf_gateway_find(q->conf, str_of(r->last->gateway));
    if (refused != NULL && refused->kind == GATEWAY_DIRECT)
        detour_learn(q, j->msg->id, &r->last->outcome, j->gateway_name);
}

// Applies the verdict to the recipient; true when it is to be returned.
static bool apply(struct queue *q, struct qjob *j, size_t i, struct verdict v)
{
    const struct outcome *o = &j->job.rcpts[i].outcome;
    struct qrcpt *r = &j->msg->rcpts[j->index[i]];
    r->flags &= (uint8_t)~RCPT_BUSY;
    q->busy--;
    r->next_s = 0;
    if (v.counts && r->tries < UINT16_MAX)
        r->tries++;
    if (v.action == VERDICT_DONE) {
        learn_detour(q, j, r);
        r->state = o->relayed ? RCPT_RELAYED : RCPT_DELIVERED;
        r->flags = 0;
        return false;
    }
    // In doubt at another gateway (beside which this was begun), it stays so there.
    if ((r->flags & RCPT_DOUBT) == 0 || o->class == OUTCOME_DOUBT || r->last == NULL ||
        r->last->gateway == NULL || strcmp(r->last->gateway, j->gateway_name) == 0)
        settle_remember(q, r, j->gateway_name, o);
    bool same_chain = j->conf_age == q->conf_age && j->place_age == q->place_age;
    unsigned step = r->step + 1 + j->ahead;
    r->step = same_chain && step < UINT8_MAX ? (uint8_t)step : 0;
    r->class = (uint8_t)judge_step_class(o);
    switch (v.action) {
    case VERDICT_DONE: return false;
    case VERDICT_NEXT:
        if ((r->flags & RCPT_DOUBT) == 0)
            return false;
        // In doubt there is no next way: the same gateway is asked again, but by the clock.
        wait_for_clock(q, r);
        if (r->next_s > r->doubt_until_s && r->doubt_until_s > now_seconds(q))
            r->next_s = r->doubt_until_s;
        break;
    case VERDICT_FAIL:
        return !(same_chain &&
                 (chain_goes_on(q, j, i) || (v.elsewhere && goes_elsewhere(q, j, i))));
    case VERDICT_DOUBT: begin_doubt(q, j->msg, r); break;
    case VERDICT_RETRY: wait_for_clock(q, r); break;
    case VERDICT_AGAIN: r->next_s = now_seconds(q) + 60; break;
    }
    r->step = 0;
    return false;
}

static void say(struct queue *q, struct qjob *j, size_t i, const struct verdict *v)
{
    const struct deliver_rcpt *d = &j->job.rcpts[i];
    const struct outcome *o = &d->outcome;
    static const char *const words[] = {
        [VERDICT_DONE] = "delivered", [VERDICT_NEXT] = "deferred",  [VERDICT_RETRY] = "deferred",
        [VERDICT_FAIL] = "refused",   [VERDICT_DOUBT] = "in-doubt", [VERDICT_AGAIN] = "postponed"};
    const char *event = v->action == VERDICT_DONE && o->relayed ? "relayed" : words[v->action];
    log_info(event, j->msg->id, "to=<%.*s> via %s [%s] class %s: %s", STR_FMT(d->rcpt.address),
             j->gateway_name, o->where, outcome_class_name(o->class), o->text);
}

// ---- The lane's lesson ----

// An allowance that is used up comes back at a moment of its own.
static int64_t least_rest(struct queue *q, const struct lane *lane, const struct outcome *o,
                          const struct verdict *v)
{
    if (o->class != OUTCOME_QUOTA || lane->closed)
        return v->rest_ms;
    return quota_learn(q, lane->gateway, o, v->rest_ms) - q->now_ms;
}

void settle_blame(struct queue *q, struct lane *lane, const struct outcome *o,
                  const struct verdict *v)
{
    lane->failed++;
    // Some get through and this one is too many: fewer at once will do.
    if (o->class == OUTCOME_BUSY && lane->proven && lane->active > 1)
        lane_busy(q, lane);
    else if (lane->closed || health_trouble(q, lane->gateway, o))
        lane_rest(q, lane, o, least_rest(q, lane, o, v));
}

void settle_praise(struct queue *q, struct lane *lane, int64_t latency_ms)
{
    lane->ok++;
    if (!lane->closed)
        health_good(q, lane->gateway);
    lane_good(q, lane, latency_ms);
}

static void teach_lane(struct queue *q, struct qjob *j, const struct verdict *verdicts)
{
    bool spoke = false;
    for (size_t i = 0; i < j->job.count; i++) {
        const struct outcome *o = &j->job.rcpts[i].outcome;
        if (verdicts[i].rests_gateway) {
            settle_blame(q, j->lane, o, &verdicts[i]);
            return;
        }
        spoke = spoke || o->class == OUTCOME_OK || o->code != 0;
    }
    if (spoke)
        settle_praise(q, j->lane, j->job.finished_ms - j->job.started_ms);
}

// Direct delivery meets another server each time.
static void learn_size(struct queue *q, const struct qjob *j)
{
    if (j->job.server_size > 0 && !j->lane->closed && j->job.gateway->kind != GATEWAY_DIRECT)
        q->gateways[j->lane->gateway].server_size = j->job.server_size;
}

// ---- The whole transaction ----

static void record_results(struct queue *q, struct qjob *j, const bool *failing, const bool *late)
{
    struct store_rcpt_result *results = arena_alloc(j->arena, j->job.count * sizeof(*results));
    size_t n = 0;
    int64_t doubt_ms = 0;
    for (size_t i = 0; i < j->job.count; i++) {
        const struct qrcpt *r = &j->msg->rcpts[j->index[i]];
        if (failing[i])
            continue;
        bool same = r->last != NULL && r->last->gateway != NULL &&
                    strcmp(r->last->gateway, j->gateway_name) != 0;
        results[n] = (struct store_rcpt_result){.index = j->index[i],
                                                .state = (enum rcpt_state)r->state,
                                                .tries = r->tries,
                                                .next_ms = rcpt_next_ms(j->msg, r),
                                                .same_trouble = same,
                                                .outcome = j->job.rcpts[i].outcome};
        settle_doubt(r, &results[n++], &doubt_ms);
    }
    if (n == 0)
        return;
    struct store_op op = {.kind = STORE_RESULT,
                          .id = j->msg->id,
                          .wall_ms = q->now_ms,
                          .gateway = j->gateway_name,
                          .facts = j->job.facts,
                          .transcript = buf_str(&j->job.transcript),
                          .results = results,
                          .result_count = n,
                          .doubt_ms = doubt_ms};
    queue_record(q, &op, 1);
}

static void count_ends(struct queue *q, const struct qjob *j, const bool *late)
{
    for (size_t i = 0; i < j->job.count; i++) {
        uint8_t state = j->msg->rcpts[j->index[i]].state;
        if (!rcpt_state_final(state) || late[i])
            continue;
        atomic_fetch_sub(&q->recipients, 1);
        q->counts.delivered += state == RCPT_DELIVERED;
        q->counts.relayed += state == RCPT_RELAYED;
    }
}

static void return_failed(struct queue *q, struct qjob *j, const bool *failing)
{
    uint32_t *index = arena_alloc(j->arena, j->job.count * sizeof(*index));
    struct outcome *outcomes = arena_alloc(j->arena, j->job.count * sizeof(*outcomes));
    struct attempt attempt = {.gateway = j->gateway_name, .facts = j->job.facts};
    size_t n = 0;
    for (size_t i = 0; i < j->job.count; i++) {
        if (!failing[i])
            continue;
        outcomes[n] = j->job.rcpts[i].outcome;
        index[n++] = j->index[i];
    }
    // Whoever did not fail has told the dialogue already.
    if (n == j->job.count)
        attempt.transcript = buf_str(&j->job.transcript);
    if (n > 0)
        settle_fail(q, j->msg, index, n, &attempt, outcomes, false);
}

static void tell_success(struct queue *q, struct qjob *j, const bool *late)
{
    struct store_rcpt_result *good = arena_alloc(j->arena, j->job.count * sizeof(*good));
    size_t n = 0;
    for (size_t i = 0; i < j->job.count; i++) {
        const struct deliver_rcpt *d = &j->job.rcpts[i];
        if (d->outcome.class == OUTCOME_OK && (d->rcpt.notify & NOTIFY_SUCCESS) != 0 &&
            !j->job.dsn_passed && !late[i])
            good[n++] = (struct store_rcpt_result){
                .index = j->index[i],
                .outcome = d->outcome,
                .state = (enum rcpt_state)j->msg->rcpts[j->index[i]].state};
    }
    if (n > 0)
        bounce_start(q, j->msg, BOUNCE_SUCCESS, good, n,
                     &(struct attempt){.gateway = j->gateway_name}, true);
}

void settle_job(struct deliver_job *job)
{
    struct qjob *j = (struct qjob *)job;
    struct queue *q = j->q;
    struct qmsg *m = j->msg;
    queue_now(q);
    bool *failing = arena_alloc(j->arena, job->count * sizeof(*failing));
    bool *late = arena_alloc(j->arena, job->count * sizeof(*late)); // another was first
    struct verdict *verdicts = arena_alloc(j->arena, job->count * sizeof(*verdicts));
    for (size_t i = 0; i < job->count; i++) {
        struct outcome *o = &job->rcpts[i].outcome;
        judge_classify(o, job->conf, job->gateway);
        verdicts[i] =
            settle_verdict(q, j->lane, j->place_age, o, judge_verdict(o, job->conf, job->gateway));
        enum twin_part part = twin_settle(q, j, i, &verdicts[i]);
        late[i] = part == TWIN_LATE;
        failing[i] = part == TWIN_NONE && apply(q, j, i, verdicts[i]);
        if (failing[i])
            m->rcpts[j->index[i]].flags |= RCPT_CLOSING;
        say(q, j, i, &verdicts[i]);
    }
    teach_lane(q, j, verdicts);
    learn_size(q, j);
    count_ends(q, j, late);
    // The lane's end comes first: what is planned now may be the next to probe it.
    lane_job_ended(q, j);
    if (!q->stopping && !m->held && !m->later)
        qmsg_plan(q, m);
    sent_look(q, m, j->gateway_name);
    // The attempt is recorded before any end that follows from it: on disk the last record counts.
    record_results(q, j, failing, late);
    return_failed(q, j, failing);
    tell_success(q, j, late);
    if (!q->stopping) {
        qmsg_age(q, m);
        qmsg_schedule(q, m);
    }
    m->jobs--;
    // What did not go at once is read from disk again: memory is for mail in flight.
    qmsg_forget_body(m);
    qmsg_finish_if_done(q, m);
    if (j->source != NULL)
        j->source->ops->release(j->source);
    buf_free(&job->transcript);
    conf_unref(&job->conf);
    struct arena *arena = j->arena; // holds j itself
    arena_free(&arena);
    queue_wake(q);
    queue_check_idle(q);
}

// ---- Failed for good ----

// Mail of routes that keep what fails is held for a person instead of returned. Those that remain
// to be returned stay in `index`; how many.
static size_t keep_failed(struct queue *q, struct qmsg *m, uint32_t *index, size_t count,
                          const struct attempt *attempt, struct outcome *outcomes)
{
    size_t left = 0, kept = 0;
    struct outcome why = {0};
    struct envelope e;
    struct arena *arena = arena_new();
    struct store_rcpt_result *results = arena_alloc(arena, count * sizeof(*results));
    qmsg_envelope(q, m, arena, &e);
    for (size_t i = 0; i < count; i++) {
        struct plan_input in = planning_input(q, m, &e, index[i]);
        in.mx_failed = in.mx == NULL;
        int route = plan_route(&in);
        if (route < 0 || !q->conf->routes[route].keep_failed) {
            outcomes[left] = outcomes[i];
            index[left++] = index[i];
            continue;
        }
        struct qrcpt *r = &m->rcpts[index[i]];
        why = outcomes[i];
        settle_remember(q, r, attempt->gateway, &outcomes[i]);
        r->flags &= RCPT_ROUTED;
        r->step = 0;
        results[kept++] = (struct store_rcpt_result){
            .index = index[i], .state = RCPT_WAITING, .tries = r->tries, .outcome = outcomes[i]};
    }
    if (kept > 0) {
        struct store_op op = {.kind = STORE_RESULT,
                              .id = m->id,
                              .wall_ms = q->now_ms,
                              .gateway = attempt->gateway,
                              .facts = attempt->facts,
                              .transcript = attempt->transcript,
                              .results = results,
                              .result_count = kept};
        char reason[LIMIT_OUTCOME_TEXT + 64];
        queue_record(q, &op, 1);
        snprintf(reason, sizeof(reason), "failed, and kept as its route says: %s",
                 why.text[0] != '\0' ? why.text : judge_reason(&why));
        queue_hold(q, m->id, reason);
    }
    arena_free(&arena);
    return left;
}

static bool any_keeps(const struct conf *conf)
{
    for (size_t i = 0; i < conf->route_count; i++)
        if (conf->routes[i].keep_failed)
            return true;
    return false;
}

static void give_back(struct queue *q, struct qmsg *m, const uint32_t *index, size_t count,
                      const struct attempt *attempt, const struct outcome *outcomes, bool at_once)
{
    struct store_rcpt_result *results = xcalloc(count, sizeof(*results));
    for (size_t i = 0; i < count; i++) {
        struct qrcpt *r = &m->rcpts[index[i]];
        r->flags |= RCPT_CLOSING;
        results[i] = (struct store_rcpt_result){
            .index = index[i], .state = RCPT_RETURNED, .tries = r->tries, .outcome = outcomes[i]};
        rcpt_leave(q, r); // or the leg would be sent all the same
    }
    sent_look(q, m, attempt->gateway);
    int64_t turn = bounce_start(q, m, BOUNCE_FAILED, results, count, attempt, at_once);
    for (size_t i = 0; turn > 0 && i < count; i++) {
        // On disk it still waits: after a crash it is tried again, and refused again.
        struct qrcpt *r = &m->rcpts[index[i]];
        if (r->last == NULL)
            settle_remember(q, r, attempt->gateway, &outcomes[i]);
        r->flags = (uint8_t)((r->flags & ~RCPT_CLOSING) | RCPT_RETURN);
        r->next_s = (uint32_t)((turn + 999) / 1000);
    }
    xfree(results);
}

void settle_fail(struct queue *q, struct qmsg *m, const uint32_t *index, size_t count,
                 const struct attempt *attempt, const struct outcome *outcomes, bool at_once)
{
    if (!any_keeps(q->conf)) {
        give_back(q, m, index, count, attempt, outcomes, at_once);
        return;
    }
    uint32_t *mine = xmalloc(count * sizeof(*mine));
    struct outcome *why = xmalloc(count * sizeof(*why));
    memcpy(mine, index, count * sizeof(*mine));
    memcpy(why, outcomes, count * sizeof(*why));
    size_t left = keep_failed(q, m, mine, count, attempt, why);
    if (left > 0)
        give_back(q, m, mine, left, attempt, why, at_once);
    xfree(why);
    xfree(mine);
}
