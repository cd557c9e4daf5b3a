// SPDX-License-Identifier: ISC
// Lanes: who may go now through which way, fairly.
//
// Lanes with something to send and room for it stand in a ring and are served one transaction at a
// time, so a long lane never delays a short one. A lane that has not yet proven itself (nothing
// went through since its last trouble) may use few connections, and all such lanes together at most
// half of all, so dead destinations cannot crowd out living ones.
#include "queue/health.h"
#include "queue/quota.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

enum {
    WINDOW_DIRECT = 2,   // first connections to a destination of direct delivery
    WINDOW_GATEWAY = 20, // to a gateway: it is ours, and was chosen to take our mail
    SWEEP_SLICE = 20000, // legs a turn at most, and so many between two looks at the clock, and
    SWEEP_LOOK = 64,     // before another lane has its turn
    SWEEP_TURN = 256,
    REST_GATEWAY_MS = 5 * 1000,
    REST_GATEWAY_MAX_MS = 5 * 60 * 1000,
    REST_DIRECT_MS = 30 * 1000,
    REST_DIRECT_MAX_MS = 30 * 60 * 1000,
    FORGET_MS = 10 * 60 * 1000, // an empty lane of direct delivery
    RATE_RING_MAX = 100000,
    SLOW_GROWTH = 100, // good transactions for one more connection, after there were too many
    LOW_TURN = 8,      // each so many-th transaction of a lane is the lowest priority's
};

// ---- The lane's own state ----

static bool is_direct(struct queue *q, const struct lane *lane)
{
    return queue_gateway(q, lane)->kind == GATEWAY_DIRECT;
}

static unsigned limit_of(struct queue *q, const struct lane *lane)
{
    unsigned limit =
        is_direct(q, lane) ? q->conf->queue.per_destination : queue_gateway(q, lane)->connections;
    return limit > 0 ? limit : 1;
}

static unsigned most_of(struct queue *q, const struct lane *lane)
{
    unsigned limit = limit_of(q, lane);
    return lane->probing ? 1 : lane->window < limit ? lane->window : limit;
}

static unsigned room_of(struct queue *q, const struct lane *lane)
{
    unsigned may = most_of(q, lane);
    return may > lane->active ? may - lane->active : 0;
}

static bool resting(struct queue *q, const struct lane *lane)
{
    return lane->rest_until_ms > q->now_ms ||
           (is_direct(q, lane) && q->gateways[lane->gateway].rest_until_ms > q->now_ms);
}

// Somebody in it may go, as far as the plan is concerned.
static bool planned(const struct lane *lane)
{
    if (!lane->replan)
        return lane->count > 0;
    for (int p = 0; p < PRIORITIES; p++)
        if (lane->counts[p] > lane->sweep_left[p])
            return true;
    return false;
}

// The allowance of its gateway is used up for mail of that priority.
static bool spent(struct queue *q, const struct lane *lane, int priority)
{
    int who = priority == PRIORITY_URGENT ? QUOTA_URGENT : QUOTA_OTHERS;
    return q->gateways[lane->gateway].quota_until_ms[who] > q->now_ms;
}

static bool all_spent(struct queue *q, const struct lane *lane)
{
    for (int p = 0; p < PRIORITIES; p++)
        if (lane->counts[p] > 0 && !spent(q, lane, p))
            return false;
    return true;
}

bool lane_soon(struct queue *q, const struct lane *lane)
{
    return lane->count > 0 && !lane->aside && !lane->closed && !resting(q, lane) &&
           !all_spent(q, lane);
}

static void set_ready(struct queue *q, struct lane *lane)
{
    if (planned(lane) && !link_in_list(&lane->ready) && !resting(q, lane) && !lane->closed &&
        room_of(q, lane) > 0 && !all_spent(q, lane)) {
        lane->crowded = false;
        list_append(&q->ready, &lane->ready);
    }
}

static size_t key_of(const char *gateway, struct str domain, char *key, size_t size)
{
    size_t n = strlen(gateway);
    if (n + 1 + domain.len >= size)
        domain.len = size - n - 2;
    memcpy(key, gateway, n + 1);
    for (size_t i = 0; i < domain.len; i++)
        key[n + 1 + i] = ascii_lower(domain.ptr[i]);
    key[n + 1 + domain.len] = '\0';
    return n + 1 + domain.len;
}

static void bind_rate(struct queue *q, struct lane *lane)
{
    uint32_t rate = queue_gateway(q, lane)->rate;
    if (rate > RATE_RING_MAX)
        rate = RATE_RING_MAX;
    if (rate == lane->sent_cap)
        return;
    // The latest starts count on under the new rate.
    int64_t *ring = rate > 0 ? xcalloc(rate, sizeof(*ring)) : NULL;
    uint32_t keep = rate < lane->sent_cap ? rate : lane->sent_cap;
    for (uint32_t i = 0; i < keep; i++)
        ring[rate - 1 - i] =
            lane->sent_ms[(lane->sent_at + lane->sent_cap - 1 - i) % lane->sent_cap];
    xfree(lane->sent_ms);
    lane->sent_ms = ring;
    lane->sent_cap = rate;
    lane->sent_at = 0;
}

