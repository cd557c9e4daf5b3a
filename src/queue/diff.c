// SPDX-License-Identifier: ISC
// A dry run: what another configuration would change for the mail that waits (D-7).
//
// Every waiting recipient is planned twice, by the configuration of now and by the candidate, a
// slice of messages a turn. Messages come and go meanwhile, and the map they stand in may grow, so
// a walk may miss some or meet some twice: each message carries a mark, and walks are repeated
// until one meets nobody new. Mail that comes in after the beginning carries the mark already: it
// is not looked at, and the next dry run, which turns the mark, sees it like the rest.
//
// Mail exchangers are taken from what is known; rules that ask for others do not match here.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "sys/clock.h"

#include <stdlib.h>

enum { SLICE = 20000, LOOK = 64 };

// One of the two configurations, as the plan sees it.
struct world {
    struct conf *conf;
    struct plan_gateway *gateways;
    struct plan_place place;
    struct plan_detour *detours;
    size_t detour_count;
};

struct pair {
    size_t from, to; // the number after the last of each: none
    uint64_t recipients, example;
};

struct diff {
    struct diff *next; // waits for its turn
    struct world now, then;
    struct arena *arena; // the asker's
    void (*done)(void *ctx, const struct queue_diff *diff);
    void *ctx;
    bool begun, met; // somebody new in this walk
    size_t pos;
    struct queue_diff out;
    struct idmap *pairs; // those met, by pair_key; in the asker's arena
};

// ---- The two worlds ----

static uint32_t same_name(const struct conf *conf, const char *name)
{
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(name));
    return g != NULL ? g->index : UINT32_MAX;
}

static void make_world(struct queue *q, struct conf *conf, struct world *w)
{
    const struct conf *here = q->conf;
    w->conf = conf_ref(conf);
    w->gateways = xcalloc(conf->gateway_count, sizeof(*w->gateways));
    for (size_t i = 0; i < conf->gateway_count; i++) {
        uint32_t old = same_name(here, conf->gateways[i].name);
        if (old != UINT32_MAX && here->gateways[old].kind == conf->gateways[i].kind)
            w->gateways[i] = q->gateways[old];
    }
    w->place = q->place;
    if (conf != here)
        w->place.networks = place_holding(q, conf);
    if (q->place.picked != UINT32_MAX)
        w->place.picked = same_name(conf, here->gateways[q->place.picked].name);
    w->detours = xcalloc(q->detours.count + 1, sizeof(*w->detours));
    for (size_t i = 0; i < q->detours.count; i++) {
        const struct plan_detour *d = &q->detours.plan[i];
        uint32_t to = same_name(conf, here->gateways[d->gateway].name);
        if (to == UINT32_MAX)
            continue;
        // A detour may end, and its name with it, while this runs.
        w->detours[w->detour_count] = *d;
        w->detours[w->detour_count].provider = xstrdup(d->provider);
        w->detours[w->detour_count++].gateway = to;
    }
}

static void end_world(struct world *w)
{
    for (size_t i = 0; i < w->detour_count; i++)
        xfree((char *)w->detours[i].provider);
    xfree(w->detours);
    xfree(w->gateways);
    conf_unref(&w->conf);
}

// ---- One recipient ----

// The gateway it takes, or waits for; the number behind the last one: none.
static size_t way_of(struct queue *q, const struct world *w, struct plan_input in,
                     const struct qmsg *m, size_t i)
{
    const struct qrcpt *r = &m->rcpts[i];
    size_t none = w->conf->gateway_count;
    in.conf = w->conf;
    in.gateways = w->gateways;
    in.place = &w->place;
    in.detours = w->detours;
    in.detour_count = w->detour_count;
    in.from_step = 0;
    in.mx_failed = in.mx == NULL;
    if (planning_doubt(q, m, r) != UINT32_MAX) {
        uint32_t same = same_name(w->conf, r->last->gateway);
        if (same != UINT32_MAX && w->conf->gateways[same].enabled)
            return same;
    }
    struct plan plan = plan_next(&in);
    return plan.kind == PLAN_GO || plan.kind == PLAN_WAIT ? plan.gateway : none;
}

static const char *name_of(const struct conf *conf, size_t gateway)
{
    return gateway < conf->gateway_count ? conf->gateways[gateway].name : "";
}

