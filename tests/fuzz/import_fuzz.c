// SPDX-License-Identifier: ISC
// Any bytes as the files of any program: what is found makes a configuration without a mistake,
// with a name for each.
#include "conf/read.h"
#include "import/show.h"

#include <assert.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

// libfyaml 0.7.12 loses a buffer when a long quoted scalar is never closed.
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

// The first byte chooses the program; up to a line of # alone, and behind it, are two files that
// take turns, so that one can name the other.
static struct str parts[2];

static const char *read_part(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                             struct err *err)
{
    struct str part = parts[map_hash(path, strlen(path)) % 2];
    err->code = ENOENT;
    *len_out = part.len;
    return part.len > 0 ? arena_str(arena, part) : NULL;
}

static const char *const *list_names(void *ctx, struct arena *arena, const char *path)
{
    static const char *const names[] = {"1.source", "2.source", "default.route", "account_01",
                                        NULL};
    return names;
}

static void check_text(struct str yaml, size_t count)
{
    struct conf_report report;
    struct buf said;
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text("/fuzz/fuzz.yaml", yaml, &report);
    buf_init(&said, 1 << 20);
    if (conf == NULL) {
        conf_report_print(&report, &said);
        fprintf(stderr, "%.*s\n%.*s\n", STR_FMT(buf_str(&said)), STR_FMT(yaml));
    }
    assert(conf != NULL);
    buf_free(&said);
    assert(conf->gateway_count == count + 1);
    conf_unref(&conf);
    conf_report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const homes[] = {"/home/a"};
    const struct import_files files = {read_part, list_names, NULL};
    const struct import_layout layout = {"/etc/waypost", false};
    struct buf yaml, text;
    size_t sources = 0;
    if (size < 1)
        return 0;
    while (import_sources[sources].name != NULL)
        sources++;
    struct str all = str_make((const char *)data + 1, size - 1);
    const char *cut = all.len > 0 ? memmem(all.ptr, all.len, "\n#\n", 3) : NULL;
    parts[0] = str_make(all.ptr, cut != NULL ? (size_t)(cut - all.ptr) : all.len);
    parts[1] = cut != NULL ? str_make(cut + 3, all.len - parts[0].len - 3) : all;
    struct import *im = import_new(&files, "");
    import_read(im, data[0] < sources ? &import_sources[data[0]] : NULL, homes, 1);
    size_t count = import_settle(im);
    buf_init(&yaml, 16 << 20);
    buf_init(&text, 16 << 20);
    import_show(im, &layout, &text);
    struct json j = json_to(&text);
    json_open(&j, NULL);
    import_json(im, &layout, &j);
    json_close(&j);
    if (count > 0) {
        import_yaml(im, &layout, &yaml);
        check_text(buf_str(&yaml), count);
    }
    buf_free(&yaml);
    buf_free(&text);
    import_free(&im);
    return 0;
}
