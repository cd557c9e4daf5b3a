// SPDX-License-Identifier: ISC
// The conductor's own structures; for the files of this room only.
//
// A message waits in exactly one of two ways for each of its recipients: in the heap of due times
// (the retry clock), or in a lane. A lane is one way out: a gateway, or for direct delivery one
// destination. The recipients of a message that wait in one lane are a leg. A lane that rests keeps
// its legs, so a million messages behind a dead gateway cost nothing until it wakes; when another
// gateway wakes, the resting lanes' legs are reconsidered a slice at a time. In a lane too the
// message stands in the heap, for the moment it is to be looked at again: late, expired, or another
// step of its chain has come of age. So neither expiry nor a failed probe walks the queue.
//
// A lane that woke from a rest is probing: one transaction decides. Until then its way counts as
// resting for all other mail, so nobody joins a dead gateway once more at every probe.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "queue/pass.h"
#include "queue/queue.h"
#include "queue/queue_view.h"
#include "route/judge.h"
#include "route/plan.h"
#include "watch/watch.h"

#include <stdatomic.h>

enum {
    RCPT_BUSY = 1,    // in a transaction
    RCPT_CLOSING = 2, // its end is being written
    RCPT_DOUBT = 4,
    RCPT_RETURN = 8,  // is to be returned at next_s (notices have a rate)
    RCPT_ROUTED = 16, // counted among those who took its route
    RCPT_TWIN = 32,   // in two transactions
    RCPT_OLD = 64,    // its last trouble is one of an earlier run
};
struct qrcpt {
    uint32_t next_s; // wall clock; not before; in a lane: to be planned anew then
    uint16_t tries;
    uint16_t leg;       // number of the leg it waits in, 0 = none
    unsigned state : 4; // enum rcpt_state
    unsigned class : 4; // of the failure of `step`
    unsigned flags : 8;
    unsigned step : 16;     // of the chain, that failed last in this round; 0 = a new round
    uint32_t doubt_until_s; // while RCPT_DOUBT: only last->gateway until then
    const struct trouble *last;
};

_Static_assert(OUTCOME_CLASSES <= 16 && RCPT_DROPPED < 16 && PLAN_CHAIN < 65536, "their bits");

struct lane;
struct leg {
    struct link in_lane; // in lane->waiting
    struct lane *lane;   // NULL: free
    uint16_t number;     // 1: the leg in the message itself
};
// A further leg of a message with recipients behind several lanes.
struct far_leg {
    struct leg leg; // first
    struct qmsg *msg;
    struct far_leg *next;
};

// The texts that most messages of one client have in common, as they stand in the packed envelope
// (sender to listener).
struct common {
    unsigned refs;
    uint16_t number; // in queue.common_table
    struct str text; // the bytes lie behind this struct
};

// What few messages have, or only for the moment they go through.
struct qmsg_more {
    struct blob *blob; // the body while it is in memory
    char *hold_reason;
    struct far_leg *legs;
    int64_t send_ms;    // wall clock; it was wished that it is not sent before; 0: no such wish
    int64_t deleted_ms; // wall clock; since when it is in the bin
};

// A million of these wait at times: every byte counts, so fields share words, and the body's place
// is told in fewer bytes than by struct store_body_ref.
struct qmsg {
    uint64_t id;
    uint64_t body_size : 48;
    uint64_t common : 16; // number of the text cut out of the packed envelope; 0: none
    int64_t accepted_ms;
    struct qmsg_more *more; // NULL: nothing of it
    struct leg leg0;        // most messages need one
    struct heap_node due;   // wall-clock ms, when some recipient or clock of this message is due
    uint32_t body_offset;   // in units of 8
    uint32_t body_place, body_crc;
    uint32_t warn_s;          // when the notice of delay is due; 0: none to come
    uint32_t packed_len : 24; // of what stands here
    uint32_t priority : 2;
    uint32_t held : 1;
    uint32_t warn_slot : 1; // the notice of delay has its turn at warn_s
    uint32_t mark : 1;      // equal to queue.diff_mark: seen by the dry run under way
    uint32_t later : 1;     // more->send_ms has not come yet (later.c)
    uint32_t copied : 1;    // its copy was handed to the archive
    uint32_t binned : 1;    // it is not in the queue but in the bin (bin.c)
    uint16_t count;
    uint16_t jobs; // transactions and returns under way
    // Then packed_len bytes of the packed envelope, without accepted_ms and what is in common.
    struct qrcpt rcpts[];
};

