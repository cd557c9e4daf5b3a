// SPDX-License-Identifier: ISC
// Deliveries to small servers on loopback, with a made-up DNS.
#include "deliver/deliver.h"

#include "base/list.h"
#include "base/mem.h"
#include "deliver/addresses.h"
#include "deliver/mx.h"
#include "sys/stream.h"
#include "sys/tls.h"

#include <sched.h>
#include <setjmp.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

// --- names: in place of those of sys ---

struct fake_name {
    const char *name;
    enum names_type type;
    enum names_status status;
    int delay_ms;
    const char *records[4]; // addresses; MX: "10 name"
};

struct names {
    struct loop *loop;
    const struct fake_name *table;
    unsigned asked;
};

struct names_query {
    struct names *names;
    struct timer timer;
    char name[256];
    enum names_type type;
    void (*done)(void *ctx, const struct names_answer *answer);
    void *ctx;
};

static void answer_query(void *ctx)
{
    struct names_query *q = ctx;
    struct names_answer answer = {.status = NAMES_NXDOMAIN};
    struct names_record records[4] = {0};
    for (const struct fake_name *f = q->names->table; f != NULL && f->name != NULL; f++) {
        if (strcmp(f->name, q->name) != 0)
            continue;
        if (f->type != q->type) {
            answer.status = answer.status == NAMES_NXDOMAIN ? NAMES_NODATA : answer.status;
            continue;
        }
        answer.status = f->status;
        snprintf(answer.why, sizeof(answer.why), "made up");
        for (; answer.count < 4 && f->records[answer.count] != NULL; answer.count++) {
            struct names_record *r = &records[answer.count];
            const char *text = f->records[answer.count];
            if (f->type == NAMES_MX)
                r->preference = (uint16_t)strtoul(text, NULL, 10);
            if (f->type == NAMES_MX)
                snprintf(r->name, sizeof(r->name), "%s", strchr(text, ' ') + 1);
            else
                net_addr_parse_ip(str_of(text), &r->addr);
        }
    }
    answer.records = records;
    q->done(q->ctx, &answer);
    xfree(q);
}

struct names_query *names_lookup(struct names *names, const char *name, enum names_type type,
                                 void (*done)(void *ctx, const struct names_answer *answer),
                                 void *ctx)
{
    struct names_query *q = xcalloc(1, sizeof(*q));
    q->names = names;
    names->asked++;
    q->type = type;
    q->done = done;
    q->ctx = ctx;
    snprintf(q->name, sizeof(q->name), "%s", name);
    int delay = 0;
    for (const struct fake_name *f = names->table; f != NULL && f->name != NULL; f++)
        if (strcmp(f->name, name) == 0 && f->type == type)
            delay = f->delay_ms;
    timer_init(&q->timer, names->loop, answer_query, q);
    timer_start(&q->timer, delay);
    return q;
}

void names_cancel(struct names_query **query)
{
    if (*query == NULL)
        return;
    timer_stop(&(*query)->timer);
    xfree(*query);
    *query = NULL;
}

// --- a server ---

struct server {
    const char *at; // address to listen on, port 0 or as given
    // What is said, without CRLF; NULL: the usual. An empty text: the connection is closed instead.
    const char *greeting, *ehlo, *mail, *rcpt, *data, *final, *starttls;
    bool endless;      // greeting
    int late_ms;       // greeting
    bool implicit;     // TLS
    bool hates_bdat;   // and goes away
    bool close_after;  // the connection, after each message
    bool deaf;         // never reads
    const char *proxy; // a SOCKS proxy that answers so, and then is the server as well
    size_t proxy_len;
    char proxy_got[300];
    size_t proxy_got_len;
    struct tls_server *tls;

    struct listener *listener;
    struct loop *loop;
    struct link peers;
    uint16_t port;
    unsigned connections, messages, quits;
    unsigned open, most; // connections now, and the most there were at once
    struct buf got;      // of the last message
    char dialogue[512];
};

struct peer {
    struct link link;
    struct server *server;
    struct stream *stream;
    bool in_data;
    unsigned socks; // steps of the dialogue with a proxy that are done
    struct timer later;
};

static void peer_close(struct peer *p, bool drain)
{
    p->server->open--;
    stream_close(&p->stream, drain);
    timer_stop(&p->later);
    list_remove(&p->link);
    xfree(p);
}

static bool say(struct peer *p, const char *text, const char *usual)
{
    text = text != NULL ? text : usual;
    if (text[0] == '\0') {
        peer_close(p, false);
        return false;
    }
    stream_write(p->stream, text, strlen(text));
    stream_write(p->stream, "\r\n", 2);
    return true;
}

static bool take_content(struct peer *p, const char *bytes, size_t len, size_t *used)
{
    struct server *s = p->server;
    buf_append(&s->got, bytes, len);
    *used = len;
    if (s->got.len < 5 || memcmp(s->got.data + s->got.len - 5, "\r\n.\r\n", 5) != 0)
        return true;
    p->in_data = false;
    s->messages++;
    bool closes = s->close_after;
    if (!say(p, s->final, "250 taken"))
        return false;
    if (closes)
        peer_close(p, true);
    return !closes;
}

static bool take_command(struct peer *p, struct str line)
{
    struct server *s = p->server;
    size_t used = strlen(s->dialogue);
    snprintf(s->dialogue + used, sizeof(s->dialogue) - used, "%.*s;", (int)(line.len < 4 ? 0 : 4),
             line.ptr);
    if (str_istarts(line, STR("EHLO")) || str_istarts(line, STR("LHLO")))
        return say(p, s->ehlo, "250-test\r\n250 PIPELINING");
    if (str_istarts(line, STR("MAIL")))
        return say(p, s->mail, "250 ok");
    if (str_istarts(line, STR("RCPT")))
        return say(p, s->rcpt, "250 ok");
    if (str_istarts(line, STR("STARTTLS"))) {
        if (!say(p, s->starttls, "220 go"))
            return false;
        if (s->tls != NULL)
            stream_start_tls_server(p->stream, s->tls);
        return true;
    }
    if (str_istarts(line, STR("DATA"))) {
        p->in_data = s->data == NULL;
        buf_clear(&s->got);
        return say(p, s->data, "354 go");
    }
    if (str_istarts(line, STR("BDAT")) && s->hates_bdat) {
        peer_close(p, false);
        return false;
    }
    if (str_istarts(line, STR("QUIT"))) {
        s->quits++;
        say(p, "221 bye", NULL);
        peer_close(p, true);
        return false;
    }
    return say(p, "250 ok", NULL);
}

