// SPDX-License-Identifier: ISC
// Addresses: what is taken, in which form, and what is refused.
#include "mail/address.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { R = ADDRESS_REVERSE, U = ADDRESS_UTF8, B = ADDRESS_BARE, N = ADDRESS_NO_DOMAIN };

static const struct {
    unsigned flags;
    const char *in, *text, *rest;
} good[] = {
    {R, "<>", "", ""},
    {R, "<> SIZE=10", "", "SIZE=10"},
    {0, "<bob@example.net>", "bob@example.net", ""},
    {0, " <bob@example.net>  NOTIFY=NEVER", "bob@example.net", "NOTIFY=NEVER"},
    {0, "<Bob.Smith@EXAMPLE.Net>", "Bob.Smith@example.net", ""},
    {0, "<postmaster>", "postmaster", ""},
    {0, "<PostMaster>", "PostMaster", ""},
    {0, "<a+b=c@x_y.example>", "a+b=c@x_y.example", ""},
    // a source route is dropped; %, ! and a path are letters
    {0, "<@a,@b:u@d>", "u@d", ""},
    {0, "<@[192.0.2.1]:u@d>", "u@d", ""},
    {0, "<u%evil@d>", "u%evil@d", ""},
    {0, "<evil!u@d>", "evil!u@d", ""},
    {0, "</etc/passwd@d>", "/etc/passwd@d", ""},
    {0, "<-oX/tmp/x@d>", "-oX/tmp/x@d", ""},
    {0, "<%n%n%n%n@d>", "%n%n%n%n@d", ""},
    {0, "<\":include:/etc/passwd\"@d>", "\":include:/etc/passwd\"@d", ""},
    {0, "<\"${run{/usr/bin/touch /tmp/m}}\"@d>", "\"${run{/usr/bin/touch /tmp/m}}\"@d", ""},
    // quoted only where it must be
    {0, "<\"bob\"@d>", "bob@d", ""},
    {0, "<\"b\\o\\b\"@d>", "bob@d", ""},
    {0, "<\"a b\"@d>", "\"a b\"@d", ""},
    {0, "<\"a..b\"@d>", "\"a..b\"@d", ""},
    {0, "<\".a\"@d>", "\".a\"@d", ""},
    {0, "<\"\"@d>", "\"\"@d", ""},
    {0, "<\"a\\\"b\\\\c\"@d>", "\"a\\\"b\\\\c\"@d", ""},
    {0, "<\"x> SIZE=1 <y\"@d> SIZE=2", "\"x> SIZE=1 <y\"@d", "SIZE=2"},
    {0, "<\"a@b\"@d>", "\"a@b\"@d", ""},
    // literals
    {0, "<u@[192.0.2.1]>", "u@[192.0.2.1]", ""},
    {0, "<u@[IPv6:2001:DB8::1]>", "u@[IPv6:2001:db8::1]", ""},
    {0, "<u@[ipv6:::FFFF:192.0.2.1]>", "u@[IPv6:::ffff:192.0.2.1]", ""},
    {0, "<u@" L63 "." L63 "." L63 ".example>", "u@" L63 "." L63 "." L63 ".example", ""},
    // UTF-8 where it was asked for
    {U,
     "<j\xc3\xb6rg@b\xc3\xbc"
     "cher.example>",
     "j\xc3\xb6rg@b\xc3\xbc"
     "cher.example",
     ""},
    {U, "<\"j\xc3\xb6 rg\"@d>", "\"j\xc3\xb6 rg\"@d", ""},
    // without <>
    {B, "bob@example.net", "bob@example.net", ""},
    {B, "<bob@example.net> ", "bob@example.net", ""},
    {B | N, "root", "root", ""},
    {B | N, "\"a b\"", "\"a b\"", ""},
    {B | R, "", "", ""},
    {B | R, "<>", "", ""},
    {N, "<www-data>", "www-data", ""},
};

