// SPDX-License-Identifier: ISC
// Bodies coming in: one piece of memory while they are small and memory lasts, else a file of
// their own, written by workers while more comes in.
//
// Invariants
//  1. At most one work is under way for a body. One whose owner goes meanwhile is left to the
//     committer, which outlives the owner's loop; owner and worker settle by one exchange whose it
//     is (`chunk`).
//  2. A file gets its final name after its contents are synced, and the frame that names it goes
//     to the committer after the directory is synced. Files without a frame are removed at start.
//  3. A file may be one of an ended message, written over (spare.h), so it can be longer than the
//     body: only the frame knows the size.
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "spool/store_int.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { BODY_FIRST = 8 * 1024, BODY_BUFFER_MAX = 256 * 1024 * 1024 };

struct store_body {
    struct work work; // first: it is what a work's functions get
    struct store *store;
    struct loop *loop;
    uint64_t size, size_hint;
    uint32_t crc;
    struct blob *blob; // NULL: in a file
    // With a file:
    struct file *file;
    char path[SPOOL_PATH];
    struct buf fill, flush; // what comes in, what is being written
    uint64_t written;
    enum chunk { CHUNK_WRITING, CHUNK_WRITTEN, CHUNK_ABANDONED } _Atomic chunk;
    bool working, aborted, failed;
    struct err err;
    void (*ready)(void *ctx);
    void *ready_ctx;
    bool ending; // it is complete: the rest goes to the file at once
    // Once taken over by a commit:
    uint64_t id;
    struct frame *frame;
};

const char *body_path(const struct store *store, uint64_t id, char path[SPOOL_PATH])
{
    snprintf(path, SPOOL_PATH, "%.990s/%" PRIu64, store->bodies, id);
    return path;
}

static size_t inline_limit(const struct store *store)
{
    uint64_t quarter = store->settings.segment_bytes / 4;
    return quarter < LIMIT_BODY_INLINE ? (size_t)quarter : LIMIT_BODY_INLINE;
}

static void start_file(struct store_body *body)
{
    struct store *store = body->store;
    snprintf(body->path, sizeof(body->path), "%.900s/tmp-%08x-%" PRIu64, store->bodies,
             store->c.run, atomic_fetch_add(&store->temp_names, 1));
    if (body->size_hint < body->size)
        body->size_hint = body->size;
    buf_init(&body->fill, BODY_BUFFER_MAX);
    buf_init(&body->flush, BODY_BUFFER_MAX);
    if (body->blob != NULL)
        buf_append(&body->fill, body->blob->data, body->blob->len);
    blob_unref(&body->blob);
}

struct store_body *store_body_begin(struct store *store, struct loop *loop, uint64_t size_hint)
{
    struct store_body *body = xcalloc(1, sizeof(*body));
    body->store = store;
    body->loop = loop;
    body->size_hint = size_hint;
    // A declared size is without the header fields that are put in front.
    size_t first = size_hint != 0 ? (size_t)size_hint + 1024 : BODY_FIRST;
    if (size_hint <= inline_limit(store) && blob_total() + first < LIMIT_BODY_MEMORY)
        body->blob = blob_try_new(first < inline_limit(store) ? first : inline_limit(store));
    if (body->blob == NULL)
        start_file(body);
    return body;
}

uint64_t store_body_size(const struct store_body *body)
{
    return body->size;
}

static void body_free(struct store_body *body)
{
    if (body->file != NULL)
        file_close(&body->file);
    blob_unref(&body->blob);
    buf_free(&body->fill);
    buf_free(&body->flush);
    xfree(body);
}

// ---- What workers do. ----

static struct file *open_new(struct store_body *body)
{
    struct err ignored;
    if (spare_take(body->store, body->path, body->size_hint)) {
        struct file *file = file_open(body->path, FILE_WRITE, &ignored);
        if (file != NULL)
            return file;
        path_remove(body->path, &ignored);
    }
    return file_open(body->path, FILE_CREATE_NEW, &body->err);
}

static void write_out(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    if (body->failed)
        return;
    if (body->file == NULL)
        body->file = open_new(body);
    struct file_piece piece = {body->flush.data, body->flush.len};
    if (body->file == NULL ||
        (piece.len > 0 && !file_write(body->file, body->written, &piece, 1, &body->err))) {
        body->failed = true;
        return;
    }
    body->written += piece.len;
    buf_clear(&body->flush);
}

static void remove_file(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    struct err err;
    if (body->file != NULL) {
        file_close(&body->file);
        if (body->failed)
            path_remove(body->path, &err);
        else
            spare_put(body->store, body->path, 0, &err);
    }
}

// A short body must not keep a long file for as long as it waits.
static void cut_excess(struct store_body *body)
{
    uint64_t has;
    struct err ignored;
    if (file_size(body->file, &has, &ignored) && has / 2 > body->written)
        file_truncate(body->file, body->written, &ignored);
}

static void write_last(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    struct store *store = body->store;
    char path[SPOOL_PATH];
    write_out(w);
    body_path(store, body->id, path);
    if (!body->failed)
        cut_excess(body);
    if (!body->failed && !spool_sync(store->set, body->file, &body->err))
        body->failed = true;
    if (!body->failed && !path_rename(body->path, path, &body->err))
        body->failed = true;
    if (!body->failed) {
        snprintf(body->path, sizeof(body->path), "%s", path);
        body->failed = !spool_dir_sync(store->set, "bodies", &body->err);
    }
    if (body->failed)
        remove_file(w);
}

// ---- And what comes of it. ----

static void on_removed(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    struct store *store = body->store;
    body_free(body);
    atomic_fetch_sub(&store->bodies_busy, 1);
    committer_look(store); // a close may wait for it
}

