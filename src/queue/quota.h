// SPDX-License-Identifier: ISC
// What a gateway may still be given: its allowances, counted so that they are never overrun, and
// what its refusals taught. For the files of this room only. On the conductor's loop.
//
// Minutes and hours are windows that slide, since nobody knows where a provider's begin; days,
// weeks and months are those of the calendar in `quota_zone`. What is under way counts as used.
#pragma once

#include "queue/queue_int.h"

struct gateway_quota;

void quota_start(struct queue *q); // reads what was kept; once, when the parts are there
void quota_bind(struct queue *q);  // after another configuration
void quota_save(struct queue *q);  // the exact numbers, when nothing is under way
void quota_free(struct queue *q);

enum quota_answer {
    QUOTA_GO,    // charged; *rcpts may be fewer than asked for
    QUOTA_SPENT, // nothing more for now: q->gateways[].quota_until_ms says until when
    QUOTA_LATER, // not before something was written to disk: lane_quota_open is called then
    QUOTA_NEVER, // this mail alone is more than the whole allowance
};
// For one transaction of that many recipients.
enum quota_answer quota_charge(struct queue *q, uint32_t gateway, unsigned priority, uint64_t size,
                               size_t *rcpts, struct quota_charge *out);
// After QUOTA_LATER: `fn` runs once, never from inside this call, when that was written (ok) or
// could not be. False: nothing is being written, because it failed a moment ago.
bool quota_when(struct queue *q, uint32_t gateway, void (*fn)(void *ctx, bool ok), void *ctx);
// The same transaction takes so much more: recipients, or octets. Only GO charges.
enum quota_answer quota_more(struct queue *q, uint32_t gateway, unsigned priority, size_t rcpts,
                             uint64_t octets, struct quota_charge *charge);
// The transaction is over: so many recipients were taken, or may have been; the rest is given back.
void quota_settle(struct queue *q, struct quota_charge *charge, size_t taken);

// The gateway said that its allowance is used up, perhaps for how long. Until when nothing should
// be asked of it; a wall-clock moment.
int64_t quota_learn(struct queue *q, uint32_t gateway, const struct outcome *o, int64_t least_ms);

int64_t quota_due(const struct queue *q); // wall clock of the next look; INT64_MAX: none
void quota_turn(struct queue *q);         // looks: what is open again?
void quota_jump(struct queue *q);         // the wall clock was set

// What was counted is lost, and all of it taken as used, until then (wall clock); 0: it is known.
int64_t quota_lost_until(const struct queue *q, uint32_t gateway);
// Recipients of this month of the calendar, and when it begins and ends (wall clock; 0: nobody
// counts them).
uint64_t quota_month(struct queue *q, uint32_t gateway, int64_t *begin_ms, int64_t *end_ms);
size_t quota_view(struct queue *q, uint32_t gateway, struct queue_quota_view *out, size_t max);
