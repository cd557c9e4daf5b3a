// SPDX-License-Identifier: ISC
// YAML to a tree, by libfyaml's events: its document builder would resolve what is refused here.
#include "conf/yaml.h"
#include "base/map.h"
#include "base/limits.h"
#include "base/utf8.h"

#include <assert.h>
#include <libfyaml.h>

struct open {
    struct yaml_node *node;
    struct yaml_node *last; // its last child
    struct yaml_node *key;  // a key that waits for its value
    struct map *keys;
};

struct builder {
    struct conf_source *source;
    struct arena *arena;
    struct conf_report *report;
    struct yaml_node *root;
    struct open stack[YAML_MAX_DEPTH];
    size_t depth;
    unsigned documents;
    struct conf_place here; // of the last event that had one
    bool failed;
};

__attribute__((format(printf, 3, 4))) static void
fail(struct builder *b, const struct conf_place *place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    conf_report_add(b->report, b->source, false, place, format, args);
    va_end(args);
    b->failed = true;
}

static struct conf_place place_of(struct builder *b, const struct fy_mark *start,
                                  const struct fy_mark *end)
{
    if (start != NULL) {
        b->here = (struct conf_place){.line = (unsigned)start->line + 1,
                                      .column = (unsigned)start->column + 1,
                                      .begin = start->input_pos,
                                      .end = end != NULL ? end->input_pos : start->input_pos};
    }
    return b->here;
}

static struct str token_text(struct builder *b, struct fy_token *token)
{
    size_t len = 0;
    const char *text = token != NULL ? fy_token_get_text(token, &len) : NULL;
    return text != NULL ? arena_dup(b->arena, str_make(text, len)) : STR("");
}

// The password part of scheme://user:password@host, also where the scheme or the host was
// forgotten.
static void hide_in_url(struct builder *b, const struct yaml_node *n)
{
    enum { PORT_MISTYPED = 99999 }; // so many digits are a port, if a wrong one

    struct str raw = str_make(b->source->text.ptr + n->place.begin, n->place.end - n->place.begin);
    size_t from = 0, at = raw.len;
    while (at > 0 && raw.ptr[at - 1] != '@')
        at--;
    for (size_t i = 0; i + 2 < raw.len && from == 0; i++)
        if (raw.ptr[i] == '/' && raw.ptr[i + 1] == '/')
            from = i + 2;
    size_t colon = from + str_find(str_make(raw.ptr + from, raw.len - from), ':');
    uint64_t port;
    if (at > colon + 1)
        conf_source_hide(b->source, n->place.begin + colon + 1, n->place.begin + at - 1);
    else if (at == 0 && from > 0 && colon < raw.len && raw.ptr[from] != '[' &&
             !str_u64(str_make(raw.ptr + colon + 1, raw.len - colon - 1), PORT_MISTYPED, &port))
        conf_source_hide(b->source, n->place.begin + colon + 1, n->place.end);
}

// A command may hold a secret, but not in the program's name; whoever mistyped that has to see it.
static size_t hidden_from(const struct builder *b, const struct yaml_node *n)
{
    const char *text = b->source->text.ptr;
    size_t at = n->place.begin;
    if (!str_eq(n->tag, STR("!command")))
        return at;
    while (at < n->place.end && text[at] != ' ' && text[at] != '\t' && text[at] != '\n')
        if (text[at++] == '=')
            return n->place.begin; // NAME=secret before the program
    return at;
}

static void hide_secret(struct builder *b, const struct yaml_node *n)
{
    if (n->kind != YAML_SCALAR || n->place.end > b->source->text.len)
        return;
    bool by_tag = n->tag.len > 0 && (str_eq(n->tag, STR("!file")) || str_eq(n->tag, STR("!env")) ||
                                     str_eq(n->tag, STR("!credential")));
    bool hidden = false;
    for (size_t i = 0; i < b->depth; i++)
        hidden |= b->stack[i].key != NULL && conf_key_hides(b->stack[i].key->text);
    if (hidden && !by_tag)
        conf_source_hide(b->source, hidden_from(b, n), n->place.end);
    else
        hide_in_url(b, n);
}

