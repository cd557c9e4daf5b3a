// SPDX-License-Identifier: ISC
// The header scanner.
//
// Invariants that make the result independent of the pieces:
// 1. A CR is held back until the next octet shows whether it belongs to a line end (s->cr); whoever
//    looks at a line's octets never sees that CR.
// 2. Whatever is decided about a whole line (is it a field? whose 8-bit octets are they?) is
// decided
//    at its LF or at the end of all, from flags gathered so far.
// 3. Positions are counted from the first octet fed.
#include "mail/header.h"
#include "base/base64.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "mail/fold.h"
#include "mail/trace.h"

#include <assert.h>

static const struct {
    struct str name;
    enum header_field field;
} fields[] = {
    {STR("to"), HEADER_TO},
    {STR("cc"), HEADER_CC},
    {STR("bcc"), HEADER_BCC},
    {STR("from"), HEADER_FROM},
    {STR("date"), HEADER_DATE},
    {STR("sender"), HEADER_SENDER},
    {STR("subject"), HEADER_SUBJECT},
    {STR("received"), HEADER_RECEIVED},
    {STR("message-id"), HEADER_MESSAGE_ID},
    {STR("resent-bcc"), HEADER_RESENT_BCC},
    {STR("return-path"), HEADER_RETURN_PATH},
    {STR("delivered-to"), HEADER_DELIVERED_TO},
};

void header_scan_init(struct header_scan *s)
{
    *s = (struct header_scan){0};
}

// ---- Values ----

static void begin_value(struct header_scan *s)
{
    s->value_begun = false;
    s->trace_len = 0;
    s->trace_blank = true;
    struct buf *capture = NULL;
    if (s->want != NULL)
        capture = s->want(s->ctx, str_make(s->name, s->name_len));
    if (capture == NULL)
        capture = s->capture[s->field];
    s->captured = capture;
    s->capture_from = capture != NULL ? capture->len : 0;
    bool first = s->count[s->field] == 1;
    s->keep = capture != NULL || (first && s->field == HEADER_SUBJECT) ||
              (first && s->field == HEADER_MESSAGE_ID) ||
              (s->field == HEADER_RECEIVED && s->own_host.len > 0);
}

static void keep_trace(struct header_scan *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n && s->trace_len < HEADER_TRACE_MAX; i++) {
        bool blank = p[i] == ' ' || p[i] == '\t';
        if (!blank || !s->trace_blank)
            s->trace[s->trace_len++] = blank ? ' ' : p[i];
        s->trace_blank = blank;
    }
}

// As much as there is room for, so that a capture cut short is the same in every piecing.
static void capture_value(struct buf *capture, const char *p, size_t n)
{
    size_t room = capture->full ? 0 : capture->max - capture->len;
    buf_append(capture, p, n < room ? n : room);
    capture->full = capture->full || n > room;
}

static void keep_value(struct header_scan *s, const char *p, size_t n)
{
    if (s->field == HEADER_RECEIVED && s->own_host.len > 0)
        keep_trace(s, p, n);
    for (; n > 0 && !s->value_begun && (*p == ' ' || *p == '\t'); n--)
        p++;
    if (n == 0)
        return;
    s->value_begun = true;
    if (s->captured != NULL)
        capture_value(s->captured, p, n);
    if (s->count[s->field] != 1)
        return;
    if (s->field == HEADER_SUBJECT) {
        size_t room = HEADER_SUBJECT_MAX - s->subject_len;
        size_t take = n < room ? n : room;
        memcpy(s->subject + s->subject_len, p, take);
        s->subject_len += take;
    } else if (s->field == HEADER_MESSAGE_ID) {
        s->id_too_long = s->id_too_long || n > HEADER_ID_MAX - s->message_id_len;
        if (!s->id_too_long)
            memcpy(s->message_id + s->message_id_len, p, n);
        s->message_id_len = s->id_too_long ? 0 : s->message_id_len + n;
    }
}

