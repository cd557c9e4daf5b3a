// SPDX-License-Identifier: ISC
// A change of the configuration file by a command: checked whole before it is written, told as a
// diff, and taken over by the daemon if one runs; if that refuses it, the file is put back.
#pragma once

#include "base/buf.h"
#include "main/command.h"
#include "sys/file.h"

struct conf_file {
    const struct main_options *options;
    char *path;      // behind symbolic links
    struct buf text; // as it is now
    bool exists;
    bool json, dry_run;
    struct file *held;  // the file, against others who change it; NULL: nothing to hold
    const char *extra;  // a file that was made for the change, to be removed when it fails; NULL
    const char *source; // the file that the new text comes from; NULL
};

// Takes --json and --dry-run out of the arguments. Waits while another command changes the file.
// False after it was said why the file cannot be read, or not be written by the one who asks; the
// status is in *status_out.
bool conf_file_open(struct conf_file *f, const struct main_options *options, int *argc, char **argv,
                    int *status_out);
void conf_file_close(struct conf_file *f);

// The exit status.
int conf_file_change(struct conf_file *f, struct str text);

// Writes the whole of a file anew, with this mode and owner (-1: whoever writes). When *held is
// a locked file, the new one is locked, too, before it has the name, and takes its place.
bool conf_file_write(const char *path, struct str text, unsigned mode, int64_t uid, int64_t gid,
                     struct file **held, struct err *err);
