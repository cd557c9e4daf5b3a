// SPDX-License-Identifier: ISC
// The reader of the drop directory.
//
// It goes round in steps, one message at a time: a worker looks for the first file and
// reads it; the loop gives it to the store; when that is on disk a worker removes the file, and
// looks for the next. What it cannot trust it does not open: links, files with a second name, what
// others may write to. A file it can neither take nor move away is named in the log once and then
// left alone.
#include "accept/drop.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "mail/header_keep.h"
#include "mail/trace.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <assert.h>
#include <stdio.h>

enum {
    DROP_FILE_MOST = LIMIT_MESSAGE + DROP_HEAD_MOST,
    DROP_AFRAID_MOST = 1000, // files left alone
    DROP_TMP_MS = 24 * 3600 * 1000,
};

struct drop {
    struct work work; // first
    struct store_commit commit;
    struct loop *loop;
    struct conf *conf;
    struct store *store;
    bool (*may_accept)(void *ctx, struct err *why);
    void *gate_ctx;
    struct timer timer;
    struct defer stop_check;
    bool busy; // a work or commit is under way
    bool stopping;
    bool waits_said;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    char *dir; // owned, "<spool>/drop"

    // The message under way; the worker's while it works.
    char *name; // owned; NULL: none
    char *data; // owned
    size_t len;
    uint32_t uid;
    bool look;   // for the next file
    bool remove; // the file is to be removed first: its message is in the store
    bool bad;    // or to be moved to drop/bad
    struct err err;
    char **names;       // of this round; NULL: none under way
    size_t at;          // the next of them
    bool first;         // nothing was done yet
    struct map *afraid; // names left alone, owned keys
    // On the loop.
    struct arena *arena;
    struct envelope envelope;
    struct store_body *body;
    struct str content; // what is still to be given to the store
    bool no_header;     // it begins with the body
    uint64_t id;
};

static void next_step(struct drop *d);

static void leave_alone(struct drop *d, const char *name, const char *why)
{
    if (map_count(d->afraid) >= DROP_AFRAID_MOST)
        return;
    char *key = xstrdup(name);
    map_put(d->afraid, str_of(key), key);
    log_warn("drop", 0, "%s/%s is left alone: %s; remove it by hand", d->dir, name, why);
}

static const char *distrust(const struct path_facts *f)
{
    if (!f->is_file)
        return "not a regular file";
    if (f->links != 1)
        return "it has more than one name (hard links)";
    if ((f->mode & 022) != 0)
        return "others may write to it";
    if (f->size > DROP_FILE_MOST)
        return "it is too large";
    return NULL;
}

// Of the open file alone: its name may mean another by now. False with d->err.
static bool read_whole(struct drop *d, struct file *file, struct path_facts *facts_out)
{
    struct path_facts after;
    if (!file_stat(file, facts_out, &d->err))
        return false;
    const char *why = distrust(facts_out);
    if (why != NULL) {
        err_set(&d->err, "%s", why);
        return false;
    }
    d->len = (size_t)facts_out->size;
    d->data = mem_try(d->len + 1);
    if (d->data == NULL) {
        err_set(&d->err, "no memory for %zu bytes", d->len);
        return false;
    }
    ssize_t n = file_read(file, 0, d->data, d->len, &d->err);
    bool ok = n >= 0 && file_stat(file, &after, &d->err);
    if (ok && ((size_t)n != d->len || after.links != 1 || after.size != facts_out->size ||
               after.modified_ms != facts_out->modified_ms)) {
        err_set(&d->err, "it changed while it was read");
        ok = false;
    }
    if (!ok) {
        xfree(d->data);
        d->data = NULL;
    }
    return ok;
}

// False: not this one.
static bool try_file(struct drop *d, const char *name)
{
    char path[4096];
    struct path_facts facts;
    if (name[0] == '.' || strcmp(name, "tmp") == 0 || strcmp(name, "bad") == 0 ||
        map_get(d->afraid, str_of(name)) != NULL)
        return false;
    snprintf(path, sizeof(path), "%s/%s", d->dir, name);
    struct file *file = file_open(path, FILE_READ, &d->err);
    bool ok = file != NULL && read_whole(d, file, &facts);
    file_close(&file);
    if (!ok) {
        if (d->err.code != ENOENT)
            leave_alone(d, name, d->err.text);
        return false;
    }
    d->uid = facts.uid;
    d->name = xstrdup(name);
    return true;
}

static void put_away(struct drop *d)
{
    char from[4096], to[4096];
    struct err err;
    snprintf(from, sizeof(from), "%s/%s", d->dir, d->name);
    snprintf(to, sizeof(to), "%s/bad/%s", d->dir, d->name);
    bool ok = d->remove ? path_remove(from, &err) : path_rename(from, to, &err);
    ok = ok && dir_sync(d->dir, &err);
    if (!ok)
        leave_alone(d, d->name, err.text); // else it would come in again and again
    d->remove = d->bad = false;
    xfree(d->name);
    d->name = NULL;
}

