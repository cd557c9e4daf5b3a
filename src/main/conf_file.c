// SPDX-License-Identifier: ISC
// The file is replaced by a new one beside it, of the same owner and mode: whoever reads it
// meanwhile sees the one or the other. This runs in the program itself, as the one who asks.
#include "main/conf_file.h"
#include "base/mem.h"
#include "conf/diff.h"
#include "conf/read.h"
#include "control/control.h"
#include "main/command.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { HOLD_MS = 30 * 1000, HOLD_STEP_MS = 50 };

static const char default_config[] = "/etc/waypost/waypost.yaml";

static const char *user_name(uint32_t uid, char text[64])
{
    const struct passwd *p = getpwuid(uid);
    if (p != NULL)
        snprintf(text, 64, "%s", p->pw_name);
    else
        snprintf(text, 64, "uid %u", uid);
    return text;
}

bool conf_file_write(const char *path, struct str text, unsigned mode, int64_t uid, int64_t gid,
                     struct file **held, struct err *err)
{
    struct buf fresh;
    struct err ignored;
    struct file_piece piece = {text.ptr, text.len};
    bool hold = held != NULL && *held != NULL;
    buf_init(&fresh, 4096);
    buf_printf(&fresh, "%s.new-%016llx", path, (unsigned long long)random_u64());
    struct file *file = file_open(buf_cstr(&fresh), FILE_CREATE_NEW, err);
    bool ok = file != NULL;
    // Owner first: giving away a file may take rights from it.
    if (ok && uid >= 0 && gid >= 0)
        ok = file_set_owner(file, (uint32_t)uid, (uint32_t)gid, err);
    ok = ok && file_set_mode(file, mode, err) && file_write(file, 0, &piece, text.len > 0, err) &&
         file_sync(file, err) && (!hold || file_lock(file, err)) &&
         path_rename(fresh.data, path, err);
    if (!ok && file != NULL)
        path_remove(fresh.data, &ignored);
    if (ok && hold) {
        file_close(held);
        *held = file;
    } else {
        file_close(&file);
    }
    buf_free(&fresh);
    return ok;
}

// ---- Opening ----

static bool refuse_writer(const char *path, const char *what)
{
    struct path_facts facts;
    struct err err;
    char owner[64] = "root", asker[64];
    if (path_stat(path, &facts, &err))
        user_name(facts.uid, owner);
    fprintf(stderr, "waypost: %s%s belongs to %s, and %s may not change it; run this as %s\n", what,
            path, owner, user_name(host_uid(), asker), owner);
    return false;
}

static bool may_write(const struct conf_file *f)
{
    struct buf dir;
    buf_init(&dir, 4096);
    buf_puts(&dir, f->path);
    char *slash = strrchr(buf_cstr(&dir), '/');
    if (slash != NULL)
        *slash = '\0';
    const char *in = slash != NULL ? dir.data : ".";
    bool ok = !f->exists || access(f->path, W_OK) == 0 || refuse_writer(f->path, "");
    ok = ok && (access(in, W_OK | X_OK) == 0 || refuse_writer(in, "the directory "));
    buf_free(&dir);
    return ok;
}

// Whoever may write the file may hold it, and nobody else. The one before us left another file
// under the name: then that one is taken.
static bool try_to_hold(struct conf_file *f, struct err *err)
{
    struct path_facts facts;
    f->held = file_open(f->path, FILE_WRITE, err);
    if (f->held != NULL && file_lock(f->held, err) && file_stat(f->held, &facts, err)) {
        if (facts.links > 0)
            return true;
        err_set(err, "%s is another file now", f->path);
        err->code = EWOULDBLOCK;
    }
    file_close(&f->held);
    return false;
}

static bool hold(struct conf_file *f)
{
    struct err err = {0};
    for (int waited = 0; !try_to_hold(f, &err); waited += HOLD_STEP_MS) {
        if (err.code != EWOULDBLOCK)
            return true; // not every file system knows locks
        if (waited >= HOLD_MS) {
            fprintf(stderr, "waypost: %s, for %d s now; try again later\n", err.text,
                    HOLD_MS / 1000);
            return false;
        }
        poll(NULL, 0, HOLD_STEP_MS);
    }
    return true;
}

static bool slurp(struct conf_file *f)
{
    struct err err;
    size_t len;
    char *text = file_slurp(f->path, LIMIT_CONFIG_FILE, &len, &err);
    if (text == NULL) {
        fprintf(stderr, "waypost: %s\n", err.text);
        return false;
    }
    buf_append(&f->text, text, len);
    explicit_bzero(text, len);
    xfree(text);
    return true;
}

bool conf_file_open(struct conf_file *f, const struct main_options *options, int *argc, char **argv,
                    int *status_out)
{
    *f = (struct conf_file){.options = options};
    f->json = main_flag(argc, argv, "--json");
    f->dry_run = main_flag(argc, argv, "--dry-run");
    const char *named = options->config != NULL ? options->config : default_config;
    char real[PATH_MAX];
    f->exists = realpath(named, real) != NULL;
    f->path = xstrdup(f->exists ? real : named);
    buf_init(&f->text, LIMIT_CONFIG_FILE);
    buf_cstr(&f->text);
    if (f->exists && access(f->path, R_OK) != 0) {
        char asker[64];
        fprintf(stderr, "waypost: %s may not be read by %s; run this as root\n", f->path,
                user_name(host_uid(), asker));
        *status_out = EX_NOPERM;
    } else if (!f->dry_run && !may_write(f)) {
        *status_out = EX_NOPERM;
    } else if (f->exists && !f->dry_run && !hold(f)) {
        *status_out = EX_TEMPFAIL;
    } else if (f->exists && !slurp(f)) {
        *status_out = EX_NOINPUT;
    } else {
        return true;
    }
    conf_file_close(f);
    return false;
}

