// SPDX-License-Identifier: ISC
// What an outcome means: the one place that decides. Pure. docs/manual/judgement.md says it in
// words.
#pragma once

#include "conf/conf.h"
#include "mail/outcome.h"
#include "route/replies.h"

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
    // Of FAIL: final for this way only (too large for it, not signed for it). The chain's next step
    // may be tried as if the class led there; without one it is returned.
    bool elsewhere;
};

// Refines class and scope by the reply's codes and text: first the rows of the configuration, then
// the shipped table, then phase and code. Only what a server replied changes its class.
void judge_classify(struct outcome *o, const struct conf *conf, const struct conf_gateway *gateway);

// What to do for one recipient. `o` is classified.
struct verdict judge_verdict(const struct outcome *o, const struct conf *conf,
                             const struct conf_gateway *gateway);

// What the steps of a chain (`on`) take it for: a way whose own name has no record is trouble with
// DNS to them; `no-record` is said of the recipient's domain only.
enum outcome_class judge_step_class(const struct outcome *o);

// The row that knows a reply, for explanations: "microsoft365: quota, account".
struct judge_rule {
    const char *dialect; // of the shipped row; "configuration" for one of the user's
    unsigned line;       // of the user's row in the configuration file, else 0
    enum outcome_class class;
    enum outcome_scope scope; // SCOPE_NONE: as class and phase say
    enum reply_then then;
    int64_t rest_ms;
};

// False: none knows it, it is judged by phase and code. Gives the same before and after
// judge_classify. conf may be NULL: only the shipped rows.
bool judge_known(const struct outcome *o, const struct conf *conf,
                 const struct conf_gateway *gateway, struct judge_rule *rule_out);

// What a server says plainly about its limits: "limit of 10000 messages per day", "try again in
// 3600 seconds". 0 where it says nothing.
struct judge_quota_hint {
    int64_t period_ms; // the limit is counted over
    uint64_t amount;   // so many in that period
    int64_t retry_ms;  // come again after
};
// False: nothing is said.
bool judge_quota_hint(const struct outcome *o, struct judge_quota_hint *out);

// In words for the sender or the timeline: "the gateway's daily allowance is used up".
const char *judge_reason(const struct outcome *o);

const char *judge_scope_name(enum outcome_scope scope); // "account"; "" for SCOPE_NONE
