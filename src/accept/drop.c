// SPDX-License-Identifier: ISC
// Writing to and reading from the drop directory.
//
// The reader goes round in steps, one message at a time: a worker looks for the first file and
// reads it; the loop gives it to the store; when that is on disk a worker removes the file, and
// looks for the next. What it cannot trust it does not open: links, files with a second name, what
// others may write to. A file it can neither take nor move away is named in the log once and then
// left alone.
#include "accept/drop.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "mail/address.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "mail/xtext.h"
#include "proto/smtp_dot.h"
#include "proto/smtp_params.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <assert.h>
#include <stdio.h>

enum {
    DROP_HEAD_MOST = LIMIT_RECIPIENTS * 2048, // the lines above the content
    DROP_FILE_MOST = LIMIT_MESSAGE + DROP_HEAD_MOST,
    DROP_AFRAID_MOST = 1000, // files left alone
    // Whoever may reach the spool may leave mail; only the daemon can list or take it.
    DROP_DIR_MODE = 01733,
    DROP_TMP_MS = 24 * 3600 * 1000,
};
static const char magic[] = "WAYPOST-DROP 1";

// ---- The format. ----

static void put_notify(struct buf *out, uint8_t notify)
{
    static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    const char *before = " NOTIFY=";
    for (int i = 0; i < 4; i++) {
        if ((notify & 1U << i) != 0) {
            buf_printf(out, "%s%s", before, names[i]);
            before = ",";
        }
    }
}

static void put_orcpt(struct buf *out, struct str orcpt)
{
    struct str address = orcpt, type;
    if (orcpt.len == 0 || !str_split(&address, ';', &type))
        return;
    buf_printf(out, " ORCPT=%.*s;", STR_FMT(type));
    xtext_encode(out, address);
}

static bool put_head(struct buf *out, const struct envelope *e, size_t content)
{
    static const char *const bodies[] = {"", " BODY=8BITMIME", " BODY=BINARYMIME"};
    static const char *const rets[] = {"", " RET=FULL", " RET=HDRS"};
    static const char *const priorities[] = {" MT-PRIORITY=-4", "", " MT-PRIORITY=4"};
    buf_printf(out, "%s\nMAIL FROM:<%.*s> SIZE=%zu%s%s%s%s", magic, STR_FMT(e->sender), content,
               bodies[e->body], e->smtputf8 ? " SMTPUTF8" : "", rets[e->ret],
               priorities[e->priority]);
    if (e->envid.len > 0) {
        buf_puts(out, " ENVID=");
        xtext_encode(out, e->envid);
    }
    for (size_t i = 0; i < e->count; i++) {
        buf_printf(out, "\nRCPT TO:<%.*s>", STR_FMT(e->rcpts[i].address));
        put_notify(out, e->rcpts[i].notify);
        put_orcpt(out, e->rcpts[i].orcpt);
    }
    return buf_puts(out, "\n\n") && !out->full;
}

static bool damaged(struct err *err, const char *what)
{
    err_set(err, "%s", what);
    return false;
}

static bool canonical(struct str content, bool binary, struct err *err)
{
    struct smtp_dot dot = {0};
    smtp_dot_watch(&dot, content);
    if (binary)
        return true;
    if (dot.bare_cr || dot.bare_lf || dot.nul || !smtp_dot_at_line_start(&dot))
        return damaged(err, "the message has lines that do not end in CRLF, or holds NUL");
    return true;
}

