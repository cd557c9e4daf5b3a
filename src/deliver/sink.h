// SPDX-License-Identifier: ISC
// Where a message goes on this machine, for one recipient: a file of a maildir, or a program. One
// loop; events never come from inside a call.
#pragma once

#include "conf/conf.h"
#include "deliver/mailbox.h"
#include "mail/envelope.h"
#include "sys/loop.h"

struct sink_events {
    void (*hungry)(void *ctx); // what was written is taken; once before the first write, too
    void (*over)(void *ctx, const struct outcome *o); // at any time, once. Free it
};

struct sink;
struct sink_ops {
    void (*write)(struct sink *s, const char *bytes, size_t len); // they stay until `hungry`
    void (*end)(struct sink *s);                                  // that was all; `over` follows
    void (*give_up)(struct sink *s); // frees it, and drops what is not over
};
struct sink {
    const struct sink_ops *ops;
    const struct sink_events *events;
    void *ctx;
};

// What it is told. Borrowed as long as the sink lives.
struct sink_mail {
    struct loop *loop;
    const struct conf *conf;
    const struct conf_gateway *gateway;
    const struct envelope *envelope;
    const struct envelope_rcpt *rcpt;
    const struct mailbox *box;
    uint64_t id;
    struct buf *record; // what happens, in lines
};
struct sink *maildir_open(const struct sink_mail *mail, const struct sink_events *events,
                          void *ctx);
struct sink *program_open(const struct sink_mail *mail, const struct sink_events *events,
                          void *ctx);

// Could the gateway take mail? Without any. Blocks.
bool maildir_look(const struct conf_gateway *g, struct err *err);
bool program_look(const struct conf_gateway *g, struct err *err);
