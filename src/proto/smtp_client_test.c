// SPDX-License-Identifier: ISC
// The client against scripted servers, at every chunk boundary of what they say.
#include "proto/smtp_client.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

// A script: lines "S text" are said by the server (consecutive ones in one go), "C text" must be
// what the client says next. "TLS" completes a handshake, "BEGIN" hands over the transaction,
// "EOF", "TIME" and "BADTLS" lose the connection, "QUIT" ends it, "WAIT" parts
// what the server says. A live transaction begins with the first recipient and goes on by "MORE",
// "CONTENT" or "DROP"; "SAID" is the verdict kept last. The body is given whenever it is asked for,
// in slices of three bytes. At the end all the client said must have been expected.
struct script {
    const char *name;
    struct smtp_client_settings set;
    struct envelope envelope;
    const char *rcpts[4];
    const char *body;
    bool at_once, live;
    const char *text;
    // "class code phase e.n.h text" of each recipient; without a transaction of `failure`.
    const char *outcomes[4];
    enum smtp_client_need need; // at the end
};

struct run {
    struct smtp_client c;
    struct buf said; // by the client, not yet expected
    struct buf record;
    struct envelope_rcpt addresses[4];
    struct outcome outcomes[4];
    struct smtp_client_rcpt rcpts[4];
    size_t count;
    struct smtp_said verdict;
};

static void on_write(void *ctx, const void *bytes, size_t len)
{
    buf_append(&((struct run *)ctx)->said, bytes, len);
}

static void give_body(struct run *r, const struct script *s)
{
    size_t at = 0, len = s->body != NULL ? strlen(s->body) : 0;
    while (smtp_client_need(&r->c) == SMTP_CLIENT_BODY) {
        size_t n = len - at < 3 ? len - at : 3;
        smtp_client_body(&r->c, s->body + at, n, at + n == len);
        at += n;
    }
}

static void begin(struct run *r, const struct script *s)
{
    assert_int_equal(smtp_client_need(&r->c), SMTP_CLIENT_IDLE);
    for (r->count = 0; r->count < 4 && s->rcpts[r->count] != NULL; r->count++) {
        r->addresses[r->count].address = str_of(s->rcpts[r->count]);
        r->outcomes[r->count].class = OUTCOME_OFFLINE; // must be overwritten
        r->rcpts[r->count].rcpt = &r->addresses[r->count];
        r->rcpts[r->count].outcome = &r->outcomes[r->count];
    }
    struct smtp_client_mail mail = {.envelope = &s->envelope,
                                    .rcpts = r->rcpts,
                                    .count = s->live ? 1 : r->count,
                                    .size = s->live ? 0 : strlen(s->body),
                                    .live = s->live,
                                    .said = s->live ? &r->verdict : NULL,
                                    .at_once = s->at_once};
    smtp_client_begin(&r->c, &mail);
    give_body(r, s);
}

static bool play_live(struct run *r, const struct script *s, struct str line)
{
    if (str_starts(line, STR("SAID "))) {
        char text[SMTP_SAID_TEXT + 16];
        snprintf(text, sizeof(text), "SAID %u %s", r->verdict.code, r->verdict.text);
        for (char *lf = text; (lf = strchr(lf, '\n')) != NULL;)
            *lf = '|';
        if (!str_eq(line, str_of(text)))
            fail_msg("%s: %s, expected %.*s", s->name, text, STR_FMT(line));
        return true;
    }
    bool more = str_eq(line, STR("MORE")), content = str_eq(line, STR("CONTENT"));
    if (!more && !content && !str_eq(line, STR("DROP")))
        return false;
    assert_int_equal(smtp_client_need(&r->c), SMTP_CLIENT_HOLD);
    if (more)
        smtp_client_more(&r->c, r->rcpts);
    else if (content)
        smtp_client_content(&r->c, strlen(s->body));
    else
        smtp_client_drop(&r->c, "its client left");
    give_body(r, s);
    return true;
}

static void hear(struct run *r, const struct script *s, struct buf *bytes, size_t chunk)
{
    for (size_t at = 0; at < bytes->len; at += chunk) {
        size_t n = bytes->len - at < chunk ? bytes->len - at : chunk;
        smtp_client_feed(&r->c, bytes->data + at, n);
        give_body(r, s);
    }
    buf_clear(bytes);
}

