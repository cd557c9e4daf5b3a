// SPDX-License-Identifier: ISC
// Byte streams over non-blocking sockets.
//
// Invariants
//  1. Sockets are watched edge-triggered: `can_read` says that the kernel may hold bytes we have
//  not
//     read, `blocked` that it took no more of ours. A turn reads until a short read, so an exchange
//     costs one read and one write.
//  2. Whatever a stream has to tell its owner is told by a turn (turn(), on_flush()), which only
//  the
//     loop starts. Calls of the owner mark what is to be done and ask for a turn.
//  3. After each callback `closed` is looked at: the owner may have closed. The memory of a closed
//     stream goes when the loop has nothing of it in hand (net->dead).
//  4. What a stream keeps for itself while idle is its struct (and its SSL object): input goes
//     through the loop's buffer, output through pooled chunks.
//  5. In clear, bytes go to `wire` at once; with TLS to `clear`, and from there as records to
//     `wire`. So what was written before STARTTLS precedes the handshake.
#include "sys/stream.h"
#include "base/buf.h"
#include "base/mem.h"
#include "sys/icmp.h"
#include "sys/sockaddr.h"
#include "sys/stream_int.h"
#include "sys/tls_int.h"

#include <assert.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READS_A_TURN = 4,
    PIECES_A_WRITE = 64,
    DRAIN_MS = 30 * 1000,   // for what is still to be sent after stream_close
    FAREWELL_MS = 5 * 1000, // then, for the peer to close its side too
    WATCH_IN = EPOLLIN | EPOLLRDHUP | EPOLLET,
};
_Static_assert((int)STREAM_KEEP == (int)NET_READ_BYTES, "kept bytes are offered from the buffer");

struct stream {
    struct net_watch watch;
    struct net *net;
    const struct stream_handler *handler;
    void *ctx;
    struct link link; // in net->streams or net->dead
    struct link turn; // in net->turns or net->busy
    struct defer flush;
    struct chunks wire;
    struct chunks clear;
    struct buf kept;
    struct tls_conn *tls;
    struct timer bound; // runs while draining
    char *error;
    int error_code;
    int read_errno, write_errno; // met, not told yet
    struct net_addr peer, local;

    bool connecting;
    bool connected_due; // CONNECTED is to be told
    bool can_read;
    bool hung_up;     // the kernel said so: a short read is not the end of what there is
    bool writable_on; // EPOLLOUT is asked for; it stays on
    bool blocked;
    bool owed; // DRAINED is to be told when the queue is empty
    bool paused;
    bool reoffer;  // kept bytes are to be offered although nothing new came
    bool offering; // inside the data callback
    bool discard;  // STARTTLS inside the data callback: its untaken bytes are thrown away
    bool into_tls; // or are the beginning of the handshake
    bool used;     // in clear: bytes were taken or written
    bool eof;      // the kernel said so
    bool eof_told;
    bool failed; // ERROR was told
    bool error_tls;
    bool closed;
    bool draining; // closed, but still sending
    bool notified; // close_notify was queued
    bool shut;     // our side's end was sent
};

static void on_event(struct net_watch *watch, uint32_t events);
static void on_flush(void *ctx);

// ---- what happened, in words

static void say(struct stream *s, const char *text)
{
    xfree(s->error);
    s->error = xstrdup(text);
}

