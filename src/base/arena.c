// SPDX-License-Identifier: ISC
// Memory of one lifetime: blocks of growing size, filled front to back, freed together.
#include "base/arena.h"
#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum { FIRST_BLOCK = 1024, LARGEST_BLOCK = 64 * 1024 };

struct block {
    struct block *next;
    size_t size;
    size_t used;
    _Alignas(max_align_t) char data[];
};

struct arena {
    struct block *newest;
    size_t total;
};

static void add_block(struct arena *arena, size_t at_least)
{
    size_t size = arena->newest != NULL ? arena->newest->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK)
        size = LARGEST_BLOCK;
    if (size < at_least)
        size = at_least;
    struct block *block = xmalloc(sizeof(*block) + size);
    block->size = size;
    block->used = 0;
    block->next = arena->newest;
    arena->newest = block;
    arena->total += sizeof(*block) + size;
}

struct arena *arena_new(void)
{
    return xcalloc(1, sizeof(struct arena));
}

void arena_clear(struct arena *arena)
{
    struct block *block = arena->newest;
    while (block != NULL && block->next != NULL) {
        struct block *next = block->next;
        arena->total -= sizeof(*block) + block->size;
        xfree(block);
        block = next;
    }
    if (block != NULL)
        block->used = 0;
    arena->newest = block;
}

void arena_free(struct arena **arena)
{
    if (*arena == NULL)
        return;
    arena_clear(*arena);
    xfree((*arena)->newest);
    xfree(*arena);
    *arena = NULL;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t align = _Alignof(max_align_t);
    size_t rounded = (size + align - 1) & ~(align - 1);
    if (arena->newest == NULL || arena->newest->size - arena->newest->used < rounded)
        add_block(arena, rounded);
    void *ptr = arena->newest->data + arena->newest->used;
    arena->newest->used += rounded;
    memset(ptr, 0, rounded);
    return ptr;
}

char *arena_str(struct arena *arena, struct str s)
{
    char *copy = arena_alloc(arena, s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

struct str arena_dup(struct arena *arena, struct str s)
{
    return str_make(arena_str(arena, s), s.len);
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_str(arena, str_of(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    assert(format !=
           NULL); // also tells the sanitizer build, whose check for it would make gcc warn
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = arena_alloc(arena, (size_t)(len < 0 ? 0 : len) + 1);
    if (len > 0)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_size(const struct arena *arena)
{
    return arena->total;
}
