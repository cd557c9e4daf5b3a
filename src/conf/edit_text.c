// SPDX-License-Identifier: ISC
// Changes of a configuration's text.
//
// Everything is a splice: some octets of the old text go, some come in their place, and all others
// are copied. Where to splice is told by the places of the tree (conf/yaml.h); what the new text
// must mean is told by the same change made to the tree. The two must meet: the new text is parsed
// and compared with the changed tree, so that a guess about the layout that was wrong is refused,
// never written.
#include "conf/edit.h"
#include "conf/schema.h"
#include "conf/yaml.h"
#include "base/mem.h"

#include <stdio.h>

enum { EDIT_MAX = LIMIT_CONFIG_FILE + 64 * 1024, PATH_MAX_DEPTH = 8 };

struct edit {
    struct str text;
    struct arena *arena;
    struct yaml_node *root;
    struct err *err;
};

static bool fail(struct edit *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct edit *e, const char *format, ...)
{
    va_list args;
    char text[sizeof(e->err->text)];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err_set(e->err, "%s", text);
    return false;
}

static struct yaml_node *parse(struct edit *e, struct str text, const char *what)
{
    struct conf_report report;
    struct conf_source source = {.name = what, .text = text};
    conf_report_init(&report);
    struct yaml_node *root = yaml_parse(&source, e->arena, &report);
    if (root == NULL && report.problems[0].line > 0)
        fail(e, "%s cannot be read: line %u: %s", what, report.problems[0].line,
             report.problems[0].sentence);
    else if (root == NULL)
        fail(e, "%s cannot be read: %s", what, report.problems[0].sentence);
    xfree(source.secrets);
    conf_report_free(&report);
    return root;
}

// ---- Trees ----

static bool same(const struct yaml_node *a, const struct yaml_node *b)
{
    if (a->kind != b->kind || a->count != b->count || !str_eq(a->tag, b->tag) ||
        !str_eq(a->text, b->text) || yaml_is_empty(a) != yaml_is_empty(b))
        return false;
    const struct yaml_node *x = a->first, *y = b->first;
    for (; x != NULL && y != NULL; x = x->next, y = y->next)
        if ((a->kind == YAML_MAP && !str_eq(x->key->text, y->key->text)) || !same(x, y))
            return false;
    return x == NULL && y == NULL;
}

// Where the pointer to a child stands.
static struct yaml_node **link_of(struct yaml_node *map, const struct yaml_node *child)
{
    struct yaml_node **link = &map->first;
    while (*link != child)
        link = &(*link)->next;
    return link;
}

static void append_child(struct edit *e, struct yaml_node *map, struct str key,
                         struct yaml_node *value)
{
    struct yaml_node **link = link_of(map, NULL);
    value->key = arena_alloc(e->arena, sizeof(*value->key));
    value->key->text = key;
    value->next = NULL;
    *link = value;
    map->count++;
}

// ---- Places ----

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t skip_blanks(struct str text, size_t at)
{
    while (at < text.len && is_blank(text.ptr[at]))
        at++;
    return at;
}

static size_t line_begin(struct str text, size_t at)
{
    while (at > 0 && text.ptr[at - 1] != '\n')
        at--;
    return at;
}

// Of the line's text: before its LF or CRLF.
static size_t line_end(struct str text, size_t at)
{
    while (at < text.len && text.ptr[at] != '\n')
        at++;
    return at > 0 && at < text.len && text.ptr[at - 1] == '\r' ? at - 1 : at;
}

static size_t next_line(struct str text, size_t at)
{
    at += str_find(str_make(text.ptr + at, text.len - at), '\n');
    return at < text.len ? at + 1 : at;
}

static const char *newline(struct str text)
{
    size_t at = str_find(text, '\n');
    return at > 0 && at < text.len && text.ptr[at - 1] == '\r' ? "\r\n" : "\n";
}

// A scalar's place is what stands inside its quotes.
static bool is_quote(struct str text, size_t at)
{
    return at < text.len && (text.ptr[at] == '"' || text.ptr[at] == '\'');
}

static size_t scalar_begin(struct str text, const struct yaml_node *n)
{
    size_t at = n->place.begin;
    return !n->plain && at > 0 && is_quote(text, at - 1) ? at - 1 : at;
}

static size_t scalar_end(struct str text, const struct yaml_node *n)
{
    size_t at = n->place.end;
    return !n->plain && is_quote(text, at) ? at + 1 : at;
}

