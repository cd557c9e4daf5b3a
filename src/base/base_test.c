// SPDX-License-Identifier: ISC
// The base room: each small thing at its edges.
#include "base/arena.h"
#include "base/base64.h"
#include "base/crc32c.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/netaddr.h"
#include "base/slab.h"
#include "base/timefmt.h"
#include "base/utf8.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void buffers_never_pass_their_maximum(void **state)
{
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_puts(&b, "12345"));
    assert_false(buf_puts(&b, "678901"));
    assert_true(b.full);
    assert_int_equal(b.len, 5);
    assert_true(buf_puts(&b, "67890"));
    assert_string_equal(buf_cstr(&b), "1234567890");
    buf_consume(&b, 7);
    assert_string_equal(buf_cstr(&b), "890");
    buf_free(&b);
}

static void numbers_survive_packing(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    buf_put_u8(&b, 200);
    buf_put_u16(&b, 60000);
    buf_put_u32(&b, 4000000000u);
    buf_put_u64(&b, UINT64_MAX - 1);
    buf_put_str(&b, STR("abc"));
    for (size_t cut = 0; cut <= b.len; cut++) {
        struct str in = {b.data, cut}, s;
        uint8_t v8;
        uint16_t v16;
        uint32_t v32;
        uint64_t v64;
        bool whole = str_get_u8(&in, &v8) && str_get_u16(&in, &v16) && str_get_u32(&in, &v32) &&
                     str_get_u64(&in, &v64) && str_get_str(&in, &s);
        assert_int_equal(whole, cut == b.len);
        if (whole) {
            assert_int_equal(v8, 200);
            assert_int_equal(v16, 60000);
            assert_int_equal(v32, 4000000000u);
            assert_true(v64 == UINT64_MAX - 1);
            assert_true(str_eq(s, STR("abc")));
        }
    }
    buf_free(&b);
}

static void globs_match_like_a_shell(void **state)
{
    assert_true(str_glob(STR("*@example.org"), STR("Bob@EXAMPLE.org")));
    assert_false(str_glob(STR("*@example.org"), STR("bob@example.org.evil")));
    assert_true(str_glob(STR("a*b*c"), STR("aXbXbXc")));
    assert_false(str_glob(STR("a*b*c"), STR("aXbXbX")));
    assert_true(str_glob(STR("*"), STR("")));
    assert_true(str_glob(STR("?x"), STR("ax")));
    assert_false(str_glob(STR(""), STR("a")));
}

static void decimal_numbers_are_strict(void **state)
{
    uint64_t v;
    assert_true(str_u64(STR("18446744073709551615"), UINT64_MAX, &v));
    assert_false(str_u64(STR("18446744073709551616"), UINT64_MAX, &v));
    assert_false(str_u64(STR("-1"), 10, &v));
    assert_false(str_u64(STR(""), 10, &v));
    assert_false(str_u64(STR("11"), 10, &v));
}

static void maps_keep_what_they_are_given(void **state)
{
    enum { N = 5000 };
    struct map *map = map_new();
    struct idmap *ids = idmap_new();
    static char keys[N][16];
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key%d", i);
        assert_null(map_put(map, str_of(keys[i]), keys[i]));
        assert_null(idmap_put(ids, (uint64_t)i * 4096 + 1, keys[i]));
    }
    for (int i = 0; i < N; i += 2) {
        assert_ptr_equal(map_del(map, str_of(keys[i])), keys[i]);
        assert_ptr_equal(idmap_del(ids, (uint64_t)i * 4096 + 1), keys[i]);
    }
    for (int i = 0; i < N; i++) {
        assert_ptr_equal(map_get(map, str_of(keys[i])), i % 2 ? keys[i] : NULL);
        assert_ptr_equal(idmap_get(ids, (uint64_t)i * 4096 + 1), i % 2 ? keys[i] : NULL);
    }
    size_t pos = 0, seen = 0;
    while (map_next(map, &pos) != NULL)
        seen++;
    assert_int_equal(seen, N / 2);
    assert_int_equal(idmap_count(ids), N / 2);
    map_free(&map);
    idmap_free(&ids);
}

