// SPDX-License-Identifier: ISC
// Where is this machine? Links, addresses, NetworkManager and the captive check together, as an
// immutable snapshot with counted references, made anew on each event. On the conductor's loop.
#pragma once

#include "base/json.h"
#include "conf/conf.h"
#include "sys/links.h"
#include "sys/manager.h"
#include "sys/names.h"

#include <stdatomic.h>

// Why a network holds, or does not, in a few words.
struct watch_network {
    bool holds;
    const char *why; // "address 10.20.3.4 on eth0", "no address in 10.20.0.0/16"
};

struct watch_snapshot {
    atomic_uint refs;
    struct arena *arena; // owns everything below
    // Whose links these are, when they could not be read anew for another configuration; NULL: its
    // own. Held.
    struct watch_snapshot *before;
    uint64_t number; // counts changes from 1
    int64_t mono_us; // of the event that led to it
    struct links links;
    struct manager_state manager;
    bool offline; // no usable address but loopback, or no route to anywhere
    bool captive, metered;
    bool dns_lies;           // answers names that do not exist; asked where the page is
    const char *captive_why; // "NetworkManager says so", "http://... answered 302"; "" when not
    size_t network_count;    // as conf.networks
    struct watch_network *networks;
    uint64_t holding; // the set of those that hold
};
struct watch_snapshot *watch_snapshot_ref(struct watch_snapshot *s);
void watch_snapshot_unref(struct watch_snapshot **s); // any thread

struct watch;
// `changed` runs when something that can matter to mail changed (not for a new lifetime of an
// address); `what` says it in words: "eth0 has 192.168.178.20/24; network home holds". The snapshot
// of now is there; who wants to keep one takes a reference. NULL: what is to be shown is another,
// and nothing that matters to mail.
// `names` of the same loop, for the captive check; NULL: there is none.
struct watch *watch_new(struct loop *loop, struct conf *conf, struct names *names,
                        void (*changed)(void *ctx, const char *what), void *ctx, struct err *err);
void watch_free(struct watch **watch);
struct watch_snapshot *watch_now(struct watch *watch); // borrowed until the next event
// Networks are looked at and judged anew; not told. When the kernel does not say where the machine
// is, what was known of it is judged by the new configuration, and the log says so.
void watch_set_conf(struct watch *watch, struct conf *conf);

// Pure: does this network hold in that situation? `why` in the arena.
bool watch_holds(const struct conf_network *network, const struct watch_snapshot *s,
                 struct arena *arena, const char **why);

// Pure: is the address inside one of our subnets (AR-3)? An own address that is a host mask counts
// with the prefix of the on-link route around it, else with host_prefix (AR-4).
bool watch_in_subnet(const struct watch_snapshot *s, const struct net_addr *addr,
                     const struct conf_choice *choice);

// Pure: a number that is another at another place, and the same again at the same one: of our
// subnets, the connections, and the names of the networks that hold.
uint64_t watch_mark(const struct watch_snapshot *s, const struct conf *conf);

// What `waypost network` shows: links, addresses with prefixes, connections, which networks hold
// and why others do not.
void watch_show(const struct watch_snapshot *s, const struct conf *conf, struct buf *out);
void watch_show_json(const struct watch_snapshot *s, const struct conf *conf, struct json *j);

// The lines of configuration that describe the place of now, for `network learn NAME`: the most
// telling conditions, as YAML below `networks:`. False when there is nothing to hold on to.
bool watch_learn(const struct watch_snapshot *s, const char *name, struct buf *out);
