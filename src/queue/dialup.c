// SPDX-License-Identifier: ISC
// Networks that are dialled when mail needs them, and hung up when none does.
//
// Mail that would go if only such a network held waits in that network's own lane, aside like all
// that has no way. So how much waits for a line is a count, exact whatever becomes of the mail:
// what is held, removed, or for a later time stands in no lane.
//
//   LINE_IDLE      not ours: it holds by itself, or nobody dialled
//   LINE_DIALLING  the command runs
//   LINE_OURS      the command ended well; until `seen` the network has still to hold
//   LINE_ENDING    the command that hangs up runs
//
// Invariants
//  1. Only a line that is ours is hung up. That it is ours outlives the process, as long as the
//     network holds at the next start.
//  2. One program a line at a time.
//  3. While what waits in a lane is planned anew, its count says nothing about the network of that
//     lane: nothing is dialled for it.
#include "queue/queue_int.h"

#include "base/mem.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "spool/state.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/process.h"

#include <stdio.h>

enum { LONGER_MAX = 3, SAID = 200 }; // doublings of `again`; bytes of a program's words

enum line_state { LINE_IDLE, LINE_DIALLING, LINE_OURS, LINE_ENDING };

struct line {
    struct queue *q;
    char *name;   // of its network
    size_t index; // of that, and of its lane
    enum line_state state;
    bool seen, came;      // ours: the network holds; it held at some time
    const char *given_up; // ending: the network did not come, and why; NULL: nothing needs it
    unsigned failures;
    struct process *process;
    // All by the monotonic clock, in ms.
    int64_t since_ms;  // in this state
    int64_t wanted_ms; // since when mail waits for it; 0: none does
    int64_t again_ms;  // not dialled before
    int64_t used_ms;   // the last that went over it
};

struct dialups {
    struct lane lanes[CONF_NETWORKS];  // by index of conf
    struct line *lines[CONF_NETWORKS]; // NULL: not dialled
};

static const struct conf_network *network_of(const struct line *l)
{
    return &l->q->conf->networks[l->index];
}

static struct lane *lane_of(const struct line *l)
{
    return &l->q->dialups->lanes[l->index];
}

static bool holds(const struct line *l)
{
    return (l->q->place.networks >> l->index & 1) != 0;
}

static bool is_bound(const struct conf_gateway *g, size_t network)
{
    return (g->networks >> network & 1) != 0;
}

static void remember(struct line *l, bool ours)
{
    char key[300];
    snprintf(key, sizeof(key), "dialled:%.200s", l->name);
    if (l->q->parts.state != NULL)
        state_set(l->q->parts.state, key, ours ? STR("yes") : STR(""));
}

static void set_state(struct line *l, enum line_state state)
{
    bool was_ours = l->state == LINE_OURS || l->state == LINE_ENDING;
    bool ours = state == LINE_OURS || state == LINE_ENDING;
    l->state = state;
    l->since_ms = l->q->mono_ms;
    if (was_ours != ours)
        remember(l, ours);
}

// ---- Whose mail waits for it ----

// Would it go if the network held?
static bool would_open(const struct plan_input *now, size_t network, uint32_t only)
{
    struct plan_input in = *now;
    struct plan_place place = *now->place;
    struct plan_chain c;
    int64_t until;
    place.networks |= UINT64_C(1) << network;
    place.offline = place.captive = false;
    in.place = &place;
    in.from_step = 0;
    if (only != UINT32_MAX) {
        struct conf_step step = {.gateway = only};
        return is_bound(&in.conf->gateways[only], network) &&
               plan_step_state(&in, &step, &until) == STEP_OPEN;
    }
    plan_chain(&in, &c);
    for (size_t i = 0; i < c.count; i++)
        if (is_bound(&in.conf->gateways[c.steps[i].gateway], network) &&
            plan_chain_state(&in, &c, i, &until) == STEP_OPEN)
            return true;
    return false;
}

struct lane *dialup_aside(struct queue *q, const struct plan_input *in, uint32_t only)
{
    for (size_t i = 0; i < q->conf->network_count; i++)
        if (q->conf->networks[i].dial.command_count > 0 && (q->place.networks >> i & 1) == 0 &&
            would_open(in, i, only))
            return &q->dialups->lanes[i];
    return &q->aside;
}

struct lane *dialup_lane(struct queue *q, size_t network)
{
    return &q->dialups->lanes[network];
}

