// SPDX-License-Identifier: ISC
// DNS of the simulated world: a table the driver fills, answers that take their time, and a switch
// that kills it.
#include "sim/inside.h"
#include "sys/names.h"

#include <stdlib.h>

struct entry {
    struct link all;
    char name[256];
    enum names_type type;
    bool is_status; // overrides the records
    enum names_status status;
    struct names_record record;
    char text[512];
};

struct names_change {
    int64_t timeout_us;
};

struct names {
    struct loop *loop;
    int64_t timeout_us;
    struct link queries;
};

struct names_query {
    struct link all; // names.queries
    struct names *names;
    struct event event;
    char name[256];
    enum names_type type;
    void (*done)(void *ctx, const struct names_answer *answer);
    void *ctx;
};

static struct link table;
static bool dead, dead_slow, lying;
static struct names_record lie;

static void lower(char out[256], const char *name)
{
    size_t len = strnlen(name, 255);
    if (len > 0 && name[len - 1] == '.')
        len--;
    for (size_t i = 0; i < len; i++)
        out[i] = ascii_lower(name[i]);
    out[len] = '\0';
}

static struct entry *entry_add(const char *name, enum names_type type)
{
    struct entry *e = sim_alloc(SIM_WORLD, sizeof(*e));
    lower(e->name, name);
    e->type = type;
    list_append(&table, &e->all);
    return e;
}

void world_name_mx(const char *name, uint16_t preference, const char *host)
{
    SIM_CALL;
    struct entry *e = entry_add(name, NAMES_MX);
    e->record.preference = preference;
    lower(e->record.name, host);
}

void world_name_address(const char *name, const char *ip)
{
    SIM_CALL;
    struct net_addr addr;
    bool good = net_addr_parse_ip(str_of(ip), &addr);
    assert(good);
    struct entry *e = entry_add(name, addr.family == NET_IPV4 ? NAMES_A : NAMES_AAAA);
    e->record.addr = addr;
}

void world_name_text(const char *name, enum names_type type, const char *text)
{
    SIM_CALL;
    struct entry *e = entry_add(name, type);
    if (type == NAMES_PTR)
        lower(e->record.name, text);
    snprintf(e->text, sizeof(e->text), "%s", text);
    e->record.data = str_of(e->text);
}

void world_name_status(const char *name, enum names_type type, enum names_status status)
{
    SIM_CALL;
    char key[256];
    lower(key, name);
    struct entry *e;
    list_each (&table, e, struct entry, all) {
        if (e->is_status && e->type == type && strcmp(e->name, key) == 0) {
            list_remove(&e->all);
            xfree(e);
        }
    }
    if (status == NAMES_OK)
        return;
    e = entry_add(name, type);
    e->is_status = true;
    e->status = status;
}

void world_name_clear(void)
{
    struct entry *e;
    list_each (&table, e, struct entry, all) {
        list_remove(&e->all);
        xfree(e);
    }
}

void world_names_dead(bool now_dead, bool slow)
{
    dead = now_dead;
    dead_slow = slow;
}

void world_names_lie(const char *ip)
{
    lying = ip != NULL;
    if (lying) {
        bool good = net_addr_parse_ip(str_of(ip), &lie.addr);
        assert(good);
    }
}

void names_table_init(void)
{
    list_init(&table);
    dead = lying = false;
}

void names_table_free(void)
{
    world_name_clear();
}

// ---- Look-ups. ----

static int64_t timeout_of(const struct names_settings *settings)
{
    return 1000 * (int64_t)(settings->timeout_ms > 0 ? settings->timeout_ms : 10000);
}

struct names *names_new(struct loop *loop, const struct names_settings *settings, struct err *err)
{
    SIM_CALL;
    struct names *names = sim_alloc(SIM_CALLER, sizeof(*names));
    names->loop = loop;
    names->timeout_us = timeout_of(settings);
    list_init(&names->queries);
    return names;
}

static void query_drop(struct names_query *q)
{
    event_cancel(&q->event);
    list_remove(&q->all);
    xfree(q);
}

