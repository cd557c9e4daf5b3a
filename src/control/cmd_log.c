// SPDX-License-Identifier: ISC
// log: what happened to mail, from the index.
//
// Each look goes: the index has seen everything committed (barrier) -> a worker asks SQLite ->
// the answer is written on the conductor's loop -> the end, or a timer for the next look. The
// client may go away at any of these points; then the look is freed at the next one.
#include "base/mem.h"
#include "base/timefmt.h"
#include "control/bad_addresses.h"
#include "control/command.h"
#include "control/timeline.h"
#include "sys/clock.h"
#include "sys/stream.h"
#include "sys/worker.h"

enum {
    LOG_MAX = 100000,     // of --max
    LOG_PAGE = 500,       // of one question to the index
    LOG_PAGES = 200,      // looked through for the mail of one user
    WAIT_LOOK_MS = 50,    // between two looks with --wait
    FOLLOW_LOOK_MS = 400, // with -f
    DEFERRED_MS = 2000,   // a next try later than this is not waited for
    WAIT_MOST_S = 86400,
};

struct look {
    struct work work; // first
    struct reply *r;  // NULL: the client is gone
    struct loop *loop;
    struct store *store;
    const char *dir;
    struct conf *conf; // owns dir
    struct index *index;
    struct timer timer;
    bool timer_set; // waiting for the next look: nothing else is under way

    // What is asked.
    enum { LOOK_ONE, LOOK_LIST, LOOK_FOLLOW, LOOK_ADDRESSES } kind;
    uint64_t id;
    struct index_filter filter; // its texts live in `texts`
    struct arena *texts;
    struct str own; // only mail of this client; empty: any
    bool transcripts, waits;
    bool invalid, csv; // ADDRESSES
    int64_t until_ms;  // loop time

    // What was found. The arena is the answer's.
    struct arena *arena;
    struct index_message message, *messages;
    struct bad_address *addresses;
    size_t count;
    int found;
    uint64_t position;
    bool positioned;
    bool past; // FOLLOW: found by time, not by change
    struct err err;

    size_t told; // events
    bool headed, deferred;
};

static void look_free(struct look *l)
{
    timer_stop(&l->timer);
    index_close(&l->index);
    arena_free(&l->arena);
    arena_free(&l->texts);
    conf_unref(&l->conf);
    xfree(l);
}

static void on_gone(struct reply *r)
{
    struct look *l = r->ctx;
    l->r = NULL;
    if (l->timer_set)
        look_free(l);
}

static void end(struct look *l, int status)
{
    struct reply *r = l->r;
    r->gone = NULL;
    look_free(l);
    reply_end(r, status);
}

// ---- Asking, on a worker ----

static void keep(struct look *l, const struct index_message *m)
{
    struct index_message *k = &l->messages[l->count++];
    *k = *m;
    k->sender = arena_dup(l->arena, m->sender);
    k->recipients = arena_dup(l->arena, m->recipients);
    k->subject = arena_dup(l->arena, m->subject);
    k->client = arena_dup(l->arena, m->client);
    k->user = arena_dup(l->arena, m->user);
    k->gateway = arena_dup(l->arena, m->gateway);
}

// The index is not ordered by client: others' mail is passed over, newest first, within bounds.
static bool find_own(struct look *l)
{
    struct arena *arena = arena_new();
    struct index_filter page = l->filter;
    struct index_message *found;
    size_t n = LOG_PAGE;
    bool ok = true;
    page.limit = LOG_PAGE;
    l->messages = arena_alloc(l->arena, l->filter.limit * sizeof(*l->messages));
    l->count = 0;
    for (int i = 0; ok && i < LOG_PAGES && n == LOG_PAGE && l->count < l->filter.limit; i++) {
        arena_clear(arena);
        ok = index_find(l->index, &page, arena, &found, &n, &l->err);
        for (size_t k = 0; ok && k < n && l->count < l->filter.limit; k++)
            if (str_eq(found[k].client, l->own))
                keep(l, &found[k]);
        if (ok && n > 0)
            page.before_id = found[n - 1].id;
    }
    arena_free(&arena);
    return ok;
}

static bool find(struct look *l)
{
    return l->own.len > 0
               ? find_own(l)
               : index_find(l->index, &l->filter, l->arena, &l->messages, &l->count, &l->err);
}

// What happens from now on; the first time, with --since, what happened before.
static bool follow(struct look *l)
{
    l->count = 0;
    l->past = !l->positioned && l->filter.since_ms > 0;
    bool ok = l->positioned ? index_follow(l->index, l->position, LOG_PAGE, l->arena, &l->messages,
                                           &l->count, &l->err)
                            : index_position(l->index, &l->position, &l->err);
    l->positioned = true;
    return ok && (!l->past || find(l));
}