size_t dialup_waiting(struct queue *q)
{
    size_t n = 0;
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        n += q->dialups->lanes[i].count;
    return n;
}

// ---- Its programs ----

static void first_line(struct str output, struct buf *out)
{
    struct str rest = output, line;
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (line.len == 0)
            continue;
        buf_puts(out, ": ");
        utf8_escape(out, str_make(line.ptr, line.len < SAID ? line.len : SAID));
        return;
    }
}

// Longer after each failure, so that a line that is dead, or costs by the call, is left alone.
static void failed(struct line *l, const char *why)
{
    char span[TIME_TEXT];
    unsigned longer = l->failures < LONGER_MAX ? l->failures : LONGER_MAX;
    int64_t wait_ms = network_of(l)->dial.again_ms << longer;
    l->failures++;
    l->again_ms = l->q->mono_ms + wait_ms;
    set_state(l, LINE_IDLE);
    log_warn("dial-failed", 0, "network %s could not be dialled: %s; mail waits, next try in %s",
             l->name, why, time_span(wait_ms, span));
}

static void dialled(struct line *l)
{
    char span[TIME_TEXT];
    log_info("dialled", 0, "network %s was dialled in %s, for %zu that wait", l->name,
             time_span(l->q->mono_ms - l->since_ms, span), lane_of(l)->count);
    l->seen = l->came = false;
    l->used_ms = l->q->mono_ms;
    set_state(l, LINE_OURS);
}

static void hung_up(struct line *l)
{
    if (l->given_up != NULL) {
        failed(l, l->given_up);
        return;
    }
    log_info("hung-up", 0, "network %s was hung up", l->name);
    set_state(l, LINE_IDLE);
}

// A line that cannot be hung up may cost money: it stays ours, and is tried again. Of one that was
// lost, the command may well say that there is nothing to end.
static void still_up(struct line *l, const char *why)
{
    log_warn("hang-up-failed", 0, "network %s could not be hung up: %s; it may still be connected",
             l->name, why);
    if (l->given_up != NULL) {
        hung_up(l);
        return;
    }
    l->used_ms = l->q->mono_ms;
    set_state(l, holds(l) ? LINE_OURS : LINE_IDLE);
}

// The program is over; `why` NULL: it did its work.
static void settle(struct line *l, const char *why)
{
    bool dialling = l->state == LINE_DIALLING;
    process_free(&l->process);
    if (dialling && why == NULL)
        dialled(l);
    else if (dialling)
        failed(l, why);
    else if (why == NULL)
        hung_up(l);
    else
        still_up(l, why);
    queue_wake(l->q);
}

static const char *program_of(const struct line *l)
{
    const struct conf_dial *d = &network_of(l)->dial;
    if (l->state == LINE_DIALLING)
        return d->command[0];
    return d->hang_up_count > 0 ? d->hang_up[0] : "it";
}

static void on_ended(void *ctx, const struct process_end *end)
{
    struct line *l = ctx;
    struct buf why;
    queue_now(l->q);
    buf_init(&why, LIMIT_LOG_LINE);
    if (end->signal != 0)
        buf_printf(&why, "%s was killed by signal %d", program_of(l), end->signal);
    else
        buf_printf(&why, "%s ended with status %d", program_of(l), end->status);
    first_line(end->output, &why);
    settle(l, end->status == 0 ? NULL : buf_cstr(&why));
    buf_free(&why);
}

static void on_hungry(void *ctx)
{
    (void)ctx; // there is nothing to read
}

static void run(struct line *l, enum line_state state, const char *const *words, size_t count)
{
    static const struct process_events events = {on_hungry, on_ended};
    struct arena *arena = arena_new();
    struct err err = {0};
    const char **argv = arena_alloc(arena, (count + 1) * sizeof(*argv));
    for (size_t i = 0; i < count; i++)
        argv[i] = words[i];
    argv[count] = NULL;
    const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
                         "LANG=C.UTF-8", arena_printf(arena, "NETWORK=%s", l->name),
                         state == LINE_DIALLING ? "DIAL=up" : "DIAL=down", NULL};
    struct process_how how = {.argv = argv, .env = env, .output_max = LIMIT_PROGRAM_OUTPUT};
    set_state(l, state);
    l->process = process_new(l->q->parts.loop, &how, &events, l, &err);
    if (l->process != NULL)
        process_end_input(l->process);
    else
        settle(l, err.text);
    arena_free(&arena);
}

