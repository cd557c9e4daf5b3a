// SPDX-License-Identifier: ISC
// Sessions over real sockets into a real store: what a client sees, and what the conductor gets.
#include "accept/accept.h"
#include "accept/drop.h"

#include "base/list.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/stream.h"
#include "sys/tls.h"
#include "sys/worker.h"

#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- A small daemon: store, conductor, one session loop. ----

struct world {
    char dir[64];
    char users[96];
    struct store *store;
    struct loop *conductor, *sessions;
    struct conf *conf;
    struct conf_listener set;
    struct net_addr address;
    struct accept *accept;
    struct drop *drop;
    sem_t arrived; // a message reached the conductor
    struct store_message *message;
    bool closed_gate;
};

// Runs fn on a loop's thread and waits for it.
struct call {
    struct post post; // first
    void (*fn)(struct world *w);
    struct world *w;
    sem_t done;
};

static void run_call(struct post *post)
{
    struct call *c = (struct call *)post;
    c->fn(c->w);
    sem_post(&c->done);
}

static void on_loop(struct world *w, void (*fn)(struct world *w))
{
    struct call c = {.post.run = run_call, .fn = fn, .w = w};
    sem_init(&c.done, 0, 0);
    loop_post(w->sessions, &c.post);
    while (sem_wait(&c.done) != 0) {
    }
    sem_destroy(&c.done);
}

static void on_accepted(void *ctx, struct store_message *m)
{
    struct world *w = ctx;
    store_message_free(&w->message);
    w->message = m;
    sem_post(&w->arrived);
}

static void on_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
}

static bool gate(void *ctx, struct err *why)
{
    struct world *w = ctx;
    if (w->closed_gate)
        err_set(why, "too many messages wait; try again later");
    return !w->closed_gate;
}

static struct conf *make_conf(struct world *w, const struct conf_listener *set)
{
    struct arena *arena = arena_new();
    struct conf *conf = arena_alloc(arena, sizeof(*conf));
    struct conf_listener *copy = arena_alloc(arena, sizeof(*copy));
    *copy = *set;
    atomic_store(&conf->refs, 1);
    conf->arena = arena;
    conf->file = "(test)";
    conf->hostname = "mx.test";
    conf->spool_dir = conf->run_dir = w->dir;
    conf->listeners = copy;
    conf->listener_count = 1;
    static const char *const asked[] = {"list-id", "x-job"};
    conf->asks_headers = asked;
    conf->ask_header_count = 2;
    return conf;
}

static void world_open(struct world *w)
{
    struct err err;
    struct conf_listener set = w->set;
    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/waypost-accept-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->users, sizeof(w->users), "%s/users", w->dir);
    net_addr_parse(STR("127.0.0.1:0"), 0, &w->address);
    set.name = "test";
    set.addresses = &w->address;
    set.address_count = 1;
    set.message_size = set.message_size != 0 ? set.message_size : 1000000;
    set.recipients = 100;
    if (set.auth != LISTEN_AUTH_OFF)
        set.users = w->users;
    w->set = set;
    sem_init(&w->arrived, 0, 0);
    struct store_settings settings = {.dir = w->dir, .disk_floor = 1};
    w->store = store_open(&settings, on_accepted, w, &err);
    if (w->store == NULL)
        fail_msg("%s", err.text);
    w->conductor = loop_new("conductor");
    w->sessions = loop_new("sessions");
    store_start(w->store, w->conductor, on_accepted, on_moved, w);
    w->conf = make_conf(w, &w->set);
    w->accept = accept_new(w->sessions, w->conf, w->store, &err);
    if (w->accept == NULL || !accept_open_unix(w->accept, &err))
        fail_msg("%s", err.text);
    accept_set_gate(w->accept, gate, w);
    loop_start(w->conductor);
    loop_start(w->sessions);
}

static sem_t stopped;

static void on_stopped(void *ctx)
{
    sem_post(&stopped);
}

static void stop_accept(struct world *w)
{
    accept_stop(w->accept, on_stopped, NULL);
}

static void wait_stopped(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(&stopped, &until), 0);
}

static void free_all(struct world *w)
{
    accept_free(&w->accept);
    drop_free(&w->drop);
}

static void world_close(struct world *w)
{
    sem_init(&stopped, 0, 0);
    on_loop(w, stop_accept);
    wait_stopped();
    on_loop(w, free_all);
    store_close(&w->store);
    loop_stop(w->sessions);
    loop_join(w->sessions);
    loop_stop(w->conductor);
    loop_join(w->conductor);
    loop_free(&w->sessions);
    loop_free(&w->conductor);
    conf_unref(&w->conf);
    store_message_free(&w->message);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    memset(w, 0, sizeof(*w));
}

// ---- A client that talks. ----

static int dial_port(uint16_t port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int dial(struct world *w)
{
    int fd = dial_port(accept_addr(w->accept, "test")->port);
    assert_true(fd >= 0);
    return fd;
}

static int dial_unix(struct world *w)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/submit.sock", w->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

// Reads one reply, all its lines; "" at the end.
static void hear(int fd, char *out, size_t size)
{
    size_t len = 0, line = 0;
    out[0] = '\0';
    while (len + 1 < size) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 10000) != 1 || read(fd, out + len, 1) != 1)
            return;
        out[++len] = '\0';
        if (out[len - 1] != '\n')
            continue;
        if (len - line > 4 && out[line + 3] == ' ')
            return;
        line = len;
    }
}

