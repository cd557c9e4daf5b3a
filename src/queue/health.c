// SPDX-License-Identifier: ISC
// How well gateways are.
//
// A gateway that rests is asked by a probe when its rest is over; only when that goes well (and
// went on well for `hold`) its gate opens, and one message decides (lane.c). So no mail is risked
// with a gateway that is down.
//
// What it said of itself is kept, and holds until a person says `gateway forget`: one that no
// longer offers TLS, or of another name that offers no login, is not the one we know. Nothing heals
// that by itself, however often and wherever the new face is seen: who sits in the way of one
// network may sit in the way of all, and what would be given up is the encryption. What it offers
// beyond that, and another name alone, are learnt without asking.
//
// Port 25: when connections to several unrelated destinations come to nothing in the same way, and
// none came about since the network changed, it is the network. Then direct delivery rests as a
// whole and nobody is blamed.
#include "queue/health.h"

#include "base/mem.h"
#include "deliver/probe.h"
#include "queue/quota.h"
#include "spool/state.h"
#include "sys/log.h"

#include <stdio.h>

enum {
    SCORE_FULL = 1000,
    SCORE_PART = 8,              // of each attempt in the score, once there were so many
    HOLD_LOOK_MS = 5 * 1000,     // between two looks while it must stay well
    SAFETY_MS = 10 * 1000,       // beyond the longest probe
    FIRST_LOOK_MS = 30 * 1000,   // after the first mail through it
    UNRELATED = 3,               // destinations
    BLOCKED_MS = 15 * 60 * 1000, // between two looks at a blocked port
    OPEN_MS = 60 * 60 * 1000,    // after a word of some server the port counts as open
};

struct health {
    char *name;
    uint32_t index; // UINT32_MAX: gone
    unsigned row;   // troubles
    unsigned score, scored;
    bool well; // as told last
    int64_t since_ms, probe_ms, next_ms, good_ms, well_ms;
    bool under_way;
    bool intercepted;
    // What it said of itself.
    bool known, tls, verified, auth;
    char greeting[128];
};

enum block { BLOCK_NONE, BLOCK_SILENT, BLOCK_REFUSED, BLOCK_POLICY, BLOCKS };

struct healths {
    struct map *by_name;
    struct health **at;
    size_t count;
    unsigned place_age;
    // Direct delivery on this network: unrelated destinations that failed so, one after the other.
    uint64_t failed[BLOCKS][UNRELATED];
    size_t failed_count[BLOCKS];
    enum block block;
    int64_t spoke_ms; // monotonic; of the last word of a server of direct delivery, 0: none here
};

static struct health *find(const struct queue *q, uint32_t gateway)
{
    return q->healths != NULL && gateway < q->healths->count ? q->healths->at[gateway] : NULL;
}

static bool may_probe(const struct queue *q, const struct health *h)
{
    return h->index != UINT32_MAX && q->conf->gateways[h->index].enabled &&
           q->conf->gateways[h->index].kind != GATEWAY_DIRECT && q->started && !q->stopping;
}

static void tell(struct queue *q, struct health *h, bool well)
{
    if (h->well == well && h->since_ms != 0)
        return;
    h->well = well;
    h->since_ms = q->now_ms;
}

static void score(struct health *h, bool well)
{
    if (h->scored < SCORE_PART)
        h->scored++;
    int aim = well ? SCORE_FULL : 0, step = (aim - (int)h->score) / (int)h->scored;
    h->score = step != 0 ? (unsigned)((int)h->score + step) : (unsigned)aim;
}

// ---- What it said of itself ----

static char *state_name(const struct health *h, char name[256])
{
    snprintf(name, 256, "seen.%.200s", h->name);
    return name;
}

static void read_seen(struct queue *q, struct health *h)
{
    char name[256];
    struct str rest = q->parts.state != NULL ? state_get(q->parts.state, state_name(h, name))
                                             : STR(""),
               word;
    if (!str_split(&rest, ' ', &word))
        return;
    h->known = true;
    h->tls = str_find(word, 't') < word.len;
    h->verified = str_find(word, 'v') < word.len;
    h->auth = str_find(word, 'a') < word.len;
    snprintf(h->greeting, sizeof(h->greeting), "%.*s", STR_FMT(rest));
}

static void keep_seen(struct queue *q, const struct health *h)
{
    char name[256], value[160] = "";
    if (q->parts.state == NULL)
        return;
    if (h->known)
        snprintf(value, sizeof(value), "-%s%s%s %s", h->tls ? "t" : "", h->verified ? "v" : "",
                 h->auth ? "a" : "", h->greeting);
    state_set(q->parts.state, state_name(h, name), str_of(value));
}

