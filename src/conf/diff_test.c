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
         "- route 1 to [*@a.example] from [] via direct\n+ route 1 to [] from [] via direct\n"},
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
