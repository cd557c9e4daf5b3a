// SPDX-License-Identifier: ISC
// xtext.
#include "mail/xtext.h"

static bool is_xchar(char c)
{
    return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

bool xtext_encode(struct buf *out, struct str in)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t before = out->len;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.ptr[i];
        char hex[3] = {'+', digits[c >> 4], digits[c & 15]};
        if (is_xchar(in.ptr[i]) ? buf_putc(out, in.ptr[i]) : buf_append(out, hex, 3))
            continue;
        out->len = before;
        return false;
    }
    return true;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool xtext_decode(struct buf *out, struct str in)
{
    size_t before = out->len;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        bool good = is_xchar(c);
        if (c == '+' && in.len - i > 2) {
            int high = hex_value(in.ptr[i + 1]), low = hex_value(in.ptr[i + 2]);
            good = high >= 0 && low >= 0;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (good && buf_putc(out, c))
            continue;
        out->len = before;
        return false;
    }
    return true;
}
