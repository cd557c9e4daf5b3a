// SPDX-License-Identifier: ISC
// Playing a story.
//
// The driver's side runs the servers, moves the machine from network to network and hands in mail;
// the daemon's side is the daemon as it is, booted in the simulated world. What the daemon writes
// into its journal is heard on the way (the linker puts __wrap_store_commit before store_commit)
// and becomes the tale of each mail.
#include "simulate/play.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "main/daemon.h"
#include "queue/queue_view.h"
#include "sim/world.h"
#include "simulate/expect.h"
#include "simulate/life.h"
#include "simulate/lines.h"
#include "simulate/place.h"
#include "simulate/servers.h"
#include "simulate/tale.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY_MS = 24 * 3600 * 1000, COUNT_MOST = 100000, SIZE_MOST = 256 * 1024 * 1024 };

// Where a lying DNS sends to: no server of a story is here.
static const char NOBODY[] = "198.18.0.1";

static const int64_t SPAN_MOST_MS = (int64_t)366 * DAY_MS;

static struct {
    const struct story *story;
    const char *config_name;
    struct str config;
    struct play_result *result;
    struct err *err;
    bool failed;       // cannot go on
    struct conf *conf; // the driver's, to know the names
    struct daemon *daemon;
    struct loop *conductor;
    bool reloaded, reload_ok, synced;
    struct err boot_err;
    int64_t begin_ms;
    unsigned mails;
} run;

// ---- The journal, heard on the way ----

void __real_store_commit(struct store *store, struct store_commit *commit,
                         const struct store_op *ops, size_t count);
void __wrap_store_commit(struct store *store, struct store_commit *commit,
                         const struct store_op *ops, size_t count);
void __real_store_commit_quietly(struct store *store, const struct store_op *ops, size_t count);
void __wrap_store_commit_quietly(struct store *store, const struct store_op *ops, size_t count);

void __wrap_store_commit(struct store *store, struct store_commit *commit,
                         const struct store_op *ops, size_t count)
{
    tales_observe(ops, count);
    __real_store_commit(store, commit, ops, count);
}

void __wrap_store_commit_quietly(struct store *store, const struct store_op *ops, size_t count)
{
    tales_observe(ops, count);
    __real_store_commit_quietly(store, ops, count);
}

// ---- The daemon ----

// The files it names are not in this world.
static struct conf *read_conf(const char *name, struct str text, struct err *err)
{
    struct conf *conf = life_conf(name, text, true);
    if (conf == NULL)
        err_set(err, "the configuration has mistakes");
    return conf;
}

static void boot(void *ctx)
{
    struct conf *conf = read_conf(run.config_name, run.config, &run.boot_err);
    run.daemon = NULL;
    if (conf == NULL)
        return;
    life_begin(conf, &run.daemon, &run.conductor, &run.boot_err);
}

static void cannot(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void cannot(const char *format, ...)
{
    va_list args;
    char text[400];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!run.failed)
        err_set(run.err, "%s", text);
    run.failed = true;
}

static void start_daemon(void)
{
    if (world_boot(boot, NULL) == WORLD_CRASHED || run.daemon == NULL)
        cannot("the daemon does not start: %s", run.boot_err.text);
}

// The driver's own reading, for the names in it.
static bool know_conf(void)
{
    struct conf *conf = read_conf(run.config_name, run.config, run.err);
    if (conf == NULL) {
        run.failed = true;
        return false;
    }
    conf_unref(&run.conf);
    run.conf = conf;
    world_disk_mkdirs(conf->spool_dir);
    world_disk_mkdirs(conf->run_dir);
    servers_for_conf(conf);
    for (const struct story_domain *d = run.story->domains; d != NULL; d = d->next)
        servers_for_domain(d->name);
    return true;
}

static void on_reloaded(void *ctx, bool ok, const struct err *err)
{
    run.reloaded = true;
    run.reload_ok = ok;
    if (!ok)
        run.boot_err = *err;
}

static void reload(void *ctx)
{
    struct conf *conf = read_conf(run.config_name, run.config, &run.boot_err);
    daemon_reload(run.daemon, conf, on_reloaded, NULL);
    conf_unref(&conf);
}

static bool is_set(void *flag)
{
    return *(bool *)flag;
}

