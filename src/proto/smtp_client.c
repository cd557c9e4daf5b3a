// SPDX-License-Identifier: ISC
// The client side of SMTP and LMTP.
//
// What must hold:
// 1. Replies are matched to commands by order alone; `outstanding` counts the commands on the wire
//    whose reply is missing. Bytes that come while it is 0 answer nothing: the server is out of
//    step or lies, and the connection ends. (While a body flows a refusal may come early.)
// 2. Nothing the server said before TLS is used after it.
// 3. With a user, no MAIL before a 235.
// 4. Once final_sent stands and its reply is missing, a loss is OUTCOME_DOUBT; before, it never is.
// 5. Idle or over, every recipient of the transaction has its outcome.
#include "proto/smtp_client.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "proto/smtp_login.h"
#include "proto/smtp_mail.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

enum state {
    GREETING,
    EHLO,
    HELO,
    STARTTLS,
    HANDSHAKE,
    AUTH,
    IDLE,
    MAIL,
    RCPT,
    HOLD,
    DATA,
    BODY,
    FINAL,
    RSET,
    QUIT,
    OVER,
};

// How the body goes: after 354, in one chunk after the recipients, in one flight with them, or
// once its owner says so.
enum mode { BY_DATA, BY_CHUNK, AT_ONCE, LATER };

enum { FLIGHT = 32 * 1024 }; // commands gathered before they are written

static const struct step {
    void (*send)(struct smtp_client *c); // on entry, unless it went ahead of its turn
    char good;                           // the first digit that leads on
    void (*yes)(struct smtp_client *c);
    void (*no)(struct smtp_client *c); // 4xx and 5xx
    int limit_ms;
    enum outcome_phase phase;
    enum smtp_client_need need;
} steps[OVER + 1];

// --- what came of it ---

