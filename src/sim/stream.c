// SPDX-License-Identifier: ISC
// Byte streams of the simulated network.
//
// A connection has two ends (streams) and a pipe towards each. A pipe holds the bytes under way and
// arrived, cut into pieces that arrive at their own times, in order. Control pieces travel in the
// same pipe: end, reset, and the two halves of the TLS handshake. A piece sent under TLS is marked;
// whoever reads a piece whose mark is not what his side expects has been attacked or is broken, and
// his stream dies with a TLS error.
//
// What must hold:
//  1. A callback is the last thing an event function does with a stream, or it looks at `gone`
//     first: the callback may have closed it.
//  2. A connection lives until both ends are closed; an end only knows the other through it.
//  3. Whether bytes are taken, dropped or reset is decided when they are sent (pipe_send).
#include "sim/inside.h"
#include "base/limits.h"
#include "sys/stream.h"
#include "sys/tls.h"

#include <errno.h>

enum piece_kind { PIECE_DATA, PIECE_END, PIECE_RESET, PIECE_CLIENT_HELLO, PIECE_SERVER_HELLO };
struct piece {
    int64_t due_us;
    size_t len; // PIECE_DATA
    enum piece_kind kind;
    bool secure;
};

// A queue of bytes: taking from its front is cheap however long it is.
struct fifo {
    struct buf bytes;
    size_t taken; // of the front, not yet cut off
};

struct pipe {
    struct fifo bytes;    // of the data pieces, oldest first
    struct piece *pieces; // [first, count)
    size_t first, count, cap;
    int64_t last_us; // when the newest piece arrives
    bool closed;     // an end or a reset is on its way: nothing may follow
};

struct conn {
    struct link all;
    struct stream *end[2]; // 0: who connected
    struct pipe to[2];     // towards that end
    struct world_link link;
    struct net_addr addr[2];
    uint64_t moved; // bytes, both ways
    bool silent;
    char server_name[256]; // of the client's hello
};

enum stage {
    STAGE_SYN,    // the request is on its way
    STAGE_ANSWER, // the answer is
    STAGE_OPEN,
    STAGE_FAILED, // the error event is due
    STAGE_DEAD,
};
enum tls_stage { TLS_CLEAR, TLS_AWAIT_CLIENT, TLS_AWAIT_SERVER, TLS_ON };

struct stream {
    struct link of_loop;
    struct loop *loop;
    struct conn *conn;
    int side;
    const struct stream_handler *handler;
    void *ctx;
    enum stage stage;
    enum tls_stage tls;
    bool paused, offer, blocked, hello_seen;
    bool offering; // inside the data callback
    bool used;     // in clear: bytes were taken or written
    bool wiped;    // `in` was thrown away (by start_tls, maybe from inside the data callback)
    bool want_verify, verified, reused;
    struct buf in;   // received, not taken
    struct fifo out; // written, not yet sent
    struct event rx, wake, timeout;
    struct defer flush;
    bool no_hello; // the bytes offered as a handshake were none
    bool *gone;    // set by stream_close for the event function on the stack
    int fail_code;
    bool fail_tls;
    char fail_text[160];
};

struct listener {
    struct link of_loop;
    struct loop *loop;
    struct net_addr at;
    void (*accepted)(void *ctx, struct stream *s);
    void *ctx;
    bool paused;
    struct stream *backlog[LIMIT_LISTEN_BACKLOG];
    size_t waiting;
    struct event accept;
};

enum { TCP_GIVE_UP_US = 924 * 1000000, CONNECT_GIVE_UP_US = 127 * 1000000 };

static struct link conns;
static uint16_t next_port;
static uint32_t unix_uid, unix_pid;
static void (*decide_fn)(void *ctx, const struct net_addr *from, const struct net_addr *to,
                         struct world_link *link);
static void *decide_ctx;

static void stream_rx(struct event *e);
static void stream_wake(struct event *e);
static void stream_timeout(struct event *e);

// ---- Pipes. ----

static size_t fifo_len(const struct fifo *f)
{
    return f->bytes.len - f->taken;
}

static const char *fifo_front(const struct fifo *f)
{
    return f->bytes.data + f->taken;
}

static void fifo_take(struct fifo *f, size_t len)
{
    f->taken += len;
    if (f->taken > f->bytes.len / 2) {
        buf_consume(&f->bytes, f->taken);
        f->taken = 0;
    }
}