enum { PRIORITIES = 3 };
struct lane {
    struct str key;     // gateway name, NUL, domain
    uint32_t gateway;   // index in the configuration of now
    const char *domain; // "" but for direct delivery
    struct link waiting[PRIORITIES];
    size_t count, counts[PRIORITIES]; // legs waiting
    unsigned active, window, failures;
    unsigned open;         // connections that may stand: the sum over its loops
    unsigned patience;     // good transactions for one more of window; above 1 after "too many"
    unsigned goods;        // counted towards patience
    unsigned turns;        // dispatches, for the share of low priorities
    bool proven;           // something went through since it last failed
    bool probing;          // woke from a rest, one transaction decides
    bool forget;           // an empty lane with failures that goes the next time it is looked at
    bool closed;           // its gateway is gone or disabled
    bool aside;            // no way out: who is here waits for something to change; always closed
    bool replan;           // no leg goes before it was planned anew (those behind sweep_left were)
    bool crowded;          // it stands in queue.crowded (or stood there)
    bool search;           // this sweep only looks for a message that may probe an open gate
    int64_t rest_until_ms; // wall clock; 0: well; while probing 1
    struct heap_node wake; // in queue.lane_clock: end of rest, or tokens again
    struct link ready;     // in queue.ready
    struct link sweep;     // in queue.sweeps, while its legs are reconsidered
    size_t sweep_left[PRIORITIES];
    int64_t
        *sent_ms; // a ring of the last `sent_cap` starts, for the gateway's rate; NULL: no limit
    uint32_t sent_cap, sent_at;
    int64_t latency_ms;
    uint64_t ok, failed;
    const struct trouble *trouble; // the last that made it rest
    struct lane_loop *loops;       // by session loop; NULL before the first transaction
};

// Its connections in one session loop (connections.c).
struct lane_loop {
    struct lane *lane;
    struct link idle;      // in queue.idles, while some are idle
    unsigned active, open; // transactions; connections that may stand, never fewer
    unsigned closing;      // of the idle ones: ordered to be closed, not answered yet
};

// One transaction under way.
struct qjob {
    struct deliver_job job; // first
    struct queue *q;
    struct qmsg *msg;
    struct lane *lane;
    struct arena *arena;
    struct body_source *source;
    size_t loop;
    uint32_t *index; // of each recipient
    char *gateway_name;
    unsigned conf_age;     // q->conf_age when it was planned
    unsigned place_age;    // q->place_age then
    struct heap_node twin; // in queue.twins: when the next step is begun beside it
    unsigned ahead;        // 1: it was begun beside another, a step behind that
    bool unproven;         // counted in q->unproven
    struct quota_charge charge;
};

// Where a gateway named by its host stands, as last heard.
struct whereabouts {
    struct net_addr all[LIMIT_ADDRESSES];
    size_t count;
};

// A learnt or pinned detour, beside its place in queue.detours.plan.
struct detour {
    char *provider;
    char *gateway;    // name; it may come back with a reload
    int64_t until_ms; // wall clock; INT64_MAX: pinned
    char *why;
};