// What a writer that died left behind.
static void clean_tmp(struct drop *d)
{
    char dir[4096], path[8192];
    struct err err;
    struct path_facts facts;
    snprintf(dir, sizeof(dir), "%s/tmp", d->dir);
    char **names = dir_list(dir, &err);
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (path_stat(path, &facts, &err) && facts.is_file &&
            clock_wall_ms() - facts.modified_ms > DROP_TMP_MS)
            path_remove(path, &err);
    }
    if (names != NULL)
        dir_list_free(&names);
}

// On a worker. The names are listed once and gone through; the next round lists them anew.
static void work(struct work *w)
{
    struct drop *d = (struct drop *)w;
    struct err err;
    if (d->name != NULL)
        put_away(d);
    if (d->first)
        clean_tmp(d);
    d->first = false;
    if (d->names == NULL && d->look)
        d->names = dir_list(d->dir, &err);
    d->look = d->look && d->names != NULL;
    while (d->look && d->name == NULL && d->names[d->at] != NULL)
        try_file(d, d->names[d->at++]);
    if (d->name != NULL || d->names == NULL)
        return;
    dir_list_free(&d->names);
    d->at = 0;
}

static bool may_take(struct drop *d, struct err *why)
{
    return store_accepting(d->store, why) &&
           (d->may_accept == NULL || d->may_accept(d->gate_ctx, why));
}

static void start_work(struct drop *d)
{
    struct err ignored;
    d->busy = true;
    d->look = !d->stopping && may_take(d, &ignored);
    worker_submit(&d->work);
}

static void message_over(struct drop *d)
{
    if (d->body != NULL)
        store_body_abort(&d->body);
    arena_free(&d->arena);
    xfree(d->data);
    d->data = NULL;
}

// For now: the file stays, and is tried again with the next look.
static void postpone(struct drop *d, const struct err *why)
{
    if (!d->waits_said)
        log_warn("drop", 0, "%s/%s waits: %s", d->dir, d->name, why->text);
    d->waits_said = true;
    message_over(d);
    xfree(d->name);
    d->name = NULL;
    next_step(d);
}

static void committed(struct store_commit *commit)
{
    struct drop *d = container_of(commit, struct drop, commit);
    if (!commit->ok) {
        postpone(d, &commit->err);
        return;
    }
    log_info("accepted", d->id, "from <%.*s> to %zu recipient%s, from the drop directory, by %.*s",
             STR_FMT(d->envelope.sender), d->envelope.count, d->envelope.count == 1 ? "" : "s",
             STR_FMT(d->envelope.client));
    d->remove = true;
    d->waits_said = false;
    message_over(d);
    start_work(d);
}

static void commit(struct drop *d)
{
    struct store_op op = {
        .kind = STORE_ACCEPT,
        .id = d->id,
        .wall_ms = d->envelope.accepted_ms,
        .envelope = &d->envelope,
        .body = d->body,
    };
    d->body = NULL;
    d->commit = (struct store_commit){.home = d->loop, .done = committed};
    store_commit(d->store, &d->commit, &op, 1);
}

static void append_rest(void *ctx);

// False: not now; the message is postponed. *more_out: go on at once.
static bool append(struct drop *d, const char *bytes, size_t len, bool *more_out)
{
    struct err err = {0};
    int taken = store_body_append(d->body, bytes, len, append_rest, d, &err);
    *more_out = taken > 0;
    if (taken < 0)
        postpone(d, &err);
    return taken >= 0;
}

// Gives the content in pieces, waiting where the store asks for it.
static void append_rest(void *ctx)
{
    struct drop *d = ctx;
    bool more = true;
    while (d->content.len > 0 && more) {
        size_t len = d->content.len < 65536 ? d->content.len : 65536;
        const char *piece = d->content.ptr;
        d->content = str_make(piece + len, d->content.len - len);
        if (!append(d, piece, len, &more))
            return;
    }
    if (more)
        commit(d);
}

// The last word on a damaged file.
static void reject(struct drop *d, const char *why)
{
    log_error("drop", 0, "%s/%s from uid %u is damaged and goes to %s/bad: %s", d->dir, d->name,
              d->uid, d->dir, why);
    d->bad = true;
    message_over(d);
    start_work(d);
}

