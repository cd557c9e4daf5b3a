// SPDX-License-Identifier: ISC
// One transaction on its way through.
//
// Three parties: the session of the client, which asks (a recipient; the message) and is answered;
// the conductor, which knows the way (queue/pass.h); and a live job of deliver, which talks with
// the next server. Each of them is asked one thing at a time:
//
//   client asks ──> conductor: PASS_WAY, PASS_CONTENT ──GO──> job: begin, more, content
//                        ^                                      │ held, done
//                        └──── PASS_AGAIN: its outcome ─────────┘──> the client's answer
//
// Invariants
//  1. A client's question (`asked`) is answered once, with what the server said, or with 451 and
//  why.
//  2. No 250 for a message before the server's own; after a loss behind the final dot no other way
//     is asked.
//  3. Whoever was told 250 is taken over the way held: when the connection or the gateway changes
//     all of them are asked again, and when one is refused then, the transaction is doomed.
//  4. A relay is freed when its client's transaction is over, no job is under way and the conductor
//     has answered PASS_END.
#include "proxy/proxy.h"

#include "accept/relay.h"
#include "base/mem.h"
#include "proxy/history.h"
#include "queue/pass.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

struct proxy {
    struct loop *loop;
    size_t number;
    struct queue *queue;
    struct deliver *deliver;
    struct accept *accept;
    struct store *store;
    size_t relays;
};

enum asked { ASKED_NOTHING, ASKED_RCPT, ASKED_CONTENT };
enum job_state { JOB_NONE, JOB_TALKS, JOB_HELD, JOB_CUT };

struct relay {
    struct pass pass; // first
    struct deliver_job job;
    struct proxy *proxy;
    struct session *session; // NULL: its transaction is over
    struct arena *arena;     // holds this
    struct envelope envelope;
    size_t accepted; // of its recipients; one more while that one is asked for
    size_t room;
    size_t *slots; // of each of them: where it is in job.rcpts, which has those refused as well
    enum asked asked;
    enum job_state talk;
    bool asking;     // the conductor
    bool behind;     // the job held no more when its turn came: the question is still to be asked
    bool timed_out;  // the job was cut for that
    bool doomed;     // a recipient that was taken is refused now
    bool concluded;  // the end is known: `outcome`
    int64_t late_ms; // loop_now_ms: the client's patience for the present question ends
    struct timer patience;
    struct store_body *body;
    uint64_t size;
    struct outcome outcome;
    struct history history;
    char gateway[64]; // the last that was asked; "" none
    char facts[160];
    struct buf transcript;
};

static void ask_conductor(struct relay *r, enum pass_question question);

// ---- The end ----

static void free_relay(struct relay *r)
{
    struct proxy *p = r->proxy;
    struct arena *arena = r->arena;
    timer_stop(&r->patience);
    if (r->body != NULL)
        store_body_abort(&r->body);
    history_free(&r->history);
    buf_free(&r->transcript);
    arena_free(&arena);
    p->relays--;
    accept_relay_gone(p->accept);
}

static void conclude(struct relay *r)
{
    struct outcome left = {.class = OUTCOME_LOCAL,
                           .text = "its client, which left before the message was complete"};
    history_end(&r->history, r->concluded ? &r->outcome : &left);
    history_write(&r->history, r->proxy->store, r->pass.id, r->size,
                  r->gateway[0] != '\0' ? r->gateway : NULL, r->facts, buf_str(&r->transcript));
    r->pass.outcome = r->concluded ? r->outcome : left;
    bool used = r->outcome.class == OUTCOME_OK || r->outcome.class == OUTCOME_DOUBT;
    r->pass.taken = r->concluded && used ? r->accepted : 0;
    ask_conductor(r, PASS_END);
}

// Nobody waits any more: everything under way ends, then the relay.
static void wind_up(struct relay *r)
{
    atomic_store(&r->pass.gone, true);
    timer_stop(&r->patience);
    if (r->talk == JOB_TALKS || r->talk == JOB_HELD) {
        r->talk = JOB_CUT;
        deliver_cancel(&r->job, "the client has left");
    } else if (r->talk == JOB_NONE && !r->asking) {
        conclude(r);
    }
}

