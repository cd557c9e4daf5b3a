// SPDX-License-Identifier: ISC
// probe: is mail let out of this network, and if not, which layer is at fault. Asks by itself, also
// without a daemon; says nothing but EHLO and QUIT to anybody.
#include "base/mem.h"
#include "deliver/diagnose.h"
#include "deliver/mx.h"
#include "main/command.h"
#include "main/probing.h"
#include "sys/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum {
    HOSTS = 64,
    PORTS = 5, // the usual ones, and one of its own
    TIMEOUT_MS = 10 * 1000,
    NAMES_MS = 5 * 1000, // so that silence of DNS is known from silence of the host
};

static const uint16_t usual_ports[] = {587, 465, 25, 2525};

struct run;
struct target {
    struct run *run;
    struct conf_gateway gateway;
    struct deliver_probe probe;
    struct diagnosis result;
};

struct host {
    const char *name, *of; // of: a gateway, or the domain of an MX; NULL: named by the user
    size_t count;
    struct target targets[PORTS];
};

struct run {
    struct conf *conf;
    struct arena *arena;
    struct probing by;
    struct mx *mx;
    const char *domain;
    struct outcome mx_failure; // class OK: there was none
    int64_t timeout_ms;
    size_t count, open;
    struct host hosts[HOSTS];
};

// ---- Whom to ask ----

static struct host *add_host(struct run *run, const char *name, const char *of)
{
    if (run->count == HOSTS)
        return NULL;
    struct host *h = &run->hosts[run->count++];
    h->name = arena_strdup(run->arena, name);
    h->of = of != NULL ? arena_strdup(run->arena, of) : NULL;
    return h;
}

// What is usual on a port: passwords only go where the certificate is right.
static struct conf_gateway usual_gateway(const char *host, uint16_t port)
{
    struct net_addr ignored;
    bool named = !net_addr_parse_ip(str_of(host), &ignored);
    return (struct conf_gateway){.name = "probe",
                                 .kind = GATEWAY_SMTP,
                                 .host = host,
                                 .port = port,
                                 .tls = port == 465   ? TLS_IMPLICIT
                                        : port == 587 ? TLS_REQUIRED
                                                      : TLS_WANTED,
                                 .verify = named && (port == 465 || port == 587)};
}

static void add_target(struct run *run, struct host *h, const struct conf_gateway *g)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->targets[i].gateway.port == g->port)
            return;
    struct target *t = &h->targets[h->count++];
    t->run = run;
    t->gateway = *g;
    t->gateway.host = conf_gateway_has_host(g) ? h->name : g->host;
    t->gateway.user = NULL; // no login: `waypost gateway test` does that
}

static void add_usual(struct run *run, struct host *h, const struct conf_gateway *way)
{
    for (size_t i = 0; i < sizeof(usual_ports) / sizeof(usual_ports[0]); i++) {
        struct conf_gateway g = usual_gateway(h->name, usual_ports[i]);
        if (way != NULL) {
            g.ca_file = way->ca_file;
            g.source = way->source;
            g.interface = way->interface;
            g.socks = way->socks;
            g.pinned = way->pinned;
            g.pinned_count = way->pinned_count;
        }
        add_target(run, h, &g);
    }
}

static void add_gateways(struct run *run)
{
    for (size_t i = 0; i < run->conf->gateway_count; i++) {
        const struct conf_gateway *g = &run->conf->gateways[i];
        if (!conf_gateway_is_general(g) || !g->enabled)
            continue;
        struct host *h = add_host(run, conf_gateway_place(g), g->name);
        if (h == NULL)
            return;
        add_target(run, h, g);
        if (g->kind == GATEWAY_SMTP && g->unix_path == NULL)
            add_usual(run, h, g);
    }
}

