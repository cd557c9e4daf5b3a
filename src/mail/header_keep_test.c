// SPDX-License-Identifier: ISC
// Fields kept with the envelope, at every place where the pieces may end.
#include "mail/header_keep.h"

#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static const char *const names[] = {"list-id", "x-campaign", "subject"};

// What is kept of a header fed in two pieces, as lines, and the priority.
static void keep(struct str text, size_t cut, enum envelope_priority given, struct buf *out)
{
    struct arena *arena = arena_new();
    struct header_scan scan;
    struct header_keep kept;
    struct envelope e = {.priority = given};
    header_scan_init(&scan);
    header_keep_init(&kept, &scan, names, 3, arena);
    header_scan_feed(&scan, text.ptr, cut);
    header_scan_feed(&scan, text.ptr + cut, text.len - cut);
    header_scan_end(&scan);
    header_keep_end(&kept, &e);
    buf_printf(out, "%d\n", e.priority);
    for (size_t i = 0; i < e.header_count; i++)
        buf_printf(out, "%.*s=%.*s\n", STR_FMT(e.headers[i].name), STR_FMT(e.headers[i].text));
    arena_free(&arena);
}

static void expect(const char *text, enum envelope_priority given, const char *said)
{
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        struct buf out;
        buf_init(&out, 100000);
        keep(str_of(text), cut, given, &out);
        assert_string_equal(buf_cstr(&out), said);
        buf_free(&out);
    }
}

static void what_is_asked_for_is_kept(void **state)
{
    expect("From: a@b\r\n\r\nList-Id: x\r\n", PRIORITY_NORMAL, "1\n");
    expect("LIST-ID:  <news.example.org> \r\nFrom: a\r\n\r\nbody", PRIORITY_NORMAL,
           "1\nlist-id=<news.example.org>\n");
    expect("X-Campaign: spring\r\n and\r\n\tsummer\r\nX-Campaignx: no\r\nX-Campaig: no\r\n"
           "x-campaign:\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?= =?utf-8?b?IQ==?=\r\n\r\n",
           PRIORITY_NORMAL, "1\nx-campaign=spring and\tsummer\nx-campaign=\nsubject=grüße!\n");
    // Without an end.
    expect("List-Id: a", PRIORITY_NORMAL, "1\nlist-id=a\n");
}

static void urgency_is_read(void **state)
{
    static const struct {
        const char *header;
        enum envelope_priority given, is;
    } cases[] = {
        {"Priority: urgent\r\n", PRIORITY_NORMAL, PRIORITY_URGENT},
        {"Priority: Normal\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
        {"Priority: urgently\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
        {"Priority: non-urgent\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"X-Priority: 1 (Highest)\r\n", PRIORITY_NORMAL, PRIORITY_URGENT},
        {"X-Priority: 10\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
        {"X-Priority: 3\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
        {"X-Priority: 5\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"Importance: HIGH\r\n", PRIORITY_NORMAL, PRIORITY_URGENT},
        {"Importance: low\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"Precedence: bulk\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"Precedence: list\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"Precedence: junk\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        {"Precedence: first-class\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
        {"X-Priority: 1\r\nPrecedence: list\r\n", PRIORITY_NORMAL, PRIORITY_LOW},
        // MT-PRIORITY goes before them.
        {"Priority: urgent\r\n", PRIORITY_LOW, PRIORITY_LOW},
        {"Precedence: bulk\r\n", PRIORITY_URGENT, PRIORITY_URGENT},
        {"\r\nPriority: urgent\r\n", PRIORITY_NORMAL, PRIORITY_NORMAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char said[10];
        snprintf(said, sizeof(said), "%d\n", cases[i].is);
        expect(cases[i].header, cases[i].given, said);
    }
}

static void it_stays_within_its_bounds(void **state)
{
    struct buf text, out;
    buf_init(&text, 1000000);
    buf_init(&out, 1000000);
    buf_puts(&text, "List-Id: ");
    for (size_t i = 0; i < 100000; i++)
        buf_puts(&text, "ü");
    buf_puts(&text, "\r\n");
    for (size_t i = 0; i < 100; i++)
        buf_printf(&text, "X-Campaign: %zu\r\n", i);
    keep(buf_str(&text), 1000, PRIORITY_NORMAL, &out);
    struct str rest = buf_str(&out), line;
    size_t lines = 0;
    while (str_split(&rest, '\n', &line)) {
        assert_true(line.len <= strlen("list-id=") + LIMIT_KEPT_HEADER);
        if (lines++ == 1)
            assert_true(line.len >= LIMIT_KEPT_HEADER);
    }
    assert_int_equal(lines, 1 + LIMIT_KEPT_HEADERS);
    buf_free(&text);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for_is_kept),
        cmocka_unit_test(urgency_is_read),
        cmocka_unit_test(it_stays_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
