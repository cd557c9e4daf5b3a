// SPDX-License-Identifier: ISC
// Addresses as the kernel has them, and as ours. Not for other rooms.
#pragma once

#include "base/netaddr.h"

#include <sys/socket.h>

// The length to give to the kernel, 0 for NET_NONE or a path too long. A path that begins with '@'
// is an abstract name.
socklen_t sockaddr_from(const struct net_addr *addr, struct sockaddr_storage *out);
// False for families we do not know; an unnamed unix socket has the path "".
bool sockaddr_to(const struct sockaddr *in, socklen_t len, struct net_addr *addr_out);
