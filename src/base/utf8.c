// SPDX-License-Identifier: ISC
// UTF-8.
#include "base/utf8.h"

size_t utf8_len(struct str s)
{
    if (s.len == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (p[0] < 0x80)
        return 1;
    // The second byte's range rules out overlong forms, surrogates and what lies above U+10FFFF.
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
               : p[0] >= 0xe0 && p[0] <= 0xef ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (n == 0 || s.len < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

bool utf8_valid(struct str s)
{
    while (s.len > 0) {
        size_t n = utf8_len(s);
        if (n == 0)
            return false;
        s.ptr += n;
        s.len -= n;
    }
    return true;
}

bool ascii_only(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

// Whether the character of n bytes (0: none) at p is nothing to show.
static bool is_hidden(const unsigned char *p, size_t n)
{
    bool c1 = n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
    // U+2028 to U+202E, U+2066 to U+2069: other lines, and other words than those written.
    bool turns = n == 3 && p[0] == 0xe2 &&
                 ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
                  (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
    return n == 0 || c1 || turns || p[0] < 0x20 || p[0] == 0x7f;
}

bool utf8_escape(struct buf *out, struct str s)
{
    while (s.len > 0) {
        const unsigned char *p = (const unsigned char *)s.ptr;
        size_t n = utf8_len(s);
        if (is_hidden(p, n)) {
            n = n == 0 ? 1 : n;
            for (size_t i = 0; i < n; i++)
                buf_printf(out, "\\x%02x", p[i]);
        } else {
            buf_append(out, s.ptr, n);
        }
        s.ptr += n;
        s.len -= n;
    }
    return !out->full;
}

void utf8_make_plain(char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        size_t n = utf8_len(str_make(text, left));
        bool hidden = is_hidden((const unsigned char *)text, n);
        n = n == 0 ? 1 : n;
        if (hidden)
            memset(text, '?', n);
        text += n;
        left -= n;
    }
}
