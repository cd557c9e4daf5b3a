// SPDX-License-Identifier: ISC
// The journal's format. All numbers are little-endian; CRC is CRC-32C.
//
// A segment file: one header of 4096 bytes, then frames back to back, each beginning at a multiple
// of 8; behind the last one whatever the file held before.
//
//   segment header                      frame
//    0  8  magic "WAYPOST\n"             0  4  magic "WPF1"
//    8  4  version, 1                    4  4  CRC of bytes 8..80
//   12  4  CRC of 8..12 and 16..56       8  8  segment number
//   16  8  segment number               16  8  sequence number
//   24  8  first sequence number        24  8  sequence number of its group's first frame
//   32  8  id floor                     32  8  id floor
//   40  8  wall clock                   40  8  wall clock
//   48  4  run                          48  8  length of the bodies
//   52  4  0                            56  4  run: a random number of this process
//                                       60  4  CRC field of the frame before (chain)
//                                       64  4  length of the meta
//                                       68  4  CRC of the meta
//                                       72  2  operations     74  2  flags     76  4  0
//                                       80     meta, padded to 8
//                                              bodies, each padded to 8
//
//   operation: u8 kind, u32 length, then
//     ACCEPT    u64 id, i64 wall, u8 flags (1 body in its own file, 2 moved, 4 held, 8 states
//               follow, 16 time of sending follows, 32 causes follow, 64 time of removal
//               follows), i32 priority, u64 body size, u32 body CRC, u32 recipients, text
//               envelope, then with flag 8 for each recipient: u8 state, u16 tries, i64 next; then
//               with flag 16: i64 not to be sent before; then with flag 64: i64 in the bin since;
//               then with flag 32: text reason of the hold, u32 troubles, of each: text gateway,
//               i64 in doubt until (0: not), outcome; then for each recipient u32: which of them
//               from 1 on, 0: none. With the ends of all recipients it went through without being
//               kept, and has no body
//     RESULT    u64 id, i64 wall, text gateway, text facts, u32 count, then for each:
//               u32 recipient, u8 state, u16 tries, i64 next, outcome; at the end, when some are
//               in doubt: i64 until when
//     outcome   u8 class, u8 scope, u8 phase, u8 flags (1 relayed, 2 in doubt, 4 the last trouble
//               of before stays), u16 code, 3 x u8 enhanced, text where, text text
//     NOTES     u64 id, i64 wall, u8 0, i32 0, text text, text further messages: of each how far
//     its
//               id is from the one before, 7 bits to a byte, lowest first, bit 7: more follow
//     SEND_AT   u64 id, i64 wall, u8 0, i32 0, text text, i64 not to be sent before
//     others    u64 id, i64 wall, u8 flag, i32 value, text text
//
// Invariants
//  1. A frame counts only when the CRCs of its header, its meta and its bodies are right: all of
//     its operations or none.
//  2. Sequence numbers rise by exactly one from frame to frame, through all segments and runs; a
//     number is taken again only when the frame that had it was never synced.
//  3. A frame names its segment, and segment numbers are never used twice, so that what a recycled
//     file held before is never taken for a frame.
//  4. A frame names, by `chain`, the very frame it follows. So the remains of a group that never
//     was synced are not taken up behind a new frame of the same length.
//  5. One group is under way at a time. So when a bad frame is followed by a good one of a *later*
//     group, the bad one had been synced once, and is damaged; else it is the end of the journal.
//  6. An id below the floor of any frame was possibly given; ids start at the highest floor.
//  7. Space freed in front of the oldest live message is given back oldest first, and each step is
//     on disk before the next one: the record that ended a message outlives the message.
#include "spool/journal.h"
#include "base/crc32c.h"
#include "base/mem.h"

#include <assert.h>

static const char segment_magic[8] = "WAYPOST\n";
static const char frame_magic[4] = "WPF1";
enum { VERSION = 1 };
enum {
    ACCEPT_OWN_FILE = 1,
    ACCEPT_MOVED = 2,
    ACCEPT_HELD = 4,
    ACCEPT_STATES = 8,
    ACCEPT_SEND_AT = 16,
    ACCEPT_CAUSES = 32,
    ACCEPT_DELETED = 64,
};
enum { OUTCOME_RELAYED = 1, OUTCOME_IN_DOUBT = 2, OUTCOME_SAME_TROUBLE = 4 };
enum {
    STATE_BYTES = 11,
    TROUBLES_MOVED = 256, // of one message; beyond that only doubts are taken along
};

static void put32(char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(v >> 8 * i);
}

static void put64(char *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (char)(v >> 8 * i);
}

