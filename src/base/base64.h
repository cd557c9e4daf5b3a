// SPDX-License-Identifier: ISC
// Base64 (RFC 4648 section 4) and Crockford's base32 for the ids people read and type.
#pragma once

#include "base/buf.h"

bool base64_encode(struct buf *out, struct str in);
// Strict: padding required, no blanks, no bits left over. False on anything else or when out is
// full.
bool base64_decode(struct buf *out, struct str in);

// A message id as people see it: at least 6 characters of 0-9A-Z without I L O U. `text` gets at
// most 14 bytes with the NUL. Parsing ignores case and takes I and L for 1, O for 0.
enum { ID_TEXT_SIZE = 14 };
const char *id_format(uint64_t id, char text[ID_TEXT_SIZE]); // returns text
bool id_parse(struct str text, uint64_t *id_out);
