// SPDX-License-Identifier: ISC
// send: writes a message from standard input, hands it in, and says what became of it.
#include "base/buf.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "control/control.h"
#include "control/words.h"
#include "mail/header.h"
#include "main/content.h"
#include "main/origin.h"
#include "main/submit.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

struct sending {
    const char *from, *subject;
    const char *wait;    // seconds, as text
    const char *at, *in; // NULL: at once
    bool test, no_wait;
    char **to;
    int to_count;
};

static const char usage[] =
    "usage: waypost send [-f FROM] [-s SUBJECT] [--at TIME | --in SPAN] [--test] "
    "[--wait SECONDS | --no-wait] ADDRESS... < text\n";

// ---- The command line ----

static bool take_option(struct sending *s, const char *word, const char *next, int *used_out)
{
    const struct {
        const char *word, *brief;
        const char **value;
    } options[] = {
        {"--from", "-f", &s->from}, {"--subject", "-s", &s->subject}, {"--wait", "-w", &s->wait},
        {"--at", "--at", &s->at},   {"--in", "--in", &s->in},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        size_t len = strlen(options[i].word);
        bool same = strcmp(word, options[i].word) == 0 || strcmp(word, options[i].brief) == 0;
        if (same && next != NULL) {
            *options[i].value = next;
            *used_out = 2;
            return true;
        }
        if (strncmp(word, options[i].word, len) == 0 && word[len] == '=') {
            *options[i].value = word + len + 1;
            return true;
        }
    }
    bool test = strcmp(word, "--test") == 0 || strcmp(word, "-t") == 0;
    s->test |= test;
    s->no_wait |= strcmp(word, "--no-wait") == 0;
    return test || strcmp(word, "--no-wait") == 0;
}

static bool parse(struct sending *s, int argc, char **argv)
{
    bool options = true;
    s->to = argv;
    for (int i = 0; i < argc;) {
        int used = 1;
        char *word = argv[i];
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (!options || word[0] != '-') {
            s->to[s->to_count++] = word;
        } else if (!take_option(s, word, i + 1 < argc ? argv[i + 1] : NULL, &used)) {
            fprintf(stderr, "waypost send: `%s` is no option here, or its value is missing\n%s",
                    word, usage);
            return false;
        }
        i += used;
    }
    uint64_t seconds;
    if (s->wait != NULL && !str_u64(str_of(s->wait), 86400, &seconds)) {
        fprintf(stderr, "waypost send: --wait takes seconds, not `%s`\n", s->wait);
        return false;
    }
    if (s->to_count == 0)
        fprintf(stderr, "waypost send: no recipient\n%s", usage);
    return s->to_count > 0;
}

// ---- The message ----

// As an encoded word (RFC 2047) where it is not ASCII; in pieces, because a word has at most 75
// characters.
static void put_subject(struct buf *out, struct str subject)
{
    enum { WORD = 42 };
    if (ascii_only(subject)) {
        for (size_t i = 0; i < subject.len; i++)
            buf_putc(out, (unsigned char)subject.ptr[i] < ' ' ? ' ' : subject.ptr[i]);
        return;
    }
    while (subject.len > 0) {
        size_t n = 0, c;
        while ((c = utf8_len(str_make(subject.ptr + n, subject.len - n))) > 0 && n + c <= WORD)
            n += c;
        if (n == 0)
            n = 1; // malformed: it goes as it is
        buf_puts(out, "=?utf-8?B?");
        base64_encode(out, str_make(subject.ptr, n));
        buf_puts(out, subject.len > n ? "?=\r\n " : "?=");
        subject = str_make(subject.ptr + n, subject.len - n);
    }
}

static void put_header(struct buf *out, struct origin *o, const struct sending *s,
                       const struct envelope *e, bool is_8bit)
{
    char date[TIME_TEXT];
    int64_t now = clock_wall_ms();
    struct str id = origin_message_id(o);
    buf_printf(out, "Date: %s\r\nMessage-ID: %.*s\r\nFrom: ",
               time_rfc5322(now, clock_utc_offset_minutes(now), date), STR_FMT(id));
    header_put_mailbox(out, str_of(s->from == NULL ? o->full_name : ""), e->sender);
    buf_puts(out, "\r\nTo: ");
    for (size_t i = 0; i < e->count; i++) {
        buf_puts(out, i > 0 ? ",\r\n " : "");
        header_put_mailbox(out, STR(""), e->rcpts[i].address);
    }
    buf_puts(out, "\r\nSubject: ");
    put_subject(out, str_of(s->subject != NULL ? s->subject
                            : s->test          ? "Test from Waypost"
                                               : "(no subject)"));
    buf_printf(out,
               "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\n"
               "Content-Transfer-Encoding: %s\r\n\r\n",
               is_8bit ? "utf-8" : "us-ascii", is_8bit ? "8bit" : "7bit");
}

static bool read_body(struct buf *body, struct origin *o, const struct sending *s)
{
    const char *why;
    if (s->test) {
        buf_printf(body,
                   "This is a test message, sent by %s on %s with `waypost send --test`.\r\n"
                   "That you can read it means: the way works.\r\n",
                   o->user, o->conf->hostname);
        return true;
    }
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "type the message, then Ctrl-D\n");
    if (content_read(body, STDIN_FILENO, false, &why))
        return true;
    fprintf(stderr, "waypost send: cannot read the message: %s\n", why);
    return false;
}

