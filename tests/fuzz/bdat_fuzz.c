// SPDX-License-Identifier: ISC
// Content: any bytes by DATA and by BDAT in chunks of chosen sizes. What is kept is exactly what
// was sent, or nothing; and the command behind it is found again.
#include "smtp_server_owner.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct smtp_server_settings set = {
    .hostname = "h", .message_size = 1 << 16, .recipients = 4};

static void put_chunks(struct buf *in, struct str content, struct str sizes)
{
    for (size_t i = 0, at = 0; at < content.len || i == 0; i++) {
        size_t n = 1 + (unsigned char)sizes.ptr[i % sizes.len] * 7U;
        bool last = at + n >= content.len;
        if (last)
            n = content.len - at;
        buf_printf(in, "BDAT %zu%s\r\n", n, last ? " LAST" : "");
        buf_append(in, content.ptr + at, n);
        at += n;
        if (last)
            return;
    }
}

static void put_data(struct buf *in, struct str content)
{
    buf_puts(in, "DATA\r\n");
    bool start = true;
    for (size_t i = 0; i < content.len; i++) {
        if (start && content.ptr[i] == '.')
            buf_putc(in, '.');
        buf_putc(in, content.ptr[i]);
        start = content.ptr[i] == '\n' && i > 0 && content.ptr[i - 1] == '\r';
    }
    buf_puts(in, start || content.len == 0 ? ".\r\n" : "\r\n.\r\n");
}

static uint64_t sum_of(struct str content, bool add_line_end)
{
    struct owner o = {0};
    owner_note(&o, "a@b", 3);
    owner_note(&o, "c@d", 3);
    owner_note(&o, content.ptr, content.len);
    if (add_line_end)
        owner_note(&o, "\r\n", 2);
    owner_note(&o, "end", 3);
    return o.sum;
}

static void run(struct str content, struct str sizes, bool bdat, bool binary, bool late)
{
    struct buf in;
    struct owner o;
    struct smtp_dot dot = {0};
    buf_init(&in, 8 << 20);
    buf_printf(&in, "EHLO c\r\nMAIL FROM:<a@b>%s\r\nRCPT TO:<c@d>\r\n",
               binary ? " BODY=BINARYMIME" : "");
    if (bdat)
        put_chunks(&in, content, sizes);
    else
        put_data(&in, content);
    buf_puts(&in, "QUIT\r\n");
    owner_open(&o, &set, late);
    owner_feed(&o, buf_str(&in), sizes);
    smtp_dot_watch(&dot, content);
    bool lines = !dot.bare_cr && !dot.bare_lf && !dot.nul && !dot.after_cr;
    bool add = !binary && content.len > 0 && !smtp_dot_at_line_start(&dot);
    if ((lines || binary) && content.len + 2 <= set.message_size) {
        assert(o.sum == sum_of(content, add));
        assert(strstr(buf_cstr(&o.out), "221 2.0.0") != NULL);
    } else {
        assert(strstr(buf_cstr(&o.out), "\r\n55") != NULL);
    }
    assert(smtp_server_closed(o.s));
    owner_close(&o);
    buf_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > 60000)
        return 0;
    struct str sizes = str_make((const char *)data + 1, 3);
    struct str content = str_make((const char *)data + 4, size - 4);
    bool late = (data[0] & 1) != 0;
    run(content, sizes, true, false, late);
    run(content, sizes, true, true, late);
    run(content, sizes, false, false, late);
    return 0;
}