// False with why: it is not to go on.
static bool read_header(struct drop *d, const char **why_out)
{
    struct header_scan *h = arena_alloc(d->arena, sizeof(*h));
    header_scan_init(h);
    h->own_host = str_of(d->conf->hostname);
    struct header_keep *keep = arena_alloc(d->arena, sizeof(*keep));
    header_keep_init(keep, h, d->conf->asks_headers, d->conf->ask_header_count, d->arena);
    size_t len = d->content.len < LIMIT_HEADER ? d->content.len : LIMIT_HEADER;
    header_scan_feed(h, d->content.ptr, len);
    header_scan_end(h);
    header_keep_end(keep, &d->envelope);
    d->envelope.subject = arena_dup(d->arena, header_subject(h));
    d->no_header = header_absent(h);
    if (d->envelope.release_ms > clock_wall_ms() + LIMIT_SEND_LATER_MS) {
        *why_out = "it is to be kept for longer than a year";
        return false;
    }
    *why_out = "too many Received fields: a mail loop";
    return h->count[HEADER_RECEIVED] <= LIMIT_HOPS && h->own_hops < LIMIT_OWN_HOPS;
}

static void begin(struct drop *d)
{
    struct envelope *e = &d->envelope;
    int64_t now = clock_wall_ms();
    d->id = store_next_id(d->store);
    e->accepted_ms = now;
    e->client = str_of(arena_printf(d->arena, "uid %u", d->uid));
    e->listener = STR("drop");
    struct trace trace = {
        .client = e->client,
        .hostname = str_of(d->conf->hostname),
        .id = d->id,
        .smtputf8 = e->smtputf8,
        .rcpt = e->rcpts[0].address,
        .rcpt_count = e->count,
        .wall_ms = now,
        .offset_minutes = clock_utc_offset_minutes(now),
    };
    struct buf head;
    bool more;
    buf_init(&head, TRACE_MAX + 2);
    bool ok = trace_write(&head, &trace);
    assert(ok);
    if (d->no_header) // else the next server would take the body for fields
        buf_puts(&head, "\r\n");
    d->body = store_body_begin(d->store, d->loop, d->content.len);
    if (append(d, head.data, head.len, &more) && more)
        append_rest(d);
    buf_free(&head);
}

static void work_done(struct work *w)
{
    struct drop *d = (struct drop *)w;
    struct err err = {0};
    const char *why;
    if (d->name == NULL) {
        next_step(d);
        return;
    }
    d->arena = arena_new();
    if (!drop_parse(str_make(d->data, d->len), d->arena, &d->envelope, &d->content, &err))
        reject(d, err.text);
    else if (!read_header(d, &why))
        reject(d, why);
    else if (!may_take(d, &err))
        postpone(d, &err);
    else
        begin(d);
}

static void on_timer(void *ctx)
{
    start_work(ctx);
}

static void on_stop_check(void *ctx)
{
    struct drop *d = ctx;
    void (*stopped)(void *) = d->stopped;
    if (d->busy || stopped == NULL)
        return;
    d->stopped = NULL;
    stopped(d->stopped_ctx);
}

static void next_step(struct drop *d)
{
    d->busy = false;
    if (d->stopping)
        loop_defer(d->loop, &d->stop_check, on_stop_check, d);
    else
        timer_start(&d->timer, DROP_SCAN_MS);
}

struct drop *drop_new(struct loop *loop, struct conf *conf, struct store *store, struct err *err)
{
    struct drop *d = xcalloc(1, sizeof(*d));
    size_t len = strlen(conf->spool_dir) + sizeof("/drop");
    d->dir = xmalloc(len);
    snprintf(d->dir, len, "%s/drop", conf->spool_dir);
    d->loop = loop;
    d->conf = conf_ref(conf);
    d->store = store;
    d->afraid = map_new();
    d->first = true;
    d->work = (struct work){.home = loop, .work = work, .done = work_done};
    timer_init(&d->timer, loop, on_timer, d);
    if (drop_make_dirs(conf->spool_dir, err))
        timer_start(&d->timer, 0);
    else
        drop_free(&d);
    return d;
}

void drop_set_gate(struct drop *d, bool (*may_accept)(void *ctx, struct err *why), void *ctx)
{
    d->may_accept = may_accept;
    d->gate_ctx = ctx;
}

void drop_reload(struct drop *d, struct conf *conf)
{
    conf_unref(&d->conf);
    d->conf = conf_ref(conf);
}

void drop_stop(struct drop *d, void (*stopped)(void *ctx), void *ctx)
{
    d->stopping = true;
    d->stopped = stopped;
    d->stopped_ctx = ctx;
    timer_stop(&d->timer);
    loop_defer(d->loop, &d->stop_check, on_stop_check, d);
}

void drop_free(struct drop **drop)
{
    struct drop *d = *drop;
    if (d == NULL)
        return;
    assert(!d->busy);
    timer_stop(&d->timer);
    defer_cancel(&d->stop_check);
    size_t pos = 0;
    for (char *key; (key = map_next(d->afraid, &pos)) != NULL;)
        xfree(key);
    map_free(&d->afraid);
    if (d->names != NULL)
        dir_list_free(&d->names);
    conf_unref(&d->conf);
    xfree(d->dir);
    xfree(d);
    *drop = NULL;
}
