// SPDX-License-Identifier: ISC
// Streams over real sockets, plain and TLS, both ends on one loop.
#include "sys/stream.h"
#include "base/buf.h"
#include "base/mem.h"
#include "sys/tls.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

// One end of a connection. `data` NULL: take everything into `got`.
struct side {
    struct stream *s;
    struct buf got;
    unsigned connected, tls_ready, drained, eof, error;
    char why[512];
    int code;
    size_t (*data)(struct side *side, const char *bytes, size_t len);
    void (*event)(struct side *side, enum stream_event event);
    uint64_t sent, checked; // positions in the pattern
    bool in_call;           // of a stream function: no callback may come
};

static char dir[] = "/tmp/stream_test.XXXXXX";
static struct loop *loop;
static struct listener *listener;
static struct side server, client;
static struct timer watchdog;
static struct tls_server *identity;
static struct tls_client_params params;
static void (*on_accept)(void);

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct side *side = ctx;
    assert_false(side->in_call);
    assert_non_null(side->s);
    assert_true(len > 0 && len <= STREAM_KEEP);
    if (side->data != NULL)
        return side->data(side, bytes, len);
    buf_append(&side->got, bytes, len);
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct side *side = ctx;
    assert_false(side->in_call);
    assert_non_null(side->s);
    side->connected += event == STREAM_CONNECTED;
    side->tls_ready += event == STREAM_TLS_READY;
    side->drained += event == STREAM_DRAINED;
    side->eof += event == STREAM_EOF;
    side->error += event == STREAM_ERROR;
    if (event == STREAM_ERROR || event == STREAM_EOF) {
        snprintf(side->why, sizeof(side->why), "%s", stream_error(side->s));
        side->code = stream_errno(side->s);
    }
    if (side->event != NULL)
        side->event(side, event);
}

static const struct stream_handler handler = {.data = on_data, .event = on_event};

static void accepted(void *ctx, struct stream *s)
{
    assert_null(server.s);
    server.s = s;
    stream_attach(s, &handler, &server);
    if (on_accept != NULL)
        on_accept();
}

static void on_watchdog(void *ctx)
{
    fail_msg("the test hangs: client got %zu, server got %zu, client error \"%s\", server \"%s\"",
             client.got.len, server.got.len, client.why, server.why);
}

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_true(net_addr_parse(str_of(text), 0, &a));
    return a;
}

static void start(const char *at)
{
    struct err err;
    struct net_addr a = addr(at);
    server = client = (struct side){0};
    buf_init(&server.got, SIZE_MAX / 2);
    buf_init(&client.got, SIZE_MAX / 2);
    loop = loop_new("test");
    timer_init(&watchdog, loop, on_watchdog, NULL);
    timer_start(&watchdog, 30000);
    listener = listener_new(loop, &a, accepted, NULL, &err);
    if (listener == NULL)
        fail_msg("%s", err.text);
    params = (struct tls_client_params){0};
    on_accept = NULL;
}

static void dial(void)
{
    client.in_call = true;
    client.s = stream_connect(loop, listener_addr(listener), NULL, &handler, &client);
    client.in_call = false;
}

static void finish(void)
{
    timer_stop(&watchdog);
    stream_close(&client.s, false);
    stream_close(&server.s, false);
    listener_free(&listener);
    loop_free(&loop);
    buf_free(&server.got);
    buf_free(&client.got);
}

static bool has(struct side *side, const char *text)
{
    return str_eq(buf_str(&side->got), str_of(text));
}

// ---- echo

static size_t echo(struct side *side, const char *bytes, size_t len)
{
    stream_write(side->s, bytes, len);
    return len;
}

static size_t until_hello(struct side *side, const char *bytes, size_t len)
{
    buf_append(&side->got, bytes, len);
    if (has(side, "hello"))
        loop_stop(loop);
    return len;
}

static void say_hello(struct side *side, enum stream_event event)
{
    if (event != STREAM_CONNECTED)
        return;
    stream_write(side->s, "hel", 3);
    stream_write(side->s, "lo", 2);
    assert_int_equal(stream_queued(side->s), 5);
}

