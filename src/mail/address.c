// SPDX-License-Identifier: ISC
// The address parser: one pass, left to right, each character looked at once.
#include "mail/address.h"
#include "base/netaddr.h"
#include "base/utf8.h"

#include <idn2.h>
#include <stdio.h>

const char address_needs_utf8[] = "the address is not ASCII, and SMTPUTF8 was not asked for";

struct parse {
    struct str in; // what is left
    unsigned flags;
    bool utf8;
    const char *why;
};

static bool fail(struct parse *p, const char *why)
{
    p->why = why;
    return false;
}

static int peek(const struct parse *p)
{
    return p->in.len > 0 ? (unsigned char)p->in.ptr[0] : -1;
}

static void skip(struct parse *p, size_t n)
{
    p->in.ptr += n;
    p->in.len -= n;
}

static bool eat(struct parse *p, char c)
{
    if (peek(p) != (unsigned char)c)
        return false;
    skip(p, 1);
    return true;
}

// Length of the 8-bit character at the front, or 0 with the reason.
static size_t wide(struct parse *p)
{
    if ((p->flags & ADDRESS_UTF8) == 0) {
        p->why = address_needs_utf8;
        return 0;
    }
    size_t n = utf8_len(p->in);
    if (n == 0)
        p->why = "malformed UTF-8 in the address";
    else if (n == 2 && p->in.ptr[0] == '\xc2' && (unsigned char)p->in.ptr[1] < 0xa0)
        n = 0, p->why = "control character in the address";
    p->utf8 = true;
    return n;
}

// ---- The local part ----

static bool is_atext(int c)
{
    return c > ' ' && c < 0x7f && strchr("()<>[]:;@\\,.\"", c) == NULL;
}

// May this stand unquoted? Its octets are already known to be good ones.
static bool is_dot_string(struct str s)
{
    bool after_dot = true;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '.' ? after_dot : c < 0x80 && !is_atext(c))
            return false;
        after_dot = c == '.';
    }
    return !after_dot;
}

// Appends the character at the front to the local part so far.
static bool take(struct parse *p, size_t n, char local[LIMIT_LOCAL_PART], size_t *len)
{
    if (*len + n > LIMIT_LOCAL_PART)
        return fail(p, "the local part is too long");
    memcpy(local + *len, p->in.ptr, n);
    *len += n;
    skip(p, n);
    return true;
}

static bool parse_quoted(struct parse *p, char local[LIMIT_LOCAL_PART], size_t *len)
{
    while (!eat(p, '"')) {
        bool escaped = eat(p, '\\');
        int c = peek(p);
        size_t n = c >= 0x80 && !escaped ? wide(p) : 1;
        if (c < 0)
            return fail(p, "a quote is not closed");
        if (c < 0x20 || c == 0x7f)
            return fail(p, "control character in the address");
        if (c >= 0x80 && escaped)
            return fail(p, "misplaced backslash in the local part");
        if (n == 0 || !take(p, n, local, len))
            return false;
    }
    return true;
}

static bool parse_dot_string(struct parse *p, char local[LIMIT_LOCAL_PART], size_t *len)
{
    for (int c = peek(p); c >= 0x80 || c == '.' || is_atext(c); c = peek(p)) {
        size_t n = c >= 0x80 ? wide(p) : 1;
        if (n == 0 || !take(p, n, local, len))
            return false;
    }
    if (*len == 0)
        return fail(p, "the local part is missing");
    if (!is_dot_string(str_make(local, *len)))
        return fail(p, "misplaced dot in the local part");
    return true;
}

static bool parse_local(struct parse *p, struct address *a)
{
    char local[LIMIT_LOCAL_PART];
    size_t len = 0, n = 0;
    bool ok = eat(p, '"') ? parse_quoted(p, local, &len) : parse_dot_string(p, local, &len);
    if (!ok)
        return false;
    if (is_dot_string(str_make(local, len))) {
        memcpy(a->text, local, len);
        n = len;
    } else {
        a->text[n++] = '"';
        for (size_t i = 0; i < len; i++) {
            bool escape = local[i] == '"' || local[i] == '\\';
            if (n + escape + 2 > LIMIT_LOCAL_PART) // with the closing quote
                return fail(p, "the local part is too long");
            if (escape)
                a->text[n++] = '\\';
            a->text[n++] = local[i];
        }
        a->text[n++] = '"';
    }
    a->local_len = a->len = (uint16_t)n;
    return true;
}

