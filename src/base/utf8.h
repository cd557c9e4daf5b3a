// SPDX-License-Identifier: ISC
// UTF-8 (RFC 3629), and text made safe to show.
#pragma once

#include "base/buf.h"

// Bytes of the well-formed character at the front of s: 1 to 4, or 0 when there is none (empty or
// malformed).
size_t utf8_len(struct str s);
bool utf8_valid(struct str s);
bool ascii_only(struct str s);

// One line that a log or a terminal can show: controls, DEL, C1, what turns the direction of
// writing about, line separators and malformed bytes become \xNN.
bool utf8_escape(struct buf *out, struct str s);
// The same bytes become '?', in place: for names that strangers choose and that are compared, too.
void utf8_make_plain(char *text);
