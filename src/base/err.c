// SPDX-License-Identifier: ISC
// Trouble of the world in a sentence.
#include "base/err.h"

#include <stdio.h>
#include <string.h>

void err_set(struct err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    err->code = 0;
}

void err_sys(struct err *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    size_t len = strlen(err->text);
    const char *what = strerrordesc_np(code);
    snprintf(err->text + len, sizeof(err->text) - len, ": %s",
             what != NULL ? what : "unknown error");
    err->code = code;
}

void err_prefix(struct err *err, const char *format, ...)
{
    char old[sizeof(err->text)];
    memcpy(old, err->text, sizeof(old));
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    size_t len = strlen(err->text);
    snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
}
