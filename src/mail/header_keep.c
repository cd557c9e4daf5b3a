// SPDX-License-Identifier: ISC
// Fields kept with the envelope.
#include "mail/header_keep.h"
#include "mail/encoded_word.h"

enum { RAW_MAX = 4 * LIMIT_KEPT_HEADER }; // encoded words are longer than what they say

// The fields by which mail says how urgent it is, and their words.
static const struct {
    struct str name, word;
    enum { SAYS_URGENT, SAYS_LOW, SAYS_BULK } says;
} words[] = {
    {STR("priority"), STR("urgent"), SAYS_URGENT}, {STR("priority"), STR("non-urgent"), SAYS_LOW},
    {STR("x-priority"), STR("1"), SAYS_URGENT},    {STR("x-priority"), STR("5"), SAYS_LOW},
    {STR("importance"), STR("high"), SAYS_URGENT}, {STR("importance"), STR("low"), SAYS_LOW},
    {STR("precedence"), STR("bulk"), SAYS_BULK},   {STR("precedence"), STR("list"), SAYS_BULK},
    {STR("precedence"), STR("junk"), SAYS_BULK},
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static struct str asked_name(const struct header_keep *k, struct str name)
{
    for (size_t i = 0; i < k->name_count; i++)
        if (str_ieq(name, str_of(k->names[i])))
            return str_of(k->names[i]);
    return STR("");
}

static struct str priority_name(struct str name)
{
    for (size_t i = 0; i < WORDS; i++)
        if (str_ieq(name, words[i].name))
            return words[i].name;
    return STR("");
}

static struct buf *want(void *ctx, struct str name)
{
    struct header_keep *k = ctx;
    k->name = asked_name(k, name);
    k->asked = k->name.len > 0;
    if (!k->asked)
        k->name = priority_name(name);
    if (k->name.len == 0)
        return NULL;
    buf_clear(&k->value);
    return &k->value;
}

// "1 (Highest)" begins with the word 1.
static bool begins_with_word(struct str text, struct str word)
{
    return str_istarts(text, word) && (text.len == word.len || !ascii_is_alnum(text.ptr[word.len]));
}

static void note_priority(struct header_keep *k, struct str text)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (!str_eq(k->name, words[i].name) || !begins_with_word(text, words[i].word))
            continue;
        k->urgent |= words[i].says == SAYS_URGENT;
        k->low |= words[i].says == SAYS_LOW;
        k->bulk |= words[i].says == SAYS_BULK;
    }
}

static void on_field(void *ctx, enum header_field field, uint64_t start, uint64_t end)
{
    struct header_keep *k = ctx;
    if (k->name.len == 0)
        return;
    struct str text = str_trim(buf_str(&k->value));
    note_priority(k, text);
    if (k->asked && k->count < LIMIT_KEPT_HEADERS) {
        struct buf shown;
        buf_init(&shown, LIMIT_KEPT_HEADER);
        encoded_word_show(&shown, text, LIMIT_KEPT_HEADER);
        k->fields[k->count++] =
            (struct envelope_header){k->name, arena_dup(k->arena, str_trim(buf_str(&shown)))};
        buf_free(&shown);
    }
    k->name.len = 0;
}

void header_keep_init(struct header_keep *keep, struct header_scan *scan, const char *const *names,
                      size_t name_count, struct arena *arena)
{
    *keep = (struct header_keep){.names = names, .name_count = name_count, .arena = arena};
    buf_init(&keep->value, RAW_MAX);
    scan->want = want;
    scan->on_field = on_field;
    scan->ctx = keep;
}

void header_keep_end(struct header_keep *keep, struct envelope *e)
{
    buf_free(&keep->value);
    // What is sent to many does not get ahead by saying that it is urgent.
    if (e->priority == PRIORITY_NORMAL && keep->bulk)
        e->priority = PRIORITY_LOW;
    else if (e->priority == PRIORITY_NORMAL && keep->urgent)
        e->priority = PRIORITY_URGENT;
    else if (e->priority == PRIORITY_NORMAL && keep->low)
        e->priority = PRIORITY_LOW;
    if (keep->count == 0)
        return;
    e->headers = arena_alloc(keep->arena, keep->count * sizeof(*e->headers));
    e->header_count = keep->count;
    for (size_t i = 0; i < keep->count; i++) {
        e->headers[i].name = arena_dup(keep->arena, keep->fields[i].name);
        e->headers[i].text = keep->fields[i].text;
    }
}