static bool take_key(struct builder *b, struct open *top, struct yaml_node *n)
{
    if (n->kind != YAML_SCALAR || n->tag.len > 0) {
        fail(b, &n->place, "a key must be plain text");
        return false;
    }
    if (n->plain && str_eq(n->text, STR("<<"))) {
        fail(b, &n->place, "merge keys (<<) are not taken here; write the keys out");
        return false;
    }
    struct yaml_node *old = map_get(top->keys, n->text);
    if (old != NULL)
        fail(b, &n->place, "`%.*s` stands here twice; the first is in line %u", STR_FMT(n->text),
             old->place.line);
    else
        map_put(top->keys, n->text, n);
    top->key = n;
    return true;
}

// Hangs a node into what is open; false to stop.
static bool place_node(struct builder *b, struct yaml_node *n)
{
    if (b->depth == 0) {
        b->root = n;
        return true;
    }
    struct open *top = &b->stack[b->depth - 1];
    if (top->node->kind == YAML_MAP && top->key == NULL)
        return take_key(b, top, n);
    hide_secret(b, n);
    n->key = top->key;
    if (n->kind == YAML_SCALAR)
        top->key = NULL;
    if (top->last != NULL)
        top->last->next = n;
    else
        top->node->first = n;
    top->last = n;
    top->node->count++;
    return true;
}

static bool open_node(struct builder *b, struct yaml_node *n)
{
    if (b->depth == YAML_MAX_DEPTH) {
        fail(b, &n->place, "nested too deeply; no setting is deeper than %d levels",
             YAML_MAX_DEPTH);
        return false;
    }
    if (!place_node(b, n))
        return false;
    b->stack[b->depth++] = (struct open){.node = n, .keys = n->kind == YAML_MAP ? map_new() : NULL};
    return true;
}

static void close_node(struct builder *b)
{
    map_free(&b->stack[--b->depth].keys);
    if (b->depth > 0)
        b->stack[b->depth - 1].key = NULL;
}

static bool take_event(struct builder *b, struct fy_event *e)
{
    struct fy_token *anchor = fy_event_get_anchor_token(e);
    if (e->type == FYET_ALIAS || anchor != NULL) {
        const struct fy_mark *mark = fy_event_start_mark(e);
        if (anchor != NULL)
            mark = fy_token_start_mark(anchor);
        struct conf_place place = place_of(b, mark, NULL);
        // The mark stands behind the & or *.
        if (place.begin > 0 && place.column > 1 &&
            strchr("&*", b->source->text.ptr[place.begin - 1]) != NULL) {
            place.begin--;
            place.column--;
        }
        fail(b, &place,
             "anchors (&) and aliases (*) are not taken here; write it out, or quote it "
             "if it is text");
        return false;
    }
    struct conf_place place = place_of(b, fy_event_start_mark(e), fy_event_end_mark(e));
    switch (e->type) {
    case FYET_DOCUMENT_START:
        if (++b->documents > 1) {
            fail(b, &place, "a second document begins here; one file is one document");
            return false;
        }
        return true;
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END: close_node(b); return true;
    case FYET_MAPPING_START:
    case FYET_SEQUENCE_START:
    case FYET_SCALAR: break;
    default: return true;
    }
    struct yaml_node *n = arena_alloc(b->arena, sizeof(*n));
    n->place = place;
    n->tag = token_text(b, fy_event_get_tag_token(e));
    if (e->type != FYET_SCALAR) {
        n->kind = e->type == FYET_MAPPING_START ? YAML_MAP : YAML_LIST;
        n->place.end = n->place.begin;
        return open_node(b, n);
    }
    n->text = token_text(b, e->scalar.value);
    n->plain = e->scalar.value == NULL || fy_token_scalar_style(e->scalar.value) == FYSS_PLAIN;
    return place_node(b, n);
}

// libfyaml counts lines and columns; the caret needs the byte.
static struct conf_place place_at(const struct conf_source *source, int line, int column)
{
    struct conf_place place = {.line = line > 0 ? (unsigned)line : 1,
                               .column = column > 0 ? (unsigned)column : 1};
    struct str text = source->text;
    size_t at = 0;
    for (unsigned l = 1; l < place.line && at < text.len; l++) {
        at += str_find(str_make(text.ptr + at, text.len - at), '\n');
        at += at < text.len;
    }
    for (unsigned c = 1; c < place.column && at < text.len && text.ptr[at] != '\n'; c++) {
        size_t n = utf8_len(str_make(text.ptr + at, text.len - at));
        at += n > 0 ? n : 1;
    }
    place.begin = place.end = at;
    return place;
}