static uint32_t get32(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const char *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

void segment_head_encode(const struct segment_head *head, char out[SEGMENT_HEAD])
{
    memset(out, 0, SEGMENT_HEAD);
    memcpy(out, segment_magic, sizeof(segment_magic));
    put32(out + 8, VERSION);
    put64(out + 16, head->number);
    put64(out + 24, head->first_sequence);
    put64(out + 32, head->id_floor);
    put64(out + 40, (uint64_t)head->wall_ms);
    put32(out + 48, head->run);
    put32(out + 12, crc32c(crc32c(0, out + 8, 4), out + 16, 40));
}

enum segment_head_kind segment_head_decode(const char in[FRAME_HEAD], uint64_t number,
                                           struct segment_head *head_out)
{
    if (memcmp(in, segment_magic, sizeof(segment_magic)) != 0)
        return SEGMENT_HEAD_BAD;
    if (get32(in + 12) != crc32c(crc32c(0, in + 8, 4), in + 16, 40) || get64(in + 16) != number)
        return SEGMENT_HEAD_BAD;
    if (get32(in + 8) > VERSION)
        return SEGMENT_HEAD_NEWER;
    *head_out = (struct segment_head){
        .number = number,
        .first_sequence = get64(in + 24),
        .id_floor = get64(in + 32),
        .wall_ms = (int64_t)get64(in + 40),
        .run = get32(in + 48),
    };
    return SEGMENT_HEAD_OK;
}

uint32_t frame_head_encode(const struct frame_head *head, char out[FRAME_HEAD])
{
    memcpy(out, frame_magic, sizeof(frame_magic));
    put64(out + 8, head->segment);
    put64(out + 16, head->sequence);
    put64(out + 24, head->group);
    put64(out + 32, head->id_floor);
    put64(out + 40, (uint64_t)head->wall_ms);
    put64(out + 48, head->body_len);
    put32(out + 56, head->run);
    put32(out + 60, head->chain);
    put32(out + 64, head->meta_len);
    put32(out + 68, head->meta_crc);
    put32(out + 72, head->ops | (uint32_t)head->flags << 16);
    put32(out + 76, 0);
    uint32_t crc = crc32c(0, out + 8, FRAME_HEAD - 8);
    put32(out + 4, crc);
    return crc;
}

bool frame_head_decode(const char in[FRAME_HEAD], uint64_t segment, struct frame_head *head_out,
                       uint32_t *crc_out)
{
    if (memcmp(in, frame_magic, sizeof(frame_magic)) != 0 || get64(in + 8) != segment)
        return false;
    uint32_t crc = get32(in + 4);
    if (crc != crc32c(0, in + 8, FRAME_HEAD - 8))
        return false;
    *head_out = (struct frame_head){
        .segment = segment,
        .sequence = get64(in + 16),
        .group = get64(in + 24),
        .id_floor = get64(in + 32),
        .wall_ms = (int64_t)get64(in + 40),
        .body_len = get64(in + 48),
        .run = get32(in + 56),
        .chain = get32(in + 60),
        .meta_len = get32(in + 64),
        .meta_crc = get32(in + 68),
        .ops = (uint16_t)get32(in + 72),
        .flags = (uint16_t)(get32(in + 72) >> 16),
    };
    *crc_out = crc;
    return head_out->meta_len <= FRAME_META_MAX && head_out->body_len <= UINT32_MAX &&
           head_out->body_len % FRAME_ALIGN == 0;
}

// ---- Operations ----

static size_t begin_op(struct buf *meta, enum store_op_kind kind, uint64_t id, int64_t wall_ms)
{
    buf_put_u8(meta, (uint8_t)kind);
    buf_put_u32(meta, 0);
    size_t start = meta->len;
    buf_put_u64(meta, id);
    buf_put_u64(meta, (uint64_t)wall_ms);
    return start;
}

static bool end_op(struct buf *meta, size_t start)
{
    if (meta->full)
        return false;
    put32(meta->data + start - 4, (uint32_t)(meta->len - start));
    return true;
}

static void put_outcome(struct buf *meta, const struct outcome *o, unsigned flags)
{
    buf_put_u8(meta, (uint8_t)o->class);
    buf_put_u8(meta, (uint8_t)o->scope);
    buf_put_u8(meta, (uint8_t)o->phase);
    buf_put_u8(meta, (uint8_t)(flags | (o->relayed ? OUTCOME_RELAYED : 0)));
    buf_put_u16(meta, o->code);
    buf_append(meta, o->enhanced, sizeof(o->enhanced));
    buf_put_str(meta, str_make(o->where, strnlen(o->where, sizeof(o->where))));
    buf_put_str(meta, str_make(o->text, strnlen(o->text, sizeof(o->text))));
}

static uint32_t number_of(const struct trouble **list, uint32_t *count, const struct trouble *t)
{
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == t)
            return i + 1;
    if (*count >= TROUBLES_MOVED && t->doubt_ms == 0)
        return 0;
    list[(*count)++] = t;
    return *count;
}

