// SPDX-License-Identifier: ISC
// Two snapshots compared row by row of the schema, so that no key can be forgotten.
#include "conf/diff.h"
#include "conf/price.h"
#include "base/mem.h"
#include "conf/reader.h"

enum { VALUE_TEXT_MAX = 1024 };

static const char *word_of(const struct conf_key *key, int64_t value)
{
    for (const struct conf_word *w = key->words; w != NULL && w->word != NULL; w++)
        if (w->value == value)
            return w->word;
    return NULL;
}

static int64_t number_at(const struct conf_key *key, const char *at)
{
    switch (key->size) {
    case 1: return *(const bool *)at;
    case 2: return *(const uint16_t *)at;
    case 4: return *(const uint32_t *)at;
    default: return *(const int64_t *)at;
    }
}

static void put_text(struct buf *out, const char *text)
{
    buf_puts(out, text != NULL ? text : "unset");
}

static void put_url(struct buf *out, const struct conf_gateway *g)
{
    static const char *const kinds[] = {[GATEWAY_DIRECT] = "direct",
                                        [GATEWAY_SMTP] = "smtp",
                                        [GATEWAY_LMTP] = "lmtp",
                                        [GATEWAY_MAILDIR] = "maildir",
                                        [GATEWAY_PIPE] = "pipe"};
    buf_puts(out, kinds[g->kind]);
    if (g->unix_path != NULL)
        buf_printf(out, " unix:%s", g->unix_path);
    else if (g->path != NULL)
        buf_printf(out, " %s", g->path);
    else if (g->kind != GATEWAY_DIRECT)
        buf_printf(out, " %s:%u", g->host, g->port);
}

// Names of a set of networks, those of `not_set` with a ! in front.
static void put_networks(struct buf *out, const struct conf *conf, uint64_t set, uint64_t not_set)
{
    const char *before = "";
    buf_putc(out, '[');
    for (size_t i = 0; i < conf->network_count; i++) {
        if (((set | not_set) >> i & 1) == 0)
            continue;
        buf_printf(out, "%s%s%s", before, (set >> i & 1) != 0 ? "" : "!", conf->networks[i].name);
        before = ", ";
    }
    buf_putc(out, ']');
}

static void put_set(struct buf *out, const struct conf_key *key, uint32_t set)
{
    const char *before = "";
    buf_putc(out, '[');
    for (const struct conf_word *w = key->words; w->word != NULL; w++) {
        if ((set & 1u << w->value) == 0)
            continue;
        buf_printf(out, "%s%s", before, w->word);
        before = ", ";
    }
    buf_putc(out, ']');
}

static void put_gateways(struct buf *out, const struct conf *conf, const uint32_t *list,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s", i == 0 ? "[" : ", ", conf->gateways[list[i]].name);
    buf_puts(out, count > 0 ? "]" : "none");
}

static void put_list(struct buf *out, const struct conf_key *key, const char *base)
{
    const void *array = *(const void *const *)(base + key->offset);
    size_t count = 0;
    char text[NET_ADDR_TEXT], last[NET_ADDR_TEXT];
    if (key->more > 0)
        count = *(const size_t *)(base + key->more);
    else if (array != NULL)
        while (((const char *const *)array)[count] != NULL)
            count++;
    struct arena *arena = arena_new();
    buf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_puts(out, ", ");
        if (key->type == CONF_IPS) {
            buf_puts(out, net_addr_format_ip((const struct net_addr *)array + i, text));
        } else if (key->type == CONF_HOURS) {
            buf_puts(out, hours_text(arena, ((const struct conf_hours *)array)[i]));
        } else if (key->type == CONF_HEADERS) {
            const struct conf_header *header = (const struct conf_header *)array + i;
            buf_printf(out, "%s: %s", header->name, header->glob);
        } else if (key->type == CONF_ADDRESSES) {
            buf_puts(out, net_addr_format((const struct net_addr *)array + i, text));
        } else if (key->type == CONF_TIMES) {
            buf_puts(out, value_time_text(arena, ((const int64_t *)array)[i]));
        } else if (key->type == CONF_RANGES) {
            const struct net_range *range = (const struct net_range *)array + i;
            buf_puts(out, net_addr_format_ip(&range->low, text));
            if (!net_addr_same_ip(&range->low, &range->high))
                buf_printf(out, "-%s", net_addr_format_ip(&range->high, last));
        } else {
            const char *glob = ((const char *const *)array)[i];
            buf_puts(out, glob[0] != '\0' ? glob : "<>");
        }
    }
    buf_putc(out, ']');
    arena_free(&arena);
}