static void put_text(char out[LIMIT_OUTCOME_TEXT], struct str text)
{
    size_t n = text.len < LIMIT_OUTCOME_TEXT ? text.len : LIMIT_OUTCOME_TEXT - 1;
    // Not through the middle of a character.
    while (n < text.len && n > 0 && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--;
    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

static enum outcome_scope blame(const struct smtp_client *c, enum outcome_class class)
{
    if (class == OUTCOME_OK || class == OUTCOME_LOCAL)
        return SCOPE_NONE;
    if (class == OUTCOME_AUTH)
        return SCOPE_ACCOUNT;
    if ((class != OUTCOME_REFUSED && class != OUTCOME_BUSY) || c->reply.code == 421)
        return c->set.peer;
    if (c->state == RCPT || (c->state == FINAL && c->set.lmtp))
        return SCOPE_RECIPIENT;
    return c->state >= MAIL && c->state <= FINAL ? SCOPE_MESSAGE : c->set.peer;
}

// The verdict of this moment in our own words.
static void judge(struct smtp_client *c, enum outcome_class class, struct str text)
{
    struct outcome *v = &c->verdict;
    v->class = class;
    v->scope = blame(c, class);
    v->phase = steps[c->state].phase;
    v->relayed = class == OUTCOME_OK && c->set.relayed;
    v->code = 0;
    memset(v->enhanced, 0, sizeof(v->enhanced));
    put_text(v->text, text);
}

// The same from the server's reply.
static void judge_reply(struct smtp_client *c, enum outcome_class class)
{
    judge(c, class, smtp_reply_line(&c->reply));
    c->verdict.code = c->reply.code;
    memcpy(c->verdict.enhanced, c->reply.enhanced, sizeof(c->verdict.enhanced));
}

// The reply is the server's verdict on a recipient or the message.
static void keep_said(struct smtp_client *c)
{
    if (c->mail.said != NULL && c->state >= MAIL && c->state <= FINAL && c->reply.bad == NULL)
        smtp_reply_keep(&c->reply, c->mail.said);
}

static void judge_refusal(struct smtp_client *c)
{
    keep_said(c);
    judge_reply(c, c->reply.code < 500 ? OUTCOME_BUSY : OUTCOME_REFUSED);
}

static void settle(struct smtp_client *c, struct smtp_client_rcpt *rcpt)
{
    struct outcome *out = rcpt->outcome;
    const struct outcome *v = &c->verdict;
    memcpy(out, v, offsetof(struct outcome, text));
    memcpy(out->text, v->text, strlen(v->text) + 1);
    rcpt->state = SMTP_RCPT_SETTLED;
}

static void settle_all(struct smtp_client *c)
{
    for (size_t i = 0; i < c->mail.count; i++)
        if (c->mail.rcpts[i].state != SMTP_RCPT_SETTLED)
            settle(c, &c->mail.rcpts[i]);
    c->taken = 0;
}

static void finish(struct smtp_client *c)
{
    settle_all(c);
    c->failure = c->verdict;
    c->mail.count = 0;
    c->outstanding = 0;
    c->state = OVER;
}

static void note(struct smtp_client *c, const char *mark, struct str line);

// Ends the connection with our own words. Where the end of a body is unanswered, this is doubt.
static void fail(struct smtp_client *c, enum outcome_class class, const char *text)
{
    bool doubt = c->final_sent;
    note(c, "*** ", str_of(text));
    if (doubt)
        c->state = FINAL;
    judge(c, doubt ? OUTCOME_DOUBT : class, str_of(text));
    finish(c);
}

static void fail_reply(struct smtp_client *c, enum outcome_class class)
{
    keep_said(c);
    judge_reply(c, class);
    finish(c);
}

// --- sending ---

static void note(struct smtp_client *c, const char *mark, struct str line)
{
    if (c->record == NULL || c->record->full)
        return;
    buf_puts(c->record, mark);
    utf8_escape(c->record, line);
    buf_putc(c->record, '\n');
}

static void note_reply(struct smtp_client *c)
{
    if (c->record == NULL || c->record->full)
        return;
    struct str rest = buf_str(&c->reply.text), line = {0};
    char mark[16];
    do {
        str_split(&rest, '\n', &line);
        if (c->reply.bad != NULL)
            snprintf(mark, sizeof(mark), "<- ");
        else
            snprintf(mark, sizeof(mark), "<- %03u%c", c->reply.code, rest.len > 0 ? '-' : ' ');
        note(c, mark, line);
        line.len = 0;
    } while (rest.len > 0);
}

static void flush(struct smtp_client *c)
{
    if (c->command.len > 0)
        c->set.write(c->set.ctx, c->command.data, c->command.len);
    buf_clear(&c->command);
}

// The command line that begins at `from` is complete; a reply is owed.
static void expect(struct smtp_client *c, size_t from)
{
    note(c, "-> ", str_make(c->command.data + from, c->command.len - from - 2));
    c->outstanding++;
    if (c->command.len >= FLIGHT)
        flush(c);
}

static void say(struct smtp_client *c, const char *verb, const char *argument)
{
    size_t from = c->command.len;
    buf_puts(&c->command, verb);
    buf_puts(&c->command, argument);
    buf_add(&c->command, STR("\r\n"));
    assert(!c->command.full);
    expect(c, from);
}

static void go(struct smtp_client *c, enum state to)
{
    c->state = (unsigned char)to;
    if (steps[to].send != NULL && !c->ahead)
        steps[to].send(c);
    flush(c);
}

// --- greeting to login ---

static void send_ehlo(struct smtp_client *c)
{
    say(c, c->set.lmtp ? "LHLO " : "EHLO ", c->set.helo);
}

static void send_helo(struct smtp_client *c)
{
    say(c, "HELO ", c->set.helo);
}

static void send_starttls(struct smtp_client *c)
{
    say(c, "STARTTLS", "");
}

static void greeted(struct smtp_client *c)
{
    go(c, EHLO);
}

static void refused_session(struct smtp_client *c)
{
    judge_refusal(c);
    finish(c);
}

static void login(struct smtp_client *c)
{
    if (c->set.user == NULL) {
        go(c, IDLE);
        return;
    }
    c->state = AUTH;
    if ((c->ehlo.caps & SMTP_CAP_AUTH) == 0) {
        fail(c, OUTCOME_AUTH,
             c->covered ? "the server offers no login (AUTH)"
                        : "the server offers no login (AUTH) without TLS");
        return;
    }
    c->mechanism = smtp_mechanism_choose(c->ehlo.auth, c->covered || c->set.auth_in_clear);
    if (c->mechanism == NULL) {
        bool bare = smtp_mechanism_choose(c->ehlo.auth, true) != NULL;
        char text[256];
        snprintf(text, sizeof(text),
                 bare ? "the password is not sent without TLS; the server offers %s"
                      : "the server offers no way to log in that is known here, only %s",
                 c->ehlo.auth_text);
        fail(c, OUTCOME_AUTH, text);
        return;
    }
    go(c, AUTH);
}

static void cover(struct smtp_client *c)
{
    bool offered = (c->ehlo.caps & SMTP_CAP_STARTTLS) != 0;
    if (c->covered || c->set.tls == SMTP_CLIENT_TLS_OFF) {
        login(c);
    } else if (offered) {
        go(c, STARTTLS);
    } else if (c->set.tls == SMTP_CLIENT_TLS_REQUIRED) {
        c->state = STARTTLS;
        fail(c, OUTCOME_TLS, "TLS is required and the server offers no STARTTLS");
    } else {
        login(c);
    }
}

static void took_ehlo(struct smtp_client *c)
{
    smtp_ehlo_parse(&c->ehlo, buf_str(&c->reply.text));
    cover(c);
}

static void took_helo(struct smtp_client *c)
{
    go(c, IDLE);
}

// Without EHLO there is no TLS, no login and no LMTP. Where none of them is needed, the old HELO
// will do.
static void refused_ehlo(struct smtp_client *c)
{
    bool needed = c->set.lmtp || c->set.user != NULL ||
                  (c->set.tls == SMTP_CLIENT_TLS_REQUIRED && !c->covered);
    if (c->reply.code < 500 || needed)
        refused_session(c);
    else
        go(c, HELO);
}

static void took_starttls(struct smtp_client *c)
{
    go(c, HANDSHAKE);
}

static void refused_starttls(struct smtp_client *c)
{
    if (c->set.tls == SMTP_CLIENT_TLS_REQUIRED)
        fail_reply(c, OUTCOME_TLS);
    else
        login(c);
}

void smtp_client_tls_ready(struct smtp_client *c)
{
    assert(c->state == HANDSHAKE);
    c->covered = true;
    memset(&c->ehlo, 0, sizeof(c->ehlo));
    smtp_reply_reset(&c->reply);
    go(c, EHLO);
}

// --- login ---

// An initial response belongs on the command's line only where it fits there (RFC 4954 section 4).
enum { AUTH_LINE = 512 };

static void erase(struct buf *b)
{
    if (b->cap > 0)
        explicit_bzero(b->data, b->cap);
    buf_clear(b);
}

static bool put_answer(struct smtp_client *c, struct str challenge, struct buf *out)
{
    struct buf raw;
    buf_init(&raw, LIMIT_AUTH_LINE / 2);
    buf_reserve(&raw, AUTH_LINE); // so that no copy is left behind by growing
    bool ok = c->mechanism->answer(c->auth_step, c->set.user, c->set.password, challenge, &raw) &&
              !raw.full && base64_encode(out, buf_str(&raw));
    erase(&raw);
    buf_free(&raw);
    c->auth_step++;
    return ok;
}

static void send_auth(struct smtp_client *c)
{
    size_t from = c->command.len;
    c->auth_step = 0;
    buf_reserve(&c->command, 2 * AUTH_LINE);
    buf_puts(&c->command, "AUTH ");
    buf_puts(&c->command, c->mechanism->name);
    size_t bare = c->command.len;
    if (c->mechanism->initial) {
        buf_putc(&c->command, ' ');
        if (!put_answer(c, (struct str){0}, &c->command) || c->command.len - from + 2 > AUTH_LINE) {
            c->command.len = bare;
            c->auth_step = 0;
        }
    }
    bool more = c->command.len > bare;
    note(c, "-> ", str_make(c->command.data + from, bare - from));
    if (more)
        note(c, "-> ", STR("(secret)"));
    buf_add(&c->command, STR("\r\n"));
    c->outstanding++;
    flush(c);
    erase(&c->command);
}

static void challenged(struct smtp_client *c)
{
    struct buf challenge;
    buf_init(&challenge, LIMIT_REPLY_BYTES);
    // What is not base64 is given as nothing: PLAIN and LOGIN do not look at it.
    base64_decode(&challenge, str_trim(buf_str(&c->reply.text)));
    bool ok = put_answer(c, buf_str(&challenge), &c->command);
    buf_free(&challenge);
    if (!ok) {
        erase(&c->command);
        fail(c, OUTCOME_AUTH, "the server asks for more than the login has to say");
        return;
    }
    note(c, "-> ", STR("(secret)"));
    buf_add(&c->command, STR("\r\n"));
    c->outstanding++;
    flush(c);
    erase(&c->command);
}

static void logged_in(struct smtp_client *c)
{
    c->logged_in = true;
    go(c, IDLE);
}

static void refused_login(struct smtp_client *c)
{
    fail_reply(c, OUTCOME_AUTH);
}

// --- a transaction ---

static bool offers(const struct smtp_client *c, uint32_t cap)
{
    return (c->ehlo.caps & cap) != 0;
}

static void end_transaction(struct smtp_client *c)
{
    bool reset = c->open;
    c->mail.count = 0;
    c->open = c->ahead = c->final_sent = false;
    go(c, reset ? RSET : IDLE);
}

static void send_mail(struct smtp_client *c)
{
    const struct envelope *e = c->mail.envelope;
    bool utf8 = !ascii_only(e->sender);
    for (size_t i = 0; i < c->mail.count && !utf8; i++)
        utf8 =
            c->mail.rcpts[i].state == SMTP_RCPT_OPEN && !ascii_only(c->mail.rcpts[i].rcpt->address);
    size_t from = c->command.len;
    smtp_mail_put(&c->command, e, c->mail.size, utf8, &c->ehlo);
    expect(c, from);
}

static void send_rcpt(struct smtp_client *c)
{
    size_t from = c->command.len;
    smtp_rcpt_put(&c->command, c->mail.rcpts[c->at].rcpt, &c->ehlo);
    expect(c, from);
}

static void send_data(struct smtp_client *c)
{
    say(c, "DATA", "");
}

static void send_bdat(struct smtp_client *c)
{
    char size[48];
    snprintf(size, sizeof(size), "%llu LAST", (unsigned long long)c->mail.size);
    c->body_left = c->mail.size;
    say(c, "BDAT ", size);
    flush(c);
}

// The recipient whose turn it is from `at` on. Those with an obstacle were settled before anything
// was sent; those settled by a refused MAIL still have their reply to come.
static bool next_rcpt(struct smtp_client *c)
{
    while (c->at < c->mail.count && c->mail.rcpts[c->at].state == SMTP_RCPT_SETTLED &&
           c->mail.rcpts[c->at].unsent)
        c->at++;
    return c->at < c->mail.count;
}

static void send_ahead(struct smtp_client *c)
{
    send_mail(c);
    for (c->at = 0; next_rcpt(c); c->at++)
        send_rcpt(c);
    if (c->mode == BY_DATA)
        send_data(c);
    else if (c->mode == AT_ONCE)
        send_bdat(c);
    flush(c);
}

static enum mode choose_mode(const struct smtp_client *c)
{
    if (!offers(c, SMTP_CAP_CHUNKING))
        return BY_DATA;
    if (offers(c, SMTP_CAP_PIPELINING) && c->mail.at_once)
        return AT_ONCE;
    bool chunk = c->mail.envelope->body == BODY_BINARYMIME || c->mail.size > LIMIT_BODY_INLINE;
    return chunk ? BY_CHUNK : BY_DATA;
}

static void judge_obstacle(struct smtp_client *c, const struct smtp_obstacle *o, bool of_rcpt)
{
    c->state = of_rcpt ? RCPT : MAIL;
    judge(c, OUTCOME_REFUSED, str_of(o->text));
    memcpy(c->verdict.enhanced, o->enhanced, sizeof(o->enhanced));
}

void smtp_client_begin(struct smtp_client *c, const struct smtp_client_mail *mail)
{
    assert(c->state == IDLE && mail->count > 0);
    c->mail = *mail;
    c->replies = 0;
    c->at = c->taken = 0;
    c->open = c->final_sent = false;
    c->stuff.inside = false;
    size_t left = mail->count;
    if (mail->said != NULL)
        mail->said->code = 0;
    const struct smtp_obstacle *o = smtp_mail_obstacle(mail->envelope, mail->size, &c->ehlo);
    if (o != NULL)
        judge_obstacle(c, o, false);
    for (size_t i = 0; i < mail->count; i++) {
        struct smtp_client_rcpt *rcpt = &mail->rcpts[i];
        const struct smtp_obstacle *own =
            o != NULL ? o : smtp_rcpt_obstacle(rcpt->rcpt->address, &c->ehlo);
        rcpt->state = SMTP_RCPT_OPEN;
        rcpt->unsent = own != NULL;
        if (own == NULL)
            continue;
        if (o == NULL)
            judge_obstacle(c, own, true);
        settle(c, rcpt);
        left--;
    }
    if (left == 0) {
        end_transaction(c);
        return;
    }
    c->mode = (unsigned char)(mail->live ? LATER : choose_mode(c));
    c->ahead = false;
    if (offers(c, SMTP_CAP_PIPELINING)) {
        send_ahead(c);
        c->ahead = true;
    }
    c->at = 0;
    go(c, c->mode == AT_ONCE ? BODY : MAIL);
}

// All recipients have answered.
static void after_rcpts(struct smtp_client *c)
{
    bool sent = c->ahead && c->mode != BY_CHUNK && c->mode != LATER;
    c->at = 0;
    if (sent) {
        if (c->mode == AT_ONCE && c->set.lmtp && c->taken > 0)
            c->outstanding = c->taken;
        go(c, c->mode == BY_DATA ? DATA : FINAL);
        return;
    }
    c->ahead = false;
    if (c->taken == 0) {
        end_transaction(c);
    } else if (c->mode == LATER) {
        go(c, HOLD);
    } else if (c->mode == BY_DATA) {
        go(c, DATA);
    } else {
        send_bdat(c);
        go(c, BODY);
    }
}

static void to_rcpt(struct smtp_client *c)
{
    if (next_rcpt(c))
        go(c, RCPT);
    else
        after_rcpts(c);
}

static void took_mail(struct smtp_client *c)
{
    c->open = true;
    to_rcpt(c);
}

static void refused_mail(struct smtp_client *c)
{
    judge_refusal(c);
    settle_all(c);
    if (c->ahead)
        to_rcpt(c);
    else
        end_transaction(c);
}

static void took_rcpt(struct smtp_client *c)
{
    struct smtp_client_rcpt *rcpt = &c->mail.rcpts[c->at++];
    if (rcpt->state == SMTP_RCPT_OPEN) {
        keep_said(c);
        rcpt->state = SMTP_RCPT_TAKEN;
        c->taken++;
    }
    to_rcpt(c);
}

static void refused_rcpt(struct smtp_client *c)
{
    struct smtp_client_rcpt *rcpt = &c->mail.rcpts[c->at++];
    if (rcpt->state == SMTP_RCPT_OPEN) {
        judge_refusal(c);
        settle(c, rcpt);
    }
    to_rcpt(c);
}

// --- held ---

void smtp_client_more(struct smtp_client *c, struct smtp_client_rcpt *rcpts)
{
    assert(c->state == HOLD);
    struct smtp_client_rcpt *rcpt = &rcpts[c->mail.count];
    const struct smtp_obstacle *o = smtp_rcpt_obstacle(rcpt->rcpt->address, &c->ehlo);
    c->mail.rcpts = rcpts;
    c->at = c->mail.count++;
    rcpt->state = SMTP_RCPT_OPEN;
    rcpt->unsent = o != NULL;
    if (c->mail.said != NULL)
        c->mail.said->code = 0;
    if (o != NULL) {
        judge_obstacle(c, o, true);
        settle(c, rcpt);
    }
    to_rcpt(c);
}

void smtp_client_content(struct smtp_client *c, uint64_t size)
{
    assert(c->state == HOLD);
    c->mail.size = size;
    c->mail.live = c->mail.at_once = false;
    c->mode = (unsigned char)choose_mode(c);
    if (c->mail.said != NULL)
        c->mail.said->code = 0;
    after_rcpts(c);
}

void smtp_client_drop(struct smtp_client *c, const char *why)
{
    assert(c->state == HOLD);
    judge(c, OUTCOME_LOCAL, str_of(why));
    settle_all(c);
    end_transaction(c);
}

static void took_data(struct smtp_client *c)
{
    c->ahead = false;
    if (c->taken > 0) {
        go(c, BODY);
        return;
    }
    // DATA went ahead, nobody was taken, and the server wants a body all the same: it gets an empty
    // one (RFC 2920 section 3.1) and this connection is not used again.
    c->set.write(c->set.ctx, ".\r\n", 3);
    judge(c, OUTCOME_NET, STR("the server takes a body without recipients"));
    finish(c);
}

static void refused_data(struct smtp_client *c)
{
    judge_refusal(c);
    settle_all(c);
    end_transaction(c);
}

static void to_final(struct smtp_client *c)
{
    c->final_sent = true;
    c->at = 0;
    if (c->mode == AT_ONCE) {
        go(c, MAIL);
        return;
    }
    // LMTP answers once for each recipient taken (RFC 2033 section 4.2).
    c->outstanding = c->set.lmtp ? c->taken : 1;
    go(c, FINAL);
}

void smtp_client_body(struct smtp_client *c, const char *bytes, size_t len, bool last)
{
    assert(c->state == BODY);
    if (c->mode == BY_DATA) {
        smtp_stuff_feed(&c->stuff, bytes, len);
        if (last)
            smtp_stuff_end(&c->stuff);
    } else {
        bool fits = len <= c->body_left && (!last || len == c->body_left);
        if (!fits) {
            fail(c, OUTCOME_LOCAL, "the stored body is not as long as it should be");
            return;
        }
        c->body_left -= len;
        if (len > 0)
            c->set.write(c->set.ctx, bytes, len);
    }
    if (!last)
        return;
    char text[64];
    int n = snprintf(text, sizeof(text), "(body, %llu bytes)", (unsigned long long)c->mail.size);
    note(c, "-> ", str_make(text, (size_t)n));
    to_final(c);
}

static struct smtp_client_rcpt *next_taken(struct smtp_client *c)
{
    while (c->at < c->mail.count && c->mail.rcpts[c->at].state != SMTP_RCPT_TAKEN)
        c->at++;
    return c->at < c->mail.count ? &c->mail.rcpts[c->at] : NULL;
}

static void answered_final(struct smtp_client *c)
{
    if (c->set.lmtp) {
        struct smtp_client_rcpt *rcpt = next_taken(c);
        if (rcpt != NULL)
            settle(c, rcpt);
        if (c->outstanding > 0)
            return;
    }
    settle_all(c);
    end_transaction(c);
}

static void took_final(struct smtp_client *c)
{
    c->open = false;
    keep_said(c);
    judge_reply(c, OUTCOME_OK);
    answered_final(c);
}

// After a refused chunk the server is in no certain state (RFC 3030 section 2); after a refused
// final dot the transaction is over.
static void refused_final(struct smtp_client *c)
{
    if (c->mode == BY_DATA)
        c->open = false;
    judge_refusal(c);
    answered_final(c);
}

static void send_rset(struct smtp_client *c)
{
    say(c, "RSET", "");
}

static void took_rset(struct smtp_client *c)
{
    go(c, IDLE);
}

static void send_quit(struct smtp_client *c)
{
    say(c, "QUIT", "");
}

static void end_session(struct smtp_client *c)
{
    judge(c, OUTCOME_NET, STR("the connection is closed"));
    finish(c);
}

// --- the dialogue ---

static const struct step steps[OVER + 1] = {
    [GREETING] = {NULL, '2', greeted, refused_session, LIMIT_GREETING_MS, PHASE_GREETING,
                  SMTP_CLIENT_REPLY},
    [EHLO] = {send_ehlo, '2', took_ehlo, refused_ehlo, LIMIT_MAIL_MS, PHASE_EHLO,
              SMTP_CLIENT_REPLY},
    [HELO] = {send_helo, '2', took_helo, refused_session, LIMIT_MAIL_MS, PHASE_EHLO,
              SMTP_CLIENT_REPLY},
    [STARTTLS] = {send_starttls, '2', took_starttls, refused_starttls, LIMIT_GREETING_MS, PHASE_TLS,
                  SMTP_CLIENT_REPLY},
    [HANDSHAKE] = {NULL, 0, NULL, NULL, LIMIT_GREETING_MS, PHASE_TLS, SMTP_CLIENT_TLS},
    [AUTH] = {send_auth, '2', logged_in, refused_login, LIMIT_GREETING_MS, PHASE_AUTH,
              SMTP_CLIENT_REPLY},
    [IDLE] = {NULL, 0, NULL, NULL, LIMIT_IDLE_CONNECTION_MS, PHASE_NONE, SMTP_CLIENT_IDLE},
    [MAIL] = {send_mail, '2', took_mail, refused_mail, LIMIT_MAIL_MS, PHASE_MAIL,
              SMTP_CLIENT_REPLY},
    [RCPT] = {send_rcpt, '2', took_rcpt, refused_rcpt, LIMIT_MAIL_MS, PHASE_RCPT,
              SMTP_CLIENT_REPLY},
    [HOLD] = {NULL, 0, NULL, NULL, LIMIT_TRANSACTION_MS, PHASE_RCPT, SMTP_CLIENT_HOLD},
    [DATA] = {send_data, '3', took_data, refused_data, LIMIT_MAIL_MS, PHASE_DATA,
              SMTP_CLIENT_REPLY},
    [BODY] = {NULL, 0, NULL, NULL, LIMIT_DATA_OUT_MS, PHASE_BODY, SMTP_CLIENT_BODY},
    [FINAL] = {NULL, '2', took_final, refused_final, LIMIT_FINAL_MS, PHASE_FINAL,
               SMTP_CLIENT_REPLY},
    [RSET] = {send_rset, '2', took_rset, end_session, LIMIT_IDLE_CONNECTION_MS, PHASE_NONE,
              SMTP_CLIENT_REPLY},
    [QUIT] = {send_quit, '2', end_session, end_session, LIMIT_IDLE_CONNECTION_MS, PHASE_NONE,
              SMTP_CLIENT_REPLY},
    [OVER] = {NULL, 0, NULL, NULL, LIMIT_IDLE_CONNECTION_MS, PHASE_NONE, SMTP_CLIENT_OVER},
};

// A refusal while the body still flows: it counts, but the rest cannot be taken back.
static void answered_early(struct smtp_client *c)
{
    if (c->reply.code >= 400) {
        judge_refusal(c);
        finish(c);
    } else {
        fail(c, OUTCOME_NET, "the server answered before the body was complete");
    }
}

static void take_reply(struct smtp_client *c)
{
    const struct step *step = &steps[c->state];
    char digit = (char)('0' + c->reply.code / 100);
    char text[256];
    c->replies++;
    note_reply(c);
    if (c->reply.bad != NULL) {
        snprintf(text, sizeof(text), "%s: %.*s", c->reply.bad, STR_FMT(smtp_reply_line(&c->reply)));
        fail(c, OUTCOME_NET, text);
    } else if (c->state == BODY) {
        answered_early(c);
    } else if (c->reply.code == 421 && c->state != QUIT) {
        fail_reply(c, OUTCOME_BUSY); // RFC 5321 section 3.8: the server closes
    } else if (digit == step->good) {
        step->yes(c);
    } else if (digit >= '4') {
        step->no(c);
    } else if (digit == '3' && c->state == AUTH) {
        challenged(c);
    } else {
        snprintf(text, sizeof(text), "an answer out of place: %u %.*s", c->reply.code,
                 STR_FMT(smtp_reply_line(&c->reply)));
        fail(c, OUTCOME_NET, text);
    }
}

static bool leads_on(const struct smtp_client *c)
{
    return c->reply.bad == NULL && c->state != BODY && c->state != FINAL && c->state != QUIT &&
           (c->reply.code < 400 || c->state == STARTTLS);
}

static void fail_extra(struct smtp_client *c)
{
    if (c->state == STARTTLS || c->state == HANDSHAKE)
        fail(c, OUTCOME_TLS, "the server sent more than its reply to STARTTLS");
    else
        fail(c, OUTCOME_NET, "the server speaks out of turn");
}

void smtp_client_feed(struct smtp_client *c, const char *bytes, size_t len)
{
    while (len > 0 && c->state != OVER) {
        if (c->outstanding == 0 && c->state != BODY) {
            fail_extra(c);
            return;
        }
        size_t used;
        if (!smtp_reply_feed(&c->reply, bytes, len, &used))
            return;
        bytes += used;
        len -= used;
        if (c->outstanding > 0)
            c->outstanding--;
        // Rule 1: what follows the last reply owed cannot answer what is about to be sent. A
        // verdict on what was sent counts all the same.
        bool extra = len > 0 && c->outstanding == 0;
        if (extra && leads_on(c)) {
            fail_extra(c);
            return;
        }
        take_reply(c);
        if (extra)
            c->outstanding = 0;
    }
}

void smtp_client_init(struct smtp_client *c, const struct smtp_client_settings *settings)
{
    *c = (struct smtp_client){.set = *settings, .covered = settings->covered, .outstanding = 1};
    smtp_reply_init(&c->reply);
    buf_init(&c->command, FLIGHT + SMTP_MAIL_LINE + LIMIT_AUTH_LINE);
    c->stuff = (struct smtp_stuff){.write = settings->write, .ctx = settings->ctx};
    if (settings->where != NULL)
        snprintf(c->verdict.where, sizeof(c->verdict.where), "%s", settings->where);
    c->state = GREETING;
}

void smtp_client_free(struct smtp_client *c)
{
    smtp_reply_free(&c->reply);
    buf_free(&c->command);
}

enum smtp_client_need smtp_client_need(const struct smtp_client *c)
{
    return steps[c->state].need;
}

int smtp_client_limit_ms(const struct smtp_client *c)
{
    int usual = steps[c->state].limit_ms;
    switch (c->state) {
    case IDLE:
    case HOLD: // it is not the server that is slow
    case RSET:
    case QUIT:
    case OVER: return usual;
    // Doubt is worse than waiting.
    case FINAL: return c->set.step_ms > usual ? c->set.step_ms : usual;
    default: return c->set.step_ms > 0 ? c->set.step_ms : usual;
    }
}

enum outcome_phase smtp_client_phase(const struct smtp_client *c)
{
    return steps[c->state].phase;
}

void smtp_client_quit(struct smtp_client *c)
{
    assert(c->state == IDLE);
    go(c, QUIT);
}

void smtp_client_lost(struct smtp_client *c, enum smtp_client_loss loss, const char *why)
{
    if (c->state == OVER)
        return;
    enum outcome_class class = OUTCOME_NET;
    if (loss == SMTP_LOST_LOCAL)
        class = OUTCOME_LOCAL;
    else if (c->state == HANDSHAKE || (loss == SMTP_LOST_TLS && c->state == GREETING))
        class = OUTCOME_TLS;
    c->handshake_failed = c->state == HANDSHAKE;
    if (class == OUTCOME_TLS)
        c->state = HANDSHAKE; // implicit TLS comes before the greeting
    char text[256];
    if (loss == SMTP_LOST_TIME)
        snprintf(text, sizeof(text), "%s (%s)", why, outcome_phase_name(steps[c->state].phase));
    else
        snprintf(text, sizeof(text), "%s", why);
    fail(c, class, text);
}

bool smtp_client_may_go_clear(const struct smtp_client *c)
{
    return c->state == OVER && c->handshake_failed && c->set.tls == SMTP_CLIENT_TLS_WANTED &&
           (c->set.user == NULL || c->set.auth_in_clear);
}
