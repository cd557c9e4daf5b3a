// SPDX-License-Identifier: ISC
// The store as its users see it: opening, committing, closing; the parts do the work.
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "spool/index_feed.h"
#include "spool/keep_int.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { KEEP_DAYS = 14 };

const char *rcpt_state_name(enum rcpt_state s)
{
    static const char *const names[] = {
        [RCPT_WAITING] = "waiting", [RCPT_DELIVERED] = "delivered",
        [RCPT_RELAYED] = "relayed", [RCPT_RETURNED] = "returned",
        [RCPT_BAD] = "bad",         [RCPT_DROPPED] = "dropped",
    };
    return s <= RCPT_DROPPED ? names[s] : "unknown";
}

void store_message_free(struct store_message **m)
{
    if (*m == NULL)
        return;
    blob_unref(&(*m)->blob);
    xfree((*m)->rcpts);
    xfree(*m);
    *m = NULL;
}

// ---- Commits. ----

// Nothing waits and there is no body: for whoever reads the journal it is over (live.c).
static void put_passed(struct frame *frame, const struct store_op *op)
{
    struct buf packed;
    size_t count = op->envelope->count;
    struct store_rcpt_state *states = xcalloc(count, sizeof(*states));
    for (size_t i = 0; i < op->result_count; i++) {
        assert(op->results[i].index < count && rcpt_state_final(op->results[i].state));
        states[op->results[i].index].state = (uint8_t)op->results[i].state;
    }
    buf_init(&packed, FRAME_META_MAX);
    bool ok = op->result_count == count && envelope_pack(&packed, op->envelope);
    struct journal_op record = {.id = op->id,
                                .wall_ms = op->wall_ms,
                                .own_file = true,
                                .priority = op->envelope->priority,
                                .body_size = op->size,
                                .count = (uint32_t)count,
                                .packed = buf_str(&packed)};
    if (!ok || !journal_put_accept(&frame->meta, &record, states))
        frame->meta.full = true;
    buf_free(&packed);
    xfree(states);
}

static void put_accept(struct frame *frame, struct store_op *op)
{
    struct buf packed;
    buf_init(&packed, FRAME_META_MAX);
    struct body_facts body = body_take(&op->body, op->id, frame);
    bool ok = envelope_pack(&packed, op->envelope);
    struct journal_op record = {
        .id = op->id,
        .wall_ms = op->wall_ms,
        .own_file = body.blob == NULL,
        .priority = op->envelope->priority,
        .body_size = body.size,
        .body_crc = body.crc,
        .count = (uint32_t)op->envelope->count,
        .packed = buf_str(&packed),
    };
    if (!ok || !journal_put_accept(&frame->meta, &record, NULL))
        frame->meta.full = true;
    struct store_message *m = xcalloc(1, sizeof(*m) + packed.len);
    memcpy(m + 1, packed.data, packed.len);
    m->id = op->id;
    m->packed = str_make((char *)(m + 1), packed.len);
    m->count = op->envelope->count;
    m->priority = op->envelope->priority;
    m->body.size = body.size;
    m->body.crc = body.crc;
    buf_free(&packed);
    if (body.blob != NULL) {
        m->blob = blob_ref(body.blob);
        m->body.place = 1; // the committer puts the right one
        m->body.offset = frame->body_len;
        frame->body_len += journal_align(body.size);
        frame->blobs = xrealloc(frame->blobs, (frame->blob_count + 1) * sizeof(frame->blobs[0]));
        frame->blobs[frame->blob_count++] = body.blob;
    }
    struct store_message **end = &frame->messages;
    while (*end != NULL)
        end = (struct store_message **)&(*end)->post.next;
    *end = m;
    frame->accepts = true;
}

static void put_transcript(struct frame *frame, const struct store_op *op)
{
    if (op->transcript.len == 0 || frame->store->feed == NULL)
        return;
    size_t len = op->transcript.len < TRANSCRIPT_MAX ? op->transcript.len : TRANSCRIPT_MAX;
    struct transcript *t = xmalloc(sizeof(*t) + len);
    t->op = frame->ops;
    t->len = len;
    memcpy(t->text, op->transcript.ptr, len);
    t->next = frame->transcripts;
    frame->transcripts = t;
}

