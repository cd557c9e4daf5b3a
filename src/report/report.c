// SPDX-License-Identifier: ISC
// Reports to senders.
#include "report/report.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "mail/dsn_words.h"

#include <assert.h>

// Can and may the sender be written to at all?
static bool has_return_path(const struct envelope *e)
{
    return e->sender.len > 0 && !e->is_dsn;
}

static bool asked_for(uint8_t notify, enum dsn_kind kind)
{
    static const uint8_t bits[] = {NOTIFY_FAILURE, NOTIFY_DELAY, NOTIFY_SUCCESS};
    if (notify == 0)
        notify = NOTIFY_FAILURE | NOTIFY_DELAY;
    return (notify & NOTIFY_NEVER) == 0 && (notify & bits[kind]) != 0;
}

bool report_wanted(const struct envelope *e, uint32_t index, enum dsn_kind kind,
                   bool return_to_sender)
{
    assert(index < e->count);
    return has_return_path(e) && (return_to_sender || kind == DSN_SUCCESS) &&
           asked_for(e->rcpts[index].notify, kind);
}

enum rcpt_state report_failed_state(const struct envelope *e, uint32_t index, bool return_to_sender)
{
    assert(index < e->count);
    bool silent = !asked_for(e->rcpts[index].notify, DSN_FAILURE);
    return has_return_path(e) && (return_to_sender || silent) ? RCPT_RETURNED : RCPT_BAD;
}

static size_t gather(const struct report_input *in, enum dsn_kind kind, struct dsn_rcpt *rcpts)
{
    size_t count = 0;
    for (size_t i = 0; i < in->count; i++) {
        const struct report_rcpt *r = &in->rcpts[i];
        if (r->kind != kind || (kind == DSN_SUCCESS && r->passed_dsn) ||
            !report_wanted(in->envelope, r->index, kind, in->return_to_sender))
            continue;
        rcpts[count++] = (struct dsn_rcpt){
            .address = in->envelope->rcpts[r->index].address,
            .orcpt = in->envelope->rcpts[r->index].orcpt,
            .outcome = r->outcome,
            .expired = r->expired,
            .delivered = r->delivered,
            .last_ms = r->last_ms,
            .will_retry_ms = r->will_retry_ms,
        };
    }
    return count;
}

static void compose(const struct report_input *in, enum dsn_kind kind, const struct dsn_rcpt *rcpts,
                    size_t count, struct report *report)
{
    const struct envelope *e = in->envelope;
    const struct dsn dsn = {
        .kind = kind,
        .id = in->id,
        .hostname = in->hostname,
        .sender = e->sender,
        .envid = e->envid,
        .ret = e->ret,
        .smtputf8 = e->smtputf8,
        .binary = e->body == BODY_BINARYMIME,
        .content = in->content,
        .whole = in->whole,
        .arrived_ms = e->accepted_ms,
        .release_ms = e->release_ms,
        .hold_s = e->hold_s,
        .wall_ms = in->wall_ms,
        .offset_minutes = in->offset_minutes,
        .rcpts = rcpts,
        .count = count,
    };
    buf_init(&report->body, dsn_max(&dsn));
    bool fitted = dsn_write(&report->body, &dsn);
    assert(fitted);
    report->kind = kind;
    // A report on a report would be one too many: whoever passes it on keeps it to himself.
    report->rcpt = (struct envelope_rcpt){.address = e->sender, .notify = NOTIFY_NEVER};
    report->envelope = (struct envelope){
        .body = ascii_only(buf_str(&report->body)) ? BODY_7BIT : BODY_8BITMIME,
        .priority = PRIORITY_NORMAL,
        .smtputf8 = !ascii_only(e->sender),
        .is_dsn = true,
        .accepted_ms = in->wall_ms,
        .client = STR("local"),
        .listener = STR("report"),
        .subject = str_of(dsn_subject(kind)),
        .count = 1,
        .rcpts = &report->rcpt,
    };
}

size_t report_compose(const struct report_input *in, struct report reports[REPORT_MAX])
{
    size_t made = 0;
    if (!has_return_path(in->envelope) || in->count == 0)
        return 0;
    struct dsn_rcpt *rcpts = xcalloc(in->count, sizeof(*rcpts));
    for (enum dsn_kind kind = DSN_FAILURE; kind <= DSN_SUCCESS; kind++) {
        size_t count = gather(in, kind, rcpts);
        if (count > 0)
            compose(in, kind, rcpts, count, &reports[made++]);
    }
    xfree(rcpts);
    return made;
}

void report_free(struct report *report)
{
    buf_free(&report->body);
}
