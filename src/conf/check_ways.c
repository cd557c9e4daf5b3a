// SPDX-License-Identifier: ISC
// What is wrong with networks, with what limits gateways, and with the conditions of routes, when
// several keys are seen together.
#include "conf/reader.h"
#include "conf/price.h"

#include <net/if.h>

static const struct yaml_node *at_key(const struct yaml_node *entry, const char *key)
{
    const struct yaml_node *n = yaml_get(entry, key);
    return n != NULL ? n->key : entry != NULL && entry->key != NULL ? entry->key : entry;
}

// Networks

static bool is_named_by_gateway(const struct conf *conf, const struct conf_network *n)
{
    size_t index = (size_t)(n - conf->networks);
    for (size_t i = 0; i < conf->gateway_count; i++)
        if ((conf->gateways[i].networks >> index & 1) != 0)
            return true;
    return false;
}

static void check_program(struct reader *r, const char *program, const struct yaml_node *at)
{
    if (program[0] != '/')
        reader_error(r, at,
                     "the program `%s` needs its absolute path, as in /usr/bin/nmcli: it is run "
                     "without a shell",
                     program);
}

static void check_dial(struct reader *r, const struct conf_network *n, const struct yaml_node *at)
{
    const struct conf_dial *d = &n->dial;
    if (at == NULL)
        return;
    if (!is_named_by_gateway(r->conf, n))
        reader_warn(r, at->key,
                    "no gateway has `%s` in its `networks`, so no mail ever makes it dial; add to "
                    "one: networks: [%s]",
                    n->name, n->name);
    if (d->command_count == 0)
        reader_error(r, at->key,
                     "`dial` of `%s` names no `command`; add, for example: command: "
                     "[/usr/bin/nmcli, connection, up, %s]",
                     n->name, n->name);
    else
        check_program(r, d->command[0], yaml_get(at, "command"));
    if (d->hang_up_count > 0)
        check_program(r, d->hang_up[0], yaml_get(at, "hang_up"));
}

static void check_network(struct reader *r, const struct conf_network *n,
                          const struct yaml_node *at)
{
    bool asks = n->metered != WISH_ANY || n->captive != WISH_ANY;
    for (const struct yaml_node *key = at->first; key != NULL; key = key->next)
        asks |= !str_eq(key->key->text, STR("metered")) &&
                !str_eq(key->key->text, STR("captive")) && !str_eq(key->key->text, STR("dial"));
    if (!asks)
        reader_warn(r, at->key,
                    "`%s` names no condition, so it never holds; add one, for example: address: "
                    "[10.20.0.0/16]",
                    n->name);
    check_dial(r, n, yaml_get(at, "dial"));
}

// Gateways

static bool is_private(const struct net_addr *addr)
{
    static const char *const ranges[] = {"10.0.0.0/8",     "172.16.0.0/12", "192.168.0.0/16",
                                         "169.254.0.0/16", "fc00::/7",      "fe80::/10"};
    struct net_range range;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (net_range_parse(str_of(ranges[i]), &range) && net_range_has(&range, addr))
            return true;
    return false;
}

// The network whose own addresses or subnets lie around this address.
static const struct conf_network *network_of(const struct conf *conf, const struct net_addr *addr)
{
    for (size_t i = 0; i < conf->network_count; i++) {
        const struct conf_network *n = &conf->networks[i];
        for (size_t j = 0; j < n->address_count; j++)
            if (net_range_has(&n->address[j], addr))
                return n;
        for (size_t j = 0; j < n->subnet_count; j++)
            if (net_range_has(&n->subnet[j], addr))
                return n;
    }
    return NULL;
}

// A relay that knows its clients by their addresses refuses everything from elsewhere (AR-42).
static void check_reachable(struct reader *r, const struct conf_gateway *g,
                            const struct yaml_node *at)
{
    struct net_addr addr;
    if (g->user != NULL || g->networks != 0 || r->conf->network_count == 0 ||
        !net_addr_parse_ip(str_of(g->host), &addr) || !is_private(&addr))
        return;
    const struct conf_network *n = network_of(r->conf, &addr);
    if (n != NULL)
        reader_warn(r, at_key(at, "url"),
                    "`%s` has a private address and no login: is it usable only on network `%s`? "
                    "Then add networks: [%s]",
                    g->name, n->name, n->name);
    else
        reader_warn(r, at_key(at, "url"),
                    "`%s` has a private address and no login: say with `networks` where it is "
                    "usable",
                    g->name);
}

