// SPDX-License-Identifier: ISC
// Ends of probes, and what is made of them.
#include "deliver/diagnose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct conf_gateway gateway = {.host = "mail.isp.example", .tls = TLS_WANTED};

static struct diagnosis of(struct deliver_probe p, const char *transcript)
{
    struct diagnosis d;
    p.gateway = &gateway;
    p.depth = PROBE_EHLO;
    buf_init(&p.transcript, 4096);
    buf_puts(&p.transcript, transcript);
    diagnose(&p, "mail.isp.example", 25, &d);
    buf_free(&p.transcript);
    return d;
}

static enum diagnosis_fault connecting(int code)
{
    return of((struct deliver_probe){.outcome = {.class = OUTCOME_NET, .phase = PHASE_CONNECT},
                                     .code = code},
              "")
        .fault;
}

static void a_connection_fails_in_different_ways(void **state)
{
    assert_int_equal(connecting(ECONNREFUSED), FAULT_REFUSED);
    assert_int_equal(connecting(EACCES), FAULT_PROHIBITED);
    assert_int_equal(connecting(ETIMEDOUT), FAULT_SILENCE);
    assert_int_equal(connecting(EHOSTUNREACH), FAULT_NO_ROUTE);
    assert_int_equal(connecting(EPROTO), FAULT_OTHER);
    assert_int_equal(
        of((struct deliver_probe){.outcome = {.class = OUTCOME_AUTH, .phase = PHASE_AUTH}}, "")
            .fault,
        FAULT_LOGIN);
}

static enum diagnosis_fault naming(enum names_status status, enum outcome_class class)
{
    return of((struct deliver_probe){.outcome = {.class = class, .phase = PHASE_RESOLVE},
                                     .names = status},
              "")
        .fault;
}

static void a_name_that_is_not_there_is_no_silence(void **state)
{
    assert_int_equal(naming(NAMES_NXDOMAIN, OUTCOME_DNS), FAULT_NO_NAME);
    assert_int_equal(naming(NAMES_NODATA, OUTCOME_DNS), FAULT_NO_NAME);
    assert_int_equal(naming(NAMES_FAILED, OUTCOME_DNS), FAULT_NO_DNS);
    assert_int_equal(naming(NAMES_BOGUS, OUTCOME_DNS), FAULT_FORGED);
    assert_int_equal(naming(NAMES_OK, OUTCOME_REFUSED), FAULT_NO_NAME);
}

static void overwritten_words_give_a_firewall_away(void **state)
{
    struct deliver_probe ok = {.outcome = {.class = OUTCOME_OK}, .offers_tls = true};
    static const char clean[] = "<- 220 mail.isp.example ESMTP\n-> EHLO me\n<- 250-STARTTLS\n";
    assert_int_equal(of(ok, clean).fault, FAULT_NONE);
    assert_string_equal(of(ok, clean).remark, "");
    assert_string_equal(of(ok, clean).banner, "220 mail.isp.example ESMTP");
    ok.offers_tls = false;
    assert_string_equal(of(ok, clean).remark, "it offers no TLS");
    assert_int_equal(of(ok, "<- 220 ********0*2\n").fault, FAULT_INTERCEPTED);
    assert_int_equal(of(ok, "<- 220 a\n-> EHLO me\n<- 250-SIZE\n<- 250 XXXXXXXA\n").fault,
                     FAULT_INTERCEPTED);
}

static void another_name_is_worth_a_word(void **state)
{
    struct deliver_probe p = {.outcome = {.class = OUTCOME_OK}, .offers_tls = true};
    snprintf(p.greeting, sizeof(p.greeting), "mx7.isp.example");
    assert_string_equal(of(p, "<- 220 mx7.isp.example\n").remark, "");
    snprintf(p.greeting, sizeof(p.greeting), "proxy.hotel.example");
    assert_non_null(strstr(of(p, "<- 220 proxy.hotel.example\n").remark, "greets as proxy.hotel"));
    p.outcome.class = OUTCOME_TLS;
    p.offers_tls = false;
    assert_int_equal(of(p, "<- 220 proxy.hotel.example\n").fault, FAULT_INTERCEPTED);
    snprintf(p.greeting, sizeof(p.greeting), "mail.isp.example");
    assert_int_equal(of(p, "<- 220 mail.isp.example\n").fault, FAULT_NO_STARTTLS);
}

static struct diagnosis at(uint16_t port, enum diagnosis_fault fault)
{
    return (struct diagnosis){.host = "mail.isp.example", .port = port, .fault = fault};
}

static void ports_are_seen_together(void **state)
{
    struct conclusion c;
    struct diagnosis blocked[] = {at(587, FAULT_NONE), at(25, FAULT_SILENCE), at(465, FAULT_NONE)};
    diagnose_host(blocked, 3, &c);
    assert_string_equal(c.text, "port 25 is answered by silence while 587 of the same host works: "
                                "port 25 is blocked on this network, most likely by the provider");
    assert_string_equal(c.next, "use a gateway on 587 or 465; or ask the provider to open port 25");
    struct diagnosis down[] = {at(587, FAULT_SILENCE), at(25, FAULT_SILENCE)};
    diagnose_host(down, 2, &c);
    assert_non_null(strstr(c.text, "silent on all ports"));
    struct diagnosis closed[] = {at(25, FAULT_REFUSED), at(465, FAULT_NONE)};
    diagnose_host(closed, 2, &c);
    assert_string_equal(c.text, "mail.isp.example works on port 465");
    assert_string_equal(c.next, "write port 465 into the gateway's url");
    struct diagnosis mixed[] = {at(25, FAULT_REFUSED), at(465, FAULT_TLS)};
    diagnose_host(mixed, 2, &c);
    assert_non_null(strstr(c.text, "works on none"));
}

static void hosts_are_seen_together(void **state)
{
    struct conclusion c;
    struct diagnosis list[] = {at(25, FAULT_SILENCE), at(25, FAULT_PROHIBITED),
                               at(587, FAULT_NONE)};
    assert_true(diagnose_network(list, 3, &c));
    assert_non_null(strstr(c.text, "blocked at all 2 hosts asked, while other ports work"));
    assert_false(diagnose_network(list, 1, &c));
    list[1].fault = FAULT_BUSY; // it was reached
    assert_false(diagnose_network(list, 3, &c));
}

static void every_fault_has_a_word(void **state)
{
    for (int i = 0; i < FAULTS; i++) {
        assert_non_null(diagnosis_word((enum diagnosis_fault)i));
        assert_true((diagnosis_layer((enum diagnosis_fault)i) == NULL) == (i == FAULT_NONE));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_fails_in_different_ways),
        cmocka_unit_test(a_name_that_is_not_there_is_no_silence),
        cmocka_unit_test(overwritten_words_give_a_firewall_away),
        cmocka_unit_test(another_name_is_worth_a_word),
        cmocka_unit_test(ports_are_seen_together),
        cmocka_unit_test(hosts_are_seen_together),
        cmocka_unit_test(every_fault_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
