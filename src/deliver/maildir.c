// SPDX-License-Identifier: ISC
// Delivery into a maildir: a file is written in tmp, synced, and renamed into new.
//
// What must hold:
//  1. The name is made of the message and the recipient, not of the moment. An attempt that is made
//     again, because a crash swallowed the word that it had succeeded, puts the same name in place
//     of the same mail: no double, unless a reader has taken it meanwhile.
//  2. OK is said only after file and name are on the disk.
//  3. All of it is done by workers, one step at a time; one whose owner has gone is freed by the
//     step under way.
#include "deliver/sink.h"

#include "base/crc32c.h"
#include "base/list.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/worker.h"

#include <stdio.h>

enum { PATH_TEXT = 4096 };
enum { GROUP_BITS = 02070, GROUP_READ_WRITE = 0060 };

struct maildir {
    struct work work; // first: it is what its functions get
    struct sink sink;
    struct loop *loop;
    bool create;
    bool working, abandoned, ends, failed;
    char base[PATH_TEXT]; // what stands before the first word of the pattern
    char box[PATH_TEXT];  // ""
    char name[LIMIT_DOMAIN + 80];
    unsigned group; // bits of the mailbox's mode
    struct file *file;
    uint64_t offset;
    struct str piece;
    struct outcome outcome;
};

// ---- What went wrong ----

__attribute__((format(printf, 5, 6))) static bool fail(struct maildir *m, enum outcome_class class,
                                                       enum outcome_phase phase, const char *status,
                                                       const char *format, ...)
{
    va_list args;
    struct outcome *o = &m->outcome;
    va_start(args, format);
    vsnprintf(o->text, sizeof(o->text), format, args);
    va_end(args);
    o->class = class;
    o->phase = phase;
    for (int i = 0; i < 3; i++)
        o->enhanced[i] = (uint8_t)(status[i] - '0');
    if (class == OUTCOME_REFUSED)
        o->code = 550;
    m->failed = true;
    return false;
}

// The trouble of all mailboxes there, or of this one.
static bool fail_disk(struct maildir *m, const struct err *err)
{
    bool all = err->code == ENOSPC || err->code == EROFS || err->code == EIO;
    return fail(m, OUTCOME_BUSY, all ? PHASE_CONNECT : PHASE_RCPT,
                err->code == EDQUOT   ? "422"
                : err->code == ENOSPC ? "431"
                                      : "420",
                "%s", err->text);
}

// ---- The mailbox ----

static void path_in(const struct maildir *m, const char *dir, const char *name, char *out)
{
    snprintf(out, PATH_TEXT + sizeof(m->name) + 8, "%s/%s%s%s", m->box, dir,
             name[0] != '\0' ? "/" : "", name);
}

// Nobody's mailbox is there: then it is more likely the file system that is missing.
static bool is_empty(const char *base)
{
    struct err err;
    char **names = dir_list(base, &err);
    bool empty = names != NULL && names[0] == NULL;
    dir_list_free(&names);
    return empty;
}

static bool refuse_missing(struct maildir *m)
{
    struct err err;
    if (!path_may(m->base, PATH_SEARCH, &err))
        return fail(m, OUTCOME_BUSY, PHASE_CONNECT, "430", "%s", err.text);
    if (strcmp(m->base, m->box) == 0)
        return fail(m, OUTCOME_BUSY, PHASE_CONNECT, "430", "there is no maildir %s", m->box);
    if (is_empty(m->base))
        return fail(m, OUTCOME_BUSY, PHASE_CONNECT, "430",
                    "%s holds no mailbox at all; is its file system mounted?", m->base);
    return fail(m, OUTCOME_REFUSED, PHASE_RCPT, "511", "no such mailbox here");
}

static bool find_box(struct maildir *m)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    struct path_facts facts;
    struct err err;
    char path[PATH_TEXT + sizeof(m->name) + 8];
    if (!host_unprivileged(&err))
        return fail(m, OUTCOME_BUSY, PHASE_CONNECT, "430", "%s: %s", m->box, err.text);
    bool there = path_stat_follow(m->box, &facts, &err);
    if (!there && err.code == ENOENT && m->create) {
        if (!dir_make(m->box, 0700, &err))
            return err.code == ENOENT ? refuse_missing(m) : fail_disk(m, &err);
        there = path_stat_follow(m->box, &facts, &err);
    }
    if (!there)
        return err.code == ENOENT || err.code == ENOTDIR ? refuse_missing(m) : fail_disk(m, &err);
    m->group = facts.mode & GROUP_BITS;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        path_in(m, parts[i], "", path);
        if (!dir_make(path, 0700 | m->group, &err))
            return fail_disk(m, &err);
    }
    return true;
}

static bool open_file(struct maildir *m)
{
    struct err err;
    char path[PATH_TEXT + sizeof(m->name) + 8];
    if (!find_box(m))
        return false;
    path_in(m, "tmp", m->name, path);
    m->file = file_open(path, FILE_CREATE_NEW, &err);
    // Of an attempt that did not come to its end.
    if (m->file == NULL && err.code == EEXIST && path_remove(path, &err))
        m->file = file_open(path, FILE_CREATE_NEW, &err);
    return m->file != NULL || fail_disk(m, &err);
}

// ---- The steps of a worker ----

