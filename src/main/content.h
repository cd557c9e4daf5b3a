// SPDX-License-Identifier: ISC
// What a program gives on its standard input, brought into the form mail travels in.
#pragma once

#include "base/buf.h"

// Every line end (LF, CRLF, a lone CR) becomes CRLF, NUL octets are left out, and the last line is
// ended: what a listener would refuse is mended, because the caller is often cron and nobody would
// read the refusal.
struct content {
    struct buf *out;
    bool dot_ends; // a line that is only "." ends the input, as sendmail has it without -i
    bool ended;    // it came

    // Internal.
    bool inside, cr, dot;
};

void content_begin(struct content *c, struct buf *out, bool dot_ends);
void content_feed(struct content *c, const char *bytes, size_t len);
void content_end(struct content *c);

// Reads fd to its end (or the lone dot). False: *why_out is a phrase, errno stands or the buffer is
// full.
bool content_read(struct buf *out, int fd, bool dot_ends, const char **why_out);

// Any octet above 127?
bool content_is_8bit(struct str content);