static bool is_nothing(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && n->plain && n->text.len == 0 && n->tag.len == 0;
}

// Behind the colon.
static size_t colon_end(struct str text, const struct yaml_node *value)
{
    size_t at = skip_blanks(text, scalar_end(text, value->key));
    return at < text.len && text.ptr[at] == ':' ? at + 1 : at;
}

static bool is_flow(struct str text, const struct yaml_node *n)
{
    return n->kind != YAML_SCALAR && n->place.begin < text.len &&
           (text.ptr[n->place.begin] == '{' || text.ptr[n->place.begin] == '[');
}

// Over blanks, line ends, commas and remarks.
static size_t skip_between(struct str text, size_t at)
{
    for (; at < text.len; at++) {
        if (text.ptr[at] == '#')
            at = line_end(text, at);
        else if (!is_blank(text.ptr[at]) && strchr("\r\n,", text.ptr[at]) == NULL)
            break;
    }
    return at;
}

static size_t node_end(struct str text, const struct yaml_node *n)
{
    if (is_nothing(n))
        return n->key != NULL ? colon_end(text, n) : n->place.end;
    if (n->kind == YAML_SCALAR)
        return n->text.len == 0 && n->plain ? n->place.end : scalar_end(text, n);
    const struct yaml_node *last = n->first;
    while (last != NULL && last->next != NULL)
        last = last->next;
    if (!is_flow(text, n))
        return last != NULL ? node_end(text, last) : n->place.end;
    size_t at = skip_between(text, last != NULL ? node_end(text, last) : n->place.begin + 1);
    return at < text.len ? at + 1 : at;
}

// The value of a key with its tag: from behind the colon's blanks.
static size_t value_begin(struct str text, const struct yaml_node *value)
{
    size_t at = colon_end(text, value);
    return is_nothing(value) ? at : skip_blanks(text, at);
}

// The end of an entry's last line; a block scalar's own end is behind that.
static size_t entry_line_end(struct str text, const struct yaml_node *value)
{
    size_t at = node_end(text, value);
    while (at > 0 && at <= text.len && text.ptr[at - 1] == '\n' &&
           at > scalar_end(text, value->key))
        at--;
    return line_end(text, at);
}

// Does the entry begin its line?
static bool begins_line(struct str text, const struct yaml_node *value)
{
    size_t at = scalar_begin(text, value->key);
    return skip_blanks(text, line_begin(text, at)) == at;
}

static size_t column_of(struct str text, const struct yaml_node *value)
{
    size_t at = scalar_begin(text, value->key);
    return at - line_begin(text, at);
}

static bool has_remark(struct str region)
{
    if (memchr(region.ptr, '\n', region.len) == NULL)
        return false;
    for (size_t i = 1; i < region.len; i++)
        if (region.ptr[i] == '#' && strchr(" \t\n", region.ptr[i - 1]) != NULL)
            return true;
    return false;
}

// ---- Splices ----

// Copies the text with [begin, end) replaced, and proves that it means `want`.
static bool splice(struct edit *e, size_t begin, size_t end, struct str put,
                   const struct yaml_node *want, struct buf *out)
{
    struct buf now;
    buf_init(&now, EDIT_MAX);
    buf_append(&now, e->text.ptr, begin);
    buf_add(&now, put);
    buf_append(&now, e->text.ptr + end, e->text.len - end);
    bool ok = !now.full || fail(e, "the configuration would be too large");
    if (ok) {
        struct err ignored, *err = e->err;
        e->err = &ignored;
        struct yaml_node *got = parse(e, buf_str(&now), "the new text");
        e->err = err;
        ok = (got != NULL && same(got, want)) ||
             fail(e, "the file is written in a way that this change does not fit into; edit it by "
                     "hand");
    }
    if (ok)
        ok = buf_add(out, buf_str(&now)) || fail(e, "the configuration would be too large");
    if (now.data != NULL)
        explicit_bzero(now.data, now.len);
    buf_free(&now);
    return ok;
}

// A tree on one line.
static void put_flow(struct edit *e, struct buf *out, const struct yaml_node *n)
{
    if (n->kind == YAML_SCALAR) {
        if (n->tag.len > 0) {
            buf_add(out, n->tag);
            buf_putc(out, ' ');
        }
        if (n->plain && n->text.len == 0)
            buf_puts(out, n->tag.len > 0 ? "" : "null");
        else if (yaml_is_empty(n))
            buf_add(out, n->text);
        else
            conf_edit_quote(out, n->text);
        return;
    }
    buf_putc(out, n->kind == YAML_MAP ? '{' : '[');
    for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
        if (n->kind == YAML_MAP) {
            conf_edit_quote(out, c->key->text);
            buf_puts(out, ": ");
        }
        put_flow(e, out, c);
        if (c->next != NULL)
            buf_puts(out, ", ");
    }
    buf_putc(out, n->kind == YAML_MAP ? '}' : ']');
}

