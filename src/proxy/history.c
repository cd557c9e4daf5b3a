// SPDX-License-Identifier: ISC
// The record of what passed through.
#include "proxy/history.h"

#include "base/mem.h"
#include "sys/clock.h"

#include <stdio.h>

enum { NOTES_TEXT = 4096 };

void history_init(struct history *h, struct arena *arena, const struct envelope *envelope)
{
    *h = (struct history){.arena = arena, .envelope = *envelope};
    h->envelope.count = 0;
    h->envelope.rcpts = NULL;
    h->envelope.accepted_ms = clock_wall_ms();
    buf_init(&h->notes, NOTES_TEXT);
}

void history_free(struct history *h)
{
    buf_free(&h->notes);
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
    if (h->notes.len > 0)
        buf_putc(&h->notes, '\n');
    buf_printf(&h->notes, "%s: %s; the next way", gateway, text);
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
    size_t count = h->envelope.count;
    char note[160 + NOTES_TEXT];
    if (count == 0)
        return;
    int64_t now = clock_wall_ms();
    snprintf(note, sizeof(note),
             "passed through listener %.*s (mode proxy): its client was told each answer%s%.*s",
             STR_FMT(h->envelope.listener), h->notes.len > 0 ? "\n" : "",
             STR_FMT(buf_str(&h->notes)));
    struct store_op ops[] = {
        {.kind = STORE_ACCEPT,
         .id = id,
         .wall_ms = h->envelope.accepted_ms,
         .envelope = &h->envelope,
         .size = size,
         .results = h->told,
         .result_count = count},
        {.kind = STORE_NOTE, .id = id, .wall_ms = now, .text = note},
        {.kind = STORE_RESULT,
         .id = id,
         .wall_ms = now,
         .gateway = gateway,
         .facts = facts,
         .transcript = transcript,
         .results = h->told,
         .result_count = count},
    };
    store_commit_quietly(store, ops, sizeof(ops) / sizeof(ops[0]));
}
