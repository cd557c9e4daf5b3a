// SPDX-License-Identifier: ISC
// What a gateway may still be given.
//
// Why an allowance is never overrun:
// 1. A transaction is charged before it begins and counts as under way until it is over. Only then
//    it is booked at that moment, or given back when the server took nothing. So at the begin of
//    each transaction everything the server may have counted in the window or period that ends then
//    is in the sum, whenever within its transaction the server counted it.
// 2. A window of a minute or an hour is held in 60 slots and the one under way: a little more than
//    the window.
// 3. Nothing is charged beyond a lease that is on disk. The file says: what is booked, and `ahead`:
//    how much more may have been used since. After a crash all of it counts as used, at that
//    moment. A lease is a small part of the allowance, and written anew at its half.
// 4. When what was counted is lost (a damaged file), all of each allowance counts as used, until
// its
//    period is over or a person says otherwise (`gateway reset`). The index knows messages and the
//    last gateway of each, which is less than what was sent.
// 5. When the wall clock is set back into a period known before, what was used meanwhile is added
//    to what was used then; set forward again, the numbers of that period are still there.
//
// In the file: quota.NAME = "WALL MESSAGES RECIPIENTS BYTES UP.. UP..": the time, what is ahead,
// then for each meter its unit and period as two digits and pairs AT:USED, where AT is the begin of
// a calendar period, or how many slots ago.
#include "queue/quota.h"

#include "base/mem.h"
#include "base/timefmt.h"
#include "conf/price.h"
#include "queue/period.h"
#include "route/judge.h"
#include "spool/state.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/zone.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    SLOTS = 61,
    PASTS = 3,
    LEASE_PART = 50,  // of an allowance
    LEASE_MAX = 5000, // messages, recipients
    // Of one gateway, every number as long as it can be: slots, then periods.
    STATE_TEXT =
        2 * UNITS * (8 + SLOTS * 24) + (PERIODS - 2) * UNITS * (8 + (1 + PASTS) * 42) + 128,
    LEARN_DEFAULT_MS = 3600 * 1000,
    LEARN_MOST_MS = 24 * 3600 * 1000, // whatever the server says
    AGAIN_MS = 10 * 1000,             // after the lease could not be written
};

struct meter {
    uint64_t limit;          // 0: none
    bool counted;            // also without a limit
    const struct zone *zone; // NULL: local
    uint64_t booked;
    // Minute, hour.
    uint64_t slots[SLOTS];
    int64_t slot; // number of the latest
    // Day, week, month.
    int64_t begin_ms, end_ms;
    uint64_t since; // booked since this period became the present one
    struct {
        int64_t begin_ms;
        uint64_t booked;
    } past[PASTS]; // other periods, latest first
};

struct lease_waiter {
    struct lease_waiter *next;
    void (*fn)(void *ctx, bool ok);
    void *ctx;
};

struct gateway_quota {
    char *name;
    char *zone_name; // NULL: local
    struct zone *zone;
    uint32_t index;         // in the configuration of now; UINT32_MAX: gone
    bool limited;           // by some meter
    unsigned reserve;       // percent
    uint64_t limits[UNITS]; // the smallest of its periods, for the size of leases
    struct meter meters[UNITS][PERIODS];
    uint64_t under_way[UNITS];
    // Leases. Left: of the one on disk; writing: of the one that is being written.
    uint64_t left[UNITS], writing[UNITS];
    bool asked;                   // a write is under way
    struct lease_waiter *waiters; // for it
    int64_t not_before_ms;        // monotonic; after a failure
    bool told;                    // that it is used up; through reloads, until there is room again
    int64_t lost_until_ms; // wall clock: what was counted is lost, and taken as used up until then
    // The last refusal that named an allowance.
    struct {
        int64_t at_ms, until_ms;
        enum conf_period period;
        uint64_t count; // messages of that period then
    } learnt;
};

struct quotas {
    struct map *by_name;
    struct gateway_quota **at; // by index
    size_t count;
    int64_t due_ms;
};

static int64_t slot_ms(enum conf_period period)
{
    return period == PERIOD_MINUTE ? 1000 : 60 * 1000;
}

// From SLOTS on, so that what was before the machine started has a number, too.
static int64_t slot_of(enum conf_period period, int64_t mono_ms)
{
    return mono_ms / slot_ms(period) + SLOTS;
}

static bool slides(enum conf_period period)
{
    return period == PERIOD_MINUTE || period == PERIOD_HOUR;
}

static struct gateway_quota *find(const struct queue *q, uint32_t gateway)
{
    return q->quotas != NULL && gateway < q->quotas->count ? q->quotas->at[gateway] : NULL;
}

static void look_at(struct queue *q, int64_t when_ms)
{
    if (when_ms < q->quotas->due_ms)
        q->quotas->due_ms = when_ms;
}

// ---- A meter ----

static int zone_offset(void *ctx, int64_t wall_ms)
{
    return ctx != NULL ? zone_offset_minutes(ctx, wall_ms) : clock_utc_offset_minutes(wall_ms);
}

