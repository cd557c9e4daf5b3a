// SPDX-License-Identifier: ISC
// One connection to a next hop: a stream, the client machine, its body and its clock. One loop.
//
// What the peer can do to it is bounded: every reply by time and bytes, the whole of a transaction
// by time, what is queued for it by SESSION_QUEUE.
#pragma once

#include "mail/body.h"
#include "proto/smtp_client.h"
#include "sys/stream.h"

enum { SESSION_QUEUE = 192 * 1024 }; // bytes of a body on the way to a slow peer

// Borrowed until the first `ready`, but for `settings`, which is copied.
struct session_params {
    struct smtp_client_settings settings; // write, ctx and where are filled in here
    bool implicit_tls;
    const char *host; // "" for a unix socket
    uint16_t port;
    bool verify;
    const char *ca_file;
};

struct session;
// Either may free the session. From inside `ready` a transaction may be sent.
struct session_events {
    void (*ready)(void *ctx); // the dialogue is idle; what was sent is settled
    void (*over)(void *ctx);  // the connection is dead; what was sent is settled; free it
    // NULL, or told of each phase as it begins. Nothing may be done from inside.
    void (*phase)(void *ctx, enum outcome_phase phase);
    // NULL, or for live transactions: it holds (SMTP_CLIENT_HOLD). More may be sent from inside.
    void (*held)(void *ctx);
};

// Takes the connected stream over. `record` (may be NULL) gets the dialogue.
struct session *deliver_session_new(struct loop *loop, struct stream *stream,
                                    const struct session_params *params, struct buf *record,
                                    const struct session_events *events, void *ctx);
// Another owner from now on.
void deliver_session_attach(struct session *s, struct buf *record,
                            const struct session_events *events, void *ctx);

// A transaction: mail->size is filled in here, and at_once taken back where it cannot be. All is
// borrowed until settled, and so
// is the body; *slice is 64 KiB of scratch memory, used only during calls.
enum { SESSION_SLICE = 64 * 1024 };
void deliver_session_send(struct session *s, struct smtp_client_mail *mail,
                          struct body_source *body, char *slice);
// A live one (mail->live) begins without a body; these go on with it while it is held.
void deliver_session_more(struct session *s, struct smtp_client_rcpt *rcpts);
void deliver_session_content(struct session *s, struct body_source *body, char *slice);
void deliver_session_drop(struct session *s, const char *why); // then `ready` comes
bool deliver_session_fetching(
    const struct session *s); // the body's source has a fetch of ours under way

const struct smtp_client *deliver_session_client(const struct session *s);
const struct stream *deliver_session_stream(const struct session *s); // NULL when it is gone
unsigned deliver_session_sent(const struct session *s);               // transactions begun
const char *deliver_session_where(const struct session *s);

// It is known to be dead: lost now, instead of when the patience for a step ends. `over` comes,
// also from inside this call.
void deliver_session_lose(struct session *s, const char *why);

// Gives up now; what is open is settled as LOCAL (or as doubt). No event comes.
void deliver_session_abort(struct session *s, const char *why);
// Says QUIT to an idle one. `over` comes, never from inside this call, when the server has closed
// its end, or after LIMIT_PARTING_MS: until then it may count the connection as one that stands.
void deliver_session_part(struct session *s);
// Says QUIT when idle, closes, frees.
void deliver_session_free(struct session **s);
