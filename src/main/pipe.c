// SPDX-License-Identifier: ISC
// Standard input may be anything (a file, a pipe, a terminal), so a worker reads it.
#include "main/pipe.h"
#include "base/mem.h"
#include "sys/stream.h"
#include "sys/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

enum { PIPE_BYTES = 64 * 1024, QUIT_MS = 30 * 1000 };

struct carry {
    struct work work; // first
    struct loop *loop;
    struct stream *stream;
    struct timer quiet; // after the input ended
    const char *hostname;
    bool connected, input_over, over, reading;
    int status;
    ssize_t got;
    char bytes[PIPE_BYTES];
};

static void end(struct carry *c, int status)
{
    if (c->over)
        return;
    c->over = true;
    c->status = status;
    timer_stop(&c->quiet);
    stream_close(&c->stream, false);
    loop_stop(c->loop);
}

static void on_quiet(void *ctx)
{
    end(ctx, EX_TEMPFAIL);
}

static void read_input(struct work *work)
{
    struct carry *c = (struct carry *)work;
    do {
        c->got = read(STDIN_FILENO, c->bytes, sizeof(c->bytes));
    } while (c->got < 0 && errno == EINTR);
}

static void took_input(struct work *work)
{
    struct carry *c = (struct carry *)work;
    c->reading = false;
    if (c->over)
        return;
    if (c->got <= 0) {
        // The replies to what was sent are still to come; after QUIT the daemon closes.
        c->input_over = true;
        stream_write(c->stream, "QUIT\r\n", 6);
        timer_start(&c->quiet, QUIT_MS);
        return;
    }
    stream_write(c->stream, c->bytes, (size_t)c->got);
    // DRAINED leads on.
}

static void read_on(struct carry *c)
{
    if (c->reading || c->input_over || c->over || stream_queued(c->stream) > 0)
        return;
    c->reading = true;
    c->work = (struct work){.home = c->loop, .work = read_input, .done = took_input};
    worker_submit(&c->work);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct carry *c = ctx;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(STDOUT_FILENO, bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            end(c, EX_IOERR);
            return len;
        }
        done += (size_t)n;
    }
    if (c->input_over)
        timer_start(&c->quiet, QUIT_MS);
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct carry *c = ctx;
    if (event == STREAM_CONNECTED || event == STREAM_DRAINED) {
        c->connected = true;
        read_on(c);
        return;
    }
    if (!c->connected) {
        printf("421 4.3.2 %s the mail system is not running: %s\r\n", c->hostname,
               stream_error(c->stream));
        fflush(stdout);
    }
    end(c, c->connected && event == STREAM_EOF ? 0 : EX_TEMPFAIL);
}

int pipe_smtp(const char *run_dir, const char *hostname)
{
    static const struct stream_handler handler = {on_data, on_event};
    struct net_addr to = {.family = NET_UNIX};
    int len = snprintf(to.path, sizeof(to.path), "%s/submit.sock", run_dir);
    if (len < 0 || (size_t)len >= sizeof(to.path)) {
        fprintf(stderr, "sendmail: the path %s is too long for a unix socket\n", run_dir);
        return EX_CONFIG;
    }
    struct carry *c = xcalloc(1, sizeof(*c));
    c->loop = loop_new("pipe");
    c->hostname = hostname;
    timer_init(&c->quiet, c->loop, on_quiet, c);
    c->stream = stream_connect(c->loop, &to, NULL, &handler, c);
    loop_run(c->loop);
    int status = c->status;
    // A worker that still waits for input ends with the process, and keeps what it writes to.
    if (!c->reading) {
        loop_free(&c->loop);
        xfree(c);
    }
    return status;
}
