// SPDX-License-Identifier: ISC
// Text and secrets that come from other programs.
#pragma once

#include "base/err.h"

#include <stddef.h>

// Runs `command` by /bin/sh -c with no standard input, at most timeout_ms, and gives its standard
// output (at most max bytes, final newline cut); free with xfree. NULL with err on a non-zero exit.
// Blocks.
char *command_output(const char *command, int timeout_ms, size_t max, struct err *err);
