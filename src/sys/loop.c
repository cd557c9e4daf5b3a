// SPDX-License-Identifier: ISC
// One libuv loop a thread, with our own timer heap and message queue on top.
//
// One turn of the loop:
//
//   uv_timer    our due timers
//   uv_prepare  posts, deferred work, then uv_timer is set to the earliest timer
//   sleep
//   events      sockets, watched descriptors, signals, and posts (uv_async)
//
// Invariants
//  1. One uv_timer stands for the whole heap; it is set anew only right before sleeping, so that
//     starting and stopping a timer touches nothing but the heap.
//  2. Posts form a stack that senders push to by compare-and-swap and the loop takes whole and
//     reverses: each sender's order holds.
//  3. The loop says `asleep` and then looks for posts once more; a sender pushes and then looks
//     whether the loop is asleep. So one of the two sees the other, and a loop at work is never
//     woken by a system call.
//  4. Nothing sleeps while deferred work is pending.
#include "base/list.h"
#include "base/mem.h"
#include "sys/loop_int.h"
#include "sys/thread.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A deferred function that defers again is served before the loop sleeps, but only this often, then
// events get their turn.
enum { DEFER_ROUNDS = 8 };

struct signal_watch {
    struct signal_watch *next;
    uv_signal_t uv;
    void (*fn)(void *ctx, int signo);
    void *ctx;
};

struct loop {
    uv_loop_t uv;
    const char *name;
    pthread_t joinable; // by loop_start
    bool started;
    pthread_t thread; // whose the loop is while it runs
    bool running;

    uv_prepare_t prepare;
    uv_timer_t clock;
    int64_t clock_due_ms; // what `clock` is set to, -1 = not set
    struct heap timers;
    struct defer deferred; // head of a ring

    struct link exits;
    struct signal_watch *signals;

    _Alignas(64) _Atomic(struct post *) posts; // newest first; written by all threads
    struct post *taken;                        // from there: oldest first
    atomic_bool asleep;                        // or about to be: somebody has to wake it
    uv_async_t wake;
    atomic_bool stopping;
    struct post stop;
};

struct fd_watch {
    uv_poll_t uv;
    void (*fn)(void *ctx);
    void *ctx;
};

// A loop that runs is touched by its own thread only.
static void assert_owned(const struct loop *loop)
{
    assert(!loop->running || pthread_equal(loop->thread, pthread_self()));
}

static void run_deferred(struct loop *loop)
{
    struct defer *head = &loop->deferred;
    for (int round = 0; round < DEFER_ROUNDS && head->next != head; round++) {
        // Those added from here on stand behind `mark` and wait for the next round.
        struct defer mark = {.prev = head->prev, .next = head};
        head->prev->next = &mark;
        head->prev = &mark;
        while (head->next != &mark) {
            struct defer *d = head->next;
            defer_cancel(d);
            d->fn(d->ctx);
        }
        defer_cancel(&mark);
    }
}

static void run_timers(struct loop *loop)
{
    int64_t now = loop_now_ms(loop);
    // Bounded, so that timers that restart themselves for "at once" leave events their turn.
    for (size_t left = loop->timers.count; left > 0; left--) {
        struct heap_node *top = heap_top(&loop->timers);
        if (top == NULL || top->due > now)
            break;
        struct timer *timer = container_of(top, struct timer, node);
        heap_remove(&loop->timers, top);
        timer->fn(timer->ctx);
    }
}

static void on_clock(uv_timer_t *uv)
{
    struct loop *loop = uv->data;
    loop->clock_due_ms = -1;
    run_timers(loop);
}

