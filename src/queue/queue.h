// SPDX-License-Identifier: ISC
// The conductor: owns every waiting message, decides when and through which way each goes, and what
// its outcome means. Everything here runs on the conductor's loop unless it says otherwise.
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "deliver/deliver.h"
#include "spool/store.h"

struct queue;

struct queue_parts {
    struct loop *loop; // the conductor's
    struct store *store;
    struct deliver **delivers; // one a session loop
    struct loop **loops;       // the session loops
    size_t loop_count;         // at most QUEUE_LOOPS
    struct state *state;       // what must outlive the process; NULL (tests): nothing does
    struct archive *archive;   // copies of sent mail; NULL (tests): none
};
enum { QUEUE_LOOPS = 64 };

// Adopt may be called before start: first the store needs someone to give the waiting messages to,
// then the parts exist.
struct queue *queue_new(struct conf *conf);
void queue_free(struct queue **q); // nothing under way any more (queue_busy is 0)
void queue_adopt(struct queue *q,
                 struct store_message *m); // takes it over; also the store's `accepted`
void queue_moved(struct queue *q, uint64_t id, struct store_body_ref to);
void queue_start(struct queue *q, const struct queue_parts *parts); // parts are copied
// No new transactions; `idle` runs once when none is under way any more (never from inside this
// call).
void queue_stop(struct queue *q, void (*idle)(void *ctx), void *ctx);
size_t queue_busy(const struct queue *q); // transactions and returns under way
// Another configuration. `now`: the place as judged by it, which is no change of place; NULL: there
// is nobody who watches. Referenced.
struct watch_snapshot;
void queue_reload(struct queue *q, struct conf *conf, struct watch_snapshot *now);

// The machine is somewhere else, or is not on any network: everything that waits is planned anew,
// in slices, what can go now first; no attempt is counted. `what` says what happened, for the log
// and the timelines. The snapshot is referenced.
void queue_network(struct queue *q, struct watch_snapshot *now, const char *what);
// The same place, of which there is more to show: nothing is planned anew.
void queue_same_network(struct queue *q, struct watch_snapshot *now);

// May new mail come in? Any thread. False with why when too many recipients wait.
bool queue_has_room(struct queue *q, struct err *why);