static void fifo_clear(struct fifo *f)
{
    buf_clear(&f->bytes);
    f->taken = 0;
}

static struct piece *pipe_front(struct pipe *p)
{
    return p->first < p->count ? &p->pieces[p->first] : NULL;
}

static struct piece *pipe_add(struct pipe *p)
{
    if (p->count == p->cap) {
        if (p->first > p->cap / 2) {
            memmove(p->pieces, p->pieces + p->first, (p->count - p->first) * sizeof(*p->pieces));
            p->count -= p->first;
            p->first = 0;
        } else {
            p->cap = p->cap > 0 ? p->cap * 2 : 8;
            p->pieces = xrealloc(p->pieces, p->cap * sizeof(*p->pieces));
        }
    }
    p->pieces[p->count] = (struct piece){0};
    return &p->pieces[p->count++];
}

static void pipe_free(struct pipe *p)
{
    buf_free(&p->bytes.bytes);
    xfree(p->pieces);
    p->pieces = NULL;
    p->first = p->count = p->cap = 0;
}

// Lets the receiving end know that its next piece has a time.
static void schedule_rx(struct stream *s)
{
    if (s == NULL || s->handler == NULL || s->stage != STAGE_OPEN || s->paused)
        return;
    struct piece *front = pipe_front(&s->conn->to[s->side]);
    bool full = s->in.len >= STREAM_KEEP;
    int64_t at;
    if (s->offer)
        at = sim.now_us;
    else if (front != NULL && !full)
        at = front->due_us;
    else
        return;
    if (!event_pending(&s->rx) || s->rx.due.due > at)
        event_at(&s->rx, at);
}

static int64_t arrival_us(struct conn *c, struct pipe *p)
{
    int64_t at = sim_departs_us() + c->link.latency_us;
    if (c->link.jitter_us > 0)
        at += (int64_t)sim_below((uint64_t)c->link.jitter_us);
    int64_t least = p->last_us + 1 + c->link.drip_us;
    return p->last_us = at > least ? at : least;
}

static void pipe_control(struct conn *c, int to, enum piece_kind kind, bool secure)
{
    struct pipe *p = &c->to[to];
    if (c->end[to] == NULL || p->closed)
        return;
    if (kind == PIECE_END || kind == PIECE_RESET)
        p->closed = true;
    if (c->silent)
        return;
    struct piece *piece = pipe_add(p);
    piece->kind = kind;
    piece->secure = secure;
    piece->due_us = arrival_us(c, p);
    schedule_rx(c->end[to]);
}

// A reset that overtakes what was still under way, as it does when the sending process dies.
static void pipe_reset(struct conn *c, int to, bool overtake)
{
    struct pipe *p = &c->to[to];
    if (overtake) {
        p->first = p->count = 0;
        fifo_clear(&p->bytes);
        p->closed = false;
        p->last_us = 0;
        if (c->end[to] != NULL)
            event_cancel(&c->end[to]->rx);
    }
    c->silent = false;
    pipe_control(c, to, PIECE_RESET, false);
}

static void conn_reset(struct conn *c)
{
    pipe_reset(c, 0, sim_chance(300));
    pipe_reset(c, 1, sim_chance(300));
}

static void pipe_send(struct conn *c, int to, const char *bytes, size_t len, bool secure)
{
    struct pipe *p = &c->to[to];
    struct stream *from = c->end[1 - to];
    if (c->end[to] == NULL && !c->silent && from != NULL && !from->paused) {
        pipe_control(c, 1 - to, PIECE_RESET, false); // nobody there
        return;
    }
    if (c->end[to] == NULL || p->closed) { // a write into a broken connection fails unread
        if (from != NULL && !c->silent) {
            from->fail_code = EPIPE;
            event_at(&from->timeout, sim_departs_us() + 2 * c->link.latency_us + 1);
        }
        return;
    }
    uint64_t left = c->link.reset_after - c->moved;
    bool cut = !c->silent && len >= left;
    if (cut)
        len = (size_t)left;
    c->moved += len;
    if (c->moved > c->link.silent_after)
        c->silent = true;
    if (c->silent) {
        if (from != NULL && !event_pending(&from->timeout))
            event_at(&from->timeout, sim_departs_us() + TCP_GIVE_UP_US);
        return;
    }
    buf_append(&p->bytes.bytes, bytes, len);
    while (len > 0) {
        size_t most = len < c->link.chunk_max ? len : c->link.chunk_max;
        struct piece *piece = pipe_add(p);
        piece->len = 1 + (size_t)sim_below(most);
        piece->secure = secure;
        piece->due_us = arrival_us(c, p);
        len -= piece->len;
    }
    schedule_rx(c->end[to]);
    if (cut)
        conn_reset(c);
}

