// SPDX-License-Identifier: ISC
// One thread's event loop, its timers, and the typed messages that are the only way between
// threads.
//
// Each thread of the program owns exactly one loop; everything created on a loop (timers, streams,
// lookups) is used on that loop's thread only. loop_post is the one function that may be called
// from any thread. In the simulated world all loops run on one thread under virtual time, in an
// order drawn from the seed.
#pragma once

#include "base/heap.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

// `name` (static text) names the thread. The loop runs nothing until loop_start or loop_run.
struct loop *loop_new(const char *name);
void loop_start(struct loop *loop); // in a thread of its own
void loop_run(struct loop *loop);   // on this thread, until loop_stop; only for main (not in the
                                    // simulated world)
void loop_stop(
    struct loop *loop); // any thread; the loop ends after the messages posted before have run
void loop_join(struct loop *loop);  // waits for a started loop's thread to end
void loop_free(struct loop **loop); // after loop_run returned or loop_join

// A message to another loop. Embed as the first member of a typed struct; `run` gets it on the
// target's thread and owns it from then on. Messages from one thread to one loop arrive in order.
// Never blocks, never fails.
struct post {
    struct post *next;
    void (*run)(struct post *post);
};
void loop_post(struct loop *to, struct post *post);
// Takes back what was posted to it and has not run yet; on the loop's own thread, or when it does
// not run. False: it has run, or was never posted.
bool loop_take_back(struct loop *loop, struct post *post);

// Runs fn(ctx) once on this loop, after the events at hand were handled and before it sleeps: the
// place to batch. Embed the struct; a pending one is not queued twice; defer_cancel before its
// owner goes.
struct defer {
    struct defer *prev, *next;
    void (*fn)(void *ctx);
    void *ctx;
};
void loop_defer(struct loop *loop, struct defer *defer, void (*fn)(void *ctx), void *ctx);
void defer_cancel(struct defer *defer);

// Timers. Embed; timer_init once; start replaces the time of a running one; stop is harmless on a
// stopped one.
struct timer {
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    union {
        struct heap_node node; // what the loop's heap knows of it
        struct {
            int64_t due_ms;    // in loop_now_ms time
            uint32_t heap_pos; // place in the loop's heap, 0 = not running
        };
    };
};
void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *ctx), void *ctx);
void timer_start(struct timer *timer, int64_t after_ms);
void timer_stop(struct timer *timer);
static inline bool timer_running(const struct timer *timer)
{
    return timer->heap_pos != 0;
}

// Monotonic milliseconds, read once per loop iteration. Never jumps; unrelated to the date.
int64_t loop_now_ms(struct loop *loop);

// Signals, on the loop that loop_run runs (main). fn gets the signal number. Ignored in the
// simulated world.
void loop_on_signal(struct loop *loop, int signo, void (*fn)(void *ctx, int signo), void *ctx);

// Calls fn when `fd` is readable (foreign libraries, netlink, inotify). NULL is never returned.
struct fd_watch;
struct fd_watch *fd_watch_new(struct loop *loop, int fd, void (*fn)(void *ctx), void *ctx);
void fd_watch_free(struct fd_watch **watch); // does not close the fd
