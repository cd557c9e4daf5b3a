// SPDX-License-Identifier: ISC
// The client of the control socket.
#include "control/control.h"
#include "base/buf.h"
#include "sys/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

enum { LOOK_MS = 500 };

struct call {
    struct loop *loop;
    struct stream *stream;
    struct buf request;
    struct buf line;
    struct buf *answer; // NULL: standard output
    int status;
    bool ended;
    struct err *err;
    struct timer look;
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
    else if (line.ptr[0] == 'o' && c->answer != NULL)
        buf_printf(c->answer, "%.*s\n", STR_FMT(text));
    else
        fprintf(line.ptr[0] == 'o' ? stdout : stderr, "%.*s\n", STR_FMT(text));
}

// Who reads what we tell has gone: so do we, as a program does that never heard of SIGPIPE.
static void reader_gone(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct call *c = ctx;
    for (size_t i = 0; i < len && !c->ended; i++) {
        if (bytes[i] != '\n') {
            if (!buf_putc(&c->line, bytes[i])) {
                err_set(c->err, "the daemon's answer has a line of more than %d bytes",
                        LIMIT_CONTROL_ANSWER);
                end(c, -1);
            }
            continue;
        }
        buf_cstr(&c->line);
        take_line(c, buf_str(&c->line));
        buf_clear(&c->line);
    }
    // What is followed through a pipe is seen at once.
    if ((fflush(stdout) != 0 || ferror(stdout)) && !c->ended) {
        if (errno == EPIPE)
            reader_gone();
        fprintf(stderr, "waypost: cannot write the answer: %s\n", strerror(errno));
        end(c, EX_IOERR);
    }
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
    struct winsize size = {0};
    if (!isatty(STDOUT_FILENO))
        return 0;
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    return size.ws_col > 0 ? size.ws_col : 80;
}

// A pipe without a reader is only found out by writing, and there may be nothing to write for long.
static void look_for_reader(void *ctx)
{
    struct call *c = ctx;
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)
        reader_gone();
    timer_start(&c->look, LOOK_MS);
}

int control_call(const char *path, int argc, const char *const *argv, struct err *err)
{
    return control_ask(path, argc, argv, NULL, err);
}

int control_ask(const char *path, int argc, const char *const *argv, struct buf *answer,
                struct err *err)
{
    static const struct stream_handler handler = {on_data, on_event};
    struct net_addr to = {.family = NET_UNIX};
    if (strlen(path) >= sizeof(to.path)) {
        err_set(err, "%s: too long for a unix socket", path);
        return -1;
    }
    memcpy(to.path, path, strlen(path) + 1);
    struct call c = {.loop = loop_new("control"), .err = err, .answer = answer};
    buf_init(&c.request, LIMIT_CONTROL_REQUEST);
    buf_init(&c.line, LIMIT_CONTROL_ANSWER);
    unsigned width = answer == NULL ? columns() : 0;
    buf_puts(&c.request, "waypost 1");
    if (width > 0)
        buf_printf(&c.request, " %u", width);
    buf_putc(&c.request, '\n');
    for (int i = 0; i < argc; i++)
        encode(&c.request, argv[i]);
    buf_putc(&c.request, '\n');
    c.stream = stream_connect(c.loop, &to, NULL, &handler, &c);
    timer_init(&c.look, c.loop, look_for_reader, &c);
    timer_start(&c.look, LOOK_MS);
    loop_run(c.loop);
    timer_stop(&c.look);
    loop_free(&c.loop);
    buf_free(&c.request);
    buf_free(&c.line);
    return c.status;
}