static void await(bool *flag)
{
    world_run_until(world_now_ms() + 60000, is_set, flag);
}

// ---- Mail ----

struct handed {
    struct envelope envelope;
    struct str content;
    uint64_t id;
    int64_t later_ms; // to be sent so long after it comes in
};

static void hand_in(void *ctx)
{
    struct handed *h = ctx;
    struct store *store = daemon_store(run.daemon);
    struct store_body *body = store_body_begin(store, run.conductor, h->content.len);
    struct err err;
    if (store_body_append(body, h->content.ptr, h->content.len, NULL, NULL, &err) < 0) {
        store_body_abort(&body);
        return;
    }
    h->id = store_next_id(store);
    h->envelope.accepted_ms = clock_wall_ms();
    if (h->later_ms > 0)
        h->envelope.release_ms = h->envelope.accepted_ms + h->later_ms;
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = h->id,
                          .wall_ms = h->envelope.accepted_ms,
                          .envelope = &h->envelope,
                          .body = body};
    __real_store_commit_quietly(store, &op, 1);
}

// What a step says of a mail in numbers.
struct mail_facts {
    uint64_t size, count;
    int64_t every_ms, later_ms;
    enum envelope_priority class;
};

static bool read_size(struct str text, uint64_t *size_out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct str unit = str_of(units[i].unit);
        if (str_iends(text, unit))
            return str_u64(str_make(text.ptr, text.len - unit.len), SIZE_MOST / units[i].factor,
                           size_out) &&
                   (*size_out *= units[i].factor) > 0;
    }
    return false;
}

static bool read_class(struct str word, enum envelope_priority *out)
{
    *out = str_eq(word, STR("urgent"))                             ? PRIORITY_URGENT
           : str_eq(word, STR("bulk")) || str_eq(word, STR("low")) ? PRIORITY_LOW
                                                                   : PRIORITY_NORMAL;
    return *out != PRIORITY_NORMAL || str_eq(word, STR("normal"));
}

static bool read_span(const struct yaml_node *what, const char *key, int64_t *ms_out)
{
    struct str text = story_text(what, key, "");
    return text.len == 0 || (time_parse_span(text, ms_out) && *ms_out <= SPAN_MOST_MS);
}

// False after it was said what makes no sense.
static bool read_facts(const struct yaml_node *what, struct mail_facts *out)
{
    *out = (struct mail_facts){0};
    const char *bad =
        !read_size(story_text(what, "size", "1KiB"), &out->size) ? "size` is 1 to 256MiB"
        : !str_u64(story_text(what, "count", "1"), COUNT_MOST, &out->count) || out->count == 0
            ? "count` is 1 to 100000"
        : !read_span(what, "every", &out->every_ms)
            ? "every` takes a time such as 30s, 5m or 2d, a year at most"
        : !read_span(what, "later", &out->later_ms)
            ? "later` takes a time such as 30s, 5m or 2d, a year at most"
        : !read_class(story_text(what, "class", "normal"), &out->class)
            ? "class` is low, normal or urgent"
            : NULL;
    if (bad != NULL)
        cannot("line %u: `%s", what->place.line, bad);
    return bad == NULL;
}

static void fill_headers(struct envelope *e, const struct yaml_node *what, struct arena *arena)
{
    const struct yaml_node *header = yaml_get(what, "header");
    if (header == NULL || header->kind != YAML_MAP)
        return;
    e->headers = arena_alloc(arena, header->count * sizeof(*e->headers));
    for (const struct yaml_node *n = header->first; n != NULL; n = n->next) {
        char *name = arena_str(arena, n->key->text);
        for (char *c = name; *c != '\0'; c++)
            *c = ascii_lower(*c);
        for (size_t i = 0; i < run.conf->ask_header_count; i++)
            if (strcmp(run.conf->asks_headers[i], name) == 0)
                e->headers[e->header_count++] =
                    (struct envelope_header){.name = str_of(name), .text = n->text};
    }
}

