// SPDX-License-Identifier: ISC
// The table of all keys.
#include "conf/schema.h"
#include "sys/log.h"

#define SECOND      1000LL
#define HOUR        (3600 * SECOND)
#define DAY         (24 * HOUR)
#define YEAR        (366 * DAY)
#define KIB         1024LL
#define GIB         (1024 * 1024 * KIB)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct conf_word log_formats[] = {
    {"text", CONF_LOG_TEXT}, {"json", CONF_LOG_JSON}, {NULL, 0}};
static const struct conf_word log_levels[] = {{"debug", LOG_DEBUG_LEVEL},
                                              {"info", LOG_INFO_LEVEL},
                                              {"warn", LOG_WARN_LEVEL},
                                              {"error", LOG_ERROR_LEVEL},
                                              {NULL, 0}};
static const struct conf_word listener_tls[] = {
    {"none", LISTEN_TLS_NONE},         {"starttls", LISTEN_TLS_STARTTLS},
    {"required", LISTEN_TLS_REQUIRED}, {"implicit", LISTEN_TLS_IMPLICIT},
    {"auto", LISTEN_TLS_AUTO},         {NULL, 0}};
static const struct conf_word listener_auth[] = {{"off", LISTEN_AUTH_OFF},
                                                 {"optional", LISTEN_AUTH_OPTIONAL},
                                                 {"required", LISTEN_AUTH_REQUIRED},
                                                 {NULL, 0}};
static const struct conf_word gateway_tls[] = {{"off", TLS_OFF},
                                               {"wanted", TLS_WANTED},
                                               {"required", TLS_REQUIRED},
                                               {"implicit", TLS_IMPLICIT},
                                               {NULL, 0}};
static const struct conf_word priorities[] = {{"highest", 10},      {"high", 20}, {"normal", 30},
                                              {"below-normal", 40}, {"low", 50},  {NULL, 0}};
static const struct conf_word classes[] = {{"offline", OUTCOME_OFFLINE},
                                           {"net", OUTCOME_NET},
                                           {"dns", OUTCOME_DNS},
                                           {"tls", OUTCOME_TLS},
                                           {"auth", OUTCOME_AUTH},
                                           {"quota", OUTCOME_QUOTA},
                                           {"busy", OUTCOME_BUSY},
                                           {"reputation", OUTCOME_REPUTATION},
                                           {"doubt", OUTCOME_DOUBT},
                                           {"refused", OUTCOME_REFUSED},
                                           {NULL, 0}};

// Where a value goes.
#define AT(type, field)                                                                            \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define AT2(type, field, second) AT(type, field), .more = offsetof(struct type, second)
#define IN_CONF(field)           AT(conf, field)
#define IN_LISTENER(field)       AT(conf_listener, field)
#define IN_GATEWAY(field)        AT(conf_gateway, field)

