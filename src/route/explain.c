// SPDX-License-Identifier: ISC
// The decision in words and as JSON.
#include "route/explain.h"
#include "base/timefmt.h"

static void explain_globs(struct buf *out, const char *word, const char *const *globs, size_t count)
{
    if (count == 0)
        return;
    buf_printf(out, " %s", word);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i > 0 ? "," : " ", globs[i]);
}

void explain_text(const struct plan_input *in, struct buf *out)
{
    buf_printf(out, "%.*s -> %.*s\n", STR_FMT(in->envelope->sender), STR_FMT(in->rcpt));
    for (size_t i = 0; i < in->conf->route_count; i++) {
        const struct conf_route *r = &in->conf->routes[i];
        buf_printf(out, "  route %zu (line %u):", i + 1, r->line);
        explain_globs(out, "to", r->to, r->to_count);
        explain_globs(out, "from", r->from, r->from_count);
        const char *miss = plan_route_miss(in, r);
        buf_printf(out, miss == NULL ? "  YES\n" : "  no (%s)\n", miss);
        if (miss == NULL)
            break;
    }
    struct plan_chain c;
    plan_chain(in, &c);
    if (c.route < 0)
        buf_puts(out, "  no route matches: all enabled gateways by priority\n");
    for (size_t i = 0; i < c.count; i++) {
        struct conf_step step = c.steps[i];
        int64_t until = 0;
        char span[TIME_TEXT];
        buf_printf(out, "  %zu. %-12s ", i + 1, in->conf->gateways[step.gateway].name);
        enum plan_state state = plan_step_state(in, &step, &until);
        switch (state) {
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
        default: buf_printf(out, "no: %s\n", plan_state_name(state)); break;
        }
    }
}

static void rule_json(struct json *j, const struct plan_input *in, size_t number)
{
    const struct conf_route *r = &in->conf->routes[number];
    const char *miss = plan_route_miss(in, r);
    json_open(j, NULL);
    json_int(j, "rule", (int64_t)number + 1);
    json_int(j, "line", r->line);
    json_bool(j, "taken", miss == NULL);
    json_text(j, "reason", miss);
    json_close(j);
}

static void step_json(struct json *j, const struct plan_input *in, const struct conf_step *step)
{
    int64_t until = 0;
    enum plan_state state = plan_step_state(in, step, &until);
    json_open(j, NULL);
    json_text(j, "gateway", in->conf->gateways[step->gateway].name);
    json_text(j, "state", plan_state_name(state));
    json_int(j, "until_ms", until == INT64_MAX ? 0 : until);
    json_int(j, "after_tries", step->after_tries);
    json_open_array(j, "on");
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        if ((step->on >> class & 1) != 0)
            json_text(j, NULL, outcome_class_name((enum outcome_class) class));
    json_close_array(j);
    json_close(j);
}

void explain_json(const struct plan_input *in, struct json *j)
{
    struct plan_chain c;
    plan_chain(in, &c);
    json_open(j, NULL);
    json_str(j, "sender", in->envelope->sender);
    json_str(j, "recipient", in->rcpt);
    json_open_array(j, "rules");
    // Those behind the one that is taken are not looked at.
    for (size_t i = 0; i < in->conf->route_count && (c.route < 0 || i <= (size_t)c.route); i++)
        rule_json(j, in, i);
    json_close_array(j);
    json_open_array(j, "steps");
    for (size_t i = 0; i < c.count; i++) {
        struct conf_step step = c.steps[i];
        step_json(j, in, &step);
    }
    json_close_array(j);
    json_close(j);
}
