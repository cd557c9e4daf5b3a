// SPDX-License-Identifier: ISC
// Trouble of the world (disk, memory, configuration) in a sentence for a person. Our own bugs are
// asserts; the result of a delivery is data (mail/outcome.h).
#pragma once

#include <errno.h>
#include <stdarg.h>

// A function that can fail takes a `struct err *` last, returns false or -1, and leaves a sentence
// that says what, where, why and, where it helps, what to do. `code` is an errno value where one
// was the cause, else 0.
struct err {
    int code;
    char text[512];
};

void err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The same with ": <text of the errno value>" behind it; `code` is kept in err->code.
void err_sys(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "<text>: " before what err already says.
void err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
