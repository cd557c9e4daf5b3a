// SPDX-License-Identifier: ISC
// The indexer: a loop that reads the journal behind the committer and feeds SQLite. Nothing waits
// for it but the freeing of segments it has not read.
#pragma once

#include "spool/store.h"

struct index_feed;
struct frame;

// Opens or makes the database. NULL with err.
struct index_feed *index_feed_open(struct store *store, struct err *err);
void index_feed_start(struct index_feed *feed); // its loop, and catching up
void index_feed_wake(struct index_feed *feed);  // committed got on; committer
// Takes the frame's transcripts over; committer.
void index_feed_transcripts(struct index_feed *feed, struct frame *frame);
// Posts `done` to `home` once all before `sequence` is in the database, or that fails; any thread.
void index_feed_barrier(struct index_feed *feed, uint64_t sequence, struct loop *home,
                        struct post *done);
void index_feed_catch_up(struct index_feed *feed); // on this thread, instead of index_feed_start
void index_feed_stop(struct index_feed **feed);    // after the committer ended: feeds the rest

uint64_t index_feed_segment(struct index_feed *feed); // it has read all before this; any thread
uint64_t index_feed_sequence(struct index_feed *feed);
