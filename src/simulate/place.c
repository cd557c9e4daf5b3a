// SPDX-License-Identifier: ISC
// The machine of a story moves.
#include "simulate/place.h"
#include "base/mem.h"
#include "base/netaddr.h"
#include "sim/world.h"
#include "simulate/servers.h"
#include "simulate/story.h"
#include "simulate/tale.h"
#include "sys/manager.h"

#include <stdio.h>

enum { LINKS = 32, ADDRESSES = 8, CONNECTIONS = 16 };

struct place_link {
    char name[32];
    struct net_range own[ADDRESSES];
    size_t count;
};

static struct {
    struct place_link links[LINKS];
    size_t count;
    struct net_range own[LINKS * ADDRESSES];
    bool moved; // the story has said where it is
} all;

static void tell_servers(void)
{
    size_t n = 0;
    for (size_t i = 0; i < all.count; i++)
        for (size_t k = 0; k < all.links[i].count; k++)
            all.own[n++] = all.links[i].own[k];
    servers_own_addresses(all.own, n);
}

static struct place_link *link_named(const char *name)
{
    for (size_t i = 0; i < all.count; i++)
        if (strcmp(all.links[i].name, name) == 0)
            return &all.links[i];
    if (all.count == LINKS)
        return NULL;
    snprintf(all.links[all.count].name, sizeof(all.links[0].name), "%s", name);
    return &all.links[all.count++];
}

void place_new(void)
{
    memset(&all, 0, sizeof(all));
    struct place_link *l = link_named("eth0");
    net_range_parse(STR("192.0.2.10"), &l->own[l->count++]);
    tell_servers();
}

// "10.20.3.4/24": the address alone.
static bool own_address(struct str text, struct net_range *out)
{
    struct str ip;
    struct net_addr addr;
    if (!str_split(&text, '/', &ip) || !net_addr_parse_ip(ip, &addr))
        return false;
    *out = (struct net_range){addr, addr};
    return true;
}

static bool set_link(const char *name, const struct yaml_node *what, struct err *err)
{
    struct place_link *l = link_named(name);
    const char *texts[ADDRESSES + 1] = {0};
    const struct yaml_node *list = what->kind == YAML_MAP ? yaml_get(what, "address") : what;
    char kind[32];
    bool ok = l != NULL;
    snprintf(kind, sizeof(kind), "%.*s", STR_FMT(story_text(what, "kind", "")));
    if (l == NULL || list == NULL) {
        err_set(err, "link %s: write {%s: 10.20.3.4/24} or {%s: {address: ..., kind: wireguard}}",
                name, name, name);
        return false;
    }
    l->count = 0;
    for (const struct yaml_node *n = story_first(list); n != NULL && l->count < ADDRESSES;
         n = story_next(list, n)) {
        ok = ok && own_address(n->text, &l->own[l->count]);
        if (!ok) {
            err_set(err, "%.*s is no address with a prefix such as 10.20.3.4/24", STR_FMT(n->text));
            break;
        }
        texts[l->count++] = xstrndup(n->text.ptr, n->text.len);
    }
    if (ok)
        world_link_set(name, kind, texts, true);
    for (size_t i = 0; i < ADDRESSES; i++)
        xfree((char *)texts[i]);
    return ok;
}

static void drop_link(const char *name, bool remove)
{
    static const char *const none[] = {NULL};
    struct place_link *l = link_named(name);
    if (l != NULL)
        l->count = 0;
    if (remove)
        world_link_remove(name);
    else
        world_link_set(name, "", none, false);
}

bool place_links(const struct yaml_node *what, struct err *err)
{
    // A story that says where the machine is begins with nothing else.
    if (!all.moved && yaml_get(what, "eth0") == NULL)
        drop_link("eth0", true);
    all.moved = true;
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next) {
        char name[32];
        snprintf(name, sizeof(name), "%.*s", STR_FMT(n->key->text));
        bool gone = n->kind == YAML_SCALAR && str_eq(n->text, STR("gone"));
        bool down = n->kind == YAML_SCALAR && str_eq(n->text, STR("down"));
        if (gone || down) {
            drop_link(name, gone);
            tales_world("%s is %s", name, gone ? "gone" : "down");
        } else if (!set_link(name, n, err)) {
            return false;
        } else if (n->kind == YAML_SCALAR) {
            tales_world("%s has %.*s", name, STR_FMT(n->text));
        } else {
            tales_world("%s is up", name);
        }
    }
    tell_servers();
    return true;
}

void place_links_gone(const struct yaml_node *what)
{
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next) {
        char name[32];
        snprintf(name, sizeof(name), "%.*s", STR_FMT(n->key->text));
        drop_link(name, true);
        tales_world("%s is gone", name);
    }
    tell_servers();
}

// ---- NetworkManager ----

struct said {
    char text[6][64];
};

static enum manager_answer answer(const struct yaml_node *what, const char *key)
{
    struct str text = story_text(what, key, "");
    return text.len == 0                                           ? MANAGER_UNKNOWN
           : str_eq(text, STR("yes")) || str_eq(text, STR("true")) ? MANAGER_YES
                                                                   : MANAGER_NO;
}

static void one_connection(const struct yaml_node *what, struct said *said,
                           struct manager_connection *out)
{
    static const char *const keys[] = {"id", "uuid", "type", "ssid", "interface", "apn"};
    for (size_t i = 0; i < 6; i++)
        snprintf(said->text[i], sizeof(said->text[i]), "%.*s",
                 STR_FMT(story_text(what, keys[i], "")));
    bool vpn = strcmp(said->text[2], "vpn") == 0 || strcmp(said->text[2], "wireguard") == 0;
    *out = (struct manager_connection){.id = said->text[0],
                                       .uuid = said->text[1],
                                       .type = said->text[2],
                                       .ssid = said->text[3],
                                       .interface = said->text[4],
                                       .apn = said->text[5],
                                       .vpn = vpn,
                                       .ready = true};
}

bool place_connection(const struct yaml_node *what, struct err *err)
{
    struct said said[CONNECTIONS];
    struct manager_connection list[CONNECTIONS];
    struct manager_state state = {.present = true, .connections = list};
    bool none = what->kind == YAML_SCALAR;
    for (const struct yaml_node *n = story_first(what);
         !none && n != NULL && state.count < CONNECTIONS; n = story_next(what, n)) {
        one_connection(n, &said[state.count], &list[state.count]);
        tales_world("connection %s stands%s", list[state.count].id,
                    answer(n, "captive") == MANAGER_YES ? ", behind a portal" : "");
        state.count++;
        if (answer(n, "captive") != MANAGER_UNKNOWN)
            state.captive = answer(n, "captive");
        if (answer(n, "metered") != MANAGER_UNKNOWN)
            state.metered = answer(n, "metered");
    }
    if (none)
        tales_world("no connection stands");
    world_manager_set(&state);
    return true;
}
