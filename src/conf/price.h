// SPDX-License-Identifier: ISC
// Money: what a gateway asks for its work, and what may be spent on it in a month.
#pragma once

#include "base/buf.h"
#include "conf/conf.h"

// "0.10 USD/1000": so much for so many recipients; without a slash for one. False: not of this
// form, nothing, or more than a million.
bool price_parse(struct str text, struct conf_price *out);
// As it is typed: "0.10 USD/1000".
void price_put(struct buf *out, const struct conf_price *price);
// An amount with two decimals at least, and as many as it has: "4.10 USD", "0.000125 USD".
void price_put_amount(struct buf *out, uint64_t micros, const char *currency);

// What so many recipients cost, in millionths, rounded up; and how many there are for an amount.
uint64_t price_of(const struct conf_price *price, uint64_t recipients);
uint64_t price_recipients(const struct conf_price *price, uint64_t micros);

// What the gateway may be given in the period: what was said, or what the budget of a month is
// enough for, if that is less. 0: no limit.
uint64_t price_quota(const struct conf_gateway *g, enum conf_unit unit, enum conf_period period);
