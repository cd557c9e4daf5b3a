// SPDX-License-Identifier: ISC
// The decision in words, for this moment or for another that is assumed: the pure explanation of
// the plan, and what the conductor itself adds to it (doubt, clocks, holds).
#include "route/explain.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "queue/queue_int.h"
#include "route/reason.h"
#include "sys/clock.h"

// The recipients of one message that are explained: all this happens in one turn of the conductor.
enum { EXPLAIN_BYTES = 1 << 20, EXPLAINED = 20 };

// What the plan is asked with instead of the state of now.
struct assumed {
    struct plan_place place;
    struct plan_gateway *gateways; // a copy
    char words[512];               // "" nothing is
};

static const char *moment(const struct queue *q, int64_t wall_ms, char text[TIME_TEXT])
{
    return time_when(wall_ms, clock_utc_offset_minutes(wall_ms), q->now_ms,
                     clock_utc_offset_minutes(q->now_ms), text);
}

static void say_assumed(struct queue *q, const struct queue_assume *assume, struct assumed *a)
{
    struct buf out;
    char when[TIME_TEXT];
    buf_init(&out, sizeof(a->words) - 1);
    if (assume->at_ms > 0)
        buf_printf(&out, "it is %s", moment(q, assume->at_ms, when));
    if (assume->networks_given) {
        buf_puts(&out, out.len > 0 ? ", on network " : "it is on network ");
        plan_networks(q->conf, assume->networks, &out);
        buf_puts(&out, assume->networks == 0 ? "none" : "");
    }
    for (size_t i = 0; i < assume->down_count; i++)
        buf_printf(&out, "%s%s is down", out.len > 0 ? ", " : "", assume->down[i]);
    memcpy(a->words, buf_cstr(&out), out.len + 1);
    buf_free(&out);
}

static const char *words_of(const struct assumed *a)
{
    return a->words[0] != '\0' ? a->words : NULL;
}

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
    say_assumed(q, assume, a);
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

static bool is_under_way(const struct qrcpt *r)
{
    return (r->flags & (RCPT_BUSY | RCPT_CLOSING | RCPT_RETURN)) != 0;
}

// What keeps it from taking the way the plan says; empty when nothing does.
static void say_wait(struct queue *q, struct qmsg *m, size_t i, int64_t at_ms, struct buf *out)
{
    const struct qrcpt *r = &m->rcpts[i];
    char when[TIME_TEXT];
    int64_t next_ms = rcpt_next_ms(m, r), doubt_ms = (int64_t)r->doubt_until_s * 1000;
    if (m->held) {
        const char *why = m->more != NULL ? m->more->hold_reason : NULL;
        buf_printf(out, "it is held%s%s", why != NULL ? ": " : "", why != NULL ? why : "");
    } else if (m->later && qmsg_send_ms(m) > at_ms) {
        buf_printf(out, "it is to be sent at %s, as was wished", moment(q, qmsg_send_ms(m), when));
    } else if ((r->flags & RCPT_BUSY) != 0) {
        buf_puts(out, "it is on its way at this moment");
    } else if (is_under_way(r)) {
        buf_puts(out, "it is being returned to its sender");
    } else if (planning_doubt(q, m, r) != UINT32_MAX) {
        const char *name = q->conf->gateways[planning_doubt(q, m, r)].name;
        buf_printf(out, "it is in doubt: it asks only %s", name);
        if (doubt_ms > at_ms)
            buf_printf(out, " until %s", moment(q, doubt_ms, when));
        if (next_ms > at_ms)
            buf_printf(out, ", again at %s", moment(q, next_ms, when));
    } else if (next_ms > at_ms) {
        buf_printf(out, "it waits for its own clock until %s", moment(q, next_ms, when));
        if (r->tries > 0)
            buf_printf(out, " (%u attempt%s so far)", r->tries, r->tries == 1 ? "" : "s");
    }
}

