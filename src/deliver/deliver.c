// SPDX-License-Identifier: ISC
// Jobs on their way: where to, over which connection, and how often it may be tried again here.
//
// An attempt goes through  pool -> (MX) -> dial -> session -> transactions -> pool.  Back to the
// next address or the next MX it goes only while nothing is certain about the recipients in
// question: `elsewhere` says when. Outcomes of recipients are final once they leave `rcpts`.
//
//   rcpts:  [0, kept)      tried here in vain, for the next host
//           [kept, at)     room
//           [at, count)    not tried yet on this connection; the first `batch` are under way
#include "deliver/deliver.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "deliver/dial.h"
#include "deliver/local.h"
#include "deliver/lookup.h"
#include "deliver/mx.h"
#include "deliver/pool.h"
#include "deliver/probe.h"
#include "deliver/way.h"
#include "sys/clock.h"
#include "sys/host.h"

#include <assert.h>
#include <stdio.h>

enum {
    TRANSCRIPT = 16 * 1024,
    SHY_MOST = 4096, // then all are forgotten
};

struct deliver {
    struct loop *loop;
    struct names *names;
    struct pool *pool;
    struct lookups *lookups;
    struct addresses *addresses;
    struct probes *probes;
    struct locals *locals;
    struct link attempts;
    unsigned generation; // of connections: older ones are not kept
    struct buf key, name;
    struct loop *watcher; // NULL: nobody asks
    void (*watch)(const struct deliver_report *r);
    void *watch_ctx;
    struct buf spare; // the transcript nobody wanted, for the next attempt
    char *slice;
    // Servers that went away over a body sent in one flight. For them the next is sent the old way,
    // whose every step has its answer; else they would be in doubt for ever. Key: where; value: its
    // text.
    struct map *shy;
};

struct attempt {
    struct link link;
    struct deliver *d;
    struct deliver_job *job;
    struct body_source *body;
    struct session *session;
    struct pool_way *way;
    struct mx *mx;
    struct dial *dial;
    struct mx_host *hosts; // direct only
    size_t host_count, host;
    size_t tried; // addresses, of the hosts before
    bool in_clear, again;
    bool waiting; // for a connection that is being closed
    unsigned generation;
    struct outcome last; // of the last connection that came to nothing
    struct buf record;
    struct smtp_client_mail mail;
    bool holding; // a live job's transaction waits for its owner
    size_t kept, at, batch, count;
    struct smtp_client_rcpt rcpts[];
};

static void start(struct attempt *a);
static void connect_host(struct attempt *a);

// --- connections that may be used again ---

static void add_text(struct buf *b, const char *text)
{
    buf_puts(b, text != NULL ? text : "");
    buf_putc(b, '\0');
}

static void add_way(struct buf *key, const struct conf_gateway *g)
{
    const struct conf_socks *socks = g->socks;
    for (size_t i = 0; i < g->pinned_count; i++)
        buf_append(key, g->pinned[i].bytes, sizeof(g->pinned[i].bytes));
    if (socks == NULL)
        return;
    add_text(key, socks->host);
    buf_put_u16(key, socks->port);
    add_text(key, socks->user);
    const char *password = socks->password != NULL ? socks->password : "";
    buf_put_u64(key, map_hash(password, strlen(password)));
}

// Everything that makes a difference on the wire, so that a new configuration never finds an old
// connection that does not suit it.
static struct str key_of(const struct attempt *a)
{
    const struct conf_gateway *g = a->job->gateway;
    struct buf *key = &a->d->key;
    buf_clear(key);
    add_text(key, g->name);
    add_text(key, g->host);
    add_text(key, g->unix_path);
    add_text(key, g->ca_file);
    add_text(key, g->user);
    add_text(key, g->helo != NULL ? g->helo : a->job->conf->hostname);
    add_text(key, g->kind == GATEWAY_DIRECT ? a->job->domain : "");
    buf_put_u64(key, g->password != NULL ? map_hash(g->password, strlen(g->password)) : 0);
    buf_put_u8(key, (uint8_t)g->kind);
    buf_put_u8(key, (uint8_t)g->tls);
    buf_put_u8(key, (uint8_t)(g->verify | g->auth_in_clear << 1));
    buf_put_u16(key, g->kind == GATEWAY_DIRECT ? g->direct_port : g->port);
    buf_put_u8(key, (uint8_t)g->source.family);
    buf_append(key, g->source.bytes, sizeof(g->source.bytes));
    add_text(key, g->interface);
    add_way(key, g);
    assert(!key->full);
    return buf_str(key);
}