static const struct {
    unsigned flags;
    const char *in;
} bad[] = {
    {0, ""},
    {0, "<>"}, // only a reverse-path may be null
    {0, "<"},
    {0, "bob@example.net"},
    {0, "<bob@example.net"},
    {0, "<bob@example.net>SIZE=1"},
    {0, "<bob>"},
    {R, "<postmaster>"},
    {0, "<bob@>"},
    {0, "<@example.net>"},
    {0, "<bob@example.net.>"},
    {0, "<bob@.example.net>"},
    {0, "<bob@example..net>"},
    {0, "<bob@-example.net>"},
    {0, "<bob@example-.net>"},
    {0, "<bob@" L63 "a.net>"},
    {0, "<bob@" L63 "." L63 "." L63 "." L63 ".a>"},
    {0, "<u@evil@d>"},
    {0, "<a..b@d>"},
    {0, "<.a@d>"},
    {0, "<a.@d>"},
    {0, "<../../../../x@d>"},
    {0, "<u@../../etc/passwd>"},
    {0, "<;touch /tmp/m;>"},
    {0, "<a b@d>"},
    {0, "<(c)a@d>"},
    {0, "<a@d(c)>"},
    {0, "<\"a@d>"},
    {0, "<\"a\"b@d>"},
    {0, "<\"a\\"},
    {0, "<@a:>"},
    {0, "<@a,b:u@d>"},
    {0, "<@a u@d>"},
    {0, "<u@[1.2.3]>"},
    {0, "<u@[01.2.3.4]>"},
    {0, "<u@[IPv6:zz]>"},
    {0, "<u@[127.0.0.1>"},
    {0, "<u@[::1]>"},
    {0, "<u@[IPv6:1.2.3.4]>"},
    {0, "<u@[[1.2.3.4]]>"},
    {0, "<u@[IPv6:[::1]]>"},
    {0, "<u@[1.2.3.4]x>"},
    {0, "<u@[x-tag:abc]>"},
    {0, "<x\ry@d>"},
    {0, "<x\ny@d>"},
    {0, "<x\x01y@d>"},
    {0, "<x\x1by@d>"},
    {0, "<x\x7fy@d>"},
    {0, "<\"x\ry\"@d>"},
    {0, "<\"x\\\ry\"@d>"},
    {0, "<\"x\ty\"@d>"},
    {0, "<x@d\r\n>"},
    {0, "<x@d>\r\nDATA"},
    {0, "<j\xc3\xb6rg@d>"},
    {0, "<u@b\xc3\xbc"
        "cher.example>"},
    {0, "<\"j\xc3\xb6rg\"@d>"},
    {U, "<\xc3\x28\xff@d>"},
    {U, "<u@\xc3\x28\xff>"},
    {U, "<x\xc2\x9by@d>"}, // C1
    {U, "<\"\\\xc3\xb6\"@d>"},
    {B, "bob"},
    {B, "a@b\r\nDATA\r\n"},
    {B, "a@b, c@d"},
    {B, "a@b SIZE=1"},
    {B, "<a@b> SIZE=1"},
    {B | N, ""},
};

static void good_ones_get_one_form(void **state)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address a;
        const char *why;
        struct str in = str_of(good[i].in);
        if (!address_parse(in, good[i].flags, &a, &why))
            fail_msg("%s: %s", good[i].in, why);
        assert_string_equal(a.text, good[i].text);
        assert_int_equal(a.len, strlen(a.text));
        assert_string_equal(in.ptr + a.used, good[i].rest);
    }
}

static void bad_ones_are_refused_with_a_reason(void **state)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct address a;
        const char *why = NULL;
        if (address_parse(str_of(bad[i].in), bad[i].flags, &a, &why))
            fail_msg("taken: %s as %s", bad[i].in, a.text);
        assert_non_null(why);
        assert_in_range(strlen(why), 5, 80);
    }
    struct address a;
    const char *why;
    assert_false(address_parse(STR("<a\0b@d>"), 0, &a, &why));
    assert_false(address_parse(STR("<\"a\0b\"@d>"), 0, &a, &why));
    assert_false(address_parse(STR("<a@d\0>"), 0, &a, &why));
    assert_false(address_parse(STR("<a@[1.2.3.4\0]>"), 0, &a, &why));
}

// No read behind the end, whatever the cut: the sanitizer watches a copy of exact size.
static void cuts_are_harmless(void **state)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        size_t len = strlen(good[i].in);
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = xmalloc(cut > 0 ? cut : 1);
            memcpy(copy, good[i].in, cut);
            struct address a;
            const char *why;
            address_parse(str_make(copy, cut), good[i].flags, &a, &why);
            xfree(copy);
        }
    }
}

