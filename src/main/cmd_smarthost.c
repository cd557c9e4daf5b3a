// SPDX-License-Identifier: ISC
// smarthost, smarthost on, smarthost off: ISMail's switch, in the configuration. Off, all that the
// smart host would have taken goes direct.
#include "conf/edit.h"
#include "conf/read.h"
#include "main/conf_file.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static int usage(void)
{
    fprintf(stderr, "usage: waypost smarthost [--json]\n"
                    "       waypost smarthost on [GATEWAY] [--dry-run] [--json]\n"
                    "       waypost smarthost off [--dry-run] [--json]\n");
    return EX_USAGE;
}

static const char *gateway_of(const struct conf *conf)
{
    uint32_t at = conf->smarthost.gateway;
    return at < conf->gateway_count ? conf->gateways[at].name : NULL;
}

// ---- Looking ----

int cmd_smarthost(const struct main_options *options, int argc, char **argv)
{
    bool json = main_flag(&argc, argv, "--json");
    if (argc > 0)
        return usage();
    struct conf *conf = main_find_conf(options);
    if (conf == NULL)
        return EX_CONFIG;
    const char *name = gateway_of(conf);
    bool on = name != NULL && conf->smarthost.enabled, all = conf->smarthost.exclusive;
    if (json) {
        struct buf out;
        struct json j = main_json(&out);
        json_text(&j, "gateway", name);
        json_bool(&j, "on", on);
        json_bool(&j, "exclusive", all);
        main_json_print(&j);
    } else if (name == NULL) {
        printf("no smart host is named; waypost smarthost on GATEWAY\n");
    } else {
        printf("%s: %s, %s\n", on ? "on" : "off", name,
               !on   ? "nothing goes through it as the smart host, all of that goes direct"
               : all ? "everything goes through it"
                     : "it takes what cannot be delivered directly");
    }
    conf_unref(&conf);
    return 0;
}

// ---- Switching ----

// `value` is YAML.
static bool set(struct buf *text, const char *key, const char *value, struct err *err)
{
    struct buf next;
    buf_init(&next, LIMIT_CONFIG_FILE);
    if (!conf_edit_text_set(buf_str(text), key, value, &next, err)) {
        buf_free(&next);
        return false;
    }
    buf_free(text);
    *text = next;
    return true;
}

// Is a smart host named in the file? One with mistakes is left to the change to complain of.
static bool is_named(const struct conf_file *f)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    report.text_only = true;
    struct conf *conf = conf_read_text(f->path, buf_str(&f->text), &report);
    bool named = conf == NULL || gateway_of(conf) != NULL;
    conf_unref(&conf);
    conf_report_free(&report);
    return named;
}

static int turn(struct conf_file *f, bool on, const char *gateway)
{
    struct buf text, name;
    struct err err = {0};
    if (gateway == NULL && !is_named(f)) {
        fprintf(stderr, "waypost: no smart host is named in %s; waypost smarthost on GATEWAY\n",
                f->path);
        return EX_DATAERR;
    }
    buf_init(&text, LIMIT_CONFIG_FILE);
    buf_init(&name, 8192);
    buf_add(&text, buf_str(&f->text));
    if (gateway != NULL)
        conf_edit_quote(&name, str_of(gateway));
    bool ok = gateway == NULL || set(&text, "smarthost.gateway", buf_cstr(&name), &err);
    ok = ok && set(&text, "smarthost.enabled", on ? "true" : "false", &err);
    int status = EX_DATAERR;
    if (ok)
        status = conf_file_change(f, buf_str(&text));
    else
        fprintf(stderr, "waypost: %s; nothing was changed\n", err.text);
    buf_free(&name);
    buf_free(&text);
    return status;
}

static int switch_it(const struct main_options *options, int argc, char **argv, bool on)
{
    struct conf_file f;
    int status;
    if (!conf_file_open(&f, options, &argc, argv, &status))
        return status;
    if (argc > (on ? 1 : 0) || (argc == 1 && argv[0][0] == '-'))
        status = usage();
    else
        status = turn(&f, on, argc == 1 ? argv[0] : NULL);
    conf_file_close(&f);
    return status;
}

int cmd_smarthost_on(const struct main_options *options, int argc, char **argv)
{
    return switch_it(options, argc, argv, true);
}

int cmd_smarthost_off(const struct main_options *options, int argc, char **argv)
{
    return switch_it(options, argc, argv, false);
}