// What is put behind a key.
struct piece {
    struct str text;
    struct yaml_node *tree; // what the text means
    bool below;             // lines of a block, for below the key
};

static bool piece_of(struct edit *e, struct str value, struct piece *piece_out)
{
    value = str_trim(value);
    *piece_out = (struct piece){value, parse(e, value, "the value"),
                                memchr(value.ptr, '\n', value.len) != NULL};
    return piece_out->tree != NULL;
}

static void put_piece(struct edit *e, struct buf *out, const struct piece *piece, bool flow,
                      size_t column)
{
    struct str rest = piece->text, line;
    if (!piece->below) {
        buf_putc(out, ' ');
        buf_add(out, rest);
    } else if (flow) {
        buf_putc(out, ' ');
        put_flow(e, out, piece->tree);
    } else {
        while (str_split(&rest, '\n', &line))
            buf_printf(out, "%s%*s%.*s", newline(e->text), (int)column + 2, "", STR_FMT(line));
    }
}

static struct yaml_node *last_of(const struct yaml_node *map)
{
    struct yaml_node *last = map->first;
    while (last != NULL && last->next != NULL)
        last = last->next;
    return last;
}

// `key: piece` at the end of a flow map; returns where to put it.
static size_t flow_entry(struct edit *e, struct yaml_node *map, struct str key,
                         const struct piece *piece, struct buf *put)
{
    struct yaml_node *last = last_of(map);
    size_t at = last != NULL ? node_end(e->text, last) : map->place.begin + 1;
    size_t next = skip_blanks(e->text, at);
    bool comma = last != NULL && next < e->text.len && e->text.ptr[next] == ',';
    buf_printf(put, "%s%.*s:", last == NULL ? "" : comma ? " " : ", ", STR_FMT(key));
    put_piece(e, put, piece, true, 0);
    if (comma)
        buf_putc(put, ',');
    return comma ? next + 1 : at;
}

static size_t block_entry(struct edit *e, struct yaml_node *map, struct str key,
                          const struct piece *piece, struct buf *put)
{
    struct yaml_node *last = last_of(map);
    const char *line = newline(e->text);
    size_t at = e->text.len, column = 0;
    if (last != NULL) {
        at = entry_line_end(e->text, last);
        column = column_of(e->text, last);
    } else if (map != e->root) { // below a key without a value
        at = line_end(e->text, colon_end(e->text, map));
        column = column_of(e->text, map) + 2;
    }
    bool bare = at == 0 || e->text.ptr[at - 1] == '\n';
    buf_printf(put, "%s%*s%.*s:", bare ? "" : line, (int)column, "", STR_FMT(key));
    put_piece(e, put, piece, false, column);
    if (at == e->text.len)
        buf_puts(put, line);
    return at;
}

// As the last entry of a map.
static bool insert(struct edit *e, struct yaml_node *map, struct str key, const struct piece *piece,
                   struct buf *out)
{
    struct buf put;
    buf_init(&put, EDIT_MAX);
    size_t at = is_flow(e->text, map) ? flow_entry(e, map, key, piece, &put)
                                      : block_entry(e, map, key, piece, &put);
    if (map->kind != YAML_MAP) {
        struct yaml_node *next = map->next, *name = map->key;
        *map = (struct yaml_node){.kind = YAML_MAP, .key = name, .next = next};
    }
    append_child(e, map, key, piece->tree);
    bool ok = splice(e, at, at, buf_str(&put), e->root, out);
    buf_free(&put);
    return ok;
}