static void expect(int fd, const char *begin)
{
    char text[8192];
    hear(fd, text, sizeof(text));
    if (strncmp(text, begin, strlen(begin)) != 0)
        fail_msg("expected '%s', got '%s'", begin, text);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void ask(int fd, const char *text, const char *begin)
{
    say(fd, text);
    expect(fd, begin);
}

static void wait_message(struct world *w)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    assert_int_equal(sem_timedwait(&w->arrived, &until), 0);
}

static void no_message(struct world *w)
{
    assert_int_not_equal(sem_trywait(&w->arrived), 0);
}

// The envelope and the content of the message that arrived last.
static void read_message(struct world *w, struct arena *arena, struct envelope *e, char *body,
                         size_t size)
{
    struct err err;
    assert_true(envelope_unpack(w->message->packed, arena, e));
    struct body_source *src = store_body_source(w->store, w->sessions, w->message->id,
                                                &w->message->body, w->message->blob, &err);
    assert_non_null(src);
    assert_true(src->size < size);
    if (src->whole.ptr != NULL)
        memcpy(body, src->whole.ptr, src->whole.len);
    else
        assert_int_equal(src->ops->read_now(src, 0, body, src->size), src->size);
    body[src->size] = '\0';
    src->ops->release(src);
}

// ---- Tests. ----

static void test_accepted(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220 mx.test ESMTP");
    ask(fd, "EHLO c.test\r\n", "250-mx.test");
    say(fd, "MAIL FROM:<a@b> ENVID=x RET=HDRS\r\nRCPT TO:<c@D> NOTIFY=NEVER\r\nRCPT "
            "TO:<e@f>\r\nDATA\r\n");
    expect(fd, "250 2.1.0");
    expect(fd, "250 2.1.5");
    expect(fd, "250 2.1.5");
    expect(fd, "354");
    say(fd, "Subject: hello\r\n\r\n..dot\r\ncaf\xc3\xa9\r\n.\r\n");
    char text[400];
    hear(fd, text, sizeof(text));
    assert_non_null(strstr(text, "accepted, on disk\r\n"));
    assert_memory_equal(text, "250 2.0.0 ", 10);
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    char body[2000];
    read_message(&w, arena, &e, body, sizeof(body));
    assert_true(str_eq(e.sender, STR("a@b")));
    assert_int_equal(e.count, 2);
    assert_true(str_eq(e.rcpts[0].address, STR("c@d")));
    assert_int_equal(e.rcpts[0].notify, NOTIFY_NEVER);
    assert_true(str_eq(e.envid, STR("x")) && e.ret == RET_HDRS);
    assert_true(str_eq(e.client, STR("127.0.0.1")) && str_eq(e.helo, STR("c.test")));
    assert_true(str_eq(e.listener, STR("test")) && str_eq(e.subject, STR("hello")));
    assert_int_equal(e.body, BODY_8BITMIME);
    assert_memory_equal(body, "Received: from c.test", 20);
    assert_non_null(strstr(body, "\r\nSubject: hello\r\n\r\n.dot\r\ncaf\xc3\xa9\r\n"));
    arena_free(&arena);
    ask(fd, "QUIT\r\n", "221");
    close(fd);
    world_close(&w);
}

static void expect_kept(const struct envelope *e, const char *text, enum envelope_priority priority)
{
    assert_int_equal(e->header_count, 1);
    assert_true(str_eq(e->headers[0].name, STR("x-job")));
    assert_true(str_eq(e->headers[0].text, str_of(text)));
    assert_int_equal(e->priority, priority);
}

// What rules ask for is with the envelope on disk. A message whose end never comes leaves nothing
// behind.
static void test_kept_headers(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220 mx.test ESMTP");
    ask(fd, "HELO c.test\r\n", "250 mx.test");
    ask(fd, "MAIL FROM:<a@b>\r\n", "250");
    ask(fd, "RCPT TO:<c@d>\r\n", "250");
    ask(fd, "DATA\r\n", "354");
    say(fd, "X-JOB:  =?utf-8?q?gr=C3=BCn?=\r\n und");
    ask(fd, " rot\r\nImportance: High\r\nX-Other: y\r\n\r\nList-Id: x\r\n.\r\n", "250 2.0.0");
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    char body[2000];
    read_message(&w, arena, &e, body, sizeof(body));
    expect_kept(&e, "gr\xc3\xbcn und rot", PRIORITY_URGENT);
    arena_free(&arena);
    ask(fd, "MAIL FROM:<a@b>\r\n", "250");
    ask(fd, "RCPT TO:<c@d>\r\n", "250");
    ask(fd, "DATA\r\n", "354");
    say(fd, "X-Job: half");
    close(fd);
    world_close(&w);
}