static bool address(struct origin *o, const char *typed, struct str *out)
{
    const char *why;
    if (origin_qualify(o, typed, out, &why))
        return true;
    fprintf(stderr, "waypost send: `%s` is no mail address: %s\n", typed, why);
    return false;
}

// When it is to be sent. A moment that has passed is no wish.
static bool read_release(const struct sending *s, struct envelope *e)
{
    int64_t now = clock_wall_ms(), span, at;
    if (s->at == NULL && s->in == NULL)
        return true;
    bool good = s->at == NULL || s->in == NULL;
    if (good && s->in != NULL) {
        good = time_parse_span(str_of(s->in), &span) && span <= LIMIT_SEND_LATER_MS;
        at = good ? now + span : 0;
        e->hold_s = good ? (uint32_t)((span + 999) / 1000) : 0;
    } else if (good) {
        good = words_parse_future(str_of(s->at), now, &at) && at <= now + LIMIT_SEND_LATER_MS;
    }
    if (good && at > now)
        e->release_ms = at;
    if (!good)
        fprintf(stderr,
                "waypost send: --at takes a moment within a year such as \"2026-12-24 18:00\" or "
                "08:00, --in a span such as 2h or 3d, and only one of them is possible\n");
    return good;
}

static bool make_envelope(struct origin *o, const struct sending *s, struct envelope *e)
{
    if (!read_release(s, e))
        return false;
    e->priority = PRIORITY_NORMAL;
    e->sender = origin_address(o);
    if (s->from != NULL && !address(o, s->from, &e->sender))
        return false;
    e->rcpts = arena_alloc(o->arena, (size_t)s->to_count * sizeof(*e->rcpts));
    e->smtputf8 = !ascii_only(e->sender);
    for (int i = 0; i < s->to_count; i++) {
        struct envelope_rcpt *rcpt = &e->rcpts[e->count++];
        if (!address(o, s->to[i], &rcpt->address))
            return false;
        e->smtputf8 |= !ascii_only(rcpt->address);
    }
    return true;
}

// ---- What became of it ----

static int follow(struct origin *o, const struct sending *s, const char *id)
{
    char path[256];
    struct err err = {0};
    const char *argv[] = {"log", id, "--wait", s->wait != NULL ? s->wait : "30"};
    snprintf(path, sizeof(path), "%s/control.sock", o->conf->run_dir);
    fflush(stdout);
    int status = control_call(path, 4, argv, &err);
    if (status == EX_NOPERM)
        return 0; // handed in is all that this user may know
    if (status < 0)
        fprintf(stderr, "waypost: cannot follow it: %s\n", err.text);
    return status < 0 ? EX_TEMPFAIL : status;
}

static int report(struct origin *o, const struct sending *s, enum submit_status status,
                  const struct envelope *e, const struct outcome *outcomes, const char *id,
                  const struct err *err)
{
    if (status == SUBMIT_DOWN) {
        fprintf(stderr,
                "waypost: no daemon answers at %s/submit.sock: %s; nothing was sent\n"
                "  start it with `waypost serve`, or name its configuration with --config\n",
                o->conf->run_dir, err->text);
        return EX_UNAVAILABLE;
    }
    for (size_t i = 0; i < e->count; i++)
        if (outcomes[i].class != OUTCOME_OK)
            fprintf(stderr, "waypost: not taken for <%.*s>: %u %s\n", STR_FMT(e->rcpts[i].address),
                    outcomes[i].code, outcomes[i].text);
    if (status != SUBMIT_TAKEN)
        return status == SUBMIT_LATER ? EX_TEMPFAIL : EX_UNAVAILABLE;
    char when[WORDS_TEXT];
    if (e->release_ms != 0)
        printf("%s accepted, on disk, to be sent %s; sooner: waypost queue now %s\n", id,
               words_when(e->release_ms, clock_wall_ms(), when), id);
    else
        printf("%s accepted, on disk\n", id);
    return s->no_wait || e->release_ms != 0 ? 0 : follow(o, s, id);
}

int cmd_send(const struct main_options *options, int argc, char **argv)
{
    struct sending s = {0};
    struct origin o;
    struct envelope e = {0};
    struct buf body, message;
    struct err err = {0};
    char id[ID_TEXT_SIZE];
    if (!parse(&s, argc, argv))
        return EX_USAGE;
    origin_find(&o, options);
    buf_init(&body, LIMIT_MESSAGE);
    buf_init(&message, LIMIT_MESSAGE + LIMIT_HEADER);
    int status = EX_USAGE;
    if (make_envelope(&o, &s, &e)) {
        status = EX_DATAERR;
        if (read_body(&body, &o, &s)) {
            bool is_8bit = content_is_8bit(buf_str(&body));
            e.body = is_8bit ? BODY_8BITMIME : BODY_7BIT;
            put_header(&message, &o, &s, &e, is_8bit);
            buf_add(&message, buf_str(&body));
            struct outcome *outcomes = arena_alloc(o.arena, e.count * sizeof(*outcomes));
            enum submit_status handed = submit(o.conf->run_dir, o.conf->hostname, &e,
                                               buf_str(&message), outcomes, id, &err);
            status = report(&o, &s, handed, &e, outcomes, id, &err);
        }
    }
    buf_free(&body);
    buf_free(&message);
    origin_free(&o);
    return status;
}
