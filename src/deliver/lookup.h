// SPDX-License-Identifier: ISC
// Look-ups for another loop: the conductor asks who takes the mail of a domain.
#pragma once

#include "deliver/deliver.h"
#include "deliver/mx.h"

// Any thread. `done` runs once on `home`, also when `d` ends first (as trouble with DNS); the
// answer is borrowed for the call. `d` must take messages still: its loop has not ended.
void deliver_lookup_mx(struct deliver *d, const char *domain, struct loop *home,
                       void (*done)(void *ctx, const struct mx_answer *answer), void *ctx);

// ---- Between this and deliver.c ----
struct lookups; // of one deliver
struct lookups *lookups_new(struct loop *loop, struct names *names);
void lookups_free(struct lookups **lookups);
struct lookups *deliver_lookups(struct deliver *d);
struct loop *deliver_loop(struct deliver *d);
