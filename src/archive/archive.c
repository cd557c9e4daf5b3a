// SPDX-License-Identifier: ISC
// Copies of sent mail: one is under way, the others wait in order.
//
// A copy goes round between the loop, which reads a piece of the content, and a worker, which
// writes it. Between two copies the shelf is swept when it is time, or when the next one would not
// fit. In front of the message stand fields that say what became of it:
//
//   X-Waypost-Id: CZHBYK
//   X-Waypost-Sent: Sat, 21 Nov 2026 09:07:00 +0000
//   X-Waypost-Gateway: isp
//   X-Waypost-Sender: <me@example.org>
//   X-Waypost-Recipient: <you@example.net> relayed
//
// The message itself is as it was handed in, with its Received field.
#include "archive/archive.h"

#include "archive/shelf.h"
#include "base/base64.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <stdio.h>

enum { PIECE = 256 * 1024, HEAD_MOST = 4 * 1024 * 1024, SWEEP_MS = 3600 * 1000 };

struct copy {
    struct work work; // first
    struct link link;
    struct archive *archive;
    struct conf *conf; // a reference: where it goes
    uint64_t id;
    struct body_source *source;
    uint64_t read;    // of the source
    struct buf piece; // to be written next; at first the fields in front
    bool last;        // nothing is behind it
    // The worker's while it works.
    char name[SHELF_NAME];
    struct file *file; // NULL: not begun
    uint64_t written;
    bool ok;
    struct err err;
};

struct sweep {
    struct work work; // first
    struct archive *archive;
    struct conf *conf; // a reference
    int64_t now_ms;
    int offset_minutes;
    uint64_t max, bytes;
    bool ok;
    struct err err;
};