// Each step of the dialogue comes in one piece here. The greeting stands right behind the reply.
static void take_socks(struct peer *p, const char *bytes, size_t len)
{
    struct server *s = p->server;
    if (s->proxy_got_len + len < sizeof(s->proxy_got)) {
        memcpy(s->proxy_got + s->proxy_got_len, bytes, len);
        s->proxy_got_len += len;
    }
    if (p->socks++ == 0) {
        stream_write(p->stream, "\5\0", 2);
        return;
    }
    stream_write(p->stream, s->proxy, s->proxy_len);
    if (s->proxy[1] == 0)
        say(p, s->greeting, "220 test");
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct peer *p = ctx;
    size_t at = 0;
    if (p->server->proxy != NULL && p->socks < 2) {
        take_socks(p, bytes, len);
        return len;
    }
    while (at < len) {
        if (p->in_data) {
            size_t used;
            if (!take_content(p, bytes + at, len - at, &used))
                return len;
            at += used;
            continue;
        }
        const char *lf = memchr(bytes + at, '\n', len - at);
        if (lf == NULL)
            break;
        struct str line = str_trim(str_make(bytes + at, (size_t)(lf - bytes) - at));
        at = (size_t)(lf - bytes) + 1;
        if (!take_command(p, line))
            return len;
        if (str_istarts(line, STR("STARTTLS")))
            return len;
    }
    return at;
}

static void on_endless(void *ctx)
{
    struct peer *p = ctx;
    if (stream_queued(p->stream) < 100000)
        for (int i = 0; i < 500; i++)
            stream_write(p->stream, "220-and so on\r\n", 15);
    timer_start(&p->later, 1);
}

static void on_late(void *ctx)
{
    say(ctx, "220 late", NULL);
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        peer_close(ctx, false);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    struct server *s = ctx;
    struct peer *p = xcalloc(1, sizeof(*p));
    p->server = s;
    p->stream = stream;
    s->connections++;
    if (++s->open > s->most)
        s->most = s->open;
    list_append(&s->peers, &p->link);
    timer_init(&p->later, s->loop, on_endless, p);
    stream_attach(stream, &handler, p);
    if (s->implicit)
        stream_start_tls_server(stream, s->tls);
    if (s->late_ms > 0) {
        timer_init(&p->later, s->loop, on_late, p);
        timer_start(&p->later, s->late_ms);
    } else if (s->endless)
        on_endless(p);
    else if (s->proxy == NULL)
        say(p, s->greeting, "220 test");
}

static void server_listen(void *ctx)
{
    struct server *s = ctx;
    struct err err;
    struct net_addr at;
    net_addr_parse(str_of(s->at != NULL ? s->at : "127.0.0.1"), s->port, &at);
    list_init(&s->peers);
    buf_init(&s->got, 16 * 1024 * 1024);
    s->listener = listener_new(s->loop, &at, on_accepted, s, &err);
    s->port = s->listener != NULL ? listener_addr(s->listener)->port : 0;
}

static void server_close(void *ctx)
{
    struct server *s = ctx;
    struct peer *p;
    while ((p = list_first(&s->peers, struct peer, link)) != NULL)
        peer_close(p, false);
    listener_free(&s->listener);
    buf_free(&s->got);
    tls_server_unref(&s->tls);
}

// --- a body ---

struct body {
    struct body_source source;
    bool slow; // every other read has to wait
    bool ready;
    unsigned released;
    void (*on_ready)(void *ctx);
    void *ctx;
    struct timer timer;
};

static ssize_t body_read(struct body_source *src, uint64_t offset, void *out, size_t len)
{
    struct body *b = (struct body *)src;
    if (b->slow && !b->ready)
        return -2;
    b->ready = false;
    size_t n = src->size - offset < len ? (size_t)(src->size - offset) : len;
    for (size_t i = 0; i < n; i++)
        ((char *)out)[i] = "0123456789abcde\r\n"[(offset + i) % 17];
    return (ssize_t)n;
}

static void body_ready(void *ctx)
{
    struct body *b = ctx;
    b->ready = true;
    b->on_ready(b->ctx);
}

static void body_fetch(struct body_source *src, uint64_t offset, size_t len,
                       void (*ready)(void *ctx), void *ctx)
{
    struct body *b = (struct body *)src;
    b->on_ready = ready;
    b->ctx = ctx;
    timer_start(&b->timer, 0);
}

static void body_release(struct body_source *src)
{
    struct body *b = (struct body *)src;
    timer_stop(&b->timer);
    b->released++;
}

static const struct body_ops body_ops = {body_read, body_fetch, body_release};

// --- a test: servers, a gateway, and jobs one after another ---

struct bench {
    struct loop *loop;
    struct names names;
    struct deliver *deliver;
    struct conf conf;
    struct conf_gateway gateway;
    struct envelope envelope;
    struct body body;
    struct deliver_job job;
    struct deliver_rcpt rcpts[3];
    unsigned left; // jobs to send
    bool no_body;
    sem_t told;
    struct server *servers[2];
};

// The world runs on the loop's thread, the test on its own; it waits for what it asked for.
struct call {
    struct post post;
    struct bench *bench;
    void (*fn)(void *ctx);
    void *ctx;
};

static void wait_told(struct bench *b)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    if (sem_timedwait(&b->told, &until) != 0)
        fail_msg("what was asked for does not happen");
}

