// SPDX-License-Identifier: ISC
// Listeners, and the change from one configuration to the next.
#include "accept/accept_int.h"

#include "base/mem.h"
#include "sys/file.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

struct accept_change {
    struct conf *conf;
    struct link fresh; // points opened, not yet accepting
    struct kept {
        struct point *point;
        const struct conf_listener *set;
        struct tls_server *tls;
    } * kept;
    size_t kept_count, kept_room;
};

// ---- Counting. ----

static struct counts *counts_new(void)
{
    struct counts *c = xcalloc(1, sizeof(*c));
    atomic_store(&c->refs, 1);
    return c;
}

static void counts_unref(struct counts *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    for (size_t i = 0; i < TALLIES; i++)
        xfree((void *)atomic_load(&c->tallies[i].name));
    xfree(c);
}

// Loops look for one and the same at once, so a free one is taken by an exchange.
static struct tally *tally_of(struct counts *c, const char *name)
{
    const char *own = NULL;
    struct tally *t = c->tallies;
    for (; t < &c->tallies[TALLIES - 1]; t++) {
        const char *there = atomic_load(&t->name);
        if (there == NULL) {
            own = own != NULL ? own : xstrdup(name);
            if (atomic_compare_exchange_strong(&t->name, &there, own))
                return t;
        }
        if (strcmp(there, name) == 0)
            break;
    }
    xfree((void *)own);
    return t;
}

void accept_counts(const struct accept *a, const char *listener, struct accept_counts *out)
{
    struct tally *t = tally_of(a->counts, listener);
    *out = (struct accept_counts){
        .open = atomic_load(&t->open),
        .connections = atomic_load(&t->connections),
        .turned_away = atomic_load(&t->turned_away),
        .messages = atomic_load(&t->messages),
        .refused = atomic_load(&t->refused),
    };
}

// ---- Points. ----

static void on_connection(void *ctx, struct stream *stream)
{
    session_begin(ctx, stream);
}

static void point_free(struct point *p)
{
    listener_free(&p->listener);
    list_remove(&p->link);
    if (p->tls != NULL)
        tls_server_unref(&p->tls);
    conf_unref(&p->conf);
    xfree(p);
}

static bool same_addr(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == b->family && a->port == b->port && a->scope == b->scope &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0 && strcmp(a->path, b->path) == 0;
}

static struct point *point_find(struct accept *a, const struct net_addr *at)
{
    struct point *p;
    list_each (&a->points, p, struct point, link) {
        if (same_addr(&p->at, at))
            return p;
    }
    return NULL;
}

static struct tls_server *tls_for(struct accept *a, const struct conf *conf,
                                  const struct conf_listener *set, struct err *err)
{
    if (set->cert != NULL)
        return tls_server_new(set->cert, set->key, err);
    // One for all listeners without their own, and kept over reloads.
    if (a->self_signed == NULL || strcmp(a->self_signed_name, conf->hostname) != 0) {
        struct tls_server *made = tls_server_self_signed(conf->hostname, err);
        if (made == NULL)
            return NULL;
        if (a->self_signed != NULL)
            tls_server_unref(&a->self_signed);
        xfree((void *)a->self_signed_name);
        a->self_signed = made;
        a->self_signed_name = xstrdup(conf->hostname);
    }
    return tls_server_ref(a->self_signed);
}

static void keep(struct accept_change *c, struct point *p, const struct conf_listener *set,
                 struct tls_server *tls)
{
    if (c->kept_count == c->kept_room) {
        c->kept_room = c->kept_room == 0 ? 8 : c->kept_room * 2;
        c->kept = xrealloc(c->kept, c->kept_room * sizeof(*c->kept));
    }
    c->kept[c->kept_count++] = (struct kept){p, set, tls != NULL ? tls_server_ref(tls) : NULL};
}

static bool point_open(struct accept *a, struct accept_change *c, const struct net_addr *at,
                       const struct conf_listener *set, struct tls_server *tls, struct err *err)
{
    struct point *p = xcalloc(1, sizeof(*p));
    p->accept = a;
    p->at = *at;
    p->conf = conf_ref(c->conf);
    p->set = set;
    p->tally = tally_of(a->counts, set->name);
    p->submit = set == &a->submit_set;
    p->tls = tls != NULL ? tls_server_ref(tls) : NULL;
    list_append(&c->fresh, &p->link);
    p->listener = listener_new(a->loop, at, on_connection, p, err);
    if (p->listener == NULL) {
        err_prefix(err, "listener %s", set->name);
        point_free(p);
        return false;
    }
    listener_pause(p->listener);
    return true;
}

