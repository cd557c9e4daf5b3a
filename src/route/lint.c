// SPDX-License-Identifier: ISC
// The routes looked over for what can never happen (the second half of route/table.h).
//
// Each check says nothing rather than something wrong: a glob is taken to cover another only where
// that is certain.
#include "base/timefmt.h"
#include "conf/price.h"
#include "route/plan.h"
#include "route/table.h"

enum { SENTENCE_BYTES = 4096 };

struct lint {
    const struct conf *conf;
    struct buf *text; // one of the two
    struct json *json;
    size_t count;
};

// `why` is formatted; what and next are said as they are.
static void __attribute__((format(printf, 5, 6)))
found(struct lint *l, unsigned line, const char *what, const char *next, const char *why, ...)
{
    struct buf reason;
    buf_init(&reason, SENTENCE_BYTES);
    va_list args;
    va_start(args, why);
    buf_vprintf(&reason, why, args);
    va_end(args);
    l->count++;
    if (l->text != NULL) {
        if (line > 0)
            buf_printf(l->text, "line %u: ", line);
        buf_printf(l->text, "%s: %s; %s\n", what, buf_cstr(&reason), next);
    } else {
        json_open(l->json, NULL);
        json_int(l->json, "line", line);
        json_text(l->json, "what", what);
        json_str(l->json, "why", buf_str(&reason));
        json_text(l->json, "next", next);
        json_close(l->json);
    }
    buf_free(&reason);
}

// ---- Does one route take all that another could? ----

// Everything that b matches a matches too. A '?' of a could stand against a '*' of b.
static bool glob_covers(const char *a, const char *b)
{
    if (str_ieq(str_of(a), str_of(b)))
        return true;
    return strchr(a, '?') == NULL && str_glob(str_of(a), str_of(b));
}

static bool globs_cover(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    if (a_count == 0)
        return true;
    for (size_t i = 0; i < b_count; i++) {
        size_t k = 0;
        while (k < a_count && !glob_covers(a[k], b[i]))
            k++;
        if (k == a_count)
            return false;
    }
    return b_count > 0;
}

static bool ranges_cover(const struct conf_route *a, const struct net_range *b)
{
    for (size_t i = 0; i < a->client_range_count; i++)
        if (net_range_has(&a->client_range[i], &b->low) &&
            net_range_has(&a->client_range[i], &b->high))
            return true;
    return false;
}

static bool clients_cover(const struct conf_route *a, const struct conf_route *b)
{
    if (a->client_count + a->client_range_count == 0)
        return true;
    if (b->client_count + b->client_range_count == 0)
        return false;
    if (b->client_count > 0 && (a->client_count == 0 || !globs_cover(a->client, a->client_count,
                                                                     b->client, b->client_count)))
        return false;
    for (size_t i = 0; i < b->client_range_count; i++)
        if (!ranges_cover(a, &b->client_range[i]))
            return false;
    return true;
}

static bool headers_cover(const struct conf_route *a, const struct conf_route *b)
{
    for (size_t i = 0; i < b->header_count; i++) {
        size_t k = 0;
        while (k < a->header_count &&
               (!str_eq(str_of(a->header[k].name), str_of(b->header[i].name)) ||
                !glob_covers(a->header[k].glob, b->header[i].glob)))
            k++;
        if (k == a->header_count && a->header_count > 0)
            return false;
    }
    return a->header_count == 0 || b->header_count > 0;
}

static bool hours_cover(const struct conf_route *a, const struct conf_route *b)
{
    for (size_t i = 0; i < b->hours_count && a->hours_count > 0; i++) {
        size_t k = 0;
        while (k < a->hours_count &&
               (a->hours[k].begin > b->hours[i].begin || a->hours[k].end < b->hours[i].end))
            k++;
        if (k == a->hours_count)
            return false;
    }
    return a->hours_count == 0 || b->hours_count > 0;
}

// A set as a condition: 0 is all.
static bool set_covers(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && (b & ~a) == 0);
}

