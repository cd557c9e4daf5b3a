// SPDX-License-Identifier: ISC
// A delivery status notification: multipart/report (RFC 6522) of a part in plain words, a part for
// machines (RFC 3464; RFC 6533 when UTF-8 is in it), and the original or its header (RFC 3461).
//
// The same input gives the same octets, and the Message-ID depends only on the message, the kind
// and the recipients: a report written again after a crash is the same report. What remote servers
// and the original say is quoted, never copied into a place where it could mean something.
#pragma once

#include "base/buf.h"
#include "mail/envelope.h"
#include "mail/outcome.h"

enum dsn_kind { DSN_FAILURE, DSN_DELAY, DSN_SUCCESS };

struct dsn_rcpt {
    struct str address;
    struct str orcpt;              // "rfc822;..." decoded; may be empty
    const struct outcome *outcome; // the last one
    bool expired;    // FAILURE: given up by time or number of tries, not by the outcome alone
    bool delivered;  // SUCCESS: taken by the recipient's own server; else passed on by a gateway
    int64_t last_ms; // the last attempt; 0: none
    int64_t will_retry_ms; // DELAY: attempts go on until; 0: without end
};

struct dsn {
    enum dsn_kind kind;
    uint64_t id;         // of the original message
    struct str hostname; // ours
    struct str sender;   // whom it goes to
    struct str envid;    // decoded; may be empty
    enum envelope_ret ret;
    bool smtputf8; // the original's
    bool binary;   // the original is BINARYMIME: only its header is returned
    struct str
        content; // the original from its first octet: all of it, or at least its header section
    bool whole;  // it is all
    int64_t arrived_ms, wall_ms;
    int64_t release_ms; // as in the envelope, 0: it was to be sent at once
    uint32_t hold_s;
    int offset_minutes;
    const struct dsn_rcpt *rcpts; // at least one
    size_t count;
};

// A buffer of this maximum always holds it.
size_t dsn_max(const struct dsn *d);
bool dsn_write(struct buf *out, const struct dsn *d);

enum { DSN_ID_MAX = 512 };
// "<3NQK8N.failed.1a2b3c4d@relay.example.org>"; returns text.
const char *dsn_message_id(const struct dsn *d, char text[DSN_ID_MAX]);
