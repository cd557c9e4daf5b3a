// SPDX-License-Identifier: ISC
// Commands of the `waypost` program that run in the program itself; the others go to the daemon
// (control/control.h).
#pragma once

#include "base/json.h"
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
// The same for whoever only asks where things are: secrets are left alone, and a user who may not
// read the file gets what is built in.
struct conf *main_find_conf(const struct main_options *options);
// Where the daemon and its spool are, silently, also by a file with mistakes: while somebody edits
// it the daemon goes on, and can be asked and given mail. What is built in when nothing could be
// read. *sound (may be NULL): no mistake was found.
struct conf *main_places(const struct main_options *options, bool *sound);

struct conf_report;
void main_say_report(const struct conf_report *report); // mistakes, to standard error

bool main_flag(int *argc, char **argv, const char *name); // takes it out of argv
// Takes `--name VALUE` or `--name=VALUE` out; NULL when it is not there.
const char *main_option(int *argc, char **argv, const char *name);

// The one object of an answer with --json, with its "schema" in it; printed by the second.
enum { MAIN_JSON_BYTES = 4 << 20 };
struct json main_json(struct buf *out);
void main_json_print(struct json *j);
void main_changes_json(struct json *j, const struct buf *diff); // "changes", of conf_diff's lines

// Is it a command of ours or of the daemon's? And what to say when not; the exit status.
bool main_command_known(int argc, char **argv);
int main_command_unknown(int argc, char **argv);

// The commands, a file each group.
int cmd_serve(const struct main_options *options, int argc, char **argv);
int cmd_send(const struct main_options *options, int argc, char **argv);
int cmd_sendmail(const struct main_options *options, int argc, char **argv);
int cmd_mailq(const struct main_options *options, int argc, char **argv);
int cmd_newaliases(const struct main_options *options, int argc, char **argv);
int cmd_config_check(const struct main_options *options, int argc, char **argv);
int cmd_config_explain(const struct main_options *options, int argc, char **argv);
int cmd_config_diff(const struct main_options *options, int argc, char **argv);
int cmd_config_reference(const struct main_options *options, int argc, char **argv);
int cmd_config_schema(const struct main_options *options, int argc, char **argv);
int main_config_live(const struct main_options *options, const char *file, bool json);
int cmd_config_apply(const struct main_options *options, int argc, char **argv);
int cmd_config_rollback(const struct main_options *options, int argc, char **argv);
int cmd_gateway_add(const struct main_options *options, int argc, char **argv);
int cmd_gateway_edit(const struct main_options *options, int argc, char **argv);
int cmd_gateway_enable(const struct main_options *options, int argc, char **argv);
int cmd_smarthost(const struct main_options *options, int argc, char **argv);
int cmd_smarthost_on(const struct main_options *options, int argc, char **argv);
int cmd_smarthost_off(const struct main_options *options, int argc, char **argv);
int cmd_gateway_disable(const struct main_options *options, int argc, char **argv);
int cmd_gateway_remove(const struct main_options *options, int argc, char **argv);
int cmd_gateway_move(const struct main_options *options, int argc, char **argv);
int cmd_network_learn_here(const struct main_options *options, int argc, char **argv);
int cmd_route_lint(const struct main_options *options, int argc, char **argv);
int cmd_spool_check(const struct main_options *options, int argc, char **argv);
int cmd_spool_rebuild(const struct main_options *options, int argc, char **argv);
int cmd_password_hash(const struct main_options *options, int argc, char **argv);
int cmd_probe(const struct main_options *options, int argc, char **argv);
int cmd_queue_export(const struct main_options *options, int argc, char **argv);
int cmd_import(const struct main_options *options, int argc, char **argv);
int cmd_setup(const struct main_options *options, int argc, char **argv);
int cmd_simulate(const struct main_options *options, int argc, char **argv);
int cmd_sink(const struct main_options *options, int argc, char **argv);
int cmd_help(const struct main_options *options, int argc, char **argv);
int cmd_version(const struct main_options *options, int argc, char **argv);
