// SPDX-License-Identifier: ISC
// The machine's frame: lines, states, replies, and what answers lead to.
//
// Invariants:
// 1. Replies are written in the order of the commands: while a question is unanswered nothing is
//    taken.
// 2. Nothing of a line is taken before its end is there, so the owner's stream is the only buffer.
// 3. What follows a command that may swallow bytes (DATA, BDAT, STARTTLS, AUTH) is never read as a
//    command by mistake: a refused DATA followed by what is no command, an unreadable BDAT, and
//    anything in the same breath as STARTTLS close the connection.
#include "proto/smtp_server_int.h"

#include "base/mem.h"

#include <assert.h>

static const char *const state_names[SMTP_STATES] = {
    [SMTP_NEW] = "nothing said yet",
    [SMTP_HELLO] = "waiting for EHLO",
    [SMTP_IDLE] = "waiting for MAIL",
    [SMTP_MAIL] = "waiting for RCPT",
    [SMTP_RCPT] = "waiting for RCPT or DATA",
    [SMTP_CONTENT] = "reading the message",
    [SMTP_CHUNK] = "reading a chunk of the message",
    [SMTP_CHUNKS] = "waiting for the next chunk",
    [SMTP_LOGIN] = "reading a login",
    [SMTP_TLS] = "waiting for TLS",
    [SMTP_CLOSED] = "closed",
};

enum { FIXED_ERROR = 1, FIXED_CLOSE = 2 }; // counts as an error; ends the connection

