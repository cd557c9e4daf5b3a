// SPDX-License-Identifier: ISC
// The schema table as pages.
#include "conf/reference.h"
#include "base/json.h"
#include "conf/reader.h"

// Bounds

static const char *bound_text(struct arena *arena, const struct conf_key *key, int64_t value)
{
    if (key->type == CONF_PERCENT)
        return arena_printf(arena, "%lld%%", (long long)value);
    if (key->type == CONF_TIME || key->type == CONF_TIMES || key->type == CONF_STICKY)
        return value == 0 ? "0" : value_time_text(arena, value);
    if (key->type == CONF_SIZE)
        return value_size_text(arena, value);
    return arena_printf(arena, "%lld", (long long)value);
}

static bool has_bounds(const struct conf_key *key)
{
    return key->type == CONF_INT || key->type == CONF_SIZE || key->type == CONF_TIME ||
           key->type == CONF_TIMES || key->type == CONF_RATE || key->type == CONF_PERCENT ||
           key->type == CONF_STICKY;
}

// "a time such as 90s, 5m, 4h or 5d; from 1s to 30d", "a word: text, json"
static void put_value(struct buf *out, struct arena *arena, const struct conf_key *key)
{
    buf_puts(out, conf_type_words(key));
    for (const struct conf_word *w = key->words; w != NULL && w->word != NULL; w++)
        buf_printf(out, "%s`%s`", w == key->words ? ": " : ", ", w->word);
    if (has_bounds(key))
        buf_printf(out, "; from %s to %s", bound_text(arena, key, key->min),
                   bound_text(arena, key, key->max));
    else if (key->max > 0)
        buf_printf(out, "; at most %lld", (long long)key->max);
}

// Markdown

static void put_markdown(struct buf *out, struct arena *arena, const struct conf_key *key)
{
    bool top = strpbrk(key->path, ".[") == NULL;
    buf_printf(out, "\n%s `%s`\n\n%s\n\n- Value: ", top ? "##" : "###", key->path, key->help);
    put_value(out, arena, key);
    if (key->fallback != NULL)
        buf_printf(out, "\n- Default: `%s`", key->fallback);
    else
        buf_printf(out, "\n- Default: %s",
                   key->unset != NULL ? key->unset : "none; it must be set");
    if (key->example != NULL) {
        const char *dot = strrchr(key->path, '.');
        buf_printf(out, "\n- Example: `%s: %s`", dot != NULL ? dot + 1 : key->path, key->example);
    }
    buf_putc(out, '\n');
}

void conf_reference_markdown(struct buf *out)
{
    struct arena *arena = arena_new();
    buf_puts(
        out,
        "<!-- Made from src/conf/schema.c; do not edit. -->\n"
        "# The configuration, key by key\n\n"
        "The configuration is one YAML file, `/etc/waypost/waypost.yaml` unless another is named. "
        "Every key has a\ndefault; an empty file is a working one: mail from this machine, "
        "delivered directly.\n\n"
        "- Text needs quotes only where YAML needs them: where it begins with `*`, `&`, `[`, `{`, "
        "`!` or `%`, or has `: ` or\n  ` #` in it.\n"
        "- A list with one item may be written without brackets.\n"
        "- Unknown and repeated keys, anchors, aliases and merge keys are errors, never ignored.\n"
        "- Relative paths start at the directory of the configuration file.\n"
        "- In the paths below NAME stands for a name of your choice, `[]` for each item of a "
        "list.\n"
        "- `waypost config check` tells all mistakes at once; `waypost config explain KEY` prints "
        "what stands here.\n");
    for (size_t i = 0; i < conf_key_count; i++)
        put_markdown(out, arena, &conf_keys[i]);
    arena_free(&arena);
}

// JSON schema

static void json_properties(struct json *j, const char *prefix, struct arena *arena);

static void json_object(struct json *j, const char *prefix, struct arena *arena)
{
    json_text(j, "type", "object");
    json_bool(j, "additionalProperties", false);
    json_properties(j, prefix, arena);
}

static void json_words(struct json *j, const struct conf_key *key)
{
    json_open_array(j, "enum");
    for (const struct conf_word *w = key->words; w->word != NULL; w++) {
        json_text(j, NULL, w->word);
        // To an editor they are no text.
        if (strcmp(w->word, "true") == 0 || strcmp(w->word, "false") == 0)
            json_bool(j, NULL, w->word[0] == 't');
    }
    json_close_array(j);
}

static void json_type_of(struct json *j, const struct conf_key *key, struct arena *arena);

// A gateway's name or a map, or a list of them.
static void json_chain(struct json *j, const struct conf_key *key, struct arena *arena)
{
    json_open_array(j, "anyOf");
    for (int list = 0; list < 2; list++) {
        json_open(j, NULL);
        if (list == 1) {
            json_text(j, "type", "array");
            json_int(j, "minItems", 1);
            json_open(j, "items");
        }
        json_open_array(j, "anyOf");
        json_open(j, NULL);
        json_text(j, "type", "string");
        json_close(j);
        json_open(j, NULL);
        json_object(j, arena_printf(arena, "%s[].", key->path), arena);
        json_close(j);
        json_close_array(j);
        if (list == 1)
            json_close(j);
        json_close(j);
    }
    json_close_array(j);
}

