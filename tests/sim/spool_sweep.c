// SPDX-License-Identifier: ISC
// The spool with every single call failing in turn: each write, sync, rename, allocation of
// memory, once or from then on; and with a crash or a power cut at every call. Afterwards the
// store is opened on a sound disk, and every message that was acknowledged must be there, whole,
// unless its end was told; what had ended for good must be gone; what was put into the bin of
// removed mail, or taken out of it, with the attempt that is there, must be where it was put.
//
// A control, with syncs that do nothing, must lose mail; else this proves nothing.
#include "base/mem.h"
#include "sim/world.h"
#include "spool/store.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEGMENT = 64 * 1024, MESSAGES = 150, ROUNDS = 14 };

// What the world outside knows; it outlives the daemon.
struct told {
    uint64_t id;
    size_t size;
    bool begun, acknowledged, refused; // acceptance
    bool ending, ended;                // its only recipient came to an end: said, durable
    uint16_t tries_said, tries_durable;
    bool seen; // handed over at this start
};
static struct told told[MESSAGES];
static size_t told_count;
static unsigned round_number, waiting, lost, doubled, wrong;
static bool finished, reading_done;
static uint64_t highest_id;

static struct store *store;
static struct loop *conductor;
static struct timer timer;
static struct waiting_message {
    struct told *told;
    struct store_body_ref ref;
} adopted[MESSAGES];
static size_t adopted_count, read_count;

static char body_byte(uint64_t id, size_t at)
{
    return (char)(id * 31 + at * 7 + at / 251);
}

static struct told *told_of(uint64_t id)
{
    for (size_t i = 0; i < told_count; i++)
        if (told[i].id == id)
            return &told[i];
    return NULL;
}

// ---- The daemon. ----

static void next_round(void *ctx);

static void one_done(void)
{
    if (--waiting == 0)
        timer_start(&timer, (int64_t)random_below(300));
}

struct told_commit {
    struct store_commit commit; // first
    struct told *told;
    bool ends;
    uint16_t tries;
};

static void on_done(struct store_commit *commit)
{
    struct told_commit *c = (struct told_commit *)commit;
    if (c->tries == 0) {
        c->told->acknowledged = commit->ok;
        c->told->refused = !commit->ok;
    } else if (commit->ok) {
        c->told->tries_durable = c->tries;
        c->told->ended = c->ends;
    }
    xfree(c);
    one_done();
}

static struct told_commit *new_commit(struct told *t)
{
    struct told_commit *c = xcalloc(1, sizeof(*c));
    c->told = t;
    c->commit.home = conductor;
    c->commit.done = on_done;
    waiting++;
    return c;
}

static void take_one(size_t size)
{
    struct told *t = &told[told_count++];
    struct err err;
    char piece[3000];
    *t = (struct told){.id = store_next_id(store), .size = size, .begun = true};
    assert_true(t->id > highest_id); // never given twice, whatever happened
    highest_id = t->id;
    struct store_body *body = store_body_begin(store, conductor, size % 2 ? size : 0);
    for (size_t at = 0; at < size;) {
        size_t len = size - at < sizeof(piece) ? size - at : sizeof(piece);
        for (size_t i = 0; i < len; i++)
            piece[i] = body_byte(t->id, at + i);
        if (store_body_append(body, piece, len, NULL, NULL, &err) < 0) {
            store_body_abort(&body);
            t->refused = true;
            return;
        }
        at += len;
    }
    struct envelope_rcpt rcpt = {.address = STR("you@example.org")};
    struct envelope e = {.sender = STR("me@example.net"), .count = 1, .rcpts = &rcpt};
    struct store_op op = {.kind = STORE_ACCEPT, .id = t->id, .envelope = &e, .body = body};
    store_commit(store, &new_commit(t)->commit, &op, 1);
}

static void try_one(struct told *t)
{
    struct told_commit *c = new_commit(t);
    bool ends = t->id % 4 != 0 || t->tries_said > 1;
    c->tries = ++t->tries_said;
    c->ends = t->ending = ends;
    struct store_rcpt_result r = {.state = ends ? RCPT_RELAYED : RCPT_WAITING, .tries = c->tries};
    // What does not end goes into the bin at the first attempt, and comes back at the second.
    struct store_op ops[2] = {
        {.kind = STORE_RESULT, .id = t->id, .results = &r, .result_count = 1},
        {.kind = STORE_HOLD, .id = t->id, .wall_ms = c->tries, .value = STORE_HOLD_BIN}};
    ops[1].flag = c->tries == 1;
    store_commit(store, &c->commit, ops, ends ? 1 : 2);
}

static void next_round(void *ctx)
{
    waiting++;
    if (round_number++ < ROUNDS && !store_failed(store)) {
        for (size_t i = 0; i < told_count; i++)
            if (told[i].acknowledged && !told[i].ending &&
                told[i].tries_said == told[i].tries_durable)
                try_one(&told[i]);
        for (int i = 0; i < 9 && told_count < MESSAGES; i++)
            take_one(i == 4 ? 20000 + random_below(300000) : random_below(9000));
        one_done();
        return;
    }
    waiting--;
    finished = true;
}

