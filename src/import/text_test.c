// SPDX-License-Identifier: ISC
// Lines, words, places and paths as the programs write them.
#include "import/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static const char *content;

static const char *read_it(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                           struct err *err)
{
    err_set(err, "it is not there");
    err->code = ENOENT;
    *len_out = content != NULL ? strlen(content) : 0;
    return content;
}

static const char *const *list_it(void *ctx, struct arena *arena, const char *path)
{
    return NULL;
}

static const struct import_files files = {read_it, list_it, NULL};

// Words joined by |.
static void check_words(const char *line, unsigned flags, const char *want)
{
    struct import *im = import_new(&files, "");
    struct str rest = str_of(line), word;
    struct buf got;
    buf_init(&got, 1024);
    while (word_next(im, &rest, flags, &word))
        buf_printf(&got, "%s%.*s", got.len > 0 ? "|" : "", STR_FMT(word));
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
    import_free(&im);
}

static void words(void **state)
{
    enum { SHELL = WORD_HASH | WORD_ESCAPE | WORD_SINGLE };
    check_words("a  b\tc", 0, "a|b|c");
    check_words("", SHELL, "");
    check_words("   ", SHELL, "");
    check_words("a #b", SHELL, "a");
    check_words("a#b c", SHELL, "a#b|c");
    check_words("'a b' \"c \\\" d\" e\\ f", SHELL, "a b|c \" d|e f");
    check_words("'a b' c", WORD_HASH, "'a|b'|c");
    check_words("x='a b'c", SHELL, "x=a bc");
    check_words("a=\"b c\" d = e", WORD_EQUALS, "a|b c|d|e");
    check_words("\"never closed # x", SHELL, "never closed # x");
    check_words("end\\", SHELL, "end\\");
    check_words("a;b", WORD_SEMICOLON, "a");
    check_words("a \"\" b", SHELL, "a||b");
}

static void check_lines(const char *text, bool (*next)(struct text *, struct str *),
                        const char *want)
{
    struct import *im = import_new(&files, "");
    struct text t;
    struct str line;
    struct buf got;
    buf_init(&got, 1024);
    content = text;
    assert_true(text_open(im, &t, "x"));
    while (next(&t, &line))
        buf_printf(&got, "%u:%.*s|", t.line, STR_FMT(line));
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
    import_free(&im);
}

static void lines(void **state)
{
    check_lines("a\r\nb\n\nc", text_next, "1:a|2:b|3:|4:c|");
    check_lines("\xef\xbb\xbf"
                "a",
                text_next, "1:a|");
    check_lines("a\\\nb\\\r\nc\nd\\", text_next_joined, "1:abc|4:d|");
    check_lines("# x\na = 1\n  2\n# y\n\n\t3\nb\n c", text_next_folded, "2:a = 1 2 3|7:b c|");
    check_lines("#only", text_next_folded, "");
}

static void unreadable_files_are_noted(void **state)
{
    struct import *im = import_new(&files, "");
    struct text t;
    content = NULL;
    assert_false(text_open(im, &t, "x"));
    assert_null(im->notes);
    assert_false(text_open_named(im, &t, "x"));
    assert_non_null(im->notes);
    import_free(&im);
}

static void unquoting(void **state)
{
    static const char *const rows[][2] = {{"plain", "plain"},
                                          {"\"a\\\"b\\\\c\" x", "a\"b\\c"},
                                          {"'a\\b'", "a\\b"},
                                          {"\"\\u00fc\\x41\\u20ac\"", "\xc3\xbc"
                                                                      "A\xe2\x82\xac"},
                                          {"\"\\ud800\\uzz\"", "ud800uzz"},
                                          {"\"never closed", "never closed"},
                                          {"\"", ""},
                                          {"\"a\\", "a\\"}};
    struct import *im = import_new(&files, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str got = unquote(im, str_of(rows[i][0]));
        assert_string_equal(arena_str(im->arena, got), rows[i][1]);
    }
    import_free(&im);
}

