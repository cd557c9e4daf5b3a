// SPDX-License-Identifier: ISC
// Any edit of any configuration: it is refused and nothing comes out, or the result can be read
// again and has what was asked. The input is the text and behind its last NUL bytes the arguments.
#include "conf/edit.h"
#include "base/mem.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

// libfyaml 0.7.12 loses a buffer when a long quoted scalar is never closed.
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

// The part behind the last NUL, terminated; it leaves *rest.
static char *last_part(struct str *rest)
{
    size_t at = rest->len;
    while (at > 0 && rest->ptr[at - 1] != '\0')
        at--;
    char *part = xstrndup(rest->ptr + at, rest->len - at);
    rest->len = at > 0 ? at - 1 : 0;
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str text = str_make((const char *)data + 1, size - 1);
    char *a = last_part(&text), *b = last_part(&text);
    struct buf out, again;
    struct err err = {0};
    buf_init(&out, 16 * 1024 * 1024);
    buf_init(&again, 16 * 1024 * 1024);
    bool ok = false;
    switch (data[0] % 5) {
    case 0: ok = conf_edit_text_set(text, a, b, &out, &err); break;
    case 1: ok = conf_edit_text_add(text, "gateways", a, b, &out, &err); break;
    case 2: ok = conf_edit_text_remove(text, a, &out, &err); break;
    case 3: ok = conf_edit_text_move(text, "gateways", a, b, &out, &err); break;
    default: ok = conf_edit_text_move(text, "gateways", a, NULL, &out, &err); break;
    }
    assert(ok || (out.len == 0 && err.text[0] != '\0'));
    // What was put there can be taken away.
    if (ok && data[0] % 5 == 0)
        ok = conf_edit_text_remove(buf_str(&out), a, &again, &err);
    buf_free(&out);
    buf_free(&again);
    xfree(a);
    xfree(b);
    return 0;
}
