// SPDX-License-Identifier: ISC
// Delivery on this machine: the body goes piece by piece to a sink, once for each recipient.
#include "deliver/local.h"

#include "base/list.h"
#include "base/mem.h"
#include "deliver/sink.h"

#include <stdio.h>

enum { PIECE = 64 * 1024, HEAD = 4 * LIMIT_PATH, RECORD = 16 * 1024 };

struct locals {
    struct loop *loop;
    struct link runs;
};

// One job.
struct run {
    struct link link;
    struct locals *locals;
    struct deliver_job *job;
    struct body_source *body;
    struct sink *sink;
    struct sink_mail mail;
    struct mailbox box;
    struct buf record;
    size_t at; // recipient
    uint64_t offset;
    bool headed, fetching;
    bool kept;                  // a CR
    char in[PIECE];             // of the body
    char out[HEAD + PIECE + 1]; // for the sink
};

static void start_rcpt(struct run *r);

// ---- Lines ----

size_t local_unix_lines(bool *kept, const char *in, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (*kept && in[i] != '\n')
            out[n++] = '\r';
        *kept = in[i] == '\r';
        if (!*kept)
            out[n++] = in[i];
    }
    return n;
}

// ---- The end ----

static void run_done(struct post *post)
{
    struct deliver_job *job = (struct deliver_job *)post;
    job->done(job);
}

static void finish(struct run *r)
{
    struct deliver_job *job = r->job;
    bool wanted = job->want_transcript;
    job->finished_ms = loop_now_ms(r->locals->loop);
    for (size_t i = 0; i < job->count; i++)
        wanted = wanted || job->rcpts[i].outcome.class != OUTCOME_OK;
    snprintf(job->facts, sizeof(job->facts), "%s %.80s, %zu rcpt, %lld ms",
             job->gateway->kind == GATEWAY_MAILDIR ? "maildir" : "program", job->gateway->path,
             job->count, (long long)(job->finished_ms - job->started_ms));
    buf_free(&job->transcript);
    if (wanted)
        job->transcript = r->record;
    else
        buf_free(&r->record);
    if (r->body != NULL)
        r->body->ops->release(r->body);
    list_remove(&r->link);
    xfree(r);
    job->session = NULL;
    job->post.run = run_done;
    loop_post(job->home, &job->post);
}

static void drop_sink(struct run *r)
{
    if (r->sink != NULL)
        r->sink->ops->give_up(r->sink);
    r->sink = NULL;
}

// This recipient and all after it.
static void finish_with(struct run *r, const struct outcome *o)
{
    drop_sink(r);
    for (; r->at < r->job->count; r->at++)
        r->job->rcpts[r->at].outcome = *o;
    finish(r);
}

static void finish_local(struct run *r, const char *why)
{
    struct outcome o = {.class = OUTCOME_LOCAL};
    snprintf(o.text, sizeof(o.text), "%s", why);
    finish_with(r, &o);
}

// ---- A recipient ----

static void next_piece(struct run *r);

static void next_rcpt(struct run *r)
{
    if (r->at < r->job->count)
        start_rcpt(r);
    else
        finish(r);
}

static void on_fetched(void *ctx)
{
    struct run *r = ctx;
    r->fetching = false;
    if (r->sink != NULL)
        next_piece(r);
    else
        next_rcpt(r); // the sink did not wait for it
}

// Counts as body_ops.read_now does.
static ssize_t read_body(struct run *r)
{
    struct str whole = r->body->whole;
    if (whole.ptr == NULL)
        return r->body->ops->read_now(r->body, r->offset, r->in, sizeof(r->in));
    size_t left = whole.len - (size_t)r->offset, n = left < sizeof(r->in) ? left : sizeof(r->in);
    memcpy(r->in, whole.ptr + r->offset, n);
    return (ssize_t)n;
}

