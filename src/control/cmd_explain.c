// SPDX-License-Identifier: ISC
// route explain: why mail goes the way it goes, for a waiting message, one of the past, or one made
// up; also for another place, another time, a gateway that is down.
//
// One that is no longer in the queue is read from the history on a worker; then each of its
// recipients is explained in turn, as the mail exchangers may have to be looked up. The client may
// go at any of these points: then the work is freed at the next one.
#include "base/base64.h"
#include "base/mem.h"
#include "conf/schema.h"
#include "control/command.h"
#include "control/words.h"
#include "spool/index.h"
#include "mail/address.h"
#include "sys/clock.h"
#include "sys/worker.h"

#include <stdio.h>

enum { TEXT_BYTES = 4 << 20, EXPLAINED = 20, DOWN_MOST = 32 };

struct explain {
    struct work work;    // first
    struct reply *reply; // NULL: the asker went away
    struct loop *loop;
    struct queue *queue;
    struct conf *conf;   // owns the spool's directory
    struct arena *arena; // owns everything below
    bool json;
    struct queue_assume assume;
    struct envelope envelope;
    uint64_t size;
    size_t at; // the recipient that is explained
    uint64_t id;
    int found;
    struct index_message message;
    struct err err;
    struct buf ways;
};

static void explain_free(struct explain *x)
{
    buf_free(&x->ways);
    arena_free(&x->arena);
    conf_unref(&x->conf);
    xfree(x);
}

static void on_gone(struct reply *r)
{
    ((struct explain *)r->ctx)->reply = NULL;
}

// Ends the reply, if there still is one, and the work.
static void end(struct explain *x, int status)
{
    struct reply *r = x->reply;
    explain_free(x);
    if (r == NULL)
        return;
    r->gone = NULL;
    reply_end(r, status);
}

static void say_ways(struct reply *r, struct str ways)
{
    struct buf out;
    if (!r->json) {
        reply_text(r, ways);
        return;
    }
    buf_init(&out, TEXT_BYTES + 64);
    buf_printf(&out, "{\"schema\":1,\"ways\":[%.*s]}\n", STR_FMT(ways));
    reply_text(r, buf_str(&out));
    buf_free(&out);
}

// ---- Of an envelope, recipient by recipient ----

static void explain_next(struct explain *x);

static void on_explained(void *ctx, struct str text)
{
    struct explain *x = ctx;
    if (x->json && x->ways.len > 0)
        buf_putc(&x->ways, ',');
    buf_add(&x->ways, text);
    x->at++;
    explain_next(x);
}

static void explain_next(struct explain *x)
{
    size_t count = x->envelope.count < EXPLAINED ? x->envelope.count : EXPLAINED;
    if (x->reply == NULL) {
        explain_free(x);
    } else if (x->at < count) {
        queue_explain_envelope(x->queue, &x->envelope, x->envelope.rcpts[x->at].address, x->size,
                               &x->assume, x->json, on_explained, x);
    } else {
        say_ways(x->reply, buf_str(&x->ways));
        if (count < x->envelope.count && !x->json)
            reply_line(x->reply, "and %zu more recipients", x->envelope.count - count);
        end(x, 0);
    }
}

// ---- Of the past ----

static const struct index_event *last_attempt(const struct index_message *m)
{
    const struct index_event *last = NULL;
    for (size_t i = 0; i < m->event_count; i++)
        if (m->events[i].kind == INDEX_ATTEMPT && m->events[i].gateway.len > 0)
            last = &m->events[i];
    return last;
}

