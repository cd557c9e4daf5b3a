// SPDX-License-Identifier: ISC
// queue list, show, retry, hold, release, send-at, now, drop, deleted, restore.
#include "base/arena.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "control/command.h"
#include "control/table.h"
#include "control/waits.h"
#include "control/words.h"
#include "route/judge.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>

// ---- list ----

enum { EXPLAINED = 200 }; // lines of a list that say what they wait for

static const struct queue_rcpt_view *first_waiting(const struct queue_message_view *v,
                                                   size_t *waiting_out)
{
    const struct queue_rcpt_view *first = NULL;
    *waiting_out = 0;
    for (size_t i = 0; i < v->envelope.count; i++) {
        if (rcpt_state_final(v->rcpts[i].state))
            continue;
        (*waiting_out)++;
        if (first == NULL)
            first = &v->rcpts[i];
    }
    return first;
}

static void next_text(const struct queue_message_view *v, const struct queue_rcpt_view *r,
                      char text[TIME_TEXT])
{
    int64_t wait = r != NULL ? r->next_ms - clock_wall_ms() : 0;
    if (v->held || v->deleted_ms != 0)
        snprintf(text, TIME_TEXT, "-");
    else if (r == NULL || r->busy)
        snprintf(text, TIME_TEXT, "now");
    else if (r->next_ms == 0)
        snprintf(text, TIME_TEXT, "a way opens");
    else if (wait <= 0)
        snprintf(text, TIME_TEXT, "now");
    else
        time_span(wait, text);
}

static const struct table_column columns[] = {
    {"ID", 8, false, false},    {"AGE", 11, false, false}, {"SIZE", 8, true, false},
    {"FROM", 24, false, true},  {"TO", 28, false, true},   {"STATE", 9, false, false},
    {"NEXT", 11, false, false}, {"LAST", 0, false, false}, {NULL},
};

enum folder { FOLDER_ALL, FOLDER_OUTBOX, FOLDER_HELD, FOLDER_BAD, FOLDERS };
static const char *const folder_names[FOLDERS] = {NULL, "outbox", "held", "bad"};

struct listing {
    uint64_t count; // told; first: see last_text
    enum folder folder;
};

static const char *send_at_text(struct reply *r, const struct queue_message_view *v)
{
    char when[WORDS_TEXT];
    return arena_printf(r->arena, "to be sent %s, as was wished",
                        words_when(v->send_ms, clock_wall_ms(), when));
}

// When it goes for good, if not earlier for want of room.
static const char *deleted_text(struct reply *r, const struct queue_message_view *v)
{
    char gone[WORDS_TEXT], when[WORDS_TEXT];
    int64_t now = clock_wall_ms(), end_ms = v->deleted_ms + r->control->conf->queue.keep_deleted_ms;
    return arena_printf(r->arena, "dropped %s, kept until %s", words_when(v->deleted_ms, now, when),
                        words_when(end_ms, now, gone));
}

// What it waits for when that is no clock, else what happened last.
static const char *last_text(struct reply *r, const struct queue_message_view *v,
                             const struct queue_rcpt_view *first)
{
    if (v->deleted_ms != 0)
        return deleted_text(r, v);
    if (v->held)
        return v->hold_reason;
    if (v->send_ms != 0)
        return send_at_text(r, v);
    if (first == NULL)
        return "";
    bool asks =
        first->next_ms == 0 && !first->busy && ((struct listing *)r->ctx)->count <= EXPLAINED;
    const char *why = asks ? waits_why(r, v->id) : NULL;
    return why != NULL ? arena_printf(r->arena, "waits %s", why) : first->last.text;
}

static void list_line(struct reply *r, const struct queue_message_view *v)
{
    char id[ID_TEXT_SIZE], age[TIME_TEXT], next[TIME_TEXT], size[WORDS_TEXT], to[LIMIT_PATH + 16];
    size_t waiting;
    const struct queue_rcpt_view *first = first_waiting(v, &waiting);
    const char *last = last_text(r, v, first);
    time_span(clock_wall_ms() - v->envelope.accepted_ms, age);
    words_size(v->size, size);
    next_text(v, first, next);
    snprintf(to, sizeof(to), waiting > 1 ? "%.*s +%zu" : "%.*s",
             first != NULL ? (int)first->address.len : 0, first != NULL ? first->address.ptr : "",
             waiting - 1);
    const struct str cells[] = {
        str_of(id_format(v->id, id)),
        str_of(age),
        str_of(size),
        v->envelope.sender.len > 0 ? v->envelope.sender : STR("<>"),
        str_of(to),
        str_of(v->state),
        str_of(next),
        str_of(last),
    };
    reply_table(r, columns, cells);
}

