// SPDX-License-Identifier: ISC
// `waypost spool check` and `rebuild`.
#include "spool/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "spool/index_feed.h"
#include "spool/keep_int.h"

#include <inttypes.h>
#include <stdio.h>

// ---- Check. ----

struct check {
    struct store *store;
    struct buf *report;
    uint64_t damages, operations;
    struct check_file {
        struct check_file *next;
        uint64_t id, size;
        uint32_t crc;
    } * files; // bodies in files of their own
};

static void check_frame(void *ctx, const struct scan_frame *f)
{
    struct check *c = ctx;
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    bool ended;
    int rc;
    while ((rc = journal_next_op(&meta, &body_at, &op)) == 1) {
        struct live *live = live_apply(c->store->live, &op, f->segment, f->offset, &ended);
        c->operations++;
        if (live != NULL && op.kind == STORE_ACCEPT && op.own_file) {
            struct check_file *file = xcalloc(1, sizeof(*file));
            *file = (struct check_file){c->files, op.id, op.body_size, op.body_crc};
            c->files = file;
        }
        if (ended)
            live_remove(c->store->live, live);
    }
    if (rc == 0)
        return;
    c->damages++;
    buf_printf(c->report,
               "damage: segment %" PRIu64 ", byte %" PRIu64 ": record %" PRIu64
               " has a right CRC, but cannot be understood\n",
               f->segment, f->offset, f->head.sequence);
}

static void check_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text)
{
    struct check *c = ctx;
    char path[SPOOL_PATH];
    c->damages++;
    buf_printf(c->report, "damage: %s: %s\n", segment_path(c->store->set, segment, "wps", path),
               text);
}

static bool file_is_right(const char *path, const struct check_file *f, struct err *err)
{
    enum { PIECE = 256 * 1024 };
    struct file *file = file_open(path, FILE_READ, err);
    if (file == NULL)
        return false;
    char *piece = xmalloc(PIECE);
    uint64_t at = 0;
    uint32_t crc = 0;
    ssize_t n = 0;
    // The file may be longer: spare.h.
    while (at < f->size &&
           (n = file_read(file, at, piece, f->size - at < PIECE ? (size_t)(f->size - at) : PIECE,
                          err)) > 0) {
        crc = crc32c(crc, piece, (size_t)n);
        at += (uint64_t)n;
    }
    xfree(piece);
    file_close(&file);
    if (at == f->size && crc == f->crc)
        return true;
    if (n >= 0)
        err_set(err, "%s: %" PRIu64 " bytes of %" PRIu64 "%s", path, at, f->size,
                at == f->size ? " with a wrong CRC" : "");
    return false;
}

static void check_files(struct check *c)
{
    while (c->files != NULL) {
        struct check_file *f = c->files;
        c->files = f->next;
        struct live *live = live_get(c->store->live, f->id);
        char path[SPOOL_PATH];
        struct err err;
        if (live != NULL && live->own_file &&
            !file_is_right(body_path(c->store, f->id, path), f, &err)) {
            c->damages++;
            buf_printf(c->report, "damage: body of message %" PRIu64 ": %s\n", f->id, err.text);
        }
        xfree(f);
    }
}

static const char *s_of(uint64_t n)
{
    return n == 1 ? "" : "s";
}

bool spool_check(const char *dir, struct buf *report, uint64_t *damages_out, struct err *err)
{
    struct store_settings settings = {.dir = dir, .no_index = true};
    struct store *store = store_new(&settings);
    struct check c = {.store = store, .report = report};
    size_t count;
    uint64_t *numbers =
        store_lock(store, err) ? store_list_segments(store, FILE_READ, &count, err) : NULL;
    struct walk walk = {
        .set = store->set, .verify = true, .ctx = &c, .frame = check_frame, .damage = check_damage};
    bool ok = numbers != NULL && journal_walk(&walk, numbers, count, err);
    if (ok) {
        check_files(&c);
        buf_printf(report,
                   "%zu segment%s, %" PRIu64 " record%s with %" PRIu64
                   " operation%s, %zu message%s waiting (%" PRIu64 " bytes)\n"
                   "the last run ended %s\n%" PRIu64 " damage%s found\n",
                   count, s_of(count), walk.frames, s_of(walk.frames), c.operations,
                   s_of(c.operations), live_count(store->live), s_of(live_count(store->live)),
                   live_bytes(store->live), walk.clean ? "in order" : "without its end mark",
                   c.damages, s_of(c.damages));
    }
    *damages_out = c.damages;
    xfree(numbers);
    store_free(&store);
    return ok;
}