static bool names_us(const struct header_scan *s)
{
    struct str rest = str_make(s->trace, s->trace_len);
    for (; rest.len > 0; rest.ptr++, rest.len--) {
        bool word = rest.ptr == s->trace || rest.ptr[-1] == ' ';
        if (!word || !str_istarts(rest, STR("by ")))
            continue;
        struct str host = str_make(rest.ptr + 3, rest.len - 3);
        if (str_istarts(host, s->own_host) &&
            str_istarts(str_make(host.ptr + s->own_host.len, host.len - s->own_host.len),
                        STR(" " TRACE_MARK)))
            return true;
    }
    return false;
}

static size_t without_blanks(const char *p, size_t n)
{
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return n;
}

// Cuts a character that the limit cut in two, and blanks at the end.
static void tidy_subject(struct header_scan *s)
{
    struct str kept = header_subject(s);
    for (size_t back = 1; s->subject_len == HEADER_SUBJECT_MAX && back <= 3; back++) {
        unsigned char c = (unsigned char)kept.ptr[kept.len - back];
        if (c < 0x80)
            break;
        if (c < 0xc0)
            continue;
        if (utf8_len(str_make(kept.ptr + kept.len - back, back)) == 0)
            kept.len -= back;
        break;
    }
    s->subject_len = without_blanks(kept.ptr, kept.len);
}

static void end_value(struct header_scan *s)
{
    struct buf *capture = s->captured;
    if (capture != NULL) {
        size_t len = capture->len - s->capture_from;
        if (len > 0)
            capture->len = s->capture_from + without_blanks(capture->data + s->capture_from, len);
        if (!capture->full)
            buf_putc(capture, '\n');
    }
    if (s->field == HEADER_RECEIVED && names_us(s))
        s->own_hops++;
    if (s->count[s->field] == 1 && s->field == HEADER_SUBJECT)
        tidy_subject(s);
    if (s->count[s->field] == 1 && s->field == HEADER_MESSAGE_ID)
        s->message_id_len = without_blanks(s->message_id, s->message_id_len);
}

// ---- Fields ----

static void end_field(struct header_scan *s, uint64_t at)
{
    if (!s->in_field)
        return;
    s->in_field = false;
    if (s->keep)
        end_value(s);
    if (s->on_field != NULL)
        s->on_field(s->ctx, s->field, s->field_at, at);
}

// The line begun at line_at is the first of the body.
static void end_header(struct header_scan *s, uint64_t body_at)
{
    end_field(s, s->line_at);
    s->ended = true;
    s->fields_end = s->line_at;
    s->body_at = body_at;
}

static void begin_field(struct header_scan *s, enum header_field field)
{
    end_field(s, s->line_at);
    s->in_field = true;
    s->field = field;
    s->field_at = s->line_at;
    s->count[field]++;
    s->keep = false;
}

static enum header_field field_named(struct str name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (str_ieq(name, fields[i].name))
            return fields[i].field;
    return HEADER_OTHER;
}

// The octet behind a name (and perhaps blanks). True when the line is a field or the mbox line.
static bool after_name(struct header_scan *s, char c)
{
    struct str name = str_make(s->name, s->name_len);
    if (c == ':' && s->name_len > 0) {
        begin_field(s, field_named(name));
        begin_value(s);
        s->state = HS_VALUE;
        return true;
    }
    if (s->state == HS_BLANK && s->line_at == 0 && str_eq(name, STR("From"))) {
        begin_field(s, HEADER_MBOX);
        s->state = HS_MBOX;
        return true;
    }
    return false;
}

// Takes octets of the name; returns how many. Ends the header when it cannot be one.
static size_t scan_name(struct header_scan *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        bool blank = c == ' ' || c == '\t';
        if (blank && s->name_len > 0) {
            s->state = HS_BLANK;
        } else if (c > ' ' && c < 0x7f && c != ':' && s->state == HS_NAME) {
            if (s->name_len < sizeof(s->name))
                s->name[s->name_len++] = c;
        } else {
            if (!after_name(s, c))
                end_header(s, s->line_at);
            return i + 1;
        }
    }
    return n;
}

