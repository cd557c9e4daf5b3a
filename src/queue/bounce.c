// SPDX-License-Identifier: ISC
// Notices to senders: failed for good, late, passed on. The notice and the results it speaks of are
// one batch of the journal, so after a crash there are both or neither, and a notice is never
// written twice.
//
// Until that batch is on disk the recipients are closing: not sent any more, not final yet.
#include "queue/queue_int.h"
#include "base/arena.h"
#include "base/mem.h"
#include "report/report.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdio.h>

struct bounce {
    struct store_commit commit;
    struct queue *q;
    struct qmsg *m;
    enum bounce_kind kind;
    struct arena *arena;
    struct envelope envelope;
    struct attempt attempt;
    struct store_rcpt_result *results;
    size_t count;
    struct body_source *source;
    struct buf content; // the beginning of the original
    struct report reports[REPORT_MAX];
    struct store_body *bodies[REPORT_MAX];
    size_t report_count, appended;
};

static const enum dsn_kind dsn_kinds[] = {
    [BOUNCE_FAILED] = DSN_FAILURE, [BOUNCE_DELAYED] = DSN_DELAY, [BOUNCE_SUCCESS] = DSN_SUCCESS};

// ---- The end of recipients ----

static void set_final(struct queue *q, struct qmsg *m, const struct store_rcpt_result *results,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct qrcpt *r = &m->rcpts[results[i].index];
        r->flags = 0;
        rcpt_leave(q, r);
        if (!rcpt_state_final((enum rcpt_state)r->state))
            atomic_fetch_sub(&q->recipients, 1);
        r->state = (uint8_t)results[i].state;
        q->counts.returned += results[i].state == RCPT_RETURNED;
        q->counts.bad += results[i].state == RCPT_BAD;
    }
}

static struct store_op result_op(struct queue *q, const struct qmsg *m,
                                 const struct attempt *attempt,
                                 const struct store_rcpt_result *results, size_t count)
{
    return (struct store_op){.kind = STORE_RESULT,
                             .id = m->id,
                             .wall_ms = q->now_ms,
                             .gateway = attempt->gateway,
                             .facts = attempt->facts,
                             .transcript = attempt->transcript,
                             .results = results,
                             .result_count = count};
}

// ---- Writing the notice ----

static void bounce_end(struct bounce *b)
{
    struct queue *q = b->q;
    struct qmsg *m = b->m;
    for (size_t i = 0; i < b->report_count; i++)
        report_free(&b->reports[i]);
    if (b->source != NULL)
        b->source->ops->release(b->source);
    buf_free(&b->content);
    struct arena *arena = b->arena;
    arena_free(&arena); // holds b
    q->returns--;
    m->jobs--;
    if (!q->stopping)
        qmsg_schedule(q, m);
    qmsg_finish_if_done(q, m);
    queue_wake(q);
    queue_check_idle(q);
}

// Nothing is final; what was to be said is looked at again.
static void put_off(struct bounce *b)
{
    for (size_t i = 0; b->kind == BOUNCE_FAILED && i < b->count; i++) {
        struct qrcpt *r = &b->m->rcpts[b->results[i].index];
        r->flags = (uint8_t)((r->flags & ~RCPT_CLOSING) | RCPT_RETURN);
        r->next_s = (uint32_t)(b->q->now_ms / 1000) + 60;
    }
}

static void on_committed(struct store_commit *commit)
{
    struct bounce *b = container_of(commit, struct bounce, commit);
    static const char *const events[] = {"returned", "delay-notice", "success-notice"};
    if (commit->ok) {
        if (b->kind == BOUNCE_FAILED)
            set_final(b->q, b->m, b->results, b->count);
        log_info(events[b->kind], b->m->id, "told <%.*s> about %zu recipient%s",
                 STR_FMT(b->envelope.sender), b->count, b->count == 1 ? "" : "s");
    } else {
        log_error("notice-failed", b->m->id, "%s", commit->err.text);
        put_off(b);
    }
    bounce_end(b);
}

