// SPDX-License-Identifier: ISC
// The decision in words and as JSON.
#include "route/explain.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "route/reason.h"
#include "route/table.h"

enum { WORDS_BYTES = 64 * 1024 };

static const char *gateway_name(const struct plan_input *in, uint32_t gateway)
{
    return in->conf->gateways[gateway].name;
}

static bool is_picked(const struct plan_input *in)
{
    return in->place != NULL && in->place->picked < in->conf->gateway_count;
}

// ---- The place ----

static void say_place(const struct plan_input *in, struct buf *out)
{
    const struct plan_place *p = in->place;
    if (p != NULL && p->offline)
        buf_puts(out, "offline");
    else if (p != NULL && p->networks != 0) {
        buf_puts(out, "on network ");
        plan_networks(in->conf, p->networks, out);
    } else
        buf_puts(out, "on no named network");
    if (p != NULL && p->captive)
        buf_puts(out, ", behind a captive portal");
    if (p != NULL && p->metered)
        buf_puts(out, ", metered");
    if (is_picked(in))
        buf_printf(out, ", picked by hand: %s", gateway_name(in, p->picked));
}

static void place_json(const struct plan_input *in, struct json *j)
{
    static const struct plan_place nowhere = {.picked = UINT32_MAX};
    const struct plan_place *p = in->place != NULL ? in->place : &nowhere;
    json_open(j, "place");
    json_open_array(j, "networks");
    for (size_t i = 0; i < in->conf->network_count; i++)
        if ((p->networks >> i & 1) != 0)
            json_text(j, NULL, in->conf->networks[i].name);
    json_close_array(j);
    json_bool(j, "offline", p->offline);
    json_bool(j, "captive", p->captive);
    json_bool(j, "metered", p->metered);
    json_text(j, "picked", is_picked(in) ? gateway_name(in, p->picked) : NULL);
    json_close(j);
}

// ---- Rules ----

static bool was_kept(const struct plan_input *in, const char *name)
{
    for (size_t i = 0; i < in->envelope->header_count; i++)
        if (str_eq(in->envelope->headers[i].name, str_of(name)))
            return true;
    return false;
}

// What a miss alone does not say.
static void say_miss(const struct plan_input *in, const struct conf_route *r, const char *miss,
                     struct buf *out)
{
    buf_puts(out, miss);
    if (str_eq(str_of(miss), STR("header"))) {
        const char *sep = "; not kept from this message: ";
        for (size_t i = 0; i < r->header_count; i++)
            if (!was_kept(in, r->header[i].name)) {
                buf_printf(out, "%s%s", sep, r->header[i].name);
                sep = ", ";
            }
    }
    if (str_eq(str_of(miss), STR("mx")) && in->mx == NULL)
        buf_puts(out, in->mx_failed ? "; not to be found out" : "; not known yet");
}

static void explain_rule(const struct plan_input *in, size_t i, struct buf *out)
{
    const struct conf_route *r = &in->conf->routes[i];
    buf_printf(out, "  route %zu", i + 1);
    if (r->name != NULL)
        buf_printf(out, " %s", r->name);
    buf_printf(out, " (line %u): ", r->line);
    route_conditions(in->conf, r, out);
    const char *miss = plan_route_miss(in, r);
    if (miss == NULL) {
        buf_puts(out, "  YES\n");
        return;
    }
    buf_puts(out, "  no (");
    say_miss(in, r, miss, out);
    buf_puts(out, ")\n");
}

// The rules that were looked at: those behind the one that decides are not.
static size_t rules_asked(const struct plan_input *in, int route)
{
    if (route >= 0)
        return (size_t)route + 1;
    for (size_t i = 0; route == ROUTE_NEEDS_MX && i < in->conf->route_count; i++) {
        const char *miss = plan_route_miss(in, &in->conf->routes[i]);
        if (miss != NULL && str_eq(str_of(miss), STR("mx")))
            return i + 1;
    }
    return in->conf->route_count;
}

static void rule_json(struct json *j, const struct plan_input *in, size_t number)
{
    const struct conf_route *r = &in->conf->routes[number];
    const char *miss = plan_route_miss(in, r);
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    json_open(j, NULL);
    json_int(j, "rule", (int64_t)number + 1);
    json_text(j, "name", r->name);
    json_int(j, "line", r->line);
    route_conditions(in->conf, r, &words);
    json_str(j, "conditions", buf_str(&words));
    json_bool(j, "taken", miss == NULL);
    json_text(j, "reason", miss);
    json_close(j);
    buf_free(&words);
}

