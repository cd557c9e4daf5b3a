// SPDX-License-Identifier: ISC
// What a reload would change, in words.
#include "conf/diff.h"
#include "conf/read.h"

#include <setjmp.h>
#include <cmocka.h>

static struct conf *conf_of(const char *text)
{
    struct conf_report report;
    conf_report_init(&report);
    struct conf *conf = conf_read_text("w.yaml", str_of(text), &report);
    if (conf == NULL)
        fail_msg("%s", report.problems[0].rendered);
    conf_report_free(&report);
    return conf;
}

static void differences_are_told(void **state)
{
    static const struct {
        const char *old_text, *new_text, *said;
    } cases[] = {
        {"", "", ""},
        {"", "queue: {warn: 8h, retry: [1m, 1h]}",
         "~ queue.retry: [1m, 5m, 15m, 1h, 4h] -> [1m, 1h]\n~ queue.warn: 4h -> 8h\n"},
        {"", "dns: {timeout: 2s}", "~ dns.timeout: 10s -> 2s\n"},
        {"", "spool: /srv/mail", "~ spool: /var/lib/waypost -> /srv/mail (takes a restart)\n"},
        {"gateways: {isp: {url: \"smtp://a.example\"}}", "", "- gateway isp (smtp a.example:25)\n"},
        {"", "gateways: {isp: {url: \"lmtp+unix:///run/x\"}}",
         "+ gateway isp (lmtp unix:/run/x)\n"},
        {"gateways: {isp: {url: \"smtp://me@a.example\", password: eins}}",
         "gateways: {isp: {url: \"smtps://me@a.example\", password: zwei, limits: {rate: 30/min}}}",
         "~ gateway isp: url: smtp a.example:587 -> smtp a.example:465\n"
         "~ gateway isp: tls: required -> implicit\n"
         "~ gateway isp: password changed\n"
         "~ gateway isp: limits.rate: no limit -> 30 in 1m\n"},
        {"gateways: {isp: {url: \"smtp://a.example\", priority: high}}",
         "gateways: {isp: {url: \"smtp://a.example\", priority: 7}}",
         "~ gateway isp: priority: high -> 7\n"},
        {"", "gateways: {direct: {enabled: no, source: 192.0.2.1}}",
         "~ gateway direct: source: - -> 192.0.2.1\n~ gateway direct: enabled: true -> false\n"},
        {"", "listeners: {lan: {address: \"127.0.0.1:26\"}}",
         "- listener local [127.0.0.1:25, [::1]:25]\n+ listener lan [127.0.0.1:26]\n"},
        {"listeners: {lan: {address: \"127.0.0.1:26\", clients: [127.0.0.1]}}",
         "listeners: {lan: {address: \"127.0.0.1:26\", clients: [127.0.0.0/8], message_size: "
         "1MiB}}",
         "~ listener lan: clients: [127.0.0.1] -> [127.0.0.0-127.255.255.255]\n"
         "~ listener lan: message_size: 51264KiB -> 1MiB\n"},
        {"routes: [{to: \"*@a.example\", via: direct}]", "routes: [{via: direct}]",
         "- route 1 to [*@a.example] via direct\n+ route 1 via direct\n"},
        {"networks: {home: {ssid: a}, work: {ssid: w}}\n"
         "gateways: {isp: {url: a.example, networks: home}}",
         "networks: {work: {ssid: w, type: [wifi, vpn], metered: no}, home: {ssid: a}, x: {ssid: "
         "x}}\n"
         "gateways: {isp: {url: a.example, networks: [home, work]}}",
         "~ network work: type: [] -> [wifi, vpn]\n"
         "~ network work: metered: any -> no\n"
         "+ network x\n"
         "~ gateway isp: networks: [home] -> [work, home]\n"},
        {"networks: {home: {ssid: a}}", "", "- network home\n"},
        {"gateways: {isp: {url: a.example}}",
         "gateways: {isp: {url: a.example, default: yes, senders: b.example, addresses: 192.0.2.1, "
         "interface: wg0, socks: \"socks5://me@p.example\", socks_password: eins, health: {probe: "
         "5m, depth: tcp}, limits: {per_day: 10, bytes_per_hour: 1GiB, reserve: 10%, reset: UTC, "
         "message_size: 1MiB}}}",
         "~ gateway isp: default: false -> true\n"
         "~ gateway isp: senders: [] -> [*@b.example]\n"
         "~ gateway isp: addresses: [] -> [192.0.2.1]\n"
         "~ gateway isp: interface: unset -> wg0\n"
         "~ gateway isp: socks: none -> me@p.example:1080\n"
         "~ gateway isp: socks_password changed\n"
         "~ gateway isp: health.probe: never -> 5m\n"
         "~ gateway isp: health.depth: ehlo -> tcp\n"
         "~ gateway isp: limits.per_day: no limit -> 10\n"
         "~ gateway isp: limits.bytes_per_hour: no limit -> 1GiB\n"
         "~ gateway isp: limits.reserve: 0% -> 10%\n"
         "~ gateway isp: limits.reset: unset -> UTC\n"
         "~ gateway isp: limits.message_size: what the server says -> 1MiB\n"},
        {"",
         "networks: {home: {ssid: a}}\n"
         "routes: [{name: r, to: a.example, from: \"<>\", client: [10.0.0.1, \"uid 0\"], listener: "
         "x, mx: \"*.y\", larger: 1KiB, smaller: 1MiB, header: {X-A: [b, c]}, class: [bulk], "
         "network: \"!home\", time: \"sun 22:00-06:00\", keep_failed: yes, via: [{gateway: direct, "
         "parallel_after: 30s}]}, {mode: never}]",
         "+ network home\n"
         "+ route 1 name r to [*@a.example] from [<>] client [10.0.0.1][uid 0] listener [x] mx "
         "[*.y] "
         "larger 1KiB smaller 1MiB header [x-a: b, x-a: c] class [bulk] network [!home] time [sun "
         "22:00-06:00] keep_failed true via direct parallel_after:30s\n"
         "+ route 2 mode never via direct\n"},
        {"gateways: {isp: a.example}", "gateways: {isp: a.example}\nsmarthost: {gateway: isp}",
         "~ smarthost.gateway: none -> [isp]\n"
         "+ route 1 name smarthost via direct, isp on:offline on:net on:dns on:tls on:auth "
         "on:quota "
         "on:busy on:reputation\n"},
        {"replies: [{code: 550, class: busy}]",
         "replies: [{code: 550, class: quota, text: \"*x*\", enhanced: 5.4.5, scope: account, "
         "rest: "
         "1h}]",
         "- reply 1 code 550 class busy\n"
         "+ reply 1 code 550 enhanced 5.4.5 text *x* class quota scope account rest 1h\n"},
        {"", "choice: {manual: 1h, fallback: none}\nqueue: {doubt: hold, detour: never}",
         "~ choice.fallback: all -> none\n~ choice.manual: forever -> 1h\n"
         "~ queue.doubt: move -> hold\n~ queue.detour: 7d -> never\n"},
        {"queue: {doubt: {bulk: once}}", "queue: {doubt: {urgent: move, normal: hold}}",
         "~ queue.doubt: {urgent: move, normal: move, bulk: once} -> {urgent: move, normal: hold, "
         "bulk: move}\n"},
        {"", "dns: {servers: [127.0.0.1]}", "~ dns.servers: [] -> [127.0.0.1:53]\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf *a = conf_of(cases[i].old_text), *b = conf_of(cases[i].new_text);
        struct buf out;
        buf_init(&out, 100000);
        conf_diff(a, b, &out);
        assert_string_equal(buf_cstr(&out), cases[i].said);
        buf_free(&out);
        conf_unref(&a);
        conf_unref(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(differences_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
