// SPDX-License-Identifier: ISC
// An SMTP sink for measuring: one thread, epoll, no disk. Counts every message by its token.
//
//   sink PORT EXPECTED [--delay MS] [--times FILE]
//
// Ends when EXPECTED different tokens have arrived, or on SIGTERM; then prints one JSON line. A
// token is the number in the header field "X-Token:". --delay answers the final dot that much
// later. --times writes the arrival of each token, as microseconds of CLOCK_MONOTONIC, 8 bytes
// each.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN = 256 * 1024, OUT = 64 * 1024, EVENTS = 256 };

struct conn {
    int fd;
    char *in;
    size_t in_len;
    char out[OUT];
    size_t out_len;
    bool data;      // inside DATA
    size_t scanned; // of the body in `in`
    bool headers;   // still looking for the token
    long chunk;     // octets of a BDAT chunk still to come, -1 none
    bool last;
    long token;
    int64_t answer_us; // delayed final reply, 0 none
    struct conn *next_delayed;
};

static long expected, arrived, doubled, unknown, connections;
static int64_t *times;
static int64_t delay_us, first_us, last_us;
static const char *times_file;
static volatile sig_atomic_t ended;
static struct conn *delayed_head, **delayed_tail = &delayed_head;
static int epoll;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static void on_term(int signo)
{
    (void)signo;
    ended = 1;
}

static void say(struct conn *c, const char *text)
{
    size_t len = strlen(text);
    if (c->out_len + len <= OUT) {
        memcpy(c->out + c->out_len, text, len);
        c->out_len += len;
    }
}

static bool flush(struct conn *c)
{
    size_t done = 0;
    while (done < c->out_len) {
        ssize_t n = write(c->fd, c->out + done, c->out_len - done);
        if (n <= 0)
            return false; // replies are short: a full socket is a broken client
        done += (size_t)n;
    }
    c->out_len = 0;
    return true;
}

static void find_token(struct conn *c, const char *text, size_t len)
{
    const char *hit = memmem(text, len, "X-Token: ", 9);
    if (hit != NULL)
        c->token = strtol(hit + 9, NULL, 10);
}

static void finish(struct conn *c)
{
    int64_t now = now_us();
    if (first_us == 0)
        first_us = now;
    last_us = now;
    if (c->token < 0 || c->token >= expected)
        unknown++;
    else if (times[c->token] != 0)
        doubled++;
    else {
        times[c->token] = now;
        arrived++;
    }
    if (delay_us == 0) {
        say(c, "250 2.0.0 ok\r\n");
        return;
    }
    c->answer_us = now + delay_us;
    c->next_delayed = NULL;
    *delayed_tail = c;
    delayed_tail = &c->next_delayed;
}

static void consume(struct conn *c, size_t n)
{
    c->in_len -= n;
    memmove(c->in, c->in + n, c->in_len);
}

static bool command(struct conn *c, const char *line, size_t len)
{
    if (len >= 4 && strncasecmp(line, "EHLO", 4) == 0)
        say(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 "
               "SIZE 100000000\r\n");
    else if (len >= 4 && strncasecmp(line, "DATA", 4) == 0) {
        say(c, "354 go\r\n");
        c->data = c->headers = true;
        c->scanned = 0;
        c->token = -1;
    } else if (len >= 4 && strncasecmp(line, "BDAT", 4) == 0) {
        if (!c->headers)
            c->token = -1;
        c->headers = true;
        c->chunk = strtol(line + 4, NULL, 10);
        c->last = memmem(line, len, "LAST", 4) != NULL;
    } else if (len >= 4 && strncasecmp(line, "QUIT", 4) == 0) {
        say(c, "221 bye\r\n");
        flush(c);
        return false;
    } else
        say(c, "250 ok\r\n");
    return true;
}

