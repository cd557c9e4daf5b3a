// SPDX-License-Identifier: ISC
// The tree of a configuration into its snapshot, by the schema's rows.
#include "conf/read.h"
#include "conf/reader.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/host.h"

enum { NAME_MAX_BYTES = 64 };

void reader_error(struct reader *r, const struct yaml_node *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    conf_report_add(r->report, &r->source, false, at != NULL ? &at->place : NULL, format, args);
    va_end(args);
}

void reader_warn(struct reader *r, const struct yaml_node *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    conf_report_add(r->report, &r->source, true, at != NULL ? &at->place : NULL, format, args);
    va_end(args);
}

const char *reader_suggest(struct reader *r, const struct conf_nearest *nearest)
{
    return nearest->word != NULL ? arena_printf(r->arena, "; did you mean `%s`?", nearest->word)
                                 : "";
}

const char *reader_path(struct reader *r, struct str path)
{
    const char *slash = strrchr(r->source.name, '/');
    if ((path.len > 0 && path.ptr[0] == '/') || slash == NULL)
        return arena_str(r->arena, path);
    return arena_printf(r->arena, "%.*s%.*s", (int)(slash - r->source.name) + 1, r->source.name,
                        STR_FMT(path));
}

const char *reader_quote(struct reader *r, struct str text)
{
    enum { QUOTED_MAX = 60 };
    for (size_t i = 0; i + 2 < text.len; i++)
        if (str_starts(str_make(text.ptr + i, text.len - i), STR("://")))
            return arena_printf(r->arena, "`%.*s://...`", i > QUOTED_MAX ? QUOTED_MAX : (int)i,
                                text.ptr);
    if (text.len <= QUOTED_MAX)
        return arena_printf(r->arena, "`%.*s`", STR_FMT(text));
    size_t len = QUOTED_MAX;
    while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
        len--;
    return arena_printf(r->arena, "`%.*s...`", (int)len, text.ptr);
}

// A key that the schema does not know directly under `prefix`.
static void unknown_key(struct reader *r, const struct yaml_node *key, const char *prefix)
{
    struct conf_nearest nearest = {0};
    const char *elsewhere = NULL;
    for (size_t i = 0; i < conf_future_count; i++) {
        const char *name = conf_key_under(conf_futures[i].path, prefix);
        if (name != NULL && str_eq(key->text, str_of(name))) {
            if (conf_futures[i].moved)
                reader_error(r, key, "`%s` stands under limits now: %s", name,
                             conf_futures[i].instead);
            else
                reader_error(r, key, "`%s` is not available in this version%s%s", name,
                             conf_futures[i].instead != NULL ? "; " : "",
                             conf_futures[i].instead != NULL ? conf_futures[i].instead : "");
            return;
        }
    }
    for (size_t i = 0; i < conf_key_count; i++) {
        const char *path = conf_keys[i].path, *name = conf_key_under(path, prefix);
        const char *last = strrchr(path, '.');
        if (name != NULL)
            conf_nearest_offer(&nearest, key->text, name);
        else if (elsewhere == NULL && str_eq(key->text, str_of(last != NULL ? last + 1 : path)))
            elsewhere = path;
    }
    if (nearest.word == NULL && elsewhere != NULL)
        reader_error(r, key, "%s is not a key here; it belongs to %s", reader_quote(r, key->text),
                     elsewhere);
    else
        reader_error(r, key, "%s is not a key here%s", reader_quote(r, key->text),
                     nearest.word != NULL ? reader_suggest(r, &nearest)
                                          : "; `waypost config explain` lists all keys");
}

static const struct conf_key *find_key(const char *prefix, struct str name)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const char *under = conf_key_under(conf_keys[i].path, prefix);
        if (under != NULL && str_eq(name, str_of(under)))
            return &conf_keys[i];
    }
    return NULL;
}

bool reader_wants_map(struct reader *r, const struct yaml_node *node, const char *what)
{
    if (node->kind == YAML_MAP)
        return true;
    if (!yaml_is_empty(node))
        reader_error(r, node, "%s is a map of keys and values here", what);
    return false;
}

