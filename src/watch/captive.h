// SPDX-License-Identifier: ISC
// Is this network open, or does a portal answer in everyone's place? Without NetworkManager's word
// a page is asked for that is known to answer 204 with nothing in it. One loop.
#pragma once

#include "sys/loop.h"
#include "sys/names.h"

struct captive;
// `url` "http://host[:port]/path", NULL: never ask. `changed` runs when the answer has changed.
struct captive *captive_new(struct loop *loop, struct names *names, const char *url,
                            void (*changed)(void *ctx), void *ctx);
void captive_free(struct captive **captive);
void captive_set_url(struct captive *captive, const char *url);
// The network changed: ask now, and again every few minutes while captive.
void captive_ask(struct captive *captive, bool offline);
bool captive_is(const struct captive *captive);
const char *captive_why(const struct captive *captive);
