// SPDX-License-Identifier: ISC
// One event, one line, one write(2): a line below PIPE_BUF is never torn, whoever else writes
// there.
#include "base/base64.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
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

static void put_text(struct buf *line, const struct event *e)
{
    if (atomic_load(&to_journal))
        buf_puts(line, levels[e->level].prefix);
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
    if (atomic_load(&to_journal))
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
    ssize_t n;
    do
        n = write(STDERR_FILENO, line.data, line.len);
    while (n < 0 && errno == EINTR); // any other trouble: there is nobody left to tell
    buf_free(&line);
    errno = before;
}
