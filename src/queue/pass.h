// SPDX-License-Identifier: ISC
// Mail that goes through while its client waits, and never is in the queue: the conductor chooses
// its way by the same plan, holds a place in the gateway's lane and its allowance for it, and
// learns from what came of it. Who talks to the gateway is somebody else (the room proxy).
//
// A `struct pass` is one such transaction. It belongs to its session loop; from queue_pass_ask
// until `answered` runs there it is the conductor's, but for `gone`. Every transaction that asked
// anything asks PASS_END last, and is then forgotten here.
#pragma once

#include "base/list.h"
#include "queue/queue.h"

#include <stdatomic.h>

enum pass_question {
    // A way for the last recipient of the envelope; those before it have been taken over the way
    // held. When it is the only one, a way held that is not its own is given up first.
    PASS_WAY,
    PASS_AGAIN,   // the server's last word, or that of the way to it, is `outcome`: what now?
    PASS_CONTENT, // `size` is known now: may it go?
    PASS_END,     // over, `outcome` is what came of it; LOCAL: nothing that anybody could learn of
};
enum pass_answer {
    PASS_GO,      // by `gateway` (WAY, AGAIN), or as it stands (CONTENT, END)
    PASS_VERDICT, // AGAIN: no other way helps, the client is to hear it; the way is still held
    PASS_APART,   // WAY: this recipient goes another way than the one held, which still is
    PASS_NONE,    // no way now: `why`. Of AGAIN: none is held
};

// What a transaction holds of its gateway's allowances.
struct gateway_quota;
struct quota_charge {
    struct gateway_quota *owner; // NULL: of none
    uint64_t n[UNITS];
    bool spent; // it took the last of it
};

struct pass {
    struct post post; // internal; first
    struct queue *queue;
    struct loop *home; // `answered` runs there
    size_t loop;       // its number among the session loops
    void (*answered)(struct pass *p);
    atomic_bool gone; // nobody waits for an answer: give up at once

    // In, borrowed until answered.
    enum pass_question question;
    uint64_t id;
    const struct envelope *envelope;
    uint64_t size;          // 0: not announced
    struct outcome outcome; // AGAIN (refined by what is known of such replies), END
    int64_t latency_ms;     // END
    size_t taken;           // END: recipients the server took, or may have taken
    size_t open;            // internal: connections of the way held in this loop

    // Out.
    enum pass_answer answer;
    struct conf *conf; // while a way is held; the conductor's reference
    const struct conf_gateway *gateway;
    char domain[LIMIT_DOMAIN + 1]; // direct delivery: of the recipients; else ""
    char why[320];

    // The conductor's.
    struct link waiting; // in queue.passes
    int64_t until_ms;    // mono: how long it may wait there; 0: it has not waited
    void (*again)(struct queue *q, struct pass *p); // what it waits to do
    struct lane *lane;                              // NULL: no way is held
    bool unproven;
    unsigned moves, step, from_step, conf_age, place_age;
    enum outcome_class last_class;
    struct quota_charge charge;
};
void queue_pass_ask(struct pass *p); // on its session loop