static struct str name_of(struct deliver *d, const char *gateway, const char *domain)
{
    buf_clear(&d->name);
    add_text(&d->name, gateway);
    for (const char *at = domain; *at != '\0'; at++)
        buf_putc(&d->name, ascii_lower(*at));
    return buf_str(&d->name);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a == 0 ? b : b == 0 ? a : a < b ? a : b;
}

static bool may_send_more(const struct attempt *a)
{
    uint32_t most = least(a->job->gateway->per_connection, LIMIT_OUT_PER_CONNECTION);
    most = least(most, deliver_session_client(a->session)->ehlo.mail_max);
    return deliver_session_sent(a->session) < most;
}

// From an address that is not ours any more: nothing will ever arrive.
static bool is_stranded(const struct attempt *a)
{
    const struct stream *stream = deliver_session_stream(a->session);
    return stream != NULL && stream_peer(stream)->family != NET_UNIX &&
           !host_owns(stream_local(stream));
}

static void put_away(struct attempt *a)
{
    if (a->session == NULL)
        return;
    uint32_t most = least(a->job->gateway->connections, LIMIT_OUT_PER_GATEWAY);
    bool idle = deliver_session_stream(a->session) != NULL &&
                smtp_client_need(deliver_session_client(a->session)) == SMTP_CLIENT_IDLE;
    if (idle && a->generation == a->d->generation && may_send_more(a))
        pool_put(a->way, key_of(a), most, a->session);
    else if (idle && !is_stranded(a))
        pool_part(a->way, a->session);
    else
        deliver_session_free(&a->session);
    a->session = NULL;
}

// --- the end ---

static void run_done(struct post *post)
{
    struct deliver_job *job = (struct deliver_job *)post;
    job->done(job);
}

static void tell_facts(struct attempt *a)
{
    struct deliver_job *job = a->job;
    const struct stream *stream = a->session != NULL ? deliver_session_stream(a->session) : NULL;
    char peer[NET_ADDR_TEXT] = "";
    const char *tls = "", *verified = "", *login = "";
    if (a->session != NULL)
        snprintf(peer, sizeof(peer), "%s", deliver_session_where(a->session));
    if (stream != NULL) {
        net_addr_format(stream_peer(stream), peer);
        tls = stream_is_tls(stream) ? stream_tls_text(stream) : "in clear";
        verified = stream_tls_verified(stream) ? " verified" : "";
        login = deliver_session_client(a->session)->logged_in ? ", login" : "";
    }
    char span[TIME_TEXT], old[80] = "";
    if (a->dial != NULL && dial_stale_ms(a->dial) > 0)
        snprintf(old, sizeof(old), " (address of %s ago, DNS is silent)",
                 time_span(dial_stale_ms(a->dial), span));
    const char *proxy = job->gateway->socks != NULL && peer[0] != '\0' ? "SOCKS proxy " : "";
    snprintf(job->facts, sizeof(job->facts), "%s%.60s%s%s%.40s%s%s%s%zu rcpt, %lld ms", proxy, peer,
             old, tls[0] != '\0' ? " " : "", tls, verified, login, peer[0] != '\0' ? ", " : "",
             job->count, (long long)(job->finished_ms - job->started_ms));
}

static void give_transcript(struct attempt *a)
{
    bool wanted = a->job->want_transcript;
    for (size_t i = 0; i < a->job->count; i++)
        wanted = wanted || a->job->rcpts[i].outcome.class != OUTCOME_OK;
    if (wanted) {
        buf_free(&a->job->transcript);
        a->job->transcript = a->record;
    } else if (a->d->spare.data == NULL) {
        a->d->spare = a->record;
        buf_clear(&a->d->spare);
    } else {
        buf_free(&a->record);
    }
}

static void release_body(struct attempt *a)
{
    if (a->body != NULL)
        a->body->ops->release(a->body);
    a->body = NULL;
}

