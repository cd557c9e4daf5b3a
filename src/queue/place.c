// SPDX-License-Identifier: ISC
// Where the machine is, and what changes for the mail when that changes.
//
// A change is said once in the log, and not in the timeline of each message that waits: a million
// notes would say the same. The timeline names the gateway of each attempt, and that is where a
// change of way is seen.
#include "queue/queue_int.h"
#include "base/mem.h"
#include "deliver/addresses.h"
#include "deliver/lookup.h"
#include "route/reason.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

// ---- What is near ----

static bool in_subnet(const struct queue *q, const struct conf_gateway *g)
{
    struct net_addr literal;
    if (q->where == NULL || !conf_gateway_has_host(g))
        return false;
    for (size_t i = 0; i < g->pinned_count; i++)
        if (watch_in_subnet(q->where, &g->pinned[i], &q->conf->choice))
            return true;
    if (g->pinned_count > 0)
        return false;
    if (net_addr_parse_ip(str_of(g->host), &literal))
        return watch_in_subnet(q->where, &literal, &q->conf->choice);
    const struct whereabouts *w = &q->whereabouts[g->index];
    for (size_t i = 0; i < w->count; i++)
        if (watch_in_subnet(q->where, &w->all[i], &q->conf->choice))
            return true;
    return false;
}

uint64_t place_holding(struct queue *q, const struct conf *conf)
{
    uint64_t set = 0;
    struct arena *arena = arena_new();
    const char *why;
    for (size_t i = 0; q->where != NULL && i < conf->network_count; i++)
        if (watch_holds(&conf->networks[i], q->where, arena, &why))
            set |= UINT64_C(1) << i;
    arena_free(&arena);
    return set;
}

static void look_around(struct queue *q)
{
    const struct watch_snapshot *s = q->where;
    q->place.networks = s != NULL ? s->holding : 0;
    q->place.offline = s != NULL && s->offline;
    q->place.captive = s != NULL && s->captive;
    q->place.metered = s != NULL && s->metered;
    for (size_t i = 0; i < q->conf->gateway_count; i++)
        q->gateways[i].in_subnet = in_subnet(q, &q->conf->gateways[i]);
}

// Its addresses were heard of.
static void judge_subnet(struct queue *q, const struct conf_gateway *g)
{
    bool before = q->gateways[g->index].in_subnet, now = in_subnet(q, g);
    q->gateways[g->index].in_subnet = now;
    if (before == now || !q->conf->choice.subnet)
        return;
    log_info("subnet", 0, "%s lies %s our subnets", g->name, now ? "inside" : "outside of");
    queue_replan(q);
}

// Names are answered differently inside of networks, so this comes anew at each place.
static void on_address(void *ctx, const struct deliver_address *heard)
{
    struct queue *q = ctx;
    const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(heard->gateway));
    if (g == NULL || heard->count == 0)
        return; // what was known is still the best
    struct whereabouts *w = &q->whereabouts[g->index];
    w->count = heard->count < LIMIT_ADDRESSES ? heard->count : LIMIT_ADDRESSES;
    memcpy(w->all, heard->list, w->count * sizeof(w->all[0]));
    judge_subnet(q, g);
}

struct watch_snapshot *queue_where(struct queue *q)
{
    return q->where;
}

// ---- A change ----

void queue_replan(struct queue *q)
{
    lane_replan_all(q);
    q->replan_ms = q->mono_ms;
    queue_wake(q);
}

static void forget_trouble(struct queue *q)
{
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
        if (lane->failures > 0 && lane->trouble != NULL &&
            class_of_network(lane->trouble->outcome.class))
            lane_fresh(q, lane);
}

void queue_same_network(struct queue *q, struct watch_snapshot *now)
{
    watch_snapshot_unref(&q->where);
    q->where = watch_snapshot_ref(now);
}