// A word, or a map of them.
static void json_classed(struct json *j, const struct conf_key *key)
{
    json_open_array(j, "anyOf");
    json_open(j, NULL);
    json_words(j, key);
    json_close(j);
    json_open(j, NULL);
    json_text(j, "type", "object");
    json_open(j, "properties");
    for (const struct conf_word *c = conf_key_find("routes[].class")->words; c->word != NULL; c++) {
        json_open(j, c->word);
        json_words(j, key);
        json_close(j);
    }
    json_close(j);
    json_bool(j, "additionalProperties", false);
    json_close(j);
    json_close_array(j);
}

// A list, or its one item.
static void json_list(struct json *j, const struct conf_key *key)
{
    json_open_array(j, "anyOf");
    for (int list = 0; list < 2; list++) {
        json_open(j, NULL);
        if (list == 1) {
            json_text(j, "type", "array");
            json_int(j, "minItems", 1);
            json_open(j, "items");
        }
        if (key->words != NULL) {
            json_words(j, key);
        } else {
            json_open_array(j, "type");
            json_text(j, NULL, "string");
            json_text(j, NULL, "number");
            json_close_array(j);
        }
        if (list == 1)
            json_close(j);
        json_close(j);
    }
    json_close_array(j);
}

// A gateway may be its url alone, and `direct` nothing at all.
static void json_entry(struct json *j, const struct conf_key *key, struct arena *arena)
{
    const char *prefix = arena_printf(arena, "%s.NAME.", key->path);
    if (strcmp(key->path, "gateways") != 0) {
        json_object(j, prefix, arena);
        return;
    }
    json_open_array(j, "anyOf");
    json_open(j, NULL);
    json_open_array(j, "type");
    json_text(j, NULL, "string");
    json_text(j, NULL, "null");
    json_close_array(j);
    json_close(j);
    json_open(j, NULL);
    json_object(j, prefix, arena);
    json_close(j);
    json_close_array(j);
}

static void json_type_of(struct json *j, const struct conf_key *key, struct arena *arena)
{
    switch (key->type) {
    case CONF_SECTION: json_object(j, arena_printf(arena, "%s.", key->path), arena); break;
    case CONF_NAMED:
        json_text(j, "type", "object");
        json_int(j, "maxProperties", key->max);
        json_open(j, "additionalProperties");
        json_entry(j, key, arena);
        json_close(j);
        break;
    case CONF_RECORDS:
        json_text(j, "type", "array");
        json_int(j, "maxItems", key->max);
        json_open(j, "items");
        json_object(j, arena_printf(arena, "%s[].", key->path), arena);
        json_close(j);
        break;
    case CONF_CHAIN: json_chain(j, key, arena); break;
    // Editors take yes, no, on and off for text (YAML 1.2) or for booleans (1.1).
    case CONF_BOOL:
        json_open_array(j, "enum");
        json_bool(j, NULL, true);
        json_bool(j, NULL, false);
        for (size_t i = 0; i < 4; i++)
            json_text(j, NULL, ((const char *const[]){"yes", "no", "on", "off"})[i]);
        json_close_array(j);
        break;
    case CONF_ENUM: json_words(j, key); break;
    case CONF_CLASSED: json_classed(j, key); break;
    case CONF_INT:
        json_open_array(j, "anyOf");
        json_open(j, NULL);
        json_text(j, "type", "integer");
        json_int(j, "minimum", key->min);
        json_int(j, "maximum", key->max);
        json_close(j);
        if (key->words != NULL) {
            json_open(j, NULL);
            json_words(j, key);
            json_close(j);
        }
        json_close_array(j);
        break;
    case CONF_SIZE:
    case CONF_TIME:
        json_open_array(j, "type");
        json_text(j, NULL, "string");
        json_text(j, NULL, "integer");
        json_close_array(j);
        break;
    case CONF_TIMES:
    case CONF_ADDRESSES:
    case CONF_RANGES:
    case CONF_WORDS:
    case CONF_GLOBS:
    case CONF_SERVERS:
    case CONF_MAIL_GLOBS:
    case CONF_IPS:
    case CONF_GATEWAYS:
    case CONF_PLACES:
    case CONF_CLIENTS:
    case CONF_HOURS:
    case CONF_SET: json_list(j, key); break;
    case CONF_HEADERS:
        json_text(j, "type", "object");
        json_open(j, "additionalProperties");
        json_list(j, key);
        json_close(j);
        break;
    case CONF_PERCENT:
    default: json_text(j, "type", "string"); break;
    }
}

