// SPDX-License-Identifier: ISC
// Going through the waiting mail for an asker.
#include "base/arena.h"
#include "control/command.h"
#include "sys/stream.h"

enum { PAGE = 500 };

struct queue_pages {
    uint64_t after;
    struct str pattern;
    size_t (*list)(struct queue *q, uint64_t after, struct str pattern, uint64_t *ids, size_t max);
    void (*each)(struct reply *r, const struct queue_message_view *v);
    void (*end)(struct reply *r);
};

static bool fits(struct str pattern, const struct queue_message_view *v)
{
    if (pattern.len == 0 || str_glob(pattern, v->envelope.sender))
        return true;
    for (size_t i = 0; i < v->envelope.count; i++)
        if (str_glob(pattern, v->envelope.rcpts[i].address))
            return true;
    return false;
}

static void page(struct reply *r)
{
    struct queue_pages *p = r->pages;
    uint64_t ids[PAGE];
    struct queue *q = r->control->parts.queue;
    // For operators the queue itself matches. For others that would search everybody's mail at
    // once.
    bool own = r->own.len > 0;
    size_t n = p->list(q, p->after, own ? STR("") : p->pattern, ids, PAGE);
    for (size_t i = 0; i < n; i++) {
        struct arena *arena = arena_new();
        struct queue_message_view v;
        p->after = ids[i];
        if (queue_show(q, ids[i], arena, &v) && reply_sees(r, v.envelope.client) &&
            (!own || fits(p->pattern, &v)))
            p->each(r, &v);
        arena_free(&arena);
    }
    if (n < PAGE) {
        r->drained = NULL;
        p->end(r);
        return;
    }
    stream_flush(r->stream);
    if (stream_queued(r->stream) == 0)
        timer_start(&r->pause, 0);
}

void queue_pages_next(void *ctx)
{
    page(ctx);
}

static void begin(struct reply *r, const struct queue_pages *pages)
{
    r->pages = arena_alloc(r->arena, sizeof(*r->pages));
    *r->pages = *pages;
    r->drained = page;
    page(r);
}

void queue_each(struct reply *r, struct str pattern,
                void (*each)(struct reply *r, const struct queue_message_view *v),
                void (*end)(struct reply *r))
{
    begin(r,
          &(struct queue_pages){.pattern = pattern, .list = queue_list, .each = each, .end = end});
}

void queue_each_deleted(struct reply *r, struct str pattern,
                        void (*each)(struct reply *r, const struct queue_message_view *v),
                        void (*end)(struct reply *r))
{
    begin(r, &(struct queue_pages){
                 .pattern = pattern, .list = queue_deleted, .each = each, .end = end});
}