static void ask(struct work *work)
{
    struct look *l = (struct look *)work;
    if (l->index == NULL)
        l->index = index_open(l->dir, &l->err);
    l->found = -1;
    if (l->index == NULL)
        return;
    bool ok = true;
    switch (l->kind) {
    case LOOK_ONE: l->found = index_get(l->index, l->id, l->arena, &l->message, &l->err); return;
    case LOOK_LIST: ok = find(l); break;
    case LOOK_FOLLOW: ok = follow(l); break;
    case LOOK_ADDRESSES:
        ok = bad_addresses_find(l->index, &l->filter, l->own, l->invalid, l->arena, &l->addresses,
                                &l->count, &l->err);
        break;
    }
    l->found = ok ? 1 : -1;
}

static void answer(struct work *work);

static void on_seen(void *ctx)
{
    struct look *l = ctx;
    if (l->r == NULL) {
        look_free(l);
        return;
    }
    l->work = (struct work){.home = l->loop, .work = ask, .done = answer};
    worker_submit(&l->work);
}

static void look_again(struct look *l, int64_t after_ms)
{
    l->timer_set = true;
    timer_start(&l->timer, after_ms);
}

static void look(void *ctx)
{
    struct look *l = ctx;
    l->timer_set = false;
    if (stream_queued(l->r->stream) > LIMIT_CONTROL_QUEUE) {
        look_again(l, FOLLOW_LOOK_MS); // the asker reads slower than we tell
        return;
    }
    arena_clear(l->arena);
    store_index_barrier(l->store, l->loop, on_seen, l);
}

// ---- Answering ----

// Is every recipient that still waits put off for a while? Then nothing will happen soon.
static bool deferred(struct look *l)
{
    struct queue_message_view v;
    int64_t soon = clock_wall_ms() + DEFERRED_MS;
    if (!queue_show(l->r->control->parts.queue, l->id, l->arena, &v))
        return false; // about to leave
    if (v.held || v.send_ms != 0)
        return true;
    for (size_t i = 0; i < v.envelope.count; i++) {
        const struct queue_rcpt_view *p = &v.rcpts[i];
        bool put_off =
            p->last.class != OUTCOME_OK && !p->soon && (p->next_ms == 0 || p->next_ms > soon);
        if (!rcpt_state_final(p->state) && (p->busy || !put_off))
            return false;
    }
    return true;
}

static int wait_status(const struct index_message *m)
{
    if (m->state == RCPT_WAITING)
        return EX_TEMPFAIL;
    return m->state == RCPT_DELIVERED || m->state == RCPT_RELAYED ? 0 : EX_UNAVAILABLE;
}

static void tell_end(struct look *l, int status)
{
    static const char *const ends[] = {[RCPT_DELIVERED] = "delivered",
                                       [RCPT_RELAYED] = "the gateway has taken it",
                                       [RCPT_RETURNED] = "; the sender is told",
                                       [RCPT_BAD] = "",
                                       [RCPT_DROPPED] = "dropped"};
    const struct index_message *m = &l->message;
    const char *id = l->r->argv[0];
    size_t failed = 0;
    for (size_t i = 0; i < m->envelope.count; i++)
        failed += m->states[i] == RCPT_RETURNED || m->states[i] == RCPT_BAD;
    if (status == EX_TEMPFAIL && m->held)
        reply_line(l->r,
                   "on hold; `waypost queue release %s` sends it, `waypost queue drop %s` "
                   "gives it up",
                   id, id);
    else if (status == EX_TEMPFAIL)
        reply_line(l->r, "still waiting; see `waypost log %s` and `waypost queue show %s`", id, id);
    else if ((m->state == RCPT_RETURNED || m->state == RCPT_BAD) && failed < m->envelope.count)
        reply_line(l->r, "could not be delivered to %zu of %zu recipients%s", failed,
                   m->envelope.count, ends[m->state]);
    else if (m->state == RCPT_RETURNED || m->state == RCPT_BAD)
        reply_line(l->r, "could not be delivered%s", ends[m->state]);
    else
        reply_line(l->r, "%s", ends[m->state]);
}

