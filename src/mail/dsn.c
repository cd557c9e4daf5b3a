// SPDX-License-Identifier: ISC
// Writing delivery status notifications.
//
//   header       From MAILER-DAEMON, Auto-Submitted, Message-ID made of the input
//   text/plain   in words, recipients with the same outcome together
//   message/delivery-status         one group of fields for the message, one for each recipient
//   text/rfc822-headers or message/rfc822
//
// Safety: every foreign text passes quoted() or lies in the returned part, whose lines cannot be
// mistaken for the boundary, because the boundary is chosen not to occur in it.
#include "mail/dsn.h"
#include "base/base64.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "mail/dsn_words.h"
#include "mail/encoded_word.h"
#include "mail/fold.h"
#include "mail/header.h"

#include <assert.h>
#include <stdio.h>

enum { COLUMN = 76, QUOTED_MAX = 4096, RCPT_BYTES = 16 * 1024, SUBJECT_SHOWN = 120 };

struct writer {
    struct buf *out;
    const struct dsn *d;
    struct buf scratch; // for quoted()
    struct buf line;    // for a sentence with something quoted in it
    bool utf8;          // UTF-8 may stand in our own parts
    bool full;          // return the whole message
    struct str returned;
    bool eight;
    char id[ID_TEXT_SIZE];
    char boundary[80];
    struct header_scan scan;
};

// ---- Foreign text ----

// One line of printable characters: ASCII, or UTF-8 where the report is one of RFC 6533. Valid
// until the next call.
static struct str quoted(struct writer *w, struct str s)
{
    buf_clear(&w->scratch);
    if (s.len > QUOTED_MAX / 4)
        s.len = QUOTED_MAX / 4;
    if (w->utf8) {
        utf8_escape(&w->scratch, s);
        return buf_str(&w->scratch);
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= ' ' && c < 0x7f)
            buf_putc(&w->scratch, (char)c);
        else
            buf_printf(&w->scratch, "\\x%02x", c);
    }
    return buf_str(&w->scratch);
}

static struct str before_nul(const char *text, size_t max)
{
    return str_make(text, strnlen(text, max));
}

static void field(struct writer *w, const char *name, const char *type, struct str value)
{
    struct fold f = fold_begin(w->out, name);
    if (type[0] != '\0')
        fold_word(&f, str_of(type));
    fold_text(&f, quoted(w, value));
    fold_end(&f);
}

static void date_field(struct writer *w, const char *name, int64_t wall_ms)
{
    char date[TIME_TEXT];
    buf_printf(w->out, "%s %s\r\n", name, time_rfc5322(wall_ms, w->d->offset_minutes, date));
}

// ---- The plan: what is returned, which boundary, which letters ----

static bool has_utf8(const struct dsn *d, struct str header)
{
    bool any = !ascii_only(d->sender) || (!ascii_only(header) && utf8_valid(header));
    for (size_t i = 0; i < d->count && !any; i++)
        any = !ascii_only(d->rcpts[i].address) || !ascii_only(d->rcpts[i].orcpt);
    return any;
}

static bool occurs(const char *boundary, struct str in)
{
    return in.len > 0 && memmem(in.ptr, in.len, boundary, strlen(boundary)) != NULL;
}

static uint32_t digest(const struct dsn *d)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < d->count; i++) {
        crc = crc32c(crc, d->rcpts[i].address.ptr, d->rcpts[i].address.len);
        crc = crc32c(crc, "\n", 1);
    }
    return crc;
}

static const char *kind_name(enum dsn_kind kind)
{
    static const char *const names[] = {"failed", "delayed", "success"};
    return names[kind];
}

const char *dsn_message_id(const struct dsn *d, char text[DSN_ID_MAX])
{
    char id[ID_TEXT_SIZE];
    snprintf(text, DSN_ID_MAX, "<%s.%s.%08x@%.*s>", id_format(d->id, id), kind_name(d->kind),
             (unsigned)digest(d), (int)(d->hostname.len < 400 ? d->hostname.len : 400),
             d->hostname.ptr);
    return text;
}

// As many whole lines as may be returned.
static struct str cut_header(struct str header)
{
    if (header.len <= LIMIT_DSN_BODY)
        return header;
    const char *lf = memrchr(header.ptr, '\n', LIMIT_DSN_BODY);
    return str_make(header.ptr, lf != NULL ? (size_t)(lf + 1 - header.ptr) : LIMIT_DSN_BODY);
}

