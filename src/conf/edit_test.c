// SPDX-License-Identifier: ISC
// Edits of a configuration change what was asked and nothing else.
#include "conf/edit.h"
#include "base/mem.h"
#include "conf/diff.h"
#include "conf/read.h"
#include "sys/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum kind { SET, ADD, REMOVE, MOVE };

// clang-format off
static const struct {
    enum kind kind;
    const char *before;
    const char *a, *b, *c; // the call's arguments
    const char *after;     // NULL: refused, with the sentence in `said`
    const char *said;
} cases[] = {
    // Values, replaced where they stand
    {SET, "queue:\n  warn: 4h   # soon\n  expire: 5d\n", "queue.warn", "8h", NULL,
     "queue:\n  warn: 8h   # soon\n  expire: 5d\n"},
    {SET, "queue: {warn:   4h, expire: 5d} # q\n", "queue.warn", "8h", NULL,
     "queue: {warn:   8h, expire: 5d} # q\n"},
    {SET, "hostname: \"a.example\" # x\n", "hostname", "b.example", NULL, "hostname: b.example # x\n"},
    {SET, "hostname: 'a.example'", "hostname", "\"b.example\"", NULL, "hostname: \"b.example\""},
    {SET, "\"hostname\": a.example\r\n", "hostname", "b.example", NULL, "\"hostname\": b.example\r\n"},
    {SET, "gateways:\n  isp: {url: a.example, password: !file x.pw}\n", "gateways.isp.password",
     "!env ISP", NULL, "gateways:\n  isp: {url: a.example, password: !env ISP}\n"},
    {SET, "queue:\n  retry:\n    - 1m\n    - 5m\n  warn: 4h\n", "queue.retry", "[2m]", NULL,
     "queue:\n  retry: [2m]\n  warn: 4h\n"},
    {SET, "queue:\n  retry: [1m,\n    5m]\n", "queue.retry", "2m", NULL, "queue:\n  retry: 2m\n"},
    {SET, "gateways:\n  isp:\n    url: a.example\n    enabled:\n    priority: low\n",
     "gateways.isp.enabled", "no", NULL,
     "gateways:\n  isp:\n    url: a.example\n    enabled: no\n    priority: low\n"},
    {SET, "queue:\n  retry:\n    - 1m # first\n    - 5m\n", "queue.retry", "[2m]", NULL, NULL,
     "there are remarks inside of what `retry` says; edit it by hand"},
    // Keys that are not there yet
    {SET, "", "hostname", "a.example", NULL, "hostname: a.example\n"},
    {SET, "# mine\n", "hostname", "a.example", NULL, "# mine\nhostname: a.example\n"},
    {SET, "spool: /s", "hostname", "a.example", NULL, "spool: /s\nhostname: a.example\n"},
    {SET, "spool: /s # here\n\n# end\n", "hostname", "a.example", NULL,
     "spool: /s # here\nhostname: a.example\n\n# end\n"},
    {SET, "spool: /s\r\n", "hostname", "a.example", NULL, "spool: /s\r\nhostname: a.example\r\n"},
    {SET, "spool: /s\n", "queue.warn", "4h", NULL, "spool: /s\nqueue: {warn: 4h}\n"},
    {SET, "gateways: {isp: {url: a.example}}\n", "gateways.isp.limits.rate", "30/min", NULL,
     "gateways: {isp: {url: a.example, limits: {rate: 30/min}}}\n"},
    {SET, "gateways:\n  isp: {url: a.example}\n", "gateways.isp.enabled", "false", NULL,
     "gateways:\n  isp: {url: a.example, enabled: false}\n"},
    {SET, "gateways:\n  isp: {url: a.example,}\n", "gateways.isp.enabled", "false", NULL,
     "gateways:\n  isp: {url: a.example, enabled: false,}\n"},
    {SET, "gateways:\n  isp:\n      url: a.example # u\n  two: b.example\n", "gateways.isp.enabled",
     "false", NULL,
     "gateways:\n  isp:\n      url: a.example # u\n      enabled: false\n  two: b.example\n"},
    {SET, "gateways: {a: {url: x.example}, a.b: {url: y.example}}\n", "gateways.a.b.enabled", "no",
     NULL, "gateways: {a: {url: x.example}, a.b: {url: y.example, enabled: no}}\n"},
    // A gateway that is its url alone
    {SET, "gateways:\n  isp: a.example:2525 # i\n", "gateways.isp.enabled", "false", NULL,
     "gateways:\n  isp: {url: a.example:2525, enabled: false} # i\n"},
    {SET, "gateways:\n  isp: \"[::1]:2525\"\n", "gateways.isp.limits.rate", "1/s", NULL,
     "gateways:\n  isp: {url: \"[::1]:2525\", limits: {rate: 1/s}}\n"},
    {SET, "gateways:\n  direct:\n", "gateways.direct.tls", "required", NULL,
     "gateways:\n  direct: {tls: required}\n"},
    {SET, "spool: /s\n", "gateways.direct.tls", "required", NULL,
     "spool: /s\ngateways: {direct: {tls: required}}\n"},
    {SET, "gateways: {isp: a.example}\n", "gateways.ips.enabled", "no", NULL, NULL,
     "there is no `ips` in `gateways`; add it first"},
    {SET, "spool: /s\n", "gateways.isp.enabled", "no", NULL, NULL,
     "there are no `gateways` in the file; add one first"},
    {SET, "hostname: a.example\n", "hostname.x", "no", NULL, NULL, "`hostname` is no map of keys"},
    {SET, "a: [b\n", "hostname", "x", NULL, NULL,
     "the file cannot be read: line 1: this bracket is never closed"},
    {SET, "a: b\n", "hostname", "[x", NULL, NULL,
     "the value cannot be read: line 1: this bracket is never closed"},
    {SET, "{a: b}\n", "hostname", "x # y", NULL, NULL,
     "the file is written in a way that this change does not fit into; edit it by hand"},
    {SET, "- a\n", "hostname", "x", NULL, NULL, "the configuration is no map of keys and values"},
    // New entries
    {ADD, "", "gateways", "isp", "mail.isp.example", "gateways:\n  isp: mail.isp.example\n"},
    {ADD, "spool: /s\n", "gateways", "isp", "{url: \"smtp://a.example\", password: !file x}",
     "spool: /s\ngateways:\n  isp: {url: \"smtp://a.example\", password: !file x}\n"},
    {ADD, "gateways:\n  a: x.example # one\n\n# the queue\nqueue: {warn: 4h}\n", "gateways", "b",
     "y.example",
     "gateways:\n  a: x.example # one\n  b: y.example\n\n# the queue\nqueue: {warn: 4h}\n"},
    {ADD, "gateways: {a: x.example}\n", "gateways", "b", "y.example",
     "gateways: {a: x.example, b: y.example}\n"},
    {ADD, "gateways: {}\n", "gateways", "b", "y.example", "gateways: {b: y.example}\n"},
    {ADD, "gateways: # none\nspool: /s\n", "gateways", "b", "y.example",
     "gateways: # none\n  b: y.example\nspool: /s\n"},
    {ADD, "{spool: /s}\n", "gateways", "b", "y.example", "{spool: /s, gateways: {b: y.example}}\n"},
    {ADD, "networks:\n    home: {ssid: x}\n", "networks", "office",
     "address: [10.20.0.0/16]\nssid: [\"a b\"]\n",
     "networks:\n    home: {ssid: x}\n    office:\n      address: [10.20.0.0/16]\n"
     "      ssid: [\"a b\"]\n"},
    {ADD, "networks: {home: {ssid: x}}\n", "networks", "office",
     "address: [10.20.0.0/16]\nssid: [\"a b\"]\n",
     "networks: {home: {ssid: x}, office: {address: [10.20.0.0/16], ssid: [\"a b\"]}}\n"},
    {ADD, "spool: /s\n", "networks", "office", "address: [10.20.0.0/16]\nssid: x\n",
     "spool: /s\nnetworks:\n  office:\n    address: [10.20.0.0/16]\n    ssid: x\n"},
    {ADD, "gateways:\n  a: x.example\n", "gateways", "a", "y.example", NULL,
     "`a` is there already, in line 2"},
    {ADD, "gateways: [a]\n", "gateways", "b", "y.example", NULL, "`gateways` is no map of names"},
    {ADD, "", "gateways", "a: b", "y.example", NULL, "`a: b` is no name; take letters, digits, - and _"},
    // Gone
    {REMOVE, "gateways:\n  # one\n  a: x.example # r\n  b: y.example\n", "gateways.a", NULL, NULL,
     "gateways:\n  # one\n  b: y.example\n"},
    {REMOVE, "gateways:\n  a:\n    url: x.example\n    tls: off\n\n  b: y.example\n", "gateways.a",
     NULL, NULL, "gateways:\n\n  b: y.example\n"},
    {REMOVE, "gateways:\n  a: x.example\nspool: /s\n", "gateways.a", NULL, NULL, "spool: /s\n"},
    {REMOVE, "gateways: {a: x.example, b: y.example}\n", "gateways.a", NULL, NULL,
     "gateways: {b: y.example}\n"},
    {REMOVE, "gateways: {a: x.example, b: y.example}\n", "gateways.b", NULL, NULL,
     "gateways: {a: x.example}\n"},
    {REMOVE, "gateways: {a: x.example, # one\n  b: y.example}\n", "gateways.b", NULL, NULL,
     "gateways: {a: x.example, # one\n  }\n"},
    {REMOVE, "gateways:\n  a: {url: x.example, enabled: no}\n", "gateways.a.enabled", NULL, NULL,
     "gateways:\n  a: {url: x.example}\n"},
    {REMOVE, "hostname: a\n", "hostname", NULL, NULL, ""},
    {REMOVE, "hostname: a\n", "spool", NULL, NULL, NULL, "there is no `spool` in the file"},
    // Order
    {MOVE, "gateways:\n  # first\n  a: x.example # A\n  b: y.example\n\n  c: z.example\nspool: /s\n",
     "gateways", "c", "a",
     "gateways:\n  c: z.example\n  # first\n  a: x.example # A\n\n  b: y.example\nspool: /s\n"},
    {MOVE, "gateways:\n  a: x.example\n  b:\n    url: y.example", "gateways", "a", NULL,
     "gateways:\n  b:\n    url: y.example\n  a: x.example"},
    {MOVE, "gateways: {a: x.example, b: y.example,   c: z.example}\n", "gateways", "a", "c",
     "gateways: {b: y.example, a: x.example,   c: z.example}\n"},
    {MOVE, "gateways: {a: x.example, b: y.example}\n", "gateways", "a", "b",
     "gateways: {a: x.example, b: y.example}\n"},
    {MOVE, "gateways: {a: x.example, b: y.example}\n", "gateways", "z", NULL, NULL,
     "there is no `z` in `gateways`"},
};
// clang-format on

