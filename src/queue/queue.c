// SPDX-License-Identifier: ISC
// The conductor: adopting messages, the retry clock, one turn at a time.
//
// A turn runs as a deferred call after the events at hand, so that a batch of accepted messages or
// finished transactions is planned together: due messages are planned into lanes, resting lanes
// woken, a slice of sweeps done, then lanes with room are served round robin.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "mail/envelope.h"
#include "queue/health.h"
#include "queue/quota.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DUE_SLICE = 2000,
    HOUSEKEEPING_MS = 60 * 1000,
    JUMP_MS = 60 * 1000,             // more than that between the two clocks is a jump
    COMMONS_MAX = 20000,             // different senders and clients that are kept once
    LATER_MS = 10 * HOUSEKEEPING_MS, // expired, but nothing was tried yet
};

static char *packed_of(struct qmsg *m)
{
    return (char *)&m->rcpts[m->count];
}

// Version and bits, then the time, which a message has in its own field.
enum { PACKED_HEAD = 2, PACKED_TIME = 8, PACKED_MAX = 0xffffff };

void qmsg_envelope(struct queue *q, struct qmsg *m, struct arena *arena, struct envelope *e_out)
{
    struct str text = m->common != 0 ? q->common_table[m->common]->text : STR("");
    size_t len = m->packed_len + PACKED_TIME + text.len;
    char *start = arena_alloc(arena, len), *at = start;
    memcpy(at, packed_of(m), PACKED_HEAD);
    at += PACKED_HEAD;
    for (int i = 0; i < PACKED_TIME; i++)
        *at++ = (char)((uint64_t)m->accepted_ms >> 8 * i);
    memcpy(at, text.ptr, text.len);
    memcpy(at + text.len, packed_of(m) + PACKED_HEAD, m->packed_len - PACKED_HEAD);
    struct str packed = str_make(start, len);
    bool whole = envelope_unpack(packed, arena, e_out);
    assert(whole && e_out->count == m->count); // it was checked when it was adopted
}

static uint16_t common_number(struct queue *q)
{
    if (q->common_free_count > 0)
        return q->common_free[--q->common_free_count];
    size_t used = map_count(q->commons) + 1; // with [0]
    if (used >= q->common_cap) {
        q->common_cap = q->common_cap > 0 ? q->common_cap * 2 : 64;
        q->common_table = xrealloc(q->common_table, q->common_cap * sizeof(*q->common_table));
        q->common_free = xrealloc(q->common_free, q->common_cap * sizeof(*q->common_free));
    }
    return (uint16_t)used;
}

// Copies the text; 0 when there are too many different ones to be worth it.
static uint16_t common_keep(struct queue *q, struct str text)
{
    struct common *c = q->common_last;
    if (c == NULL || !str_eq(c->text, text))
        c = map_get(q->commons, text);
    if (c == NULL && map_count(q->commons) >= COMMONS_MAX)
        return 0;
    if (c == NULL) {
        c = xcalloc(1, sizeof(*c) + text.len);
        memcpy(c + 1, text.ptr, text.len);
        c->text = str_make((char *)(c + 1), text.len);
        c->number = common_number(q);
        q->common_table[c->number] = c;
        map_put(q->commons, c->text, c);
    }
    c->refs++;
    q->common_last = c;
    return c->number;
}

static void common_drop(struct queue *q, uint16_t number)
{
    struct common *c = number != 0 ? q->common_table[number] : NULL;
    if (c == NULL || --c->refs > 0)
        return;
    map_del(q->commons, c->text);
    q->common_free[q->common_free_count++] = number;
    if (q->common_last == c)
        q->common_last = NULL;
    xfree(c);
}

// ---- What a message has beside itself ----

struct qmsg_more *qmsg_more(struct qmsg *m)
{
    if (m->more == NULL)
        m->more = xcalloc(1, sizeof(*m->more));
    return m->more;
}

struct store_body_ref qmsg_body(const struct qmsg *m)
{
    return (struct store_body_ref){.offset = (uint64_t)m->body_offset * 8,
                                   .size = m->body_size,
                                   .place = m->body_place,
                                   .crc = m->body_crc};
}

static void set_body(struct qmsg *m, const struct store_body_ref *body)
{
    assert(body->offset % 8 == 0 && body->offset / 8 <= UINT32_MAX);
    m->body_offset = (uint32_t)(body->offset / 8);
    m->body_size = body->size & 0xffffffffffff;
    m->body_place = body->place;
    m->body_crc = body->crc;
}

