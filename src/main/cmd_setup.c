// SPDX-License-Identifier: ISC
// setup: what is still to do until this machine's mail goes through Waypost. Changes nothing.
#include "control/control.h"
#include "main/command.h"
#include "main/setup_clients.h"
#include "sys/file.h"
#include "sys/host.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

// What is said goes to the terminal, or with --json into this.
static struct json *into;

static bool step(bool done, const char *what, const char *next)
{
    if (into != NULL) {
        json_open(into, NULL);
        json_bool(into, "done", done);
        json_text(into, "what", what);
        json_text(into, "next", done ? NULL : next);
        json_close(into);
        return done;
    }
    printf("%s  %s\n", done ? "ok  " : "todo", what);
    if (!done)
        printf("      %s\n", next);
    return done;
}

// The configuration: is there one of one's own?
static bool step_file(const struct main_options *options)
{
    char what[PATH_MAX + 64];
    snprintf(what, sizeof(what), "configuration %s",
             options->config != NULL ? options->config : "(built in: everything goes direct)");
    return step(options->config != NULL, what,
                "write /etc/waypost/waypost.yaml with your gateways; `waypost config explain "
                "gateways` helps");
}

static bool step_daemon(const struct conf *conf)
{
    char path[256];
    struct err err = {0};
    static const char *const ask[] = {"status", "-q"};
    snprintf(path, sizeof(path), "%s/control.sock", conf->run_dir);
    int status = control_call(path, 2, ask, &err);
    return step(status == 0, "the daemon runs, and its spool is sound",
                status < 0 ? "start it: waypost serve" : "look: waypost status");
}

// Do both names lead to the same file?
static bool is_ours(const char *name)
{
    char theirs[PATH_MAX], ours[PATH_MAX];
    return realpath(name, theirs) != NULL && realpath("/proc/self/exe", ours) != NULL &&
           strcmp(theirs, ours) == 0;
}

static bool step_name(const char *name)
{
    char what[128], next[256];
    bool ours = is_ours(name);
    snprintf(what, sizeof(what), "%s is Waypost", name);
    if (path_exists(name))
        snprintf(next, sizeof(next),
                 "it belongs to another program; move that away, then: ln -s \"$(command -v "
                 "waypost)\" %s",
                 name);
    else
        snprintf(next, sizeof(next), "ln -s \"$(command -v waypost)\" %s", name);
    return step(ours, what, next);
}

static bool steps(const struct main_options *options)
{
    bool done = step_file(options);
    // Only root can be sure to read what the configuration names.
    struct conf *conf = host_uid() == 0 ? main_read_conf(options) : main_find_conf(options);
    done &= step(conf != NULL, "it has no mistakes", "waypost config check");
    if (conf != NULL)
        done &= step_daemon(conf);
    conf_unref(&conf);
    done &= step_name("/usr/sbin/sendmail");
    done &= step_name("/usr/bin/mailq");
    done &= step_name("/usr/bin/newaliases");
    return done;
}

static bool steps_json(const struct main_options *options)
{
    struct buf out;
    struct json j = main_json(&out);
    into = &j;
    json_open_array(&j, "steps");
    bool done = steps(options);
    json_close_array(&j);
    json_bool(&j, "done", done);
    main_json_print(&j);
    return done;
}

int cmd_setup(const struct main_options *options, int argc, char **argv)
{
    bool json = main_flag(&argc, argv, "--json");
    if (argc == 1 && !json && argv[0][0] != '-') {
        struct conf *conf = main_find_conf(options);
        if (conf == NULL)
            conf = main_places(options, NULL);
        bool known = setup_client(conf, argv[0]);
        conf_unref(&conf);
        return known ? 0 : EX_USAGE;
    }
    if (argc != 0) {
        fprintf(stderr, "usage: waypost setup [PROGRAM | --json]\n");
        return EX_USAGE;
    }
    if (json)
        return steps_json(options) ? 0 : EX_CONFIG;
    bool done = steps(options);
    printf("%s\n", done ? "try it: waypost send --test you@example.org"
                        : "then: waypost send --test you@example.org");
    return done ? 0 : EX_CONFIG;
}
