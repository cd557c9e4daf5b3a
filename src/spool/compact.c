// SPDX-License-Identifier: ISC
// Compaction: what still lives in the oldest segment is copied forward, so that the segment can be
// given back. The keeper reads, a piece at a time; the committer writes the copies like any commit.
//
// Invariants
//  1. A copy is one frame: the message with the state its recipients have when the committer gives
//     it its place, not when it was read. A message that ended or moved meanwhile is not copied.
//  2. A body whose CRC is wrong is never copied under a new one: its bytes go to a file of their
//     own under the old CRC, so that a delivery sees the damage and the segment can still go.
//  3. The conductor hears of the new place after the copy is on disk. Who asks for the old one
//     later is told that it has gone.
#include "base/crc32c.h"
#include "base/mem.h"
#include "spool/keep_int.h"
#include "sys/log.h"

#include <inttypes.h>
#include <stdio.h>

struct compaction {
    struct keeper *keeper;
    struct segment *segment; // pinned
    struct scan scan;
    char *body; // scratch
    size_t body_cap;
    atomic_uint outstanding; // copies at the committer, + 1 while more are being made
    struct post more;
};

struct move {
    struct compaction *compaction;
    struct journal_op op;
    uint64_t segment, offset; // of the frame that is copied
    char packed[];
};

// ---- On the committer. ----

static bool prepare_move(struct frame *frame)
{
    struct move *move = frame->owner;
    struct live *live = live_get(frame->store->live, move->op.id);
    if (live == NULL || live->segment != move->segment ||
        live->offset != move->offset / FRAME_ALIGN)
        return false;
    move->op.held = live->held;
    move->op.priority = live->priority;
    move->op.reason = live_reason(frame->store->live, live);
    move->op.send_ms = live_times(frame->store->live, live).send_ms;
    move->op.deleted_ms = live_times(frame->store->live, live).deleted_ms;
    buf_clear(&frame->meta);
    frame->meta.len = buf_reserve(&frame->meta, FRAME_HEAD) != NULL ? FRAME_HEAD : 0;
    if (!journal_put_accept(&frame->meta, &move->op, live_states(frame->store->live, live)))
        return false;
    frame_seal_meta(frame);
    return true;
}

static void tell_conductor(struct frame *frame, const struct move *move)
{
    struct mail *mail = xcalloc(1, sizeof(*mail));
    mail->moved_id = move->op.id;
    mail->moved_to.size = move->op.body_size;
    mail->moved_to.crc = move->op.body_crc;
    if (!move->op.own_file) {
        mail->moved_to.place = (uint32_t)frame->segment;
        mail->moved_to.offset = frame->offset + journal_align(frame->meta.len);
    }
    committer_mail(frame->store, mail);
}

static void on_more(struct post *post);

static void one_less(struct compaction *c)
{
    if (atomic_fetch_sub(&c->outstanding, 1) != 1)
        return;
    c->more.run = on_more;
    loop_post(c->keeper->store->keep_loop, &c->more);
}

static void finish_move(struct frame *frame, bool ok)
{
    struct move *move = frame->owner;
    struct compaction *c = move->compaction;
    if (ok)
        tell_conductor(frame, move);
    xfree(move);
    one_less(c);
}

// ---- On the keeper. ----

static bool read_body(struct compaction *c, const struct scan_frame *f, const struct journal_op *op)
{
    struct err err;
    if (op->body_size > c->body_cap) {
        xfree(c->body);
        c->body_cap = (size_t)op->body_size;
        c->body = xmalloc(c->body_cap);
    }
    uint64_t at = f->bodies_at + op->body_at;
    ssize_t n = file_read(c->segment->file, at, c->body, (size_t)op->body_size, &err);
    if (n < 0)
        n = 0;
    if ((uint64_t)n < op->body_size)
        memset(c->body + n, 0, (size_t)op->body_size - (size_t)n);
    return crc32c(0, c->body, (size_t)op->body_size) == op->body_crc;
}

static bool save_damaged(struct store *store, const char *body, const struct journal_op *op)
{
    char path[SPOOL_PATH];
    struct err err;
    struct file_piece piece = {body, (size_t)op->body_size};
    struct file *file = file_open(body_path(store, op->id, path), FILE_CREATE, &err);
    bool ok = file != NULL && file_write(file, 0, &piece, 1, &err) &&
              spool_sync(store->set, file, &err) && spool_dir_sync(store->set, "bodies", &err);
    if (file != NULL)
        file_close(&file);
    log_error("damaged", op->id, "the body of this message is damaged on disk; %s %s",
              ok ? "it is kept as it is, undelivered, in" : "it could not be copied to", path);
    return ok;
}

