// SPDX-License-Identifier: ISC
// What is wrong only when several keys are seen together.
#include "conf/reader.h"
#include "base/map.h"
#include "base/mem.h"
#include "sys/file.h"
#include "sys/host.h"

enum { USERS_FILE_MAX = 4 * 1024 * 1024, COMPARED_ROUTES = 300 };

// The value of a key, or the entry's name when the key is not written.
static const struct yaml_node *place(const struct yaml_node *entry, const char *key)
{
    const struct yaml_node *n = yaml_get(entry, key);
    return n != NULL ? n : entry != NULL ? entry->key : NULL;
}

// Listeners

// The network around an address, as one would write it: /24, /64.
static const char *network_around(struct reader *r, const struct net_addr *addr)
{
    char text[NET_ADDR_TEXT];
    struct net_addr base = *addr;
    if (net_addr_is_any(addr))
        return "127.0.0.0/8, 192.168.0.0/16, \"fd00::/8\"";
    memset(base.bytes + (addr->family == NET_IPV4 ? 3 : 8), 0, addr->family == NET_IPV4 ? 1 : 8);
    net_addr_format_ip(&base, text);
    return arena_printf(r->arena, addr->family == NET_IPV4 ? "%s/24" : "\"%s/64\"", text);
}

// Is this block of addresses, all that begin with the octet, within one of the ranges?
static bool has_block(const struct conf_listener *l, enum net_family family, unsigned octet)
{
    struct net_addr first = {.family = family}, last = {.family = family};
    memset(last.bytes, 0xff, family == NET_IPV4 ? 4 : 16);
    first.bytes[0] = last.bytes[0] = (unsigned char)octet;
    for (size_t i = 0; i < l->client_count; i++)
        if (l->clients[i].low.family == family && net_range_has(&l->clients[i], &first) &&
            net_range_has(&l->clients[i], &last))
            return true;
    return false;
}

// Half of a family's addresses, or more, is everyone, however many ranges make it up. Of IPv6 only
// 2000::/3 is the Internet.
static bool takes_everyone(const struct conf_listener *l)
{
    unsigned four = 0, six = 0;
    for (unsigned octet = 0; octet < 256; octet++) {
        four += has_block(l, NET_IPV4, octet);
        six += octet >= 0x20 && octet < 0x40 && has_block(l, NET_IPV6, octet);
    }
    return four >= 128 || six >= 16;
}

static void check_relay(struct reader *r, const struct conf_listener *l, const struct yaml_node *at)
{
    const struct net_addr *outside = NULL;
    for (size_t i = 0; i < l->address_count && outside == NULL; i++)
        if (!net_addr_is_loopback(&l->addresses[i]))
            outside = &l->addresses[i];
    if (l->open_relay || outside == NULL)
        return;
    if (l->auth != LISTEN_AUTH_OFF && l->tls == LISTEN_TLS_NONE)
        reader_warn(r, place(at, "tls"),
                    "passwords cross the network in clear on `%s`; use tls: "
                    "required",
                    l->name);
    if (l->auth == LISTEN_AUTH_REQUIRED)
        return;
    if (l->auth == LISTEN_AUTH_OFF && yaml_get(at, "clients") == NULL)
        reader_error(r, place(at, "address"),
                     "`%s` listens beyond this machine but does not say for whom, an open relay; "
                     "add `clients: [%s]`, or `auth: required` with `users`, or `open_relay: true`",
                     l->name, network_around(r, outside));
    if (l->to_count == 0 && takes_everyone(l))
        reader_error(r, place(at, "clients"),
                     "`%s` lets everyone send anywhere without a login, an open relay; name "
                     "your networks in `clients`, or add `auth: required` with `users`, or "
                     "`open_relay: true`",
                     l->name);
}

// A line of the file of users: name:hash. NULL when it is good, else what is wrong.
static const char *user_line_trouble(struct str line)
{
    size_t colon = str_find(line, ':');
    if (colon == line.len)
        return "has no colon; each line is name:hash";
    if (colon == 0)
        return "has no name before the colon";
    struct str hash = str_make(line.ptr + colon + 1, line.len - colon - 1);
    if (hash.len < 2 || hash.ptr[0] != '$')
        return "has no password hash behind the colon; make one with: mkpasswd -m yescrypt";
    return NULL;
}

