// SPDX-License-Identifier: ISC
// xtext (RFC 3461 section 4), as ORCPT, ENVID and AUTH= carry their values.
#pragma once

#include "base/buf.h"

// Always possible; false only when out is full.
bool xtext_encode(struct buf *out, struct str in);
// Strict: printable ASCII without '=' and blanks, '+' only before two digits 0-9A-F. False on
// anything else, or when out is full; then nothing is appended. What comes out may hold any octet.
bool xtext_decode(struct buf *out, struct str in);
