// SPDX-License-Identifier: ISC
// Reading a snapshot. Pure; for this room.
#pragma once

#include "base/buf.h"
#include "watch/watch.h"

// Is there an address to send from, and a route beyond the link?
bool place_has_way_out(const struct watch_snapshot *s);
// In what can matter to mail: links that are up, addresses, routes, names, metered, captive.
bool place_differs(const struct watch_snapshot *a, const struct watch_snapshot *b);
// "eth0 has 10.20.3.4/24; wlan0 is gone; network office holds". `before` may be NULL.
void place_tell_change(const struct watch_snapshot *before, const struct watch_snapshot *now,
                       const struct conf *conf, struct buf *out);
const struct link_facts *place_link(const struct watch_snapshot *s, uint32_t index);
const struct manager_connection *place_connection_of(const struct watch_snapshot *s,
                                                     const char *interface); // NULL: none
// What kind of link it is, by NetworkManager, by the kernel, by its name; -1: unknown.
int place_type(const struct watch_snapshot *s, const struct link_facts *link);
const char *place_type_name(int type);
// An address mail may come from: not loopback, link-local, deprecated or tentative, link up.
bool place_usable(const struct watch_snapshot *s, const struct link_address *a);