static void run_call(struct post *post)
{
    struct call *call = (struct call *)post;
    call->fn(call->ctx);
    sem_post(&call->bench->told);
}

static void on_loop(struct bench *b, void (*fn)(void *ctx), void *ctx)
{
    struct call call = {{.run = run_call}, b, fn, ctx};
    loop_post(b->loop, &call.post);
    wait_told(b);
}

static uint16_t server_start(struct bench *b, struct server *s, uint16_t port)
{
    b->servers[b->servers[0] != NULL] = s;
    s->loop = b->loop;
    s->port = port;
    on_loop(b, server_listen, s);
    assert_true(s->port != 0);
    return s->port;
}

static struct body_source *open_body(struct deliver_job *job, struct loop *loop, struct err *err)
{
    struct bench *b = job->ctx;
    if (b->no_body) {
        err_set(err, "the disk is gone");
        return NULL;
    }
    timer_init(&b->body.timer, loop, body_ready, &b->body);
    return &b->body.source;
}

static void on_done(struct deliver_job *job)
{
    struct bench *b = job->ctx;
    if (b->left-- > 1)
        deliver_submit(b->deliver, &b->job);
    else
        sem_post(&b->told);
}

static void bench_init(struct bench *b, const struct fake_name *table)
{
    *b = (struct bench){.left = 1};
    sem_init(&b->told, 0, 0);
    b->loop = loop_new("test");
    b->names = (struct names){.loop = b->loop, .table = table};
    b->deliver = deliver_new(b->loop, &b->names);
    b->conf.hostname = "me.example.org";
    b->gateway = (struct conf_gateway){.name = "gw",
                                       .kind = GATEWAY_SMTP,
                                       .host = "127.0.0.1",
                                       .connections = 5,
                                       .direct_port = 25};
    b->envelope.sender = STR("a@b.example");
    b->body.source = (struct body_source){.ops = &body_ops, .size = 7, .whole = STR("hello\r\n")};
    b->rcpts[0].rcpt.address = STR("x@y.example");
    b->rcpts[1].rcpt.address = STR("y@y.example");
    b->rcpts[2].rcpt.address = STR("z@y.example");
    b->job = (struct deliver_job){.home = b->loop,
                                  .done = on_done,
                                  .ctx = b,
                                  .conf = &b->conf,
                                  .gateway = &b->gateway,
                                  .domain = "",
                                  .id = 1,
                                  .envelope = &b->envelope,
                                  .rcpts = b->rcpts,
                                  .count = 1,
                                  .open_body = open_body};
    loop_start(b->loop);
}

static const struct outcome *bench_run(struct bench *b)
{
    deliver_submit(b->deliver, &b->job);
    wait_told(b);
    return &b->rcpts[0].outcome;
}

static void free_deliver(void *ctx)
{
    deliver_free(&((struct bench *)ctx)->deliver);
}

static void bench_free(struct bench *b)
{
    on_loop(b, free_deliver, b);
    for (int i = 0; i < 2; i++)
        if (b->servers[i] != NULL)
            on_loop(b, server_close, b->servers[i]);
    loop_stop(b->loop);
    loop_join(b->loop);
    loop_free(&b->loop);
    buf_free(&b->job.transcript);
    sem_destroy(&b->told);
}

static void check(const struct outcome *o, enum outcome_class class, enum outcome_phase phase,
                  const char *text)
{
    if (o->class != class || o->phase != phase || strstr(o->text, text) == NULL)
        fail_msg("%s %s \"%s\"; expected %s %s \"%s\"", outcome_class_name(o->class),
                 outcome_phase_name(o->phase), o->text, outcome_class_name(class),
                 outcome_phase_name(phase), text);
}

static void a_message_is_relayed_and_the_connection_kept(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.left = 5;
    b.job.want_transcript = true;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_true(b.rcpts[0].outcome.relayed);
    assert_int_equal(b.rcpts[0].outcome.code, 250);
    assert_int_equal(s.connections, 1);
    assert_int_equal(s.messages, 5);
    assert_true(b.job.reused);
    assert_string_equal(buf_cstr(&s.got), "hello\r\n.\r\n");
    assert_non_null(strstr(buf_cstr(&b.job.transcript), "-> MAIL FROM:<a@b.example>\n"));
    assert_non_null(strstr(b.job.facts, "127.0.0.1"));
    assert_int_equal(b.body.released, 5);
    bench_free(&b);
}

static void a_server_that_cannot_do_what_it_offers_gets_the_old_way_next(void **state)
{
    struct bench b;
    struct server s = {.hates_bdat = true, .ehlo = "250-test\r\n250-PIPELINING\r\n250 CHUNKING"};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    check(bench_run(&b), OUTCOME_DOUBT, PHASE_FINAL, "");
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    bench_free(&b);
}

static void another_setting_or_a_close_means_another_connection(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    b.gateway.helo = "other.example.org";
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 2);
    deliver_close_idle(b.deliver);
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 3);
    b.gateway.per_connection = 2;
    b.left = 4;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 5);
    assert_int_equal(s.most, 1); // a new one waits until the server has closed the other
    bench_free(&b);
}

struct heard_close {
    struct bench *bench;
    size_t open;
    bool ordered;
    char name[32];
};

static void on_report(const struct deliver_report *r)
{
    struct heard_close *h = r->ctx;
    h->open = r->open;
    h->ordered = r->ordered;
    snprintf(h->name, sizeof(h->name), "%s", r->name.ptr);
    sem_post(&h->bench->told);
}

static void a_kept_connection_is_closed_to_order_and_each_order_answered(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    struct heard_close h = {.bench = &b, .open = 9};
    b.gateway.port = server_start(&b, &s, 0);
    deliver_watch(b.deliver, b.loop, on_report, &h);
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(b.job.open, 1);
    for (int i = 0; i < 2; i++) { // the second finds nothing to do
        h.ordered = false;
        deliver_close_one(b.deliver, str_make("gw", sizeof("gw")));
        wait_told(&b);
        assert_true(h.ordered);
        assert_int_equal(h.open, 0);
        assert_string_equal(h.name, "gw");
        assert_int_equal(s.quits, 1);
    }
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_false(b.job.reused);
    assert_int_equal(s.most, 1);
    bench_free(&b);
}

