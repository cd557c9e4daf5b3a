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
    void (*done)(void *ctx, const struct mx_answer *answer);
    void *ctx;
    struct mx *mx;
    struct mx_answer answer;
    char name[];
};

static void on_home(struct post *post)
{
    struct lookup *l = (struct lookup *)post;
    l->done(l->ctx, &l->answer);
    xfree(l);
}

static void go_home(struct lookup *l)
{
    list_remove(&l->link);
    mx_free(&l->mx);
    l->post.run = on_home;
    loop_post(l->home, &l->post);
}

static void on_mx(void *ctx, const struct mx_answer *answer)
{
    struct lookup *l = ctx;
    l->answer = *answer;
    go_home(l);
}

static void begin(struct post *post)
{
    struct lookup *l = (struct lookup *)post;
    struct lookups *all = deliver_lookups(l->deliver);
    list_append(&all->all, &l->link);
    l->mx = mx_find(all->loop, all->names, l->name, NULL, on_mx, l);
}

void deliver_lookup_mx(struct deliver *d, const char *domain, struct loop *home,
                       void (*done)(void *ctx, const struct mx_answer *answer), void *ctx)
{
    size_t len = strlen(domain);
    struct lookup *l = xcalloc(1, sizeof(*l) + len + 1);
    memcpy(l->name, domain, len);
    l->post.run = begin;
    l->deliver = d;
    l->home = home;
    l->done = done;
    l->ctx = ctx;
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
