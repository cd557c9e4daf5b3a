// SPDX-License-Identifier: ISC
// Files of other programs as lines and words, whatever they hold.
#include "import/source.h"
#include "base/mem.h"
#include "sys/file.h"

#include <errno.h>
#include <stdio.h>

static const char *disk_read(void *ctx, struct arena *arena, const char *path, size_t *len_out,
                             struct err *err)
{
    struct path_facts facts;
    // Asked first: a named pipe would never answer.
    if (!path_stat_follow(path, &facts, err))
        return NULL;
    if (!facts.is_file) {
        err_set(err, "it is not an ordinary file");
        return NULL;
    }
    if (facts.size > LIMIT_IMPORT_FILE) {
        err_set(err, "it is larger than %d MiB, so no file of this kind", LIMIT_IMPORT_FILE >> 20);
        return NULL;
    }
    char *text = file_slurp(path, LIMIT_IMPORT_FILE, len_out, err);
    if (text == NULL) {
        if (err->code == EACCES)
            err_set(err, "this user may not read it; %s may%s",
                    facts.uid == 0 ? "root" : "its owner", facts.uid == 0 ? "" : ", or root");
        return NULL;
    }
    const char *kept = arena_str(arena, str_make(text, *len_out));
    explicit_bzero(text, *len_out);
    xfree(text);
    return kept;
}

static const char *const *disk_list(void *ctx, struct arena *arena, const char *path)
{
    struct err err;
    char **names = dir_list(path, &err);
    size_t count = 0;
    if (names == NULL)
        return NULL;
    while (names[count] != NULL)
        count++;
    const char **kept = arena_alloc(arena, (count + 1) * sizeof(*kept));
    for (size_t i = 0; i < count; i++)
        kept[i] = arena_strdup(arena, names[i]);
    dir_list_free(&names);
    return kept;
}

const struct import_files import_disk = {disk_read, disk_list, NULL};

// ---- lines ----

static bool open_text(struct import *im, struct text *t, const char *path, bool named)
{
    struct err err = {0};
    size_t len = 0;
    if (im->file_count >= LIMIT_IMPORT_FILES || im->byte_count >= LIMIT_IMPORT_BYTES) {
        if (im->file_count++ == LIMIT_IMPORT_FILES)
            import_note(im, path, 0, "there are too many files; this one was not read");
        return false;
    }
    const char *data = im->files.read(im->files.ctx, im->arena, path, &len, &err);
    if (data == NULL) {
        bool none = err.code == ENOENT || err.code == ENOTDIR;
        if (!none && err.code == EACCES)
            import_note(im, path, 0, "this user may not read it; root may");
        else if (!none)
            import_note(im, path, 0, "%s", err.text);
        else if (named)
            import_note(im, path, 0, "there is no such file, though another names it");
        return false;
    }
    im->file_count++;
    im->byte_count += len;
    if (memchr(data, '\0', len) != NULL) {
        import_note(im, path, 0, "it is not a text file");
        return false;
    }
    struct str all = str_make(data, len);
    if (str_starts(all, STR("\xef\xbb\xbf")))
        all = str_after(all, 3);
    *t = (struct text){.im = im, .file = path, .rest = all};
    return true;
}

bool text_open(struct import *im, struct text *t, const char *path)
{
    return open_text(im, t, path, false);
}

bool text_open_named(struct import *im, struct text *t, const char *path)
{
    return open_text(im, t, path, true);
}

bool text_next(struct text *t, struct str *line_out)
{
    if (!str_split(&t->rest, '\n', line_out))
        return false;
    t->line = ++t->count;
    if (line_out->len > 0 && line_out->ptr[line_out->len - 1] == '\r')
        line_out->len--;
    return true;
}

bool text_next_joined(struct text *t, struct str *line_out)
{
    struct str more;
    if (!text_next(t, line_out))
        return false;
    if (line_out->len == 0 || line_out->ptr[line_out->len - 1] != '\\')
        return true;
    unsigned first = t->line;
    struct buf whole;
    buf_init(&whole, LIMIT_IMPORT_FILE);
    buf_append(&whole, line_out->ptr, line_out->len - 1);
    while (text_next(t, &more)) {
        bool on = more.len > 0 && more.ptr[more.len - 1] == '\\';
        buf_append(&whole, more.ptr, more.len - on);
        if (!on)
            break;
    }
    t->line = first;
    *line_out = arena_dup(t->im->arena, buf_str(&whole));
    buf_free(&whole);
    return true;
}

static bool is_remark(struct str line)
{
    struct str bare = str_trim(line);
    return bare.len == 0 || bare.ptr[0] == '#';
}