static void a_kept_connection_that_its_server_closes_is_told_of(void **state)
{
    struct bench b;
    struct server s = {.close_after = true};
    bench_init(&b, NULL);
    struct heard_close h = {.bench = &b, .open = 9, .ordered = true};
    b.gateway.port = server_start(&b, &s, 0);
    deliver_watch(b.deliver, b.loop, on_report, &h);
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    if (b.job.open > 0) { // it was put away before its end was seen
        wait_told(&b);
        assert_int_equal(h.open, 0);
        assert_false(h.ordered);
    }
    bench_free(&b);
}

static void a_kept_connection_found_closed_costs_no_outcome(void **state)
{
    static const struct server kinds[] = {
        {.close_after = true},               // closed behind our back
        {.mail = "421 4.4.2 idle too long"}, // closed with a word
    };
    for (size_t i = 0; i < 2; i++) {
        struct bench b;
        struct server s = kinds[i];
        s.mail = NULL;
        bench_init(&b, NULL);
        b.gateway.port = server_start(&b, &s, 0);
        check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
        s.mail = kinds[i].mail;
        b.left = 1;
        const struct outcome *o = bench_run(&b);
        if (kinds[i].mail == NULL)
            check(o, OUTCOME_OK, PHASE_FINAL, "taken");
        else
            check(o, OUTCOME_BUSY, PHASE_MAIL, "idle"); // once more on a fresh one, then it counts
        assert_int_equal(s.connections, 2);
        bench_free(&b);
    }
}

static void trouble_has_its_class(void **state)
{
    static const struct {
        struct server server;
        enum outcome_class class;
        enum outcome_phase phase;
        const char *text;
    } rows[] = {
        {{.final = ""}, OUTCOME_DOUBT, PHASE_FINAL, ""},
        {{.final = "+OK"}, OUTCOME_DOUBT, PHASE_FINAL, "not a reply: +OK"},
        {{.data = ""}, OUTCOME_NET, PHASE_MAIL, "closed"},
        {{.greeting = ""}, OUTCOME_NET, PHASE_GREETING, "closed"},
        {{.greeting = "554 go away"}, OUTCOME_REFUSED, PHASE_GREETING, "go away"},
        {{.greeting = "421 busy"}, OUTCOME_BUSY, PHASE_GREETING, "busy"},
        {{.ehlo = "550 \x1b[31mno"}, OUTCOME_REFUSED, PHASE_EHLO, "\\x1b[31mno"},
        {{.rcpt = "550 5.1.1 nobody"}, OUTCOME_REFUSED, PHASE_RCPT, "nobody"},
        {{.mail = "451 4.7.1 later"}, OUTCOME_BUSY, PHASE_MAIL, "later"},
        {{.endless = true}, OUTCOME_NET, PHASE_GREETING, "without end"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        struct server s = rows[i].server;
        if (rows[i].phase == PHASE_EHLO)
            s.ehlo = rows[i].server.ehlo;
        bench_init(&b, NULL);
        b.gateway.kind = rows[i].phase == PHASE_EHLO ? GATEWAY_LMTP : GATEWAY_SMTP;
        b.gateway.port = server_start(&b, &s, 0);
        const struct outcome *o = bench_run(&b);
        check(o, rows[i].class, rows[i].phase, rows[i].text);
        assert_non_null(strstr(o->where, "[127.0.0.1]"));
        assert_true(b.job.transcript.len > 0);
        bench_free(&b);
    }
}

static void nobody_listening_is_the_network(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    on_loop(&b, server_close, &s);
    check(bench_run(&b), OUTCOME_NET, PHASE_CONNECT, "refused");
    b.no_body = true;
    b.gateway.host = "nowhere.example";
    b.left = 1;
    check(bench_run(&b), OUTCOME_NO_RECORD, PHASE_RESOLVE, "does not exist");
    bench_free(&b);
}

static void our_own_disk_is_nobody_elses_fault(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.no_body = true;
    check(bench_run(&b), OUTCOME_LOCAL, PHASE_NONE, "disk is gone");
    bench_free(&b);
}

static void large_bodies_flow_in_slices(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.body.source.whole = (struct str){0};
    b.body.source.size = 17 * 200000;
    b.body.slow = true;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.got.len, 17 * 200000 + 3);
    bench_free(&b);
}

static void more_recipients_than_the_server_takes_go_in_turns(void **state)
{
    struct bench b;
    struct server s = {.ehlo = "250-test\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2"};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.job.count = 3;
    bench_run(&b);
    for (int i = 0; i < 3; i++)
        check(&b.rcpts[i].outcome, OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.messages, 2);
    assert_int_equal(s.connections, 1);
    bench_free(&b);
}

