// SPDX-License-Identifier: ISC
// Dialogues with the server machine as tables, each fed whole, byte by byte, cut at every place,
// and with late answers: what comes out must not depend on it.
#include "proto/smtp_server.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

// The owner: keeps a diary of what it was told.
struct owner {
    struct smtp_server *s;
    struct buf diary, out;
    bool late;   // answers come later
    int verdict; // of the answer under way, 0 = none
    struct smtp_server_reply reply;
    size_t body;
};

static int answer(struct owner *o, int verdict, const struct smtp_server_reply *reply)
{
    if (!o->late)
        return verdict;
    o->verdict = verdict;
    o->reply = *reply;
    return 0;
}

static int on_mail(void *ctx, const struct smtp_server_mail *mail, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    buf_printf(&o->diary, "mail<%s>", mail->sender->text);
    if (mail->params->has_size)
        buf_printf(&o->diary, "size%llu", (unsigned long long)mail->params->size);
    if (mail->params->hold_s != 0)
        buf_printf(&o->diary, "for%u", mail->params->hold_s);
    if (mail->params->hold_until_ms != 0)
        buf_printf(&o->diary, "until%lld", (long long)mail->params->hold_until_ms);
    if (mail->params->envid[0] != '\0')
        buf_printf(&o->diary, "envid(%s)", mail->params->envid);
    if (str_istarts(address_str(mail->sender), STR("never"))) {
        smtp_server_reply_set(reply, 550, "5.7.1", "not you");
        return answer(o, -1, reply);
    }
    return answer(o, 1, reply);
}

static int on_rcpt(void *ctx, const struct smtp_server_rcpt *rcpt, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    if (str_istarts(address_str(rcpt->address), STR("never"))) {
        smtp_server_reply_set(reply, 550, "5.1.1", "no such user");
        return answer(o, -1, reply);
    }
    buf_printf(&o->diary, "rcpt<%s>%s", rcpt->address->text, rcpt->params->orcpt);
    return answer(o, 1, reply);
}

static int on_begin(void *ctx, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    buf_puts(&o->diary, "begin{");
    o->body = 0;
    return answer(o, 1, reply);
}

static int on_data(void *ctx, const char *bytes, size_t len, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    buf_append(&o->diary, bytes, len);
    o->body += len;
    return answer(o, 1, reply);
}

static int on_end(void *ctx, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    buf_puts(&o->diary, "}end;");
    return answer(o, 1, reply);
}

static void on_abort(void *ctx)
{
    struct owner *o = ctx;
    buf_puts(&o->diary, "!abort;");
}

static int on_starttls(void *ctx, struct smtp_server_reply *reply)
{
    return answer(ctx, 1, reply);
}

static int on_auth(void *ctx, const char *user, const char *password,
                   struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    buf_printf(&o->diary, "auth(%s,%s)", user, password);
    if (strcmp(password, "right") == 0)
        return answer(o, 1, reply);
    smtp_server_reply_set(reply, 535, "5.7.8", "wrong");
    return answer(o, -1, reply);
}

static const struct smtp_server_ops ops = {on_mail, on_rcpt,  on_begin,    on_data,
                                           on_end,  on_abort, on_starttls, on_auth};

static const struct smtp_server_settings plain = {
    .hostname = "mx.test", .message_size = 1000, .recipients = 3, .tls_offered = true};
static const struct smtp_server_settings lmtp = {
    .hostname = "mx.test", .message_size = 1000, .recipients = 3, .lmtp = true};
static const struct smtp_server_settings login = {.hostname = "mx.test",
                                                  .message_size = 1000,
                                                  .recipients = 3,
                                                  .auth_offered = true,
                                                  .auth_required = true,
                                                  .auth_in_clear = true};
static const struct smtp_server_settings covered = {.hostname = "mx.test",
                                                    .message_size = 1000,
                                                    .recipients = 3,
                                                    .tls_offered = true,
                                                    .tls_required = true,
                                                    .auth_offered = true};