void conf_file_close(struct conf_file *f)
{
    if (f->text.data != NULL)
        explicit_bzero(f->text.data, f->text.len);
    buf_free(&f->text);
    file_close(&f->held);
    xfree(f->path);
    f->path = NULL;
}

// ---- Changing ----

// NULL when it has mistakes, which are told.
static struct conf *check(const struct conf_file *f, struct str text)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *conf = conf_read_text(f->path, text, &report);
    if (conf == NULL) {
        main_say_report(&report);
        if (f->source != NULL)
            fprintf(stderr, "these lines are those of %s; ", f->source);
        fprintf(stderr, "nothing was changed\n");
    }
    conf_report_free(&report);
    return conf;
}

static void diff(const struct conf_file *f, const struct conf *conf, struct buf *out)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *before = conf_read_text(f->path, buf_str(&f->text), &report);
    if (before != NULL)
        conf_diff(before, conf, out);
    conf_unref(&before);
    conf_report_free(&report);
}

static void say_changes(const struct conf_file *f, struct str text, struct buf *changes)
{
    if (f->json)
        return;
    if (changes->len > 0)
        fputs(buf_cstr(changes), stdout);
    else if (str_eq(text, buf_str(&f->text)))
        printf("it is like that already\n");
    else
        printf("only the order or the layout of the file is another\n");
}

// Somebody wants it so, but should know: does all mail wait now?
static void say_what_is_left(const struct conf_file *f, const struct conf *conf)
{
    size_t ways = 0, left = 0, named = 0;
    for (size_t i = 0; i < conf->gateway_count; i++) {
        ways += conf_gateway_is_general(&conf->gateways[i]);
        left += conf_gateway_is_general(&conf->gateways[i]) && conf->gateways[i].enabled;
    }
    for (size_t i = 0; i < conf->route_count; i++)
        for (size_t k = 0; k < conf->routes[i].via_count; k++)
            named += conf->gateways[conf->routes[i].via[k].gateway].enabled;
    if (!f->json && ways > 0 && left == 0)
        printf("no gateway is enabled any more: mail waits until one is%s\n",
               named > 0 ? ", but for what a route sends another way" : "");
}

static bool put(struct conf_file *f, struct str text, struct err *err)
{
    struct path_facts facts;
    if (f->exists && path_stat(f->path, &facts, err))
        return conf_file_write(f->path, text, facts.mode & 07777, facts.uid, facts.gid, &f->held,
                               err);
    return conf_file_write(f->path, text, 0640, -1, -1, &f->held, err);
}

static void put_back(struct conf_file *f)
{
    struct err err;
    bool ok = f->exists ? put(f, buf_str(&f->text), &err) : path_remove(f->path, &err);
    if (ok)
        fprintf(stderr, "%s is as it was\n", f->path);
    else
        fprintf(stderr, "waypost: and it could not be put back: %s\n", err.text);
}

enum taken { TAKEN_OVER, TAKEN_REFUSED, TAKEN_NO_DAEMON };

static enum taken reload(const struct conf_file *f, const struct conf *conf, struct buf *answer)
{
    static const char *const order[] = {"reload"};
    struct err err;
    char path[256];
    snprintf(path, sizeof(path), "%s/control.sock", conf->run_dir);
    int status = control_ask(path, 1, order, answer, &err);
    return status < 0 ? TAKEN_NO_DAEMON : status == 0 ? TAKEN_OVER : TAKEN_REFUSED;
}

static void answer_json(const struct conf_file *f, struct buf *changes, const char *taken)
{
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "file", f->path);
    main_changes_json(&j, changes);
    json_text(&j, "result", taken);
    main_json_print(&j);
}

static int take_over(struct conf_file *f, const struct conf *conf, struct buf *changes)
{
    struct buf answer;
    buf_init(&answer, MAIN_JSON_BYTES);
    enum taken taken =
        f->options->config == NULL && !f->exists ? TAKEN_NO_DAEMON : reload(f, conf, &answer);
    if (taken == TAKEN_REFUSED)
        put_back(f);
    else if (f->json)
        answer_json(f, changes, taken == TAKEN_OVER ? "in force" : "written");
    else if (taken == TAKEN_OVER)
        printf("%s", buf_cstr(&answer));
    else
        printf("%s is written; %s\n", f->path,
               f->exists ? "no daemon runs, it holds from the next start"
                         : "a daemon that runs without it takes it at its next start");
    buf_free(&answer);
    return taken == TAKEN_REFUSED ? EX_CONFIG : 0;
}

static int change(struct conf_file *f, const struct conf *conf, struct str text,
                  struct buf *changes)
{
    struct err err;
    say_changes(f, text, changes);
    say_what_is_left(f, conf);
    if (f->dry_run) {
        if (f->json)
            answer_json(f, changes, "nothing was written");
        return 0;
    }
    if (put(f, text, &err))
        return take_over(f, conf, changes);
    fprintf(stderr, "waypost: %s; nothing was changed\n", err.text);
    return EX_CANTCREAT;
}

int conf_file_change(struct conf_file *f, struct str text)
{
    struct buf changes;
    struct conf *conf = check(f, text);
    struct err err;
    int status = EX_CONFIG;
    buf_init(&changes, MAIN_JSON_BYTES);
    if (conf != NULL) {
        diff(f, conf, &changes);
        status = change(f, conf, text, &changes);
    }
    if ((status != 0 || f->dry_run) && f->extra != NULL)
        path_remove(f->extra, &err);
    buf_free(&changes);
    conf_unref(&conf);
    return status;
}