static size_t write_head(struct run *r)
{
    struct str sender = r->mail.envelope->sender, rcpt = r->mail.rcpt->address;
    if (r->job->gateway->bare)
        return 0;
    return (size_t)snprintf(r->out, HEAD, "Return-Path: <%.*s>\nDelivered-To: %.*s\n",
                            STR_FMT(sender), STR_FMT(rcpt));
}

static void next_piece(struct run *r)
{
    ssize_t n = read_body(r);
    if (n == -2) {
        r->fetching = true;
        r->body->ops->fetch(r->body, r->offset, sizeof(r->in), on_fetched, r);
        return;
    }
    if (n < 0) {
        finish_local(r, "the message cannot be read from the spool");
        return;
    }
    size_t len = r->headed ? 0 : write_head(r);
    r->headed = true;
    len += local_unix_lines(&r->kept, r->in, (size_t)n, r->out + len);
    r->offset += (uint64_t)n;
    if (n == 0 && r->kept) {
        r->out[len++] = '\r';
        r->kept = false;
    }
    if (len > 0)
        r->sink->ops->write(r->sink, r->out, len);
    else if (n == 0)
        r->sink->ops->end(r->sink);
    else
        next_piece(r); // a CR alone
}

static void on_hungry(void *ctx)
{
    next_piece(ctx);
}

static void on_over(void *ctx, const struct outcome *o)
{
    struct run *r = ctx;
    r->job->rcpts[r->at++].outcome = *o;
    drop_sink(r);
    if (!r->fetching)
        next_rcpt(r);
}

static const struct sink_events events = {on_hungry, on_over};

static void start_rcpt(struct run *r)
{
    struct deliver_job *job = r->job;
    const struct envelope_rcpt *rcpt = &job->rcpts[r->at].rcpt;
    bool maildir = job->gateway->kind == GATEWAY_MAILDIR;
    mailbox_of(rcpt->address, job->envelope->sender, &r->box);
    r->offset = 0;
    r->kept = r->headed = false;
    r->mail = (struct sink_mail){.loop = r->locals->loop,
                                 .conf = job->conf,
                                 .gateway = job->gateway,
                                 .envelope = job->envelope,
                                 .rcpt = rcpt,
                                 .box = &r->box,
                                 .id = job->id,
                                 .record = &r->record};
    r->sink = maildir ? maildir_open(&r->mail, &events, r) : program_open(&r->mail, &events, r);
}

// ---- The outside ----

void local_submit(struct locals *locals, struct deliver_job *job)
{
    struct run *r = xcalloc(1, sizeof(*r));
    struct err err = {0};
    r->locals = locals;
    r->job = job;
    buf_init(&r->record, RECORD);
    list_append(&locals->runs, &r->link);
    job->session = r;
    job->reused = job->dsn_passed = false;
    job->started_ms = loop_now_ms(locals->loop);
    if (job->room > 0) {
        finish_local(r, "a maildir or a program has no verdict before it has the mail");
        return;
    }
    // Lines are all that is kept here.
    if (job->envelope->body == BODY_BINARYMIME) {
        struct outcome o = {.class = OUTCOME_REFUSED, .phase = PHASE_MAIL, .enhanced = {5, 6, 1}};
        snprintf(o.text, sizeof(o.text), "binary content (BINARYMIME) cannot be kept in lines");
        finish_with(r, &o);
        return;
    }
    r->body = job->open_body(job, locals->loop, &err);
    if (r->body == NULL)
        finish_local(r, err.text);
    else
        start_rcpt(r);
}

struct locals *locals_new(struct loop *loop)
{
    struct locals *locals = xcalloc(1, sizeof(*locals));
    locals->loop = loop;
    list_init(&locals->runs);
    return locals;
}

void locals_free(struct locals **locals)
{
    struct run *r;
    if (*locals == NULL)
        return;
    while ((r = list_first(&(*locals)->runs, struct run, link)) != NULL)
        finish_local(r, "shutting down");
    xfree(*locals);
    *locals = NULL;
}