static void commit_all(struct bounce *b)
{
    struct store_op ops[1 + REPORT_MAX];
    size_t n = 0;
    if (b->kind == BOUNCE_FAILED)
        ops[n++] = result_op(b->q, b->m, &b->attempt, b->results, b->count);
    for (size_t i = 0; i < b->report_count; i++)
        ops[n++] = (struct store_op){.kind = STORE_ACCEPT,
                                     .id = store_next_id(b->q->parts.store),
                                     .wall_ms = b->q->now_ms,
                                     .envelope = &b->reports[i].envelope,
                                     .body = b->bodies[i]};
    b->commit.home = b->q->parts.loop;
    b->commit.done = on_committed;
    store_commit(b->q->parts.store, &b->commit, ops, n);
}

static void append_rest(void *ctx)
{
    struct bounce *b = ctx;
    struct err err;
    while (b->appended < b->report_count) {
        size_t i = b->appended++;
        struct buf *body = &b->reports[i].body;
        b->bodies[i] = store_body_begin(b->q->parts.store, b->q->parts.loop, body->len);
        int taken = store_body_append(b->bodies[i], body->data, body->len, append_rest, b, &err);
        if (taken == 0)
            return; // goes on when the store has it
        if (taken > 0)
            continue;
        // No room for the notice: the recipients stay as they are and are looked at again.
        log_error("notice-failed", b->m->id, "%s", err.text);
        for (size_t k = 0; k <= i; k++)
            store_body_abort(&b->bodies[k]);
        put_off(b);
        bounce_end(b);
        return;
    }
    commit_all(b);
}

static void compose(struct bounce *b)
{
    struct report_rcpt *rcpts = arena_alloc(b->arena, b->count * sizeof(*rcpts));
    int64_t expire = b->q->conf->queue.expire_ms;
    for (size_t i = 0; i < b->count; i++) {
        const struct store_rcpt_result *res = &b->results[i];
        bool refused =
            res->outcome.class == OUTCOME_REFUSED || res->outcome.class == OUTCOME_NO_RECORD;
        rcpts[i] =
            (struct report_rcpt){.index = res->index,
                                 .kind = dsn_kinds[b->kind],
                                 .outcome = &res->outcome,
                                 .expired = b->kind == BOUNCE_FAILED && !refused,
                                 .delivered = res->state == RCPT_DELIVERED,
                                 .last_ms = res->outcome.phase != PHASE_NONE ? b->q->now_ms : 0,
                                 .will_retry_ms = expire > 0 ? qmsg_born_ms(b->m) + expire : 0};
    }
    struct report_input in = {.envelope = &b->envelope,
                              .id = b->m->id,
                              .hostname = str_of(b->q->conf->hostname),
                              .return_to_sender = b->q->conf->queue.return_to_sender,
                              .content = buf_str(&b->content),
                              .whole = b->source != NULL && b->content.len == b->source->size,
                              .wall_ms = b->q->now_ms,
                              .offset_minutes = clock_utc_offset_minutes(b->q->now_ms),
                              .rcpts = rcpts,
                              .count = b->count};
    b->report_count = report_compose(&in, b->reports);
    for (size_t i = 0; i < b->report_count; i++)
        b->reports[i].envelope.accepted_ms = b->q->now_ms;
    append_rest(b);
}

static void read_content(void *ctx)
{
    struct bounce *b = ctx;
    while (b->source != NULL && b->content.len < b->content.max) {
        size_t want = b->content.max - b->content.len;
        if (want > 16 * 1024)
            want = 16 * 1024;
        char *to = buf_reserve(&b->content, want);
        ssize_t n = b->source->ops->read_now(b->source, b->content.len, to, want);
        if (n == -2) {
            b->source->ops->fetch(b->source, b->content.len, want, read_content, b);
            return;
        }
        if (n <= 0)
            break; // the end, or a disk that does not give it: the notice goes without
        b->content.len += (size_t)n;
    }
    compose(b);
}

static const char *copy(struct arena *arena, const char *text)
{
    return text != NULL ? arena_strdup(arena, text) : NULL;
}

