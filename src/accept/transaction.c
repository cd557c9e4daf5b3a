// SPDX-License-Identifier: ISC
// One message on its way from a session into the store.
//
// A transaction belongs to its session until the commit is given to the store; from then on it
// lives until the store is done, with or without the session: what was committed is kept even when
// nobody is left to hear the 250.
#include "accept/accept_int.h"
#include "accept/origin.h"

#include "base/arena.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "mail/header_keep.h"
#include "mail/trace.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <assert.h>
#include <stdio.h>

enum { LEAD_MOST = 1000 }; // RFC 5322 section 2.1.1: no line is longer

struct transaction {
    struct store_commit commit; // first
    struct accept *accept;
    struct session *session; // NULL: gone, only while the commit is under way
    struct tally *tally;
    struct arena *arena;
    struct envelope envelope;
    uint64_t id;
    uint64_t size_hint;
    uint64_t octets;
    struct origin_query *origin; // while the sender's domain is looked up
    struct store_body *body;
    struct header_scan *header; // until the header has ended
    struct header_keep *keep;   // as long
    char *lead;                 // the first bytes, while they do not tell field from body
    size_t lead_len;
    bool led;    // that is over
    bool ending; // the content has ended; the commit waits for the body
    // Of a listener in mode `proxy`:
    struct relay *relay;       // NULL: none, or not begun
    struct envelope_rcpt next; // the recipient that is being asked for; no address: none
};

static void transaction_free(struct transaction *t)
{
    origin_cancel(&t->origin);
    if (t->relay != NULL) {
        t->accept->orphans++;
        t->accept->relay->end(t->relay);
    }
    if (t->body != NULL)
        store_body_abort(&t->body);
    if (t->keep != NULL)
        header_keep_end(t->keep, &t->envelope);
    struct arena *arena = t->arena; // t itself lies in it
    arena_free(&arena);
}

void transaction_drop(struct session *s)
{
    struct transaction *t = s->transaction;
    if (t == NULL)
        return;
    s->transaction = NULL;
    s->content_ms = 0;
    t->session = NULL;
    if (t->commit.done != NULL)
        s->accept->orphans++;
    else
        transaction_free(t);
}

bool transaction_committing(const struct session *s)
{
    return s->transaction != NULL && s->transaction->commit.done != NULL;
}

static int refuse_for_now(struct smtp_server_reply *reply, const struct err *why)
{
    smtp_server_reply_set(reply, 452, "4.3.1", "%s", why->text);
    return -1;
}

static void on_content_refused(void *ctx, const struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    atomic_fetch_add(&s->tally->refused, 1);
    log_info("refused", 0, "a message from client %s at %s: %u %s", s->client, s->set->name,
             reply->code, reply->text);
}

static int counted(struct session *s, int verdict)
{
    if (verdict < 0)
        atomic_fetch_add(&s->tally->refused, 1);
    return verdict;
}

// The world failed in the middle of a message.
static int refuse_store(struct accept *a, struct smtp_server_reply *reply, const struct err *err)
{
    log_error("store", 0, "message not taken: %s", err->text);
    if (store_failed(a->store))
        smtp_server_reply_set(reply, 421, "4.3.0", "not stored: %s; try again later", err->text);
    else if (err->code == ENOSPC)
        smtp_server_reply_set(reply, 452, "4.3.1", "not stored: %s; try again later", err->text);
    else
        smtp_server_reply_set(reply, 451, "4.3.0", "not stored: %s; try again later", err->text);
    return -1;
}

static bool matches(const char *const *globs, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++) {
        if (str_glob(str_of(globs[i]), text))
            return true;
    }
    return false;
}

// ---- The sender. ----

static void on_origin(void *ctx, enum origin origin)
{
    struct transaction *t = ctx;
    struct session *s = t->session;
    struct str sender = t->envelope.sender;
    struct smtp_server_reply reply;
    t->origin = NULL;
    if (origin == ORIGIN_FINE) {
        s->fruit_ms = loop_now_ms(t->accept->loop);
        session_answer(s, 1, NULL);
        return;
    }
    const char *enhanced = origin == ORIGIN_NULL_MX ? "5.7.27" : "5.1.8";
    const char *why = origin == ORIGIN_UNKNOWN   ? "does not exist"
                      : origin == ORIGIN_NO_HOST ? "has neither MX nor address"
                                                 : "takes no mail (null MX)";
    // The domain itself is in the log only: a reply is ASCII.
    smtp_server_reply_set(&reply, 550, enhanced,
                          "the sender's domain %s, so nobody could answer; send as an address that "
                          "exists (listeners.%s.sender_domain)",
                          why, s->set->name);
    log_info("refused", 0, "sender <%.*s> from client %s at %s: the domain %s", STR_FMT(sender),
             s->client, s->set->name, why);
    transaction_drop(s);
    session_answer(s, counted(s, -1), &reply);
}