static void slide(struct meter *m, enum conf_period period, int64_t mono_ms)
{
    int64_t now = slot_of(period, mono_ms);
    if (now - m->slot >= SLOTS) {
        memset(m->slots, 0, sizeof(m->slots));
        m->booked = 0;
        m->slot = now;
    }
    while (m->slot < now) {
        uint64_t *gone = &m->slots[++m->slot % SLOTS];
        m->booked -= *gone;
        *gone = 0;
    }
}

static uint64_t *past_of(struct meter *m, int64_t begin_ms)
{
    for (int i = 0; i < PASTS; i++)
        if (m->past[i].begin_ms == begin_ms && begin_ms != 0)
            return &m->past[i].booked;
    return NULL;
}

static void remember_past(struct meter *m)
{
    uint64_t *known = past_of(m, m->begin_ms);
    if (known == NULL) {
        memmove(&m->past[1], &m->past[0], (PASTS - 1) * sizeof(m->past[0]));
        m->past[0].begin_ms = m->begin_ms;
        known = &m->past[0].booked;
    }
    *known = m->booked;
}

static void turn_page(struct meter *m, enum conf_period period, int64_t now_ms)
{
    if (now_ms >= m->begin_ms && now_ms < m->end_ms)
        return;
    int64_t begin, end;
    period_around(period, now_ms, zone_offset, (void *)(uintptr_t)m->zone, &begin, &end);
    if (begin == m->begin_ms) {
        m->end_ms = end;
        return;
    }
    bool back = begin < m->begin_ms;
    if (m->end_ms != 0)
        remember_past(m);
    const uint64_t *known = past_of(m, begin);
    uint64_t carried = back ? m->since : 0;
    m->booked = (known != NULL ? *known : 0) + carried;
    m->since = 0;
    m->begin_ms = begin;
    m->end_ms = end;
}

static void refresh_meter(const struct queue *q, struct meter *m, enum conf_period period)
{
    if (slides(period))
        slide(m, period, q->mono_ms);
    else
        turn_page(m, period, q->now_ms);
}

static void book(struct meter *m, enum conf_period period, uint64_t n)
{
    m->booked += n;
    m->since += n;
    if (slides(period))
        m->slots[m->slot % SLOTS] += n;
}

static uint64_t cap_of(const struct gateway_quota *g, const struct meter *m, int who)
{
    uint64_t kept =
        who == QUOTA_URGENT ? 0 : m->limit / 100 * g->reserve + m->limit % 100 * g->reserve / 100;
    return m->limit - kept;
}

static uint64_t room_of(const struct gateway_quota *g, const struct meter *m, int unit, int who)
{
    uint64_t cap = cap_of(g, m, who), have = m->booked + g->under_way[unit];
    return cap > have ? cap - have : 0;
}

// When, by the wall clock, there will be room for `need` in this meter.
static int64_t opens_ms(const struct queue *q, const struct gateway_quota *g, const struct meter *m,
                        int unit, enum conf_period period, int who, uint64_t need)
{
    if (!slides(period))
        return m->end_ms;
    uint64_t cap = cap_of(g, m, who), have = m->booked + g->under_way[unit];
    int64_t width = slot_ms(period);
    for (int64_t s = m->slot - SLOTS + 1; s <= m->slot; s++) {
        have -= m->slots[s % SLOTS];
        if (have + need <= cap)
            return q->now_ms + s * width - q->mono_ms; // slot_of that moment is s + SLOTS
    }
    return q->now_ms + width; // what is under way has to end first
}

// ---- Leases ----

struct lease_write {
    struct queue *q;
    struct gateway_quota *g;
};

static void write_learnt(struct queue *q, const struct gateway_quota *g)
{
    struct buf b;
    char name[256];
    if (q->parts.state == NULL)
        return;
    buf_init(&b, STATE_TEXT);
    if (g->learnt.at_ms != 0)
        buf_printf(&b, "%" PRId64 " %" PRId64 " %d %" PRIu64, g->learnt.at_ms, g->learnt.until_ms,
                   g->learnt.period, g->learnt.count);
    snprintf(name, sizeof(name), "learnt.%.200s", g->name);
    state_set(q->parts.state, name, buf_str(&b));
    buf_free(&b);
}