// All recipients have their outcome.
static void finish(struct attempt *a)
{
    struct deliver_job *job = a->job;
    job->finished_ms = loop_now_ms(a->d->loop);
    job->session = NULL;
    tell_facts(a);
    put_away(a);
    if (a->waiting)
        pool_give_up(a->way);
    job->open = pool_leave(a->way);
    give_transcript(a);
    release_body(a);
    mx_free(&a->mx);
    dial_free(&a->dial);
    xfree(a->hosts);
    list_remove(&a->link);
    xfree(a);
    job->post.run = run_done;
    loop_post(job->home, &job->post);
}

// Those not tried yet get this; those tried before keep what they got there.
static void finish_with(struct attempt *a, const struct outcome *o)
{
    for (size_t i = a->at; i < a->count; i++)
        *a->rcpts[i].outcome = *o;
    finish(a);
}

static void finish_local(struct attempt *a, const char *why)
{
    struct outcome o = {.class = OUTCOME_LOCAL};
    snprintf(o.text, sizeof(o.text), "%s", why);
    finish_with(a, &o);
}

// --- where to go on ---

// Is this the trouble of one host, so that the next may do better, and is it certain that nothing
// was accepted?
static bool elsewhere(const struct attempt *a, const struct outcome *o)
{
    bool direct = a->job->gateway->kind == GATEWAY_DIRECT;
    switch (o->class) {
    case OUTCOME_NET:
    case OUTCOME_OFFLINE: return true; // another host may be of the family that has a route
    case OUTCOME_TLS: return direct;
    case OUTCOME_BUSY:
        return o->phase < PHASE_MAIL || (direct && (o->phase == PHASE_MAIL || o->code == 421));
    case OUTCOME_REFUSED: return o->phase == PHASE_GREETING || o->phase == PHASE_EHLO;
    default: return false;
    }
}

// Takes the batch that came back out of the way; what may be tried elsewhere is kept.
static void sort_batch(struct attempt *a)
{
    for (size_t i = a->at; i < a->at + a->batch; i++)
        if (elsewhere(a, a->rcpts[i].outcome))
            a->rcpts[a->kept++] = a->rcpts[i];
    a->at += a->batch;
    a->batch = 0;
}

// All that is left is to be tried on another connection.
static void rewind_rcpts(struct attempt *a)
{
    size_t left = a->count - a->at;
    memmove(a->rcpts + a->kept, a->rcpts + a->at, left * sizeof(a->rcpts[0]));
    a->count = a->kept + left;
    a->at = a->kept = a->batch = 0;
}

// Another address or host. False: there is none.
static bool go_on(struct attempt *a)
{
    deliver_session_free(&a->session);
    if (a->dial != NULL && dial_again(a->dial)) {
        rewind_rcpts(a);
        return true;
    }
    a->tried += a->dial != NULL ? dial_tried(a->dial) : 0;
    if (a->host + 1 >= a->host_count || a->tried >= LIMIT_ADDRESSES)
        return false;
    dial_free(&a->dial);
    a->host++;
    a->in_clear = false;
    rewind_rcpts(a);
    connect_host(a);
    return true;
}

// What a connection that came to nothing says about all, should no other do. That a host has no
// address says less than what another answered.
static void remember(struct attempt *a, const struct outcome *o)
{
    bool lookup = o->phase == PHASE_RESOLVE;
    bool weak = a->last.class == OUTCOME_OK ||
                (a->last.phase == PHASE_RESOLVE &&
                 (a->last.class == OUTCOME_REFUSED || a->last.class == OUTCOME_NO_RECORD));
    if (!lookup || weak)
        a->last = *o;
}

// --- servers that cannot take a body in one flight ---

static void forget_shy(struct deliver *d)
{
    size_t pos = 0;
    for (char *text; (text = map_next(d->shy, &pos)) != NULL; xfree(text))
        map_del(d->shy, str_of(text));
}

static void note_shy(struct attempt *a)
{
    const char *where = deliver_session_where(a->session);
    if (map_get(a->d->shy, str_of(where)) != NULL)
        return;
    if (map_count(a->d->shy) >= SHY_MOST)
        forget_shy(a->d);
    char *text = xstrdup(where);
    map_put(a->d->shy, str_of(text), text);
}

