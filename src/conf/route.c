// SPDX-License-Identifier: ISC
// The routes of a configuration.
#include "conf/reader.h"
#include "base/map.h"

enum { CHAIN_MAX = 64 };

// A single value stands for a list of one: its first item and their number.
static const struct yaml_node *items(const struct yaml_node *node, struct yaml_node *alone,
                                     size_t *count_out)
{
    *alone = *node;
    alone->next = NULL;
    *count_out = node->kind == YAML_LIST ? node->count : 1;
    return node->kind == YAML_LIST ? node->first : alone;
}

void route_chain(struct reader *r, const struct yaml_node *node, struct conf_route *route)
{
    struct yaml_node alone;
    size_t count;
    const struct yaml_node *step = items(node, &alone, &count);
    if (count == 0 || yaml_is_empty(node)) {
        reader_error(r, node, "a route needs at least one gateway; for example: via: [direct]");
        return;
    }
    if (count > CHAIN_MAX) {
        reader_error(r, node, "a route has at most %d gateways", CHAIN_MAX);
        return;
    }
    struct conf_step *steps = arena_alloc(r->arena, count * sizeof(*steps));
    route->via = steps;
    for (; step != NULL; step = step->next) {
        struct conf_step *s = &steps[route->via_count++];
        if (step->kind != YAML_MAP) {
            value_gateway(r, step, &s->gateway);
            continue;
        }
        reader_map(r, step, "routes[].via[].", s);
        reader_require(r, step, "routes[].via[].");
    }
}

static bool good_text(struct reader *r, const struct yaml_node *item, const char *what)
{
    if (item->kind == YAML_SCALAR && item->tag.len == 0 && !yaml_is_empty(item) &&
        item->text.len > 0 && item->text.len <= LIMIT_PATH)
        return true;
    reader_error(r, item, "%s", what);
    return false;
}

// What can be read as an address or a range is one; the rest are patterns.
void route_clients(struct reader *r, const struct yaml_node *node, struct conf_route *route)
{
    struct yaml_node alone;
    size_t count;
    const struct yaml_node *item = items(node, &alone, &count);
    if (count == 0)
        reader_error(r, node, "client is empty; leave the key out for every client");
    struct net_range *ranges = arena_alloc(r->arena, (count + 1) * sizeof(*ranges));
    const char **globs = arena_alloc(r->arena, (count + 1) * sizeof(*globs));
    for (; item != NULL; item = item->next) {
        if (!good_text(r, item,
                       "client is a list such as [192.168.1.0/24, \"uid 1000\", \"user alice\"]"))
            continue;
        if (net_range_parse(item->text, &ranges[route->client_range_count]))
            route->client_range_count++;
        else
            globs[route->client_count++] = arena_str(r->arena, item->text);
    }
    route->client = globs;
    route->client_range = ranges;
}

static bool good_field_name(struct str name)
{
    enum { FIELD_NAME_MAX = 64 };
    if (name.len == 0 || name.len > FIELD_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || name.ptr[i] == ':')
            return false;
    return true;
}

static const char *lower(struct arena *arena, struct str text)
{
    char *out = arena_str(arena, text);
    for (char *c = out; *c != '\0'; c++)
        *c = ascii_lower(*c);
    return out;
}

void route_headers(struct reader *r, const struct yaml_node *node, struct conf_route *route)
{
    size_t most = 0, count;
    struct yaml_node alone;
    if (node->kind != YAML_MAP || node->count == 0) {
        reader_error(r, node, "header is %s", conf_type_words(conf_key_find("routes[].header")));
        return;
    }
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        items(n, &alone, &count);
        most += count;
    }
    struct conf_header *list = arena_alloc(r->arena, (most + 1) * sizeof(*list));
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (!good_field_name(n->key->text)) {
            reader_error(r, n->key,
                         "the name of a header field is printable text without blanks "
                         "and colons");
            continue;
        }
        const struct yaml_node *item = items(n, &alone, &count);
        if (count == 0)
            reader_error(r, n, "no patterns for this field; \"*\" stands for any text");
        for (; item != NULL; item = item->next)
            if (good_text(r, item, "a field's text is matched by a pattern such as \"*invoice*\""))
                list[route->header_count++] = (struct conf_header){lower(r->arena, n->key->text),
                                                                   arena_str(r->arena, item->text)};
    }
    route->header = list;
}

// What conditions ask for, so that it is found out only when it is needed.
static void gather(struct reader *r)
{
    struct conf *conf = r->conf;
    struct map *names = map_new();
    const char **list = arena_alloc(r->arena, (LIMIT_KEPT_HEADERS + 1) * sizeof(*list));
    conf->asks_headers = list;
    for (size_t i = 0; i < conf->gateway_count; i++)
        conf->asks_hours |= conf->gateways[i].hours_count > 0;
    for (size_t i = 0; i < conf->route_count; i++) {
        const struct conf_route *route = &conf->routes[i];
        conf->asks_mx |= route->mx_count > 0;
        conf->asks_hours |= route->hours_count > 0;
        for (size_t j = 0; j < route->header_count; j++) {
            struct str name = str_of(route->header[j].name);
            if (map_get(names, name) != NULL)
                continue;
            if (conf->ask_header_count == LIMIT_KEPT_HEADERS) {
                reader_error(r, yaml_get(r->route_at[i], "header"),
                             "all routes together name more than %d different header fields",
                             LIMIT_KEPT_HEADERS);
                map_free(&names);
                return;
            }
            map_put(names, name, (void *)route);
            list[conf->ask_header_count++] = name.ptr;
        }
    }
    map_free(&names);
}

static void read_route(struct reader *r, const struct yaml_node *n, struct conf_route *route)
{
    route->line = n->place.line;
    reader_map(r, n, "routes[].", route);
    bool mode = yaml_get(n, "mode") != NULL;
    if (!mode || route->mode != MODE_NONE)
        preset_expand(r, n, route);
    if (!mode && yaml_get(n, "via") == NULL && yaml_get(n, "gateways") == NULL &&
        !reader_misspelt(n, "routes[].", "via") && !reader_misspelt(n, "routes[].", "mode"))
        reader_missing(r, n, conf_key_find("routes[].via"));
}

void routes_read(struct reader *r)
{
    size_t count;
    const struct yaml_node *first = reader_records(r, "routes", &count);
    struct conf_route *list = arena_alloc(r->arena, (count + 1) * sizeof(*list)), *route = list;
    r->route_at = arena_alloc(r->arena, (count + 1) * sizeof(*r->route_at));
    for (const struct yaml_node *n = first; n != NULL; n = n->next) {
        if (n->kind != YAML_MAP) {
            reader_error(r, n, "a route is a map of keys: {to: \"*@example.org\", via: [direct]}");
            continue;
        }
        r->route_at[route - list] = n;
        read_route(r, n, route++);
    }
    if (preset_smarthost(r, route))
        r->route_at[route++ - list] = yaml_get(r->root, "smarthost");
    r->conf->routes = list;
    r->conf->route_count = (size_t)(route - list);
    gather(r);
}
