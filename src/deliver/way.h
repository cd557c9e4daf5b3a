// SPDX-License-Identifier: ISC
// What the configuration of a gateway means for a connection: the same for mail and for probes.
#pragma once

#include "conf/conf.h"
#include "deliver/dial.h"
#include "deliver/mx.h"
#include "deliver/session.h"

// `host`, `domain`: the mail exchanger and whose it is, for direct delivery; else NULL. What is
// filled in borrows from all of these.
void way_target(const struct conf_gateway *g, const struct mx_host *host, const char *domain,
                size_t most, struct dial_target *out);
void way_params(const struct conf *conf, const struct conf_gateway *g, const struct mx_host *host,
                bool in_clear, struct session_params *out);
