// SPDX-License-Identifier: ISC
// Simulated SMTP servers that do as the story tells them, and what stands in for maildirs and
// programs of this machine.
#include "simulate/servers.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "conf/schema.h"
#include "sim/world.h"
#include "simulate/lines.h"
#include "sys/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum phase { AT_GREETING, AT_EHLO, AT_AUTH, AT_MAIL, AT_RCPT, AT_DATA, AT_FINAL, PHASES };
static const char *const phase_keys[PHASES] = {"greeting", "ehlo", "auth", "mail",
                                               "rcpt",     "data", "final"};
static const char *const phase_words[PHASES] = {"connections", "EHLO", "logins",     "MAIL",
                                                "RCPT",        "DATA", "the message"};

enum being { IS_UP, IS_DOWN, IS_SILENT, IS_UNREACHABLE, IS_LOSING, IS_CLOSING };
static const struct {
    const char *word, *sentence;
} beings[] = {[IS_UP] = {"up", "works"},
              [IS_DOWN] = {"down", "refuses connections"},
              [IS_SILENT] = {"silent", "does not answer any more"},
              [IS_UNREACHABLE] = {"unreachable", "cannot be reached any more"},
              [IS_LOSING] = {"lose-final", "takes messages, but its last answer is lost"},
              [IS_CLOSING] = {"closing", "closes connections at once"}};
enum { BEINGS = sizeof(beings) / sizeof(beings[0]) };

struct server {
    struct server *next;
    char *name;
    struct net_addr addr;
    bool implicit_tls, no_tls, no_login;
    enum being being;
    char *reply[PHASES];          // instead of the good one; NULL: the good one
    char *only;                   // replies above only for recipients that match
    const struct yaml_node *from; // reached only from these addresses
    int64_t slow_ms;              // before each answer
    unsigned limit, now;          // connections at once; 0: any number
    unsigned mails, connections;
    // On this machine; NULL: a server. What a program ends with and prints.
    char *path;
    int exit;
    char *says;
    struct listener *listener;
};
// Another name for a server: two gateways may be accounts on one.
struct alias {
    struct alias *next;
    char *name;
    struct server *server;
};

struct session {
    struct session *next;
    struct server *server;
    struct stream *stream;
    struct timer timer;
    char pending[600]; // the slow answer
    bool waiting, in_data, in_header;
    char sender[300], rcpts[50][300];
    size_t rcpt_count;
    unsigned number;
};

static struct {
    const struct story *story;
    struct server *servers;
    struct alias *aliases;
    struct session *sessions;
    unsigned count; // for addresses
    struct tls_server *identity;
    server_stored *stored;
    void *ctx;
    const struct net_range *own;
    size_t own_count;
    const struct yaml_node *block;
} all;

// ---- A session ----

static void say(struct session *s, const char *text)
{
    if (s->server->slow_ms == 0) {
        stream_write(s->stream, text, strlen(text));
        stream_write(s->stream, "\r\n", 2);
        return;
    }
    size_t len = strlen(s->pending);
    snprintf(s->pending + len, sizeof(s->pending) - len, "%s\r\n", text);
    if (!s->waiting)
        timer_start(&s->timer, s->server->slow_ms);
    s->waiting = true;
}

static void on_slow(void *ctx)
{
    struct session *s = ctx;
    s->waiting = false;
    stream_write(s->stream, s->pending, strlen(s->pending));
    s->pending[0] = '\0';
}

static void end(struct session *s)
{
    struct session **at = &all.sessions;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->server->now--;
    timer_stop(&s->timer);
    stream_close(&s->stream, true);
    xfree(s);
}

// The answer the story wants here; NULL: the good one.
static const char *wanted(const struct session *s, enum phase phase)
{
    const struct server *v = s->server;
    bool meant =
        v->only == NULL || phase < AT_RCPT ||
        (s->rcpt_count > 0 && str_glob(str_of(v->only), str_of(s->rcpts[s->rcpt_count - 1])));
    return meant ? v->reply[phase] : NULL;
}

static bool is_good(const char *text)
{
    return text == NULL || text[0] == '2';
}

