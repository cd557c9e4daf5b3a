// SPDX-License-Identifier: ISC
// =?charset[*language]?encoding?text?=  (RFC 2047 section 2, RFC 2231 section 5)
#include "mail/encoded_word.h"
#include "base/base64.h"
#include "base/utf8.h"

enum { WORD_MAX = 1024 }; // RFC 2047 says 75; real ones are longer

struct word {
    struct str charset, text;
    char encoding; // 'b' or 'q'
    size_t len;    // of all of it
};

static bool take_until(struct str *rest, const char *end, struct str *head_out)
{
    size_t n = strlen(end);
    for (size_t i = 0; i + n <= rest->len; i++) {
        if (memcmp(rest->ptr + i, end, n) == 0) {
            *head_out = str_make(rest->ptr, i);
            *rest = str_make(rest->ptr + i + n, rest->len - i - n);
            return true;
        }
        if (rest->ptr[i] == ' ' || rest->ptr[i] == '\t')
            return false; // there is none inside of one
    }
    return false;
}

// Is there an encoded word at the front of s?
static bool word_at(struct str s, struct word *w)
{
    struct str rest = str_make(s.ptr, s.len < WORD_MAX ? s.len : WORD_MAX), encoding;
    if (!str_starts(rest, STR("=?")))
        return false;
    rest = str_make(rest.ptr + 2, rest.len - 2);
    if (!take_until(&rest, "?", &w->charset) || !take_until(&rest, "?", &encoding) ||
        !take_until(&rest, "?=", &w->text) || encoding.len != 1)
        return false;
    w->charset.len = str_find(w->charset, '*');
    w->encoding = ascii_lower(encoding.ptr[0]);
    w->len = (size_t)(rest.ptr - s.ptr);
    return w->encoding == 'b' || w->encoding == 'q';
}

static int hex(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool q_decode(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '=') {
            buf_putc(out, text.ptr[i] == '_' ? ' ' : text.ptr[i]);
            continue;
        }
        if (i + 2 >= text.len || hex(text.ptr[i + 1]) < 0 || hex(text.ptr[i + 2]) < 0)
            return false;
        buf_putc(out, (char)(hex(text.ptr[i + 1]) * 16 + hex(text.ptr[i + 2])));
        i += 2;
    }
    return true;
}

static void from_latin1(struct buf *out, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c >= 0x80)
            buf_putc(out, (char)(0xc0 | c >> 6));
        buf_putc(out, (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c));
    }
}

static bool word_show(struct buf *out, const struct word *w)
{
    bool latin1 = str_ieq(w->charset, STR("iso-8859-1"));
    if (!latin1 && !str_ieq(w->charset, STR("utf-8")) && !str_ieq(w->charset, STR("us-ascii")))
        return false;
    struct buf bytes;
    buf_init(&bytes, WORD_MAX);
    bool ok = w->encoding == 'q' ? q_decode(&bytes, w->text) : base64_decode(&bytes, w->text);
    if (ok && latin1)
        from_latin1(out, buf_str(&bytes));
    else if (ok)
        buf_add(out, buf_str(&bytes));
    buf_free(&bytes);
    return ok;
}

static size_t blanks(struct str s)
{
    size_t n = 0;
    while (n < s.len && (s.ptr[n] == ' ' || s.ptr[n] == '\t'))
        n++;
    return n;
}

// Cut to max, not within a character.
static struct str cut(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return str_make(s.ptr, max);
}

void encoded_word_show(struct buf *out, struct str field, size_t max)
{
    struct buf shown;
    bool after_word = false; // only blanks since
    buf_init(&shown, field.len * 2 + 1);
    while (field.len > 0) {
        size_t gap = blanks(field);
        struct word w;
        struct str next = str_make(field.ptr + gap, field.len - gap);
        size_t used = gap;
        if (word_at(next, &w)) {
            size_t before = shown.len;
            if (!after_word)
                buf_append(&shown, field.ptr, gap);
            after_word = word_show(&shown, &w);
            if (!after_word) {
                shown.len = before;
                buf_append(&shown, field.ptr, gap + w.len);
            }
            used += w.len;
        } else {
            while (used < field.len && field.ptr[used] != ' ' && field.ptr[used] != '\t' &&
                   (used == gap || field.ptr[used] != '='))
                used++;
            buf_append(&shown, field.ptr, used);
            after_word = false;
        }
        field = str_make(field.ptr + used, field.len - used);
    }
    buf_add(out, cut(buf_str(&shown), max));
    buf_free(&shown);
}