// A round that is over begins anew at the first step, as when it is planned. So does one that only
// waits in a lane: nothing was tried in it yet.
static void next_round(struct plan_input *in)
{
    if (in->from_step > 0 && plan_next(in).kind == PLAN_END)
        in->from_step = 0;
}

static void explain_rcpt(struct queue *q, struct qmsg *m, size_t i, const struct plan_input *in,
                         const char *assumed, struct buf *text, struct json *json)
{
    struct buf wait;
    buf_init(&wait, 2048);
    say_wait(q, m, i, in->now_ms, &wait);
    if (json == NULL) {
        explain_text(in, assumed, text);
        if (wait.len > 0)
            buf_printf(text, "  but now %.*s\n", STR_FMT(buf_str(&wait)));
    } else {
        explain_json(in, assumed, json);
        json->out->len--; // opens the object again
        json_str(json, "waits", buf_str(&wait));
        json_int(json, "next_ms", rcpt_next_ms(m, &m->rcpts[i]));
        json_close(json);
    }
    buf_free(&wait);
}

static void say_dials(struct queue *q, struct buf *out)
{
    struct buf words;
    buf_init(&words, LIMIT_LOG_LINE);
    for (size_t i = 0; i < q->conf->network_count; i++) {
        buf_clear(&words);
        if (queue_dial(q, i, &words))
            buf_printf(out, "dial-up %s: %s\n", q->conf->networks[i].name, buf_cstr(&words));
    }
    buf_free(&words);
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
        next_round(&in);
        explain_rcpt(q, m, i, &in, words_of(&a), text_out, json_out);
    }
    if (more > 0 && json_out == NULL)
        buf_printf(text_out, "and %zu more recipient%s\n", more, more == 1 ? "" : "s");
    if (json_out == NULL)
        say_dials(q, text_out);
    xfree(a.gateways);
    arena_free(&arena);
    return true;
}

// ---- What it waits for ----

// Nothing is said of one that goes now.
static int64_t say_cause(struct queue *q, struct qmsg *m, const struct envelope *e, size_t i,
                         struct buf *out)
{
    const struct qrcpt *r = &m->rcpts[i];
    int64_t next_ms = rcpt_next_ms(m, r);
    uint32_t doubt = planning_doubt(q, m, r);
    if (m->later && qmsg_send_ms(m) > q->now_ms) {
        buf_puts(out, "for the time that was wished for it");
        return qmsg_send_ms(m);
    }
    if (doubt != UINT32_MAX) {
        buf_printf(out, "in doubt: may have been delivered, only %s is asked",
                   q->conf->gateways[doubt].name);
        return next_ms;
    }
    if (next_ms > q->now_ms) {
        buf_puts(out, "for the next try");
        return next_ms;
    }
    struct plan_input in = planning_input(q, m, e, i);
    next_round(&in);
    struct plan plan = plan_next(&in);
    reason_wait(&in, &plan, out);
    return plan.until_ms == INT64_MAX ? 0 : plan.until_ms;
}

void queue_waits(struct queue *q, uint64_t id,
                 void (*each)(void *ctx, const char *why, int64_t until_ms), void *ctx)
{
    struct qmsg *m = idmap_get(q->messages, id);
    if (m == NULL || m->held)
        return;
    struct arena *arena = arena_new();
    struct envelope e;
    struct buf why;
    buf_init(&why, LIMIT_LOG_LINE);
    queue_now(q);
    qmsg_envelope(q, m, arena, &e);
    for (size_t i = 0, told = 0; i < m->count && told < EXPLAINED; i++) {
        if (rcpt_state_final((enum rcpt_state)m->rcpts[i].state))
            continue;
        told++;
        buf_clear(&why);
        int64_t until_ms = 0;
        if (!is_under_way(&m->rcpts[i]))
            until_ms = say_cause(q, m, &e, i, &why);
        if (why.len > 0)
            each(ctx, buf_cstr(&why), until_ms);
    }
    buf_free(&why);
    arena_free(&arena);
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
        explain_json(&in, words_of(&a), &j);
    else
        explain_text(&in, words_of(&a), &out);
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
