// SPDX-License-Identifier: ISC
// The schema table is whole, and the pages made from it are the ones in the tree.
#include "base/mem.h"
#include "conf/reference.h"
#include "conf/schema.h"
#include "sys/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static bool is_group(enum conf_type type)
{
    return type == CONF_SECTION || type == CONF_NAMED || type == CONF_RECORDS;
}

static void every_key_is_explained(void **state)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        size_t len = key->help != NULL ? strlen(key->help) : 0;
        if (len < 15 || key->help[len - 1] != '.')
            fail_msg("%s has no help in whole sentences", key->path);
        if (conf_type_words(key)[0] == '\0')
            fail_msg("%s: its type has no words", key->path);
        if ((key->type == CONF_ENUM || key->type == CONF_SET) && key->words == NULL)
            fail_msg("%s has no words to choose from", key->path);
        if (key->fallback == NULL && key->example == NULL && key->type != CONF_SECTION)
            fail_msg("%s has neither a default nor an example", key->path);
        if (key->fallback != NULL && key->unset != NULL)
            fail_msg("%s has two defaults", key->path);
        if (!is_group(key->type) && key->type != CONF_URL && key->size == 0)
            fail_msg("%s has no place in the snapshot", key->path);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(key->path, conf_keys[j].path);
    }
}

static void numbers_have_bounds_that_fit_their_place(void **state)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        if (key->type != CONF_INT && key->type != CONF_SIZE && key->type != CONF_TIME)
            continue;
        if (key->max < key->min || key->max == 0)
            fail_msg("%s has no bounds", key->path);
        if (key->size < 8 && key->max >= 1LL << (8 * key->size))
            fail_msg("%s: its bounds are wider than its place", key->path);
    }
}

static void keys_stand_below_a_group(void **state)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        char parent[100];
        snprintf(parent, sizeof(parent), "%s", conf_keys[i].path);
        char *dot = strrchr(parent, '.');
        if (dot == NULL)
            continue;
        *dot = '\0';
        size_t len = strlen(parent);
        if (len > 5 && strcmp(parent + len - 5, ".NAME") == 0)
            parent[len - 5] = '\0';
        else if (len > 2 && strcmp(parent + len - 2, "[]") == 0)
            parent[len - 2] = '\0';
        if (conf_key_find(parent) == NULL)
            fail_msg("%s stands below %s, which is not there", conf_keys[i].path, parent);
    }
}

static void later_words_are_no_keys_now(void **state)
{
    for (size_t i = 0; i < conf_future_count; i++)
        assert_null(conf_key_find(conf_futures[i].path));
}

// After a change: ninja -C build, then let the test say how to write the page anew.
static void the_reference_in_the_tree_is_this_one(void **state)
{
    char path[300];
    snprintf(path, sizeof(path), "%s", __FILE__);
    char *end = strstr(path, "src/conf/schema_test.c");
    assert_non_null(end);
    snprintf(end, sizeof(path) - (size_t)(end - path), "docs/reference.md");
    struct buf page;
    buf_init(&page, 1024 * 1024);
    conf_reference_markdown(&page);
    if (getenv("WRITE_REFERENCE") != NULL) {
        FILE *out = fopen(path, "we");
        assert_non_null(out);
        fwrite(page.data, 1, page.len, out);
        fclose(out);
    }
    struct err err;
    size_t len;
    char *there = file_slurp(path, 1024 * 1024, &len, &err);
    if (there == NULL || !str_eq(buf_str(&page), str_make(there, len)))
        fail_msg("%s is not what the schema says; run this test with WRITE_REFERENCE=1", path);
    xfree(there);
    buf_free(&page);
}

static void the_json_schema_has_every_key(void **state)
{
    struct buf out;
    buf_init(&out, 1024 * 1024);
    conf_schema_json(&out);
    const char *text = buf_cstr(&out);
    for (size_t i = 0; i < conf_key_count; i++) {
        char quoted[100];
        const char *dot = strrchr(conf_keys[i].path, '.');
        snprintf(quoted, sizeof(quoted), "\"%s\":", dot != NULL ? dot + 1 : conf_keys[i].path);
        if (strstr(text, quoted) == NULL)
            fail_msg("%s is not in the JSON schema", conf_keys[i].path);
    }
    int depth = 0;
    for (const char *p = text; *p != '\0'; p++)
        depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
    assert_int_equal(depth, 0);
    buf_free(&out);
}

static void keys_are_explained_by_any_name(void **state)
{
    static const struct {
        const char *typed;
        bool found;
        const char *said;
    } cases[] = {
        {"queue.retry", true, "queue.retry\n    The waits before"},
        {"retry", true, "queue.retry\n"},
        {"gateways.isp.url", true, "gateways.NAME.url\n"},
        {"gateways.NAME.url", true, "gateways.NAME.url\n"},
        {"routes.via.on", true, "routes[].via[].on\n"},
        {"routes[].via[].on", true, "routes[].via[].on\n"},
        {"queue", true, "    Keys:    queue.retry\n             queue.warn\n"},
        {"from", true, "routes[].from\n"},
        {"per_day", true, "gateways.NAME.limits.per_day\n"},
        {"networks.office.ssid", true, "networks.NAME.ssid\n"},
        {"routes.mode", true, "routes[].mode\n"},
        {"gateways.isp.limits", true, "             gateways.NAME.limits.reset\n"},
        {"gateways.isp.rate", false,
         "`gateways.NAME.rate` stands under limits now: write limits: "},
        {"user", true, "user\n"},
        {"quue", false, "did you mean `queue`?"},
        {"oauth2", false, "not available in this version"},
        {"gateways.isp.oauth2", false, "not available in this version"},
        {"zzzzzz", false, "There is no such key"},
        {"", false, "There is no such key"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        buf_init(&out, 100000);
        assert_int_equal(conf_explain(str_of(cases[i].typed), &out), cases[i].found);
        if (strstr(buf_cstr(&out), cases[i].said) == NULL)
            fail_msg("%s: %s", cases[i].typed, buf_cstr(&out));
        buf_free(&out);
    }
}

static void near_words_are_found(void **state)
{
    static const struct {
        const char *typed, *word;
        bool near;
    } cases[] = {
        {"prot", "port", true},
        {"hostnam", "hostname", true},
        {"pasword", "password", true},
        {"conn", "connections", true},
        {"vai", "via", true},
        {"to", "on", false},
        {"x", "to", false},
        {"expired", "expire", true},
        {"weight", "enabled", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_nearest nearest = {0};
        conf_nearest_offer(&nearest, str_of(cases[i].typed), cases[i].word);
        if ((nearest.word != NULL) != cases[i].near)
            fail_msg("%s and %s", cases[i].typed, cases[i].word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_explained),
        cmocka_unit_test(numbers_have_bounds_that_fit_their_place),
        cmocka_unit_test(keys_stand_below_a_group),
        cmocka_unit_test(later_words_are_no_keys_now),
        cmocka_unit_test(the_reference_in_the_tree_is_this_one),
        cmocka_unit_test(the_json_schema_has_every_key),
        cmocka_unit_test(keys_are_explained_by_any_name),
        cmocka_unit_test(near_words_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
