// SPDX-License-Identifier: ISC
// What was sent: a copy goes to the archive, once a message, when none of its recipients waits any
// more and some got it.
#include "queue/queue_int.h"

#include "archive/archive.h"
#include "base/mem.h"

static bool is_over(struct qmsg *m)
{
    bool sent = false;
    for (size_t i = 0; i < m->count; i++) {
        const struct qrcpt *r = &m->rcpts[i];
        if (!rcpt_state_final((enum rcpt_state)r->state) &&
            (r->flags & (RCPT_CLOSING | RCPT_RETURN)) == 0)
            return false;
        sent = sent || r->state == RCPT_DELIVERED || r->state == RCPT_RELAYED;
    }
    return sent;
}

void sent_look(struct queue *q, struct qmsg *m, const char *gateway)
{
    if (q->parts.archive == NULL || m->copied || !is_over(m))
        return;
    m->copied = true;
    struct arena *arena = arena_new();
    struct envelope e;
    qmsg_envelope(q, m, arena, &e);
    if (archive_wants(q->parts.archive, &e)) {
        struct err err = {0};
        struct store_body_ref body = qmsg_body(m);
        enum rcpt_state *states = arena_alloc(arena, m->count * sizeof(*states));
        for (size_t i = 0; i < m->count; i++)
            states[i] = (enum rcpt_state)m->rcpts[i].state;
        // Before the results are recorded: then the body may go.
        struct body_source *source =
            store_body_source(q->parts.store, q->parts.loop, m->id, &body, qmsg_blob(m), &err);
        struct archive_copy copy = {
            .id = m->id, .envelope = &e, .states = states, .gateway = gateway};
        archive_keep(q->parts.archive, &copy, source, &err);
    }
    arena_free(&arena);
}
