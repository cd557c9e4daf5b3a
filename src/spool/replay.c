// SPDX-License-Identifier: ISC
// The start: lists the segments, reads them, and hands over what is still to be done.
//
// Invariants
//  1. Nothing is written behind frames whose fate is not known: after an unclean end the tail of
//     the last segment is written again and synced, because the kernel may hold pages of it that a
//     failed sync never brought to disk.
//  2. A segment behind the last one with frames is made blank again, durably, before anything is
//     appended: its header must not claim a sequence number that will be used elsewhere.
//  3. Damaged bytes are copied to corrupt/ before their segment can be recycled.
#include "base/map.h"
#include "base/mem.h"
#include "spool/store_int.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct replay {
    struct store *store;
    int64_t now_ms;
    size_t pos;
    void (*adopt)(void *ctx, struct store_message *m);
    void *ctx;
};

static void on_frame(void *ctx, const struct scan_frame *f)
{
    struct replay *r = ctx;
    struct live_table *table = r->store->live;
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    bool ended;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        struct live *live = live_apply(table, &op, f->segment, f->offset, &ended);
        if (ended)
            live_remove(table, live);
    }
}

static void quarantine(struct store *store, uint64_t number, uint64_t from, uint64_t to)
{
    char path[SPOOL_PATH], block[64 * 1024];
    struct segment *segment = segments_get(store->set, number);
    struct err err;
    snprintf(path, sizeof(path), "%.900s/corrupt", store->dir);
    if (!dir_make(path, 0700, &err))
        return;
    snprintf(path, sizeof(path), "%.900s/corrupt/%010" PRIu64 "-%" PRIu64 ".bin", store->dir,
             number, from);
    struct file *file = file_open(path, FILE_CREATE_NEW, &err);
    if (file == NULL)
        return; // kept at an earlier start
    for (uint64_t at = from; at < to;) {
        size_t want = to - at < sizeof(block) ? (size_t)(to - at) : sizeof(block);
        ssize_t n = file_read(segment->file, at, block, want, &err);
        if (n == 0)
            break;
        size_t got = n > 0 ? (size_t)n : want;
        struct file_piece piece = {block, got};
        if (n > 0 && !file_write(file, at - from, &piece, 1, &err))
            break;
        at += got;
    }
    spool_sync(store->set, file, &err);
    file_close(&file);
}

static void on_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text)
{
    struct replay *r = ctx;
    log_error("damaged", 0, "%s; the bytes are kept in %s/corrupt", text, r->store->dir);
    quarantine(r->store, segment, from, to);
}

// ---- Finding the segments. ----

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool number_of(const char *name, uint64_t *number_out)
{
    struct str s = str_of(name);
    if (!str_iends(s, STR(".wps")))
        return false;
    return str_u64(str_make(s.ptr, s.len - 4), UINT32_MAX, number_out) && *number_out > 0;
}

static bool open_segment(struct store *store, uint64_t number, enum file_mode mode, struct err *err)
{
    char path[SPOOL_PATH];
    uint64_t size;
    struct file *file = file_open(segment_path(store->set, number, "wps", path), mode, err);
    if (file == NULL)
        return false;
    if (!file_size(file, &size, err)) {
        file_close(&file);
        return false;
    }
    if (segments_add(store->set, number, file, size) == NULL) {
        file_close(&file);
        err_set(err, "%s/seg holds segments further apart than %d", store->dir, SEGMENT_SLOTS);
        return false;
    }
    atomic_fetch_add(&store->segments, 1);
    return true;
}

uint64_t *store_list_segments(struct store *store, enum file_mode mode, size_t *count_out,
                              struct err *err)
{
    char path[SPOOL_PATH];
    snprintf(path, sizeof(path), "%.900s/seg", store->dir);
    char **names = dir_list(path, err);
    if (names == NULL)
        return NULL;
    size_t count = 0;
    while (names[count] != NULL)
        count++;
    uint64_t *numbers = xcalloc(count + 1, sizeof(*numbers));
    bool ok = true;
    count = 0;
    for (size_t i = 0; ok && names[i] != NULL; i++)
        if (number_of(names[i], &numbers[count]))
            ok = open_segment(store, numbers[count++], mode, err);
    dir_list_free(&names);
    if (!ok) {
        xfree(numbers);
        return NULL;
    }
    qsort(numbers, count, sizeof(*numbers), by_number);
    *count_out = count;
    return numbers;
}

