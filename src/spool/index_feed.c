// SPDX-License-Identifier: ISC
// The writing side of the index. It reads the journal itself, behind the committer, so that
// running, catching up after a crash and building anew are one thing, and nothing piles up in
// memory.
//
// Table notes: one row for each NOTES, which is never taken apart: a crash with a million waiting
// must not rewrite a million rows. Whoever reads a message looks there, too.
//
// Table message: the columns are for searching; `timeline` is the operations as they stand in the
// journal (journal.c), the ACCEPT first; `states` one byte a recipient; `transcript` entries of
// i64 wall, u32 length, text. Table place: one row, what has been applied.
//
// Invariants
//  1. Rows and place change in one transaction: an operation is applied exactly once.
//  2. A message accepted and finished within one batch costs one INSERT; so a batch waits a little.
//  3. A segment is given free (index_feed_segment) only when a checkpoint has brought everything
//     before it to disk: with synchronous=NORMAL a power cut may undo later transactions.
#include "spool/index_feed.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "spool/index_int.h"
#include "spool/store_int.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    BATCH_MS = 200,
    BATCH_FRAMES = 4000,
    BATCH_BYTES = 8 * 1024 * 1024,
    TIMELINE_MAX = 1024 * 1024,
    RECIPIENTS_TEXT = 64 * 1024,
    SWEEP_ROWS = 500,
    SWEEP_MS = 10 * 1000,
    MEND_MS = 5 * 1000,
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS message(id INTEGER PRIMARY KEY, position INTEGER, "
    "accepted_ms INTEGER, sender TEXT, recipients TEXT, subject TEXT, client TEXT, user TEXT, "
    "size INTEGER, state INTEGER, held INTEGER, ended_ms INTEGER, gateway TEXT, class INTEGER, "
    "timeline BLOB, states BLOB, transcript BLOB);"
    "CREATE INDEX IF NOT EXISTS message_position ON message(position);"
    "CREATE TABLE IF NOT EXISTS notes(first INTEGER, last INTEGER, wall_ms INTEGER, text TEXT, "
    "more BLOB);"
    "CREATE INDEX IF NOT EXISTS notes_last ON notes(last);"
    "CREATE TABLE IF NOT EXISTS place(one INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER, "
    "sequence INTEGER);";
static const char *const statements[] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SELECT state, held, ended_ms, gateway, class, timeline, states, transcript FROM message "
    "WHERE id=?1",
    "INSERT OR REPLACE INTO message(id, position, state, held, ended_ms, gateway, class, timeline, "
    "states, transcript, accepted_ms, sender, recipients, subject, client, user, size) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    "UPDATE message SET position=?2, state=?3, held=?4, ended_ms=?5, gateway=?6, class=?7, "
    "timeline=?8, states=?9, transcript=?10 WHERE id=?1",
    "INSERT OR REPLACE INTO place VALUES(1,?1,?2,?3)",
    "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE id>?1 ORDER BY id LIMIT ?2) "
    "AND state<>0 AND ended_ms>0 AND ended_ms<?3",
    "SELECT max(id) FROM (SELECT id FROM message WHERE id>?1 ORDER BY id LIMIT ?2)",
    "INSERT INTO notes VALUES(?1,?2,?3,?4,?5)",
    "DELETE FROM notes WHERE last<(SELECT min(id) FROM message)",
};
enum {
    BEGIN,
    COMMIT,
    LOAD,
    INSERT,
    UPDATE,
    PLACE,
    SWEEP,
    SWEEP_TO,
    NOTES,
    SWEEP_NOTES,
    STATEMENTS
};

// A message as the batch changes it.
struct entry {
    struct entry *next;
    uint64_t id, position;
    bool fresh; // to be inserted
    int64_t accepted_ms, ended_ms;
    struct str packed; // of a fresh one
    uint64_t size;
    uint8_t *states;
    size_t count;
    enum rcpt_state state;
    bool held;
    enum outcome_class class;
    struct str gateway;
    struct buf timeline, transcript;
};

