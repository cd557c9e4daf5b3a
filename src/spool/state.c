// SPDX-License-Identifier: ISC
// Small named values that outlive the process.
//
//   # waypost state 1
//   name value
//   ...
//   # end 89abcdef        CRC-32C of all before this line
//
// Written to `state.new`, synced, renamed to `state`, the directory synced. One write at a time; a
// flush is told of the first write that began after it was asked. Values that are merely set are
// written a moment later, together.
#include "spool/state.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { GATHER_MS = 1000, AGAIN_MS = 10 * 1000, PATH_BYTES = 4096, FRAME_BYTES = 64 };
#define HEAD "# waypost state 1\n"
#define FOOT "# end "

struct entry {
    char *name;
    struct str value; // owned
};

struct waiter {
    struct waiter *next;
    void (*done)(void *ctx, bool ok);
    void *ctx;
};

// One write. The worker touches nothing of the state but this.
struct writing {
    struct work work; // first
    struct state *state;
    struct buf text;
    bool ok;
    struct err err;
};

struct state {
    char dir[PATH_BYTES - 32];
    struct entry *entries; // sorted by name
    size_t count, cap;
    size_t bytes;    // of the file
    bool dirty;      // not in a write yet
    bool overflowed; // something could not be taken
    bool damaged;    // as it was found
    struct loop *loop;
    struct timer timer;
    struct defer defer;
    struct writing writing;
    bool busy;                         // a worker writes
    struct waiter *asked, *in_writing; // flushes: not begun, and of the write under way
};

static void path_of(const struct state *s, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", s->dir, name);
}

// ---- The values ----

// Where it stands, or belongs.
static size_t place_of(const struct state *s, const char *name, bool *found_out)
{
    size_t low = 0, high = s->count;
    *found_out = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(s->entries[mid].name, name);
        if (order == 0)
            *found_out = true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static size_t line_bytes(const char *name, struct str value)
{
    return strlen(name) + 1 + value.len + 1;
}

static void forget(struct state *s, size_t at)
{
    struct entry *e = &s->entries[at];
    s->bytes -= line_bytes(e->name, e->value);
    xfree(e->name);
    xfree((char *)e->value.ptr);
    memmove(e, e + 1, (--s->count - at) * sizeof(*e));
}

static void put(struct state *s, size_t at, bool found, const char *name, struct str value)
{
    char *copy = xstrndup(value.ptr, value.len);
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)copy[i] < 0x20 || copy[i] == 0x7f)
            copy[i] = ' ';
    if (found) {
        s->bytes -= line_bytes(name, s->entries[at].value);
        xfree((char *)s->entries[at].value.ptr);
    } else {
        if (s->count == s->cap) {
            s->cap = s->cap > 0 ? s->cap * 2 : 32;
            s->entries = xrealloc(s->entries, s->cap * sizeof(*s->entries));
        }
        memmove(&s->entries[at + 1], &s->entries[at], (s->count++ - at) * sizeof(*s->entries));
        s->entries[at].name = xstrdup(name);
    }
    s->entries[at].value = str_make(copy, value.len);
    s->bytes += line_bytes(name, value);
}

static bool name_is_good(const char *name)
{
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    return name[0] != '\0' && name[0] != '#';
}

struct str state_get(const struct state *s, const char *name)
{
    bool found;
    size_t at = place_of(s, name, &found);
    return found ? s->entries[at].value : STR("");
}

const char *state_next(const struct state *s, const char *prefix, size_t *pos)
{
    bool found;
    size_t first = place_of(s, prefix, &found);
    size_t at = first + *pos;
    if (at >= s->count || !str_starts(str_of(s->entries[at].name), str_of(prefix)))
        return NULL;
    ++*pos;
    return s->entries[at].name;
}

static void write_soon(struct state *s, int64_t after_ms);

