// SPDX-License-Identifier: ISC
// Tells the conductor where the machine is, as if something had looked.
#pragma once

#include "queue/queue.h"

void moves_tell(struct queue *q, bool offline, uint64_t holding, size_t network_count);
