// SPDX-License-Identifier: ISC
// The record of what passed through.
#include "proxy/history.h"

#include "base/mem.h"
#include "sys/clock.h"

void history_init(struct history *h, struct arena *arena, const struct envelope *envelope)
{
    *h = (struct history){.arena = arena, .envelope = *envelope};
    h->envelope.count = 0;
    h->envelope.rcpts = NULL;
    h->envelope.accepted_ms = clock_wall_ms();
}

void history_free(struct history *h)
{
    xfree(h->told);
    h->told = NULL;
}

// The client was told of everything that failed, so no report is owed.
static enum rcpt_state state_of(const struct outcome *o)
{
    switch (o->class) {
    case OUTCOME_OK: return o->relayed ? RCPT_RELAYED : RCPT_DELIVERED;
    case OUTCOME_LOCAL: return RCPT_DROPPED; // by its client
    default: return RCPT_RETURNED;
    }
}

void history_rcpt(struct history *h, const struct envelope_rcpt *rcpt, const struct outcome *o)
{
    size_t n = h->envelope.count;
    if (n == LIMIT_RECIPIENTS_OUT)
        return;
    if (n % 8 == 0)
        h->told = xrealloc(h->told, (n + 8) * sizeof(*h->told));
    *envelope_add(&h->envelope, h->arena) = *rcpt;
    h->told[n] = (struct store_rcpt_result){
        .index = (uint32_t)n, .state = state_of(o), .tries = 1, .outcome = *o};
}

void history_note(struct history *h, const char *gateway, const char *text)
{
    if (h->note_count == HISTORY_NOTES)
        return;
    struct history_note *note = &h->notes[h->note_count++];
    note->wall_ms = clock_wall_ms();
    note->text = arena_printf(h->arena, "%s: %s; the next way", gateway, text);
}

void history_end(struct history *h, const struct outcome *o)
{
    for (size_t i = 0; i < h->envelope.count; i++) {
        struct store_rcpt_result *r = &h->told[i];
        if (r->outcome.class != OUTCOME_OK || r->outcome.phase != PHASE_RCPT)
            continue;
        r->outcome = *o;
        r->state = state_of(o);
    }
}

void history_write(struct history *h, struct store *store, uint64_t id, uint64_t size,
                   const char *gateway, const char *facts, struct str transcript)
{
    size_t count = h->envelope.count, n = 0;
    struct store_op ops[2 + HISTORY_NOTES];
    if (count == 0)
        return;
    int64_t now = clock_wall_ms();
    ops[n++] = (struct store_op){.kind = STORE_ACCEPT,
                                 .id = id,
                                 .wall_ms = h->envelope.accepted_ms,
                                 .envelope = &h->envelope,
                                 .size = size,
                                 .results = h->told,
                                 .result_count = count};
    for (size_t i = 0; i < h->note_count; i++)
        ops[n++] = (struct store_op){
            .kind = STORE_NOTE, .id = id, .wall_ms = h->notes[i].wall_ms, .text = h->notes[i].text};
    // The timeline names by `facts` who dropped it.
    bool left = h->told[0].state == RCPT_DROPPED;
    ops[n++] = (struct store_op){.kind = STORE_RESULT,
                                 .id = id,
                                 .wall_ms = now,
                                 .gateway = gateway,
                                 .facts = left ? h->told[0].outcome.text : facts,
                                 .transcript = transcript,
                                 .results = h->told,
                                 .result_count = count};
    store_commit_quietly(store, ops, n);
}
