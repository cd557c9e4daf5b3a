// SPDX-License-Identifier: ISC
// A simulated SMTP server. Each connection draws one fault, or none, and the step at which it
// strikes.
#include "peer_server.h"

#include "base/mem.h"
#include "ledger.h"
#include "sim/world.h"
#include "sys/tls.h"

#include <stdio.h>
#include <stdlib.h>

enum step { AT_GREETING, AT_EHLO, AT_STARTTLS, AT_MAIL, AT_RCPT, AT_DATA, AT_FINAL, STEPS };

enum fault {
    FAULT_NONE,
    FAULT_TEMPORARY, // 4xx
    FAULT_PERMANENT, // 5xx
    FAULT_CLOSE,     // ends the connection instead of answering
    FAULT_RESET,
    FAULT_SILENCE,
    FAULT_GARBAGE,
    FAULT_ENDLESS, // a reply without end
    FAULT_SLOW,    // answers after minutes
    FAULT_LINES,   // answers with many lines (not wrong at all)
    FAULT_HALF,    // half a reply, then the end
    // Only at the final dot: it stored the mail, but
    FAULT_LOSE_REPLY,
    FAULT_STORE_AND_WAIT,
    FAULTS
};

enum { SESSION_RCPTS = 200, CONTENT_MAX = 2 << 20, IDLE_MS = 5 * 60 * 1000 };

struct server {
    const char *name, *ip;
    bool tls, bdat, pipelining; // what it offers
    struct listener *listener;
};

static struct server servers[] = {
    {"relay1", "10.0.0.1", true, true, true},   {"relay2", "10.0.0.2", false, false, true},
    {"mx-one-a", "10.0.1.1", true, true, true}, {"mx-one-b", "10.0.1.2", false, false, false},
    {"mx-two", "10.0.2.1", true, false, true},
};
enum { SERVERS = sizeof(servers) / sizeof(servers[0]) };

struct session {
    struct link all;
    struct server *server;
    struct stream *stream;
    struct timer idle, later; // the delayed reply, or more of the endless one
    enum fault fault;
    enum step strike;
    unsigned spare; // times the step is passed unharmed first
    bool in_data, in_bdat, bdat_last, waiting, from_null;
    uint64_t bdat_left;
    bool has_sender;
    char rcpts[SESSION_RCPTS][64];
    size_t rcpt_count;
    struct buf content;
    struct ledger_rcpt *unproven[SESSION_RCPTS]; // stored, and not known that the reply was read
    size_t unproven_count;
    char delayed[256];
};

static struct link sessions;
static struct tls_server *identity;
static unsigned rudeness;

static void session_end(struct session *s, bool politely, const char *why)
{
    for (size_t i = 0; i < s->unproven_count; i++)
        ledger_excuse(s->unproven[i], why);
    timer_stop(&s->idle);
    timer_stop(&s->later);
    stream_close(&s->stream, politely);
    buf_free(&s->content);
    list_remove(&s->all);
    xfree(s);
}

static void on_idle(void *ctx)
{
    session_end(ctx, true, "the server waited in vain");
}

static void say(struct session *s, const char *text)
{
    stream_write(s->stream, text, strlen(text));
}

static void say_later(void *ctx)
{
    struct session *s = ctx;
    if (s->fault == FAULT_ENDLESS) {
        for (unsigned i = 0; i < 20; i++)
            say(s, "250-and another thing\r\n");
        if (stream_queued(s->stream) < 1000000)
            timer_start(&s->later, 500);
        return;
    }
    s->waiting = false;
    say(s, s->delayed);
    stream_resume(s->stream);
}

static void wait_and_say(struct session *s, const char *text, int64_t ms)
{
    snprintf(s->delayed, sizeof(s->delayed), "%s", text);
    s->waiting = true;
    timer_start(&s->later, ms);
}

static bool strikes(struct session *s, enum step step)
{
    if (s->fault == FAULT_NONE || s->strike != step)
        return false;
    if (s->spare > 0) {
        s->spare--;
        return false;
    }
    return true;
}

