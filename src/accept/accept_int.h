// SPDX-License-Identifier: ISC
// What the files of accept share.
#pragma once

#include "accept/accept.h"
#include "accept/relay.h"

#include "base/list.h"
#include "base/map.h"
#include "mail/header.h"
#include "proto/smtp_server.h"
#include "sys/stream.h"
#include "sys/tls.h"
#include "sys/worker.h"

enum {
    COUNT_SLOTS = 16384, // clients are counted by a hash of their address
    TALLIES = 1024,      // names of listeners there ever were; what comes later shares the last
    LOGIN_FAILURES = 5,  // then 421
};

// Of the listeners of one name. A tally stays where it is until the end: listeners come and go with
// reloads, sessions outlive them.
struct tally {
    _Atomic(const char *) name; // owned; NULL: free, and so are all behind it
    atomic_uint open;
    atomic_uint_least64_t connections, turned_away, messages, refused;
};

// Shared by the loops of the process: connections, all, by listener, and by client.
struct counts {
    atomic_uint refs;
    atomic_uint sessions;
    atomic_uint clients[COUNT_SLOTS];
    struct tally tallies[TALLIES];
};

// One address listened on.
struct point {
    struct link link; // in accept.points, or change.points
    struct accept *accept;
    struct net_addr at; // as configured
    struct listener *listener;
    struct conf *conf; // a reference; owns `set`
    const struct conf_listener *set;
    struct tally *tally;
    struct tls_server *tls; // NULL: none
    bool submit;            // the socket for programs of this machine
    bool said;              // that it listens
};

struct verdicts; // logins that were right a moment ago (users.c)

struct accept {
    struct loop *loop;
    struct store *store;
    struct names *names; // NULL: sender_domain is not checked
    struct conf *conf;
    struct counts *counts;
    struct link points;
    struct link sessions;
    size_t session_count;
    size_t orphans;                // commits, logins and relays under way whose session is gone
    const struct relay_ops *relay; // NULL: nobody passes mail through
    void *relay_ctx;
    bool primary; // owns the unix sockets
    bool stopping;
    struct timer stop_timer;
    struct defer stop_check;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    bool (*may_accept)(void *ctx, struct err *why);
    void *gate_ctx;
    struct tls_server *self_signed;
    const char *self_signed_name; // owned
    struct verdicts *verdicts;
    struct buf out; // replies, between the machine and the stream; empty between callbacks
    struct conf_listener submit_set;
};

struct transaction;
struct login;

struct session {
    struct link link; // in accept.sessions
    struct accept *accept;
    struct conf *conf; // a reference
    const struct conf_listener *set;
    struct tally *tally;
    struct tls_server *tls;
    struct stream *stream;
    struct smtp_server *machine;
    struct smtp_server_settings settings;
    struct transaction *transaction; // NULL: none
    struct login *login;             // being checked
    const char *user;                // owned; NULL: not logged in
    struct timer clock;
    int64_t began_ms, moved_ms; // loop_now_ms: the start, the last progress
    int64_t content_ms;         // when the message under way began to come; 0: none
    int64_t fruit_ms;           // when mail last moved on: a sender, recipient or piece taken
    uint64_t progress;
    uint32_t slot; // in counts.clients
    uint32_t messages;
    unsigned login_failures;
    bool eof;
    bool guessing; // `tls: auto`: the first byte has not come
    bool greeted;
    bool start_tls;  // as soon as the 220 is written
    bool clogged;    // the client does not read its replies
    char client[64]; // "192.0.2.1" or "uid 1000"
};

// accept.c
void accept_count_changed(struct accept *a); // a session or orphan went

// session.c
void session_begin(struct point *point, struct stream *stream);
void session_say_goodbye(struct session *s, uint16_t code, const char *enhanced, const char *text);
void session_free(struct session *s);
bool session_busy(const struct session *s);
void session_answer(struct session *s, int verdict, const struct smtp_server_reply *reply);

// transaction.c
extern const struct smtp_server_ops session_ops;
void transaction_drop(struct session *s); // what is not yet committed
// The store has the message and has not answered: it may be on disk, so nothing may be said.
bool transaction_committing(const struct session *s);

// users.c
struct verdicts *verdicts_new(void);
void verdicts_free(struct verdicts **verdicts);
int session_auth(void *ctx, const char *user, const char *password,
                 struct smtp_server_reply *reply);
void login_drop(struct session *s);