// Moves what was posted behind what was taken before.
static void take_posts(struct loop *loop)
{
    struct post *newest = atomic_exchange_explicit(&loop->posts, NULL, memory_order_acquire);
    struct post *oldest = NULL, **end = &loop->taken;
    while (newest != NULL) {
        struct post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest;
}

static bool has_posts(struct loop *loop, memory_order order)
{
    return loop->taken != NULL || atomic_load_explicit(&loop->posts, order) != NULL;
}

static void run_posts(struct loop *loop)
{
    if (!has_posts(loop, memory_order_relaxed))
        return;
    take_posts(loop);
    while (loop->taken != NULL) {
        struct post *post = loop->taken;
        loop->taken = post->next;
        post->run(post);
    }
}

bool loop_take_back(struct loop *loop, struct post *post)
{
    assert_owned(loop);
    take_posts(loop);
    for (struct post **at = &loop->taken; *at != NULL; at = &(*at)->next)
        if (*at == post) {
            *at = post->next;
            return true;
        }
    return false;
}

static void on_wake(uv_async_t *uv)
{
    run_posts(uv->data);
}

static void set_clock(struct loop *loop, bool at_once)
{
    struct heap_node *top = heap_top(&loop->timers);
    int64_t due = top != NULL ? top->due : -1;
    if (at_once)
        due = 0;
    if (due == loop->clock_due_ms)
        return;
    loop->clock_due_ms = due;
    if (due < 0) {
        uv_timer_stop(&loop->clock);
        return;
    }
    int64_t after = due - loop_now_ms(loop);
    uv_timer_start(&loop->clock, on_clock, after > 0 ? (uint64_t)after : 0, 0);
}

static void on_prepare(uv_prepare_t *uv)
{
    struct loop *loop = uv->data;
    atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
    run_posts(loop);
    run_deferred(loop);
    atomic_store(&loop->asleep, true);
    bool more = has_posts(loop, memory_order_seq_cst);
    if (more)
        atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
    set_clock(loop, more || loop->deferred.next != &loop->deferred);
}

void loop_post(struct loop *to, struct post *post)
{
    struct post *top = atomic_load_explicit(&to->posts, memory_order_relaxed);
    do
        post->next = top;
    while (!atomic_compare_exchange_weak(&to->posts, &top, post));
    // Whoever pushed onto the empty stack wakes for all behind it.
    if (top == NULL && atomic_exchange(&to->asleep, false))
        uv_async_send(&to->wake);
}

struct loop *loop_new(const char *name)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    loop->name = name;
    loop->clock_due_ms = -1;
    loop->deferred.prev = loop->deferred.next = &loop->deferred;
    list_init(&loop->exits);
    int rc = uv_loop_init(&loop->uv);
    if (rc == 0)
        rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (rc != 0) {
        fprintf(stderr, "waypost: cannot make the event loop \"%s\": %s\n", name, uv_strerror(rc));
        abort();
    }
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_timer_init(&loop->uv, &loop->clock);
    loop->wake.data = loop->prepare.data = loop->clock.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    return loop;
}

static void run_until_stopped(struct loop *loop)
{
    loop->thread = pthread_self();
    loop->running = true;
    uv_update_time(&loop->uv);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    run_deferred(loop); // what the last messages left to be done
    loop->running = false;
}

static void *thread_main(void *arg)
{
    struct loop *loop = arg;
    char name[16]; // the kernel takes no longer ones
    snprintf(name, sizeof(name), "%s", loop->name);
    pthread_setname_np(pthread_self(), name);
    run_until_stopped(loop);
    return NULL;
}

void loop_start(struct loop *loop)
{
    assert(!loop->started && !loop->running);
    pthread_t thread;
    int rc = thread_start(&thread, thread_main, loop);
    if (rc != 0) {
        fprintf(stderr, "waypost: cannot start the thread \"%s\": %s\n", loop->name, strerror(rc));
        abort();
    }
    loop->joinable = thread;
    loop->started = true;
}

void loop_run(struct loop *loop)
{
    assert(!loop->started && !loop->running);
    signal(SIGPIPE, SIG_IGN); // a write to a closed connection is an ordinary error
    run_until_stopped(loop);
}

static void on_stop(struct post *post)
{
    uv_stop(&container_of(post, struct loop, stop)->uv);
}

void loop_stop(struct loop *loop)
{
    if (atomic_exchange(&loop->stopping, true))
        return;
    loop->stop.run = on_stop;
    loop_post(loop, &loop->stop);
}

void loop_join(struct loop *loop)
{
    if (!loop->started)
        return;
    pthread_join(loop->joinable, NULL);
    loop->started = false;
}

static void on_signal_closed(uv_handle_t *handle)
{
    xfree(container_of((uv_signal_t *)handle, struct signal_watch, uv));
}

