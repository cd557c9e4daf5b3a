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
struct queue_pages;
struct reply {
    struct link in_control;
    struct control *control;
    struct stream *stream;
    struct buf in;       // the request, until it is whole
    struct arena *arena; // as long as the reply
    const struct command *command;
    int argc; // behind the command's own words
    char **argv;
    bool json; // --json was given (and taken out of argv)
    uint32_t uid;
    struct str own; // empty: an operator, who may everything. Else "uid N": a local user, who sees
                    // and orders only mail handed in by that client
    int columns;    // of the asker's terminal, 0: no terminal
    struct timer clock; // for the request, then for the answer to be read
    void (*gone)(struct reply *r);
    void (*drained)(struct reply *r); // all written has gone: the moment to write the next page
    void *ctx;                        // the command's own
    struct queue_pages *pages;        // see queue_each
    struct timer pause;
};

void reply_line(struct reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));             // "o"
void reply_text(struct reply *r, struct str text);     // many "o" lines
void reply_object(struct reply *r, struct str object); // "{...}", with the schema put in front
// The same written key by key: begins the object, with the schema, in `out`, which is made here;
// reply_json_send closes it, sends it as lines and frees it.
struct json reply_json(struct buf *out);
void reply_json_send(struct reply *r, struct json *j);
void reply_error(struct reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3))); // "e"
struct table_column;
// A line of a table (control/table.h); `cells` NULL: its titles.
void reply_table(struct reply *r, const struct table_column *columns, const struct str *cells);
void reply_end(struct reply *r, int status); // frees it
void reply_free(struct reply *r);            // without an end; of control.c

// May the asker see mail handed in by this client (envelope.client)?
bool reply_sees(const struct reply *r, struct str client);

enum audience {
    FOR_OPERATORS, // root and the user the daemon runs as
    FOR_OWNERS,    // any local user; others than operators about their own mail only
};

struct command {
    const char *words; // "queue list"
    const char *usage; // "[PATTERN] [--max N]": names every option it takes but --json
    const char *help;  // NULL: asked by other commands, not by people
    int least, most;   // arguments
    enum audience audience;
    void (*run)(struct reply *r);
};
extern const struct command control_commands[]; // ends with words NULL

// A subject with its encoded words decoded; stands in `out`, which this initializes and the caller
// frees.
struct str reply_subject(struct str subject, struct buf *out);

// Takes `--name VALUE` or `--name=VALUE` out of the arguments; NULL when it is not there.
const char *reply_option(struct reply *r, const char *name);
bool reply_flag(struct reply *r, const char *name); // takes `--name` out
void reply_drop_args(struct reply *r, int at, int count);
// All options taken, so many arguments are left? Else says what is wrong and ends the reply.
bool reply_args(struct reply *r, int least, int most);
// Reads an id argument, or says what is wrong and ends the reply (then false).
bool reply_id(struct reply *r, const char *text, uint64_t *id_out);

// NULL after it was said, with the nearest name, that there is no such gateway; the reply is ended.
const struct conf_gateway *control_gateway(struct reply *r, const char *name);

// Every waiting message that the asker may see and that fits the glob (over its addresses; empty:
// all), oldest first, a page at a time between the loop's other work and no faster than the asker
// reads; then `end`, once, which ends the reply. Not called any more once the client is gone.
void queue_each(struct reply *r, struct str pattern,
                void (*each)(struct reply *r, const struct queue_message_view *v),
                void (*end)(struct reply *r));
// The same of removed mail that can be brought back.
void queue_each_deleted(struct reply *r, struct str pattern,
                        void (*each)(struct reply *r, const struct queue_message_view *v),
                        void (*end)(struct reply *r));
void queue_pages_next(void *ctx); // of queue_each

// The commands, a file each group.
void cmd_status(struct reply *r);
void cmd_reload(struct reply *r);
void cmd_stop(struct reply *r);
void cmd_listener_list(struct reply *r);
void listeners_json(struct reply *r, struct json *j); // the array `listeners`
void cmd_gateway_list(struct reply *r);
void cmd_gateway_show(struct reply *r);
void cmd_gateway_test(struct reply *r);
void cmd_gateway_next(struct reply *r);
void cmd_gateway_use(struct reply *r);
void cmd_gateway_auto(struct reply *r);
void cmd_gateway_forget(struct reply *r);
void cmd_gateway_reset(struct reply *r);
void cmd_network(struct reply *r);
void cmd_network_learn(struct reply *r);
void cmd_config_live(struct reply *r);
void cmd_queue_list(struct reply *r);
void cmd_queue_content(struct reply *r);
void cmd_queue_show(struct reply *r);
void cmd_queue_retry(struct reply *r);
void cmd_queue_now(struct reply *r);
void cmd_queue_send_at(struct reply *r);
void cmd_queue_hold(struct reply *r);
void cmd_queue_release(struct reply *r);
void cmd_queue_drop(struct reply *r);
void cmd_queue_deleted(struct reply *r);
void cmd_queue_restore(struct reply *r);
void cmd_route_explain(struct reply *r);
void cmd_route_show(struct reply *r);
void cmd_route_detours(struct reply *r);
void cmd_route_pin(struct reply *r);
void cmd_route_unpin(struct reply *r);
void cmd_log(struct reply *r);
void cmd_queue_classic(struct reply *r);