// Octets of one line, without its end.
static void scan_line(struct header_scan *s, const char *p, size_t n)
{
    if (n > 0 && s->state == HS_LINE) {
        s->name_len = 0;
        bool more = (p[0] == ' ' || p[0] == '\t') && s->in_field;
        s->state = more ? s->field == HEADER_MBOX ? HS_MBOX : HS_VALUE : HS_NAME;
    }
    if (s->state == HS_NAME || s->state == HS_BLANK) {
        size_t taken = scan_name(s, p, n);
        p += taken;
        n -= taken;
    }
    if (!s->ended && s->state == HS_VALUE && s->keep && n > 0)
        keep_value(s, p, n);
}

// ---- Octets and lines ----

static bool any_8bit(const char *p, size_t n)
{
    uint64_t all = 0, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        all |= word;
    }
    for (; n > 0; n--)
        all |= (unsigned char)*p++;
    return (all & 0x8080808080808080u) != 0;
}

static void end_line(struct header_scan *s)
{
    if (!s->cr)
        s->bare_lf = true;
    s->cr = false;
    if (s->line_len > s->longest_line)
        s->longest_line = s->line_len;
    s->line_len = 0;
    if (!s->ended) {
        if (s->state == HS_LINE) {
            s->separator = true;
            end_header(s, s->size);
        } else if (s->state == HS_NAME || s->state == HS_BLANK) {
            end_header(s, s->line_at);
        }
        s->state = HS_LINE;
    }
    if (s->line_8bit)
        *(s->ended ? &s->body_8bit : &s->header_8bit) = true;
    s->line_8bit = false;
    s->line_at = s->size;
}

// Octets of one line without LF: counts them and looks for stray CR.
static void line_octets(struct header_scan *s, const char *p, size_t n)
{
    if (n == 0)
        return;
    if (s->cr) {
        s->bare_cr = true;
        s->line_len++;
        if (!s->ended)
            scan_line(s, "\r", 1);
    }
    const char *cr = memchr(p, '\r', n);
    s->cr = p[n - 1] == '\r';
    if (cr != NULL && cr != p + n - 1)
        s->bare_cr = true;
    s->line_len += n - s->cr;
    if (!s->ended)
        scan_line(s, p, n - s->cr);
}

void header_scan_feed(struct header_scan *s, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    s->nul = s->nul || memchr(bytes, '\0', len) != NULL;
    const char *end = bytes + len;
    while (bytes < end) {
        if (s->ended && !s->line_8bit)
            s->body_8bit = s->body_8bit || any_8bit(bytes, (size_t)(end - bytes));
        bool in_body = s->ended;
        do {
            const char *lf = memchr(bytes, '\n', (size_t)(end - bytes));
            size_t n = (size_t)((lf != NULL ? lf : end) - bytes);
            if (!in_body)
                s->line_8bit = s->line_8bit || any_8bit(bytes, n);
            line_octets(s, bytes, n);
            s->size += n + (lf != NULL);
            bytes += n + (lf != NULL);
            if (lf != NULL)
                end_line(s);
        } while (bytes < end && (in_body || !s->ended));
    }
}

void header_scan_end(struct header_scan *s)
{
    if (s->cr) {
        s->bare_cr = true;
        s->line_len++;
        if (!s->ended)
            scan_line(s, "\r", 1);
        s->cr = false;
    }
    if (!s->ended) {
        bool partial = s->state == HS_NAME || s->state == HS_BLANK;
        if (!partial)
            s->line_at = s->size;
        end_header(s, s->line_at);
        if (!partial && s->line_8bit)
            s->header_8bit = true, s->line_8bit = false;
    }
    if (s->line_8bit)
        s->body_8bit = true;
    s->line_8bit = false;
    if (s->line_len > s->longest_line)
        s->longest_line = s->line_len;
}

// ---- Completing ----

struct fix {
    const struct header_wants *wants;
    struct arena *arena;
    struct header_edit *edits;
    size_t count, cap;
};

static void add_edit(struct fix *f, uint64_t at, uint64_t remove, struct str insert)
{
    if (f->count == f->cap) {
        size_t cap = f->cap > 0 ? f->cap * 2 : 8;
        struct header_edit *more = arena_alloc(f->arena, cap * sizeof(*more));
        if (f->count > 0)
            memcpy(more, f->edits, f->count * sizeof(*more));
        f->edits = more;
        f->cap = cap;
    }
    f->edits[f->count++] = (struct header_edit){at, remove, insert};
}

