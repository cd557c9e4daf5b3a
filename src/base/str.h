// SPDX-License-Identifier: ISC
// A borrowed piece of text: pointer and length, not terminated. Whoever owns the bytes must outlive
// it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

// For printf: printf("%.*s", STR_FMT(s)).
#define STR_FMT(s)   (int)(s).len, (s).ptr
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline struct str str_of(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

static inline struct str str_make(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

// ASCII only and independent of the locale, as protocols need it.
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}
static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); // ignoring ASCII case
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_iends(struct str s, struct str suffix);

// Without blanks (space, tab, CR, LF) at both ends.
struct str str_trim(struct str s);

// Splits at the first `sep`: the part before goes to *head_out, the rest after it stays in *rest.
// Without `sep` the whole goes to *head_out and *rest becomes empty. False when *rest was empty.
bool str_split(struct str *rest, char sep, struct str *head_out);

// Position of c, or s.len.
size_t str_find(struct str s, char c);

// A decimal number without sign, blanks or leading '+': false on anything else, on overflow and
// above max.
bool str_u64(struct str s, uint64_t max, uint64_t *value_out);

// '*' stands for any run of characters, '?' for one; ASCII case is ignored. Linear time, no
// recursion.
bool str_glob(struct str pattern, struct str text);
