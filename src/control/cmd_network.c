// SPDX-License-Identifier: ISC
// network: where this machine is, and how that place would be written down.
#include "control/command.h"
#include "watch/watch.h"

enum { TEXT_BYTES = 1 << 20 };

static struct watch_snapshot *where(struct reply *r)
{
    struct watch_snapshot *now = queue_where(r->control->parts.queue);
    if (now == NULL) {
        reply_error(r, "waypost: the daemon does not know yet where it is; ask again in a moment");
        reply_end(r, EX_TEMPFAIL);
    }
    return now;
}

void cmd_network(struct reply *r)
{
    struct watch_snapshot *now = where(r);
    struct buf out;
    if (now == NULL)
        return;
    if (r->json) {
        struct json j = reply_json(&out);
        watch_show_json(now, r->control->conf, &j);
        reply_json_send(r, &j);
    } else {
        buf_init(&out, TEXT_BYTES);
        watch_show(now, r->control->conf, &out);
        reply_text(r, buf_str(&out));
        buf_free(&out);
    }
    reply_end(r, 0);
}

void cmd_network_learn(struct reply *r)
{
    struct watch_snapshot *now = where(r);
    struct buf out;
    if (now == NULL)
        return;
    buf_init(&out, TEXT_BYTES);
    bool ok = watch_learn(now, r->argv[0], &out);
    if (ok)
        reply_text(r, buf_str(&out));
    else
        reply_error(r, "waypost: nothing here tells this place from another: no address but "
                       "loopback. See `waypost network`");
    buf_free(&out);
    reply_end(r, ok ? 0 : EX_UNAVAILABLE);
}
