// SPDX-License-Identifier: ISC
// Typed values from plain text, by the row of the schema.
#include "conf/reader.h"
#include "conf/price.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "sys/zone.h"

#include <assert.h>

static bool wrong(struct reader *r, const struct conf_key *key, const struct yaml_node *node)
{
    reader_error(r, node, "%s is %s, not %s", conf_key_name(key), conf_type_words(key),
                 reader_quote(r, node->text));
    return false;
}

static void *field(const struct conf_key *key, void *base)
{
    return (char *)base + key->offset;
}

static void *more(const struct conf_key *key, void *base)
{
    return (char *)base + key->more;
}

static void store_number(const struct conf_key *key, void *base, int64_t value)
{
    switch (key->size) {
    case 1: *(bool *)field(key, base) = value != 0; break;
    case 2: *(uint16_t *)field(key, base) = (uint16_t)value; break;
    case 4: *(uint32_t *)field(key, base) = (uint32_t)value; break;
    default: *(int64_t *)field(key, base) = value; break;
    }
}

static bool read_bool(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    static const struct conf_word words[] = {{"true", 1}, {"yes", 1}, {"on", 1}, {"false", 0},
                                             {"no", 0},   {"off", 0}, {NULL, 0}};
    for (const struct conf_word *w = words; w->word != NULL; w++) {
        if (str_eq(node->text, str_of(w->word))) {
            store_number(key, base, w->value);
            return true;
        }
    }
    return wrong(r, key, node);
}

static bool find_word(const struct conf_word *words, struct str text, int *value_out)
{
    for (const struct conf_word *w = words; w != NULL && w->word != NULL; w++) {
        if (str_eq(text, str_of(w->word))) {
            *value_out = w->value;
            return true;
        }
    }
    return false;
}

static bool wrong_word(struct reader *r, const struct conf_key *key, const struct yaml_node *node)
{
    struct conf_nearest nearest = {0};
    struct buf list;
    buf_init(&list, 400);
    for (const struct conf_word *w = key->words; w->word != NULL; w++) {
        buf_printf(&list, "%s%s", w == key->words ? "" : ", ", w->word);
        conf_nearest_offer(&nearest, node->text, w->word);
    }
    reader_error(r, node, "%s is not a word for %s%s (%s%s)", reader_quote(r, node->text),
                 conf_key_name(key), reader_suggest(r, &nearest), buf_cstr(&list),
                 key->type == CONF_INT ? ", or a number" : "");
    buf_free(&list);
    return false;
}

static bool read_int(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                     void *base)
{
    int word;
    uint64_t value;
    if (find_word(key->words, node->text, &word)) {
        store_number(key, base, word);
        return true;
    }
    if (!str_u64(node->text, INT64_MAX, &value)) {
        bool number = node->text.len > 0 && (ascii_is_digit(node->text.ptr[node->text.len - 1]));
        return key->words != NULL && !number ? wrong_word(r, key, node) : wrong(r, key, node);
    }
    if ((int64_t)value < key->min || (int64_t)value > key->max) {
        reader_error(r, node, "%s must be from %lld to %lld", conf_key_name(key),
                     (long long)key->min, (long long)key->max);
        return false;
    }
    store_number(key, base, (int64_t)value);
    return true;
}

static bool parse_size(struct str text, uint64_t *bytes_out)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"KiB", 1024},
                 {"MiB", 1024 * 1024},
                 {"GiB", 1024 * 1024 * 1024},
                 {"TiB", UINT64_C(1) << 40},
                 {"KB", 1000},
                 {"MB", 1000000},
                 {"GB", 1000000000},
                 {"TB", UINT64_C(1000000000000)},
                 {"K", 1024},
                 {"M", 1024 * 1024},
                 {"G", 1024 * 1024 * 1024},
                 {"T", UINT64_C(1) << 40},
                 {"B", 1},
                 {"", 1}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct str unit = str_of(units[i].unit);
        uint64_t value;
        if (!str_iends(text, unit))
            continue;
        if (!str_u64(str_trim(str_make(text.ptr, text.len - unit.len)), UINT32_MAX, &value))
            return false;
        *bytes_out = value * units[i].bytes;
        return true;
    }
    return false;
}