struct queue {
    struct conf *conf;
    unsigned conf_age; // counts reloads: steps of an older chain mean nothing
    // Where the machine is, and what follows from it.
    struct watch_snapshot *where; // NULL before the first
    unsigned place_age;           // counts changes: a connection begun before one may just break
    struct plan_place place;
    struct whereabouts *whereabouts; // of each gateway; by index of conf
    unsigned minute_of_week;
    int64_t replan_ms; // mono; of the latest beginning of planning all anew; 0: it is over
    uint32_t chosen;   // the gateway ordinary mail takes, UINT32_MAX: none, or not known yet
    bool chosen_known;
    // What `chosen` was planned from: while it is the same, so is the plan.
    struct {
        struct plan_gateway *gateways; // a copy; NULL: nothing was planned yet
        struct plan_place place;
        unsigned conf_age, minute_of_week;
        int64_t from_ms, until_ms; // wall clock: no rest and no quota ends in between
    } chosen_from;
    int64_t picked_until_ms; // wall clock; 0: no end by time
    uint64_t picked_place;   // watch_mark of where it was picked
    struct lane aside;
    struct heap twins;      // mono ms
    struct map *exchangers; // of domains that rules or detours asked for
    size_t lookups;         // under way
    struct {
        struct plan_detour *plan; // those that lead somewhere in this configuration
        size_t count;
        struct detour *all;
        size_t all_count;
    } detours;
    uint64_t *route_hits; // by route; the last is the default chain's
    struct diff *diff;    // under way
    bool diff_mark;
    struct queue_parts parts;
    bool started, stopping;
    struct link passes;      // that wait for room (pass.c)
    struct quotas *quotas;   // quota.h; NULL before the start
    struct healths *healths; // health.h; NULL before the start
    struct dialups *dialups; // dialup.c
    size_t quota_writes;     // leases on their way to disk
    struct idmap *messages;
    struct idmap *bin; // removed messages
    struct heap bin_clock;
    uint64_t bin_bytes; // of their bodies
    struct heap due;
    struct map *lanes;
    struct heap lane_clock;
    struct link ready;
    struct link sweeps;
    struct plan_gateway *gateways; // by index of conf
    struct troubles *troubles;
    struct map *commons;
    struct common **common_table; // by number; [0] is nobody's
    size_t common_cap;
    uint16_t *common_free; // numbers not in use
    size_t common_free_count;
    struct common *common_last; // the latest, which the next message will mostly have, too
    struct slab slab;           // of the messages
    struct arena *scratch;      // for the moment
    size_t active;              // connections wanted at this moment: transactions under way
    size_t open;                // connections that may stand, idle ones included
    size_t closing;             // of these, ordered to be closed
    struct link idles;          // loops of lanes with idle ones, the longest unused first
    struct link crowded;        // lanes that wait for `open` to fall
    size_t unproven;            // of these, in lanes where nothing went through yet
    struct link unproven_wait;  // lanes that wait for unproven to fall
    size_t direct_resting;      // destinations of direct delivery that rest or are probed
    size_t open_gates;          // gateways that woke and wait for someone to try them
    size_t returns;             // DSNs being made
    size_t next_loop;
    int64_t now_ms;        // wall clock of this turn
    int64_t mono_ms;       // the monotonic clock at that moment
    int64_t notice_ms[3];  // by bounce_kind: the moment up to which notices are given out
    size_t in_lanes, busy; // recipients
    size_t held;           // messages
    size_t later;          // messages, without those that are held as well
    uint64_t oldest;       // id, as last found
    int64_t oldest_at_ms;  // when that was
    uint64_t *listing;     // sorted ids, kept from page to page of a long list
    size_t listing_count;
    int64_t listing_until_ms;
    struct timer timer;
    struct defer turn;
    atomic_uint_fast64_t recipients; // waiting, read by other threads
    atomic_uint_fast64_t recipients_max;
    struct queue_counts counts;
    uint64_t *doubts; // ids adopted before the start that may have been on their way at a crash
    size_t doubt_count, doubt_cap;
    void (*idle)(void *ctx); // of queue_stop
    void *idle_ctx;
};

// queue.c
void queue_wake(struct queue *q); // another turn soon
struct store_body_ref qmsg_body(const struct qmsg *m);
struct blob *qmsg_blob(const struct qmsg *m); // borrowed; NULL: read it from disk
void qmsg_forget_body(struct qmsg *m);        // in memory: it is on disk
struct qmsg_more *qmsg_more(struct qmsg *m);  // made when there is none
struct leg *qmsg_next_leg(struct qmsg *m,
                          struct leg *leg); // from &m->leg0 on; NULL behind the last