// True when it is taken.
static bool answer(struct session *s, enum phase phase, const char *good)
{
    const char *text = wanted(s, phase);
    say(s, text != NULL ? text : good);
    return is_good(text);
}

static struct str path_of(struct str line)
{
    size_t begin = str_find(line, '<');
    if (begin == line.len)
        return STR("");
    struct str rest = str_make(line.ptr + begin + 1, line.len - begin - 1);
    return str_make(rest.ptr, str_find(rest, '>'));
}

static void store(struct session *s)
{
    s->server->mails++;
    for (size_t i = 0; i < s->rcpt_count; i++)
        all.stored(all.ctx, s->server->name, s->rcpts[i], s->number, s->sender);
}

static bool on_content(struct session *s, struct str line)
{
    static const struct str mark = {"Message-ID: <story-", 19};
    if (s->in_header && str_istarts(line, mark))
        s->number = (unsigned)strtoul(line.ptr + mark.len, NULL, 10);
    if (line.len == 0)
        s->in_header = false;
    if (line.len != 1 || line.ptr[0] != '.')
        return true;
    s->in_data = false;
    if (s->server->being == IS_LOSING || is_good(wanted(s, AT_FINAL)))
        store(s);
    if (s->server->being == IS_LOSING) {
        end(s);
        return false;
    }
    answer(s, AT_FINAL, "250 2.0.0 stored");
    s->rcpt_count = 0;
    return true;
}

static void on_rcpt(struct session *s, struct str line)
{
    struct str path = path_of(line);
    if (s->rcpt_count == sizeof(s->rcpts) / sizeof(s->rcpts[0])) {
        say(s, "452 4.5.3 too many recipients");
        return;
    }
    snprintf(s->rcpts[s->rcpt_count++], sizeof(s->rcpts[0]), "%.*s", STR_FMT(path));
    if (!answer(s, AT_RCPT, "250 2.1.5 yes"))
        s->rcpt_count--;
}

static void on_ehlo(struct session *s)
{
    struct server *v = s->server;
    bool secure = stream_is_tls(s->stream);
    char text[300];
    snprintf(text, sizeof(text), "250-%s\r\n%s%s250-DSN\r\n250-SMTPUTF8\r\n250 8BITMIME", v->name,
             secure || v->no_tls ? "" : "250-STARTTLS\r\n",
             v->no_login ? "" : "250-AUTH PLAIN LOGIN\r\n");
    answer(s, AT_EHLO, text);
}

static bool on_line(struct session *s, struct str line)
{
    if (s->in_data)
        return on_content(s, line);
    if (str_istarts(line, STR("EHLO")) || str_istarts(line, STR("LHLO"))) {
        on_ehlo(s);
    } else if (str_istarts(line, STR("STARTTLS"))) {
        // Never late: what it says is the last in clear.
        stream_write(s->stream, "220 2.0.0 go\r\n", 14);
        stream_start_tls_server(s->stream, all.identity);
        return false;
    } else if (str_istarts(line, STR("AUTH"))) {
        answer(s, AT_AUTH, "235 2.7.0 welcome");
    } else if (str_istarts(line, STR("MAIL"))) {
        s->rcpt_count = s->number = 0;
        snprintf(s->sender, sizeof(s->sender), "%.*s", STR_FMT(path_of(line)));
        answer(s, AT_MAIL, "250 2.1.0 yes");
    } else if (str_istarts(line, STR("RCPT"))) {
        on_rcpt(s, line);
    } else if (str_istarts(line, STR("DATA"))) {
        s->in_data = s->in_header = s->rcpt_count > 0 && answer(s, AT_DATA, "354 go on");
        if (s->rcpt_count == 0)
            say(s, "554 5.5.1 nobody to send it to");
    } else if (str_istarts(line, STR("QUIT"))) {
        say(s, "221 2.0.0 bye");
        end(s);
        return false;
    } else {
        say(s, "250 2.0.0 well");
    }
    return true;
}

static size_t on_data(void *ctx, const char *bytes, size_t len)
{
    size_t taken = 0;
    for (const char *nl; (nl = memchr(bytes + taken, '\n', len - taken)) != NULL;) {
        size_t n = (size_t)(nl - bytes) + 1 - taken;
        struct str line = str_make(bytes + taken, n > 1 && nl[-1] == '\r' ? n - 2 : n - 1);
        taken += n;
        if (!on_line(ctx, line))
            break;
    }
    return taken;
}