static void rcpt_json(struct json *j, const struct queue_rcpt_view *r)
{
    json_open(j, NULL);
    json_str(j, "address", r->address);
    json_text(j, "state", rcpt_state_name(r->state));
    json_int(j, "tries", r->tries);
    json_bool(j, "sending", r->busy);
    json_bool(j, "in_doubt", r->in_doubt);
    json_int(j, "next_ms", r->next_ms);
    json_text(j, "gateway", r->gateway);
    if (r->last.text[0] != '\0' || r->last.code != 0) {
        json_open(j, "last");
        json_text(j, "class", outcome_class_name(r->last.class));
        json_int(j, "code", r->last.code);
        json_text(j, "phase", outcome_phase_name(r->last.phase));
        json_text(j, "where", r->last.where);
        json_text(j, "text", r->last.text);
        json_close(j);
    }
    json_close(j);
}

static void message_json(struct reply *r, const struct queue_message_view *v)
{
    struct buf out, subject;
    char id[ID_TEXT_SIZE];
    struct json j = reply_json(&out);
    json_text(&j, "id", id_format(v->id, id));
    json_text(&j, "state", v->state);
    json_text(&j, "hold_reason", v->held ? v->hold_reason : NULL);
    json_int(&j, "accepted_ms", v->envelope.accepted_ms);
    json_int(&j, "send_ms", v->send_ms);
    json_int(&j, "deleted_ms", v->deleted_ms);
    json_int(&j, "kept_until_ms",
             v->deleted_ms != 0 ? v->deleted_ms + r->control->conf->queue.keep_deleted_ms : 0);
    json_int(&j, "size", (int64_t)v->size);
    json_str(&j, "sender", v->envelope.sender);
    json_str(&j, "subject", reply_subject(v->envelope.subject, &subject));
    json_str(&j, "client", v->envelope.client);
    json_str(&j, "user", v->envelope.user);
    json_str(&j, "listener", v->envelope.listener);
    json_open_array(&j, "recipients");
    for (size_t i = 0; i < v->envelope.count; i++)
        rcpt_json(&j, &v->rcpts[i]);
    json_close_array(&j);
    reply_json_send(r, &j);
    buf_free(&subject);
}

// Held, and by nobody known, after it was tried: it failed for good, and its route keeps it
// (PC-20).
static bool is_bad(const struct queue_message_view *v)
{
    size_t waiting;
    const struct queue_rcpt_view *first = first_waiting(v, &waiting);
    return v->held && first != NULL && first->tries > 0 &&
           !str_starts(str_of(v->hold_reason), STR("uid "));
}

static bool in_folder(const struct queue_message_view *v, enum folder folder)
{
    switch (folder) {
    case FOLDER_OUTBOX: return !v->held;
    case FOLDER_HELD: return v->held && !is_bad(v);
    case FOLDER_BAD: return is_bad(v);
    default: return true;
    }
}

static void list_one(struct reply *r, const struct queue_message_view *v)
{
    struct listing *listing = r->ctx;
    if (!in_folder(v, listing->folder))
        return;
    if (listing->count++ == 0 && !r->json)
        reply_table(r, columns, NULL);
    if (r->json)
        message_json(r, v);
    else
        list_line(r, v);
}

static void list_end(struct reply *r)
{
    const struct listing *listing = r->ctx;
    if (listing->count == 0 && !r->json)
        reply_line(r, r->argc > 0 || listing->folder != FOLDER_ALL ? "no waiting message matches"
                                                                   : "the queue is empty");
    reply_end(r, 0);
}

