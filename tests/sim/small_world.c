// SPDX-License-Identifier: ISC
// A daemon and a few scripted servers in the simulated world.
#include "small_world.h"

#include "base/mem.h"
#include "simulate/life.h"
#include "spool/store.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

struct small_server one = {.ip = "10.0.0.1"}, two = {.ip = "10.0.0.2"}, three = {.ip = "10.0.0.3"},
                    mx = {.ip = "10.0.1.1"};
static struct small_server *const all[SERVERS] = {&one, &two, &three, &mx};

static struct {
    struct daemon *daemon;
    struct loop *conductor;
    const char *config;
    small_tune *tune;
    bool reloaded;
    struct queue_gateway_view views[16];
} run;

// ---- Servers ----

struct session {
    struct small_server *server;
    struct stream *stream;
    bool in_data, null_sender;
    unsigned rcpts;
    size_t bytes;
    char to[64];
};

static void say(struct session *s, const char *text, const char *usual)
{
    text = text != NULL ? text : usual;
    stream_write(s->stream, text, strlen(text));
}

static void end(struct session *s)
{
    stream_close(&s->stream, true);
    xfree(s);
}

static void finish(struct session *s)
{
    struct small_server *v = s->server;
    s->in_data = false;
    if (v->final == NULL && s->null_sender)
        v->reports++;
    if (v->final == NULL && !s->null_sender) {
        if ((v->mails & (v->mails - 1)) == 0)
            v->taken = realloc(v->taken, (v->mails > 0 ? v->mails * 2 : 1) * sizeof(*v->taken));
        v->taken[v->mails++] = (struct taken){world_now_ms(), clock_wall_ms(), s->rcpts, s->bytes};
        v->rcpts += s->rcpts;
        snprintf(v->last, sizeof(v->last), "%s", s->to);
    }
    say(s, v->final, "250 2.0.0 stored\r\n");
}

static bool on_line(struct session *s, struct str line)
{
    struct small_server *v = s->server;
    if (s->in_data) {
        if (line.len == 3 && line.ptr[0] == '.')
            finish(s);
        else
            s->bytes += line.len;
    } else if (str_istarts(line, STR("EHLO"))) {
        v->sessions++;
        say(s, v->ehlo, "250-server\r\n250 8BITMIME\r\n");
    } else if (str_istarts(line, STR("AUTH"))) {
        v->logins++;
        say(s, NULL, "235 2.7.0 welcome\r\n");
    } else if (str_istarts(line, STR("MAIL"))) {
        s->rcpts = 0;
        s->bytes = 0;
        s->null_sender = str_istarts(line, STR("MAIL FROM:<>"));
        say(s, v->mail, "250 2.1.0 yes\r\n");
    } else if (str_istarts(line, STR("RCPT"))) {
        snprintf(s->to, sizeof(s->to), "%.*s", STR_FMT(line));
        s->rcpts += v->rcpt == NULL;
        say(s, v->rcpt, "250 2.1.5 yes\r\n");
    } else if (str_istarts(line, STR("DATA"))) {
        s->in_data = s->rcpts > 0;
        say(s, NULL, s->in_data ? "354 go\r\n" : "554 5.5.1 nobody\r\n");
    } else if (str_istarts(line, STR("QUIT"))) {
        end(s);
        return false;
    } else {
        say(s, NULL, "250 2.0.0 well\r\n");
    }
    return true;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    size_t taken = 0;
    for (const char *nl; (nl = memchr(bytes + taken, '\n', len - taken)) != NULL;) {
        struct str line = str_make(bytes + taken, (size_t)(nl - bytes) + 1 - taken);
        taken += line.len;
        if (!on_line(ctx, line))
            return len;
    }
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        end(ctx);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->server = ctx;
    s->stream = stream;
    s->server->connections++;
    stream_attach(stream, &handler, s);
    say(s, s->server->greeting, "220 hello\r\n");
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    char text[NET_ADDR_TEXT];
    net_addr_format_ip(to, text);
    link->fate = WORLD_LINK_UP;
    link->reset_after = link->silent_after = UINT64_MAX;
    for (size_t i = 0; i < SERVERS; i++) {
        if (strcmp(text, all[i]->ip) != 0)
            continue;
        link->fate = all[i]->fate;
        if (all[i]->slow_us > 0)
            link->latency_us = all[i]->slow_us;
        if (world_chance(all[i]->lost_permille))
            link->reset_after = world_below(800);
    }
    // Whoever is not there is silent.
    bool known = false;
    for (size_t i = 0; i < SERVERS; i++)
        known = known || strcmp(text, all[i]->ip) == 0;
    if (!known && to->family == NET_IPV4)
        link->fate = WORLD_LINK_BLACKHOLE;
}

void small_new(uint64_t seed)
{
    world_new(seed);
    memset(&run, 0, sizeof(run));
    world_disk_mkdirs("/spool");
    world_disk_mkdirs("/run");
    world_on_connect(decide, NULL);
    world_name_mx("direct.example", 10, "mx.direct.example");
    world_name_address("mx.direct.example", "10.0.1.1");
    for (size_t i = 0; i < SERVERS; i++) {
        const char *ip = all[i]->ip;
        *all[i] = (struct small_server){.ip = ip};
        struct net_addr at;
        assert_true(net_addr_parse(str_of(ip), 25, &at));
        all[i]->listener = world_listen(&at, on_accepted, all[i]);
    }
}