static void tls_is_as_asked_for(void **state)
{
    enum { NO_TLS, GOOD_TLS, BROKEN_TLS };
    static const struct {
        enum conf_tls tls;
        bool verify;
        int server;
        enum outcome_class class;
        const char *facts;
    } rows[] = {
        {TLS_WANTED, false, GOOD_TLS, OUTCOME_OK, "TLSv1.3"},
        {TLS_WANTED, false, NO_TLS, OUTCOME_OK, "in clear"},
        {TLS_WANTED, false, BROKEN_TLS, OUTCOME_OK, "in clear"},
        {TLS_REQUIRED, false, GOOD_TLS, OUTCOME_OK, "TLSv1.3"},
        {TLS_REQUIRED, true, GOOD_TLS, OUTCOME_TLS, ""},
        {TLS_REQUIRED, false, NO_TLS, OUTCOME_TLS, ""},
        {TLS_REQUIRED, false, BROKEN_TLS, OUTCOME_TLS, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        struct err err;
        struct server s = {0};
        if (rows[i].server != NO_TLS)
            s.ehlo = "250-test\r\n250 STARTTLS";
        if (rows[i].server == GOOD_TLS)
            s.tls = tls_server_self_signed("test", &err);
        if (rows[i].server == BROKEN_TLS)
            s.starttls = "220 go\r\n\x15\x03\x01 nonsense";
        bench_init(&b, NULL);
        b.gateway.port = server_start(&b, &s, 0);
        b.gateway.tls = rows[i].tls;
        b.gateway.verify = rows[i].verify;
        const struct outcome *o = bench_run(&b);
        if (rows[i].server == BROKEN_TLS) // more than the reply to STARTTLS is never forgiven
            check(o, OUTCOME_TLS, PHASE_TLS, "more than its reply");
        else
            check(o, rows[i].class, rows[i].class == OUTCOME_OK ? PHASE_FINAL : PHASE_TLS, "");
        if (o->class == OUTCOME_OK)
            assert_non_null(strstr(b.job.facts, rows[i].facts));
        else
            assert_null(strstr(s.dialogue, "MAIL"));
        bench_free(&b);
    }
}

static void a_login_goes_over_implicit_tls(void **state)
{
    struct bench b;
    struct err err;
    struct server s = {.implicit = true,
                       .ehlo = "250-test\r\n250 AUTH PLAIN",
                       .tls = tls_server_self_signed("test", &err)};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.tls = TLS_IMPLICIT;
    b.gateway.user = "ali";
    b.gateway.password = "sesame";
    b.job.want_transcript = true;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_non_null(strstr(b.job.facts, ", login, 1 rcpt"));
    assert_non_null(strstr(buf_cstr(&b.job.transcript), "(secret)"));
    // Another password is another connection.
    b.gateway.password = "other";
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 2);
    // And with a certificate that must be right, none.
    b.gateway.verify = true;
    b.left = 1;
    check(bench_run(&b), OUTCOME_TLS, PHASE_TLS, "");
    bench_free(&b);
}

static void lmtp_goes_over_a_unix_socket(void **state)
{
    struct bench b;
    char at[64];
    struct server s = {.at = at};
    snprintf(at, sizeof(at), "unix:/tmp/deliver-test-%d.sock", (int)getpid());
    bench_init(&b, NULL);
    b.servers[0] = &s;
    s.loop = b.loop;
    on_loop(&b, server_listen, &s);
    b.gateway.kind = GATEWAY_LMTP;
    b.gateway.host = "";
    b.gateway.unix_path = at + strlen("unix:");
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_false(b.rcpts[0].outcome.relayed);
    assert_non_null(strstr(s.dialogue, "LHLO"));
    assert_string_equal(b.rcpts[0].outcome.where, at);
    bench_free(&b);
}

static void a_failed_handshake_is_tried_again_in_clear_when_tls_is_only_wanted(void **state)
{
    struct bench b;
    // The server says 220, then goes on in clear: our hello is an odd command to it.
    struct server s = {.ehlo = "250-test\r\n250 STARTTLS"};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.tls = TLS_WANTED;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 2);
    assert_non_null(strstr(b.job.facts, "in clear"));
    bench_free(&b);
}