// A note on many messages, to be written with the batch.
struct notes {
    struct notes *next;
    uint64_t first, last;
    int64_t wall_ms;
    struct str text, more;
};

struct index_feed {
    struct store *store;
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENTS];
    struct loop *loop;
    struct timer timer;
    bool broken;     // the database fails: tried again after MEND_MS
    bool complained; // about that
    // Where the reading stands
    uint64_t segment, offset, sequence;
    uint64_t limit; // sequence up to which the journal is on disk
    uint32_t chain;
    bool gap; // the next frame need not follow the one before
    struct segment *pinned;
    struct scan scan;
    // The batch
    struct arena *arena;
    struct idmap *entries;
    struct entry *first, **tail;
    struct notes *notes;
    size_t frames;
    uint64_t bytes;
    bool checkpoint_due;
    uint64_t sweep_after;
    int64_t swept_ms;
    struct link barriers;
    bool stopping;

    _Atomic uint64_t done_segment, done_sequence;
    atomic_bool woken; // `wake` is posted, or a timer runs
    bool wake_arrived;
    struct post wake, stop;
    _Atomic(struct transcript *) transcripts; // newest first
    struct transcript *waiting;               // oldest first, the indexer's
    _Atomic size_t transcript_bytes;
};

static void broke(struct index_feed *feed, const struct err *err)
{
    if (!feed->complained)
        log_error("index", 0, "%s; history waits in the journal until that is over", err->text);
    feed->broken = feed->complained = true;
}

static sqlite3_stmt *bound(struct index_feed *feed, int which)
{
    sqlite3_reset(feed->stmt[which]);
    return feed->stmt[which];
}

static bool run(struct index_feed *feed, int which)
{
    int rc = sqlite3_step(feed->stmt[which]);
    sqlite3_reset(feed->stmt[which]);
    if (rc == SQLITE_DONE || rc == SQLITE_ROW)
        return true;
    struct err err;
    index_db_err(feed->db, &err, "the index cannot be written");
    broke(feed, &err);
    return false;
}

