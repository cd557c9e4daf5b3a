// SPDX-License-Identifier: ISC
// TLS by OpenSSL: identities, client policies and sessions, and the machine of one stream.
//
// Invariants
//  1. OpenSSL never sees a socket: its BIO reads what tls_conn_load lent (or what was left of an
//     earlier loan) and writes to the stream's queue, which takes everything. So its calls only
//     ever want more input.
//  2. A client context (trusted roots, policy) belongs to one loop, as do the sessions. Server
//     contexts are shared between threads and not changed once made.
//  3. Before an SSL is freed it is marked as shut down both ways: OpenSSL forbids resuming a
//  TLS 1.3
//     session of a connection that just ended, and SMTP peers often just end.
#include "sys/tls.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/netaddr.h"
#include "sys/tls_int.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WIRE_MOST = 128 * 1024, // records made ahead of the socket
    SESSIONS_MOST = 1024,   // kept by one loop
    CONTEXTS_MOST = 16,     // CA files of one loop
    SESSION_SECONDS = 2 * 3600,
};

// ---- contexts

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *bio_method;

static int bio_write(BIO *bio, const char *bytes, int len);
static int bio_read(BIO *bio, char *out, int len);
static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr);

static void init_once(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    assert(bio_method != NULL);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    pthread_once(&once, init_once);
    SSL_CTX *ctx = SSL_CTX_new(method);
    assert(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    return ctx;
}

// The oldest queued error is the cause, the others say where it passed.
static const char *ssl_reason(char text[256])
{
    unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    if (code == 0)
        snprintf(text, 256, "unknown error");
    else if (ERR_SYSTEM_ERROR(code))
        snprintf(text, 256, "%s", strerror(ERR_GET_REASON(code)));
    else if (reason != NULL)
        snprintf(text, 256, "%s", reason);
    else
        ERR_error_string_n(code, text, 256);
    ERR_clear_error();
    return text;
}

// ---- server identities

struct tls_server {
    atomic_uint refs;
    SSL_CTX *ctx;
};

// A locked key is an error, not a question on the terminal.
static int no_password(char *out, int size, int writing, void *ctx)
{
    return -1;
}

static struct tls_server *server_new(void)
{
    struct tls_server *tls = xcalloc(1, sizeof(*tls));
    atomic_init(&tls->refs, 1);
    tls->ctx = context_new(TLS_server_method());
    // Tickets alone: the server keeps nothing, so any loop can resume.
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(tls->ctx, (const unsigned char *)"waypost", 7);
    SSL_CTX_set_num_tickets(tls->ctx, 1);
    SSL_CTX_set_default_passwd_cb(tls->ctx, no_password);
    SSL_CTX_set_dh_auto(tls->ctx, 1);
    SSL_CTX_set_options(tls->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    return tls;
}

static bool readable(const char *what, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        err_sys(err, errno, "cannot read the %s %s", what, path);
        return false;
    }
    fclose(file);
    return true;
}

struct tls_server *tls_server_new(const char *cert_file, const char *key_file, struct err *err)
{
    char reason[256];
    if (!readable("certificate", cert_file, err) || !readable("key", key_file, err))
        return NULL;
    struct tls_server *tls = server_new();
    ERR_clear_error();
    err->code = 0;
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, cert_file) != 1)
        err_set(err, "%s holds no usable certificate in PEM form: %s", cert_file,
                ssl_reason(reason));
    else if (SSL_CTX_use_PrivateKey_file(tls->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        ssl_reason(reason);
        err_set(err,
                strstr(reason, "mismatch") != NULL
                    ? "the key %s does not belong to the certificate %s: %s"
                    : "%s holds no usable private key in PEM form (for the certificate %s): %s",
                key_file, cert_file, reason);
    } else if (SSL_CTX_check_private_key(tls->ctx) != 1)
        err_set(err, "the key %s does not belong to the certificate %s: %s", key_file, cert_file,
                ssl_reason(reason));
    else
        return tls;
    tls_server_unref(&tls);
    return NULL;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool fill_certificate(X509 *cert, EVP_PKEY *key, const char *name)
{
    unsigned char serial[16];
    char san[300];
    struct net_addr ip;
    RAND_bytes(serial, sizeof(serial));
    serial[0] &= 0x7f; // positive
    BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
    bool ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    X509_set_version(cert, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(cert), -24L * 3600);
    X509_time_adj_ex(X509_getm_notAfter(cert), 3650, 0, NULL);
    X509_set_pubkey(cert, key);
    // A commonName holds 64 characters at most; the alternative name holds any.
    X509_NAME *subject = X509_get_subject_name(cert);
    if (strlen(name) <= 64)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
                                   0);
    X509_set_issuer_name(cert, subject);
    snprintf(san, sizeof(san), "%s:%s", net_addr_parse_ip(str_of(name), &ip) ? "IP" : "DNS", name);
    return ok && add_extension(cert, NID_subject_alt_name, san) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

struct tls_server *tls_server_self_signed(const char *name, struct err *err)
{
    char reason[256];
    for (const char *p = name; *p != '\0'; p++) {
        // The text of an extension is a little language of its own.
        if (!ascii_is_alnum(*p) && strchr(".-_:", *p) == NULL) {
            err_set(err, "cannot make a certificate for \"%s\": not a host name", name);
            return NULL;
        }
    }
    struct tls_server *tls = server_new();
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool ok = key != NULL && cert != NULL && fill_certificate(cert, key, name) &&
              SSL_CTX_use_certificate(tls->ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(tls->ctx, key) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    if (ok)
        return tls;
    err_set(err, "cannot make a certificate for \"%s\": %s", name, ssl_reason(reason));
    tls_server_unref(&tls);
    return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void tls_server_unref(struct tls_server **tls)
{
    struct tls_server *t = *tls;
    *tls = NULL;
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(t->ctx);
    xfree(t);
}

// ---- client contexts and sessions of one loop

struct client_context {
    struct client_context *next;
    char *ca_file; // "" = the system's
    enum tls_verify verify;
    struct timespec changed; // of the CA file when it was read
    SSL_CTX *ctx;
};

struct client_session {
    struct link link; // oldest first
    char *key;
    SSL_SESSION *session;
};

struct tls_cache {
    struct client_context *contexts;
    size_t count;
    struct map *sessions;
    struct link by_age;
};

struct tls_conn {
    SSL *ssl;
    struct net *net;
    struct chunks *out;
    const char *in; // lent
    size_t in_len;
    struct buf left; // of earlier loans; read from left_pos
    size_t left_pos;
    bool ready, ended, verified, wants_verified;
    char *session_key;
    char *name;
    char *refusal; // why the certificate is not accepted, a sentence
    struct tls_server *server;
    char text[64];
};

static struct tls_cache *cache_of(struct net *net)
{
    if (net->tls == NULL) {
        net->tls = xcalloc(1, sizeof(*net->tls));
        net->tls->sessions = map_new();
        list_init(&net->tls->by_age);
    }
    return net->tls;
}

static void session_drop(struct tls_cache *cache, struct client_session *entry)
{
    map_del(cache->sessions, str_of(entry->key));
    list_remove(&entry->link);
    SSL_SESSION_free(entry->session);
    xfree(entry->key);
    xfree(entry);
}

static void context_free(struct client_context *context)
{
    SSL_CTX_free(context->ctx);
    xfree(context->ca_file);
    xfree(context);
}

void tls_cache_free(struct tls_cache **cache_ptr)
{
    struct tls_cache *cache = *cache_ptr;
    *cache_ptr = NULL;
    if (cache == NULL)
        return;
    struct client_session *entry;
    list_each (&cache->by_age, entry, struct client_session, link)
        session_drop(cache, entry);
    map_free(&cache->sessions);
    while (cache->contexts != NULL) {
        struct client_context *context = cache->contexts;
        cache->contexts = context->next;
        context_free(context);
    }
    xfree(cache);
}

// OpenSSL hands over a session: with TLS 1.3 whenever a ticket comes. 1 = we keep the reference.
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_conn *conn = SSL_get_app_data(ssl);
    if (conn->session_key == NULL || conn->refusal != NULL)
        return 0;
    struct tls_cache *cache = cache_of(conn->net);
    struct client_session *entry = map_get(cache->sessions, str_of(conn->session_key));
    if (entry == NULL) {
        if (map_count(cache->sessions) >= SESSIONS_MOST)
            session_drop(cache, list_first(&cache->by_age, struct client_session, link));
        entry = xcalloc(1, sizeof(*entry));
        entry->key = xstrdup(conn->session_key);
        map_put(cache->sessions, str_of(entry->key), entry);
    } else {
        list_remove(&entry->link);
        SSL_SESSION_free(entry->session);
    }
    entry->session = session;
    list_append(&cache->by_age, &entry->link);
    return 1;
}

static void resume_session(struct tls_conn *conn)
{
    struct tls_cache *cache = cache_of(conn->net);
    struct client_session *entry = map_get(cache->sessions, str_of(conn->session_key));
    if (entry == NULL)
        return;
    if (SSL_SESSION_is_resumable(entry->session))
        SSL_set_session(conn->ssl, entry->session);
    else
        session_drop(cache, entry);
}

static void forget_session(struct tls_conn *conn)
{
    if (conn->session_key == NULL)
        return;
    struct tls_cache *cache = cache_of(conn->net);
    struct client_session *entry = map_get(cache->sessions, str_of(conn->session_key));
    if (entry != NULL)
        session_drop(cache, entry);
}

static bool load_roots(SSL_CTX *ctx, const char *ca_file, struct err *err)
{
    char reason[256];
    ERR_clear_error();
    if (*ca_file == '\0') {
        if (SSL_CTX_set_default_verify_paths(ctx) == 1)
            return true;
        err_set(err, "cannot read the system's trusted certificates: %s", ssl_reason(reason));
        return false;
    }
    if (!readable("trusted certificates", ca_file, err))
        return false;
    if (SSL_CTX_load_verify_file(ctx, ca_file) == 1)
        return true;
    err_set(err, "%s holds no usable certificates in PEM form: %s", ca_file, ssl_reason(reason));
    return false;
}

static SSL_CTX *client_context_new(enum tls_verify verify, const char *ca_file, struct err *err)
{
    SSL_CTX *ctx = context_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    // Encryption to anybody (RFC 7435) is better with an old peer than none at all.
    if (verify == TLS_VERIFY_NONE)
        SSL_CTX_set_security_level(ctx, 1);
    else if (!load_roots(ctx, ca_file, err)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static struct client_context *context_for(struct net *net, enum tls_verify verify,
                                          const char *ca_file, struct err *err)
{
    struct tls_cache *cache = cache_of(net);
    struct stat st = {0};
    if (verify == TLS_VERIFY_NONE || ca_file == NULL)
        ca_file = "";
    else
        (void)!stat(ca_file, &st);
    struct client_context **at = &cache->contexts, *found;
    while ((found = *at) != NULL &&
           (found->verify != verify || strcmp(found->ca_file, ca_file) != 0))
        at = &found->next;
    if (found != NULL && memcmp(&found->changed, &st.st_mtim, sizeof(st.st_mtim)) == 0)
        return found;
    SSL_CTX *ctx = client_context_new(verify, ca_file, err);
    if (ctx == NULL)
        return NULL;
    if (found == NULL && cache->count >= CONTEXTS_MOST) {
        at = &cache->contexts;
        found = *at;
    }
    if (found != NULL) {
        // An SSL in use holds its own reference to the context.
        *at = found->next;
        cache->count--;
        context_free(found);
    }
    struct client_context *context = xcalloc(1, sizeof(*context));
    *context = (struct client_context){.next = cache->contexts,
                                       .ca_file = xstrdup(ca_file),
                                       .verify = verify,
                                       .changed = st.st_mtim,
                                       .ctx = ctx};
    cache->contexts = context;
    cache->count++;
    return context;
}

// ---- the BIO

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls_conn *conn = BIO_get_data(bio);
    chunks_append(conn->net, conn->out, bytes, (size_t)len);
    return len;
}

static int bio_read(BIO *bio, char *out, int len)
{
    struct tls_conn *conn = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t left = conn->left.len - conn->left_pos;
    size_t n = left > 0 ? left : conn->in_len;
    if (n > (size_t)len)
        n = (size_t)len;
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (left > 0) {
        memcpy(out, conn->left.data + conn->left_pos, n);
        conn->left_pos += n;
    } else {
        memcpy(out, conn->in, n);
        conn->in += n;
        conn->in_len -= n;
    }
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    return cmd == BIO_CTRL_FLUSH;
}

void tls_conn_load(struct tls_conn *conn, const char *bytes, size_t len)
{
    assert(!tls_conn_loaded(conn));
    conn->in = bytes;
    conn->in_len = len;
}

bool tls_conn_loaded(const struct tls_conn *conn)
{
    return conn->in_len > 0 || conn->left.len > conn->left_pos;
}

void tls_conn_unload(struct tls_conn *conn)
{
    if (conn->left_pos == conn->left.len && conn->left.len > 0) {
        buf_free(&conn->left);
        conn->left_pos = 0;
    }
    bool fits = conn->in_len == 0 || buf_append(&conn->left, conn->in, conn->in_len);
    assert(fits); // a loan is made only when nothing is left of the one before
    conn->in_len = 0;
}

// ---- certificates in words

static void add_name(char *names, size_t size, const char *name, int len)
{
    size_t used = strlen(names);
    if (used < size)
        snprintf(names + used, size - used, "%s%.*s", used > 0 ? ", " : "", len, name);
}

// The names a certificate is for; strange bytes become '?', for this lands in logs.
static void certificate_names(X509 *cert, char *names, size_t size)
{
    names[0] = '\0';
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list) && i < 5; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
        struct net_addr ip = {0};
        char text[NET_ADDR_TEXT];
        if (name->type == GEN_DNS)
            add_name(names, size, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                     ASN1_STRING_length(name->d.dNSName));
        if (name->type != GEN_IPADD)
            continue;
        int len = ASN1_STRING_length(name->d.iPAddress);
        ip.family = len == 4 ? NET_IPV4 : NET_IPV6;
        if (len != 4 && len != 16)
            continue;
        memcpy(ip.bytes, ASN1_STRING_get0_data(name->d.iPAddress), (size_t)len);
        net_addr_format_ip(&ip, text);
        add_name(names, size, text, (int)strlen(text));
    }
    GENERAL_NAMES_free(list);
    char cn[128];
    if (names[0] == '\0' &&
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn)) > 0)
        add_name(names, size, cn, (int)strlen(cn));
    for (char *p = names; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    if (names[0] == '\0')
        snprintf(names, size, "no name");
}

