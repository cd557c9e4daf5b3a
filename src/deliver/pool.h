// SPDX-License-Identifier: ISC
// Idle connections, kept a while for the next message that goes the same way. One loop.
#pragma once

#include "deliver/session.h"

struct pool;
struct pool *pool_new(struct loop *loop);
void pool_free(struct pool **pool); // ends all

// The key says all that must be the same for a connection to be used again. Takes an idle session
// over; it is ended when it dies or after LIMIT_IDLE_CONNECTION_MS. The oldest goes when there are
// more than `most` under the key, or too many of all.
void pool_put(struct pool *pool, struct str key, size_t most, struct session *session);
// The one used last, which is the least likely to have been closed by its peer. NULL: none. Attach
// to it before anything else.
struct session *pool_take(struct pool *pool, struct str key);
void pool_clear(struct pool *pool);
size_t pool_count(const struct pool *pool);