static bool is_shy(const struct attempt *a)
{
    return map_count(a->d->shy) > 0 &&
           map_get(a->d->shy, str_of(deliver_session_where(a->session))) != NULL;
}

// --- transactions ---

static bool fetch_body(struct attempt *a, struct err *err)
{
    if (a->body == NULL)
        a->body = a->job->open_body(a->job, a->d->loop, err);
    return a->body != NULL;
}

static uint32_t most_rcpts(const struct attempt *a)
{
    uint32_t most =
        least(a->job->gateway->recipients, deliver_session_client(a->session)->ehlo.rcpt_max);
    // LMTP has a verdict for each at the end; a client that waits for one can be told but one.
    if (a->job->room > 0 && a->job->gateway->kind == GATEWAY_LMTP)
        return 1;
    return least(most, LIMIT_RECIPIENTS);
}

// All recipients together or none: their client was told of them one by one.
static void run_live(struct attempt *a)
{
    if (a->count > most_rcpts(a)) {
        finish_local(a, "the next server takes fewer recipients in one transaction");
        return;
    }
    a->batch = a->count;
    a->job->dsn_passed = (deliver_session_client(a->session)->ehlo.caps & SMTP_CAP_DSN) != 0;
    a->mail = (struct smtp_client_mail){.envelope = a->job->envelope,
                                        .rcpts = a->rcpts,
                                        .count = a->batch,
                                        .size = a->job->announced,
                                        .live = true,
                                        .said = &a->job->said};
    deliver_session_send(a->session, &a->mail, NULL, NULL);
}

static void run_batch(struct attempt *a)
{
    if (a->job->room > 0) {
        run_live(a);
        return;
    }
    struct err err = {0};
    if (!fetch_body(a, &err)) {
        finish_local(a, err.text);
        return;
    }
    uint32_t most = most_rcpts(a);
    size_t left = a->count - a->at;
    a->batch = left < most ? left : most;
    a->job->dsn_passed = (deliver_session_client(a->session)->ehlo.caps & SMTP_CAP_DSN) != 0;
    a->job->server_size = deliver_session_client(a->session)->ehlo.size;
    a->mail = (struct smtp_client_mail){.envelope = a->job->envelope,
                                        .rcpts = a->rcpts + a->at,
                                        .count = a->batch,
                                        .at_once = !is_shy(a)};
    deliver_session_send(a->session, &a->mail, a->body, a->d->slice);
}

static void note_taken(const struct attempt *a, struct outcome *o)
{
    *o = (struct outcome){.class = OUTCOME_OK, .phase = PHASE_RCPT, .code = a->job->said.code};
    snprintf(o->where, sizeof(o->where), "%.*s", (int)sizeof(o->where) - 1,
             deliver_session_where(a->session));
}

static void on_held(void *ctx)
{
    struct attempt *a = ctx;
    a->holding = true;
    for (size_t i = 0; i < a->batch; i++)
        if (a->rcpts[i].state == SMTP_RCPT_TAKEN)
            note_taken(a, a->rcpts[i].outcome);
    a->job->held(a->job);
}

static void on_ready(void *ctx)
{
    struct attempt *a = ctx;
    a->holding = false;
    sort_batch(a);
    if (a->at < a->count && may_send_more(a)) {
        run_batch(a);
    } else if (a->at < a->count) {
        // The server takes no more over this connection (RFC 9422): another one to the same host.
        pool_part(a->way, a->session);
        a->session = NULL;
        dial_free(&a->dial);
        rewind_rcpts(a);
        start(a);
    } else if (a->kept == 0 || !go_on(a)) {
        finish(a);
    }
}

// A kept connection turned out to be closed: nothing was answered but, at most, why.
static bool was_stale(const struct attempt *a)
{
    const struct smtp_client *c = deliver_session_client(a->session);
    bool said_why = c->replies == 1 && c->failure.code == 421;
    return a->job->reused && deliver_session_sent(a->session) > 0 && !a->again &&
           ((c->replies == 0 && c->failure.class == OUTCOME_NET) || said_why);
}

