// SPDX-License-Identifier: ISC
// gateway list, show, next, use, auto, forget: the ways out, and the choice by hand.
#include "base/mem.h"
#include "base/timefmt.h"
#include "conf/price.h"
#include "conf/schema.h"
#include "control/gateway.h"
#include "control/words.h"
#include "sys/clock.h"
#include "watch/watch.h"

#include <stdio.h>

// NULL after it was said that there is none of this name.
const struct conf_gateway *control_gateway(struct reply *r, const char *name)
{
    const struct conf *conf = r->control->conf;
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(name));
    struct conf_nearest near = {0};
    if (g != NULL)
        return g;
    for (size_t i = 0; i < conf->gateway_count; i++)
        conf_nearest_offer(&near, str_of(name), conf->gateways[i].name);
    if (near.word != NULL)
        reply_error(r, "waypost: there is no gateway `%s`; did you mean `%s`?", name, near.word);
    else
        reply_error(r, "waypost: there is no gateway `%s`; see `waypost gateway list`", name);
    reply_end(r, EX_USAGE);
    return NULL;
}

// ---- list ----

void cmd_gateway_list(struct reply *r)
{
    struct gateways g;
    gateways_look(r, &g);
    if (r->json) {
        gateways_send_json(r, &g);
    } else {
        gateways_table(r, &g);
        if (g.active == NULL)
            reply_line(r, "no way out now: %s", g.why);
    }
    reply_end(r, 0);
}

// ---- show ----

static void head(struct reply *r, const struct conf_gateway *g)
{
    static const char *const tls[] = {"no TLS", "TLS when offered", "TLS required",
                                      "TLS from the first byte"};
    if (g->kind == GATEWAY_DIRECT) {
        reply_line(r, "%s  to the recipients' mail exchangers, port %u", g->name, g->direct_port);
        return;
    }
    if (conf_gateway_is_local(g)) {
        reply_line(r, "%s  %s %s%s%s", g->name, g->kind == GATEWAY_MAILDIR ? "maildir" : "program",
                   g->path, g->run_as != NULL ? ", run as " : "",
                   g->run_as != NULL ? g->run_as : "");
        return;
    }
    char port[16] = "";
    if (g->unix_path == NULL)
        snprintf(port, sizeof(port), ":%u", g->port);
    reply_line(r, "%s  %s%s%s, %s%s%s%s", g->name, g->kind == GATEWAY_LMTP ? "LMTP " : "",
               conf_gateway_place(g), port, tls[g->tls],
               g->verify && g->tls != TLS_OFF ? ", certificate verified" : "",
               g->user != NULL ? ", login " : "", g->user != NULL ? g->user : "");
}

static void networks_line(struct reply *r, const struct conf_gateway *g)
{
    const struct conf *conf = r->control->conf;
    const struct watch_snapshot *where = queue_where(r->control->parts.queue);
    uint64_t holding = where != NULL ? where->holding : 0;
    struct buf line;
    buf_init(&line, LIMIT_LOG_LINE);
    for (size_t i = 0; i < conf->network_count; i++)
        if (g->networks >> i & 1)
            buf_printf(&line, "%s%s (%s)", line.len > 0 ? ", " : "", conf->networks[i].name,
                       holding >> i & 1 ? "here" : "not here");
    if (line.len > 0)
        reply_line(r, "  networks   %s", buf_cstr(&line));
    buf_free(&line);
}

static void senders_line(struct reply *r, const struct conf_gateway *g)
{
    struct buf line;
    buf_init(&line, LIMIT_LOG_LINE);
    for (size_t i = 0; i < g->sender_count; i++)
        buf_printf(&line, "%s%s", i > 0 ? ", " : "", g->senders[i]);
    if (line.len > 0)
        reply_line(r, "  senders    only %s", buf_cstr(&line));
    buf_free(&line);
}

static void bounds_line(struct reply *r, const struct conf_gateway *g,
                        const struct queue_gateway_view *v)
{
    char text[WORDS_TEXT], span[TIME_TEXT];
    if (g->rate > 0)
        reply_line(r, "  rate       at most %u messages in %s", g->rate,
                   time_span(g->rate_ms, span));
    if (g->message_size > 0)
        reply_line(r, "  size       at most %s", words_size(g->message_size, text));
    if (v->server_size > 0)
        reply_line(r, "  size       its server says it takes at most %s",
                   words_size(v->server_size, text));
    if (g->interface != NULL)
        reply_line(r, "  interface  only %s", g->interface);
    if (g->socks != NULL)
        reply_line(r, "  proxy      SOCKS at %s:%u", g->socks->host, g->socks->port);
}