static bool read_folder(struct reply *r, const char *name, enum folder *folder_out)
{
    if (name == NULL)
        return true;
    for (int i = FOLDER_OUTBOX; i < FOLDERS; i++) {
        *folder_out = (enum folder)i;
        if (strcmp(name, folder_names[i]) == 0)
            return true;
    }
    reply_error(r,
                "waypost queue list: --folder takes outbox, held or bad, not `%s`; what left is in "
                "`waypost log --folder sent|bad|bounced|deleted`",
                name);
    reply_end(r, EX_USAGE);
    return false;
}

void cmd_queue_list(struct reply *r)
{
    struct listing *listing = arena_alloc(r->arena, sizeof(*listing));
    const char *folder = reply_option(r, "--folder");
    *listing = (struct listing){0};
    r->ctx = listing;
    if (!read_folder(r, folder, &listing->folder) || !reply_args(r, 0, 1))
        return;
    queue_each(r, r->argc > 0 ? str_of(r->argv[0]) : STR(""), list_one, list_end);
}

// ---- show ----

// A waiting message that the asker may see.
static bool find(struct reply *r, uint64_t id, struct queue_message_view *v)
{
    return queue_show(r->control->parts.queue, id, r->arena, v) &&
           reply_sees(r, v->envelope.client);
}

static void show_text(struct reply *r, const struct queue_message_view *v)
{
    char id[ID_TEXT_SIZE], when[WORDS_TEXT], size[WORDS_TEXT], next[TIME_TEXT];
    struct buf decoded;
    struct str subject = reply_subject(v->envelope.subject, &decoded);
    words_size(v->size, size);
    reply_line(r, "%s  %s%.*s%s  %s  %s%s%s", id_format(v->id, id),
               v->envelope.subject.len > 0 ? "\"" : "", STR_FMT(subject),
               v->envelope.subject.len > 0 ? "\"" : "", size, v->state, v->held ? ": " : "",
               v->held ? v->hold_reason : "");
    buf_free(&decoded);
    reply_line(r, "  accepted   %s from %.*s%s%.*s", words_moment(v->envelope.accepted_ms, when),
               STR_FMT(v->envelope.client), v->envelope.user.len > 0 ? ", user " : "",
               STR_FMT(v->envelope.user));
    reply_line(r, "  sender     <%.*s>", STR_FMT(v->envelope.sender));
    if (v->deleted_ms != 0)
        reply_line(r, "  deleted    %s; back with: waypost queue restore %s", deleted_text(r, v),
                   id);
    if (v->send_ms != 0)
        reply_line(r, "  send       %s; at once: waypost queue now %s", send_at_text(r, v), id);
    for (size_t i = 0; i < v->envelope.count; i++) {
        const struct queue_rcpt_view *p = &v->rcpts[i];
        bool final = rcpt_state_final(p->state);
        bool timed = !final && !p->busy && !v->held && p->next_ms > clock_wall_ms();
        next_text(v, p, next);
        reply_line(r, "  to         <%.*s>  %s%s%s", STR_FMT(p->address),
                   final             ? rcpt_state_name(p->state)
                   : p->busy         ? "being sent"
                   : v->held         ? "held"
                   : timed           ? "waiting, next try in "
                   : p->next_ms == 0 ? "waiting until a way opens"
                                     : "waiting, its turn is now",
                   timed ? next : "", p->in_doubt ? "  IN DOUBT (may have been delivered)" : "");
        if (p->last.text[0] != '\0')
            reply_line(r, "             %u tr%s so far; last via %s [%s]: %s (%s)", p->tries,
                       p->tries == 1 ? "y" : "ies", p->gateway, p->last.where, p->last.text,
                       judge_reason(&p->last));
    }
    reply_line(r, "more: waypost log %s", id);
}

void cmd_queue_show(struct reply *r)
{
    uint64_t id;
    struct queue_message_view v;
    if (!reply_id(r, r->argv[0], &id))
        return;
    if (!find(r, id, &v)) {
        reply_error(r, "waypost: %s is not in the queue; what became of it says `waypost log %s`",
                    r->argv[0], r->argv[0]);
        reply_end(r, EX_DATAERR);
        return;
    }
    if (r->json)
        message_json(r, &v);
    else
        show_text(r, &v);
    reply_end(r, 0);
}

// ---- orders ----