static void on_over(void *ctx)
{
    struct attempt *a = ctx;
    const struct smtp_client *c = deliver_session_client(a->session);
    struct outcome failure = c->failure;
    a->holding = false;
    if (deliver_session_fetching(a->session))
        release_body(a);
    if (a->mail.at_once && a->batch > 0 && failure.class == OUTCOME_DOUBT)
        note_shy(a);
    if (was_stale(a)) {
        a->again = true;
        a->job->reused = false;
        deliver_session_free(&a->session);
        rewind_rcpts(a);
        start(a);
        return;
    }
    if (smtp_client_may_go_clear(c)) {
        a->in_clear = true;
        deliver_session_free(&a->session);
        dial_free(&a->dial);
        rewind_rcpts(a);
        connect_host(a);
        return;
    }
    sort_batch(a);
    remember(a, &failure);
    bool left = a->kept > 0 || a->at < a->count;
    bool more = left && (a->kept > 0 || elsewhere(a, &failure));
    if (!more || !go_on(a))
        finish_with(a, &a->last);
}

static const struct session_events events = {.ready = on_ready, .over = on_over, .held = on_held};

// --- connecting ---

static const struct mx_host *host_of(const struct attempt *a)
{
    return a->hosts != NULL ? &a->hosts[a->host] : NULL;
}

static void on_dialed(void *ctx, struct stream *stream, const struct outcome *failure)
{
    struct attempt *a = ctx;
    if (stream == NULL) {
        remember(a, failure);
        if (!go_on(a))
            finish_with(a, &a->last);
        return;
    }
    struct session_params params;
    way_params(a->job->conf, a->job->gateway, host_of(a), a->in_clear, &params);
    a->generation = a->d->generation;
    a->session = deliver_session_new(a->d->loop, stream, &params, &a->record, &events, a);
}

static void connect_host(struct attempt *a)
{
    const struct conf_gateway *g = a->job->gateway;
    struct dial_target target;
    way_target(g, host_of(a), a->job->domain, LIMIT_ADDRESSES - a->tried, &target);
    // Whatever is behind it, a proxy is looked up as a gateway is.
    if (g->kind != GATEWAY_DIRECT || target.socks != NULL)
        target.addresses = a->d->addresses;
    a->dial = dial_new(a->d->loop, a->d->names, &target, on_dialed, a);
}

static void on_mx(void *ctx, const struct mx_answer *answer)
{
    struct attempt *a = ctx;
    if (answer->failure.class != OUTCOME_OK) {
        finish_with(a, &answer->failure);
        return;
    }
    a->host_count = answer->count;
    a->hosts = xcalloc(answer->count, sizeof(a->hosts[0]));
    memcpy(a->hosts, answer->hosts, answer->count * sizeof(a->hosts[0]));
    connect_host(a);
}

// A connection that stands, or the way to a new one.
static void start(struct attempt *a)
{
    struct deliver_job *job = a->job;
    struct net_addr literal;
    struct session *kept = a->again ? NULL : pool_take(a->way, key_of(a));
    a->waiting = kept == NULL && pool_wait(a->way);
    if (a->waiting)
        return; // on_changed goes on
    if (kept != NULL) {
        job->reused = true;
        a->generation = a->d->generation;
        a->session = kept;
        deliver_session_attach(kept, &a->record, &events, a);
        run_batch(a);
    } else if (job->gateway->kind != GATEWAY_DIRECT) {
        connect_host(a);
    } else if (a->hosts != NULL) {
        connect_host(a);
    } else if (mx_literal(str_of(job->domain), &literal)) {
        a->host_count = 1;
        a->hosts = xcalloc(1, sizeof(a->hosts[0]));
        snprintf(a->hosts[0].name, sizeof(a->hosts[0].name), "%s", job->domain);
        connect_host(a);
    } else {
        bool strict = job->gateway->direct_port == 25;
        mx_free(&a->mx);
        a->mx = mx_find(a->d->loop, a->d->names, job->domain, strict ? job->conf->hostname : NULL,
                        on_mx, a);
    }
}

// --- who counts the connections ---

static void run_report(struct post *post)
{
    struct deliver_report *r = (struct deliver_report *)post;
    r->run(r);
    xfree(r);
}

