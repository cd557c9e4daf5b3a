// SPDX-License-Identifier: ISC
// The machine's links, their addresses and routes, and word of every change (rtnetlink(7)). One
// loop.
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/netaddr.h"
#include "sys/loop.h"

struct link_facts {
    uint32_t index;
    const char *name;  // "eth0"
    const char *alias; // pppd's link name, an administrator's words; "" without
    const char *kind;  // IFLA_INFO_KIND: "wireguard", "tun", "ppp", "bridge", "veth"; "" for a
                       // physical one
    bool up;           // administratively, and its carrier is there
    bool loopback, point_to_point, wireless;
};
struct link_address {
    uint32_t link;        // index
    struct net_addr addr; // port 0
    struct net_addr peer; // of a point-to-point link, else NET_NONE
    unsigned prefix;      // bits
    bool link_local, temporary, deprecated, tentative;
};
struct link_route {
    uint32_t link;
    struct net_addr to; // of the family, with `prefix` bits; prefix 0: the default route
    unsigned prefix;
    struct net_addr gateway; // NET_NONE: on the link itself
    uint32_t metric;
};
// Of the main routing table, unicast; sorted by index, then as the kernel lists them.
struct links {
    size_t link_count, address_count, route_count;
    const struct link_facts *links;
    const struct link_address *addresses;
    const struct link_route *routes;
};

// `changed` runs on the loop soon after something changed, once for a burst of events; read then.
struct links_watch;
struct links_watch *links_watch_new(struct loop *loop, void (*changed)(void *ctx), void *ctx,
                                    struct err *err);
void links_watch_free(struct links_watch **watch);

// The state of now. Does not block for longer than the kernel takes to answer. All in the arena.
bool links_read(struct arena *arena, struct links *out, struct err *err);