static void close_stray(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_free(struct loop **loop_ptr)
{
    struct loop *loop = *loop_ptr;
    if (loop == NULL)
        return;
    assert(!loop->started && !loop->running);
    *loop_ptr = NULL;
    struct loop_exit *entry;
    while ((entry = list_first(&loop->exits, struct loop_exit, link)) != NULL) {
        list_remove(&entry->link);
        entry->fn(entry->ctx);
    }
    while (loop->signals != NULL) {
        struct signal_watch *watch = loop->signals;
        loop->signals = watch->next;
        uv_close((uv_handle_t *)&watch->uv, on_signal_closed);
    }
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->clock, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    // Whatever is open now was forgotten by its owner: its descriptor goes, its memory is leaked.
    uv_walk(&loop->uv, close_stray, NULL);
    while (uv_loop_close(&loop->uv) == UV_EBUSY)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    heap_free(&loop->timers);
    xfree(loop);
}

int64_t loop_now_ms(struct loop *loop)
{
    if (!loop->running)
        uv_update_time(&loop->uv); // start-up may take long, and timers are set during it
    return (int64_t)uv_now(&loop->uv);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_on_exit(struct loop *loop, struct loop_exit *entry, void (*fn)(void *ctx), void *ctx)
{
    assert_owned(loop);
    list_remove(&entry->link);
    entry->fn = fn;
    entry->ctx = ctx;
    list_append(&loop->exits, &entry->link);
}

void loop_exit_cancel(struct loop_exit *entry)
{
    list_remove(&entry->link);
}

void loop_defer(struct loop *loop, struct defer *defer, void (*fn)(void *ctx), void *ctx)
{
    assert_owned(loop);
    defer->fn = fn;
    defer->ctx = ctx;
    if (defer->next != NULL)
        return;
    struct defer *head = &loop->deferred;
    defer->prev = head->prev;
    defer->next = head;
    head->prev->next = defer;
    head->prev = defer;
}

void defer_cancel(struct defer *defer)
{
    if (defer->next == NULL)
        return;
    defer->prev->next = defer->next;
    defer->next->prev = defer->prev;
    defer->prev = defer->next = NULL;
}

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    *timer = (struct timer){.loop = loop, .fn = fn, .ctx = ctx};
}

void timer_start(struct timer *timer, int64_t after_ms)
{
    assert_owned(timer->loop);
    int64_t now = loop_now_ms(timer->loop), due;
    if (after_ms < 0)
        after_ms = 0;
    if (__builtin_add_overflow(now, after_ms, &due))
        due = INT64_MAX;
    heap_set(&timer->loop->timers, &timer->node, due);
}

void timer_stop(struct timer *timer)
{
    if (timer->heap_pos == 0)
        return;
    assert_owned(timer->loop);
    heap_remove(&timer->loop->timers, &timer->node);
}

static void on_signal(uv_signal_t *uv, int signo)
{
    struct signal_watch *watch = uv->data;
    watch->fn(watch->ctx, signo);
}

void loop_on_signal(struct loop *loop, int signo, void (*fn)(void *ctx, int signo), void *ctx)
{
    assert_owned(loop);
    struct signal_watch *watch = xcalloc(1, sizeof(*watch));
    watch->fn = fn;
    watch->ctx = ctx;
    uv_signal_init(&loop->uv, &watch->uv);
    watch->uv.data = watch;
    int rc = uv_signal_start(&watch->uv, on_signal, signo);
    assert(rc == 0);
    watch->next = loop->signals;
    loop->signals = watch;
}

static void on_readable(uv_poll_t *uv, int status, int events)
{
    // An error shows itself to whoever reads, and may pass by that (netlink's ENOBUFS); libuv has
    // stopped looking at it.
    struct fd_watch *watch = uv->data;
    if (status < 0)
        uv_poll_start(uv, UV_READABLE, on_readable);
    watch->fn(watch->ctx);
}

struct fd_watch *fd_watch_new(struct loop *loop, int fd, void (*fn)(void *ctx), void *ctx)
{
    assert_owned(loop);
    struct fd_watch *watch = xcalloc(1, sizeof(*watch));
    watch->fn = fn;
    watch->ctx = ctx;
    watch->uv.data = watch;
    int rc = uv_poll_init(&loop->uv, &watch->uv, fd);
    assert(rc == 0); // a closed descriptor, a regular file, or one watched twice: our bug
    rc = uv_poll_start(&watch->uv, UV_READABLE, on_readable);
    assert(rc == 0);
    return watch;
}

static void on_watch_closed(uv_handle_t *handle)
{
    xfree(handle->data);
}

void fd_watch_free(struct fd_watch **watch)
{
    if (*watch == NULL)
        return;
    uv_close((uv_handle_t *)&(*watch)->uv, on_watch_closed);
    *watch = NULL;
}