static struct pair *pair_of(struct diff *d, size_t from, size_t to)
{
    uint64_t key = (uint64_t)from << 32 | (to + 1);
    struct pair *p = idmap_get(d->pairs, key);
    if (p == NULL) {
        p = arena_alloc(d->arena, sizeof(*p));
        p->from = from;
        p->to = to;
        idmap_put(d->pairs, key, p);
    }
    return p;
}

static void compare(struct queue *q, struct diff *d, struct qmsg *m, const struct envelope *e,
                    size_t i)
{
    struct plan_input in = planning_input(q, m, e, i);
    size_t from = way_of(q, &d->now, in, m, i), to = way_of(q, &d->then, in, m, i);
    d->out.recipients++;
    d->out.stranded += to == d->then.conf->gateway_count;
    if (strcmp(name_of(d->now.conf, from), name_of(d->then.conf, to)) == 0) {
        d->out.same++;
        return;
    }
    struct pair *p = pair_of(d, from, to);
    if (p->recipients++ == 0 || m->id < p->example)
        p->example = m->id;
}

static void compare_all(struct queue *q, struct diff *d, struct qmsg *m)
{
    struct envelope e;
    arena_clear(q->scratch);
    qmsg_envelope(q, m, q->scratch, &e);
    for (size_t i = 0; i < m->count; i++)
        if (!rcpt_state_final((enum rcpt_state)m->rcpts[i].state) &&
            (m->rcpts[i].flags & (RCPT_BUSY | RCPT_CLOSING | RCPT_RETURN)) == 0)
            compare(q, d, m, &e, i);
}

// ---- All of them ----

static int most_first(const void *a, const void *b)
{
    const struct queue_diff_move *x = a, *y = b;
    int fewer = (x->recipients < y->recipients) - (x->recipients > y->recipients);
    return fewer != 0 ? fewer : (x->example > y->example) - (x->example < y->example);
}

static void free_diff(struct diff *d)
{
    end_world(&d->now);
    end_world(&d->then);
    idmap_free(&d->pairs);
    xfree(d);
}

static void finish(struct queue *q, struct diff *d)
{
    const struct pair *p;
    d->out.moves = arena_alloc(d->arena, (idmap_count(d->pairs) + 1) * sizeof(*d->out.moves));
    for (size_t pos = 0; (p = idmap_next(d->pairs, &pos)) != NULL;)
        d->out.moves[d->out.move_count++] =
            (struct queue_diff_move){.from = arena_strdup(d->arena, name_of(d->now.conf, p->from)),
                                     .to = arena_strdup(d->arena, name_of(d->then.conf, p->to)),
                                     .recipients = p->recipients,
                                     .example = p->example};
    qsort(d->out.moves, d->out.move_count, sizeof(*d->out.moves), most_first);
    q->diff = d->next;
    d->done(d->ctx, &d->out);
    free_diff(d);
}

static void begin(struct queue *q, struct diff *d)
{
    d->begun = true;
    make_world(q, q->conf, &d->now);
    d->pairs = idmap_new();
    q->diff_mark = !q->diff_mark; // nobody carries it yet
}

void diff_some(struct queue *q)
{
    struct diff *d = q->diff;
    if (d == NULL)
        return;
    int64_t end_us = clock_mono_us() + (int64_t)LIMIT_REPLAN_MS * 1000;
    if (!d->begun)
        begin(q, d);
    for (int i = 1; i <= SLICE; i++) {
        struct qmsg *m = idmap_next(q->messages, &d->pos);
        if (m == NULL && !d->met) {
            finish(q, d);
            return;
        }
        if (m == NULL) {
            d->pos = 0;
            d->met = false;
            continue;
        }
        if (m->mark != q->diff_mark) {
            m->mark = q->diff_mark & 1;
            d->met = true;
            compare_all(q, d, m);
        }
        if (i % LOOK == 0 && clock_mono_us() >= end_us)
            return;
    }
}

void queue_diff(struct queue *q, struct conf *candidate, struct arena *arena,
                void (*done)(void *ctx, const struct queue_diff *diff), void *ctx)
{
    struct diff *d = xcalloc(1, sizeof(*d)), **last = &q->diff;
    queue_now(q);
    d->arena = arena;
    d->done = done;
    d->ctx = ctx;
    make_world(q, candidate, &d->then);
    while (*last != NULL)
        last = &(*last)->next;
    *last = d;
    queue_wake(q);
}

void diff_free(struct queue *q)
{
    for (struct diff *d; (d = q->diff) != NULL;) {
        q->diff = d->next;
        free_diff(d);
    }
}
