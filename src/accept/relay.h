// SPDX-License-Identifier: ISC
// Who answers for the mail of listeners in mode `proxy`: recipients and messages are handed on
// while their client waits, and what is answered there is said here. Nothing goes into the store.
//
// A `relay` is one transaction, begun with its first recipient. All calls on the session's loop.
// One question is open at a time; its answer is accept_answer, never from inside the question.
#pragma once

#include "mail/envelope.h"
#include "proto/smtp_server_reply.h"
#include "spool/store.h"

struct accept;
struct session; // of accept
struct relay;

struct relay_mail {
    struct accept *accept;
    struct session *session; // who is to be answered, until `end`
    uint64_t id;
    const struct envelope *envelope; // without recipients; copied
    uint64_t size;                   // as announced, 0: not
    size_t recipients;               // at most
};

struct relay_ops {
    struct relay *(*begin)(void *ctx, const struct relay_mail *mail);
    // 1 is: it was taken by the next server.
    void (*rcpt)(struct relay *r, const struct envelope_rcpt *rcpt);
    // All of it, with our Received field in front; the body is the relay's from now on. `envelope`
    // (borrowed) says what its header and content were found to be.
    void (*content)(struct relay *r, const struct envelope *envelope, struct store_body *body);
    // The transaction is over, or its client is gone: no answer any more. The relay is forgotten
    // here; accept_relay_gone says that it has come to its end, also from inside.
    void (*end)(struct relay *r);
};

// Before any session. Without it listeners in mode `proxy` refuse for now.
void accept_set_relay(struct accept *a, const struct relay_ops *ops, void *ctx);
// The answer to the open question: 1 or -1. NULL keeps the usual words, only for 1.
void accept_answer(struct session *s, int verdict, const struct smtp_server_reply *reply);
void accept_relay_gone(struct accept *a);
