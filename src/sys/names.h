// SPDX-License-Identifier: ISC
// DNS look-ups, asynchronous, cached, validated where an anchor is configured.
#pragma once

#include "base/err.h"
#include "base/netaddr.h"
#include "sys/loop.h"

enum names_type {
    NAMES_A = 1,
    NAMES_PTR = 12,
    NAMES_MX = 15,
    NAMES_TXT = 16,
    NAMES_AAAA = 28,
    NAMES_TLSA = 52
};

enum names_status {
    NAMES_OK,       // at least one record
    NAMES_NODATA,   // the name exists, the type does not
    NAMES_NXDOMAIN, // the name does not exist
    NAMES_FAILED,   // no answer for now: SERVFAIL, timeout, unreachable resolver, malformed answer
    NAMES_BOGUS,    // DNSSEC says it was forged
};

struct names_record {
    uint16_t preference; // MX
    char name[256]; // MX, PTR: lower case, no final dot; "" is the root (null MX). Only letters,
                    // digits, - . _
    struct net_addr addr; // A, AAAA; port 0
    struct str data;      // TXT (strings joined), TLSA (raw); borrowed from the answer
};

struct names_answer {
    enum names_status status;
    bool secure; // validated by DNSSEC
    uint32_t ttl_s;
    char why[160]; // for FAILED and BOGUS: a sentence
    size_t count;
    const struct names_record
        *records; // MX sorted by preference; names that are not host names are left out
};

// One resolver a loop. Settings are copied.
struct names_settings {
    const char *const
        *servers; // "127.0.0.1:5353", NULL-terminated list; NULL: the system's resolv.conf
    const char *anchor_file; // DNSSEC trust anchor, NULL: no validation
    const char *hosts_file;  // NULL: /etc/hosts
    int timeout_ms;          // a whole look-up; 0: 10 s
    // The servers are asked for names under `invalid`, too, of which there are none (RFC 6761
    // section 6.4): to know servers that lie.
    bool asks_invalid;
};
struct names;
struct names *names_new(struct loop *loop, const struct names_settings *settings, struct err *err);
void names_free(struct names **names); // running look-ups are dropped without callback
// The machine is elsewhere: the name servers are read anew, and what the old place said is
// forgotten, its silence too. Look-ups under way are asked again.
void names_refresh(struct names *names);

// Other settings, in two steps, so that of several loops all change or none does. Prepare opens
// what they need; NULL with err when that cannot be. Then one of the others, which clears the
// pointer: applied, what was known is forgotten, and look-ups under way are asked again.
struct names_change;
struct names_change *names_prepare(struct names *names, const struct names_settings *settings,
                                   struct err *err);
void names_apply(struct names *names, struct names_change **change);
void names_discard(struct names_change **change);

// The callback comes later from the loop, never from inside this call; the answer is borrowed for
// its duration. CNAMEs are followed. Returns a handle for names_cancel; it is dead once the
// callback ran.
struct names_query;
struct names_query *names_lookup(struct names *names, const char *name, enum names_type type,
                                 void (*done)(void *ctx, const struct names_answer *answer),
                                 void *ctx);
void names_cancel(struct names_query **query); // NULL is fine
