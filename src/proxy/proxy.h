// SPDX-License-Identifier: ISC
// Listeners in mode `proxy`: mail passes through while its client waits, and what the next server
// says is said to the client. Nothing is queued, so responsibility never rests here: 250 at the end
// is the next server's own.
//
// One `proxy` a session loop, all of it on that loop; it borrows everything it is made of.
// docs/decisions/0007 says why it is built so, docs/manual/proxy.md what users see.
#pragma once

#include "accept/accept.h"
#include "deliver/deliver.h"
#include "queue/queue.h"
#include "spool/store.h"

struct proxy;
// `number`: of the loop among queue_parts.loops. Hands itself to `accept`.
struct proxy *proxy_new(struct loop *loop, size_t number, struct queue *queue,
                        struct deliver *deliver, struct accept *accept);
void proxy_set_store(struct proxy *p, struct store *store); // before any session
void proxy_free(struct proxy **proxy); // no transaction is left: after accept's `stopped`