static const struct smtp_server_settings keeping = {.hostname = "mx.test",
                                                    .message_size = 1000,
                                                    .recipients = 3,
                                                    .hold_max_s = 86400,
                                                    .hold_until_max_ms = 1795252020000};

static void owner_open(struct owner *o, const struct smtp_server_settings *settings, bool late)
{
    memset(o, 0, sizeof(*o));
    buf_init(&o->diary, 4 << 20);
    buf_init(&o->out, 1 << 20);
    o->late = late;
    o->s = smtp_server_new(settings, &ops, o);
    smtp_server_greet(o->s, &o->out);
    buf_clear(&o->out);
}

static void owner_close(struct owner *o)
{
    smtp_server_free(&o->s);
    buf_free(&o->diary);
    buf_free(&o->out);
}

// Feeds in[0, upto), of which *pos is taken already, until nothing moves any more.
static void feed(struct owner *o, struct str in, size_t upto, size_t *pos)
{
    for (;;) {
        if (o->verdict != 0) {
            int verdict = o->verdict;
            o->verdict = 0;
            smtp_server_answer(o->s, verdict, &o->reply, &o->out);
        }
        size_t taken = smtp_server_input(o->s, in.ptr + *pos, upto - *pos, &o->out);
        assert_true(taken <= upto - *pos);
        *pos += taken;
        if (taken == 0 && o->verdict == 0)
            return;
    }
}

struct dialogue {
    const char *name;
    const struct smtp_server_settings *settings;
    struct str in;
    const char *out; // codes and the first words are enough: each line must begin so, one a line
    const char *diary;
};

static void check(const struct dialogue *d, struct owner *o, const char *how)
{
    struct str expected = str_of(d->out), got = buf_str(&o->out), want, line;
    while (str_split(&expected, '\n', &want)) {
        bool more = str_split(&got, '\n', &line);
        if (!more || !str_starts(line, want))
            fail_msg("%s (%s): expected '%.*s', got '%.*s' in\n%s", d->name, how, STR_FMT(want),
                     STR_FMT(line), buf_cstr(&o->out));
    }
    if (got.len > 0)
        fail_msg("%s (%s): more than expected: %.*s", d->name, how, STR_FMT(got));
    if (d->diary != NULL && strcmp(buf_cstr(&o->diary), d->diary) != 0)
        fail_msg("%s (%s): diary is\n%s\nnot\n%s", d->name, how, buf_cstr(&o->diary), d->diary);
}

static void run_cut(const struct dialogue *d, size_t cut, bool bytewise, bool late)
{
    struct owner o;
    owner_open(&o, d->settings, late);
    size_t pos = 0;
    if (bytewise) {
        for (size_t upto = 1; upto <= d->in.len; upto++)
            feed(&o, d->in, upto, &pos);
    } else {
        feed(&o, d->in, cut, &pos);
        feed(&o, d->in, d->in.len, &pos);
    }
    char how[64];
    snprintf(how, sizeof(how), "%s%s %zu", bytewise ? "bytewise" : "cut", late ? " late" : "", cut);
    smtp_server_free(&o.s); // an open transaction is aborted, which the diary shows
    check(d, &o, how);
    owner_close(&o);
}

static void run_all(const struct dialogue *d)
{
    for (int late = 0; late < 2; late++) {
        run_cut(d, 0, true, late != 0);
        for (size_t cut = 0; cut <= d->in.len; cut++)
            run_cut(d, cut, false, late != 0);
    }
}

#define GO "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define EHLO_OUT                                                                                   \
    "250-mx.test\n250-PIPELINING\n250-SIZE 1000\n250-8BITMIME\n250-BINARYMIME\n250-CHUNKING\n"     \
    "250-SMTPUTF8\n250-DSN\n250-MT-PRIORITY\n250-LIMITS MAILMAX=100000 RCPTMAX=3\n"
#define EHLO_PLAIN EHLO_OUT "250-STARTTLS\n250 ENHANCEDSTATUSCODES\n"
#define GO_OUT     EHLO_PLAIN "250 2.1.0\n250 2.1.5\n"
#define GO_SEEN    "mail<a@b>rcpt<c@d>"

