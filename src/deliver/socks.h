// SPDX-License-Identifier: ISC
// A connection through a SOCKS 5 proxy, over one to the proxy that stands. One loop.
#pragma once

#include "mail/outcome.h"
#include "proto/socks.h"
#include "sys/stream.h"

struct deliver_socks;
// Once, from the loop: the stream as it came, to which the peer now answers (attach a handler
// before returning; what it has said already is offered then), or NULL and why not. The tunnel may
// be freed from inside.
typedef void deliver_socks_done(void *ctx, struct stream *stream, const struct outcome *failure);

// Takes the connected stream over. `settings` is borrowed until done. `peer`: whose fault it is
// when the proxy cannot connect; what is the proxy's own is the gateway's.
struct deliver_socks *deliver_socks_new(struct loop *loop, struct stream *stream,
                                        const struct socks_settings *settings,
                                        enum outcome_scope peer, deliver_socks_done *done,
                                        void *ctx);
void deliver_socks_free(struct deliver_socks **socks);