void queue_network(struct queue *q, struct watch_snapshot *now, const char *what)
{
    queue_same_network(q, now);
    look_around(q);
    q->place_age++;
    if (!q->started)
        return;
    queue_now(q);
    pick_check(q);
    if (q->stopping)
        return;
    // What stands may hang on an address that is gone.
    for (size_t i = 0; i < q->parts.loop_count; i++)
        deliver_moved(q->parts.delivers[i]);
    forget_trouble(q);
    exchangers_forget_trouble(q);
    log_info("network", 0, "%s; what waits is planned anew (%llu recipients)", what,
             (unsigned long long)atomic_load(&q->recipients));
    queue_replan(q);
}

// ---- The gateway of ordinary mail ----

static void ordinary(struct queue *q, struct envelope *e, struct plan_input *in)
{
    *e = (struct envelope){
        .sender = STR("someone@example.org"), .client = STR("local"), .priority = PRIORITY_NORMAL};
    *in = (struct plan_input){.conf = q->conf,
                              .gateways = q->gateways,
                              .place = &q->place,
                              .envelope = e,
                              .rcpt = STR("someone@example.com"),
                              .mx_failed = true,
                              .now_ms = q->now_ms,
                              .minute_of_week = q->minute_of_week};
}

// Equals in the choice share the mail by their weight.
static void say_equals(const struct plan_input *in, const struct plan_chain *c, size_t chosen,
                       struct buf *out)
{
    const struct conf_gateway *all = in->conf->gateways;
    const char *sep = ", shared by weight with ";
    for (size_t i = 0; i < c->count; i++) {
        int64_t until;
        uint32_t gateway = c->steps[i].gateway;
        if (i == chosen || c->rank[i] != RANK_PRIORITY || c->rank[chosen] != RANK_PRIORITY ||
            all[gateway].priority != all[c->steps[chosen].gateway].priority ||
            plan_step_state(in, &c->steps[i], &until) != STEP_OPEN)
            continue;
        buf_printf(out, "%s%s", sep, all[gateway].name);
        sep = ", ";
    }
}

// "by priority; company: not on network office": why it goes this way, and not by those before.
static void say_chosen(const struct plan_input *in, const struct plan *plan,
                       const struct plan_chain *c, struct buf *out)
{
    size_t end = plan->kind == PLAN_GO && plan->step > 0 ? plan->step - 1 : c->count;
    if (plan->kind == PLAN_GO)
        buf_puts(out,
                 plan_rank_name(end < c->count ? (enum plan_rank)c->rank[end] : RANK_FALLBACK));
    if (plan->kind == PLAN_GO && end < c->count)
        say_equals(in, c, end, out);
    for (size_t i = 0; i < end && i < c->count; i++) {
        int64_t until;
        uint32_t gateway = c->steps[i].gateway;
        enum plan_state state = plan_chain_state(in, c, i, &until);
        if (state == STEP_DISABLED && plan->kind == PLAN_GO)
            continue; // somebody wanted it so
        buf_printf(out, "%s%s: ", out->len > 0 ? "; " : "", in->conf->gateways[gateway].name);
        reason_state(in, gateway, &c->steps[i], state, out);
    }
    if (out->len == 0)
        buf_puts(out, "no gateway may be used");
}

const char *queue_active_gateway(struct queue *q, char why[QUEUE_WHY])
{
    struct envelope e;
    struct plan_input in;
    struct plan_chain c;
    struct buf words;
    ordinary(q, &e, &in);
    buf_init(&words, LIMIT_LOG_LINE);
    struct plan plan = plan_next(&in);
    plan_chain(&in, &c);
    say_chosen(&in, &plan, &c, &words);
    snprintf(why, QUEUE_WHY, "%.*s", QUEUE_WHY - 1, buf_cstr(&words));
    buf_free(&words);
    return plan.kind == PLAN_GO ? q->conf->gateways[plan.gateway].name : NULL;
}

