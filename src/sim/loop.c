// SPDX-License-Identifier: ISC
// Loops of the simulated world: each has a queue of events by virtual time; one turn of one loop
// runs at a time.
//
// Which of the ready loops turns, and how many of its events it handles at once, is drawn from the
// seed. A loop that made a blocking call is not ready until the call would have ended, and what it
// sends leaves only then: the others overtake it, as they would overtake a thread. A loop on the
// stack (it waits in loop_join) is passed over.
#include "sim/inside.h"

static unsigned next_id;

void event_init(struct event *e, struct loop *loop, void (*run)(struct event *e))
{
    *e = (struct event){.loop = loop, .run = run};
}

void event_at(struct event *e, int64_t at_us)
{
    heap_set(&e->loop->events, &e->due, at_us);
}

void event_cancel(struct event *e)
{
    if (event_pending(e))
        heap_remove(&e->loop->events, &e->due);
}

// The timers' own fields are the heap's node.
static_assert(offsetof(struct timer, heap_pos) - offsetof(struct timer, due_ms) ==
                  offsetof(struct heap_node, pos),
              "struct timer holds a heap_node");

static struct heap_node *timer_node(struct timer *timer)
{
    return (struct heap_node *)(void *)&timer->due_ms;
}

static struct timer *timer_of(struct heap_node *node)
{
    return container_of((int64_t *)(void *)node, struct timer, due_ms);
}

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    *timer = (struct timer){.loop = loop, .fn = fn, .ctx = ctx};
}

void timer_start(struct timer *timer, int64_t after_ms)
{
    SIM_CALL;
    int64_t now = loop_now_ms(timer->loop);
    int64_t due = after_ms > INT64_MAX / 2000 - now ? INT64_MAX / 2000 : now + after_ms;
    heap_set(&timer->loop->timers, timer_node(timer), due);
}

void timer_stop(struct timer *timer)
{
    if (timer->heap_pos != 0)
        heap_remove(&timer->loop->timers, timer_node(timer));
}

int64_t loop_now_ms(struct loop *loop)
{
    return loop->running ? loop->now_ms : sim.now_us / 1000;
}

static struct loop *loop_by_id(unsigned id)
{
    struct loop *loop;
    list_each (&sim.loops, loop, struct loop, all)
        if (loop->id == id)
            return loop;
    return NULL;
}

static struct loop *loop_make(const char *name, enum sim_owner owner)
{
    struct loop *loop = sim_alloc(SIM_WORLD, sizeof(*loop));
    loop->name = name;
    loop->owner = owner;
    do
        next_id = next_id % (SIM_LOOPS - 1) + 1;
    while (loop_by_id(next_id) != NULL);
    loop->id = next_id;
    struct loop *other;
    list_each (&sim.loops, other, struct loop, all)
        other->last_post_us[loop->id] = 0;
    loop->defers.prev = loop->defers.next = &loop->defers;
    list_init(&loop->parcels);
    list_init(&loop->streams);
    list_init(&loop->listeners);
    list_append(&sim.loops, &loop->all);
    return loop;
}

struct loop *loop_new(const char *name)
{
    SIM_CALL;
    return loop_make(name, SIM_CALLER);
}

void loop_start(struct loop *loop)
{
    SIM_CALL;
    assert(!loop->started);
    loop->started = true;
}

// ---- Messages. ----

struct parcel {
    struct event event;
    struct link of_loop;
    struct post *post; // NULL: the loop ends here
};

static void parcel_arrive(struct event *e)
{
    struct parcel *parcel = container_of(e, struct parcel, event);
    struct post *post = parcel->post;
    struct loop *loop = e->loop;
    list_remove(&parcel->of_loop);
    xfree(parcel);
    if (post == NULL)
        loop->ended = true;
    else
        SIM_CALLBACK(loop, post->run(post));
}

// Most messages between threads arrive at once, a few when the other thread is scheduled again.
static int64_t post_delay_us(void)
{
    uint64_t dice = sim_below(4096);
    if (dice == 0)
        return (int64_t)sim_below(200000);
    if (dice < 64)
        return (int64_t)sim_below(5000);
    return (int64_t)sim_below(40);
}