// ---- Streams. ----

static void conn_release(struct conn *c)
{
    if (c->end[0] != NULL || c->end[1] != NULL)
        return;
    list_remove(&c->all);
    pipe_free(&c->to[0]);
    pipe_free(&c->to[1]);
    xfree(c);
}

static struct stream *stream_make(struct loop *loop, struct conn *c, int side)
{
    struct stream *s = sim_alloc(SIM_WORLD, sizeof(*s));
    s->loop = loop;
    s->conn = c;
    s->side = side;
    c->end[side] = s;
    buf_init(&s->in, STREAM_KEEP);
    buf_init(&s->out.bytes, SIZE_MAX / 2);
    event_init(&s->rx, loop, stream_rx);
    event_init(&s->wake, loop, stream_wake);
    event_init(&s->timeout, loop, stream_timeout);
    list_append(&loop->streams, &s->of_loop);
    return s;
}

static void stream_drop(struct stream *s)
{
    struct conn *c = s->conn;
    c->end[s->side] = NULL;
    event_cancel(&s->rx);
    event_cancel(&s->wake);
    event_cancel(&s->timeout);
    defer_cancel(&s->flush);
    list_remove(&s->of_loop);
    buf_free(&s->in);
    buf_free(&s->out.bytes);
    if (s->gone != NULL)
        *s->gone = true;
    xfree(s);
    conn_release(c);
}

// Bytes of the queue go out as far as the window lets them. True when all went.
static bool stream_push(struct stream *s, bool all)
{
    if (s->stage != STAGE_OPEN || s->tls == TLS_AWAIT_CLIENT || s->tls == TLS_AWAIT_SERVER)
        return false;
    struct conn *c = s->conn;
    size_t held = fifo_len(&c->to[1 - s->side].bytes);
    size_t room = held < c->link.window ? c->link.window - held : 0;
    size_t n = all || fifo_len(&s->out) < room ? fifo_len(&s->out) : room;
    if (n > 0) {
        pipe_send(c, 1 - s->side, fifo_front(&s->out), n, s->tls == TLS_ON);
        fifo_take(&s->out, n);
    }
    s->blocked = fifo_len(&s->out) > 0;
    return !s->blocked;
}

static void flush_deferred(void *ctx)
{
    SIM_CALL;
    stream_push(ctx, false);
}

void stream_write(struct stream *s, const void *bytes, size_t len)
{
    SIM_CALL;
    if (s->stage == STAGE_DEAD || s->stage == STAGE_FAILED || len == 0)
        return;
    buf_append(&s->out.bytes, bytes, len);
    s->used = true;
    loop_defer(s->loop, &s->flush, flush_deferred, s);
}

void stream_flush(struct stream *s)
{
    SIM_CALL;
    stream_push(s, false);
}

size_t stream_queued(const struct stream *s)
{
    return s->stage == STAGE_DEAD || s->stage == STAGE_FAILED ? SIZE_MAX : fifo_len(&s->out);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    SIM_CALL;
    s->paused = false;
    s->offer = s->in.len > 0;
    schedule_rx(s);
}

size_t stream_kept(const struct stream *s)
{
    return s->in.len;
}

static void stream_fail(struct stream *s, int code, bool is_tls, const char *text)
{
    s->stage = STAGE_DEAD;
    s->fail_code = code;
    s->fail_tls = is_tls;
    snprintf(s->fail_text, sizeof(s->fail_text), "%s", text);
    fifo_clear(&s->out);
    event_cancel(&s->rx);
    event_cancel(&s->wake);
    event_cancel(&s->timeout);
    if (s->handler != NULL)
        SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_ERROR));
}

static void stream_timeout(struct event *e)
{
    struct stream *s = container_of(e, struct stream, timeout);
    int code = s->fail_code != 0 ? s->fail_code : ETIMEDOUT;
    if (s->no_hello)
        stream_fail(s, 0, true, "the peer does not speak TLS here");
    else
        stream_fail(s, code, false, strerror(code));
}