struct qmsg *leg_msg(struct leg *leg);
void qmsg_envelope(struct queue *q, struct qmsg *m, struct arena *arena, struct envelope *e_out);
void qmsg_schedule(struct queue *q, struct qmsg *m);   // heap time from its recipients and clocks
void qmsg_plan(struct queue *q, struct qmsg *m);       // every recipient that is due
void qmsg_age(struct queue *q, struct qmsg *m);        // expiry, notice of delay
void qmsg_reconsider(struct queue *q, struct qmsg *m); // both, and the heap
void qmsg_finish_if_done(struct queue *q, struct qmsg *m); // frees it when nothing is left
const struct conf_gateway *queue_gateway(struct queue *q, const struct lane *lane);
bool qmsg_matches(struct queue *q, struct qmsg *m, struct str pattern); // as in queue_list
void qmsg_leave_lanes(struct queue *q, struct qmsg *m);                 // it has no leg then
void queue_now(struct queue *q);                             // reads the clocks, follows jumps
int64_t queue_retry_delay(struct queue *q, unsigned tries);  // ms until the attempt after so many
void queue_check_idle(struct queue *q);                      // after something under way ended
int64_t rcpt_next_ms(struct qmsg *m, const struct qrcpt *r); // for the record: not before
bool queue_record(struct queue *q, const struct store_op *ops, size_t count);

// later.c
int64_t qmsg_send_ms(const struct qmsg *m); // when it was wished to be sent; 0: as soon as it can
int64_t qmsg_born_ms(const struct qmsg *m); // its age counts from here
void later_adopt(struct queue *q, struct qmsg *m, int64_t send_ms);
bool later_waits(struct queue *q, struct qmsg *m); // its moment has not come; ends that when it has
void later_forget(struct queue *q, struct qmsg *m); // it leaves the queue
// Its age counts from now, unless its moment is still to come. False: nothing to be recorded.
bool later_renew(struct queue *q, struct qmsg *m);

// sent.c: a transaction or a notice may have been the last of it. Before results are recorded.
void sent_look(struct queue *q, struct qmsg *m, const char *gateway);

// bin.c
void bin_adopt(struct queue *q, struct qmsg *m, int64_t deleted_ms); // out of the queue
void bin_take(struct queue *q, struct qmsg *m);                      // back into it, unrecorded
void bin_turn(struct queue *q);
int64_t bin_due(const struct queue *q); // wall clock; INT64_MAX: none
void bin_jump(struct queue *q, int64_t by_ms);
void bin_free(struct queue *q); // its messages are in the queue again

// planning.c
struct plan_input planning_input(struct queue *q, const struct qmsg *m, const struct envelope *e,
                                 size_t i);
// What is the same for mail that is in the queue and mail that is not: a fresh message.
struct plan_input planning_fresh(struct queue *q, const struct envelope *e, struct str rcpt,
                                 uint64_t id, uint64_t size);
// It would go direct, but whether there is a detour for it is not known yet.
bool planning_needs_mx(struct queue *q, const struct plan_input *in, const struct plan *plan);
bool planning_shut(struct queue *q, uint32_t gateway); // by where the machine is
// The only gateway a recipient in doubt may ask; UINT32_MAX: it is not in doubt (any more).
uint32_t planning_doubt(struct queue *q, const struct qmsg *m, const struct qrcpt *r);
bool class_of_network(enum outcome_class class); // offline, net, dns, no-record, tls

// place.c
void place_start(struct queue *q); // what the state remembers
void place_reload(struct queue *q, const struct conf *before, struct watch_snapshot *now);
void place_turn(struct queue *q); // picks and detours that are over, the active gateway
uint64_t place_holding(struct queue *q, const struct conf *conf); // the networks of that one
void place_view(struct queue *q, uint32_t gateway, struct queue_gateway_view *v); // usable, why
void place_free(struct queue *q);
unsigned place_minute(int64_t wall_ms); // of the week, local time, from Monday 00:00
void queue_replan(struct queue *q);     // everything that waits, in slices