static void answer_wait(struct look *l)
{
    const struct index_message *m = &l->message;
    bool over = loop_now_ms(l->loop) >= l->until_ms;
    // The queue knows of a trouble before the index does, so what was read may be of before it: it
    // is told after a look that began when all was put off already.
    bool was_deferred = l->deferred;
    l->deferred = l->found == 1 && deferred(l);
    if (l->found == 1 && !l->headed)
        timeline_head(l->r, m, false);
    l->headed |= l->found == 1;
    if (l->found == 1 && m->event_count > l->told) {
        timeline_events(l->r, m, l->told, l->transcripts);
        l->told = m->event_count;
    }
    if (l->found == 1 &&
        (over || m->ended_ms > 0 || m->state != RCPT_WAITING || (was_deferred && l->deferred))) {
        int status = wait_status(m);
        tell_end(l, status);
        end(l, status);
    } else if (over) {
        reply_line(l->r, "still waiting");
        end(l, EX_TEMPFAIL);
    } else {
        look_again(l, l->deferred ? 1 : WAIT_LOOK_MS);
    }
}

static void answer_one(struct look *l)
{
    if (l->found == 0) {
        reply_error(l->r,
                    "waypost: nothing is known of %s; what left is remembered for the time "
                    "of `queue.keep`",
                    l->r->argv[0]);
        end(l, EX_DATAERR);
        return;
    }
    if (l->r->json) {
        timeline_json(l->r, &l->message, l->transcripts);
    } else {
        timeline_head(l->r, &l->message, true);
        timeline_events(l->r, &l->message, 0, l->transcripts);
    }
    end(l, 0);
}

static void list(struct look *l, const struct index_message *m)
{
    if (l->r->json)
        timeline_list_json(l->r, m);
    else
        timeline_list_line(l->r, m);
}

static void head_once(struct look *l)
{
    if (!l->headed && !l->r->json)
        timeline_list_head(l->r);
    l->headed = true;
}

// The index gives the newest first; people read downwards.
static void answer_list(struct look *l)
{
    if (l->count > 0)
        head_once(l);
    else if (!l->r->json)
        reply_line(l->r, "nothing is known that fits");
    for (size_t i = l->count; i > 0; i--)
        list(l, &l->messages[i - 1]);
    end(l, 0);
}

// As index_find understands it: a part, or with * or ? the whole.
static bool fits(struct look *l, struct str wanted, struct str text)
{
    if (wanted.len == 0)
        return true;
    if (str_find(wanted, '*') == wanted.len && str_find(wanted, '?') == wanted.len)
        wanted = str_of(arena_printf(l->arena, "*%.*s*", STR_FMT(wanted)));
    return str_glob(wanted, text);
}

static bool fits_any(struct look *l, struct str wanted, struct str addresses)
{
    struct str address;
    bool found = fits(l, wanted, addresses);
    while (!found && str_split(&addresses, ' ', &address))
        found = fits(l, wanted, address);
    return found;
}

static bool wanted(struct look *l, const struct index_message *m)
{
    const struct index_filter *f = &l->filter;
    return (l->own.len == 0 || str_eq(m->client, l->own)) && m->accepted_ms >= f->since_ms &&
           fits(l, f->sender, m->sender) && fits_any(l, f->recipient, m->recipients) &&
           (f->gateway.len == 0 || str_eq(f->gateway, m->gateway)) &&
           (f->class == INDEX_ANY || (m->gateway.len > 0 && (int)m->class == f->class)) &&
           (fits(l, f->text, m->sender) || fits_any(l, f->text, m->recipients) ||
            fits(l, f->text, m->subject));
}

static void answer_follow(struct look *l)
{
    head_once(l);
    for (size_t i = l->count; l->past && i > 0; i--)
        list(l, &l->messages[i - 1]);
    for (size_t i = 0; !l->past && i < l->count; i++) {
        l->position = l->messages[i].position;
        if (wanted(l, &l->messages[i]))
            list(l, &l->messages[i]);
    }
    look_again(l, !l->past && l->count == LOG_PAGE ? 0 : FOLLOW_LOOK_MS);
}

static void answer(struct work *work)
{
    struct look *l = (struct look *)work;
    if (l->r == NULL) {
        look_free(l);
        return;
    }
    if (l->found == 1 && l->kind == LOOK_ONE && !reply_sees(l->r, l->message.client))
        l->found = 0;
    if (l->found < 0) {
        reply_error(l->r, "waypost: %s", l->err.text);
        end(l, EX_UNAVAILABLE);
    } else if (l->waits) {
        answer_wait(l);
    } else if (l->kind == LOOK_ONE) {
        answer_one(l);
    } else if (l->kind == LOOK_LIST) {
        answer_list(l);
    } else if (l->kind == LOOK_ADDRESSES) {
        bad_addresses_tell(l->r, l->addresses, l->count, l->csv);
        end(l, 0);
    } else {
        answer_follow(l);
    }
}

// ---- The question ----

static bool refuse(struct reply *r, const char *why, const char *value)
{
    reply_error(r, "waypost log: %s, not `%s`", why, value);
    reply_end(r, EX_USAGE);
    return false;
}