static void check_limits(struct reader *r, const struct conf_gateway *g, const struct yaml_node *at)
{
    static const char *const units[] = {"", "recipients_", "bytes_"};
    static const char *const periods[] = {"minute", "hour", "day", "week", "month"};
    const struct yaml_node *limits = yaml_get(at, "limits");
    bool any = false;
    for (size_t u = 0; u < UNITS; u++) {
        size_t last = PERIODS;
        for (size_t p = 0; p < PERIODS; p++) {
            if (g->quota[u][p] == 0)
                continue;
            any = true;
            // A week of May and June is no part of either.
            if (last < PERIODS && g->quota[u][last] > g->quota[u][p] &&
                !(last == PERIOD_WEEK && p == PERIOD_MONTH))
                reader_warn(r, limits->key,
                            "`%s`: %sper_%s is more than %sper_%s allows, and never reached",
                            g->name, units[u], periods[last], units[u], periods[p]);
            last = p;
        }
    }
    any = any || g->budget.micros > 0;
    if (any && g->reserve_percent == 100)
        reader_warn(r, yaml_get(limits, "reserve"),
                    "a reserve of 100%% leaves `%s` nothing for mail that is not urgent", g->name);
    for (size_t i = 0; i < 2; i++) {
        const struct yaml_node *n = yaml_get(limits, i == 0 ? "reserve" : "reset");
        if (n != NULL && !any)
            reader_warn(r, n->key,
                        "`%.*s` has no effect without an allowance, for example: per_day: 10000",
                        STR_FMT(n->key->text));
    }
}

static void check_cost(struct reader *r, const struct conf_gateway *g, const struct yaml_node *at)
{
    const struct yaml_node *budget = yaml_get(yaml_get(at, "limits"), "cost_per_month");
    if (g->budget.micros == 0)
        return;
    if (g->cost.micros == 0)
        reader_error(r, budget->key,
                     "`cost_per_month` needs to know what `%s` asks; add, for example: cost: 0.10 "
                     "%s/1000",
                     g->name, g->budget.currency);
    else if (g->budget.per != 1)
        reader_error(r, budget, "`cost_per_month` is an amount, such as: 5 %s", g->budget.currency);
    else if (strcmp(g->cost.currency, g->budget.currency) != 0)
        reader_error(r, budget, "`cost_per_month` is in %s, and `cost` in %s; write one currency",
                     g->budget.currency, g->cost.currency);
    else if (price_recipients(&g->cost, g->budget.micros) == 0)
        reader_error(r, budget, "that is less than one recipient costs at `%s`", g->name);
}

static void check_health(struct reader *r, const struct conf_gateway *g, const struct yaml_node *at)
{
    enum { QUICK_MS = 10 * 1000 };
    const struct yaml_node *health = yaml_get(at, "health");
    if (g->health.every_ms > 0 && g->health.every_ms < QUICK_MS)
        reader_warn(r, yaml_get(health, "probe"),
                    "to be asked every %s may look like an attack to the server; 5m is usual",
                    value_time_text(r->arena, g->health.every_ms));
    if (g->health.depth == PROBE_AUTH && g->user == NULL && conf_gateway_is_general(g))
        reader_error(r, yaml_get(health, "depth"), "`%s` has no login to be tried; write ehlo",
                     g->name);
    if (g->health.depth == PROBE_TLS && g->tls == TLS_OFF && !conf_gateway_is_local(g))
        reader_error(r, yaml_get(health, "depth"), "`%s` does without TLS; write ehlo", g->name);
}

static void check_path(struct reader *r, const struct conf_gateway *g, const struct yaml_node *at)
{
    static const char *const not_unix[] = {"addresses", "interface", "socks", "source"};
    static const char *const not_direct[] = {"addresses", "health"};
    const struct yaml_node *socks = yaml_get(at, "socks");
    for (size_t i = 0; g->unix_path != NULL && i < 4; i++)
        if (yaml_get(at, not_unix[i]) != NULL)
            reader_error(r, at_key(at, not_unix[i]), "`%s` is not for a unix socket", not_unix[i]);
    for (size_t i = 0; g->kind == GATEWAY_DIRECT && strcmp(g->name, "direct") == 0 && i < 2; i++)
        if (yaml_get(at, not_direct[i]) != NULL)
            reader_error(r, at_key(at, not_direct[i]),
                         "`%s` is not for `direct`, which has a server for each recipient",
                         not_direct[i]);
    if (g->interface != NULL && strlen(g->interface) >= IF_NAMESIZE)
        reader_error(r, yaml_get(at, "interface"), "an interface's name has at most %d characters",
                     IF_NAMESIZE - 1);
    if (yaml_get(at, "socks_password") != NULL && socks == NULL)
        reader_error(r, at_key(at, "socks_password"),
                     "`socks_password` has no effect without `socks`");
    if (g->socks != NULL && (g->socks->user == NULL) != (g->socks_password == NULL))
        reader_error(r, socks, "the proxy has a %s; write both, or neither",
                     g->socks->user == NULL ? "password without a user: socks5://user@host"
                                            : "user without `socks_password`");
}

