// SPDX-License-Identifier: ISC
// A growable byte buffer, born with its maximum.
#include "base/buf.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    xfree(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->full = false;
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (len > b->max || b->len > b->max - len) {
        b->full = true;
        return NULL;
    }
    size_t need = b->len + len + 1; // + 1: room for the NUL of buf_cstr
    if (need > b->cap) {
        size_t cap = b->cap < 64 ? 64 : b->cap * 2;
        if (cap < need)
            cap = need;
        if (cap > b->max + 1)
            cap = b->max + 1;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    char *to = buf_reserve(b, len);
    if (to == NULL)
        return false;
    if (len > 0)
        memcpy(to, data, len);
    b->len += len;
    return true;
}

bool buf_add(struct buf *b, struct str s)
{
    return buf_append(b, s.ptr, s.len);
}

bool buf_puts(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_putc(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

bool buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    char *to = buf_reserve(b, (size_t)len);
    if (to != NULL) {
        vsnprintf(to, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    }
    va_end(again);
    return to != NULL;
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = buf_vprintf(b, format, args);
    va_end(args);
    return ok;
}

void buf_consume(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len -= len;
    if (b->len > 0 && len > 0)
        memmove(b->data, b->data + len, b->len);
}

const char *buf_cstr(struct buf *b)
{
    if (b->data == NULL)
        return "";
    b->data[b->len] = '\0';
    return b->data;
}

static bool put_le(struct buf *b, uint64_t v, size_t width)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    return buf_append(b, bytes, width);
}

bool buf_put_u8(struct buf *b, uint8_t v)
{
    return put_le(b, v, 1);
}

bool buf_put_u16(struct buf *b, uint16_t v)
{
    return put_le(b, v, 2);
}

bool buf_put_u32(struct buf *b, uint32_t v)
{
    return put_le(b, v, 4);
}

bool buf_put_u64(struct buf *b, uint64_t v)
{
    return put_le(b, v, 8);
}

bool buf_put_str(struct buf *b, struct str s)
{
    if (s.len > UINT32_MAX || buf_reserve(b, s.len + 4) == NULL)
        return false;
    return buf_put_u32(b, (uint32_t)s.len) && buf_add(b, s);
}

bool str_get_str(struct str *in, struct str *s_out)
{
    struct str rest = *in;
    uint32_t len;
    if (!str_get_u32(&rest, &len) || rest.len < len)
        return false;
    *s_out = str_make(rest.ptr, len);
    *in = str_make(rest.ptr + len, rest.len - len);
    return true;
}
