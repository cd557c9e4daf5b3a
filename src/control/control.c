// SPDX-License-Identifier: ISC
// The control socket: connections, the request, finding the command.
#include "control/command.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sys/host.h"
#include "sys/log.h"
#include "sys/stream.h"

#include <stdio.h>
#include <stdlib.h>

const struct command control_commands[] = {
    {"status", "[-q]", "one screen: what waits, the ways out, the spool", 0, 0, cmd_status},
    {"queue list", "[PATTERN]", "waiting messages, oldest first; PATTERN is a glob over addresses",
     0, 1, cmd_queue_list},
    {"queue show", "ID", "everything about one waiting message", 1, 1, cmd_queue_show},
    {"queue retry", "ID...|all", "try again now, whatever the clocks say", 1, COMMAND_ARGS,
     cmd_queue_retry},
    {"queue hold", "ID... [--reason TEXT]", "keep, do not send", 1, COMMAND_ARGS, cmd_queue_hold},
    {"queue release", "ID...", "send what was held", 1, COMMAND_ARGS, cmd_queue_release},
    {"queue drop", "ID... [--reason TEXT]", "remove for good; nobody is told", 1, COMMAND_ARGS,
     cmd_queue_drop},
    {"queue classic", "", "what waits, in the layout of mailq", 0, 0, cmd_queue_classic},
    {"queue", "[PATTERN]", "the same as queue list", 0, 1, cmd_queue_list},
    {"log",
     "[ID [--wait SECONDS] [--transcript]] [--from GLOB] [--to GLOB] [--text PART] [--gateway "
     "NAME] "
     "[--class CLASS] [--since 1h] [--max N] [-f]",
     "what happened to mail, also to mail that left", 0, COMMAND_ARGS, cmd_log},
    {"gateway list", "", "the ways out and how they are", 0, 0, cmd_gateway_list},
    {"route explain", "ID | --from ADDRESS --to ADDRESS", "which way, and why", 0, 1,
     cmd_route_explain},
    {"reload", "", "take over the changed configuration, whole or not at all", 0, 0, cmd_reload},
    {"stop", "", "end the daemon in order", 0, 0, cmd_stop},
    {NULL, NULL, NULL, 0, 0, NULL},
};

// ---- The reply ----

static void write_tagged(struct reply *r, char tag, const char *text, size_t len)
{
    char head[2] = {tag, ' '};
    stream_write(r->stream, head, 2);
    stream_write(r->stream, text, len);
    stream_write(r->stream, "\n", 1);
}

static void write_format(struct reply *r, char tag, const char *format, va_list args)
{
    struct buf line, safe;
    buf_init(&line, LIMIT_CONTROL_LINE);
    buf_init(&safe, LIMIT_CONTROL_LINE * 4);
    buf_vprintf(&line, format, args);
    // Subjects and replies are strangers' text: a terminal must not obey it.
    utf8_escape(&safe, buf_str(&line));
    write_tagged(r, tag, safe.data, safe.len);
    buf_free(&line);
    buf_free(&safe);
}

void reply_line(struct reply *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_format(r, 'o', format, args);
    va_end(args);
}

void reply_error(struct reply *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_format(r, 'e', format, args);
    va_end(args);
}

void reply_text(struct reply *r, struct str text)
{
    struct str line;
    while (str_split(&text, '\n', &line))
        write_tagged(r, 'o', line.ptr, line.len);
}

static void reply_free(struct reply *r)
{
    list_remove(&r->in_control);
    buf_free(&r->in);
    arena_free(&r->arena);
    xfree(r);
}

void reply_end(struct reply *r, int status)
{
    char line[32];
    int len = snprintf(line, sizeof(line), "x %d\n", status);
    stream_write(r->stream, line, (size_t)len);
    stream_close(&r->stream, true);
    reply_free(r);
}

// ---- Arguments ----

static void drop_args(struct reply *r, int at, int count)
{
    for (int i = at; i + count < r->argc; i++)
        r->argv[i] = r->argv[i + count];
    r->argc -= count;
}

const char *reply_option(struct reply *r, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < r->argc; i++) {
        char *arg = r->argv[i];
        if (strncmp(arg, name, len) != 0)
            continue;
        if (arg[len] == '=') {
            drop_args(r, i, 1);
            return arg + len + 1;
        }
        if (arg[len] == '\0' && i + 1 < r->argc) {
            char *value = r->argv[i + 1];
            drop_args(r, i, 2);
            return value;
        }
    }
    return NULL;
}

bool reply_flag(struct reply *r, const char *name)
{
    for (int i = 0; i < r->argc; i++) {
        if (strcmp(r->argv[i], name) == 0) {
            drop_args(r, i, 1);
            return true;
        }
    }
    return false;
}

bool reply_id(struct reply *r, const char *text, uint64_t *id_out)
{
    if (id_parse(str_of(text), id_out) && *id_out != 0)
        return true;
    reply_error(
        r,
        "waypost: %s is no message id (6 or more of 0-9 A-Z, as `waypost queue list` shows them)",
        text);
    reply_end(r, EX_USAGE);
    return false;
}

// ---- The request ----