// "HOST", "HOST:PORT", "[ADDRESS]:PORT", or an address.
static bool add_named(struct run *run, const char *text)
{
    struct net_addr addr;
    char ip[NET_ADDR_TEXT];
    uint64_t port = 0;
    const char *host = text, *colon = strrchr(text, ':');
    if (net_addr_parse(str_of(text), 0, &addr) && addr.family != NET_UNIX) {
        host = arena_strdup(run->arena, net_addr_format_ip(&addr, ip));
        port = addr.port;
    } else if (colon != NULL) {
        if (colon == text || !str_u64(str_of(colon + 1), UINT16_MAX, &port) || port == 0)
            return false;
        host = arena_str(run->arena, str_make(text, (size_t)(colon - text)));
    }
    if (host[0] == '\0' || host[0] == '-' || strlen(host) > LIMIT_DOMAIN)
        return false;
    struct host *h = NULL;
    for (size_t i = 0; i < run->count; i++)
        if (strcmp(run->hosts[i].name, host) == 0)
            h = &run->hosts[i];
    if (h == NULL && (h = add_host(run, host, NULL)) == NULL)
        return false;
    if (port == 0) {
        add_usual(run, h, NULL);
    } else if (h->count < PORTS) {
        struct conf_gateway g = usual_gateway(h->name, (uint16_t)port);
        add_target(run, h, &g);
    }
    return true;
}

// ---- Asking ----

static void end_one(struct run *run)
{
    if (--run->open == 0)
        loop_stop(run->by.loop);
}

static void on_done(struct deliver_probe *p)
{
    struct target *t = p->ctx;
    diagnose(p, conf_gateway_place(&t->gateway), t->gateway.port, &t->result);
    end_one(t->run);
}

static void ask(struct run *run, struct host *h)
{
    for (size_t i = 0; i < h->count; i++) {
        struct target *t = &h->targets[i];
        t->probe = (struct deliver_probe){.home = run->by.loop,
                                          .done = on_done,
                                          .ctx = t,
                                          .conf = run->conf,
                                          .gateway = &t->gateway,
                                          .depth = PROBE_EHLO,
                                          .domain = "",
                                          .limit_ms = run->timeout_ms};
        run->open++;
        deliver_probe(run->by.deliver, &t->probe);
    }
}

static void on_mx(void *ctx, const struct mx_answer *answer)
{
    enum { SOME = 4 };
    struct run *run = ctx;
    run->mx_failure = answer->failure;
    for (size_t i = 0; answer->failure.class == OUTCOME_OK && i < answer->count && i < SOME; i++) {
        struct host *h = add_host(run, answer->hosts[i].name, run->domain);
        if (h == NULL)
            break;
        struct conf_gateway g = usual_gateway(h->name, 25);
        add_target(run, h, &g);
        ask(run, h);
    }
    end_one(run);
}

static bool run_all(struct run *run, struct err *err)
{
    int patience = (int)(run->timeout_ms / 2 < NAMES_MS ? run->timeout_ms / 2 : NAMES_MS);
    if (!probing_open(&run->by, run->conf, patience, err))
        return false;
    for (size_t i = 0; i < run->count; i++)
        ask(run, &run->hosts[i]);
    if (run->domain != NULL) {
        run->open++;
        run->mx = mx_find(run->by.loop, run->by.names, run->domain, NULL, on_mx, run);
    }
    loop_run(run->by.loop);
    mx_free(&run->mx);
    probing_close(&run->by);
    return true;
}

// ---- Telling ----

static void results_of(const struct host *h, struct diagnosis out[PORTS])
{
    for (size_t i = 0; i < h->count; i++)
        out[i] = h->targets[i].result;
}

static bool network_of(const struct run *run, struct conclusion *out)
{
    struct diagnosis *all = xcalloc(HOSTS * PORTS, sizeof(*all));
    size_t count = 0;
    for (size_t i = 0; i < run->count; i++) {
        results_of(&run->hosts[i], all + count);
        count += run->hosts[i].count;
    }
    bool any = diagnose_network(all, count, out);
    xfree(all);
    return any;
}

static void tell_port(const struct target *t)
{
    const struct diagnosis *d = &t->result;
    char ip[NET_ADDR_TEXT] = "";
    const char *layer = diagnosis_layer(d->fault);
    printf("  %-5u %s", d->port, diagnosis_word(d->fault));
    if (layer != NULL)
        printf(" (%s)", layer);
    if (d->fault == FAULT_NONE) {
        net_addr_format_ip(&t->probe.address, ip);
        printf("   %s", t->probe.facts[0] != '\0' ? t->probe.facts : ip);
    }
    printf("\n");
    if (d->why[0] != '\0')
        printf("        %s\n", d->why);
    if (d->banner[0] != '\0')
        printf("        it said: %s\n", d->banner);
    if (d->remark[0] != '\0' && strcmp(d->remark, d->why) != 0)
        printf("        note: %s\n", d->remark);
}

