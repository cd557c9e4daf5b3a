// SPDX-License-Identifier: ISC
// Bodies going out: from memory, from a segment, or from a file of its own.
//
// Invariants
//  1. A source on a segment pins it, so that it is not recycled under a delivery.
//  2. Bytes read in order from the first are counted into a CRC; the last of them are given out
//     only when it is right. A damaged body never ends like a whole one.
#include "base/crc32c.h"
#include "base/list.h"
#include "base/mem.h"
#include "spool/store_int.h"

#include <inttypes.h>

enum { FETCH_LEAST = 64 * 1024, FETCH_MOST = 512 * 1024 };

struct source {
    struct work work; // first
    struct body_source src;
    struct loop *loop;
    uint64_t id;
    struct blob *blob;
    struct segment *segment; // pinned, or NULL
    struct file *own;        // or a file of its own,
    struct store *store;     // which the store must not give to another body meanwhile
    uint64_t offset;         // of the body in the file
    uint32_t want_crc, crc;
    uint64_t counted; // bytes that are in crc
    // What a worker fetched
    char *cache;
    uint64_t cache_at;
    size_t cache_len, cache_want;
    bool fetching, released, failed;
    void (*ready)(void *ctx);
    void *ready_ctx;
};

static struct source *of(struct body_source *src)
{
    return container_of(src, struct source, src);
}

static struct file *file_of(const struct source *s)
{
    return s->segment != NULL ? s->segment->file : s->own;
}

static void source_free(struct source *s)
{
    blob_unref(&s->blob);
    if (s->segment != NULL)
        segment_unpin(s->segment);
    if (s->store != NULL) {
        file_close(&s->own);
        spare_reader_leave(s->store, s->id);
    } else if (s->own != NULL) {
        file_close(&s->own);
    }
    xfree(s->cache);
    xfree(s);
}

static bool count(struct source *s, uint64_t offset, const char *bytes, size_t len)
{
    if (offset == 0) {
        s->crc = 0;
        s->counted = 0;
    }
    if (offset > s->counted || offset + len <= s->counted)
        return true; // out of order, or seen before
    size_t seen = (size_t)(s->counted - offset);
    s->crc = crc32c(s->crc, bytes + seen, len - seen);
    s->counted = offset + len;
    return s->counted < s->src.size || s->crc == s->want_crc;
}

static ssize_t read_now(struct body_source *src, uint64_t offset, void *out, size_t len)
{
    struct source *s = of(src);
    struct err err;
    if (offset >= src->size)
        return 0;
    if (len > src->size - offset)
        len = (size_t)(src->size - offset);
    if (s->blob != NULL) {
        memcpy(out, s->blob->data + offset, len);
        return (ssize_t)len;
    }
    ssize_t n;
    if (offset >= s->cache_at && offset < s->cache_at + s->cache_len) {
        size_t skip = (size_t)(offset - s->cache_at);
        n = (ssize_t)(len < s->cache_len - skip ? len : s->cache_len - skip);
        memcpy(out, s->cache + skip, (size_t)n);
    } else if (s->failed) {
        return -1;
    } else {
        n = file_read_now(file_of(s), s->offset + offset, out, len, &err);
        if (n == 0)
            return -1; // the file is shorter than it must be
        if (n < 0)
            return n;
    }
    return count(s, offset, out, (size_t)n) ? n : -1;
}

static void do_fetch(struct work *w)
{
    struct source *s = (struct source *)w;
    struct err err;
    ssize_t n = file_read(file_of(s), s->offset + s->cache_at, s->cache, s->cache_want, &err);
    s->failed = n <= 0;
    s->cache_len = n > 0 ? (size_t)n : 0;
}

static void on_fetched(struct work *w)
{
    struct source *s = (struct source *)w;
    s->fetching = false;
    if (s->released)
        source_free(s);
    else
        s->ready(s->ready_ctx);
}

static void fetch(struct body_source *src, uint64_t offset, size_t len, void (*ready)(void *ctx),
                  void *ctx)
{
    struct source *s = of(src);
    size_t want = len < FETCH_LEAST ? FETCH_LEAST : len > FETCH_MOST ? FETCH_MOST : len;
    if (want > src->size - offset)
        want = (size_t)(src->size - offset);
    if (s->cache == NULL)
        s->cache = xmalloc(FETCH_MOST);
    s->cache_at = offset;
    s->cache_want = want;
    s->cache_len = 0;
    s->fetching = true;
    s->ready = ready;
    s->ready_ctx = ctx;
    s->work.home = s->loop;
    s->work.work = do_fetch;
    s->work.done = on_fetched;
    worker_submit(&s->work);
}

static void release(struct body_source *src)
{
    struct source *s = of(src);
    if (s->fetching)
        s->released = true;
    else
        source_free(s);
}

static const struct body_ops source_ops = {read_now, fetch, release};

static bool open_file(struct store *store, struct source *s, const struct store_body_ref *ref,
                      struct err *err)
{
    if (ref->place == 0) {
        char path[SPOOL_PATH];
        s->store = store;
        spare_reader_enter(store, s->id);
        s->own = file_open(body_path(store, s->id, path), FILE_READ, err);
        return s->own != NULL;
    }
    s->segment = segment_pin(store->set, ref->place);
    s->offset = ref->offset;
    if (s->segment != NULL)
        return true;
    err_set(err, "the body of message %" PRIu64 " has been moved out of segment %" PRIu32, s->id,
            ref->place);
    err->code = EAGAIN;
    return false;
}

static struct source *source_new(struct loop *loop, uint64_t size, uint32_t crc, struct blob *blob)
{
    struct source *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->src.ops = &source_ops;
    s->src.size = size;
    s->want_crc = crc;
    if (blob != NULL) {
        s->blob = blob_ref(blob);
        s->src.whole = str_make(blob->data, blob->len);
    }
    return s;
}

struct body_source *source_of_body(struct loop *loop, const char *path, uint64_t size, uint32_t crc,
                                   struct blob *blob, struct err *err)
{
    struct source *s = source_new(loop, size, crc, blob);
    if (blob == NULL && (s->own = file_open(path, FILE_READ, err)) == NULL) {
        source_free(s);
        return NULL;
    }
    return &s->src;
}

struct body_source *store_body_source(struct store *store, struct loop *loop, uint64_t id,
                                      const struct store_body_ref *ref, struct blob *blob,
                                      struct err *err)
{
    struct source *s = source_new(loop, ref->size, ref->crc, blob);
    s->id = id;
    if (blob == NULL && !open_file(store, s, ref, err)) {
        source_free(s);
        return NULL;
    }
    return &s->src;
}