static const char *asn1_day(const ASN1_TIME *time, char text[32])
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        snprintf(text, 32, "an unreadable date");
    else
        snprintf(text, 32, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    return text;
}

static char *explain_refusal(const struct tls_conn *conn, int code, X509 *cert)
{
    char names[300] = "no name", day[32] = "", text[700];
    if (cert != NULL)
        certificate_names(cert, names, sizeof(names));
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(text, sizeof(text), "the certificate for %s expired on %s", names,
                 cert != NULL ? asn1_day(X509_get0_notAfter(cert), day) : "?");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(text, sizeof(text), "the certificate for %s is valid only from %s", names,
                 cert != NULL ? asn1_day(X509_get0_notBefore(cert), day) : "?");
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(text, sizeof(text), "the certificate for %s is self-signed and not trusted here",
                 names);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        snprintf(text, sizeof(text),
                 "the certificate for %s is issued by an authority not trusted here", names);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(text, sizeof(text), "the certificate is for %s, not for %s", names, conn->name);
        break;
    default:
        snprintf(text, sizeof(text), "the certificate for %s is not valid: %s", names,
                 X509_verify_cert_error_string(code));
        break;
    }
    return xstrdup(text);
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_conn *conn = SSL_get_app_data(ssl);
    if (!ok && conn->refusal == NULL)
        conn->refusal = explain_refusal(conn, X509_STORE_CTX_get_error(store),
                                        X509_STORE_CTX_get_current_cert(store));
    return ok;
}

