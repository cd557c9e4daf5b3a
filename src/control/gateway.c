// SPDX-License-Identifier: ISC
// What is known of gateways, as a table, and as JSON.
#include "control/gateway.h"
#include "base/timefmt.h"
#include "conf/price.h"
#include "control/table.h"
#include "control/words.h"
#include "sys/clock.h"

#include <stdio.h>

void gateways_look(struct reply *r, struct gateways *out)
{
    struct queue *q = r->control->parts.queue;
    *out = (struct gateways){0};
    out->views = arena_alloc(r->arena, GATEWAYS_SHOWN * sizeof(*out->views));
    out->count = queue_gateways(q, out->views, GATEWAYS_SHOWN);
    out->active = queue_active_gateway(q, out->why);
    out->picked = queue_picked(q, &out->until_ms);
}

const char *gateways_pick_ends(struct reply *r, int64_t until_ms)
{
    char when[WORDS_TEXT];
    if (until_ms > 0)
        return arena_printf(r->arena, "until %s or `waypost gateway auto`",
                            words_when(until_ms, clock_wall_ms(), when));
    if (r->control->conf->choice.sticky == STICKY_NETWORK)
        return "until the network changes or `waypost gateway auto`";
    return "until `waypost gateway auto`";
}

static bool is_name(const char *name, const char *other)
{
    return other != NULL && strcmp(name, other) == 0;
}

// The words of its state and its trouble in one line.
static void note(const struct queue_gateway_view *v, struct buf *out)
{
    char span[TIME_TEXT];
    if (v->why[0] != '\0' && v->rest_ms == 0)
        buf_printf(out, "%s%s", out->len > 0 ? "; " : "", v->why);
    if (v->rest_ms > 0)
        buf_printf(out, "%sasks again in %s", out->len > 0 ? "; " : "",
                   time_span(v->rest_ms, span));
    else if (v->destinations_resting > 0)
        buf_printf(out, "%s%zu destination%s resting", out->len > 0 ? "; " : "",
                   v->destinations_resting, v->destinations_resting == 1 ? "" : "s");
    bool told = strstr(v->why, v->last_trouble) != NULL; // also when there is none
    if ((v->rest_ms > 0 || v->destinations_resting > 0 || strcmp(v->state, "probing") == 0) &&
        !told)
        buf_printf(out, ": %s", v->last_trouble);
}

// Of several the one that is nearest to its end.
static const struct queue_quota_view *tightest(const struct queue_gateway_view *v)
{
    const struct queue_quota_view *worst = NULL;
    for (size_t i = 0; i < v->quota_count; i++) {
        const struct queue_quota_view *q = &v->quotas[i];
        if (q->limit > 0 && (worst == NULL || (double)q->used / (double)q->limit >
                                                  (double)worst->used / (double)worst->limit))
            worst = q;
    }
    return worst;
}

unsigned gateway_score(const struct queue_gateway_view *v)
{
    return (v->score + 5) / 10;
}

static const struct table_column columns[] = {
    {"  GATEWAY", 18, false, false}, {"STATE", 9, false, false},  {"WAITING", 7, true, false},
    {"OK", 7, true, false},          {"TROUBLE", 7, true, false}, {"SCORE", 5, true, false},
    {"LATENCY", 8, true, false},     {"NOW", 0, false, false},    {NULL},
};