static bool put_in_place(struct maildir *m)
{
    struct err err;
    char from[PATH_TEXT + sizeof(m->name) + 8], to[sizeof(from)], dir[sizeof(from)];
    path_in(m, "tmp", m->name, from);
    path_in(m, "new", m->name, to);
    path_in(m, "new", "", dir);
    // Who shares the mailbox by its group reads its mail.
    if (m->group != 0 && !file_set_mode(m->file, 0600 | (m->group & GROUP_READ_WRITE), &err))
        return fail_disk(m, &err);
    if (!file_sync(m->file, &err))
        return fail_disk(m, &err);
    file_close(&m->file);
    if (!path_rename(from, to, &err) || !dir_sync(dir, &err))
        return fail_disk(m, &err);
    m->outcome.phase = PHASE_FINAL;
    m->outcome.code = 250;
    snprintf(m->outcome.text, sizeof(m->outcome.text), "stored");
    return true;
}

static void clean_up(struct maildir *m)
{
    struct err err;
    char path[PATH_TEXT + sizeof(m->name) + 8];
    if (m->file == NULL)
        return;
    file_close(&m->file);
    path_in(m, "tmp", m->name, path);
    path_remove(path, &err); // else the next attempt does it
}

static void step(struct work *w)
{
    struct maildir *m = (struct maildir *)w;
    struct err err;
    if (m->failed || (m->file == NULL && !open_file(m)))
        return;
    struct file_piece piece = {m->piece.ptr, m->piece.len};
    if (piece.len > 0 && !file_write(m->file, m->offset, &piece, 1, &err))
        fail_disk(m, &err);
    m->offset += piece.len;
    if (m->ends && !m->failed)
        put_in_place(m);
    if (m->failed)
        clean_up(m);
}

static void destroy(struct maildir *m)
{
    file_close(&m->file);
    xfree(m);
}

static void on_step(struct work *w)
{
    struct maildir *m = (struct maildir *)w;
    m->working = false;
    if (m->abandoned)
        destroy(m);
    else if (m->failed || m->ends)
        m->sink.events->over(m->sink.ctx, &m->outcome);
    else
        m->sink.events->hungry(m->sink.ctx);
}

static void begin_step(struct maildir *m, struct str piece)
{
    m->working = true;
    m->piece = piece;
    m->work.home = m->loop;
    m->work.work = step;
    m->work.done = on_step;
    worker_submit(&m->work);
}

// ---- The sink ----

static struct maildir *maildir_of(struct sink *s)
{
    return container_of(s, struct maildir, sink);
}

static void maildir_write(struct sink *s, const char *bytes, size_t len)
{
    begin_step(maildir_of(s), str_make(bytes, len));
}

static void maildir_end(struct sink *s)
{
    maildir_of(s)->ends = true;
    begin_step(maildir_of(s), STR(""));
}

static void maildir_free(struct sink *s)
{
    struct maildir *m = maildir_of(s);
    m->abandoned = true;
    if (!m->working || worker_cancel(&m->work))
        destroy(m);
}

static const struct sink_ops ops = {maildir_write, maildir_end, maildir_free};

static bool fill(const char *pattern, const struct mailbox *box, char *out)
{
    struct buf text;
    buf_init(&text, PATH_TEXT - 1);
    bool good = mailbox_fill(pattern, box, &text) && !text.full;
    if (good)
        memcpy(out, buf_cstr(&text), text.len + 1);
    buf_free(&text);
    return good;
}

// The directory that stands before the first word of the pattern; without words all of it.
static void base_of(const char *pattern, char *out)
{
    size_t len = strcspn(pattern, "%");
    if (pattern[len] != '\0')
        while (len > 1 && pattern[--len] != '/')
            ;
    snprintf(out, PATH_TEXT, "%.*s", (int)(len > 0 ? len : 1), pattern);
}

struct sink *maildir_open(const struct sink_mail *mail, const struct sink_events *events, void *ctx)
{
    struct maildir *m = xcalloc(1, sizeof(*m));
    struct str rcpt = mail->rcpt->address;
    int64_t ms = mail->envelope->accepted_ms;
    m->sink = (struct sink){&ops, events, ctx};
    m->loop = mail->loop;
    m->create = mail->gateway->create;
    base_of(mail->gateway->path, m->base);
    snprintf(m->name, sizeof(m->name), "%lld.M%03dQ%llxR%08x.%s", (long long)(ms / 1000),
             (int)(ms % 1000), (unsigned long long)mail->id, crc32c(0, rcpt.ptr, rcpt.len),
             mail->conf->hostname);
    if (!fill(mail->gateway->path, mail->box, m->box))
        fail(m, OUTCOME_REFUSED, PHASE_RCPT, "511", "no mailbox here can have this name");
    snprintf(m->outcome.where, sizeof(m->outcome.where), "%.95s",
             m->box[0] != '\0' ? m->box : m->base);
    buf_printf(mail->record, "-> %s/new/%s\n", m->box, m->name);
    begin_step(m, STR(""));
    return &m->sink;
}

bool maildir_look(const struct conf_gateway *g, struct err *err)
{
    char base[PATH_TEXT];
    uint64_t bytes, inodes;
    base_of(g->path, base);
    bool written = g->create || strchr(g->path, '%') == NULL;
    if (!host_unprivileged(err) || !path_may(base, written ? PATH_WRITE : PATH_SEARCH, err) ||
        !disk_free(base, &bytes, &inodes, err))
        return false;
    if (bytes > 0)
        return true;
    err_set(err, "the disk of %s is full", base);
    err->code = ENOSPC;
    return false;
}
