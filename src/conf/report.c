// SPDX-License-Identifier: ISC
// Problems of a configuration, rendered with their source line.
//
// What hides secrets: (1) the reader of the YAML names the spans of values that are secrets; (2) a
// line that could not be read as YAML is searched for `password: ...` and `//user:password@`
// besides, because there the spans may be missing; and one that goes on with the value of such a
// key is hidden whole.
#include "conf/report.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>

enum { SHOWN_WIDTH = 100, SENTENCE_MAX = 1200, RENDERED_MAX = 8192, SPANS_MAX = 100000 };

void conf_report_init(struct conf_report *report)
{
    *report = (struct conf_report){.arena = arena_new()};
}

void conf_report_free(struct conf_report *report)
{
    arena_free(&report->arena);
    *report = (struct conf_report){0};
}

static bool has_word(struct str key, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= key.len; i++)
        if (str_ieq(str_make(key.ptr + i, len), str_of(word)))
            return true;
    return false;
}

bool conf_key_hides(struct str key)
{
    static const char *const words[] = {"pass",   "pasw",  "pwd",       "word",
                                        "secret", "token", "credential"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (has_word(key, words[i]))
            return true;
    return false;
}

void conf_source_hide(struct conf_source *source, size_t begin, size_t end)
{
    if (begin >= end || source->secret_count == SPANS_MAX)
        return;
    if (source->secret_count == source->secret_cap) {
        source->secret_cap = source->secret_cap > 0 ? source->secret_cap * 2 : 16;
        source->secrets =
            xrealloc(source->secrets, source->secret_cap * sizeof(source->secrets[0]));
    }
    source->secrets[source->secret_count++] = (struct conf_span){begin, end};
}

static void blot(char *line, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        if (line[i] != ' ' && line[i] != '\t')
            line[i] = '*';
}

// The value behind "word:" of a hiding key, up to a comma, a closing brace or the end; a value by
// tag (`!file x`) is no secret.
static void blot_after_key(char *line, size_t len, size_t colon)
{
    size_t word = colon;
    while (word > 0 && (ascii_is_alnum(line[word - 1]) || strchr("_-\"'", line[word - 1]) != NULL))
        word--;
    if (!conf_key_hides(str_make(line + word, colon - word)))
        return;
    size_t begin = colon + 1;
    while (begin < len && (line[begin] == ' ' || line[begin] == '\t'))
        begin++;
    if (begin == len || line[begin] == '!')
        return;
    size_t end = begin;
    if (line[begin] == '"' || line[begin] == '\'') {
        const char *quote = memchr(line + begin + 1, line[begin], len - begin - 1);
        end = quote != NULL ? (size_t)(quote - line) + 1 : len;
    }
    while (end < len && line[end] != ',' && line[end] != '}')
        end++;
    blot(line, begin, end);
}

// user:password@ behind "//"; in a broken line the @ may be cut off.
static void blot_in_url(char *line, size_t len, size_t begin, bool broken)
{
    size_t end = begin, at = 0;
    while (end < len && !strchr(" \t\",}'", line[end])) {
        if (line[end] == '@')
            at = end;
        end++;
    }
    if (at == 0 && broken)
        at = end;
    size_t colon = begin;
    while (colon < at && line[colon] != ':')
        colon++;
    if (at > 0 && colon < at)
        blot(line, colon + 1, at);
}

static void blot_by_looks(char *line, size_t len, bool broken)
{
    for (size_t i = 0; i < len; i++) {
        if (line[i] == ':')
            blot_after_key(line, len, i);
        if (line[i] == '/' && i + 1 < len && line[i + 1] == '/')
            blot_in_url(line, len, i + 2, broken);
    }
}

// Does a line without a key of its own go on with the value of a hiding one above?
static bool goes_on_hiding(struct str text, size_t start, struct str line)
{
    if (memchr(line.ptr, ':', line.len) != NULL)
        return false;
    for (size_t end = start; end > 0;) {
        size_t begin = --end;
        while (begin > 0 && text.ptr[begin - 1] != '\n')
            begin--;
        const char *colon = memchr(text.ptr + begin, ':', end - begin);
        if (colon != NULL)
            return conf_key_hides(str_make(text.ptr + begin, end - begin));
        end = begin;
    }
    return false;
}

static void blot_spans(const struct conf_source *source, char *line, size_t start, size_t len)
{
    for (size_t i = 0; i < source->secret_count; i++) {
        const struct conf_span *s = &source->secrets[i];
        if (s->end <= start || s->begin >= start + len)
            continue;
        size_t begin = s->begin > start ? s->begin - start : 0;
        size_t end = s->end - start < len ? s->end - start : len;
        blot(line, begin, end);
    }
}

// One character a column, so that the caret stands right.
static void put_shown(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t n = utf8_len(text);
        unsigned char c = (unsigned char)text.ptr[0];
        if (c == '\t')
            buf_putc(out, ' ');
        else if (n == 0 || c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2))
            buf_putc(out, '?');
        else
            buf_append(out, text.ptr, n);
        if (n == 0)
            n = 1;
        text = str_make(text.ptr + n, text.len - n);
    }
}

