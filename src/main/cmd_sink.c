// SPDX-License-Identifier: ISC
// sink: a mail server that takes everything, for trying Waypost out without bothering anybody.
#include "base/base64.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "mail/encoded_word.h"
#include "mail/header.h"
#include "main/command.h"
#include "proto/smtp_server.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/stream.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

struct sink {
    struct loop *loop;
    struct listener *listener;
    struct smtp_server_settings settings;
    struct link guests;
    const char *maildir; // NULL: nothing is kept
    unsigned refuse;     // 0, or the code every recipient is refused with
    uint64_t messages;
    int status;
};

struct guest {
    struct link in_sink;
    struct sink *sink;
    struct stream *stream;
    struct smtp_server *machine;
    struct buf out;
    struct arena *arena; // of the transaction
    struct str sender, rcpt;
    size_t rcpts;
    struct header_scan header;
    struct buf content; // only with a maildir
};

// ---- What the machine asks ----

static int on_mail(void *ctx, const struct smtp_server_mail *mail, struct smtp_server_reply *reply)
{
    struct guest *g = ctx;
    arena_clear(g->arena);
    g->sender = arena_dup(g->arena, address_str(mail->sender));
    g->rcpts = 0;
    return 1;
}

static int on_rcpt(void *ctx, const struct smtp_server_rcpt *rcpt, struct smtp_server_reply *reply)
{
    struct guest *g = ctx;
    if (g->sink->refuse > 0) {
        bool now = g->sink->refuse < 500;
        smtp_server_reply_set(reply, (uint16_t)g->sink->refuse, now ? "4.3.0" : "5.7.1",
                              now ? "not now, as this sink was told" : "no, as this sink was told");
        printf("refused  <%.*s> to <%.*s>: %u\n", STR_FMT(g->sender),
               STR_FMT(address_str(rcpt->address)), g->sink->refuse);
        fflush(stdout);
        return -1;
    }
    if (g->rcpts++ == 0)
        g->rcpt = arena_dup(g->arena, address_str(rcpt->address));
    return 1;
}

static int on_begin(void *ctx, struct smtp_server_reply *reply)
{
    struct guest *g = ctx;
    header_scan_init(&g->header);
    buf_clear(&g->content);
    return 1;
}

static int on_content(void *ctx, const char *bytes, size_t len, struct smtp_server_reply *reply)
{
    struct guest *g = ctx;
    header_scan_feed(&g->header, bytes, len);
    if (g->sink->maildir == NULL || buf_append(&g->content, bytes, len))
        return 1;
    smtp_server_reply_set(reply, 552, "5.3.4", "larger than this sink keeps");
    return -1;
}

