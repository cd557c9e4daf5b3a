// SPDX-License-Identifier: ISC
// Users of this machine and patterns with them.
#include "deliver/mailbox.h"

#include <stdio.h>

static bool is_safe(char c)
{
    return ascii_is_alnum(c) || c == '.' || c == '_' || c == '-' || c == '=' || c == '+';
}

// In lower case; "" when a character is not safe, or the first could make it something else.
static void take_word(struct str text, char *out, size_t size)
{
    out[0] = '\0';
    if (text.len == 0 || text.len >= size || text.ptr[0] == '.' || text.ptr[0] == '-')
        return;
    for (size_t i = 0; i < text.len; i++)
        if (!is_safe(text.ptr[i]))
            return;
    for (size_t i = 0; i < text.len; i++)
        out[i] = ascii_lower(text.ptr[i]);
    out[text.len] = '\0';
}

void mailbox_of(struct str rcpt, struct str sender, struct mailbox *out)
{
    size_t at = rcpt.len;
    for (size_t i = rcpt.len; i > 0 && at == rcpt.len; i--)
        if (rcpt.ptr[i - 1] == '@')
            at = i - 1;
    struct str local = str_make(rcpt.ptr, at), domain = STR("");
    if (at < rcpt.len)
        domain = str_make(rcpt.ptr + at + 1, rcpt.len - at - 1);
    size_t plus = str_find(local, '+');
    struct str detail = STR("");
    if (plus < local.len)
        detail = str_make(local.ptr + plus + 1, local.len - plus - 1);
    out->rcpt = rcpt;
    out->sender = sender;
    take_word(str_make(local.ptr, plus), out->user, sizeof(out->user));
    take_word(detail, out->detail, sizeof(out->detail));
    take_word(domain, out->domain, sizeof(out->domain));
}

// What may be empty, and what not: without a user there is no mailbox, a detail is a courtesy.
static bool add_word(char letter, const struct mailbox *m, struct buf *out)
{
    switch (letter) {
    case 'u': return m->user[0] != '\0' && buf_puts(out, m->user);
    case 'd': return m->domain[0] != '\0' && buf_puts(out, m->domain);
    case 'e': return buf_puts(out, m->detail);
    case 'r': return buf_add(out, m->rcpt);
    case 's': return m->sender.len > 0 ? buf_add(out, m->sender) : buf_puts(out, "<>");
    default: return buf_putc(out, letter);
    }
}

bool mailbox_fill(const char *pattern, const struct mailbox *m, struct buf *out)
{
    size_t begin = out->len;
    bool own = pattern[0] != '%' || pattern[1] == '%'; // its first character
    for (const char *c = pattern; *c != '\0'; c++) {
        bool filled = *c == '%' && c[1] != '\0';
        if (filled)
            c++;
        if (!(filled ? add_word(*c, m, out) : buf_putc(out, *c)))
            return false;
    }
    return own || out->len == begin || out->data[begin] != '-';
}
