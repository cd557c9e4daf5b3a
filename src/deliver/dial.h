// SPDX-License-Identifier: ISC
// Connecting to a host: its addresses looked up and tried as RFC 8305 has it, IPv6 and IPv4 at once
// without waiting for the slower; through a SOCKS proxy, which then looks the host up, where there
// is one. One loop.
#pragma once

#include "conf/conf.h"
#include "deliver/addresses.h"
#include "sys/names.h"
#include "sys/stream.h"

// Borrowed for the call, but `socks`, which stays until dial_free.
struct dial_target {
    const char *host;       // looked up, unless:
    struct net_addr direct; // NET_NONE, or the one address (also NET_UNIX)
    uint16_t port;
    struct net_addr source; // NET_NONE, or the address to come from; only its family is tried
    bool strict;            // never to ourselves, to loopback, link-local or multicast addresses
    bool last_resort;       // the host stands for a domain without MX
    size_t most;            // addresses tried
    int64_t limit_ms;       // for an address to answer; 0, and at most: LIMIT_CONNECT_MS
    enum outcome_scope peer;
    const struct net_addr *pinned; // tried instead of those of the host
    size_t pinned_count;
    const char *interface;          // NULL: any
    const struct conf_socks *socks; // NULL: none
    struct addresses *addresses;    // known ahead, NULL: none; not for hosts of direct delivery
};

struct dial;
// `stream` is the caller's now, connected; it must attach a handler before it returns. NULL: no
// address is left, `failure` says why. From inside `done` the dial may be freed or gone on with.
typedef void dial_done(void *ctx, struct stream *stream, const struct outcome *failure);
struct dial *dial_new(struct loop *loop, struct names *names, const struct dial_target *target,
                      dial_done *done, void *ctx);
// The connection was no good: the remaining addresses. `done` comes again, from the loop. False:
// there are none.
bool dial_again(struct dial *d);
size_t dial_tried(const struct dial *d);
// How long ago the addresses were heard of, because DNS gives no answer now; 0: they are good.
int64_t dial_stale_ms(const struct dial *d);
// Why it failed, for who looks for the cause: the errno behind it (ETIMEDOUT: silence until we gave
// up; 0: it did not come to connecting), and what DNS said of the host.
int dial_errno(const struct dial *d);
enum names_status dial_names(const struct dial *d);
void dial_free(struct dial **d);
