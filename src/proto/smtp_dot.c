// SPDX-License-Identifier: ISC
// The content scanner: whole runs of lines are handed on as one slice; only a dot at the start of a
// line breaks a run.
#include "proto/smtp_dot.h"

static void watch_bytes(struct smtp_dot *dot, const char *bytes, size_t len)
{
    if (!dot->nul && memchr(bytes, 0, len) != NULL)
        dot->nul = true;
    if (dot->eight_bit)
        return;
    uint64_t any = 0, word;
    size_t i = 0;
    for (; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        any |= word;
    }
    for (; i < len; i++)
        any |= (unsigned char)bytes[i];
    dot->eight_bit = (any & 0x8080808080808080) != 0;
}

// One piece of a line: up to and with the LF when there is one. Returns its length.
static size_t watch_line(struct smtp_dot *dot, const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t text = lf != NULL ? (size_t)(lf - bytes) : len;
    size_t taken = lf != NULL ? text + 1 : len;
    if (dot->after_cr && text > 0)
        dot->bare_cr = true;
    bool ends_in_cr = text > 0 ? bytes[text - 1] == '\r' : dot->after_cr;
    if (text > 1 && memchr(bytes, '\r', text - 1) != NULL)
        dot->bare_cr = true;
    dot->line_bytes += taken;
    if (dot->line_bytes > dot->longest_line)
        dot->longest_line = dot->line_bytes;
    dot->state = SMTP_DOT_LINE;
    dot->after_cr = lf == NULL && ends_in_cr;
    if (lf != NULL && ends_in_cr) {
        dot->state = SMTP_DOT_START;
        dot->line_bytes = 0;
    } else if (lf != NULL) {
        dot->bare_lf = true;
    }
    return taken;
}

// The few bytes that are not simply content. Returns how many were taken; *end_out as above.
static size_t take_dots(struct smtp_dot *dot, struct str in, bool *end_out)
{
    size_t pos = 0;
    while (pos < in.len && dot->state != SMTP_DOT_LINE) {
        char c = in.ptr[pos];
        if (dot->state == SMTP_DOT_START && c == '.') {
            dot->state = SMTP_DOT_DOT;
        } else if (dot->state == SMTP_DOT_DOT && c == '\r') {
            dot->state = SMTP_DOT_DOT_CR;
        } else if (dot->state == SMTP_DOT_DOT_CR && c == '\n') {
            *end_out = true;
            return pos + 1;
        } else {
            // The CR behind a dot is bare; that it is not handed on does not matter any more.
            dot->bare_cr |= dot->state == SMTP_DOT_DOT_CR;
            dot->state = SMTP_DOT_LINE;
            return pos;
        }
        pos++;
    }
    return pos;
}

size_t smtp_dot_next(struct smtp_dot *dot, struct str in, struct str *slice_out, bool *end_out)
{
    *end_out = false;
    *slice_out = str_make(in.ptr, 0);
    size_t pos = take_dots(dot, in, end_out);
    if (*end_out || pos == in.len)
        return pos;
    size_t begin = pos;
    while (pos < in.len) {
        if (dot->state == SMTP_DOT_START && in.ptr[pos] == '.')
            break;
        pos += watch_line(dot, in.ptr + pos, in.len - pos);
    }
    *slice_out = str_make(in.ptr + begin, pos - begin);
    watch_bytes(dot, in.ptr + begin, pos - begin);
    return pos;
}

void smtp_dot_watch(struct smtp_dot *dot, struct str in)
{
    watch_bytes(dot, in.ptr, in.len);
    for (size_t pos = 0; pos < in.len;)
        pos += watch_line(dot, in.ptr + pos, in.len - pos);
}