static void heaps_give_the_earliest_first(void **state)
{
    enum { N = 2000 };
    static struct heap_node nodes[N];
    struct heap heap = {0};
    srand(7);
    for (int i = 0; i < N; i++)
        heap_set(&heap, &nodes[i], rand() % 1000);
    for (int i = 0; i < N; i += 3)
        heap_remove(&heap, &nodes[i]);
    for (int i = 1; i < N; i += 3)
        heap_set(&heap, &nodes[i], rand() % 1000);
    int64_t before = -1;
    size_t count = 0;
    for (struct heap_node *top; (top = heap_top(&heap)) != NULL; count++) {
        assert_true(top->due >= before);
        before = top->due;
        heap_remove(&heap, top);
    }
    assert_int_equal(count, N - (N + 2) / 3);
    heap_free(&heap);
}

static void checksums_match_the_published_ones(void **state)
{
    unsigned char zeros[32] = {0}; // RFC 3720 B.4
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

static void base64_is_strict_and_whole(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < 5; i++) {
        buf_clear(&b);
        assert_true(base64_encode(&b, str_of(pairs[i][0])));
        assert_string_equal(buf_cstr(&b), pairs[i][1]);
        buf_clear(&b);
        assert_true(base64_decode(&b, str_of(pairs[i][1])));
        assert_true(str_eq(buf_str(&b), str_of(pairs[i][0])));
    }
    buf_clear(&b);
    static const char *const wrong[] = {"Zg=", "Zh==", "Z===", "Zm9v ", "=Zm9", "Zm=v", "Zm9v\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(base64_decode(&b, str_of(wrong[i])));
    buf_free(&b);
}

static void ids_read_back(void **state)
{
    char text[ID_TEXT_SIZE];
    uint64_t ids[] = {0, 1, 31, 32, 1073741823, 1073741824, UINT64_MAX}, back;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_true(id_parse(str_of(id_format(ids[i], text)), &back));
        assert_true(back == ids[i]);
    }
    assert_string_equal(id_format(32, text), "000010");
    assert_true(id_parse(STR("oooolo"), &back));
    assert_true(back == 32);
    assert_false(id_parse(STR("U"), &back));
    assert_false(id_parse(STR("ZZZZZZZZZZZZZZ"), &back));
}

static void addresses_and_ranges(void **state)
{
    struct net_addr a;
    char text[NET_ADDR_TEXT];
    assert_true(net_addr_parse(STR("127.0.0.1"), 25, &a));
    assert_string_equal(net_addr_format(&a, text), "127.0.0.1:25");
    assert_true(net_addr_parse(STR("[::1]:587"), 25, &a));
    assert_string_equal(net_addr_format(&a, text), "[::1]:587");
    assert_true(net_addr_is_loopback(&a));
    assert_true(net_addr_parse(STR("fd00::1"), 25, &a));
    assert_string_equal(net_addr_format_ip(&a, text), "fd00::1");
    assert_true(net_addr_parse(STR("unix:/run/x"), 0, &a));
    assert_false(net_addr_parse(STR("127.0.0.1:70000"), 0, &a));
    assert_false(net_addr_parse(STR("[::1]x"), 0, &a));
    assert_false(net_addr_parse(STR("example.org"), 0, &a));
    struct net_range r;
    struct net_addr in, out;
    assert_true(net_range_parse(STR("10.20.0.0/15"), &r));
    assert_true(net_addr_parse_ip(STR("10.21.255.255"), &in));
    assert_true(net_addr_parse_ip(STR("10.22.0.0"), &out));
    assert_true(net_range_has(&r, &in));
    assert_false(net_range_has(&r, &out));
    assert_true(net_addr_parse_ip(STR("::ffff:10.21.0.1"), &in));
    assert_true(net_range_has(&r, &in));
    net_range_around(&in, 12, &r);
    assert_true(net_range_has(&r, &in));
    struct net_range whole = r, one;
    net_range_around(&whole.high, 12, &r);
    assert_memory_equal(r.low.bytes, whole.low.bytes, sizeof(r.low.bytes));
    net_range_around(&in, net_addr_bits(&in), &one);
    assert_true(net_addr_same_ip(&one.low, &in) && net_addr_same_ip(&one.high, &in));
    assert_true(net_range_parse(STR("192.168.1.40-192.168.1.47"), &r));
    assert_true(net_addr_parse_ip(STR("192.168.1.47"), &in));
    assert_true(net_range_has(&r, &in));
    assert_false(net_range_parse(STR("192.168.1.47-192.168.1.40"), &r));
    assert_false(net_range_parse(STR("10.0.0.0/33"), &r));
    assert_true(net_range_parse(STR("::/0"), &r));
}