// ---- After the walk. ----

static bool write_tail_again(struct store *store, struct segment *segment, struct err *err)
{
    enum { PIECE = 1024 * 1024 };
    char *block = xmalloc(PIECE);
    bool ok = true;
    for (uint64_t at = 0; ok && at < segment->end;) {
        size_t want = segment->end - at < PIECE ? (size_t)(segment->end - at) : PIECE;
        ssize_t n = file_read(segment->file, at, block, want, err);
        struct file_piece piece = {block, want};
        ok = n == (ssize_t)want && file_write(segment->file, at, &piece, 1, err);
        at += want;
    }
    xfree(block);
    return ok && spool_sync(store->set, segment->file, err);
}

static bool make_blank(struct store *store, struct segment *segment, struct err *err)
{
    static const char zeros[SEGMENT_HEAD];
    struct file_piece piece = {zeros, sizeof(zeros)};
    if (segment->size < store->settings.segment_bytes) {
        if (!file_allocate(segment->file, store->settings.segment_bytes, err))
            return false;
        segment->size = store->settings.segment_bytes;
    }
    return file_write(segment->file, 0, &piece, 1, err) &&
           spool_sync(store->set, segment->file, err);
}

// The segment to go on in, and a prepared one behind it when there is one.
static bool find_active(struct store *store, const struct walk *walk, const uint64_t *numbers,
                        size_t count, struct err *err)
{
    struct committer *c = &store->c;
    uint64_t highest = count > 0 ? numbers[count - 1] : 0;
    size_t i = 0;
    while (i < count && numbers[i] <= walk->last_segment)
        i++;
    if (walk->last_segment != 0) {
        c->active = segments_get(store->set, walk->last_segment);
        if (!walk->clean && !write_tail_again(store, c->active, err))
            return false;
    }
    for (size_t k = i; k < count; k++)
        if (!make_blank(store, segments_get(store->set, numbers[k]), err))
            return false;
    if (c->active == NULL && i < count) {
        c->active = segments_get(store->set, numbers[i++]);
    } else if (c->active == NULL) {
        if (!keep_prepare(store, ++highest, err))
            return false;
        c->active = segments_get(store->set, highest);
    }
    store->prepared = i < count ? numbers[i] : 0;
    c->oldest = count > 0 ? numbers[0] : highest;
    // Any further blank ones would stand between: they are not needed.
    for (size_t k = i + 1; k < count; k++) {
        char path[SPOOL_PATH];
        segment_retire(segments_get(store->set, numbers[k]));
        atomic_fetch_sub(&store->segments, 1);
        if (!path_remove(segment_path(store->set, numbers[k], "wps", path), err))
            return false;
    }
    return true;
}

// Files of bodies that no live message names: left by a crash, or by one that has ended.
static bool sweep_bodies(struct store *store, struct err *err)
{
    char **names = dir_list(store->bodies, err);
    if (names == NULL)
        return false;
    for (size_t i = 0; names[i] != NULL; i++) {
        uint64_t id = 0;
        char path[SPOOL_PATH];
        struct live *live = str_u64(str_of(names[i]), UINT64_MAX, &id) && id != 0
                                ? live_get(store->live, id)
                                : NULL;
        if (live != NULL && live->own_file)
            continue;
        struct err ignored;
        snprintf(path, sizeof(path), "%.760s/%.255s", store->bodies, names[i]);
        path_remove(path, &ignored);
    }
    dir_list_free(&names);
    return true;
}

static bool was_due(const struct live *live, const struct store_rcpt_state *states, int64_t now_ms)
{
    if (live->held)
        return false;
    if (states == NULL)
        return true;
    for (uint32_t i = 0; i < live->count; i++)
        if (!rcpt_state_final(states[i].state) && states[i].next_ms <= now_ms)
            return true;
    return false;
}

