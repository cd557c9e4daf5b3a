// SPDX-License-Identifier: ISC
// The links, addresses and routes of now, asked of the kernel by rtnetlink(7) over libmnl.
//
// A socket for each reading: it is asked four questions and closed, so that nothing left over from
// one that was broken off can be taken for an answer to another. Needs no privilege.
//
// The kernel says when a list changed while it was being told (NLM_F_DUMP_INTR); then all is asked
// anew, a few times, for half of an old list and half of a new one would be a place that never was.
// What is above a ceiling is not read any further. Default routes come first in the kernel's
// tables, so that a router with a million others still knows its way out.
#include "sys/links.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sys/file.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

enum { TRIES = 5, ANSWER_S = 2, ANSWER_BYTES = 64 * 1024, FILE_BYTES = 4096, PPPD_FILES = 64 };

struct reading {
    struct arena *arena;
    struct link_facts *links;
    struct link_address *addresses;
    struct link_route *routes;
    size_t link_count, address_count, route_count;
    unsigned family; // of the routes asked for
    bool full;       // a ceiling: no more of this list
};

// ---- What an attribute says ----

struct attributes {
    const struct nlattr **of;
    uint16_t max;
};

static int on_attribute(const struct nlattr *attr, void *ctx)
{
    struct attributes *all = ctx;
    if (mnl_attr_get_type(attr) <= all->max)
        all->of[mnl_attr_get_type(attr)] = attr;
    return MNL_CB_OK;
}

static void read_attributes(const struct nlmsghdr *message, size_t header,
                            const struct nlattr **attributes, uint16_t max)
{
    struct attributes all = {attributes, max};
    mnl_attr_parse(message, (unsigned)header, on_attribute, &all);
}

static uint32_t number_of(const struct nlattr *attr, uint32_t otherwise)
{
    return attr != NULL && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(attr)
                                                                      : otherwise;
}

static const char *text_of(struct arena *arena, const struct nlattr *attr)
{
    if (attr == NULL)
        return "";
    const char *text = mnl_attr_get_payload(attr);
    char *copy = arena_str(arena, str_make(text, strnlen(text, mnl_attr_get_payload_len(attr))));
    utf8_make_plain(copy); // the kernel takes any octets but a few
    return copy;
}

static bool address_of(const struct nlattr *attr, unsigned family, struct net_addr *out)
{
    size_t len = family == AF_INET ? 4 : 16;
    *out = (struct net_addr){.family = family == AF_INET ? NET_IPV4 : NET_IPV6};
    if (attr == NULL || mnl_attr_get_payload_len(attr) != len)
        return false;
    memcpy(out->bytes, mnl_attr_get_payload(attr), len);
    return true;
}

// ---- Links ----

// What the driver calls the device: "wlan", "wwan"; the kernel tells no other way what it is.
static void ask_driver(struct reading *r, struct link_facts *link)
{
    char path[128];
    size_t len;
    struct err quiet;
    snprintf(path, sizeof(path), "/sys/class/net/%s/uevent", link->name);
    char *text = file_slurp(path, FILE_BYTES, &len, &quiet);
    if (text == NULL)
        return;
    struct str rest = str_make(text, len), line;
    while (str_split(&rest, '\n', &line)) {
        if (str_eq(line, STR("DEVTYPE=wlan")))
            link->wireless = true;
        else if (str_eq(line, STR("DEVTYPE=wwan")))
            link->kind = "wwan";
    }
    xfree(text);
}

// pppd with `linkname NAME` writes ppp-NAME.pid: its process id, and on the second line the
// interface.
static bool pppd_file_names(const char *dir, const char *file, const char *interface)
{
    char path[512];
    size_t len;
    struct err quiet;
    struct str process, name;
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    char *text = file_slurp(path, FILE_BYTES, &len, &quiet);
    if (text == NULL)
        return false;
    struct str rest = str_make(text, len);
    bool ours = str_split(&rest, '\n', &process) && str_split(&rest, '\n', &name) &&
                str_eq(str_trim(name), str_of(interface));
    xfree(text);
    return ours;
}

static const char *pppd_link_name(struct arena *arena, const char *interface)
{
    static const char *const dirs[] = {"/run", "/run/pppd"};
    const char *found = "";
    struct err quiet;
    for (size_t d = 0; d < sizeof(dirs) / sizeof(dirs[0]) && found[0] == '\0'; d++) {
        char **names = dir_list(dirs[d], &quiet);
        for (size_t i = 0, looked = 0; names != NULL && names[i] != NULL && looked < PPPD_FILES;
             i++) {
            struct str name = str_of(names[i]);
            if (!str_starts(name, STR("ppp-")) || !str_iends(name, STR(".pid")))
                continue;
            looked++;
            if (pppd_file_names(dirs[d], names[i], interface))
                found = arena_str(arena, str_make(name.ptr + 4, name.len - 8));
        }
        dir_list_free(&names);
    }
    return found;
}

