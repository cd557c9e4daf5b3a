// SPDX-License-Identifier: ISC
// Delivery into a program: it gets the message on its standard input, and its exit status says what
// came of it (sysexits.h).
//
// A status that blames the recipient or the message returns it. One that says that the program
// itself is not as it should be blames the gateway, and the mail waits. Killed after all of the
// message was given to it, by us because it took too long or by somebody else, it may have done its
// work: that is doubt.
#include "deliver/program.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sys/file.h"
#include "sys/process.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { WORDS = 128, NOT_RUN = 126, NOT_FOUND = 127 };

// ---- What its exit status means ----

static const struct program_status {
    int status;
    enum outcome_class class;
    enum outcome_phase
        phase; // whose fault: PHASE_CONNECT the gateway's, PHASE_RCPT the recipient's
    uint16_t code;
    uint8_t enhanced[3];
    const char *text;
} statuses[] = {
    {EX_OK, OUTCOME_OK, PHASE_FINAL, 250, {2, 0, 0}, "taken"},
    {EX_USAGE, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 5}, "wrong arguments"},
    {EX_DATAERR, OUTCOME_REFUSED, PHASE_FINAL, 554, {5, 6, 0}, "wrong data"},
    {EX_NOINPUT, OUTCOME_BUSY, PHASE_RCPT, 0, {4, 3, 0}, "no input"},
    {EX_NOUSER, OUTCOME_REFUSED, PHASE_RCPT, 550, {5, 1, 1}, "no such user"},
    {EX_NOHOST, OUTCOME_REFUSED, PHASE_RCPT, 550, {5, 1, 2}, "no such host"},
    {EX_UNAVAILABLE, OUTCOME_REFUSED, PHASE_RCPT, 554, {5, 3, 0}, "not available"},
    {EX_SOFTWARE, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 0}, "an error of the program"},
    {EX_OSERR, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 0}, "an error of the system"},
    {EX_OSFILE, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 5}, "a file of the system is missing"},
    {EX_CANTCREAT, OUTCOME_BUSY, PHASE_RCPT, 0, {4, 2, 0}, "cannot create the user's file"},
    {EX_IOERR, OUTCOME_BUSY, PHASE_RCPT, 0, {4, 3, 0}, "cannot read or write"},
    {EX_TEMPFAIL, OUTCOME_BUSY, PHASE_RCPT, 0, {4, 3, 0}, "not now"},
    {EX_PROTOCOL, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 5, 0}, "an error of protocol"},
    {EX_NOPERM, OUTCOME_REFUSED, PHASE_RCPT, 550, {5, 7, 0}, "not permitted"},
    {EX_CONFIG, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 5}, "it is configured wrongly"},
    {NOT_RUN, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 5}, "something could not be run"},
    {NOT_FOUND, OUTCOME_BUSY, PHASE_CONNECT, 0, {4, 3, 5}, "something was not found"},
};

// The last line it printed that says anything, printable.
static struct str last_line(struct str output)
{
    struct str rest = output, line, last = STR("");
    while (str_split(&rest, '\n', &line))
        if (str_trim(line).len > 0)
            last = str_trim(line);
    return last;
}

static void put_text(struct outcome *o, const char *text, struct str output)
{
    enum { LINE = 300 };
    struct str line = last_line(output);
    struct buf b;
    buf_init(&b, sizeof(o->text) - 1);
    buf_printf(&b, "%s%s", text, line.len > 0 ? ": " : "");
    utf8_escape(&b, str_make(line.ptr, line.len < LINE ? line.len : LINE));
    snprintf(o->text, sizeof(o->text), "%s", buf_cstr(&b));
    buf_free(&b);
}

void program_outcome(int status, struct str output, struct outcome *out)
{
    char text[80];
    const struct program_status *s = NULL;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]) && s == NULL; i++)
        if (statuses[i].status == status)
            s = &statuses[i];
    // What it means by another one nobody knows: nothing is returned for that.
    out->class = s != NULL ? s->class : OUTCOME_BUSY;
    out->phase = s != NULL ? s->phase : PHASE_RCPT;
    out->code = s != NULL ? s->code : 0;
    memcpy(out->enhanced, s != NULL ? s->enhanced : (const uint8_t[]){4, 3, 0}, 3);
    snprintf(text, sizeof(text), "exit status %d%s%s%s", status, s != NULL ? " (" : "",
             s != NULL ? s->text : "", s != NULL ? ")" : "");
    put_text(out, status == EX_OK ? "taken" : text, output);
}

// ---- A run ----

struct program {
    struct sink sink;
    struct loop *loop;
    struct process *process;
    struct defer defer; // the first `hungry`, or that it could not be run
    struct timer limit;
    bool given; // all of the message
    struct outcome outcome;
    struct buf *record;
};

static void tell(struct program *p)
{
    timer_stop(&p->limit);
    buf_printf(p->record, "<- %s\n", p->outcome.text);
    p->sink.events->over(p->sink.ctx, &p->outcome);
}

static void end_by_force(struct program *p, const char *why, struct str output)
{
    p->outcome.class = p->given ? OUTCOME_DOUBT : OUTCOME_BUSY;
    p->outcome.phase = p->given ? PHASE_FINAL : PHASE_BODY;
    put_text(&p->outcome, why, output);
    tell(p);
}

static void on_ended(void *ctx, const struct process_end *end)
{
    struct program *p = ctx;
    char why[80];
    if (end->signal != 0) {
        snprintf(why, sizeof(why), "it was killed by signal %d (%s)", end->signal,
                 sigabbrev_np(end->signal) != NULL ? sigabbrev_np(end->signal) : "unknown");
        end_by_force(p, why, end->output);
        return;
    }
    program_outcome(end->status, end->output, &p->outcome);
    tell(p);
}