static void fix_field(void *ctx, enum header_field field, uint64_t start, uint64_t end)
{
    struct fix *f = ctx;
    bool bcc = field == HEADER_BCC || field == HEADER_RESENT_BCC;
    if (field == HEADER_MBOX || (bcc && f->wants->drop_bcc))
        add_edit(f, start, end - start, (struct str){0});
}

static void put_field(struct buf *out, const char *name, struct str value)
{
    struct fold fold = fold_begin(out, name);
    fold_word(&fold, value);
    fold_end(&fold);
}

size_t header_fix(struct str content, const struct header_wants *wants, struct arena *arena,
                  struct header_edit **edits_out)
{
    struct fix f = {.wants = wants, .arena = arena};
    struct header_scan s;
    header_scan_init(&s);
    s.on_field = fix_field;
    s.ctx = &f;
    header_scan_feed(&s, content.ptr, content.len);
    header_scan_end(&s);

    struct buf more;
    buf_init(&more, 8192);
    // The last field may be the end of all, without its line end.
    const struct header_edit *last = f.count > 0 ? &f.edits[f.count - 1] : NULL;
    bool dropped = last != NULL && last->at + last->remove == s.fields_end;
    if (s.fields_end > 0 && !dropped && content.ptr[s.fields_end - 1] != '\n')
        buf_puts(&more, "\r\n");
    char date[TIME_TEXT];
    if (wants->add_date && s.count[HEADER_DATE] == 0)
        put_field(&more,
                  "Date:", str_of(time_rfc5322(wants->wall_ms, wants->offset_minutes, date)));
    if (wants->from.len > 0 && s.count[HEADER_FROM] == 0)
        put_field(&more, "From:", wants->from);
    if (wants->message_id.len > 0 && s.count[HEADER_MESSAGE_ID] == 0)
        put_field(&more, "Message-ID:", wants->message_id);
    if (!s.separator)
        buf_puts(&more, "\r\n");
    if (more.len > 0)
        add_edit(&f, s.fields_end, 0, arena_dup(arena, buf_str(&more)));
    buf_free(&more);
    *edits_out = f.edits;
    return f.count;
}

bool header_apply(struct buf *out, struct str content, const struct header_edit *edits,
                  size_t count)
{
    size_t at = 0;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        assert(edits[i].at >= at && edits[i].at + edits[i].remove <= content.len);
        ok = ok && buf_append(out, content.ptr + at, edits[i].at - at) &&
             buf_add(out, edits[i].insert);
        at = edits[i].at + edits[i].remove;
    }
    return ok && (at == content.len || buf_append(out, content.ptr + at, content.len - at));
}

// Encoded words hold at most 75 characters (RFC 2047 section 2), whole UTF-8 characters each.
void header_put_encoded(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t n = 0;
        for (size_t c; n < text.len; n += c) {
            c = utf8_len(str_make(text.ptr + n, text.len - n));
            c = c > 0 ? c : 1;
            if (n + c > 45)
                break;
        }
        buf_puts(out, "=?UTF-8?B?");
        base64_encode(out, str_make(text.ptr, n));
        buf_puts(out, n < text.len ? "?= " : "?=");
        text.ptr += n;
        text.len -= n;
    }
}

bool header_put_mailbox(struct buf *out, struct str name, struct str address)
{
    bool was_full = out->full;
    size_t before = out->len;
    out->full = false;
    name = str_trim(name);
    if (name.len > 0 && !ascii_only(name)) {
        header_put_encoded(out, name);
    } else if (name.len > 0) {
        buf_putc(out, '"');
        for (size_t i = 0; i < name.len; i++) {
            if (name.ptr[i] == '"' || name.ptr[i] == '\\')
                buf_putc(out, '\\');
            buf_putc(out, name.ptr[i] < ' ' || name.ptr[i] == 0x7f ? ' ' : name.ptr[i]);
        }
        buf_putc(out, '"');
    }
    buf_puts(out, name.len > 0 ? " <" : "");
    buf_add(out, address);
    buf_puts(out, name.len > 0 ? ">" : "");
    bool ok = !out->full;
    if (!ok)
        out->len = before;
    out->full = was_full || !ok;
    return ok;
}
