// SPDX-License-Identifier: ISC
// The store: what is durable. Bodies are taken in, batches of records are committed, bodies are
// read back, and at start everything that is still to be done is handed over. docs:
// src/spool/journal.c opens with the format and invariants.
//
// Threads: a commit may come from any loop; its `done` runs on the loop named in it. One committer
// loop, made here, writes and syncs; one indexer loop feeds SQLite after the fact. Nothing is
// answered before it is on disk.
#pragma once

#include "base/blob.h"
#include "base/err.h"
#include "mail/body.h"
#include "mail/envelope.h"
#include "mail/outcome.h"
#include "spool/trouble.h"
#include "sys/loop.h"

struct store;

struct store_settings {
    const char *dir;        // the spool directory; made (0700) when missing
    uint64_t segment_bytes; // 0: LIMIT_SEGMENT
    uint64_t disk_floor;    // accept nothing new when less than this is free; 0: two segments
    bool no_sync;           // only for the control run of the crash tests: must lose mail
    bool no_index;          // do not feed SQLite
    bool rescue;            // open it even when the disk fails to read parts, which are then lost
    int64_t keep_ms;        // how long the index remembers messages that left; 0: 14 days
};

// State of a recipient. The numbers stand on disk.
enum rcpt_state {
    RCPT_WAITING = 0,
    RCPT_DELIVERED = 1, // by the recipient's own MX or LMTP
    RCPT_RELAYED = 2,   // accepted by a gateway, which is not yet delivered
    RCPT_RETURNED = 3,  // failed, the sender was told (or asked not to be)
    RCPT_BAD = 4,       // failed, nobody was told (no return path, or policy)
    RCPT_DROPPED = 5,   // by an administrator
};
static inline bool rcpt_state_final(enum rcpt_state s)
{
    return s != RCPT_WAITING;
}
const char *rcpt_state_name(enum rcpt_state s);

// ---- Bodies coming in. Used on one loop. ----

// In memory up to LIMIT_BODY_INLINE (and while LIMIT_BODY_MEMORY lasts), else in a file of its own.
struct store_body;
struct store_body *store_body_begin(struct store *store, struct loop *loop, uint64_t size_hint);
// 1: taken. 0: taken, but stop giving until ready(ctx) was called. -1: refused, err says why
// (err->code ENOSPC: disk full).
int store_body_append(struct store_body *body, const char *bytes, size_t len,
                      void (*ready)(void *ctx), void *ctx, struct err *err);
uint64_t store_body_size(const struct store_body *body);
// It is complete; no append is under way. 1: it can be read. 0: it can after ready(ctx) was called.
int store_body_end(struct store_body *body, void (*ready)(void *ctx), void *ctx);
// A source of a body that has ended and is not committed, on its loop; released before the body is
// aborted. NULL with err.
struct body_source *store_body_read(struct store_body *body, struct err *err);
void store_body_abort(struct store_body **body); // also with an append still under way

// ---- Commits. ----

struct store_rcpt_result {
    uint32_t index;         // into the envelope's recipients
    enum rcpt_state state;  // after this
    uint16_t tries;         // attempts that counted, so far
    int64_t next_ms;        // WAITING: not before (wall clock)
    struct outcome outcome; // class OUTCOME_OK with phase NONE: nothing was tried (drop, expiry)
    // WAITING:
    bool in_doubt;     // until doubt_ms of the operation
    bool same_trouble; // its last trouble is the one of before (in doubt at another gateway)
};

enum store_op_kind {
    STORE_ACCEPT,   // a new message
    STORE_RESULT,   // an attempt, or another change of recipients
    STORE_HOLD,     // `flag` true: hold, false: release; with `value` STORE_HOLD_BIN: into the
                    // bin of removed mail, out of it, whether it is held or not
    STORE_NOTE,     // text for the timeline only
    STORE_PRIORITY, // `flag` unused, `value` the new priority
    STORE_NOTES,    // one note in the timeline of many: `id` and, rising from there, `more`
    STORE_SEND_AT,  // `at_ms`: not to be sent before, and its age counts from then
};

enum { STORE_HOLD_BIN = 1 };

struct store_op {
    enum store_op_kind kind;
    uint64_t id; // of the message; ACCEPT: from store_next_id
    int64_t wall_ms;
    // ACCEPT
    const struct envelope *envelope; // copied before store_commit returns
    struct store_body *body;         // taken over (also when the commit fails). NULL: only for the
                                     // history, of a message that went through without being kept:
                                     // `results` has the end of each of its recipients
    uint64_t size;                   // without a body: how large it was
    // RESULT
    const char *gateway; // name, NULL when none was used
    const char *facts;   // one line: TLS, peer, milliseconds; may be NULL
    struct str
        transcript; // dialogue without body, at most 64 KiB; goes to the index only; may be empty
    const struct store_rcpt_result *results;
    size_t result_count;
    int64_t doubt_ms; // of those in doubt: until then (wall clock)
    // HOLD, NOTE
    bool flag;
    int value;
    const char *text; // reason or note, may be NULL
    // SEND_AT
    int64_t at_ms;
    // NOTES
    const uint64_t *more;
    size_t more_count;
};