static void write_state(struct queue *q, struct gateway_quota *g, const uint64_t ahead[UNITS])
{
    struct buf b;
    char name[256];
    buf_init(&b, STATE_TEXT);
    buf_printf(&b, "%" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64, q->now_ms, ahead[0], ahead[1],
               ahead[2]);
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            if (!m->counted)
                continue;
            refresh_meter(q, m, (enum conf_period)p);
            size_t before = b.len;
            buf_printf(&b, " %d%d", u, p);
            size_t head = b.len;
            if (!slides((enum conf_period)p)) {
                buf_printf(&b, " %" PRId64 ":%" PRIu64, m->begin_ms, m->booked);
                for (int i = 0; i < PASTS; i++)
                    if (m->past[i].booked > 0)
                        buf_printf(&b, " %" PRId64 ":%" PRIu64, m->past[i].begin_ms,
                                   m->past[i].booked);
                continue;
            }
            for (int64_t ago = 0; ago < SLOTS; ago++)
                if (m->slots[(m->slot - ago) % SLOTS] > 0)
                    buf_printf(&b, " %" PRId64 ":%" PRIu64, ago, m->slots[(m->slot - ago) % SLOTS]);
            if (b.len == head)
                b.len = before;
        }
    assert(!b.full);
    snprintf(name, sizeof(name), "quota.%.200s", g->name);
    state_set(q->parts.state, name, buf_str(&b));
    buf_free(&b);
    write_learnt(q, g);
    char until[32] = "";
    if (g->lost_until_ms > q->now_ms)
        snprintf(until, sizeof(until), "%" PRId64, g->lost_until_ms);
    snprintf(name, sizeof(name), "lost.%.200s", g->name);
    state_set(q->parts.state, name, str_of(until));
}

static uint64_t lease_size(const struct gateway_quota *g, int unit)
{
    uint64_t part = g->limits[unit] / LEASE_PART;
    if (unit != UNIT_BYTES && part > LEASE_MAX)
        part = LEASE_MAX;
    return part > 0 ? part : 1;
}

static void run_waiters(struct gateway_quota *g, bool ok)
{
    struct lease_waiter *w = g->waiters;
    g->waiters = NULL;
    for (struct lease_waiter *next; w != NULL; w = next) {
        next = w->next;
        w->fn(w->ctx, ok);
        xfree(w);
    }
}

static void on_lease(void *ctx, bool ok)
{
    struct lease_write *w = ctx;
    struct queue *q = w->q;
    struct gateway_quota *g = w->g;
    g->asked = false;
    if (ok)
        memcpy(g->left, g->writing, sizeof(g->left));
    else
        g->not_before_ms = q->mono_ms + AGAIN_MS;
    xfree(w);
    q->quota_writes--;
    run_waiters(g, ok);
    if (q->stopping) {
        queue_check_idle(q);
        return;
    }
    if (ok && g->index != UINT32_MAX)
        lane_quota_open(q, g->index, false);
    else if (!ok)
        look_at(q, q->now_ms + AGAIN_MS);
    queue_wake(q);
}

static void ask_lease(struct queue *q, struct gateway_quota *g, const uint64_t need[UNITS])
{
    if (g->asked || q->mono_ms < g->not_before_ms)
        return;
    uint64_t ahead[UNITS];
    for (int u = 0; u < UNITS; u++) {
        uint64_t lease = lease_size(g, u);
        if (lease < need[u])
            lease = need[u];
        if (lease < g->left[u])
            lease = g->left[u];
        if (g->limits[u] == 0)
            lease = 0;
        g->writing[u] = lease;
        ahead[u] = lease + g->under_way[u];
    }
    write_state(q, g, ahead);
    struct lease_write *w = xcalloc(1, sizeof(*w));
    w->q = q;
    w->g = g;
    g->asked = true;
    q->quota_writes++;
    state_flush(q->parts.state, on_lease, w);
}

// Whether the lease on disk covers it. Takes fewer recipients when that helps.
static bool leased(struct queue *q, struct gateway_quota *g, uint64_t need[UNITS])
{
    if (q->parts.state == NULL)
        return true;
    bool covered = true, low = false;
    for (int u = 0; u < UNITS; u++) {
        if (g->limits[u] == 0)
            continue;
        uint64_t left = g->left[u];
        if (g->asked && g->writing[u] < left)
            left = g->writing[u];
        covered = covered && need[u] <= left;
        low = low || left < need[u] + lease_size(g, u) / 2;
    }
    if (!covered || low)
        ask_lease(q, g, need);
    return covered;
}

static void use_lease(struct gateway_quota *g, const uint64_t n[UNITS])
{
    for (int u = 0; u < UNITS; u++) {
        if (g->limits[u] == 0)
            continue;
        g->left[u] -= n[u] < g->left[u] ? n[u] : g->left[u];
        if (g->asked)
            g->writing[u] -= n[u] < g->writing[u] ? n[u] : g->writing[u];
    }
}

bool quota_when(struct queue *q, uint32_t gateway, void (*fn)(void *ctx, bool ok), void *ctx)
{
    struct gateway_quota *g = find(q, gateway);
    if (g == NULL || !g->asked)
        return false;
    struct lease_waiter *w = xcalloc(1, sizeof(*w));
    *w = (struct lease_waiter){.next = g->waiters, .fn = fn, .ctx = ctx};
    g->waiters = w;
    return true;
}

// ---- Spent and open ----

static void set_spent(struct queue *q, struct gateway_quota *g, int who, int64_t until_ms)
{
    struct plan_gateway *p = &q->gateways[g->index];
    p->quota_until_ms[who] = until_ms;
    look_at(q, until_ms);
    if (!g->told && who == QUOTA_OTHERS) {
        char span[TIME_TEXT];
        g->told = true;
        log_info("quota", 0, "%s: the allowance is used up%s; again in %s", g->name,
                 g->reserve > 0 ? " but for the reserve of urgent mail" : "",
                 time_span(until_ms - q->now_ms, span));
    }
}

