// SPDX-License-Identifier: ISC
// The packed envelope: small, exact, and never half understood.
#include "mail/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct envelope_rcpt two[] = {
    {STR("bob@example.net"), STR("rfc822;Bob@example.net"), NOTIFY_SUCCESS | NOTIFY_FAILURE},
    {STR("carol@example.com"), {"", 0}, 0},
};

static struct envelope rich(void)
{
    return (struct envelope){
        .sender = STR("alice@example.org"),
        .envid = STR("QQ314159"),
        .body = BODY_8BITMIME,
        .ret = RET_HDRS,
        .priority = PRIORITY_URGENT,
        .smtputf8 = true,
        .is_dsn = true,
        .accepted_ms = -1234567890123,
        .client = STR("192.0.2.1"),
        .helo = STR("client.example.org"),
        .user = STR("alice"),
        .listener = STR("local"),
        .subject = STR("Minutes of the meeting"),
        .count = 2,
        .rcpts = two,
    };
}

static void assert_str(struct str a, struct str b)
{
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.ptr, b.ptr, a.len);
}

static void comes_back_as_it_was(void **state)
{
    struct envelope e = rich(), back;
    struct buf b;
    buf_init(&b, 4096);
    struct arena *arena = arena_new();
    assert_true(envelope_pack(&b, &e));
    assert_true(envelope_unpack(buf_str(&b), arena, &back));
    assert_str(back.sender, e.sender);
    assert_str(back.envid, e.envid);
    assert_int_equal(back.body, e.body);
    assert_int_equal(back.ret, e.ret);
    assert_int_equal(back.priority, e.priority);
    assert_true(back.smtputf8 && back.is_dsn);
    assert_true(back.accepted_ms == e.accepted_ms);
    assert_str(back.client, e.client);
    assert_str(back.helo, e.helo);
    assert_str(back.user, e.user);
    assert_str(back.listener, e.listener);
    assert_str(back.subject, e.subject);
    assert_int_equal(back.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_str(back.rcpts[i].address, two[i].address);
        assert_str(back.rcpts[i].orcpt, two[i].orcpt);
        assert_int_equal(back.rcpts[i].notify, two[i].notify);
    }
    arena_free(&arena);
    buf_free(&b);
}

// With and without kept headers, and beside them.
static void a_time_of_sending_comes_back(void **state)
{
    struct envelope_header kept = {STR("x-kind"), STR("bulk")};
    struct buf b;
    buf_init(&b, 4096);
    struct arena *arena = arena_new();
    for (size_t headers = 0; headers < 2; headers++) {
        for (uint32_t hold = 0; hold <= 999999999; hold += 333333333) {
            struct envelope e = rich(), back;
            e.headers = &kept;
            e.header_count = headers;
            e.release_ms = 1795252020123;
            e.hold_s = hold;
            buf_clear(&b);
            assert_true(envelope_pack(&b, &e));
            assert_true(envelope_unpack(buf_str(&b), arena, &back));
            assert_true(back.release_ms == e.release_ms);
            assert_int_equal(back.hold_s, hold);
            assert_int_equal(back.header_count, headers);
            for (size_t cut = 0; cut < b.len; cut++)
                assert_false(envelope_unpack(str_make(b.data, cut), arena, &back));
        }
    }
    arena_free(&arena);
    buf_free(&b);
}

static void every_cut_and_every_tail_is_refused(void **state)
{
    struct envelope e = rich(), back = {.count = 77};
    struct buf b;
    buf_init(&b, 4096);
    struct arena *arena = arena_new();
    assert_true(envelope_pack(&b, &e));
    for (size_t cut = 0; cut < b.len; cut++)
        assert_false(envelope_unpack(str_make(b.data, cut), arena, &back));
    buf_putc(&b, 0);
    assert_false(envelope_unpack(buf_str(&b), arena, &back));
    assert_int_equal(back.count, 77);
    arena_free(&arena);
    buf_free(&b);
}