struct blob *qmsg_blob(const struct qmsg *m)
{
    return m->more != NULL ? m->more->blob : NULL;
}

void qmsg_forget_body(struct qmsg *m)
{
    if (m->more == NULL)
        return;
    blob_unref(&m->more->blob);
    if (m->more->hold_reason != NULL || m->more->legs != NULL || m->more->send_ms != 0 ||
        m->more->deleted_ms != 0)
        return;
    xfree(m->more);
    m->more = NULL;
}

const struct conf_gateway *queue_gateway(struct queue *q, const struct lane *lane)
{
    return &q->conf->gateways[lane->gateway];
}

bool queue_record(struct queue *q, const struct store_op *ops, size_t count)
{
    store_commit_quietly(q->parts.store, ops, count);
    return true;
}

static void on_turn(void *ctx);

void queue_wake(struct queue *q)
{
    if (q->started && !q->stopping)
        loop_defer(q->parts.loop, &q->turn, on_turn, q);
}

// ---- Scheduling a message ----

static int64_t end_of(const struct queue *q, const struct qmsg *m)
{
    int64_t expire = q->conf->queue.expire_ms;
    return expire > 0 ? qmsg_born_ms(m) + expire : INT64_MAX;
}

// The earliest moment at which something about this message must be looked at.
void qmsg_schedule(struct queue *q, struct qmsg *m)
{
    if (m->binned)
        return; // its node stands elsewhere
    int64_t due = INT64_MAX;
    bool waits = false, in_lane = false;
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (rcpt_state_final(r->state) || (r->flags & (RCPT_BUSY | RCPT_CLOSING)) != 0)
            continue;
        waits = true;
        int64_t next = (int64_t)r->next_s * 1000;
        if ((r->leg == 0 || r->next_s != UINT32_MAX) && next < due)
            due = next;
        in_lane = in_lane || r->leg != 0;
    }
    int64_t end = end_of(q, m);
    if (end <= q->now_ms && in_lane)
        end = q->now_ms + LATER_MS;
    if (end > q->now_ms && end < due)
        due = end;
    if (m->warn_s != 0 && (int64_t)m->warn_s * 1000 < due)
        due = (int64_t)m->warn_s * 1000;
    if (m->later)
        due = qmsg_send_ms(m);
    if (!waits || m->held || due == INT64_MAX) {
        heap_remove(&q->due, &m->due);
        return;
    }
    heap_set(&q->due, &m->due, due);
}

static bool expired(struct queue *q, const struct qmsg *m, const struct qrcpt *r)
{
    bool by_time = end_of(q, m) <= q->now_ms;
    bool by_tries = q->conf->queue.expire_tries > 0 && r->tries >= q->conf->queue.expire_tries;
    return by_time || by_tries;
}

// What is said of it when it expires now. After days without power, mail that never had a chance in
// this run is not returned: there must be an attempt, its own or one of the lane it waits in.
static const struct trouble *why_late(struct qmsg *m, const struct qrcpt *r)
{
    if (r->last != NULL && (r->flags & RCPT_OLD) == 0)
        return r->last;
    const struct leg *leg = r->leg != 0 ? qmsg_leg(m, r->leg) : NULL;
    return leg != NULL && leg->lane->failures > 0 ? leg->lane->trouble : NULL;
}

int64_t rcpt_next_ms(struct qmsg *m, const struct qrcpt *r)
{
    if (r->leg != 0 && (!qmsg_leg(m, r->leg)->lane->aside || r->next_s == UINT32_MAX))
        return 0;
    return (int64_t)r->next_s * 1000;
}

static bool may_expire(struct queue *q, const struct qmsg *m)
{
    if (end_of(q, m) <= q->now_ms || q->conf->queue.expire_tries > 0)
        return true;
    for (size_t i = 0; i < m->count; i++)
        if ((m->rcpts[i].flags & RCPT_RETURN) != 0)
            return true;
    return false;
}