// One atomic batch: after a crash all of its operations are there or none. Everything is copied
// before store_commit returns, except the struct itself, which is the caller's and must live until
// `done` ran.
struct store_commit {
    struct post post; // internal, from here ...
    void *frame;      // ... to here
    struct loop *home;
    void (*done)(struct store_commit *commit); // on home; may be NULL when nobody waits
    bool ok;                                   // in done
    struct err err; // in done, when !ok: what and why. After a failed write or sync the store
                    // refuses everything.
};
// Without operations (count 0) it is done when all that this thread committed before is on disk.
void store_commit(struct store *store, struct store_commit *commit, const struct store_op *ops,
                  size_t count);
// The same for records nobody waits for: delivered with the next group, fails only when the store
// has failed as a whole.
void store_commit_quietly(struct store *store, const struct store_op *ops, size_t count);

uint64_t store_next_id(struct store *store); // never given twice; any thread

// ---- What is to be done. ----

// Where a body lies. Small and copyable.
struct store_body_ref {
    uint64_t offset; // in the segment; in a file of its own: 0
    uint64_t size;
    uint32_t place; // segment number, or 0 for a file of its own named by the message id
    uint32_t crc;   // CRC-32C of the body
};

// A message that must leave. Handed over to the conductor, who frees it with store_message_free.
struct store_message {
    struct post post;
    uint64_t id;
    struct store_body_ref body;
    struct blob *blob; // the body while it is in memory, or NULL; a reference of the message
    bool held;
    const char *hold_reason; // as last given, NULL: none; borrowed for the call of adopt
    bool maybe_repeated; // the last run ended uncleanly while this may have been on its way out (in
                         // doubt)
    int priority;
    int64_t send_ms;    // not to be sent before; 0: as the envelope says
    int64_t deleted_ms; // since when it is in the bin; 0: it is not
    struct str packed;  // envelope_unpack
    size_t count;       // recipients
    struct store_rcpt_state {
        uint8_t state; // enum rcpt_state
        uint16_t tries;
        int64_t next_ms;
        const struct trouble *trouble; // the last, NULL: none; borrowed for the call of adopt
    } * rcpts;                         // NULL: all waiting, never tried
};
void store_message_free(struct store_message **m);

// Opens the directory, takes its lock, replays. `adopt` gets every live message, on this thread,
// before store_open returns. Blocks; NULL with err (another process has the spool; a damaged
// journal: what was found and how to go on).
struct store *store_open(const struct store_settings *settings,
                         void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                         struct err *err);
// Starts the committer and indexer. From here on every message accepted is posted to `conductor`,
// where `accepted` runs. `moved` runs there when compaction gave a body a new place.
void store_start(struct store *store, struct loop *conductor,
                 void (*accepted)(void *ctx, struct store_message *m),
                 void (*moved)(void *ctx, uint64_t id, struct store_body_ref to), void *ctx);
// Everything waiting is written and synced, the end marked clean, the threads ended, the lock
// released.
void store_close(struct store **store);

// May mail be accepted? False with the reason (disk nearly full, failed disk). Cheap, any thread:
// ask before MAIL.
bool store_accepting(struct store *store, struct err *why);
// Has a write or sync failed? Then the process should say so and end: only a restart can know what
// is on disk.
bool store_failed(struct store *store);

// A source for one delivery on `loop`. Keeps the place from being recycled until released. NULL
// with err.
struct body_source *store_body_source(struct store *store, struct loop *loop, uint64_t id,
                                      const struct store_body_ref *ref, struct blob *blob,
                                      struct err *err);

struct store_stats {
    uint64_t segments, segment_bytes, live_bytes, disk_free, groups, records, syncs;
    int64_t last_sync_us, slowest_sync_us;
    uint64_t index_lag; // records the index has not seen yet
    bool failed;
    char failure[256];
};
void store_stats(struct store *store, struct store_stats *out); // any thread

// Calls done(ctx) on `home` when the index has seen all that this thread committed before, and all
// that was answered before, whoever committed it. When the store or the index fails: at once.
void store_index_barrier(struct store *store, struct loop *home, void (*done)(void *ctx),
                         void *ctx);