// What its name lacks is the same for every port.
static bool name_fails(const struct host *h)
{
    bool all = h->count > 1;
    for (size_t k = 0; k < h->count; k++)
        all = all && h->targets[k].result.fault == FAULT_NO_NAME &&
              strcmp(h->targets[k].result.why, h->targets[0].result.why) == 0;
    return all;
}

static void tell_conclusion(const struct conclusion *c)
{
    printf("=> %s\n", c->text);
    if (c->next[0] != '\0')
        printf("   next: %s\n", c->next);
}

static void tell_text(const struct run *run)
{
    struct diagnosis list[PORTS];
    struct conclusion c;
    for (size_t i = 0; i < run->count; i++) {
        const struct host *h = &run->hosts[i];
        printf("%s%s%s%s%s\n", i > 0 ? "\n" : "", h->name, h->of != NULL ? "  (" : "",
               h->of != NULL ? h->of : "", h->of != NULL ? ")" : "");
        for (size_t k = 0; k < h->count && !name_fails(h); k++)
            tell_port(&h->targets[k]);
        results_of(h, list);
        diagnose_host(list, h->count, &c);
        tell_conclusion(&c);
    }
    if (run->mx_failure.class != OUTCOME_OK)
        printf("%s%s\n=> dns: %s\n", run->count > 0 ? "\n" : "", run->domain, run->mx_failure.text);
    if (network_of(run, &c)) {
        printf("\n");
        tell_conclusion(&c);
    }
}

static void conclusion_json(struct json *j, const struct conclusion *c)
{
    json_text(j, "conclusion", c->text);
    json_text(j, "next", c->next[0] != '\0' ? c->next : NULL);
}

static void span_json(struct json *j, const char *key, int64_t ms)
{
    if (ms < 0)
        json_null(j, key);
    else
        json_int(j, key, ms);
}

static void port_json(struct json *j, const struct target *t)
{
    const struct diagnosis *d = &t->result;
    const struct deliver_probe *p = &t->probe;
    char ip[NET_ADDR_TEXT];
    json_open(j, NULL);
    json_int(j, "port", d->port);
    json_bool(j, "ok", d->fault == FAULT_NONE);
    json_text(j, "fault", d->fault != FAULT_NONE ? diagnosis_word(d->fault) : NULL);
    json_text(j, "layer", diagnosis_layer(d->fault));
    json_text(j, "text", d->why);
    json_text(j, "next", diagnosis_next(d->fault));
    json_text(j, "banner", d->banner[0] != '\0' ? d->banner : NULL);
    json_text(j, "remark", d->remark[0] != '\0' ? d->remark : NULL);
    json_text(j, "address",
              p->address.family != NET_NONE ? net_addr_format_ip(&p->address, ip) : NULL);
    json_text(j, "facts", p->facts);
    json_bool(j, "offers_tls", p->offers_tls);
    json_bool(j, "offers_auth", p->offers_auth);
    span_json(j, "connect_ms", p->connect_ms);
    span_json(j, "tls_ms", p->tls_ms);
    span_json(j, "ehlo_ms", p->ehlo_ms);
    json_str(j, "transcript", buf_str(&p->transcript));
    json_close(j);
}

static void tell_json(const struct run *run)
{
    struct diagnosis list[PORTS];
    struct conclusion c;
    struct buf out;
    struct json j = main_json(&out);
    json_open_array(&j, "hosts");
    for (size_t i = 0; i < run->count; i++) {
        const struct host *h = &run->hosts[i];
        json_open(&j, NULL);
        json_text(&j, "host", h->name);
        json_text(&j, "of", h->of);
        json_open_array(&j, "ports");
        for (size_t k = 0; k < h->count; k++)
            port_json(&j, &h->targets[k]);
        json_close_array(&j);
        results_of(h, list);
        diagnose_host(list, h->count, &c);
        conclusion_json(&j, &c);
        json_close(&j);
    }
    json_close_array(&j);
    bool failed = run->mx_failure.class != OUTCOME_OK;
    json_text(&j, "domain", run->domain);
    json_text(&j, "domain_fault", failed ? run->mx_failure.text : NULL);
    if (!network_of(run, &c))
        c = (struct conclusion){0};
    json_text(&j, "conclusion", c.text[0] != '\0' ? c.text : NULL);
    json_text(&j, "next", c.next[0] != '\0' ? c.next : NULL);
    main_json_print(&j);
}