const char *value_size_text(struct arena *arena, int64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    for (; i < 4 && bytes >= 1024 && bytes % 1024 == 0; i++)
        bytes /= 1024;
    return arena_printf(arena, "%lld%s", (long long)bytes, units[i]);
}

static bool read_size(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    uint64_t bytes;
    if (!parse_size(node->text, &bytes))
        return wrong(r, key, node);
    if (bytes < (uint64_t)key->min || bytes > (uint64_t)key->max) {
        reader_error(r, node, "%s must be from %s to %s", conf_key_name(key),
                     value_size_text(r->arena, key->min), value_size_text(r->arena, key->max));
        return false;
    }
    store_number(key, base, (int64_t)bytes);
    return true;
}

const char *value_time_text(struct arena *arena, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (ms > 0 && ms % units[i].ms == 0)
            return arena_printf(arena, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    return ms == 0 ? "never" : arena_printf(arena, "%lldms", (long long)ms);
}

static bool parse_time(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                       int64_t *ms_out)
{
    if (key->min == 0 && str_eq(node->text, STR("never"))) {
        *ms_out = 0;
        return true;
    }
    if (!time_parse_span(node->text, ms_out))
        return wrong(r, key, node);
    if (*ms_out < key->min || *ms_out > key->max) {
        reader_error(r, node, "%s must be from %s to %s", conf_key_name(key),
                     key->min == 0 ? "0" : value_time_text(r->arena, key->min),
                     value_time_text(r->arena, key->max));
        return false;
    }
    return true;
}

static bool read_rate(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"s", 1000},     {"sec", 1000},     {"second", 1000}, {"m", 60000},
                 {"min", 60000},  {"minute", 60000}, {"h", 3600000},   {"hour", 3600000},
                 {"d", 86400000}, {"day", 86400000}};
    struct str rest = node->text, count;
    uint64_t value;
    if (!str_split(&rest, '/', &count) || !str_u64(str_trim(count), UINT32_MAX, &value))
        return wrong(r, key, node);
    rest = str_trim(rest);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!str_eq(rest, str_of(units[i].unit)))
            continue;
        if (value < (uint64_t)key->min || value > (uint64_t)key->max) {
            reader_error(r, node, "%s must be from %lld to %lld in that time", conf_key_name(key),
                         (long long)key->min, (long long)key->max);
            return false;
        }
        *(uint32_t *)field(key, base) = (uint32_t)value;
        *(int64_t *)more(key, base) = units[i].ms;
        return true;
    }
    return wrong(r, key, node);
}

bool value_is_host(struct str text)
{
    struct net_addr ip;
    if (text.len > 2 && text.ptr[0] == '[')
        return net_addr_parse_ip(text, &ip);
    if (text.len == 0 || text.len > LIMIT_DOMAIN)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool dot = c == '.';
        if (dot ? label == 0 : !ascii_is_alnum(c) && c != '_' && (c != '-' || label == 0))
            return false;
        label = dot ? 0 : label + 1;
        if (label > LIMIT_LABEL)
            return false;
    }
    return true;
}

static bool is_mailbox(struct str text)
{
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != '@')
        at--;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == ' ' || text.ptr[i] == '<' || text.ptr[i] == '>')
            return false;
    return at > 1 && text.len <= LIMIT_PATH &&
           value_is_host(str_make(text.ptr + at, text.len - at));
}

static bool read_text(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    const char **out = field(key, base);
    if (node->text.len == 0 || (key->type == CONF_HOST && !value_is_host(node->text)) ||
        (key->type == CONF_MAILBOX && !is_mailbox(node->text)))
        return wrong(r, key, node);
    *out = key->type == CONF_PATH ? reader_path(r, node->text) : arena_str(r->arena, node->text);
    return true;
}

static bool read_set(struct reader *r, const struct conf_key *key, const struct yaml_node *item,
                     void *base)
{
    int bit;
    if (!find_word(key->words, item->text, &bit))
        return wrong_word(r, key, item);
    *(uint32_t *)field(key, base) |= 1u << bit;
    return true;
}

