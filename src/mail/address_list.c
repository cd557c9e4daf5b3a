// SPDX-License-Identifier: ISC
// Address lists: splits off one item a time, dropping comments and blanks, and gives what is left
// to the address parser.
#include "mail/address_list.h"

// Text with a maximum that remembers having been cut.
struct gathered {
    size_t len;
    bool cut;
    char text[LIMIT_PATH];
};

struct item {
    struct gathered plain, angle; // outside and inside of <>
    unsigned comment;             // depth
    bool quote, bracket;          // inside of "" or []
    bool in_angle, angle_done, twice;
    bool gap;   // blanks or a comment since the last character
    bool words; // two words where an address has one
};

static void gather(struct item *it, char c)
{
    struct gathered *to = it->in_angle ? &it->angle : &it->plain;
    if (to->len == LIMIT_PATH) {
        to->cut = true;
        return;
    }
    char last = to->len > 0 ? to->text[to->len - 1] : '@';
    if (it->gap && last != '.' && last != '@' && c != '.' && c != '@')
        it->words = it->words || !it->in_angle;
    it->gap = false;
    to->text[to->len++] = c;
}

// Inside of a comment, "" or []. Returns the characters taken, 0 when in none.
static size_t enclosed(struct item *it, const char *p, size_t n)
{
    bool pair = p[0] == '\\' && n > 1;
    if (it->comment > 0) {
        it->comment += p[0] == '(' ? 1u : p[0] == ')' ? -1u : 0u;
        it->gap = true;
        return pair ? 2 : 1;
    }
    if (!it->quote && !it->bracket)
        return 0;
    if (p[0] == '\r' || p[0] == '\n')
        return 1; // folding
    gather(it, p[0]);
    if (pair)
        gather(it, p[1]);
    it->quote = it->quote && p[0] != '"';
    it->bracket = it->bracket && p[0] != ']';
    return pair ? 2 : 1;
}

static void open_angle(struct item *it)
{
    it->twice = it->twice || it->in_angle || it->angle_done;
    it->in_angle = true;
    it->gap = false;
}

static void outside(struct item *it, char c)
{
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n': it->gap = true; break;
    case '(': it->comment = 1; break;
    case '<': open_angle(it); break;
    case '>':
        it->twice = it->twice || !it->in_angle;
        it->angle_done = true;
        it->in_angle = false;
        break;
    default:
        it->quote = c == '"';
        it->bracket = c == '[';
        gather(it, c);
    }
}

// Takes one item off the front: up to its ',' or ';', or the ':' that shows it to be a group's
// name. False for such a name.
static bool take_item(struct str *rest, struct item *it)
{
    while (rest->len > 0) {
        size_t n = enclosed(it, rest->ptr, rest->len);
        char c = rest->ptr[0];
        bool end = n == 0 && !it->in_angle && (c == ',' || c == ';' || c == ':');
        if (n == 0 && !end)
            outside(it, c);
        n = n > 0 ? n : 1;
        rest->ptr += n;
        rest->len -= n;
        if (end)
            return c != ':';
    }
    return true;
}

static const char *fault_of(const struct item *it)
{
    const struct gathered *used = it->angle_done ? &it->angle : &it->plain;
    return it->comment > 0                ? "a comment is not closed"
           : it->quote                    ? "a quote is not closed"
           : it->bracket                  ? "an address literal is not closed"
           : it->in_angle                 ? "'>' is missing"
           : it->twice                    ? "more than one <> in one address"
           : used->cut                    ? "the address is too long"
           : it->words && !it->angle_done ? "words, but no address"
                                          : NULL;
}

static void reset(struct item *it)
{
    it->plain.len = it->angle.len = 0;
    it->plain.cut = it->angle.cut = false;
    it->comment = 0;
    it->quote = it->bracket = it->in_angle = it->angle_done = it->twice = it->gap = it->words =
        false;
}

enum address_list_step address_list_next(struct address_list *list, struct address *a_out,
                                         struct str *item_out, const char **why_out)
{
    struct item it;
    while (list->rest.len > 0) {
        const char *begin = list->rest.ptr;
        reset(&it);
        bool address = take_item(&list->rest, &it);
        const char *why = fault_of(&it);
        // A group's name may be several words.
        if (!address && (why == NULL || (it.words && !it.angle_done)))
            continue;
        bool empty = it.plain.len == 0 && !it.angle_done;
        if (why == NULL && empty)
            continue;
        *item_out = str_trim(str_make(begin, (size_t)(list->rest.ptr - begin)));
        const struct gathered *used = it.angle_done ? &it.angle : &it.plain;
        if (why == NULL && address_parse(str_make(used->text, used->len), list->flags, a_out, &why))
            return ADDRESS_LIST_ADDRESS;
        *why_out = why;
        return ADDRESS_LIST_BAD;
    }
    return ADDRESS_LIST_END;
}
