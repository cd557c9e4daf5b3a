// SPDX-License-Identifier: ISC
// The simulated world, seen by whoever drives it: one thread, virtual time, one seed, and a daemon
// that may die.
//
// There is one world a process. src/sim has every symbol of src/sys; a program linked against it
// runs the daemon here. What the driver makes (peers, timers on world_loop, its own memory) belongs
// to the world and outlives a crash; what runs inside world_boot, or on loops made there, belongs
// to the daemon and goes with it: memory of base/mem.h, loops, streams, listeners, open files. The
// same seed and the same driver give the same run, which world_trace proves. Statics of the daemon
// and the private memory of foreign libraries are not undone by a crash.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/netaddr.h"
#include "sys/loop.h"
#include "sys/names.h"
#include "sys/stream.h"

#include <stdio.h>

// ---- The world itself. ----

void world_new(uint64_t seed);
void world_free(void);                // the daemon is crashed first
uint64_t world_trace(void);           // a hash over everything that happened so far
uint64_t world_below(uint64_t limit); // the driver's own random numbers: uniform in [0, limit)
bool world_chance(unsigned permille);
struct loop *world_loop(void); // runs the driver's peers and timers

enum world_went {
    WORLD_RAN,     // one turn of one loop was run; or the time or the condition asked for is here
    WORLD_IDLE,    // nothing will ever happen again by itself
    WORLD_CRASHED, // the daemon is gone (a crash asked for came due); boot it again
};
enum world_went world_step(void);
// Until `until_ms` of virtual monotonic time, or until enough(ctx) (may be NULL; asked after each
// step).
enum world_went world_run_until(int64_t until_ms, bool (*enough)(void *ctx), void *ctx);
int64_t world_now_ms(void);           // virtual monotonic time
void world_jump_clock(int64_t by_ms); // the wall clock alone
void world_set_zone(int offset_minutes);

// ---- The daemon's life. ----

// Runs boot(ctx) as the daemon. WORLD_CRASHED when a crash came due inside. Loops made inside
// belong to the daemon; one that main would loop_run is loop_start'ed instead.
enum world_went world_boot(void (*boot)(void *ctx), void *ctx);

enum world_crash {
    WORLD_KILLED,    // kill -9: the disk keeps all that was written
    WORLD_POWER_CUT, // and what was not synced may be lost, sector by sector, name by name
};
// At once, from the driver; from a peer's callback: as soon as that returns.
void world_crash(enum world_crash how);
// When the daemon makes its nth call of sys from now on (1 = the next); 0: not any more.
void world_crash_at_call(uint64_t nth, enum world_crash how);
uint64_t world_calls(void); // made by the daemon so far
// The daemon's nth allocation from now is refused: mem_try gives NULL, any other ends as a crash
// (WORLD_KILLED). 0: not any more.
void world_fail_allocation(uint64_t nth);
uint64_t world_allocations(void);
// While set, the daemon's calls and allocations are not counted and bring no crash: for what would
// leave foreign memory behind (reading a configuration).
void world_spare(bool spared);
// As the driver, from code that the daemon called: what it allocates is the driver's.
void world_outside(void (*fn)(void *ctx), void *ctx);
size_t world_daemon_bytes(void); // held by the daemon through base/mem.h
unsigned world_daemon_loops(void);
unsigned world_daemon_streams(void);

// ---- Network. ----

// Peers are streams and listeners on world_loop(): use stream_* on them as the daemon does. When
// the daemon crashes they see a reset or an end.
struct listener *world_listen(const struct net_addr *at,
                              void (*accepted)(void *ctx, struct stream *s), void *ctx);
struct stream *world_connect(const struct net_addr *to, const struct net_addr *from,
                             const struct stream_handler *handler, void *ctx);

enum world_fate {
    WORLD_LINK_UP,
    WORLD_LINK_REFUSED,
    WORLD_LINK_BLACKHOLE,   // no answer at all: times out like TCP, after about two minutes
    WORLD_LINK_UNREACHABLE, // no route to host, at once
};
// What one connection will suffer, decided when it is made.
struct world_link {
    enum world_fate fate;
    int64_t latency_us, jitter_us; // one way
    int64_t drip_us;               // at least between two pieces
    size_t chunk_max;              // bytes that arrive at once
    size_t window;                 // bytes under way and unread, one way
    uint64_t reset_after;          // bytes of both ways together; UINT64_MAX: never
    uint64_t silent_after;         // from that byte on nothing arrives any more, either way
};
// Asked for every connection; `link` comes filled with harmless random values.
void world_on_connect(void (*decide)(void *ctx, const struct net_addr *from,
                                     const struct net_addr *to, struct world_link *link),
                      void *ctx);
