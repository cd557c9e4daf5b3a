// SPDX-License-Identifier: ISC
// The TLS machine of one stream: ciphertext in, records out, no descriptor. Not for other rooms.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "sys/net_int.h"
#include "sys/tls.h"

struct tls_conn;

// `out` is where the records for the peer are put. The wanted identity and policy are copied.
struct tls_conn *tls_conn_server(struct net *net, struct chunks *out, struct tls_server *server);
// NULL with err when the policy cannot be set up (no such CA file).
struct tls_conn *tls_conn_client(struct net *net, struct chunks *out,
                                 const struct tls_client_params *params, struct err *err);
void tls_conn_free(struct tls_conn **conn);

// Lends ciphertext until tls_conn_unload, which copies what was not used. Load only when
// tls_conn_loaded is false.
void tls_conn_load(struct tls_conn *conn, const char *bytes, size_t len);
bool tls_conn_loaded(const struct tls_conn *conn);
void tls_conn_unload(struct tls_conn *conn);

enum tls_result {
    TLS_DONE,  // handshake over, or bytes were read
    TLS_MORE,  // needs more ciphertext
    TLS_END,   // the peer said close_notify
    TLS_FAILED // err says why
};
enum tls_result tls_conn_handshake(struct tls_conn *conn, struct err *err);
bool tls_conn_ready(const struct tls_conn *conn); // the handshake is over
enum tls_result tls_conn_read(struct tls_conn *conn, char *out, size_t len, size_t *len_out,
                              struct err *err);
// Encrypts from the front of `clear` until it is empty or `out` holds as much as is sensible.
bool tls_conn_write(struct tls_conn *conn, struct chunks *clear, struct err *err);
void tls_conn_close_notify(struct tls_conn *conn);

const char *tls_conn_text(const struct tls_conn *conn);
bool tls_conn_verified(const struct tls_conn *conn);
bool tls_conn_reused(const struct tls_conn *conn);

void tls_cache_free(struct tls_cache **cache);
