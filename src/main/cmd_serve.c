// SPDX-License-Identifier: ISC
// serve: the daemon in the foreground.
#include "accept/accept.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/read.h"
#include "control/control.h"
#include "main/command.h"
#include "main/daemon.h"
#include "main/kept.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/host.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct server {
    const struct main_options *options;
    struct loop *loop;
    struct conf *conf;
    struct daemon *daemon;
    struct control *control;
    struct link reloads; // the first is under way, the others wait for it
    bool stopping;
};

static void stop_now(struct server *s);

// ---- Reload: read on a worker, then whole or not at all; one at a time ----

struct reload_work {
    struct work work;
    struct link link;
    struct server *server;
    struct conf *conf;
    struct buf text;   // what to say
    struct buf source; // the configuration's text; empty: not known
    void (*done)(void *ctx, bool ok, const char *text);
    void *ctx;
};

static void forget(struct buf *source)
{
    if (source->data != NULL)
        explicit_bzero(source->data, source->len);
    buf_free(source);
}

static void reload_free(struct reload_work *w)
{
    list_remove(&w->link);
    buf_free(&w->text);
    forget(&w->source);
    conf_unref(&w->conf);
    xfree(w);
}

static void reload_end(struct reload_work *w, bool ok)
{
    struct server *s = w->server;
    w->done(w->ctx, ok, buf_cstr(&w->text));
    reload_free(w);
    struct reload_work *next = list_first(&s->reloads, struct reload_work, link);
    if (s->stopping)
        stop_now(s);
    else if (next != NULL)
        worker_submit(&next->work);
}

// ---- The text in force, for `waypost config rollback` ----

// Empty when there is none, or it is being written at this moment.
static void read_source(const char *path, struct buf *out)
{
    struct err err;
    size_t len;
    char *text = path != NULL ? file_slurp(path, LIMIT_CONFIG_FILE, &len, &err) : NULL;
    buf_clear(out);
    if (text == NULL)
        return;
    buf_append(out, text, len);
    explicit_bzero(text, len);
    xfree(text);
}

static void keep_source(const struct conf *conf, const struct buf *source)
{
    struct err err;
    if (source->len > 0 && !kept_put(conf->spool_dir, buf_str(source), &err))
        log_warn("config-not-kept", 0, "%s: `waypost config rollback` will not know this one",
                 err.text);
}

static void keep_now(struct work *work)
{
    struct reload_work *w = (struct reload_work *)work;
    keep_source(w->conf, &w->source);
}

static void on_kept(struct work *work)
{
    reload_end((struct reload_work *)work, true);
}

// ---- The log ----