static bool listener_takes(const struct listener *l, const struct net_addr *to)
{
    if (l->at.family != to->family)
        return false;
    if (to->family == NET_UNIX)
        return strcmp(l->at.path, to->path) == 0;
    return l->at.port == to->port && (net_addr_is_any(&l->at) || net_addr_same_ip(&l->at, to));
}

static struct listener *listener_find(const struct net_addr *to)
{
    struct loop *loop;
    struct listener *l, *chosen = NULL;
    uint64_t count = 0;
    list_each (&sim.loops, loop, struct loop, all) {
        list_each (&loop->listeners, l, struct listener, of_loop) {
            if (listener_takes(l, to) && sim_below(++count) == 0)
                chosen = l;
        }
    }
    return chosen;
}

// The request arrives where it was sent to.
static void connect_arrives(struct stream *s)
{
    struct conn *c = s->conn;
    struct listener *l = listener_find(&c->addr[1]);
    int64_t answer = sim.now_us + c->link.latency_us;
    s->stage = STAGE_ANSWER;
    if (c->link.fate == WORLD_LINK_BLACKHOLE || (l != NULL && l->waiting == LIMIT_LISTEN_BACKLOG)) {
        s->fail_code = ETIMEDOUT;
        event_at(&s->wake, sim.now_us + CONNECT_GIVE_UP_US);
        return;
    }
    event_at(&s->wake, answer);
    if (l == NULL || c->link.fate == WORLD_LINK_REFUSED) {
        s->fail_code = c->addr[1].family == NET_UNIX ? ENOENT : ECONNREFUSED;
        return;
    }
    struct stream *server = stream_make(l->loop, c, 1);
    server->stage = STAGE_OPEN;
    l->backlog[l->waiting++] = server;
    if (!l->paused)
        event_at(&l->accept, sim.now_us);
}

// A connection attempt moves on, or the window has room again.
static void stream_wake(struct event *e)
{
    struct stream *s = container_of(e, struct stream, wake);
    if (s->stage == STAGE_FAILED || (s->stage == STAGE_ANSWER && s->fail_code != 0)) {
        stream_fail(s, s->fail_code, false, strerror(s->fail_code));
        return;
    }
    if (s->stage == STAGE_SYN) {
        connect_arrives(s);
        return;
    }
    if (s->stage == STAGE_ANSWER) {
        s->stage = STAGE_OPEN;
        schedule_rx(s);
        if (fifo_len(&s->out) > 0)
            loop_defer(s->loop, &s->flush, flush_deferred, s);
        SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_CONNECTED));
        return;
    }
    if (s->blocked && stream_push(s, false))
        SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_DRAINED));
}

static struct net_addr local_for(const struct net_addr *to, enum sim_owner owner)
{
    struct net_addr from = {.family = to->family};
    if (to->family == NET_UNIX)
        return from;
    if (net_addr_is_loopback(to) || (owner != SIM_DAEMON && to->family == NET_IPV6))
        from = *to;
    else if (owner != SIM_DAEMON)
        net_addr_parse_ip(STR("198.51.100.7"), &from);
    else
        links_source(to, &from);
    return from;
}