// What it offered once stays known: some offer a login only to those outside of their network.
static void remember(struct queue *q, struct health *h, const struct deliver_probe *p)
{
    if (p->depth < PROBE_EHLO || p->greeting[0] == '\0')
        return;
    char greeting[sizeof(h->greeting)];
    snprintf(greeting, sizeof(greeting), "%.*s", (int)sizeof(greeting) - 1, p->greeting);
    if (h->known && strcmp(h->greeting, greeting) != 0)
        log_info("renamed", 0, "%s greets as %s now, and as %s before; it offers what it did",
                 h->name, greeting, h->greeting);
    memcpy(h->greeting, greeting, sizeof(greeting));
    h->known = true;
    h->tls = h->tls || p->offers_tls;
    h->auth = h->auth || p->offers_auth;
    h->verified = p->verified;
    keep_seen(q, h);
}

static bool is_another(const struct health *h, const struct deliver_probe *p)
{
    if (!h->known || p->greeting[0] == '\0' || !p->offered)
        return false;
    bool renamed = !str_ieq(str_of(p->greeting), str_of(h->greeting));
    if (!renamed) // what fails for want of TLS says so itself
        return h->tls && !p->offers_tls && p->outcome.class == OUTCOME_OK;
    return (h->tls && !p->offers_tls) || (h->auth && !p->offers_auth);
}

// ---- Probes ----

struct asking {
    struct deliver_probe probe; // first
    struct queue *q;
    char *name;
};

static void on_probed(struct deliver_probe *p);

static void ask(struct queue *q, struct health *h, enum conf_probe_depth least)
{
    const struct conf_gateway *g = &q->conf->gateways[h->index];
    if (h->under_way || !may_probe(q, h))
        return;
    struct asking *a = xcalloc(1, sizeof(*a));
    a->q = q;
    a->name = xstrdup(h->name);
    a->probe = (struct deliver_probe){.home = q->parts.loop,
                                      .done = on_probed,
                                      .conf = conf_ref(q->conf),
                                      .gateway = g,
                                      .depth = g->health.depth > least ? g->health.depth : least,
                                      .domain = ""};
    h->under_way = true;
    h->next_ms = q->now_ms + LIMIT_PROBE_MS + SAFETY_MS;
    deliver_probe(q->parts.delivers[q->next_loop++ % q->parts.loop_count], &a->probe);
}

static void note_intercepted(struct queue *q, struct health *h, struct deliver_probe *p)
{
    const char *lost = h->tls && !p->offers_tls ? "TLS" : "a login";
    bool renamed = !str_ieq(str_of(p->greeting), str_of(h->greeting));
    char how[300];
    if (renamed)
        snprintf(how, sizeof(how),
                 "another server answers for it (it greets as %.100s, not as %.100s, and does not "
                 "offer %s)",
                 p->greeting, h->greeting, lost);
    else
        snprintf(how, sizeof(how), "it no longer offers %s, which it always did", lost);
    p->outcome.class = OUTCOME_TLS;
    p->outcome.scope = SCOPE_NETWORK;
    snprintf(p->outcome.text, sizeof(p->outcome.text),
             "intercepted: %s; if the server itself has changed: waypost gateway forget %.100s",
             how, h->name);
    if (!h->intercepted)
        log_warn("intercepted", 0, "%s: %s", h->name, p->outcome.text);
    h->intercepted = true;
}

static void probed_well(struct queue *q, struct health *h, struct lane *lane)
{
    int64_t hold = q->conf->gateways[h->index].health.hold_ms;
    score(h, true);
    h->intercepted = false;
    if (lane->rest_until_ms <= 1 || lane->probing) { // it does not rest
        h->row = 0;
        tell(q, h, true);
        return;
    }
    if (h->well_ms == 0)
        h->well_ms = q->now_ms;
    int64_t end = h->well_ms + hold;
    if (end > q->now_ms) {
        lane_rest_on(q, lane, end < q->now_ms + HOLD_LOOK_MS ? end : q->now_ms + HOLD_LOOK_MS);
        return;
    }
    log_info("probe", 0, "%s answers again: the next message decides", h->name);
    h->row = 0;
    h->well_ms = 0;
    lane_half_open(q, lane);
}

