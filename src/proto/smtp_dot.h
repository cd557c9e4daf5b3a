// SPDX-License-Identifier: ISC
// Message content as it comes over the wire: the dots of DATA removed (RFC 5321 section 4.5.2), and
// what has no place in lines noticed.
//
// Only CRLF.CRLF ends DATA. A bare CR or LF never begins a line here, so no two hops that disagree
// about line ends can be made to see two messages where we see one. Whether a message with such
// bytes is refused is the caller's decision, after the real end.
#pragma once

#include "base/str.h"

enum smtp_dot_state {
    SMTP_DOT_START,  // the first byte of a line comes next
    SMTP_DOT_LINE,   // inside a line
    SMTP_DOT_DOT,    // a dot stood at the start; it is not content
    SMTP_DOT_DOT_CR, // and a CR behind it
};

// Zeroed: at the start of the content.
struct smtp_dot {
    enum smtp_dot_state state;
    bool after_cr; // LINE only: the byte before was CR
    bool bare_cr;
    bool bare_lf;
    bool nul;
    bool eight_bit;
    uint64_t line_bytes; // of the line under way
    uint64_t longest_line;
};

// Takes from the front of `in` (not empty): returns the bytes taken, at least one. *slice_out is
// content, borrowed from `in`, perhaps empty. *end_out: the end of DATA was among the bytes taken
// (then the slice is empty); what follows in `in` is no content.
size_t smtp_dot_next(struct smtp_dot *dot, struct str in, struct str *slice_out, bool *end_out);

// The same watch over content without dots (BDAT); all of `in` is content.
void smtp_dot_watch(struct smtp_dot *dot, struct str in);

// Does the content end with CRLF so far? An empty one does.
static inline bool smtp_dot_at_line_start(const struct smtp_dot *dot)
{
    return dot->state != SMTP_DOT_LINE;
}
