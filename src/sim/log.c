// SPDX-License-Identifier: ISC
// The log of the simulated world: the last lines in a ring, printed when something went wrong;
// SIM_VERBOSE=1 prints them as they come.
#include "sim/inside.h"
#include "sys/log.h"

#include "base/base64.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>

enum { LOG_LINES = 20000, LOG_TEXT_MAX = 1024 };

static char *lines[LOG_LINES];
static size_t written;
static enum log_level least_level;
static bool verbose;

void log_init(void)
{
    const char *wish = getenv("SIM_VERBOSE");
    verbose = wish != NULL && wish[0] == '1';
    least_level = LOG_INFO_LEVEL;
    written = 0;
}

void log_free(void)
{
    for (size_t i = 0; i < LOG_LINES; i++) {
        xfree(lines[i]);
        lines[i] = NULL;
    }
}

void log_setup(enum log_level least, enum log_format format)
{
    least_level = least;
}

// This world has one log, wherever it is to go.
bool log_to_file(const char *path, struct err *err)
{
    return true;
}

bool log_wants(enum log_level level)
{
    return level >= least_level;
}

static void add_line(const char *who, const char *event, uint64_t msg, const char *text)
{
    char id[ID_TEXT_SIZE] = "";
    if (msg != 0)
        id_format(msg, id);
    char line[LOG_TEXT_MAX + 128];
    snprintf(line, sizeof(line), "%12.6f %-9s %-12s %s%s%s", (double)sim.now_us / 1e6, who, event,
             id, msg != 0 ? " " : "", text);
    if (verbose)
        fprintf(stderr, "%s\n", line);
    char **slot = &lines[written++ % LOG_LINES];
    xfree(*slot);
    *slot = xstrdup(line);
}

void log_event(enum log_level level, const char *event, uint64_t msg, const char *format, ...)
{
    if (!log_wants(level))
        return;
    SIM_CALL;
    char text[LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct buf safe;
    buf_init(&safe, sizeof(text) * 4);
    utf8_escape(&safe, str_of(text));
    add_line(sim.current != NULL ? sim.current->name : "start", event, msg, buf_cstr(&safe));
    buf_free(&safe);
}

void world_note(const char *format, ...)
{
    SIM_CALL;
    char text[LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_line("driver", "--", 0, text);
}

void world_print_log(FILE *to)
{
    size_t first = written > LOG_LINES ? written - LOG_LINES : 0;
    for (size_t i = first; i < written; i++)
        fprintf(to, "%s\n", lines[i % LOG_LINES]);
}
