// SPDX-License-Identifier: ISC
// Which way next? A pure function of envelope, configuration, gateways' state and time, asked anew
// at every attempt.
#pragma once

#include "conf/conf.h"
#include "mail/outcome.h"

// What the conductor knows of a gateway at this moment; indexed like conf.gateways. For `direct`
// this is the gateway as a whole; single destinations rest by themselves (dest_rest_ms).
struct plan_gateway {
    int64_t rest_until_ms; // wall clock; in the future: it is resting after trouble
    enum outcome_class rest_class;
};

struct plan_input {
    const struct conf *conf;
    const struct plan_gateway *gateways;
    struct str sender;
    struct str rcpt;
    int64_t now_ms;     // wall clock
    int64_t age_ms;     // since it was accepted
    unsigned tries;     // attempts that counted
    unsigned from_step; // 0: begin; n: the n-th step (counted from 0: n - 1) has just failed with
                        // last_class
    enum outcome_class last_class;
    uint64_t share; // a number that spreads equal priorities (the message id will do)
    int64_t
        direct_rest_ms; // the recipient's own destination rests until then (direct delivery), 0: no
};

enum plan_kind {
    PLAN_GO,   // through `gateway` now
    PLAN_WAIT, // no way now: `gateway` is the first choice that rests, until_ms when to ask again
    PLAN_END,  // the chain is used up (this round), or the trouble does not lead on
    PLAN_NONE, // nothing configured can carry it
};
struct plan {
    enum plan_kind kind;
    uint32_t gateway;
    unsigned step;    // counted from 1: give as from_step when it fails
    bool rests;       // WAIT: `gateway` rests; else the message is too young for it
    int64_t until_ms; // WAIT: wall clock, INT64_MAX: until a gateway opens
    int64_t age_ms;   // WAIT: wall clock when a step comes of age, INT64_MAX: none will
    int route;        // index into conf.routes, -1: the default chain
};
struct plan plan_next(const struct plan_input *in);

// The route that applies: index, or -1 for the default chain.
int plan_route(const struct conf *conf, struct str sender, struct str rcpt);

// Classes that lead to a step that names none itself: all but refused, doubt, ok and local.
uint32_t plan_default_on(void);

// The default chain: enabled gateways by priority, equal priority spread by weight; direct alone
// when there is no other. Returns how many were written to out (at most max).
size_t plan_default_chain(const struct conf *conf, uint64_t share, uint32_t *out, size_t max);

// The whole decision in words, a line each: which routes match or not, each step taken or not and
// why.
struct buf;
void plan_explain(const struct plan_input *in, struct buf *out);

// The same as one object without a key: sender, recipient, rules, steps.
struct json;
void plan_explain_json(const struct plan_input *in, struct json *j);
