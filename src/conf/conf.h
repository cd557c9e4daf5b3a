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
enum conf_sender_domain { SENDER_DOMAIN_ANY, SENDER_DOMAIN_CHECK };
// Who answers for the mail: ourselves, once it is on disk, or the next server while it waits.
enum conf_listener_mode { LISTEN_QUEUE, LISTEN_PROXY };
enum conf_listener_auth { LISTEN_AUTH_OFF, LISTEN_AUTH_OPTIONAL, LISTEN_AUTH_REQUIRED };

struct conf_listener {
    const char *name;
    const struct net_addr *addresses;
    size_t address_count;
    enum conf_listener_mode mode;
    enum conf_listener_tls tls;
    const char *cert, *key; // NULL: a self-signed one
    enum conf_listener_auth auth;
    const char *users; // password file: "name:crypt-hash" lines; needed when auth is not off
    const struct net_range
        *clients; // who may connect; empty: loopback only unless auth is required
    size_t client_count;
    const struct net_range *deny; // who may not, whatever the rest says
    size_t deny_count;
    const char *const *from; // globs the envelope sender must match; empty: any
    size_t from_count;
    const char *const *to; // globs each recipient must match; empty: any
    size_t to_count;
    const char *const *refuse_to; // globs over recipients that are refused here
    size_t refuse_to_count;
    enum conf_sender_domain sender_domain;
    uint64_t message_size;
    uint32_t recipients;
    uint32_t connections, connections_per_client;
    int64_t timeout_ms; // without a command, or without more of a message; 0: LIMIT_COMMAND_MS and
                        // LIMIT_DATA_MS
    bool open_relay;    // the explicit word: anyone may relay
    bool lmtp;
    int64_t send_later_ms; // how far ahead a client may put the sending off; 0: not at all
};

enum conf_gateway_kind {
    GATEWAY_DIRECT,
    GATEWAY_SMTP,
    GATEWAY_LMTP,
    GATEWAY_MAILDIR,
    GATEWAY_PIPE
};
enum conf_tls { TLS_OFF, TLS_WANTED, TLS_REQUIRED, TLS_IMPLICIT };

// A named place the machine can be on. Each kind of condition that is written must hold; of the
// entries of one kind one is enough. None written: never holds by itself.
enum conf_link_type { LINK_ETHERNET, LINK_WIFI, LINK_MODEM, LINK_PPP, LINK_WIREGUARD, LINK_VPN };
enum conf_wish { WISH_ANY, WISH_YES, WISH_NO };
// How a network is made to hold when mail waits for it.
struct conf_dial {
    const char *const *command; // the first is an absolute path; none: nobody dials
    size_t command_count;
    const char *const *hang_up; // none: the line stays
    size_t hang_up_count;
    int64_t after_ms; // mail has waited so long
    int64_t again_ms; // between two tries; longer after each that fails
    int64_t idle_ms;  // nothing needed the line for so long
};

struct conf_network {
    const char *name;
    const char *const *connection;   // globs: NetworkManager's id, UUID or SSID of an active
    size_t connection_count;         // connection, an interface's name, pppd's link name
    const struct net_range *address; // one of our own addresses lies in one of these
    size_t address_count;
    const struct net_range *subnet; // one of our on-link prefixes lies in one of these
    size_t subnet_count;
    const char *const *interface; // globs over the names of interfaces that are up and have an
    size_t interface_count;       // address
    const char *const *ssid;      // globs
    size_t ssid_count;
    const char *const *apn; // globs over the access point of a modem's connection
    size_t apn_count;
    uint32_t types; // set of 1 << enum conf_link_type; 0: any
    enum conf_wish metered, captive;
    struct conf_dial dial;
    unsigned line; // in the file
};
enum { CONF_NETWORKS = 64 }; // a set of them is a uint64_t