static const struct {
    uint16_t code;
    uint8_t flags;
    const char *enhanced;
    const char *text;
} fixed[SAY_COUNT] = {
    [SAY_BYE] = {221, FIXED_CLOSE, "2.0.0", "goodbye"},
    [SAY_OK] = {250, 0, "2.0.0", "ok"},
    [SAY_RESET] = {250, 0, "2.0.0", "forgotten"},
    [SAY_MAIL_OK] = {250, 0, "2.1.0", "sender ok"},
    [SAY_RCPT_OK] = {250, 0, "2.1.5", "recipient ok"},
    [SAY_ACCEPTED] = {250, 0, "2.0.0", "accepted"},
    [SAY_START] = {354, 0, "", "go on, end with a dot on a line of its own"},
    [SAY_VRFY] = {252, 0, "2.1.5", "not checked here; send the mail and it will be tried"},
    [SAY_HELP] = {214, 0, "2.0.0", "RFC 5321 says it all; waypost(8) says what is special here"},
    [SAY_TLS_GO] = {220, 0, "2.0.0", "ready for TLS"},
    [SAY_AUTH_OK] = {235, 0, "2.7.0", "logged in"},
    [SAY_UNKNOWN] = {500, FIXED_ERROR, "5.5.1", "no such command; see HELP"},
    [SAY_TOO_LONG] = {500, FIXED_ERROR, "5.5.2", "command line too long; 2048 octets are the most"},
    [SAY_BARE_LF] = {500, FIXED_ERROR, "5.5.2",
                     "line ended by LF alone; end every line with CRLF (nc has -C for that)"},
    [SAY_CONTROL] = {500, FIXED_ERROR, "5.5.2", "control character in a command; send text only"},
    [SAY_NO_ARG] = {501, FIXED_ERROR, "5.5.4", "this command takes no argument"},
    [SAY_NEED_EHLO] = {503, FIXED_ERROR, "5.5.1", "say EHLO (LHLO for LMTP) first"},
    [SAY_NEED_MAIL] = {503, FIXED_ERROR, "5.5.1", "send MAIL FROM:<...> first"},
    [SAY_NEED_RCPT] = {554, FIXED_ERROR, "5.5.1",
                       "no valid recipients; send RCPT TO:<...> first and look at its reply"},
    [SAY_NESTED_MAIL] = {503, FIXED_ERROR, "5.5.1", "a sender was already given; RSET forgets it"},
    [SAY_MID_CHUNKS] = {503, FIXED_ERROR, "5.5.1",
                        "in the middle of a message sent by BDAT; end it with LAST or send RSET"},
    [SAY_MID_MAIL] = {503, FIXED_ERROR, "5.5.1", "not inside a transaction; send RSET first"},
    [SAY_WRONG_GREETING] = {500, FIXED_ERROR, "5.5.1", "this is LMTP; greet with LHLO"},
    [SAY_WRONG_LHLO] = {500, FIXED_ERROR, "5.5.1", "this is SMTP; greet with EHLO"},
    [SAY_BAD_HELO] = {501, FIXED_ERROR, "5.5.4",
                      "greet with your host name or [address], in plain ASCII"},
    [SAY_MAIL_SYNTAX] = {501, FIXED_ERROR, "5.5.4", "write MAIL FROM:<user@domain>"},
    [SAY_RCPT_SYNTAX] = {501, FIXED_ERROR, "5.5.4", "write RCPT TO:<user@domain>"},
    [SAY_NEED_TLS] = {530, FIXED_ERROR, "5.7.0",
                      "send STARTTLS first; mail is taken only over TLS"},
    [SAY_NEED_AUTH] = {530, FIXED_ERROR, "5.7.0", "log in first (AUTH PLAIN or LOGIN)"},
    [SAY_NEED_UTF8] = {553, 0, "5.6.7",
                       "address is not ASCII; say SMTPUTF8 in MAIL, or use its ASCII form"},
    [SAY_EXPN] = {502, FIXED_ERROR, "5.7.0", "lists are not shown"},
    [SAY_BINARY_DATA] = {503, FIXED_ERROR, "5.5.1", "BODY=BINARYMIME needs BDAT, not DATA"},
    [SAY_BAD_BDAT] = {501, FIXED_CLOSE, "5.5.4",
                      "write BDAT SIZE or BDAT SIZE LAST; closing, as nobody knows where it ends"},
    [SAY_NOT_HTTP] = {554, FIXED_CLOSE, "5.5.1", "this is a mail server (SMTP), not a web server"},
    [SAY_NOT_TLS] =
        {554, FIXED_CLOSE, "5.5.1",
         "TLS begins here with STARTTLS; for TLS from the first byte set `tls: implicit`"},
    [SAY_BODY_AS_COMMANDS] = {554, FIXED_CLOSE, "5.5.0",
                              "content came though DATA was refused; wait for 354 before it"},
    [SAY_TLS_INJECTED] = {554, FIXED_CLOSE, "5.5.0",
                          "bytes came in the clear behind STARTTLS; closing, as someone may have "
                          "put them there"},
    [SAY_TLS_NONE] = {502, FIXED_ERROR, "5.5.1", "TLS is not offered here"},
    [SAY_TLS_TWICE] = {503, FIXED_ERROR, "5.5.1", "this connection is encrypted already"},
    [SAY_TOO_MANY_ERRORS] = {421, FIXED_CLOSE, "4.7.0", "too many errors; goodbye"},
    [SAY_TOO_MANY_MESSAGES] = {421, FIXED_CLOSE, "4.7.0",
                               "too many messages over one connection; connect again for more"},
    [SAY_BARE_IN_BODY] = {550, 0, "5.6.11",
                          "message contains CR or LF alone; end every line with CRLF"},
    [SAY_NUL_IN_BODY] = {550, 0, "5.6.0",
                         "message contains NUL; encode it (base64), or send BODY=BINARYMIME"},
    [SAY_LINE_IN_BODY] = {552, 0, "5.6.0", "a line of the message is longer than 32 MiB"},
    [SAY_AUTH_NONE] = {502, FIXED_ERROR, "5.5.1", "logging in is not offered here; go on without"},
    [SAY_AUTH_TWICE] = {503, FIXED_ERROR, "5.5.1", "already logged in"},
    [SAY_AUTH_CLEAR] = {538, FIXED_ERROR, "5.7.11", "passwords only over TLS; send STARTTLS first"},
    [SAY_AUTH_MECHANISM] = {504, FIXED_ERROR, "5.5.4", "use AUTH PLAIN or AUTH LOGIN"},
    [SAY_AUTH_BASE64] = {501, FIXED_ERROR, "5.5.2", "login response is not base64"},
    [SAY_AUTH_CANCELLED] = {501, FIXED_ERROR, "5.7.0", "login cancelled"},
    [SAY_AUTH_LONG] = {500, FIXED_ERROR, "5.5.6", "login response too long"},
    [SAY_AUTH_MALFORMED] =
        {501, FIXED_ERROR, "5.5.2",
         "login needs a user and a password, without NUL and at most 255 octets"},
};

