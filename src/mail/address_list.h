// SPDX-License-Identifier: ISC
// The addresses in a To, Cc or Bcc field (RFC 5322 section 3.4), for `sendmail -t`: display names,
// groups, comments, folding and old source routes are read over. Linear in the value, whatever it
// holds, and without memory of its own.
#pragma once

#include "mail/address.h"

struct address_list {
    struct str rest;
    unsigned flags;
};

// `value` is borrowed until the walk is over. Flags: ADDRESS_UTF8, ADDRESS_NO_DOMAIN.
static inline struct address_list address_list_of(struct str value, unsigned flags)
{
    return (struct address_list){value, flags | ADDRESS_BARE};
}

enum address_list_step { ADDRESS_LIST_END, ADDRESS_LIST_ADDRESS, ADDRESS_LIST_BAD };

// ADDRESS: the next one is in *a_out. BAD: *item_out is the piece of the value that is no address,
// and *why_out says why; the walk may go on behind it.
enum address_list_step address_list_next(struct address_list *list, struct address *a_out,
                                         struct str *item_out, const char **why_out);