static void submit(struct store *store, struct store_commit *commit, const struct store_op *ops,
                   size_t count)
{
    struct frame *frame = frame_new(store);
    frame->commit = commit;
    assert(count <= UINT16_MAX);
    for (size_t i = 0; i < count; i++) {
        struct store_op op = ops[i];
        if (op.kind == STORE_ACCEPT && op.body == NULL) {
            put_passed(frame, &op);
        } else if (op.kind == STORE_ACCEPT) {
            put_accept(frame, &op);
        } else {
            journal_put_op(&frame->meta, &op);
            put_transcript(frame, &op);
        }
        frame->ops++;
    }
    struct err err;
    if (frame->meta.full) {
        err_set(&err, "the envelope is larger than %d bytes", FRAME_META_MAX);
        err.code = EFBIG;
        frame_body_done(frame, &err);
        return;
    }
    frame_seal_meta(frame);
    committer_submit(frame);
}

void store_commit(struct store *store, struct store_commit *commit, const struct store_op *ops,
                  size_t count)
{
    commit->ok = false;
    submit(store, commit, ops, count);
}

void store_commit_quietly(struct store *store, const struct store_op *ops, size_t count)
{
    submit(store, NULL, ops, count);
}

uint64_t store_next_id(struct store *store)
{
    return atomic_fetch_add(&store->next_id, 1);
}

// ---- Trouble. ----

void store_fail(struct store *store, const struct err *err)
{
    if (atomic_exchange(&store->fail_claim, 1) != 0)
        return;
    snprintf(store->failure, sizeof(store->failure), "%.*s", (int)sizeof(store->failure) - 1,
             err->text);
    atomic_store(&store->failed, true);
    log_error("disk", 0, "%s; nothing is taken any more until a restart", err->text);
}

bool store_failed(struct store *store)
{
    return atomic_load(&store->failed);
}

bool store_accepting(struct store *store, struct err *why)
{
    if (atomic_load(&store->failed)) {
        err_set(why, "the spool has failed: %s", store->failure);
        why->code = EIO;
        return false;
    }
    if (!atomic_load(&store->disk_low))
        return true;
    err_set(why, "the disk of %s is nearly full: %" PRIu64 " MiB free, %" PRIu64 " MiB are needed",
            store->dir, atomic_load(&store->free_bytes) >> 20, store->settings.disk_floor >> 20);
    why->code = ENOSPC;
    return false;
}

// ---- Life. ----

// A directory just made is there for good only once the one it stands in is synced.
static bool sync_parent(struct store *store, struct err *err)
{
    char parent[SPOOL_PATH];
    snprintf(parent, sizeof(parent), "%s", store->dir);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/')
        parent[--len] = '\0';
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, sizeof(parent), ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    return store->settings.no_sync || dir_sync(parent, err);
}

static bool make_dirs(struct store *store, struct err *err)
{
    static const char *const names[] = {"", "/seg", "/bodies"};
    bool there = path_exists(store->dir);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[SPOOL_PATH];
        snprintf(path, sizeof(path), "%.900s%s", store->dir, names[i]);
        if (!dir_make(path, 0700, err))
            return false;
    }
    struct err ignored; // one that an administrator made may stand where we may not look
    return sync_parent(store, there ? &ignored : err) || there;
}

bool store_lock(struct store *store, struct err *err)
{
    char path[SPOOL_PATH];
    snprintf(path, sizeof(path), "%.900s/lock", store->dir);
    store->lock = file_open(path, FILE_CREATE, err);
    if (store->lock == NULL)
        return false;
    if (file_lock(store->lock, err))
        return true;
    err_prefix(err, "another process has the spool %s", store->dir);
    return false;
}

void store_free(struct store **store_ptr)
{
    struct store *store = *store_ptr;
    *store_ptr = NULL;
    live_table_free(&store->live);
    keep_free(store);
    segments_free(&store->set);
    if (store->lock != NULL)
        file_close(&store->lock);
    xfree(store);
}

struct store *store_new(const struct store_settings *settings)
{
    struct store *store = xcalloc(1, sizeof(*store));
    store->settings = *settings;
    if (store->settings.segment_bytes == 0)
        store->settings.segment_bytes = LIMIT_SEGMENT;
    if (store->settings.disk_floor == 0)
        store->settings.disk_floor = 2 * store->settings.segment_bytes;
    if (store->settings.keep_ms == 0)
        store->settings.keep_ms = (int64_t)KEEP_DAYS * 24 * 3600 * 1000;
    snprintf(store->dir, sizeof(store->dir), "%.900s", settings->dir);
    snprintf(store->bodies, sizeof(store->bodies), "%.900s/bodies", settings->dir);
    store->settings.dir = store->dir;
    store->set = segments_new(store->dir, settings->no_sync);
    store->live = live_table_new(store->set);
    committer_init(store);
    keep_init(store);
    return store;
}