static bool sizes_cover(const struct conf_route *a, const struct conf_route *b)
{
    return (a->larger == 0 || b->larger >= a->larger) &&
           (a->smaller == 0 || (b->smaller > 0 && b->smaller <= a->smaller));
}

static bool route_covers(const struct conf_route *a, const struct conf_route *b)
{
    return globs_cover(a->to, a->to_count, b->to, b->to_count) &&
           globs_cover(a->from, a->from_count, b->from, b->from_count) && clients_cover(a, b) &&
           globs_cover(a->listener, a->listener_count, b->listener, b->listener_count) &&
           globs_cover(a->mx, a->mx_count, b->mx, b->mx_count) && sizes_cover(a, b) &&
           headers_cover(a, b) && set_covers(a->classes, b->classes) &&
           set_covers(a->networks, b->networks) && (a->not_networks & ~b->not_networks) == 0 &&
           hours_cover(a, b);
}

// Contradicts itself: NULL, or how.
static const char *never_matches(const struct conf_route *r)
{
    if (r->networks != 0 && (r->networks & ~r->not_networks) == 0)
        return "every network it asks for is excluded by not_network";
    if (r->smaller > 0 && r->smaller <= r->larger + (r->larger > 0))
        return "no size is larger and smaller than it asks for";
    return NULL;
}

// The route before it that takes all its mail, SIZE_MAX: none.
static size_t shadow_of(const struct conf *conf, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (never_matches(&conf->routes[k]) == NULL &&
            route_covers(&conf->routes[k], &conf->routes[i]))
            return k;
    return SIZE_MAX;
}

static bool is_reached(const struct conf *conf, size_t i)
{
    return never_matches(&conf->routes[i]) == NULL && shadow_of(conf, i) == SIZE_MAX;
}

static const char *route_label(size_t i, const struct conf_route *r, struct buf *label)
{
    buf_clear(label);
    buf_printf(label, "route %zu", i + 1);
    if (r->name != NULL)
        buf_printf(label, " (%s)", r->name);
    return buf_cstr(label);
}

static void lint_reach(struct lint *l, size_t i, const char *label)
{
    const struct conf_route *r = &l->conf->routes[i];
    const char *never = never_matches(r);
    if (never != NULL) {
        found(l, r->line, label, "mend its conditions, or delete it", "it never matches: %s",
              never);
        return;
    }
    size_t k = shadow_of(l->conf, i);
    if (k == SIZE_MAX)
        return;
    struct buf others;
    buf_init(&others, LIMIT_LOG_LINE);
    // One route that takes too much is one mistake, however many stand behind it.
    for (size_t m = 0; m < l->conf->route_count; m++) {
        if (m == i || never_matches(&l->conf->routes[m]) != NULL || shadow_of(l->conf, m) != k)
            continue;
        if (m < i) {
            buf_free(&others);
            return;
        }
        buf_printf(&others, "%s %zu", others.len > 0 ? "," : ", nor are routes", m + 1);
    }
    found(l, r->line, label, "move it up, narrow the other one, or delete it",
          "it is never reached%s: route %zu (line %u) takes all its mail before", buf_cstr(&others),
          k + 1, l->conf->routes[k].line);
    buf_free(&others);
}

// ---- Chains ----

// Why a step can never carry mail of this route; NULL: it can.
static const char *dead_step(const struct conf_route *r, const struct conf_gateway *g)
{
    if (!g->enabled)
        return "it is disabled";
    if (g->networks != 0 && r->networks != 0 && (g->networks & r->networks) == 0)
        return "it is bound to other networks than the route";
    if (g->networks != 0 && (g->networks & ~r->not_networks) == 0)
        return "it is bound to networks that the route excludes";
    if (g->message_size > 0 && r->larger >= g->message_size)
        return "its message_size is less than what the route is for";
    return NULL;
}