static void report(struct deliver *d, struct str name, size_t open, bool ordered)
{
    struct deliver_report *r = xcalloc(1, sizeof(*r) + name.len);
    char *text = (char *)(r + 1);
    memcpy(text, name.ptr, name.len);
    *r = (struct deliver_report){.post = {.run = run_report},
                                 .deliver = d,
                                 .ctx = d->watch_ctx,
                                 .run = d->watch,
                                 .open = open,
                                 .ordered = ordered,
                                 .name = str_make(text, name.len)};
    loop_post(d->watcher, &r->post);
}

// One that starts may end at once and take itself out of the list, but no other.
static void on_changed(void *ctx, struct str name, size_t open, bool ordered)
{
    struct deliver *d = ctx;
    struct attempt *a;
    if (d->watcher != NULL)
        report(d, name, open, ordered);
    list_each (&d->attempts, a, struct attempt, link)
        if (a->waiting && pool_waited(a->way))
            start(a);
}

void deliver_watch(struct deliver *d, struct loop *home,
                   void (*run)(const struct deliver_report *r), void *ctx)
{
    d->watcher = home;
    d->watch = run;
    d->watch_ctx = ctx;
}

size_t deliver_open(struct deliver *d, const char *gateway, const char *domain)
{
    return pool_open(d->pool, name_of(d, gateway, domain));
}

struct close_one {
    struct post post; // first
    struct deliver *d;
    size_t len;
    char name[];
};

static void on_close_one(struct post *post)
{
    struct close_one *c = (struct close_one *)post;
    pool_close_oldest(c->d->pool, str_make(c->name, c->len));
    xfree(c);
}

void deliver_close_one(struct deliver *d, struct str name)
{
    struct close_one *c = xcalloc(1, sizeof(*c) + name.len);
    c->post.run = on_close_one;
    c->d = d;
    c->len = name.len;
    memcpy(c->name, name.ptr, name.len);
    loop_post(d->loop, &c->post);
}

// --- the outside ---

static void begin(struct deliver_job *job)
{
    struct deliver *d = job->deliver;
    job->open = 0;
    if (conf_gateway_is_local(job->gateway)) {
        local_submit(d->locals, job);
        return;
    }
    size_t room = job->room > job->count ? job->room : job->count;
    struct attempt *a = xcalloc(1, sizeof(*a) + room * sizeof(a->rcpts[0]));
    a->d = d;
    a->job = job;
    a->record = d->spare;
    d->spare.data = NULL;
    d->spare.cap = 0;
    a->count = job->count;
    for (size_t i = 0; i < job->count; i++) {
        a->rcpts[i].rcpt = &job->rcpts[i].rcpt;
        a->rcpts[i].outcome = &job->rcpts[i].outcome;
    }
    list_append(&d->attempts, &a->link);
    bool direct = job->gateway->kind == GATEWAY_DIRECT;
    a->way = pool_enter(d->pool, name_of(d, job->gateway->name, direct ? job->domain : ""));
    job->session = a;
    job->started_ms = loop_now_ms(d->loop);
    job->reused = false;
    start(a);
}

static void on_submitted(struct post *post)
{
    begin((struct deliver_job *)post);
}

void deliver_submit(struct deliver *d, struct deliver_job *job)
{
    job->submitted_us = clock_mono_us();
    assert(job->count > 0);
    job->deliver = d;
    job->post.run = on_submitted;
    loop_post(d->loop, &job->post);
}

void deliver_begin(struct deliver *d, struct deliver_job *job)
{
    assert(job->room > 0 && job->count > 0 && job->count <= job->room);
    job->submitted_us = clock_mono_us();
    job->deliver = d;
    job->home = d->loop;
    begin(job);
}

bool deliver_holds(const struct deliver_job *job)
{
    const struct attempt *a = job->session;
    return a != NULL && a->holding;
}

bool deliver_more(struct deliver_job *job)
{
    struct attempt *a = job->session;
    assert(a->holding && job->count < job->room);
    if (a->batch >= most_rcpts(a))
        return false;
    struct smtp_client_rcpt *next = &a->rcpts[a->count++];
    next->rcpt = &job->rcpts[job->count].rcpt;
    next->outcome = &job->rcpts[job->count].outcome;
    job->count++;
    a->batch++;
    a->holding = false;
    deliver_session_more(a->session, a->rcpts);
    return true;
}

