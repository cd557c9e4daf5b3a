// SPDX-License-Identifier: ISC
// Which way next?
//
// 1. The first route whose conditions all hold names the chain; without one it is made from all
//    gateways (default_chain). Nothing is allocated, and what costs more than a comparison is done
//    once for all rules (struct facts).
// 2. A chain is walked from its first step in every round; within a round a step follows when the
//    trouble of the one before is in its `on` set, or when the one before was not open (then
//    nothing was tried, so there is no class to ask for). A round ends when the chain is used up;
//    the retry clock starts the next.
// 3. When nothing is open, the mail waits for the first way that opens by itself (rest, quota);
//    else for the first that another place would open; else for the age it lacks. A way that could
//    not carry it even when open is never waited for.
#include "route/plan.h"
#include "base/buf.h"

#include <string.h>

// ---- Rules ----

// What the rules ask for in another form than it came.
struct facts {
    struct net_addr client; // family NET_NONE: not an address
    bool client_parsed;
};

// Is one of the eight bytes of `word` this one?
static bool word_has(uint64_t word, unsigned char byte)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t x = word ^ (ones * byte);
    return ((x - ones) & ~x & (ones << 7)) != 0;
}

// Rules over recipients mostly end in a domain, and most end in another one than this: the text
// behind the last wildcard is compared first, from the end, eight bytes at a time while they are
// the same.
static bool glob_from_end(const char *pattern, struct str text)
{
    size_t p = strlen(pattern), t = text.len;
    while (p >= 8 && t >= 8) {
        uint64_t a, b;
        memcpy(&a, pattern + p - 8, 8);
        memcpy(&b, text.ptr + t - 8, 8);
        if (a != b || word_has(a, '*') || word_has(a, '?'))
            break;
        p -= 8;
        t -= 8;
    }
    for (; p > 0 && pattern[p - 1] != '*' && pattern[p - 1] != '?'; p--, t--) {
        if (t == 0)
            return false;
        char a = pattern[p - 1], b = text.ptr[t - 1];
        if (a != b && ascii_lower(a) != ascii_lower(b))
            return false;
    }
    if (p == 0)
        return t == 0;
    return (p == 1 && pattern[0] == '*') || str_glob(str_make(pattern, p), str_make(text.ptr, t));
}

static bool any_glob(const char *const *globs, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++)
        if (glob_from_end(globs[i], text))
            return true;
    return count == 0;
}

static bool client_matches(const struct plan_input *in, struct facts *f, const struct conf_route *r)
{
    const struct envelope *e = in->envelope;
    if (r->client_count + r->client_range_count == 0)
        return true;
    if (r->client_count > 0 && any_glob(r->client, r->client_count, e->client))
        return true;
    if (r->client_count > 0 && e->user.len > 0 && e->user.len <= LIMIT_PATH) {
        char user[5 + LIMIT_PATH];
        memcpy(user, "user ", 5);
        memcpy(user + 5, e->user.ptr, e->user.len);
        if (any_glob(r->client, r->client_count, str_make(user, 5 + e->user.len)))
            return true;
    }
    if (r->client_range_count > 0 && !f->client_parsed) {
        f->client_parsed = true;
        if (!net_addr_parse_ip(e->client, &f->client))
            f->client.family = NET_NONE;
    }
    for (size_t i = 0; i < r->client_range_count && f->client.family != NET_NONE; i++)
        if (net_range_has(&r->client_range[i], &f->client))
            return true;
    return false;
}

static bool header_matches(const struct envelope *e, const struct conf_route *r)
{
    for (size_t i = 0; i < r->header_count; i++)
        for (size_t k = 0; k < e->header_count; k++)
            if (str_eq(e->headers[k].name, str_of(r->header[i].name)) &&
                glob_from_end(r->header[i].glob, e->headers[k].text))
                return true;
    return r->header_count == 0;
}

enum { WEEK = 7 * 24 * 60 }; // minutes

static bool hours_hold(const struct conf_hours *hours, size_t count, unsigned minute)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_hours *h = &hours[i];
        if ((minute >= h->begin && minute < h->end) ||
            (minute + WEEK >= h->begin && minute + WEEK < h->end))
            return true;
    }
    return count == 0;
}

// When the first of them begins.
static int64_t hours_begin_ms(const struct conf_hours *hours, size_t count, unsigned minute,
                              int64_t now_ms)
{
    unsigned least = WEEK;
    for (size_t i = 0; i < count; i++) {
        unsigned wait = (hours[i].begin % WEEK + WEEK - minute % WEEK) % WEEK;
        least = wait > 0 && wait < least ? wait : least;
    }
    return (now_ms / 60000 + least) * 60000;
}

