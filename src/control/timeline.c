// SPDX-License-Identifier: ISC
// Times are the local ones; recipients that met the same end share a line.
#include "control/timeline.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "control/table.h"
#include "control/waits.h"
#include "control/words.h"
#include "route/judge.h"
#include "sys/clock.h"

#include <stdio.h>

enum { AT_ONCE_MS = 2000 };

static struct str sender_text(struct str sender)
{
    return sender.len > 0 ? sender : STR("<>");
}

// Its client waited for the next server's word and has been told everything.
static bool passed(const struct index_message *m)
{
    return m->event_count > 0 && m->events[0].kind == INDEX_ACCEPTED && m->events[0].flag;
}

static const char *state_word(const struct index_message *m, enum rcpt_state state)
{
    return passed(m) && state == RCPT_RETURNED ? "refused" : rcpt_state_name(state);
}

// ---- For people ----

void timeline_head(struct reply *r, const struct index_message *m, bool states)
{
    char id[ID_TEXT_SIZE], size[WORDS_TEXT], when[WORDS_TEXT];
    const struct envelope *e = &m->envelope;
    struct buf decoded;
    struct str subject = reply_subject(m->subject, &decoded);
    words_size(m->size, size);
    reply_line(r, "%s  %s%.*s%s%s  from %.*s", id_format(m->id, id), m->subject.len > 0 ? "\"" : "",
               STR_FMT(subject), m->subject.len > 0 ? "\"  " : "", size,
               STR_FMT(sender_text(m->sender)));
    buf_free(&decoded);
    for (size_t i = 0; i < e->count && i < 10; i++)
        reply_line(r, "  to %.*s%s%s", STR_FMT(e->rcpts[i].address), states ? ": " : "",
                   states ? state_word(m, (enum rcpt_state)m->states[i]) : "");
    if (e->count > 10)
        reply_line(r, "  and %zu more", e->count - 10);
    reply_line(r, "  %s  %s from %.*s%s%.*s%s%.*s, %s", words_moment(m->accepted_ms, when),
               passed(m) ? "passed through" : "accepted", STR_FMT(e->client),
               e->user.len > 0 ? " as " : "", STR_FMT(e->user),
               e->listener.len > 0 ? " at listener " : "", STR_FMT(e->listener),
               passed(m) ? "not kept (mode proxy)" : "on disk");
}

// "busy: 451 4.3.0 not now" or what a recipient's new state is when nothing was tried.
static void outcome_text(struct buf *out, const struct store_rcpt_result *result)
{
    const struct outcome *o = &result->outcome;
    if (o->class != OUTCOME_OK)
        buf_printf(out, "%s", outcome_class_name(o->class));
    else
        buf_puts(out, rcpt_state_name(result->state));
    if (o->code != 0 || o->text[0] != '\0')
        buf_puts(out, ": ");
    if (o->code != 0)
        buf_printf(out, "%u ", o->code);
    if (o->enhanced[0] != 0)
        buf_printf(out, "%u.%u.%u ", o->enhanced[0], o->enhanced[1], o->enhanced[2]);
    buf_puts(out, o->text);
    if (o->class != OUTCOME_OK && o->phase != PHASE_NONE)
        buf_printf(out, " (%s)", outcome_phase_name(o->phase));
}

// Whose words are known, and what they blame: "gmail: quota, account".
static bool known_words(const struct reply *r, struct str gateway, const struct outcome *o,
                        struct judge_rule *rule_out)
{
    const struct conf *conf = r->control->conf;
    const struct conf_gateway *g = conf_gateway_find(conf, gateway);
    return g != NULL && o->class != OUTCOME_OK && o->code != 0 && judge_known(o, conf, g, rule_out);
}

// The first attempt after `e` that was for the same recipient; NULL: there was none.
static const struct index_event *next_attempt(const struct index_message *m,
                                              const struct index_event *e, uint32_t rcpt)
{
    while (++e < m->events + m->event_count)
        for (size_t i = 0; e->kind == INDEX_ATTEMPT && i < e->result_count; i++)
            if (e->results[i].index == rcpt)
                return e;
    return NULL;
}

