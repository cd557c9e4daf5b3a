// SPDX-License-Identifier: ISC
// Lines of a table for people. At a terminal no cell is wider than its column, so that the others
// stay in line; elsewhere nothing is cut.
#pragma once

#include "base/buf.h"

struct table_column {
    const char *title; // NULL ends the columns
    int width;         // in characters; 0: the rest of the line (the last one only)
    bool right;        // to the right edge
    bool wide;         // takes its share when the terminal has room
};

// One line, without its end. `cells` may be NULL: the titles. `terminal` is its width, 0: none.
// Cells are made safe to show (utf8_escape).
void table_line(struct buf *out, const struct table_column *columns, const struct str *cells,
                int terminal);