// Under a name of its own in tmp, then in new: whoever reads there sees whole messages only.
static bool keep(struct guest *g, struct err *err)
{
    char name[80], id[ID_TEXT_SIZE];
    snprintf(name, sizeof(name), "%lld.%s", (long long)clock_wall_ms(),
             id_format(random_u64() >> 4, id));
    const char *tmp = arena_printf(g->arena, "%s/tmp/%s", g->sink->maildir, name);
    const char *new = arena_printf(g->arena, "%s/new/%s", g->sink->maildir, name);
    struct file *file = file_open(tmp, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    struct file_piece piece = {g->content.data, g->content.len};
    bool ok = file_write(file, 0, &piece, 1, err);
    file_close(&file);
    return ok && path_rename(tmp, new, err);
}

static int on_end(void *ctx, struct smtp_server_reply *reply)
{
    struct guest *g = ctx;
    struct err err = {0};
    struct buf decoded, subject;
    header_scan_end(&g->header);
    if (g->sink->maildir != NULL && !keep(g, &err)) {
        fprintf(stderr, "waypost sink: %s\n", err.text);
        smtp_server_reply_set(reply, 451, "4.3.0", "%s", err.text);
        return -1;
    }
    buf_init(&subject, 4096);
    buf_init(&decoded, 1024);
    encoded_word_show(&decoded, header_subject(&g->header), 1024);
    utf8_escape(&subject, buf_str(&decoded));
    printf("received <%.*s> to <%.*s>%s  %llu octets%s%s%s\n", STR_FMT(g->sender), STR_FMT(g->rcpt),
           g->rcpts > 1 ? " and others" : "", (unsigned long long)g->header.size,
           subject.len > 0 ? "  \"" : "", subject.len > 0 ? buf_cstr(&subject) : "",
           subject.len > 0 ? "\"" : "");
    fflush(stdout);
    buf_free(&decoded);
    buf_free(&subject);
    g->sink->messages++;
    return 1;
}

static void on_abort(void *ctx)
{
}

static int on_starttls(void *ctx, struct smtp_server_reply *reply)
{
    return -1; // never offered
}

static int on_auth(void *ctx, const char *user, const char *password,
                   struct smtp_server_reply *reply)
{
    return 1; // whoever it is
}

static const struct smtp_server_ops ops = {on_mail, on_rcpt,  on_begin,    on_content,
                                           on_end,  on_abort, on_starttls, on_auth};

// ---- Connections ----

static void guest_free(struct guest *g, bool drain)
{
    list_remove(&g->in_sink);
    stream_close(&g->stream, drain);
    smtp_server_free(&g->machine);
    arena_free(&g->arena);
    buf_free(&g->out);
    buf_free(&g->content);
    xfree(g);
}

static void send_replies(struct guest *g)
{
    if (g->out.len > 0)
        stream_write(g->stream, g->out.data, g->out.len);
    buf_clear(&g->out);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct guest *g = ctx;
    size_t done = 0, taken;
    do {
        taken = smtp_server_input(g->machine, bytes + done, len - done, &g->out);
        done += taken;
        send_replies(g);
    } while (taken > 0 && done < len && !smtp_server_closed(g->machine));
    if (smtp_server_closed(g->machine)) {
        guest_free(g, true);
        return len;
    }
    return done;
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        guest_free(ctx, false);
}

static void on_accept(void *ctx, struct stream *stream)
{
    static const struct stream_handler handler = {on_data, on_event};
    struct sink *s = ctx;
    struct guest *g = xcalloc(1, sizeof(*g));
    g->sink = s;
    g->stream = stream;
    g->arena = arena_new();
    g->machine = smtp_server_new(&s->settings, &ops, g);
    buf_init(&g->out, LIMIT_REPLY_QUEUE);
    buf_init(&g->content, LIMIT_MESSAGE);
    list_append(&s->guests, &g->in_sink);
    stream_attach(stream, &handler, g);
    smtp_server_greet(g->machine, &g->out);
    send_replies(g);
}

// ---- The command ----

static void on_signal(void *ctx, int signo)
{
    struct sink *s = ctx;
    loop_stop(s->loop);
}

static bool make_maildir(const char *dir, struct err *err)
{
    static const char *const parts[] = {"", "/tmp", "/new", "/cur"};
    char path[1024];
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
        if (!dir_make(path, 0700, err))
            return false;
    }
    return true;
}

static int serve(struct sink *s, const struct net_addr *at)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct err err = {0};
    char text[NET_ADDR_TEXT];
    if (s->maildir != NULL && !make_maildir(s->maildir, &err)) {
        fprintf(stderr, "waypost sink: %s\n", err.text);
        return EX_CANTCREAT;
    }
    s->loop = loop_new("sink");
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        loop_on_signal(s->loop, signals[i], on_signal, s);
    s->listener = listener_new(s->loop, at, on_accept, s, &err);
    if (s->listener == NULL) {
        fprintf(stderr, "waypost sink: %s\n", err.text);
        loop_free(&s->loop);
        return EX_UNAVAILABLE;
    }
    printf("sink at %s; everything is %s\n", net_addr_format(listener_addr(s->listener), text),
           s->refuse > 0        ? "refused"
           : s->maildir != NULL ? "taken and kept"
                                : "taken and forgotten");
    fflush(stdout);
    loop_run(s->loop);
    listener_free(&s->listener);
    struct guest *g;
    list_each (&s->guests, g, struct guest, in_sink)
        guest_free(g, false);
    loop_free(&s->loop);
    return 0;
}

int cmd_sink(const struct main_options *options, int argc, char **argv)
{
    struct sink s = {0};
    struct net_addr at;
    const char *listen = "127.0.0.1:2526";
    char hostname[256];
    uint64_t code = 0;
    bool ok = argc % 2 == 0;
    for (int i = 0; ok && i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen") == 0)
            listen = argv[i + 1];
        else if (strcmp(argv[i], "--maildir") == 0)
            s.maildir = argv[i + 1];
        else if (strcmp(argv[i], "--refuse") == 0)
            ok = str_u64(str_of(argv[i + 1]), 599, &code) && code >= 400;
        else
            ok = false;
    }
    if (!ok || !net_addr_parse(str_of(listen), 2526, &at)) {
        fprintf(stderr, "usage: waypost sink [--listen 127.0.0.1:2526] [--maildir DIR] "
                        "[--refuse 4XX|5XX]\n");
        return EX_USAGE;
    }
    host_name(hostname);
    list_init(&s.guests);
    s.refuse = (unsigned)code;
    s.settings = (struct smtp_server_settings){.hostname = hostname,
                                               .message_size = LIMIT_MESSAGE,
                                               .recipients = LIMIT_RECIPIENTS,
                                               .auth_offered = true,
                                               .auth_in_clear = true};
    return serve(&s, &at);
}
