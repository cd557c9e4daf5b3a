// SPDX-License-Identifier: ISC
// Which user of this machine an address means, and patterns made into paths and arguments with it.
// Pure.
//
// An address comes from strangers, and what is made of it names files and stands in the arguments
// of programs: so a user is made of few characters, and nothing that came from an address begins
// with a hyphen.
#pragma once

#include "base/buf.h"
#include "base/limits.h"

enum { MAILBOX_USER = LIMIT_LOCAL_PART + 1 };

struct mailbox {
    struct str rcpt, sender; // as in the envelope; borrowed
    char user[MAILBOX_USER]; // the local part in lower case, without +detail; "": none can have it
    char detail[MAILBOX_USER]; // behind the +; ""
    char domain[LIMIT_DOMAIN + 1];
};
void mailbox_of(struct str rcpt, struct str sender, struct mailbox *out);

// Appends the pattern with %u user, %e detail, %d domain, %r recipient, %s sender ("<>" for none)
// and
// %% filled in. False when this address has nothing to fill in that is safe: it is no mailbox here.
bool mailbox_fill(const char *pattern, const struct mailbox *m, struct buf *out);