static bool network_holds(const struct plan_input *in, const struct conf_route *r)
{
    uint64_t here = in->place != NULL ? in->place->networks : 0;
    return (r->networks == 0 || (r->networks & here) != 0) && (r->not_networks & here) == 0;
}

static bool mx_matches(const struct plan_input *in, const struct conf_route *r)
{
    for (size_t i = 0; in->mx != NULL && in->mx[i] != NULL; i++)
        if (any_glob(r->mx, r->mx_count, str_of(in->mx[i])))
            return true;
    return r->mx_count == 0;
}

// The mail exchangers come last: they are looked up only when everything else holds.
static const char *route_miss(const struct plan_input *in, struct facts *f,
                              const struct conf_route *r)
{
    const struct envelope *e = in->envelope;
    if (r->to_count > 0 && !any_glob(r->to, r->to_count, in->rcpt))
        return "recipient";
    if (r->from_count > 0 && !any_glob(r->from, r->from_count, e->sender))
        return "sender";
    if (!client_matches(in, f, r))
        return "client";
    if (r->listener_count > 0 && !any_glob(r->listener, r->listener_count, e->listener))
        return "listener";
    if ((r->larger > 0 && in->size <= r->larger) || (r->smaller > 0 && in->size >= r->smaller))
        return "size";
    if (!header_matches(e, r))
        return "header";
    if (r->classes != 0 && (r->classes >> e->priority & 1) == 0)
        return "class";
    if (!network_holds(in, r))
        return "network";
    if (!hours_hold(r->hours, r->hours_count, in->minute_of_week))
        return "time";
    return mx_matches(in, r) ? NULL : "mx";
}

const char *plan_route_miss(const struct plan_input *in, const struct conf_route *route)
{
    struct facts f = {0};
    return route_miss(in, &f, route);
}

int plan_route(const struct plan_input *in)
{
    struct facts f = {0};
    bool mx_known = in->mx != NULL || in->mx_failed;
    for (size_t i = 0; i < in->conf->route_count; i++) {
        const struct conf_route *r = &in->conf->routes[i];
        const char *miss = route_miss(in, &f, r);
        if (miss == NULL)
            return (int)i;
        if (!mx_known && strcmp(miss, "mx") == 0)
            return ROUTE_NEEDS_MX;
    }
    return ROUTE_DEFAULT;
}

// ---- The default chain ----

uint32_t plan_default_on(void)
{
    uint32_t all = (1u << OUTCOME_CLASSES) - 1;
    return all & ~(1u << OUTCOME_OK | 1u << OUTCOME_REFUSED | 1u << OUTCOME_NO_RECORD |
                   1u << OUTCOME_DOUBT | 1u << OUTCOME_LOCAL);
}

const char *plan_rank_name(enum plan_rank rank)
{
    static const char *const names[RANKS] = {
        [RANK_PICKED] = "picked by hand",   [RANK_NETWORK] = "its network holds",
        [RANK_SUBNET] = "in our subnet",    [RANK_PRIORITY] = "by priority",
        [RANK_FALLBACK] = "the fallback",   [RANK_ROUTE] = "named by the route",
        [RANK_DETOUR] = "instead of direct"};
    return names[rank];
}

static uint32_t picked(const struct plan_input *in)
{
    return in->place != NULL ? in->place->picked : UINT32_MAX;
}

static bool bound_elsewhere(const struct plan_input *in, const struct conf_gateway *g)
{
    uint64_t here = in->place != NULL ? in->place->networks : 0;
    return g->networks != 0 && (g->networks & here) == 0;
}

// The gateway marked `fallback`, else the first that may be used here; UINT32_MAX: none.
static uint32_t fallback_gateway(const struct plan_input *in)
{
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < in->conf->gateway_count; i++) {
        const struct conf_gateway *g = &in->conf->gateways[i];
        if (g->fallback && g->enabled)
            return i;
        if (first == UINT32_MAX && conf_gateway_is_general(g) && g->enabled &&
            !bound_elsewhere(in, g))
            first = i;
    }
    return first;
}

// A gateway's place in the default chain: by rank, then by priority, then by weight.
struct seat {
    uint32_t gateway;
    uint32_t order; // of the ranks: RANK_PRIORITY has those bound elsewhere behind it
    enum plan_rank rank;
    int priority;
};