// Is there room for a least message, and if not, when will there be? 0: there is.
static int64_t spent_until(struct queue *q, struct gateway_quota *g, int who)
{
    int64_t until = 0;
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            if (m->limit == 0)
                continue;
            refresh_meter(q, m, (enum conf_period)p);
            if (room_of(g, m, u, who) > 0)
                continue;
            int64_t opens = opens_ms(q, g, m, u, (enum conf_period)p, who, 1);
            if (opens > until)
                until = opens;
        }
    return until;
}

static void look_again(struct queue *q, struct gateway_quota *g)
{
    bool opened = false;
    for (int who = QUOTA_OTHERS; who <= QUOTA_URGENT; who++) {
        struct plan_gateway *p = &q->gateways[g->index];
        int64_t until = spent_until(q, g, who);
        if (until != 0) {
            set_spent(q, g, who, until);
            continue;
        }
        opened = opened || p->quota_until_ms[who] != 0;
        p->quota_until_ms[who] = 0;
        g->told = g->told && who != QUOTA_OTHERS;
    }
    if (opened)
        lane_quota_open(q, g->index, true);
}

int64_t quota_due(const struct queue *q)
{
    return q->quotas != NULL ? q->quotas->due_ms : INT64_MAX;
}

void quota_turn(struct queue *q)
{
    if (q->quotas == NULL || q->now_ms < q->quotas->due_ms)
        return;
    q->quotas->due_ms = INT64_MAX;
    for (size_t i = 0; i < q->quotas->count; i++) {
        struct gateway_quota *g = q->quotas->at[i];
        if (!g->limited)
            continue;
        int64_t until = 0;
        for (int who = QUOTA_OTHERS; who <= QUOTA_URGENT; who++)
            if (q->gateways[i].quota_until_ms[who] > until)
                until = q->gateways[i].quota_until_ms[who];
        if (until != 0)
            look_again(q, g);
        if (g->not_before_ms > q->mono_ms) {
            look_at(q, q->now_ms + g->not_before_ms - q->mono_ms);
        } else if (g->not_before_ms != 0) {
            g->not_before_ms = 0;
            lane_quota_open(q, g->index, false);
        }
    }
}

void quota_jump(struct queue *q)
{
    if (q->quotas == NULL)
        return;
    q->quotas->due_ms = INT64_MAX;
    for (size_t i = 0; i < q->quotas->count; i++)
        if (q->quotas->at[i]->limited)
            look_again(q, q->quotas->at[i]);
}

// ---- Charging ----

// How many recipients there is room for; 0 with *answer.
static size_t fit(struct queue *q, struct gateway_quota *g, int who, const uint64_t need[UNITS],
                  enum quota_answer *answer, int64_t *until_out)
{
    size_t rcpts = need[UNIT_RECIPIENTS];
    *answer = QUOTA_GO;
    *until_out = 0;
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            if (m->limit == 0)
                continue;
            refresh_meter(q, m, (enum conf_period)p);
            uint64_t room = room_of(g, m, u, who);
            uint64_t least = u == UNIT_RECIPIENTS && need[u] > 1 ? 1 : need[u];
            if (least > cap_of(g, m, who)) {
                *answer = QUOTA_NEVER;
                return 0;
            }
            if (room < least) {
                int64_t opens = opens_ms(q, g, m, u, (enum conf_period)p, who, least);
                *until_out = opens > *until_out ? opens : *until_out;
                *answer = QUOTA_SPENT;
            } else if (u == UNIT_RECIPIENTS && room < rcpts) {
                rcpts = room;
            }
        }
    return *answer == QUOTA_GO ? rcpts : 0;
}

// Takes `need` of it, with fewer recipients where that helps. What was taken is added to `out`.
static enum quota_answer take(struct queue *q, struct gateway_quota *g, unsigned priority,
                              uint64_t need[UNITS], struct quota_charge *out)
{
    uint32_t gateway = g->index;
    if (g->limited) {
        int who = priority == PRIORITY_URGENT ? QUOTA_URGENT : QUOTA_OTHERS;
        enum quota_answer answer;
        int64_t until;
        size_t fits = fit(q, g, who, need, &answer, &until);
        if (answer == QUOTA_SPENT) {
            set_spent(q, g, who, until);
            // What is too much for the urgent is too much for others.
            if (who == QUOTA_URGENT && q->gateways[gateway].quota_until_ms[QUOTA_OTHERS] < until)
                set_spent(q, g, QUOTA_OTHERS, until);
        }
        if (answer != QUOTA_GO)
            return answer;
        need[UNIT_RECIPIENTS] = fits;
        if (!leased(q, g, need))
            return QUOTA_LATER;
        use_lease(g, need);
    }
    for (int u = 0; u < UNITS; u++) {
        g->under_way[u] += need[u];
        out->n[u] += need[u];
    }
    // What used up the last of it sends new mail elsewhere from now on.
    for (int who = QUOTA_OTHERS; g->limited && who <= QUOTA_URGENT; who++) {
        int64_t until = q->gateways[gateway].quota_until_ms[who] == 0 ? spent_until(q, g, who) : 0;
        if (until != 0) {
            set_spent(q, g, who, until);
            out->spent = true;
        }
    }
    return QUOTA_GO;
}