// What somebody else holds waits for that one's word.
static bool may_order(struct reply *r, uint64_t id, struct err *err)
{
    struct queue_message_view v;
    if (r->own.len == 0)
        return true;
    if (!find(r, id, &v))
        return false;
    struct str by = str_of(v.hold_reason);
    bool mine = str_starts(by, r->own) && (by.len == r->own.len || by.ptr[r->own.len] == ':');
    if (v.held && !mine)
        err_set(err, "it is held by somebody else (%s)", v.hold_reason);
    return !v.held || mine;
}

// An order is answered when it is on disk, and when the timeline can tell of it: what the answer
// says holds after a crash.
struct ordered {
    struct store_commit commit;
    struct reply *reply; // NULL: the asker went away
    struct store *store;
    int status;
};

static void ordered_gone(struct reply *r)
{
    ((struct ordered *)r->ctx)->reply = NULL;
}

static void on_order_told(void *ctx)
{
    struct ordered *o = ctx;
    if (o->reply != NULL) {
        o->reply->gone = NULL;
        reply_end(o->reply, o->status);
    }
    xfree(o);
}

static void on_order_written(struct store_commit *commit)
{
    struct ordered *o = container_of(commit, struct ordered, commit);
    if (commit->ok) {
        store_index_barrier(o->store, commit->home, on_order_told, o);
        return;
    }
    if (o->reply != NULL)
        reply_error(o->reply, "waypost: done, but not recorded: %s", commit->err.text);
    o->status = EX_IOERR;
    on_order_told(o);
}

static void end_orders(struct reply *r, int status)
{
    struct ordered *o = xcalloc(1, sizeof(*o));
    o->reply = r;
    o->store = r->control->parts.store;
    o->status = status;
    o->commit.home = r->control->parts.loop;
    o->commit.done = on_order_written;
    r->ctx = o;
    r->gone = ordered_gone;
    // Nothing of its own: it comes after the orders' records, so when it is on disk they are.
    store_commit(o->store, &o->commit, NULL, 0);
}

static void each_id(struct reply *r, const char *done,
                    bool (*order)(struct reply *r, uint64_t id, struct err *err))
{
    int status = 0;
    for (int i = 0; i < r->argc; i++) {
        uint64_t id;
        struct err err = {0};
        if (strcmp(r->argv[i], "all") == 0) {
            reply_error(r,
                        "waypost: name each message; all of them: waypost queue list --json | "
                        "jq -r .id | xargs waypost %s",
                        r->command->words);
            status = EX_USAGE;
        } else if (!id_parse(str_of(r->argv[i]), &id) || id == 0) {
            reply_error(r, "waypost: %s is no message id; `waypost queue list` shows them",
                        r->argv[i]);
            status = EX_USAGE;
        } else if (!may_order(r, id, &err) || !order(r, id, &err)) {
            const char *said = err.text[0] != '\0' ? err.text : "not in the queue";
            bool named = str_starts(str_of(said), str_of(r->argv[i]));
            reply_error(r, "waypost: %s%s%s", named ? "" : r->argv[i], named ? "" : ": ", said);
            status = EX_DATAERR;
        } else {
            reply_line(r, "%s %s", r->argv[i], done);
        }
    }
    end_orders(r, status);
}

static const char *by_whom(struct reply *r)
{
    const char *reason = r->ctx;
    return reason != NULL ? arena_printf(r->arena, "uid %u: %s", r->uid, reason)
                          : arena_printf(r->arena, "uid %u", r->uid);
}

static bool order_retry(struct reply *r, uint64_t id, struct err *err)
{
    // What rests for everybody is woken by operators only.
    return r->own.len > 0 ? queue_retime(r->control->parts.queue, id)
                          : queue_retry(r->control->parts.queue, id);
}

// What the rests of others have to do with it, see queue_retime.
static bool order_now(struct reply *r, uint64_t id, struct err *err)
{
    return queue_send_now(r->control->parts.queue, id, by_whom(r)) && order_retry(r, id, err);
}

static bool order_send_at(struct reply *r, uint64_t id, struct err *err)
{
    const int64_t *at_ms = r->ctx;
    return queue_send_at(r->control->parts.queue, id, *at_ms,
                         arena_printf(r->arena, "uid %u", r->uid));
}