// False: choice.fallback or `automatic: false` leaves it out.
static bool seat_of(const struct plan_input *in, uint32_t gateway, uint32_t fallback,
                    struct seat *out)
{
    enum { ORDER_ELSEWHERE = RANKS };
    const struct conf_gateway *g = &in->conf->gateways[gateway];
    const struct conf_choice *choice = &in->conf->choice;
    out->gateway = gateway;
    out->priority = g->priority;
    bool here = !bound_elsewhere(in, g);
    if (gateway == picked(in))
        out->rank = RANK_PICKED;
    else if (!choice->automatic && picked(in) < in->conf->gateway_count)
        return false;
    else if (choice->automatic && g->networks != 0 && here)
        out->rank = RANK_NETWORK;
    else if (choice->automatic && here && choice->subnet && in->gateways != NULL &&
             in->gateways[gateway].in_subnet)
        out->rank = RANK_SUBNET;
    else if (choice->automatic && (!here || choice->fallback == FALLBACK_ALL))
        out->rank = RANK_PRIORITY;
    else if (choice->fallback != FALLBACK_NONE && gateway == fallback)
        out->rank = RANK_FALLBACK;
    else
        return false;
    out->order = here || out->rank == RANK_PICKED ? (uint32_t)out->rank : ORDER_ELSEWHERE;
    return true;
}

static bool seats_before(const struct seat *a, const struct seat *b)
{
    return a->order != b->order ? a->order < b->order : a->priority < b->priority;
}

// splitmix64: spreads neighbouring ids over all weights.
static uint64_t scatter(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// Puts equals in an order drawn by their weights: the first by its share, the second by its share
// of the rest, and so on, so that those behind one that rests share its mail by weight too.
static void share_by_weight(const struct conf *conf, struct seat *seats, size_t count,
                            uint64_t share)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += conf->gateways[seats[i].gateway].weight;
    for (size_t first = 0; first + 1 < count && total > 0; first++) {
        share = scatter(share);
        uint64_t at = share % total;
        size_t chosen = first;
        while (at >= conf->gateways[seats[chosen].gateway].weight)
            at -= conf->gateways[seats[chosen++].gateway].weight;
        struct seat seat = seats[chosen];
        memmove(&seats[first + 1], &seats[first], (chosen - first) * sizeof(seat));
        seats[first] = seat;
        total -= conf->gateways[seat.gateway].weight;
    }
}

static void default_chain(const struct plan_input *in, struct plan_chain *c)
{
    struct seat seats[PLAN_CHAIN], seat;
    size_t n = 0;
    uint32_t direct = UINT32_MAX, others = 0, fallback = fallback_gateway(in);
    for (uint32_t i = 0; i < in->conf->gateway_count; i++) {
        bool general = conf_gateway_is_general(&in->conf->gateways[i]);
        if (in->conf->gateways[i].kind == GATEWAY_DIRECT)
            direct = i;
        others += general;
        // Direct delivery and what is on this machine are choices of their own beside gateways:
        // only by hand or as the fallback.
        if (!general && i != picked(in) && !in->conf->gateways[i].fallback)
            continue;
        if (n == PLAN_CHAIN || !seat_of(in, i, fallback, &seat))
            continue;
        size_t at = n++;
        for (; at > 0 && seats_before(&seat, &seats[at - 1]); at--)
            seats[at] = seats[at - 1];
        seats[at] = seat;
    }
    if (n == 0 && others == 0 && direct != UINT32_MAX)
        seats[n++] = (struct seat){.gateway = direct, .rank = RANK_PRIORITY};
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && !seats_before(&seats[first], &seats[end]); end++)
            ;
        share_by_weight(in->conf, seats + first, end - first, in->share);
    }
    c->count = n;
    for (size_t i = 0; i < n; i++) {
        c->steps[i] = (struct conf_step){.gateway = seats[i].gateway};
        c->rank[i] = (uint8_t)seats[i].rank;
    }
}

// ---- The chain of a route ----

// Takes step `from` out and puts it in again at `to` <= from.
static void move_step(struct plan_chain *c, size_t from, size_t to)
{
    struct conf_step step = c->steps[from];
    uint8_t rank = c->rank[from];
    memmove(&c->steps[to + 1], &c->steps[to], (from - to) * sizeof(step));
    memmove(&c->rank[to + 1], &c->rank[to], (from - to) * sizeof(rank));
    c->steps[to] = step;
    c->rank[to] = rank;
}

