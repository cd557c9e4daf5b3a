// SPDX-License-Identifier: ISC
// Content: DATA and BDAT. Slices go to the owner as they lie in its own buffer.
#include "proto/smtp_server_int.h"

#include "base/mem.h"

#include <assert.h>

void smtp_server_content_begin(struct smtp_server *s)
{
    s->dot = (struct smtp_dot){0};
    s->content = s->discarded = 0;
    s->refused = s->content_wrong = false;
}

// The first refusal stays: it names the cause, later ones would only be consequences.
void smtp_server_content_refuse(struct smtp_server *s, const struct smtp_server_reply *reply)
{
    if (s->refused)
        return;
    if (reply->code == 421) {
        smtp_server_reply(s, reply);
        return;
    }
    s->refused = true;
    if (s->refusal == NULL)
        s->refusal = xmalloc(sizeof(*s->refusal));
    *s->refusal = *reply;
    if (s->open)
        s->ops->abort(s->ctx);
    s->open = false;
}

static void too_large(struct smtp_server *s, struct smtp_server_reply *reply)
{
    smtp_server_reply_set(reply, 552, "5.3.4",
                          "message larger than %llu octets; send less, or raise message_size",
                          (unsigned long long)s->settings->message_size);
}

// More refused octets than anyone sends by honest mistake: reading on would serve only the sender
// of rubbish.
static bool beyond_patience(const struct smtp_server *s, uint64_t octets)
{
    return octets > 2 * s->settings->message_size + LIMIT_BODY_LINE;
}

static void give_up(struct smtp_server *s)
{
    smtp_server_reply_write(s->refusal, s->out);
    smtp_server_say(s, SAY_TOO_MANY_ERRORS);
}

// What is wrong with the content by itself. The gravest is said, so that the reply does not depend
// on where the pieces ended.
static bool content_wrong(struct smtp_server *s, struct smtp_server_reply *reply)
{
    if (s->content > s->settings->message_size)
        too_large(s, reply);
    else if (!s->binary && (s->dot.bare_cr || s->dot.bare_lf))
        smtp_server_fixed(SAY_BARE_IN_BODY, reply);
    else if (!s->binary && s->dot.nul)
        smtp_server_fixed(SAY_NUL_IN_BODY, reply);
    else if (!s->binary && s->dot.longest_line > LIMIT_BODY_LINE)
        smtp_server_fixed(SAY_LINE_IN_BODY, reply);
    else
        return false;
    return true;
}

// Hands one slice on, unless the content is refused already or for this very slice.
static void hand_on(struct smtp_server *s, struct str slice)
{
    s->progress++;
    s->content += slice.len;
    struct smtp_server_reply reply;
    if (!s->refused && content_wrong(s, &reply)) {
        smtp_server_content_refuse(s, &reply);
        s->content_wrong = true;
    }
    if (s->refused) {
        s->discarded += slice.len;
        if (beyond_patience(s, s->discarded))
            give_up(s);
        return;
    }
    smtp_server_fixed(SAY_OK, &reply);
    int verdict = s->ops->data(s->ctx, slice.ptr, slice.len, &reply);
    if (verdict == 0)
        s->asked = ASKED_DATA;
    else if (verdict < 0)
        smtp_server_content_refuse(s, &reply);
}

// All content is here: the refusal, or the owner's verdict.
static void content_end(struct smtp_server *s)
{
    // Behind the last slice a CR may have been found to be alone.
    s->dot.bare_cr |= s->dot.after_cr;
    struct smtp_server_reply reply;
    if ((!s->refused || s->content_wrong) && content_wrong(s, &reply)) {
        smtp_server_content_refuse(s, &reply);
        *s->refusal = reply;
        if (s->ops->content_refused != NULL)
            s->ops->content_refused(s->ctx, &reply);
    }
    if (s->refused) {
        uint32_t replies = s->settings->lmtp && s->rcpts > 0 ? s->rcpts : 1;
        for (uint32_t i = 0; i < replies; i++)
            smtp_server_reply_write(s->refusal, s->out);
        smtp_server_end_transaction(s, true);
        return;
    }
    smtp_server_fixed(SAY_ACCEPTED, &reply);
    // From here the message is the owner's; there is nothing left to abort.
    s->open = false;
    smtp_server_verdict(s, ASKED_END, s->ops->data_end(s->ctx, &reply), &reply);
}

