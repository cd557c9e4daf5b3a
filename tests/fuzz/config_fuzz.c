// SPDX-License-Identifier: ISC
// Any bytes as a configuration: it is taken, or refused with reasons, and a difference to the
// built-in one can be told. Nothing outside of the text is touched.
#include "conf/diff.h"
#include "conf/read.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

// libfyaml 0.7.12 loses a buffer when a long quoted scalar is never closed.
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_report report;
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text("fuzz.yaml", str_make((const char *)data, size), &report);
    assert((conf == NULL) == (report.errors > 0));
    struct buf out;
    buf_init(&out, 16 * 1024 * 1024);
    conf_report_print(&report, &out);
    if (conf != NULL) {
        struct conf *built_in = conf_builtin();
        conf_diff(built_in, conf, &out);
        conf_unref(&built_in);
    }
    buf_free(&out);
    conf_unref(&conf);
    conf_report_free(&report);
    return 0;
}