static bool apply(enum kind kind, const char *text, const char *a, const char *b, const char *c,
                  struct buf *out, struct err *err)
{
    struct str t = str_of(text);
    switch (kind) {
    case SET: return conf_edit_text_set(t, a, b, out, err);
    case ADD: return conf_edit_text_add(t, a, b, c, out, err);
    case REMOVE: return conf_edit_text_remove(t, a, out, err);
    case MOVE: return conf_edit_text_move(t, a, b, c, out, err);
    }
    return false;
}

static void only_what_was_asked_changes(void **unused)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        struct err err = {0};
        buf_init(&out, 100000);
        bool ok =
            apply(cases[i].kind, cases[i].before, cases[i].a, cases[i].b, cases[i].c, &out, &err);
        if (ok != (cases[i].after != NULL))
            fail_msg("%s (%s): %s", cases[i].before, cases[i].a, ok ? buf_cstr(&out) : err.text);
        if (ok)
            assert_string_equal(buf_cstr(&out), cases[i].after);
        else
            assert_string_equal(err.text, cases[i].said);
        if (!ok)
            assert_int_equal(out.len, 0);
        buf_free(&out);
    }
}

// Files as people write them, for edits by chance.
static const char *const corpus[] = {
    "# The office\n"
    "hostname: mail.example.org   # as in DNS\n"
    "\n"
    "gateways:\n"
    "  # the company's own\n"
    "  company:\n"
    "    url: \"smtp+starttls://relay.corp.example\" # never without TLS\n"
    "    priority: high\n"
    "    # limits: {rate: 1/s}\n"
    "    limits:\n"
    "      per_day: 1000 # as they told us\n"
    "\n"
    "  isp: {url: mail.isp.example, tls: wanted} # at home\n"
    "  # third: unused.example\n"
    "  last: \"[2001:db8::1]:587\"\n"
    "# behind\n"
    "queue:\n"
    "  retry: [1m, 5m]  # quick\n",
    "gateways: {a: {url: \"smtp://a.example\"}, b: b.example, c.d: {url: 'smtps://c.example',}} # "
    "all\n"
    "queue: {warn: 4h}\n"
    "# the end",
    "gateways:\r\n"
    "  a: {url: a.example,   # first\r\n"
    "      priority: low}\r\n"
    "  b: b.example\r\n"
    "  c: # nothing special\r\n"
    "    url: \"smtp://x.example\"\r\n"
    "    ca: \"/etc/x #y.pem\"\r\n",
};