// ---- Answers to the client ----

static void answer(struct relay *r, int verdict, const struct smtp_server_reply *reply)
{
    timer_stop(&r->patience);
    r->asked = ASKED_NOTHING;
    accept_answer(r->session, verdict, reply); // the transaction may be over then
}

// In our own words: come again.
static void answer_later(struct relay *r, const char *enhanced, const char *why)
{
    struct smtp_server_reply reply;
    smtp_server_reply_set(&reply, 451, enhanced, "%s; nothing was kept here, try again later", why);
    log_info("refused", r->pass.id, "%s of <%.*s> at %.*s: %s",
             r->asked == ASKED_RCPT ? "a recipient" : "the message", STR_FMT(r->envelope.sender),
             STR_FMT(r->envelope.listener), why);
    if (r->asked == ASKED_RCPT) {
        struct outcome o = {.class = OUTCOME_BUSY, .scope = SCOPE_GATEWAY, .code = 451};
        snprintf(o.text, sizeof(o.text), "%s", why);
        history_rcpt(&r->history, &r->envelope.rcpts[r->accepted], &o);
        r->envelope.count = r->accepted;
    } else if (!r->concluded) {
        r->concluded = true;
        r->outcome = (struct outcome){.class = OUTCOME_BUSY, .scope = SCOPE_GATEWAY, .code = 451};
        snprintf(r->outcome.text, sizeof(r->outcome.text), "%s", why);
    }
    answer(r, -1, &reply);
}

// What the server said, or what stood in its way before it was asked.
static void fill_refusal(const struct relay *r, const struct outcome *o,
                         struct smtp_server_reply *reply)
{
    const struct smtp_said *said = &r->job.said;
    char text[SMTP_REPLY_TEXT];
    if (said->code >= 400 && said->code == o->code) {
        // 421 would end the client's session, too.
        smtp_server_reply_pass(reply, said->code == 421 ? 451 : said->code, said->text);
        return;
    }
    bool final = o->class == OUTCOME_REFUSED;
    snprintf(text, sizeof(text), "%u.%u.%u %s",
             o->enhanced[0] != 0 ? o->enhanced[0]
             : final             ? 5
                                 : 4,
             o->enhanced[1], o->enhanced[2], o->text);
    smtp_server_reply_pass(reply, final ? 554 : 451, text);
}

static void pass_refusal(struct relay *r, const struct outcome *o)
{
    struct smtp_server_reply reply;
    fill_refusal(r, o, &reply);
    log_info("refused", r->pass.id, "%s of <%.*s> via %s [%s] class %s: %s",
             r->asked == ASKED_RCPT ? "a recipient" : "the message", STR_FMT(r->envelope.sender),
             r->gateway, o->where, outcome_class_name(o->class), o->text);
    if (r->asked == ASKED_RCPT) {
        history_rcpt(&r->history, &r->envelope.rcpts[r->accepted], o);
        r->envelope.count = r->accepted;
    } else {
        r->concluded = true;
        r->outcome = *o;
    }
    answer(r, -1, &reply);
}

static void pass_good(struct relay *r, const struct outcome *o)
{
    struct smtp_server_reply reply;
    smtp_server_reply_pass(&reply, r->job.said.code, r->job.said.text);
    if (r->asked == ASKED_RCPT) {
        history_rcpt(&r->history, &r->envelope.rcpts[r->accepted++], o);
    } else {
        r->concluded = true;
        r->outcome = *o;
        log_info("passed", r->pass.id, "from <%.*s> to %zu recipient%s (<%.*s>%s) via %s [%s]: %s",
                 STR_FMT(r->envelope.sender), r->accepted, r->accepted == 1 ? "" : "s",
                 STR_FMT(r->envelope.rcpts[0].address), r->accepted > 1 ? " ..." : "", r->gateway,
                 o->where, o->text);
    }
    answer(r, 1, r->job.said.code >= 200 && r->job.said.code < 300 ? &reply : NULL);
}

