// SPDX-License-Identifier: ISC
// One connection to a next hop.
#include "deliver/session.h"

#include "base/mem.h"
#include "deliver/where.h"
#include "sys/tls.h"

#include <assert.h>
#include <stdio.h>

struct session {
    struct loop *loop;
    struct stream *stream;
    struct smtp_client client;
    const struct session_events *events;
    void *ctx;
    struct timer step;  // the present step of the dialogue
    struct timer whole; // the transaction
    char host[256];
    char where[WHERE_TEXT];
    uint16_t port;
    bool verify, implicit_tls, tls_ready;
    char *ca_file;
    unsigned sent;
    // The step the timer was last set for.
    unsigned char timed_state;
    unsigned timed_replies;
    // The body under way.
    struct body_source *body;
    char *slice;
    uint64_t offset;
    bool fetching;
    bool parting, gone;       // QUIT was said; nothing comes from the server any more
    enum outcome_phase phase; // told last
};

static void act(struct session *s);

static void on_write(void *ctx, const void *bytes, size_t len)
{
    struct session *s = ctx;
    if (s->stream != NULL)
        stream_write(s->stream, bytes, len);
}

// Runs from the first moment of a step to its whole reply; bytes that drip in do not renew it.
static void set_clock(struct session *s)
{
    if (timer_running(&s->step) && s->timed_state == s->client.state &&
        s->timed_replies == s->client.replies)
        return;
    s->timed_state = s->client.state;
    s->timed_replies = s->client.replies;
    timer_start(&s->step, smtp_client_limit_ms(&s->client));
}

static void start_tls(struct session *s)
{
    char key[400];
    snprintf(key, sizeof(key), "%s:%u:%s:%s", s->host, s->port, s->verify ? "verified" : "any",
             s->ca_file != NULL ? s->ca_file : "");
    struct net_addr literal;
    bool named = s->host[0] != '\0' && (s->verify || !net_addr_parse_ip(str_of(s->host), &literal));
    struct tls_client_params params = {
        .server_name = named ? s->host : NULL,
        .verify = s->verify ? TLS_VERIFY_FULL : TLS_VERIFY_NONE,
        .ca_file = s->ca_file,
        .session_key = key,
    };
    stream_start_tls_client(s->stream, &params);
}

static void lose(struct session *s, enum smtp_client_loss loss, const char *why)
{
    s->gone = true;
    smtp_client_lost(&s->client, loss, why);
    act(s);
}

static void on_fetched(void *ctx)
{
    struct session *s = ctx;
    s->fetching = false;
    act(s);
}

// Gives the body until it is complete, the peer is behind, or the disk is. True: the machine may
// need something else now.
static bool feed_body(struct session *s)
{
    struct body_source *b = s->body;
    if (s->fetching)
        return false;
    if (b->whole.ptr != NULL || b->size == 0) {
        smtp_client_body(&s->client, b->whole.ptr, b->whole.len, true);
        return true;
    }
    while (stream_queued(s->stream) < SESSION_QUEUE) {
        ssize_t n = b->ops->read_now(b, s->offset, s->slice, SESSION_SLICE);
        if (n == -2) {
            s->fetching = true;
            uint64_t left = b->size - s->offset;
            b->ops->fetch(b, s->offset, left < SESSION_SLICE ? (size_t)left : SESSION_SLICE,
                          on_fetched, s);
            return false;
        }
        if (n <= 0) {
            smtp_client_lost(&s->client, SMTP_LOST_LOCAL,
                             n == 0 ? "the stored body is shorter than it should be"
                                    : "the stored body cannot be read");
            return true;
        }
        // So long a body takes over a slow line; all before it has taken no more than its own time.
        if (s->offset == 0)
            timer_start(&s->whole, LIMIT_TRANSACTION_MS + (int64_t)(b->size / LIMIT_SLOWEST_OUT));
        s->offset += (uint64_t)n;
        timer_start(&s->step, smtp_client_limit_ms(&s->client));
        smtp_client_body(&s->client, s->slice, (size_t)n, s->offset >= b->size);
        if (smtp_client_need(&s->client) != SMTP_CLIENT_BODY)
            return true;
        stream_flush(s->stream);
    }
    return false;
}

