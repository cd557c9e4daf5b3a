// SPDX-License-Identifier: ISC
// Segment files: the table of those in use, and reading frames.
//
// Invariants
//  1. A slot's memory lives as long as the table, so that a thread with a stale number finds
//     either that segment or another number, never freed memory.
//  2. A file is closed only by whoever turned `hold` from (number, no pins) to 0.
#include "spool/segment.h"
#include "base/crc32c.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

enum { WINDOW = 512 * 1024, BLOCK = 4096, PIN_BITS = 16 };

struct segments *segments_new(const char *dir, bool no_sync)
{
    struct segments *set = xcalloc(1, sizeof(*set));
    snprintf(set->dir, sizeof(set->dir), "%s", dir);
    set->no_sync = no_sync;
    return set;
}

void segments_free(struct segments **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < SEGMENT_SLOTS; i++) {
        struct segment *segment = (*set)->slots[i];
        if (segment != NULL && segment->file != NULL)
            file_close(&segment->file);
        xfree(segment);
    }
    xfree(*set);
    *set = NULL;
}

const char *segment_path(const struct segments *set, uint64_t number, const char *ending,
                         char path[SPOOL_PATH])
{
    snprintf(path, SPOOL_PATH, "%.990s/seg/%010" PRIu64 ".%s", set->dir, number, ending);
    return path;
}

struct segment *segments_add(struct segments *set, uint64_t number, struct file *file,
                             uint64_t size)
{
    struct segment *segment = set->slots[number % SEGMENT_SLOTS];
    if (segment != NULL && segment->hold != 0)
        return NULL;
    if (segment == NULL) {
        segment = xcalloc(1, sizeof(*segment));
        atomic_store(&set->slots[number % SEGMENT_SLOTS], segment);
    }
    segment->number = number;
    segment->file = file;
    segment->size = size;
    segment->end = SEGMENT_HEAD;
    segment->live_bytes = 0;
    segment->live = 0;
    segment->summed = false;
    atomic_store_explicit(&segment->hold, number << PIN_BITS, memory_order_release);
    return segment;
}

struct segment *segments_get(const struct segments *set, uint64_t number)
{
    struct segment *segment = set->slots[number % SEGMENT_SLOTS];
    return segment != NULL && segment->hold >> PIN_BITS == number ? segment : NULL;
}

struct segment *segment_pin(struct segments *set, uint64_t number)
{
    struct segment *segment = set->slots[number % SEGMENT_SLOTS];
    if (segment == NULL)
        return NULL;
    uint64_t hold = segment->hold;
    do
        if (number == 0 || hold >> PIN_BITS != number)
            return NULL;
    while (!atomic_compare_exchange_weak(&segment->hold, &hold, hold + 1));
    return segment;
}

void segment_unpin(struct segment *segment)
{
    uint64_t before = atomic_fetch_sub(&segment->hold, 1);
    assert((before & ((1u << PIN_BITS) - 1)) != 0);
}

bool segment_retire(struct segment *segment)
{
    uint64_t hold = segment->number << PIN_BITS;
    struct file *file = segment->file;
    if (!atomic_compare_exchange_strong(&segment->hold, &hold, 0))
        return false;
    file_close(&file);
    segment->file = NULL;
    return true;
}

bool spool_sync(const struct segments *set, struct file *file, struct err *err)
{
    return set->no_sync || file_sync(file, err);
}

bool spool_dir_sync(const struct segments *set, const char *name, struct err *err)
{
    char path[SPOOL_PATH];
    snprintf(path, sizeof(path), "%.990s/%s", set->dir, name);
    return set->no_sync || dir_sync(path, err);
}

// ---- Reading frames. ----

void scan_begin(struct scan *scan, struct file *file, uint64_t segment, uint64_t size, uint64_t at,
                bool verify)
{
    *scan =
        (struct scan){.file = file, .segment = segment, .size = size, .at = at, .verify = verify};
}

void scan_end(struct scan *scan)
{
    xfree(scan->window);
    scan->window = NULL;
}

