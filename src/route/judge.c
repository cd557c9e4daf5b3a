// SPDX-License-Identifier: ISC
// What an outcome means.
//
// Blame has a scope. A refusal whose text says quota, login, reputation or wrong sender blames the
// gateway or the account even when its code is 5xx: the recipient's mail is not lost for it. The
// rows of the configuration come first, then the table of known replies (route/replies.c); what
// neither knows is judged by phase and code.
//
// A table of hundreds of rows is only looked at for refusals, but a destination that is down can
// make many of these. So the three-letter runs of the text are marked in a bit set once; a row
// whose first letters are not marked cannot match and costs a few instructions.
#include "route/judge.h"

#include <string.h>

enum { CODE_PARTS = 3, TRIGRAM_BITS = 4096, HOUR = 3600 * 1000, DAY = 24 * HOUR };

// ---- The enhanced code ----

struct said_code {
    uint16_t part[CODE_PARTS]; // 0.0.0: none said
};

// "5.7.606": the start of *at. Leaves *at behind it.
static bool take_code(const char **at, struct said_code *out)
{
    const char *c = *at;
    for (int i = 0; i < CODE_PARTS; i++) {
        unsigned value = 0, digits = 0;
        while (ascii_is_digit(*c) && digits++ < 3)
            value = value * 10 + (unsigned)(*c++ - '0');
        if (digits == 0 || (i < CODE_PARTS - 1 && *c++ != '.'))
            return false;
        out->part[i] = (uint16_t)value;
    }
    if (ascii_is_digit(*c) || (*c == '.' && ascii_is_digit(c[1])))
        return false; // a longer number, or an address
    *at = c;
    return true;
}

// The reply's code. What does not fit outcome.enhanced (5.7.606), or stands in brackets behind some
// words (#5.1.0), is read from the text.
static struct said_code code_of(const struct outcome *o)
{
    struct said_code code = {{o->enhanced[0], o->enhanced[1], o->enhanced[2]}};
    if (code.part[0] != 0)
        return code;
    for (const char *c = o->text; *c != '\0'; c++) {
        bool begins = c == o->text || (!ascii_is_alnum(c[-1]) && c[-1] != '.');
        const char *at = c;
        if (begins && ascii_is_digit(*c) && take_code(&at, &code) && code.part[0] >= 4 &&
            code.part[0] == o->code / 100)
            return code;
    }
    return (struct said_code){0};
}

static const char *skip_number(const char *text, unsigned *value_out)
{
    *value_out = 0;
    while (ascii_is_digit(*text))
        *value_out = *value_out * 10 + (unsigned)(*text++ - '0');
    return text;
}

// pattern: "5.4.5", "*.2.*", "5.7.606-649".
static bool code_matches(const struct said_code *code, const char *pattern)
{
    if (code->part[0] == 0)
        return false;
    for (int i = 0; i < CODE_PARTS; i++) {
        if (*pattern == '*') {
            pattern++;
        } else {
            unsigned from, to;
            pattern = skip_number(pattern, &from);
            to = from;
            if (*pattern == '-')
                pattern = skip_number(pattern + 1, &to);
            if (code->part[i] < from || code->part[i] > to)
                return false;
        }
        if (*pattern == '.')
            pattern++;
    }
    return *pattern == '\0';
}

// ---- The table ----

struct text_marks {
    uint64_t bits[TRIGRAM_BITS / 64];
};

static unsigned trigram(const char *c)
{
    return ((unsigned)(uint8_t)ascii_lower(c[0]) * 961 + (unsigned)(uint8_t)ascii_lower(c[1]) * 31 +
            (unsigned)(uint8_t)ascii_lower(c[2])) %
           TRIGRAM_BITS;
}

static void mark_text(struct text_marks *marks, struct str text)
{
    memset(marks, 0, sizeof(*marks));
    for (size_t i = 0; i + 3 <= text.len; i++) {
        unsigned t = trigram(text.ptr + i);
        marks->bits[t / 64] |= (uint64_t)1 << t % 64;
    }
}

static bool may_hold(const struct text_marks *marks, const char *pattern)
{
    unsigned t = trigram(pattern + 1); // behind the '*' that every shipped pattern begins with
    return (marks->bits[t / 64] >> t % 64 & 1) != 0;
}

