// SPDX-License-Identifier: ISC
// The table of live messages.
#include "spool/live.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>

enum { CHUNK = 1024 };

struct live_table {
    struct segments *set;
    struct idmap *ids;
    struct idmap *states;  // of those that were tried
    struct idmap *reasons; // of those on hold: text
    struct idmap *times;   // struct live_times, of those that have them
    struct troubles *troubles;
    struct live **chunks;
    size_t chunk_count, chunk_cap;
    size_t used; // entries of all chunks ever handed out
    struct live *free;
    uint64_t bytes;
};

struct live_table *live_table_new(struct segments *set)
{
    struct live_table *t = xcalloc(1, sizeof(*t));
    t->set = set;
    t->ids = idmap_new();
    t->states = idmap_new();
    t->reasons = idmap_new();
    t->troubles = troubles_new();
    t->times = idmap_new();
    return t;
}

void live_table_free(struct live_table **table)
{
    struct live_table *t = *table;
    if (t == NULL)
        return;
    size_t pos = 0;
    struct store_rcpt_state *states;
    while ((states = idmap_next(t->states, &pos)) != NULL)
        xfree(states);
    idmap_free(&t->states);
    char *reason;
    for (pos = 0; (reason = idmap_next(t->reasons, &pos)) != NULL;)
        xfree(reason);
    idmap_free(&t->reasons);
    troubles_free(&t->troubles);
    struct live_times *times;
    for (pos = 0; (times = idmap_next(t->times, &pos)) != NULL;)
        xfree(times);
    idmap_free(&t->times);
    for (size_t i = 0; i < t->chunk_count; i++)
        xfree(t->chunks[i]);
    xfree(t->chunks);
    idmap_free(&t->ids);
    xfree(t);
    *table = NULL;
}

struct live *live_get(const struct live_table *table, uint64_t id)
{
    return idmap_get(table->ids, id);
}

struct store_rcpt_state *live_states(const struct live_table *table, const struct live *live)
{
    return live->tried ? idmap_get(table->states, live->id) : NULL;
}

struct str live_reason(const struct live_table *table, const struct live *live)
{
    return str_of(live->held ? idmap_get(table->reasons, live->id) : NULL);
}

static void hold(struct live_table *t, struct live *l, bool held, struct str reason)
{
    if (l->held)
        xfree(idmap_del(t->reasons, l->id));
    l->held = held;
    if (held && reason.len > 0)
        idmap_put(t->reasons, l->id, xstrndup(reason.ptr, reason.len));
}

struct live_times live_times(const struct live_table *table, const struct live *live)
{
    if (!live->timed)
        return (struct live_times){0};
    return *(const struct live_times *)idmap_get(table->times, live->id);
}

static struct live_times *make_times(struct live_table *t, struct live *l)
{
    if (l->timed)
        return idmap_get(t->times, l->id);
    struct live_times *times = xcalloc(1, sizeof(*times));
    idmap_put(t->times, l->id, times);
    l->timed = true;
    return times;
}

static struct store_rcpt_state *make_states(struct live_table *t, struct live *l)
{
    struct store_rcpt_state *states = live_states(t, l);
    if (states == NULL) {
        states = xcalloc(l->count, sizeof(states[0]));
        idmap_put(t->states, l->id, states);
        l->tried = true;
    }
    return states;
}

struct live *live_get_next(const struct live_table *table, size_t *pos, uint64_t id)
{
    size_t at = *pos;
    if (at < table->used && table->chunks[at / CHUNK][at % CHUNK].id == id) {
        ++*pos;
        return &table->chunks[at / CHUNK][at % CHUNK];
    }
    return live_get(table, id);
}

size_t live_count(const struct live_table *table)
{
    return idmap_count(table->ids);
}

uint64_t live_bytes(const struct live_table *table)
{
    return table->bytes;
}

