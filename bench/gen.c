// SPDX-License-Identifier: ISC
// An SMTP load generator for measuring: one thread, epoll.
//
//   gen PORT MESSAGES SESSIONS BYTES [--keep] [--every MS] [--times FILE] [--idle N]
//       [--to ADDRESS]
//
// Sends MESSAGES of BYTES each over SESSIONS connections at once, each message with its own token;
// --keep sends all of a session's messages over one connection, else one connection a message.
// --every starts one message each MS (with one session). --times writes for each token two numbers
// of 8 bytes: connect (or MAIL, when kept) and 250, in microseconds of CLOCK_MONOTONIC. --idle
// opens N sessions that only say EHLO and then wait. --to: the recipient. Prints one JSON line.
#include <arpa/inet.h>
#include <errno.h>
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

enum step { GREETING, EHLO, MAIL, DATA, FINAL, QUIT, IDLE };
struct session {
    int fd;
    enum step step;
    char in[8192];
    size_t in_len;
    int replies; // still to come in this step
    long token;
    size_t sent, head_len; // of the body
    char head[256];
    bool idle;
};

static int port, epoll;
static long messages, sessions, next_token, done, refused, bytes;
static bool keep;
static long every_ms, idle_sessions, idle_ready;
static int64_t *times;
static char *filler;
static const char *to = "rcpt@example.net";

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static void watch(struct session *s, uint32_t events, int op)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};
    epoll_ctl(epoll, op, s->fd, &ev);
}

static void open_session(struct session *s)
{
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (times != NULL && s->token >= 0)
        times[s->token * 2] = now_us();
    if (connect(s->fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        perror("gen: connect");
        exit(1);
    }
    s->step = GREETING;
    s->in_len = 0;
    s->replies = 1;
    watch(s, EPOLLIN, EPOLL_CTL_ADD);
}

static void send_all(struct session *s, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(s->fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) {
            perror("gen: send");
            exit(1);
        }
        text += n;
        len -= (size_t)n;
    }
}

static void say(struct session *s, const char *text, enum step step, int replies)
{
    s->step = step;
    s->replies = replies;
    send_all(s, text, strlen(text));
}

static bool take_token(struct session *s)
{
    if (next_token >= messages)
        return false;
    s->token = next_token++;
    return true;
}

static void send_envelope(struct session *s)
{
    if (times != NULL && keep)
        times[s->token * 2] = now_us();
    char text[512];
    snprintf(text, sizeof(text), "MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", to);
    say(s, text, MAIL, 3);
}