// The remarks of a text, each followed by a newline, in their order.
static void put_remarks(struct buf *out, struct str text)
{
    char quote = '\0';
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quote != '\0') {
            quote = c == quote ? '\0' : quote;
        } else if ((c == '"' || c == '\'') && i > 0 && strchr(" [{,", text.ptr[i - 1]) != NULL) {
            quote = c;
        } else if (c == '#' && (i == 0 || strchr(" \n", text.ptr[i - 1]) != NULL)) {
            while (i < text.len && text.ptr[i] != '\n')
                buf_putc(out, text.ptr[i++]);
            buf_putc(out, '\n');
        }
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Sorted, because an entry takes the remarks above it along.
static void sort_lines(struct buf *lines)
{
    struct str rest = buf_str(lines), line;
    char *list[100];
    size_t n = 0;
    while (str_split(&rest, '\n', &line))
        list[n++] = xstrndup(line.ptr, line.len);
    qsort(list, n, sizeof(list[0]), by_text);
    buf_clear(lines);
    for (size_t i = 0; i < n; i++) {
        buf_printf(lines, "%s\n", list[i]);
        xfree(list[i]);
    }
}

static bool is_subsequence(struct str small, struct str large)
{
    size_t at = 0;
    for (size_t i = 0; i < large.len && at < small.len; i++)
        at += large.ptr[i] == small.ptr[at];
    return at == small.len;
}

