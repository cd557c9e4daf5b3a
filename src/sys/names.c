// SPDX-License-Identifier: ISC
// DNS look-ups by libunbound, which resolves, caches and validates inside this process on our loop.
//
// Invariants
//  1. An answer is copied out of libunbound's hands at once and told later by a deferred call: no
//     callback of ours ever runs inside libunbound, so the owner may do anything in it.
//  2. A query that was cancelled or timed out while libunbound works on it stays as an orphan until
//     libunbound calls back, for it cannot be taken back there.
//  3. All options come before ub_ctx_zone_remove, which makes them final. So a machine that moves
//  to
//     another network, with other name servers, gets another context; look-ups under way move
//     along.
#include "sys/names.h"
#include "base/list.h"
#include "base/mem.h"
#include "sys/log.h"
#include "sys/names_event.h"
#include "sys/names_hosts.h"
#include "sys/names_parse.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unbound.h>
#include <unistd.h>

static const char RESOLV_CONF[] = "/etc/resolv.conf";
enum { TIMEOUT_MS = 10 * 1000, CLASS_IN = 1, SECURE = 2, BOGUS = 1 };

// The settings, and what is open for them.
struct resolver {
    struct ub_ctx *ub;
    char **servers; // NULL: those of RESOLV_CONF
    char *anchor_file;
    struct hosts *hosts;
    int timeout_ms;
    bool asks_invalid;
};

struct names_change {
    struct resolver resolver;
};

struct names {
    struct names_base base; // libunbound's loop
    struct loop *loop;
    struct resolver by;
    struct timespec resolv_changed;
    struct link queries;
    struct link orphans;
    bool dropping; // the context is being deleted: it may call back for all it had under way
};

struct names_query {
    struct link link;
    struct names *names;
    enum names_type type;
    char *name;
    void (*done)(void *ctx, const struct names_answer *answer);
    void *ctx;
    struct arena *arena;
    struct names_answer answer;
    struct defer told;
    struct timer timeout;
    bool in_flight; // libunbound will call back
    bool orphan;
    bool telling;
};

// ---- the resolver

static bool set_system_servers(struct ub_ctx *ub, struct err *err)
{
    // No file means a server on this machine (resolv.conf(5)).
    int rc = access(RESOLV_CONF, F_OK) == 0 ? ub_ctx_resolvconf(ub, RESOLV_CONF)
                                            : ub_ctx_set_fwd(ub, "127.0.0.1");
    if (rc != 0)
        err_set(err, "cannot read the name servers from %s: %s", RESOLV_CONF, ub_strerror(rc));
    return rc == 0;
}

static bool set_servers(struct ub_ctx *ub, char *const *servers, struct err *err)
{
    if (servers == NULL)
        return set_system_servers(ub, err);
    for (; *servers != NULL; servers++) {
        struct net_addr addr;
        char ip[NET_ADDR_TEXT], text[NET_ADDR_TEXT + 8];
        if (!net_addr_parse(str_of(*servers), 53, &addr) || addr.family == NET_UNIX) {
            err_set(err, "\"%s\" is no name server: give an address, or address:port", *servers);
            return false;
        }
        snprintf(text, sizeof(text), "%s@%u", net_addr_format_ip(&addr, ip), addr.port);
        int rc = ub_ctx_set_fwd(ub, text);
        if (rc != 0) {
            err_set(err, "cannot use the name server %s: %s", *servers, ub_strerror(rc));
            return false;
        }
    }
    return true;
}

static bool set_options(struct ub_ctx *ub, struct err *err)
{
    static const char *const options[][2] = {
        {"do-not-query-localhost:", "no"}, // a resolver on this machine is the usual case
        {"unblock-lan-zones:", "yes"},     // PTR of private addresses: the LAN's resolver knows
        {"insecure-lan-zones:", "yes"},
        {"infra-host-ttl:", "30"}, // a server that was away is asked again soon
        {"infra-keep-probing:", "yes"},
        {"use-syslog:", "no"},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        int rc = ub_ctx_set_option(ub, options[i][0], options[i][1]);
        if (rc != 0) {
            err_set(err, "cannot set the resolver's option %s %s: %s", options[i][0], options[i][1],
                    ub_strerror(rc));
            return false;
        }
    }
    return true;
}