// Without a clock of its own it went on at once, or waits until one of its ways opens. What came
// after says which; after the last attempt the queue does.
static void no_clock(struct reply *r, const struct index_message *m, const struct index_event *e,
                     uint32_t rcpt, struct buf *out)
{
    char when[WORDS_TEXT];
    struct queue_message_view v;
    const struct index_event *next = next_attempt(m, e, rcpt);
    bool waits = next == NULL ? m->ended_ms > 0 : str_eq(next->gateway, e->gateway);
    int64_t until_ms = 0, now = clock_wall_ms();
    if (next == NULL && queue_show(r->control->parts.queue, m->id, r->arena, &v) &&
        rcpt < v.envelope.count) {
        waits = !v.rcpts[rcpt].busy && !v.rcpts[rcpt].soon;
        until_ms = waits ? waits_until(r, m->id) : 0;
    }
    buf_puts(out, waits ? "; waits until a way opens" : "; takes the next way that is open");
    if (until_ms > now)
        buf_printf(out, ", at %s", words_when(until_ms, now, when));
}

// `kept`: instead of a further attempt the message was put on hold.
static void consequence(struct reply *r, const struct index_message *m, const struct index_event *e,
                        const struct store_rcpt_result *result, bool kept, struct buf *out)
{
    struct judge_rule rule;
    char span[TIME_TEXT];
    int64_t wait = result->next_ms - e->wall_ms;
    if (result->outcome.class == OUTCOME_OK)
        return;
    buf_printf(out, "  -> %s", judge_reason(&result->outcome));
    if (known_words(r, e->gateway, &result->outcome, &rule))
        buf_printf(out, " (words of %s)", rule.dialect);
    if (passed(m))
        buf_puts(out, "; its client was told");
    else if (result->state != RCPT_WAITING)
        buf_printf(out, "; %s", rcpt_state_name(result->state));
    else if (kept)
        buf_puts(out, "; kept");
    else if (wait > AT_ONCE_MS)
        buf_printf(out, "; again in %s", time_span(wait, span));
    else
        no_clock(r, m, e, result->index, out);
}

static bool same_end(const struct store_rcpt_result *a, const struct store_rcpt_result *b)
{
    return a->state == b->state && a->outcome.class == b->outcome.class &&
           a->outcome.code == b->outcome.code && strcmp(a->outcome.text, b->outcome.text) == 0;
}

static void whose(struct buf *out, const struct index_message *m, const struct index_event *e,
                  size_t first)
{
    size_t others = 0;
    uint32_t index = e->results[first].index;
    for (size_t i = first + 1; i < e->result_count; i++)
        others += same_end(&e->results[first], &e->results[i]);
    if (m->envelope.count == 1 || index >= m->envelope.count)
        return;
    buf_printf(out, "  [%.*s", STR_FMT(m->envelope.rcpts[index].address));
    if (others > 0)
        buf_printf(out, " and %zu more", others);
    buf_putc(out, ']');
}

static bool told_already(const struct index_event *e, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (same_end(&e->results[i], &e->results[at]))
            return true;
    return false;
}

static void attempt(struct reply *r, const struct index_message *m, const struct index_event *e,
                    bool transcripts)
{
    char when[WORDS_TEXT];
    struct buf line;
    struct str rest = e->transcript, text;
    const struct index_event *next = e + 1 < m->events + m->event_count ? e + 1 : NULL;
    bool kept = next != NULL && next->kind == INDEX_HOLD && next->flag &&
                next->wall_ms - e->wall_ms < AT_ONCE_MS;
    buf_init(&line, LIMIT_CONTROL_LINE);
    for (size_t i = 0; i < e->result_count; i++) {
        if (told_already(e, i))
            continue;
        buf_clear(&line);
        outcome_text(&line, &e->results[i]);
        consequence(r, m, e, &e->results[i], kept, &line);
        whose(&line, m, e, i);
        reply_line(r, "  %s  %-12.*s %s", words_moment(e->wall_ms, when), STR_FMT(e->gateway),
                   buf_cstr(&line));
    }
    if (e->facts.len > 0)
        reply_line(r, "  %23s  %-12s %.*s", "", "", STR_FMT(e->facts));
    while (transcripts && str_split(&rest, '\n', &text))
        reply_line(r, "      %.*s", STR_FMT(text));
    buf_free(&line);
}

