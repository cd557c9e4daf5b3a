// SPDX-License-Identifier: ISC
// queue classic (mailq): what waits, in the layout that scripts have read since the days of
// sendmail.
#include "base/base64.h"
#include "base/timefmt.h"
#include "control/command.h"
#include "sys/clock.h"

#include <stdio.h>

struct sums {
    uint64_t count, bytes;
};

// "Sat Nov 21 14:02:11", local.
static void arrival(int64_t wall_ms, char text[TIME_TEXT])
{
    char full[TIME_TEXT]; // Sat, 21 Nov 2026 14:02:11 +0000
    time_rfc5322(wall_ms, clock_utc_offset_minutes(wall_ms), full);
    struct str rest = str_of(full), part[5] = {0};
    for (size_t i = 0; i < 5; i++)
        str_split(&rest, ' ', &part[i]);
    snprintf(text, TIME_TEXT, "%.3s %.*s %2.*s %.*s", part[0].ptr, STR_FMT(part[2]),
             STR_FMT(part[1]), STR_FMT(part[4]));
}

// '*' being sent, '!' held, as Postfix marks them.
static void entry(struct reply *r, const struct queue_message_view *v)
{
    char id[ID_TEXT_SIZE + 1], when[TIME_TEXT];
    bool busy = false;
    for (size_t i = 0; i < v->envelope.count; i++)
        busy |= v->rcpts[i].busy;
    id_format(v->id, id);
    const char *mark = v->held ? "!" : busy ? "*" : "";
    arrival(v->envelope.accepted_ms, when);
    struct str sender = v->envelope.sender.len > 0 ? v->envelope.sender : STR("MAILER-DAEMON");
    reply_line(r, "%s%-*s %8llu %s  %.*s", id, 11 - (int)strlen(id), mark,
               (unsigned long long)v->size, when, STR_FMT(sender));
    for (size_t i = 0; i < v->envelope.count; i++) {
        const struct queue_rcpt_view *p = &v->rcpts[i];
        if (rcpt_state_final(p->state))
            continue;
        if (p->last.text[0] != '\0')
            reply_line(r, "%40s(%s: %s)", "", p->gateway, p->last.text);
        reply_line(r, "%45s%.*s", "", STR_FMT(p->address));
    }
    reply_line(r, "%s", "");
}

static void each(struct reply *r, const struct queue_message_view *v)
{
    struct sums *s = r->ctx;
    if (s->count++ == 0)
        reply_line(r, "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------");
    s->bytes += v->size;
    entry(r, v);
}

static void finish(struct reply *r)
{
    const struct sums *s = r->ctx;
    if (s->count == 0)
        reply_line(r, "Mail queue is empty");
    else
        reply_line(r, "-- %llu Kbytes in %llu Request%s.",
                   (unsigned long long)(s->bytes + 1023) / 1024, (unsigned long long)s->count,
                   s->count == 1 ? "" : "s");
    reply_end(r, 0);
}

void cmd_queue_classic(struct reply *r)
{
    r->ctx = arena_alloc(r->arena, sizeof(struct sums));
    queue_each(r, STR(""), each, finish);
}
