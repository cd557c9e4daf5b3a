// SPDX-License-Identifier: ISC
// The last trouble of recipients: each kept once for all that had the same. One table has one
// owner, on one thread: the store keeps what outlives the process, the conductor what it works
// with.
#pragma once

#include "mail/outcome.h"

struct trouble {
    unsigned refs;
    const char *gateway; // name, NULL: none was used
    int64_t doubt_ms;    // it may have been delivered there; only that gateway is asked until then
                         // (wall clock). 0: not in doubt
    struct outcome outcome;
    struct str key; // internal
};

struct troubles;
struct troubles *troubles_new(void);
void troubles_free(struct troubles **troubles); // every reference is void then

// A reference; texts are copied. When LIMIT_TROUBLES different ones are kept, the words of further
// ones are left out, but never a doubt.
const struct trouble *trouble_keep(struct troubles *troubles, struct str gateway, int64_t doubt_ms,
                                   const struct outcome *o);
const struct trouble *trouble_again(const struct trouble *trouble); // one more reference
// Takes NULL, and leaves NULL.
void trouble_drop(struct troubles *troubles, const struct trouble **trouble);
