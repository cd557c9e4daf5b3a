// SPDX-License-Identifier: ISC
// Removed mail, and what of it can be brought back.
//
// Invariants
//  1. What is in the bin is not in the queue: no other file of this room meets it. It counts
//     nowhere as waiting, and holds no leg, no place in the heap of due times and no body in
//     memory. `due` stands in the bin's own heap, by the moment it was removed.
//  2. A notice under way when its message is removed ends as it would have; the message may not go
//     before it.
//  3. Its record is one of a hold: whoever does not know the bin keeps such mail and sends nothing.
//  4. Brought back it is as it was, also on hold if it was, but its age counts anew, or what lay
//     here for days would be returned as too late.
#include "queue/queue_int.h"

#include "base/base64.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>

enum { BIN_SLICE = 1000 }; // that go for good in one turn

static size_t waiting_in(const struct qmsg *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += !rcpt_state_final((enum rcpt_state)m->rcpts[i].state);
    return n;
}

// ---- In and out ----

static void put(struct queue *q, struct qmsg *m, int64_t deleted_ms)
{
    qmsg_leave_lanes(q, m);
    heap_remove(&q->due, &m->due);
    idmap_del(q->messages, m->id);
    q->held -= m->held;
    q->later -= m->later && !m->held;
    atomic_fetch_sub(&q->recipients, waiting_in(m));
    qmsg_more(m)->deleted_ms = deleted_ms;
    qmsg_forget_body(m);
    m->binned = true;
    idmap_put(q->bin, m->id, m);
    heap_set(&q->bin_clock, &m->due, deleted_ms);
    q->bin_bytes += m->body_size;
}

void bin_take(struct queue *q, struct qmsg *m)
{
    heap_remove(&q->bin_clock, &m->due);
    idmap_del(q->bin, m->id);
    q->bin_bytes -= m->body_size;
    m->binned = false;
    m->more->deleted_ms = 0;
    m->mark = q->diff_mark & 1;
    idmap_put(q->messages, m->id, m);
    q->held += m->held;
    q->later += m->later && !m->held;
    atomic_fetch_add(&q->recipients, waiting_in(m));
}

void bin_adopt(struct queue *q, struct qmsg *m, int64_t deleted_ms)
{
    put(q, m, deleted_ms < q->now_ms ? deleted_ms : q->now_ms);
}

static void end_for_good(struct queue *q, struct qmsg *m, const char *why)
{
    struct store_rcpt_result *results = xcalloc(m->count, sizeof(*results));
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct qrcpt *r = &m->rcpts[i];
        if (rcpt_state_final((enum rcpt_state)r->state))
            continue;
        r->state = RCPT_DROPPED;
        r->flags = 0;
        results[n++] = (struct store_rcpt_result){
            .index = (uint32_t)i, .state = RCPT_DROPPED, .tries = r->tries};
        atomic_fetch_sub(&q->recipients, 1);
    }
    sent_look(q, m, NULL);
    struct store_op op = {.kind = STORE_RESULT,
                          .id = m->id,
                          .wall_ms = clock_wall_ms(),
                          .facts = why,
                          .results = results,
                          .result_count = n};
    queue_record(q, &op, 1);
    xfree(results);
    qmsg_finish_if_done(q, m);
}

// ---- The clock ----

// The oldest has to go for good.
static bool is_over(const struct queue *q, const struct heap_node *oldest)
{
    return oldest->due + q->conf->queue.keep_deleted_ms <= q->now_ms ||
           q->bin_bytes > LIMIT_BIN_BYTES || q->bin_clock.count > LIMIT_BIN_MESSAGES;
}

void bin_turn(struct queue *q)
{
    struct heap_node *oldest;
    for (int i = 0; i < BIN_SLICE && (oldest = heap_top(&q->bin_clock)) != NULL; i++) {
        if (!is_over(q, oldest))
            return;
        struct qmsg *m = container_of(oldest, struct qmsg, due);
        bool early = oldest->due + q->conf->queue.keep_deleted_ms > q->now_ms;
        log_info("dropped", m->id, early ? "for good: the bin is full" : "for good");
        bin_take(q, m);
        end_for_good(q, m,
                     early ? "want of room: too much was dropped since"
                           : "the clock: queue.keep_deleted is over");
    }
}

