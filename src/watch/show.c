// SPDX-License-Identifier: ISC
// The place in words, as JSON, and as configuration.
#include "watch/place.h"

static const char *connection_words(const struct watch_snapshot *s, const struct link_facts *link,
                                    struct arena *arena)
{
    const struct manager_connection *c = place_connection_of(s, link->name);
    if (c == NULL)
        return "";
    const char *kind = c->ssid[0] != '\0' ? " (WLAN " : c->apn[0] != '\0' ? " (APN " : "";
    return arena_printf(arena, ", connection \"%s\"%s%s%s", c->id, kind,
                        c->ssid[0] != '\0' ? c->ssid : c->apn, kind[0] != '\0' ? ")" : "");
}

static bool is_default(const struct watch_snapshot *s, const struct link_facts *link)
{
    for (size_t i = 0; i < s->links.route_count; i++)
        if (s->links.routes[i].link == link->index && s->links.routes[i].prefix == 0)
            return true;
    return false;
}

static void show_link(const struct watch_snapshot *s, const struct link_facts *link,
                      struct arena *arena, struct buf *out)
{
    char text[NET_ADDR_TEXT];
    bool any = false;
    buf_printf(out, "%-10s %s", link->name, link->up ? "up" : "down");
    const char *type = place_type_name(place_type(s, link));
    if (type[0] != '\0')
        buf_printf(out, ", %s", type);
    if (is_default(s, link))
        buf_puts(out, ", way out");
    buf_printf(out, "%s\n", connection_words(s, link, arena));
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        if (a->link != link->index)
            continue;
        any = any || place_usable(s, a);
        buf_printf(out, "             %s/%u%s%s\n", net_addr_format_ip(&a->addr, text), a->prefix,
                   a->link_local  ? " (this link only)"
                   : a->temporary ? " (temporary)"
                                  : "",
                   a->tentative    ? " (not ready)"
                   : a->deprecated ? " (being given up)"
                                   : "");
    }
    if (!any && link->up)
        buf_puts(out, "             N/A: no address to send from\n");
}

void watch_show(const struct watch_snapshot *s, const struct conf *conf, struct buf *out)
{
    struct arena *arena = arena_new();
    for (size_t i = 0; i < s->links.link_count; i++)
        if (!s->links.links[i].loopback)
            show_link(s, &s->links.links[i], arena, out);
    if (s->links.link_count == 0)
        buf_puts(out, "N/A: the links of this machine are not known\n");
    for (size_t i = 0; i < s->manager.count; i++)
        if (s->manager.connections[i].ready && s->manager.connections[i].interface[0] == '\0')
            buf_printf(out, "connection \"%s\" (%s)\n", s->manager.connections[i].id,
                       s->manager.connections[i].type);
    buf_putc(out, '\n');
    if (s->offline)
        buf_puts(out,
                 "offline: no address but loopback, or no route; mail waits, and no attempt is "
                 "counted\n");
    if (s->captive)
        buf_printf(out, "captive: only a portal answers (%s); mail waits for the login there\n",
                   s->captive_why);
    if (!s->offline && !s->captive)
        buf_puts(out, "online\n");
    if (s->dns_lies && !s->captive)
        buf_puts(out, "DNS here answers names that do not exist; a portal or a provider that "
                      "redirects\n");
    if (s->metered)
        buf_puts(out, "the connection is metered\n");
    if (!s->manager.present)
        buf_puts(out, "NetworkManager does not run: networks are known by address, subnet and "
                      "interface\n");
    if (conf->network_count == 0)
        buf_puts(out, "no networks are named; name this one: waypost network learn NAME\n");
    else
        buf_puts(out, "\nnetworks\n");
    for (size_t i = 0; i < conf->network_count && i < s->network_count; i++)
        buf_printf(out, "  %-12s %-4s %s\n", conf->networks[i].name,
                   s->networks[i].holds ? "yes" : "no", s->networks[i].why);
    arena_free(&arena);
}

