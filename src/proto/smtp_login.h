// SPDX-License-Identifier: ISC
// Logging in as a client: the SASL mechanisms, strongest first (RFC 4954, RFC 4422).
#pragma once

#include "base/buf.h"

struct smtp_mechanism {
    const char *name;
    uint32_t bit;     // SMTP_AUTH_* of proto/smtp_ehlo.h
    bool needs_cover; // it shows the password to whoever listens: only inside TLS
    bool initial;     // step 0 may go with the AUTH command itself (initial response)
    // The raw answer to the challenge of this step, counted from 0; appended to out. False: there
    // is none, and the login is to be cancelled.
    bool (*answer)(unsigned step, const char *user, const char *password, struct str challenge,
                   struct buf *out);
};

// The strongest of those offered (a set of SMTP_AUTH_*) that may be used; NULL when there is none.
const struct smtp_mechanism *smtp_mechanism_choose(uint32_t offered, bool covered);