static void put_causes(struct buf *meta, const struct journal_op *op,
                       const struct store_rcpt_state *states)
{
    const struct trouble **list = xcalloc(op->count, sizeof(*list));
    uint32_t *numbers = xcalloc(op->count, sizeof(*numbers)), count = 0;
    for (uint32_t i = 0; states != NULL && i < op->count; i++)
        if (states[i].trouble != NULL)
            numbers[i] = number_of(list, &count, states[i].trouble);
    buf_put_str(meta, op->reason);
    buf_put_u32(meta, count);
    for (uint32_t i = 0; i < count; i++) {
        struct outcome o = list[i]->outcome;
        if (i >= TROUBLES_MOVED)
            o.where[0] = o.text[0] = '\0';
        buf_put_str(meta, str_of(list[i]->gateway));
        buf_put_u64(meta, (uint64_t)list[i]->doubt_ms);
        put_outcome(meta, &o, 0);
    }
    for (uint32_t i = 0; count > 0 && i < op->count; i++)
        buf_put_u32(meta, numbers[i]);
    xfree(numbers);
    xfree(list);
}

// Has anything to be told of why it is as it is?
static bool has_causes(const struct journal_op *op, const struct store_rcpt_state *states)
{
    bool any = op->reason.len > 0;
    for (uint32_t i = 0; !any && states != NULL && i < op->count; i++)
        any = states[i].trouble != NULL;
    return any;
}

bool journal_put_accept(struct buf *meta, const struct journal_op *op,
                        const struct store_rcpt_state *states)
{
    size_t start = begin_op(meta, STORE_ACCEPT, op->id, op->wall_ms);
    buf_put_u8(meta,
               (uint8_t)((op->own_file ? ACCEPT_OWN_FILE : 0) | (op->moved ? ACCEPT_MOVED : 0) |
                         (op->held ? ACCEPT_HELD : 0) | (states != NULL ? ACCEPT_STATES : 0) |
                         (op->send_ms != 0 ? ACCEPT_SEND_AT : 0) |
                         (op->deleted_ms != 0 ? ACCEPT_DELETED : 0) |
                         (has_causes(op, states) ? ACCEPT_CAUSES : 0)));
    buf_put_u32(meta, (uint32_t)op->priority);
    buf_put_u64(meta, op->body_size);
    buf_put_u32(meta, op->body_crc);
    buf_put_u32(meta, op->count);
    buf_put_str(meta, op->packed);
    for (uint32_t i = 0; states != NULL && i < op->count; i++) {
        buf_put_u8(meta, states[i].state);
        buf_put_u16(meta, states[i].tries);
        buf_put_u64(meta, (uint64_t)states[i].next_ms);
    }
    if (op->send_ms != 0)
        buf_put_u64(meta, (uint64_t)op->send_ms);
    if (op->deleted_ms != 0)
        buf_put_u64(meta, (uint64_t)op->deleted_ms);
    if (has_causes(op, states))
        put_causes(meta, op, states);
    return end_op(meta, start);
}

static void put_result(struct buf *meta, const struct store_rcpt_result *r)
{
    buf_put_u32(meta, r->index);
    buf_put_u8(meta, (uint8_t)r->state);
    buf_put_u16(meta, r->tries);
    buf_put_u64(meta, (uint64_t)r->next_ms);
    put_outcome(meta, &r->outcome,
                (r->in_doubt ? OUTCOME_IN_DOUBT : 0u) |
                    (r->same_trouble ? OUTCOME_SAME_TROUBLE : 0u));
}

static void put_more(struct buf *meta, const struct store_op *op)
{
    uint64_t before = op->id;
    buf_put_u32(meta, 0);
    size_t start = meta->len;
    for (size_t i = 0; i < op->more_count; i++) {
        assert(op->more[i] > before);
        uint64_t by = op->more[i] - before;
        before = op->more[i];
        for (; by >= 0x80; by >>= 7)
            buf_put_u8(meta, (uint8_t)(by | 0x80));
        buf_put_u8(meta, (uint8_t)by);
    }
    if (!meta->full)
        put32(meta->data + start - 4, (uint32_t)(meta->len - start));
}

