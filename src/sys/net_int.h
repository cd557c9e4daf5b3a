// SPDX-License-Identifier: ISC
// What all sockets of one loop share: the epoll set, the read buffer, spare output chunks, and the
// lists of streams that want a turn. Not for other rooms.
//
// The set is an epoll of our own inside libuv's: a socket is added once, edge-triggered, and needs
// no further system call until it is closed, however often its owner pauses, writes or waits.
#pragma once

#include "base/list.h"
#include "base/netaddr.h"
#include "sys/loop_int.h"

#include <stdint.h>
#include <sys/epoll.h>

// A descriptor in the set. Embed; `fn` gets the EPOLL* bits.
struct net_watch {
    void (*fn)(struct net_watch *watch, uint32_t events);
    int fd;
};

// Output waits in chunks, so that it is gathered by one writev and never moved.
enum { CHUNK_BYTES = 16 * 1024 };
struct chunk {
    struct chunk *next;
    uint32_t begin, end; // the bytes still to go
    char data[CHUNK_BYTES];
};
struct chunks {
    struct chunk *first, *last;
    size_t len;
};

enum { NET_READ_BYTES = 64 * 1024 };

struct tls_cache;
struct net {
    struct loop *loop;
    struct loop_exit exit;
    uv_poll_t *poll; // watches `epoll`
    int epoll;
    struct epoll_event batch[64];
    int batch_next, batch_end; // the part of the batch not served yet

    struct link streams; // all of the loop, also those that drain without an owner
    struct link turns;   // streams that want a turn before the loop sleeps
    struct defer turn;
    struct link busy; // streams with more to read than one turn allows: after the others' events
    struct timer again;
    struct link dead; // closed streams, freed when nobody can be using them
    struct defer reap;

    char in[NET_READ_BYTES]; // what one read brought; free between turns
    char *clear;             // the same size, for decrypted bytes; NULL before the first TLS
    struct chunk *spare;
    unsigned spares;
    struct tls_cache *tls; // client contexts and sessions; NULL before the first
};

// The loop's own; made at the first call. It stands in uv_loop_t.data.
struct net *net_of(struct loop *loop);

void net_watch(struct net *net, struct net_watch *watch, uint32_t events);
void net_watch_change(struct net *net, struct net_watch *watch, uint32_t events);
// No event of it comes any more, also none of the batch at hand. Does not close the descriptor.
void net_unwatch(struct net *net, struct net_watch *watch);

void chunks_append(struct net *net, struct chunks *chunks, const void *bytes, size_t len);
void chunks_consume(struct net *net, struct chunks *chunks, size_t len);
void chunks_clear(struct net *net, struct chunks *chunks);

// Implemented by stream.c.
void stream_serve_turns(struct net *net);
void stream_serve_busy(struct net *net);
void stream_reap(struct net *net);
void stream_drop_all(struct net *net);
