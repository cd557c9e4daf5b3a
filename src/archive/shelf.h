// SPDX-License-Identifier: ISC
// The directory of an archive: a directory for each day, in it a file for each message.
//
//   DIR/2026-11-21/090700-CZHBYK.eml       sent at 09:07:00, local time
//   DIR/2026-11-21/090700-CZHBYK.eml.new   being written
//
// Directories have mode 0700, files 0600. A file gets its name when it is whole; it is not synced
// by itself. Names that look otherwise are never touched. All of it blocks: workers only.
#pragma once

#include "base/err.h"
#include "sys/file.h"

enum { SHELF_NAME = 64, SHELF_PATH = 4096 };

// "2026-11-21/090700-CZHBYK.eml" for a message sent then.
const char *shelf_name(uint64_t id, int64_t wall_ms, int offset_minutes, char name[SHELF_NAME]);

// The file of that name, to be written from its beginning. NULL with err: also when fewer than
// LIMIT_ARCHIVE_FREE bytes beside the size are free on that disk, which the mail may need.
struct file *shelf_begin(const char *dir, const char *name, uint64_t size, struct err *err);
bool shelf_end(const char *dir, const char *name, struct file **file, struct err *err);
void shelf_abandon(const char *dir, const char *name, struct file **file);

// Removes the days that began more than keep_ms before now_ms (0: none for their age), then the
// oldest files until all of them have at most max_bytes, and what was left half written.
// *bytes_out: what is left. False with err.
bool shelf_sweep(const char *dir, int64_t now_ms, int offset_minutes, int64_t keep_ms,
                 uint64_t max_bytes, uint64_t *bytes_out, struct err *err);