// ---- From outside ----

static int tell_outside(const struct conf *conf)
{
    char ip[NET_ADDR_TEXT];
    printf(
        "Whether mail reaches this machine can only be seen from outside. On a machine in another\n"
        "network, with NAME the name or address of this one as the world knows it:\n\n"
        "  waypost probe NAME:25 NAME:587 NAME:465\n"
        "  openssl s_client -starttls smtp -connect NAME:25 -crlf     without Waypost there\n"
        "  nc -v NAME 25                                              the greeting alone\n\n"
        "It should greet with `220 %s`. Another name: something in between answers. \"Refused\":\n"
        "nothing listens there, or a router passes it on to nobody. Silence: a firewall, or the\n"
        "provider; many block port 25 inwards, too.\n\n"
        "This configuration listens at:\n",
        conf->hostname);
    size_t open = 0;
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (size_t k = 0; k < l->address_count; k++) {
            bool inside = net_addr_is_loopback(&l->addresses[k]);
            open += !inside;
            printf("  %-28s %s%s\n", net_addr_format(&l->addresses[k], ip), l->name,
                   inside ? "   (this machine only)" : "");
        }
    }
    if (open == 0)
        printf("None of them can be reached from outside, whatever the network does.\n");
    return 0;
}

// ---- The command ----

static bool all_have_a_way(const struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        bool any = false;
        for (size_t k = 0; k < run->hosts[i].count; k++)
            any = any || run->hosts[i].targets[k].result.fault == FAULT_NONE;
        if (!any)
            return false;
    }
    return run->mx_failure.class == OUTCOME_OK;
}

static int usage(void)
{
    fprintf(stderr, "usage: waypost probe [HOST[:PORT]]... [--domain DOMAIN] [--timeout SECONDS] "
                    "[--json]\n       waypost probe --from-outside\n");
    return EX_USAGE;
}

static int probe(struct run *run, int argc, char **argv, bool json)
{
    struct err err = {0};
    for (int i = 0; i < argc; i++) {
        if (!add_named(run, argv[i])) {
            fprintf(stderr, "waypost probe: `%s` is no host, or there are too many\n", argv[i]);
            return usage();
        }
    }
    if (argc == 0)
        add_gateways(run);
    if (run->count == 0 && run->domain == NULL) {
        fprintf(stderr,
                "waypost probe: there is no gateway in the configuration, and nobody else is "
                "asked unbidden:\n  name a host, or with --domain whose mail servers are "
                "asked\n");
        return EX_USAGE;
    }
    if (!run_all(run, &err)) {
        fprintf(stderr, "waypost probe: %s\n", err.text);
        return EX_OSERR;
    }
    if (json)
        tell_json(run);
    else
        tell_text(run);
    return all_have_a_way(run) ? 0 : EX_UNAVAILABLE;
}

int cmd_probe(const struct main_options *options, int argc, char **argv)
{
    bool json = main_flag(&argc, argv, "--json");
    bool outside = main_flag(&argc, argv, "--from-outside");
    const char *timeout = main_option(&argc, argv, "--timeout");
    const char *domain = main_option(&argc, argv, "--domain");
    uint64_t seconds = TIMEOUT_MS / 1000;
    if (timeout != NULL &&
        (!str_u64(str_of(timeout), LIMIT_PROBE_MS / 1000, &seconds) || seconds == 0))
        return usage();
    struct conf *conf = main_find_conf(options);
    if (conf == NULL)
        return EX_CONFIG;
    struct run *run = xcalloc(1, sizeof(*run));
    run->conf = conf;
    run->arena = arena_new();
    run->timeout_ms = (int64_t)seconds * 1000;
    run->domain = domain;
    int status = outside ? tell_outside(conf) : probe(run, argc, argv, json);
    for (size_t i = 0; i < run->count; i++)
        for (size_t k = 0; k < run->hosts[i].count; k++)
            buf_free(&run->hosts[i].targets[k].probe.transcript);
    arena_free(&run->arena);
    xfree(run);
    conf_unref(&conf);
    return status;
}
