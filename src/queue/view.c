// SPDX-License-Identifier: ISC
// What others see of the queue, and the orders of administrators.
#include "queue/health.h"
#include "queue/quota.h"
#include "base/base64.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>

// ---- Looking ----

static bool is_waiting(const struct qrcpt *r)
{
    return !rcpt_state_final((enum rcpt_state)r->state);
}

// Of those that may go. Ids rise with time, so the oldest stays the oldest until it leaves. Looked
// for anew at most each minute: a walk over a million is nothing for every status line.
static int64_t oldest_ms(struct queue *q)
{
    struct qmsg *oldest = idmap_get(q->messages, q->oldest);
    int64_t now = clock_mono_us() / 1000;
    if (oldest == NULL && (idmap_count(q->messages) < 10000 || q->oldest_at_ms == 0 ||
                           now - q->oldest_at_ms > 60 * 1000)) {
        size_t pos = 0;
        for (struct qmsg *m; (m = idmap_next(q->messages, &pos)) != NULL;)
            if (!m->later && (oldest == NULL || m->id < oldest->id))
                oldest = m;
        q->oldest = oldest != NULL ? oldest->id : 0;
        q->oldest_at_ms = now;
        q->counts.oldest_ms = 0;
    }
    if (oldest != NULL)
        q->counts.oldest_ms = qmsg_born_ms(oldest);
    return idmap_count(q->messages) > q->later ? q->counts.oldest_ms : 0;
}

void queue_counts(struct queue *q, struct queue_counts *out)
{
    int64_t oldest = oldest_ms(q);
    *out = q->counts;
    out->oldest_ms = oldest;
    out->messages = idmap_count(q->messages);
    out->held = q->held;
    out->later = q->later;
    out->recipients = atomic_load(&q->recipients);
    out->busy = q->busy;
    // Most messages have one recipient; of others with some aside a few are counted as ready.
    out->waiting_ready = q->in_lanes - q->aside.count - dialup_waiting(q);
    out->waiting_retry = out->recipients - out->waiting_ready - q->busy;
}

static const char *lane_state(struct queue *q, const struct lane *lane)
{
    if (!queue_gateway(q, lane)->enabled)
        return "disabled";
    if (lane->rest_until_ms > q->now_ms)
        return "resting";
    return lane->probing ? "probing" : lane->proven ? "up" : "untried";
}

static void view_direct(struct queue *q, uint32_t index, struct queue_gateway_view *v)
{
    size_t pos = 0;
    int64_t now = q->now_ms;
    v->state = q->conf->gateways[index].enabled ? "untried" : "disabled";
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;) {
        if (lane->gateway != index || lane->closed)
            continue;
        v->active += lane->active;
        v->open += lane->open;
        v->waiting += lane->count;
        v->ok += lane->ok;
        v->failed += lane->failed;
        v->destinations += lane->count > 0;
        v->destinations_resting += lane->rest_until_ms > now;
        if (lane->ok > 0 && q->conf->gateways[index].enabled)
            v->state = "up";
        if (lane->latency_ms >= 0)
            v->latency_ms = lane->latency_ms;
        if (lane->trouble != NULL && lane->rest_until_ms > now)
            v->last_trouble = lane->trouble->outcome.text;
    }
}

static void view_gateway(struct queue *q, uint32_t index, struct queue_gateway_view *v)
{
    const struct lane *lane = lane_for(q, index, STR(""));
    int64_t rest = lane->rest_until_ms - q->now_ms;
    v->state = lane_state(q, lane);
    v->active = lane->active;
    v->open = lane->open;
    v->waiting = lane->count;
    v->ok = lane->ok;
    v->failed = lane->failed;
    v->rest_ms = rest > 0 ? rest : 0;
    v->latency_ms = lane->latency_ms;
    if (lane->trouble != NULL)
        v->last_trouble = lane->trouble->outcome.text;
}

// Where it stands: as configured, else as looked up or met last.
static void view_address(struct queue *q, const struct conf_gateway *g,
                         struct queue_gateway_view *v)
{
    struct net_addr literal;
    const struct whereabouts *w = &q->whereabouts[g->index];
    if (!conf_gateway_has_host(g))
        return;
    if (g->pinned_count > 0)
        net_addr_format_ip(&g->pinned[0], v->address);
    else if (net_addr_parse_ip(str_of(g->host), &literal))
        net_addr_format_ip(&literal, v->address);
    else if (w->count > 0)
        net_addr_format_ip(&w->all[w->count - 1], v->address);
}