// ---- Steps ----

static void say_detour(const struct plan_input *in, const struct plan_detour *d, struct buf *out)
{
    char span[TIME_TEXT];
    buf_printf(out, "detour: %s goes via %s ", d->provider, gateway_name(in, d->gateway));
    if (d->until_ms > 0)
        buf_printf(out, "for %s", time_span(d->until_ms - in->now_ms, span));
    else
        buf_puts(out, "until it is taken back");
}

static void say_class(const struct plan_input *in, const struct plan_chain *c, size_t i,
                      struct buf *out)
{
    if (i < in->from_step) {
        buf_puts(out, "has been passed in this round");
        return;
    }
    buf_printf(out, "%s does not lead here (on ", outcome_class_name(in->last_class));
    route_classes(c->steps[i].on, out);
    buf_putc(out, ')');
}

static bool server_refuses(const struct plan_input *in, uint32_t gateway)
{
    uint64_t most = in->gateways != NULL ? in->gateways[gateway].server_size : 0;
    return most > 0 && in->size > most;
}

// Its place in the chain, and what its server is known to take.
static void say_open(const struct plan_input *in, const struct plan_chain *c, size_t i,
                     struct buf *out)
{
    buf_puts(out, "open");
    if (c->rank[i] == RANK_DETOUR) {
        buf_puts(out, " (");
        say_detour(in, c->detour, out);
        buf_putc(out, ')');
    } else if (c->rank[i] != RANK_ROUTE) {
        buf_printf(out, " (%s)", plan_rank_name(c->rank[i]));
    }
    if (server_refuses(in, c->steps[i].gateway))
        buf_printf(out, ", but its server says it takes %llu octets at most, this is %llu",
                   (unsigned long long)in->gateways[c->steps[i].gateway].server_size,
                   (unsigned long long)in->size);
}

static void say_reason(const struct plan_input *in, const struct plan_chain *c, size_t i,
                       enum plan_state state, struct buf *out)
{
    if (state == STEP_OPEN)
        say_open(in, c, i, out);
    else if (state == STEP_CLASS)
        say_class(in, c, i, out);
    else
        reason_state(in, c->steps[i].gateway, &c->steps[i], state, out);
}

static void say_step(const struct plan_input *in, const struct plan_chain *c, size_t i,
                     enum plan_state state, int64_t until, struct buf *out)
{
    static const char *const words[STEP_STATES] = {
        [STEP_DISABLED] = "no: ",        [STEP_NETWORK] = "no: ", [STEP_HOURS] = "no: ",
        [STEP_OFFLINE] = "no: ",         [STEP_SENDER] = "no: ",  [STEP_SIZE] = "no: ",
        [STEP_QUOTA] = "no: ",           [STEP_RESTS] = "no: ",   [STEP_EARLY_TRIES] = "not yet: ",
        [STEP_EARLY_TIME] = "not yet: ", [STEP_CLASS] = "no: "};
    if (words[state] != NULL)
        buf_puts(out, words[state]);
    say_reason(in, c, i, state, out);
    if (until != INT64_MAX || state == STEP_RESTS)
        reason_until(in, state, until, out);
}

// Why a gateway is not in the chain; NULL: it is.
static const char *left_out(const struct plan_input *in, const struct plan_chain *c,
                            uint32_t gateway)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->steps[i].gateway == gateway)
            return NULL;
    const struct conf_choice *choice = &in->conf->choice;
    if (c->route >= 0)
        return "not named in this route";
    if (in->conf->gateways[gateway].kind == GATEWAY_DIRECT)
        return "direct delivery is not used beside gateways unless a route names it";
    if (conf_gateway_is_local(&in->conf->gateways[gateway]))
        return "it takes only the mail that a route sends there";
    if (!choice->automatic)
        return is_picked(in) ? "another one is picked by hand (choice.automatic: false)"
                             : "only what is picked by hand, and the fallback (choice.automatic: "
                               "false)";
    return choice->fallback == FALLBACK_NONE ? "nothing ties it to this network (choice.fallback)"
                                             : "not the fallback (choice.fallback)";
}