struct live *live_next(const struct live_table *table, size_t *pos)
{
    while (*pos < table->used) {
        struct live *l = &table->chunks[*pos / CHUNK][*pos % CHUNK];
        ++*pos;
        if (l->id != 0)
            return l;
    }
    return NULL;
}

static struct live *new_entry(struct live_table *t)
{
    struct live *l = t->free;
    if (l != NULL) {
        t->free = l->next_free;
        *l = (struct live){0};
        return l;
    }
    if (t->used == t->chunk_count * CHUNK) {
        if (t->chunk_count == t->chunk_cap) {
            t->chunk_cap = t->chunk_cap != 0 ? t->chunk_cap * 2 : 16;
            t->chunks = xrealloc(t->chunks, t->chunk_cap * sizeof(t->chunks[0]));
        }
        t->chunks[t->chunk_count++] = xcalloc(CHUNK, sizeof(struct live));
    }
    l = &t->chunks[t->used / CHUNK][t->used % CHUNK];
    t->used++;
    return l;
}

static void free_entry(struct live_table *t, struct live *l)
{
    struct store_rcpt_state *states = live_states(t, l);
    for (uint32_t i = 0; states != NULL && i < l->count; i++)
        trouble_drop(t->troubles, &states[i].trouble);
    if (l->tried)
        xfree(idmap_del(t->states, l->id));
    hold(t, l, false, STR(""));
    if (l->timed)
        xfree(idmap_del(t->times, l->id));
    *l = (struct live){0};
    l->next_free = t->free;
    t->free = l;
}

static void leave_segment(struct live_table *t, struct live *l)
{
    uint64_t bytes = (uint64_t)l->weight * FRAME_ALIGN;
    struct segment *segment = segments_get(t->set, l->segment);
    t->bytes -= bytes;
    if (segment == NULL)
        return;
    assert(segment->live > 0);
    segment->live--;
    segment->live_bytes -= bytes;
}

static void enter_segment(struct live_table *t, struct live *l)
{
    uint64_t bytes = (uint64_t)l->weight * FRAME_ALIGN;
    struct segment *segment = segments_get(t->set, l->segment);
    assert(segment != NULL);
    t->bytes += bytes;
    segment->live++;
    segment->live_bytes += bytes;
}

void live_remove(struct live_table *table, struct live *l)
{
    leave_segment(table, l);
    idmap_del(table->ids, l->id);
    free_entry(table, l);
}

// The conductor knows three; what else was asked for is kept as the nearest that fits.
static void set_priority(struct live *l, int priority)
{
    l->priority = priority < -8 ? -8 : priority > 7 ? 7 : priority;
}

static struct live *accept(struct live_table *t, const struct journal_op *op, uint64_t segment,
                           uint64_t offset)
{
    if (op->count == 0 || journal_is_over(op))
        return NULL;
    struct live *l = new_entry(t);
    l->id = op->id;
    struct live *old = idmap_put(t->ids, op->id, l);
    if (old != NULL && !op->moved) { // an id given twice: the first one stands
        idmap_put(t->ids, op->id, old);
        free_entry(t, l);
        return NULL;
    }
    if (old != NULL) {
        leave_segment(t, old);
        free_entry(t, old);
    }
    l->segment = (uint32_t)segment;
    l->offset = (uint32_t)(offset / FRAME_ALIGN);
    uint64_t bytes = FRAME_HEAD + op->packed.len + (op->own_file ? 0 : op->body_size);
    l->weight = (uint32_t)(journal_align(bytes) / FRAME_ALIGN);
    l->count = op->count & 0xffffff; // a frame's meta has no room for more
    set_priority(l, op->priority);
    l->own_file = op->own_file;
    if (op->has_states) {
        struct str states = op->states;
        struct store_rcpt_state *to = make_states(t, l);
        for (uint32_t i = 0; i < l->count && journal_next_state(&states, &to[i]); i++)
            ;
        journal_troubles(op, t->troubles, to);
    }
    hold(t, l, op->held, op->reason);
    if (op->send_ms != 0)
        make_times(t, l)->send_ms = op->send_ms;
    if (op->deleted_ms != 0)
        make_times(t, l)->deleted_ms = op->deleted_ms;
    enter_segment(t, l);
    return l;
}

