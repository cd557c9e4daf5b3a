// SPDX-License-Identifier: ISC
// Looking after a spool that no daemon has open: what `waypost spool check` and `rebuild` do.
#pragma once

#include "base/buf.h"
#include "base/err.h"

// Reads every segment and body, verifies every CRC, and appends a report for people: counts, and
// each damage with file and offset. Changes nothing. False with err when it could not be done
// (another process has the spool); damages are no error, *damages_out counts them.
bool spool_check(const char *dir, struct buf *report, uint64_t *damages_out, struct err *err);

// Makes the index anew from the journal, and moves the readable messages out of damaged segments.
// Blocks, runs a loop of its own: for commands only.
bool spool_rebuild(const char *dir, struct buf *report, struct err *err);