static const struct dialogue dialogues[] = {
    {"plain", &plain, STR(GO "DATA\r\nSubject: x\r\n\r\nhi\r\n..dot\r\n...\r\n.\r\nQUIT\r\n"),
     GO_OUT "354\n250 2.0.0\n221\n", GO_SEEN "begin{Subject: x\r\n\r\nhi\r\n.dot\r\n..\r\n}end;"},
    {"empty message", &plain, STR(GO "DATA\r\n.\r\nNOOP\r\n"), GO_OUT "354\n250\n250\n",
     GO_SEEN "begin{}end;"},
    {"two messages", &plain,
     STR(GO "DATA\r\n1\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n2\r\n.\r\n"),
     GO_OUT "354\n250\n250 2.1.0\n250 2.1.5\n354\n250\n",
     GO_SEEN "begin{1\r\n}end;mail<>rcpt<postmaster>begin{2\r\n}end;"},
    {"helo", &plain, STR("HELO c\r\nhelp\r\nvrfy x\r\nEXPN l\r\nNOOP 1\r\nfoo\r\n\r\n"),
     "250 mx.test\n214\n252\n502\n250\n500 5.5.1\n500 5.5.1\n", ""},
    {"order", &plain,
     STR("MAIL FROM:<a@b>\r\nEHLO c\r\nRCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<x@y>"
         "\r\nDATA\r\nRSET\r\nRSET 1\r\n"),
     "503 5.5.1\n" EHLO_PLAIN "503\n503\n250\n503\n554 5.5.1\n250\n501\n", "mail<a@b>!abort;"},
    {"greeting", &plain,
     STR("EHLO\r\nEHLO \x1b[2J\r\nEHLO x) (y\r\nEHLO caf\xc3\xa9\r\nLHLO x\r\nHELO "
         "[127.0.0.1]\r\n"),
     "501\n500\n501\n501\n500\n250\n", ""},
    {"ehlo resets", &plain, STR(GO "HELO c\r\nDATA\r\n"), GO_OUT "250 mx.test\n503\n",
     GO_SEEN "!abort;"},
    {"refusals", &plain,
     STR("EHLO c\r\nMAIL FROM:<never@b>\r\nRCPT TO:<c@d>\r\nMAIL FROM:<a@b>\r\nRCPT "
         "TO:<never@d>\r\n"
         "RCPT TO:<c@d>\r\nRCPT TO:<never@d>\r\nDATA\r\nx\r\n.\r\n"),
     EHLO_PLAIN "550 5.7.1\n503\n250\n550 5.1.1\n250\n550\n354\n250\n",
     "mail<never@b>mail<a@b>rcpt<c@d>begin{x\r\n}end;"},
    {"recipients", &plain, STR(GO "RCPT TO:<2@d>\r\nRCPT TO:<3@d>\r\nRCPT TO:<4@d>\r\nRSET\r\n"),
     GO_OUT "250\n250\n452 4.5.3\n250\n", GO_SEEN "rcpt<2@d>rcpt<3@d>!abort;"},
    {"parameters", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b> SIZE=1001\r\nMAIL FROM:<a@b> SIZE=18446744073709551617\r\n"
         "MAIL FROM:<a@b> SIZE=-1\r\nMAIL FROM:<a@b> SIZE=abc\r\nMAIL FROM:<a@b> SIZE=1 SIZE=1\r\n"
         "MAIL FROM:<a@b> FOO=1\r\nMAIL FROM:<a@b> BODY=9BIT\r\nMAIL FROM:<a@b> ENVID=a+0D+0Ab\r\n"
         "MAIL FROM:<a@b> SMTPUTF8=1\r\n"
         "mail from: <a@b>  size=1000 body=8bitmime ret=hdrs envid=x+2By auth=<> mt-priority=-3\r\n"
         "RCPT TO:<c@d> NOTIFY=NEVER,DELAY\r\nRCPT TO:<c@d> ORCPT=rfc822;x+0D+0AX-Inj:+20y\r\n"
         "rcpt to:<c@d> notify=success,delay orcpt=rfc822;x+2By@z\r\n"),
     EHLO_PLAIN
     "552 5.3.4\n552 5.3.4\n501 5.5.4\n501\n501\n555\n501\n501\n501\n250\n501\n501\n250\n",
     "mail<a@b>size1000envid(x+y)rcpt<c@d>rfc822;x+y@z!abort;"},
    {"future release", &keeping,
     STR("EHLO c\r\nMAIL FROM:<a@b> HOLDFOR=86401\r\nMAIL FROM:<a@b> HOLDFOR=0\r\n"
         "MAIL FROM:<a@b> HOLDFOR=0000000001\r\nMAIL FROM:<a@b> HOLDFOR=-1\r\n"
         "MAIL FROM:<a@b> HOLDFOR\r\nMAIL FROM:<a@b> HOLDUNTIL=tomorrow\r\n"
         "MAIL FROM:<a@b> HOLDFOR=1 HOLDUNTIL=2026-11-21T09:07:00Z\r\n"
         "MAIL FROM:<a@b> holduntil=2026-11-21T09:07:00Z holdfor=1\r\n"
         "MAIL FROM:<a@b> HOLDFOR=1 HOLDFOR=1\r\nMAIL FROM:<a@b> holdfor=86400\r\nRSET\r\n"
         "MAIL FROM:<a@b> HOLDUNTIL=2026-11-21T10:07:00+01:00\r\n"),
     EHLO_OUT "250-FUTURERELEASE 86400 2026-11-21T09:07:00Z\n250 ENHANCEDSTATUSCODES\n"
              "501 5.5.4\n501 5.5.4\n501\n501\n501\n501\n501\n501\n501\n250\n250\n250\n",
     "mail<a@b>for86400!abort;mail<a@b>until1795252020000!abort;"},
    {"no future release", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b> HOLDFOR=1\r\n"
         "MAIL FROM:<a@b> HOLDUNTIL=2026-11-21T09:07:00Z\r\n"),
     EHLO_PLAIN "555 5.5.4\n555 5.5.4\n", ""},
    {"utf8", &plain,
     STR("EHLO c\r\nMAIL FROM:<\xc3\xa9@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<\xc3\xa9@b>\r\nRSET\r\n"
         "MAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\nRCPT TO:<\xc3\xa9@b>\r\nRCPT TO:<\xc3\x28@b>\r\n"),
     EHLO_PLAIN "553 5.6.7\n250\n553 5.6.7\n250\n250\n250\n501\n",
     "mail<a@b>!abort;mail<\xc3\xa9@b>rcpt<\xc3\xa9@b>!abort;"},
    {"controls", &plain,
     STR("EHLO c\r\nMAIL FROM:<a\rb@b>\r\nMAIL FROM:<a\0@b>\r\nMAIL FROM:<a\x7f@b>\r\nNOOP\n"
         "MAIL FROM:<a@b>\nNOOP\r\n"),
     EHLO_PLAIN "500 5.5.2\n500 5.5.2\n500 5.5.2\n500 5.5.2\n500 5.5.2\n250\n", ""},
    {"body after a refused data", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<never@d>\r\nDATA\r\nSubject: x\r\n\r\n"
         "MAIL FROM:<smug@x>\r\n.\r\n"),
     EHLO_PLAIN "250\n550\n554 5.5.1\n554 5.5.0\n", "mail<a@b>!abort;"},
    {"commands after a refused data", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<never@d>\r\nDATA\r\nRSET\r\nQUIT\r\n"),
     EHLO_PLAIN "250\n550\n554 5.5.1\n250\n221\n", "mail<a@b>!abort;"},
    {"http", &plain, STR("POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO c\r\n"), "554 5.5.1\n", ""},
    {"http by a rare method", &plain, STR("PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\nEHLO c\r\n"),
     "554 5.5.1\n", ""},
    {"tls hello", &plain, STR("\x16\x03\x01\x02\x00\x01\x00\n"), "554 5.5.1\n", ""},
    {"starttls", &plain, STR("EHLO c\r\nSTARTTLS x\r\nSTARTTLS\r\n"), EHLO_PLAIN "501\n220\n", ""},
    {"no starttls", &lmtp, STR("STARTTLS\r\nEHLO x\r\n"), "502\n500\n", ""},
    {"commands behind quit", &plain, STR("QUIT\r\nEHLO c\r\n"), "221\n", ""},
    {"cut off", &plain, STR(GO "DATA\r\nhalf"), GO_OUT "354\n", GO_SEEN "begin{half!abort;"},

    // BDAT
    {"bdat", &plain, STR(GO "BDAT 4\r\na\r\nbBDAT 3 LAST\r\n\r\n.BDAT 0\r\n"),
     GO_OUT "250 2.0.0 chunk\n250 2.0.0 accepted\n503\n", GO_SEEN "begin{a\r\nb\r\n.\r\n}end;"},
    {"bdat 0 last", &plain, STR(GO "BDAT 3\r\na\r\nBDAT 0 LAST\r\n"), GO_OUT "250\n250\n",
     GO_SEEN "begin{a\r\n}end;"},
    {"bdat of nothing", &plain, STR(GO "BDAT 0 LAST\r\nNOOP\r\n"), GO_OUT "250\n250\n",
     GO_SEEN "begin{}end;"},
    {"bdat holding a dialogue", &plain,
     STR(GO "BDAT 28 LAST\r\n\r\n.\r\nMAIL FROM:<smug@x>\r\n123NOOP\r\n"), GO_OUT "250\n250\n",
     GO_SEEN "begin{\r\n.\r\nMAIL FROM:<smug@x>\r\n123\r\n}end;"},
    {"bdat before mail", &plain,
     STR("EHLO c\r\nBDAT 24 LAST\r\nMAIL FROM:<a@b>\r\nxxxxx\r\nNOOP\r\n"),
     EHLO_PLAIN "503 5.5.1\n250\n", ""},
    {"bdat before ehlo", &plain, STR("BDAT 6\r\nNOOP\r\nNOOP\r\n"), "503 5.5.1\n250\n", ""},
    {"bdat without recipients", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<never@d>\r\nBDAT 6\r\nNOOP\r\nBDAT 6 "
         "LAST\r\nQUIT\r\n"
         "NOOP\r\n"),
     EHLO_PLAIN "250\n550\n554 5.5.1\n503\n250\n", "mail<a@b>!abort;"},
    {"bdat sizes", &plain, STR("EHLO c\r\nBDAT -1\r\nNOOP\r\n"), EHLO_PLAIN "501 5.5.4\n", ""},
    {"bdat 2^64", &plain, STR(GO "BDAT 18446744073709551616 LAST\r\nNOOP\r\n"),
     GO_OUT "501 5.5.4\n", GO_SEEN "!abort;"},
    {"bdat huge", &plain, STR(GO "BDAT 4294967296000000 LAST\r\nNOOP\r\n"),
     GO_OUT "552 5.3.4\n421\n", GO_SEEN "!abort;"},
    {"bdat 2^64-1 after a chunk", &plain,
     STR(GO "BDAT 2\r\n\r\nBDAT 18446744073709551615 LAST\r\nNOOP\r\n"),
     GO_OUT "250\n552 5.3.4\n421\n", GO_SEEN "begin{\r\n!abort;"},
    {"nothing between chunks", &plain,
     STR(GO "BDAT 2\r\n\r\nDATA\r\nRCPT TO:<x@y>\r\nMAIL FROM:<x@y>\r\nNOOP\r\nRSET\r\n"),
     GO_OUT "250\n503\n503\n503\n250\n250\n", GO_SEEN "begin{\r\n!abort;"},
    {"binarymime needs bdat", &plain,
     STR("EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\nBDAT 4 LAST\r\n"
         "\n\r.\x01NOOP\r\n"),
     EHLO_PLAIN "250\n250\n503\n250\n250\n", GO_SEEN "begin{\n\r.\x01}end;"},
    {"bdat with bare lf", &plain, STR(GO "BDAT 3\r\na\nbBDAT 2 LAST\r\n\r\nNOOP\r\n"),
     GO_OUT "550 5.6.11\n503\n250\n", NULL},
    {"bdat with bare cr at its end", &plain, STR(GO "BDAT 2 LAST\r\na\rNOOP\r\n"),
     GO_OUT "550 5.6.11\n250\n", GO_SEEN "begin{a\r!abort;"},
    {"the gravest is said", &plain, STR(GO "DATA\r\na\0\r\nb\nc\r\n.\r\n"),
     GO_OUT "354\n550 5.6.11\n", NULL},
    {"nul", &plain, STR(GO "DATA\r\na\0\r\n.\r\n"), GO_OUT "354\n550 5.6.0\n", NULL},
    {"crlf across chunks", &plain, STR(GO "BDAT 2\r\na\rBDAT 1 LAST\r\n\n"), GO_OUT "250\n250\n",
     GO_SEEN "begin{a\r\n}end;"},

    // LMTP
    {"lmtp", &lmtp,
     STR("HELO c\r\nLHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nx\r\n"
         ".\r\nNOOP\r\n"),
     "500\n" EHLO_OUT "250 ENH\n250\n250\n250\n354\n250 2.0.0\n250 2.0.0\n250\n",
     "mail<a@b>rcpt<c@d>rcpt<e@f>begin{x\r\n}end;"},
    {"lmtp refusal", &lmtp,
     STR("LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nx\n\r\n"
         ".\r\nNOOP\r\n"),
     EHLO_OUT "250 ENH\n250\n250\n250\n354\n550 5.6.11\n550 5.6.11\n250\n", NULL},

    // AUTH
    {"auth plain", &login,
     STR("EHLO c\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AHUAd3Jvbmc=\r\nAUTH PLAIN\r\nAHUAcmlnaHQ=\r\n"
         "AUTH PLAIN AHUAcmlnaHQ=\r\nMAIL FROM:<a@b>\r\n"),
     EHLO_OUT "250-AUTH PLAIN LOGIN\n250 ENH\n530 5.7.0\n535 5.7.8\n334 \n235 2.7.0\n503\n250\n",
     "auth(u,wrong)auth(u,right)mail<a@b>!abort;"},
    {"auth login", &login,
     STR("EHLO c\r\nAUTH LOGIN\r\ndQ==\r\nd3Jvbmc=\r\nAUTH LOGIN dQ==\r\ncmlnaHQ=\r\nNOOP\r\n"),
     EHLO_OUT "250-AUTH PLAIN LOGIN\n250 ENH\n334 VXN\n334 UGF\n535\n334 UGF\n235\n250\n",
     "auth(u,wrong)auth(u,right)"},
    {"auth trouble", &login,
     STR("AUTH PLAIN =\r\nEHLO c\r\nAUTH\r\nAUTH CRAM-MD5\r\nAUTH PLAIN\r\n*\r\nAUTH PLAIN =\r\n"
         "AUTH PLAIN AAA\r\nAUTH PLAIN AHUA\r\nAUTH LOGIN =\r\nAUTH PLAIN eAB1AHJpZ2h0\r\n"
         "AUTH PLAIN\r\nAHUAcmlnaHQ=\nNOOP\r\n"),
     "503\n" EHLO_OUT
     "250-AUTH PLAIN LOGIN\n250 ENH\n504\n504\n334\n501 5.7.0\n501\n501\n501\n501\n"
     "501\n334\n500 5.5.2\n250\n",
     ""},
    {"auth only covered", &covered, STR("EHLO c\r\nAUTH PLAIN AHUAcmlnaHQ=\r\nMAIL FROM:<a@b>\r\n"),
     EHLO_PLAIN "538\n530 5.7.0\n", ""},
};