static void echo_over(const char *at)
{
    start(at);
    server.data = echo;
    client.data = until_hello;
    client.event = say_hello;
    dial();
    assert_int_equal(client.connected, 0);
    loop_run(loop);
    assert_int_equal(client.connected, 1);
    assert_int_equal(client.drained, 1);
    assert_false(stream_is_tls(client.s));
}

static void test_echo_tcp(void **state)
{
    echo_over("127.0.0.1:0");
    assert_int_equal(stream_peer(client.s)->port, listener_addr(listener)->port);
    assert_int_equal(stream_local(client.s)->port, stream_peer(server.s)->port);
    uint32_t uid, pid;
    assert_false(stream_peer_uid(server.s, &uid, &pid));
    finish();
    echo_over("[::1]:0");
    assert_int_equal(stream_local(server.s)->family, NET_IPV6);
    finish();
}

static void test_echo_unix(void **state)
{
    char at[160], path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/sock", dir);
    snprintf(at, sizeof(at), "unix:%s", path);
    echo_over(at);
    uint32_t uid = 1, pid = 1;
    assert_true(stream_peer_uid(server.s, &uid, &pid));
    assert_int_equal(uid, getuid());
    assert_int_equal(pid, getpid());
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    finish();
    assert_int_not_equal(stat(path, &st), 0);
}

// ---- taking and pausing

static size_t take_two(struct side *side, const char *bytes, size_t len)
{
    // Only whole lines of four bytes; the rest must come again in front of what is new.
    size_t take = len / 4 * 4;
    buf_append(&side->got, bytes, take);
    if (has(side, "aaa\nbbb\nccc\n"))
        loop_stop(loop);
    return take;
}

static void drip(struct side *side, enum stream_event event)
{
    static const char *const parts[] = {"aa", "a\nb", "bb\nccc", "\n"};
    if (event == STREAM_CONNECTED || (event == STREAM_DRAINED && side->sent < 4))
        stream_write(side->s, parts[side->sent], strlen(parts[side->sent])), side->sent++;
}

static void test_partial_takes(void **state)
{
    start("127.0.0.1:0");
    server.data = take_two;
    client.event = drip;
    dial();
    loop_run(loop);
    assert_int_equal(stream_kept(server.s), 0);
    finish();
}

static struct timer later;

static void resume_later(void *ctx)
{
    struct side *side = ctx;
    assert_int_equal(side->got.len, 1);
    assert_int_equal(stream_kept(side->s), 4);
    side->in_call = true;
    stream_resume(side->s);
    side->in_call = false;
}

static size_t pause_after_one(struct side *side, const char *bytes, size_t len)
{
    size_t take = side->got.len == 0 ? 1 : len;
    buf_append(&side->got, bytes, take);
    if (side->got.len == 1) {
        stream_pause(side->s);
        timer_init(&later, loop, resume_later, side);
        timer_start(&later, 30);
    }
    return take;
}

static void stop_at_eof(struct side *side, enum stream_event event)
{
    if (event == STREAM_EOF)
        loop_stop(loop);
}

static void hello_and_close(struct side *side, enum stream_event event)
{
    say_hello(side, event);
    if (event == STREAM_CONNECTED)
        stream_close(&side->s, true);
}

static void test_pause(void **state)
{
    start("127.0.0.1:0");
    server.data = pause_after_one;
    server.event = stop_at_eof;
    client.event = hello_and_close;
    dial();
    loop_run(loop);
    assert_true(has(&server, "hello"));
    assert_int_equal(server.eof, 1);
    finish();
}

static size_t take_none(struct side *side, const char *bytes, size_t len)
{
    if (len == STREAM_KEEP)
        loop_stop(loop);
    return 0;
}

static void flood(struct side *side, enum stream_event event)
{
    static char block[256 * 1024];
    if (event == STREAM_CONNECTED)
        stream_write(side->s, block, sizeof(block));
}

static void test_keeps_no_more_than_said(void **state)
{
    start("127.0.0.1:0");
    server.data = take_none;
    client.event = flood;
    dial();
    loop_run(loop);
    assert_int_equal(stream_kept(server.s), STREAM_KEEP);
    finish();
}

