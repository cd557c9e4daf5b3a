// SPDX-License-Identifier: ISC
// The committer: takes whatever is waiting as one group, writes it with one call, syncs once, and
// only then says so.
//
// The caller's thread encodes operations and counts CRCs; the committer gives each frame its place
// and number. Nothing waits for company: a group is what came in while the last one was synced.
//
// Invariants
//  1. `done` with ok runs only after the sync of the frame's whole group, and for all of it.
//  2. After a failed write or sync nothing is written any more, by anybody: what is on disk is
//     unknown until the next start has read it.
//  3. The live table takes a frame up when it is given its place, before the write: a move encoded
//     later in the same group must see what earlier frames of the group said.
//  4. What a frame frees (segments, files of bodies) is touched only after its sync.
#include "base/crc32c.h"
#include "base/list.h"
#include "base/limits.h"
#include "base/mem.h"
#include "spool/index_feed.h"
#include "spool/store_int.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

// ---- Frames. ----

struct frame *frame_new(struct store *store)
{
    struct frame *frame = xcalloc(1, sizeof(*frame));
    frame->store = store;
    buf_init(&frame->meta, FRAME_HEAD + FRAME_META_MAX);
    frame->meta.len = buf_reserve(&frame->meta, FRAME_HEAD + 512) != NULL ? FRAME_HEAD : 0;
    atomic_init(&frame->bodies_left, 1);
    return frame;
}

void frame_free(struct frame *frame)
{
    for (size_t i = 0; i < frame->blob_count; i++)
        blob_unref(&frame->blobs[i]);
    xfree(frame->blobs);
    while (frame->messages != NULL) {
        struct store_message *m = frame->messages;
        frame->messages = (struct store_message *)m->post.next;
        store_message_free(&m);
    }
    while (frame->transcripts != NULL) {
        struct transcript *t = frame->transcripts;
        frame->transcripts = t->next;
        xfree(t);
    }
    buf_free(&frame->meta);
    xfree(frame);
}

void frame_seal_meta(struct frame *frame)
{
    static const char zeros[FRAME_ALIGN];
    struct buf *meta = &frame->meta;
    size_t len = meta->len - FRAME_HEAD;
    frame->meta_crc = crc32c(0, meta->data + FRAME_HEAD, len);
    buf_append(meta, zeros, journal_align(len) - len);
    meta->len = FRAME_HEAD + len;
}

static void frame_arrived(struct post *post);

void frame_body_done(struct frame *frame, const struct err *err)
{
    if (err != NULL && !atomic_exchange(&frame->body_failed, true))
        frame->err = *err;
    if (atomic_fetch_sub(&frame->bodies_left, 1) != 1)
        return;
    frame->post.run = frame_arrived;
    loop_post(frame->store->commit_loop, &frame->post);
}

void committer_submit(struct frame *frame)
{
    frame_body_done(frame, NULL); // the part of the maker
}

// ---- Answers, collected for each loop they go to. ----

struct answers {
    struct post post;
    struct answers *next;
    struct loop *home;
    struct store_commit *first, **tail;
};

static void run_answers(struct post *post)
{
    struct answers *a = (struct answers *)post;
    struct store_commit *commit = a->first;
    while (commit != NULL) {
        struct store_commit *next = (struct store_commit *)commit->post.next;
        commit->done(commit);
        commit = next;
    }
    xfree(a);
}

static void answer(struct answers **all, struct store_commit *commit)
{
    struct answers *a = *all;
    while (a != NULL && a->home != commit->home)
        a = a->next;
    if (a == NULL) {
        a = xcalloc(1, sizeof(*a));
        a->home = commit->home;
        a->tail = &a->first;
        a->next = *all;
        *all = a;
    }
    commit->post.next = NULL;
    *a->tail = commit;
    a->tail = (struct store_commit **)&commit->post.next;
}

static void send_answers(struct answers *all)
{
    while (all != NULL) {
        struct answers *a = all;
        all = a->next;
        a->post.run = run_answers;
        loop_post(a->home, &a->post);
    }
}

// ---- What the conductor gets. ----

static void run_mail(struct post *post)
{
    struct store *store = container_of(post, struct store, mail_call);
    atomic_store(&store->mail_called, false);
    struct mail *newest = atomic_exchange(&store->mail, NULL), *oldest = NULL;
    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct mail *mail = oldest;
        oldest = mail->next;
        while (mail->first != NULL) {
            struct store_message *m = mail->first;
            mail->first = (struct store_message *)m->post.next;
            store->accepted(store->ctx, m);
        }
        if (mail->moved_id != 0)
            store->moved(store->ctx, mail->moved_id, mail->moved_to);
        xfree(mail);
    }
}