static void json_properties(struct json *j, const char *prefix, struct arena *arena)
{
    bool required = false;
    json_open(j, "properties");
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        const char *name = conf_key_under(key->path, prefix);
        if (name == NULL)
            continue;
        required |= key->fallback == NULL && key->unset == NULL;
        json_open(j, name);
        json_text(j, "description", key->help);
        json_type_of(j, key, arena);
        json_close(j);
    }
    json_close(j);
    if (!required)
        return;
    json_open_array(j, "required");
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        const char *name = conf_key_under(key->path, prefix);
        if (name != NULL && key->fallback == NULL && key->unset == NULL)
            json_text(j, NULL, name);
    }
    json_close_array(j);
}

void conf_schema_json(struct buf *out)
{
    struct arena *arena = arena_new();
    struct json j = json_to(out);
    json_open(&j, NULL);
    json_text(&j, "$schema", "https://json-schema.org/draft/2020-12/schema");
    json_text(&j, "title", "waypost.yaml");
    json_object(&j, "", arena);
    json_close(&j);
    buf_putc(out, '\n');
    arena_free(&arena);
}

// Explanations

// Does what was typed name this path? A NAME takes any word, and "[]" may be left out.
static bool path_fits(const char *path, struct str typed)
{
    struct str p = str_of(path), want, have;
    while (str_split(&p, '.', &want)) {
        if (!str_split(&typed, '.', &have))
            return false;
        if (str_eq(want, STR("NAME")) && have.len > 0)
            continue;
        if (want.len > 2 && want.ptr[want.len - 1] == ']' &&
            (have.len == 0 || have.ptr[have.len - 1] != ']'))
            want.len -= 2;
        if (!str_eq(want, have))
            return false;
    }
    return typed.len == 0;
}

static void put_lines(struct buf *out, const char *text, size_t indent)
{
    enum { WIDTH = 88 };
    struct str rest = str_of(text), word;
    size_t column = WIDTH;
    while (str_split(&rest, ' ', &word)) {
        bool wrap = column + 1 + word.len > WIDTH;
        if (wrap)
            buf_printf(out, "\n%*s", (int)indent, "");
        else
            buf_putc(out, ' ');
        column = (wrap ? indent : column + 1) + word.len;
        buf_add(out, word);
    }
}

static void explain_one(struct buf *out, struct arena *arena, const struct conf_key *key)
{
    if (out->len > 0)
        buf_putc(out, '\n');
    buf_puts(out, key->path);
    put_lines(out, key->help, 4);
    buf_puts(out, "\n    Value:   ");
    put_value(out, arena, key);
    if (key->fallback != NULL || key->unset != NULL)
        buf_printf(out, "\n    Default: %s", key->fallback != NULL ? key->fallback : key->unset);
    else
        buf_puts(out, "\n    Must be set.");
    if (key->example != NULL)
        buf_printf(out, "\n    Example: %s", key->example);
    buf_putc(out, '\n');
}

static void list_below(struct buf *out, const struct conf_key *top)
{
    size_t len = strlen(top->path);
    const char *intro = "    Keys:    ";
    for (size_t i = 0; i < conf_key_count; i++) {
        const char *path = conf_keys[i].path;
        if (strncmp(path, top->path, len) != 0 || (path[len] != '.' && path[len] != '['))
            continue;
        buf_printf(out, "%s%s\n", intro, path);
        intro = "             ";
    }
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

bool conf_explain(struct str typed, struct buf *out)
{
    struct arena *arena = arena_new();
    struct conf_nearest nearest = {0};
    bool found = false;
    for (size_t i = 0; i < conf_key_count && !found; i++) {
        if (!path_fits(conf_keys[i].path, typed))
            continue;
        explain_one(out, arena, &conf_keys[i]);
        list_below(out, &conf_keys[i]);
        found = true;
    }
    bool whole = found;
    for (size_t i = 0; i < conf_key_count && !whole; i++) {
        if (str_eq(typed, str_of(last_word(conf_keys[i].path)))) {
            explain_one(out, arena, &conf_keys[i]);
            found = true;
        }
        conf_nearest_offer(&nearest, typed, conf_keys[i].path);
        conf_nearest_offer(&nearest, typed, last_word(conf_keys[i].path));
    }
    for (size_t i = 0; i < conf_future_count && !found; i++) {
        if (path_fits(conf_futures[i].path, typed) ||
            str_eq(typed, str_of(last_word(conf_futures[i].path)))) {
            buf_printf(out, "`%s` %s%s%s.\n", conf_futures[i].path,
                       conf_futures[i].moved ? "stands under limits now"
                                             : "is not available in this version",
                       conf_futures[i].instead == NULL ? ""
                       : conf_futures[i].moved         ? ": "
                                                       : "; ",
                       conf_futures[i].instead != NULL ? conf_futures[i].instead : "");
            arena_free(&arena);
            return false;
        }
    }
    if (!found && nearest.word != NULL)
        buf_printf(out, "There is no such key; did you mean `%s`?\n", nearest.word);
    else if (!found)
        buf_puts(out, "There is no such key; `waypost config explain` without one lists all.\n");
    arena_free(&arena);
    return found;
}
