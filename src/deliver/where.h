// SPDX-License-Identifier: ISC
// Where an attempt was made, in words.
#pragma once

#include "base/netaddr.h"

#include <stdint.h>

enum { WHERE_TEXT = 96 };
// "host[address]:port", as outcomes say it; of a unix socket its path. Of a long name the end
// stays, which tells whose host it is: "*.mail.example[192.0.2.1]:25".
void where_format(const char *host, const struct net_addr *peer, uint16_t port,
                  char out[WHERE_TEXT]);
