// SPDX-License-Identifier: ISC
// The commands MAIL and RCPT as a client writes them, for what a server offers.
#pragma once

#include "mail/envelope.h"
#include "proto/smtp_ehlo.h"

// Why something cannot be sent to this server, found out before anything is sent.
struct smtp_obstacle {
    uint8_t enhanced[3];
    const char *text;
};

// The message as a whole: its size (RFC 1870), its body type (RFC 3030), its sender, and that it is
// to be kept there until envelope.release_ms (RFC 4865). NULL: nothing stands against it.
const struct smtp_obstacle *smtp_mail_obstacle(const struct envelope *e, uint64_t size,
                                               const struct smtp_ehlo *peer);
// One recipient.
const struct smtp_obstacle *smtp_rcpt_obstacle(struct str address, const struct smtp_ehlo *peer);

// Appends the whole line with CRLF. Only for what has no obstacle; `size` is the body's, 0: not
// known yet. Parameters the server does not offer are left out: without SMTP_CAP_DSN those of RFC
// 3461 are lost, and the caller owes "relayed" reports (section 5.2.2). `utf8`: some address of the
// transaction needs it.
enum { SMTP_MAIL_LINE = 8192 }; // the longest line made
void smtp_mail_put(struct buf *out, const struct envelope *e, uint64_t size, bool utf8,
                   const struct smtp_ehlo *peer);
void smtp_rcpt_put(struct buf *out, const struct envelope_rcpt *rcpt, const struct smtp_ehlo *peer);
