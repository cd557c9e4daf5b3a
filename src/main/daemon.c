// SPDX-License-Identifier: ISC
// The daemon put together.
//
// Start: ports are bound, root is dropped, the spool is replayed into the queue, then the threads
// start: a client that connects meanwhile waits in the backlog, so nothing is accepted before
// everything behind it stands. Stop, the other way round: listeners close and sessions end on their
// own loops, transactions come to their end, the loops end, then the conductor waits until the
// queue is idle, and the store is synced and closed clean.
#include "main/daemon.h"
#include "accept/accept.h"
#include "accept/drop.h"
#include "archive/archive.h"
#include "base/mem.h"
#include "deliver/addresses.h"
#include "deliver/deliver.h"
#include "proxy/proxy.h"
#include "queue/queue.h"
#include "spool/state.h"
#include "spool/store.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/log.h"
#include "sys/names.h"
#include "watch/watch.h"

#include <assert.h>

struct session_loop {
    struct daemon *daemon;
    struct loop *loop;
    struct names *names;
    struct deliver *deliver;
    struct accept *accept;
    struct proxy *proxy;
    struct accept_change *change;      // between the two steps of a reload
    struct names_change *names_change; // the same; NULL: of `dns` nothing changes
    struct drop *drop;                 // on the first loop only
};

struct daemon {
    struct conf *conf;
    struct loop *conductor;
    struct store *store;
    struct state *state;
    struct queue *queue;
    struct archive *archive;
    struct watch *watch;
    struct names *watch_names; // for the captive check; NULL: none is made
    struct session_loop *loops;
    struct deliver **delivers;
    struct loop **loop_ptrs;
    size_t count;
    size_t accepting; // session loops that still take mail while stopping
    bool sending;     // transactions are under way while stopping
    struct timer patience;
    bool reloading;
    bool closing;
    size_t ending; // session loops that have not ended yet
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

// A message from or to a session loop.
struct order {
    struct post post;
    struct session_loop *loop;
    struct conf *conf;
    struct reload *reload;
    bool ok;
    struct err err;
};

static struct order *order_new(struct session_loop *loop, void (*run)(struct post *))
{
    struct order *o = xcalloc(1, sizeof(*o));
    o->post.run = run;
    o->loop = loop;
    return o;
}

// ---- Start ----

static void adopt(void *ctx, struct store_message *m)
{
    queue_adopt(ctx, m);
}

static void moved(void *ctx, uint64_t id, struct store_body_ref to)
{
    queue_moved(ctx, id, to);
}

// ---- Where the machine is ----

static void order_all(struct daemon *d, void (*run)(struct post *));

static void refresh_names(struct post *post)
{
    struct order *o = (struct order *)post;
    names_refresh(o->loop->names);
    xfree(o);
}

// Every gateway is looked up before it is needed.
static void know_addresses(struct daemon *d)
{
    for (size_t i = 0; i < d->count && !d->closing; i++)
        deliver_prefetch(d->delivers[i], d->conf);
}

static void on_moved(void *ctx, const char *what)
{
    struct daemon *d = ctx;
    if (what == NULL) {
        queue_same_network(d->queue, watch_now(d->watch));
        return;
    }
    host_moved();
    // Before what waits is planned, for its look-ups.
    if (d->watch_names != NULL)
        names_refresh(d->watch_names);
    if (!d->closing)
        order_all(d, refresh_names);
    know_addresses(d);
    queue_network(d->queue, watch_now(d->watch), what);
}

static void end_watch(struct daemon *d)
{
    watch_free(&d->watch);
    names_free(&d->watch_names);
}

static struct names_settings names_settings(const struct conf *conf)
{
    return (struct names_settings){.servers = conf->dns_servers,
                                   .anchor_file = conf->dns_anchor,
                                   .hosts_file = conf->hosts_file,
                                   .timeout_ms = (int)conf->dns_timeout_ms};
}

static bool begin_watch(struct daemon *d, struct err *err)
{
    struct names_settings names = names_settings(d->conf);
    names.asks_invalid = true;
    if (d->conf->captive_url != NULL) {
        d->watch_names = names_new(d->conductor, &names, err);
        if (d->watch_names == NULL)
            return false;
    }
    d->watch = watch_new(d->conductor, d->conf, d->watch_names, on_moved, d, err);
    if (d->watch == NULL)
        return false;
    queue_network(d->queue, watch_now(d->watch), "looked around");
    return true;
}

// The networks are judged once, by the watch, and the queue takes over what came of it. The captive
// check comes and goes with its url.
static void reload_place(struct daemon *d)
{
    struct err err = {0};
    if (d->watch != NULL)
        watch_set_conf(d->watch, d->conf);
    queue_reload(d->queue, d->conf, d->watch != NULL ? watch_now(d->watch) : NULL);
    if (d->watch != NULL && (d->conf->captive_url != NULL) == (d->watch_names != NULL))
        return;
    end_watch(d);
    if (!begin_watch(d, &err))
        log_error("network", 0, "the network is not watched any more: %s", err.text);
}

static bool may_accept(void *ctx, struct err *why)
{
    return queue_has_room(ctx, why);
}

static bool open_loop(struct daemon *d, struct session_loop *l, struct err *err)
{
    l->daemon = d;
    l->loop = loop_new("session");
    struct names_settings names = names_settings(d->conf);
    l->names = names_new(l->loop, &names, err);
    if (l->names == NULL)
        return false;
    l->deliver = deliver_new(l->loop, l->names);
    l->accept = accept_new(l->loop, d->conf, NULL, err);
    if (l->accept == NULL)
        return false;
    accept_set_names(l->accept, l->names);
    accept_set_gate(l->accept, may_accept, d->queue);
    l->proxy = proxy_new(l->loop, (size_t)(l - d->loops), d->queue, l->deliver, l->accept);
    if (l == d->loops)
        return accept_open_unix(l->accept, err);
    accept_join(l->accept, d->loops[0].accept);
    return true;
}

static void close_loop(struct session_loop *l)
{
    drop_free(&l->drop);
    accept_free(&l->accept);
    proxy_free(&l->proxy);
    deliver_free(&l->deliver);
    names_free(&l->names);
}

static void abandon(struct daemon *d)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->loops[i].loop == NULL)
            continue;
        close_loop(&d->loops[i]);
        loop_free(&d->loops[i].loop);
    }
    end_watch(d);
    archive_free(&d->archive);
    store_close(&d->store);
    state_close(&d->state);
    queue_free(&d->queue);
    daemon_free(&d);
}

