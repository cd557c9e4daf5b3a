// SPDX-License-Identifier: ISC
// The journal's bytes: what is written reads the same; cut anywhere, and flipped anywhere, a
// journal gives back frames as they were written or none, never others.
#include "spool/journal.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "spool/segment.h"
#include "sys/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAMES = 12, SIZE = 16 * 1024 };

// ---- Operations. ----

static void test_accept(void **state)
{
    struct buf meta;
    buf_init(&meta, 65536);
    struct store_rcpt_state states[2] = {{RCPT_WAITING, 3, 12345678901}, {RCPT_RELAYED, 1, 0}};
    struct journal_op op = {.id = 77,
                            .wall_ms = 1234567890123,
                            .moved = true,
                            .held = true,
                            .priority = -2,
                            .body_size = 99,
                            .body_crc = 0xdeadbeef,
                            .count = 2,
                            .packed = STR("packed envelope")};
    assert_true(journal_put_accept(&meta, &op, states));
    op.own_file = true;
    op.send_ms = 1795252020123;
    op.deleted_ms = 1795252020124;
    assert_true(journal_put_accept(&meta, &op, NULL));
    op.own_file = false;
    op.send_ms = op.deleted_ms = 0;
    assert_true(journal_put_accept(&meta, &op, NULL));
    struct str in = buf_str(&meta);
    uint64_t body_at = 0;
    struct journal_op got;
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_int_equal(got.id, 77);
    assert_int_equal(got.wall_ms, 1234567890123);
    assert_true(got.moved && got.held && !got.own_file && got.has_states);
    assert_int_equal(got.priority, -2);
    assert_true(str_eq(got.packed, STR("packed envelope")));
    for (int i = 0; i < 2; i++) {
        struct store_rcpt_state s;
        assert_true(journal_next_state(&got.states, &s));
        assert_int_equal(s.state, states[i].state);
        assert_int_equal(s.tries, states[i].tries);
        assert_int_equal(s.next_ms, states[i].next_ms);
    }
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_true(got.own_file && !got.has_states && got.send_ms == 1795252020123);
    assert_true(got.deleted_ms == 1795252020124);
    assert_int_equal(body_at, 104); // of the first alone, padded
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_int_equal(got.body_at, 104);
    assert_int_equal(journal_next_op(&in, &body_at, &got), 0);
    // Cut anywhere: whole operations, then an end or damage.
    for (size_t len = 0; len < meta.len; len++) {
        char *copy = xmalloc(len + 1); // exactly so long: reading beyond shows
        memcpy(copy, meta.data, len);
        struct str cut = {copy, len};
        int rc;
        while ((rc = journal_next_op(&cut, &body_at, &got)) == 1)
            ;
        assert_true(rc == 0 || rc == -1);
        xfree(copy);
    }
    buf_free(&meta);
}

static void test_result(void **state)
{
    struct buf meta;
    buf_init(&meta, 65536);
    struct store_rcpt_result r = {.index = 5,
                                  .state = RCPT_BAD,
                                  .tries = 9,
                                  .next_ms = -1,
                                  .outcome = {.class = OUTCOME_REFUSED,
                                              .scope = SCOPE_RECIPIENT,
                                              .phase = PHASE_RCPT,
                                              .code = 550,
                                              .enhanced = {5, 1, 1}}};
    snprintf(r.outcome.where, sizeof(r.outcome.where), "mx[192.0.2.1]:25");
    memset(r.outcome.text, 'x', sizeof(r.outcome.text) - 1);
    struct store_op op = {.kind = STORE_RESULT,
                          .id = 3,
                          .wall_ms = 4,
                          .gateway = "direct",
                          .results = &r,
                          .result_count = 1};
    assert_true(journal_put_op(&meta, &op));
    struct store_op note = {.kind = STORE_NOTE, .id = 3, .text = "a note"};
    assert_true(journal_put_op(&meta, &note));
    struct str in = buf_str(&meta);
    uint64_t body_at = 0;
    struct journal_op got;
    struct store_rcpt_result back;
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_true(str_eq(got.gateway, STR("direct")) && got.facts.len == 0);
    assert_true(journal_next_result(&got.results, &back));
    assert_int_equal(back.index, 5);
    assert_int_equal(back.state, RCPT_BAD);
    assert_int_equal(back.next_ms, -1);
    assert_int_equal(back.outcome.code, 550);
    assert_int_equal(back.outcome.enhanced[2], 1);
    assert_string_equal(back.outcome.where, r.outcome.where);
    assert_string_equal(back.outcome.text, r.outcome.text);
    assert_false(journal_next_result(&got.results, &back));
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_true(str_eq(got.text, STR("a note")));
    struct store_op at = {.kind = STORE_SEND_AT, .id = 3, .at_ms = 1795252020123, .text = "me"};
    assert_true(journal_put_op(&meta, &at));
    in = str_make(meta.data + (in.ptr - meta.data), meta.len - (size_t)(in.ptr - meta.data));
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_true(got.at_ms == 1795252020123 && str_eq(got.text, STR("me")));
    buf_free(&meta);
}

