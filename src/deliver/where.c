// SPDX-License-Identifier: ISC
// Where an attempt was made, in words.
#include "deliver/where.h"

#include <stdio.h>

void where_format(const char *host, const struct net_addr *peer, uint16_t port,
                  char out[WHERE_TEXT])
{
    enum { HOST = 40 };
    char ip[NET_ADDR_TEXT];
    const char *from = host, *cut = "";
    net_addr_format_ip(peer, ip);
    if (peer->family == NET_UNIX) {
        snprintf(out, WHERE_TEXT, "%.90s", ip);
        return;
    }
    size_t len = strlen(host);
    if (len > HOST) {
        const char *dot = strchr(host + len - HOST + 1, '.');
        from = dot != NULL ? dot : host + len - HOST + 1;
        cut = "*";
    }
    snprintf(out, WHERE_TEXT, "%s%.40s[%.45s]:%u", cut, from, ip, port);
}