void small_free(void)
{
    if (run.daemon != NULL)
        small_stop();
    for (size_t i = 0; i < SERVERS; i++) {
        listener_free(&all[i]->listener);
        free(all[i]->taken);
        all[i]->taken = NULL;
    }
    world_free();
}

// ---- The daemon ----

struct conf_gateway *small_gateway(struct conf *conf, const char *name)
{
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(name));
    assert_non_null(g);
    return (struct conf_gateway *)g; // nobody has seen it yet
}

static struct conf *read_conf(void)
{
    struct conf *conf = life_conf("test.yaml", str_of(run.config), false);
    assert_non_null(conf);
    if (run.tune != NULL)
        run.tune(conf);
    return conf;
}

static void boot(void *ctx)
{
    struct err err;
    if (!life_begin(read_conf(), &run.daemon, &run.conductor, &err))
        fail_msg("%s", err.text);
}

void small_restart(void)
{
    run.daemon = NULL;
    while (world_boot(boot, NULL) == WORLD_CRASHED)
        run.daemon = NULL;
}

void small_start(const char *config, small_tune *tune)
{
    run.config = config;
    run.tune = tune;
    small_restart();
}

bool small_running(void)
{
    return run.daemon != NULL;
}

void small_crash(enum world_crash how)
{
    world_crash(how);
    run.daemon = NULL;
}

void small_pass(int64_t ms)
{
    int64_t end_ms = world_now_ms() + ms;
    while (world_run_until(end_ms, NULL, NULL) == WORLD_CRASHED)
        small_restart();
}

void small_stop(void)
{
    world_crash_at_call(0, WORLD_KILLED);
    assert_true(life_end(&run.daemon, &run.conductor));
    assert_int_equal(world_daemon_bytes(), 0);
    run.daemon = NULL;
}

static void on_reloaded(void *ctx, bool ok, const struct err *err)
{
    assert_true(ok);
    run.reloaded = true;
}
static void do_reload(void *ctx)
{
    struct conf *conf = read_conf();
    daemon_reload(run.daemon, conf, on_reloaded, NULL);
    conf_unref(&conf);
}

void small_reload(const char *config, small_tune *tune)
{
    run.config = config;
    run.tune = tune;
    run.reloaded = false;
    world_boot(do_reload, NULL);
    small_pass(100);
    assert_true(run.reloaded);
}

struct mail {
    const char *to;
    enum envelope_priority priority;
    size_t count, bytes;
};

static void do_send(void *ctx)
{
    const struct mail *mail = ctx;
    struct store *store = daemon_store(run.daemon);
    struct arena *arena = arena_new();
    struct envelope e = {.sender = STR("sender@home.example"),
                         .client = STR("local"),
                         .priority = mail->priority,
                         .accepted_ms = clock_wall_ms(),
                         .count = mail->count};
    e.rcpts = arena_alloc(arena, e.count * sizeof(*e.rcpts));
    for (size_t i = 0; i < e.count; i++)
        e.rcpts[i].address = str_of(arena_printf(arena, "user%zu@%s", i, mail->to));
    size_t len = mail->bytes > 64 ? mail->bytes : 64;
    char *content = arena_alloc(arena, len);
    memset(content, 'x', len);
    for (size_t i = 60; i + 1 < len; i += 62)
        memcpy(content + i, "\r\n", 2);
    memcpy(content, "Subject: a test\r\n\r\n", 19);
    memcpy(content + len - 2, "\r\n", 2);
    struct err err;
    struct store_body *body = store_body_begin(store, run.conductor, len);
    assert_int_equal(store_body_append(body, content, len, NULL, NULL, &err), 1);
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = store_next_id(store),
                          .wall_ms = e.accepted_ms,
                          .envelope = &e,
                          .body = body};
    store_commit_quietly(store, &op, 1);
    arena_free(&arena);
}

void small_send(const char *to, enum envelope_priority priority, size_t rcpts, size_t bytes)
{
    struct mail mail = {to, priority, rcpts, bytes};
    if (world_boot(do_send, &mail) == WORLD_CRASHED)
        small_restart();
}

void small_send_one(void)
{
    small_send("far.example", PRIORITY_NORMAL, 1, 0);
}

static struct queue_counts counts;
static void do_count(void *ctx)
{
    queue_counts(daemon_queue(run.daemon), &counts);
}
uint64_t small_waiting(void)
{
    world_boot(do_count, NULL);
    return counts.recipients;
}

struct queue *small_queue(void)
{
    return daemon_queue(run.daemon);
}

static struct queue_gateway_view *found;
static void do_view(void *ctx)
{
    size_t n = queue_gateways(small_queue(), run.views, 16);
    found = NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(run.views[i].name, ctx) == 0)
            found = &run.views[i];
}
struct queue_gateway_view *small_gateway_view(const char *name)
{
    world_boot(do_view, (void *)(uintptr_t)name);
    assert_non_null(found);
    return found;
}