static void put_number(struct buf *out, const struct conf_key *key, const char *base)
{
    struct arena *arena = arena_new();
    int64_t n = number_at(key, base + key->offset);
    const char *word = word_of(key, n);
    if (n == 0 && key->min > 0 && key->unset != NULL && word == NULL)
        buf_puts(out, key->unset);
    else if (key->type == CONF_TIME)
        buf_puts(out, value_time_text(arena, n));
    else if (key->type == CONF_SIZE)
        buf_puts(out, value_size_text(arena, n));
    else if (key->type == CONF_RATE && n > 0)
        buf_printf(out, "%lld in %s", (long long)n,
                   value_time_text(arena, *(const int64_t *)(base + key->more)));
    else if (key->type == CONF_RATE)
        buf_puts(out, "no limit");
    else if (key->type == CONF_PERCENT)
        buf_printf(out, "%lld%%", (long long)n);
    else if (key->type == CONF_BOOL)
        buf_puts(out, n != 0 ? "true" : "false");
    else if (word != NULL)
        buf_puts(out, word);
    else
        buf_printf(out, "%lld", (long long)n);
    arena_free(&arena);
}

static void put_price(struct buf *out, const struct conf_price *price)
{
    if (price->micros == 0)
        buf_puts(out, "none");
    else
        price_put(out, price);
}

static void put_socks(struct buf *out, const struct conf_socks *socks)
{
    if (socks == NULL)
        buf_puts(out, "none");
    else
        buf_printf(out, "%s%s%s:%u", socks->user != NULL ? socks->user : "",
                   socks->user != NULL ? "@" : "", socks->host, socks->port);
}

static void put_sticky(struct buf *out, const struct conf_key *key, const char *base)
{
    struct arena *arena = arena_new();
    const char *word = word_of(key, number_at(key, base + key->offset));
    buf_puts(out,
             word != NULL ? word : value_time_text(arena, *(const int64_t *)(base + key->more)));
    arena_free(&arena);
}

static void put_classed(struct buf *out, const struct conf_key *key, const int *at)
{
    const struct conf_word *classes = conf_key_find("routes[].class")->words;
    bool alike = at[0] == at[1] && at[1] == at[2];
    if (alike) {
        buf_puts(out, word_of(key, at[0]));
        return;
    }
    for (const struct conf_word *c = classes; c->word != NULL; c++)
        buf_printf(out, "%s%s: %s", c == classes ? "{" : ", ", c->word, word_of(key, at[c->value]));
    buf_putc(out, '}');
}

static void put_clients(struct buf *out, const struct conf_route *route)
{
    struct conf_key globs = *conf_key_find("routes[].listener"), ranges = globs;
    globs.offset = offsetof(struct conf_route, client);
    globs.more = offsetof(struct conf_route, client_count);
    ranges.type = CONF_RANGES;
    ranges.offset = offsetof(struct conf_route, client_range);
    ranges.more = offsetof(struct conf_route, client_range_count);
    if (route->client_range_count > 0)
        put_list(out, &ranges, (const char *)route);
    if (route->client_count > 0)
        put_list(out, &globs, (const char *)route);
}

// A value as it would be written, secrets too: for comparing.
static void put_any(struct buf *out, const struct conf *conf, const struct conf_key *key,
                    const char *base)
{
    char text[NET_ADDR_TEXT];
    const void *at = base + key->offset;
    switch (key->type) {
    case CONF_PLACES:
        put_networks(out, conf, *(const uint64_t *)at,
                     key->more > 0 ? *(const uint64_t *)(base + key->more) : 0);
        break;
    case CONF_GATEWAYS:
        put_gateways(out, conf, *(const uint32_t *const *)at, *(const size_t *)(base + key->more));
        break;
    case CONF_GATEWAY: put_gateways(out, conf, at, *(const uint32_t *)at != UINT32_MAX); break;
    case CONF_SET: put_set(out, key, *(const uint32_t *)at); break;
    case CONF_PRICE: put_price(out, (const struct conf_price *)at); break;
    case CONF_SOCKS: put_socks(out, *(const struct conf_socks *const *)at); break;
    case CONF_STICKY: put_sticky(out, key, base); break;
    case CONF_CLASSED: put_classed(out, key, at); break;
    case CONF_CLIENTS: put_clients(out, (const struct conf_route *)base); break;
    case CONF_BOOL:
    case CONF_INT:
    case CONF_ENUM:
    case CONF_SIZE:
    case CONF_TIME:
    case CONF_PERCENT:
    case CONF_RATE: put_number(out, key, base); break;
    case CONF_STRING:
    case CONF_HOST:
    case CONF_MAILBOX:
    case CONF_SECRET:
    case CONF_ZONE:
    case CONF_ENHANCED:
    case CONF_PATH: put_text(out, *(const char *const *)(base + key->offset)); break;
    case CONF_IP:
        buf_puts(out, net_addr_format_ip((const struct net_addr *)(base + key->offset), text));
        break;
    case CONF_TIMES:
    case CONF_ADDRESSES:
    case CONF_RANGES:
    case CONF_WORDS:
    case CONF_GLOBS:
    case CONF_MAIL_GLOBS:
    case CONF_IPS:
    case CONF_HOURS:
    case CONF_HEADERS:
    case CONF_SERVERS: put_list(out, key, base); break;
    case CONF_URL: put_url(out, (const struct conf_gateway *)base); break;
    case CONF_SECTION:
    case CONF_NAMED:
    case CONF_RECORDS:
    case CONF_CHAIN: break;
    }
}

