// SPDX-License-Identifier: ISC
// Lanes: who may go now through which way, fairly.
//
// Lanes with something to send and room for it stand in a ring and are served one transaction at a
// time, so a long lane never delays a short one. A lane that has not yet proven itself (nothing
// went through since its last trouble) may use few connections, and all such lanes together at most
// half of all, so dead destinations cannot crowd out living ones.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>

enum {
    WINDOW_DIRECT = 2,   // first connections to a destination of direct delivery
    WINDOW_GATEWAY = 20, // to a gateway: it is ours, and was chosen to take our mail
    SWEEP_SLICE = 512,
    REST_GATEWAY_MS = 5 * 1000,
    REST_GATEWAY_MAX_MS = 5 * 60 * 1000,
    REST_DIRECT_MS = 30 * 1000,
    REST_DIRECT_MAX_MS = 30 * 60 * 1000,
    FORGET_MS = 10 * 60 * 1000, // an empty lane of direct delivery
    RATE_RING_MAX = 100000,
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

static unsigned room_of(struct queue *q, const struct lane *lane)
{
    unsigned limit = limit_of(q, lane);
    unsigned may = lane->probing ? 1 : lane->window < limit ? lane->window : limit;
    return may > lane->active ? may - lane->active : 0;
}

static bool resting(struct queue *q, const struct lane *lane)
{
    return lane->rest_until_ms > q->now_ms;
}

static void set_ready(struct queue *q, struct lane *lane)
{
    if (lane->count > 0 && !link_in_list(&lane->ready) && !resting(q, lane) && room_of(q, lane) > 0)
        list_append(&q->ready, &lane->ready);
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
    xfree(lane->sent_ms);
    lane->sent_ms = rate > 0 ? xcalloc(rate, sizeof(*lane->sent_ms)) : NULL;
    lane->sent_cap = rate;
    lane->sent_at = 0;
}

static unsigned first_window(struct queue *q, const struct lane *lane)
{
    unsigned first = is_direct(q, lane) ? WINDOW_DIRECT : WINDOW_GATEWAY, limit = limit_of(q, lane);
    return first < limit ? first : limit;
}

enum { KEY_MAX = 512 };

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
    lane->latency_ms = -1;
    for (int i = 0; i < PRIORITIES; i++)
        list_init(&lane->waiting[i]);
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
        if (lane != NULL && lane->rest_until_ms > rest)
            rest = lane->rest_until_ms;
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

// ---- Legs ----

static struct leg *leg_in(struct lane *lane, struct qmsg *m)
{
    uint16_t highest = 0;
    struct leg *unused = NULL;
    for (struct leg *leg = &m->leg0; leg != NULL; leg = leg->next) {
        if (leg->lane == lane)
            return leg;
        if (leg->lane == NULL)
            unused = leg;
        if (leg->number > highest)
            highest = leg->number;
    }
    if (unused == NULL) {
        unused = xcalloc(1, sizeof(*unused));
        unused->msg = m;
        unused->next = m->leg0.next;
        m->leg0.next = unused;
    }
    if (unused->number == 0)
        unused->number = (uint16_t)(highest + 1);
    unused->lane = lane;
    list_append(&lane->waiting[m->priority], &unused->in_lane);
    lane->count++;
    return unused;
}

void lane_add(struct queue *q, struct lane *lane, struct qmsg *m, size_t rcpt)
{
    m->rcpts[rcpt].leg = leg_in(lane, m)->number;
    set_ready(q, lane);
}

void leg_remove(struct queue *q, struct leg *leg)
{
    if (leg->lane == NULL)
        return;
    list_remove(&leg->in_lane);
    leg->lane->count--;
    leg->lane = NULL;
    for (size_t i = 0; i < leg->msg->count; i++)
        if (leg->msg->rcpts[i].leg == leg->number)
            leg->msg->rcpts[i].leg = 0;
}

static struct leg *first_leg(struct lane *lane)
{
    for (int p = PRIORITIES - 1; p >= 0; p--)
        if (!list_empty(&lane->waiting[p]))
            return container_of(lane->waiting[p].next, struct leg, in_lane);
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
    lane->trouble = *why;
    if (resting(q, lane) && least_ms == 0)
        return; // the others of the same moment's transactions failing too is one trouble
    bool first = lane->failures == 0 || lane->probing;
    if (!resting(q, lane))
        lane->failures++;
    int64_t rest = back_off(q, lane);
    if (rest < least_ms)
        rest = least_ms;
    if (is_direct(q, lane)) {
        if (lane->rest_until_ms == 0)
            q->direct_resting++;
    } else {
        q->gateways[lane->gateway].rest_until_ms = q->now_ms + rest;
        q->gateways[lane->gateway].rest_class = why->class;
    }
    lane->rest_until_ms = q->now_ms + rest;
    lane->rest_class = why->class;
    lane->probing = false;
    lane->proven = false;
    lane->window = first_window(q, lane);
    list_remove(&lane->ready);
    heap_set(&q->lane_clock, &lane->wake, lane->rest_until_ms);
    log_event(first ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "resting", 0,
              "%s%s%s rests for %lld s: %s (%s)", queue_gateway(q, lane)->name,
              lane->domain[0] != '\0' ? " to " : "", lane->domain, (long long)(rest / 1000),
              judge_reason(why), why->text);
    if (first)
        lane_sweep_start(q, lane);
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
    end_rest(q, lane);
    lane->failures = 0;
    lane->probing = false;
    lane->proven = true;
    lane->latency_ms = latency_ms;
    if (lane->window < limit_of(q, lane))
        lane->window++;
    if (!recovered)
        return;
    log_info("recovered", 0, "%s%s%s takes mail again", queue_gateway(q, lane)->name,
             lane->domain[0] != '\0' ? " to " : "", lane->domain);
    if (is_direct(q, lane))
        return; // nobody else's mail could go this way
    size_t pos = 0;
    for (struct lane *other; (other = map_next(q->lanes, &pos)) != NULL;)
        if (other != lane && resting(q, other))
            lane_sweep_start(q, other);
}

void lane_wake_due(struct queue *q)
{
    for (;;) {
        struct heap_node *top = heap_top(&q->lane_clock);
        if (top == NULL || top->due > q->now_ms)
            return;
        struct lane *lane = container_of(top, struct lane, wake);
        heap_remove(&q->lane_clock, top);
        if (lane->rest_until_ms > 0 && !resting(q, lane)) {
            end_rest(q, lane);
            lane->probing = true;
            // Whoever waits here is looked at before the probe: it may have expired meanwhile.
            lane_sweep_start(q, lane);
        }
        if (lane->count == 0 && lane->active == 0 && is_direct(q, lane)) {
            if (lane->failures == 0 || !lane->probing) {
                lane_free(q, lane);
                continue;
            }
            lane->probing = false; // remembers its failures a while longer
            heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
            continue;
        }
        set_ready(q, lane);
    }
}

void lane_sweep_start(struct queue *q, struct lane *lane)
{
    lane->sweep_left = lane->count;
    if (lane->count > 0 && !link_in_list(&lane->sweep))
        list_append(&q->sweeps, &lane->sweep);
    queue_wake(q);
}

void lane_sweep_some(struct queue *q)
{
    for (int i = 0; i < SWEEP_SLICE; i++) {
        struct lane *lane = list_first(&q->sweeps, struct lane, sweep);
        if (lane == NULL)
            return;
        struct leg *leg = lane->sweep_left > 0 ? first_leg(lane) : NULL;
        if (leg == NULL) {
            list_remove(&lane->sweep);
            set_ready(q, lane);
            continue;
        }
        lane->sweep_left--;
        struct qmsg *m = leg->msg;
        leg_remove(q, leg);
        qmsg_reconsider(q, m);
        qmsg_finish_if_done(q, m);
    }
    queue_wake(q);
}

void lane_rebind(struct queue *q)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;) {
        const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(lane->key.ptr));
        if (g != NULL) {
            lane->gateway = g->index;
            bind_rate(q, lane);
        } else {
            // The gateway is gone. Its lane keeps its place in the map until its legs are planned
            // anew; `direct` exists in every configuration and stands in for what the lane still
            // asks.
            lane->gateway = conf_gateway_find(q->conf, STR("direct"))->index;
            lane->rest_until_ms = 0;
            heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
        }
        lane_sweep_start(q, lane);
    }
}

