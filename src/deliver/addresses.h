// SPDX-License-Identifier: ISC
// The addresses of the gateways, known before they are needed: looked up all at once in the
// background, refreshed before they expire, and kept for as long as DNS gives no answer at all. So
// a long list of gateways delays no mail, and mail goes on while DNS is down.
#pragma once

#include "conf/conf.h"
#include "sys/names.h"

struct deliver;

// Looks up the hosts of all enabled gateways, and proxies, of this configuration: at the start,
// after a reload, and when the network has changed (then what was known is used only where DNS is
// silent). Any thread; takes a reference of its own.
void deliver_prefetch(struct deliver *d, struct conf *conf);

// What is known of a gateway's host. Borrowed for the call.
struct deliver_address {
    const char *gateway;
    const struct net_addr *list; // port 0, IPv6 first
    size_t count;                // 0: it may not be used yet
    enum names_status status;    // of the last look-up, and
    const char *why;             // for FAILED and BOGUS: a sentence
    int64_t heard_ms;            // loop_now_ms of the session loop, when the list was heard of
};
// Calls fn(ctx) on `home` when a gateway's addresses or the status of the look-up change. Addresses
// written in the configuration are not looked up and not told. Any thread, once.
void deliver_on_address(struct deliver *d, struct loop *home,
                        void (*fn)(void *ctx, const struct deliver_address *now), void *ctx);

// ---- Between this and the rest of deliver; one loop ----
struct addresses;
struct addresses *addresses_new(struct loop *loop, struct names *names);
void addresses_free(struct addresses **addresses);

struct addresses_found {
    struct net_addr list[2 * LIMIT_ADDRESSES];
    size_t count;
    int64_t stale_ms; // they are so old, and DNS gives no answer; 0: they are good
};
// False: unknown, or better asked for again.
bool addresses_find(struct addresses *a, const char *host, struct addresses_found *out);
// Those of before, when DNS has just failed to answer. False: none.
bool addresses_last(struct addresses *a, const char *host, struct addresses_found *out);
// Nothing answered there: they are looked up again before they are used again.
void addresses_doubt(struct addresses *a, const char *host);
struct addresses *deliver_addresses(struct deliver *d);
