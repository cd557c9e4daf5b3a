// SPDX-License-Identifier: ISC
// What became of each mail of a story, as the journal of the daemon says it, and what the servers
// saw.
#pragma once

#include "base/json.h"
#include "simulate/story.h"
#include "spool/store.h"

struct tale_event {
    int64_t at_ms;       // since the beginning
    const char *gateway; // NULL: none
    char *text;
    struct tale_event *next;
};
struct tale_rcpt {
    char *address;
    enum rcpt_state state;
    unsigned tries;
    const char *via;       // the last gateway; interned, NULL: none
    const char *tried[32]; // in the order of the attempts
    size_t tried_count;
    unsigned copies;   // that arrived at servers
    unsigned reports;  // to the sender
    int64_t end_ms;    // since the beginning, -1: has not ended
    bool was_in_doubt; // copies beyond the first are explained
};
struct tale {
    struct tale *next;
    char *name;
    unsigned number; // from 1
    uint64_t id;
    char *sender;
    uint64_t size;
    int64_t begin_ms;
    bool held, deleted, was_crash;
    size_t count;
    struct tale_rcpt *rcpts;
    struct tale_event *events, *last;
};

void tales_new(int64_t start_wall_ms, int zone_minutes, bool follow);
void tales_free(void);
struct tale *tale_add(const char *name, const struct envelope *e, uint64_t size);
struct tale *tale_first(void);
struct tale *tale_named(struct str name); // "offer", "offer.2", or its number
void tales_crash(void);                   // copies may come that nobody can explain
void tale_say(struct tale *t, const char *gateway, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Something in the world, not of one mail.
void tales_world(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Of the journal: what a commit says. Driver's memory.
void tales_observe(const struct store_op *ops, size_t count);
void tales_stored(void *ctx, const char *server, const char *rcpt, unsigned number,
                  const char *sender);
const char *tale_state(const struct tale *t, const struct tale_rcpt *r); // "held", "relayed"
const char *tale_clock(int64_t at_ms, char text[32]); // "08:00:05", "day 2 08:00:05"
// Each mail's timeline, and how it ended.
void tales_print(struct buf *out);
void tales_json(struct json *j);
