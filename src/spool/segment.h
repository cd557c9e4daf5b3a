// SPDX-License-Identifier: ISC
// The segment files of a journal: the table of those in use, reading frames from one, the summary
// of a sealed one, and the walk over all of them.
#pragma once

#include "spool/journal.h"
#include "sys/file.h"

enum { SPOOL_PATH = 1024 };

// ---- The table. ----

// At most so many segments are in use at a time (4 TiB).
enum { SEGMENT_SLOTS = 1 << 16 };

struct segment {
    _Atomic uint64_t hold; // number << 16 | pins; 0: the slot is free
    uint64_t number;
    struct file *file; // valid while pinned, and for the committer while the slot is in use
    uint64_t size;
    // The committer's:
    uint64_t end;        // behind the last frame
    uint64_t live_bytes; // of frames with a message that is still to be done
    uint32_t live;       // such messages
    bool summed;         // the summary was asked for
};

struct segments {
    char dir[SPOOL_PATH]; // of the spool
    bool no_sync;
    _Atomic(struct segment *) slots[SEGMENT_SLOTS];
};

struct segments *segments_new(const char *dir, bool no_sync);
void segments_free(struct segments **set); // closes the files
const char *segment_path(const struct segments *set, uint64_t number, const char *ending,
                         char path[SPOOL_PATH]);
// Enters an open file. NULL when the slot is taken, that is, too many are in use (the file stays
// the caller's).
struct segment *segments_add(struct segments *set, uint64_t number, struct file *file,
                             uint64_t size);
struct segment *segments_get(const struct segments *set, uint64_t number); // committer, start-up
// Any thread: NULL when that segment is gone.
struct segment *segment_pin(struct segments *set, uint64_t number);
void segment_unpin(struct segment *segment);
// Takes it out of the table and closes it. False while pinned.
bool segment_retire(struct segment *segment);

bool spool_sync(const struct segments *set, struct file *file, struct err *err);
bool spool_dir_sync(const struct segments *set, const char *name, struct err *err);

// ---- Reading frames of one segment. ----

struct scan_frame {
    struct frame_head head;
    uint32_t crc; // of the header
    uint64_t segment, offset;
    uint64_t bodies_at; // in the file
    struct str meta;    // until the next call
};

struct scan {
    struct file *file;
    uint64_t segment, size;
    uint64_t at;           // the next frame is looked for here
    bool verify;           // the bodies, too
    bool unread;           // some block could not be read; it counted as zeros
    struct err unread_err; // the first of them
    char *window;
    size_t window_cap, window_len;
    uint64_t window_at;
};
void scan_begin(struct scan *scan, struct file *file, uint64_t segment, uint64_t size, uint64_t at,
                bool verify);
void scan_end(struct scan *scan);
bool scan_next(struct scan *scan, struct scan_frame *frame_out); // false: no sound frame at `at`
// Sets `at` to the next sound frame behind it whose sequence number is at least `sequence` and
// whose group number is at least `group`. False when there is none; `at` is then unchanged.
bool scan_resync(struct scan *scan, uint64_t sequence, uint64_t group);

// ---- The walk over a journal. ----

struct walk {
    struct segments *set;
    bool verify; // bodies too, and no summaries
    bool again;  // the second time: the ends of the segments are known
    void *ctx;
    void (*frame)(void *ctx, const struct scan_frame *frame);
    // [from, to) of a segment is unreadable; `text` says what and which records are missing.
    void (*damage)(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text);

    // What was found:
    uint64_t last_segment; // the last one with frames, 0: none
    uint64_t end;          // behind its last frame
    uint64_t sequence;     // of the next frame
    uint32_t chain;
    uint64_t id_floor;
    int64_t wall_ms; // of the last frame
    bool clean;      // the last frame is an end mark
    uint64_t frames;
    bool unread;           // the disk failed to read something, which then counted as damaged
    struct err unread_err; // the first such failure
    bool unlinked;         // internal: the next frame need not name the one before
    // Its own
    char *room; // what is read at a time
    uint64_t room_size;
};
// `numbers` rise. Every segment is in the table. False with err: written by a newer version.
bool journal_walk(struct walk *walk, const uint64_t *numbers, size_t count, struct err *err);

// Writes the summary of a sealed segment. False with err; then there is none.
bool segment_summarize(struct segments *set, struct segment *segment, struct err *err);