static void expire(struct queue *q, struct qmsg *m)
{
    if (!may_expire(q, m))
        return;
    uint32_t *index = xmalloc(m->count * sizeof(*index));
    struct outcome *outcomes = NULL;
    size_t n = 0;
    bool turn = false; // some have waited for the rate of notices
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (rcpt_state_final(r->state) || (r->flags & (RCPT_BUSY | RCPT_CLOSING)) != 0)
            continue;
        bool my_turn = (r->flags & RCPT_RETURN) != 0;
        if (my_turn && (int64_t)r->next_s * 1000 > q->now_ms)
            continue;
        turn = turn || my_turn;
        if (my_turn || (expired(q, m, r) && why_late(m, r) != NULL))
            index[n++] = (uint32_t)i;
    }
    if (n > 0) {
        outcomes = xcalloc(n, sizeof(*outcomes));
        const char *gateway = NULL;
        for (size_t i = 0; i < n; i++) {
            const struct trouble *last = why_late(m, &m->rcpts[index[i]]);
            if (last == NULL)
                continue;
            outcomes[i] = last->outcome;
            gateway = last->gateway;
        }
        if (!turn)
            log_info("expired", m->id,
                     "gave up on %zu recipient%s after the time the configuration allows", n,
                     n == 1 ? "" : "s");
        settle_fail(q, m, index, n, &(struct attempt){.gateway = gateway}, outcomes, turn);
    }
    xfree(outcomes);
    xfree(index);
}

static void warn_if_late(struct queue *q, struct qmsg *m)
{
    if (m->warn_s == 0 || (int64_t)m->warn_s * 1000 > q->now_ms)
        return;
    m->warn_s = 0;
    struct store_rcpt_result *late = xcalloc(m->count, sizeof(*late));
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct qrcpt *r = &m->rcpts[i];
        if (rcpt_state_final(r->state) || (r->flags & (RCPT_CLOSING | RCPT_RETURN)) != 0)
            continue;
        late[n].index = (uint32_t)i;
        late[n].state = RCPT_WAITING;
        late[n].tries = r->tries;
        late[n].next_ms = rcpt_next_ms(m, r);
        if (r->last != NULL)
            late[n].outcome = r->last->outcome;
        n++;
    }
    int64_t turn =
        n > 0 ? bounce_start(q, m, BOUNCE_DELAYED, late, n, &(struct attempt){0}, m->warn_slot) : 0;
    m->warn_slot = turn > 0;
    m->warn_s = (uint32_t)((turn + 999) / 1000);
    xfree(late);
}

void qmsg_age(struct queue *q, struct qmsg *m)
{
    if (m->held || m->later)
        return;
    expire(q, m);
    warn_if_late(q, m);
}

void qmsg_reconsider(struct queue *q, struct qmsg *m)
{
    if (m->held)
        return;
    if (later_waits(q, m)) {
        qmsg_schedule(q, m);
        return;
    }
    qmsg_age(q, m);
    if (m->held)
        return; // given up while nobody may be told
    qmsg_plan(q, m);
    qmsg_schedule(q, m);
}

// ---- The clocks ----

// The wall clock was set, or the machine slept. What counts spans (the age of mail, doubt, rates)
// goes by the time that really passed. What waits for a moment does not wait longer for a clock set
// back; set forward, it comes early.
static void follow_jump(struct queue *q, int64_t by_ms)
{
    size_t pos = 0;
    int64_t by_s = by_ms / 1000;
    for (struct qmsg *m; (m = idmap_next(q->messages, &pos)) != NULL;) {
        m->accepted_ms += by_ms;
        if (qmsg_send_ms(m) != 0 && !m->later)
            m->more->send_ms += by_ms;
        if (m->warn_s != 0)
            m->warn_s = (uint32_t)(m->warn_s + by_s);
        for (size_t i = 0; i < m->count; i++) {
            struct qrcpt *r = &m->rcpts[i];
            r->doubt_until_s = (uint32_t)(r->doubt_until_s + by_s);
            if (by_s < 0 && r->next_s != UINT32_MAX)
                r->next_s = r->next_s > -by_s ? (uint32_t)(r->next_s + by_s) : 0;
        }
    }
    // All nodes move alike, so their order stays.
    for (size_t i = 0; by_ms < 0 && i < q->due.count; i++)
        q->due.nodes[i]->due += by_ms;
    for (size_t i = 0; by_ms < 0 && i < q->lane_clock.count; i++)
        q->lane_clock.nodes[i]->due += by_ms;
    for (size_t i = 0; i < q->conf->gateway_count; i++)
        if (by_ms < 0 && q->gateways[i].rest_until_ms > 0 &&
            q->gateways[i].rest_until_ms != INT64_MAX)
            q->gateways[i].rest_until_ms += by_ms;
    for (size_t i = 0; i < sizeof(q->notice_ms) / sizeof(q->notice_ms[0]); i++)
        q->notice_ms[i] += by_ms;
    bin_jump(q, by_ms);
    lane_shift_clock(q, by_ms);
    quota_jump(q);
    log_warn("clock", 0, "the date jumped by %lld s; what waits goes on by the time that passed",
             (long long)by_s);
}