static bool become(const struct conf *conf, struct err *err)
{
    if (conf->user == NULL)
        return true;
    return dir_make(conf->spool_dir, 0711, err) && host_give(conf->spool_dir, conf->user, err) &&
           host_give(conf->run_dir, conf->user, err) && host_become(conf->user, err);
}

static bool open_store(struct daemon *d, struct err *err)
{
    struct store_settings settings = {.dir = d->conf->spool_dir, .keep_ms = d->conf->queue.keep_ms};
    d->store = store_open(&settings, adopt, d->queue, err);
    if (d->store == NULL)
        return false;
    d->state = state_open(d->conf->spool_dir, err);
    if (d->state == NULL)
        return false;
    for (size_t i = 0; i < d->count; i++) {
        accept_set_store(d->loops[i].accept, d->store);
        proxy_set_store(d->loops[i].proxy, d->store);
    }
    d->loops[0].drop = drop_new(d->loops[0].loop, d->conf, d->store, err);
    if (d->loops[0].drop == NULL)
        return false;
    drop_set_gate(d->loops[0].drop, may_accept, d->queue);
    return true;
}

struct daemon *daemon_start(struct conf *conf, struct loop *conductor, struct err *err)
{
    struct daemon *d = xcalloc(1, sizeof(*d));
    d->conf = conf_ref(conf);
    d->conductor = conductor;
    d->count = conf->loops > 0 ? conf->loops : 1;
    if (d->count > QUEUE_LOOPS)
        d->count = QUEUE_LOOPS;
    d->loops = xcalloc(d->count, sizeof(*d->loops));
    d->delivers = xcalloc(d->count, sizeof(struct deliver *));
    d->loop_ptrs = xcalloc(d->count, sizeof(struct loop *));
    d->queue = queue_new(conf);
    // Ports first, while this may still be root; the spool as the user who will write it.
    bool ok = dir_make(conf->run_dir, 0755, err);
    for (size_t i = 0; ok && i < d->count; i++) {
        ok = open_loop(d, &d->loops[i], err);
        d->delivers[i] = d->loops[i].deliver;
        d->loop_ptrs[i] = d->loops[i].loop;
    }
    ok = ok && become(conf, err) && begin_watch(d, err) && open_store(d, err);
    if (!ok) {
        abandon(d);
        return NULL;
    }
    store_start(d->store, conductor, adopt, moved, d->queue);
    d->archive = archive_new(conductor, conf);
    struct queue_parts parts = {.loop = conductor,
                                .store = d->store,
                                .delivers = d->delivers,
                                .loops = d->loop_ptrs,
                                .loop_count = d->count,
                                .state = d->state,
                                .archive = d->archive};
    state_start(d->state, conductor);
    queue_start(d->queue, &parts);
    for (size_t i = 0; i < d->count; i++)
        loop_start(d->loops[i].loop);
    know_addresses(d);
    return d;
}