static void step_json(struct json *j, const struct plan_input *in, const struct plan_chain *c,
                      size_t i)
{
    const struct conf_step *step = &c->steps[i];
    int64_t until;
    enum plan_state state = plan_chain_state(in, c, i, &until);
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    say_step(in, c, i, state, until, &words);
    json_open(j, NULL);
    json_text(j, "gateway", gateway_name(in, step->gateway));
    json_text(j, "state", plan_state_name(state));
    json_str(j, "reason", buf_str(&words));
    json_text(j, "rank", plan_rank_name(c->rank[i]));
    json_int(j, "until_ms", until == INT64_MAX ? 0 : until);
    json_int(j, "after_tries", step->after_tries);
    json_open_array(j, "on");
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        if ((step->on >> class & 1) != 0)
            json_text(j, NULL, outcome_class_name((enum outcome_class) class));
    json_close_array(j);
    json_close(j);
    buf_free(&words);
}

// ---- What follows ----

// "company: its quota is used up for 2 h 05 min": in the words of the step.
static void say_waited(const struct plan_input *in, const struct plan_chain *c, unsigned step,
                       struct buf *out)
{
    int64_t until;
    enum plan_state state = plan_chain_state(in, c, step - 1, &until);
    buf_printf(out, "%s: ", gateway_name(in, c->steps[step - 1].gateway));
    say_reason(in, c, step - 1, state, out);
    reason_until(in, state, until, out);
}

// Mail waits for the first choice that can be waited for, and takes another that opens sooner.
static void say_wait(const struct plan_input *in, const struct plan_chain *c, const struct plan *p,
                     struct buf *out)
{
    int64_t until;
    buf_puts(out, "waits for ");
    say_waited(in, c, p->step, out);
    if (!p->rests && plan_chain_state(in, c, p->step - 1, &until) != STEP_EARLY_TIME) {
        buf_puts(out, ", and the mail is too young for it");
        reason_until(in, STEP_EARLY_TIME, p->until_ms, out);
    } else if (p->sooner > 0) {
        buf_puts(out, "; or sooner for ");
        say_waited(in, c, p->sooner, out);
    }
}

static void say_decision(const struct plan_input *in, const struct plan_chain *c,
                         const struct plan *p, const char *assumed, struct buf *out)
{
    char span[TIME_TEXT];
    switch (p->kind) {
    case PLAN_GO:
        buf_printf(out, "goes through %s %s", gateway_name(in, p->gateway),
                   assumed != NULL ? "then" : "now");
        if (server_refuses(in, p->gateway))
            buf_puts(out, ", which will hardly take it for its size; then the next way is tried");
        if (p->parallel_ms > 0)
            buf_printf(out, ", and the next way beside it after %s",
                       time_span(p->parallel_ms, span));
        break;
    case PLAN_WAIT: say_wait(in, c, p, out); break;
    case PLAN_END:
        buf_puts(out, "the ways of this round are used up; the next round begins at the first");
        break;
    case PLAN_NONE:
        buf_puts(out, c->count == 0 ? "no way: no gateway may be used here"
                                    : "no way: no gateway of the chain can carry it");
        break;
    case PLAN_MX: buf_puts(out, "first the mail exchangers of its domain are looked up"); break;
    }
}

void explain_text(const struct plan_input *in, const char *assumed, struct buf *out)
{
    struct plan_chain c;
    plan_chain(in, &c);
    struct plan p = plan_next(in);
    utf8_escape(out, in->envelope->sender);
    buf_puts(out, " -> ");
    utf8_escape(out, in->rcpt);
    if (assumed != NULL)
        buf_printf(out, "\n  assumed: %s", assumed);
    buf_puts(out, "\n  here: ");
    say_place(in, out);
    buf_putc(out, '\n');
    for (size_t i = 0, n = rules_asked(in, c.route); i < n; i++)
        explain_rule(in, i, out);
    if (c.route == ROUTE_DEFAULT)
        buf_puts(out, "  no route matches: the gateways in order of choice\n");
    for (size_t i = 0; i < c.count; i++) {
        int64_t until;
        enum plan_state state = plan_chain_state(in, &c, i, &until);
        buf_printf(out, "  %zu. %-12s ", i + 1, gateway_name(in, c.steps[i].gateway));
        say_step(in, &c, i, state, until, out);
        buf_putc(out, '\n');
    }
    for (uint32_t i = 0; c.route != ROUTE_NEEDS_MX && i < in->conf->gateway_count; i++) {
        const char *why = left_out(in, &c, i);
        if (why != NULL)
            buf_printf(out, "  -  %-12s %s\n", gateway_name(in, i), why);
    }
    buf_puts(out, "  so: ");
    say_decision(in, &c, &p, assumed, out);
    buf_putc(out, '\n');
}

