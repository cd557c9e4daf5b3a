// SPDX-License-Identifier: ISC
// The index: what happened to every message of the last days, in SQLite beside the journal, fed
// after the fact (index_feed.h). This is its reading side: blocking, for workers and commands; each
// reader has a connection of its own, used by one thread at a time.
#pragma once

#include "base/arena.h"
#include "spool/store.h"

struct index;
// NULL with err when there is none (yet) or it cannot be read.
struct index *index_open(const char *dir, struct err *err); // `dir` of the spool
void index_close(struct index **index);

enum index_event_kind { // the numbers of enum store_op_kind, because that is what they are
    INDEX_ACCEPTED = STORE_ACCEPT,
    INDEX_ATTEMPT = STORE_RESULT, // or another change of recipients: then without gateway
    INDEX_HOLD = STORE_HOLD,      // or release: see `flag`; into and out of the bin: see `value`
    INDEX_NOTE = STORE_NOTE,
    INDEX_PRIORITY = STORE_PRIORITY,
    INDEX_SEND_AT = STORE_SEND_AT,
};

struct index_event {
    enum index_event_kind kind;
    int64_t wall_ms;
    struct str gateway, facts;         // ATTEMPT; empty when there was none
    struct str transcript;             // ATTEMPT; empty when none was kept
    struct store_rcpt_result *results; // ATTEMPT
    size_t result_count;
    bool flag;       // HOLD: true: hold, false: release
                     // ACCEPTED: it passed through and was never kept
    int value;       // PRIORITY; HOLD: STORE_HOLD_BIN or 0
    struct str text; // HOLD, NOTE, SEND_AT: the reason
    int64_t at_ms;   // SEND_AT: not to be sent before
};

// Everything borrowed from the arena of the query.
struct index_message {
    uint64_t id;
    uint64_t position; // rises with every change of any message, see index_follow
    int64_t accepted_ms;
    int64_t ended_ms;                                     // 0: still to be done
    struct str sender, recipients, subject, client, user; // recipients: divided by blanks
    struct str gateway;                                   // of the last attempt
    enum outcome_class class;                             // of the last attempt
    uint64_t size;
    enum rcpt_state state; // WAITING while any recipient is; else the worst of them
    bool held;             // and waits: what has ended is held no more
    // index_get only:
    struct envelope envelope;
    uint8_t *states; // enum rcpt_state of each recipient
    struct index_event *events;
    size_t event_count;
};

// 1: found. 0: not known. -1: err.
int index_get(struct index *index, uint64_t id, struct arena *arena,
              struct index_message *message_out, struct err *err);

enum { INDEX_ANY = -1 };
// What became of mail, as folders. A message is in each where one of its recipients belongs.
enum index_folder {
    INDEX_ALL,
    INDEX_OUTBOX,  // waits and is not held
    INDEX_HELD,    // waits for a person
    INDEX_SENT,    // delivered or relayed
    INDEX_BAD,     // failed and was not returned, or is held because it failed
    INDEX_BOUNCED, // failed, the sender was told
    INDEX_DELETED, // by an administrator
    INDEX_FAILED,  // bad or bounced, and over
};
bool index_folder_parse(struct str name, enum index_folder *folder_out); // "outbox" ... "deleted"

struct index_filter {
    int64_t since_ms, until_ms; // of acceptance; 0: any
    // With * or ? the whole must match, else a part; ASCII case is ignored; empty: any.
    struct str sender, recipient, text; // text: sender, recipients or subject
    struct str gateway;                 // its name, exactly; empty: any
    int class;                          // enum outcome_class, or INDEX_ANY
    int state;                          // enum rcpt_state, or INDEX_ANY
    bool held;                          // only those on hold
    enum index_folder folder;
    uint64_t before_id; // newer pages were seen up to here; 0: the newest page
    size_t limit;
};
#define INDEX_FILTER_ALL                                                                           \
    ((struct index_filter){.class = INDEX_ANY, .state = INDEX_ANY, .limit = 50})

// Newest first (by id). The next page begins with before_id = the last one's id.
bool index_find(struct index *index, const struct index_filter *filter, struct arena *arena,
                struct index_message **messages_out, size_t *count_out, struct err *err);

// What changed after `position` (0: from the beginning), oldest change first; go on from the last
// one's `position`. For "from now on" start with index_position.
bool index_follow(struct index *index, uint64_t position, size_t limit, struct arena *arena,
                  struct index_message **messages_out, size_t *count_out, struct err *err);
bool index_position(struct index *index, uint64_t *position_out, struct err *err);

// How many messages came to each state since then; `counts` by enum rcpt_state.
bool index_totals(struct index *index, int64_t since_ms, uint64_t counts[RCPT_DROPPED + 1],
                  struct err *err);