static void say_errno(struct stream *s, int code)
{
    char peer[NET_ADDR_TEXT], from[NET_ADDR_TEXT], text[512];
    net_addr_format(&s->peer, peer);
    switch (code) {
    case ECONNREFUSED: snprintf(text, sizeof(text), "connection refused by %s", peer); break;
    case ECONNRESET: snprintf(text, sizeof(text), "connection reset by %s", peer); break;
    case EPIPE: snprintf(text, sizeof(text), "connection closed by %s", peer); break;
    case ETIMEDOUT: snprintf(text, sizeof(text), "no answer from %s", peer); break;
    case EHOSTUNREACH: snprintf(text, sizeof(text), "no route to %s", peer); break;
    case EACCES:
        snprintf(text, sizeof(text), "connections to %s are forbidden on this machine", peer);
        break;
    case ENETUNREACH:
    case ENETDOWN: snprintf(text, sizeof(text), "the network of %s is unreachable", peer); break;
    case EADDRNOTAVAIL:
        net_addr_format_ip(&s->local, from);
        if (s->local.family != NET_NONE)
            snprintf(text, sizeof(text),
                     "cannot connect to %s: %s is not an address of this machine", peer, from);
        else
            snprintf(text, sizeof(text),
                     "cannot connect to %s: no address or port of this machine is free for it",
                     peer);
        break;
    case EAGAIN: // of a unix socket
        snprintf(text, sizeof(text), "too many connections wait for %s already", peer);
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        snprintf(text, sizeof(text), "cannot connect to %s: %s on this machine", peer,
                 strerror(code));
        break;
    case ENOENT: snprintf(text, sizeof(text), "nothing listens on %s", peer); break;
    case ENODEV:
        snprintf(text, sizeof(text),
                 "cannot connect to %s: the network interface it is to go through is not there",
                 peer);
        break;
    default:
        snprintf(text, sizeof(text), "connection with %s failed: %s", peer, strerror(code));
        break;
    }
    say(s, text);
    s->error_code = code;
}

// The same for a connection that did not come about, where a packet filter may have spoken.
static void say_unconnected(struct stream *s, int code)
{
    struct icmp_word word;
    char peer[NET_ADDR_TEXT], from[NET_ADDR_TEXT], text[512];
    bool asked =
        code == EHOSTUNREACH || code == ENETUNREACH || code == ECONNREFUSED || code == EACCES;
    if (!asked || s->peer.family == NET_UNIX || !icmp_heard(s->watch.fd, &word)) {
        say_errno(s, code);
        return;
    }
    bool itself = word.from.family == NET_NONE || net_addr_same_ip(&word.from, &s->peer);
    net_addr_format(&s->peer, peer);
    net_addr_format_ip(itself ? &s->peer : &word.from, from);
    if (word.prohibited)
        snprintf(text, sizeof(text),
                 "connections to %s are administratively prohibited by a packet filter at %s", peer,
                 from);
    else if (code == ECONNREFUSED && !itself)
        snprintf(text, sizeof(text), "connection to %s refused on the way, by %s", peer, from);
    else {
        say_errno(s, code);
        return;
    }
    say(s, text);
    s->error_code = word.prohibited ? EACCES : code;
}

// ---- turns

static void want_turn(struct stream *s)
{
    if (link_in_list(&s->turn))
        return;
    list_append(&s->net->turns, &s->turn);
    loop_defer(s->net->loop, &s->net->turn, s->net->turn.fn, s->net->turn.ctx);
}

// After everybody else's events: one fast sender must not keep the others waiting.
static void want_turn_later(struct stream *s)
{
    if (link_in_list(&s->turn))
        return;
    list_append(&s->net->busy, &s->turn);
    if (!timer_running(&s->net->again))
        timer_start(&s->net->again, 0);
}

// False when the owner closed the stream meanwhile.
static bool tell(struct stream *s, enum stream_event event)
{
    if (!s->closed)
        s->handler->event(s->ctx, event);
    return !s->closed;
}

// The owner must have been told everything else before.
static void fail(struct stream *s)
{
    s->failed = true;
    chunks_clear(s->net, &s->wire);
    chunks_clear(s->net, &s->clear);
    defer_cancel(&s->flush);
    tell(s, STREAM_ERROR);
}

static void fail_tls(struct stream *s, const struct err *err)
{
    // The alert tells the peer why; nobody waits for it.
    if (s->wire.len > 0) {
        struct chunk *c = s->wire.first;
        (void)!send(s->watch.fd, c->data + c->begin, c->end - c->begin, MSG_NOSIGNAL);
    }
    say(s, err->text);
    s->error_tls = true;
    fail(s);
}

// ---- writing