static void lint_step(struct lint *l, size_t i, size_t k, const char *label)
{
    const struct conf *conf = l->conf;
    const struct conf_route *r = &conf->routes[i];
    const struct conf_step *s = &r->via[k];
    const char *name = conf->gateways[s->gateway].name;
    const uint32_t never = 1u << OUTCOME_OK | 1u << OUTCOME_LOCAL | 1u << OUTCOME_DOUBT;
    for (size_t m = 0; m < k; m++)
        if (r->via[m].gateway == s->gateway) {
            found(l, r->line, label, "delete one of the two", "steps %zu and %zu are both %s",
                  m + 1, k + 1, name);
            break;
        }
    if (k == 0 && s->on != 0)
        found(l, r->line, label, "delete `on` there",
              "`on` of its first step, %s, asks for trouble that nothing has had yet", name);
    else if (s->on != 0 && (s->on & ~never) == 0)
        found(l, r->line, label, "name classes of trouble, or delete `on`",
              "no trouble leads to step %zu (%s): its `on` names only what ends the round", k + 1,
              name);
    if (k == 0 && s->after_tries > 0)
        found(l, r->line, label, "delete `after` there",
              "its first step, %s, waits for attempts that nothing makes", name);
    if (k == 0 && s->parallel_ms > 0)
        found(l, r->line, label, "delete `parallel` there",
              "there is nothing beside which its first step, %s, could begin", name);
    else if (s->parallel_ms > 0 && r->classes != 0 && (r->classes >> PRIORITY_URGENT & 1) == 0)
        found(l, r->line, label, "delete `parallel`, or let the route take urgent mail",
              "`parallel` of step %zu (%s) is for urgent mail, which the route does not take",
              k + 1, name);
    uint32_t tries = conf->queue.expire_tries;
    if (k > 0 && tries > 0 && s->after_tries >= tries)
        found(l, r->line, label, "lower `after`, or raise queue.expire_tries",
              "step %zu (%s) is never reached: mail is given up after %u attempts", k + 1, name,
              tries);
    char span[TIME_TEXT];
    if (conf->queue.expire_ms > 0 && s->after_ms >= conf->queue.expire_ms)
        found(l, r->line, label, "lower `after`, or raise queue.expire",
              "step %zu (%s) is never reached: mail is given up after %s", k + 1, name,
              time_span(conf->queue.expire_ms, span));
}

static void lint_chain(struct lint *l, size_t i, const char *label)
{
    const struct conf *conf = l->conf;
    const struct conf_route *r = &conf->routes[i];
    size_t dead = 0, bound = 0;
    const char *why = NULL;
    for (size_t k = 0; k < r->via_count; k++) {
        const struct conf_gateway *g = &conf->gateways[r->via[k].gateway];
        const char *reason = dead_step(r, g);
        dead += reason != NULL;
        bound += g->networks != 0;
        why = reason != NULL ? reason : why;
        if (reason != NULL && r->via_count > 1 && g->enabled)
            found(l, r->line, label, "take it out, or mend the one or the other",
                  "step %zu (%s) is never taken: %s", k + 1, g->name, reason);
    }
    if (r->via_count == 0)
        found(l, r->line, label, "name a gateway in `via`", "it has no way out: it names none");
    else if (dead == r->via_count)
        found(l, r->line, label, "add a gateway that can carry it", "it has no way out: %s",
              dead == 1 ? why : "none of its gateways can be used");
    else if (bound == r->via_count && r->networks == 0)
        found(l, r->line, label, "add one for elsewhere, or a condition `network`",
              "every gateway of it is bound to networks: elsewhere its mail waits");
    // What a mode was made into is not the writer's.
    for (size_t k = 0; k < r->via_count && r->mode == MODE_NONE && !r->smarthost; k++)
        lint_step(l, i, k, label);
}

// ---- Gateways ----

static bool default_is_reached(const struct conf *conf)
{
    static const struct conf_route any;
    for (size_t i = 0; i < conf->route_count; i++)
        if (never_matches(&conf->routes[i]) == NULL && route_covers(&conf->routes[i], &any))
            return false;
    return true;
}

