// SPDX-License-Identifier: ISC
// Addresses known ahead. An entry a host:
//
//   good      its list is used; at 4/5 of the TTL it is asked for again
//   doubted   the network has changed, or nobody answered there: not used until asked again
//   silent    DNS did not answer the last time: its list is used however old, and asked for again
//             every SILENT_MS
//   gone      DNS says that there is nothing: no list
#include "deliver/addresses.h"

#include "base/map.h"
#include "base/mem.h"
#include "deliver/lookup.h"

#include <stdio.h>

enum {
    TTL_LEAST_S = 30,
    TTL_MOST_S = 3600,
    GRACE_MS = 300 * 1000, // beyond the TTL, while the answer is on its way
    SILENT_MS = 20 * 1000,
    GONE_MS = 60 * 1000,
    AGAIN_MS = 5 * 1000, // at the earliest, after doubt
};
enum { V6, V4, FAMILIES };

struct family {
    struct names_query *query;
    enum names_status status;
    struct net_addr list[LIMIT_ADDRESSES];
    size_t count;
    uint32_t ttl_s;
};

struct entry {
    struct addresses *all;
    struct family families[FAMILIES];
    struct timer refresh;
    int64_t heard_ms, expires_ms, asked_ms;
    bool doubted, silent;
    bool wanted; // by the configuration of now
    bool told;
    enum names_status status;
    char why[160];
    char host[];
};

struct addresses {
    struct loop *loop;
    struct names *names;
    struct map *entries; // by host
    struct conf *conf;
    struct loop *home;
    void (*fn)(void *ctx, const struct deliver_address *now);
    void *ctx;
};

// ---- Telling ----

struct news {
    struct post post;
    struct conf *conf; // owns the name
    const char *gateway;
    struct net_addr list[2 * LIMIT_ADDRESSES];
    size_t count;
    enum names_status status;
    char why[160];
    int64_t heard_ms;
    void (*fn)(void *ctx, const struct deliver_address *now);
    void *ctx;
};

static void on_home(struct post *post)
{
    struct news *n = (struct news *)post;
    struct deliver_address now = {.gateway = n->gateway,
                                  .list = n->list,
                                  .count = n->count,
                                  .status = n->status,
                                  .why = n->why,
                                  .heard_ms = n->heard_ms};
    n->fn(n->ctx, &now);
    conf_unref(&n->conf);
    xfree(n);
}

static size_t copy_list(const struct entry *e, struct net_addr *out)
{
    size_t n = 0;
    for (int f = 0; f < FAMILIES; f++)
        for (size_t i = 0; i < e->families[f].count; i++)
            out[n++] = e->families[f].list[i];
    return n;
}

static void tell_one(const struct entry *e, const struct conf_gateway *g)
{
    struct addresses *a = e->all;
    struct news *n = xcalloc(1, sizeof(*n));
    n->post.run = on_home;
    n->conf = conf_ref(a->conf);
    n->gateway = g->name;
    n->count = copy_list(e, n->list);
    n->status = e->status;
    n->heard_ms = e->heard_ms;
    n->fn = a->fn;
    n->ctx = a->ctx;
    snprintf(n->why, sizeof(n->why), "%s", e->why);
    loop_post(a->home, &n->post);
}

// Addresses of its own that are looked up: not written in the configuration, not left to a proxy.
static bool is_looked_up(const struct conf_gateway *g)
{
    struct net_addr literal;
    return g->enabled && conf_gateway_has_host(g) && g->pinned_count == 0 && g->socks == NULL &&
           !net_addr_parse_ip(str_of(g->host), &literal);
}

static void tell(struct entry *e)
{
    struct addresses *a = e->all;
    e->told = true;
    for (size_t i = 0; a->fn != NULL && a->conf != NULL && i < a->conf->gateway_count; i++) {
        const struct conf_gateway *g = &a->conf->gateways[i];
        if (is_looked_up(g) && str_ieq(str_of(g->host), str_of(e->host)))
            tell_one(e, g);
    }
}

// ---- Asking ----

static bool no_answer(enum names_status status)
{
    return status == NAMES_FAILED || status == NAMES_BOGUS;
}

