// SPDX-License-Identifier: ISC
// The words of `route explain` ("  so: waits for company (network) until the network changes",
// "  but now it is held") are what is grouped: there is one place that knows the reasons.
#include "control/waits.h"
#include "route/plan.h"

#include <stdio.h>

static void count(struct reply *r, struct waits *w, const char *why)
{
    size_t i = 0;
    while (i < w->count && strcmp(w->groups[i].why, why) != 0)
        i++;
    if (i == w->count && w->count == WAIT_GROUPS)
        return;
    if (i == w->count)
        w->groups[w->count++] = (struct wait_group){.why = arena_strdup(r->arena, why)};
    w->groups[i].recipients++;
}

// "for company (network) until ...": which networks those are.
static const char *name_networks(struct reply *r, const char *why)
{
    const struct conf *conf = r->control->conf;
    const char *at = strstr(why, " (network)");
    if (strncmp(why, "for ", 4) != 0 || at == NULL)
        return why;
    const struct conf_gateway *g =
        conf_gateway_find(conf, str_make(why + 4, (size_t)(at - why) - 4));
    struct buf names;
    if (g == NULL || g->networks == 0)
        return why;
    buf_init(&names, LIMIT_LOG_LINE);
    plan_networks(conf, g->networks, &names);
    const char *text =
        arena_printf(r->arena, "for network %s (gateway %s)", buf_cstr(&names), g->name);
    buf_free(&names);
    return text;
}

static void group(struct reply *r, struct waits *w, struct str decision, struct str now)
{
    if (str_starts(now, STR("it waits for its own clock")))
        count(r, w, "for the next try");
    else if (str_starts(now, STR("it is in doubt")))
        count(r, w, "in doubt: may have been delivered, only the same gateway is asked");
    else if (now.len > 0)
        return; // held, or under way
    else if (str_starts(decision, STR("waits ")))
        count(r, w,
              name_networks(r, arena_str(r->arena, str_make(decision.ptr + 6, decision.len - 6))));
    else if (!str_starts(decision, STR("goes ")))
        count(r, w, arena_str(r->arena, decision));
}

static bool takes_line(struct str line, struct str word, struct str *rest_out)
{
    line = str_trim(line);
    if (!str_starts(line, word))
        return false;
    *rest_out = str_trim(str_make(line.ptr + word.len, line.len - word.len));
    return true;
}

static void ask(struct reply *r, struct waits *w, uint64_t id, struct buf *text)
{
    struct str rest, line, decision = {0}, now = {0};
    buf_clear(text);
    if (!queue_explain(r->control->parts.queue, id, &(struct queue_assume){0}, text, NULL))
        return;
    rest = buf_str(text);
    while (str_split(&rest, '\n', &line)) {
        struct str next;
        if (takes_line(line, STR("but now "), &now)) {
            continue;
        } else if (takes_line(line, STR("so:"), &next)) {
            if (decision.len > 0)
                group(r, w, decision, now);
            decision = next;
            now = STR("");
        }
    }
    if (decision.len > 0)
        group(r, w, decision, now);
}

void waits_look(struct reply *r, struct waits *out)
{
    uint64_t ids[WAITS_ASKED];
    struct buf text;
    *out = (struct waits){0};
    buf_init(&text, 1 << 20);
    out->asked = queue_list(r->control->parts.queue, 0, STR(""), ids, WAITS_ASKED);
    for (size_t i = 0; i < out->asked; i++)
        ask(r, out, ids[i], &text);
    buf_free(&text);
}

const char *waits_why(struct reply *r, uint64_t id)
{
    struct waits w = {0};
    struct buf text;
    buf_init(&text, 1 << 20);
    ask(r, &w, id, &text);
    buf_free(&text);
    return w.count > 0 ? w.groups[0].why : NULL;
}
