// SPDX-License-Identifier: ISC
// Mail exchangers.
#include "deliver/mx.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "mail/address.h"
#include "sys/clock.h"

#include <stdio.h>

struct mx {
    char domain[LIMIT_DOMAIN + 1];
    const char *self;
    struct names_query *query;
    struct defer later;
    void (*done)(void *ctx, const struct mx_answer *answer);
    void *ctx;
    struct mx_answer answer;
};

bool mx_literal(struct str domain, struct net_addr *addr_out)
{
    if (domain.len < 2 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
        return false;
    struct str inner = str_make(domain.ptr + 1, domain.len - 2);
    bool six = str_istarts(inner, STR("IPv6:"));
    if (six)
        inner = str_make(inner.ptr + 5, inner.len - 5);
    return net_addr_parse_ip(inner, addr_out) && (addr_out->family == NET_IPV6) == six;
}

__attribute__((format(printf, 5, 6))) static void fail(struct mx_answer *out,
                                                       enum outcome_class class, uint8_t subject,
                                                       uint8_t detail, const char *format, ...)
{
    struct outcome *o = &out->failure;
    o->class = class;
    o->scope = SCOPE_DESTINATION;
    o->phase = PHASE_RESOLVE;
    if (class == OUTCOME_REFUSED || class == OUTCOME_NO_RECORD) {
        o->enhanced[0] = 5;
        o->enhanced[1] = subject;
        o->enhanced[2] = detail;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(o->text, sizeof(o->text), format, args);
    va_end(args);
}

static void shuffle(struct mx_host *hosts, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)random_below(i);
        struct mx_host h = hosts[i - 1];
        hosts[i - 1] = hosts[j];
        hosts[j] = h;
    }
}

// The records stand sorted by preference.
static void take_records(const char *domain, const struct names_answer *answer, const char *self,
                         struct mx_answer *out)
{
    size_t usable = 0;
    bool loop = false;
    for (size_t i = 0; i < answer->count && out->count < LIMIT_MX; i++) {
        const struct names_record *r = &answer->records[i];
        struct net_addr ignored;
        if (r->name[0] == '\0' || net_addr_parse_ip(str_of(r->name), &ignored))
            continue; // an address is no host name (RFC 5321 section 5.1)
        usable++;
        if (self != NULL && str_ieq(str_of(r->name), str_of(self))) {
            // Whoever is not preferred to us would only give it back to us.
            while (out->count > 0 && out->hosts[out->count - 1].preference >= r->preference)
                out->count--;
            loop = true;
            break;
        }
        struct mx_host *h = &out->hosts[out->count++];
        *h = (struct mx_host){.preference = r->preference};
        snprintf(h->name, sizeof(h->name), "%s", r->name);
    }
    for (size_t from = 0, to; from < out->count; from = to) {
        for (to = from; to < out->count; to++)
            if (out->hosts[to].preference != out->hosts[from].preference)
                break;
        shuffle(out->hosts + from, to - from);
    }
    if (out->count > 0)
        return;
    if (loop)
        fail(out, OUTCOME_REFUSED, 4, 6, "mail for %s loops back to this machine", domain);
    else if (usable == 0 && answer->count == 1 && answer->records[0].name[0] == '\0')
        fail(out, OUTCOME_REFUSED, 1, 10, "%s takes no mail (null MX)", domain);
    else
        fail(out, OUTCOME_NO_RECORD, 4, 4, "the MX records of %s name no host", domain);
}

void mx_order(const char *domain, const struct names_answer *answer, const char *self,
              struct mx_answer *out)
{
    *out = (struct mx_answer){0};
    switch (answer->status) {
    case NAMES_OK:
        if (answer->count > 0) {
            take_records(domain, answer, self, out);
            break;
        }
        // fall through
    case NAMES_NODATA:
        out->count = 1;
        out->hosts[0].implicit = true;
        snprintf(out->hosts[0].name, sizeof(out->hosts[0].name), "%s", domain);
        break;
    case NAMES_NXDOMAIN:
        fail(out, OUTCOME_NO_RECORD, 1, 2, "the domain %s does not exist", domain);
        break;
    case NAMES_FAILED:
    case NAMES_BOGUS:
        fail(out, OUTCOME_DNS, 0, 0, "the mail servers of %s cannot be found for now: %s", domain,
             answer->why);
        break;
    }
}

static void on_answer(void *ctx, const struct names_answer *answer)
{
    struct mx *mx = ctx;
    mx->query = NULL;
    mx_order(mx->domain, answer, mx->self, &mx->answer);
    mx->done(mx->ctx, &mx->answer);
}

static void on_later(void *ctx)
{
    struct mx *mx = ctx;
    mx->done(mx->ctx, &mx->answer);
}

struct mx *mx_find(struct loop *loop, struct names *names, const char *domain, const char *self,
                   void (*done)(void *ctx, const struct mx_answer *answer), void *ctx)
{
    struct mx *mx = xcalloc(1, sizeof(*mx));
    mx->self = self;
    mx->done = done;
    mx->ctx = ctx;
    if (address_domain_to_ascii(str_of(domain), mx->domain)) {
        mx->query = names_lookup(names, mx->domain, NAMES_MX, on_answer, mx);
    } else {
        struct buf shown;
        buf_init(&shown, 4 * LIMIT_DOMAIN);
        utf8_escape(&shown, str_of(domain));
        fail(&mx->answer, OUTCOME_REFUSED, 1, 2, "%s is no domain", buf_cstr(&shown));
        buf_free(&shown);
        loop_defer(loop, &mx->later, on_later, mx);
    }
    return mx;
}

void mx_free(struct mx **mx)
{
    if (*mx == NULL)
        return;
    names_cancel(&(*mx)->query);
    defer_cancel(&(*mx)->later);
    xfree(*mx);
    *mx = NULL;
}
