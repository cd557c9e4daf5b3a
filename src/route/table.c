// SPDX-License-Identifier: ISC
// The routes as sentences.
#include "route/table.h"
#include "base/timefmt.h"
#include "route/plan.h"

enum { WORDS_BYTES = 64 * 1024 };

// ---- Conditions ----

static void say_globs(struct buf *out, const char *word, const char *const *globs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i > 0 ? "," : word, globs[i]);
}

static void say_range(struct buf *out, const struct net_range *r)
{
    char low[NET_ADDR_TEXT], high[NET_ADDR_TEXT];
    net_addr_format_ip(&r->low, low);
    if (net_addr_same_ip(&r->low, &r->high))
        buf_puts(out, low);
    else
        buf_printf(out, "%s-%s", low, net_addr_format_ip(&r->high, high));
}

static void say_clients(struct buf *out, const struct conf_route *r)
{
    say_globs(out, " client ", r->client, r->client_count);
    for (size_t i = 0; i < r->client_range_count; i++) {
        buf_puts(out, i + r->client_count > 0 ? "," : " client ");
        say_range(out, &r->client_range[i]);
    }
}

static void say_classes_of_mail(struct buf *out, uint32_t classes)
{
    static const char *const names[] = {
        [PRIORITY_LOW] = "low", [PRIORITY_NORMAL] = "normal", [PRIORITY_URGENT] = "urgent"};
    const char *sep = " of class ";
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if ((classes >> i & 1) != 0) {
            buf_printf(out, "%s%s", sep, names[i]);
            sep = ",";
        }
}

static void say_networks(const struct conf *conf, const char *word, uint64_t set, struct buf *out)
{
    if (set == 0)
        return;
    buf_puts(out, word);
    plan_networks(conf, set, out);
}

// The days of one span of hours as people say them: "Mon-Fri ", "Mon,Wed-Fri "; every day needs
// none.
static void say_days(struct buf *out, unsigned set)
{
    static const char names[] = "MonTueWedThuFriSatSun";
    const char *sep = "";
    for (int day = 0, last; set != 0x7f && day < 7; day = last + 1) {
        last = day;
        if ((set >> day & 1) == 0)
            continue;
        while (last < 6 && (set >> (last + 1) & 1) != 0)
            last++;
        buf_printf(out, "%s%.3s", sep, names + 3 * day);
        if (last > day)
            buf_printf(out, "%s%.3s", last > day + 1 ? "-" : ",", names + 3 * last);
        sep = ",";
    }
}

// Spans that begin and end at the same hours on several days are said together.
static void say_hours(struct buf *out, const struct conf_route *r)
{
    enum { DAY = 24 * 60 };
    const char *sep = " ";
    for (size_t i = 0; i < r->hours_count; i++) {
        unsigned begin = r->hours[i].begin % DAY, len = r->hours[i].end - r->hours[i].begin;
        unsigned set = 0;
        bool told = false;
        for (size_t k = 0; k < r->hours_count; k++) {
            bool same =
                r->hours[k].begin % DAY == begin && r->hours[k].end - r->hours[k].begin == (int)len;
            told = told || (same && k < i);
            set |= same ? 1u << r->hours[k].begin / DAY % 7 : 0;
        }
        if (told)
            continue;
        unsigned end = (begin + len) % DAY;
        buf_puts(out, sep);
        say_days(out, set);
        if (len < DAY && set == 0x7f)
            buf_printf(out, "from %02u:%02u to %02u:%02u", begin / 60, begin % 60, end / 60,
                       end % 60);
        else if (len < DAY)
            buf_printf(out, " %02u:%02u-%02u:%02u", begin / 60, begin % 60, end / 60, end % 60);
        sep = ", ";
    }
}

// As it is typed: "5 MiB", "300 KiB", "1000 B".
static void say_size(struct buf *out, const char *word, uint64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    unsigned unit = 0;
    if (size == 0)
        return;
    while (size % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        size /= 1024;
        unit++;
    }
    buf_printf(out, " %s than %llu %s", word, (unsigned long long)size, units[unit]);
}

