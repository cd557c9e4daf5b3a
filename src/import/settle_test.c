// SPDX-License-Identifier: ISC
// What becomes of servers that were found: judged, merged, named, and written.
#include "import/source.h"
#include "import/write.h"
#include "conf/read.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *read_none(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                             struct err *err)
{
    err_set(err, "it is not there");
    err->code = ENOENT;
    return NULL;
}

static const char *const *list_none(void *ctx, struct arena *arena, const char *path)
{
    return NULL;
}

static const struct import_files files = {read_none, list_none, NULL};

static struct import_found *add(struct import *im, const char *host, uint16_t port,
                                const char *user)
{
    im->program = "test";
    struct import_found *f = found_add(im, "file", 1, STR(""));
    f->host = host;
    f->port = port;
    f->user = user;
    return f;
}

static void names(void **state)
{
    static const struct {
        const char *host, *user, *name;
    } rows[] = {{"smtp.gmail.com", "a", "gmail"},
                {"smtp.gmail.com", "b.c@gmail.com", "gmail-b-c"},
                {"smtp.gmail.com", "b-c", "gmail-2"},
                {"smtp-relay.gmail.com", NULL, "google-relay"},
                {"smtp.example.org", NULL, "example-org"},
                {"example.org", NULL, "example-org-2"},
                {"smtp.org", NULL, "smtp-org"},
                {"notgmail.com", NULL, "notgmail-com"},
                {"192.0.2.1", NULL, "ip-192-0-2-1"},
                {"2001:db8::1", NULL, "ip-2001-db8-1"},
                {"direct", NULL, "direct-2"},
                {"SMTP.Upper.Example.", NULL, "upper-example"},
                {"b\xc3\xbc"
                 "cher.example",
                 NULL, "xn-bcher-kva-example"}};
    struct import *im = import_new(&files, "");
    struct import_found *f[sizeof(rows) / sizeof(rows[0])];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        f[i] = add(im, rows[i].host, 587, rows[i].user);
    assert_int_equal(import_settle(im), sizeof(rows) / sizeof(rows[0]));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(f[i]->name, rows[i].name);
    import_free(&im);
}

static void what_cannot_be_is_left_out(void **state)
{
    static const char *const hosts[] = {"",          "a b",       "a..b", "-a",
                                        "localhost", "127.0.0.1", "::1",  "*"};
    struct import *im = import_new(&files, "");
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        add(im, hosts[i], 25, NULL);
    add(im, "a.example", 25, "x")->login = IMPORT_LOGIN_OAUTH2;
    add(im, "b.example", 25, "x")->login = IMPORT_LOGIN_OTHER;
    add(im, "c.example", 25, "x\ny");
    assert_int_equal(import_settle(im), 0);
    for (struct import_found *f = im->found; f != NULL; f = f->next)
        assert_true(f->why_not != NULL && f->name == NULL);
    import_free(&im);
}

static void the_same_is_one(void **state)
{
    struct import *im = import_new(&files, "");
    struct import_found *a = add(im, "a.example", 587, "u"), *b = add(im, "A.example", 587, "u");
    struct import_found *c = add(im, "a.example", 587, NULL), *d = add(im, "a.example", 465, "u");
    found_senders(im, a, STR("x@a.example"));
    found_senders(im, b, STR("Y <y@a.example>, X@a.example, not one"));
    found_keyring(im, a, NULL, "a keyring");
    found_password(im, b, STR("secret"), "other", 7);
    assert_int_equal(import_settle(im), 3);
    assert_ptr_equal(import_kept(b), a);
    assert_ptr_equal(import_kept(c), c);
    assert_ptr_equal(import_kept(d), d);
    assert_int_equal(a->secret, IMPORT_SECRET_CLEAR);
    assert_string_equal(a->password, "secret");
    assert_string_equal(a->senders->next->text, "y@a.example");
    assert_null(a->senders->next->next);
    assert_non_null(a->places->next);
    import_free(&im);
}