void queue_now(struct queue *q)
{
    int64_t wall = clock_wall_ms(), mono = clock_mono_us() / 1000;
    int64_t jump = wall - q->now_ms - (mono - q->mono_ms);
    bool known = q->now_ms != 0;
    q->now_ms = wall;
    q->mono_ms = mono;
    if (known && (jump > JUMP_MS || jump < -JUMP_MS))
        follow_jump(q, jump);
}

// ---- The turn ----

static void arm(struct queue *q)
{
    int64_t next = q->now_ms + HOUSEKEEPING_MS;
    struct heap_node *due = heap_top(&q->due), *wake = heap_top(&q->lane_clock);
    if (due != NULL && due->due < next)
        next = due->due;
    if (wake != NULL && wake->due < next)
        next = wake->due;
    if (pick_due(q) < next)
        next = pick_due(q);
    if (twin_due(q) < next)
        next = twin_due(q);
    if (bin_due(q) < next)
        next = bin_due(q);
    if (quota_due(q) < next)
        next = quota_due(q);
    if (health_due(q) < next)
        next = health_due(q);
    if (pass_due(q) < next)
        next = pass_due(q);
    if (dialup_due(q) < next)
        next = dialup_due(q);
    if (!list_empty(&q->sweeps) || q->diff != NULL)
        next = q->now_ms; // by the timer, so that the loop serves all others in between
    timer_start(&q->timer, next > q->now_ms ? next - q->now_ms : 0);
}

static void on_turn(void *ctx)
{
    struct queue *q = ctx;
    queue_now(q);
    if (q->stopping)
        return;
    if (q->listing != NULL && q->listing_until_ms < q->mono_ms) {
        xfree(q->listing);
        q->listing = NULL;
    }
    lane_wake_due(q);
    bin_turn(q);
    quota_turn(q);
    health_turn(q);
    for (int i = 0; i < DUE_SLICE; i++) {
        struct heap_node *top = heap_top(&q->due);
        if (top == NULL || top->due > q->now_ms)
            break;
        struct qmsg *m = container_of(top, struct qmsg, due);
        heap_remove(&q->due, top);
        qmsg_reconsider(q, m);
        qmsg_finish_if_done(q, m);
    }
    place_turn(q);
    lane_sweep_some(q);
    diff_some(q);
    twin_turn(q);
    pass_turn(q); // somebody holds the line: before what can wait
    lane_dispatch(q);
    dialup_turn(q);
    arm(q);
}

static void on_timer(void *ctx)
{
    queue_wake(ctx);
}

// ---- Adopting ----

static size_t number_size(size_t n)
{
    return n < 1 << 7 ? 1 : n < 1 << 14 ? 2 : n < 1 << 21 ? 3 : n < 1 << 28 ? 4 : 5;
}

static bool read_packed(struct queue *q, const struct store_message *m, int64_t *accepted_ms_out,
                        int64_t *send_ms_out, struct str *common_out)
{
    struct envelope e;
    arena_clear(q->scratch);
    if (!envelope_unpack(m->packed, q->scratch, &e) || e.count != m->count || m->count == 0 ||
        m->count > UINT16_MAX || m->packed.len > PACKED_MAX)
        return false;
    const char *from = m->packed.ptr + PACKED_HEAD + PACKED_TIME;
    const char *to = e.subject.ptr - number_size(e.subject.len);
    *accepted_ms_out = e.accepted_ms;
    *send_ms_out = m->send_ms != 0 ? m->send_ms : e.release_ms;
    *common_out = str_make(from, (size_t)(to - from));
    return true;
}

static int64_t longest_wait(const struct queue *q)
{
    int64_t longest = HOUSEKEEPING_MS;
    for (size_t i = 0; i < q->conf->queue.retry_count; i++)
        if (q->conf->queue.retry_ms[i] > longest)
            longest = q->conf->queue.retry_ms[i];
    return longest + longest / 10 + 1000;
}