static void bind_text(sqlite3_stmt *s, int at, struct str text)
{
    sqlite3_bind_text(s, at, text.len > 0 ? text.ptr : "", (int)text.len, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *s, int at, const void *bytes, size_t len)
{
    sqlite3_bind_blob(s, at, len > 0 ? bytes : "", (int)len, SQLITE_STATIC);
}

// ---- Opening. ----

static void begin_anew(struct index_feed *feed)
{
    feed->segment = feed->offset = 0;
    feed->sequence = FIRST_SEQUENCE;
}

static bool load_place(struct index_feed *feed, struct err *err)
{
    sqlite3_stmt *s =
        index_db_prepare(feed->db, "SELECT segment, offset, sequence FROM place", err);
    if (s == NULL)
        return false;
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        feed->segment = (uint64_t)sqlite3_column_int64(s, 0);
        feed->offset = (uint64_t)sqlite3_column_int64(s, 1);
        feed->sequence = (uint64_t)sqlite3_column_int64(s, 2);
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        index_db_err(feed->db, err, "the index cannot be read");
    sqlite3_finalize(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return false;
    // What was read may stand in the log only, so nothing is given free before a checkpoint.
    feed->checkpoint_due = true;
    feed->gap = true;
    atomic_store(&feed->done_sequence, feed->sequence);
    return true;
}

static void feed_free(struct index_feed **feed_ptr)
{
    struct index_feed *feed = *feed_ptr;
    *feed_ptr = NULL;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(feed->stmt[i]);
    sqlite3_close(feed->db);
    scan_end(&feed->scan);
    if (feed->pinned != NULL)
        segment_unpin(feed->pinned);
    arena_free(&feed->arena);
    idmap_free(&feed->entries);
    while (feed->waiting != NULL) {
        struct transcript *t = feed->waiting;
        feed->waiting = t->next;
        xfree(t);
    }
    xfree(feed);
}

// SQLite would take the mode from the umask; its other files follow this one.
static bool make_private(struct store *store, struct err *err)
{
    char path[SPOOL_PATH];
    snprintf(path, sizeof(path), "%.900s/index.db", store->dir);
    struct file *file = file_open(path, FILE_CREATE, err);
    if (file == NULL)
        return false;
    file_close(&file);
    return true;
}

static void say_remedy(struct index_feed *feed, struct err *err)
{
    int rc = feed->db != NULL ? sqlite3_errcode(feed->db) : SQLITE_OK;
    if (rc != SQLITE_NOTADB && rc != SQLITE_CORRUPT)
        return;
    struct err why = *err;
    err_set(err,
            "%s. No mail is lost: `waypost spool rebuild` makes %s/index.db anew from the journal",
            why.text, feed->store->dir);
}

struct index_feed *index_feed_open(struct store *store, struct err *err)
{
    struct index_feed *feed = xcalloc(1, sizeof(*feed));
    feed->store = store;
    feed->arena = arena_new();
    feed->entries = idmap_new();
    feed->tail = &feed->first;
    list_init(&feed->barriers);
    begin_anew(feed);
    if (!make_private(store, err)) {
        feed_free(&feed);
        return NULL;
    }
    feed->db = index_db_open(store->dir, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    bool ok = feed->db != NULL &&
              index_db_exec(feed->db,
                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                            "PRAGMA wal_autocheckpoint=4000; PRAGMA user_version=1;",
                            err) &&
              index_db_exec(feed->db, schema, err);
    for (int i = 0; ok && i < STATEMENTS; i++)
        ok = (feed->stmt[i] = index_db_prepare(feed->db, statements[i], err)) != NULL;
    if (ok && load_place(feed, err))
        return feed;
    say_remedy(feed, err);
    feed_free(&feed);
    return NULL;
}

// ---- Changing messages. ----

static void add_entry(struct index_feed *feed, struct entry *e)
{
    e->next = NULL;
    *feed->tail = e;
    feed->tail = &e->next;
    idmap_put(feed->entries, e->id, e);
}

static struct entry *new_entry(struct index_feed *feed, uint64_t id)
{
    struct entry *e = arena_alloc(feed->arena, sizeof(*e));
    e->id = id;
    buf_init(&e->timeline, TIMELINE_MAX);
    buf_init(&e->transcript, 2 * TRANSCRIPT_MAX);
    return e;
}

static struct entry *load_entry(struct index_feed *feed, uint64_t id)
{
    struct entry *e = idmap_get(feed->entries, id);
    if (e != NULL)
        return e;
    sqlite3_stmt *s = bound(feed, LOAD);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)id);
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        e = new_entry(feed, id);
        e->state = (enum rcpt_state)sqlite3_column_int(s, 0);
        e->held = sqlite3_column_int(s, 1) != 0;
        e->ended_ms = sqlite3_column_int64(s, 2);
        const char *gateway = (const char *)sqlite3_column_text(s, 3);
        e->gateway = arena_dup(feed->arena, str_of(gateway));
        e->class = (enum outcome_class)sqlite3_column_int(s, 4);
        buf_append(&e->timeline, sqlite3_column_blob(s, 5), (size_t)sqlite3_column_bytes(s, 5));
        e->count = (size_t)sqlite3_column_bytes(s, 6);
        e->states = arena_alloc(feed->arena, e->count + 1);
        if (e->count > 0)
            memcpy(e->states, sqlite3_column_blob(s, 6), e->count);
        buf_append(&e->transcript, sqlite3_column_blob(s, 7), (size_t)sqlite3_column_bytes(s, 7));
        add_entry(feed, e);
    } else if (rc != SQLITE_DONE) {
        struct err err;
        index_db_err(feed->db, &err, "the index cannot be read");
        broke(feed, &err);
    }
    sqlite3_reset(s);
    return e;
}