void smtp_server_set_state(struct smtp_server *s, enum smtp_state state)
{
    assert(s->state != SMTP_CLOSED || state == SMTP_CLOSED);
    s->state = state;
}

void smtp_server_fixed(enum smtp_fixed what, struct smtp_server_reply *reply_out)
{
    reply_out->code = fixed[what].code;
    reply_out->enhanced = fixed[what].enhanced;
    size_t len = strlen(fixed[what].text);
    assert(len < sizeof(reply_out->text));
    memcpy(reply_out->text, fixed[what].text, len + 1);
}

static void closed(struct smtp_server *s)
{
    smtp_server_end_transaction(s, true);
    smtp_server_auth_free(s);
    smtp_server_set_state(s, SMTP_CLOSED);
}

void smtp_server_reply(struct smtp_server *s, const struct smtp_server_reply *reply)
{
    smtp_server_reply_write(reply, s->out);
    if (reply->code == 421)
        closed(s);
}

void smtp_server_say(struct smtp_server *s, enum smtp_fixed what)
{
    struct smtp_server_reply reply;
    smtp_server_fixed(what, &reply);
    smtp_server_reply_write(&reply, s->out);
    if ((fixed[what].flags & FIXED_CLOSE) != 0)
        closed(s);
    else if ((fixed[what].flags & FIXED_ERROR) != 0)
        smtp_server_count_error(s);
}

void smtp_server_count_error(struct smtp_server *s)
{
    if (++s->errors >= LIMIT_SESSION_ERRORS && s->state != SMTP_CLOSED)
        smtp_server_say(s, SAY_TOO_MANY_ERRORS);
}

void smtp_server_end_transaction(struct smtp_server *s, bool abort)
{
    if (s->open && abort)
        s->ops->abort(s->ctx);
    s->open = false;
    s->binary = s->utf8 = false;
    s->refused = s->content_wrong = false;
    s->rcpts = 0;
    s->content = s->discarded = s->chunk_left = 0;
    if (s->state != SMTP_CLOSED && s->state != SMTP_HELLO && s->state != SMTP_NEW)
        smtp_server_set_state(s, s->helo[0] != '\0' ? SMTP_IDLE : SMTP_HELLO);
}

struct smtp_server *smtp_server_new(const struct smtp_server_settings *settings,
                                    const struct smtp_server_ops *ops, void *ctx)
{
    struct smtp_server *s = xcalloc(1, sizeof(*s));
    s->settings = settings;
    s->ops = ops;
    s->ctx = ctx;
    return s;
}

void smtp_server_free(struct smtp_server **server)
{
    struct smtp_server *s = *server;
    if (s == NULL)
        return;
    if (s->open)
        s->ops->abort(s->ctx);
    smtp_server_auth_free(s);
    xfree(s->refusal);
    xfree(s);
    *server = NULL;
}

void smtp_server_greet(struct smtp_server *s, struct buf *out)
{
    assert(s->state == SMTP_NEW);
    buf_printf(out, "220 %s %s Waypost\r\n", s->settings->hostname,
               s->settings->lmtp ? "LMTP" : "ESMTP");
    smtp_server_set_state(s, SMTP_HELLO);
}

// What an answer leads to, for the questions that are not about content.
static void verdict_command(struct smtp_server *s, enum smtp_question asked, bool yes)
{
    switch (asked) {
    case ASKED_MAIL:
        s->open = yes;
        if (yes)
            smtp_server_set_state(s, SMTP_MAIL);
        else
            smtp_server_end_transaction(s, false);
        break;
    case ASKED_RCPT:
        if (yes) {
            s->rcpts++;
            smtp_server_set_state(s, SMTP_RCPT);
        }
        break;
    case ASKED_STARTTLS:
        if (yes)
            smtp_server_set_state(s, SMTP_TLS);
        break;
    case ASKED_AUTH:
        s->authenticated = yes;
        if (!yes)
            smtp_server_count_error(s);
        break;
    default: assert(!"no such question");
    }
}