enum quota_answer quota_charge(struct queue *q, uint32_t gateway, unsigned priority, uint64_t size,
                               size_t *rcpts, struct quota_charge *out)
{
    struct gateway_quota *g = find(q, gateway);
    *out = (struct quota_charge){.owner = g};
    if (g == NULL)
        return QUOTA_GO;
    uint64_t need[UNITS] = {[UNIT_MESSAGES] = 1, [UNIT_RECIPIENTS] = *rcpts, [UNIT_BYTES] = size};
    enum quota_answer answer = take(q, g, priority, need, out);
    if (answer == QUOTA_GO)
        *rcpts = need[UNIT_RECIPIENTS];
    return answer;
}

enum quota_answer quota_more(struct queue *q, uint32_t gateway, unsigned priority, size_t rcpts,
                             uint64_t octets, struct quota_charge *charge)
{
    struct gateway_quota *g = find(q, gateway);
    uint64_t need[UNITS] = {[UNIT_RECIPIENTS] = rcpts, [UNIT_BYTES] = octets};
    if (g == NULL || g != charge->owner)
        return QUOTA_GO; // its gateway is gone since
    return take(q, g, priority, need, charge);
}

void quota_settle(struct queue *q, struct quota_charge *charge, size_t taken)
{
    struct gateway_quota *g = charge->owner;
    if (g == NULL)
        return;
    charge->owner = NULL;
    uint64_t used[UNITS] = {0};
    if (taken > 0) {
        used[UNIT_MESSAGES] = charge->n[UNIT_MESSAGES];
        used[UNIT_RECIPIENTS] = taken;
        used[UNIT_BYTES] = charge->n[UNIT_BYTES];
    }
    bool back = false;
    for (int u = 0; u < UNITS; u++) {
        g->under_way[u] -= charge->n[u];
        uint64_t rest = charge->n[u] > used[u] ? charge->n[u] - used[u] : 0;
        back = back || rest > 0;
        if (g->limits[u] > 0) {
            g->left[u] += rest;
            g->writing[u] += g->asked ? rest : 0;
        }
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            if (!m->counted)
                continue;
            refresh_meter(q, m, (enum conf_period)p);
            book(m, (enum conf_period)p, used[u]);
        }
    }
    if (g->learnt.at_ms != 0 && taken > 0 &&
        g->meters[UNIT_MESSAGES][g->learnt.period].booked > g->learnt.count) {
        memset(&g->learnt, 0, sizeof(g->learnt)); // more is allowed than was thought
        write_learnt(q, g);
    }
    bool spent = g->index != UINT32_MAX && (q->gateways[g->index].quota_until_ms[0] != 0 ||
                                            q->gateways[g->index].quota_until_ms[1] != 0);
    if (back && g->limited && spent && !q->stopping)
        look_again(q, g);
}

// ---- What refusals teach ----

// Which span it names; else what is usual: most count by the day.
static enum conf_period period_said(const struct outcome *o, const struct judge_quota_hint *hint)
{
    static const int64_t hour = 3600 * 1000;
    struct str text = str_of(o->text);
    if (hint->period_ms > 0)
        return hint->period_ms < hour             ? PERIOD_MINUTE
               : hint->period_ms < 24 * hour      ? PERIOD_HOUR
               : hint->period_ms == 24 * hour     ? PERIOD_DAY
               : hint->period_ms < 28 * 24 * hour ? PERIOD_WEEK
                                                  : PERIOD_MONTH;
    return str_glob(STR("*minute*"), text)  ? PERIOD_MINUTE
           : str_glob(STR("*hour*"), text)  ? PERIOD_HOUR
           : str_glob(STR("*month*"), text) ? PERIOD_MONTH
                                            : PERIOD_DAY;
}

int64_t quota_learn(struct queue *q, uint32_t gateway, const struct outcome *o, int64_t least_ms)
{
    struct gateway_quota *g = find(q, gateway);
    if (g == NULL)
        return q->now_ms + LEARN_DEFAULT_MS;
    struct judge_quota_hint hint = {0};
    judge_quota_hint(o, &hint);
    enum conf_period period = period_said(o, &hint);
    struct meter *m = &g->meters[UNIT_MESSAGES][period];
    refresh_meter(q, m, period);
    g->learnt.at_ms = q->now_ms;
    g->learnt.period = period;
    g->learnt.count = hint.amount > 0 ? hint.amount : m->booked;
    // A day's end by the provider's clock is unknown: it is asked each hour, with one message.
    int64_t wait = period == PERIOD_MINUTE ? 60 * 1000 : LEARN_DEFAULT_MS;
    if (hint.retry_ms > 0)
        wait = hint.retry_ms < LEARN_MOST_MS ? hint.retry_ms : LEARN_MOST_MS;
    else if (period != PERIOD_MINUTE && wait < least_ms)
        wait = least_ms;
    if (!slides(period) && m->end_ms - q->now_ms < wait)
        wait = m->end_ms - q->now_ms;
    g->learnt.until_ms = q->now_ms + wait;
    log_warn("quota", 0,
             "%s says that its allowance is used up, after %" PRIu64 " message%s this %s: %s",
             g->name, m->booked, m->booked == 1 ? "" : "s", period_name(period), o->text);
    if (q->parts.state != NULL && !g->asked) {
        uint64_t ahead[UNITS];
        for (int u = 0; u < UNITS; u++)
            ahead[u] = g->under_way[u] + g->left[u];
        write_state(q, g, ahead);
    }
    return g->learnt.until_ms;
}