static unsigned first_window(struct queue *q, const struct lane *lane)
{
    unsigned first = is_direct(q, lane) ? WINDOW_DIRECT : WINDOW_GATEWAY, limit = limit_of(q, lane);
    return first < limit ? first : limit;
}

// It may go on. One that waits for the ceiling does not, once it has a connection of its own.
void lane_look(struct queue *q, struct lane *lane)
{
    if (lane->crowded && connections_idle(q, lane, ANY_LOOP))
        list_remove(&lane->ready);
    set_ready(q, lane);
}

enum { KEY_MAX = 512 };

static void init_lane(struct lane *lane)
{
    lane->latency_ms = -1;
    lane->patience = 1;
    for (int i = 0; i < PRIORITIES; i++)
        list_init(&lane->waiting[i]);
}

void lane_aside(struct lane *lane)
{
    init_lane(lane);
    lane->closed = lane->aside = true;
}

struct lane *lane_find(struct queue *q, const char *gateway, struct str domain)
{
    char key[KEY_MAX];
    size_t len = key_of(gateway, domain, key, sizeof(key));
    return map_get(q->lanes, str_make(key, len));
}

struct lane *lane_for(struct queue *q, uint32_t gateway, struct str domain)
{
    char key[KEY_MAX];
    const char *name = q->conf->gateways[gateway].name;
    size_t len = key_of(name, domain, key, sizeof(key));
    struct lane *lane = map_get(q->lanes, str_make(key, len));
    if (lane != NULL)
        return lane;
    lane = xcalloc(1, sizeof(*lane));
    lane->key = str_make(xstrndup(key, len), len);
    lane->domain = lane->key.ptr + strlen(name) + 1;
    lane->gateway = gateway;
    init_lane(lane);
    lane->window = first_window(q, lane);
    bind_rate(q, lane);
    map_put(q->lanes, lane->key, lane);
    return lane;
}

int64_t lane_direct_rest(struct queue *q, struct str domain)
{
    if (q->direct_resting == 0)
        return 0;
    int64_t rest = 0;
    for (size_t i = 0; i < q->conf->gateway_count; i++) {
        if (q->conf->gateways[i].kind != GATEWAY_DIRECT)
            continue;
        char key[KEY_MAX];
        size_t len = key_of(q->conf->gateways[i].name, domain, key, sizeof(key));
        struct lane *lane = map_get(q->lanes, str_make(key, len));
        if (lane == NULL)
            continue;
        if (lane->rest_until_ms > rest)
            rest = lane->rest_until_ms;
        if (lane->probing && lane->count + lane->active > 0)
            rest = INT64_MAX; // until the probe is over
    }
    return rest;
}

static void lane_free(struct queue *q, struct lane *lane)
{
    assert(lane->count == 0 && lane->active == 0);
    if (lane->rest_until_ms > 0 && is_direct(q, lane))
        q->direct_resting--;
    list_remove(&lane->ready);
    list_remove(&lane->sweep);
    heap_remove(&q->lane_clock, &lane->wake);
    map_del(q->lanes, lane->key);
    trouble_drop(q->troubles, &lane->trouble);
    connections_forget(q, lane);
    xfree((char *)lane->key.ptr);
    xfree(lane->sent_ms);
    xfree(lane);
}

void lane_free_all(struct queue *q)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
        lane_free(q, lane);
}

// ---- The gate of a probing gateway ----

static void sweep_other(struct queue *q, struct lane *other, bool search)
{
    bool swept = link_in_list(&other->sweep);
    other->search = search && (!swept || other->search);
    if (other->count > 0 && (!swept || !search))
        lane_sweep_start(q, other);
}

// Everyone who waits elsewhere may ask anew: a way has opened. `search`: only until one was found.
static void sweep_others(struct queue *q, struct lane *lane, bool search)
{
    size_t pos = 0;
    for (struct lane *other; (other = map_next(q->lanes, &pos)) != NULL;)
        if (other != lane && (resting(q, other) || other->probing))
            sweep_other(q, other, search);
    sweep_other(q, &q->aside, search);
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        sweep_other(q, dialup_lane(q, i), search);
}

// Open: whoever comes next may try it. Closed: someone does, and to all others it still rests.
static void set_gate(struct queue *q, struct lane *lane, bool open)
{
    struct plan_gateway *g = &q->gateways[lane->gateway];
    if (is_direct(q, lane) || !lane->probing || lane->closed || open == (g->rest_until_ms == 0))
        return;
    g->rest_until_ms = open ? 0 : INT64_MAX;
    if (open) {
        q->open_gates++;
        sweep_others(q, lane, true);
    } else if (--q->open_gates == 0) {
        struct lane *other;
        list_each (&q->sweeps, other, struct lane, sweep)
            if (other->search)
                memset(other->sweep_left, 0, sizeof(other->sweep_left));
    }
}