static void expect(struct run *r, const struct script *s, struct str line)
{
    bool same = r->said.len >= line.len + 2 && memcmp(r->said.data, line.ptr, line.len) == 0 &&
                memcmp(r->said.data + line.len, "\r\n", 2) == 0;
    if (!same)
        fail_msg("%s: the client says \"%s\", expected \"%.*s\"", s->name, buf_cstr(&r->said),
                 STR_FMT(line));
    buf_consume(&r->said, line.len + 2);
}

static void play_line(struct run *r, const struct script *s, struct str line)
{
    if (str_starts(line, STR("C ")))
        expect(r, s, str_make(line.ptr + 2, line.len - 2));
    else if (str_eq(line, STR("WAIT")))
        ; // what the server says next comes on its own
    else if (str_eq(line, STR("TLS")))
        smtp_client_tls_ready(&r->c);
    else if (str_eq(line, STR("BEGIN")))
        begin(r, s);
    else if (str_eq(line, STR("EOF")))
        smtp_client_lost(&r->c, SMTP_LOST_NET, "closed");
    else if (str_eq(line, STR("TIME")))
        smtp_client_lost(&r->c, SMTP_LOST_TIME, "no answer");
    else if (str_eq(line, STR("BADTLS")))
        smtp_client_lost(&r->c, SMTP_LOST_TLS, "certificate expired");
    else if (str_eq(line, STR("QUIT")))
        smtp_client_quit(&r->c);
    else if (!play_live(r, s, line))
        fail_msg("%s: bad script line %.*s", s->name, STR_FMT(line));
}

static void check_outcome(const struct script *s, const struct outcome *o, const char *expected)
{
    char text[1024];
    snprintf(text, sizeof(text), "%s %u %s %u.%u.%u %s", outcome_class_name(o->class), o->code,
             outcome_phase_name(o->phase), o->enhanced[0], o->enhanced[1], o->enhanced[2], o->text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", s->name, text, expected);
}

// Returns the longest run of server bytes, so that the caller knows how far to cut.
static size_t play(const struct script *s, size_t chunk)
{
    struct run *r = xcalloc(1, sizeof(*r));
    struct buf bytes;
    size_t longest = 1;
    buf_init(&bytes, 100000);
    buf_init(&r->said, 100000);
    buf_init(&r->record, 16 * 1024);
    struct smtp_client_settings set = s->set;
    set.write = on_write;
    set.ctx = r;
    set.helo = "me.example.org";
    set.peer = SCOPE_GATEWAY;
    smtp_client_init(&r->c, &set);
    r->c.record = &r->record;
    struct str rest = str_of(s->text), line;
    while (str_split(&rest, '\n', &line)) {
        if (str_starts(line, STR("S "))) {
            buf_append(&bytes, line.ptr + 2, line.len - 2);
            buf_puts(&bytes, "\r\n");
            longest = bytes.len > longest ? bytes.len : longest;
            if (str_starts(rest, STR("S ")))
                continue;
            hear(r, s, &bytes, chunk);
        } else {
            play_line(r, s, line);
        }
    }
    if (r->said.len > 0)
        fail_msg("%s: the client also says \"%s\"", s->name, buf_cstr(&r->said));
    if (smtp_client_need(&r->c) != s->need)
        fail_msg("%s: the client needs %d, expected %d", s->name, smtp_client_need(&r->c), s->need);
    if (r->count == 0 && s->outcomes[0] != NULL)
        check_outcome(s, &r->c.failure, s->outcomes[0]);
    for (size_t i = 0; i < r->count; i++)
        check_outcome(s, &r->outcomes[i], s->outcomes[i]);
    if (strstr(buf_cstr(&r->record), "sesame") != NULL ||
        strstr(buf_cstr(&r->record), "c2VzYW1l") != NULL)
        fail_msg("%s: the record shows the password", s->name);
    buf_free(&bytes);
    buf_free(&r->said);
    buf_free(&r->record);
    smtp_client_free(&r->c);
    xfree(r);
    return longest;
}

static void play_all(const struct script *scripts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t longest = play(&scripts[i], 100000);
        for (size_t chunk = 1; chunk < longest; chunk++)
            play(&scripts[i], chunk);
    }
}
#define PLAY(scripts) play_all(scripts, sizeof(scripts) / sizeof(scripts[0]))

