// SPDX-License-Identifier: ISC
// Asking a gateway without sending anything.
#include "deliver/probe.h"

#include "base/list.h"
#include "base/mem.h"
#include "deliver/addresses.h"
#include "deliver/lookup.h"
#include "deliver/sink.h"
#include "deliver/way.h"

#include "sys/worker.h"

#include <stdio.h>

enum { TRANSCRIPT = 16 * 1024, PHASES = PHASE_FINAL + 1 };

struct probes {
    struct loop *loop;
    struct names *names;
    struct link all;
};

struct probing {
    struct link link;
    struct probes *probes;
    struct deliver_probe *p;
    struct mx *mx;
    struct mx_answer answer; // direct only
    size_t host;
    struct dial *dial;
    struct session *session;
    bool in_clear;
    struct outcome last;
    struct buf record;
    struct timer limit;
    // The phase under way, and how long each took on the last connection.
    enum outcome_phase phase;
    int64_t begun_ms, took_ms[PHASES];
};

static void connect_host(struct probing *w);

// ---- What the server said of itself ----

// Its lines stand in the transcript behind "<- ".
static void read_line(struct deliver_probe *p, struct str line)
{
    if (!str_starts(line, STR("<- ")) || line.len < 7)
        return;
    struct str code = str_make(line.ptr + 3, 3), text = str_make(line.ptr + 7, line.len - 7);
    if (str_eq(code, STR("220")) && p->greeting[0] == '\0')
        snprintf(p->greeting, sizeof(p->greeting), "%.*s", (int)str_find(text, ' '), text.ptr);
    else if (str_eq(code, STR("250")))
        p->offered = true;
    if (str_eq(code, STR("250")) && str_istarts(text, STR("STARTTLS")))
        p->offers_tls = true;
    else if (str_eq(code, STR("250")) && str_istarts(text, STR("AUTH")))
        p->offers_auth = true;
}

static void read_record(struct probing *w)
{
    struct str rest = buf_str(&w->record), line;
    w->p->greeting[0] = '\0';
    w->p->offered = w->p->offers_tls = w->p->offers_auth = w->p->verified = false;
    while (str_split(&rest, '\n', &line))
        read_line(w->p, str_trim(line));
}

static void note_address(struct probing *w)
{
    const struct stream *stream = w->session != NULL ? deliver_session_stream(w->session) : NULL;
    struct deliver_probe *p = w->p;
    char peer[NET_ADDR_TEXT] = "";
    const char *tls = "";
    if (stream != NULL) {
        p->address = *stream_peer(stream);
        tls = stream_is_tls(stream) ? stream_tls_text(stream) : "in clear";
        p->offers_tls = p->offers_tls || stream_is_tls(stream);
        p->verified = stream_tls_verified(stream);
    }
    if (p->address.family != NET_NONE)
        net_addr_format(&p->address, peer);
    bool login = w->session != NULL && deliver_session_client(w->session)->logged_in;
    snprintf(p->facts, sizeof(p->facts), "%.60s%s%.40s%s%s", peer, tls[0] != '\0' ? " " : "", tls,
             stream != NULL && stream_tls_verified(stream) ? " verified" : "",
             login ? ", login" : "");
}

// ---- The clock of each phase ----

static void next_phase(struct probing *w, enum outcome_phase phase)
{
    int64_t now = loop_now_ms(w->probes->loop);
    if (w->phase != PHASE_NONE)
        w->took_ms[w->phase] += now - w->begun_ms;
    if (phase != PHASE_NONE && w->took_ms[phase] < 0)
        w->took_ms[phase] = 0;
    w->phase = phase;
    w->begun_ms = now;
}

static void forget_times(struct probing *w)
{
    w->phase = PHASE_NONE;
    for (int i = 0; i < PHASES; i++)
        w->took_ms[i] = -1;
}