static bool replace(struct edit *e, struct yaml_node *map, struct yaml_node *old,
                    const struct piece *piece, struct buf *out)
{
    size_t begin = colon_end(e->text, old), end = node_end(e->text, old);
    struct buf put;
    while (end > begin && strchr(" \t\r\n", e->text.ptr[end - 1]) != NULL)
        end--;
    if (end < begin)
        end = begin;
    if (has_remark(str_make(e->text.ptr + begin, end - begin)))
        return fail(e, "there are remarks inside of what `%.*s` says; edit it by hand",
                    STR_FMT(old->key->text));
    // The blanks in front stay as a person aligned them.
    size_t blanks = skip_blanks(e->text, begin);
    buf_init(&put, EDIT_MAX);
    if (!piece->below && blanks > begin && blanks < end && e->text.ptr[blanks] != '\r' &&
        e->text.ptr[blanks] != '\n') {
        begin = blanks;
        buf_add(&put, piece->text);
    } else {
        put_piece(e, &put, piece, is_flow(e->text, map), column_of(e->text, old));
    }
    struct yaml_node **link = link_of(map, old);
    piece->tree->key = old->key;
    piece->tree->next = old->next;
    *link = piece->tree;
    bool ok = splice(e, begin, end, buf_str(&put), e->root, out);
    buf_free(&put);
    return ok;
}

// ---- Paths ----

// What a path leads to, as far as it leads.
struct found {
    struct yaml_node *chain[PATH_MAX_DEPTH]; // from the root; the last one lacks `rest`
    size_t depth;
    struct str rest; // empty: the whole path is there
};

// Names may have dots, so the longest key that fits is taken.
static struct found find(struct edit *e, const char *path)
{
    struct found f = {.chain = {e->root}, .depth = 1, .rest = str_of(path)};
    while (f.rest.len > 0 && f.depth < PATH_MAX_DEPTH) {
        struct yaml_node *at = f.chain[f.depth - 1], *best = NULL;
        for (struct yaml_node *n = at->kind == YAML_MAP ? at->first : NULL; n != NULL;
             n = n->next) {
            size_t len = n->key->text.len;
            if (len > 0 && str_starts(f.rest, n->key->text) &&
                (f.rest.len == len || f.rest.ptr[len] == '.') &&
                (best == NULL || len > best->key->text.len))
                best = n;
        }
        if (best == NULL)
            break;
        size_t len = best->key->text.len;
        f.chain[f.depth++] = best;
        f.rest = f.rest.len > len ? str_make(f.rest.ptr + len + 1, f.rest.len - len - 1) : STR("");
    }
    return f;
}

static bool is_group(struct str name)
{
    for (size_t i = 0; i < conf_key_count; i++)
        if (conf_keys[i].type == CONF_NAMED && str_eq(name, str_of(conf_keys[i].path)))
            return true;
    return false;
}

// `key: piece` as a piece of its own, on one line.
static struct piece wrap(struct edit *e, struct str key, const struct piece *piece)
{
    struct yaml_node *map = arena_alloc(e->arena, sizeof(*map));
    map->kind = YAML_MAP;
    append_child(e, map, key, piece->tree);
    const char *text = arena_printf(e->arena, "{%.*s: %.*s}", STR_FMT(key), STR_FMT(piece->text));
    return (struct piece){str_of(text), map, false};
}

// `a.b.c` of what is not there: the piece becomes that of `a`.
static void nest(struct edit *e, struct str *path, struct piece *piece)
{
    for (;;) {
        size_t dot = path->len;
        while (dot > 0 && path->ptr[dot - 1] != '.')
            dot--;
        if (dot == 0)
            return;
        *piece = wrap(e, str_make(path->ptr + dot, path->len - dot), piece);
        path->len = dot - 1;
    }
}

// A gateway that is its url alone becomes a map with that url in it.
static bool widen(struct edit *e, struct found *f, struct str key, const struct piece *piece,
                  struct buf *out)
{
    struct yaml_node *old = f->chain[f->depth - 1], *group = f->chain[f->depth - 2];
    struct piece wide = wrap(e, key, piece);
    if (!yaml_is_empty(old)) {
        struct yaml_node *url = arena_alloc(e->arena, sizeof(*url));
        struct yaml_node *map = arena_alloc(e->arena, sizeof(*map));
        size_t begin = value_begin(e->text, old), len = node_end(e->text, old) - begin;
        *url = *old;
        map->kind = YAML_MAP;
        append_child(e, map, STR("url"), url);
        append_child(e, map, key, piece->tree);
        wide.tree = map;
        wide.text = str_of(arena_printf(e->arena, "{url: %.*s, %.*s", (int)len, e->text.ptr + begin,
                                        (int)wide.text.len - 1, wide.text.ptr + 1));
    }
    return replace(e, group, old, &wide, out);
}

