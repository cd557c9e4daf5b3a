// SPDX-License-Identifier: ISC
// The log: one line an event, on standard error (journald's priority prefix when it is the
// journal) or at the end of a file, text or JSON.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level least, enum log_format format);
// Lines go to the end of this file from now on; it is made (mode 0640) when it is not there. Called
// again with the same name it opens the file that has the name now, as after logrotate(8). NULL:
// standard error. False with err: nothing has changed. One thread at a time, while others log.
bool log_to_file(const char *path, struct err *err);

// `event` is a short stable word ("accepted", "delivered", "listening"); the format gives a
// sentence for a person. `msg` is the message id, 0 = none. Any thread; a line is never torn;
// control bytes are escaped here.
void log_event(enum log_level level, const char *event, uint64_t msg, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define log_debug(event, msg, ...) log_event(LOG_DEBUG_LEVEL, event, msg, __VA_ARGS__)
#define log_info(event, msg, ...)  log_event(LOG_INFO_LEVEL, event, msg, __VA_ARGS__)
#define log_warn(event, msg, ...)  log_event(LOG_WARN_LEVEL, event, msg, __VA_ARGS__)
#define log_error(event, msg, ...) log_event(LOG_ERROR_LEVEL, event, msg, __VA_ARGS__)
bool log_wants(enum log_level level);