static void check_users_text(struct reader *r, const struct yaml_node *at, const char *path,
                             struct str text)
{
    struct str line;
    size_t users = 0;
    for (unsigned number = 1; str_split(&text, '\n', &line); number++) {
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        const char *trouble = user_line_trouble(line);
        if (trouble != NULL) {
            reader_error(r, at, "line %u of %s %s", number, path, trouble);
            return;
        }
        users++;
    }
    if (users == 0)
        reader_warn(r, at, "%s names no users, so nobody can log in", path);
}

static void check_users(struct reader *r, const struct conf_listener *l, const struct yaml_node *at)
{
    const struct yaml_node *node = yaml_get(at, "users");
    struct err err;
    struct path_facts facts;
    size_t len;
    if (l->users == NULL) {
        if (l->auth != LISTEN_AUTH_OFF && node == NULL)
            reader_error(r, place(at, "auth"),
                         "a login needs `users`, the file of names and hashes; add: users: "
                         "/etc/waypost/users");
        return;
    }
    if (l->auth == LISTEN_AUTH_OFF)
        reader_warn(r, node, "`users` has no effect without `auth: required` or `auth: optional`");
    if (r->report->text_only)
        return;
    char *text = file_slurp(l->users, USERS_FILE_MAX, &len, &err);
    if (text == NULL) {
        reader_error(r, node, "%s", err.text);
        return;
    }
    check_users_text(r, node, l->users, str_make(text, len));
    if (path_stat_follow(l->users, &facts, &err) && facts.is_file && (facts.mode & 04) != 0)
        reader_warn(r, node, "everyone may read the hashes in %s; run: chmod o= %s", l->users,
                    l->users);
    xfree(text);
}

static void check_certificate(struct reader *r, const struct conf_listener *l,
                              const struct yaml_node *at)
{
    const struct yaml_node *cert = yaml_get(at, "cert"), *key = yaml_get(at, "key");
    struct err err;
    struct path_facts facts;
    if (cert != NULL && key == NULL)
        reader_error(r, cert, "a certificate needs its private key; add: key: /path/to/key.pem");
    if (key != NULL && cert == NULL)
        reader_error(r, key, "a private key needs its certificate; add: cert: /path/to/cert.pem");
    if (cert != NULL && l->tls == LISTEN_TLS_NONE)
        reader_warn(r, cert, "the certificate has no effect with `tls: none`");
    if (r->report->text_only)
        return;
    if (l->cert != NULL && !path_exists(l->cert))
        reader_error(r, cert, "there is no file %s", l->cert);
    if (l->key != NULL && !path_exists(l->key))
        reader_error(r, key, "there is no file %s", l->key);
    else if (l->key != NULL && path_stat_follow(l->key, &facts, &err) && facts.is_file &&
             (facts.mode & 04) != 0)
        reader_error(r, key, "everyone may read the private key %s; run: chmod o= %s", l->key,
                     l->key);
}

// Every listening address by its text, so that a collision is one look-up.
static const char *any_text(const struct net_addr *addr, char text[NET_ADDR_TEXT])
{
    struct net_addr any = {.family = addr->family, .port = addr->port};
    return net_addr_format(&any, text);
}

static void check_collisions(struct reader *r, struct map *taken)
{
    char text[NET_ADDR_TEXT];
    for (size_t i = 0; i < r->conf->listener_count; i++) {
        const struct conf_listener *l = &r->conf->listeners[i];
        for (size_t j = 0; j < l->address_count; j++) {
            struct str key =
                str_of(arena_strdup(r->arena, net_addr_format(&l->addresses[j], text)));
            const struct conf_listener *other = map_get(taken, key);
            if (other == NULL)
                map_put(taken, key, (void *)l);
            else if (other == l)
                reader_error(r, place(r->listener_at[i], "address"), "`%s` names %s twice", l->name,
                             key.ptr);
            else
                reader_error(r, place(r->listener_at[i], "address"),
                             "`%s` and `%s` cannot both listen on %s", other->name, l->name,
                             key.ptr);
        }
    }
    for (size_t i = 0; i < r->conf->listener_count; i++) {
        const struct conf_listener *l = &r->conf->listeners[i];
        for (size_t j = 0; j < l->address_count; j++) {
            const struct net_addr *a = &l->addresses[j];
            if (a->family == NET_UNIX || net_addr_is_any(a))
                continue;
            const struct conf_listener *other = map_get(taken, str_of(any_text(a, text)));
            if (other != NULL)
                reader_error(r, place(r->listener_at[i], "address"),
                             "`%s` listens on %s and so takes this address of `%s` too",
                             other->name, text, l->name);
        }
    }
}

