// SPDX-License-Identifier: ISC
// Trying a gateway: a probe without mail, or a real message that goes nowhere near the queue.
#include "queue/quota.h"

#include "base/mem.h"
#include "base/timefmt.h"
#include "deliver/probe.h"
#include "sys/clock.h"
#include "sys/host.h"
#include "sys/log.h"

#include <stdio.h>

struct memory_body {
    struct body_source source; // first
};

struct trial_run {
    struct queue *q;
    struct queue_trial *t;
    struct conf *conf;
    const struct conf_gateway *gateway;
    struct arena *arena; // holds this
    struct deliver_probe probe;
    struct deliver_job job;
    struct envelope envelope;
    struct deliver_rcpt rcpt;
    struct memory_body body;
    struct quota_charge charge;
    size_t loop; // where it is sent
};

// ---- In plain words ----

struct advice {
    enum outcome_class class;
    enum outcome_phase phase; // PHASE_NONE: any
    const char *text;         // a glob over the reply, NULL: any
    const char *words;
};

// First match wins.
static const struct advice advices[] = {
    {OUTCOME_AUTH, PHASE_NONE, "*application-specific*",
     "the login was refused: Google wants an app password here; make one at "
     "myaccount.google.com/apppasswords and put it in place of the password"},
    {OUTCOME_AUTH, PHASE_NONE, "*google*",
     "the login was refused: check user and password; with Google an app password is needed"},
    {OUTCOME_AUTH, PHASE_NONE, "*basic authentication is disabled*",
     "the login was refused: this provider no longer takes passwords for SMTP; an administrator "
     "must allow SMTP AUTH for the mailbox"},
    {OUTCOME_AUTH, PHASE_AUTH, NULL,
     "the login was refused: check user and password; some providers want an app password or that "
     "SMTP is switched on in the account"},
    {OUTCOME_AUTH, PHASE_MAIL, NULL,
     "the login is good, but this account may not send with that sender address: choose one that "
     "belongs to the account, or bind the gateway to its senders"},
    {OUTCOME_AUTH, PHASE_NONE, NULL,
     "the server wants a login, or does not relay for us: set user and password of the gateway"},
    {OUTCOME_NO_RECORD, PHASE_NONE, NULL,
     "DNS knows no address of the server: check the spelling of its name in `url`; a name that is "
     "known inside of one network only belongs into `networks` of the gateway"},
    {OUTCOME_DNS, PHASE_NONE, NULL,
     "the name of the server cannot be resolved: check its spelling, and whether DNS works here"},
    {OUTCOME_OFFLINE, PHASE_NONE, NULL,
     "no network, or no route from here to that server: nothing was tried"},
    {OUTCOME_NET, PHASE_CONNECT, "*refused*",
     "nobody listens on that port, or a firewall refuses it: check host and port (587 with "
     "STARTTLS, 465 with TLS, 25 between servers)"},
    {OUTCOME_NET, PHASE_CONNECT, "*no answer*",
     "there is no answer at all: the port is probably filtered; many providers block port 25, so "
     "try 587 or 465"},
    {OUTCOME_NET, PHASE_CONNECT, NULL,
     "the server cannot be reached from here: check host, port, firewall and route"},
    {OUTCOME_NET, PHASE_GREETING, NULL,
     "the connection stands, but nobody says hello: a port with TLS from the first byte (465) "
     "asked "
     "in clear, or a filter in between"},
    {OUTCOME_NET, PHASE_NONE, NULL,
     "the connection broke: try again; if it stays so, ask the "
     "provider"},
    {OUTCOME_TLS, PHASE_NONE, "*certificate*",
     "the certificate is not right for this host: check the host name of the gateway; for one that "
     "is self-signed, or of your own authority, name its file in `ca`"},
    {OUTCOME_TLS, PHASE_NONE, NULL,
     "no safe encryption comes about: check `tls` of the gateway (implicit on 465, required with "
     "STARTTLS on 587), and whether something in between takes it away"},
    {OUTCOME_QUOTA, PHASE_NONE, NULL,
     "it works, but the allowance of the account is used up for now: wait, or use another gateway"},
    {OUTCOME_REPUTATION, PHASE_NONE, NULL,
     "our address is not welcome there: send through a gateway with a login instead, or have the "
     "address taken off the list the reply names"},
    {OUTCOME_BUSY, PHASE_CONNECT, NULL,
     "what it is on this machine cannot be used as it is: see what is said of it"},
    {OUTCOME_BUSY, PHASE_NONE, NULL, "the server asks to come again later: it works, but not now"},
    {OUTCOME_REFUSED, PHASE_RCPT, NULL,
     "the server refuses this recipient: check the address; if it is right, the account may not "
     "send there"},
    {OUTCOME_REFUSED, PHASE_NONE, NULL, "the server refuses it: its reply says why"},
    {OUTCOME_DOUBT, PHASE_NONE, NULL,
     "the connection broke after the message was given: look whether it arrived"},
    {OUTCOME_LOCAL, PHASE_NONE, NULL, "nothing was tried: see the log of this machine"},
};

