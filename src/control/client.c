// SPDX-License-Identifier: ISC
// The client of the control socket.
#include "control/control.h"
#include "base/buf.h"
#include "sys/stream.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

struct call {
    struct loop *loop;
    struct stream *stream;
    struct buf request;
    struct buf line;
    int status;
    bool ended;
    struct err *err;
};

static void end(struct call *c, int status)
{
    if (c->ended)
        return;
    c->ended = true;
    c->status = status;
    stream_close(&c->stream, false);
    loop_stop(c->loop);
}

static void take_line(struct call *c, struct str line)
{
    if (line.len < 2)
        return;
    struct str text = str_make(line.ptr + 2, line.len - 2);
    uint64_t status;
    if (line.ptr[0] == 'x')
        end(c, str_u64(text, 255, &status) ? (int)status : EX_PROTOCOL);
    else
        fprintf(line.ptr[0] == 'o' ? stdout : stderr, "%.*s\n", STR_FMT(text));
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct call *c = ctx;
    for (size_t i = 0; i < len && !c->ended; i++) {
        if (bytes[i] != '\n') {
            buf_putc(&c->line, bytes[i]);
            continue;
        }
        buf_cstr(&c->line);
        take_line(c, buf_str(&c->line));
        buf_clear(&c->line);
    }
    fflush(stdout); // what is followed through a pipe is seen at once
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct call *c = ctx;
    if (event == STREAM_CONNECTED) {
        stream_write(c->stream, c->request.data, c->request.len);
    } else if (event == STREAM_ERROR || event == STREAM_EOF) {
        err_set(c->err, "%s",
                event == STREAM_EOF ? "the daemon closed the connection" : stream_error(c->stream));
        end(c, -1);
    }
}

static void encode(struct buf *out, const char *arg)
{
    for (; *arg != '\0'; arg++) {
        if (*arg == '%' || *arg == '\n' || *arg == '\r')
            buf_printf(out, "%%%02x", (unsigned char)*arg);
        else
            buf_putc(out, *arg);
    }
    buf_putc(out, '\n');
}

// 0 when the answer goes to no terminal.
static unsigned columns(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int control_call(const char *path, int argc, const char *const *argv, struct err *err)
{
    static const struct stream_handler handler = {on_data, on_event};
    struct net_addr to = {.family = NET_UNIX};
    if (strlen(path) >= sizeof(to.path)) {
        err_set(err, "%s: too long for a unix socket", path);
        return -1;
    }
    memcpy(to.path, path, strlen(path) + 1);
    struct call c = {.loop = loop_new("control"), .err = err};
    buf_init(&c.request, LIMIT_CONTROL_LINE);
    buf_init(&c.line, LIMIT_CONTROL_LINE + 16);
    unsigned width = columns();
    buf_puts(&c.request, "waypost 1");
    if (width > 0)
        buf_printf(&c.request, " %u", width);
    buf_putc(&c.request, '\n');
    for (int i = 0; i < argc; i++)
        encode(&c.request, argv[i]);
    buf_putc(&c.request, '\n');
    c.stream = stream_connect(c.loop, &to, NULL, &handler, &c);
    loop_run(c.loop);
    loop_free(&c.loop);
    buf_free(&c.request);
    buf_free(&c.line);
    return c.status;
}
