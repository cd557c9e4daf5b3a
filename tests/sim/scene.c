// SPDX-License-Identifier: ISC
// The whole daemon against scripted servers, in virtual time.
#include "scene.h"

#include "base/mem.h"
#include "simulate/life.h"
#include "spool/store.h"
#include "sys/clock.h"

#include <stdlib.h>

// ---- Servers that do as they are told ----

struct server one = {.ip = "10.0.0.1"}, two = {.ip = "10.0.0.2"}, three = {.ip = "10.0.0.3"},
              mx = {.ip = "10.0.1.1"}, dead = {.ip = "10.0.9.9"};
static struct server *const all[] = {&one, &two, &three, &mx, &dead};
enum { SERVERS = sizeof(all) / sizeof(all[0]) };

struct session {
    struct server *server;
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
    s->server->now--;
    stream_close(&s->stream, true);
    xfree(s);
}

static void take(struct session *s)
{
    struct server *v = s->server;
    if (s->null_sender) {
        v->reports++;
        return;
    }
    if ((v->mails & (v->mails - 1)) == 0)
        v->taken = realloc(v->taken, (v->mails > 0 ? v->mails * 2 : 1) * sizeof(*v->taken));
    v->taken[v->mails++] = (struct taken){world_now_ms(), clock_wall_ms(), s->rcpts, s->bytes};
    v->rcpts += s->rcpts;
    snprintf(v->last, sizeof(v->last), "%s", s->to);
}

static bool finish(struct session *s)
{
    struct server *v = s->server;
    s->in_data = false;
    if (v->final == NULL || v->lose_final)
        take(s);
    if (v->lose_final) {
        end(s);
        return false;
    }
    say(s, v->final, "250 2.0.0 stored\r\n");
    return true;
}

static void on_rcpt(struct session *s, struct str line)
{
    struct server *v = s->server;
    if (v->asked < TIMES)
        v->asked_ms[v->asked] = world_now_ms();
    v->asked++;
    snprintf(s->to, sizeof(s->to), "%.*s", STR_FMT(line));
    bool refused = v->rcpt != NULL && (v->only == NULL || strstr(s->to, v->only) != NULL);
    s->rcpts += !refused;
    say(s, refused ? v->rcpt : NULL, "250 2.1.5 yes\r\n");
}

static bool on_line(struct session *s, struct str line)
{
    struct server *v = s->server;
    if (s->in_data) {
        if (line.len == 3 && line.ptr[0] == '.')
            return finish(s);
        s->bytes += line.len;
        return true;
    }
    if (str_istarts(line, STR("EHLO"))) {
        v->sessions++;
        say(s, v->ehlo, "250-server\r\n250-DSN\r\n250 8BITMIME\r\n");
    } else if (str_istarts(line, STR("AUTH"))) {
        v->logins++;
        say(s, NULL, "235 2.7.0 welcome\r\n");
    } else if (str_istarts(line, STR("MAIL"))) {
        s->rcpts = 0;
        s->bytes = 0;
        s->null_sender = str_istarts(line, STR("MAIL FROM:<>"));
        say(s, v->mail, "250 2.1.0 yes\r\n");
    } else if (str_istarts(line, STR("RCPT"))) {
        on_rcpt(s, line);
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
    say(s, s->server->greeting, "220 hello\r\n");
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    char text[NET_ADDR_TEXT];
    net_addr_format_ip(to, text);
    bool to_us = strcmp(text, OWN_ADDRESS) == 0; // clients
    link->fate = to->family == NET_IPV4 && !to_us ? WORLD_LINK_BLACKHOLE : WORLD_LINK_UP;
    link->reset_after = link->silent_after = UINT64_MAX;
    for (size_t i = 0; i < SERVERS; i++) {
        const struct server *v = all[i];
        if (v == &dead || strcmp(text, v->ip) != 0)
            continue;
        link->fate = v->down ? WORLD_LINK_REFUSED : v->fate;
        if (v->slow_us > 0)
            link->latency_us = v->slow_us;
        if (world_chance(v->lost_permille))
            link->reset_after = world_below(800);
    }
}

// ---- The daemon ----

struct scene run;

struct conf *scene_conf(void)
{
    struct conf *conf = life_conf("test.yaml", str_of(run.config), false);
    assert_non_null(conf);
    if (run.tune != NULL)
        run.tune(conf);
    return conf;
}

struct conf_gateway *tuned_gateway(struct conf *conf, const char *name)
{
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(name));
    assert_non_null(g);
    return (struct conf_gateway *)g; // nobody has seen it yet
}