static bool prepare_listener(struct accept *a, struct accept_change *c,
                             const struct conf_listener *set, struct err *err)
{
    struct tls_server *tls = NULL;
    if (set->tls != LISTEN_TLS_NONE && (tls = tls_for(a, c->conf, set, err)) == NULL) {
        err_prefix(err, "listener %s", set->name);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < set->address_count; i++) {
        const struct net_addr *at = &set->addresses[i];
        if (at->family == NET_UNIX && !a->primary)
            continue;
        struct point *p = point_find(a, at);
        if (p != NULL)
            keep(c, p, set, tls);
        else
            ok = point_open(a, c, at, set, tls, err);
    }
    if (tls != NULL)
        tls_server_unref(&tls);
    return ok;
}

static bool prepare_submit(struct accept *a, struct accept_change *c, struct err *err)
{
    if (!a->primary || c->conf->run_dir == NULL)
        return true;
    struct net_addr at = {.family = NET_UNIX};
    int len = snprintf(at.path, sizeof(at.path), "%s/submit.sock", c->conf->run_dir);
    if (len >= (int)sizeof(at.path)) {
        err_set(err, "run_dir %s is too long for a socket in it; %zu characters are the most",
                c->conf->run_dir, sizeof(at.path) - sizeof("/submit.sock"));
        return false;
    }
    struct point *p = point_find(a, &at);
    if (p != NULL) {
        keep(c, p, &a->submit_set, NULL);
        return true;
    }
    return dir_make(c->conf->run_dir, 0755, err) &&
           point_open(a, c, &at, &a->submit_set, NULL, err);
}

// ---- Changes. ----

struct accept_change *accept_prepare(struct accept *a, struct conf *conf, struct err *err)
{
    struct accept_change *c = xcalloc(1, sizeof(*c));
    c->conf = conf_ref(conf);
    list_init(&c->fresh);
    bool ok = true;
    for (size_t i = 0; ok && i < conf->listener_count; i++)
        ok = prepare_listener(a, c, &conf->listeners[i], err);
    if (!ok || !prepare_submit(a, c, err))
        accept_discard(a, &c);
    return c;
}

static void change_free(struct accept_change **change)
{
    struct accept_change *c = *change;
    struct point *p;
    list_each (&c->fresh, p, struct point, link) {
        point_free(p);
    }
    for (size_t i = 0; i < c->kept_count; i++) {
        if (c->kept[i].tls != NULL)
            tls_server_unref(&c->kept[i].tls);
    }
    xfree(c->kept);
    conf_unref(&c->conf);
    xfree(c);
    *change = NULL;
}

void accept_discard(struct accept *a, struct accept_change **change)
{
    if (*change != NULL)
        change_free(change);
}

static void adopt_kept(struct accept_change *c, struct kept *k, struct link *points)
{
    struct point *p = k->point;
    conf_unref(&p->conf);
    p->conf = conf_ref(c->conf);
    p->set = k->set;
    p->tally = tally_of(p->accept->counts, k->set->name);
    if (p->tls != NULL)
        tls_server_unref(&p->tls);
    p->tls = k->tls;
    k->tls = NULL;
    list_remove(&p->link);
    list_append(points, &p->link);
}

// Once a process and address, although each session loop listens for itself.
static void say_listening(struct accept *a)
{
    struct point *p;
    list_each (&a->points, p, struct point, link) {
        char text[NET_ADDR_TEXT];
        if (!p->said)
            log_info("listening", 0, "%s: %s", p->set->name,
                     net_addr_format(listener_addr(p->listener), text));
        p->said = true;
    }
}

void accept_apply(struct accept *a, struct accept_change **change)
{
    struct accept_change *c = *change;
    struct link points;
    struct point *p;
    list_init(&points);
    for (size_t i = 0; i < c->kept_count; i++)
        adopt_kept(c, &c->kept[i], &points);
    list_each (&a->points, p, struct point, link) {
        point_free(p);
    }
    list_each (&c->fresh, p, struct point, link) {
        list_remove(&p->link);
        list_append(&points, &p->link);
        listener_resume(p->listener);
    }
    list_each (&points, p, struct point, link) {
        list_remove(&p->link);
        list_append(&a->points, &p->link);
    }
    if (a->primary)
        say_listening(a);
    conf_unref(&a->conf);
    a->conf = conf_ref(c->conf);
    change_free(change);
}

bool accept_reload(struct accept *a, struct conf *conf, struct err *err)
{
    struct accept_change *c = accept_prepare(a, conf, err);
    if (c == NULL)
        return false;
    accept_apply(a, &c);
    return true;
}

bool accept_open_unix(struct accept *a, struct err *err)
{
    a->primary = true;
    if (accept_reload(a, a->conf, err))
        return true;
    a->primary = false;
    return false;
}