static struct store_message *make_message(const struct journal_op *op, const struct scan_frame *f)
{
    struct store_message *m = xcalloc(1, sizeof(*m) + op->packed.len);
    char *packed = (char *)(m + 1);
    memcpy(packed, op->packed.ptr, op->packed.len);
    m->id = op->id;
    m->packed = str_make(packed, op->packed.len);
    m->count = op->count;
    m->body.size = op->body_size;
    m->body.crc = op->body_crc;
    if (!op->own_file) {
        m->body.place = (uint32_t)f->segment;
        m->body.offset = f->bodies_at + op->body_at;
    }
    return m;
}

// The second walk: each message is built from the record that counts, handed over, and forgotten,
// so that a long queue is in memory once, where it will live.
static void hand_over(void *ctx, const struct scan_frame *f)
{
    struct replay *r = ctx;
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        struct live *live =
            op.kind == STORE_ACCEPT ? live_get_next(r->store->live, &r->pos, op.id) : NULL;
        if (live == NULL || live->segment != f->segment || live->offset != f->offset / FRAME_ALIGN)
            continue;
        struct store_message *m = make_message(&op, f);
        m->held = live->held;
        struct str reason = live_reason(r->store->live, live);
        m->hold_reason = reason.len > 0 ? reason.ptr : NULL;
        m->priority = live->priority;
        m->send_ms = live_times(r->store->live, live).send_ms;
        m->deleted_ms = live_times(r->store->live, live).deleted_ms;
        const struct store_rcpt_state *states = live_states(r->store->live, live);
        m->maybe_repeated = !r->store->was_clean && was_due(live, states, r->now_ms);
        if (states != NULL) {
            size_t bytes = live->count * sizeof(states[0]);
            m->rcpts = xmalloc(bytes);
            memcpy(m->rcpts, states, bytes);
        }
        r->adopt(r->ctx, m);
    }
}

static void no_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text)
{
}

// What the disk does not give may be whole: to go on would be to write over it.
static bool all_was_read(const struct store *store, const struct walk *walk, struct err *err)
{
    if (!walk->unread || store->settings.rescue)
        return true;
    err_set(err,
            "the spool is not opened, and nothing in it was changed: %s. Mend the disk and start "
            "again, or give up what it does not give: `waypost spool rebuild`",
            walk->unread_err.text);
    err->code = walk->unread_err.code;
    return false;
}

bool store_replay(struct store *store, void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                  struct err *err)
{
    struct replay replay = {.store = store, .now_ms = clock_wall_ms(), .adopt = adopt, .ctx = ctx};
    struct walk walk = {.set = store->set, .ctx = &replay, .frame = on_frame, .damage = on_damage};
    size_t count;
    uint64_t *numbers = store_list_segments(store, FILE_WRITE, &count, err);
    if (numbers == NULL)
        return false;
    bool ok = journal_walk(&walk, numbers, count, err) && all_was_read(store, &walk, err) &&
              find_active(store, &walk, numbers, count, err) && sweep_bodies(store, err);
    while (count > 0 && numbers[count - 1] > walk.last_segment)
        count--; // prepared ones
    store->was_clean = walk.clean || walk.frames == 0;
    if (walk.wall_ms > replay.now_ms)
        replay.now_ms = walk.wall_ms;
    struct walk again = {
        .set = store->set, .again = true, .ctx = &replay, .frame = hand_over, .damage = no_damage};
    ok = ok && journal_walk(&again, numbers, count, err) && all_was_read(store, &again, err);
    xfree(numbers);
    if (!ok)
        return false;
    store->c.sequence = walk.sequence != 0 ? walk.sequence : FIRST_SEQUENCE;
    store->c.chain = walk.chain;
    if (walk.id_floor == 0)
        walk.id_floor = 1 + random_below(1u << 30);
    store->c.id_floor = walk.id_floor;
    atomic_store(&store->next_id, walk.id_floor);
    atomic_store(&store->live_bytes, live_bytes(store->live));
    atomic_store(&store->active, store->c.active->number);
    atomic_store(&store->committed, store->c.sequence);
    return true;
}
