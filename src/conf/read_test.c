// SPDX-License-Identifier: ISC
// Reading configurations: what a person gets wrong and what is said to it, and what good files
// mean.
#include "conf/read.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

// A configuration read, and everything said about it.
struct reading {
    struct conf *conf;
    struct conf_report report;
    struct buf said;
};

static struct reading *read_it(struct str text, bool text_only)
{
    struct reading *r = calloc(1, sizeof(*r));
    conf_report_init(&r->report);
    r->report.text_only = text_only;
    buf_init(&r->said, 1024 * 1024);
    r->conf = conf_read_text("w.yaml", text, &r->report);
    conf_report_print(&r->report, &r->said);
    buf_cstr(&r->said);
    return r;
}

static void done(struct reading *r)
{
    conf_unref(&r->conf);
    conf_report_free(&r->report);
    buf_free(&r->said);
    free(r);
}

// Without any trouble.
static struct reading *read_good(const char *text)
{
    struct reading *r = read_it(str_of(text), false);
    assert_string_equal(buf_cstr(&r->said), "");
    assert_non_null(r->conf);
    return r;
}

static const struct conf_gateway *gateway(const struct reading *r, const char *name)
{
    const struct conf_gateway *g = conf_gateway_find(r->conf, str_of(name));
    assert_non_null(g);
    return g;
}

