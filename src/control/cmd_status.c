// SPDX-License-Identifier: ISC
// status: one screen, the same as an object, one line for monitoring, or of a user's own mail.
#include "archive/archive.h"
#include "base/arena.h"
#include "base/timefmt.h"
#include "control/gateway.h"
#include "control/waits.h"
#include "control/words.h"
#include "sys/clock.h"
#include "watch/watch.h"

#include <stdio.h>

// Beyond that the oldest are not found at once.
enum { WAITS_MOST = 20000, ADDRESSES_SHOWN = 4 };

struct status {
    struct queue_counts counts;
    struct store_stats stats;
    struct gateways gateways;
    struct waits waits;
    const struct watch_snapshot *where; // NULL: not known yet
    bool accepting;
    struct err why; // not accepting
};

static void look(struct reply *r, struct status *s)
{
    queue_counts(r->control->parts.queue, &s->counts);
    store_stats(r->control->parts.store, &s->stats);
    gateways_look(r, &s->gateways);
    if (s->counts.messages > 0 && s->counts.messages <= WAITS_MOST)
        waits_look(r, &s->waits);
    s->where = queue_where(r->control->parts.queue);
    s->accepting = store_accepting(r->control->parts.store, &s->why);
}

// ---- One screen ----

static void here_line(struct reply *r, const struct status *s)
{
    const struct conf *conf = r->control->conf;
    const struct watch_snapshot *w = s->where;
    struct buf line;
    if (w == NULL)
        return;
    buf_init(&line, LIMIT_LOG_LINE);
    for (size_t i = 0; i < w->network_count && i < conf->network_count; i++)
        if (w->networks[i].holds)
            buf_printf(&line, "%s%s (%s)", line.len > 0 ? ", " : "network ", conf->networks[i].name,
                       w->networks[i].why);
    if (line.len == 0)
        buf_puts(&line, conf->network_count > 0 ? "on none of the networks named" : "");
    if (w->offline)
        buf_printf(&line, "%sOFFLINE: no network, mail waits for one", line.len > 0 ? "; " : "");
    else if (w->captive)
        buf_printf(&line,
                   "%sCAPTIVE: only a portal answers (%s), mail waits until you log in there",
                   line.len > 0 ? "; " : "", w->captive_why);
    else if (w->dns_lies)
        buf_printf(&line, "%sDNS answers names that do not exist", line.len > 0 ? "; " : "");
    if (w->metered)
        buf_printf(&line, "%smetered", line.len > 0 ? "; " : "");
    if (line.len > 0)
        reply_line(r, "  here      %s", buf_cstr(&line));
    buf_free(&line);
}

// Those that mail could leave by. Without any: N/A.
static bool tells(const struct watch_snapshot *w, const struct link_address *a)
{
    if (a->link_local || net_addr_is_loopback(&a->addr))
        return false;
    for (size_t i = 0; i < w->links.link_count; i++)
        if (w->links.links[i].index == a->link)
            return w->links.links[i].up && !w->links.links[i].loopback;
    return false;
}

static const char *link_name(const struct watch_snapshot *w, uint32_t index)
{
    for (size_t i = 0; i < w->links.link_count; i++)
        if (w->links.links[i].index == index)
            return w->links.links[i].name;
    return "";
}

static void address_line(struct reply *r, const struct watch_snapshot *w)
{
    struct buf line;
    char text[NET_ADDR_TEXT];
    size_t told = 0, more = 0;
    if (w == NULL)
        return;
    buf_init(&line, LIMIT_LOG_LINE);
    for (size_t i = 0; i < w->links.address_count; i++) {
        const struct link_address *a = &w->links.addresses[i];
        if (!tells(w, a))
            continue;
        if (told == ADDRESSES_SHOWN) {
            more++;
            continue;
        }
        buf_printf(&line, "%s%s/%u on %s", told++ > 0 ? ", " : "",
                   net_addr_format_ip(&a->addr, text), a->prefix, link_name(w, a->link));
    }
    if (more > 0)
        buf_printf(&line, " and %zu more", more);
    reply_line(r, "  address   %s", told > 0 ? buf_cstr(&line) : "N/A");
    buf_free(&line);
}

static const struct queue_gateway_view *view_of(const struct gateways *g, const char *name)
{
    for (size_t i = 0; name != NULL && i < g->count; i++)
        if (strcmp(g->views[i].name, name) == 0)
            return &g->views[i];
    return NULL;
}

static void way_lines(struct reply *r, const struct gateways *g)
{
    const struct queue_gateway_view *v = view_of(g, g->active);
    if (v == NULL)
        reply_line(r, "  way out   NONE NOW: %s", g->why);
    else
        reply_line(r, "  way out   %s%s%s (%s)", v->name, v->address[0] != '\0' ? " " : "",
                   v->address, g->why);
    if (g->picked != NULL)
        reply_line(r, "  by hand   %s, %s", g->picked, gateways_pick_ends(r, g->until_ms));
}