static void end_probing(struct queue *q, struct lane *lane)
{
    set_gate(q, lane, false);
    lane->probing = false;
}

// Nobody left in it: its gate opens, or its place is given up after a while.
static void lane_emptied(struct queue *q, struct lane *lane)
{
    if (lane->count > 0 || lane->active > 0 || lane->aside)
        return;
    set_gate(q, lane, true);
    if (is_direct(q, lane) && !heap_has(&lane->wake))
        heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
}

// ---- Legs ----

static struct leg *leg_in(struct lane *lane, struct qmsg *m)
{
    uint16_t highest = 0;
    struct leg *unused = NULL;
    for (struct leg *leg = &m->leg0; leg != NULL; leg = qmsg_next_leg(m, leg)) {
        if (leg->lane == lane)
            return leg;
        if (leg->lane == NULL)
            unused = leg;
        if (leg->number > highest)
            highest = leg->number;
    }
    if (unused == NULL) {
        struct far_leg *far = xcalloc(1, sizeof(*far));
        struct qmsg_more *more = qmsg_more(m);
        far->msg = m;
        far->next = more->legs;
        more->legs = far;
        unused = &far->leg;
        unused->number = (uint16_t)(highest + 1);
    }
    unused->lane = lane;
    list_append(&lane->waiting[m->priority], &unused->in_lane);
    lane->count++;
    lane->counts[m->priority]++;
    return unused;
}

void lane_add(struct queue *q, struct lane *lane, struct qmsg *m, size_t rcpt)
{
    m->rcpts[rcpt].leg = leg_in(lane, m)->number;
    q->in_lanes++;
    lane->forget = false;
    set_gate(q, lane, false);
    set_ready(q, lane);
}

struct leg *qmsg_leg(struct qmsg *m, unsigned number)
{
    struct leg *leg = &m->leg0;
    while (leg != NULL && leg->number != number)
        leg = qmsg_next_leg(m, leg);
    return leg;
}

struct leg *qmsg_next_leg(struct qmsg *m, struct leg *leg)
{
    struct far_leg *next = NULL;
    if (leg != &m->leg0)
        next = ((struct far_leg *)leg)->next;
    else if (m->more != NULL)
        next = m->more->legs;
    return next != NULL ? &next->leg : NULL;
}

struct qmsg *leg_msg(struct leg *leg)
{
    return leg->number == 1 ? container_of(leg, struct qmsg, leg0) : ((struct far_leg *)leg)->msg;
}

void rcpt_leave(struct queue *q, struct qrcpt *r)
{
    if (r->leg == 0)
        return;
    r->leg = 0;
    r->next_s = 0;
    q->in_lanes--;
}

void leg_remove(struct queue *q, struct leg *leg)
{
    if (leg->lane == NULL)
        return;
    struct lane *lane = leg->lane;
    struct qmsg *m = leg_msg(leg);
    list_remove(&leg->in_lane);
    lane->count--;
    lane->counts[m->priority]--;
    leg->lane = NULL;
    for (size_t i = 0; i < m->count; i++)
        if (m->rcpts[i].leg == leg->number)
            rcpt_leave(q, &m->rcpts[i]);
    lane_emptied(q, lane);
}

// The urgent first, but each so many-th time the lowest, so that nobody starves. While all is being
// planned anew only those go who have been: they stand behind the others.
static struct leg *next_leg(struct queue *q, struct lane *lane)
{
    bool lowest = ++lane->turns % LOW_TURN == 0;
    for (int i = 0; i < PRIORITIES; i++) {
        int p = lowest ? i : PRIORITIES - 1 - i;
        if (spent(q, lane, p) || (lane->replan && lane->counts[p] <= lane->sweep_left[p]))
            continue;
        const struct link *list = &lane->waiting[p];
        if (!list_empty(list))
            return container_of(lane->replan ? list->prev : list->next, struct leg, in_lane);
    }
    return NULL;
}

// The sweep goes round each list by itself: legs that stay are put back at its end.
static struct leg *next_swept(struct lane *lane)
{
    for (int p = PRIORITIES - 1; p >= 0; p--) {
        if (list_empty(&lane->waiting[p]))
            lane->sweep_left[p] = 0;
        if (lane->sweep_left[p] == 0)
            continue;
        lane->sweep_left[p]--;
        return container_of(lane->waiting[p].next, struct leg, in_lane);
    }
    return NULL;
}

// ---- Rest and recovery ----

