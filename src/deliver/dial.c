// SPDX-License-Identifier: ISC
// Happy eyeballs (RFC 8305).
//
// Addresses of both families stand in two lists, in the order of the answers; they are tried in
// turns, IPv6 first, each STAGGER_MS after the one before or as soon as all before have failed. The
// first to stand wins. An address whose family this machine cannot reach fails at once and is only
// mentioned when there was nothing else.
//
// With a SOCKS proxy it is the proxy that is dialled, and a connection only counts once the proxy
// has made its own. A fault of the proxy leads to its next address; that it cannot reach the host
// would be the same at all of them.
#include "deliver/dial.h"

#include "base/mem.h"
#include "deliver/socks.h"
#include "deliver/where.h"
#include "sys/host.h"

#include <stdio.h>

enum {
    STAGGER_MS = 250, // RFC 8305 section 5
    PATIENCE_MS = 50, // for AAAA once A is there, section 3
};

enum { V6, V4, FAMILIES };

struct family {
    struct names_query *query;
    enum names_status status;
    struct net_addr list[LIMIT_ADDRESSES];
    size_t count, next;
};

struct
try {
    struct dial *dial;
    struct stream *stream;
};

struct dial {
    struct loop *loop;
    char host[256];
    struct net_addr source;
    char *interface;
    uint16_t port;
    bool strict, last_resort;
    const struct conf_socks *proxy; // NULL: none; else host and port above are its own
    char beyond[256];               // the host it is to connect to
    struct socks_settings ask;
    struct deliver_socks *socks;
    enum outcome_scope peer;
    struct addresses *addresses;
    int64_t limit_ms;
    int64_t stale_ms;
    bool known; // the addresses were known ahead
    dial_done *done;
    void *ctx;
    struct family families[FAMILIES];
    struct try tries[LIMIT_ADDRESSES];
    size_t most, tried, running;
    int last; // the family tried last
    bool patient, finished;
    bool won;         // a connection was handed over: no other until dial_again
    bool ours;        // an address was left out because it is ours
    bool forbidden;   // or because nobody should be there
    bool unreachable; // `failure` only says that a family cannot be reached
    bool no_route;    // and IPv4, where every machine with a network has a route, is one of them
    struct outcome failure;
    int code;      // the errno behind it
    char why[160]; // of the resolver
    struct timer stagger, limit;
    struct defer later;
};

static void advance(struct dial *d);
static void on_event(void *ctx, enum stream_event event);

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    return 0; // kept for whoever takes the stream over
}

static const struct stream_handler handler = {on_data, on_event};

static void close_tries(struct dial *d)
{
    for (size_t i = 0; i < LIMIT_ADDRESSES; i++)
        stream_close(&d->tries[i].stream, false);
    d->running = 0;
}

static void stop(struct dial *d)
{
    deliver_socks_free(&d->socks);
    timer_stop(&d->stagger);
    timer_stop(&d->limit);
    close_tries(d);
}

static void fail(struct dial *d, enum outcome_class class, enum outcome_phase phase,
                 const char *text)
{
    d->failure.class = class;
    d->failure.phase = phase;
    snprintf(d->failure.text, sizeof(d->failure.text), "%s", text);
}

static void set_enhanced(struct outcome *o, uint8_t subject, uint8_t detail)
{
    o->enhanced[0] = 5;
    o->enhanced[1] = subject;
    o->enhanced[2] = detail;
}

// Why there is no address to try.
static void explain_nothing(struct dial *d)
{
    char text[512];
    const struct family *f6 = &d->families[V6], *f4 = &d->families[V4];
    bool known = f6->status != NAMES_FAILED && f6->status != NAMES_BOGUS &&
                 f4->status != NAMES_FAILED && f4->status != NAMES_BOGUS;
    if (d->ours || d->forbidden) {
        snprintf(text, sizeof(text), "%s leads %s", d->host,
                 d->ours ? "back to this machine" : "to an address no mail server can have");
        fail(d, OUTCOME_REFUSED, PHASE_RESOLVE, text);
        set_enhanced(&d->failure, 4, d->ours ? 6 : 4);
    } else if (!known) {
        snprintf(text, sizeof(text), "%s has no address for now: %s", d->host, d->why);
        fail(d, OUTCOME_DNS, PHASE_RESOLVE, text);
    } else if (d->source.family != NET_NONE && (f6->status == NAMES_OK || f4->status == NAMES_OK)) {
        snprintf(text, sizeof(text), "%s has no address of the family of the source address",
                 d->host);
        fail(d, OUTCOME_NET, PHASE_RESOLVE, text);
    } else {
        bool gone = f6->status == NAMES_NXDOMAIN && f4->status == NAMES_NXDOMAIN;
        snprintf(text, sizeof(text), gone ? "%s does not exist" : "%s has no address", d->host);
        // That an exchanger's own name is missing may be the work of a moment.
        bool ours = d->failure.scope == SCOPE_GATEWAY;
        fail(d, d->last_resort || ours ? OUTCOME_NO_RECORD : OUTCOME_DNS, PHASE_RESOLVE, text);
        if (d->last_resort)
            set_enhanced(&d->failure, 4, 4);
    }
}

