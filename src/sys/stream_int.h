// SPDX-License-Identifier: ISC
// How listener.c makes streams. Not for other rooms.
#pragma once

#include "sys/net_int.h"
#include "sys/stream.h"

// Of a connected, non-blocking socket, which it takes over. A handler must be attached before the
// loop goes on.
struct stream *stream_accepted(struct net *net, int fd, const struct net_addr *peer);
bool stream_attached(const struct stream *s);
