// SPDX-License-Identifier: ISC
// A configuration from YAML. Everything that is wrong is told, not only the first thing.
#pragma once

#include "conf/conf.h"
#include "conf/report.h"

// NULL when the report holds errors; warnings alone do not hinder. The report is one that
// conf_report_init made, and gets more each time. Reads the files and runs the commands that
// secrets name, so it blocks: call it at start or on a worker. Passwords come neither into the
// report nor anywhere else but the snapshot.
struct conf *conf_read_file(const char *path, struct conf_report *report);
// `name` stands for the file in messages; relative paths start at its directory.
struct conf *conf_read_text(const char *name, struct str text, struct conf_report *report);

// What holds without any file: mail from this machine only, direct delivery.
struct conf *conf_builtin(void);
