// SPDX-License-Identifier: ISC
// Mail addresses as they stand in MAIL, RCPT and on a command line (RFC 5321 section 4.1.2; with
// SMTPUTF8 RFC 6531 section 3.3), checked, and brought into one form.
//
// The one form: the domain in lower case, an address literal as its number is usually written, the
// local part byte for byte but quoted only where it must be. It holds no control character, never
// ends before its end, and parses to itself. Nothing is rerouted: % and ! are letters like others.
#pragma once

#include "base/buf.h"
#include "base/limits.h"

enum address_flags {
    ADDRESS_REVERSE = 1, // a reverse-path: <> is the null sender. Without: <postmaster> is allowed
    ADDRESS_UTF8 = 2,    // the client asked for SMTPUTF8
    ADDRESS_BARE = 4,    // from a person or a header: <> may be missing, and nothing may follow
    ADDRESS_NO_DOMAIN = 8, // a local part alone will do; the caller adds its own domain
};

enum { ADDRESS_TEXT = LIMIT_LOCAL_PART + 1 + LIMIT_DOMAIN + 1 };

// Freely copyable. The text is terminated, too.
struct address {
    uint16_t len;       // of text; 0: the null sender
    uint16_t local_len; // of the local part as it stands in text, with its quotes
    bool utf8;          // not ASCII: the next hop must know SMTPUTF8, or see address_to_ascii
    size_t used;        // bytes of the input: here the parameters begin (blanks are skipped)
    char text[ADDRESS_TEXT];
};

// Parses what stands behind "FROM:" or "TO:". A source route is read and dropped. False: *why_out
// is a static phrase fit for behind "501 5.1.3 " (forward) or "501 5.1.7 " (reverse), and *a_out
// is undefined.
bool address_parse(struct str in, unsigned flags, struct address *a_out, const char **why_out);

// The phrase of why_out for 8-bit octets without ADDRESS_UTF8; compare the pointer: its reply is
// 553 5.6.7 instead (RFC 6531 section 3.5).
extern const char address_needs_utf8[];

static inline struct str address_str(const struct address *a)
{
    return (struct str){a->text, a->len};
}
static inline struct str address_local(const struct address *a)
{
    return (struct str){a->text, a->local_len};
}
// Empty for the null sender, <postmaster>, and with ADDRESS_NO_DOMAIN.
static inline struct str address_domain(const struct address *a)
{
    size_t skip = a->local_len < a->len ? (size_t)a->local_len + 1 : a->len;
    return (struct str){a->text + skip, a->len - skip};
}

// A domain by the rules above, alone: names and address literals. `out` gets its one form.
bool address_parse_domain(struct str in, unsigned flags, char out[LIMIT_DOMAIN + 1],
                          const char **why_out);

// Puts the domain's A-labels (IDNA 2008 with the mapping of UTS 46), lower case, or an ASCII
// domain as it is. False when it has no such form.
bool address_domain_to_ascii(struct str domain, char out[LIMIT_DOMAIN + 1]);

// Appends the address as one that needs no SMTPUTF8. False (nothing appended) when there is none:
// the local part is not ASCII, or the domain has no such form. Takes "" and "postmaster", too.
bool address_to_ascii(struct str address, struct buf *out);