static bool parse_mail(struct str line, struct arena *arena, struct envelope *e, uint64_t *size_out,
                       struct err *err)
{
    struct address a;
    struct smtp_mail_params params;
    struct smtp_server_reply reply;
    const char *why;
    if (!str_starts(line, STR("MAIL FROM:")))
        return damaged(err, "no line MAIL FROM");
    line = str_make(line.ptr + 10, line.len - 10);
    if (!address_parse(line, ADDRESS_REVERSE | ADDRESS_UTF8, &a, &why))
        return damaged(err, why);
    if (!smtp_mail_params_parse(str_make(line.ptr + a.used, line.len - a.used), &params, &reply))
        return damaged(err, reply.text);
    if (!params.has_size)
        return damaged(err, "the size is missing");
    *size_out = params.size;
    e->sender = arena_dup(arena, address_str(&a));
    e->envid = arena_dup(arena, str_of(params.envid));
    e->body = params.body;
    e->ret = params.ret;
    e->priority = params.priority;
    e->smtputf8 = params.smtputf8;
    return true;
}

static bool parse_rcpt(struct str line, struct arena *arena, struct envelope *e, size_t *room,
                       struct err *err)
{
    struct address a;
    struct smtp_rcpt_params params;
    struct smtp_server_reply reply;
    const char *why;
    if (!str_starts(line, STR("RCPT TO:")))
        return damaged(err, "a line that is no RCPT TO");
    line = str_make(line.ptr + 8, line.len - 8);
    if (!address_parse(line, ADDRESS_UTF8, &a, &why))
        return damaged(err, why);
    if (address_domain(&a).len == 0)
        return damaged(err, "a recipient without domain");
    if (!smtp_rcpt_params_parse(str_make(line.ptr + a.used, line.len - a.used), &params, &reply))
        return damaged(err, reply.text);
    if (e->count == *room) {
        *room = *room == 0 ? 4 : *room * 2;
        struct envelope_rcpt *more = arena_alloc(arena, *room * sizeof(*more));
        if (e->count > 0)
            memcpy(more, e->rcpts, e->count * sizeof(*more));
        e->rcpts = more;
    }
    e->rcpts[e->count++] = (struct envelope_rcpt){
        .address = arena_dup(arena, address_str(&a)),
        .orcpt = arena_dup(arena, str_of(params.orcpt)),
        .notify = params.notify,
    };
    return true;
}

bool drop_parse(struct str file, struct arena *arena, struct envelope *e_out,
                struct str *content_out, struct err *err)
{
    struct str line;
    uint64_t size;
    size_t room = 0;
    *e_out = (struct envelope){0};
    if (!str_split(&file, '\n', &line) || !str_eq(line, str_of(magic)))
        return damaged(err, "not a drop file");
    if (!str_split(&file, '\n', &line) || !parse_mail(line, arena, e_out, &size, err))
        return file.len == 0 ? damaged(err, "cut off") : false;
    while (str_split(&file, '\n', &line) && line.len > 0) {
        if (!parse_rcpt(line, arena, e_out, &room, err))
            return false;
    }
    if (e_out->count == 0 || e_out->count > LIMIT_RECIPIENTS)
        return damaged(err, "no recipients, or too many");
    if (file.len != size)
        return damaged(err, "the message is not as long as it should be");
    *content_out = file;
    return canonical(file, e_out->body == BODY_BINARYMIME, err);
}

// ---- The writer. ----