static void test_a_note_on_many(void **state)
{
    static const uint64_t more[] = {8, 9, 137, 1u << 20, UINT64_MAX};
    enum { MORE = sizeof(more) / sizeof(more[0]) };
    struct buf meta;
    buf_init(&meta, 1000);
    struct store_op op = {.kind = STORE_NOTES, .id = 7, .text = "x", .more = more};
    op.more_count = MORE;
    assert_true(journal_put_op(&meta, &op));
    struct str in = buf_str(&meta);
    uint64_t body_at = 0, id;
    struct journal_op got;
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_int_equal(got.kind, STORE_NOTES);
    assert_true(str_eq(got.text, STR("x")));
    id = got.id;
    assert_int_equal(id, 7);
    for (size_t i = 0; i < MORE; i++) {
        assert_true(journal_next_id(&got.more, &id));
        assert_int_equal(id, more[i]);
    }
    assert_false(journal_next_id(&got.more, &id));
    buf_free(&meta);
}

static void test_operations_of_tomorrow_are_skipped(void **state)
{
    struct buf meta;
    buf_init(&meta, 1000);
    buf_put_u8(&meta, 200);
    buf_put_str(&meta, STR("what is this?"));
    journal_put_op(&meta, &(struct store_op){.kind = STORE_HOLD, .id = 8, .flag = true});
    struct str in = buf_str(&meta);
    uint64_t body_at = 0;
    struct journal_op got;
    assert_int_equal(journal_next_op(&in, &body_at, &got), 1);
    assert_int_equal(got.kind, STORE_HOLD);
    buf_free(&meta);
}

// ---- A small journal. ----

static struct {
    char dir[128];
    char bytes[SIZE];
    uint64_t offsets[FRAMES + 1];
    uint64_t first_sequence;
    struct segments *set;
    struct file *file;
    uint64_t seen, damages; // by the last walk
    uint64_t last;
} j;

// Appends a frame; returns where the next one goes.
static uint64_t put_frame(uint64_t at, uint64_t sequence, uint64_t group, uint32_t *chain,
                          size_t body_len, uint32_t run)
{
    struct buf meta;
    char body[2000];
    buf_init(&meta, 4096);
    memset(body, (int)('a' + sequence % 26), sizeof(body));
    struct journal_op op = {.id = 1000 + sequence,
                            .count = 1,
                            .packed = STR("envelope"),
                            .body_size = body_len,
                            .body_crc = crc32c(0, body, body_len)};
    journal_put_accept(&meta, &op, NULL);
    struct frame_head head = {.segment = 1,
                              .sequence = sequence,
                              .group = group,
                              .id_floor = 5000,
                              .run = run,
                              .chain = *chain,
                              .ops = 1,
                              .body_len = journal_align(body_len),
                              .meta_len = (uint32_t)meta.len,
                              .meta_crc = crc32c(0, meta.data, meta.len)};
    *chain = frame_head_encode(&head, j.bytes + at);
    memcpy(j.bytes + at + FRAME_HEAD, meta.data, meta.len);
    memcpy(j.bytes + at + FRAME_HEAD + journal_align(meta.len), body, body_len);
    buf_free(&meta);
    return at + frame_size(&head);
}

static void store_bytes(void)
{
    struct err err;
    struct file_piece piece = {j.bytes, SIZE};
    assert_true(file_truncate(j.file, 0, &err));
    assert_true(file_write(j.file, 0, &piece, 1, &err));
}

static void put_head(void)
{
    struct segment_head head = {.number = 1, .first_sequence = j.first_sequence};
    segment_head_encode(&head, j.bytes);
}

// FRAMES frames, two a group.
static void make_journal(void)
{
    uint32_t chain = 0;
    uint64_t at = SEGMENT_HEAD;
    memset(j.bytes, 0, sizeof(j.bytes));
    put_head();
    for (uint64_t i = 0; i < FRAMES; i++) {
        uint64_t sequence = j.first_sequence + i;
        j.offsets[i] = at;
        at = put_frame(at, sequence, sequence - i % 2, &chain, 100 + 61 * i, 1);
    }
    j.offsets[FRAMES] = at;
    store_bytes();
}