static bool read_percent(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                         void *base)
{
    struct str text = node->text;
    uint64_t value;
    if (text.len > 0 && text.ptr[text.len - 1] == '%')
        text = str_trim(str_make(text.ptr, text.len - 1));
    if (!str_u64(text, INT64_MAX, &value))
        return wrong(r, key, node);
    if (value < (uint64_t)key->min || value > (uint64_t)key->max) {
        reader_error(r, node, "%s must be from %lld%% to %lld%%", conf_key_name(key),
                     (long long)key->min, (long long)key->max);
        return false;
    }
    store_number(key, base, (int64_t)value);
    return true;
}

static bool read_zone(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    for (size_t i = 0; i < node->text.len; i++)
        if (!ascii_is_alnum(node->text.ptr[i]) && strchr("/_+-:", node->text.ptr[i]) == NULL)
            return wrong(r, key, node);
    struct err err;
    const char *name = arena_str(r->arena, node->text);
    struct zone *zone = r->report->text_only ? NULL : zone_open(name, &err);
    if (zone == NULL && !r->report->text_only) {
        reader_error(r, node, "%s", err.text);
        return false;
    }
    zone_free(&zone);
    *(const char **)field(key, base) = name;
    return true;
}

// "5.4.5" (RFC 3463 section 2); 5.4.0 and the like are codes too.
static bool read_enhanced(struct reader *r, const struct conf_key *key,
                          const struct yaml_node *node, void *base)
{
    static const uint64_t most[] = {5, 999, 999};
    struct str rest = node->text, part;
    uint64_t value;
    size_t n = 0;
    for (; n < 3 && str_split(&rest, '.', &part); n++)
        if (part.len > 3 || !str_u64(part, most[n], &value) || (n == 0 && value < 2))
            return wrong(r, key, node);
    if (n < 3 || rest.len > 0 || node->text.ptr[node->text.len - 1] == '.')
        return wrong(r, key, node);
    *(const char **)field(key, base) = arena_str(r->arena, node->text);
    return true;
}

static bool read_sticky(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                        void *base)
{
    int word = STICKY_TIME;
    if (!find_word(key->words, node->text, &word) && !parse_time(r, key, node, more(key, base)))
        return false;
    store_number(key, base, word);
    return true;
}

static bool is_text(struct reader *r, const struct conf_key *key, const struct yaml_node *node);

// One word for all classes, or `{urgent: move, normal: hold}`; those not named keep what they have.
static bool read_classed(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                         void *base)
{
    int *at = field(key, base), class, word;
    unsigned seen = 0;
    bool ok = true;
    struct conf_key classes = *conf_key_find("routes[].class");
    classes.type = CONF_ENUM;
    if (node->kind != YAML_MAP) {
        if (!is_text(r, key, node))
            return false;
        if (!find_word(key->words, node->text, &word))
            return wrong_word(r, key, node);
        for (int i = 0; i < CONF_PRIORITIES; i++)
            at[i] = word;
        return true;
    }
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (!find_word(classes.words, n->key->text, &class)) {
            ok = wrong_word(r, &classes, n->key);
        } else if (seen >> class & 1) {
            reader_error(r, n->key, "%s names %.*s twice", conf_key_name(key),
                         STR_FMT(n->key->text));
            ok = false;
        } else if (is_text(r, key, n) && find_word(key->words, n->text, &word)) {
            at[class] = word;
            seen |= 1u << class;
        } else {
            ok = n->kind == YAML_SCALAR ? wrong_word(r, key, n) : false;
        }
    }
    return ok;
}

// A domain alone stands for all addresses in it, ".domain" for those in its subdomains, "<>" for
// the empty address.
static const char *mail_glob(struct reader *r, struct str text)
{
    if (str_eq(text, STR("<>")))
        return "";
    for (size_t i = 0; i < text.len; i++)
        if (strchr("*?", text.ptr[i]) != NULL || (text.ptr[i] == '@' && i > 0))
            return arena_str(r->arena, text);
    if (text.len > 1 && text.ptr[0] == '@' && text.ptr[1] != '.')
        return arena_printf(r->arena, "*%.*s", STR_FMT(text));
    if (memchr(text.ptr, '.', text.len) == NULL || text.ptr[0] == '@')
        return arena_str(r->arena, text);
    return arena_printf(r->arena, text.ptr[0] == '.' ? "*@*%.*s" : "*@%.*s", STR_FMT(text));
}

