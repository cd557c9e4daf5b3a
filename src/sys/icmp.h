// SPDX-License-Identifier: ISC
// What an ICMP message said of a connection that did not come about: the kernel makes one errno of
// "nobody is there" and "a filter forbids it". Not for other rooms.
#pragma once

#include "base/netaddr.h"

struct icmp_word {
    bool prohibited;      // administratively (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1)
    struct net_addr from; // who said so: the host itself, or something on the way
};
// After a failed connect. False: no such message came, or the system does not keep them.
bool icmp_heard(int fd, struct icmp_word *out);