static void choose_link(struct conn *c, enum sim_owner owner)
{
    struct world_link *l = &c->link;
    bool local = c->addr[1].family == NET_UNIX || net_addr_is_loopback(&c->addr[1]);
    *l = (struct world_link){.reset_after = UINT64_MAX, .silent_after = UINT64_MAX};
    l->latency_us = local ? 5 + (int64_t)sim_below(200) : 200 + (int64_t)sim_below(80000);
    l->jitter_us = 1 + (int64_t)sim_below((uint64_t)l->latency_us);
    static const size_t chunks[] = {65536, 65536, 1460, 200, 16};
    l->chunk_max = chunks[sim_below(sizeof(chunks) / sizeof(chunks[0]))];
    l->window = 4096u << sim_below(7);
    if (decide_fn != NULL)
        decide_fn(decide_ctx, &c->addr[0], &c->addr[1], l);
    struct net_addr own;
    if (!local && owner == SIM_DAEMON &&
        (!links_source(&c->addr[1], &own) || !links_own(&c->addr[0])))
        l->fate = WORLD_LINK_UNREACHABLE;
    if (l->chunk_max == 0)
        l->chunk_max = 1;
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
    SIM_CALL;
    const struct net_addr *from = way->from;
    struct conn *c = sim_alloc(SIM_WORLD, sizeof(*c));
    list_append(&conns, &c->all);
    for (int i = 0; i < 2; i++)
        buf_init(&c->to[i].bytes.bytes, SIZE_MAX / 2);
    c->addr[1] = *to;
    c->addr[0] = from != NULL && from->family != NET_NONE ? *from : local_for(to, loop->owner);
    if (c->addr[0].family != NET_UNIX && (from == NULL || from->port == 0))
        c->addr[0].port = next_port = next_port < 60999 ? (uint16_t)(next_port + 1) : 32768;
    choose_link(c, loop->owner);
    struct stream *s = stream_make(loop, c, 0);
    s->handler = handler;
    s->ctx = ctx;
    if (to->family != NET_UNIX && way->interface != NULL && !links_up(way->interface)) {
        s->stage = STAGE_FAILED;
        s->fail_code = ENODEV;
        event_at(&s->wake, sim_departs_us());
    } else if (c->link.fate == WORLD_LINK_UNREACHABLE) {
        s->stage = STAGE_FAILED;
        s->fail_code = ENETUNREACH;
        event_at(&s->wake, sim_departs_us());
    } else {
        event_at(&s->wake, sim_departs_us() + c->link.latency_us);
    }
    return s;
}

// ---- TLS. ----

static void hello_answered(struct stream *s)
{
    s->tls = TLS_ON;
    s->hello_seen = false;
    pipe_control(s->conn, 1 - s->side, PIECE_SERVER_HELLO, false);
    if (fifo_len(&s->out) > 0)
        loop_defer(s->loop, &s->flush, flush_deferred, s);
    SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_TLS_READY));
}

static void server_answered(struct stream *s)
{
    static const char *const wrong[] = {
        [WORLD_CERT_SELF_SIGNED] = "certificate is self-signed",
        [WORLD_CERT_EXPIRED] = "certificate expired on 2020-01-01",
        [WORLD_CERT_WRONG_NAME] = "certificate is for another name",
    };
    enum world_certificate what = tls_certificate(s->conn->server_name);
    if (s->want_verify && what != WORLD_CERT_GOOD) {
        stream_fail(s, 0, true, wrong[what]);
        return;
    }
    s->verified = s->want_verify;
    s->tls = TLS_ON;
    if (fifo_len(&s->out) > 0)
        loop_defer(s->loop, &s->flush, flush_deferred, s);
    SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_TLS_READY));
}

static void begin_tls_server(struct stream *s, struct tls_server *tls)
{
    assert(tls != NULL && s->tls == TLS_CLEAR);
    stream_push(s, true);
    buf_clear(&s->in);
    s->wiped = true;
    s->offer = false;
    s->tls = TLS_AWAIT_CLIENT;
}

void stream_start_tls_server(struct stream *s, struct tls_server *tls)
{
    SIM_CALL;
    begin_tls_server(s, tls);
    s->hello_seen = false; // thrown away with what was kept
    schedule_rx(s);
}

void stream_start_tls_server_offered(struct stream *s, struct tls_server *tls)
{
    SIM_CALL;
    assert(s->offering && !s->used);
    begin_tls_server(s, tls);
    // The hello was read as plain bytes; it is looked at again. Anything else is no handshake.
    if (s->hello_seen && s->stage == STAGE_OPEN)
        event_at(&s->rx, sim_departs_us());
    else
        event_at(&s->timeout, sim_departs_us() + 1);
    s->no_hello = !s->hello_seen;
}

void stream_start_tls_client(struct stream *s, const struct tls_client_params *params)
{
    SIM_CALL;
    assert(s->tls == TLS_CLEAR);
    stream_push(s, true);
    buf_clear(&s->in);
    s->wiped = true;
    s->offer = false;
    s->tls = TLS_AWAIT_SERVER;
    s->want_verify = params->verify == TLS_VERIFY_FULL;
    s->reused = params->session_key != NULL && tls_session_known(params->session_key);
    snprintf(s->conn->server_name, sizeof(s->conn->server_name), "%s",
             params->server_name != NULL ? params->server_name : "");
    if (s->conn->end[1 - s->side] == NULL)
        pipe_control(s->conn, s->side, PIECE_RESET, false);
    else
        pipe_control(s->conn, 1 - s->side, PIECE_CLIENT_HELLO, false);
}

