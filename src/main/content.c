// SPDX-License-Identifier: ISC
// Line ends, the lone dot, and reading.
#include "main/content.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

void content_begin(struct content *c, struct buf *out, bool dot_ends)
{
    *c = (struct content){.out = out, .dot_ends = dot_ends};
}

static void end_line(struct content *c)
{
    if (c->dot)
        c->ended = true;
    else
        buf_add(c->out, STR("\r\n"));
    c->inside = c->dot = false;
}

static bool is_text(char byte)
{
    return byte != '\n' && byte != '\r' && byte != '\0';
}

// The run of plain octets at the front. Returns its length.
static size_t take_text(struct content *c, struct str in)
{
    size_t n = 0;
    while (n < in.len && is_text(in.ptr[n]))
        n++;
    if (n == 0)
        return 0;
    if (!c->inside && !c->dot && c->dot_ends && in.ptr[0] == '.') {
        c->dot = true; // whether it is content shows the next octet
        return 1;
    }
    if (c->dot)
        buf_putc(c->out, '.');
    c->dot = false;
    c->inside = true;
    buf_append(c->out, in.ptr, n);
    return n;
}

void content_feed(struct content *c, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !c->ended;) {
        char byte = bytes[i];
        bool after_cr = c->cr;
        c->cr = false;
        if (is_text(byte)) {
            i += take_text(c, str_make(bytes + i, len - i));
            continue;
        }
        i++;
        if (byte == '\r') {
            end_line(c);
            c->cr = true;
        } else if (byte == '\n' && !after_cr) {
            end_line(c);
        } else if (byte == '\0') {
            c->cr = after_cr;
        }
    }
}

void content_end(struct content *c)
{
    if (!c->ended && (c->inside || c->dot))
        end_line(c);
}

bool content_read(struct buf *out, int fd, bool dot_ends, const char **why_out)
{
    struct content c;
    char bytes[READ_BYTES];
    content_begin(&c, out, dot_ends);
    while (!c.ended && !out->full) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *why_out = strerror(errno);
            return false;
        }
        if (n == 0)
            break;
        content_feed(&c, bytes, (size_t)n);
    }
    content_end(&c);
    *why_out = "the message is too large";
    return !out->full;
}

bool content_is_8bit(struct str content)
{
    return !ascii_only(content);
}