const struct conf_key conf_keys[] = {
    // The program itself
    {.path = "hostname",
     .type = CONF_HOST,
     IN_CONF(hostname),
     .unset = "the machine's full name",
     .example = "mail.example.org",
     .help = "The name Waypost gives itself: in greetings, in EHLO, in Received fields and in "
             "message ids. Set it when the machine's own name means nothing outside."},
    {.path = "spool",
     .type = CONF_PATH,
     IN_CONF(spool_dir),
     .fallback = "/var/lib/waypost",
     .help = "The directory of the mail that waits, and of its history. It must be on a local "
             "disk; everything answered with 250 is here."},
    {.path = "run",
     .type = CONF_PATH,
     IN_CONF(run_dir),
     .fallback = "/run/waypost",
     .help = "The directory of the sockets by which the commands and `sendmail` reach the daemon."},
    {.path = "user",
     .type = CONF_STRING,
     IN_CONF(user),
     .unset = "the user it was started as",
     .example = "waypost",
     .help = "The user to become once the ports are open, when started as root."},
    {.path = "loops",
     .type = CONF_INT,
     IN_CONF(loops),
     .fallback = "0",
     .max = 256,
     .help = "How many threads serve connections. 0 means one for each processor core."},
    {.path = "postmaster",
     .type = CONF_MAILBOX,
     IN_CONF(postmaster),
     .unset = "postmaster at the `hostname`",
     .example = "admin@example.org",
     .help = "Where mail to a bare `postmaster` goes."},

    {.path = "log",
     .type = CONF_SECTION,
     .unset = "as below",
     .help = "What is written to standard error, and how."},
    {.path = "log.format",
     .type = CONF_ENUM,
     IN_CONF(log_format),
     .fallback = "text",
     .words = log_formats,
     .help = "`text` is one line for people; `json` is one object a line for programs."},
    {.path = "log.level",
     .type = CONF_ENUM,
     IN_CONF(log_level),
     .fallback = "info",
     .words = log_levels,
     .help = "The least important line still written. `debug` adds how each client's connection "
             "ended."},

    {.path = "dns",
     .type = CONF_SECTION,
     .unset = "the system's resolver, without validation",
     .help = "How names are looked up."},
    {.path = "dns.servers",
     .type = CONF_SERVERS,
     IN_CONF(dns_servers),
     .unset = "those of /etc/resolv.conf",
     .example = "[127.0.0.1, \"[::1]:5353\"]",
     .help = "The name servers to ask, each an address with an optional port."},
    {.path = "dns.anchor",
     .type = CONF_PATH,
     IN_CONF(dns_anchor),
     .unset = "no validation",
     .example = "/usr/share/dns/root.key",
     .help = "A file with the DNSSEC trust anchor. With it answers are validated here; one that is "
             "not what its zone signed counts as no answer."},
    {.path = "dns.hosts",
     .type = CONF_PATH,
     IN_CONF(hosts_file),
     .unset = "/etc/hosts",
     .example = "/etc/hosts",
     .help = "A file of names and addresses that go before DNS."},

    // Listeners
    {.path = "listeners",
     .type = CONF_NAMED,
     .max = 256,
     .unset = "one listener `local` on 127.0.0.1:25 and [::1]:25",
     .example = "{local: {address: \"127.0.0.1:25\"}}",
     .help = "Who may hand mail in, and how. Each entry has a name of your choice. Naming one "
             "replaces the built-in `local`."},
    {.path = "listeners.NAME.address",
     .type = CONF_ADDRESSES,
     .min = 25,
     AT2(conf_listener, addresses, address_count),
     .example = "[\"127.0.0.1:25\", \"[::1]:25\"]",
     .help = "The addresses and ports to listen on, also `unix:/path` for a socket in the file "
             "system. Without a port it is 25."},
    {.path = "listeners.NAME.tls",
     .type = CONF_ENUM,
     IN_LISTENER(tls),
     .fallback = "starttls",
     .words = listener_tls,
     .help = "`none`: no encryption; `starttls`: offered; `required`: no mail without it; "
             "`implicit`: TLS from the first byte, as on port 465; `auto`: either, decided by the "
             "client's first byte."},
    {.path = "listeners.NAME.cert",
     .type = CONF_PATH,
     IN_LISTENER(cert),
     .unset = "a self-signed one made at start",
     .example = "/etc/waypost/mail.crt",
     .help = "The certificate shown to clients, PEM, with its chain. Needs `key`."},
    {.path = "listeners.NAME.key",
     .type = CONF_PATH,
     IN_LISTENER(key),
     .unset = "the key of the self-signed one",
     .example = "/etc/waypost/mail.key",
     .help = "The private key of `cert`, PEM."},
    {.path = "listeners.NAME.auth",
     .type = CONF_ENUM,
     IN_LISTENER(auth),
     .fallback = "off",
     .words = listener_auth,
     .help =
         "Whether clients log in: `off`: not offered; `optional`: those who may send may log in "
         "too; `required`: everyone must. With either of the last two and without `clients`, "
         "anyone who logs in may send. Needs `users`."},
    {.path = "listeners.NAME.users",
     .type = CONF_PATH,
     IN_LISTENER(users),
     .unset = "nobody can log in",
     .example = "/etc/waypost/users",
     .help = "The file of those who may log in, a line each: the name, a colon, the password's "
             "hash as `mkpasswd -m yescrypt` prints it. Lines beginning with # are remarks."},
    {.path = "listeners.NAME.clients",
     .type = CONF_RANGES,
     AT2(conf_listener, clients, client_count),
     .unset = "this machine; with `auth` also everyone who logs in",
     .example = "[192.168.1.0/24, 192.168.2.40-192.168.2.47]",
     .help = "Who may connect: addresses, networks, or ranges from-to. Nobody else gets in, with a "
             "login or without. With `auth: required` they must log in besides."},
    {.path = "listeners.NAME.from",
     .type = CONF_GLOBS,
     AT2(conf_listener, from, from_count),
     .unset = "any sender",
     .example = "[\"*@example.org\"]",
     .help = "Patterns of which the envelope sender must match one; * stands for any text, ? for "
             "one character."},
    {.path = "listeners.NAME.to",
     .type = CONF_GLOBS,
     AT2(conf_listener, to, to_count),
     .unset = "any recipient",
     .example = "[\"*@example.org\"]",
     .help = "Patterns of which each recipient must match one."},
    {.path = "listeners.NAME.message_size",
     .type = CONF_SIZE,
     IN_LISTENER(message_size),
     .fallback = "51264KiB",
     .min = 64 * KIB,
     .max = 2 * GIB,
     .help = "The largest message taken; clients see it in SIZE. The default is 50 MiB and 64 KiB "
             "for the header."},
    {.path = "listeners.NAME.recipients",
     .type = CONF_INT,
     IN_LISTENER(recipients),
     .fallback = "1000",
     .min = 1,
     .max = 100000,
     .help = "The most recipients of one message."},
    {.path = "listeners.NAME.connections",
     .type = CONF_INT,
     IN_LISTENER(connections),
     .fallback = "4000",
     .min = 1,
     .max = 100000,
     .help = "The most connections at once; more are told to come again."},
    {.path = "listeners.NAME.connections_per_client",
     .type = CONF_INT,
     IN_LISTENER(connections_per_client),
     .fallback = "200",
     .min = 1,
     .max = 100000,
     .help = "The most connections at once from one address. This machine itself is free of it."},
    {.path = "listeners.NAME.open_relay",
     .type = CONF_BOOL,
     IN_LISTENER(open_relay),
     .fallback = "false",
     .help = "Lets anyone who can connect send mail anywhere. Only for closed networks: on the "
             "Internet it is found and abused within hours."},
    {.path = "listeners.NAME.lmtp",
     .type = CONF_BOOL,
     IN_LISTENER(lmtp),
     .fallback = "false",
     .help = "Speaks LMTP (RFC 2033) instead of SMTP: one reply for each recipient after the "
             "message."},

    // Gateways
    {.path = "gateways",
     .type = CONF_NAMED,
     .max = 1000,
     .unset = "only `direct`",
     .example = "{isp: {url: \"smtp://mail.isp.example\"}}",
     .help =
         "The ways out. Each entry has a name of your choice; two accounts on one host are two "
         "gateways. The built-in gateway `direct` delivers to the recipients' own servers (MX); "
         "an entry `direct` adjusts it. Without `routes`, mail takes the gateways by priority "
         "and moves to the next on trouble."},
    {.path = "gateways.NAME.url",
     .type = CONF_URL,
     .unset = "must be set (not for `direct`)",
     .example = "smtp+starttls://me@smtp.example.org:587",
     .help =
         "Where it is: `smtp://`, `smtp+starttls://`, `smtps://`, `lmtp://`, then an optional "
         "`user@`, the host and an optional port; or `lmtp+unix:///path` and "
         "`smtp+unix:///path`. With a user, `smtp://` means port 587 and TLS required; without, "
         "port 25 and TLS wanted. `smtps://` is port 465. In the user, %40 stands for @, %3A "
         "for a colon."},
    {.path = "gateways.NAME.tls",
     .type = CONF_ENUM,
     IN_GATEWAY(tls),
     .words = gateway_tls,
     .unset = "by the url; `wanted` for `direct`",
     .example = "required",
     .help = "`off`: never; `wanted`: if the other side offers it; `required`: no mail without it; "
             "`implicit`: from the first byte."},
    {.path = "gateways.NAME.verify",
     .type = CONF_BOOL,
     IN_GATEWAY(verify),
     .unset = "yes with a login or when TLS is required or implicit, else no",
     .example = "yes",
     .help = "Whether the certificate must be valid and bear the host's name."},
    {.path = "gateways.NAME.ca",
     .type = CONF_PATH,
     IN_GATEWAY(ca_file),
     .unset = "the system's authorities",
     .example = "/etc/waypost/company-ca.pem",
     .help = "A file of authorities (PEM) to trust for this gateway instead of the system's."},
    {.path = "gateways.NAME.user",
     .type = CONF_STRING,
     IN_GATEWAY(user),
     .unset = "the user of the url; none: no login",
     .example = "me@example.org",
     .help = "The name to log in with, when it does not stand in the url."},
    {.path = "gateways.NAME.password",
     .type = CONF_SECRET,
     IN_GATEWAY(password),
     .unset = "no login",
     .example = "!file /etc/waypost/isp.pw",
     .help = "The password. Better than writing it here: `!file path` (one line), `!env NAME`, "
             "`!credential name` (systemd), `!command \"program args\"` (its output)."},
    {.path = "gateways.NAME.auth_in_clear",
     .type = CONF_BOOL,
     IN_GATEWAY(auth_in_clear),
     .fallback = "false",
     .help = "Allows the password to be sent without TLS. Only for a server next to you that "
             "knows no better."},
    {.path = "gateways.NAME.helo",
     .type = CONF_HOST,
     IN_GATEWAY(helo),
     .unset = "`hostname`",
     .example = "mail.example.org",
     .help = "The name given in EHLO to this gateway."},
    {.path = "gateways.NAME.source",
     .type = CONF_IP,
     IN_GATEWAY(source),
     .unset = "any",
     .example = "192.0.2.25",
     .help = "The own address to connect from."},
    {.path = "gateways.NAME.priority",
     .type = CONF_INT,
     IN_GATEWAY(priority),
     .fallback = "normal",
     .words = priorities,
     .max = 1000,
     .help = "The order in which gateways are tried when no route names them: `highest` (10), "
             "`high` (20), `normal` (30), `below-normal` (40), `low` (50), or a number. Equal "
             "ones share the mail by weight."},
    {.path = "gateways.NAME.weight",
     .type = CONF_INT,
     IN_GATEWAY(weight),
     .fallback = "1",
     .min = 1,
     .max = 1000,
     .help = "The share of the mail among gateways of equal priority: 3 gets three times what 1 "
             "gets."},
    {.path = "gateways.NAME.enabled",
     .type = CONF_BOOL,
     IN_GATEWAY(enabled),
     .fallback = "true",
     .help = "A gateway that is not enabled is passed over everywhere."},
    {.path = "gateways.NAME.connections",
     .type = CONF_INT,
     IN_GATEWAY(connections),
     .fallback = "50",
     .min = 1,
     .max = 10000,
     .help = "The most connections to it at once."},
    {.path = "gateways.NAME.rate",
     .type = CONF_RATE,
     AT2(conf_gateway, rate, rate_ms),
     .unset = "no limit",
     .min = 1,
     .max = 1000000000,
     .example = "30/min",
     .help = "The most messages in a second (s), minute (min), hour (h) or day (d)."},
    {.path = "gateways.NAME.per_connection",
     .type = CONF_INT,
     IN_GATEWAY(per_connection),
     .fallback = "100000",
     .min = 1,
     .max = 100000,
     .help = "The most messages over one connection before a new one is made."},
    {.path = "gateways.NAME.recipients",
     .type = CONF_INT,
     IN_GATEWAY(recipients),
     .fallback = "100",
     .min = 1,
     .max = 10000,
     .help = "The most recipients in one transaction; more are sent in several."},
    {.path = "gateways.NAME.port",
     .type = CONF_INT,
     IN_GATEWAY(direct_port),
     .fallback = "25",
     .min = 1,
     .max = 65535,
     .help = "The port of the recipients' servers. Only for `direct`; elsewhere the port stands in "
             "the url."},

    // Routes
    {.path = "routes",
     .type = CONF_RECORDS,
     .max = 2000,
     .unset = "every mail takes all enabled gateways by priority",
     .example = "[{to: \"*@example.org\", via: [company]}, {via: [direct]}]",
     .help = "Which mail takes which gateways. The first route that matches is taken; mail that "
             "matches none goes as if there were no routes."},
    {.path = "routes[].to",
     .type = CONF_GLOBS,
     AT2(conf_route, to, to_count),
     .unset = "every recipient",
     .example = "[\"*@example.org\"]",
     .help = "Patterns of which the recipient must match one; * stands for any text, ? for one "
             "character."},
    {.path = "routes[].from",
     .type = CONF_GLOBS,
     AT2(conf_route, from, from_count),
     .unset = "every sender",
     .example = "[\"alerts@*\"]",
     .help = "Patterns of which the envelope sender must match one."},
    {.path = "routes[].via",
     .type = CONF_CHAIN,
     AT2(conf_route, via, via_count),
     .example = "[direct, {gateway: isp, on: [net, dns]}]",
     .help = "The gateways in the order they are tried. An entry is a gateway's name, or a map "
             "that says when it is its turn."},
    {.path = "routes[].via[].gateway",
     .type = CONF_GATEWAY,
     AT(conf_step, gateway),
     .example = "isp",
     .help = "The gateway's name."},
    {.path = "routes[].via[].on",
     .type = CONF_CLASSES,
     AT(conf_step, on),
     .words = classes,
     .unset = "all but refused and doubt",
     .example = "[net, dns]",
     .help = "The kinds of trouble at the entry before that lead here: `offline` no network, "
             "`net` no connection, `dns` the name was not found for now, `tls` no encryption, "
             "`auth` login refused, `quota` allowance used up, `reputation` we are unwelcome, "
             "`busy` told to come again, `refused` the mail itself was refused, `doubt` the "
             "connection was lost after the message, so that it may arrive twice."},
    {.path = "routes[].via[].after",
     .type = CONF_SECTION,
     .unset = "at once",
     .example = "{tries: 3}",
     .help = "Only after some time or some attempts of the entries before."},
    {.path = "routes[].via[].after.tries",
     .type = CONF_INT,
     AT(conf_step, after_tries),
     .unset = "no attempts needed",
     .min = 1,
     .max = 1000,
     .example = "3",
     .help = "After so many attempts of the entries before."},
    {.path = "routes[].via[].after.time",
     .type = CONF_TIME,
     AT(conf_step, after_ms),
     .unset = "no waiting",
     .min = SECOND,
     .max = YEAR,
     .example = "4h",
     .help = "When the message is that old."},

    // Queue
    {.path = "queue",
     .type = CONF_SECTION,
     .unset = "as below",
     .help = "How long mail is tried, and what happens then."},
    {.path = "queue.retry",
     .type = CONF_TIMES,
     AT2(conf, queue.retry_ms, queue.retry_count),
     .fallback = "[1m, 5m, 15m, 1h, 4h]",
     .min = SECOND,
     .max = 30 * DAY,
     .help = "The waits before the second, third and further attempts; the last repeats."},
    {.path = "queue.warn",
     .type = CONF_TIME,
     IN_CONF(queue.warn_ms),
     .fallback = "4h",
     .max = YEAR,
     .help = "After so long the sender is told that the mail is delayed; `never`: not at all."},
    {.path = "queue.expire",
     .type = CONF_TIME,
     IN_CONF(queue.expire_ms),
     .fallback = "5d",
     .max = 10 * YEAR,
     .help = "After so long the mail is given up; `never`: not by time."},
    {.path = "queue.expire_tries",
     .type = CONF_INT,
     IN_CONF(queue.expire_tries),
     .fallback = "0",
     .max = 100000,
     .help = "After so many attempts the mail is given up; 0: not by their number."},
    {.path = "queue.return_to_sender",
     .type = CONF_BOOL,
     IN_CONF(queue.return_to_sender),
     .fallback = "true",
     .help = "Whether mail that is given up goes back to its sender with a report. If not, it is "
             "kept on hold."},
    {.path = "queue.doubt_wait",
     .type = CONF_TIME,
     IN_CONF(queue.doubt_wait_ms),
     .fallback = "30m",
     .max = 30 * DAY,
     .help = "When the connection is lost after a message was sent but before the answer, only the "
             "same gateway is tried for so long, so that a change of gateway does not double the "
             "mail."},
    {.path = "queue.per_destination",
     .type = CONF_INT,
     IN_CONF(queue.per_destination),
     .fallback = "20",
     .min = 1,
     .max = 1000,
     .help = "The most connections at once to one destination of direct delivery."},
    {.path = "queue.connections",
     .type = CONF_INT,
     IN_CONF(queue.connections),
     .fallback = "500",
     .min = 1,
     .max = 20000,
     .help = "The most outgoing connections in use at once, all together. Idle ones, kept for the "
             "next message, come on top."},
    {.path = "queue.max_recipients",
     .type = CONF_INT,
     IN_CONF(queue.max_recipients),
     .fallback = "4000000",
     .min = 1,
     .max = 100000000,
     .help = "The most recipients waiting; when there are more, new mail is told to come again."},
    {.path = "queue.keep",
     .type = CONF_TIME,
     IN_CONF(queue.keep_ms),
     .fallback = "14d",
     .max = 10 * YEAR,
     .help = "How long the history of a message is kept after it has left."},
};
const size_t conf_key_count = COUNT_OF(conf_keys);

