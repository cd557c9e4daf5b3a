// SPDX-License-Identifier: ISC
// Which way next?
//
// A chain is walked from its first step in every round; within a round a step follows when the
// trouble of the one before is in its `on` set, or when the one before rests or is disabled (then
// nothing was tried, so there is no class to ask for). A round ends when the chain is used up; the
// retry clock starts the next.
#include "route/plan.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/timefmt.h"

enum { MAX_CHAIN = 64 };

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

int plan_route(const struct conf *conf, struct str sender, struct str rcpt)
{
    for (size_t i = 0; i < conf->route_count; i++) {
        const struct conf_route *r = &conf->routes[i];
        if (any_glob(r->to, r->to_count, rcpt) && any_glob(r->from, r->from_count, sender))
            return (int)i;
    }
    return -1;
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

size_t plan_default_chain(const struct conf *conf, uint64_t share, uint32_t *out, size_t max)
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

// The chain as steps, whichever way it was configured.
struct chain {
    int route;
    size_t count;
    const struct conf_step *steps; // of a route, or
    uint32_t gateways[MAX_CHAIN];  // of the default chain
};

static void find_chain(const struct plan_input *in, struct chain *c)
{
    c->route = plan_route(in->conf, in->sender, in->rcpt);
    if (c->route >= 0) {
        c->steps = in->conf->routes[c->route].via;
        c->count = in->conf->routes[c->route].via_count;
    } else {
        c->steps = NULL;
        c->count = plan_default_chain(in->conf, in->share, c->gateways, MAX_CHAIN);
    }
}

static struct conf_step step_of(const struct chain *c, size_t i)
{
    struct conf_step step =
        c->steps != NULL ? c->steps[i] : (struct conf_step){.gateway = c->gateways[i]};
    if (step.on == 0)
        step.on = plan_default_on();
    return step;
}

enum step_state { STEP_OPEN, STEP_DISABLED, STEP_RESTS, STEP_EARLY_TRIES, STEP_EARLY_TIME };

static enum step_state state_of(const struct plan_input *in, const struct conf_step *step,
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
    struct chain c;
    find_chain(in, &c);
    struct plan wait = {
        .kind = PLAN_NONE, .route = c.route, .until_ms = INT64_MAX, .age_ms = INT64_MAX};
    bool tried = in->from_step > 0;
    for (size_t i = in->from_step; i < c.count; i++) {
        struct conf_step step = step_of(&c, i);
        // Only the step right behind the failed one asks for its class: what follows a resting
        // gateway inherits it.
        if (tried && (step.on >> in->last_class & 1) == 0)
            continue;
        int64_t until = INT64_MAX;
        enum step_state state = state_of(in, &step, &until);
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

static void explain_globs(struct buf *out, const char *word, const char *const *globs, size_t count)
{
    if (count == 0)
        return;
    buf_printf(out, " %s", word);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i > 0 ? "," : " ", globs[i]);
}

void plan_explain(const struct plan_input *in, struct buf *out)
{
    for (size_t i = 0; i < in->conf->route_count; i++) {
        const struct conf_route *r = &in->conf->routes[i];
        buf_printf(out, "  route %zu (line %u):", i + 1, r->line);
        explain_globs(out, "to", r->to, r->to_count);
        explain_globs(out, "from", r->from, r->from_count);
        bool to = any_glob(r->to, r->to_count, in->rcpt),
             from = any_glob(r->from, r->from_count, in->sender);
        buf_printf(out, "  %s\n", to && from ? "YES" : !to ? "no (recipient)" : "no (sender)");
        if (to && from)
            break;
    }
    struct chain c;
    find_chain(in, &c);
    if (c.route < 0)
        buf_puts(out, "  no route matches: all enabled gateways by priority\n");
    for (size_t i = 0; i < c.count; i++) {
        struct conf_step step = step_of(&c, i);
        int64_t until = 0;
        char span[TIME_TEXT];
        buf_printf(out, "  %zu. %-12s ", i + 1, in->conf->gateways[step.gateway].name);
        switch (state_of(in, &step, &until)) {
        case STEP_OPEN: buf_puts(out, "open\n"); break;
        case STEP_DISABLED: buf_puts(out, "no: disabled in the configuration\n"); break;
        case STEP_EARLY_TRIES:
            buf_printf(out, "not yet: only after %u attempts (%u so far)\n", step.after_tries,
                       in->tries);
            break;
        case STEP_EARLY_TIME:
            buf_printf(out, "not yet: in %s\n", time_span(until - in->now_ms, span));
            break;
        case STEP_RESTS:
            if (until == INT64_MAX)
                buf_puts(out, "is being tried by another message after trouble\n");
            else
                buf_printf(out, "rests for %s after trouble\n",
                           time_span(until - in->now_ms, span));
            break;
        }
    }
}

static void rule_json(struct json *j, const struct plan_input *in, size_t number)
{
    const struct conf_route *r = &in->conf->routes[number];
    bool to = any_glob(r->to, r->to_count, in->rcpt),
         from = any_glob(r->from, r->from_count, in->sender);
    json_open(j, NULL);
    json_int(j, "rule", (int64_t)number + 1);
    json_int(j, "line", r->line);
    json_bool(j, "taken", to && from);
    json_text(j, "reason", to && from ? NULL : !to ? "recipient" : "sender");
    json_close(j);
}

static void step_json(struct json *j, const struct plan_input *in, const struct conf_step *step)
{
    static const char *const states[] = {[STEP_OPEN] = "open",
                                         [STEP_DISABLED] = "disabled",
                                         [STEP_RESTS] = "rests",
                                         [STEP_EARLY_TRIES] = "early",
                                         [STEP_EARLY_TIME] = "early"};
    int64_t until = 0;
    enum step_state state = state_of(in, step, &until);
    json_open(j, NULL);
    json_text(j, "gateway", in->conf->gateways[step->gateway].name);
    json_text(j, "state", states[state]);
    json_int(j, "until_ms", until == INT64_MAX ? 0 : until);
    json_int(j, "after_tries", step->after_tries);
    json_open_array(j, "on");
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        if ((step->on >> class & 1) != 0)
            json_text(j, NULL, outcome_class_name((enum outcome_class) class));
    json_close_array(j);
    json_close(j);
}

void plan_explain_json(const struct plan_input *in, struct json *j)
{
    struct chain c;
    find_chain(in, &c);
    json_open(j, NULL);
    json_str(j, "sender", in->sender);
    json_str(j, "recipient", in->rcpt);
    json_open_array(j, "rules");
    // Those behind the one that is taken are not looked at.
    for (size_t i = 0; i < in->conf->route_count && (c.route < 0 || i <= (size_t)c.route); i++)
        rule_json(j, in, i);
    json_close_array(j);
    json_open_array(j, "steps");
    for (size_t i = 0; i < c.count; i++) {
        struct conf_step step = step_of(&c, i);
        step_json(j, in, &step);
    }
    json_close_array(j);
    json_close(j);
}
