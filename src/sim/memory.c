// SPDX-License-Identifier: ISC
// The allocator of the simulated world: every block knows its owner, so that a crash takes all of
// the daemon's.
#include "sim/inside.h"

#include <signal.h>
#include <stdlib.h>

struct block {
    struct link all; // of its owner
    size_t size;
    enum sim_owner owner;
    unsigned magic;
};
enum { BLOCK_MAGIC = 0x5173b10c };
static_assert(sizeof(struct block) % 16 == 0, "blocks stay aligned for any type");

static struct link blocks[2];
static size_t held_bytes;    // the daemon's
static uint64_t allocations; // the daemon's, counted only outside the world's own functions
static uint64_t refuse_at;   // value of allocations, 0: never
static bool refused;         // the last allocation of the daemon was

static void block_link(struct block *b)
{
    list_append(&blocks[b->owner], &b->all);
    b->magic = BLOCK_MAGIC;
    if (b->owner == SIM_DAEMON)
        held_bytes += b->size;
}

static void block_unlink(struct block *b)
{
    assert(b->magic == BLOCK_MAGIC);
    list_remove(&b->all);
    b->magic = 0;
    if (b->owner == SIM_DAEMON)
        held_bytes -= b->size;
}

static struct block *block_of(void *ptr)
{
    return (struct block *)ptr - 1;
}

static void *block_new(enum sim_owner owner, size_t size)
{
    struct block *b = size <= SIZE_MAX - sizeof(*b) ? malloc(sizeof(*b) + size) : NULL;
    if (b == NULL)
        return NULL;
    b->size = size;
    b->owner = owner;
    block_link(b);
    return b + 1;
}

static bool refuse(void)
{
    if (sim.owner != SIM_DAEMON || sim.spared)
        return false;
    allocations++;
    refused = allocations == refuse_at;
    return refused;
}

static void *hook_alloc(size_t size)
{
    return refuse() ? NULL : block_new(sim.owner, size);
}

static void *hook_resize(void *old, size_t size)
{
    if (old == NULL)
        return hook_alloc(size);
    if (refuse())
        sim_crash_jump(WORLD_KILLED); // only xrealloc comes here, and it must not fail
    struct block *b = block_of(old);
    block_unlink(b);
    struct block *grown = realloc(b, sizeof(*b) + size);
    if (grown == NULL)
        abort();
    grown->size = size;
    block_link(grown);
    return grown + 1;
}

static void hook_release(void *ptr)
{
    struct block *b = block_of(ptr);
    block_unlink(b);
    free(b);
}

// xmalloc aborts on the NULL that mem_try hands on politely: the abort right after a refusal is
// that one, and the simulated process is what dies of it. Any other is ours.
static void on_abort(int signo)
{
    if (refused && sim.owner == SIM_DAEMON) {
        sigset_t unblock;
        sigemptyset(&unblock);
        sigaddset(&unblock, signo);
        sigprocmask(SIG_UNBLOCK, &unblock, NULL);
        refused = false;
        sim_crash_jump(WORLD_KILLED);
    }
    signal(signo, SIG_DFL);
}

// Before the first allocation of the program, whoever makes it.
__attribute__((constructor)) static void install(void)
{
    list_init(&blocks[SIM_WORLD]);
    list_init(&blocks[SIM_DAEMON]);
    mem_set_hooks(&(struct mem_hooks){hook_alloc, hook_resize, hook_release});
}

void world_fail_allocation(uint64_t nth)
{
    refuse_at = nth > 0 ? allocations + nth : 0;
    refused = false;
    signal(SIGABRT, nth > 0 ? on_abort : SIG_DFL);
}

uint64_t world_allocations(void)
{
    return allocations;
}

size_t world_daemon_bytes(void)
{
    return held_bytes;
}

void *sim_alloc(enum sim_owner owner, size_t size)
{
    void *ptr = block_new(owner, size);
    if (ptr == NULL)
        abort();
    return memset(ptr, 0, size);
}

void sim_drop_daemon_memory(void)
{
    while (!list_empty(&blocks[SIM_DAEMON])) {
        struct block *b = list_first(&blocks[SIM_DAEMON], struct block, all);
        block_unlink(b);
        free(b);
    }
    assert(held_bytes == 0);
}