// A block that cannot be read must not hide those behind it: it counts as zeros.
static size_t read_around_holes(struct scan *scan, uint64_t at, size_t len)
{
    struct err err;
    ssize_t n = file_read(scan->file, at, scan->window, len, &err);
    if (n >= 0)
        return (size_t)n;
    for (size_t done = 0; done < len; done += BLOCK) {
        size_t part = len - done < BLOCK ? len - done : BLOCK;
        n = file_read(scan->file, at + done, scan->window + done, part, &err);
        if (n >= 0 && (size_t)n < part)
            return done + (size_t)n;
        if (n < 0) {
            memset(scan->window + done, 0, part);
            if (!scan->unread)
                scan->unread_err = err;
            scan->unread = true;
        }
    }
    return len;
}

// `len` bytes at `at`, or NULL when the file ends before. Valid until the next call.
static const char *view(struct scan *scan, uint64_t at, uint64_t len)
{
    if (at > scan->size || len > scan->size - at)
        return NULL;
    if (at < scan->window_at || at + len > scan->window_at + scan->window_len) {
        size_t want = len > WINDOW ? (size_t)len : WINDOW;
        if (want > scan->size - at)
            want = (size_t)(scan->size - at);
        if (want > scan->window_cap) {
            xfree(scan->window);
            scan->window = xmalloc(want);
            scan->window_cap = want;
        }
        scan->window_at = at;
        scan->window_len = read_around_holes(scan, at, want);
        if (scan->window_len < len)
            return NULL;
    }
    return scan->window + (at - scan->window_at);
}

static bool bodies_sound(struct str meta, const char *bodies, uint64_t bodies_len)
{
    uint64_t at = 0;
    struct journal_op op;
    int rc;
    while ((rc = journal_next_op(&meta, &at, &op)) == 1) {
        if (op.kind != STORE_ACCEPT || op.own_file)
            continue;
        if (at > bodies_len || op.body_size > bodies_len - op.body_at ||
            crc32c(0, bodies + op.body_at, op.body_size) != op.body_crc)
            return false;
    }
    return rc == 0;
}

static bool frame_at(struct scan *scan, uint64_t at, struct scan_frame *f)
{
    const char *p = view(scan, at, FRAME_HEAD);
    if (p == NULL || !frame_head_decode(p, scan->segment, &f->head, &f->crc))
        return false;
    uint64_t meta_end = at + FRAME_HEAD + journal_align(f->head.meta_len);
    if (meta_end > scan->size || f->head.body_len > scan->size - meta_end)
        return false;
    uint64_t need = scan->verify ? frame_size(&f->head) : FRAME_HEAD + f->head.meta_len;
    p = view(scan, at, need);
    if (p == NULL || crc32c(0, p + FRAME_HEAD, f->head.meta_len) != f->head.meta_crc)
        return false;
    f->segment = scan->segment;
    f->offset = at;
    f->bodies_at = meta_end;
    f->meta = str_make(p + FRAME_HEAD, f->head.meta_len);
    return !scan->verify || bodies_sound(f->meta, p + (meta_end - at), f->head.body_len);
}

bool scan_next(struct scan *scan, struct scan_frame *frame_out)
{
    if (!frame_at(scan, scan->at, frame_out))
        return false;
    scan->at += frame_size(&frame_out->head);
    return true;
}

bool scan_resync(struct scan *scan, uint64_t sequence, uint64_t group)
{
    struct scan_frame f;
    for (uint64_t at = scan->at + FRAME_ALIGN; at + FRAME_HEAD <= scan->size; at += FRAME_ALIGN) {
        const char *p = view(scan, at, FRAME_HEAD);
        if (p == NULL)
            return false;
        if (*p != 'W' || !frame_head_decode(p, scan->segment, &f.head, &f.crc) ||
            f.head.sequence < sequence || f.head.group < group || !frame_at(scan, at, &f))
            continue;
        scan->at = at;
        return true;
    }
    return false;
}