int64_t bin_due(const struct queue *q)
{
    const struct heap_node *oldest = heap_top(&q->bin_clock);
    if (oldest == NULL)
        return INT64_MAX;
    return is_over(q, oldest) ? q->now_ms : oldest->due + q->conf->queue.keep_deleted_ms;
}

// All nodes move alike, so their order stays.
void bin_jump(struct queue *q, int64_t by_ms)
{
    size_t pos = 0;
    for (struct qmsg *m; (m = idmap_next(q->bin, &pos)) != NULL;) {
        m->accepted_ms += by_ms;
        m->more->deleted_ms += by_ms;
        m->due.due += by_ms;
        if (m->more->send_ms != 0 && !m->later)
            m->more->send_ms += by_ms;
    }
}

void bin_free(struct queue *q)
{
    struct heap_node *oldest;
    while ((oldest = heap_top(&q->bin_clock)) != NULL)
        bin_take(q, container_of(oldest, struct qmsg, due));
    idmap_free(&q->bin);
    heap_free(&q->bin_clock);
}

// ---- Orders ----

bool queue_drop(struct queue *q, uint64_t id, bool for_good, const char *who, struct err *err)
{
    struct qmsg *m = idmap_get(q->messages, id), *removed = idmap_get(q->bin, id);
    char text[ID_TEXT_SIZE];
    if (m == NULL && for_good && removed != NULL) {
        bin_take(q, removed);
        m = removed;
    }
    if (m == NULL) {
        err_set(err, "%s is not in the queue%s", id_format(id, text),
                removed != NULL ? ": it was dropped before" : "");
        return false;
    }
    for (size_t i = 0; i < m->count; i++) {
        if ((m->rcpts[i].flags & (RCPT_BUSY | RCPT_CLOSING)) != 0) {
            err_set(err, "%s is being sent at this moment; hold it first, then drop it",
                    id_format(id, text));
            return false;
        }
    }
    queue_now(q);
    qmsg_leave_lanes(q, m); // a notice under way may keep the message a moment longer
    if (for_good || q->conf->queue.keep_deleted_ms == 0) {
        log_info("dropped", id, "for good, by %s", who);
        end_for_good(q, m, who);
        return true;
    }
    put(q, m, q->now_ms);
    struct store_op op = {.kind = STORE_HOLD,
                          .id = id,
                          .wall_ms = q->now_ms,
                          .flag = true,
                          .value = STORE_HOLD_BIN,
                          .text = who};
    queue_record(q, &op, 1);
    log_info("dropped", id, "by %s", who);
    queue_wake(q);
    return true;
}

bool queue_restore(struct queue *q, uint64_t id, const char *who)
{
    struct qmsg *m = idmap_get(q->bin, id);
    if (m == NULL)
        return false;
    queue_now(q);
    bin_take(q, m);
    for (size_t i = 0; i < m->count; i++)
        m->rcpts[i].flags &= (uint8_t)~RCPT_RETURN;
    struct store_op ops[2] = {
        {.kind = STORE_HOLD, .id = id, .wall_ms = q->now_ms, .value = STORE_HOLD_BIN, .text = who}};
    size_t count = 1;
    if (later_renew(q, m))
        ops[count++] = (struct store_op){
            .kind = STORE_SEND_AT, .id = id, .wall_ms = q->now_ms, .at_ms = q->now_ms};
    queue_record(q, ops, count);
    log_info("restored", id, "by %s", who);
    return queue_retime(q, id);
}

// ---- Looking ----

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t queue_deleted(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids, size_t max)
{
    size_t pos = 0, all = 0, n = 0;
    uint64_t *sorted = xmalloc((idmap_count(q->bin) + 1) * sizeof(*sorted));
    for (struct qmsg *m; (m = idmap_next(q->bin, &pos)) != NULL;)
        if (m->id > after)
            sorted[all++] = m->id;
    qsort(sorted, all, sizeof(*sorted), by_id);
    for (size_t i = 0; i < all && n < max; i++)
        if (qmsg_matches(q, idmap_get(q->bin, sorted[i]), pattern))
            ids[n++] = sorted[i];
    xfree(sorted);
    return n;
}