// clang-format off
static const struct {
    const char *text, *said;
} mistakes[] = {
    {"a: [b\n"
     "c: d\n",
     "w.yaml:1:4: error: this bracket is never closed\n"
     "    1 | a: [b\n"
     "      |    ^\n"
     "1 error\n"},
    {"hostname: \"a\n",
     "w.yaml:1:12: error: double-quoted scalar without closing quote\n"
     "    1 | hostname: \"a\n"
     "      |            ^\n"
     "1 error\n"},
    {"queue:\n"
     "  warn: 4h\n"
     " queue: x\n",
     "w.yaml:3:2: error: its indentation fits no key above; keys that belong together have the same number of blanks in front\n"
     "    3 |  queue: x\n"
     "      |  ^\n"
     "1 error\n"},
    {"queue:\n"
     "\twarn: 1h\n",
     "w.yaml:2:1: error: a tab cannot indent here; use spaces\n"
     "    2 |  warn: 1h\n"
     "      | ^\n"
     "1 error\n"},
    {"queue: {warn: 1h\n"
     "gateways: {}\n",
     "w.yaml:2:9: error: a comma is missing, or a bracket before this is not closed\n"
     "    2 | gateways: {}\n"
     "      |         ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example}\n"
     "routes: []\n",
     "w.yaml:1:11: error: this bracket is not closed before the next key begins\n"
     "    1 | gateways: {isp: {url: a.example}\n"
     "      |           ^\n"
     "1 error\n"},
    {"\tspool: /x\n",
     "w.yaml:1:1: error: a tab cannot indent here; use spaces\n"
     "    1 |  spool: /x\n"
     "      | ^\n"
     "1 error\n"},
    {"hostname: a.example\n"
     "hostname: b.example\n",
     "w.yaml:2:1: error: `hostname` stands here twice; the first is in line 1\n"
     "    2 | hostname: b.example\n"
     "      | ^~~~~~~~\n"
     "1 error\n"},
    {"hostname: &name a.example\n",
     "w.yaml:1:11: error: anchors (&) and aliases (*) are not taken here; write it out, or quote it if it is text\n"
     "    1 | hostname: &name a.example\n"
     "      |           ^\n"
     "1 error\n"},
    {"hostname: *name\n",
     "w.yaml:1:11: error: anchors (&) and aliases (*) are not taken here; write it out, or quote it if it is text\n"
     "    1 | hostname: *name\n"
     "      |           ^\n"
     "1 error\n"},
    {"gateways: {a: {<<: {url: \"smtp://a.example\"}}}\n",
     "w.yaml:1:16: error: merge keys (<<) are not taken here; write the keys out\n"
     "    1 | gateways: {a: {<<: {url: \"smtp://a.example\"}}}\n"
     "      |                ^~\n"
     "1 error\n"},
    {"hostname: a.example\n"
     "---\n"
     "hostname: b.example\n",
     "w.yaml:2:1: error: a second document begins here; one file is one document\n"
     "    2 | ---\n"
     "      | ^~~\n"
     "1 error\n"},
    {"? {a: b}\n"
     ": c\n",
     "w.yaml:1:3: error: a key must be plain text\n"
     "    1 | ? {a: b}\n"
     "      |   ^\n"
     "1 error\n"},
    {"- hostname\n",
     "w.yaml:1:1: error: a configuration is a map of keys and values, such as `hostname: mail.example.org`\n"
     "    1 | - hostname\n"
     "      | ^\n"
     "1 error\n"},
    {"hostname: a\001b\n",
     "w.yaml:1:12: error: control byte 0x01 does not belong in a text file\n"
     "    1 | hostname: a?b\n"
     "      |            ^\n"
     "1 error\n"},
    {"hostname: a\377b\n",
     "w.yaml:1:12: error: byte 0xff is not UTF-8; save the file as UTF-8\n"
     "    1 | hostname: a?b\n"
     "      |            ^\n"
     "1 error\n"},
    {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: {}}}}}}}}}}}}}}}}}\n",
     "w.yaml:1:64: error: nested too deeply; no setting is deeper than 16 levels\n"
     "    1 | a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: {}}}}}}}}}}}}}}}}}\n"
     "      |                                                                ^\n"
     "1 error\n"},
    {"hostnam: a.example\n",
     "w.yaml:1:1: error: `hostnam` is not a key here; did you mean `hostname`?\n"
     "    1 | hostnam: a.example\n"
     "      | ^~~~~~~\n"
     "1 error\n"},
    {"rate: 30/min\n",
     "w.yaml:1:1: error: `rate` is not a key here; it belongs to gateways.NAME.limits.rate\n"
     "    1 | rate: 30/min\n"
     "      | ^~~~\n"
     "1 error\n"},
    {"queue: {retries: [1m], foo: 1}\n",
     "w.yaml:1:9: error: `retries` is not a key here; `waypost config explain` lists all keys\n"
     "    1 | queue: {retries: [1m], foo: 1}\n"
     "      |         ^~~~~~~\n"
     "w.yaml:1:24: error: `foo` is not a key here; `waypost config explain` lists all keys\n"
     "    1 | queue: {retries: [1m], foo: 1}\n"
     "      |                        ^~~\n"
     "2 errors\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", oauth2: {provider: google}}}\n",
     "w.yaml:1:43: error: `oauth2` is not available in this version; use `password` with an app password\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", oauth2: {provider: google}}}\n"
     "      |                                           ^~~~~~\n"
     "1 error\n"},
    {"queue: {return_to_sender: ja}\n",
     "w.yaml:1:27: error: queue.return_to_sender is true or false (also yes, no, on, off), not `ja`\n"
     "    1 | queue: {return_to_sender: ja}\n"
     "      |                           ^~\n"
     "1 error\n"},
    {"queue: {return_to_sender: True}\n",
     "w.yaml:1:27: error: queue.return_to_sender is true or false (also yes, no, on, off), not `True`\n"
     "    1 | queue: {return_to_sender: True}\n"
     "      |                           ^~~~\n"
     "1 error\n"},
    {"queue: {warn: 4 hours}\n",
     "w.yaml:1:15: error: queue.warn is a time such as 90s, 5m, 4h or 5d, not `4 hours`\n"
     "    1 | queue: {warn: 4 hours}\n"
     "      |               ^~~~~~~\n"
     "1 error\n"},
    {"queue: {expire: 20y}\n",
     "w.yaml:1:17: error: queue.expire is a time such as 90s, 5m, 4h or 5d, not `20y`\n"
     "    1 | queue: {expire: 20y}\n"
     "      |                 ^~~\n"
     "1 error\n"},
    {"queue: {doubt_wait: 60d}\n",
     "w.yaml:1:21: error: queue.doubt_wait must be from 0 to 30d\n"
     "    1 | queue: {doubt_wait: 60d}\n"
     "      |                     ^~~\n"
     "1 error\n"},
    {"queue: {retry: []}\n",
     "w.yaml:1:16: error: queue.retry is empty; leave the key out for the default ([1m, 5m, 15m, 1h, 4h])\n"
     "    1 | queue: {retry: []}\n"
     "      |                ^\n"
     "1 error\n"},
    {"queue: {retry: [1m, 0s]}\n",
     "w.yaml:1:21: error: queue.retry must be from 1s to 30d\n"
     "    1 | queue: {retry: [1m, 0s]}\n"
     "      |                     ^~\n"
     "1 error\n"},
    {"queue: {per_destination: 0}\n",
     "w.yaml:1:26: error: queue.per_destination must be from 1 to 1000\n"
     "    1 | queue: {per_destination: 0}\n"
     "      |                          ^\n"
     "1 error\n"},
    {"queue: {connections: many}\n",
     "w.yaml:1:22: error: queue.connections is a whole number, not `many`\n"
     "    1 | queue: {connections: many}\n"
     "      |                      ^~~~\n"
     "1 error\n"},
    {"queue: {connections: -1}\n",
     "w.yaml:1:22: error: queue.connections is a whole number, not `-1`\n"
     "    1 | queue: {connections: -1}\n"
     "      |                      ^~\n"
     "1 error\n"},
    {"queue: {warn: }\n",
     "w.yaml:1:9: error: queue.warn has no value; it is a time such as 90s, 5m, 4h or 5d\n"
     "    1 | queue: {warn: }\n"
     "      |         ^~~~\n"
     "1 error\n"},
    {"queue: 5d\n",
     "w.yaml:1:8: error: queue is a map of keys and values here\n"
     "    1 | queue: 5d\n"
     "      |        ^~\n"
     "1 error\n"},
    {"hostname: [a, b]\n",
     "w.yaml:1:11: error: hostname is a host name or an address in brackets, not a list\n"
     "    1 | hostname: [a, b]\n"
     "      |           ^\n"
     "1 error\n"},
    {"hostname: \"a b\"\n",
     "w.yaml:1:12: error: hostname is a host name or an address in brackets, not `a b`\n"
     "    1 | hostname: \"a b\"\n"
     "      |            ^~~\n"
     "1 error\n"},
    {"hostname: {a: b}\n",
     "w.yaml:1:11: error: hostname is a host name or an address in brackets, not a map\n"
     "    1 | hostname: {a: b}\n"
     "      |           ^\n"
     "1 error\n"},
    {"hostname: \"a\\nb\"\n",
     "w.yaml:1:12: error: hostname has a line break or another control character in it\n"
     "    1 | hostname: \"a\\nb\"\n"
     "      |            ^~~~\n"
     "1 error\n"},
    {"hostname: !file /etc/hostname\n",
     "w.yaml:1:17: error: a tag (!file) is only for secrets, and hostname is none\n"
     "    1 | hostname: !file /etc/hostname\n"
     "      |                 ^~~~~~~~~~~~~\n"
     "1 error\n"},
    {"postmaster: root\n",
     "w.yaml:1:13: error: postmaster is a mail address such as admin@example.org, not `root`\n"
     "    1 | postmaster: root\n"
     "      |             ^~~~\n"
     "1 error\n"},
    {"log: {level: warning, format: xml}\n",
     "w.yaml:1:14: error: `warning` is not a word for log.level; did you mean `warn`? (debug, info, warn, error)\n"
     "    1 | log: {level: warning, format: xml}\n"
     "      |              ^~~~~~~\n"
     "w.yaml:1:31: error: `xml` is not a word for log.format (text, json)\n"
     "    1 | log: {level: warning, format: xml}\n"
     "      |                               ^~~\n"
     "2 errors\n"},
    {"dns: {servers: [\"dns.example\"]}\n",
     "w.yaml:1:18: error: dns.servers is a list of addresses such as [127.0.0.1, \"[::1]:5353\"], not `dns.example`\n"
     "    1 | dns: {servers: [\"dns.example\"]}\n"
     "      |                  ^~~~~~~~~~~\n"
     "1 error\n"},
    {"spool: var/spool\n",
     "w.yaml:1:8: error: the spool is an absolute path, beginning with /\n"
     "    1 | spool: var/spool\n"
     "      |        ^~~~~~~~~\n"
     "1 error\n"},
    {"loops: 300\n",
     "w.yaml:1:8: error: loops must be from 0 to 256\n"
     "    1 | loops: 300\n"
     "      |        ^~~\n"
     "1 error\n"},
    {"listeners: {lan: {tls: starttls}}\n",
     "w.yaml:1:13: error: `address` is missing: a list of addresses such as [\"127.0.0.1:25\", \"[::1]:25\"]; for example: address: [\"127.0.0.1:25\", \"[::1]:25\"]\n"
     "    1 | listeners: {lan: {tls: starttls}}\n"
     "      |             ^~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"host.example:25\"}}\n",
     "w.yaml:1:29: error: address is a list of addresses such as [\"127.0.0.1:25\", \"[::1]:25\"], not `host.example:25`\n"
     "    1 | listeners: {lan: {address: \"host.example:25\"}}\n"
     "      |                             ^~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"127.0.0.1:0\"}}\n",
     "w.yaml:1:29: error: address is a list of addresses such as [\"127.0.0.1:25\", \"[::1]:25\"], not `127.0.0.1:0`\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:0\"}}\n"
     "      |                             ^~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"192.168.1.5:25\"}}\n",
     "w.yaml:1:29: error: `lan` listens beyond this machine but does not say for whom, an open relay; add `clients: [192.168.1.0/24]`, or `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"192.168.1.5:25\"}}\n"
     "      |                             ^~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"0.0.0.0:25\"}}\n",
     "w.yaml:1:29: error: `lan` listens beyond this machine but does not say for whom, an open relay; add `clients: [127.0.0.0/8, 192.168.0.0/16, \"fd00::/8\"]`, or `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"0.0.0.0:25\"}}\n"
     "      |                             ^~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"0.0.0.0:25\", clients: [\"::/0\"], auth: optional, users: /nonexistent/users}}\n",
     "w.yaml:1:51: error: `lan` lets everyone send anywhere without a login, an open relay; name your networks in `clients`, or add `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"0.0.0.0:25\", clients: [\"::/0\"], auth: optional, users: /nonexistent/user...\n"
     "      |                                                   ^\n"
     "w.yaml:1:84: error: cannot open /nonexistent/users: No such file or directory\n"
     "    1 | ...teners: {lan: {address: \"0.0.0.0:25\", clients: [\"::/0\"], auth: optional, users: /nonexistent/users}}\n"
     "      |                                                                                    ^~~~~~~~~~~~~~~~~~\n"
     "2 errors\n"},
    {"listeners: {lan: {address: \"[fd00::25]:25\"}}\n",
     "w.yaml:1:29: error: `lan` listens beyond this machine but does not say for whom, an open relay; add `clients: [\"fd00::/64\"]`, or `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"[fd00::25]:25\"}}\n"
     "      |                             ^~~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"192.168.1.5:25\", clients: [0.0.0.0/0]}}\n",
     "w.yaml:1:55: error: `lan` lets everyone send anywhere without a login, an open relay; name your networks in `clients`, or add `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"192.168.1.5:25\", clients: [0.0.0.0/0]}}\n"
     "      |                                                       ^\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"192.168.1.5:25\", clients: [0.0.0.0/2, 64.0.0.0/2]}}\n",
     "w.yaml:1:55: error: `lan` lets everyone send anywhere without a login, an open relay; name your networks in `clients`, or add `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"192.168.1.5:25\", clients: [0.0.0.0/2, 64.0.0.0/2]}}\n"
     "      |                                                       ^\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"192.168.1.5:25\", clients: [\"2000::/3\"]}}\n",
     "w.yaml:1:55: error: `lan` lets everyone send anywhere without a login, an open relay; name your networks in `clients`, or add `auth: required` with `users`, or `open_relay: true`\n"
     "    1 | listeners: {lan: {address: \"192.168.1.5:25\", clients: [\"2000::/3\"]}}\n"
     "      |                                                       ^\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"192.168.1.5:25\", clients: [192.168.1.0/33]}}\n",
     "w.yaml:1:56: error: clients is a list of addresses, networks or ranges such as [10.0.0.0/8, 192.168.1.40-192.168.1.47], not `192.168.1.0/33`\n"
     "    1 | listeners: {lan: {address: \"192.168.1.5:25\", clients: [192.168.1.0/33]}}\n"
     "      |                                                        ^~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"127.0.0.1:25\", auth: required}}\n",
     "w.yaml:1:50: error: a login needs `users`, the file of names and hashes; add: users: /etc/waypost/users\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", auth: required}}\n"
     "      |                                                  ^~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"127.0.0.1:25\", auth: on}}\n",
     "w.yaml:1:50: error: `on` is not a word for auth (off, optional, required)\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", auth: on}}\n"
     "      |                                                  ^~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"127.0.0.1:25\", cert: /nonexistent/x.pem}}\n",
     "w.yaml:1:50: error: a certificate needs its private key; add: key: /path/to/key.pem\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", cert: /nonexistent/x.pem}}\n"
     "      |                                                  ^~~~~~~~~~~~~~~~~~\n"
     "w.yaml:1:50: error: there is no file /nonexistent/x.pem\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", cert: /nonexistent/x.pem}}\n"
     "      |                                                  ^~~~~~~~~~~~~~~~~~\n"
     "2 errors\n"},
    {"listeners: {lan: {address: \"127.0.0.1:25\", message_size: 10KiB}}\n",
     "w.yaml:1:58: error: message_size must be from 64KiB to 2GiB\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", message_size: 10KiB}}\n"
     "      |                                                          ^~~~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: \"127.0.0.1:25\", message_size: big}}\n",
     "w.yaml:1:58: error: message_size is a size such as 512KiB, 50MiB or 1GiB, not `big`\n"
     "    1 | listeners: {lan: {address: \"127.0.0.1:25\", message_size: big}}\n"
     "      |                                                          ^~~\n"
     "1 error\n"},
    {"listeners: {lan: {address: [\"127.0.0.1:25\", \"127.0.0.1\"]}}\n",
     "w.yaml:1:28: error: `lan` names 127.0.0.1:25 twice\n"
     "    1 | listeners: {lan: {address: [\"127.0.0.1:25\", \"127.0.0.1\"]}}\n"
     "      |                            ^\n"
     "1 error\n"},
    {"listeners:\n"
     "  a: {address: \"127.0.0.1:25\"}\n"
     "  b: {address: \"127.0.0.1:25\"}\n",
     "w.yaml:3:17: error: `a` and `b` cannot both listen on 127.0.0.1:25\n"
     "    3 |   b: {address: \"127.0.0.1:25\"}\n"
     "      |                 ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners:\n"
     "  a: {address: \"0.0.0.0:25\", open_relay: true}\n"
     "  b: {address: \"127.0.0.1:25\"}\n",
     "w.yaml:3:17: error: `a` listens on 0.0.0.0:25 and so takes this address of `b` too\n"
     "    3 |   b: {address: \"127.0.0.1:25\"}\n"
     "      |                 ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {lan: \"127.0.0.1:25\"}\n",
     "w.yaml:1:13: error: a listener is a map of keys: lan: {address: \"127.0.0.1:25\"}\n"
     "    1 | listeners: {lan: \"127.0.0.1:25\"}\n"
     "      |             ^~~\n"
     "1 error\n"},
    {"listeners: {\"a b\": {address: \"127.0.0.1:25\"}}\n",
     "w.yaml:1:14: error: a name begins with a letter or digit and has only letters, digits, - _ and . in it, at most 64\n"
     "    1 | listeners: {\"a b\": {address: \"127.0.0.1:25\"}}\n"
     "      |              ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {tls: required}}\n",
     "w.yaml:1:12: error: `url` is missing; for example: url: \"smtp://mail.isp.example\"\n"
     "    1 | gateways: {isp: {tls: required}}\n"
     "      |            ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: }}\n",
     "w.yaml:1:18: error: url is text such as smtp+starttls://user@host:587\n"
     "    1 | gateways: {isp: {url: }}\n"
     "      |                  ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: [a]}}\n",
     "w.yaml:1:23: error: url is text such as smtp+starttls://user@host:587\n"
     "    1 | gateways: {isp: {url: [a]}}\n"
     "      |                       ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://@a.example\"}}\n",
     "w.yaml:1:24: error: the url has an @ but no user before it\n"
     "    1 | gateways: {isp: {url: \"smtp://@a.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: [isp]\n",
     "w.yaml:1:11: error: gateways is a map of keys and values here\n"
     "    1 | gateways: [isp]\n"
     "      |           ^\n"
     "1 error\n"},
    {"gateways: {isp: {ulr: \"smtp://a.example\"}}\n",
     "w.yaml:1:18: error: `ulr` is not a key here; did you mean `url`?\n"
     "    1 | gateways: {isp: {ulr: \"smtp://a.example\"}}\n"
     "      |                  ^~~\n"
     "1 error\n"},
    {"gateways: {isp: []}\n",
     "w.yaml:1:12: error: a gateway is a map of keys: isp: {url: \"smtp://host\"}\n"
     "    1 | gateways: {isp: []}\n"
     "      |            ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: //a.example}}\n",
     "w.yaml:1:23: error: a url begins with smtp://, smtp+starttls://, smtps://, lmtp://, maildir:/// or pipe:/\n"
     "    1 | gateways: {isp: {url: //a.example}}\n"
     "      |                       ^~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smpt://a.example\"}}\n",
     "w.yaml:1:24: error: `smpt://` is not a url scheme for mail; did you mean `smtp`?\n"
     "    1 | gateways: {isp: {url: \"smpt://a.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"http://a.example\"}}\n",
     "w.yaml:1:24: error: `http://` is not a url scheme for mail; did you mean `smtp`?\n"
     "    1 | gateways: {isp: {url: \"http://a.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://\"}}\n",
     "w.yaml:1:24: error: the url has no host\n"
     "    1 | gateways: {isp: {url: \"smtp://\"}}\n"
     "      |                        ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example/x\"}}\n",
     "w.yaml:1:24: error: there is no good host name in the url; nothing follows host and port in a mail url\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example/x\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example:99999\"}}\n",
     "w.yaml:1:24: error: the port in the url must be a number from 1 to 65535\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example:99999\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a%zz@a.example\", password: !env PATH}}\n",
     "w.yaml:1:24: error: the login in the url is not well written: % is followed by two hex digits (%25 is % itself)\n"
     "    1 | gateways: {isp: {url: \"smtp://a%zz@a.example\", password: !env PATH}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://b\\u00fccher.example\"}}\n",
     "w.yaml:1:24: error: there is no good host name in the url; international names are written as xn--..., IPv6 in brackets\n"
     "    1 | gateways: {isp: {url: \"smtp://b\\u00fccher.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"lmtp+unix://run/x\"}}\n",
     "w.yaml:1:24: error: lmtp+unix:// is followed by an absolute path of at most 103 bytes: lmtp+unix:///run/lmtp.sock\n"
     "    1 | gateways: {isp: {url: \"lmtp+unix://run/x\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\"}}\n",
     "w.yaml:1:24: error: the user has no password; add: password: !file /etc/waypost/isp.pw\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", password: geheim}}\n",
     "w.yaml:1:53: error: a password without a user; write the user into the url (smtp://user@host) or add `user`\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", password: ******}}\n"
     "      |                                                     ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me:geheim@a.example\", password: geheim}}\n",
     "w.yaml:1:24: error: the password stands both in the url and in a key of its own; keep one\n"
     "    1 | gateways: {isp: {url: \"smtp://me:******@a.example\", password: ******}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me:geheim@a.example\", prority: high}}\n",
     "w.yaml:1:24: warning: a password in a url is easily shown around; better: password: !file /etc/waypost/isp.pw\n"
     "    1 | gateways: {isp: {url: \"smtp://me:******@a.example\", prority: high}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "w.yaml:1:53: error: `prority` is not a key here; did you mean `priority`?\n"
     "    1 | gateways: {isp: {url: \"smtp://me:******@a.example\", prority: high}}\n"
     "      |                                                     ^~~~~~~\n"
     "1 error, 1 warning\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", user: you, password: geheim}}\n",
     "w.yaml:1:24: error: the user stands both in the url and in a key of its own; keep one\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", user: you, password: ******}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", pasword: geheim}}\n",
     "w.yaml:1:46: error: `pasword` is not a key here; did you mean `password`?\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", pasword: ******}}\n"
     "      |                                              ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtps://a.example\", tls: wanted}}\n",
     "w.yaml:1:49: error: smtps:// is TLS from the first byte; for STARTTLS write smtp+starttls://\n"
     "    1 | gateways: {isp: {url: \"smtps://a.example\", tls: wanted}}\n"
     "      |                                                 ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp+starttls://a.example\", tls: off}}\n",
     "w.yaml:1:57: error: smtp+starttls:// requires TLS by STARTTLS; for another kind write smtp:// or smtps://\n"
     "    1 | gateways: {isp: {url: \"smtp+starttls://a.example\", tls: off}}\n"
     "      |                                                         ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !env PATH, tls: off}}\n",
     "w.yaml:1:72: warning: without TLS only logins that do not show the password are tried; for others add `auth_in_clear: true`\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !env PATH, tls: off}}\n"
     "      |                                                                        ^~~\n"
     "1 warning\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", tls: require}}\n",
     "w.yaml:1:48: error: `require` is not a word for tls; did you mean `required`? (off, wanted, required, implicit)\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", tls: require}}\n"
     "      |                                                ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", priority: urgent}}\n",
     "w.yaml:1:53: error: `urgent` is not a word for priority (highest, high, normal, below-normal, low, or a number)\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", priority: urgent}}\n"
     "      |                                                     ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", priority: 5000}}\n",
     "w.yaml:1:53: error: priority must be from 0 to 1000\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", priority: 5000}}\n"
     "      |                                                     ^~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", limits: {rate: 30}}}\n",
     "w.yaml:1:58: error: limits.rate is a rate such as 10/s, 30/min, 500/h or 1000/d, not `30`\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", limits: {rate: 30}}}\n"
     "      |                                                          ^~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", limits: {rate: 30/fortnight}}}\n",
     "w.yaml:1:58: error: limits.rate is a rate such as 10/s, 30/min, 500/h or 1000/d, not `30/fortnight`\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", limits: {rate: 30/fortnight}}}\n"
     "      |                                                          ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", source: eth0}}\n",
     "w.yaml:1:51: error: source is an IP address, not `eth0`\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", source: eth0}}\n"
     "      |                                                   ^~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://192.0.2.1\", source: \"::1\"}}\n",
     "w.yaml:1:52: error: the own address and the gateway's are of different kinds (IPv4, IPv6)\n"
     "    1 | gateways: {isp: {url: \"smtp://192.0.2.1\", source: \"::1\"}}\n"
     "      |                                                    ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", port: 26}}\n",
     "w.yaml:1:43: error: `port` is only for `direct`; here the port stands in the url\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", port: 26}}\n"
     "      |                                           ^~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", ca: /nonexistent/ca.pem, verify: yes}}\n",
     "w.yaml:1:47: error: there is no file /nonexistent/ca.pem\n"
     "    1 | gateways: {isp: {url: \"smtp://a.example\", ca: /nonexistent/ca.pem, verify: yes}}\n"
     "      |                                               ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {direct: {url: \"smtp://a.example\"}}\n",
     "w.yaml:1:21: error: `url` is not for `direct`, which finds the recipients' servers itself\n"
     "    1 | gateways: {direct: {url: \"smtp://a.example\"}}\n"
     "      |                     ^~~\n"
     "1 error\n"},
    {"gateways: {direct: {tls: implicit}}\n",
     "w.yaml:1:26: error: the recipients' servers do not speak TLS from the first byte; use `wanted` or `required`\n"
     "    1 | gateways: {direct: {tls: implicit}}\n"
     "      |                          ^~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://127.0.0.1\"}}\n",
     "w.yaml:1:24: error: `isp` leads back to our own listener `local`, a loop; mail would never leave\n"
     "    1 | gateways: {isp: {url: \"smtp://127.0.0.1\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://localhost:25\"}}\n",
     "w.yaml:1:24: error: `isp` leads back to our own listener `local`, a loop; mail would never leave\n"
     "    1 | gateways: {isp: {url: \"smtp://localhost:25\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"listeners: {a: {address: \"unix:/run/l\"}}\n"
     "gateways: {b: {url: \"lmtp+unix:///run/l\"}}\n",
     "w.yaml:2:22: error: `b` leads back to our own listener `a`, a loop; mail would never leave\n"
     "    2 | gateways: {b: {url: \"lmtp+unix:///run/l\"}}\n"
     "      |                      ^~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"hostname: mail.example.org\n"
     "gateways: {isp: {url: \"smtp://Mail.example.org\"}}\n",
     "w.yaml:2:24: warning: `isp` has our own `hostname`; if that is this machine, mail goes round in a loop\n"
     "    2 | gateways: {isp: {url: \"smtp://Mail.example.org\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 warning\n"},
    {"listeners: {a: {address: \"0.0.0.0:25\", open_relay: true}}\n"
     "gateways: {b: {url: \"smtp://127.0.0.2\"}}\n",
     "w.yaml:2:22: error: `b` leads back to our own listener `a`, a loop; mail would never leave\n"
     "    2 | gateways: {b: {url: \"smtp://127.0.0.2\"}}\n"
     "      |                      ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"hostname: \"smtp://me:geheim@a.example\"\n",
     "w.yaml:1:12: error: hostname is a host name or an address in brackets, not `smtp://...`\n"
     "    1 | hostname: \"smtp://me:******@a.example\"\n"
     "      |            ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"me:geheim@a.example\"}}\n",
     "w.yaml:1:24: error: a url begins with smtp://, smtp+starttls://, smtps://, lmtp://, maildir:/// or pipe:/\n"
     "    1 | gateways: {isp: {url: \"me:******@a.example\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me:geheim\"}}\n",
     "w.yaml:1:24: error: the port in the url must be a number from 1 to 65535\n"
     "    1 | gateways: {isp: {url: \"smtp://me:******\"}}\n"
     "      |                        ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"routes: [{via: [\"smtp://me:geheim@a.example\"]}]\n",
     "w.yaml:1:18: error: there is no gateway `smtp://...`\n"
     "    1 | routes: [{via: [\"smtp://me:******@a.example\"]}]\n"
     "      |                  ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"\"smtp://me:geheim@a.example\": x\n",
     "w.yaml:1:2: error: `smtp://...` is not a key here; `waypost config explain` lists all keys\n"
     "    1 | \"smtp://me:******@a.example\": x\n"
     "      |  ^~~~~~~~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !fiel x}}\n",
     "w.yaml:1:62: error: the tag !fiel is not known; did you mean `!file`? (!file, !env, !credential, !command)\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !fiel *}}\n"
     "      |                                                              ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !file /nonexistent/pw}}\n",
     "w.yaml:1:62: error: no secret: cannot open /nonexistent/pw: No such file or directory\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !file /nonexistent/pw}}\n"
     "      |                                                              ^~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !env WAYPOST_TEST_UNSET}}\n",
     "w.yaml:1:61: error: the environment has no variable WAYPOST_TEST_UNSET\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !env WAYPOST_TEST_UNSET}}\n"
     "      |                                                             ^~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !credential isp}}\n",
     "w.yaml:1:68: error: there are no credentials here: CREDENTIALS_DIRECTORY is not set; give the unit a LoadCredential=isp:/path and start it by systemd\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !credential isp}}\n"
     "      |                                                                    ^~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !command \"exit 3\"}}\n",
     "w.yaml:1:66: error: no secret from the command: the command failed with status 3\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !command \"exit *\"}}\n"
     "      |                                                                  ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !command \"printf 'a\\\\nb'\"}}\n",
     "w.yaml:1:66: error: the command's output holds more than one line of text; the secret must be its one line\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !command \"printf *******\"}}\n"
     "      |                                                                  ^~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: !env \"\"}}\n",
     "w.yaml:1:62: error: !env says where the secret is, but nothing follows it\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: !env \"\"}}\n"
     "      |                                                              ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: {a: geheim}}}\n",
     "w.yaml:1:56: error: password is a secret: !file, !env, !credential, !command, or text, not a map\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: *** ******}}}\n"
     "      |                                                        ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"smtp://me@a.example\", password: [geheim}}\n",
     "w.yaml:1:63: error: mismatched flow mapping end\n"
     "    1 | gateways: {isp: {url: \"smtp://me@a.example\", password: *******}}\n"
     "      |                                                               ^\n"
     "1 error\n"},
    {"routes: {to: a}\n",
     "w.yaml:1:9: error: routes is a list: each of them begins with a dash\n"
     "    1 | routes: {to: a}\n"
     "      |         ^\n"
     "1 error\n"},
    {"routes: [direct]\n",
     "w.yaml:1:10: error: a route is a map of keys: {to: \"*@example.org\", via: [direct]}\n"
     "    1 | routes: [direct]\n"
     "      |          ^~~~~~\n"
     "1 error\n"},
    {"routes: [{to: \"*@a.example\"}]\n",
     "w.yaml:1:10: error: `via` is missing: a list of gateways; for example: via: [direct, {gateway: isp, on: [net, dns]}]\n"
     "    1 | routes: [{to: \"*@a.example\"}]\n"
     "      |          ^\n"
     "1 error\n"},
    {"routes: [{via: []}]\n",
     "w.yaml:1:16: error: a route needs at least one gateway; for example: via: [direct]\n"
     "    1 | routes: [{via: []}]\n"
     "      |                ^\n"
     "1 error\n"},
    {"gateways: {company: {url: \"smtp://a.example\"}}\n"
     "routes: [{via: [compnay]}]\n",
     "w.yaml:2:17: error: there is no gateway `compnay`; did you mean `company`?\n"
     "    2 | routes: [{via: [compnay]}]\n"
     "      |                 ^~~~~~~\n"
     "1 error\n"},
    {"routes: [{via: [{on: [net]}]}]\n",
     "w.yaml:1:17: error: `gateway` is missing: the name of a gateway; for example: gateway: isp\n"
     "    1 | routes: [{via: [{on: [net]}]}]\n"
     "      |                 ^\n"
     "w.yaml:1:17: warning: `on` and `after` have no effect at the first gateway, which is always tried\n"
     "    1 | routes: [{via: [{on: [net]}]}]\n"
     "      |                 ^\n"
     "1 error, 1 warning\n"},
    {"routes: [{via: [direct, {gateway: direct, on: [nett]}]}]\n",
     "w.yaml:1:25: warning: `direct` stands twice in this route\n"
     "    1 | routes: [{via: [direct, {gateway: direct, on: [nett]}]}]\n"
     "      |                         ^\n"
     "w.yaml:1:48: error: `nett` is not a word for on; did you mean `net`? (offline, net, dns, no-record, tls, auth, quota, busy, reputation, doubt, refused)\n"
     "    1 | routes: [{via: [direct, {gateway: direct, on: [nett]}]}]\n"
     "      |                                                ^~~~\n"
     "1 error, 1 warning\n"},
    {"routes: [{via: [direct, {gateway: direct, after: {tries: 0}}]}]\n",
     "w.yaml:1:25: warning: `direct` stands twice in this route\n"
     "    1 | routes: [{via: [direct, {gateway: direct, after: {tries: 0}}]}]\n"
     "      |                         ^\n"
     "w.yaml:1:58: error: after.tries must be from 1 to 1000\n"
     "    1 | routes: [{via: [direct, {gateway: direct, after: {tries: 0}}]}]\n"
     "      |                                                          ^\n"
     "1 error, 1 warning\n"},
    {"routes: [{via: [direct, {gateway: direct, after: 3}]}]\n",
     "w.yaml:1:25: warning: `direct` stands twice in this route\n"
     "    1 | routes: [{via: [direct, {gateway: direct, after: 3}]}]\n"
     "      |                         ^\n"
     "w.yaml:1:50: error: after is a map of keys and values here\n"
     "    1 | routes: [{via: [direct, {gateway: direct, after: 3}]}]\n"
     "      |                                                  ^\n"
     "1 error, 1 warning\n"},
    {"routes: [{via: [{gateway: direct, on: [net]}]}]\n",
     "w.yaml:1:17: warning: `on` and `after` have no effect at the first gateway, which is always tried\n"
     "    1 | routes: [{via: [{gateway: direct, on: [net]}]}]\n"
     "      |                 ^\n"
     "1 warning\n"},
    {"routes:\n"
     "  - {via: direct}\n"
     "  - {to: \"*@a.example\", via: direct}\n",
     "w.yaml:3:5: warning: this route is never reached: the one in line 2 takes all of its mail\n"
     "    3 |   - {to: \"*@a.example\", via: direct}\n"
     "      |     ^\n"
     "1 warning\n"},
    {"routes:\n"
     "  - {to: [\"*@a.example\", \"*@b.example\"], via: direct}\n"
     "  - {to: \"*@A.example\", from: x@*, via: direct}\n",
     "w.yaml:3:5: warning: this route is never reached: the one in line 2 takes all of its mail\n"
     "    3 |   - {to: \"*@A.example\", from: x@*, via: direct}\n"
     "      |     ^\n"
     "1 warning\n"},
    {"gateways: {isp: {url: \"smtp://a.example\", enabled: no}}\n"
     "routes: [{via: isp}]\n",
     "w.yaml:2:16: warning: `isp` is not enabled and will be passed over\n"
     "    2 | routes: [{via: isp}]\n"
     "      |                ^~~\n"
     "1 warning\n"},
    {"queue: {retry: [5m, 1m]}\n",
     "w.yaml:1:16: warning: the waits should grow: 1m comes after 5m\n"
     "    1 | queue: {retry: [5m, 1m]}\n"
     "      |                ^\n"
     "1 warning\n"},
    {"queue: {warn: 5d, expire: 1d}\n",
     "w.yaml:1:15: warning: mail is given up after 1d, before the sender is warned after 5d\n"
     "    1 | queue: {warn: 5d, expire: 1d}\n"
     "      |               ^~\n"
     "1 warning\n"},
    {"queue: {expire: never}\n",
     "w.yaml:1:17: warning: mail that cannot be delivered is never given up; set `expire` or `expire_tries`\n"
     "    1 | queue: {expire: never}\n"
     "      |                 ^~~~~\n"
     "1 warning\n"},
};
// clang-format on

static void mistakes_are_told(void **state)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct reading *r = read_it(str_of(mistakes[i].text), false);
        assert_string_equal(buf_cstr(&r->said), mistakes[i].said);
        assert_int_equal(r->conf == NULL, r->report.errors > 0);
        assert_null(strstr(mistakes[i].said, "geheim"));
        done(r);
    }
}

// However a text breaks off, what may be a password is not shown.
static void broken_files_hide_secrets(void **state)
{
    static const char text[] =
        "gateways:\n  isp: {url: \"smtp://me:geheim@a.example\", user: x}\n  two:\n    url: "
        "\"smtp://me@b.example\"\n    password: 'geheim'\n  three: {pasword: geheim, x: [1, 2]}\n"
        "  four:\n    password: |\n      geheim\n    url: smtp://c.example\n";
    static const char *const tails[] = {"", "]", "}", "\n\t- x", ": :", "\"", "&a", "\x01"};
    for (size_t len = 0; len < sizeof(text); len++) {
        for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
            char *cut = NULL;
            assert_true(asprintf(&cut, "%.*s%s", (int)len, text, tails[i]) >= 0);
            struct reading *r = read_it(str_of(cut), true);
            if (strstr(buf_cstr(&r->said), "geheim") != NULL)
                fail_msg("shown:\n%s", buf_cstr(&r->said));
            done(r);
            free(cut);
        }
    }
}

static void an_empty_file_is_a_good_one(void **state)
{
    static const char *const empty[] = {"", "# nothing\n", "---\n", "gateways:\nroutes:\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct reading *r = read_good(empty[i]);
        const struct conf *c = r->conf;
        assert_int_equal(c->listener_count, 1);
        assert_string_equal(c->listeners[0].name, "local");
        assert_int_equal(c->listeners[0].address_count, 2);
        char text[NET_ADDR_TEXT];
        assert_string_equal(net_addr_format(&c->listeners[0].addresses[0], text), "127.0.0.1:25");
        assert_string_equal(net_addr_format(&c->listeners[0].addresses[1], text), "[::1]:25");
        assert_int_equal(c->gateway_count, 1);
        assert_string_equal(c->gateways[0].name, "direct");
        assert_int_equal(c->gateways[0].kind, GATEWAY_DIRECT);
        assert_int_equal(c->gateways[0].direct_port, 25);
        assert_int_equal(c->gateways[0].tls, TLS_WANTED);
        assert_false(c->gateways[0].verify);
        assert_int_equal(c->route_count, 0);
        assert_string_equal(c->spool_dir, "/var/lib/waypost");
        assert_string_equal(c->run_dir, "/run/waypost");
        assert_true(c->loops >= 1);
        assert_true(c->hostname[0] != '\0');
        done(r);
    }
    struct conf *c = conf_builtin();
    assert_non_null(c);
    assert_string_equal(c->file, "(built in)");
    struct conf *same = conf_ref(c);
    conf_unref(&same);
    assert_null(same);
    conf_unref(&c);
}

static void defaults_are_the_limits(void **state)
{
    struct reading *r = read_good("gateways: {isp: {url: \"smtp://a.example\"}}\n");
    const struct conf_listener *l = &r->conf->listeners[0];
    const struct conf_gateway *g = gateway(r, "isp");
    assert_int_equal(l->message_size, LIMIT_MESSAGE);
    assert_int_equal(l->recipients, LIMIT_RECIPIENTS);
    assert_int_equal(l->connections, LIMIT_SESSIONS);
    assert_int_equal(l->connections_per_client, LIMIT_SESSIONS_PER_CLIENT);
    assert_int_equal(l->tls, LISTEN_TLS_STARTTLS);
    assert_int_equal(l->auth, LISTEN_AUTH_OFF);
    assert_int_equal(g->connections, LIMIT_OUT_PER_GATEWAY);
    assert_int_equal(g->per_connection, LIMIT_OUT_PER_CONNECTION);
    assert_int_equal(g->recipients, LIMIT_RECIPIENTS_OUT);
    assert_int_equal(g->priority, 30);
    assert_int_equal(g->weight, 1);
    assert_true(g->enabled);
    assert_int_equal(g->rate, 0);
    assert_int_equal(r->conf->queue.connections, LIMIT_OUT_CONNECTIONS);
    assert_int_equal(r->conf->queue.per_destination, LIMIT_OUT_PER_DESTINATION);
    assert_int_equal(r->conf->queue.max_recipients, LIMIT_WAITING_RECIPIENTS);
    assert_int_equal(r->conf->queue.retry_count, 5);
    assert_int_equal(r->conf->queue.retry_ms[4], 4 * 3600 * 1000);
    assert_int_equal(r->conf->queue.expire_ms, 5 * 86400 * 1000LL);
    assert_true(r->conf->queue.return_to_sender);
    done(r);
}

static void a_large_file_means_what_it_says(void **state)
{
    struct reading *r = read_good(
        "hostname: no\n" // not a boolean here
        "loops: 3\nuser: waypost\npostmaster: admin@example.org\n"
        "log: {format: json, level: debug}\n"
        "dns: {servers: [127.0.0.1, \"[::1]:5353\"], hosts: hosts}\n"
        "listeners:\n"
        "  local:   {address: [\"127.0.0.1:25\", \"[::1]:25\"], lmtp: off}\n"
        "  scanner: {address: [\"192.168.1.5:2525\"], clients: [192.168.1.40-192.168.1.47],\n"
        "            from: scanner@example.org, to: [\"*@example.org\"], message_size: 1GiB}\n"
        "gateways:\n"
        "  company: {url: \"smtp+starttls://alice@relay.corp.example:587\", password: !env PATH,\n"
        "            priority: highest, weight: 3, helo: \"[192.0.2.1]\"}\n"
        "  isp:     {url: \"smtp://mail.isp.example\", tls: wanted, priority: low, limits: {rate: "
        "30/min}}\n"
        "  direct:  {port: 2525, enabled: yes}\n"
        "routes:\n"
        "  - {to: [\"*@example.org\"], via: [company]}\n"
        "  - {from: [\"alerts@*\"], via: [company, direct]}\n"
        "  - via:\n"
        "      - direct\n"
        "      - {gateway: isp, on: [net, dns]}\n"
        "      - {gateway: company, after: {tries: 3, time: 90m}}\n"
        "queue: {retry: [1m, 5m, 15m], warn: never, expire: 5d, return_to_sender: false}\n");
    const struct conf *c = r->conf;
    assert_string_equal(c->hostname, "no");
    assert_int_equal(c->loops, 3);
    assert_int_equal(c->log_format, CONF_LOG_JSON);
    assert_int_equal(c->log_level, 0);
    assert_string_equal(c->dns_servers[0], "127.0.0.1:53");
    assert_string_equal(c->dns_servers[1], "[::1]:5353");
    assert_null(c->dns_servers[2]);
    assert_string_equal(c->hosts_file, "hosts");
    assert_int_equal(c->listener_count, 2);
    assert_int_equal(c->listeners[1].client_count, 1);
    assert_string_equal(c->listeners[1].from[0], "scanner@example.org");
    assert_int_equal(c->listeners[1].message_size, 1024 * 1024 * 1024);
    assert_int_equal(c->gateway_count, 3);
    assert_int_equal(gateway(r, "direct")->index, 2);
    assert_int_equal(gateway(r, "direct")->direct_port, 2525);
    const struct conf_gateway *company = gateway(r, "company");
    assert_int_equal(company->priority, 10);
    assert_int_equal(company->weight, 3);
    assert_string_equal(company->password, getenv("PATH"));
    assert_string_equal(company->helo, "[192.0.2.1]");
    assert_int_equal(gateway(r, "isp")->rate, 30);
    assert_int_equal(gateway(r, "isp")->rate_ms, 60000);
    assert_int_equal(c->route_count, 3);
    assert_int_equal(c->routes[0].line, 17);
    assert_int_equal(c->routes[2].to_count, 0);
    const struct conf_step *via = c->routes[2].via;
    assert_int_equal(c->routes[2].via_count, 3);
    assert_int_equal(via[0].gateway, 2);
    assert_int_equal(via[0].on, 0);
    assert_int_equal(via[1].gateway, 1);
    assert_int_equal(via[1].on, 1u << OUTCOME_NET | 1u << OUTCOME_DNS);
    assert_int_equal(via[2].gateway, 0);
    assert_int_equal(via[2].after_tries, 3);
    assert_int_equal(via[2].after_ms, 90 * 60000);
    assert_int_equal(c->queue.retry_count, 3);
    assert_int_equal(c->queue.warn_ms, 0);
    assert_false(c->queue.return_to_sender);
    done(r);
}

// A promise to those who have such a file: this text stays as it is, and so does what it means.
static void a_file_of_version_1_keeps_its_meaning(void **state)
{
    static const char text[] =
        "version: 1\n"
        "hostname: mail.example.org\nspool: /var/lib/waypost\nrun: /run/waypost\n"
        "log: {format: text, level: info}\n"
        "dns: {servers: [127.0.0.1]}\n"
        "listeners:\n"
        "  local: {address: [\"127.0.0.1:25\"]}\n"
        "  lan:   {address: \"192.168.1.5:25\", clients: [192.168.1.0/24], from: "
        "\"*@example.org\",\n"
        "          to: [\"*@example.org\"], tls: auto, connections: 50, connections_per_client: "
        "5}\n"
        "networks:\n"
        "  office: {connection: [\"Office LAN\"], address: 10.20.0.0/16}\n"
        "gateways:\n"
        "  company: {url: \"smtp+starttls://alice@relay.corp.example:587\", password: !env PATH,\n"
        "            networks: [office], priority: highest}\n"
        "  isp:     {url: \"smtp://mail.isp.example\", tls: wanted, priority: low,\n"
        "            limits: {rate: 30/min, per_day: 10000, connections: 5}}\n"
        "  short:   mail.short.example:2525\n"
        "routes:\n"
        "  - {to: [\"*@example.org\"], network: office, via: [company]}\n"
        "  - {via: [direct, {gateway: isp, on: [net, dns], after: {tries: 3}}]}\n"
        "replies: [{gateway: isp, code: 550, text: \"*limit*\", class: quota, rest: 1h}]\n"
        "queue: {retry: [1m, 5m], warn: 4h, expire: 5d, return_to_sender: true}\n";
    struct reading *r = read_good(text);
    const struct conf *c = r->conf;
    assert_int_equal(c->version, 1);
    assert_int_equal(c->listeners[1].tls, LISTEN_TLS_AUTO);
    assert_int_equal(c->listeners[1].connections_per_client, 5);
    assert_int_equal(gateway(r, "company")->networks, 1);
    assert_int_equal(gateway(r, "company")->tls, TLS_REQUIRED);
    assert_int_equal(gateway(r, "isp")->rate, 30);
    assert_int_equal(gateway(r, "isp")->quota[UNIT_MESSAGES][PERIOD_DAY], 10000);
    assert_int_equal(gateway(r, "short")->port, 2525);
    assert_int_equal(c->routes[0].networks, 1);
    assert_int_equal(c->routes[1].via[1].on, 1u << OUTCOME_NET | 1u << OUTCOME_DNS);
    assert_int_equal(c->routes[1].via[1].after_tries, 3);
    assert_int_equal(c->replies[0].class, OUTCOME_QUOTA);
    assert_int_equal(c->queue.expire_ms, 5 * 86400 * 1000LL);
    done(r);
    r = read_good(text + sizeof("version: 1\n") - 1); // as it was before versions were written
    assert_int_equal(r->conf->version, 1);
    done(r);
}

// One sentence, and none about what that version may have brought.
static void a_file_of_a_later_version_is_refused(void **state)
{
    static const char *const files[] = {"version: 2\nunheard_of: {a: b}\n",
                                        "unheard_of: 1\nversion: 18446744073709551615\n"};
    for (size_t i = 0; i < 2; i++) {
        struct reading *r = read_it(str_of(files[i]), false);
        assert_null(r->conf);
        assert_int_equal(r->report.errors, 1);
        assert_non_null(strstr(buf_cstr(&r->said), "error: this file is written for version "));
        assert_non_null(strstr(buf_cstr(&r->said), "install a newer Waypost"));
        done(r);
    }
}

static void urls_mean_what_the_reference_says(void **state)
{
    static const struct {
        const char *entry;
        enum conf_gateway_kind kind;
        const char *host;
        uint16_t port;
        enum conf_tls tls;
        bool verify;
        const char *user;
    } cases[] = {
        {"url: \"smtp://a.example\"", GATEWAY_SMTP, "a.example", 25, TLS_WANTED, false, NULL},
        {"url: \"smtp://a.example:2525/\"", GATEWAY_SMTP, "a.example", 2525, TLS_WANTED, false,
         NULL},
        {"url: \"smtp://me@a.example\", password: x", GATEWAY_SMTP, "a.example", 587, TLS_REQUIRED,
         true, "me"},
        {"url: \"smtp://a.example\", user: me, password: x", GATEWAY_SMTP, "a.example", 587,
         TLS_REQUIRED, true, "me"},
        {"url: \"smtp+starttls://me@example.org@a.example\", password: x", GATEWAY_SMTP,
         "a.example", 587, TLS_REQUIRED, true, "me@example.org"},
        {"url: \"smtps://me%40example.org@a.example\", password: x", GATEWAY_SMTP, "a.example", 465,
         TLS_IMPLICIT, true, "me@example.org"},
        {"url: \"SMTPS://a.example\", verify: no", GATEWAY_SMTP, "a.example", 465, TLS_IMPLICIT,
         false, NULL},
        {"url: \"smtp://a.example\", tls: implicit", GATEWAY_SMTP, "a.example", 465, TLS_IMPLICIT,
         true, NULL},
        {"url: \"smtp://a.example\", tls: off", GATEWAY_SMTP, "a.example", 25, TLS_OFF, false,
         NULL},
        {"url: \"smtp://[2001:db8::1]:26\"", GATEWAY_SMTP, "2001:db8::1", 26, TLS_WANTED, false,
         NULL},
        {"url: \"lmtp://a.example\"", GATEWAY_LMTP, "a.example", 24, TLS_WANTED, false, NULL},
        {"url: \"lmtp+unix:///run/x.sock\"", GATEWAY_LMTP, "", 0, TLS_OFF, false, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[300];
        snprintf(text, sizeof(text), "gateways: {isp: {%s}}", cases[i].entry);
        struct reading *r = read_good(text);
        const struct conf_gateway *g = gateway(r, "isp");
        assert_int_equal(g->kind, cases[i].kind);
        assert_string_equal(g->host, cases[i].host);
        assert_int_equal(g->port, cases[i].port);
        assert_int_equal(g->tls, cases[i].tls);
        assert_int_equal(g->verify, cases[i].verify);
        if (cases[i].user != NULL)
            assert_string_equal(g->user, cases[i].user);
        else
            assert_null(g->user);
        done(r);
    }
}

static void a_password_in_a_url_is_taken_with_a_warning(void **state)
{
    struct reading *r =
        read_it(STR("gateways: {isp: {url: \"smtp://me:a%3Ab%40c@a.example\"}}"), false);
    assert_non_null(r->conf);
    assert_int_equal(r->report.warnings, 1);
    assert_string_equal(gateway(r, "isp")->password, "a:b@c");
    done(r);
}

// Files

struct folder {
    char path[64];
};

static const char *in_folder(struct folder *f, const char *name, const char *text, mode_t mode)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static int make_folder(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));
    snprintf(f->path, sizeof(f->path), "/tmp/conf-test-XXXXXX");
    *state = f;
    return mkdtemp(f->path) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"w.yaml", "pw", "pw-link", "users", "key.pem", "cert.pem"};
    struct folder *f = *state;
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
        unlink(path);
    }
    rmdir(f->path);
    free(f);
    return 0;
}