static void times_as_people_read_them(void **state)
{
    char text[TIME_TEXT];
    assert_string_equal(time_rfc5322(0, 0, text), "Thu, 1 Jan 1970 00:00:00 +0000");
    assert_string_equal(time_rfc5322(951782399000, 60, text), "Tue, 29 Feb 2000 00:59:59 +0100");
    assert_string_equal(time_iso(1795252020123, text), "2026-11-21T09:07:00.123Z");
    assert_string_equal(time_rfc5322(-1000, -330, text), "Wed, 31 Dec 1969 18:29:59 -0530");
    int64_t ms;
    assert_true(time_parse_span(STR("5d"), &ms));
    assert_true(ms == 5 * 86400000ll);
    assert_true(time_parse_span(STR("250ms"), &ms));
    assert_true(ms == 250);
    assert_true(time_parse_span(STR("90"), &ms));
    assert_true(ms == 90000);
    assert_false(time_parse_span(STR("5y"), &ms));
    assert_false(time_parse_span(STR("m"), &ms));
}

static void distances_from_utc(void **state)
{
    static const struct {
        const char *text;
        int minutes; // INT_MIN: none
    } rows[] = {{"+02:00", 120},  {"-05:30", -330},    {"+5", 300},       {"-14:00", -840},
                {"+00:00", 0},    {"+14:01", INT_MIN}, {"+15", INT_MIN},  {"02:00", INT_MIN},
                {"+", INT_MIN},   {"", INT_MIN},       {"+2:5", INT_MIN}, {"+02:60", INT_MIN},
                {"+02:", INT_MIN}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int minutes = INT_MIN;
        bool ok = time_parse_offset(str_of(rows[i].text), &minutes);
        if (ok != (rows[i].minutes != INT_MIN) || minutes != rows[i].minutes)
            fail_msg("%s: %d", rows[i].text, minutes);
    }
}

static void times_of_rfc_3339(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; // -1: refused
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-21T09:07:00Z", 1795252020000},
        {"2026-11-21t09:07:00.25z", 1795252020250},
        {"2026-11-21T09:07:00.123456Z", 1795252020123},
        {"2026-11-21T10:37:00+01:30", 1795252020000},
        {"2026-11-20T23:07:00-10:00", 1795252020000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"2026-02-29T00:00:00Z", -1},
        {"2026-13-01T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},
        {"2026-11-00T00:00:00Z", -1},
        {"2026-11-21T24:00:00Z", -1},
        {"2026-11-21T09:07:61Z", -1},
        {"2026-11-21T09:07:00", -1},
        {"2026-11-21T09:07:00.Z", -1},
        {"2026-11-21T09:07:00+1:00", -1},
        {"2026-11-21T09:07:00+24:00", -1},
        {"2026-11-21T09:07:00Zx", -1},
        {"2026-11-21 09:07:00Z", -1},
        {"2026-11-2", -1},
        {"", -1},
    };
    char text[TIME_TEXT];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -1;
        bool good = time_parse_rfc3339(str_of(cases[i].text), &ms);
        if (good != (cases[i].ms >= 0) || (good && ms != cases[i].ms))
            fail_msg("%s: %lld", cases[i].text, (long long)ms);
    }
    // Every day of 40 years there and back, over leap years of both kinds.
    for (int64_t day = 365 * 110; day < 365 * 150; day++) {
        int64_t ms;
        assert_true(time_parse_rfc3339(str_of(time_rfc3339(day * 86400000, text)), &ms));
        assert_true(ms == day * 86400000);
    }
}

