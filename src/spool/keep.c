// SPDX-License-Identifier: ISC
// The keeper: a loop for all of the journal's house work that may take time, so that the committer
// never waits for it. It prepares the next segment, writes summaries, gives segments back, removes
// files of bodies or makes them spares, and looks at the disk once a second. compact.c moves
// messages forward.
//
// Invariants
//  1. A segment's name is on disk before the committer hears of it.
//  2. Segments are given back one at a time, oldest first, each on disk before the next
//     (journal.c, invariant 7), and never before the index has read them.
#include "base/list.h"
#include "base/mem.h"
#include "spool/index_feed.h"
#include "spool/keep_int.h"
#include "sys/log.h"

#include <inttypes.h>
#include <stdio.h>

enum { TICK_MS = 1000 };

// ---- Preparing. ----

static struct file *from_pool(struct store *store, const char *path, struct err *err)
{
    static const char zeros[SEGMENT_HEAD];
    struct file_piece piece = {zeros, sizeof(zeros)};
    struct keeper *k = store->keeper;
    while (k->pool_count > 0) {
        uint64_t size, number = k->pool[--k->pool_count];
        char from[SPOOL_PATH];
        struct file *file =
            file_open(segment_path(store->set, number, "free", from), FILE_WRITE, err);
        if (file == NULL)
            continue;
        if (file_size(file, &size, err) && size == store->settings.segment_bytes &&
            file_write(file, 0, &piece, 1, err) && spool_sync(store->set, file, err) &&
            path_rename(from, path, err))
            return file;
        file_close(&file);
        path_remove(from, err);
    }
    return NULL;
}

static struct file *make_file(struct store *store, const char *path, struct err *err)
{
    char temp[SPOOL_PATH];
    segment_path(store->set, 0, "new", temp);
    if (!path_remove(temp, err))
        return NULL;
    struct file *file = file_open(temp, FILE_CREATE_NEW, err);
    if (file == NULL)
        return NULL;
    if (file_allocate(file, store->settings.segment_bytes, err) &&
        spool_sync(store->set, file, err) && path_rename(temp, path, err))
        return file;
    struct err ignored;
    file_close(&file);
    path_remove(temp, &ignored);
    return NULL;
}

bool keep_prepare(struct store *store, uint64_t number, struct err *err)
{
    char path[SPOOL_PATH];
    segment_path(store->set, number, "wps", path);
    struct file *file = from_pool(store, path, err);
    if (file == NULL)
        file = make_file(store, path, err);
    if (file == NULL)
        return false;
    if (spool_dir_sync(store->set, "seg", err)) {
        if (segments_add(store->set, number, file, store->settings.segment_bytes) != NULL) {
            atomic_fetch_add(&store->segments, 1);
            return true;
        }
        err_set(err, "the spool is full: the oldest message waits since %d segments",
                SEGMENT_SLOTS);
    }
    struct err ignored;
    file_close(&file);
    path_remove(path, &ignored);
    return false;
}

// ---- Notes from the committer. ----

struct note {
    struct post post;
    struct note *next;
    struct store *store;
    uint64_t number;
};

static void send(struct store *store, struct loop *to, void (*run)(struct post *post),
                 uint64_t number)
{
    struct note *note = xcalloc(1, sizeof(*note));
    note->post.run = run;
    note->store = store;
    note->number = number;
    loop_post(to, &note->post);
}

static void on_spare(struct post *post) // on the committer
{
    struct note *note = (struct note *)post;
    committer_spare(note->store, note->number);
    xfree(note);
}

static void prepare_spare(struct keeper *k)
{
    struct err err;
    if (k->wanted == 0 || k->quiet)
        return;
    if (keep_prepare(k->store, k->wanted, &err)) {
        send(k->store, k->store->commit_loop, on_spare, k->wanted);
        k->wanted = 0;
        k->complained = false;
        return;
    }
    if (!k->complained)
        log_error("disk", 0, "no further segment for the journal: %s", err.text);
    k->complained = true;
    atomic_store(&k->store->disk_low, true);
    send(k->store, k->store->commit_loop, on_spare, 0);
}

static void on_want(struct post *post)
{
    struct note *note = (struct note *)post;
    note->store->keeper->wanted = note->number;
    prepare_spare(note->store->keeper);
    xfree(note);
}

void keep_want_spare(struct store *store)
{
    send(store, store->keep_loop, on_want, store->c.active->number + 1);
}

static void on_sealed(struct post *post)
{
    struct note *note = (struct note *)post;
    struct segment *segment = segments_get(note->store->set, note->number);
    struct err err;
    if (segment != NULL && !segment_summarize(note->store->set, segment, &err))
        log_warn("spool", 0, "no summary of segment %" PRIu64 ": %s", note->number, err.text);
    compact_look(note->store->keeper);
    xfree(note);
}

void keep_sealed(struct store *store, uint64_t number)
{
    send(store, store->keep_loop, on_sealed, number);
}

// ---- Giving back. ----

static bool give_back(struct keeper *k, uint64_t number, struct err *err)
{
    struct store *store = k->store;
    char path[SPOOL_PATH], to[SPOOL_PATH];
    bool keep = k->pool_count < SEGMENT_POOL;
    if (!path_remove(segment_path(store->set, number, "sum", path), err))
        return false;
    segment_path(store->set, number, "wps", path);
    if (keep ? !path_rename(path, segment_path(store->set, number, "free", to), err)
             : !path_remove(path, err))
        return false;
    if (keep)
        k->pool[k->pool_count++] = number;
    return spool_dir_sync(store->set, "seg", err);
}

