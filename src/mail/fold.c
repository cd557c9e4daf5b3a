// SPDX-License-Identifier: ISC
// Folded header fields.
#include "mail/fold.h"

struct fold fold_begin(struct buf *out, const char *name)
{
    buf_puts(out, name);
    return (struct fold){out, strlen(name)};
}

static void put_harmless(struct buf *out, struct str s)
{
    size_t before = out->len;
    if (!buf_add(out, s))
        return;
    for (size_t i = before; i < out->len; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 0x7f)
            out->data[i] = '?';
}

void fold_word(struct fold *f, struct str word)
{
    do {
        struct str part = str_make(word.ptr, word.len < FOLD_WORD ? word.len : FOLD_WORD);
        bool fits = f->column + 1 + part.len <= FOLD_COLUMN;
        buf_puts(f->out, fits ? " " : "\r\n\t");
        // A tab counts as the one octet it is: the 78 of the RFC are characters.
        f->column = (fits ? f->column : 0) + 1 + part.len;
        put_harmless(f->out, part);
        word.ptr += part.len;
        word.len -= part.len;
    } while (word.len > 0);
}

void fold_text(struct fold *f, struct str text)
{
    struct str word;
    while (str_split(&text, ' ', &word))
        if (word.len > 0)
            fold_word(f, word);
}

void fold_break(struct fold *f)
{
    f->column = FOLD_COLUMN;
}

void fold_end(struct fold *f)
{
    buf_puts(f->out, "\r\n");
}