static void parcel_send(struct loop *to, struct post *post, int64_t not_before_us)
{
    struct parcel *parcel = sim_alloc(SIM_WORLD, sizeof(*parcel));
    parcel->post = post;
    list_append(&to->parcels, &parcel->of_loop);
    event_init(&parcel->event, to, parcel_arrive);
    int64_t at = sim_departs_us() + post_delay_us();
    int64_t *last = &to->last_post_us[sim.current != NULL ? sim.current->id : 0];
    if (at <= *last)
        at = *last + 1;
    if (at < not_before_us)
        at = not_before_us;
    *last = at;
    if (to->last_any_us < at)
        to->last_any_us = at;
    event_at(&parcel->event, at);
}

void loop_post(struct loop *to, struct post *post)
{
    SIM_CALL;
    parcel_send(to, post, 0);
}

bool loop_take_back(struct loop *loop, struct post *post)
{
    SIM_CALL;
    struct parcel *parcel;
    list_each (&loop->parcels, parcel, struct parcel, of_loop)
        if (parcel->post == post) {
            event_cancel(&parcel->event);
            list_remove(&parcel->of_loop);
            xfree(parcel);
            return true;
        }
    return false;
}

void loop_stop(struct loop *loop)
{
    SIM_CALL;
    parcel_send(loop, NULL, loop->last_any_us + 1);
}

// ---- Deferred work. ----

void loop_defer(struct loop *loop, struct defer *defer, void (*fn)(void *ctx), void *ctx)
{
    if (defer->next != NULL)
        return;
    defer->fn = fn;
    defer->ctx = ctx;
    defer->next = &loop->defers;
    defer->prev = loop->defers.prev;
    defer->prev->next = defer->next->prev = defer;
}

void defer_cancel(struct defer *defer)
{
    if (defer->next == NULL)
        return;
    defer->prev->next = defer->next;
    defer->next->prev = defer->prev;
    defer->prev = defer->next = NULL;
}

static void run_defers(struct loop *loop)
{
    for (unsigned bound = 0; loop->defers.next != &loop->defers; bound++) {
        assert(bound < 1000000); // it defers itself for ever
        struct defer *defer = loop->defers.next;
        defer_cancel(defer);
        SIM_CALLBACK(loop, defer->fn(defer->ctx));
    }
}

// ---- Turns. ----

int64_t sim_departs_us(void)
{
    if (sim.current != NULL && sim.current->busy_until_us > sim.now_us)
        return sim.current->busy_until_us;
    return sim.now_us;
}

void sim_spend_us(int64_t us)
{
    if (sim.current == NULL)
        return;
    sim.current->busy_until_us = sim_departs_us() + us;
}

static bool run_one_event(struct loop *loop)
{
    struct heap_node *timer = heap_top(&loop->timers);
    struct heap_node *event = heap_top(&loop->events);
    if (timer != NULL && timer->due > loop->now_ms)
        timer = NULL;
    if (event != NULL && event->due > sim.now_us)
        event = NULL;
    if (timer == NULL && event == NULL)
        return false;
    if (timer != NULL && (event == NULL || sim_chance(500))) {
        heap_remove(&loop->timers, timer);
        struct timer *t = timer_of(timer);
        sim_trace(1);
        SIM_CALLBACK(loop, t->fn(t->ctx));
    } else {
        heap_remove(&loop->events, event);
        struct event *e = container_of(event, struct event, due);
        sim_trace(2);
        e->run(e);
    }
    return true;
}

static void turn(struct loop *loop)
{
    struct loop *before = sim.current;
    enum sim_owner owner = sim.owner;
    sim.turns++;
    sim.current = loop;
    sim.owner = SIM_WORLD;
    loop->running = true;
    loop->now_ms = sim.now_us / 1000;
    sim_trace(((uint64_t)sim.now_us << 6) ^ loop->id);
    for (uint64_t left = 1 + sim_below(8); left > 0 && !loop->ended && run_one_event(loop); left--)
        ;
    run_defers(loop);
    loop->running = false;
    sim_spend_us((int64_t)sim_below(20) + (sim_below(2000) == 0 ? 10000 : 0));
    sim.current = before;
    sim.owner = owner;
    sim.turns--;
}

