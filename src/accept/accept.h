// SPDX-License-Identifier: ISC
// Mail coming in over SMTP and LMTP: listeners, sessions, and the way into the store. One `accept`
// a session loop; every call on that loop's thread, or before the loop was started.
//
// 250 is said only after the message is on disk (store_commit was done and ok). A session never
// relays for a client that is not allowed: who may send is the listener's `clients`, or, where none
// are listed, this machine itself and whoever logs in.
#pragma once

#include "conf/conf.h"
#include "spool/store.h"
#include "sys/loop.h"
#include "sys/names.h"

struct accept;

// Opens the TCP listeners of `conf` (keeps a reference). NULL with err: nothing is left open.
struct accept *accept_new(struct loop *loop, struct conf *conf, struct store *store,
                          struct err *err);
// A store that could not be opened yet when the ports had to be bound (accept_new with NULL).
// Before any session.
void accept_set_store(struct accept *a, struct store *store);
// What cannot be shared by several loops: `<run_dir>/submit.sock`, where programs of this machine
// hand in mail by SMTP and are known by their uid, and listeners at unix paths. Called for one
// `accept` of the process, the one that says in the log where it listens; reloads then keep it so.
bool accept_open_unix(struct accept *a, struct err *err);
// Counts connections together with `first` (limits hold for the process, not for each loop).
// Before any session.
void accept_join(struct accept *a, const struct accept *first);
// For `sender_domain: check`; without names (or NULL) nothing is checked. Borrowed, of the same
// loop. Before any session.
void accept_set_names(struct accept *a, struct names *names);
// One more reason not to take mail now, asked at MAIL besides store_accepting: false with why is
// 452. Any number of loops may ask at once.
void accept_set_gate(struct accept *a, bool (*may_accept)(void *ctx, struct err *why), void *ctx);

// A new snapshot in two steps, so that several loops can change together or not at all: prepare
// opens what is new beside what stands (NULL with err: nothing has changed); apply then cannot
// fail, discard closes what prepare opened. Sessions under way keep the snapshot they began with.
struct accept_change;
struct accept_change *accept_prepare(struct accept *a, struct conf *conf, struct err *err);
void accept_apply(struct accept *a, struct accept_change **change);
void accept_discard(struct accept *a, struct accept_change **change);
// Both in one, for a single loop. False with err: the old one stays.
bool accept_reload(struct accept *a, struct conf *conf, struct err *err);

// No new connections. Idle sessions are told 421, those in a transaction get a bounded time.
// `stopped` (may be NULL) runs from the loop when the last has gone.
enum { ACCEPT_STOP_MS = 10 * 1000 };
void accept_stop(struct accept *a, void (*stopped)(void *ctx), void *ctx);
// Sessions are cut. No commit may be under way: after `stopped`, or after the store has closed and
// the loop has run what it posted.
void accept_free(struct accept **accept);

size_t accept_sessions(const struct accept *a);

// What came to a listener since the start of the process, all its loops together. Any thread.
struct accept_counts {
    uint32_t open;        // connections now
    uint64_t connections; // all that came
    uint64_t turned_away; // of them: not allowed, or too many at once
    uint64_t messages;    // taken, on disk
    uint64_t refused;     // senders, recipients and messages refused by the rules, or for now
};
void accept_counts(const struct accept *a, const char *listener, struct accept_counts *out);
// The address the listener `name` was bound to first, for tests with port 0; NULL when unknown.
const struct net_addr *accept_addr(const struct accept *a, const char *name);
