// SPDX-License-Identifier: ISC
// Why mail waits, in groups by cause: of the oldest messages, each in the words of `route explain`.
#pragma once

#include "control/command.h"

enum { WAITS_ASKED = 100, WAIT_GROUPS = 6 };

struct waits {
    size_t asked, count;
    struct wait_group {
        const char *why; // "for company: not on network office", in the reply's arena
        uint64_t recipients;
        int64_t until_ms;  // wall clock: when the first of them is looked at again; 0: by no clock
    } groups[WAIT_GROUPS]; // as met; what fits in none is left out
};
// Those under way at this moment, and what is held, are not in it.
void waits_look(struct reply *r, struct waits *out);
// Of one message, the first reason: "for company: not on network office"; NULL: it goes now.
const char *waits_why(struct reply *r, uint64_t id);
int64_t waits_until(struct reply *r, uint64_t id); // and its moment (wall clock), 0: by no clock
