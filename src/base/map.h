// SPDX-License-Identifier: ISC
// Hash maps: from text, and from 64-bit numbers, to pointers.
#pragma once

#include "base/str.h"

// The key of the hash function; set once at start from the random source, so that outsiders cannot
// choose colliding keys. The simulated world sets it from its seed.
void map_seed(uint64_t k0, uint64_t k1);
uint64_t map_hash(const void *data, size_t len);

// Text keys are borrowed: the bytes must live as long as the entry (usually inside the value).
struct map;
struct map *map_new(void);
void map_free(struct map **map); // the values are the caller's
void *map_get(const struct map *map, struct str key);
// Returns the value that stood there before, or NULL. The key bytes of the new call replace the old
// ones.
void *map_put(struct map *map, struct str key, void *value);
void *map_del(struct map *map, struct str key); // returns the value, or NULL
size_t map_count(const struct map *map);
// Walks in no particular order: start with *pos = 0, until NULL. No change during a walk, but
// map_del of the entry just returned.
void *map_next(const struct map *map, size_t *pos);

// Keys are numbers other than 0.
struct idmap;
struct idmap *idmap_new(void);
void idmap_free(struct idmap **map);
void *idmap_get(const struct idmap *map, uint64_t key);
void *idmap_put(struct idmap *map, uint64_t key, void *value);
void *idmap_del(struct idmap *map, uint64_t key);
size_t idmap_count(const struct idmap *map);
void *idmap_next(const struct idmap *map, size_t *pos);
void idmap_reserve(struct idmap *map, size_t count); // room for so many without growing