static void test_dialogues(void **state)
{
    for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++)
        run_all(&dialogues[i]);
}

// Ends of data that are none (reliability: inbound smuggling). Each is followed by a whole second
// message and the real end; there must never be a second message.
static const struct str not_ends[] = {
    STR("\n.\n"),         STR("\n.\r\n"),     STR("\r\n.\n"),       STR("\r.\r"),
    STR("\r.\r\n"),       STR("\r\n.\r"),     STR("\n.\r"),         STR("\r.\n"),
    STR("\r\r\n.\r\r\n"), STR("\r\n\0.\r\n"), STR("\r\n.\0\r\n"),   STR("\r\n.\r\r\n"),
    STR("\n\n.\r\n"),     STR("\r\n.\r\0\n"), STR("\r\n..\n.\r\n"),
};
static const struct str harmless_ends[] = {STR("\r\n. \r\n"), STR("\x0b.\x0b"),
                                           STR("\xc2\x85.\xc2\x85"), STR("\x1a\r\n.\x1a\r\n")};

static void smuggle(struct str seq, bool refused)
{
    struct buf in;
    buf_init(&in, 4096);
    buf_puts(&in, GO "DATA\r\nhello");
    buf_add(&in, seq);
    buf_puts(&in, "MAIL FROM:<smug@x>\r\nRCPT TO:<v@x>\r\nDATA\r\nevil\r\n.\r\nNOOP\r\n");
    struct dialogue d = {"smuggling", &plain, buf_str(&in),
                         refused ? GO_OUT "354\n550 5.6\n250\n" : GO_OUT "354\n250\n250\n", NULL};
    run_all(&d);
    struct owner o;
    owner_open(&o, &plain, false);
    size_t pos = 0;
    feed(&o, d.in, d.in.len, &pos);
    assert_null(strstr(buf_cstr(&o.diary), "mail<smug"));
    assert_true((strstr(buf_cstr(&o.diary), "end;") == NULL) == refused);
    owner_close(&o);
    buf_free(&in);
}