void state_set(struct state *s, const char *name, struct str value)
{
    assert(name_is_good(name));
    bool found;
    size_t at = place_of(s, name, &found);
    if (found ? str_eq(s->entries[at].value, value) : value.len == 0)
        return;
    size_t before = found ? line_bytes(name, s->entries[at].value) : 0;
    if (value.len == 0) {
        forget(s, at);
    } else if (s->bytes - before + line_bytes(name, value) + FRAME_BYTES > LIMIT_STATE_BYTES) {
        if (!s->overflowed)
            log_error("state", 0, "%s/state would grow beyond %d bytes; %s is not kept", s->dir,
                      LIMIT_STATE_BYTES, name);
        s->overflowed = true;
        return;
    } else {
        put(s, at, found, name, value);
    }
    s->overflowed = false;
    s->dirty = true;
    write_soon(s, GATHER_MS);
}

// ---- Writing ----

static void format(const struct state *s, struct buf *out)
{
    buf_clear(out);
    buf_puts(out, HEAD);
    for (size_t i = 0; i < s->count; i++)
        buf_printf(out, "%s %.*s\n", s->entries[i].name, STR_FMT(s->entries[i].value));
    uint32_t crc = crc32c(0, out->data, out->len);
    buf_printf(out, FOOT "%08x\n", crc);
    assert(!out->full);
}