void deliver_content(struct deliver_job *job)
{
    struct attempt *a = job->session;
    assert(a->holding);
    a->holding = false;
    struct err err = {0};
    if (fetch_body(a, &err))
        deliver_session_content(a->session, a->body, a->d->slice);
    else
        deliver_session_drop(a->session, err.text); // `ready` ends the job
}

void deliver_cancel(struct deliver_job *job, const char *why)
{
    struct attempt *a = job->session;
    if (a == NULL)
        return; // done is on its way
    if (a->holding) {
        a->holding = false;
        deliver_session_drop(a->session, why);
        return;
    }
    if (a->session != NULL) {
        deliver_session_abort(a->session, why);
        a->at += a->batch; // settled
        a->batch = 0;
    }
    finish_local(a, why);
}

struct deliver *deliver_new(struct loop *loop, struct names *names)
{
    struct deliver *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->names = names;
    d->pool = pool_new(loop, on_changed, d);
    d->lookups = lookups_new(loop, names);
    d->addresses = addresses_new(loop, names);
    d->probes = probes_new(loop, names);
    d->locals = locals_new(loop);
    list_init(&d->attempts);
    buf_init(&d->key, LIMIT_CONFIG_FILE);
    buf_init(&d->name, LIMIT_CONFIG_FILE);
    buf_init(&d->spare, TRANSCRIPT);
    d->slice = xmalloc(SESSION_SLICE);
    d->shy = map_new();
    return d;
}

void deliver_free(struct deliver **deliver)
{
    struct deliver *d = *deliver;
    if (d == NULL)
        return;
    *deliver = NULL;
    d->generation++;
    d->watcher = NULL;
    struct attempt *a;
    while ((a = list_first(&d->attempts, struct attempt, link)) != NULL) {
        if (a->session != NULL) {
            deliver_session_abort(a->session, "shutting down");
            a->at += a->batch; // settled
            a->batch = 0;
        }
        finish_local(a, "shutting down");
    }
    locals_free(&d->locals);
    probes_free(&d->probes); // while what they use is there
    lookups_free(&d->lookups);
    addresses_free(&d->addresses);
    pool_free(&d->pool);
    forget_shy(d);
    map_free(&d->shy);
    buf_free(&d->key);
    buf_free(&d->name);
    buf_free(&d->spare);
    xfree(d->slice);
    xfree(d);
}

struct lookups *deliver_lookups(struct deliver *d)
{
    return d->lookups;
}

struct addresses *deliver_addresses(struct deliver *d)
{
    return d->addresses;
}

struct probes *deliver_probes(struct deliver *d)
{
    return d->probes;
}

struct loop *deliver_loop(struct deliver *d)
{
    return d->loop;
}

struct close_idle {
    struct post post;
    struct deliver *d;
    int64_t moved_us; // monotonic; 0: nothing but the idle ones
};

static void end_stranded(struct attempt *a)
{
    static const char why[] = "the network has changed: the address it came from is gone";
    struct outcome o = {.class = OUTCOME_NET, .phase = PHASE_CONNECT};
    if (a->session != NULL && is_stranded(a)) {
        deliver_session_lose(a->session, why);
    } else if (a->session == NULL && a->dial != NULL) {
        // Where it came from is not known before it stands; asking anew costs nothing.
        snprintf(o.text, sizeof(o.text), "the network has changed while connecting");
        finish_with(a, &o);
    }
}

static void on_close_idle(struct post *post)
{
    struct close_idle *c = (struct close_idle *)post;
    struct deliver *d = c->d;
    struct attempt *a;
    d->generation++;
    pool_clear(d->pool, c->moved_us == 0);
    // One that ends takes itself out of the list.
    // What was asked for after the move is of the new place.
    list_each (&d->attempts, a, struct attempt, link)
        if (a->job->submitted_us < c->moved_us)
            end_stranded(a);
    xfree(c);
}

static void close_idle(struct deliver *d, int64_t moved_us)
{
    struct close_idle *c = xcalloc(1, sizeof(*c));
    c->post.run = on_close_idle;
    c->d = d;
    c->moved_us = moved_us;
    loop_post(d->loop, &c->post);
}

void deliver_close_idle(struct deliver *d)
{
    close_idle(d, 0);
}

void deliver_moved(struct deliver *d)
{
    close_idle(d, clock_mono_us());
}
