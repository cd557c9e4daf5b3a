// SPDX-License-Identifier: ISC
// The book of all messages.
#include "ledger.h"

#include "base/map.h"
#include "base/mem.h"
#include "sim/world.h"

#include <stdio.h>

enum { CRASH_WINDOW_MS = 60000, CONTENT_MAX = 1 << 20, ASKS_A_MINUTE = 20 };

static struct link messages;
static struct map *by_address; // of struct ledger_rcpt
static struct map *by_sender;  // of struct ledger_message
static unsigned count, faults;
static bool turmoil;

void ledger_new(void)
{
    list_init(&messages);
    by_address = map_new();
    by_sender = map_new();
    count = faults = 0;
    turmoil = false;
}

void ledger_free(void)
{
    struct ledger_message *m;
    list_each (&messages, m, struct ledger_message, all) {
        list_remove(&m->all);
        buf_free(&m->content);
        xfree(m);
    }
    map_free(&by_address);
    map_free(&by_sender);
}

static void fault(const struct ledger_message *m, const char *what, const char *who)
{
    faults++;
    world_note("VIOLATION: message %u: %s: %s", m != NULL ? m->number : 0, what, who);
    fprintf(stderr, "violation: message %u: %s: %s\n", m != NULL ? m->number : 0, what, who);
}

static void add_line(struct buf *out)
{
    size_t len = (size_t)world_below(world_chance(30) ? 900 : 90);
    if (world_chance(80))
        buf_puts(out, world_chance(300) ? ".." : ".");
    for (size_t i = 0; i < len; i++)
        buf_putc(out, (char)(' ' + world_below(95)));
    buf_puts(out, "\r\n");
}

static void write_content(struct ledger_message *m)
{
    struct buf *out = &m->content;
    buf_init(out, CONTENT_MAX);
    for (unsigned i = 0; m->looping && i < 120; i++)
        buf_printf(out,
                   "Received: from hop%u.example by hop%u.example; Sat, 21 Nov 2026 09:07:00 "
                   "+0000\r\n",
                   i, i + 1);
    buf_printf(out, "From: <%s>\r\nTo: <%s>\r\n", m->sender, m->rcpts[0].address);
    buf_printf(out, "Date: Sat, 21 Nov 2026 09:07:00 +0000\r\nMessage-ID: <%u@sim.example>\r\n",
               m->number);
    buf_printf(out, "Subject: message %u\r\n\r\n", m->number);
    uint64_t size = world_below(2000);
    if (world_chance(100))
        size = world_below(40000);
    if (world_chance(15))
        size = 200000 + world_below(300000); // also beyond what is kept in memory
    while (out->len < size)
        add_line(out);
}

struct ledger_message *ledger_add(void)
{
    static const char *const domains[] = {"site.example", "one.direct.example",
                                          "two.direct.example"};
    struct ledger_message *m = xcalloc(1, sizeof(*m));
    m->number = ++count;
    m->looping = world_chance(20);
    snprintf(m->sender, sizeof(m->sender), "s%u@return.example", m->number);
    m->count = world_chance(700) ? 1 : 1 + (size_t)world_below(LEDGER_RCPTS);
    for (size_t i = 0; i < m->count; i++) {
        m->rcpts[i].message = m;
        snprintf(m->rcpts[i].address, sizeof(m->rcpts[i].address), "r%u.%zu@%s", m->number, i,
                 domains[world_below(3)]);
        map_put(by_address, str_of(m->rcpts[i].address), &m->rcpts[i]);
    }
    map_put(by_sender, str_of(m->sender), m);
    write_content(m);
    list_append(&messages, &m->all);
    return m;
}

size_t ledger_count(void)
{
    return count;
}

// ---- Arrivals. ----

// Whole header fields may stand before the content, the first of them the trace field.
static bool only_trace_fields(struct str before)
{
    if (before.len == 0)
        return true;
    if (!str_istarts(before, STR("Received:")) && !str_istarts(before, STR("Return-Path:")))
        return false;
    for (size_t i = 0; i + 3 < before.len; i++) {
        if (memcmp(before.ptr + i, "\r\n\r\n", 4) == 0)
            return false;
    }
    return before.len >= 2 && memcmp(before.ptr + before.len - 2, "\r\n", 2) == 0;
}