static void test_smuggling(void **state)
{
    for (size_t i = 0; i < sizeof(not_ends) / sizeof(not_ends[0]); i++)
        smuggle(not_ends[i], true);
    for (size_t i = 0; i < sizeof(harmless_ends) / sizeof(harmless_ends[0]); i++)
        smuggle(harmless_ends[i], false);
}

static void test_starttls_injection(void **state)
{
    struct owner o;
    owner_open(&o, &plain, false);
    struct str in = STR("EHLO c\r\nSTARTTLS\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n");
    size_t pos = 0;
    feed(&o, in, in.len, &pos);
    assert_true(smtp_server_closed(o.s));
    assert_non_null(strstr(buf_cstr(&o.out), "554 5.5.0"));
    assert_string_equal(buf_cstr(&o.diary), "");
    owner_close(&o);
}

// Everything from before TLS is forgotten, and STARTTLS is no longer offered.
static void test_starttls(void **state)
{
    struct owner o;
    owner_open(&o, &covered, false);
    struct str in = STR("EHLO c\r\nSTARTTLS\r\n");
    size_t pos = 0;
    feed(&o, in, in.len, &pos);
    assert_int_equal(smtp_server_input(o.s, "NOOP\r\n", 6, &o.out), 0);
    smtp_server_tls_ready(o.s);
    assert_string_equal(smtp_server_helo(o.s), "");
    buf_clear(&o.out);
    in = STR(
        "MAIL FROM:<a@b>\r\nEHLO c\r\nSTARTTLS\r\nAUTH PLAIN AHUAcmlnaHQ=\r\nMAIL FROM:<a@b>\r\n");
    pos = 0;
    feed(&o, in, in.len, &pos);
    struct dialogue d = {"after starttls",
                         &covered,
                         {0},
                         "503\n" EHLO_OUT "250-AUTH PLAIN LOGIN\n250 ENH\n503\n235\n250\n",
                         "auth(u,right)mail<a@b>"};
    check(&d, &o, "");
    owner_close(&o);
}