// What is compared.
struct sides {
    const struct conf *a, *b;
    struct buf *out;
};

// All keys directly in the struct of `prefix`; `subject` is "gateway isp: " or "".
static void diff_keys(const struct sides *sides, const char *prefix, const char *subject,
                      const void *a, const void *b)
{
    struct buf *out = sides->out;
    static const char *const at_start[] = {"spool", "run", "user", "loops", NULL};
    struct buf x, y;
    buf_init(&x, 1024 * 1024);
    buf_init(&y, 1024 * 1024);
    size_t len = strlen(prefix);
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        if (strncmp(key->path, prefix, len) != 0 || strstr(key->path + len, "NAME") != NULL ||
            strstr(key->path + len, "[]") != NULL)
            continue;
        buf_clear(&x);
        buf_clear(&y);
        put_any(&x, sides->a, key, a);
        put_any(&y, sides->b, key, b);
        if (str_eq(buf_str(&x), buf_str(&y)))
            continue;
        buf_printf(out, "~ %s%s", subject, key->path + len);
        if (key->type == CONF_SECRET)
            buf_puts(out, " changed");
        else if (x.len + y.len > VALUE_TEXT_MAX)
            buf_puts(out, " changed");
        else
            buf_printf(out, ": %s -> %s", buf_cstr(&x), buf_cstr(&y));
        for (const char *const *s = at_start; *s != NULL; s++)
            if (strcmp(*s, key->path) == 0)
                buf_puts(out, " (takes a restart)");
        buf_putc(out, '\n');
    }
    buf_free(&x);
    buf_free(&y);
}

static const struct conf_listener *find_listener(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (strcmp(conf->listeners[i].name, name) == 0)
            return &conf->listeners[i];
    return NULL;
}

static void put_listener(struct buf *out, char sign, const struct conf_listener *l)
{
    const struct conf_key *key = conf_key_find("listeners.NAME.address");
    buf_printf(out, "%c listener %s ", sign, l->name);
    put_list(out, key, (const char *)l);
    buf_putc(out, '\n');
}

static void put_gateway(struct buf *out, char sign, const struct conf_gateway *g)
{
    buf_printf(out, "%c gateway %s (", sign, g->name);
    put_url(out, g);
    buf_puts(out, ")\n");
}

static void diff_listeners(const struct sides *s)
{
    const struct conf *a = s->a, *b = s->b;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < a->listener_count; i++)
        if (find_listener(b, a->listeners[i].name) == NULL)
            put_listener(s->out, '-', &a->listeners[i]);
    for (size_t i = 0; i < b->listener_count; i++) {
        const struct conf_listener *now = &b->listeners[i], *old = find_listener(a, now->name);
        if (old == NULL)
            put_listener(s->out, '+', now);
        else
            diff_keys(s, "listeners.NAME.", arena_printf(arena, "listener %s: ", now->name), old,
                      now);
    }
    arena_free(&arena);
}

static void diff_gateways(const struct sides *s)
{
    const struct conf *a = s->a, *b = s->b;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < a->gateway_count; i++)
        if (conf_gateway_find(b, str_of(a->gateways[i].name)) == NULL)
            put_gateway(s->out, '-', &a->gateways[i]);
    for (size_t i = 0; i < b->gateway_count; i++) {
        const struct conf_gateway *now = &b->gateways[i];
        const struct conf_gateway *old = conf_gateway_find(a, str_of(now->name));
        if (old == NULL)
            put_gateway(s->out, '+', now);
        else
            diff_keys(s, "gateways.NAME.", arena_printf(arena, "gateway %s: ", now->name), old,
                      now);
    }
    arena_free(&arena);
}

