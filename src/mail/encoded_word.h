// SPDX-License-Identifier: ISC
// Encoded words (RFC 2047) as people read them. For display only: nothing is decided by it.
#pragma once

#include "base/buf.h"

// Appends `field` (one unfolded line) with its encoded words decoded: UTF-8, ISO-8859-1 and
// US-ASCII, B and Q. Blanks between two of them go (section 6.2), also when a character is torn
// between them. Words of other charsets or with mistakes stay as they are. The result is UTF-8 when
// the words were; controls in it are the caller's to escape (utf8_escape). At most `max` octets are
// appended, cut between characters.
void encoded_word_show(struct buf *out, struct str field, size_t max);