// A flipped byte may make another envelope, but then the one that packs to just these bytes.
static void damage_is_refused_or_another_envelope(void **state)
{
    struct envelope e = rich(), back;
    struct buf b, again;
    e.release_ms = 1795252020123;
    e.hold_s = 3600;
    buf_init(&b, 4096);
    buf_init(&again, 4096);
    struct arena *arena = arena_new();
    assert_true(envelope_pack(&b, &e));
    for (size_t i = 0; i < b.len; i++) {
        char kept = b.data[i];
        for (int v = 0; v < 256; v++) {
            b.data[i] = (char)v;
            arena_clear(arena);
            if (!envelope_unpack(buf_str(&b), arena, &back))
                continue;
            buf_clear(&again);
            assert_true(envelope_pack(&again, &back));
            assert_str(buf_str(&again), buf_str(&b));
        }
        b.data[i] = kept;
    }
    b.data[0] = 4;
    assert_false(envelope_unpack(buf_str(&b), arena, &back));
    arena_free(&arena);
    buf_free(&b);
    buf_free(&again);
}

static void lies_about_lengths_cost_nothing(void **state)
{
    static const char head[] = "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct buf b;
    struct envelope back;
    buf_init(&b, 4096);
    struct arena *arena = arena_new();
    size_t before = arena_size(arena);
    buf_append(&b, head, 17);
    buf_puts(&b, "\xff\xff\xff\xff\x0f");
    assert_false(envelope_unpack(buf_str(&b), arena, &back));
    b.len = 17;
    buf_append(&b, "\x80\x00", 2); // zero, but not in its shortest form
    assert_false(envelope_unpack(buf_str(&b), arena, &back));
    b.len = 17;
    buf_putc(&b, 0);
    assert_true(envelope_unpack(buf_str(&b), arena, &back));
    assert_int_equal(back.count, 0);
    assert_true(arena_size(arena) <= before + 65536);
    arena_free(&arena);
    buf_free(&b);
}

static void a_common_message_takes_under_120_bytes(void **state)
{
    struct envelope_rcpt one = {STR("some.person@mail.example.com"), {"", 0}, 0};
    struct envelope e = {
        .sender = STR("newsletter@shop.example.org"),
        .accepted_ms = 1795000000000,
        .client = STR("127.0.0.1"),
        .helo = STR("localhost"),
        .listener = STR("local"),
        .count = 1,
        .rcpts = &one,
    };
    struct buf b;
    buf_init(&b, 4096);
    assert_true(envelope_pack(&b, &e));
    assert_in_range(b.len, 1, 119);
    buf_free(&b);
}

static void a_full_buffer_keeps_what_it_had(void **state)
{
    struct envelope e = rich();
    struct buf b;
    buf_init(&b, 100);
    buf_puts(&b, "before");
    assert_false(envelope_pack(&b, &e));
    assert_str(buf_str(&b), STR("before"));
    assert_true(b.full);
    buf_free(&b);
}

static void recipients_are_added_one_by_one(void **state)
{
    struct arena *arena = arena_new();
    struct envelope e = {0};
    for (size_t i = 0; i < 1000; i++) {
        struct envelope_rcpt *r = envelope_add(&e, arena);
        assert_true(r->address.len == 0 && r->orcpt.len == 0 && r->notify == 0);
        r->address = str_of(arena_printf(arena, "%zu@b.example", i));
    }
    assert_int_equal(e.count, 1000);
    for (size_t i = 0; i < e.count; i++)
        assert_str(e.rcpts[i].address, str_of(arena_printf(arena, "%zu@b.example", i)));
    arena_free(&arena);
}

static void the_domain_stands_behind_the_last_at(void **state)
{
    assert_str(envelope_domain(STR("a@b.example")), STR("b.example"));
    assert_str(envelope_domain(STR("\"a@b\"@c.example")), STR("c.example"));
    assert_str(envelope_domain(STR("postmaster")), STR(""));
    assert_str(envelope_domain(STR("")), STR(""));
    assert_int_equal(envelope_domain((struct str){0}).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(a_time_of_sending_comes_back),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(damage_is_refused_or_another_envelope),
        cmocka_unit_test(lies_about_lengths_cost_nothing),
        cmocka_unit_test(a_common_message_takes_under_120_bytes),
        cmocka_unit_test(a_full_buffer_keeps_what_it_had),
        cmocka_unit_test(recipients_are_added_one_by_one),
        cmocka_unit_test(the_domain_stands_behind_the_last_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