// Sends what the socket takes; the rest when it is writable again.
static void send_body(struct session *s)
{
    size_t total = s->head_len + (size_t)bytes + 5;
    while (s->sent < total) {
        ssize_t n;
        if (s->sent < s->head_len)
            n = send(s->fd, s->head + s->sent, s->head_len - s->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
        else
            n = send(s->fd, filler + (s->sent - s->head_len), total - s->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            watch(s, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        if (n <= 0) {
            perror("gen: body");
            exit(1);
        }
        s->sent += (size_t)n;
    }
    watch(s, EPOLLIN, EPOLL_CTL_MOD);
}

static void begin_body(struct session *s)
{
    s->head_len = (size_t)snprintf(
        s->head, sizeof(s->head),
        "From: <sender@example.org>\r\nTo: <rcpt@example.net>\r\nSubject: load %ld\r\n"
        "Date: Sat, 21 Nov 2026 09:07:00 +0000\r\nMessage-ID: <%ld.load@example.org>\r\n"
        "X-Token: %ld\r\n\r\n",
        s->token, s->token, s->token);
    s->sent = 0;
    s->step = FINAL;
    s->replies = 1;
    send_body(s);
}

static void end_session(struct session *s)
{
    close(s->fd);
    s->fd = -1;
    if (every_ms == 0 && take_token(s))
        open_session(s);
}

static void on_reply(struct session *s, const char *line)
{
    if (line[0] != '2' && line[0] != '3') {
        refused++;
        if (refused == 1)
            fprintf(stderr, "gen: refused: %.100s\n", line);
        if (s->step == FINAL || s->step == MAIL) {
            done++;
            end_session(s);
        }
        return;
    }
    if (--s->replies > 0)
        return;
    switch (s->step) {
    case GREETING: say(s, "EHLO gen.example.org\r\n", s->idle ? IDLE : EHLO, 1); break;
    case EHLO: send_envelope(s); break;
    case MAIL: begin_body(s); break;
    case FINAL:
        if (times != NULL)
            times[s->token * 2 + 1] = now_us();
        done++;
        if (keep && take_token(s))
            send_envelope(s);
        else
            say(s, "QUIT\r\n", QUIT, 1);
        break;
    case QUIT: end_session(s); break;
    case DATA: break;
    case IDLE: idle_ready++; break;
    }
}

static void on_readable(struct session *s)
{
    ssize_t n = recv(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (s->step != QUIT) {
            fprintf(stderr, "gen: connection lost in step %d (%s)\n", s->step,
                    n < 0 ? strerror(errno) : "closed");
            refused++;
            done += s->step != IDLE;
        }
        end_session(s);
        return;
    }
    s->in_len += (size_t)n;
    size_t at = 0;
    for (char *end; s->fd >= 0 && at <= s->in_len &&
                    (end = memchr(s->in + at, '\n', s->in_len - at)) != NULL;) {
        char *line = s->in + at;
        at = (size_t)(end + 1 - s->in);
        if (end - line >= 4 && line[3] == '-')
            continue;
        on_reply(s, line);
    }
    if (s->fd < 0 || at > s->in_len)
        return;
    s->in_len -= at;
    memmove(s->in, s->in + at, s->in_len);
}

int main(int argc, char **argv)
{
    const char *times_file = NULL;
    if (argc < 5) {
        fprintf(stderr, "usage: gen PORT MESSAGES SESSIONS BYTES [--keep] [--every MS] [--times "
                        "FILE] [--idle N]\n");
        return 64;
    }
    port = atoi(argv[1]);
    messages = atol(argv[2]);
    sessions = atol(argv[3]);
    bytes = atol(argv[4]);
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], "--keep") == 0)
            keep = true;
        else if (strcmp(argv[i], "--every") == 0 && i + 1 < argc)
            every_ms = atol(argv[++i]);
        else if (strcmp(argv[i], "--times") == 0 && i + 1 < argc)
            times_file = argv[++i];
        else if (strcmp(argv[i], "--to") == 0 && i + 1 < argc)
            to = argv[++i];
        else if (strcmp(argv[i], "--idle") == 0 && i + 1 < argc)
            idle_sessions = atol(argv[++i]);
    }
    filler = malloc((size_t)bytes + 6);
    for (long i = 0; i < bytes; i++)
        filler[i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : (char)('a' + i % 26);
    memcpy(filler + bytes, "\r\n.\r\n", 5);
    if (times_file != NULL)
        times = calloc((size_t)messages * 2 + 2, sizeof(*times));
    epoll = epoll_create1(0);
    signal(SIGPIPE, SIG_IGN);
    struct session *all = calloc((size_t)(sessions + idle_sessions), sizeof(*all));
    for (long i = sessions; i < sessions + idle_sessions; i++) {
        all[i].idle = true;
        all[i].token = -1;
        open_session(&all[i]);
    }
    int64_t start = now_us(), next_us = start;
    for (long i = 0; i < sessions; i++)
        all[i].fd = -1;
    for (long i = 0; i < sessions && every_ms == 0 && take_token(&all[i]); i++)
        open_session(&all[i]);
    while (done < messages || idle_ready < idle_sessions) {
        int wait = 1000;
        if (every_ms > 0 && all[0].fd < 0 && now_us() >= next_us && take_token(&all[0])) {
            next_us += every_ms * 1000;
            open_session(&all[0]);
        }
        if (every_ms > 0)
            wait = next_us > now_us() ? (int)((next_us - now_us()) / 1000) : 0;
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_body(s);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(s);
        }
    }
    int64_t end = now_us();
    printf("{\"messages\":%ld,\"refused\":%ld,\"start_us\":%lld,\"end_us\":%lld,\"per_s\":%.0f}\n",
           done, refused, (long long)start, (long long)end,
           (double)done * 1e6 / (double)(end - start));
    fflush(stdout);
    if (times_file != NULL) {
        FILE *f = fopen(times_file, "w");
        fwrite(times, sizeof(*times), (size_t)messages * 2, f);
        fclose(f);
    }
    if (idle_sessions > 0)
        pause(); // until whoever measures them ends this
    return refused > 0;
}