static bool write_file(const char *path, struct str head, struct str content, struct err *err)
{
    struct file *file = file_open(path, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    struct file_piece pieces[] = {{head.ptr, head.len}, {content.ptr, content.len}};
    bool ok = file_write(file, 0, pieces, content.len > 0 ? 2 : 1, err) && file_sync(file, err);
    file_close(&file);
    return ok;
}

bool drop_write(const char *spool_dir, const struct envelope *e, struct str content,
                struct err *err)
{
    struct buf head;
    buf_init(&head, DROP_HEAD_MOST);
    bool ok = canonical(content, e->body == BODY_BINARYMIME, err);
    if (ok && content.len > LIMIT_MESSAGE)
        ok = damaged(err, "the message is larger than can be taken");
    if (ok && !put_head(&head, e, content.len))
        ok = damaged(err, "too many recipients, or too long ones");
    struct arena *arena = arena_new();
    const char *dir = arena_printf(arena, "%s/drop", spool_dir);
    const char *name = arena_printf(arena, "%013llx-%016llx", (unsigned long long)clock_wall_ms(),
                                    (unsigned long long)random_u64());
    const char *from = arena_printf(arena, "%s/tmp/%s", dir, name);
    const char *to = arena_printf(arena, "%s/%s", dir, name);
    if (ok) {
        struct err ignored;
        // Before the daemon's first start they are missing; whoever owns the spool may make them.
        dir_make(dir, DROP_DIR_MODE, &ignored);
        dir_make(arena_printf(arena, "%s/tmp", dir), DROP_DIR_MODE, &ignored);
        ok = write_file(from, buf_str(&head), content, err) && path_rename(from, to, err);
        if (!ok)
            path_remove(from, &ignored);
        ok = ok && dir_sync(dir, err);
    }
    if (!ok)
        err_prefix(err, "cannot leave the message in %s", dir);
    arena_free(&arena);
    buf_free(&head);
    return ok;
}

// ---- The reader. ----

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

static bool read_whole(struct drop *d, const char *path, const struct path_facts *before)
{
    struct path_facts after;
    struct file *file = file_open(path, FILE_READ, &d->err);
    if (file == NULL)
        return false;
    d->len = (size_t)before->size;
    d->data = mem_try(d->len + 1);
    bool ok = d->data != NULL;
    if (!ok)
        err_set(&d->err, "no memory for %zu bytes", d->len);
    ssize_t n = ok ? file_read(file, 0, d->data, d->len, &d->err) : 0;
    ok = ok && n >= 0 && path_stat(path, &after, &d->err);
    if (ok && ((size_t)n != d->len || after.links != 1 || after.uid != before->uid ||
               after.size != before->size || after.modified_ms != before->modified_ms)) {
        err_set(&d->err, "it changed while it was read");
        ok = false;
    }
    file_close(&file);
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
    if (!path_stat(path, &facts, &d->err))
        return false;
    const char *why = distrust(&facts);
    if (why == NULL && !read_whole(d, path, &facts))
        why = d->err.text;
    if (why != NULL) {
        leave_alone(d, name, why);
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
    log_info("accepted", d->id, "from <%.*s> to %zu recipient%s, dropped by %.*s",
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

static bool looping(struct drop *d)
{
    struct header_scan *h = arena_alloc(d->arena, sizeof(*h));
    header_scan_init(h);
    size_t len = d->content.len < LIMIT_HEADER ? d->content.len : LIMIT_HEADER;
    header_scan_feed(h, d->content.ptr, len);
    header_scan_end(h);
    d->envelope.subject = arena_dup(d->arena, header_subject(h));
    return h->count[HEADER_RECEIVED] > LIMIT_HOPS;
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
    buf_init(&head, TRACE_MAX);
    bool ok = trace_write(&head, &trace);
    assert(ok);
    d->body = store_body_begin(d->store, d->loop, d->content.len);
    if (append(d, head.data, head.len, &more) && more)
        append_rest(d);
    buf_free(&head);
}

static void work_done(struct work *w)
{
    struct drop *d = (struct drop *)w;
    struct err err = {0};
    if (d->name == NULL) {
        next_step(d);
        return;
    }
    d->arena = arena_new();
    if (!drop_parse(str_make(d->data, d->len), d->arena, &d->envelope, &d->content, &err))
        reject(d, err.text);
    else if (looping(d))
        reject(d, "too many Received fields: a mail loop");
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

static bool make_dirs(struct drop *d, struct err *err)
{
    char tmp[4096], bad[4096];
    snprintf(tmp, sizeof(tmp), "%s/tmp", d->dir);
    snprintf(bad, sizeof(bad), "%s/bad", d->dir);
    return dir_make(d->dir, DROP_DIR_MODE, err) && dir_make(tmp, DROP_DIR_MODE, err) &&
           dir_make(bad, 0700, err);
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
    if (make_dirs(d, err))
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