static void set_up_log(const struct conf *conf)
{
    log_setup((enum log_level)conf->log_level,
              conf->log_format == CONF_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

// Back to what it was, when the configuration that named another file was not taken over. The name
// may have no file any more: then standard error has to do.
static void keep_log(const struct conf *conf)
{
    struct err err;
    if (!log_to_file(conf->log_file, &err)) {
        log_to_file(NULL, &err);
        log_error("log", 0, "%s; standard error has it", err.text);
    }
}

static void on_taken_over(void *ctx, bool ok, const struct err *err)
{
    struct reload_work *w = ctx;
    struct server *s = w->server;
    if (ok) {
        buf_printf(&w->text, "%s is in force\n", w->conf->file);
        conf_ref(w->conf);
        conf_unref(&s->conf);
        s->conf = w->conf;
        set_up_log(s->conf);
        control_set_conf(s->control, s->conf);
        w->work = (struct work){.home = s->loop, .work = keep_now, .done = on_kept};
        worker_submit(&w->work);
        return;
    }
    keep_log(s->conf);
    buf_printf(&w->text, "%s\nthe running configuration stays in force\n", err->text);
    reload_end(w, false);
}

static void on_read(struct work *work)
{
    struct reload_work *w = (struct reload_work *)work;
    if (w->conf == NULL) {
        buf_puts(&w->text, "the running configuration stays in force\n");
        reload_end(w, false);
        return;
    }
    // First, as it may fail; it is also how the file is opened anew.
    struct err err = {0};
    if (log_to_file(w->conf->log_file, &err))
        daemon_reload(w->server->daemon, w->conf, on_taken_over, w);
    else
        on_taken_over(w, false, &err);
}

static void read_again(struct work *work)
{
    struct reload_work *w = (struct reload_work *)work;
    struct conf_report report = {0};
    conf_report_init(&report);
    const struct main_options *options = w->server->options;
    read_source(options->config, &w->source);
    w->conf = options->config != NULL ? conf_read_file(options->config, &report) : conf_builtin();
    conf_report_print(&report, &w->text);
    conf_report_free(&report);
}

static void reload(void *ctx, void (*done)(void *ctx, bool ok, const char *text), void *done_ctx)
{
    struct reload_work *w = xcalloc(1, sizeof(*w));
    w->server = ctx;
    w->done = done;
    w->ctx = done_ctx;
    buf_init(&w->text, 1 << 20);
    buf_init(&w->source, LIMIT_CONFIG_FILE);
    w->work = (struct work){.home = w->server->loop, .work = read_again, .done = on_read};
    bool first = list_empty(&w->server->reloads);
    list_append(&w->server->reloads, &w->link);
    if (first)
        worker_submit(&w->work);
}

// What waits will read the file as it is then: a second one behind it would find nothing new.
static bool reload_waits(const struct server *s)
{
    return s->reloads.next != s->reloads.prev;
}

static void say_reload(void *ctx, bool ok, const char *text)
{
    if (ok)
        return;
    // One event for each line: a line end within one would be shown escaped.
    struct str rest = str_of(text), line;
    while (str_split(&rest, '\n', &line))
        log_error("reload-failed", 0, "%.*s", STR_FMT(line));
}

// ---- Stop ----

static void on_stopped(void *ctx)
{
    struct server *s = ctx;
    loop_stop(s->loop);
}

static void stop_now(struct server *s)
{
    struct reload_work *w;
    list_each (&s->reloads, w, struct reload_work, link) {
        w->done(w->ctx, false, "the daemon is ending\n");
        reload_free(w);
    }
    control_free(&s->control);
    daemon_stop(s->daemon, on_stopped, s);
}

static void stop(void *ctx)
{
    struct server *s = ctx;
    if (s->stopping)
        return;
    s->stopping = true;
    host_notify("STOPPING=1");
    log_info("stopping", 0, "ending in order; what waits stays in %s", s->conf->spool_dir);
    if (list_empty(&s->reloads)) // else when the one under way has ended
        stop_now(s);
}

static void on_signal(void *ctx, int signo)
{
    struct server *s = ctx;
    if (signo != SIGHUP)
        stop(s);
    else if (!s->stopping && !reload_waits(s))
        reload(s, say_reload, s);
}

// ---- What came in ----

static void look_at_listener(void *ctx, const char *name, struct control_listener *out)
{
    struct server *s = ctx;
    struct accept_counts c;
    daemon_listener(s->daemon, name, &c);
    *out = (struct control_listener){.open = c.open,
                                     .connections = c.connections,
                                     .turned_away = c.turned_away,
                                     .messages = c.messages,
                                     .refused = c.refused};
}

// ---- Start ----

static void ready(struct server *s)
{
    char gateways[200];
    size_t n = 0, disabled = 0;
    for (size_t i = 0; i < s->conf->gateway_count; i++) {
        bool gateway = conf_gateway_is_general(&s->conf->gateways[i]);
        n += gateway && s->conf->gateways[i].enabled;
        disabled += gateway && !s->conf->gateways[i].enabled;
    }
    if (n == 0 && disabled > 0)
        snprintf(gateways, sizeof(gateways),
                 "none, all gateways are disabled; mail waits unless a route names direct");
    else if (n == 0)
        snprintf(gateways, sizeof(gateways), "direct to the recipients' MX");
    else
        snprintf(gateways, sizeof(gateways), "%zu gateway%s", n, n == 1 ? "" : "s");
    log_info("ready", 0, "waypost " WAYPOST_VERSION ", configuration %s, spool %s, way out: %s",
             s->conf->file, s->conf->spool_dir, gateways);
    host_notify("READY=1");
}

static bool start(struct server *s, struct err *err)
{
    s->daemon = daemon_start(s->conf, s->loop, err);
    if (s->daemon == NULL)
        return false;
    // As the user the daemon has become: root would write wherever that user says.
    if (!log_to_file(s->conf->log_file, err))
        return false;
    struct control_parts parts = {.loop = s->loop,
                                  .queue = daemon_queue(s->daemon),
                                  .store = daemon_store(s->daemon),
                                  .archive = daemon_archive(s->daemon),
                                  .reload = reload,
                                  .stop = stop,
                                  .listener = look_at_listener,
                                  .ctx = s,
                                  .started_ms = clock_wall_ms()};
    s->control = control_new(s->conf, &parts, err);
    if (s->control == NULL)
        return false;
    bool programs = false;
    for (size_t i = 0; i < s->conf->gateway_count; i++)
        programs = programs || s->conf->gateways[i].kind == GATEWAY_PIPE;
    if (!host_harden(programs, err))
        log_warn("hardening", 0, "%s", err->text);
    return true;
}

int cmd_serve(const struct main_options *options, int argc, char **argv)
{
    struct server s = {.options = options};
    struct err err = {0};
    list_init(&s.reloads);
    if (argc > 0) {
        fprintf(stderr, "usage: waypost serve [--config FILE]\n");
        return EX_USAGE;
    }
    uint64_t seed[2];
    random_bytes(seed, sizeof(seed));
    map_seed(seed[0], seed[1]);
    s.conf = main_read_conf(options);
    if (s.conf == NULL)
        return EX_CONFIG;
    struct buf source;
    buf_init(&source, LIMIT_CONFIG_FILE);
    read_source(options->config, &source); // before root is dropped
    set_up_log(s.conf);
    s.loop = loop_new("conductor");
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        loop_on_signal(s.loop, signals[i], on_signal, &s);
    bool ok = start(&s, &err);
    if (ok)
        keep_source(s.conf, &source);
    forget(&source);
    if (ok) {
        ready(&s);
    } else {
        log_error("cannot-start", 0, "%s", err.text);
        if (s.daemon != NULL)
            stop(&s);
    }
    if (s.daemon != NULL)
        loop_run(s.loop);
    worker_stop_all();
    daemon_free(&s.daemon);
    conf_unref(&s.conf);
    loop_free(&s.loop);
    return ok ? 0 : EX_UNAVAILABLE;
}
