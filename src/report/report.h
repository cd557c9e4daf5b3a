// SPDX-License-Identifier: ISC
// Which recipients of a message call for a report to its sender, and that report as a message of
// its own. Pure: the caller commits it in the same batch as the results it speaks of, so that after
// a crash there is either both or neither.
//
// Nobody is told when the message has the null sender or is itself a report (RFC 5321 section 6.1),
// when NOTIFY asks for silence (RFC 3461 section 4.1), or of trouble when the switch
// return_to_sender is off.
#pragma once

#include "mail/dsn.h"
#include "spool/store.h"

// What has become of one recipient.
struct report_rcpt {
    uint32_t index;                // into the envelope's recipients
    enum dsn_kind kind;            // failed for good; still waiting (warn); done
    const struct outcome *outcome; // the last one; class OUTCOME_OK on a failure: nothing was tried
    bool expired;                  // FAILURE: by time or tries
    bool delivered;        // SUCCESS: by the recipient's own server (RCPT_DELIVERED); else relayed
    bool passed_dsn;       // SUCCESS: the next server took over NOTIFY and reports itself
    int64_t last_ms;       // the last attempt, 0: none
    int64_t will_retry_ms; // DELAY: until, 0: without end
};

struct report_input {
    const struct envelope *envelope;
    uint64_t id;
    struct str hostname;
    bool return_to_sender;
    struct str content; // from the first octet; at least the header section, all when at most
                        // LIMIT_DSN_BODY; may be empty when it cannot be read
    bool whole;         // it is all
    int64_t wall_ms;
    int offset_minutes;
    const struct report_rcpt *rcpts;
    size_t count;
};

// A message to commit: null sender, one recipient. `envelope` borrows from the input's envelope,
// and points into the struct itself: do not move it.
struct report {
    enum dsn_kind kind;
    struct envelope envelope;
    struct envelope_rcpt rcpt;
    struct buf body;
};

enum { REPORT_MAX = 3 }; // one a kind

// Writes the reports called for, in the order of the kinds; returns how many. Each used one is
// freed with report_free.
size_t report_compose(const struct report_input *in, struct report reports[REPORT_MAX]);
void report_free(struct report *report);

// Is this recipient told of (by report_compose)? Cheap; needs neither content nor outcome.
bool report_wanted(const struct envelope *e, uint32_t index, enum dsn_kind kind,
                   bool return_to_sender);

// The end of a recipient that failed: RETURNED when its sender is told or did not want to be, BAD
// when nobody can or may be told.
enum rcpt_state report_failed_state(const struct envelope *e, uint32_t index,
                                    bool return_to_sender);
