// SPDX-License-Identifier: ISC
// One event, one line, one write(2): a line below PIPE_BUF is never torn, whoever else writes
// there. A file keeps its descriptor when it is opened anew (dup3 puts the new one in its place),
// so threads that log meanwhile write into the one or the other, never into nothing.
#include "base/base64.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;   // in JSON
    const char *mark;   // in text: only what asks for attention is marked
    const char *prefix; // sd-daemon(3)
} levels[] = {
    [LOG_DEBUG_LEVEL] = {"debug", "", "<7>"},
    [LOG_INFO_LEVEL] = {"info", "", "<6>"},
    [LOG_WARN_LEVEL] = {"warning", "WARNING ", "<4>"},
    [LOG_ERROR_LEVEL] = {"error", "ERROR ", "<3>"},
};

static atomic_int least_level = LOG_INFO_LEVEL;
static atomic_int line_format = LOG_TEXT;
static atomic_bool to_journal;
static atomic_int out = STDERR_FILENO;
static int file_fd = -1; // the last one opened, -1: none ever

// The variable is inherited by children whose standard error may be elsewhere, so it names the file
// it is about (systemd.exec(5)).
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct stat st;
    if (text == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    char own[64];
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return str_eq(str_of(text), str_of(own));
}

void log_setup(enum log_level least, enum log_format format)
{
    atomic_store(&least_level, (int)least);
    atomic_store(&line_format, (int)format);
    atomic_store(&to_journal, stderr_is_journal());
}

static int open_file(const char *path, struct err *err)
{
    struct stat st;
    // Neither waits for the reader of a pipe nor follows a link to someone else's file.
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0) {
        err_sys(err, errno, "cannot log to %s", path);
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        return fd;
    close(fd);
    err_set(err, "cannot log to %s: it is not an ordinary file with one name", path);
    return -1;
}

bool log_to_file(const char *path, struct err *err)
{
    if (path == NULL) {
        atomic_store(&out, STDERR_FILENO);
        return true;
    }
    int fd = open_file(path, err);
    if (fd < 0)
        return false;
    if (file_fd < 0) {
        file_fd = fd;
    } else {
        dup3(fd, file_fd, O_CLOEXEC);
        close(fd);
    }
    atomic_store(&out, file_fd);
    return true;
}

bool log_wants(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

struct event {
    enum log_level level;
    const char *name;
    char time[TIME_TEXT];
    char id[ID_TEXT_SIZE]; // "" = none
    struct str text;
};

static bool marks_for_journal(void)
{
    return atomic_load(&to_journal) && atomic_load(&out) == STDERR_FILENO;
}

static void put_text(struct buf *line, const struct event *e)
{
    // The journal has its own time and level of every line.
    if (marks_for_journal())
        buf_printf(line, "%s%s", levels[e->level].prefix, e->name);
    else
        buf_printf(line, "%s %s%s", e->time, levels[e->level].mark, e->name);
    if (e->id[0] != '\0')
        buf_printf(line, " %s", e->id);
    if (e->text.len > 0) {
        buf_putc(line, ' ');
        utf8_escape(line, e->text);
    }
}

static void put_json(struct buf *line, const struct event *e)
{
    if (marks_for_journal())
        buf_puts(line, levels[e->level].prefix);
    struct json j = json_to(line);
    json_open(&j, NULL);
    json_text(&j, "time", e->time);
    json_text(&j, "level", levels[e->level].name);
    json_text(&j, "event", e->name);
    json_text(&j, "id", e->id[0] != '\0' ? e->id : NULL);
    json_str(&j, "text", e->text);
    json_close(&j);
}

// Escaping may make a text several times longer: then less of it is shown, but always a whole line.
static void put_line(struct buf *line, struct event *e)
{
    bool json = atomic_load(&line_format) == LOG_JSON;
    for (;;) {
        buf_clear(line);
        if (json)
            put_json(line, e);
        else
            put_text(line, e);
        if (buf_putc(line, '\n') || e->text.len == 0)
            return;
        e->text.len -= (e->text.len + 7) / 8;
        while (e->text.len > 0 && (e->text.ptr[e->text.len] & 0xC0) == 0x80)
            e->text.len--; // not in the middle of a character
    }
}

static bool put_out(int fd, const struct buf *line)
{
    ssize_t n;
    do
        n = write(fd, line->data, line->len);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

void log_event(enum log_level level, const char *event, uint64_t msg, const char *format, ...)
{
    if (!log_wants(level))
        return;
    int before = errno;
    char text[LIMIT_LOG_LINE];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    struct event e = {.level = level, .name = event};
    time_iso(clock_wall_ms(), e.time);
    if (msg != 0)
        id_format(msg, e.id);
    size_t shown = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    e.text = str_make(text, shown);

    struct buf line;
    buf_init(&line, LIMIT_LOG_LINE);
    put_line(&line, &e);
    // A file that takes no more, as on a full disk: standard error is the last that may hear it.
    int fd = atomic_load_explicit(&out, memory_order_relaxed);
    if (!put_out(fd, &line) && fd != STDERR_FILENO)
        put_out(STDERR_FILENO, &line);
    buf_free(&line);
    errno = before;
}
