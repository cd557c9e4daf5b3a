// SPDX-License-Identifier: ISC
// Addresses of strangers and what is made of them.
#include "deliver/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct mailbox of(const char *rcpt)
{
    struct mailbox m;
    mailbox_of(str_of(rcpt), STR("sender@example.net"), &m);
    return m;
}

static void the_user_is_the_local_part_without_its_detail(void **state)
{
    static const struct {
        const char *rcpt, *user, *detail, *domain;
    } rows[] = {
        {"anna@example.org", "anna", "", "example.org"},
        {"Anna.B@Example.ORG", "anna.b", "", "example.org"},
        {"anna+lists@example.org", "anna", "lists", "example.org"},
        {"anna+a+b@example.org", "anna", "a+b", "example.org"},
        {"anna", "anna", "", ""},
        {"+x@example.org", "", "x", "example.org"},
        {"anna+../x@example.org", "anna", "", "example.org"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mailbox m = of(rows[i].rcpt);
        assert_string_equal(m.user, rows[i].user);
        assert_string_equal(m.detail, rows[i].detail);
        assert_string_equal(m.domain, rows[i].domain);
    }
}

static void tricks_with_paths_and_options_name_no_user(void **state)
{
    static const char *const rows[] = {
        "../etc/passwd@example.org",
        "..@example.org",
        ".@example.org",
        "-rf@example.org",
        "a/b@example.org",
        "/etc/x@example.org",
        "@example.org",
        "\"a b\"@example.org",
        "\"../x\"@example.org",
        "a\\b@example.org",
        "a%b@example.org",
        "a$(id)@example.org",
        "a;b@example.org",
        "a|b@example.org",
        "m\xc3\xbcller@example.org",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mailbox m = of(rows[i]);
        struct buf out;
        buf_init(&out, 1000);
        assert_string_equal(m.user, "");
        assert_false(mailbox_fill("/var/mail/%u", &m, &out));
        buf_free(&out);
    }
}

static void expect_fill(const char *pattern, const char *rcpt, const char *sender, const char *text)
{
    struct mailbox m;
    struct buf out;
    mailbox_of(str_of(rcpt), str_of(sender), &m);
    buf_init(&out, 1000);
    bool good = mailbox_fill(pattern, &m, &out);
    assert_int_equal(good, text != NULL);
    if (text != NULL)
        assert_string_equal(buf_cstr(&out), text);
    buf_free(&out);
}

static void patterns_are_filled_in(void **state)
{
    const char *anna = "Anna+Work@Example.org", *from = "boss@example.net";
    expect_fill("/mail/%d/%u", anna, from, "/mail/example.org/anna");
    expect_fill("%r", anna, from, "Anna+Work@Example.org");
    expect_fill("%e", anna, from, "work");
    expect_fill("%e", "anna@example.org", from, "");
    expect_fill("--from=%s", anna, from, "--from=boss@example.net");
    expect_fill("%s", anna, "", "<>");
    expect_fill("100%%", anna, from, "100%");
    expect_fill("plain", "../x@example.org", from, "plain");
    // No option comes out of an address.
    expect_fill("%r", "-oQ/tmp@example.org", from, NULL);
    expect_fill("%s", anna, "-C/tmp/x@example.net", NULL);
    expect_fill("%e%r", "-x@example.org", from, NULL);
    expect_fill("-f%s", anna, "-x@example.net", "-f-x@example.net");
    // A domain that names no directory.
    expect_fill("/mail/%d/%u", "anna@[127.0.0.1]", from, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_user_is_the_local_part_without_its_detail),
        cmocka_unit_test(tricks_with_paths_and_options_name_no_user),
        cmocka_unit_test(patterns_are_filled_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