static void on_event(void *ctx, enum stream_event event)
{
    if (event == STREAM_EOF || event == STREAM_ERROR)
        end(ctx);
}

static const struct stream_handler handler = {on_data, on_event};

static void on_accepted(void *ctx, struct stream *stream)
{
    struct server *v = ctx;
    struct session *s = xcalloc(1, sizeof(*s));
    char text[300];
    s->server = v;
    s->stream = stream;
    s->next = all.sessions;
    all.sessions = s;
    v->now++;
    v->connections++;
    timer_init(&s->timer, world_loop(), on_slow, s);
    stream_attach(stream, &handler, s);
    if (v->being == IS_CLOSING) {
        end(s);
        return;
    }
    if (v->implicit_tls)
        stream_start_tls_server(stream, all.identity);
    snprintf(text, sizeof(text), "220 %s ready", v->name);
    if (v->limit > 0 && v->now > v->limit)
        say(s, "421 4.7.0 too many connections");
    else
        answer(s, AT_GREETING, text);
}

static struct server *find(struct str name);

// ---- Who is reached from where ----

static struct server *server_at(const struct net_addr *addr)
{
    for (struct server *v = all.servers; v != NULL; v = v->next) {
        if (v->path != NULL)
            continue;
        if (v->addr.family == NET_UNIX || addr->family == NET_UNIX) {
            if (v->addr.family == addr->family && strcmp(v->addr.path, addr->path) == 0)
                return v;
        } else if (net_addr_same_ip(&v->addr, addr) && v->addr.port == addr->port) {
            return v;
        }
    }
    return NULL;
}

static bool reached(const struct server *v)
{
    if (v->from == NULL)
        return true;
    for (const struct yaml_node *n = story_first(v->from); n != NULL; n = story_next(v->from, n)) {
        struct net_range range;
        if (!net_range_parse(n->text, &range))
            continue;
        for (size_t i = 0; i < all.own_count; i++)
            if (net_range_has(&range, &all.own[i].low))
                return true;
    }
    return false;
}

static bool listed(const struct yaml_node *list, struct str word)
{
    for (const struct yaml_node *n = story_first(list); n != NULL; n = story_next(list, n))
        if (str_eq(n->text, word))
            return true;
    return false;
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    struct server *v = server_at(to);
    char port[8];
    if (v == NULL)
        return;
    if (v->being == IS_DOWN)
        link->fate = WORLD_LINK_REFUSED;
    if (v->being == IS_SILENT || !reached(v))
        link->fate = WORLD_LINK_BLACKHOLE;
    if (v->being == IS_UNREACHABLE)
        link->fate = WORLD_LINK_UNREACHABLE;
    snprintf(port, sizeof(port), "%u", to->port);
    if (all.block == NULL || net_addr_is_loopback(to) ||
        !listed(yaml_get(all.block, "ports"), str_of(port)) ||
        listed(yaml_get(all.block, "but"), str_of(v->name)))
        return;
    struct str how = story_text(all.block, "how", "silent");
    link->fate = str_eq(how, STR("refused"))       ? WORLD_LINK_REFUSED
                 : str_eq(how, STR("unreachable")) ? WORLD_LINK_UNREACHABLE
                                                   : WORLD_LINK_BLACKHOLE;
}

// ---- On this machine ----

static void make_boxes(const struct server *v, const struct yaml_node *names)
{
    const char *word = v->path != NULL ? strstr(v->path, "%u") : NULL;
    char path[600];
    for (const struct yaml_node *n = story_first(names); n != NULL && word != NULL;
         n = story_next(names, n)) {
        snprintf(path, sizeof(path), "%.*s%.*s%s", (int)(word - v->path), v->path, STR_FMT(n->text),
                 word + 2);
        world_disk_mkdirs(path);
    }
}

