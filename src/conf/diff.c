// SPDX-License-Identifier: ISC
// Two snapshots compared row by row of the schema, so that no key can be forgotten.
#include "conf/diff.h"
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
    static const char *const kinds[] = {
        [GATEWAY_DIRECT] = "direct", [GATEWAY_SMTP] = "smtp", [GATEWAY_LMTP] = "lmtp"};
    buf_puts(out, kinds[g->kind]);
    if (g->unix_path != NULL)
        buf_printf(out, " unix:%s", g->unix_path);
    else if (g->kind != GATEWAY_DIRECT)
        buf_printf(out, " %s:%u", g->host, g->port);
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
        if (key->type == CONF_ADDRESSES) {
            buf_puts(out, net_addr_format((const struct net_addr *)array + i, text));
        } else if (key->type == CONF_TIMES) {
            buf_puts(out, value_time_text(arena, ((const int64_t *)array)[i]));
        } else if (key->type == CONF_RANGES) {
            const struct net_range *range = (const struct net_range *)array + i;
            buf_puts(out, net_addr_format_ip(&range->low, text));
            if (!net_addr_same_ip(&range->low, &range->high))
                buf_printf(out, "-%s", net_addr_format_ip(&range->high, last));
        } else {
            buf_puts(out, ((const char *const *)array)[i]);
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
    if (key->type == CONF_TIME)
        buf_puts(out, value_time_text(arena, n));
    else if (key->type == CONF_SIZE)
        buf_puts(out, value_size_text(arena, n));
    else if (key->type == CONF_RATE && n > 0)
        buf_printf(out, "%lld in %s", (long long)n,
                   value_time_text(arena, *(const int64_t *)(base + key->more)));
    else if (key->type == CONF_RATE)
        buf_puts(out, "no limit");
    else if (key->type == CONF_BOOL)
        buf_puts(out, n != 0 ? "true" : "false");
    else if (word != NULL)
        buf_puts(out, word);
    else
        buf_printf(out, "%lld", (long long)n);
    arena_free(&arena);
}

// A value as it would be written, secrets too: for comparing.
static void put_any(struct buf *out, const struct conf_key *key, const char *base)
{
    char text[NET_ADDR_TEXT];
    switch (key->type) {
    case CONF_BOOL:
    case CONF_INT:
    case CONF_ENUM:
    case CONF_SIZE:
    case CONF_TIME:
    case CONF_RATE: put_number(out, key, base); break;
    case CONF_STRING:
    case CONF_HOST:
    case CONF_MAILBOX:
    case CONF_SECRET:
    case CONF_PATH: put_text(out, *(const char *const *)(base + key->offset)); break;
    case CONF_IP:
        buf_puts(out, net_addr_format_ip((const struct net_addr *)(base + key->offset), text));
        break;
    case CONF_TIMES:
    case CONF_ADDRESSES:
    case CONF_RANGES:
    case CONF_GLOBS:
    case CONF_SERVERS: put_list(out, key, base); break;
    case CONF_URL: put_url(out, (const struct conf_gateway *)base); break;
    default: break;
    }
}

// All keys directly in the struct of `prefix`; `subject` is "gateway isp: " or "".
static void diff_keys(struct buf *out, const char *prefix, const char *subject, const void *a,
                      const void *b)
{
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
        put_any(&x, key, a);
        put_any(&y, key, b);
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

static void diff_listeners(const struct conf *a, const struct conf *b, struct buf *out)
{
    struct arena *arena = arena_new();
    for (size_t i = 0; i < a->listener_count; i++)
        if (find_listener(b, a->listeners[i].name) == NULL)
            put_listener(out, '-', &a->listeners[i]);
    for (size_t i = 0; i < b->listener_count; i++) {
        const struct conf_listener *now = &b->listeners[i], *old = find_listener(a, now->name);
        if (old == NULL)
            put_listener(out, '+', now);
        else
            diff_keys(out, "listeners.NAME.", arena_printf(arena, "listener %s: ", now->name), old,
                      now);
    }
    arena_free(&arena);
}

static void diff_gateways(const struct conf *a, const struct conf *b, struct buf *out)
{
    struct arena *arena = arena_new();
    for (size_t i = 0; i < a->gateway_count; i++)
        if (conf_gateway_find(b, str_of(a->gateways[i].name)) == NULL)
            put_gateway(out, '-', &a->gateways[i]);
    for (size_t i = 0; i < b->gateway_count; i++) {
        const struct conf_gateway *now = &b->gateways[i];
        const struct conf_gateway *old = conf_gateway_find(a, str_of(now->name));
        if (old == NULL)
            put_gateway(out, '+', now);
        else
            diff_keys(out, "gateways.NAME.", arena_printf(arena, "gateway %s: ", now->name), old,
                      now);
    }
    arena_free(&arena);
}

// A route in one line: to [..] from [..] via a, b (on net dns, after 3 tries).
static void put_route(struct buf *out, const struct conf *conf, const struct conf_route *route)
{
    const struct conf_key *on = conf_key_find("routes[].via[].on");
    struct arena *arena = arena_new();
    buf_puts(out, "to ");
    put_list(out, conf_key_find("routes[].to"), (const char *)route);
    buf_puts(out, " from ");
    put_list(out, conf_key_find("routes[].from"), (const char *)route);
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
    }
    arena_free(&arena);
}

static void diff_routes(const struct conf *a, const struct conf *b, struct buf *out)
{
    struct buf x, y;
    buf_init(&x, 1024 * 1024);
    buf_init(&y, 1024 * 1024);
    size_t most = a->route_count > b->route_count ? a->route_count : b->route_count;
    for (size_t i = 0; i < most; i++) {
        buf_clear(&x);
        buf_clear(&y);
        if (i < a->route_count)
            put_route(&x, a, &a->routes[i]);
        if (i < b->route_count)
            put_route(&y, b, &b->routes[i]);
        if (str_eq(buf_str(&x), buf_str(&y)))
            continue;
        if (x.len > 0)
            buf_printf(out, "- route %zu %s\n", i + 1, buf_cstr(&x));
        if (y.len > 0)
            buf_printf(out, "+ route %zu %s\n", i + 1, buf_cstr(&y));
    }
    buf_free(&x);
    buf_free(&y);
}

void conf_diff(const struct conf *old_conf, const struct conf *new_conf, struct buf *out)
{
    diff_keys(out, "", "", old_conf, new_conf);
    diff_listeners(old_conf, new_conf, out);
    diff_gateways(old_conf, new_conf, out);
    diff_routes(old_conf, new_conf, out);
}
