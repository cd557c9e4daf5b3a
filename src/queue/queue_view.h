// SPDX-License-Identifier: ISC
// What others may see of the conductor, and ask of it. On the conductor's loop.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/netaddr.h"
#include "queue/queue.h"

struct queue_counts {
    uint64_t messages, recipients, held, busy, waiting_ready, waiting_retry;
    int64_t oldest_ms;                                    // accepted; 0 without messages
    uint64_t accepted, delivered, relayed, returned, bad; // since the start
};
void queue_counts(struct queue *q, struct queue_counts *out);

struct queue_gateway_view {
    const char *name;
    const char *state; // "up", "untried", "resting", "probing", "disabled"
    size_t active, waiting;
    uint64_t ok, failed;      // transactions since the start
    int64_t rest_ms;          // still resting for so long
    int64_t latency_ms;       // of the last good transaction, -1 unknown
    const char *last_trouble; // "" without; borrowed
    size_t destinations;      // direct: with something waiting
    size_t destinations_resting;
};
size_t queue_gateways(struct queue *q, struct queue_gateway_view *out, size_t max);

struct queue_rcpt_view {
    struct str address;
    enum rcpt_state state;
    unsigned tries;
    bool busy, in_doubt;
    int64_t next_ms;     // wall clock; 0: as soon as its way is open
    const char *gateway; // the last one tried, "" never
    struct outcome last; // class OK with empty text: nothing tried since the start
};
struct queue_message_view {
    uint64_t id;
    bool held;
    const char *hold_reason;
    const char *state; // "waiting", "sending", "held", "returning"
    uint64_t size;
    struct envelope envelope;
    struct queue_rcpt_view *rcpts;
};
// Fills from the arena. False when the id is not in the queue.
bool queue_show(struct queue *q, uint64_t id, struct arena *arena, struct queue_message_view *out);
// Ids in order (oldest first) after `after`, at most max; returns how many. `pattern` (may be
// empty) is a glob over sender and recipients.
size_t queue_list(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids, size_t max);

// Orders. False: not in the queue. `who` goes into the timeline. id 0 means all messages (retry
// only).
bool queue_retry(struct queue *q, uint64_t id);
bool queue_hold(struct queue *q, uint64_t id, const char *who);
bool queue_release(struct queue *q, uint64_t id, const char *who);
// False with err when a transaction is under way (it may be delivered this moment).
bool queue_drop(struct queue *q, uint64_t id, const char *who, struct err *err);

// The decision for a waiting message or an envelope, in words.
bool queue_explain(struct queue *q, uint64_t id, struct buf *out);
void queue_explain_envelope(struct queue *q, struct str sender, struct str rcpt, struct buf *out);
// The same as objects, one for each recipient (route/plan.h).
bool queue_explain_json(struct queue *q, uint64_t id, struct json *j);
void queue_explain_envelope_json(struct queue *q, struct str sender, struct str rcpt,
                                 struct json *j);