static int64_t ready_at_us(const struct loop *loop)
{
    if (!loop->started || loop->ended || loop->running)
        return INT64_MAX;
    int64_t at = INT64_MAX;
    if (loop->events.count > 0)
        at = heap_top(&loop->events)->due;
    if (loop->timers.count > 0 && heap_top(&loop->timers)->due <= at / 1000)
        at = heap_top(&loop->timers)->due * 1000;
    if (loop->defers.next != &loop->defers)
        at = 0;
    return at < loop->busy_until_us ? loop->busy_until_us : at;
}

bool sim_turn(int64_t until_us, bool *idle_out)
{
    struct loop *loop, *chosen = NULL;
    int64_t earliest = INT64_MAX;
    uint64_t ready = 0;
    list_each (&sim.loops, loop, struct loop, all) {
        int64_t at = ready_at_us(loop);
        if (at < earliest)
            earliest = at;
        if (at <= sim.now_us && sim_below(++ready) == 0)
            chosen = loop;
    }
    *idle_out = earliest == INT64_MAX;
    if (chosen != NULL) {
        turn(chosen);
        return true;
    }
    sim.now_us = earliest < until_us ? earliest : until_us < INT64_MAX ? until_us : sim.now_us;
    return false;
}

// What a thread that waits would see: the others go on until `loop` has ended.
static void wait_for_end(struct loop *loop)
{
    while (!loop->ended) {
        bool idle;
        sim_turn(INT64_MAX, &idle);
        if (idle) {
            world_print_log(stderr);
            fprintf(stderr, "loop_join: \"%s\" will never end\n", loop->name);
            assert(!idle);
        }
    }
}

void loop_run(struct loop *loop)
{
    SIM_CALL;
    loop->started = true;
    wait_for_end(loop);
}

void loop_join(struct loop *loop)
{
    SIM_CALL;
    if (loop->started)
        wait_for_end(loop);
}

static void loop_drop(struct loop *loop)
{
    for (size_t i = 0; i < loop->events.count; i++) {
        struct event *e = container_of(loop->events.nodes[i], struct event, due);
        if (e->run == parcel_arrive)
            xfree(container_of(e, struct parcel, event));
    }
    heap_free(&loop->events);
    heap_free(&loop->timers);
    list_remove(&loop->all);
    xfree(loop);
}

void loop_free(struct loop **loop)
{
    if (*loop == NULL)
        return;
    SIM_CALL;
    assert(!(*loop)->running);
    assert(list_empty(&(*loop)->streams) && list_empty(&(*loop)->listeners));
    loop_drop(*loop);
    *loop = NULL;
}

void loops_init(void)
{
    list_init(&sim.loops);
    next_id = 0;
    sim.peers = loop_make("peers", SIM_WORLD);
    sim.peers->started = true;
}

void loops_crash(void)
{
    struct loop *loop;
    list_each (&sim.loops, loop, struct loop, all)
        if (loop->owner == SIM_DAEMON)
            loop_drop(loop);
}

void loops_free(void)
{
    struct loop *loop;
    list_each (&sim.loops, loop, struct loop, all)
        loop_drop(loop);
}

unsigned world_daemon_loops(void)
{
    unsigned count = 0;
    struct loop *loop;
    list_each (&sim.loops, loop, struct loop, all)
        count += loop->owner == SIM_DAEMON;
    return count;
}

// ---- What does not exist here. ----

void loop_on_signal(struct loop *loop, int signo, void (*fn)(void *ctx, int signo), void *ctx)
{
}

// No descriptor of the real system is ever readable in this world.
struct fd_watch {
    struct loop *loop;
};

struct fd_watch *fd_watch_new(struct loop *loop, int fd, void (*fn)(void *ctx), void *ctx)
{
    SIM_CALL;
    struct fd_watch *watch = sim_alloc(SIM_CALLER, sizeof(*watch));
    watch->loop = loop;
    return watch;
}

void fd_watch_free(struct fd_watch **watch)
{
    xfree(*watch);
    *watch = NULL;
}
