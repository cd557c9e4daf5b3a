// SPDX-License-Identifier: ISC
// Detours: providers that do not want mail straight from this machine, and the gateway their mail
// takes instead.
//
// Learnt when a recipient was refused for reputation in direct delivery and another gateway of its
// chain then took the mail; it holds for conf.detour_ms, after which the direct way is tried again.
// A pinned one holds until it is taken back. All are kept in the state as "detour.PROVIDER", value
// "UNTIL GATEWAY WHY".
//
// A provider is the end of a mail exchanger's name: its last two labels, or three where the second
// to last is short and the last is a country ("co.uk", "com.br"). A list of all public suffixes
// would know better, but a wrong guess only makes a detour a little too wide or too narrow.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "spool/state.h"
#include "sys/log.h"

#include <inttypes.h>
#include <stdio.h>

static struct str provider_of(struct str host)
{
    enum { SHORT = 3, COUNTRY = 2 };
    size_t dots[3] = {0}, n = 0, end = host.len; // from the last on
    for (size_t i = host.len; i-- > 0 && n < 3;)
        if (host.ptr[i] == '.')
            dots[n++] = i;
    if (n < 2)
        return host;
    bool wide = end - dots[0] - 1 == COUNTRY && dots[0] - dots[1] - 1 <= SHORT;
    size_t from = !wide ? dots[1] + 1 : n == 3 ? dots[2] + 1 : 0;
    return str_make(host.ptr + from, end - from);
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '-')
            return false;
    return s.len > 0 && s.len <= LIMIT_DOMAIN;
}

static struct detour *find(struct queue *q, struct str provider)
{
    for (size_t i = 0; i < q->detours.all_count; i++)
        if (str_ieq(str_of(q->detours.all[i].provider), provider))
            return &q->detours.all[i];
    return NULL;
}

void detour_bind(struct queue *q)
{
    size_t n = 0;
    xfree(q->detours.plan);
    q->detours.plan = xcalloc(q->detours.all_count + 1, sizeof(*q->detours.plan));
    for (size_t i = 0; i < q->detours.all_count; i++) {
        const struct detour *d = &q->detours.all[i];
        const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(d->gateway));
        if (g != NULL)
            q->detours.plan[n++] =
                (struct plan_detour){.provider = d->provider,
                                     .gateway = g->index,
                                     .until_ms = d->until_ms < INT64_MAX ? d->until_ms : 0};
    }
    q->detours.count = n;
}

static void keep(struct queue *q, const char *provider, const struct detour *d)
{
    char name[LIMIT_DOMAIN + 16], value[1024] = "";
    if (q->parts.state == NULL)
        return;
    snprintf(name, sizeof(name), "detour.%s", provider);
    if (d != NULL)
        snprintf(value, sizeof(value), "%" PRId64 " %.200s %.500s", d->until_ms, d->gateway,
                 d->why);
    state_set(q->parts.state, name, str_of(value));
}

static void clear(struct detour *d)
{
    xfree(d->provider);
    xfree(d->gateway);
    xfree(d->why);
}

static void forget(struct queue *q, struct detour *d)
{
    keep(q, d->provider, NULL);
    clear(d);
    *d = q->detours.all[--q->detours.all_count];
    detour_bind(q);
}

static struct detour *add(struct queue *q, struct str provider, const char *gateway,
                          int64_t until_ms, const char *why)
{
    struct detour *d = find(q, provider);
    if (d == NULL && q->detours.all_count >= LIMIT_DETOURS)
        return NULL;
    if (d == NULL) {
        q->detours.all =
            xrealloc(q->detours.all, (q->detours.all_count + 1) * sizeof(*q->detours.all));
        d = &q->detours.all[q->detours.all_count++];
    } else {
        clear(d);
    }
    *d = (struct detour){.provider = xstrndup(provider.ptr, provider.len),
                         .gateway = xstrdup(gateway),
                         .until_ms = until_ms,
                         .why = xstrdup(why)};
    for (char *c = d->provider; *c != '\0'; c++)
        *c = ascii_lower(*c);
    detour_bind(q);
    return d;
}