// ---- Life ----

static int64_t number(struct str *rest, char sep)
{
    struct str word;
    uint64_t n;
    if (!str_split(rest, sep, &word) || !str_u64(word, INT64_MAX, &n))
        return 0;
    return (int64_t)n;
}

// A period written down in another time zone, the configuration's or the traveller's, that has not
// ended by that one: it goes on, as it does while the daemon runs.
static bool goes_on(const struct queue *q, const struct meter *m, enum conf_period period,
                    int64_t at)
{
    int64_t begin, end;
    period_around(period, at, zone_offset, (void *)(uintptr_t)m->zone, &begin, &end);
    return begin != at && at <= q->now_ms && q->now_ms - at < end - begin;
}

static void read_meter_value(struct queue *q, struct meter *m, enum conf_period period,
                             int64_t age_ms, struct str pair)
{
    int64_t at = number(&pair, ':');
    uint64_t n = (uint64_t)number(&pair, ':');
    if (slides(period)) {
        int64_t ago = at + age_ms / slot_ms(period);
        if (ago >= SLOTS)
            return;
        m->slots[(m->slot + SLOTS - ago) % SLOTS] += n;
        m->booked += n;
    } else if (at == m->begin_ms || goes_on(q, m, period, at)) {
        m->booked += n;
    } else {
        uint64_t *known = past_of(m, at);
        for (int i = 0; known == NULL && i < PASTS; i++)
            if (m->past[i].begin_ms == 0) {
                m->past[i].begin_ms = at;
                known = &m->past[i].booked;
            }
        if (known != NULL)
            *known = n;
    }
}

static void read_state(struct queue *q, struct gateway_quota *g)
{
    char name[256];
    snprintf(name, sizeof(name), "quota.%.200s", g->name);
    struct str rest = state_get(q->parts.state, name), word;
    bool known = rest.len > 0;
    int64_t age = q->now_ms - number(&rest, ' ');
    uint64_t ahead[UNITS];
    for (int u = 0; u < UNITS; u++)
        ahead[u] = (uint64_t)number(&rest, ' ');
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            refresh_meter(q, &g->meters[u][p], (enum conf_period)p);
    struct meter *m = NULL;
    enum conf_period period = PERIOD_DAY;
    while (known && str_split(&rest, ' ', &word)) {
        if (word.len == 2) {
            unsigned u = (unsigned)(word.ptr[0] - '0'), p = (unsigned)(word.ptr[1] - '0');
            m = u < UNITS && p < PERIODS ? &g->meters[u][p] : NULL;
            period = (enum conf_period)p;
        } else if (m != NULL) {
            read_meter_value(q, m, period, age > 0 ? age : 0, word);
        }
    }
    for (int u = 0; known && u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            book(&g->meters[u][p], (enum conf_period)p, ahead[u]);
    snprintf(name, sizeof(name), "lost.%.200s", g->name);
    rest = state_get(q->parts.state, name);
    g->lost_until_ms = number(&rest, ' ');
    snprintf(name, sizeof(name), "learnt.%.200s", g->name);
    rest = state_get(q->parts.state, name);
    if (rest.len > 0) {
        g->learnt.at_ms = number(&rest, ' ');
        g->learnt.until_ms = number(&rest, ' ');
        uint64_t p = (uint64_t)number(&rest, ' ');
        g->learnt.period = p < PERIODS ? (enum conf_period)p : PERIOD_DAY;
        g->learnt.count = (uint64_t)number(&rest, ' ');
    }
}

// Days of another zone: what is booked in the present period stays so.
static void set_zone(struct queue *q, struct gateway_quota *g, const char *name)
{
    struct err err;
    bool same = name == NULL || g->zone_name == NULL ? name == g->zone_name
                                                     : strcmp(name, g->zone_name) == 0;
    if (same)
        return;
    struct zone *zone = name != NULL ? zone_open(name, &err) : NULL;
    if (name != NULL && zone == NULL)
        log_warn("quota", 0, "%s: %s; its days are those of this machine", g->name, err.text);
    zone_free(&g->zone);
    xfree(g->zone_name);
    g->zone = zone;
    g->zone_name = name != NULL ? xstrdup(name) : NULL;
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            m->zone = zone;
            if (!slides((enum conf_period)p) && m->end_ms != 0)
                period_around((enum conf_period)p, q->now_ms, zone_offset, zone, &m->begin_ms,
                              &m->end_ms);
        }
}