static unsigned state = 12345;
static unsigned chance(unsigned below)
{
    state = state * 1103515245u + 12345u;
    return (state >> 16) % below;
}

static struct conf *read_conf(struct str text)
{
    struct conf_report report;
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text("w.yaml", text, &report);
    if (conf == NULL)
        fail_msg("%.*s\n%s", STR_FMT(text), report.problems[0].rendered);
    conf_report_free(&report);
    return conf;
}

// What one edit by chance asks for; the lines of difference that it may make.
static enum kind ask(const struct conf *conf, char *path, size_t size, const char **b,
                     const char **c, size_t *lines_out)
{
    static const char *const keys[][2] = {{"enabled", "no"},
                                          {"enabled", "true"},
                                          {"priority", "low"},
                                          {"verify", "no"},
                                          {"limits.rate", "30/min"},
                                          {"helo", "\"me.example\""},
                                          {"senders", "[\"*@a#b\", c]"},
                                          {"limits", "{per_day: 2, reserve: 5%}"}};
    static const char *const values[] = {"n.example", "{url: \"smtp://n.example\", tls: off}",
                                         "url: n.example\npriority: high"};
    const char *name = conf->gateways[chance((unsigned)conf->gateway_count)].name;
    unsigned key = chance(sizeof(keys) / sizeof(keys[0]));
    *lines_out = 1;
    switch (chance(4)) {
    case 0:
        snprintf(path, size, "gateways.%s.%s", name, keys[key][0]);
        *b = keys[key][1];
        *lines_out = 3; // `limits` has several
        return SET;
    case 1:
        snprintf(path, size, "n%u", chance(1000));
        *b = values[chance(3)];
        return ADD;
    case 2:
        snprintf(path, size, "gateways.%s", name);
        *lines_out = strcmp(name, "direct") == 0 ? 9 : 1; // what is built in changes back
        return REMOVE;
    default:
        snprintf(path, size, "%s", name);
        *b = conf->gateways[chance((unsigned)conf->gateway_count)].name;
        *c = chance(2) == 0 ? *b : NULL;
        *lines_out = 0;
        return MOVE;
    }
}

