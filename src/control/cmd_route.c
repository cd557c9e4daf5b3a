// SPDX-License-Identifier: ISC
// `waypost route`: why mail goes the way it goes.
#include "base/mem.h"
#include "control/command.h"

// The client may go before the mail exchangers are known.
struct asked {
    struct reply *reply; // NULL: gone
};

static void asker_gone(struct reply *r)
{
    ((struct asked *)r->ctx)->reply = NULL;
}

static void say_ways(struct reply *r, struct str ways)
{
    struct buf out;
    if (!r->json) {
        reply_text(r, ways);
        return;
    }
    buf_init(&out, 2 << 20);
    buf_printf(&out, "{\"schema\":1,\"ways\":[%.*s]}\n", STR_FMT(ways));
    reply_text(r, buf_str(&out));
    buf_free(&out);
}

static void explained(void *ctx, struct str text)
{
    struct asked *asked = ctx;
    struct reply *r = asked->reply;
    xfree(asked);
    if (r == NULL)
        return;
    r->gone = NULL;
    say_ways(r, text);
    reply_end(r, 0);
}

static void explain_envelope(struct reply *r, const char *from, const char *to)
{
    struct envelope e = {.sender = str_of(from != NULL ? from : ""), .priority = PRIORITY_NORMAL};
    struct asked *asked = xcalloc(1, sizeof(*asked));
    asked->reply = r;
    r->ctx = asked;
    r->gone = asker_gone;
    queue_explain_envelope(r->control->parts.queue, &e, str_of(to), 0, &(struct queue_assume){0},
                           r->json, explained, asked);
}

static void explain_waiting(struct reply *r, uint64_t id)
{
    struct buf out;
    buf_init(&out, 2 << 20);
    struct json j = json_to(&out);
    bool found = queue_explain(r->control->parts.queue, id, &(struct queue_assume){0},
                               r->json ? NULL : &out, r->json ? &j : NULL);
    if (found)
        say_ways(r, buf_str(&out));
    else
        reply_error(r, "waypost: %s is not in the queue; what became of it says `waypost log %s`",
                    r->argv[0], r->argv[0]);
    buf_free(&out);
    reply_end(r, found ? 0 : EX_DATAERR);
}

void cmd_route_explain(struct reply *r)
{
    const char *from = reply_option(r, "--from"), *to = reply_option(r, "--to");
    uint64_t id = 0;
    if (to != NULL) {
        explain_envelope(r, from, to);
        return;
    }
    if (r->argc != 1) {
        reply_error(r, "usage: waypost route explain ID | --from ADDRESS --to ADDRESS");
        reply_end(r, EX_USAGE);
        return;
    }
    if (reply_id(r, r->argv[0], &id))
        explain_waiting(r, id);
}
