// SPDX-License-Identifier: ISC
// When an address is bad.
#include "control/bad_addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool bad(enum outcome_class class, enum outcome_phase phase, uint16_t code, uint8_t subject,
                uint8_t detail)
{
    struct outcome o = {.class = class, .phase = phase, .code = code};
    o.enhanced[0] = subject != 0 ? 5 : 0;
    o.enhanced[1] = subject;
    o.enhanced[2] = detail;
    return bad_address(&o);
}

static void only_its_own_refusal_makes_an_address_bad(void **state)
{
    assert_true(bad(OUTCOME_REFUSED, PHASE_RCPT, 550, 1, 1)); // no such mailbox
    assert_true(bad(OUTCOME_REFUSED, PHASE_RCPT, 550, 0, 0));
    assert_true(bad(OUTCOME_REFUSED, PHASE_RESOLVE, 0, 1, 2));  // no such domain
    assert_true(bad(OUTCOME_REFUSED, PHASE_RESOLVE, 0, 1, 10)); // null MX
    assert_false(bad(OUTCOME_REFUSED, PHASE_RCPT, 552, 2, 2));  // the mailbox is full
    assert_false(bad(OUTCOME_REFUSED, PHASE_RCPT, 550, 7, 1));  // it does not want this mail
    assert_false(bad(OUTCOME_REFUSED, PHASE_FINAL, 554, 6, 0)); // the message
    assert_false(bad(OUTCOME_BUSY, PHASE_RCPT, 450, 1, 1));
    assert_false(bad(OUTCOME_NET, PHASE_CONNECT, 0, 0, 0));
    assert_false(bad(OUTCOME_REPUTATION, PHASE_RCPT, 550, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_refusal_makes_an_address_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