// Any thread.
static bool write_file(const char *dir, const struct buf *text, struct err *err)
{
    char temp[PATH_BYTES], path[PATH_BYTES];
    snprintf(temp, sizeof(temp), "%s/state.new", dir);
    snprintf(path, sizeof(path), "%s/state", dir);
    if (!path_remove(temp, err))
        return false;
    struct file *file = file_open(temp, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    struct file_piece piece = {text->data, text->len};
    bool ok = file_write(file, 0, &piece, 1, err) && file_sync(file, err);
    file_close(&file);
    return ok && path_rename(temp, path, err) && dir_sync(dir, err);
}

static void work(struct work *work)
{
    struct writing *w = (struct writing *)work;
    w->ok = write_file(w->state->dir, &w->text, &w->err);
}

static void begin(struct state *s);

static void written(struct work *work)
{
    struct writing *w = (struct writing *)work;
    struct state *s = w->state;
    s->busy = false;
    if (!w->ok) {
        log_error("state", 0, "%s; it is tried again soon", w->err.text);
        s->dirty = true;
        write_soon(s, AGAIN_MS);
    }
    struct waiter *waiter = s->in_writing;
    bool ok = w->ok && !s->overflowed;
    s->in_writing = NULL;
    if (s->asked != NULL)
        begin(s);
    else if (s->dirty)
        write_soon(s, GATHER_MS); // the clock may have run out while this write was slow
    for (struct waiter *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        waiter->done(waiter->ctx, ok);
        xfree(waiter);
    }
}

static void begin(struct state *s)
{
    if (s->busy)
        return; // `written` goes on
    timer_stop(&s->timer);
    s->in_writing = s->asked;
    s->asked = NULL;
    s->dirty = false;
    s->busy = true;
    format(s, &s->writing.text);
    s->writing.work.home = s->loop;
    s->writing.work.work = work;
    s->writing.work.done = written;
    s->writing.state = s;
    worker_submit(&s->writing.work);
}

// Flushes asked for in one turn of the loop share a write.
static void on_defer(void *ctx)
{
    struct state *s = ctx;
    if (s->dirty || s->busy || s->asked == NULL) {
        begin(s);
        return;
    }
    struct waiter *waiter = s->asked;
    bool ok = !s->overflowed;
    s->asked = NULL;
    for (struct waiter *next; waiter != NULL; waiter = next) { // nothing to write
        next = waiter->next;
        waiter->done(waiter->ctx, ok);
        xfree(waiter);
    }
}

static void on_timer(void *ctx)
{
    begin(ctx);
}

static void write_soon(struct state *s, int64_t after_ms)
{
    if (s->loop != NULL && !timer_running(&s->timer))
        timer_start(&s->timer, after_ms);
}

void state_flush(struct state *s, void (*done)(void *ctx, bool ok), void *ctx)
{
    assert(s->loop != NULL);
    struct waiter *waiter = xcalloc(1, sizeof(*waiter)), **tail = &s->asked;
    waiter->done = done;
    waiter->ctx = ctx;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = waiter;
    loop_defer(s->loop, &s->defer, on_defer, s);
}

// ---- Life ----

static bool parse(struct state *s, struct str text)
{
    // The last line holds the checksum of all before it.
    size_t foot = text.len;
    if (foot == 0 || text.ptr[--foot] != '\n')
        return false;
    while (foot > 0 && text.ptr[foot - 1] != '\n')
        foot--;
    struct str last = str_make(text.ptr + foot, text.len - foot);
    char right[FRAME_BYTES];
    snprintf(right, sizeof(right), FOOT "%08x\n", crc32c(0, text.ptr, foot));
    if (!str_eq(last, str_of(right)))
        return false;
    struct str rest = str_make(text.ptr, foot), line, name;
    if (!str_starts(rest, STR(HEAD)))
        return false;
    while (str_split(&rest, '\n', &line)) {
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        str_split(&line, ' ', &name);
        char *copy = xstrndup(name.ptr, name.len);
        bool found;
        size_t at = place_of(s, copy, &found);
        if (name_is_good(copy) && line.len > 0)
            put(s, at, found, copy, line);
        xfree(copy);
    }
    return true;
}

static bool put_aside(struct state *s, const char *path, const char *why, struct err *err)
{
    char aside[PATH_BYTES];
    path_of(s, "state.damaged", aside);
    if (!path_rename(path, aside, err))
        return false;
    s->damaged = true;
    log_error("damaged", 0,
              "%s: %s. It is kept as %s. What was remembered there (the gateway picked, detours) "
              "begins anew; allowances count as used up",
              path, why, aside);
    return true;
}

struct state *state_open(const char *spool_dir, struct err *err)
{
    char path[PATH_BYTES];
    struct state *s = xcalloc(1, sizeof(*s));
    if (strlen(spool_dir) >= sizeof(s->dir)) {
        err_set(err, "%s: the name of the spool directory is too long", spool_dir);
        xfree(s);
        return NULL;
    }
    snprintf(s->dir, sizeof(s->dir), "%s", spool_dir);
    buf_init(&s->writing.text, LIMIT_STATE_BYTES);
    path_of(s, "state", path);
    size_t len;
    bool ok = true;
    char *text = file_slurp(path, LIMIT_STATE_BYTES, &len, err);
    if (text == NULL && err->code != ENOENT)
        ok = put_aside(s, path, err->text, err);
    else if (text != NULL && !parse(s, str_make(text, len)))
        ok = put_aside(s, path, "its checksum is wrong", err);
    xfree(text);
    if (!ok)
        state_close(&s);
    return s;
}

bool state_damaged(const struct state *s)
{
    return s->damaged;
}

void state_start(struct state *s, struct loop *loop)
{
    s->loop = loop;
    timer_init(&s->timer, loop, on_timer, s);
    if (s->dirty)
        write_soon(s, GATHER_MS);
}

void state_close(struct state **state)
{
    struct state *s = *state;
    if (s == NULL)
        return;
    *state = NULL;
    assert(!s->busy && s->asked == NULL);
    if (s->loop != NULL) {
        timer_stop(&s->timer);
        defer_cancel(&s->defer);
    }
    struct err err;
    if (s->dirty) {
        format(s, &s->writing.text);
        if (!write_file(s->dir, &s->writing.text, &err))
            log_error("state", 0, "%s; what was remembered last is lost", err.text);
    }
    while (s->count > 0)
        forget(s, s->count - 1);
    xfree(s->entries);
    buf_free(&s->writing.text);
    xfree(s);
}