static int64_t back_off(struct queue *q, const struct lane *lane)
{
    bool direct = is_direct(q, lane);
    int64_t rest = direct ? REST_DIRECT_MS : REST_GATEWAY_MS,
            max = direct ? REST_DIRECT_MAX_MS : REST_GATEWAY_MAX_MS;
    for (unsigned i = 1; i < lane->failures && rest < max; i++)
        rest *= 2;
    if (rest > max)
        rest = max;
    // A fifth either way, so that many lanes that failed together do not wake together.
    return rest - rest / 5 + (int64_t)random_below((uint64_t)(rest / 5 * 2) + 1);
}

void lane_rest(struct queue *q, struct lane *lane, const struct outcome *why, int64_t least_ms)
{
    trouble_drop(q->troubles, &lane->trouble);
    lane->trouble = trouble_keep(q->troubles, str_of(queue_gateway(q, lane)->name), 0, why);
    if (lane->closed)
        return;
    if (resting(q, lane) && least_ms == 0)
        return; // the others of the same moment's transactions failing too is one trouble
    char span[TIME_TEXT];
    bool first = lane->failures == 0;
    if (!resting(q, lane))
        lane->failures++;
    int64_t rest = back_off(q, lane);
    if (rest < least_ms)
        rest = least_ms;
    end_probing(q, lane);
    if (is_direct(q, lane)) {
        if (lane->rest_until_ms == 0)
            q->direct_resting++;
    } else {
        q->gateways[lane->gateway].rest_until_ms = q->now_ms + rest;
        q->gateways[lane->gateway].rest_class = judge_step_class(why);
    }
    lane->rest_until_ms = q->now_ms + rest;
    lane->proven = false;
    lane->window = first_window(q, lane);
    list_remove(&lane->ready);
    heap_set(&q->lane_clock, &lane->wake, lane->rest_until_ms);
    log_event(first ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "resting", 0, "%s%s%s rests for %s: %s (%s)",
              queue_gateway(q, lane)->name, lane->domain[0] != '\0' ? " to " : "", lane->domain,
              time_span(rest, span), judge_reason(why), why->text);
    // Those who wait here may have another way. After that only those come back who have none.
    if (first) {
        lane->search = false;
        lane_sweep_start(q, lane);
    }
}

void lane_busy(struct queue *q, struct lane *lane)
{
    lane->window = lane->active / 2;
    lane->patience = SLOW_GROWTH;
    lane->goods = 0;
    log_info("fewer", 0, "%s%s%s takes no more connections: %u at once from now",
             queue_gateway(q, lane)->name, lane->domain[0] != '\0' ? " to " : "", lane->domain,
             lane->window);
}

static void end_rest(struct queue *q, struct lane *lane)
{
    if (lane->rest_until_ms == 0)
        return;
    if (is_direct(q, lane))
        q->direct_resting--;
    else
        q->gateways[lane->gateway].rest_until_ms = 0;
    lane->rest_until_ms = 0;
}

void lane_good(struct queue *q, struct lane *lane, int64_t latency_ms)
{
    bool recovered = lane->failures > 0;
    lane->latency_ms = latency_ms;
    if (lane->closed)
        return;
    end_probing(q, lane);
    end_rest(q, lane);
    lane->failures = 0;
    if (!lane->proven)
        list_remove(&lane->ready); // it may be among the unproven that wait
    lane->proven = true;
    if (lane->window < limit_of(q, lane) && ++lane->goods >= lane->patience) {
        lane->window++;
        lane->goods = 0;
    }
    set_ready(q, lane);
    if (!recovered)
        return;
    log_info("recovered", 0, "%s%s%s takes mail again", queue_gateway(q, lane)->name,
             lane->domain[0] != '\0' ? " to " : "", lane->domain);
    if (is_direct(q, lane))
        return; // nobody else's mail could go this way
    sweep_others(q, lane, false);
}

static void begin_probing(struct queue *q, struct lane *lane)
{
    lane->rest_until_ms = 1;
    lane->probing = true;
    if (is_direct(q, lane) || lane->closed)
        return;
    struct plan_gateway *g = &q->gateways[lane->gateway];
    if (lane->count + lane->active > 0) {
        g->rest_until_ms = INT64_MAX;
        return;
    }
    set_gate(q, lane, true);
}

void lane_fresh(struct queue *q, struct lane *lane)
{
    if (lane->closed)
        return;
    end_probing(q, lane);
    end_rest(q, lane);
    lane->failures = 0;
    lane->window = first_window(q, lane);
    set_ready(q, lane);
}

void lane_rest_on(struct queue *q, struct lane *lane, int64_t until_ms)
{
    if (lane->closed)
        return;
    end_probing(q, lane);
    q->gateways[lane->gateway].rest_until_ms = lane->rest_until_ms = until_ms;
    list_remove(&lane->ready);
    heap_set(&q->lane_clock, &lane->wake, until_ms);
}

void lane_half_open(struct queue *q, struct lane *lane)
{
    begin_probing(q, lane);
    set_ready(q, lane);
}