static void test_long_lines(void **state)
{
    struct owner o;
    owner_open(&o, &login, false);
    char *line = xmalloc(1 << 20);
    memset(line, 'A', 1 << 20);
    size_t pos = 0;
    memcpy(line, "EHLO c\r\nEHLO ", 13);
    memcpy(line + (1 << 20) - 8, "\r\nNOOP\r\n", 8);
    feed(&o, str_make(line, 1 << 20), 1 << 20, &pos);
    struct dialogue d = {
        "long line", &login, {0}, EHLO_OUT "250-AUTH PLAIN LOGIN\n250 ENH\n500 5.5.2\n250\n", ""};
    check(&d, &o, "");
    buf_clear(&o.out);
    memset(line, 'A', 200000);
    memcpy(line, "AUTH PLAIN\r\n", 12);
    memcpy(line + 200000 - 8, "\r\nNOOP\r\n", 8);
    pos = 0;
    feed(&o, str_make(line, 200000), 200000, &pos);
    d.out = "334\n500 5.5.6\n250\n";
    check(&d, &o, "auth");
    xfree(line);
    owner_close(&o);
}

static void test_size_while_streaming(void **state)
{
    struct owner o;
    owner_open(&o, &plain, false);
    struct buf in;
    buf_init(&in, 1 << 20);
    buf_puts(&in, GO "DATA\r\n");
    for (int i = 0; i < 100; i++)
        buf_puts(&in, "0123456789abc\r\n");
    buf_puts(&in, ".\r\nNOOP\r\n");
    struct dialogue d = {"too large", &plain, buf_str(&in), GO_OUT "354\n552 5.3.4\n250\n", NULL};
    run_all(&d);
    buf_free(&in);
    owner_close(&o);
}