static void one_mail(const struct yaml_node *what, const struct mail_facts *facts, const char *name)
{
    struct arena *arena = arena_new();
    struct handed h = {0};
    struct envelope *e = &h.envelope;
    e->sender = story_text(what, "from", run.story->sender);
    if (str_eq(e->sender, STR("<>")))
        e->sender = STR("");
    e->client = story_text(what, "client", "uid 1000");
    e->user = story_text(what, "user", "");
    e->listener = story_text(what, "listener", "submit");
    e->subject = str_of(name);
    e->priority = facts->class;
    fill_headers(e, what, arena);
    h.later_ms = facts->later_ms;
    e->hold_s = (uint32_t)(h.later_ms / 1000);
    const struct yaml_node *to = yaml_get(what, "to");
    for (const struct yaml_node *n = story_first(to); n != NULL; n = story_next(to, n)) {
        struct envelope_rcpt *rcpt = envelope_add(e, arena);
        rcpt->address = n->text;
        servers_for_domain(arena_str(arena, envelope_domain(n->text)));
    }
    servers_for_domain(arena_str(arena, envelope_domain(e->sender)));
    struct buf content;
    buf_init(&content, facts->size + 4096);
    buf_printf(&content, "Message-ID: <story-%u@example.org>\r\nSubject: %s\r\n\r\n", ++run.mails,
               name);
    static const char line[] = "A line of a message in a story, and nothing more to it.\r\n";
    while (content.len + sizeof(line) <= facts->size)
        buf_puts(&content, line);
    h.content = buf_str(&content);
    struct tale *t = tale_add(name, e, facts->size);
    if (run.daemon != NULL)
        world_boot(hand_in, &h);
    t->id = h.id;
    tales_world("%s is handed in: <%.*s> to <%.*s>%s", name, STR_FMT(e->sender),
                STR_FMT(e->rcpts[0].address), e->count > 1 ? " and others" : "");
    if (h.id == 0)
        cannot("line %u: the daemon did not take the mail", what->place.line);
    buf_free(&content);
    arena_free(&arena);
}

static void spend_until(int64_t until_ms);

static void do_mail(const struct yaml_node *what)
{
    if (what->kind == YAML_LIST) {
        for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
            do_mail(n);
        return;
    }
    struct mail_facts facts;
    if (!read_facts(what, &facts))
        return;
    char name[100], automatic[20];
    snprintf(automatic, sizeof(automatic), "mail%u", run.mails + 1);
    struct str base = story_text(what, "name", automatic);
    for (uint64_t i = 0; i < facts.count && !run.failed; i++) {
        if (facts.count == 1)
            snprintf(name, sizeof(name), "%.*s", STR_FMT(base));
        else
            snprintf(name, sizeof(name), "%.*s.%llu", STR_FMT(base), (unsigned long long)i + 1);
        one_mail(what, &facts, name);
        if (facts.every_ms > 0 && i + 1 < facts.count)
            spend_until(world_now_ms() + facts.every_ms);
    }
}

// ---- Other deeds ----

struct order {
    enum verb verb;
    struct str name;
    uint64_t id;
    int64_t in_ms; // send-at
    char text[600];
    bool ok;
};

// That there is no next one is an answer, as a person at the machine would get it.
static void pick_next(struct queue *q, struct order *o)
{
    struct err err = {0};
    struct buf passed;
    buf_init(&passed, LIMIT_LOG_LINE);
    const char *next = queue_pick_next(q, "the story", &passed, &err);
    if (next == NULL)
        snprintf(o->text, sizeof(o->text), "%s", err.text);
    else
        snprintf(o->text, sizeof(o->text), "%s is picked by hand, the next one%s%s%s", next,
                 passed.len > 0 ? " (passed over: " : "", buf_cstr(&passed),
                 passed.len > 0 ? ")" : "");
    buf_free(&passed);
}

static bool pick(struct queue *q, struct order *o, struct err *err)
{
    bool automatic = str_eq(o->name, STR("auto"));
    snprintf(o->text, sizeof(o->text),
             automatic ? "the choice is automatic again" : "%.*s is picked by hand",
             STR_FMT(o->name));
    return queue_pick(q, automatic ? STR("") : o->name, "the story", err);
}