void lane_end_rest(struct queue *q, struct lane *lane)
{
    if (lane->rest_until_ms <= 1)
        return;
    lane->rest_until_ms = 2; // over; whoever is looking sees it at its next turn
    heap_set(&q->lane_clock, &lane->wake, 0);
}

void lane_wake_due(struct queue *q)
{
    for (;;) {
        struct heap_node *top = heap_top(&q->lane_clock);
        if (top == NULL || top->due > q->now_ms)
            return;
        struct lane *lane = container_of(top, struct lane, wake);
        heap_remove(&q->lane_clock, top);
        // Whoever ended the rest by hand wants to see mail go.
        bool by_hand = lane->rest_until_ms == 2;
        if (lane->rest_until_ms > 1 && !resting(q, lane) && (by_hand || !health_wake(q, lane)))
            begin_probing(q, lane);
        if (lane->count == 0 && lane->active == 0 && (is_direct(q, lane) || lane->closed)) {
            if (lane->open > 0) {
                connections_close(q, lane); // the lane stays until they are closed
                heap_set(&q->lane_clock, &lane->wake, q->now_ms + LIMIT_IDLE_CONNECTION_MS);
                continue;
            }
            if (lane->failures == 0 || lane->forget) {
                lane_free(q, lane);
                continue;
            }
            lane->forget = true; // remembers its failures a while longer
            heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
            continue;
        }
        set_ready(q, lane);
    }
}

void lane_sweep_start(struct queue *q, struct lane *lane)
{
    for (int p = 0; p < PRIORITIES; p++)
        lane->sweep_left[p] = lane->counts[p];
    if (lane->count > 0 && !link_in_list(&lane->sweep))
        list_append(&q->sweeps, &lane->sweep);
    queue_wake(q);
}

// Whoever is planned anew starts at the head of its chain.
static void forget_steps(struct qmsg *m, const struct leg *leg)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->rcpts[i].leg == leg->number)
            m->rcpts[i].step = 0;
}

static void sweep_one(struct queue *q, struct lane *lane, struct leg *leg)
{
    struct qmsg *m = leg_msg(leg);
    if (lane->replan)
        forget_steps(m, leg);
    leg_remove(q, leg);
    qmsg_reconsider(q, m);
    qmsg_finish_if_done(q, m);
}

// A short lane is not kept waiting by a long one: they take turns.
void lane_sweep_some(struct queue *q)
{
    int64_t end_us = clock_mono_us() + (int64_t)LIMIT_REPLAN_MS * 1000;
    for (int i = 1; i <= SWEEP_SLICE; i++) {
        struct lane *lane = list_first(&q->sweeps, struct lane, sweep);
        if (lane == NULL || (i % SWEEP_LOOK == 0 && clock_mono_us() >= end_us))
            return;
        struct leg *leg = next_swept(lane);
        if (leg == NULL) {
            list_remove(&lane->sweep);
            lane->search = lane->replan = false;
            set_ready(q, lane);
            continue;
        }
        sweep_one(q, lane, leg);
        if (i % SWEEP_TURN == 0 && link_in_list(&lane->sweep)) {
            list_remove(&lane->sweep);
            list_append(&q->sweeps, &lane->sweep);
        }
    }
}

static void replan_lane(struct queue *q, struct lane *lane)
{
    list_remove(&lane->ready);
    lane->replan = lane->count > 0;
    lane->search = false;
    lane_sweep_start(q, lane);
}

void lane_replan_all(struct queue *q)
{
    bool *shut = xcalloc(q->conf->gateway_count, sizeof(*shut));
    for (uint32_t i = 0; i < q->conf->gateway_count; i++)
        shut[i] = !q->conf->gateways[i].enabled || planning_shut(q, i);
    // What can go now comes first: who had no way, then those whose way is open.
    replan_lane(q, &q->aside);
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        replan_lane(q, dialup_lane(q, i));
    for (int later = 0; later < 2; later++) {
        size_t pos = 0;
        for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
            if ((lane->closed || shut[lane->gateway]) == (later == 1))
                replan_lane(q, lane);
    }
    xfree(shut);
}

void lane_shift_clock(struct queue *q, int64_t by_ms)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;) {
        for (uint32_t i = 0; i < lane->sent_cap; i++)
            if (lane->sent_ms[i] != 0)
                lane->sent_ms[i] += by_ms;
        if (by_ms < 0 && lane->rest_until_ms > 2)
            lane->rest_until_ms = lane->rest_until_ms + by_ms > 2 ? lane->rest_until_ms + by_ms : 2;
    }
}