static struct str text_option(struct look *l, const char *name)
{
    const char *value = reply_option(l->r, name);
    return value != NULL ? str_of(arena_strdup(l->texts, value)) : (struct str){0};
}

static bool read_filter(struct look *l)
{
    struct reply *r = l->r;
    struct index_filter *f = &l->filter;
    const char *class = reply_option(r, "--class"), *since = reply_option(r, "--since"),
               *max = reply_option(r, "--max"), *folder = reply_option(r, "--folder");
    enum outcome_class number;
    int64_t span;
    uint64_t limit;
    *f = INDEX_FILTER_ALL;
    f->sender = text_option(l, "--from");
    f->recipient = text_option(l, "--to");
    f->gateway = text_option(l, "--gateway");
    f->text = text_option(l, "--text");
    if (folder != NULL && !index_folder_parse(str_of(folder), &f->folder))
        return refuse(r, "--folder takes outbox, held, sent, bad, bounced or deleted", folder);
    if (class != NULL) {
        if (!outcome_class_parse(str_of(class), &number))
            return refuse(r,
                          "--class takes ok, offline, net, dns, no-record, tls, auth, quota, "
                          "reputation, busy, refused, doubt or local",
                          class);
        f->class = (int)number;
    }
    if (since != NULL) {
        if (!time_parse_span(str_of(since), &span))
            return refuse(r, "--since takes a time such as 90s, 5m, 4h or 2d", since);
        f->since_ms = clock_wall_ms() - span;
    }
    if (max != NULL) {
        if (!str_u64(str_of(max), LOG_MAX, &limit) || limit == 0)
            return refuse(r, "--max takes a number up to 100000", max);
        f->limit = (size_t)limit;
    }
    if (r->own.len > 0 && f->limit > LIMIT_CONTROL_LOG)
        return refuse(r, "--max takes a number up to 1000 here", max);
    return true;
}

static bool read_addresses(struct look *l, bool follow)
{
    struct reply *r = l->r;
    const char *which = reply_option(r, "--addresses");
    l->csv = reply_flag(r, "--csv");
    if (which == NULL && !l->csv)
        return true;
    if (which == NULL || (strcmp(which, "failed") != 0 && strcmp(which, "invalid") != 0))
        return refuse(r, "--addresses takes failed or invalid, and --csv goes with it",
                      which != NULL ? which : "--csv");
    if (follow || r->argc > 0)
        return refuse(r, "--addresses goes without an id and without -f", which);
    l->kind = LOOK_ADDRESSES;
    l->invalid = strcmp(which, "invalid") == 0;
    if (l->filter.limit == INDEX_FILTER_ALL.limit)
        l->filter.limit = r->own.len > 0 ? LIMIT_CONTROL_LOG : LOG_MAX;
    return true;
}

static bool read_question(struct look *l)
{
    struct reply *r = l->r;
    const char *wait = reply_option(r, "--wait");
    uint64_t seconds = WAIT_MOST_S;
    bool follow = reply_flag(r, "-f") | reply_flag(r, "--follow");
    l->transcripts = reply_flag(r, "--transcript");
    if (!read_filter(l) || !read_addresses(l, follow))
        return false;
    if (follow && l->filter.folder != INDEX_ALL)
        return refuse(r, "--folder goes without -f", "-f");
    if (wait != NULL && !str_u64(str_of(wait), WAIT_MOST_S, &seconds))
        return refuse(r, "--wait takes seconds", wait);
    if (r->argc > 1 || (r->argc == 1 && r->argv[0][0] == '-'))
        return refuse(r, "one message id, or options of `waypost help log`", r->argv[r->argc - 1]);
    if (r->argc == 0) {
        if (l->kind != LOOK_ADDRESSES)
            l->kind = follow ? LOOK_FOLLOW : LOOK_LIST;
        return true;
    }
    l->kind = LOOK_ONE;
    l->waits = wait != NULL || follow;
    l->until_ms = loop_now_ms(l->loop) + (int64_t)seconds * 1000;
    return reply_id(r, r->argv[0], &l->id);
}

void cmd_log(struct reply *r)
{
    struct look *l = xcalloc(1, sizeof(*l));
    const struct control_parts *parts = &r->control->parts;
    l->r = r;
    l->loop = parts->loop;
    l->store = parts->store;
    l->conf = conf_ref(r->control->conf);
    l->dir = l->conf->spool_dir;
    l->arena = arena_new();
    l->texts = arena_new();
    l->own = arena_dup(l->texts, r->own);
    timer_init(&l->timer, l->loop, look, l);
    r->ctx = l;
    if (!read_question(l)) {
        look_free(l);
        return;
    }
    r->gone = on_gone;
    look(l);
}
