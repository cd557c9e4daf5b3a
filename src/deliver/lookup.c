// SPDX-License-Identifier: ISC
// Look-ups for another loop.
#include "deliver/lookup.h"

#include "base/list.h"
#include "base/mem.h"

#include <stdio.h>

struct lookups {
    struct loop *loop;
    struct names *names;
    struct link all; // under way
};

struct lookup {
    struct post post; // first: there, and back again
    struct link link;
    struct deliver *deliver;
    struct loop *home;
    void (*mx_done)(void *ctx, const struct mx_answer *answer); // or NULL:
    void (*host_done)(void *ctx, const struct net_addr *addrs, size_t count);
    void *ctx;
    struct mx *mx;
    struct mx_answer answer;
    struct names_query *queries[2]; // A, AAAA
    struct net_addr addrs[LIMIT_ADDRESSES];
    size_t count;
    char name[];
};

static void on_home(struct post *post)
{
    struct lookup *l = (struct lookup *)post;
    if (l->mx_done != NULL)
        l->mx_done(l->ctx, &l->answer);
    else
        l->host_done(l->ctx, l->addrs, l->count);
    xfree(l);
}

static void go_home(struct lookup *l)
{
    list_remove(&l->link);
    mx_free(&l->mx);
    names_cancel(&l->queries[0]);
    names_cancel(&l->queries[1]);
    l->post.run = on_home;
    loop_post(l->home, &l->post);
}

static void on_mx(void *ctx, const struct mx_answer *answer)
{
    struct lookup *l = ctx;
    l->answer = *answer;
    go_home(l);
}

static void take_addresses(struct lookup *l, int which, const struct names_answer *answer)
{
    // Room for the other family, whichever comes first.
    for (size_t i = 0; i < answer->count && i < LIMIT_ADDRESSES / 2; i++)
        l->addrs[l->count++] = answer->records[i].addr;
    l->queries[which] = NULL;
    if (l->queries[!which] == NULL)
        go_home(l);
}

static void on_ipv4(void *ctx, const struct names_answer *answer)
{
    take_addresses(ctx, 0, answer);
}

static void on_ipv6(void *ctx, const struct names_answer *answer)
{
    take_addresses(ctx, 1, answer);
}

static void begin(struct post *post)
{
    struct lookup *l = (struct lookup *)post;
    struct lookups *all = deliver_lookups(l->deliver);
    list_append(&all->all, &l->link);
    if (l->mx_done != NULL) {
        l->mx = mx_find(all->loop, all->names, l->name, NULL, on_mx, l);
        return;
    }
    l->queries[0] = names_lookup(all->names, l->name, NAMES_A, on_ipv4, l);
    l->queries[1] = names_lookup(all->names, l->name, NAMES_AAAA, on_ipv6, l);
}

static struct lookup *new_lookup(struct deliver *d, const char *name, struct loop *home, void *ctx)
{
    size_t len = strlen(name);
    struct lookup *l = xcalloc(1, sizeof(*l) + len + 1);
    memcpy(l->name, name, len);
    l->post.run = begin;
    l->deliver = d;
    l->home = home;
    l->ctx = ctx;
    return l;
}

void deliver_lookup_mx(struct deliver *d, const char *domain, struct loop *home,
                       void (*done)(void *ctx, const struct mx_answer *answer), void *ctx)
{
    struct lookup *l = new_lookup(d, domain, home, ctx);
    l->mx_done = done;
    loop_post(deliver_loop(d), &l->post);
}

void deliver_lookup_host(struct deliver *d, const char *host, struct loop *home,
                         void (*done)(void *ctx, const struct net_addr *addrs, size_t count),
                         void *ctx)
{
    struct lookup *l = new_lookup(d, host, home, ctx);
    l->host_done = done;
    loop_post(deliver_loop(d), &l->post);
}

struct lookups *lookups_new(struct loop *loop, struct names *names)
{
    struct lookups *all = xcalloc(1, sizeof(*all));
    all->loop = loop;
    all->names = names;
    list_init(&all->all);
    return all;
}

void lookups_free(struct lookups **allp)
{
    struct lookups *all = *allp;
    struct lookup *l;
    if (all == NULL)
        return;
    list_each (&all->all, l, struct lookup, link) {
        l->answer.failure.class = OUTCOME_DNS;
        snprintf(l->answer.failure.text, sizeof(l->answer.failure.text), "the program is ending");
        go_home(l);
    }
    xfree(all);
    *allp = NULL;
}