const struct conf_future conf_futures[] = {
    {"networks", NULL},
    {"collect", NULL},
    {"alerts", NULL},
    {"filter", NULL},
    {"include", "write everything into one file"},
    {"listeners.NAME.mode", "every listener queues"},
    {"listeners.NAME.network", NULL},
    {"gateways.NAME.networks", "set `enabled: false` for gateways out of reach"},
    {"gateways.NAME.oauth2", "use `password` with an app password"},
    {"gateways.NAME.senders", "write a route with `from`"},
    {"gateways.NAME.limits", "`rate`, `connections` and `recipients` stand in the gateway itself"},
    {"gateways.NAME.per_day", "`rate: 1000/d` limits a day's mail"},
    {"gateways.NAME.dkim", NULL},
    {"routes[].network", NULL},
    {"routes[].class", NULL},
    {"routes[].client", NULL},
    {"routes[].size", NULL},
    {"routes[].time", NULL},
};
const size_t conf_future_count = COUNT_OF(conf_futures);

const struct conf_key *conf_key_find(const char *path)
{
    for (size_t i = 0; i < conf_key_count; i++)
        if (strcmp(conf_keys[i].path, path) == 0)
            return &conf_keys[i];
    return NULL;
}

const char *conf_key_under(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(path, prefix, len) != 0 || path[len] == '\0')
        return NULL;
    return strpbrk(path + len, ".[") == NULL ? path + len : NULL;
}

