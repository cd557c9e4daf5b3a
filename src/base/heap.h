// SPDX-License-Identifier: ISC
// A 4-ary min-heap of due times whose nodes live inside their owners, so that any node can be moved
// or removed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t due;  // the unit is the user's
    uint32_t pos; // place in the heap + 1; 0 = not in a heap
};

// At most UINT32_MAX - 1 nodes. 8 bytes a node besides the node itself.
struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t cap;
};

void heap_free(struct heap *heap);
void heap_set(struct heap *heap, struct heap_node *node, int64_t due); // inserts or moves
void heap_remove(struct heap *heap, struct heap_node *node);           // harmless when not in
static inline bool heap_has(const struct heap_node *node)
{
    return node->pos != 0;
}
// The earliest, or NULL.
static inline struct heap_node *heap_top(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