static int64_t both(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

// ---- The end ----

static void run_done(struct post *post)
{
    struct deliver_probe *p = (struct deliver_probe *)post;
    p->done(p);
}

static void finish(struct probing *w, const struct outcome *o)
{
    struct deliver_probe *p = w->p;
    next_phase(w, PHASE_NONE);
    p->outcome = *o;
    p->connect_ms = w->took_ms[PHASE_CONNECT];
    p->tls_ms = w->took_ms[PHASE_TLS];
    p->ehlo_ms = both(w->took_ms[PHASE_GREETING], w->took_ms[PHASE_EHLO]);
    p->auth_ms = w->took_ms[PHASE_AUTH];
    read_record(w);
    note_address(w);
    deliver_session_free(&w->session); // its QUIT belongs to the transcript
    p->transcript = w->record;
    p->work = NULL;
    timer_stop(&w->limit);
    dial_free(&w->dial);
    mx_free(&w->mx);
    list_remove(&w->link);
    xfree(w);
    p->post.run = run_done;
    loop_post(p->home, &p->post);
}

static void finish_with(struct probing *w, enum outcome_class class, const char *text)
{
    struct outcome o = {.class = class, .phase = w->phase};
    snprintf(o.text, sizeof(o.text), "%s", text);
    finish(w, &o);
}

static void note_cause(struct probing *w)
{
    if (w->dial == NULL)
        return;
    w->p->names = dial_names(w->dial);
    w->p->code = dial_errno(w->dial);
}

static void on_limit(void *ctx)
{
    struct probing *w = ctx;
    note_cause(w);
    if (w->p->code == 0)
        w->p->code = ETIMEDOUT;
    finish_with(w, OUTCOME_NET, "it took too long to answer");
}

// ---- The dialogue ----

// Another address, another exchanger, or the end.
static void go_on(struct probing *w, const struct outcome *failure)
{
    w->last = *failure;
    note_cause(w);
    if (w->session != NULL)
        w->p->address = (struct net_addr){0};
    deliver_session_free(&w->session);
    // Who refuses our login does so at all addresses.
    if (failure->class == OUTCOME_AUTH || failure->class == OUTCOME_LOCAL) {
        finish(w, failure);
        return;
    }
    if (w->dial != NULL && dial_again(w->dial)) {
        forget_times(w);
        next_phase(w, PHASE_CONNECT);
        return;
    }
    dial_free(&w->dial);
    if (w->host + 1 < w->answer.count) {
        w->host++;
        w->in_clear = false;
        connect_host(w);
        return;
    }
    finish(w, &w->last);
}

static void on_ready(void *ctx)
{
    struct probing *w = ctx;
    struct outcome ok = {.class = OUTCOME_OK};
    snprintf(ok.where, sizeof(ok.where), "%s", deliver_session_where(w->session));
    snprintf(ok.text, sizeof(ok.text), "it answers as it should");
    finish(w, &ok);
}

static void on_over(void *ctx)
{
    struct probing *w = ctx;
    const struct smtp_client *c = deliver_session_client(w->session);
    struct outcome failure = c->failure;
    if (smtp_client_may_go_clear(c)) {
        w->in_clear = true;
        deliver_session_free(&w->session);
        dial_free(&w->dial);
        connect_host(w);
        return;
    }
    go_on(w, &failure);
}

static void on_phase(void *ctx, enum outcome_phase phase)
{
    next_phase(ctx, phase);
}

static const struct session_events events = {on_ready, on_over, on_phase};

static const struct mx_host *host_of(const struct probing *w)
{
    return w->answer.count > 0 ? &w->answer.hosts[w->host] : NULL;
}

static void on_dialed(void *ctx, struct stream *stream, const struct outcome *failure)
{
    struct probing *w = ctx;
    if (stream == NULL) {
        go_on(w, failure);
        return;
    }
    w->p->address = *stream_peer(stream);
    if (w->p->depth == PROBE_TCP) {
        struct outcome ok = {.class = OUTCOME_OK};
        snprintf(ok.text, sizeof(ok.text), "it takes connections");
        stream_close(&stream, false);
        finish(w, &ok);
        return;
    }
    struct session_params params;
    way_params(w->p->conf, w->p->gateway, host_of(w), w->in_clear, &params);
    if (w->p->depth < PROBE_AUTH)
        params.settings.user = NULL;
    w->session = deliver_session_new(w->probes->loop, stream, &params, &w->record, &events, w);
}

static void connect_host(struct probing *w)
{
    struct dial_target target;
    forget_times(w);
    next_phase(w, PHASE_CONNECT);
    way_target(w->p->gateway, host_of(w), w->p->domain, LIMIT_ADDRESSES, &target);
    if (w->p->gateway->kind != GATEWAY_DIRECT || target.socks != NULL)
        target.addresses = deliver_addresses(w->p->deliver);
    w->dial = dial_new(w->probes->loop, w->probes->names, &target, on_dialed, w);
}

static void on_mx(void *ctx, const struct mx_answer *answer)
{
    struct probing *w = ctx;
    if (answer->failure.class != OUTCOME_OK) {
        finish(w, &answer->failure);
        return;
    }
    w->answer = *answer;
    connect_host(w);
}

// ---- What is on this machine ----

// Looked at by a worker, from whom the probe comes home.
struct look {
    struct work work; // first
    struct deliver_probe *p;
    struct err err;
    bool good;
};

static void look(struct work *w)
{
    struct look *l = (struct look *)w;
    const struct conf_gateway *g = l->p->gateway;
    l->good = g->kind == GATEWAY_MAILDIR ? maildir_look(g, &l->err) : program_look(g, &l->err);
}

static void on_looked(struct work *w)
{
    struct look *l = (struct look *)w;
    struct deliver_probe *p = l->p;
    p->outcome = (struct outcome){.class = l->good ? OUTCOME_OK : OUTCOME_BUSY,
                                  .phase = l->good ? PHASE_NONE : PHASE_CONNECT};
    snprintf(p->outcome.where, sizeof(p->outcome.where), "%s", p->gateway->path);
    snprintf(p->outcome.text, sizeof(p->outcome.text), "%s",
             l->good ? "it can take mail" : l->err.text);
    snprintf(p->facts, sizeof(p->facts), "%.190s", p->gateway->path);
    xfree(l);
    p->done(p);
}

static void look_at_local(struct deliver_probe *p)
{
    struct look *l = xcalloc(1, sizeof(*l));
    l->p = p;
    l->work.home = p->home;
    l->work.work = look;
    l->work.done = on_looked;
    p->connect_ms = p->tls_ms = p->ehlo_ms = p->auth_ms = -1;
    buf_init(&p->transcript, TRANSCRIPT);
    worker_submit(&l->work);
}

static void on_submitted(struct post *post)
{
    struct deliver_probe *p = (struct deliver_probe *)post;
    struct probing *w = xcalloc(1, sizeof(*w));
    struct net_addr literal;
    w->probes = deliver_probes(p->deliver);
    w->p = p;
    p->work = w;
    p->address = (struct net_addr){0};
    p->names = NAMES_OK;
    p->code = 0;
    buf_init(&w->record, TRANSCRIPT);
    list_append(&w->probes->all, &w->link);
    timer_init(&w->limit, w->probes->loop, on_limit, w);
    timer_start(&w->limit, p->limit_ms > 0 ? p->limit_ms : LIMIT_PROBE_MS);
    forget_times(w);
    if (p->gateway->kind != GATEWAY_DIRECT) {
        connect_host(w);
    } else if (mx_literal(str_of(p->domain), &literal)) {
        w->answer.count = 1;
        snprintf(w->answer.hosts[0].name, sizeof(w->answer.hosts[0].name), "%s", p->domain);
        connect_host(w);
    } else {
        w->phase = PHASE_RESOLVE;
        w->mx = mx_find(w->probes->loop, w->probes->names, p->domain, NULL, on_mx, w);
    }
}

void deliver_probe(struct deliver *d, struct deliver_probe *p)
{
    p->deliver = d;
    if (conf_gateway_is_local(p->gateway)) {
        look_at_local(p);
        return;
    }
    p->post.run = on_submitted;
    loop_post(deliver_loop(d), &p->post);
}

// ---- Life ----

struct probes *probes_new(struct loop *loop, struct names *names)
{
    struct probes *probes = xcalloc(1, sizeof(*probes));
    probes->loop = loop;
    probes->names = names;
    list_init(&probes->all);
    return probes;
}

void probes_free(struct probes **probes)
{
    struct probing *w;
    if (*probes == NULL)
        return;
    while ((w = list_first(&(*probes)->all, struct probing, link)) != NULL) {
        if (w->session != NULL)
            deliver_session_abort(w->session, "shutting down");
        finish_with(w, OUTCOME_LOCAL, "shutting down");
    }
    xfree(*probes);
    *probes = NULL;
}