// ---- much data, both ways at once

enum { BULK = 50 * 1024 * 1024, AHEAD = 300 * 1024 };

static unsigned char pattern(uint64_t at)
{
    return (unsigned char)((at * 0x9e3779b97f4a7c15u) >> 56);
}

static void produce(struct side *side)
{
    char block[10007];
    while (side->sent < BULK && stream_queued(side->s) < AHEAD) {
        size_t len = sizeof(block);
        if (len > BULK - side->sent)
            len = BULK - side->sent;
        for (size_t i = 0; i < len; i++)
            block[i] = (char)pattern(side->sent + i);
        stream_write(side->s, block, len);
        side->sent += len;
    }
}

static void bulk_check_end(void)
{
    if (server.checked == BULK && client.checked == BULK)
        loop_stop(loop);
}

static size_t bulk_data(struct side *side, const char *bytes, size_t len)
{
    bool last = side->checked + len == BULK; // nothing would offer a rest again
    size_t take = !last && len > 1 && side->checked % 3 == 0 ? len - 1 : len;
    for (size_t i = 0; i < take; i++)
        if ((unsigned char)bytes[i] != pattern(side->checked + i))
            fail_msg("wrong byte at %llu", (unsigned long long)(side->checked + i));
    side->checked += take;
    bulk_check_end();
    return take;
}

static void bulk_event(struct side *side, enum stream_event event)
{
    bool begin = identity != NULL ? event == STREAM_TLS_READY : event == STREAM_CONNECTED;
    assert_int_not_equal(event, STREAM_ERROR);
    if (event == STREAM_CONNECTED && identity != NULL)
        stream_start_tls_client(side->s, &params);
    if (begin || event == STREAM_DRAINED)
        produce(side);
}

static void bulk_accept(void)
{
    if (identity != NULL)
        stream_start_tls_server(server.s, identity);
    else
        produce(&server);
}

static void bulk(const char *at)
{
    start(at);
    on_accept = bulk_accept;
    server.data = client.data = bulk_data;
    server.event = client.event = bulk_event;
    dial();
    loop_run(loop);
    assert_int_equal(server.checked, BULK);
    finish();
}

static void test_bulk(void **state)
{
    bulk("127.0.0.1:0");
}

static void test_bulk_tls(void **state)
{
    struct err err;
    identity = tls_server_self_signed("bulk.example", &err);
    bulk("127.0.0.1:0");
    tls_server_unref(&identity);
}

// ---- closing

static size_t close_in_data(struct side *side, const char *bytes, size_t len)
{
    stream_close(&side->s, false);
    assert_null(side->s);
    return 0;
}

static void stop_at_end(struct side *side, enum stream_event event)
{
    say_hello(side, event);
    if (event == STREAM_EOF || event == STREAM_ERROR)
        loop_stop(loop);
}

static void test_close_in_data(void **state)
{
    start("127.0.0.1:0");
    server.data = close_in_data;
    client.event = stop_at_end;
    dial();
    loop_run(loop);
    assert_null(server.s);
    finish();
}

static void close_in_event(struct side *side, enum stream_event event)
{
    stream_close(&side->s, true);
    if (side == &client)
        loop_stop(loop);
}

static void test_close_in_events(void **state)
{
    start("127.0.0.1:0");
    client.event = close_in_event;
    dial();
    loop_run(loop);
    assert_int_equal(client.connected, 1);
    finish();
}

static void accept_and_close(void)
{
    stream_write(server.s, "421 no\r\n", 8);
    stream_close(&server.s, true);
}

static void test_close_in_accept(void **state)
{
    start("127.0.0.1:0");
    on_accept = accept_and_close;
    client.event = stop_at_end;
    dial();
    loop_run(loop);
    assert_true(has(&client, "421 no\r\n"));
    assert_int_equal(client.eof, 1);
    assert_int_equal(client.error, 0);
    finish();
}

