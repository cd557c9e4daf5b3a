// SPDX-License-Identifier: ISC
// The conductor's own structures; for the files of this room only.
//
// A message waits in exactly one of two ways for each of its recipients: in the heap of due times
// (the retry clock), or in a lane. A lane is one way out: a gateway, or for direct delivery one
// destination. The recipients of a message that wait in one lane are a leg. A lane that rests keeps
// its legs, so a million messages behind a dead gateway cost nothing until it wakes; when another
// gateway wakes, the resting lanes' legs are reconsidered a slice at a time.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "queue/queue.h"
#include "queue/queue_view.h"
#include "route/judge.h"
#include "route/plan.h"

#include <stdatomic.h>

// Trouble of a recipient, shared by all that had the same.
struct last {
    unsigned refs;
    char *gateway;
    struct outcome outcome;
    struct str key;
};

enum { RCPT_BUSY = 1, RCPT_CLOSING = 2, RCPT_DOUBT = 4 };
struct qrcpt {
    uint32_t next_s; // wall clock; not before
    uint16_t tries;
    uint16_t leg;  // number of the leg it waits in, 0 = none
    uint8_t state; // enum rcpt_state
    uint8_t step;  // of the chain, that failed last in this round; 0 = a new round
    uint8_t class; // of that failure
    uint8_t flags;
    uint32_t doubt_until_s; // while RCPT_DOUBT: only last->gateway until then
    struct last *last;
};

struct lane;
struct leg {
    struct link in_lane; // in lane->waiting
    struct lane *lane;   // NULL: free
    struct qmsg *msg;
    struct leg *next; // of this message
    uint16_t number;
};

struct qmsg {
    uint64_t id;
    struct store_body_ref body;
    struct blob *blob;    // while it is in memory
    struct heap_node due; // wall-clock ms, when some recipient or clock of this message is due
    int64_t accepted_ms;
    struct leg leg0; // most messages need one
    uint32_t packed_len;
    uint16_t count;
    uint16_t jobs; // transactions and returns under way
    uint8_t priority;
    bool held, warned, dropped;
    char *hold_reason;
    struct qrcpt rcpts[]; // then packed_len bytes of packed envelope
};

enum { PRIORITIES = 3 };
struct lane {
    struct str key;     // gateway name, NUL, domain
    uint32_t gateway;   // index in the configuration of now
    const char *domain; // "" but for direct delivery
    struct link waiting[PRIORITIES];
    size_t count; // legs waiting
    unsigned active, window, failures;
    bool proven;           // something went through since it last failed
    bool probing;          // woke from a rest, one transaction decides
    int64_t rest_until_ms; // wall clock; 0: not resting
    enum outcome_class rest_class;
    struct heap_node wake; // in queue.lane_clock: end of rest, or tokens again
    struct link ready;     // in queue.ready
    struct link sweep;     // in queue.sweeps, while its legs are reconsidered
    size_t sweep_left;
    int64_t
        *sent_ms; // a ring of the last `sent_cap` starts, for the gateway's rate; NULL: no limit
    uint32_t sent_cap, sent_at;
    int64_t latency_ms;
    uint64_t ok, failed;
    struct outcome trouble;          // the last that made it rest
    uint16_t on_loop[QUEUE_LOOPS];   // active, by session loop
    uint16_t peak_loop[QUEUE_LOOPS]; // the most that were: connections that may be idle there
};

// One transaction under way.
struct qjob {
    struct deliver_job job; // first
    struct queue *q;
    struct qmsg *msg;
    struct lane *lane;
    struct arena *arena;
    struct body_source *source;
    size_t loop;
    uint32_t *index; // of each recipient
    char *gateway_name;
    unsigned conf_age; // q->conf_age when it was planned
    bool unproven;     // counted in q->unproven
};

struct queue {
    struct conf *conf;
    unsigned conf_age; // counts reloads: steps of an older chain mean nothing
    struct queue_parts parts;
    bool started, stopping;
    struct idmap *messages;
    struct heap due;
    struct map *lanes;
    struct heap lane_clock;
    struct link ready;
    struct link sweeps;
    struct plan_gateway *gateways; // by index of conf
    struct map *lasts;
    size_t active;             // connections wanted at this moment: transactions under way
    size_t unproven;           // of these, in lanes where nothing went through yet
    struct link unproven_wait; // lanes that wait for unproven to fall
    size_t direct_resting;     // destinations of direct delivery that rest
    size_t returns;            // DSNs being made
    size_t next_loop;
    int64_t now_ms; // wall clock of this turn
    struct timer timer;
    struct defer turn;
    atomic_uint_fast64_t recipients; // waiting, read by other threads
    atomic_uint_fast64_t recipients_max;
    struct queue_counts counts;
    uint64_t *doubts; // ids adopted before the start that may have been on their way at a crash
    size_t doubt_count, doubt_cap;
    void (*idle)(void *ctx); // of queue_stop
    void *idle_ctx;
};

// queue.c
void queue_wake(struct queue *q); // another turn soon
char *qmsg_packed(struct qmsg *m);
void qmsg_schedule(struct queue *q, struct qmsg *m);   // heap time from its recipients and clocks
void qmsg_reconsider(struct queue *q, struct qmsg *m); // plans every recipient that is due
void qmsg_finish_if_done(struct queue *q, struct qmsg *m); // frees it when nothing is left
const struct conf_gateway *queue_gateway(struct queue *q, const struct lane *lane);
int64_t queue_retry_delay(struct queue *q, unsigned tries); // ms until the attempt after so many
void queue_check_idle(struct queue *q);                     // after something under way ended
bool queue_record(struct queue *q, const struct store_op *ops, size_t count);

// lane.c
struct lane *lane_for(struct queue *q, uint32_t gateway, struct str domain);
void lane_add(struct queue *q, struct lane *lane, struct qmsg *m, size_t rcpt);
void leg_remove(struct queue *q,
                struct leg *leg); // out of its lane; its recipients have no leg then
void lane_dispatch(struct queue *q);
void lane_job_ended(struct queue *q, struct qjob *job);
void lane_good(struct queue *q, struct lane *lane, int64_t latency_ms);
void lane_rest(struct queue *q, struct lane *lane, const struct outcome *why, int64_t least_ms);
void lane_sweep_start(struct queue *q, struct lane *lane);
void lane_sweep_some(struct queue *q);
void lane_wake_due(struct queue *q);
void lane_free_all(struct queue *q);
void lane_rebind(struct queue *q); // after a reload
int64_t lane_direct_rest(struct queue *q, struct str domain);

// settle.c
void settle_job(struct deliver_job *job);
void settle_fail(struct queue *q, struct qmsg *m, const uint32_t *index, size_t count,
                 const char *gateway, const struct outcome *outcomes);
struct last *last_keep(struct queue *q, const char *gateway, const struct outcome *o);
void last_drop(struct queue *q, struct last **last);

// bounce.c: writes a notice for recipients of m (RETURNED, delay, success) and records both in one
// batch.
enum bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_SUCCESS };
void bounce_start(struct queue *q, struct qmsg *m, enum bounce_kind kind,
                  const struct store_rcpt_result *results, size_t count, const char *gateway);