// Both families have answered.
static void settle(struct entry *e)
{
    struct family *f6 = &e->families[V6], *f4 = &e->families[V4];
    enum names_status before = e->status;
    int64_t now = loop_now_ms(e->all->loop), next;
    bool found = f6->status == NAMES_OK || f4->status == NAMES_OK;
    e->silent = !found && (no_answer(f6->status) || no_answer(f4->status));
    e->status = found                   ? NAMES_OK
                : no_answer(f4->status) ? f4->status
                                        : (f6->status == NAMES_NXDOMAIN ? f4->status : f6->status);
    if (e->silent && !no_answer(e->status))
        e->status = f6->status;
    if (found) {
        uint32_t ttl = f6->ttl_s < f4->ttl_s ? f6->ttl_s : f4->ttl_s;
        ttl = ttl < TTL_LEAST_S ? TTL_LEAST_S : ttl > TTL_MOST_S ? TTL_MOST_S : ttl;
        e->heard_ms = now;
        e->expires_ms = now + (int64_t)ttl * 1000;
        e->why[0] = '\0';
        next = (int64_t)ttl * 800;
    } else {
        next = e->silent ? SILENT_MS : GONE_MS;
    }
    e->doubted = false;
    timer_start(&e->refresh, next);
    if (!e->told || before != e->status)
        tell(e);
}

static void take_answer(struct entry *e, int which, const struct names_answer *answer)
{
    struct family *f = &e->families[which];
    struct net_addr list[LIMIT_ADDRESSES] = {0};
    size_t count = 0;
    f->query = NULL;
    f->status = answer->status;
    f->ttl_s = answer->status == NAMES_OK ? answer->ttl_s : TTL_MOST_S;
    for (size_t i = 0; answer->status == NAMES_OK && i < answer->count && count < LIMIT_ADDRESSES;
         i++)
        list[count++] = answer->records[i].addr;
    if (no_answer(answer->status)) {
        snprintf(e->why, sizeof(e->why), "%s", answer->why);
    } else {
        // The order of an answer changes each time; only what is in it is news.
        bool same = count == f->count;
        for (size_t i = 0; same && i < count; i++) {
            bool in = false;
            for (size_t k = 0; k < f->count; k++)
                in = in || net_addr_same_ip(&list[i], &f->list[k]);
            same = in;
        }
        e->told = e->told && same;
        memcpy(f->list, list, sizeof(list));
        f->count = count;
    }
    if (e->families[V6].query == NULL && e->families[V4].query == NULL)
        settle(e);
}

static void on_aaaa(void *ctx, const struct names_answer *answer)
{
    take_answer(ctx, V6, answer);
}

static void on_a(void *ctx, const struct names_answer *answer)
{
    take_answer(ctx, V4, answer);
}

static bool is_asking(const struct entry *e)
{
    return e->families[V6].query != NULL || e->families[V4].query != NULL;
}

static void ask(struct entry *e)
{
    struct addresses *a = e->all;
    if (is_asking(e))
        return;
    e->asked_ms = loop_now_ms(a->loop);
    timer_stop(&e->refresh);
    e->families[V6].query = names_lookup(a->names, e->host, NAMES_AAAA, on_aaaa, e);
    e->families[V4].query = names_lookup(a->names, e->host, NAMES_A, on_a, e);
}

static void on_refresh(void *ctx)
{
    ask(ctx);
}

// ---- What is known ----

static void entry_free(struct entry *e)
{
    timer_stop(&e->refresh);
    for (int f = 0; f < FAMILIES; f++)
        names_cancel(&e->families[f].query);
    map_del(e->all->entries, str_of(e->host));
    xfree(e);
}

static void want(struct addresses *a, const char *host)
{
    struct net_addr literal;
    if (host == NULL || host[0] == '\0' || net_addr_parse_ip(str_of(host), &literal))
        return;
    struct entry *e = map_get(a->entries, str_of(host));
    if (e == NULL) {
        size_t size = strlen(host) + 1;
        e = xcalloc(1, sizeof(*e) + size);
        e->all = a;
        memcpy(e->host, host, size);
        timer_init(&e->refresh, a->loop, on_refresh, e);
        map_put(a->entries, str_of(e->host), e);
    }
    e->wanted = e->doubted = true;
    e->told = false; // perhaps of a gateway that was not there before
}

