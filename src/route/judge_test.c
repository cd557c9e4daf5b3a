// SPDX-License-Identifier: ISC
// The judge: scopes, verdicts, rows of the configuration, quotas in words.
#include "route/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const struct conf_gateway direct = {.name = "direct", .kind = GATEWAY_DIRECT};
static const struct conf_gateway account = {
    .name = "company", .kind = GATEWAY_SMTP, .host = "smtp.example.net", .user = "me"};
static const struct conf_gateway mailboxes = {.name = "mailboxes", .kind = GATEWAY_LMTP};

static struct outcome said(enum outcome_phase phase, uint16_t code, const char *text)
{
    struct outcome o = {.phase = phase,
                        .code = code,
                        .class = phase == PHASE_AUTH ? OUTCOME_AUTH
                                 : code < 500        ? OUTCOME_BUSY
                                                     : OUTCOME_REFUSED};
    snprintf(o.text, sizeof(o.text), "%s", text);
    return o;
}

static struct verdict judge(struct outcome *o, const struct conf *conf,
                            const struct conf_gateway *gateway)
{
    judge_classify(o, conf, gateway);
    return judge_verdict(o, conf, gateway);
}

static void assert_judged(const struct outcome *o, enum outcome_class class,
                          enum outcome_scope scope)
{
    assert_string_equal(outcome_class_name(o->class), outcome_class_name(class));
    assert_string_equal(judge_scope_name(o->scope), judge_scope_name(scope));
}

static void a_gateways_fault_never_returns_a_message(void **state)
{
    static const enum outcome_class classes[] = {OUTCOME_AUTH, OUTCOME_QUOTA, OUTCOME_REPUTATION};
    for (size_t i = 0; i < known_reply_count; i++) {
        const struct known_reply *k = &known_replies[i];
        for (int phase = PHASE_NONE; phase <= PHASE_FINAL; phase++) {
            struct outcome o = {.class = k->class,
                                .scope = k->scope,
                                .phase = (enum outcome_phase)phase,
                                .code = 550};
            for (size_t c = 0; c < 3; c++)
                if (k->class == classes[c])
                    assert_int_equal(judge_verdict(&o, NULL, &account).action, VERDICT_NEXT);
        }
    }
    for (uint16_t code = 400; code < 600; code++) {
        for (int phase = PHASE_GREETING; phase <= PHASE_FINAL; phase++) {
            struct outcome o = said((enum outcome_phase)phase, code, "daily sending limit reached");
            struct verdict v = judge(&o, NULL, &account);
            assert_int_not_equal(o.class, OUTCOME_REFUSED);
            assert_int_not_equal(v.action, VERDICT_FAIL);
        }
    }
}

static void every_outcome_has_a_verdict(void **state)
{
    static const struct conf_gateway *const gateways[] = {&direct, &account, &mailboxes};
    static const uint16_t codes[] = {0, 421, 450, 452, 500, 530, 535, 550, 552, 554};
    for (int class = 0; class < OUTCOME_CLASSES; class ++)
        for (int scope = SCOPE_NONE; scope <= SCOPE_MESSAGE; scope++)
            for (int phase = PHASE_NONE; phase <= PHASE_FINAL; phase++)
                for (size_t g = 0; g < 3; g++)
                    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
                        struct outcome o = {.class = (enum outcome_class) class,
                                            .scope = (enum outcome_scope)scope,
                                            .phase = (enum outcome_phase)phase,
                                            .code = codes[c]};
                        struct verdict raw = judge_verdict(&o, NULL, gateways[g]);
                        assert_true(raw.action <= VERDICT_AGAIN);
                        // Only what is the recipient's or the message's own is ever final.
                        bool own = scope == SCOPE_RECIPIENT || scope == SCOPE_MESSAGE ||
                                   scope == SCOPE_NONE;
                        if (raw.action == VERDICT_FAIL)
                            assert_true((class == OUTCOME_REFUSED || class == OUTCOME_NO_RECORD) &&
                                        own);
                        assert_true(raw.action == VERDICT_FAIL || !raw.elsewhere);
                        struct verdict v = judge(&o, NULL, gateways[g]);
                        assert_true(v.action <= VERDICT_AGAIN);
                        assert_true(o.class == OUTCOME_OK || o.scope != SCOPE_NONE);
                    }
}

