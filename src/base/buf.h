// SPDX-License-Identifier: ISC
// A growable byte buffer, born with its maximum.
#pragma once

#include "base/str.h"

#include <stdarg.h>

// Bytes [0, len) are valid. A buffer never grows beyond `max`: an append that would is not made at
// all, returns false, and sets `full`, which stays set until buf_clear. So a caller may append many
// times and look once.
struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool full;
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b); // releases the memory; the buffer may be used again with the same max
void buf_clear(struct buf *b); // len = 0, keeps the memory

bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_add(struct buf *b, struct str s);
bool buf_puts(struct buf *b, const char *text);
bool buf_putc(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

// Room for at least `len` more bytes at data + len, or NULL when that would pass max. After writing
// there, add to b->len.
char *buf_reserve(struct buf *b, size_t len);

// Drops the first `len` bytes (len <= b->len).
void buf_consume(struct buf *b, size_t len);

// The contents as a C string; a NUL is kept behind the data (not counted). Valid until the next
// change.
const char *buf_cstr(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data, b->len};
}

// Little-endian numbers, for formats on disk and between threads.
bool buf_put_u8(struct buf *b, uint8_t v);
bool buf_put_u16(struct buf *b, uint16_t v);
bool buf_put_u32(struct buf *b, uint32_t v);
bool buf_put_u64(struct buf *b, uint64_t v);
// A u32 length, then the bytes.
bool buf_put_str(struct buf *b, struct str s);

// The reading side: each takes from the front of *in, false when too little is left (then *in is
// unchanged).
static inline bool str_get_bytes(struct str *in, void *out, size_t width)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are little-endian here");
    if (in->len < width)
        return false;
    memcpy(out, in->ptr, width);
    in->ptr += width;
    in->len -= width;
    return true;
}
static inline bool str_get_u8(struct str *in, uint8_t *v_out)
{
    return str_get_bytes(in, v_out, sizeof(*v_out));
}
static inline bool str_get_u16(struct str *in, uint16_t *v_out)
{
    return str_get_bytes(in, v_out, sizeof(*v_out));
}
static inline bool str_get_u32(struct str *in, uint32_t *v_out)
{
    return str_get_bytes(in, v_out, sizeof(*v_out));
}
static inline bool str_get_u64(struct str *in, uint64_t *v_out)
{
    return str_get_bytes(in, v_out, sizeof(*v_out));
}
bool str_get_str(struct str *in, struct str *s_out); // borrowed from *in