// 192.0.2.1 (TEST-NET) never answers, or is unreachable at once; either way the other address must
// win soon.
static void the_first_address_to_stand_wins(void **state)
{
    static const struct fake_name table[] = {
        {"two.example", NAMES_A, NAMES_OK, 0, {"192.0.2.1", "127.0.0.1"}},
        {"two.example", NAMES_AAAA, NAMES_OK, 0, {"::1"}},
        {"slow.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"slow.example", NAMES_AAAA, NAMES_OK, 5000, {"::1"}},
        {"broken.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"broken.example", NAMES_AAAA, NAMES_FAILED, 0, {NULL}},
        {0},
    };
    static const char *const hosts[] = {"two.example", "slow.example", "broken.example"};
    for (size_t i = 0; i < 3; i++) {
        struct bench b;
        struct server s = {0};
        bench_init(&b, table);
        b.gateway.port = server_start(&b, &s, 0);
        b.gateway.host = hosts[i];
        check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
        assert_true(b.job.finished_ms - b.job.started_ms < 3000);
        bench_free(&b);
    }
}

static void direct_delivery_follows_the_mx(void **state)
{
    static const struct fake_name table[] = {
        {"good.example", NAMES_MX, NAMES_OK, 0, {"10 one.example", "20 two.example"}},
        {"one.example", NAMES_A, NAMES_OK, 0, {"127.0.0.2"}},
        {"two.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"plain.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"null.example", NAMES_MX, NAMES_OK, 0, {"0 "}},
        {"later.example", NAMES_MX, NAMES_FAILED, 0, {NULL}},
        {"dead.example", NAMES_MX, NAMES_OK, 0, {"10 gone.example", "20 lame.example"}},
        {"lame.example", NAMES_A, NAMES_FAILED, 0, {NULL}},
        {"lame.example", NAMES_AAAA, NAMES_FAILED, 0, {NULL}},
        {"empty.example", NAMES_TXT, NAMES_OK, 0, {NULL}},
        {"ip.example", NAMES_MX, NAMES_OK, 0, {"10 127.0.0.1"}},
        {0},
    };
    static const struct {
        const char *domain;
        enum outcome_class class;
        enum outcome_phase phase;
        uint8_t enhanced[3];
        const char *text;
    } rows[] = {
        {"good.example", OUTCOME_OK, PHASE_FINAL, {0}, "taken"},
        {"plain.example", OUTCOME_OK, PHASE_FINAL, {0}, "taken"},
        {"[127.0.0.1]", OUTCOME_OK, PHASE_FINAL, {0}, "taken"},
        {"null.example", OUTCOME_REFUSED, PHASE_RESOLVE, {5, 1, 10}, "null MX"},
        {"none.example", OUTCOME_NO_RECORD, PHASE_RESOLVE, {5, 1, 2}, "does not exist"},
        {"later.example", OUTCOME_DNS, PHASE_RESOLVE, {0}, "made up"},
        {"dead.example", OUTCOME_DNS, PHASE_RESOLVE, {0}, ""},
        {"empty.example", OUTCOME_NO_RECORD, PHASE_RESOLVE, {5, 4, 4}, "no address"},
        {"ip.example", OUTCOME_NO_RECORD, PHASE_RESOLVE, {5, 4, 4}, "name no host"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        // The preferred one, on the same port of another address, is busy.
        struct bench b;
        struct server good = {0}, busy = {.at = "127.0.0.2", .mail = "450 4.2.0 later"};
        bench_init(&b, table);
        b.gateway.kind = GATEWAY_DIRECT;
        b.gateway.host = "";
        b.gateway.direct_port = server_start(&b, &good, 0);
        server_start(&b, &busy, b.gateway.direct_port);
        b.job.domain = rows[i].domain;
        const struct outcome *o = bench_run(&b);
        check(o, rows[i].class, rows[i].phase, rows[i].text);
        assert_memory_equal(o->enhanced, rows[i].enhanced, 3);
        assert_false(o->relayed);
        assert_int_equal(busy.connections, i == 0);
        bench_free(&b);
    }
}

static void mail_never_comes_back_to_us(void **state)
{
    static const struct fake_name table[] = {
        {"home.example", NAMES_MX, NAMES_OK, 0, {"10 home.example"}},
        {"home.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"self.example", NAMES_MX, NAMES_OK, 0, {"10 me.example.org", "20 other.example"}},
        {"meta.example", NAMES_MX, NAMES_OK, 0, {"10 cloud.example"}},
        {"cloud.example", NAMES_A, NAMES_OK, 0, {"169.254.169.254", "0.0.0.0"}},
        {0},
    };
    static const struct {
        const char *domain;
        uint8_t detail;
    } rows[] = {{"home.example", 6},
                {"self.example", 6},
                {"[127.0.0.1]", 6},
                {"[::1]", 4},
                {"[IPv6:::1]", 6}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        bench_init(&b, table);
        b.gateway.kind = GATEWAY_DIRECT;
        b.job.domain = rows[i].domain;
        const struct outcome *o = bench_run(&b);
        if (rows[i].detail == 6) {
            check(o, OUTCOME_REFUSED, PHASE_RESOLVE, "");
            assert_int_equal(o->enhanced[1], 4);
            assert_int_equal(o->enhanced[2], 6);
        } else {
            check(o, OUTCOME_NO_RECORD, PHASE_RESOLVE, "");
        }
        bench_free(&b);
    }
}

static void equal_exchangers_share_and_preference_holds(void **state)
{
    static const struct names_record records[] = {
        {.preference = 5, .name = "a.example"},  {.preference = 10, .name = "b.example"},
        {.preference = 10, .name = "c.example"}, {.preference = 20, .name = "me.example"},
        {.preference = 20, .name = "d.example"}, {.preference = 30, .name = "e.example"},
    };
    struct names_answer answer = {.status = NAMES_OK, .count = 6, .records = records};
    struct mx_answer *out = xcalloc(1, sizeof(*out));
    unsigned b_first = 0;
    for (int i = 0; i < 200; i++) {
        mx_order("x.example", &answer, "me.example", out);
        assert_int_equal(out->count, 3);
        assert_string_equal(out->hosts[0].name, "a.example");
        b_first += out->hosts[1].name[0] == 'b';
    }
    assert_in_range(b_first, 40, 160);
    mx_order("x.example", &answer, NULL, out);
    assert_int_equal(out->count, 6);
    xfree(out);
}

struct counted {
    const struct server *server;
    unsigned *seen;
};

static void count_connections(void *ctx)
{
    struct counted *c = ctx;
    *c->seen = c->server->connections;
}

static void shutting_down_ends_jobs_as_local(void **state)
{
    struct bench b;
    struct server s = {.greeting = "220-wait"};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    deliver_submit(b.deliver, &b.job);
    for (unsigned seen = 0; seen == 0;)
        on_loop(&b, count_connections, &(struct counted){&s, &seen});
    on_loop(&b, free_deliver, &b);
    wait_told(&b); // done
    check(&b.rcpts[0].outcome, OUTCOME_LOCAL, PHASE_NONE, "shutting down");
    bench_free(&b);
}

// An answer of the resolver that comes while a connection is already in use.
static void a_late_answer_disturbs_nobody(void **state)
{
    static const struct fake_name table[] = {
        {"a.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"a.example", NAMES_AAAA, NAMES_NODATA, 150, {NULL}},
        {"b.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
        {"b.example", NAMES_AAAA, NAMES_OK, 150, {"127.0.0.1"}},
        {0},
    };
    static const char *const hosts[] = {"a.example", "b.example"};
    for (size_t i = 0; i < 2; i++) {
        struct bench b;
        struct server s = {.late_ms = 300};
        bench_init(&b, table);
        b.gateway.port = server_start(&b, &s, 0);
        b.gateway.host = hosts[i];
        check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
        assert_int_equal(s.connections, 1);
        bench_free(&b);
    }
}

static struct rlimit descriptors;

static void take_descriptors(void *ctx)
{
    struct rlimit none = {0, descriptors.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void give_descriptors(void *ctx)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
}

static void our_own_want_is_nobody_elses_fault(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
    on_loop(&b, take_descriptors, &b);
    const struct outcome *o = bench_run(&b);
    on_loop(&b, give_descriptors, &b);
    check(o, OUTCOME_LOCAL, PHASE_CONNECT, "on this machine");
    assert_int_equal(o->scope, SCOPE_NONE);
    bench_free(&b);
}

static bool alone;

static void leave_network(void *ctx)
{
    alone = unshare(CLONE_NEWNET) == 0; // only of this thread
}

static void a_machine_without_network_blames_nobody(void **state)
{
    static const struct fake_name table[] = {
        {"both.example", NAMES_A, NAMES_OK, 0, {"192.0.2.1", "192.0.2.2"}},
        {"both.example", NAMES_AAAA, NAMES_OK, 0, {"2001:db8::1"}},
        {"six.example", NAMES_AAAA, NAMES_OK, 0, {"2001:db8::1"}},
        {0},
    };
    struct bench b;
    bench_init(&b, table);
    on_loop(&b, leave_network, &b);
    if (!alone) {
        bench_free(&b);
        skip();
    }
    b.gateway.port = 25;
    b.gateway.host = "both.example";
    check(bench_run(&b), OUTCOME_OFFLINE, PHASE_CONNECT, "unreachable");
    assert_int_equal(b.rcpts[0].outcome.scope, SCOPE_NETWORK);
    b.gateway.host = "six.example"; // many machines have no IPv6
    b.left = 1;
    check(bench_run(&b), OUTCOME_NET, PHASE_CONNECT, "2001:db8::1");
    bench_free(&b);
}

// ---- the way there ----

static void a_proxy_gets_the_name_and_passes_the_greeting(void **state)
{
    static const char yes[] = "\5\0\0\1\0\0\0\0\0\0";
    struct bench b;
    struct server s = {.proxy = yes, .proxy_len = sizeof(yes) - 1};
    struct conf_socks socks = {.host = "localproxy.example"};
    static const struct fake_name table[] = {
        {"localproxy.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}}, {0}};
    bench_init(&b, table);
    socks.port = server_start(&b, &s, 0);
    b.gateway.socks = &socks;
    b.gateway.host = "gate.example"; // no name here knows it
    b.gateway.port = 587;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    static const char said[] = "\5\1\0\5\1\0\3\14gate.example\2\113";
    assert_int_equal(s.proxy_got_len, sizeof(said) - 1);
    assert_memory_equal(s.proxy_got, said, sizeof(said) - 1);
    assert_non_null(strstr(b.job.facts, "SOCKS proxy 127.0.0.1:"));
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_true(b.job.reused);
    // Another login at the proxy is another way.
    socks.user = "me";
    socks.password = "secret";
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(s.connections, 2);
    bench_free(&b);
}

static void a_proxys_refusals_have_their_class(void **state)
{
    static const struct {
        const char *reply;
        size_t len;
        enum outcome_class class;
        enum outcome_scope scope;
        const char *text;
    } rows[] = {
        {"\5\4\0\1\0\0\0\0\0\0", 10, OUTCOME_NET, SCOPE_GATEWAY,
         " finds it unreachable: gate.example:25"},
        {"\5\2\0\1\0\0\0\0\0\0", 10, OUTCOME_AUTH, SCOPE_GATEWAY,
         " does not allow it: gate.example:25"},
        {"HTTP/1.0 400 what", 17, OUTCOME_NET, SCOPE_GATEWAY, " does not speak SOCKS 5"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        struct server s = {.proxy = rows[i].reply, .proxy_len = rows[i].len};
        struct conf_socks socks = {.host = "127.0.0.1"};
        bench_init(&b, NULL);
        socks.port = server_start(&b, &s, 0);
        b.gateway.socks = &socks;
        b.gateway.host = "gate.example";
        b.gateway.port = 25;
        check(bench_run(&b), rows[i].class, PHASE_CONNECT, rows[i].text);
        assert_non_null(strstr(b.rcpts[0].outcome.text, "the SOCKS proxy 127.0.0.1:"));
        assert_int_equal(b.rcpts[0].outcome.scope, rows[i].scope);
        on_loop(&b, server_close, &s);
        b.servers[0] = NULL;
        b.left = 1;
        check(bench_run(&b), OUTCOME_NET, PHASE_CONNECT, "SOCKS proxy: connection refused");
        bench_free(&b);
    }
}

static void a_source_and_an_interface_are_kept_to(void **state)
{
    struct bench b;
    struct server s = {0};
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.interface = "lo";
    assert_true(net_addr_parse_ip(STR("127.0.0.9"), &b.gateway.source));
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    b.gateway.interface = "nosuchlink";
    b.left = 1;
    check(bench_run(&b), OUTCOME_NET, PHASE_CONNECT, "interface");
    assert_int_equal(s.connections, 1);
    bench_free(&b);
}

static void pinned_addresses_need_no_dns(void **state)
{
    struct bench b;
    struct server s = {0};
    struct net_addr pinned[2];
    assert_true(net_addr_parse_ip(STR("127.0.0.77"), &pinned[0])); // nobody listens there
    assert_true(net_addr_parse_ip(STR("127.0.0.1"), &pinned[1]));
    bench_init(&b, NULL);
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.host = "gate.example";
    b.gateway.pinned = pinned;
    b.gateway.pinned_count = 2;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(b.names.asked, 0);
    bench_free(&b);
}

struct hearing {
    struct bench *bench;
    unsigned awaited;
    enum names_status status;
    size_t count;
    char gateway[32], why[160];
};

static void on_address(void *ctx, const struct deliver_address *now)
{
    struct hearing *h = ctx;
    h->status = now->status;
    h->count = now->count;
    snprintf(h->gateway, sizeof(h->gateway), "%s", now->gateway);
    snprintf(h->why, sizeof(h->why), "%s", now->why);
    if (--h->awaited == 0)
        sem_post(&h->bench->told);
}

static void hear(struct hearing *h, const struct fake_name *table, unsigned awaited)
{
    h->awaited = awaited;
    h->bench->names.table = table; // nothing is under way
    deliver_prefetch(h->bench->deliver, &h->bench->conf);
    wait_told(h->bench);
}

static void known_addresses_bridge_a_silent_dns(void **state)
{
    static const struct fake_name well[] = {{"gate.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
                                            {0}};
    static const struct fake_name silent[] = {{"gate.example", NAMES_A, NAMES_FAILED, 0, {0}},
                                              {"gate.example", NAMES_AAAA, NAMES_FAILED, 0, {0}},
                                              {0}};
    static const struct fake_name gone[] = {{0}};
    struct bench b;
    struct server s = {0};
    struct hearing h = {.bench = &b};
    bench_init(&b, well);
    b.conf.refs = 1;
    b.conf.gateways = &b.gateway;
    b.conf.gateway_count = 1;
    b.gateway.enabled = true;
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.host = "gate.example";
    deliver_on_address(b.deliver, b.loop, on_address, &h);
    hear(&h, well, 1);
    assert_string_equal(h.gateway, "gw");
    assert_int_equal(h.count, 1);
    unsigned asked = b.names.asked;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_int_equal(b.names.asked, asked); // mail asks no more
    assert_null(strstr(b.job.facts, "silent"));

    deliver_close_idle(b.deliver);
    hear(&h, silent, 1);
    assert_int_equal(h.status, NAMES_FAILED);
    assert_int_equal(h.count, 1);
    assert_string_equal(h.why, "made up");
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    assert_non_null(strstr(b.job.facts, " ago, DNS is silent)"));

    deliver_close_idle(b.deliver);
    hear(&h, gone, 1);
    assert_int_equal(h.status, NAMES_NXDOMAIN);
    assert_int_equal(h.count, 0);
    b.left = 1;
    check(bench_run(&b), OUTCOME_NO_RECORD, PHASE_RESOLVE, "does not exist");
    bench_free(&b);
    assert_int_equal(b.conf.refs, 1);
}

static void a_changed_address_is_followed(void **state)
{
    static const struct fake_name before[] = {
        {"gate.example", NAMES_A, NAMES_OK, 0, {"127.0.0.77"}}, {0}};
    static const struct fake_name after[] = {{"gate.example", NAMES_A, NAMES_OK, 0, {"127.0.0.1"}},
                                             {0}};
    struct bench b;
    struct server s = {0};
    struct hearing h = {.bench = &b};
    bench_init(&b, before);
    b.conf.refs = 1;
    b.conf.gateways = &b.gateway;
    b.conf.gateway_count = 1;
    b.gateway.enabled = true;
    b.gateway.port = server_start(&b, &s, 0);
    b.gateway.host = "gate.example";
    deliver_on_address(b.deliver, b.loop, on_address, &h);
    hear(&h, before, 1);
    check(bench_run(&b), OUTCOME_NET, PHASE_CONNECT, "refused");
    // The network has changed: what was known is asked for again.
    hear(&h, after, 1);
    b.left = 1;
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken");
    bench_free(&b);
}

static void a_long_list_is_looked_up_at_once(void **state)
{
    enum { MANY = 300, SLOW_MS = 700 };
    static char hosts[MANY][32];
    static struct conf_gateway gateways[MANY];
    static struct fake_name slow[MANY + 1];
    struct bench b;
    struct server s = {0};
    struct hearing h = {.bench = &b};
    for (int i = 0; i < MANY; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "gate%d.example", i);
        slow[i] = (struct fake_name){hosts[i], NAMES_A, NAMES_OK, SLOW_MS, {"127.0.0.1"}};
        gateways[i] = (struct conf_gateway){
            .name = hosts[i], .kind = GATEWAY_SMTP, .host = hosts[i], .enabled = true};
    }
    bench_init(&b, slow);
    b.conf.refs = 1;
    b.conf.gateways = gateways;
    b.conf.gateway_count = MANY;
    b.gateway.port = server_start(&b, &s, 0);
    deliver_on_address(b.deliver, b.loop, on_address, &h);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    h.awaited = MANY;
    deliver_prefetch(b.deliver, &b.conf);
    check(bench_run(&b), OUTCOME_OK, PHASE_FINAL, "taken"); // not delayed by it
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t took = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
    assert_true(took < SLOW_MS);
    wait_told(&b);
    clock_gettime(CLOCK_MONOTONIC, &end);
    took = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
    assert_in_range(took, SLOW_MS, 20 * SLOW_MS); // one after another it would be 210 s
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_answer_disturbs_nobody),
        cmocka_unit_test(our_own_want_is_nobody_elses_fault),
        cmocka_unit_test(a_machine_without_network_blames_nobody),
        cmocka_unit_test(a_message_is_relayed_and_the_connection_kept),
        cmocka_unit_test(a_server_that_cannot_do_what_it_offers_gets_the_old_way_next),
        cmocka_unit_test(another_setting_or_a_close_means_another_connection),
        cmocka_unit_test(a_kept_connection_found_closed_costs_no_outcome),
        cmocka_unit_test(a_kept_connection_is_closed_to_order_and_each_order_answered),
        cmocka_unit_test(a_kept_connection_that_its_server_closes_is_told_of),
        cmocka_unit_test(trouble_has_its_class),
        cmocka_unit_test(nobody_listening_is_the_network),
        cmocka_unit_test(our_own_disk_is_nobody_elses_fault),
        cmocka_unit_test(large_bodies_flow_in_slices),
        cmocka_unit_test(more_recipients_than_the_server_takes_go_in_turns),
        cmocka_unit_test(tls_is_as_asked_for),
        cmocka_unit_test(a_login_goes_over_implicit_tls),
        cmocka_unit_test(lmtp_goes_over_a_unix_socket),
        cmocka_unit_test(a_failed_handshake_is_tried_again_in_clear_when_tls_is_only_wanted),
        cmocka_unit_test(the_first_address_to_stand_wins),
        cmocka_unit_test(direct_delivery_follows_the_mx),
        cmocka_unit_test(mail_never_comes_back_to_us),
        cmocka_unit_test(equal_exchangers_share_and_preference_holds),
        cmocka_unit_test(shutting_down_ends_jobs_as_local),
        cmocka_unit_test(a_proxy_gets_the_name_and_passes_the_greeting),
        cmocka_unit_test(a_proxys_refusals_have_their_class),
        cmocka_unit_test(a_source_and_an_interface_are_kept_to),
        cmocka_unit_test(pinned_addresses_need_no_dns),
        cmocka_unit_test(known_addresses_bridge_a_silent_dns),
        cmocka_unit_test(a_changed_address_is_followed),
        cmocka_unit_test(a_long_list_is_looked_up_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