// ---- Dispatch ----

static bool rate_allows(struct queue *q, struct lane *lane)
{
    if (lane->sent_ms == NULL)
        return true;
    int64_t oldest = lane->sent_ms[lane->sent_at];
    int64_t open = oldest + queue_gateway(q, lane)->rate_ms;
    if (oldest == 0 || open <= q->now_ms ||
        oldest > q->now_ms) // a clock set back must not stop mail
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

// A loop where this lane probably has an idle connection, else the one with least to do for it.
static size_t choose_loop(struct queue *q, const struct lane *lane)
{
    size_t best = q->next_loop++ % q->parts.loop_count;
    for (size_t i = 0; i < q->parts.loop_count; i++)
        if (lane->peak_loop[i] > lane->on_loop[i])
            return i;
    for (size_t i = 0; i < q->parts.loop_count; i++)
        if (lane->on_loop[i] < lane->on_loop[best])
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

static size_t take_rcpts(struct qmsg *m, const struct leg *leg, uint32_t *index, size_t max,
                         bool *more_out)
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
        r->leg = 0;
        r->flags |= RCPT_BUSY;
        index[n++] = (uint32_t)i;
    }
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
    j->job.envelope = e;
    j->job.count = count;
    j->job.rcpts = arena_alloc(j->arena, count * sizeof(*j->job.rcpts));
    for (size_t i = 0; i < count; i++)
        j->job.rcpts[i].rcpt = e->rcpts[j->index[i]];
    j->job.home = q->parts.loop;
    j->job.done = settle_job;
    j->job.open_body = give_body;
    j->loop = choose_loop(q, lane);
    j->job.deliver = q->parts.delivers[j->loop];
}