static bool set(struct edit *e, const char *path, struct str value, struct buf *out)
{
    struct found f = find(e, path);
    struct yaml_node *at = f.chain[f.depth - 1];
    struct piece piece;
    struct str key = f.rest;
    struct str first = str_make(key.ptr, str_find(key, '.'));
    bool direct = str_starts(str_of(path), STR("gateways.direct."));
    if (str_of(path).len == 0)
        return fail(e, "no key is named");
    if (!piece_of(e, value, &piece))
        return false;
    if (piece.below)
        return fail(e, "a value stands on one line");
    if (key.len == 0)
        return replace(e, f.chain[f.depth - 2], at, &piece, out);
    if (f.depth == 2 && is_group(at->key->text) && !direct)
        return fail(e, "there is no `%.*s` in `%.*s`; add it first", STR_FMT(first),
                    STR_FMT(at->key->text));
    if (f.depth == 1 && is_group(first) && !direct)
        return fail(e, "there are no `%.*s` in the file; add one first", STR_FMT(first));
    bool entry = f.depth == 3 && is_group(f.chain[1]->key->text);
    nest(e, &key, &piece);
    if (at->kind == YAML_SCALAR && entry)
        return widen(e, &f, key, &piece, out);
    if (at->kind == YAML_MAP || yaml_is_empty(at))
        return insert(e, at, key, &piece, out);
    return fail(e, "`%.*s` is no map of keys", STR_FMT(at->key->text));
}

static bool add(struct edit *e, const char *group, const char *name, struct str value,
                struct buf *out)
{
    struct yaml_node *map = (struct yaml_node *)yaml_get(e->root, group);
    struct piece piece;
    if (name[0] == '\0' || name[strcspn(name, ":#{}[],&*!|>'\"%@` \t\r\n")] != '\0')
        return fail(e, "`%s` is no name; take letters, digits, - and _", name);
    const struct yaml_node *there = yaml_get(map, name);
    if (there != NULL)
        return fail(e, "`%s` is there already, in line %u", name, there->key->place.line);
    if (!piece_of(e, value, &piece))
        return false;
    if (map != NULL && (map->kind == YAML_MAP || yaml_is_empty(map)))
        return insert(e, map, str_of(name), &piece, out);
    if (map != NULL)
        return fail(e, "`%s` is no map of names", group);
    struct piece whole = wrap(e, str_of(name), &piece);
    if (!is_flow(e->text, e->root)) {
        struct buf lines;
        buf_init(&lines, EDIT_MAX);
        buf_puts(&lines, name);
        buf_putc(&lines, ':');
        struct edit plain = {.text = STR("\n")};
        put_piece(&plain, &lines, &piece, false, 0);
        whole.text = arena_dup(e->arena, buf_str(&lines));
        whole.below = true;
        buf_free(&lines);
    }
    return insert(e, e->root, str_of(group), &whole, out);
}

// ---- Removing and moving ----

static bool remove_entry(struct edit *e, struct yaml_node *map, struct yaml_node *old,
                         struct buf *out)
{
    struct str text = e->text;
    struct yaml_node *before = NULL;
    size_t begin = scalar_begin(text, old->key), end = node_end(text, old);
    for (struct yaml_node *n = map->first; n != old; n = n->next)
        before = n;
    if (!is_flow(text, map)) {
        if (!begins_line(text, old))
            return fail(e, "`%.*s` does not begin its line; edit it by hand",
                        STR_FMT(old->key->text));
        begin = line_begin(text, begin);
        end = next_line(text, entry_line_end(text, old));
    } else if (old->next != NULL || before == NULL) {
        size_t comma = skip_blanks(text, end);
        if (comma < text.len && text.ptr[comma] == ',')
            end = skip_blanks(text, comma + 1);
    } else {
        size_t from = node_end(text, before);
        if (memchr(text.ptr + from, '\n', begin - from) == NULL)
            begin = from;
    }
    *link_of(map, old) = old->next;
    map->count--;
    return splice(e, begin, end, STR(""), e->root, out);
}

static bool remove_path(struct edit *e, const char *path, struct buf *out)
{
    struct found f = find(e, path);
    if (f.depth == 1 || f.rest.len > 0)
        return fail(e, "there is no `%s` in the file", path);
    size_t at = f.depth - 1;
    while (at > 1 && f.chain[at - 1]->count == 1)
        at--;
    return remove_entry(e, f.chain[at - 1], f.chain[at], out);
}