// ---- Receiving. ----

static bool handshaking(const struct stream *s)
{
    return s->tls == TLS_AWAIT_CLIENT || s->tls == TLS_AWAIT_SERVER;
}

static void got_control(struct stream *s, enum piece_kind kind)
{
    switch (kind) {
    case PIECE_RESET: stream_fail(s, ECONNRESET, false, "connection reset by peer"); return;
    case PIECE_END:
        if (handshaking(s)) {
            stream_fail(s, 0, true, "connection closed during the TLS handshake");
        } else {
            SIM_CALLBACK(s->loop, s->handler->event(s->ctx, STREAM_EOF));
        }
        return;
    case PIECE_CLIENT_HELLO:
        if (s->tls == TLS_AWAIT_CLIENT)
            hello_answered(s);
        else
            stream_fail(s, 0, true, "unexpected TLS record");
        return;
    case PIECE_SERVER_HELLO:
        if (s->tls == TLS_AWAIT_SERVER)
            server_answered(s);
        else
            stream_fail(s, 0, true, "unexpected TLS record");
        return;
    case PIECE_DATA: assert(false);
    }
}

// Moves arrived bytes into `in`. False when the next piece is not data.
static bool take_data(struct stream *s, bool *mismatch_out)
{
    struct pipe *p = &s->conn->to[s->side];
    bool any = false;
    for (;;) {
        struct piece *piece = pipe_front(p);
        if (piece == NULL || piece->due_us > sim.now_us || s->in.len >= STREAM_KEEP)
            return any;
        if (piece->kind == PIECE_CLIENT_HELLO && s->tls == TLS_CLEAR) {
            buf_append(&s->in, "\x16\x03\x01", 3); // how a hello looks to who expects none
            s->hello_seen = true;
            p->first++;
            return true;
        }
        if (piece->kind != PIECE_DATA)
            return any;
        if (handshaking(s) || piece->secure != (s->tls == TLS_ON)) {
            *mismatch_out = !any;
            return any;
        }
        size_t room = STREAM_KEEP - s->in.len;
        size_t n = piece->len < room ? piece->len : room;
        buf_append(&s->in, fifo_front(&p->bytes), n);
        fifo_take(&p->bytes, n);
        sim_trace(n);
        any = true;
        piece->len -= n;
        if (piece->len == 0)
            p->first++;
        if (sim_chance(300)) // a read rarely gets all that has arrived
            return any;
    }
}

static void offer_data(struct stream *s)
{
    bool gone = false;
    s->gone = &gone;
    s->offer = s->wiped = false;
    s->offering = true;
    size_t taken = 0;
    SIM_CALLBACK(s->loop, taken = s->handler->data(s->ctx, s->in.data, s->in.len));
    if (gone)
        return;
    s->gone = NULL;
    s->offering = false;
    s->used = s->used || taken > 0;
    if (!s->wiped) {
        assert(taken <= s->in.len);
        buf_consume(&s->in, taken);
    }
    schedule_rx(s);
}

static void stream_rx(struct event *e)
{
    struct stream *s = container_of(e, struct stream, rx);
    struct conn *c = s->conn;
    if (s->stage != STAGE_OPEN || s->paused)
        return;
    if (s->tls == TLS_AWAIT_CLIENT && s->hello_seen) {
        schedule_rx(s);
        hello_answered(s);
        return;
    }
    bool mismatch = false;
    bool offer = s->offer;
    bool data = take_data(s, &mismatch);
    struct stream *writer = c->end[1 - s->side];
    bool room = fifo_len(&c->to[s->side].bytes) <= c->link.window / 2;
    if (room && writer != NULL && writer->blocked && !event_pending(&writer->wake))
        event_at(&writer->wake, sim_departs_us() + c->link.latency_us);
    if (mismatch) {
        stream_fail(s, 0, true, "wrong version number (not a TLS record)");
    } else if (data || (offer && s->in.len > 0)) {
        offer_data(s);
    } else {
        struct pipe *p = &c->to[s->side];
        struct piece *piece = pipe_front(p);
        if (piece == NULL || piece->due_us > sim.now_us || piece->kind == PIECE_DATA) {
            schedule_rx(s);
            return;
        }
        enum piece_kind kind = piece->kind;
        p->first++;
        sim_trace(kind);
        schedule_rx(s);
        got_control(s, kind);
    }
}