static void say_headers(struct buf *out, const struct conf_route *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        bool any = strcmp(r->header[i].glob, "*") == 0;
        buf_printf(out, "%s%s%s%s", i > 0 ? " and " : " with header ", r->header[i].name,
                   any ? "" : ": ", any ? "" : r->header[i].glob);
    }
}

void route_conditions(const struct conf *conf, const struct conf_route *r, struct buf *out)
{
    struct buf words; // each condition begins with a blank
    buf_init(&words, WORDS_BYTES);
    say_globs(&words, " to ", r->to, r->to_count);
    say_globs(&words, " from ", r->from, r->from_count);
    say_clients(&words, r);
    say_globs(&words, " listener ", r->listener, r->listener_count);
    say_globs(&words, " mx ", r->mx, r->mx_count);
    say_size(&words, "larger", r->larger);
    say_size(&words, "smaller", r->smaller);
    say_headers(&words, r);
    say_classes_of_mail(&words, r->classes);
    say_networks(conf, " on network ", r->networks, &words);
    say_networks(conf, " not on network ", r->not_networks, &words);
    say_hours(&words, r);
    if (words.len == 0)
        buf_puts(out, "all mail");
    else
        buf_append(out, words.data + 1, words.len - 1);
    buf_free(&words);
}

void route_classes(uint32_t set, struct buf *out)
{
    const char *sep = "";
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        if ((set >> class & 1) != 0) {
            buf_printf(out, "%s%s", sep, outcome_class_name((enum outcome_class) class));
            sep = ", ";
        }
}

const char *route_mode_name(enum conf_mode mode)
{
    static const char *const names[] = {[MODE_NEVER] = "never",
                                        [MODE_UNDELIVERED] = "undelivered",
                                        [MODE_ON_ERROR] = "on-error",
                                        [MODE_DOMAINS] = "domains",
                                        [MODE_ALWAYS] = "always"};
    return mode != MODE_NONE ? names[mode] : NULL;
}

// ---- Chains ----

static void say_step(const struct conf *conf, const struct conf_step *s, bool first,
                     struct buf *out)
{
    char span[TIME_TEXT];
    const char *sep = first ? "" : ", then ";
    buf_puts(out, sep);
    const char *open = "(";
    if (!first && s->on != 0 && s->on != plan_default_on()) {
        buf_printf(out, "%son ", open);
        route_classes(s->on, out);
        open = "; ";
    }
    if (s->after_tries > 0) {
        buf_printf(out, "%safter %u attempts", open, s->after_tries);
        open = "; ";
    }
    if (s->after_ms > 0) {
        buf_printf(out, "%safter %s", open, time_span(s->after_ms, span));
        open = "; ";
    }
    if (s->parallel_ms > 0) {
        buf_printf(out, "%surgent mail beside it after %s", open, time_span(s->parallel_ms, span));
        open = "; ";
    }
    const struct conf_gateway *g = &conf->gateways[s->gateway];
    buf_printf(out, "%s%s%s", open[0] == ';' ? ") " : "", g->name, g->enabled ? "" : " (disabled)");
    say_networks(conf, g->networks != 0 ? " (on " : "", g->networks, out);
    if (g->networks != 0)
        buf_puts(out, ")");
}

static void say_chain(const struct conf *conf, const struct conf_route *r, struct buf *out)
{
    buf_puts(out, " goes through ");
    for (size_t i = 0; i < r->via_count; i++)
        say_step(conf, &r->via[i], i == 0, out);
    buf_puts(out, r->via_count > 0 ? ", else waits." : "nothing.");
    if (r->keep_failed)
        buf_puts(out, " What fails is kept on hold.");
}

static void say_hits(struct buf *out, const uint64_t *hits, size_t i)
{
    if (hits != NULL)
        buf_printf(out, " %llu taken.", (unsigned long long)hits[i]);
    buf_putc(out, '\n');
}