static size_t find_step(const struct plan_chain *c, size_t from, uint32_t gateway)
{
    while (from < c->count && c->steps[from].gateway != gateway)
        from++;
    return from;
}

static void route_chain(const struct plan_input *in, const struct conf_route *r,
                        struct plan_chain *c)
{
    c->count = r->via_count < PLAN_CHAIN ? r->via_count : PLAN_CHAIN;
    memcpy(c->steps, r->via, c->count * sizeof(c->steps[0]));
    memset(c->rank, RANK_ROUTE, c->count);
    size_t at = find_step(c, 0, picked(in));
    if (at == c->count)
        return;
    // Whoever picks it means now.
    c->steps[at] = (struct conf_step){.gateway = picked(in), .on = c->steps[at].on};
    c->rank[at] = RANK_PICKED;
    move_step(c, at, 0);
}

// ---- Detours ----

static bool host_is_of(struct str host, struct str provider)
{
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    return provider.len > 0 && str_iends(host, provider) &&
           (host.len == provider.len || host.ptr[host.len - provider.len - 1] == '.');
}

static const struct plan_detour *detour_of(const struct plan_input *in)
{
    for (size_t i = 0; i < in->detour_count; i++) {
        const struct plan_detour *d = &in->detours[i];
        if (d->gateway >= in->conf->gateway_count ||
            in->conf->gateways[d->gateway].kind == GATEWAY_DIRECT)
            continue;
        for (size_t k = 0; in->mx[k] != NULL; k++)
            if (host_is_of(str_of(in->mx[k]), str_of(d->provider)))
                return d;
    }
    return NULL;
}

// The detour's gateway stands before direct, once: a later step through it is taken away.
static void add_detour(const struct plan_input *in, struct plan_chain *c)
{
    if (in->mx == NULL || in->detour_count == 0)
        return;
    size_t at = 0;
    while (at < c->count && in->conf->gateways[c->steps[at].gateway].kind != GATEWAY_DIRECT)
        at++;
    const struct plan_detour *d = at < c->count ? detour_of(in) : NULL;
    // What comes before direct anyway, and what a person picked, needs no detour.
    if (d == NULL || find_step(c, 0, d->gateway) < at || c->rank[at] == RANK_PICKED)
        return;
    size_t later = find_step(c, at, d->gateway);
    if (later == c->count) {
        if (c->count == PLAN_CHAIN)
            return;
        c->count++;
    }
    c->steps[later] = (struct conf_step){.gateway = d->gateway, .on = c->steps[at].on};
    c->rank[later] = RANK_DETOUR;
    move_step(c, later, at);
    c->detour = d;
}

void plan_chain(const struct plan_input *in, struct plan_chain *c)
{
    c->route = plan_route(in);
    c->count = 0;
    c->detour = NULL;
    if (c->route >= 0)
        route_chain(in, &in->conf->routes[c->route], c);
    else if (c->route == ROUTE_DEFAULT)
        default_chain(in, c);
    add_detour(in, c);
    for (size_t i = 0; i < c->count; i++)
        if (c->steps[i].on == 0)
            c->steps[i].on = plan_default_on();
}

// ---- The state of a step ----

const char *plan_state_name(enum plan_state state)
{
    static const char *const names[STEP_STATES] = {
        [STEP_OPEN] = "open",        [STEP_DISABLED] = "disabled", [STEP_NETWORK] = "network",
        [STEP_OFFLINE] = "offline",  [STEP_SENDER] = "sender",     [STEP_SIZE] = "size",
        [STEP_QUOTA] = "quota",      [STEP_RESTS] = "rests",       [STEP_EARLY_TRIES] = "early",
        [STEP_EARLY_TIME] = "early", [STEP_CLASS] = "class",       [STEP_HOURS] = "hours"};
    return names[state];
}

// Reached without any network. A captive portal lets nothing else through either.
static bool is_local(const struct conf_gateway *g)
{
    if (g->unix_path != NULL || conf_gateway_is_local(g))
        return true;
    if (g->kind == GATEWAY_DIRECT || g->socks != NULL || g->host == NULL)
        return false;
    struct net_addr addr;
    if (g->pinned_count > 0)
        return net_addr_is_loopback(&g->pinned[0]);
    if (net_addr_parse_ip(str_of(g->host), &addr))
        return net_addr_is_loopback(&addr);
    return str_ieq(str_of(g->host), STR("localhost"));
}