// The message's state from those of its recipients: the worst there is, once all have ended.
static enum rcpt_state whole_state(const struct entry *e)
{
    static const uint8_t rank[] = {
        [RCPT_WAITING] = 9, [RCPT_DELIVERED] = 0, [RCPT_RELAYED] = 1,
        [RCPT_DROPPED] = 2, [RCPT_RETURNED] = 3,  [RCPT_BAD] = 4,
    };
    uint8_t worst = RCPT_DELIVERED;
    for (size_t i = 0; i < e->count; i++)
        if (e->states[i] <= RCPT_DROPPED && rank[e->states[i]] > rank[worst])
            worst = e->states[i];
    return worst;
}

static void set_states(struct entry *e, int64_t wall_ms)
{
    e->state = whole_state(e);
    if (rcpt_state_final(e->state) && e->ended_ms == 0)
        e->ended_ms = wall_ms != 0 ? wall_ms : 1;
}

static struct entry *accepted(struct index_feed *feed, const struct journal_op *op)
{
    if (op->moved) { // known already, unless history was lost
        struct entry *known = load_entry(feed, op->id);
        if (known != NULL)
            return NULL;
    }
    struct entry *e = new_entry(feed, op->id);
    e->fresh = true;
    e->accepted_ms = op->wall_ms;
    e->packed = arena_dup(feed->arena, op->packed);
    e->size = op->body_size;
    e->count = op->count;
    e->held = op->held;
    e->state = op->deleted_ms != 0 ? RCPT_DROPPED : RCPT_WAITING;
    e->states = arena_alloc(feed->arena, e->count + 1);
    struct str states = op->states;
    struct store_rcpt_state state;
    for (size_t i = 0; i < e->count && journal_next_state(&states, &state); i++)
        e->states[i] = state.state;
    add_entry(feed, e);
    return e;
}

static void attempted(struct index_feed *feed, struct entry *e, const struct journal_op *op)
{
    struct str in = op->results;
    struct store_rcpt_result r;
    for (uint32_t i = 0; i < op->result_count && journal_next_result(&in, &r); i++) {
        if (r.index < e->count)
            e->states[r.index] = (uint8_t)r.state;
        if (r.state != RCPT_DROPPED) // by a person: what the last attempt met, stays
            e->class = r.outcome.class;
    }
    if (op->gateway.len > 0 && !str_eq(e->gateway, op->gateway))
        e->gateway = arena_dup(feed->arena, op->gateway);
    set_states(e, op->wall_ms);
}

static void add_transcript(struct entry *e, const struct transcript *t, int64_t wall_ms)
{
    buf_put_u64(&e->transcript, (uint64_t)wall_ms);
    buf_put_str(&e->transcript, str_make(t->text, t->len));
    // The oldest go first.
    while (e->transcript.len > TRANSCRIPT_MAX + 12) {
        struct str in = buf_str(&e->transcript), text;
        uint64_t ms;
        if (!str_get_u64(&in, &ms) || !str_get_str(&in, &text))
            break;
        buf_consume(&e->transcript, 12 + text.len);
    }
}