// Returns false when the connection is to be closed.
static bool work(struct conn *c)
{
    size_t at = 0;
    bool more = true;
    while (more && c->answer_us == 0) {
        if (c->chunk >= 0) {
            size_t n = c->in_len - at < (size_t)c->chunk ? c->in_len - at : (size_t)c->chunk;
            if (c->token < 0)
                find_token(c, c->in + at, n);
            at += n;
            c->chunk -= (long)n;
            if (c->chunk > 0)
                break;
            c->chunk = -1;
            if (c->last) {
                c->headers = false;
                finish(c);
            } else
                say(c, "250 ok\r\n");
        } else if (c->data) {
            if (c->headers && c->token < 0)
                find_token(c, c->in + at, c->in_len - at);
            const char *from = c->in + at;
            const char *dot =
                c->in_len - at >= 3 && memcmp(from, ".\r\n", 3) == 0 && c->scanned == 0
                    ? from - 2
                    : memmem(from, c->in_len - at, "\r\n.\r\n", 5);
            if (dot == NULL) {
                size_t keep = c->in_len - at < 4 ? c->in_len - at : 4;
                c->scanned += c->in_len - at - keep;
                at = c->in_len - keep;
                break;
            }
            at = (size_t)(dot + 5 - c->in);
            c->data = c->headers = false;
            finish(c);
        } else {
            const char *end = memchr(c->in + at, '\n', c->in_len - at);
            if (end == NULL)
                break;
            size_t len = (size_t)(end - (c->in + at));
            more = command(c, c->in + at, len);
            at += len + 1;
        }
    }
    consume(c, at);
    return more && flush(c);
}

static void drop(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    if (c->answer_us != 0)
        return; // freed when its delayed answer is due
    free(c->in);
    free(c);
}

static void on_readable(struct conn *c)
{
    ssize_t n = read(c->fd, c->in + c->in_len, IN - c->in_len);
    if (n <= 0 || (c->in_len += (size_t)n, !work(c)))
        drop(c);
}

static int answer_delayed(void)
{
    while (delayed_head != NULL) {
        int64_t wait = delayed_head->answer_us - now_us();
        if (wait > 0)
            return (int)(wait / 1000 + 1);
        struct conn *c = delayed_head;
        delayed_head = c->next_delayed;
        if (delayed_head == NULL)
            delayed_tail = &delayed_head;
        c->answer_us = 0;
        if (c->fd < 0) {
            free(c->in);
            free(c);
            continue;
        }
        say(c, "250 2.0.0 ok\r\n");
        if (!work(c))
            drop(c);
    }
    return 200;
}

static void accept_all(int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct conn *c = calloc(1, sizeof(*c));
        c->fd = fd;
        c->in = malloc(IN);
        c->chunk = c->token = -1;
        connections++;
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
        say(c, "220 sink ESMTP\r\n");
        flush(c);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: sink PORT EXPECTED [--delay MS] [--times FILE]\n");
        return 64;
    }
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--delay") == 0)
            delay_us = atol(argv[i + 1]) * 1000;
        else if (strcmp(argv[i], "--times") == 0)
            times_file = argv[i + 1];
    }
    expected = atol(argv[2]);
    times = calloc((size_t)expected, sizeof(*times));
    signal(SIGTERM, on_term);
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 1024) != 0) {
        perror("sink: listen");
        return 1;
    }
    epoll = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
    printf("ready\n");
    fflush(stdout);
    while (!ended && arrived < expected) {
        int n = epoll_wait(epoll, events, EVENTS, answer_delayed());
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                on_readable(events[i].data.ptr);
        }
    }
    // A moment longer, so that a copy that comes late is counted too.
    for (int64_t until = now_us() + 300000; now_us() < until;) {
        int n = epoll_wait(epoll, events, EVENTS, 50);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                on_readable(events[i].data.ptr);
        }
        answer_delayed();
    }
    printf("{\"arrived\":%ld,\"doubled\":%ld,\"unknown\":%ld,\"connections\":%ld,\"first_us\":%lld,"
           "\"last_us\":%lld}\n",
           arrived, doubled, unknown, connections, (long long)first_us, (long long)last_us);
    if (times_file != NULL) {
        FILE *f = fopen(times_file, "w");
        fwrite(times, sizeof(*times), (size_t)expected, f);
        fclose(f);
    }
    return 0;
}
