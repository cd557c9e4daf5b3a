// SPDX-License-Identifier: ISC
// A crash or a failure at every call of a write of the state: what is there afterwards is a state
// that was set, and none older than the last one that was said to be on disk.
#include "base/mem.h"
#include "sim/world.h"
#include "spool/state.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 5 };

static struct state *state;
static struct loop *loop;
static unsigned said, durable; // rounds set, and told to be on disk
static bool finished;

static void set_round(void);

static void on_flushed(void *ctx, bool ok)
{
    if (ok)
        durable = (unsigned)(uintptr_t)ctx;
    if (said < ROUNDS)
        set_round();
    else
        finished = true;
}

static void set_round(void)
{
    char text[20];
    said++;
    snprintf(text, sizeof(text), "%u", said);
    state_set(state, "first", str_of(text));
    state_set(state, "second", str_of(text));
    state_flush(state, on_flushed, (void *)(uintptr_t)said);
}

static void boot(void *ctx)
{
    struct err err;
    state = state_open("/spool", &err);
    assert_non_null(state);
    loop = loop_new("conductor");
    state_start(state, loop);
    set_round();
    loop_start(loop);
}

static unsigned found;
static void look(void *ctx)
{
    struct err err;
    state = state_open("/spool", &err);
    assert_non_null(state);
    struct str one = state_get(state, "first"), two = state_get(state, "second");
    uint64_t n = 0;
    assert_true(str_eq(one, two)); // never halves of two
    assert_true(one.len == 0 || str_u64(one, ROUNDS, &n));
    found = (unsigned)n;
    state_close(&state);
}

static void new_world(uint64_t seed)
{
    world_new(seed);
    world_disk_mkdirs("/spool");
    said = durable = 0;
    finished = false;
}

static bool is_finished(void *ctx)
{
    return finished;
}

static void run(void)
{
    if (world_boot(boot, NULL) != WORLD_CRASHED)
        world_run_until(world_now_ms() + 60 * 1000, is_finished, NULL);
}

static void verify(uint64_t n)
{
    world_crash_at_call(0, WORLD_KILLED);
    world_disk_heal();
    assert_int_not_equal(world_boot(look, NULL), WORLD_CRASHED);
    if (found < durable || found > said)
        fail_msg("call %lu: %u is there, %u was on disk, %u set", (unsigned long)n, found, durable,
                 said);
}

static void crash_at_each_call(enum world_crash how)
{
    new_world(3);
    run();
    assert_int_equal(durable, ROUNDS);
    uint64_t calls = world_calls();
    world_crash(how);
    verify(0);
    world_free();
    for (uint64_t n = 1; n <= calls; n++) {
        new_world(3);
        world_crash_at_call(n, how);
        run();
        world_crash(how);
        verify(n);
        world_free();
    }
}

static void killed_at_each_call(void **unused)
{
    crash_at_each_call(WORLD_KILLED);
}

static void power_cut_at_each_call(void **unused)
{
    crash_at_each_call(WORLD_POWER_CUT);
}

static void each_call_to_the_disk_fails(void **unused)
{
    for (int op = 0; op < WORLD_DISK_OPS; op++)
        for (uint64_t n = 2; n < 2 + ROUNDS * 2; n++) { // the first is the start's
            new_world(5);
            world_disk_fail((enum world_disk_op)op, n, n % 2 ? EIO : ENOSPC, n % 3 == 0);
            run();
            assert_true(finished);
            world_crash(WORLD_POWER_CUT);
            verify(n);
            world_free();
        }
}

static void set_both(void *ctx)
{
    state_set(state, "first", str_of(ctx));
    state_set(state, "second", str_of(ctx));
}

static void what_was_set_during_a_slow_write_is_written_soon(void **unused)
{
    new_world(7);
    run();
    world_disk_stall(WORLD_DISK_SYNC, 5000);
    world_boot(set_both, "4");
    world_run_until(world_now_ms() + 2000, NULL, NULL);
    world_boot(set_both, "3");
    world_run_until(world_now_ms() + 20 * 1000, NULL, NULL);
    world_crash(WORLD_POWER_CUT);
    assert_int_not_equal(world_boot(look, NULL), WORLD_CRASHED);
    assert_int_equal(found, 3);
    world_free();
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL + 1, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_each_call),
        cmocka_unit_test(power_cut_at_each_call),
        cmocka_unit_test(each_call_to_the_disk_fails),
        cmocka_unit_test(what_was_set_during_a_slow_write_is_written_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