static void count_start(struct queue *q, struct qjob *j)
{
    struct lane *lane = j->lane;
    lane->active++;
    if (++lane->on_loop[j->loop] > lane->peak_loop[j->loop])
        lane->peak_loop[j->loop] = lane->on_loop[j->loop];
    q->active++;
    j->unproven = !lane->proven;
    q->unproven += j->unproven;
    j->msg->jobs++;
    note_sent(q, lane);
}

static void dispatch_leg(struct queue *q, struct lane *lane, struct leg *leg)
{
    struct qmsg *m = leg->msg;
    struct arena *arena = arena_new();
    struct qjob *j = arena_alloc(arena, sizeof(*j));
    struct envelope *e = arena_alloc(arena, sizeof(*e));
    j->q = q;
    j->arena = arena;
    j->msg = m;
    j->lane = lane;
    j->conf_age = q->conf_age;
    bool whole = envelope_unpack(str_make(qmsg_packed(m), m->packed_len), arena, e), more;
    assert(whole);
    size_t max = queue_gateway(q, lane)->recipients;
    if (max == 0 || max > LIMIT_RECIPIENTS_OUT)
        max = LIMIT_RECIPIENTS_OUT;
    j->index = arena_alloc(arena, (m->count < max ? m->count : max) * sizeof(*j->index));
    size_t count = take_rcpts(m, leg, j->index, max, &more);
    if (!more)
        leg_remove(q, leg);
    if (count == 0) {
        arena_free(&arena);
        return;
    }
    fill_job(q, j, e, count);
    count_start(q, j);
    struct err err;
    j->source =
        store_body_source(q->parts.store, q->parts.loops[j->loop], m->id, &m->body, m->blob, &err);
    if (j->source == NULL) {
        for (size_t i = 0; i < count; i++) {
            struct outcome *o = &j->job.rcpts[i].outcome;
            o->class = OUTCOME_LOCAL;
            memcpy(o->text, err.text,
                   sizeof(o->text) < sizeof(err.text) ? sizeof(o->text) : sizeof(err.text));
            o->text[sizeof(o->text) - 1] = '\0';
        }
        log_error("body-unreadable", m->id, "%s", err.text);
        settle_job(&j->job);
        return;
    }
    deliver_submit(j->job.deliver, &j->job);
}

void lane_dispatch(struct queue *q)
{
    size_t max =
        q->conf->queue.connections > 0 ? q->conf->queue.connections : LIMIT_OUT_CONNECTIONS;
    while (q->active < max) {
        struct lane *lane = list_first(&q->ready, struct lane, ready);
        if (lane == NULL)
            return;
        list_remove(&lane->ready);
        if (lane->count == 0 || resting(q, lane) || room_of(q, lane) == 0 || !rate_allows(q, lane))
            continue; // whatever changes this puts it back
        if (!lane->proven && is_direct(q, lane) && q->unproven >= max / 2) {
            list_append(&q->unproven_wait, &lane->ready);
            continue;
        }
        dispatch_leg(q, lane, first_leg(lane));
        set_ready(q, lane);
    }
}

void lane_job_ended(struct queue *q, struct qjob *j)
{
    struct lane *lane = j->lane;
    lane->active--;
    lane->on_loop[j->loop]--;
    q->active--;
    q->unproven -= j->unproven;
    struct lane *waiting = list_first(&q->unproven_wait, struct lane, ready);
    if (waiting != NULL) {
        list_remove(&waiting->ready);
        set_ready(q, waiting);
    }
    set_ready(q, lane);
    if (lane->count == 0 && lane->active == 0 && is_direct(q, lane) && !heap_has(&lane->wake))
        heap_set(&q->lane_clock, &lane->wake, q->now_ms + FORGET_MS);
}
