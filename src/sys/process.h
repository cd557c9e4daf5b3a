// SPDX-License-Identifier: ISC
// A program that is fed and whose end is heard of. No shell, no descriptors of ours, a session and
// process group of its own, default signals. One loop; events never come from inside a call.
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "sys/loop.h"

// Borrowed until process_new returns.
struct process_how {
    const char *const *argv; // ended by NULL; the first is an absolute path
    const char *const *env;  // all of it, ended by NULL
    const char *user;        // runs as this user, in its group alone; NULL: as we do
    size_t output_max; // what it prints, on both ways, is kept up to this; the rest is dropped
};

struct process_end {
    int status;        // -1: it was ended by `signal`
    int signal;        // 0: it ended itself
    struct str output; // borrowed for the call
};

struct process_events {
    void (*hungry)(void *ctx); // what was written is taken, or will never be
    void (*ended)(void *ctx, const struct process_end *end); // once; nothing follows. Free it
};

// NULL with err: it cannot be run. Nothing is run as root: who is root must name a user.
struct process;
struct process *process_new(struct loop *loop, const struct process_how *how,
                            const struct process_events *events, void *ctx, struct err *err);
// The bytes stay until `hungry`, before which there is no more to write. A program that reads no
// more loses nothing but what it did not want.
void process_write(struct process *p, const void *bytes, size_t len);
void process_end_input(struct process *p);
// One that still runs is killed, with all of its group. No event comes.
void process_free(struct process **p);