static void plan(struct writer *w)
{
    const struct dsn *d = w->d;
    header_scan_init(&w->scan);
    header_scan_feed(&w->scan, d->content.ptr, d->content.len);
    header_scan_end(&w->scan);
    bool clean = !w->scan.bare_cr && !w->scan.bare_lf && !w->scan.nul;
    struct str header = str_make(d->content.ptr, w->scan.fields_end);
    // RFC 3461 section 4.3: only a report of a failure returns more than the header.
    w->full = d->kind == DSN_FAILURE && d->ret != RET_HDRS && d->whole && !d->binary && clean &&
              d->content.len <= LIMIT_DSN_BODY && d->content.len > 0;
    w->returned = w->full ? d->content : cut_header(header);
    w->utf8 = d->smtputf8 && has_utf8(d, header);
    w->eight = w->utf8 || !ascii_only(w->returned);
    id_format(d->id, w->id);
    for (unsigned n = 0; n == 0 || occurs(w->boundary, d->content); n++)
        snprintf(w->boundary, sizeof(w->boundary), "%s-%s-%08x-%u", w->id, kind_name(d->kind),
                 (unsigned)digest(d), n);
}

// ---- Header ----

static bool is_message_id(struct str s)
{
    if (s.len < 3 || s.ptr[0] != '<' || s.ptr[s.len - 1] != '>')
        return false;
    for (size_t i = 1; i + 1 < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || s.ptr[i] == '<' || s.ptr[i] == '>')
            return false;
    return true;
}

// People send several a day: which one is it? As its subject is read, cut, its controls made plain,
// and encoded anew where it is not ASCII (RFC 2047).
static void subject_field(struct writer *w)
{
    struct buf shown, words;
    struct fold f = fold_begin(w->out, "Subject:");
    buf_init(&shown, SUBJECT_SHOWN + 1);
    buf_init(&words, 1024);
    encoded_word_show(&shown, header_subject(&w->scan), SUBJECT_SHOWN);
    buf_putc(&shown, '\0');
    utf8_make_plain(shown.data);
    struct str text = str_trim(str_of(shown.data));
    buf_printf(&words, "%s%s", dsn_subject(w->d->kind), text.len > 0 ? ": " : "");
    if (ascii_only(text))
        buf_add(&words, text);
    else
        header_put_encoded(&words, text);
    fold_text(&f, buf_str(&words));
    fold_end(&f);
    buf_free(&shown);
    buf_free(&words);
}

