// SPDX-License-Identifier: ISC
// A DNS answer packet, read without trusting it (RFC 1035 section 4.1). The walk over sections and
// compressed names is libresolv's, which bounds it by the packet; what records say is checked here.
#include "sys/names_parse.h"

#include <arpa/nameser.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TTL_MOST = 7 * 24 * 3600 };

struct reading {
    ns_msg msg;
    enum names_type type;
    struct arena *arena;
    struct names_record *records;
    size_t count;
    size_t unusable;
    uint32_t ttl;
};

bool names_host(const char *text, char out[256])
{
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len > 255)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_alnum(text[i]) && text[i] != '-' && text[i] != '.' && text[i] != '_')
            return false;
        if (text[i] == '.' && (i == 0 || text[i - 1] == '.'))
            return false;
        out[i] = ascii_lower(text[i]);
    }
    out[len] = '\0';
    return true;
}

static void note_ttl(struct reading *r, uint32_t ttl)
{
    // With the top bit set it means zero (RFC 2181 section 8).
    if (ttl > INT32_MAX)
        ttl = 0;
    if (ttl < r->ttl)
        r->ttl = ttl;
}

// The name at `at`, which must end exactly where the record does. False when it is malformed;
// *usable_out false when it is no host name.
static bool read_name(struct reading *r, const ns_rr *rr, size_t skip, char out[256],
                      bool *usable_out)
{
    char text[NS_MAXDNAME];
    const unsigned char *rdata = ns_rr_rdata(*rr);
    size_t len = ns_rr_rdlen(*rr);
    if (len <= skip)
        return false;
    int used = ns_name_uncompress(ns_msg_base(r->msg), ns_msg_end(r->msg), rdata + skip, text,
                                  sizeof(text));
    if (used < 0 || (size_t)used != len - skip)
        return false;
    *usable_out = names_host(text, out);
    return true;
}

static bool read_addr(const ns_rr *rr, enum net_family family, size_t width,
                      struct names_record *record)
{
    if (ns_rr_rdlen(*rr) != width)
        return false;
    record->addr.family = family;
    memcpy(record->addr.bytes, ns_rr_rdata(*rr), width);
    return true;
}

static bool read_text(struct reading *r, const ns_rr *rr, struct names_record *record)
{
    const unsigned char *p = ns_rr_rdata(*rr), *end = p + ns_rr_rdlen(*rr);
    char *joined = arena_alloc(r->arena, (size_t)ns_rr_rdlen(*rr) + 1);
    size_t len = 0;
    while (p < end) {
        size_t part = *p++;
        if (part > (size_t)(end - p))
            return false;
        memcpy(joined + len, p, part);
        len += part;
        p += part;
    }
    record->data = str_make(joined, len);
    return true;
}

static bool read_record(struct reading *r, const ns_rr *rr)
{
    if (r->count == NAMES_RECORDS_MAX)
        return true;
    struct names_record record = {0};
    bool usable = true, ok = false;
    switch (r->type) {
    case NAMES_A: ok = read_addr(rr, NET_IPV4, 4, &record); break;
    case NAMES_AAAA: ok = read_addr(rr, NET_IPV6, 16, &record); break;
    case NAMES_PTR: ok = read_name(r, rr, 0, record.name, &usable); break;
    case NAMES_MX:
        ok = read_name(r, rr, 2, record.name, &usable);
        if (ok)
            record.preference = (uint16_t)ns_get16(ns_rr_rdata(*rr));
        break;
    case NAMES_TXT: ok = read_text(r, rr, &record); break;
    case NAMES_TLSA:
        ok = ns_rr_rdlen(*rr) >= 4; // usage, selector, matching type, data
        record.data =
            arena_dup(r->arena, str_make((const char *)ns_rr_rdata(*rr), (size_t)ns_rr_rdlen(*rr)));
        break;
    }
    if (!ok)
        return false;
    note_ttl(r, ns_rr_ttl(*rr));
    if (usable)
        r->records[r->count++] = record;
    else
        r->unusable++;
    return true;
}