static void probed_ill(struct queue *q, struct health *h, struct lane *lane,
                       const struct outcome *o)
{
    score(h, false);
    h->well_ms = 0;
    if (lane->rest_until_ms > 1) {
        lane->rest_until_ms = 2; // this rest is over, another begins
        lane_rest(q, lane, o, 0);
        return;
    }
    log_info("probe", 0, "%s was asked and failed: %s", h->name, o->text);
    if (health_trouble(q, h->index, o))
        lane_rest(q, lane, o, 0);
}

static void on_probed(struct deliver_probe *p)
{
    struct asking *a = (struct asking *)p;
    struct queue *q = a->q;
    queue_now(q);
    struct health *h = q->healths != NULL ? map_get(q->healths->by_name, str_of(a->name)) : NULL;
    if (h != NULL) {
        h->under_way = false;
        h->probe_ms = q->now_ms;
    }
    if (h != NULL && may_probe(q, h) && p->outcome.class != OUTCOME_LOCAL) {
        const struct conf_gateway *g = &q->conf->gateways[h->index];
        struct lane *lane = lane_for(q, h->index, STR(""));
        h->next_ms = g->health.every_ms > 0 ? q->now_ms + g->health.every_ms : 0;
        judge_classify(&p->outcome, p->conf, p->gateway);
        if (is_another(h, p))
            note_intercepted(q, h, p);
        if (p->outcome.class == OUTCOME_OK) {
            remember(q, h, p);
            probed_well(q, h, lane);
        } else {
            probed_ill(q, h, lane, &p->outcome);
        }
        queue_wake(q);
    }
    buf_free(&p->transcript);
    conf_unref(&p->conf);
    xfree(a->name);
    xfree(a);
}

bool health_wake(struct queue *q, struct lane *lane)
{
    struct health *h = find(q, lane->gateway);
    if (h == NULL || !may_probe(q, h) || lane->closed || lane->trouble == NULL)
        return false;
    const struct outcome *o = &lane->trouble->outcome;
    // Whatever a probe cannot see is for a message to find out.
    bool seen = o->class == OUTCOME_NET || o->class == OUTCOME_TLS || o->class == OUTCOME_DNS ||
                o->class == OUTCOME_AUTH || o->phase < PHASE_MAIL;
    if (o->class == OUTCOME_QUOTA || !seen || o->phase >= PHASE_MAIL)
        return false;
    ask(q, h, o->class == OUTCOME_AUTH ? PROBE_AUTH : PROBE_EHLO);
    lane_rest_on(q, lane, q->now_ms + LIMIT_PROBE_MS + SAFETY_MS);
    return true;
}

// ---- What attempts say ----

bool health_trouble(struct queue *q, uint32_t gateway, const struct outcome *o)
{
    struct health *h = find(q, gateway);
    if (h == NULL)
        return true;
    score(h, false);
    if (q->conf->gateways[gateway].kind == GATEWAY_DIRECT)
        return true;
    h->row++;
    unsigned most = q->conf->gateways[gateway].health.failures;
    // These say it plainly; one is enough.
    bool plain = o->class == OUTCOME_QUOTA || o->class == OUTCOME_AUTH ||
                 o->class == OUTCOME_REPUTATION || o->class == OUTCOME_DOUBT;
    bool rests = plain || h->row >= most || most == 0;
    if (rests)
        tell(q, h, false);
    return rests;
}

void health_good(struct queue *q, uint32_t gateway)
{
    struct health *h = find(q, gateway);
    if (h == NULL)
        return;
    score(h, true);
    h->row = 0;
    h->well_ms = 0;
    h->good_ms = q->now_ms;
    tell(q, h, true);
    // To know it again elsewhere, it must have been seen once.
    const struct conf_gateway *g = &q->conf->gateways[gateway];
    if (!h->known && q->where != NULL && h->next_ms == 0 && g->kind == GATEWAY_SMTP)
        h->next_ms = q->now_ms + FIRST_LOOK_MS;
}

// ---- Port 25 ----

static const char *const block_words[BLOCKS] = {
    [BLOCK_SILENT] =
        "port 25 is blocked on this network (probably by the provider): nobody answers",
    [BLOCK_REFUSED] = "a firewall refuses connections to port 25 on this network",
    [BLOCK_POLICY] =
        "receivers do not take mail from the address of this network (dynamic, listed, "
        "or without a name)",
};

static enum block block_of(const struct outcome *o)
{
    if (o->class == OUTCOME_REPUTATION)
        return BLOCK_POLICY;
    if (o->class != OUTCOME_NET || o->phase != PHASE_CONNECT)
        return BLOCK_NONE;
    return str_glob(STR("*no answer*"), str_of(o->text)) ? BLOCK_SILENT : BLOCK_REFUSED;
}

