// SPDX-License-Identifier: ISC
// Commands of the control socket as table rows, and the reply they write to.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/list.h"
#include "control/control.h"

#include <sysexits.h>

enum { COMMAND_ARGS = 64 };

struct control {
    struct conf *conf;
    struct control_parts parts;
    struct listener *listener;
    struct link replies;
};

// One command under way. Output may be written until reply_end; a command that answers later keeps
// the pointer and must set `gone`, which runs when the client went away first (the reply is freed
// right after it).
struct reply {
    struct link in_control;
    struct control *control;
    struct stream *stream;
    struct buf in;       // the request, until it is whole
    struct arena *arena; // as long as the reply
    int argc;            // behind the command's own words
    char **argv;
    bool json; // --json was given (and taken out of argv)
    uint32_t uid;
    void (*gone)(struct reply *r);
    void (*drained)(struct reply *r); // all written has gone: the moment to write the next page
    void *ctx;                        // the command's own
};

void reply_line(struct reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));         // "o"
void reply_text(struct reply *r, struct str text); // many "o" lines
void reply_error(struct reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));   // "e"
void reply_end(struct reply *r, int status); // frees it

struct command {
    const char *words; // "queue list"
    const char *usage; // "[PATTERN] [--json]"
    const char *help;
    int least, most; // arguments
    void (*run)(struct reply *r);
};
extern const struct command control_commands[]; // ends with words NULL

// Takes `--name VALUE` or `--name=VALUE` out of the arguments; NULL when it is not there.
const char *reply_option(struct reply *r, const char *name);
bool reply_flag(struct reply *r, const char *name); // takes `--name` out
// Reads an id argument, or says what is wrong and ends the reply (then false).
bool reply_id(struct reply *r, const char *text, uint64_t *id_out);

// The commands, a file each group.
void cmd_status(struct reply *r);
void cmd_reload(struct reply *r);
void cmd_stop(struct reply *r);
void cmd_gateway_list(struct reply *r);
void cmd_queue_list(struct reply *r);
void cmd_queue_show(struct reply *r);
void cmd_queue_retry(struct reply *r);
void cmd_queue_hold(struct reply *r);
void cmd_queue_release(struct reply *r);
void cmd_queue_drop(struct reply *r);
void cmd_route_explain(struct reply *r);
void cmd_log(struct reply *r);
void cmd_queue_classic(struct reply *r);