// Larger than what is kept in memory, by BDAT, in pieces.
static void test_large(void **state)
{
    struct world w = {.set.message_size = 3000000};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "MAIL FROM:<a@b> SIZE=3000001\r\n", "552 5.3.4");
    ask(fd, "MAIL FROM:<a@b> SIZE=2000000\r\n", "250");
    ask(fd, "RCPT TO:<c@d>\r\n", "250");
    char *chunk = xmalloc(500001);
    for (int i = 0; i < 500000; i += 50)
        memcpy(chunk + i, "0123456789012345678901234567890123456789012345678\r\n", 50);
    for (int i = 48; i < 500000; i += 50)
        memcpy(chunk + i, "\r\n", 2);
    chunk[500000] = '\0';
    for (int i = 0; i < 4; i++) {
        say(fd, i < 3 ? "BDAT 500000\r\n" : "BDAT 500000 LAST\r\n");
        say(fd, chunk);
        expect(fd, "250 2.0.0");
    }
    xfree(chunk);
    wait_message(&w);
    assert_true(w.message->body.size > 2000000 && w.message->body.size < 2002000);
    close(fd);
    world_close(&w);
}

static void test_lost_in_data(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    say(fd, "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf a message\r\n");
    for (int i = 0; i < 3; i++)
        expect(fd, "250");
    expect(fd, "354");
    close(fd);
    fd = dial(&w);
    expect(fd, "220");
    // Everything at once and then the end of our side: the 250 still comes.
    say(fd, "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nwhole\r\n.\r\nQUIT\r\n");
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 3; i++)
        expect(fd, "250");
    expect(fd, "354");
    expect(fd, "250 2.0.0");
    expect(fd, "221");
    wait_message(&w);
    close(fd);
    no_message(&w);
    world_close(&w);
}

static void test_policy(void **state)
{
    static const char *const from[] = {"scanner@*"}, *const to[] = {"*@example.org"};
    struct world w = {
        .set = {.from = from, .from_count = 1, .to = to, .to_count = 1, .message_size = 100000}};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "MAIL FROM:<other@x>\r\n", "550 5.7.1");
    w.closed_gate = true;
    ask(fd, "MAIL FROM:<scanner@x>\r\n", "452 4.3.1 too many messages wait");
    w.closed_gate = false;
    ask(fd, "MAIL FROM:<scanner@x>\r\n", "250");
    ask(fd, "RCPT TO:<a@elsewhere>\r\n", "550 5.7.1");
    ask(fd, "RCPT TO:<a@Example.org>\r\n", "250");
    ask(fd, "DATA\r\n", "354");
    for (int i = 0; i <= LIMIT_HOPS; i++)
        say(fd, "Received: by loop\r\n");
    ask(fd, "\r\n.\r\n", "554 5.4.6");
    ask(fd, "MAIL FROM:<scanner@x>\r\n", "250");
    ask(fd, "RCPT TO:<a@example.org>\r\n", "250");
    ask(fd, "DATA\r\n", "354");
    ask(fd, "bare\nline\r\n.\r\n", "550 5.6.11");
    no_message(&w);
    struct accept_counts n, other;
    accept_counts(w.accept, "test", &n);
    accept_counts(w.accept, "no such", &other);
    assert_true(n.open == 1 && n.connections == 1 && n.turned_away == 0 && n.messages == 0);
    assert_int_equal(n.refused, 5); // two senders, one recipient, two messages
    assert_true(other.connections == 0 && other.refused == 0);
    close(fd);
    world_close(&w);
}

static void send_content(struct world *w, int fd, const char *const pieces[])
{
    say(fd, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    expect(fd, "250");
    expect(fd, "250");
    for (; *pieces != NULL; pieces++) {
        char text[64];
        snprintf(text, sizeof(text), "BDAT %zu%s\r\n", strlen(*pieces),
                 pieces[1] == NULL ? " LAST" : "");
        say(fd, text);
        say(fd, *pieces);
        expect(fd, "250 2.0.0");
    }
    wait_message(w);
}

// What the store got behind our Received field.
static void expect_behind_trace(struct world *w, const char *want)
{
    struct arena *arena = arena_new();
    struct envelope e;
    char body[4000];
    read_message(w, arena, &e, body, sizeof(body));
    const char *p = body;
    assert_memory_equal(p, "Received: ", 10);
    do
        p = strstr(p, "\r\n") + 2;
    while (*p == ' ' || *p == '\t');
    assert_string_equal(p, want);
    arena_free(&arena);
}

// Our Received field must not make fields of a body that stood alone.
static void test_no_header(void **state)
{
    static char word[1200];
    memset(word, 'x', sizeof(word) - 1);
    static const struct {
        const char *pieces[5], *want;
    } cases[] = {
        {{"just text\r\n"}, "\r\njust text\r\n"},
        {{"ju", "st", " text: x\r\n"}, "\r\njust text: x\r\n"},
        {{"word"}, "\r\nword\r\n"},
        {{" indented\r\n"}, "\r\n indented\r\n"},
        {{"\r\nbody\r\n"}, "\r\nbody\r\n"},
        {{"Sub", "ject", ": x\r\n", "\r\nbody\r\n"}, "Subject: x\r\n\r\nbody\r\n"},
        {{"Subject: only\r\n"}, "Subject: only\r\n"},
        {{"\r\n"}, "\r\n"},
    };
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send_content(&w, fd, cases[i].pieces);
        expect_behind_trace(&w, cases[i].want);
    }
    const char *const longer[] = {word, "\r\n", NULL};
    send_content(&w, fd, longer);
    char want[1300];
    snprintf(want, sizeof(want), "\r\n%s\r\n", word);
    expect_behind_trace(&w, want);
    close(fd);
    world_close(&w);
}

