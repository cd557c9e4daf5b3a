// SPDX-License-Identifier: ISC
// Idle connections: by way, and all in the order they became idle. That is the order in which they
// expire, so one timer does. An entry given up goes from its way's idle ones to the parting ones.
#include "deliver/pool.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct pool_way {
    struct pool *pool;
    struct link idle;    // the last used first
    struct link parting; // said goodbye to
    size_t users, idle_count, parting_count;
    size_t waiting; // of the users
    size_t name_len;
    char name[];
};

struct entry {
    struct link of_way;
    struct link of_all; // while idle
    struct pool_way *way;
    struct session *session;
    int64_t until_ms;
    bool ordered;
    size_t key_len;
    char key[];
};

struct pool {
    struct loop *loop;
    pool_changed *changed;
    void *ctx;
    struct map *ways;
    struct link all; // the oldest first
    size_t count;
    struct timer expiry;
};

// ---- Ways ----

static size_t open_of(const struct pool_way *way)
{
    return way->users + way->idle_count + way->parting_count;
}

static void forget_unused(struct pool_way *way)
{
    if (open_of(way) > 0)
        return;
    map_del(way->pool->ways, str_make(way->name, way->name_len));
    xfree(way);
}

static void tell(struct pool_way *way, bool ordered)
{
    struct pool *pool = way->pool;
    size_t open = open_of(way);
    way->users++; // it stays, whatever happens inside
    if (pool->changed != NULL)
        pool->changed(pool->ctx, str_make(way->name, way->name_len), open, ordered);
    way->users--;
    forget_unused(way);
}

struct pool_way *pool_enter(struct pool *pool, struct str name)
{
    struct pool_way *way = map_get(pool->ways, name);
    if (way == NULL) {
        way = xcalloc(1, sizeof(*way) + name.len);
        way->pool = pool;
        list_init(&way->idle);
        list_init(&way->parting);
        way->name_len = name.len;
        memcpy(way->name, name.ptr, name.len);
        map_put(pool->ways, str_make(way->name, way->name_len), way);
    }
    way->users++;
    return way;
}

size_t pool_leave(struct pool_way *way)
{
    way->users--;
    size_t open = open_of(way);
    forget_unused(way);
    return open;
}

size_t pool_open(struct pool *pool, struct str name)
{
    const struct pool_way *way = map_get(pool->ways, name);
    return way != NULL ? open_of(way) : 0;
}

bool pool_wait(struct pool_way *way)
{
    bool wait = way->parting_count > way->waiting;
    way->waiting += wait;
    return wait;
}

bool pool_waited(struct pool_way *way)
{
    bool go = way->waiting > way->parting_count;
    way->waiting -= go;
    return go;
}

void pool_give_up(struct pool_way *way)
{
    way->waiting--;
}

// ---- The end of a connection ----

static void leave_idle(struct entry *e)
{
    list_remove(&e->of_way);
    list_remove(&e->of_all);
    e->way->idle_count--;
    e->way->pool->count--;
}

static void gone(struct entry *e)
{
    struct pool_way *way = e->way;
    bool ordered = e->ordered;
    deliver_session_free(&e->session);
    xfree(e);
    tell(way, ordered);
}

// Whatever an idle connection has to say, it is its end.
static void on_idle(void *ctx)
{
    struct entry *e = ctx;
    leave_idle(e);
    gone(e);
}

static void on_parted(void *ctx)
{
    struct entry *e = ctx;
    list_remove(&e->of_way);
    e->way->parting_count--;
    gone(e);
}

static const struct session_events idle_events = {on_idle, on_idle};
static const struct session_events parting_events = {on_parted, on_parted};

static void part(struct entry *e)
{
    list_append(&e->way->parting, &e->of_way);
    e->way->parting_count++;
    deliver_session_attach(e->session, NULL, &parting_events, e);
    deliver_session_part(e->session);
}

static void end(struct entry *e)
{
    leave_idle(e);
    part(e);
}

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

void pool_close_oldest(struct pool *pool, struct str name)
{
    struct pool_way *way = map_get(pool->ways, name);
    if (way != NULL && way->idle_count > 0) {
        struct entry *e = container_of(way->idle.prev, struct entry, of_way);
        e->ordered = true;
        end(e);
    } else if (pool->changed != NULL) {
        pool->changed(pool->ctx, name, pool_open(pool, name), true);
    }
}

// ---- Taking and putting ----

static struct entry *entry_new(struct pool_way *way, struct str key, struct session *session)
{
    struct entry *e = xcalloc(1, sizeof(*e) + key.len);
    e->way = way;
    e->session = session;
    e->key_len = key.len;
    if (key.len > 0)
        memcpy(e->key, key.ptr, key.len);
    return e;
}

void pool_part(struct pool_way *way, struct session *session)
{
    part(entry_new(way, STR(""), session));
}

void pool_put(struct pool_way *way, struct str key, size_t most, struct session *session)
{
    struct pool *pool = way->pool;
    struct entry *e = entry_new(way, key, session);
    e->until_ms = loop_now_ms(pool->loop) + LIMIT_IDLE_CONNECTION_MS;
    list_prepend(&way->idle, &e->of_way);
    list_append(&pool->all, &e->of_all);
    way->idle_count++;
    pool->count++;
    deliver_session_attach(session, NULL, &idle_events, e);
    if (!timer_running(&pool->expiry))
        timer_start(&pool->expiry, LIMIT_IDLE_CONNECTION_MS);
    if (way->idle_count > most)
        end(container_of(way->idle.prev, struct entry, of_way));
    else if (pool->count > LIMIT_OUT_CONNECTIONS)
        end(container_of(pool->all.next, struct entry, of_all));
}

struct session *pool_take(struct pool_way *way, struct str key)
{
    struct entry *e;
    list_each (&way->idle, e, struct entry, of_way) {
        if (!str_eq(str_make(e->key, e->key_len), key))
            continue;
        struct session *session = e->session;
        leave_idle(e);
        xfree(e);
        return session;
    }
    if (way->idle_count > 0)
        end(container_of(way->idle.prev, struct entry, of_way));
    return NULL;
}

// ---- Life ----

struct pool *pool_new(struct loop *loop, pool_changed *changed, void *ctx)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));
    pool->loop = loop;
    pool->changed = changed;
    pool->ctx = ctx;
    pool->ways = map_new();
    list_init(&pool->all);
    timer_init(&pool->expiry, loop, on_expiry, pool);
    return pool;
}

// The first way with something to be closed at once.
static struct pool_way *some_parting(struct pool *pool)
{
    size_t pos = 0;
    for (struct pool_way *way; (way = map_next(pool->ways, &pos)) != NULL;)
        if (way->parting_count > 0)
            return way;
    return NULL;
}

void pool_clear(struct pool *pool, bool politely)
{
    struct entry *e;
    while ((e = list_first(&pool->all, struct entry, of_all)) != NULL)
        if (politely)
            end(e);
        else
            on_idle(e);
    for (struct pool_way *way; !politely && (way = some_parting(pool)) != NULL;)
        on_parted(list_first(&way->parting, struct entry, of_way));
}

void pool_free(struct pool **pool)
{
    if (*pool == NULL)
        return;
    (*pool)->changed = NULL;
    pool_clear(*pool, false);
    timer_stop(&(*pool)->expiry);
    map_free(&(*pool)->ways);
    xfree(*pool);
    *pool = NULL;
}

size_t pool_count(const struct pool *pool)
{
    return pool->count;
}
