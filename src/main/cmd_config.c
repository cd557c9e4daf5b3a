// SPDX-License-Identifier: ISC
// config check, explain, reference, schema, diff: the configuration without any daemon.
#include "base/buf.h"
#include "base/timefmt.h"
#include "conf/diff.h"
#include "conf/read.h"
#include "conf/reference.h"
#include "conf/schema.h"
#include "main/command.h"
#include "route/table.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { PAGE_BYTES = 4 << 20, LISTED = 16 };

static void print(struct buf *text, FILE *to)
{
    fputs(buf_cstr(text), to);
    buf_free(text);
}

static int usage(const char *rest)
{
    fprintf(stderr, "usage: waypost config %s\n", rest);
    return EX_USAGE;
}

static void say_problems(const struct conf_report *report)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES);
    conf_report_print(report, &text);
    print(&text, stderr);
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

static void say_gateway(const struct conf *conf, const struct conf_gateway *g, bool others)
{
    static const char *const tls[] = {"no TLS", "TLS when offered", "TLS required",
                                      "TLS from the first byte"};
    if (g->kind == GATEWAY_DIRECT) {
        printf("  %-14s to the recipients' MX, port %u%s\n", g->name, g->direct_port,
               others ? "; only where a route names it" : "");
        return;
    }
    if (conf_gateway_is_local(g)) {
        printf("  %-14s %s %s on this machine; only where a route names it%s\n", g->name,
               g->kind == GATEWAY_MAILDIR ? "maildir" : "program", g->path,
               g->enabled ? "" : "  DISABLED");
        return;
    }
    printf("  %-14s %s%s", g->name, g->kind == GATEWAY_LMTP ? "LMTP " : "", conf_gateway_place(g));
    if (g->unix_path == NULL)
        printf(":%u", g->port);
    printf("  %s%s%s%s, priority %d", tls[g->tls],
           g->verify && g->tls != TLS_OFF ? ", verified" : "", g->user != NULL ? ", login " : "",
           g->user != NULL ? g->user : "", g->priority);
    if (g->rate > 0)
        printf(", at most %u in %lld s", g->rate, (long long)(g->rate_ms / 1000));
    const char *between = ", only on ";
    for (size_t i = 0; i < conf->network_count; i++) {
        if ((g->networks >> i & 1) != 0) {
            printf("%s%s", between, conf->networks[i].name);
            between = " or ";
        }
    }
    printf("%s\n", g->enabled ? "" : "  DISABLED");
}

static size_t enabled_gateways(const struct conf *conf)
{
    size_t n = 0;
    for (size_t i = 0; i < conf->gateway_count; i++)
        n += conf_gateway_is_general(&conf->gateways[i]) && conf->gateways[i].enabled;
    return n;
}

static void say_routes(const struct conf *conf)
{
    struct buf text;
    if (conf->route_count > LISTED) {
        printf("%zu routes; once they are in force `waypost route show` tells them\n",
               conf->route_count);
        return;
    }
    buf_init(&text, PAGE_BYTES);
    route_show(conf, NULL, &text);
    struct str rest = buf_str(&text), line;
    printf("routes\n");
    while (str_split(&rest, '\n', &line))
        printf("  %.*s\n", STR_FMT(line));
    buf_free(&text);
}

static void say_lint(const struct conf *conf)
{
    struct buf text;
    buf_init(&text, PAGE_BYTES);
    size_t found = route_lint(conf, &text);
    if (found > 0)
        printf("%zu remark%s on its routes: waypost route lint %s\n", found, found == 1 ? "" : "s",
               conf->file);
    buf_free(&text);
}

static void say_networks(const struct conf *conf)
{
    if (conf->network_count == 0)
        return;
    printf("networks");
    for (size_t i = 0; i < conf->network_count && i < LISTED; i++)
        printf("%s %s", i > 0 ? "," : "", conf->networks[i].name);
    if (conf->network_count > LISTED)
        printf(" and %zu more", conf->network_count - LISTED);
    printf("\n");
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
        say_gateway(conf, &conf->gateways[i], enabled_gateways(conf) > 0);
    if (conf->gateway_count > LISTED)
        printf("  and %zu more\n", conf->gateway_count - LISTED);
    say_networks(conf);
    say_routes(conf);
    say_times(conf);
    say_lint(conf);
}

static void problems_json(struct json *j, const char *file, const struct conf_report *report)
{
    json_open_array(j, "problems");
    for (size_t i = 0; i < report->count; i++) {
        const struct conf_problem *p = &report->problems[i];
        json_open(j, NULL);
        json_text(j, "severity", p->warning ? "warning" : "error");
        json_text(j, "file", file);
        json_int(j, "line", p->line);
        json_int(j, "column", p->column);
        json_text(j, "sentence", p->sentence);
        json_close(j);
    }
    json_close_array(j);
}

static void check_json(const char *file, const struct conf *conf, const struct conf_report *report)
{
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "file", file);
    json_bool(&j, "ok", conf != NULL);
    json_bool(&j, "text_only", report->text_only);
    json_int(&j, "errors", report->errors);
    json_int(&j, "warnings", report->warnings);
    problems_json(&j, file, report);
    if (conf != NULL)
        route_lint_json(conf, &j);
    main_json_print(&j);
}

int cmd_config_check(const struct main_options *options, int argc, char **argv)
{
    struct conf_report report = {0};
    bool json = main_flag(&argc, argv, "--json");
    bool text_only = main_flag(&argc, argv, "--text-only");
    const char *file = argc > 0 ? argv[0] : options->config;
    if (argc > 1 || (argc == 1 && argv[0][0] == '-'))
        return usage("check [FILE] [--text-only] [--json]");
    conf_report_init(&report);
    report.text_only = text_only;
    struct conf *conf = file != NULL ? conf_read_file(file, &report) : conf_builtin();
    bool ok = conf != NULL;
    if (json)
        check_json(file, conf, &report);
    else
        say_problems(&report);
    if (ok && !json)
        say_conf(conf);
    conf_report_free(&report);
    conf_unref(&conf);
    return ok ? 0 : EX_CONFIG;
}