static bool set_anchor(struct ub_ctx *ub, const char *file, struct err *err)
{
    if (file == NULL)
        return true;
    int rc = access(file, R_OK) == 0 ? ub_ctx_add_ta_file(ub, file) : 0;
    if (access(file, R_OK) != 0)
        err_sys(err, errno, "cannot read the DNSSEC trust anchor %s", file);
    else if (rc != 0)
        err_set(err, "cannot use the DNSSEC trust anchor %s: %s", file, ub_strerror(rc));
    else
        return true;
    return false;
}

// Names libunbound would deny by itself, although a site may well use them inside.
static bool open_zones(struct ub_ctx *ub, bool asks_invalid, struct err *err)
{
    static const char *const zones[] = {"test.", "home.arpa.", "invalid."};
    size_t count = sizeof(zones) / sizeof(zones[0]) - (asks_invalid ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        int rc = ub_ctx_zone_remove(ub, zones[i]);
        if (rc != 0) {
            err_set(err, "cannot start the resolver: %s", ub_strerror(rc));
            return false;
        }
    }
    return true;
}

static struct ub_ctx *context_new(struct names *names, const struct resolver *by, struct err *err)
{
    struct ub_ctx *ub = ub_ctx_create_ub_event(&names->base.ub);
    if (ub == NULL) {
        err_set(err, "cannot create the resolver: out of memory or descriptors");
        return NULL;
    }
    ub_ctx_debugout(ub, NULL); // it would write to standard error
    if (set_options(ub, err) && set_servers(ub, by->servers, err) &&
        set_anchor(ub, by->anchor_file, err) && open_zones(ub, by->asks_invalid, err))
        return ub;
    ub_ctx_delete(ub);
    return NULL;
}

static bool resolv_conf_changed(struct names *names)
{
    struct stat st = {0};
    if (names->by.servers != NULL)
        return false;
    (void)!stat(RESOLV_CONF, &st);
    bool changed = memcmp(&st.st_mtim, &names->resolv_changed, sizeof(st.st_mtim)) != 0;
    names->resolv_changed = st.st_mtim;
    return changed;
}

static void copy_servers(struct resolver *by, const char *const *servers)
{
    size_t count = 0;
    while (servers != NULL && servers[count] != NULL)
        count++;
    if (count == 0)
        return;
    by->servers = xcalloc(count + 1, sizeof(*by->servers));
    for (size_t i = 0; i < count; i++)
        by->servers[i] = xstrdup(servers[i]);
}

// `names->dropping` is set, when look-ups may be under way.
static void resolver_close(struct resolver *by)
{
    if (by->ub != NULL)
        ub_ctx_delete(by->ub);
    hosts_free(&by->hosts);
    for (char **server = by->servers; server != NULL && *server != NULL; server++)
        xfree(*server);
    xfree(by->servers);
    xfree(by->anchor_file);
    *by = (struct resolver){0};
}

static bool resolver_open(struct names *names, const struct names_settings *settings,
                          struct resolver *by, struct err *err)
{
    *by = (struct resolver){.timeout_ms =
                                settings->timeout_ms > 0 ? settings->timeout_ms : TIMEOUT_MS};
    by->hosts = hosts_new(settings->hosts_file != NULL ? settings->hosts_file : "/etc/hosts");
    by->asks_invalid = settings->asks_invalid;
    copy_servers(by, settings->servers);
    if (settings->anchor_file != NULL)
        by->anchor_file = xstrdup(settings->anchor_file);
    err->code = 0;
    by->ub = context_new(names, by, err);
    if (by->ub == NULL)
        resolver_close(by);
    return by->ub != NULL;
}

struct names *names_new(struct loop *loop, const struct names_settings *settings, struct err *err)
{
    struct names *names = xcalloc(1, sizeof(*names));
    names->loop = loop;
    list_init(&names->queries);
    list_init(&names->orphans);
    names_base_init(&names->base, loop);
    if (!resolver_open(names, settings, &names->by, err))
        names_free(&names);
    else
        resolv_conf_changed(names);
    return names;
}

static void query_free(struct names_query *q)
{
    timer_stop(&q->timeout);
    defer_cancel(&q->told);
    list_remove(&q->link);
    arena_free(&q->arena);
    xfree(q->name);
    xfree(q);
}