static void take_transcripts(struct index_feed *feed)
{
    struct transcript *newest = atomic_exchange(&feed->transcripts, NULL), *oldest = NULL;
    while (newest != NULL) {
        struct transcript *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    struct transcript **end = &feed->waiting;
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest;
}

// The transcript that came with operation `op` of a frame, taken out of the queue; or NULL.
static struct transcript *find_transcript(struct index_feed *feed, uint64_t sequence, uint32_t op)
{
    struct transcript **at = &feed->waiting, *t;
    while ((t = *at) != NULL && t->sequence <= sequence) {
        bool match = t->sequence == sequence && t->op == op;
        if (match || t->sequence < sequence) {
            *at = t->next;
            atomic_fetch_sub(&feed->transcript_bytes, t->len);
            if (match)
                return t;
            xfree(t);
        } else {
            at = &t->next;
        }
    }
    return NULL;
}

static void note_many(struct index_feed *feed, const struct journal_op *op)
{
    struct notes *n = arena_alloc(feed->arena, sizeof(*n));
    struct str more = op->more;
    n->first = n->last = op->id;
    while (journal_next_id(&more, &n->last))
        ;
    n->wall_ms = op->wall_ms;
    n->text = arena_dup(feed->arena, op->text);
    n->more = arena_dup(feed->arena, op->more);
    n->next = feed->notes;
    feed->notes = n;
}

static void apply_op(struct index_feed *feed, const struct scan_frame *f, uint32_t number,
                     const struct journal_op *op, struct str raw)
{
    if (op->kind == STORE_NOTES) {
        note_many(feed, op);
        return;
    }
    struct entry *e = op->kind == STORE_ACCEPT ? accepted(feed, op) : load_entry(feed, op->id);
    struct transcript *t = find_transcript(feed, f->head.sequence, number);
    if (e != NULL) {
        e->position = f->head.sequence;
        buf_add(&e->timeline, raw);
        if (op->kind == STORE_RESULT)
            attempted(feed, e, op);
        else if (op->kind == STORE_HOLD && op->value == STORE_HOLD_BIN)
            e->state = op->flag ? RCPT_DROPPED : whole_state(e);
        else if (op->kind == STORE_HOLD)
            e->held = op->flag;
        if (t != NULL)
            add_transcript(e, t, op->wall_ms);
    }
    xfree(t);
}

static void apply_frame(struct index_feed *feed, const struct scan_frame *f)
{
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    uint32_t number = 0;
    const char *begin = meta.ptr;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        apply_op(feed, f, number++, &op, str_make(begin, (size_t)(meta.ptr - begin)));
        begin = meta.ptr;
    }
    feed->frames++;
    feed->bytes += f->meta.len;
    feed->sequence = f->head.sequence + 1;
}

// ---- Reading the journal. ----

static bool enter_segment(struct index_feed *feed, uint64_t number, uint64_t offset)
{
    struct segment *segment = segment_pin(feed->store->set, number);
    if (segment == NULL)
        return false;
    if (feed->pinned != NULL)
        segment_unpin(feed->pinned);
    scan_end(&feed->scan);
    feed->pinned = segment;
    if (number != feed->segment)
        feed->checkpoint_due = true;
    feed->segment = number;
    scan_begin(&feed->scan, segment->file, number, segment->size,
               offset != 0 ? offset : SEGMENT_HEAD, false);
    return true;
}

// The next segment that was begun. Those in between were given back before an index was kept; one
// that is only prepared must not be entered, as there is no way back from it.
static bool next_segment(struct index_feed *feed)
{
    uint64_t active = atomic_load(&feed->store->active);
    for (uint64_t n = feed->segment + 1; n <= feed->segment + SEGMENT_SLOTS && n <= active; n++)
        if (enter_segment(feed, n, 0))
            return true;
    return false;
}

static bool follows(const struct index_feed *feed, const struct scan_frame *f)
{
    return f->head.sequence < feed->limit &&
           (feed->gap ? f->head.sequence >= feed->sequence
                      : f->head.sequence == feed->sequence && f->head.chain == feed->chain);
}

// Does another segment go on where this one ends?
static bool goes_on_elsewhere(struct index_feed *feed)
{
    for (uint64_t n = feed->segment + 1; n <= feed->segment + SEGMENT_SLOTS; n++) {
        struct segment *segment = segment_pin(feed->store->set, n);
        struct scan scan;
        struct scan_frame f;
        if (segment == NULL)
            continue;
        scan_begin(&scan, segment->file, n, segment->size, SEGMENT_HEAD, false);
        bool found = scan_next(&scan, &f) && f.head.sequence == feed->sequence;
        scan_end(&scan);
        segment_unpin(segment);
        return found;
    }
    return false;
}