// What was queued arrives although the stream was closed and input lay unread.
static void send_and_close(void)
{
    server.sent = 0;
    static char block[4 * 1024 * 1024];
    memset(block, 'x', sizeof(block));
    stream_write(server.s, block, sizeof(block));
    stream_close(&server.s, true);
}

static void flood_and_read(struct side *side, enum stream_event event)
{
    flood(side, event);
    if (event == STREAM_EOF || event == STREAM_ERROR)
        loop_stop(loop);
}

static void test_drain(void **state)
{
    start("127.0.0.1:0");
    on_accept = send_and_close;
    client.event = flood_and_read;
    dial();
    loop_run(loop);
    assert_int_equal(client.got.len, 4 * 1024 * 1024);
    assert_int_equal(client.eof, 1);
    finish();
}

// ---- trouble

static void stop_at_error(struct side *side, enum stream_event event)
{
    if (event == STREAM_ERROR)
        loop_stop(loop);
}

static void connect_fails(const char *to, const char *from, int code, const char *why)
{
    start("127.0.0.1:0");
    struct net_addr target = addr(to), source = addr(from);
    client.event = stop_at_error;
    client.in_call = true;
    client.s = stream_connect(loop, &target, &source, &handler, &client);
    stream_write(client.s, "never", 5);
    stream_flush(client.s);
    client.in_call = false;
    loop_run(loop);
    assert_int_equal(client.code, code);
    assert_string_equal(client.why, why);
    assert_false(stream_error_is_tls(client.s));
    assert_int_equal(client.connected, 0);
    finish();
}

static void test_connect_fails(void **state)
{
    connect_fails("127.0.0.1:1", "127.0.0.1", ECONNREFUSED, "connection refused by 127.0.0.1:1");
    connect_fails("127.0.0.1:1", "192.0.2.77", EADDRNOTAVAIL,
                  "cannot connect to 127.0.0.1:1: 192.0.2.77 is not an address of this machine");
}

static void test_source_address(void **state)
{
    start("127.0.0.1:0");
    struct net_addr source = addr("127.0.0.9");
    server.data = echo;
    client.data = until_hello;
    client.event = say_hello;
    client.s = stream_connect(loop, listener_addr(listener), &source, &handler, &client);
    loop_run(loop);
    assert_true(net_addr_same_ip(stream_peer(server.s), &source));
    assert_true(net_addr_same_ip(stream_local(client.s), &source));
    finish();
}

static void test_interface(void **state)
{
    struct stream_way way = {.interface = "lo"};
    start("127.0.0.1:0");
    server.data = echo;
    client.data = until_hello;
    client.event = say_hello;
    client.s = stream_connect_by(loop, listener_addr(listener), &way, &handler, &client);
    loop_run(loop);
    assert_int_equal(client.connected, 1);
    finish();

    way.interface = "nosuchlink";
    start("127.0.0.1:0");
    struct net_addr target = addr("127.0.0.1:1");
    client.event = stop_at_error;
    client.s = stream_connect_by(loop, &target, &way, &handler, &client);
    loop_run(loop);
    assert_int_equal(client.code, ENODEV);
    assert_string_equal(client.why, "cannot connect to 127.0.0.1:1: the network interface it is to "
                                    "go through is not there");
    finish();
}

