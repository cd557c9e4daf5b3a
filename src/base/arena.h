// SPDX-License-Identifier: ISC
// Memory that belongs to one lifetime (a connection, a transaction, a configuration snapshot) and
// goes in one call.
#pragma once

#include "base/str.h"

struct arena;

// Allocations are zeroed, aligned for any type, and never fail (base/mem.h). Not thread-safe.
struct arena *arena_new(void);
void arena_free(struct arena **arena); // frees everything and clears the pointer; NULL is fine
void arena_clear(struct arena *arena); // frees all but the first block
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_str(struct arena *arena, struct str s); // a terminated copy
struct str arena_dup(struct arena *arena, struct str s);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
size_t arena_size(const struct arena *arena); // bytes held from the system
