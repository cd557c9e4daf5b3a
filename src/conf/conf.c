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

const struct conf_gateway *conf_gateway_find(const struct conf *conf, struct str name)
{
    for (size_t i = 0; i < conf->gateway_count; i++)
        if (str_eq(name, str_of(conf->gateways[i].name)))
            return &conf->gateways[i];
    return NULL;
}
