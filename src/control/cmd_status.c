// SPDX-License-Identifier: ISC
// status, gateway list, reload, stop: the daemon as a whole.
#include "base/arena.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "control/command.h"
#include "sys/clock.h"

#include <stdio.h>

enum { GATEWAYS_SHOWN = 200 };

static void gateway_note(const struct queue_gateway_view *v, char *note, size_t size)
{
    char span[TIME_TEXT];
    note[0] = '\0';
    if (v->rest_ms > 0)
        snprintf(note, size, "asks again in %s: %s", time_span(v->rest_ms, span), v->last_trouble);
    else if (v->destinations_resting > 0)
        snprintf(note, size, "%zu destination%s resting: %s", v->destinations_resting,
                 v->destinations_resting == 1 ? "" : "s", v->last_trouble);
}

static void gateways_table(struct reply *r, const struct queue_gateway_view *views, size_t n)
{
    reply_line(r, "  %-16s %-9s %8s %8s %8s %9s  %s", "GATEWAY", "STATE", "OK", "TROUBLE",
               "WAITING", "LATENCY", "NOTE");
    for (size_t i = 0; i < n; i++) {
        const struct queue_gateway_view *v = &views[i];
        char note[640], latency[32] = "-";
        if (v->latency_ms >= 0)
            snprintf(latency, sizeof(latency), "%lld ms", (long long)v->latency_ms);
        gateway_note(v, note, sizeof(note));
        reply_line(r, "  %-16s %-9s %8llu %8llu %8zu %9s  %s", v->name, v->state,
                   (unsigned long long)v->ok, (unsigned long long)v->failed, v->waiting, latency,
                   note);
    }
}

static void gateways_json(struct json *j, const struct queue_gateway_view *views, size_t n)
{
    json_open_array(j, "gateways");
    for (size_t i = 0; i < n; i++) {
        const struct queue_gateway_view *v = &views[i];
        json_open(j, NULL);
        json_text(j, "name", v->name);
        json_text(j, "state", v->state);
        json_int(j, "ok", (int64_t)v->ok);
        json_int(j, "trouble", (int64_t)v->failed);
        json_int(j, "active", (int64_t)v->active);
        json_int(j, "waiting", (int64_t)v->waiting);
        json_int(j, "latency_ms", v->latency_ms);
        json_int(j, "rest_ms", v->rest_ms);
        json_text(j, "last_trouble", v->last_trouble);
        json_close(j);
    }
    json_close_array(j);
}

static void status_text(struct reply *r, const struct queue_counts *c, const struct store_stats *s,
                        const struct queue_gateway_view *views, size_t n)
{
    int64_t now = clock_wall_ms();
    char up[TIME_TEXT], oldest[TIME_TEXT];
    reply_line(r, "waypost " WAYPOST_VERSION "  up %s  configuration %s",
               time_span(now - r->control->parts.started_ms, up), r->control->conf->file);
    if (c->messages == 0)
        reply_line(r, "  queue     empty");
    else
        reply_line(r,
                   "  queue     %llu message%s for %llu recipient%s, oldest %s; %llu being sent, "
                   "%llu held",
                   (unsigned long long)c->messages, c->messages == 1 ? "" : "s",
                   (unsigned long long)c->recipients, c->recipients == 1 ? "" : "s",
                   time_span(now - c->oldest_ms, oldest), (unsigned long long)c->busy,
                   (unsigned long long)c->held);
    reply_line(r, "  since up  %llu in, %llu delivered, %llu relayed, %llu returned, %llu bad",
               (unsigned long long)c->accepted, (unsigned long long)c->delivered,
               (unsigned long long)c->relayed, (unsigned long long)c->returned,
               (unsigned long long)c->bad);
    reply_line(
        r,
        "  spool     %s  %llu MiB in %llu segments, %llu MiB of the disk free, last sync %.1f ms",
        r->control->conf->spool_dir, (unsigned long long)(s->segment_bytes >> 20),
        (unsigned long long)s->segments, (unsigned long long)(s->disk_free >> 20),
        (double)s->last_sync_us / 1000.0);
    if (s->failed)
        reply_line(
            r, "  SPOOL FAILED  %s: nothing is accepted; mend the disk, then start waypost again",
            s->failure);
    struct err why;
    if (!s->failed && !store_accepting(r->control->parts.store, &why))
        reply_line(r, "  NOT ACCEPTING  %s", why.text);
    gateways_table(r, views, n);
}

static void status_json(struct reply *r, const struct queue_counts *c, const struct store_stats *s,
                        const struct queue_gateway_view *views, size_t n)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    struct json j = json_to(&out);
    struct err why = {0};
    bool accepting = store_accepting(r->control->parts.store, &why);
    json_open(&j, NULL);
    json_int(&j, "schema", 1);
    json_text(&j, "version", WAYPOST_VERSION);
    json_int(&j, "started_ms", r->control->parts.started_ms);
    json_text(&j, "configuration", r->control->conf->file);
    json_bool(&j, "accepting", accepting);
    json_text(&j, "not_accepting_because", accepting ? NULL : why.text);
    json_open(&j, "queue");
    json_int(&j, "messages", (int64_t)c->messages);
    json_int(&j, "recipients", (int64_t)c->recipients);
    json_int(&j, "sending", (int64_t)c->busy);
    json_int(&j, "held", (int64_t)c->held);
    json_int(&j, "oldest_ms", c->oldest_ms);
    json_close(&j);
    json_open(&j, "since_start");
    json_int(&j, "accepted", (int64_t)c->accepted);
    json_int(&j, "delivered", (int64_t)c->delivered);
    json_int(&j, "relayed", (int64_t)c->relayed);
    json_int(&j, "returned", (int64_t)c->returned);
    json_int(&j, "bad", (int64_t)c->bad);
    json_close(&j);
    json_open(&j, "spool");
    json_text(&j, "directory", r->control->conf->spool_dir);
    json_int(&j, "segments", (int64_t)s->segments);
    json_int(&j, "segment_bytes", (int64_t)s->segment_bytes);
    json_int(&j, "live_bytes", (int64_t)s->live_bytes);
    json_int(&j, "disk_free", (int64_t)s->disk_free);
    json_int(&j, "records", (int64_t)s->records);
    json_int(&j, "syncs", (int64_t)s->syncs);
    json_int(&j, "last_sync_us", s->last_sync_us);
    json_int(&j, "slowest_sync_us", s->slowest_sync_us);
    json_int(&j, "index_lag", (int64_t)s->index_lag);
    json_text(&j, "failure", s->failed ? s->failure : NULL);
    json_close(&j);
    gateways_json(&j, views, n);
    json_close(&j);
    reply_text(r, buf_str(&out));
    buf_free(&out);
}