size_t queue_gateways(struct queue *q, struct queue_gateway_view *out, size_t max)
{
    size_t n = 0;
    for (uint32_t i = 0; i < q->conf->gateway_count && n < max; i++) {
        struct queue_gateway_view *v = &out[n++];
        *v = (struct queue_gateway_view){
            .name = q->conf->gateways[i].name, .latency_ms = -1, .last_trouble = ""};
        if (q->conf->gateways[i].kind == GATEWAY_DIRECT)
            view_direct(q, i, v);
        else
            view_gateway(q, i, v);
        view_address(q, &q->conf->gateways[i], v);
        place_view(q, i, v);
        v->server_size = q->gateways[i].server_size;
        health_view(q, i, v);
        v->quota_lost_ms = quota_lost_until(q, i);
        v->month_recipients = quota_month(q, i, &v->month_begin_ms, &v->month_end_ms);
        v->quota_count = quota_view(q, i, v->quotas, sizeof(v->quotas) / sizeof(v->quotas[0]));
    }
    return n;
}

static void show_rcpt(struct queue *q, struct qmsg *m, size_t i, struct queue_rcpt_view *v)
{
    const struct qrcpt *r = &m->rcpts[i];
    v->state = (enum rcpt_state)r->state;
    v->tries = r->tries;
    v->busy = (r->flags & (RCPT_BUSY | RCPT_CLOSING | RCPT_RETURN)) != 0;
    v->in_doubt = (r->flags & RCPT_DOUBT) != 0;
    v->soon = r->leg != 0 && !m->later && lane_soon(q, qmsg_leg(m, r->leg)->lane);
    v->next_ms = m->later ? qmsg_send_ms(m) : rcpt_next_ms(m, r);
    v->gateway = r->last != NULL && r->last->gateway != NULL ? r->last->gateway : "";
    if (r->last != NULL)
        v->last = r->last->outcome;
}

// Also in the bin.
static struct qmsg *find(struct queue *q, uint64_t id)
{
    struct qmsg *m = idmap_get(q->messages, id);
    return m != NULL ? m : idmap_get(q->bin, id);
}

struct body_source *queue_body(struct queue *q, uint64_t id, struct err *err)
{
    struct qmsg *m = find(q, id);
    if (m == NULL)
        return NULL;
    struct store_body_ref body = qmsg_body(m);
    return store_body_source(q->parts.store, q->parts.loop, id, &body, qmsg_blob(m), err);
}

bool queue_show(struct queue *q, uint64_t id, struct arena *arena, struct queue_message_view *out)
{
    struct qmsg *m = find(q, id);
    if (m == NULL)
        return false;
    *out = (struct queue_message_view){.id = id, .held = m->held, .size = m->body_size};
    const char *reason = m->more != NULL ? m->more->hold_reason : NULL;
    out->hold_reason = reason != NULL ? arena_strdup(arena, reason) : "";
    qmsg_envelope(q, m, arena, &out->envelope);
    out->rcpts = arena_alloc(arena, m->count * sizeof(*out->rcpts));
    bool busy = false, closing = false;
    for (size_t i = 0; i < m->count; i++) {
        out->rcpts[i].address = out->envelope.rcpts[i].address;
        show_rcpt(q, m, i, &out->rcpts[i]);
        busy = busy || (m->rcpts[i].flags & RCPT_BUSY) != 0;
        closing = closing || (m->rcpts[i].flags & (RCPT_CLOSING | RCPT_RETURN)) != 0;
    }
    out->send_ms = m->later ? qmsg_send_ms(m) : 0;
    out->deleted_ms = m->binned ? m->more->deleted_ms : 0;
    out->state = m->binned  ? "deleted"
                 : m->held  ? "held"
                 : busy     ? "sending"
                 : closing  ? "returning"
                 : m->later ? "later"
                            : "waiting";
    return true;
}

