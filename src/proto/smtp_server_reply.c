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
    vsnprintf(reply->text, SMTP_REPLY_OWN, format, args);
    va_end(args);
}

void smtp_server_reply_pass(struct smtp_server_reply *reply, uint16_t code, const char *text)
{
    reply->code = code;
    reply->enhanced = NULL;
    snprintf(reply->text, sizeof(reply->text), "%s", text);
}

static void write_line(struct buf *out, uint16_t code, bool last, const char *enhanced,
                       struct str line)
{
    buf_printf(out, "%u%c%s%s", code, last ? ' ' : '-', enhanced, enhanced[0] != '\0' ? " " : "");
    size_t from = out->len;
    buf_add(out, line);
    for (size_t i = from; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if (c < 0x20 || c > 0x7e)
            out->data[i] = '?';
    }
    buf_puts(out, "\r\n");
}

void smtp_server_reply_write(const struct smtp_server_reply *reply, struct buf *out)
{
    const char *enhanced = reply->enhanced != NULL ? reply->enhanced : "";
    struct str rest = str_of(reply->text), line = {0};
    do {
        str_split(&rest, '\n', &line);
        write_line(out, reply->code, rest.len == 0, enhanced, line);
        line.len = 0;
    } while (rest.len > 0);
}
