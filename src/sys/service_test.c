// SPDX-License-Identifier: ISC
// Commands whose output is taken: all of it, in time, or a reason.
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/service.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void assert_output(const char *command, const char *want)
{
    struct err err;
    char *text = command_output(command, 20000, 1000, &err);
    if (text == NULL)
        fail_msg("%s: %s", command, err.text);
    assert_string_equal(text, want);
    xfree(text);
}

static void output_is_taken_without_its_final_newline(void **state)
{
    assert_output("echo secret", "secret");
    assert_output("printf secret", "secret");
    assert_output("printf 'a\\n\\n'", "a\n");
    assert_output(":", "");
    assert_output("echo \"two words\" | tr a-z A-Z", "TWO WORDS");
    assert_output("cat; echo end", "end"); // there is no standard input
    assert_output("exec >&-; sleep 0.05", "");
}

static void a_process_left_in_the_background_is_not_waited_for(void **state)
{
    int64_t before = clock_mono_us();
    assert_output("sleep 15 2>/dev/null & echo done", "done");
    assert_true(clock_mono_us() - before < 10 * 1000 * 1000);
}

static void assert_refused(const char *command, int timeout_ms, size_t max, const char *want)
{
    struct err err;
    char *text = command_output(command, timeout_ms, max, &err);
    assert_null(text);
    assert_string_equal(err.text, want);
}

static void trouble_is_told(void **state)
{
    assert_refused("exit 3", 20000, 10, "the command failed with status 3");
    assert_refused("echo x; exit 1", 20000, 10, "the command failed with status 1");
    assert_refused("kill -9 $$", 20000, 10, "the command was ended by signal 9 (KILL)");
    assert_refused("no-such-command-here 2>/dev/null", 20000, 10,
                   "the shell could not find the command (status 127)");
    assert_refused("printf 'a\\0b'", 20000, 10,
                   "the command printed a NUL byte, which no text has");
    assert_refused("sleep 20 | cat", 50, 10, "the command did not end within 50 ms");
}

static void output_may_be_just_as_long_as_allowed(void **state)
{
    struct err err;
    char *text = command_output("printf 0123456789", 20000, 10, &err);
    assert_string_equal(text, "0123456789");
    xfree(text);
    assert_refused("printf 0123456789a", 20000, 10, "the command printed more than 10 bytes");
    assert_refused("yes", 20000, 100000, "the command printed more than 100000 bytes");
}

static void the_command_gets_ordinary_signals(void **state)
{
    // Our threads block all signals and the program ignores SIGPIPE: neither may be inherited.
    sigset_t all, before;
    sigfillset(&all);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_output("sh -c 'kill -TERM $$; echo alive' 2>/dev/null; echo $?", "143");
    assert_output("sh -c 'kill -PIPE $$; echo alive' 2>/dev/null; echo $?", "141");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_is_taken_without_its_final_newline),
        cmocka_unit_test(a_process_left_in_the_background_is_not_waited_for),
        cmocka_unit_test(trouble_is_told),
        cmocka_unit_test(output_may_be_just_as_long_as_allowed),
        cmocka_unit_test(the_command_gets_ordinary_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
