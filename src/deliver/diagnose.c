// SPDX-License-Identifier: ISC
// From the end of a probe to its cause.
//
// A fault lies in the layer reached last: what is above it was never asked. Silence and a refusal
// say little about one port alone, so the ports of a host are looked at together, then the hosts.
#include "deliver/diagnose.h"

#include <errno.h>
#include <stdio.h>

static const struct {
    const char *word, *layer, *next;
} faults[FAULTS] = {
    [FAULT_NONE] = {"works", NULL, NULL},
    [FAULT_NO_NAME] = {"no such name", "dns",
                       "look at the spelling; the provider's help page names the right host"},
    [FAULT_NO_DNS] =
        {"no answer from DNS", "dns",
         "see which name servers are asked (`dns.servers`, /etc/resolv.conf) and whether "
         "they answer; until then a gateway's `addresses:` go without DNS"},
    [FAULT_FORGED] = {"forged answer of DNS", "dns",
                      "the answer fails DNSSEC: ask another resolver (`dns.servers`); on a guest "
                      "network it may be the network that falsifies names"},
    [FAULT_OFFLINE] = {"no network", "route", "connect this machine to a network"},
    [FAULT_NO_ROUTE] = {"no route", "route",
                        "see `ip route get ADDRESS`; a VPN that is down is the usual cause"},
    [FAULT_REFUSED] =
        {"refused at once", "connect",
         "nothing listens on that port, or a filter rejects it: try another port, and "
         "ask from another network"},
    [FAULT_PROHIBITED] = {"administratively prohibited", "filter",
                          "a packet filter forbids it by rule: if it is this machine's own, see "
                          "`nft list ruleset`; else ask who runs the network, or use another port"},
    [FAULT_SILENCE] = {"silence", "filter",
                       "probably filtered: see this machine's own rules (`nft list ruleset`), try "
                       "another port, and ask from another network"},
    [FAULT_CUT] = {"closed without a greeting", "greeting",
                   "the server, or a filter in front of it, does not want this address, or is "
                   "overloaded: try later, and from another network"},
    [FAULT_MUTE] =
        {"no greeting", "greeting",
         "if the port wants TLS at once, write smtps:// or `tls: implicit`; else something "
         "in between takes connections and passes nothing on"},
    [FAULT_NO_MAIL] = {"not a mail server", "greeting",
                       "something else answers there: look at the port and the address"},
    [FAULT_INTERCEPTED] =
        {"intercepted", "greeting",
         "this network puts a proxy of its own before port 25 or 587: use port 465, "
         "where TLS stands from the first byte, or a VPN"},
    [FAULT_NO_STARTTLS] =
        {"no STARTTLS", "tls",
         "the server has none, or something in between takes it out: use port 465, "
         "and send no password here"},
    [FAULT_TLS] = {"TLS fails", "tls",
                   "if the name in the certificate is another, write that name as the host; if the "
                   "issuer is unknown, name it with `ca:`"},
    [FAULT_POLICY] = {"refused by policy", "policy",
                      "the server is reached and does not want this address or name: read what it "
                      "says; a gateway with a login is the usual way round"},
    [FAULT_BUSY] = {"not now", "policy", "the server is reached and says to come again"},
    [FAULT_LOCAL] = {"trouble on this machine", "local", NULL},
    [FAULT_LOGIN] = {"login refused", "login",
                     "look at the user and the password; many providers want one made for programs "
                     "(an app password), or OAuth2"},
    [FAULT_OTHER] = {"fails", "dialogue", NULL},
};

const char *diagnosis_word(enum diagnosis_fault fault)
{
    return faults[fault].word;
}

const char *diagnosis_layer(enum diagnosis_fault fault)
{
    return faults[fault].layer;
}

const char *diagnosis_next(enum diagnosis_fault fault)
{
    return faults[fault].next;
}

// ---- What the server said ----

struct heard {
    struct str banner;
    bool ehlo_refused;
    bool masked; // a word of the greeting or of EHLO was overwritten, as some firewalls do
};

static bool is_masked(struct str word)
{
    char c = word.len > 0 ? word.ptr[0] : ' ';
    size_t n = 0;
    while (n < word.len && word.ptr[n] == c)
        n++;
    return (c == '*' && n >= 4) || (c == 'X' && n >= 4 && word.len - n <= 1);
}

static void listen_to(struct str rest, struct heard *out)
{
    struct str line, word;
    bool in_ehlo = false;
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (str_starts(line, STR("-> "))) {
            in_ehlo = str_istarts(line, STR("-> EHLO"));
            continue;
        }
        if (!str_starts(line, STR("<- ")))
            continue;
        line = str_make(line.ptr + 3, line.len - 3);
        if (out->banner.len == 0)
            out->banner = line;
        out->ehlo_refused |= in_ehlo && line.len > 0 && line.ptr[0] == '5';
        struct str words = line.len > 4 ? str_make(line.ptr + 4, line.len - 4) : STR("");
        while (str_split(&words, ' ', &word))
            out->masked |= is_masked(word);
    }
}