static void on_limit(void *ctx)
{
    struct program *p = ctx;
    process_free(&p->process);
    end_by_force(p, "it took too long and was killed (limits.timeout)", STR(""));
}

static void on_hungry(void *ctx)
{
    struct program *p = ctx;
    p->sink.events->hungry(p->sink.ctx);
}

static void on_begun(void *ctx)
{
    struct program *p = ctx;
    if (p->process != NULL)
        p->sink.events->hungry(p->sink.ctx);
    else
        tell(p);
}

static struct program *program_of(struct sink *s)
{
    return container_of(s, struct program, sink);
}

static void program_write(struct sink *s, const char *bytes, size_t len)
{
    process_write(program_of(s)->process, bytes, len);
}

static void program_end(struct sink *s)
{
    program_of(s)->given = true;
    process_end_input(program_of(s)->process);
}

static void program_free(struct sink *s)
{
    struct program *p = program_of(s);
    timer_stop(&p->limit);
    defer_cancel(&p->defer);
    process_free(&p->process);
    xfree(p);
}

static const struct sink_ops ops = {program_write, program_end, program_free};

// ---- Its arguments and environment ----

struct words {
    struct arena *arena;
    const char *all[WORDS];
    size_t count;
};

static bool add_filled(struct words *w, const char *pattern, const struct mailbox *box)
{
    struct buf text;
    buf_init(&text, LIMIT_PATH * 2);
    bool good = mailbox_fill(pattern, box, &text) && !text.full && w->count + 1 < WORDS;
    if (good)
        w->all[w->count++] = arena_strdup(w->arena, buf_cstr(&text));
    buf_free(&text);
    return good;
}

static bool fill_arguments(struct words *w, const struct conf_gateway *g, const struct mailbox *box)
{
    w->all[w->count++] = g->path;
    for (size_t i = 0; i < g->argument_count; i++)
        if (!add_filled(w, g->arguments[i], box))
            return false;
    return true;
}

static void add_variable(struct words *w, const char *name, struct str value)
{
    w->all[w->count++] = arena_printf(w->arena, "%s=%.*s", name, STR_FMT(value));
}

// Nothing of ours is passed on: what stands in our own is nobody's business.
static void fill_environment(struct words *w, const struct sink_mail *mail)
{
    const struct conf_gateway *g = mail->gateway;
    add_variable(w, "PATH", STR("/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"));
    add_variable(w, "SHELL", STR("/bin/sh"));
    add_variable(w, "LANG", STR("C.UTF-8"));
    add_variable(w, "GATEWAY", str_of(g->name));
    add_variable(w, "SENDER", mail->box->sender);
    add_variable(w, "RECIPIENT", mail->box->rcpt);
    add_variable(w, "ORIGINAL_RECIPIENT", mail->rcpt->orcpt);
    add_variable(w, "LOCAL", str_of(mail->box->user));
    add_variable(w, "EXTENSION", str_of(mail->box->detail));
    add_variable(w, "DOMAIN", str_of(mail->box->domain));
    add_variable(w, "CLIENT_ADDRESS", mail->envelope->client);
    if (g->run_as != NULL) {
        add_variable(w, "USER", str_of(g->run_as));
        add_variable(w, "LOGNAME", str_of(g->run_as));
    }
}

static void note_run(struct buf *record, const struct words *w)
{
    buf_puts(record, "->");
    for (size_t i = 0; i < w->count; i++)
        buf_printf(record, " %s", w->all[i]);
    buf_putc(record, '\n');
}

static void start(struct program *p, const struct sink_mail *mail)
{
    static const struct process_events events = {on_hungry, on_ended};
    struct arena *arena = arena_new();
    struct words argv = {.arena = arena}, env = {.arena = arena};
    struct err err = {0};
    if (!fill_arguments(&argv, mail->gateway, mail->box)) {
        p->outcome.class = OUTCOME_REFUSED;
        p->outcome.phase = PHASE_RCPT;
        p->outcome.code = 550;
        memcpy(p->outcome.enhanced, (const uint8_t[]){5, 1, 1}, 3);
        put_text(&p->outcome, "no user here can have this address", STR(""));
    } else {
        fill_environment(&env, mail);
        note_run(mail->record, &argv);
        struct process_how how = {.argv = argv.all,
                                  .env = env.all,
                                  .user = mail->gateway->run_as,
                                  .output_max = LIMIT_PROGRAM_OUTPUT};
        p->process = process_new(mail->loop, &how, &events, p, &err);
        if (p->process == NULL) {
            p->outcome.class = OUTCOME_BUSY;
            p->outcome.phase = PHASE_CONNECT;
            put_text(&p->outcome, err.text, STR(""));
        }
    }
    arena_free(&arena);
}

struct sink *program_open(const struct sink_mail *mail, const struct sink_events *events, void *ctx)
{
    struct program *p = xcalloc(1, sizeof(*p));
    int64_t limit_ms = mail->gateway->timeout_ms;
    p->sink = (struct sink){&ops, events, ctx};
    p->loop = mail->loop;
    p->record = mail->record;
    snprintf(p->outcome.where, sizeof(p->outcome.where), "%s", mail->gateway->path);
    timer_init(&p->limit, mail->loop, on_limit, p);
    timer_start(&p->limit, limit_ms > 0 ? limit_ms : LIMIT_PROGRAM_MS);
    start(p, mail);
    loop_defer(mail->loop, &p->defer, on_begun, p);
    return &p->sink;
}

bool program_look(const struct conf_gateway *g, struct err *err)
{
    return path_may(g->path, PATH_RUN, err);
}
