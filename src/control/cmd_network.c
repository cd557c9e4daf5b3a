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

static void show_dials(struct reply *r, struct buf *out)
{
    const struct conf *conf = r->control->conf;
    bool any = false;
    for (size_t i = 0; i < conf->network_count; i++) {
        size_t before = out->len;
        buf_printf(out, "%s  %-12s ", any ? "" : "\ndial-up\n", conf->networks[i].name);
        if (!queue_dial(r->control->parts.queue, i, out)) {
            out->len = before;
            continue;
        }
        buf_putc(out, '\n');
        any = true;
    }
}

static void dials_json(struct reply *r, struct json *j)
{
    const struct conf *conf = r->control->conf;
    struct buf words;
    buf_init(&words, 1024);
    json_open_array(j, "dialled");
    for (size_t i = 0; i < conf->network_count; i++) {
        buf_clear(&words);
        if (!queue_dial(r->control->parts.queue, i, &words))
            continue;
        json_open(j, NULL);
        json_text(j, "network", conf->networks[i].name);
        json_text(j, "state", buf_cstr(&words));
        json_close(j);
    }
    json_close_array(j);
    buf_free(&words);
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
        dials_json(r, &j);
        reply_json_send(r, &j);
    } else {
        buf_init(&out, TEXT_BYTES);
        watch_show(now, r->control->conf, &out);
        show_dials(r, &out);
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
