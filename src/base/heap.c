// SPDX-License-Identifier: ISC
// A 4-ary min-heap of due times: shallower than a binary one, and the four children share a cache
// line.
#include "base/heap.h"
#include "base/mem.h"

static void place(struct heap *heap, size_t at, struct heap_node *node)
{
    heap->nodes[at] = node;
    node->pos = (uint32_t)at + 1;
}

static size_t sift_up(struct heap *heap, size_t at, struct heap_node *node)
{
    while (at > 0) {
        size_t parent = (at - 1) / 4;
        if (heap->nodes[parent]->due <= node->due)
            break;
        place(heap, at, heap->nodes[parent]);
        at = parent;
    }
    place(heap, at, node);
    return at;
}

static void sift_down(struct heap *heap, size_t at, struct heap_node *node)
{
    for (;;) {
        size_t first = at * 4 + 1, best = at;
        int64_t best_due = node->due;
        for (size_t i = first; i < first + 4 && i < heap->count; i++) {
            if (heap->nodes[i]->due < best_due) {
                best = i;
                best_due = heap->nodes[i]->due;
            }
        }
        if (best == at)
            break;
        place(heap, at, heap->nodes[best]);
        at = best;
    }
    place(heap, at, node);
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t due)
{
    node->due = due;
    if (node->pos == 0) {
        if (heap->count == heap->cap) {
            heap->cap = heap->cap == 0 ? 64 : heap->cap * 2;
            heap->nodes = xrealloc(heap->nodes, heap->cap * sizeof(*heap->nodes));
        }
        node->pos = (uint32_t)++heap->count;
    }
    size_t at = node->pos - 1;
    if (sift_up(heap, at, node) == at)
        sift_down(heap, at, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->pos == 0)
        return;
    size_t at = node->pos - 1;
    node->pos = 0;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last == node)
        return;
    if (sift_up(heap, at, last) == at)
        sift_down(heap, at, last);
}

void heap_free(struct heap *heap)
{
    xfree(heap->nodes);
    *heap = (struct heap){0};
}
