// SPDX-License-Identifier: ISC
// gateway test: the dialogue with one gateway, and what it means. The trial goes on when the asker
// has gone, and is freed when it is done.
#include "base/mem.h"
#include "conf/schema.h"
#include "control/command.h"
#include "sys/clock.h"

#include <stdio.h>

struct test {
    struct queue_trial trial;
    struct reply *reply; // NULL: the asker went away
    int64_t began_us;
};

static void test_free(struct test *t)
{
    buf_free(&t->trial.transcript);
    arena_free(&t->trial.arena);
    xfree(t);
}

static int status_of(const struct outcome *o)
{
    static const int statuses[OUTCOME_CLASSES] = {
        [OUTCOME_OFFLINE] = EX_TEMPFAIL, [OUTCOME_NET] = EX_UNAVAILABLE,
        [OUTCOME_DNS] = EX_NOHOST,       [OUTCOME_NO_RECORD] = EX_NOHOST,
        [OUTCOME_TLS] = EX_PROTOCOL,     [OUTCOME_AUTH] = EX_NOPERM,
        [OUTCOME_QUOTA] = EX_TEMPFAIL,   [OUTCOME_REPUTATION] = EX_UNAVAILABLE,
        [OUTCOME_BUSY] = EX_TEMPFAIL,    [OUTCOME_REFUSED] = EX_UNAVAILABLE,
        [OUTCOME_DOUBT] = EX_TEMPFAIL,   [OUTCOME_LOCAL] = EX_TEMPFAIL,
    };
    return statuses[o->class];
}

static const char *code_text(struct reply *r, const struct outcome *o)
{
    const char *enhanced = o->enhanced[0] != 0 ? arena_printf(r->arena, "%u.%u.%u ", o->enhanced[0],
                                                              o->enhanced[1], o->enhanced[2])
                                               : "";
    return o->code != 0 ? arena_printf(r->arena, "%u %s", o->code, enhanced) : enhanced;
}

static void tell_text(struct reply *r, struct test *t, int64_t took_ms)
{
    const struct queue_trial *trial = &t->trial;
    const struct outcome *o = &trial->outcome;
    struct str rest = buf_str(&trial->transcript), line;
    if (o->where[0] != '\0' && rest.len == 0)
        reply_line(r, "*** %s", o->where);
    while (str_split(&rest, '\n', &line))
        reply_line(r, "%.*s", STR_FMT(line));
    if (trial->facts[0] != '\0' && trial->facts[0] != ',')
        reply_line(r, "*** %s", trial->facts);
    if (o->class == OUTCOME_OK && trial->rcpt.len > 0)
        reply_line(r, "OK: %s took the test message for %.*s in %lld ms", trial->gateway,
                   STR_FMT(trial->rcpt), (long long)took_ms);
    else if (o->class == OUTCOME_OK)
        reply_line(r, "OK: %s answered in %lld ms; nothing was sent", trial->gateway,
                   (long long)took_ms);
    else
        reply_line(r, "FAILED %s, class %s: %s%s", outcome_phase_name(o->phase),
                   outcome_class_name(o->class), code_text(r, o), o->text);
    if (trial->verdict != NULL && trial->verdict[0] != '\0')
        reply_line(r, "%s", trial->verdict);
    if (o->class == OUTCOME_OK && trial->rcpt.len == 0)
        reply_line(r, "a real message: waypost gateway test %s --to you@example.org",
                   trial->gateway);
}

static void tell_json(struct reply *r, struct test *t, int64_t took_ms)
{
    const struct queue_trial *trial = &t->trial;
    const struct outcome *o = &trial->outcome;
    struct buf out;
    char enhanced[16];
    snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", o->enhanced[0], o->enhanced[1],
             o->enhanced[2]);
    struct json j = reply_json(&out);
    json_text(&j, "gateway", trial->gateway);
    json_bool(&j, "ok", o->class == OUTCOME_OK);
    json_text(&j, "class", outcome_class_name(o->class));
    json_text(&j, "phase", outcome_phase_name(o->phase));
    json_int(&j, "code", o->code);
    json_text(&j, "enhanced", o->enhanced[0] != 0 ? enhanced : NULL);
    json_text(&j, "where", o->where);
    json_text(&j, "text", o->text);
    json_text(&j, "verdict", trial->verdict);
    json_text(&j, "facts", trial->facts);
    json_int(&j, "took_ms", took_ms);
    json_str(&j, "transcript", buf_str(&trial->transcript));
    reply_json_send(r, &j);
}

