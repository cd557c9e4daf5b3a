// SPDX-License-Identifier: ISC
// The format of the journal: segment headers, frames, and the operations in them, as bytes. Pure:
// no file is touched here. journal.c opens with the tables and what must hold.
#pragma once

#include "base/buf.h"
#include "spool/store.h"

enum {
    SEGMENT_HEAD = 4096, // bytes before the first frame
    FRAME_HEAD = 80,
    FRAME_ALIGN = 8,
    FRAME_META_MAX = 16 * 1024 * 1024,
};

static inline uint64_t journal_align(uint64_t n)
{
    return (n + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
}

struct segment_head {
    uint64_t number;
    uint64_t first_sequence;
    uint64_t id_floor;
    int64_t wall_ms;
    uint32_t run;
};
enum segment_head_kind {
    SEGMENT_HEAD_OK,
    SEGMENT_HEAD_BAD, // no header, a damaged one, or another segment's
    SEGMENT_HEAD_NEWER
};
void segment_head_encode(const struct segment_head *head, char out[SEGMENT_HEAD]);
enum segment_head_kind segment_head_decode(const char in[FRAME_HEAD], uint64_t number,
                                           struct segment_head *head_out);

enum frame_flags {
    FRAME_START = 1, // a run began
    FRAME_END = 2,   // and ended in order; nothing was under way
    FRAME_MOVED = 4, // a live message copied forward by compaction
};

struct frame_head {
    uint64_t segment;
    uint64_t sequence;
    uint64_t group;    // sequence of the first frame written and synced together with this one
    uint64_t id_floor; // every id below may have been given
    int64_t wall_ms;
    uint64_t body_len; // of the bodies behind the meta, padding included
    uint32_t run;
    uint32_t chain; // the header CRC of the frame before
    uint32_t meta_len, meta_crc;
    uint16_t ops, flags;
};
// Returns the header's CRC, which the next frame's `chain` must repeat.
uint32_t frame_head_encode(const struct frame_head *head, char out[FRAME_HEAD]);
// False when this is no frame header of that segment. *crc_out as above.
bool frame_head_decode(const char in[FRAME_HEAD], uint64_t segment, struct frame_head *head_out,
                       uint32_t *crc_out);
static inline uint64_t frame_size(const struct frame_head *head)
{
    return FRAME_HEAD + journal_align(head->meta_len) + head->body_len;
}

// One operation as it stands in a frame's meta. Texts are borrowed from it.
struct journal_op {
    enum store_op_kind kind;
    uint64_t id;
    int64_t wall_ms;
    // ACCEPT
    bool own_file, moved, held;
    int priority;
    uint64_t body_size;
    uint32_t body_crc;
    uint64_t body_at; // of an inline body, from the start of the frame's bodies
    uint32_t count;   // recipients
    struct str packed;
    bool has_states;
    struct str states;   // read with journal_next_state
    int64_t send_ms;     // 0: as the envelope says
    int64_t deleted_ms;  // 0: not in the bin
    struct str reason;   // of the hold
    struct str troubles; // of the states; read with journal_troubles
    // RESULT
    struct str gateway, facts;
    uint32_t result_count;
    struct str results; // read with journal_next_result
    // HOLD, NOTE, PRIORITY
    bool flag;
    int value;
    struct str text;
    // NOTES: the further messages; read with journal_next_id, beginning with `id`
    struct str more;
    // SEND_AT
    int64_t at_ms;
};

// Appends one operation. An ACCEPT needs packed, count and the body fields; `states` (may be NULL)
// has `count` entries. False when the meta would grow too large.
bool journal_put_accept(struct buf *meta, const struct journal_op *op,
                        const struct store_rcpt_state *states);
bool journal_put_op(struct buf *meta, const struct store_op *op); // all other kinds

// Walks the operations: start with *body_at = 0. 1: one was read. 0: the end. -1: damaged.
// Operations of a kind from the future are skipped.
int journal_next_op(struct str *meta, uint64_t *body_at, struct journal_op *op_out);
bool journal_next_id(struct str *more, uint64_t *id); // *id becomes the next one
// Of an ACCEPT: it went through without being kept, the record is for the history alone.
bool journal_is_over(const struct journal_op *op);
bool journal_next_state(struct str *states, struct store_rcpt_state *state_out);
// The last troubles of an ACCEPT's recipients, kept in the table; states[i].trouble become
// references of it.
void journal_troubles(const struct journal_op *op, struct troubles *troubles,
                      struct store_rcpt_state *states);
int64_t journal_doubt_ms(const struct journal_op *op); // of a RESULT
bool journal_next_result(struct str *results, struct store_rcpt_result *result_out);