// True: the answer comes later.
static bool ask_origin(struct session *s, struct transaction *t, const struct address *sender)
{
    char domain[LIMIT_DOMAIN + 1];
    if (s->set->sender_domain != SENDER_DOMAIN_CHECK || s->accept->names == NULL ||
        sender->len == 0 || !address_domain_to_ascii(address_domain(sender), domain))
        return false;
    t->origin = origin_ask(s->accept->names, domain, on_origin, t);
    return t->origin != NULL;
}

// When the client wants it sent (RFC 4865); 0: at once, also for a moment that has passed.
static bool read_hold(struct session *s, const struct smtp_mail_params *p, int64_t *release_ms_out,
                      struct smtp_server_reply *reply)
{
    char latest[TIME_TEXT];
    int64_t now = clock_wall_ms();
    if (p->hold_until_ms > now + s->set->send_later_ms) {
        smtp_server_reply_set(reply, 501, "5.5.4",
                              "HOLDUNTIL is later than %s; ask for an earlier moment, or raise "
                              "listeners.%s.send_later",
                              time_rfc3339(now + s->set->send_later_ms, latest), s->set->name);
        return false;
    }
    if (p->hold_s > 0)
        *release_ms_out = now + (int64_t)p->hold_s * 1000;
    else if (p->hold_until_ms > now)
        *release_ms_out = p->hold_until_ms;
    return true;
}

// Nothing of mail that passes through is kept, so a full disk or queue is no reason.
static bool may_begin(struct session *s, const struct smtp_server_mail *mail,
                      struct smtp_server_reply *reply)
{
    struct accept *a = s->accept;
    struct err why = {0};
    if (s->set->mode == LISTEN_PROXY) {
        bool dsn = mail->params->ret != RET_UNSET || mail->params->envid[0] != '\0';
        if (!dsn && a->relay != NULL)
            return true;
        if (dsn)
            smtp_server_reply_set(reply, 555, "5.5.4",
                                  "RET and ENVID are not offered here: mail passes through, and "
                                  "reports are for the next server to make");
        else
            smtp_server_reply_set(reply, 451, "4.3.0", "not ready to pass mail on; try again");
        return false;
    }
    if (!store_accepting(a->store, &why) ||
        (a->may_accept != NULL && !a->may_accept(a->gate_ctx, &why))) {
        refuse_for_now(reply, &why);
        return false;
    }
    return true;
}

static int on_mail(void *ctx, const struct smtp_server_mail *mail, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    struct accept *a = s->accept;
    if (!may_begin(s, mail, reply))
        return counted(s, -1);
    struct str sender = address_str(mail->sender);
    if (s->set->from_count > 0 && !matches(s->set->from, s->set->from_count, sender)) {
        smtp_server_reply_set(reply, 550, "5.7.1",
                              "sender not allowed here; add it to listeners.%s.from", s->set->name);
        return counted(s, -1);
    }
    int64_t release_ms = 0;
    if (!read_hold(s, mail->params, &release_ms, reply))
        return counted(s, -1);
    struct arena *arena = arena_new();
    struct transaction *t = arena_alloc(arena, sizeof(*t));
    t->arena = arena;
    t->accept = a;
    t->session = s;
    t->tally = s->tally;
    t->size_hint = mail->params->has_size ? mail->params->size : 0;
    t->envelope = (struct envelope){
        .sender = arena_dup(arena, sender),
        .envid = arena_dup(arena, str_of(mail->params->envid)),
        .body = mail->params->body,
        .ret = mail->params->ret,
        .priority = mail->params->priority,
        .smtputf8 = mail->params->smtputf8,
        .release_ms = release_ms,
        .hold_s = mail->params->hold_s,
        .client = arena_dup(arena, str_of(s->client)),
        .helo = arena_dup(arena, str_of(smtp_server_helo(s->machine))),
        .user = arena_dup(arena, str_of(s->user != NULL ? s->user : "")),
        .listener = arena_dup(arena, str_of(s->set->name)),
    };
    s->transaction = t;
    if (ask_origin(s, t, mail->sender))
        return 0;
    s->fruit_ms = loop_now_ms(a->loop);
    return 1;
}

// ---- Recipients. ----