// ---- When ----

static int64_t dial_at(const struct line *l)
{
    const struct lane *lane = lane_of(l);
    if (holds(l) || lane->replan || l->wanted_ms == 0)
        return INT64_MAX;
    int64_t at = l->wanted_ms;
    if (lane->counts[PRIORITY_URGENT] == 0)
        at += network_of(l)->dial.after_ms;
    return at > l->again_ms ? at : l->again_ms;
}

// What is to be done next in this state.
static int64_t due_at(const struct line *l)
{
    const struct conf_dial *d = &network_of(l)->dial;
    switch (l->state) {
    case LINE_IDLE: return dial_at(l);
    case LINE_DIALLING:
    case LINE_ENDING: return l->since_ms + LIMIT_DIAL_MS;
    case LINE_OURS: break;
    }
    if (!holds(l))
        return l->since_ms + d->again_ms;
    return d->hang_up_count > 0 ? l->used_ms + d->idle_ms : INT64_MAX;
}

// Once in `idle` only, since it looks at all lanes. One that rests needs no line meanwhile.
static bool in_use(const struct line *l)
{
    struct queue *q = l->q;
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(q->lanes, &pos)) != NULL;)
        if (is_bound(&q->conf->gateways[lane->gateway], l->index) &&
            (lane->active > 0 || lane_soon(q, lane)))
            return true;
    return false;
}

static void hang_up(struct line *l, const char *given_up)
{
    const struct conf_dial *d = &network_of(l)->dial;
    l->given_up = given_up;
    if (d->hang_up_count > 0)
        run(l, LINE_ENDING, d->hang_up, d->hang_up_count);
    else if (given_up != NULL)
        failed(l, given_up);
    else
        set_state(l, LINE_IDLE); // it is gone
}

static void act(struct line *l)
{
    const struct conf_dial *d = &network_of(l)->dial;
    switch (l->state) {
    case LINE_IDLE: run(l, LINE_DIALLING, d->command, d->command_count); return;
    case LINE_DIALLING: // what it began may go on without it
        process_free(&l->process);
        hang_up(l, "its command took too long and was killed");
        return;
    case LINE_ENDING: settle(l, "its command took too long and was killed"); return;
    case LINE_OURS: break;
    }
    if (!holds(l))
        hang_up(l, l->came ? NULL : "its command ended well, but the network does not hold");
    else if (in_use(l))
        l->used_ms = l->q->mono_ms;
    else
        hang_up(l, NULL);
}

static void look(struct line *l)
{
    const struct lane *lane = lane_of(l);
    if (lane->count == 0)
        l->wanted_ms = 0;
    else if (l->wanted_ms == 0 && !lane->replan)
        l->wanted_ms = l->q->mono_ms;
    if (l->state != LINE_OURS || holds(l) == l->seen)
        return;
    // It came; or it was lost, and may come back by itself for a while.
    l->seen = !l->seen;
    l->came = true;
    l->failures = 0;
    l->used_ms = l->since_ms = l->q->mono_ms;
}

void dialup_turn(struct queue *q)
{
    for (size_t i = 0; i < q->conf->network_count; i++) {
        struct line *l = q->dialups->lines[i];
        if (l == NULL || q->where == NULL)
            continue;
        look(l);
        if (due_at(l) <= q->mono_ms)
            act(l);
    }
}

int64_t dialup_due(const struct queue *q)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < q->conf->network_count; i++) {
        const struct line *l = q->dialups->lines[i];
        int64_t at = l != NULL && q->where != NULL ? due_at(l) : INT64_MAX;
        if (at < next)
            next = at;
    }
    return next == INT64_MAX ? next : q->now_ms + (next > q->mono_ms ? next - q->mono_ms : 0);
}

void dialup_used(struct queue *q, uint32_t gateway)
{
    for (size_t i = 0; i < q->conf->network_count; i++)
        if (q->dialups->lines[i] != NULL && is_bound(&q->conf->gateways[gateway], i))
            q->dialups->lines[i]->used_ms = clock_mono_us() / 1000;
}

// ---- In words ----

