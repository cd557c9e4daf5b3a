// SPDX-License-Identifier: ISC
// Whether a sender's domain could be answered: it has an MX that is not null (RFC 7505), or without
// MX an address (RFC 5321 section 5.1). Only what DNS says for certain counts as no; no answer for
// now, or one that cannot be believed, is no reason to refuse mail.
#pragma once

#include "sys/names.h"

enum origin {
    ORIGIN_FINE,    // or nobody knows
    ORIGIN_UNKNOWN, // the domain does not exist
    ORIGIN_NO_HOST, // it exists, with neither MX nor address
    ORIGIN_NULL_MX, // it says that it takes no mail
};

// `domain` is ASCII. The callback comes later from the loop; the handle is dead then. NULL: nothing
// to look up, as it is an address literal.
struct origin_query;
struct origin_query *origin_ask(struct names *names, const char *domain,
                                void (*done)(void *ctx, enum origin origin), void *ctx);
void origin_cancel(struct origin_query **query); // NULL is fine