// Is a gateway used, for mail of any sender, and why not?
void place_view(struct queue *q, uint32_t gateway, struct queue_gateway_view *v)
{
    struct buf words;
    struct plan_input in = {.conf = q->conf,
                            .gateways = q->gateways,
                            .place = &q->place,
                            .now_ms = q->now_ms,
                            .minute_of_week = q->minute_of_week};
    buf_init(&words, LIMIT_LOG_LINE);
    v->usable = reason_gateway(&in, gateway, &words);
    snprintf(v->why, sizeof(v->why), "%.*s", (int)sizeof(v->why) - 1, buf_cstr(&words));
    buf_free(&words);
}

// Where a gateway stands in the chain of ordinary mail.
static size_t stands(const struct plan_chain *c, uint32_t gateway)
{
    size_t i = 0;
    while (i < c->count && c->steps[i].gateway != gateway)
        i++;
    return i;
}

static void say_change(struct queue *q, const struct plan_input *in, uint32_t before)
{
    struct plan_chain c;
    char why[QUEUE_WHY];
    const char *now = queue_active_gateway(q, why);
    plan_chain(in, &c);
    if (now == NULL) {
        log_warn("no-way", 0, "ordinary mail has no way out now and waits: %s", why);
        return;
    }
    size_t from = before != UINT32_MAX ? stands(&c, before) : c.count, to = stands(&c, q->chosen);
    if (from < to)
        log_warn("failover", 0, "mail goes through %s now: %s", now, why);
    else if (from < c.count)
        log_info("failback", 0, "mail goes through %s again: %s", now, why);
    else
        log_info("active", 0, "mail goes through %s: %s", now, why);
}

static int64_t next_end(int64_t sooner, int64_t end_ms, int64_t now_ms)
{
    return end_ms > now_ms && end_ms < sooner ? end_ms : sooner;
}

// The plan is pure, and this is all of its input that can change.
static bool chosen_may_differ(struct queue *q)
{
    size_t bytes = q->conf->gateway_count * sizeof(*q->gateways);
    return q->chosen_from.gateways == NULL || q->chosen_from.conf_age != q->conf_age ||
           q->chosen_from.minute_of_week != q->minute_of_week ||
           q->now_ms < q->chosen_from.from_ms || q->now_ms >= q->chosen_from.until_ms ||
           memcmp(&q->chosen_from.place, &q->place, sizeof(q->place)) != 0 ||
           memcmp(q->chosen_from.gateways, q->gateways, bytes) != 0;
}

static void keep_chosen_from(struct queue *q)
{
    size_t n = q->conf->gateway_count;
    int64_t until = INT64_MAX;
    xfree(q->chosen_from.gateways);
    q->chosen_from.gateways = xcalloc(n, sizeof(*q->gateways));
    memcpy(q->chosen_from.gateways, q->gateways, n * sizeof(*q->gateways));
    memcpy(&q->chosen_from.place, &q->place, sizeof(q->place));
    q->chosen_from.conf_age = q->conf_age;
    q->chosen_from.minute_of_week = q->minute_of_week;
    for (size_t i = 0; i < n; i++) {
        until = next_end(until, q->gateways[i].rest_until_ms, q->now_ms);
        until = next_end(until, q->gateways[i].quota_until_ms[QUOTA_OTHERS], q->now_ms);
    }
    q->chosen_from.from_ms = q->now_ms;
    q->chosen_from.until_ms = until;
}

static void watch_chosen(struct queue *q)
{
    struct envelope e;
    struct plan_input in;
    if (q->chosen_known && !chosen_may_differ(q))
        return;
    keep_chosen_from(q);
    ordinary(q, &e, &in);
    struct plan plan = plan_next(&in);
    uint32_t now = plan.kind == PLAN_GO ? plan.gateway : UINT32_MAX, before = q->chosen;
    // Direct delivery is the way of ordinary mail for want of gateways: nothing to tell.
    bool known = q->chosen_known;
    q->chosen_known = true;
    q->chosen = now;
    if (known && now != before)
        say_change(q, &in, before);
}