static bool may_send(const struct plan_input *in, const struct conf_gateway *g)
{
    return g->sender_count == 0 || in->envelope == NULL ||
           any_glob(g->senders, g->sender_count, in->envelope->sender);
}

static bool fits(const struct plan_input *in, const struct conf_gateway *g)
{
    return g->message_size == 0 || in->size <= g->message_size;
}

static int64_t quota_until(const struct plan_input *in, uint32_t gateway)
{
    if (in->gateways == NULL)
        return 0;
    bool urgent = in->envelope != NULL && in->envelope->priority == PRIORITY_URGENT;
    return in->gateways[gateway].quota_until_ms[urgent ? QUOTA_URGENT : QUOTA_OTHERS];
}

static int64_t rest_until(const struct plan_input *in, uint32_t gateway)
{
    int64_t rest = in->gateways != NULL ? in->gateways[gateway].rest_until_ms : 0;
    bool direct = in->conf->gateways[gateway].kind == GATEWAY_DIRECT;
    return direct && in->direct_rest_ms > rest ? in->direct_rest_ms : rest;
}

enum plan_state plan_step_state(const struct plan_input *in, const struct conf_step *step,
                                int64_t *until_ms)
{
    const struct conf_gateway *g = &in->conf->gateways[step->gateway];
    *until_ms = INT64_MAX;
    if (!g->enabled)
        return STEP_DISABLED;
    if (bound_elsewhere(in, g) && step->gateway != picked(in))
        return STEP_NETWORK;
    if (!hours_hold(g->hours, g->hours_count, in->minute_of_week) && step->gateway != picked(in)) {
        *until_ms = hours_begin_ms(g->hours, g->hours_count, in->minute_of_week, in->now_ms);
        return STEP_HOURS;
    }
    if (in->place != NULL && (in->place->offline || in->place->captive) && !is_local(g))
        return STEP_OFFLINE;
    if (!may_send(in, g))
        return STEP_SENDER;
    if (!fits(in, g))
        return STEP_SIZE;
    int64_t quota = quota_until(in, step->gateway), rest = rest_until(in, step->gateway);
    if (quota > in->now_ms) {
        *until_ms = quota;
        return STEP_QUOTA;
    }
    if (rest > in->now_ms) {
        *until_ms = rest;
        return STEP_RESTS;
    }
    if (in->tries < step->after_tries)
        return STEP_EARLY_TRIES;
    if (in->age_ms < step->after_ms) {
        *until_ms = in->now_ms + (step->after_ms - in->age_ms);
        return STEP_EARLY_TIME;
    }
    return STEP_OPEN;
}

// May a step of this state carry the mail at another time or place?
static bool may_open(const struct plan_input *in, const struct conf_step *step,
                     enum plan_state state)
{
    const struct conf_gateway *g = &in->conf->gateways[step->gateway];
    return state != STEP_DISABLED && may_send(in, g) && fits(in, g);
}

// The walk over a chain; what holds for all steps before the next one.
struct walk {
    const struct plan_input *in;
    const struct plan_chain *chain;
    bool tried;    // in this round
    bool possible; // a step before may be tried some time
};

// The step's conditions as they count here.
static struct conf_step walk_step(const struct walk *w, size_t i)
{
    struct conf_step step = w->chain->steps[i];
    if (!w->possible)
        step.after_tries = 0;
    return step;
}

// In the preset on-error the classes say whether the gateways have their turn at all, so what
// direct delivery met counts for each of them, not only for the one right behind it (PC-13).
static bool turn_is_barred(const struct plan_input *in, const struct plan_chain *chain)
{
    return chain->route >= 0 && chain->count > 1 &&
           in->conf->routes[chain->route].mode == MODE_ON_ERROR &&
           (chain->steps[1].on >> in->last_class & 1) == 0;
}

static enum plan_state walk_state(struct walk *w, size_t i, int64_t *until_ms)
{
    const struct plan_input *in = w->in;
    struct conf_step step = walk_step(w, i);
    enum plan_state state = plan_step_state(in, &step, until_ms);
    w->possible = w->possible || may_open(in, &step, state);
    // Only the step right behind the failed one asks for its class: what follows a resting gateway
    // inherits it.
    if (i < in->from_step || (w->tried && (step.on >> in->last_class & 1) == 0))
        state = STEP_CLASS;
    if (w->tried && i > 1 && in->from_step == 1 && turn_is_barred(in, w->chain))
        state = STEP_CLASS;
    // A provider that does not want us is not asked again behind its detour.
    if (w->tried && i > 0 && w->chain->rank[i - 1] == RANK_DETOUR &&
        in->last_class == OUTCOME_REPUTATION)
        state = STEP_CLASS;
    return state;
}