static void forget_block(struct queue *q, uint32_t direct)
{
    bool rested = q->healths->block != BLOCK_NONE;
    memset(q->healths->failed_count, 0, sizeof(q->healths->failed_count));
    q->healths->block = BLOCK_NONE;
    if (!rested || q->gateways[direct].rest_until_ms == 0)
        return;
    q->gateways[direct].rest_until_ms = 0;
    log_info("recovered", 0, "connections to port 25 are possible here");
    lane_quota_open(q, direct, true);
}

bool health_direct(struct queue *q, const struct lane *lane, const struct outcome *o)
{
    struct healths *all = q->healths;
    const struct conf_gateway *g = queue_gateway(q, lane);
    if (all == NULL || lane->closed || g->kind != GATEWAY_DIRECT || o->class == OUTCOME_LOCAL)
        return false;
    enum block block = block_of(o);
    bool spoke = o->class == OUTCOME_OK || o->code != 0;
    if (spoke)
        all->spoke_ms = q->mono_ms;
    if (spoke && block == BLOCK_NONE)
        forget_block(q, g->index);
    bool open = all->spoke_ms != 0 && q->mono_ms - all->spoke_ms < OPEN_MS;
    if (block == BLOCK_NONE || (open && block != BLOCK_POLICY))
        return false;
    if (spoke)
        all->failed_count[BLOCK_SILENT] = all->failed_count[BLOCK_REFUSED] = 0;
    uint64_t hash = map_hash(lane->domain, strlen(lane->domain));
    size_t *n = &all->failed_count[block];
    for (size_t i = 0; i < *n; i++)
        if (all->failed[block][i] == hash)
            return all->block == block && block != BLOCK_POLICY;
    if (*n < UNRELATED)
        all->failed[block][(*n)++] = hash;
    if (*n < UNRELATED)
        return false;
    bool news = all->block != block;
    all->block = block;
    if (news)
        log_warn("blocked", 0, "%s: %s", g->name, block_words[block]);
    if (block == BLOCK_POLICY)
        return false;
    struct plan_gateway *p = &q->gateways[g->index];
    if (p->rest_until_ms <= q->now_ms) {
        p->rest_until_ms = q->now_ms + BLOCKED_MS;
        p->rest_class = OUTCOME_NET;
        lane_sweep_gateway(q, g->index);
    }
    return true;
}

static void look_at_block(struct queue *q)
{
    for (uint32_t i = 0; i < q->healths->count; i++) {
        struct plan_gateway *p = &q->gateways[i];
        if (q->conf->gateways[i].kind != GATEWAY_DIRECT || p->rest_until_ms == 0 ||
            p->rest_until_ms > q->now_ms)
            continue;
        p->rest_until_ms = 0; // the next that fails so shuts it again
        q->healths->failed_count[q->healths->block] = UNRELATED - 1;
        lane_quota_open(q, i, true);
    }
}

// ---- The turn ----

// Somewhere else: the old friend is asked who it is before it gets mail in clear.
static void look_around(struct queue *q)
{
    q->healths->place_age = q->place_age;
    for (uint32_t i = 0; i < q->healths->count; i++) {
        struct health *h = q->healths->at[i];
        const struct conf_gateway *g = &q->conf->gateways[i];
        if (g->kind == GATEWAY_DIRECT) {
            forget_block(q, i);
            q->healths->spoke_ms = 0;
            continue;
        }
        h->intercepted = false;
        h->well_ms = 0;
        if (!h->known || g->tls != TLS_WANTED || !(h->tls || h->auth) || g->unix_path != NULL ||
            planning_shut(q, i) || !may_probe(q, h))
            continue;
        struct lane *lane = lane_for(q, i, STR(""));
        ask(q, h, PROBE_EHLO);
        lane_rest_on(q, lane, q->now_ms + LIMIT_PROBE_MS + SAFETY_MS);
    }
}

int64_t health_due(const struct queue *q)
{
    int64_t due = INT64_MAX;
    if (q->healths == NULL)
        return due;
    for (uint32_t i = 0; i < q->healths->count; i++) {
        const struct health *h = q->healths->at[i];
        int64_t next =
            q->conf->gateways[i].kind == GATEWAY_DIRECT ? q->gateways[i].rest_until_ms : h->next_ms;
        if (next != 0 && next < due)
            due = next;
    }
    return due;
}

