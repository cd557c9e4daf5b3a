// SPDX-License-Identifier: ISC
// Dot-stuffing.
//
// Dots are rarer than lines (base64 has none), so the dots are looked for, and then what stands
// before each. A dot behind a bare LF is stuffed too: bodies have no bare LF, but should one slip
// through, no lenient peer can take what follows for the end.
#include "proto/smtp_stuff.h"

void smtp_stuff_feed(struct smtp_stuff *s, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    size_t sent = 0;
    for (size_t at = 0; at < len; at++) {
        const char *dot = memchr(bytes + at, '.', len - at);
        if (dot == NULL)
            break;
        at = (size_t)(dot - bytes);
        if (at == 0 ? s->inside : dot[-1] != '\n')
            continue;
        // The dot goes out twice: with this span, and at the head of the next.
        s->write(s->ctx, bytes + sent, at + 1 - sent);
        sent = at;
    }
    s->write(s->ctx, bytes + sent, len - sent);
    s->inside = bytes[len - 1] != '\n';
}

void smtp_stuff_end(struct smtp_stuff *s)
{
    if (s->inside)
        s->write(s->ctx, "\r\n.\r\n", 5);
    else
        s->write(s->ctx, ".\r\n", 3);
    s->inside = false;
}