void committer_mail(struct store *store, struct mail *mail)
{
    mail->next = atomic_load(&store->mail);
    while (!atomic_compare_exchange_weak(&store->mail, &mail->next, mail))
        ;
    if (!atomic_exchange(&store->mail_called, true))
        loop_post(store->conductor, &store->mail_call);
}

static void free_mail(struct store *store)
{
    struct mail *mail = atomic_exchange(&store->mail, NULL);
    while (mail != NULL) {
        struct mail *next = mail->next;
        while (mail->first != NULL) {
            struct store_message *m = mail->first;
            mail->first = (struct store_message *)m->post.next;
            store_message_free(&m);
        }
        xfree(mail);
        mail = next;
    }
}

static void add_arrivals(struct mail **all, struct frame *frame)
{
    if (frame->messages == NULL)
        return;
    if (*all == NULL) {
        *all = xcalloc(1, sizeof(**all));
        (*all)->tail = &(*all)->first;
    }
    uint64_t bodies = frame->offset + journal_align(frame->meta.len);
    for (struct store_message *m = frame->messages; m != NULL;
         m = (struct store_message *)m->post.next) {
        if (m->body.place != 0) {
            m->body.place = (uint32_t)frame->segment;
            m->body.offset += bodies;
        }
        *(*all)->tail = m;
        (*all)->tail = (struct store_message **)&m->post.next;
    }
    frame->messages = NULL;
}

// ---- Ends of commits. ----

static void fail_frame(struct frame *frame, const struct err *err, struct answers **answers)
{
    if (frame->finished != NULL)
        frame->finished(frame, false);
    if (frame->commit != NULL && frame->commit->done != NULL) {
        frame->commit->ok = false;
        frame->commit->err = *err;
        answer(answers, frame->commit);
    }
    frame_free(frame);
}

static void fail_list(struct frame *list, const struct err *err)
{
    struct answers *answers = NULL;
    while (list != NULL) {
        struct frame *frame = list;
        list = frame->next;
        fail_frame(frame, err, &answers);
    }
    send_answers(answers);
}

static void failure_err(struct store *store, struct err *err)
{
    err_set(err, "the spool has failed and takes nothing until a restart: %s", store->failure);
    err->code = EIO;
}

static void fail_waiting(struct store *store)
{
    struct err err;
    struct frame *list = store->c.head;
    store->c.head = NULL;
    store->c.tail = &store->c.head;
    failure_err(store, &err);
    fail_list(list, &err);
}

// ---- Groups. ----

static void add_piece(struct committer *c, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    if (c->piece_count == c->piece_cap) {
        c->piece_cap = c->piece_cap != 0 ? c->piece_cap * 2 : 256;
        c->pieces = xrealloc(c->pieces, c->piece_cap * sizeof(c->pieces[0]));
    }
    c->pieces[c->piece_count++] = (struct file_piece){bytes, len};
}

static uint64_t frame_bytes(const struct frame *frame)
{
    return journal_align(frame->meta.len) + frame->body_len;
}

static void apply_frame(struct store *store, struct frame *frame)
{
    struct str meta = str_make(frame->meta.data + FRAME_HEAD, frame->meta.len - FRAME_HEAD);
    uint64_t body_at = 0;
    struct journal_op op;
    bool ended;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        struct live *live = live_apply(store->live, &op, frame->segment, frame->offset, &ended);
        if (!ended)
            continue;
        if (live->own_file)
            keep_remove_body(store, live->id); // it waits there for the sync
        live_remove(store->live, live);
    }
}

// Gives the frame its place behind those before it.
static void place_frame(struct store *store, struct frame *frame, uint64_t group)
{
    static const char zeros[FRAME_ALIGN];
    struct committer *c = &store->c;
    uint64_t next_id = atomic_load(&store->next_id);
    if (frame->flags & FRAME_END)
        c->id_floor = next_id;
    else if (next_id + ID_BLOCK / 2 > c->id_floor)
        c->id_floor = next_id + ID_BLOCK;
    frame->segment = c->active->number;
    frame->offset = c->active->end;
    frame->sequence = c->sequence;
    struct frame_head head = {
        .segment = frame->segment,
        .sequence = c->sequence++,
        .group = group,
        .id_floor = c->id_floor,
        .wall_ms = clock_wall_ms(),
        .body_len = frame->body_len,
        .run = c->run,
        .chain = c->chain,
        .meta_len = (uint32_t)(frame->meta.len - FRAME_HEAD),
        .meta_crc = frame->meta_crc,
        .ops = frame->ops,
        .flags = frame->flags,
    };
    c->chain = frame_head_encode(&head, frame->meta.data);
    c->active->end += frame_size(&head);
    add_piece(c, frame->meta.data, journal_align(frame->meta.len));
    for (size_t i = 0; i < frame->blob_count; i++) {
        struct blob *blob = frame->blobs[i];
        add_piece(c, blob->data, blob->len);
        add_piece(c, zeros, journal_align(blob->len) - blob->len);
    }
    apply_frame(store, frame);
}