// ---- The domain ----

static bool parse_literal(struct parse *p, char out[LIMIT_DOMAIN + 1], size_t *len_out)
{
    size_t end = str_find(p->in, ']');
    if (end == p->in.len)
        return fail(p, "an address literal is not closed");
    struct str inner = str_make(p->in.ptr, end);
    bool six = str_istarts(inner, STR("IPv6:"));
    if (six)
        inner = str_make(inner.ptr + 5, inner.len - 5);
    struct net_addr addr;
    if (!net_addr_parse_ip(inner, &addr) || (addr.family == NET_IPV6) != six ||
        (inner.len > 0 && inner.ptr[0] == '['))
        return fail(p, "bad address literal");
    char text[NET_ADDR_TEXT];
    *len_out = (size_t)snprintf(out, LIMIT_DOMAIN + 1, "[%s%s]", six ? "IPv6:" : "",
                                net_addr_format_ip(&addr, text));
    skip(p, end + 1);
    return true;
}

// Ends a label that began at `start`. A label of other than ASCII is measured when its A-label is
// made.
static bool end_label(struct parse *p, const char *out, size_t start, size_t len)
{
    struct str label = str_make(out + start, len - start);
    if (label.len == 0)
        return fail(p, "empty label in the domain");
    if (label.len > LIMIT_LABEL && ascii_only(label))
        return fail(p, "a label of the domain is too long");
    if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
        return fail(p, "a label of the domain begins or ends with a hyphen");
    return true;
}

static bool parse_name(struct parse *p, char out[LIMIT_DOMAIN + 1], size_t *len_out)
{
    size_t len = 0, start = 0;
    for (;;) {
        int c = peek(p);
        size_t n = 1;
        if (c >= 0x80) {
            n = wide(p);
            if (n == 0)
                return false;
        } else if (c < 0 || (!ascii_is_alnum((char)c) && c != '-' && c != '_' && c != '.')) {
            break;
        }
        if (c == '.') {
            if (!end_label(p, out, start, len))
                return false;
            start = len + 1;
        }
        if (len + n > LIMIT_DOMAIN)
            return fail(p, "the domain is too long");
        for (size_t i = 0; i < n; i++)
            out[len++] = ascii_lower(p->in.ptr[i]);
        skip(p, n);
    }
    *len_out = len;
    return len == 0 ? fail(p, "the domain is missing") : end_label(p, out, start, len);
}

static bool parse_domain(struct parse *p, char out[LIMIT_DOMAIN + 1], size_t *len_out)
{
    bool ok = eat(p, '[') ? parse_literal(p, out, len_out) : parse_name(p, out, len_out);
    if (ok)
        out[*len_out] = '\0';
    return ok;
}

bool address_parse_domain(struct str in, unsigned flags, char out[LIMIT_DOMAIN + 1],
                          const char **why_out)
{
    struct parse p = {.in = in, .flags = flags};
    size_t len;
    bool ok = parse_domain(&p, out, &len);
    if (ok && p.in.len > 0)
        ok = fail(&p, "forbidden character in the domain");
    *why_out = p.why;
    return ok;
}

// ---- The path ----

// A-d-l ":", as in <@a,@b:user@d>. RFC 5321 appendix C: accept, ignore.
static bool parse_route(struct parse *p)
{
    char domain[LIMIT_DOMAIN + 1];
    size_t len;
    do {
        if (!eat(p, '@'))
            return fail(p, "bad source route");
        if (!parse_domain(p, domain, &len))
            return false;
    } while (eat(p, ','));
    return eat(p, ':') || fail(p, "bad source route");
}