static void tls_is_settled(void **state)
{
    static const struct {
        const char *host, *user;
        enum import_tls tls;
        uint16_t port;
        const char *url;
    } rows[] = {{"a.example", NULL, IMPORT_TLS_UNSAID, 0, "smtp://a.example"},
                {"b.example", "u", IMPORT_TLS_UNSAID, 0, "smtp+starttls://u@b.example"},
                {"c.example", "u", IMPORT_TLS_UNSAID, 465, "smtps://u@c.example"},
                {"d.example", "u", IMPORT_TLS_OFF, 25, "smtp+starttls://u@d.example:25"},
                {"e.example", "u", IMPORT_TLS_WANTED, 587, "smtp+starttls://u@e.example"},
                {"f.example", NULL, IMPORT_TLS_OFF, 2525, "smtp://f.example:2525"},
                {"127.0.0.1", "u", IMPORT_TLS_OFF, 1025, "smtp://u@127.0.0.1:1025"},
                {"2001:db8::1", NULL, IMPORT_TLS_IMPLICIT, 0, "smtps://[2001:db8::1]"}};
    struct import *im = import_new(&files, "");
    struct import_found *f[sizeof(rows) / sizeof(rows[0])];
    struct buf url;
    buf_init(&url, 1024);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        (f[i] = add(im, rows[i].host, rows[i].port, rows[i].user))->tls = rows[i].tls;
    import_settle(im);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_clear(&url);
        import_url(f[i], &url);
        assert_string_equal(buf_cstr(&url), rows[i].url);
    }
    buf_free(&url);
    import_free(&im);
}

static void commands_that_show_a_password(void **state)
{
    static const struct {
        const char *command;
        enum import_secret secret;
    } rows[] = {{"pass show x", IMPORT_SECRET_COMMAND},  {"echo hunter2", IMPORT_SECRET_CLEAR},
                {"echo 'a b'", IMPORT_SECRET_CLEAR},     {"echo a b", IMPORT_SECRET_KEYRING},
                {"echo $X", IMPORT_SECRET_KEYRING},      {"printf '%s' x", IMPORT_SECRET_KEYRING},
                {"printf hunter2", IMPORT_SECRET_CLEAR}, {"echo -n x", IMPORT_SECRET_KEYRING},
                {"echo", IMPORT_SECRET_KEYRING},         {" ", IMPORT_SECRET_NONE}};
    struct import *im = import_new(&files, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct import_found *f = add(im, "a.example", 25, "u");
        found_command(im, f, str_of(rows[i].command));
        assert_int_equal(f->secret, rows[i].secret);
    }
    import_free(&im);
}

// Of gateways for their senders, general ones, and those a route alone names.
static void one_takes_the_rest(void **state)
{
    const struct import_layout layout = {"/etc/waypost", false};
    struct import *im = import_new(&files, "");
    struct conf_report report;
    struct buf yaml;
    found_senders(im, add(im, "s.example", 25, NULL), STR("@s.example"));
    add(im, "g.example", 25, NULL);
    add(im, "d.example", 25, NULL)->is_default = true;
    route_add(im, "*@r.example", NULL, add(im, "r.example", 25, NULL), "file", 1);
    route_add(im, "*@R.example", NULL, NULL, "file", 2);
    assert_int_equal(import_settle(im), 4);
    assert_string_equal(import_catch_all(im)->name, "d-example");
    buf_init(&yaml, 1 << 20);
    import_yaml(im, &layout, &yaml);
    conf_report_init(&report);
    struct conf *conf = conf_read_text("x.yaml", buf_str(&yaml), &report);
    assert_non_null(conf);
    assert_int_equal(report.warnings, 0);
    assert_int_equal(conf->route_count, 2);
    const struct conf_route *last = &conf->routes[1];
    static const char *const chain[] = {"s-example", "d-example", "g-example"};
    assert_int_equal(last->via_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(conf->gateways[last->via[i].gateway].name, chain[i]);
    conf_unref(&conf);
    conf_report_free(&report);
    buf_free(&yaml);
    import_free(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(what_cannot_be_is_left_out),
        cmocka_unit_test(the_same_is_one),
        cmocka_unit_test(tls_is_settled),
        cmocka_unit_test(commands_that_show_a_password),
        cmocka_unit_test(one_takes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