// ---- the machine

static struct tls_conn *conn_new(struct net *net, struct chunks *out, SSL_CTX *ctx)
{
    struct tls_conn *conn = xcalloc(1, sizeof(*conn));
    conn->net = net;
    conn->out = out;
    buf_init(&conn->left, NET_READ_BYTES);
    conn->ssl = SSL_new(ctx);
    assert(conn->ssl != NULL);
    BIO *bio = BIO_new(bio_method);
    assert(bio != NULL);
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    SSL_set_bio(conn->ssl, bio, bio);
    SSL_set_app_data(conn->ssl, conn);
    return conn;
}

struct tls_conn *tls_conn_server(struct net *net, struct chunks *out, struct tls_server *server)
{
    struct tls_conn *conn = conn_new(net, out, server->ctx);
    conn->server = tls_server_ref(server);
    SSL_set_accept_state(conn->ssl);
    return conn;
}

static void set_names(struct tls_conn *conn, const char *server_name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(conn->ssl);
    struct net_addr ip;
    char text[NET_ADDR_TEXT];
    size_t len = strlen(server_name);
    if (len > 1 && server_name[len - 1] == '.')
        len--;
    conn->name = xstrndup(server_name, len);
    if (net_addr_parse_ip(str_make(server_name, len), &ip)) {
        // No SNI for addresses (RFC 6066 section 3).
        X509_VERIFY_PARAM_set1_ip_asc(param, net_addr_format_ip(&ip, text));
        return;
    }
    SSL_set_tlsext_host_name(conn->ssl, conn->name);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(param, conn->name, 0);
}