// Of the header, behind `begin`, up to `end`.
static struct str field(struct str text, const char *begin, char end)
{
    const char *body = memmem(text.ptr, text.len, "\n\n", 2);
    size_t header = body != NULL ? (size_t)(body - text.ptr) : text.len;
    const char *at = memmem(text.ptr, header, begin, strlen(begin));
    if (at == NULL)
        return STR("");
    at += strlen(begin);
    struct str rest = str_make(at, text.len - (size_t)(at - text.ptr));
    return str_make(at, str_find(rest, end));
}

static void keep(struct server *v, struct str rcpt, struct str sender, struct str text)
{
    char to[300], from[300], number[16];
    snprintf(to, sizeof(to), "%.*s", STR_FMT(rcpt));
    snprintf(from, sizeof(from), "%.*s", STR_FMT(sender));
    snprintf(number, sizeof(number), "%.*s", STR_FMT(field(text, "Message-ID: <story-", '@')));
    v->mails++;
    all.stored(all.ctx, v->name, to, (unsigned)strtoul(number, NULL, 10), from);
}

static void on_renamed(void *ctx, const char *to)
{
    for (struct server *v = all.servers; v != NULL; v = v->next) {
        size_t len = v->path != NULL ? strcspn(v->path, "%") : 0;
        struct buf text;
        if (len == 0 || strncmp(to, v->path, len) != 0 || strstr(to, "/new/") == NULL)
            continue;
        buf_init(&text, 64 * 1024 * 1024);
        if (world_disk_get(to, &text))
            keep(v, field(buf_str(&text), "Delivered-To: ", '\n'),
                 field(buf_str(&text), "Return-Path: <", '>'), buf_str(&text));
        buf_free(&text);
    }
}

static struct str variable(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return str_of(*env + len + 1);
    return STR("");
}

static void on_program(void *ctx, const char *const *argv, const char *const *env, struct str input,
                       struct world_program *out)
{
    struct str dial = variable(env, "DIAL");
    if (dial.len > 0) {
        line_run(variable(env, "NETWORK"), str_eq(dial, STR("up")), out);
        return;
    }
    struct server *v = find(variable(env, "GATEWAY"));
    struct str rcpt = variable(env, "RECIPIENT");
    if (v == NULL)
        return;
    v->connections++;
    bool meant = v->only == NULL || str_glob(str_of(v->only), rcpt);
    out->status = meant ? v->exit : 0;
    out->output = meant ? v->says : NULL;
    out->takes_ms = v->slow_ms;
    if (v->being == IS_LOSING)
        out->signal = 9;
    if (out->status == 0)
        keep(v, rcpt, variable(env, "SENDER"), input);
}

// ---- Their making ----

static void traits(struct server *v, const struct yaml_node *map)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        char *text = n->kind == YAML_SCALAR ? xstrndup(n->text.ptr, n->text.len) : NULL;
        struct str key = n->key->text;
        for (int p = 0; p < PHASES && text != NULL; p++) {
            if (!str_eq(key, str_of(phase_keys[p])))
                continue;
            xfree(v->reply[p]);
            v->reply[p] = strcmp(text, "good") == 0 ? NULL : xstrdup(text);
        }
        if (str_eq(key, STR("is"))) {
            for (int b = 0; b < BEINGS; b++)
                if (strcmp(text, beings[b].word) == 0)
                    v->being = (enum being)b;
            // "up" heals all.
            for (int p = 0; p < PHASES && v->being == IS_UP; p++) {
                xfree(v->reply[p]);
                v->reply[p] = NULL;
            }
        } else if (str_eq(key, STR("only"))) {
            xfree(v->only);
            v->only = xstrdup(text);
        } else if (str_eq(key, STR("from"))) {
            v->from = n;
        } else if (str_eq(key, STR("slow"))) {
            time_parse_span(n->text, &v->slow_ms);
        } else if (str_eq(key, STR("tls"))) {
            v->no_tls = strcmp(text, "no") == 0;
        } else if (str_eq(key, STR("login"))) {
            v->no_login = strcmp(text, "no") == 0;
        } else if (str_eq(key, STR("exit"))) {
            v->exit = (int)strtoul(text, NULL, 10);
        } else if (str_eq(key, STR("says"))) {
            xfree(v->says);
            v->says = xstrdup(text);
        } else if (str_eq(key, STR("boxes"))) {
            make_boxes(v, n);
        } else if (str_eq(key, STR("limit"))) {
            v->limit = (unsigned)strtoul(text, NULL, 10);
        }
        xfree(text);
    }
}

