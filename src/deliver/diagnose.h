// SPDX-License-Identifier: ISC
// What a probe means: which layer is at fault, in words for a person, and what may be done. Pure.
#pragma once

#include "deliver/probe.h"

enum diagnosis_fault {
    FAULT_NONE,
    FAULT_NO_NAME,     // DNS knows no such host, or no address of it
    FAULT_NO_DNS,      // DNS gives no answer
    FAULT_FORGED,      // DNSSEC says the answer is false
    FAULT_OFFLINE,     // this machine has no network
    FAULT_NO_ROUTE,    // there is no way to the host, or the last router does not find it
    FAULT_REFUSED,     // at once: nothing listens, or a filter rejects
    FAULT_PROHIBITED,  // a filter says so
    FAULT_SILENCE,     // probably filtered
    FAULT_CUT,         // closed before the greeting
    FAULT_MUTE,        // connected, and no greeting
    FAULT_NO_MAIL,     // what greets does not speak SMTP
    FAULT_INTERCEPTED, // something in between answers in the host's place, or alters what it says
    FAULT_NO_STARTTLS,
    FAULT_TLS,
    FAULT_POLICY, // 5xx at the greeting or EHLO
    FAULT_BUSY,   // 4xx there
    FAULT_LOGIN,  // refused, or no mechanism in common
    FAULT_LOCAL,  // this machine ran out of something
    FAULT_OTHER,
};
enum { FAULTS = FAULT_OTHER + 1 };
const char *diagnosis_word(enum diagnosis_fault fault);  // "silence"
const char *diagnosis_layer(enum diagnosis_fault fault); // "dns", "route", "filter", ..., or NULL
const char *diagnosis_next(enum diagnosis_fault fault);  // what to do, a sentence; NULL: nothing

struct diagnosis {
    const char *host; // as asked for; borrowed
    uint16_t port;
    enum diagnosis_fault fault;
    char why[LIMIT_OUTCOME_TEXT]; // a sentence; "" when it works
    char banner[256];             // the first line the server said; "" for none
    char remark[400];             // works, but; "" for nothing
};
// Of a finished probe, whose transcript is still there.
void diagnose(const struct deliver_probe *p, const char *host, uint16_t port,
              struct diagnosis *out);

// What the ports of one host say together.
struct conclusion {
    char text[640];
    char next[400]; // "" for nothing to do
};
void diagnose_host(const struct diagnosis *list, size_t count, struct conclusion *out);
// What several hosts say together of port 25 here. False: nothing.
bool diagnose_network(const struct diagnosis *list, size_t count, struct conclusion *out);
