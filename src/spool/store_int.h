// SPDX-License-Identifier: ISC
// What the parts of the store share. Each field says whose thread it is.
#pragma once

#include "spool/live.h"
#include "spool/spare.h"
#include "sys/worker.h"

#include <stdatomic.h>

enum {
    FIRST_SEQUENCE = 1,          // number of a journal's first frame
    ID_BLOCK = 1 << 20,          // ids recorded ahead
    SEGMENT_POOL = 4,            // freed segments kept for reuse
    BODY_CHUNK = 256 * 1024,     // a body's file is written in such pieces
    COMPACT_FLOOR_SEGMENTS = 4,  // garbage that is always tolerated
    COMPACT_SHARE = 30,          // and this part of the live bytes, per cent
    COMPACT_BATCH = 1024 * 1024, // bytes moved forward at a time
    TRANSCRIPT_MAX = 64 * 1024,
    TRANSCRIPTS_MAX = 8 * 1024 * 1024, // waiting for the index
};

struct index_feed;
struct keeper;

// One commit on its way to the disk. Made on the caller's thread, then the committer's.
struct frame {
    struct post post;
    struct frame *next;
    struct store *store;
    struct store_commit *commit; // NULL: nobody waits
    struct buf meta;             // FRAME_HEAD bytes are kept free in front
    uint32_t meta_crc;
    uint64_t body_len;
    uint16_t ops, flags;
    bool accepts;            // takes space that is not given back by itself
    atomic_uint bodies_left; // files not yet synced, + 1 while the frame is being made
    atomic_bool body_failed;
    struct err err;                 // of the body that failed
    struct blob **blobs;            // the bodies inside the frame
    size_t blob_count;              //
    struct store_message *messages; // what the conductor will get, linked by post.next
    struct transcript *transcripts; // for the index
    // A move: encodes the frame when its turn has come. False: there is nothing to be moved.
    bool (*prepare)(struct frame *frame);
    void (*finished)(struct frame *frame, bool ok); // instead of `done`; frees what it owns
    void *owner;
    uint64_t segment, offset, sequence; // once written
};

// An attempt's dialogue on its way to the index, beside the journal.
struct transcript {
    struct transcript *next;
    uint64_t sequence; // of the frame
    uint32_t op;       // which operation of it
    size_t len;
    char text[];
};

// What the conductor is to hear. Kept by the store until it runs, so that nothing is lost with a
// conductor that has ended.
struct mail {
    struct mail *next;
    struct store_message *first, **tail; // accepted
    uint64_t moved_id;                   // or moved
    struct store_body_ref moved_to;
};

// The committer's own.
struct committer {
    struct frame *head, **tail; // waiting, in order
    struct defer write;
    struct segment *active;
    uint64_t sequence; // of the next frame
    uint32_t chain, run;
    uint64_t id_floor;
    uint64_t spare;    // number of the prepared segment, 0: none
    bool spare_failed; // the keeper has no space for one
    uint64_t oldest;   // lowest segment not yet given to the keeper for freeing
    struct file_piece *pieces;
    size_t piece_count, piece_cap;
    char head_block[SEGMENT_HEAD];
    bool closing;
    struct post close;
};

struct store {
    struct store_settings settings;
    char dir[SPOOL_PATH];
    char bodies[SPOOL_PATH];
    struct file *lock;
    struct segments *set;
    struct live_table *live; // the committer's
    struct loop *commit_loop, *keep_loop, *index_loop;
    struct loop *conductor;
    void (*accepted)(void *ctx, struct store_message *m);
    void (*moved)(void *ctx, uint64_t id, struct store_body_ref to);
    void *ctx;
    _Atomic(struct mail *) mail; // newest first
    struct post mail_call;       // to the conductor, to fetch it
    atomic_bool mail_called;
    struct committer c;
    struct keeper *keeper;
    struct spares spares;
    struct index_feed *feed; // NULL: no index
    uint64_t prepared;       // found at start, 0: none
    bool was_clean;          // the last run had ended in order
    bool maintenance;        // a command, not a daemon: an unclean end before it stays one

    atomic_bool failed;
    atomic_int fail_claim;
    char failure[256]; // valid once `failed`
    _Atomic uint64_t next_id;
    _Atomic uint64_t temp_names;
    atomic_uint bodies_busy; // files being finished or removed: a close waits for them
    _Atomic uint64_t free_bytes;
    _Atomic uint64_t oldest, active; // segments; what is `committed` lies up to `active`
    _Atomic uint64_t compact_until;  // moved forward whatever the garbage
    _Atomic uint64_t uncompactable;  // a segment that is left alone
    atomic_bool disk_low;
    // Statistics
    _Atomic uint64_t segments, live_bytes, groups, records, syncs, committed;
    _Atomic int64_t last_sync_us, slowest_sync_us;
};

void store_fail(struct store *store, const struct err *err); // any thread

// commit.c
void committer_init(struct store *store);
void committer_submit(struct frame *frame);                 // any thread
void committer_spare(struct store *store, uint64_t number); // on the committer; 0: no space
void committer_close(struct store *store);                  // by the keeper
void committer_mail(struct store *store, struct mail *mail);
void committer_look(struct store *store); // on the committer: something changed
void committer_free(struct store *store);
struct frame *frame_new(struct store *store);
void frame_free(struct frame *frame);
void frame_seal_meta(struct frame *frame); // after the last operation was put
void frame_body_done(struct frame *frame, const struct err *err); // err NULL: well

// body.c
struct body_facts {
    uint64_t size;
    uint32_t crc;
    struct blob *blob; // NULL: in a file of its own
};
// The commit takes the body over. A body with a file keeps `frame` waiting until it is on disk.
struct body_facts body_take(struct store_body **body, uint64_t id, struct frame *frame);
const char *body_path(const struct store *store, uint64_t id, char path[SPOOL_PATH]);
// Of a body that is not committed: from memory, or (blob NULL) from its file.
struct body_source *source_of_body(struct loop *loop, const char *path, uint64_t size, uint32_t crc,
                                   struct blob *blob, struct err *err);

// store.c
struct store *store_new(const struct store_settings *settings);
bool store_lock(struct store *store, struct err *err);
void store_free(struct store **store);

// replay.c
// Opens all segment files and enters them. Numbers in rising order, free with xfree; NULL with err.
uint64_t *store_list_segments(struct store *store, enum file_mode mode, size_t *count_out,
                              struct err *err);
bool store_replay(struct store *store, void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                  struct err *err);

// keep.c: prepares, summarizes, compacts and frees segments, and looks at the disk.
bool keep_prepare(struct store *store, uint64_t number, struct err *err); // blocks
void keep_start(struct store *store);
void keep_want_spare(struct store *store); // these from the committer
void keep_sealed(struct store *store, uint64_t number);
void keep_free_segment(struct store *store, uint64_t number);
void keep_remove_body(struct store *store, uint64_t id); // once keep_synced was called
void keep_synced(struct store *store);
void keep_indexed(struct store *store); // from the indexer: it got on
void keep_close(
    struct store *store);            // any thread: the keeper falls silent, then the committer ends
void keep_stop(struct store *store); // any thread, after the committer ended
void keep_free(struct store *store);
void keep_look_at_disk(struct store *store); // start-up, keeper
