// SPDX-License-Identifier: ISC
// The keeper's state, shared by keep.c and compact.c.
#pragma once

#include "base/list.h"
#include "spool/store_int.h"

struct freeable {
    struct link link;
    uint64_t number;
};

struct compaction;

struct keeper {
    struct store *store;
    struct timer tick;
    uint64_t wanted; // segment to be prepared, 0: none
    bool complained; // that it could not be
    bool quiet;      // the store closes: the committer gets nothing any more
    bool stuck;      // a segment could not be given back: none will be until a restart
    struct link freeable;
    uint64_t pool[SEGMENT_POOL];
    size_t pool_count;
    struct note *ended;            // the committer's: files of bodies whose end is being synced
    struct compaction *compaction; // under way, or NULL
};

void keep_init(struct store *store);
bool keep_find_pool(struct store *store, struct err *err);
void keep_free_segments(struct keeper *k); // those that may go now
void compact_look(struct keeper *k);       // starts moving messages forward when that is worth it
void compact_free(struct keeper *k);
