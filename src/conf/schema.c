// SPDX-License-Identifier: ISC
// The table of all keys.
#include "conf/schema.h"
#include "base/limits.h"
#include "mail/envelope.h"
#include "sys/log.h"

#define SECOND      1000LL
#define HOUR        (3600 * SECOND)
#define DAY         (24 * HOUR)
#define YEAR        (366 * DAY)
#define KIB         1024LL
#define GIB         (1024 * 1024 * KIB)
#define PIB         (1024 * 1024 * GIB)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct conf_word log_formats[] = {
    {"text", CONF_LOG_TEXT}, {"json", CONF_LOG_JSON}, {NULL, 0}};
static const struct conf_word log_levels[] = {{"debug", LOG_DEBUG_LEVEL},
                                              {"info", LOG_INFO_LEVEL},
                                              {"warn", LOG_WARN_LEVEL},
                                              {"error", LOG_ERROR_LEVEL},
                                              {NULL, 0}};
static const struct conf_word log_transcripts[] = {
    {"failed", CONF_TRANSCRIPTS_FAILED}, {"all", CONF_TRANSCRIPTS_ALL}, {NULL, 0}};
static const struct conf_word listener_modes[] = {
    {"queue", LISTEN_QUEUE}, {"proxy", LISTEN_PROXY}, {NULL, 0}};
static const struct conf_word listener_tls[] = {
    {"none", LISTEN_TLS_NONE},         {"starttls", LISTEN_TLS_STARTTLS},
    {"required", LISTEN_TLS_REQUIRED}, {"implicit", LISTEN_TLS_IMPLICIT},
    {"auto", LISTEN_TLS_AUTO},         {NULL, 0}};
static const struct conf_word listener_auth[] = {{"off", LISTEN_AUTH_OFF},
                                                 {"optional", LISTEN_AUTH_OPTIONAL},
                                                 {"required", LISTEN_AUTH_REQUIRED},
                                                 {NULL, 0}};
static const struct conf_word sender_domains[] = {
    {"any", SENDER_DOMAIN_ANY}, {"check", SENDER_DOMAIN_CHECK}, {NULL, 0}};
static const struct conf_word gateway_tls[] = {{"off", TLS_OFF},
                                               {"wanted", TLS_WANTED},
                                               {"required", TLS_REQUIRED},
                                               {"implicit", TLS_IMPLICIT},
                                               {NULL, 0}};
static const struct conf_word priorities[] = {{"highest", 10},      {"high", 20}, {"normal", 30},
                                              {"below-normal", 40}, {"low", 50},  {NULL, 0}};
#define CLASS_WORDS                                                                                \
    {"offline", OUTCOME_OFFLINE}, {"net", OUTCOME_NET}, {"dns", OUTCOME_DNS},                      \
        {"no-record", OUTCOME_NO_RECORD}, {"tls", OUTCOME_TLS}, {"auth", OUTCOME_AUTH},            \
        {"quota", OUTCOME_QUOTA}, {"busy", OUTCOME_BUSY}, {"reputation", OUTCOME_REPUTATION},      \
        {"doubt", OUTCOME_DOUBT},                                                                  \
    {                                                                                              \
        "refused", OUTCOME_REFUSED                                                                 \
    }
static const struct conf_word classes[] = {CLASS_WORDS, {NULL, 0}};
static const struct conf_word mode_classes[] = {
    {"lan", MODE_ON_LAN}, {"smtp", MODE_ON_SMTP}, CLASS_WORDS, {NULL, 0}};
static const struct conf_word scopes[] = {{"network", SCOPE_NETWORK},
                                          {"gateway", SCOPE_GATEWAY},
                                          {"account", SCOPE_ACCOUNT},
                                          {"destination", SCOPE_DESTINATION},
                                          {"recipient", SCOPE_RECIPIENT},
                                          {"message", SCOPE_MESSAGE},
                                          {NULL, 0}};
static const struct conf_word link_types[] = {{"ethernet", LINK_ETHERNET},
                                              {"wifi", LINK_WIFI},
                                              {"modem", LINK_MODEM},
                                              {"ppp", LINK_PPP},
                                              {"wireguard", LINK_WIREGUARD},
                                              {"vpn", LINK_VPN},
                                              {NULL, 0}};
static const struct conf_word wishes[] = {{"yes", WISH_YES},  {"no", WISH_NO},  {"any", WISH_ANY},
                                          {"true", WISH_YES}, {"on", WISH_YES}, {"false", WISH_NO},
                                          {"off", WISH_NO},   {NULL, 0}};
static const struct conf_word priority_classes[] = {
    {"urgent", PRIORITY_URGENT}, {"normal", PRIORITY_NORMAL}, {"bulk", PRIORITY_LOW}, {NULL, 0}};
static const struct conf_word probe_depths[] = {
    {"tcp", PROBE_TCP}, {"tls", PROBE_TLS}, {"ehlo", PROBE_EHLO}, {"auth", PROBE_AUTH}, {NULL, 0}};
static const struct conf_word modes[] = {
    {"never", MODE_NEVER},     {"undelivered", MODE_UNDELIVERED}, {"on-error", MODE_ON_ERROR},
    {"domains", MODE_DOMAINS}, {"always", MODE_ALWAYS},           {NULL, 0}};
static const struct conf_word fallbacks[] = {
    {"all", FALLBACK_ALL}, {"default", FALLBACK_DEFAULT}, {"none", FALLBACK_NONE}, {NULL, 0}};
static const struct conf_word stickies[] = {
    {"forever", STICKY_FOREVER}, {"network", STICKY_NETWORK}, {NULL, 0}};
static const struct conf_word smarthost_ons[] = {
    {"temp", SMARTHOST_TEMP}, {"perm", SMARTHOST_PERM}, {"both", SMARTHOST_BOTH}, {NULL, 0}};
static const struct conf_word doubts[] = {{"move", DOUBT_MOVE},
                                          {"again", DOUBT_AGAIN},
                                          {"hold", DOUBT_HOLD},
                                          {"once", DOUBT_ONCE},
                                          {NULL, 0}};

