// SPDX-License-Identifier: ISC
// Places for the conductor.
#include "moves.h"

#include "base/arena.h"
#include "watch/watch.h"

void moves_tell(struct queue *q, bool offline, uint64_t holding, size_t network_count)
{
    static uint64_t number;
    struct arena *arena = arena_new();
    struct watch_snapshot *s = arena_alloc(arena, sizeof(*s));
    atomic_init(&s->refs, 1);
    s->arena = arena;
    s->number = ++number;
    s->offline = offline;
    s->captive_why = "";
    s->network_count = network_count;
    s->networks = arena_alloc(arena, (network_count + 1) * sizeof(*s->networks));
    for (size_t i = 0; i < network_count; i++)
        s->networks[i] =
            (struct watch_network){.holds = (holding >> i & 1) != 0, .why = "the test says so"};
    s->holding = holding;
    queue_network(q, s, offline ? "no network" : "another network");
    watch_snapshot_unref(&s);
}