static bool is_nowhere(const struct net_addr *a)
{
    if (a->family == NET_IPV4)
        return a->bytes[0] == 0 || a->bytes[0] >= 224 || (a->bytes[0] == 169 && a->bytes[1] == 254);
    if (a->family == NET_IPV6)
        return net_addr_is_any(a) || a->bytes[0] == 0xff ||
               (a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80);
    return false;
}

static void add(struct dial *d, const struct net_addr *addr)
{
    struct family *f = &d->families[addr->family == NET_IPV6 ? V6 : V4];
    if (d->source.family != NET_NONE && addr->family != NET_UNIX &&
        d->source.family != addr->family)
        return;
    if (d->strict && (net_addr_is_loopback(addr) || net_addr_is_any(addr) || host_owns(addr))) {
        d->ours = true;
        return;
    }
    if (d->strict && is_nowhere(addr)) {
        d->forbidden = true;
        return;
    }
    if (f->count == LIMIT_ADDRESSES)
        return;
    f->list[f->count] = *addr;
    f->list[f->count++].port = d->port;
}

static void take_known(struct dial *d, const struct addresses_found *found)
{
    d->known = true;
    d->stale_ms = found->stale_ms;
    d->families[V6].status = d->families[V4].status = NAMES_OK;
    for (size_t i = 0; i < found->count; i++)
        add(d, &found->list[i]);
}

static const struct net_addr *next_address(struct dial *d)
{
    for (int i = 1; i <= FAMILIES; i++) {
        int which = (d->last + i) % FAMILIES;
        struct family *f = &d->families[which];
        if (f->next < f->count && d->tried < d->most) {
            d->last = which;
            return &f->list[f->next++];
        }
    }
    return NULL;
}

static bool has_more(const struct dial *d)
{
    bool any = false;
    for (int i = 0; i < FAMILIES; i++)
        any = any || d->families[i].next < d->families[i].count;
    return any && d->tried < d->most;
}

static void start_try(struct dial *d)
{
    const struct net_addr *addr = next_address(d);
    struct try *t = &d->tries[d->tried++];
    t->dial = d;
    struct stream_way way = {.from = d->source.family != NET_NONE ? &d->source : NULL,
                             .interface = d->interface};
    t->stream = stream_connect_by(d->loop, addr, &way, &handler, t);
    d->running++;
    timer_start(&d->limit, d->limit_ms);
    if (has_more(d))
        timer_start(&d->stagger, STAGGER_MS);
}

// Addresses of before, while DNS gives no answer. False: there are none.
static bool use_old(struct dial *d)
{
    struct addresses_found found;
    if (d->addresses == NULL || d->known || d->tried > 0 ||
        (d->families[V6].status != NAMES_FAILED && d->families[V4].status != NAMES_FAILED) ||
        !addresses_last(d->addresses, d->host, &found))
        return false;
    take_known(d, &found);
    return has_more(d);
}

static void give_up(struct dial *d)
{
    stop(d);
    if (d->failure.class == OUTCOME_OK && use_old(d)) {
        advance(d);
        return;
    }
    if (d->known && d->failure.class == OUTCOME_NET)
        addresses_doubt(d->addresses, d->host);
    if (d->failure.class == OUTCOME_OK) {
        explain_nothing(d);
    } else if (d->unreachable && d->no_route) {
        d->failure.class = OUTCOME_OFFLINE;
        d->failure.scope = SCOPE_NETWORK;
    }
    d->finished = true;
    d->done(d->ctx, NULL, &d->failure);
}

// Does what can be done now.
static void advance(struct dial *d)
{
    bool asking = d->families[V6].query != NULL || d->families[V4].query != NULL;
    if (d->running > 0 || d->won)
        return;
    if (has_more(d) && !(d->families[V6].query != NULL && d->patient)) {
        start_try(d);
    } else if (has_more(d)) {
        if (!timer_running(&d->stagger))
            timer_start(&d->stagger, PATIENCE_MS);
    } else if (!asking) {
        give_up(d);
    }
}

static void on_stagger(void *ctx)
{
    struct dial *d = ctx;
    d->patient = false;
    if (has_more(d))
        start_try(d);
}