// Will the answer at this step be another than the hoped-for one?
static bool spoils(const struct session *s, enum step step)
{
    return s->fault != FAULT_NONE && s->strike == step && s->spare == 0 && s->fault != FAULT_SLOW &&
           s->fault != FAULT_LINES;
}

static void say_lines(struct session *s, const char *text)
{
    char line[300];
    for (unsigned i = 0; i < 30; i++) {
        snprintf(line, sizeof(line), "%.3s-line %u of a long explanation\r\n", text, i);
        say(s, line);
    }
    say(s, text);
}

// Says it, or what the fault makes of it. False when the session is gone.
static bool reply(struct session *s, enum step step, const char *text)
{
    if (!strikes(s, step)) {
        say(s, text);
        return true;
    }
    enum fault fault = s->fault;
    if (fault == FAULT_PERMANENT && s->from_null)
        fault = FAULT_TEMPORARY; // a report refused for good has nobody left to tell
    world_note("%s strikes with fault %d at step %d", s->server->name, fault, step);
    switch (fault) {
    case FAULT_TEMPORARY:
        say(s, step == AT_GREETING ? "421 4.3.2 not now\r\n" : "451 4.3.0 come again\r\n");
        break;
    case FAULT_PERMANENT:
        say(s, step == AT_RCPT ? "550 5.1.1 nobody of that name\r\n" : "554 5.6.0 not wanted\r\n");
        break;
    case FAULT_RESET:
    case FAULT_CLOSE: session_end(s, fault == FAULT_CLOSE, "the server left"); return false;
    case FAULT_SILENCE:
    case FAULT_STORE_AND_WAIT: s->waiting = true; break;
    case FAULT_GARBAGE: stream_write(s->stream, "\xff\x00 hello?\r\n", 11); break;
    case FAULT_ENDLESS:
        s->waiting = true;
        timer_start(&s->later, 1);
        break;
    case FAULT_SLOW: wait_and_say(s, text, 1000 + (int64_t)world_below(900000)); break;
    case FAULT_LINES: say_lines(s, text); break;
    case FAULT_HALF:
        stream_write(s->stream, text, strlen(text) / 2);
        session_end(s, true, "half a reply");
        return false;
    case FAULT_LOSE_REPLY: session_end(s, world_chance(500), "the reply was lost"); return false;
    default: break;
    }
    return true;
}

static void reset_transaction(struct session *s)
{
    s->has_sender = s->from_null = false;
    s->rcpt_count = 0;
    s->in_data = s->in_bdat = false;
    buf_clear(&s->content);
}

// The whole content is here. Whether it is stored depends on the fault.
static bool finish(struct session *s)
{
    bool keeps = true;
    if (s->fault != FAULT_NONE && s->strike == AT_FINAL && s->spare == 0) {
        enum fault f = s->fault;
        keeps = f == FAULT_SLOW || f == FAULT_LINES || f == FAULT_HALF || f == FAULT_LOSE_REPLY ||
                f == FAULT_STORE_AND_WAIT;
        if (f == FAULT_SILENCE || f == FAULT_CLOSE || f == FAULT_RESET)
            keeps = world_chance(500);
    }
    s->unproven_count = 0;
    for (size_t i = 0; keeps && i < s->rcpt_count; i++) {
        struct ledger_rcpt *r = ledger_store(s->server->name, s->rcpts[i], buf_str(&s->content));
        if (r != NULL)
            s->unproven[s->unproven_count++] = r;
    }
    bool null = s->from_null;
    reset_transaction(s);
    s->from_null = null; // for the fault at the final reply
    bool alive = reply(s, AT_FINAL, "250 2.0.0 stored\r\n");
    if (alive)
        s->from_null = false;
    return alive;
}

static bool take_address(struct str line, char *out, size_t size)
{
    size_t from = str_find(line, '<');
    size_t to = str_find(line, '>');
    if (from >= to || to >= line.len || to - from > size)
        return false;
    snprintf(out, size, "%.*s", (int)(to - from - 1), line.ptr + from + 1);
    return true;
}

