// SPDX-License-Identifier: ISC
// Passwords typed by people.
#pragma once

#include <stdbool.h>

// From a terminal without showing it, after the prompt; else the first line of standard input.
// Never an argument: others see those. False without one.
bool password_read(const char *prompt, char out[1024]);
