// SPDX-License-Identifier: ISC
// Clients that hand the ledger's messages to the daemon at 127.0.0.1:25, try again when told to,
// and sometimes misbehave.
#pragma once

#include "ledger.h"

void clients_new(void);
void clients_free(void);
// Hands `m` in after so long, again and again until the answer is final.
void clients_send(struct ledger_message *m, int64_t after_ms);
void clients_behave(void); // no more faults of their own
void clients_stop(void);   // nothing new is begun
bool clients_idle(void);   // no message waits for an answer
