// SPDX-License-Identifier: ISC
// Replies of an SMTP server.
//
// What must hold, however hostile the bytes:
// 1. Only LF ends a line, so nothing inside a line can look like a further reply.
// 2. All lines of a reply carry the same code; a reply that changes its mind is no reply.
// 3. Memory is bounded by LIMIT_REPLY_BYTES, reading by LIMIT_EHLO_BYTES.
#include "proto/smtp_reply.h"

#include "base/utf8.h"

enum { HEAD = 4 }; // three digits and the separator

void smtp_reply_init(struct smtp_reply *r)
{
    *r = (struct smtp_reply){0};
    buf_init(&r->text, LIMIT_REPLY_BYTES);
    // Every byte may become four, and the last line is escaped whole.
    buf_init(&r->line, 8 * LIMIT_OUTCOME_TEXT);
}

void smtp_reply_free(struct smtp_reply *r)
{
    buf_free(&r->text);
    buf_free(&r->line);
}

void smtp_reply_reset(struct smtp_reply *r)
{
    buf_clear(&r->text);
    r->code = 0;
    memset(r->enhanced, 0, sizeof(r->enhanced));
    r->bad = NULL;
    r->done = r->lined = false;
    r->head = 0;
    r->lines = r->total = r->line_at = 0;
}

static void keep(struct smtp_reply *r, const char *bytes, size_t len)
{
    size_t line_room = LIMIT_REPLY_LINE - (r->text.len - r->line_at);
    size_t room = LIMIT_REPLY_BYTES - r->text.len;
    room = r->lines >= LIMIT_REPLY_LINES ? 0 : room < line_room ? room : line_room;
    buf_append(&r->text, bytes, len < room ? len : room);
}

// The line is no reply line. It is read to its end all the same, to be shown.
static void spoil(struct smtp_reply *r, const char *why)
{
    r->bad = why;
    buf_clear(&r->text);
    r->line_at = 0;
    r->lines = 0;
    keep(r, r->seen, r->head);
    r->head = HEAD;
}

static void start_line(struct smtp_reply *r)
{
    uint16_t code =
        (uint16_t)((r->seen[0] - '0') * 100 + (r->seen[1] - '0') * 10 + (r->seen[2] - '0'));
    if (r->lines > 0 && code != r->code) {
        spoil(r, "the lines of a reply carry different codes");
        return;
    }
    r->code = code;
    if (r->lines > 0 && r->lines < LIMIT_REPLY_LINES && r->text.len < LIMIT_REPLY_BYTES)
        buf_putc(&r->text, '\n');
    r->line_at = r->text.len;
}

static void take_head(struct smtp_reply *r, char c)
{
    unsigned at = r->head++;
    r->seen[at] = c;
    if (at == 0 ? c < '2' || c > '5' : at < 3 && !ascii_is_digit(c))
        spoil(r, "not a reply");
    else if (at == 3 && c != ' ' && c != '-' && c != '\r')
        spoil(r, "no blank behind the reply code");
    else if (at == 3)
        start_line(r);
}

// "5.7.1 text": takes the code off the front of *line. False leaves both alone.
static bool take_enhanced(struct str *line, uint16_t code, uint8_t enhanced_out[3])
{
    struct str rest = *line;
    uint8_t parts[3];
    for (int i = 0; i < 3; i++) {
        size_t n = 0;
        while (n < rest.len && ascii_is_digit(rest.ptr[n]))
            n++;
        uint64_t value;
        if (!str_u64(str_make(rest.ptr, n), 255, &value))
            return false;
        parts[i] = (uint8_t)value;
        char after = n < rest.len ? rest.ptr[n] : ' ';
        if (after != (i < 2 ? '.' : ' '))
            return false;
        n = n < rest.len ? n + 1 : n;
        rest = str_make(rest.ptr + n, rest.len - n);
    }
    if (parts[0] != code / 100 || parts[0] == 3)
        return false;
    memcpy(enhanced_out, parts, sizeof(parts));
    *line = rest;
    return true;
}

// True when it was the last line.
static bool end_line(struct smtp_reply *r)
{
    if (r->head == 3)
        take_head(r, '\r'); // "250" alone
    else if (r->head < 3)
        spoil(r, "not a reply");
    while (r->text.len > r->line_at && r->text.data[r->text.len - 1] == '\r')
        r->text.len--;
    if (r->bad == NULL && r->seen[3] == '\r' && r->text.len > r->line_at)
        r->bad = "no blank behind the reply code";
    r->lines++;
    r->head = 0;
    return r->bad != NULL || r->seen[3] != '-';
}

static void finish(struct smtp_reply *r)
{
    r->done = true;
    if (r->bad != NULL) {
        r->code = 0;
        return;
    }
    struct str rest = buf_str(&r->text), first = {0};
    str_split(&rest, '\n', &first);
    take_enhanced(&first, r->code, r->enhanced);
}

bool smtp_reply_feed(struct smtp_reply *r, const char *bytes, size_t len, size_t *used_out)
{
    if (r->done)
        smtp_reply_reset(r);
    size_t room = LIMIT_EHLO_BYTES - r->total, end = len < room ? len : room, at = 0;
    while (at < end && !r->done) {
        if (r->head < HEAD && bytes[at] != '\n') {
            take_head(r, bytes[at++]);
            continue;
        }
        const char *lf = memchr(bytes + at, '\n', end - at);
        size_t stop = lf != NULL ? (size_t)(lf - bytes) : end;
        keep(r, bytes + at, stop - at);
        at = stop;
        if (lf == NULL)
            break;
        at++;
        if (end_line(r))
            finish(r);
    }
    r->total += at;
    if (!r->done && r->total == LIMIT_EHLO_BYTES) {
        r->bad = "a reply without end";
        finish(r);
    }
    *used_out = at;
    return r->done;
}

struct str smtp_reply_line(struct smtp_reply *r)
{
    if (r->lined)
        return buf_str(&r->line);
    buf_clear(&r->line);
    struct str rest = buf_str(&r->text), line;
    while (r->line.len < LIMIT_OUTCOME_TEXT && str_split(&rest, '\n', &line)) {
        uint8_t ignored[3];
        if (r->code != 0)
            take_enhanced(&line, r->code, ignored);
        line = str_trim(line);
        if (line.len == 0)
            continue;
        if (r->line.len > 0)
            buf_putc(&r->line, ' ');
        line.len = line.len < LIMIT_OUTCOME_TEXT ? line.len : LIMIT_OUTCOME_TEXT;
        utf8_escape(&r->line, line);
    }
    r->lined = true;
    return buf_str(&r->line);
}

void smtp_reply_keep(const struct smtp_reply *r, struct smtp_said *out)
{
    struct str rest = buf_str(&r->text), line;
    size_t len = 0;
    out->code = r->code;
    while (str_split(&rest, '\n', &line)) {
        size_t n = line.len < SMTP_SAID_LINE ? line.len : SMTP_SAID_LINE;
        if (len + n + 2 > sizeof(out->text))
            break;
        if (len > 0)
            out->text[len++] = '\n';
        if (n > 0)
            memcpy(out->text + len, line.ptr, n);
        len += n;
    }
    out->text[len] = '\0';
}