static void syntax_error(struct builder *b, struct fy_diag *diag)
{
    void *walk = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(diag, &walk);
    struct conf_place place = b->here;
    const char *message = e != NULL && e->msg != NULL ? e->msg : "this is not YAML";
    if (e != NULL)
        place = place_at(b->source, e->line, e->column);
    if (strstr(message, "invalid tab") != NULL || strstr(message, "tab character") != NULL) {
        message = "a tab cannot indent here; use spaces";
    } else if (strstr(message, "without a closing bracket") != NULL && b->depth > 0) {
        // The end of the file is where it shows; where it began is what helps.
        place = b->stack[b->depth - 1].node->place;
        message = "this bracket is never closed";
    } else if (strstr(message, "invalid indentation in mapping") != NULL) {
        message = "its indentation fits no key above; keys that belong together have the same "
                  "number of blanks in front";
    } else if (strstr(message, "wrongly indented flow") != NULL && b->depth > 0) {
        place = b->stack[b->depth - 1].node->place;
        message = "this bracket is not closed before the next key begins";
    } else if (strstr(message, "missing comma") != NULL) {
        message = "a comma is missing, or a bracket before this is not closed";
    }
    b->source->broken = true;
    fail(b, &place, "%s", message);
}

static void run(struct builder *b, struct fy_parser *parser, struct fy_diag *diag)
{
    for (;;) {
        struct fy_event *e = fy_parser_parse(parser);
        if (e == NULL) {
            if (fy_diag_got_error(diag))
                syntax_error(b, diag);
            return;
        }
        bool end = e->type == FYET_STREAM_END;
        bool ok = take_event(b, e);
        fy_parser_event_free(parser, e);
        if (end || !ok)
            return;
    }
}

// Bytes that no YAML may hold, looked for first: what the library does with them is not to be
// relied on.
static bool refuse_bytes(struct builder *b)
{
    struct str text = b->source->text;
    struct conf_place place = {.line = 1, .column = 1};
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_make(text.ptr + 3, text.len - 3);
    while (text.len > 0) {
        size_t n = utf8_len(text);
        unsigned char c = (unsigned char)text.ptr[0];
        if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            place.begin = (size_t)(text.ptr - b->source->text.ptr);
            b->source->broken = true;
            fail(b, &place,
                 n == 0 ? "byte 0x%02x is not UTF-8; save the file as UTF-8"
                        : "control byte 0x%02x does not belong in a text file",
                 c);
            return true;
        }
        place.column = c == '\n' ? 1 : place.column + 1;
        place.line += c == '\n';
        text = str_make(text.ptr + n, text.len - n);
    }
    return false;
}

struct yaml_node *yaml_parse(struct conf_source *source, struct arena *arena,
                             struct conf_report *report)
{
    struct builder b = {.source = source, .arena = arena, .report = report};
    b.here = (struct conf_place){.line = 1, .column = 1};
    if (source->text.len > LIMIT_CONFIG_FILE) {
        fail(&b, NULL, "the file is larger than %d MiB", LIMIT_CONFIG_FILE / (1024 * 1024));
        return NULL;
    }
    if (refuse_bytes(&b))
        return NULL;
    struct fy_diag *diag = fy_diag_create(NULL);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
    struct fy_parser *parser = fy_parser_create(&cfg);
    assert(parser != NULL);
    if (source->text.len > 0 &&
        fy_parser_set_string(parser, source->text.ptr, source->text.len) == 0)
        run(&b, parser, diag);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    while (b.depth > 0)
        close_node(&b);
    if (b.failed)
        return NULL;
    if (b.root == NULL || yaml_is_empty(b.root)) {
        b.root = arena_alloc(arena, sizeof(*b.root));
        b.root->kind = YAML_MAP;
        b.root->place = (struct conf_place){.line = 1, .column = 1};
    }
    return b.root;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (str_eq(n->key->text, str_of(key)))
            return n;
    return NULL;
}

bool yaml_is_empty(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && node->plain && node->tag.len == 0 &&
           (node->text.len == 0 || str_eq(node->text, STR("~")) || str_eq(node->text, STR("null")));
}