// Cuts what stands now: every connection of the daemon that does not run over loopback is reset,
// or falls silent.
void world_cut_links(bool silently);
void world_set_uid(uint32_t uid, uint32_t pid); // of unix peers

// TLS without cryptography: what a client finds who checks the certificate of `server_name`.
enum world_certificate {
    WORLD_CERT_GOOD,
    WORLD_CERT_SELF_SIGNED,
    WORLD_CERT_EXPIRED,
    WORLD_CERT_WRONG_NAME
};
void world_set_certificate(const char *server_name, enum world_certificate what);

// ---- Where the machine is. ----

// At the beginning it has eth0 with 192.0.2.10/24. Each link that is up with an address has a
// default route. `kind` as struct link_facts, "" for a physical one; `addresses` "10.20.3.4/24",
// ended by NULL. Connections from an address that goes die with it: reset, or silent.
void world_link_set(const char *name, const char *kind, const char *const *addresses, bool up);
void world_link_remove(const char *name);
void world_links_fail(unsigned times); // so often the kernel does not tell
struct manager_state;
void world_manager_set(const struct manager_state *state); // copied; NetworkManager says so now

// ---- Names. ----

// Adds a record; a name without any answers NXDOMAIN, without that type NODATA.
void world_name_mx(const char *name, uint16_t preference, const char *host);
void world_name_address(const char *name, const char *ip);
void world_name_text(const char *name, enum names_type type, const char *text);
// Overrides the records: NAMES_FAILED, BOGUS, ...; NAMES_OK: the records again.
void world_name_status(const char *name, enum names_type type, enum names_status status);
void world_name_clear(void);
// Every look-up fails, after its whole time when `slow`, else soon.
void world_names_dead(bool dead, bool slow);
// What does not exist has this address (IPv4), as a portal or a provider that redirects answers;
// NULL: the truth again.
void world_names_lie(const char *ip);

// ---- Disk. ----

enum world_disk_op {
    WORLD_DISK_OPEN,
    WORLD_DISK_READ,
    WORLD_DISK_WRITE,
    WORLD_DISK_SYNC, // file_sync
    WORLD_DISK_ALLOCATE,
    WORLD_DISK_TRUNCATE,
    WORLD_DISK_RENAME,
    WORLD_DISK_REMOVE,
    WORLD_DISK_MAKE, // dir_make
    WORLD_DISK_DIR_SYNC,
    WORLD_DISK_LIST,
    WORLD_DISK_OPS
};
// The daemon's nth such call from now fails with `code`, and all after it too when `from_then_on`.
// A sync that fails loses the dirty data, and the next one "succeeds", as on Linux. nth 0: none.
void world_disk_fail(enum world_disk_op op, uint64_t nth, int code, bool from_then_on);
// The daemon's next such call takes so long.
void world_disk_stall(enum world_disk_op op, int64_t ms);
void world_disk_heal(void); // no more failures, no limit
uint64_t world_disk_calls(enum world_disk_op op);
void world_disk_limit(uint64_t bytes); // ENOSPC beyond; UINT64_MAX: none
uint64_t world_disk_used(void);
void world_lose_syncs(bool lose); // file_sync and dir_sync do nothing and report success
// Told of each file that the daemon renamed.
void world_on_rename(void (*renamed)(void *ctx, const char *to), void *ctx);
// The driver's own hand on the disk: durable at once.
void world_disk_mkdirs(const char *path);
void world_disk_put(const char *path, const void *bytes, size_t len);
bool world_disk_get(const char *path, struct buf *out);

// ---- The rest. ----

void world_set_host(const char *name); // host_name()
// Answers command_output; NULL: it fails.
void world_on_command(const char *(*answer)(void *ctx, const char *command), void *ctx);
// What a program does that the daemon ran: asked when all of its input was read. Comes filled with
// success at once.
struct world_program {
    int status, signal; // as in process_end
    int64_t takes_ms;
    const char *output;
};
void world_on_program(void (*run)(void *ctx, const char *const *argv, const char *const *env,
                                  struct str input, struct world_program *out),
                      void *ctx);
// A line into the log, marked as the driver's.
void world_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_print_log(FILE *to); // the last lines, with virtual time
