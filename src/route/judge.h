// SPDX-License-Identifier: ISC
// What an outcome means: the one place that decides. Pure.
#pragma once

#include "conf/conf.h"
#include "mail/outcome.h"

enum verdict_action {
    VERDICT_DONE,  // delivered or relayed
    VERDICT_NEXT,  // this way is no way now: try the chain's next step, else wait for the retry
                   // clock
    VERDICT_RETRY, // the same chain again when the retry clock says so
    VERDICT_FAIL,  // final: return it
    VERDICT_DOUBT, // may have been delivered: only the same gateway, for a bounded time
    VERDICT_AGAIN, // not tried at all (our own shutdown, lack of memory): soon again, nothing
                   // counts
};

struct verdict {
    enum verdict_action action;
    bool counts;        // as an attempt of this recipient
    bool rests_gateway; // the gateway (or, for direct, the destination) is to rest
    int64_t rest_ms;    // how long at least; 0: by the back-off clock
};

// Refines class and scope by the reply's codes and text (the table of known replies).
void judge_classify(struct outcome *o, const struct conf *conf, const struct conf_gateway *gateway);

// What to do for one recipient. `o` is classified.
struct verdict judge_verdict(const struct outcome *o, const struct conf *conf,
                             const struct conf_gateway *gateway);

// In words for the sender or the timeline: "the gateway's daily allowance is used up".
const char *judge_reason(const struct outcome *o);