static struct walk walk_begin(const struct plan_input *in, const struct plan_chain *chain)
{
    bool tried = in->from_step > 0;
    return (struct walk){.in = in, .chain = chain, .tried = tried, .possible = tried};
}

enum plan_state plan_chain_state(const struct plan_input *in, const struct plan_chain *chain,
                                 size_t at, int64_t *until_ms)
{
    struct walk w = walk_begin(in, chain);
    enum plan_state state = STEP_CLASS;
    for (size_t i = 0; i <= at; i++)
        state = walk_state(&w, i, until_ms);
    return state;
}

// ---- The decision ----

// What a closed step can be waited for as; a higher one is preferred.
enum hope { HOPE_NONE, HOPE_AGE, HOPE_PLACE, HOPE_LANE };

// The first reason of a step may hide another that passes later or never.
static enum hope hope_of(const struct walk *w, size_t i, enum plan_state state, int64_t *until_ms)
{
    const struct plan_input *in = w->in;
    struct conf_step step = walk_step(w, i);
    if (state == STEP_CLASS || !may_open(in, &step, state) || in->tries < step.after_tries)
        return HOPE_NONE;
    if (in->age_ms < step.after_ms) {
        *until_ms = in->now_ms + (step.after_ms - in->age_ms);
        return HOPE_AGE;
    }
    return state == STEP_QUOTA || state == STEP_RESTS ? HOPE_LANE : HOPE_PLACE;
}

// Urgent mail does not wait for a step to fail before the next begins.
static int64_t parallel_after(const struct plan_input *in, struct walk *w, size_t i)
{
    if (in->envelope->priority != PRIORITY_URGENT)
        return 0;
    int64_t until;
    for (size_t k = i + 1; k < w->chain->count; k++)
        if (walk_state(w, k, &until) == STEP_OPEN)
            return w->chain->steps[k].parallel_ms;
    return 0;
}

struct plan plan_next(const struct plan_input *in)
{
    struct plan_chain c;
    plan_chain(in, &c);
    struct plan plan = {
        .kind = PLAN_NONE, .route = c.route, .until_ms = INT64_MAX, .age_ms = INT64_MAX};
    if (c.route == ROUTE_NEEDS_MX) {
        plan.kind = PLAN_MX;
        return plan;
    }
    struct walk w = walk_begin(in, &c);
    enum hope best = HOPE_NONE;
    unsigned soonest = 0;
    for (size_t i = in->from_step; i < c.count; i++) {
        int64_t until = INT64_MAX;
        struct walk before = w; // a step's own chance does not make its `after` count
        enum plan_state state = walk_state(&w, i, &until);
        if (state == STEP_OPEN)
            return (struct plan){.kind = PLAN_GO,
                                 .gateway = c.steps[i].gateway,
                                 .step = (unsigned)i + 1,
                                 .until_ms = INT64_MAX,
                                 .age_ms = INT64_MAX,
                                 .parallel_ms = parallel_after(in, &w, i),
                                 .route = c.route};
        enum hope hope = hope_of(&before, i, state, &until);
        if (hope > best) {
            best = hope;
            plan.kind = PLAN_WAIT;
            plan.gateway = c.steps[i].gateway;
            plan.step = (unsigned)i + 1;
            plan.state = hope == HOPE_AGE ? STEP_EARLY_TIME : state;
            plan.rests = hope != HOPE_AGE;
        }
        if (hope != HOPE_NONE && until < plan.until_ms) {
            plan.until_ms = until;
            soonest = (unsigned)i + 1;
        }
        if (hope == HOPE_AGE && until < plan.age_ms)
            plan.age_ms = until;
    }
    plan.sooner = soonest != plan.step ? soonest : 0;
    if (w.tried)
        plan.kind = PLAN_END;
    return plan;
}

void plan_networks(const struct conf *conf, uint64_t set, struct buf *out)
{
    const char *sep = "";
    for (size_t i = 0; i < conf->network_count && i < CONF_NETWORKS; i++)
        if ((set >> i & 1) != 0) {
            buf_printf(out, "%s%s", sep, conf->networks[i].name);
            sep = ", ";
        }
}