static void quota_lines(struct reply *r, const struct queue_gateway_view *v, int64_t now)
{
    struct buf line;
    buf_init(&line, LIMIT_LOG_LINE);
    for (size_t i = 0; i < v->quota_count; i++) {
        buf_clear(&line);
        words_quota(&v->quotas[i], now, true, &line);
        reply_line(r, "  quota      %s", buf_cstr(&line));
    }
    if (v->quota_lost_ms > 0)
        reply_line(r,
                   "             what was used is not known (damaged state file), so all of it "
                   "counts; else: waypost gateway reset %s",
                   v->name);
    buf_free(&line);
}

static void cost_lines(struct reply *r, const struct conf_gateway *g,
                       const struct queue_gateway_view *v, int64_t now)
{
    struct buf line;
    if (g->cost.micros == 0)
        return;
    buf_init(&line, LIMIT_LOG_LINE);
    price_put(&line, &g->cost);
    buf_puts(&line, "; this month ");
    price_put_amount(&line, price_of(&g->cost, v->month_recipients), g->cost.currency);
    if (g->budget.micros > 0) {
        buf_puts(&line, " of at most ");
        price_put_amount(&line, g->budget.micros, g->cost.currency);
    }
    buf_puts(&line, ", at this pace ");
    price_put_amount(&line, price_of(&g->cost, gateway_month_forecast(v, now)), g->cost.currency);
    reply_line(r, "  cost       %s", buf_cstr(&line));
    buf_free(&line);
}

static void state_lines(struct reply *r, const struct queue_gateway_view *v, int64_t now)
{
    char when[WORDS_TEXT], span[TIME_TEXT];
    if (v->since_ms > 0)
        reply_line(r, "  state      %s since %s (%s)", v->state, words_when(v->since_ms, now, when),
                   time_span(now - v->since_ms, span));
    else
        reply_line(r, "  state      %s", v->state);
    if (v->address[0] != '\0')
        reply_line(r, "  address    %s", v->address);
    if (v->last_trouble[0] != '\0' && v->rest_ms > 0)
        reply_line(r, "  trouble    %s (asks again in %s)", v->last_trouble,
                   time_span(v->rest_ms, span));
    else if (v->last_trouble[0] != '\0')
        reply_line(r, "  trouble    %s (the last one)", v->last_trouble);
    if (v->probe_ms > 0)
        reply_line(r, "  probed     %s", words_when(v->probe_ms, now, when));
}

// What an interceptor would have to say to be taken for it.
static void seen_line(struct reply *r, const struct queue_gateway_view *v)
{
    if (v->seen)
        reply_line(r, "  remembers  greets as %s, %s, %s%s", v->seen_as,
                   !v->seen_tls       ? "no TLS"
                   : v->seen_verified ? "TLS with a good certificate"
                                      : "TLS",
                   v->seen_auth ? "a login" : "no login",
                   v->intercepted ? "; what answers now is another" : "");
}

static void mail_lines(struct reply *r, const struct queue_gateway_view *v)
{
    char ok[WORDS_TEXT], failed[WORDS_TEXT], latency[48] = "";
    reply_line(r,
               "  mail       %zu waiting, %zu being sent; since the start %s went, %s met trouble",
               v->waiting, v->active, words_number(v->ok, ok), words_number(v->failed, failed));
    reply_line(r, "  connected  %zu connection%s, %zu of them idle", v->open,
               v->open == 1 ? "" : "s", v->open - v->active);
    if (v->latency_ms >= 0)
        snprintf(latency, sizeof(latency), "; the last one took %lld ms", (long long)v->latency_ms);
    if (v->ok + v->failed > 0)
        reply_line(r, "  score      %u%% of the last attempts and probes went well%s",
                   gateway_score(v), latency);
}

static void show_text(struct reply *r, const struct gateways *all, const struct conf_gateway *g,
                      const struct queue_gateway_view *v)
{
    int64_t now = clock_wall_ms();
    head(r, g);
    if (all->picked != NULL && strcmp(all->picked, g->name) == 0)
        reply_line(r, "  now        picked by hand, %s", gateways_pick_ends(r, all->until_ms));
    else if (all->active != NULL && strcmp(all->active, g->name) == 0)
        reply_line(r, "  now        the way out (%s)", all->why);
    else
        reply_line(r, "  now        %s%s%s", v->usable ? "usable" : "not used",
                   v->why[0] != '\0' ? ": " : "", v->why);
    state_lines(r, v, now);
    if (g->kind != GATEWAY_DIRECT)
        reply_line(r, "  priority   %d%s", g->priority, g->fallback ? ", the fallback" : "");
    networks_line(r, g);
    senders_line(r, g);
    bounds_line(r, g, v);
    quota_lines(r, v, now);
    cost_lines(r, g, v, now);
    seen_line(r, v);
    mail_lines(r, v);
    if (v->intercepted)
        reply_line(r,
                   "next: waypost gateway test %s; if its server itself has changed: waypost "
                   "gateway forget %s",
                   g->name, g->name);
    else if (v->rest_ms > 0 || gateway_needs_person(v))
        reply_line(r, "next: waypost gateway test %s", g->name);
    else if (!g->enabled)
        reply_line(r, "next: waypost gateway enable %s", g->name);
}

