// SPDX-License-Identifier: ISC
// The text of the configuration in force, and of the one before it, beside the spool: what `waypost
// config rollback` goes back to. Mode 0600, as passwords may stand in them. Blocks.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

// What is in force from now on; nothing when it was already. A failure is only told: it hinders no
// reload.
bool kept_put(const char *spool_dir, struct str text, struct err *err);

// `before`: the one before, else the one in force. Free with xfree; NULL with err (code ENOENT:
// there is none).
char *kept_get(const char *spool_dir, bool before, size_t *len_out, struct err *err);