void names_free(struct names **names)
{
    if (*names == NULL)
        return;
    SIM_CALL;
    struct names_query *q;
    list_each (&(*names)->queries, q, struct names_query, all)
        query_drop(q);
    xfree(*names);
    *names = NULL;
}

// Nothing is remembered here.
void names_refresh(struct names *names)
{
    SIM_CALL;
}

struct names_change *names_prepare(struct names *names, const struct names_settings *settings,
                                   struct err *err)
{
    SIM_CALL;
    struct names_change *change = sim_alloc(SIM_CALLER, sizeof(*change));
    change->timeout_us = timeout_of(settings);
    return change;
}

void names_apply(struct names *names, struct names_change **change)
{
    SIM_CALL;
    names->timeout_us = (*change)->timeout_us;
    xfree(*change);
    *change = NULL;
}

void names_discard(struct names_change **change)
{
    SIM_CALL;
    xfree(*change);
    *change = NULL;
}

static int by_preference(const void *a, const void *b)
{
    const struct names_record *x = a, *y = b;
    return x->preference - y->preference;
}

enum { ANSWER_RECORDS = 64 };

static void look_up(const char *name, enum names_type type, struct names_answer *answer,
                    struct names_record records[ANSWER_RECORDS])
{
    struct entry *e;
    bool exists = false;
    answer->status = NAMES_OK;
    answer->ttl_s = 300;
    list_each (&table, e, struct entry, all) {
        if (strcmp(e->name, name) != 0)
            continue;
        exists = true;
        if (e->type != type)
            continue;
        if (e->is_status)
            answer->status = e->status;
        else if (answer->count < ANSWER_RECORDS)
            records[answer->count++] = e->record;
    }
    if (answer->status == NAMES_OK && answer->count == 0)
        answer->status = exists || lying ? NAMES_NODATA : NAMES_NXDOMAIN;
    if (lying && !exists && type == NAMES_A) {
        answer->status = NAMES_OK;
        records[answer->count++] = lie;
    }
    if (answer->status != NAMES_OK)
        answer->count = 0;
    if (type == NAMES_MX)
        qsort(records, answer->count, sizeof(records[0]), by_preference);
    answer->records = records;
}

static void query_answer(struct event *event)
{
    struct names_query *q = container_of(event, struct names_query, event);
    struct names_answer answer = {0};
    struct names_record records[ANSWER_RECORDS];
    if (dead) {
        answer.status = NAMES_FAILED;
    } else {
        look_up(q->name, q->type, &answer, records);
    }
    if (answer.status == NAMES_FAILED)
        snprintf(answer.why, sizeof(answer.why), "no answer for %.100s: SERVFAIL", q->name);
    if (answer.status == NAMES_BOGUS)
        snprintf(answer.why, sizeof(answer.why), "the answer for %.100s is forged", q->name);
    void (*done)(void *, const struct names_answer *) = q->done;
    void *ctx = q->ctx;
    struct loop *loop = q->names->loop;
    query_drop(q);
    sim_trace(answer.status);
    SIM_CALLBACK(loop, done(ctx, &answer));
}

struct names_query *names_lookup(struct names *names, const char *name, enum names_type type,
                                 void (*done)(void *ctx, const struct names_answer *answer),
                                 void *ctx)
{
    SIM_CALL;
    struct names_query *q = sim_alloc(SIM_CALLER, sizeof(*q));
    q->names = names;
    q->type = type;
    q->done = done;
    q->ctx = ctx;
    lower(q->name, name);
    event_init(&q->event, names->loop, query_answer);
    list_append(&names->queries, &q->all);
    int64_t after = sim_chance(900) ? (int64_t)sim_below(60000) : (int64_t)sim_below(4000000);
    if (dead && dead_slow)
        after = names->timeout_us;
    event_at(&q->event, sim_departs_us() + 1 + after);
    return q;
}

void names_cancel(struct names_query **query)
{
    if (*query == NULL)
        return;
    SIM_CALL;
    query_drop(*query);
    *query = NULL;
}