// Descriptors, memory or ports of this machine have run out: that says nothing of the peer.
static bool is_local(const struct dial *d, const struct stream *s, int code)
{
    bool ports =
        d->source.family == NET_NONE && stream_peer(s)->family == NET_IPV4 && code == EADDRNOTAVAIL;
    return code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS || ports;
}

static void remember(struct dial *d, const struct stream *s)
{
    int code = stream_errno(s);
    const char *proxy = d->proxy != NULL ? "SOCKS proxy: " : "";
    bool unreachable =
        code == ENETUNREACH || code == EAFNOSUPPORT || code == EADDRNOTAVAIL || code == ENETDOWN;
    bool no_route = stream_peer(s)->family == NET_IPV4 && (code == ENETUNREACH || code == ENETDOWN);
    bool local = is_local(d, s, code);
    unreachable = unreachable && !local;
    d->no_route = d->no_route || no_route;
    // The first is the one that counts, unless it said less than this one.
    bool says_more = d->unreachable && (!unreachable || no_route);
    if (d->failure.class == OUTCOME_LOCAL ||
        (d->failure.class != OUTCOME_OK && !local && !says_more))
        return;
    d->unreachable = unreachable;
    char why[LIMIT_OUTCOME_TEXT];
    snprintf(why, sizeof(why), "%s%s", proxy, stream_error(s));
    fail(d, local ? OUTCOME_LOCAL : OUTCOME_NET, PHASE_CONNECT, why);
    d->code = code;
    if (local)
        d->failure.scope = SCOPE_NONE;
    where_format(d->host, stream_peer(s), d->port, d->failure.where);
}

static void on_socks(void *ctx, struct stream *stream, const struct outcome *failure)
{
    struct dial *d = ctx;
    if (stream != NULL) {
        deliver_socks_free(&d->socks);
        d->done(d->ctx, stream, NULL);
        return;
    }
    d->failure = *failure;
    d->unreachable = false;
    bool proxys = failure->scope == SCOPE_GATEWAY && failure->class == OUTCOME_NET;
    deliver_socks_free(&d->socks);
    d->won = false;
    if (proxys && has_more(d))
        start_try(d);
    else
        give_up(d);
}

static void on_event(void *ctx, enum stream_event event)
{
    struct try *t = ctx;
    struct dial *d = t->dial;
    if (event == STREAM_CONNECTED) {
        struct stream *won = t->stream;
        t->stream = NULL;
        d->won = true;
        stop(d);
        if (d->proxy != NULL)
            d->socks = deliver_socks_new(d->loop, won, &d->ask, d->peer, on_socks, d);
        else
            d->done(d->ctx, won, NULL);
    } else if (event == STREAM_ERROR) {
        remember(d, t->stream);
        stream_close(&t->stream, false);
        d->running--;
        if (has_more(d)) {
            timer_stop(&d->stagger);
            start_try(d);
        } else {
            advance(d);
        }
    }
}

static void on_limit(void *ctx)
{
    struct dial *d = ctx;
    char text[512];
    snprintf(text, sizeof(text), "no answer from %s within %d s, probably filtered", d->host,
             (int)(d->limit_ms / 1000));
    if (d->failure.class == OUTCOME_OK || d->unreachable) {
        fail(d, OUTCOME_NET, PHASE_CONNECT, text);
        d->code = ETIMEDOUT;
    }
    d->unreachable = false;
    close_tries(d);
    advance(d);
}

static void take_answer(struct dial *d, int which, const struct names_answer *answer)
{
    struct family *f = &d->families[which];
    f->query = NULL;
    f->status = answer->status;
    if (answer->why[0] != '\0')
        snprintf(d->why, sizeof(d->why), "%s", answer->why);
    for (size_t i = 0; answer->status == NAMES_OK && i < answer->count; i++)
        add(d, &answer->records[i].addr);
    if (which == V6)
        d->patient = false;
    // Of those already under way one is younger than the stagger: the new ones wait for it.
    if (d->running > 0 && has_more(d) && !timer_running(&d->stagger))
        timer_start(&d->stagger, STAGGER_MS);
    if (d->running == 0)
        timer_stop(&d->stagger);
    advance(d);
}

static void on_aaaa(void *ctx, const struct names_answer *answer)
{
    take_answer(ctx, V6, answer);
}

static void on_a(void *ctx, const struct names_answer *answer)
{
    take_answer(ctx, V4, answer);
}

static void on_later(void *ctx)
{
    advance(ctx);
}