static void take_link(struct reading *r, const struct nlmsghdr *message)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr[IFLA_MAX + 1] = {0}, *of_kind[IFLA_INFO_MAX + 1] = {0};
    struct attributes nested = {of_kind, IFLA_INFO_MAX};
    if (r->link_count == LIMIT_LINKS) {
        r->full = true;
        return;
    }
    read_attributes(message, sizeof(*info), attr, IFLA_MAX);
    if (attr[IFLA_LINKINFO] != NULL)
        mnl_attr_parse_nested(attr[IFLA_LINKINFO], on_attribute, &nested);
    struct link_facts *link = &r->links[r->link_count++];
    *link = (struct link_facts){
        .index = (uint32_t)info->ifi_index,
        .name = text_of(r->arena, attr[IFLA_IFNAME]),
        .alias = text_of(r->arena, attr[IFLA_IFALIAS]),
        .kind = text_of(r->arena, of_kind[IFLA_INFO_KIND]),
        // The kernel means its own view of the carrier by RUNNING: links that know none have it.
        .up = (info->ifi_flags & IFF_UP) != 0 && (info->ifi_flags & IFF_RUNNING) != 0,
        .loopback = (info->ifi_flags & IFF_LOOPBACK) != 0,
        .point_to_point = (info->ifi_flags & IFF_POINTOPOINT) != 0};
    if (info->ifi_type == ARPHRD_PPP && link->kind[0] == '\0')
        link->kind = "ppp";
    if (link->kind[0] == '\0' && !link->loopback && strchr(link->name, '/') == NULL)
        ask_driver(r, link);
    if (link->alias[0] == '\0' &&
        (strcmp(link->kind, "ppp") == 0 || strncmp(link->name, "ppp", 3) == 0))
        link->alias = pppd_link_name(r->arena, link->name);
}

// ---- Addresses ----

static void take_address(struct reading *r, const struct nlmsghdr *message)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr[IFA_MAX + 1] = {0};
    if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
        return;
    if (r->address_count == LIMIT_OWN_ADDRESSES) {
        r->full = true;
        return;
    }
    read_attributes(message, sizeof(*info), attr, IFA_MAX);
    struct link_address *a = &r->addresses[r->address_count];
    struct net_addr other;
    *a = (struct link_address){.link = info->ifa_index, .prefix = info->ifa_prefixlen};
    bool has_other = address_of(attr[IFA_ADDRESS], info->ifa_family, &other);
    // On a point-to-point link LOCAL is ours and ADDRESS the peer's; else ADDRESS may stand alone.
    if (address_of(attr[IFA_LOCAL], info->ifa_family, &a->addr)) {
        if (has_other && !net_addr_same_ip(&a->addr, &other))
            a->peer = other;
    } else if (has_other) {
        a->addr = other;
    } else {
        return;
    }
    uint32_t flags = number_of(attr[IFA_FLAGS], info->ifa_flags);
    a->link_local =
        info->ifa_scope == RT_SCOPE_LINK ||
        (a->addr.family == NET_IPV4 && a->addr.bytes[0] == 169 && a->addr.bytes[1] == 254);
    a->temporary = info->ifa_family == AF_INET6 && (flags & IFA_F_TEMPORARY) != 0;
    a->deprecated = (flags & IFA_F_DEPRECATED) != 0;
    a->tentative = (flags & IFA_F_DADFAILED) != 0 ||
                   ((flags & IFA_F_TENTATIVE) != 0 && (flags & IFA_F_OPTIMISTIC) == 0);
    r->address_count++;
}

// ---- Routes ----

static void take_route(struct reading *r, const struct nlmsghdr *message)
{
    const struct rtmsg *info = mnl_nlmsg_get_payload(message);
    const struct nlattr *attr[RTA_MAX + 1] = {0};
    // A kernel without the family answers for all, one that cannot choose tells all tables.
    if (info->rtm_family != r->family || info->rtm_type != RTN_UNICAST ||
        (info->rtm_flags & RTM_F_CLONED) != 0)
        return;
    if (r->route_count == LIMIT_ROUTES_READ) {
        r->full = true;
        return;
    }
    read_attributes(message, sizeof(*info), attr, RTA_MAX);
    if (number_of(attr[RTA_TABLE], info->rtm_table) != RT_TABLE_MAIN)
        return;
    struct link_route *route = &r->routes[r->route_count++];
    *route = (struct link_route){.link = number_of(attr[RTA_OIF], 0),
                                 .prefix = info->rtm_dst_len,
                                 .metric = number_of(attr[RTA_PRIORITY], 0)};
    address_of(attr[RTA_DST], info->rtm_family, &route->to);
    if (!address_of(attr[RTA_GATEWAY], info->rtm_family, &route->gateway))
        route->gateway = (struct net_addr){.family = NET_NONE};
    const struct nlattr *many = attr[RTA_MULTIPATH];
    if (many != NULL && mnl_attr_get_payload_len(many) >= sizeof(struct rtnexthop)) {
        // Of several ways the first stands for all.
        const struct rtnexthop *first = mnl_attr_get_payload(many);
        route->link = (uint32_t)first->rtnh_ifindex;
        route->gateway.family = route->to.family;
    }
    if (attr[RTA_VIA] != NULL) // a router of the other family
        route->gateway.family = route->to.family;
}