// What goes out at this moment, and what is held, is in no group.
static void wait_lines(struct reply *r, const struct status *s)
{
    char number[WORDS_TEXT], span[TIME_TEXT];
    for (size_t i = 0; i < s->waits.count; i++) {
        const struct wait_group *g = &s->waits.groups[i];
        bool clock = g->until_ms > 0;
        reply_line(r, "  %-9s %s %s%s%s%s", i == 0 ? "waits" : "",
                   words_number(g->recipients, number), g->why,
                   !clock               ? ""
                   : g->recipients == 1 ? ", in "
                                        : ", the first in ",
                   clock ? time_span(g->until_ms - clock_wall_ms(), span) : "",
                   i == 0 && s->waits.asked < s->counts.messages ? " (of the oldest messages)"
                                                                 : "");
    }
}

static void person_lines(struct reply *r, const struct gateways *g)
{
    for (size_t i = 0; i < g->count; i++)
        if (gateway_needs_person(&g->views[i]))
            reply_line(r, "  NEEDS YOU %s: %s  -> waypost gateway test %s", g->views[i].name,
                       g->views[i].last_trouble, g->views[i].name);
}

static void queue_lines(struct reply *r, const struct queue_counts *c)
{
    char oldest[TIME_TEXT], messages[WORDS_TEXT], recipients[WORDS_TEXT], n[4][WORDS_TEXT];
    char later[64] = "";
    if (c->later > 0)
        snprintf(later, sizeof(later), ", %llu for a later time", (unsigned long long)c->later);
    if (c->messages == 0)
        reply_line(r, "  queue     empty");
    else
        reply_line(
            r,
            "  queue     %s message%s for %s recipient%s, oldest %s; %llu being sent, %llu held%s",
            words_number(c->messages, messages), c->messages == 1 ? "" : "s",
            words_number(c->recipients, recipients), c->recipients == 1 ? "" : "s",
            c->oldest_ms > 0 ? time_span(clock_wall_ms() - c->oldest_ms, oldest) : "-",
            (unsigned long long)c->busy, (unsigned long long)c->held, later);
    reply_line(
        r, "  since up  %s message%s in; recipients: %s delivered, %s relayed, %s returned, %s bad",
        words_number(c->accepted, messages), c->accepted == 1 ? "" : "s",
        words_number(c->delivered, n[0]), words_number(c->relayed, n[1]),
        words_number(c->returned, n[2]), words_number(c->bad, n[3]));
    if (c->passed > 0)
        reply_line(r, "            %s message%s passed through (listeners in mode proxy)",
                   words_number(c->passed, messages), c->passed == 1 ? "" : "s");
}

static void spool_lines(struct reply *r, const struct status *s)
{
    const struct store_stats *stats = &s->stats;
    char used[WORDS_TEXT], reserved[WORDS_TEXT], left[WORDS_TEXT];
    reply_line(r, "  spool     %s  %s used, %s reserved, %s of the disk free, last sync %.1f ms",
               r->control->conf->spool_dir, words_size(stats->live_bytes, used),
               words_size(stats->segment_bytes, reserved), words_size(stats->disk_free, left),
               (double)stats->last_sync_us / 1000.0);
    if (stats->failed)
        reply_line(
            r, "  SPOOL FAILED  %s: nothing is accepted; mend the disk, then start waypost again",
            stats->failure);
    else if (!s->accepting)
        reply_line(r, "  NOT ACCEPTING  %s", s->why.text);
}

static void archive_line(struct reply *r)
{
    struct archive_stats s = {0};
    char copies[WORDS_TEXT], size[WORDS_TEXT], missed[64] = "";
    if (r->control->parts.archive != NULL)
        archive_stats(r->control->parts.archive, &s);
    if (s.directory == NULL)
        return;
    if (s.missed > 0)
        snprintf(missed, sizeof(missed), ", %llu MISSING", (unsigned long long)s.missed);
    reply_line(r, "  archive   %s  %s, %s cop%s since up%s", s.directory, words_size(s.bytes, size),
               words_number(s.copies, copies), s.copies == 1 ? "y" : "ies", missed);
    if (s.failure[0] != '\0')
        reply_line(r, "  ARCHIVE FAILS  %s", s.failure);
}

static void archive_json(struct reply *r, struct json *j)
{
    struct archive_stats s = {0};
    if (r->control->parts.archive != NULL)
        archive_stats(r->control->parts.archive, &s);
    json_open(j, "archive");
    json_text(j, "directory", s.directory);
    json_int(j, "bytes", (int64_t)s.bytes);
    json_int(j, "copies", (int64_t)s.copies);
    json_int(j, "waiting", (int64_t)s.waiting);
    json_int(j, "missed", (int64_t)s.missed);
    json_text(j, "failure", s.failure[0] != '\0' ? s.failure : NULL);
    json_close(j);
}

