// SPDX-License-Identifier: ISC
// Does a network hold? Each kind of condition that is written must; the first that does not is the
// reason.
#include "watch/place.h"

// "10.20.0.0-10.20.255.255" or one address: as it can be written.
static void range_text(struct buf *out, const struct net_range *r)
{
    char low[NET_ADDR_TEXT], high[NET_ADDR_TEXT];
    net_addr_format_ip(&r->low, low);
    net_addr_format_ip(&r->high, high);
    unsigned bits = net_addr_bits(&r->low), prefix = 0;
    struct net_range around;
    do
        net_range_around(&r->low, prefix, &around);
    while ((!net_addr_same_ip(&around.low, &r->low) || !net_addr_same_ip(&around.high, &r->high)) &&
           ++prefix <= bits);
    if (prefix == bits)
        buf_puts(out, low);
    else if (prefix < bits)
        buf_printf(out, "%s/%u", low, prefix);
    else
        buf_printf(out, "%s-%s", low, high);
}

static const char *ranges_words(struct arena *arena, const char *before,
                                const struct net_range *ranges, size_t count)
{
    struct buf out;
    buf_init(&out, 400);
    buf_puts(&out, before);
    for (size_t i = 0; i < count && i < 4; i++) {
        buf_puts(&out, i > 0 ? ", " : " ");
        range_text(&out, &ranges[i]);
    }
    if (count > 4)
        buf_puts(&out, ", ...");
    const char *text = arena_strdup(arena, buf_cstr(&out));
    buf_free(&out);
    return text;
}

static const char *globs_words(struct arena *arena, const char *before, const char *const *globs,
                               size_t count)
{
    struct buf out;
    buf_init(&out, 400);
    buf_puts(&out, before);
    for (size_t i = 0; i < count && i < 4; i++)
        buf_printf(&out, "%s%s", i > 0 ? ", " : " ", globs[i]);
    if (count > 4)
        buf_puts(&out, ", ...");
    const char *text = arena_strdup(arena, buf_cstr(&out));
    buf_free(&out);
    return text;
}

static bool any_glob(const char *const *globs, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (text[0] != '\0' && str_glob(str_of(globs[i]), str_of(text)))
            return true;
    return false;
}

// ---- One kind of condition each. `why` is set either way. ----

static bool by_address(const struct conf_network *n, const struct watch_snapshot *s,
                       struct arena *arena, const char **why)
{
    char text[NET_ADDR_TEXT];
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        for (size_t k = 0; place_usable(s, a) && k < n->address_count; k++) {
            if (!net_range_has(&n->address[k], &a->addr))
                continue;
            *why = arena_printf(arena, "address %s on %s", net_addr_format_ip(&a->addr, text),
                                place_link(s, a->link)->name);
            return true;
        }
    }
    *why = ranges_words(arena, "no address in", n->address, n->address_count);
    return false;
}

static bool prefix_in(const struct net_range *r, const struct net_addr *addr, unsigned prefix)
{
    struct net_range around;
    net_range_around(addr, prefix, &around);
    return net_range_has(r, &around.low) && net_range_has(r, &around.high);
}

static bool by_subnet(const struct conf_network *n, const struct watch_snapshot *s,
                      struct arena *arena, const char **why)
{
    char text[NET_ADDR_TEXT];
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        for (size_t k = 0; place_usable(s, a) && k < n->subnet_count; k++) {
            if (!prefix_in(&n->subnet[k], &a->addr, a->prefix))
                continue;
            *why = arena_printf(arena, "subnet of %s/%u on %s", net_addr_format_ip(&a->addr, text),
                                a->prefix, place_link(s, a->link)->name);
            return true;
        }
    }
    *why = ranges_words(arena, "no subnet within", n->subnet, n->subnet_count);
    return false;
}

static bool has_address(const struct watch_snapshot *s, uint32_t link)
{
    for (size_t i = 0; i < s->links.address_count; i++)
        if (s->links.addresses[i].link == link && place_usable(s, &s->links.addresses[i]))
            return true;
    return false;
}

static bool by_interface(const struct conf_network *n, const struct watch_snapshot *s,
                         struct arena *arena, const char **why)
{
    for (size_t i = 0; i < s->links.link_count; i++) {
        const struct link_facts *link = &s->links.links[i];
        if (!link->up || !any_glob(n->interface, n->interface_count, link->name) ||
            !has_address(s, link->index))
            continue;
        *why = arena_printf(arena, "interface %s is up", link->name);
        return true;
    }
    *why = globs_words(arena, "no interface with an address is called", n->interface,
                       n->interface_count);
    return false;
}

static bool by_connection(const struct conf_network *n, const struct watch_snapshot *s,
                          struct arena *arena, const char **why)
{
    for (size_t i = 0; i < s->manager.count; i++) {
        const struct manager_connection *c = &s->manager.connections[i];
        if (!c->ready || (!any_glob(n->connection, n->connection_count, c->id) &&
                          !any_glob(n->connection, n->connection_count, c->uuid) &&
                          !any_glob(n->connection, n->connection_count, c->ssid)))
            continue;
        *why = arena_printf(arena, "connection %s", c->id);
        return true;
    }
    for (size_t i = 0; i < s->links.link_count; i++) {
        const struct link_facts *link = &s->links.links[i];
        if (!link->up || !has_address(s, link->index) ||
            (!any_glob(n->connection, n->connection_count, link->name) &&
             !any_glob(n->connection, n->connection_count, link->alias)))
            continue;
        *why = arena_printf(arena, "link %s stands", link->name);
        return true;
    }
    *why = globs_words(arena,
                       s->manager.present ? "no connection or link is called"
                                          : "no link is called (and NetworkManager does not run)",
                       n->connection, n->connection_count);
    return false;
}

