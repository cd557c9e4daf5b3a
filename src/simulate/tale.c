// SPDX-License-Identifier: ISC
// The tales of all mails, fed by the daemon's own journal records.
#include "simulate/tale.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { DAY_MS = 24 * 3600 * 1000 };

struct word {
    struct word *next;
    char text[];
};

static struct {
    int64_t start_ms, zone_ms, base_ms;
    bool follow;
    unsigned count;
    struct tale *first, *last;
    struct word *words; // names of gateways
} all;

static const char *intern(const char *text)
{
    if (text == NULL)
        return NULL;
    for (struct word *w = all.words; w != NULL; w = w->next)
        if (strcmp(w->text, text) == 0)
            return w->text;
    struct word *w = xcalloc(1, sizeof(*w) + strlen(text) + 1);
    memcpy(w->text, text, strlen(text) + 1);
    w->next = all.words;
    all.words = w;
    return w->text;
}

static int64_t now(void)
{
    return world_now_ms() - all.base_ms;
}

void tales_new(int64_t start_wall_ms, int zone_minutes, bool follow)
{
    memset(&all, 0, sizeof(all));
    all.start_ms = start_wall_ms;
    all.zone_ms = (int64_t)zone_minutes * 60000;
    all.follow = follow;
    all.base_ms = world_now_ms();
}

void tales_free(void)
{
    for (struct tale *t = all.first, *next; t != NULL; t = next) {
        next = t->next;
        for (struct tale_event *e = t->events, *after; e != NULL; e = after) {
            after = e->next;
            xfree(e->text);
            xfree(e);
        }
        for (size_t i = 0; i < t->count; i++)
            xfree(t->rcpts[i].address);
        xfree(t->rcpts);
        xfree(t->sender);
        xfree(t->name);
        xfree(t);
    }
    for (struct word *w = all.words, *next; w != NULL; w = next) {
        next = w->next;
        xfree(w);
    }
    memset(&all, 0, sizeof(all));
}

const char *tale_clock(int64_t at_ms, char text[32])
{
    int64_t local = all.start_ms + all.zone_ms + at_ms, first = all.start_ms + all.zone_ms;
    int64_t day = local / DAY_MS - first / DAY_MS, s = local % DAY_MS / 1000;
    char clock[16];
    snprintf(clock, sizeof(clock), "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60),
             (int)(s % 60));
    if (day > 0)
        snprintf(text, 32, "+%lldd %s", (long long)day, clock);
    else
        snprintf(text, 32, "%s", clock);
    return text;
}

static void follow(const char *who, const char *gateway, const char *text)
{
    char clock[32];
    if (!all.follow)
        return;
    printf("%13s  %-10s %s%s%s\n", tale_clock(now(), clock), who, gateway != NULL ? gateway : "",
           gateway != NULL ? ": " : "", text);
}

void tales_world(const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    follow("--", NULL, text);
}