static int setup(void **state)
{
    struct err err;
    char path[SPOOL_PATH];
    snprintf(j.dir, sizeof(j.dir), "/tmp/waypost-journal-test.%d", (int)getpid());
    snprintf(path, sizeof(path), "%s/seg", j.dir);
    assert_true(dir_make(j.dir, 0700, &err) && dir_make(path, 0700, &err));
    j.set = segments_new(j.dir, true);
    j.file = file_open(segment_path(j.set, 1, "wps", path), FILE_CREATE, &err);
    assert_non_null(j.file);
    segments_add(j.set, 1, j.file, SIZE);
    j.first_sequence = 41;
    make_journal();
    return 0;
}

static int teardown(void **state)
{
    char command[200];
    segments_free(&j.set);
    snprintf(command, sizeof(command), "rm -rf '%s'", j.dir);
    return system(command);
}

static void on_frame(void *ctx, const struct scan_frame *f)
{
    struct str meta = f->meta;
    uint64_t body_at = 0;
    struct journal_op op;
    assert_true(f->head.sequence > j.last || j.seen == 0);
    j.last = f->head.sequence;
    j.seen++;
    assert_int_equal(journal_next_op(&meta, &body_at, &op), 1);
    assert_int_equal(op.id, 1000 + f->head.sequence);
    assert_true(str_eq(op.packed, STR("envelope")));
    char body[2000];
    struct err err;
    ssize_t n = file_read(j.file, f->bodies_at, body, (size_t)op.body_size, &err);
    assert_int_equal(n, op.body_size);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(body[i], 'a' + f->head.sequence % 26);
}

static void on_damage(void *ctx, uint64_t segment, uint64_t from, uint64_t to, const char *text)
{
    assert_true(from < to && to <= SIZE);
    j.damages++;
}

static struct walk walk_it(void)
{
    struct walk walk = {.set = j.set, .verify = true, .frame = on_frame, .damage = on_damage};
    uint64_t one = 1;
    struct err err;
    j.seen = j.damages = j.last = 0;
    assert_true(journal_walk(&walk, &one, 1, &err));
    return walk;
}

static void test_whole(void **state)
{
    struct walk walk = walk_it();
    assert_int_equal(j.seen, FRAMES);
    assert_int_equal(j.damages, 0);
    assert_int_equal(walk.sequence, 41 + FRAMES);
    assert_int_equal(walk.end, j.offsets[FRAMES]);
    assert_int_equal(walk.id_floor, 5000);
}

static void test_cut_at_every_length(void **state)
{
    struct err err;
    for (uint64_t len = j.offsets[FRAMES]; len >= SEGMENT_HEAD; len--) {
        assert_true(file_truncate(j.file, len, &err));
        walk_it();
        uint64_t whole = 0;
        while (whole < FRAMES && j.offsets[whole + 1] <= len)
            whole++;
        // The padding behind the last body may be missing.
        assert_true(j.seen == whole || (j.seen == whole + 1 && j.offsets[whole + 1] - len < 8));
        assert_int_equal(j.damages, 0); // a torn tail is no damage
    }
}

static void test_flip_every_byte(void **state)
{
    struct err err;
    for (uint64_t at = 0; at < j.offsets[FRAMES]; at++) {
        char flipped = (char)(j.bytes[at] ^ (1 << at % 8));
        struct file_piece bad = {&flipped, 1}, good = {&j.bytes[at], 1};
        assert_true(file_write(j.file, at, &bad, 1, &err));
        walk_it();
        assert_true(j.seen + 1 >= FRAMES - 1); // at most the frame hit, or the last group
        if (at >= SEGMENT_HEAD && at < j.offsets[FRAMES - 2] && j.seen < FRAMES)
            assert_true(j.damages == 1); // it had been synced once: said, not taken for the end
        assert_true(file_write(j.file, at, &good, 1, &err));
    }
}

static void test_torn_group_is_the_end(void **state)
{
    // Of the last group the second frame reached the disk, the first did not.
    memset(j.bytes + j.offsets[FRAMES - 2], 0, 16);
    store_bytes();
    struct walk walk = walk_it();
    assert_int_equal(j.seen, FRAMES - 2);
    assert_int_equal(j.damages, 0);
    assert_int_equal(walk.end, j.offsets[FRAMES - 2]);
}