// ---- Joining and ending. ----

void accept_join(struct accept *a, const struct accept *first)
{
    assert(a->session_count == 0);
    counts_unref(a->counts);
    a->counts = first->counts;
    atomic_fetch_add(&a->counts->refs, 1);
    struct point *p;
    list_each (&a->points, p, struct point, link) {
        p->tally = tally_of(a->counts, p->set->name);
    }
}

static void on_stop_check(void *ctx)
{
    struct accept *a = ctx;
    if (a->session_count > 0 || a->orphans > 0)
        return;
    timer_stop(&a->stop_timer);
    void (*stopped)(void *) = a->stopped;
    a->stopped = NULL;
    if (stopped != NULL)
        stopped(a->stopped_ctx);
}

void accept_count_changed(struct accept *a)
{
    if (a->stopping && a->session_count == 0 && a->orphans == 0)
        loop_defer(a->loop, &a->stop_check, on_stop_check, a);
}

// ---- Life. ----

static void on_stop_time(void *ctx);

void accept_set_store(struct accept *a, struct store *store)
{
    a->store = store;
}

struct accept *accept_new(struct loop *loop, struct conf *conf, struct store *store,
                          struct err *err)
{
    struct accept *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->store = store;
    a->conf = conf_ref(conf);
    a->counts = counts_new();
    a->verdicts = verdicts_new();
    timer_init(&a->stop_timer, loop, on_stop_time, a);
    list_init(&a->points);
    list_init(&a->sessions);
    buf_init(&a->out, LIMIT_REPLY_QUEUE);
    // The socket for programs of this machine: nothing to configure, so nothing to get wrong.
    a->submit_set = (struct conf_listener){.name = "submit",
                                           .tls = LISTEN_TLS_NONE,
                                           .message_size = LIMIT_MESSAGE,
                                           .send_later_ms = LIMIT_SEND_LATER_MS,
                                           .recipients = LIMIT_RECIPIENTS};
    if (!accept_reload(a, conf, err))
        accept_free(&a);
    return a;
}

void accept_set_names(struct accept *a, struct names *names)
{
    a->names = names;
}

void accept_set_relay(struct accept *a, const struct relay_ops *ops, void *ctx)
{
    a->relay = ops;
    a->relay_ctx = ctx;
}

void accept_relay_gone(struct accept *a)
{
    assert(a->orphans > 0);
    a->orphans--;
    accept_count_changed(a);
}

void accept_set_gate(struct accept *a, bool (*may_accept)(void *ctx, struct err *why), void *ctx)
{
    a->may_accept = may_accept;
    a->gate_ctx = ctx;
}

static void on_stop_time(void *ctx)
{
    struct accept *a = ctx;
    struct session *s;
    // Those whose message the store has wait for its answer, and hear that before the 421.
    list_each (&a->sessions, s, struct session, link) {
        if (!transaction_committing(s))
            session_say_goodbye(s, 421, "4.3.2", "shutting down; try again in a minute");
    }
}

void accept_stop(struct accept *a, void (*stopped)(void *ctx), void *ctx)
{
    struct point *p;
    struct session *s;
    a->stopping = true;
    a->stopped = stopped;
    a->stopped_ctx = ctx;
    list_each (&a->points, p, struct point, link) {
        point_free(p);
    }
    list_each (&a->sessions, s, struct session, link) {
        if (!session_busy(s))
            session_say_goodbye(s, 421, "4.3.2", "shutting down; try again in a minute");
    }
    timer_start(&a->stop_timer, ACCEPT_STOP_MS);
    loop_defer(a->loop, &a->stop_check, on_stop_check, a);
}

void accept_free(struct accept **accept)
{
    struct accept *a = *accept;
    if (a == NULL)
        return;
    struct point *p;
    struct session *s;
    list_each (&a->points, p, struct point, link) {
        point_free(p);
    }
    list_each (&a->sessions, s, struct session, link) {
        session_free(s);
    }
    assert(a->orphans == 0);
    defer_cancel(&a->stop_check);
    timer_stop(&a->stop_timer);
    if (a->self_signed != NULL)
        tls_server_unref(&a->self_signed);
    xfree((void *)a->self_signed_name);
    verdicts_free(&a->verdicts);
    counts_unref(a->counts);
    buf_free(&a->out);
    conf_unref(&a->conf);
    xfree(a);
    *accept = NULL;
}

size_t accept_sessions(const struct accept *a)
{
    return a->session_count;
}

const struct net_addr *accept_addr(const struct accept *a, const char *name)
{
    struct point *p;
    list_each (&a->points, p, struct point, link) {
        if (strcmp(p->set->name, name) == 0)
            return listener_addr(p->listener);
    }
    return NULL;
}
