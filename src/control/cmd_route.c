// SPDX-License-Identifier: ISC
// route show, detours, pin, unpin: the routes as a whole, and what was learnt beside them.
#include "base/timefmt.h"
#include "control/command.h"
#include "control/table.h"
#include "control/words.h"
#include "route/table.h"
#include "sys/clock.h"

enum { DETOURS_SHOWN = LIMIT_DETOURS, TEXT_BYTES = 4 << 20 };

void cmd_route_show(struct reply *r)
{
    const struct conf *conf = r->control->conf;
    const uint64_t *hits = queue_route_hits(r->control->parts.queue);
    struct buf out;
    buf_init(&out, TEXT_BYTES);
    if (r->json) {
        struct json j = json_to(&out);
        route_show_json(conf, hits, &j);
        reply_object(r, buf_str(&out));
    } else {
        route_show(conf, hits, &out);
        reply_text(r, buf_str(&out));
    }
    buf_free(&out);
    reply_end(r, 0);
}

// ---- Detours ----

static void detours_json(struct reply *r, const struct queue_detour_view *views, size_t n)
{
    struct buf out;
    struct json j = reply_json(&out);
    json_open_array(&j, "detours");
    for (size_t i = 0; i < n; i++) {
        json_open(&j, NULL);
        json_text(&j, "provider", views[i].provider);
        json_text(&j, "gateway", views[i].gateway);
        json_bool(&j, "pinned", views[i].until_ms == INT64_MAX);
        json_int(&j, "until_ms", views[i].until_ms == INT64_MAX ? 0 : views[i].until_ms);
        json_text(&j, "why", views[i].why);
        json_close(&j);
    }
    json_close_array(&j);
    reply_json_send(r, &j);
}

static const struct table_column columns[] = {
    {"PROVIDER", 24, false, true},
    {"GATEWAY", 16, false, false},
    {"UNTIL", 18, false, false},
    {"WHY", 0, false, false},
    {NULL},
};

static void detours_text(struct reply *r, const struct queue_detour_view *views, size_t n)
{
    char when[WORDS_TEXT];
    if (n == 0) {
        reply_line(r, "no detours: mail that goes direct goes direct everywhere");
        return;
    }
    reply_table(r, columns, NULL);
    for (size_t i = 0; i < n; i++) {
        bool pinned = views[i].until_ms == INT64_MAX;
        const struct str cells[] = {
            str_of(views[i].provider),
            str_of(views[i].gateway),
            str_of(pinned ? "pinned" : words_when(views[i].until_ms, clock_wall_ms(), when)),
            str_of(views[i].why),
        };
        reply_table(r, columns, cells);
    }
}

void cmd_route_detours(struct reply *r)
{
    struct queue_detour_view *views = arena_alloc(r->arena, DETOURS_SHOWN * sizeof(*views));
    size_t n = queue_detours(r->control->parts.queue, views, DETOURS_SHOWN);
    if (r->json)
        detours_json(r, views, n);
    else
        detours_text(r, views, n);
    reply_end(r, 0);
}

static void end_detour(struct reply *r, bool ok, const struct err *err, const char *done)
{
    if (ok)
        reply_line(r, "%s", done);
    else
        reply_error(r, "waypost: %s; see `waypost route detours`", err->text);
    reply_end(r, ok ? 0 : EX_DATAERR);
}

void cmd_route_pin(struct reply *r)
{
    struct err err = {0};
    const struct conf_gateway *g = control_gateway(r, r->argv[1]);
    if (g == NULL)
        return;
    bool ok = queue_detour_set(r->control->parts.queue, str_of(r->argv[0]), g->name, &err);
    end_detour(r, ok, &err,
               arena_printf(r->arena,
                            "mail that would go direct to %s goes through %s; back: "
                            "waypost route unpin %s",
                            r->argv[0], g->name, r->argv[0]));
}

void cmd_route_unpin(struct reply *r)
{
    struct err err = {0};
    bool ok = queue_detour_set(r->control->parts.queue, str_of(r->argv[0]), NULL, &err);
    end_detour(
        r, ok, &err,
        arena_printf(r->arena, "mail for %s goes direct again where a route says so", r->argv[0]));
}
