// SPDX-License-Identifier: ISC
// Mail for a stated time (RFC 4865): its sender, or an order, wished that it is not sent before.
//
// Invariants
//  1. While `later` is set the message waits in the heap of due times alone: it has no leg, so
//     neither another network nor a way that opens moves it. Only its moment or an order ends that.
//  2. The moment is one of the wall clock: unlike what waits for a span it does not move when the
//     clock is set. Once it has come it is the message's birth, and moves like that of all others.
//  3. A message's age, and with it expiry, the notice of delay and the steps of a chain, counts
//     from its birth: the moment it came in, or that for which it was wished if that is later.
#include "queue/queue_int.h"

#include "base/mem.h"
#include "base/timefmt.h"
#include "sys/clock.h"
#include "sys/log.h"

int64_t qmsg_send_ms(const struct qmsg *m)
{
    return m->more != NULL ? m->more->send_ms : 0;
}

int64_t qmsg_born_ms(const struct qmsg *m)
{
    int64_t send_ms = qmsg_send_ms(m);
    return send_ms > m->accepted_ms ? send_ms : m->accepted_ms;
}

// The oldest in the queue may be another now.
static void set_later(struct queue *q, struct qmsg *m, bool later)
{
    if (later == (m->later != 0))
        return;
    m->later = later;
    if (!m->held)
        q->later += later ? 1 : (size_t)-1;
    q->oldest = 0;
    q->oldest_at_ms = 0;
}

static void warn_from_birth(struct queue *q, struct qmsg *m)
{
    int64_t warn_ms = q->conf->queue.warn_ms > 0 ? qmsg_born_ms(m) + q->conf->queue.warn_ms : 0;
    m->warn_s = (uint32_t)(warn_ms / 1000);
    m->warn_slot = false;
}

void later_adopt(struct queue *q, struct qmsg *m, int64_t send_ms)
{
    if (send_ms <= 0)
        return;
    qmsg_more(m)->send_ms = send_ms;
    set_later(q, m, send_ms > q->now_ms);
}

bool later_renew(struct queue *q, struct qmsg *m)
{
    if (later_waits(q, m))
        return false;
    qmsg_more(m)->send_ms = q->now_ms;
    warn_from_birth(q, m);
    return true;
}

bool later_waits(struct queue *q, struct qmsg *m)
{
    if (m->later && qmsg_send_ms(m) <= q->now_ms)
        set_later(q, m, false);
    return m->later;
}

void later_forget(struct queue *q, struct qmsg *m)
{
    set_later(q, m, false);
}

static void set_moment(struct queue *q, struct qmsg *m, int64_t at_ms, const char *who)
{
    qmsg_more(m)->send_ms = at_ms;
    set_later(q, m, at_ms > q->now_ms);
    warn_from_birth(q, m);
    struct store_op op = {
        .kind = STORE_SEND_AT, .id = m->id, .wall_ms = q->now_ms, .at_ms = at_ms, .text = who};
    queue_record(q, &op, 1);
}

bool queue_send_at(struct queue *q, uint64_t id, int64_t at_ms, const char *who)
{
    struct qmsg *m = idmap_get(q->messages, id);
    char when[TIME_TEXT];
    if (m == NULL)
        return false;
    queue_now(q);
    if (at_ms <= q->now_ms)
        return queue_send_now(q, id, who);
    set_moment(q, m, at_ms, who);
    log_info("send-at", id, "is to be sent at %s, by %s", time_iso(at_ms, when), who);
    qmsg_leave_lanes(q, m);
    qmsg_schedule(q, m);
    queue_wake(q);
    return true;
}

bool queue_send_now(struct queue *q, uint64_t id, const char *who)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        return false;
    queue_now(q);
    if (m->later) {
        set_moment(q, m, q->now_ms, who);
        log_info("send-at", id, "is to be sent now, by %s", who);
    }
    return queue_retime(q, id);
}