static bool on_ehlo(struct session *s, struct str line)
{
    char text[200];
    snprintf(text, sizeof(text),
             "250-%s.example\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n%s%s%s250 DSN\r\n",
             s->server->name, s->server->pipelining ? "250-PIPELINING\r\n" : "",
             s->server->bdat ? "250-CHUNKING\r\n" : "",
             s->server->tls && !stream_is_tls(s->stream) ? "250-STARTTLS\r\n" : "");
    reset_transaction(s);
    if (s->fault == FAULT_LINES && s->strike == AT_EHLO) {
        say(s, text); // it has many lines as it is
        return true;
    }
    return reply(s, AT_EHLO, text);
}

static bool on_starttls(struct session *s, struct str line)
{
    bool struck = spoils(s, AT_STARTTLS) || (s->fault == FAULT_SLOW && s->strike == AT_STARTTLS);
    if (!reply(s, AT_STARTTLS, "220 2.0.0 go\r\n"))
        return false;
    if (struck)
        return true;
    stream_start_tls_server(s->stream, identity);
    return false; // what stands behind it in clear is gone
}

static bool on_mail(struct session *s, struct str line)
{
    char from[64];
    if (!take_address(line, from, sizeof(from)))
        return reply(s, AT_MAIL, "501 5.5.4 what?\r\n");
    reset_transaction(s);
    s->from_null = from[0] == '\0';
    s->has_sender = !spoils(s, AT_MAIL);
    return reply(s, AT_MAIL, "250 2.1.0 yes\r\n");
}

static bool on_rcpt(struct session *s, struct str line)
{
    char *to = s->rcpts[s->rcpt_count];
    if (!s->has_sender || s->rcpt_count == SESSION_RCPTS - 1 ||
        !take_address(line, to, sizeof(s->rcpts[0]))) {
        say(s, "503 5.5.1 no\r\n");
        return true;
    }
    ledger_ask(s->server->name, to);
    if (!spoils(s, AT_RCPT))
        s->rcpt_count++;
    return reply(s, AT_RCPT, "250 2.1.5 yes\r\n");
}

static bool on_data_command(struct session *s, struct str line)
{
    if (s->rcpt_count == 0) {
        say(s, "554 5.5.1 no valid recipients\r\n");
        return true;
    }
    s->in_data = !spoils(s, AT_DATA);
    return reply(s, AT_DATA, "354 go on\r\n");
}

static bool on_bdat(struct session *s, struct str line)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*s", STR_FMT(line));
    char *end;
    s->bdat_left = strtoull(text + 5, &end, 10);
    s->bdat_last = strstr(end, "LAST") != NULL || strstr(end, "last") != NULL;
    s->in_bdat = true;
    return true;
}

static bool on_rset(struct session *s, struct str line)
{
    reset_transaction(s);
    say(s, "250 2.0.0 forgotten\r\n");
    return true;
}

static bool on_noop(struct session *s, struct str line)
{
    say(s, "250 2.0.0 well\r\n");
    return true;
}

static bool on_quit(struct session *s, struct str line)
{
    say(s, "221 2.0.0 bye\r\n");
    session_end(s, true, "");
    return false;
}

static const struct {
    struct str verb;
    bool (*run)(struct session *s, struct str line);
} verbs[] = {
    {STR("EHLO"), on_ehlo}, {STR("HELO"), on_ehlo}, {STR("STARTTLS"), on_starttls},
    {STR("MAIL"), on_mail}, {STR("RCPT"), on_rcpt}, {STR("DATA"), on_data_command},
    {STR("BDAT"), on_bdat}, {STR("RSET"), on_rset}, {STR("NOOP"), on_noop},
    {STR("QUIT"), on_quit},
};

static bool on_command(struct session *s, struct str line)
{
    s->unproven_count = 0; // he goes on, so he has read the reply
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (str_istarts(line, verbs[i].verb))
            return verbs[i].run(s, line);
    }
    say(s, "500 5.5.2 what?\r\n");
    return true;
}

