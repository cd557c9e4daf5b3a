// SPDX-License-Identifier: ISC
// The one program: `waypost COMMAND`, and sendmail, mailq, newaliases by name.
#include "main/command.h"
#include "base/err.h"
#include "control/control.h"
#include "sys/file.h"
#include "sys/host.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const char default_config[] = "/etc/waypost/waypost.yaml";

// How many of argv the words take, 0 when they do not match.
static int words_used(const char *words, int argc, char **argv)
{
    struct str rest = str_of(words), word;
    int used = 0;
    while (str_split(&rest, ' ', &word)) {
        if (used >= argc || !str_eq(word, str_of(argv[used])))
            return 0;
        used++;
    }
    return used;
}

static int ask_daemon(const struct main_options *options, int argc, char **argv)
{
    bool sound;
    if (options->config_named && !path_exists(options->config)) {
        fprintf(stderr, "waypost: there is no file %s\n", options->config);
        return EX_CONFIG;
    }
    struct conf *conf = main_places(options, &sound);
    if (!sound && strcmp(argv[0], "reload") != 0)
        fprintf(stderr,
                "waypost: %s has mistakes, see `waypost config check`; a running daemon goes on "
                "with what it has\n",
                options->config);
    char path[256];
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/control.sock", conf->run_dir);
    conf_unref(&conf);
    int status = control_call(path, argc, (const char *const *)argv, &err);
    if (status >= 0)
        return status;
    if (main_flag(&argc, argv, "--check")) {
        printf("WAYPOST CRITICAL: no daemon answers at %s: %s\n", path, err.text);
        return 2;
    }
    fprintf(stderr,
            "waypost: no daemon answers at %s: %s\n  start it with `waypost serve`, or name its "
            "configuration "
            "with --config\n",
            path, err.text);
    return EX_UNAVAILABLE;
}

// Takes --config FILE out, wherever it stands before the command's own arguments.
static int take_config(int argc, char **argv, struct main_options *options)
{
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        if ((strcmp(argv[i], "--config") == 0 || strcmp(argv[i], "-c") == 0) && i + 1 < argc) {
            options->config = argv[++i];
            options->config_named = true;
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            options->config = argv[i] + 9;
            options->config_named = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    return kept;
}

int main(int argc, char **argv)
{
    struct main_options options = {.config = host_env("WAYPOST_CONFIG")};
    options.config_named = options.config != NULL;
    const char *slash = strrchr(argv[0], '/'), *name = slash != NULL ? slash + 1 : argv[0];
    if (options.config == NULL && path_exists(default_config))
        options.config = default_config;
    for (const struct main_command *c = main_commands; c->words != NULL; c++)
        if (strcmp(c->words, name) == 0 && strcmp(name, "waypost") != 0)
            return c->run(&options, argc - 1, argv + 1);
    argc = take_config(argc - 1, argv + 1, &options);
    argv++;
    if (argc > 1 && strcmp(argv[argc - 1], "--help") == 0)
        return cmd_help(&options, argc - 1, argv);
    for (const struct main_command *c = main_commands; c->words != NULL; c++) {
        int used = words_used(c->words, argc, argv);
        if (used > 0)
            return c->run(&options, argc - used, argv + used);
    }
    if (argc == 0)
        return cmd_help(&options, 0, argv);
    if (!main_command_known(argc, argv))
        return main_command_unknown(argc, argv);
    return ask_daemon(&options, argc, argv);
}