static size_t gather(const struct chunks *chunks, struct iovec iov[PIECES_A_WRITE])
{
    size_t count = 0;
    for (struct chunk *c = chunks->first; c != NULL && count < PIECES_A_WRITE; c = c->next)
        iov[count++] = (struct iovec){c->data + c->begin, c->end - c->begin};
    return count;
}

static void wait_writable(struct stream *s)
{
    s->blocked = true;
    if (s->writable_on)
        return;
    s->writable_on = true;
    net_watch_change(s->net, &s->watch, WATCH_IN | EPOLLOUT);
}

static size_t unsent(const struct stream *s)
{
    return s->wire.len + s->clear.len;
}

static void write_wire(struct stream *s)
{
    while (s->wire.len > 0 && !s->blocked && s->write_errno == 0) {
        struct iovec iov[PIECES_A_WRITE];
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = gather(&s->wire, iov)};
        size_t asked = 0;
        for (size_t i = 0; i < msg.msg_iovlen; i++)
            asked += iov[i].iov_len;
        ssize_t n = sendmsg(s->watch.fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            s->write_errno = errno;
            return;
        }
        if (n > 0)
            chunks_consume(s->net, &s->wire, (size_t)n);
        if (n < (ssize_t)asked)
            wait_writable(s);
    }
}

// Sends what can be sent now. Never calls back; trouble is told by a turn.
static void send_out(struct stream *s)
{
    if (s->connecting || s->failed)
        return;
    struct err err;
    do {
        if (s->tls != NULL && s->clear.len > 0 && tls_conn_ready(s->tls) &&
            !tls_conn_write(s->tls, &s->clear, &err)) {
            say(s, err.text);
            s->error_tls = true;
            s->write_errno = EPROTO;
        }
        write_wire(s);
    } while (s->clear.len > 0 && s->wire.len == 0 && s->write_errno == 0 && s->tls != NULL &&
             tls_conn_ready(s->tls));
    if (s->write_errno == 0)
        return;
    // The peer may have said why before it went: what it sent is read and offered first.
    chunks_clear(s->net, &s->wire);
    chunks_clear(s->net, &s->clear);
    s->can_read = s->hung_up = true;
    want_turn(s);
}

static void want_flush(struct stream *s)
{
    if (!s->connecting && !s->blocked)
        loop_defer(s->net->loop, &s->flush, on_flush, s);
}

static void on_flush(void *ctx)
{
    struct stream *s = ctx;
    send_out(s);
    if (!s->owed || unsent(s) > 0 || s->write_errno != 0 || s->failed)
        return;
    s->owed = false;
    tell(s, STREAM_DRAINED);
}

void stream_write(struct stream *s, const void *bytes, size_t len)
{
    if (s->failed || s->write_errno != 0 || len == 0)
        return;
    chunks_append(s->net, s->tls != NULL ? &s->clear : &s->wire, bytes, len);
    s->owed = s->used = true;
    want_flush(s);
}

void stream_flush(struct stream *s)
{
    if (s->blocked)
        return;
    defer_cancel(&s->flush);
    send_out(s);
    if (unsent(s) == 0)
        s->owed = false;
}

size_t stream_queued(const struct stream *s)
{
    return s->failed || s->write_errno != 0 ? SIZE_MAX : unsent(s);
}

// ---- reading

static void keep(struct stream *s, const char *bytes, size_t len)
{
    bool kept = len == 0 || buf_append(&s->kept, bytes, len);
    assert(kept); // at most the buffer it was offered from
}

// Offers len bytes and keeps what is not taken. False when the owner closed.
static bool offer(struct stream *s, const char *bytes, size_t len)
{
    s->offering = true;
    size_t taken = s->handler->data(s->ctx, bytes, len);
    s->offering = false;
    if (s->closed)
        return false;
    assert(taken <= len);
    s->used = s->used || taken > 0;
    if (s->into_tls) {
        assert(taken == 0);
        tls_conn_load(s->tls, bytes, len);
        tls_conn_unload(s->tls); // copied: the buffer is the loop's
    } else if (!s->discard) {
        keep(s, bytes + taken, len - taken);
    }
    s->discard = s->into_tls = false;
    return true;
}