// Gateways

static const struct conf_listener *own_listener(struct reader *r, struct map *taken,
                                                const struct net_addr *addr)
{
    char text[NET_ADDR_TEXT];
    const struct conf_listener *l = map_get(taken, str_of(net_addr_format(addr, text)));
    if (l != NULL || addr->family == NET_UNIX)
        return l;
    l = map_get(taken, str_of(any_text(addr, text)));
    if (l == NULL || net_addr_is_loopback(addr))
        return l;
    return !r->report->text_only && host_owns(addr) ? l : NULL;
}

static bool listens_on_port(const struct conf *conf, uint16_t port)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        for (size_t j = 0; j < conf->listeners[i].address_count; j++)
            if (conf->listeners[i].addresses[j].family != NET_UNIX &&
                conf->listeners[i].addresses[j].port == port)
                return true;
    return false;
}

static void check_loop(struct reader *r, struct map *taken, const struct conf_gateway *g)
{
    static const char *const local[] = {"127.0.0.1", "::1"};
    const struct conf_listener *l = NULL;
    struct net_addr addr = {0};
    if (conf_gateway_is_local(g))
        return;
    if (g->unix_path != NULL) {
        net_addr_parse(str_of(arena_printf(r->arena, "unix:%s", g->unix_path)), 0, &addr);
        l = own_listener(r, taken, &addr);
    } else if (net_addr_parse_ip(str_of(g->host), &addr)) {
        addr.port = g->port;
        l = own_listener(r, taken, &addr);
    } else if (str_ieq(str_of(g->host), STR("localhost"))) {
        for (size_t i = 0; i < 2 && l == NULL; i++) {
            net_addr_parse_ip(str_of(local[i]), &addr);
            addr.port = g->port;
            l = own_listener(r, taken, &addr);
        }
    } else if (str_ieq(str_of(g->host), str_of(r->conf->hostname)) &&
               listens_on_port(r->conf, g->port)) {
        reader_warn(r, place(r->gateway_at[g->index], "url"),
                    "`%s` has our own `hostname`; if that is this machine, mail goes round in a "
                    "loop",
                    g->name);
    }
    if (l != NULL)
        reader_error(r, place(r->gateway_at[g->index], "url"),
                     "`%s` leads back to our own listener `%s`, a loop; mail would never leave",
                     g->name, l->name);
}

static void refuse_keys(struct reader *r, const struct yaml_node *entry, const char *const *keys,
                        const char *why)
{
    for (; *keys != NULL; keys++) {
        const struct yaml_node *n = yaml_get(entry, *keys);
        if (n != NULL)
            reader_error(r, n->key, "`%s` %s", *keys, why);
    }
}

static void check_login(struct reader *r, const struct conf_gateway *g, const struct yaml_node *at)
{
    bool password = g->password != NULL;
    // A misspelt `password` has been told already.
    for (const struct yaml_node *n = at->first; n != NULL && !password; n = n->next)
        password = conf_key_hides(n->key->text) && !str_eq(n->key->text, STR("socks_password"));
    if (g->user != NULL && !password)
        reader_error(r, place(at, yaml_get(at, "user") != NULL ? "user" : "url"),
                     "the user has no password; add: password: !file /etc/waypost/%s.pw", g->name);
    if (g->user == NULL && password && yaml_get(at, "user") == NULL)
        reader_error(r, place(at, "password"),
                     "a password without a user; write the user into the url (smtp://user@host) or "
                     "add `user`");
    if (g->user != NULL && g->tls == TLS_OFF && !g->auth_in_clear && g->unix_path == NULL)
        reader_warn(r, place(at, "tls"),
                    "without TLS only logins that do not show the password are tried; for others "
                    "add `auth_in_clear: true`");
}