static void start(struct queue *q, struct qmsg *m, enum bounce_kind kind,
                  const struct store_rcpt_result *results, size_t count,
                  const struct attempt *attempt, struct arena *arena)
{
    struct bounce *b = arena_alloc(arena, sizeof(*b));
    struct err err;
    b->q = q;
    b->m = m;
    b->kind = kind;
    b->arena = arena;
    b->attempt.gateway = copy(arena, attempt->gateway);
    b->attempt.facts = copy(arena, attempt->facts);
    b->attempt.transcript = arena_dup(arena, attempt->transcript);
    b->count = count;
    b->results = arena_alloc(arena, count * sizeof(*results));
    memcpy(b->results, results, count * sizeof(*results));
    qmsg_envelope(q, m, arena, &b->envelope);
    buf_init(&b->content, LIMIT_DSN_BODY);
    m->jobs++;
    q->returns++;
    struct store_body_ref body = qmsg_body(m);
    b->source = store_body_source(q->parts.store, q->parts.loop, m->id, &body, qmsg_blob(m), &err);
    if (b->source == NULL)
        log_warn("body-unreadable", m->id, "the notice goes without the original: %s", err.text);
    read_content(b);
}

// A bounded rate, so that nobody can make us flood forged senders. What must wait gets its turn at
// once, and so never waits twice.
static int64_t turn_of(struct queue *q, enum bounce_kind kind)
{
    const int64_t each = 60 * 1000 / LIMIT_NOTICES_PER_MINUTE;
    int64_t *given = &q->notice_ms[kind], least = q->now_ms - each * LIMIT_NOTICES_AT_ONCE;
    if (*given < least)
        *given = least;
    *given += each;
    return *given <= q->now_ms ? 0 : *given;
}

// Nobody is told. Where that is only because queue.return_to_sender is off, the mail is not lost
// for it: it is held for the administrator to look at.
static void end_silently(struct queue *q, struct qmsg *m, const struct envelope *e,
                         struct store_rcpt_result *results, size_t count,
                         const struct attempt *attempt)
{
    const struct outcome *why = NULL;
    for (size_t i = 0; i < count; i++) {
        if (q->conf->queue.return_to_sender ||
            !report_wanted(e, results[i].index, DSN_FAILURE, true))
            continue;
        results[i].state = RCPT_WAITING;
        why = &results[i].outcome;
    }
    struct store_op op = result_op(q, m, attempt, results, count);
    queue_record(q, &op, 1);
    for (size_t i = 0; i < count; i++) {
        struct qrcpt *r = &m->rcpts[results[i].index];
        if (results[i].state != RCPT_WAITING) {
            set_final(q, m, &results[i], 1);
            continue;
        }
        settle_remember(q, r, attempt->gateway, &results[i].outcome);
        r->flags = 0;
        r->step = 0;
    }
    if (why == NULL)
        return;
    char reason[LIMIT_OUTCOME_TEXT + 64];
    snprintf(reason, sizeof(reason), "given up (queue.return_to_sender is off): %s",
             why->text[0] != '\0' ? why->text : judge_reason(why));
    queue_hold(q, m->id, reason);
}

int64_t bounce_start(struct queue *q, struct qmsg *m, enum bounce_kind kind,
                     const struct store_rcpt_result *results, size_t count,
                     const struct attempt *attempt, bool at_once)
{
    struct arena *arena = arena_new();
    struct envelope e;
    bool wanted = false;
    qmsg_envelope(q, m, arena, &e);
    bool to_sender = q->conf->queue.return_to_sender;
    struct store_rcpt_result *mine = arena_alloc(arena, count * sizeof(*mine));
    memcpy(mine, results, count * sizeof(*mine));
    for (size_t i = 0; i < count; i++) {
        wanted = wanted || report_wanted(&e, mine[i].index, dsn_kinds[kind], to_sender);
        if (kind == BOUNCE_FAILED)
            mine[i].state = report_failed_state(&e, mine[i].index, to_sender);
    }
    if (wanted) {
        int64_t turn = at_once ? 0 : turn_of(q, kind);
        if (turn > 0)
            arena_free(&arena);
        else
            start(q, m, kind, mine, count, attempt, arena);
        return turn;
    }
    if (kind == BOUNCE_FAILED)
        end_silently(q, m, &e, mine, count, attempt);
    arena_free(&arena);
    return 0;
}
