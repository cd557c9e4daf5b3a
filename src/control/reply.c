// SPDX-License-Identifier: ISC
// Writing an answer, reading the arguments.
#include "base/base64.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "control/command.h"
#include "control/table.h"
#include "mail/encoded_word.h"
#include "sys/stream.h"

#include <stdio.h>
#include <string.h>

enum { JSON_BYTES = 16 << 20 }; // a timeline with its dialogues

// ---- The reply ----

static void write_tagged(struct reply *r, char tag, const char *text, size_t len)
{
    char head[2] = {tag, ' '};
    stream_write(r->stream, head, 2);
    stream_write(r->stream, text, len);
    stream_write(r->stream, "\n", 1);
    if (!timer_running(&r->clock))
        timer_start(&r->clock, LIMIT_CONTROL_STALL_MS);
}

static void write_format(struct reply *r, char tag, const char *format, va_list args)
{
    struct buf line, safe;
    buf_init(&line, LIMIT_CONTROL_LINE);
    buf_init(&safe, LIMIT_CONTROL_LINE * 4);
    buf_vprintf(&line, format, args);
    // Subjects and replies are strangers' text: a terminal must not obey it.
    utf8_escape(&safe, buf_str(&line));
    write_tagged(r, tag, safe.data, safe.len);
    buf_free(&line);
    buf_free(&safe);
}

void reply_line(struct reply *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_format(r, 'o', format, args);
    va_end(args);
}

void reply_error(struct reply *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_format(r, 'e', format, args);
    va_end(args);
}

struct json reply_json(struct buf *out)
{
    buf_init(out, JSON_BYTES);
    return json_answer(out);
}

void reply_json_send(struct reply *r, struct json *j)
{
    json_close(j);
    reply_text(r, buf_str(j->out));
    buf_free(j->out);
}

void reply_text(struct reply *r, struct str text)
{
    struct str line;
    while (str_split(&text, '\n', &line))
        write_tagged(r, 'o', line.ptr, line.len);
}

void reply_object(struct reply *r, struct str object)
{
    struct buf out;
    buf_init(&out, LIMIT_CONTROL_REQUEST);
    buf_printf(&out, "{\"schema\":1,%.*s", (int)object.len - 1, object.ptr + 1);
    reply_text(r, buf_str(&out));
    buf_free(&out);
}

void reply_free(struct reply *r)
{
    list_remove(&r->in_control);
    timer_stop(&r->clock);
    timer_stop(&r->pause);
    buf_free(&r->in);
    arena_free(&r->arena);
    xfree(r);
}

void reply_table(struct reply *r, const struct table_column *columns, const struct str *cells)
{
    struct buf line;
    buf_init(&line, LIMIT_CONTROL_LINE);
    table_line(&line, columns, cells, r->columns);
    reply_line(r, "%s", buf_cstr(&line));
    buf_free(&line);
}

void reply_end(struct reply *r, int status)
{
    char line[32];
    int len = snprintf(line, sizeof(line), "x %d\n", status);
    stream_write(r->stream, line, (size_t)len);
    stream_close(&r->stream, true);
    reply_free(r);
}

struct str reply_subject(struct str subject, struct buf *out)
{
    buf_init(out, LIMIT_LOG_LINE);
    encoded_word_show(out, subject, LIMIT_LOG_LINE);
    return buf_str(out);
}

// ---- Arguments ----

void reply_drop_args(struct reply *r, int at, int count)
{
    for (int i = at; i + count < r->argc; i++)
        r->argv[i] = r->argv[i + count];
    r->argc -= count;
}

const char *reply_option(struct reply *r, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < r->argc; i++) {
        char *arg = r->argv[i];
        if (strncmp(arg, name, len) != 0)
            continue;
        if (arg[len] == '=') {
            reply_drop_args(r, i, 1);
            return arg + len + 1;
        }
        if (arg[len] == '\0' && i + 1 < r->argc) {
            char *value = r->argv[i + 1];
            reply_drop_args(r, i, 2);
            return value;
        }
    }
    return NULL;
}

bool reply_flag(struct reply *r, const char *name)
{
    for (int i = 0; i < r->argc; i++) {
        if (strcmp(r->argv[i], name) == 0) {
            reply_drop_args(r, i, 1);
            return true;
        }
    }
    return false;
}

bool reply_args(struct reply *r, int least, int most)
{
    const char *usage = r->command->usage;
    for (int i = 0; i < r->argc; i++) {
        if (r->argv[i][0] != '-' || r->argv[i][1] == '\0')
            continue;
        reply_error(r, "waypost %s: `%s` %s", r->command->words, r->argv[i],
                    strstr(usage, r->argv[i]) != NULL ? "takes a value" : "means nothing here");
        reply_error(r, "usage: waypost %s%s%s", r->command->words, usage[0] != '\0' ? " " : "",
                    usage);
        reply_end(r, EX_USAGE);
        return false;
    }
    if (r->argc >= least && r->argc <= most)
        return true;
    reply_error(r, "usage: waypost %s%s%s", r->command->words, usage[0] != '\0' ? " " : "", usage);
    reply_end(r, EX_USAGE);
    return false;
}

bool reply_sees(const struct reply *r, struct str client)
{
    return r->own.len == 0 || str_eq(client, r->own);
}

bool reply_id(struct reply *r, const char *text, uint64_t *id_out)
{
    if (id_parse(str_of(text), id_out) && *id_out != 0)
        return true;
    reply_error(
        r,
        "waypost: %s is no message id (6 or more of 0-9 A-Z, as `waypost queue list` shows them)",
        text);
    reply_end(r, EX_USAGE);
    return false;
}
