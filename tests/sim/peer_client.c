// SPDX-License-Identifier: ISC
// A simulated SMTP client: one message a connection, in lockstep or pipelined, by DATA or BDAT,
// with or without STARTTLS.
#include "peer_client.h"

#include "base/mem.h"
#include "sim/world.h"
#include "sys/tls.h"

#include <stdio.h>
#include <stdlib.h>

enum stage {
    AT_GREETING,
    AT_EHLO,
    AT_STARTTLS,
    AT_TLS_EHLO,
    AT_MAIL,
    AT_RCPT,
    AT_DATA,
    AT_FINAL,
    AT_QUIT,
    STAGES
};

enum { PATIENCE_MS = 20 * 60 * 1000 };

// One message on its way in.
struct client {
    struct link all;
    struct ledger_message *message;
    struct stream *stream;
    struct timer timer; // the next try, or the patience with this one
    enum stage stage;
    enum stage leave_at; // walks off there without waiting; STAGES: never
    bool pipelined, by_bdat, want_tls, in_tls, dot_sent, can_pipeline, can_bdat, can_tls;
    size_t next_rcpt;
    bool two_chunks; // the first one's reply is still to come
};

static struct link clients;
static bool behave, stopped;

static const struct stream_handler handler;
static void begin(void *ctx);

static void client_done(struct client *c)
{
    timer_stop(&c->timer);
    list_remove(&c->all);
    xfree(c);
}

static void try_again(struct client *c)
{
    if (stopped) {
        client_done(c);
        return;
    }
    timer_init(&c->timer, world_loop(), begin, c);
    timer_start(&c->timer, 1000 + (int64_t)world_below(300000));
}

// The end of one attempt, whatever it came to.
static void hang_up(struct client *c, bool politely)
{
    timer_stop(&c->timer);
    if (c->dot_sent) {
        c->message->unknown++;
        world_note("message %u: the client never saw the answer", c->message->number);
        c->dot_sent = false;
    }
    stream_close(&c->stream, politely);
    if (c->message->answer == LEDGER_NONE)
        try_again(c);
    else
        client_done(c);
}

static void out_of_patience(void *ctx)
{
    hang_up(ctx, false);
}

static void say(struct client *c, const char *text)
{
    stream_write(c->stream, text, strlen(text));
}

static void say_mail(struct client *c)
{
    char line[160];
    snprintf(line, sizeof(line), "MAIL FROM:<%s>%s\r\n", c->message->sender,
             world_chance(500) ? " BODY=8BITMIME" : "");
    say(c, line);
}

static void say_rcpt(struct client *c, size_t i)
{
    char line[160];
    snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", c->message->rcpts[i].address);
    say(c, line);
}

static void send_dotted(struct client *c, size_t most)
{
    struct str rest = buf_str(&c->message->content), line;
    if (most < rest.len)
        rest.len = most;
    while (str_split(&rest, '\n', &line)) {
        if (line.len > 0 && line.ptr[0] == '.')
            stream_write(c->stream, ".", 1);
        stream_write(c->stream, line.ptr, line.len + 1);
    }
}

static void send_bdat(struct client *c)
{
    struct str rest = buf_str(&c->message->content);
    char line[64];
    if (rest.len > 10 && world_chance(500)) {
        size_t n = 1 + (size_t)world_below(rest.len - 1);
        snprintf(line, sizeof(line), "BDAT %zu\r\n", n);
        say(c, line);
        stream_write(c->stream, rest.ptr, n);
        rest = str_make(rest.ptr + n, rest.len - n);
        c->two_chunks = true;
    }
    snprintf(line, sizeof(line), "BDAT %zu LAST\r\n", rest.len);
    say(c, line);
    stream_write(c->stream, rest.ptr, rest.len);
    c->dot_sent = true;
    c->stage = AT_FINAL;
}

static void go_mail(struct client *c)
{
    c->stage = AT_MAIL;
    c->next_rcpt = 0;
    c->pipelined = c->can_pipeline && world_chance(500);
    c->by_bdat = c->can_bdat && world_chance(300);
    say_mail(c);
    if (!c->pipelined)
        return;
    for (size_t i = 0; i < c->message->count; i++)
        say_rcpt(c, i);
    if (!c->by_bdat)
        say(c, "DATA\r\n");
}

static void after_rcpts(struct client *c)
{
    if (c->by_bdat) {
        send_bdat(c);
        return;
    }
    c->stage = AT_DATA;
    if (!c->pipelined)
        say(c, "DATA\r\n");
}

static void final_answer(struct client *c, unsigned code)
{
    c->dot_sent = false;
    if (code == 250) {
        c->message->answer = LEDGER_ACCEPTED;
        world_note("message %u: accepted", c->message->number);
    } else if (code >= 500) {
        c->message->answer = LEDGER_REFUSED;
        world_note("message %u: refused with %u", c->message->number, code);
    } else {
        c->message->put_off++;
    }
    say(c, "QUIT\r\n");
    c->stage = AT_QUIT;
    if (world_chance(200))
        hang_up(c, true);
}

// A reply that is not the one hoped for. A 5xx is final, as for any client.
static void not_taken(struct client *c, unsigned code)
{
    if (code >= 500 && c->stage >= AT_MAIL && !c->dot_sent) {
        c->message->answer = LEDGER_REFUSED;
        world_note("message %u: refused with %u before its content", c->message->number, code);
    }
    hang_up(c, true);
}