static bool parse_mailbox(struct parse *p, struct address *a)
{
    if (peek(p) == '@' && !parse_route(p))
        return false;
    if (!parse_local(p, a))
        return false;
    if (eat(p, '@')) {
        size_t len;
        a->text[a->len] = '@';
        if (!parse_domain(p, a->text + a->len + 1, &len))
            return false;
        a->len = (uint16_t)(a->len + 1 + len);
        return true;
    }
    a->text[a->len] = '\0';
    bool postmaster =
        (p->flags & ADDRESS_REVERSE) == 0 && str_ieq(address_str(a), STR("postmaster"));
    if (postmaster || (p->flags & ADDRESS_NO_DOMAIN) != 0)
        return true;
    int c = peek(p);
    return fail(p, c < 0 || c == '>' ? "the domain is missing"
                                     : "forbidden character in the local part");
}

static bool null_allowed(const struct parse *p)
{
    return (p->flags & ADDRESS_REVERSE) != 0;
}

static bool parse_path(struct parse *p, struct address *a)
{
    const char *begin = p->in.ptr;
    if (null_allowed(p) && eat(p, '>'))
        return true;
    if (!parse_mailbox(p, a))
        return false;
    if (!eat(p, '>'))
        return fail(p, peek(p) < 0 ? "'>' is missing" : "forbidden character in the address");
    return (size_t)(p->in.ptr - begin) <= LIMIT_PATH + 1 || fail(p, "the address is too long");
}

static bool parse_all(struct parse *p, struct address *a)
{
    bool bare = (p->flags & ADDRESS_BARE) != 0;
    while (eat(p, ' '))
        continue;
    if (eat(p, '<')) {
        if (!parse_path(p, a))
            return false;
        if (p->in.len > 0 && peek(p) != ' ')
            return fail(p, "no blank behind the address");
    } else if (!bare) {
        return fail(p, "'<' is missing");
    } else if (p->in.len > LIMIT_PATH) {
        return fail(p, "the address is too long");
    } else if ((p->in.len > 0 || !null_allowed(p)) && !parse_mailbox(p, a)) {
        return false;
    }
    while (eat(p, ' '))
        continue;
    return !bare || p->in.len == 0 || fail(p, "forbidden character in the address");
}

bool address_parse(struct str in, unsigned flags, struct address *a_out, const char **why_out)
{
    struct parse p = {.in = in, .flags = flags};
    a_out->len = a_out->local_len = 0;
    a_out->text[0] = '\0';
    bool ok = parse_all(&p, a_out);
    a_out->utf8 = ok && p.utf8 && !ascii_only(address_str(a_out));
    a_out->used = in.len - p.in.len;
    *why_out = ok ? NULL : p.why;
    return ok;
}

// ---- ASCII form ----

bool address_domain_to_ascii(struct str domain, char out[LIMIT_DOMAIN + 1])
{
    if (domain.len > LIMIT_DOMAIN)
        return false;
    if (domain.len > 0)
        memcpy(out, domain.ptr, domain.len);
    out[domain.len] = '\0';
    if (ascii_only(domain))
        return true;
    char *ascii = NULL;
    if (idn2_to_ascii_8z(out, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return false;
    // What comes back is a domain by our own rules, or it is not used.
    const char *why;
    bool ok = address_parse_domain(str_of(ascii), 0, out, &why);
    idn2_free(ascii);
    return ok;
}

bool address_to_ascii(struct str address, struct buf *out)
{
    if (ascii_only(address))
        return buf_add(out, address);
    char domain[LIMIT_DOMAIN + 1];
    const char *at = memrchr(address.ptr, '@', address.len);
    if (at == NULL)
        return false;
    size_t local_len = (size_t)(at - address.ptr) + 1;
    struct str local = str_make(address.ptr, local_len);
    if (!ascii_only(local) ||
        !address_domain_to_ascii(str_make(at + 1, address.len - local_len), domain))
        return false;
    size_t before = out->len;
    if (buf_add(out, local) && buf_puts(out, domain))
        return true;
    out->len = before;
    return false;
}