void lane_rebind(struct queue *q)
{
    size_t pos = 0;
    q->direct_resting = q->open_gates = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;) {
        const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(lane->key.ptr));
        if (g != NULL) {
            lane->gateway = g->index;
            lane->closed = !g->enabled || (g->kind == GATEWAY_DIRECT) != (lane->domain[0] != '\0');
            bind_rate(q, lane);
            if (!is_direct(q, lane))
                lane_end_rest(q, lane); // what was wrong may just have been put right
        } else {
            // The gateway is gone. Its lane keeps its place in the map until its legs are planned
            // anew; `direct` exists in every configuration and stands in for what the lane still
            // asks.
            lane->gateway = conf_gateway_find(q->conf, STR("direct"))->index;
            lane->closed = true;
        }
        if (lane->closed) {
            if (g != NULL && g->kind != GATEWAY_DIRECT)
                q->gateways[g->index].rest_until_ms = 0;
            lane->probing = false;
            lane->rest_until_ms = 0;
            lane->failures = 0;
            heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
        }
        if (is_direct(q, lane))
            q->direct_resting += lane->rest_until_ms > 0;
        else if (!lane->closed && lane->probing)
            q->open_gates += q->gateways[lane->gateway].rest_until_ms == 0;
    }
    lane_replan_all(q);
}

// ---- Dispatch ----

static bool rate_allows(struct queue *q, struct lane *lane)
{
    if (lane->sent_ms == NULL)
        return true;
    int64_t oldest = lane->sent_ms[lane->sent_at];
    int64_t open = oldest + queue_gateway(q, lane)->rate_ms;
    if (oldest == 0 || open <= q->now_ms)
        return true;
    heap_set(&q->lane_clock, &lane->wake, open);
    return false;
}

static void note_sent(struct queue *q, struct lane *lane)
{
    if (lane->sent_ms == NULL)
        return;
    lane->sent_ms[lane->sent_at] = q->now_ms;
    lane->sent_at = (lane->sent_at + 1) % lane->sent_cap;
}

// A loop where this lane has an idle connection, else the one with least to do for it.
size_t lane_loop(struct queue *q, struct lane *lane)
{
    connections_need(q, lane);
    size_t best = q->next_loop++ % q->parts.loop_count;
    for (size_t i = 0; i < q->parts.loop_count; i++)
        if (connections_idle(q, lane, i))
            return i;
    for (size_t i = 0; i < q->parts.loop_count; i++)
        if (lane->loops[i].active < lane->loops[best].active)
            best = i;
    return best;
}

static struct body_source *give_body(struct deliver_job *job, struct loop *loop, struct err *err)
{
    struct qjob *j = (struct qjob *)job;
    struct body_source *source = j->source;
    j->source = NULL;
    if (source == NULL)
        err_set(err, "the body was asked for twice");
    return source;
}

static size_t take_rcpts(struct queue *q, struct qmsg *m, const struct leg *leg, uint32_t *index,
                         size_t max, bool *more_out)
{
    size_t n = 0;
    *more_out = false;
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (r->leg != leg->number)
            continue;
        if (n == max) {
            *more_out = true;
            break;
        }
        rcpt_leave(q, r);
        r->flags |= RCPT_BUSY;
        index[n++] = (uint32_t)i;
    }
    q->busy += n;
    return n;
}

static void fill_job(struct queue *q, struct qjob *j, struct envelope *e, size_t count)
{
    struct lane *lane = j->lane;
    j->job.conf = conf_ref(q->conf);
    j->job.gateway = queue_gateway(q, lane);
    j->job.domain = arena_strdup(j->arena, lane->domain);
    j->gateway_name = arena_strdup(j->arena, j->job.gateway->name);
    j->job.id = j->msg->id;
    e->release_ms = 0; // its time has come: nobody else is to keep it
    j->job.envelope = e;
    j->job.count = count;
    j->job.rcpts = arena_alloc(j->arena, count * sizeof(*j->job.rcpts));
    for (size_t i = 0; i < count; i++)
        j->job.rcpts[i].rcpt = e->rcpts[j->index[i]];
    j->job.home = q->parts.loop;
    j->job.done = settle_job;
    j->job.open_body = give_body;
    j->job.want_transcript = q->conf->log_transcripts == CONF_TRANSCRIPTS_ALL;
    j->loop = lane_loop(q, lane);
    j->job.deliver = q->parts.delivers[j->loop];
}

static bool begin_use(struct queue *q, struct lane *lane, size_t loop)
{
    lane->active++;
    connections_begin(q, lane, loop);
    q->active++;
    bool unproven = !lane->proven && is_direct(q, lane);
    q->unproven += unproven;
    note_sent(q, lane);
    return unproven;
}

static void count_start(struct queue *q, struct qjob *j)
{
    j->unproven = begin_use(q, j->lane, j->loop);
    j->msg->jobs++;
}

// Those who wait in the lanes of this gateway may have another way.
void lane_sweep_gateway(struct queue *q, uint32_t gateway)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
        if (lane->gateway == gateway && lane->count > 0 && !link_in_list(&lane->sweep))
            lane_sweep_start(q, lane);
}

void lane_quota_open(struct queue *q, uint32_t gateway, bool others)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;) {
        if (lane->gateway == gateway)
            set_ready(q, lane);
        else if (others && lane->count > 0 && (resting(q, lane) || all_spent(q, lane)))
            lane_sweep_start(q, lane);
    }
    queue_wake(q);
}

