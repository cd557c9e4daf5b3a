// SPDX-License-Identifier: ISC
// Capabilities: what is understood is bounded and fit to show, and saying it twice changes nothing.
#include "proto/smtp_ehlo.h"

#include "base/mem.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_ehlo once, again;
    // In memory of just this size, so that a byte too far is noticed.
    char *text = xmalloc(size + 1);
    memcpy(text, data, size);
    smtp_ehlo_parse(&once, str_make(text, size));
    smtp_ehlo_parse(&again, str_make(text, size));
    xfree(text);
    assert(memcmp(&once, &again, sizeof(once)) == 0);
    assert(memchr(once.auth_text, '\0', sizeof(once.auth_text)) != NULL);
    for (const char *c = once.auth_text; *c != '\0'; c++)
        assert(*c >= ' ' && *c < 0x7f);
    assert(once.auth == 0 || (once.caps & SMTP_CAP_AUTH) != 0);
    assert(once.size == 0 || (once.caps & SMTP_CAP_SIZE) != 0);
    return 0;
}
