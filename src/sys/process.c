// SPDX-License-Identifier: ISC
// Programs, by libuv. What is left of one that was freed stays until the kernel gives its end back,
// so that none becomes a zombie.
#include "sys/process.h"

#include "base/mem.h"
#include "sys/host.h"
#include "sys/loop_int.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { HANDLES = 3, LAST_READ = 1024 * 1024 };

struct process {
    struct loop *loop;
    uv_process_t child;
    uv_pipe_t in, out;
    uv_write_t write;
    int open; // handles
    bool exited, freed, in_closed;
    size_t len, max;
    const struct process_events *events;
    void *ctx;
    struct loop_exit at_exit; // after it was freed
    struct defer unheard;     // a write that nobody reads
    char spare[4096];         // what is read and not kept
    char output[];
};

// ---- Handles ----

static void on_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    if (--p->open == 0 && p->freed)
        xfree(p);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void close_input(struct process *p)
{
    p->in_closed = true;
    close_handle((uv_handle_t *)&p->in);
}

static void close_all(void *ctx)
{
    struct process *p = ctx;
    loop_exit_cancel(&p->at_exit);
    close_input(p);
    close_handle((uv_handle_t *)&p->out);
    close_handle((uv_handle_t *)&p->child);
}

// ---- What it prints ----

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct process *p = handle->data;
    bool full = p->len == p->max;
    buf->base = full ? p->spare : p->output + p->len;
    buf->len = full ? sizeof(p->spare) : p->max - p->len;
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct process *p = stream->data;
    if (n < 0)
        uv_read_stop(stream); // at its end
    else if (buf->base != p->spare)
        p->len += (size_t)n;
}

// What lies in the pipe. A child it left in the background may go on printing: that is not waited
// for.
static void read_rest(struct process *p)
{
    int fd;
    if (uv_fileno((uv_handle_t *)&p->out, &fd) != 0)
        return;
    for (size_t all = 0; all < LAST_READ;) {
        bool full = p->len == p->max;
        ssize_t n = read(fd, full ? p->spare : p->output + p->len,
                         full ? sizeof(p->spare) : p->max - p->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        p->len += full ? 0 : (size_t)n;
        all += (size_t)n;
    }
}

static void on_exit_of(uv_process_t *child, int64_t status, int signal)
{
    struct process *p = child->data;
    p->exited = true;
    if (p->freed) {
        close_all(p);
        return;
    }
    read_rest(p);
    uv_read_stop((uv_stream_t *)&p->out);
    struct process_end end = {.status = signal != 0 ? -1 : (int)status,
                              .signal = signal,
                              .output = str_make(p->output, p->len)};
    p->events->ended(p->ctx, &end);
}

// ---- What it is fed ----

static void on_taken(uv_write_t *write, int status)
{
    struct process *p = write->data;
    if (status != 0 && !p->freed)
        close_input(p);
    if (!p->freed && !p->exited)
        p->events->hungry(p->ctx);
}

static void on_unheard(void *ctx)
{
    struct process *p = ctx;
    if (!p->exited)
        p->events->hungry(p->ctx);
}

void process_write(struct process *p, const void *bytes, size_t len)
{
    uv_buf_t piece = uv_buf_init((char *)bytes, (unsigned)len);
    p->write.data = p;
    if (p->in_closed || uv_write(&p->write, (uv_stream_t *)&p->in, &piece, 1, on_taken) != 0)
        loop_defer(p->loop, &p->unheard, on_unheard, p);
}

void process_end_input(struct process *p)
{
    close_input(p);
}

// ---- Life ----

static bool become(const char *user, uv_process_options_t *options, struct err *err)
{
    uint32_t uid, gid;
    if (user == NULL)
        return host_unprivileged(err);
    if (!host_user(user, &uid, &gid, err))
        return false;
    if (uid == host_uid())
        return host_unprivileged(err);
    options->uid = uid;
    options->gid = gid;
    options->flags |= UV_PROCESS_SETUID | UV_PROCESS_SETGID; // without any other group
    return true;
}

static bool open_pipe(int ends[2], const uv_process_options_t *options, struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) != 0) {
        err_sys(err, errno, "cannot make a pipe for a program");
        return false;
    }
    // For who opens /dev/stdin.
    if ((options->flags & UV_PROCESS_SETUID) == 0 ||
        (fchown(ends[0], options->uid, options->gid) == 0 &&
         fchown(ends[1], options->uid, options->gid) == 0))
        return true;
    err_sys(err, errno, "cannot give a pipe to a program");
    close(ends[0]);
    close(ends[1]);
    return false;
}

// Pipes and no sockets, since programs open /dev/stdin.
static bool open_pipes(int in[2], int out[2], const uv_process_options_t *options, struct err *err)
{
    if (!open_pipe(in, options, err))
        return false;
    if (open_pipe(out, options, err))
        return true;
    close(in[0]);
    close(in[1]);
    return false;
}

static void open_handles(struct process *p, int in, int out)
{
    uv_loop_t *uv = loop_uv(p->loop);
    uv_handle_t *handles[HANDLES] = {(uv_handle_t *)&p->child, (uv_handle_t *)&p->in,
                                     (uv_handle_t *)&p->out};
    uv_pipe_init(uv, &p->in, 0);
    uv_pipe_init(uv, &p->out, 0);
    uv_pipe_open(&p->in, in);
    uv_pipe_open(&p->out, out);
    p->open = HANDLES;
    for (int i = 0; i < HANDLES; i++)
        handles[i]->data = p;
}

struct process *process_new(struct loop *loop, const struct process_how *how,
                            const struct process_events *events, void *ctx, struct err *err)
{
    int in[2], out[2];
    uv_process_options_t options = {.exit_cb = on_exit_of,
                                    .file = how->argv[0],
                                    .args = (char **)how->argv,
                                    .env = (char **)how->env,
                                    .cwd = "/",
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = 3};
    if (!become(how->user, &options, err)) {
        err_prefix(err, "cannot run %s", how->argv[0]);
        return NULL;
    }
    if (!open_pipes(in, out, &options, err))
        return NULL;
    uv_stdio_container_t stdio[3] = {{.flags = UV_INHERIT_FD, .data.fd = in[0]},
                                     {.flags = UV_INHERIT_FD, .data.fd = out[1]},
                                     {.flags = UV_INHERIT_FD, .data.fd = out[1]}};
    options.stdio = stdio;
    struct process *p = xcalloc(1, sizeof(*p) + how->output_max);
    p->loop = loop;
    p->max = how->output_max;
    p->events = events;
    p->ctx = ctx;
    // Ours are closed by exec as they are; what we were started with is not.
    close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
    int rc = uv_spawn(loop_uv(loop), &p->child, &options);
    close(in[0]);
    close(out[1]);
    open_handles(p, in[1], out[0]);
    if (rc != 0) {
        err_sys(err, -rc, "cannot run %s", how->argv[0]);
        p->freed = true;
        close_all(p);
        return NULL;
    }
    uv_read_start((uv_stream_t *)&p->out, on_room, on_output);
    return p;
}

void process_free(struct process **process)
{
    struct process *p = *process;
    if (p == NULL)
        return;
    *process = NULL;
    p->freed = true;
    defer_cancel(&p->unheard);
    if (p->exited) {
        close_all(p);
        return;
    }
    kill(-p->child.pid, SIGKILL); // its group
    close_input(p);
    close_handle((uv_handle_t *)&p->out);
    loop_on_exit(p->loop, &p->at_exit, close_all, p);
}
