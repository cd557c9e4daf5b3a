// SPDX-License-Identifier: ISC
// The hosts file (hosts(5)): addresses that go before the DNS. Not for other rooms.
#pragma once

#include "base/netaddr.h"

struct hosts;
// A file that is not there, or has bad lines, is no trouble: those lines do not exist.
struct hosts *hosts_new(const char *path);
void hosts_free(struct hosts **hosts);

struct hosts_entry {
    struct hosts_entry *next; // of the same name, in the file's order
    const char *name;
    struct net_addr addr;
};
// The addresses of a name, or NULL. Reads a changed file anew. The result is good until the next
// call.
const struct hosts_entry *hosts_get(struct hosts *hosts, const char *name);
