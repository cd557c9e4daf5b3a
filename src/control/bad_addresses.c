// SPDX-License-Identifier: ISC
// Addresses that failed.
#include "control/bad_addresses.h"

#include "base/base64.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/timefmt.h"

#include <stdio.h>

bool bad_address(const struct outcome *o)
{
    if (o->class == OUTCOME_NO_RECORD)
        return o->scope == SCOPE_RECIPIENT;
    if (o->class != OUTCOME_REFUSED || (o->phase != PHASE_RCPT && o->phase != PHASE_RESOLVE))
        return false;
    if (o->enhanced[0] != 0)
        return o->enhanced[1] == 1 || (o->phase == PHASE_RESOLVE && o->enhanced[1] == 4);
    return o->code == 550 || o->code == 551 || o->code == 553;
}

// ---- Finding ----

struct search {
    struct index *index;
    struct arena *arena; // of the answer
    struct map *seen;
    struct str own;
    bool invalid;
    struct bad_address *list;
    size_t count, room;
};

static void keep(struct search *s, struct str address, const struct index_message *m,
                 const struct index_event *e, const struct store_rcpt_result *r)
{
    if (s->count == s->room) {
        size_t room = s->room > 0 ? 2 * s->room : 64;
        struct bad_address *list = arena_alloc(s->arena, room * sizeof(*list));
        if (s->count > 0)
            memcpy(list, s->list, s->count * sizeof(*list));
        s->list = list;
        s->room = room;
    }
    struct str copy = arena_dup(s->arena, address);
    s->list[s->count++] = (struct bad_address){.address = copy,
                                               .id = m->id,
                                               .wall_ms = e->wall_ms,
                                               .gateway = arena_str(s->arena, e->gateway),
                                               .outcome = r->outcome};
    map_put(s->seen, copy, s);
}

// The last word about a recipient; NULL: nothing was ever tried.
static const struct store_rcpt_result *last_word(const struct index_message *m, size_t rcpt,
                                                 const struct index_event **event_out)
{
    const struct store_rcpt_result *last = NULL;
    for (size_t i = 0; i < m->event_count; i++) {
        const struct index_event *e = &m->events[i];
        for (size_t k = 0; e->kind == INDEX_ATTEMPT && k < e->result_count; k++) {
            if (e->results[k].index != rcpt || e->results[k].outcome.class == OUTCOME_OK)
                continue;
            last = &e->results[k];
            *event_out = e;
        }
    }
    return last;
}

static void look_into(struct search *s, const struct index_message *m)
{
    for (size_t i = 0; i < m->envelope.count; i++) {
        const struct index_event *e = NULL;
        struct str address = m->envelope.rcpts[i].address;
        bool failed = m->states[i] == RCPT_RETURNED || m->states[i] == RCPT_BAD;
        if (!failed || map_get(s->seen, address) != NULL)
            continue;
        const struct store_rcpt_result *r = last_word(m, i, &e);
        if (r != NULL && (!s->invalid || bad_address(&r->outcome)))
            keep(s, address, m, e, r);
    }
}

static bool look_at_page(struct search *s, const struct index_message *page, size_t n,
                         struct err *err)
{
    struct arena *arena = arena_new();
    struct index_message m;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (s->own.len > 0 && !str_eq(page[i].client, s->own))
            continue;
        int found = index_get(s->index, page[i].id, arena, &m, err);
        ok = found >= 0;
        if (found == 1)
            look_into(s, &m);
        arena_clear(arena);
    }
    arena_free(&arena);
    return ok;
}

bool bad_addresses_find(struct index *index, const struct index_filter *filter, struct str own,
                        bool invalid, struct arena *arena, struct bad_address **list_out,
                        size_t *count_out, struct err *err)
{
    enum { PAGE = 500 };
    struct search s = {
        .index = index, .arena = arena, .seen = map_new(), .own = own, .invalid = invalid};
    struct index_filter page = *filter;
    struct arena *of_page = arena_new();
    struct index_message *found;
    size_t n, left = filter->limit;
    bool ok = true;
    page.folder = INDEX_FAILED;
    do {
        page.limit = left < PAGE ? left : PAGE;
        arena_clear(of_page);
        ok = index_find(index, &page, of_page, &found, &n, err) && look_at_page(&s, found, n, err);
        if (ok && n > 0)
            page.before_id = found[n - 1].id;
        left -= ok ? n : left;
    } while (ok && left > 0 && n == page.limit);
    arena_free(&of_page);
    map_free(&s.seen);
    *list_out = s.list;
    *count_out = s.count;
    return ok;
}

// ---- Telling ----

static void put_cell(struct buf *out, struct str text, bool last)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            buf_putc(out, '"');
        buf_putc(out, text.ptr[i]);
    }
    buf_puts(out, last ? "\"" : "\",");
}

static void tell_csv(struct reply *r, const struct bad_address *a)
{
    struct buf line;
    char when[TIME_TEXT], id[ID_TEXT_SIZE], code[16] = "", enhanced[16] = "";
    const struct outcome *o = &a->outcome;
    if (o->code != 0)
        snprintf(code, sizeof(code), "%u", o->code);
    if (o->enhanced[0] != 0)
        snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", o->enhanced[0], o->enhanced[1],
                 o->enhanced[2]);
    const struct str cells[] = {a->address,
                                bad_address(o) ? STR("invalid") : STR("failed"),
                                str_of(time_iso(a->wall_ms, when)),
                                str_of(id_format(a->id, id)),
                                str_of(a->gateway),
                                str_of(outcome_class_name(o->class)),
                                str_of(code),
                                str_of(enhanced),
                                str_of(o->text)};
    size_t n = sizeof(cells) / sizeof(cells[0]);
    buf_init(&line, LIMIT_CONTROL_LINE);
    for (size_t i = 0; i < n; i++)
        put_cell(&line, cells[i], i + 1 == n);
    reply_line(r, "%s", buf_cstr(&line));
    buf_free(&line);
}

static void tell_json(struct reply *r, const struct bad_address *a)
{
    struct buf out;
    char id[ID_TEXT_SIZE];
    struct json j = reply_json(&out);
    json_str(&j, "address", a->address);
    json_bool(&j, "invalid", bad_address(&a->outcome));
    json_int(&j, "wall_ms", a->wall_ms);
    json_text(&j, "id", id_format(a->id, id));
    json_text(&j, "gateway", a->gateway);
    json_text(&j, "class", outcome_class_name(a->outcome.class));
    json_int(&j, "code", a->outcome.code);
    json_text(&j, "text", a->outcome.text);
    reply_json_send(r, &j);
}

void bad_addresses_tell(struct reply *r, const struct bad_address *list, size_t count, bool csv)
{
    if (csv && !r->json)
        reply_line(r, "address,verdict,when,id,gateway,class,code,enhanced,text");
    for (size_t i = 0; i < count; i++) {
        if (r->json)
            tell_json(r, &list[i]);
        else if (csv)
            tell_csv(r, &list[i]);
        else
            reply_line(r, "%.*s", STR_FMT(list[i].address));
    }
}