static const char *advise(const struct outcome *o)
{
    for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        const struct advice *a = &advices[i];
        if (a->class == o->class && (a->phase == PHASE_NONE || a->phase == o->phase) &&
            (a->text == NULL || str_glob(str_of(a->text), str_of(o->text))))
            return a->words;
    }
    return "it did not work; the reply says why";
}

static const char *verdict_of(const struct trial_run *r)
{
    const struct outcome *o = &r->t->outcome;
    if (o->class != OUTCOME_OK)
        return advise(o);
    if (r->t->rcpt.len == 0 && conf_gateway_is_local(r->gateway))
        return "it is there and can take mail";
    if (r->t->rcpt.len == 0)
        return r->t->depth == PROBE_AUTH && r->gateway->user != NULL
                   ? "it answers and takes our login"
               : r->t->depth == PROBE_TCP ? "it takes connections; no word was exchanged"
                                          : "it answers as it should";
    return o->relayed ? "it took the message and will see to it; whether it arrives, the mailbox "
                        "shows"
                      : "it took the message";
}

// ---- The end ----

static void finish(struct trial_run *r)
{
    struct queue_trial *t = r->t;
    char code[16] = "";
    judge_classify(&t->outcome, r->conf, r->gateway);
    t->verdict = arena_strdup(t->arena, verdict_of(r));
    if (t->outcome.code != 0)
        snprintf(code, sizeof(code), "%u ", t->outcome.code);
    log_info("trial", 0, "%s %s: %s (%s%s)", r->gateway->name,
             t->rcpt.len > 0 ? "was given a test message" : "was probed", t->verdict, code,
             t->outcome.text);
    conf_unref(&r->conf);
    struct arena *arena = r->arena;
    arena_free(&arena);
    t->done(t);
}

static void on_probed(struct deliver_probe *p)
{
    struct trial_run *r = p->ctx;
    struct queue_trial *t = r->t;
    t->outcome = p->outcome;
    t->transcript = p->transcript;
    char phases[80];
    int len = 0;
    static const char *const names[] = {"connection", "TLS", "EHLO", "login"};
    const int64_t times[] = {p->connect_ms, p->tls_ms, p->ehlo_ms, p->auth_ms};
    phases[0] = '\0';
    for (size_t i = 0; i < 4; i++)
        if (times[i] >= 0 && len >= 0 && (size_t)len < sizeof(phases))
            len += snprintf(phases + len, sizeof(phases) - (size_t)len, ", %s %lld ms", names[i],
                            (long long)times[i]);
    snprintf(t->facts, sizeof(t->facts), "%.119s%.79s", p->facts, phases);
    finish(r);
}

static void on_sent(struct deliver_job *job)
{
    struct trial_run *r = job->ctx;
    struct queue_trial *t = r->t;
    struct lane *lane = lane_find(r->q, r->gateway->name, str_of(job->domain));
    if (lane != NULL)
        connections_told(r->q, lane, r->loop, job->open);
    enum outcome_class class = job->rcpts[0].outcome.class;
    queue_now(r->q);
    quota_settle(r->q, &r->charge, class == OUTCOME_OK || class == OUTCOME_DOUBT);
    t->outcome = job->rcpts[0].outcome;
    t->transcript = job->transcript;
    snprintf(t->facts, sizeof(t->facts), "%s", job->facts);
    finish(r);
}

// ---- The message ----

static void release_body(struct body_source *source)
{
}

static const struct body_ops memory_ops = {.release = release_body};

static struct body_source *open_body(struct deliver_job *job, struct loop *loop, struct err *err)
{
    return &((struct trial_run *)job->ctx)->body.source;
}

static struct str write_message(struct trial_run *r)
{
    char date[TIME_TEXT];
    int64_t now = clock_wall_ms();
    const char *host = r->conf->hostname, *gateway = r->gateway->name;
    time_rfc5322(now, clock_utc_offset_minutes(now), date);
    char *text = arena_printf(
        r->arena,
        "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: Test of the gateway %s\r\nDate: %s\r\n"
        "Message-ID: <test.%llx@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        "This message only shows that a way for mail works.\r\n\r\n"
        "It was sent by Waypost on %s through the gateway \"%s\",\r\n"
        "because somebody asked for it there on %s.\r\n"
        "Nothing needs to be done; it can be deleted.\r\n",
        STR_FMT(r->envelope.sender), STR_FMT(r->rcpt.rcpt.address), gateway, date,
        (unsigned long long)random_u64(), host, host, gateway, date);
    return str_of(text);
}