static void give_order(void *ctx)
{
    struct order *o = ctx;
    struct queue *q = daemon_queue(run.daemon);
    struct err err = {0};
    switch (o->verb) {
    case VERB_RETRY: o->ok = queue_retry(q, o->id); break;
    case VERB_NOW: o->ok = queue_send_now(q, o->id, "the story") && queue_retry(q, o->id); break;
    case VERB_SEND_AT:
        o->ok = queue_send_at(q, o->id, clock_wall_ms() + o->in_ms, "the story");
        break;
    case VERB_HOLD: o->ok = queue_hold(q, o->id, "the story"); break;
    case VERB_RELEASE: o->ok = queue_release(q, o->id, "the story"); break;
    case VERB_DROP: o->ok = queue_drop(q, o->id, false, "the story", &err); break;
    case VERB_RESTORE: o->ok = queue_restore(q, o->id, "the story"); break;
    case VERB_PICK:
        if (str_eq(o->name, STR("next")))
            pick_next(q, o);
        else
            o->ok = pick(q, o, &err);
        break;
    case VERB_FORGET:
        o->ok = queue_forget_seen(q, o->name, "the story", &err);
        snprintf(o->text, sizeof(o->text), "%.*s is taken as it answers now", STR_FMT(o->name));
        break;
    default: break;
    }
    if (!o->ok)
        snprintf(o->text, sizeof(o->text), "%s", err.text);
}

static void order_in(enum verb verb, const struct yaml_node *what, int64_t in_ms)
{
    struct order o = {.verb = verb, .name = what->text, .in_ms = in_ms, .ok = true};
    if (verb != VERB_PICK && verb != VERB_FORGET && !str_eq(what->text, STR("all"))) {
        struct tale *t = tale_named(what->text);
        if (t == NULL) {
            cannot("line %u: there is no mail `%.*s`", what->place.line, STR_FMT(what->text));
            return;
        }
        o.id = t->id;
    }
    world_boot(give_order, &o);
    if (o.text[0] != '\0')
        tales_world("%s", o.text);
    if (!o.ok)
        cannot("line %u: %s", what->place.line,
               o.text[0] != '\0' ? o.text : "that mail does not wait any more");
}

static void order_one(enum verb verb, const struct yaml_node *what)
{
    order_in(verb, what, 0);
}

static void do_send_at(const struct yaml_node *what)
{
    const struct yaml_node *mail = yaml_get(what, "mail");
    int64_t in_ms = 0;
    if (mail == NULL || !time_parse_span(story_text(what, "in", ""), &in_ms))
        cannot("line %u: write send-at: {mail: NAME, in: 2h}", what->place.line);
    else
        order_in(VERB_SEND_AT, mail, in_ms);
}

static void do_server(const struct yaml_node *what)
{
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next) {
        struct buf text;
        buf_init(&text, 1000);
        if (!server_change(n->key->text, n)) {
            const char *near = server_near(n->key->text);
            cannot("line %u: there is no server `%.*s`%s%s%s", n->place.line, STR_FMT(n->key->text),
                   near != NULL ? "; did you mean `" : "", near != NULL ? near : "",
                   near != NULL ? "`?" : "");
        }
        server_tell(n, &text);
        tales_world("%.*s %s", STR_FMT(n->key->text), buf_cstr(&text));
        buf_free(&text);
    }
}

static void do_line(const struct yaml_node *what)
{
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
        if (!line_change(n->key->text, n))
            cannot("line %u: there are too many lines", n->place.line);
}

static void do_block(const struct yaml_node *what)
{
    bool none = what->kind == YAML_SCALAR;
    servers_block(none ? NULL : what);
    tales_world(none ? "no port is blocked any more" : "ports are blocked on the way out");
}

static void do_dns(const struct yaml_node *what)
{
    if (what->kind == YAML_SCALAR) {
        bool lies = str_eq(what->text, STR("lies"));
        bool dead = !lies && !str_eq(what->text, STR("alive"));
        world_names_dead(dead, str_eq(what->text, STR("silent")));
        world_names_lie(lies ? NOBODY : NULL);
        tales_world("DNS %s%.*s", lies ? "" : "is ", STR_FMT(what->text));
        return;
    }
    static const struct {
        const char *word;
        enum names_status status;
    } words[] = {{"alive", NAMES_OK},
                 {"failed", NAMES_FAILED},
                 {"gone", NAMES_NXDOMAIN},
                 {"bogus", NAMES_BOGUS}};
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next) {
        char name[300];
        snprintf(name, sizeof(name), "%.*s", STR_FMT(n->key->text));
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (str_eq(n->text, str_of(words[i].word)))
                for (int type = 0; type < 3; type++)
                    world_name_status(name,
                                      (enum names_type[]){NAMES_MX, NAMES_A, NAMES_AAAA}[type],
                                      words[i].status);
        tales_world("DNS: %s is %.*s", name, STR_FMT(n->text));
    }
}