// One read into the loop's buffer behind `at` bytes that stand there: bytes read.
static size_t fill(struct stream *s, size_t at)
{
    size_t room = NET_READ_BYTES - at;
    if (!s->can_read || s->eof || s->read_errno != 0 || room == 0)
        return 0;
    ssize_t n;
    do
        n = recv(s->watch.fd, s->net->in + at, room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        if ((size_t)n < room && !s->hung_up)
            s->can_read = false;
        return (size_t)n;
    }
    s->can_read = false;
    if (n == 0)
        s->eof = true;
    else if (errno != EAGAIN)
        s->read_errno = errno;
    return 0;
}

// The kept bytes at the front of `to`; they are no longer kept.
static size_t take_kept(struct stream *s, char *to)
{
    size_t len = s->kept.len;
    if (len > 0) {
        memcpy(to, s->kept.data, len);
        buf_free(&s->kept);
    }
    s->reoffer = false;
    return len;
}

static bool may_offer(const struct stream *s)
{
    return !s->closed && !s->paused && !s->failed;
}

static void read_clear(struct stream *s)
{
    for (int i = 0; i < READS_A_TURN && may_offer(s) && s->tls == NULL; i++) {
        size_t old = s->kept.len;
        size_t fresh = fill(s, old);
        if (fresh == 0 && (!s->reoffer || old == 0))
            return;
        take_kept(s, s->net->in);
        offer(s, s->net->in, old + fresh);
    }
}

// Offers all that can be decrypted. False on failure or when the owner closed.
static bool offer_decrypted(struct stream *s)
{
    struct net *net = s->net;
    if (net->clear == NULL)
        net->clear = xmalloc(NET_READ_BYTES);
    while (may_offer(s) && !s->eof_told) {
        size_t old = s->kept.len, len = old;
        struct err err;
        enum tls_result result = TLS_DONE;
        while (len < NET_READ_BYTES && result == TLS_DONE) {
            size_t n = 0;
            result = tls_conn_read(s->tls, net->clear + len, NET_READ_BYTES - len, &n, &err);
            len += n;
        }
        if (len > old || (s->reoffer && old > 0)) {
            take_kept(s, net->clear);
            if (!offer(s, net->clear, len))
                return false;
        }
        if (result == TLS_FAILED) {
            fail_tls(s, &err);
            return false;
        }
        if (result == TLS_END && !s->paused) {
            s->eof_told = true;
            return tell(s, STREAM_EOF);
        }
        if (result == TLS_MORE || s->kept.len == NET_READ_BYTES)
            break;
    }
    return !s->closed;
}

static bool do_handshake(struct stream *s)
{
    struct err err;
    enum tls_result result = tls_conn_handshake(s->tls, &err);
    if (s->wire.len > 0)
        want_flush(s);
    if (result == TLS_FAILED) {
        fail_tls(s, &err);
        return false;
    }
    if (result == TLS_MORE)
        return true;
    if (s->clear.len > 0)
        want_flush(s);
    return tell(s, STREAM_TLS_READY);
}

static void read_tls(struct stream *s)
{
    for (int i = 0; i < READS_A_TURN && !s->failed && !s->closed; i++) {
        bool shaking = !tls_conn_ready(s->tls);
        if (!shaking && s->paused)
            return;
        size_t n = 0;
        if (!tls_conn_loaded(s->tls) && s->kept.len < STREAM_KEEP && (n = fill(s, 0)) > 0)
            tls_conn_load(s->tls, s->net->in, n);
        if (shaking && !do_handshake(s))
            return;
        if (tls_conn_ready(s->tls) && !offer_decrypted(s))
            return;
        tls_conn_unload(s->tls);
        if (n == 0)
            return;
    }
}

