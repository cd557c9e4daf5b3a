// SPDX-License-Identifier: ISC
// The daemon put together: store, conductor, session loops with their ways in and out. Linked
// against either world.
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "sys/loop.h"

struct daemon;

// Opens the spool, replays it, opens the listeners and starts the threads. `conductor` is the
// caller's loop: main runs it with loop_run, the simulator steps it. Blocks while the spool is
// read. NULL with err: nothing is left running.
struct daemon *daemon_start(struct conf *conf, struct loop *conductor, struct err *err);

// Orderly end: no new mail, running transactions get a bounded time, everything is synced and the
// spool marked clean. `stopped` runs on the conductor; then daemon_free.
void daemon_stop(struct daemon *d, void (*stopped)(void *ctx), void *ctx);
void daemon_free(struct daemon **d);

// Takes over a new configuration whole, or keeps the old one and says why in err. `done` runs on
// the conductor; until then no other may begin, nor daemon_stop.
void daemon_reload(struct daemon *d, struct conf *conf,
                   void (*done)(void *ctx, bool ok, const struct err *err), void *ctx);

struct queue;
struct queue *daemon_queue(struct daemon *d);
struct accept_counts;
void daemon_listener(struct daemon *d, const char *name, struct accept_counts *out);
struct store;
struct archive;
struct archive *daemon_archive(struct daemon *d);
struct store *daemon_store(struct daemon *d);