static void test_own_loop(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    for (int hops = LIMIT_OWN_HOPS - 1; hops <= LIMIT_OWN_HOPS; hops++) {
        say(fd, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
        expect(fd, "250");
        expect(fd, "250");
        expect(fd, "354");
        for (int i = 0; i < hops; i++)
            say(fd, "Received: from x by mx.test (Waypost) with ESMTP id A; now\r\n");
        ask(fd, "Subject: round\r\n\r\n.\r\n",
            hops < LIMIT_OWN_HOPS ? "250" : "554 5.4.6 this message was here 10 times");
    }
    wait_message(&w);
    no_message(&w);
    close(fd);
    world_close(&w);
}

static void test_stranger(void **state)
{
    struct net_range ranges[1];
    assert_true(net_range_parse(STR("192.0.2.0/24"), &ranges[0]));
    struct world w = {.set = {.clients = ranges, .client_count = 1}};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "554 5.7.1 client 127.0.0.1 may not send here; to allow it, add it to "
               "listeners.test.clients: [127.0.0.1]");
    expect(fd, "");
    close(fd);
    world_close(&w);
}

// Whatever else would let it in.
static void test_denied(void **state)
{
    struct net_range ranges[2];
    assert_true(net_range_parse(STR("127.0.0.0/8"), &ranges[0]));
    assert_true(net_range_parse(STR("127.0.0.1"), &ranges[1]));
    for (int all = 0; all < 3; all++) {
        struct world w = {.set = {.clients = ranges,
                                  .client_count = 1,
                                  .deny = &ranges[1],
                                  .deny_count = 1,
                                  .open_relay = all == 1,
                                  .auth = all == 2 ? LISTEN_AUTH_REQUIRED : LISTEN_AUTH_OFF}};
        world_open(&w);
        int fd = dial(&w);
        expect(fd, "554 5.7.1 client 127.0.0.1 is denied here (listeners.test.deny)\r\n");
        expect(fd, "");
        close(fd);
        world_close(&w);
    }
}

static void test_refused_recipients(void **state)
{
    static const char *const refused[] = {"all@*", "*@*.example.net",
                                          "*@b\xc3\xbc"
                                          "cher.example",
                                          "x@xn--mller-kva.example", "postmaster@mx.test"};
    struct world w = {.set = {.refuse_to = refused, .refuse_to_count = 5}};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "MAIL FROM:<a@b> SMTPUTF8\r\n", "250");
    ask(fd, "RCPT TO:<ALL@example.org>\r\n",
        "550 5.7.1 no mail to this recipient is taken here (listeners.test.refuse_to)\r\n");
    static const char *const bad[] = {"\"all\"@x",
                                      "@y:all@x",
                                      "a@Sub.Example.NET",
                                      "a@b\xc3\xbc"
                                      "cher.example",
                                      "\xc3\xbc@xn--bcher-kva.example",
                                      "a@XN--bcher-kva.example",
                                      "x@m\xc3\xbcller.example",
                                      "postmaster",
                                      "PostMaster"};
    char line[200];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", bad[i]);
        ask(fd, line, "550 5.7.1");
    }
    ask(fd, "DATA\r\n", "554");
    static const char *const good[] = {"b@example.org", "a@example.net", "y@m\xc3\xbcller.example"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", good[i]);
        ask(fd, line, "250");
    }
    ask(fd, "DATA\r\n", "354");
    ask(fd, "Subject: x\r\n\r\n.\r\n", "250");
    wait_message(&w);
    close(fd);
    world_close(&w);
}

static struct accept *joined;

static void join(struct world *w)
{
    struct err err;
    joined = accept_new(w->sessions, w->conf, w->store, &err);
    assert_non_null(joined);
    accept_join(joined, w->accept);
}

static void leave(struct world *w)
{
    accept_free(&joined);
}

// Loops count together, whichever serves; the counts outlive a listener and a reload.
static void test_counts(void **state)
{
    struct world w = {0};
    struct accept_counts n;
    world_open(&w);
    on_loop(&w, join);
    int one = dial_port(accept_addr(w.accept, "test")->port);
    int two = dial_port(accept_addr(joined, "test")->port);
    expect(one, "220");
    expect(two, "220");
    ask(two, "HELO c\r\n", "250");
    ask(two, "MAIL FROM:<a@b>\r\n", "250");
    ask(two, "RCPT TO:<c@d>\r\n", "250");
    ask(two, "DATA\r\n", "354");
    ask(two, "\r\n.\r\n", "250");
    wait_message(&w);
    for (int i = 0; i < 2; i++) {
        accept_counts(i == 0 ? w.accept : joined, "test", &n);
        assert_true(n.open == 2 && n.connections == 2 && n.messages == 1 && n.refused == 0);
    }
    ask(two, "QUIT\r\n", "221");
    expect(two, "");
    close(two);
    on_loop(&w, leave);
    accept_counts(w.accept, "test", &n);
    assert_true(n.open == 1 && n.connections == 2 && n.messages == 1);
    close(one);
    world_close(&w);
}