// dialup.c: networks that are dialled when mail needs them.
void dialup_new(struct queue *q);
void dialup_start(struct queue *q);  // what the state remembers
void dialup_reload(struct queue *q); // by the names of the networks
void dialup_turn(struct queue *q);
void dialup_stop(struct queue *q); // no program runs any more
void dialup_free(struct queue *q);
int64_t dialup_due(const struct queue *q); // wall clock; INT64_MAX: nothing to do
// Where mail without an open way waits: in the lane of the network that is to be dialled for it,
// or aside. `only`: no other gateway may take it; UINT32_MAX: any of its chain.
struct lane *dialup_aside(struct queue *q, const struct plan_input *in, uint32_t only);
struct lane *dialup_lane(struct queue *q, size_t network); // below CONF_NETWORKS; never NULL
size_t dialup_waiting(struct queue *q);                    // legs in all of them
void dialup_used(struct queue *q, uint32_t gateway);       // a transaction of its ended

// pick.c
void pick_start(struct queue *q);
void pick_reload(struct queue *q, const struct conf *before);
void pick_check(struct queue *q); // ends it when its time or its network is over
int64_t pick_due(const struct queue *q);

// exchangers.c: the mail exchangers of domains, looked up once for all who ask.
void exchangers_fill(struct queue *q, struct str domain, struct plan_input *in);
struct lane *exchangers_ask(struct queue *q, struct str domain); // wait here for them
// `done` runs when they are known, or known not to be had; also at once.
void exchangers_when(struct queue *q, struct str domain, void (*done)(void *ctx), void *ctx);
void exchangers_forget_trouble(struct queue *q); // the network is another: ask again
void exchangers_free(struct queue *q);

// detour.c
void detour_start(struct queue *q);
void detour_bind(struct queue *q);  // after a reload: names to indexes
void detour_check(struct queue *q); // forgets what is over
void detour_learn(struct queue *q, uint64_t id, const struct outcome *refused,
                  const char *gateway); // it worked instead
void detour_free(struct queue *q);

// twin.c
enum twin_part {
    TWIN_NONE,  // its outcome decides
    TWIN_OTHER, // failed, and another transaction goes on
    TWIN_LATE,  // another was first
};
void twin_watch(struct queue *q, struct qjob *j); // a transaction begins
void twin_turn(struct queue *q);
int64_t twin_due(const struct queue *q); // wall clock; INT64_MAX: none
enum twin_part twin_settle(struct queue *q, struct qjob *j, size_t i, const struct verdict *v);

// diff.c
void diff_some(struct queue *q); // a slice
void diff_free(struct queue *q);

// lane.c
struct lane *lane_for(struct queue *q, uint32_t gateway, struct str domain);
struct lane *lane_find(struct queue *q, const char *gateway, struct str domain); // NULL: none
void lane_add(struct queue *q, struct lane *lane, struct qmsg *m, size_t rcpt);
void leg_remove(struct queue *q,
                struct leg *leg); // out of its lane; its recipients have no leg then
void lane_dispatch(struct queue *q);
// Who waits in it goes as soon as it is their turn: it neither rests nor has used up its allowance.
bool lane_soon(struct queue *q, const struct lane *lane);
void lane_job_ended(struct queue *q, struct qjob *job);
size_t lane_loop(struct queue *q, struct lane *lane); // where its next transaction is to run
void lane_look(struct queue *q, struct lane *lane);   // it may go on; from connections.c
// Begins another transaction for recipients of `beside`. False: there is no room for it now.
bool lane_twin(struct queue *q, struct lane *lane, const struct qjob *beside, const uint32_t *index,
               size_t count);
// For transactions that never wait in a lane (pass.c): may one more begin now? Enter says what
// leave is to be told.
bool lane_open(struct queue *q, struct lane *lane, size_t loop);
bool lane_enter(struct queue *q, struct lane *lane, size_t loop);
void lane_leave(struct queue *q, struct lane *lane, size_t loop, bool unproven, size_t open);
void lane_good(struct queue *q, struct lane *lane, int64_t latency_ms);
void lane_rest(struct queue *q, struct lane *lane, const struct outcome *why, int64_t least_ms);
void lane_busy(struct queue *q, struct lane *lane); // "too many connections": fewer from now
void lane_sweep_start(struct queue *q, struct lane *lane);
void lane_sweep_some(struct queue *q); // for LIMIT_REPLAN_MS at most
void lane_wake_due(struct queue *q);
void lane_free_all(struct queue *q);
void lane_rebind(struct queue *q);                      // after a reload
void lane_aside(struct lane *lane);                     // a new one without a way out
void lane_fresh(struct queue *q, struct lane *lane);    // its trouble is forgotten, as if untried
void lane_replan_all(struct queue *q);                  // nothing goes before it was planned anew
void lane_end_rest(struct queue *q, struct lane *lane); // now, whatever its clock says
void lane_shift_clock(struct queue *q, int64_t by_ms);
struct leg *qmsg_leg(struct qmsg *m, unsigned number);
void rcpt_leave(struct queue *q, struct qrcpt *r); // its leg
int64_t lane_direct_rest(struct queue *q, struct str domain);
// An allowance of the gateway is open again; `others`: those who wait elsewhere may take it.
void lane_quota_open(struct queue *q, uint32_t gateway, bool others);
void lane_sweep_gateway(struct queue *q,
                        uint32_t gateway); // those who wait for it may go elsewhere
