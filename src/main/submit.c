// SPDX-License-Identifier: ISC
// The SMTP client machine on a stream, for one connection and then the end.
#include "main/submit.h"
#include "base/mem.h"
#include "proto/smtp_client.h"
#include "sys/stream.h"

#include <stdio.h>

// A daemon that lives greets at once; without the greeting nothing was sent, and the drop directory
// can take the mail.
enum { GREETING_MS = 10 * 1000, BODY_QUEUE = 512 * 1024, BODY_SLICE = 64 * 1024 };

struct submission {
    struct loop *loop;
    struct stream *stream;
    struct smtp_client client;
    struct timer timer;
    const struct envelope *envelope;
    struct str content;
    struct outcome *outcomes;
    struct smtp_client_rcpt *rcpts;
    size_t begun;  // recipients of transactions begun
    size_t offset; // of the content
    bool greeted;
    char why[256];
};

static void act(struct submission *s);

static void on_write(void *ctx, const void *bytes, size_t len)
{
    struct submission *s = ctx;
    stream_write(s->stream, bytes, len);
}

static void finish(struct submission *s, bool in_order)
{
    timer_stop(&s->timer);
    stream_close(&s->stream, in_order);
    loop_stop(s->loop);
}

static void lose(struct submission *s, enum smtp_client_loss loss, const char *why)
{
    snprintf(s->why, sizeof(s->why), "%s", why);
    smtp_client_lost(&s->client, loss, s->why);
    act(s);
}

static void on_time(void *ctx)
{
    lose(ctx, SMTP_LOST_TIME, "the daemon took too long to answer");
}

static void next_transaction(struct submission *s)
{
    const struct envelope *e = s->envelope;
    size_t left = e->count - s->begun;
    s->greeted = true;
    if (left == 0) {
        smtp_client_quit(&s->client);
        finish(s, true);
        return;
    }
    struct smtp_client_mail mail = {.envelope = e,
                                    .rcpts = s->rcpts + s->begun,
                                    .count = left < LIMIT_RECIPIENTS ? left : LIMIT_RECIPIENTS,
                                    .size = s->content.len};
    s->begun += mail.count;
    s->offset = 0;
    smtp_client_begin(&s->client, &mail);
    act(s);
}

static void feed_body(struct submission *s)
{
    while (smtp_client_need(&s->client) == SMTP_CLIENT_BODY &&
           stream_queued(s->stream) < BODY_QUEUE) {
        size_t left = s->content.len - s->offset, n = left < BODY_SLICE ? left : BODY_SLICE;
        const char *bytes = s->content.ptr + s->offset;
        s->offset += n;
        smtp_client_body(&s->client, bytes, n, s->offset == s->content.len);
    }
}

static void act(struct submission *s)
{
    if (smtp_client_need(&s->client) == SMTP_CLIENT_BODY)
        feed_body(s);
    switch (smtp_client_need(&s->client)) {
    case SMTP_CLIENT_IDLE: next_transaction(s); break;
    case SMTP_CLIENT_OVER:
    case SMTP_CLIENT_TLS: finish(s, false); break;
    default: timer_start(&s->timer, s->greeted ? smtp_client_limit_ms(&s->client) : GREETING_MS);
    }
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct submission *s = ctx;
    smtp_client_feed(&s->client, bytes, len);
    act(s);
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct submission *s = ctx;
    if (event == STREAM_DRAINED && smtp_client_need(&s->client) == SMTP_CLIENT_BODY)
        act(s);
    else if (event == STREAM_EOF)
        lose(s, SMTP_LOST_NET, "the daemon closed the connection");
    else if (event == STREAM_ERROR)
        lose(s, SMTP_LOST_NET, stream_error(s->stream));
}

static void converse(struct submission *s, const struct net_addr *to, const char *hostname)
{
    static const struct stream_handler handler = {on_data, on_event};
    struct smtp_client_settings settings = {.tls = SMTP_CLIENT_TLS_OFF,
                                            .helo = hostname,
                                            .peer = SCOPE_GATEWAY,
                                            .where = "the daemon",
                                            .write = on_write,
                                            .ctx = s};
    s->loop = loop_new("submit");
    s->rcpts = xcalloc(s->envelope->count, sizeof(*s->rcpts));
    for (size_t i = 0; i < s->envelope->count; i++)
        s->rcpts[i] =
            (struct smtp_client_rcpt){.rcpt = &s->envelope->rcpts[i], .outcome = &s->outcomes[i]};
    smtp_client_init(&s->client, &settings);
    timer_init(&s->timer, s->loop, on_time, s);
    timer_start(&s->timer, GREETING_MS);
    s->stream = stream_connect(s->loop, to, NULL, &handler, s);
    loop_run(s->loop);
    // What was never begun shares the fate of the connection.
    for (size_t i = s->begun; i < s->envelope->count; i++)
        s->outcomes[i] = s->client.failure;
    smtp_client_free(&s->client);
    loop_free(&s->loop);
    xfree(s->rcpts);
}

static enum submit_status judge(const struct submission *s)
{
    enum submit_status status = SUBMIT_REFUSED;
    for (size_t i = 0; i < s->envelope->count; i++) {
        enum outcome_class class = s->outcomes[i].class;
        if (class == OUTCOME_OK)
            return SUBMIT_TAKEN;
        if (class != OUTCOME_REFUSED)
            status = SUBMIT_LATER;
    }
    return status;
}

// The id is the first word of the reply: "4F7Q2K accepted, on disk".
static void find_id(const struct submission *s, char id_out[ID_TEXT_SIZE])
{
    id_out[0] = '\0';
    for (size_t i = 0; i < s->envelope->count; i++) {
        struct str rest = str_of(s->outcomes[i].text), word;
        uint64_t id;
        if (s->outcomes[i].class == OUTCOME_OK && str_split(&rest, ' ', &word) &&
            id_parse(word, &id))
            id_format(id, id_out);
    }
}

enum submit_status submit(const char *run_dir, const char *hostname, const struct envelope *e,
                          struct str content, struct outcome *outcomes, char id_out[ID_TEXT_SIZE],
                          struct err *err)
{
    struct submission s = {.envelope = e, .content = content, .outcomes = outcomes};
    struct net_addr to = {.family = NET_UNIX};
    int len = snprintf(to.path, sizeof(to.path), "%s/submit.sock", run_dir);
    id_out[0] = '\0';
    if (len < 0 || (size_t)len >= sizeof(to.path)) {
        err_set(err, "the path %s is too long for a unix socket", run_dir);
        return SUBMIT_DOWN;
    }
    converse(&s, &to, hostname);
    if (!s.greeted) {
        err_set(err, "%s", s.why[0] != '\0' ? s.why : s.client.failure.text);
        return SUBMIT_DOWN;
    }
    find_id(&s, id_out);
    return judge(&s);
}
