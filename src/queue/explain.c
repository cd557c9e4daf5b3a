// SPDX-License-Identifier: ISC
// The decision in words, for this moment or for another that is assumed: the pure explanation of
// the plan, and what the conductor itself adds to it (doubt, clocks, holds).
#include "route/explain.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "queue/queue_int.h"
#include "sys/clock.h"

// The recipients of one message that are explained: all this happens in one turn of the conductor.
enum { EXPLAIN_BYTES = 1 << 20, EXPLAINED = 20 };

// What the plan is asked with instead of the state of now.
struct assumed {
    struct plan_place place;
    struct plan_gateway *gateways; // a copy
};

static void assume(struct queue *q, const struct queue_assume *assume, struct assumed *a)
{
    size_t n = q->conf->gateway_count;
    a->place = q->place;
    a->gateways = xcalloc(n, sizeof(*a->gateways));
    memcpy(a->gateways, q->gateways, n * sizeof(*a->gateways));
    if (assume->networks_given) {
        a->place.networks = assume->networks;
        a->place.offline = a->place.captive = false;
    }
    for (size_t i = 0; i < assume->down_count; i++) {
        const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(assume->down[i]));
        if (g == NULL)
            continue;
        a->gateways[g->index].rest_until_ms = INT64_MAX;
        a->gateways[g->index].rest_class = OUTCOME_NET;
    }
}

static void use(const struct queue_assume *assume, const struct assumed *a, struct plan_input *in)
{
    in->place = &a->place;
    in->gateways = a->gateways;
    if (assume->at_ms == 0)
        return;
    in->age_ms += assume->at_ms - in->now_ms;
    in->now_ms = assume->at_ms;
    in->minute_of_week = place_minute(assume->at_ms);
}

// ---- A message that waits ----

// What keeps it from taking the way the plan says; empty when nothing does.
static void say_wait(struct queue *q, struct qmsg *m, size_t i, int64_t at_ms, struct buf *out)
{
    const struct qrcpt *r = &m->rcpts[i];
    char when[TIME_TEXT];
    int64_t next_ms = rcpt_next_ms(m, r), doubt_ms = (int64_t)r->doubt_until_s * 1000;
    if (m->held) {
        const char *why = m->more != NULL ? m->more->hold_reason : NULL;
        buf_printf(out, "it is held%s%s", why != NULL ? ": " : "", why != NULL ? why : "");
    } else if ((r->flags & RCPT_BUSY) != 0) {
        buf_puts(out, "it is on its way at this moment");
    } else if ((r->flags & (RCPT_CLOSING | RCPT_RETURN)) != 0) {
        buf_puts(out, "it is being returned to its sender");
    } else if (planning_doubt(q, r) != UINT32_MAX) {
        const char *name = q->conf->gateways[planning_doubt(q, r)].name;
        buf_printf(out, "it is in doubt: it asks only %s", name);
        if (doubt_ms > at_ms)
            buf_printf(out, " until %s",
                       time_rfc5322(doubt_ms, clock_utc_offset_minutes(doubt_ms), when));
        if (next_ms > at_ms)
            buf_printf(out, ", again at %s",
                       time_rfc5322(next_ms, clock_utc_offset_minutes(next_ms), when));
    } else if (next_ms > at_ms) {
        buf_printf(out, "it waits for its own clock until %s (%u attempt%s so far)",
                   time_rfc5322(next_ms, clock_utc_offset_minutes(next_ms), when), r->tries,
                   r->tries == 1 ? "" : "s");
    }
}

static void explain_rcpt(struct queue *q, struct qmsg *m, size_t i, const struct plan_input *in,
                         struct buf *text, struct json *json)
{
    struct buf wait;
    buf_init(&wait, 2048);
    say_wait(q, m, i, in->now_ms, &wait);
    if (json == NULL) {
        explain_text(in, text);
        if (wait.len > 0)
            buf_printf(text, "  but now %.*s\n", STR_FMT(buf_str(&wait)));
    } else {
        explain_json(in, json);
        json->out->len--; // opens the object again
        json_str(json, "waits", buf_str(&wait));
        json_int(json, "next_ms", rcpt_next_ms(m, &m->rcpts[i]));
        json_close(json);
    }
    buf_free(&wait);
}