struct store *store_open(const struct store_settings *settings,
                         void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                         struct err *err)
{
    struct store *store = store_new(settings);
    bool ok = make_dirs(store, err) && store_lock(store, err) && keep_find_pool(store, err) &&
              spool_dir_sync(store->set, "", err);
    if (ok && !store->settings.no_index) {
        store->feed = index_feed_open(store, err);
        ok = store->feed != NULL;
    }
    if (ok && store_replay(store, adopt, ctx, err)) {
        keep_look_at_disk(store);
        return store;
    }
    index_feed_stop(&store->feed);
    store_free(&store);
    return NULL;
}

void store_start(struct store *store, struct loop *conductor,
                 void (*accepted)(void *ctx, struct store_message *m),
                 void (*moved)(void *ctx, uint64_t id, struct store_body_ref to), void *ctx)
{
    store->conductor = conductor;
    store->accepted = accepted;
    store->moved = moved;
    store->ctx = ctx;
    store->commit_loop = loop_new("committer");
    store->keep_loop = loop_new("keeper");
    // The first record says that a run began: without an end mark behind it this was a crash.
    struct frame *start = frame_new(store);
    start->flags = FRAME_START;
    frame_seal_meta(start);
    committer_submit(start);
    if (store->prepared != 0)
        store->c.spare = store->prepared;
    else
        keep_want_spare(store);
    keep_start(store);
    // The index first: the committer wakes it after its first group.
    if (store->feed != NULL)
        index_feed_start(store->feed);
    loop_start(store->commit_loop);
    loop_start(store->keep_loop);
}

void store_close(struct store **store_ptr)
{
    struct store *store = *store_ptr;
    if (store == NULL)
        return;
    *store_ptr = NULL;
    if (store->commit_loop != NULL) {
        keep_close(store);
        loop_join(store->commit_loop);
        index_feed_stop(&store->feed);
        keep_stop(store);
        loop_join(store->keep_loop);
        loop_free(&store->commit_loop);
        loop_free(&store->keep_loop);
    }
    index_feed_stop(&store->feed);
    committer_free(store);
    store_free(&store);
}

void store_stats(struct store *store, struct store_stats *out)
{
    uint64_t committed = atomic_load(&store->committed);
    *out = (struct store_stats){
        .segments = atomic_load(&store->segments),
        .live_bytes = atomic_load(&store->live_bytes),
        .disk_free = atomic_load(&store->free_bytes),
        .groups = atomic_load(&store->groups),
        .records = atomic_load(&store->records),
        .syncs = atomic_load(&store->syncs),
        .last_sync_us = atomic_load(&store->last_sync_us),
        .slowest_sync_us = atomic_load(&store->slowest_sync_us),
        .failed = store_failed(store),
    };
    out->segment_bytes = out->segments * store->settings.segment_bytes;
    if (store->feed != NULL)
        out->index_lag = committed - index_feed_sequence(store->feed);
    if (out->failed)
        snprintf(out->failure, sizeof(out->failure), "%s", store->failure);
}

// ---- Barriers. ----

// Goes the way of the records: through the committer, behind all that its thread committed, and
// from there to the index.
struct barrier {
    struct post post;
    struct loop *home;
    void (*done)(void *ctx);
    void *ctx;
    uint64_t sequence; // the first that need not have been seen
};

static void run_barrier(struct post *post)
{
    struct barrier *b = (struct barrier *)post;
    b->done(b->ctx);
    xfree(b);
}

static bool barrier_turn(struct frame *frame)
{
    struct barrier *b = frame->owner;
    b->sequence = frame->store->c.sequence;
    return false; // nothing is written for it
}

static void barrier_passed(struct frame *frame, bool ok)
{
    struct barrier *b = frame->owner;
    struct store *store = frame->store;
    b->post.run = run_barrier;
    if (store->feed != NULL)
        index_feed_barrier(store->feed, b->sequence, b->home, &b->post);
    else
        loop_post(b->home, &b->post);
}

void store_index_barrier(struct store *store, struct loop *home, void (*done)(void *ctx), void *ctx)
{
    struct barrier *b = xcalloc(1, sizeof(*b));
    struct frame *frame = frame_new(store);
    b->home = home;
    b->done = done;
    b->ctx = ctx;
    frame->owner = b;
    frame->prepare = barrier_turn;
    frame->finished = barrier_passed;
    committer_submit(frame);
}
