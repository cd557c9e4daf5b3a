// SPDX-License-Identifier: ISC
// Copies of sent mail in files (archive.directory).
//
// Mail never waits for its copy: the queue hands over where the content lies, and goes on. A copy
// that cannot be written is missing, which the log and the status say. Everything here runs on the
// conductor's loop; workers write, one copy at a time.
#pragma once

#include "conf/conf.h"
#include "mail/body.h"
#include "spool/store.h"

struct archive;
struct archive *archive_new(struct loop *loop, struct conf *conf);
void archive_reload(struct archive *a, struct conf *conf);
// Calls done(ctx) once all copies taken on are written or given up.
void archive_stop(struct archive *a, void (*done)(void *ctx), void *ctx);
void archive_free(struct archive **a); // nothing under way: after archive_stop, or never used

// Is a copy of such mail wanted?
bool archive_wants(const struct archive *a, const struct envelope *e);

struct archive_copy {
    uint64_t id;
    const struct envelope *envelope;
    const enum rcpt_state *states; // of each recipient; WAITING: it failed, and is being returned
    const char *gateway;           // the last one; NULL: none
};
// The source is taken over. Everything else is copied. NULL with err: there is nothing to copy.
void archive_keep(struct archive *a, const struct archive_copy *copy, struct body_source *source,
                  const struct err *err);

struct archive_stats {
    const char *directory;   // NULL: no archive
    uint64_t copies, missed; // since the start
    uint64_t bytes;          // in the directory
    size_t waiting;          // to be written
    char failure[512];       // of the latest copy, "" when it was written
};
void archive_stats(const struct archive *a, struct archive_stats *out);