static struct server *find(struct str name)
{
    for (struct server *v = all.servers; v != NULL; v = v->next)
        if (str_ieq(str_of(v->name), name))
            return v;
    for (struct alias *a = all.aliases; a != NULL; a = a->next)
        if (str_ieq(str_of(a->name), name))
            return a->server;
    return NULL;
}

static void add_local(const struct conf_gateway *g)
{
    struct server *v = xcalloc(1, sizeof(*v));
    size_t base = strcspn(g->path, "%");
    char path[600];
    v->name = xstrdup(g->name);
    v->path = xstrdup(g->path);
    v->next = all.servers;
    all.servers = v;
    snprintf(path, sizeof(path), "%.*s", (int)base, g->path);
    if (g->kind == GATEWAY_MAILDIR && strrchr(path, '/') != path) {
        *strrchr(path, '/') = '\0';
        world_disk_mkdirs(path);
    }
    for (struct story_server *s = all.story->servers; s != NULL; s = s->next)
        if (strcasecmp(s->name, g->name) == 0)
            traits(v, s->traits);
}

static void name_it(const char *name, struct server *v)
{
    struct alias *a = xcalloc(1, sizeof(*a));
    a->name = xstrdup(name);
    a->server = v;
    a->next = all.aliases;
    all.aliases = a;
}

static struct server *add(const char *name, const struct net_addr *addr, bool implicit_tls)
{
    struct server *v = xcalloc(1, sizeof(*v));
    v->name = xstrdup(name);
    v->addr = *addr;
    v->implicit_tls = implicit_tls;
    v->next = all.servers;
    all.servers = v;
    v->listener = world_listen(addr, on_accepted, v);
    for (struct story_server *s = all.story->servers; s != NULL; s = s->next)
        if (strcasecmp(s->name, name) == 0)
            traits(v, s->traits);
    return v;
}

// Every name gets an address of its own in 198.18.0.0/15, which is nobody's (RFC 2544).
static void new_address(const char *host, uint16_t port, struct net_addr *out)
{
    unsigned n = ++all.count;
    char ip[32];
    snprintf(ip, sizeof(ip), "198.18.%u.%u", n / 250, n % 250 + 1);
    net_addr_parse_ip(str_of(ip), out);
    out->port = port;
    world_name_address(host, ip);
}

void servers_for_conf(const struct conf *conf)
{
    for (size_t i = 0; i < conf->gateway_count; i++) {
        const struct conf_gateway *g = &conf->gateways[i];
        struct net_addr addr = {0};
        struct server *same = NULL;
        if (g->kind == GATEWAY_DIRECT || find(str_of(g->name)) != NULL)
            continue;
        if (conf_gateway_is_local(g)) {
            add_local(g);
            continue;
        }
        if (g->unix_path != NULL) {
            addr.family = NET_UNIX;
            snprintf(addr.path, sizeof(addr.path), "%s", g->unix_path);
        } else if (net_addr_parse_ip(str_of(g->host), &addr)) {
            addr.port = g->port;
        } else {
            // Another gateway on the same host?
            for (size_t k = 0; k < i && same == NULL; k++)
                if (conf_gateway_has_host(&conf->gateways[k]) &&
                    strcasecmp(conf->gateways[k].host, g->host) == 0 &&
                    conf->gateways[k].port == g->port)
                    same = find(str_of(conf->gateways[k].name));
            if (same == NULL)
                new_address(g->host, g->port, &addr);
        }
        if (same == NULL)
            same = server_at(&addr);
        if (same != NULL)
            name_it(g->name, same);
        else
            add(g->name, &addr, g->tls == TLS_IMPLICIT);
    }
}

static void exchanger(const char *domain, const char *host, uint16_t preference)
{
    struct net_addr addr;
    world_name_mx(domain, preference, host);
    if (find(str_of(host)) != NULL)
        return;
    new_address(host, 25, &addr);
    add(host, &addr, false);
}