static void judging_twice_changes_nothing(void **state)
{
    static const char *const texts[] = {"Daily user sending quota exceeded", "Relay access denied",
                                        "blocked using zen.spamhaus.org", "User unknown",
                                        "Must issue a STARTTLS command first"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (int phase = PHASE_GREETING; phase <= PHASE_FINAL; phase++) {
            struct outcome once = said((enum outcome_phase)phase, 550, texts[i]);
            judge_classify(&once, NULL, &account);
            struct judge_rule before, after;
            struct outcome twice = once;
            bool known = judge_known(&once, NULL, &account, &before);
            judge_classify(&twice, NULL, &account);
            assert_int_equal(judge_known(&twice, NULL, &account, &after), known);
            if (known) {
                assert_judged(&twice, once.class, once.scope);
                assert_ptr_equal(before.dialect, after.dialect);
            }
        }
    }
}

static void dns_and_offline_never_count(void **state)
{
    struct outcome o = {.class = OUTCOME_DNS, .phase = PHASE_RESOLVE};
    assert_false(judge(&o, NULL, &direct).counts);
    o = (struct outcome){.class = OUTCOME_OFFLINE};
    assert_false(judge(&o, NULL, &account).counts);
    assert_judged(&o, OUTCOME_OFFLINE, SCOPE_NETWORK);
}

static void a_name_that_is_not_there_is_final_for_a_recipient_only(void **state)
{
    struct outcome o = {.class = OUTCOME_NO_RECORD,
                        .scope = SCOPE_DESTINATION,
                        .phase = PHASE_RESOLVE,
                        .enhanced = {5, 1, 2}};
    struct outcome gone = o, proxy = o;
    struct verdict v = judge(&o, NULL, &direct);
    assert_judged(&o, OUTCOME_NO_RECORD, SCOPE_RECIPIENT);
    assert_int_equal(v.action, VERDICT_FAIL);
    assert_false(v.elsewhere);
    assert_int_equal(judge_step_class(&o), OUTCOME_NO_RECORD);
    gone.scope = SCOPE_GATEWAY;
    v = judge(&gone, NULL, &account);
    assert_judged(&gone, OUTCOME_NO_RECORD, SCOPE_GATEWAY);
    assert_int_equal(v.action, VERDICT_NEXT);
    assert_false(v.counts);
    assert_int_equal(judge_step_class(&gone), OUTCOME_DNS);
    // A proxy in the way of direct delivery, whose own name is missing.
    proxy.scope = SCOPE_GATEWAY;
    assert_int_equal(judge(&proxy, NULL, &direct).action, VERDICT_NEXT);
}

static void too_large_for_one_gateway_goes_elsewhere(void **state)
{
    struct outcome o = said(PHASE_MAIL, 552, "Message size exceeds fixed limit");
    struct verdict v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_REFUSED, SCOPE_MESSAGE);
    assert_int_equal(v.action, VERDICT_FAIL);
    assert_true(v.elsewhere);
    // Seen by our own client before it asked (SIZE).
    o = (struct outcome){.class = OUTCOME_REFUSED, .phase = PHASE_MAIL, .enhanced = {5, 3, 4}};
    v = judge(&o, NULL, &account);
    assert_int_equal(v.action, VERDICT_FAIL);
    assert_true(v.elsewhere);
}

static void one_sender_refused_does_not_rest_the_account(void **state)
{
    struct outcome o = said(PHASE_MAIL, 553, "Sender address rejected: not owned by user me");
    struct verdict v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_AUTH, SCOPE_ACCOUNT);
    assert_false(v.rests_gateway);
    o = said(PHASE_FINAL, 554, "Message rejected: Sending paused for this account.");
    v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_AUTH, SCOPE_ACCOUNT);
    assert_true(v.rests_gateway);
    assert_int_equal(v.rest_ms, HOUR);
    o = said(PHASE_AUTH, 535, "Incorrect authentication data");
    assert_true(judge(&o, NULL, &account).rests_gateway);
}