const char *conf_key_name(const struct conf_key *key)
{
    const char *name = key->path, *at;
    while ((at = strstr(name, "NAME.")) != NULL || (at = strstr(name, "[].")) != NULL)
        name = strchr(at, '.') + 1;
    return name;
}

// Edits (insert, delete, change, swap of neighbours) from one word to another, ignoring case;
// words of up to 31 characters.
static unsigned distance(struct str a, struct str b)
{
    enum { MAX = 31 };
    unsigned rows[3][MAX + 1];
    if (a.len > MAX || b.len > MAX)
        return MAX;
    unsigned *old = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = ascii_lower(a.ptr[i - 1]), y = ascii_lower(b.ptr[j - 1]);
            unsigned best = last[j - 1] + (x != y);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == ascii_lower(b.ptr[j - 2]) &&
                y == ascii_lower(a.ptr[i - 2]) && old[j - 2] + 1 < best)
                best = old[j - 2] + 1;
            now[j] = best;
        }
        unsigned *free_row = old;
        old = last;
        last = now;
        now = free_row;
    }
    return last[b.len];
}

void conf_nearest_offer(struct conf_nearest *n, struct str typed, const char *word)
{
    struct str w = str_of(word);
    unsigned d = distance(typed, w);
    unsigned near = w.len <= 3 ? 1 : w.len <= 7 ? 2 : 3;
    // A piece of the word counts as near: `conn` for `connections`.
    if (d > near && typed.len >= 3 && (str_istarts(w, typed) || str_istarts(typed, w)))
        d = near;
    if (d <= near && d < w.len && (n->word == NULL || d < n->distance))
        *n = (struct conf_nearest){word, d};
}

