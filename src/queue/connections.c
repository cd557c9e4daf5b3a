// SPDX-License-Identifier: ISC
// How many connections stand, idle ones included, so that neither a lane nor all of them together
// ever have more than they may.
//
// A loop says how many connections of a lane it has whenever a transaction ended or one that was
// idle is gone (deliver_report, deliver_job.open). What it began since is not in that, but is among
// the transactions under way here: so
//
//   in one loop a lane never has more than  open = max(last said, active),  and open - active of
//   them are idle.
//
// Invariants
//  1. A transaction begins over an idle connection, which leaves `open` as it is, or raises `open`
//     by one, while the lane and all together have fewer than they may.
//  2. Who finds no room has the connection that was unused for the longest closed; it is counted,
//     and used by nobody, until its loop says that it is closed. Each order is answered.
//  3. Who waits for the ceiling of all waits in queue.crowded, in order, and comes before any lane
//     that would open one more; those with idle connections go on.
#include "queue/queue_int.h"

#include "base/mem.h"

static size_t idle_of(const struct lane_loop *l)
{
    return l->open - l->active > l->closing ? l->open - l->active - l->closing : 0;
}

// `used`: just now; it goes behind the others.
static void stand_in_line(struct queue *q, struct lane_loop *l, bool used)
{
    bool idle = idle_of(l) > 0;
    if (used || !idle)
        list_remove(&l->idle);
    if (idle && !link_in_list(&l->idle))
        list_append(&q->idles, &l->idle);
}

static void set_open(struct queue *q, struct lane_loop *l, size_t open, bool used)
{
    if (open < l->active)
        open = l->active;
    l->lane->open += (unsigned)open - l->open;
    q->open += open - l->open;
    l->open = (unsigned)open;
    stand_in_line(q, l, used);
}

size_t connections_most(const struct queue *q)
{
    return q->conf->queue.connections > 0 ? q->conf->queue.connections : LIMIT_OUT_CONNECTIONS;
}

void connections_need(struct queue *q, struct lane *lane)
{
    if (lane->loops != NULL)
        return;
    lane->loops = xcalloc(q->parts.loop_count, sizeof(*lane->loops));
    for (size_t i = 0; i < q->parts.loop_count; i++)
        lane->loops[i].lane = lane;
}

// ---- Making room ----

static void order_close(struct queue *q, struct lane_loop *l)
{
    size_t loop = (size_t)(l - l->lane->loops);
    l->closing++;
    q->closing++;
    stand_in_line(q, l, false);
    deliver_close_one(q->parts.delivers[loop], l->lane->key);
}

void connections_make_room(struct queue *q, size_t wanted)
{
    while (q->closing < wanted && !q->stopping) {
        struct lane_loop *l = list_first(&q->idles, struct lane_loop, idle);
        if (l == NULL)
            return;
        order_close(q, l);
    }
}

static void make_room_in(struct queue *q, struct lane *lane)
{
    struct lane_loop *found = NULL;
    for (size_t i = 0; i < q->parts.loop_count; i++) {
        if (lane->loops[i].closing > 0)
            return; // under way
        if (idle_of(&lane->loops[i]) > 0)
            found = &lane->loops[i];
    }
    if (found != NULL && !q->stopping)
        order_close(q, found);
}

void connections_close(struct queue *q, struct lane *lane)
{
    for (size_t i = 0; lane->loops != NULL && i < q->parts.loop_count; i++)
        while (idle_of(&lane->loops[i]) > 0 && !q->stopping)
            order_close(q, &lane->loops[i]);
}

bool connections_idle(const struct queue *q, const struct lane *lane, size_t loop)
{
    if (loop != ANY_LOOP)
        return idle_of(&lane->loops[loop]) > 0;
    for (size_t i = 0; i < q->parts.loop_count; i++)
        if (idle_of(&lane->loops[i]) > 0)
            return true;
    return false;
}

bool connections_room(struct queue *q, struct lane *lane, size_t loop, unsigned most)
{
    connections_need(q, lane);
    if (connections_idle(q, lane, loop))
        return true;
    if (lane->open >= most) {
        make_room_in(q, lane);
        return false;
    }
    if (q->open < connections_most(q))
        return true;
    connections_make_room(q, 1);
    return false;
}

// ---- Counting ----

void connections_begin(struct queue *q, struct lane *lane, size_t loop)
{
    struct lane_loop *l = &lane->loops[loop];
    bool over_idle = idle_of(l) > 0;
    l->active++;
    set_open(q, l, over_idle ? l->open : l->open + 1, true);
}

void connections_end(struct queue *q, struct lane *lane, size_t loop, size_t open)
{
    lane->loops[loop].active--;
    set_open(q, &lane->loops[loop], open, true);
}

void connections_told(struct queue *q, struct lane *lane, size_t loop, size_t open)
{
    connections_need(q, lane);
    set_open(q, &lane->loops[loop], open, true);
    queue_wake(q);
}

static void on_report(const struct deliver_report *r)
{
    struct queue *q = r->ctx;
    struct lane *lane = map_get(q->lanes, r->name);
    size_t loop = 0;
    while (q->parts.delivers[loop] != r->deliver)
        loop++;
    if (r->ordered)
        q->closing--;
    if (lane == NULL)
        return; // it opened none, or they would keep it
    connections_need(q, lane);
    struct lane_loop *l = &lane->loops[loop];
    if (r->ordered && l->closing > 0) // else of an earlier lane of that name
        l->closing--;
    set_open(q, l, r->open, false);
    queue_now(q);
    lane_look(q, lane);
    queue_wake(q);
}

void connections_start(struct queue *q)
{
    for (size_t i = 0; i < q->parts.loop_count; i++)
        deliver_watch(q->parts.delivers[i], q->parts.loop, on_report, q);
}

void connections_forget(struct queue *q, struct lane *lane)
{
    for (size_t i = 0; lane->loops != NULL && i < q->parts.loop_count; i++) {
        struct lane_loop *l = &lane->loops[i];
        q->open -= l->open;
        list_remove(&l->idle);
    }
    xfree(lane->loops);
}