struct tls_conn *tls_conn_client(struct net *net, struct chunks *out,
                                 const struct tls_client_params *params, struct err *err)
{
    bool verify = params->verify == TLS_VERIFY_FULL;
    if (verify && (params->server_name == NULL || *params->server_name == '\0')) {
        err_set(err, "cannot verify the server's certificate: no name is given to compare with");
        return NULL;
    }
    struct client_context *context = context_for(net, params->verify, params->ca_file, err);
    if (context == NULL)
        return NULL;
    struct tls_conn *conn = conn_new(net, out, context->ctx);
    conn->wants_verified = verify;
    if (params->server_name != NULL && *params->server_name != '\0')
        set_names(conn, params->server_name);
    SSL_set_verify(conn->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                   verify ? on_verify : NULL);
    SSL_set_connect_state(conn->ssl);
    if (params->session_key != NULL) {
        // A session made without verification must never stand in for one with.
        size_t size = strlen(params->session_key) + 2;
        conn->session_key = xmalloc(size);
        snprintf(conn->session_key, size, "%c%s", verify ? 'V' : '-', params->session_key);
        resume_session(conn);
    }
    return conn;
}

void tls_conn_free(struct tls_conn **conn_ptr)
{
    struct tls_conn *conn = *conn_ptr;
    *conn_ptr = NULL;
    if (conn == NULL)
        return;
    if (conn->ready)
        SSL_set_shutdown(conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(conn->ssl);
    ERR_clear_error();
    tls_server_unref(&conn->server);
    buf_free(&conn->left);
    xfree(conn->session_key);
    xfree(conn->name);
    xfree(conn->refusal);
    xfree(conn);
}

static enum tls_result explain(struct tls_conn *conn, struct err *err, const char *what)
{
    char reason[256];
    unsigned long code = ERR_peek_error();
    int why = ERR_GET_REASON(code);
    err->code = 0;
    if (conn->refusal != NULL)
        err_set(err, "%s", conn->refusal);
    else if (ERR_GET_LIB(code) == ERR_LIB_SSL && why > SSL_AD_REASON_OFFSET)
        err_set(err, "the peer refused %s: %s", what, ssl_reason(reason));
    else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
             (why == SSL_R_WRONG_VERSION_NUMBER || why == SSL_R_HTTP_REQUEST))
        err_set(err, "%s failed: the peer does not speak TLS here", what);
    else
        err_set(err, "%s failed: %s", what, ssl_reason(reason));
    ERR_clear_error();
    forget_session(conn);
    return TLS_FAILED;
}

