// SPDX-License-Identifier: ISC
// The mail exchangers of a domain, in the order they are to be tried (RFC 5321 section 5.1, RFC
// 7505).
#pragma once

#include "mail/outcome.h"
#include "sys/names.h"

struct mx_host {
    char name[256];
    uint16_t preference;
    bool implicit; // the domain itself, for want of MX
};

struct mx_answer {
    struct outcome failure; // class other than OK: there is nobody to try
    size_t count;
    struct mx_host hosts[LIMIT_MX];
};

// "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3).
bool mx_literal(struct str domain, struct net_addr *addr_out);

// Orders what the resolver said: by preference, by chance among equals. With `self` (a host name,
// or NULL) its bearer and all not preferred to it are left out. Exposed for its test.
void mx_order(const char *domain, const struct names_answer *answer, const char *self,
              struct mx_answer *out);

// `done` comes from the loop, once; the answer is borrowed for the call. A domain not in ASCII is
// asked for by its A-labels.
struct mx;
struct mx *mx_find(struct loop *loop, struct names *names, const char *domain, const char *self,
                   void (*done)(void *ctx, const struct mx_answer *answer), void *ctx);
void mx_free(struct mx **mx); // also during the look-up