static void do_clock(const struct yaml_node *what)
{
    struct str text = what->text;
    bool back = text.len > 0 && text.ptr[0] == '-';
    int64_t ms;
    if (text.len > 0 && (back || text.ptr[0] == '+'))
        text = str_make(text.ptr + 1, text.len - 1);
    if (!time_parse_span(text, &ms)) {
        cannot("line %u: `clock` takes a time such as +2h or -1d", what->place.line);
        return;
    }
    world_jump_clock(back ? -ms : ms);
    tales_world("the clock is set %s by %.*s", back ? "back" : "forward", STR_FMT(text));
}

static void on_synced(struct store_commit *barrier)
{
    run.synced = true;
}

static void ask_for_sync(void *ctx)
{
    store_commit(daemon_store(run.daemon), ctx, NULL, 0);
}

// Mail that was handed in has had its 250, which takes longer than the story's next line.
static void await_250(void)
{
    struct store_commit barrier = {.home = run.conductor, .done = on_synced};
    run.synced = false;
    world_boot(ask_for_sync, &barrier);
    await(&run.synced);
}

static void do_crash(const struct yaml_node *what)
{
    await_250();
    bool power = str_eq(what->text, STR("power"));
    tales_world(power ? "the power fails, and comes back"
                      : "the daemon is killed, and starts again");
    tales_crash();
    world_crash(power ? WORLD_POWER_CUT : WORLD_KILLED);
    run.daemon = NULL;
    spend_until(world_now_ms() + 1000);
    start_daemon();
}

static void do_reload(const struct yaml_node *what)
{
    char name[100];
    snprintf(name, sizeof(name), "%.*s", STR_FMT(what->text));
    struct str text = story_text(run.story->extra_configs, name, "");
    if (text.len == 0) {
        cannot("line %u: there is no configuration `%s` under `configs`", what->place.line, name);
        return;
    }
    run.config = text;
    if (!know_conf())
        return;
    run.reloaded = false;
    world_boot(reload, NULL);
    await(&run.reloaded);
    tales_world("the configuration is now `%s`", name);
    if (!run.reloaded || !run.reload_ok)
        cannot("line %u: the reload failed: %s", what->place.line, run.boot_err.text);
}

static void each(const struct yaml_node *what, enum verb verb)
{
    for (const struct yaml_node *n = story_first(what); n != NULL; n = story_next(what, n))
        order_one(verb, n);
}

static void do_expect(const struct yaml_node *what)
{
    if (what->kind == YAML_LIST) {
        for (const struct yaml_node *n = what->first; n != NULL; n = n->next)
            do_expect(n);
        return;
    }
    struct buf wrong;
    buf_init(&wrong, 1 << 16);
    run.result->expectations++;
    if (!expect_holds(daemon_queue(run.daemon), run.conf, what, &wrong)) {
        while (wrong.len > 0 && strchr("; ", wrong.data[wrong.len - 1]) != NULL)
            wrong.len--;
        char clock[32];
        run.result->failures++;
        buf_printf(&run.result->faults, "%s:%u: at %s not as expected: %s\n", run.story->file,
                   what->place.line, tale_clock(world_now_ms() - run.begin_ms, clock),
                   buf_cstr(&wrong));
        tales_world("NOT AS EXPECTED (line %u): %s", what->place.line, buf_cstr(&wrong));
    }
    buf_free(&wrong);
}

