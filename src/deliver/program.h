// SPDX-License-Identifier: ISC
// What the exit status of a program that takes mail means (sysexits.h). See sink.h for the rest.
#pragma once

#include "deliver/sink.h"

// `out` keeps what it says of the place. `output`: what the program printed; its last line is told.
void program_outcome(int status, struct str output, struct outcome *out);