void tale_say(struct tale *t, const char *gateway, const char *format, ...)
{
    struct tale_event *e = xcalloc(1, sizeof(*e));
    char text[LIMIT_OUTCOME_TEXT + 400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    e->at_ms = now();
    e->gateway = intern(gateway);
    e->text = xstrdup(text);
    if (t->last != NULL)
        t->last->next = e;
    else
        t->events = e;
    t->last = e;
    follow(t->name, gateway, text);
}

struct tale *tale_first(void)
{
    return all.first;
}

struct tale *tale_add(const char *name, const struct envelope *e, uint64_t size)
{
    struct tale *t = xcalloc(1, sizeof(*t));
    t->name = xstrdup(name);
    t->number = ++all.count;
    t->sender = xstrndup(e->sender.ptr, e->sender.len);
    t->size = size;
    t->begin_ms = now();
    t->count = e->count;
    t->rcpts = xcalloc(e->count, sizeof(*t->rcpts));
    for (size_t i = 0; i < e->count; i++) {
        t->rcpts[i].address = xstrndup(e->rcpts[i].address.ptr, e->rcpts[i].address.len);
        t->rcpts[i].end_ms = -1;
    }
    if (all.last != NULL)
        all.last->next = t;
    else
        all.first = t;
    all.last = t;
    return t;
}

struct tale *tale_named(struct str name)
{
    uint64_t number = 0;
    str_u64(name, UINT32_MAX, &number);
    for (struct tale *t = all.first; t != NULL; t = t->next)
        if (str_eq(str_of(t->name), name) || t->number == number)
            return t;
    return NULL;
}

static struct tale *by_id(uint64_t id)
{
    for (struct tale *t = all.first; t != NULL; t = t->next)
        if (t->id == id)
            return t;
    return NULL;
}

void tales_crash(void)
{
    for (struct tale *t = all.first; t != NULL; t = t->next)
        for (size_t i = 0; i < t->count; i++)
            if (!rcpt_state_final(t->rcpts[i].state))
                t->was_crash = true;
}

// ---- Of the journal ----

static void observe_result(struct tale *t, const struct store_op *op,
                           const struct store_rcpt_result *result)
{
    struct tale_rcpt *r = &t->rcpts[result->index];
    const struct outcome *o = &result->outcome;
    bool tried = op->gateway != NULL && (o->phase != PHASE_NONE || o->class != OUTCOME_OK);
    char wait[TIME_TEXT + 40] = "";
    r->state = result->state;
    r->tries = result->tries;
    if (tried) {
        r->via = intern(op->gateway);
        if (r->tried_count < sizeof(r->tried) / sizeof(r->tried[0]))
            r->tried[r->tried_count++] = r->via;
    }
    if (o->class == OUTCOME_DOUBT)
        r->was_in_doubt = true;
    if (rcpt_state_final(r->state))
        r->end_ms = now();
    if (r->state == RCPT_WAITING && result->next_ms > op->wall_ms) {
        char span[TIME_TEXT];
        snprintf(wait, sizeof(wait), "; next try in %s",
                 time_span(result->next_ms - op->wall_ms, span));
    }
    const char *gap = t->count > 1 ? " " : "", *who = t->count > 1 ? r->address : "";
    const char *state = o->class == OUTCOME_DOUBT ? "in doubt" : rcpt_state_name(r->state);
    if (o->class == OUTCOME_OK)
        tale_say(t, op->gateway, "%s%s%s%s%s", who, gap, state, o->text[0] != '\0' ? ": " : "",
                 o->text);
    else
        tale_say(t, op->gateway, "%s%s%s (%s): %s%s", who, gap, state, outcome_class_name(o->class),
                 o->text, wait);
}

struct heard {
    const struct store_op *ops;
    size_t count;
};

static void observe(void *ctx)
{
    const struct heard *h = ctx;
    const struct store_op *ops = h->ops;
    size_t count = h->count;
    char clock[32];
    for (size_t i = 0; i < count; i++) {
        const struct store_op *op = &ops[i];
        struct tale *t = by_id(op->id);
        switch (op->kind) {
        case STORE_RESULT:
            for (size_t k = 0; t != NULL && k < op->result_count; k++)
                observe_result(t, op, &op->results[k]);
            break;
        case STORE_HOLD:
            if (t != NULL && op->value == STORE_HOLD_BIN) {
                t->deleted = op->flag;
                tale_say(t, NULL, "%s%s%s", op->flag ? "dropped" : "brought back",
                         op->text != NULL ? ": " : "", op->text != NULL ? op->text : "");
            } else if (t != NULL) {
                t->held = op->flag;
                tale_say(t, NULL, "%s%s%s", op->flag ? "held" : "released",
                         op->text != NULL ? ": " : "", op->text != NULL ? op->text : "");
            }
            break;
        case STORE_NOTE:
            if (t != NULL)
                tale_say(t, NULL, "%s", op->text != NULL ? op->text : "");
            break;
        case STORE_NOTES:
            if (t != NULL)
                tale_say(t, NULL, "%s", op->text != NULL ? op->text : "");
            for (size_t k = 0; k < op->more_count; k++)
                if ((t = by_id(op->more[k])) != NULL)
                    tale_say(t, NULL, "%s", op->text != NULL ? op->text : "");
            break;
        case STORE_SEND_AT:
            if (t != NULL && op->text != NULL)
                tale_say(t, NULL, "to be sent %s: %s",
                         op->at_ms > op->wall_ms
                             ? tale_clock(now() + op->at_ms - op->wall_ms, clock)
                             : "now",
                         op->text);
            break;
        case STORE_ACCEPT:
        case STORE_PRIORITY: break;
        }
    }
}

void tales_observe(const struct store_op *ops, size_t count)
{
    // It is heard while the daemon runs, whose memory goes with it when it crashes.
    world_outside(observe, &(struct heard){ops, count});
}

void tales_stored(void *ctx, const char *server, const char *rcpt, unsigned number,
                  const char *sender)
{
    for (struct tale *t = all.first; t != NULL; t = t->next) {
        if (number == 0 && sender[0] == '\0' && strcasecmp(t->sender, rcpt) == 0) {
            for (size_t i = 0; i < t->count; i++)
                t->rcpts[i].reports++;
        }
        if (t->number != number)
            continue;
        for (size_t i = 0; i < t->count; i++)
            if (strcasecmp(t->rcpts[i].address, rcpt) == 0)
                t->rcpts[i].copies++;
    }
}

// ---- In words ----

const char *tale_state(const struct tale *t, const struct tale_rcpt *r)
{
    if (r->state != RCPT_WAITING)
        return rcpt_state_name(r->state);
    return t->deleted ? "deleted" : t->held ? "held" : rcpt_state_name(r->state);
}

void tales_print(struct buf *out)
{
    char clock[32], span[TIME_TEXT];
    for (struct tale *t = all.first; t != NULL; t = t->next) {
        buf_printf(out, "\n%s  from <%s>", t->name, t->sender);
        for (size_t i = 0; i < t->count && i < 5; i++)
            buf_printf(out, "%s <%s>", i == 0 ? " to" : ",", t->rcpts[i].address);
        if (t->count > 5)
            buf_printf(out, " and %zu more", t->count - 5);
        buf_printf(out, "\n%13s  accepted\n", tale_clock(t->begin_ms, clock));
        for (struct tale_event *e = t->events; e != NULL; e = e->next)
            buf_printf(out, "%13s  %s%s%s\n", tale_clock(e->at_ms, clock),
                       e->gateway != NULL ? e->gateway : "", e->gateway != NULL ? ": " : "",
                       e->text);
        for (size_t i = 0; i < t->count; i++) {
            const struct tale_rcpt *r = &t->rcpts[i];
            buf_printf(out, "%13s  <%s> %s", "=", r->address, tale_state(t, r));
            if (r->via != NULL)
                buf_printf(out, " via %s", r->via);
            if (r->end_ms >= 0)
                buf_printf(out, " after %s", time_span(r->end_ms - t->begin_ms, span));
            if (r->copies > 1)
                buf_printf(out, ", %u copies", r->copies);
            buf_putc(out, '\n');
        }
    }
}

void tales_json(struct json *j)
{
    json_open_array(j, "mails");
    for (struct tale *t = all.first; t != NULL; t = t->next) {
        json_open(j, NULL);
        json_text(j, "name", t->name);
        json_text(j, "sender", t->sender);
        json_int(j, "accepted_ms", t->begin_ms);
        json_open_array(j, "recipients");
        for (size_t i = 0; i < t->count; i++) {
            const struct tale_rcpt *r = &t->rcpts[i];
            json_open(j, NULL);
            json_text(j, "address", r->address);
            json_text(j, "state", tale_state(t, r));
            json_text(j, "via", r->via);
            json_int(j, "tries", r->tries);
            json_int(j, "copies", r->copies);
            json_int(j, "ended_ms", r->end_ms);
            json_close(j);
        }
        json_close_array(j);
        json_open_array(j, "events");
        for (struct tale_event *e = t->events; e != NULL; e = e->next) {
            json_open(j, NULL);
            json_int(j, "at_ms", e->at_ms);
            json_text(j, "gateway", e->gateway);
            json_text(j, "text", e->text);
            json_close(j);
        }
        json_close_array(j);
        json_close(j);
    }
    json_close_array(j);
}