// The keys of one map into the struct they belong to. Named entries and records wait: they are read
// in their own order.
void reader_map(struct reader *r, const struct yaml_node *map, const char *prefix, void *base)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        const struct conf_key *key = find_key(prefix, n->key->text);
        if (key == NULL) {
            unknown_key(r, n->key, prefix);
            continue;
        }
        switch (key->type) {
        case CONF_SECTION:
            if (reader_wants_map(r, n, conf_key_name(key)))
                reader_map(r, n, arena_printf(r->arena, "%s.", key->path), base);
            break;
        case CONF_CHAIN: route_chain(r, n, base); break;
        case CONF_CLIENTS: route_clients(r, n, base); break;
        case CONF_HEADERS: route_headers(r, n, base); break;
        case CONF_NAMED:
        case CONF_RECORDS:
        case CONF_SOCKS:
        case CONF_URL: break;
        default: value_read(r, key, n, base); break;
        }
    }
}

// Every row that has its place in the struct of `prefix`, also those in sections below it.
static const char *belongs(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(path, prefix, len) != 0)
        return NULL;
    const char *rest = path + len;
    return strstr(rest, "NAME") == NULL && strstr(rest, "[]") == NULL ? rest : NULL;
}

void reader_defaults(struct reader *r, const char *prefix, void *base)
{
    for (size_t i = 0; i < conf_key_count; i++)
        if (belongs(conf_keys[i].path, prefix) != NULL)
            value_default(r, &conf_keys[i], base);
}

// Is `name` there after all, but misspelt?
bool reader_misspelt(const struct yaml_node *map, const char *prefix, const char *name)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        struct conf_nearest nearest = {0};
        conf_nearest_offer(&nearest, n->key->text, name);
        if (nearest.word != NULL && find_key(prefix, n->key->text) == NULL)
            return true;
    }
    return false;
}

void reader_missing(struct reader *r, const struct yaml_node *at, const struct conf_key *key)
{
    const char *name = conf_key_name(key);
    reader_error(r, at, "`%s` is missing: %s%s%s", name, conf_type_words(key),
                 key->example != NULL ? "; for example: " : "",
                 key->example != NULL ? arena_printf(r->arena, "%s: %s", name, key->example) : "");
}

void reader_require(struct reader *r, const struct yaml_node *map, const char *prefix)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        const char *name = conf_key_under(key->path, prefix);
        if (name != NULL && key->fallback == NULL && key->unset == NULL &&
            yaml_get(map, name) == NULL && !reader_misspelt(map, prefix, name))
            reader_missing(r, map->key != NULL ? map->key : map, key);
    }
}

static bool good_name(struct str name)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES || !ascii_is_alnum(name.ptr[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!ascii_is_alnum(name.ptr[i]) && strchr("-_.", name.ptr[i]) == NULL)
            return false;
    return true;
}

// The entries of a CONF_NAMED map: counted, or NULL when there are none.
static const struct yaml_node *entries(struct reader *r, const char *key, size_t *count_out)
{
    const struct yaml_node *map = yaml_get(r->root, key);
    *count_out = 0;
    if (map == NULL || !reader_wants_map(r, map, key))
        return NULL;
    const struct conf_key *row = conf_key_find(key);
    if ((int64_t)map->count > row->max) {
        reader_error(r, map->key, "%s has %zu entries; at most %lld are possible", key, map->count,
                     (long long)row->max);
        return NULL;
    }
    *count_out = map->count;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (!good_name(n->key->text))
            reader_error(r, n->key,
                         "a name begins with a letter or digit and has only letters, "
                         "digits, - _ and . in it, at most %d",
                         NAME_MAX_BYTES);
    return map->first;
}

const struct yaml_node *reader_records(struct reader *r, const char *key, size_t *count_out)
{
    const struct yaml_node *node = yaml_get(r->root, key);
    const struct conf_key *row = conf_key_find(key);
    *count_out = 0;
    if (node == NULL || yaml_is_empty(node))
        return NULL;
    if (node->kind != YAML_LIST) {
        reader_error(r, node, "%s is a list: each of them begins with a dash", key);
        return NULL;
    }
    if ((int64_t)node->count > row->max) {
        reader_error(r, node->key, "%s has %zu entries; at most %lld are possible", key,
                     node->count, (long long)row->max);
        return NULL;
    }
    *count_out = node->count;
    return node->first;
}