// ---- explain, reference, schema ----

// Is this the key that was typed, a key below it, or one whose last word it is? (strchr also finds
// the end of the path.)
static bool about(const struct conf_key *key, const char *typed)
{
    size_t len = strlen(typed);
    bool below = strncmp(key->path, typed, len) == 0 && strchr(".[", key->path[len]) != NULL;
    return below || strcmp(conf_key_name(key), typed) == 0;
}

static void key_json(struct json *j, const struct conf_key *key)
{
    json_open(j, NULL);
    json_text(j, "path", key->path);
    json_text(j, "value", conf_type_words(key));
    json_text(j, "default", key->fallback);
    json_text(j, "without", key->unset);
    json_bool(j, "required", key->fallback == NULL && key->unset == NULL);
    json_text(j, "example", key->example);
    json_text(j, "help", key->help);
    json_close(j);
}

static void explain_json(const char *typed, bool found, struct buf *text)
{
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "key", typed);
    json_bool(&j, "found", found);
    json_str(&j, "text", buf_str(text));
    json_open_array(&j, "keys");
    for (size_t i = 0; found && i < conf_key_count; i++)
        if (typed == NULL || about(&conf_keys[i], typed))
            key_json(&j, &conf_keys[i]);
    json_close_array(&j);
    main_json_print(&j);
    buf_free(text);
}

// Its path and the first sentence of its help.
static void list_key(struct buf *text, const struct conf_key *key)
{
    const char *help = key->help != NULL ? key->help : "";
    const char *end = strstr(help, ". ");
    int len = end != NULL ? (int)(end - help) : (int)strcspn(help, "\n");
    if (end == NULL && len > 0 && help[len - 1] == '.')
        len--;
    buf_printf(text, len > 0 ? "%-34s %.*s%s\n" : "%s%.*s%s\n", key->path, len < 90 ? len : 90,
               help, len > 90 ? "..." : "");
}

int cmd_config_explain(const struct main_options *options, int argc, char **argv)
{
    struct buf text;
    bool json = main_flag(&argc, argv, "--json");
    if (argc > 1)
        return usage("explain [KEY] [--json]    (for example queue.retry)");
    const char *key = argc == 1 ? argv[0] : NULL;
    buf_init(&text, PAGE_BYTES);
    bool found = key == NULL || conf_explain(str_of(key), &text);
    for (size_t i = 0; key == NULL && i < conf_key_count; i++)
        list_key(&text, &conf_keys[i]);
    if (json) {
        explain_json(key, found, &text);
        return found ? 0 : EX_USAGE;
    }
    if (text.len > 0 && text.data[text.len - 1] != '\n')
        buf_putc(&text, '\n');
    print(&text, found ? stdout : stderr);
    return found ? 0 : EX_USAGE;
}

static int page(int argc, const char *name, void (*make)(struct buf *out))
{
    struct buf text;
    if (argc != 0)
        return usage(name);
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

// "~ gateway isp: rate, password" as an object.
static void change_json(struct json *j, struct str line)
{
    if (line.len < 2)
        return;
    json_open(j, NULL);
    json_text(j, "change", line.ptr[0] == '+' ? "added" : line.ptr[0] == '-' ? "gone" : "changed");
    json_str(j, "what", str_make(line.ptr + 2, line.len - 2));
    json_bool(j, "restart", str_iends(line, STR("(takes a restart)")));
    json_close(j);
}

void main_changes_json(struct json *j, const struct buf *diff)
{
    struct str rest = buf_str(diff), line;
    json_open_array(j, "changes");
    while (str_split(&rest, '\n', &line))
        change_json(j, line);
    json_close_array(j);
}

static void diff_json(const char *old_file, const char *new_file, struct buf *text)
{
    struct buf out;
    struct json j = main_json(&out);
    json_text(&j, "old", old_file);
    json_text(&j, "new", new_file);
    json_bool(&j, "same", text->len == 0);
    main_changes_json(&j, text);
    main_json_print(&j);
    buf_free(text);
}

static struct conf *read_conf(const char *file, bool text_only)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    report.text_only = text_only;
    struct conf *conf = conf_read_file(file, &report);
    say_problems(&report);
    conf_report_free(&report);
    return conf;
}

int cmd_config_diff(const struct main_options *options, int argc, char **argv)
{
    struct buf text;
    bool json = main_flag(&argc, argv, "--json");
    bool text_only = main_flag(&argc, argv, "--text-only");
    if (main_flag(&argc, argv, "--live") && argc <= 1)
        return main_config_live(options, argc == 1 ? argv[0] : options->config, json);
    if (argc != 2)
        return usage("diff OLD NEW [--text-only] [--json]  or  config diff --live [FILE] [--json]");
    struct conf *old_conf = read_conf(argv[0], text_only);
    struct conf *new_conf = read_conf(argv[1], text_only);
    bool both = old_conf != NULL && new_conf != NULL;
    if (both) {
        buf_init(&text, PAGE_BYTES);
        conf_diff(old_conf, new_conf, &text);
        if (text.len == 0 && !json)
            buf_puts(&text, "no difference\n");
        if (json)
            diff_json(argv[0], argv[1], &text);
        else
            print(&text, stdout);
    }
    conf_unref(&old_conf);
    conf_unref(&new_conf);
    return both ? 0 : EX_CONFIG;
}
