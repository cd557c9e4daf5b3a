// SPDX-License-Identifier: ISC
// The header scanner: the same result in one piece and in pieces, which the input itself chooses;
// and a completed header is complete.
#include "mail/header.h"
#include "base/mem.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t ends; // every field begins where the one before ended
    uint64_t sum;
    struct buf values;
};

static void on_field(void *ctx, enum header_field field, uint64_t start, uint64_t end)
{
    struct seen *seen = ctx;
    assert(start == seen->ends && end > start && field < HEADER_FIELDS);
    seen->ends = end;
    seen->sum = seen->sum * 31 + end * HEADER_FIELDS + field;
}

// `sizes` gives the length of each piece, round and round; 0 ends it: the rest in one.
static void scan(struct header_scan *s, struct seen *seen, struct str in, struct str sizes)
{
    *seen = (struct seen){0};
    buf_init(&seen->values, 100);
    header_scan_init(s);
    s->own_host = STR("a");
    s->on_field = on_field;
    s->ctx = seen;
    s->capture[HEADER_TO] = s->capture[HEADER_CC] = s->capture[HEADER_RECEIVED] = &seen->values;
    for (size_t i = 0; in.len > 0; i++) {
        size_t n = sizes.len > 0 ? (unsigned char)sizes.ptr[i % sizes.len] : 0;
        n = n == 0 || n > in.len ? in.len : n;
        char *copy = xmalloc(n);
        memcpy(copy, in.ptr, n);
        header_scan_feed(s, copy, n);
        xfree(copy);
        in.ptr += n;
        in.len -= n;
    }
    header_scan_end(s);
}

static void same(const struct header_scan *a, const struct header_scan *b)
{
    assert(a->size == b->size && a->ended && b->ended && a->separator == b->separator);
    assert(a->fields_end == b->fields_end && a->body_at == b->body_at);
    assert(a->own_hops == b->own_hops && a->longest_line == b->longest_line);
    assert(a->header_8bit == b->header_8bit && a->body_8bit == b->body_8bit);
    assert(a->bare_cr == b->bare_cr && a->bare_lf == b->bare_lf && a->nul == b->nul);
    assert(memcmp(a->count, b->count, sizeof(a->count)) == 0);
    assert(str_eq(header_subject(a), header_subject(b)));
    assert(str_eq(header_message_id(a), header_message_id(b)));
}

static void complete(struct str in)
{
    struct header_wants wants = {true, true, 1, 0, STR("f@x"), STR("<i@x>")};
    struct arena *arena = arena_new();
    struct header_edit *edits;
    struct header_scan s;
    struct seen seen;
    size_t count = header_fix(in, &wants, arena, &edits);
    struct buf out;
    buf_init(&out, in.len + 1000);
    assert(header_apply(&out, in, edits, count));
    scan(&s, &seen, buf_str(&out), STR(""));
    assert(s.count[HEADER_FROM] > 0 && s.count[HEADER_DATE] > 0 && s.count[HEADER_MESSAGE_ID] > 0);
    assert(s.count[HEADER_BCC] == 0 && s.count[HEADER_RESENT_BCC] == 0 && s.separator);
    buf_free(&seen.values);
    buf_free(&out);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct str sizes = str_make((const char *)data, 3);
    struct str in = str_make((const char *)data + 3, size - 3);
    struct header_scan whole, pieces;
    struct seen one, many;
    scan(&whole, &one, in, STR(""));
    scan(&pieces, &many, in, sizes);
    same(&whole, &pieces);
    assert(one.sum == many.sum && one.ends == whole.fields_end);
    assert(whole.fields_end <= whole.body_at && whole.body_at <= whole.size);
    assert(one.values.full == many.values.full);
    assert(str_eq(buf_str(&one.values), buf_str(&many.values)));
    buf_free(&one.values);
    buf_free(&many.values);
    complete(in);
    return 0;
}