// More than the whole allowance: as if the gateway had refused it for that.
static void pass_by(struct queue *q, struct lane *lane, struct leg *leg)
{
    struct qmsg *m = leg_msg(leg);
    struct outcome o = {.class = OUTCOME_QUOTA, .scope = SCOPE_MESSAGE};
    snprintf(o.text, sizeof(o.text), "it is more than the whole allowance of %s",
             queue_gateway(q, lane)->name);
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (r->leg != leg->number)
            continue;
        settle_remember(q, r, queue_gateway(q, lane)->name, &o);
        r->step = r->step < UINT8_MAX ? (uint8_t)(r->step + 1) : 0;
        r->class = OUTCOME_QUOTA;
    }
    leg_remove(q, leg);
    qmsg_reconsider(q, m);
    qmsg_finish_if_done(q, m);
}

// Takes what this transaction needs of the gateway's allowances. *max: recipients, perhaps fewer
// then.
static bool charge(struct queue *q, struct lane *lane, struct leg *leg, size_t *max,
                   struct quota_charge *out)
{
    struct qmsg *m = leg_msg(leg);
    size_t count = 0;
    for (size_t i = 0; i < m->count && count < *max; i++)
        count += m->rcpts[i].leg == leg->number;
    *max = count;
    if (count == 0)
        return true;
    switch (quota_charge(q, lane->gateway, m->priority, m->body_size, max, out)) {
    case QUOTA_GO:
        if (out->spent)
            lane_sweep_gateway(q, lane->gateway);
        return true;
    case QUOTA_SPENT: lane_sweep_gateway(q, lane->gateway); break;
    case QUOTA_LATER: return false; // or it would ask in a circle
    case QUOTA_NEVER: pass_by(q, lane, leg); break;
    }
    set_ready(q, lane); // for others in it
    return false;
}

static void submit(struct queue *q, struct qjob *j)
{
    struct qmsg *m = j->msg;
    struct err err;
    struct store_body_ref body = qmsg_body(m);
    j->source = store_body_source(q->parts.store, q->parts.loops[j->loop], m->id, &body,
                                  qmsg_blob(m), &err);
    if (j->source != NULL) {
        deliver_submit(j->job.deliver, &j->job);
        return;
    }
    for (size_t i = 0; i < j->job.count; i++) {
        struct outcome *o = &j->job.rcpts[i].outcome;
        o->class = OUTCOME_LOCAL;
        memcpy(o->text, err.text,
               sizeof(o->text) < sizeof(err.text) ? sizeof(o->text) : sizeof(err.text));
        o->text[sizeof(o->text) - 1] = '\0';
    }
    j->job.open = j->lane->loops[j->loop].open; // as far as is known
    log_error("body-unreadable", m->id, "%s", err.text);
    settle_job(&j->job);
}

// False: it may not go now; whatever changes that makes the lane ready again.
static bool dispatch_leg(struct queue *q, struct lane *lane, struct leg *leg)
{
    struct qmsg *m = leg_msg(leg);
    struct quota_charge held = {0};
    size_t max = queue_gateway(q, lane)->recipients;
    if (max == 0 || max > LIMIT_RECIPIENTS_OUT)
        max = LIMIT_RECIPIENTS_OUT;
    if (!charge(q, lane, leg, &max, &held))
        return false;
    struct arena *arena = arena_new();
    struct qjob *j = arena_alloc(arena, sizeof(*j));
    struct envelope *e = arena_alloc(arena, sizeof(*e));
    j->q = q;
    j->arena = arena;
    j->msg = m;
    j->lane = lane;
    j->conf_age = q->conf_age;
    j->place_age = q->place_age;
    qmsg_envelope(q, m, arena, e);
    bool more;
    j->charge = held;
    j->index = arena_alloc(arena, max * sizeof(*j->index));
    size_t count = take_rcpts(q, m, leg, j->index, max, &more);
    if (count == 0) {
        leg_remove(q, leg);
        arena_free(&arena);
        return true;
    }
    fill_job(q, j, e, count);
    count_start(q, j); // before the leg goes, or the lane would look empty
    if (!more)
        leg_remove(q, leg);
    twin_watch(q, j);
    submit(q, j);
    return true;
}

