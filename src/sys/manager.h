// SPDX-License-Identifier: ISC
// What NetworkManager knows beyond the kernel: the names of connections, whether a network is
// metered, whether a portal keeps us captive. Over D-Bus, by events. One loop.
//
// Without NetworkManager, or without a bus, `present` is false and nothing else works less.
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "sys/loop.h"

enum manager_answer { MANAGER_UNKNOWN, MANAGER_NO, MANAGER_YES };

struct manager_connection { // an active one
    const char *id;         // "Office LAN"
    const char *uuid;
    const char *type;      // "802-3-ethernet", "802-11-wireless", "gsm", "vpn", "wireguard", ...
    const char *ssid;      // "" for what is no WLAN
    const char *interface; // "" when it has none (yet), as VPNs; theirs is a link like others
    const char *apn;       // of a modem, else ""
    bool vpn, is_default;
    bool ready; // activated, not only on the way
};
struct manager_state {
    bool present;
    enum manager_answer captive, metered, connected; // connected: the Internet was reached
    size_t count;
    const struct manager_connection *connections;
};

// `changed` runs on the loop when the state may be another, once for a burst of signals. The first
// answer also counts as a change. NULL is never returned; a bus that comes or goes later is
// followed.
struct manager;
struct manager *manager_new(struct loop *loop, void (*changed)(void *ctx), void *ctx);
void manager_free(struct manager **manager);
// What was heard last; copied into the arena. Never blocks.
void manager_read(struct manager *manager, struct arena *arena, struct manager_state *out);