static struct reading *read_file(struct folder *f, const char *text, mode_t mode)
{
    struct reading *r = calloc(1, sizeof(*r));
    conf_report_init(&r->report);
    buf_init(&r->said, 1024 * 1024);
    r->conf = conf_read_file(in_folder(f, "w.yaml", text, mode), &r->report);
    conf_report_print(&r->report, &r->said);
    buf_cstr(&r->said);
    return r;
}

static void expect_said(struct reading *r, const char *part)
{
    if (strstr(buf_cstr(&r->said), part) == NULL)
        fail_msg("not said: %s\nbut: %s", part, buf_cstr(&r->said));
}

static void secrets_come_from_where_the_tag_says(void **state)
{
    struct folder *f = *state;
    in_folder(f, "pw", "aus der Datei\n", 0640);
    setenv("WAYPOST_TEST_PW", "aus der Umgebung", 1);
    setenv("CREDENTIALS_DIRECTORY", f->path, 1);
    static const struct {
        const char *value, *secret;
    } cases[] = {{"!file pw", "aus der Datei"},
                 {"!env WAYPOST_TEST_PW", "aus der Umgebung"},
                 {"!credential pw", "aus der Datei"},
                 {"!command \"echo aus dem Befehl\"", "aus dem Befehl"},
                 {"\"im Text\"", "im Text"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[300];
        snprintf(text, sizeof(text),
                 "gateways: {isp: {url: \"smtp://me@a.example\", password: %s}}", cases[i].value);
        struct reading *r = read_file(f, text, 0600);
        assert_string_equal(buf_cstr(&r->said), "");
        assert_string_equal(gateway(r, "isp")->password, cases[i].secret);
        done(r);
    }
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void secrets_that_everyone_may_read_are_refused(void **state)
{
    struct folder *f = *state;
    static const char text[] =
        "gateways: {isp: {url: \"smtp://me@a.example\", password: !file pw}}";
    in_folder(f, "pw", "geheim\n", 0644);
    struct reading *r = read_file(f, text, 0644);
    assert_null(r->conf);
    expect_said(r, "run: chmod o= ");
    assert_null(strstr(buf_cstr(&r->said), "geheim"));
    done(r);
    // A link, as Kubernetes and Let's Encrypt make them, has no rights of its own.
    char link_path[128];
    snprintf(link_path, sizeof(link_path), "%s/pw-link", f->path);
    assert_int_equal(symlink("pw", link_path), 0);
    static const char linked[] =
        "gateways: {isp: {url: \"smtp://me@a.example\", password: !file pw-link}}";
    r = read_file(f, linked, 0644);
    assert_null(r->conf);
    expect_said(r, "run: chmod o= ");
    done(r);
    in_folder(f, "pw", "geheim\n", 0600);
    r = read_file(f, linked, 0644);
    assert_string_equal(gateway(r, "isp")->password, "geheim");
    done(r);
    in_folder(f, "pw", "geheim\nnoch eins\n", 0600);
    r = read_file(f, text, 0644);
    expect_said(r, "holds more than one line of text");
    done(r);
    in_folder(f, "pw", "\n", 0600);
    r = read_file(f, text, 0644);
    expect_said(r, "is empty");
    done(r);
    r = read_file(f, "gateways: {isp: {url: \"smtp://me@a.example\", password: geheim}}", 0644);
    assert_non_null(r->conf);
    expect_said(r,
                "warning: a password stands here and everyone may read this file; run: chmod o=");
    assert_null(strstr(buf_cstr(&r->said), "geheim"));
    done(r);
}

static void files_of_users_are_looked_at(void **state)
{
    static const char text[] = "listeners: {lan: {address: \"192.168.1.5:587\", tls: required, "
                               "auth: required, users: users}}";
    static const struct {
        const char *users;
        mode_t mode;
        const char *said; // NULL: nothing
    } cases[] = {
        {"# staff\n\nanna:$y$j9T$abc$def\n", 0600, NULL},
        {"anna:$y$j9T$abc$def\nbert\n", 0600, "line 2 of "},
        {"anna:geheim\n", 0600, "has no password hash behind the colon"},
        {":$y$x\n", 0600, "has no name before the colon"},
        {"", 0600, "names no users"},
        {"anna:$y$j9T$abc$def\n", 0644, "everyone may read the hashes in "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        in_folder(*state, "users", cases[i].users, cases[i].mode);
        struct reading *r = read_file(*state, text, 0644);
        if (cases[i].said == NULL)
            assert_string_equal(buf_cstr(&r->said), "");
        else
            expect_said(r, cases[i].said);
        assert_null(strstr(buf_cstr(&r->said), "geheim"));
        done(r);
    }
}

static void private_keys_are_private(void **state)
{
    static const char text[] =
        "listeners: {lan: {address: \"127.0.0.1:25\", cert: cert.pem, key: key.pem}}";
    in_folder(*state, "cert.pem", "x", 0644);
    in_folder(*state, "key.pem", "x", 0644);
    struct reading *r = read_file(*state, text, 0644);
    expect_said(r, "everyone may read the private key ");
    done(r);
    in_folder(*state, "key.pem", "x", 0640);
    r = read_file(*state, text, 0644);
    assert_string_equal(buf_cstr(&r->said), "");
    assert_non_null(strstr(r->conf->listeners[0].key, "/key.pem"));
    done(r);
}

static void a_missing_file_is_told(void **state)
{
    struct conf_report report;
    conf_report_init(&report);
    assert_null(conf_read_file("/nonexistent/w.yaml", &report));
    assert_int_equal(report.errors, 1);
    assert_non_null(strstr(report.problems[0].rendered, "No such file"));
    conf_report_free(&report);
}

// Limits

static void problems_are_kept_up_to_a_limit(void **state)
{
    struct buf text;
    buf_init(&text, 100000);
    for (int i = 0; i < 500; i++)
        buf_printf(&text, "x%d: 1\n", i);
    struct reading *r = read_it(buf_str(&text), true);
    assert_int_equal(r->report.errors, 500);
    assert_int_equal(r->report.count, CONF_REPORT_MAX);
    expect_said(r, "... and 450 more\n500 errors\n");
    done(r);
    buf_free(&text);
}

static void errors_displace_warnings(void **state)
{
    struct buf text;
    buf_init(&text, 100000);
    buf_puts(&text, "gateways:\n");
    for (int i = 0; i < 100; i++)
        buf_printf(&text, "  g%d: {url: \"smtp://me:x@a.example\"}\n", i);
    buf_puts(&text, "queue: {retry: [x]}\nroutes: [{via: nobody}]\n");
    struct reading *r = read_it(buf_str(&text), true);
    assert_int_equal(r->report.warnings, 100);
    assert_int_equal(r->report.count, CONF_REPORT_MAX);
    expect_said(r, "error: queue.retry is");
    expect_said(r, "error: there is no gateway `nobody`");
    done(r);
    buf_free(&text);
}

static void entries_are_limited(void **state)
{
    struct buf text;
    buf_init(&text, 1000000);
    buf_puts(&text, "gateways:\n");
    for (int i = 0; i < 1001; i++)
        buf_printf(&text, "  g%d: {url: \"smtp://a%d.example\"}\n", i, i);
    struct reading *r = read_it(buf_str(&text), true);
    expect_said(r, "gateways has 1001 entries; at most 1000 are possible");
    done(r);
    buf_free(&text);
}

static void a_file_too_large_is_refused(void **state)
{
    char *text = malloc(LIMIT_CONFIG_FILE + 1);
    memset(text, '#', LIMIT_CONFIG_FILE + 1);
    struct reading *r = read_it(str_make(text, LIMIT_CONFIG_FILE + 1), true);
    assert_string_equal(buf_cstr(&r->said),
                        "w.yaml: error: the file is larger than 4 MiB\n1 error\n");
    done(r);
    free(text);
}

static void long_lines_are_cut_around_the_mistake(void **state)
{
    struct buf text;
    buf_init(&text, 100000);
    buf_puts(&text, "routes: [{to: [");
    for (int i = 0; i < 300; i++)
        buf_puts(&text, "\xc3\xa4@example.org, ");
    buf_puts(&text, "x], vai: [direct]}]");
    struct reading *r = read_it(buf_str(&text), true);
    expect_said(r, "did you mean `via`?");
    struct str rest = buf_str(&r->said), line, mark;
    str_split(&rest, '\n', &line);
    str_split(&rest, '\n', &line);
    str_split(&rest, '\n', &mark);
    assert_true(line.len < 160);
    done(r);
    buf_free(&text);
}

static void text_only_touches_nothing(void **state)
{
    struct reading *r = read_it(
        STR("listeners: {a: {address: \"127.0.0.1:25\", auth: required, users: /nonexistent/u}}\n"
            "gateways: {isp: {url: \"smtp://me@a.example\", password: !command \"exit 1\"},\n"
            "           two: {url: \"smtp://me@a.example\", password: !file /nonexistent/pw}}\n"),
        true);
    assert_string_equal(buf_cstr(&r->said), "");
    assert_non_null(r->conf);
    done(r);
}

int main(void)
{
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("WAYPOST_TEST_UNSET");
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(broken_files_hide_secrets),
        cmocka_unit_test(an_empty_file_is_a_good_one),
        cmocka_unit_test(defaults_are_the_limits),
        cmocka_unit_test(a_large_file_means_what_it_says),
        cmocka_unit_test(a_file_of_version_1_keeps_its_meaning),
        cmocka_unit_test(a_file_of_a_later_version_is_refused),
        cmocka_unit_test(urls_mean_what_the_reference_says),
        cmocka_unit_test(a_password_in_a_url_is_taken_with_a_warning),
        IN_FOLDER(secrets_come_from_where_the_tag_says),
        IN_FOLDER(secrets_that_everyone_may_read_are_refused),
        IN_FOLDER(files_of_users_are_looked_at),
        IN_FOLDER(private_keys_are_private),
        cmocka_unit_test(a_missing_file_is_told),
        cmocka_unit_test(problems_are_kept_up_to_a_limit),
        cmocka_unit_test(errors_displace_warnings),
        cmocka_unit_test(entries_are_limited),
        cmocka_unit_test(a_file_too_large_is_refused),
        cmocka_unit_test(long_lines_are_cut_around_the_mistake),
        cmocka_unit_test(text_only_touches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