static const struct conf_network *find_network(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->network_count; i++)
        if (strcmp(conf->networks[i].name, name) == 0)
            return &conf->networks[i];
    return NULL;
}

static void diff_networks(const struct sides *s)
{
    const struct conf *a = s->a, *b = s->b;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < a->network_count; i++)
        if (find_network(b, a->networks[i].name) == NULL)
            buf_printf(s->out, "- network %s\n", a->networks[i].name);
    for (size_t i = 0; i < b->network_count; i++) {
        const struct conf_network *now = &b->networks[i], *old = find_network(a, now->name);
        if (old == NULL)
            buf_printf(s->out, "+ network %s\n", now->name);
        else
            diff_keys(s, "networks.NAME.", arena_printf(arena, "network %s: ", now->name), old,
                      now);
    }
    arena_free(&arena);
}

// The keys of `prefix` that are written, each as "key value"; for a record in one line.
static void put_keys(struct buf *out, const struct conf *conf, const char *prefix, const void *base)
{
    // All keys unset.
    static const _Alignas(16) char none[512];
    _Static_assert(sizeof(struct conf_route) <= sizeof(none), "room for each kind of record");
    _Static_assert(sizeof(struct conf_reply) <= sizeof(none), "room for each kind of record");
    struct buf text, unset;
    buf_init(&text, 1024 * 1024);
    buf_init(&unset, 4096);
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        const char *name = conf_key_under(key->path, prefix);
        if (name == NULL || key->size == 0 || key->type == CONF_CHAIN)
            continue;
        buf_clear(&text);
        buf_clear(&unset);
        put_any(&text, conf, key, base);
        put_any(&unset, conf, key, none);
        if (!str_eq(buf_str(&text), buf_str(&unset)))
            buf_printf(out, " %s %s", name, buf_cstr(&text));
    }
    buf_free(&text);
    buf_free(&unset);
}

static void put_chain(struct buf *out, const struct conf *conf, const struct conf_route *route)
{
    const struct conf_key *on = conf_key_find("routes[].via[].on");
    struct arena *arena = arena_new();
    for (size_t i = 0; i < route->via_count; i++) {
        const struct conf_step *s = &route->via[i];
        buf_printf(out, "%s%s", i == 0 ? " via " : ", ", conf->gateways[s->gateway].name);
        for (const struct conf_word *w = on->words; w->word != NULL; w++)
            if ((s->on & 1u << w->value) != 0)
                buf_printf(out, " on:%s", w->word);
        if (s->after_tries > 0)
            buf_printf(out, " after:%u tries", s->after_tries);
        if (s->after_ms > 0)
            buf_printf(out, " after:%s", value_time_text(arena, s->after_ms));
        if (s->parallel_ms > 0)
            buf_printf(out, " parallel_after:%s", value_time_text(arena, s->parallel_ms));
    }
    arena_free(&arena);
}

// The n-th record in one line; nothing when there is none.
static void put_route(struct buf *out, const struct conf *conf, size_t n)
{
    if (n >= conf->route_count)
        return;
    put_keys(out, conf, "routes[].", &conf->routes[n]);
    put_chain(out, conf, &conf->routes[n]);
}

static void put_reply(struct buf *out, const struct conf *conf, size_t n)
{
    if (n < conf->reply_count)
        put_keys(out, conf, "replies[].", &conf->replies[n]);
}

static void diff_records(const struct sides *s, const char *what, size_t count,
                         void (*put)(struct buf *out, const struct conf *conf, size_t n))
{
    struct buf x, y;
    buf_init(&x, 1024 * 1024);
    buf_init(&y, 1024 * 1024);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&x);
        buf_clear(&y);
        put(&x, s->a, i);
        put(&y, s->b, i);
        if (str_eq(buf_str(&x), buf_str(&y)))
            continue;
        if (x.len > 0)
            buf_printf(s->out, "- %s %zu%s\n", what, i + 1, buf_cstr(&x));
        if (y.len > 0)
            buf_printf(s->out, "+ %s %zu%s\n", what, i + 1, buf_cstr(&y));
    }
    buf_free(&x);
    buf_free(&y);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void conf_diff(const struct conf *old_conf, const struct conf *new_conf, struct buf *out)
{
    struct sides s = {old_conf, new_conf, out};
    diff_keys(&s, "", "", old_conf, new_conf);
    diff_listeners(&s);
    diff_networks(&s);
    diff_gateways(&s);
    diff_records(&s, "route", larger(old_conf->route_count, new_conf->route_count), put_route);
    diff_records(&s, "reply", larger(old_conf->reply_count, new_conf->reply_count), put_reply);
}