enum tls_result tls_conn_handshake(struct tls_conn *conn, struct err *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(conn->ssl);
    if (rc != 1) {
        if (SSL_get_error(conn->ssl, rc) == SSL_ERROR_WANT_READ)
            return TLS_MORE;
        return explain(conn, err, "the TLS handshake");
    }
    bool valid = SSL_get_verify_result(conn->ssl) == X509_V_OK;
    if (conn->wants_verified && !valid) {
        if (conn->refusal == NULL)
            conn->refusal = xstrdup("the server's certificate was not verified");
        return explain(conn, err, "the TLS handshake");
    }
    conn->ready = true;
    conn->verified = conn->wants_verified;
    snprintf(conn->text, sizeof(conn->text), "%s %s", SSL_get_version(conn->ssl),
             SSL_get_cipher_name(conn->ssl));
    return TLS_DONE;
}

bool tls_conn_ready(const struct tls_conn *conn)
{
    return conn->ready;
}

enum tls_result tls_conn_read(struct tls_conn *conn, char *out, size_t len, size_t *len_out,
                              struct err *err)
{
    *len_out = 0;
    if (conn->ended)
        return TLS_END;
    ERR_clear_error();
    int rc = SSL_read_ex(conn->ssl, out, len, len_out);
    if (rc == 1)
        return TLS_DONE;
    *len_out = 0;
    switch (SSL_get_error(conn->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN: conn->ended = true; return TLS_END;
    default: return explain(conn, err, "the TLS connection");
    }
}

bool tls_conn_write(struct tls_conn *conn, struct chunks *clear, struct err *err)
{
    while (clear->len > 0 && conn->out->len < WIRE_MOST) {
        struct chunk *chunk = clear->first;
        size_t n = 0;
        ERR_clear_error();
        int rc = SSL_write_ex(conn->ssl, chunk->data + chunk->begin, chunk->end - chunk->begin, &n);
        if (rc != 1) {
            if (SSL_get_error(conn->ssl, rc) == SSL_ERROR_WANT_READ)
                return true;
            explain(conn, err, "the TLS connection");
            return false;
        }
        chunks_consume(conn->net, clear, n);
    }
    return true;
}

void tls_conn_close_notify(struct tls_conn *conn)
{
    if (!conn->ready || (SSL_get_shutdown(conn->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    SSL_shutdown(conn->ssl);
    ERR_clear_error();
}

const char *tls_conn_text(const struct tls_conn *conn)
{
    return conn->text;
}

bool tls_conn_verified(const struct tls_conn *conn)
{
    return conn->verified;
}

bool tls_conn_reused(const struct tls_conn *conn)
{
    return conn->ready && SSL_session_reused(conn->ssl) == 1;
}