bool journal_next_id(struct str *more, uint64_t *id)
{
    uint64_t by = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; (byte & 0x80) != 0 && shift < 64; shift += 7) {
        if (!str_get_u8(more, &byte))
            return false;
        by |= (uint64_t)(byte & 0x7f) << shift;
    }
    *id += by;
    return true;
}

bool journal_put_op(struct buf *meta, const struct store_op *op)
{
    assert(op->kind != STORE_ACCEPT);
    size_t start = begin_op(meta, op->kind, op->id, op->wall_ms);
    if (op->kind == STORE_RESULT) {
        buf_put_str(meta, str_of(op->gateway));
        buf_put_str(meta, str_of(op->facts));
        buf_put_u32(meta, (uint32_t)op->result_count);
        for (size_t i = 0; i < op->result_count; i++)
            put_result(meta, &op->results[i]);
        if (op->doubt_ms != 0)
            buf_put_u64(meta, (uint64_t)op->doubt_ms);
    } else {
        buf_put_u8(meta, op->flag);
        buf_put_u32(meta, (uint32_t)op->value);
        buf_put_str(meta, str_of(op->text));
    }
    if (op->kind == STORE_NOTES)
        put_more(meta, op);
    if (op->kind == STORE_SEND_AT)
        buf_put_u64(meta, (uint64_t)op->at_ms);
    return end_op(meta, start);
}

static bool get_accept(struct str in, uint64_t *body_at, struct journal_op *op)
{
    uint8_t flags;
    uint32_t priority;
    if (!str_get_u8(&in, &flags) || !str_get_u32(&in, &priority) ||
        !str_get_u64(&in, &op->body_size) || !str_get_u32(&in, &op->body_crc) ||
        !str_get_u32(&in, &op->count) || !str_get_str(&in, &op->packed))
        return false;
    op->own_file = flags & ACCEPT_OWN_FILE;
    op->moved = flags & ACCEPT_MOVED;
    op->held = flags & ACCEPT_HELD;
    op->priority = (int32_t)priority;
    op->has_states = flags & ACCEPT_STATES;
    op->body_at = *body_at;
    if (op->count > op->packed.len) // a recipient takes more than a byte there
        return false;
    if (op->has_states) {
        if (in.len / STATE_BYTES < op->count)
            return false;
        op->states = str_make(in.ptr, (size_t)op->count * STATE_BYTES);
        in = str_make(in.ptr + op->states.len, in.len - op->states.len);
    }
    uint64_t send_ms = 0, deleted_ms = 0;
    if (((flags & ACCEPT_SEND_AT) != 0 && !str_get_u64(&in, &send_ms)) ||
        ((flags & ACCEPT_DELETED) != 0 && !str_get_u64(&in, &deleted_ms)))
        return false;
    op->send_ms = (int64_t)send_ms;
    op->deleted_ms = (int64_t)deleted_ms;
    if ((flags & ACCEPT_CAUSES) != 0) {
        if (!str_get_str(&in, &op->reason))
            return false;
        op->troubles = in;
    }
    if (!op->own_file) {
        if (op->body_size > UINT32_MAX)
            return false;
        *body_at += journal_align(op->body_size);
    }
    return true;
}

static bool get_rest(struct str in, struct journal_op *op)
{
    if (op->kind == STORE_RESULT) {
        if (!str_get_str(&in, &op->gateway) || !str_get_str(&in, &op->facts) ||
            !str_get_u32(&in, &op->result_count))
            return false;
        op->results = in;
        return true;
    }
    uint8_t flag;
    uint32_t value;
    if (!str_get_u8(&in, &flag) || !str_get_u32(&in, &value) || !str_get_str(&in, &op->text))
        return false;
    op->flag = flag != 0;
    op->value = (int32_t)value;
    if (op->kind == STORE_SEND_AT) {
        uint64_t at_ms;
        if (!str_get_u64(&in, &at_ms))
            return false;
        op->at_ms = (int64_t)at_ms;
    }
    return op->kind != STORE_NOTES || str_get_str(&in, &op->more);
}