static void test_remains_are_not_taken_up(void **state)
{
    // A later run wrote one frame of the very same length over a group that was never synced. The
    // old second frame fits behind it by place and number, but it follows another one.
    uint32_t chain;
    struct frame_head head;
    frame_head_decode(j.bytes + j.offsets[FRAMES - 3], 1, &head, &chain);
    uint64_t sequence = j.first_sequence + FRAMES - 2;
    uint64_t end =
        put_frame(j.offsets[FRAMES - 2], sequence, sequence, &chain, 100 + 61 * (FRAMES - 2), 2);
    assert_int_equal(end, j.offsets[FRAMES - 1]);
    store_bytes();
    struct walk walk = walk_it();
    assert_int_equal(j.seen, FRAMES - 1);
    assert_int_equal(j.damages, 0);
    assert_int_equal(walk.sequence, sequence + 1);
}

static void test_recycled_bytes_are_no_frames(void **state)
{
    // The same bytes under another segment's number: nothing of it counts.
    char path[SPOOL_PATH];
    struct err err;
    struct file *file = file_open(segment_path(j.set, 2, "wps", path), FILE_CREATE, &err);
    struct file_piece piece = {j.bytes, SIZE};
    assert_true(file_write(file, 0, &piece, 1, &err));
    segments_add(j.set, 2, file, SIZE);
    struct scan scan;
    struct scan_frame f;
    scan_begin(&scan, file, 2, SIZE, SEGMENT_HEAD, true);
    assert_false(scan_next(&scan, &f));
    assert_false(scan_resync(&scan, 0, 0));
    scan_end(&scan);
}

static void test_newer_version(void **state)
{
    struct walk walk = {.set = j.set, .frame = on_frame, .damage = on_damage};
    struct err err;
    uint64_t one = 1;
    j.bytes[8] = 9;
    uint32_t crc = crc32c(crc32c(0, j.bytes + 8, 4), j.bytes + 16, 40);
    for (int i = 0; i < 4; i++)
        j.bytes[12 + i] = (char)(crc >> 8 * i);
    store_bytes();
    assert_false(journal_walk(&walk, &one, 1, &err));
    assert_non_null(strstr(err.text, "newer version"));
}

static void test_summary(void **state)
{
    // Through a summary the same frames are seen; a wrong one is not believed.
    struct segment *segment = segments_get(j.set, 1);
    char path[SPOOL_PATH];
    struct err err;
    segment->end = j.offsets[FRAMES];
    assert_true(segment_summarize(j.set, segment, &err));
    struct file *next = file_open(segment_path(j.set, 2, "wps", path), FILE_CREATE, &err);
    char bytes[SEGMENT_HEAD];
    struct segment_head head = {.number = 2, .first_sequence = 41 + FRAMES};
    segment_head_encode(&head, bytes);
    struct file_piece piece = {bytes, sizeof(bytes)};
    assert_true(file_write(next, 0, &piece, 1, &err));
    segments_add(j.set, 2, next, SIZE);
    uint64_t both[] = {1, 2}, size;
    struct walk walk = {.set = j.set, .frame = on_frame, .damage = on_damage};
    j.seen = j.damages = 0;
    assert_true(journal_walk(&walk, both, 2, &err));
    assert_int_equal(j.seen, FRAMES);
    assert_int_equal(walk.sequence, 41 + FRAMES);

    struct file *sum = file_open(segment_path(j.set, 1, "sum", path), FILE_WRITE, &err);
    assert_true(file_size(sum, &size, &err));
    for (uint64_t at = 0; at < size; at++) {
        char byte;
        assert_int_equal(file_read(sum, at, &byte, 1, &err), 1);
        byte ^= 4;
        struct file_piece one = {&byte, 1};
        assert_true(file_write(sum, at, &one, 1, &err));
        walk = (struct walk){.set = j.set, .frame = on_frame, .damage = on_damage};
        j.seen = j.damages = 0;
        assert_true(journal_walk(&walk, both, 2, &err));
        assert_int_equal(j.seen, FRAMES);
        assert_int_equal(j.damages, 0);
        byte ^= 4;
        assert_true(file_write(sum, at, &one, 1, &err));
    }
    file_close(&sum);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_result),
        cmocka_unit_test(test_a_note_on_many),
        cmocka_unit_test(test_operations_of_tomorrow_are_skipped),
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_at_every_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flip_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_group_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remains_are_not_taken_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recycled_bytes_are_no_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_summary, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