bool queue_dial(struct queue *q, size_t network, struct buf *out)
{
    char span[TIME_TEXT], more[TIME_TEXT];
    const struct line *l = network < q->conf->network_count ? q->dialups->lines[network] : NULL;
    if (l == NULL)
        return false;
    queue_now(q);
    const char *since = time_span(q->mono_ms - l->since_ms, span);
    switch (l->state) {
    case LINE_DIALLING: buf_printf(out, "is being dialled for %s", since); break;
    case LINE_ENDING: buf_printf(out, "is being hung up for %s", since); break;
    case LINE_OURS:
        buf_printf(out, "dialled by Waypost, %s %s", l->seen ? "holds for" : "has not held for",
                   since);
        break;
    case LINE_IDLE:
        buf_puts(out, holds(l) ? "holds by itself" : "not dialled");
        if (l->failures > 0)
            buf_printf(out, ", failed %u time%s", l->failures, l->failures == 1 ? "" : "s");
        if (dial_at(l) < INT64_MAX)
            buf_printf(out, ", next try in %s",
                       time_span(dial_at(l) > q->mono_ms ? dial_at(l) - q->mono_ms : 0, more));
        break;
    }
    if (lane_of(l)->count > 0)
        buf_printf(out, "; %zu wait%s for it", lane_of(l)->count,
                   lane_of(l)->count == 1 ? "s" : "");
    return true;
}

// ---- Life ----

static void line_free(struct line **lp)
{
    struct line *l = *lp;
    *lp = NULL;
    if (l == NULL)
        return;
    process_free(&l->process);
    xfree(l->name);
    xfree(l);
}

static struct line *line_new(struct queue *q, const char *name)
{
    struct line *l = xcalloc(1, sizeof(*l));
    l->q = q;
    l->name = xstrdup(name);
    return l;
}

static struct line *take_line(struct line **lines, const char *name)
{
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        if (lines[i] != NULL && strcmp(lines[i]->name, name) == 0) {
            struct line *l = lines[i];
            lines[i] = NULL;
            return l;
        }
    return NULL;
}

// A line that this configuration does not know any more is nobody's to hang up.
static void forget(struct line *l)
{
    if (l == NULL)
        return;
    if (l->state == LINE_OURS || l->state == LINE_ENDING)
        log_warn("dialled", 0,
                 "network %s was dialled and is not to be dialled any more: its connection is left "
                 "as it is",
                 l->name);
    set_state(l, LINE_IDLE);
}

void dialup_reload(struct queue *q)
{
    struct dialups *d = q->dialups;
    struct line *before[CONF_NETWORKS];
    memcpy(before, d->lines, sizeof(before));
    memset(d->lines, 0, sizeof(d->lines));
    for (size_t i = 0; i < q->conf->network_count; i++) {
        const struct conf_network *n = &q->conf->networks[i];
        if (n->dial.command_count == 0)
            continue;
        struct line *l = take_line(before, n->name);
        d->lines[i] = l != NULL ? l : line_new(q, n->name);
        d->lines[i]->index = i;
        d->lines[i]->again_ms = 0; // what was wrong may just have been put right
    }
    for (size_t i = 0; i < CONF_NETWORKS; i++) {
        forget(before[i]);
        line_free(&before[i]);
    }
}

void dialup_start(struct queue *q)
{
    char key[300];
    dialup_reload(q);
    for (size_t i = 0; i < q->conf->network_count && q->parts.state != NULL; i++) {
        struct line *l = q->dialups->lines[i];
        if (l == NULL)
            continue;
        snprintf(key, sizeof(key), "dialled:%.200s", l->name);
        if (state_get(q->parts.state, key).len == 0)
            continue;
        set_state(l, holds(l) ? LINE_OURS : LINE_IDLE);
        l->seen = l->came = true;
        l->used_ms = q->mono_ms;
        remember(l, holds(l));
    }
}

void dialup_new(struct queue *q)
{
    q->dialups = xcalloc(1, sizeof(*q->dialups));
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        lane_aside(&q->dialups->lanes[i]);
}

// What is being dialled at this moment may come yet.
void dialup_stop(struct queue *q)
{
    for (size_t i = 0; i < CONF_NETWORKS; i++) {
        struct line *l = q->dialups->lines[i];
        if (l == NULL || l->process == NULL)
            continue;
        remember(l, true);
        process_free(&l->process);
    }
}

void dialup_free(struct queue *q)
{
    for (size_t i = 0; i < CONF_NETWORKS; i++)
        line_free(&q->dialups->lines[i]);
    xfree(q->dialups);
    q->dialups = NULL;
}
