// SPDX-License-Identifier: ISC
// What a server says it can do: the answer to EHLO or LHLO (RFC 5321 section 4.1.1.1).
#pragma once

#include "base/str.h"

enum {
    SMTP_CAP_PIPELINING = 1 << 0, // RFC 2920
    SMTP_CAP_SIZE = 1 << 1,       // RFC 1870
    SMTP_CAP_8BITMIME = 1 << 2,   // RFC 6152
    SMTP_CAP_SMTPUTF8 = 1 << 3,   // RFC 6531
    SMTP_CAP_DSN = 1 << 4,        // RFC 3461
    SMTP_CAP_ENHANCED = 1 << 5,   // ENHANCEDSTATUSCODES, RFC 2034
    SMTP_CAP_CHUNKING = 1 << 6,   // RFC 3030
    SMTP_CAP_BINARYMIME = 1 << 7, // RFC 3030
    SMTP_CAP_STARTTLS = 1 << 8,   // RFC 3207
    SMTP_CAP_AUTH = 1 << 9,       // RFC 4954
    SMTP_CAP_LIMITS = 1 << 10,    // RFC 9422
    SMTP_CAP_FUTURE = 1 << 11,    // FUTURERELEASE, RFC 4865
};

enum {
    SMTP_AUTH_PLAIN = 1 << 0,
    SMTP_AUTH_LOGIN = 1 << 1,
    SMTP_AUTH_CRAM_MD5 = 1 << 2,
    SMTP_AUTH_SCRAM_SHA_1 = 1 << 3,
    SMTP_AUTH_SCRAM_SHA_256 = 1 << 4,
    SMTP_AUTH_XOAUTH2 = 1 << 5,
    SMTP_AUTH_OAUTHBEARER = 1 << 6,
    SMTP_AUTH_EXTERNAL = 1 << 7,
};

struct smtp_ehlo {
    uint32_t caps;
    uint32_t auth;               // mechanisms known here
    uint64_t size;               // largest message, 0 = not said
    uint32_t rcpt_max, mail_max; // LIMITS: recipients a transaction, transactions a connection; 0
    char auth_text[128];         // all mechanisms as offered, for people; plain ASCII
};

// `text` is smtp_reply.text: lines joined by LF; the first is the greeting and says nothing. What
// is not understood is left out, a keyword said twice counts once (the first figures hold).
void smtp_ehlo_parse(struct smtp_ehlo *e, struct str text);