static bool read_frame(struct index_feed *feed, struct scan_frame *f)
{
    if (feed->pinned == NULL && !enter_segment(feed, feed->segment, feed->offset) &&
        !next_segment(feed))
        return false;
    for (;;) {
        uint64_t at = feed->scan.at;
        if (scan_next(&feed->scan, f) && follows(feed, f))
            break;
        feed->scan.at = at;
        if (!goes_on_elsewhere(feed)) {
            feed->gap = true; // damaged here: what can be read is
            if (scan_resync(&feed->scan, feed->sequence, 0))
                continue;
        }
        if (!next_segment(feed))
            return false;
    }
    feed->gap = false;
    feed->chain = f->crc;
    return true;
}

// ---- Batches. ----

static void bind_fresh(struct index_feed *feed, sqlite3_stmt *s, const struct entry *e)
{
    struct envelope env = {0};
    struct buf recipients;
    envelope_unpack(e->packed, feed->arena, &env);
    buf_init(&recipients, RECIPIENTS_TEXT);
    for (size_t i = 0; i < env.count; i++) {
        if (i > 0)
            buf_putc(&recipients, ' ');
        buf_add(&recipients, env.rcpts[i].address);
    }
    sqlite3_bind_int64(s, 11, e->accepted_ms);
    bind_text(s, 12, env.sender);
    bind_text(s, 13, arena_dup(feed->arena, buf_str(&recipients)));
    bind_text(s, 14, env.subject);
    bind_text(s, 15, env.client);
    bind_text(s, 16, env.user);
    sqlite3_bind_int64(s, 17, (sqlite3_int64)e->size);
    buf_free(&recipients);
}

static bool write_entry(struct index_feed *feed, struct entry *e)
{
    int which = e->fresh ? INSERT : UPDATE;
    sqlite3_stmt *s = bound(feed, which);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)e->id);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)e->position);
    sqlite3_bind_int(s, 3, (int)e->state);
    sqlite3_bind_int(s, 4, e->held);
    sqlite3_bind_int64(s, 5, e->ended_ms);
    bind_text(s, 6, e->gateway);
    sqlite3_bind_int(s, 7, (int)e->class);
    bind_blob(s, 8, e->timeline.data, e->timeline.len);
    bind_blob(s, 9, e->states, e->count);
    bind_blob(s, 10, e->transcript.data, e->transcript.len);
    if (e->fresh)
        bind_fresh(feed, s, e);
    return run(feed, which);
}

static bool write_notes(struct index_feed *feed, const struct notes *n)
{
    sqlite3_stmt *s = bound(feed, NOTES);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)n->first);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)n->last);
    sqlite3_bind_int64(s, 3, n->wall_ms);
    bind_text(s, 4, n->text);
    bind_blob(s, 5, n->more.ptr, n->more.len);
    return run(feed, NOTES);
}

static bool sweep_old(struct index_feed *feed)
{
    int64_t now_ms = clock_wall_ms();
    if (feed->swept_ms != 0 && now_ms >= feed->swept_ms && now_ms - feed->swept_ms < SWEEP_MS)
        return true;
    feed->swept_ms = now_ms;
    sqlite3_stmt *s = bound(feed, SWEEP);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)feed->sweep_after);
    sqlite3_bind_int(s, 2, SWEEP_ROWS);
    sqlite3_bind_int64(s, 3, now_ms - feed->store->settings.keep_ms);
    s = bound(feed, SWEEP_TO);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)feed->sweep_after);
    sqlite3_bind_int(s, 2, SWEEP_ROWS);
    uint64_t to = sqlite3_step(s) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    feed->sweep_after = to; // 0 behind the last: begins anew
    bound(feed, SWEEP_NOTES);
    return run(feed, SWEEP) && run(feed, SWEEP_NOTES);
}