// A raw peer, for what a well-behaved one never does.
static int raw_connect(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(listener_addr(listener)->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

static void test_reset(void **state)
{
    start("127.0.0.1:0");
    server.event = stop_at_error;
    int fd = raw_connect();
    assert_int_equal(write(fd, "abc", 3), 3);
    reset(fd);
    loop_run(loop);
    assert_int_equal(server.code, ECONNRESET);
    assert_memory_equal(server.why, "connection reset by 127.0.0.1:", 30);
    assert_true(has(&server, "abc"));
    assert_int_equal(server.error, 1);
    finish();
}

static int gone_fd;

// The peer goes while we send: what is written then has not been sent.
static size_t write_to_the_gone(struct side *side, const char *bytes, size_t len)
{
    reset(gone_fd);
    stream_write(side->s, "into the void", 13);
    stream_flush(side->s);
    assert_true(stream_queued(side->s) == SIZE_MAX);
    stream_write(side->s, "more of it", 10);
    assert_true(stream_queued(side->s) == SIZE_MAX);
    return len;
}

static void test_write_to_the_gone(void **state)
{
    start("127.0.0.1:0");
    server.event = stop_at_error;
    server.data = write_to_the_gone;
    gone_fd = raw_connect();
    assert_int_equal(write(gone_fd, "abc", 3), 3);
    loop_run(loop);
    assert_int_equal(server.error, 1);
    assert_int_equal(server.drained, 0);
    finish();
}

static void write_after_eof(struct side *side, enum stream_event event)
{
    if (event != STREAM_EOF)
        return;
    stream_write(side->s, "bye", 3);
    loop_stop(loop);
}

static void test_half_close(void **state)
{
    char text[8] = "";
    start("127.0.0.1:0");
    server.event = write_after_eof;
    int fd = raw_connect();
    assert_int_equal(write(fd, "last", 4), 4);
    shutdown(fd, SHUT_WR);
    loop_run(loop);
    assert_true(has(&server, "last"));
    assert_int_equal(server.eof, 1);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    close(fd);
    finish();
}

// ---- listening

static void test_listen_trouble(void **state)
{
    struct err err;
    char text[NET_ADDR_TEXT], path[100], at[128];
    struct loop *l = loop_new("test");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    struct net_addr taken = addr("127.0.0.1");
    taken.port = ntohs(in.sin_port);
    assert_null(listener_new(l, &taken, accepted, NULL, &err));
    assert_int_equal(err.code, EADDRINUSE);
    assert_non_null(strstr(err.text, net_addr_format(&taken, text)));
    assert_non_null(strstr(err.text, "another program listens there already, sys_stream_test"));
    close(fd);

    // Also one that would share the port with us.
    int on = 1;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_null(listener_new(l, &taken, accepted, NULL, &err));
    assert_int_equal(err.code, EADDRINUSE);
    close(fd);

    struct net_addr far = addr("192.0.2.1:0");
    assert_null(listener_new(l, &far, accepted, NULL, &err));
    assert_non_null(strstr(err.text, "does not have that address"));

    // Two of our own share an address; a socket file in use does not; a stale one is replaced.
    struct net_addr any = addr("127.0.0.1:0");
    struct listener *first = listener_new(l, &any, accepted, NULL, &err);
    struct listener *second = listener_new(l, listener_addr(first), accepted, NULL, &err);
    assert_non_null(second);
    listener_free(&first);
    listener_free(&second);
    snprintf(path, sizeof(path), "%s/two", dir);
    snprintf(at, sizeof(at), "unix:%s", path);
    struct net_addr un = addr(at);
    first = listener_new(l, &un, accepted, NULL, &err);
    assert_null(listener_new(l, &un, accepted, NULL, &err));
    assert_non_null(strstr(err.text, "another program answers there"));
    listener_free(&first);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    first = listener_new(l, &un, accepted, NULL, &err);
    assert_non_null(first);
    listener_free(&first);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_null(listener_new(l, &un, accepted, NULL, &err));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    loop_free(&l);
}

// Out of descriptors: the connection waits, and the processor is not burnt meanwhile.
static struct rlimit files;

static void more_files(void *ctx)
{
    assert_null(server.s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void stop_loop(void)
{
    loop_stop(loop);
}

static void test_out_of_files(void **state)
{
    start("127.0.0.1:0");
    on_accept = stop_loop;
    int fd = raw_connect();
    int next = dup(fd); // the lowest free descriptor
    close(next);
    getrlimit(RLIMIT_NOFILE, &files);
    struct rlimit few = {.rlim_cur = (rlim_t)next, .rlim_max = files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    timer_init(&later, loop, more_files, NULL);
    timer_start(&later, 150);
    clock_t before = clock();
    loop_run(loop);
    assert_true(clock() - before < CLOCKS_PER_SEC / 20);
    assert_non_null(server.s);
    close(fd);
    finish();
}

// ---- TLS

struct cert {
    const char *name; // DNS name in it
    long from_s, to_s;
    const char *file; // certificate and key
};

static void make_cert(const struct cert *c, char path[128])
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX ctx;
    char san[128];
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), c->from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), c->to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)c->name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    snprintf(san, sizeof(san), "DNS:%s,IP:127.0.0.1", c->name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    X509_sign(x, key, EVP_sha256());
    snprintf(path, 128, "%s/%s.pem", dir, c->file);
    FILE *f = fopen(path, "w");
    assert_true(PEM_write_X509(f, x) == 1);
    assert_true(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void serve_tls(void)
{
    stream_start_tls_server(server.s, identity);
}

static void tls_hello(struct side *side, enum stream_event event)
{
    if (event == STREAM_CONNECTED)
        stream_start_tls_client(side->s, &params);
    if (event == STREAM_TLS_READY)
        stream_write(side->s, "hello", 5);
    if (event == STREAM_ERROR || event == STREAM_EOF)
        loop_stop(loop);
}

// One connection on a loop that stays: sessions live with the loop.
static size_t tls_next(struct side *side, const char *bytes, size_t len);
static unsigned connections;
static bool reused[4];

static void tls_start(const struct cert *c, const char *verify_name, bool trusted)
{
    static char path[128];
    struct err err;
    make_cert(c, path);
    identity = tls_server_new(path, path, &err);
    if (identity == NULL)
        fail_msg("%s", err.text);
    start("127.0.0.1:0");
    on_accept = serve_tls;
    server.data = echo;
    client.data = until_hello;
    client.event = tls_hello;
    params.server_name = verify_name;
    params.verify = verify_name != NULL ? TLS_VERIFY_FULL : TLS_VERIFY_NONE;
    params.ca_file = trusted ? path : NULL;
}

static void tls_finish(void)
{
    finish();
    tls_server_unref(&identity);
}

enum { DAY = 24 * 3600 };
static const struct cert good = {"mail.example", -DAY, DAY, "good"};

static void tls_good(const char *name)
{
    tls_start(&good, name, true);
    dial();
    loop_run(loop);
    assert_true(has(&client, "hello"));
    assert_int_equal(client.tls_ready, 1);
    assert_int_equal(server.tls_ready, 1);
    assert_true(stream_is_tls(client.s));
    assert_true(stream_tls_verified(client.s) == (name != NULL));
    assert_false(stream_tls_reused(client.s));
    assert_memory_equal(stream_tls_text(client.s), "TLSv1.3 TLS_", 12);
    tls_finish();
}

static void test_tls_good(void **state)
{
    tls_good("mail.example");
    tls_good("MAIL.example.");
    tls_good("127.0.0.1");
    tls_good(NULL);
}

static void tls_refused(const struct cert *c, const char *name, bool trusted, const char *why)
{
    tls_start(c, name, trusted);
    dial();
    loop_run(loop);
    assert_int_equal(client.error, 1);
    assert_int_equal(client.tls_ready, 0);
    assert_true(stream_error_is_tls(client.s));
    assert_int_equal(client.code, 0);
    if (strstr(client.why, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", client.why, why);
    tls_finish();
}

static void test_tls_refused(void **state)
{
    static const struct cert old = {"mail.example", -9 * DAY, -DAY, "old"};
    static const struct cert early = {"mail.example", DAY, 9 * DAY, "early"};
    tls_refused(&good, "other.example", true,
                "the certificate is for mail.example, 127.0.0.1, not for other.example");
    tls_refused(&good, "127.0.0.2", true, "not for 127.0.0.2");
    tls_refused(&good, "mail.example", false, "is self-signed and not trusted here");
    tls_refused(&old, "mail.example", true,
                "the certificate for mail.example, 127.0.0.1 expired on 20");
    tls_refused(&early, "mail.example", true, "is valid only from 20");
    tls_start(&good, "mail.example", true);
    params.ca_file = "/nonexistent/ca.pem";
    dial();
    loop_run(loop);
    assert_int_equal(client.error, 1);
    assert_non_null(strstr(client.why, "/nonexistent/ca.pem"));
    tls_finish();
}

static void redial(void *ctx)
{
    stream_close(&client.s, true);
    stream_close(&server.s, true);
    buf_clear(&client.got);
    dial();
}

static size_t tls_next(struct side *side, const char *bytes, size_t len)
{
    reused[connections++] = stream_tls_reused(side->s);
    assert_true(stream_tls_verified(side->s));
    if (connections == 4) {
        loop_stop(loop);
        return len;
    }
    if (connections == 3)
        params.session_key = "other";
    timer_init(&later, loop, redial, NULL);
    timer_start(&later, 1);
    return len;
}

static void test_tls_resumption(void **state)
{
    tls_start(&good, "mail.example", true);
    connections = 0;
    params.session_key = "mail.example:25:full";
    client.data = tls_next;
    client.event = tls_hello;
    dial();
    loop_run(loop);
    assert_false(reused[0]);
    assert_true(reused[1]);
    assert_true(reused[2]);
    assert_false(reused[3]);
    tls_finish();
}

// A port that guesses: what it was offered first is the handshake's beginning.
static size_t guess_tls(struct side *side, const char *bytes, size_t len)
{
    assert_int_equal(bytes[0], 22);
    stream_start_tls_server_offered(side->s, identity);
    side->data = echo;
    return 0;
}

static void tls_then_hello(struct side *side, enum stream_event event)
{
    if (event == STREAM_CONNECTED)
        stream_start_tls_client(side->s, &params);
    if (event == STREAM_TLS_READY)
        stream_write(side->s, "hello", 5);
}

static void test_tls_by_first_byte(void **state)
{
    struct err err;
    identity = tls_server_self_signed("guess.example", &err);
    start("127.0.0.1:0");
    server.data = guess_tls;
    client.event = tls_then_hello;
    client.data = until_hello;
    dial();
    loop_run(loop);
    assert_true(stream_is_tls(server.s) && stream_is_tls(client.s));
    assert_int_equal(server.tls_ready, 1);
    assert_true(has(&client, "hello"));
    finish();
    tls_server_unref(&identity);
}

// What came in clear behind STARTTLS must never be seen, neither kept nor in the same packet.
static size_t starttls_data(struct side *side, const char *bytes, size_t len)
{
    if (!stream_is_tls(side->s)) {
        assert_memory_equal(bytes, "STARTTLS\n", 9);
        assert_int_equal(len, 9 + 8);
        stream_write(side->s, "220 go\n", 7);
        stream_start_tls_server(side->s, identity);
        assert_int_equal(stream_kept(side->s), 0);
        return 9;
    }
    buf_append(&side->got, bytes, len);
    stream_write(side->s, "hello", 5);
    return len;
}

static size_t starttls_client_data(struct side *side, const char *bytes, size_t len)
{
    if (stream_is_tls(side->s))
        return until_hello(side, bytes, len);
    assert_int_equal(len, 7);
    assert_memory_equal(bytes, "220 go\n", 7);
    stream_start_tls_client(side->s, &params);
    return len;
}

static void starttls_event(struct side *side, enum stream_event event)
{
    if (event == STREAM_CONNECTED)
        stream_write(side->s, "STARTTLS\nINJECTED", 17);
    if (event == STREAM_TLS_READY)
        stream_write(side->s, "EHLO", 4);
    assert_int_not_equal(event, STREAM_ERROR);
}

static void test_starttls_injection(void **state)
{
    tls_start(&good, "mail.example", true);
    on_accept = NULL;
    server.data = starttls_data;
    client.data = starttls_client_data;
    client.event = starttls_event;
    dial();
    loop_run(loop);
    assert_true(has(&server, "EHLO"));
    tls_finish();
}

static size_t leave_all(struct side *side, const char *bytes, size_t len)
{
    if (stream_is_tls(side->s)) {
        assert_memory_equal(bytes, "EHLO", 4);
        stream_write(side->s, "hello", 5);
        return len;
    }
    stream_write(side->s, "220 go\n", 7);
    stream_flush(side->s);
    stream_start_tls_server(side->s, identity);
    return 0;
}

static void test_starttls_kept(void **state)
{
    tls_start(&good, "mail.example", true);
    on_accept = NULL;
    server.data = leave_all;
    client.data = starttls_client_data;
    client.event = starttls_event;
    dial();
    loop_run(loop);
    tls_finish();
}

static void tls_close(struct side *side, enum stream_event event)
{
    if (event == STREAM_TLS_READY)
        stream_close(&side->s, true);
}

static void tls_cut(struct side *side, enum stream_event event)
{
    if (event == STREAM_TLS_READY)
        stream_close(&side->s, false);
}

static void test_tls_truncation(void **state)
{
    tls_start(&good, NULL, false);
    client.event = tls_hello;
    server.event = tls_close;
    dial();
    loop_run(loop);
    assert_int_equal(client.eof, 1);
    assert_string_equal(client.why, "");
    tls_finish();
    tls_start(&good, NULL, false);
    client.event = tls_hello;
    server.event = tls_cut;
    dial();
    loop_run(loop);
    assert_int_equal(client.eof + client.error, 1);
    assert_string_not_equal(client.why, "");
    tls_finish();
}

static void send_garbage(void)
{
    stream_write(server.s, "220 plain text here\r\n", 21);
}

static void test_tls_with_plain_peer(void **state)
{
    tls_start(&good, NULL, false);
    on_accept = send_garbage;
    server.data = NULL;
    dial();
    loop_run(loop);
    assert_int_equal(client.error, 1);
    assert_true(stream_error_is_tls(client.s));
    assert_non_null(strstr(client.why, "does not speak TLS"));
    tls_finish();
    tls_start(&good, NULL, false);
    on_accept = accept_and_close;
    dial();
    loop_run(loop);
    assert_int_equal(client.error, 1);
    assert_true(stream_error_is_tls(client.s));
    tls_finish();
}

static void put_locked_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");
    assert_true(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6,
                                     NULL, NULL) == 1);
    fclose(f);
    EVP_PKEY_free(key);
}

static void test_identities(void **state)
{
    struct err err;
    char path[128], other[128];
    struct cert second = good;
    second.file = "second";
    make_cert(&good, path);
    make_cert(&second, other);
    assert_null(tls_server_new("/nonexistent", path, &err));
    assert_non_null(strstr(err.text, "/nonexistent: No such file"));
    assert_null(tls_server_new(path, other, &err));
    assert_non_null(strstr(err.text, "does not belong to the certificate"));
    assert_null(tls_server_new("/etc/passwd", path, &err));
    assert_non_null(strstr(err.text, "/etc/passwd holds no usable certificate"));
    put_locked_key(other);
    assert_null(tls_server_new(path, other, &err)); // and nobody is asked for the password
    assert_non_null(strstr(err.text, "holds no usable private key"));
    assert_null(tls_server_self_signed("a,DNS:b", &err));
    struct tls_server *tls = tls_server_self_signed("a.example", &err), *again;
    again = tls_server_ref(tls);
    tls_server_unref(&tls);
    tls_server_unref(&again);
    assert_null(again);
}

static int make_dir(void **state)
{
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"good", "old", "early", "second"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s.pem", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_tcp),
        cmocka_unit_test(test_echo_unix),
        cmocka_unit_test(test_partial_takes),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_keeps_no_more_than_said),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_bulk_tls),
        cmocka_unit_test(test_tls_by_first_byte),
        cmocka_unit_test(test_close_in_data),
        cmocka_unit_test(test_close_in_events),
        cmocka_unit_test(test_close_in_accept),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_connect_fails),
        cmocka_unit_test(test_source_address),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_write_to_the_gone),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_listen_trouble),
        cmocka_unit_test(test_out_of_files),
        cmocka_unit_test(test_tls_good),
        cmocka_unit_test(test_tls_refused),
        cmocka_unit_test(test_tls_resumption),
        cmocka_unit_test(test_starttls_injection),
        cmocka_unit_test(test_starttls_kept),
        cmocka_unit_test(test_tls_truncation),
        cmocka_unit_test(test_tls_with_plain_peer),
        cmocka_unit_test(test_identities),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