bool text_next_folded(struct text *t, struct str *line_out)
{
    do {
        if (!text_next(t, line_out))
            return false;
    } while (is_remark(*line_out));
    struct buf whole;
    struct text ahead = *t;
    struct str more;
    bool folded = false;
    buf_init(&whole, LIMIT_IMPORT_FILE);
    // Remarks and empty lines in between do not end it (postconf(5)).
    while (text_next(&ahead, &more)) {
        if (is_remark(more))
            continue;
        if (more.ptr[0] != ' ' && more.ptr[0] != '\t')
            break;
        if (!folded)
            buf_add(&whole, *line_out);
        folded = true;
        buf_putc(&whole, ' ');
        buf_add(&whole, str_trim(more));
        t->rest = ahead.rest;
        t->count = ahead.count;
    }
    if (folded)
        *line_out = arena_dup(t->im->arena, buf_str(&whole));
    buf_free(&whole);
    return true;
}

// ---- paths ----

const char *home_path(struct import *im, const char *below)
{
    return arena_printf(im->arena, "%s/%s", im->home, below);
}

const char *etc_path(struct import *im, const char *path)
{
    return arena_printf(im->arena, "%s%s", im->root, path);
}

const char *named_path(struct import *im, const char *dir, struct str path)
{
    static const char *const homes[] = {"~/", "$HOME/", "${HOME}/"};
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++)
        if (im->home != NULL && str_starts(path, str_of(homes[i])))
            return home_path(im, arena_str(im->arena, str_after(path, strlen(homes[i]))));
    if (path.len > 0 && path.ptr[0] == '/')
        return etc_path(im, arena_str(im->arena, path));
    return arena_printf(im->arena, "%s/%s", dir, arena_str(im->arena, path));
}

const char *dir_of(struct import *im, const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash == NULL ? "." : arena_str(im->arena, str_make(file, (size_t)(slash - file)));
}

const char *const *names_in(struct import *im, const char *dir)
{
    static const char *const none[] = {NULL};
    const char *const *names = im->files.list(im->files.ctx, im->arena, dir);
    return names != NULL ? names : none;
}

// ---- words ----

static bool ends_word(char c, unsigned flags)
{
    return c == ' ' || c == '\t' || ((flags & WORD_EQUALS) != 0 && c == '=') ||
           ((flags & WORD_SEMICOLON) != 0 && c == ';');
}

// Where the word that begins `in` ends. Its plain form goes to `out` unless that is NULL.
static size_t scan_word(struct str in, unsigned flags, char *out, size_t *len_out)
{
    size_t i = 0, n = 0;
    for (char quote = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (quote == 0 && ends_word(c, flags))
            break;
        bool quotes = c == '"' || (c == '\'' && (flags & WORD_SINGLE) != 0);
        bool escapes = c == '\\' && quote != '\'' && (quote != 0 || (flags & WORD_ESCAPE) != 0);
        if (quote != 0 ? c == quote : quotes) {
            quote = quote != 0 ? 0 : c;
            continue;
        }
        if (escapes && i + 1 < in.len)
            c = in.ptr[++i];
        if (out != NULL)
            out[n] = c;
        n++;
    }
    *len_out = n;
    return i;
}

bool word_next(struct import *im, struct str *rest, unsigned flags, struct str *word_out)
{
    size_t i = 0, len;
    while (i < rest->len && rest->ptr[i] != ';' && ends_word(rest->ptr[i], flags))
        i++;
    *rest = str_after(*rest, i);
    if (rest->len == 0 || ((flags & WORD_HASH) != 0 && rest->ptr[0] == '#') ||
        ((flags & WORD_SEMICOLON) != 0 && rest->ptr[0] == ';'))
        return false;
    // Twice, so that a line of many words takes no more memory than itself.
    size_t end = scan_word(*rest, flags, NULL, &len);
    char *out = arena_alloc(im->arena, len + 1);
    scan_word(*rest, flags, out, &len);
    *word_out = str_make(out, len);
    *rest = str_after(*rest, end);
    return true;
}

