// SPDX-License-Identifier: ISC
// The world as a whole: its seed, its clock going round, and the death of the daemon.
//
// What must hold:
//  1. Nothing here depends on an address, a real clock, or the order of anything but the seed.
//  2. The daemon's code runs only between SIM_CALLBACK's two assignments or inside world_boot, so
//     `owner` always tells whose code allocates.
//  3. A crash jumps only out of daemon code: at the door of a sys call (SIM_CALL) or in the
//     allocator. The world's structures are whole at both.
#include "sim/inside.h"
#include "base/blob.h"
#include "sys/worker.h"

#include <setjmp.h>
#include <stdlib.h>

struct sim sim;
static jmp_buf crash_point;
static bool crash_point_set;

uint64_t sim_random(uint64_t *state) // splitmix64
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
    assert(limit > 0);
    return (uint64_t)(((unsigned __int128)sim_random(state) * limit) >> 64);
}

uint64_t sim_below(uint64_t limit)
{
    return below(&sim.world_random, limit);
}

bool sim_chance(unsigned permille)
{
    return sim_below(1000) < permille;
}

uint64_t world_below(uint64_t limit)
{
    return below(&sim.driver_random, limit);
}

bool world_chance(unsigned permille)
{
    return world_below(1000) < permille;
}

void sim_trace(uint64_t what)
{
    uint64_t h = (sim.trace ^ what) * 0x9e3779b97f4a7c15u;
    sim.trace = h ^ (h >> 29);
}

uint64_t world_trace(void)
{
    return sim.trace;
}

void world_new(uint64_t seed)
{
    assert(!sim.alive);
    uint64_t root = seed ^ 0x7761797073696d31u;
    sim = (struct sim){.alive = true, .zone_minutes = 60};
    sim.world_random = sim_random(&root);
    sim.daemon_random = sim_random(&root);
    sim.driver_random = sim_random(&root);
    sim.trace = sim_random(&root);
    uint64_t k0 = sim_random(&root);
    map_seed(k0, sim_random(&root));
    sim.now_us = (int64_t)(1000 * 1000000 + sim_below(1000000000));
    // 2026-11-21 and up to a year more, to the millisecond.
    sim.wall_offset_ms = 1795219200000 + (int64_t)sim_below(365ull * 86400 * 1000);
    log_init();
    host_init();
    disk_init();
    names_table_init();
    loops_init();
    net_init();
    links_init();
    manager_init();
}

void world_free(void)
{
    if (!sim.alive)
        return;
    world_crash(WORLD_KILLED);
    world_fail_allocation(0);
    net_free();
    links_free();
    tls_free();
    names_table_free();
    loops_free();
    disk_free_all();
    log_free();
    sim.alive = false;
}

struct loop *world_loop(void)
{
    return sim.peers;
}

int64_t world_now_ms(void)
{
    return sim.now_us / 1000;
}

void world_jump_clock(int64_t by_ms)
{
    sim.wall_offset_ms += by_ms;
    sim_trace((uint64_t)by_ms);
}

void world_set_zone(int offset_minutes)
{
    sim.zone_minutes = offset_minutes;
}

uint64_t world_calls(void)
{
    return sim.calls;
}

void world_crash_at_call(uint64_t nth, enum world_crash how)
{
    sim.crash_at = nth > 0 ? sim.calls + nth : 0;
    sim.crash_how = how;
}

void world_spare(bool spared)
{
    sim.spared = spared;
}

void sim_crash_jump(enum world_crash how)
{
    assert(crash_point_set);
    sim.crash_how = how;
    longjmp(crash_point, 1);
}

void sim_daemon_calls(unsigned what)
{
    sim_trace(what);
    if (sim.spared)
        return;
    sim.calls++;
    if (sim.calls == sim.crash_at)
        sim_crash_jump(sim.crash_how);
}

static void crash_now(enum world_crash how)
{
    sim.owner = SIM_WORLD;
    sim.current = NULL;
    sim.turns = 0;
    sim.crash_at = 0;
    sim.crash_due = false;
    crash_point_set = false;
    sim.peers->running = false;
    sim_trace(0xdead + how);
    net_crash(how);
    links_crash();
    manager_crash();
    worker_crash();
    tls_crash();
    disk_crash(how);
    loops_crash();
    sim_drop_daemon_memory();
    blob_forget_all();
}

void world_crash(enum world_crash how)
{
    assert(sim.owner == SIM_WORLD);
    if (sim.turns == 0) {
        crash_now(how);
        return;
    }
    sim.crash_due = true;
    sim.crash_how = how;
}

// Runs one turn, or boots, with a place to jump back to. WORLD_CRASHED after the crash was done.
static enum world_went guarded(enum world_went (*what)(void *ctx), void *ctx)
{
    assert(sim.turns == 0 && !crash_point_set);
    if (setjmp(crash_point) == 0) {
        crash_point_set = true;
        enum world_went went = what(ctx);
        crash_point_set = false;
        if (!sim.crash_due)
            return went;
    }
    sim.owner = SIM_WORLD;
    world_note("the daemon %s", sim.crash_how == WORLD_KILLED ? "is killed" : "loses its power");
    crash_now(sim.crash_how);
    return WORLD_CRASHED;
}

static enum world_went one_turn(void *ctx)
{
    const int64_t *until_us = ctx;
    bool idle = false;
    return sim_turn(*until_us, &idle) || !idle ? WORLD_RAN : WORLD_IDLE;
}

enum world_went world_step(void)
{
    int64_t until_us = INT64_MAX;
    return guarded(one_turn, &until_us);
}

enum world_went world_run_until(int64_t until_ms, bool (*enough)(void *ctx), void *ctx)
{
    int64_t until_us = until_ms * 1000;
    while (sim.now_us < until_us) {
        enum world_went went = guarded(one_turn, &until_us);
        if (went == WORLD_CRASHED)
            return went;
        if (went == WORLD_IDLE) {
            sim.now_us = until_us;
            return went;
        }
        if (enough != NULL && enough(ctx))
            return WORLD_RAN;
    }
    return WORLD_RAN;
}

struct boot {
    void (*fn)(void *ctx);
    void *ctx;
};

static enum world_went boot_now(void *ctx)
{
    const struct boot *boot = ctx;
    sim.turns++;
    sim.owner = SIM_DAEMON;
    boot->fn(boot->ctx);
    sim.owner = SIM_WORLD;
    sim.turns--;
    return WORLD_RAN;
}

enum world_went world_boot(void (*boot)(void *ctx), void *ctx)
{
    return guarded(boot_now, &(struct boot){boot, ctx});
}

void world_outside(void (*fn)(void *ctx), void *ctx)
{
    enum sim_owner before = sim.owner;
    sim.owner = SIM_WORLD;
    fn(ctx);
    sim.owner = before;
}
