// SPDX-License-Identifier: ISC
// Byte streams, plain and TLS alike: TCP and unix sockets, listening, connecting, reading, writing,
// STARTTLS.
//
// One loop, no locks. All callbacks come from the loop, never from inside a call of this file.
#pragma once

#include "base/err.h"
#include "base/netaddr.h"
#include "sys/loop.h"

struct stream;
struct tls_server;        // sys/tls.h
struct tls_client_params; // sys/tls.h

enum stream_event {
    STREAM_CONNECTED, // an outgoing connection stands
    STREAM_TLS_READY, // the handshake is done; from here all data is encrypted
    STREAM_DRAINED,   // all that was written has gone to the kernel. Comes whenever the queue that
                      // stream_write filled becomes empty, unless stream_flush emptied it at once
    STREAM_EOF,   // the peer will send no more; writing may still work. Comes once, after the last
                  // data
    STREAM_ERROR, // the stream is dead: stream_error() says why. Comes once; only stream_close
                  // makes sense after it
};

struct stream_handler {
    // New bytes. Returns how many of `len` were taken; the rest is kept and offered again, followed
    // by newer bytes, when more arrives or after stream_resume. What is kept never exceeds
    // STREAM_KEEP: reading stops at that.
    size_t (*data)(void *ctx, const char *bytes, size_t len);
    void (*event)(void *ctx, enum stream_event event);
};
enum { STREAM_KEEP = 64 * 1024 };

// Connects; the event CONNECTED or ERROR follows (never before this returns). `from` (may be NULL)
// is the source address, port 0 = any. `to` may be NET_UNIX.
struct stream *stream_connect(struct loop *loop, const struct net_addr *to,
                              const struct net_addr *from, const struct stream_handler *handler,
                              void *ctx);
// The same with more to ask for. `interface` (may be NULL): nothing leaves or comes but through the
// network interface of this name, whatever the routing table says; not for NET_UNIX.
struct stream_way {
    const struct net_addr *from;
    const char *interface;
};
struct stream *stream_connect_by(struct loop *loop, const struct net_addr *to,
                                 const struct stream_way *way, const struct stream_handler *handler,
                                 void *ctx);

// Queues bytes (copied) and sends what is queued at the end of this loop iteration, in one write.
// The queue has no limit of its own: producers look at stream_queued and wait for DRAINED. When
// nothing can be sent any more it is SIZE_MAX, and ERROR follows: else a producer would take the
// throwing away of its bytes for their being sent.
void stream_write(struct stream *s, const void *bytes, size_t len);
void stream_flush(struct stream *s); // now instead of at the end of the iteration
size_t stream_queued(const struct stream *s);

void stream_pause(struct stream *s);  // no more data callbacks, the socket is not read
void stream_resume(struct stream *s); // the kept bytes are offered again from the loop
// Bytes received but not taken (at STARTTLS more than 0 means injection). Within the data callback
// the bytes it was called with do not count.
size_t stream_kept(const struct stream *s);

// TLS over the stream as it stands. Kept bytes are thrown away: nothing received in clear is ever
// used after it. TLS_READY or ERROR follows. Anything queued before goes out in clear first.
void stream_start_tls_server(struct stream *s, struct tls_server *tls);
void stream_start_tls_client(struct stream *s, const struct tls_client_params *params);
// For a port that guesses: from inside the data callback, whose bytes are the very first of the
// connection (nothing was taken or written before): they begin the client's handshake. The callback
// then returns 0.
void stream_start_tls_server_offered(struct stream *s, struct tls_server *tls);

// Closes and frees at once; *s becomes NULL; no callback comes any more. Queued bytes: with `drain`
// they are still sent in the background (bounded by time), without they are dropped.
void stream_close(struct stream **s, bool drain);

// Facts. Texts are owned by the stream.
const struct net_addr *stream_peer(const struct stream *s);
const struct net_addr *stream_local(const struct stream *s);
// A sentence: "connection refused by 192.0.2.1:25", "the certificate for a.example expired on ...".
// After STREAM_EOF: "", or that the TLS connection was cut without its proper end.
const char *stream_error(const struct stream *s);
// The errno behind it, 0 for none (TLS). EACCES: a packet filter said that it forbids the
// connection (ICMP), or this machine's own rules do.
int stream_errno(const struct stream *s);
bool stream_error_is_tls(const struct stream *s);
bool stream_is_tls(const struct stream *s);
const char *
stream_tls_text(const struct stream *s); // "TLSv1.3 TLS_AES_256_GCM_SHA384", "" without TLS
bool stream_tls_verified(
    const struct stream *s); // the peer's certificate chain and name were checked and right
bool stream_tls_reused(const struct stream *s); // by session resumption
// Credentials of a unix peer; false when the stream is no unix socket.
bool stream_peer_uid(const struct stream *s, uint32_t *uid_out, uint32_t *pid_out);

// Listening. Several loops may listen on one address (SO_REUSEPORT); the kernel spreads the
// connections. `accepted` must attach a handler with stream_attach before it returns, or close the
// stream.
struct listener;
struct listener *listener_new(struct loop *loop, const struct net_addr *at,
                              void (*accepted)(void *ctx, struct stream *s), void *ctx,
                              struct err *err);
void listener_free(struct listener **listener); // unlinks a unix socket
const struct net_addr *
listener_addr(const struct listener *listener); // with the port chosen, if 0 was asked
void listener_pause(struct listener *listener); // connections wait in the backlog
void listener_resume(struct listener *listener);
void stream_attach(struct stream *s, const struct stream_handler *handler, void *ctx);