void servers_for_domain(const char *domain)
{
    char host[300];
    for (struct alias *a = all.aliases; a != NULL; a = a->next)
        if (a->server == NULL && strcasecmp(a->name, domain) == 0)
            return; // done before
    name_it(domain, NULL);
    for (struct story_domain *d = all.story->domains; d != NULL; d = d->next) {
        if (strcasecmp(d->name, domain) != 0)
            continue;
        uint16_t preference = 10;
        if (d->mx->kind == YAML_SCALAR && str_eq(d->mx->text, STR("none")))
            return; // no such domain
        if (d->mx->kind == YAML_LIST && d->mx->count == 0)
            world_name_mx(domain, 0, ""); // RFC 7505
        for (const struct yaml_node *n = story_first(d->mx); n != NULL;
             n = story_next(d->mx, n), preference = (uint16_t)(preference + 10)) {
            snprintf(host, sizeof(host), "%.*s", STR_FMT(n->text));
            exchanger(domain, host, preference);
        }
        return;
    }
    snprintf(host, sizeof(host), "mx.%s", domain);
    exchanger(domain, host, 10);
}

void servers_own_addresses(const struct net_range *own, size_t count)
{
    all.own = own;
    all.own_count = count;
}

bool server_change(struct str name, const struct yaml_node *what)
{
    struct server *v = find(name);
    if (v == NULL)
        return false;
    traits(v, what);
    if (v->being == IS_DOWN || v->being == IS_SILENT)
        for (struct session *s = all.sessions, *next; s != NULL; s = next) {
            next = s->next;
            if (s->server == v && v->being == IS_DOWN)
                end(s);
        }
    return true;
}

void server_tell(const struct yaml_node *what, struct buf *out)
{
    const char *comma = "";
    for (const struct yaml_node *n = what->first; n != NULL; n = n->next) {
        buf_puts(out, comma);
        comma = ", ";
        struct str key = n->key->text;
        const char *sentence = NULL;
        for (int b = 0; b < BEINGS && str_eq(key, STR("is")); b++)
            if (str_eq(n->text, str_of(beings[b].word)))
                sentence = beings[b].sentence;
        for (int p = 0; p < PHASES; p++)
            if (str_eq(key, str_of(phase_keys[p]))) {
                buf_printf(out, "answers %s with \"%.*s\"", phase_words[p], STR_FMT(n->text));
                sentence = "";
            }
        if (sentence != NULL)
            buf_puts(out, sentence);
        else
            buf_printf(out, "%.*s: %.*s", STR_FMT(key), STR_FMT(n->text));
    }
}

void servers_block(const struct yaml_node *what)
{
    all.block = what;
}

bool server_counts(struct str name, unsigned *mails_out, unsigned *connections_out)
{
    struct server *v = find(name);
    if (v == NULL)
        return false;
    *mails_out = v->mails;
    *connections_out = v->connections;
    return true;
}

const char *server_near(struct str name)
{
    struct conf_nearest n = {0};
    for (struct server *v = all.servers; v != NULL; v = v->next)
        conf_nearest_offer(&n, name, v->name);
    for (struct alias *a = all.aliases; a != NULL; a = a->next)
        if (a->server != NULL)
            conf_nearest_offer(&n, name, a->name);
    return n.word;
}

void servers_new(const struct story *story, server_stored *stored, void *ctx)
{
    struct err err;
    memset(&all, 0, sizeof(all));
    all.story = story;
    all.stored = stored;
    all.ctx = ctx;
    all.identity = tls_server_self_signed("story", &err);
    lines_new();
    world_on_connect(decide, NULL);
    world_on_program(on_program, NULL);
    world_on_rename(on_renamed, NULL);
}

void servers_free(void)
{
    lines_free();
    while (all.sessions != NULL)
        end(all.sessions);
    for (struct server *v = all.servers, *next; v != NULL; v = next) {
        next = v->next;
        listener_free(&v->listener);
        for (int p = 0; p < PHASES; p++)
            xfree(v->reply[p]);
        xfree(v->only);
        xfree(v->path);
        xfree(v->says);
        xfree(v->name);
        xfree(v);
    }
    for (struct alias *a = all.aliases, *next; a != NULL; a = next) {
        next = a->next;
        xfree(a->name);
        xfree(a);
    }
    tls_server_unref(&all.identity);
    memset(&all, 0, sizeof(all));
}
