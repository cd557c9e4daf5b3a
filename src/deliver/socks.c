// SPDX-License-Identifier: ISC
// The dialogue with a SOCKS 5 proxy. The end of it is told from the loop, not from inside the
// stream's own callback: whoever takes the stream then may read and close it as any other.
#include "deliver/socks.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>

struct deliver_socks {
    struct loop *loop;
    struct stream *stream;
    struct socks machine;
    struct buf out;
    struct timer limit;
    struct defer later;
    enum outcome_scope peer;
    struct outcome failure;
    deliver_socks_done *done;
    void *ctx;
};

static bool is_over(const struct deliver_socks *d)
{
    return d->machine.state == SOCKS_OPEN || d->failure.class != OUTCOME_OK;
}

// What the peer says, and that it closes, is for whoever takes the stream over.
static void finish(struct deliver_socks *d)
{
    timer_stop(&d->limit);
    stream_pause(d->stream);
    loop_defer(d->loop, &d->later, d->later.fn, d->later.ctx);
}

__attribute__((format(printf, 3, 4))) static void
fail(struct deliver_socks *d, enum outcome_class class, const char *format, ...)
{
    const struct net_addr *proxy = stream_peer(d->stream);
    char at[NET_ADDR_TEXT];
    struct outcome *o = &d->failure;
    if (o->class != OUTCOME_OK)
        return;
    *o = (struct outcome){.class = class, .scope = SCOPE_GATEWAY, .phase = PHASE_CONNECT};
    int n = snprintf(o->text, sizeof(o->text), "the SOCKS proxy %s ", net_addr_format(proxy, at));
    va_list args;
    va_start(args, format);
    vsnprintf(o->text + n, sizeof(o->text) - (size_t)n, format, args);
    va_end(args);
    snprintf(o->where, sizeof(o->where), "%.60s", at);
    finish(d);
}

static void fail_machine(struct deliver_socks *d)
{
    const struct socks_settings *s = d->machine.settings;
    const char *why = socks_why(&d->machine);
    switch (d->machine.fault) {
    case SOCKS_LOGIN_FAULT: fail(d, OUTCOME_AUTH, "%s", why); break;
    case SOCKS_FORBIDDEN: fail(d, OUTCOME_AUTH, "%s: %.200s:%u", why, s->host, s->port); break;
    case SOCKS_UNREACHED:
        fail(d, OUTCOME_NET, "%s: %.200s:%u", why, s->host, s->port);
        d->failure.scope = d->peer;
        snprintf(d->failure.where, sizeof(d->failure.where), "%.80s:%u", s->host, s->port);
        break;
    case SOCKS_STRANGE:
    case SOCKS_SOUND: fail(d, OUTCOME_NET, "%s", why); break;
    }
}

static void say(struct deliver_socks *d)
{
    stream_write(d->stream, d->out.data, d->out.len);
    buf_clear(&d->out);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct deliver_socks *d = ctx;
    if (is_over(d))
        return 0;
    size_t taken = socks_take(&d->machine, str_make(bytes, len), &d->out);
    say(d);
    if (d->machine.state == SOCKS_FAILED)
        fail_machine(d);
    else if (d->machine.state == SOCKS_OPEN)
        finish(d);
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct deliver_socks *d = ctx;
    if (event == STREAM_EOF)
        fail(d, OUTCOME_NET, "closed the connection");
    else if (event == STREAM_ERROR)
        fail(d, OUTCOME_NET, "is gone: %s", stream_error(d->stream));
}

static const struct stream_handler handler = {on_data, on_event};

static void on_limit(void *ctx)
{
    fail(ctx, OUTCOME_NET, "gives no answer within %d s", LIMIT_CONNECT_MS / 1000);
}

static void on_later(void *ctx)
{
    struct deliver_socks *d = ctx;
    struct stream *stream = d->stream;
    d->stream = NULL;
    if (d->failure.class != OUTCOME_OK)
        stream_close(&stream, false);
    else
        stream_resume(stream);
    d->done(d->ctx, stream, stream == NULL ? &d->failure : NULL);
}

struct deliver_socks *deliver_socks_new(struct loop *loop, struct stream *stream,
                                        const struct socks_settings *settings,
                                        enum outcome_scope peer, deliver_socks_done *done,
                                        void *ctx)
{
    struct deliver_socks *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->stream = stream;
    d->peer = peer;
    d->done = done;
    d->ctx = ctx;
    d->later.fn = on_later;
    d->later.ctx = d;
    buf_init(&d->out, SOCKS_OUT);
    timer_init(&d->limit, loop, on_limit, d);
    timer_start(&d->limit, LIMIT_CONNECT_MS);
    stream_attach(stream, &handler, d);
    socks_begin(&d->machine, settings, &d->out);
    say(d);
    if (d->machine.state == SOCKS_FAILED)
        fail_machine(d);
    return d;
}

void deliver_socks_free(struct deliver_socks **socks)
{
    struct deliver_socks *d = *socks;
    if (d == NULL)
        return;
    *socks = NULL;
    timer_stop(&d->limit);
    defer_cancel(&d->later);
    stream_close(&d->stream, false);
    buf_free(&d->out);
    xfree(d);
}
