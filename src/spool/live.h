// SPDX-License-Identifier: ISC
// What the journal amounts to: every message that is still to be done, where its record lies, and
// the state of its recipients. Owned by the committer; filled at start by the replay.
#pragma once

#include "spool/segment.h"

// A million of these are kept at times.
struct live {
    uint64_t id; // 0: a free entry
    union {
        struct {
            uint32_t segment; // of its ACCEPT record
            uint32_t offset;  // of the frame there, in units of FRAME_ALIGN
        };
        struct live *next_free;
    };
    uint32_t weight;     // bytes of the frame that are its own, in the same units
    uint32_t count : 24; // recipients
    int32_t priority : 4;
    uint32_t held : 1;
    uint32_t own_file : 1;
    uint32_t tried : 1; // its recipients have states
    uint32_t timed : 1; // it has live_times
};

// Of few messages, changed since they were accepted.
struct live_times {
    int64_t send_ms;    // not to be sent before; 0: as the envelope says
    int64_t deleted_ms; // in the bin since; 0: it is not
};

struct live_table;
// Why it is held, "" unknown.
struct str live_reason(const struct live_table *table, const struct live *live);
struct live_table *live_table_new(struct segments *set);
void live_table_free(struct live_table **table);
struct live *live_get(const struct live_table *table, uint64_t id);
// The same for ids in the order of acceptance: start with *pos = 0; mostly without a look-up.
struct live *live_get_next(const struct live_table *table, size_t *pos, uint64_t id);
// Of its recipients; NULL: all waiting, never tried.
struct store_rcpt_state *live_states(const struct live_table *table, const struct live *live);
struct live_times live_times(const struct live_table *table, const struct live *live);
size_t live_count(const struct live_table *table);
uint64_t live_bytes(const struct live_table *table);
// In about the order of acceptance; start with *pos = 0, until NULL. Removing while walking is
// allowed.
struct live *live_next(const struct live_table *table, size_t *pos);
void live_remove(struct live_table *table, struct live *live);

// Applies one operation of a frame that lies at (segment, offset). The entry concerned, or NULL
// when the message is not known (any more). *ended_out: its last recipient came to an end; the
// caller removes it.
struct live *live_apply(struct live_table *table, const struct journal_op *op, uint64_t segment,
                        uint64_t offset, bool *ended_out);
