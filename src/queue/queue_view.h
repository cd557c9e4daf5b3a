// SPDX-License-Identifier: ISC
// What others may see of the conductor, and ask of it. On the conductor's loop.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/netaddr.h"
#include "queue/queue.h"

struct queue_counts {
    uint64_t messages, recipients, held, busy, waiting_ready, waiting_retry;
    uint64_t later;    // messages for a stated time that has not come
    int64_t oldest_ms; // accepted; 0 without messages
    uint64_t accepted, delivered, relayed, returned, bad; // since the start
    uint64_t passed; // messages a next hop took while their client waited; not in the others
};
void queue_counts(struct queue *q, struct queue_counts *out);

struct queue_gateway_view {
    const char *name;
    const char *state; // "up", "untried", "resting", "probing", "disabled"
    size_t active, waiting;
    size_t open;              // connections, in use or idle
    uint64_t ok, failed;      // transactions since the start
    int64_t rest_ms;          // still resting for so long
    int64_t latency_ms;       // of the last good transaction, -1 unknown
    const char *last_trouble; // "" without; borrowed
    size_t destinations;      // direct: with something waiting
    size_t destinations_resting;
    // Is it used now, for mail of normal class of any sender? If not, why (route/reason.h): "not on
    // network office", "rests after trouble (the login was refused) for 5 min". Of direct delivery
    // also what is known of port 25 here.
    bool usable;
    char why[200];
    char address[NET_ADDR_TEXT]; // last connected to, or first of its cached addresses; "" unknown
    unsigned score;              // 0 to 1000: how much of the last attempts went well
    int64_t since_ms;            // wall clock: up or resting since
    uint64_t server_size;        // the largest mail its server said it takes, 0: not known
    int64_t probe_ms;            // wall clock of the last active probe, 0: none
    // What is remembered of the server, to know it again on other networks.
    bool seen, seen_tls, seen_verified, seen_auth;
    const char *seen_as; // host name of its greeting; borrowed
    bool intercepted;    // what answers now is not that
    struct queue_quota_view {
        enum conf_unit unit;
        enum conf_period period;
        uint64_t used, limit, reserve;
        int64_t reset_ms;    // wall clock
        int64_t exhausts_ms; // at the pace of now, 0: not before the reset
        bool learnt;         // from a refusal, not from the configuration
    } quotas[UNITS * PERIODS + 1];
    size_t quota_count;
    // Wall clock: until then all counts as used, because the counts were lost.
    int64_t quota_lost_ms;
    // Recipients of this month, where they are counted; else the times are 0.
    uint64_t month_recipients;
    int64_t month_begin_ms, month_end_ms;
};
size_t queue_gateways(struct queue *q, struct queue_gateway_view *out, size_t max);

struct queue_rcpt_view {
    struct str address;
    enum rcpt_state state;
    unsigned tries;
    bool busy, in_doubt;
    bool soon;           // its way is open: it goes when it is its turn there
    int64_t next_ms;     // wall clock; 0: as soon as its way is open
    const char *gateway; // the last one tried, "" never
    struct outcome last; // class OK with empty text: nothing was tried
};
struct queue_message_view {
    uint64_t id;
    bool held;
    const char *hold_reason;
    const char *state;  // "waiting", "sending", "held", "returning", "later", "deleted"
    int64_t send_ms;    // "later": when it was wished to be sent (wall clock)
    int64_t deleted_ms; // "deleted": since when (wall clock)
    uint64_t size;
    struct envelope envelope;
    struct queue_rcpt_view *rcpts;
};
// Fills from the arena. False when the id is neither in the queue nor in the bin.
bool queue_show(struct queue *q, uint64_t id, struct arena *arena, struct queue_message_view *out);
// Its content, as long as the source is kept; NULL with err, or without when the id is not in the
// queue.
struct body_source *queue_body(struct queue *q, uint64_t id, struct err *err);
// Ids in order (oldest first) after `after`, at most max; returns how many. `pattern` (may be
// empty) is a glob over sender and recipients.
size_t queue_list(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids, size_t max);

// Orders. False: not in the queue. `who` goes into the timeline. id 0 means all messages (retry
// only).
bool queue_retry(struct queue *q, uint64_t id);
// The message's own clocks only: what rests goes on resting. For those who may not order more.
bool queue_retime(struct queue *q, uint64_t id);
// Not to be sent before that moment of the wall clock, whatever was wished so far; one that has
// passed is queue_send_now. What is on its way stays so.
bool queue_send_at(struct queue *q, uint64_t id, int64_t at_ms, const char *who);
// It waits for no stated time any more; when it did, its age counts from now. As queue_retime.
bool queue_send_now(struct queue *q, uint64_t id, const char *who);
bool queue_hold(struct queue *q, uint64_t id, const char *who);
bool queue_release(struct queue *q, uint64_t id, const char *who);
// Into the bin, where it stays for queue.keep_deleted; or for good, also out of the bin. False with
// err when a transaction is under way (it may be delivered this moment).
bool queue_drop(struct queue *q, uint64_t id, bool for_good, const char *who, struct err *err);
// Back from the bin, as it was; its age counts from now. False: not there.
bool queue_restore(struct queue *q, uint64_t id, const char *who);
// What is in the bin, as queue_list.
size_t queue_deleted(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids,
                     size_t max);