// ---- Turns ----

// The hours of routes and gateways: when a minute of the week lies on another side of one of their
// bounds, mail that waits may have another way.
static bool crossed_one(const struct conf_hours *hours, size_t count, unsigned from, unsigned to)
{
    enum { WEEK = 7 * 24 * 60 };
    unsigned passed = (to + WEEK - from) % WEEK;
    for (size_t i = 0; i < count; i++)
        if ((hours[i].begin % WEEK + WEEK - from - 1) % WEEK < passed ||
            (hours[i].end % WEEK + WEEK - from - 1) % WEEK < passed)
            return true;
    return false;
}

static bool crossed(const struct conf *conf, unsigned from, unsigned to)
{
    for (size_t i = 0; i < conf->route_count; i++)
        if (crossed_one(conf->routes[i].hours, conf->routes[i].hours_count, from, to))
            return true;
    for (size_t i = 0; i < conf->gateway_count; i++)
        if (crossed_one(conf->gateways[i].hours, conf->gateways[i].hours_count, from, to))
            return true;
    return false;
}

unsigned place_minute(int64_t wall_ms)
{
    enum { DAY = 24 * 60, MONDAY = 3 }; // 1970-01-01 was a Thursday
    int64_t minutes = wall_ms / 60000 + clock_utc_offset_minutes(wall_ms);
    return (unsigned)((minutes + MONDAY * DAY) % (7 * DAY));
}

static void follow_hours(struct queue *q)
{
    if (!q->conf->asks_hours)
        return;
    unsigned before = q->minute_of_week, now = place_minute(q->now_ms);
    q->minute_of_week = now;
    if (before != now && crossed(q->conf, before, now))
        queue_replan(q);
}

void place_turn(struct queue *q)
{
    follow_hours(q);
    pick_check(q);
    detour_check(q);
    watch_chosen(q);
    if (q->replan_ms == 0 || !list_empty(&q->sweeps))
        return;
    log_debug("replanned", 0, "all that waits was planned anew within %lld ms",
              (long long)(q->mono_ms - q->replan_ms));
    q->replan_ms = 0;
}

// ---- Life ----

void place_start(struct queue *q)
{
    q->minute_of_week = place_minute(q->now_ms);
    pick_start(q);
    detour_start(q);
    deliver_on_address(q->parts.delivers[0], q->parts.loop, on_address, q);
}

void place_reload(struct queue *q, const struct conf *before, struct watch_snapshot *now)
{
    struct whereabouts *known = xcalloc(q->conf->gateway_count, sizeof(*known));
    for (size_t i = 0; i < q->conf->gateway_count; i++) {
        const struct conf_gateway *g = &q->conf->gateways[i],
                                  *old = conf_gateway_find(before, str_of(g->name));
        if (old != NULL && strcmp(old->host, g->host) == 0)
            known[i] = q->whereabouts[old->index];
    }
    xfree(q->whereabouts);
    q->whereabouts = known;
    xfree(q->route_hits);
    q->route_hits = xcalloc(q->conf->route_count + 1, sizeof(*q->route_hits));
    q->chosen_known = false;
    if (!conf_same_dns(before, q->conf)) {
        // Whom nobody found may well be found now.
        forget_trouble(q);
        exchangers_forget_trouble(q);
    }
    if (now != NULL) {
        watch_snapshot_unref(&q->where);
        q->where = watch_snapshot_ref(now);
    }
    pick_reload(q, before);
    detour_bind(q);
    q->minute_of_week = place_minute(q->now_ms);
    look_around(q);
}

void place_free(struct queue *q)
{
    if (q->where != NULL)
        watch_snapshot_unref(&q->where);
    detour_free(q);
    xfree(q->chosen_from.gateways);
    xfree(q->whereabouts);
    xfree(q->route_hits);
}

const uint64_t *queue_route_hits(struct queue *q)
{
    return q->route_hits;
}
