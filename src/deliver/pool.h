// SPDX-License-Identifier: ISC
// The connections of one loop, by the way they go: those in use are counted, idle ones are kept a
// while for the next message, and those given up count until their server has closed its end, too.
#pragma once

#include "deliver/session.h"

struct pool;
// Connections of the way `name` ended or were closed, but not by their users: `open` are left.
// `ordered`: this answers one pool_close_oldest. Comes from the loop, and from inside
// pool_close_oldest and pool_clear.
typedef void pool_changed(void *ctx, struct str name, size_t open, bool ordered);
struct pool *pool_new(struct loop *loop, pool_changed *changed, void *ctx);
void pool_free(struct pool **pool); // ends all, and tells nobody

// A way is there while it is used, or has connections. Each user counts as a connection.
struct pool_way;
struct pool_way *pool_enter(struct pool *pool, struct str name);
size_t pool_leave(struct pool_way *way); // connections left
// In use, idle, or not closed by their servers yet. 0: no such way.
size_t pool_open(struct pool *pool, struct str name);

// The key says all that must be the same for a connection to be used again. Takes an idle session
// over; it is ended when it dies or after LIMIT_IDLE_CONNECTION_MS. The oldest goes when there are
// more than `most` of the way, or too many of all.
void pool_put(struct pool_way *way, struct str key, size_t most, struct session *session);
// The one used last, which is the least likely to have been closed by its peer. NULL: none; should
// there be idle ones that do not suit, one of them is given up for it. Attach to it before anything
// else.
struct session *pool_take(struct pool_way *way, struct str key);
// Takes an idle session over and says goodbye to its server, with LIMIT_PARTING_MS for the answer.
void pool_part(struct pool_way *way, struct session *session);
// Before a new connection is made: each that is being closed makes one user wait, or there would be
// more than allowed. True: it counts as waiting, until `changed` comes and it may go, or it leaves.
bool pool_wait(struct pool_way *way);
bool pool_waited(struct pool_way *way);  // true: it may go, and waits no more
void pool_give_up(struct pool_way *way); // one that waits does not any more

void pool_close_oldest(struct pool *pool, struct str name); // `changed` follows, once closed
void pool_clear(struct pool *pool, bool politely); // all idle ones; or without goodbye, at once
size_t pool_count(const struct pool *pool);        // idle ones
