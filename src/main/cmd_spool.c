// SPDX-License-Identifier: ISC
// spool check, spool rebuild: looking after a spool while no daemon has it.
#include "main/command.h"
#include "spool/check.h"

#include <stdio.h>
#include <sysexits.h>

enum { REPORT_BYTES = 4 << 20 };

// The directory named, or that of the configuration; NULL after a usage error or a broken file.
static const char *directory(const struct main_options *options, int argc, char **argv,
                             struct conf **conf_out, int *status_out)
{
    *conf_out = NULL;
    *status_out = argc > 1 ? EX_USAGE : EX_CONFIG;
    if (argc > 1)
        fprintf(stderr, "usage: waypost spool check|rebuild [DIRECTORY]\n");
    if (argc != 0)
        return argc == 1 ? argv[0] : NULL;
    *conf_out = main_read_conf(options);
    return *conf_out != NULL ? (*conf_out)->spool_dir : NULL;
}

static int end(struct conf *conf, struct buf *report, bool ok, const struct err *err)
{
    fputs(buf_cstr(report), stdout);
    buf_free(report);
    if (!ok)
        fprintf(stderr, "waypost: %s\n", err->text);
    conf_unref(&conf);
    return ok ? 0 : EX_UNAVAILABLE;
}

int cmd_spool_check(const struct main_options *options, int argc, char **argv)
{
    struct conf *conf;
    struct buf report;
    struct err err = {0};
    uint64_t damages = 0;
    int status;
    const char *dir = directory(options, argc, argv, &conf, &status);
    if (dir == NULL)
        return status;
    buf_init(&report, REPORT_BYTES);
    bool ok = spool_check(dir, &report, &damages, &err);
    status = end(conf, &report, ok, &err);
    if (damages == 0 || status != 0)
        return status;
    fprintf(stderr, "waypost: %llu damage%s; `waypost spool rebuild` saves what is readable\n",
            (unsigned long long)damages, damages == 1 ? "" : "s");
    return EX_DATAERR;
}

int cmd_spool_rebuild(const struct main_options *options, int argc, char **argv)
{
    struct conf *conf;
    struct buf report;
    struct err err = {0};
    int status;
    const char *dir = directory(options, argc, argv, &conf, &status);
    if (dir == NULL)
        return status;
    buf_init(&report, REPORT_BYTES);
    bool ok = spool_rebuild(dir, &report, &err);
    return end(conf, &report, ok, &err);
}
