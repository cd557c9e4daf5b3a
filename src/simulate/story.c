// SPDX-License-Identifier: ISC
// Reading a story. Every word is checked here, so that playing it meets no surprise.
#include "simulate/story.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "conf/schema.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };

// What a verb's map may hold; an empty list: any key (names of links, servers).
struct verb_words {
    const char *word;
    bool scalar, map, list; // forms it may have
    const char *keys[24];
};
static const char *const server_keys[] = {"is",    "greeting", "ehlo", "auth", "mail",  "rcpt",
                                          "data",  "final",    "only", "from", "slow",  "tls",
                                          "login", "limit",    "exit", "says", "boxes", NULL};
static const char *const line_keys[] = {"links", "exit", "says", "slow", NULL};
static const struct verb_words verbs[VERBS] = {
    [VERB_LINKS] = {"links", false, true, false, {NULL}},
    [VERB_CONNECTION] = {"connection",
                         true,
                         true,
                         true,
                         {"id", "uuid", "type", "ssid", "interface", "apn", "metered", "captive",
                          NULL}},
    [VERB_MAIL] = {"mail",
                   false,
                   true,
                   true,
                   {"name", "from", "to", "size", "class", "count", "client", "user", "listener",
                    "header", "every", "later", NULL}},
    [VERB_SERVER] = {"server", false, true, false, {NULL}},
    [VERB_LINE] = {"line", false, true, false, {NULL}},
    [VERB_BLOCK] = {"block", true, true, false, {"ports", "how", "but", NULL}},
    [VERB_DNS] = {"dns", true, true, false, {NULL}},
    [VERB_CLOCK] = {"clock", true, false, false, {NULL}},
    [VERB_CRASH] = {"crash", true, false, false, {NULL}},
    [VERB_PICK] = {"pick", true, false, false, {NULL}},
    [VERB_FORGET] = {"forget", true, false, false, {NULL}},
    [VERB_RELOAD] = {"reload", true, false, false, {NULL}},
    [VERB_RETRY] = {"retry", true, false, true, {NULL}},
    [VERB_HOLD] = {"hold", true, false, true, {NULL}},
    [VERB_NOW] = {"now", true, false, true, {NULL}},
    [VERB_SEND_AT] = {"send-at", false, true, false, {"mail", "in", NULL}},
    [VERB_RELEASE] = {"release", true, false, true, {NULL}},
    [VERB_DROP] = {"drop", true, false, true, {NULL}},
    [VERB_RESTORE] = {"restore", true, false, true, {NULL}},
    [VERB_EXPECT] = {"expect", false, true, true, {"mail",    "to",     "is",      "via",
                                                   "tried",   "tries",  "copies",  "within",
                                                   "why",     "server", "mails",   "connections",
                                                   "active",  "picked", "waiting", "holds",
                                                   "explain", "line",   "dialled", "hung_up",
                                                   "not",     NULL}},
    [VERB_NOTE] = {"note", true, false, false, {NULL}},
};

struct reading {
    struct story *story;
    struct conf_report *report;
    int64_t now_ms; // of the step before
};

static void wrong(struct reading *r, const struct yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void wrong(struct reading *r, const struct yaml_node *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    conf_report_add(r->report, &r->story->source, false, at != NULL ? &at->place : NULL, format,
                    args);
    va_end(args);
}

// The words are offered by the caller; the hint behind a sentence.
static const char *meant(struct reading *r, const struct conf_nearest *n)
{
    return n->word != NULL ? arena_printf(r->story->arena, "; did you mean `%s`?", n->word) : "";
}

static void unknown_key(struct reading *r, const struct yaml_node *node, const char *where,
                        const char *const *keys)
{
    struct conf_nearest n = {0};
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (str_eq(node->key->text, str_of(keys[i])))
            return;
        conf_nearest_offer(&n, node->key->text, keys[i]);
    }
    wrong(r, node->key, "`%.*s` is no word of %s%s", STR_FMT(node->key->text), where, meant(r, &n));
}

static void check_keys(struct reading *r, const struct yaml_node *map, const char *where,
                       const char *const *keys)
{
    if (map->kind != YAML_MAP || keys[0] == NULL)
        return;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        unknown_key(r, n, where, keys);
}

bool story_clock(struct str text, int64_t *ms_out)
{
    uint64_t part[3] = {0};
    struct str piece;
    size_t n = 0;
    while (str_split(&text, ':', &piece)) {
        if (n == 3 || piece.len == 0 || piece.len > 2 ||
            !str_u64(piece, n == 0 ? 23 : 59, &part[n]))
            return false;
        n++;
    }
    *ms_out = (int64_t)(part[0] * HOUR_MS + part[1] * MINUTE_MS + part[2] * 1000);
    return n >= 2;
}