static void parts_can_be_told_apart(void **state)
{
    struct address a;
    const char *why;
    assert_true(address_parse(STR("<\"a@b\"@Example.ORG>"), 0, &a, &why));
    assert_true(str_eq(address_local(&a), STR("\"a@b\"")));
    assert_true(str_eq(address_domain(&a), STR("example.org")));
    assert_false(a.utf8);
    assert_true(address_parse(STR("<postmaster>"), 0, &a, &why));
    assert_true(str_eq(address_local(&a), STR("postmaster")));
    assert_int_equal(address_domain(&a).len, 0);
    assert_true(address_parse(STR("<u@b\xc3\xbc.example>"), U, &a, &why));
    assert_true(a.utf8);
    assert_false(address_parse(STR("<u@b\xc3\xbc.example>"), 0, &a, &why));
    assert_ptr_equal(why, address_needs_utf8);
}

static void lengths_end_at_their_limits(void **state)
{
    char in[4096];
    struct address a;
    const char *why;
    for (int n = 250; n < 260; n++) {
        snprintf(in, sizeof(in), "<%0*d@d>", n, 1);
        assert_int_equal(address_parse(str_of(in), 0, &a, &why), n <= LIMIT_LOCAL_PART);
        snprintf(in, sizeof(in), "<\"%*d\"@d>", n, 1); // blanks: with quotes two longer
        assert_int_equal(address_parse(str_of(in), 0, &a, &why), n + 2 <= LIMIT_LOCAL_PART);
    }
    // A route may fill the path, but not beyond it.
    size_t at = 1;
    in[0] = '<';
    while (at < 1020)
        at += (size_t)snprintf(in + at, sizeof(in) - at, "%s@%s.example", at > 1 ? "," : "", L63);
    snprintf(in + at, sizeof(in) - at, ":u@d>");
    assert_false(address_parse(str_of(in), 0, &a, &why));
    assert_string_equal(why, "the address is too long");
}

static void names_get_their_ascii_form(void **state)
{
    static const struct {
        const char *in, *out; // NULL: none
    } rows[] = {
        {"u@example.org", "u@example.org"},
        {"postmaster", "postmaster"},
        {"", ""},
        {"u@b\xc3\xbc"
         "cher.example",
         "u@xn--bcher-kva.example"},
        {"u@B\xc3\x9c"
         "CHER.example",
         "u@xn--bcher-kva.example"},
        {"u@stra\xc3\x9f"
         "e.example",
         "u@xn--strae-oqa.example"},
        {"u@x_y.b\xc3\xbc"
         "cher.example",
         "u@x_y.xn--bcher-kva.example"},
        {"j\xc3\xb6rg@example.org", NULL},
        {"j\xc3\xb6rg", NULL},
        {"u@\xe2\x80\xae.example", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        buf_init(&out, 1000);
        bool ok = address_to_ascii(str_of(rows[i].in), &out);
        assert_int_equal(ok, rows[i].out != NULL);
        assert_string_equal(buf_cstr(&out), ok ? rows[i].out : "");
        buf_free(&out);
    }
}

static void a_domain_alone(void **state)
{
    char out[LIMIT_DOMAIN + 1];
    const char *why;
    assert_true(address_parse_domain(STR("Mail.Example.ORG"), 0, out, &why));
    assert_string_equal(out, "mail.example.org");
    assert_true(address_parse_domain(STR("[IPv6:::1]"), 0, out, &why));
    assert_string_equal(out, "[IPv6:::1]");
    assert_false(address_parse_domain(STR("a.example."), 0, out, &why));
    assert_false(address_parse_domain(STR("a example"), 0, out, &why));
    assert_false(address_parse_domain(STR("a\r\nX: y"), 0, out, &why));
    assert_false(address_parse_domain(STR(""), 0, out, &why));
    assert_true(address_domain_to_ascii(STR("b\xc3\xbc"
                                            "cher.example"),
                                        out));
    assert_string_equal(out, "xn--bcher-kva.example");
    assert_true(address_domain_to_ascii((struct str){0}, out));
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_get_one_form),
        cmocka_unit_test(bad_ones_are_refused_with_a_reason),
        cmocka_unit_test(cuts_are_harmless),
        cmocka_unit_test(parts_can_be_told_apart),
        cmocka_unit_test(lengths_end_at_their_limits),
        cmocka_unit_test(names_get_their_ascii_form),
        cmocka_unit_test(a_domain_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