static void event(struct reply *r, const struct index_message *m, const struct index_event *e,
                  bool transcripts)
{
    char when[WORDS_TEXT], until[WORDS_TEXT];
    words_moment(e->wall_ms, when);
    const char *by = e->text.len > 0 ? ": " : "";
    switch (e->kind) {
    case INDEX_ACCEPTED: // the head has it
        if (m->envelope.release_ms > m->accepted_ms)
            reply_line(r, "  %s  to be sent at %s, as the client wished", when,
                       words_moment(m->envelope.release_ms, until));
        break;
    case INDEX_SEND_AT:
        if (e->at_ms > e->wall_ms)
            reply_line(r, "  %s  to be sent at %s%s%.*s", when, words_moment(e->at_ms, until), by,
                       STR_FMT(e->text));
        else if (e->text.len > 0)
            reply_line(r, "  %s  to be sent now%s%.*s", when, by, STR_FMT(e->text));
        else
            reply_line(r, "  %s  its age counts from now", when);
        break;
    case INDEX_ATTEMPT:
        if (e->result_count > 0 && e->results[0].state == RCPT_DROPPED)
            reply_line(r, "  %s  dropped by %.*s", when, STR_FMT(e->facts));
        else
            attempt(r, m, e, transcripts);
        break;
    case INDEX_HOLD:
        if (e->value == STORE_HOLD_BIN) {
            reply_line(r, "  %s  %s by %.*s%s", when, e->flag ? "dropped" : "brought back",
                       STR_FMT(e->text), e->flag ? "; `waypost queue restore` brings it back" : "");
            break;
        }
        reply_line(r, "  %s  %s%s%.*s", when, e->flag ? "held" : "released", by, STR_FMT(e->text));
        break;
    case INDEX_NOTE: reply_line(r, "  %s  %.*s", when, STR_FMT(e->text)); break;
    case INDEX_PRIORITY: reply_line(r, "  %s  priority is now %d", when, e->value); break;
    }
}

void timeline_events(struct reply *r, const struct index_message *m, size_t first, bool transcripts)
{
    for (size_t i = first; i < m->event_count; i++)
        event(r, m, &m->events[i], transcripts);
}

static const struct table_column columns[] = {
    {"ACCEPTED", 20, false, false}, {"ID", 8, false, false},      {"STATE", 9, false, false},
    {"GATEWAY", 12, false, false},  {"LAST", 10, false, false},   {"FROM", 26, false, true},
    {"TO", 30, false, true},        {"SUBJECT", 0, false, false}, {NULL},
};

void timeline_list_head(struct reply *r)
{
    reply_table(r, columns, NULL);
}

void timeline_list_line(struct reply *r, const struct index_message *m)
{
    char when[WORDS_TEXT], id[ID_TEXT_SIZE], to[LIMIT_PATH + 8];
    struct buf subject;
    struct str rest = m->recipients, first = {0};
    str_split(&rest, ' ', &first);
    snprintf(to, sizeof(to), "%.*s%s", STR_FMT(first), rest.len > 0 ? " +" : "");
    words_moment(m->accepted_ms, when);
    const struct str cells[] = {
        str_make(when, 19),
        str_of(id_format(m->id, id)),
        str_of(m->held ? "held" : rcpt_state_name(m->state)),
        m->gateway,
        str_of(m->gateway.len > 0 ? outcome_class_name(m->class) : ""),
        sender_text(m->sender),
        str_of(to),
        reply_subject(m->subject, &subject),
    };
    reply_table(r, columns, cells);
    buf_free(&subject);
}

// ---- JSON ----

static void facts_json(struct json *j, const struct index_message *m)
{
    struct buf subject;
    char id[ID_TEXT_SIZE];
    json_text(j, "id", id_format(m->id, id));
    json_text(j, "state", rcpt_state_name(m->state));
    json_bool(j, "held", m->held);
    json_int(j, "accepted_ms", m->accepted_ms);
    json_int(j, "ended_ms", m->ended_ms);
    json_str(j, "sender", m->sender);
    json_str(j, "subject", reply_subject(m->subject, &subject));
    buf_free(&subject);
    json_str(j, "client", m->client);
    json_str(j, "user", m->user);
    json_int(j, "size", (int64_t)m->size);
    json_str(j, "gateway", m->gateway);
    json_text(j, "class", m->gateway.len > 0 ? outcome_class_name(m->class) : NULL);
}

