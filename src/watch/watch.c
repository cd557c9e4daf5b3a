// SPDX-License-Identifier: ISC
// The watch itself: hears of events, looks, and tells when what it sees can matter to mail.
#include "watch/watch.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "watch/captive.h"
#include "watch/place.h"

#include <stdlib.h>

enum { AGAIN_MS = 1000 };

struct watch {
    struct loop *loop;
    struct conf *conf;
    void (*changed)(void *ctx, const char *what);
    void *ctx;
    struct links_watch *links; // NULL: the kernel does not tell
    struct manager *manager;
    struct captive *captive;
    struct watch_snapshot *now;
    bool links_unknown; // said once
    struct timer again; // when the kernel did not tell
};

struct watch_snapshot *watch_snapshot_ref(struct watch_snapshot *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void watch_snapshot_unref(struct watch_snapshot **sp)
{
    struct watch_snapshot *s = *sp;
    *sp = NULL;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    watch_snapshot_unref(&s->before);
    struct arena *arena = s->arena;
    arena_free(&arena);
}

static void judge_networks(struct watch_snapshot *s, const struct conf *conf)
{
    s->network_count = conf->network_count;
    s->networks = arena_alloc(s->arena, (conf->network_count + 1) * sizeof(*s->networks));
    s->holding = 0;
    for (size_t i = 0; i < conf->network_count; i++) {
        struct watch_network *n = &s->networks[i];
        n->holds = watch_holds(&conf->networks[i], s, s->arena, &n->why);
        if (n->holds)
            s->holding |= UINT64_C(1) << i;
    }
}

// Not to know is no move: what was known holds.
static void keep_links(struct watch_snapshot *s, struct watch_snapshot *known)
{
    s->before = watch_snapshot_ref(known->before != NULL ? known->before : known);
    s->links = known->links;
    s->offline = known->offline;
}

// `keeps`: the links of before, when those of now are not to be had.
static struct watch_snapshot *look(struct watch *w, int64_t mono_us, bool keeps)
{
    struct arena *arena = arena_new();
    struct watch_snapshot *s = arena_alloc(arena, sizeof(*s));
    struct err err = {0};
    atomic_init(&s->refs, 1);
    s->arena = arena;
    s->number = w->now != NULL ? w->now->number + 1 : 1;
    s->mono_us = mono_us;
    bool known = links_read(arena, &s->links, &err);
    if (!known && (!w->links_unknown || keeps))
        log_warn("network", 0, "the addresses of this machine cannot be read%s: %s",
                 keeps ? ", those of before hold" : "", err.text);
    w->links_unknown = !known;
    if (w->manager != NULL)
        manager_read(w->manager, arena, &s->manager);
    s->offline = known && !place_has_way_out(s);
    if (!known && keeps)
        keep_links(s, w->now);
    s->metered = s->manager.metered == MANAGER_YES;
    s->captive_why = "";
    if (s->manager.captive == MANAGER_YES) {
        s->captive = true;
        s->captive_why = "NetworkManager says so";
    } else if (w->captive != NULL && captive_is(w->captive)) {
        s->captive = true;
        s->captive_why = arena_strdup(arena, captive_why(w->captive));
    }
    s->dns_lies = w->captive != NULL && captive_dns_lies(w->captive);
    judge_networks(s, w->conf);
    return s;
}

// A new look; told when it differs in what can matter.
static void take(struct watch *w, bool from_captive)
{
    bool known = !w->links_unknown;
    struct watch_snapshot *s = look(w, clock_mono_us(), false);
    struct buf what;
    if (known && w->links_unknown) {
        // Until the next look, which is believed.
        timer_start(&w->again, AGAIN_MS);
        watch_snapshot_unref(&s);
        return;
    }
    bool moved = place_differs(w->now, s);
    if (!moved && s->dns_lies == w->now->dns_lies) {
        watch_snapshot_unref(&s);
        return;
    }
    buf_init(&what, LIMIT_LOG_LINE);
    place_tell_change(w->now, s, w->conf, &what);
    watch_snapshot_unref(&w->now);
    w->now = s;
    if (w->captive != NULL && moved && !from_captive)
        captive_ask(w->captive, s->offline);
    w->changed(w->ctx, moved ? buf_cstr(&what) : NULL);
    buf_free(&what);
}

static void on_event(void *ctx)
{
    take(ctx, false);
}

static void on_captive(void *ctx)
{
    take(ctx, true);
}

struct watch *watch_new(struct loop *loop, struct conf *conf, struct names *names,
                        void (*changed)(void *ctx, const char *what), void *ctx, struct err *err)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    struct err quiet = {0};
    w->loop = loop;
    w->conf = conf_ref(conf);
    w->changed = changed;
    w->ctx = ctx;
    timer_init(&w->again, loop, on_event, w);
    w->links = links_watch_new(loop, on_event, w, &quiet);
    if (w->links == NULL)
        log_warn("network", 0, "changes of the network are not heard of: %s", quiet.text);
    w->manager = manager_new(loop, on_event, w);
    if (names != NULL)
        w->captive = captive_new(loop, names, conf->captive_url, on_captive, w);
    w->now = look(w, clock_mono_us(), false);
    if (w->captive != NULL)
        captive_ask(w->captive, w->now->offline);
    return w;
}

void watch_free(struct watch **wp)
{
    struct watch *w = *wp;
    *wp = NULL;
    if (w == NULL)
        return;
    timer_stop(&w->again);
    captive_free(&w->captive);
    manager_free(&w->manager);
    links_watch_free(&w->links);
    watch_snapshot_unref(&w->now);
    conf_unref(&w->conf);
    xfree(w);
}

struct watch_snapshot *watch_now(struct watch *w)
{
    return w->now;
}

void watch_set_conf(struct watch *w, struct conf *conf)
{
    conf_ref(conf);
    conf_unref(&w->conf);
    w->conf = conf;
    if (w->captive != NULL)
        captive_set_url(w->captive, conf->captive_url);
    struct watch_snapshot *s = look(w, clock_mono_us(), true);
    if (w->links_unknown)
        timer_start(&w->again, AGAIN_MS);
    watch_snapshot_unref(&w->now);
    w->now = s;
}