// ---- Stop ----

static void on_state_written(void *ctx, bool ok)
{
    struct daemon *d = ctx;
    store_close(&d->store);
    queue_free(&d->queue);
    state_close(&d->state);
    d->stopped(d->stopped_ctx);
}

static void on_copies_written(void *ctx)
{
    struct daemon *d = ctx;
    archive_free(&d->archive); // it holds places of the store
    state_flush(d->state, on_state_written, d);
}

static void on_idle(void *ctx)
{
    struct daemon *d = ctx;
    end_watch(d);
    archive_stop(d->archive, on_copies_written, d);
}

static void on_loop_ended(struct post *post)
{
    struct order *o = (struct order *)post;
    struct daemon *d = o->loop->daemon;
    loop_stop(o->loop->loop);
    loop_join(o->loop->loop);
    loop_free(&o->loop->loop);
    xfree(o);
    if (--d->ending == 0)
        queue_stop(d->queue, on_idle, d);
}

static void end_loop(struct post *post)
{
    struct order *o = (struct order *)post;
    close_loop(o->loop);
    // What close_loop posted to the conductor (transactions cut) arrives before this does.
    o->post.run = on_loop_ended;
    loop_post(o->loop->daemon->conductor, &o->post);
}

static void order_all(struct daemon *d, void (*run)(struct post *))
{
    for (size_t i = 0; i < d->count; i++) {
        struct order *o = order_new(&d->loops[i], run);
        loop_post(d->loops[i].loop, &o->post);
    }
}

// Once nothing comes in any more, and what is on its way out has ended or had its time.
static void end_when_quiet(struct daemon *d)
{
    if (d->closing || d->accepting > 0 || d->sending)
        return;
    d->closing = true;
    timer_stop(&d->patience);
    d->ending = d->count;
    order_all(d, end_loop);
}

static void on_nothing_sent(void *ctx)
{
    struct daemon *d = ctx;
    d->sending = false;
    end_when_quiet(d);
}

static void on_patience_over(void *ctx)
{
    log_warn("stopping", 0, "%zu transaction%s cut: the next hop takes too long",
             queue_busy(((struct daemon *)ctx)->queue),
             queue_busy(((struct daemon *)ctx)->queue) == 1 ? "" : "s");
    on_nothing_sent(ctx);
}

static void on_accept_ended(struct post *post)
{
    struct order *o = (struct order *)post;
    struct daemon *d = o->loop->daemon;
    xfree(o);
    d->accepting--;
    end_when_quiet(d);
}

static void on_sessions_ended(void *ctx)
{
    struct order *o = ctx;
    o->post.run = on_accept_ended;
    loop_post(o->loop->daemon->conductor, &o->post);
}

static void on_drop_ended(void *ctx)
{
    struct order *o = ctx;
    accept_stop(o->loop->accept, on_sessions_ended, o);
}

static void stop_loop(struct post *post)
{
    struct order *o = (struct order *)post;
    if (o->loop->drop != NULL)
        drop_stop(o->loop->drop, on_drop_ended, o);
    else
        on_drop_ended(o);
}

void daemon_stop(struct daemon *d, void (*stopped)(void *ctx), void *ctx)
{
    assert(!d->reloading);
    if (d->stopped != NULL)
        return; // it is stopping already
    d->stopped = stopped;
    d->stopped_ctx = ctx;
    d->accepting = d->count;
    d->sending = true;
    timer_init(&d->patience, d->conductor, on_patience_over, d);
    timer_start(&d->patience, LIMIT_STOP_MS);
    queue_stop(d->queue, on_nothing_sent, d);
    order_all(d, stop_loop);
}

void daemon_free(struct daemon **dp)
{
    struct daemon *d = *dp;
    if (d == NULL)
        return;
    conf_unref(&d->conf);
    xfree(d->loops);
    xfree(d->delivers);
    xfree(d->loop_ptrs);
    xfree(d);
    *dp = NULL;
}

// ---- Reload ----

// Every loop first opens what the new configuration adds (`accept_prepare`); when all could, all
// take it over, else none.
struct reload {
    struct daemon *daemon;
    struct conf *conf;
    bool names; // `dns` changes
    struct names_change *watch_names;
    size_t waiting;
    bool failed;
    struct err err;
    void (*done)(void *ctx, bool ok, const struct err *err);
    void *ctx;
};

static void finish_reload(struct reload *r)
{
    r->daemon->reloading = false;
    if (!r->failed) {
        know_addresses(r->daemon);
        log_info("reloaded", 0, "the configuration %s is in force", r->conf->file);
    }
    r->done(r->ctx, !r->failed, &r->err);
    conf_unref(&r->conf);
    xfree(r);
}

