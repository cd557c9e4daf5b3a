// SPDX-License-Identifier: ISC
// The machine's links in the simulated world: the driver plugs and unplugs, whoever watches hears
// of it a moment later.
#include "sim/inside.h"
#include "sys/links.h"

enum { ADDRESSES = 8, WORD_MS = 3 };

struct plug {
    struct link all;
    uint32_t index;
    char name[32], kind[32];
    bool up;
    size_t count;
    struct net_addr addresses[ADDRESSES];
    unsigned prefix[ADDRESSES];
};
struct links_watch {
    struct link all;
    struct loop *loop;
    struct event event;
    void (*changed)(void *ctx);
    void *ctx;
};

static struct link plugs, watches;
static uint32_t last_index;
static unsigned failing; // so many readings

static struct plug *plug_named(const char *name)
{
    struct plug *p;
    list_each (&plugs, p, struct plug, all)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static void tell_all(void)
{
    struct links_watch *w;
    list_each (&watches, w, struct links_watch, all)
        event_at(&w->event, sim.now_us + 100 + (int64_t)sim_below(WORD_MS * 1000));
}

static bool mentions(const struct plug *p, const struct net_addr *addr)
{
    for (size_t i = 0; i < p->count; i++)
        if (net_addr_same_ip(&p->addresses[i], addr))
            return true;
    return false;
}

// "10.20.3.4/24"; without a prefix it is a host mask.
static void read_address(struct plug *p, const char *text)
{
    struct str rest = str_of(text), ip;
    uint64_t prefix;
    str_split(&rest, '/', &ip);
    if (p->count == ADDRESSES || !net_addr_parse_ip(ip, &p->addresses[p->count]))
        return;
    unsigned most = net_addr_bits(&p->addresses[p->count]);
    p->prefix[p->count++] = str_u64(rest, most, &prefix) ? (unsigned)prefix : most;
}

void world_link_set(const char *name, const char *kind, const char *const *addresses, bool up)
{
    SIM_CALL;
    struct plug *p = plug_named(name), before;
    if (p == NULL) {
        p = sim_alloc(SIM_WORLD, sizeof(*p));
        p->index = ++last_index;
        snprintf(p->name, sizeof(p->name), "%s", name);
        list_append(&plugs, &p->all);
    }
    before = *p;
    snprintf(p->kind, sizeof(p->kind), "%s", kind);
    p->up = up;
    p->count = 0;
    for (; up && *addresses != NULL; addresses++)
        read_address(p, *addresses);
    for (size_t i = 0; i < before.count; i++)
        if (!mentions(p, &before.addresses[i]))
            net_address_gone(&before.addresses[i]);
    sim_trace(p->index);
    tell_all();
}

void world_link_remove(const char *name)
{
    SIM_CALL;
    struct plug *p = plug_named(name);
    if (p == NULL)
        return;
    list_remove(&p->all);
    for (size_t i = 0; i < p->count; i++)
        net_address_gone(&p->addresses[i]);
    sim_trace(p->index);
    xfree(p);
    tell_all();
}

// ---- For the network. ----

bool links_source(const struct net_addr *to, struct net_addr *from_out)
{
    const struct net_addr *found = NULL;
    struct plug *p;
    list_each (&plugs, p, struct plug, all) {
        for (size_t i = 0; p->up && i < p->count; i++) {
            if (p->addresses[i].family != to->family)
                continue;
            struct net_range subnet;
            net_range_around(&p->addresses[i], p->prefix[i], &subnet);
            if (found == NULL || net_range_has(&subnet, to))
                found = &p->addresses[i];
        }
    }
    if (found != NULL)
        *from_out = *found;
    return found != NULL;
}

bool links_own(const struct net_addr *addr)
{
    struct plug *p;
    list_each (&plugs, p, struct plug, all)
        if (p->up && mentions(p, addr))
            return true;
    return false;
}

bool links_up(const char *interface)
{
    struct plug *p = plug_named(interface);
    return strcmp(interface, "lo") == 0 || (p != NULL && p->up);
}

// ---- sys/links.h ----

static void tell(struct event *event)
{
    struct links_watch *w = container_of(event, struct links_watch, event);
    SIM_CALLBACK(w->loop, w->changed(w->ctx));
}

struct links_watch *links_watch_new(struct loop *loop, void (*changed)(void *ctx), void *ctx,
                                    struct err *err)
{
    SIM_CALL;
    struct links_watch *w = sim_alloc(SIM_CALLER, sizeof(*w));
    w->loop = loop;
    w->changed = changed;
    w->ctx = ctx;
    event_init(&w->event, loop, tell);
    list_append(&watches, &w->all);
    return w;
}

void links_watch_free(struct links_watch **watch)
{
    if (*watch == NULL)
        return;
    SIM_CALL;
    event_cancel(&(*watch)->event);
    list_remove(&(*watch)->all);
    xfree(*watch);
    *watch = NULL;
}

void world_links_fail(unsigned times)
{
    failing = times;
}

bool links_read(struct arena *arena, struct links *out, struct err *err)
{
    *out = (struct links){0};
    if (failing > 0) {
        failing--;
        err_sys(err, ENOBUFS, "the kernel does not tell its links (rtnetlink)");
        return false;
    }
    size_t count = 1, addresses = 1;
    struct plug *p;
    list_each (&plugs, p, struct plug, all) {
        count++;
        addresses += p->count;
    }
    struct link_facts *facts = arena_alloc(arena, count * sizeof(*facts));
    struct link_address *addrs = arena_alloc(arena, addresses * sizeof(*addrs));
    struct link_route *routes = arena_alloc(arena, 2 * addresses * sizeof(*routes));
    *out = (struct links){.links = facts, .addresses = addrs, .routes = routes};
    facts[out->link_count++] = (struct link_facts){
        .index = 1, .name = "lo", .alias = "", .kind = "", .up = true, .loopback = true};
    net_addr_parse_ip(STR("127.0.0.1"), &addrs[0].addr);
    addrs[0].link = 1;
    addrs[out->address_count++].prefix = 8;
    list_each (&plugs, p, struct plug, all) {
        bool point = strcmp(p->kind, "ppp") == 0 || strcmp(p->kind, "tun") == 0 ||
                     strcmp(p->kind, "wireguard") == 0;
        facts[out->link_count++] = (struct link_facts){.index = p->index,
                                                       .name = arena_strdup(arena, p->name),
                                                       .alias = "",
                                                       .kind = arena_strdup(arena, p->kind),
                                                       .up = p->up,
                                                       .point_to_point = point,
                                                       .wireless = strncmp(p->name, "wl", 2) == 0};
        for (size_t i = 0; i < p->count; i++) {
            struct net_range subnet;
            net_range_around(&p->addresses[i], p->prefix[i], &subnet);
            addrs[out->address_count++] = (struct link_address){
                .link = p->index, .addr = p->addresses[i], .prefix = p->prefix[i]};
            routes[out->route_count++] =
                (struct link_route){.link = p->index, .to = subnet.low, .prefix = p->prefix[i]};
            routes[out->route_count++] = (struct link_route){
                .link = p->index, .to = {.family = subnet.low.family}, .metric = 100 + p->index};
        }
    }
    return true;
}

// ---- The world ----

void links_init(void)
{
    static const char *const own[] = {"192.0.2.10/24", NULL};
    list_init(&plugs);
    list_init(&watches);
    last_index = 1;
    failing = 0;
    world_link_set("eth0", "", own, true);
}

void links_crash(void)
{
    // The watches go with the daemon's memory, their events with its loops.
    list_init(&watches);
}

void links_free(void)
{
    struct plug *p;
    list_each (&plugs, p, struct plug, all) {
        list_remove(&p->all);
        xfree(p);
    }
}
