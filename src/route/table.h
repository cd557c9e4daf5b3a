// SPDX-License-Identifier: ISC
// The routes as a whole: printed as sentences (`route show`), and looked over for what can never
// happen (`route lint`). Pure.
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "conf/conf.h"

// The conditions of a route as in `route explain`: "to *@a.example,*@b.example on network office",
// or "all mail".
void route_conditions(const struct conf *conf, const struct conf_route *route, struct buf *out);
const char *route_mode_name(enum conf_mode mode); // "undelivered", NULL for MODE_NONE

// The names of a set of classes: "net, dns".
void route_classes(uint32_t set, struct buf *out);

// A sentence a route and one for the default chain. `hits` by index of conf.routes, the last one
// for the default chain; NULL: not counted. As JSON one object without a key: routes, default.
void route_show(const struct conf *conf, const uint64_t *hits, struct buf *out);
void route_show_json(const struct conf *conf, const uint64_t *hits, struct json *j);

// Rules never reached, gateways never used, chains with no way out, `on` classes that lead nowhere,
// quotas whose reserve leaves nothing. A line each with the line of the file, what and why and what
// to do; as JSON the array `findings` into the object that is open. Returns how many.
size_t route_lint(const struct conf *conf, struct buf *out);
size_t route_lint_json(const struct conf *conf, struct json *j);
