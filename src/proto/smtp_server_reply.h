// SPDX-License-Identifier: ISC
// One reply of the server: code, enhanced code (RFC 2034, 3463), and a sentence that says why and
// what to do.
#pragma once

#include "base/buf.h"

// What is said in our own words is one line of at most SMTP_REPLY_OWN; what another server said may
// be more.
enum { SMTP_REPLY_OWN = 400, SMTP_REPLY_TEXT = 2048 };

struct smtp_server_reply {
    uint16_t code;
    const char *enhanced;       // static; NULL or "": none
    char text[SMTP_REPLY_TEXT]; // lines divided by LF
};

void smtp_server_reply_set(struct smtp_server_reply *reply, uint16_t code, const char *enhanced,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

// What another server said: its lines, with their enhanced codes.
void smtp_server_reply_pass(struct smtp_server_reply *reply, uint16_t code, const char *text);

// Appends it as lines on the wire; controls and 8-bit bytes in the text become '?'.
void smtp_server_reply_write(const struct smtp_server_reply *reply, struct buf *out);
