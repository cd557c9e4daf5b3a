// SPDX-License-Identifier: ISC
// One connection: the stream feeds the machine, the machine's replies go to the stream.
//
// Life: begun by a listener; ended by QUIT, 421, the peer's end, or the clock, always through
// session_free, which returns the counts. A commit or login under way is cut loose then
// (transaction.c, users.c) and counted as an orphan of the accept until it comes back.
#include "accept/accept_int.h"

#include "base/mem.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

static void wind(struct session *s);
static size_t on_data(void *ctx, const char *bytes, size_t len);
static void on_event(void *ctx, enum stream_event event);
static const struct stream_handler handler = {on_data, on_event};

// ---- Who may come. ----

enum { WHY_SIZE = 240 };
enum admission { ADMIT_NO, ADMIT_DENIED, ADMIT_LOGIN, ADMIT_YES };

static enum admission admission_of(const struct conf_listener *set, const struct net_addr *peer)
{
    enum admission yes = set->auth == LISTEN_AUTH_REQUIRED ? ADMIT_LOGIN : ADMIT_YES;
    for (size_t i = 0; i < set->deny_count; i++) {
        if (net_range_has(&set->deny[i], peer))
            return ADMIT_DENIED;
    }
    for (size_t i = 0; i < set->client_count; i++) {
        if (net_range_has(&set->clients[i], peer))
            return yes;
    }
    if (set->open_relay || (set->client_count == 0 && net_addr_is_loopback(peer)))
        return yes;
    // Nobody is listed: whoever logs in may send.
    return set->client_count == 0 && set->auth != LISTEN_AUTH_OFF ? ADMIT_LOGIN : ADMIT_NO;
}

static bool count_in(struct session *s, const struct net_addr *peer, char why[WHY_SIZE])
{
    struct counts *c = s->accept->counts;
    const struct conf_listener *set = s->set;
    s->slot = (uint32_t)map_hash(peer->bytes, sizeof(peer->bytes)) % COUNT_SLOTS;
    unsigned all = atomic_fetch_add(&c->sessions, 1) + 1;
    unsigned client = atomic_fetch_add(&c->clients[s->slot], 1) + 1;
    unsigned here = atomic_fetch_add(&s->tally->open, 1) + 1;
    atomic_fetch_add(&s->tally->connections, 1);
    uint32_t per_client = set->connections_per_client;
    why[0] = '\0';
    if (all > LIMIT_SESSIONS)
        snprintf(why, WHY_SIZE,
                 "all %d connections of this server are in use; try again in a minute",
                 LIMIT_SESSIONS);
    else if (set->connections > 0 && here > set->connections)
        snprintf(why, WHY_SIZE,
                 "all %u connections of this port are in use (listeners.%.60s.connections); try "
                 "again in a minute",
                 set->connections, set->name);
    else if (per_client > 0 && client > per_client && !net_addr_is_loopback(peer))
        snprintf(why, WHY_SIZE,
                 "more than %u connections at once from %s "
                 "(listeners.%.40s.connections_per_client); use fewer",
                 per_client, s->client, set->name);
    return why[0] == '\0';
}

static void count_out(struct session *s)
{
    struct counts *c = s->accept->counts;
    atomic_fetch_sub(&c->sessions, 1);
    atomic_fetch_sub(&c->clients[s->slot], 1);
    atomic_fetch_sub(&s->tally->open, 1);
}

static void name_client(struct session *s)
{
    const struct net_addr *peer = stream_peer(s->stream);
    char text[NET_ADDR_TEXT];
    uint32_t uid, pid;
    if (peer->family != NET_UNIX)
        snprintf(s->client, sizeof(s->client), "%.*s", (int)sizeof(s->client) - 1,
                 net_addr_format_ip(peer, text));
    else if (stream_peer_uid(s->stream, &uid, &pid))
        snprintf(s->client, sizeof(s->client), "uid %u", uid);
    else
        snprintf(s->client, sizeof(s->client), "local");
}