// "mail.isp.example" is of "isp.example": two labels are enough for a remark.
static struct str site_of(struct str name)
{
    size_t dots = 0, i = name.len;
    while (i > 0 && (name.ptr[i - 1] != '.' || ++dots < 2))
        i--;
    return str_make(name.ptr + i, name.len - i);
}

static bool of_another_site(const char *greeting, const char *host)
{
    struct net_addr ignored;
    struct str a = str_of(greeting), b = str_of(host);
    return a.len > 0 && str_find(a, '.') < a.len && str_find(b, '.') < b.len &&
           !net_addr_parse_ip(b, &ignored) && a.ptr[0] != '[' && !str_ieq(site_of(a), site_of(b));
}

// ---- One probe ----

static enum diagnosis_fault of_connecting(const struct deliver_probe *p)
{
    switch (p->code) {
    case 0: break;
    case ECONNREFUSED: return FAULT_REFUSED;
    case EACCES:
    case EPERM: return FAULT_PROHIBITED;
    case ETIMEDOUT: return FAULT_SILENCE;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN: return FAULT_NO_ROUTE;
    default: break;
    }
    return FAULT_OTHER;
}

static enum diagnosis_fault of_name(const struct deliver_probe *p)
{
    if (p->names == NAMES_NXDOMAIN || p->names == NAMES_NODATA)
        return FAULT_NO_NAME;
    if (p->names == NAMES_BOGUS)
        return FAULT_FORGED;
    // Who takes mail for a domain is asked before any host.
    return p->outcome.class == OUTCOME_REFUSED || p->outcome.class == OUTCOME_NO_RECORD
               ? FAULT_NO_NAME
               : FAULT_NO_DNS;
}

static enum diagnosis_fault of_greeting(const struct deliver_probe *p, const struct heard *heard)
{
    const struct outcome *o = &p->outcome;
    if (o->code >= 500)
        return FAULT_POLICY;
    if (o->code >= 400)
        return FAULT_BUSY;
    if (heard->banner.len > 0)
        return FAULT_NO_MAIL;
    return p->code == ETIMEDOUT ? FAULT_MUTE : FAULT_CUT;
}

static enum diagnosis_fault fault_of(const struct deliver_probe *p, const struct heard *heard)
{
    const struct outcome *o = &p->outcome;
    bool stripped = heard->masked && !p->offers_tls;
    switch (o->class) {
    case OUTCOME_OK: return stripped ? FAULT_INTERCEPTED : FAULT_NONE;
    case OUTCOME_OFFLINE: return FAULT_OFFLINE;
    case OUTCOME_LOCAL: return FAULT_LOCAL;
    case OUTCOME_NO_RECORD:
    case OUTCOME_DNS: return of_name(p);
    case OUTCOME_TLS:
        if (p->offers_tls || p->gateway->tls == TLS_IMPLICIT)
            return FAULT_TLS;
        return stripped || of_another_site(p->greeting, p->gateway->host) ? FAULT_INTERCEPTED
                                                                          : FAULT_NO_STARTTLS;
    default: break;
    }
    switch (o->phase) {
    case PHASE_RESOLVE: return of_name(p);
    case PHASE_CONNECT: return of_connecting(p);
    case PHASE_TLS: return FAULT_TLS;
    case PHASE_GREETING:
    case PHASE_EHLO: return of_greeting(p, heard);
    case PHASE_AUTH: return o->class == OUTCOME_AUTH ? FAULT_LOGIN : FAULT_OTHER;
    default: return FAULT_OTHER;
    }
}

static void remark(const struct deliver_probe *p, const struct heard *heard, struct diagnosis *d)
{
    bool other = of_another_site(p->greeting, d->host);
    if (heard->masked)
        snprintf(d->remark, sizeof(d->remark),
                 "words of its dialogue are overwritten, as a firewall does that looks into SMTP");
    else if (heard->ehlo_refused)
        snprintf(d->remark, sizeof(d->remark),
                 "EHLO is refused, only the old HELO works: no TLS and no login there");
    else if (other && !p->offers_tls)
        snprintf(d->remark, sizeof(d->remark),
                 "it greets as %.200s and offers no TLS: something in between may answer for it",
                 p->greeting);
    else if (other)
        snprintf(d->remark, sizeof(d->remark), "it greets as %.200s", p->greeting);
    else if (!p->offers_tls)
        snprintf(d->remark, sizeof(d->remark), "it offers no TLS");
}

void diagnose(const struct deliver_probe *p, const char *host, uint16_t port, struct diagnosis *out)
{
    struct heard heard = {0};
    *out = (struct diagnosis){.host = host, .port = port};
    listen_to(buf_str(&p->transcript), &heard);
    out->fault = fault_of(p, &heard);
    snprintf(out->banner, sizeof(out->banner), "%.*s", STR_FMT(heard.banner));
    if (out->fault == FAULT_SILENCE && p->limit_ms > 0)
        snprintf(out->why, sizeof(out->why), "no answer to the connection within %.3g s",
                 (double)p->limit_ms / 1000);
    else if (p->outcome.class != OUTCOME_OK)
        snprintf(out->why, sizeof(out->why), "%s", p->outcome.text);
    if (heard.banner.len > 0 && p->depth > PROBE_TCP)
        remark(p, &heard, out);
    if (out->fault == FAULT_INTERCEPTED && out->why[0] == '\0')
        snprintf(out->why, sizeof(out->why), "%.300s", out->remark);
}

