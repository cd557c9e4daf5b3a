// SPDX-License-Identifier: ISC
// What the other files of sys may know of a loop. Not for other rooms.
#pragma once

#include "base/list.h"
#include "sys/loop.h"

#include <uv.h>

// Whoever closes a handle on it gives a close callback that frees the memory around it.
uv_loop_t *loop_uv(struct loop *loop);

// Called by loop_free, after the loop ended and before its handles go: the place to drop what still
// runs in the background without an owner (a stream that drains). Embed the struct.
struct loop_exit {
    struct link link;
    void (*fn)(void *ctx);
    void *ctx;
};
void loop_on_exit(struct loop *loop, struct loop_exit *entry, void (*fn)(void *ctx), void *ctx);
void loop_exit_cancel(struct loop_exit *entry);
