// SPDX-License-Identifier: ISC
// The journal from a hostile disk: operations with right CRCs around any bytes, and files of any
// bytes. Nothing may crash; what is read must fit together; what was read and is written again
// must read the same.
#include "base/crc32c.h"
#include "base/mem.h"
#include "spool/live.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const struct journal_op *op)
{
    struct store_rcpt_state *states = NULL;
    if (op->has_states) {
        struct str in = op->states;
        states = xcalloc(op->count + 1, sizeof(*states));
        for (uint32_t i = 0; i < op->count; i++)
            if (!journal_next_state(&in, &states[i])) {
                xfree(states);
                return;
            }
    }
    struct buf meta;
    struct journal_op again;
    uint64_t body_at = 0;
    buf_init(&meta, FRAME_META_MAX);
    assert(journal_put_accept(&meta, op, states));
    struct str in = buf_str(&meta);
    assert(journal_next_op(&in, &body_at, &again) == 1 && in.len == 0);
    assert(again.id == op->id && again.count == op->count && again.body_size == op->body_size);
    assert(again.body_crc == op->body_crc && again.priority == op->priority);
    assert(again.held == op->held && again.moved == op->moved && again.own_file == op->own_file);
    assert(str_eq(again.packed, op->packed) && str_eq(again.states, op->states));
    struct troubles *troubles = troubles_new();
    if (states != NULL)
        journal_troubles(op, troubles, states);
    troubles_free(&troubles);
    buf_free(&meta);
    xfree(states);
}

static void walk_ops(struct str meta)
{
    uint64_t body_at = 0;
    struct journal_op op;
    const char *end = meta.ptr + meta.len;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        assert(op.id != 0 && meta.ptr + meta.len == end);
        if (op.kind == STORE_ACCEPT)
            same_again(&op);
        struct store_rcpt_result r;
        journal_doubt_ms(&op);
        for (uint32_t i = 0; i < op.result_count && journal_next_result(&op.results, &r); i++)
            assert(strnlen(r.outcome.text, sizeof(r.outcome.text)) < sizeof(r.outcome.text));
    }
}

// ---- A whole segment. ----

static void on_frame(void *ctx, const struct scan_frame *f)
{
    struct live_table *live = ctx;
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    bool ended;
    while (journal_next_op(&meta, &body_at, &op) == 1) {
        struct live *l = live_apply(live, &op, f->segment, f->offset, &ended);
        if (ended)
            live_remove(live, l);
    }
}

static void on_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text)
{
    assert(from <= to);
}

// Frames with right CRCs around pieces of the input, as its own bytes say.
static void make_frames(struct buf *file, struct str in)
{
    uint64_t sequence = 1;
    uint32_t chain = 0;
    uint8_t len, what;
    while (str_get_u8(&in, &len) && str_get_u8(&in, &what)) {
        struct str meta = str_make(in.ptr, len < in.len ? len : in.len);
        in.ptr += meta.len;
        in.len -= meta.len;
        sequence += what % 4 != 1;
        struct frame_head head = {.segment = 1,
                                  .sequence = sequence,
                                  .group = sequence - what / 128,
                                  .chain = what % 8 == 2 ? 7 : chain,
                                  .body_len = what % 16 == 3 ? 64 : 0,
                                  .meta_len = (uint32_t)meta.len,
                                  .meta_crc = crc32c(0, meta.ptr, meta.len)};
        char bytes[FRAME_HEAD];
        chain = frame_head_encode(&head, bytes);
        buf_append(file, bytes, sizeof(bytes));
        buf_add(file, meta);
        while (file->len % FRAME_ALIGN != 0)
            buf_putc(file, 0);
    }
}

static void walk_file(struct str bytes)
{
    static char dir[64];
    struct err err;
    char path[SPOOL_PATH];
    if (dir[0] == '\0') {
        snprintf(dir, sizeof(dir), "/dev/shm/journal-fuzz.%d", (int)getpid());
        snprintf(path, sizeof(path), "%s/seg", dir);
        if (!dir_make(dir, 0700, &err) || !dir_make(path, 0700, &err))
            abort();
    }
    struct segments *set = segments_new(dir, true);
    segment_path(set, 1, "wps", path);
    struct file *file = file_open(path, FILE_CREATE, &err);
    struct file_piece piece = {bytes.ptr, bytes.len};
    if (file == NULL || !file_truncate(file, 0, &err) || !file_write(file, 0, &piece, 1, &err))
        abort();
    segments_add(set, 1, file, bytes.len);
    struct live_table *live = live_table_new(set);
    struct walk walk = {.set = set, .verify = true, .ctx = live};
    uint64_t one = 1;
    walk.frame = on_frame;
    walk.damage = on_damage;
    journal_walk(&walk, &one, 1, &err);
    live_table_free(&live);
    segments_free(&set);
    path_remove(path, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct str in = str_make((const char *)data + 1, size - 1);
    if (data[0] % 3 == 0) {
        walk_ops(in);
        return 0;
    }
    struct buf file;
    buf_init(&file, 1 << 20);
    memset(buf_reserve(&file, SEGMENT_HEAD), 1, SEGMENT_HEAD);
    file.len = SEGMENT_HEAD;
    if (data[0] % 3 == 1)
        make_frames(&file, in);
    else
        buf_add(&file, in);
    walk_file(buf_str(&file));
    buf_free(&file);
    return 0;
}