// ---- Rebuild. ----

struct rebuild {
    struct store *store;
    struct loop *loop;
    struct timer timer;
    uint64_t messages, moved, until;
};

static void rebuild_adopt(void *ctx, struct store_message *m)
{
    struct rebuild *r = ctx;
    r->messages++;
    store_message_free(&m);
}

static void rebuild_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
    struct rebuild *r = ctx;
    r->moved++;
}

static void rebuild_look(void *ctx)
{
    struct rebuild *r = ctx;
    struct store *store = r->store;
    uint64_t oldest = atomic_load(&store->oldest);
    bool moved = oldest > r->until || oldest == atomic_load(&store->uncompactable) ||
                 oldest == atomic_load(&store->active);
    bool indexed = index_feed_sequence(store->feed) >= atomic_load(&store->committed);
    if (store_failed(store) || (oldest != 0 && moved && indexed))
        loop_stop(r->loop);
    else
        timer_start(&r->timer, 20);
}

static void rebuild_frame(void *ctx, const struct scan_frame *f)
{
}

static void rebuild_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to,
                           const char *text)
{
    struct rebuild *r = ctx;
    r->until = segment;
}

// The last damaged segment, bodies looked at, too, which a start does not do.
static bool find_damage(struct store *store, struct rebuild *r, struct err *err)
{
    size_t count;
    uint64_t *numbers = store_list_segments(store, FILE_READ, &count, err);
    struct walk walk = {.set = store->set,
                        .verify = true,
                        .ctx = r,
                        .frame = rebuild_frame,
                        .damage = rebuild_damage};
    bool ok = numbers != NULL && journal_walk(&walk, numbers, count, err);
    xfree(numbers);
    return ok;
}

static bool rebuild_prepare(const char *dir, struct rebuild *r, struct err *err)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    struct store_settings settings = {.dir = dir, .no_index = true};
    struct store *store = store_new(&settings);
    bool ok = store_lock(store, err) && find_damage(store, r, err);
    for (size_t i = 0; ok && i < sizeof(endings) / sizeof(endings[0]); i++) {
        char path[SPOOL_PATH];
        snprintf(path, sizeof(path), "%.900s/index.db%s", store->dir, endings[i]);
        ok = path_remove(path, err);
    }
    store_free(&store);
    return ok;
}

bool spool_rebuild(const char *dir, struct buf *report, struct err *err)
{
    struct store_settings settings = {.dir = dir, .rescue = true};
    struct rebuild r = {0};
    if (!rebuild_prepare(dir, &r, err))
        return false;
    r.store = store_open(&settings, rebuild_adopt, &r, err);
    if (r.store == NULL)
        return false;
    r.store->maintenance = true;
    atomic_store(&r.store->compact_until, r.until);
    r.loop = loop_new("rebuild");
    store_start(r.store, r.loop, rebuild_adopt, rebuild_moved, &r);
    timer_init(&r.timer, r.loop, rebuild_look, &r);
    timer_start(&r.timer, 0);
    loop_run(r.loop);
    bool failed = store_failed(r.store);
    bool stuck = atomic_load(&r.store->uncompactable) != 0;
    if (failed)
        err_set(err, "%s", r.store->failure);
    store_close(&r.store);
    loop_free(&r.loop);
    buf_printf(report,
               "the index was made anew; messages waiting: %" PRIu64
               "; moved out of damaged segments: %" PRIu64 "\n%s",
               r.messages, r.moved,
               stuck ? "some could not be moved: see the log, and `spool check`\n" : "");
    return !failed;
}
