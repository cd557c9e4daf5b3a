// SPDX-License-Identifier: ISC
// A DNS answer packet, read without trusting it. Pure. Not for other rooms.
#pragma once

#include "base/arena.h"
#include "sys/names.h"

enum {
    NAMES_RECORDS_MAX = 100, // of one answer; more are left out
    NAMES_CNAMES_MAX = 16,   // links of a chain inside one packet
};

// Fills everything of *answer_out but `secure`. Records and their data are allocated in the arena.
// A packet that is malformed anywhere on the way is NAMES_FAILED. So is one whose records are all
// unusable: "no MX" would mean something else than "no MX that can be used".
void names_parse(const unsigned char *packet, size_t len, enum names_type type, struct arena *arena,
                 struct names_answer *answer_out);

// `text` (not terminated by a dot, or "." for the root) as a host name: lower case into out. False
// when it has other characters than letters, digits, - . _ or is too long.
bool names_host(const char *text, char out[256]);