// <postmaster> without a domain is a recipient everywhere (RFC 5321 section 4.5.1); here it means
// whom the configuration names. The answer lies in `room` or is borrowed.
static struct str full_address(struct session *s, const struct address *a, char room[LIMIT_PATH])
{
    if (address_domain(a).len > 0)
        return address_str(a);
    if (s->conf->postmaster != NULL)
        return str_of(s->conf->postmaster);
    snprintf(room, LIMIT_PATH, "%.*s@%s", STR_FMT(address_local(a)), s->conf->hostname);
    return str_of(room);
}

// The part behind the last @ in ASCII, where it has such a form; the rest as it is. So neither way
// to write a domain goes round a pattern, nor does a pattern need both.
static struct str domain_in_ascii(struct str text, struct buf *out)
{
    char domain[LIMIT_DOMAIN + 1];
    const char *at = text.len > 0 ? memrchr(text.ptr, '@', text.len) : NULL;
    buf_clear(out);
    if (at == NULL)
        return text;
    struct str local = str_make(text.ptr, (size_t)(at + 1 - text.ptr));
    struct str rest = str_make(at + 1, text.len - local.len);
    if (rest.len > LIMIT_DOMAIN || !address_domain_to_ascii(rest, domain))
        return text;
    return buf_add(out, local) && buf_puts(out, domain) ? buf_str(out) : text;
}

static bool refused_here(const struct conf_listener *set, struct str address)
{
    bool refused = false;
    struct buf ours, theirs;
    buf_init(&ours, 2 * LIMIT_PATH);
    buf_init(&theirs, 2 * LIMIT_PATH);
    for (size_t i = 0; i < set->refuse_to_count && !refused; i++) {
        struct str pattern = str_of(set->refuse_to[i]);
        refused = str_glob(pattern, address) ||
                  str_glob(domain_in_ascii(pattern, &ours), domain_in_ascii(address, &theirs));
    }
    buf_free(&ours);
    buf_free(&theirs);
    return refused;
}

static int ask_relay(struct session *s, struct transaction *t, const struct envelope_rcpt *rcpt,
                     struct smtp_server_reply *reply)
{
    struct accept *a = s->accept;
    if (rcpt->notify != 0 || rcpt->orcpt.len > 0) {
        smtp_server_reply_set(reply, 555, "5.5.4",
                              "NOTIFY and ORCPT are not offered here: mail passes through, and "
                              "reports are for the next server to make");
        return -1;
    }
    if (t->relay == NULL) {
        t->id = store_next_id(a->store);
        t->relay = a->relay->begin(a->relay_ctx,
                                   &(struct relay_mail){.accept = a,
                                                        .session = s,
                                                        .id = t->id,
                                                        .envelope = &t->envelope,
                                                        .size = t->size_hint,
                                                        .recipients = s->settings.recipients});
    }
    t->next = *rcpt;
    a->relay->rcpt(t->relay, rcpt);
    return 0;
}

static int on_rcpt(void *ctx, const struct smtp_server_rcpt *rcpt, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    struct transaction *t = s->transaction;
    char room[LIMIT_PATH];
    struct str address = full_address(s, rcpt->address, room);
    if (refused_here(s->set, address)) {
        smtp_server_reply_set(reply, 550, "5.7.1",
                              "no mail to this recipient is taken here (listeners.%s.refuse_to)",
                              s->set->name);
        log_info("refused", 0, "recipient <%.*s> from client %s at %s (refuse_to)",
                 STR_FMT(address), s->client, s->set->name);
        return counted(s, -1);
    }
    if (s->set->to_count > 0 &&
        !matches(s->set->to, s->set->to_count, address_str(rcpt->address))) {
        smtp_server_reply_set(reply, 550, "5.7.1",
                              "recipient not allowed here; add it to listeners.%s.to",
                              s->set->name);
        return counted(s, -1);
    }
    struct envelope_rcpt taken = {
        .address = arena_dup(t->arena, address),
        .orcpt = arena_dup(t->arena, str_of(rcpt->params->orcpt)),
        .notify = rcpt->params->notify,
    };
    if (s->set->mode == LISTEN_PROXY)
        return counted(s, ask_relay(s, t, &taken, reply));
    *envelope_add(&t->envelope, t->arena) = taken;
    s->fruit_ms = loop_now_ms(s->accept->loop);
    return 1;
}

// ---- Content. ----

static void commit(struct transaction *t);

static void body_ready(void *ctx)
{
    struct transaction *t = ctx;
    if (t->ending)
        commit(t);
    else if (t->session != NULL)
        session_answer(t->session, 1, NULL);
}

static int append(struct transaction *t, const char *bytes, size_t len,
                  struct smtp_server_reply *reply)
{
    struct err err = {0};
    int taken = store_body_append(t->body, bytes, len, body_ready, t, &err);
    return taken < 0 ? refuse_store(t->accept, reply, &err) : taken;
}