static void status_text(struct reply *r, const struct status *s)
{
    char up[TIME_TEXT];
    reply_line(r, "waypost " WAYPOST_VERSION "  up %s  configuration %s",
               time_span(clock_wall_ms() - r->control->parts.started_ms, up),
               r->control->conf->file);
    address_line(r, s->where);
    here_line(r, s);
    way_lines(r, &s->gateways);
    queue_lines(r, &s->counts);
    wait_lines(r, s);
    spool_lines(r, s);
    archive_line(r);
    person_lines(r, &s->gateways);
    gateways_table(r, &s->gateways);
}

// ---- The same as an object ----

static void where_json(struct json *j, const struct conf *conf, const struct watch_snapshot *w)
{
    if (w == NULL) {
        json_null(j, "where");
        return;
    }
    json_open(j, "where");
    json_bool(j, "offline", w->offline);
    json_bool(j, "captive", w->captive);
    json_bool(j, "metered", w->metered);
    json_open_array(j, "addresses");
    for (size_t i = 0; i < w->links.address_count; i++) {
        char text[NET_ADDR_TEXT];
        const struct link_address *a = &w->links.addresses[i];
        if (!tells(w, a))
            continue;
        json_open(j, NULL);
        json_text(j, "address", net_addr_format_ip(&a->addr, text));
        json_int(j, "prefix", a->prefix);
        json_text(j, "link", link_name(w, a->link));
        json_close(j);
    }
    json_close_array(j);
    json_open_array(j, "networks");
    for (size_t i = 0; i < w->network_count && i < conf->network_count; i++)
        if (w->networks[i].holds)
            json_text(j, NULL, conf->networks[i].name);
    json_close_array(j);
    json_close(j);
}

static void status_json(struct reply *r, const struct status *st)
{
    const struct queue_counts *c = &st->counts;
    const struct store_stats *s = &st->stats;
    struct buf out;
    struct json j = reply_json(&out);
    json_text(&j, "version", WAYPOST_VERSION);
    json_int(&j, "started_ms", r->control->parts.started_ms);
    json_text(&j, "configuration", r->control->conf->file);
    json_bool(&j, "accepting", st->accepting);
    json_text(&j, "not_accepting_because", st->accepting ? NULL : st->why.text);
    where_json(&j, r->control->conf, st->where);
    json_open(&j, "queue");
    json_int(&j, "messages", (int64_t)c->messages);
    json_int(&j, "recipients", (int64_t)c->recipients);
    json_int(&j, "sending", (int64_t)c->busy);
    json_int(&j, "held", (int64_t)c->held);
    json_int(&j, "later", (int64_t)c->later);
    json_int(&j, "oldest_ms", c->oldest_ms);
    json_int(&j, "waiting_for_gateway", (int64_t)c->waiting_ready);
    json_int(&j, "waiting_for_retry", (int64_t)c->waiting_retry);
    json_close(&j);
    json_open(&j, "since_start");
    json_int(&j, "accepted", (int64_t)c->accepted);
    json_int(&j, "delivered", (int64_t)c->delivered);
    json_int(&j, "relayed", (int64_t)c->relayed);
    json_int(&j, "returned", (int64_t)c->returned);
    json_int(&j, "bad", (int64_t)c->bad);
    json_int(&j, "passed", (int64_t)c->passed);
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
    archive_json(r, &j);
    json_open_array(&j, "waits");
    for (size_t i = 0; i < st->waits.count; i++) {
        json_open(&j, NULL);
        json_int(&j, "recipients", (int64_t)st->waits.groups[i].recipients);
        json_text(&j, "why", st->waits.groups[i].why);
        json_int(&j, "until_ms", st->waits.groups[i].until_ms);
        json_close(&j);
    }
    json_close_array(&j);
    listeners_json(r, &j);
    gateways_json(r, &j, &st->gateways);
    reply_json_send(r, &j);
}

// ---- For monitoring: one line, and the statuses that its plug-ins have in common ----

enum { CHECK_OK = 0, CHECK_WARNING = 1, CHECK_CRITICAL = 2 };
enum { CHECK_WARN_MS = 15 * 60 * 1000, CHECK_CRIT_MS = 4 * 3600 * 1000 };

struct check {
    struct buf said;
    int worst;
};

