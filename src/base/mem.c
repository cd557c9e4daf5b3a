// SPDX-License-Identifier: ISC
// Memory that is there or ends the process.
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mem_hooks hooks = {malloc, realloc, free};

void mem_set_hooks(const struct mem_hooks *new_hooks)
{
    hooks = *new_hooks;
}

static void out_of_memory(size_t size)
{
    fprintf(stderr, "waypost: out of memory (%zu bytes wanted); all accepted mail is on disk\n",
            size);
    abort();
}

void *mem_try(size_t size)
{
    return hooks.alloc(size > 0 ? size : 1);
}

void *xmalloc(size_t size)
{
    void *ptr = mem_try(size);
    if (ptr == NULL)
        out_of_memory(size);
    return ptr;
}

void *xcalloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        out_of_memory(SIZE_MAX);
    void *ptr = xmalloc(total);
    memset(ptr, 0, total);
    return ptr;
}

void *xrealloc(void *old, size_t size)
{
    void *ptr = hooks.resize(old, size > 0 ? size : 1);
    if (ptr == NULL)
        out_of_memory(size);
    return ptr;
}

char *xstrndup(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

void xfree(void *ptr)
{
    if (ptr != NULL)
        hooks.release(ptr);
}