void cmd_gateway_show(struct reply *r)
{
    const struct conf_gateway *g = control_gateway(r, r->argv[0]);
    struct gateways all;
    if (g == NULL)
        return;
    gateways_look(r, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (strcmp(all.views[i].name, g->name) != 0)
            continue;
        if (r->json) {
            struct gateways one = all;
            one.views = &all.views[i];
            one.count = 1;
            gateways_send_json(r, &one);
        } else {
            show_text(r, &all, g, &all.views[i]);
        }
    }
    reply_end(r, 0);
}

// ---- next, use, auto ----

static void tell_choice(struct reply *r, const char *before)
{
    struct gateways g;
    gateways_look(r, &g);
    if (r->json) {
        gateways_send_json(r, &g);
    } else if (g.picked != NULL) {
        bool other = before != NULL && strcmp(before, g.picked) != 0;
        reply_line(r, "now using %s%s%s%s, %s", g.picked, other ? " (was " : "",
                   other ? before : "", other ? ")" : "", gateways_pick_ends(r, g.until_ms));
        if (g.active == NULL || strcmp(g.active, g.picked) != 0)
            reply_line(r, "but mail does not go that way now: %s", g.why);
    } else if (g.active != NULL) {
        reply_line(r, "the choice is automatic: %s (%s)", g.active, g.why);
    } else {
        reply_line(r, "the choice is automatic; no way out now: %s", g.why);
    }
    reply_end(r, 0);
}

static const char *asker(struct reply *r)
{
    return arena_printf(r->arena, "uid %u", r->uid);
}

static const char *way_out(struct reply *r)
{
    char why[QUEUE_WHY];
    const char *name = queue_active_gateway(r->control->parts.queue, why);
    return name != NULL ? arena_strdup(r->arena, name) : NULL;
}

static void refuse(struct reply *r, const struct err *err)
{
    reply_error(r, "waypost: %s", err->text);
    reply_end(r, EX_UNAVAILABLE);
}

void cmd_gateway_next(struct reply *r)
{
    struct err err = {0};
    struct buf passed;
    const char *before = way_out(r);
    buf_init(&passed, LIMIT_LOG_LINE);
    if (queue_pick_next(r->control->parts.queue, asker(r), &passed, &err) == NULL) {
        refuse(r, &err);
    } else {
        if (passed.len > 0 && !r->json)
            reply_line(r, "passed over: %s", buf_cstr(&passed));
        tell_choice(r, before);
    }
    buf_free(&passed);
}

void cmd_gateway_use(struct reply *r)
{
    struct err err = {0};
    const char *before = way_out(r);
    const struct conf_gateway *g = control_gateway(r, r->argv[0]);
    if (g == NULL)
        return;
    if (!queue_pick(r->control->parts.queue, str_of(g->name), asker(r), &err))
        refuse(r, &err);
    else
        tell_choice(r, before);
}

void cmd_gateway_auto(struct reply *r)
{
    struct err err = {0};
    if (!queue_pick(r->control->parts.queue, STR(""), asker(r), &err))
        refuse(r, &err);
    else
        tell_choice(r, NULL);
}

void cmd_gateway_forget(struct reply *r)
{
    struct err err = {0};
    const struct conf_gateway *g = control_gateway(r, r->argv[0]);
    if (g == NULL)
        return;
    if (!queue_forget_seen(r->control->parts.queue, str_of(g->name), asker(r), &err)) {
        refuse(r, &err);
        return;
    }
    if (!r->json)
        reply_line(r, "%s is taken as it answers now; see waypost gateway show %s", g->name,
                   g->name);
    reply_end(r, 0);
}

void cmd_gateway_reset(struct reply *r)
{
    struct err err = {0};
    const struct conf_gateway *g = control_gateway(r, r->argv[0]);
    if (g == NULL)
        return;
    if (!queue_reset_quota(r->control->parts.queue, str_of(g->name), asker(r), &err)) {
        refuse(r, &err);
        return;
    }
    if (!r->json)
        reply_line(r, "nothing of the allowance of %s counts as used", g->name);
    reply_end(r, 0);
}