static void boot(void *ctx)
{
    struct err err;
    if (!life_begin(scene_conf(), &run.daemon, &run.conductor, &err))
        fail_msg("%s", err.text);
}

void restart(void)
{
    do
        run.daemon = NULL;
    while (world_boot(boot, NULL) == WORLD_CRASHED);
}

void start_tuned(const char *config, scene_tune *tune)
{
    run.config = config;
    run.tune = tune;
    restart();
}

void start(const char *config)
{
    start_tuned(config, NULL);
}

void stop(void)
{
    world_crash_at_call(0, WORLD_KILLED);
    assert_true(life_end(&run.daemon, &run.conductor));
    assert_int_equal(world_daemon_bytes(), 0);
}

void crash(enum world_crash how)
{
    world_crash(how);
    run.daemon = NULL;
}

void pass(int64_t ms)
{
    int64_t end_ms = world_now_ms() + ms;
    while (world_run_until(end_ms, NULL, NULL) == WORLD_CRASHED)
        restart();
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

void reload_tuned(const char *config, scene_tune *tune)
{
    run.config = config;
    run.tune = tune;
    run.reloaded = false;
    world_boot(do_reload, NULL);
    pass(100);
    assert_true(run.reloaded);
}

void reload(const char *config)
{
    reload_tuned(config, NULL);
}

struct mail {
    const char *to;
    enum envelope_priority priority;
    size_t count, bytes;
};

static struct str content(struct arena *arena, size_t bytes)
{
    size_t len = bytes > 64 ? bytes : 64;
    char *text = arena_alloc(arena, len);
    memset(text, 'x', len);
    for (size_t i = 60; i + 1 < len; i += 62)
        memcpy(text + i, "\r\n", 2);
    memcpy(text, "Subject: a test\r\n\r\n", 19);
    memcpy(text + len - 2, "\r\n", 2);
    return str_make(text, len);
}

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
    struct str text = content(arena, mail->bytes);
    struct err err;
    struct store_body *body = store_body_begin(store, run.conductor, text.len);
    assert_int_equal(store_body_append(body, text.ptr, text.len, NULL, NULL, &err), 1);
    run.last_id = store_next_id(store);
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = run.last_id,
                          .wall_ms = e.accepted_ms,
                          .envelope = &e,
                          .body = body};
    store_commit_quietly(store, &op, 1);
    arena_free(&arena);
}

void send_mail(const char *to, enum envelope_priority priority, size_t rcpts, size_t bytes)
{
    struct mail mail = {to, priority, rcpts, bytes};
    if (world_boot(do_send, &mail) == WORLD_CRASHED)
        restart();
}

void send_one(const char *to)
{
    send_mail(to, PRIORITY_NORMAL, 1, 0);
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

static struct queue_gateway_view views[16], *found;
static void do_view(void *ctx)
{
    size_t n = queue_gateways(daemon_queue(run.daemon), views, 16);
    found = NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(views[i].name, ctx) == 0)
            found = &views[i];
}
const struct queue_gateway_view *gateway_view(const char *name)
{
    world_boot(do_view, (void *)(uintptr_t)name);
    assert_non_null(found);
    return found;
}

void scene_new(uint64_t seed)
{
    world_new(seed);
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
}

int setup(void **state)
{
    scene_new(7);
    world_set_zone(0);
    return 0;
}

void scene_free(void)
{
    if (run.daemon != NULL)
        stop();
    for (size_t i = 0; i < SERVERS; i++) {
        listener_free(&all[i]->listener);
        free(all[i]->taken);
        all[i]->taken = NULL;
    }
    world_free();
}

int teardown(void **state)
{
    scene_free();
    return 0;
}