static int put_trace(struct session *s, struct transaction *t, struct smtp_server_reply *reply)
{
    struct envelope *e = &t->envelope;
    int64_t now = clock_wall_ms();
    struct trace trace = {
        .client = e->client,
        .helo = e->helo,
        .hostname = str_of(s->conf->hostname),
        .id = t->id,
        .lmtp = s->settings.lmtp,
        .esmtp = smtp_server_esmtp(s->machine),
        .tls = stream_is_tls(s->stream),
        .auth = s->user != NULL,
        .smtputf8 = e->smtputf8,
        .tls_facts = str_of(stream_tls_text(s->stream)),
        .rcpt = e->rcpts[0].address,
        .rcpt_count = e->count,
        .wall_ms = now,
        .offset_minutes = clock_utc_offset_minutes(now),
    };
    e->accepted_ms = now;
    char text[TRACE_MAX + 1]; // a buffer keeps room for a NUL
    struct buf out = {.data = text, .cap = sizeof(text), .max = TRACE_MAX};
    bool ok = trace_write(&out, &trace);
    assert(ok && out.data == text);
    return append(t, out.data, out.len, reply);
}

static int on_begin(void *ctx, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    struct transaction *t = s->transaction;
    s->content_ms = loop_now_ms(t->accept->loop);
    if (t->relay == NULL)
        t->id = store_next_id(t->accept->store);
    t->body = store_body_begin(t->accept->store, t->accept->loop, t->size_hint);
    t->header = arena_alloc(t->arena, sizeof(*t->header));
    header_scan_init(t->header);
    t->header->own_host = str_of(s->conf->hostname);
    t->keep = arena_alloc(t->arena, sizeof(*t->keep));
    header_keep_init(t->keep, t->header, s->conf->asks_headers, s->conf->ask_header_count,
                     t->arena);
    return put_trace(s, t, reply);
}

// Our Received field stands in front already. So where there is no header section an empty line is
// put behind it, or the next server would take the body for fields.
static int append_behind_trace(struct transaction *t, const char *bytes, size_t len,
                               struct smtp_server_reply *reply)
{
    const struct header_scan *h = t->header;
    if (t->led)
        return append(t, bytes, len, reply);
    if (header_undecided(h) && t->lead_len + len <= LEAD_MOST) {
        if (t->lead == NULL)
            t->lead = arena_alloc(t->arena, LEAD_MOST);
        memcpy(t->lead + t->lead_len, bytes, len);
        t->lead_len += len;
        return 1;
    }
    t->led = true;
    bool absent = header_absent(h) || header_undecided(h);
    if (!absent && t->lead_len == 0)
        return append(t, bytes, len, reply);
    struct buf all;
    buf_init(&all, 2 + LEAD_MOST + len);
    if (absent)
        buf_puts(&all, "\r\n");
    buf_append(&all, t->lead, t->lead_len);
    buf_append(&all, bytes, len);
    int taken = append(t, all.data, all.len, reply);
    buf_free(&all);
    return taken;
}

static bool header_fits(struct transaction *t, struct smtp_server_reply *reply)
{
    const struct header_scan *h = t->header;
    if ((h->ended ? h->fields_end : h->size) > LIMIT_HEADER) {
        smtp_server_reply_set(reply, 552, "5.3.4",
                              "header section larger than %d octets; send less of it",
                              LIMIT_HEADER);
        return false;
    }
    if (h->count[HEADER_RECEIVED] > LIMIT_HOPS) {
        smtp_server_reply_set(reply, 554, "5.4.6",
                              "more than %d Received fields: a mail loop; look at where the "
                              "recipients' mail is forwarded",
                              LIMIT_HOPS);
        return false;
    }
    if (h->own_hops >= LIMIT_OWN_HOPS) {
        smtp_server_reply_set(reply, 554, "5.4.6",
                              "this message was here %u times already: a mail loop; look at where "
                              "the recipients' mail is forwarded",
                              h->own_hops);
        return false;
    }
    return true;
}

// What the header says is kept; the scanner is not fed with the body.
static void header_done(struct transaction *t)
{
    t->envelope.subject = arena_dup(t->arena, header_subject(t->header));
    header_keep_end(t->keep, &t->envelope);
    t->header = NULL;
    t->keep = NULL;
}