struct str story_text(const struct yaml_node *map, const char *key, const char *unset)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n != NULL && n->kind == YAML_SCALAR ? n->text : str_of(unset);
}

const struct yaml_node *story_first(const struct yaml_node *value)
{
    return value == NULL || value->kind != YAML_LIST ? value : value->first;
}

const struct yaml_node *story_next(const struct yaml_node *value, const struct yaml_node *item)
{
    return value->kind == YAML_LIST ? item->next : NULL;
}

// ---- Steps ----

static void check_deed(struct reading *r, enum verb verb, const struct yaml_node *what)
{
    const struct verb_words *v = &verbs[verb];
    if ((what->kind == YAML_SCALAR && !v->scalar) || (what->kind == YAML_MAP && !v->map) ||
        (what->kind == YAML_LIST && !v->list)) {
        wrong(r, what, "`%s` takes %s%s%s", v->word, v->map ? "a map" : "",
              v->map && (v->list || v->scalar) ? " or " : "",
              v->list     ? "a list"
              : v->scalar ? "a word"
                          : "");
        return;
    }
    if (what->kind == YAML_LIST)
        for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
            check_keys(r, n, v->word, v->keys);
    check_keys(r, what, v->word, v->keys);
    if (verb == VERB_SERVER)
        for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
            check_keys(r, n, "a server", server_keys);
    if (verb == VERB_LINE)
        for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
            check_keys(r, n, "a line", line_keys);
    const struct yaml_node *to = verb == VERB_MAIL ? yaml_get(what, "to") : NULL;
    if (verb == VERB_MAIL && what->kind == YAML_MAP && to == NULL)
        wrong(r, what, "this mail is to nobody; write `to: name@example.net`");
}

static int find_verb(struct str word)
{
    for (int v = 0; v < VERBS; v++)
        if (str_eq(word, str_of(verbs[v].word)))
            return v;
    return -1;
}

// When: `at: "08:00"` is the next such time of day, `after: 5m` counts from the step before.
static void read_time(struct reading *r, const struct yaml_node *node, struct step *step)
{
    const struct yaml_node *at = yaml_get(node, "at"), *after = yaml_get(node, "after");
    int64_t ms = 0;
    step->at_ms = r->now_ms;
    if (at != NULL && after != NULL)
        wrong(r, after, "a step has either `at` or `after`");
    if (after != NULL && (after->kind != YAML_SCALAR || !time_parse_span(after->text, &ms)))
        wrong(r, after, "`after` takes a time such as 30s, 5m, 4h or 2d");
    step->at_ms += ms;
    step->after_ms = ms;
    if (at == NULL)
        return;
    step->after_ms = -1;
    if (at->kind != YAML_SCALAR || !story_clock(at->text, &ms)) {
        wrong(r, at, "`at` takes a time of day such as \"08:00\" or \"17:30:05\", in quotes");
        return;
    }
    int64_t start = r->story->start_ms + (int64_t)r->story->zone_minutes * MINUTE_MS;
    int64_t midnight = (start + r->now_ms) / DAY_MS * DAY_MS - start;
    step->at_ms = midnight + ms;
    if (step->at_ms < r->now_ms)
        step->at_ms += DAY_MS;
}

static struct step *read_step(struct reading *r, const struct yaml_node *node)
{
    struct step *step = arena_alloc(r->story->arena, sizeof(*step));
    struct deed **tail = &step->deeds;
    step->line = node->place.line;
    if (node->kind != YAML_MAP) {
        wrong(r, node, "a step is a map such as `- {at: \"08:00\", mail: {to: b@example.net}}`");
        return step;
    }
    read_time(r, node, step);
    r->now_ms = step->at_ms;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (str_eq(n->key->text, STR("at")) || str_eq(n->key->text, STR("after")))
            continue;
        int verb = find_verb(n->key->text);
        if (verb < 0) {
            struct conf_nearest near = {0};
            for (int v = 0; v < VERBS; v++)
                conf_nearest_offer(&near, n->key->text, verbs[v].word);
            wrong(r, n->key, "nothing is done by `%.*s`%s", STR_FMT(n->key->text), meant(r, &near));
            continue;
        }
        check_deed(r, (enum verb)verb, n);
        *tail = arena_alloc(r->story->arena, sizeof(**tail));
        **tail = (struct deed){.verb = (enum verb)verb, .what = n};
        tail = &(*tail)->next;
    }
    return step;
}

// ---- The head ----