static void check_content(struct ledger_rcpt *r, struct str got)
{
    struct str want = buf_str(&r->message->content);
    if (got.len < want.len || memcmp(got.ptr + got.len - want.len, want.ptr, want.len) != 0) {
        fault(r->message, "the content was changed", r->address);
        return;
    }
    if (!only_trace_fields(str_make(got.ptr, got.len - want.len)))
        fault(r->message, "something else than trace fields was put before it", r->address);
}

// RFC 3464: the fields of each recipient stand together.
static void read_report(struct ledger_message *m, struct str text)
{
    struct str line;
    struct ledger_rcpt *about = NULL;
    while (str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (str_istarts(line, STR("Final-Recipient:"))) {
            size_t at = str_find(line, ';');
            struct str address =
                at < line.len ? str_make(line.ptr + at + 1, line.len - at - 1) : STR("");
            about = map_get(by_address, str_trim(address));
            if (about == NULL || about->message != m)
                fault(m, "a report about a stranger", m->sender);
        } else if (str_istarts(line, STR("Action: failed")) && about != NULL) {
            about->returned++;
            world_note("message %u: %s was returned", m->number, about->address);
        }
    }
}

void ledger_ask(const char *server, const char *address)
{
    struct ledger_rcpt *r = map_get(by_address, str_of(address));
    if (r == NULL)
        return;
    if (world_now_ms() - r->asked_since_ms > 60000) {
        r->asked_since_ms = world_now_ms();
        r->asked = 0;
    }
    if (++r->asked == ASKS_A_MINUTE)
        fault(r->message, "offered twenty times in a minute", server);
}

struct ledger_rcpt *ledger_store(const char *server, const char *address, struct str content)
{
    struct ledger_message *m = map_get(by_sender, str_of(address));
    if (m != NULL) {
        read_report(m, content);
        return NULL;
    }
    struct ledger_rcpt *r = map_get(by_address, str_of(address));
    if (r == NULL) {
        fault(NULL, "mail for somebody nobody named", address);
        return NULL;
    }
    r->copies++;
    r->last_copy_ms = world_now_ms();
    world_note("message %u: copy %u for %s arrived at %s", r->message->number, r->copies, address,
               server);
    check_content(r, content);
    return r;
}

void ledger_excuse(struct ledger_rcpt *rcpt, const char *why)
{
    rcpt->excuses++;
    world_note("message %u: %s may come again: %s", rcpt->message->number, rcpt->address, why);
}

void ledger_crash(void)
{
    turmoil = true;
    struct ledger_message *m;
    list_each (&messages, m, struct ledger_message, all) {
        for (size_t i = 0; i < m->count; i++) {
            struct ledger_rcpt *r = &m->rcpts[i];
            if (r->copies > 0 && r->last_copy_ms > world_now_ms() - CRASH_WINDOW_MS)
                ledger_excuse(r, "the crash came just after");
        }
    }
}

void ledger_turmoil(void)
{
    turmoil = true;
}

// ---- Judgement. ----

bool ledger_settled(void)
{
    struct ledger_message *m;
    list_each (&messages, m, struct ledger_message, all) {
        for (size_t i = 0; i < m->count && m->answer == LEDGER_ACCEPTED; i++) {
            if (m->rcpts[i].copies == 0 && m->rcpts[i].returned == 0)
                return false;
        }
    }
    return true;
}

unsigned ledger_faults(void)
{
    return faults;
}

static void judge(struct ledger_rcpt *r)
{
    struct ledger_message *m = r->message;
    unsigned may = m->unknown + r->excuses + (turmoil ? m->put_off : 0);
    if (m->answer == LEDGER_ACCEPTED) {
        may++;
        if (r->copies == 0 && r->returned == 0)
            fault(m, "LOST: answered 250, and neither delivered nor returned", r->address);
        if (r->copies > 0 && r->returned > 0 && may == 1)
            fault(m, "returned although it was delivered", r->address);
    }
    if (r->copies > may && m->answer == LEDGER_REFUSED)
        fault(m, "answered 5xx and delivered", r->address);
    else if (r->copies > may && m->answer == LEDGER_NONE)
        fault(m, "never accepted and delivered", r->address);
    else if (r->copies > may)
        fault(m, "more copies than lost replies and crashes explain", r->address);
}

unsigned ledger_check_all(void)
{
    struct ledger_message *m;
    list_each (&messages, m, struct ledger_message, all) {
        for (size_t i = 0; i < m->count; i++)
            judge(&m->rcpts[i]);
    }
    return faults;
}
