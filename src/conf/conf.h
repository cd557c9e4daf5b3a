// SPDX-License-Identifier: ISC
// The configuration as an immutable snapshot with counted references. Read from YAML by
// conf/read.h; the schema table (conf/schema.h) names every key with its type, default, bounds and
// help.
#pragma once

#include "base/arena.h"
#include "base/limits.h"
#include "base/netaddr.h"
#include "mail/outcome.h"

#include <stdatomic.h>

enum conf_listener_tls {
    LISTEN_TLS_NONE,     // no STARTTLS
    LISTEN_TLS_STARTTLS, // offered (default)
    LISTEN_TLS_REQUIRED, // MAIL only after STARTTLS
    LISTEN_TLS_IMPLICIT, // from the first byte
    LISTEN_TLS_AUTO,     // first byte 0x16: implicit, else STARTTLS offered
};
enum conf_listener_auth { LISTEN_AUTH_OFF, LISTEN_AUTH_OPTIONAL, LISTEN_AUTH_REQUIRED };

struct conf_listener {
    const char *name;
    const struct net_addr *addresses;
    size_t address_count;
    enum conf_listener_tls tls;
    const char *cert, *key; // NULL: a self-signed one
    enum conf_listener_auth auth;
    const char *users; // password file: "name:crypt-hash" lines; needed when auth is not off
    const struct net_range
        *clients; // who may connect; empty: loopback only unless auth is required
    size_t client_count;
    const char *const *from; // globs the envelope sender must match; empty: any
    size_t from_count;
    const char *const *to; // globs each recipient must match; empty: any
    size_t to_count;
    uint64_t message_size;
    uint32_t recipients;
    uint32_t connections, connections_per_client;
    bool open_relay; // the explicit word: anyone may relay
    bool lmtp;
};

enum conf_gateway_kind { GATEWAY_DIRECT, GATEWAY_SMTP, GATEWAY_LMTP };
enum conf_tls { TLS_OFF, TLS_WANTED, TLS_REQUIRED, TLS_IMPLICIT };

struct conf_gateway {
    const char *name;
    uint32_t index; // in conf.gateways
    enum conf_gateway_kind kind;
    const char *host; // name or address; "" for direct and unix
    uint16_t port;
    const char *unix_path; // LMTP or SMTP over a unix socket, else NULL
    enum conf_tls tls;
    bool verify; // certificate chain and name (default: true with credentials or tls
                 // required/implicit)
    const char *ca_file;
    const char *user, *password; // NULL: no login
    bool auth_in_clear;          // explicit word: may send PLAIN/LOGIN without TLS
    const char *helo;            // NULL: conf.hostname
    struct net_addr source;      // NET_NONE: any
    int priority; // lower is tried first: highest 10, high 20, normal 30, below-normal 40, low 50
    uint32_t weight;
    bool enabled;
    uint32_t connections; // at once
    uint32_t rate;        // messages per rate_ms, 0 = no limit
    int64_t rate_ms;
    uint32_t per_connection; // messages over one connection
    uint32_t recipients;     // a transaction
    uint16_t direct_port;    // direct: the port of the MX (25)
};

struct conf_step {
    uint32_t gateway; // index
    uint32_t
        on; // set of 1 << enum outcome_class of the step before that lead here; 0: the default set
    uint32_t after_tries; // only after so many attempts of the earlier steps; 0: at once
    int64_t after_ms;     // only after the message is that old
};

struct conf_route {
    const char *const *to; // globs over the recipient; empty: all
    size_t to_count;
    const char *const *from;
    size_t from_count;
    const struct conf_step *via;
    size_t via_count;
    unsigned line; // in the file, for explanations
};

struct conf {
    atomic_uint refs;
    struct arena *arena; // owns everything below
    const char *file;    // where it came from, "(built in)" without a file
    const char *hostname;
    const char *spool_dir;
    const char *run_dir; // control.sock, submit.sock
    const char *user;    // to become after the ports are bound; NULL: stay
    uint32_t loops;      // session loops; 0 in the file means one per core, here it is the number
    const char *const *dns_servers; // NULL-terminated; NULL: the system's
    const char *dns_anchor;
    const char *hosts_file;
    enum { CONF_LOG_TEXT, CONF_LOG_JSON } log_format;
    int log_level;          // enum log_level
    const char *postmaster; // where "postmaster" and notes go; NULL: none

    const struct conf_listener *listeners;
    size_t listener_count;
    const struct conf_gateway
        *gateways; // in the order of the file; a built-in `direct` is always among them
    size_t gateway_count;
    const struct conf_route *routes;
    size_t route_count;

    struct {
        const int64_t *retry_ms; // delays before the 2nd, 3rd ... attempt; the last repeats
        size_t retry_count;
        int64_t warn_ms;       // a delay DSN after so long, 0: never
        int64_t expire_ms;     // 0: never by time
        uint32_t expire_tries; // 0: never by attempts
        bool return_to_sender;
        int64_t doubt_wait_ms;    // after a lost final reply: how long to ask only the same gateway
        uint32_t per_destination; // connections to one destination of direct delivery
        uint32_t connections;     // all together
        uint64_t max_recipients;  // waiting; more is 452
        int64_t keep_ms;          // how long the timeline is kept after a message left
    } queue;
};

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf); // any thread
const struct conf_gateway *conf_gateway_find(const struct conf *conf,
                                             struct str name); // NULL when unknown
