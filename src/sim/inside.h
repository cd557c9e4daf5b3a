// SPDX-License-Identifier: ISC
// What the files of the simulated world share: who owns what, the one queue of events, and the door
// through which the daemon calls in.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "sim/world.h"

#include <assert.h>
#include <stdio.h>

enum sim_owner { SIM_WORLD, SIM_DAEMON };

struct sim {
    bool alive;           // between world_new and world_free
    enum sim_owner owner; // whose code runs: memory allocated now is theirs
    struct loop *current; // whose turn it is, NULL in the driver
    struct loop *peers;   // world_loop
    struct link loops;    // struct loop.all
    int64_t now_us;
    int64_t wall_offset_ms; // wall clock minus monotonic
    int zone_minutes;
    uint64_t world_random, daemon_random, driver_random;
    uint64_t trace;
    uint64_t calls;
    uint64_t crash_at; // value of calls, 0: never
    enum world_crash crash_how;
    bool spared;
    bool crash_due; // as soon as no daemon code is on the stack
    unsigned turns; // nested turns
};
extern struct sim sim;

// Random numbers of the world itself.
uint64_t sim_random(uint64_t *state);
uint64_t sim_below(uint64_t limit);
bool sim_chance(unsigned permille);
void sim_trace(uint64_t what);

// Every function of sys that does more than look begins with SIM_CALL: it counts the daemon's
// calls, crashes it when its time has come (then the function never returns), and makes memory
// allocated until the end of the block the world's. So nothing of the world is half changed when
// the daemon dies.
struct sim_guard {
    enum sim_owner before;
};
void sim_daemon_calls(unsigned what);
static inline struct sim_guard sim_enter(unsigned what)
{
    struct sim_guard guard = {sim.owner};
    if (sim.owner == SIM_DAEMON)
        sim_daemon_calls(what);
    sim.owner = SIM_WORLD;
    return guard;
}
static inline void sim_leave(struct sim_guard *guard)
{
    sim.owner = guard->before;
}
#define SIM_CALL                                                                                   \
    __attribute__((unused)) struct sim_guard sim_guard_of_call                                     \
        __attribute__((cleanup(sim_leave))) = sim_enter(__LINE__)
// Who called, inside a function with SIM_CALL.
#define SIM_CALLER sim_guard_of_call.before

// From the world into code of a loop's owner. A crash may jump out of `call`.
#define SIM_CALLBACK(loop, call)                                                                   \
    do {                                                                                           \
        sim.owner = (loop)->owner;                                                                 \
        call;                                                                                      \
        sim.owner = SIM_WORLD;                                                                     \
    } while (0)

// Memory with an explicit owner, zeroed, never refused.
void *sim_alloc(enum sim_owner owner, size_t size);
void sim_drop_daemon_memory(void);
void sim_crash_jump(enum world_crash how) __attribute__((noreturn));

// ---- Events and loops (loop.c). ----

// Something that will happen on a loop at a virtual time. Embedded; run without any owner switch.
struct event {
    struct heap_node due; // microseconds
    struct loop *loop;
    void (*run)(struct event *e);
};
void event_init(struct event *e, struct loop *loop, void (*run)(struct event *e));
void event_at(struct event *e, int64_t at_us); // moves a pending one
void event_cancel(struct event *e);
static inline bool event_pending(const struct event *e)
{
    return heap_has(&e->due);
}

enum { SIM_LOOPS = 64 };
struct loop {
    struct link all;
    const char *name;
    unsigned id; // place in last_post_us of others; 0 is the driver's
    enum sim_owner owner;
    bool started, ended;
    bool running; // on the stack now
    struct heap events;
    struct heap timers;              // struct timer, by due_ms
    struct defer defers;             // ring
    int64_t now_ms;                  // of this turn
    int64_t busy_until_us;           // blocked in a call, as a thread would be
    int64_t last_post_us[SIM_LOOPS]; // by sender: messages of one sender stay in order
    int64_t last_any_us;
    struct link parcels;   // on their way to it
    struct link streams;   // struct stream.of_loop
    struct link listeners; // struct listener.of_loop
};
// When what the running code sends now leaves: after the calls that kept it busy.
int64_t sim_departs_us(void);
void sim_spend_us(int64_t us);                   // the running loop was blocked so long
bool sim_turn(int64_t until_us, bool *idle_out); // one turn of some loop that is not on the stack
void loops_init(void);
void loops_crash(void);
void loops_free(void);

// ---- What the others do at the beginning, at a crash, at the end. ----
void net_init(void);
void net_crash(enum world_crash how); // before loops_crash
void net_free(void);
void net_address_gone(const struct net_addr *own); // connections from it fall silent or are reset
void links_init(void);                             // before net_init
void links_crash(void);
void links_free(void);
bool links_source(const struct net_addr *to, struct net_addr *from_out); // false: no way there
bool links_own(const struct net_addr *addr);
bool links_up(const char *interface);
void manager_init(void);
void manager_crash(void);
void tls_crash(void);
bool tls_session_known(const char *key); // remembers it
enum world_certificate tls_certificate(const char *server_name);
void tls_free(void);
void names_table_init(void);
void names_table_free(void);
void disk_init(void);
void disk_crash(enum world_crash how);
void disk_free_all(void);
void worker_crash(void);
void log_init(void);
void log_free(void);
void host_init(void);
