// SPDX-License-Identifier: ISC
// config check, explain, reference, schema, diff: the configuration without any daemon.
#include "base/buf.h"
#include "base/timefmt.h"
#include "conf/diff.h"
#include "conf/read.h"
#include "conf/reference.h"
#include "main/command.h"

#include <stdio.h>
#include <sysexits.h>

enum { PAGE_BYTES = 4 << 20, LISTED = 8 };

static void print(struct buf *text, FILE *to)
{
    fputs(buf_cstr(text), to);
    buf_free(text);
}

// NULL after the problems went to `to`.
static struct conf *read_conf(const char *file, FILE *to)
{
    struct conf_report report = {0};
    struct buf text;
    conf_report_init(&report);
    struct conf *conf = conf_read_file(file, &report);
    buf_init(&text, PAGE_BYTES);
    conf_report_print(&report, &text);
    print(&text, to);
    conf_report_free(&report);
    return conf;
}

// ---- check ----

static void say_listener(const struct conf_listener *l)
{
    static const char *const tls[] = {"no TLS", "STARTTLS offered", "STARTTLS required",
                                      "TLS from the first byte", "TLS either way"};
    static const char *const auth[] = {"", ", login possible", ", login required"};
    char text[NET_ADDR_TEXT];
    printf("  %-14s", l->name);
    for (size_t i = 0; i < l->address_count; i++)
        printf(" %s", net_addr_format(&l->addresses[i], text));
    printf("  %s%s%s", l->lmtp ? "LMTP, " : "", tls[l->tls], auth[l->auth]);
    if (l->open_relay)
        printf(", OPEN TO EVERYONE");
    else if (l->client_count > 0)
        printf(", for %zu range%s of clients", l->client_count, l->client_count == 1 ? "" : "s");
    else
        printf(", for this machine%s", l->auth != LISTEN_AUTH_OFF ? " and whoever logs in" : "");
    printf("\n");
}

static void say_gateway(const struct conf_gateway *g, bool others)
{
    static const char *const tls[] = {"no TLS", "TLS when offered", "TLS required",
                                      "TLS from the first byte"};
    if (g->kind == GATEWAY_DIRECT) {
        printf("  %-14s to the recipients' MX, port %u%s\n", g->name, g->direct_port,
               others ? "; only where a route names it" : "");
        return;
    }
    printf("  %-14s %s%s", g->name, g->kind == GATEWAY_LMTP ? "LMTP " : "",
           g->unix_path != NULL ? g->unix_path : g->host);
    if (g->unix_path == NULL)
        printf(":%u", g->port);
    printf("  %s%s%s%s, priority %d", tls[g->tls], g->verify ? ", verified" : "",
           g->user != NULL ? ", login " : "", g->user != NULL ? g->user : "", g->priority);
    if (g->rate > 0)
        printf(", at most %u in %lld s", g->rate, (long long)(g->rate_ms / 1000));
    printf("%s\n", g->enabled ? "" : "  DISABLED");
}

static void say_globs(const char *what, const char *const *globs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%s%s", i == 0 ? what : ", ", globs[i]);
}

static void say_route(const struct conf *conf, const struct conf_route *route, size_t number)
{
    printf("  %zu. ", number);
    if (route->to_count + route->from_count == 0)
        printf("all mail");
    say_globs("mail to ", route->to, route->to_count);
    say_globs(route->to_count > 0 ? " from " : "mail from ", route->from, route->from_count);
    printf(": ");
    for (size_t i = 0; i < route->via_count; i++)
        printf("%s%s", i == 0 ? "" : ", then ", conf->gateways[route->via[i].gateway].name);
    printf("\n");
}

static size_t enabled_gateways(const struct conf *conf)
{
    size_t n = 0;
    for (size_t i = 0; i < conf->gateway_count; i++)
        n += conf->gateways[i].kind != GATEWAY_DIRECT && conf->gateways[i].enabled;
    return n;
}

static void say_default(const struct conf *conf)
{
    size_t ways = enabled_gateways(conf);
    for (size_t i = 0; i < conf->route_count; i++)
        if (conf->routes[i].to_count + conf->routes[i].from_count == 0)
            return; // nothing is left for the default
    printf("  %s%s\n", conf->route_count > 0 ? "else: " : "all mail: ",
           ways == 0   ? "direct to the recipients' MX"
           : ways == 1 ? "the gateway"
                       : "the gateways in the order of their priority, the next when one is in "
                         "trouble");
}

