// SPDX-License-Identifier: ISC
// Who listens on a port? For the person who is told that it is taken.
#pragma once

#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>

// "master (process 812)" of the program that listens on this TCP port at that address or at all of
// them. False when it cannot be known: only root sees other users' sockets. Blocks: reads /proc.
bool port_holder(const struct net_addr *at, char *out, size_t size);