static void what_a_gateway_quotes_is_not_its_own_fault(void **state)
{
    struct outcome o = said(PHASE_FINAL, 550,
                            "host mx.example.net[192.0.2.7] said: 554 blocked using "
                            "zen.spamhaus.org (in reply to RCPT TO command)");
    struct verdict v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_REPUTATION, SCOPE_DESTINATION);
    assert_int_equal(v.action, VERDICT_NEXT);
    assert_false(v.rests_gateway);
    o = said(PHASE_RCPT, 550,
             "SMTP error from remote mail server after RCPT TO:<a@example.com>: "
             "550 relay not permitted");
    v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_REFUSED, SCOPE_RECIPIENT);
    assert_int_equal(v.action, VERDICT_FAIL);
}

static void the_same_words_directly_are_the_recipients(void **state)
{
    struct outcome o = said(PHASE_RCPT, 550, "Daily user sending quota exceeded");
    assert_int_equal(judge(&o, NULL, &direct).action, VERDICT_FAIL);
    assert_judged(&o, OUTCOME_REFUSED, SCOPE_RECIPIENT);
}

static void codes_too_large_for_a_byte_are_read_from_the_text(void **state)
{
    struct judge_rule rule;
    struct outcome o = said(PHASE_MAIL, 550, "5.7.620 no");
    assert_true(judge_known(&o, NULL, &direct, &rule));
    assert_string_equal(rule.dialect, "microsoft365");
    assert_int_equal(rule.class, OUTCOME_REPUTATION);
    // 606 is 94 in a byte, 5.7.94 is something else.
    o = said(PHASE_MAIL, 550, "no");
    memcpy(o.enhanced, (uint8_t[]){5, 7, 94}, 3);
    assert_false(judge_known(&o, NULL, &direct, &rule));
    // An address is no code, neither is one of another class than the reply's.
    static const char *const not_codes[] = {"[5.7.25.1] no", "4.7.25 no", "a5.7.25 no",
                                            "5.7.2500 no"};
    for (size_t i = 0; i < sizeof(not_codes) / sizeof(not_codes[0]); i++) {
        o = said(PHASE_MAIL, 550, not_codes[i]);
        assert_false(judge_known(&o, NULL, &direct, &rule));
    }
    o = said(PHASE_MAIL, 550, "denied (#5.7.25)");
    assert_true(judge_known(&o, NULL, &direct, &rule));
}

static void rows_of_the_configuration_come_first(void **state)
{
    static const struct conf_reply replies[] = {
        {.gateway = "comp*",
         .code = 550,
         .text = "*too chatty*",
         .class = OUTCOME_QUOTA,
         .scope = SCOPE_ACCOUNT,
         .rest_ms = 7 * MINUTE,
         .line = 12},
        {.enhanced = "5.7.606", .class = OUTCOME_REFUSED, .scope = SCOPE_NONE, .line = 17},
    };
    static const struct conf conf = {.replies = replies, .reply_count = 2};
    struct outcome o = said(PHASE_RCPT, 550, "You are TOO chatty");
    struct judge_rule rule;
    assert_true(judge_known(&o, &conf, &account, &rule));
    assert_int_equal(rule.line, 12);
    assert_string_equal(rule.dialect, "configuration");
    struct verdict v = judge(&o, &conf, &account);
    assert_judged(&o, OUTCOME_QUOTA, SCOPE_ACCOUNT);
    assert_true(v.rests_gateway);
    assert_int_equal(v.rest_ms, 7 * MINUTE);
    // Another gateway.
    o = said(PHASE_RCPT, 550, "You are too chatty");
    assert_int_equal(judge(&o, &conf, &direct).action, VERDICT_FAIL);
    // Without a scope a row blames whom its class blames.
    static const struct conf_reply bare[] = {{.text = "*a*", .class = OUTCOME_QUOTA},
                                             {.text = "*b*", .class = OUTCOME_REPUTATION},
                                             {.text = "*c*", .class = OUTCOME_BUSY},
                                             {.text = "*d*", .class = OUTCOME_BUSY, .rest_ms = 1}};
    static const struct conf brief = {.replies = bare, .reply_count = 4};
    static const enum outcome_scope scopes[] = {SCOPE_ACCOUNT, SCOPE_GATEWAY, SCOPE_RECIPIENT,
                                                SCOPE_GATEWAY};
    for (size_t i = 0; i < 4; i++) {
        o = said(PHASE_RCPT, 550, (const char[]){(char)('a' + i), 0});
        judge_classify(&o, &brief, &account);
        assert_judged(&o, bare[i].class, scopes[i]);
    }
    // Overrules the shipped row; its scope is what the phase says.
    o = said(PHASE_RCPT, 550, "5.7.606 banned sending IP");
    assert_int_equal(judge(&o, &conf, &direct).action, VERDICT_FAIL);
    assert_judged(&o, OUTCOME_REFUSED, SCOPE_RECIPIENT);
}

