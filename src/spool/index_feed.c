// SPDX-License-Identifier: ISC
// The indexer is not there yet: a store runs without an index.
#include "spool/index_feed.h"

struct index_feed *index_feed_open(struct store *store, struct err *err)
{
    err_set(err, "no index yet");
    return NULL;
}

void index_feed_start(struct index_feed *feed)
{
}

void index_feed_wake(struct index_feed *feed)
{
}

void index_feed_transcripts(struct index_feed *feed, struct frame *frame)
{
}

void index_feed_barrier(struct index_feed *feed, struct loop *home, void (*done)(void *ctx),
                        void *ctx)
{
}

void index_feed_stop(struct index_feed **feed)
{
}

uint64_t index_feed_segment(struct index_feed *feed)
{
    return UINT64_MAX;
}

uint64_t index_feed_sequence(struct index_feed *feed)
{
    return UINT64_MAX;
}