struct archive {
    struct loop *loop;
    struct conf *conf;
    struct link waiting;
    size_t count; // waiting
    struct copy *current;
    struct sweep sweep;
    bool sweeping;
    int64_t swept_ms; // mono; 0: never
    struct timer timer;
    struct defer defer;
    uint64_t copies, missed, bytes;
    char failure[512];
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

static void go_on(struct archive *a);

static void on_defer(void *ctx)
{
    go_on(ctx);
}

static void wake(struct archive *a)
{
    loop_defer(a->loop, &a->defer, on_defer, a);
}

// ---- Trouble ----

// Said when it begins, not with each copy.
static void fail(struct archive *a, uint64_t id, const char *why)
{
    if (a->failure[0] == '\0')
        log_error("archive", id, "%s; copies of sent mail are missing until this is mended", why);
    snprintf(a->failure, sizeof(a->failure), "%s", why);
}

static void miss(struct archive *a, uint64_t id, const char *why)
{
    a->missed++;
    fail(a, id, why);
}

static void mended(struct archive *a)
{
    if (a->failure[0] != '\0')
        log_info("archive", 0, "copies of sent mail are written again; %llu are missing",
                 (unsigned long long)a->missed);
    a->failure[0] = '\0';
}

// ---- One copy ----

static void copy_free(struct copy *c)
{
    c->source->ops->release(c->source);
    conf_unref(&c->conf);
    buf_free(&c->piece);
    xfree(c);
}

static void end_copy(struct copy *c)
{
    struct archive *a = c->archive;
    if (c->ok) {
        a->copies++;
        a->bytes += c->written;
        mended(a);
    } else {
        miss(a, c->id, c->err.text);
    }
    a->current = NULL;
    copy_free(c);
    wake(a);
}

static void write_piece(struct work *work)
{
    struct copy *c = (struct copy *)work;
    const char *dir = c->conf->archive.directory;
    struct file_piece piece = {c->piece.data, c->piece.len};
    if (c->file == NULL)
        c->file = shelf_begin(dir, c->name, c->source->size + c->piece.len, &c->err);
    c->ok =
        c->file != NULL && (piece.len == 0 || file_write(c->file, c->written, &piece, 1, &c->err));
    c->written += piece.len;
    if (c->ok && c->last)
        c->ok = shelf_end(dir, c->name, &c->file, &c->err);
    if (!c->ok)
        shelf_abandon(dir, c->name, &c->file);
}

static void read_piece(void *ctx);

static void on_written(struct work *work)
{
    struct copy *c = (struct copy *)work;
    buf_clear(&c->piece);
    if (c->ok && !c->last)
        read_piece(c);
    else
        end_copy(c);
}

static void give_up(struct work *work)
{
    struct copy *c = (struct copy *)work;
    c->ok = false;
    shelf_abandon(c->conf->archive.directory, c->name, &c->file);
}

static void submit(struct copy *c, void (*work)(struct work *work))
{
    c->work.home = c->archive->loop;
    c->work.work = work;
    c->work.done = on_written;
    worker_submit(&c->work);
}

static void read_piece(void *ctx)
{
    struct copy *c = ctx;
    while (c->read < c->source->size && c->piece.len < PIECE) {
        uint64_t left = c->source->size - c->read;
        size_t want = left < 64 * 1024 ? (size_t)left : 64 * 1024;
        char *to = buf_reserve(&c->piece, want);
        ssize_t n = c->source->ops->read_now(c->source, c->read, to, want);
        if (n == -2) {
            c->source->ops->fetch(c->source, c->read, want, read_piece, c);
            return;
        }
        if (n <= 0) {
            err_set(&c->err, "the content cannot be read");
            submit(c, give_up);
            return;
        }
        c->piece.len += (size_t)n;
        c->read += (uint64_t)n;
    }
    c->last = c->read == c->source->size;
    submit(c, write_piece);
}

// ---- Sweeping ----

static void sweep_work(struct work *work)
{
    struct sweep *s = (struct sweep *)work;
    s->ok = shelf_sweep(s->conf->archive.directory, s->now_ms, s->offset_minutes,
                        s->conf->archive.keep_ms, s->max, &s->bytes, &s->err);
}

static void on_swept(struct work *work)
{
    struct sweep *s = (struct sweep *)work;
    struct archive *a = s->archive;
    a->sweeping = false;
    if (s->ok)
        a->bytes = s->bytes;
    else
        fail(a, 0, s->err.text);
    conf_unref(&s->conf);
    timer_start(&a->timer, SWEEP_MS);
    wake(a);
}

static void sweep(struct archive *a, uint64_t room)
{
    uint64_t max = a->conf->archive.max_bytes;
    int64_t now = clock_wall_ms();
    a->sweep = (struct sweep){.archive = a,
                              .conf = conf_ref(a->conf),
                              .now_ms = now,
                              .offset_minutes = clock_utc_offset_minutes(now),
                              .max = max > room ? max - room : 0};
    a->sweep.work.home = a->loop;
    a->sweep.work.work = sweep_work;
    a->sweep.work.done = on_swept;
    a->sweeping = true;
    a->swept_ms = clock_mono_us() / 1000;
    worker_submit(&a->sweep.work);
}

static void on_timer(void *ctx)
{
    struct archive *a = ctx;
    a->swept_ms = 0;
    go_on(a);
}

// ---- The next thing to do ----

static void go_on(struct archive *a)
{
    if (a->current != NULL || a->sweeping)
        return;
    bool active = a->conf->archive.directory != NULL;
    struct copy *next = list_first(&a->waiting, struct copy, link);
    uint64_t size = next != NULL ? next->source->size + next->piece.len : 0;
    if (active && a->swept_ms == 0 && a->stopped == NULL) {
        sweep(a, 0);
    } else if (next == NULL) {
        void (*stopped)(void *) = a->stopped;
        a->stopped = NULL;
        if (stopped != NULL)
            stopped(a->stopped_ctx);
    } else if (active && a->bytes + size > a->conf->archive.max_bytes && a->bytes > 0 &&
               size <= a->conf->archive.max_bytes) {
        sweep(a, size + a->conf->archive.max_bytes / 20); // and not again with the next one
    } else {
        list_remove(&next->link);
        a->count--;
        a->current = next;
        read_piece(next);
    }
}

// ---- Taking on ----

static bool matches(const char *const *globs, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++)
        if (str_glob(str_of(globs[i]), text))
            return true;
    return count == 0;
}