// What happened then comes first, so that nobody takes the answer for it.
static void tell_past(struct explain *x)
{
    struct reply *r = x->reply;
    const struct index_message *m = &x->message;
    const struct index_event *e = last_attempt(m);
    int64_t now = clock_wall_ms();
    char id[ID_TEXT_SIZE], accepted[WORDS_TEXT], when[WORDS_TEXT];
    id_format(m->id, id);
    words_when(m->accepted_ms, now, accepted);
    if (e == NULL)
        reply_line(r, "%s came in %s and is %s; it was never tried", id, accepted,
                   rcpt_state_name(m->state));
    else
        reply_line(r, "%s came in %s and is %s: %s, by %.*s%s%.*s", id, accepted,
                   rcpt_state_name(m->state), words_when(e->wall_ms, now, when),
                   STR_FMT(e->gateway), e->facts.len > 0 ? ", " : "", STR_FMT(e->facts));
    reply_line(r, "all of it: waypost log %s. The same mail now would go this way:", id);
}

static void read_past(struct work *work)
{
    struct explain *x = (struct explain *)work;
    struct index *index = index_open(x->conf->spool_dir, &x->err);
    x->found = -1;
    if (index != NULL)
        x->found = index_get(index, x->id, x->arena, &x->message, &x->err);
    // What was found lives in the arena.
    index_close(&index);
}

static bool past_is_seen(struct explain *x)
{
    struct str client = x->message.envelope.client;
    return x->found == 1 && reply_sees(x->reply, client);
}

static void on_past(struct work *work)
{
    struct explain *x = (struct explain *)work;
    char id[ID_TEXT_SIZE];
    if (x->reply == NULL) {
        explain_free(x);
        return;
    }
    if (!past_is_seen(x)) {
        id_format(x->id, id);
        if (x->found < 0)
            reply_error(x->reply, "waypost: %s", x->err.text);
        else
            reply_error(x->reply, "waypost: %s is neither in the queue nor in the history", id);
        end(x, x->found < 0 ? EX_UNAVAILABLE : EX_DATAERR);
        return;
    }
    if (!x->json)
        tell_past(x);
    x->envelope = x->message.envelope;
    x->size = x->message.size;
    explain_next(x);
}

static void on_seen(void *ctx)
{
    struct explain *x = ctx;
    x->work = (struct work){.home = x->loop, .work = read_past, .done = on_past};
    worker_submit(&x->work);
}

// ---- The question ----

static bool refuse(struct reply *r, const char *option, const char *takes, const char *typed)
{
    reply_error(r, "waypost route explain: %s takes %s, not `%s`", option, takes, typed);
    return false;
}

static bool read_networks(struct explain *x, const char *text)
{
    const struct conf *conf = x->conf;
    struct str rest = str_of(text), name;
    x->assume.networks_given = true;
    while (str_split(&rest, ',', &name)) {
        struct conf_nearest near = {0};
        size_t i = 0;
        name = str_trim(name);
        while (i < conf->network_count && !str_eq(name, str_of(conf->networks[i].name)))
            conf_nearest_offer(&near, name, conf->networks[i++].name);
        if (i < conf->network_count) {
            x->assume.networks |= UINT64_C(1) << i;
        } else if (!str_eq(name, STR("none"))) {
            reply_error(x->reply, "waypost: there is no network `%.*s`%s%s%s", STR_FMT(name),
                        near.word != NULL ? "; did you mean `" : "",
                        near.word != NULL ? near.word : "",
                        near.word != NULL ? "`?" : "; see `waypost network`");
            return false;
        }
    }
    return true;
}

static bool read_assumed(struct explain *x, const char *text)
{
    struct reply *r = x->reply;
    struct str rest = str_of(text), name;
    const struct conf *conf = x->conf;
    str_split(&rest, '=', &name);
    if (!str_eq(rest, STR("down")))
        return refuse(r, "--assume", "GATEWAY=down", text);
    const struct conf_gateway *g = conf_gateway_find(conf, name);
    struct conf_nearest near = {0};
    for (size_t i = 0; g == NULL && i < conf->gateway_count; i++)
        conf_nearest_offer(&near, name, conf->gateways[i].name);
    if (g == NULL) {
        reply_error(r, "waypost: there is no gateway `%.*s`%s%s%s", STR_FMT(name),
                    near.word != NULL ? "; did you mean `" : "", near.word != NULL ? near.word : "",
                    near.word != NULL ? "`?" : "");
        return false;
    }
    if (x->assume.down_count == DOWN_MOST)
        return refuse(r, "--assume", "no more than 32 gateways", text);
    ((const char **)(uintptr_t)x->assume.down)[x->assume.down_count++] = g->name;
    return true;
}