size_t smtp_server_content(struct smtp_server *s, struct str in)
{
    struct str slice;
    bool end;
    size_t taken = smtp_dot_next(&s->dot, in, &slice, &end);
    if (slice.len > 0)
        hand_on(s, slice);
    if (end && s->state == SMTP_CONTENT)
        content_end(s);
    return taken;
}

// Chunks. A chunk nobody asked for is taken and thrown away, so that its content is never read as
// commands; one too large for that closes.
void smtp_server_chunk_begin(struct smtp_server *s, uint64_t octets, bool last)
{
    bool in_transaction = s->state == SMTP_RCPT || s->state == SMTP_CHUNKS;
    struct smtp_server_reply reply;
    if (!in_transaction) {
        enum smtp_fixed why = s->state == SMTP_MAIL    ? SAY_NEED_RCPT
                              : s->state == SMTP_HELLO ? SAY_NEED_EHLO
                                                       : SAY_NEED_MAIL;
        smtp_server_fixed(why, &reply);
        s->errors++;
    } else {
        too_large(s, &reply);
    }
    uint64_t room = in_transaction ? s->settings->message_size - s->content : 0;
    bool first = s->state == SMTP_RCPT;
    if (!in_transaction || octets > room)
        smtp_server_content_refuse(s, &reply);
    s->chunk_left = octets;
    s->chunk_last = last;
    if (s->refused && beyond_patience(s, octets)) {
        give_up(s);
        return;
    }
    smtp_server_set_state(s, SMTP_CHUNK);
    if (!s->refused && first) {
        smtp_server_fixed(SAY_OK, &reply);
        smtp_server_verdict(s, ASKED_BEGIN, s->ops->data_begin(s->ctx, &reply), &reply);
    } else if (octets == 0) {
        smtp_server_chunk_done(s);
    }
}

size_t smtp_server_chunk(struct smtp_server *s, struct str in)
{
    if (in.len > s->chunk_left)
        in.len = (size_t)s->chunk_left;
    s->chunk_left -= in.len;
    smtp_dot_watch(&s->dot, in);
    hand_on(s, in);
    if (s->state == SMTP_CHUNK && s->asked == ASKED_NOTHING && s->chunk_left == 0)
        smtp_server_chunk_done(s);
    return in.len;
}

// Lines end in CRLF here, the last one too: the next hop may only know DATA.
static void finish_last_line(struct smtp_server *s)
{
    if (s->refused || s->binary || s->content == 0 || smtp_dot_at_line_start(&s->dot))
        return;
    if (s->dot.after_cr)
        return; // a bare CR at the very end: content_end refuses it
    hand_on(s, STR("\r\n"));
    s->dot.state = SMTP_DOT_START;
}

void smtp_server_chunk_done(struct smtp_server *s)
{
    if (!s->refused && !s->chunk_last) {
        struct smtp_server_reply reply;
        smtp_server_reply_set(&reply, 250, "2.0.0", "chunk taken, %llu octets so far",
                              (unsigned long long)s->content);
        smtp_server_set_state(s, SMTP_CHUNKS);
        smtp_server_reply(s, &reply);
        return;
    }
    if (s->chunk_last)
        finish_last_line(s);
    if (s->asked != ASKED_NOTHING || s->state == SMTP_CLOSED)
        return; // comes back here with the answer
    content_end(s);
    // A client that sent many chunks into nothing is counted like any other error.
    if (s->state != SMTP_CLOSED && s->errors >= LIMIT_SESSION_ERRORS)
        smtp_server_say(s, SAY_TOO_MANY_ERRORS);
}
