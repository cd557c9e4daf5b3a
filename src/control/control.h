// SPDX-License-Identifier: ISC
// The control socket: commands of the `waypost` program that ask or order the running daemon.
//
// Protocol, text lines over a unix socket, one command a connection:
//   client  "waypost 1\n", then one argument a line (percent-encoded), then an empty line;
//           "waypost 1 COLUMNS\n" when the answer goes to a terminal
//   server  "o TEXT" for standard output, "e TEXT" for standard error, "x N" with the exit status
//   as the last line
// The daemon formats the answer, as text or (with --json) as JSON lines, so there is one place that
// knows the data. Any local user may ask; root and the user the daemon runs as see and order
// everything, others only mail they handed in themselves, by the peer credentials of the socket.
// Everything runs on the conductor's loop.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "queue/queue_view.h"
#include "spool/store.h"
#include "sys/loop.h"

struct control;
// Of one listener since the start; `turned_away` are connections, `refused` what was refused over
// others: senders, recipients, messages.
struct control_listener {
    uint32_t open;
    uint64_t connections, turned_away, messages, refused;
};
struct control_parts {
    struct loop *loop;
    struct queue *queue;
    struct store *store;
    struct archive *archive; // NULL (tests): none
    // Reads the configuration file again and takes it over; `done` runs later on the loop.
    void (*reload)(void *ctx, void (*done)(void *done_ctx, bool ok, const char *text),
                   void *done_ctx);
    void (*stop)(void *ctx); // orderly end of the daemon
    void (*listener)(void *ctx, const char *name, struct control_listener *out);
    void *ctx;
    int64_t started_ms; // wall clock
};
struct control *control_new(struct conf *conf, const struct control_parts *parts, struct err *err);
void control_set_conf(struct control *c, struct conf *conf);
void control_free(struct control **c); // closes what is open

// The client: sends the arguments to the daemon whose control socket is at `path`, copies its
// answer to standard output and error, returns the exit status; -1 with err when no daemon answers
// there. Runs a loop of its own until the end.
int control_call(const char *path, int argc, const char *const *argv, struct err *err);
// The same with what goes to standard output put into `answer` instead (NULL: as above).
int control_ask(const char *path, int argc, const char *const *argv, struct buf *answer,
                struct err *err);
