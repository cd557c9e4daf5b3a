// SPDX-License-Identifier: ISC
// Is this network open, or does a portal answer in everyone's place? Without NetworkManager's word
// two things are asked at once:
//
//  - a page that is known to answer 204 with nothing in it, over IPv4, and over IPv6 when that
//    brings no answer;
//  - the address of a random name under `invalid`, of which there is none (RFC 6761 section 6.4).
//    An address as the answer: DNS here lies.
//
// The page decides where it answers: 204 is an open network, anything else a portal. Some
// providers redirect what does not exist for good, and mail goes all the same: there a lie is only
// told. It decides where the page gives no answer: captive, but only for so long, lest a page that
// is gone and such a provider keep mail for ever. One loop.
#pragma once

#include "sys/loop.h"
#include "sys/names.h"

struct captive;
// `url` "http://host[:port]/path", the host a name, an IPv4 address or [an IPv6 address]; NULL:
// never ask. `names` ask their servers for `invalid` too. `changed` runs when one of the answers
// below has changed.
struct captive *captive_new(struct loop *loop, struct names *names, const char *url,
                            void (*changed)(void *ctx), void *ctx);
void captive_free(struct captive **captive);
void captive_set_url(struct captive *captive, const char *url);
// The network changed: ask now, and again every minute while captive.
void captive_ask(struct captive *captive, bool offline);
bool captive_is(const struct captive *captive);
const char *captive_why(const struct captive *captive);
bool captive_dns_lies(const struct captive *captive); // captive or not
