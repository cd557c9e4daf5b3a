// SPDX-License-Identifier: ISC
// Modes of a route and `smarthost`, made into the chains they stand for:
//
//   never        direct
//   undelivered  direct, then each gateway with the mode's `after`
//   on-error     direct, then the gateways, the first with the mode's `on`
//   domains      the gateways; what fails is kept
//   always       the gateways
//
//   smarthost    direct, then the gateway with `on`; exclusive: the gateway alone; off: direct
//   alone
#include "conf/reader.h"

static uint32_t direct_index(const struct reader *r)
{
    const struct conf_gateway *direct = conf_gateway_find(r->conf, STR("direct"));
    return direct != NULL ? direct->index : 0;
}

// The words that stand for several classes.
static uint32_t classes_of(uint32_t on)
{
    static const uint32_t lan = 1u << OUTCOME_OFFLINE | 1u << OUTCOME_NET;
    static const uint32_t smtp = 1u << OUTCOME_TLS | 1u << OUTCOME_AUTH | 1u << OUTCOME_QUOTA |
                                 1u << OUTCOME_BUSY | 1u << OUTCOME_REPUTATION;
    uint32_t classes = on & ((1u << OUTCOME_CLASSES) - 1);
    if ((on & 1u << MODE_ON_LAN) != 0)
        classes |= lan;
    if ((on & 1u << MODE_ON_SMTP) != 0)
        classes |= smtp;
    return classes;
}

// A key that belongs to one mode only.
static void only_with(struct reader *r, const struct yaml_node *at, const struct conf_route *route,
                      const char *key, enum conf_mode mode, const char *name)
{
    const struct yaml_node *n = yaml_get(at, key);
    if (n != NULL && route->mode != mode)
        reader_error(r, n->key, "`%s` is only for `mode: %s`%s", key, name,
                     route->mode == MODE_NONE
                         ? "; here it stands with a gateway: via: [direct, {gateway: isp, ...}]"
                         : "");
}

static bool good_mode(struct reader *r, const struct yaml_node *at, const struct conf_route *route)
{
    const struct yaml_node *mode = yaml_get(at, "mode"), *via = yaml_get(at, "via");
    const struct yaml_node *gateways = yaml_get(at, "gateways");
    if (via != NULL) {
        reader_error(r, via->key, "`mode` says what `via` would say; keep one of them");
        return false;
    }
    if (route->mode == MODE_NEVER) {
        if (gateways != NULL)
            reader_error(r, gateways->key,
                         "`mode: never` is direct delivery alone; it takes no gateways");
        return gateways == NULL;
    }
    if (gateways == NULL) {
        reader_error(r, mode, "`gateways` is missing: with this mode write gateways: [isp]");
        return false;
    }
    if (route->mode == MODE_UNDELIVERED && yaml_get(at, "after") == NULL)
        reader_error(r, mode,
                     "`after` is missing: how long direct delivery is tried; for example: "
                     "after: {time: 4h}");
    if (route->mode == MODE_DOMAINS && yaml_get(at, "to") == NULL)
        reader_error(r, mode,
                     "`to` is missing: the domains that go through the gateways; for all "
                     "mail write mode: always");
    return true;
}

void preset_expand(struct reader *r, const struct yaml_node *at, struct conf_route *route)
{
    only_with(r, at, route, "on", MODE_ON_ERROR, "on-error");
    only_with(r, at, route, "after", MODE_UNDELIVERED, "undelivered");
    if (route->mode == MODE_NONE && yaml_get(at, "gateways") != NULL)
        reader_error(r, yaml_get(at, "gateways")->key,
                     "`gateways` belongs to a `mode`; without one write via: [isp]");
    if (route->mode == MODE_NONE || !good_mode(r, at, route))
        return;
    bool direct = route->mode == MODE_NEVER || route->mode == MODE_UNDELIVERED ||
                  route->mode == MODE_ON_ERROR;
    struct conf_step *steps =
        arena_alloc(r->arena, (route->mode_gateway_count + 1) * sizeof(*steps));
    size_t n = 0;
    if (direct)
        steps[n++].gateway = direct_index(r);
    for (size_t i = 0; i < route->mode_gateway_count; i++, n++) {
        steps[n].gateway = route->mode_gateways[i];
        steps[n].on = i == 0 ? classes_of(route->mode_on) : 0;
        steps[n].after_tries = route->mode_tries;
        steps[n].after_ms = route->mode_ms;
    }
    if (route->mode == MODE_DOMAINS && yaml_get(at, "keep_failed") == NULL)
        route->keep_failed = true;
    route->via = steps;
    route->via_count = n;
}

bool preset_smarthost(struct reader *r, struct conf_route *route)
{
    static const uint32_t perm =
        1u << OUTCOME_REFUSED | 1u << OUTCOME_NO_RECORD | 1u << OUTCOME_REPUTATION;
    static const uint32_t temp = 1u << OUTCOME_OFFLINE | 1u << OUTCOME_NET | 1u << OUTCOME_DNS |
                                 1u << OUTCOME_TLS | 1u << OUTCOME_AUTH | 1u << OUTCOME_QUOTA |
                                 1u << OUTCOME_BUSY | 1u << OUTCOME_REPUTATION;
    static const uint32_t on[] = {
        [SMARTHOST_TEMP] = temp, [SMARTHOST_PERM] = perm, [SMARTHOST_BOTH] = temp | perm};
    const struct conf *conf = r->conf;
    const struct yaml_node *node = yaml_get(r->root, "smarthost");
    if (node == NULL || node->kind != YAML_MAP)
        return false;
    if (yaml_get(node, "gateway") == NULL && !reader_misspelt(node, "smarthost.", "gateway"))
        reader_error(r, node->key, "smarthost names nothing: write smarthost: {gateway: isp}");
    if (conf->smarthost.gateway == UINT32_MAX)
        return false;
    struct conf_step *steps = arena_alloc(r->arena, 2 * sizeof(*steps));
    if (!conf->smarthost.enabled || !conf->smarthost.exclusive)
        steps[route->via_count++].gateway = direct_index(r);
    if (conf->smarthost.enabled)
        steps[route->via_count++] = (struct conf_step){
            .gateway = conf->smarthost.gateway,
            .on = conf->smarthost.exclusive ? 0 : on[conf->smarthost.on],
        };
    route->name = "smarthost";
    route->via = steps;
    route->smarthost = true;
    route->line = node->key->place.line;
    return true;
}
