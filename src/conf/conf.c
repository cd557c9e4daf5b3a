// SPDX-License-Identifier: ISC
// The snapshot's life.
#include "conf/conf.h"

#include <assert.h>

struct conf *conf_ref(struct conf *conf)
{
    atomic_fetch_add_explicit(&conf->refs, 1, memory_order_relaxed);
    return conf;
}

// The snapshot lives in its own arena.
void conf_unref(struct conf **conf)
{
    struct conf *c = *conf;
    *conf = NULL;
    if (c == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) {
        struct arena *arena = c->arena;
        arena_free(&arena);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool conf_same_dns(const struct conf *a, const struct conf *b)
{
    size_t i = 0;
    const char *const *x = a->dns_servers, *const *y = b->dns_servers;
    while (x != NULL && y != NULL && x[i] != NULL && same_text(x[i], y[i]))
        i++;
    bool same_servers = x == NULL || y == NULL ? x == y : x[i] == NULL && y[i] == NULL;
    return same_servers && same_text(a->dns_anchor, b->dns_anchor) &&
           same_text(a->hosts_file, b->hosts_file) && a->dns_timeout_ms == b->dns_timeout_ms;
}

const struct conf_gateway *conf_gateway_find(const struct conf *conf, struct str name)
{
    for (size_t i = 0; i < conf->gateway_count; i++)
        if (str_eq(name, str_of(conf->gateways[i].name)))
            return &conf->gateways[i];
    return NULL;
}
