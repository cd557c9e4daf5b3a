// SPDX-License-Identifier: ISC
// Replies of an SMTP or LMTP server (RFC 5321 section 4.2), read from a byte stream a peer may have
// made to hurt.
#pragma once

#include "base/buf.h"
#include "base/limits.h"

// One reply. After smtp_reply_feed returned true it stands until the next feed.
struct smtp_reply {
    uint16_t code;       // 200 to 599; 0 when `bad`
    uint8_t enhanced[3]; // RFC 2034, of the same class as the code; all 0 = none
    const char *bad;     // why this is no reply at all, else NULL; the connection is of no more use
    // The lines without their codes, joined by LF, otherwise raw. Cut at LIMIT_REPLY_BYTES,
    // LIMIT_REPLY_LINES lines and LIMIT_REPLY_LINE bytes a line. When `bad`: the offending line.
    struct buf text;

    // Internal.
    struct buf line; // what smtp_reply_line made
    bool done, lined;
    uint8_t head; // bytes of the line's code and separator seen
    char seen[4];
    size_t lines, total, line_at;
};

void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_free(struct smtp_reply *r);
void smtp_reply_reset(struct smtp_reply *r); // forgets a reply begun (at STARTTLS)

// Takes bytes up to the end of one reply. True: it is whole (or bad) and *used_out bytes were
// taken; false: all were taken and more are needed. How the bytes are cut into calls makes no
// difference. A line ends in CRLF or LF; a reply larger than LIMIT_EHLO_BYTES on the wire is bad.
bool smtp_reply_feed(struct smtp_reply *r, const char *bytes, size_t len, size_t *used_out);

// A reply as it may be passed on to somebody else: its lines joined by LF, with their enhanced
// codes; what would not fit into a line or the text is cut. Code 0: none.
enum { SMTP_SAID_TEXT = 2048, SMTP_SAID_LINE = 480 };
struct smtp_said {
    uint16_t code;
    char text[SMTP_SAID_TEXT];
};
void smtp_reply_keep(const struct smtp_reply *r, struct smtp_said *out);

// The text as one line fit for a log: lines joined by a space, enhanced codes taken off, controls
// and what is not UTF-8 escaped. At most about LIMIT_OUTCOME_TEXT of it is made. Valid until the
// next feed.
struct str smtp_reply_line(struct smtp_reply *r);
