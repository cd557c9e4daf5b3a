// SPDX-License-Identifier: ISC
// The whole daemon against scripted servers, in virtual time.
#include "scene.h"

#include "base/mem.h"
#include "simulate/life.h"
#include "spool/store.h"
#include "sys/clock.h"

#include <stdlib.h>

// ---- Servers that do as they are told ----

struct server one = {.ip = "10.0.0.1"}, two = {.ip = "10.0.0.2"}, mx = {.ip = "10.0.1.1"},
              dead = {.ip = "10.0.9.9"};
static struct server *const all[] = {&one, &two, &mx, &dead};
enum { SERVERS = sizeof(all) / sizeof(all[0]) };

struct session {
    struct server *server;
    struct stream *stream;
    bool in_data, null_sender;
    unsigned rcpts;
    char to[64];
};

static void say(struct session *s, const char *text)
{
    stream_write(s->stream, text, strlen(text));
}

static void end(struct session *s)
{
    s->server->now--;
    stream_close(&s->stream, true);
    xfree(s);
}

static bool finish(struct session *s)
{
    struct server *v = s->server;
    s->in_data = false;
    bool good = v->final == NULL || v->lose_final;
    if (good && s->null_sender)
        v->reports++;
    if (good && !s->null_sender) {
        if (v->mails < TIMES)
            v->mail_ms[v->mails] = world_now_ms();
        v->mails++;
        v->rcpts += s->rcpts;
        snprintf(v->last, sizeof(v->last), "%s", s->to);
    }
    if (v->lose_final) {
        end(s);
        return false;
    }
    say(s, v->final != NULL ? v->final : "250 2.0.0 stored\r\n");
    return true;
}

static void on_rcpt(struct session *s, struct str line)
{
    struct server *v = s->server;
    if (v->asked < TIMES)
        v->asked_ms[v->asked] = world_now_ms();
    v->asked++;
    snprintf(s->to, sizeof(s->to), "%.*s", STR_FMT(line));
    bool meant = v->only == NULL || strstr(s->to, v->only) != NULL;
    if (v->rcpt != NULL && meant) {
        say(s, v->rcpt);
        return;
    }
    s->rcpts++;
    say(s, "250 2.1.5 yes\r\n");
}

