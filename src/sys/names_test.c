// SPDX-License-Identifier: ISC
// Look-ups against a real name server started here, and answers no honest server sends.
#include "sys/names.h"
#include "base/buf.h"
#include "base/mem.h"
#include "sys/names_hosts.h"
#include "sys/names_parse.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;
static char dir[] = "/tmp/names_test.XXXXXX";
static unsigned port;
static pid_t nsd;
static bool sealed;        // there is a signed zone
static const char *anchor; // for the next resolver

static const char zone[] = "$ORIGIN example.test.\n$TTL 300\n"
                           "@ SOA ns hostmaster 1 3600 600 86400 60\n"
                           "@ NS ns\n"
                           "ns A 127.0.0.1\n"
                           "@ MX 20 Backup.example.test.\n@ MX 10 mail\n@ MX 10 alpha\n"
                           "mail A 192.0.2.1\nmail A 192.0.2.2\nmail AAAA 2001:db8::1\n"
                           "null MX 0 .\n"
                           "alias CNAME @\n"
                           "text TXT \"v=spf1 \" \"-all\"\n"
                           "_25._tcp.mail TLSA 3 1 1 "
                           "0000000000000000000000000000000000000000000000000000000000000001\n"
                           "odd MX 10 bad\\032name\nodd MX 20 good\n"
                           "allodd MX 10 bad\\013\\010name\n"
                           "1.reverse PTR Host.example.test.\n";

static void put_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static unsigned free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bind(fd, (struct sockaddr *)&in, sizeof(in));
    getsockname(fd, (struct sockaddr *)&in, &len);
    close(fd);
    return ntohs(in.sin_port);
}

// Asks until the server answers.
static bool wait_for_server(void)
{
    static const unsigned char ask[] = {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool ok = false;
    connect(fd, (struct sockaddr *)&in, sizeof(in));
    for (int i = 0; i < 500 && !ok; i++) {
        char answer[512];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)!send(fd, ask, sizeof(ask), 0);
        ok = poll(&p, 1, 20) == 1 && recv(fd, answer, sizeof(answer), 0) > 0;
        if (!ok)
            usleep(10000); // refused: not up yet, and poll did not wait
    }
    close(fd);
    return ok;
}

// signed.test with its key in "anchor" and one record changed after signing. False without the
// tools.
static bool sign_zone(void)
{
    char command[512];
    put_file("plain", "$ORIGIN signed.test.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n"
                      "@ NS ns\nns A 127.0.0.1\n@ MX 10 mail\nmail A 192.0.2.7\n"
                      "bent A 192.0.2.8\n");
    snprintf(command, sizeof(command),
             "cd %s && key=$(ldns-keygen -r /dev/urandom -a ECDSAP256SHA256 -k signed.test) && "
             "ldns-signzone -n -f sealed plain $key && mv $key.ds anchor && rm $key.key "
             "$key.private && sed 's/192.0.2.8/192.0.2.9/' sealed > signed",
             dir);
    return access("/usr/bin/ldns-signzone", X_OK) == 0 && system(command) == 0;
}

