// SPDX-License-Identifier: ISC
// The configuration made of what was found is read as any other, and its gateways are probed: so
// what is tried is what would be used.
#include "main/import_try.h"
#include "base/mem.h"
#include "conf/read.h"
#include "deliver/diagnose.h"
#include "main/probing.h"
#include "sys/service.h"

#include <stdio.h>
#include <string.h>

enum { LIMIT_MS = 15 * 1000, NAMES_MS = 5 * 1000, COMMAND_MS = 60 * 1000, PASSWORD_MOST = 4096 };

struct tried {
    struct import_try *all;
    const struct import_found *found;
    struct conf_gateway gateway;
    char *password;     // wiped; NULL: no login is tried
    char no_login[200]; // why not; "" it is, or was not asked for
    struct deliver_probe probe;
    struct diagnosis result;
};

struct import_try {
    struct conf *conf;
    struct loop *loop;
    bool login;
    size_t count, open;
    struct tried *list;
};

// ---- Passwords ----

static void take_password(struct tried *t)
{
    const struct import_found *f = t->found;
    struct err err = {0};
    if (f->login == IMPORT_LOGIN_OAUTH2 || f->login == IMPORT_LOGIN_OTHER) {
        snprintf(t->no_login, sizeof(t->no_login),
                 "it logs in with something else than a password");
    } else if (f->secret == IMPORT_SECRET_CLEAR && f->password != NULL) {
        t->password = xstrdup(f->password);
    } else if (f->secret_command != NULL) {
        t->password = command_output(f->secret_command, COMMAND_MS, PASSWORD_MOST, &err);
        if (t->password == NULL)
            snprintf(t->no_login, sizeof(t->no_login), "its command gives no password: %.120s",
                     err.text);
    } else {
        snprintf(t->no_login, sizeof(t->no_login), "its password cannot be got at");
    }
}

static void wipe(char **password)
{
    if (*password != NULL)
        explicit_bzero(*password, strlen(*password));
    xfree(*password);
    *password = NULL;
}

// ---- Asking ----

static void on_done(struct deliver_probe *p)
{
    struct tried *t = p->ctx;
    const struct conf_gateway *g = &t->gateway;
    diagnose(p, g->unix_path != NULL ? g->unix_path : g->host, g->port, &t->result);
    if (--t->all->open == 0)
        loop_stop(t->all->loop);
}

static void add(struct import_try *all, const struct import_found *f)
{
    const struct conf_gateway *g = conf_gateway_find(all->conf, str_of(f->name));
    if (g == NULL)
        return;
    struct tried *t = &all->list[all->count++];
    *t = (struct tried){.all = all, .found = f, .gateway = *g};
    if (all->login && f->user != NULL)
        take_password(t);
    t->gateway.password = t->password;
    t->gateway.user = t->password != NULL ? g->user : NULL;
    t->probe = (struct deliver_probe){.done = on_done,
                                      .ctx = t,
                                      .conf = all->conf,
                                      .gateway = &t->gateway,
                                      .depth = t->password != NULL ? PROBE_AUTH : PROBE_EHLO,
                                      .domain = "",
                                      .limit_ms = LIMIT_MS};
}

static bool ask_all(struct import_try *all, struct err *err)
{
    struct probing p;
    if (!probing_open(&p, all->conf, NAMES_MS, err))
        return false;
    all->loop = p.loop;
    all->open = all->count;
    for (size_t i = 0; i < all->count; i++) {
        all->list[i].probe.home = p.loop;
        deliver_probe(p.deliver, &all->list[i].probe);
    }
    if (all->count > 0)
        loop_run(p.loop);
    probing_close(&p);
    return true;
}

struct import_try *import_try(struct import *im, struct str yaml, bool login, struct err *err)
{
    struct conf_report report = {0};
    struct import_try *all = xcalloc(1, sizeof(*all));
    conf_report_init(&report);
    report.text_only = true; // the files of passwords are not written yet
    all->login = login;
    all->conf = conf_read_text("(imported)", yaml, &report);
    conf_report_free(&report);
    if (all->conf == NULL) {
        err_set(err,
                "the configuration made of it cannot be read; see `waypost config check` of it");
        import_try_free(&all);
        return NULL;
    }
    all->list = xcalloc(all->conf->gateway_count, sizeof(*all->list));
    for (const struct import_found *f = im->found; f != NULL; f = f->next)
        if (import_kept(f) == f && all->count < all->conf->gateway_count)
            add(all, f);
    bool ok = ask_all(all, err);
    for (size_t i = 0; i < all->count; i++)
        wipe(&all->list[i].password);
    if (!ok)
        import_try_free(&all);
    return all;
}

void import_try_free(struct import_try **tp)
{
    struct import_try *all = *tp;
    *tp = NULL;
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->count; i++) {
        wipe(&all->list[i].password);
        buf_free(&all->list[i].probe.transcript);
    }
    xfree(all->list);
    conf_unref(&all->conf);
    xfree(all);
}

// ---- Telling ----

bool import_try_all_work(const struct import_try *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].result.fault != FAULT_NONE)
            return false;
    return true;
}

// How far it was asked, in words.
static const char *how_far(const struct tried *t)
{
    if (t->probe.depth == PROBE_AUTH)
        return "with the login";
    return t->found->user == NULL ? "it wants no login" : "the login was not tried";
}

void import_try_say(const struct import_try *all, struct buf *out)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct tried *t = &all->list[i];
        const struct diagnosis *d = &t->result;
        const char *layer = diagnosis_layer(d->fault), *next = diagnosis_next(d->fault);
        buf_printf(out, "  %-12s %s", t->found->name, diagnosis_word(d->fault));
        if (d->fault == FAULT_NONE)
            buf_printf(out, ", %s: %s\n", how_far(t), t->probe.facts);
        else
            buf_printf(out, "%s%s%s: %s\n", layer != NULL ? " (" : "", layer != NULL ? layer : "",
                       layer != NULL ? ")" : "", d->why);
        if (t->no_login[0] != '\0')
            buf_printf(out, "  %-12s no login: %s\n", "", t->no_login);
        if (d->remark[0] != '\0')
            buf_printf(out, "  %-12s note: %s\n", "", d->remark);
        if (next != NULL)
            buf_printf(out, "  %-12s next: %s\n", "", next);
    }
}

void import_try_json(const struct import_try *all, struct json *j)
{
    json_open_array(j, "tried");
    for (size_t i = 0; all != NULL && i < all->count; i++) {
        const struct tried *t = &all->list[i];
        const struct diagnosis *d = &t->result;
        json_open(j, NULL);
        json_text(j, "name", t->found->name);
        json_bool(j, "works", d->fault == FAULT_NONE);
        json_bool(j, "login", t->probe.depth == PROBE_AUTH);
        json_text(j, "no_login", t->no_login[0] != '\0' ? t->no_login : NULL);
        json_text(j, "fault", d->fault != FAULT_NONE ? diagnosis_word(d->fault) : NULL);
        json_text(j, "layer", diagnosis_layer(d->fault));
        json_text(j, "text", d->why);
        json_text(j, "next", diagnosis_next(d->fault));
        json_text(j, "facts", t->probe.facts);
        json_close(j);
    }
    json_close_array(j);
}
