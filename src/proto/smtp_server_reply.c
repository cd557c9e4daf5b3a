// SPDX-License-Identifier: ISC
// Replies put together and written.
#include "proto/smtp_server_reply.h"

#include <stdio.h>

void smtp_server_reply_set(struct smtp_server_reply *reply, uint16_t code, const char *enhanced,
                           const char *format, ...)
{
    reply->code = code;
    reply->enhanced = enhanced;
    va_list args;
    va_start(args, format);
    vsnprintf(reply->text, sizeof(reply->text), format, args);
    va_end(args);
}

void smtp_server_reply_write(const struct smtp_server_reply *reply, struct buf *out)
{
    const char *enhanced = reply->enhanced != NULL ? reply->enhanced : "";
    buf_printf(out, "%u %s%s", reply->code, enhanced, enhanced[0] != '\0' ? " " : "");
    size_t from = out->len;
    buf_puts(out, reply->text);
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if (c < 0x20 || c > 0x7e)
            out->data[i] = '?';
    }
    buf_puts(out, "\r\n");
}