static void check_fallback(struct reader *r)
{
    const struct conf_gateway *first = NULL;
    for (size_t i = 0; i < r->conf->gateway_count; i++) {
        const struct conf_gateway *g = &r->conf->gateways[i];
        if (!g->fallback)
            continue;
        if (first != NULL)
            reader_error(r, at_key(r->gateway_at[i], "default"),
                         "only one gateway can be the default; `%s` is it already", first->name);
        else
            first = g;
    }
}

// Routes

static void check_conditions(struct reader *r, const struct conf_route *route,
                             const struct yaml_node *at)
{
    if (route->larger > 0 && route->smaller > 0 && route->smaller <= route->larger + 1)
        reader_error(r, yaml_get(at, "smaller"),
                     "no mail is larger than %s and smaller than %s at once",
                     value_size_text(r->arena, (int64_t)route->larger),
                     value_size_text(r->arena, (int64_t)route->smaller));
    if (route->networks != 0 && (route->networks & ~route->not_networks) == 0)
        reader_error(r, yaml_get(at, "network"),
                     "this never holds: the same network is asked for and ruled out");
}

// Steps that a mode or `smarthost` made have no place of their own.
static void check_made(struct reader *r, const struct conf_route *route, const struct yaml_node *at)
{
    const struct yaml_node *names = yaml_get(at, route->smarthost ? "gateway" : "gateways");
    if (route->mode == MODE_NONE && !route->smarthost)
        return;
    const struct conf *conf = r->conf;
    bool to_direct =
        route->smarthost && conf->gateways[conf->smarthost.gateway].kind == GATEWAY_DIRECT;
    if (to_direct)
        reader_error(r, names, "`direct` is delivery without a gateway; name another");
    for (size_t i = 0; i < route->via_count; i++) {
        const struct conf_gateway *g = &conf->gateways[route->via[i].gateway];
        bool direct =
            i > 0 && route->via[i].gateway == route->via[0].gateway && g->kind == GATEWAY_DIRECT;
        if (direct && !to_direct)
            reader_error(r, names, "`direct` is delivery without a gateway; name another");
        if (!g->enabled)
            reader_warn(r, names != NULL ? names : at,
                        "`%s` is not enabled and will be passed over", g->name);
    }
}

// Replies

static void check_reply(struct reader *r, const struct conf_reply *reply,
                        const struct yaml_node *at)
{
    if (yaml_get(at, "code") == NULL && yaml_get(at, "enhanced") == NULL &&
        yaml_get(at, "text") == NULL)
        reader_error(r, at, "a reply is known by `code`, `enhanced` or `text`; add one of them");
    if (reply->gateway == NULL)
        return;
    for (size_t i = 0; i < r->conf->gateway_count; i++)
        if (str_glob(str_of(reply->gateway), str_of(r->conf->gateways[i].name)))
            return;
    reader_warn(r, yaml_get(at, "gateway"), "no gateway is named like this");
}

static void check_captive_url(struct reader *r)
{
    const char *url = r->conf->captive_url;
    struct net_addr literal;
    if (url == NULL)
        return;
    bool http = str_istarts(str_of(url), STR("http://"));
    struct str host = http ? str_make(url + 7, strcspn(url + 7, "/")) : STR("");
    if (host.len == 0 || strpbrk(url, " @") != NULL ||
        (host.ptr[0] == '[' && !net_addr_parse(host, 80, &literal)))
        reader_error(r, yaml_get(r->root, "captive_url"),
                     "captive_url is a page without encryption, which a portal can answer: "
                     "http://host/path");
}

void check_ways(struct reader *r)
{
    const struct conf *conf = r->conf;
    for (size_t i = 0; i < conf->network_count; i++)
        if (r->network_at[i]->kind == YAML_MAP)
            check_network(r, &conf->networks[i], r->network_at[i]);
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        check_reachable(r, g, r->gateway_at[i]);
        check_limits(r, g, r->gateway_at[i]);
        check_cost(r, g, r->gateway_at[i]);
        check_health(r, g, r->gateway_at[i]);
        check_path(r, g, r->gateway_at[i]);
    }
    check_fallback(r);
    for (size_t i = 0; i < conf->route_count; i++) {
        check_conditions(r, &conf->routes[i], r->route_at[i]);
        check_made(r, &conf->routes[i], r->route_at[i]);
    }
    for (size_t i = 0; i < conf->reply_count; i++)
        check_reply(r, &conf->replies[i], r->reply_at[i]);
    check_captive_url(r);
}