static const unsigned wanted[STAGES] = {
    [AT_GREETING] = 220, [AT_EHLO] = 250, [AT_STARTTLS] = 220, [AT_TLS_EHLO] = 250, [AT_MAIL] = 250,
    [AT_RCPT] = 250,     [AT_DATA] = 354, [AT_FINAL] = 250,    [AT_QUIT] = 221,
};

static void start_tls(struct client *c)
{
    struct tls_client_params params = {.verify = TLS_VERIFY_NONE};
    stream_start_tls_client(c->stream, &params);
}

// False when `c` may be gone or reading must stop.
static bool on_reply(struct client *c, unsigned code)
{
    if (c->stage == AT_FINAL && c->two_chunks && code == 250) {
        c->two_chunks = false;
        return true;
    }
    if (c->stage == AT_FINAL) {
        final_answer(c, code);
        return false;
    }
    if (c->stage == AT_QUIT || code != wanted[c->stage]) {
        not_taken(c, code);
        return false;
    }
    if (c->stage == c->leave_at) {
        hang_up(c, world_chance(500));
        return false;
    }
    switch (c->stage) {
    case AT_GREETING:
        c->stage = AT_EHLO;
        say(c, "EHLO client.example\r\n");
        return true;
    case AT_EHLO:
        if (c->want_tls && c->can_tls) {
            c->stage = AT_STARTTLS;
            say(c, "STARTTLS\r\n");
            return true;
        }
        go_mail(c);
        return true;
    case AT_STARTTLS: start_tls(c); return false;
    case AT_TLS_EHLO: go_mail(c); return true;
    case AT_MAIL:
        c->stage = AT_RCPT;
        if (!c->pipelined)
            say_rcpt(c, 0);
        return true;
    case AT_RCPT:
        if (++c->next_rcpt == c->message->count)
            after_rcpts(c);
        else if (!c->pipelined)
            say_rcpt(c, c->next_rcpt);
        return true;
    case AT_DATA:
        if (c->leave_at == AT_FINAL && world_chance(500)) { // half a content
            send_dotted(c, c->message->content.len / 2);
            hang_up(c, world_chance(500));
            return false;
        }
        send_dotted(c, SIZE_MAX);
        say(c, ".\r\n");
        c->dot_sent = true;
        c->stage = AT_FINAL;
        if (c->leave_at == AT_FINAL) { // gone before the answer
            hang_up(c, true);
            return false;
        }
        return true;
    default: return true;
    }
}

static void note_extension(struct client *c, struct str line)
{
    struct str word = str_make(line.ptr + 4, line.len - 4);
    if (str_ieq(word, STR("PIPELINING")))
        c->can_pipeline = true;
    if (str_ieq(word, STR("CHUNKING")))
        c->can_bdat = true;
    if (str_ieq(word, STR("STARTTLS")))
        c->can_tls = true;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct client *c = ctx;
    size_t taken = 0;
    for (;;) {
        const char *end = memchr(bytes + taken, '\n', len - taken);
        if (end == NULL)
            return taken;
        struct str line = str_trim(str_make(bytes + taken, (size_t)(end - bytes) - taken));
        taken = (size_t)(end - bytes) + 1;
        if (line.len < 3 || !ascii_is_digit(line.ptr[0]))
            continue;
        if (line.len > 4)
            note_extension(c, line);
        if (line.len > 3 && line.ptr[3] == '-')
            continue;
        if (!on_reply(c, (unsigned)(line.ptr[0] - '0') * 100 + (unsigned)(line.ptr[1] - '0') * 10 +
                             (unsigned)(line.ptr[2] - '0')))
            return taken;
    }
}

static void on_event(void *ctx, enum stream_event event)
{
    struct client *c = ctx;
    if (event == STREAM_TLS_READY) {
        c->stage = AT_TLS_EHLO;
        c->in_tls = true;
        say(c, "EHLO client.example\r\n");
    } else if (event == STREAM_EOF || event == STREAM_ERROR) {
        hang_up(c, false);
    }
}

static const struct stream_handler handler = {on_data, on_event};

static void begin(void *ctx)
{
    struct client *c = ctx;
    struct ledger_message *m = c->message;
    if (stopped) {
        client_done(c);
        return;
    }
    struct link all = c->all;
    *c = (struct client){.all = all, .message = m, .leave_at = STAGES};
    if (!behave && world_chance(120))
        c->leave_at = (enum stage)world_below(STAGES);
    c->want_tls = world_chance(200);
    timer_init(&c->timer, world_loop(), out_of_patience, c);
    timer_start(&c->timer, PATIENCE_MS);
    struct net_addr to;
    net_addr_parse(STR("127.0.0.1:25"), 25, &to);
    c->stream = world_connect(&to, NULL, &handler, c);
}

void clients_send(struct ledger_message *m, int64_t after_ms)
{
    struct client *c = xcalloc(1, sizeof(*c));
    c->message = m;
    list_append(&clients, &c->all);
    timer_init(&c->timer, world_loop(), begin, c);
    timer_start(&c->timer, after_ms);
}

void clients_new(void)
{
    list_init(&clients);
    behave = stopped = false;
}

void clients_behave(void)
{
    behave = true;
}

void clients_stop(void)
{
    stopped = true;
}

bool clients_idle(void)
{
    return list_empty(&clients);
}

void clients_free(void)
{
    struct client *c;
    list_each (&clients, c, struct client, all) {
        stream_close(&c->stream, false);
        client_done(c);
    }
}
