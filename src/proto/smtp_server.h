// SPDX-License-Identifier: ISC
// The server side of SMTP and LMTP as a pure machine: bytes in, replies and calls out. RFC 5321,
// 2033 (LMTP), 1870 SIZE, 2920 PIPELINING, 3030 CHUNKING and BINARYMIME, 3207 STARTTLS, 3461 DSN,
// 4954 AUTH, 2034 ENHANCEDSTATUSCODES, 6152 8BITMIME, 6531 SMTPUTF8, 6710 MT-PRIORITY, 9422 LIMITS,
// 4865 FUTURERELEASE.
//
// It knows no descriptor, no clock and no policy: the owner feeds it what came, sends what it
// wrote, and answers its questions. One thread, no callback after smtp_server_free.
#pragma once

#include "mail/address.h"
#include "proto/smtp_params.h"

struct smtp_server;

// Borrowed; must outlive the machine.
struct smtp_server_settings {
    const char *hostname;
    uint64_t message_size; // octets of content; more is 552
    uint32_t recipients;   // a transaction
    bool lmtp;
    bool no_dsn; // RFC 3461 is not offered
    bool tls_offered;
    bool tls_required; // MAIL and AUTH only after STARTTLS
    bool auth_offered;
    bool auth_required;
    bool auth_in_clear; // AUTH without TLS, by explicit word
    // RFC 4865: the longest HOLDFOR and the last moment of HOLDUNTIL offered; 0: not offered, and
    // neither is known. The moment is the owner's to check: it has a clock.
    uint32_t hold_max_s;
    int64_t hold_until_max_ms;
};

struct smtp_server_mail {
    const struct address *sender; // len 0: the null sender
    const struct smtp_mail_params *params;
};
struct smtp_server_rcpt {
    const struct address *address;
    const struct smtp_rcpt_params *params;
};

// The contract of every question: the reply comes filled with the default acceptance. Return 1:
// accepted (the text may have been changed); 0: smtp_server_answer comes later, and until then the
// machine takes no input; -1: refused, and the reply has been set (the code is 4xx or 5xx). A reply
// 421 closes. What is handed over is borrowed for the call.
//
// Between an accepted `mail` and its end there is exactly one of: data_end, or abort.
struct smtp_server_ops {
    int (*mail)(void *ctx, const struct smtp_server_mail *mail, struct smtp_server_reply *reply);
    int (*rcpt)(void *ctx, const struct smtp_server_rcpt *rcpt, struct smtp_server_reply *reply);
    // DATA, or the first BDAT, with at least one recipient.
    int (*data_begin)(void *ctx, struct smtp_server_reply *reply);
    // Content, decoded: lines end in CRLF (but see smtp_server_saw_8bit and BINARYMIME). 0 means:
    // taken, but no more until answered. After -1 the rest is thrown away, abort is called, and the
    // refusal goes out at the end of the content.
    int (*data)(void *ctx, const char *bytes, size_t len, struct smtp_server_reply *reply);
    int (*data_end)(void *ctx, struct smtp_server_reply *reply);
    void (*abort)(void *ctx);
    // 1: 220 was written; the owner sends it in clear, starts TLS, and calls smtp_server_tls_ready.
    int (*starttls)(void *ctx, struct smtp_server_reply *reply);
    // Both terminated, without NUL inside, gone after the call.
    int (*auth)(void *ctx, const char *user, const char *password, struct smtp_server_reply *reply);
    // The machine itself refuses a message, for what its content is (too large, a bare LF); told at
    // the end of the content. May be NULL.
    void (*content_refused)(void *ctx, const struct smtp_server_reply *reply);
};

struct smtp_server *smtp_server_new(const struct smtp_server_settings *settings,
                                    const struct smtp_server_ops *ops, void *ctx);
// Calls abort when a transaction is open (not while data_end is unanswered).
void smtp_server_free(struct smtp_server **server);

void smtp_server_greet(struct smtp_server *s, struct buf *out);

// Returns the bytes taken; offer the rest again, in front of what comes next, when more came, after
// smtp_server_answer, or when `out` has been emptied. An incomplete command is not taken.
size_t smtp_server_input(struct smtp_server *s, const char *bytes, size_t len, struct buf *out);

// The late answer: verdict 1 or -1. `reply` as in the contract; NULL keeps the default (only for
// 1).
void smtp_server_answer(struct smtp_server *s, int verdict, const struct smtp_server_reply *reply,
                        struct buf *out);

// The connection is encrypted from here; everything said before is forgotten (RFC 3207 section
// 4.2).
void smtp_server_tls_ready(struct smtp_server *s);

// Says goodbye for a reason of the owner (time is up, shutdown) and closes.
void smtp_server_close(struct smtp_server *s, uint16_t code, const char *enhanced, const char *text,
                       struct buf *out);

// No more input is taken: send what is written and close the connection.
bool smtp_server_closed(const struct smtp_server *s);
// A question is unanswered.
bool smtp_server_waiting(const struct smtp_server *s);
bool smtp_server_in_content(const struct smtp_server *s);
bool smtp_server_in_transaction(const struct smtp_server *s);
// Grows with every command and every piece of content: progress for the owner's clocks.
uint64_t smtp_server_progress(const struct smtp_server *s);
const char *smtp_server_state_name(const struct smtp_server *s);
// Facts for the trace. The HELO name is "" before any.
const char *smtp_server_helo(const struct smtp_server *s);
bool smtp_server_esmtp(const struct smtp_server *s);
bool smtp_server_authenticated(const struct smtp_server *s);
// The content so far has bytes above 127: whoever sends it on needs 8BITMIME whatever MAIL said.
bool smtp_server_saw_8bit(const struct smtp_server *s);