// ---- Ends. ----

void session_free(struct session *s)
{
    struct accept *a = s->accept;
    // The machine aborts what is open; what is being committed goes on alone.
    smtp_server_free(&s->machine);
    transaction_drop(s);
    login_drop(s);
    if (s->stream != NULL)
        stream_close(&s->stream, false);
    timer_stop(&s->clock);
    count_out(s);
    list_remove(&s->link);
    a->session_count--;
    if (s->tls != NULL)
        tls_server_unref(&s->tls);
    xfree((void *)s->user);
    conf_unref(&s->conf);
    xfree(s);
    accept_count_changed(a);
}

static void flush(struct session *s)
{
    struct buf *out = &s->accept->out;
    if (out->len > 0)
        stream_write(s->stream, out->data, out->len);
    buf_clear(out);
}

static void end(struct session *s)
{
    log_debug("closed", 0, "client %s, %u message%s", s->client, s->messages,
              s->messages == 1 ? "" : "s");
    stream_close(&s->stream, true);
    session_free(s);
}

bool session_busy(const struct session *s)
{
    return smtp_server_in_transaction(s->machine);
}

// Sends what the machine wrote, and does what follows from its state. False: the session is gone.
static bool settle(struct session *s)
{
    flush(s);
    if (!smtp_server_closed(s->machine) && s->accept->stopping && !session_busy(s)) {
        smtp_server_close(s->machine, 421, "4.3.2", "shutting down; try again in a minute",
                          &s->accept->out);
        flush(s);
    }
    if (smtp_server_closed(s->machine)) {
        end(s);
        return false;
    }
    if (s->start_tls) {
        s->start_tls = false;
        stream_start_tls_server(s->stream, s->tls);
    }
    // A client that does not read its replies is not read either.
    if (stream_queued(s->stream) >= LIMIT_REPLY_QUEUE / 2 && !s->clogged) {
        s->clogged = true;
        stream_pause(s->stream);
    }
    return true;
}

void session_say_goodbye(struct session *s, uint16_t code, const char *enhanced, const char *text)
{
    // In the middle of the first handshake nobody could read it.
    if (s->greeted)
        smtp_server_close(s->machine, code, enhanced, text, &s->accept->out);
    flush(s);
    end(s);
}

void session_answer(struct session *s, int verdict, const struct smtp_server_reply *reply)
{
    smtp_server_answer(s->machine, verdict, reply, &s->accept->out);
    s->moved_ms = loop_now_ms(s->accept->loop);
    if (!settle(s))
        return;
    if (stream_kept(s->stream) > 0) {
        if (!s->clogged) // else once the client has read its replies
            stream_resume(s->stream);
    } else if (s->eof && !smtp_server_waiting(s->machine)) {
        end(s);
    }
}

// ---- The stream. ----

static void greet(struct session *s)
{
    s->greeted = true;
    smtp_server_greet(s->machine, &s->accept->out);
    flush(s);
}

// The first byte of a client that may speak first tells whether it speaks TLS: 22 is the record of
// a handshake (RFC 8446 section 5.1), and begins no command. False: TLS has begun.
static bool guess(struct session *s, char first)
{
    s->guessing = false;
    wind(s);
    if (first == 22) {
        stream_start_tls_server_offered(s->stream, s->tls);
        return false;
    }
    greet(s);
    return true;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct session *s = ctx;
    struct accept *a = s->accept;
    if (s->guessing && !guess(s, bytes[0]))
        return 0;
    size_t taken = smtp_server_input(s->machine, bytes, len, &a->out);
    if (smtp_server_progress(s->machine) != s->progress) {
        s->progress = smtp_server_progress(s->machine);
        s->moved_ms = loop_now_ms(a->loop);
    }
    if (!settle(s))
        return 0;
    if (s->eof && !smtp_server_waiting(s->machine) && !s->clogged)
        end(s);
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct session *s = ctx;
    switch (event) {
    case STREAM_TLS_READY:
        smtp_server_tls_ready(s->machine);
        if (!s->greeted)
            greet(s);
        break;
    case STREAM_DRAINED:
        if (s->clogged) {
            s->clogged = false;
            stream_resume(s->stream);
        }
        break;
    case STREAM_EOF:
        s->eof = true;
        if (!smtp_server_waiting(s->machine) && !s->clogged)
            end(s);
        break;
    case STREAM_ERROR:
        log_debug("lost", 0, "client %s, %s: %s", s->client, smtp_server_state_name(s->machine),
                  stream_error(s->stream));
        session_free(s);
        break;
    case STREAM_CONNECTED: break;
    }
}

