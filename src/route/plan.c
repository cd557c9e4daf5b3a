// SPDX-License-Identifier: ISC
// Which way next?
//
// A chain is walked from its first step in every round; within a round a step follows when the
// trouble of the one before is in its `on` set, or when the one before rests or is disabled (then
// nothing was tried, so there is no class to ask for). A round ends when the chain is used up; the
// retry clock starts the next.
#include "route/plan.h"

#include <string.h>

uint32_t plan_default_on(void)
{
    uint32_t all = (1u << OUTCOME_CLASSES) - 1;
    return all &
           ~(1u << OUTCOME_OK | 1u << OUTCOME_REFUSED | 1u << OUTCOME_DOUBT | 1u << OUTCOME_LOCAL);
}

static bool any_glob(const char *const *globs, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++)
        if (str_glob(str_of(globs[i]), text))
            return true;
    return count == 0;
}

const char *plan_route_miss(const struct plan_input *in, const struct conf_route *r)
{
    if (!any_glob(r->to, r->to_count, in->rcpt))
        return "recipient";
    if (!any_glob(r->from, r->from_count, in->envelope->sender))
        return "sender";
    return NULL;
}

int plan_route(const struct plan_input *in)
{
    for (size_t i = 0; i < in->conf->route_count; i++)
        if (plan_route_miss(in, &in->conf->routes[i]) == NULL)
            return (int)i;
    return ROUTE_DEFAULT;
}

// splitmix64: spreads neighbouring ids over all weights.
static uint64_t scatter(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// Moves one of the members [first, end) of equal priority to the front, chosen by weight; the rest
// keep their order.
static void share_by_weight(const struct conf *conf, uint32_t *chain, size_t first, size_t end,
                            uint64_t share)
{
    uint64_t total = 0;
    for (size_t i = first; i < end; i++)
        total += conf->gateways[chain[i]].weight;
    if (end - first < 2 || total == 0)
        return;
    uint64_t at = scatter(share) % total;
    size_t chosen = first;
    while (at >= conf->gateways[chain[chosen]].weight)
        at -= conf->gateways[chain[chosen++]].weight;
    uint32_t gateway = chain[chosen];
    for (size_t i = chosen; i > first; i--)
        chain[i] = chain[i - 1];
    chain[first] = gateway;
}

static size_t default_chain(const struct conf *conf, uint64_t share, uint32_t *out, size_t max)
{
    size_t n = 0;
    uint32_t direct = 0;
    for (uint32_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        if (g->kind == GATEWAY_DIRECT) {
            direct = i;
            continue;
        }
        if (n == max)
            break;
        // Insertion by priority; equal ones stay in the order of the file.
        size_t at = n++;
        while (at > 0 && conf->gateways[out[at - 1]].priority > g->priority) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = i;
    }
    if (n == 0 && max > 0)
        out[n++] = direct;
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1;
             end < n && conf->gateways[out[end]].priority == conf->gateways[out[first]].priority;
             end++)
            ;
        share_by_weight(conf, out, first, end, share);
    }
    return n;
}

void plan_chain(const struct plan_input *in, struct plan_chain *c)
{
    c->route = plan_route(in);
    if (c->route >= 0) {
        const struct conf_route *r = &in->conf->routes[c->route];
        c->count = r->via_count < PLAN_CHAIN ? r->via_count : PLAN_CHAIN;
        memcpy(c->steps, r->via, c->count * sizeof(c->steps[0]));
        memset(c->rank, RANK_ROUTE, sizeof(c->rank));
    } else {
        uint32_t gateways[PLAN_CHAIN];
        c->count = default_chain(in->conf, in->share, gateways, PLAN_CHAIN);
        for (size_t i = 0; i < c->count; i++)
            c->steps[i] = (struct conf_step){.gateway = gateways[i]};
        memset(c->rank, RANK_PRIORITY, sizeof(c->rank));
    }
    for (size_t i = 0; i < c->count; i++)
        if (c->steps[i].on == 0)
            c->steps[i].on = plan_default_on();
}

const char *plan_state_name(enum plan_state state)
{
    static const char *const names[STEP_STATES] = {
        [STEP_OPEN] = "open",        [STEP_DISABLED] = "disabled", [STEP_NETWORK] = "network",
        [STEP_OFFLINE] = "offline",  [STEP_SENDER] = "sender",     [STEP_SIZE] = "size",
        [STEP_QUOTA] = "quota",      [STEP_RESTS] = "rests",       [STEP_EARLY_TRIES] = "early",
        [STEP_EARLY_TIME] = "early", [STEP_CLASS] = "class",       [STEP_HOURS] = "hours"};
    return names[state];
}

enum plan_state plan_step_state(const struct plan_input *in, const struct conf_step *step,
                                int64_t *until_ms)
{
    const struct conf_gateway *g = &in->conf->gateways[step->gateway];
    int64_t rest = in->gateways != NULL ? in->gateways[step->gateway].rest_until_ms : 0;
    if (g->kind == GATEWAY_DIRECT && in->direct_rest_ms > rest)
        rest = in->direct_rest_ms;
    if (!g->enabled)
        return STEP_DISABLED;
    if (in->tries < step->after_tries)
        return STEP_EARLY_TRIES;
    if (in->age_ms < step->after_ms) {
        *until_ms = in->now_ms + (step->after_ms - in->age_ms);
        return STEP_EARLY_TIME;
    }
    if (rest > in->now_ms) {
        *until_ms = rest;
        return STEP_RESTS;
    }
    return STEP_OPEN;
}

struct plan plan_next(const struct plan_input *in)
{
    struct plan_chain c;
    plan_chain(in, &c);
    struct plan wait = {
        .kind = PLAN_NONE, .route = c.route, .until_ms = INT64_MAX, .age_ms = INT64_MAX};
    bool tried = in->from_step > 0;
    for (size_t i = in->from_step; i < c.count; i++) {
        struct conf_step step = c.steps[i];
        // Only the step right behind the failed one asks for its class: what follows a resting
        // gateway inherits it.
        if (tried && (step.on >> in->last_class & 1) == 0)
            continue;
        int64_t until = INT64_MAX;
        enum plan_state state = plan_step_state(in, &step, &until);
        if (state == STEP_OPEN)
            return (struct plan){.kind = PLAN_GO,
                                 .gateway = step.gateway,
                                 .step = (unsigned)i + 1,
                                 .route = c.route};
        if (state != STEP_RESTS && state != STEP_EARLY_TIME)
            continue;
        // The first that rests is waited for; for age only when none does.
        bool rests = state == STEP_RESTS;
        if (wait.kind != PLAN_WAIT || (rests && !wait.rests)) {
            wait.kind = PLAN_WAIT;
            wait.gateway = step.gateway;
            wait.step = (unsigned)i + 1;
            wait.rests = rests;
        }
        if (until < wait.until_ms)
            wait.until_ms = until;
        if (!rests && until < wait.age_ms)
            wait.age_ms = until;
    }
    if (tried)
        wait.kind = PLAN_END;
    return wait;
}
