// SPDX-License-Identifier: ISC
// Comparing what is with what a story expects.
#include "simulate/expect.h"
#include "base/timefmt.h"
#include "queue/queue_view.h"
#include "sim/world.h"
#include "simulate/lines.h"
#include "simulate/place.h"
#include "simulate/servers.h"
#include "simulate/story.h"
#include "simulate/tale.h"
#include "watch/watch.h"

#include <stdio.h>

// What the daemon is asked, in its own world.
struct question {
    struct queue *queue;
    uint64_t id;
    char active[100], why[QUEUE_WHY], picked[100];
    uint64_t waiting;
    uint64_t networks;
    struct buf *explained;
};

static void ask(void *ctx)
{
    struct question *k = ctx;
    struct queue_counts counts;
    struct watch_snapshot *where;
    const char *active = queue_active_gateway(k->queue, k->why), *picked;
    int64_t until_ms;
    snprintf(k->active, sizeof(k->active), "%s", active != NULL ? active : "none");
    picked = queue_picked(k->queue, &until_ms);
    snprintf(k->picked, sizeof(k->picked), "%s", picked != NULL ? picked : "none");
    queue_counts(k->queue, &counts);
    k->waiting = counts.recipients;
    where = queue_where(k->queue);
    k->networks = where != NULL ? where->holding : 0;
    if (k->id == 0)
        return;
    // The buffer's memory is the driver's: nothing of it may grow in here.
    struct buf out;
    buf_init(&out, 60000);
    queue_explain(k->queue, k->id, &(struct queue_assume){0}, &out, NULL);
    if (out.len > 0)
        memcpy(k->explained->data, out.data, out.len);
    k->explained->len = out.len;
    buf_free(&out);
}

static bool number_is(const struct yaml_node *what, const char *key, uint64_t is, struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, key);
    uint64_t want;
    if (n == NULL)
        return true;
    struct str text = n->text;
    bool most = text.len > 0 && text.ptr[0] == '<', least = text.len > 0 && text.ptr[0] == '>';
    if (most || least)
        text = str_trim(str_make(text.ptr + 1, text.len - 1));
    if (!str_u64(text, UINT64_MAX, &want)) {
        buf_printf(wrong, "`%s: %.*s` is no number; ", key, STR_FMT(n->text));
        return false;
    }
    if (most ? is <= want : least ? is >= want : is == want)
        return true;
    buf_printf(wrong, "%s is %llu, not %.*s; ", key, (unsigned long long)is, STR_FMT(n->text));
    return false;
}

static bool text_is(const struct yaml_node *what, const char *key, const char *is,
                    struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, key);
    if (n == NULL || str_eq(n->text, str_of(is != NULL ? is : "none")))
        return true;
    buf_printf(wrong, "`%s` is %s, not %.*s; ", key, is != NULL ? is : "none", STR_FMT(n->text));
    return false;
}

// The gateways tried in their order, one after the other counted once.
static bool tried_is(const struct yaml_node *what, const struct tale_rcpt *r, struct buf *wrong)
{
    const struct yaml_node *list = yaml_get(what, "tried"), *n = story_first(list);
    bool same = true;
    if (list == NULL)
        return true;
    for (size_t i = 0; i < r->tried_count && same; i++) {
        if (i > 0 && r->tried[i] == r->tried[i - 1])
            continue;
        same = n != NULL && str_eq(n->text, str_of(r->tried[i]));
        n = n != NULL ? story_next(list, n) : NULL;
    }
    if (same && n == NULL)
        return true;
    buf_puts(wrong, "tried were");
    for (size_t i = 0; i < r->tried_count; i++)
        buf_printf(wrong, " %s", r->tried[i]);
    buf_puts(wrong, r->tried_count == 0 ? " none; " : "; ");
    return false;
}

static bool within_is(const struct yaml_node *what, const struct tale *t, const struct tale_rcpt *r,
                      struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, "within");
    char span[TIME_TEXT];
    int64_t most;
    if (n == NULL)
        return true;
    if (!time_parse_span(n->text, &most)) {
        buf_printf(wrong, "`within: %.*s` is no time; ", STR_FMT(n->text));
        return false;
    }
    if (r->end_ms >= 0 && r->end_ms - t->begin_ms <= most)
        return true;
    if (r->end_ms < 0)
        buf_puts(wrong, "it has not ended; ");
    else
        buf_printf(wrong, "it took %s; ", time_span(r->end_ms - t->begin_ms, span));
    return false;
}

static bool why_is(const struct yaml_node *what, const struct tale *t, struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, "why");
    if (n == NULL)
        return true;
    for (const struct tale_event *e = t->events; e != NULL; e = e->next)
        if (str_glob(n->text, str_of(e->text)))
            return true;
    buf_printf(wrong, "nothing in its timeline says %.*s; ", STR_FMT(n->text));
    return false;
}

static bool rcpt_holds(const struct yaml_node *what, const struct tale *t,
                       const struct tale_rcpt *r, struct buf *wrong)
{
    const char *state = tale_state(t, r);
    size_t before = wrong->len;
    buf_printf(wrong, "%s to <%s>: ", t->name, r->address);
    bool ok = text_is(what, "is", state, wrong);
    ok &= text_is(what, "via", r->via, wrong);
    ok &= number_is(what, "tries", r->tries, wrong);
    ok &= number_is(what, "copies", r->copies, wrong);
    ok &= tried_is(what, r, wrong);
    ok &= within_is(what, t, r, wrong);
    if (ok)
        wrong->len = before;
    return ok;
}