static void row(struct reply *r, const struct gateways *g, const struct queue_gateway_view *v)
{
    char name[300], waiting[24], ok[WORDS_TEXT], failed[WORDS_TEXT], score[16] = "-",
                                                                     latency[32] = "-";
    bool active = is_name(v->name, g->active);
    const struct queue_quota_view *quota = tightest(v);
    struct buf now;
    buf_init(&now, LIMIT_LOG_LINE);
    snprintf(name, sizeof(name), "%s %s", active ? "*" : " ", v->name);
    snprintf(waiting, sizeof(waiting), "%zu", v->waiting);
    if (v->ok + v->failed > 0)
        snprintf(score, sizeof(score), "%u%%", gateway_score(v));
    if (v->latency_ms >= 0)
        snprintf(latency, sizeof(latency), "%lld ms", (long long)v->latency_ms);
    if (is_name(v->name, g->picked))
        buf_puts(&now, "picked by hand");
    if (!is_name(v->name, g->picked) || !v->usable)
        note(v, &now);
    if (quota != NULL) {
        if (now.len > 0)
            buf_puts(&now, "; ");
        words_quota(quota, clock_wall_ms(), false, &now);
        if (v->quota_lost_ms > 0)
            buf_puts(&now, ", as its count was lost");
    }
    const struct str cells[] = {
        str_of(name),
        str_of(v->state),
        str_of(waiting),
        str_of(words_number(v->ok, ok)),
        str_of(words_number(v->failed, failed)),
        str_of(score),
        str_of(latency),
        buf_str(&now),
    };
    reply_table(r, columns, cells);
    buf_free(&now);
}

// Direct delivery is built in. Beside gateways it is no way unless a route names it.
static bool never_used(const struct conf *conf, const struct queue_gateway_view *v)
{
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(v->name));
    bool general = false;
    if (g == NULL || g->kind != GATEWAY_DIRECT || v->ok + v->failed + v->active + v->waiting > 0)
        return false;
    for (size_t i = 0; i < conf->gateway_count; i++)
        general = general || conf_gateway_is_general(&conf->gateways[i]);
    for (size_t i = 0; i < conf->route_count; i++)
        for (size_t k = 0; k < conf->routes[i].via_count; k++)
            if (conf->routes[i].via[k].gateway == g->index)
                return false;
    return general;
}

void gateways_table(struct reply *r, const struct gateways *g)
{
    reply_table(r, columns, NULL);
    for (size_t i = 0; i < g->count; i++)
        if (!never_used(r->control->conf, &g->views[i]))
            row(r, g, &g->views[i]);
}

static void quotas_json(struct json *j, const struct queue_gateway_view *v)
{
    static const char *const units[] = {"messages", "recipients", "bytes"};
    static const char *const periods[] = {"minute", "hour", "day", "week", "month"};
    json_open_array(j, "quotas");
    for (size_t i = 0; i < v->quota_count; i++) {
        const struct queue_quota_view *q = &v->quotas[i];
        json_open(j, NULL);
        json_text(j, "unit", units[q->unit]);
        json_text(j, "period", periods[q->period]);
        json_int(j, "used", (int64_t)q->used);
        json_int(j, "limit", (int64_t)q->limit);
        json_int(j, "reserve", (int64_t)q->reserve);
        json_int(j, "reset_ms", q->reset_ms);
        json_int(j, "exhausts_ms", q->exhausts_ms);
        json_bool(j, "learnt", q->learnt);
        json_close(j);
    }
    json_close_array(j);
}

// Nothing is known in the first instant of a month.
uint64_t gateway_month_forecast(const struct queue_gateway_view *v, int64_t now_ms)
{
    int64_t gone_ms = now_ms - v->month_begin_ms;
    if (gone_ms <= 0)
        return v->month_recipients;
    return (uint64_t)((double)v->month_recipients * (double)(v->month_end_ms - v->month_begin_ms) /
                      (double)gone_ms);
}

static void cost_json(struct json *j, const struct conf_gateway *g,
                      const struct queue_gateway_view *v)
{
    if (g->cost.micros == 0) {
        json_text(j, "cost", NULL);
        return;
    }
    json_open(j, "cost");
    json_text(j, "currency", g->cost.currency);
    json_int(j, "micros", (int64_t)g->cost.micros);
    json_int(j, "per", g->cost.per);
    json_int(j, "month_recipients", (int64_t)v->month_recipients);
    json_int(j, "month_micros", (int64_t)price_of(&g->cost, v->month_recipients));
    json_int(j, "forecast_micros",
             (int64_t)price_of(&g->cost, gateway_month_forecast(v, clock_wall_ms())));
    json_int(j, "budget_micros", (int64_t)g->budget.micros);
    json_close(j);
}