static void look_at(struct queue *q, struct health *h)
{
    int64_t every = q->conf->gateways[h->index].health.every_ms;
    struct lane *lane = lane_for(q, h->index, STR(""));
    if (every > 0 && h->good_ms > q->now_ms - every) {
        h->next_ms = h->good_ms + every; // mail has shown it
        return;
    }
    h->next_ms = every > 0 ? q->now_ms + every : 0;
    // While it rests its lane asks.
    if (lane->rest_until_ms == 0 && !planning_shut(q, h->index))
        ask(q, h, PROBE_TCP);
}

void health_turn(struct queue *q)
{
    if (q->healths == NULL)
        return;
    if (q->healths->place_age != q->place_age)
        look_around(q);
    look_at_block(q);
    for (uint32_t i = 0; i < q->healths->count; i++) {
        struct health *h = q->healths->at[i];
        if (h->next_ms == 0 || h->next_ms > q->now_ms)
            continue;
        if (h->under_way || !may_probe(q, h))
            h->next_ms = q->now_ms + SAFETY_MS;
        else
            look_at(q, h);
    }
}

// ---- Life ----

void health_bind(struct queue *q)
{
    struct healths *all = q->healths;
    if (all == NULL)
        return;
    size_t pos = 0;
    for (struct health *h; (h = map_next(all->by_name, &pos)) != NULL;)
        h->index = UINT32_MAX;
    xfree(all->at);
    all->count = q->conf->gateway_count;
    all->at = xcalloc(all->count, sizeof(struct health *));
    for (uint32_t i = 0; i < all->count; i++) {
        const struct conf_gateway *g = &q->conf->gateways[i];
        struct health *h = map_get(all->by_name, str_of(g->name));
        if (h == NULL) {
            h = xcalloc(1, sizeof(*h));
            h->name = xstrdup(g->name);
            h->score = SCORE_FULL;
            h->well = true;
            map_put(all->by_name, str_of(h->name), h);
            read_seen(q, h);
        }
        h->index = i;
        all->at[i] = h;
        if (g->health.every_ms > 0 && g->kind != GATEWAY_DIRECT &&
            (h->next_ms == 0 || h->next_ms > q->now_ms + g->health.every_ms))
            h->next_ms = q->now_ms + g->health.every_ms;
    }
}

void health_start(struct queue *q)
{
    q->healths = xcalloc(1, sizeof(*q->healths));
    q->healths->by_name = map_new();
    q->healths->place_age = q->place_age;
    health_bind(q);
}

void health_free(struct queue *q)
{
    if (q->healths == NULL)
        return;
    size_t pos = 0;
    for (struct health *h; (h = map_next(q->healths->by_name, &pos)) != NULL;) {
        map_del(q->healths->by_name, str_of(h->name));
        xfree(h->name);
        xfree(h);
    }
    map_free(&q->healths->by_name);
    xfree(q->healths->at);
    xfree(q->healths);
    q->healths = NULL;
}

// ---- By hand ----

bool queue_forget_seen(struct queue *q, struct str name, const char *who, struct err *err)
{
    const struct conf_gateway *g = conf_gateway_find(q->conf, name);
    struct health *h = g != NULL ? find(q, g->index) : NULL;
    if (h == NULL || !h->known) {
        err_set(err,
                h == NULL ? "there is no gateway %.*s"
                          : "nothing is remembered of %.*s: it was not asked yet",
                STR_FMT(name));
        return false;
    }
    queue_now(q);
    log_info("forgotten", 0, "%s is taken as it answers now (it greeted as %s), by %s", h->name,
             h->greeting, who);
    h->known = h->tls = h->verified = h->auth = h->intercepted = false;
    h->greeting[0] = '\0';
    keep_seen(q, h);
    // It is asked who it is at once; if it rested for that, the answer decides.
    ask(q, h, PROBE_EHLO);
    return true;
}

void health_view(struct queue *q, uint32_t gateway, struct queue_gateway_view *v)
{
    const struct health *h = find(q, gateway);
    if (h == NULL)
        return;
    v->score = h->score;
    v->since_ms = h->since_ms;
    v->probe_ms = h->probe_ms;
    v->intercepted = h->intercepted;
    v->seen = h->known;
    v->seen_tls = h->tls;
    v->seen_verified = h->verified;
    v->seen_auth = h->auth;
    v->seen_as = h->greeting;
    enum block block = q->healths->block;
    bool rests = q->gateways[gateway].rest_until_ms > q->now_ms;
    if (q->conf->gateways[gateway].kind == GATEWAY_DIRECT && block != BLOCK_NONE &&
        (v->usable || rests)) {
        snprintf(v->why, sizeof(v->why), "%s", block_words[block]);
        v->usable = v->usable && block == BLOCK_POLICY;
    }
}