void timeline_list_json(struct reply *r, const struct index_message *m)
{
    struct buf out;
    struct str rest = m->recipients, address;
    struct json j = reply_json(&out);
    facts_json(&j, m);
    json_open_array(&j, "recipients");
    while (str_split(&rest, ' ', &address))
        json_str(&j, NULL, address);
    json_close_array(&j);
    reply_json_send(r, &j);
}

static void result_json(const struct reply *r, struct json *j, const struct index_message *m,
                        struct str gateway, const struct store_rcpt_result *result)
{
    struct judge_rule rule;
    const struct outcome *o = &result->outcome;
    char enhanced[16];
    snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", o->enhanced[0], o->enhanced[1],
             o->enhanced[2]);
    json_open(j, NULL);
    json_str(j, "recipient",
             result->index < m->envelope.count ? m->envelope.rcpts[result->index].address
                                               : STR(""));
    json_text(j, "state", rcpt_state_name(result->state));
    json_int(j, "tries", result->tries);
    json_int(j, "next_ms", result->next_ms);
    json_text(j, "class", outcome_class_name(o->class));
    json_text(j, "reason", judge_reason(o));
    bool known = known_words(r, gateway, o, &rule);
    json_text(j, "known_as", known ? rule.dialect : NULL);
    json_text(j, "blames", known ? judge_scope_name(rule.scope) : NULL);
    json_text(j, "phase", outcome_phase_name(o->phase));
    json_int(j, "code", o->code);
    json_text(j, "enhanced", o->enhanced[0] != 0 ? enhanced : NULL);
    json_text(j, "where", o->where);
    json_text(j, "text", o->text);
    json_close(j);
}

static void event_json(const struct reply *r, struct json *j, const struct index_message *m,
                       const struct index_event *e, bool transcripts)
{
    static const char *const kinds[] = {
        [INDEX_ACCEPTED] = "accepted", [INDEX_ATTEMPT] = "attempt",   [INDEX_HOLD] = "hold",
        [INDEX_NOTE] = "note",         [INDEX_PRIORITY] = "priority", [INDEX_SEND_AT] = "send-at",
    };
    json_open(j, NULL);
    const char *kind = kinds[e->kind];
    if (e->kind == INDEX_HOLD && e->value == STORE_HOLD_BIN)
        kind = e->flag ? "delete" : "restore";
    else if (e->kind == INDEX_HOLD && !e->flag)
        kind = "release";
    json_text(j, "event", kind);
    json_int(j, "at_ms", e->wall_ms);
    if (e->kind == INDEX_ATTEMPT) {
        json_str(j, "gateway", e->gateway);
        json_str(j, "facts", e->facts);
        json_open_array(j, "results");
        for (size_t i = 0; i < e->result_count; i++)
            result_json(r, j, m, e->gateway, &e->results[i]);
        json_close_array(j);
    }
    if (e->text.len > 0)
        json_str(j, "text", e->text);
    if (e->kind == INDEX_PRIORITY)
        json_int(j, "value", e->value);
    if (e->kind == INDEX_SEND_AT)
        json_int(j, "send_ms", e->at_ms);
    if (e->kind == INDEX_ACCEPTED && m->envelope.release_ms != 0)
        json_int(j, "send_ms", m->envelope.release_ms);
    if (transcripts && e->transcript.len > 0)
        json_str(j, "transcript", e->transcript);
    json_close(j);
}

void timeline_json(struct reply *r, const struct index_message *m, bool transcripts)
{
    struct buf out;
    struct json j = reply_json(&out);
    facts_json(&j, m);
    json_str(&j, "listener", m->envelope.listener);
    json_open_array(&j, "recipients");
    for (size_t i = 0; i < m->envelope.count; i++) {
        json_open(&j, NULL);
        json_str(&j, "address", m->envelope.rcpts[i].address);
        json_text(&j, "state", rcpt_state_name((enum rcpt_state)m->states[i]));
        json_close(&j);
    }
    json_close_array(&j);
    json_open_array(&j, "events");
    for (size_t i = 0; i < m->event_count; i++)
        event_json(r, &j, m, &m->events[i], transcripts);
    json_close_array(&j);
    reply_json_send(r, &j);
}
