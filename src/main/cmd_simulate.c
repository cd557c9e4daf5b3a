// SPDX-License-Identifier: ISC
// `waypost simulate`: hands over to waypost-simulate, a program of its own, because the simulated
// world has the same symbols as the real one.
#include "base/mem.h"
#include "main/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#ifndef WAYPOST_LIBEXEC
#define WAYPOST_LIBEXEC "/usr/libexec/waypost"
#endif

// Beside this program when it runs from where it was built, else where it was installed.
static void find_player(char path[4096])
{
    ssize_t n = readlink("/proc/self/exe", path, 4000);
    if (n > 0) {
        path[n] = '\0';
        char *slash = strrchr(path, '/');
        snprintf(slash != NULL ? slash + 1 : path, 64, "waypost-simulate");
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, 4096, "%s/waypost-simulate", WAYPOST_LIBEXEC);
}

int cmd_simulate(const struct main_options *options, int argc, char **argv)
{
    char path[4096];
    char **args = xcalloc((size_t)argc + 4, sizeof(*args));
    int n = 0;
    find_player(path);
    args[n++] = path;
    if (options->config != NULL) {
        args[n++] = "--config";
        args[n++] = (char *)options->config;
    }
    memcpy(args + n, argv, (size_t)argc * sizeof(*args));
    execv(path, args);
    fprintf(stderr, "waypost: %s cannot be run: %s; it is part of waypost, so install it whole\n",
            path, strerror(errno));
    xfree(args);
    return EX_OSFILE;
}
