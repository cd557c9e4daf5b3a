// SPDX-License-Identifier: ISC
// The addresses mail could not be delivered to, from the index: for whoever keeps a mailing list.
#pragma once

#include "control/command.h"
#include "spool/index.h"

// When is an address itself bad, and not only the delivery? When its own refusal was for good and
// says so: an enhanced code 5.1.x (RFC 3463 section 3.2), or without one 550, 551 or 553 to RCPT;
// also a domain that does not exist or takes no mail.
bool bad_address(const struct outcome *o);

struct bad_address {
    struct str address;
    uint64_t id;     // of the last message it failed
    int64_t wall_ms; // when
    const char *gateway;
    struct outcome outcome;
};
// Blocks; for a worker. Each address once, its last failure, newest first, out of the newest
// filter->limit messages that failed for somebody. `own`: only mail of this client; empty: any.
// With `invalid` only those that are bad themselves.
bool bad_addresses_find(struct index *index, const struct index_filter *filter, struct str own,
                        bool invalid, struct arena *arena, struct bad_address **list_out,
                        size_t *count_out, struct err *err);
// One a line; with `csv` all of it, as RFC 4180 has it; with --json an object each.
void bad_addresses_tell(struct reply *r, const struct bad_address *list, size_t count, bool csv);