static struct gateway_quota *quota_for(struct queue *q, const struct conf_gateway *c)
{
    const char *name = c->name;
    struct gateway_quota *g = map_get(q->quotas->by_name, str_of(name));
    if (g != NULL) {
        set_zone(q, g, c->quota_zone);
        return g;
    }
    g = xcalloc(1, sizeof(*g));
    g->name = xstrdup(name);
    map_put(q->quotas->by_name, str_of(g->name), g);
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++)
            g->meters[u][p].slot =
                slides((enum conf_period)p) ? q->mono_ms / slot_ms((enum conf_period)p) : 0;
    set_zone(q, g, c->quota_zone);
    if (q->parts.state != NULL)
        read_state(q, g);
    return g;
}

static void set_limits(struct gateway_quota *g, const struct conf_gateway *c)
{
    g->index = c->index;
    g->reserve = c->reserve_percent < 100 ? c->reserve_percent : 100;
    g->limited = false;
    for (int u = 0; u < UNITS; u++) {
        g->limits[u] = 0;
        for (int p = 0; p < PERIODS; p++) {
            uint64_t limit = price_quota(c, (enum conf_unit)u, (enum conf_period)p);
            g->meters[u][p].limit = limit;
            g->meters[u][p].counted =
                limit > 0 || u == UNIT_MESSAGES ||
                (u == UNIT_RECIPIENTS && p == PERIOD_MONTH && c->cost.micros > 0);
            g->limited = g->limited || limit > 0;
            if (limit > 0 && (g->limits[u] == 0 || limit < g->limits[u]))
                g->limits[u] = limit;
        }
    }
}

void quota_bind(struct queue *q)
{
    if (q->quotas == NULL)
        return;
    size_t pos = 0;
    for (struct gateway_quota *g; (g = map_next(q->quotas->by_name, &pos)) != NULL;)
        g->index = UINT32_MAX;
    xfree(q->quotas->at);
    q->quotas->count = q->conf->gateway_count;
    q->quotas->at = xcalloc(q->quotas->count, sizeof(struct gateway_quota *));
    q->quotas->due_ms = INT64_MAX;
    for (size_t i = 0; i < q->quotas->count; i++) {
        struct gateway_quota *g = quota_for(q, &q->conf->gateways[i]);
        q->quotas->at[i] = g;
        set_limits(g, &q->conf->gateways[i]);
        q->gateways[i].quota_until_ms[QUOTA_OTHERS] = q->gateways[i].quota_until_ms[QUOTA_URGENT] =
            0;
        if (g->limited)
            look_again(q, g);
    }
}

// What is under way goes on counting.
static void keep_counts(struct queue *q, struct gateway_quota *g)
{
    uint64_t ahead[UNITS];
    for (int u = 0; u < UNITS; u++)
        ahead[u] = g->under_way[u] + g->left[u];
    if (q->parts.state != NULL && !g->asked)
        write_state(q, g, ahead);
}

static void take_as_used(struct queue *q, struct gateway_quota *g)
{
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            enum conf_period period = (enum conf_period)p;
            if (m->limit == 0)
                continue;
            refresh_meter(q, m, period);
            if (m->booked < m->limit)
                book(m, period, m->limit - m->booked);
            int64_t end = slides(period) ? q->now_ms + SLOTS * slot_ms(period) : m->end_ms;
            g->lost_until_ms = end > g->lost_until_ms ? end : g->lost_until_ms;
        }
    if (g->lost_until_ms == 0)
        return;
    log_error("quota", 0,
              "%s: how much of its allowance is used is not known any more, so all of it counts as "
              "used; if that is wrong: waypost gateway reset %s",
              g->name, g->name);
    keep_counts(q, g);
    look_again(q, g);
}

bool queue_reset_quota(struct queue *q, struct str name, const char *who, struct err *err)
{
    const struct conf_gateway *c = conf_gateway_find(q->conf, name);
    struct gateway_quota *g = c != NULL ? find(q, c->index) : NULL;
    if (g == NULL) {
        err_set(err, "there is no gateway %.*s", STR_FMT(name));
        return false;
    }
    queue_now(q);
    for (int u = 0; u < UNITS; u++)
        for (int p = 0; p < PERIODS; p++) {
            struct meter *m = &g->meters[u][p];
            m->booked = m->since = 0;
            memset(m->slots, 0, sizeof(m->slots));
            memset(m->past, 0, sizeof(m->past));
        }
    memset(&g->learnt, 0, sizeof(g->learnt));
    g->lost_until_ms = 0;
    log_info("quota", 0, "%s: nothing of its allowance counts as used, says %s", g->name, who);
    keep_counts(q, g);
    if (g->limited)
        look_again(q, g);
    struct lane *lane = c->kind != GATEWAY_DIRECT ? lane_for(q, c->index, STR("")) : NULL;
    if (lane != NULL && lane->trouble != NULL && lane->trouble->outcome.class == OUTCOME_QUOTA)
        lane_end_rest(q, lane);
    queue_wake(q);
    return true;
}

