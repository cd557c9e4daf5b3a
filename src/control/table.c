// SPDX-License-Identifier: ISC
// Widths count characters: each is taken to fill one place.
#include "control/table.h"
#include "base/utf8.h"

enum { REST_LEAST = 24 }; // of the last column, before wide ones grow

static size_t next_len(struct str s)
{
    size_t n = utf8_len(s);
    return n > 0 ? n : 1;
}

static int characters(struct str s)
{
    int n = 0;
    for (; s.len > 0; n++) {
        size_t len = next_len(s);
        s = str_make(s.ptr + len, s.len - len);
    }
    return n;
}

// Octets of the first n characters.
static size_t octets(struct str s, int n)
{
    size_t at = 0;
    for (; n > 0 && at < s.len; n--)
        at += next_len(str_make(s.ptr + at, s.len - at));
    return at;
}

// The begin and the end of an address tell more than its middle.
static void put_cut(struct buf *out, struct str s, int have, int width)
{
    int front = width / 2, back = width - front - 1;
    size_t tail = octets(s, have - back);
    buf_append(out, s.ptr, octets(s, front));
    buf_puts(out, "…");
    buf_append(out, s.ptr + tail, s.len - tail);
}

static void put_cell(struct buf *out, struct str s, const struct table_column *c, int width,
                     bool cut)
{
    int have = characters(s), pad = have < width ? width - have : 0;
    bool last = c->width == 0;
    if (c->right)
        buf_printf(out, "%*s", pad, "");
    if (cut && width > 0 && have > width)
        put_cut(out, s, have, width);
    else
        buf_add(out, s);
    if (!c->right && !last)
        buf_printf(out, "%*s", pad, "");
}

// What a terminal has beyond the least; shared by the wide columns.
static int share(const struct table_column *columns, int terminal, int *rest_out)
{
    int least = 0, wide = 0;
    for (const struct table_column *c = columns; c->title != NULL; c++) {
        least += c->width > 0 ? c->width + 1 : 0;
        wide += c->wide;
    }
    int spare = terminal - least - REST_LEAST;
    int each = spare > 0 && wide > 0 ? spare / (wide + 1) : 0;
    *rest_out = terminal - least - wide * each;
    return each;
}

void table_line(struct buf *out, const struct table_column *columns, const struct str *cells,
                int terminal)
{
    int rest, more = share(columns, terminal, &rest);
    struct buf safe;
    buf_init(&safe, out->max);
    for (const struct table_column *c = columns; c->title != NULL; c++) {
        int width = c->width == 0 ? (terminal > 0 ? rest : 0) : c->width + (c->wide ? more : 0);
        buf_clear(&safe);
        utf8_escape(&safe, cells != NULL ? cells[c - columns] : str_of(c->title));
        if (c != columns)
            buf_putc(out, ' ');
        // Where nothing is left for the rest, it goes on in the terminal's next line.
        put_cell(out, buf_str(&safe), c, width, terminal > 0);
    }
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->len--;
    buf_free(&safe);
}
