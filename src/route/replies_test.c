// SPDX-License-Identifier: ISC
// The shipped table against tests/corpus/replies.tsv: what real servers said, and what is right.
#include "conf/conf.h"
#include "route/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { COLUMNS = 8, LEAST_LINES = 300 };
enum { SOURCE, DIALECT, FROM, PHASE, CLASS, SCOPE, VERDICT, REPLY };

static const struct conf_gateway direct = {.name = "direct", .kind = GATEWAY_DIRECT};
static const struct conf_gateway account = {
    .name = "company", .kind = GATEWAY_SMTP, .host = "smtp.example.net", .user = "me"};

// The corpus lies beside the sources: this file's name leads there, unless WAYPOST_CORPUS does.
static FILE *open_corpus(void)
{
    const char *named = getenv("WAYPOST_CORPUS");
    char path[4096];
    if (named != NULL)
        return fopen(named, "r");
    const char *src = strstr(__FILE__, "src/route/");
    assert_non_null(src);
    snprintf(path, sizeof(path), "%.*stests/corpus/replies.tsv", (int)(src - __FILE__), __FILE__);
    return fopen(path, "r");
}

static enum outcome_phase phase_of(struct str word)
{
    static const struct {
        const char *name;
        enum outcome_phase phase;
    } phases[] = {{"greeting", PHASE_GREETING}, {"ehlo", PHASE_EHLO}, {"tls", PHASE_TLS},
                  {"auth", PHASE_AUTH},         {"mail", PHASE_MAIL}, {"rcpt", PHASE_RCPT},
                  {"data", PHASE_DATA},         {"body", PHASE_BODY}, {"final", PHASE_FINAL}};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
        if (str_ieq(word, str_of(phases[i].name)))
            return phases[i].phase;
    return PHASE_NONE;
}

// "550 5.7.1 text" as the client would hand it on: an enhanced code that fits is taken off.
static struct outcome heard(struct str reply, enum outcome_phase phase)
{
    struct outcome o = {.phase = phase};
    struct str rest = reply, word;
    uint64_t n;
    assert_true(str_split(&rest, ' ', &word) && str_u64(word, 599, &n) && n >= 400);
    o.code = (uint16_t)n;
    struct str after = rest, parts, part;
    uint8_t enhanced[3];
    size_t count = 0;
    assert_true(str_split(&after, ' ', &parts) || rest.len == 0);
    while (count < 3 && str_split(&parts, '.', &part) && str_u64(part, 255, &n))
        enhanced[count++] = (uint8_t)n;
    if (count == 3 && parts.len == 0 && enhanced[0] == o.code / 100) {
        memcpy(o.enhanced, enhanced, 3);
        rest = after;
    }
    snprintf(o.text, sizeof(o.text), "%.*s", STR_FMT(rest));
    o.class = phase == PHASE_AUTH ? OUTCOME_AUTH : o.code < 500 ? OUTCOME_BUSY : OUTCOME_REFUSED;
    return o;
}

static const char *word_of(struct verdict v)
{
    static const char *const words[] = {
        [VERDICT_DONE] = "done", [VERDICT_NEXT] = "next",   [VERDICT_RETRY] = "retry",
        [VERDICT_FAIL] = "fail", [VERDICT_DOUBT] = "doubt", [VERDICT_AGAIN] = "again"};
    return v.elsewhere ? "elsewhere" : words[v.action];
}

static bool judged_right(struct str line, unsigned number)
{
    struct str column[COLUMNS], rest = line;
    for (size_t i = 0; i < COLUMNS; i++)
        if (!str_split(&rest, '\t', &column[i]))
            fail_msg("line %u: column %zu is missing", number, i + 1);
    const struct conf_gateway *gateway = str_ieq(column[FROM], STR("direct")) ? &direct : &account;
    enum outcome_phase phase = phase_of(column[PHASE]);
    assert_int_not_equal(phase, PHASE_NONE);
    struct outcome o = heard(column[REPLY], phase);
    struct judge_rule rule = {.dialect = "no row"};
    judge_known(&o, NULL, gateway, &rule);
    judge_classify(&o, NULL, gateway);
    struct verdict v = judge_verdict(&o, NULL, gateway);
    if (str_ieq(column[CLASS], str_of(outcome_class_name(o.class))) &&
        str_ieq(column[SCOPE], str_of(judge_scope_name(o.scope))) &&
        str_ieq(column[VERDICT], str_of(word_of(v))))
        return true;
    print_error("line %u: is %s %s %s (%s), not %.*s %.*s %.*s: %.*s\n", number,
                outcome_class_name(o.class), judge_scope_name(o.scope), word_of(v), rule.dialect,
                STR_FMT(column[CLASS]), STR_FMT(column[SCOPE]), STR_FMT(column[VERDICT]),
                STR_FMT(column[REPLY]));
    return false;
}