// Moves `owner` to the end of its CNAME chain; a chain longer than we follow has no records there.
static bool follow(struct reading *r, char owner[NS_MAXDNAME])
{
    for (int links = 0; links < NAMES_CNAMES_MAX; links++) {
        bool moved = false;
        for (int i = 0; i < ns_msg_count(r->msg, ns_s_an) && !moved; i++) {
            ns_rr rr;
            if (ns_parserr(&r->msg, ns_s_an, i, &rr) != 0)
                return false;
            if (ns_rr_type(rr) != ns_t_cname || strcasecmp(ns_rr_name(rr), owner) != 0)
                continue;
            if (ns_name_uncompress(ns_msg_base(r->msg), ns_msg_end(r->msg), ns_rr_rdata(rr), owner,
                                   NS_MAXDNAME) < 0)
                return false;
            note_ttl(r, ns_rr_ttl(rr));
            moved = true;
        }
        if (!moved)
            break;
    }
    return true;
}

static bool read_answers(struct reading *r)
{
    char owner[NS_MAXDNAME];
    ns_rr rr;
    if (ns_msg_count(r->msg, ns_s_qd) != 1 || ns_parserr(&r->msg, ns_s_qd, 0, &rr) != 0)
        return false;
    snprintf(owner, sizeof(owner), "%s", ns_rr_name(rr));
    if (!follow(r, owner))
        return false;
    size_t most = ns_msg_count(r->msg, ns_s_an);
    if (most > NAMES_RECORDS_MAX)
        most = NAMES_RECORDS_MAX;
    r->records = arena_alloc(r->arena, (most + 1) * sizeof(*r->records));
    for (int i = 0; i < ns_msg_count(r->msg, ns_s_an); i++) {
        if (ns_parserr(&r->msg, ns_s_an, i, &rr) != 0)
            return false;
        if (ns_rr_class(rr) != ns_c_in || (int)ns_rr_type(rr) != (int)r->type ||
            strcasecmp(ns_rr_name(rr), owner) != 0)
            continue;
        if (!read_record(r, &rr))
            return false;
    }
    return true;
}

// How long "there is none" holds (RFC 2308 section 5).
static void read_negative_ttl(struct reading *r)
{
    for (int i = 0; i < ns_msg_count(r->msg, ns_s_ns); i++) {
        ns_rr rr;
        if (ns_parserr(&r->msg, ns_s_ns, i, &rr) != 0)
            return;
        if (ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < 22)
            continue;
        note_ttl(r, ns_rr_ttl(rr));
        note_ttl(r, (uint32_t)ns_get32(ns_rr_rdata(rr) + ns_rr_rdlen(rr) - 4));
        return;
    }
    r->ttl = 0;
}

static int by_preference(const void *a, const void *b)
{
    const struct names_record *x = a, *y = b;
    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void failed(struct names_answer *answer, const char *why)
{
    answer->status = NAMES_FAILED;
    answer->count = 0;
    snprintf(answer->why, sizeof(answer->why), "%s", why);
}

static void conclude(struct reading *r, struct names_answer *answer)
{
    static const char *const refusals[] = {
        [ns_r_formerr] = "the name server did not understand the question (FORMERR)",
        [ns_r_servfail] = "the name servers could not answer (SERVFAIL)",
        [ns_r_notimpl] = "the name server does not know this type of question (NOTIMP)",
        [ns_r_refused] = "the name server refused to answer (REFUSED)",
    };
    unsigned rcode = ns_msg_getflag(r->msg, ns_f_rcode);
    if (rcode != ns_r_noerror && rcode != ns_r_nxdomain) {
        bool known = rcode < sizeof(refusals) / sizeof(refusals[0]) && refusals[rcode] != NULL;
        failed(answer, known ? refusals[rcode] : "the name server answered with an error");
        return;
    }
    if (r->count == 0 && r->unusable > 0) {
        failed(answer, "the answer has only names that are not host names");
        return;
    }
    if (r->count == 0)
        read_negative_ttl(r);
    else if (r->type == NAMES_MX)
        qsort(r->records, r->count, sizeof(*r->records), by_preference);
    answer->status = r->count > 0             ? NAMES_OK
                     : rcode == ns_r_nxdomain ? NAMES_NXDOMAIN
                                              : NAMES_NODATA;
    answer->ttl_s = r->ttl;
    answer->count = r->count;
    answer->records = r->records;
}

void names_parse(const unsigned char *packet, size_t len, enum names_type type, struct arena *arena,
                 struct names_answer *answer_out)
{
    *answer_out = (struct names_answer){0};
    struct reading r = {.type = type, .arena = arena, .ttl = TTL_MOST};
    if (len > NS_MAXMSG || ns_initparse(packet, (int)len, &r.msg) != 0 || !read_answers(&r))
        failed(answer_out, "the answer of the name server is malformed");
    else
        conclude(&r, answer_out);
}