static void adopt_trouble(struct queue *q, struct qrcpt *r, const struct trouble *t, int64_t now)
{
    if (t == NULL || rcpt_state_final(r->state))
        return;
    r->last = trouble_keep(q->troubles, str_of(t->gateway), 0, &t->outcome);
    r->flags |= RCPT_OLD;
    if (t->doubt_ms == 0)
        return;
    int64_t latest = now + q->conf->queue.doubt_wait_ms;
    r->flags |= RCPT_DOUBT;
    r->doubt_until_s = (uint32_t)((t->doubt_ms < latest ? t->doubt_ms : latest) / 1000);
}

static void adopt_states(struct queue *q, struct qmsg *m, const struct store_message *from)
{
    size_t waiting = 0;
    // A wait written under a clock that was ahead must not last for ever.
    int64_t now = q->now_ms != 0 ? q->now_ms : clock_wall_ms();
    int64_t latest = now + longest_wait(q);
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (from->rcpts != NULL) {
            r->state = from->rcpts[i].state;
            r->tries = from->rcpts[i].tries;
            int64_t next = from->rcpts[i].next_ms < latest ? from->rcpts[i].next_ms : latest;
            r->next_s = (uint32_t)(next > 0 ? next / 1000 : 0);
            adopt_trouble(q, r, from->rcpts[i].trouble, now);
        }
        waiting += !rcpt_state_final(r->state);
    }
    atomic_fetch_add(&q->recipients, waiting);
}

static void keep_doubt(struct queue *q, uint64_t id)
{
    if (q->doubt_count == q->doubt_cap) {
        q->doubt_cap = q->doubt_cap > 0 ? q->doubt_cap * 2 : 64;
        q->doubts = xrealloc(q->doubts, q->doubt_cap * sizeof(*q->doubts));
    }
    q->doubts[q->doubt_count++] = id;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// The in-doubt record of an unclean end, in the timeline of each message it may concern.
static void record_doubts(struct queue *q)
{
    enum { TOGETHER = 4096 };
    for (size_t i = 0; i < q->doubt_count; i += TOGETHER) {
        size_t n = q->doubt_count - i < TOGETHER ? q->doubt_count - i : TOGETHER;
        qsort(q->doubts + i, n, sizeof(*q->doubts), by_number); // they are nearly in order
        struct store_op op = {.kind = STORE_NOTES,
                              .id = q->doubts[i],
                              .more = q->doubts + i + 1,
                              .more_count = n - 1,
                              .wall_ms = clock_wall_ms(),
                              .text = "in doubt: the last run ended without notice while "
                                      "this may have been on its way out; if it "
                                      "was, the recipient gets a copy"};
        queue_record(q, &op, 1);
    }
    if (q->doubt_count > 0)
        log_warn(
            "in-doubt", 0,
            "the last run ended without notice: %zu message%s may have been on the way out; copies "
            "are possible, and noted with each",
            q->doubt_count, q->doubt_count == 1 ? "" : "s");
    xfree(q->doubts);
    q->doubts = NULL;
    q->doubt_count = q->doubt_cap = 0;
}

static size_t qmsg_size(size_t count, size_t packed_len)
{
    return sizeof(struct qmsg) + count * sizeof(struct qrcpt) + packed_len;
}

void queue_adopt(struct queue *q, struct store_message *from)
{
    int64_t accepted_ms, send_ms;
    struct str text;
    if (!read_packed(q, from, &accepted_ms, &send_ms, &text)) {
        // The journal's checksum was right, so this was written so: a bug of ours. Keep it on disk,
        // touch nothing.
        log_error("unreadable", from->id,
                  "an envelope in the spool cannot be read; the message stays there untouched");
        store_message_free(&from);
        return;
    }
    if (idmap_get(q->messages, from->id) != NULL || idmap_get(q->bin, from->id) != NULL) {
        store_message_free(&from);
        return;
    }
    uint16_t common = common_keep(q, text);
    size_t skip = PACKED_HEAD + PACKED_TIME + (common != 0 ? text.len : 0);
    struct str rest = str_make(from->packed.ptr + skip, from->packed.len - skip);
    size_t own = PACKED_HEAD + rest.len;
    struct qmsg *m = slab_alloc(&q->slab, qmsg_size(from->count, own));
    memset(m, 0, sizeof(*m) + from->count * sizeof(m->rcpts[0]));
    m->common = common;
    m->mark = q->diff_mark & 1;
    m->id = from->id;
    set_body(m, &from->body);
    m->accepted_ms = accepted_ms;
    m->count = (uint16_t)from->count;
    m->packed_len = (uint32_t)own & 0xffffff;
    m->priority = from->priority < 0             ? 0
                  : from->priority >= PRIORITIES ? PRIORITIES - 1
                                                 : (uint8_t)from->priority;
    m->held = from->held;
    q->held += m->held;
    m->leg0.number = 1;
    memcpy(packed_of(m), from->packed.ptr, PACKED_HEAD);
    memcpy(packed_of(m) + PACKED_HEAD, rest.ptr, rest.len);
    // Bodies in memory are a loan: when half of what may be lent is out, this one is read from disk
    // again later.
    if (from->blob != NULL && blob_total() < LIMIT_BODY_MEMORY / 2)
        qmsg_more(m)->blob = blob_ref(from->blob);
    if (from->hold_reason != NULL)
        qmsg_more(m)->hold_reason = xstrdup(from->hold_reason);
    adopt_states(q, m, from);
    idmap_put(q->messages, m->id, m);
    // The clock of the last turn may be a while ago.
    if (m->accepted_ms > q->now_ms || send_ms > 0 || from->deleted_ms != 0)
        queue_now(q);
    if (m->accepted_ms > q->now_ms)
        m->accepted_ms = q->now_ms; // by a clock that was ahead
    later_adopt(q, m, send_ms);
    int64_t warn_ms = q->conf->queue.warn_ms > 0 ? qmsg_born_ms(m) + q->conf->queue.warn_ms : 0;
    m->warn_s = (uint32_t)(warn_ms / 1000);
    if (!q->started) {
        // Read back at start: whoever is late already has had its notice of delay.
        if (warn_ms <= q->now_ms)
            m->warn_s = 0;
        if (from->maybe_repeated && !m->later && from->deleted_ms == 0)
            keep_doubt(q, m->id);
        qmsg_schedule(q, m);
        if (from->deleted_ms != 0)
            bin_adopt(q, m, from->deleted_ms);
    } else {
        // Fresh mail goes through the same planning, in this turn.
        q->counts.accepted++;
        heap_set(&q->due, &m->due, 0);
        if (m->held)
            heap_remove(&q->due, &m->due);
        queue_wake(q);
    }
    store_message_free(&from);
}

void queue_moved(struct queue *q, uint64_t id, struct store_body_ref to)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        m = idmap_get(q->bin, id);
    if (m != NULL)
        set_body(m, &to);
}

