// SPDX-License-Identifier: ISC
// What came of trying to deliver to one recipient, as data. What it means is decided in
// route/judge.c alone.
#pragma once

#include "base/limits.h"
#include "base/str.h"

// The kind of trouble (design section 2). The numbers stand in records on disk: never reuse one.
enum outcome_class {
    OUTCOME_OK = 0,      // the next hop answered 2xx to this recipient and to the message
    OUTCOME_OFFLINE = 1, // this machine has no network
    OUTCOME_NET =
        2, // connect refused, unreachable, timed out, connection lost before the final dot
    OUTCOME_DNS = 3,        // the name did not resolve for now (SERVFAIL, timeout, bogus)
    OUTCOME_TLS = 4,        // no TLS where it is required, handshake or certificate failed
    OUTCOME_AUTH = 5,       // login refused or impossible
    OUTCOME_QUOTA = 6,      // the gateway's or account's allowance is used up
    OUTCOME_REPUTATION = 7, // our address, name or behaviour is unwelcome
    OUTCOME_BUSY = 8,       // 4xx: come again
    OUTCOME_REFUSED = 9,    // 5xx, null MX: the message's or the recipient's own fault
    OUTCOME_DOUBT = 10,     // lost after the final dot: it may have been delivered
    OUTCOME_LOCAL = 11,     // our own disk, memory or shutdown: not an attempt
    OUTCOME_NO_RECORD = 12, // DNS has answered: no such name, or no server and no address of it
};
enum { OUTCOME_CLASSES = 13 };

// Whose fault it is.
enum outcome_scope {
    SCOPE_NONE = 0,
    SCOPE_NETWORK = 1,
    SCOPE_GATEWAY = 2,
    SCOPE_ACCOUNT = 3,
    SCOPE_DESTINATION = 4,
    SCOPE_RECIPIENT = 5,
    SCOPE_MESSAGE = 6,
};

// Where in the dialogue it happened.
enum outcome_phase {
    PHASE_NONE = 0,
    PHASE_RESOLVE = 1,
    PHASE_CONNECT = 2,
    PHASE_GREETING = 3,
    PHASE_EHLO = 4,
    PHASE_TLS = 5,
    PHASE_AUTH = 6,
    PHASE_MAIL = 7,
    PHASE_RCPT = 8,
    PHASE_DATA = 9,
    PHASE_BODY = 10,
    PHASE_FINAL = 11, // between the final dot and its reply: "message may be sent more than once"
};

struct outcome {
    enum outcome_class class;
    enum outcome_scope scope;
    enum outcome_phase phase;
    bool relayed;        // OK only: 2xx by a gateway or relay, which is not yet delivered (PC-6)
    uint16_t code;       // SMTP reply code, 0 = none
    uint8_t enhanced[3]; // RFC 3463, all 0 = none
    char where[96];      // host[address]:port as tried
    char text[LIMIT_OUTCOME_TEXT]; // reply text or reason: one line, already escaped (base/utf8.h)
};

const char *
    outcome_class_name(enum outcome_class class); // "ok", "net", ... as in the configuration's `on`
bool outcome_class_parse(struct str name, enum outcome_class *class_out);
const char *
outcome_phase_name(enum outcome_phase phase); // a phrase for a person: "after the final dot"