static bool is_named(const struct conf *conf, uint32_t gateway, bool reached)
{
    for (size_t i = 0; i < conf->route_count; i++)
        for (size_t k = 0; k < conf->routes[i].via_count; k++)
            if (conf->routes[i].via[k].gateway == gateway && (!reached || is_reached(conf, i)))
                return true;
    return false;
}

// Can the default chain hold it, unless it is picked by hand?
static bool in_default(const struct conf *conf, uint32_t gateway)
{
    const struct conf_gateway *g = &conf->gateways[gateway];
    const struct conf_choice *c = &conf->choice;
    if (c->automatic && (g->networks != 0 || c->subnet || c->fallback == FALLBACK_ALL))
        return true;
    if (c->fallback == FALLBACK_NONE)
        return false;
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < conf->gateway_count; i++) {
        if (conf->gateways[i].fallback && conf->gateways[i].enabled)
            return i == gateway;
        if (first == UINT32_MAX && conf->gateways[i].enabled &&
            conf_gateway_is_general(&conf->gateways[i]))
            first = i;
    }
    return gateway == first;
}

static void lint_quota(struct lint *l, const struct conf_gateway *g, const char *label)
{
    bool any = false;
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            any = any || price_quota(g, (enum conf_unit)u, (enum conf_period)p) > 0;
    if (any && g->reserve_percent >= 100)
        found(l, g->line, label, "lower `reserve`",
              "its reserve of %u %% for urgent mail leaves nothing for other mail",
              g->reserve_percent);
    else if (!any && g->reserve_percent > 0)
        found(l, g->line, label, "name a quota, or delete `reserve`",
              "a reserve is a part of a quota, and it has none");
}

static void lint_gateway(struct lint *l, uint32_t i, bool default_reached, const char *label)
{
    const struct conf *conf = l->conf;
    const struct conf_gateway *g = &conf->gateways[i];
    if (g->kind != GATEWAY_DIRECT)
        lint_quota(l, g, label);
    if (g->kind == GATEWAY_DIRECT || !g->enabled || is_named(conf, i, true))
        return;
    if (i == conf->smarthost.gateway && !conf->smarthost.enabled)
        return; // switched off by hand
    if (is_named(conf, i, false) && !default_reached)
        found(l, g->line, label, "see what is said of these routes",
              "it is never used: the routes that name it are never taken");
    else if (!default_reached)
        found(l, g->line, label, "name it in a route, or narrow the route that takes all mail",
              "it is never used: no route names it, and the routes leave no mail to the choice");
    else if (conf_gateway_is_local(g))
        found(l, g->line, label, "name it in a route",
              "it is never used: no route names it, and what is on this machine takes no other "
              "mail");
    else if (!in_default(conf, i))
        found(l, g->line, label, "name it in a route, or change `choice`",
              "it is used only when it is picked by hand: no route names it, and it is not the "
              "fallback");
}

// ---- All of it ----

static size_t lint_all(struct lint *l)
{
    struct buf label;
    buf_init(&label, SENTENCE_BYTES);
    for (size_t i = 0; i < l->conf->route_count; i++) {
        const char *name = route_label(i, &l->conf->routes[i], &label);
        lint_reach(l, i, name);
        lint_chain(l, i, name);
    }
    bool default_reached = default_is_reached(l->conf);
    for (uint32_t i = 0; i < l->conf->gateway_count; i++) {
        buf_clear(&label);
        buf_printf(&label, "gateway %s", l->conf->gateways[i].name);
        lint_gateway(l, i, default_reached, buf_cstr(&label));
    }
    buf_free(&label);
    return l->count;
}

size_t route_lint(const struct conf *conf, struct buf *out)
{
    struct lint l = {.conf = conf, .text = out};
    return lint_all(&l);
}

size_t route_lint_json(const struct conf *conf, struct json *j)
{
    struct lint l = {.conf = conf, .json = j};
    json_open_array(j, "findings");
    lint_all(&l);
    json_close_array(j);
    return l.count;
}
