// SPDX-License-Identifier: ISC
// Blocks of one size class each, handed out front to back, then from the free list.
#include "base/slab.h"
#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>

enum { BLOCK = 64 * 1024 - 64 }; // with the allocator's own header about a whole number of pages

struct block {
    struct block *next;
};

// Under AddressSanitizer each thing stands alone, so that it sees what is used after its end.
#ifdef __SANITIZE_ADDRESS__
static const bool alone = true;
#else
static const bool alone = false;
#endif

static size_t rounded(size_t size)
{
    return size > 0 ? (size + 7) & ~(size_t)7 : 8;
}

void *slab_alloc(struct slab *slab, size_t size)
{
    size = rounded(size);
    if (alone || size > SLAB_MAX)
        return xmalloc(size);
    struct slab_class *c = &slab->classes[size / 8 - 1];
    c->live++;
    if (c->free != NULL) {
        void **at = c->free;
        c->free = *at;
        return at;
    }
    if ((size_t)(c->end - c->at) < size) {
        struct block *block = xmalloc(BLOCK);
        block->next = c->blocks;
        c->blocks = block;
        c->at = (char *)(block + 1);
        c->end = (char *)block + BLOCK;
    }
    void *at = c->at;
    c->at += size;
    return at;
}

static void release(struct slab_class *c)
{
    for (struct block *block = c->blocks, *next; block != NULL; block = next) {
        next = block->next;
        xfree(block);
    }
    *c = (struct slab_class){0};
}

void slab_free(struct slab *slab, void *at, size_t size)
{
    size = rounded(size);
    if (alone || size > SLAB_MAX) {
        xfree(at);
        return;
    }
    struct slab_class *c = &slab->classes[size / 8 - 1];
    assert(c->live > 0);
    *(void **)at = c->free;
    c->free = at;
    // A single thing that comes and goes shall not cost a block each time.
    struct block *newest = c->blocks;
    if (--c->live == 0 && newest->next != NULL)
        release(c);
}

void slab_end(struct slab *slab)
{
    for (size_t i = 0; i < sizeof(slab->classes) / sizeof(slab->classes[0]); i++)
        release(&slab->classes[i]);
}