static void drop_batch(struct index_feed *feed)
{
    for (struct entry *e = feed->first; e != NULL; e = e->next) {
        buf_free(&e->timeline);
        buf_free(&e->transcript);
    }
    feed->first = NULL;
    feed->notes = NULL;
    feed->tail = &feed->first;
    feed->frames = 0;
    feed->bytes = 0;
    idmap_free(&feed->entries);
    feed->entries = idmap_new();
    arena_clear(feed->arena);
}

static void checkpoint(struct index_feed *feed)
{
    int in_log = -1, done = -1;
    int rc = sqlite3_wal_checkpoint_v2(feed->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &done);
    if (rc != SQLITE_OK || in_log != done)
        return; // a reader stands in the way; next time
    feed->checkpoint_due = false;
    atomic_store(&feed->done_segment, feed->segment);
    keep_indexed(feed->store);
}

static void write_batch(struct index_feed *feed)
{
    if (feed->frames == 0)
        return;
    bool ok = !feed->broken && run(feed, BEGIN);
    for (struct entry *e = feed->first; ok && e != NULL; e = e->next)
        ok = write_entry(feed, e);
    for (const struct notes *n = feed->notes; ok && n != NULL; n = n->next)
        ok = write_notes(feed, n);
    ok = ok && sweep_old(feed);
    sqlite3_stmt *s = bound(feed, PLACE);
    sqlite3_bind_int64(s, 1, (sqlite3_int64)feed->segment);
    sqlite3_bind_int64(s, 2, (sqlite3_int64)feed->scan.at);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)feed->sequence);
    // SQLite takes a transaction back by itself when memory or the disk fails; the place alone
    // would then stand for rows that are not there.
    ok = ok && sqlite3_get_autocommit(feed->db) == 0 && run(feed, PLACE) && run(feed, COMMIT);
    drop_batch(feed);
    if (!ok) {
        struct err ignored;
        if (sqlite3_get_autocommit(feed->db) == 0)
            index_db_exec(feed->db, "ROLLBACK", &ignored);
        feed->broken = true;
        return;
    }
    if (feed->complained)
        log_info("index", 0, "%s", "history is written again");
    feed->complained = false;
    atomic_store(&feed->done_sequence, feed->sequence);
    if (feed->checkpoint_due)
        checkpoint(feed);
}

// ---- The loop. ----

struct barrier {
    struct link link;
    struct post post;
    struct index_feed *feed;
    struct loop *home;
    struct post *done;
    uint64_t sequence;
};

static void pass_barriers(struct index_feed *feed)
{
    struct barrier *b;
    bool hopeless = feed->broken || store_failed(feed->store);
    list_each (&feed->barriers, b, struct barrier, link) {
        if (b->sequence > feed->sequence && !hopeless)
            continue;
        list_remove(&b->link);
        loop_post(b->home, b->done);
        xfree(b);
    }
}

// True when there is more.
static bool feed_some(struct index_feed *feed)
{
    struct scan_frame f;
    bool more = true;
    if (feed->wake_arrived) {
        feed->wake_arrived = false;
        atomic_store(&feed->woken, false);
    }
    take_transcripts(feed);
    feed->limit = atomic_load(&feed->store->committed);
    feed->scan.window_len = 0; // it may be older than what was written since
    while (feed->frames < BATCH_FRAMES && feed->bytes < BATCH_BYTES && !feed->broken) {
        if (feed->sequence >= feed->limit || !read_frame(feed, &f)) {
            more = false;
            break;
        }
        apply_frame(feed, &f);
    }
    write_batch(feed);
    pass_barriers(feed);
    return more && !feed->broken;
}

// Goes on from the place of the last batch that was written.
static void mend(struct index_feed *feed)
{
    struct err err;
    if (feed->pinned != NULL)
        segment_unpin(feed->pinned);
    feed->pinned = NULL;
    scan_end(&feed->scan);
    begin_anew(feed);
    feed->broken = !load_place(feed, &err);
}