// A gateway that quotes the server behind it: what that one says is about the gateway's own address
// and the recipient, not about our account.
static bool quotes_another(struct str text)
{
    static const char *const signs[] = {"* said: *", "*smtp error from remote*",
                                        "*remote server returned*", "*remote host said*"};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (str_glob(str_of(signs[i]), text))
            return true;
    return false;
}

static bool same_code(uint16_t pattern, uint16_t code)
{
    return pattern == 0 || pattern == code || (pattern < 10 && pattern == code / 100);
}

static enum outcome_scope scope_of_way(const struct conf_gateway *gateway)
{
    return gateway->kind == GATEWAY_DIRECT ? SCOPE_DESTINATION : SCOPE_GATEWAY;
}

// Of a row that names none: as its class says, and a time to rest asks for something that rests.
static enum outcome_scope scope_of_class(const struct conf_reply *r,
                                         const struct conf_gateway *gateway)
{
    switch (r->class) {
    case OUTCOME_OFFLINE: return SCOPE_NETWORK;
    case OUTCOME_AUTH:
    case OUTCOME_QUOTA:
        return gateway->kind == GATEWAY_SMTP ? SCOPE_ACCOUNT : scope_of_way(gateway);
    case OUTCOME_NET:
    case OUTCOME_DNS:
    case OUTCOME_NO_RECORD:
    case OUTCOME_TLS:
    case OUTCOME_REPUTATION: return scope_of_way(gateway);
    case OUTCOME_BUSY: return r->rest_ms > 0 ? scope_of_way(gateway) : SCOPE_NONE;
    default: return SCOPE_NONE;
    }
}

static bool conf_knows(const struct outcome *o, const struct said_code *code,
                       const struct conf *conf, const struct conf_gateway *gateway,
                       struct judge_rule *rule_out)
{
    for (size_t i = 0; conf != NULL && i < conf->reply_count; i++) {
        const struct conf_reply *r = &conf->replies[i];
        if (same_code(r->code, o->code) &&
            (r->enhanced == NULL || code_matches(code, r->enhanced)) &&
            (r->gateway == NULL || str_glob(str_of(r->gateway), str_of(gateway->name))) &&
            (r->text == NULL || str_glob(str_of(r->text), str_of(o->text)))) {
            *rule_out = (struct judge_rule){
                .dialect = "configuration",
                .line = r->line,
                .class = r->class,
                .scope = r->scope != SCOPE_NONE ? r->scope : scope_of_class(r, gateway),
                .rest_ms = r->rest_ms};
            return true;
        }
    }
    return false;
}

static const struct known_reply *table_knows(const struct outcome *o, const struct said_code *code,
                                             enum reply_from from)
{
    struct str text = str_of(o->text);
    struct text_marks marks;
    mark_text(&marks, text);
    for (size_t i = 0; i < known_reply_count; i++) {
        const struct known_reply *k = &known_replies[i];
        if ((k->from == FROM_ANYONE || k->from == from) && same_code(k->code, o->code) &&
            (k->text == NULL || may_hold(&marks, k->text)) &&
            (k->enhanced == NULL || code_matches(code, k->enhanced)) &&
            (k->text == NULL || str_glob(str_of(k->text), text)))
            return k;
    }
    return NULL;
}

// ---- Whose fault ----

static bool is_ours(const struct conf_gateway *gateway)
{
    return gateway->kind == GATEWAY_SMTP;
}

static enum outcome_scope scope_by_phase(const struct outcome *o,
                                         const struct conf_gateway *gateway)
{
    switch (o->phase) {
    case PHASE_RESOLVE:
        if (gateway->kind == GATEWAY_DIRECT &&
            (o->class == OUTCOME_REFUSED || o->class == OUTCOME_NO_RECORD))
            return SCOPE_RECIPIENT;
        return scope_of_way(gateway);
    case PHASE_CONNECT:
    case PHASE_GREETING:
    case PHASE_EHLO:
    case PHASE_TLS: return scope_of_way(gateway);
    case PHASE_AUTH: return SCOPE_ACCOUNT;
    case PHASE_RCPT: return SCOPE_RECIPIENT;
    default: return SCOPE_MESSAGE;
    }
}