bool archive_wants(const struct archive *a, const struct envelope *e)
{
    return a->conf->archive.directory != NULL && !e->is_dsn &&
           matches(a->conf->archive.senders, a->conf->archive.sender_count, e->sender);
}

static void put_fields(struct buf *out, const struct archive_copy *copy, int64_t now)
{
    const struct envelope *e = copy->envelope;
    char id[ID_TEXT_SIZE], when[TIME_TEXT];
    buf_printf(out, "X-Waypost-Id: %s\r\nX-Waypost-Sent: %s\r\n", id_format(copy->id, id),
               time_rfc5322(now, clock_utc_offset_minutes(now), when));
    if (copy->gateway != NULL)
        buf_printf(out, "X-Waypost-Gateway: %s\r\n", copy->gateway);
    buf_printf(out, "X-Waypost-Sender: <%.*s>\r\n", STR_FMT(e->sender));
    for (size_t i = 0; i < e->count; i++)
        buf_printf(out, "X-Waypost-Recipient: <%.*s> %s\r\n", STR_FMT(e->rcpts[i].address),
                   copy->states[i] == RCPT_WAITING ? "failed" : rcpt_state_name(copy->states[i]));
}

void archive_keep(struct archive *a, const struct archive_copy *copy, struct body_source *source,
                  const struct err *err)
{
    int64_t now = clock_wall_ms();
    if (source == NULL || a->count >= LIMIT_ARCHIVE_WAITING) {
        miss(a, copy->id, source == NULL ? err->text : "mail is sent faster than it is copied");
        if (source != NULL)
            source->ops->release(source);
        return;
    }
    struct copy *c = xcalloc(1, sizeof(*c));
    c->archive = a;
    c->conf = conf_ref(a->conf);
    c->id = copy->id;
    c->source = source;
    shelf_name(copy->id, now, clock_utc_offset_minutes(now), c->name);
    buf_init(&c->piece, HEAD_MOST + PIECE);
    put_fields(&c->piece, copy, now);
    list_append(&a->waiting, &c->link);
    a->count++;
    wake(a);
}

// ---- Life ----

struct archive *archive_new(struct loop *loop, struct conf *conf)
{
    struct archive *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    a->conf = conf_ref(conf);
    list_init(&a->waiting);
    timer_init(&a->timer, loop, on_timer, a);
    if (conf->archive.directory != NULL)
        wake(a);
    return a;
}

void archive_reload(struct archive *a, struct conf *conf)
{
    struct conf *before = a->conf;
    a->conf = conf_ref(conf);
    conf_unref(&before);
    a->swept_ms = 0; // another directory, or other bounds
    a->failure[0] = '\0';
    wake(a);
}

void archive_stop(struct archive *a, void (*done)(void *ctx), void *ctx)
{
    timer_stop(&a->timer);
    a->stopped = done;
    a->stopped_ctx = ctx;
    wake(a);
}

void archive_free(struct archive **ap)
{
    struct archive *a = *ap;
    if (a == NULL)
        return;
    struct copy *c;
    timer_stop(&a->timer);
    defer_cancel(&a->defer);
    while ((c = list_first(&a->waiting, struct copy, link)) != NULL) {
        list_remove(&c->link);
        copy_free(c);
    }
    conf_unref(&a->conf);
    xfree(a);
    *ap = NULL;
}

void archive_stats(const struct archive *a, struct archive_stats *out)
{
    *out = (struct archive_stats){.directory = a->conf->archive.directory,
                                  .copies = a->copies,
                                  .missed = a->missed,
                                  .bytes = a->bytes,
                                  .waiting = a->count + (a->current != NULL)};
    snprintf(out->failure, sizeof(out->failure), "%s", a->failure);
}
