// SPDX-License-Identifier: ISC
// Addresses: what is taken has one form, which parses to itself and holds nothing that could end a
// command; and lists of them.
#include "mail/address_list.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct address *a, struct str in, unsigned flags)
{
    struct str text = address_str(a);
    assert(a->used <= in.len && a->len < ADDRESS_TEXT && a->text[a->len] == '\0');
    assert(a->local_len <= LIMIT_LOCAL_PART && address_domain(a).len <= LIMIT_DOMAIN);
    assert(utf8_valid(text) && a->utf8 == !ascii_only(text));
    assert(!a->utf8 || (flags & ADDRESS_UTF8) != 0);
    for (size_t i = 0; i < text.len; i++)
        assert((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f);

    char path[ADDRESS_TEXT + 8];
    snprintf(path, sizeof(path), "<%s> X=y", a->text);
    struct address again;
    const char *why;
    assert(address_parse(str_of(path), flags & ~(unsigned)ADDRESS_BARE, &again, &why));
    assert(str_eq(address_str(&again), text) && again.local_len == a->local_len);
    assert(again.used == strlen(path) - 3);

    struct buf ascii;
    buf_init(&ascii, 4096);
    if (address_to_ascii(text, &ascii))
        assert(ascii_only(buf_str(&ascii)));
    buf_free(&ascii);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned flags = data[0] & 15;
    struct str in = str_make((const char *)data + 1, size - 1);
    struct address a;
    const char *why = NULL;
    if (address_parse(in, flags, &a, &why))
        check(&a, in, flags);
    else
        assert(why != NULL);

    struct address_list list = address_list_of(in, flags & (ADDRESS_UTF8 | ADDRESS_NO_DOMAIN));
    struct str item;
    for (enum address_list_step step;
         (step = address_list_next(&list, &a, &item, &why)) != ADDRESS_LIST_END;) {
        assert(item.len > 0 && item.ptr >= in.ptr && item.ptr + item.len <= in.ptr + in.len);
        assert(step == ADDRESS_LIST_ADDRESS || why != NULL);
        assert(step == ADDRESS_LIST_BAD || a.len > 0);
    }
    return 0;
}