enum conf_unit { UNIT_MESSAGES, UNIT_RECIPIENTS, UNIT_BYTES, UNITS };
enum conf_period {
    PERIOD_MINUTE,
    PERIOD_HOUR,
    PERIOD_DAY,
    PERIOD_WEEK, // from Monday
    PERIOD_MONTH,
    PERIODS
};

struct conf_price {  // money for so many recipients; micros 0: none
    uint64_t micros; // millionths of the currency
    uint32_t per;
    char currency[9];
};

struct conf_socks { // SOCKS5 (RFC 1928, RFC 1929)
    const char *host;
    uint16_t port;
    const char *user, *password; // NULL: none
};

// Minutes of the week from Monday 00:00, local time: [begin, end), end may lie behind the week's
// end.
struct conf_hours {
    uint16_t begin, end;
};

enum conf_probe_depth { PROBE_TCP, PROBE_TLS, PROBE_EHLO, PROBE_AUTH };

struct conf_gateway {
    const char *name;
    uint32_t index; // in conf.gateways
    enum conf_gateway_kind kind;
    const char *host; // name or address; "" for direct and unix
    uint16_t port;
    const char *unix_path; // LMTP or SMTP over a unix socket, else NULL
    // GATEWAY_MAILDIR, GATEWAY_PIPE: an absolute path. Of a maildir it is a pattern, as arguments
    // are (deliver/mailbox.h).
    const char *path;
    const char *const *arguments;
    size_t argument_count;
    const char *run_as; // user of the program; NULL: ours, which must not be root
    bool bare;          // the program gets the message without Return-Path and Delivered-To
    bool create;        // a maildir that is missing is made
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
    int64_t timeout_ms;   // for connecting and for each reply; 0: as limits.h has them
    uint32_t rate;        // messages per rate_ms, 0 = no limit
    int64_t rate_ms;
    uint32_t per_connection;       // messages over one connection
    uint32_t recipients;           // a transaction
    uint16_t direct_port;          // direct: the port of the MX (25)
    const struct net_addr *pinned; // addresses used instead of looking the host up; port 0
    size_t pinned_count;
    uint64_t networks;              // set of indexes of conf.networks it may be used on; 0: all
    bool fallback;                  // the one when nothing else fits the network (AR-7)
    const char *interface;          // leave through this one only; NULL: any
    const struct conf_socks *socks; // NULL: none
    const char *socks_password;     // also in socks
    const char *const *senders;     // globs the envelope sender must match; empty: any
    size_t sender_count;
    const struct conf_hours *hours; // it sends at these times only; empty: always
    size_t hours_count;
    uint64_t message_size;          // larger mail goes elsewhere; 0: no limit but the server's
    uint64_t quota[UNITS][PERIODS]; // 0: no limit
    struct conf_price cost;         // of a recipient
    struct conf_price budget;       // of a month; asked for by price_quota
    unsigned reserve_percent;       // of each quota, kept for urgent mail
    const char *quota_zone;         // name of the time zone whose days count; NULL: local
    unsigned line;                  // in the file; 0: built in
    struct {
        int64_t every_ms; // 0: only while it rests
        enum conf_probe_depth depth;
        unsigned failures; // troubles in a row that open the breaker
        int64_t hold_ms;   // well again for so long before mail goes back to it
    } health;
};

struct conf_step {
    uint32_t gateway; // index
    uint32_t
        on; // set of 1 << enum outcome_class of the step before that lead here; 0: the default set
    uint32_t after_tries; // only after so many attempts of the earlier steps; 0: at once
    int64_t after_ms;     // only after the message is that old
    int64_t parallel_ms;  // urgent mail: when the step before has not ended after so long, this one
                          // is begun beside it; 0: never
};

