// SPDX-License-Identifier: ISC
// The packed envelope. One message costs one of these in the journal and, while it waits, in
// memory, so it is small.
//
//   u8      version, 1 to 3
//   u8      bits 0-1 body, 2-3 ret, 4-5 priority, 6 smtputf8, 7 is_dsn
//   u64     accepted_ms
//   text    sender, envid, client, helo, user, listener, subject
//   number  count, then for each recipient:  u8 notify,  text address,  text orcpt
//   number  from version 2: how many header fields, then for each:  text name,  text
//   u64     version 3 only: release_ms, not 0
//   number  version 3 only: hold_s
//
// The lowest version that holds it all is written: 2 has at least one field.
// A number is LEB128 in its shortest form; a text is a number and so many bytes. There is exactly
// one packed form of an envelope: whatever unpacks, packs to the same bytes again. What a later
// version adds stands behind the last recipient under a higher version; a version of tomorrow is
// refused rather than half understood.
#include "mail/envelope.h"

#include <assert.h>

enum {
    VERSION = 1,
    VERSION_HEADERS = 2,
    VERSION_RELEASE = 3,
    RCPT_LEAST = 3, // notify and two lengths
    HEADER_LEAST = 2,
};

static void put_number(struct buf *out, size_t v)
{
    while (v >= 0x80) {
        buf_put_u8(out, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(out, (uint8_t)v);
}

static void put_text(struct buf *out, struct str s)
{
    put_number(out, s.len);
    buf_add(out, s);
}

static bool get_number(struct str *in, size_t *v_out)
{
    uint64_t v = 0;
    uint8_t byte;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (!str_get_u8(in, &byte))
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *v_out = (size_t)v;
            return (byte != 0 || shift == 0) && v <= UINT32_MAX;
        }
    }
    return false;
}

static bool get_text(struct str *in, struct str *s_out)
{
    size_t len;
    if (!get_number(in, &len) || in->len < len)
        return false;
    *s_out = str_make(in->ptr, len);
    in->ptr += len;
    in->len -= len;
    return true;
}

static uint8_t version_of(const struct envelope *e)
{
    if (e->release_ms != 0)
        return VERSION_RELEASE;
    return e->header_count > 0 ? VERSION_HEADERS : VERSION;
}

bool envelope_pack(struct buf *out, const struct envelope *e)
{
    uint8_t version = version_of(e);
    assert(e->body <= BODY_BINARYMIME && e->ret <= RET_HDRS && e->priority <= PRIORITY_URGENT);
    size_t before = out->len;
    bool was_full = out->full;
    out->full = false;
    buf_put_u8(out, version);
    buf_put_u8(out,
               (uint8_t)((unsigned)e->body | (unsigned)e->ret << 2 | (unsigned)e->priority << 4 |
                         (unsigned)e->smtputf8 << 6 | (unsigned)e->is_dsn << 7));
    buf_put_u64(out, (uint64_t)e->accepted_ms);
    const struct str texts[] = {e->sender, e->envid,    e->client, e->helo,
                                e->user,   e->listener, e->subject};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(out, texts[i]);
    put_number(out, e->count);
    for (size_t i = 0; i < e->count; i++) {
        assert(e->rcpts[i].notify < 16);
        buf_put_u8(out, e->rcpts[i].notify);
        put_text(out, e->rcpts[i].address);
        put_text(out, e->rcpts[i].orcpt);
    }
    if (version >= VERSION_HEADERS)
        put_number(out, e->header_count);
    for (size_t i = 0; i < e->header_count; i++) {
        put_text(out, e->headers[i].name);
        put_text(out, e->headers[i].text);
    }
    if (version >= VERSION_RELEASE) {
        buf_put_u64(out, (uint64_t)e->release_ms);
        put_number(out, e->hold_s);
    }
    bool fitted = !out->full;
    if (!fitted)
        out->len = before;
    out->full = out->full || was_full;
    return fitted;
}

static bool unpack_rcpts(struct str *in, struct arena *arena, struct envelope *e)
{
    // The count is believed only as far as the bytes that are there.
    if (!get_number(in, &e->count) || e->count > in->len / RCPT_LEAST)
        return false;
    e->rcpts = arena_alloc(arena, e->count * sizeof(*e->rcpts));
    for (size_t i = 0; i < e->count; i++) {
        struct envelope_rcpt *r = &e->rcpts[i];
        if (!str_get_u8(in, &r->notify) || r->notify >= 16 || !get_text(in, &r->address) ||
            !get_text(in, &r->orcpt))
            return false;
    }
    return true;
}

static bool unpack_headers(struct str *in, struct arena *arena, struct envelope *e)
{
    if (!get_number(in, &e->header_count) || e->header_count > in->len / HEADER_LEAST)
        return false;
    e->headers = arena_alloc(arena, e->header_count * sizeof(*e->headers));
    for (size_t i = 0; i < e->header_count; i++)
        if (!get_text(in, &e->headers[i].name) || !get_text(in, &e->headers[i].text))
            return false;
    return true;
}

static bool unpack_release(struct str *in, struct envelope *e)
{
    uint64_t release;
    size_t hold;
    if (!str_get_u64(in, &release) || !get_number(in, &hold) || release == 0)
        return false;
    e->release_ms = (int64_t)release;
    e->hold_s = (uint32_t)hold;
    return true;
}

struct envelope_rcpt *envelope_add(struct envelope *e, struct arena *arena)
{
    // The array is full at 0 and at each power of two.
    if ((e->count & (e->count - 1)) == 0) {
        size_t room = e->count == 0 ? 1 : e->count * 2;
        struct envelope_rcpt *more = arena_alloc(arena, room * sizeof(*more));
        if (e->count > 0)
            memcpy(more, e->rcpts, e->count * sizeof(*more));
        e->rcpts = more;
    }
    struct envelope_rcpt *added = &e->rcpts[e->count++];
    *added = (struct envelope_rcpt){0};
    return added;
}

bool envelope_unpack(struct str packed, struct arena *arena, struct envelope *e_out)
{
    struct envelope e = {0};
    uint8_t version, bits;
    uint64_t accepted;
    if (!str_get_u8(&packed, &version) || version < VERSION || version > VERSION_RELEASE ||
        !str_get_u8(&packed, &bits) || !str_get_u64(&packed, &accepted))
        return false;
    e.body = bits & 3;
    e.ret = bits >> 2 & 3;
    e.priority = bits >> 4 & 3;
    e.smtputf8 = bits >> 6 & 1;
    e.is_dsn = bits >> 7;
    e.accepted_ms = (int64_t)accepted;
    if (e.body > BODY_BINARYMIME || e.ret > RET_HDRS || e.priority > PRIORITY_URGENT)
        return false;
    struct str *const texts[] = {&e.sender, &e.envid,    &e.client, &e.helo,
                                 &e.user,   &e.listener, &e.subject};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!get_text(&packed, texts[i]))
            return false;
    if (!unpack_rcpts(&packed, arena, &e) ||
        (version >= VERSION_HEADERS && !unpack_headers(&packed, arena, &e)) ||
        (version == VERSION_HEADERS && e.header_count == 0) ||
        (version >= VERSION_RELEASE && !unpack_release(&packed, &e)) || packed.len != 0)
        return false;
    *e_out = e;
    return true;
}

struct str envelope_domain(struct str address)
{
    const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;
    if (at == NULL)
        return str_make("", 0);
    return str_make(at + 1, address.len - (size_t)(at + 1 - address.ptr));
}
