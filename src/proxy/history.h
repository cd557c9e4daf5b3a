// SPDX-License-Identifier: ISC
// What is remembered of a message that passed through: one record in the journal, for the index
// alone, when its transaction is over. One loop.
#pragma once

#include "spool/store.h"

enum { HISTORY_NOTES = 16 };
struct history {
    struct arena *arena;      // borrowed
    struct envelope envelope; // with all recipients that were asked for
    struct store_rcpt_result *told;
    struct history_note {
        int64_t wall_ms;
        const char *text;
    } notes[HISTORY_NOTES]; // of ways that failed; more are forgotten
    size_t note_count;
};

void history_init(struct history *h, struct arena *arena, const struct envelope *envelope);
void history_free(struct history *h);

// A recipient and its answer; one that is taken so far has class OK and phase RCPT. Those beyond
// LIMIT_RECIPIENTS_OUT are forgotten.
void history_rcpt(struct history *h, const struct envelope_rcpt *rcpt, const struct outcome *o);
void history_note(struct history *h, const char *gateway, const char *text);
// What became of all that were taken.
void history_end(struct history *h, const struct outcome *o);

// Nothing is written when nobody was asked for. `gateway` and `facts` may be NULL.
void history_write(struct history *h, struct store *store, uint64_t id, uint64_t size,
                   const char *gateway, const char *facts, struct str transcript);
