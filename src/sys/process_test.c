// SPDX-License-Identifier: ISC
// Programs that read, print, die, flood, hang and leave children behind.
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { KEPT = 100 };

struct run {
    struct loop *loop;
    struct process *process;
    struct timer guard;
    const char *input;
    size_t left; // of the input, given again and again
    bool ended;
    int status, signal;
    char output[KEPT + 1];
};

static void give(struct run *r)
{
    if (r->left == 0) {
        process_end_input(r->process);
        return;
    }
    size_t n = strlen(r->input) < r->left ? strlen(r->input) : r->left;
    r->left -= n;
    process_write(r->process, r->input, n);
}

static void on_hungry(void *ctx)
{
    give(ctx);
}

static void on_ended(void *ctx, const struct process_end *end)
{
    struct run *r = ctx;
    assert_false(r->ended);
    r->ended = true;
    r->status = end->status;
    r->signal = end->signal;
    assert_true(end->output.len <= KEPT);
    snprintf(r->output, sizeof(r->output), "%.*s", STR_FMT(end->output));
    loop_stop(r->loop);
}

static void too_late(void *ctx)
{
    fail_msg("a program has not ended after a minute");
}

static const struct process_events events = {on_hungry, on_ended};

static struct process *begin(struct run *r, const char *script, const char *user, struct err *err)
{
    const char *argv[] = {"/bin/sh", "-c", script, "sh", "two words", NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "WORD=said", NULL};
    struct process_how how = {argv, env, user, KEPT};
    return process_new(r->loop, &how, &events, r, err);
}

// The tests may run as root, who runs nothing as root.
static const char *someone(void)
{
    return geteuid() == 0 ? "nobody" : NULL;
}

static void play(struct run *r, const char *script)
{
    struct err err;
    r->loop = loop_new("test");
    timer_init(&r->guard, r->loop, too_late, NULL);
    timer_start(&r->guard, 60000);
    r->process = begin(r, script, someone(), &err);
    if (r->process == NULL)
        fail_msg("%s", err.text);
    give(r);
    loop_run(r->loop);
    process_free(&r->process);
    loop_free(&r->loop);
    assert_true(r->ended);
}

static void assert_said(const char *script, int status, const char *output)
{
    struct run r = {.input = "the message\n", .left = 12};
    play(&r, script);
    assert_string_equal(r.output, output);
    assert_int_equal(r.status, status);
    assert_int_equal(r.signal, 0);
}

static void it_reads_prints_and_ends(void **state)
{
    assert_said("cat", 0, "the message\n");
    assert_said("cat /dev/stdin; exit 75", 75, "the message\n");
    assert_said("echo out; echo err >&2; exit 67", 67, "out\nerr\n");
    assert_said("echo \"$1|$WORD|$HOME|$(pwd)\"", 0, "two words|said||/\n");
}

static void all_of_a_long_input_arrives(void **state)
{
    struct run r = {.input = "0123456789abcdef", .left = 3000000};
    play(&r, "sleep 0.1; wc -c");
    assert_int_equal(strtoul(r.output, NULL, 10), 3000000);
}

static void one_that_does_not_read_ends_all_the_same(void **state)
{
    struct run r = {.input = "0123456789abcdef", .left = 3000000};
    play(&r, "exec <&-; sleep 0.1; exit 3");
    assert_int_equal(r.status, 3);
}

static void a_flood_of_output_is_read_and_dropped(void **state)
{
    struct run r = {.input = "x", .left = 0};
    play(&r, "head -c 5000000 /dev/zero | tr '\\0' y; exit 9");
    assert_int_equal(r.status, 9);
    assert_int_equal(strlen(r.output), KEPT);
}

static void death_by_a_signal_is_told(void **state)
{
    struct run r = {.input = "x", .left = 0};
    play(&r, "kill -TERM $$");
    assert_int_equal(r.status, -1);
    assert_int_equal(r.signal, SIGTERM);
}

static void no_descriptor_of_ours_is_passed_on(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd > 2);
    assert_said("ls /proc/self/fd | grep -v '^[0123]$'; true", 0, ""); // 3: of ls itself
    close(fd);
}

