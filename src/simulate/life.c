// SPDX-License-Identifier: ISC
// A daemon's life in the simulated world.
#include "simulate/life.h"
#include "base/buf.h"
#include "conf/read.h"
#include "sim/world.h"
#include "spool/store.h"
#include "sys/worker.h"

#include <stdio.h>

enum { REPORT_MAX = 1 << 16, END_MS = 2 * 3600 * 1000 };

uint64_t life_segment_bytes;

struct store *__real_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err);
struct store *__wrap_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err);
struct store *__wrap_store_open(const struct store_settings *settings,
                                void (*adopt)(void *ctx, struct store_message *m), void *ctx,
                                struct err *err)
{
    struct store_settings mine = *settings;
    mine.no_index = true;
    if (life_segment_bytes != 0)
        mine.segment_bytes = life_segment_bytes;
    return __real_store_open(&mine, adopt, ctx, err);
}

struct conf *life_conf(const char *name, struct str text, bool text_only)
{
    struct conf_report report = {0};
    world_spare(true);
    conf_report_init(&report);
    report.text_only = text_only;
    struct conf *conf = conf_read_text(name, text, &report);
    if (conf == NULL) {
        struct buf out;
        buf_init(&out, REPORT_MAX);
        conf_report_print(&report, &out);
        fputs(buf_cstr(&out), stderr);
        buf_free(&out);
    }
    conf_report_free(&report);
    world_spare(false);
    return conf;
}

bool life_begin(struct conf *conf, struct daemon **daemon_out, struct loop **conductor_out,
                struct err *err)
{
    *conductor_out = loop_new("conductor");
    *daemon_out = daemon_start(conf, *conductor_out, err);
    conf_unref(&conf);
    if (*daemon_out != NULL)
        loop_start(*conductor_out);
    else
        loop_free(conductor_out);
    return *daemon_out != NULL;
}

struct ending {
    struct daemon **daemon;
    struct loop **conductor;
    bool over;
};

static void on_stopped(void *ctx)
{
    struct ending *e = ctx;
    daemon_free(e->daemon);
    e->over = true;
}

static void stop(void *ctx)
{
    struct ending *e = ctx;
    daemon_stop(*e->daemon, on_stopped, e);
}

static bool is_over(void *ctx)
{
    return ((struct ending *)ctx)->over;
}

static void end_loops(void *ctx)
{
    struct ending *e = ctx;
    loop_free(e->conductor);
    worker_stop_all();
}

bool life_end(struct daemon **daemon, struct loop **conductor)
{
    struct ending e = {daemon, conductor, false};
    return world_boot(stop, &e) != WORLD_CRASHED &&
           world_run_until(world_now_ms() + END_MS, is_over, &e) != WORLD_CRASHED && e.over &&
           world_boot(end_loops, &e) != WORLD_CRASHED;
}