static void test_login(void **state)
{
    struct world w = {.set = {.auth = LISTEN_AUTH_REQUIRED, .tls = LISTEN_TLS_NONE}};
    world_open(&w);
    char hash[256];
    assert_true(password_hash("right", hash));
    FILE *f = fopen(w.users, "w");
    fprintf(f, "# people\nother:x\nu:%s\n", hash);
    fclose(f);
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "MAIL FROM:<a@b>\r\n", "530 5.7.0");
    ask(fd, "AUTH PLAIN AHUAd3Jvbmc=\r\n", "535 5.7.8");
    ask(fd, "AUTH PLAIN AHYAcmlnaHQ=\r\n", "535 5.7.8"); // user v
    ask(fd, "AUTH PLAIN AHUAcmlnaHQ=\r\n", "235");
    say(fd, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    expect(fd, "250");
    expect(fd, "250");
    expect(fd, "354");
    ask(fd, "x\r\n.\r\n", "250");
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    assert_true(envelope_unpack(w.message->packed, arena, &e));
    assert_true(str_eq(e.user, STR("u")));
    arena_free(&arena);
    close(fd);
    // The verdict is remembered: the file is not even needed.
    unlink(w.users);
    fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "AUTH PLAIN AHUAd3Jvbmc=\r\n", "454");
    ask(fd, "AUTH PLAIN AHUAcmlnaHQ=\r\n", "235");
    close(fd);
    // Gone while the password is being checked.
    fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    say(fd, "AUTH PLAIN AHUAd3Jvbmc=\r\n");
    close(fd);
    world_close(&w);
}

static void test_submit_socket(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial_unix(&w);
    expect(fd, "220");
    say(fd, "EHLO localhost\r\nMAIL FROM:<a@b>\r\nRCPT TO:<postmaster>\r\nDATA\r\n");
    expect(fd, "250");
    expect(fd, "250");
    expect(fd, "250");
    expect(fd, "354");
    ask(fd, "x\r\n.\r\n", "250");
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    char uid[32];
    snprintf(uid, sizeof(uid), "uid %u", (unsigned)getuid());
    assert_true(envelope_unpack(w.message->packed, arena, &e));
    assert_true(str_eq(e.client, str_of(uid)));
    assert_true(str_eq(e.rcpts[0].address, STR("postmaster@mx.test")));
    arena_free(&arena);
    close(fd);
    world_close(&w);
}

static void test_limits(void **state)
{
    struct world w = {.set = {.connections = 2}};
    world_open(&w);
    int one = dial(&w), two = dial(&w);
    expect(one, "220");
    expect(two, "220");
    int three = dial(&w);
    expect(three, "421 4.7.0 all 2 connections of this port are in use "
                  "(listeners.test.connections)");
    close(three);
    ask(one, "QUIT\r\n", "221");
    expect(one, "");
    close(one);
    three = dial(&w);
    expect(three, "220");
    close(three);
    close(two);
    world_close(&w);
}