static void read_listeners(struct reader *r)
{
    static const char *const built_in[] = {"127.0.0.1:25", "[::1]:25"};
    size_t count;
    const struct yaml_node *first = entries(r, "listeners", &count);
    struct conf_listener *list = arena_alloc(r->arena, (count + 1) * sizeof(*list)), *l = list;
    r->listener_at = arena_alloc(r->arena, (count + 1) * sizeof(*r->listener_at));
    for (const struct yaml_node *n = first; n != NULL; n = n->next, l++) {
        l->name = arena_str(r->arena, n->key->text);
        r->listener_at[l - list] = n;
        reader_defaults(r, "listeners.NAME.", l);
        if (n->kind != YAML_MAP) {
            reader_error(r, n->key, "a listener is a map of keys: %s: {address: \"127.0.0.1:25\"}",
                         l->name);
            continue;
        }
        reader_map(r, n, "listeners.NAME.", l);
        reader_require(r, n, "listeners.NAME.");
    }
    if (count == 0) {
        struct net_addr *at = arena_alloc(r->arena, 2 * sizeof(*at));
        for (size_t i = 0; i < 2; i++)
            net_addr_parse(str_of(built_in[i]), 25, &at[i]);
        reader_defaults(r, "listeners.NAME.", l);
        l->name = "local";
        l->addresses = at;
        l->address_count = 2;
        l++;
    }
    r->conf->listeners = list;
    r->conf->listener_count = (size_t)(l - list);
}

static void read_networks(struct reader *r)
{
    size_t count;
    const struct yaml_node *first = entries(r, "networks", &count);
    struct conf_network *list = arena_alloc(r->arena, (count + 1) * sizeof(*list)), *net = list;
    r->network_at = arena_alloc(r->arena, (count + 1) * sizeof(*r->network_at));
    for (const struct yaml_node *n = first; n != NULL; n = n->next, net++) {
        net->name = arena_str(r->arena, n->key->text);
        net->line = n->key->place.line;
        r->network_at[net - list] = n;
        reader_defaults(r, "networks.NAME.", net);
        if (n->kind == YAML_MAP)
            reader_map(r, n, "networks.NAME.", net);
        else
            reader_error(r, n->key, "a network is a map of keys: %s: {address: 10.20.0.0/16}",
                         net->name);
    }
    r->conf->networks = list;
    r->conf->network_count = (size_t)(net - list);
}

// A gateway may be its url alone.
static const struct yaml_node *url_of(const struct yaml_node *n)
{
    bool alone = n != NULL && n->kind == YAML_SCALAR && n->tag.len == 0 && !yaml_is_empty(n);
    return alone ? n : yaml_get(n, "url");
}

// What the keys leave open is settled by the url.
static void read_gateway(struct reader *r, const struct yaml_node *n, struct conf_gateway *g)
{
    bool direct = strcmp(g->name, "direct") == 0;
    const struct yaml_node *url = url_of(n), *socks = yaml_get(n, "socks");
    if (n != NULL && n->kind != YAML_MAP && (direct || url == NULL) &&
        !(direct && yaml_is_empty(n))) {
        reader_error(r, n->key, "a gateway is a map of keys: %s: {%s}", g->name,
                     direct ? "tls: required" : "url: \"smtp://host\"");
        return;
    }
    g->tls = TLS_WANTED;
    if (n != NULL && n->kind == YAML_MAP)
        reader_map(r, n, "gateways.NAME.", g);
    g->host = "";
    if (socks != NULL)
        g->socks = socks_read(r, n, socks, g);
    if (direct) {
        g->kind = GATEWAY_DIRECT;
        g->port = g->direct_port;
    } else if (url == NULL && reader_misspelt(n, "gateways.NAME.", "url")) {
        return;
    } else if (url == NULL) {
        reader_error(r, n->key, "`url` is missing; for example: url: \"smtp://mail.isp.example\"");
        return;
    } else if (url->kind != YAML_SCALAR || url->tag.len > 0 || url->text.len == 0) {
        reader_error(r, url, "url is text such as smtp+starttls://user@host:587");
        return;
    } else if (!url_read(r, n, url, g)) {
        return;
    }
    if (yaml_get(n, "verify") == NULL)
        g->verify = g->user != NULL || g->tls == TLS_REQUIRED || g->tls == TLS_IMPLICIT;
}

static void read_gateways(struct reader *r)
{
    size_t count;
    const struct yaml_node *first = entries(r, "gateways", &count);
    struct conf_gateway *list = arena_alloc(r->arena, (count + 1) * sizeof(*list)), *g = list;
    r->gateway_at = arena_alloc(r->arena, (count + 1) * sizeof(*r->gateway_at));
    bool direct = false;
    for (const struct yaml_node *n = first; n != NULL || !direct; g++) {
        g->name = n != NULL ? arena_str(r->arena, n->key->text) : "direct";
        g->index = (uint32_t)(g - list);
        g->line = n != NULL ? n->key->place.line : 0;
        r->gateway_at[g->index] = n;
        direct |= strcmp(g->name, "direct") == 0;
        reader_defaults(r, "gateways.NAME.", g);
        read_gateway(r, n, g);
        n = n != NULL ? n->next : NULL;
    }
    r->conf->gateways = list;
    r->conf->gateway_count = (size_t)(g - list);
}