static void check_gateway(struct reader *r, struct map *taken, const struct conf_gateway *g)
{
    static const char *const not_direct[] = {"url", "user", "password", "auth_in_clear", NULL};
    static const char *const only_direct[] = {"port", NULL};
    static const char *const only_pipe[] = {"arguments", "run_as", NULL};
    static const char *const only_maildir[] = {"create", NULL};
    static const char *const not_local[] = {"tls",       "verify",        "ca",    "user",
                                            "password",  "auth_in_clear", "helo",  "source",
                                            "addresses", "interface",     "socks", "socks_password",
                                            NULL};
    const struct yaml_node *at = r->gateway_at[g->index], *source = yaml_get(at, "source");
    struct net_addr ip;
    if (strcmp(g->name, "direct") == 0) {
        refuse_keys(r, at, not_direct,
                    "is not for `direct`, which finds the recipients' servers itself");
        if (g->tls == TLS_IMPLICIT)
            reader_error(r, place(at, "tls"),
                         "the recipients' servers do not speak TLS from the "
                         "first byte; use `wanted` or `required`");
        return;
    }
    if (g->kind == GATEWAY_DIRECT)
        return; // its url is missing or wrong
    refuse_keys(r, at, only_direct, "is only for `direct`; here the port stands in the url");
    if (g->kind != GATEWAY_PIPE)
        refuse_keys(r, at, only_pipe, "is only for a program (pipe:/path)");
    if (g->kind != GATEWAY_MAILDIR)
        refuse_keys(r, at, only_maildir, "is only for a maildir (maildir:///path)");
    if (conf_gateway_is_local(g)) {
        refuse_keys(r, at, not_local, "is not for what is on this machine");
        return;
    }
    if (yaml_get(at, "ca") != NULL && !g->verify)
        reader_warn(r, place(at, "ca"), "`ca` has no effect without `verify: true`");
    if (source != NULL && net_addr_parse_ip(str_of(g->host), &ip) && g->source.family != NET_NONE &&
        ip.family != g->source.family)
        reader_error(r, source,
                     "the own address and the gateway's are of different kinds (IPv4, "
                     "IPv6)");
    check_login(r, g, at);
    check_loop(r, taken, g);
}

static void check_ca(struct reader *r, const struct conf_gateway *g)
{
    if (g->ca_file != NULL && !r->report->text_only && !path_exists(g->ca_file))
        reader_error(r, place(r->gateway_at[g->index], "ca"), "there is no file %s", g->ca_file);
}

// Routes

static bool all_match(const char *const *globs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strspn(globs[i], "*") == strlen(globs[i]) || strcmp(globs[i], "*@*") == 0)
            return true;
    return count == 0;
}

// Does whatever matches one of `few` surely match one of `many`?
static bool covers(const char *const *many, size_t many_count, const char *const *few,
                   size_t few_count)
{
    if (all_match(many, many_count))
        return true;
    for (size_t i = 0; i < few_count; i++) {
        bool found = false;
        for (size_t j = 0; j < many_count && !found; j++)
            found = str_ieq(str_of(many[j]), str_of(few[i]));
        if (!found)
            return false;
    }
    return few_count > 0;
}

// Has it conditions besides recipients and senders?
static bool asks_more(const struct conf_route *route)
{
    return route->client_count > 0 || route->client_range_count > 0 || route->listener_count > 0 ||
           route->mx_count > 0 || route->larger > 0 || route->smaller > 0 ||
           route->header_count > 0 || route->classes != 0 || route->networks != 0 ||
           route->not_networks != 0 || route->hours_count > 0;
}