// The proxy is what is dialled; an address that is known already is what it is asked for.
static void go_by_proxy(struct dial *d, const struct dial_target *target)
{
    const struct net_addr *literal = target->direct.family != NET_NONE ? &target->direct
                                     : target->pinned_count > 0        ? &target->pinned[0]
                                                                       : NULL;
    char ip[NET_ADDR_TEXT];
    d->proxy = target->socks;
    snprintf(d->beyond, sizeof(d->beyond), "%s",
             literal != NULL ? net_addr_format_ip(literal, ip) : target->host);
    snprintf(d->host, sizeof(d->host), "%s", d->proxy->host);
    d->ask = (struct socks_settings){.host = d->beyond,
                                     .port = target->port,
                                     .user = d->proxy->user,
                                     .password = d->proxy->password};
    d->port = d->proxy->port;
    d->strict = d->last_resort = false;
    d->most = LIMIT_ADDRESSES;
    d->failure.scope = SCOPE_GATEWAY;
}

// The addresses that need no look-up. False: there are none.
static bool take_given(struct dial *d, const struct dial_target *target)
{
    struct net_addr literal = {0};
    struct addresses_found found;
    if (d->proxy == NULL && target->direct.family != NET_NONE) {
        literal = target->direct;
    } else if (d->proxy == NULL && target->pinned_count > 0) {
        for (size_t i = 0; i < target->pinned_count; i++)
            add(d, &target->pinned[i]);
    } else if (net_addr_parse_ip(str_of(d->host), &literal)) {
        ;
    } else if (target->addresses != NULL && addresses_find(target->addresses, d->host, &found)) {
        take_known(d, &found);
    } else {
        return false;
    }
    d->families[V6].status = d->families[V4].status = NAMES_OK;
    if (literal.family != NET_NONE)
        add(d, &literal);
    return true;
}

struct dial *dial_new(struct loop *loop, struct names *names, const struct dial_target *target,
                      dial_done *done, void *ctx)
{
    struct dial *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    snprintf(d->host, sizeof(d->host), "%s", target->host);
    d->source = target->source;
    d->interface = target->interface != NULL ? xstrdup(target->interface) : NULL;
    d->port = target->port;
    d->strict = target->strict;
    d->last_resort = target->last_resort;
    d->peer = target->peer;
    d->addresses = target->addresses;
    d->done = done;
    d->ctx = ctx;
    d->limit_ms = target->limit_ms > 0 && target->limit_ms < LIMIT_CONNECT_MS ? target->limit_ms
                                                                              : LIMIT_CONNECT_MS;
    d->most = target->most < LIMIT_ADDRESSES ? target->most : LIMIT_ADDRESSES;
    d->last = V4;
    d->patient = true;
    d->failure.scope = target->peer;
    snprintf(d->failure.where, sizeof(d->failure.where), "%.90s", target->host);
    timer_init(&d->stagger, loop, on_stagger, d);
    timer_init(&d->limit, loop, on_limit, d);
    if (target->socks != NULL && target->direct.family != NET_UNIX)
        go_by_proxy(d, target);
    if (take_given(d, target)) {
        loop_defer(loop, &d->later, on_later, d);
        return d;
    }
    d->families[V6].query = names_lookup(names, d->host, NAMES_AAAA, on_aaaa, d);
    d->families[V4].query = names_lookup(names, d->host, NAMES_A, on_a, d);
    return d;
}

bool dial_again(struct dial *d)
{
    if (d->finished || !has_more(d))
        return false;
    d->patient = false;
    d->won = false;
    d->failure.class = OUTCOME_OK;
    loop_defer(d->loop, &d->later, on_later, d);
    return true;
}

size_t dial_tried(const struct dial *d)
{
    return d->tried;
}

int64_t dial_stale_ms(const struct dial *d)
{
    return d->known ? d->stale_ms : 0;
}

int dial_errno(const struct dial *d)
{
    return d->code;
}

enum names_status dial_names(const struct dial *d)
{
    const struct family *f6 = &d->families[V6], *f4 = &d->families[V4];
    if (f6->status == NAMES_OK || f4->status == NAMES_OK)
        return NAMES_OK;
    if (f6->status == NAMES_BOGUS || f4->status == NAMES_BOGUS)
        return NAMES_BOGUS;
    if (f6->status == NAMES_FAILED || f4->status == NAMES_FAILED)
        return NAMES_FAILED;
    return f4->status;
}

void dial_free(struct dial **dial)
{
    struct dial *d = *dial;
    if (d == NULL)
        return;
    *dial = NULL;
    stop(d);
    defer_cancel(&d->later);
    for (int i = 0; i < FAMILIES; i++)
        names_cancel(&d->families[i].query);
    xfree(d->interface);
    xfree(d);
}