// It rests until then without another failure being counted.
void lane_rest_on(struct queue *q, struct lane *lane, int64_t until_ms);
void lane_half_open(struct queue *q, struct lane *lane); // the rest is over: one message decides

// connections.c: how many connections stand, by lane and session loop.
void connections_start(struct queue *q);
size_t connections_most(const struct queue *q);            // of all lanes together
void connections_need(struct queue *q, struct lane *lane); // lane->loops is there
// May the lane begin one more transaction in that loop (or ANY_LOOP): over an idle connection
// there, or over another one while it has fewer than `most`? False: what is in the way is ordered
// to be closed, and lane_look comes when it is.
bool connections_room(struct queue *q, struct lane *lane, size_t loop, unsigned most);
enum { ANY_LOOP = QUEUE_LOOPS }; // instead of the number of one
bool connections_idle(const struct queue *q, const struct lane *lane, size_t loop); // one is free
void connections_begin(struct queue *q, struct lane *lane, size_t loop);
void connections_end(struct queue *q, struct lane *lane, size_t loop, size_t open);
void connections_told(struct queue *q, struct lane *lane, size_t loop, size_t open);
void connections_make_room(struct queue *q, size_t wanted);  // under the ceiling of all
void connections_close(struct queue *q, struct lane *lane);  // its idle ones
void connections_forget(struct queue *q, struct lane *lane); // it is freed

// What the timeline tells of the attempt behind results.
struct attempt {
    const char *gateway, *facts; // may be NULL
    struct str transcript;       // empty: none, or told already
};

// pass.c
void pass_turn(struct queue *q); // who waits for room asks again
void pass_stop(struct queue *q); // nobody waits any more
int64_t pass_due(const struct queue *q);

// settle.c
void settle_job(struct deliver_job *job);
// The verdict as it counts here and now: not when the transaction began where the machine no longer
// is (`place_age`), nor when the network is at fault.
struct verdict settle_verdict(struct queue *q, struct lane *lane, unsigned place_age,
                              const struct outcome *o, struct verdict v);
// What a transaction teaches of its way: it is to rest, or it works.
void settle_blame(struct queue *q, struct lane *lane, const struct outcome *o,
                  const struct verdict *v);
void settle_praise(struct queue *q, struct lane *lane, int64_t latency_ms);
// `at_once`: they have had their turn. Else they may have to wait for the rate of notices.
void settle_fail(struct queue *q, struct qmsg *m, const uint32_t *index, size_t count,
                 const struct attempt *attempt, const struct outcome *outcomes, bool at_once);
void settle_remember(struct queue *q, struct qrcpt *r, const char *gateway,
                     const struct outcome *o);
// For the record: whether it is in doubt. *doubt_ms: until when, the latest of all in the record.
void settle_doubt(const struct qrcpt *r, struct store_rcpt_result *result, int64_t *doubt_ms);

// bounce.c: writes a notice for recipients of m (RETURNED, delay, success) and records both in one
// batch. `at_once` takes no heed of the rate of notices; otherwise, when there is none to spare,
// the moment is returned when it is this one's turn (and nothing is done). 0: done or begun.
enum bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_SUCCESS };
int64_t bounce_start(struct queue *q, struct qmsg *m, enum bounce_kind kind,
                     const struct store_rcpt_result *results, size_t count,
                     const struct attempt *attempt, bool at_once);