static size_t columns(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

// A position inside a character moves to its front.
static size_t whole_character(struct str text, size_t at)
{
    while (at > 0 && at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static void render_line(struct buf *out, const struct conf_source *source,
                        const struct conf_place *place)
{
    struct str text = source->text;
    size_t at = place->begin < text.len ? place->begin : text.len;
    size_t start = at, end = at;
    while (start > 0 && text.ptr[start - 1] != '\n')
        start--;
    while (end < text.len && text.ptr[end] != '\n' && text.ptr[end] != '\r')
        end++;
    size_t len = end - start, mark = at < end ? at - start : len;
    size_t mark_end = place->end > at ? place->end - start : mark + 1;
    if (mark_end > len)
        mark_end = len;
    // Masked before it is cut, so that the cut cannot hide what shows it to be a secret.
    char *line = xstrndup(text.ptr + start, len);
    blot_spans(source, line, start, len);
    blot_by_looks(line, len, source->broken);
    if (source->broken && goes_on_hiding(text, start, str_make(line, len)))
        blot(line, 0, len);
    struct str shown = str_make(line, len);
    size_t from = mark > SHOWN_WIDTH - 20 ? whole_character(shown, mark - (SHOWN_WIDTH - 20)) : 0;
    size_t to = from + SHOWN_WIDTH < len ? whole_character(shown, from + SHOWN_WIDTH) : len;
    buf_printf(out, "%5u | %s", place->line, from > 0 ? "..." : "");
    put_shown(out, str_make(line + from, to - from));
    buf_printf(out, "%s\n      | %*s", to < len ? "..." : "",
               (int)columns(str_make(line + from, mark - from)) + (from > 0 ? 3 : 0), "");
    buf_putc(out, '^');
    size_t under = mark_end > mark ? columns(str_make(line + mark, mark_end - mark)) : 1;
    for (size_t i = 1; i < under && i < SHOWN_WIDTH; i++)
        buf_putc(out, '~');
    buf_putc(out, '\n');
    xfree(line);
}

static bool before(const struct conf_problem *a, const struct conf_problem *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

// Makes room for an error, which is worth more than a warning.
static bool drop_warning(struct conf_report *report)
{
    for (size_t i = report->count; i-- > 0;) {
        if (!report->problems[i].warning)
            continue;
        report->count--;
        memmove(&report->problems[i], &report->problems[i + 1],
                (report->count - i) * sizeof(report->problems[0]));
        return true;
    }
    return false;
}

void conf_report_add(struct conf_report *report, const struct conf_source *source, bool warning,
                     const struct conf_place *place, const char *format, va_list args)
{
    unsigned *counter = warning ? &report->warnings : &report->errors;
    (*counter)++;
    if (report->count == CONF_REPORT_MAX && (warning || !drop_warning(report)))
        return;
    char sentence[SENTENCE_MAX];
    vsnprintf(sentence, sizeof(sentence), format, args);
    struct buf out;
    buf_init(&out, RENDERED_MAX);
    utf8_escape(&out, str_of(source->name));
    if (place != NULL && place->line > 0)
        buf_printf(&out, ":%u:%u", place->line, place->column);
    buf_printf(&out, ": %s: ", warning ? "warning" : "error");
    utf8_escape(&out, str_of(sentence));
    buf_putc(&out, '\n');
    if (place != NULL && place->line > 0)
        render_line(&out, source, place);
    struct conf_problem p = {
        .warning = warning,
        .line = place != NULL ? place->line : 0,
        .column = place != NULL ? place->column : 0,
        .sentence = arena_strdup(report->arena, sentence),
        .rendered = arena_str(report->arena, buf_str(&out)),
    };
    buf_free(&out);
    size_t at = report->count++;
    for (; at > 0 && before(&p, &report->problems[at - 1]); at--)
        report->problems[at] = report->problems[at - 1];
    report->problems[at] = p;
}

void conf_report_print(const struct conf_report *report, struct buf *out)
{
    for (size_t i = 0; i < report->count; i++)
        buf_puts(out, report->problems[i].rendered);
    if (report->errors + report->warnings > report->count)
        buf_printf(out, "... and %zu more\n", report->errors + report->warnings - report->count);
    if (report->errors > 0)
        buf_printf(out, "%u error%s%s", report->errors, report->errors > 1 ? "s" : "",
                   report->warnings > 0 ? ", " : "\n");
    if (report->warnings > 0)
        buf_printf(out, "%u warning%s\n", report->warnings, report->warnings > 1 ? "s" : "");
}