void detour_learn(struct queue *q, uint64_t id, const struct outcome *refused, const char *gateway)
{
    // "mx.provider.example[192.0.2.1]:25"
    struct str host = str_make(refused->where, strcspn(refused->where, "[:"));
    struct net_addr ignored;
    if (q->conf->detour_ms == 0 || host.len == 0 || net_addr_parse_ip(host, &ignored))
        return;
    struct str provider = provider_of(host);
    if (!is_name(provider))
        return; // the beginning of a very long name was cut off
    const struct detour *known = find(q, provider);
    if (known != NULL && known->until_ms > q->now_ms)
        return;
    struct detour *d = add(q, provider, gateway, q->now_ms + q->conf->detour_ms, refused->text);
    if (d == NULL)
        return;
    keep(q, d->provider, d);
    log_info("detour", id, "mail for %s goes through %s for now: direct delivery was refused (%s)",
             d->provider, gateway, refused->text);
    queue_replan(q);
}

void detour_check(struct queue *q)
{
    for (size_t i = 0; i < q->detours.all_count;) {
        struct detour *d = &q->detours.all[i];
        if (d->until_ms > q->now_ms) {
            i++;
            continue;
        }
        log_info("detour", 0, "mail for %s is delivered directly again", d->provider);
        forget(q, d);
        queue_replan(q);
    }
}

size_t queue_detours(struct queue *q, struct queue_detour_view *out, size_t max)
{
    size_t n = 0;
    for (; n < q->detours.all_count && n < max; n++) {
        const struct detour *d = &q->detours.all[n];
        out[n] = (struct queue_detour_view){
            .provider = d->provider, .gateway = d->gateway, .until_ms = d->until_ms, .why = d->why};
    }
    return n;
}

bool queue_detour_set(struct queue *q, struct str provider, const char *gateway, struct err *err)
{
    queue_now(q);
    struct detour *d = find(q, provider);
    if (gateway == NULL && d == NULL) {
        err_set(err, "there is no detour for %.*s", STR_FMT(provider));
        return false;
    }
    if (gateway == NULL) {
        forget(q, d);
        queue_replan(q);
        return true;
    }
    const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(gateway));
    if (g == NULL || !conf_gateway_is_general(g) || !is_name(provider)) {
        err_set(err,
                g == NULL                   ? "there is no gateway %s"
                : g->kind == GATEWAY_DIRECT ? "%s is direct delivery, which is no detour"
                : conf_gateway_is_local(g)  ? "%s is on this machine, and leads to no other server"
                                            : "a provider is the end of a host name, not %s",
                is_name(provider) || g == NULL ? gateway : "that");
        return false;
    }
    d = add(q, provider, gateway, INT64_MAX, "pinned by hand");
    if (d == NULL) {
        err_set(err, "there are %d detours already", LIMIT_DETOURS);
        return false;
    }
    keep(q, d->provider, d);
    queue_replan(q);
    return true;
}

void detour_start(struct queue *q)
{
    static const char prefix[] = "detour.";
    size_t pos = 0;
    const char *name;
    while (q->parts.state != NULL && (name = state_next(q->parts.state, prefix, &pos)) != NULL) {
        struct str value = state_get(q->parts.state, name), until, gateway;
        uint64_t until_ms;
        char why[512], by[256];
        if (!str_split(&value, ' ', &until) || !str_split(&value, ' ', &gateway) ||
            !str_u64(until, INT64_MAX, &until_ms))
            continue;
        snprintf(why, sizeof(why), "%.*s", STR_FMT(value));
        snprintf(by, sizeof(by), "%.*s", STR_FMT(gateway));
        add(q, str_of(name + sizeof(prefix) - 1), by, (int64_t)until_ms, why);
    }
    detour_bind(q);
}

void detour_free(struct queue *q)
{
    for (size_t i = 0; i < q->detours.all_count; i++)
        clear(&q->detours.all[i]);
    xfree(q->detours.all);
    xfree(q->detours.plan);
}