struct hint {
    const char *text;
    int64_t period_ms;
    uint64_t amount;
    int64_t retry_ms;
};
static const struct hint hints[] = {
    {"exceeded the limit of 10000 messages per day", DAY, 10000, 0},
    {"Too many messages. Try again in 92 seconds.", 0, 0, 92 * SECOND},
    {"try again in 3600 seconds", 0, 0, HOUR},
    {"Domain x.example has exceeded the max emails per hour (200/200 (100%)) allowed.", HOUR, 200,
     0},
    {"You have reached a limit for sending mail: 500 in 24 hours", DAY, 0, 0},
    {"Daily user sending quota exceeded", DAY, 0, 0},
    {"Please wait 5 minutes", 0, 0, 5 * MINUTE},
    {"retry after 1 hour; limit 300 recipients per day", DAY, 300, HOUR},
    {"Throttling failure: Maximum sending rate exceeded.", 0, 0, 0},
    {"User unknown", 0, 0, 0},
    {"try again in 99999999 days", 0, 0, 0},
    {"try again in 4294967295 month", 0, 0, 0},
    {"/ 12/ /13 of of limit", 0, 0, 0},
    {"", 0, 0, 0},
};

static void limits_are_learnt_where_they_are_said_plainly(void **state)
{
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        const struct hint *h = &hints[i];
        struct outcome o = said(PHASE_FINAL, 550, h->text);
        struct judge_quota_hint got;
        bool any = judge_quota_hint(&o, &got);
        if (any != (h->period_ms > 0 || h->amount > 0 || h->retry_ms > 0) ||
            got.period_ms != h->period_ms || got.amount != h->amount || got.retry_ms != h->retry_ms)
            fail_msg("%s: period %lld amount %llu retry %lld", h->text, (long long)got.period_ms,
                     (unsigned long long)got.amount, (long long)got.retry_ms);
    }
}

static void a_quota_rests_as_long_as_the_server_says(void **state)
{
    struct outcome o = said(PHASE_AUTH, 550, "Too many messages. Try again in 92 seconds.");
    struct verdict v = judge(&o, NULL, &account);
    assert_judged(&o, OUTCOME_QUOTA, SCOPE_ACCOUNT);
    assert_int_equal(v.rest_ms, 92 * SECOND);
    o = said(PHASE_FINAL, 550, "daily sending limit reached, try again in 30 days");
    assert_int_equal(judge(&o, NULL, &account).rest_ms, DAY);
    o = said(PHASE_FINAL, 550, "daily sending limit reached");
    assert_int_equal(judge(&o, NULL, &account).rest_ms, HOUR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gateways_fault_never_returns_a_message),
        cmocka_unit_test(every_outcome_has_a_verdict),
        cmocka_unit_test(judging_twice_changes_nothing),
        cmocka_unit_test(dns_and_offline_never_count),
        cmocka_unit_test(a_name_that_is_not_there_is_final_for_a_recipient_only),
        cmocka_unit_test(too_large_for_one_gateway_goes_elsewhere),
        cmocka_unit_test(one_sender_refused_does_not_rest_the_account),
        cmocka_unit_test(what_a_gateway_quotes_is_not_its_own_fault),
        cmocka_unit_test(the_same_words_directly_are_the_recipients),
        cmocka_unit_test(codes_too_large_for_a_byte_are_read_from_the_text),
        cmocka_unit_test(rows_of_the_configuration_come_first),
        cmocka_unit_test(limits_are_learnt_where_they_are_said_plainly),
        cmocka_unit_test(a_quota_rests_as_long_as_the_server_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