static void check_reach(struct reader *r, size_t later)
{
    const struct conf_route *b = &r->conf->routes[later];
    for (size_t i = 0; i < later && i < COMPARED_ROUTES; i++) {
        const struct conf_route *a = &r->conf->routes[i];
        if (asks_more(a) || !covers(a->to, a->to_count, b->to, b->to_count) ||
            !covers(a->from, a->from_count, b->from, b->from_count))
            continue;
        reader_warn(r, r->route_at[later],
                    "this route is never reached: the one in line %u takes all of its mail",
                    a->line);
        return;
    }
}

static void check_chain(struct reader *r, const struct conf_route *route,
                        const struct yaml_node *via)
{
    const struct yaml_node *at = via != NULL && via->kind == YAML_LIST ? via->first : via;
    for (size_t i = 0; i < route->via_count && at != NULL; i++, at = at->next) {
        const struct conf_step *s = &route->via[i];
        const struct conf_gateway *g = &r->conf->gateways[s->gateway];
        if (i == 0 && (yaml_get(at, "on") != NULL || yaml_get(at, "after") != NULL))
            reader_warn(r, at,
                        "`on` and `after` have no effect at the first gateway, which is "
                        "always tried");
        for (size_t j = 0; j < i; j++) {
            if (route->via[j].gateway == s->gateway) {
                reader_warn(r, at, "`%s` stands twice in this route", g->name);
                break;
            }
        }
        if (!g->enabled)
            reader_warn(r, at, "`%s` is not enabled and will be passed over", g->name);
    }
}

// Queue

static void check_queue(struct reader *r)
{
    const struct conf *c = r->conf;
    const struct yaml_node *queue = yaml_get(r->root, "queue");
    for (size_t i = 1; i < c->queue.retry_count; i++) {
        if (c->queue.retry_ms[i] < c->queue.retry_ms[i - 1]) {
            reader_warn(r, place(queue, "retry"), "the waits should grow: %s comes after %s",
                        value_time_text(r->arena, c->queue.retry_ms[i]),
                        value_time_text(r->arena, c->queue.retry_ms[i - 1]));
            break;
        }
    }
    if (c->queue.expire_ms == 0 && c->queue.expire_tries == 0)
        reader_warn(r, place(queue, "expire"),
                    "mail that cannot be delivered is never given up; set `expire` or "
                    "`expire_tries`");
    if (c->queue.expire_ms > 0 && c->queue.warn_ms >= c->queue.expire_ms)
        reader_warn(r, place(queue, yaml_get(queue, "warn") != NULL ? "warn" : "expire"),
                    "mail is given up after %s, before the sender is warned after %s",
                    value_time_text(r->arena, c->queue.expire_ms),
                    value_time_text(r->arena, c->queue.warn_ms));
}

static void check_directories(struct reader *r)
{
    const struct yaml_node *spool = yaml_get(r->root, "spool"), *run = yaml_get(r->root, "run");
    if (spool != NULL && r->conf->spool_dir[0] != '/')
        reader_error(r, spool, "the spool is an absolute path, beginning with /");
    if (run != NULL && r->conf->run_dir[0] != '/')
        reader_error(r, run, "the run directory is an absolute path, beginning with /");
}

void check_all(struct reader *r)
{
    const struct conf *conf = r->conf;
    struct map *taken = map_new();
    if (r->plain_text != NULL && r->others_may_read)
        reader_warn(r, r->plain_text,
                    "a password stands here and everyone may read this file; run: chmod o= %s",
                    conf->file);
    check_directories(r);
    check_collisions(r, taken);
    for (size_t i = 0; i < conf->listener_count; i++) {
        check_relay(r, &conf->listeners[i], r->listener_at[i]);
        check_users(r, &conf->listeners[i], r->listener_at[i]);
        check_certificate(r, &conf->listeners[i], r->listener_at[i]);
    }
    for (size_t i = 0; i < conf->gateway_count; i++) {
        check_gateway(r, taken, &conf->gateways[i]);
        check_ca(r, &conf->gateways[i]);
    }
    for (size_t i = 0; i < conf->route_count; i++) {
        check_chain(r, &conf->routes[i], yaml_get(r->route_at[i], "via"));
        check_reach(r, i);
    }
    check_ways(r);
    check_queue(r);
    map_free(&taken);
}
