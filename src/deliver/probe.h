// SPDX-License-Identifier: ISC
// Asks a gateway without sending anything: connection, TLS, EHLO, login. The way is the same as for
// mail (addresses, source, proxy), never over a kept connection.
#pragma once

#include "deliver/deliver.h"

struct deliver_probe {
    struct post post; // internal; first
    struct deliver *deliver;
    struct loop *home; // `done` runs there, once
    void (*done)(struct deliver_probe *probe);
    void *ctx;

    // In. Borrowed until done, except conf (a reference of the owner).
    struct conf *conf;
    const struct conf_gateway *gateway;
    enum conf_probe_depth depth; // TLS says EHLO too, in order to get there
    const char *domain;          // direct: whose MX; else ""
    int64_t limit_ms;            // for all of it; 0: LIMIT_PROBE_MS
    // Out.
    struct outcome outcome;                       // OK, or what went wrong, in which phase
    int64_t connect_ms, tls_ms, ehlo_ms, auth_ms; // of each phase, -1: not reached
    struct net_addr address;                      // that answered last
    // For who looks for the cause: what DNS said of the host, and the errno of the connection
    // (ETIMEDOUT: silence; 0: none).
    enum names_status names;
    int code;
    // What the server said of itself, to know it again (an interceptor is another one): name of the
    // greeting, offers of EHLO, and whether its certificate was checked and right.
    char greeting[256];
    bool offered; // it answered EHLO
    bool offers_tls, offers_auth, verified;
    char facts[200];
    struct buf transcript; // the owner frees it
    // Internal to deliver.
    void *work;
};
void deliver_probe(struct deliver *d, struct deliver_probe *probe); // any thread

// ---- Between this and deliver.c ----
struct probes; // of one deliver
struct probes *probes_new(struct loop *loop, struct names *names);
void probes_free(struct probes **probes); // those under way end as OUTCOME_LOCAL
struct probes *deliver_probes(struct deliver *d);
