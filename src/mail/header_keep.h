// SPDX-License-Identifier: ISC
// What of a message's header goes with its envelope: the fields that rules ask for, and how urgent
// it says it is (RFC 2156 section 5.3.6, RFC 2076 section 3.9; MT-PRIORITY goes before all of
// them). Hangs itself into a scan of the header; pure.
#pragma once

#include "base/limits.h"
#include "mail/envelope.h"
#include "mail/header.h"

struct header_keep {
    // Internal.
    const char *const *names;
    size_t name_count;
    struct arena *arena;
    struct buf value; // of the field being read
    struct str name;  // whose it is; empty: none
    bool asked;       // by a rule
    bool urgent, low, bulk;
    size_t count;
    struct envelope_header fields[LIMIT_KEPT_HEADERS];
};

// Behind header_scan_init; takes the scan's `on_field`, `want` and `ctx`. `names` are in lower case
// and live as long as `keep`; texts come into the arena.
void header_keep_init(struct header_keep *keep, struct header_scan *scan, const char *const *names,
                      size_t name_count, struct arena *arena);
// When the header has ended: fills in `headers`, and `priority` where it is still normal. Must be
// called once, also when nothing of it is used.
void header_keep_end(struct header_keep *keep, struct envelope *e);
