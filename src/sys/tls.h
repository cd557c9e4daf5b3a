// SPDX-License-Identifier: ISC
// TLS identities and policies, shared by many streams. The only place that knows OpenSSL is behind
// this and stream.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

// A server's certificate chain and key (PEM files, the key without a password), TLS 1.2 and up,
// session tickets. Immutable; counted references, any thread.
struct tls_server;
struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct err *err);
// A self-signed certificate for `name`, made in memory, for listeners without one of their own.
struct tls_server *tls_server_self_signed(const char *name, struct err *err);
struct tls_server *tls_server_ref(struct tls_server *tls);
void tls_server_unref(struct tls_server **tls);

enum tls_verify {
    TLS_VERIFY_NONE, // encrypt only (RFC 7435)
    TLS_VERIFY_FULL, // chain to a trusted root, and the name (RFC 6125); a failure is STREAM_ERROR
};

// Borrowed for the call of stream_start_tls_client only.
struct tls_client_params {
    const char *server_name; // SNI and the name checked; NULL for none
    enum tls_verify verify;
    const char *ca_file; // NULL: the system's roots
    // Sessions are kept and resumed under this key: it must name host, port and the policy asked
    // for, because a resumed session is not verified anew. NULL: no resumption.
    const char *session_key;
};
