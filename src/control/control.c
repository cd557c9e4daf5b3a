// SPDX-License-Identifier: ISC
// The control socket: connections, the request, finding the command.
#include "control/command.h"
#include "base/mem.h"
#include "conf/schema.h"
#include "sys/host.h"
#include "sys/log.h"
#include "sys/stream.h"

#include <stdio.h>
#include <string.h>

#define PROTOCOL "waypost 1"

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

static void refuse_operator(struct reply *r, const struct command *c)
{
    log_warn("control-refused", 0, "%.*s asked for `%s`", STR_FMT(r->own), c->words);
    reply_error(r, "waypost: `%s` is for root and the user the daemon runs as", c->words);
    reply_end(r, EX_NOPERM);
}

// The option at *usage on, which is moved behind it; *valued: a value follows. False: no more.
static bool next_option(const char **usage, struct str *name_out, bool *valued)
{
    const char *at = strstr(*usage, "--");
    if (at == NULL)
        return false;
    size_t len = strcspn(at, " ]|=.");
    *name_out = str_make(at, len);
    *valued = at[len] == ' ' && at[len + 1] != '|' && at[len + 1] != '[' && at[len + 1] != '-';
    *usage = at + len;
    return true;
}

static bool option_known(struct reply *r, struct str typed, bool *valued)
{
    const char *usage = r->command->usage;
    struct conf_nearest near = {0};
    struct str name;
    while (next_option(&usage, &name, valued)) {
        if (str_eq(name, typed))
            return true;
        conf_nearest_offer(&near, typed, arena_str(r->arena, name));
    }
    reply_error(r, "waypost %s: there is no option `%.*s`%s%s%s", r->command->words, STR_FMT(typed),
                near.word != NULL ? "; did you mean `" : "", near.word != NULL ? near.word : "",
                near.word != NULL ? "`?" : "");
    reply_error(r, "usage: waypost %s %s", r->command->words, r->command->usage);
    return false;
}

// Long ones are those that the usage names. What stands behind one that takes a value is its value.
static bool options_known(struct reply *r)
{
    for (int i = 0; r->command->help != NULL && i < r->argc; i++) {
        struct str rest = str_of(r->argv[i]), typed;
        bool valued;
        if (!str_starts(rest, STR("--")) || rest.len == 2)
            continue;
        str_split(&rest, '=', &typed);
        if (!option_known(r, typed, &valued))
            return false;
        i += valued && typed.len == strlen(r->argv[i]);
    }
    return true;
}

static void run(struct reply *r)
{
    for (const struct command *c = control_commands; c->words != NULL; c++) {
        int used;
        if (!words_match(c, r, &used))
            continue;
        if (c->audience == FOR_OPERATORS && r->own.len > 0) {
            refuse_operator(r, c);
            return;
        }
        reply_drop_args(r, 0, used);
        r->command = c;
        r->json = reply_flag(r, "--json");
        if (!options_known(r)) {
            reply_end(r, EX_USAGE);
            return;
        }
        int options = 0;
        for (int i = 0; i < r->argc; i++)
            options += r->argv[i][0] == '-' && r->argv[i][1] != '\0';
        bool plain = strstr(c->usage, "[-") == NULL;
        if ((plain || options == 0) && (r->argc < c->least || r->argc > c->most)) {
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
    uint64_t columns;
    if (!str_split(&in, '\n', &line) || !str_starts(line, STR(PROTOCOL)))
        return false;
    line.ptr += strlen(PROTOCOL);
    line.len -= strlen(PROTOCOL);
    if (line.len > 0) {
        if (line.ptr[0] != ' ' || !str_u64(str_make(line.ptr + 1, line.len - 1), 9999, &columns))
            return false;
        r->columns = (int)columns;
    }
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

// What cannot become a request is not waited for.
static bool hopeless(struct str in)
{
    size_t len = in.len < strlen(PROTOCOL) ? in.len : strlen(PROTOCOL);
    return memcmp(in.ptr, PROTOCOL, len) != 0;
}

// A whole configuration is sent with one command only, and by operators only (see on_accept).
static bool too_long(struct str in)
{
    struct str line;
    return in.len > LIMIT_CONTROL_LINE &&
           !(str_split(&in, '\n', &line) && str_starts(in, STR("config\nlive\n")));
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    struct reply *r = ctx;
    if (r->argv != NULL)
        return len; // the request was whole: more means nothing
    bool fits =
        buf_append(&r->in, bytes, len) && !hopeless(buf_str(&r->in)) && !too_long(buf_str(&r->in));
    bool whole = fits && r->in.len >= 2 && memcmp(r->in.data + r->in.len - 2, "\n\n", 2) == 0;
    if (!fits || (whole && !parse(r))) {
        on_gone(r);
        return len;
    }
    if (whole) {
        timer_stop(&r->clock);
        run(r);
    }
    return len;
}

static void on_event(void *ctx, enum stream_event event)
{
    struct reply *r = ctx;
    if (event == STREAM_ERROR || event == STREAM_EOF) {
        on_gone(r);
        return;
    }
    if (event != STREAM_DRAINED)
        return;
    timer_stop(&r->clock);
    if (r->drained != NULL)
        r->drained(r);
}

// The request has not come, or its answer is not read.
static void on_late(void *ctx)
{
    struct reply *r = ctx;
    if (r->argv == NULL || stream_queued(r->stream) > 0)
        on_gone(r);
}

static const struct stream_handler handler = {on_data, on_event};

// ---- Connections ----

// Operators always find a place: others have a ceiling of their own, each and all together.
static bool has_room(struct control *c, uint32_t uid, bool may_all)
{
    size_t may_alls = 0, others = 0, same = 0;
    struct reply *r;
    list_each (&c->replies, r, struct reply, in_control) {
        if (r->own.len == 0)
            may_alls++;
        else
            others++;
        same += r->uid == uid;
    }
    if (may_all)
        return may_alls < LIMIT_CONTROL_OPERATORS;
    return same < LIMIT_CONTROL_PER_USER && others < LIMIT_CONTROL_USERS;
}

static void turn_away(struct stream *s, const char *text)
{
    stream_write(s, text, strlen(text));
    stream_close(&s, true);
}

static void on_accept(void *ctx, struct stream *s)
{
    struct control *c = ctx;
    uint32_t uid = UINT32_MAX, pid;
    if (!stream_peer_uid(s, &uid, &pid)) {
        turn_away(s, "e waypost: the system does not say who asks\nx 77\n");
        return;
    }
    bool may_all = uid == 0 || uid == host_uid();
    if (!has_room(c, uid, may_all)) {
        turn_away(s, "e waypost: too many are asking at this moment; try again\nx 75\n");
        return;
    }
    struct reply *r = xcalloc(1, sizeof(*r));
    r->control = c;
    r->stream = s;
    r->uid = uid;
    r->arena = arena_new();
    if (!may_all)
        r->own = str_of(arena_printf(r->arena, "uid %u", uid)); // as accept names such a client
    buf_init(&r->in, may_all ? LIMIT_CONTROL_REQUEST : LIMIT_CONTROL_LINE);
    timer_init(&r->clock, c->parts.loop, on_late, r);
    timer_init(&r->pause, c->parts.loop, queue_pages_next, r);
    timer_start(&r->clock, LIMIT_CONTROL_REQUEST_MS);
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