static void settled(struct session *s)
{
    timer_stop(&s->whole);
    s->body = NULL;
    s->slice = NULL;
}

static void tell_phase(struct session *s)
{
    if (s->events->phase == NULL)
        return;
    bool shaking = s->implicit_tls && !s->tls_ready;
    enum outcome_phase phase = shaking ? PHASE_TLS : smtp_client_phase(&s->client);
    if (phase == s->phase)
        return;
    s->phase = phase;
    s->events->phase(s->ctx, phase);
}

// Does what the machine asks for. The session may be gone when it returns.
static void act(struct session *s)
{
    bool again = true;
    while (again) {
        again = false;
        set_clock(s);
        tell_phase(s);
        switch (smtp_client_need(&s->client)) {
        case SMTP_CLIENT_REPLY: break;
        case SMTP_CLIENT_TLS:
            if (!s->implicit_tls && !stream_is_tls(s->stream))
                start_tls(s);
            break;
        case SMTP_CLIENT_BODY: again = feed_body(s); break;
        case SMTP_CLIENT_HOLD: s->events->held(s->ctx); return;
        case SMTP_CLIENT_IDLE:
            settled(s);
            timer_stop(&s->step);
            s->events->ready(s->ctx);
            return;
        case SMTP_CLIENT_OVER:
            if (s->parting && !s->gone) {
                timer_stop(&s->step); // `whole` runs
                return;
            }
            settled(s);
            timer_stop(&s->step);
            stream_close(&s->stream, false);
            s->events->over(s->ctx);
            return;
        }
    }
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct session *s = ctx;
    if (s->parting && smtp_client_need(&s->client) == SMTP_CLIENT_OVER)
        return len;
    smtp_client_feed(&s->client, bytes, len);
    act(s);
    return len;
}

static void note_tls(struct session *s)
{
    if (s->client.record != NULL)
        buf_printf(s->client.record, "*** %s%s%s\n", stream_tls_text(s->stream),
                   stream_tls_verified(s->stream) ? ", verified" : "",
                   stream_tls_reused(s->stream) ? ", resumed" : "");
}

static void on_event(void *ctx, enum stream_event event)
{
    struct session *s = ctx;
    switch (event) {
    case STREAM_CONNECTED: break;
    case STREAM_TLS_READY:
        note_tls(s);
        s->tls_ready = true;
        tell_phase(s);
        if (s->implicit_tls)
            break; // the greeting comes next
        smtp_client_tls_ready(&s->client);
        act(s);
        break;
    case STREAM_DRAINED:
        if (smtp_client_need(&s->client) == SMTP_CLIENT_BODY && s->body != NULL && !s->fetching) {
            timer_start(&s->step, smtp_client_limit_ms(&s->client));
            act(s);
        }
        break;
    case STREAM_EOF: lose(s, SMTP_LOST_NET, "the server closed the connection"); break;
    case STREAM_ERROR:
        lose(s, stream_error_is_tls(s->stream) ? SMTP_LOST_TLS : SMTP_LOST_NET,
             stream_error(s->stream));
        break;
    }
}

static const struct stream_handler handler = {on_data, on_event};

static void on_step(void *ctx)
{
    lose(ctx, SMTP_LOST_TIME, "the server took too long");
}

static void on_whole(void *ctx)
{
    lose(ctx, SMTP_LOST_TIME, "the whole took too long");
}