bool judge_known(const struct outcome *o, const struct conf *conf,
                 const struct conf_gateway *gateway, struct judge_rule *rule_out)
{
    if (o->code < 400)
        return false;
    struct said_code code = code_of(o);
    if (conf_knows(o, &code, conf, gateway, rule_out))
        return true;
    bool ours = is_ours(gateway), quoted = ours && quotes_another(str_of(o->text));
    const struct known_reply *k =
        table_knows(o, &code, ours && !quoted ? FROM_GATEWAY : FROM_DIRECT);
    if (k == NULL)
        return false;
    *rule_out = (struct judge_rule){.dialect = k->dialect,
                                    .class = k->class,
                                    .scope = k->scope,
                                    .then = k->then,
                                    .rest_ms = k->rest_ms};
    // Block lists know our address, so that is the way's own fault; what else a destination finds
    // wrong is between it and us. A quoted destination is the gateway's, which others can use.
    bool of_way = k->scope == SCOPE_GATEWAY || k->scope == SCOPE_ACCOUNT;
    if (of_way && (quoted || (!ours && k->class != OUTCOME_REPUTATION)))
        rule_out->scope = quoted ? SCOPE_DESTINATION : scope_of_way(gateway);
    return true;
}

// What no row knows.
static void judge_by_phase(struct outcome *o, const struct conf_gateway *gateway)
{
    o->scope = scope_by_phase(o, gateway);
    bool about_us = o->phase == PHASE_GREETING || o->phase == PHASE_EHLO;
    if (o->class == OUTCOME_REFUSED && about_us) {
        // A refusal before MAIL cannot be the message's fault: the server does not want us.
        o->class = OUTCOME_REPUTATION;
    } else if (o->class == OUTCOME_REFUSED && o->phase == PHASE_RESOLVE &&
               gateway->kind != GATEWAY_DIRECT) {
        // The gateway's own name is gone; the recipient's is not in question.
        o->class = OUTCOME_NO_RECORD;
    } else if (o->class == OUTCOME_AUTH && o->code >= 400 && o->code < 500) {
        o->class = OUTCOME_BUSY; // it cannot check passwords now
        o->scope = scope_of_way(gateway);
    } else if (o->code == 421) {
        o->scope = scope_of_way(gateway); // closes the whole way for a while
    }
}

void judge_classify(struct outcome *o, const struct conf *conf, const struct conf_gateway *gateway)
{
    bool replied = o->class == OUTCOME_BUSY || o->class == OUTCOME_REFUSED ||
                   (o->class == OUTCOME_AUTH && o->code != 0);
    // Of direct delivery it is the recipient's domain, unless a proxy's own name is missing.
    if (o->class == OUTCOME_NO_RECORD && o->scope == SCOPE_DESTINATION)
        o->scope = SCOPE_NONE;
    if (!replied) {
        if (o->scope == SCOPE_NONE && o->class != OUTCOME_OK)
            o->scope = o->class == OUTCOME_OFFLINE ? SCOPE_NETWORK : scope_by_phase(o, gateway);
        return;
    }
    struct judge_rule rule;
    if (!judge_known(o, conf, gateway, &rule)) {
        judge_by_phase(o, gateway);
        return;
    }
    o->class = rule.class;
    o->scope = rule.scope != SCOPE_NONE ? rule.scope : scope_by_phase(o, gateway);
}

// ---- What to do ----

static bool blames_way(const struct outcome *o, const struct conf_gateway *gateway)
{
    // A destination behind a gateway is not the gateway: others go on through it.
    return o->scope == SCOPE_GATEWAY || o->scope == SCOPE_ACCOUNT ||
           (o->scope == SCOPE_DESTINATION && !is_ours(gateway));
}

static struct verdict verdict_refused(const struct outcome *o, const struct judge_rule *rule,
                                      const struct conf_gateway *gateway)
{
    // The fault of a gateway, an account, a network never returns a message.
    if (o->scope == SCOPE_NETWORK || o->scope == SCOPE_GATEWAY || o->scope == SCOPE_ACCOUNT ||
        o->scope == SCOPE_DESTINATION)
        return (struct verdict){
            .action = VERDICT_NEXT, .counts = true, .rests_gateway = blames_way(o, gateway)};
    // What our own client could not give to this server (SIZE, SMTPUTF8), and what a gateway says
    // to MAIL that no row knows, is that way's opinion.
    bool not_given = o->code == 0 && o->phase >= PHASE_MAIL;
    bool opinion = is_ours(gateway) && o->phase == PHASE_MAIL && rule->dialect == NULL;
    return (struct verdict){.action = VERDICT_FAIL,
                            .counts = true,
                            .elsewhere = rule->then == THEN_ELSEWHERE || not_given || opinion};
}