// What the kernel's end of data means once all before it was offered.
static void end_of_data(struct stream *s)
{
    if (s->write_errno != 0) {
        if (!s->error_tls && s->connecting)
            say_unconnected(s, s->write_errno);
        else if (!s->error_tls)
            say_errno(s, s->write_errno);
        fail(s);
        return;
    }
    if (s->read_errno != 0) {
        say_errno(s, s->read_errno);
        fail(s);
        return;
    }
    if (s->eof_told)
        return;
    char peer[NET_ADDR_TEXT], text[256];
    net_addr_format(&s->peer, peer);
    if (s->tls != NULL && !tls_conn_ready(s->tls)) {
        struct err err;
        err_set(&err, "%s closed the connection during the TLS handshake", peer);
        fail_tls(s, &err);
        return;
    }
    if (s->tls != NULL) {
        snprintf(text, sizeof(text), "%s cut the connection without the TLS close_notify", peer);
        say(s, text);
        s->error_tls = true;
    }
    s->eof_told = true;
    tell(s, STREAM_EOF);
}

static void drain(struct stream *s);

static void turn(struct stream *s)
{
    if (s->draining) {
        drain(s);
        return;
    }
    if (s->closed || s->failed)
        return;
    if (s->connecting) {
        if (s->write_errno != 0)
            end_of_data(s);
        return;
    }
    if (s->connected_due) {
        s->connected_due = false;
        if (!tell(s, STREAM_CONNECTED))
            return;
    }
    if (s->tls == NULL)
        read_clear(s);
    if (s->tls != NULL && !s->closed)
        read_tls(s);
    if (s->closed || s->failed)
        return;
    bool reading = !s->paused && s->kept.len < STREAM_KEEP;
    if (s->can_read && reading && !s->eof_told)
        want_turn_later(s);
    else if (s->write_errno != 0 || (reading && (s->eof || s->read_errno != 0)))
        end_of_data(s);
}

static void serve(struct link *list)
{
    // Those who ask again meanwhile stand in the next round.
    struct link now;
    list_init(&now);
    while (!list_empty(list)) {
        struct link *l = list->next;
        list_remove(l);
        list_append(&now, l);
    }
    struct stream *s;
    while ((s = list_first(&now, struct stream, turn)) != NULL) {
        list_remove(&s->turn);
        turn(s);
    }
}

void stream_serve_turns(struct net *net)
{
    serve(&net->turns);
}

void stream_serve_busy(struct net *net)
{
    serve(&net->busy);
}

// ---- the socket

static void connected(struct stream *s)
{
    int code = 0;
    socklen_t len = sizeof(code);
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    if (code != 0) {
        s->write_errno = code;
        return;
    }
    s->connecting = false;
    s->connected_due = true;
    if (unsent(s) > 0)
        want_flush(s);
}

static void on_event(struct net_watch *watch, uint32_t events)
{
    struct stream *s = container_of(watch, struct stream, watch);
    if (s->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(s);
    if ((events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0)
        s->hung_up = s->can_read = true;
    if ((events & EPOLLIN) != 0)
        s->can_read = true;
    if (s->blocked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        s->blocked = false;
        if (s->draining)
            send_out(s);
        else
            on_flush(s);
    }
    if (!s->closed || s->draining)
        turn(s);
}

static struct stream *stream_new(struct net *net, int fd, const struct net_addr *peer)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->watch = (struct net_watch){.fn = on_event, .fd = fd};
    s->net = net;
    s->peer = *peer;
    buf_init(&s->kept, STREAM_KEEP);
    list_append(&net->streams, &s->link);
    return s;
}

struct stream *stream_accepted(struct net *net, int fd, const struct net_addr *peer)
{
    struct stream *s = stream_new(net, fd, peer);
    net_watch(net, &s->watch, WATCH_IN);
    return s;
}

bool stream_attached(const struct stream *s)
{
    return s->handler != NULL;
}

void stream_attach(struct stream *s, const struct stream_handler *handler, void *ctx)
{
    s->handler = handler;
    s->ctx = ctx;
}

// 0, or the errno.
static int bind_to_interface(struct stream *s, const char *interface)
{
    size_t len = strlen(interface);
    if (len >= IFNAMSIZ)
        return ENODEV;
    return setsockopt(s->watch.fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)len + 1) == 0
               ? 0
               : errno;
}