static bool words_match(const struct command *c, struct reply *r, int *used_out)
{
    struct str words = str_of(c->words), word;
    int used = 0;
    while (str_split(&words, ' ', &word)) {
        if (used >= r->argc || !str_eq(word, str_of(r->argv[used])))
            return false;
        used++;
    }
    *used_out = used;
    return true;
}

static void run(struct reply *r)
{
    for (const struct command *c = control_commands; c->words != NULL; c++) {
        int used;
        if (!words_match(c, r, &used))
            continue;
        drop_args(r, 0, used);
        r->json = reply_flag(r, "--json");
        int options = 0;
        for (int i = 0; i < r->argc; i++)
            options += r->argv[i][0] == '-' && r->argv[i][1] != '\0';
        if (options == 0 && (r->argc < c->least || r->argc > c->most)) {
            reply_error(r, "usage: waypost %s %s", c->words, c->usage);
            reply_end(r, EX_USAGE);
            return;
        }
        c->run(r);
        return;
    }
    reply_error(r, "waypost: unknown command `%s`; see `waypost help`",
                r->argc > 0 ? r->argv[0] : "");
    reply_end(r, EX_USAGE);
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *decoded(struct arena *arena, struct str line)
{
    char *out = arena_alloc(arena, line.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == '%' && i + 2 < line.len && hex_digit(line.ptr[i + 1]) >= 0 &&
            hex_digit(line.ptr[i + 2]) >= 0) {
            out[n++] = (char)(hex_digit(line.ptr[i + 1]) * 16 + hex_digit(line.ptr[i + 2]));
            i += 2;
        } else {
            out[n++] = line.ptr[i];
        }
    }
    return out;
}

// Splits the whole request; false when it is none.
static bool parse(struct reply *r)
{
    struct str in = buf_str(&r->in), line;
    if (!str_split(&in, '\n', &line) || !str_eq(line, STR("waypost 1")))
        return false;
    r->argv = arena_alloc(r->arena, (COMMAND_ARGS + 1) * sizeof(*r->argv));
    while (str_split(&in, '\n', &line) && line.len > 0) {
        if (r->argc == COMMAND_ARGS)
            return false;
        r->argv[r->argc++] = decoded(r->arena, line);
    }
    return r->argc > 0;
}

static void on_gone(struct reply *r)
{
    if (r->gone != NULL)
        r->gone(r);
    stream_close(&r->stream, false);
    reply_free(r);
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct reply *r = ctx;
    if (r->argv != NULL)
        return len; // the request was whole: more means nothing
    bool fits = buf_append(&r->in, bytes, len);
    bool whole = fits && r->in.len >= 2 && memcmp(r->in.data + r->in.len - 2, "\n\n", 2) == 0;
    if (!fits || (whole && !parse(r))) {
        on_gone(r);
        return len;
    }
    if (whole)
        run(r);
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct reply *r = ctx;
    if (event == STREAM_DRAINED && r->drained != NULL)
        r->drained(r);
    else if (event == STREAM_ERROR || event == STREAM_EOF)
        on_gone(r);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accept(void *ctx, struct stream *s)
{
    struct control *c = ctx;
    uint32_t uid = UINT32_MAX, pid;
    if (!stream_peer_uid(s, &uid, &pid) || (uid != 0 && uid != host_uid())) {
        static const char refusal[] = "e waypost: only root and the user the daemon runs as may "
                                      "use the control socket\nx 77\n";
        log_warn("control-refused", 0, "uid %u asked for the control socket", uid);
        stream_write(s, refusal, sizeof(refusal) - 1);
        stream_close(&s, true);
        return;
    }
    struct reply *r = xcalloc(1, sizeof(*r));
    r->control = c;
    r->stream = s;
    r->uid = uid;
    r->arena = arena_new();
    buf_init(&r->in, LIMIT_CONTROL_LINE);
    list_append(&c->replies, &r->in_control);
    stream_attach(s, &handler, r);
}

struct control *control_new(struct conf *conf, const struct control_parts *parts, struct err *err)
{
    struct net_addr at = {.family = NET_UNIX};
    int len = snprintf(at.path, sizeof(at.path), "%s/control.sock", conf->run_dir);
    if (len < 0 || (size_t)len >= sizeof(at.path)) {
        err_set(err, "run: the path %s is too long for a unix socket", conf->run_dir);
        return NULL;
    }
    struct control *c = xcalloc(1, sizeof(*c));
    c->conf = conf_ref(conf);
    c->parts = *parts;
    list_init(&c->replies);
    c->listener = listener_new(parts->loop, &at, on_accept, c, err);
    if (c->listener == NULL)
        control_free(&c);
    return c;
}

void control_set_conf(struct control *c, struct conf *conf)
{
    conf_ref(conf);
    conf_unref(&c->conf);
    c->conf = conf;
}

void control_free(struct control **cp)
{
    struct control *c = *cp;
    if (c == NULL)
        return;
    listener_free(&c->listener);
    struct reply *r;
    list_each (&c->replies, r, struct reply, in_control)
        on_gone(r);
    conf_unref(&c->conf);
    xfree(c);
    *cp = NULL;
}
