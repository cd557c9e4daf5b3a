// SPDX-License-Identifier: ISC
// The shipped table of known replies: what servers say when the bare code would mislead. Pure data.
#pragma once

#include "mail/outcome.h"

// Who must have said it for the row to hold.
enum reply_from {
    FROM_ANYONE,
    FROM_GATEWAY, // a gateway: there is an account of ours, or a right to relay, that can be at
                  // fault
    FROM_DIRECT,  // a recipient's own server, asked directly or quoted by a gateway
};

enum reply_then {
    THEN_USUAL,     // what class and scope say
    THEN_SAME_WAY,  // later, and the same way: no other way would be told better
    THEN_ELSEWHERE, // final for this way, but another may carry it; returned when there is none
};

struct known_reply {
    const char *dialect; // whose words these are: "gmail", "postfix"; "generic" for many
    enum reply_from from;
    uint16_t code;        // 550; 4 or 5 for any 4xx, 5xx; 0 for any
    const char *enhanced; // "5.4.5", "*.2.2", "5.7.606-649"; NULL for any
    // A glob over the text in lower case. It begins with '*' and three letters that stand for
    // themselves, by which most rows are passed over; NULL for any.
    const char *text;
    enum outcome_class class;
    enum outcome_scope scope; // SCOPE_NONE: as class and phase say
    enum reply_then then;
    int64_t rest_ms; // how long the way is to rest at least; 0: by the back-off clock
};

// First match wins; the more exact rows stand first.
extern const struct known_reply known_replies[];
extern const size_t known_reply_count;