// ---- The clock. ----

static int64_t patience_ms(const struct session *s, bool content)
{
    if (s->set->timeout_ms > 0)
        return s->set->timeout_ms;
    return content ? LIMIT_DATA_MS : LIMIT_COMMAND_MS;
}

// A listener that waits longer for a command also waits longer for mail.
static int64_t fruitless_ms(const struct session *s)
{
    int64_t patience = patience_ms(s, false);
    return patience > LIMIT_FRUITLESS_MS ? patience : LIMIT_FRUITLESS_MS;
}

static void say_timeout(struct session *s, bool content)
{
    char text[100];
    long long seconds = patience_ms(s, content) / 1000;
    bool minutes = seconds % 60 == 0;
    long long n = minutes ? seconds / 60 : seconds;
    snprintf(text, sizeof(text), "no %s came for %lld %s%s; goodbye",
             content ? "part of the message" : "command", n, minutes ? "minute" : "second",
             n == 1 ? "" : "s");
    session_say_goodbye(s, 421, "4.4.2", text);
}

static void wind(struct session *s)
{
    bool content = smtp_server_in_content(s->machine);
    int64_t now = loop_now_ms(s->accept->loop);
    int64_t left = s->moved_ms + patience_ms(s, content) - now;
    if (left > LIMIT_COMMAND_MS)
        left = LIMIT_COMMAND_MS;
    int64_t fruit = s->fruit_ms + fruitless_ms(s) - now;
    if (!content && fruit < left)
        left = fruit;
    int64_t all = s->began_ms + LIMIT_SESSION_MS - now;
    timer_start(&s->clock, left < all ? left : all);
}

// Runs seldom: every command would otherwise move a timer. So it looks for itself what has passed.
static void on_clock(void *ctx)
{
    struct session *s = ctx;
    int64_t now = loop_now_ms(s->accept->loop);
    if (s->guessing) { // a client that waits for us does not speak TLS
        s->guessing = false;
        greet(s);
        wind(s);
        return;
    }
    if (now >= s->began_ms + LIMIT_SESSION_MS && !smtp_server_waiting(s->machine)) {
        session_say_goodbye(s, 421, "4.4.2", "connected for too long; connect again");
        return;
    }
    bool content = smtp_server_in_content(s->machine);
    if (smtp_server_waiting(s->machine)) {
        s->moved_ms = s->fruit_ms = now; // our own slowness
    } else if (s->content_ms != 0 && now >= s->content_ms + LIMIT_TRANSACTION_MS) {
        session_say_goodbye(s, 421, "4.4.2", "the message took longer than an hour; goodbye");
        return;
    } else if (now >= s->moved_ms + patience_ms(s, content)) {
        say_timeout(s, content);
        return;
    } else if (!content && now >= s->fruit_ms + fruitless_ms(s)) {
        session_say_goodbye(s, 421, "4.4.2", "no mail came for 10 minutes; goodbye");
        return;
    }
    wind(s);
}

// ---- Begin. ----

// Of mail that passes through all go in one transaction of the next server.
static uint32_t most_recipients(const struct conf_listener *set)
{
    bool fewer = set->mode == LISTEN_PROXY && set->recipients > LIMIT_RECIPIENTS_OUT;
    return fewer ? LIMIT_RECIPIENTS_OUT : set->recipients;
}