static void real_replies_are_judged_as_a_postmaster_would(void **state)
{
    FILE *corpus = open_corpus();
    assert_non_null(corpus);
    char line[4096];
    size_t lines = 0, wrong = 0;
    unsigned number = 0;
    while (fgets(line, sizeof(line), corpus) != NULL) {
        number++;
        struct str text = str_trim(str_of(line));
        if (text.len == 0 || text.ptr[0] == '#')
            continue;
        lines++;
        wrong += !judged_right(text, number);
    }
    fclose(corpus);
    if (wrong > 0)
        fail_msg("%zu of %zu replies are judged wrongly", wrong, lines);
    assert_true(lines >= LEAST_LINES);
}

// What the look-up and the reader rely on.
static void the_table_is_well_formed(void **state)
{
    for (size_t i = 0; i < known_reply_count; i++) {
        const struct known_reply *k = &known_replies[i];
        if (k->dialect == NULL || (k->code == 0 && k->enhanced == NULL && k->text == NULL))
            fail_msg("row %zu matches everything", i);
        if (k->code != 0 && k->code != 4 && k->code != 5 && (k->code < 400 || k->code > 599))
            fail_msg("row %zu: code %u", i, k->code);
        if (k->text == NULL)
            continue;
        bool good = k->text[0] == '*' && strlen(k->text) >= 5;
        for (size_t c = 1; good && c <= 3; c++)
            good = k->text[c] != '*' && k->text[c] != '?';
        for (const char *c = k->text; good && *c != '\0'; c++)
            good = *c < 'A' || *c > 'Z';
        if (!good)
            fail_msg("row %zu: %s", i, k->text);
        if (k->class == OUTCOME_REFUSED && k->scope != SCOPE_RECIPIENT && k->scope != SCOPE_MESSAGE)
            fail_msg("row %zu: a refusal is the recipient's or the message's", i);
    }
}

// A row that a row before it hides would be a mistake of order.
static void no_row_says_the_same_as_one_before(void **state)
{
    for (size_t i = 0; i < known_reply_count; i++) {
        for (size_t j = i + 1; j < known_reply_count; j++) {
            const struct known_reply *a = &known_replies[i], *b = &known_replies[j];
            bool same = a->code == b->code && a->from == b->from &&
                        str_eq(str_of(a->text), str_of(b->text)) &&
                        str_eq(str_of(a->enhanced), str_of(b->enhanced));
            if (same)
                fail_msg("rows %zu and %zu: %s", i, j, a->text != NULL ? a->text : a->enhanced);
        }
    }
}

static void a_miss_costs_little(void **state)
{
    enum { ROUNDS = 20000, MOST_NS = 200 * 1000 }; // ten times what it may, for slow builders
    struct outcome o = heard(STR("550 <user@example.com>: no words of this sentence stand in any "
                                 "row, however long it becomes by and by"),
                             PHASE_RCPT);
    struct judge_rule rule;
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (int i = 0; i < ROUNDS; i++)
        assert_false(judge_known(&o, NULL, &account, &rule));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    int64_t ns =
        ((int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec) / ROUNDS;
    print_message("%zu rows, %lld ns a miss\n", known_reply_count, (long long)ns);
    assert_true(ns < MOST_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_replies_are_judged_as_a_postmaster_would),
        cmocka_unit_test(the_table_is_well_formed),
        cmocka_unit_test(no_row_says_the_same_as_one_before),
        cmocka_unit_test(a_miss_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