static void json_is_escaped(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    struct json j = json_to(&b);
    json_open(&j, NULL);
    json_str(&j, "a\"", STR("\x01\"\\\xff\xc3\xa9"));
    json_open_array(&j, "list");
    json_int(&j, NULL, -5);
    json_bool(&j, NULL, true);
    json_close_array(&j);
    json_null(&j, "n");
    json_close(&j);
    assert_string_equal(
        buf_cstr(&b),
        "{\"a\\\"\":\"\\u0001\\\"\\\\\\ufffd\xc3\xa9\",\"list\":[-5,true],\"n\":null}");
    buf_clear(&b);
    utf8_escape(&b, STR("a\x1b[2J\r\n\xc2\x9b\xc3\xa9\xff"));
    assert_string_equal(buf_cstr(&b), "a\\x1b[2J\\x0d\\x0a\\xc2\\x9b\xc3\xa9\\xff");
    buf_clear(&b);
    utf8_escape(&b,
                STR("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xaf\xe2\x80\xae\xe2\x81\xa9\xe2\x81\xaa"));
    assert_string_equal(buf_cstr(&b), "\xe2\x80\xa7\\xe2\\x80\\xa8\xe2\x80\xaf\\xe2\\x80\\xae"
                                      "\\xe2\\x81\\xa9\xe2\x81\xaa");
    buf_clear(&b);
    j = json_to(&b);
    json_str(&j, NULL, STR("\xc2\x9b\x7f\xc2\xa0"));
    assert_string_equal(buf_cstr(&b), "\"\\u009b\\u007f\xc2\xa0\"");
    buf_free(&b);
}

static void names_are_made_plain_in_place(void **state)
{
    char name[] = "Caf\xe9 \xc3\xa9 \x1b[31m \xc2\x9b \x7f\t\xc2\xa0\xc3";
    utf8_make_plain(name);
    assert_string_equal(name, "Caf? \xc3\xa9 ?[31m ?? ??\xc2\xa0?");
}

static void utf8_refuses_what_is_not(void **state)
{
    assert_true(utf8_valid(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    static const char *const wrong[] = {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                        "\xc3", "\xe2\x82"};
    for (size_t i = 0; i < 6; i++)
        assert_false(utf8_valid(str_of(wrong[i])));
}

static void slabs_give_again_what_came_back(void **state)
{
    enum { MANY = 3000 };
    static struct slab slab;
    static char *things[MANY];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++) {
            things[i] = slab_alloc(&slab, 1 + i % 2000);
            assert_int_equal((uintptr_t)things[i] % 8, 0);
            memset(things[i], (int)i, 1 + i % 2000);
        }
        for (size_t i = 0; i < MANY; i++) {
            size_t size = 1 + i % 2000;
            assert_int_equal((unsigned char)things[i][0], (unsigned char)i);
            assert_int_equal((unsigned char)things[i][size - 1], (unsigned char)i);
            slab_free(&slab, things[i], size);
        }
    }
    slab_end(&slab);
}

static void arenas_hold_and_let_go(void **state)
{
    struct arena *arena = arena_new();
    for (int i = 0; i < 1000; i++) {
        char *s = arena_printf(arena, "%d-%s", i, "text");
        assert_true(strlen(s) >= 6);
    }
    char *large = arena_alloc(arena, 1000000);
    large[999999] = 1;
    assert_true(arena_size(arena) >= 1000000);
    arena_clear(arena);
    assert_true(arena_size(arena) < 10000);
    arena_free(&arena);
    assert_null(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_never_pass_their_maximum),
        cmocka_unit_test(numbers_survive_packing),
        cmocka_unit_test(globs_match_like_a_shell),
        cmocka_unit_test(decimal_numbers_are_strict),
        cmocka_unit_test(maps_keep_what_they_are_given),
        cmocka_unit_test(heaps_give_the_earliest_first),
        cmocka_unit_test(checksums_match_the_published_ones),
        cmocka_unit_test(base64_is_strict_and_whole),
        cmocka_unit_test(ids_read_back),
        cmocka_unit_test(addresses_and_ranges),
        cmocka_unit_test(times_as_people_read_them),
        cmocka_unit_test(distances_from_utc),
        cmocka_unit_test(times_of_rfc_3339),
        cmocka_unit_test(json_is_escaped),
        cmocka_unit_test(names_are_made_plain_in_place),
        cmocka_unit_test(utf8_refuses_what_is_not),
        cmocka_unit_test(slabs_give_again_what_came_back),
        cmocka_unit_test(arenas_hold_and_let_go),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