void names_free(struct names **names_ptr)
{
    struct names *names = *names_ptr;
    *names_ptr = NULL;
    if (names == NULL)
        return;
    struct names_query *q;
    names->dropping = true;
    resolver_close(&names->by);
    list_each (&names->queries, q, struct names_query, link)
        query_free(q);
    list_each (&names->orphans, q, struct names_query, link)
        query_free(q);
    xfree(names);
}

// ---- answers

// Nobody waits for it any more.
static void let_go(struct names_query *q)
{
    if (!q->in_flight) {
        query_free(q);
        return;
    }
    timer_stop(&q->timeout);
    defer_cancel(&q->told);
    q->orphan = true;
    list_remove(&q->link);
    list_append(&q->names->orphans, &q->link);
}

static void tell(void *ctx)
{
    struct names_query *q = ctx;
    if (q->in_flight) {
        struct names_answer answer = q->answer; // a time-out's: it owns nothing
        let_go(q);
        q->done(q->ctx, &answer);
        return;
    }
    // The owner may free the whole resolver in its callback; the answer must last until it returns.
    list_remove(&q->link);
    q->telling = true;
    q->done(q->ctx, &q->answer);
    query_free(q);
}

static void tell_later(struct names_query *q)
{
    timer_stop(&q->timeout);
    loop_defer(q->names->loop, &q->told, tell, q);
}

static void on_timeout(void *ctx)
{
    struct names_query *q = ctx;
    q->answer = (struct names_answer){.status = NAMES_FAILED};
    snprintf(q->answer.why, sizeof(q->answer.why), "no answer from the name servers within %d s",
             (q->names->by.timeout_ms + 999) / 1000);
    tell(q);
}

static void on_answer(void *ctx, int rcode, void *packet, int len, int security, char *why_bogus,
                      int was_ratelimited)
{
    struct names_query *q = ctx;
    if (q->names->dropping)
        return;
    q->in_flight = false;
    if (q->orphan) {
        query_free(q);
        return;
    }
    struct names_answer *answer = &q->answer;
    // The packet's own code counts: the one given is 0 for a name that does not exist.
    if (rcode == 0 && packet != NULL && len > 0)
        names_parse(packet, (size_t)len, q->type, q->arena, answer);
    else {
        *answer = (struct names_answer){.status = NAMES_FAILED};
        snprintf(answer->why, sizeof(answer->why), "the name servers could not answer%s",
                 rcode == 2 ? " (SERVFAIL)" : "");
    }
    answer->secure = security == SECURE && answer->status != NAMES_FAILED;
    if (security == BOGUS) {
        answer->status = NAMES_BOGUS;
        answer->count = 0;
        snprintf(answer->why, sizeof(answer->why), "%s",
                 why_bogus != NULL ? why_bogus : "DNSSEC validation failed");
    }
    tell_later(q);
}

// ---- what is known without asking

static void add_addr(struct names_query *q, struct names_record *records, const char *ip,
                     const struct net_addr *addr)
{
    struct net_addr parsed;
    if (addr == NULL) {
        net_addr_parse_ip(str_of(ip), &parsed);
        addr = &parsed;
    }
    enum net_family wanted = q->type == NAMES_A ? NET_IPV4 : NET_IPV6;
    if (addr->family == wanted && q->answer.count < NAMES_RECORDS_MAX)
        records[q->answer.count++].addr = *addr;
}

static bool is_localhost(const char *name)
{
    struct str s = str_of(name);
    if (s.len > 0 && s.ptr[s.len - 1] == '.')
        s.len--;
    return str_ieq(s, STR("localhost")) || str_iends(s, STR(".localhost"));
}

static bool answer_here(struct names_query *q, const char *name)
{
    if (q->type != NAMES_A && q->type != NAMES_AAAA)
        return false;
    const struct hosts_entry *entry = hosts_get(q->names->by.hosts, name);
    bool local = is_localhost(name);
    if (entry == NULL && !local)
        return false;
    struct names_record *records =
        arena_alloc(q->arena, NAMES_RECORDS_MAX * sizeof(struct names_record));
    q->answer = (struct names_answer){.records = records};
    for (; entry != NULL && !local; entry = entry->next)
        add_addr(q, records, NULL, &entry->addr);
    if (local) { // RFC 6761 section 6.3
        add_addr(q, records, "127.0.0.1", NULL);
        add_addr(q, records, "::1", NULL);
    }
    q->answer.status = q->answer.count > 0 ? NAMES_OK : NAMES_NODATA;
    return true;
}

