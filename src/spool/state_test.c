// SPDX-License-Identifier: ISC
// Values that outlive the process, on a real disk.
#include "spool/state.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct loop *loop;
static struct state *state;
static unsigned flushed, failed;

static void open_it(void)
{
    struct err err;
    state = state_open(dir, &err);
    if (state == NULL)
        fail_msg("%s", err.text);
}

static int setup(void **unused)
{
    snprintf(dir, sizeof(dir), "/tmp/state-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    flushed = failed = 0;
    open_it();
    return 0;
}

static int teardown(void **unused)
{
    state_close(&state);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void put(const char *name, const char *value)
{
    state_set(state, name, str_of(value));
}

static void assert_value(const char *name, const char *value)
{
    struct str have = state_get(state, name);
    if (!str_eq(have, str_of(value)))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, STR_FMT(have), value);
}

static void reopen(void)
{
    state_close(&state);
    open_it();
}

static void values_come_back(void **unused)
{
    put("quota.one", "used 12");
    put("pick", "company");
    put("pick", "home office");
    put("gone", "x");
    put("gone", "");
    put("odd", "two\nlines\x01");
    reopen();
    assert_value("quota.one", "used 12");
    assert_value("pick", "home office");
    assert_value("gone", "");
    assert_value("odd", "two lines ");
    assert_value("never", "");
}

static void names_are_walked_in_order_by_prefix(void **unused)
{
    static const char *const names[] = {"b.2", "a", "b.1", "c", "b.3", "b"};
    for (size_t i = 0; i < 6; i++)
        put(names[i], "1");
    size_t pos = 0;
    assert_string_equal(state_next(state, "b.", &pos), "b.1");
    assert_string_equal(state_next(state, "b.", &pos), "b.2");
    assert_string_equal(state_next(state, "b.", &pos), "b.3");
    assert_null(state_next(state, "b.", &pos));
    pos = 0;
    assert_null(state_next(state, "x", &pos));
}

static void a_damaged_file_is_put_aside(void **unused)
{
    put("pick", "company");
    state_close(&state);
    char path[128];
    snprintf(path, sizeof(path), "%s/state", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, 20, SEEK_SET);
    fputc('P', f);
    fclose(f);
    open_it();
    assert_value("pick", "");
    snprintf(path, sizeof(path), "%s/state.damaged", dir);
    assert_int_equal(access(path, F_OK), 0);
    put("pick", "other");
    reopen();
    assert_value("pick", "other");
}

static void every_cut_is_noticed(void **unused)
{
    put("a", "1");
    put("b", "2");
    state_close(&state);
    char path[128], text[256];
    snprintf(path, sizeof(path), "%s/state", dir);
    FILE *f = fopen(path, "r");
    size_t len = fread(text, 1, sizeof(text), f);
    fclose(f);
    for (size_t cut = 0; cut < len; cut++) {
        f = fopen(path, "w");
        fwrite(text, 1, cut, f);
        fclose(f);
        open_it();
        assert_value("a", "");
        state_close(&state);
    }
    open_it();
}

static void it_does_not_grow_beyond_its_limit(void **unused)
{
    static char large[LIMIT_STATE_BYTES / 2 - 200];
    memset(large, 'x', sizeof(large));
    state_set(state, "one", str_make(large, sizeof(large)));
    state_set(state, "two", str_make(large, sizeof(large)));
    state_set(state, "three", str_make(large, sizeof(large)));
    assert_int_equal(state_get(state, "three").len, 0);
    reopen();
    assert_int_equal(state_get(state, "two").len, sizeof(large));
}

static void on_flushed(void *ctx, bool ok)
{
    flushed++;
    failed += !ok;
    if (flushed == 3)
        loop_stop(loop);
}

static void on_first(void *ctx, bool ok)
{
    on_flushed(ctx, ok);
    put("second", "2");
    state_flush(state, on_flushed, NULL);
}

static void a_flush_tells_when_it_is_on_disk(void **unused)
{
    loop = loop_new("test");
    state_start(state, loop);
    put("first", "1");
    state_flush(state, on_first, NULL);
    state_flush(state, on_flushed, NULL);
    loop_run(loop);
    assert_int_equal(flushed, 3);
    assert_int_equal(failed, 0);
    struct err err;
    struct state *other = state_open(dir, &err);
    assert_true(str_eq(state_get(other, "second"), STR("2")));
    state_close(&other);
    reopen();
    worker_stop_all();
    loop_free(&loop);
}

static void on_unwritable(void *ctx, bool ok)
{
    failed += !ok;
    loop_stop(loop);
}

static void a_flush_that_fails_says_so_and_is_made_good(void **unused)
{
    char command[160];
    snprintf(command, sizeof(command), "mkdir -p %s/state.new/in-the-way", dir);
    assert_int_equal(system(command), 0);
    loop = loop_new("test");
    state_start(state, loop);
    put("first", "1");
    state_flush(state, on_unwritable, NULL);
    loop_run(loop);
    assert_int_equal(failed, 1);
    snprintf(command, sizeof(command), "rm -r %s/state.new", dir);
    assert_int_equal(system(command), 0);
    reopen();
    assert_value("first", "1");
    worker_stop_all();
    loop_free(&loop);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL + 1, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_walked_in_order_by_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_put_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(it_does_not_grow_beyond_its_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flush_tells_when_it_is_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flush_that_fails_says_so_and_is_made_good, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
