// SPDX-License-Identifier: ISC
// The routes as a whole: printed as sentences (`route show`), and looked over for what can never
// happen (`route lint`). Pure.
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "conf/conf.h"

// `hits` by index of conf.routes, the last one for the default chain; NULL: not counted.
void route_show(const struct conf *conf, const uint64_t *hits, struct buf *out);
void route_show_json(const struct conf *conf, const uint64_t *hits, struct json *j);

// Rules never reached, gateways never used, chains with no way out, `on` classes that lead nowhere,
// quotas whose reserve leaves nothing. A line each with the line of the file, what and why and what
// to do. Returns how many.
size_t route_lint(const struct conf *conf, struct buf *out);
size_t route_lint_json(const struct conf *conf, struct json *j);