static void say_route(const struct conf *conf, size_t i, struct buf *out)
{
    const struct conf_route *r = &conf->routes[i];
    bool all = false;
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    route_conditions(conf, r, &words);
    all = str_eq(buf_str(&words), STR("all mail"));
    struct str said = buf_str(&words), alone = said;
    if (str_starts(said, STR("of class ")) && str_find(said, ',') == said.len)
        alone = str_make(said.ptr + 9, said.len - 9);
    if (all) {
        buf_puts(out, "All mail");
    } else if (alone.len < said.len && str_find(alone, ' ') == alone.len) {
        buf_printf(out, "%c%.*s mail", alone.ptr[0] - 'a' + 'A', (int)alone.len - 1, alone.ptr + 1);
    } else {
        buf_puts(out, "Mail ");
        buf_add(out, said);
    }
    buf_free(&words);
    say_chain(conf, r, out);
}

enum { NAMES_SHOWN = 16 }; // in one sentence

static void say_more(size_t count, struct buf *out)
{
    if (count > NAMES_SHOWN)
        buf_printf(out, ", and %zu more", count - NAMES_SHOWN);
}

static void say_names(const struct conf *conf, bool bound, struct buf *out)
{
    const char *sep = "";
    size_t count = 0;
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        if (!conf_gateway_is_general(g) || (g->networks != 0) != bound || !g->enabled ||
            ++count > NAMES_SHOWN)
            continue;
        buf_printf(out, "%s%s", sep, g->name);
        sep = ", ";
        if (g->networks == 0)
            continue;
        say_networks(conf, " (on ", g->networks, out);
        buf_puts(out, ")");
    }
    say_more(count, out);
}

static bool has(const struct conf *conf, bool bound)
{
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        if (conf_gateway_is_general(g) && g->enabled && (g->networks != 0) == bound)
            return true;
    }
    return false;
}

// The gateways without networks, in the order of their priority.
static void say_by_priority(const struct conf *conf, struct buf *out)
{
    const char *sep = "";
    size_t count = 0;
    for (int64_t last = INT64_MIN;;) {
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < conf->gateway_count; i++) {
            const struct conf_gateway *g = &conf->gateways[i];
            if (conf_gateway_is_general(g) && g->enabled && g->networks == 0 &&
                g->priority > last && g->priority < next)
                next = g->priority;
        }
        if (next == INT64_MAX)
            break;
        bool first = true;
        for (size_t i = 0; i < conf->gateway_count; i++) {
            const struct conf_gateway *g = &conf->gateways[i];
            if (!conf_gateway_is_general(g) || !g->enabled || g->networks != 0 ||
                g->priority != next || ++count > NAMES_SHOWN)
                continue;
            buf_printf(out, "%s%s", first ? sep : " or ", g->name);
            first = false;
        }
        sep = ", then ";
        last = next;
    }
    say_more(count, out);
}

static const char *fallback_name(const struct conf *conf)
{
    const char *first = NULL;
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        if (g->fallback && g->enabled)
            return g->name;
        if (first == NULL && g->enabled && conf_gateway_is_general(g))
            first = g->name;
    }
    return first;
}

// Does a route before it take all there is?
static bool nothing_left(const struct conf *conf)
{
    bool all = false;
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    for (size_t i = 0; !all && i < conf->route_count; i++) {
        buf_clear(&words);
        route_conditions(conf, &conf->routes[i], &words);
        all = str_eq(buf_str(&words), STR("all mail"));
    }
    buf_free(&words);
    return all;
}

