// SPDX-License-Identifier: ISC
// Upstream servers that take mail into the ledger: well-behaved ones, and the rude ones of
// reliability's catalogue.
#pragma once

#include <stdbool.h>

void servers_new(void);
void servers_free(void);
void servers_behave(void);                    // no more faults
void servers_set_rudeness(unsigned permille); // of connections that meet a fault
