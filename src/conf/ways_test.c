// SPDX-License-Identifier: ISC
// Networks, gateways' lives, conditions of routes, modes and replies: what is wrong and what is
// said to it, what good ones mean; and the examples of the manual.
#include "conf/read.h"
#include "base/mem.h"
#include "conf/reader.h"
#include "mail/envelope.h"
#include "sys/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct conf *read_as(const char *text, bool text_only, struct buf *said)
{
    struct conf_report report;
    conf_report_init(&report);
    report.text_only = text_only;
    struct conf *conf = conf_read_text("w.yaml", str_of(text), &report);
    conf_report_print(&report, said);
    conf_report_free(&report);
    return conf;
}

// Without any trouble.
static struct conf *good(const char *text)
{
    struct buf said;
    buf_init(&said, 1024 * 1024);
    struct conf *conf = read_as(text, true, &said);
    assert_string_equal(buf_cstr(&said), "");
    assert_non_null(conf);
    buf_free(&said);
    return conf;
}

static const struct conf_gateway *gateway(const struct conf *conf, const char *name)
{
    const struct conf_gateway *g = conf_gateway_find(conf, str_of(name));
    assert_non_null(g);
    return g;
}

// clang-format off
static const struct {
    const char *text, *said;
} mistakes[] = {
    {"networks: {office: {}}\n",
     "w.yaml:1:12: warning: `office` names no condition, so it never holds; add one, for example: address: [10.20.0.0/16]\n"
     "    1 | networks: {office: {}}\n"
     "      |            ^~~~~~\n"
     "1 warning\n"},
    {"networks: {modem: {type: ppp, dial: {after: 1m}}}\ngateways: {isp: {url: mail.isp.example, networks: [modem]}}\n",
     "w.yaml:1:31: error: `dial` of `modem` names no `command`; add, for example: command: [/usr/bin/nmcli, connection, up, modem]\n"
     "    1 | networks: {modem: {type: ppp, dial: {after: 1m}}}\n"
     "      |                               ^~~~\n"
     "1 error\n"},
    {"networks: {modem: {type: ppp, dial: {command: [nmcli]}}}\ngateways: {isp: {url: mail.isp.example, networks: [modem]}}\n",
     "w.yaml:1:47: error: the program `nmcli` needs its absolute path, as in /usr/bin/nmcli: it is run without a shell\n"
     "    1 | networks: {modem: {type: ppp, dial: {command: [nmcli]}}}\n"
     "      |                                               ^\n"
     "1 error\n"},
    {"networks: {modem: {type: ppp, dial: {command: [/bin/true]}}}\n",
     "w.yaml:1:31: warning: no gateway has `modem` in its `networks`, so no mail ever makes it dial; add to one: networks: [modem]\n"
     "    1 | networks: {modem: {type: ppp, dial: {command: [/bin/true]}}}\n"
     "      |                               ^~~~\n"
     "1 warning\n"},
    {"networks: {office: 10.0.0.0/8}\n",
     "w.yaml:1:12: error: a network is a map of keys: office: {address: 10.20.0.0/16}\n"
     "    1 | networks: {office: 10.0.0.0/8}\n"
     "      |            ^~~~~~\n"
     "1 error\n"},
    {"networks: {office: {adress: 10.0.0.0/8}}\n",
     "w.yaml:1:21: error: `adress` is not a key here; did you mean `address`?\n"
     "    1 | networks: {office: {adress: 10.0.0.0/8}}\n"
     "      |                     ^~~~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.0.0.0/33}}\n",
     "w.yaml:1:30: error: address is a list of addresses, networks or ranges such as [10.0.0.0/8, 192.168.1.40-192.168.1.47], not `10.0.0.0/33`\n"
     "    1 | networks: {office: {address: 10.0.0.0/33}}\n"
     "      |                              ^~~~~~~~~~~\n"
     "1 error\n"},
    {"networks: {office: {type: wlan, metered: maybe}}\n",
     "w.yaml:1:27: error: `wlan` is not a word for type (ethernet, wifi, modem, ppp, wireguard, vpn)\n"
     "    1 | networks: {office: {type: wlan, metered: maybe}}\n"
     "      |                           ^~~~\n"
     "w.yaml:1:42: error: `maybe` is not a word for metered (yes, no, any, true, on, false, off)\n"
     "    1 | networks: {office: {type: wlan, metered: maybe}}\n"
     "      |                                          ^~~~~\n"
     "2 errors\n"},
    {"networks: {office: {type: []}}\n",
     "w.yaml:1:27: error: type is empty; leave the key out for the default (any)\n"
     "    1 | networks: {office: {type: []}}\n"
     "      |                           ^\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "gateways: {isp: {url: a.example, networks: [offce]}}\n",
     "w.yaml:2:45: error: there is no network `offce`; did you mean `office`?\n"
     "    2 | gateways: {isp: {url: a.example, networks: [offce]}}\n"
     "      |                                             ^~~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "gateways: {isp: {url: a.example, networks: [\"!office\"]}}\n",
     "w.yaml:2:46: error: `!` is possible only in a route's `network`; name the networks\n"
     "    2 | gateways: {isp: {url: a.example, networks: [\"!office\"]}}\n"
     "      |                                              ^~~~~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "gateways: {isp: {url: a.example, networks: []}}\n",
     "w.yaml:2:44: error: networks is empty; leave the key out for the default (everywhere)\n"
     "    2 | gateways: {isp: {url: a.example, networks: []}}\n"
     "      |                                            ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, networks: [office]}}\n",
     "w.yaml:1:45: error: there is no network `office`; `networks` names none\n"
     "    1 | gateways: {isp: {url: a.example, networks: [office]}}\n"
     "      |                                             ^~~~~~\n"
     "1 error\n"},
    {"gateways: {a: {url: a.example, default: yes}, b: {url: b.example, default: yes}}\n",
     "w.yaml:1:67: error: only one gateway can be the default; `a` is it already\n"
     "    1 | gateways: {a: {url: a.example, default: yes}, b: {url: b.example, default: yes}}\n"
     "      |                                                                   ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, rate: 30/min, connections: 1, message_size: 1M}}\n",
     "w.yaml:1:34: error: `rate` stands under limits now: write limits: {rate: 30/min}\n"
     "    1 | gateways: {isp: {url: a.example, rate: 30/min, connections: 1, message_size: 1M}}\n"
     "      |                                  ^~~~\n"
     "w.yaml:1:48: error: `connections` stands under limits now: write limits: {connections: 10}\n"
     "    1 | gateways: {isp: {url: a.example, rate: 30/min, connections: 1, message_size: 1M}}\n"
     "      |                                                ^~~~~~~~~~~\n"
     "w.yaml:1:64: error: `message_size` stands under limits now: write limits: {message_size: 25MiB}\n"
     "    1 | gateways: {isp: {url: a.example, rate: 30/min, connections: 1, message_size: 1M}}\n"
     "      |                                                                ^~~~~~~~~~~~\n"
     "3 errors\n"},
    {"gateways: {isp: {url: a.example, limits: {per_day: 0}}}\n",
     "w.yaml:1:52: error: limits.per_day must be from 1 to 1000000000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_day: 0}}}\n"
     "      |                                                    ^\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {per_day: 1000000001}}}\n",
     "w.yaml:1:52: error: limits.per_day must be from 1 to 1000000000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_day: 1000000001}}}\n"
     "      |                                                    ^~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {bytes_per_day: 1023}}}\n",
     "w.yaml:1:58: error: limits.bytes_per_day must be from 1KiB to 1024TiB\n"
     "    1 | gateways: {isp: {url: a.example, limits: {bytes_per_day: 1023}}}\n"
     "      |                                                          ^~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {bytes_per_day: 1025TiB}}}\n",
     "w.yaml:1:58: error: limits.bytes_per_day must be from 1KiB to 1024TiB\n"
     "    1 | gateways: {isp: {url: a.example, limits: {bytes_per_day: 1025TiB}}}\n"
     "      |                                                          ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {reserve: 101%}}}\n",
     "w.yaml:1:43: warning: `reserve` has no effect without an allowance, for example: per_day: 10000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: 101%}}}\n"
     "      |                                           ^~~~~~~\n"
     "w.yaml:1:52: error: limits.reserve must be from 0% to 100%\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: 101%}}}\n"
     "      |                                                    ^~~~\n"
     "1 error, 1 warning\n"},
    {"gateways: {isp: {url: a.example, limits: {reserve: much}}}\n",
     "w.yaml:1:43: warning: `reserve` has no effect without an allowance, for example: per_day: 10000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: much}}}\n"
     "      |                                           ^~~~~~~\n"
     "w.yaml:1:52: error: limits.reserve is a percentage such as 10%, not `much`\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: much}}}\n"
     "      |                                                    ^~~~\n"
     "1 error, 1 warning\n"},
    {"gateways: {isp: {url: a.example, limits: {per_day: 10, reserve: 100%}}}\n",
     "w.yaml:1:65: warning: a reserve of 100% leaves `isp` nothing for mail that is not urgent\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_day: 10, reserve: 100%}}}\n"
     "      |                                                                 ^~~~\n"
     "1 warning\n"},
    {"gateways: {isp: {url: a.example, limits: {reserve: 10%, reset: UTC}}}\n",
     "w.yaml:1:43: warning: `reserve` has no effect without an allowance, for example: per_day: 10000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: 10%, reset: UTC}}}\n"
     "      |                                           ^~~~~~~\n"
     "w.yaml:1:57: warning: `reset` has no effect without an allowance, for example: per_day: 10000\n"
     "    1 | gateways: {isp: {url: a.example, limits: {reserve: 10%, reset: UTC}}}\n"
     "      |                                                         ^~~~~\n"
     "2 warnings\n"},
    {"gateways: {isp: {url: a.example, limits: {per_day: 10, reset: \"Not A Zone\"}}}\n",
     "w.yaml:1:64: error: limits.reset is a time zone such as Europe/Berlin, UTC or +02:00, not `Not A Zone`\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_day: 10, reset: \"Not A Zone\"}}}\n"
     "      |                                                                ^~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {per_day: 10, reset: Mars/Olympus}}}\n",
     "w.yaml:1:63: error: there is no time zone Mars/Olympus: cannot open /usr/share/zoneinfo/Mars/Olympus: No such file or directory\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_day: 10, reset: Mars/Olympus}}}\n"
     "      |                                                               ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, limits: {per_hour: 100, per_day: 10}}}\n",
     "w.yaml:1:34: warning: `isp`: per_hour is more than per_day allows, and never reached\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_hour: 100, per_day: 10}}}\n"
     "      |                                  ^~~~~~\n"
     "1 warning\n"},
    {"gateways: {isp: {url: a.example, limits: {per_weak: 10}}}\n",
     "w.yaml:1:43: error: `per_weak` is not a key here; did you mean `per_week`?\n"
     "    1 | gateways: {isp: {url: a.example, limits: {per_weak: 10}}}\n"
     "      |                                           ^~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, addresses: [b.example]}}\n",
     "w.yaml:1:46: error: addresses is a list of addresses such as [192.0.2.25, \"2001:db8::25\"], not `b.example`\n"
     "    1 | gateways: {isp: {url: a.example, addresses: [b.example]}}\n"
     "      |                                              ^~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, interface: averylongnameindeed}}\n",
     "w.yaml:1:45: error: an interface's name has at most 15 characters\n"
     "    1 | gateways: {isp: {url: a.example, interface: averylongnameindeed}}\n"
     "      |                                             ^~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, socks: \"http://x\"}}\n",
     "w.yaml:1:42: error: socks is a url such as socks5://user@127.0.0.1:1080\n"
     "    1 | gateways: {isp: {url: a.example, socks: \"http://x\"}}\n"
     "      |                                          ^~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, socks: \"socks5://u@x\"}}\n",
     "w.yaml:1:42: error: the proxy has a user without `socks_password`; write both, or neither\n"
     "    1 | gateways: {isp: {url: a.example, socks: \"socks5://u@x\"}}\n"
     "      |                                          ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, socks_password: x}}\n",
     "w.yaml:1:34: error: `socks_password` has no effect without `socks`\n"
     "    1 | gateways: {isp: {url: a.example, socks_password: *}}\n"
     "      |                                  ^~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: a.example, socks: \"socks5://u:p@x\", socks_password: x}}\n",
     "w.yaml:1:42: error: the password stands both in the url and in a key of its own; keep one\n"
     "    1 | gateways: {isp: {url: a.example, socks: \"socks5://u:*@x\", socks_password: *}}\n"
     "      |                                          ^~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: {url: \"lmtp+unix:///x\", addresses: 10.0.0.1, socks: \"socks5://x\"}}\n",
     "w.yaml:1:41: error: `addresses` is not for a unix socket\n"
     "    1 | gateways: {isp: {url: \"lmtp+unix:///x\", addresses: 10.0.0.1, socks: \"socks5://x\"}}\n"
     "      |                                         ^~~~~~~~~\n"
     "w.yaml:1:62: error: `socks` is not for a unix socket\n"
     "    1 | gateways: {isp: {url: \"lmtp+unix:///x\", addresses: 10.0.0.1, socks: \"socks5://x\"}}\n"
     "      |                                                              ^~~~~\n"
     "2 errors\n"},
    {"gateways: {isp: {url: a.example, health: {probe: 1s, depth: auth, failures: 0}}}\n",
     "w.yaml:1:50: warning: to be asked every 1s may look like an attack to the server; 5m is usual\n"
     "    1 | gateways: {isp: {url: a.example, health: {probe: 1s, depth: auth, failures: 0}}}\n"
     "      |                                                  ^~\n"
     "w.yaml:1:61: error: `isp` has no login to be tried; write ehlo\n"
     "    1 | gateways: {isp: {url: a.example, health: {probe: 1s, depth: auth, failures: 0}}}\n"
     "      |                                                             ^~~~\n"
     "w.yaml:1:77: error: health.failures must be from 1 to 100\n"
     "    1 | gateways: {isp: {url: a.example, health: {probe: 1s, depth: auth, failures: 0}}}\n"
     "      |                                                                             ^\n"
     "2 errors, 1 warning\n"},
    {"gateways: {isp: {url: a.example, tls: off, health: {depth: tls}}}\n",
     "w.yaml:1:60: error: `isp` does without TLS; write ehlo\n"
     "    1 | gateways: {isp: {url: a.example, tls: off, health: {depth: tls}}}\n"
     "      |                                                            ^~~\n"
     "1 error\n"},
    {"gateways: {direct: {health: {probe: 5m}, addresses: 10.0.0.1}}\n",
     "w.yaml:1:21: error: `health` is not for `direct`, which has a server for each recipient\n"
     "    1 | gateways: {direct: {health: {probe: 5m}, addresses: 10.0.0.1}}\n"
     "      |                     ^~~~~~\n"
     "w.yaml:1:42: error: `addresses` is not for `direct`, which has a server for each recipient\n"
     "    1 | gateways: {direct: {health: {probe: 5m}, addresses: 10.0.0.1}}\n"
     "      |                                          ^~~~~~~~~\n"
     "2 errors\n"},
    {"gateways: {direct: a.example}\n",
     "w.yaml:1:12: error: a gateway is a map of keys: direct: {tls: required}\n"
     "    1 | gateways: {direct: a.example}\n"
     "      |            ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: \"a.example:0\"}\n",
     "w.yaml:1:18: error: the port in the url must be a number from 1 to 65535\n"
     "    1 | gateways: {isp: \"a.example:0\"}\n"
     "      |                  ^~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: \"::1\"}\n",
     "w.yaml:1:18: error: the url has no host\n"
     "    1 | gateways: {isp: \"::1\"}\n"
     "      |                  ^~~\n"
     "1 error\n"},
    {"gateways: {isp: \"me@a.example\"}\n",
     "w.yaml:1:18: error: a url begins with smtp://, smtp+starttls://, smtps://, lmtp://, maildir:/// or pipe:/\n"
     "    1 | gateways: {isp: \"me@a.example\"}\n"
     "      |                  ^~~~~~~~~~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "gateways: {isp: 10.20.0.25, other: 192.168.1.1}\n",
     "w.yaml:2:12: warning: `isp` has a private address and no login: is it usable only on network `office`? Then add networks: [office]\n"
     "    2 | gateways: {isp: 10.20.0.25, other: 192.168.1.1}\n"
     "      |            ^~~\n"
     "w.yaml:2:29: warning: `other` has a private address and no login: say with `networks` where it is usable\n"
     "    2 | gateways: {isp: 10.20.0.25, other: 192.168.1.1}\n"
     "      |                             ^~~~~\n"
     "2 warnings\n"},
    {"routes: [{network: office, via: direct}]\n",
     "w.yaml:1:20: error: there is no network `office`; `networks` names none\n"
     "    1 | routes: [{network: office, via: direct}]\n"
     "      |                    ^~~~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "routes: [{network: [home, \"!home\"], via: direct}]\n",
     "w.yaml:2:20: error: this never holds: the same network is asked for and ruled out\n"
     "    2 | routes: [{network: [home, \"!home\"], via: direct}]\n"
     "      |                    ^\n"
     "1 error\n"},
    {"routes: [{larger: 1M, smaller: 1M, via: direct}]\n",
     "w.yaml:1:32: error: no mail is larger than 1MiB and smaller than 1MiB at once\n"
     "    1 | routes: [{larger: 1M, smaller: 1M, via: direct}]\n"
     "      |                                ^~\n"
     "1 error\n"},
    {"routes: [{class: fast, via: direct}]\n",
     "w.yaml:1:18: error: `fast` is not a word for class (urgent, normal, bulk)\n"
     "    1 | routes: [{class: fast, via: direct}]\n"
     "      |                  ^~~~\n"
     "1 error\n"},
    {"routes: [{time: \"mon 8-18\", via: direct}]\n",
     "w.yaml:1:18: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `mon 8-18`\n"
     "    1 | routes: [{time: \"mon 8-18\", via: direct}]\n"
     "      |                  ^~~~~~~~\n"
     "1 error\n"},
    {"routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n",
     "w.yaml:1:19: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `25:00-26:00`\n"
     "    1 | routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n"
     "      |                   ^~~~~~~~~~~\n"
     "w.yaml:1:34: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `mon-fri 08:00`\n"
     "    1 | routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n"
     "      |                                  ^~~~~~~~~~~~~\n"
     "w.yaml:1:51: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `day`\n"
     "    1 | routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n"
     "      |                                                   ^~~\n"
     "w.yaml:1:58: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `08:00-08:00`\n"
     "    1 | routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n"
     "      |                                                          ^~~~~~~~~~~\n"
     "w.yaml:1:73: error: time is a list of times of the week such as [\"mon-fri 08:00-18:00\", \"sat,sun\"], not `mon,`\n"
     "    1 | routes: [{time: [\"25:00-26:00\", \"mon-fri 08:00\", \"day\", \"08:00-08:00\", \"mon,\"], via: direct}]\n"
     "      |                                                                         ^~~~\n"
     "5 errors\n"},
    {"routes: [{header: x, via: direct}]\n",
     "w.yaml:1:19: error: header is a map of fields and patterns such as {list-id: \"*\"}\n"
     "    1 | routes: [{header: x, via: direct}]\n"
     "      |                   ^\n"
     "1 error\n"},
    {"routes: [{header: {\"a b\": x}, via: direct}]\n",
     "w.yaml:1:21: error: the name of a header field is printable text without blanks and colons\n"
     "    1 | routes: [{header: {\"a b\": x}, via: direct}]\n"
     "      |                     ^~~\n"
     "1 error\n"},
    {"routes: [{header: {x: []}, via: direct}]\n",
     "w.yaml:1:23: error: no patterns for this field; \"*\" stands for any text\n"
     "    1 | routes: [{header: {x: []}, via: direct}]\n"
     "      |                       ^\n"
     "1 error\n"},
    {"routes: [{header: {a: \"*\", b: \"*\", c: \"*\", d: \"*\", e: \"*\", f: \"*\", g: \"*\", h: \"*\", i: \"*\", j: \"*\", k: \"*\", l: \"*\", m: \"*\", n: \"*\", o: \"*\", p: \"*\", q: \"*\"}, via: direct}]\n",
     "w.yaml:1:19: error: all routes together name more than 16 different header fields\n"
     "    1 | routes: [{header: {a: \"*\", b: \"*\", c: \"*\", d: \"*\", e: \"*\", f: \"*\", g: \"*\", h: \"*\", i: \"*\", j: \"*\", k...\n"
     "      |                   ^\n"
     "1 error\n"},
    {"routes: [{client: [], via: direct}, {client: {a: b}, via: direct}]\n",
     "w.yaml:1:19: error: client is empty; leave the key out for every client\n"
     "    1 | routes: [{client: [], via: direct}, {client: {a: b}, via: direct}]\n"
     "      |                   ^\n"
     "w.yaml:1:37: warning: this route is never reached: the one in line 1 takes all of its mail\n"
     "    1 | routes: [{client: [], via: direct}, {client: {a: b}, via: direct}]\n"
     "      |                                     ^\n"
     "w.yaml:1:46: error: client is a list such as [192.168.1.0/24, \"uid 1000\", \"user alice\"]\n"
     "    1 | routes: [{client: [], via: direct}, {client: {a: b}, via: direct}]\n"
     "      |                                              ^\n"
     "2 errors, 1 warning\n"},
    {"routes: [{size: 1M, via: direct}]\n",
     "w.yaml:1:11: error: `size` is not available in this version; write `larger: 10MiB` or `smaller: 10MiB`\n"
     "    1 | routes: [{size: 1M, via: direct}]\n"
     "      |           ^~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error, via: isp}]\n",
     "w.yaml:2:27: error: `mode` says what `via` would say; keep one of them\n"
     "    2 | routes: [{mode: on-error, via: isp}]\n"
     "      |                           ^~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error}]\n",
     "w.yaml:2:17: error: `gateways` is missing: with this mode write gateways: [isp]\n"
     "    2 | routes: [{mode: on-error}]\n"
     "      |                 ^~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-eror, gateways: isp}]\n",
     "w.yaml:2:17: error: `on-eror` is not a word for mode; did you mean `on-error`? (never, undelivered, on-error, domains, always)\n"
     "    2 | routes: [{mode: on-eror, gateways: isp}]\n"
     "      |                 ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error, gateways: [ips]}]\n",
     "w.yaml:2:38: error: there is no gateway `ips`; did you mean `isp`?\n"
     "    2 | routes: [{mode: on-error, gateways: [ips]}]\n"
     "      |                                      ^~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error, gateways: isp, on: [wan]}]\n",
     "w.yaml:2:47: error: `wan` is not a word for on; did you mean `lan`? (lan, smtp, offline, net, dns, no-record, tls, auth, quota, busy, reputation, doubt, refused)\n"
     "    2 | routes: [{mode: on-error, gateways: isp, on: [wan]}]\n"
     "      |                                               ^~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error, gateways: isp, after: {tries: 3}}]\n",
     "w.yaml:2:42: error: `after` is only for `mode: undelivered`\n"
     "    2 | routes: [{mode: on-error, gateways: isp, after: {tries: 3}}]\n"
     "      |                                          ^~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: undelivered, gateways: isp}]\n",
     "w.yaml:2:17: error: `after` is missing: how long direct delivery is tried; for example: after: {time: 4h}\n"
     "    2 | routes: [{mode: undelivered, gateways: isp}]\n"
     "      |                 ^~~~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: domains, gateways: isp}]\n",
     "w.yaml:2:17: error: `to` is missing: the domains that go through the gateways; for all mail write mode: always\n"
     "    2 | routes: [{mode: domains, gateways: isp}]\n"
     "      |                 ^~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: never, gateways: isp}]\n",
     "w.yaml:2:24: error: `mode: never` is direct delivery alone; it takes no gateways\n"
     "    2 | routes: [{mode: never, gateways: isp}]\n"
     "      |                        ^~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{mode: on-error, gateways: direct}]\n",
     "w.yaml:2:37: error: `direct` is delivery without a gateway; name another\n"
     "    2 | routes: [{mode: on-error, gateways: direct}]\n"
     "      |                                     ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "routes: [{via: isp, on: [net], gateways: two}]\n",
     "w.yaml:2:21: error: `on` is only for `mode: on-error`; here it stands with a gateway: via: [direct, {gateway: isp, ...}]\n"
     "    2 | routes: [{via: isp, on: [net], gateways: two}]\n"
     "      |                     ^~\n"
     "w.yaml:2:32: error: `gateways` belongs to a `mode`; without one write via: [isp]\n"
     "    2 | routes: [{via: isp, on: [net], gateways: two}]\n"
     "      |                                ^~~~~~~~\n"
     "2 errors\n"},
    {"gateways: {isp: {url: a.example, enabled: no}}\n"
     "routes: [{mode: always, gateways: isp}]\n",
     "w.yaml:2:35: warning: `isp` is not enabled and will be passed over\n"
     "    2 | routes: [{mode: always, gateways: isp}]\n"
     "      |                                   ^~~\n"
     "1 warning\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "smarthost: {exclusive: yes}\n",
     "w.yaml:2:1: error: smarthost names nothing: write smarthost: {gateway: isp}\n"
     "    2 | smarthost: {exclusive: yes}\n"
     "      | ^~~~~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "smarthost: {gateway: direct}\n",
     "w.yaml:2:22: error: `direct` is delivery without a gateway; name another\n"
     "    2 | smarthost: {gateway: direct}\n"
     "      |                      ^~~~~~\n"
     "1 error\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "smarthost: {gateway: ips, on: never}\n",
     "w.yaml:2:22: error: there is no gateway `ips`; did you mean `isp`?\n"
     "    2 | smarthost: {gateway: ips, on: never}\n"
     "      |                      ^~~\n"
     "w.yaml:2:31: error: `never` is not a word for smarthost.on (temp, perm, both)\n"
     "    2 | smarthost: {gateway: ips, on: never}\n"
     "      |                               ^~~~~\n"
     "2 errors\n"},
    {"gateways: {isp: a.example, two: b.example}\n"
     "smarthost: {gateway: isp}\n"
     "routes: [{via: two}]\n",
     "w.yaml:2:12: warning: this route is never reached: the one in line 3 takes all of its mail\n"
     "    2 | smarthost: {gateway: isp}\n"
     "      |            ^\n"
     "1 warning\n"},
    {"replies: [{class: quota}]\n",
     "w.yaml:1:11: error: a reply is known by `code`, `enhanced` or `text`; add one of them\n"
     "    1 | replies: [{class: quota}]\n"
     "      |           ^\n"
     "1 error\n"},
    {"replies: [{code: 250, class: quota}]\n",
     "w.yaml:1:18: error: code must be from 400 to 599\n"
     "    1 | replies: [{code: 250, class: quota}]\n"
     "      |                  ^~~\n"
     "1 error\n"},
    {"replies: [{code: 550}]\n",
     "w.yaml:1:11: error: `class` is missing: a word; for example: class: quota\n"
     "    1 | replies: [{code: 550}]\n"
     "      |           ^\n"
     "1 error\n"},
    {"replies: [{enhanced: 5.4, class: quota}, {enhanced: 1.2.3, class: quota}, {enhanced: 5.1.1000, class: x}]\n",
     "w.yaml:1:22: error: enhanced is a status code such as 5.4.5, not `5.4`\n"
     "    1 | replies: [{enhanced: 5.4, class: quota}, {enhanced: 1.2.3, class: quota}, {enhanced: 5.1.1000, class...\n"
     "      |                      ^~~\n"
     "w.yaml:1:53: error: enhanced is a status code such as 5.4.5, not `1.2.3`\n"
     "    1 | replies: [{enhanced: 5.4, class: quota}, {enhanced: 1.2.3, class: quota}, {enhanced: 5.1.1000, class...\n"
     "      |                                                     ^~~~~\n"
     "w.yaml:1:86: error: enhanced is a status code such as 5.4.5, not `5.1.1000`\n"
     "    1 | ...es: [{enhanced: 5.4, class: quota}, {enhanced: 1.2.3, class: quota}, {enhanced: 5.1.1000, class: x}]\n"
     "      |                                                                                    ^~~~~~~~\n"
     "w.yaml:1:103: error: `x` is not a word for class (offline, net, dns, no-record, tls, auth, quota, busy, reputation, doubt, refused)\n"
     "    1 | ....4, class: quota}, {enhanced: 1.2.3, class: quota}, {enhanced: 5.1.1000, class: x}]\n"
     "      |                                                                                    ^\n"
     "4 errors\n"},
    {"replies: [{gateway: isp, code: 550, class: quota}]\n",
     "w.yaml:1:21: warning: no gateway is named like this\n"
     "    1 | replies: [{gateway: isp, code: 550, class: quota}]\n"
     "      |                     ^~~\n"
     "1 warning\n"},
    {"replies: [x]\n",
     "w.yaml:1:11: error: a reply is a map of keys: {code: 550, text: \"*limit*\", class: quota}\n"
     "    1 | replies: [x]\n"
     "      |           ^\n"
     "1 error\n"},
    {"choice: {manual: 10s, fallback: some, host_prefix_ipv4: 33}\n",
     "w.yaml:1:18: error: choice.manual must be from 1m to 366d\n"
     "    1 | choice: {manual: 10s, fallback: some, host_prefix_ipv4: 33}\n"
     "      |                  ^~~\n"
     "w.yaml:1:33: error: `some` is not a word for choice.fallback; did you mean `none`? (all, default, none)\n"
     "    1 | choice: {manual: 10s, fallback: some, host_prefix_ipv4: 33}\n"
     "      |                                 ^~~~\n"
     "w.yaml:1:57: error: choice.host_prefix_ipv4 must be from 8 to 32\n"
     "    1 | choice: {manual: 10s, fallback: some, host_prefix_ipv4: 33}\n"
     "      |                                                         ^~\n"
     "3 errors\n"},
    {"captive_url: \"http://[fe80::1/\"\n",
     "w.yaml:1:15: error: captive_url is a page without encryption, which a portal can answer: http://host/path\n"
     "    1 | captive_url: \"http://[fe80::1/\"\n"
     "      |               ^~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"captive_url: \"https://example.org/\"\n",
     "w.yaml:1:15: error: captive_url is a page without encryption, which a portal can answer: http://host/path\n"
     "    1 | captive_url: \"https://example.org/\"\n"
     "      |               ^~~~~~~~~~~~~~~~~~~~\n"
     "1 error\n"},
    {"queue: {doubt: {urgent: once, urgnt: hold, bulk: [move]}}\n",
     "w.yaml:1:31: error: `urgnt` is not a word for class; did you mean `urgent`? (urgent, normal, bulk)\n"
     "    1 | queue: {doubt: {urgent: once, urgnt: hold, bulk: [move]}}\n"
     "      |                               ^~~~~\n"
     "w.yaml:1:50: error: queue.doubt is a word, or a map of words by class (urgent, normal, bulk), not a list\n"
     "    1 | queue: {doubt: {urgent: once, urgnt: hold, bulk: [move]}}\n"
     "      |                                                  ^\n"
     "2 errors\n"},
    {"queue: {doubt: drop}\n",
     "w.yaml:1:16: error: `drop` is not a word for queue.doubt (move, again, hold, once)\n"
     "    1 | queue: {doubt: drop}\n"
     "      |                ^~~~\n"
     "1 error\n"},
    {"networks: {office: {address: 10.20.0.0/16}, home: {ssid: h}}\n"
     "routes: [{via: [{gateway: direct, parallel_after: 0s}]}]\n",
     "w.yaml:2:51: error: parallel_after must be from 1s to 1d\n"
     "    2 | routes: [{via: [{gateway: direct, parallel_after: 0s}]}]\n"
     "      |                                                   ^~\n"
     "1 error\n"},
};
// clang-format on

static void mistakes_are_told(void **state)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct buf said;
        buf_init(&said, 1024 * 1024);
        struct conf *conf = read_as(mistakes[i].text, false, &said);
        assert_string_equal(buf_cstr(&said), mistakes[i].said);
        conf_unref(&conf);
        buf_free(&said);
    }
}

static void networks_are_read(void **state)
{
    struct conf *conf = good(
        "networks:\n"
        "  a: {connection: [\"Office LAN\", \"wg*\"], address: [10.0.0.0/8, \"fd00::/8\"], "
        "subnet: 10.1.0.0/16, interface: eth0, ssid: x, type: [wifi, modem], metered: no, captive: "
        "yes}\n"
        "  b: {metered: any, ssid: y}\n"
        "gateways:\n"
        "  g: {url: a.example, networks: [b]}\n"
        "  h: {url: b.example, networks: [a, b]}\n");
    const struct conf_network *a = &conf->networks[0], *b = &conf->networks[1];
    assert_int_equal(conf->network_count, 2);
    assert_int_equal(a->line, 2);
    assert_int_equal(a->connection_count, 2);
    assert_string_equal(a->connection[1], "wg*");
    assert_int_equal(a->address_count + a->subnet_count, 3);
    assert_int_equal(a->interface_count + a->ssid_count, 2);
    assert_int_equal(a->types, 1u << LINK_WIFI | 1u << LINK_MODEM);
    assert_true(a->metered == WISH_NO && a->captive == WISH_YES);
    assert_true(b->metered == WISH_ANY && b->captive == WISH_ANY && b->types == 0);
    assert_int_equal(gateway(conf, "g")->networks, 2);
    assert_int_equal(gateway(conf, "h")->networks, 3);
    assert_int_equal(gateway(conf, "direct")->networks, 0);
    conf_unref(&conf);
}

static void sixty_four_networks_are_the_most(void **state)
{
    for (unsigned n = CONF_NETWORKS; n <= CONF_NETWORKS + 1; n++) {
        struct buf text, said;
        buf_init(&text, 100000);
        buf_init(&said, 100000);
        buf_puts(&text, "networks:\n");
        for (unsigned i = 0; i < n; i++)
            buf_printf(&text, "  n%u: {ssid: x}\n", i);
        buf_printf(&text, "gateways: {g: {url: a.example, networks: n%u}}\n", CONF_NETWORKS - 1);
        struct conf *conf = read_as(buf_cstr(&text), true, &said);
        assert_int_equal(conf != NULL, n == CONF_NETWORKS);
        if (conf != NULL)
            assert_true(gateway(conf, "g")->networks == UINT64_C(1) << 63);
        else
            assert_non_null(strstr(buf_cstr(&said), "networks has 65 entries; at most 64"));
        conf_unref(&conf);
        buf_free(&text);
        buf_free(&said);
    }
}

static void gateways_have_a_life(void **state)
{
    struct conf *conf = good(
        "gateways:\n"
        "  plain: mail.isp.example\n"
        "  port: \"mail.isp.example:2525\"\n"
        "  six: \"[2001:db8::1]:587\"\n"
        "  all:\n"
        "    url: \"smtp://a.example\"\n"
        "    default: true\n"
        "    interface: wg0\n"
        "    socks: \"socks5://me%40x@[::1]:1081\"\n"
        "    socks_password: !env X\n"
        "    senders: [example.org, \"*@example.net\"]\n"
        "    addresses: [192.0.2.1, \"2001:db8::1\"]\n"
        "    health: {probe: 5m, depth: tcp, failures: 3, hold: 30s}\n"
        "    limits: {rate: 30/min, per_minute: 1, per_month: 1000000000, recipients_per_week: 7, "
        "bytes_per_day: 10GiB, bytes_per_month: 1024TiB, reserve: 10%, reset: Europe/Berlin, "
        "connections: 3, recipients: 5, per_connection: 7, message_size: 25MiB}\n");
    const struct conf_gateway *g = gateway(conf, "plain");
    assert_string_equal(g->host, "mail.isp.example");
    assert_true(g->port == 25 && g->tls == TLS_WANTED && !g->fallback && g->line == 2);
    assert_true(g->health.every_ms == 0 && g->health.depth == PROBE_EHLO &&
                g->health.failures == 1 && g->health.hold_ms == 0);
    assert_int_equal(gateway(conf, "port")->port, 2525);
    assert_string_equal(gateway(conf, "six")->host, "2001:db8::1");
    assert_int_equal(gateway(conf, "six")->port, 587);
    g = gateway(conf, "all");
    assert_true(g->fallback);
    assert_string_equal(g->interface, "wg0");
    assert_string_equal(g->socks->host, "::1");
    assert_string_equal(g->socks->user, "me@x");
    assert_int_equal(g->socks->port, 1081);
    assert_non_null(g->socks->password);
    assert_string_equal(g->senders[0], "*@example.org");
    assert_true(g->pinned_count == 2 && g->pinned[1].family == NET_IPV6 && g->pinned[0].port == 0);
    assert_true(g->health.every_ms == 300000 && g->health.depth == PROBE_TCP &&
                g->health.failures == 3 && g->health.hold_ms == 30000);
    assert_true(g->rate == 30 && g->rate_ms == 60000);
    assert_true(g->quota[UNIT_MESSAGES][PERIOD_MINUTE] == 1 &&
                g->quota[UNIT_MESSAGES][PERIOD_MONTH] == 1000000000 &&
                g->quota[UNIT_RECIPIENTS][PERIOD_WEEK] == 7 &&
                g->quota[UNIT_BYTES][PERIOD_DAY] == UINT64_C(10) << 30 &&
                g->quota[UNIT_BYTES][PERIOD_MONTH] == UINT64_C(1) << 50 &&
                g->quota[UNIT_BYTES][PERIOD_HOUR] == 0);
    assert_int_equal(g->reserve_percent, 10);
    assert_string_equal(g->quota_zone, "Europe/Berlin");
    assert_true(g->connections == 3 && g->recipients == 5 && g->per_connection == 7 &&
                g->message_size == 25 << 20);
    conf_unref(&conf);
}

static void conditions_are_read(void **state)
{
    struct conf *conf =
        good("networks: {office: {ssid: x}, home: {ssid: y}}\n"
             "routes:\n"
             "  - name: all\n"
             "    to: [example.org, .example.net, \"@x.example\", \"a*\", root]\n"
             "    from: \"<>\"\n"
             "    client: [10.0.0.0/8, \"uid 1000\", \"user a*\", 192.168.1.4-192.168.1.7]\n"
             "    listener: [scanner]\n"
             "    mx: \"*.outlook.com\"\n"
             "    larger: 1\n"
             "    smaller: 2GiB\n"
             "    header: {List-ID: \"*\", X-A: [b, c]}\n"
             "    class: [urgent, bulk]\n"
             "    network: [office, !home ]\n"
             "    time: [\"mon-fri 08:00-18:00\", 22:00-06:00]\n"
             "    keep_failed: yes\n"
             "    via: direct\n"
             "  - {network: \"!home\", header: {x-a: d}, via: [{gateway: direct, parallel_after: "
             "30s}]}\n");
    const struct conf_route *r = &conf->routes[0];
    static const char *const to[] = {"*@example.org", "*@*.example.net", "*@x.example", "a*",
                                     "root"};
    assert_string_equal(r->name, "all");
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(r->to[i], to[i]);
    assert_string_equal(r->from[0], "");
    assert_true(r->client_count == 2 && r->client_range_count == 2);
    assert_string_equal(r->client[1], "user a*");
    assert_true(r->listener_count == 1 && r->mx_count == 1 && r->larger == 1 &&
                r->smaller == UINT64_C(2) << 30);
    assert_int_equal(r->header_count, 3);
    assert_string_equal(r->header[0].name, "list-id");
    assert_string_equal(r->header[2].glob, "c");
    assert_int_equal(r->classes, 1u << PRIORITY_URGENT | 1u << PRIORITY_LOW);
    assert_true(r->networks == 1 && r->not_networks == 2 && conf->routes[1].not_networks == 2);
    assert_int_equal(r->hours_count, 5 + 7);
    assert_true(r->keep_failed && r->mode == MODE_NONE && r->line == 3);
    assert_int_equal(conf->routes[1].via[0].parallel_ms, 30000);
    assert_true(conf->asks_mx && conf->asks_hours && conf->ask_header_count == 2);
    assert_string_equal(conf->asks_headers[0], "list-id");
    assert_string_equal(conf->asks_headers[1], "x-a");
    conf_unref(&conf);
    conf = good("routes: [{to: a.example, via: direct}]");
    assert_false(conf->asks_mx || conf->asks_hours || conf->ask_header_count > 0);
    conf_unref(&conf);
}

static void hours_are_minutes_of_the_week(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        unsigned begin, end; // of the first
    } cases[] = {
        {"mon", 1, 0, 1440},
        {"sun", 1, 8640, 10080},
        {"Mon-FRI", 5, 0, 1440},
        {"sat,sun", 2, 7200, 8640},
        {"fri-mon", 4, 0, 1440},
        {"mon,wed-thu", 3, 0, 1440},
        {"00:00-24:00", 7, 0, 1440},
        {"tue 08:00-18:00", 1, 1920, 2520},
        {"sun 22:00-06:00", 1, 9960, 10440},
        {"22:00-00:00", 7, 1320, 1440},
        {" mon  08:30-09:15 ", 1, 510, 555},
        {"", 0, 0, 0},
        {"mon tue", 0, 0, 0},
        {"mon-", 0, 0, 0},
        {"-mon", 0, 0, 0},
        {",mon", 0, 0, 0},
        {"8:00-9:00", 0, 0, 0},
        {"08:60-09:00", 0, 0, 0},
        {"24:00-06:00", 0, 0, 0},
        {"24:01-06:00", 0, 0, 0},
        {"08:00-09:00 mon", 0, 0, 0},
        {"08:00-09:00-10:00", 0, 0, 0},
        {"mon 08:00-09:00 x", 0, 0, 0},
        {"montag", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_hours hours[HOURS_MAX];
        size_t n = hours_parse(str_of(cases[i].text), hours);
        if (n != cases[i].count)
            fail_msg("%s: %zu", cases[i].text, n);
        if (n > 0)
            assert_true(hours[0].begin == cases[i].begin && hours[0].end == cases[i].end);
    }
}

// The chain of a route in words: "direct, isp(net dns;3;0), two".
static void expect_chain(const char *yaml, size_t n, const char *chain)
{
    char text[2000];
    snprintf(text, sizeof(text), "gateways: {isp: a.example, two: b.example}\n%s", yaml);
    struct conf *conf = good(text);
    struct buf out;
    buf_init(&out, 10000);
    assert_true(n < conf->route_count);
    const struct conf_route *r = &conf->routes[n];
    for (size_t i = 0; i < r->via_count; i++) {
        const struct conf_step *s = &r->via[i];
        buf_printf(&out, "%s%s", i > 0 ? ", " : "", conf->gateways[s->gateway].name);
        for (int class = 0; class < OUTCOME_CLASSES; class ++)
            if ((s->on & 1u << class) != 0)
                buf_printf(&out, " %s", outcome_class_name(class));
        if (s->after_tries > 0 || s->after_ms > 0)
            buf_printf(&out, " after %u %lld", s->after_tries, (long long)s->after_ms);
    }
    if (r->keep_failed)
        buf_puts(&out, " keep");
    assert_string_equal(buf_cstr(&out), chain);
    buf_free(&out);
    conf_unref(&conf);
}

static void modes_become_chains(void **state)
{
    expect_chain("routes: [{mode: never}]", 0, "direct");
    expect_chain("routes: [{mode: always, gateways: [two, isp]}]", 0, "two, isp");
    expect_chain("routes: [{mode: domains, to: x.example, gateways: [isp]}]", 0, "isp keep");
    expect_chain("routes: [{mode: domains, to: x.example, gateways: [isp], keep_failed: no}]", 0,
                 "isp");
    expect_chain("routes: [{mode: on-error, gateways: [isp, two]}]", 0, "direct, isp, two");
    expect_chain("routes: [{mode: on-error, gateways: [isp, two], on: [dns, refused]}]", 0,
                 "direct, isp dns refused, two");
    expect_chain("routes: [{mode: on-error, gateways: isp, on: [lan, smtp]}]", 0,
                 "direct, isp offline net tls auth quota reputation busy");
    expect_chain("routes: [{mode: undelivered, gateways: [isp, two], after: {tries: 3, time: 1s}}]",
                 0, "direct, isp after 3 1000, two after 3 1000");
}

static void a_smarthost_is_the_last_route(void **state)
{
    expect_chain("smarthost: {gateway: isp}", 0,
                 "direct, isp offline net dns tls auth quota reputation busy");
    expect_chain("smarthost: {gateway: isp, on: perm}", 0,
                 "direct, isp reputation refused no-record");
    expect_chain("smarthost: {gateway: isp, on: both}", 0,
                 "direct, isp offline net dns tls auth quota reputation busy refused no-record");
    expect_chain("smarthost: {gateway: isp, exclusive: yes}\nroutes: [{to: x.example, via: two}]",
                 1, "isp");
    // Switched off it is the direct way alone, whatever else is said of it (IS-6).
    expect_chain("smarthost: {gateway: isp, enabled: no}", 0, "direct");
    expect_chain("smarthost: {gateway: isp, enabled: no, exclusive: yes}", 0, "direct");
    struct conf *conf = good("gateways: {isp: a.example}\nsmarthost: {gateway: isp}");
    assert_true(conf->routes[0].smarthost && conf->routes[0].line == 2);
    conf_unref(&conf);
}

static void replies_and_choice_are_read(void **state)
{
    struct conf *conf = good(
        "gateways: {isp: a.example}\n"
        "replies:\n"
        "  - {gateway: \"i*\", code: 599, enhanced: 5.4.5, text: \"*limit*\", class: quota, scope: "
        "account, rest: 1h}\n"
        "  - {code: 400, class: busy}\n"
        "choice: {automatic: no, subnet: no, host_prefix_ipv4: 32, host_prefix_ipv6: 128, "
        "fallback: default, manual: 2h}\n"
        "captive_url: \"http://a.example/x\"\n"
        "queue: {doubt: again, detour: never}\n");
    const struct conf_reply *r = conf->replies;
    assert_int_equal(conf->reply_count, 2);
    assert_true(r->code == 599 && r->class == OUTCOME_QUOTA && r->scope == SCOPE_ACCOUNT &&
                r->rest_ms == 3600000 && r->line == 3);
    assert_string_equal(r->enhanced, "5.4.5");
    assert_true(r[1].scope == SCOPE_NONE && r[1].gateway == NULL && r[1].rest_ms == 0);
    const struct conf_choice *c = &conf->choice;
    assert_true(!c->automatic && !c->subnet && c->host_prefix[0] == 32 &&
                c->host_prefix[1] == 128 && c->fallback == FALLBACK_DEFAULT &&
                c->sticky == STICKY_TIME && c->sticky_ms == 7200000);
    assert_true(conf->queue.doubt[PRIORITY_URGENT] == DOUBT_AGAIN && conf->detour_ms == 0);
    conf_unref(&conf);
    conf = good("choice: {manual: network}");
    assert_int_equal(conf->choice.sticky, STICKY_NETWORK);
    conf_unref(&conf);
    conf = good("queue: {doubt: {urgent: again, bulk: once}}");
    const int *doubt = conf->queue.doubt;
    assert_true(doubt[PRIORITY_URGENT] == DOUBT_AGAIN && doubt[PRIORITY_NORMAL] == DOUBT_MOVE &&
                doubt[PRIORITY_LOW] == DOUBT_ONCE);
    conf_unref(&conf);
    conf = good("");
    c = &conf->choice;
    assert_true(c->automatic && c->subnet && c->host_prefix[0] == 24 && c->host_prefix[1] == 64 &&
                c->fallback == FALLBACK_ALL && c->sticky == STICKY_FOREVER);
    assert_true(conf->queue.doubt[PRIORITY_LOW] == DOUBT_MOVE && conf->detour_ms == 7 * 86400000LL);
    assert_true(conf->smarthost.gateway == UINT32_MAX && conf->captive_url == NULL);
    conf_unref(&conf);
}

static void the_examples_of_the_manual_are_good(void **state)
{
    char path[300];
    struct err err;
    size_t len, found = 0;
    snprintf(path, sizeof(path), "%s", __FILE__);
    char *end = strstr(path, "src/conf/ways_test.c");
    assert_non_null(end);
    snprintf(end, sizeof(path) - (size_t)(end - path), "docs/manual/routing.md");
    char *page = file_slurp(path, 1024 * 1024, &len, &err);
    if (page == NULL)
        fail_msg("%s", err.text);
    for (char *at = page; (at = strstr(at, "```yaml\n")) != NULL; found++) {
        char *text = at + strlen("```yaml\n"), *stop = strstr(text, "```");
        assert_non_null(stop);
        *stop = '\0';
        struct conf *conf = good(text);
        conf_unref(&conf);
        at = stop + 1;
    }
    assert_true(found >= 6);
    xfree(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(networks_are_read),
        cmocka_unit_test(sixty_four_networks_are_the_most),
        cmocka_unit_test(gateways_have_a_life),
        cmocka_unit_test(conditions_are_read),
        cmocka_unit_test(hours_are_minutes_of_the_week),
        cmocka_unit_test(modes_become_chains),
        cmocka_unit_test(a_smarthost_is_the_last_route),
        cmocka_unit_test(replies_and_choice_are_read),
        cmocka_unit_test(the_examples_of_the_manual_are_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