static void find_fault(struct check *c, int how, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void find_fault(struct check *c, int how, const char *format, ...)
{
    va_list args;
    if (c->said.len > 0)
        buf_puts(&c->said, "; ");
    va_start(args, format);
    buf_vprintf(&c->said, format, args);
    va_end(args);
    if (how > c->worst)
        c->worst = how;
}

static void check_age(struct check *c, const struct status *s, int64_t warn_ms, int64_t crit_ms)
{
    char span[TIME_TEXT];
    int64_t age = s->counts.oldest_ms > 0 ? clock_wall_ms() - s->counts.oldest_ms : 0;
    if (age >= warn_ms && s->counts.messages > s->counts.held + s->counts.later)
        find_fault(c, age >= crit_ms ? CHECK_CRITICAL : CHECK_WARNING,
                   "the oldest message waits %s", time_span(age, span));
}

// What keeps each way of ordinary mail shut stands where there is none: "isp: rests after trouble".
static bool told_as_no_way(const struct gateways *g, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = g->why; g->active == NULL && (at = strstr(at, name)) != NULL; at += len)
        if ((at == g->why || at[-1] == ' ') && at[len] == ':')
            return true;
    return false;
}

static void check_gateways(struct check *c, const struct status *s)
{
    const struct gateways *g = &s->gateways;
    if (g->active == NULL && s->counts.messages > s->counts.held + s->counts.later)
        find_fault(c, CHECK_CRITICAL, "mail waits and there is no way out: %s", g->why);
    else if (g->active == NULL)
        find_fault(c, CHECK_WARNING, "no way out: %s", g->why);
    for (size_t i = 0; i < g->count; i++) {
        const struct queue_gateway_view *v = &g->views[i];
        if (gateway_needs_person(v))
            find_fault(c, CHECK_WARNING, "gateway %s needs a person: %s", v->name, v->last_trouble);
        else if (v->rest_ms > 0 && !told_as_no_way(g, v->name))
            find_fault(c, CHECK_WARNING, "gateway %s rests: %s", v->name, v->last_trouble);
    }
}

static void check_json(struct reply *r, const struct status *s, const struct check *c,
                       const char *word)
{
    struct buf out;
    struct json j = reply_json(&out);
    json_text(&j, "check", word);
    json_int(&j, "status", c->worst);
    json_str(&j, "text", buf_str(&c->said));
    json_int(&j, "messages", (int64_t)s->counts.messages);
    json_int(&j, "recipients", (int64_t)s->counts.recipients);
    json_int(&j, "held", (int64_t)s->counts.held);
    reply_json_send(r, &j);
}

static void status_check(struct reply *r, const struct status *s, int64_t warn_ms, int64_t crit_ms)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL"};
    struct check c = {.worst = CHECK_OK};
    buf_init(&c.said, LIMIT_LOG_LINE);
    if (!s->accepting)
        find_fault(&c, CHECK_CRITICAL, "nothing is accepted: %s", s->why.text);
    check_gateways(&c, s);
    check_age(&c, s, warn_ms, crit_ms);
    if (c.said.len == 0)
        buf_printf(&c.said, "the way out is %s", s->gateways.active);
    if (r->json)
        check_json(r, s, &c, words[c.worst]);
    else
        reply_line(r, "WAYPOST %s: %s | messages=%llu recipients=%llu held=%llu", words[c.worst],
                   buf_cstr(&c.said), (unsigned long long)s->counts.messages,
                   (unsigned long long)s->counts.recipients, (unsigned long long)s->counts.held);
    buf_free(&c.said);
    reply_end(r, c.worst);
}

static bool read_age(struct reply *r, const char *option, int64_t *ms_out)
{
    const char *text = reply_option(r, option);
    if (text == NULL || time_parse_span(str_of(text), ms_out))
        return true;
    reply_error(r, "waypost status: %s takes a time such as 15m or 4h, not `%s`", option, text);
    reply_end(r, EX_USAGE);
    return false;
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
    struct json j = reply_json(&out);
    json_text(&j, "version", WAYPOST_VERSION);
    json_bool(&j, "accepting", c->accepting);
    json_open(&j, "queue");
    json_int(&j, "messages", (int64_t)c->messages);
    json_int(&j, "held", (int64_t)c->held);
    json_close(&j);
    reply_json_send(r, &j);
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
    struct status *s = arena_alloc(r->arena, sizeof(*s));
    int64_t warn_ms = CHECK_WARN_MS, crit_ms = CHECK_CRIT_MS;
    bool quiet = reply_flag(r, "-q"), check = reply_flag(r, "--check");
    if (!read_age(r, "--warn", &warn_ms) || !read_age(r, "--crit", &crit_ms))
        return;
    if (!reply_args(r, 0, 0))
        return;
    if (r->own.len > 0) {
        own_status(r, quiet || check);
        return;
    }
    look(r, s);
    if (check) {
        status_check(r, s, warn_ms, crit_ms);
        return;
    }
    if (r->json)
        status_json(r, s);
    else if (!quiet)
        status_text(r, s);
    reply_end(r, s->stats.failed ? EX_IOERR : 0);
}
