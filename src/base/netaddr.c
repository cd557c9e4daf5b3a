// SPDX-License-Identifier: ISC
// IP addresses, ports, unix paths and ranges.
#include "base/netaddr.h"

#include <arpa/inet.h>
#include <stdio.h>

static size_t width(const struct net_addr *addr)
{
    return addr->family == NET_IPV4 ? 4 : 16;
}

bool net_addr_parse_ip(struct str text, struct net_addr *addr_out)
{
    char copy[64];
    if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = str_make(text.ptr + 1, text.len - 2);
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    struct net_addr addr = {0};
    if (inet_pton(AF_INET, copy, addr.bytes) == 1)
        addr.family = NET_IPV4;
    else if (inet_pton(AF_INET6, copy, addr.bytes) == 1)
        addr.family = NET_IPV6;
    else
        return false;
    *addr_out = addr;
    return true;
}

bool net_addr_parse(struct str text, uint16_t default_port, struct net_addr *addr_out)
{
    if (str_starts(text, STR("unix:"))) {
        struct net_addr addr = {.family = NET_UNIX};
        struct str path = str_make(text.ptr + 5, text.len - 5);
        if (path.len == 0 || path.len >= sizeof(addr.path) || memchr(path.ptr, '\0', path.len))
            return false;
        memcpy(addr.path, path.ptr, path.len);
        *addr_out = addr;
        return true;
    }
    struct str host = text, port = {0};
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t end = str_find(text, ']');
        if (end == text.len)
            return false;
        host = str_make(text.ptr, end + 1);
        port = str_make(text.ptr + end + 1, text.len - end - 1);
        if (port.len > 0 && port.ptr[0] != ':')
            return false;
    } else {
        size_t colon = str_find(text, ':');
        struct str after = str_make(text.ptr + colon, text.len - colon);
        // Two colons without brackets: a bare IPv6 address.
        if (after.len > 0 &&
            str_find(str_make(after.ptr + 1, after.len - 1), ':') == after.len - 1) {
            host = str_make(text.ptr, colon);
            port = after;
        }
    }
    uint64_t number = default_port;
    if (port.len > 0 && !str_u64(str_make(port.ptr + 1, port.len - 1), 65535, &number))
        return false;
    if (!net_addr_parse_ip(host, addr_out))
        return false;
    addr_out->port = (uint16_t)number;
    return true;
}

const char *net_addr_format_ip(const struct net_addr *addr, char text[NET_ADDR_TEXT])
{
    if (addr->family == NET_UNIX)
        snprintf(text, NET_ADDR_TEXT, "unix:%s", addr->path);
    else if (addr->family == NET_NONE)
        snprintf(text, NET_ADDR_TEXT, "-");
    else
        inet_ntop(addr->family == NET_IPV4 ? AF_INET : AF_INET6, addr->bytes, text, NET_ADDR_TEXT);
    return text;
}

const char *net_addr_format(const struct net_addr *addr, char text[NET_ADDR_TEXT])
{
    char ip[NET_ADDR_TEXT];
    net_addr_format_ip(addr, ip);
    if (addr->family == NET_IPV6)
        snprintf(text, NET_ADDR_TEXT, "[%.100s]:%u", ip, addr->port);
    else if (addr->family == NET_IPV4)
        snprintf(text, NET_ADDR_TEXT, "%.100s:%u", ip, addr->port);
    else
        memcpy(text, ip, sizeof(ip));
    return text;
}

static struct net_addr unmapped(const struct net_addr *addr)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct net_addr v4 = *addr;
    if (addr->family == NET_IPV6 && memcmp(addr->bytes, mapped, 12) == 0) {
        v4.family = NET_IPV4;
        memset(v4.bytes, 0, sizeof(v4.bytes));
        memcpy(v4.bytes, addr->bytes + 12, 4);
    }
    return v4;
}

bool net_addr_same_ip(const struct net_addr *a, const struct net_addr *b)
{
    struct net_addr x = unmapped(a), y = unmapped(b);
    if (x.family != y.family)
        return false;
    if (x.family == NET_UNIX)
        return strcmp(x.path, y.path) == 0;
    return memcmp(x.bytes, y.bytes, width(&x)) == 0;
}

bool net_addr_is_loopback(const struct net_addr *addr)
{
    static const unsigned char six[16] = {[15] = 1};
    struct net_addr a = unmapped(addr);
    return a.family == NET_UNIX || (a.family == NET_IPV4 && a.bytes[0] == 127) ||
           (a.family == NET_IPV6 && memcmp(a.bytes, six, 16) == 0);
}

bool net_addr_is_any(const struct net_addr *addr)
{
    static const unsigned char zero[16];
    return (addr->family == NET_IPV4 || addr->family == NET_IPV6) &&
           memcmp(addr->bytes, zero, width(addr)) == 0;
}

unsigned net_addr_bits(const struct net_addr *addr)
{
    return (unsigned)width(addr) * 8;
}

void net_range_around(const struct net_addr *addr, unsigned prefix, struct net_range *range_out)
{
    struct net_range r = {*addr, *addr};
    for (size_t i = 0; i < width(addr); i++) {
        size_t kept = prefix > i * 8 ? prefix - i * 8 : 0;
        unsigned char mask = kept >= 8 ? 0xff : (unsigned char)(0xff00u >> kept);
        r.low.bytes[i] &= mask;
        r.high.bytes[i] |= (unsigned char)~mask;
    }
    *range_out = r;
}

bool net_range_parse(struct str text, struct net_range *range_out)
{
    struct net_range r = {0};
    size_t slash = str_find(text, '/'), dash = str_find(text, '-');
    if (slash < text.len) {
        uint64_t bits;
        if (!net_addr_parse_ip(str_make(text.ptr, slash), &r.low))
            return false;
        if (!str_u64(str_make(text.ptr + slash + 1, text.len - slash - 1), net_addr_bits(&r.low),
                     &bits))
            return false;
        net_range_around(&r.low, (unsigned)bits, &r);
    } else if (dash < text.len) {
        if (!net_addr_parse_ip(str_make(text.ptr, dash), &r.low) ||
            !net_addr_parse_ip(str_make(text.ptr + dash + 1, text.len - dash - 1), &r.high) ||
            r.low.family != r.high.family || memcmp(r.low.bytes, r.high.bytes, width(&r.low)) > 0)
            return false;
    } else {
        if (!net_addr_parse_ip(text, &r.low))
            return false;
        r.high = r.low;
    }
    *range_out = r;
    return true;
}

bool net_range_has(const struct net_range *range, const struct net_addr *addr)
{
    struct net_addr a = range->low.family == NET_IPV4 ? unmapped(addr) : *addr;
    return a.family == range->low.family && memcmp(a.bytes, range->low.bytes, width(&a)) >= 0 &&
           memcmp(a.bytes, range->high.bytes, width(&a)) <= 0;
}