static int start_nsd(void **state)
{
    char conf[1024], path[128];
    if (mkdtemp(dir) == NULL)
        return -1;
    port = free_port();
    sealed = sign_zone();
    snprintf(
        conf, sizeof(conf),
        "server:\n ip-address: 127.0.0.1@%u\n username: \"\"\n chroot: \"\"\n database: \"\"\n"
        " zonesdir: \"%s\"\n pidfile: \"\"\n xfrdfile: \"%s/xfrd\"\n zonelistfile: \"%s/list\"\n"
        " server-count: 1\n logfile: \"%s/log\"\n"
        "remote-control:\n control-enable: no\n"
        "zone:\n name: example.test\n zonefile: zone\n%s",
        port, dir, dir, dir, dir, sealed ? "zone:\n name: signed.test\n zonefile: signed\n" : "");
    put_file("conf", conf);
    put_file("zone", zone);
    put_file("hosts", "# local\n192.0.2.50 printer.lan printer\n2001:db8::50 printer.lan\n"
                      "192.0.2.51\tmail.example.test # wins over the DNS\nnonsense line\n");
    snprintf(path, sizeof(path), "%s/conf", dir);
    char *argv[] = {"nsd", "-d", "-c", path, NULL};
    // A process group of its own, for it forks servers that are to be stopped with it.
    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    int rc = posix_spawn(&nsd, "/usr/sbin/nsd", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    if (rc != 0) {
        nsd = 0;
        return 0; // the tests that need it skip
    }
    return wait_for_server() ? 0 : -1;
}

static void stop_nsd(void)
{
    if (nsd == 0)
        return;
    kill(-nsd, SIGTERM);
    waitpid(nsd, NULL, 0);
    nsd = 0;
}

static int clean_up(void **state)
{
    static const char *const names[] = {"conf",  "zone",  "hosts",  "xfrd",   "list",  "log",
                                        "other", "plain", "sealed", "signed", "anchor"};
    char path[128];
    stop_nsd();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

// ---- one look-up

static struct loop *loop;
static struct names *names;
static struct timer watchdog;
static bool in_lookup;
static unsigned pending;
static struct names_answer got;
static struct names_record records[NAMES_RECORDS_MAX];
static char data[1024];

static void on_watchdog(void *ctx)
{
    fail_msg("a look-up hangs");
}

static void begin(int timeout_ms)
{
    static char server[32], hosts[128];
    static const char *servers[] = {server, NULL};
    struct err err;
    if (nsd == 0)
        skip();
    snprintf(server, sizeof(server), "127.0.0.1:%u", port);
    snprintf(hosts, sizeof(hosts), "%s/hosts", dir);
    loop = loop_new("test");
    struct names_settings settings = {
        .servers = servers, .anchor_file = anchor, .hosts_file = hosts, .timeout_ms = timeout_ms};
    names = names_new(loop, &settings, &err);
    if (names == NULL)
        fail_msg("%s", err.text);
    timer_init(&watchdog, loop, on_watchdog, NULL);
    timer_start(&watchdog, 30000);
    pending = 0;
}

static void finish(void)
{
    timer_stop(&watchdog);
    names_free(&names);
    loop_free(&loop);
}

static void on_answer(void *ctx, const struct names_answer *answer)
{
    assert_false(in_lookup);
    got = *answer;
    assert_true(answer->count <= NAMES_RECORDS_MAX);
    for (size_t i = 0; i < answer->count; i++)
        records[i] = answer->records[i];
    if (answer->count > 0 && answer->records[0].data.len > 0)
        memcpy(data, answer->records[0].data.ptr, answer->records[0].data.len);
    got.records = records;
    if (--pending == 0)
        loop_stop(loop);
}

static struct names_query *ask(const char *name, enum names_type type)
{
    in_lookup = true;
    pending++;
    struct names_query *q = names_lookup(names, name, type, on_answer, NULL);
    in_lookup = false;
    return q;
}

static void look_up(const char *name, enum names_type type, enum names_status status, size_t count)
{
    begin(5000);
    ask(name, type);
    loop_run(loop);
    if (got.status != status || got.count != count)
        fail_msg("%s: status %d, %zu records, \"%s\"", name, got.status, got.count, got.why);
    finish();
}

static void test_mx(void **state)
{
    look_up("example.test", NAMES_MX, NAMES_OK, 3);
    assert_int_equal(records[0].preference, 10);
    assert_string_equal(records[0].name, "alpha.example.test");
    assert_string_equal(records[1].name, "mail.example.test");
    assert_int_equal(records[2].preference, 20);
    assert_string_equal(records[2].name, "backup.example.test");
    assert_int_equal(got.ttl_s, 300);
    assert_false(got.secure);
    look_up("null.example.test", NAMES_MX, NAMES_OK, 1);
    assert_string_equal(records[0].name, "");
    look_up("alias.Example.TEST.", NAMES_MX, NAMES_OK, 3);
    look_up("odd.example.test", NAMES_MX, NAMES_OK, 1);
    assert_string_equal(records[0].name, "good.example.test");
    look_up("allodd.example.test", NAMES_MX, NAMES_FAILED, 0);
}

static void test_others(void **state)
{
    char text[NET_ADDR_TEXT];
    look_up("mail.example.test", NAMES_AAAA, NAMES_NODATA, 0); // the hosts file has IPv4 alone
    look_up("ns.example.test", NAMES_A, NAMES_OK, 1);
    assert_string_equal(net_addr_format(&records[0].addr, text), "127.0.0.1:0");
    look_up("text.example.test", NAMES_TXT, NAMES_OK, 1);
    assert_int_equal(records[0].data.len, 11);
    assert_memory_equal(data, "v=spf1 -all", 11);
    look_up("_25._tcp.mail.example.test", NAMES_TLSA, NAMES_OK, 1);
    assert_int_equal(records[0].data.len, 35);
    assert_memory_equal(data, "\3\1\1\0", 4);
    look_up("1.reverse.example.test", NAMES_PTR, NAMES_OK, 1);
    assert_string_equal(records[0].name, "host.example.test");
}

static void test_negative(void **state)
{
    look_up("nothing.example.test", NAMES_MX, NAMES_NXDOMAIN, 0);
    assert_int_equal(got.ttl_s, 60);
    look_up("ns.example.test", NAMES_MX, NAMES_NODATA, 0);
    look_up("a..b", NAMES_MX, NAMES_NXDOMAIN, 0);
    look_up("elsewhere.example", NAMES_MX, NAMES_FAILED, 0); // REFUSED by the server
    assert_true(got.why[0] != '\0');
}

static void test_local(void **state)
{
    char text[NET_ADDR_TEXT];
    look_up("localhost", NAMES_A, NAMES_OK, 1);
    assert_true(net_addr_is_loopback(&records[0].addr));
    look_up("x.localhost.", NAMES_AAAA, NAMES_OK, 1);
    look_up("printer.lan", NAMES_A, NAMES_OK, 1);
    look_up("Printer", NAMES_A, NAMES_OK, 1);
    assert_string_equal(net_addr_format_ip(&records[0].addr, text), "192.0.2.50");
    look_up("printer.lan", NAMES_AAAA, NAMES_OK, 1);
    look_up("mail.example.test", NAMES_A, NAMES_OK, 1);
    assert_string_equal(net_addr_format_ip(&records[0].addr, text), "192.0.2.51");
}

// Look-ups are under way at a server that never answers when the settings become others.
static void test_other_settings(void **state)
{
    static const char *const silent[] = {"192.0.2.1:53", NULL};
    char server[32];
    const char *servers[] = {server, NULL};
    struct err err = {0};
    begin(20000);
    snprintf(server, sizeof(server), "127.0.0.1:%u", port);
    struct names_settings bad = {.servers = servers, .anchor_file = "/nonexistent/key"};
    struct names_settings mute = {.servers = silent, .timeout_ms = 20000};
    struct names_settings good = {.servers = servers, .timeout_ms = 5000};
    assert_null(names_prepare(names, &bad, &err));
    assert_non_null(strstr(err.text, "/nonexistent/key"));
    struct names_change *change = names_prepare(names, &mute, &err);
    names_apply(names, &change);
    assert_null(change);
    struct names_query *dropped = ask("text.example.test", NAMES_TXT);
    ask("example.test", NAMES_MX);
    names_cancel(&dropped); // an orphan, when the old context goes
    pending--;
    change = names_prepare(names, &good, &err);
    names_apply(names, &change);
    change = names_prepare(names, &mute, &err);
    names_discard(&change);
    assert_null(change);
    loop_run(loop);
    assert_int_equal(got.status, NAMES_OK);
    assert_int_equal(got.count, 3);
    finish();
}

static void test_hosts_changes(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/other", dir);
    struct hosts *hosts = hosts_new(path);
    assert_null(hosts_get(hosts, "a"));
    put_file("other", "192.0.2.1 a\n192.0.2.2 a\n");
    assert_non_null(hosts_get(hosts, "A")->next);
    put_file("other", "192.0.2.1 b");
    assert_null(hosts_get(hosts, "a"));
    assert_non_null(hosts_get(hosts, "b"));
    hosts_free(&hosts);
}

static void test_dnssec(void **state)
{
    static char path[128];
    if (!sealed)
        skip();
    look_up("mail.signed.test", NAMES_A, NAMES_OK, 1);
    assert_false(got.secure);
    snprintf(path, sizeof(path), "%s/anchor", dir);
    anchor = path;
    look_up("signed.test", NAMES_MX, NAMES_OK, 1);
    assert_true(got.secure);
    look_up("_25._tcp.mail.signed.test", NAMES_TLSA, NAMES_NXDOMAIN, 0);
    assert_true(got.secure);
    look_up("bent.signed.test", NAMES_A, NAMES_BOGUS, 0);
    assert_true(got.why[0] != '\0');
    assert_false(got.secure);
    look_up("example.test", NAMES_MX, NAMES_OK, 3);
    assert_false(got.secure);
    anchor = NULL;
}

static void never(void *ctx, const struct names_answer *answer)
{
    fail_msg("cancelled, and yet told");
}

static void test_cancel(void **state)
{
    begin(5000);
    struct names_query *q = names_lookup(names, "example.test", NAMES_MX, never, NULL);
    names_cancel(&q);
    assert_null(q);
    q = names_lookup(names, "localhost", NAMES_A, never, NULL);
    names_cancel(&q);
    names_cancel(&q);
    ask("example.test", NAMES_MX);
    ask("example.test", NAMES_MX);
    ask("text.example.test", NAMES_TXT);
    loop_run(loop);
    assert_int_equal(pending, 0);
    // Dropped with the resolver: one on the way, one ready to be told.
    names_lookup(names, "other.example.test", NAMES_MX, never, NULL);
    names_lookup(names, "localhost", NAMES_A, never, NULL);
    finish();
}

static void free_names(void *ctx, const struct names_answer *answer)
{
    names_free(&names);
    assert_int_equal(answer->count, 3);
    assert_string_equal(answer->records[0].name, "alpha.example.test");
    loop_stop(loop);
}

static void test_free_in_callback(void **state)
{
    begin(5000);
    names_lookup(names, "nothing.example.test", NAMES_MX, never, NULL);
    names_free(&names);
    struct err err;
    char server[32];
    const char *servers[] = {server, NULL};
    snprintf(server, sizeof(server), "127.0.0.1:%u", port);
    struct names_settings settings = {.servers = servers};
    names = names_new(loop, &settings, &err);
    assert_non_null(names);
    names_lookup(names, "example.test", NAMES_MX, free_names, NULL);
    loop_run(loop);
    assert_null(names);
    finish();
}

static void test_settings(void **state)
{
    struct err err;
    const char *servers[] = {"dns.example", NULL};
    struct names_settings settings = {.servers = servers};
    struct loop *l = loop_new("test");
    assert_null(names_new(l, &settings, &err));
    assert_non_null(strstr(err.text, "dns.example"));
    settings = (struct names_settings){.anchor_file = "/nonexistent/anchor"};
    assert_null(names_new(l, &settings, &err));
    assert_non_null(strstr(err.text, "/nonexistent/anchor"));
    loop_free(&l);
}

// A server that is silent, then one that is gone.
static void test_silent_server(void **state)
{
    if (nsd == 0)
        skip();
    kill(-nsd, SIGSTOP);
    begin(300);
    ask("example.test", NAMES_MX);
    loop_run(loop);
    kill(-nsd, SIGCONT);
    assert_int_equal(got.status, NAMES_FAILED);
    assert_string_equal(got.why, "no answer from the name servers within 1 s");
    finish();
}

static void test_stopped_server(void **state)
{
    begin(2000);
    stop_nsd();
    ask("example.test", NAMES_MX);
    loop_run(loop);
    assert_int_equal(got.status, NAMES_FAILED);
    assert_true(got.why[0] != '\0');
    finish();
}

// ---- hostile packets

struct packet {
    unsigned char bytes[4096];
    size_t len;
};

static void put(struct packet *p, const void *bytes, size_t len)
{
    memcpy(p->bytes + p->len, bytes, len);
    p->len += len;
}

static void put16(struct packet *p, unsigned v)
{
    unsigned char bytes[2] = {(unsigned char)(v >> 8), (unsigned char)v};
    put(p, bytes, 2);
}

// A question for example. of the type, and as many answers as said.
static void head(struct packet *p, unsigned rcode, unsigned answers, unsigned type)
{
    p->len = 0;
    put16(p, 1);
    put16(p, 0x8180 | rcode);
    put16(p, 1);
    put16(p, answers);
    put16(p, 0);
    put16(p, 0);
    put(p, "\7example\0", 9);
    put16(p, type);
    put16(p, 1);
}

static void answer_rr(struct packet *p, unsigned type, unsigned ttl, const void *rdata, size_t len)
{
    put16(p, 0xc00c);
    put16(p, type);
    put16(p, 1);
    put16(p, ttl >> 16);
    put16(p, ttl & 0xffff);
    put16(p, (unsigned)len);
    put(p, rdata, len);
}

static struct arena *arena;
static struct names_answer parsed;

// At its exact size, so that a read past the end is seen by the sanitizer.
static enum names_status parse(const struct packet *p, enum names_type type)
{
    unsigned char *exact = xmalloc(p->len + 1);
    memcpy(exact, p->bytes, p->len);
    exact = xrealloc(exact, p->len > 0 ? p->len : 1);
    arena_clear(arena);
    names_parse(exact, p->len, type, arena, &parsed);
    xfree(exact);
    return parsed.status;
}

static enum names_status one(enum names_type type, const void *rdata, size_t len)
{
    struct packet p;
    head(&p, 0, 1, type);
    answer_rr(&p, type, 60, rdata, len);
    return parse(&p, type);
}

static void test_hostile_names(void **state)
{
    assert_int_equal(one(NAMES_MX, "\0\12\4mail\0", 8), NAMES_OK);
    assert_string_equal(parsed.records[0].name, "mail");
    assert_int_equal(one(NAMES_MX, "\0\12\4m\r\nl\0", 8), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\4m\0il\0", 8), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\4m.il\0", 8), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\4m%il\0", 8), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\4m\xffil\0", 8), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\4mail", 7), NAMES_FAILED);    // no end
    assert_int_equal(one(NAMES_MX, "\0\12\77mail\0", 8), NAMES_FAILED); // label past the end
    assert_int_equal(one(NAMES_MX, "\0\12", 2), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0", 1), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "", 0), NAMES_FAILED);
    assert_int_equal(one(NAMES_MX, "\0\12\300", 3), NAMES_FAILED);        // half a pointer
    assert_int_equal(one(NAMES_MX, "\0\12\300\47", 4), NAMES_FAILED);     // to itself
    assert_int_equal(one(NAMES_MX, "\0\12\377\377", 4), NAMES_FAILED);    // outside
    assert_int_equal(one(NAMES_MX, "\0\12\4mail\0xx", 10), NAMES_FAILED); // bytes behind the name
    assert_int_equal(one(NAMES_MX, "\0\12\300\14", 4), NAMES_OK);         // to the question's name
    assert_string_equal(parsed.records[0].name, "example");
    assert_int_equal(one(NAMES_PTR, "\4h\r\nx\7example\0", 14), NAMES_FAILED);

    // 255 octets on the wire are the most.
    unsigned char name[400] = {0, 10};
    size_t at = 2;
    for (int i = 0; i < 5; i++) {
        name[at] = 63;
        memset(name + at + 1, 'a', 63);
        at += 64;
    }
    name[at++] = 0;
    assert_int_equal(one(NAMES_MX, name, at), NAMES_FAILED);
}

static void test_hostile_data(void **state)
{
    assert_int_equal(one(NAMES_A, "\1\2\3\4", 4), NAMES_OK);
    assert_int_equal(one(NAMES_A, "\1\2\3", 3), NAMES_FAILED);
    assert_int_equal(one(NAMES_A, "\1\2\3\4\5", 5), NAMES_FAILED);
    assert_int_equal(one(NAMES_AAAA, "\1\2\3\4", 4), NAMES_FAILED);
    assert_int_equal(one(NAMES_TXT, "\5ab", 3), NAMES_FAILED);
    assert_int_equal(one(NAMES_TXT, "\0", 1), NAMES_OK);
    assert_int_equal(one(NAMES_TLSA, "\3\1\1", 3), NAMES_FAILED);
    assert_int_equal(one(NAMES_TLSA, "\3\1\1\0", 4), NAMES_OK);
}

static void test_hostile_packets(void **state)
{
    struct packet p;
    // Cut anywhere, a packet is an error and never read past its end.
    head(&p, 0, 2, NAMES_MX);
    answer_rr(&p, NAMES_MX, 60, "\0\12\4mail\0", 8);
    answer_rr(&p, NAMES_MX, 60, "\0\24\300\14", 4);
    size_t whole = p.len;
    assert_int_equal(parse(&p, NAMES_MX), NAMES_OK);
    for (p.len = 0; p.len < whole; p.len++)
        assert_int_equal(parse(&p, NAMES_MX), NAMES_FAILED);

    // A ring of CNAMEs, a record of somebody else, a code nobody knows.
    head(&p, 0, 1, NAMES_MX);
    answer_rr(&p, 5, 60, "\300\14", 2);
    assert_int_equal(parse(&p, NAMES_MX), NAMES_NODATA);
    head(&p, 0, 1, NAMES_A);
    put(&p, "\5other\0", 7);
    put(&p, "\0\1\0\1\0\0\0\1\0\4\1\2\3\4", 14);
    assert_int_equal(parse(&p, NAMES_A), NAMES_NODATA);
    head(&p, 11, 0, NAMES_A);
    assert_int_equal(parse(&p, NAMES_A), NAMES_FAILED);
    head(&p, 2, 0, NAMES_A);
    assert_int_equal(parse(&p, NAMES_A), NAMES_FAILED);
    assert_non_null(strstr(parsed.why, "SERVFAIL"));
    head(&p, 3, 0, NAMES_A);
    assert_int_equal(parse(&p, NAMES_A), NAMES_NXDOMAIN);

    // More records than we take; a time to live with the top bit set.
    head(&p, 0, 200, NAMES_A);
    for (int i = 0; i < 200; i++)
        answer_rr(&p, NAMES_A, 0x80000001u, "\1\2\3\4", 4);
    assert_int_equal(parse(&p, NAMES_A), NAMES_OK);
    assert_int_equal(parsed.count, NAMES_RECORDS_MAX);
    assert_int_equal(parsed.ttl_s, 0);
}

static int make_arena(void **state)
{
    arena = arena_new();
    return 0;
}

static int free_arena(void **state)
{
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mx),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_negative),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_other_settings),
        cmocka_unit_test(test_hosts_changes),
        cmocka_unit_test(test_dnssec),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_in_callback),
        cmocka_unit_test(test_settings),
        cmocka_unit_test_setup_teardown(test_hostile_names, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(test_hostile_data, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(test_hostile_packets, make_arena, free_arena),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_stopped_server), // the last: the server is gone after it
    };
    return cmocka_run_group_tests(tests, start_nsd, clean_up);
}