static bool order_hold(struct reply *r, uint64_t id, struct err *err)
{
    return queue_hold(r->control->parts.queue, id, by_whom(r));
}

static bool order_release(struct reply *r, uint64_t id, struct err *err)
{
    return queue_release(r->control->parts.queue, id, by_whom(r));
}

static bool order_drop(struct reply *r, uint64_t id, struct err *err)
{
    return queue_drop(r->control->parts.queue, id, false, by_whom(r), err);
}

static bool order_drop_for_good(struct reply *r, uint64_t id, struct err *err)
{
    return queue_drop(r->control->parts.queue, id, true, by_whom(r), err);
}

static bool order_restore(struct reply *r, uint64_t id, struct err *err)
{
    if (queue_restore(r->control->parts.queue, id, by_whom(r)))
        return true;
    err_set(err, "it is not among the deleted; `waypost queue deleted` shows them");
    return false;
}

static void retry_own(struct reply *r, const struct queue_message_view *v)
{
    queue_retime(r->control->parts.queue, v->id);
}

static void retry_end(struct reply *r)
{
    reply_line(r, "all waiting mail%s is tried again now", r->own.len > 0 ? " of yours" : "");
    reply_end(r, 0);
}

void cmd_queue_retry(struct reply *r)
{
    bool all = r->argc == 1 && strcmp(r->argv[0], "all") == 0;
    if (all && r->own.len > 0) {
        queue_each(r, STR(""), retry_own, retry_end);
    } else if (all) {
        queue_retry(r->control->parts.queue, 0);
        retry_end(r);
    } else {
        each_id(r, "is tried again now", order_retry);
    }
}

void cmd_queue_now(struct reply *r)
{
    each_id(r, "is sent now", order_now);
}

// The moment stands last: queue send-at ID... TIME.
void cmd_queue_send_at(struct reply *r)
{
    int64_t *at_ms = arena_alloc(r->arena, sizeof(*at_ms)), now = clock_wall_ms();
    char when[WORDS_TEXT];
    const char *typed = r->argv[r->argc - 1];
    if (!words_parse_future(str_of(typed), now, at_ms) || *at_ms > now + LIMIT_SEND_LATER_MS) {
        reply_error(r,
                    "waypost queue send-at: the last word is a moment within a year, such as "
                    "\"2026-12-24 18:00\", 08:00, or +2h, not `%s`",
                    typed);
        reply_end(r, EX_USAGE);
        return;
    }
    reply_drop_args(r, r->argc - 1, 1);
    r->ctx = at_ms;
    each_id(r,
            *at_ms > now ? arena_printf(r->arena, "is to be sent %s", words_when(*at_ms, now, when))
                         : "is sent now: that moment has passed",
            order_send_at);
}

void cmd_queue_hold(struct reply *r)
{
    r->ctx = (void *)reply_option(r, "--reason");
    each_id(r, "is held; send it with `waypost queue release`", order_hold);
}

void cmd_queue_release(struct reply *r)
{
    each_id(r, "goes on its way", order_release);
}

void cmd_queue_drop(struct reply *r)
{
    bool for_good = reply_flag(r, "--for-good") || r->control->conf->queue.keep_deleted_ms == 0;
    r->ctx = (void *)reply_option(r, "--reason");
    if (!reply_args(r, 1, COMMAND_ARGS))
        return;
    each_id(r, for_good ? "is dropped for good" : "is dropped; back with `waypost queue restore`",
            for_good ? order_drop_for_good : order_drop);
}

void cmd_queue_restore(struct reply *r)
{
    each_id(r, "is in the queue again", order_restore);
}

static void deleted_end(struct reply *r)
{
    if (((const struct listing *)r->ctx)->count == 0 && !r->json)
        reply_line(r,
                   r->argc > 0 ? "nothing deleted matches" : "nothing deleted can be brought back");
    reply_end(r, 0);
}

void cmd_queue_deleted(struct reply *r)
{
    struct listing *listing = arena_alloc(r->arena, sizeof(*listing));
    *listing = (struct listing){0};
    r->ctx = listing;
    if (!r->json)
        reply_table(r, columns, NULL);
    queue_each_deleted(r, r->argc > 0 ? str_of(r->argv[0]) : STR(""), list_one, deleted_end);
}