// ---- Closing. ----

static bool unread(const struct stream *s)
{
    struct piece *front = pipe_front(&s->conn->to[s->side]);
    return front != NULL && front->kind == PIECE_DATA && front->due_us <= sim.now_us;
}

void stream_close(struct stream **stream, bool drain)
{
    struct stream *s = *stream;
    if (s == NULL)
        return;
    SIM_CALL;
    *stream = NULL;
    if (s->stage == STAGE_OPEN) {
        if (drain)
            stream_push(s, true);
        if (unread(s) && !drain)
            pipe_reset(s->conn, 1 - s->side, sim_chance(500));
        else
            pipe_control(s->conn, 1 - s->side, PIECE_END, s->tls == TLS_ON);
    } else if (s->stage != STAGE_DEAD || s->fail_tls) {
        pipe_control(s->conn, 1 - s->side, PIECE_RESET, false);
    }
    stream_drop(s);
}

// ---- Facts. ----

const struct net_addr *stream_peer(const struct stream *s)
{
    return &s->conn->addr[1 - s->side];
}

const struct net_addr *stream_local(const struct stream *s)
{
    return &s->conn->addr[s->side];
}

const char *stream_error(const struct stream *s)
{
    return s->fail_text;
}

int stream_errno(const struct stream *s)
{
    return s->stage == STAGE_DEAD ? s->fail_code : 0;
}

bool stream_error_is_tls(const struct stream *s)
{
    return s->fail_tls;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls == TLS_ON;
}

const char *stream_tls_text(const struct stream *s)
{
    return s->tls == TLS_ON ? "TLSv1.3 TLS_AES_256_GCM_SHA384" : "";
}

bool stream_tls_verified(const struct stream *s)
{
    return s->tls == TLS_ON && s->verified;
}

bool stream_tls_reused(const struct stream *s)
{
    return s->tls == TLS_ON && s->reused;
}

bool stream_peer_uid(const struct stream *s, uint32_t *uid_out, uint32_t *pid_out)
{
    if (s->conn->addr[1].family != NET_UNIX)
        return false;
    *uid_out = unix_uid;
    *pid_out = unix_pid;
    return true;
}

// ---- Listening. ----

static void listener_accept(struct event *e)
{
    struct listener *l = container_of(e, struct listener, accept);
    if (l->paused || l->waiting == 0)
        return;
    struct stream *s = l->backlog[0];
    l->waiting--;
    memmove(l->backlog, l->backlog + 1, l->waiting * sizeof(l->backlog[0]));
    if (l->waiting > 0)
        event_at(&l->accept, sim.now_us);
    sim_trace(3);
    SIM_CALLBACK(l->loop, l->accepted(l->ctx, s));
}

struct listener *listener_new(struct loop *loop, const struct net_addr *at,
                              void (*accepted)(void *ctx, struct stream *s), void *ctx,
                              struct err *err)
{
    SIM_CALL;
    struct net_addr addr = *at;
    if (addr.family != NET_UNIX && addr.port == 0)
        addr.port = next_port = next_port < 60999 ? (uint16_t)(next_port + 1) : 32768;
    struct listener *other = listener_find(&addr);
    if (other != NULL && (other->loop->owner != loop->owner || addr.family == NET_UNIX)) {
        char text[NET_ADDR_TEXT];
        err_sys(err, EADDRINUSE, "cannot listen on %s", net_addr_format(&addr, text));
        return NULL;
    }
    struct listener *l = sim_alloc(SIM_WORLD, sizeof(*l));
    l->loop = loop;
    l->at = addr;
    l->accepted = accepted;
    l->ctx = ctx;
    event_init(&l->accept, loop, listener_accept);
    list_append(&loop->listeners, &l->of_loop);
    return l;
}

void listener_free(struct listener **listener)
{
    struct listener *l = *listener;
    if (l == NULL)
        return;
    SIM_CALL;
    *listener = NULL;
    for (size_t i = 0; i < l->waiting; i++) {
        pipe_reset(l->backlog[i]->conn, 0, false);
        stream_drop(l->backlog[i]);
    }
    event_cancel(&l->accept);
    list_remove(&l->of_loop);
    xfree(l);
}