struct session *deliver_session_new(struct loop *loop, struct stream *stream,
                                    const struct session_params *params, struct buf *record,
                                    const struct session_events *events, void *ctx)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->stream = stream;
    snprintf(s->host, sizeof(s->host), "%s", params->host);
    s->port = params->port;
    s->verify = params->verify;
    s->implicit_tls = params->implicit_tls;
    s->ca_file = params->ca_file != NULL ? xstrdup(params->ca_file) : NULL;
    where_format(s->host, stream_peer(stream), s->port, s->where);
    timer_init(&s->step, loop, on_step, s);
    timer_init(&s->whole, loop, on_whole, s);
    struct smtp_client_settings settings = params->settings;
    settings.write = on_write;
    settings.ctx = s;
    settings.where = s->where;
    settings.covered = params->implicit_tls;
    smtp_client_init(&s->client, &settings);
    deliver_session_attach(s, record, events, ctx);
    stream_attach(stream, &handler, s);
    timer_start(&s->whole, LIMIT_TRANSACTION_MS);
    if (params->implicit_tls)
        start_tls(s);
    set_clock(s);
    tell_phase(s);
    return s;
}

void deliver_session_attach(struct session *s, struct buf *record,
                            const struct session_events *events, void *ctx)
{
    s->client.record = record;
    if (record != NULL)
        buf_printf(record, s->sent > 0 ? "*** kept connection to %s\n" : "*** connected to %s\n",
                   s->where);
    s->events = events;
    s->ctx = ctx;
}

void deliver_session_send(struct session *s, struct smtp_client_mail *mail,
                          struct body_source *body, char *slice)
{
    if (body != NULL)
        mail->size = body->size;
    mail->at_once = mail->at_once && body != NULL && s->sent == 0 &&
                    (body->whole.ptr != NULL || body->size == 0) && body->size <= LIMIT_BODY_INLINE;
    s->body = body;
    s->slice = slice;
    s->offset = 0;
    s->sent++;
    timer_start(&s->whole, LIMIT_TRANSACTION_MS);
    smtp_client_begin(&s->client, mail);
    act(s);
}

void deliver_session_more(struct session *s, struct smtp_client_rcpt *rcpts)
{
    smtp_client_more(&s->client, rcpts);
    act(s);
}

void deliver_session_content(struct session *s, struct body_source *body, char *slice)
{
    s->body = body;
    s->slice = slice;
    s->offset = 0;
    smtp_client_content(&s->client, body->size);
    act(s);
}

void deliver_session_drop(struct session *s, const char *why)
{
    smtp_client_drop(&s->client, why);
    act(s);
}

bool deliver_session_fetching(const struct session *s)
{
    return s->fetching;
}

const struct smtp_client *deliver_session_client(const struct session *s)
{
    return &s->client;
}

const struct stream *deliver_session_stream(const struct session *s)
{
    return s->stream;
}

unsigned deliver_session_sent(const struct session *s)
{
    return s->sent;
}

const char *deliver_session_where(const struct session *s)
{
    return s->where;
}

void deliver_session_lose(struct session *s, const char *why)
{
    lose(s, SMTP_LOST_NET, why);
}

void deliver_session_part(struct session *s)
{
    s->parting = true;
    smtp_client_quit(&s->client);
    timer_start(&s->whole, LIMIT_PARTING_MS);
    act(s);
}

void deliver_session_abort(struct session *s, const char *why)
{
    smtp_client_lost(&s->client, SMTP_LOST_LOCAL, why);
    settled(s);
    timer_stop(&s->step);
    stream_close(&s->stream, false);
}

void deliver_session_free(struct session **session)
{
    struct session *s = *session;
    if (s == NULL)
        return;
    *session = NULL;
    bool idle = smtp_client_need(&s->client) == SMTP_CLIENT_IDLE && s->stream != NULL;
    if (idle)
        smtp_client_quit(&s->client);
    stream_close(&s->stream, idle);
    timer_stop(&s->step);
    timer_stop(&s->whole);
    smtp_client_free(&s->client);
    xfree(s->ca_file);
    xfree(s);
}