static void pass_doubt(struct relay *r, const struct outcome *o)
{
    r->concluded = true;
    r->outcome = *o;
    log_warn("in-doubt", r->pass.id,
             "the connection to %s [%s] broke after the final dot (%s): it may have the message, "
             "and the client, who was told 451, may send it again",
             r->gateway, o->where, o->text);
    struct smtp_server_reply reply;
    smtp_server_reply_set(&reply, 451, "4.4.2",
                          "in doubt: the connection to the next server broke before its answer; it "
                          "may have the message. If it must not come twice, ask first");
    answer(r, -1, &reply);
}

// ---- The job ----

static struct body_source *open_body(struct deliver_job *job, struct loop *loop, struct err *err)
{
    struct relay *r = container_of(job, struct relay, job);
    return store_body_read(r->body, err);
}

static void ask_again(struct relay *r, const struct outcome *o)
{
    int64_t now = loop_now_ms(r->proxy->loop);
    timer_stop(&r->patience);
    r->pass.outcome = *o;
    r->pass.latency_ms = r->job.finished_ms - r->job.started_ms;
    if (now >= r->late_ms) {
        answer_later(r, "4.4.1", "no way was found in the time a client waits");
        return;
    }
    ask_conductor(r, PASS_AGAIN);
}

// Everything was asked anew elsewhere, and somebody who was told 250 is refused there.
static bool still_taken(struct relay *r)
{
    for (size_t i = 0; i < r->accepted; i++)
        r->doomed = r->doomed || r->job.rcpts[r->slots[i]].outcome.class != OUTCOME_OK;
    return !r->doomed;
}

static const char doom[] =
    "the gateway that took over refuses a recipient that was taken before it; send again";

static void go_on(struct relay *r);
static void begin_job(struct relay *r);

static void on_held(struct deliver_job *job)
{
    struct relay *r = container_of(job, struct relay, job);
    const struct outcome *o = &job->rcpts[job->count - 1].outcome;
    bool behind = r->behind;
    r->talk = JOB_HELD;
    r->behind = false;
    if (r->asked == ASKED_NOTHING)
        return;
    if (!still_taken(r))
        answer_later(r, "4.4.0", doom);
    else if (behind || r->asked == ASKED_CONTENT)
        go_on(r);
    else if (o->class == OUTCOME_OK)
        pass_good(r, o);
    else
        pass_refusal(r, o);
}

static void keep_facts(struct relay *r)
{
    snprintf(r->facts, sizeof(r->facts), "%s", r->job.facts);
    if (r->job.transcript.len > 0) {
        buf_free(&r->transcript);
        r->transcript = r->job.transcript;
        buf_init(&r->job.transcript, 0);
    }
    buf_free(&r->job.transcript);
}

// The client left while the server had the message, or was about to answer.
static void note_late_end(struct relay *r, const struct outcome *o)
{
    bool doubt = o->class == OUTCOME_DOUBT;
    if (r->concluded || r->body == NULL || (!doubt && o->class != OUTCOME_OK))
        return;
    r->concluded = true;
    r->outcome = *o;
    log_warn("in-doubt", r->pass.id, "the client left before %s answered: %s", r->gateway,
             doubt ? "it may have the message" : "it has the message");
}

static void on_done(struct deliver_job *job)
{
    struct relay *r = container_of(job, struct relay, job);
    r->talk = JOB_NONE;
    keep_facts(r);
    if (r->session == NULL) {
        note_late_end(r, &job->rcpts[0].outcome);
        if (!r->asking)
            conclude(r);
        return;
    }
    if (r->asked == ASKED_NOTHING || r->asking)
        return; // lost while the client was thinking: made anew when it goes on
    if (r->behind) {
        r->behind = false;
        begin_job(r);
        return;
    }
    struct outcome *o = &job->rcpts[r->asked == ASKED_CONTENT ? 0 : job->count - 1].outcome;
    if (o->class == OUTCOME_LOCAL && r->timed_out) {
        o->class = OUTCOME_NET;
        o->scope = SCOPE_GATEWAY;
    }
    r->timed_out = false;
    if (r->asked == ASKED_CONTENT && o->class == OUTCOME_OK)
        pass_good(r, o);
    else if (o->class == OUTCOME_DOUBT)
        pass_doubt(r, o);
    else
        ask_again(r, o);
}