static bool roll(struct store *store)
{
    struct committer *c = &store->c;
    if (c->spare == 0)
        return false;
    struct segment *next = segments_get(store->set, c->spare);
    uint64_t sealed = c->active != NULL ? c->active->number : 0;
    c->spare = 0;
    c->active = next;
    if (sealed != 0)
        keep_sealed(store, sealed);
    keep_want_spare(store);
    return true;
}

// Whether the frame may be written now; rolls to the next segment when that is needed.
enum room { ROOM_YES, ROOM_WAIT, ROOM_NEVER };
static enum room room_for(struct store *store, struct frame *frame, bool group_begun)
{
    struct committer *c = &store->c;
    uint64_t bytes = frame_bytes(frame);
    if (bytes > store->settings.segment_bytes - SEGMENT_HEAD)
        return ROOM_NEVER;
    if (c->active->end + bytes > c->active->size) {
        if (group_begun)
            return ROOM_WAIT; // a group lies in one segment
        // What adds to the queue must not take the last segment there is.
        if (frame->accepts && c->spare_failed)
            return ROOM_NEVER;
        return roll(store) ? ROOM_YES : ROOM_WAIT;
    }
    bool reserve = c->active->end + bytes > c->active->size - c->active->size / 4;
    if (frame->accepts && reserve && c->spare == 0)
        return c->spare_failed ? ROOM_NEVER : ROOM_WAIT;
    return ROOM_YES;
}

static bool write_and_sync(struct store *store, uint64_t at, struct err *err)
{
    struct committer *c = &store->c;
    int64_t begin = clock_mono_us();
    if (!file_write(c->active->file, at, c->pieces, c->piece_count, err) ||
        !spool_sync(store->set, c->active->file, err))
        return false;
    int64_t took = clock_mono_us() - begin;
    atomic_store(&store->last_sync_us, took);
    if (took > atomic_load(&store->slowest_sync_us))
        atomic_store(&store->slowest_sync_us, took);
    atomic_fetch_add(&store->syncs, 1);
    return true;
}

static void no_room(struct store *store, struct frame *frame, struct answers **answers)
{
    struct err err;
    if (frame_bytes(frame) > store->settings.segment_bytes - SEGMENT_HEAD) {
        err_set(&err, "a batch of %" PRIu64 " bytes does not fit into one segment of the journal",
                frame_bytes(frame));
        err.code = EFBIG;
    } else {
        err_set(&err, "no space left on the disk of %s", store->dir);
        err.code = ENOSPC;
        atomic_store(&store->disk_low, true);
    }
    fail_frame(frame, &err, answers);
}

// Takes frames off the queue and places them. Those that can never be written are failed.
static struct frame *gather(struct store *store, uint64_t *begin_out)
{
    struct committer *c = &store->c;
    struct frame *group = NULL, **tail = &group, **at = &c->head;
    struct answers *answers = NULL;
    uint64_t bytes = 0, first = c->sequence;
    size_t count = 0;
    c->piece_count = 0;
    while (*at != NULL && count < LIMIT_GROUP_RECORDS && bytes < LIMIT_GROUP_BYTES) {
        struct frame *frame = *at;
        bool drop = frame->prepare != NULL && !frame->prepare(frame);
        enum room room = drop ? ROOM_NEVER : room_for(store, frame, group != NULL);
        if (room == ROOM_WAIT)
            break;
        *at = frame->next;
        frame->next = NULL;
        if (drop) {
            frame->finished(frame, false);
            frame_free(frame);
        } else if (room == ROOM_NEVER) {
            no_room(store, frame, &answers);
        } else {
            if (group == NULL && c->active->end == SEGMENT_HEAD) {
                struct segment_head head = {.number = c->active->number,
                                            .first_sequence = c->sequence,
                                            .id_floor = c->id_floor,
                                            .wall_ms = clock_wall_ms(),
                                            .run = c->run};
                segment_head_encode(&head, c->head_block);
                add_piece(c, c->head_block, SEGMENT_HEAD);
                *begin_out = 0;
            } else if (group == NULL) {
                *begin_out = c->active->end;
            }
            place_frame(store, frame, first);
            bytes += frame_bytes(frame);
            count++;
            *tail = frame;
            tail = &frame->next;
        }
    }
    if (c->head == NULL)
        c->tail = &c->head;
    send_answers(answers);
    return group;
}

