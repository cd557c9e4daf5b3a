// SPDX-License-Identifier: ISC
// The whole decision in words: every rule and every gateway, taken or not, each with its reason.
// Pure, like the decision itself.
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "route/plan.h"

// A line each: where the machine is, which routes match or not, each step taken or not and why, and
// "so: ..." what follows. `assumed`: what of the input is another moment or state than that of now,
// in words; NULL: nothing.
void explain_text(const struct plan_input *in, const char *assumed, struct buf *out);

// The same as one object without a key: sender, recipient, assumed, place, rules, steps, decision.
void explain_json(const struct plan_input *in, const char *assumed, struct json *j);

// Why this gateway, in one short sentence for a timeline: "route 2 (partners), step 1", "by
// priority, after company (quota used up until 18:00)".
void explain_choice(const struct plan_input *in, const struct plan *plan, struct buf *out);