static bool on_line(struct session *s, struct str line)
{
    if (!s->in_data)
        return on_command(s, str_trim(line));
    if (line.len == 3 && memcmp(line.ptr, ".\r\n", 3) == 0)
        return finish(s);
    if (line.ptr[0] == '.')
        line = str_make(line.ptr + 1, line.len - 1);
    buf_add(&s->content, line);
    return true;
}

static size_t take_chunk(struct session *s, const char *bytes, size_t len, bool *gone_out)
{
    size_t n = len < s->bdat_left ? len : (size_t)s->bdat_left;
    buf_append(&s->content, bytes, n);
    s->bdat_left -= n;
    if (s->bdat_left > 0)
        return n;
    s->in_bdat = false;
    if (s->rcpt_count == 0)
        say(s, "503 5.5.1 no recipients\r\n");
    else if (s->bdat_last)
        *gone_out = !finish(s);
    else
        say(s, "250 2.0.0 chunk\r\n");
    return n;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct session *s = ctx;
    size_t taken = 0;
    timer_start(&s->idle, IDLE_MS * (s->waiting ? 10 : 1));
    while (!s->waiting) {
        bool gone = false;
        if (s->in_bdat) {
            taken += take_chunk(s, bytes + taken, len - taken, &gone);
            if (gone || s->in_bdat)
                return taken;
            continue;
        }
        const char *end = taken < len ? memchr(bytes + taken, '\n', len - taken) : NULL;
        if (end == NULL)
            return taken;
        struct str line = str_make(bytes + taken, (size_t)(end - bytes) + 1 - taken);
        taken += line.len;
        if (!on_line(s, line))
            return taken;
    }
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct session *s = ctx;
    if (event == STREAM_EOF)
        session_end(s, true, "he left without a word after the reply");
    else if (event == STREAM_ERROR)
        session_end(s, false, "the connection broke after the reply");
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->server = ctx;
    s->stream = stream;
    buf_init(&s->content, CONTENT_MAX);
    list_append(&sessions, &s->all);
    timer_init(&s->idle, world_loop(), on_idle, s);
    timer_init(&s->later, world_loop(), say_later, s);
    timer_start(&s->idle, IDLE_MS);
    if (world_chance(rudeness)) {
        s->fault = (enum fault)(1 + world_below(FAULTS - 1));
        s->strike = s->fault >= FAULT_LOSE_REPLY ? AT_FINAL : (enum step)world_below(STEPS);
        s->spare = world_chance(500) ? 0 : (unsigned)world_below(4);
    }
    stream_attach(stream, &handler, s);
    reply(s, AT_GREETING, "220 ready\r\n");
}

void servers_behave(void)
{
    rudeness = 0;
}

void servers_set_rudeness(unsigned permille)
{
    rudeness = permille;
}

void servers_new(void)
{
    struct err err;
    list_init(&sessions);
    rudeness = 0;
    identity = tls_server_self_signed("sim", &err);
    for (size_t i = 0; i < SERVERS; i++) {
        struct net_addr at;
        net_addr_parse(str_of(servers[i].ip), 25, &at);
        servers[i].listener = world_listen(&at, on_accepted, &servers[i]);
    }
    world_name_mx("one.direct.example", 10, "a.one.direct.example");
    world_name_mx("one.direct.example", 20, "b.one.direct.example");
    world_name_address("a.one.direct.example", "10.0.1.1");
    world_name_address("b.one.direct.example", "10.0.1.2");
    world_name_address("two.direct.example", "10.0.2.1"); // no MX: RFC 5321 section 5.1
    world_name_address("relay1.example", "10.0.0.1");
    world_name_address("relay2.example", "10.0.0.2");
}

void servers_free(void)
{
    struct session *s;
    list_each (&sessions, s, struct session, all) {
        s->unproven_count = 0;
        session_end(s, false, "");
    }
    for (size_t i = 0; i < SERVERS; i++)
        listener_free(&servers[i].listener);
    tls_server_unref(&identity);
}
