// SPDX-License-Identifier: ISC
// Spare files of bodies.
//
// Invariants
//  1. A slot is changed only by who made it SPARE_BUSY; a file has one name at any time.
//  2. A file that somebody reads is not given out: a reader enters before it opens the old name,
//     and is looked for after that name is gone. So who did open it is seen until it leaves.
//  3. No name here needs to be on disk. The frame that names a body is written after a sync of the
//     directory, which covers all that happened to the file's name before.
#include "spool/store_int.h"
#include "sys/file.h"

#include <stdio.h>

enum { SPARE_NONE, SPARE_BUSY, SPARE_LEAST = 4096 };

static const char *spare_path(const struct store *store, size_t slot, char path[SPOOL_PATH])
{
    snprintf(path, SPOOL_PATH, "%.990s/spare-%zu", store->bodies, slot);
    return path;
}

static bool claim(struct spares *spares, size_t slot, uint64_t from)
{
    return atomic_compare_exchange_strong(&spares->slots[slot], &from, SPARE_BUSY);
}

static bool being_read(const struct spares *spares, uint64_t id)
{
    return id != 0 && atomic_load(&spares->readers[id % SPARE_READERS]) > 0;
}

// Moves the file away from its name. False: no slot is free, nothing has been done.
static bool put_into_slot(struct store *store, const char *path, uint64_t id, uint64_t size)
{
    struct spares *spares = &store->spares;
    char spare[SPOOL_PATH];
    struct err ignored;
    size_t slot = 0;
    while (slot < LIMIT_SPARE_BODIES && !claim(spares, slot, SPARE_NONE))
        slot++;
    if (slot == LIMIT_SPARE_BODIES)
        return false;
    bool done = path_rename(path, spare_path(store, slot, spare), &ignored);
    atomic_store(&spares->ids[slot], id);
    atomic_store(&spares->slots[slot], done ? size : SPARE_NONE);
    return done;
}

bool spare_put(struct store *store, const char *path, uint64_t id, struct err *err)
{
    struct spares *spares = &store->spares;
    struct path_facts facts;
    if (atomic_load(&store->disk_low) || !path_stat(path, &facts, err) || facts.size < SPARE_LEAST)
        return path_remove(path, err);
    if (atomic_fetch_add(&spares->bytes, facts.size) + facts.size <= LIMIT_SPARE_BYTES &&
        put_into_slot(store, path, id, facts.size))
        return true;
    atomic_fetch_sub(&spares->bytes, facts.size);
    return path_remove(path, err);
}

// LIMIT_SPARE_BODIES: none.
static size_t best_slot(const struct spares *spares, uint64_t size)
{
    size_t best = LIMIT_SPARE_BODIES;
    uint64_t best_has = 0;
    for (size_t i = 0; i < LIMIT_SPARE_BODIES; i++) {
        uint64_t has = atomic_load(&spares->slots[i]);
        if (has == SPARE_NONE || has == SPARE_BUSY ||
            being_read(spares, atomic_load(&spares->ids[i])))
            continue;
        if (best_has < size ? has > best_has : has >= size && has < best_has) {
            best = i;
            best_has = has;
        }
    }
    return best;
}

bool spare_take(struct store *store, const char *path, uint64_t size)
{
    struct spares *spares = &store->spares;
    char spare[SPOOL_PATH];
    struct err ignored;
    size_t slot;
    while ((slot = best_slot(spares, size)) < LIMIT_SPARE_BODIES) {
        uint64_t has = atomic_load(&spares->slots[slot]);
        if (has == SPARE_NONE || has == SPARE_BUSY || !claim(spares, slot, has))
            continue;
        if (being_read(spares, atomic_load(&spares->ids[slot]))) { // another file by now
            atomic_store(&spares->slots[slot], has);
            continue;
        }
        bool done = path_rename(spare_path(store, slot, spare), path, &ignored);
        if (!done && !path_remove(spare, &ignored))
            return false; // the slot stays busy: its name is taken
        atomic_fetch_sub(&spares->bytes, has);
        atomic_store(&spares->slots[slot], SPARE_NONE);
        if (done)
            return true;
    }
    return false;
}

void spare_remove_all(struct store *store)
{
    struct spares *spares = &store->spares;
    for (size_t i = 0; i < LIMIT_SPARE_BODIES; i++) {
        uint64_t has = atomic_load(&spares->slots[i]);
        char spare[SPOOL_PATH];
        struct err ignored;
        if (has == SPARE_NONE || has == SPARE_BUSY || !claim(spares, i, has))
            continue;
        if (!path_remove(spare_path(store, i, spare), &ignored)) {
            atomic_store(&spares->slots[i], has);
            continue;
        }
        atomic_fetch_sub(&spares->bytes, has);
        atomic_store(&spares->slots[i], SPARE_NONE);
    }
}

void spare_reader_enter(struct store *store, uint64_t id)
{
    atomic_fetch_add(&store->spares.readers[id % SPARE_READERS], 1);
}

void spare_reader_leave(struct store *store, uint64_t id)
{
    atomic_fetch_sub(&store->spares.readers[id % SPARE_READERS], 1);
}
