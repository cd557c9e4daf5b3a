// SPDX-License-Identifier: ISC
// What the files of the SMTP server machine share.
#pragma once

#include "base/limits.h"
#include "proto/smtp_dot.h"
#include "proto/smtp_server.h"

enum smtp_state {
    SMTP_NEW,     // nothing said yet
    SMTP_HELLO,   // waiting for EHLO
    SMTP_IDLE,    // waiting for MAIL
    SMTP_MAIL,    // MAIL taken, no recipient yet
    SMTP_RCPT,    // at least one recipient
    SMTP_CONTENT, // between 354 and the final dot
    SMTP_CHUNK,   // inside a chunk of BDAT
    SMTP_CHUNKS,  // between two chunks
    SMTP_LOGIN,   // waiting for a line of AUTH
    SMTP_TLS,     // 220 to STARTTLS was written
    SMTP_CLOSED,
};
enum { SMTP_STATES = SMTP_CLOSED + 1 };

// The question that is unanswered.
enum smtp_question {
    ASKED_NOTHING,
    ASKED_MAIL,
    ASKED_RCPT,
    ASKED_BEGIN,
    ASKED_DATA,
    ASKED_END,
    ASKED_STARTTLS,
    ASKED_AUTH,
};

// Fixed replies; the rows stand in smtp_server.c.
enum smtp_fixed {
    SAY_BYE,
    SAY_OK,
    SAY_RESET,
    SAY_MAIL_OK,
    SAY_RCPT_OK,
    SAY_ACCEPTED,
    SAY_START,
    SAY_VRFY,
    SAY_HELP,
    SAY_TLS_GO,
    SAY_AUTH_OK,
    SAY_UNKNOWN,
    SAY_TOO_LONG,
    SAY_BARE_LF,
    SAY_CONTROL,
    SAY_NO_ARG,
    SAY_NEED_EHLO,
    SAY_NEED_MAIL,
    SAY_NEED_RCPT,
    SAY_NESTED_MAIL,
    SAY_MID_CHUNKS,
    SAY_MID_MAIL,
    SAY_WRONG_GREETING,
    SAY_WRONG_LHLO,
    SAY_BAD_HELO,
    SAY_MAIL_SYNTAX,
    SAY_RCPT_SYNTAX,
    SAY_NEED_TLS,
    SAY_NEED_AUTH,
    SAY_NEED_UTF8,
    SAY_EXPN,
    SAY_BINARY_DATA,
    SAY_BAD_BDAT,
    SAY_NOT_HTTP,
    SAY_NOT_TLS,
    SAY_BODY_AS_COMMANDS,
    SAY_TLS_INJECTED,
    SAY_TLS_NONE,
    SAY_TLS_TWICE,
    SAY_TOO_MANY_ERRORS,
    SAY_TOO_MANY_MESSAGES,
    SAY_BARE_IN_BODY,
    SAY_NUL_IN_BODY,
    SAY_LINE_IN_BODY,
    SAY_AUTH_NONE,
    SAY_AUTH_TWICE,
    SAY_AUTH_CLEAR,
    SAY_AUTH_MECHANISM,
    SAY_AUTH_BASE64,
    SAY_AUTH_CANCELLED,
    SAY_AUTH_LONG,
    SAY_AUTH_MALFORMED,
    SAY_COUNT
};

struct smtp_login_state; // only while AUTH runs

struct smtp_server {
    const struct smtp_server_settings *settings;
    const struct smtp_server_ops *ops;
    void *ctx;
    struct buf *out; // during a call of the owner
    enum smtp_state state;
    enum smtp_question asked;
    bool esmtp, tls, authenticated;
    bool more;          // input follows the command under way
    bool data_refused;  // the command before was a DATA that was refused
    bool skipping;      // inside an overlong line
    bool open;          // a transaction: abort is owed
    bool chunk_last;    // this is the chunk with LAST
    bool binary;        // BODY=BINARYMIME
    bool utf8;          // SMTPUTF8
    bool refused;       // the content is: `refusal` goes out at its end
    bool content_wrong; // refused by the machine, not by the owner
    uint32_t rcpts;     // accepted
    uint32_t errors;    // since the last accepted message
    uint32_t messages;  // accepted over this connection
    uint64_t progress;
    uint64_t content;   // octets so far
    uint64_t discarded; // octets of refused content or of an overlong line
    uint64_t chunk_left;
    struct smtp_dot dot;
    struct smtp_login_state *login;
    struct smtp_server_reply *refusal; // allocated when needed first
    char helo[LIMIT_DOMAIN + 1];
};

// smtp_server.c
void smtp_server_set_state(struct smtp_server *s, enum smtp_state state); // the only writer
void smtp_server_say(struct smtp_server *s, enum smtp_fixed what);
void smtp_server_fixed(enum smtp_fixed what, struct smtp_server_reply *reply_out);
void smtp_server_reply(struct smtp_server *s, const struct smtp_server_reply *reply);
void smtp_server_count_error(struct smtp_server *s);                 // perhaps 421
void smtp_server_end_transaction(struct smtp_server *s, bool abort); // state is then IDLE or HELLO
// What the owner's callback returned, or answered later.
void smtp_server_verdict(struct smtp_server *s, enum smtp_question asked, int verdict,
                         const struct smtp_server_reply *reply);

// smtp_server_command.c
void smtp_server_command(struct smtp_server *s, struct str line);
void smtp_server_say_ehlo(struct smtp_server *s);

// smtp_server_content.c
size_t smtp_server_content(struct smtp_server *s, struct str in);
size_t smtp_server_chunk(struct smtp_server *s, struct str in);
void smtp_server_content_begin(struct smtp_server *s);
void smtp_server_content_refuse(struct smtp_server *s, const struct smtp_server_reply *reply);
void smtp_server_chunk_begin(struct smtp_server *s, uint64_t octets, bool last);
void smtp_server_chunk_done(struct smtp_server *s);

// smtp_server_auth.c
void smtp_server_auth_command(struct smtp_server *s, struct str arg);
void smtp_server_auth_line(struct smtp_server *s, struct str line);
void smtp_server_auth_free(struct smtp_server *s);
