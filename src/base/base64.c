// SPDX-License-Identifier: ISC
// Base64, and base32 ids.
#include "base/base64.h"

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char digits32[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

bool base64_encode(struct buf *out, struct str in)
{
    size_t len = (in.len + 2) / 3 * 4;
    char *to = buf_reserve(out, len);
    if (to == NULL)
        return false;
    const unsigned char *p = (const unsigned char *)in.ptr;
    for (size_t left = in.len; left > 0;) {
        size_t n = left < 3 ? left : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        *to++ = digits64[v >> 18];
        *to++ = digits64[v >> 12 & 63];
        *to++ = n > 1 ? digits64[v >> 6 & 63] : '=';
        *to++ = n > 2 ? digits64[v & 63] : '=';
        p += n;
        left -= n;
    }
    out->len += len;
    return true;
}

static int value64(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct buf *out, struct str in)
{
    if (in.len % 4 != 0)
        return false;
    size_t before = out->len;
    for (size_t i = 0; i < in.len; i += 4) {
        bool last = i + 4 == in.len;
        int pad = last && in.ptr[i + 3] == '=' ? (in.ptr[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;
        bool good = true;
        for (int j = 0; j < 4; j++) {
            int d = j < 4 - pad ? value64(in.ptr[i + (size_t)j]) : 0;
            good = good && d >= 0;
            v = v << 6 | ((uint32_t)d & 63);
        }
        char bytes[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        bool spare_bits = pad == 1 ? (v & 0xff) != 0 : pad == 2 && (v & 0xffff) != 0;
        if (!good || spare_bits || !buf_append(out, bytes, 3 - (size_t)pad)) {
            out->len = before;
            return false;
        }
    }
    return true;
}

const char *id_format(uint64_t id, char text[ID_TEXT_SIZE])
{
    char reversed[ID_TEXT_SIZE];
    size_t n = 0;
    do {
        reversed[n++] = digits32[id & 31];
        id >>= 5;
    } while (id != 0 || n < 6);
    for (size_t i = 0; i < n; i++)
        text[i] = reversed[n - 1 - i];
    text[n] = '\0';
    return text;
}

bool id_parse(struct str text, uint64_t *id_out)
{
    uint64_t id = 0;
    if (text.len == 0 || text.len > 13)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = ascii_upper(text.ptr[i]);
        c = c == 'I' || c == 'L' ? '1' : c == 'O' ? '0' : c;
        const char *hit = c != '\0' ? strchr(digits32, c) : NULL;
        if (hit == NULL || id >> 59 != 0)
            return false;
        id = id << 5 | (uint64_t)(hit - digits32);
    }
    *id_out = id;
    return true;
}