// One item into its place in the array.
static bool read_item(struct reader *r, const struct conf_key *key, const struct yaml_node *item,
                      void *array, size_t i)
{
    struct net_addr *addresses = array;
    struct net_range *ranges = array;
    const char **texts = array;
    int64_t *times = array;
    uint32_t *gateways = array;
    struct net_addr server;
    char text[NET_ADDR_TEXT];
    switch (key->type) {
    case CONF_ADDRESSES:
        return (net_addr_parse(item->text, (uint16_t)key->min, &addresses[i]) &&
                (addresses[i].family == NET_UNIX || addresses[i].port > 0)) ||
               wrong(r, key, item);
    case CONF_RANGES: return net_range_parse(item->text, &ranges[i]) || wrong(r, key, item);
    case CONF_TIMES: return parse_time(r, key, item, &times[i]);
    case CONF_IPS: return net_addr_parse_ip(item->text, &addresses[i]) || wrong(r, key, item);
    case CONF_GATEWAYS: return value_gateway(r, item, &gateways[i]);
    case CONF_MAIL_GLOBS:
        if (item->text.len > LIMIT_PATH)
            return wrong(r, key, item);
        texts[i] = mail_glob(r, item->text);
        return item->text.len > 0 || wrong(r, key, item);
    case CONF_SERVERS:
        if (!net_addr_parse(item->text, 53, &server) || server.family == NET_UNIX)
            return wrong(r, key, item);
        texts[i] = arena_strdup(r->arena, net_addr_format(&server, text));
        return true;
    default:
        if (item->text.len == 0 || item->text.len > LIMIT_PATH)
            return wrong(r, key, item);
        texts[i] = arena_str(r->arena, item->text);
        return true;
    }
}

static size_t item_size(const struct conf_key *key)
{
    switch (key->type) {
    case CONF_IPS:
    case CONF_ADDRESSES: return sizeof(struct net_addr);
    case CONF_GATEWAYS: return sizeof(uint32_t);
    case CONF_RANGES: return sizeof(struct net_range);
    case CONF_TIMES: return sizeof(int64_t);
    default: return sizeof(char *);
    }
}

static bool is_text(struct reader *r, const struct conf_key *key, const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR) {
        reader_error(r, node, "%s is %s, not a %s", conf_key_name(key), conf_type_words(key),
                     node->kind == YAML_MAP ? "map" : "list");
        return false;
    }
    if (node->tag.len > 0 && key->type != CONF_SECRET) {
        reader_error(r, node, "a tag (%.*s) is only for secrets, and %s is none",
                     STR_FMT(node->tag), conf_key_name(key));
        return false;
    }
    if (yaml_is_empty(node)) {
        reader_error(r, node, "%s has no value; it is %s", conf_key_name(key),
                     conf_type_words(key));
        return false;
    }
    for (size_t i = 0; i < node->text.len; i++) {
        if ((unsigned char)node->text.ptr[i] < 0x20 || node->text.ptr[i] == 0x7f) {
            reader_error(r, node, "%s has a line break or another control character in it",
                         conf_key_name(key));
            return false;
        }
    }
    return true;
}

static bool refuse_empty(struct reader *r, const struct conf_key *key, const struct yaml_node *node)
{
    reader_error(r, node, "%s is empty; leave the key out for the default (%s)", conf_key_name(key),
                 key->fallback != NULL ? key->fallback
                 : key->unset != NULL  ? key->unset
                                       : "it must be set");
    return false;
}

// A single value stands for a list of one: its first item, NULL when there is none.
static const struct yaml_node *list_items(const struct yaml_node *node, struct yaml_node *alone)
{
    *alone = *node;
    alone->next = NULL;
    return node->kind == YAML_LIST ? node->first : alone;
}

static bool read_places(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                        void *base)
{
    struct yaml_node alone;
    const struct yaml_node *item = list_items(node, &alone);
    bool ok = true;
    if (item == NULL)
        return refuse_empty(r, key, node);
    for (; item != NULL; item = item->next)
        ok &= value_network(r, item, field(key, base), key->more > 0 ? more(key, base) : NULL);
    return ok;
}