// "192.0.2.1" asked for its PTR means 1.2.0.192.in-addr.arpa.
static void reverse_name(const struct net_addr *ip, char out[80])
{
    size_t at = 0;
    if (ip->family == NET_IPV4) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", ip->bytes[3], ip->bytes[2], ip->bytes[1],
                 ip->bytes[0]);
        return;
    }
    for (int i = 15; i >= 0; i--)
        at += (size_t)snprintf(out + at, 80 - at, "%x.%x.", ip->bytes[i] & 15, ip->bytes[i] >> 4);
    snprintf(out + at, 80 - at, "ip6.arpa");
}

static void start(struct names_query *q)
{
    q->in_flight = true; // it may call back at once, from its cache
    int rc = ub_resolve_event(q->names->by.ub, q->name, (int)q->type, CLASS_IN, q, on_answer, NULL);
    if (rc == 0)
        return;
    q->in_flight = false;
    // What cannot be a name does not exist, now or later.
    q->answer = (struct names_answer){.status = rc == UB_SYNTAX ? NAMES_NXDOMAIN : NAMES_FAILED};
    snprintf(q->answer.why, sizeof(q->answer.why), "the resolver could not ask: %s",
             ub_strerror(rc));
    tell_later(q);
}

// The old context is gone, and with it what it was asked.
static void ask_again(struct names *names)
{
    struct names_query *q;
    names->dropping = false;
    list_each (&names->orphans, q, struct names_query, link)
        query_free(q);
    list_each (&names->queries, q, struct names_query, link)
        if (q->in_flight)
            start(q);
}

// Other name servers: what was asked of the old ones is asked anew.
static void renew(struct names *names)
{
    struct err err;
    struct ub_ctx *fresh = context_new(names, &names->by, &err);
    if (fresh == NULL) {
        log_warn("names", 0, "staying with the old name servers: %s", err.text);
        return;
    }
    names->dropping = true;
    ub_ctx_delete(names->by.ub);
    names->by.ub = fresh;
    ask_again(names);
}

struct names_change *names_prepare(struct names *names, const struct names_settings *settings,
                                   struct err *err)
{
    struct names_change *change = xcalloc(1, sizeof(*change));
    if (!resolver_open(names, settings, &change->resolver, err)) {
        xfree(change);
        return NULL;
    }
    return change;
}

void names_apply(struct names *names, struct names_change **change)
{
    names->dropping = true;
    resolver_close(&names->by);
    names->by = (*change)->resolver;
    resolv_conf_changed(names);
    xfree(*change);
    *change = NULL;
    ask_again(names);
}

void names_discard(struct names_change **change)
{
    if (*change != NULL)
        resolver_close(&(*change)->resolver);
    xfree(*change);
    *change = NULL;
}

void names_refresh(struct names *names)
{
    resolv_conf_changed(names);
    renew(names);
}

struct names_query *names_lookup(struct names *names, const char *name, enum names_type type,
                                 void (*done)(void *ctx, const struct names_answer *answer),
                                 void *ctx)
{
    struct names_query *q = xcalloc(1, sizeof(*q));
    *q = (struct names_query){
        .names = names, .type = type, .done = done, .ctx = ctx, .arena = arena_new()};
    timer_init(&q->timeout, names->loop, on_timeout, q);
    if (answer_here(q, name)) {
        list_append(&names->queries, &q->link);
        tell_later(q);
        return q;
    }
    if (resolv_conf_changed(names))
        renew(names);
    struct net_addr ip;
    char reverse[80];
    if (type == NAMES_PTR && net_addr_parse_ip(str_of(name), &ip)) {
        reverse_name(&ip, reverse);
        name = reverse;
    }
    q->name = xstrdup(name);
    list_append(&names->queries, &q->link);
    timer_start(&q->timeout, names->by.timeout_ms);
    start(q);
    return q;
}

void names_cancel(struct names_query **query)
{
    struct names_query *q = *query;
    *query = NULL;
    if (q != NULL && !q->telling && !q->orphan)
        let_go(q);
}