static void decision_json(const struct plan_input *in, const struct plan_chain *c,
                          const char *assumed, struct json *j)
{
    static const char *const kinds[] = {[PLAN_GO] = "go",
                                        [PLAN_WAIT] = "wait",
                                        [PLAN_END] = "end",
                                        [PLAN_NONE] = "none",
                                        [PLAN_MX] = "mx"};
    struct plan p = plan_next(in);
    bool known = p.kind == PLAN_GO || p.kind == PLAN_WAIT;
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    say_decision(in, c, &p, assumed, &words);
    json_open(j, "decision");
    json_text(j, "kind", kinds[p.kind]);
    json_text(j, "gateway", known ? gateway_name(in, p.gateway) : NULL);
    json_int(j, "step", p.step);
    json_text(j, "state", known ? plan_state_name(p.state) : NULL);
    json_int(j, "until_ms", p.until_ms == INT64_MAX ? 0 : p.until_ms);
    json_int(j, "parallel_ms", p.parallel_ms);
    json_str(j, "text", buf_str(&words));
    json_close(j);
    buf_free(&words);
}

void explain_json(const struct plan_input *in, const char *assumed, struct json *j)
{
    struct plan_chain c;
    plan_chain(in, &c);
    json_open(j, NULL);
    json_str(j, "sender", in->envelope->sender);
    json_str(j, "recipient", in->rcpt);
    json_text(j, "assumed", assumed);
    place_json(in, j);
    json_open_array(j, "rules");
    for (size_t i = 0, n = rules_asked(in, c.route); i < n; i++)
        rule_json(j, in, i);
    json_close_array(j);
    json_open_array(j, "steps");
    for (size_t i = 0; i < c.count; i++)
        step_json(j, in, &c, i);
    json_close_array(j);
    json_open_array(j, "left_out");
    for (uint32_t i = 0; c.route != ROUTE_NEEDS_MX && i < in->conf->gateway_count; i++) {
        const char *why = left_out(in, &c, i);
        if (why == NULL)
            continue;
        json_open(j, NULL);
        json_text(j, "gateway", gateway_name(in, i));
        json_text(j, "reason", why);
        json_close(j);
    }
    json_close_array(j);
    decision_json(in, &c, assumed, j);
    json_close(j);
}

// ---- One sentence ----

// Why a step before the one taken was passed by.
static void say_passed(const struct plan_input *in, const struct plan_chain *c, size_t i,
                       struct buf *out)
{
    int64_t until;
    enum plan_state state = plan_chain_state(in, c, i, &until);
    buf_printf(out, "%s (", gateway_name(in, c->steps[i].gateway));
    if (state == STEP_CLASS && i < in->from_step)
        buf_puts(out, "tried");
    else
        reason_state(in, c->steps[i].gateway, &c->steps[i], state, out);
    if (until != INT64_MAX)
        reason_until(in, state, until, out);
    buf_putc(out, ')');
}

void explain_choice(const struct plan_input *in, const struct plan *plan, struct buf *out)
{
    struct plan_chain c;
    plan_chain(in, &c);
    size_t at = plan->step > 0 ? plan->step - 1 : 0;
    if (at >= c.count)
        return;
    if (c.rank[at] == RANK_DETOUR)
        say_detour(in, c.detour, out);
    else if (c.rank[at] == RANK_PICKED || c.route < 0)
        buf_puts(out, plan_rank_name(c.rank[at]));
    else
        buf_printf(out, "route %d", c.route + 1);
    if (c.route >= 0 && c.rank[at] == RANK_ROUTE) {
        if (in->conf->routes[c.route].name != NULL)
            buf_printf(out, " (%s)", in->conf->routes[c.route].name);
        buf_printf(out, ", step %zu", at + 1);
    }
    for (size_t i = 0; i < at; i++) {
        buf_puts(out, i == 0 ? ", after " : ", ");
        say_passed(in, &c, i, out);
    }
}