static void on_adopt(void *ctx, struct store_message *m)
{
    struct told *t = told_of(m->id);
    if (t == NULL || !t->begun) {
        wrong++; // nobody ever handed that in
    } else {
        uint16_t tries = m->rcpts != NULL ? m->rcpts[0].tries : 0;
        doubled += t->seen || t->ended;
        wrong += m->body.size != t->size || m->count != 1 || tries < t->tries_durable ||
                 tries > t->tries_said || m->deleted_ms != (tries == 1);
        t->seen = true;
        t->acknowledged = true;
        t->ending = false;
        t->tries_said = t->tries_durable = tries;
        adopted[adopted_count++] = (struct waiting_message){t, m->body};
    }
    store_message_free(&m);
}

static void on_accepted(void *ctx, struct store_message *m)
{
    store_message_free(&m);
}

static void on_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
    for (size_t i = 0; i < adopted_count; i++)
        if (adopted[i].told->id == id)
            adopted[i].ref = to;
}

static void open_store(void *ctx)
{
    struct err err;
    struct store_settings settings = {
        .dir = "/spool", .segment_bytes = SEGMENT, .disk_floor = 1, .no_index = true};
    void (*first)(void *ctx) = (void (*)(void *))ctx;
    adopted_count = read_count = 0;
    waiting = 0;
    finished = reading_done = false;
    for (size_t i = 0; i < told_count; i++)
        told[i].seen = false;
    store = store_open(&settings, on_adopt, NULL, &err);
    if (store == NULL) {
        finished = true;
        return;
    }
    for (size_t i = 0; i < told_count; i++)
        lost += told[i].acknowledged && !told[i].ending && !told[i].seen;
    conductor = loop_new("conductor");
    timer_init(&timer, conductor, first, NULL);
    timer_start(&timer, 0);
    store_start(store, conductor, on_accepted, on_moved, NULL);
    loop_start(conductor);
}

static void close_store(void *ctx)
{
    if (store == NULL)
        return;
    loop_stop(conductor);
    loop_join(conductor);
    store_close(&store);
    loop_free(&conductor);
}

// ---- The reading of all that was handed over. ----

static struct body_source *source;
static uint64_t have;

static void read_on(void *ctx)
{
    char bytes[7000];
    struct err err;
    while (read_count < adopted_count) {
        struct waiting_message *w = &adopted[read_count];
        if (source == NULL) {
            have = 0;
            source = store_body_source(store, conductor, w->told->id, &w->ref, NULL, &err);
            if (source == NULL) {
                if (err.code == EAGAIN) { // on its way to another place
                    timer_start(&timer, 10);
                    return;
                }
                lost++;
                read_count++;
                continue;
            }
        }
        ssize_t n;
        while ((n = source->ops->read_now(source, have, bytes, sizeof(bytes))) > 0) {
            for (ssize_t i = 0; i < n; i++)
                wrong += bytes[i] != body_byte(w->told->id, have + (size_t)i);
            have += (uint64_t)n;
        }
        if (n == -2) {
            source->ops->fetch(source, have, sizeof(bytes), read_on, NULL);
            return;
        }
        wrong += n != 0 || have != w->told->size;
        source->ops->release(source);
        source = NULL;
        read_count++;
    }
    finished = reading_done = true;
}

// ---- The driver. ----

static bool is_finished(void *ctx)
{
    return finished;
}

static bool run_to_end(void)
{
    return world_run_until(world_now_ms() + 100000, is_finished, NULL) != WORLD_CRASHED;
}

static void new_world(uint64_t seed)
{
    world_new(seed);
    memset(told, 0, sizeof(told));
    told_count = round_number = 0;
    lost = doubled = wrong = 0;
    highest_id = 0;
    store = NULL;
    conductor = NULL;
}

static void work_boot(void *ctx)
{
    open_store((void *)next_round);
}

static void read_boot(void *ctx)
{
    source = NULL;
    open_store((void *)read_on);
}

// Runs the work, then ends it in order unless the world already has.
static void work(bool in_order)
{
    bool alive = world_boot(work_boot, NULL) != WORLD_CRASHED && run_to_end();
    if (alive && in_order)
        alive = world_boot(close_store, NULL) != WORLD_CRASHED;
    store = NULL;
}

static void verify(const char *what, uint64_t n)
{
    world_crash_at_call(0, WORLD_KILLED);
    world_fail_allocation(0);
    world_disk_heal();
    world_lose_syncs(false);
    bool alive = world_boot(read_boot, NULL) != WORLD_CRASHED && store != NULL && run_to_end();
    if (alive)
        alive = world_boot(close_store, NULL) != WORLD_CRASHED;
    if (alive && reading_done && lost == 0 && doubled == 0 && wrong == 0)
        return;
    world_print_log(stderr);
    fail_msg("%s %" PRIu64 ": %s%s, lost %u, again %u, wrong %u", what, n,
             alive ? "" : "did not start, ", reading_done ? "read" : "not read", lost, doubled,
             wrong);
}