static void on_patience(void *ctx)
{
    struct relay *r = ctx;
    if (r->talk != JOB_TALKS)
        return;
    r->behind = false; // it is over with this way
    r->timed_out = true;
    deliver_cancel(&r->job, "no answer in the time a client waits");
}

static void wait_for_job(struct relay *r)
{
    int64_t left = r->late_ms - loop_now_ms(r->proxy->loop);
    bool rcpt = r->asked == ASKED_RCPT;
    r->talk = JOB_TALKS;
    timer_start(&r->patience, rcpt && left > LIMIT_PASS_WAY_MS ? LIMIT_PASS_WAY_MS : left);
}

static void begin_job(struct relay *r)
{
    struct deliver_job *job = &r->job;
    size_t count = r->envelope.count;
    struct deliver_rcpt *rcpts = job->rcpts;
    if (rcpts == NULL) {
        rcpts = arena_alloc(r->arena, r->room * sizeof(*rcpts));
        r->slots = arena_alloc(r->arena, r->room * sizeof(*r->slots));
    }
    *job = (struct deliver_job){.done = on_done,
                                .held = on_held,
                                .conf = r->pass.conf,
                                .gateway = r->pass.gateway,
                                .domain = r->pass.domain,
                                .id = r->pass.id,
                                .envelope = &r->envelope,
                                .rcpts = rcpts,
                                .count = count,
                                .room = r->room,
                                .announced = r->pass.size,
                                .want_transcript =
                                    r->pass.conf->log_transcripts == CONF_TRANSCRIPTS_ALL,
                                .open_body = open_body};
    for (size_t i = 0; i < count; i++) {
        rcpts[i] = (struct deliver_rcpt){.rcpt = r->envelope.rcpts[i]};
        r->slots[i] = i;
    }
    snprintf(r->gateway, sizeof(r->gateway), "%s", r->pass.gateway->name);
    wait_for_job(r);
    deliver_begin(r->proxy->deliver, job);
}

// One more over the connection that holds, or all of them over a new one.
static void go_on(struct relay *r)
{
    struct deliver_job *job = &r->job;
    if (r->talk == JOB_NONE) {
        begin_job(r);
        return;
    }
    assert(r->talk == JOB_HELD);
    if (!deliver_holds(job)) {
        r->behind = true;
        wait_for_job(r);
        return;
    }
    if (r->asked == ASKED_CONTENT) {
        wait_for_job(r);
        deliver_content(job);
        return;
    }
    if (job->count < job->room) {
        job->rcpts[job->count] = (struct deliver_rcpt){.rcpt = r->envelope.rcpts[r->accepted]};
        r->slots[r->accepted] = job->count;
        wait_for_job(r);
        if (deliver_more(job))
            return;
        r->talk = JOB_HELD;
    }
    answer_later(r, "4.5.3", "the next server takes no more recipients in one transaction");
}

// ---- The conductor ----

static void forget_way(struct relay *r)
{
    history_note(&r->history, r->gateway, r->pass.outcome.text);
    log_info("next-way", r->pass.id, "%s: %s", r->gateway, r->pass.outcome.text);
}

static void on_answered(struct pass *pass)
{
    struct relay *r = (struct relay *)pass;
    r->asking = false;
    if (pass->question == PASS_END) {
        free_relay(r);
        return;
    }
    if (r->session == NULL) {
        if (r->talk == JOB_NONE)
            conclude(r);
        return;
    }
    if (r->doomed) {
        answer_later(r, "4.4.0", doom);
        return;
    }
    switch (pass->answer) {
    case PASS_GO:
        if (pass->question == PASS_AGAIN)
            forget_way(r);
        go_on(r);
        break;
    case PASS_VERDICT: pass_refusal(r, &pass->outcome); break;
    case PASS_APART:
        answer_later(r, "4.5.3",
                     "this recipient goes by another gateway than those before: one way at a time, "
                     "send to it again in a separate transaction");
        break;
    case PASS_NONE: answer_later(r, "4.4.0", pass->why); break;
    }
}