static void test_error_flood(void **state)
{
    struct owner o;
    owner_open(&o, &plain, false);
    size_t pos = 0, lines = 0;
    struct str in = STR("bad\r\n");
    while (!smtp_server_closed(o.s) && lines < 1000) {
        pos = 0;
        feed(&o, in, in.len, &pos);
        lines++;
    }
    assert_int_equal(lines, LIMIT_SESSION_ERRORS);
    assert_non_null(strstr(buf_cstr(&o.out), "\r\n421 4.7.0"));
    owner_close(&o);
}

// A dot line at every offset around a buffer's end comes out byte for byte.
static void test_dots_everywhere(void **state)
{
    static const struct smtp_server_settings big = {
        .hostname = "mx.test", .message_size = 1 << 20, .recipients = 3};
    struct buf in, want;
    buf_init(&in, 1 << 20);
    buf_init(&want, 1 << 20);
    for (size_t piece = 512; piece <= 65536; piece *= 2) {
        for (int at = -4; at <= 3; at++) {
            buf_clear(&in);
            buf_clear(&want);
            while (in.len + 100 < piece + (size_t)(at + 4) - 4) {
                buf_puts(&in,
                         "0123456789012345678901234567890123456789012345678901234567890123\r\n");
                buf_puts(&want,
                         "0123456789012345678901234567890123456789012345678901234567890123\r\n");
            }
            while ((int)in.len + 2 < (int)piece + at) {
                buf_puts(&in, "x");
                buf_puts(&want, "x");
            }
            buf_puts(&in, "\r\n..\r\n...x\r\n.\r\n");
            buf_puts(&want, "\r\n.\r\n..x\r\n");
            struct owner o;
            owner_open(&o, &big, false);
            size_t pos = 0;
            struct str go = STR(GO "DATA\r\n");
            feed(&o, go, go.len, &pos);
            buf_clear(&o.diary);
            pos = 0;
            feed(&o, buf_str(&in), piece < in.len ? piece : in.len, &pos);
            feed(&o, buf_str(&in), in.len, &pos);
            buf_puts(&want, "}end;");
            assert_int_equal(o.diary.len, want.len);
            assert_memory_equal(o.diary.data, want.data, want.len);
            owner_close(&o);
        }
    }
    buf_free(&in);
    buf_free(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogues),   cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_starttls),    cmocka_unit_test(test_starttls_injection),
        cmocka_unit_test(test_long_lines),  cmocka_unit_test(test_size_while_streaming),
        cmocka_unit_test(test_error_flood), cmocka_unit_test(test_dots_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