// An answer that comes late, here that of the commit, must not start a stream again whose client
// does not read its replies.
static void test_reads_no_replies(void **state)
{
    enum { PIECE = 8192, TAKEN_MOST = 16 * 1024 * 1024 };
    struct world w = {0};
    world_open(&w);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(accept_addr(w.accept, "test")->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    static const char mail[] = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\r\n.\r\n";
    char piece[PIECE];
    size_t len = 0, sent = 0;
    while (len + 8 <= sizeof(piece) - sizeof(mail)) {
        memcpy(piece + len, "EHLO x\r\n", 8);
        len += 8;
    }
    memcpy(piece + len, mail, sizeof(mail) - 1);
    len += sizeof(mail) - 1;
    struct pollfd p = {fd, POLLOUT, 0};
    for (size_t at = 0; poll(&p, 1, 1000) == 1 && sent < TAKEN_MOST;) {
        ssize_t n = send(fd, piece + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_true(n > 0);
        sent += (size_t)n;
        at = (at + (size_t)n) % len;
    }
    assert_true(sent < TAKEN_MOST);
    close(fd);
    world_close(&w);
}

static bool reloaded;
static uint16_t old_port;

static void reload_bad(struct world *w)
{
    static struct net_addr bad[2];
    struct err err;
    net_addr_parse(STR("127.0.0.1:0"), 0, &bad[0]);
    net_addr_parse(STR("192.0.2.77:25"), 0, &bad[1]); // not ours
    struct conf_listener set = w->set;
    set.addresses = bad;
    set.address_count = 2;
    struct conf *conf = make_conf(w, &set);
    reloaded = accept_reload(w->accept, conf, &err);
    conf_unref(&conf);
}

static void reload_good(struct world *w)
{
    static struct net_addr other;
    struct err err;
    net_addr_parse(STR("127.0.0.2:0"), 0, &other);
    struct conf_listener set = w->set;
    set.name = "second";
    set.addresses = &other;
    struct conf *conf = make_conf(w, &set);
    old_port = accept_addr(w->accept, "test")->port;
    reloaded = accept_reload(w->accept, conf, &err);
    conf_unref(&conf);
}

static void test_reload(void **state)
{
    struct world w = {0};
    world_open(&w);
    int fd = dial(&w);
    expect(fd, "220");
    on_loop(&w, reload_bad);
    assert_false(reloaded);
    int again = dial(&w);
    expect(again, "220");
    on_loop(&w, reload_good);
    assert_true(reloaded);
    assert_int_equal(dial_port(old_port), -1);
    assert_non_null(accept_addr(w.accept, "second"));
    ask(fd, "NOOP\r\n", "250"); // sessions go on
    close(fd);
    close(again);
    world_close(&w);
}

static void test_stop(void **state)
{
    struct world w = {0};
    world_open(&w);
    int idle = dial(&w), busy = dial(&w);
    expect(idle, "220");
    expect(busy, "220");
    say(busy, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    for (int i = 0; i < 3; i++)
        expect(busy, "250");
    expect(busy, "354");
    sem_init(&stopped, 0, 0);
    on_loop(&w, stop_accept);
    expect(idle, "421 4.3.2");
    assert_int_not_equal(sem_trywait(&stopped), 0);
    ask(busy, "x\r\n.\r\n", "250 2.0.0");
    expect(busy, "421 4.3.2");
    wait_stopped();
    wait_message(&w);
    close(idle);
    close(busy);
    world_close(&w);
}

// ---- TLS. ----

// A client on a loop of its own: each step waits for a reply that begins so, then says the next.
struct step {
    const char *reply; // NULL: TLS is ready
    const char *next;  // NULL: start TLS; "": done
};

struct talker {
    struct loop *loop;
    struct stream *stream;
    const struct step *step;
    struct post post;
    struct net_addr to;
    bool implicit;
    bool good;
    char facts[200];
    sem_t done;
};

static void talker_end(struct talker *t, bool good)
{
    t->good = good;
    snprintf(t->facts, sizeof(t->facts), "%s", stream_tls_text(t->stream));
    stream_close(&t->stream, false);
    sem_post(&t->done);
}

static void talker_next(struct talker *t)
{
    const char *next = t->step++->next;
    struct tls_client_params params = {.verify = TLS_VERIFY_NONE};
    if (next == NULL)
        stream_start_tls_client(t->stream, &params);
    else if (next[0] == '\0')
        talker_end(t, true);
    else
        stream_write(t->stream, next, strlen(next));
}

static size_t talker_data(void *ctx, const char *bytes, size_t len)
{
    struct talker *t = ctx;
    struct str in = str_make(bytes, len), line;
    size_t used = 0;
    while (memchr(in.ptr, '\n', in.len) != NULL && str_split(&in, '\n', &line)) {
        used += line.len + 1;
        if (line.len < 4 || line.ptr[3] == '-')
            continue;
        bool good = t->step->reply != NULL && str_starts(line, str_of(t->step->reply));
        if (!good)
            talker_end(t, false);
        else
            talker_next(t);
        return used;
    }
    return used;
}

static void talker_event(void *ctx, enum stream_event event)
{
    struct talker *t = ctx;
    struct tls_client_params params = {.verify = TLS_VERIFY_NONE};
    if (event == STREAM_CONNECTED && t->implicit)
        stream_start_tls_client(t->stream, &params);
    else if (event == STREAM_TLS_READY && t->step->reply == NULL)
        talker_next(t);
    else if (event == STREAM_ERROR || event == STREAM_EOF)
        talker_end(t, false);
}

static const struct stream_handler talker_handler = {talker_data, talker_event};

static void talker_begin(struct post *post)
{
    struct talker *t = container_of(post, struct talker, post);
    t->stream = stream_connect(t->loop, &t->to, NULL, &talker_handler, t);
}

static void talk(struct world *w, const struct step *steps, bool implicit, char facts[200])
{
    struct talker t = {.step = steps, .implicit = implicit, .post.run = talker_begin};
    t.to = *accept_addr(w->accept, "test");
    t.loop = loop_new("talker");
    sem_init(&t.done, 0, 0);
    loop_start(t.loop);
    loop_post(t.loop, &t.post);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(&t.done, &until), 0);
    loop_stop(t.loop);
    loop_join(t.loop);
    loop_free(&t.loop);
    if (!t.good)
        fail_msg("the dialogue broke before '%s'", t.step->reply);
    memcpy(facts, t.facts, sizeof(t.facts));
}

#define MESSAGE_STEPS                                                                              \
    {"250", "MAIL FROM:<a@b>\r\n"}, {"250 2.1.0", "RCPT TO:<c@d>\r\n"}, {"250 2.1.5", "DATA\r\n"}, \
        {"354", "x\r\n.\r\n"}, {"250 2.0.0", "QUIT\r\n"},                                          \
    {                                                                                              \
        "221", ""                                                                                  \
    }

static void test_starttls(void **state)
{
    static const struct step steps[] = {
        {"220", "EHLO c\r\n"}, {"250", "MAIL FROM:<a@b>\r\n"}, {"530 5.7.0", "STARTTLS\r\n"},
        {"220", NULL},         {NULL, "MAIL FROM:<a@b>\r\n"},  {"503", "EHLO c\r\n"},
        MESSAGE_STEPS};
    struct world w = {.set = {.tls = LISTEN_TLS_REQUIRED}};
    char facts[200], body[2000];
    world_open(&w);
    talk(&w, steps, false, facts);
    assert_memory_equal(facts, "TLSv1.3", 7);
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    read_message(&w, arena, &e, body, sizeof(body));
    assert_non_null(strstr(body, "with ESMTPS"));
    arena_free(&arena);
    // What comes with STARTTLS in one breath is never a command.
    int fd = dial(&w);
    expect(fd, "220");
    ask(fd, "EHLO c\r\n", "250");
    ask(fd, "STARTTLS\r\nNOOP\r\n", "554 5.5.0");
    expect(fd, "");
    close(fd);
    world_close(&w);
}

static void test_implicit_tls(void **state)
{
    static const struct step steps[] = {{"220", "EHLO c\r\n"}, MESSAGE_STEPS};
    struct world w = {.set = {.tls = LISTEN_TLS_IMPLICIT}};
    char facts[200];
    world_open(&w);
    talk(&w, steps, true, facts);
    assert_memory_equal(facts, "TLSv1.3", 7);
    wait_message(&w);
    world_close(&w);
}

static void test_auto_tls(void **state)
{
    static const struct step inside[] = {{"220", "EHLO c\r\n"}, MESSAGE_STEPS};
    static const struct step later[] = {{"220", "EHLO c\r\n"},
                                        {"250", "STARTTLS\r\n"},
                                        {"220", NULL},
                                        {NULL, "EHLO c\r\n"},
                                        MESSAGE_STEPS};
    static const struct step plain[] = {{"220", "EHLO c\r\n"}, MESSAGE_STEPS};
    struct world w = {.set = {.tls = LISTEN_TLS_AUTO}};
    char facts[200];
    world_open(&w);
    talk(&w, inside, true, facts);
    assert_memory_equal(facts, "TLSv1.3", 7);
    talk(&w, later, false, facts);
    assert_memory_equal(facts, "TLSv1.3", 7);
    talk(&w, plain, false, facts);
    assert_string_equal(facts, "");
    // The first byte of a handshake, and then none.
    int fd = dial(&w);
    say(fd, "\x16");
    say(fd, "\x03\x01nothing of the kind");
    char text[100];
    hear(fd, text, sizeof(text));
    assert_null(strstr(text, "220"));
    close(fd);
    world_close(&w);
}

// ---- The drop directory. ----

static void start_drop(struct world *w)
{
    struct err err;
    w->drop = drop_new(w->sessions, w->conf, w->store, &err);
    if (w->drop == NULL)
        fail_msg("%s", err.text);
}

static void stop_drop(struct world *w)
{
    drop_stop(w->drop, on_stopped, NULL);
}

static void put_text(const char *dir, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/drop/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_drop(void **state)
{
    struct world w = {0};
    struct err err;
    world_open(&w);
    char path[200], other[200];
    struct envelope_rcpt rcpts[] = {
        {STR("c@d"), STR("rfc822;x y@d"), NOTIFY_FAILURE | NOTIFY_DELAY},
        {STR("\"e f\"@g"), {0}, 0}};
    struct envelope e = {.sender = STR("a@b"),
                         .body = BODY_8BITMIME,
                         .envid = STR("id=1"),
                         .priority = PRIORITY_URGENT,
                         .count = 2,
                         .rcpts = rcpts};
    assert_true(drop_write(w.dir, &e,
                           STR("Subject: s\r\nX-Job: j\r\nPrecedence: bulk\r\n\r\nhi\r\n"), &err));
    assert_false(drop_write(w.dir, &e, STR("Subject: s\n\nhi\n"), &err));
    put_text(w.dir, "0", "rubbish");
    char loop[1000];
    int used =
        snprintf(loop, sizeof(loop), "WAYPOST-DROP 1\nMAIL FROM:<a@b> SIZE=360\nRCPT TO:<c@d>\n\n");
    for (int i = 0; i < LIMIT_OWN_HOPS; i++)
        used += snprintf(loop + used, sizeof(loop) - (size_t)used,
                         "Received: by mx.test (Waypost); ..\r\n");
    put_text(w.dir, "00", loop);
    put_text(w.dir, "1", "WAYPOST-DROP 1\nMAIL FROM:<a@b> SIZE=9\nRCPT TO:<c@d>\n\nshort");
    put_text(w.dir, "2", "WAYPOST-DROP 1\nMAIL FROM:<a@b> SIZE=3\nRCPT TO:<c@d>\n\nx\r\n");
    snprintf(path, sizeof(path), "%s/drop/2", w.dir);
    snprintf(other, sizeof(other), "%s/second-name", w.dir);
    assert_int_equal(link(path, other), 0);
    snprintf(path, sizeof(path), "%s/drop/3", w.dir);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof(path), "%s/drop/4", w.dir);
    assert_int_equal(mkfifo(path, 0666), 0);
    on_loop(&w, start_drop);
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope got;
    char body[2000];
    read_message(&w, arena, &got, body, sizeof(body));
    assert_true(str_eq(got.sender, e.sender) && str_eq(got.envid, e.envid));
    assert_int_equal(got.count, 2);
    assert_true(str_eq(got.rcpts[0].orcpt, rcpts[0].orcpt));
    assert_int_equal(got.rcpts[0].notify, rcpts[0].notify);
    assert_true(str_eq(got.rcpts[1].address, rcpts[1].address));
    expect_kept(&got, "j", PRIORITY_URGENT); // as the envelope says
    assert_non_null(strstr(body, "\r\nPrecedence: bulk\r\n\r\nhi\r\n"));
    assert_memory_equal(body, "Received: ", 10);
    arena_free(&arena);
    sem_init(&stopped, 0, 0);
    on_loop(&w, stop_drop);
    wait_stopped();
    // Taken and gone; damaged to bad; what is not to be trusted stays where it is.
    snprintf(path, sizeof(path), "%s/drop", w.dir);
    char **names = dir_list(path, &err);
    assert_string_equal(names[0], "2");
    assert_string_equal(names[1], "3");
    assert_string_equal(names[2], "4");
    assert_string_equal(names[3], "bad");
    assert_string_equal(names[4], "tmp");
    assert_null(names[5]);
    dir_list_free(&names);
    snprintf(path, sizeof(path), "%s/drop/bad", w.dir);
    names = dir_list(path, &err);
    assert_string_equal(names[0], "0");
    assert_string_equal(names[1], "00");
    assert_string_equal(names[2], "1");
    assert_null(names[3]);
    dir_list_free(&names);
    no_message(&w);
    world_close(&w);
}

static unsigned mode_of(const struct world *w, const char *name)
{
    struct err err;
    struct path_facts facts;
    char path[300];
    snprintf(path, sizeof(path), "%s%s", w->dir, name);
    if (!path_stat(path, &facts, &err))
        fail_msg("%s", err.text);
    return facts.mode;
}

// What a user of the machine may do to the spool, as an exit status: 0 when it is right.
static int as_stranger(const struct world *w)
{
    struct err err = {0};
    struct envelope_rcpt rcpt = {.address = STR("c@d")};
    struct envelope e = {.sender = STR("a@b"), .count = 1, .rcpts = &rcpt};
    char path[200];
    umask(077);
    if (setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    snprintf(path, sizeof(path), "%s/drop", w->dir);
    if (dir_list(path, &err) != NULL || dir_list(w->dir, &err) != NULL)
        return 2;
    snprintf(path, sizeof(path), "%s/seg", w->dir);
    if (access(path, X_OK) == 0)
        return 3;
    return drop_write(w->dir, &e, STR("Subject: s\r\n\r\nhi\r\n"), &err) ? 0 : 4;
}

// Another user leaves mail; the daemon's group may read it, nobody else may look.
static void test_drop_of_others(void **state)
{
    if (getuid() != 0)
        skip();
    struct world w = {0};
    struct err err;
    struct path_facts facts;
    world_open(&w);
    mode_t before = umask(077);
    assert_true(drop_make_dirs(w.dir, &err));
    umask(before);
    assert_int_equal(mode_of(&w, ""), 0711);
    assert_int_equal(chmod(w.dir, 0733), 0); // at any later start, too
    assert_true(drop_make_dirs(w.dir, &err));
    assert_int_equal(mode_of(&w, ""), 0711);
    assert_int_equal(mode_of(&w, "/drop"), 03733);
    assert_int_equal(mode_of(&w, "/drop/tmp"), 03733);
    static const char *const closed[] = {"/drop/bad", "/seg", "/bodies"};
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        assert_int_equal(mode_of(&w, closed[i]), 0700);
    assert_int_equal(mode_of(&w, "/index.db"), 0600);
    assert_int_equal(mode_of(&w, "/lock"), 0600);
    pid_t child = fork();
    if (child == 0)
        _exit(as_stranger(&w));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
    char path[200];
    snprintf(path, sizeof(path), "%s/drop", w.dir);
    char **names = dir_list(path, &err);
    snprintf(path, sizeof(path), "%s/drop/%s", w.dir, names[0]);
    dir_list_free(&names);
    assert_true(path_stat(path, &facts, &err));
    assert_true(facts.mode == 0640 && facts.uid == 65534 && facts.gid == getgid());
    on_loop(&w, start_drop);
    wait_message(&w);
    struct arena *arena = arena_new();
    struct envelope e;
    assert_true(envelope_unpack(w.message->packed, arena, &e));
    assert_true(str_eq(e.client, STR("uid 65534")));
    arena_free(&arena);
    sem_init(&stopped, 0, 0);
    on_loop(&w, stop_drop);
    wait_stopped();
    world_close(&w);
}

// Directories somebody else put in our way.
static void test_drop_hostile_dirs(void **state)
{
    if (getuid() != 0)
        skip();
    struct world w = {0};
    struct err err;
    char path[200];
    world_open(&w);
    snprintf(path, sizeof(path), "%s/drop", w.dir);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_false(drop_make_dirs(w.dir, &err));
    assert_int_equal(unlink(path), 0);
    assert_true(drop_make_dirs(w.dir, &err));
    snprintf(path, sizeof(path), "%s/drop/tmp", w.dir);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_false(drop_make_dirs(w.dir, &err));
    assert_non_null(strstr(err.text, "belongs to another user than the spool"));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_headers),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_lost_in_data),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_own_loop),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_refused_recipients),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_submit_socket),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_implicit_tls),
        cmocka_unit_test(test_auto_tls),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_drop_of_others),
        cmocka_unit_test(test_drop_hostile_dirs),
        cmocka_unit_test(test_reads_no_replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