// The octets of an entry that move with it: in a block its lines and the remarks right above, in a
// flow map the key and the value.
static struct conf_span span_of(struct str text, const struct yaml_node *map,
                                const struct yaml_node *n)
{
    struct conf_span span = {scalar_begin(text, n->key), node_end(text, n)};
    if (is_flow(text, map))
        return span;
    span.begin = line_begin(text, span.begin);
    span.end = entry_line_end(text, n);
    while (span.begin > 0) {
        size_t above = line_begin(text, span.begin - 1), word = skip_blanks(text, above);
        if (word >= text.len || text.ptr[word] != '#' || word - above != column_of(text, n))
            break;
        span.begin = above;
    }
    return span;
}

// The entries change their places; what stands between the places stays.
static bool move(struct edit *e, const char *group, const char *name, const char *before,
                 struct buf *out)
{
    struct yaml_node *map = (struct yaml_node *)yaml_get(e->root, group);
    struct yaml_node *moved = (struct yaml_node *)yaml_get(map, name);
    struct yaml_node *goal = before != NULL ? (struct yaml_node *)yaml_get(map, before) : NULL;
    if (moved == NULL || (before != NULL && goal == NULL))
        return fail(e, "there is no `%s` in `%s`", moved == NULL ? name : before, group);
    if (moved == goal || moved->next == goal)
        return buf_add(out, e->text) || fail(e, "the configuration would be too large");
    size_t count = map->count, i = 0;
    struct conf_span *places = arena_alloc(e->arena, count * sizeof(*places));
    for (struct yaml_node *n = map->first; n != NULL; n = n->next, i++) {
        if (!is_flow(e->text, map) && !begins_line(e->text, n))
            return fail(e, "`%.*s` does not begin its line; edit it by hand",
                        STR_FMT(n->key->text));
        places[i] = span_of(e->text, map, n);
        if (i > 0 && places[i].begin < places[i - 1].end)
            places[i].begin = places[i - 1].end;
    }
    *link_of(map, moved) = moved->next;
    struct yaml_node **link = link_of(map, goal);
    moved->next = goal;
    *link = moved;
    struct buf put;
    buf_init(&put, EDIT_MAX);
    i = 0;
    for (struct yaml_node *n = map->first; n != NULL; n = n->next, i++) {
        struct conf_span from = span_of(e->text, map, n);
        if (i > 0)
            buf_append(&put, e->text.ptr + places[i - 1].end, places[i].begin - places[i - 1].end);
        buf_append(&put, e->text.ptr + from.begin, from.end - from.begin);
    }
    bool ok = splice(e, places[0].begin, places[count - 1].end, buf_str(&put), e->root, out);
    buf_free(&put);
    return ok;
}

// ---- The calls ----

void conf_edit_quote(struct buf *out, struct str text)
{
    bool plain = text.len > 0 && (ascii_is_alnum(text.ptr[0]) || text.ptr[0] == '/') &&
                 !str_eq(text, STR("null"));
    for (size_t i = 0; plain && i < text.len; i++)
        plain = ascii_is_alnum(text.ptr[i]) || strchr("-_./@+%", text.ptr[i]) != NULL;
    if (plain) {
        buf_add(out, text);
        return;
    }
    buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_printf(out, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
    }
    buf_putc(out, '"');
}

static bool begin_edit(struct edit *e, struct str text, struct err *err)
{
    *e = (struct edit){.text = text, .arena = arena_new(), .err = err};
    e->root = parse(e, text, "the file");
    if (e->root != NULL && e->root->kind != YAML_MAP)
        return fail(e, "the configuration is no map of keys and values");
    return e->root != NULL;
}

static bool end_edit(struct edit *e, bool ok)
{
    arena_free(&e->arena);
    return ok;
}

bool conf_edit_text_set(struct str text, const char *key_path, const char *value, struct buf *out,
                        struct err *err)
{
    struct edit e;
    return end_edit(&e, begin_edit(&e, text, err) && set(&e, key_path, str_of(value), out));
}

bool conf_edit_text_add(struct str text, const char *group, const char *name, const char *value,
                        struct buf *out, struct err *err)
{
    struct edit e;
    return end_edit(&e, begin_edit(&e, text, err) && add(&e, group, name, str_of(value), out));
}

bool conf_edit_text_remove(struct str text, const char *key_path, struct buf *out, struct err *err)
{
    struct edit e;
    return end_edit(&e, begin_edit(&e, text, err) && remove_path(&e, key_path, out));
}

bool conf_edit_text_move(struct str text, const char *group, const char *name, const char *before,
                         struct buf *out, struct err *err)
{
    struct edit e;
    return end_edit(&e, begin_edit(&e, text, err) && move(&e, group, name, before, out));
}
