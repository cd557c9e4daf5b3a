// SPDX-License-Identifier: ISC
// The form of a drop file, and its writer.
#include "accept/drop.h"

#include "base/timefmt.h"
#include "mail/address.h"
#include "mail/xtext.h"
#include "proto/smtp_dot.h"
#include "proto/smtp_params.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"

#include <stdio.h>

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
    char moment[TIME_TEXT];
    if (e->release_ms != 0) // a span would begin anew when the file is read
        buf_printf(out, " HOLDUNTIL=%s", time_rfc3339(e->release_ms, moment));
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
    e->release_ms = params.hold_until_ms;
    return true;
}

static bool parse_rcpt(struct str line, struct arena *arena, struct envelope *e, struct err *err)
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
    *envelope_add(e, arena) = (struct envelope_rcpt){
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
    *e_out = (struct envelope){0};
    if (!str_split(&file, '\n', &line) || !str_eq(line, str_of(magic)))
        return damaged(err, "not a drop file");
    if (!str_split(&file, '\n', &line) || !parse_mail(line, arena, e_out, &size, err))
        return file.len == 0 ? damaged(err, "cut off") : false;
    while (str_split(&file, '\n', &line) && line.len > 0) {
        if (!parse_rcpt(line, arena, e_out, err))
            return false;
    }
    if (e_out->count == 0 || e_out->count > LIMIT_RECIPIENTS)
        return damaged(err, "no recipients, or too many");
    if (file.len != size)
        return damaged(err, "the message is not as long as it should be");
    *content_out = file;
    return canonical(file, e_out->body == BODY_BINARYMIME, err);
}

// ---- The directories. ----

// Nobody else's: who owns a directory may take what others put there.
static bool is_own(const char *path, uint32_t owner, struct err *err)
{
    struct path_facts facts;
    if (!path_stat(path, &facts, err))
        return false;
    if (facts.is_dir && facts.uid == owner)
        return true;
    err_set(err, "%s %s; move it away", path,
            facts.is_dir ? "belongs to another user than the spool" : "is not a directory");
    err->code = EPERM;
    return false;
}

static bool make_own(const char *path, unsigned mode, uint32_t owner, struct err *err)
{
    return dir_make(path, mode, err) && is_own(path, owner, err) && dir_set_mode(path, mode, err);
}

bool drop_make_dirs(const char *spool_dir, struct err *err)
{
    char dir[4096], tmp[4096], bad[4096];
    struct path_facts spool;
    snprintf(dir, sizeof(dir), "%s/drop", spool_dir);
    snprintf(tmp, sizeof(tmp), "%s/drop/tmp", spool_dir);
    snprintf(bad, sizeof(bad), "%s/drop/bad", spool_dir);
    if (!path_stat(spool_dir, &spool, err))
        return false;
    // Who may write there may put something else in the place of what is ours.
    unsigned mode = spool.mode & ~0022u;
    bool fresh = !path_exists(dir);
    // The way there is opened once; who closes it later does not want mail from other users.
    if (fresh)
        mode |= 0111;
    if (mode != spool.mode && !dir_set_mode(spool_dir, mode, err))
        return false;
    if (fresh && !dir_make(dir, 0700, err))
        return false;
    // Others may come in only when what they could put in our way is there.
    return is_own(dir, spool.uid, err) && make_own(tmp, DROP_DIR_MODE, spool.uid, err) &&
           make_own(bad, 0700, spool.uid, err) && dir_set_mode(dir, DROP_DIR_MODE, err);
}

// ---- The writer. ----

// Before the daemon's first start they are missing; whoever owns the spool may make them.
static bool own_dirs(const char *spool_dir, struct err *err)
{
    struct path_facts facts;
    return path_stat(spool_dir, &facts, err) &&
           (facts.uid != host_uid() || drop_make_dirs(spool_dir, err));
}

// Under a name that no reader looks at first; what goes wrong leaves nothing.
static bool put_file(const char *dir, const char *from, const char *to, struct str head,
                     struct str content, struct err *err)
{
    struct err ignored;
    struct file_piece pieces[] = {{head.ptr, head.len}, {content.ptr, content.len}};
    struct file *file = file_open(from, FILE_CREATE_NEW, err);
    if (file == NULL)
        return false;
    bool ok = file_write(file, 0, pieces, content.len > 0 ? 2 : 1, err) &&
              file_set_mode(file, DROP_FILE_MODE, err) && file_sync(file, err) &&
              path_rename(from, to, err);
    // Only the daemon's own user may open the directory.
    if (ok && !dir_sync(dir, &ignored) && !file_sync_names(file, err)) {
        path_remove(to, &ignored);
        ok = false;
    } else if (!ok) {
        path_remove(from, &ignored);
    }
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
    ok = ok && own_dirs(spool_dir, err) && put_file(dir, from, to, buf_str(&head), content, err);
    if (!ok)
        err_prefix(err, "cannot leave the message in %s", dir);
    arena_free(&arena);
    buf_free(&head);
    return ok;
}