static void signals_are_as_usual(void **state)
{
    // We ignore SIGPIPE, and so would it.
    struct run r = {.input = "x", .left = 0};
    play(&r, "grep -E '^Sig(Ign|Blk)' /proc/self/status | tr -d '0 \\t\\n'");
    assert_string_equal(r.output, "SigBlk:SigIgn:");
}

static void a_child_left_behind_is_not_waited_for(void **state)
{
    int64_t before = clock_mono_us();
    assert_said("sleep 50 & echo done", 0, "done\n");
    assert_true(clock_mono_us() - before < 40 * 1000 * 1000);
}

static void freed_it_is_killed_with_its_children(void **state)
{
    struct run r = {.loop = loop_new("test")};
    struct err err;
    char dir[] = "/tmp/process-test-XXXXXX", script[400], path[64];
    assert_non_null(mkdtemp(dir));
    chmod(dir, 0777);
    snprintf(path, sizeof(path), "%s/pid", dir);
    snprintf(script, sizeof(script), "sleep 1000 & echo $! >%s.new; mv %s.new %s; wait", path, path,
             path);
    r.process = begin(&r, script, someone(), &err);
    assert_non_null(r.process);
    char text[32] = "";
    for (int i = 0; i < 600 && text[0] == '\0'; i++) {
        FILE *f = fopen(path, "re");
        if (f != NULL && fgets(text, sizeof(text), f) == NULL)
            text[0] = '\0';
        if (f != NULL)
            fclose(f);
        usleep(100 * 1000);
    }
    pid_t child = (pid_t)strtoul(text, NULL, 10);
    assert_true(child > 1);
    process_free(&r.process);
    loop_free(&r.loop);
    snprintf(text, sizeof(text), "/proc/%d/stat", (int)child);
    // Gone, or a zombie for whom init has not had time.
    for (int i = 0;; i++) {
        char stat[200] = "";
        FILE *f = fopen(text, "re");
        if (f == NULL)
            break;
        bool dead = fgets(stat, sizeof(stat), f) == NULL || strstr(stat, ") Z ") != NULL;
        fclose(f);
        if (dead)
            break;
        assert_true(i < 600);
        usleep(100 * 1000);
    }
    unlink(path);
    rmdir(dir);
}

static void what_cannot_be_run_is_told(void **state)
{
    struct loop *loop = loop_new("test");
    struct run r = {.loop = loop};
    struct err err = {0};
    const char *argv[] = {"/nowhere/program", NULL}, *env[] = {NULL};
    struct process_how how = {argv, env, someone(), KEPT};
    assert_null(process_new(loop, &how, &events, NULL, &err));
    assert_string_equal(err.text, "cannot run /nowhere/program: No such file or directory");
    assert_null(begin(&r, "true", "nobody-of-this-name", &err));
    assert_non_null(strstr(err.text, "there is no user"));
    if (geteuid() == 0) {
        assert_null(begin(&r, "true", NULL, &err));
        assert_non_null(strstr(err.text, "not done as root"));
    }
    loop_free(&loop);
}

static void as_root_it_runs_as_the_user_named(void **state)
{
    if (geteuid() != 0)
        skip();
    struct run r = {.input = "x", .left = 0};
    play(&r, "id -un; id -Gn; grep -c . /etc/shadow 2>&1 | grep -c denied");
    assert_string_equal(r.output, "nobody\nnogroup\n1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_prints_and_ends),
        cmocka_unit_test(all_of_a_long_input_arrives),
        cmocka_unit_test(one_that_does_not_read_ends_all_the_same),
        cmocka_unit_test(a_flood_of_output_is_read_and_dropped),
        cmocka_unit_test(death_by_a_signal_is_told),
        cmocka_unit_test(no_descriptor_of_ours_is_passed_on),
        cmocka_unit_test(signals_are_as_usual),
        cmocka_unit_test(a_child_left_behind_is_not_waited_for),
        cmocka_unit_test(freed_it_is_killed_with_its_children),
        cmocka_unit_test(what_cannot_be_run_is_told),
        cmocka_unit_test(as_root_it_runs_as_the_user_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
