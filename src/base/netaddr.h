// SPDX-License-Identifier: ISC
// IP addresses, ports, unix paths and address ranges, as values.
#pragma once

#include "base/err.h"
#include "base/str.h"

enum net_family { NET_NONE, NET_IPV4, NET_IPV6, NET_UNIX };

struct net_addr {
    enum net_family family;
    uint16_t port;
    uint32_t scope;          // IPv6 interface index, 0 = none
    unsigned char bytes[16]; // IPv4: the first 4
    char path[104];          // NET_UNIX only
};

// "127.0.0.1", "[::1]", "::1": no port.
bool net_addr_parse_ip(struct str text, struct net_addr *addr_out);
// "127.0.0.1:25", "[::1]:25", "unix:/run/x.sock"; without a port, `default_port`.
bool net_addr_parse(struct str text, uint16_t default_port, struct net_addr *addr_out);
enum { NET_ADDR_TEXT = 128 };
const char *net_addr_format(const struct net_addr *addr, char text[NET_ADDR_TEXT]); // with port
const char *net_addr_format_ip(const struct net_addr *addr,
                               char text[NET_ADDR_TEXT]); // no port, no brackets
bool net_addr_same_ip(const struct net_addr *a,
                      const struct net_addr *b);        // ::ffff:a.b.c.d equals a.b.c.d
unsigned net_addr_bits(const struct net_addr *addr);    // 32 or 128
bool net_addr_is_loopback(const struct net_addr *addr); // also NET_UNIX
bool net_addr_is_any(const struct net_addr *addr);      // 0.0.0.0 or ::

// An inclusive range of addresses of one family.
struct net_range {
    struct net_addr low;
    struct net_addr high;
};
// "10.0.0.0/8", "fd00::/8", "192.168.1.40-192.168.1.47", or a single address.
bool net_range_parse(struct str text, struct net_range *range_out);
// All addresses that share its first `prefix` bits; more than it has: itself alone.
void net_range_around(const struct net_addr *addr, unsigned prefix, struct net_range *range_out);
bool net_range_has(const struct net_range *range, const struct net_addr *addr);
