// SPDX-License-Identifier: ISC
// The book in which every simulated message is kept: what its client was told, where copies
// arrived, and what may excuse more than one.
//
// The promise that is checked: a message answered with 250 reaches each recipient, or its sender is
// told; copies beyond the first are no more than lost replies and crashes account for; what was
// answered 5xx arrives nowhere; contents arrive as they were given, behind trace fields.
#pragma once

#include "base/buf.h"
#include "base/list.h"

enum { LEDGER_RCPTS = 4 };

enum ledger_answer {
    LEDGER_NONE,     // not yet handed in for good
    LEDGER_ACCEPTED, // the client read its 250
    LEDGER_REFUSED,  // the client read a 5xx
};

struct ledger_rcpt {
    struct ledger_message *message;
    char address[64];
    unsigned copies;   // that arrived
    unsigned excuses;  // copies that may have been sent again, and why not is unknowable
    unsigned returned; // failure reports about it that reached the sender
    int64_t last_copy_ms;
    int64_t asked_since_ms; // RCPT commands for it in the minute that began then
    unsigned asked;
};

struct ledger_message {
    struct link all;
    unsigned number;
    char sender[64];
    struct buf content; // canonical, CRLF
    bool looping;       // has more Received fields than anyone should take
    struct ledger_rcpt rcpts[LEDGER_RCPTS];
    size_t count;
    enum ledger_answer answer;
    unsigned unknown; // final dots whose answer the client never saw
    unsigned put_off; // 4xx to the final dot
};

void ledger_new(void);
void ledger_free(void);
struct ledger_message *ledger_add(void); // a new random message
size_t ledger_count(void);

// A server was asked to take mail for this address: nobody may be asked without a pause.
void ledger_ask(const char *server, const char *address);
// A server stored a message for this address; NULL when the address is a sender's (then the content
// is read as a report).
struct ledger_rcpt *ledger_store(const char *server, const char *address, struct str content);
void ledger_excuse(struct ledger_rcpt *rcpt, const char *why);
// The daemon died: what arrived just before may not have been recorded.
void ledger_crash(void);
void ledger_turmoil(void); // the disk failed: after a 4xx the message may be there all the same

bool ledger_settled(void);       // every accepted recipient has it, or the sender was told
unsigned ledger_faults(void);    // violations found so far
unsigned ledger_check_all(void); // the final judgement; all violations