// Bytes it adds to the batch.
static uint64_t submit_move(struct compaction *c, const struct scan_frame *f,
                            const struct journal_op *op)
{
    struct store *store = c->keeper->store;
    bool sound = op->own_file || op->body_size == 0 || read_body(c, f, op);
    struct blob *blob = sound && !op->own_file ? blob_try_new((size_t)op->body_size) : NULL;
    if (!sound && !save_damaged(store, c->body, op))
        return 0;
    if (sound && !op->own_file && blob == NULL)
        return 0; // no memory: another time
    struct move *move = xcalloc(1, sizeof(*move) + op->packed.len);
    move->compaction = c;
    move->op = *op;
    memcpy(move->packed, op->packed.ptr, op->packed.len);
    move->op.packed = str_make(move->packed, op->packed.len);
    move->op.moved = true;
    move->op.own_file = op->own_file || !sound;
    move->segment = f->segment;
    move->offset = f->offset;
    struct frame *frame = frame_new(store);
    frame->owner = move;
    frame->prepare = prepare_move;
    frame->finished = finish_move;
    frame->ops = 1;
    frame->flags = FRAME_MOVED;
    frame->accepts = true;
    if (blob != NULL) {
        memcpy(blob->data, c->body, (size_t)op->body_size);
        blob->len = (size_t)op->body_size;
        frame->blobs = xmalloc(sizeof(frame->blobs[0]));
        frame->blobs[frame->blob_count++] = blob;
        frame->body_len = journal_align(op->body_size);
    }
    atomic_fetch_add(&c->outstanding, 1);
    committer_submit(frame);
    return op->packed.len + op->body_size;
}

static uint64_t submit_moves(struct compaction *c, const struct scan_frame *f)
{
    struct str meta = f->meta;
    uint64_t body_at = 0, bytes = 0;
    struct journal_op op;
    while (journal_next_op(&meta, &body_at, &op) == 1)
        if (op.kind == STORE_ACCEPT)
            bytes += submit_move(c, f, &op);
    return bytes;
}

static void on_conductor_knows(struct post *post);

static void on_conductor(struct post *post) // behind all it was told of this segment
{
    struct compaction *c = container_of(post, struct compaction, more);
    c->more.run = on_conductor_knows;
    loop_post(c->keeper->store->keep_loop, &c->more);
}

static void finish(struct compaction *c)
{
    struct keeper *k = c->keeper;
    uint64_t number = c->segment->number;
    segment_unpin(c->segment);
    scan_end(&c->scan);
    xfree(c->body);
    xfree(c);
    k->compaction = NULL;
    // What could not be read stays, and this segment with it. A restart tries once more.
    if (atomic_load(&k->store->oldest) == number) {
        atomic_store(&k->store->uncompactable, number);
        log_error("damaged", 0, "segment %" PRIu64 " holds messages that cannot be moved", number);
    } else {
        keep_free_segments(k);
        compact_look(k);
    }
}

static void on_conductor_knows(struct post *post)
{
    finish(container_of(post, struct compaction, more));
}

static void on_more(struct post *post)
{
    struct compaction *c = container_of(post, struct compaction, more);
    struct store *store = c->keeper->store;
    struct scan_frame f;
    uint64_t bytes = 0;
    bool end = c->keeper->quiet || store_failed(store);
    atomic_store(&c->outstanding, 1);
    while (!end && bytes < COMPACT_BATCH) {
        if (scan_next(&c->scan, &f))
            bytes += submit_moves(c, &f) + FRAME_HEAD;
        else
            end = !scan_resync(&c->scan, 0, 0);
    }
    if (bytes > 0) {
        one_less(c);
    } else if (!c->keeper->quiet) {
        // The old places are kept until the conductor has the new ones.
        c->more.run = on_conductor;
        loop_post(store->conductor, &c->more);
    }
}

void compact_look(struct keeper *k)
{
    struct store *store = k->store;
    uint64_t segments = atomic_load(&store->segments), live = atomic_load(&store->live_bytes);
    uint64_t used = segments > 2 ? (segments - 2) * store->settings.segment_bytes : 0;
    uint64_t garbage = used > live ? used - live : 0;
    uint64_t floor = COMPACT_FLOOR_SEGMENTS * store->settings.segment_bytes;
    uint64_t oldest = atomic_load(&store->oldest);
    bool worth = garbage > floor && garbage > live / 100 * COMPACT_SHARE;
    bool forced = oldest <= atomic_load(&store->compact_until);
    if (k->compaction != NULL || k->quiet || store_failed(store) || !(worth || forced) ||
        oldest == atomic_load(&store->uncompactable) || oldest >= atomic_load(&store->active))
        return;
    struct segment *segment = segment_pin(store->set, oldest);
    if (segment == NULL)
        return;
    struct compaction *c = xcalloc(1, sizeof(*c));
    c->keeper = k;
    c->segment = segment;
    scan_begin(&c->scan, segment->file, oldest, segment->size, SEGMENT_HEAD, false);
    k->compaction = c;
    on_more(&c->more);
}

void compact_free(struct keeper *k)
{
    struct compaction *c = k->compaction;
    if (c == NULL)
        return;
    segment_unpin(c->segment);
    scan_end(&c->scan);
    xfree(c->body);
    xfree(c);
    k->compaction = NULL;
}