// ---- The choice by hand (AR-9, AR-10) ----
// `name` empty: automatic again. False with err: no such gateway, or it is disabled.
bool queue_pick(struct queue *q, struct str name, const char *who, struct err *err);
// The one behind the picked or active one, in the order of the file, going round. Those that no
// mail could use now (disabled, on another network, outside their hours, allowance used up) are
// passed over and named with the cause in `passed`. Its name; NULL with err: there is no other.
const char *queue_pick_next(struct queue *q, const char *who, struct buf *passed, struct err *err);
const char *queue_picked(struct queue *q, int64_t *until_ms_out); // NULL: none; 0: no end by time
// The gateway ordinary mail would take at this moment and why (AR-26); NULL with why there is none.
enum { QUEUE_WHY = 512 };
const char *queue_active_gateway(struct queue *q, char why[QUEUE_WHY]);
struct watch_snapshot *queue_where(struct queue *q); // borrowed; NULL before the first
// How it stands with a network that is dialled, by its index: "dialled by Waypost, holds for 12 s".
// False: that one is not.
bool queue_dial(struct queue *q, size_t network, struct buf *out);

// Nothing of its allowances counts as used. False with err: no such gateway.
bool queue_reset_quota(struct queue *q, struct str name, const char *who, struct err *err);
// What answers there now is the server, and is remembered anew. False with err: no such gateway, or
// nothing is remembered of it.
bool queue_forget_seen(struct queue *q, struct str name, const char *who, struct err *err);

// ---- The decision in words ----
// What else it should be asked for than this moment.
struct queue_assume {
    bool networks_given;
    uint64_t networks;       // set
    const char *const *down; // names of gateways that are down
    size_t down_count;
    int64_t at_ms; // wall clock, 0: now
};
// For a waiting message, each waiting recipient. False: not in the queue.
bool queue_explain(struct queue *q, uint64_t id, const struct queue_assume *assume,
                   struct buf *text_out, struct json *json_out); // one of the two
// For an envelope (made up, or of a message long gone) with one recipient. `done` runs on the loop,
// also at once: the recipient's mail exchangers may have to be looked up first. What is passed is
// copied. Exactly one of text and json is given to `done`.
void queue_explain_envelope(struct queue *q, const struct envelope *envelope, struct str rcpt,
                            uint64_t size, const struct queue_assume *assume, bool json,
                            void (*done)(void *ctx, struct str text), void *ctx);

// What each recipient of a waiting message waits for that is neither held nor under way: the cause
// without the times, in the same words for all that wait for the same ("for company: not on network
// office", "for the next try"), and when a clock ends it (wall clock, 0: none does). The first
// recipients only, as in queue_explain.
void queue_waits(struct queue *q, uint64_t id,
                 void (*each)(void *ctx, const char *why, int64_t until_ms), void *ctx);

// How often each route was taken since the start; the last one is the default chain.
const uint64_t *queue_route_hits(struct queue *q);

// ---- What another configuration would change for the mail that waits (D-7) ----
struct queue_diff {
    uint64_t recipients, same, stranded; // stranded: would have no way
    size_t move_count;
    struct queue_diff_move {
        const char *from, *to; // names of gateways, "" none; in the arena
        uint64_t recipients;
        uint64_t example; // a message's id
    } * moves;            // most first
};
void queue_diff(struct queue *q, struct conf *candidate, struct arena *arena,
                void (*done)(void *ctx, const struct queue_diff *diff), void *ctx);

// ---- Trying a gateway (WR-8) ----
// A probe without mail when `rcpt` is empty, else a real test message to it. `done` runs once.
struct queue_trial {
    const char *gateway; // in
    enum conf_probe_depth depth;
    struct str sender, rcpt;
    struct arena *arena;
    void (*done)(struct queue_trial *trial);
    void *ctx;
    struct outcome outcome; // out
    const char *verdict;    // in plain words, what it means and what to do
    char facts[200];
    struct buf transcript; // the asker frees it
};
// False with err: no such gateway. The trial is the asker's and must live until `done`.
bool queue_try(struct queue *q, struct queue_trial *trial, struct err *err);

// ---- Detours (D-16) ----
struct queue_detour_view {
    const char *provider, *gateway;
    int64_t until_ms; // wall clock; INT64_MAX: pinned
    const char *why;
};
size_t queue_detours(struct queue *q, struct queue_detour_view *out, size_t max);
// Pins (`gateway`), or forgets (NULL).
bool queue_detour_set(struct queue *q, struct str provider, const char *gateway, struct err *err);