static void verdict_end(struct smtp_server *s, bool yes, const struct smtp_server_reply *reply)
{
    // LMTP answers for every recipient (RFC 2033 section 4.2); here they all share one fate.
    uint32_t replies = s->settings->lmtp ? s->rcpts : 1;
    for (uint32_t i = 0; i < replies && s->state != SMTP_CLOSED; i++)
        smtp_server_reply(s, reply);
    if (s->state == SMTP_CLOSED)
        return;
    smtp_server_end_transaction(s, false);
    if (!yes)
        return;
    s->errors = 0;
    if (++s->messages >= LIMIT_SESSION_MESSAGES)
        smtp_server_say(s, SAY_TOO_MANY_MESSAGES);
}

static void verdict_begin(struct smtp_server *s, bool yes, const struct smtp_server_reply *reply)
{
    bool chunk = s->state == SMTP_CHUNK;
    if (yes) {
        smtp_server_content_begin(s);
        if (!chunk) {
            smtp_server_reply(s, reply);
            smtp_server_set_state(s, SMTP_CONTENT);
        } else if (s->chunk_left == 0) {
            smtp_server_chunk_done(s);
        }
    } else if (chunk) {
        smtp_server_content_refuse(s, reply);
        if (s->chunk_left == 0 && s->state != SMTP_CLOSED)
            smtp_server_chunk_done(s);
    } else {
        smtp_server_reply(s, reply);
        s->data_refused = true;
        if (s->state != SMTP_CLOSED)
            smtp_server_end_transaction(s, true);
    }
}

void smtp_server_verdict(struct smtp_server *s, enum smtp_question asked, int verdict,
                         const struct smtp_server_reply *reply)
{
    if (verdict == 0) {
        s->asked = asked;
        return;
    }
    bool yes = verdict > 0;
    s->asked = ASKED_NOTHING;
    if (asked == ASKED_DATA) {
        if (!yes)
            smtp_server_content_refuse(s, reply);
        if (s->state == SMTP_CHUNK && s->chunk_left == 0)
            smtp_server_chunk_done(s);
    } else if (asked == ASKED_BEGIN) {
        verdict_begin(s, yes, reply);
    } else if (asked == ASKED_END) {
        verdict_end(s, yes, reply);
    } else {
        smtp_server_reply(s, reply);
        if (s->state != SMTP_CLOSED)
            verdict_command(s, asked, yes);
    }
}

static const enum smtp_fixed defaults[] = {
    [ASKED_NOTHING] = SAY_OK,   [ASKED_MAIL] = SAY_MAIL_OK,    [ASKED_RCPT] = SAY_RCPT_OK,
    [ASKED_BEGIN] = SAY_START,  [ASKED_DATA] = SAY_OK,         [ASKED_END] = SAY_ACCEPTED,
    [ASKED_AUTH] = SAY_AUTH_OK, [ASKED_STARTTLS] = SAY_TLS_GO,
};

void smtp_server_answer(struct smtp_server *s, int verdict, const struct smtp_server_reply *reply,
                        struct buf *out)
{
    assert(s->asked != ASKED_NOTHING && verdict != 0 && (reply != NULL || verdict > 0));
    struct smtp_server_reply usual;
    smtp_server_fixed(defaults[s->asked], &usual);
    s->out = out;
    smtp_server_verdict(s, s->asked, verdict, reply != NULL ? reply : &usual);
}

// An overlong line is thrown away as it comes, and answered at its end.
static size_t skip_line(struct smtp_server *s, struct str in)
{
    size_t lf = str_find(in, '\n');
    s->skipping = true;
    if (lf == in.len) {
        s->discarded += in.len;
        return in.len;
    }
    s->skipping = false;
    s->discarded = 0;
    if (s->state == SMTP_LOGIN) {
        smtp_server_auth_free(s);
        smtp_server_set_state(s, SMTP_IDLE);
        smtp_server_say(s, SAY_AUTH_LONG);
    } else {
        smtp_server_say(s, SAY_TOO_LONG);
    }
    return lf + 1;
}