static bool by_ssid(const struct conf_network *n, const struct watch_snapshot *s,
                    struct arena *arena, const char **why)
{
    for (size_t i = 0; i < s->manager.count; i++) {
        const struct manager_connection *c = &s->manager.connections[i];
        if (!c->ready || !any_glob(n->ssid, n->ssid_count, c->ssid))
            continue;
        *why = arena_printf(arena, "WLAN %s", c->ssid);
        return true;
    }
    *why = s->manager.present ? globs_words(arena, "not in a WLAN called", n->ssid, n->ssid_count)
                              : "the name of the WLAN is not known: NetworkManager does not run";
    return false;
}

static bool by_apn(const struct conf_network *n, const struct watch_snapshot *s,
                   struct arena *arena, const char **why)
{
    for (size_t i = 0; i < s->manager.count; i++) {
        const struct manager_connection *c = &s->manager.connections[i];
        if (!c->ready || !any_glob(n->apn, n->apn_count, c->apn))
            continue;
        *why = arena_printf(arena, "modem at %s", c->apn);
        return true;
    }
    *why = s->manager.present
               ? globs_words(arena, "no modem is at", n->apn, n->apn_count)
               : "the access point of a modem is not known: NetworkManager does not run";
    return false;
}

static bool by_type(const struct conf_network *n, const struct watch_snapshot *s,
                    struct arena *arena, const char **why)
{
    struct buf out;
    for (size_t i = 0; i < s->links.link_count; i++) {
        const struct link_facts *link = &s->links.links[i];
        int type = place_type(s, link);
        if (!link->up || type < 0 || (n->types >> type & 1) == 0 || !has_address(s, link->index))
            continue;
        *why = arena_printf(arena, "%s is %s", link->name, place_type_name(type));
        return true;
    }
    buf_init(&out, 200);
    buf_puts(&out, "no link that is up is");
    for (int type = 0; type <= LINK_VPN; type++)
        if ((n->types >> type & 1) != 0)
            buf_printf(&out, " %s", place_type_name(type));
    *why = arena_strdup(arena, buf_cstr(&out));
    buf_free(&out);
    return false;
}

static bool by_wish(enum conf_wish wish, bool is, const char *word, struct arena *arena,
                    const char **why)
{
    *why = arena_printf(arena, "the connection is %s%s", is ? "" : "not ", word);
    return (wish == WISH_YES) == is;
}

bool watch_holds(const struct conf_network *n, const struct watch_snapshot *s, struct arena *arena,
                 const char **why)
{
    const char *first = NULL;
    bool ok = true, any = false;
    *why = "it names no condition";
#define CONDITION(written, holds)                                                                  \
    do {                                                                                           \
        if (ok && (written)) {                                                                     \
            any = true;                                                                            \
            ok = (holds);                                                                          \
            first = first == NULL || !ok ? *why : first;                                           \
        }                                                                                          \
    } while (0)
    CONDITION(n->connection_count > 0, by_connection(n, s, arena, why));
    CONDITION(n->ssid_count > 0, by_ssid(n, s, arena, why));
    CONDITION(n->apn_count > 0, by_apn(n, s, arena, why));
    CONDITION(n->address_count > 0, by_address(n, s, arena, why));
    CONDITION(n->subnet_count > 0, by_subnet(n, s, arena, why));
    CONDITION(n->interface_count > 0, by_interface(n, s, arena, why));
    CONDITION(n->types != 0, by_type(n, s, arena, why));
    CONDITION(n->metered != WISH_ANY, by_wish(n->metered, s->metered, "metered", arena, why));
    CONDITION(n->captive != WISH_ANY, by_wish(n->captive, s->captive, "captive", arena, why));
#undef CONDITION
    if (first != NULL)
        *why = first;
    return ok && any;
}

// ---- Subnets (AR-3, AR-4) ----

// An address with a host mask has no subnet of its own: the widest on-link route of its link around
// it that is no default route says what is near, else what the configuration says.
static unsigned near_prefix(const struct watch_snapshot *s, const struct link_address *a,
                            const struct conf_choice *choice)
{
    unsigned host = net_addr_bits(&a->addr), found = host;
    if (a->prefix < host)
        return a->prefix;
    for (size_t i = 0; i < s->links.route_count; i++) {
        const struct link_route *r = &s->links.routes[i];
        if (r->link != a->link || r->to.family != a->addr.family || r->prefix == 0 ||
            r->prefix >= found || r->gateway.family != NET_NONE)
            continue;
        struct net_range around;
        net_range_around(&r->to, r->prefix, &around);
        if (net_range_has(&around, &a->addr))
            found = r->prefix;
    }
    if (found == host)
        found = choice->host_prefix[a->addr.family == NET_IPV4 ? 0 : 1];
    return found;
}

bool watch_in_subnet(const struct watch_snapshot *s, const struct net_addr *addr,
                     const struct conf_choice *choice)
{
    for (size_t i = 0; i < s->links.address_count; i++) {
        const struct link_address *a = &s->links.addresses[i];
        if (a->addr.family != addr->family || !place_usable(s, a))
            continue;
        unsigned prefix = near_prefix(s, a, choice);
        struct net_range around;
        net_range_around(&a->addr, prefix, &around);
        if (prefix > 0 && net_range_has(&around, addr))
            return true;
    }
    return false;
}
