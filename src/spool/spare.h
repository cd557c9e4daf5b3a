// SPDX-License-Identifier: ISC
// Files of bodies whose message has ended, kept to be written over by the next: blocks that the
// file system has given out once are several times faster to write than new ones.
//
// Any thread. A spare is called bodies/spare-N, N its slot. A start removes them all: only while
// the process lives is it known that nobody else has the file.
#pragma once

#include "base/err.h"
#include "base/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SPARE_READERS = 64 };

struct spares {
    // SPARE_NONE, SPARE_BUSY while its name is being changed, or the file's size.
    _Atomic uint64_t slots[LIMIT_SPARE_BODIES];
    _Atomic uint64_t ids[LIMIT_SPARE_BODIES]; // whose body it was
    _Atomic uint64_t bytes;                   // of all of them
    // Deliveries that have the file of a body open, by the low bits of its message's id.
    atomic_uint readers[SPARE_READERS];
};

struct store;

// Gives the file at `path`, of which the caller knows no other user but readers of message `id` (0:
// nor these), to the spares, or removes it: when there are enough, or the disk
// is nearly full. It is not given out before those readers have left. False with err when it could
// not go either way.
bool spare_put(struct store *store, const char *path, uint64_t id, struct err *err);
// Renames a spare to `path`: the smallest that holds `size`, else the largest. False: there is
// none. It has the old contents, and may be longer or shorter.
bool spare_take(struct store *store, const char *path, uint64_t size);
void spare_remove_all(struct store *store);

// Around everything that has the file of a message's body open: call before it is opened.
void spare_reader_enter(struct store *store, uint64_t id);
void spare_reader_leave(struct store *store, uint64_t id);
