// SPDX-License-Identifier: ISC
// Which way next? A pure function of envelope, configuration, place, gateways' state and time,
// asked anew at every attempt.
#pragma once

#include "base/limits.h"
#include "conf/conf.h"
#include "mail/envelope.h"
#include "mail/outcome.h"

// What the conductor knows of a gateway at this moment; indexed like conf.gateways. For `direct`
// this is the gateway as a whole; single destinations rest by themselves (direct_rest_ms).
struct plan_gateway {
    int64_t rest_until_ms; // wall clock; in the future: it is resting after trouble
    enum outcome_class rest_class;
    // Its quota is used up until then, for urgent mail and for other mail (which leaves the reserve
    // alone); 0: there is some left. By enum envelope_priority: [PRIORITY_URGENT] and the rest.
    int64_t quota_until_ms[2];
    // What its server said last to be the largest mail it takes (RFC 1870); 0: nothing yet. It may
    // say another thing next time, so this is told, and decides nothing.
    uint64_t server_size;
    bool in_subnet; // one of its addresses lies inside one of our subnets (AR-3)
};
enum { QUOTA_OTHERS = 0, QUOTA_URGENT = 1 }; // of quota_until_ms

// Where the machine is; the same for all until the next change.
struct plan_place {
    uint64_t networks; // set of indexes of conf.networks that hold now
    bool offline;      // no address but loopback, or no route out: nothing but loopback gateways
    bool captive;      // only the portal answers
    bool metered;
    // The gateway picked by hand, UINT32_MAX: none. It comes first in the default chain, whatever
    // its networks, and first in every route that names it.
    uint32_t picked;
};

// A learnt or pinned detour (D-16): mail for this provider does not go direct.
struct plan_detour {
    const char *provider; // of the recipient's mail exchangers: "outlook.com"
    uint32_t gateway;     // goes there instead of direct
    int64_t until_ms;     // wall clock; 0: until it is taken back (pinned)
};

struct plan_input {
    const struct conf *conf;
    const struct plan_gateway *gateways;
    const struct plan_place *place; // NULL: online, on no network
    const struct plan_detour *detours;
    size_t detour_count;

    // The message.
    const struct envelope *envelope; // sender, client, user, listener, priority, kept headers;
                                     // its recipients are not looked at. NULL: no mail in
                                     // particular, for plan_step_state only
    struct str rcpt;
    uint64_t size;
    const char *const *mx; // the recipient's mail exchangers, ended by NULL; NULL: not known (yet)
    bool mx_failed;        // not known and not to be had: rules over them do not match

    int64_t now_ms;          // wall clock
    unsigned minute_of_week; // local time, from Monday 00:00; only looked at when conf.asks_hours
    int64_t age_ms;          // since it was accepted
    unsigned tries;          // attempts that counted
    unsigned from_step; // 0: begin; n: the n-th step (counted from 0: n - 1) has just failed with
                        // last_class
    enum outcome_class last_class;
    uint64_t share;         // a number that spreads equal priorities (the message id will do)
    int64_t direct_rest_ms; // the recipient's own destination rests until then (direct delivery),
                            // 0: no
};

enum plan_kind {
    PLAN_GO,   // through `gateway` now
    PLAN_WAIT, // no way now: `gateway` is the first choice that rests, until_ms when to ask again
    PLAN_END,  // the chain is used up (this round), or the trouble does not lead on
    PLAN_NONE, // nothing configured can carry it
    PLAN_MX,   // a rule asks for the recipient's mail exchangers: look them up, then ask again
};

// Why a step is (not) taken; also the words of `route explain`.
enum plan_state {
    STEP_OPEN,
    STEP_DISABLED,
    STEP_NETWORK,     // bound to networks that do not hold now
    STEP_HOURS,       // it sends at other times of the week, until ..
    STEP_OFFLINE,     // the machine has no network, or only a captive portal's
    STEP_SENDER,      // may not carry this sender
    STEP_SIZE,        // the mail is too large for it
    STEP_QUOTA,       // used up until ..
    STEP_RESTS,       // after trouble, until ..
    STEP_EARLY_TRIES, // `after: {tries: N}`
    STEP_EARLY_TIME,  // `after: {time: T}`
    STEP_CLASS,       // the trouble of the step before does not lead here (`on`)
    STEP_STATES
};

