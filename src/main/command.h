// SPDX-License-Identifier: ISC
// Commands of the `waypost` program that run in the program itself; the others go to the daemon
// (control/control.h).
#pragma once

#include "conf/conf.h"

struct main_options {
    const char
        *config; // --config FILE, $WAYPOST_CONFIG, /etc/waypost/waypost.yaml, or NULL: built in
    bool config_named; // by option or environment: then it must exist
};

struct main_command {
    const char *words; // "config check"
    const char *usage;
    const char *help;
    int (*run)(const struct main_options *options, int argc,
               char **argv); // argv behind the words; exit status
};
extern const struct main_command main_commands[]; // ends with words NULL

// The configuration in force for a command; NULL after the problems went to standard error.
struct conf *main_read_conf(const struct main_options *options);

int cmd_serve(const struct main_options *options, int argc, char **argv);
