// SPDX-License-Identifier: ISC
// libunbound's events on our loop. Not for other rooms.
#pragma once

#include "sys/net_int.h"

#include <unbound-event.h>

// Must outlive the resolver made on it.
struct names_base {
    struct ub_event_base ub; // first: libunbound knows this part
    struct net *net;
};
void names_base_init(struct names_base *base, struct loop *loop);