static void say_default(const struct conf *conf, struct buf *out)
{
    const struct conf_choice *c = &conf->choice;
    if (nothing_left(conf)) {
        buf_puts(out, "No other mail is left.");
        return;
    }
    buf_puts(out, conf->route_count > 0 ? "All other mail goes " : "All mail goes ");
    if (!has(conf, true) && !has(conf, false)) {
        bool none = true;
        for (size_t i = 0; i < conf->gateway_count; i++)
            none = none && !conf_gateway_is_general(&conf->gateways[i]);
        buf_puts(out, none ? "direct to the recipients' own servers."
                           : "nowhere and waits: every gateway is disabled.");
        return;
    }
    buf_puts(out, "through the gateway picked by hand");
    const char *fallback = c->fallback != FALLBACK_NONE ? fallback_name(conf) : NULL;
    if (c->automatic && has(conf, true)) {
        buf_puts(out, ", then what is bound to the network of the moment: ");
        say_names(conf, true, out);
    }
    if (c->automatic && c->subnet && has(conf, false) && c->fallback != FALLBACK_ALL) {
        buf_puts(out, ", then what is inside one of our subnets: ");
        say_names(conf, false, out);
    } else if (c->automatic && c->subnet && has(conf, false)) {
        buf_puts(out, ", then what is inside one of our subnets");
    }
    if (c->automatic && c->fallback == FALLBACK_ALL && has(conf, false)) {
        buf_puts(out, ", then by priority ");
        say_by_priority(conf, out);
    } else if (fallback != NULL && (!c->automatic || c->fallback == FALLBACK_DEFAULT)) {
        buf_printf(out, "%s%s", c->automatic ? ", then the fallback " : ", or else the fallback ",
                   fallback);
    }
    buf_puts(out, ", else waits.");
}

void route_show(const struct conf *conf, const uint64_t *hits, struct buf *out)
{
    for (size_t i = 0; i < conf->route_count; i++) {
        const struct conf_route *r = &conf->routes[i];
        buf_printf(out, "%zu. ", i + 1);
        if (r->name != NULL)
            buf_printf(out, "%s: ", r->name);
        if (r->mode != MODE_NONE)
            buf_printf(out, "[%s %s] ", r->smarthost ? "smarthost, mode" : "mode",
                       route_mode_name(r->mode));
        else if (r->smarthost && (r->name == NULL || strcmp(r->name, "smarthost") != 0))
            buf_puts(out, "[smarthost] ");
        say_route(conf, i, out);
        say_hits(out, hits, i);
    }
    say_default(conf, out);
    say_hits(out, hits, conf->route_count);
}

// ---- JSON ----

static void step_json(const struct conf *conf, const struct conf_step *s, struct json *j)
{
    json_open(j, NULL);
    json_text(j, "gateway", conf->gateways[s->gateway].name);
    json_open_array(j, "on");
    uint32_t on = s->on != 0 ? s->on : plan_default_on();
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        if ((on >> class & 1) != 0)
            json_text(j, NULL, outcome_class_name((enum outcome_class) class));
    json_close_array(j);
    json_int(j, "after_tries", s->after_tries);
    json_int(j, "after_ms", s->after_ms);
    json_int(j, "parallel_ms", s->parallel_ms);
    json_close(j);
}

static void words_json(struct json *j, const char *key, struct buf *words)
{
    json_str(j, key, buf_str(words));
    buf_clear(words);
}

static void route_json(const struct conf *conf, size_t i, const uint64_t *hits, struct buf *words,
                       struct json *j)
{
    const struct conf_route *r = &conf->routes[i];
    json_open(j, NULL);
    json_int(j, "route", (int64_t)i + 1);
    json_text(j, "name", r->name);
    json_int(j, "line", r->line);
    route_conditions(conf, r, words);
    words_json(j, "conditions", words);
    json_text(j, "mode", route_mode_name(r->mode));
    json_bool(j, "smarthost", r->smarthost);
    json_bool(j, "keep_failed", r->keep_failed);
    json_open_array(j, "via");
    for (size_t k = 0; k < r->via_count; k++)
        step_json(conf, &r->via[k], j);
    json_close_array(j);
    say_route(conf, i, words);
    words_json(j, "text", words);
    if (hits != NULL)
        json_int(j, "taken", (int64_t)hits[i]);
    json_close(j);
}

void route_show_json(const struct conf *conf, const uint64_t *hits, struct json *j)
{
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    json_open(j, NULL);
    json_open_array(j, "routes");
    for (size_t i = 0; i < conf->route_count; i++)
        route_json(conf, i, hits, &words, j);
    json_close_array(j);
    json_open(j, "default");
    say_default(conf, &words);
    words_json(j, "text", &words);
    if (hits != NULL)
        json_int(j, "taken", (int64_t)hits[conf->route_count]);
    json_close(j);
    json_close(j);
    buf_free(&words);
}