bool queue_explain(struct queue *q, uint64_t id, const struct queue_assume *what,
                   struct buf *text_out, struct json *json_out)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL)
        return false;
    queue_now(q);
    struct arena *arena = arena_new();
    struct envelope e;
    struct assumed a;
    assume(q, what, &a);
    qmsg_envelope(q, m, arena, &e);
    size_t told = 0, more = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (rcpt_state_final((enum rcpt_state)m->rcpts[i].state))
            continue;
        if (told++ >= EXPLAINED) {
            more++;
            continue;
        }
        struct plan_input in = planning_input(q, m, &e, i);
        use(what, &a, &in);
        explain_rcpt(q, m, i, &in, text_out, json_out);
    }
    if (more > 0 && json_out == NULL)
        buf_printf(text_out, "and %zu more recipient%s\n", more, more == 1 ? "" : "s");
    xfree(a.gateways);
    arena_free(&arena);
    return true;
}

// ---- An envelope ----

struct question {
    struct queue *q;
    struct arena *arena;
    struct envelope envelope;
    struct str rcpt;
    uint64_t size;
    struct queue_assume assume;
    bool json;
    void (*done)(void *ctx, struct str text);
    void *ctx;
};

static void answer(void *ctx)
{
    struct question *x = ctx;
    struct queue *q = x->q;
    struct str domain = envelope_domain(x->rcpt);
    struct assumed a;
    struct buf out;
    buf_init(&out, EXPLAIN_BYTES);
    struct json j = json_to(&out);
    struct plan_input in = {.conf = q->conf,
                            .detours = q->detours.plan,
                            .detour_count = q->detours.count,
                            .envelope = &x->envelope,
                            .rcpt = x->rcpt,
                            .size = x->size,
                            .now_ms = q->now_ms,
                            .minute_of_week = q->minute_of_week,
                            .direct_rest_ms = lane_direct_rest(q, domain)};
    exchangers_fill(q, domain, &in);
    in.mx_failed = in.mx == NULL;
    assume(q, &x->assume, &a);
    use(&x->assume, &a, &in);
    if (x->json)
        explain_json(&in, &j);
    else
        explain_text(&in, &out);
    x->done(x->ctx, buf_str(&out));
    buf_free(&out);
    xfree(a.gateways);
    struct arena *arena = x->arena;
    arena_free(&arena);
}

static void copy_envelope(struct arena *arena, const struct envelope *from, struct envelope *to)
{
    *to = *from;
    struct str *const texts[] = {&to->sender, &to->envid,    &to->client, &to->helo,
                                 &to->user,   &to->listener, &to->subject};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = arena_dup(arena, *texts[i]);
    to->count = 0;
    to->rcpts = NULL;
    to->headers = arena_alloc(arena, (from->header_count + 1) * sizeof(*to->headers));
    for (size_t i = 0; i < from->header_count; i++) {
        to->headers[i].name = arena_dup(arena, from->headers[i].name);
        to->headers[i].text = arena_dup(arena, from->headers[i].text);
    }
}

void queue_explain_envelope(struct queue *q, const struct envelope *envelope, struct str rcpt,
                            uint64_t size, const struct queue_assume *what, bool json,
                            void (*done)(void *ctx, struct str text), void *ctx)
{
    struct arena *arena = arena_new();
    struct question *x = arena_alloc(arena, sizeof(*x));
    *x = (struct question){.q = q,
                           .arena = arena,
                           .rcpt = arena_dup(arena, rcpt),
                           .size = size,
                           .assume = *what,
                           .json = json,
                           .done = done,
                           .ctx = ctx};
    copy_envelope(arena, envelope, &x->envelope);
    const char **down = arena_alloc(arena, (what->down_count + 1) * sizeof(*down));
    for (size_t i = 0; i < what->down_count; i++)
        down[i] = arena_strdup(arena, what->down[i]);
    x->assume.down = down;
    queue_now(q);
    if (q->conf->asks_mx || q->detours.count > 0)
        exchangers_when(q, envelope_domain(x->rcpt), answer, x);
    else
        answer(x);
}
