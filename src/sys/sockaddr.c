// SPDX-License-Identifier: ISC
// Addresses as the kernel has them, and as ours.
#include "sys/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

static socklen_t from_unix(const struct net_addr *addr, struct sockaddr_un *un)
{
    size_t len = strnlen(addr->path, sizeof(addr->path));
    if (len == 0 || len >= sizeof(un->sun_path))
        return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, addr->path, len);
    // An abstract name is as long as it is said to be: no NUL behind it.
    bool abstract = addr->path[0] == '@';
    if (abstract)
        un->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
}

socklen_t sockaddr_from(const struct net_addr *addr, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    switch (addr->family) {
    case NET_IPV4: {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->bytes, 4);
        return sizeof(*in);
    }
    case NET_IPV6: {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(addr->port);
        in6->sin6_scope_id = addr->scope;
        memcpy(&in6->sin6_addr, addr->bytes, 16);
        return sizeof(*in6);
    }
    case NET_UNIX: return from_unix(addr, (struct sockaddr_un *)out);
    case NET_NONE: break;
    }
    return 0;
}

static void to_unix(const struct sockaddr_un *un, socklen_t len, struct net_addr *addr)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t path_len = len > head ? len - head : 0;
    if (path_len >= sizeof(addr->path))
        path_len = sizeof(addr->path) - 1;
    memcpy(addr->path, un->sun_path, path_len);
    if (path_len > 0 && addr->path[0] == '\0')
        addr->path[0] = '@';
}

bool sockaddr_to(const struct sockaddr *in, socklen_t len, struct net_addr *addr_out)
{
    *addr_out = (struct net_addr){0};
    if (in->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)in;
        addr_out->family = NET_IPV4;
        addr_out->port = ntohs(in4->sin_port);
        memcpy(addr_out->bytes, &in4->sin_addr, 4);
    } else if (in->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)in;
        addr_out->family = NET_IPV6;
        addr_out->port = ntohs(in6->sin6_port);
        addr_out->scope = in6->sin6_scope_id;
        memcpy(addr_out->bytes, &in6->sin6_addr, 16);
    } else if (in->sa_family == AF_UNIX) {
        addr_out->family = NET_UNIX;
        to_unix((const struct sockaddr_un *)in, len, addr_out);
    } else {
        return false;
    }
    return true;
}
