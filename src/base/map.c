// SPDX-License-Identifier: ISC
// Hash maps by open addressing with linear probing and tombstones.
// The hash is SipHash-1-3 under a key of the process, so outsiders cannot build colliding keys.
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>

static uint64_t seed[2];

void map_seed(uint64_t k0, uint64_t k1)
{
    seed[0] = k0;
    seed[1] = k1;
}

static inline uint64_t rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t map_hash(const void *data, size_t len)
{
    const unsigned char *in = data;
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    uint64_t tail = (uint64_t)len << 56;
    for (; len >= 8; len -= 8, in += 8) {
        uint64_t m;
        memcpy(&m, in, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    for (size_t i = 0; i < len; i++)
        tail |= (uint64_t)in[i] << (8 * i);
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// An empty slot has hash 0; a removed one hash 1; live hashes are made >= 2.
struct slot {
    uint64_t hash;
    struct str key;
    void *value;
};

struct map {
    struct slot *slots;
    size_t cap; // 0 or a power of two
    size_t live;
    size_t used; // live and removed
};

static uint64_t hash_of(struct str key)
{
    uint64_t h = map_hash(key.ptr, key.len);
    return h < 2 ? h + 2 : h;
}

static struct slot *find(const struct map *map, struct str key, uint64_t hash)
{
    if (map->cap == 0)
        return NULL;
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct slot *slot = &map->slots[i];
        if (slot->hash == 0)
            return NULL;
        if (slot->hash == hash && str_eq(key, slot->key))
            return slot;
    }
}

static void rehash(struct map *map, size_t cap)
{
    struct slot *old = map->slots;
    size_t old_cap = map->cap;
    map->slots = xcalloc(cap, sizeof(*map->slots));
    map->cap = cap;
    map->used = map->live;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].hash < 2)
            continue;
        size_t at = old[i].hash & (cap - 1);
        while (map->slots[at].hash != 0)
            at = (at + 1) & (cap - 1);
        map->slots[at] = old[i];
    }
    xfree(old);
}

static void *put(struct map *map, struct str key, void *value)
{
    uint64_t hash = hash_of(key);
    struct slot *slot = find(map, key, hash);
    if (slot != NULL) {
        void *before = slot->value;
        slot->key = key;
        slot->value = value;
        return before;
    }
    // At most three quarters used, so that every probe ends.
    if ((map->used + 1) * 4 > map->cap * 3) {
        size_t cap = map->cap == 0 ? 16 : map->cap;
        while ((map->live + 1) * 2 > cap)
            cap *= 2;
        rehash(map, cap);
    }
    size_t at = hash & (map->cap - 1);
    while (map->slots[at].hash >= 2)
        at = (at + 1) & (map->cap - 1);
    if (map->slots[at].hash == 0)
        map->used++;
    map->live++;
    map->slots[at] = (struct slot){hash, key, value};
    return NULL;
}

static void *del(struct map *map, struct str key)
{
    struct slot *slot = find(map, key, hash_of(key));
    if (slot == NULL)
        return NULL;
    void *value = slot->value;
    *slot = (struct slot){.hash = 1};
    map->live--;
    return value;
}

static void *next(const struct map *map, size_t *pos)
{
    while (*pos < map->cap) {
        struct slot *slot = &map->slots[(*pos)++];
        if (slot->hash >= 2)
            return slot->value;
    }
    return NULL;
}

struct map *map_new(void)
{
    return xcalloc(1, sizeof(struct map));
}

void map_free(struct map **map)
{
    if (*map == NULL)
        return;
    xfree((*map)->slots);
    xfree(*map);
    *map = NULL;
}

// An empty text key still needs a pointer to hash.
static struct str text_key(struct str key)
{
    return key.ptr != NULL ? key : STR("");
}

void *map_get(const struct map *map, struct str key)
{
    key = text_key(key);
    struct slot *slot = find(map, key, hash_of(key));
    return slot != NULL ? slot->value : NULL;
}

void *map_put(struct map *map, struct str key, void *value)
{
    return put(map, text_key(key), value);
}

void *map_del(struct map *map, struct str key)
{
    return del(map, text_key(key));
}

size_t map_count(const struct map *map)
{
    return map->live;
}

void *map_next(const struct map *map, size_t *pos)
{
    return next(map, pos);
}

// ---- Keys that are numbers ----

// Ids come in sequence, so 64 neighbours share a chunk, found by one look into a small table: a
// million of them cost little more than their pointers, and walking them in order stays in the
// cache. In the table key 0 is an empty slot, and a chunk of NULL a removed one.
enum { CHUNK_BITS = 6, CHUNK_IDS = 1 << CHUNK_BITS };