static int hex(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A code point of `digits` hex digits as UTF-8; 0 when there is none.
static size_t code_point(struct str in, size_t digits, char out[4])
{
    uint32_t v = 0;
    if (in.len < digits)
        return 0;
    for (size_t i = 0; i < digits; i++) {
        if (hex(in.ptr[i]) < 0)
            return 0;
        v = v << 4 | (uint32_t)hex(in.ptr[i]);
    }
    if (v == 0 || v > 0xffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    size_t n = 0;
    if (v < 0x80) {
        out[n++] = (char)v;
    } else {
        if (v >= 0x800)
            out[n++] = (char)(0xe0 | v >> 12);
        out[n++] = (char)(v >= 0x800 ? 0x80 | (v >> 6 & 0x3f) : 0xc0 | v >> 6);
        out[n++] = (char)(0x80 | (v & 0x3f));
    }
    return n;
}

struct str unquote(struct import *im, struct str text)
{
    char quote = text.len > 0 ? text.ptr[0] : 0;
    if (quote != '"' && quote != '\'')
        return text;
    char *out = arena_alloc(im->arena, text.len * 2 + 1);
    size_t n = 0;
    for (size_t i = 1; i < text.len && text.ptr[i] != quote; i++) {
        char c = text.ptr[i];
        if (c != '\\' || quote == '\'' || i + 1 == text.len) {
            out[n++] = c;
            continue;
        }
        c = text.ptr[++i];
        size_t digits = c == 'u' ? 4 : c == 'x' ? 2 : 0, made = 0;
        if (digits > 0 && (made = code_point(str_after(text, i + 1), digits, out + n)) > 0) {
            n += made;
            i += digits;
        } else {
            out[n++] = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
    }
    return str_make(out, n);
}

bool is_yes(struct str text)
{
    static const char *const words[] = {"yes", "true", "on", "1", "enabled", "y"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_is(text, words[i]))
            return true;
    return false;
}

bool has_text(struct str text)
{
    return str_trim(text).len > 0;
}

struct str str_after(struct str s, size_t count)
{
    return count < s.len ? str_make(s.ptr + count, s.len - count) : str_make(s.ptr + s.len, 0);
}

// ---- servers ----

bool port_of(struct str text, uint16_t *port_out)
{
    static const struct {
        const char *name;
        uint16_t port;
    } services[] = {{"smtp", 25},   {"submission", 587}, {"submissions", 465}, {"smtps", 465},
                    {"ssmtp", 465}, {"urd", 465},        {"lmtp", 24}};
    uint64_t number;
    text = str_trim(text);
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        if (str_is(text, services[i].name)) {
            *port_out = services[i].port;
            return true;
        }
    }
    if (!str_u64(text, UINT16_MAX, &number) || number == 0)
        return false;
    *port_out = (uint16_t)number;
    return true;
}

bool host_port(struct str text, struct str *host_out, uint16_t *port_out)
{
    text = str_trim(text);
    size_t end = str_find(text, ':');
    *port_out = 0;
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t close = str_find(text, ']');
        if (close == text.len)
            return false;
        struct str behind = str_after(text, close + 1);
        *host_out = str_make(text.ptr + 1, close - 1);
        return behind.len == 0 || (behind.ptr[0] == ':' && port_of(str_after(behind, 1), port_out));
    }
    // More than one colon without brackets: an IPv6 address.
    if (end < text.len && memchr(text.ptr + end + 1, ':', text.len - end - 1) != NULL)
        end = text.len;
    *host_out = str_make(text.ptr, end);
    return end == text.len || port_of(str_after(text, end + 1), port_out);
}

static struct str percent_decode(struct import *im, struct str in)
{
    char *out = arena_alloc(im->arena, in.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        bool code = in.ptr[i] == '%' && i + 2 < in.len && hex(in.ptr[i + 1]) >= 0 &&
                    hex(in.ptr[i + 2]) >= 0;
        out[n++] = code ? (char)(hex(in.ptr[i + 1]) * 16 + hex(in.ptr[i + 2])) : in.ptr[i];
        i += code ? 2 : 0;
    }
    return str_make(out, n);
}

bool mail_url(struct import *im, struct str text, struct mail_url *url_out)
{
    *url_out = (struct mail_url){0};
    text = str_trim(text);
    size_t colon = str_find(text, ':');
    if (colon == 0 || !str_starts(str_after(text, colon), STR("://")))
        return false;
    url_out->scheme = str_make(text.ptr, colon);
    text = str_after(text, colon + 3);
    // A slash may stand in a password that was not encoded, so the login ends first.
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != '@')
        at--;
    struct str login = str_make(text.ptr, at > 0 ? at - 1 : 0), place = str_after(text, at);
    place.len = str_find(place, '/');
    place.len = str_find(place, '?');
    size_t split = str_find(login, ':');
    url_out->user = percent_decode(im, str_make(login.ptr, split));
    url_out->has_password = split < login.len;
    if (url_out->has_password)
        url_out->password = percent_decode(im, str_after(login, split + 1));
    return host_port(place, &url_out->host, &url_out->port) && url_out->host.len > 0;
}
