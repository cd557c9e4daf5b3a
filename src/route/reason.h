// SPDX-License-Identifier: ISC
// Why a gateway is used or not, and what mail waits for: the one place that has words for it. Pure.
#pragma once

#include "base/buf.h"
#include "route/plan.h"

// Half a sentence that stands behind the gateway's name: "not on network office", "its quota is
// used up". Without the times, so that the same cause has the same words for all mail; `step` may
// be NULL where no chain is asked about. CLASS and OPEN are said by whoever knows the chain.
void reason_state(const struct plan_input *in, uint32_t gateway, const struct conf_step *step,
                  enum plan_state state, struct buf *out);

// How long that holds, as plan_step_state found out: " for 2 h 05 min", " until the network
// changes"; nothing where neither a clock nor an event of its own ends it.
void reason_until(const struct plan_input *in, enum plan_state state, int64_t until_ms,
                  struct buf *out);

// Both of them for a gateway by itself, for mail of any sender and size unless the input has an
// envelope. True: it is usable, and nothing is said.
bool reason_gateway(const struct plan_input *in, uint32_t gateway, struct buf *out);

// What a plan of PLAN_WAIT, PLAN_END or PLAN_NONE waits for, without the times: "for company: not
// on network office". Nothing for the other kinds.
void reason_wait(const struct plan_input *in, const struct plan *plan, struct buf *out);