// The presets of PostCast and ISMail (PC-9 to PC-24, IS-9, IS-10). They are expanded when the
// configuration is read; `route show` prints what they became.
enum conf_mode {
    MODE_NONE,
    MODE_NEVER,
    MODE_UNDELIVERED,
    MODE_ON_ERROR,
    MODE_DOMAINS,
    MODE_ALWAYS
};
// Words of a mode's `on` that stand for several classes; the others are enum outcome_class.
enum { MODE_ON_LAN = 24, MODE_ON_SMTP = 25 };

struct conf_header {
    const char *name; // lower case
    const char *glob; // over its unfolded, decoded text
};

// Every kind of condition that is written must hold; of the entries of one kind one is enough.
struct conf_route {
    const char *name;      // for people; NULL: none
    const char *const *to; // globs over the recipient; empty: all
    size_t to_count;
    const char *const *from;
    size_t from_count;
    const char *const *client; // globs over "uid 1000", "user NAME" (who logged in), or the address
    size_t client_count;
    const struct net_range *client_range; // the addresses and ranges among them
    size_t client_range_count;
    const char *const *listener; // names, globs
    size_t listener_count;
    const char *const *mx; // globs over the names of the recipient's mail exchangers
    size_t mx_count;
    uint64_t larger, smaller; // octets: more than, less than; 0: any
    const struct conf_header *header;
    size_t header_count;
    uint32_t classes;                // set of 1 << enum envelope_priority; 0: any
    uint64_t networks, not_networks; // sets; 0: any
    const struct conf_hours *hours;
    size_t hours_count;
    // What `via` was made from; MODE_NONE: written out, and the rest of these is unset.
    enum conf_mode mode;
    const uint32_t *mode_gateways;
    size_t mode_gateway_count;
    uint32_t mode_on; // set of 1 << enum outcome_class, MODE_ON_*; 0: the default set
    uint32_t mode_tries;
    int64_t mode_ms;
    bool smarthost;   // made from conf.smarthost
    bool keep_failed; // what fails is kept on hold instead of returned (PC-20)
    const struct conf_step *via;
    size_t via_count;
    unsigned line; // in the file, for explanations
};

// A row of the table of known replies that the user added; they come before the shipped ones.
struct conf_reply {
    const char *gateway;  // glob over the name, NULL: all
    uint16_t code;        // 0: any
    const char *enhanced; // "5.4.5", NULL: any
    const char *text;     // glob, NULL: any
    enum outcome_class class;
    enum outcome_scope scope; // SCOPE_NONE: as the class and phase say
    int64_t rest_ms;          // 0: by the back-off clock
    unsigned line;
};

// How a gateway is chosen where no route names one.
enum conf_fallback {
    FALLBACK_ALL,     // every gateway that may be used here, by priority
    FALLBACK_DEFAULT, // none but the one marked `fallback`, or the first (AR-6, AR-7)
    FALLBACK_NONE,
};
// What becomes of mail that may have been delivered.
enum conf_doubt {
    DOUBT_AGAIN, // the same gateway is asked on and on
    DOUBT_HOLD,  // after doubt_wait_ms it is held for a person
    DOUBT_MOVE,  // after that any way may take it
    DOUBT_ONCE   // it is held at once: nobody is asked again
};
enum { CONF_PRIORITIES = 3 }; // those of envelopes: PRIORITY_LOW to PRIORITY_URGENT

enum conf_sticky { STICKY_FOREVER, STICKY_NETWORK, STICKY_TIME };
struct conf_choice {
    bool automatic;              // false: only what was picked by hand, else the fallback (AR-8)
    bool subnet;                 // prefer a gateway inside one of our subnets (AR-3)
    unsigned host_prefix[2];     // for own addresses without a subnet (AR-4): IPv4, IPv6
    enum conf_fallback fallback; // what else may be used
    enum conf_sticky sticky;     // how long a pick by hand holds
    int64_t sticky_ms;           // STICKY_TIME
};

// ISMail's switch (IS-9, IS-10, IS-23): made into a route behind all others when it is read.
enum conf_smarthost_on { SMARTHOST_TEMP, SMARTHOST_PERM, SMARTHOST_BOTH };