void qmsg_finish_if_done(struct queue *q, struct qmsg *m)
{
    if (m->jobs > 0)
        return;
    for (size_t i = 0; i < m->count; i++)
        if (!rcpt_state_final(m->rcpts[i].state))
            return;
    for (struct leg *leg = &m->leg0, *next; leg != NULL; leg = next) {
        next = qmsg_next_leg(m, leg);
        leg_remove(q, leg);
        if (leg != &m->leg0)
            xfree(leg);
    }
    for (size_t i = 0; i < m->count; i++)
        trouble_drop(q->troubles, &m->rcpts[i].last);
    heap_remove(&q->due, &m->due);
    later_forget(q, m);
    q->held -= m->held;
    idmap_del(q->messages, m->id);
    common_drop(q, m->common);
    if (m->more != NULL) {
        blob_unref(&m->more->blob);
        xfree(m->more->hold_reason);
        xfree(m->more);
    }
    slab_free(&q->slab, m, qmsg_size(m->count, m->packed_len));
}

// ---- Life ----

struct queue *queue_new(struct conf *conf)
{
    struct queue *q = xcalloc(1, sizeof(*q));
    q->conf = conf_ref(conf);
    q->messages = idmap_new();
    q->bin = idmap_new();
    q->lanes = map_new();
    q->troubles = troubles_new();
    q->commons = map_new();
    q->scratch = arena_new();
    list_init(&q->ready);
    list_init(&q->sweeps);
    list_init(&q->unproven_wait);
    list_init(&q->crowded);
    list_init(&q->idles);
    list_init(&q->passes);
    q->gateways = xcalloc(conf->gateway_count, sizeof(*q->gateways));
    lane_aside(&q->aside);
    dialup_new(q);
    q->exchangers = map_new();
    q->place.picked = q->chosen = UINT32_MAX;
    q->whereabouts = xcalloc(conf->gateway_count, sizeof(*q->whereabouts));
    q->route_hits = xcalloc(conf->route_count + 1, sizeof(*q->route_hits));
    atomic_init(&q->recipients, 0);
    atomic_init(&q->recipients_max, conf->queue.max_recipients);
    return q;
}