static bool on_line(struct session *s, struct str line)
{
    if (s->in_data)
        return line.len != 3 || line.ptr[0] != '.' || finish(s);
    if (str_istarts(line, STR("EHLO"))) {
        say(s, "250-server\r\n250-DSN\r\n250 8BITMIME\r\n");
    } else if (str_istarts(line, STR("MAIL"))) {
        s->rcpts = 0;
        s->null_sender = str_istarts(line, STR("MAIL FROM:<>"));
        say(s, "250 2.1.0 yes\r\n");
    } else if (str_istarts(line, STR("RCPT"))) {
        on_rcpt(s, line);
    } else if (str_istarts(line, STR("DATA"))) {
        s->in_data = s->rcpts > 0;
        say(s, s->in_data ? "354 go\r\n" : "554 5.5.1 nobody\r\n");
    } else if (str_istarts(line, STR("QUIT"))) {
        end(s);
        return false;
    } else {
        say(s, "250 2.0.0 well\r\n");
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
            break;
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
    if (++s->server->now > s->server->most_at_once)
        s->server->most_at_once = s->server->now;
    stream_attach(stream, &handler, s);
    say(s, s->server->greeting != NULL ? s->server->greeting : "220 hello\r\n");
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    char text[NET_ADDR_TEXT];
    net_addr_format(to, text);
    for (size_t i = 0; i < SERVERS; i++)
        if (all[i]->down && strstr(text, all[i]->ip) != NULL)
            link->fate = WORLD_LINK_REFUSED;
    if (strstr(text, dead.ip) != NULL)
        link->fate = WORLD_LINK_BLACKHOLE;
}

// ---- The daemon ----

struct scene run;

struct conf *scene_conf(void)
{
    struct conf *conf = life_conf("test.yaml", str_of(run.config), false);
    assert_non_null(conf);
    return conf;
}

static void boot(void *ctx)
{
    struct err err;
    if (!life_begin(scene_conf(), &run.daemon, &run.conductor, &err))
        fail_msg("%s", err.text);
}

void start(const char *config)
{
    run.config = config;
    assert_int_not_equal(world_boot(boot, NULL), WORLD_CRASHED);
}

void pass(int64_t ms)
{
    assert_int_not_equal(world_run_until(world_now_ms() + ms, NULL, NULL), WORLD_CRASHED);
}

static void on_reloaded(void *ctx, bool ok, const struct err *err)
{
    assert_true(ok);
    run.reloaded = true;
}

static void do_reload(void *ctx)
{
    struct conf *conf = scene_conf();
    daemon_reload(run.daemon, conf, on_reloaded, NULL);
    conf_unref(&conf);
}

void reload(const char *config)
{
    run.config = config;
    run.reloaded = false;
    world_boot(do_reload, NULL);
    pass(100);
    assert_true(run.reloaded);
}

struct mail {
    const char *to;
    enum envelope_priority priority;
    size_t count; // of recipients: user0@..., user1@...
};

static void do_send(void *ctx)
{
    const struct mail *mail = ctx;
    struct store *store = daemon_store(run.daemon);
    struct arena *arena = arena_new();
    struct envelope e = {
        .sender = STR("sender@home.example"), .client = STR("local"), .priority = mail->priority};
    e.accepted_ms = (int64_t)1 << 40;
    e.count = mail->count > 0 ? mail->count : 1;
    e.rcpts = arena_alloc(arena, e.count * sizeof(*e.rcpts));
    for (size_t i = 0; i < e.count; i++)
        e.rcpts[i].address = str_of(arena_printf(arena, "user%zu@%s", i, mail->to));
    e.accepted_ms = clock_wall_ms();
    static const char content[] = "Subject: a test\r\n\r\nHello.\r\n";
    struct err err;
    struct store_body *body = store_body_begin(store, run.conductor, sizeof(content) - 1);
    assert_int_equal(store_body_append(body, content, sizeof(content) - 1, NULL, NULL, &err), 1);
    run.last_id = store_next_id(store);
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = run.last_id,
                          .wall_ms = e.accepted_ms,
                          .envelope = &e,
                          .body = body};
    store_commit_quietly(store, &op, 1);
    arena_free(&arena);
}

void send_mail(const char *to, enum envelope_priority priority, size_t rcpts)
{
    struct mail mail = {to, priority, rcpts};
    world_boot(do_send, &mail);
}

void send_one(const char *to)
{
    send_mail(to, PRIORITY_NORMAL, 1);
}

static struct queue_counts counts;
static void do_count(void *ctx)
{
    queue_counts(daemon_queue(run.daemon), &counts);
}
uint64_t waiting(void)
{
    world_boot(do_count, NULL);
    return counts.recipients;
}

int setup(void **state)
{
    world_new(7);
    memset(&run, 0, sizeof(run));
    world_disk_mkdirs("/spool");
    world_disk_mkdirs("/run");
    world_on_connect(decide, NULL);
    world_name_mx("direct.example", 10, "mx.direct.example");
    world_name_address("mx.direct.example", "10.0.1.1");
    world_name_mx("dead.example", 10, "mx.dead.example");
    world_name_address("mx.dead.example", "10.0.9.9");
    world_name_mx("home.example", 10, "mx.home.example");
    world_name_address("mx.home.example", "10.0.1.1");
    for (size_t i = 0; i < SERVERS; i++) {
        const char *ip = all[i]->ip;
        *all[i] = (struct server){.ip = ip};
        struct net_addr at;
        assert_true(net_addr_parse(str_of(ip), 25, &at));
        all[i]->listener = world_listen(&at, on_accepted, all[i]);
    }
    return 0;
}

int teardown(void **state)
{
    if (run.daemon != NULL) {
        assert_true(life_end(&run.daemon, &run.conductor));
        assert_int_equal(world_daemon_bytes(), 0);
    }
    for (size_t i = 0; i < SERVERS; i++)
        listener_free(&all[i]->listener);
    world_free();
    return 0;
}
