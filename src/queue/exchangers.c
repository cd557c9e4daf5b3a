// SPDX-License-Identifier: ISC
// The mail exchangers of domains, for the rules and detours that ask for them.
//
// The first recipient of a domain starts one look-up on a session loop; all others of the domain
// wait beside it, aside from all lanes. What is known holds for KNOWN_MS (the look-ups of the
// deliveries themselves follow the records' own times), what could not be known for FAILED_MS.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "deliver/lookup.h"
#include "sys/log.h"

enum { KNOWN_MS = 10 * 60 * 1000, FAILED_MS = 60 * 1000 };

struct asker {
    struct asker *next;
    void (*done)(void *ctx);
    void *ctx;
};

struct exchangers {
    struct queue *q;
    struct str domain;  // behind this struct
    const char **hosts; // in one block, ended by NULL; NULL: not to be had
    int64_t until_ms;   // mono; 0: never looked up
    bool asking, trouble;
    unsigned place_age; // when it was asked
    struct lane waiting;
    struct asker *askers;
};

static struct exchangers *get(struct queue *q, struct str domain)
{
    char key[LIMIT_DOMAIN + 1];
    if (domain.len > LIMIT_DOMAIN)
        domain.len = LIMIT_DOMAIN;
    for (size_t i = 0; i < domain.len; i++)
        key[i] = ascii_lower(domain.ptr[i]);
    return map_get(q->exchangers, str_make(key, domain.len));
}

void exchangers_fill(struct queue *q, struct str domain, struct plan_input *in)
{
    if (!q->conf->asks_mx && in->detour_count == 0)
        return;
    const struct exchangers *x = get(q, domain);
    if (x == NULL || x->until_ms <= q->mono_ms)
        return;
    in->mx = x->hosts;
    in->mx_failed = x->hosts == NULL;
}

static void drop(struct queue *q, struct exchangers *x)
{
    map_del(q->exchangers, x->domain);
    list_remove(&x->waiting.sweep);
    xfree(x->hosts);
    xfree(x);
}

// When there are too many, those go that nobody waits for.
static void make_room(struct queue *q)
{
    size_t pos = 0;
    if (map_count(q->exchangers) < LIMIT_PROVIDERS)
        return;
    for (struct exchangers *x; (x = map_next(q->exchangers, &pos)) != NULL;)
        if (!x->asking && x->waiting.count == 0)
            drop(q, x);
}

static struct exchangers *make(struct queue *q, struct str domain)
{
    struct exchangers *x = get(q, domain);
    if (x != NULL)
        return x;
    make_room(q);
    if (domain.len > LIMIT_DOMAIN)
        domain.len = LIMIT_DOMAIN;
    x = xcalloc(1, sizeof(*x) + domain.len + 1);
    char *text = (char *)(x + 1);
    for (size_t i = 0; i < domain.len; i++)
        text[i] = ascii_lower(domain.ptr[i]);
    x->q = q;
    x->domain = str_make(text, domain.len);
    lane_aside(&x->waiting);
    map_put(q->exchangers, x->domain, x);
    return x;
}

static void keep_hosts(struct exchangers *x, const struct mx_answer *answer)
{
    size_t bytes = (answer->count + 1) * sizeof(char *);
    for (size_t i = 0; i < answer->count; i++)
        bytes += strlen(answer->hosts[i].name) + 1;
    xfree(x->hosts);
    x->hosts = NULL;
    if (answer->count == 0)
        return;
    x->hosts = xcalloc(1, bytes);
    char *at = (char *)(x->hosts + answer->count + 1);
    for (size_t i = 0; i < answer->count; i++) {
        size_t len = strlen(answer->hosts[i].name) + 1;
        memcpy(at, answer->hosts[i].name, len);
        x->hosts[i] = at;
        at += len;
    }
}

static void tell(struct exchangers *x)
{
    struct asker *next = x->askers;
    x->askers = NULL;
    for (struct asker *a; (a = next) != NULL;) {
        next = a->next;
        a->done(a->ctx);
        xfree(a);
    }
}

static void ask(struct exchangers *x);

static void on_answer(void *ctx, const struct mx_answer *answer)
{
    struct exchangers *x = ctx;
    struct queue *q = x->q;
    q->lookups--;
    x->asking = false;
    queue_now(q);
    x->trouble = answer->failure.class == OUTCOME_DNS;
    if (x->trouble && x->place_age != q->place_age && !q->stopping) {
        ask(x); // that was somewhere else
        return;
    }
    keep_hosts(x, answer);
    x->until_ms = q->mono_ms + (x->trouble ? FAILED_MS : KNOWN_MS);
    if (x->trouble)
        log_info("exchangers", 0,
                 "rules over the mail exchangers of %.*s match nothing for now: %s",
                 STR_FMT(x->domain), answer->failure.text);
    tell(x);
    lane_sweep_start(q, &x->waiting);
    queue_check_idle(q);
}

static void ask(struct exchangers *x)
{
    struct queue *q = x->q;
    x->asking = true;
    x->place_age = q->place_age;
    q->lookups++;
    size_t loop = q->next_loop++ % q->parts.loop_count;
    deliver_lookup_mx(q->parts.delivers[loop], x->domain.ptr, q->parts.loop, on_answer, x);
}

struct lane *exchangers_ask(struct queue *q, struct str domain)
{
    struct exchangers *x = make(q, domain);
    if (!x->asking)
        ask(x);
    return &x->waiting;
}

void exchangers_when(struct queue *q, struct str domain, void (*done)(void *ctx), void *ctx)
{
    struct exchangers *x = make(q, domain);
    if (x->until_ms > q->mono_ms || q->stopping || !q->started) {
        done(ctx);
        return;
    }
    struct asker *a = xcalloc(1, sizeof(*a));
    *a = (struct asker){.next = x->askers, .done = done, .ctx = ctx};
    x->askers = a;
    if (!x->asking)
        ask(x);
}

void exchangers_forget_trouble(struct queue *q)
{
    size_t pos = 0;
    for (struct exchangers *x; (x = map_next(q->exchangers, &pos)) != NULL;)
        if (x->trouble)
            x->until_ms = 0;
}

void exchangers_free(struct queue *q)
{
    size_t pos = 0;
    for (struct exchangers *x; (x = map_next(q->exchangers, &pos)) != NULL;)
        drop(q, x);
    map_free(&q->exchangers);
}