static void facts_json(struct json *j, const struct conf *conf, const struct conf_gateway *g)
{
    json_int(j, "priority", g->priority);
    json_open_array(j, "networks");
    for (size_t i = 0; i < conf->network_count; i++)
        if (g->networks >> i & 1)
            json_text(j, NULL, conf->networks[i].name);
    json_close_array(j);
    json_open_array(j, "senders");
    for (size_t i = 0; i < g->sender_count; i++)
        json_text(j, NULL, g->senders[i]);
    json_close_array(j);
}

static void one_json(struct reply *r, struct json *j, const struct gateways *g,
                     const struct queue_gateway_view *v)
{
    const struct conf_gateway *known = conf_gateway_find(r->control->conf, str_of(v->name));
    json_open(j, NULL);
    json_text(j, "name", v->name);
    json_text(j, "state", v->state);
    json_bool(j, "way_out", is_name(v->name, g->active));
    json_bool(j, "picked", is_name(v->name, g->picked));
    json_bool(j, "usable", v->usable);
    json_text(j, "why", v->why);
    json_text(j, "address", v->address);
    json_int(j, "score", v->score);
    json_int(j, "since_ms", v->since_ms);
    json_int(j, "probe_ms", v->probe_ms);
    json_int(j, "ok", (int64_t)v->ok);
    json_int(j, "trouble", (int64_t)v->failed);
    json_int(j, "active", (int64_t)v->active);
    json_int(j, "connections", (int64_t)v->open);
    json_int(j, "idle_connections", (int64_t)(v->open - v->active));
    json_int(j, "waiting", (int64_t)v->waiting);
    json_int(j, "latency_ms", v->latency_ms);
    json_int(j, "server_size", (int64_t)v->server_size);
    json_int(j, "rest_ms", v->rest_ms);
    json_text(j, "last_trouble", v->last_trouble);
    json_bool(j, "needs_person", gateway_needs_person(v));
    json_bool(j, "intercepted", v->intercepted);
    json_int(j, "quota_lost_ms", v->quota_lost_ms);
    if (v->seen) {
        json_open(j, "remembers");
        json_text(j, "greeting", v->seen_as);
        json_bool(j, "tls", v->seen_tls);
        json_bool(j, "verified", v->seen_verified);
        json_bool(j, "auth", v->seen_auth);
        json_close(j);
    } else {
        json_text(j, "remembers", NULL);
    }
    quotas_json(j, v);
    if (known != NULL)
        facts_json(j, r->control->conf, known);
    if (known != NULL)
        cost_json(j, known, v);
    json_close(j);
}

void gateways_json(struct reply *r, struct json *j, const struct gateways *g)
{
    json_open(j, "way_out");
    json_text(j, "gateway", g->active);
    json_text(j, "reason", g->why);
    json_text(j, "picked", g->picked);
    json_int(j, "picked_until_ms", g->picked != NULL ? g->until_ms : 0);
    json_close(j);
    json_open_array(j, "gateways");
    for (size_t i = 0; i < g->count; i++)
        one_json(r, j, g, &g->views[i]);
    json_close_array(j);
}

void gateways_send_json(struct reply *r, const struct gateways *g)
{
    struct buf out;
    struct json j = reply_json(&out);
    gateways_json(r, &j, g);
    reply_json_send(r, &j);
}

bool gateway_needs_person(const struct queue_gateway_view *v)
{
    static const char *const words[] = {"authenti", "login",       "credential",
                                        "password", "certificate", "does not exist"};
    if (v->intercepted)
        return true;
    bool resting = strcmp(v->state, "resting") == 0 || strcmp(v->state, "probing") == 0;
    for (size_t i = 0; resting && i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(v->last_trouble, words[i]) != NULL)
            return true;
    return false;
}