static size_t some_loop(struct queue *q)
{
    return q->next_loop++ % q->parts.loop_count;
}

static void send_message(struct trial_run *r)
{
    struct queue_trial *t = r->t;
    r->envelope = (struct envelope){
        .sender = t->sender.len > 0
                      ? arena_dup(r->arena, t->sender)
                      : str_of(r->conf->postmaster != NULL
                                   ? r->conf->postmaster
                                   : arena_printf(r->arena, "postmaster@%s", r->conf->hostname)),
        .accepted_ms = clock_wall_ms(),
        .client = STR("local"),
        .count = 1};
    r->rcpt.rcpt.address = arena_dup(r->arena, t->rcpt);
    r->envelope.rcpts = &r->rcpt.rcpt;
    struct str text = write_message(r);
    r->body.source = (struct body_source){.ops = &memory_ops, .size = text.len, .whole = text};
    bool direct = r->gateway->kind == GATEWAY_DIRECT;
    r->job =
        (struct deliver_job){.home = r->q->parts.loop,
                             .done = on_sent,
                             .ctx = r,
                             .conf = r->conf,
                             .gateway = r->gateway,
                             .domain = direct ? arena_str(r->arena, envelope_domain(t->rcpt)) : "",
                             .envelope = &r->envelope,
                             .rcpts = &r->rcpt,
                             .count = 1,
                             .open_body = open_body,
                             .want_transcript = true};
    struct lane *lane = lane_find(r->q, r->gateway->name, str_of(r->job.domain));
    r->loop = lane != NULL ? lane_loop(r->q, lane) : some_loop(r->q);
    deliver_submit(r->q->parts.delivers[r->loop], &r->job);
}

static bool begin_message(struct trial_run *r, struct err *err);

static void on_lease(void *ctx, bool ok)
{
    struct trial_run *r = ctx;
    struct err err = {0};
    if (!ok)
        err_set(&err, "what is left of the allowance could not be written to disk; see the log");
    else if (r->q->stopping)
        err_set(&err, "the daemon is ending; nothing was tried");
    else if (begin_message(r, &err))
        return;
    r->t->outcome = (struct outcome){.class = OUTCOME_LOCAL};
    snprintf(r->t->outcome.text, sizeof(r->t->outcome.text), "%.400s", err.text);
    finish(r);
}

// What is tried by hand may use the reserve. A lease that is not on disk yet is waited for.
static bool begin_message(struct trial_run *r, struct err *err)
{
    size_t one = 1;
    const char *name = r->gateway->name;
    // The configuration may be another one since the trial was asked for.
    const struct conf_gateway *now = conf_gateway_find(r->q->conf, str_of(name));
    if (now == NULL) {
        err_set(err, "there is no gateway named %s any more", name);
        return false;
    }
    queue_now(r->q);
    switch (quota_charge(r->q, now->index, PRIORITY_URGENT, 1024, &one, &r->charge)) {
    case QUOTA_GO: send_message(r); return true;
    case QUOTA_LATER:
        if (quota_when(r->q, now->index, on_lease, r))
            return true;
        err_set(err,
                "what is left of the allowance of %s could not be written to disk a moment ago; "
                "see the log",
                name);
        return false;
    default:
        err_set(err, "the allowance of %s is used up; `waypost gateway show %s` says until when",
                name, name);
    }
    return false;
}

bool queue_try(struct queue *q, struct queue_trial *t, struct err *err)
{
    const struct conf_gateway *g = conf_gateway_find(q->conf, str_of(t->gateway));
    if (g == NULL || !q->started || q->stopping) {
        if (g == NULL)
            err_set(err, "there is no gateway named %s", t->gateway);
        else
            err_set(err, "the daemon is starting or ending; nothing was tried");
        return false;
    }
    if (g->kind == GATEWAY_DIRECT && t->rcpt.len == 0) {
        err_set(err, "%s has no server of its own: name a recipient with --to ADDRESS", g->name);
        return false;
    }
    struct arena *arena = arena_new();
    struct trial_run *r = arena_alloc(arena, sizeof(*r));
    r->q = q;
    r->t = t;
    r->arena = arena;
    r->conf = conf_ref(q->conf);
    r->gateway = g;
    if (t->rcpt.len > 0) {
        if (begin_message(r, err))
            return true;
        conf_unref(&r->conf);
        arena_free(&arena);
        return false;
    }
    r->probe = (struct deliver_probe){.home = q->parts.loop,
                                      .done = on_probed,
                                      .ctx = r,
                                      .conf = r->conf,
                                      .gateway = g,
                                      .depth = t->depth,
                                      .domain = ""};
    deliver_probe(q->parts.delivers[some_loop(q)], &r->probe);
    return true;
}