struct plan {
    enum plan_kind kind;
    uint32_t gateway;
    unsigned step;         // counted from 1: give as from_step when it fails
    enum plan_state state; // WAIT: why the first choice is not open
    bool rests;       // WAIT: a lane to wait in (RESTS, QUOTA, NETWORK, HOURS, OFFLINE); else the
                      // message is too young
    int64_t until_ms; // WAIT: wall clock, INT64_MAX: until something changes
    unsigned sooner;  // WAIT: the step that opens at until_ms, when that is not `step`; else 0
    int64_t age_ms;   // WAIT: wall clock when a step comes of age, INT64_MAX: none will
    int64_t parallel_ms; // GO, urgent mail: begin the step after it beside it after so long; 0: no
    int route;           // index into conf.routes, -1: the default chain
};
struct plan plan_next(const struct plan_input *in);

// The route that applies: index, -1 for the default chain, -2: needs the mail exchangers.
enum { ROUTE_DEFAULT = -1, ROUTE_NEEDS_MX = -2 };
int plan_route(const struct plan_input *in);

// Does a route match, and which of its conditions does not? The words of `route explain`: NULL when
// it matches, else "recipient", "sender", "client", "listener", "mx", "size", "header", "class",
// "network", "time".
const char *plan_route_miss(const struct plan_input *in, const struct conf_route *route);

// Classes that lead to a step that names none itself: all but refused, doubt, ok and local.
uint32_t plan_default_on(void);

// Why a gateway stands where it does in the chain (AR-26): the words of status.
enum plan_rank {
    RANK_PICKED,
    RANK_NETWORK,  // bound to networks, one of which holds
    RANK_SUBNET,   // bound to none, but inside one of our subnets
    RANK_PRIORITY, // also those bound to networks that do not hold, at the end
    RANK_FALLBACK,
    RANK_ROUTE,
    RANK_DETOUR, // put before direct: the recipient's provider does not take mail from here
    RANKS
};
const char *plan_rank_name(enum plan_rank rank); // "picked by hand", "its network holds", ...

// The chain as steps, whichever way it was configured; empty when the mail exchangers are needed
// first (ROUTE_NEEDS_MX). Every gateway of the default chain is in it, also those bound to another
// network: their state says why. Not in it: what `choice.fallback` or `automatic: false` excludes.
enum { PLAN_CHAIN = LIMIT_GATEWAYS + 1 }; // and direct
struct plan_chain {
    int route;
    size_t count;
    struct conf_step steps[PLAN_CHAIN]; // `on` filled in
    uint8_t rank[PLAN_CHAIN];           // enum plan_rank
    const struct plan_detour *detour;   // the one among them, NULL: none
};
void plan_chain(const struct plan_input *in, struct plan_chain *out);

// The state of one step: the first in the order of the enum that applies. *until_ms: for HOURS,
// QUOTA, RESTS, EARLY_TIME (wall clock), else INT64_MAX.
enum plan_state plan_step_state(const struct plan_input *in, const struct conf_step *step,
                                int64_t *until_ms);
const char *plan_state_name(enum plan_state state); // "open", "disabled", "network", ... for JSON

// The same of step i (from 0) of a chain. `after: {tries: N}` counts the attempts of the steps
// before: where none of them can ever be tried it asks for nothing. CLASS for a step that the round
// has passed already (i < from_step) or whose `on` does not name last_class.
enum plan_state plan_chain_state(const struct plan_input *in, const struct plan_chain *chain,
                                 size_t i, int64_t *until_ms);

// The names of a set of networks: "office, home".
struct buf;
void plan_networks(const struct conf *conf, uint64_t set, struct buf *out);