// `mail: offer` also stands for offer.1, offer.2, ...
static bool mail_is(const struct tale *t, struct str name)
{
    size_t len = strlen(t->name);
    return str_eq(str_of(t->name), name) ||
           (len > name.len && strncmp(t->name, name.ptr, name.len) == 0 &&
            t->name[name.len] == '.');
}

static bool mails_hold(const struct yaml_node *what, struct buf *wrong)
{
    const struct yaml_node *mail = yaml_get(what, "mail"), *to = yaml_get(what, "to");
    bool ok = true, any = false;
    for (const struct yaml_node *n = story_first(mail); n != NULL; n = story_next(mail, n))
        for (const struct tale *t = tale_first(); t != NULL; t = t->next) {
            if (!mail_is(t, n->text) && !str_eq(n->text, STR("all")))
                continue;
            for (size_t i = 0; i < t->count; i++) {
                if (to != NULL && !str_glob(to->text, str_of(t->rcpts[i].address)))
                    continue;
                any = true;
                ok &= rcpt_holds(what, t, &t->rcpts[i], wrong);
            }
            ok &= why_is(what, t, wrong);
        }
    if (mail != NULL && !any) {
        buf_puts(wrong, "there is no such mail; ");
        return false;
    }
    return ok;
}

static bool server_holds(const struct yaml_node *what, struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, "server");
    unsigned mails, connections;
    if (n == NULL)
        return true;
    if (!server_counts(n->text, &mails, &connections)) {
        buf_printf(wrong, "there is no server %.*s; ", STR_FMT(n->text));
        return false;
    }
    bool ok = number_is(what, "mails", mails, wrong);
    ok &= number_is(what, "connections", connections, wrong);
    if (!ok)
        buf_printf(wrong, "(server %.*s) ", STR_FMT(n->text));
    return ok;
}

static bool line_holds(const struct yaml_node *what, struct buf *wrong)
{
    const struct yaml_node *n = yaml_get(what, "line");
    unsigned dialled, hung_up;
    if (n == NULL)
        return true;
    if (!line_counts(n->text, &dialled, &hung_up)) {
        buf_printf(wrong, "there is no line %.*s; ", STR_FMT(n->text));
        return false;
    }
    bool ok = number_is(what, "dialled", dialled, wrong);
    ok &= number_is(what, "hung_up", hung_up, wrong);
    return ok;
}

static bool networks_hold(const struct yaml_node *what, const struct conf *conf, uint64_t holding,
                          struct buf *wrong)
{
    const struct yaml_node *list = yaml_get(what, "holds");
    uint64_t want = 0;
    if (list == NULL)
        return true;
    for (const struct yaml_node *n = story_first(list); n != NULL; n = story_next(list, n)) {
        size_t i = 0;
        while (i < conf->network_count && !str_eq(n->text, str_of(conf->networks[i].name)))
            i++;
        if (i == conf->network_count) {
            buf_printf(wrong, "there is no network %.*s; ", STR_FMT(n->text));
            return false;
        }
        want |= UINT64_C(1) << i;
    }
    if (want == holding)
        return true;
    buf_puts(wrong, "networks that hold:");
    for (size_t i = 0; i < conf->network_count; i++)
        if ((holding >> i & 1) != 0)
            buf_printf(wrong, " %s", conf->networks[i].name);
    buf_puts(wrong, holding == 0 ? " none; " : "; ");
    return false;
}

bool expect_holds(struct queue *q, const struct conf *conf, const struct yaml_node *what,
                  struct buf *wrong)
{
    struct question k = {.queue = q};
    const struct yaml_node *mail = yaml_get(what, "mail"), *explain = yaml_get(what, "explain"),
                           *not = yaml_get(what, "not");
    struct buf explained;
    buf_init(&explained, 1 << 16);
    buf_reserve(&explained, 60000);
    k.explained = &explained;
    struct tale *t = mail != NULL && mail->kind == YAML_SCALAR ? tale_named(mail->text) : NULL;
    if (explain != NULL && t != NULL)
        k.id = t->id;
    world_boot(ask, &k);
    bool ok = mails_hold(what, wrong);
    ok &= server_holds(what, wrong);
    ok &= line_holds(what, wrong);
    ok &= text_is(what, "active", k.active, wrong);
    ok &= text_is(what, "picked", k.picked, wrong);
    ok &= number_is(what, "waiting", k.waiting, wrong);
    ok &= networks_hold(what, conf, k.networks, wrong);
    if (explain != NULL && !str_glob(explain->text, buf_str(&explained))) {
        buf_printf(wrong, "the explanation says otherwise:\n%s", buf_cstr(&explained));
        ok = false;
    }
    if (not != NULL) {
        struct buf ignored;
        buf_init(&ignored, 1 << 16);
        if (expect_holds(q, conf, not, &ignored)) {
            buf_puts(wrong, "what stands under `not` is so; ");
            ok = false;
        }
        buf_free(&ignored);
    }
    buf_free(&explained);
    return ok;
}
