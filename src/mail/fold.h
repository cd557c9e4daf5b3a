// SPDX-License-Identifier: ISC
// Writing one header field, folded (RFC 5322 section 2.2.3) at 78 columns. Whatever the words hold,
// the field stays one field: controls become '?'.
#pragma once

#include "base/buf.h"

enum { FOLD_COLUMN = 78, FOLD_WORD = 900 }; // a longer word is broken: a line ends before 998

struct fold {
    struct buf *out;
    size_t column;
};

// `name` with its colon: "Received:".
struct fold fold_begin(struct buf *out, const char *name);
void fold_word(struct fold *f, struct str word); // kept together; its blanks stay
void fold_text(struct fold *f, struct str text); // word by word; runs of blanks become one
void fold_break(struct fold *f);                 // the next word begins a line
void fold_end(struct fold *f);
