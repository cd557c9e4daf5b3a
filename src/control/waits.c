// SPDX-License-Identifier: ISC
// The queue says the causes, in the same words for all that wait for the same; here they are
// counted.
#include "control/waits.h"

struct counting {
    struct reply *reply;
    struct waits *waits;
};

static void count(void *ctx, const char *why, int64_t until_ms)
{
    struct counting *c = ctx;
    struct waits *w = c->waits;
    size_t i = 0;
    while (i < w->count && strcmp(w->groups[i].why, why) != 0)
        i++;
    if (i == w->count && w->count == WAIT_GROUPS)
        return;
    struct wait_group *g = &w->groups[i];
    if (i == w->count) {
        *g = (struct wait_group){.why = arena_strdup(c->reply->arena, why)};
        w->count++;
    }
    g->recipients++;
    if (until_ms > 0 && (g->until_ms == 0 || until_ms < g->until_ms))
        g->until_ms = until_ms;
}

void waits_look(struct reply *r, struct waits *out)
{
    uint64_t ids[WAITS_ASKED];
    struct counting c = {.reply = r, .waits = out};
    *out = (struct waits){0};
    out->asked = queue_list(r->control->parts.queue, 0, STR(""), ids, WAITS_ASKED);
    for (size_t i = 0; i < out->asked; i++)
        queue_waits(r->control->parts.queue, ids[i], count, &c);
}

// NULL: it goes now.
static const struct wait_group *first_group(struct reply *r, uint64_t id)
{
    struct waits *w = arena_alloc(r->arena, sizeof(*w));
    *w = (struct waits){0};
    queue_waits(r->control->parts.queue, id, count, &(struct counting){.reply = r, .waits = w});
    return w->count > 0 ? &w->groups[0] : NULL;
}

const char *waits_why(struct reply *r, uint64_t id)
{
    const struct wait_group *g = first_group(r, id);
    return g != NULL ? g->why : NULL;
}

int64_t waits_until(struct reply *r, uint64_t id)
{
    const struct wait_group *g = first_group(r, id);
    return g != NULL ? g->until_ms : 0;
}