const char *conf_type_words(const struct conf_key *key)
{
    switch (key->type) {
    case CONF_SECTION: return "a map of the keys below";
    case CONF_NAMED: return "a map of names, each with the keys below";
    case CONF_RECORDS: return "a list of maps with the keys below";
    case CONF_BOOL: return "true or false (also yes, no, on, off)";
    case CONF_INT: return key->words != NULL ? "a word or a whole number" : "a whole number";
    case CONF_ENUM: return "a word";
    case CONF_SIZE: return "a size such as 512KiB, 50MiB or 1GiB";
    case CONF_TIME: return "a time such as 90s, 5m, 4h or 5d";
    case CONF_TIMES: return "a list of times such as [1m, 5m, 1h]";
    case CONF_RATE: return "a rate such as 10/s, 30/min, 500/h or 1000/d";
    case CONF_STRING: return "text";
    case CONF_HOST: return "a host name or an address in brackets";
    case CONF_MAILBOX: return "a mail address such as admin@example.org";
    case CONF_PATH: return "a file path";
    case CONF_IP: return "an IP address";
    case CONF_ADDRESSES: return "a list of addresses such as [\"127.0.0.1:25\", \"[::1]:25\"]";
    case CONF_RANGES:
        return "a list of addresses, networks or ranges such as [10.0.0.0/8, "
               "192.168.1.40-192.168.1.47]";
    case CONF_GLOBS: return "a list of patterns such as [\"*@example.org\"]";
    case CONF_SERVERS: return "a list of addresses such as [127.0.0.1, \"[::1]:5353\"]";
    case CONF_URL: return "a url such as smtp+starttls://user@host:587";
    case CONF_SECRET: return "a secret: !file, !env, !credential, !command, or text";
    case CONF_CHAIN: return "a list of gateways";
    case CONF_GATEWAY: return "the name of a gateway";
    case CONF_CLASSES: return "a list of words";
    }
    return "";
}
