// SPDX-License-Identifier: ISC
// How well gateways are: asked without mail while they rest, and while they are idle if that is
// configured; known again on other networks; and whether port 25 is open here at all. For the files
// of this room only. On the conductor's loop.
#pragma once

#include "queue/queue_int.h"

void health_start(struct queue *q);
void health_bind(struct queue *q); // after another configuration
void health_free(struct queue *q); // no probe is under way any more

// Something went wrong with the gateway, or well. Should it rest for that?
bool health_trouble(struct queue *q, uint32_t gateway, const struct outcome *o);
void health_good(struct queue *q, uint32_t gateway);
// Of direct delivery, for each outcome: what it says of this network. True: it was the network, so
// nobody is to blame.
bool health_direct(struct queue *q, const struct lane *lane, const struct outcome *o);

// The rest of a gateway's lane is over. True: it is asked without mail first, and rests on.
bool health_wake(struct queue *q, struct lane *lane);

int64_t health_due(const struct queue *q); // wall clock; INT64_MAX: nothing to do
void health_turn(struct queue *q);
void health_view(struct queue *q, uint32_t gateway, struct queue_gateway_view *v);
