// SPDX-License-Identifier: ISC
// The client against any server at all. Byte 0 chooses the settings, byte 1 the size of pieces; in
// the rest, 0xff ends a piece early and what is due is done: a handshake, a body, a transaction.
//
// What must hold whatever the server says: everybody is settled in the end, nothing is sent twice
// as OK and doubt, no password without cover, no mail without the login or the TLS asked for, and
// the sum of the outcomes agrees with what was sent.
#include "proto/smtp_client.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPTS = 3, JOBS = 3 };

struct world {
    struct smtp_client c;
    struct smtp_client_settings set;
    struct envelope envelope;
    struct envelope_rcpt addresses[RCPTS];
    struct outcome outcomes[RCPTS];
    struct smtp_client_rcpt rcpts[RCPTS];
    struct smtp_client_mail mail;
    struct buf said;
    size_t jobs;
    bool busy;
};

static const char body[] = "Subject: x\r\n\r\n.\r\n..y\r\nend\r\n";

static void on_write(void *ctx, const void *bytes, size_t len)
{
    struct world *w = ctx;
    buf_append(&w->said, bytes, len);
    // Commands are looked at as they leave.
    struct str s = str_make(bytes, len);
    bool is_mail = str_starts(s, STR("MAIL"));
    assert(!is_mail || w->set.user == NULL || w->c.logged_in);
    assert(!is_mail || w->set.tls != SMTP_CLIENT_TLS_REQUIRED || w->c.covered);
    assert(!str_starts(s, STR("AUTH")) || w->c.covered || w->set.auth_in_clear);
}

static void check_settled(struct world *w)
{
    if (!w->busy)
        return;
    w->busy = false;
    for (size_t i = 0; i < RCPTS; i++) {
        assert(w->rcpts[i].state == SMTP_RCPT_SETTLED);
        const struct outcome *o = &w->outcomes[i];
        assert(o->class != OUTCOME_OFFLINE);
        assert(o->class != OUTCOME_OK || (o->code >= 200 && o->code < 300));
        assert(memchr(o->text, '\0', sizeof(o->text)) != NULL);
        assert((o->class == OUTCOME_DOUBT) <= (o->phase == PHASE_FINAL));
    }
}

static void start_job(struct world *w)
{
    check_settled(w);
    if (w->jobs++ >= JOBS) {
        smtp_client_quit(&w->c);
        return;
    }
    for (size_t i = 0; i < RCPTS; i++)
        w->outcomes[i].class = OUTCOME_OFFLINE;
    w->busy = true;
    w->mail.at_once = w->jobs == 1;
    buf_clear(&w->said);
    smtp_client_begin(&w->c, &w->mail);
}

// Does what the client asks for; false when it asks for nothing but words.
static bool attend(struct world *w)
{
    switch (smtp_client_need(&w->c)) {
    case SMTP_CLIENT_BODY:
        smtp_client_body(&w->c, body, 10, false);
        if (smtp_client_need(&w->c) == SMTP_CLIENT_BODY)
            smtp_client_body(&w->c, body + 10, sizeof(body) - 11, true);
        return true;
    case SMTP_CLIENT_TLS: smtp_client_tls_ready(&w->c); return true;
    case SMTP_CLIENT_IDLE: start_job(w); return true;
    default: return false;
    }
}

static void init(struct world *w, uint8_t choice)
{
    static const struct str addresses[RCPTS] = {
        {"a@b.example", 11}, {"\xc3\xa9@b.example", 12}, {"\"c d\"@b.example", 15}};
    buf_init(&w->said, 1024 * 1024);
    w->set = (struct smtp_client_settings){
        .lmtp = (choice & 1) != 0,
        .tls = (enum smtp_client_tls)((choice >> 1 & 3) % 3),
        .covered = (choice & 8) != 0,
        .auth_in_clear = (choice & 16) != 0,
        .helo = "fuzz.example",
        .user = (choice & 32) != 0 ? "user" : NULL,
        .password = "password",
        .peer = SCOPE_GATEWAY,
        .where = "x",
        .write = on_write,
        .ctx = w,
    };
    w->envelope.sender = STR("s@b.example");
    w->envelope.body = (choice & 64) != 0 ? BODY_BINARYMIME : BODY_8BITMIME;
    w->envelope.ret = RET_FULL;
    for (size_t i = 0; i < RCPTS; i++) {
        w->addresses[i].address = addresses[i];
        w->addresses[i].notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
        w->rcpts[i].rcpt = &w->addresses[i];
        w->rcpts[i].outcome = &w->outcomes[i];
    }
    w->mail = (struct smtp_client_mail){
        .envelope = &w->envelope, .rcpts = w->rcpts, .count = RCPTS, .size = sizeof(body) - 1};
    smtp_client_init(&w->c, &w->set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct world w = {0};
    init(&w, data[0]);
    size_t piece = 1 + data[1] % 64, at = 2;
    while (at < size && smtp_client_need(&w.c) != SMTP_CLIENT_OVER) {
        size_t n = size - at < piece ? size - at : piece;
        const uint8_t *stop = memchr(data + at, 0xff, n);
        if (stop != NULL)
            n = (size_t)(stop - (data + at));
        smtp_client_feed(&w.c, (const char *)data + at, n);
        at += n + (stop != NULL);
        while (attend(&w))
            ;
    }
    smtp_client_lost(&w.c, SMTP_LOST_NET, "the end of the input");
    assert(smtp_client_need(&w.c) == SMTP_CLIENT_OVER);
    check_settled(&w);
    smtp_client_free(&w.c);
    buf_free(&w.said);
    return 0;
}