// 0, or the errno.
static int start_connect(struct stream *s, const struct net_addr *to, const struct stream_way *way)
{
    const struct net_addr *from = way->from;
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from(to, &sa);
    if (len == 0)
        return EAFNOSUPPORT;
    s->watch.fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->watch.fd < 0)
        return errno;
    int on = 1;
    if (to->family != NET_UNIX)
        setsockopt(s->watch.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (to->family != NET_UNIX && way->interface != NULL) {
        int code = bind_to_interface(s, way->interface);
        if (code != 0)
            return code;
    }
    if (from != NULL && from->family != NET_NONE) {
        struct sockaddr_storage local;
        socklen_t local_len = sockaddr_from(from, &local);
        s->local = *from; // for the sentence, should it not be ours
        if (from->port == 0)
            setsockopt(s->watch.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(s->watch.fd, (struct sockaddr *)&local, local_len) != 0)
            return errno;
        s->local.family = NET_NONE;
    }
    int rc = connect(s->watch.fd, (struct sockaddr *)&sa, len);
    if (rc != 0 && errno != EINPROGRESS)
        return errno;
    s->connecting = rc != 0;
    s->connected_due = rc == 0;
    return 0;
}

struct stream *stream_connect(struct loop *loop, const struct net_addr *to,
                              const struct net_addr *from, const struct stream_handler *handler,
                              void *ctx)
{
    struct stream_way way = {.from = from};
    return stream_connect_by(loop, to, &way, handler, ctx);
}

struct stream *stream_connect_by(struct loop *loop, const struct net_addr *to,
                                 const struct stream_way *way, const struct stream_handler *handler,
                                 void *ctx)
{
    struct stream *s = stream_new(net_of(loop), -1, to);
    stream_attach(s, handler, ctx);
    int code = start_connect(s, to, way);
    if (code != 0) {
        s->connecting = true;
        s->write_errno = code;
    } else {
        s->writable_on = true;
        net_watch(s->net, &s->watch, WATCH_IN | EPOLLOUT);
    }
    if (!s->connecting || code != 0)
        want_turn(s);
    return s;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    s->reoffer = true;
    want_turn(s);
}

size_t stream_kept(const struct stream *s)
{
    return s->kept.len;
}

// ---- TLS

static void start_tls(struct stream *s, struct tls_conn *conn)
{
    assert(s->tls == NULL);
    buf_free(&s->kept);
    s->discard = s->offering;
    s->tls = conn;
    want_turn(s);
}

void stream_start_tls_server(struct stream *s, struct tls_server *tls)
{
    start_tls(s, tls_conn_server(s->net, &s->wire, tls));
}

void stream_start_tls_server_offered(struct stream *s, struct tls_server *tls)
{
    assert(s->offering && !s->used);
    stream_start_tls_server(s, tls);
    s->into_tls = true;
}

void stream_start_tls_client(struct stream *s, const struct tls_client_params *params)
{
    struct err err;
    struct tls_conn *conn = tls_conn_client(s->net, &s->wire, params, &err);
    if (conn != NULL) {
        start_tls(s, conn);
        return;
    }
    // Nothing more may be read or written in clear.
    buf_free(&s->kept);
    s->discard = s->offering;
    say(s, err.text);
    s->error_tls = true;
    s->write_errno = EPROTO;
    s->paused = true;
    want_turn(s);
}

// ---- the end

static void destroy(struct stream *s)
{
    s->draining = false;
    timer_stop(&s->bound);
    list_remove(&s->turn);
    defer_cancel(&s->flush);
    tls_conn_free(&s->tls);
    chunks_clear(s->net, &s->wire);
    chunks_clear(s->net, &s->clear);
    buf_free(&s->kept);
    if (s->watch.fd >= 0) {
        net_unwatch(s->net, &s->watch);
        close(s->watch.fd);
        s->watch.fd = -1;
    }
    list_remove(&s->link);
    list_append(&s->net->dead, &s->link);
}