static void on_tried(struct queue_trial *trial)
{
    struct test *t = container_of(trial, struct test, trial);
    struct reply *r = t->reply;
    int64_t took_ms = (clock_mono_us() - t->began_us) / 1000;
    if (r != NULL) {
        r->gone = NULL;
        if (r->json)
            tell_json(r, t, took_ms);
        else
            tell_text(r, t, took_ms);
        reply_end(r, status_of(&trial->outcome));
    }
    test_free(t);
}

static void on_gone(struct reply *r)
{
    ((struct test *)r->ctx)->reply = NULL;
}

static bool read_depth(struct reply *r, const char *text, enum conf_probe_depth *depth_out)
{
    static const char *const words[] = {
        [PROBE_TCP] = "tcp", [PROBE_TLS] = "tls", [PROBE_EHLO] = "ehlo", [PROBE_AUTH] = "auth"};
    *depth_out = PROBE_AUTH;
    if (text == NULL)
        return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *depth_out = (enum conf_probe_depth)i;
            return true;
        }
    }
    reply_error(r, "waypost gateway test: --depth takes tcp, tls, ehlo or auth, not `%s`", text);
    return false;
}

static bool read_address(struct reply *r, const char *option, const char *text)
{
    if (text == NULL || (envelope_domain(str_of(text)).len > 0 && strpbrk(text, " <>\r\n") == NULL))
        return true;
    reply_error(r, "waypost gateway test: %s takes an address such as you@example.org, not `%s`",
                option, text);
    return false;
}

// Who it is from: what the gateway lets through.
static const char *usual_sender(struct reply *r, const struct conf_gateway *g)
{
    const struct conf *conf = r->control->conf;
    for (size_t i = 0; i < g->sender_count; i++)
        if (strpbrk(g->senders[i], "*?") == NULL && strchr(g->senders[i], '@') != NULL)
            return g->senders[i];
    if (g->user != NULL && strchr(g->user, '@') != NULL)
        return g->user;
    return conf->postmaster != NULL ? conf->postmaster
                                    : arena_printf(r->arena, "postmaster@%s", conf->hostname);
}

static void begin(struct reply *r, const struct conf_gateway *g, enum conf_probe_depth depth,
                  const char *from, const char *to)
{
    struct test *t = xcalloc(1, sizeof(*t));
    struct queue_trial *trial = &t->trial;
    struct err err = {0};
    t->reply = r;
    t->began_us = clock_mono_us();
    trial->arena = arena_new();
    trial->gateway = arena_strdup(trial->arena, g->name);
    trial->depth = depth;
    trial->sender = str_of(arena_strdup(trial->arena, from != NULL ? from : usual_sender(r, g)));
    trial->rcpt = str_of(arena_strdup(trial->arena, to != NULL ? to : ""));
    trial->done = on_tried;
    buf_init(&trial->transcript, 1 << 20);
    r->ctx = t;
    r->gone = on_gone;
    if (queue_try(r->control->parts.queue, trial, &err))
        return;
    r->gone = NULL;
    reply_error(r, "waypost: %s", err.text);
    test_free(t);
    reply_end(r, EX_UNAVAILABLE);
}

void cmd_gateway_test(struct reply *r)
{
    const char *from = reply_option(r, "--from"), *to = reply_option(r, "--to"),
               *depth_text = reply_option(r, "--depth");
    enum conf_probe_depth depth;
    if (!read_depth(r, depth_text, &depth) || !read_address(r, "--to", to) ||
        !read_address(r, "--from", from)) {
        reply_end(r, EX_USAGE);
        return;
    }
    if (!reply_args(r, 1, 1))
        return;
    const struct conf_gateway *g = control_gateway(r, r->argv[0]);
    if (g != NULL)
        begin(r, g, depth, from, to);
}