// "2026-03-02 08:00", local time.
static bool read_start(struct str text, int zone_minutes, int64_t *ms_out)
{
    struct str date, clock = text, piece;
    uint64_t d[3] = {0};
    int64_t ms = 0;
    str_split(&clock, ' ', &date);
    for (size_t i = 0; i < 3; i++)
        if (!str_split(&date, '-', &piece) || !str_u64(piece,
                                                       i == 0   ? 2100
                                                       : i == 1 ? 12
                                                                : 31,
                                                       &d[i]))
            return false;
    if (date.len > 0 || d[0] < 1970 || d[1] == 0 || d[2] == 0 ||
        (clock.len > 0 && !story_clock(str_trim(clock), &ms)))
        return false;
    // Days since 1970-01-01 (the usual count of a year that begins in March).
    int64_t y = (int64_t)d[0] - (d[1] <= 2), era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * ((int64_t)d[1] + (d[1] > 2 ? -3 : 9)) + 2) / 5 + (int64_t)d[2] - 1;
    int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    *ms_out = days * DAY_MS + ms - (int64_t)zone_minutes * MINUTE_MS;
    return true;
}

static void read_head(struct reading *r, const struct yaml_node *root)
{
    static const char *const keys[] = {"title",   "start",   "zone",    "sender", "config",
                                       "configs", "servers", "domains", "story",  NULL};
    struct story *s = r->story;
    check_keys(r, root, "a story", keys);
    s->title = arena_str(s->arena, story_text(root, "title", ""));
    s->sender = arena_str(s->arena, story_text(root, "sender", "me@example.org"));
    s->config = story_text(root, "config", "");
    s->extra_configs = yaml_get(root, "configs");
    const struct yaml_node *zone = yaml_get(root, "zone"), *start = yaml_get(root, "start");
    if (zone != NULL &&
        (zone->kind != YAML_SCALAR || !time_parse_offset(zone->text, &s->zone_minutes)))
        wrong(r, zone, "`zone` is a distance from UTC such as \"+01:00\"");
    if (!read_start(story_text(root, "start", "2026-03-02 00:00"), s->zone_minutes, &s->start_ms))
        wrong(r, start, "`start` is a date and a time such as \"2026-03-02 08:00\"");
    const struct yaml_node *servers = yaml_get(root, "servers"),
                           *domains = yaml_get(root, "domains");
    struct story_server **server = &s->servers;
    for (const struct yaml_node *n = servers != NULL ? servers->first : NULL; n != NULL;
         n = n->next) {
        if (n->key == NULL || n->kind != YAML_MAP) {
            wrong(r, n, "`servers` is a map of names, each with its traits in braces");
            continue;
        }
        check_keys(r, n, "a server", server_keys);
        *server = arena_alloc(s->arena, sizeof(**server));
        **server = (struct story_server){.name = arena_str(s->arena, n->key->text), .traits = n};
        server = &(*server)->next;
    }
    struct story_domain **domain = &s->domains;
    for (const struct yaml_node *n = domains != NULL ? domains->first : NULL; n != NULL;
         n = n->next) {
        if (n->key == NULL || n->kind == YAML_MAP) {
            wrong(r, n, "`domains` is a map of domains, each with a list of its mail exchangers");
            continue;
        }
        *domain = arena_alloc(s->arena, sizeof(**domain));
        **domain = (struct story_domain){.name = arena_str(s->arena, n->key->text), .mx = n};
        domain = &(*domain)->next;
    }
}

struct story *story_read(const char *file, struct str text, struct conf_report *report)
{
    struct arena *arena = arena_new();
    struct story *s = arena_alloc(arena, sizeof(*s));
    s->arena = arena;
    s->file = arena_strdup(arena, file);
    s->source = (struct conf_source){.name = s->file, .text = arena_dup(arena, text)};
    struct reading r = {.story = s, .report = report};
    unsigned before = report->errors;
    const struct yaml_node *root = yaml_parse(&s->source, arena, report);
    if (root != NULL && root->kind == YAML_MAP) {
        read_head(&r, root);
        const struct yaml_node *steps = yaml_get(root, "story");
        struct step **tail = &s->steps;
        if (steps == NULL || steps->kind != YAML_LIST)
            wrong(&r, steps, "a story has a list of steps under `story:`");
        for (const struct yaml_node *n = steps != NULL && steps->kind == YAML_LIST ? steps->first
                                                                                   : NULL;
             n != NULL; n = n->next) {
            *tail = read_step(&r, n);
            tail = &(*tail)->next;
        }
    } else if (root != NULL) {
        wrong(&r, root, "a story is a map with `story:` in it");
    }
    if (report->errors > before) {
        story_free(&s);
        return NULL;
    }
    return s;
}

void story_free(struct story **sp)
{
    struct story *s = *sp;
    *sp = NULL;
    if (s == NULL)
        return;
    xfree(s->source.secrets);
    struct arena *arena = s->arena;
    arena_free(&arena);
}
