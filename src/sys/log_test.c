// SPDX-License-Identifier: ISC
// The log: what stands on the line in each form, and that no text can break it.
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/utf8.h"
#include "sys/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

// Standard error goes into a file while a test runs.
static int real_stderr, captured;

static int capture(void **state)
{
    char path[] = "/tmp/waypost-log-XXXXXX";
    real_stderr = dup(STDERR_FILENO);
    captured = mkstemp(path);
    return captured >= 0 && unlink(path) == 0 && dup2(captured, STDERR_FILENO) >= 0 ? 0 : -1;
}
static int release(void **state)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(captured);
    return 0;
}

// All that was logged since the last call, one terminated text.
static const char *logged(void)
{
    static char text[64 * LIMIT_LOG_LINE];
    ssize_t n = pread(captured, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(ftruncate(captured, 0), 0);
    lseek(STDERR_FILENO, 0, SEEK_SET);
    return text;
}

// "2026-11-21T09:07:00.123Z " and then `want`.
static void assert_line(const char *line, const char *want)
{
    assert_true(strlen(line) > 25);
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; i < 25; i++)
        assert_true(form[i] == 'd' ? ascii_is_digit(line[i]) : line[i] == form[i]);
    assert_string_equal(line + 25, want);
}

static void text_lines_are_for_people(void **state)
{
    log_setup(LOG_INFO_LEVEL, LOG_TEXT);
    log_info("accepted", 0x123456, "from %s, %d bytes", "<a@example.org>", 42);
    assert_line(logged(), "accepted 014D2P from <a@example.org>, 42 bytes\n");
    log_info("ready", 0, "%s", "");
    assert_line(logged(), "ready\n");
    log_warn("gateway-rests", 0, "over quota");
    assert_line(logged(), "WARNING gateway-rests over quota\n");
    log_error("disk", 0, "full");
    assert_line(logged(), "ERROR disk full\n");
}

static void levels_below_the_least_are_silent(void **state)
{
    log_setup(LOG_WARN_LEVEL, LOG_TEXT);
    assert_false(log_wants(LOG_INFO_LEVEL));
    assert_true(log_wants(LOG_WARN_LEVEL));
    log_debug("a", 0, "x");
    log_info("b", 0, "x");
    assert_string_equal(logged(), "");
    log_setup(LOG_DEBUG_LEVEL, LOG_TEXT);
    log_debug("a", 0, "x");
    assert_line(logged(), "a x\n");
}

static void a_text_cannot_forge_a_line(void **state)
{
    log_setup(LOG_INFO_LEVEL, LOG_TEXT);
    log_info("reply", 0, "%s", "550 no\r\n2026 accepted\x1b[2J \xff\xc2\x85 gr\xc3\xbc\xc3\x9f");
    assert_line(logged(),
                "reply 550 no\\x0d\\x0a2026 accepted\\x1b[2J \\xff\\xc2\\x85 gr\xc3\xbc\xc3\x9f\n");
}

static void json_lines_are_for_programs(void **state)
{
    log_setup(LOG_INFO_LEVEL, LOG_JSON);
    log_warn("x", 32, "say \"hi\"\n\xff");
    const char *line = logged();
    assert_memory_equal(line, "{\"time\":\"2", 10);
    assert_string_equal(strstr(line, "\"level\""),
                        "\"level\":\"warning\",\"event\":\"x\",\"id\":\"000010\","
                        "\"text\":\"say \\\"hi\\\"\\u000a\\ufffd\"}\n");
    log_info("x", 0, "y");
    assert_non_null(strstr(logged(), "\"id\":null,"));
}

// Of any length and content there comes one line, whole in its form, and not too short either.
static void long_texts_are_cut_at_a_character(void **state)
{
    static const char *const units[] = {"a", "\x01", "\xc3\xbc", "\xe2\x82\xac", "\xff", "\""};
    for (int json = 0; json < 2; json++) {
        log_setup(LOG_INFO_LEVEL, json ? LOG_JSON : LOG_TEXT);
        for (size_t u = 0; u < 6; u++) {
            for (size_t len = LIMIT_LOG_LINE - 400; len < LIMIT_LOG_LINE + 300; len += 7) {
                struct buf text;
                buf_init(&text, 2 * LIMIT_LOG_LINE);
                while (text.len < len)
                    buf_puts(&text, units[u]);
                log_info("long", 99, "%s", buf_cstr(&text));
                const char *line = logged();
                size_t got = strlen(line);
                assert_true(got <= LIMIT_LOG_LINE && got > LIMIT_LOG_LINE * 2 / 3);
                assert_ptr_equal(strchr(line, '\n'), line + got - 1);
                assert_true(utf8_valid(str_make(line, got)));
                if (json)
                    assert_string_equal(line + got - 3, "\"}\n");
                else if (u == 2 || u == 3)
                    assert_null(strstr(line, "\\x"));
                buf_free(&text);
            }
        }
    }
}