const struct net_addr *listener_addr(const struct listener *l)
{
    return &l->at;
}

void listener_pause(struct listener *l)
{
    l->paused = true;
}

void listener_resume(struct listener *l)
{
    SIM_CALL;
    l->paused = false;
    if (l->waiting > 0)
        event_at(&l->accept, sim.now_us);
}

void stream_attach(struct stream *s, const struct stream_handler *handler, void *ctx)
{
    SIM_CALL;
    s->handler = handler;
    s->ctx = ctx;
    schedule_rx(s);
}

// ---- The driver's side. ----

struct listener *world_listen(const struct net_addr *at,
                              void (*accepted)(void *ctx, struct stream *s), void *ctx)
{
    struct err err;
    return listener_new(sim.peers, at, accepted, ctx, &err);
}

struct stream *world_connect(const struct net_addr *to, const struct net_addr *from,
                             const struct stream_handler *handler, void *ctx)
{
    return stream_connect(sim.peers, to, from, handler, ctx);
}

void world_on_connect(void (*decide)(void *ctx, const struct net_addr *from,
                                     const struct net_addr *to, struct world_link *link),
                      void *ctx)
{
    decide_fn = decide;
    decide_ctx = ctx;
}

void world_set_uid(uint32_t uid, uint32_t pid)
{
    unix_uid = uid;
    unix_pid = pid;
}

static bool end_of_daemon(const struct conn *c)
{
    return (c->end[0] != NULL && c->end[0]->loop->owner == SIM_DAEMON) ||
           (c->end[1] != NULL && c->end[1]->loop->owner == SIM_DAEMON);
}

void world_cut_links(bool silently)
{
    SIM_CALL;
    struct conn *c;
    list_each (&conns, c, struct conn, all) {
        if (c->addr[1].family == NET_UNIX || net_addr_is_loopback(&c->addr[1]) || !end_of_daemon(c))
            continue;
        if (silently)
            c->silent = true;
        else
            conn_reset(c);
    }
}

void net_address_gone(const struct net_addr *own)
{
    struct conn *c;
    list_each (&conns, c, struct conn, all) {
        if (!end_of_daemon(c) || !net_addr_same_ip(&c->addr[0], own))
            continue;
        if (sim_chance(500))
            c->silent = true;
        else
            conn_reset(c);
    }
}

unsigned world_daemon_streams(void)
{
    unsigned count = 0;
    struct loop *loop;
    struct stream *s;
    list_each (&sim.loops, loop, struct loop, all) {
        if (loop->owner != SIM_DAEMON)
            continue;
        list_each (&loop->streams, s, struct stream, of_loop)
            count++;
    }
    return count;
}

void net_init(void)
{
    list_init(&conns);
    next_port = 32768;
    unix_uid = 1000;
    unix_pid = 4242;
    decide_fn = NULL;
}

// What the dead process's kernel still says: after a kill the bytes under way may arrive before the
// reset, after a power cut the reset is the answer of the machine that came back.
static void stream_orphan(struct stream *s, enum world_crash how)
{
    s->gone = NULL;
    if (s->stage == STAGE_OPEN || s->stage == STAGE_DEAD)
        pipe_reset(s->conn, 1 - s->side, how == WORLD_POWER_CUT || sim_chance(500));
    stream_drop(s);
}

static void loop_close_all(struct loop *loop, enum world_crash how)
{
    struct stream *s;
    struct listener *l;
    list_each (&loop->listeners, l, struct listener, of_loop) {
        l->waiting = 0; // those streams are on the loop's list too
        listener_free(&l);
    }
    list_each (&loop->streams, s, struct stream, of_loop)
        stream_orphan(s, how);
}

void net_crash(enum world_crash how)
{
    struct loop *loop;
    // A peer's callback may have been on the stack of a nested turn.
    struct stream *s;
    list_each (&sim.peers->streams, s, struct stream, of_loop)
        s->gone = NULL;
    list_each (&sim.loops, loop, struct loop, all) {
        if (loop->owner == SIM_DAEMON)
            loop_close_all(loop, how);
    }
}

void net_free(void)
{
    struct loop *loop;
    list_each (&sim.loops, loop, struct loop, all)
        loop_close_all(loop, WORLD_KILLED);
    assert(list_empty(&conns));
}