static void test_sound(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        new_world(seed);
        work(seed % 2);
        if (seed % 2 == 0)
            world_crash(WORLD_POWER_CUT);
        verify("seed", seed);
        world_free();
    }
}

static const char *const op_names[WORLD_DISK_OPS] = {"open",     "read",     "write",  "sync",
                                                     "allocate", "truncate", "rename", "remove",
                                                     "mkdir",    "dir sync", "list"};

static void sweep_disk(int code, bool from_then_on, bool power_cut)
{
    for (int op = 0; op < WORLD_DISK_OPS; op++) {
        new_world(7);
        work(true);
        uint64_t calls = world_disk_calls((enum world_disk_op)op);
        print_message("%s: %" PRIu64 " calls\n", op_names[op], calls);
        world_free();
        for (uint64_t n = 1; n <= calls; n++) {
            new_world(7);
            world_disk_fail((enum world_disk_op)op, n, code, from_then_on);
            work(!power_cut);
            world_crash(power_cut ? WORLD_POWER_CUT : WORLD_KILLED);
            verify(op_names[op], n);
            world_free();
        }
    }
}

static void test_each_call_fails_once(void **state)
{
    sweep_disk(EIO, false, false);
}

static void test_each_call_fails_once_then_power_cut(void **state)
{
    sweep_disk(EIO, false, true);
}

static void test_full_from_each_call_on(void **state)
{
    sweep_disk(ENOSPC, true, true);
}

static void sweep_crash(enum world_crash how)
{
    new_world(11);
    uint64_t before = world_calls();
    work(true);
    uint64_t calls = world_calls() - before;
    world_free();
    print_message("%" PRIu64 " calls\n", calls);
    assert_true(calls > 300);
    for (uint64_t n = 1; n <= calls; n++) {
        new_world(11);
        world_crash_at_call(n, how);
        work(true);
        verify(how == WORLD_KILLED ? "killed at call" : "power cut at call", n);
        world_free();
    }
}

static void test_killed_at_each_call(void **state)
{
    sweep_crash(WORLD_KILLED);
}

static void test_power_cut_at_each_call(void **state)
{
    sweep_crash(WORLD_POWER_CUT);
}

// And again while the start after the first cut still mends what that left.
static void test_power_cut_at_each_call_of_a_start(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        for (uint64_t n = 1; n < 100000; n++) {
            new_world(seed);
            world_crash_at_call(200 * seed, WORLD_POWER_CUT);
            work(true);
            world_crash_at_call(n, n % 3 == 0 ? WORLD_KILLED : WORLD_POWER_CUT);
            bool whole = world_boot(read_boot, NULL) != WORLD_CRASHED && run_to_end();
            if (whole)
                world_crash(WORLD_POWER_CUT);
            verify("second cut at call", n);
            world_free();
            if (whole)
                break;
        }
    }
}

static void test_each_allocation_fails(void **state)
{
    new_world(13);
    uint64_t before = world_allocations();
    work(true);
    uint64_t allocations = world_allocations() - before;
    world_free();
    print_message("%" PRIu64 " allocations\n", allocations);
    assert_true(allocations > 300);
    for (uint64_t n = 1; n <= allocations; n += 1 + n / 500) {
        new_world(13);
        world_fail_allocation(n);
        work(true);
        verify("allocation", n);
        world_free();
    }
}

// The disk is full: new mail is refused, but what becomes of the old can still be written.
static void test_results_fit_on_a_full_disk(void **state)
{
    unsigned refused = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        new_world(seed);
        world_disk_limit((2 + seed) * SEGMENT);
        work(true);
        for (size_t i = 0; i < told_count; i++) {
            refused += told[i].refused;
            // Each attempt that was said was durable in the end.
            if (told[i].tries_said != told[i].tries_durable)
                fail_msg("seed %" PRIu64 ": an attempt could not be recorded", seed);
        }
        verify("limit", seed);
        world_free();
    }
    assert_true(refused > 0);
}

static void test_control_loses_mail(void **state)
{
    unsigned lost_mail = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        new_world(seed);
        world_lose_syncs(true);
        work(false);
        world_crash(WORLD_POWER_CUT);
        world_lose_syncs(false);
        if (world_boot(read_boot, NULL) == WORLD_CRASHED || store == NULL || !run_to_end())
            lost++;
        lost_mail += lost > 0;
        world_free();
    }
    assert_true(lost_mail > 0);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_each_call_fails_once),
        cmocka_unit_test(test_each_call_fails_once_then_power_cut),
        cmocka_unit_test(test_full_from_each_call_on),
        cmocka_unit_test(test_killed_at_each_call),
        cmocka_unit_test(test_power_cut_at_each_call),
        cmocka_unit_test(test_power_cut_at_each_call_of_a_start),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_results_fit_on_a_full_disk),
        cmocka_unit_test(test_control_loses_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