static void make_settings(struct session *s, bool must_login)
{
    const struct conf_listener *set = s->set;
    s->settings = (struct smtp_server_settings){
        .hostname = s->conf->hostname,
        .message_size = set->message_size,
        .recipients = most_recipients(set),
        .lmtp = set->lmtp,
        // What the next server offers is not known yet, and nobody here would report in its place.
        .no_dsn = set->mode == LISTEN_PROXY,
        .tls_offered = s->tls != NULL,
        .tls_required = set->tls == LISTEN_TLS_REQUIRED,
        .auth_offered = set->auth != LISTEN_AUTH_OFF,
        .auth_required = must_login,
        .auth_in_clear = set->tls == LISTEN_TLS_NONE, // that is the explicit word for it
        // RFC 4865 is for submission; an LMTP client hands over what was released elsewhere.
        .hold_max_s =
            set->lmtp || set->mode == LISTEN_PROXY ? 0 : (uint32_t)(set->send_later_ms / 1000),
        .hold_until_max_ms = clock_wall_ms() + set->send_later_ms,
    };
}

static void turn_away(struct session *s, const char *line)
{
    atomic_fetch_add(&s->tally->turned_away, 1);
    if (s->set->tls != LISTEN_TLS_IMPLICIT)
        stream_write(s->stream, line, strlen(line));
    stream_close(&s->stream, true);
    session_free(s);
}

// False: turned away.
static bool let_in(struct session *s, enum admission admission)
{
    char why[WHY_SIZE], line[400];
    if (!count_in(s, stream_peer(s->stream), why)) {
        snprintf(line, sizeof(line), "421 4.7.0 %s\r\n", why);
        log_warn("refused", 0, "client %s at %s: %s", s->client, s->set->name, why);
        turn_away(s, line);
        return false;
    }
    if (admission == ADMIT_DENIED) {
        snprintf(line, sizeof(line), "554 5.7.1 client %s is denied here (listeners.%s.deny)\r\n",
                 s->client, s->set->name);
        log_warn("refused", 0, "client %s is denied at %s (listeners.%s.deny)", s->client,
                 s->set->name, s->set->name);
        turn_away(s, line);
        return false;
    }
    if (admission == ADMIT_NO) {
        snprintf(line, sizeof(line),
                 "554 5.7.1 client %s may not send here; to allow it, add it to "
                 "listeners.%s.clients: [%s]\r\n",
                 s->client, s->set->name, s->client);
        log_warn("refused", 0, "client %s may not send at %s; to allow it: listeners.%s.clients",
                 s->client, s->set->name, s->set->name);
        turn_away(s, line);
        return false;
    }
    return true;
}

void session_begin(struct point *point, struct stream *stream)
{
    struct accept *a = point->accept;
    struct session *s = xcalloc(1, sizeof(*s));
    s->accept = a;
    s->conf = conf_ref(point->conf);
    s->set = point->set;
    s->tally = point->tally;
    s->tls = point->tls != NULL ? tls_server_ref(point->tls) : NULL;
    s->stream = stream;
    s->began_ms = s->moved_ms = s->fruit_ms = loop_now_ms(a->loop);
    stream_attach(stream, &handler, s);
    timer_init(&s->clock, a->loop, on_clock, s);
    name_client(s);
    list_append(&a->sessions, &s->link);
    a->session_count++;
    enum admission admission = admission_of(s->set, stream_peer(stream));
    if (!let_in(s, admission))
        return;
    make_settings(s, admission == ADMIT_LOGIN);
    s->machine = smtp_server_new(&s->settings, &session_ops, s);
    s->guessing = s->set->tls == LISTEN_TLS_AUTO;
    if (s->guessing) {
        timer_start(&s->clock, LIMIT_GUESS_MS);
        return;
    }
    if (s->set->tls == LISTEN_TLS_IMPLICIT)
        stream_start_tls_server(stream, s->tls);
    else
        greet(s);
    wind(s);
}