static void on_switched(struct post *post)
{
    struct order *o = (struct order *)post;
    struct reload *r = o->reload;
    xfree(o);
    if (--r->waiting == 0)
        finish_reload(r);
}

static void switch_loop(struct post *post)
{
    struct order *o = (struct order *)post;
    struct reload *r = o->reload;
    if (o->loop->change != NULL && r->failed)
        accept_discard(o->loop->accept, &o->loop->change);
    if (o->loop->names_change != NULL && r->failed)
        names_discard(&o->loop->names_change);
    if (!r->failed) {
        if (o->loop->names_change != NULL)
            names_apply(o->loop->names, &o->loop->names_change);
        accept_apply(o->loop->accept, &o->loop->change);
        if (o->loop->drop != NULL)
            drop_reload(o->loop->drop, r->conf);
        deliver_close_idle(o->loop->deliver);
    }
    o->post.run = on_switched;
    loop_post(o->loop->daemon->conductor, &o->post);
}

static void send_all(struct daemon *d, struct reload *r, void (*run)(struct post *))
{
    r->waiting = d->count;
    for (size_t i = 0; i < d->count; i++) {
        struct order *o = order_new(&d->loops[i], run);
        o->reload = r;
        loop_post(d->loops[i].loop, &o->post);
    }
}

static void on_prepared(struct post *post)
{
    struct order *o = (struct order *)post;
    struct reload *r = o->reload;
    struct daemon *d = r->daemon;
    if (!o->ok && !r->failed) {
        r->failed = true;
        r->err = o->err;
    }
    xfree(o);
    if (--r->waiting > 0)
        return;
    if (!r->failed) {
        if (r->watch_names != NULL)
            names_apply(d->watch_names, &r->watch_names);
        conf_ref(r->conf);
        conf_unref(&d->conf);
        d->conf = r->conf;
        archive_reload(d->archive, d->conf);
        reload_place(d);
    } else if (r->watch_names != NULL) {
        names_discard(&r->watch_names);
    }
    send_all(d, r, switch_loop);
}

static void prepare_loop(struct post *post)
{
    struct order *o = (struct order *)post;
    struct names_settings names = names_settings(o->reload->conf);
    o->ok = true;
    if (o->reload->names)
        o->ok = (o->loop->names_change = names_prepare(o->loop->names, &names, &o->err)) != NULL;
    if (o->ok)
        o->ok =
            (o->loop->change = accept_prepare(o->loop->accept, o->reload->conf, &o->err)) != NULL;
    o->post.run = on_prepared;
    loop_post(o->loop->daemon->conductor, &o->post);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

void daemon_reload(struct daemon *d, struct conf *conf,
                   void (*done)(void *ctx, bool ok, const struct err *err), void *ctx)
{
    assert(!d->reloading); // each loop has room for one change
    d->reloading = true;
    struct reload *r = xcalloc(1, sizeof(*r));
    r->daemon = d;
    r->conf = conf_ref(conf);
    r->done = done;
    r->ctx = ctx;
    const char *fixed = strcmp(conf->spool_dir, d->conf->spool_dir) != 0 ? "spool"
                        : strcmp(conf->run_dir, d->conf->run_dir) != 0   ? "run"
                        : conf->loops != d->conf->loops                  ? "loops"
                        : !same_text(conf->user, d->conf->user)          ? "user"
                                                                         : NULL;
    if (d->stopped != NULL || fixed != NULL) {
        r->failed = true;
        if (fixed != NULL)
            err_set(&r->err, "%s: a change of `%s` needs a restart; nothing was taken over",
                    conf->file, fixed);
        else
            err_set(&r->err, "the daemon is ending");
        finish_reload(r);
        return;
    }
    struct names_settings names = names_settings(conf);
    r->names = !conf_same_dns(conf, d->conf);
    if (r->names && d->watch_names != NULL) {
        names.asks_invalid = true;
        r->watch_names = names_prepare(d->watch_names, &names, &r->err);
        r->failed = r->watch_names == NULL;
    }
    if (r->failed)
        finish_reload(r);
    else
        send_all(d, r, prepare_loop);
}

struct queue *daemon_queue(struct daemon *d)
{
    return d->queue;
}

void daemon_listener(struct daemon *d, const char *name, struct accept_counts *out)
{
    accept_counts(d->loops[0].accept, name, out); // they count together
}

struct archive *daemon_archive(struct daemon *d)
{
    return d->archive;
}

struct store *daemon_store(struct daemon *d)
{
    return d->store;
}
