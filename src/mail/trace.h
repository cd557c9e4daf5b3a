// SPDX-License-Identifier: ISC
// Our Received field (RFC 5321 section 4.4), put in front of every message taken in.
#pragma once

#include "base/buf.h"

enum { TRACE_MAX = 4096 }; // a buffer of this maximum always holds it

// The field says "by <hostname> (Waypost": mail/header.h counts these to find loops.
#define TRACE_MARK "(Waypost"

struct trace {
    struct str client; // an IP address; or "uid 1000", "local" for what did not come by network
    struct str helo;   // as the client said it; made harmless here. May be empty
    struct str hostname;
    uint64_t id;
    // What makes the word behind "with" (RFC 3848, RFC 6531 section 4.3).
    bool lmtp, esmtp, tls, auth, smtputf8;
    struct str tls_facts; // "TLSv1.3 TLS_AES_256_GCM_SHA384"; may be empty
    struct str rcpt;      // said only when rcpt_count is 1: nobody learns of a Bcc
    size_t rcpt_count;
    bool hide_client; // leave out where it came from
    int64_t wall_ms;
    int offset_minutes;
};

bool trace_write(struct buf *out, const struct trace *t); // false when out is full
const char *trace_protocol(const struct trace *t);        // "ESMTPSA"
