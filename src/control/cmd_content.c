// SPDX-License-Identifier: ISC
// queue content: a waiting message's content in base64 lines, for `waypost queue export`. Asked by
// the program, which writes the file with the rights of who asks.
#include "base/base64.h"
#include "base/mem.h"
#include "control/command.h"
#include "mail/body.h"
#include "sys/stream.h"

enum { PIECE = 24 * 1024 }; // a multiple of 3: no padding but at the end

struct content {
    struct reply *r;
    struct body_source *source;
    uint64_t offset;
    bool fetching;
    char piece[PIECE];
};

static void go_on(struct content *c);

static void on_gone(struct reply *r)
{
    struct content *c = r->ctx;
    c->source->ops->release(c->source); // a fetch under way is forgotten
    xfree(c);
}

static void end(struct content *c, int status)
{
    struct reply *r = c->r;
    r->gone = NULL;
    r->drained = NULL;
    on_gone(r);
    reply_end(r, status);
}

static void on_fetched(void *ctx)
{
    struct content *c = ctx;
    c->fetching = false;
    go_on(c);
}

static void on_drained(struct reply *r)
{
    struct content *c = r->ctx;
    if (!c->fetching)
        go_on(c);
}

static void tell(struct content *c, size_t len)
{
    struct buf line;
    buf_init(&line, LIMIT_CONTROL_LINE);
    base64_encode(&line, str_make(c->piece, len));
    reply_text(c->r, buf_str(&line));
    buf_free(&line);
}

// No faster than it is read.
static void go_on(struct content *c)
{
    while (stream_queued(c->r->stream) < LIMIT_CONTROL_QUEUE) {
        // Whole pieces only: what one line holds stands for itself.
        size_t len = 0, want = PIECE;
        if (c->source->size - c->offset < want)
            want = (size_t)(c->source->size - c->offset);
        while (len < want) {
            ssize_t n =
                c->source->ops->read_now(c->source, c->offset + len, c->piece + len, want - len);
            if (n == -2) {
                c->fetching = true;
                c->source->ops->fetch(c->source, c->offset + len, want - len, on_fetched, c);
                return;
            }
            if (n <= 0) {
                reply_error(c->r, "waypost: the content cannot be read");
                end(c, EX_IOERR);
                return;
            }
            len += (size_t)n;
        }
        if (want == 0) {
            end(c, 0);
            return;
        }
        tell(c, len);
        c->offset += len;
    }
}

void cmd_queue_content(struct reply *r)
{
    uint64_t id;
    struct queue_message_view v;
    struct err err = {0};
    struct queue *q = r->control->parts.queue;
    if (!reply_id(r, r->argv[0], &id))
        return;
    struct body_source *source = NULL;
    if (queue_show(q, id, r->arena, &v) && reply_sees(r, v.envelope.client))
        source = queue_body(q, id, &err);
    if (source == NULL) {
        if (err.text[0] != '\0')
            reply_error(r, "waypost: %s: %s", r->argv[0], err.text);
        else
            reply_error(r,
                        "waypost: %s is not in the queue; the content of mail that left, was "
                        "returned or was dropped is gone",
                        r->argv[0]);
        reply_end(r, EX_DATAERR);
        return;
    }
    struct content *c = xcalloc(1, sizeof(*c));
    c->r = r;
    c->source = source;
    r->ctx = c;
    r->gone = on_gone;
    r->drained = on_drained;
    go_on(c);
}
