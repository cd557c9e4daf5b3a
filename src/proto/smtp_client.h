// SPDX-License-Identifier: ISC
// The client side of SMTP (RFC 5321) and LMTP (RFC 2033) as a pure machine: bytes of the server
// and slices of a body in, bytes for the server and outcomes out. The dialogue is the table in the
// source.
//
// The driver owns connection, clock and body. After every call it looks at smtp_client_need and
// does what is asked. From SMTP_CLIENT_OVER on only smtp_client_free makes sense.
#pragma once

#include "mail/envelope.h"
#include "mail/outcome.h"
#include "proto/smtp_ehlo.h"
#include "proto/smtp_reply.h"
#include "proto/smtp_stuff.h"

enum smtp_client_tls {
    SMTP_CLIENT_TLS_OFF,      // never, or already there (implicit TLS: see covered)
    SMTP_CLIENT_TLS_WANTED,   // STARTTLS when offered, else in clear
    SMTP_CLIENT_TLS_REQUIRED, // STARTTLS, or nothing is sent
};

// Borrowed until the machine is idle for the first time.
struct smtp_client_settings {
    bool lmtp;
    bool covered; // TLS stands before the first byte
    enum smtp_client_tls tls;
    bool auth_in_clear; // passwords may be shown without TLS
    int step_ms;        // for each reply and piece of the body; 0: as limits.h has them
    const char *helo;
    const char *user, *password; // NULL: no login. With a user nothing is sent without it.
    enum outcome_scope peer;     // whose fault trouble with the server is
    bool relayed;                // what outcome.relayed becomes with OK
    const char *where;           // what outcome.where becomes
    void (*write)(void *ctx, const void *bytes, size_t len); // bytes for the server
    void *ctx;
};

struct smtp_client_rcpt {
    const struct envelope_rcpt *rcpt;
    struct outcome *outcome;                                           // out
    enum { SMTP_RCPT_OPEN, SMTP_RCPT_TAKEN, SMTP_RCPT_SETTLED } state; // out
    bool unsent; // internal: settled before anything was sent
};

// One transaction, borrowed until the machine is idle again or over.
struct smtp_client_mail {
    const struct envelope *envelope; // its recipients are not looked at
    struct smtp_client_rcpt *rcpts;
    size_t count;  // at least 1
    uint64_t size; // of the body
    // The body can be given at once and nothing else came over this connection before: with
    // PIPELINING and CHUNKING all of it then goes in one flight. On a kept connection that would
    // turn each connection the server closed meanwhile into a case of doubt.
    bool at_once;
    // Its client waits for each answer: after every recipient the machine holds, until it is given
    // another, or the body, or dropped. When nobody was taken the transaction ends as always.
    // `size` is what was announced, 0: nothing.
    bool live;
    struct smtp_said *said; // NULL, or where the latest verdict of the server is kept whole
};

enum smtp_client_need {
    SMTP_CLIENT_REPLY, // bytes of the server, within smtp_client_limit_ms since the last reply
    SMTP_CLIENT_TLS,   // a TLS handshake, then smtp_client_tls_ready (or smtp_client_lost)
    SMTP_CLIENT_BODY,  // slices of the body
    SMTP_CLIENT_HOLD,  // live: somebody is taken; smtp_client_more, _content or _drop
    SMTP_CLIENT_IDLE,  // a transaction, QUIT, or the end. All recipients given are settled
    SMTP_CLIENT_OVER,  // to be closed. All recipients given are settled; `failure` says why
};

enum smtp_client_loss {
    SMTP_LOST_NET, // closed, reset
    SMTP_LOST_TLS, // by the TLS layer
    SMTP_LOST_TIME,
    SMTP_LOST_LOCAL, // by ourselves: disk, memory, shutdown
};

struct smtp_client {
    struct smtp_ehlo ehlo;  // as last said; nothing said in clear outlives STARTTLS
    struct outcome failure; // OVER: what ended it, for those who had no transaction yet
    bool logged_in;
    bool covered;       // by TLS
    unsigned replies;   // since the transaction began
    struct buf *record; // NULL or where the dialogue is noted, secrets masked; may be changed

    // Internal.
    struct smtp_client_settings set;
    struct smtp_client_mail mail;
    struct smtp_reply reply;
    struct buf command;
    struct smtp_stuff stuff;
    struct outcome verdict;
    const struct smtp_mechanism *mechanism;
    unsigned auth_step;
    unsigned char state;
    unsigned char mode;
    bool ahead; // commands of this transaction were sent before their turn
    bool open;  // MAIL was taken: the server holds a transaction
    bool handshake_failed;
    bool final_sent; // all of the body and its end are on the way
    size_t outstanding, at, taken;
    uint64_t body_left;
};

void smtp_client_init(struct smtp_client *c, const struct smtp_client_settings *settings);
void smtp_client_free(struct smtp_client *c);

enum smtp_client_need smtp_client_need(const struct smtp_client *c);
// The longest the present step may take, from its first moment to its whole reply. The reply to a
// message is always waited for as long as LIMIT_FINAL_MS.
int smtp_client_limit_ms(const struct smtp_client *c);
enum outcome_phase smtp_client_phase(const struct smtp_client *c);

// All bytes are taken, in whatever pieces they come.
void smtp_client_feed(struct smtp_client *c, const char *bytes, size_t len);
void smtp_client_tls_ready(struct smtp_client *c);
void smtp_client_begin(struct smtp_client *c, const struct smtp_client_mail *mail);
void smtp_client_body(struct smtp_client *c, const char *bytes, size_t len, bool last);
// While it holds. `rcpts` has one more than before, perhaps at another place.
void smtp_client_more(struct smtp_client *c, struct smtp_client_rcpt *rcpts);
void smtp_client_content(struct smtp_client *c, uint64_t size); // the body comes now
void smtp_client_drop(struct smtp_client *c, const char *why);  // settles all as LOCAL, then RSET
void smtp_client_quit(struct smtp_client *c);
// The connection is gone or given up. Settles what is open.
void smtp_client_lost(struct smtp_client *c, enum smtp_client_loss loss, const char *why);

// After OVER: TLS was only wanted and failed, so another connection may try it with TLS off.
bool smtp_client_may_go_clear(const struct smtp_client *c);