static int64_t quota_rest(const struct outcome *o, const struct judge_rule *rule)
{
    struct judge_quota_hint hint;
    if (!judge_quota_hint(o, &hint) || hint.retry_ms == 0)
        return rule->rest_ms > 0 ? rule->rest_ms : HOUR;
    return hint.retry_ms < DAY ? hint.retry_ms : DAY;
}

struct verdict judge_verdict(const struct outcome *o, const struct conf *conf,
                             const struct conf_gateway *gateway)
{
    struct judge_rule rule = {0};
    if (o->class != OUTCOME_OK && (!judge_known(o, conf, gateway, &rule) || rule.class != o->class))
        rule = (struct judge_rule){0};
    bool whole_way = blames_way(o, gateway);
    // "This account may not send as that sender" is true of this sender; others may go on.
    bool this_sender = o->class == OUTCOME_AUTH && o->scope == SCOPE_ACCOUNT &&
                       o->phase >= PHASE_MAIL && rule.rest_ms == 0;
    switch (o->class) {
    case OUTCOME_OK: return (struct verdict){.action = VERDICT_DONE, .counts = true};
    case OUTCOME_OFFLINE: return (struct verdict){.action = VERDICT_NEXT, .rests_gateway = true};
    case OUTCOME_DNS: return (struct verdict){.action = VERDICT_NEXT, .rests_gateway = true};
    case OUTCOME_NO_RECORD:
        // A gateway without a name is a mistake in the configuration; the mail is good.
        if (is_ours(gateway) || o->scope != SCOPE_RECIPIENT)
            return (struct verdict){.action = VERDICT_NEXT, .rests_gateway = true};
        return (struct verdict){.action = VERDICT_FAIL, .counts = true};
    case OUTCOME_NET:
    case OUTCOME_TLS:
        return (struct verdict){.action = VERDICT_NEXT,
                                .counts = true,
                                .rests_gateway = whole_way,
                                .rest_ms = rule.rest_ms};
    case OUTCOME_AUTH:
    case OUTCOME_QUOTA:
    case OUTCOME_REPUTATION:
        // Nothing of this is the message's fault, so it never returns the message; it waits for
        // another way or better times.
        return (struct verdict){.action = VERDICT_NEXT,
                                .rests_gateway = whole_way && !this_sender,
                                .rest_ms = o->class == OUTCOME_QUOTA ? quota_rest(o, &rule)
                                                                     : rule.rest_ms};
    case OUTCOME_BUSY:
        return (struct verdict){.action = rule.then == THEN_SAME_WAY ? VERDICT_RETRY : VERDICT_NEXT,
                                .counts = true,
                                .rests_gateway = whole_way,
                                .rest_ms = rule.rest_ms};
    case OUTCOME_REFUSED: return verdict_refused(o, &rule, gateway);
    case OUTCOME_DOUBT:
        // A way that loses its last word would put all mail in doubt, one after the other.
        return (struct verdict){.action = VERDICT_DOUBT, .counts = true, .rests_gateway = true};
    case OUTCOME_LOCAL: return (struct verdict){.action = VERDICT_AGAIN};
    }
    return (struct verdict){.action = VERDICT_RETRY};
}

enum outcome_class judge_step_class(const struct outcome *o)
{
    return o->class == OUTCOME_NO_RECORD && o->scope != SCOPE_RECIPIENT ? OUTCOME_DNS : o->class;
}

// ---- What a server says of its limits ----

struct words {
    struct str rest, word;
};

static bool next_word(struct words *w)
{
    size_t i = 0;
    while (i < w->rest.len && !ascii_is_alnum(w->rest.ptr[i]))
        i++;
    size_t begin = i;
    while (i < w->rest.len && ascii_is_alnum(w->rest.ptr[i]))
        i++;
    w->word = str_make(w->rest.ptr + begin, i - begin);
    w->rest = str_make(w->rest.ptr + i, w->rest.len - i);
    return w->word.len > 0;
}