// Where a value goes.
#define AT(type, field)                                                                            \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define AT2(type, field, second) AT(type, field), .more = offsetof(struct type, second)
#define IN_CONF(field)           AT(conf, field)
#define IN_LISTENER(field)       AT(conf_listener, field)
#define IN_GATEWAY(field)        AT(conf_gateway, field)
#define IN_NETWORK(field)        AT(conf_network, field)
#define IN_ROUTE(field)          AT(conf_route, field)

// The three tables of a gateway's allowances.
#define QUOTA(key, unit, period, span)                                                             \
    {                                                                                              \
        .path = "gateways.NAME.limits." key, .type = CONF_INT, IN_GATEWAY(quota[unit][period]),    \
        .unset = "no limit", .min = 1, .max = 1000000000, .example = "10000", .help = span         \
    }
#define QUOTA_BYTES(key, period, span)                                                             \
    {                                                                                              \
        .path = "gateways.NAME.limits." key, .type = CONF_SIZE,                                    \
        IN_GATEWAY(quota[UNIT_BYTES][period]), .unset = "no limit", .min = KIB, .max = PIB,        \
        .example = "10GiB", .help = span                                                           \
    }

const struct conf_key conf_keys[] = {
    // The program itself
    {.path = "version",
     .type = CONF_INT,
     IN_CONF(version),
     .fallback = "1",
     .min = 1,
     .max = CONF_VERSION,
     .help = "The version of the configuration's language this file is written in. A file of one "
             "version means the same in every later Waypost: keys and words are added, none "
             "changes its meaning without a new version. A file of a version that this program "
             "does not know yet is refused."},
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

    {.path = "captive_url",
     .type = CONF_STRING,
     IN_CONF(captive_url),
     .unset = "nothing is asked",
     .example = "http://connectivity-check.ubuntu.com/",
     .help = "A page (`http://`) that answers 204, or 200 with its own text, when nothing stands "
             "in the way. It is asked after a change of network, so that mail waits behind a "
             "captive portal instead of being tried. The DNS is asked for a random name under "
             "`invalid` then, too, to know one that lies. NetworkManager's own opinion is used "
             "either way."},

    {.path = "log",
     .type = CONF_SECTION,
     .unset = "as below",
     .help = "What is written to the log, how and where."},
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
    {.path = "log.file",
     .type = CONF_PATH,
     IN_CONF(log_file),
     .unset = "standard error",
     .example = "/var/log/waypost/waypost.log",
     .help = "A file the lines are added to instead, opened once the daemon has become its `user`, "
             "and opened anew by every `waypost reload` or SIGHUP, so that logrotate can move it "
             "away. Until the daemon is up, and when the file takes no more, lines go to standard "
             "error."},

    {.path = "log.transcripts",
     .type = CONF_ENUM,
     IN_CONF(log_transcripts),
     .fallback = "failed",
     .words = log_transcripts,
     .help = "Which dialogues with next hops are kept for `waypost log ID --transcript`, without "
             "passwords and bodies: of attempts that `failed`, or of `all`. All of them cost some "
             "kilobytes a message, for the time of `queue.keep`."},

    {.path = "dns",
     .type = CONF_SECTION,
     .unset = "the system's resolver, without validation",
     .help = "How names are looked up. A change holds from the reload on, also for what is being "
             "looked up "
             "at that moment."},
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
    {.path = "dns.timeout",
     .type = CONF_TIME,
     IN_CONF(dns_timeout_ms),
     .fallback = "10s",
     .min = SECOND,
     .max = 60 * SECOND,
     .help = "How long a look-up may take, with all its repetitions. One that fails is never the "
             "mail's fault: it waits, and the attempt does not count."},

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
    {.path = "listeners.NAME.mode",
     .type = CONF_ENUM,
     IN_LISTENER(mode),
     .fallback = "queue",
     .words = listener_modes,
     .help = "`queue`: 250 once the mail is on disk here, and Waypost sees to the rest; `proxy`: "
             "mail passes through while its client waits, and hears what the next server itself "
             "says to each recipient and to the message. Nothing is queued then, and who may not "
             "wait is told to come again."},
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
    {.path = "listeners.NAME.deny",
     .type = CONF_RANGES,
     AT2(conf_listener, deny, deny_count),
     .unset = "nobody",
     .example = "[192.168.1.66, 192.168.2.0/24]",
     .help = "Who may not connect, even if `clients`, a login or `open_relay` would let them in."},
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
    {.path = "listeners.NAME.refuse_to",
     .type = CONF_MAIL_GLOBS,
     AT2(conf_listener, refuse_to, refuse_to_count),
     .unset = "nobody",
     .example = "[\"everybody@example.org\", example.net]",
     .help = "Patterns of recipients that are refused with 550 when the mail is handed in, even if "
             "`to` allows them. A domain alone means every address in it, with a dot in front "
             "every address in its subdomains."},
    {.path = "listeners.NAME.sender_domain",
     .type = CONF_ENUM,
     IN_LISTENER(sender_domain),
     .words = sender_domains,
     .fallback = "any",
     .help = "`check`: mail is refused with 550 when its sender's domain is not in DNS, has "
             "neither an MX record nor an address, or says that it takes no mail (null MX). When "
             "DNS does not answer, mail is taken. Beware of false positives: machines that send "
             "as `root@printer.lan`, domains that only the inside of a network knows, and "
             "senders with names made up are refused, and most programs then lose the mail."},
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
    {.path = "listeners.NAME.timeout",
     .type = CONF_TIME,
     IN_LISTENER(timeout_ms),
     .unset = "5m for the next command, 10m for more of a message",
     .min = SECOND,
     .max = HOUR,
     .example = "2m",
     .help = "How long a client may say nothing before it is told 421. Less than five minutes is "
             "less than RFC 5321 asks for."},
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

    {.path = "listeners.NAME.send_later",
     .type = CONF_TIME,
     IN_LISTENER(send_later_ms),
     .fallback = "365d",
     .max = 10 * YEAR,
     .example = "30d",
     .help = "How far ahead a client may ask for mail to be sent, by HOLDFOR or HOLDUNTIL "
             "(FUTURERELEASE, RFC 4865); `never`: not at all. Not with `lmtp`."},

    // Networks
    {.path = "networks",
     .type = CONF_NAMED,
     .max = CONF_NETWORKS,
     .unset = "none",
     .example = "{office: {address: 10.20.0.0/16}}",
     .help =
         "The places this machine can be on, each with a name of your choice. Of the conditions "
         "below all that are written must hold; of the entries of one it is enough that one "
         "does. `waypost network` shows which hold now and why, `waypost network learn NAME` "
         "describes the place of now."},
    {.path = "networks.NAME.connection",
     .type = CONF_GLOBS,
     AT2(conf_network, connection, connection_count),
     .unset = "any",
     .example = "[\"Office LAN\", wg-work]",
     .help = "Patterns over the name or UUID of an active connection of NetworkManager, the name "
             "of an interface, or the link name of pppd."},
    {.path = "networks.NAME.address",
     .type = CONF_RANGES,
     AT2(conf_network, address, address_count),
     .unset = "any",
     .example = "[10.20.0.0/16]",
     .help = "One of our own addresses lies in one of these."},
    {.path = "networks.NAME.subnet",
     .type = CONF_RANGES,
     AT2(conf_network, subnet, subnet_count),
     .unset = "any",
     .example = "[192.168.178.0/24]",
     .help = "One of the networks we are directly on lies in one of these."},
    {.path = "networks.NAME.interface",
     .type = CONF_GLOBS,
     AT2(conf_network, interface, interface_count),
     .unset = "any",
     .example = "[\"tun*\", wg0]",
     .help = "Patterns over the names of the interfaces that are up and have an address."},
    {.path = "networks.NAME.ssid",
     .type = CONF_GLOBS,
     AT2(conf_network, ssid, ssid_count),
     .unset = "any",
     .example = "[\"My Wifi\"]",
     .help = "Patterns over the name of the wireless network we are in (by NetworkManager)."},
    {.path = "networks.NAME.apn",
     .type = CONF_GLOBS,
     AT2(conf_network, apn, apn_count),
     .unset = "any",
     .example = "[internet.example]",
     .help = "Patterns over the access point (APN) of a modem's connection that stands (by "
             "NetworkManager)."},
    {.path = "networks.NAME.type",
     .type = CONF_SET,
     IN_NETWORK(types),
     .words = link_types,
     .unset = "any",
     .example = "[ethernet, wifi]",
     .help = "The kind of a link that is up and has an address."},
    {.path = "networks.NAME.metered",
     .type = CONF_ENUM,
     IN_NETWORK(metered),
     .words = wishes,
     .fallback = "any",
     .help = "Whether NetworkManager takes the connection to the world for one that is paid by "
             "volume."},
    {.path = "networks.NAME.captive",
     .type = CONF_ENUM,
     IN_NETWORK(captive),
     .words = wishes,
     .fallback = "any",
     .help = "Whether a portal stands in the way to the world, as in hotels (see `captive_url`)."},
    {.path = "networks.NAME.dial",
     .type = CONF_SECTION,
     .unset = "it is waited for",
     .example = "{command: [/usr/bin/nmcli, connection, up, modem], hang_up: [/usr/bin/nmcli, "
                "connection, down, modem]}",
     .help = "Makes the connection when mail waits for it: when all that a gateway with this "
             "network in its `networks` lacks for the mail is that the network holds, and no other "
             "way is open."},
    {.path = "networks.NAME.dial.command",
     .type = CONF_WORDS,
     AT2(conf_network, dial.command, dial.command_count),
     .unset = "must be set",
     .example = "[/usr/bin/nmcli, connection, up, modem]",
     .help = "The program that makes the connection, by its absolute path, and its arguments. It "
             "is run without a shell, as the user Waypost runs as, with NETWORK in its "
             "environment, and killed after two minutes. Exit status 0 means that the network is "
             "coming; mail goes once it holds."},
    {.path = "networks.NAME.dial.hang_up",
     .type = CONF_WORDS,
     AT2(conf_network, dial.hang_up, dial.hang_up_count),
     .unset = "the connection stays",
     .example = "[/usr/bin/nmcli, connection, down, modem]",
     .help = "The program that ends the connection. Only one that Waypost made itself is ended."},
    {.path = "networks.NAME.dial.after",
     .type = CONF_TIME,
     IN_NETWORK(dial.after_ms),
     .fallback = "30s",
     .max = DAY,
     .help = "How long mail waits for the network to hold by itself before it is dialled. Urgent "
             "mail does not wait."},
    {.path = "networks.NAME.dial.again",
     .type = CONF_TIME,
     IN_NETWORK(dial.again_ms),
     .fallback = "10m",
     .min = 10 * SECOND,
     .max = DAY,
     .help = "The wait before the next try after one that failed, doubled with each further "
             "failure up to eight times as long. A network that does not hold so long after its "
             "command ended well has failed, too; one that was lost has so long to come back "
             "before it is dialled anew."},
    {.path = "networks.NAME.dial.idle",
     .type = CONF_TIME,
     IN_NETWORK(dial.idle_ms),
     .fallback = "5m",
     .min = SECOND,
     .max = DAY,
     .help = "It is hung up when no gateway bound to it had mail to send for so long."},

    // Gateways
    {.path = "gateways",
     .type = CONF_NAMED,
     .max = LIMIT_GATEWAYS,
     .unset = "only `direct`",
     .example = "{isp: {url: \"smtp://mail.isp.example\"}}",
     .help =
         "The ways out. Each entry has a name of your choice; two accounts on one host are two "
         "gateways. The built-in gateway `direct` delivers to the recipients' own servers (MX); "
         "an entry `direct` adjusts it. Without `routes`, mail takes the gateways by priority "
         "and moves to the next on trouble. Instead of keys an entry may be the host alone: `isp: "
         "mail.isp.example:2525`."},
    {.path = "gateways.NAME.url",
     .type = CONF_URL,
     .unset = "must be set (not for `direct`)",
     .example = "smtp+starttls://me@smtp.example.org:587",
     .help =
         "Where it is: `smtp://`, `smtp+starttls://`, `smtps://`, `lmtp://`, then an optional "
         "`user@`, the host and an optional port; or `lmtp+unix:///path` and "
         "`smtp+unix:///path`; or on this machine `maildir:///path/%u`, `pipe:/path/of/program` "
         "and `sendmail:/path/of/sendmail`, which take only the mail that a route sends there. "
         "With a user, `smtp://` means port 587 and TLS required; without, "
         "port 25 and TLS wanted. `smtps://` is port 465. Host and port alone mean `smtp://`. In "
         "the user, %40 stands for @, %3A for a colon."},
    {.path = "gateways.NAME.create",
     .type = CONF_BOOL,
     IN_GATEWAY(create),
     .fallback = "false",
     .help = "Only for a maildir: one that is missing is made, in a directory that is there. "
             "Otherwise mail for it is refused: no such mailbox."},
    {.path = "gateways.NAME.arguments",
     .type = CONF_WORDS,
     AT2(conf_gateway, arguments, argument_count),
     .unset = "none; of `sendmail:` -i -f %s -- %r",
     .example = "[-d, \"%u\"]",
     .help =
         "Only for a program (`pipe:`), which is run once for each recipient, without a shell. In "
         "an argument %u stands for the recipient's user (the local part in lower case, without "
         "+detail), %e for the detail, %d for the domain, %r for the recipient, %s for the sender "
         "(<> for none), %% for a percent sign. %u and %d also stand in the path of a maildir."},
    {.path = "gateways.NAME.run_as",
     .type = CONF_STRING,
     IN_GATEWAY(run_as),
     .unset = "the user Waypost runs as",
     .example = "vmail",
     .help = "Only for a program: the user it runs as. Needs Waypost itself to run as root, which "
             "runs no program otherwise."},
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
    {.path = "gateways.NAME.cost",
     .type = CONF_PRICE,
     IN_GATEWAY(cost),
     .unset = "nothing is said of it",
     .example = "0.10 USD/1000",
     .help =
         "What it asks for each recipient, or for so many. Told by `gateway show` for the month, "
         "and what `limits.cost_per_month` counts with; the choice among gateways is by "
         "priority."},
    {.path = "gateways.NAME.enabled",
     .type = CONF_BOOL,
     IN_GATEWAY(enabled),
     .fallback = "true",
     .help = "A gateway that is not enabled is passed over everywhere."},
    {.path = "gateways.NAME.networks",
     .type = CONF_PLACES,
     IN_GATEWAY(networks),
     .unset = "everywhere",
     .example = "[office, home]",
     .help = "Usable only while the machine is on one of these networks; elsewhere mail takes "
             "another way or waits. For a server that knows its clients by their network and "
             "would refuse us from anywhere else."},
    {.path = "gateways.NAME.default",
     .type = CONF_BOOL,
     IN_GATEWAY(fallback),
     .fallback = "false",
     .help = "The gateway that is taken when nothing else fits the network. Without one it is the "
             "first. Only one can be it."},
    {.path = "gateways.NAME.senders",
     .type = CONF_MAIL_GLOBS,
     AT2(conf_gateway, senders, sender_count),
     .unset = "any sender",
     .example = "[\"*@example.org\"]",
     .help = "Patterns of which the envelope sender must match one; mail of others does not go "
             "through this gateway."},
    {.path = "gateways.NAME.hours",
     .type = CONF_HOURS,
     AT2(conf_gateway, hours, hours_count),
     .unset = "always",
     .example = "\"mon-fri 08:00-18:00\"",
     .help =
         "It is used at these times of the week only, in local time: days, hours, or both, as in "
         "`routes[].time`. Outside of them mail takes the next way, or waits until they begin. A "
         "gateway picked by hand is used at any time."},
    {.path = "gateways.NAME.addresses",
     .type = CONF_IPS,
     AT2(conf_gateway, pinned, pinned_count),
     .unset = "looked up",
     .example = "[192.0.2.25, \"2001:db8::25\"]",
     .help = "The addresses to connect to, instead of looking the host up. The certificate is "
             "still checked by the host's name."},
    {.path = "gateways.NAME.interface",
     .type = CONF_STRING,
     IN_GATEWAY(interface),
     .unset = "any",
     .example = "wg0",
     .help = "The interface to leave through, and no other."},
    {.path = "gateways.NAME.socks",
     .type = CONF_SOCKS,
     IN_GATEWAY(socks),
     .unset = "none",
     .example = "socks5://127.0.0.1:1080",
     .help = "A SOCKS5 proxy to connect through, which also looks the host up: `socks5://`, an "
             "optional `user@`, host and optional port (1080)."},
    {.path = "gateways.NAME.socks_password",
     .type = CONF_SECRET,
     IN_GATEWAY(socks_password),
     .unset = "none",
     .example = "!file /etc/waypost/proxy.pw",
     .help = "The password for the proxy, of the user in the url of `socks`."},
    {.path = "gateways.NAME.health",
     .type = CONF_SECTION,
     .unset = "as below",
     .help = "When a gateway counts as in trouble, and how it is found to be well again."},
    {.path = "gateways.NAME.health.probe",
     .type = CONF_TIME,
     IN_GATEWAY(health.every_ms),
     .fallback = "never",
     .max = DAY,
     .help = "How often the gateway is asked without mail while all is well, so that trouble is "
             "found before mail comes. `never`: only while it rests after trouble."},
    {.path = "gateways.NAME.health.depth",
     .type = CONF_ENUM,
     IN_GATEWAY(health.depth),
     .fallback = "ehlo",
     .words = probe_depths,
     .help = "How far such a question goes: `tcp`: a connection; `tls`: encryption too; `ehlo`: "
             "its greeting and EHLO, encrypted as for mail; `auth`: the login too."},
    {.path = "gateways.NAME.health.failures",
     .type = CONF_INT,
     IN_GATEWAY(health.failures),
     .fallback = "1",
     .min = 1,
     .max = 100,
     .help = "After so many troubles in a row it rests for a while, and mail takes the next way at "
             "once."},
    {.path = "gateways.NAME.health.hold",
     .type = CONF_TIME,
     IN_GATEWAY(health.hold_ms),
     .fallback = "0s",
     .max = DAY,
     .help = "A gateway that was resting must be well for so long before mail goes back to it."},
    {.path = "gateways.NAME.limits",
     .type = CONF_SECTION,
     .unset = "as below",
     .example = "{rate: 30/min, per_day: 10000}",
     .help = "What may be asked of it. Mail beyond an allowance takes the next way, or waits."},
    {.path = "gateways.NAME.limits.cost_per_month",
     .type = CONF_PRICE,
     IN_GATEWAY(budget),
     .unset = "no limit",
     .example = "5 USD",
     .help = "The most that may be spent in a month of the calendar, in the currency of `cost`. It "
             "is kept as the number of recipients it is enough for."},
    {.path = "gateways.NAME.limits.rate",
     .type = CONF_RATE,
     AT2(conf_gateway, rate, rate_ms),
     .unset = "no limit",
     .min = 1,
     .max = 1000000000,
     .example = "30/min",
     .help = "The most messages in a second (s), minute (min), hour (h) or day (d), spread evenly. "
             "Mail waits its turn and does not go elsewhere for it."},
    QUOTA("per_minute", UNIT_MESSAGES, PERIOD_MINUTE,
          "The most messages in a minute of the clock."),
    QUOTA("per_hour", UNIT_MESSAGES, PERIOD_HOUR, "The most messages in an hour of the clock."),
    QUOTA("per_day", UNIT_MESSAGES, PERIOD_DAY, "The most messages in a day, from midnight."),
    QUOTA("per_week", UNIT_MESSAGES, PERIOD_WEEK, "The most messages in a week, from Monday."),
    QUOTA("per_month", UNIT_MESSAGES, PERIOD_MONTH,
          "The most messages in a month of the calendar."),
    QUOTA("recipients_per_minute", UNIT_RECIPIENTS, PERIOD_MINUTE,
          "The most recipients in a minute of the clock."),
    QUOTA("recipients_per_hour", UNIT_RECIPIENTS, PERIOD_HOUR,
          "The most recipients in an hour of the clock."),
    QUOTA("recipients_per_day", UNIT_RECIPIENTS, PERIOD_DAY,
          "The most recipients in a day, from midnight."),
    QUOTA("recipients_per_week", UNIT_RECIPIENTS, PERIOD_WEEK,
          "The most recipients in a week, from Monday."),
    QUOTA("recipients_per_month", UNIT_RECIPIENTS, PERIOD_MONTH,
          "The most recipients in a month of the calendar."),
    QUOTA_BYTES("bytes_per_minute", PERIOD_MINUTE, "The most octets in a minute of the clock."),
    QUOTA_BYTES("bytes_per_hour", PERIOD_HOUR, "The most octets in an hour of the clock."),
    QUOTA_BYTES("bytes_per_day", PERIOD_DAY, "The most octets in a day, from midnight."),
    QUOTA_BYTES("bytes_per_week", PERIOD_WEEK, "The most octets in a week, from Monday."),
    QUOTA_BYTES("bytes_per_month", PERIOD_MONTH, "The most octets in a month of the calendar."),
    {.path = "gateways.NAME.limits.reserve",
     .type = CONF_PERCENT,
     IN_GATEWAY(reserve_percent),
     .fallback = "0%",
     .max = 100,
     .help = "The part of each allowance that is kept for urgent mail."},
    {.path = "gateways.NAME.limits.reset",
     .type = CONF_ZONE,
     IN_GATEWAY(quota_zone),
     .unset = "the machine's time zone",
     .example = "America/Los_Angeles",
     .help = "The time zone whose midnight begins the days, weeks and months of the allowances: "
             "that of the provider. An allowance of another kind of day is best met by `UTC` or an "
             "offset such as `+02:00`."},
    {.path = "gateways.NAME.limits.connections",
     .type = CONF_INT,
     IN_GATEWAY(connections),
     .fallback = "50",
     .min = 1,
     .max = 10000,
     .help = "The most connections to it at once, idle ones that are kept for the next message "
             "included; of a program, how often it runs at once, which is 4 when nothing is said."},
    {.path = "gateways.NAME.limits.timeout",
     .type = CONF_TIME,
     IN_GATEWAY(timeout_ms),
     .unset = "30s to connect, 1m for the greeting, TLS and the login, 5m for a command, 3m for a "
              "piece of the message",
     .min = SECOND,
     .max = HOUR,
     .example = "20s",
     .help = "How long the server may take for each of these before it counts as dead and mail "
             "goes on to the next gateway; connecting has 30s at most. The reply to a whole "
             "message has at least 10m all the same: given up earlier, it would arrive twice. Of a "
             "program: how long it may run, 5m when nothing is said, before it is killed."},
    {.path = "gateways.NAME.limits.per_connection",
     .type = CONF_INT,
     IN_GATEWAY(per_connection),
     .fallback = "100000",
     .min = 1,
     .max = 100000,
     .help = "The most messages over one connection before a new one is made."},
    {.path = "gateways.NAME.limits.recipients",
     .type = CONF_INT,
     IN_GATEWAY(recipients),
     .fallback = "100",
     .min = 1,
     .max = 10000,
     .help = "The most recipients in one transaction; more are sent in several."},
    {.path = "gateways.NAME.limits.message_size",
     .type = CONF_SIZE,
     IN_GATEWAY(message_size),
     .unset = "what the server says",
     .min = KIB,
     .max = 2 * GIB,
     .example = "25MiB",
     .help = "Larger mail takes another way."},
    {.path = "gateways.NAME.port",
     .type = CONF_INT,
     IN_GATEWAY(direct_port),
     .fallback = "25",
     .min = 1,
     .max = 65535,
     .help = "The port of the recipients' servers. Only for `direct`; elsewhere the port stands in "
             "the url."},

    // The choice
    {.path = "choice",
     .type = CONF_SECTION,
     .unset = "as below",
     .help = "How a gateway is chosen for mail that no route sends another way."},
    {.path = "choice.automatic",
     .type = CONF_BOOL,
     IN_CONF(choice.automatic),
     .fallback = "true",
     .help = "Whether the network decides. If not, mail goes through the gateway picked by hand "
             "(`waypost gateway use NAME`), else the default one."},
    {.path = "choice.subnet",
     .type = CONF_BOOL,
     IN_CONF(choice.subnet),
     .fallback = "true",
     .help = "Whether a gateway inside one of our own subnets goes before others."},
    {.path = "choice.host_prefix_ipv4",
     .type = CONF_INT,
     IN_CONF(choice.host_prefix[0]),
     .fallback = "24",
     .min = 8,
     .max = 32,
     .help = "The prefix taken for an own IPv4 address that has no subnet around it, as on "
             "point-to-point links."},
    {.path = "choice.host_prefix_ipv6",
     .type = CONF_INT,
     IN_CONF(choice.host_prefix[1]),
     .fallback = "64",
     .min = 16,
     .max = 128,
     .help = "The same for IPv6."},
    {.path = "choice.fallback",
     .type = CONF_ENUM,
     IN_CONF(choice.fallback),
     .fallback = "all",
     .words = fallbacks,
     .help = "What is used when no gateway belongs to the network we are on: `all`: every gateway "
             "that may be used here, by priority; `default`: the one with `default: true`, else "
             "the first; `none`: mail waits."},
    {.path = "choice.manual",
     .type = CONF_STICKY,
     AT2(conf, choice.sticky, choice.sticky_ms),
     .fallback = "forever",
     .words = stickies,
     .min = 60 * SECOND,
     .max = YEAR,
     .help = "How long a gateway picked by hand stays picked: `forever`: until `waypost gateway "
             "auto`; `network`: until the network changes; or so long."},
    {.path = "smarthost",
     .type = CONF_SECTION,
     .unset = "none",
     .example = "{gateway: isp}",
     .help = "The shortest way to say that one gateway stands behind direct delivery, or instead "
             "of it. It becomes a route behind all others, which `waypost route show` prints."},
    {.path = "smarthost.gateway",
     .type = CONF_GATEWAY,
     IN_CONF(smarthost.gateway),
     .unset = "must be set",
     .example = "isp",
     .help = "The gateway's name."},
    {.path = "smarthost.enabled",
     .type = CONF_BOOL,
     IN_CONF(smarthost.enabled),
     .fallback = "true",
     .help =
         "The switch, which `waypost smarthost on` and `off` set. Off, everything it would have "
         "taken goes direct, also when it is `exclusive`."},
    {.path = "smarthost.exclusive",
     .type = CONF_BOOL,
     IN_CONF(smarthost.exclusive),
     .fallback = "false",
     .help = "Whether everything goes through it. If not, only what cannot be delivered directly."},
    {.path = "smarthost.on",
     .type = CONF_ENUM,
     IN_CONF(smarthost.on),
     .fallback = "temp",
     .words = smarthost_ons,
     .help = "Which trouble of direct delivery leads to it: `temp`: all that may pass; `perm`: the "
             "recipients' server refused the mail for good; `both`. A domain that does not exist "
             "is a refusal for good."},

    // Routes
    {.path = "routes",
     .type = CONF_RECORDS,
     .max = 2000,
     .unset = "every mail takes all enabled gateways by priority",
     .example = "[{to: \"*@example.org\", via: [company]}, {via: [direct]}]",
     .help = "Which mail takes which gateways. The first route that matches is taken; mail that "
             "matches none goes as if there were no routes."},
    {.path = "routes[].name",
     .type = CONF_STRING,
     IN_ROUTE(name),
     .unset = "its number",
     .example = "alerts",
     .help = "A name for people, in explanations."},
    {.path = "routes[].to",
     .type = CONF_MAIL_GLOBS,
     AT2(conf_route, to, to_count),
     .unset = "every recipient",
     .example = "[\"*@example.org\", \".example.net\"]",
     .help = "Patterns of which the recipient must match one; * stands for any text, ? for one "
             "character. A domain alone means every address in it (`example.org`), with a dot in "
             "front every address in its subdomains (`.example.org`)."},
    {.path = "routes[].from",
     .type = CONF_MAIL_GLOBS,
     AT2(conf_route, from, from_count),
     .unset = "every sender",
     .example = "[\"alerts@*\"]",
     .help = "Patterns of which the envelope sender must match one. `<>` is the empty sender of "
             "reports."},
    {.path = "routes[].client",
     .type = CONF_CLIENTS,
     AT2(conf_route, client, client_count),
     .unset = "every client",
     .example = "[192.168.1.40-192.168.1.47, \"uid 1000\", \"user alice\"]",
     .help = "Who handed the mail in: an address, a network, a range from-to, or a pattern over "
             "`uid 1000` (a local program's user) or `user NAME` (who logged in)."},
    {.path = "routes[].listener",
     .type = CONF_GLOBS,
     AT2(conf_route, listener, listener_count),
     .unset = "every listener",
     .example = "[scanner]",
     .help = "Patterns over the name of the listener that took the mail."},
    {.path = "routes[].mx",
     .type = CONF_GLOBS,
     AT2(conf_route, mx, mx_count),
     .unset = "every domain",
     .example = "[\"*.mail.protection.outlook.com\"]",
     .help = "Patterns of which one must match the name of one of the recipient's mail exchangers. "
             "They are looked up before the route is decided; when that fails, the route does not "
             "match."},
    {.path = "routes[].larger",
     .type = CONF_SIZE,
     IN_ROUTE(larger),
     .unset = "any size",
     .min = 1,
     .max = 2 * GIB,
     .example = "10MiB",
     .help = "Only mail of more octets."},
    {.path = "routes[].smaller",
     .type = CONF_SIZE,
     IN_ROUTE(smaller),
     .unset = "any size",
     .min = 1,
     .max = 2 * GIB,
     .example = "100KiB",
     .help = "Only mail of less octets."},
    {.path = "routes[].header",
     .type = CONF_HEADERS,
     AT2(conf_route, header, header_count),
     .unset = "any header",
     .example = "{list-id: \"*\", x-campaign: [\"spring*\", \"summer*\"]}",
     .help = "Fields of the header with patterns over their text, of which one must match. A field "
             "that is named here is kept with each message that comes in from then on; mail that "
             "came before does not match."},
    {.path = "routes[].class",
     .type = CONF_SET,
     IN_ROUTE(classes),
     .words = priority_classes,
     .unset = "every class",
     .example = "[urgent]",
     .help = "How urgent the mail says it is: by MT-PRIORITY, or by the fields Priority, "
             "X-Priority, Importance and Precedence of its header."},
    {.path = "routes[].network",
     .type = CONF_PLACES,
     AT2(conf_route, networks, not_networks),
     .unset = "every network",
     .example = "[office, home]",
     .help = "Only while the machine is on one of these `networks`; with `!` in front, only while "
             "it is on none of those: `\"!office\"`."},
    {.path = "routes[].time",
     .type = CONF_HOURS,
     AT2(conf_route, hours, hours_count),
     .unset = "always",
     .example = "[\"mon-fri 08:00-18:00\", \"sat,sun\"]",
     .help = "Only at these times of the week, in local time: days, hours, or both. Hours may pass "
             "midnight (`22:00-06:00`): they belong to the day they begin on."},
    {.path = "routes[].mode",
     .type = CONF_ENUM,
     IN_ROUTE(mode),
     .words = modes,
     .unset = "`via` says it",
     .example = "on-error",
     .help =
         "Instead of `via`: how `gateways` stand to direct delivery. `never`: only direct; "
         "`undelivered`: direct, and after `after` the gateways; `on-error`: direct, and the "
         "gateways on the trouble in `on`; `domains`: the domains in `to` through the gateways, "
         "and what they refuse is kept on hold; `always`: everything through the gateways. "
         "`waypost route show` prints the `via` it becomes."},
    {.path = "routes[].gateways",
     .type = CONF_GATEWAYS,
     AT2(conf_route, mode_gateways, mode_gateway_count),
     .unset = "needed with every `mode` but `never`",
     .example = "[isp, backup]",
     .help = "The gateways of a `mode`, in the order they are tried."},
    {.path = "routes[].on",
     .type = CONF_SET,
     IN_ROUTE(mode_on),
     .words = mode_classes,
     .unset = "all but refused, no-record and doubt",
     .example = "[lan, dns, smtp]",
     .help = "With `mode: on-error`: the trouble of direct delivery that leads to the gateways. "
             "`lan`: no connection to be had (offline, net); `dns`: no answer from DNS; "
             "`smtp`: the other server fails in the dialogue (tls, auth, quota, busy, "
             "reputation); or the words of `via[].on`. A domain that does not exist is "
             "`no-record`, and not among them unless it is written."},
    {.path = "routes[].after",
     .type = CONF_SECTION,
     .unset = "needed with `mode: undelivered`",
     .example = "{time: 4h}",
     .help = "With `mode: undelivered`: when direct delivery was tried long enough."},
    {.path = "routes[].after.tries",
     .type = CONF_INT,
     IN_ROUTE(mode_tries),
     .unset = "no attempts needed",
     .min = 1,
     .max = 1000,
     .example = "3",
     .help = "After so many attempts."},
    {.path = "routes[].after.time",
     .type = CONF_TIME,
     IN_ROUTE(mode_ms),
     .unset = "no waiting",
     .min = SECOND,
     .max = YEAR,
     .example = "4h",
     .help = "When the message is that old."},
    {.path = "routes[].keep_failed",
     .type = CONF_BOOL,
     IN_ROUTE(keep_failed),
     .unset = "yes with `mode: domains`, else no",
     .example = "yes",
     .help = "Whether mail that fails for good is kept on hold instead of going back to its "
             "sender."},
    {.path = "routes[].via",
     .type = CONF_CHAIN,
     AT2(conf_route, via, via_count),
     .unset = "must be set without `mode`",
     .example = "[direct, {gateway: isp, on: [net, dns]}]",
     .help = "The gateways in the order they are tried. An entry is a gateway's name, or a map "
             "that says when it is its turn."},
    {.path = "routes[].via[].gateway",
     .type = CONF_GATEWAY,
     AT(conf_step, gateway),
     .example = "isp",
     .help = "The gateway's name."},
    {.path = "routes[].via[].on",
     .type = CONF_SET,
     AT(conf_step, on),
     .words = classes,
     .unset = "all but refused, no-record and doubt",
     .example = "[net, dns]",
     .help = "The kinds of trouble at the entry before that lead here: `offline` no network, "
             "`net` no connection, `dns` no answer from DNS, `no-record` the recipient's domain "
             "does not exist or has no server, `tls` no encryption, `auth` login refused, `quota` "
             "allowance used up, `reputation` we are unwelcome, "
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
    {.path = "routes[].via[].parallel_after",
     .type = CONF_TIME,
     AT(conf_step, parallel_ms),
     .unset = "never",
     .min = SECOND,
     .max = DAY,
     .example = "30s",
     .help = "For urgent mail: when the entry before has come to no end after so long, this one is "
             "begun beside it. The mail may then arrive twice."},

    // Replies
    {.path = "replies",
     .type = CONF_RECORDS,
     .max = 1000,
     .unset = "none",
     .example = "[{gateway: isp, code: 550, text: \"*limit exceeded*\", class: quota, rest: 1h}]",
     .help = "What servers mean by their replies, where it is not what the code says. The first "
             "that matches is taken; they go before those that Waypost knows."},
    {.path = "replies[].gateway",
     .type = CONF_STRING,
     AT(conf_reply, gateway),
     .unset = "every gateway",
     .example = "isp",
     .help = "A pattern over the gateway's name."},
    {.path = "replies[].code",
     .type = CONF_INT,
     AT(conf_reply, code),
     .unset = "any code",
     .min = 400,
     .max = 599,
     .example = "550",
     .help = "The reply's three digits."},
    {.path = "replies[].enhanced",
     .type = CONF_ENHANCED,
     AT(conf_reply, enhanced),
     .unset = "any",
     .example = "5.4.5",
     .help = "The reply's enhanced status code (RFC 3463)."},
    {.path = "replies[].text",
     .type = CONF_STRING,
     AT(conf_reply, text),
     .unset = "any text",
     .example = "\"*limit exceeded*\"",
     .help = "A pattern over the reply's text; * stands for any text, ? for one character."},
    {.path = "replies[].class",
     .type = CONF_ENUM,
     AT(conf_reply, class),
     .words = classes,
     .example = "quota",
     .help = "The kind of trouble it is, in the words of `routes[].via[].on`."},
    {.path = "replies[].scope",
     .type = CONF_ENUM,
     AT(conf_reply, scope),
     .words = scopes,
     .unset = "as the kind says",
     .example = "account",
     .help = "Whose trouble it is. What is the gateway's or the account's rests the gateway and "
             "is no fault of the message."},
    {.path = "replies[].rest",
     .type = CONF_TIME,
     AT(conf_reply, rest_ms),
     .unset = "growing from one time to the next",
     .min = SECOND,
     .max = 31 * DAY,
     .example = "1h",
     .help = "How long the gateway rests then."},

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
    {.path = "queue.doubt",
     .type = CONF_CLASSED,
     IN_CONF(queue.doubt),
     .fallback = "move",
     .words = doubts,
     .example = "{urgent: move, normal: hold, bulk: once}",
     .help =
         "What happens when that time is over: `move`: it takes any way, so it arrives at least "
         "once, and perhaps twice; `again`: the same gateway goes on being tried; `hold`: the "
         "mail is kept on hold for a person. `once`: it is held at once, and not even the same "
         "gateway is asked again, so that it arrives at most once. Classes that a map does not "
         "name move."},
    {.path = "queue.detour",
     .type = CONF_TIME,
     IN_CONF(detour_ms),
     .fallback = "7d",
     .max = YEAR,
     .help = "When a provider refuses direct mail because of our address, mail for all domains it "
             "serves goes through a gateway for so long; then direct delivery is tried again. "
             "`never`: nothing is learnt."},
    {.path = "queue.per_destination",
     .type = CONF_INT,
     IN_CONF(queue.per_destination),
     .fallback = "20",
     .min = 1,
     .max = 1000,
     .help = "The most connections at once to one destination of direct delivery, idle ones "
             "included."},
    {.path = "queue.connections",
     .type = CONF_INT,
     IN_CONF(queue.connections),
     .fallback = "500",
     .min = 1,
     .max = 20000,
     .help = "The most outgoing connections at once, all together. Idle ones, kept for the next "
             "message, count; the longest unused is closed when another is needed."},
    {.path = "queue.max_recipients",
     .type = CONF_INT,
     IN_CONF(queue.max_recipients),
     .fallback = "4000000",
     .min = 1,
     .max = 100000000,
     .help = "The most recipients waiting; when there are more, new mail is told to come again."},
    {.path = "archive",
     .type = CONF_SECTION,
     .unset = "no copies",
     .help = "Copies of sent mail in files: `2026-11-21/090700-CZHBYK.eml`, the message as it was "
             "handed in, with fields in front that say what became of it. Mail never waits for its "
             "copy."},
    {.path = "archive.directory",
     .type = CONF_PATH,
     IN_CONF(archive.directory),
     .unset = "no copies",
     .example = "/var/lib/waypost-archive",
     .help = "Where they are; made when it is missing. The user the daemon runs as must be able to "
             "write there."},
    {.path = "archive.keep",
     .type = CONF_TIME,
     IN_CONF(archive.keep_ms),
     .fallback = "30d",
     .max = 100 * YEAR,
     .help = "How long, in whole days; `never`: no copy goes for its age."},
    {.path = "archive.max_size",
     .type = CONF_SIZE,
     IN_CONF(archive.max_bytes),
     .fallback = "1GiB",
     .min = 1024 * KIB,
     .max = 1024 * 1024 * GIB,
     .help = "The most all copies together take; the oldest go first."},
    {.path = "archive.senders",
     .type = CONF_GLOBS,
     AT2(conf, archive.senders, archive.sender_count),
     .unset = "every sender",
     .example = "[\"*@example.org\"]",
     .help = "Patterns over the envelope sender: only their mail is copied."},
    {.path = "queue.keep_deleted",
     .type = CONF_TIME,
     IN_CONF(queue.keep_deleted_ms),
     .fallback = "7d",
     .max = YEAR,
     .help = "How long mail that was dropped by hand can be brought back (`waypost queue "
             "restore`); `never`: it is gone at once. The oldest goes earlier when all of it is "
             "more than 512 MiB or 10000 messages."},
    {.path = "queue.keep",
     .type = CONF_TIME,
     IN_CONF(queue.keep_ms),
     .fallback = "14d",
     .max = 10 * YEAR,
     .help = "How long the history of a message is kept after it has left."},
};
const size_t conf_key_count = COUNT_OF(conf_keys);

const struct conf_future conf_futures[] = {
    {"collect", NULL, false},
    {"alerts", NULL, false},
    {"filter", NULL, false},
    {"include", "write everything into one file", false},
    {"gateways.NAME.oauth2", "use `password` with an app password", false},
    {"gateways.NAME.dkim", NULL, false},
    {"gateways.NAME.rate", "write limits: {rate: 30/min}", true},
    {"gateways.NAME.connections", "write limits: {connections: 10}", true},
    {"gateways.NAME.per_connection", "write limits: {per_connection: 100}", true},
    {"gateways.NAME.recipients", "write limits: {recipients: 50}", true},
    {"gateways.NAME.message_size", "write limits: {message_size: 25MiB}", true},
    {"gateways.NAME.per_day", "write limits: {per_day: 10000}", true},
    {"routes[].size", "write `larger: 10MiB` or `smaller: 10MiB`", false},
    {"listeners.NAME.network", "write a route with `network` and `listener`", false},
};
const size_t conf_future_count = COUNT_OF(conf_futures);