static int on_data(void *ctx, const char *bytes, size_t len, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    struct transaction *t = s->transaction;
    t->octets += len;
    s->fruit_ms = loop_now_ms(t->accept->loop);
    if (t->header == NULL)
        return counted(s, append(t, bytes, len, reply));
    header_scan_feed(t->header, bytes, len);
    if (!header_fits(t, reply)) {
        on_content_refused(s, reply);
        return -1;
    }
    int taken = append_behind_trace(t, bytes, len, reply);
    if (t->header->ended)
        header_done(t);
    return counted(s, taken);
}

static void accepted(struct transaction *t)
{
    const struct envelope *e = &t->envelope;
    log_info("accepted", t->id,
             "from <%.*s> to %zu recipient%s (<%.*s>%s), %llu octets, by %.*s%s%.*s",
             STR_FMT(e->sender), e->count, e->count == 1 ? "" : "s", STR_FMT(e->rcpts[0].address),
             e->count > 1 ? " ..." : "", (unsigned long long)t->octets, STR_FMT(e->client),
             e->user.len > 0 ? " as " : "", STR_FMT(e->user));
}

static void committed(struct store_commit *commit)
{
    struct transaction *t = (struct transaction *)commit;
    struct accept *a = t->accept;
    struct session *s = t->session;
    struct smtp_server_reply reply;
    int verdict = 1;
    char id[ID_TEXT_SIZE];
    if (commit->ok) {
        accepted(t);
        atomic_fetch_add(&t->tally->messages, 1);
        smtp_server_reply_set(&reply, 250, "2.0.0", "%s accepted, on disk", id_format(t->id, id));
    } else {
        verdict = refuse_store(a, &reply, &commit->err);
    }
    transaction_free(t);
    if (s == NULL) {
        a->orphans--;
        accept_count_changed(a);
        return;
    }
    s->transaction = NULL;
    s->content_ms = 0;
    s->fruit_ms = loop_now_ms(a->loop);
    s->messages += verdict > 0;
    counted(s, verdict);
    session_answer(s, verdict, &reply);
}

static void relay_content(struct transaction *t)
{
    struct store_body *body = t->body;
    t->body = NULL;
    t->accept->relay->content(t->relay, &t->envelope, body);
}

static void answered_rcpt(struct session *s, int verdict, const struct smtp_server_reply *reply)
{
    struct transaction *t = s->transaction;
    if (verdict > 0)
        *envelope_add(&t->envelope, t->arena) = t->next;
    t->next.address.len = 0;
    s->fruit_ms = loop_now_ms(s->accept->loop);
    session_answer(s, counted(s, verdict), reply);
}

void accept_answer(struct session *s, int verdict, const struct smtp_server_reply *reply)
{
    struct transaction *t = s->transaction;
    if (t->next.address.len > 0) {
        answered_rcpt(s, verdict, reply);
        return;
    }
    if (verdict > 0)
        atomic_fetch_add(&t->tally->messages, 1);
    transaction_drop(s);
    s->fruit_ms = loop_now_ms(s->accept->loop);
    s->messages += verdict > 0;
    session_answer(s, counted(s, verdict), reply);
}

static void commit(struct transaction *t)
{
    if (t->relay != NULL) {
        relay_content(t);
        return;
    }
    struct store_op op = {
        .kind = STORE_ACCEPT,
        .id = t->id,
        .wall_ms = t->envelope.accepted_ms,
        .envelope = &t->envelope,
        .body = t->body,
    };
    t->body = NULL;
    t->commit.home = t->accept->loop;
    t->commit.done = committed;
    store_commit(t->accept->store, &t->commit, &op, 1);
}

// Nothing more comes: what the content began with is decided.
static int end_header(struct transaction *t, struct smtp_server_reply *reply)
{
    header_scan_end(t->header);
    int taken = header_fits(t, reply) ? append_behind_trace(t, "", 0, reply) : -1;
    header_done(t);
    return taken;
}

static int on_end(void *ctx, struct smtp_server_reply *reply)
{
    struct session *s = ctx;
    struct transaction *t = s->transaction;
    int taken = t->header != NULL ? end_header(t, reply) : 1;
    if (taken < 0) {
        transaction_drop(s);
        return counted(s, -1);
    }
    if (t->envelope.body == BODY_7BIT && smtp_server_saw_8bit(s->machine))
        t->envelope.body = BODY_8BITMIME;
    t->ending = taken == 0;
    if (!t->ending)
        commit(t);
    return 0;
}

static void on_abort(void *ctx)
{
    transaction_drop(ctx);
}

static int on_starttls(void *ctx, struct smtp_server_reply *reply)
{
    ((struct session *)ctx)->start_tls = true;
    return 1;
}

const struct smtp_server_ops session_ops = {on_mail,     on_rcpt,      on_begin,
                                            on_data,     on_end,       on_abort,
                                            on_starttls, session_auth, on_content_refused};