struct id_chunk {
    unsigned live;
    void *values[CHUNK_IDS];
};

struct id_slot {
    uint64_t key; // of the chunk: id >> CHUNK_BITS, plus 1
    struct id_chunk *chunk;
};

struct idmap {
    struct id_slot *slots;
    size_t cap;    // 0 or a power of two
    size_t chunks; // live
    size_t used;   // slots of live and removed chunks
    size_t live;   // ids
};

struct idmap *idmap_new(void)
{
    return xcalloc(1, sizeof(struct idmap));
}

void idmap_free(struct idmap **map)
{
    if (*map == NULL)
        return;
    for (size_t i = 0; i < (*map)->cap; i++)
        xfree((*map)->slots[i].chunk);
    xfree((*map)->slots);
    xfree(*map);
    *map = NULL;
}

static uint64_t chunk_key(uint64_t id)
{
    return (id >> CHUNK_BITS) + 1;
}

// The slot of the chunk, or the empty one that ends its probe. There must be a table.
static struct id_slot *id_find(const struct idmap *map, uint64_t key)
{
    size_t i = map_hash(&key, sizeof(key)) & (map->cap - 1);
    while (map->slots[i].key != key && map->slots[i].key != 0)
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

static void id_rehash(struct idmap *map, size_t cap)
{
    struct id_slot *old = map->slots;
    size_t old_cap = map->cap;
    map->slots = xcalloc(cap, sizeof(*map->slots));
    map->cap = cap;
    map->used = map->chunks;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].chunk != NULL)
            *id_find(map, old[i].key) = old[i];
    xfree(old);
}

void *idmap_get(const struct idmap *map, uint64_t key)
{
    const struct id_chunk *chunk = map->cap > 0 ? id_find(map, chunk_key(key))->chunk : NULL;
    return chunk != NULL ? chunk->values[key & (CHUNK_IDS - 1)] : NULL;
}

static struct id_chunk *chunk_for(struct idmap *map, uint64_t key)
{
    // At most three quarters used, so that every probe ends.
    if ((map->used + 1) * 4 > map->cap * 3) {
        size_t cap = map->cap == 0 ? 16 : map->cap;
        while ((map->chunks + 1) * 2 > cap)
            cap *= 2;
        id_rehash(map, cap);
    }
    struct id_slot *slot = id_find(map, key);
    if (slot->chunk == NULL) {
        map->used += slot->key == 0;
        map->chunks++;
        *slot = (struct id_slot){key, xcalloc(1, sizeof(struct id_chunk))};
    }
    return slot->chunk;
}

void *idmap_put(struct idmap *map, uint64_t key, void *value)
{
    assert(key != 0 && value != NULL);
    struct id_chunk *chunk = chunk_for(map, chunk_key(key));
    void **place = &chunk->values[key & (CHUNK_IDS - 1)], *before = *place;
    chunk->live += before == NULL;
    map->live += before == NULL;
    *place = value;
    return before;
}

void *idmap_del(struct idmap *map, uint64_t key)
{
    struct id_slot *slot = map->cap > 0 ? id_find(map, chunk_key(key)) : NULL;
    if (slot == NULL || slot->chunk == NULL)
        return NULL;
    void **place = &slot->chunk->values[key & (CHUNK_IDS - 1)], *value = *place;
    *place = NULL;
    map->live -= value != NULL;
    slot->chunk->live -= value != NULL;
    if (slot->chunk->live == 0) {
        xfree(slot->chunk);
        slot->chunk = NULL;
        map->chunks--;
    }
    return value;
}

size_t idmap_count(const struct idmap *map)
{
    return map->live;
}

void *idmap_next(const struct idmap *map, size_t *pos)
{
    while (*pos >> CHUNK_BITS < map->cap) {
        const struct id_chunk *chunk = map->slots[*pos >> CHUNK_BITS].chunk;
        if (chunk == NULL) {
            *pos = ((*pos >> CHUNK_BITS) + 1) << CHUNK_BITS;
            continue;
        }
        void *value = chunk->values[(*pos)++ & (CHUNK_IDS - 1)];
        if (value != NULL)
            return value;
    }
    return NULL;
}

void idmap_reserve(struct idmap *map, size_t count)
{
    size_t cap = 16;
    while (cap < count / CHUNK_IDS * 2)
        cap *= 2;
    if (cap > map->cap)
        id_rehash(map, cap);
}