static size_t take_line(struct smtp_server *s, struct str in)
{
    // AUTH may bring its first response along (RFC 4954 section 4).
    bool login = s->state == SMTP_LOGIN || (!s->skipping && str_istarts(in, STR("AUTH ")));
    size_t max = login ? LIMIT_AUTH_LINE : LIMIT_COMMAND_LINE;
    // The first byte of a TLS record: there will be no line.
    if ((unsigned char)in.ptr[0] == 0x16 && s->state != SMTP_LOGIN && !s->skipping) {
        smtp_server_say(s, SAY_NOT_TLS);
        return in.len;
    }
    size_t lf = str_find(str_make(in.ptr, in.len < max ? in.len : max), '\n');
    if (s->skipping || (lf == max && in.len >= max))
        return skip_line(s, in);
    if (lf == in.len)
        return 0;
    s->progress++;
    s->more = lf + 1 < in.len;
    if (lf == 0 || in.ptr[lf - 1] != '\r') {
        if (s->state == SMTP_LOGIN) {
            smtp_server_auth_free(s);
            smtp_server_set_state(s, SMTP_IDLE);
        }
        smtp_server_say(s, SAY_BARE_LF);
    } else if (s->state == SMTP_LOGIN) {
        smtp_server_auth_line(s, str_make(in.ptr, lf - 1));
    } else {
        smtp_server_command(s, str_make(in.ptr, lf - 1));
    }
    return lf + 1;
}

size_t smtp_server_input(struct smtp_server *s, const char *bytes, size_t len, struct buf *out)
{
    size_t pos = 0;
    s->out = out;
    while (pos < len && s->asked == ASKED_NOTHING && s->state != SMTP_CLOSED &&
           s->state != SMTP_TLS && s->state != SMTP_NEW &&
           out->max - out->len > LIMIT_COMMAND_LINE) {
        struct str in = str_make(bytes + pos, len - pos);
        size_t taken = s->state == SMTP_CONTENT ? smtp_server_content(s, in)
                       : s->state == SMTP_CHUNK ? smtp_server_chunk(s, in)
                                                : take_line(s, in);
        if (taken == 0)
            break;
        pos += taken;
    }
    return s->state == SMTP_CLOSED ? len : pos;
}

void smtp_server_tls_ready(struct smtp_server *s)
{
    smtp_server_end_transaction(s, true);
    s->tls = true;
    s->esmtp = s->authenticated = false;
    s->helo[0] = '\0';
    // With TLS from the first byte the greeting is still to come.
    if (s->state != SMTP_NEW)
        smtp_server_set_state(s, SMTP_HELLO);
}

void smtp_server_close(struct smtp_server *s, uint16_t code, const char *enhanced, const char *text,
                       struct buf *out)
{
    if (s->state == SMTP_CLOSED)
        return;
    struct smtp_server_reply reply;
    smtp_server_reply_set(&reply, code, enhanced, "%s", text);
    smtp_server_reply_write(&reply, out);
    s->asked = ASKED_NOTHING;
    closed(s);
}

bool smtp_server_closed(const struct smtp_server *s)
{
    return s->state == SMTP_CLOSED;
}

bool smtp_server_waiting(const struct smtp_server *s)
{
    return s->asked != ASKED_NOTHING;
}

bool smtp_server_in_content(const struct smtp_server *s)
{
    return s->state == SMTP_CONTENT || s->state == SMTP_CHUNK;
}

bool smtp_server_in_transaction(const struct smtp_server *s)
{
    return s->open || s->asked == ASKED_END || s->asked == ASKED_MAIL;
}

uint64_t smtp_server_progress(const struct smtp_server *s)
{
    return s->progress;
}

const char *smtp_server_state_name(const struct smtp_server *s)
{
    return state_names[s->state];
}

const char *smtp_server_helo(const struct smtp_server *s)
{
    return s->helo;
}

bool smtp_server_esmtp(const struct smtp_server *s)
{
    return s->esmtp;
}

bool smtp_server_authenticated(const struct smtp_server *s)
{
    return s->authenticated;
}

bool smtp_server_saw_8bit(const struct smtp_server *s)
{
    return s->dot.eight_bit;
}