static bool read_hours(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                       void *base)
{
    struct yaml_node alone;
    const struct yaml_node *item = list_items(node, &alone);
    size_t most = node->kind == YAML_LIST ? node->count : 1, n = 0;
    bool ok = true;
    if (item == NULL)
        return refuse_empty(r, key, node);
    struct conf_hours *hours = arena_alloc(r->arena, most * HOURS_MAX * sizeof(*hours));
    for (; item != NULL; item = item->next) {
        size_t more_hours = is_text(r, key, item) ? hours_parse(item->text, hours + n) : HOURS_MAX;
        ok &= more_hours > 0 ? item->kind == YAML_SCALAR : wrong(r, key, item);
        n += more_hours;
    }
    *(void **)field(key, base) = hours;
    *(size_t *)more(key, base) = n;
    return ok;
}

static bool read_list(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                      void *base)
{
    struct yaml_node alone;
    const struct yaml_node *first = list_items(node, &alone);
    size_t count = node->kind == YAML_LIST ? node->count : 1, i = 0;
    if (first == NULL)
        return refuse_empty(r, key, node);
    bool ok = true;
    void *array = arena_alloc(r->arena, (count + 1) * item_size(key));
    for (const struct yaml_node *item = first; item != NULL; item = item->next) {
        if (!is_text(r, key, item))
            ok = false;
        else if (key->type == CONF_SET)
            ok &= read_set(r, key, item, base);
        else
            ok &= read_item(r, key, item, array, i++);
    }
    if (!ok || key->type == CONF_SET)
        return ok;
    *(void **)field(key, base) = array;
    if (key->more > 0)
        *(size_t *)more(key, base) = count;
    return true;
}

bool value_read(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                void *base)
{
    switch (key->type) {
    case CONF_TIMES:
    case CONF_ADDRESSES:
    case CONF_RANGES:
    case CONF_WORDS:
    case CONF_GLOBS:
    case CONF_MAIL_GLOBS:
    case CONF_SERVERS:
    case CONF_IPS:
    case CONF_GATEWAYS:
    case CONF_SET: return read_list(r, key, node, base);
    case CONF_HOURS: return read_hours(r, key, node, base);
    case CONF_CLASSED: return read_classed(r, key, node, base);
    case CONF_PLACES: return read_places(r, key, node, base);
    case CONF_GATEWAY: return value_gateway(r, node, field(key, base));
    default: break;
    }
    if (!is_text(r, key, node))
        return false;
    int word;
    switch (key->type) {
    case CONF_BOOL: return read_bool(r, key, node, base);
    case CONF_INT: return read_int(r, key, node, base);
    case CONF_ENUM:
        if (!find_word(key->words, node->text, &word))
            return wrong_word(r, key, node);
        store_number(key, base, word);
        return true;
    case CONF_SIZE: return read_size(r, key, node, base);
    case CONF_TIME: return parse_time(r, key, node, field(key, base));
    case CONF_RATE: return read_rate(r, key, node, base);
    case CONF_PRICE: return price_parse(node->text, field(key, base)) || wrong(r, key, node);
    case CONF_PERCENT: return read_percent(r, key, node, base);
    case CONF_ZONE: return read_zone(r, key, node, base);
    case CONF_ENHANCED: return read_enhanced(r, key, node, base);
    case CONF_STICKY: return read_sticky(r, key, node, base);
    case CONF_IP: return net_addr_parse_ip(node->text, field(key, base)) || wrong(r, key, node);
    case CONF_SECRET: return (*(const char **)field(key, base) = secret_read(r, node)) != NULL;
    default: return read_text(r, key, node, base);
    }
}

void value_default(struct reader *r, const struct conf_key *key, void *base)
{
    if (key->fallback == NULL)
        return;
    struct yaml_node node = {.text = str_of(key->fallback), .plain = true};
    if (node.text.ptr[0] == '[') {
        struct str rest = str_make(node.text.ptr + 1, node.text.len - 2), item;
        struct yaml_node **tail = &node.first;
        node.kind = YAML_LIST;
        while (str_split(&rest, ',', &item)) {
            *tail = arena_alloc(r->arena, sizeof(**tail));
            (*tail)->text = str_trim(item);
            tail = &(*tail)->next;
            node.count++;
        }
    }
    bool ok = value_read(r, key, &node, base);
    assert(ok);
}