static size_t count_lines(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '\n';
    return n;
}

// One edit of `text`; the result goes there again.
static bool edit_by_chance(struct buf *text)
{
    struct conf *old = read_conf(buf_str(text));
    char path[100];
    const char *b = NULL, *c = NULL;
    size_t most;
    enum kind kind = ask(old, path, sizeof(path), &b, &c, &most);
    struct buf out, had, has, diff;
    struct err err;
    buf_init(&out, 100000);
    buf_init(&had, 100000);
    buf_init(&has, 100000);
    buf_init(&diff, 100000);
    bool ok = kind == ADD    ? conf_edit_text_add(buf_str(text), "gateways", path, b, &out, &err)
              : kind == MOVE ? conf_edit_text_move(buf_str(text), "gateways", path, c, &out, &err)
                             : apply(kind, buf_cstr(text), path, b, c, &out, &err);
    if (ok) {
        struct conf *now = read_conf(buf_str(&out));
        conf_diff(old, now, &diff);
        if (count_lines(buf_str(&diff)) > most)
            fail_msg("%s\n--- %d %s %s\n%s\n%s", buf_cstr(text), kind, path, b != NULL ? b : "",
                     buf_cstr(&out), buf_cstr(&diff));
        put_remarks(&had, buf_str(text));
        put_remarks(&has, buf_str(&out));
        sort_lines(&had);
        sort_lines(&has);
        bool kept = kind == REMOVE ? is_subsequence(buf_str(&out), buf_str(text))
                                   : str_eq(buf_str(&had), buf_str(&has));
        if (!kept)
            fail_msg("%s\n--- %d %s\n%s", buf_cstr(text), kind, path, buf_cstr(&out));
        buf_clear(text);
        buf_add(text, buf_str(&out));
        conf_unref(&now);
    }
    conf_unref(&old);
    buf_free(&out);
    buf_free(&had);
    buf_free(&has);
    buf_free(&diff);
    return ok;
}

static void edits_by_chance_keep_remarks_and_all_else(void **unused)
{
    unsigned done = 0, asked = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct buf text;
        buf_init(&text, 100000);
        buf_puts(&text, corpus[round % 3]);
        for (unsigned i = 0; i < 15; i++, asked++)
            done += edit_by_chance(&text);
        buf_free(&text);
    }
    // Some cannot be: the built-in `direct` is not in the file.
    assert_true(done * 2 > asked);
}

static void quoted_text_is_read_back(void **unused)
{
    static const char *const texts[] = {"",      "a",    "null",  "~",  "no", "a b", "a: b", "*x",
                                        "a#b",   "a #b", "\"q\"", "\\", "\t", "'",   "[x]",  "1m",
                                        "a@b.c", "-x",   "größe", "!x", "{",  "a,b", "x:",   "%"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct buf value, out, back;
        struct err err;
        buf_init(&value, 1000);
        buf_init(&out, 1000);
        buf_init(&back, 1000);
        conf_edit_quote(&value, str_of(texts[i]));
        if (!conf_edit_text_set(STR("{a: b}"), "a", buf_cstr(&value), &out, &err))
            fail_msg("%s: %s", texts[i], err.text);
        // A set to what it is already proves that it was read as this text.
        buf_puts(&back, "{a: ");
        buf_add(&back, buf_str(&value));
        buf_putc(&back, '}');
        assert_string_equal(buf_cstr(&out), buf_cstr(&back));
        buf_free(&value);
        buf_free(&out);
        buf_free(&back);
    }
}