static void free_oldest(struct store *store)
{
    struct committer *c = &store->c;
    for (; c->oldest < c->active->number; c->oldest++) {
        struct segment *segment = segments_get(store->set, c->oldest);
        if (segment == NULL)
            continue;
        if (segment->live > 0)
            break;
        keep_free_segment(store, c->oldest);
    }
    atomic_store(&store->oldest, c->oldest);
}

static void finish_group(struct store *store, struct frame *group)
{
    struct answers *answers = NULL;
    struct mail *arrivals = NULL;
    uint64_t records = 0;
    struct frame *next;
    for (struct frame *frame = group; frame != NULL; frame = frame->next) {
        records += frame->ops;
        add_arrivals(&arrivals, frame);
        if (frame->transcripts != NULL && store->feed != NULL)
            index_feed_transcripts(store->feed, frame);
        if (frame->commit != NULL && frame->commit->done != NULL) {
            frame->commit->ok = true;
            answer(&answers, frame->commit);
        }
    }
    atomic_fetch_add(&store->groups, 1);
    atomic_fetch_add(&store->records, records);
    atomic_store(&store->live_bytes, live_bytes(store->live));
    if (arrivals != NULL)
        committer_mail(store, arrivals);
    send_answers(answers);
    atomic_store(&store->active, store->c.active->number);
    atomic_store(&store->committed, store->c.sequence);
    if (store->feed != NULL)
        index_feed_wake(store->feed);
    keep_synced(store);
    free_oldest(store); // before a compaction hears that its last copy is done
    for (struct frame *frame = group; frame != NULL; frame = next) {
        next = frame->next;
        if (frame->finished != NULL)
            frame->finished(frame, true);
        frame_free(frame);
    }
}

static bool write_group(struct store *store)
{
    uint64_t begin = 0;
    struct err err;
    struct frame *group = gather(store, &begin);
    if (group == NULL)
        return false;
    if (write_and_sync(store, begin, &err)) {
        finish_group(store, group);
        return true;
    }
    err_prefix(&err, "the journal could not be written");
    store_fail(store, &err);
    if (store->feed != NULL)
        index_feed_wake(store->feed); // what waits for this group there
    fail_list(group, &err);
    return false;
}

static void write_all(struct store *store)
{
    while (!atomic_load(&store->failed) && store->c.head != NULL)
        if (!write_group(store))
            break;
}

static void try_close(struct store *store)
{
    struct committer *c = &store->c;
    if (!c->closing || atomic_load(&store->bodies_busy) > 0)
        return;
    c->closing = false;
    if (store->was_clean || !store->maintenance) {
        struct frame *end = frame_new(store);
        end->flags = FRAME_END;
        frame_seal_meta(end);
        *c->tail = end;
        c->tail = &end->next;
    }
    c->spare_failed = true; // nobody prepares segments any more
    write_all(store);
    if (c->head != NULL)
        log_warn("spool", 0, "no end mark written: the next start takes this for a crash");
    fail_waiting(store);
    loop_stop(store->commit_loop);
}

static void write_waiting(void *ctx)
{
    struct store *store = ctx;
    write_all(store);
    if (atomic_load(&store->failed))
        fail_waiting(store);
    try_close(store);
}

void committer_look(struct store *store)
{
    loop_defer(store->commit_loop, &store->c.write, write_waiting, store);
}

static void frame_arrived(struct post *post)
{
    struct frame *frame = (struct frame *)post;
    struct store *store = frame->store;
    if (atomic_load(&frame->body_failed)) {
        frame->next = NULL;
        fail_list(frame, &frame->err);
        committer_look(store); // a close may have waited for it
        return;
    }
    frame->next = NULL;
    *store->c.tail = frame;
    store->c.tail = &frame->next;
    committer_look(store);
}

void committer_spare(struct store *store, uint64_t number)
{
    store->c.spare = number;
    store->c.spare_failed = number == 0;
    committer_look(store);
}

void committer_init(struct store *store)
{
    store->c.tail = &store->c.head;
    store->c.oldest = 1;
    store->mail_call.run = run_mail;
    uint32_t run;
    random_bytes(&run, sizeof(run));
    store->c.run = run;
}

static void on_close(struct post *post)
{
    struct committer *c = container_of(post, struct committer, close);
    struct store *store = container_of(c, struct store, c);
    c->closing = true;
    committer_look(store);
}

void committer_close(struct store *store)
{
    store->c.close.run = on_close;
    loop_post(store->commit_loop, &store->c.close);
}

void committer_free(struct store *store)
{
    fail_waiting(store);
    free_mail(store);
    // The committer has ended: nobody posts it any more.
    if (atomic_load(&store->mail_called))
        loop_take_back(store->conductor, &store->mail_call);
    xfree(store->c.pieces);
}
