// SPDX-License-Identifier: ISC
// What a snapshot says of the place.
#include "watch/place.h"
#include "base/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

static int by_index(const void *key, const void *link)
{
    uint32_t a = *(const uint32_t *)key, b = ((const struct link_facts *)link)->index;
    return a < b ? -1 : a > b;
}

const struct link_facts *place_link(const struct watch_snapshot *s, uint32_t index)
{
    if (s->links.link_count == 0)
        return NULL;
    return bsearch(&index, s->links.links, s->links.link_count, sizeof(*s->links.links), by_index);
}

const struct manager_connection *place_connection_of(const struct watch_snapshot *s,
                                                     const char *interface)
{
    for (size_t i = 0; i < s->manager.count; i++)
        if (s->manager.connections[i].ready &&
            strcmp(s->manager.connections[i].interface, interface) == 0)
            return &s->manager.connections[i];
    return NULL;
}

bool place_usable(const struct watch_snapshot *s, const struct link_address *a)
{
    const struct link_facts *link = place_link(s, a->link);
    return link != NULL && link->up && !link->loopback && !a->link_local && !a->tentative &&
           !net_addr_is_loopback(&a->addr);
}

bool place_has_way_out(const struct watch_snapshot *s)
{
    bool has[NET_UNIX + 1] = {false};
    for (size_t i = 0; i < s->links.address_count; i++)
        if (place_usable(s, &s->links.addresses[i]))
            has[s->links.addresses[i].addr.family] = true;
    for (size_t i = 0; i < s->links.route_count; i++) {
        const struct link_route *r = &s->links.routes[i];
        // Any route of the family over a link that is up: a relay may be on the link itself.
        const struct link_facts *link = has[r->to.family] ? place_link(s, r->link) : NULL;
        if (link != NULL && link->up && !link->loopback)
            return true;
    }
    return false;
}

static const char *const type_names[] = {
    [LINK_ETHERNET] = "ethernet", [LINK_WIFI] = "wifi",           [LINK_MODEM] = "modem",
    [LINK_PPP] = "ppp",           [LINK_WIREGUARD] = "wireguard", [LINK_VPN] = "vpn"};

const char *place_type_name(int type)
{
    return type >= 0 ? type_names[type] : "";
}

static int type_of_manager(const struct manager_connection *c)
{
    static const struct {
        const char *word;
        int type;
    } words[] = {{"802-3-ethernet", LINK_ETHERNET},
                 {"ethernet", LINK_ETHERNET},
                 {"802-11-wireless", LINK_WIFI},
                 {"wifi", LINK_WIFI},
                 {"gsm", LINK_MODEM},
                 {"cdma", LINK_MODEM},
                 {"modem", LINK_MODEM},
                 {"bluetooth", LINK_MODEM},
                 {"pppoe", LINK_PPP},
                 {"ppp", LINK_PPP},
                 {"wireguard", LINK_WIREGUARD},
                 {"vpn", LINK_VPN},
                 {"tun", LINK_VPN}};
    if (c->vpn)
        return strcmp(c->type, "wireguard") == 0 ? LINK_WIREGUARD : LINK_VPN;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(c->type, words[i].word) == 0)
            return words[i].type;
    return -1;
}

int place_type(const struct watch_snapshot *s, const struct link_facts *link)
{
    const struct manager_connection *c = place_connection_of(s, link->name);
    int type = c != NULL ? type_of_manager(c) : -1;
    if (type >= 0)
        return type;
    if (strcmp(link->kind, "wireguard") == 0)
        return LINK_WIREGUARD;
    if (strcmp(link->kind, "ppp") == 0 || strncmp(link->name, "ppp", 3) == 0)
        return LINK_PPP;
    if (strcmp(link->kind, "tun") == 0 || strncmp(link->name, "tun", 3) == 0 ||
        strncmp(link->name, "tap", 3) == 0)
        return LINK_VPN;
    if (link->wireless || strncmp(link->name, "wl", 2) == 0)
        return LINK_WIFI;
    if (strncmp(link->name, "ww", 2) == 0)
        return LINK_MODEM;
    return link->loopback ? -1 : LINK_ETHERNET;
}

// ---- The same place? ----

static uint64_t mark_of(const void *bytes, size_t len)
{
    return (uint64_t)crc32c(1, bytes, len) << 32 | crc32c(2, bytes, len);
}

uint64_t watch_mark(const struct watch_snapshot *s, const struct conf *conf)
{
    uint64_t mark = 0; // sums do not depend on the order in which things are listed
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        unsigned char subnet[17] = {(unsigned char)a->prefix};
        struct net_range around;
        if (!place_usable(s, a) || a->temporary)
            continue;
        net_range_around(&a->addr, a->prefix, &around);
        memcpy(subnet + 1, around.low.bytes, net_addr_bits(&a->addr) / 8);
        mark += mark_of(subnet, sizeof(subnet));
    }
    for (size_t i = 0; i < s->manager.count; i++)
        if (s->manager.connections[i].ready)
            mark += mark_of(s->manager.connections[i].uuid, strlen(s->manager.connections[i].uuid));
    for (size_t i = 0; i < conf->network_count; i++)
        if ((s->holding >> i & 1) != 0)
            mark += mark_of(conf->networks[i].name, strlen(conf->networks[i].name));
    return mark;
}

// ---- Differences ----

static bool same_address(const struct link_address *a, const struct link_address *b)
{
    return a->link == b->link && a->prefix == b->prefix && net_addr_same_ip(&a->addr, &b->addr);
}