static bool read_header(struct explain *x, const char *text)
{
    struct envelope *e = &x->envelope;
    struct str rest = str_of(text), name;
    if (str_find(rest, ':') == rest.len || !str_split(&rest, ':', &name) || name.len == 0)
        return refuse(x->reply, "--header", "a field such as \"X-Class: bulk\"", text);
    if (e->header_count == LIMIT_KEPT_HEADERS)
        return refuse(x->reply, "--header", "no more than 16 fields", text);
    char *lower = arena_str(x->arena, name);
    for (char *c = lower; *c != '\0'; c++)
        *c = ascii_lower(*c);
    e->headers[e->header_count++] = (struct envelope_header){
        .name = str_of(lower), .text = arena_dup(x->arena, str_trim(rest))};
    return true;
}

static bool read_class(struct explain *x, const char *text)
{
    static const char *const words[] = {"low", "normal", "urgent"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, words[i]) == 0) {
            x->envelope.priority = (enum envelope_priority)i;
            return true;
        }
    }
    return refuse(x->reply, "--class", "low, normal or urgent", text);
}

// A clock time that is over today is tomorrow's. What was decided in the past is kept, not
// explained anew by the state of now.
static bool read_moment(struct explain *x, const char *text)
{
    enum { DAY_MS = 24 * 3600 * 1000 };
    int64_t now = clock_wall_ms(), *at = &x->assume.at_ms;
    struct str when = str_of(text);
    bool clock_only = str_find(when, '-') == when.len;
    if (!words_parse_when(when, now, at))
        return refuse(x->reply, "--at", "a moment such as \"2026-12-01 08:00\" or 08:00", text);
    if (*at < now && clock_only)
        words_parse_when(when, now + DAY_MS, at);
    if (*at >= now)
        return true;
    reply_error(x->reply,
                "waypost route explain: `%s` is in the past, and what gateways and quotas were "
                "like then is not known any more; what was decided stands in `waypost log ID`",
                text);
    return false;
}

static bool read_place(struct explain *x)
{
    struct reply *r = x->reply;
    const char *networks = reply_option(r, "--on-network"), *at = reply_option(r, "--at"), *down;
    x->assume.down = arena_alloc(x->arena, DOWN_MOST * sizeof(*x->assume.down));
    if (networks != NULL && !read_networks(x, networks))
        return false;
    while ((down = reply_option(r, "--assume")) != NULL)
        if (!read_assumed(x, down))
            return false;
    return at == NULL || read_moment(x, at);
}

static struct str text_option(struct explain *x, const char *name)
{
    const char *value = reply_option(x->reply, name);
    return value != NULL ? str_of(arena_strdup(x->arena, value)) : (struct str){0};
}

// Only <postmaster> goes without a domain, as where mail is accepted.
static bool read_recipient(struct explain *x, const char *text)
{
    struct address a;
    const char *why;
    const struct conf *conf = x->conf;
    if (!address_parse(str_of(text), ADDRESS_BARE | ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &a, &why)) {
        reply_error(x->reply, "waypost route explain: `%s` is no address: %s", text, why);
        return false;
    }
    const char *whole = arena_str(x->arena, address_str(&a));
    bool postmaster = strcasecmp(whole, "postmaster") == 0;
    if (address_domain(&a).len == 0 && !postmaster) {
        reply_error(x->reply,
                    "waypost route explain: `%s` is no address: it has no @ and domain; a name of "
                    "this machine, which sendmail takes, is %s@%s",
                    text, whole, conf->hostname);
        return false;
    }
    if (address_domain(&a).len == 0)
        whole = conf->postmaster != NULL ? arena_strdup(x->arena, conf->postmaster)
                                         : arena_printf(x->arena, "%s@%s", whole, conf->hostname);
    envelope_add(&x->envelope, x->arena)->address = str_of(whole);
    return true;
}