#define FROM      .envelope = {.sender = {"a@b.example", 11}}
#define HELLO     "S 220 hi\nC EHLO me.example.org\n"
#define PLAINLY   HELLO "S 250 mx\nBEGIN\n"
#define PIPED     HELLO "S 250-mx\nS 250 PIPELINING\nBEGIN\n"
#define CHUNKED   HELLO "S 250-mx\nS 250-PIPELINING\nS 250 CHUNKING\nBEGIN\n"
#define BODY_SENT "C Hi\nC ..\nC ..x\nC .\n"
#define BODY_TEXT .body = "Hi\r\n.\r\n.x\r\n"

static const struct script transactions[] = {
    {.name = "step by step",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C RCPT TO:<z@y.example>\nS 550 5.1.1 no\nC DATA\nS 354 go\n" BODY_SENT
                     "S 250 2.0.0 queued as 1\n",
     .outcomes = {"ok 250 after the final dot 2.0.0 queued as 1", "refused 550 RCPT 5.1.1 no"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "pipelined",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<z@y.example>\n"
                   "C DATA\nS 250 ok\nS 451 4.3.0 later\nS 250 ok\nS 354 go\n" BODY_SENT
                   "S 250 done\nQUIT\nC QUIT\nS 221 bye\n",
     .outcomes = {"busy 451 RCPT 4.3.0 later", "ok 250 after the final dot 0.0.0 done"},
     .need = SMTP_CLIENT_OVER},
    {.name = "pipelined, MAIL refused",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<z@y.example>\n"
                   "C DATA\nS 550 5.7.1 not you\nS 503 x\nS 503 x\nS 503 x\n",
     .outcomes = {"refused 550 MAIL 5.7.1 not you", "refused 550 MAIL 5.7.1 not you"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "pipelined, nobody taken",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC DATA\n"
                   "S 250 ok\nS 550 no\nS 554 no valid recipients\nC RSET\nS 250 ok\n",
     .outcomes = {"refused 550 RCPT 0.0.0 no"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "pipelined, nobody taken, body wanted",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC DATA\n"
                   "S 250 ok\nS 550 no\nS 354 go\nC .\n",
     .outcomes = {"refused 550 RCPT 0.0.0 no"},
     .need = SMTP_CLIENT_OVER},
    {.name = "DATA refused",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 451 4.7.1 grey\nC RSET\nS 250 ok\n",
     .outcomes = {"busy 451 DATA 4.7.1 grey"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "body refused",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 354 go\n" BODY_SENT "S 550-5.6.0 spam\nS 550 5.6.0 again\n",
     .outcomes = {"refused 550 after the final dot 5.6.0 spam again"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "all at once",
     FROM,
     BODY_TEXT,
     .at_once = true,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = CHUNKED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<z@y.example>\n"
                     "C BDAT 11 LAST\nC Hi\nC .\nC .x\nS 250 a\nS 250 b\nS 550 c\nS 250 d\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 d", "refused 550 RCPT 0.0.0 c"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "all at once, nobody taken",
     FROM,
     BODY_TEXT,
     .at_once = true,
     .rcpts = {"x@y.example"},
     .text = CHUNKED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC BDAT 11 LAST\nC Hi\n"
                     "C .\nC .x\nS 250 a\nS 550 b\nS 503 c\nC RSET\nS 250 ok\n",
     .outcomes = {"refused 550 RCPT 0.0.0 b"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "all at once, lost",
     FROM,
     BODY_TEXT,
     .at_once = true,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = CHUNKED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<z@y.example>\n"
                     "C BDAT 11 LAST\nC Hi\nC .\nC .x\nS 250 a\nS 550 b\nEOF\n",
     .outcomes = {"refused 550 RCPT 0.0.0 b", "doubt 0 after the final dot 0.0.0 closed"},
     .need = SMTP_CLIENT_OVER},
    {.name = "binary in a chunk",
     .body = "a\r\n.\r\n",
     .envelope = {.sender = {"", 0}, .body = BODY_BINARYMIME},
     .rcpts = {"x@y.example"},
     .text = HELLO "S 250-mx\nS 250-CHUNKING\nS 250 BINARYMIME\nBEGIN\n"
                   "C MAIL FROM:<> BODY=BINARYMIME\nS 250 a\nC RCPT TO:<x@y.example>\nS 250 b\n"
                   "C BDAT 6 LAST\nC a\nC .\nS 250 d\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 d"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "421 in the middle",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C RCPT TO:<z@y.example>\nS 421 4.3.2 shutting down\n",
     .outcomes = {"busy 421 RCPT 4.3.2 shutting down", "busy 421 RCPT 4.3.2 shutting down"},
     .need = SMTP_CLIENT_OVER},
    {.name = "lost in the middle",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nEOF\n",
     .outcomes = {"net 0 RCPT 0.0.0 closed"},
     .need = SMTP_CLIENT_OVER},
    {.name = "lost behind the dot",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 354 go\n" BODY_SENT "TIME\n",
     .outcomes = {"doubt 0 after the final dot 0.0.0 no answer (after the final dot)"},
     .need = SMTP_CLIENT_OVER},
    {.name = "nonsense behind the dot",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 354 go\n" BODY_SENT "S +OK\n",
     .outcomes = {"doubt 0 after the final dot 0.0.0 not a reply: +OK"},
     .need = SMTP_CLIENT_OVER},
    {.name = "an answer out of place",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 354 what\n",
     .outcomes = {"net 0 MAIL 0.0.0 an answer out of place: 354 what"},
     .need = SMTP_CLIENT_OVER},
    {.name = "the next server lacks SMTPUTF8",
     .body = "",
     FROM,
     .rcpts = {"\xc3\xa9@y.example", "x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 354 go\nC .\nS 250 ok\n",
     .outcomes = {"refused 0 RCPT 5.6.7 the address is not ASCII and the next server does not "
                  "offer SMTPUTF8",
                  "ok 250 after the final dot 0.0.0 ok"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "UTF-8 and DSN",
     .body = "",
     .envelope = {.sender = {"a@b.example", 11},
                  .body = BODY_8BITMIME,
                  .ret = RET_HDRS,
                  .envid = {"id=1", 4}},
     .rcpts = {"\xc3\xa9@y.example"},
     .text = HELLO "S 250-mx\nS 250-SMTPUTF8\nS 250-8BITMIME\nS 250-DSN\nS 250 SIZE 0\nBEGIN\n"
                   "C MAIL FROM:<a@b.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+3D1\n"
                   "S 250 ok\nC RCPT TO:<\xc3\xa9@y.example>\nS 550 ok\nC RSET\nS 250 ok\n",
     .outcomes = {"refused 550 RCPT 0.0.0 ok"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "too large",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = HELLO "S 250-mx\nS 250 SIZE 10\nBEGIN\n",
     .outcomes = {"refused 0 MAIL 5.3.4 the message is larger than the next server takes (SIZE)",
                  "refused 0 MAIL 5.3.4 the message is larger than the next server takes (SIZE)"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "addresses cannot become commands",
     FROM,
     BODY_TEXT,
     .rcpts = {"a@b\r\nDATA", "a@b> NOTIFY=NEVER", "\"a\x01\"@b", "\"x> SIZE=1 <y\"@d.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\n"
                     "C RCPT TO:<\"x> SIZE=1 <y\"@d.example>\nS 550 no\nC RSET\nS 250 ok\n",
     .outcomes = {"refused 0 RCPT 5.1.3 the address cannot be sent: bad syntax",
                  "refused 0 RCPT 5.1.3 the address cannot be sent: bad syntax",
                  "refused 0 RCPT 5.1.3 the address cannot be sent: bad syntax",
                  "refused 550 RCPT 0.0.0 no"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "speaking while idle",
     .text = HELLO "S 250 mx\nWAIT\nS 421 idle too long\n",
     .outcomes = {"net 0  0.0.0 the server speaks out of turn"},
     .need = SMTP_CLIENT_OVER},
};

static void transactions_end_in_the_right_outcomes(void **state)
{
    PLAY(transactions);
}

#define LIVE .live = true
static const struct script lives[] = {
    {.name = "one by one",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example", "n@y.example", "z@y.example"},
     .text =
         HELLO "S 250-mx\nS 250-PIPELINING\nS 250 SIZE 1000\nBEGIN\n"
               "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nS 250 ok\n"
               "S 250 2.1.5 fine\nSAID 250 2.1.5 fine\n"
               "MORE\nC RCPT TO:<n@y.example>\nS 550-5.1.1 no\nS 550 5.1.1 never\n"
               "SAID 550 5.1.1 no|5.1.1 never\n"
               "MORE\nC RCPT TO:<z@y.example>\nS 250 ok\nSAID 250 ok\n"
               "CONTENT\nC DATA\nS 354 go\n" BODY_SENT "S 250 2.0.0 as 7\nSAID 250 2.0.0 as 7\n",
     .outcomes = {"ok 250 after the final dot 2.0.0 as 7", "refused 550 RCPT 5.1.1 no never",
                  "ok 250 after the final dot 2.0.0 as 7"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "nobody taken",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\n"
                     "S 450 4.2.0 later\nC RSET\nS 250 ok\nSAID 450 4.2.0 later\n",
     .outcomes = {"busy 450 RCPT 4.2.0 later"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "the sender refused, in one flight with the recipient",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\n"
                   "S 553 5.1.8 not you\nS 503 what\nSAID 553 5.1.8 not you\n",
     .outcomes = {"refused 553 MAIL 5.1.8 not you"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "dropped while it holds",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "DROP\nC RSET\nS 250 ok\n",
     .outcomes = {"local 0 RCPT 0.0.0 its client left"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "lost while it holds",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "WAIT\nS 421 idle too long\n",
     .outcomes = {"net 0 RCPT 0.0.0 the server speaks out of turn"},
     .need = SMTP_CLIENT_OVER},
    {.name = "an address that cannot be sent does not end it",
     FROM,
     BODY_TEXT,
     LIVE,
     .rcpts = {"x@y.example", "\xc3\xa9@y.example"},
     .text = CHUNKED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nS 250 ok\nS 250 ok\n"
                     "MORE\nCONTENT\nC DATA\nS 354 go\n" BODY_SENT "EOF\n",
     .outcomes =
         {"doubt 0 after the final dot 0.0.0 closed",
          "refused 0 RCPT 5.6.7 the address is not ASCII and the next server does not offer "
          "SMTPUTF8"},
     .need = SMTP_CLIENT_OVER},
};

static void live_ones_hold_between_their_steps(void **state)
{
    PLAY(lives);
}

#define LMTP .set = {.lmtp = true}
static const struct script lmtp[] = {
    {.name = "an answer for each",
     FROM,
     BODY_TEXT,
     LMTP,
     .rcpts = {"x@y.example", "n@y.example", "z@y.example"},
     .text =
         "S 220 hi\nC LHLO me.example.org\nS 250-l\nS 250 PIPELINING\nBEGIN\n"
         "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<n@y.example>\n"
         "C RCPT TO:<z@y.example>\nC DATA\nS 250 a\nS 250 b\nS 550 c\nS 250 d\nS 354 e\n" BODY_SENT
         "S 250 f\nS 452 4.2.2 full\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 f", "refused 550 RCPT 0.0.0 c",
                  "busy 452 after the final dot 4.2.2 full"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "lost between the answers",
     FROM,
     BODY_TEXT,
     LMTP,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = "S 220 hi\nC LHLO me.example.org\nS 250 l\nBEGIN\nC MAIL FROM:<a@b.example>\nS 250 a\n"
             "C RCPT TO:<x@y.example>\nS 250 b\nC RCPT TO:<z@y.example>\nS 250 c\nC DATA\n"
             "S 354 e\n" BODY_SENT "S 250 f\nEOF\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 f", "doubt 0 after the final dot 0.0.0 closed"},
     .need = SMTP_CLIENT_OVER},
    {.name = "all at once",
     FROM,
     BODY_TEXT,
     LMTP,
     .at_once = true,
     .rcpts = {"x@y.example", "z@y.example"},
     .text = "S 220 hi\nC LHLO me.example.org\nS 250-l\nS 250-PIPELINING\nS 250 CHUNKING\nBEGIN\n"
             "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC RCPT TO:<z@y.example>\n"
             "C BDAT 11 LAST\nC Hi\nC .\nC .x\nS 250 a\nS 250 b\nS 250 c\nS 250 d\nS 250 e\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 d", "ok 250 after the final dot 0.0.0 e"},
     .need = SMTP_CLIENT_IDLE},
    {.name = "no LHLO",
     LMTP,
     .text = "S 220 hi\nC LHLO me.example.org\nS 500 what\n",
     .outcomes = {"refused 500 EHLO 0.0.0 what"},
     .need = SMTP_CLIENT_OVER},
};

static void lmtp_answers_for_each_recipient(void **state)
{
    PLAY(lmtp);
}

#define WANTED   .set = {.tls = SMTP_CLIENT_TLS_WANTED}
#define REQUIRED .set = {.tls = SMTP_CLIENT_TLS_REQUIRED}
#define TLS_MAIL "C MAIL FROM:<a@b.example> SIZE=11\nEOF\n"
static const struct script sessions[] = {
    {.name = "no greeting",
     .text = "TIME\n",
     .outcomes = {"net 0 waiting for the greeting 0.0.0 no answer (waiting for the greeting)"},
     .need = SMTP_CLIENT_OVER},
    {.name = "another protocol",
     .text = "S HTTP/1.1 400 Bad Request\n",
     .outcomes = {"net 0 waiting for the greeting 0.0.0 not a reply: HTTP/1.1 400 Bad Request"},
     .need = SMTP_CLIENT_OVER},
    {.name = "554 greeting",
     .text = "S 554 5.7.1 your address is listed\n",
     .outcomes = {"refused 554 waiting for the greeting 5.7.1 your address is listed"},
     .need = SMTP_CLIENT_OVER},
    {.name = "421 greeting",
     .text = "S 421 too many\n",
     .outcomes = {"busy 421 waiting for the greeting 0.0.0 too many"},
     .need = SMTP_CLIENT_OVER},
    {.name = "HELO",
     .text = HELLO "S 502 what\nC HELO me.example.org\nS 250 ok\n",
     .need = SMTP_CLIENT_IDLE},
    {.name = "HELO will not do",
     REQUIRED,
     .text = HELLO "S 502 what\n",
     .outcomes = {"refused 502 EHLO 0.0.0 what"},
     .need = SMTP_CLIENT_OVER},
    {.name = "EHLO later",
     .text = HELLO "S 450 later\n",
     .outcomes = {"busy 450 EHLO 0.0.0 later"},
     .need = SMTP_CLIENT_OVER},
    {.name = "what is said in clear is forgotten",
     WANTED,
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text =
         HELLO "S 250-mx\nS 250-SIZE 1\nS 250-PIPELINING\nS 250 STARTTLS\nC STARTTLS\n"
               "S 220 go\nTLS\nC EHLO me.example.org\nS 250-mx\nS 250 SIZE 1000\nBEGIN\n" TLS_MAIL,
     .outcomes = {"net 0 MAIL 0.0.0 closed"},
     .need = SMTP_CLIENT_OVER},
    {.name = "wanted, not offered", WANTED, .text = HELLO "S 250 mx\n", .need = SMTP_CLIENT_IDLE},
    {.name = "wanted, refused",
     WANTED,
     .text = HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 454 no\n",
     .need = SMTP_CLIENT_IDLE},
    {.name = "required, not offered",
     REQUIRED,
     .text = HELLO "S 250 mx\n",
     .outcomes = {"tls 0 TLS handshake 0.0.0 TLS is required and the server offers no STARTTLS"},
     .need = SMTP_CLIENT_OVER},
    {.name = "required, refused",
     REQUIRED,
     .text = HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 454 4.7.0 no\n",
     .outcomes = {"tls 454 TLS handshake 4.7.0 no"},
     .need = SMTP_CLIENT_OVER},
    {.name = "bad certificate",
     REQUIRED,
     .text = HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nBADTLS\n",
     .outcomes = {"tls 0 TLS handshake 0.0.0 certificate expired"},
     .need = SMTP_CLIENT_OVER},
    {.name = "injected behind STARTTLS",
     WANTED,
     .text = HELLO "S 250-mx\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nS 250-evil\n"
                   "S 250-AUTH PLAIN\nS 250 X\n",
     .outcomes = {"tls 0 TLS handshake 0.0.0 the server sent more than its reply to STARTTLS"},
     .need = SMTP_CLIENT_OVER},
};

static void sessions_are_opened_or_fail_for_a_reason(void **state)
{
    PLAY(sessions);
}

#define USER                                                                                       \
    .set = {.tls = SMTP_CLIENT_TLS_OFF, .covered = true, .user = "ali", .password = "sesame"}
#define NO_COVER .set = {.user = "ali", .password = "sesame"}
static const struct script logins[] = {
    {.name = "PLAIN",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH LOGIN PLAIN\nC AUTH PLAIN AGFsaQBzZXNhbWU=\n"
                   "S 235 2.7.0 welcome\n",
     .need = SMTP_CLIENT_IDLE},
    {.name = "LOGIN",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH=LOGIN\nC AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC YWxp\n"
                   "S 334 UGFzc3dvcmQ6\nC c2VzYW1l\nS 235 ok\n",
     .need = SMTP_CLIENT_IDLE},
    {.name = "refused",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH PLAIN LOGIN\nC AUTH PLAIN AGFsaQBzZXNhbWU=\n"
                   "S 535 5.7.8 wrong\n",
     .outcomes = {"auth 535 logging in 5.7.8 wrong"},
     .need = SMTP_CLIENT_OVER},
    {.name = "later",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH PLAIN\nC AUTH PLAIN AGFsaQBzZXNhbWU=\nS 454 4.7.0 db\n",
     .outcomes = {"auth 454 logging in 4.7.0 db"},
     .need = SMTP_CLIENT_OVER},
    {.name = "endless challenges",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH LOGIN\nC AUTH LOGIN\nS 334 \nC YWxp\nS 334 \n"
                   "C c2VzYW1l\nS 334 \n",
     .outcomes = {"auth 0 logging in 0.0.0 the server asks for more than the login has to say"},
     .need = SMTP_CLIENT_OVER},
    {.name = "no login offered",
     USER,
     .text = HELLO "S 250 mx\n",
     .outcomes = {"auth 0 logging in 0.0.0 the server offers no login (AUTH)"},
     .need = SMTP_CLIENT_OVER},
    {.name = "only unknown ways",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH GSSAPI NTLM\n",
     .outcomes = {"auth 0 logging in 0.0.0 the server offers no way to log in that is known here, "
                  "only GSSAPI NTLM"},
     .need = SMTP_CLIENT_OVER},
    {.name = "never in clear",
     NO_COVER,
     .text = HELLO "S 250-mx\nS 250 AUTH PLAIN\n",
     .outcomes = {"auth 0 logging in 0.0.0 the password is not sent without TLS; the server "
                  "offers PLAIN"},
     .need = SMTP_CLIENT_OVER},
    {.name = "never in clear, STARTTLS stripped",
     .set = {.tls = SMTP_CLIENT_TLS_WANTED, .user = "ali", .password = "sesame"},
     .text = HELLO "S 250-mx\nS 250-STARTTLS\nS 250 AUTH PLAIN\nC STARTTLS\nS 454 no\n",
     .outcomes = {"auth 0 logging in 0.0.0 the password is not sent without TLS; the server "
                  "offers PLAIN"},
     .need = SMTP_CLIENT_OVER},
    {.name = "in clear by word",
     .set = {.user = "ali", .password = "sesame", .auth_in_clear = true},
     .text = HELLO "S 250-mx\nS 250 AUTH PLAIN\nC AUTH PLAIN AGFsaQBzZXNhbWU=\nS 235 ok\n",
     .need = SMTP_CLIENT_IDLE},
};

static void nothing_is_sent_without_the_login(void **state)
{
    PLAY(logins);
}

// What stands in one piece behind the reply owed came before the next command. (In pieces it cannot
// be told from an answer.)
static const struct script early[] = {
    {.name = "behind the greeting",
     .text = "S 220 hi\nS 250 mx\n",
     .outcomes = {"net 0 waiting for the greeting 0.0.0 the server speaks out of turn"},
     .need = SMTP_CLIENT_OVER},
    {.name = "a login answered before it is asked for",
     USER,
     .text = HELLO "S 250-mx\nS 250 AUTH PLAIN\nS 235 ok\n",
     .outcomes = {"net 0 EHLO 0.0.0 the server speaks out of turn"},
     .need = SMTP_CLIENT_OVER},
    {.name = "a verdict on the body ahead of the body",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PIPED "C MAIL FROM:<a@b.example>\nC RCPT TO:<x@y.example>\nC DATA\n"
                   "S 250 a\nS 250 b\nS 354 c\nS 250 d\n",
     .outcomes = {"net 0 DATA 0.0.0 the server speaks out of turn"},
     .need = SMTP_CLIENT_OVER},
    {.name = "one answer too many",
     FROM,
     BODY_TEXT,
     .rcpts = {"x@y.example"},
     .text = PLAINLY "C MAIL FROM:<a@b.example>\nS 250 ok\nC RCPT TO:<x@y.example>\nS 250 ok\n"
                     "C DATA\nS 354 go\n" BODY_SENT "S 250 done\nS 250 ok\n",
     .outcomes = {"ok 250 after the final dot 0.0.0 done"},
     .need = SMTP_CLIENT_OVER},
};

static void answers_before_the_question_end_the_connection(void **state)
{
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++)
        play(&early[i], 100000);
}

static void a_failed_handshake_may_be_tried_in_clear_only_when_tls_was_wanted(void **state)
{
    static const struct {
        struct smtp_client_settings set;
        bool may;
    } rows[] = {
        {{.tls = SMTP_CLIENT_TLS_WANTED}, true},
        {{.tls = SMTP_CLIENT_TLS_REQUIRED}, false},
        {{.tls = SMTP_CLIENT_TLS_WANTED, .user = "u", .password = "p"}, false},
        {{.tls = SMTP_CLIENT_TLS_WANTED, .user = "u", .password = "p", .auth_in_clear = true},
         true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct run r = {0};
        struct smtp_client_settings set = rows[i].set;
        buf_init(&r.said, 1000);
        set.write = on_write;
        set.ctx = &r;
        set.helo = "me";
        smtp_client_init(&r.c, &set);
        smtp_client_feed(&r.c, "220 x\r\n", 7);
        smtp_client_feed(&r.c, "250-x\r\n250 STARTTLS\r\n", 21);
        smtp_client_feed(&r.c, "220 x\r\n", 7);
        assert_int_equal(smtp_client_need(&r.c), SMTP_CLIENT_TLS);
        smtp_client_lost(&r.c, SMTP_LOST_TLS, "no common version");
        assert_int_equal(smtp_client_may_go_clear(&r.c), rows[i].may);
        buf_free(&r.said);
        smtp_client_free(&r.c);
    }
}

// Every dot line at every cut.
static void dots_are_stuffed_wherever_the_slices_end(void **state)
{
    static const char body[] = ".\r\n..\r\na.b\r\n.\r\n\r\n.x\r\n...\r\nend.";
    static const char wire[] = "..\r\n...\r\na.b\r\n..\r\n\r\n..x\r\n....\r\nend.\r\n.\r\n";
    struct run r = {0};
    buf_init(&r.said, 1000);
    for (size_t slice = 1; slice <= sizeof(body); slice++) {
        struct smtp_stuff stuff = {.write = on_write, .ctx = &r};
        for (size_t at = 0; at < sizeof(body) - 1; at += slice)
            smtp_stuff_feed(&stuff, body + at,
                            sizeof(body) - 1 - at < slice ? sizeof(body) - 1 - at : slice);
        smtp_stuff_end(&stuff);
        assert_string_equal(buf_cstr(&r.said), wire);
        buf_clear(&r.said);
    }
    buf_free(&r.said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_end_in_the_right_outcomes),
        cmocka_unit_test(live_ones_hold_between_their_steps),
        cmocka_unit_test(lmtp_answers_for_each_recipient),
        cmocka_unit_test(sessions_are_opened_or_fail_for_a_reason),
        cmocka_unit_test(nothing_is_sent_without_the_login),
        cmocka_unit_test(answers_before_the_question_end_the_connection),
        cmocka_unit_test(a_failed_handshake_may_be_tried_in_clear_only_when_tls_was_wanted),
        cmocka_unit_test(dots_are_stuffed_wherever_the_slices_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