void queue_start(struct queue *q, const struct queue_parts *parts)
{
    assert(parts->loop_count > 0 && parts->loop_count <= QUEUE_LOOPS);
    q->parts = *parts;
    q->started = true;
    timer_init(&q->timer, parts->loop, on_timer, q);
    queue_now(q);
    connections_start(q);
    quota_start(q);
    health_start(q);
    place_start(q);
    dialup_start(q);
    record_doubts(q);
    queue_wake(q);
}

void queue_stop(struct queue *q, void (*idle)(void *ctx), void *ctx)
{
    q->stopping = true;
    q->idle = idle;
    q->idle_ctx = ctx;
    timer_stop(&q->timer);
    pass_stop(q);
    dialup_stop(q);
    queue_check_idle(q);
}

static void on_idle(void *ctx)
{
    struct queue *q = ctx;
    void (*idle)(void *) = q->idle;
    if (queue_busy(q) > 0 || q->quota_writes > 0)
        return;
    quota_save(q);
    q->idle = NULL;
    if (idle != NULL)
        idle(q->idle_ctx);
}

void queue_check_idle(struct queue *q)
{
    if (q->stopping && queue_busy(q) == 0 && q->quota_writes == 0)
        loop_defer(q->parts.loop, &q->turn, on_idle, q);
}

size_t queue_busy(const struct queue *q)
{
    return q->active + q->returns + q->lookups;
}

bool queue_has_room(struct queue *q, struct err *why)
{
    uint64_t waiting = atomic_load_explicit(&q->recipients, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&q->recipients_max, memory_order_relaxed);
    if (max == 0 || waiting < max)
        return true;
    err_set(why,
            "%llu recipients wait already, the configured limit (queue.max_recipients); try again "
            "later",
            (unsigned long long)waiting);
    return false;
}

void queue_reload(struct queue *q, struct conf *conf, struct watch_snapshot *now)
{
    struct plan_gateway *gateways = xcalloc(conf->gateway_count, sizeof(*gateways));
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *old = conf_gateway_find(q->conf, str_of(conf->gateways[i].name));
        if (old != NULL && old->kind == conf->gateways[i].kind)
            gateways[i] = q->gateways[old->index];
    }
    xfree(q->gateways);
    q->gateways = gateways;
    struct conf *before = q->conf;
    q->conf = conf_ref(conf);
    q->conf_age++;
    atomic_store(&q->recipients_max, conf->queue.max_recipients);
    queue_now(q);
    quota_bind(q);
    health_bind(q);
    place_reload(q, before, now);
    dialup_reload(q);
    lane_rebind(q);
    conf_unref(&before);
    queue_wake(q);
}

void queue_free(struct queue **qp)
{
    struct queue *q = *qp;
    if (q == NULL)
        return;
    assert(queue_busy(q) == 0);
    if (q->started) {
        timer_stop(&q->timer);
        defer_cancel(&q->turn);
    }
    size_t pos = 0;
    bin_free(q);
    for (struct qmsg *m; (m = idmap_next(q->messages, &pos)) != NULL;) {
        for (size_t i = 0; i < m->count; i++) {
            trouble_drop(q->troubles, &m->rcpts[i].last);
            m->rcpts[i].state = RCPT_DROPPED; // only here, in memory: nothing of it is recorded
        }
        m->jobs = 0;
        qmsg_finish_if_done(q, m);
    }
    diff_free(q);
    exchangers_free(q);
    place_free(q);
    lane_free_all(q);
    dialup_free(q);
    quota_free(q);
    health_free(q);
    heap_free(&q->due);
    heap_free(&q->lane_clock);
    heap_free(&q->twins);
    assert(q->in_lanes == 0 && q->held == 0 && q->later == 0);
    idmap_free(&q->messages);
    map_free(&q->lanes);
    troubles_free(&q->troubles);
    map_free(&q->commons);
    xfree(q->common_table);
    xfree(q->common_free);
    arena_free(&q->scratch);
    slab_end(&q->slab);
    xfree(q->gateways);
    xfree(q->doubts);
    xfree(q->listing);
    conf_unref(&q->conf);
    xfree(q);
    *qp = NULL;
}
