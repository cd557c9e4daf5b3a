// SPDX-License-Identifier: ISC
// The words of the plan's states.
#include "route/reason.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "route/judge.h"

enum { SENDERS_SAID = 3 };

// Which mail it carries says more than that this one is not among it.
static void say_senders(const struct conf_gateway *g, struct buf *out)
{
    buf_puts(out, "only for mail from ");
    for (size_t i = 0; i < g->sender_count && i < SENDERS_SAID; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", g->senders[i]);
    if (g->sender_count > SENDERS_SAID)
        buf_printf(out, " and %zu more", g->sender_count - SENDERS_SAID);
}

static void say_rest(const struct plan_input *in, uint32_t gateway, struct buf *out)
{
    const struct plan_gateway *g = in->gateways != NULL ? &in->gateways[gateway] : NULL;
    if (g == NULL || g->rest_until_ms <= in->now_ms) {
        buf_puts(out, "the recipient's servers rest after trouble");
        return;
    }
    buf_puts(out, "rests after trouble");
    if (g->rest_class != OUTCOME_OK)
        buf_printf(out, " (%s)", judge_reason(&(struct outcome){.class = g->rest_class}));
}

void reason_state(const struct plan_input *in, uint32_t gateway, const struct conf_step *step,
                  enum plan_state state, struct buf *out)
{
    const struct conf_gateway *g = &in->conf->gateways[gateway];
    switch (state) {
    case STEP_OPEN: buf_puts(out, "open"); break;
    case STEP_DISABLED: buf_puts(out, "disabled in the configuration"); break;
    case STEP_NETWORK:
        buf_puts(out, "not on network ");
        plan_networks(in->conf, g->networks, out);
        break;
    case STEP_HOURS: buf_puts(out, "outside its hours"); break;
    case STEP_OFFLINE:
        buf_puts(out, in->place->offline ? "this machine is offline" : "behind a captive portal");
        break;
    case STEP_SENDER: say_senders(g, out); break;
    case STEP_SIZE:
        buf_printf(out, "takes %llu octets at most, this is %llu",
                   (unsigned long long)g->message_size, (unsigned long long)in->size);
        break;
    case STEP_QUOTA: buf_puts(out, "its quota is used up"); break;
    case STEP_RESTS: say_rest(in, gateway, out); break;
    case STEP_EARLY_TRIES:
        buf_printf(out, "only after %u attempts (%u so far)", step != NULL ? step->after_tries : 0,
                   in->tries);
        break;
    case STEP_EARLY_TIME: buf_puts(out, "the mail is too young"); break;
    case STEP_CLASS: buf_puts(out, "not for this trouble"); break;
    case STEP_STATES: break;
    }
}

void reason_until(const struct plan_input *in, enum plan_state state, int64_t until_ms,
                  struct buf *out)
{
    char span[TIME_TEXT];
    if (until_ms != INT64_MAX)
        buf_printf(out, state == STEP_EARLY_TIME ? " for another %s" : " for %s",
                   time_span(until_ms - in->now_ms, span));
    else if (state == STEP_RESTS)
        buf_puts(out, " until it is found well");
    else if (state == STEP_NETWORK || state == STEP_OFFLINE)
        buf_puts(out, " until the network changes");
}

bool reason_gateway(const struct plan_input *in, uint32_t gateway, struct buf *out)
{
    struct conf_step step = {.gateway = gateway};
    int64_t until_ms;
    enum plan_state state = plan_step_state(in, &step, &until_ms);
    if (state == STEP_OPEN)
        return true;
    reason_state(in, gateway, &step, state, out);
    if (until_ms != INT64_MAX)
        reason_until(in, state, until_ms, out);
    return false;
}

static void say_waited(const struct plan_input *in, const struct plan_chain *c, unsigned step,
                       struct buf *out)
{
    int64_t until_ms;
    const struct conf_step *s = &c->steps[step - 1];
    buf_printf(out, "for %s: ", in->conf->gateways[s->gateway].name);
    reason_state(in, s->gateway, s, plan_chain_state(in, c, step - 1, &until_ms), out);
}

void reason_wait(const struct plan_input *in, const struct plan *plan, struct buf *out)
{
    struct plan_chain c;
    switch (plan->kind) {
    case PLAN_WAIT:
        plan_chain(in, &c);
        say_waited(in, &c, plan->step, out);
        if (plan->sooner > 0) {
            buf_puts(out, "; or sooner ");
            say_waited(in, &c, plan->sooner, out);
        }
        break;
    case PLAN_END: buf_puts(out, "for the next round"); break;
    case PLAN_NONE: buf_puts(out, "until a gateway may carry it"); break;
    case PLAN_GO:
    case PLAN_MX: break;
    }
}
