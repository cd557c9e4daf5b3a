// SPDX-License-Identifier: ISC
// Sections, keys and values in the three forms.
#include "import/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *content;

static const char *read_it(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                           struct err *err)
{
    *len_out = strlen(content);
    return content;
}

static const char *const *list_it(void *ctx, struct arena *arena, const char *path)
{
    return NULL;
}

// Each entry as section/key=value and its line.
static void check(enum ini_form form, const char *text, const char *want)
{
    static const struct import_files files = {read_it, list_it, NULL};
    struct import *im = import_new(&files, "");
    struct ini ini;
    struct ini_entry e;
    struct buf got;
    buf_init(&got, 4096);
    content = text;
    assert_true(ini_open(im, &ini, "x", form));
    while (ini_next_or_section(&ini, &e)) {
        if (e.key.ptr == NULL)
            buf_printf(&got, "[%.*s]", STR_FMT(e.section));
        else
            buf_printf(&got, "%u:%.*s=%.*s|", e.line, STR_FMT(e.key), STR_FMT(e.value));
    }
    assert_string_equal(buf_cstr(&got), want);
    buf_free(&got);
    import_free(&im);
}

static void plain(void **state)
{
    check(INI_PLAIN, "a = b = c \r\n# x\n;y\n[s 1] junk\nk[de]=v # w\nalone\n=no\n",
          "1:a=b = c|[s 1]5:k[de]=v # w|6:alone=|");
    check(INI_PLAIN, "[never closed\na=\"b\"", "[never closed]2:a=\"b\"|");
    check(INI_PLAIN, "", "");
}

static void git(void **state)
{
    check(INI_GIT, "[a \"b ] \\\" c\"] k = v ; x\n\tflag\n",
          "[a \"b ] \\\" c\"]1:k=v|2:flag=true|");
    check(INI_GIT, "[a]\nk = \" x # y \" z # w\nl = a\\\n  b \\\"q\\\"\nm = \"open\n",
          "[a]2:k= x # y  z|3:l=a  b \"q\"|5:m=open|");
}

static void toml(void **state)
{
    check(
        INI_TOML,
        "a = 'x # y' # z\n[t.\"d.x\"] # r\nb.c = \"q\\\"\" # s\nd = 12 # n\ne = { cmd = \"x\" }\n",
        "1:a=x # y|[t.\"d.x\"]3:b.c=q\"|4:d=12|5:e={ cmd = \"x\" }|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(git),
        cmocka_unit_test(toml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