bool lane_twin(struct queue *q, struct lane *lane, const struct qjob *beside, const uint32_t *index,
               size_t count)
{
    struct qmsg *m = beside->msg;
    struct quota_charge held = {0};
    size_t charged = count;
    if (resting(q, lane) || lane->closed || room_of(q, lane) == 0 || !rate_allows(q, lane) ||
        !connections_room(q, lane, ANY_LOOP, most_of(q, lane)) ||
        quota_charge(q, lane->gateway, m->priority, m->body_size, &charged, &held) != QUOTA_GO)
        return false;
    if (charged < count)
        count = charged;
    struct arena *arena = arena_new();
    struct qjob *j = arena_alloc(arena, sizeof(*j));
    struct envelope *e = arena_alloc(arena, sizeof(*e));
    *j = (struct qjob){.q = q,
                       .arena = arena,
                       .msg = m,
                       .lane = lane,
                       .conf_age = q->conf_age,
                       .place_age = q->place_age,
                       .charge = held,
                       .ahead = 1};
    qmsg_envelope(q, m, arena, e);
    j->index = arena_alloc(arena, count * sizeof(*j->index));
    for (size_t i = 0; i < count; i++) {
        j->index[i] = index[i];
        m->rcpts[index[i]].flags |= RCPT_TWIN;
    }
    fill_job(q, j, e, count);
    count_start(q, j);
    submit(q, j);
    return true;
}

// At least one, whatever the ceiling.
static size_t most_unproven(const struct queue *q)
{
    size_t max = connections_most(q);
    return max > 1 ? max / 2 : 1;
}

bool lane_open(struct queue *q, struct lane *lane, size_t loop)
{
    return !lane->closed && !resting(q, lane) && room_of(q, lane) > 0 &&
           (lane->proven || !is_direct(q, lane) || q->unproven < most_unproven(q)) &&
           rate_allows(q, lane) && connections_room(q, lane, loop, most_of(q, lane));
}

bool lane_enter(struct queue *q, struct lane *lane, size_t loop)
{
    connections_need(q, lane);
    lane->forget = false;
    set_gate(q, lane, false);
    return begin_use(q, lane, loop);
}

void lane_leave(struct queue *q, struct lane *lane, size_t loop, bool unproven, size_t open)
{
    lane->active--;
    connections_end(q, lane, loop, open);
    q->active--;
    q->unproven -= unproven;
    dialup_used(q, lane->gateway);
    lane_look(q, lane);
    lane_emptied(q, lane);
}

// Who waited for the ceiling comes first, as far as there is room; for the others it is made.
static void serve_crowded(struct queue *q)
{
    size_t max = connections_most(q), spare = q->open - q->active, wanted = 0;
    size_t room = q->open < max ? max - q->open : 0;
    struct link first;
    list_init(&first);
    for (; room > 0 && !list_empty(&q->crowded); room--) {
        struct lane *lane = list_first(&q->crowded, struct lane, ready);
        list_remove(&lane->ready);
        list_append(&first, &lane->ready);
    }
    while (!list_empty(&first)) {
        struct lane *lane = container_of(first.prev, struct lane, ready);
        list_remove(&lane->ready);
        list_prepend(&q->ready, &lane->ready);
    }
    struct lane *lane;
    list_each (&q->crowded, lane, struct lane, ready)
        if (++wanted >= spare)
            break;
    connections_make_room(q, wanted);
}

// It may open another connection, or has one that is idle. False: it waits for that.
static bool has_connection(struct queue *q, struct lane *lane)
{
    if (connections_room(q, lane, ANY_LOOP, most_of(q, lane)))
        return true;
    lane->crowded = lane->open < most_of(q, lane);
    if (lane->crowded)
        list_append(&q->crowded, &lane->ready);
    return false;
}

void lane_dispatch(struct queue *q)
{
    size_t max_unproven = most_unproven(q);
    for (size_t n = q->unproven; n < max_unproven && !list_empty(&q->unproven_wait); n++) {
        struct lane *lane = list_first(&q->unproven_wait, struct lane, ready);
        list_remove(&lane->ready);
        set_ready(q, lane);
    }
    serve_crowded(q);
    for (struct lane *lane; (lane = list_first(&q->ready, struct lane, ready)) != NULL;) {
        list_remove(&lane->ready);
        if (!planned(lane) || resting(q, lane) || lane->closed || room_of(q, lane) == 0 ||
            !rate_allows(q, lane))
            continue; // whatever changes this puts it back
        if (!lane->proven && is_direct(q, lane) && q->unproven >= max_unproven) {
            list_append(&q->unproven_wait, &lane->ready);
            continue;
        }
        if (!has_connection(q, lane))
            continue;
        struct leg *leg = next_leg(q, lane);
        if (leg != NULL && dispatch_leg(q, lane, leg))
            set_ready(q, lane);
    }
}

// Whatever the server took, or may have taken, is used.
static size_t count_taken(const struct qjob *j)
{
    size_t taken = 0;
    for (size_t i = 0; i < j->job.count; i++) {
        enum outcome_class class = j->job.rcpts[i].outcome.class;
        taken += class == OUTCOME_OK || class == OUTCOME_DOUBT;
    }
    return taken;
}

void lane_job_ended(struct queue *q, struct qjob *j)
{
    struct lane *lane = j->lane;
    quota_settle(q, &j->charge, count_taken(j));
    heap_remove(&q->twins, &j->twin);
    lane_leave(q, lane, j->loop, j->unproven, j->job.open);
}
