// SPDX-License-Identifier: ISC
// Small named values that outlive the process: quotas used, the gateway picked, learnt detours.
//
// One file beside the journal, text, rewritten whole and renamed into place: a crash leaves the old
// or the new. Values are lines without control characters, names without spaces.
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "sys/loop.h"

struct state;
// Blocks; at start. A damaged file is put aside (said in the log) and an empty state begun.
struct state *state_open(const char *spool_dir, struct err *err);
// The file was damaged and put aside: what was remembered is not known.
bool state_damaged(const struct state *state);
// From here on changes are written by a worker of this loop; all that follows is used on it.
void state_start(struct state *state, struct loop *loop);
// Writes what is not written yet; blocks. Not while a worker writes: after state_flush, or before
// state_start.
void state_close(struct state **state);

struct str state_get(const struct state *state, const char *name); // empty when unknown; borrowed
// Empty: forget it. Control characters in the value become blanks. What would not fit into
// LIMIT_STATE_BYTES is not taken, and flushes fail until something was.
void state_set(struct state *state, const char *name, struct str value);
// All names that begin with the prefix, in order; *pos starts at 0. NULL: no more. No change
// meanwhile, but forgetting the one just returned (then *pos goes back by one).
const char *state_next(const struct state *state, const char *prefix, size_t *pos);

// Runs done(ctx) on the loop, never from inside this call, when all that was set before is on disk
// (ok), or could not be written.
void state_flush(struct state *state, void (*done)(void *ctx, bool ok), void *ctx);