// ---- Asking ----

static int on_message(const struct nlmsghdr *message, void *ctx)
{
    static const struct {
        uint16_t type;
        size_t header;
        void (*take)(struct reading *r, const struct nlmsghdr *message);
    } kinds[] = {{RTM_NEWLINK, sizeof(struct ifinfomsg), take_link},
                 {RTM_NEWADDR, sizeof(struct ifaddrmsg), take_address},
                 {RTM_NEWROUTE, sizeof(struct rtmsg), take_route}};
    struct reading *r = ctx;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (message->nlmsg_type == kinds[i].type &&
            mnl_nlmsg_get_payload_len(message) >= kinds[i].header)
            kinds[i].take(r, message);
    return MNL_CB_OK;
}

// False with errno; EINTR: the list changed meanwhile.
static bool hear(struct mnl_socket *socket, unsigned sequence, struct reading *r)
{
    char *bytes = xmalloc(ANSWER_BYTES);
    int more = MNL_CB_OK;
    while (more > MNL_CB_STOP && !r->full) {
        ssize_t n = mnl_socket_recvfrom(socket, bytes, ANSWER_BYTES);
        more = n < 0 ? MNL_CB_ERROR
                     : mnl_cb_run(bytes, (size_t)n, sequence, mnl_socket_get_portid(socket),
                                  on_message, r);
    }
    int code = errno;
    xfree(bytes);
    errno = code;
    return more >= MNL_CB_STOP;
}

static bool ask(uint16_t type, unsigned family, struct reading *r)
{
    char bytes[256];
    struct timeval patience = {.tv_sec = ANSWER_S};
    int strict = 1;
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (socket == NULL)
        return false;
    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    // So that the kernel picks the table, and not this: the others may be long.
    setsockopt(mnl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict,
               sizeof(strict));
    struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message->nlmsg_seq = 1;
    if (type == RTM_GETLINK) {
        struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
        info->ifi_family = AF_UNSPEC;
    } else if (type == RTM_GETADDR) {
        struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
        info->ifa_family = AF_UNSPEC;
    } else {
        struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
        info->rtm_family = (unsigned char)family;
        info->rtm_table = RT_TABLE_MAIN;
    }
    r->family = family;
    r->full = false;
    bool ok = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
              mnl_socket_sendto(socket, message, message->nlmsg_len) >= 0 && hear(socket, 1, r);
    int code = errno;
    mnl_socket_close(socket);
    errno = code;
    return ok;
}

// A family the kernel does not have, or one without a table yet, has no routes.
static bool ask_routes(unsigned family, struct reading *r)
{
    return ask(RTM_GETROUTE, family, r) || errno == ENOENT || errno == EAFNOSUPPORT ||
           errno == EOPNOTSUPP || errno == EINVAL;
}

static int by_link(const void *a, const void *b)
{
    const struct link_facts *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool read_all(struct reading *r)
{
    r->link_count = r->address_count = r->route_count = 0;
    return ask(RTM_GETLINK, AF_UNSPEC, r) && ask(RTM_GETADDR, AF_UNSPEC, r) &&
           ask_routes(AF_INET, r) && ask_routes(AF_INET6, r);
}

static const void *keep(struct arena *arena, const void *from, size_t bytes)
{
    void *copy = arena_alloc(arena, bytes + 1);
    memcpy(copy, from, bytes);
    return copy;
}

bool links_read(struct arena *arena, struct links *out, struct err *err)
{
    struct reading r = {.arena = arena,
                        .links = xcalloc(LIMIT_LINKS, sizeof(*r.links)),
                        .addresses = xcalloc(LIMIT_OWN_ADDRESSES, sizeof(*r.addresses)),
                        .routes = xcalloc(LIMIT_ROUTES_READ, sizeof(*r.routes))};
    bool ok = read_all(&r);
    for (int i = 1; i < TRIES && !ok && errno == EINTR; i++)
        ok = read_all(&r);
    *out = (struct links){0};
    if (ok) {
        qsort(r.links, r.link_count, sizeof(*r.links), by_link);
        *out = (struct links){.link_count = r.link_count,
                              .address_count = r.address_count,
                              .route_count = r.route_count,
                              .links = keep(arena, r.links, r.link_count * sizeof(*r.links)),
                              .addresses =
                                  keep(arena, r.addresses, r.address_count * sizeof(*r.addresses)),
                              .routes = keep(arena, r.routes, r.route_count * sizeof(*r.routes))};
    } else {
        err_sys(err, errno, "the kernel does not tell its links (rtnetlink)");
    }
    xfree(r.links);
    xfree(r.addresses);
    xfree(r.routes);
    return ok;
}