// ---- Files ----

static char dir[] = "/tmp/conf-edit-XXXXXX";

static const char *in_dir(const char *name)
{
    static char paths[4][200];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void put_file(const char *name, const char *text, unsigned mode)
{
    FILE *f = fopen(in_dir(name), "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(in_dir(name), mode), 0);
}

static void expect_file(const char *name, const char *text, unsigned mode)
{
    struct err err;
    struct stat st;
    size_t len;
    char *now = file_slurp(in_dir(name), 100000, &len, &err);
    assert_non_null(now);
    assert_string_equal(now, text);
    assert_int_equal(stat(in_dir(name), &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    xfree(now);
}

static unsigned names_in_dir(void)
{
    struct err err;
    char **names = dir_list(dir, &err);
    unsigned n = 0;
    while (names[n] != NULL)
        n++;
    dir_list_free(&names);
    return n;
}

static void a_file_is_replaced_and_stays_what_it_is(void **unused)
{
    struct err err;
    assert_non_null(mkdtemp(dir));
    put_file("real.yaml", "gateways:\n  isp: a.example # i\n", 0604);
    assert_int_equal(symlink("real.yaml", in_dir("w.yaml")), 0);
    assert_true(conf_edit_set(in_dir("w.yaml"), "gateways.isp.enabled", "false", &err));
    expect_file("real.yaml", "gateways:\n  isp: {url: a.example, enabled: false} # i\n", 0604);
    struct stat st;
    assert_int_equal(lstat(in_dir("w.yaml"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(conf_edit_add(in_dir("w.yaml"), "gateways", "two", "b.example", &err));
    assert_true(conf_edit_move(in_dir("w.yaml"), "gateways", "two", "isp", &err));
    assert_true(conf_edit_remove(in_dir("w.yaml"), "gateways.isp", &err));
    expect_file("real.yaml", "gateways:\n  two: b.example\n", 0604);
    assert_int_equal(names_in_dir(), 2);
}

static void what_would_be_wrong_is_not_written(void **unused)
{
    struct err err;
    const char *text = "gateways:\n  isp: {url: a.example}\nroutes: [{via: isp}]\n";
    put_file("real.yaml", text, 0600);
    assert_false(conf_edit_set(in_dir("real.yaml"), "gateways.isp.priority", "urgent", &err));
    assert_non_null(
        strstr(err.text, "real.yaml is not changed: `urgent` is not a word for priority"));
    assert_false(conf_edit_remove(in_dir("real.yaml"), "gateways.isp", &err));
    assert_non_null(strstr(err.text, "there is no gateway `isp`"));
    assert_false(conf_edit_set(in_dir("real.yaml"), "gateways.isp.prot", "25", &err));
    expect_file("real.yaml", text, 0600);
    // A mistake that was there before is no hindrance.
    put_file("real.yaml", "hostnam: x\nspool: /s\n", 0600);
    assert_true(conf_edit_set(in_dir("real.yaml"), "spool", "/t", &err));
    expect_file("real.yaml", "hostnam: x\nspool: /t\n", 0600);
    assert_int_equal(names_in_dir(), 2);
}

static void a_missing_file_is_made(void **unused)
{
    struct err err;
    assert_false(conf_edit_remove(in_dir("new.yaml"), "gateways.isp", &err));
    assert_true(conf_edit_add(in_dir("new.yaml"), "gateways", "isp", "a.example", &err));
    expect_file("new.yaml", "gateways:\n  isp: a.example\n", 0640);
    unlink(in_dir("new.yaml"));
    unlink(in_dir("w.yaml"));
    unlink(in_dir("real.yaml"));
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_asked_changes),
        cmocka_unit_test(edits_by_chance_keep_remarks_and_all_else),
        cmocka_unit_test(quoted_text_is_read_back),
        cmocka_unit_test(a_file_is_replaced_and_stays_what_it_is),
        cmocka_unit_test(what_would_be_wrong_is_not_written),
        cmocka_unit_test(a_missing_file_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