static bool has_address(const struct watch_snapshot *s, const struct link_address *a)
{
    for (size_t i = 0; i < s->links.address_count; i++)
        if (same_address(&s->links.addresses[i], a) && place_usable(s, &s->links.addresses[i]))
            return true;
    return false;
}

static bool addresses_within(const struct watch_snapshot *a, const struct watch_snapshot *b)
{
    for (size_t i = 0; i < a->links.address_count; i++)
        if (place_usable(a, &a->links.addresses[i]) && !has_address(b, &a->links.addresses[i]))
            return false;
    return true;
}

static bool same_route(const struct link_route *a, const struct link_route *b)
{
    return a->link == b->link && a->prefix == b->prefix && a->to.family == b->to.family &&
           memcmp(a->to.bytes, b->to.bytes, sizeof(a->to.bytes)) == 0 &&
           a->gateway.family == b->gateway.family &&
           memcmp(a->gateway.bytes, b->gateway.bytes, sizeof(a->gateway.bytes)) == 0;
}

static bool routes_within(const struct watch_snapshot *a, const struct watch_snapshot *b)
{
    for (size_t i = 0; i < a->links.route_count; i++) {
        bool found = false;
        for (size_t k = 0; k < b->links.route_count && !found; k++)
            found = same_route(&a->links.routes[i], &b->links.routes[k]);
        if (!found)
            return false;
    }
    return true;
}

static bool same_connections(const struct manager_state *a, const struct manager_state *b)
{
    if (a->present != b->present || a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct manager_connection *x = &a->connections[i], *y = &b->connections[i];
        if (x->ready != y->ready || x->vpn != y->vpn || strcmp(x->id, y->id) != 0 ||
            strcmp(x->uuid, y->uuid) != 0 || strcmp(x->ssid, y->ssid) != 0 ||
            strcmp(x->apn, y->apn) != 0 || strcmp(x->type, y->type) != 0 ||
            strcmp(x->interface, y->interface) != 0)
            return false;
    }
    return true;
}

static bool links_within(const struct watch_snapshot *a, const struct watch_snapshot *b)
{
    for (size_t i = 0; i < a->links.link_count; i++) {
        const struct link_facts *x = &a->links.links[i], *y = place_link(b, x->index);
        if (x->up && (y == NULL || !y->up || strcmp(x->name, y->name) != 0 ||
                      strcmp(x->alias, y->alias) != 0))
            return false;
    }
    return true;
}

bool place_differs(const struct watch_snapshot *a, const struct watch_snapshot *b)
{
    return a == NULL || a->offline != b->offline || a->captive != b->captive ||
           a->metered != b->metered || a->holding != b->holding || !addresses_within(a, b) ||
           !addresses_within(b, a) || !routes_within(a, b) || !routes_within(b, a) ||
           !links_within(a, b) || !links_within(b, a) ||
           !same_connections(&a->manager, &b->manager);
}

// ---- In words ----

static void part(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void part(struct buf *out, const char *format, ...)
{
    va_list args;
    if (out->len > 0)
        buf_puts(out, "; ");
    va_start(args, format);
    buf_vprintf(out, format, args);
    va_end(args);
}

static void tell_addresses(const struct watch_snapshot *from, const struct watch_snapshot *to,
                           const char *words, struct buf *out)
{
    char text[NET_ADDR_TEXT];
    for (size_t i = 0; i < from->links.address_count; i++) {
        const struct link_address *a = &from->links.addresses[i];
        const struct link_facts *link = place_link(from, a->link);
        if (place_usable(from, a) && (to == NULL || !has_address(to, a)))
            part(out, "%s %s %s/%u", link->name, words, net_addr_format_ip(&a->addr, text),
                 a->prefix);
    }
}

static void tell_connections(const struct watch_snapshot *from, const struct watch_snapshot *to,
                             const char *words, struct buf *out)
{
    for (size_t i = 0; i < from->manager.count; i++) {
        const struct manager_connection *c = &from->manager.connections[i];
        bool there = false;
        for (size_t k = 0; to != NULL && k < to->manager.count && !there; k++)
            there = to->manager.connections[k].ready &&
                    strcmp(to->manager.connections[k].uuid, c->uuid) == 0 &&
                    strcmp(to->manager.connections[k].id, c->id) == 0;
        if (c->ready && !there)
            part(out, "connection %s %s", c->id, words);
    }
}

void place_tell_change(const struct watch_snapshot *before, const struct watch_snapshot *now,
                       const struct conf *conf, struct buf *out)
{
    if (before != NULL)
        tell_addresses(before, now, "has lost", out);
    tell_addresses(now, before, "has", out);
    if (before != NULL)
        tell_connections(before, now, "is gone", out);
    tell_connections(now, before, "stands", out);
    if (now->offline && (before == NULL || !before->offline))
        part(out, "this machine is offline");
    if (now->captive != (before != NULL && before->captive))
        part(out, now->captive ? "only a portal answers (%s)" : "the portal has opened%s",
             now->captive ? now->captive_why : "");
    if (now->metered != (before != NULL && before->metered))
        part(out, "the connection is %smetered", now->metered ? "" : "not ");
    uint64_t was =
        before != NULL && before->network_count == now->network_count ? before->holding : 0;
    for (size_t i = 0; i < conf->network_count; i++)
        if (((was ^ now->holding) >> i & 1) != 0)
            part(out, "network %s %s", conf->networks[i].name,
                 (now->holding >> i & 1) != 0 ? "holds" : "does not hold any more");
    if (out->len == 0)
        buf_puts(out, "links or routes have changed");
}