static void on_reap(void *ctx)
{
    stream_reap(ctx);
}

static void bury(struct stream *s)
{
    destroy(s);
    loop_defer(s->net->loop, &s->net->reap, on_reap, s->net);
}

static void on_bound(void *ctx)
{
    bury(ctx);
}

static void send_farewell(struct stream *s)
{
    if (s->tls != NULL && !s->notified) {
        s->notified = true;
        tls_conn_close_notify(s->tls);
        send_out(s);
    }
    if (unsent(s) > 0 || s->write_errno != 0)
        return;
    if (!s->eof) // else the close that follows says it
        shutdown(s->watch.fd, SHUT_WR);
    s->shut = true;
    timer_start(&s->bound, FAREWELL_MS);
}

// Sends the rest, then our end of the connection, then waits a little for the peer's: a close with
// unread input would make the kernel send a reset, and the peer lose our last words.
static void drain(struct stream *s)
{
    if (!s->shut)
        send_out(s);
    for (int i = 0; i < READS_A_TURN && s->can_read && !s->connecting; i++)
        fill(s, 0);
    if (!s->shut && !s->connecting && unsent(s) == 0 && s->write_errno == 0)
        send_farewell(s);
    if (s->write_errno != 0 || s->read_errno != 0 || (s->shut && s->eof))
        bury(s);
    else if (s->can_read)
        want_turn_later(s);
}

void stream_close(struct stream **stream, bool drain_first)
{
    struct stream *s = *stream;
    if (s == NULL)
        return;
    *stream = NULL;
    s->closed = true;
    s->handler = NULL;
    defer_cancel(&s->flush);
    list_remove(&s->turn);
    if (s->tls != NULL && !tls_conn_ready(s->tls))
        chunks_clear(s->net, &s->clear); // will never be sent: nobody answers for the peer
    if (!drain_first || s->failed || s->write_errno != 0 || s->read_errno != 0) {
        bury(s);
        return;
    }
    s->draining = true;
    timer_init(&s->bound, s->net->loop, on_bound, s);
    timer_start(&s->bound, DRAIN_MS);
    drain(s);
}

void stream_reap(struct net *net)
{
    struct stream *s;
    while ((s = list_first(&net->dead, struct stream, link)) != NULL) {
        list_remove(&s->link);
        xfree(s->error);
        xfree(s);
    }
}

void stream_drop_all(struct net *net)
{
    struct stream *s;
    list_each (&net->streams, s, struct stream, link)
        if (s->draining)
            destroy(s);
    stream_reap(net);
}

// ---- facts

const struct net_addr *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const struct net_addr *stream_local(const struct stream *s)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    // Asked at first use: most never ask.
    if (s->local.family == NET_NONE && s->watch.fd >= 0 &&
        getsockname(s->watch.fd, (struct sockaddr *)&sa, &len) == 0)
        sockaddr_to((struct sockaddr *)&sa, len, &((struct stream *)s)->local);
    return &s->local;
}

const char *stream_error(const struct stream *s)
{
    return s->error != NULL ? s->error : "";
}

int stream_errno(const struct stream *s)
{
    return s->error_code;
}

bool stream_error_is_tls(const struct stream *s)
{
    return s->error_tls;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL && tls_conn_ready(s->tls);
}

const char *stream_tls_text(const struct stream *s)
{
    return s->tls != NULL ? tls_conn_text(s->tls) : "";
}

bool stream_tls_verified(const struct stream *s)
{
    return s->tls != NULL && tls_conn_verified(s->tls);
}

bool stream_tls_reused(const struct stream *s)
{
    return s->tls != NULL && tls_conn_reused(s->tls);
}

bool stream_peer_uid(const struct stream *s, uint32_t *uid_out, uint32_t *pid_out)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (s->peer.family != NET_UNIX || s->watch.fd < 0 ||
        getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return false;
    *uid_out = cred.uid;
    *pid_out = (uint32_t)cred.pid;
    return true;
}
