// SPDX-License-Identifier: ISC
// The gateway picked by hand. It is kept in the state as "UNTIL PLACE NAME": a wall clock time
// (0: none), and the mark of the place where it was (watch_mark).
#include "queue/queue_int.h"
#include "base/mem.h"
#include "route/reason.h"
#include "spool/state.h"
#include "sys/log.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t place_mark(const struct queue *q)
{
    return q->where != NULL ? watch_mark(q->where, q->conf) : 0;
}

static void keep(struct queue *q)
{
    char text[256] = "";
    if (q->place.picked != UINT32_MAX)
        snprintf(text, sizeof(text), "%" PRId64 " %" PRIu64 " %.200s", q->picked_until_ms,
                 q->picked_place, q->conf->gateways[q->place.picked].name);
    if (q->parts.state != NULL)
        state_set(q->parts.state, "picked", str_of(text));
}

static void pick(struct queue *q, uint32_t gateway)
{
    const struct conf_choice *choice = &q->conf->choice;
    q->place.picked = gateway;
    q->picked_place = place_mark(q);
    q->picked_until_ms =
        choice->sticky == STICKY_TIME && choice->sticky_ms > 0 ? q->now_ms + choice->sticky_ms : 0;
    keep(q);
    // Whoever picks it wants to know about this moment.
    if (q->conf->gateways[gateway].kind != GATEWAY_DIRECT)
        lane_fresh(q, lane_for(q, gateway, STR("")));
    queue_replan(q);
}

static void release(struct queue *q)
{
    q->place.picked = UINT32_MAX;
    q->picked_until_ms = 0;
    keep(q);
    queue_replan(q);
}

static const char *how_long(const struct queue *q)
{
    static const char *const words[] = {[STICKY_FOREVER] = "until it is `auto` again",
                                        [STICKY_NETWORK] = "until the network changes",
                                        [STICKY_TIME] = "for the time choice.sticky says"};
    return words[q->conf->choice.sticky];
}

bool queue_pick(struct queue *q, struct str name, const char *who, struct err *err)
{
    queue_now(q);
    if (name.len == 0) {
        if (q->place.picked != UINT32_MAX)
            log_info("picked", 0, "the gateway is chosen automatically again, by %s", who);
        release(q);
        return true;
    }
    const struct conf_gateway *g = conf_gateway_find(q->conf, name);
    if (g == NULL || !g->enabled) {
        err_set(err, g == NULL ? "there is no gateway %.*s" : "the gateway %.*s is disabled",
                STR_FMT(name));
        return false;
    }
    pick(q, g->index);
    log_info("picked", 0, "mail goes through %s first, picked by %s, %s", g->name, who,
             how_long(q));
    return true;
}

// Is there a use in picking it at this moment? What rests after trouble may have got well, and
// whoever picks it wants to know; an allowance that is used up has not.
static bool worth_picking(struct queue *q, const struct conf_gateway *g, struct buf *passed)
{
    struct plan_input in = {.conf = q->conf,
                            .gateways = q->gateways,
                            .place = &q->place,
                            .now_ms = q->now_ms,
                            .minute_of_week = q->minute_of_week};
    const struct plan_gateway *is = &q->gateways[g->index];
    struct conf_step step = {.gateway = g->index};
    int64_t until_ms;
    enum plan_state state = plan_step_state(&in, &step, &until_ms);
    if (state == STEP_OPEN || (state == STEP_RESTS && is->rest_class != OUTCOME_QUOTA))
        return true;
    buf_printf(passed, "%s%s: ", passed->len > 0 ? "; " : "", g->name);
    reason_gateway(&in, g->index, passed);
    return false;
}

// One that was picked and is in trouble is no longer the active one, and would be met again.
const char *queue_pick_next(struct queue *q, const char *who, struct buf *passed, struct err *err)
{
    char why[QUEUE_WHY];
    queue_now(q);
    const char *active = q->place.picked != UINT32_MAX ? q->conf->gateways[q->place.picked].name
                                                       : queue_active_gateway(q, why);
    const struct conf_gateway *from =
        active != NULL ? conf_gateway_find(q->conf, str_of(active)) : NULL;
    size_t n = q->conf->gateway_count, at = from != NULL ? from->index : n - 1;
    for (size_t i = 1; i <= n - (from != NULL); i++) {
        const struct conf_gateway *g = &q->conf->gateways[(at + i) % n];
        if (conf_gateway_is_general(g) && worth_picking(q, g, passed))
            return queue_pick(q, str_of(g->name), who, err) ? g->name : NULL;
    }
    err_set(err, "no %sgateway could take mail now%s%.*s", from != NULL ? "other " : "",
            passed->len > 0 ? "; passed over: " : "", STR_FMT(buf_str(passed)));
    return NULL;
}

const char *queue_picked(struct queue *q, int64_t *until_ms_out)
{
    *until_ms_out = q->picked_until_ms;
    return q->place.picked != UINT32_MAX ? q->conf->gateways[q->place.picked].name : NULL;
}

// ---- Its end ----

int64_t pick_due(const struct queue *q)
{
    return q->place.picked != UINT32_MAX && q->picked_until_ms > 0 ? q->picked_until_ms : INT64_MAX;
}

void pick_check(struct queue *q)
{
    if (q->place.picked == UINT32_MAX)
        return;
    const char *why = NULL;
    if (pick_due(q) <= q->now_ms)
        why = "its time is over";
    else if (q->conf->choice.sticky == STICKY_NETWORK && q->where != NULL && !q->place.offline &&
             place_mark(q) != q->picked_place)
        why = "the network is another";
    if (why == NULL)
        return;
    log_info("picked", 0, "%s is not picked by hand any more: %s",
             q->conf->gateways[q->place.picked].name, why);
    release(q);
}

void pick_reload(struct queue *q, const struct conf *before)
{
    if (q->place.picked == UINT32_MAX)
        return;
    const char *name = before->gateways[q->place.picked].name;
    const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(name));
    q->place.picked = g != NULL && g->enabled ? g->index : UINT32_MAX;
    // Networks have numbers of their own in each configuration.
    bool same = before->network_count == q->conf->network_count;
    for (size_t i = 0; same && i < before->network_count; i++)
        same = strcmp(before->networks[i].name, q->conf->networks[i].name) == 0;
    if (!same && q->place.picked != UINT32_MAX && q->conf->choice.sticky == STICKY_NETWORK)
        q->place.picked = UINT32_MAX;
    if (q->place.picked == UINT32_MAX)
        log_info("picked", 0, "%s is not picked by hand any more: the configuration is another",
                 name);
    keep(q);
}

void pick_start(struct queue *q)
{
    struct str value = q->parts.state != NULL ? state_get(q->parts.state, "picked") : STR("");
    struct str until, place;
    uint64_t until_ms;
    if (!str_split(&value, ' ', &until) || !str_split(&value, ' ', &place) ||
        !str_u64(until, INT64_MAX, &until_ms) || !str_u64(place, UINT64_MAX, &q->picked_place))
        return;
    const struct conf_gateway *g = conf_gateway_find(q->conf, value);
    if (g == NULL || !g->enabled)
        return;
    q->place.picked = g->index;
    q->picked_until_ms = (int64_t)until_ms;
    log_info("picked", 0, "mail goes through %s first, picked by hand before the start", g->name);
}
