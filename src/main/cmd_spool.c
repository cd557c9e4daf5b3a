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

// The report's lines apart: facts, and each damage.
static void lines_json(struct json *j, const char *key, struct str report, bool damages)
{
    struct str line, mark = STR("damage: ");
    json_open_array(j, key);
    while (str_split(&report, '\n', &line))
        if (line.len > 0 && str_starts(line, mark) == damages)
            json_str(j, NULL, damages ? str_make(line.ptr + mark.len, line.len - mark.len) : line);
    json_close_array(j);
}

static int check_json(struct conf *conf, const char *dir, struct buf *report, bool read,
                      uint64_t damages, const struct err *err)
{
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "directory", dir);
    json_bool(&j, "ok", read && damages == 0);
    json_text(&j, "error", read ? NULL : err->text);
    json_int(&j, "damages", (int64_t)damages);
    lines_json(&j, "damaged", buf_str(report), true);
    lines_json(&j, "facts", buf_str(report), false);
    main_json_print(&j);
    buf_free(report);
    conf_unref(&conf);
    return !read ? EX_UNAVAILABLE : damages > 0 ? EX_DATAERR : 0;
}

int cmd_spool_check(const struct main_options *options, int argc, char **argv)
{
    struct conf *conf;
    struct buf report;
    struct err err = {0};
    uint64_t damages = 0;
    int status;
    bool json = main_flag(&argc, argv, "--json");
    const char *dir = directory(options, argc, argv, &conf, &status);
    if (dir == NULL)
        return status;
    buf_init(&report, REPORT_BYTES);
    bool ok = spool_check(dir, &report, &damages, &err);
    if (json)
        return check_json(conf, dir, &report, ok, damages, &err);
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
