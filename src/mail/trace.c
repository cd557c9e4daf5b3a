// SPDX-License-Identifier: ISC
// The Received field.
#include "mail/trace.h"
#include "base/base64.h"
#include "base/limits.h"
#include "base/netaddr.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "mail/fold.h"

#include <stdio.h>

const char *trace_protocol(const struct trace *t)
{
    // [lmtp][utf8][tls][auth]
    static const char *const words[2][2][2][2] = {
        {{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
         {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}},
        {{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}},
         {{"UTF8LMTP", "UTF8LMTPA"}, {"UTF8LMTPS", "UTF8LMTPSA"}}},
    };
    if (!t->lmtp && !t->esmtp && !t->tls && !t->auth && !t->smtputf8)
        return "SMTP";
    return words[t->lmtp][t->smtputf8][t->tls][t->auth];
}

// Only what a host name or address literal is made of: no blank, bracket of a comment or octet of
// 8 bits gets through. Never empty.
static struct str harmless_name(struct str s, char out[LIMIT_DOMAIN])
{
    size_t n = s.len < LIMIT_DOMAIN ? s.len : LIMIT_DOMAIN;
    for (size_t i = 0; i < n; i++)
        out[i] = ascii_is_alnum(s.ptr[i]) || (s.ptr[i] != '\0' && strchr("-._:[]", s.ptr[i]))
                     ? s.ptr[i]
                     : '?';
    return n > 0 ? str_make(out, n) : STR("unknown");
}

static void put_from(struct fold *f, const struct trace *t, const struct net_addr *addr)
{
    char helo[LIMIT_DOMAIN], ip[NET_ADDR_TEXT], literal[NET_ADDR_TEXT + 16];
    int n = snprintf(literal, sizeof(literal), "([%s%s])", addr->family == NET_IPV6 ? "IPv6:" : "",
                     net_addr_format_ip(addr, ip));
    fold_word(f, STR("from"));
    if (t->helo.len > 0)
        fold_word(f, harmless_name(t->helo, helo));
    else
        fold_word(f, str_make(literal + 1, (size_t)n - 2));
    fold_word(f, str_make(literal, (size_t)n));
    fold_break(f);
}

// Words for a comment: letters, digits and a few signs.
static size_t comment_text(struct str s, char *out, size_t max)
{
    size_t n = s.len < max ? s.len : max;
    for (size_t i = 0; i < n; i++)
        out[i] = ascii_is_alnum(s.ptr[i]) || (s.ptr[i] != '\0' && strchr(" -._:/@=+", s.ptr[i]))
                     ? s.ptr[i]
                     : '?';
    return n;
}

// In one word, so that the mark stays in one line.
static void put_by(struct fold *f, const struct trace *t, bool local)
{
    char host[LIMIT_DOMAIN], whom[64], by[LIMIT_DOMAIN + 128];
    struct str name = harmless_name(t->hostname, host);
    size_t n = comment_text(t->client, whom, sizeof(whom));
    bool say = local && !t->hide_client && n > 0;
    int len = snprintf(by, sizeof(by), "by %.*s " TRACE_MARK "%s%.*s)", STR_FMT(name),
                       say ? ", from " : "", say ? (int)n : 0, whom);
    fold_word(f, str_make(by, (size_t)len));
}

static void put_with(struct fold *f, const struct trace *t)
{
    fold_word(f, STR("with"));
    fold_word(f, str_of(trace_protocol(t)));
    if (!t->tls || t->tls_facts.len == 0)
        return;
    char facts[130] = "(";
    size_t n = 1 + comment_text(t->tls_facts, facts + 1, sizeof(facts) - 2);
    facts[n++] = ')';
    fold_word(f, str_make(facts, n));
}

static void put_for(struct fold *f, const struct trace *t)
{
    if (t->rcpt_count != 1 || t->rcpt.len == 0 || t->rcpt.len > LIMIT_PATH ||
        (!t->smtputf8 && !ascii_only(t->rcpt)))
        return;
    char path[LIMIT_PATH + 8];
    int n = snprintf(path, sizeof(path), "for <%.*s>", STR_FMT(t->rcpt));
    fold_word(f, str_make(path, (size_t)n));
}

bool trace_write(struct buf *out, const struct trace *t)
{
    bool was_full = out->full;
    out->full = false;
    struct net_addr addr;
    bool network = net_addr_parse_ip(t->client, &addr);
    struct fold f = fold_begin(out, "Received:");
    if (network && !t->hide_client)
        put_from(&f, t, &addr);
    put_by(&f, t, !network);
    if (network || t->lmtp || t->esmtp)
        put_with(&f, t);
    char id[ID_TEXT_SIZE + 1], date[TIME_TEXT];
    fold_word(&f, STR("id"));
    id_format(t->id, id);
    fold_word(&f, str_of(id));
    put_for(&f, t);
    buf_putc(out, ';');
    f.column++;
    fold_word(&f, str_of(time_rfc5322(t->wall_ms, t->offset_minutes, date)));
    fold_end(&f);
    bool fitted = !out->full;
    out->full = out->full || was_full;
    return fitted;
}