// ---- Of a user: the own mail, and whether more would be taken ----

struct own_counts {
    uint64_t messages, held;
    bool accepting;
};

static void count_own(struct reply *r, const struct queue_message_view *v)
{
    struct own_counts *c = r->ctx;
    c->messages++;
    c->held += v->held;
}

static void own_json(struct reply *r, const struct own_counts *c)
{
    struct buf out;
    buf_init(&out, LIMIT_CONTROL_LINE);
    struct json j = json_to(&out);
    json_open(&j, NULL);
    json_int(&j, "schema", 1);
    json_text(&j, "version", WAYPOST_VERSION);
    json_bool(&j, "accepting", c->accepting);
    json_open(&j, "queue");
    json_int(&j, "messages", (int64_t)c->messages);
    json_int(&j, "held", (int64_t)c->held);
    json_close(&j);
    json_close(&j);
    reply_text(r, buf_str(&out));
    buf_free(&out);
}

static void own_end(struct reply *r)
{
    const struct own_counts *c = r->ctx;
    if (r->json)
        own_json(r, c);
    else
        reply_line(r,
                   "waypost " WAYPOST_VERSION "  %s; of your mail %llu message%s wait%s, %llu held",
                   c->accepting ? "accepting mail" : "NOT ACCEPTING mail for now",
                   (unsigned long long)c->messages, c->messages == 1 ? "" : "s",
                   c->messages == 1 ? "s" : "", (unsigned long long)c->held);
    reply_end(r, c->accepting ? 0 : EX_TEMPFAIL);
}

static void own_status(struct reply *r, bool quiet)
{
    struct own_counts *c = arena_alloc(r->arena, sizeof(*c));
    struct err why;
    c->accepting = store_accepting(r->control->parts.store, &why);
    r->ctx = c;
    if (quiet)
        reply_end(r, c->accepting ? 0 : EX_TEMPFAIL);
    else
        queue_each(r, STR(""), count_own, own_end);
}

void cmd_status(struct reply *r)
{
    struct queue_counts counts;
    struct store_stats stats;
    bool quiet = reply_flag(r, "-q");
    if (r->own.len > 0) {
        own_status(r, quiet);
        return;
    }
    struct queue_gateway_view *views = arena_alloc(r->arena, GATEWAYS_SHOWN * sizeof(*views));
    queue_counts(r->control->parts.queue, &counts);
    store_stats(r->control->parts.store, &stats);
    size_t n = queue_gateways(r->control->parts.queue, views, GATEWAYS_SHOWN);
    if (r->json)
        status_json(r, &counts, &stats, views, n);
    else if (!quiet)
        status_text(r, &counts, &stats, views, n);
    reply_end(r, stats.failed ? EX_IOERR : 0);
}

void cmd_gateway_list(struct reply *r)
{
    struct queue_gateway_view *views = arena_alloc(r->arena, GATEWAYS_SHOWN * sizeof(*views));
    size_t n = queue_gateways(r->control->parts.queue, views, GATEWAYS_SHOWN);
    if (!r->json) {
        gateways_table(r, views, n);
    } else {
        struct buf out;
        buf_init(&out, 1 << 20);
        struct json j = json_to(&out);
        json_open(&j, NULL);
        json_int(&j, "schema", 1);
        gateways_json(&j, views, n);
        json_close(&j);
        reply_text(r, buf_str(&out));
        buf_free(&out);
    }
    reply_end(r, 0);
}

static void forget(struct reply *r)
{
    *(struct reply **)r->ctx = NULL;
}

static void on_reloaded(void *ctx, bool ok, const char *text)
{
    struct reply **kept = ctx, *r = *kept;
    xfree(kept);
    if (r == NULL)
        return; // the asker went away
    r->gone = NULL;
    struct str rest = str_of(text), line;
    while (str_split(&rest, '\n', &line)) {
        if (ok)
            reply_line(r, "%.*s", STR_FMT(line));
        else
            reply_error(r, "%.*s", STR_FMT(line));
    }
    reply_end(r, ok ? 0 : EX_CONFIG);
}

void cmd_reload(struct reply *r)
{
    // Outlives the reply when the client does not wait.
    struct reply **kept = xmalloc(sizeof(*kept));
    *kept = r;
    r->ctx = kept;
    r->gone = forget;
    r->control->parts.reload(r->control->parts.ctx, on_reloaded, kept);
}

void cmd_stop(struct reply *r)
{
    struct control *c = r->control;
    reply_line(r, "ending in order; what waits stays in the spool");
    reply_end(r, 0);
    c->parts.stop(c->parts.ctx);
}