static void the_journal_gets_priorities(void **state)
{
    struct stat st;
    char name[64];
    fstat(STDERR_FILENO, &st);
    snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    log_setup(LOG_DEBUG_LEVEL, LOG_TEXT);
    log_error("a", 0, "x");
    log_info("a", 0, "x");
    const char *text = logged();
    assert_string_equal(text, "<3>a x\n<6>a x\n");
    setenv("JOURNAL_STREAM", "1:1", 1); // inherited from somebody whose stderr it was
    log_setup(LOG_DEBUG_LEVEL, LOG_TEXT);
    log_error("a", 0, "x");
    assert_line(logged(), "ERROR a x\n");
    unsetenv("JOURNAL_STREAM");
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("n", 0, "%s", (const char *)arg);
    return NULL;
}

static const char *content_of(const char *path)
{
    static char text[LIMIT_LOG_LINE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void a_file_can_be_moved_away(void **state)
{
    char dir[] = "/tmp/waypost-logs-XXXXXX", path[64], moved[64], link[64], fifo[64], hard[64];
    struct err err;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(moved, sizeof(moved), "%s/log.1", dir);
    snprintf(link, sizeof(link), "%s/link", dir);
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    snprintf(hard, sizeof(hard), "%s/hard", dir);
    log_setup(LOG_INFO_LEVEL, LOG_TEXT);
    assert_true(log_to_file(path, &err));
    log_info("one", 0, "first");
    assert_line(content_of(path), "one first\n");
    assert_int_equal(rename(path, moved), 0);
    log_info("two", 0, "second");
    assert_true(log_to_file(path, &err));
    log_info("three", 0, "third");
    assert_line(content_of(path), "three third\n");
    assert_line(strchr(content_of(moved), '\n') + 1, "two second\n");
    // What is no file of ours alone is left alone, and nothing changes.
    assert_int_equal(symlink(moved, link), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const bad[] = {link, fifo, dir, "/dev/full", "/nonexistent/log"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(log_to_file(bad[i], &err));
        assert_non_null(strstr(err.text, bad[i]));
    }
    assert_int_equal(linkat(AT_FDCWD, moved, AT_FDCWD, hard, 0), 0);
    assert_false(log_to_file(hard, &err));
    log_info("four", 0, "fourth");
    assert_line(strchr(content_of(path), '\n') + 1, "four fourth\n");
    assert_string_equal(logged(), "");
    assert_true(log_to_file(NULL, &err));
    log_info("five", 0, "fifth");
    assert_line(logged(), "five fifth\n");
    const char *const made[] = {path, moved, link, fifo, hard};
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        unlink(made[i]);
    rmdir(dir);
}

static void a_full_disk_is_told_on_standard_error(void **state)
{
    char path[] = "/tmp/waypost-log-XXXXXX";
    struct err err;
    struct rlimit before, none = {0, 0};
    close(mkstemp(path));
    log_setup(LOG_INFO_LEVEL, LOG_TEXT);
    assert_true(log_to_file(path, &err));
    // Nothing can be written into files; standard error is a pipe meanwhile.
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &none);
    log_info("full", 0, "no room");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    dup2(kept, STDERR_FILENO);
    close(ends[1]);
    char text[200];
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_line(text, "full no room\n");
    close(ends[0]);
    close(kept);
    log_to_file(NULL, &err);
    unlink(path);
}

static void lines_of_many_threads_are_never_torn(void **state)
{
    enum { THREADS = 4 };
    static char texts[THREADS][61];
    pthread_t threads[THREADS];
    log_setup(LOG_INFO_LEVEL, LOG_TEXT);
    fcntl(STDERR_FILENO, F_SETFL, O_APPEND);
    for (int i = 0; i < THREADS; i++) {
        memset(texts[i], 'a' + i, 60);
        pthread_create(&threads[i], NULL, log_many, texts[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct str rest = str_of(logged()), line;
    int count = 0;
    while (str_split(&rest, '\n', &line)) {
        assert_int_equal(line.len, 25 + 2 + 60);
        for (size_t i = 28; i < line.len; i++)
            assert_int_equal(line.ptr[i], line.ptr[27]);
        count++;
    }
    assert_int_equal(count, THREADS * 200);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, capture, release)
    const struct CMUnitTest tests[] = {
        CASE(text_lines_are_for_people),
        CASE(levels_below_the_least_are_silent),
        CASE(a_text_cannot_forge_a_line),
        CASE(json_lines_are_for_programs),
        CASE(long_texts_are_cut_at_a_character),
        CASE(the_journal_gets_priorities),
        CASE(a_file_can_be_moved_away),
        CASE(a_full_disk_is_told_on_standard_error),
        CASE(lines_of_many_threads_are_never_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