static void ask_conductor(struct relay *r, enum pass_question question)
{
    assert(!r->asking);
    r->asking = true;
    r->pass.question = question;
    queue_pass_ask(&r->pass);
}

// ---- The client ----

static struct relay *relay_begin(void *ctx, const struct relay_mail *mail)
{
    struct proxy *p = ctx;
    const struct envelope *e = mail->envelope;
    struct arena *arena = arena_new();
    struct relay *r = arena_alloc(arena, sizeof(*r));
    r->arena = arena;
    r->proxy = p;
    r->session = mail->session;
    r->room = mail->recipients;
    r->envelope = (struct envelope){.sender = arena_dup(arena, e->sender),
                                    // What comes is not known yet; whoever can take it may.
                                    .body = e->body == BODY_7BIT ? BODY_8BITMIME : e->body,
                                    .priority = e->priority,
                                    .smtputf8 = e->smtputf8,
                                    .client = arena_dup(arena, e->client),
                                    .helo = arena_dup(arena, e->helo),
                                    .user = arena_dup(arena, e->user),
                                    .listener = arena_dup(arena, e->listener)};
    history_init(&r->history, arena, &r->envelope);
    timer_init(&r->patience, p->loop, on_patience, r);
    r->pass.queue = p->queue;
    r->pass.home = p->loop;
    r->pass.loop = p->number;
    r->pass.answered = on_answered;
    r->pass.id = mail->id;
    r->pass.envelope = &r->envelope;
    r->pass.size = mail->size;
    p->relays++;
    return r;
}

static void relay_rcpt(struct relay *r, const struct envelope_rcpt *rcpt)
{
    assert(r->asked == ASKED_NOTHING);
    *envelope_add(&r->envelope, r->arena) =
        (struct envelope_rcpt){.address = arena_dup(r->arena, rcpt->address)};
    r->asked = ASKED_RCPT;
    r->late_ms = loop_now_ms(r->proxy->loop) + LIMIT_PASS_RCPT_MS;
    ask_conductor(r, PASS_WAY);
}

static void on_body_ready(void *ctx)
{
    struct relay *r = ctx;
    if (r->session != NULL)
        ask_conductor(r, PASS_CONTENT);
}

static void relay_content(struct relay *r, const struct envelope *envelope, struct store_body *body)
{
    assert(r->asked == ASKED_NOTHING);
    r->body = body;
    r->size = r->pass.size = store_body_size(body);
    r->history.envelope.subject = arena_dup(r->arena, envelope->subject);
    r->asked = ASKED_CONTENT;
    r->late_ms = loop_now_ms(r->proxy->loop) + LIMIT_PASS_FINAL_MS;
    if (store_body_end(body, on_body_ready, r) == 1)
        ask_conductor(r, PASS_CONTENT);
}

static void relay_end(struct relay *r)
{
    r->session = NULL;
    wind_up(r);
}

static const struct relay_ops ops = {relay_begin, relay_rcpt, relay_content, relay_end};

// ---- Life ----

struct proxy *proxy_new(struct loop *loop, size_t number, struct queue *queue,
                        struct deliver *deliver, struct accept *accept)
{
    struct proxy *p = xcalloc(1, sizeof(*p));
    *p = (struct proxy){
        .loop = loop, .number = number, .queue = queue, .deliver = deliver, .accept = accept};
    accept_set_relay(accept, &ops, p);
    return p;
}

void proxy_set_store(struct proxy *p, struct store *store)
{
    p->store = store;
}

void proxy_free(struct proxy **proxy)
{
    if (*proxy == NULL)
        return;
    assert((*proxy)->relays == 0);
    xfree(*proxy);
    *proxy = NULL;
}