static int64_t unit_ms(struct str word)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {
        {"second", 1000},        {"seconds", 1000},  {"sec", 1000},       {"secs", 1000},
        {"minute", 60000},       {"minutes", 60000}, {"min", 60000},      {"mins", 60000},
        {"hour", HOUR},          {"hours", HOUR},    {"hourly", HOUR},    {"day", DAY},
        {"days", DAY},           {"daily", DAY},     {"week", 7LL * DAY}, {"month", 30LL * DAY},
        {"monthly", 30LL * DAY},
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_ieq(word, str_of(units[i].name)))
            return units[i].ms;
    return 0;
}

static bool one_of(struct str word, const char *const *names)
{
    for (; *names != NULL; names++)
        if (str_ieq(word, str_of(*names)))
            return true;
    return false;
}

bool judge_quota_hint(const struct outcome *o, struct judge_quota_hint *out)
{
    static const char *const limits[] = {"limit", "quota", "maximum", "max", "allowed", NULL};
    static const char *const things[] = {"messages", "message",    "emails", "email",
                                         "mails",    "recipients", "of",     "per",
                                         "in",       "a",          NULL};
    static const char *const waits[] = {"again", "retry", "wait", "after", NULL};
    enum { NEAR = 3 }; // words between what belongs together
    const int64_t LONGEST = 366LL * DAY;
    *out = (struct judge_quota_hint){0};
    struct words w = {.rest = str_of(o->text)};
    uint64_t number = 0;
    bool numbered = false; // the word before is a number
    int since_limit = NEAR + 1, since_wait = NEAR + 1;
    while (next_word(&w)) {
        int64_t unit = unit_ms(w.word);
        uint64_t times = numbered && number > 0 ? number : 1;
        bool beyond = unit > 0 && times > (uint64_t)(LONGEST / unit);
        int64_t span = beyond ? LONGEST + 1 : unit * (int64_t)times;
        bool waiting = since_wait <= NEAR, limiting = since_limit <= NEAR;
        if (unit > 0 && numbered && waiting && out->retry_ms == 0 && span <= LONGEST)
            out->retry_ms = span;
        else if (unit > 0 && out->period_ms == 0 && span <= LONGEST)
            out->period_ms = span;
        else if (numbered && limiting && out->amount == 0 && one_of(w.word, things))
            out->amount = number;
        uint64_t before = number;
        bool both = numbered && w.word.ptr[-1] == '/'; // "200/200": used and allowed
        numbered = str_u64(w.word, UINT32_MAX, &number);
        if (both && numbered && before >= number && out->amount == 0)
            out->amount = number;
        since_wait = one_of(w.word, waits) ? 0 : since_wait + 1;
        since_limit = one_of(w.word, limits) ? 0 : since_limit + 1;
    }
    return out->period_ms > 0 || out->amount > 0 || out->retry_ms > 0;
}

const char *judge_scope_name(enum outcome_scope scope)
{
    static const char *const names[] = {"",          "network", "gateway", "account", "destination",
                                        "recipient", "message"};
    return (unsigned)scope < sizeof(names) / sizeof(names[0]) ? names[scope] : "";
}

const char *judge_reason(const struct outcome *o)
{
    switch (o->class) {
    case OUTCOME_OK: return o->relayed ? "accepted by the gateway" : "delivered";
    case OUTCOME_OFFLINE: return "no network, or no route there from here";
    case OUTCOME_NET: return "the connection failed";
    case OUTCOME_DNS: return "the name could not be resolved for now";
    case OUTCOME_TLS: return "no safe encryption";
    case OUTCOME_AUTH: return "the login was refused";
    case OUTCOME_QUOTA: return "the sending allowance is used up";
    case OUTCOME_REPUTATION: return "this way out is not welcome there";
    case OUTCOME_BUSY: return "asked to come again later";
    case OUTCOME_REFUSED: return "refused";
    case OUTCOME_NO_RECORD: return "the name has no record in DNS";
    case OUTCOME_DOUBT: return "no answer after the final dot, so it may have been delivered";
    case OUTCOME_LOCAL: return "not tried";
    }
    return "";
}