static void read_replies(struct reader *r)
{
    size_t count;
    const struct yaml_node *first = reader_records(r, "replies", &count);
    struct conf_reply *list = arena_alloc(r->arena, (count + 1) * sizeof(*list)), *reply = list;
    r->reply_at = arena_alloc(r->arena, (count + 1) * sizeof(*r->reply_at));
    for (const struct yaml_node *n = first; n != NULL; n = n->next) {
        if (n->kind != YAML_MAP) {
            reader_error(r, n,
                         "a reply is a map of keys: {code: 550, text: \"*limit*\", class: "
                         "quota}");
            continue;
        }
        r->reply_at[reply - list] = n;
        reply->line = n->place.line;
        reader_map(r, n, "replies[].", reply);
        reader_require(r, n, "replies[].");
        reply++;
    }
    r->conf->replies = list;
    r->conf->reply_count = (size_t)(reply - list);
}

// Written for a program to come: whatever else there is to say about it would mislead.
static bool is_of_the_future(struct reader *r)
{
    const struct yaml_node *node = yaml_get(r->root, "version");
    uint64_t version;
    if (node == NULL || node->kind != YAML_SCALAR || !str_u64(node->text, UINT64_MAX, &version) ||
        version <= CONF_VERSION)
        return false;
    reader_error(r, node,
                 "this file is written for version %llu of the configuration, and this Waypost "
                 "(" WAYPOST_VERSION ") knows no version above %d; install a newer Waypost, or "
                 "use the file it was made from",
                 (unsigned long long)version, CONF_VERSION);
    return true;
}

static struct conf *fill(struct reader *r)
{
    struct conf *conf = r->conf;
    r->root = yaml_parse(&r->source, r->tree, r->report);
    if (r->root == NULL)
        return conf;
    if (r->root->kind != YAML_MAP) {
        reader_error(r, r->root,
                     "a configuration is a map of keys and values, such as "
                     "`hostname: mail.example.org`");
        return conf;
    }
    if (is_of_the_future(r))
        return conf;
    reader_defaults(r, "", conf);
    conf->smarthost.gateway = UINT32_MAX;
    read_networks(r);
    read_gateways(r);
    reader_map(r, r->root, "", conf);
    if (conf->hostname == NULL) {
        char name[256];
        host_name(name);
        conf->hostname = arena_strdup(r->arena, name);
    }
    if (conf->loops == 0)
        conf->loops = (uint32_t)host_cores();
    read_listeners(r);
    routes_read(r);
    read_replies(r);
    check_all(r);
    return conf;
}

static struct conf *read_text(const char *name, struct str text, bool others_may_read,
                              struct conf_report *report)
{
    struct arena *arena = arena_new();
    struct reader r = {
        .arena = arena, .tree = arena_new(), .report = report, .others_may_read = others_may_read};
    unsigned errors = report->errors;
    r.source = (struct conf_source){.name = name, .text = text};
    r.conf = arena_alloc(arena, sizeof(*r.conf));
    r.conf->arena = arena;
    r.conf->file = arena_strdup(arena, name);
    atomic_init(&r.conf->refs, 1);
    fill(&r);
    xfree(r.source.secrets);
    arena_free(&r.tree);
    bool usable = report->places_only && r.conf->run_dir != NULL && r.conf->spool_dir != NULL;
    if (report->errors > errors && !usable)
        conf_unref(&r.conf);
    return r.conf;
}

struct conf *conf_read_text(const char *name, struct str text, struct conf_report *report)
{
    return read_text(name, text, false, report);
}

struct conf *conf_read_file(const char *path, struct conf_report *report)
{
    struct err err;
    struct path_facts facts;
    size_t len;
    char *text = file_slurp(path, LIMIT_CONFIG_FILE, &len, &err);
    if (text == NULL) {
        struct reader r = {.report = report, .source = {.name = path}};
        reader_error(&r, NULL, "%s", err.text);
        return NULL;
    }
    bool others = path_stat_follow(path, &facts, &err) && facts.is_file && (facts.mode & 04) != 0;
    struct conf *conf = read_text(path, str_make(text, len), others, report);
    explicit_bzero(text, len);
    xfree(text);
    return conf;
}

struct conf *conf_builtin(void)
{
    struct conf_report report;
    conf_report_init(&report);
    struct conf *conf = read_text("(built in)", STR(""), false, &report);
    conf_report_free(&report);
    return conf;
}