static void on_timer(void *ctx)
{
    struct index_feed *feed = ctx;
    if (feed->broken)
        mend(feed);
    if (feed_some(feed))
        timer_start(&feed->timer, 0);
    else if (feed->broken)
        timer_start(&feed->timer, MEND_MS);
}

static void on_wake(struct post *post)
{
    struct index_feed *feed = container_of(post, struct index_feed, wake);
    feed->wake_arrived = true;
    if (feed->broken) {
        pass_barriers(feed);
        return;
    }
    if (!timer_running(&feed->timer))
        timer_start(&feed->timer, list_empty(&feed->barriers) ? BATCH_MS : 0);
}

void index_feed_wake(struct index_feed *feed)
{
    if (atomic_exchange(&feed->woken, true))
        return;
    feed->wake.run = on_wake;
    loop_post(feed->loop, &feed->wake);
}

void index_feed_transcripts(struct index_feed *feed, struct frame *frame)
{
    while (frame->transcripts != NULL) {
        struct transcript *t = frame->transcripts;
        frame->transcripts = t->next;
        if (atomic_load(&feed->transcript_bytes) > TRANSCRIPTS_MAX) {
            xfree(t); // the index is far behind; the attempt itself is in the journal
            continue;
        }
        atomic_fetch_add(&feed->transcript_bytes, t->len);
        t->sequence = frame->sequence;
        t->next = atomic_load(&feed->transcripts);
        while (!atomic_compare_exchange_weak(&feed->transcripts, &t->next, t))
            ;
    }
}

static void on_barrier(struct post *post)
{
    struct barrier *b = container_of(post, struct barrier, post);
    struct index_feed *feed = b->feed;
    list_append(&feed->barriers, &b->link);
    timer_start(&feed->timer, 0);
}

void index_feed_barrier(struct index_feed *feed, uint64_t sequence, struct loop *home,
                        struct post *done)
{
    struct barrier *b = xcalloc(1, sizeof(*b));
    b->post.run = on_barrier;
    b->feed = feed;
    b->home = home;
    b->done = done;
    b->sequence = sequence;
    loop_post(feed->loop, &b->post);
}

// A place the journal does not know means another journal: begin anew.
static void check_place(struct index_feed *feed)
{
    struct err err;
    if (feed->sequence <= atomic_load(&feed->store->committed))
        return;
    log_warn("index", 0, "the index is ahead of the journal, so it is of another one: made anew");
    index_db_exec(feed->db, "DELETE FROM message; DELETE FROM notes; DELETE FROM place;", &err);
    begin_anew(feed);
    atomic_store(&feed->done_segment, 0);
}

void index_feed_start(struct index_feed *feed)
{
    check_place(feed);
    feed->loop = loop_new("indexer");
    timer_init(&feed->timer, feed->loop, on_timer, feed);
    index_feed_wake(feed);
    loop_start(feed->loop);
}

void index_feed_catch_up(struct index_feed *feed)
{
    check_place(feed);
    while (feed_some(feed))
        ;
}

static void on_stop(struct post *post)
{
    struct index_feed *feed = container_of(post, struct index_feed, stop);
    timer_stop(&feed->timer);
    while (feed_some(feed))
        ;
    loop_stop(feed->loop);
}

void index_feed_stop(struct index_feed **feed_ptr)
{
    struct index_feed *feed = *feed_ptr;
    if (feed == NULL)
        return;
    *feed_ptr = NULL;
    if (feed->loop != NULL) {
        feed->stop.run = on_stop;
        loop_post(feed->loop, &feed->stop);
        loop_join(feed->loop);
        loop_free(&feed->loop);
    }
    take_transcripts(feed);
    feed_free(&feed);
}

uint64_t index_feed_segment(struct index_feed *feed)
{
    return atomic_load(&feed->done_segment);
}

uint64_t index_feed_sequence(struct index_feed *feed)
{
    return atomic_load(&feed->done_sequence);
}