void keep_free_segments(struct keeper *k)
{
    struct store *store = k->store;
    struct err err;
    while (!list_empty(&k->freeable) && !k->stuck) {
        struct freeable *f = list_first(&k->freeable, struct freeable, link);
        struct segment *segment = segments_get(store->set, f->number);
        if (store->feed != NULL && index_feed_segment(store->feed) <= f->number)
            return;
        if (segment != NULL && !segment_retire(segment))
            return;
        atomic_fetch_sub(&store->segments, 1);
        if (!give_back(k, f->number, &err)) {
            // Later ones must not go before this one has.
            log_error("disk", 0, "segment %" PRIu64 " cannot be given back: %s", f->number,
                      err.text);
            k->stuck = true;
        }
        list_remove(&f->link);
        xfree(f);
    }
    prepare_spare(k);
}

static void on_freeable(struct post *post)
{
    struct note *note = (struct note *)post;
    struct keeper *k = note->store->keeper;
    struct freeable *f = xcalloc(1, sizeof(*f));
    f->number = note->number;
    list_append(&k->freeable, &f->link);
    xfree(note);
    keep_free_segments(k);
}

void keep_free_segment(struct store *store, uint64_t number)
{
    send(store, store->keep_loop, on_freeable, number);
}

static void on_indexed(struct post *post)
{
    struct note *note = (struct note *)post;
    keep_free_segments(note->store->keeper);
    xfree(note);
}

void keep_indexed(struct store *store)
{
    send(store, store->keep_loop, on_indexed, 0);
}

// ---- Files of bodies. ----

static void on_removals(struct post *post)
{
    struct note *note = (struct note *)post;
    while (note != NULL) {
        struct note *next = note->next;
        char path[SPOOL_PATH];
        struct err err;
        if (!spare_put(note->store, body_path(note->store, note->number, path), note->number, &err))
            log_warn("disk", note->number, "%s", err.text);
        xfree(note);
        note = next;
    }
}

void keep_remove_body(struct store *store, uint64_t id)
{
    struct note *note = xcalloc(1, sizeof(*note));
    note->store = store;
    note->number = id;
    note->next = store->keeper->ended; // the committer's, until keep_synced
    store->keeper->ended = note;
}

void keep_synced(struct store *store)
{
    struct note *all = store->keeper->ended;
    store->keeper->ended = NULL;
    if (all == NULL)
        return;
    all->post.run = on_removals;
    loop_post(store->keep_loop, &all->post);
}

// ---- The disk. ----

void keep_look_at_disk(struct store *store)
{
    uint64_t bytes, inodes;
    struct err err;
    if (!disk_free(store->dir, &bytes, &inodes, &err)) {
        log_warn("disk", 0, "%s", err.text);
        return;
    }
    bool low = bytes < store->settings.disk_floor ||
               (store->keeper->wanted != 0 && store->keeper->complained);
    atomic_store(&store->free_bytes, bytes);
    if (low)
        spare_remove_all(store);
    if (atomic_exchange(&store->disk_low, low) != low)
        log_warn("disk", 0, low ? "nearly full: no new mail is taken" : "there is space again");
}

static void on_tick(void *ctx)
{
    struct keeper *k = ctx;
    keep_free_segments(k); // prepares, too, when that is wanted
    keep_look_at_disk(k->store);
    compact_look(k);
    timer_start(&k->tick, TICK_MS);
}

// ---- Life. ----

void keep_init(struct store *store)
{
    struct keeper *k = xcalloc(1, sizeof(*k));
    k->store = store;
    list_init(&k->freeable);
    store->keeper = k;
}

bool keep_find_pool(struct store *store, struct err *err)
{
    char path[SPOOL_PATH];
    struct keeper *k = store->keeper;
    snprintf(path, sizeof(path), "%.900s/seg", store->dir);
    char **names = dir_list(path, err);
    if (names == NULL)
        return false;
    for (size_t i = 0; names[i] != NULL; i++) {
        struct str name = str_of(names[i]);
        uint64_t number;
        if (!str_iends(name, STR(".free")) ||
            !str_u64(str_make(name.ptr, name.len - 5), UINT32_MAX, &number))
            continue;
        if (k->pool_count < SEGMENT_POOL)
            k->pool[k->pool_count++] = number;
        else if (!path_remove(segment_path(store->set, number, "free", path), err))
            break;
    }
    dir_list_free(&names);
    return true;
}

static void on_start(struct post *post)
{
    struct note *note = (struct note *)post;
    struct keeper *k = note->store->keeper;
    timer_init(&k->tick, note->store->keep_loop, on_tick, k);
    on_tick(k);
    xfree(note);
}

void keep_start(struct store *store)
{
    send(store, store->keep_loop, on_start, 0);
}

static void on_quiet(struct post *post)
{
    struct note *note = (struct note *)post;
    note->store->keeper->quiet = true;
    committer_close(note->store);
    xfree(note);
}

void keep_close(struct store *store)
{
    send(store, store->keep_loop, on_quiet, 0);
}

static void on_stop(struct post *post)
{
    struct note *note = (struct note *)post;
    timer_stop(&note->store->keeper->tick);
    loop_stop(note->store->keep_loop);
    xfree(note);
}

void keep_stop(struct store *store)
{
    send(store, store->keep_loop, on_stop, 0);
}

void keep_free(struct store *store)
{
    struct keeper *k = store->keeper;
    if (k == NULL)
        return;
    struct freeable *f;
    compact_free(k);
    while ((f = list_first(&k->freeable, struct freeable, link)) != NULL) {
        list_remove(&f->link);
        xfree(f);
    }
    while (k->ended != NULL) {
        struct note *note = k->ended;
        k->ended = note->next;
        xfree(note);
    }
    xfree(k);
    store->keeper = NULL;
}
