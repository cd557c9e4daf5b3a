// SPDX-License-Identifier: ISC
// MAIL and RCPT.
#include "proto/smtp_mail.h"

#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "mail/address.h"
#include "mail/xtext.h"

#include <assert.h>

enum { ENVID_MOST = 512, ORCPT_MOST = 1024 }; // before encoding; RFC 3461 asks for 100 and 500

static bool offers(const struct smtp_ehlo *peer, uint32_t cap)
{
    return (peer->caps & cap) != 0;
}

// An address ends where its '>' stands, and its line where its CRLF stands, only if neither is in
// it. The way in has looked at that; here it is looked at once more, because here it would become a
// command.
static bool is_one_path(struct str address)
{
    bool quoted = false;
    for (size_t i = 0; i < address.len; i++) {
        unsigned char c = (unsigned char)address.ptr[i];
        if (c < 0x20 || c == 0x7f)
            return false;
        if (quoted && c == '\\') {
            if (++i == address.len || (unsigned char)address.ptr[i] < 0x20 ||
                address.ptr[i] == 0x7f)
                return false;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == ' ' || c == '<' || c == '>')) {
            return false;
        }
    }
    return !quoted && address.len <= LIMIT_PATH;
}

static void put_path(struct buf *out, struct str address, const struct smtp_ehlo *peer)
{
    buf_putc(out, '<');
    if (offers(peer, SMTP_CAP_SMTPUTF8) || ascii_only(address))
        buf_add(out, address);
    else
        address_to_ascii(address, out);
    buf_putc(out, '>');
}

const struct smtp_obstacle *smtp_rcpt_obstacle(struct str address, const struct smtp_ehlo *peer)
{
    static const struct smtp_obstacle broken = {{5, 1, 3},
                                                "the address cannot be sent: bad syntax"};
    static const struct smtp_obstacle utf8 = {
        {5, 6, 7}, "the address is not ASCII and the next server does not offer SMTPUTF8"};
    if (!is_one_path(address))
        return &broken;
    if (ascii_only(address) || offers(peer, SMTP_CAP_SMTPUTF8))
        return NULL;
    struct buf ascii;
    buf_init(&ascii, LIMIT_PATH);
    bool fits = address_to_ascii(address, &ascii);
    buf_free(&ascii);
    return fits ? NULL : &utf8;
}

const struct smtp_obstacle *smtp_mail_obstacle(const struct envelope *e, uint64_t size,
                                               const struct smtp_ehlo *peer)
{
    static const struct smtp_obstacle large = {
        {5, 3, 4}, "the message is larger than the next server takes (SIZE)"};
    static const struct smtp_obstacle binary = {
        {5, 6, 3}, "the body is binary and the next server does not offer BINARYMIME"};
    static const struct smtp_obstacle future = {
        {5, 5, 4}, "the next server does not keep mail for a later time (FUTURERELEASE)"};
    if (peer->size > 0 && size > peer->size)
        return &large;
    if (e->release_ms != 0 && !offers(peer, SMTP_CAP_FUTURE))
        return &future;
    if (e->body == BODY_BINARYMIME &&
        (!offers(peer, SMTP_CAP_BINARYMIME) || !offers(peer, SMTP_CAP_CHUNKING)))
        return &binary;
    return smtp_rcpt_obstacle(e->sender, peer);
}

void smtp_mail_put(struct buf *out, const struct envelope *e, uint64_t size, bool utf8,
                   const struct smtp_ehlo *peer)
{
    buf_add(out, STR("MAIL FROM:"));
    put_path(out, e->sender, peer);
    if (offers(peer, SMTP_CAP_SIZE) && size > 0)
        buf_printf(out, " SIZE=%llu", (unsigned long long)size);
    if (e->body == BODY_BINARYMIME)
        buf_add(out, STR(" BODY=BINARYMIME"));
    else if (e->body == BODY_8BITMIME && offers(peer, SMTP_CAP_8BITMIME))
        buf_add(out, STR(" BODY=8BITMIME"));
    if ((utf8 || e->smtputf8) && offers(peer, SMTP_CAP_SMTPUTF8))
        buf_add(out, STR(" SMTPUTF8"));
    char moment[TIME_TEXT];
    if (e->release_ms != 0 && e->hold_s > 0)
        buf_printf(out, " HOLDFOR=%u", e->hold_s);
    else if (e->release_ms != 0)
        buf_printf(out, " HOLDUNTIL=%s", time_rfc3339(e->release_ms, moment));
    if (offers(peer, SMTP_CAP_DSN)) {
        if (e->ret != RET_UNSET)
            buf_add(out, e->ret == RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
        if (e->envid.len > 0 && e->envid.len <= ENVID_MOST) {
            buf_add(out, STR(" ENVID="));
            xtext_encode(out, e->envid);
        }
    }
    buf_add(out, STR("\r\n"));
    assert(!out->full);
}

static void put_notify(struct buf *out, unsigned notify)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{NOTIFY_SUCCESS, "SUCCESS"}, {NOTIFY_FAILURE, "FAILURE"}, {NOTIFY_DELAY, "DELAY"}};
    if (notify == 0)
        return;
    buf_add(out, STR(" NOTIFY="));
    if ((notify & NOTIFY_NEVER) != 0) {
        buf_add(out, STR("NEVER"));
        return;
    }
    const char *comma = "";
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((notify & words[i].bit) == 0)
            continue;
        buf_puts(out, comma);
        buf_puts(out, words[i].word);
        comma = ",";
    }
}

void smtp_rcpt_put(struct buf *out, const struct envelope_rcpt *rcpt, const struct smtp_ehlo *peer)
{
    buf_add(out, STR("RCPT TO:"));
    put_path(out, rcpt->address, peer);
    if (offers(peer, SMTP_CAP_DSN)) {
        put_notify(out, rcpt->notify);
        size_t type = str_find(rcpt->orcpt, ';');
        if (type < rcpt->orcpt.len && rcpt->orcpt.len <= ORCPT_MOST) {
            buf_add(out, STR(" ORCPT="));
            xtext_encode(out, str_make(rcpt->orcpt.ptr, type));
            buf_putc(out, ';');
            xtext_encode(out, str_make(rcpt->orcpt.ptr + type + 1, rcpt->orcpt.len - type - 1));
        }
    }
    buf_add(out, STR("\r\n"));
    assert(!out->full);
}