int journal_next_op(struct str *meta, uint64_t *body_at, struct journal_op *op_out)
{
    for (;;) {
        uint8_t kind;
        uint32_t len;
        uint64_t wall_ms;
        if (meta->len == 0)
            return 0;
        if (!str_get_u8(meta, &kind) || !str_get_u32(meta, &len) || meta->len < len)
            return -1;
        struct str in = str_make(meta->ptr, len);
        meta->ptr += len;
        meta->len -= len;
        if (kind > STORE_SEND_AT)
            continue;
        *op_out = (struct journal_op){.kind = kind};
        if (!str_get_u64(&in, &op_out->id) || !str_get_u64(&in, &wall_ms) || op_out->id == 0)
            return -1;
        op_out->wall_ms = (int64_t)wall_ms;
        bool sound = kind == STORE_ACCEPT ? get_accept(in, body_at, op_out) : get_rest(in, op_out);
        return sound ? 1 : -1;
    }
}

bool journal_is_over(const struct journal_op *op)
{
    struct str states = op->states;
    struct store_rcpt_state state;
    uint32_t ends = 0;
    while (op->has_states && ends < op->count && journal_next_state(&states, &state) &&
           rcpt_state_final(state.state))
        ends++;
    return op->has_states && ends == op->count;
}

bool journal_next_state(struct str *states, struct store_rcpt_state *state_out)
{
    uint64_t next_ms;
    state_out->trouble = NULL;
    if (!str_get_u8(states, &state_out->state) || !str_get_u16(states, &state_out->tries) ||
        !str_get_u64(states, &next_ms))
        return false;
    state_out->next_ms = (int64_t)next_ms;
    return state_out->state <= RCPT_DROPPED;
}

static void copy_text(char *to, size_t size, struct str from)
{
    size_t len = from.len < size ? from.len : size - 1;
    memcpy(to, from.ptr, len);
    to[len] = '\0';
}

static bool get_outcome(struct str *in, struct outcome *o, uint8_t *flags)
{
    uint8_t class, scope, phase;
    struct str where, text;
    if (!str_get_u8(in, &class) || !str_get_u8(in, &scope) || !str_get_u8(in, &phase) ||
        !str_get_u8(in, flags) || !str_get_u16(in, &o->code) || !str_get_u8(in, &o->enhanced[0]) ||
        !str_get_u8(in, &o->enhanced[1]) || !str_get_u8(in, &o->enhanced[2]) ||
        !str_get_str(in, &where) || !str_get_str(in, &text) || class >= OUTCOME_CLASSES)
        return false;
    o->class = class;
    o->scope = scope;
    o->phase = phase;
    o->relayed = (*flags & OUTCOME_RELAYED) != 0;
    copy_text(o->where, sizeof(o->where), where);
    copy_text(o->text, sizeof(o->text), text);
    return true;
}

bool journal_next_result(struct str *results, struct store_rcpt_result *r)
{
    uint8_t state, flags;
    uint64_t next_ms;
    if (!str_get_u32(results, &r->index) || !str_get_u8(results, &state) ||
        !str_get_u16(results, &r->tries) || !str_get_u64(results, &next_ms) ||
        !get_outcome(results, &r->outcome, &flags) || state > RCPT_DROPPED)
        return false;
    r->state = state;
    r->next_ms = (int64_t)next_ms;
    r->in_doubt = (flags & OUTCOME_IN_DOUBT) != 0;
    r->same_trouble = (flags & OUTCOME_SAME_TROUBLE) != 0;
    return true;
}

int64_t journal_doubt_ms(const struct journal_op *op)
{
    struct str in = op->results;
    struct store_rcpt_result r;
    uint64_t doubt_ms = 0;
    for (uint32_t i = 0; i < op->result_count; i++)
        if (!journal_next_result(&in, &r))
            return 0;
    return str_get_u64(&in, &doubt_ms) ? (int64_t)doubt_ms : 0;
}

void journal_troubles(const struct journal_op *op, struct troubles *troubles,
                      struct store_rcpt_state *states)
{
    struct str in = op->troubles;
    uint32_t count, number;
    if (!str_get_u32(&in, &count) || count > op->count)
        return;
    const struct trouble **list = xcalloc(count + 1, sizeof(*list));
    bool whole = true;
    for (uint32_t i = 0; whole && i < count; i++) {
        struct outcome o = {0};
        struct str gateway;
        uint64_t doubt_ms;
        uint8_t flags;
        whole = str_get_str(&in, &gateway) && str_get_u64(&in, &doubt_ms) &&
                get_outcome(&in, &o, &flags);
        if (whole)
            list[i] = trouble_keep(troubles, gateway, (int64_t)doubt_ms, &o);
    }
    for (uint32_t i = 0; whole && count > 0 && i < op->count && str_get_u32(&in, &number); i++)
        if (number > 0 && number <= count)
            states[i].trouble = trouble_again(list[number - 1]);
    for (uint32_t i = 0; i < count; i++)
        trouble_drop(troubles, &list[i]);
    xfree(list);
}