static void set_conf(struct addresses *a, struct conf *conf)
{
    size_t pos = 0;
    conf_unref(&a->conf);
    a->conf = conf;
    for (struct entry *e; (e = map_next(a->entries, &pos)) != NULL;)
        e->wanted = false;
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        if (g->enabled && g->socks != NULL)
            want(a, g->socks->host);
        else if (is_looked_up(g))
            want(a, g->host);
    }
    pos = 0;
    for (struct entry *e; (e = map_next(a->entries, &pos)) != NULL;) {
        if (e->wanted)
            ask(e);
        else
            entry_free(e);
    }
}

static void fill(const struct entry *e, struct addresses_found *out)
{
    out->count = copy_list(e, out->list);
    out->stale_ms = e->silent ? loop_now_ms(e->all->loop) - e->heard_ms + 1 : 0;
}

bool addresses_find(struct addresses *a, const char *host, struct addresses_found *out)
{
    const struct entry *e = map_get(a->entries, str_of(host));
    if (e == NULL)
        return false;
    bool good = !e->doubted && loop_now_ms(a->loop) < e->expires_ms + GRACE_MS;
    fill(e, out);
    return out->count > 0 && (good || e->silent);
}

bool addresses_last(struct addresses *a, const char *host, struct addresses_found *out)
{
    const struct entry *e = map_get(a->entries, str_of(host));
    if (e == NULL)
        return false;
    fill(e, out);
    out->stale_ms = loop_now_ms(a->loop) - e->heard_ms + 1;
    return out->count > 0;
}

void addresses_doubt(struct addresses *a, const char *host)
{
    struct entry *e = map_get(a->entries, str_of(host));
    if (e == NULL || loop_now_ms(a->loop) - e->asked_ms < AGAIN_MS)
        return;
    e->doubted = true;
    ask(e);
}

// ---- The outside ----

struct addresses *addresses_new(struct loop *loop, struct names *names)
{
    struct addresses *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->names = names;
    a->entries = map_new();
    return a;
}

void addresses_free(struct addresses **addresses)
{
    struct addresses *a = *addresses;
    if (a == NULL)
        return;
    *addresses = NULL;
    size_t pos = 0;
    for (struct entry *e; (e = map_next(a->entries, &pos)) != NULL;)
        entry_free(e);
    map_free(&a->entries);
    conf_unref(&a->conf);
    xfree(a);
}

struct order {
    struct post post;
    struct deliver *d;
    struct conf *conf;
    struct loop *home;
    void (*fn)(void *ctx, const struct deliver_address *now);
    void *ctx;
};

static void on_prefetch(struct post *post)
{
    struct order *o = (struct order *)post;
    set_conf(deliver_addresses(o->d), o->conf);
    xfree(o);
}

void deliver_prefetch(struct deliver *d, struct conf *conf)
{
    struct order *o = xcalloc(1, sizeof(*o));
    o->post.run = on_prefetch;
    o->d = d;
    o->conf = conf_ref(conf);
    loop_post(deliver_loop(d), &o->post);
}

static void on_told(struct post *post)
{
    struct order *o = (struct order *)post;
    struct addresses *a = deliver_addresses(o->d);
    a->home = o->home;
    a->fn = o->fn;
    a->ctx = o->ctx;
    xfree(o);
    size_t pos = 0;
    for (struct entry *e; (e = map_next(a->entries, &pos)) != NULL;)
        if (e->told)
            tell(e);
}

void deliver_on_address(struct deliver *d, struct loop *home,
                        void (*fn)(void *ctx, const struct deliver_address *now), void *ctx)
{
    struct order *o = xcalloc(1, sizeof(*o));
    o->post.run = on_told;
    o->d = d;
    o->home = home;
    o->fn = fn;
    o->ctx = ctx;
    loop_post(deliver_loop(d), &o->post);
}