// What outlives the process of the trouble a recipient met; `before` is a reference of it.
static const struct trouble *next_trouble(struct live_table *t, const struct journal_op *op,
                                          const struct store_rcpt_result *r, int64_t doubt_ms,
                                          const struct trouble *before)
{
    bool tried = r->outcome.class != OUTCOME_OK || r->outcome.phase != PHASE_NONE;
    const struct trouble *now = NULL;
    int64_t doubt = r->in_doubt ? doubt_ms : 0;
    if (rcpt_state_final(r->state)) {
        trouble_drop(t->troubles, &before);
        return NULL;
    }
    if (!tried && !r->in_doubt)
        return before;
    if ((r->same_trouble || !tried) && before != NULL)
        now = trouble_keep(t->troubles, str_of(before->gateway), doubt, &before->outcome);
    else
        now = trouble_keep(t->troubles, op->gateway, doubt, &r->outcome);
    trouble_drop(t->troubles, &before);
    return now;
}

// A person has said that it is to be sent again: what was in doubt too long is so no more.
static void end_doubts(struct live_table *t, struct live *l, int64_t wall_ms)
{
    struct store_rcpt_state *states = live_states(t, l);
    for (uint32_t i = 0; states != NULL && i < l->count; i++) {
        const struct trouble *before = states[i].trouble;
        if (before == NULL || before->doubt_ms == 0 || before->doubt_ms > wall_ms)
            continue;
        states[i].trouble = trouble_keep(t->troubles, str_of(before->gateway), 0, &before->outcome);
        trouble_drop(t->troubles, &before);
    }
}

static bool apply_results(struct live_table *t, struct live *l, const struct journal_op *op)
{
    struct str in = op->results;
    struct store_rcpt_result r;
    struct store_rcpt_state *states = make_states(t, l);
    int64_t doubt_ms = -1;
    for (uint32_t i = 0; i < op->result_count && journal_next_result(&in, &r); i++) {
        if (r.index >= l->count || rcpt_state_final(states[r.index].state))
            continue;
        if (r.in_doubt && doubt_ms < 0)
            doubt_ms = journal_doubt_ms(op);
        states[r.index] = (struct store_rcpt_state){
            .state = (uint8_t)r.state,
            .tries = r.tries,
            .next_ms = r.next_ms,
            .trouble = next_trouble(t, op, &r, doubt_ms, states[r.index].trouble)};
    }
    for (uint32_t i = 0; i < l->count; i++)
        if (!rcpt_state_final(states[i].state))
            return false;
    return true;
}

struct live *live_apply(struct live_table *table, const struct journal_op *op, uint64_t segment,
                        uint64_t offset, bool *ended_out)
{
    *ended_out = false;
    if (op->kind == STORE_ACCEPT)
        return accept(table, op, segment, offset);
    if (op->kind == STORE_NOTES)
        return NULL;
    struct live *l = live_get(table, op->id);
    if (l == NULL)
        return NULL;
    switch (op->kind) {
    case STORE_RESULT: *ended_out = apply_results(table, l, op); break;
    case STORE_HOLD:
        if (op->value == STORE_HOLD_BIN) {
            make_times(table, l)->deleted_ms = op->flag ? op->wall_ms : 0;
            break;
        }
        hold(table, l, op->flag, op->text);
        if (!op->flag)
            end_doubts(table, l, op->wall_ms);
        break;
    case STORE_PRIORITY: set_priority(l, op->value); break;
    case STORE_SEND_AT: make_times(table, l)->send_ms = op->at_ms; break;
    case STORE_ACCEPT:
    case STORE_NOTE:
    case STORE_NOTES: break;
    }
    return l;
}
