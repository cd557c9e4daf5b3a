// SPDX-License-Identifier: ISC
// What the commands share: the configuration in force, flags, an answer as JSON.
#include "base/buf.h"
#include "conf/read.h"
#include "main/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void main_say_report(const struct conf_report *report)
{
    struct buf text;
    buf_init(&text, MAIN_JSON_BYTES);
    conf_report_print(report, &text);
    fputs(buf_cstr(&text), stderr);
    buf_free(&text);
}

struct conf *main_read_conf(const struct main_options *options)
{
    if (options->config == NULL)
        return conf_builtin();
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *conf = conf_read_file(options->config, &report);
    main_say_report(&report);
    conf_report_free(&report);
    return conf;
}

struct conf *main_find_conf(const struct main_options *options)
{
    if (options->config == NULL)
        return conf_builtin();
    struct conf_report report = {0};
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_file(options->config, &report);
    if (conf == NULL && access(options->config, R_OK) != 0 && errno == EACCES) {
        conf = conf_builtin();
    } else if (conf == NULL) {
        main_say_report(&report);
    }
    conf_report_free(&report);
    return conf;
}

struct conf *main_places(const struct main_options *options, bool *sound)
{
    struct conf_report report = {0};
    struct conf *conf = NULL;
    conf_report_init(&report);
    report.text_only = true;
    report.places_only = true;
    if (options->config != NULL && (access(options->config, R_OK) == 0 || errno != EACCES))
        conf = conf_read_file(options->config, &report);
    if (sound != NULL)
        *sound = report.errors == 0;
    conf_report_free(&report);
    return conf != NULL ? conf : conf_builtin();
}

bool main_flag(int *argc, char **argv, const char *name)
{
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], name) != 0)
            continue;
        for (--*argc; i < *argc; i++)
            argv[i] = argv[i + 1];
        return true;
    }
    return false;
}

const char *main_option(int *argc, char **argv, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < *argc; i++) {
        bool joined = strncmp(argv[i], name, len) == 0 && argv[i][len] == '=';
        if (!joined && (strcmp(argv[i], name) != 0 || i + 1 >= *argc))
            continue;
        const char *value = joined ? argv[i] + len + 1 : argv[i + 1];
        int count = joined ? 1 : 2;
        for (*argc -= count; i < *argc; i++)
            argv[i] = argv[i + count];
        return value;
    }
    return NULL;
}

struct json main_json(struct buf *out)
{
    buf_init(out, MAIN_JSON_BYTES);
    return json_answer(out);
}

void main_json_print(struct json *j)
{
    json_close(j);
    buf_putc(j->out, '\n');
    fwrite(j->out->data, 1, j->out->len, stdout);
    buf_free(j->out);
}