// ---- Several ports ----

static bool is_blocked(enum diagnosis_fault fault)
{
    return fault == FAULT_SILENCE || fault == FAULT_PROHIBITED || fault == FAULT_INTERCEPTED;
}

static const struct diagnosis *find_port(const struct diagnosis *list, size_t count, uint16_t port)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].port == port)
            return &list[i];
    return NULL;
}

// The best of those that work: submission before the rest.
static const struct diagnosis *working(const struct diagnosis *list, size_t count)
{
    static const uint16_t order[] = {587, 465, 2525};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        const struct diagnosis *d = find_port(list, count, order[i]);
        if (d != NULL && d->fault == FAULT_NONE)
            return d;
    }
    for (size_t i = 0; i < count; i++)
        if (list[i].fault == FAULT_NONE)
            return &list[i];
    return NULL;
}

static bool all_are(const struct diagnosis *list, size_t count, enum diagnosis_fault fault)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].fault != fault)
            return false;
    return true;
}

static const char *answered_by(enum diagnosis_fault fault)
{
    return fault == FAULT_INTERCEPTED ? "something in between" : diagnosis_word(fault);
}

static const char blocked_next[] =
    "use a gateway on 587 or 465; or ask the provider to open port 25";

static void advise(struct conclusion *out, const char *next)
{
    snprintf(out->next, sizeof(out->next), "%s", next != NULL ? next : "");
}

static void conclude_same(const struct diagnosis *d, size_t count, struct conclusion *out)
{
    const char *ports = count > 1 ? "on all ports asked" : "";
    switch (d->fault) {
    case FAULT_NO_NAME:
    case FAULT_NO_DNS:
    case FAULT_FORGED: ports = ""; break;
    default: break;
    }
    if (d->fault == FAULT_SILENCE && count > 1)
        snprintf(
            out->text, sizeof(out->text),
            "%s is silent on all ports asked: it is down, or a filter drops all that goes to it",
            d->host);
    else if (d->fault == FAULT_REFUSED && count > 1)
        snprintf(out->text, sizeof(out->text),
                 "%s is there and refuses all ports asked: no mail server listens, or a filter "
                 "rejects mail",
                 d->host);
    else
        snprintf(out->text, sizeof(out->text), "%s: %s%s%s; %.300s", d->host,
                 diagnosis_word(d->fault), ports[0] != '\0' ? " " : "", ports, d->why);
    advise(out, diagnosis_next(d->fault));
}

void diagnose_host(const struct diagnosis *list, size_t count, struct conclusion *out)
{
    const struct diagnosis *mx = find_port(list, count, 25), *good = working(list, count);
    *out = (struct conclusion){0};
    if (count == 0)
        return;
    if (all_are(list, count, FAULT_NONE)) {
        snprintf(out->text, sizeof(out->text), "%s works%s", list[0].host,
                 count > 1 ? " on all ports asked" : "");
    } else if (all_are(list, count, list[0].fault)) {
        conclude_same(&list[0], count, out);
    } else if (good != NULL && mx != NULL && is_blocked(mx->fault)) {
        snprintf(out->text, sizeof(out->text),
                 "port 25 is answered by %s while %u of the same host works: port 25 is %s on this "
                 "network, most likely by the provider",
                 answered_by(mx->fault), good->port,
                 mx->fault == FAULT_INTERCEPTED ? "intercepted" : "blocked");
        advise(out, blocked_next);
    } else if (good != NULL) {
        snprintf(out->text, sizeof(out->text), "%s works on port %u", good->host, good->port);
        if (good != &list[0])
            snprintf(out->next, sizeof(out->next), "write port %u into the gateway's url",
                     good->port);
    } else {
        snprintf(out->text, sizeof(out->text),
                 "%s works on none of the ports asked; on port %u: %s", list[0].host, list[0].port,
                 diagnosis_word(list[0].fault));
        advise(out, diagnosis_next(list[0].fault));
    }
}

bool diagnose_network(const struct diagnosis *list, size_t count, struct conclusion *out)
{
    size_t blocked = 0;
    bool open = false, well = false;
    *out = (struct conclusion){0};
    for (size_t i = 0; i < count; i++) {
        well = well || list[i].fault == FAULT_NONE;
        if (list[i].port != 25)
            continue;
        blocked += is_blocked(list[i].fault);
        // Whatever came back from there came through port 25.
        open = open || list[i].fault == FAULT_NONE || list[i].fault >= FAULT_NO_STARTTLS ||
               list[i].fault == FAULT_REFUSED;
    }
    if (blocked < 2 || open)
        return false;
    snprintf(out->text, sizeof(out->text),
             "port 25 is blocked at all %zu hosts asked%s: it is this network, most likely the "
             "provider",
             blocked, well ? ", while other ports work" : "");
    advise(out, blocked_next);
    return true;
}
