// SPDX-License-Identifier: ISC
// Idle connections: groups of one key each, and all in the order they became idle. That is the
// order in which they expire, so one timer does.
#include "deliver/pool.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct group {
    struct link idle; // the last used first
    size_t count;
    size_t key_len;
    char key[];
};

struct entry {
    struct link of_group;
    struct link of_all;
    struct pool *pool;
    struct group *group;
    struct session *session;
    int64_t until_ms;
};

struct pool {
    struct loop *loop;
    struct map *groups;
    struct link all; // the oldest first
    size_t count;
    struct timer expiry;
};

static struct session *leave(struct entry *e)
{
    struct session *session = e->session;
    struct group *g = e->group;
    list_remove(&e->of_group);
    list_remove(&e->of_all);
    e->pool->count--;
    if (--g->count == 0) {
        map_del(e->pool->groups, str_make(g->key, g->key_len));
        xfree(g);
    }
    xfree(e);
    return session;
}

static void end(struct entry *e)
{
    struct session *session = leave(e);
    deliver_session_free(&session);
}

// Whatever an idle connection has to say, it is its end.
static void on_session(void *ctx)
{
    end(ctx);
}

static const struct session_events events = {on_session, on_session};

static void on_expiry(void *ctx)
{
    struct pool *pool = ctx;
    int64_t now = loop_now_ms(pool->loop);
    struct entry *e;
    while ((e = list_first(&pool->all, struct entry, of_all)) != NULL && e->until_ms <= now)
        end(e);
    if (e != NULL)
        timer_start(&pool->expiry, e->until_ms - now);
}

struct pool *pool_new(struct loop *loop)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));
    pool->loop = loop;
    pool->groups = map_new();
    list_init(&pool->all);
    timer_init(&pool->expiry, loop, on_expiry, pool);
    return pool;
}

void pool_clear(struct pool *pool)
{
    struct entry *e;
    while ((e = list_first(&pool->all, struct entry, of_all)) != NULL)
        end(e);
}

void pool_free(struct pool **pool)
{
    if (*pool == NULL)
        return;
    pool_clear(*pool);
    timer_stop(&(*pool)->expiry);
    map_free(&(*pool)->groups);
    xfree(*pool);
    *pool = NULL;
}

static struct group *group_of(struct pool *pool, struct str key)
{
    struct group *g = map_get(pool->groups, key);
    if (g != NULL)
        return g;
    g = xcalloc(1, sizeof(*g) + key.len);
    list_init(&g->idle);
    g->key_len = key.len;
    memcpy(g->key, key.ptr, key.len);
    map_put(pool->groups, str_make(g->key, g->key_len), g);
    return g;
}

void pool_put(struct pool *pool, struct str key, size_t most, struct session *session)
{
    struct entry *e = xcalloc(1, sizeof(*e));
    e->pool = pool;
    e->group = group_of(pool, key);
    e->session = session;
    e->until_ms = loop_now_ms(pool->loop) + LIMIT_IDLE_CONNECTION_MS;
    list_prepend(&e->group->idle, &e->of_group);
    list_append(&pool->all, &e->of_all);
    e->group->count++;
    pool->count++;
    deliver_session_attach(session, NULL, &events, e);
    if (!timer_running(&pool->expiry))
        timer_start(&pool->expiry, LIMIT_IDLE_CONNECTION_MS);
    if (e->group->count > most)
        end(container_of(e->group->idle.prev, struct entry, of_group));
    else if (pool->count > LIMIT_OUT_CONNECTIONS)
        end(container_of(pool->all.next, struct entry, of_all));
}

struct session *pool_take(struct pool *pool, struct str key)
{
    struct group *g = map_get(pool->groups, key);
    return g != NULL ? leave(container_of(g->idle.next, struct entry, of_group)) : NULL;
}

size_t pool_count(const struct pool *pool)
{
    return pool->count;
}
