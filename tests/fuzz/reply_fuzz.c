// SPDX-License-Identifier: ISC
// Replies: whatever the bytes and however they are cut, the same replies come out.
#include "proto/smtp_reply.h"

#include "base/utf8.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPLIES = 16 };

struct seen {
    unsigned code;
    uint8_t enhanced[3];
    bool bad;
    uint64_t text;
    size_t end;
};

static uint64_t digest(struct str s)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    return h;
}

static size_t read_all(const char *bytes, size_t len, size_t chunk, struct seen out[REPLIES])
{
    struct smtp_reply r;
    size_t count = 0, at = 0;
    smtp_reply_init(&r);
    while (at < len && count < REPLIES) {
        size_t n = len - at < chunk ? len - at : chunk, used;
        bool done = smtp_reply_feed(&r, bytes + at, n, &used);
        assert(used <= n && (done || used == n));
        at += used;
        if (!done)
            continue;
        struct str line = smtp_reply_line(&r);
        assert(utf8_valid(line));
        for (size_t i = 0; i < line.len; i++)
            assert((unsigned char)line.ptr[i] >= 0x20 && line.ptr[i] != 0x7f);
        assert(r.text.len <= LIMIT_REPLY_BYTES);
        assert(r.bad != NULL ? r.code == 0 : r.code >= 200 && r.code <= 599);
        out[count] = (struct seen){.code = r.code, .bad = r.bad != NULL, .end = at};
        memcpy(out[count].enhanced, r.enhanced, 3);
        out[count++].text = digest(buf_str(&r.text)) ^ digest(line);
        if (r.bad != NULL)
            break;
    }
    smtp_reply_free(&r);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct seen whole[REPLIES], cut[REPLIES];
    size_t count = read_all((const char *)data + 1, size - 1, SIZE_MAX, whole);
    size_t again = read_all((const char *)data + 1, size - 1, 1 + data[0] % 17, cut);
    assert(count == again);
    for (size_t i = 0; i < count; i++) {
        assert(whole[i].code == cut[i].code && whole[i].bad == cut[i].bad);
        assert(whole[i].text == cut[i].text && whole[i].end == cut[i].end);
        assert(memcmp(whole[i].enhanced, cut[i].enhanced, 3) == 0);
    }
    return 0;
}