// What a file that says `version: N` may rely on: every key and word of N means in all later
// programs what it meant then.
enum { CONF_VERSION = 1 };

struct conf {
    atomic_uint refs;
    struct arena *arena; // owns everything below
    const char *file;    // where it came from, "(built in)" without a file
    uint32_t version;    // the file's
    const char *hostname;
    const char *spool_dir;
    const char *run_dir; // control.sock, submit.sock
    const char *user;    // to become after the ports are bound; NULL: stay
    uint32_t loops;      // session loops; 0 in the file means one per core, here it is the number
    const char *const *dns_servers; // NULL-terminated; NULL: the system's
    const char *dns_anchor;
    const char *hosts_file;
    int64_t dns_timeout_ms; // of a whole look-up
    enum { CONF_LOG_TEXT, CONF_LOG_JSON } log_format;
    int log_level;                                                          // enum log_level
    const char *log_file;                                                   // NULL: standard error
    enum { CONF_TRANSCRIPTS_FAILED, CONF_TRANSCRIPTS_ALL } log_transcripts; // kept in the timeline
    const char *postmaster; // where "postmaster" and notes go; NULL: none

    const struct conf_listener *listeners;
    size_t listener_count;
    const struct conf_gateway
        *gateways; // in the order of the file; a built-in `direct` is always among them
    size_t gateway_count;
    const struct conf_route *routes;
    size_t route_count;
    const struct conf_network *networks; // at most CONF_NETWORKS
    size_t network_count;
    const struct conf_reply *replies;
    size_t reply_count;
    struct conf_choice choice;
    const char *captive_url; // asked to know an open network from a captive one; NULL: never
    int64_t detour_ms;       // how long a learnt detour holds (D-16); 0: none is learnt
    // What conditions of routes ask for, so that it is found out only when it is needed.
    bool asks_mx, asks_hours;
    const char *const *asks_headers; // lower-case names kept with each message
    size_t ask_header_count;
    struct {
        uint32_t gateway; // UINT32_MAX: none
        bool enabled;     // false: all it would have taken goes direct
        bool exclusive;   // everything through it, nothing direct
        enum conf_smarthost_on on;
    } smarthost;

    struct {
        const char *directory; // NULL: no copies of sent mail are kept
        int64_t keep_ms;       // 0: without an end by time
        uint64_t max_bytes;
        const char *const *senders; // globs; empty: any
        size_t sender_count;
    } archive;

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
        int64_t keep_deleted_ms;  // how long removed mail can be brought back; 0: not at all
        int64_t keep_ms;          // how long the timeline is kept after a message left
        int doubt[CONF_PRIORITIES]; // enum conf_doubt, by priority
    } queue;
};

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf); // any thread
// Files and programs of this machine. Like direct delivery they are for the mail that a route sends
// there, and no way out for mail in general.
static inline bool conf_gateway_is_local(const struct conf_gateway *g)
{
    return g->kind == GATEWAY_MAILDIR || g->kind == GATEWAY_PIPE;
}
// May mail that no route sends elsewhere go through it?
static inline bool conf_gateway_is_general(const struct conf_gateway *g)
{
    return g->kind != GATEWAY_DIRECT && !conf_gateway_is_local(g);
}
// Has one server, with a host and a port.
static inline bool conf_gateway_has_host(const struct conf_gateway *g)
{
    return conf_gateway_is_general(g) && g->unix_path == NULL;
}
// Where it is, for a person: the path of one on this machine, else the host.
static inline const char *conf_gateway_place(const struct conf_gateway *g)
{
    return g->path != NULL ? g->path : g->unix_path != NULL ? g->unix_path : g->host;
}
// Everything of `dns`.
bool conf_same_dns(const struct conf *a, const struct conf *b);
const struct conf_gateway *conf_gateway_find(const struct conf *conf,
                                             struct str name); // NULL when unknown
