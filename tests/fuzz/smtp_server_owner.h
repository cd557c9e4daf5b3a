// SPDX-License-Identifier: ISC
// An owner of the SMTP server machine for the fuzzers: answers by what it is asked, sums up what it
// was told, and checks what must hold whatever came in.
#pragma once

#include "base/mem.h"
#include "proto/smtp_dot.h"
#include "proto/smtp_server.h"

#include <assert.h>

struct owner {
    struct smtp_server *s;
    struct buf out;
    uint64_t sum;   // of everything it was told
    uint64_t start; // the same, before the content: how much of one that is refused is told depends
                    // on the pieces
    bool late;      // answers come later
    bool open, begun, ended;
    bool binary;
    unsigned rcpts;
    int verdict;
    struct smtp_server_reply reply;
    struct smtp_dot dot;
};

static inline void owner_note(struct owner *o, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        o->sum = (o->sum ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
}

static inline int owner_answer(struct owner *o, int verdict, const struct smtp_server_reply *reply)
{
    if (!o->late)
        return verdict;
    o->verdict = verdict;
    o->reply = *reply;
    return 0;
}

static int owner_mail(void *ctx, const struct smtp_server_mail *m, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    assert(!o->open);
    owner_note(o, m->sender->text, m->sender->len);
    o->open = m->sender->len != 1;
    o->begun = o->ended = false;
    o->rcpts = 0;
    o->binary = m->params->body == BODY_BINARYMIME;
    if (!o->open)
        smtp_server_reply_set(reply, 550, "5.7.1", "no");
    return owner_answer(o, o->open ? 1 : -1, reply);
}

static int owner_rcpt(void *ctx, const struct smtp_server_rcpt *r, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    assert(o->open && !o->begun && r->address->len > 0);
    for (size_t i = 0; i < r->address->len; i++)
        assert((unsigned char)r->address->text[i] >= 0x20 && r->address->text[i] != 0x7f);
    owner_note(o, r->address->text, r->address->len);
    owner_note(o, r->params->orcpt, strlen(r->params->orcpt));
    bool yes = r->address->text[0] != 'x';
    o->rcpts += yes;
    if (!yes)
        smtp_server_reply_set(reply, 550, "5.1.1", "no");
    return owner_answer(o, yes ? 1 : -1, reply);
}

static int owner_begin(void *ctx, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    assert(o->open && !o->begun && o->rcpts > 0);
    o->begun = true;
    o->dot = (struct smtp_dot){0};
    o->start = o->sum;
    return owner_answer(o, 1, reply);
}

static int owner_data(void *ctx, const char *bytes, size_t len, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    assert(o->open && o->begun);
    owner_note(o, bytes, len);
    smtp_dot_watch(&o->dot, str_make(bytes, len));
    return owner_answer(o, 1, reply);
}

static int owner_end(void *ctx, struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    assert(o->open && o->begun);
    // What is kept is whole lines, whatever came.
    assert(o->binary ||
           (!o->dot.bare_cr && !o->dot.bare_lf && !o->dot.nul && smtp_dot_at_line_start(&o->dot)));
    owner_note(o, "end", 3);
    o->open = false;
    return owner_answer(o, 1, reply);
}

static void owner_abort(void *ctx)
{
    struct owner *o = ctx;
    assert(o->open);
    if (o->begun)
        o->sum = o->start;
    o->open = false;
}

static int owner_starttls(void *ctx, struct smtp_server_reply *reply)
{
    return owner_answer(ctx, 1, reply);
}

static int owner_auth(void *ctx, const char *user, const char *password,
                      struct smtp_server_reply *reply)
{
    struct owner *o = ctx;
    owner_note(o, user, strlen(user));
    owner_note(o, password, strlen(password));
    if (password[0] == 'x')
        smtp_server_reply_set(reply, 535, "5.7.8", "no");
    return owner_answer(o, password[0] == 'x' ? -1 : 1, reply);
}

static const struct smtp_server_ops owner_ops = {owner_mail,     owner_rcpt, owner_begin,
                                                 owner_data,     owner_end,  owner_abort,
                                                 owner_starttls, owner_auth};

static inline void owner_open(struct owner *o, const struct smtp_server_settings *set, bool late)
{
    *o = (struct owner){.late = late};
    buf_init(&o->out, 8 << 20);
    o->s = smtp_server_new(set, &owner_ops, o);
    smtp_server_greet(o->s, &o->out);
}

static inline void owner_close(struct owner *o)
{
    smtp_server_free(&o->s);
    assert(!o->open);
    buf_free(&o->out);
}

static inline void owner_step(struct owner *o)
{
    if (o->verdict == 0)
        return;
    int verdict = o->verdict;
    o->verdict = 0;
    smtp_server_answer(o->s, verdict, &o->reply, &o->out);
}

// In pieces whose sizes come round and round from `sizes`, each a copy, so that nothing is read
// beyond it; what is not taken is offered again with the next piece.
static inline void owner_feed(struct owner *o, struct str in, struct str sizes)
{
    size_t from = 0, upto = 0, turn = 0;
    while (upto < in.len && !smtp_server_closed(o->s)) {
        size_t n = sizes.len > 0 ? (unsigned char)sizes.ptr[turn++ % sizes.len] : 0;
        upto = n == 0 || n > in.len - upto ? in.len : upto + n;
        size_t taken;
        do {
            owner_step(o);
            char *copy = xmalloc(upto - from + 1);
            memcpy(copy, in.ptr + from, upto - from);
            taken = smtp_server_input(o->s, copy, upto - from, &o->out);
            xfree(copy);
            assert(taken <= upto - from);
            from += taken;
        } while (o->verdict != 0 || (taken > 0 && from < upto));
    }
    assert(!o->out.full);
}