static void put_header(struct writer *w)
{
    const struct dsn *d = w->d;
    char id[DSN_ID_MAX];
    date_field(w, "Date:", d->wall_ms);
    buf_printf(w->out, "From: Mail Delivery System <MAILER-DAEMON@%.*s>\r\n", STR_FMT(d->hostname));
    struct fold to = fold_begin(w->out, "To:");
    fold_word(&to, d->sender);
    fold_end(&to);
    subject_field(w);
    buf_printf(w->out, "Message-ID: %s\r\n", dsn_message_id(d, id));
    struct str original = header_message_id(&w->scan);
    if (is_message_id(original))
        buf_printf(w->out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", STR_FMT(original),
                   STR_FMT(original));
    buf_printf(w->out,
               "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
               "\tboundary=\"%s\"\r\n",
               w->utf8 ? "global-" : "", w->boundary);
    if (w->eight)
        buf_puts(w->out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_puts(w->out, "\r\nThis is a report of several parts (MIME).\r\n");
}

static void begin_part(struct writer *w, const char *description, const char *type, bool eight)
{
    buf_printf(w->out, "\r\n--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n%s\r\n",
               w->boundary, description, type, eight ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

// ---- In words ----

// A paragraph whose lines all begin with `indent`, wrapped.
static void paragraph(struct writer *w, const char *indent, struct str text)
{
    struct str word;
    size_t column = 0;
    while (str_split(&text, ' ', &word)) {
        if (word.len == 0)
            continue;
        if (column > 0 && column + 1 + word.len > COLUMN) {
            buf_puts(w->out, "\r\n");
            column = 0;
        }
        const char *before = column > 0 ? " " : indent;
        buf_puts(w->out, before);
        column += strlen(before) + word.len;
        for (; word.len > FOLD_WORD; word.ptr += FOLD_WORD, word.len -= FOLD_WORD) {
            buf_append(w->out, word.ptr, FOLD_WORD);
            buf_printf(w->out, "\r\n%s", indent);
        }
        buf_add(w->out, word);
    }
    if (column > 0)
        buf_puts(w->out, "\r\n");
}

static bool same_fate(const struct dsn_rcpt *a, const struct dsn_rcpt *b)
{
    const struct outcome *x = a->outcome, *y = b->outcome;
    return a->expired == b->expired && a->delivered == b->delivered &&
           a->will_retry_ms == b->will_retry_ms && x->class == y->class && x->phase == y->phase &&
           x->code == y->code && memcmp(x->enhanced, y->enhanced, sizeof(x->enhanced)) == 0 &&
           strncmp(x->where, y->where, sizeof(x->where)) == 0 &&
           strncmp(x->text, y->text, sizeof(x->text)) == 0;
}

// The reply as the server gave it, with its codes, if the text does not already begin with them.
static struct str reply_of(const struct outcome *o, char text[LIMIT_OUTCOME_TEXT + 32])
{
    char code[8], enhanced[16];
    struct str said = before_nul(o->text, sizeof(o->text));
    if (o->code == 0)
        return said;
    snprintf(code, sizeof(code), "%u", o->code);
    if (str_starts(said, str_of(code)))
        return said;
    snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", o->enhanced[0], o->enhanced[1],
             o->enhanced[2]);
    bool has = o->enhanced[0] == 0 || str_starts(said, str_of(enhanced));
    int n = snprintf(text, LIMIT_OUTCOME_TEXT + 32, "%s%s%s %.*s", code, has ? "" : " ",
                     has ? "" : enhanced, STR_FMT(said));
    return str_make(text, (size_t)n);
}

static void put_reply(struct writer *w, const struct outcome *o)
{
    char text[LIMIT_OUTCOME_TEXT + 32];
    struct str reply = reply_of(o, text), where = before_nul(o->where, sizeof(o->where));
    if (reply.len == 0)
        return;
    buf_clear(&w->line);
    buf_puts(&w->line, o->code != 0 ? "The server" : "In detail");
    if (where.len > 0) {
        buf_puts(&w->line, o->code != 0 ? " " : ", with the server ");
        buf_add(&w->line, quoted(w, where));
    }
    if (o->code != 0)
        buf_puts(&w->line, o->phase == PHASE_RCPT ? " said about this address" : " said");
    buf_putc(&w->line, ':');
    paragraph(w, "    ", buf_str(&w->line));
    paragraph(w, "        ", quoted(w, reply));
}

static void put_fate(struct writer *w, const struct dsn_rcpt *r)
{
    enum dsn_kind kind = w->d->kind;
    char date[TIME_TEXT], line[128];
    if (kind == DSN_SUCCESS) {
        paragraph(w, "    ",
                  r->delivered ? STR("The recipient's own mail server took the message.")
                               : STR("The message was passed on to a server that sends no such "
                                     "reports: you will hear no more from here."));
    } else {
        if (r->expired && r->outcome->class != OUTCOME_OK)
            paragraph(w, "    ", STR("Every attempt in the time allowed has failed. Lastly:"));
        paragraph(w, "    ", str_of(dsn_reason(r)));
        paragraph(w, "    ", str_of(dsn_detail(r)));
    }
    put_reply(w, r->outcome);
    const char *advice = dsn_advice(kind, r);
    if (advice[0] != '\0') {
        paragraph(w, "    ", STR("What you can do:"));
        paragraph(w, "        ", str_of(advice));
    }
    if (kind == DSN_DELAY && r->will_retry_ms != 0) {
        int n = snprintf(line, sizeof(line), "Attempts go on until %s.",
                         time_rfc5322(r->will_retry_ms, w->d->offset_minutes, date));
        paragraph(w, "    ", str_make(line, (size_t)n));
    }
}

static void put_words(struct writer *w)
{
    static const char *const opening[] = {
        "Your message could not be delivered to the addresses below. No further attempt will be "
        "made for them.",
        "Your message has not yet been delivered to the addresses below. You need not send it "
        "again: attempts go on.",
        "Your message was passed on for the addresses below, as you asked to be told.",
    };
    const struct dsn *d = w->d;
    begin_part(w, "In words",
               w->utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", w->utf8);
    buf_printf(w->out, "This is the mail system of %.*s.\r\n\r\n", STR_FMT(d->hostname));
    paragraph(w, "", str_of(opening[d->kind]));
    for (size_t i = 0; i < d->count; i++) {
        if (i == 0 || !same_fate(&d->rcpts[i - 1], &d->rcpts[i]))
            buf_puts(w->out, "\r\n");
        paragraph(w, "  ", quoted(w, d->rcpts[i].address));
        if (i + 1 == d->count || !same_fate(&d->rcpts[i], &d->rcpts[i + 1]))
            put_fate(w, &d->rcpts[i]);
    }
    buf_puts(w->out, "\r\n");
    if (w->returned.len > 0)
        buf_printf(w->out, "%s is attached. ",
                   w->full ? "Your message" : "The header of your message");
    buf_printf(w->out, "Its reference here is %s.\r\n", w->id);
}

// ---- For machines ----

static struct str host_of(const struct outcome *o)
{
    struct str where = before_nul(o->where, sizeof(o->where));
    size_t bracket = str_find(where, '[');
    if (bracket > 0)
        return str_make(where.ptr, bracket < where.len ? bracket : str_find(where, ':'));
    return str_make(where.ptr, where.len > 0 ? str_find(where, ']') + 1 : 0);
}

static void put_fields(struct writer *w, const struct dsn_rcpt *r)
{
    const struct outcome *o = r->outcome;
    char status[DSN_STATUS_MAX], text[LIMIT_OUTCOME_TEXT + 32];
    buf_puts(w->out, "\r\n");
    if (str_find(r->orcpt, ';') < r->orcpt.len)
        field(w, "Original-Recipient:", "", r->orcpt);
    field(w, "Final-Recipient:", ascii_only(r->address) || !w->utf8 ? "rfc822;" : "utf-8;",
          r->address);
    buf_printf(w->out, "Action: %s\r\nStatus: %s\r\n", dsn_action(w->d->kind, r),
               dsn_status(w->d->kind, r, status));
    struct str host = host_of(o);
    if (host.len > 0 && host.len <= sizeof(o->where))
        field(w, "Remote-MTA:", "dns;", host);
    struct str reply = reply_of(o, text);
    if (reply.len > 0)
        field(w, "Diagnostic-Code:", o->code != 0 ? "smtp;" : "x-waypost;", reply);
    if (r->last_ms != 0)
        date_field(w, "Last-Attempt-Date:", r->last_ms);
    if (w->d->kind == DSN_DELAY && r->will_retry_ms != 0)
        date_field(w, "Will-Retry-Until:", r->will_retry_ms);
}

static void put_status(struct writer *w)
{
    const struct dsn *d = w->d;
    begin_part(w, "For machines",
               w->utf8 ? "message/global-delivery-status" : "message/delivery-status", w->utf8);
    field(w, "Reporting-MTA:", "dns;", d->hostname);
    if (d->envid.len > 0)
        field(w, "Original-Envelope-Id:", "", d->envid);
    date_field(w, "Arrival-Date:", d->arrived_ms);
    char moment[TIME_TEXT];
    if (d->release_ms != 0 && d->hold_s > 0) // RFC 4865 section 5
        buf_printf(w->out, "Future-Release-Request: for;%u\r\n", d->hold_s);
    else if (d->release_ms != 0)
        buf_printf(w->out, "Future-Release-Request: until;%s\r\n",
                   time_rfc3339(d->release_ms, moment));
    buf_printf(w->out, "X-Waypost-Reference: %s\r\n", w->id);
    for (size_t i = 0; i < d->count; i++)
        put_fields(w, &d->rcpts[i]);
}

// ---- The original ----

// Line by line: whatever ended a line ends in CRLF, and stray CR and NUL become '?'.
static void put_lines(struct buf *out, struct str text)
{
    struct str line;
    while (str_split(&text, '\n', &line)) {
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        size_t before = out->len;
        if (!buf_add(out, line))
            return;
        for (size_t i = before; i < out->len; i++)
            if (out->data[i] == '\r' || out->data[i] == '\0')
                out->data[i] = '?';
        buf_puts(out, "\r\n");
    }
}

static void put_original(struct writer *w)
{
    if (w->returned.len == 0)
        return;
    bool eight = !ascii_only(w->returned);
    if (w->full) {
        begin_part(w, "Your message", w->utf8 ? "message/global" : "message/rfc822", eight);
        buf_add(w->out, w->returned);
        return;
    }
    begin_part(w, "The header of your message",
               w->utf8 ? "message/global-headers" : "text/rfc822-headers", eight);
    put_lines(w->out, w->returned);
}

size_t dsn_max(const struct dsn *d)
{
    return (size_t)16 * 1024 + 2 * (size_t)LIMIT_DSN_BODY + d->count * (size_t)RCPT_BYTES;
}

bool dsn_write(struct buf *out, const struct dsn *d)
{
    assert(d->count > 0 && d->sender.len > 0 && d->kind <= DSN_SUCCESS);
    bool was_full = out->full;
    out->full = false;
    struct writer w = {.out = out, .d = d};
    buf_init(&w.scratch, QUOTED_MAX);
    buf_init(&w.line, QUOTED_MAX + 256);
    plan(&w);
    put_header(&w);
    put_words(&w);
    put_status(&w);
    put_original(&w);
    buf_printf(out, "\r\n--%s--\r\n", w.boundary);
    buf_free(&w.scratch);
    buf_free(&w.line);
    bool fitted = !out->full;
    out->full = out->full || was_full;
    return fitted;
}
