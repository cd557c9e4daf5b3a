// SPDX-License-Identifier: ISC
// The command line of sendmail as programs have used it for forty years. Pure.
#pragma once

#include "base/arena.h"
#include "mail/envelope.h"

enum sendmail_mode {
    SENDMAIL_DELIVER,   // -bm and without -b
    SENDMAIL_SMTP,      // -bs: SMTP on standard input and output
    SENDMAIL_MAILQ,     // -bp, or called mailq
    SENDMAIL_ALIASES,   // -bi, -I, or called newaliases
    SENDMAIL_VERIFY,    // -bv
    SENDMAIL_DAEMON,    // -bd, -bD: another program's business
    SENDMAIL_QUEUE_RUN, // -q and nothing to send
    SENDMAIL_NOTHING,   // -bh, -bH and other words for the inside of sendmail
};

struct sendmail_args {
    enum sendmail_mode mode;
    const char *sender;    // -f, -r; NULL: not given; "" or "<>": the null sender
    const char *full_name; // -F
    bool from_headers;     // -t
    bool dot_is_text;      // -i, -oi
    bool queue_run;        // -q somewhere
    uint8_t notify;        // -N, a set of NOTIFY_*
    enum envelope_ret ret; // -R
    const char *envid;     // -V
    bool body_given;       // -B
    enum envelope_body body;
    const char *const *rcpts; // as typed
    size_t count;
};

// argv without the program's name, borrowed. Flags may stand among the recipients; `--` ends them.
// Those not known are taken and mean nothing, so this never fails.
void sendmail_args_parse(int argc, char **argv, struct arena *arena, struct sendmail_args *out);