int64_t quota_lost_until(const struct queue *q, uint32_t gateway)
{
    const struct gateway_quota *g = find(q, gateway);
    return g != NULL && g->lost_until_ms > q->now_ms ? g->lost_until_ms : 0;
}

void quota_start(struct queue *q)
{
    q->quotas = xcalloc(1, sizeof(*q->quotas));
    q->quotas->by_name = map_new();
    quota_bind(q);
    for (uint32_t i = 0; i < q->quotas->count; i++)
        if (q->parts.state != NULL && state_damaged(q->parts.state))
            take_as_used(q, q->quotas->at[i]);
    for (uint32_t i = 0; i < q->quotas->count; i++) {
        struct outcome o = {
            .class = OUTCOME_QUOTA, .scope = SCOPE_ACCOUNT, .text = "as it said before this start"};
        int64_t until = q->quotas->at[i]->learnt.until_ms;
        if (until > q->now_ms && q->conf->gateways[i].kind != GATEWAY_DIRECT)
            lane_rest(q, lane_for(q, i, STR("")), &o, until - q->now_ms);
    }
}

void quota_save(struct queue *q)
{
    static const uint64_t none[UNITS];
    size_t pos = 0;
    if (q->quotas == NULL || q->parts.state == NULL)
        return;
    for (struct gateway_quota *g; (g = map_next(q->quotas->by_name, &pos)) != NULL;) {
        assert(!g->asked && g->under_way[UNIT_MESSAGES] == 0);
        write_state(q, g, none);
    }
}

void quota_free(struct queue *q)
{
    if (q->quotas == NULL)
        return;
    size_t pos = 0;
    for (struct gateway_quota *g; (g = map_next(q->quotas->by_name, &pos)) != NULL;) {
        map_del(q->quotas->by_name, str_of(g->name));
        zone_free(&g->zone);
        xfree(g->zone_name);
        xfree(g->name);
        xfree(g);
    }
    map_free(&q->quotas->by_name);
    xfree(q->quotas->at);
    xfree(q->quotas);
    q->quotas = NULL;
}

// ---- Looking ----

static int64_t forecast(const struct queue *q, const struct meter *m, uint64_t used)
{
    int64_t spent = q->now_ms - m->begin_ms;
    if (used >= m->limit)
        return q->now_ms;
    if (used == 0 || spent <= 0)
        return 0;
    double left_ms = (double)(m->limit - used) * (double)spent / (double)used;
    return left_ms < (double)(m->end_ms - q->now_ms) ? q->now_ms + (int64_t)left_ms : 0;
}

static void view_learnt(const struct gateway_quota *g, const struct meter *m,
                        struct queue_quota_view *v)
{
    *v = (struct queue_quota_view){.unit = UNIT_MESSAGES,
                                   .period = g->learnt.period,
                                   .used = m->booked + g->under_way[UNIT_MESSAGES],
                                   .limit = g->learnt.count,
                                   .reset_ms = g->learnt.until_ms,
                                   .learnt = true};
}

uint64_t quota_month(struct queue *q, uint32_t gateway, int64_t *begin_ms, int64_t *end_ms)
{
    struct gateway_quota *g = find(q, gateway);
    *begin_ms = *end_ms = 0;
    if (g == NULL || !g->meters[UNIT_RECIPIENTS][PERIOD_MONTH].counted)
        return 0;
    struct meter *m = &g->meters[UNIT_RECIPIENTS][PERIOD_MONTH];
    refresh_meter(q, m, PERIOD_MONTH);
    *begin_ms = m->begin_ms;
    *end_ms = m->end_ms;
    return m->booked + g->under_way[UNIT_RECIPIENTS];
}

size_t quota_view(struct queue *q, uint32_t gateway, struct queue_quota_view *out, size_t max)
{
    struct gateway_quota *g = find(q, gateway);
    size_t n = 0;
    for (int u = 0; g != NULL && u < UNITS; u++)
        for (int p = 0; p < PERIODS && n < max; p++) {
            struct meter *m = &g->meters[u][p];
            enum conf_period period = (enum conf_period)p;
            if (m->limit == 0)
                continue;
            refresh_meter(q, m, period);
            uint64_t used = m->booked + g->under_way[u];
            out[n++] = (struct queue_quota_view){
                .unit = (enum conf_unit)u,
                .period = period,
                .used = used,
                .limit = m->limit,
                .reserve = m->limit - cap_of(g, m, QUOTA_OTHERS),
                // A window has no one moment of reset: the next at which something is given back.
                .reset_ms = opens_ms(q, g, m, u, period, QUOTA_URGENT, 1),
                .exhausts_ms =
                    slides(period) ? (used >= m->limit ? q->now_ms : 0) : forecast(q, m, used)};
        }
    if (g != NULL && g->learnt.at_ms != 0 && n < max) {
        struct meter *m = &g->meters[UNIT_MESSAGES][g->learnt.period];
        refresh_meter(q, m, g->learnt.period);
        view_learnt(g, m, &out[n++]);
    }
    return n;
}