static void hosts_and_ports(void **state)
{
    static const struct {
        const char *text, *host;
        unsigned port;
        bool good;
    } rows[] = {{"a.example", "a.example", 0, true},
                {" a.example:587 ", "a.example", 587, true},
                {"[a.example]:submission", "a.example", 587, true},
                {"[2001:db8::1]:25", "2001:db8::1", 25, true},
                {"2001:db8::1", "2001:db8::1", 0, true},
                {"[a.example]", "a.example", 0, true},
                {"[a.example", "", 0, false},
                {"[a]x", "", 0, false},
                {"a:0", "", 0, false},
                {"a:65536", "", 0, false},
                {"a:x", "", 0, false},
                {"", "", 0, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str host;
        uint16_t port;
        assert_int_equal(host_port(str_of(rows[i].text), &host, &port), rows[i].good);
        if (!rows[i].good)
            continue;
        assert_true(str_eq(host, str_of(rows[i].host)));
        assert_int_equal(port, rows[i].port);
    }
}

static void urls(void **state)
{
    static const struct {
        const char *text, *scheme, *user, *password, *host;
        unsigned port;
    } rows[] = {{"smtps://a%40b:c%3Ad@h.example:465/", "smtps", "a@b", "c:d", "h.example", 465},
                {"smtp://a@b.example@h.example", "smtp", "a@b.example", "", "h.example", 0},
                {"smtp://u:p/a?b@h.example?x", "smtp", "u", "p/a?b", "h.example", 0},
                {"smtp+login://h", "smtp+login", "", "", "h", 0},
                {"smtp://u:@[::1]:25", "smtp", "u", "", "::1", 25},
                {"smtp://100%:%zz@h", "smtp", "100%", "%zz", "h", 0}};
    static const char *const bad[] = {"",          "h",          "://h",  "smtp://",
                                      "smtp://u@", "smtp://h:x", "smtp:h"};
    struct import *im = import_new(&files, "");
    struct mail_url u;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(mail_url(im, str_of(rows[i].text), &u));
        assert_true(str_eq(u.scheme, str_of(rows[i].scheme)));
        assert_true(str_eq(u.user, str_of(rows[i].user)));
        assert_true(str_eq(u.password, str_of(rows[i].password)));
        assert_true(str_eq(u.host, str_of(rows[i].host)));
        assert_int_equal(u.port, rows[i].port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(mail_url(im, str_of(bad[i]), &u));
    import_free(&im);
}

static void paths(void **state)
{
    struct import *im = import_new(&files, "/backup");
    im->home = "/backup/home/a";
    assert_string_equal(etc_path(im, "/etc/x"), "/backup/etc/x");
    assert_string_equal(named_path(im, "/d", STR("~/x")), "/backup/home/a/x");
    assert_string_equal(named_path(im, "/d", STR("$HOME/x")), "/backup/home/a/x");
    assert_string_equal(named_path(im, "/d", STR("/x")), "/backup/x");
    assert_string_equal(named_path(im, "/d", STR("x")), "/d/x");
    assert_string_equal(dir_of(im, "/a/b"), "/a");
    import_free(&im);
}

static void a_line_of_many_words_costs_linear_time(void **state)
{
    struct import *im = import_new(&files, "");
    struct buf b;
    struct str rest, word;
    size_t count = 0;
    clock_t begin = clock();
    buf_init(&b, 4 << 20);
    while (b.len < 2000000)
        buf_puts(&b, "a ");
    for (rest = buf_str(&b); word_next(im, &rest, 0, &word);)
        count++;
    assert_int_equal(count, 1000000);
    assert_true(arena_size(im->arena) < (64 << 20));
    assert_true(clock() - begin < 10 * CLOCKS_PER_SEC);
    buf_free(&b);
    import_free(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(lines),
        cmocka_unit_test(unreadable_files_are_noted),
        cmocka_unit_test(unquoting),
        cmocka_unit_test(hosts_and_ports),
        cmocka_unit_test(urls),
        cmocka_unit_test(paths),
        cmocka_unit_test(a_line_of_many_words_costs_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
