// SPDX-License-Identifier: ISC
// Dot-stuffing of a body on its way out (RFC 5321 section 4.5.2).
#pragma once

#include "base/str.h"

// Where the pieces go: no copy is made, the spans between stuffed dots are passed on as they are.
struct smtp_stuff {
    void (*write)(void *ctx, const void *bytes, size_t len);
    void *ctx;
    bool inside; // a line: its LF is still to come
};

// Slices may be cut anywhere.
void smtp_stuff_feed(struct smtp_stuff *s, const char *bytes, size_t len);
// Ends the last line if need be, and the body: the final dot.
void smtp_stuff_end(struct smtp_stuff *s);