static void submit_removal(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    w->home = body->store->commit_loop;
    w->work = remove_file;
    w->done = on_removed;
    worker_submit(w);
}

static void remove_and_free(struct store_body *body)
{
    atomic_fetch_add(&body->store->bodies_busy, 1);
    submit_removal(&body->work);
}

static bool settle(struct store_body *body, enum chunk as)
{
    enum chunk now = CHUNK_WRITING;
    return atomic_compare_exchange_strong(&body->chunk, &now, as);
}

static void write_chunk(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    write_out(w);
    if (settle(body, CHUNK_WRITTEN))
        return;
    w->home = body->store->commit_loop; // the owner's may be gone
    w->done = submit_removal;
}

static void on_last(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    atomic_fetch_sub(&body->store->bodies_busy, 1);
    frame_body_done(body->frame, body->failed ? &body->err : NULL);
    body_free(body);
}

static void submit_last(struct store_body *body)
{
    buf_append(&body->flush, body->fill.data, body->fill.len);
    buf_clear(&body->fill);
    body->work.home = body->store->commit_loop;
    body->work.work = write_last;
    body->work.done = on_last;
    worker_submit(&body->work);
}

static void submit_chunk(struct store_body *body);

static void on_written(struct work *w)
{
    struct store_body *body = (struct store_body *)w;
    body->working = false;
    if (body->aborted) {
        remove_and_free(body);
        return;
    }
    if (body->frame != NULL) {
        submit_last(body);
        return;
    }
    bool rest = body->fill.len >= BODY_CHUNK || (body->ending && body->fill.len > 0);
    if (rest && !body->failed)
        submit_chunk(body);
    if (body->ending && body->working)
        return;
    void (*ready)(void *ctx) = body->ready;
    body->ready = NULL;
    if (ready != NULL)
        ready(body->ready_ctx);
}

static void submit_chunk(struct store_body *body)
{
    struct buf swap = body->flush;
    body->flush = body->fill;
    body->fill = swap;
    body->working = true;
    atomic_store(&body->chunk, CHUNK_WRITING);
    body->work.home = body->loop;
    body->work.work = write_chunk;
    body->work.done = on_written;
    worker_submit(&body->work);
}

// ---- The caller's side. ----

// Makes room for `len` more bytes in memory, or moves over to a file.
static void grow(struct store_body *body, size_t len)
{
    size_t need = body->blob->len + len, limit = inline_limit(body->store);
    if (need <= body->blob->cap)
        return;
    size_t cap = body->blob->cap * 2 > need ? body->blob->cap * 2 : need;
    if (cap > limit)
        cap = limit;
    struct blob *bigger = NULL;
    if (need <= limit && blob_total() + cap < LIMIT_BODY_MEMORY)
        bigger = blob_try_new(cap);
    if (bigger == NULL) {
        start_file(body);
        return;
    }
    memcpy(bigger->data, body->blob->data, body->blob->len);
    bigger->len = body->blob->len;
    blob_unref(&body->blob);
    body->blob = bigger;
}

int store_body_append(struct store_body *body, const char *bytes, size_t len,
                      void (*ready)(void *ctx), void *ctx, struct err *err)
{
    if (body->blob != NULL)
        grow(body, len);
    if (body->blob != NULL) {
        memcpy(body->blob->data + body->blob->len, bytes, len);
        body->blob->len += len;
    } else if (!body->working && body->failed) {
        *err = body->err;
        return -1;
    } else if (!buf_append(&body->fill, bytes, len)) {
        err_set(err, "more than %d bytes of a message wait for the disk", BODY_BUFFER_MAX);
        err->code = ENOMEM;
        return -1;
    }
    body->crc = crc32c(body->crc, bytes, len);
    body->size += len;
    if (body->blob != NULL || body->fill.len < BODY_CHUNK)
        return 1;
    if (!body->working) {
        submit_chunk(body);
        return 1;
    }
    body->ready = ready;
    body->ready_ctx = ctx;
    return 0;
}

int store_body_end(struct store_body *body, void (*ready)(void *ctx), void *ctx)
{
    if (body->blob != NULL)
        return 1;
    body->ending = true;
    body->ready = ready;
    body->ready_ctx = ctx;
    if (!body->working)
        submit_chunk(body);
    return 0;
}

struct body_source *store_body_read(struct store_body *body, struct err *err)
{
    if (body->failed) {
        *err = body->err;
        return NULL;
    }
    return source_of_body(body->loop, body->path, body->size, body->crc, body->blob, err);
}

void store_body_abort(struct store_body **body_ptr)
{
    struct store_body *body = *body_ptr;
    *body_ptr = NULL;
    if (body == NULL)
        return;
    if (!body->working) {
        if (body->file != NULL)
            remove_and_free(body);
        else
            body_free(body);
        return;
    }
    atomic_uint *busy = &body->store->bodies_busy;
    atomic_fetch_add(busy, 1); // first: once abandoned it is the committer's
    if (settle(body, CHUNK_ABANDONED))
        return;
    atomic_fetch_sub(busy, 1);
    body->aborted = true; // on_written is on its way here
}

struct body_facts body_take(struct store_body **body_ptr, uint64_t id, struct frame *frame)
{
    struct store_body *body = *body_ptr;
    *body_ptr = NULL;
    struct body_facts facts = {.size = body->size, .crc = body->crc, .blob = body->blob};
    if (body->blob != NULL) {
        body->blob = NULL;
        body_free(body);
        return facts;
    }
    body->id = id;
    body->frame = frame;
    atomic_fetch_add(&frame->bodies_left, 1);
    atomic_fetch_add(&body->store->bodies_busy, 1);
    if (!body->working)
        submit_last(body);
    return facts;
}