static void do_deed(const struct deed *d)
{
    struct err err = {0};
    switch (d->verb) {
    case VERB_LINKS:
        if (!place_links(d->what, &err))
            cannot("line %u: %s", d->what->place.line, err.text);
        break;
    case VERB_CONNECTION:
        if (!place_connection(d->what, &err))
            cannot("line %u: %s", d->what->place.line, err.text);
        break;
    case VERB_MAIL: do_mail(d->what); break;
    case VERB_SERVER: do_server(d->what); break;
    case VERB_LINE: do_line(d->what); break;
    case VERB_BLOCK: do_block(d->what); break;
    case VERB_DNS: do_dns(d->what); break;
    case VERB_CLOCK: do_clock(d->what); break;
    case VERB_CRASH: do_crash(d->what); break;
    case VERB_RELOAD: do_reload(d->what); break;
    case VERB_PICK:
    case VERB_FORGET:
    case VERB_RETRY:
    case VERB_HOLD:
    case VERB_NOW:
    case VERB_RELEASE:
    case VERB_RESTORE:
    case VERB_DROP: each(d->what, d->verb); break;
    case VERB_SEND_AT: do_send_at(d->what); break;
    case VERB_EXPECT: do_expect(d->what); break;
    case VERB_NOTE: tales_world("%.*s", STR_FMT(d->what->text)); break;
    case VERBS: break;
    }
}

// ---- Time ----

static void spend_until(int64_t until_ms)
{
    while (world_now_ms() < until_ms && !run.failed) {
        if (world_run_until(until_ms, NULL, NULL) == WORLD_CRASHED)
            cannot("the daemon died by itself; this is a fault of waypost");
    }
}

static void stop_daemon(void)
{
    if (run.daemon != NULL)
        life_end(&run.daemon, &run.conductor);
}

// The promise holds in every story, whatever it expects.
static void check_promise(void)
{
    for (struct tale *t = tale_first(); t != NULL; t = t->next) {
        for (size_t i = 0; i < t->count; i++) {
            const struct tale_rcpt *r = &t->rcpts[i];
            bool arrived = r->state == RCPT_DELIVERED || r->state == RCPT_RELAYED;
            bool explained = r->was_in_doubt || t->was_crash;
            if (arrived && r->copies == 0)
                buf_printf(&run.result->faults, "%s: %s was lost: no server has it for <%s>\n",
                           run.story->file, t->name, r->address);
            else if (r->copies > 1 && !explained)
                buf_printf(&run.result->faults,
                           "%s: %s came %u times to <%s>, and nothing says why\n", run.story->file,
                           t->name, r->copies, r->address);
            else
                continue;
            run.result->failures++;
        }
    }
}

static void play_steps(void)
{
    run.begin_ms = world_now_ms();
    for (const struct step *s = run.story->steps; s != NULL && !run.failed; s = s->next) {
        // Some deeds take time of their own: mail that comes every minute, a crash.
        int64_t at_ms = run.begin_ms + s->at_ms;
        while (s->after_ms < 0 && at_ms < world_now_ms())
            at_ms += DAY_MS;
        spend_until(s->after_ms >= 0 ? world_now_ms() + s->after_ms : at_ms);
        for (const struct deed *d = s->deeds; d != NULL && !run.failed; d = d->next)
            do_deed(d);
    }
}

bool play(const struct story *story, const char *config_name, struct str config,
          const struct play_options *options, bool json, struct play_result *result,
          struct err *err)
{
    memset(&run, 0, sizeof(run));
    run.story = story;
    run.config_name = config_name;
    run.config = config;
    run.result = result;
    run.err = err;
    life_segment_bytes = 1 << 20;
    world_new(options->seed);
    world_set_zone(story->zone_minutes);
    world_jump_clock(story->start_ms - clock_wall_ms());
    log_setup(options->details ? LOG_INFO_LEVEL : LOG_ERROR_LEVEL, LOG_TEXT);
    tales_new(story->start_ms, story->zone_minutes, options->follow);
    servers_new(story, tales_stored, NULL);
    place_new();
    if (know_conf()) {
        // What stands first without time before it is how the day begins.
        start_daemon();
        play_steps();
    }
    if (!run.failed)
        check_promise();
    if (json) {
        struct json j = json_answer(&result->tales);
        json_text(&j, "title", story->title);
        json_int(&j, "expectations", result->expectations);
        json_int(&j, "failures", result->failures);
        tales_json(&j);
        json_close(&j);
        buf_putc(&result->tales, '\n');
    } else {
        tales_print(&result->tales);
    }
    stop_daemon();
    servers_free();
    tales_free();
    conf_unref(&run.conf);
    world_free();
    return !run.failed;
}