static void link_json(const struct watch_snapshot *s, const struct link_facts *link, struct json *j)
{
    char text[NET_ADDR_TEXT];
    const struct manager_connection *c = place_connection_of(s, link->name);
    json_open(j, NULL);
    json_text(j, "name", link->name);
    json_text(j, "type", place_type_name(place_type(s, link)));
    json_bool(j, "up", link->up);
    json_bool(j, "way_out", is_default(s, link));
    json_text(j, "connection", c != NULL ? c->id : NULL);
    json_text(j, "uuid", c != NULL ? c->uuid : NULL);
    json_text(j, "ssid", c != NULL && c->ssid[0] != '\0' ? c->ssid : NULL);
    json_text(j, "apn", c != NULL && c->apn[0] != '\0' ? c->apn : NULL);
    json_open_array(j, "addresses");
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        if (a->link != link->index)
            continue;
        json_open(j, NULL);
        json_text(j, "address", net_addr_format_ip(&a->addr, text));
        json_int(j, "prefix", a->prefix);
        json_bool(j, "usable", place_usable(s, a));
        json_close(j);
    }
    json_close_array(j);
    json_close(j);
}

void watch_show_json(const struct watch_snapshot *s, const struct conf *conf, struct json *j)
{
    json_open_array(j, "links");
    for (size_t i = 0; i < s->links.link_count; i++)
        if (!s->links.links[i].loopback)
            link_json(s, &s->links.links[i], j);
    json_close_array(j);
    json_bool(j, "offline", s->offline);
    json_bool(j, "captive", s->captive);
    json_text(j, "captive_why", s->captive ? s->captive_why : NULL);
    json_bool(j, "dns_lies", s->dns_lies);
    json_bool(j, "metered", s->metered);
    json_bool(j, "networkmanager", s->manager.present);
    json_open_array(j, "networks");
    for (size_t i = 0; i < conf->network_count && i < s->network_count; i++) {
        json_open(j, NULL);
        json_text(j, "name", conf->networks[i].name);
        json_bool(j, "holds", s->networks[i].holds);
        json_text(j, "why", s->networks[i].why);
        json_close(j);
    }
    json_close_array(j);
}

// ---- Learning ----

// The link mail leaves by: the way out with the lowest metric, else any with an address.
static const struct link_facts *main_link(const struct watch_snapshot *s)
{
    const struct link_route *best = NULL;
    for (size_t i = 0; i < s->links.route_count; i++) {
        const struct link_route *r = &s->links.routes[i];
        const struct link_facts *link = place_link(s, r->link);
        if (r->prefix == 0 && link != NULL && link->up && !link->loopback &&
            (best == NULL || r->metric < best->metric))
            best = r;
    }
    if (best != NULL)
        return place_link(s, best->link);
    for (size_t i = 0; i < s->links.address_count; i++)
        if (place_usable(s, &s->links.addresses[i]))
            return place_link(s, s->links.addresses[i].link);
    return NULL;
}

static void learn_subnets(const struct watch_snapshot *s, const struct link_facts *link,
                          struct buf *out)
{
    char text[NET_ADDR_TEXT];
    bool any = false;
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        if (a->link != link->index || !place_usable(s, a) || a->temporary)
            continue;
        struct net_range subnet;
        net_range_around(&a->addr, a->prefix, &subnet);
        buf_printf(out, "%s\"%s/%u\"", any ? ", " : "    subnet: [",
                   net_addr_format_ip(&subnet.low, text), a->prefix);
        any = true;
    }
    if (any)
        buf_puts(out, "]\n");
}

bool watch_learn(const struct watch_snapshot *s, const char *name, struct buf *out)
{
    const struct link_facts *link = main_link(s);
    if (link == NULL)
        return false;
    const struct manager_connection *c = place_connection_of(s, link->name);
    buf_printf(out, "  %s:\n", name);
    if (c != NULL && c->uuid[0] != '\0') {
        // The connection is the surer sign: private subnets are alike in many places.
        buf_printf(out, "    connection: %s  # %s\n", c->uuid, c->id);
        return true;
    }
    learn_subnets(s, link, out);
    buf_printf(out, "    interface: %s\n", link->name);
    return true;
}