static void say_times(const struct conf *conf)
{
    char text[TIME_TEXT];
    printf("tries again after");
    for (size_t i = 0; i < conf->queue.retry_count; i++)
        printf("%s %s", i == 0 ? "" : ",", time_span(conf->queue.retry_ms[i], text));
    if (conf->queue.warn_ms > 0)
        printf("; warns the sender after %s", time_span(conf->queue.warn_ms, text));
    if (conf->queue.expire_ms > 0)
        printf("; gives up after %s", time_span(conf->queue.expire_ms, text));
    printf("\n");
}

static void say_conf(const struct conf *conf)
{
    printf("%s is ok\n", conf->file);
    printf("this machine is %s; spool %s, sockets in %s\n", conf->hostname, conf->spool_dir,
           conf->run_dir);
    printf("takes mail at\n");
    for (size_t i = 0; i < conf->listener_count && i < LISTED; i++)
        say_listener(&conf->listeners[i]);
    if (conf->listener_count > LISTED)
        printf("  and %zu more\n", conf->listener_count - LISTED);
    printf("ways out\n");
    for (size_t i = 0; i < conf->gateway_count && i < LISTED; i++)
        say_gateway(&conf->gateways[i], enabled_gateways(conf) > 0);
    if (conf->gateway_count > LISTED)
        printf("  and %zu more\n", conf->gateway_count - LISTED);
    printf("routes\n");
    for (size_t i = 0; i < conf->route_count && i < LISTED; i++)
        say_route(conf, &conf->routes[i], i + 1);
    if (conf->route_count > LISTED)
        printf("  and %zu more\n", conf->route_count - LISTED);
    say_default(conf);
    say_times(conf);
}

int cmd_config_check(const struct main_options *options, int argc, char **argv)
{
    const char *file = argc > 0 ? argv[0] : options->config;
    if (argc > 1) {
        fprintf(stderr, "usage: waypost config check [FILE]\n");
        return EX_USAGE;
    }
    struct conf *conf = file != NULL ? read_conf(file, stderr) : conf_builtin();
    if (conf == NULL)
        return EX_CONFIG;
    say_conf(conf);
    conf_unref(&conf);
    return 0;
}

// ---- explain, reference, schema ----

int cmd_config_explain(const struct main_options *options, int argc, char **argv)
{
    struct buf text;
    if (argc != 1) {
        fprintf(stderr, "usage: waypost config explain KEY    (for example queue.retry)\n");
        return EX_USAGE;
    }
    buf_init(&text, PAGE_BYTES);
    bool found = conf_explain(str_of(argv[0]), &text);
    if (text.len > 0 && text.data[text.len - 1] != '\n')
        buf_putc(&text, '\n');
    print(&text, found ? stdout : stderr);
    return found ? 0 : EX_USAGE;
}

static int page(int argc, const char *name, void (*make)(struct buf *out))
{
    struct buf text;
    if (argc != 0) {
        fprintf(stderr, "usage: waypost config %s\n", name);
        return EX_USAGE;
    }
    buf_init(&text, PAGE_BYTES);
    make(&text);
    print(&text, stdout);
    return 0;
}

int cmd_config_reference(const struct main_options *options, int argc, char **argv)
{
    return page(argc, "reference", conf_reference_markdown);
}

int cmd_config_schema(const struct main_options *options, int argc, char **argv)
{
    return page(argc, "schema", conf_schema_json);
}

// ---- diff ----

int cmd_config_diff(const struct main_options *options, int argc, char **argv)
{
    struct buf text;
    if (argc != 2) {
        fprintf(stderr, "usage: waypost config diff OLD NEW\n");
        return EX_USAGE;
    }
    struct conf *old_conf = read_conf(argv[0], stderr);
    struct conf *new_conf = read_conf(argv[1], stderr);
    bool both = old_conf != NULL && new_conf != NULL;
    if (both) {
        buf_init(&text, PAGE_BYTES);
        conf_diff(old_conf, new_conf, &text);
        if (text.len == 0)
            buf_puts(&text, "no difference\n");
        print(&text, stdout);
    }
    conf_unref(&old_conf);
    conf_unref(&new_conf);
    return both ? 0 : EX_CONFIG;
}