static bool read_mail(struct explain *x)
{
    struct reply *r = x->reply;
    struct envelope *e = &x->envelope;
    const char *to, *field, *size = reply_option(r, "--size"), *class = reply_option(r, "--class");
    e->priority = PRIORITY_NORMAL;
    e->accepted_ms = clock_wall_ms();
    e->headers = arena_alloc(x->arena, LIMIT_KEPT_HEADERS * sizeof(*e->headers));
    e->sender = text_option(x, "--from");
    if (e->sender.ptr == NULL)
        e->sender = str_of(arena_printf(x->arena, "someone@%s", x->conf->hostname));
    else if (str_eq(e->sender, STR("<>")))
        e->sender = STR("");
    e->client = text_option(x, "--client");
    e->user = text_option(x, "--user");
    e->listener = text_option(x, "--listener");
    if (e->client.len == 0)
        e->client = STR("127.0.0.1");
    while ((to = reply_option(r, "--to")) != NULL)
        if (!read_recipient(x, to))
            return false;
    while ((field = reply_option(r, "--header")) != NULL)
        if (!read_header(x, field))
            return false;
    if (size != NULL && !words_parse_size(str_of(size), &x->size))
        return refuse(r, "--size", "a size such as 300k or 10M", size);
    return class == NULL || read_class(x, class);
}

// Says so when it is in the queue.
static bool explain_waiting(struct explain *x)
{
    struct reply *r = x->reply;
    struct queue_message_view v;
    struct json j = json_to(&x->ways);
    if (!queue_show(x->queue, x->id, x->arena, &v) || !reply_sees(r, v.envelope.client) ||
        !queue_explain(x->queue, x->id, &x->assume, r->json ? NULL : &x->ways, r->json ? &j : NULL))
        return false;
    say_ways(r, buf_str(&x->ways));
    return true;
}

static void explain_id(struct explain *x)
{
    if (explain_waiting(x))
        end(x, 0);
    else
        store_index_barrier(x->reply->control->parts.store, x->loop, on_seen, x);
}

static struct explain *explain_new(struct reply *r)
{
    struct explain *x = xcalloc(1, sizeof(*x));
    x->reply = r;
    x->loop = r->control->parts.loop;
    x->queue = r->control->parts.queue;
    x->conf = conf_ref(r->control->conf);
    x->arena = arena_new();
    x->json = r->json;
    buf_init(&x->ways, TEXT_BYTES);
    r->ctx = x;
    r->gone = on_gone;
    return x;
}

void cmd_route_explain(struct reply *r)
{
    struct explain *x = explain_new(r);
    if (!read_mail(x) || !read_place(x)) {
        end(x, EX_USAGE);
        return;
    }
    bool made_up = x->envelope.count > 0;
    if (made_up && r->own.len > 0) {
        reply_error(r, "waypost: only root and the user the daemon runs as may ask for mail that "
                       "is made up; your own: waypost route explain ID");
        end(x, EX_NOPERM);
        return;
    }
    const char *text = r->argc > 0 ? r->argv[0] : NULL;
    if (made_up ? r->argc > 0 : r->argc != 1 || (text[0] == '-' && text[1] != '\0')) {
        explain_free(x);
        r->gone = NULL;
        reply_args(r, !made_up, !made_up); // says what is wrong
        return;
    }
    if (made_up) {
        explain_next(x);
    } else if (!id_parse(str_of(text), &x->id) || x->id == 0) {
        explain_free(x);
        r->gone = NULL;
        reply_id(r, text, &(uint64_t){0}); // says why not
    } else {
        explain_id(x);
    }
}
