// SPDX-License-Identifier: ISC
// Memory for very many small things of few sizes that one thread owns: no header in front of each,
// sizes to the next 8 bytes. What is freed is used again for things of about the same size; it goes
// back to the system when the last thing of its size is gone.
#pragma once

#include <stddef.h>

enum { SLAB_MAX = 1024 }; // larger ones come from xmalloc

struct slab_class {
    void *free; // linked through their first bytes
    void *blocks;
    char *at, *end; // of the newest block, not handed out yet
    size_t live;
};
// All zero is empty.
struct slab {
    struct slab_class classes[SLAB_MAX / 8];
};

void *slab_alloc(struct slab *slab, size_t size);         // not zeroed; never fails (base/mem.h)
void slab_free(struct slab *slab, void *at, size_t size); // the size it was asked for with
void slab_end(struct slab *slab); // gives everything back; nothing of it is in use any more
