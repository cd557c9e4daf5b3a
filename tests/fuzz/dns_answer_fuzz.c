// SPDX-License-Identifier: ISC
// DNS answers no honest server sends: the first byte chooses the type asked for, the rest is the
// packet.
#include "sys/names_parse.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_name(const char *name)
{
    assert(strlen(name) <= 255);
    for (; *name != '\0'; name++)
        assert(ascii_is_digit(*name) || (*name >= 'a' && *name <= 'z') || *name == '-' ||
               *name == '.' || *name == '_');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum names_type types[] = {NAMES_A,   NAMES_PTR,  NAMES_MX,
                                            NAMES_TXT, NAMES_AAAA, NAMES_TLSA};
    if (len < 1)
        return 0;
    struct arena *arena = arena_new();
    struct names_answer answer;
    enum names_type type = types[bytes[0] % (sizeof(types) / sizeof(types[0]))];
    names_parse(bytes + 1, len - 1, type, arena, &answer);
    assert(answer.count <= NAMES_RECORDS_MAX);
    assert((answer.status == NAMES_OK) == (answer.count > 0));
    for (size_t i = 0; i < answer.count; i++) {
        check_name(answer.records[i].name);
        if (i > 0 && type == NAMES_MX)
            assert(answer.records[i - 1].preference <= answer.records[i].preference);
        for (size_t k = 0; k < answer.records[i].data.len; k++)
            __asm__ volatile("" ::"r"(answer.records[i].data.ptr[k])); // readable to the end
    }
    arena_free(&arena);
    return 0;
}
