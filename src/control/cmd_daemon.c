// SPDX-License-Identifier: ISC
// reload, stop: the daemon as a whole.
#include "base/mem.h"
#include "control/command.h"

static void forget(struct reply *r)
{
    *(struct reply **)r->ctx = NULL;
}

static void on_reloaded(void *ctx, bool ok, const char *text)
{
    struct reply **kept = ctx, *r = *kept;
    xfree(kept);
    if (r == NULL)
        return; // the asker went away
    r->gone = NULL;
    struct str rest = str_of(text), line;
    while (str_split(&rest, '\n', &line)) {
        if (ok)
            reply_line(r, "%.*s", STR_FMT(line));
        else
            reply_error(r, "%.*s", STR_FMT(line));
    }
    reply_end(r, ok ? 0 : EX_CONFIG);
}

void cmd_reload(struct reply *r)
{
    // Outlives the reply when the client does not wait.
    struct reply **kept = xmalloc(sizeof(*kept));
    *kept = r;
    r->ctx = kept;
    r->gone = forget;
    r->control->parts.reload(r->control->parts.ctx, on_reloaded, kept);
}

void cmd_stop(struct reply *r)
{
    struct control *c = r->control;
    reply_line(r, "ending in order; what waits stays in the spool");
    reply_end(r, 0);
    c->parts.stop(c->parts.ctx);
}