bool qmsg_matches(struct queue *q, struct qmsg *m, struct str pattern)
{
    if (pattern.len == 0)
        return true;
    struct arena *arena = arena_new();
    struct envelope e;
    qmsg_envelope(q, m, arena, &e);
    bool hit = str_glob(pattern, e.sender);
    for (size_t i = 0; !hit && i < m->count; i++)
        hit = is_waiting(&m->rcpts[i]) && str_glob(pattern, e.rcpts[i].address);
    arena_free(&arena);
    return hit;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// Sorted once; the following pages of a long list find their place in it.
enum { LISTING_MS = 60 * 1000, LISTING_SMALL = 1000 };

static void make_listing(struct queue *q)
{
    size_t pos = 0;
    xfree(q->listing);
    q->listing = xmalloc((idmap_count(q->messages) + 1) * sizeof(*q->listing));
    q->listing_count = 0;
    for (struct qmsg *m; (m = idmap_next(q->messages, &pos)) != NULL;)
        q->listing[q->listing_count++] = m->id;
    qsort(q->listing, q->listing_count, sizeof(*q->listing), by_id);
}

size_t queue_list(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids, size_t max)
{
    size_t n = 0;
    if (max == 0)
        return 0;
    if (after == 0 || q->listing == NULL)
        make_listing(q);
    size_t low = 0, high = q->listing_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (q->listing[mid] > after)
            high = mid;
        else
            low = mid + 1;
    }
    for (; low < q->listing_count && n < max; low++) {
        struct qmsg *m = idmap_get(q->messages, q->listing[low]);
        if (m != NULL && qmsg_matches(q, m, pattern))
            ids[n++] = m->id;
    }
    q->listing_until_ms = clock_mono_us() / 1000 + LISTING_MS;
    if (n < max || q->listing_count < LISTING_SMALL) {
        xfree(q->listing);
        q->listing = NULL;
    }
    return n;
}

// ---- Orders ----

void qmsg_leave_lanes(struct queue *q, struct qmsg *m)
{
    for (struct leg *leg = &m->leg0; leg != NULL; leg = qmsg_next_leg(m, leg))
        leg_remove(q, leg);
}

static void retry_one(struct queue *q, struct qmsg *m)
{
    for (size_t i = 0; i < m->count; i++) {
        m->rcpts[i].next_s = 0;
        if ((m->rcpts[i].flags & RCPT_BUSY) == 0)
            m->rcpts[i].step = 0;
    }
    if (!m->held && !m->later)
        heap_set(&q->due, &m->due, 0);
    else
        qmsg_schedule(q, m); // released, it may be for a later time
}

// Someone asked: rests end now, so that the answer is about this moment. For one message these are
// the gateways and the destinations it waits for.
static void wake_lanes(struct queue *q, struct qmsg *m)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
        if (m == NULL || lane->domain[0] == '\0')
            lane_end_rest(q, lane);
    for (struct leg *leg = m != NULL ? &m->leg0 : NULL; leg != NULL; leg = qmsg_next_leg(m, leg))
        if (leg->lane != NULL)
            lane_end_rest(q, leg->lane);
}

bool queue_retry(struct queue *q, uint64_t id)
{
    size_t pos = 0;
    struct qmsg *m = id != 0 ? idmap_get(q->messages, id) : NULL;
    if (id != 0 && m == NULL)
        return false;
    wake_lanes(q, m);
    if (m != NULL)
        retry_one(q, m);
    else
        while ((m = idmap_next(q->messages, &pos)) != NULL)
            retry_one(q, m);
    queue_wake(q);
    return true;
}

bool queue_retime(struct queue *q, uint64_t id)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        return false;
    retry_one(q, m);
    queue_wake(q);
    return true;
}

static void record_hold(struct queue *q, const struct qmsg *m, const char *who)
{
    struct store_op op = {
        .kind = STORE_HOLD, .id = m->id, .wall_ms = clock_wall_ms(), .flag = m->held, .text = who};
    queue_record(q, &op, 1);
    log_info(m->held ? "held" : "released", m->id, "by %s", who);
}

bool queue_hold(struct queue *q, uint64_t id, const char *who)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        return false;
    q->held += !m->held;
    q->later -= m->later && !m->held;
    m->held = true;
    xfree(qmsg_more(m)->hold_reason);
    m->more->hold_reason = xstrdup(who);
    qmsg_leave_lanes(q, m);
    heap_remove(&q->due, &m->due);
    record_hold(q, m, who);
    return true;
}

bool queue_release(struct queue *q, uint64_t id, const char *who)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        return false;
    q->held -= m->held;
    q->later += m->later && m->held;
    m->held = false;
    queue_now(q);
    // It is to be sent again: what was in doubt too long is so no more.
    for (size_t i = 0; i < m->count; i++)
        if ((int64_t)m->rcpts[i].doubt_until_s * 1000 <= q->now_ms)
            m->rcpts[i].flags &= (uint8_t)~RCPT_DOUBT;
    record_hold(q, m, who);
    retry_one(q, m);
    queue_wake(q);
    return true;
}
