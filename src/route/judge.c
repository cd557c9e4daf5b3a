// SPDX-License-Identifier: ISC
// What an outcome means.
//
// Blame has a scope. A refusal whose text says quota, login, reputation or wrong sender blames the
// gateway or the account even when its code is 5xx: the recipient's mail is not lost for it. The
// table of known replies comes first; what it does not know is judged by phase and code.
#include "route/judge.h"

#include <string.h>

struct known_reply {
    uint16_t code;        // 0: any
    const char *enhanced; // "5.4.5", or NULL for any
    const char *text;     // a glob over the reply text, NULL for any
    bool gateway_only;    // only from a gateway with an account of ours, not from a recipient's MX
    enum outcome_class class;
    enum outcome_scope scope;
};

// First match wins. Keep rows of one class together, the more exact ones first.
static const struct known_reply known_replies[] = {
    // Quota: Gmail and Workspace, Microsoft 365, SendGrid, Mailgun, Brevo, cPanel hosts, generic
    {550, "5.4.5", "*sending*quota*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {550, "5.4.5", "*sending limit*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {550, "5.7.1", "*relay limit exceeded*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*daily*sending*limit*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*maximum credits exceeded*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*submission quota*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*sending quota*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*exceeded*max*emails per hour*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {0, NULL, "*rate limit*", true, OUTCOME_QUOTA, SCOPE_ACCOUNT},
    {432, "4.3.2", "*concurrent connections*", true, OUTCOME_BUSY, SCOPE_ACCOUNT},
    // The account may not send this, or not from here
    {0, NULL, "*not owned by user*", true, OUTCOME_AUTH, SCOPE_ACCOUNT},
    {0, NULL, "*not allowed to send as*", true, OUTCOME_AUTH, SCOPE_ACCOUNT},
    {0, NULL, "*SendAsDenied*", true, OUTCOME_AUTH, SCOPE_ACCOUNT},
    {530, NULL, NULL, false, OUTCOME_AUTH, SCOPE_GATEWAY},
    {0, "5.7.0", "*authentication required*", true, OUTCOME_AUTH, SCOPE_GATEWAY},
    {0, NULL, "*email address is not verified*", true, OUTCOME_AUTH, SCOPE_ACCOUNT},
    {0, NULL, "*relay*denied*", true, OUTCOME_AUTH, SCOPE_GATEWAY},
    {0, NULL, "*relaying*denied*", true, OUTCOME_AUTH, SCOPE_GATEWAY},
    {0, NULL, "*relay not permitted*", true, OUTCOME_AUTH, SCOPE_GATEWAY},
    {0, NULL, "*relay access denied*", true, OUTCOME_AUTH, SCOPE_GATEWAY},
    // Our address is unwelcome
    {0, NULL, "*blocked using*", false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
    {0, NULL, "*blocklist*", false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
    {0, NULL, "*blacklist*", false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
    {0, NULL, "*spamhaus*", false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
    {0, NULL, "*part of their network is on our block list*", false, OUTCOME_REPUTATION,
     SCOPE_GATEWAY},
    {0, "5.7.25", NULL, false, OUTCOME_REPUTATION, SCOPE_GATEWAY}, // RFC 7372: reverse DNS
    {0, "5.7.606", NULL, false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
    {0, NULL, "*does not meet ipv6 sending guidelines*", false, OUTCOME_REPUTATION, SCOPE_GATEWAY},
};

static bool enhanced_is(const struct outcome *o, const char *text)
{
    struct str rest = str_of(text), part;
    for (size_t i = 0; i < 3; i++) {
        uint64_t n;
        // X.7.606 does not fit a byte and is kept as its low byte; compare likewise.
        if (!str_split(&rest, '.', &part) || !str_u64(part, 999, &n) ||
            o->enhanced[i] != (uint8_t)n)
            return false;
    }
    return true;
}

static const struct known_reply *look_up(const struct outcome *o,
                                         const struct conf_gateway *gateway)
{
    for (size_t i = 0; i < sizeof(known_replies) / sizeof(known_replies[0]); i++) {
        const struct known_reply *k = &known_replies[i];
        if ((k->code == 0 || k->code == o->code) &&
            (!k->gateway_only || gateway->kind == GATEWAY_SMTP) &&
            (k->enhanced == NULL || enhanced_is(o, k->enhanced)) &&
            (k->text == NULL || str_glob(str_of(k->text), str_of(o->text))))
            return k;
    }
    return NULL;
}

static enum outcome_scope scope_by_phase(const struct outcome *o,
                                         const struct conf_gateway *gateway)
{
    switch (o->phase) {
    case PHASE_RESOLVE:
        if (gateway->kind == GATEWAY_DIRECT && o->class == OUTCOME_REFUSED)
            return SCOPE_RECIPIENT;
        return gateway->kind == GATEWAY_DIRECT ? SCOPE_DESTINATION : SCOPE_GATEWAY;
    case PHASE_CONNECT:
    case PHASE_GREETING:
    case PHASE_EHLO:
    case PHASE_TLS: return gateway->kind == GATEWAY_DIRECT ? SCOPE_DESTINATION : SCOPE_GATEWAY;
    case PHASE_AUTH: return SCOPE_ACCOUNT;
    case PHASE_RCPT: return SCOPE_RECIPIENT;
    default: return SCOPE_MESSAGE;
    }
}

void judge_classify(struct outcome *o, const struct conf *conf, const struct conf_gateway *gateway)
{
    if (o->class != OUTCOME_BUSY && o->class != OUTCOME_REFUSED) {
        if (o->scope == SCOPE_NONE && o->class != OUTCOME_OK)
            o->scope = o->class == OUTCOME_OFFLINE ? SCOPE_NETWORK : scope_by_phase(o, gateway);
        return;
    }
    const struct known_reply *known = o->code != 0 ? look_up(o, gateway) : NULL;
    if (known != NULL) {
        o->class = known->class;
        o->scope = known->scope;
        return;
    }
    o->scope = scope_by_phase(o, gateway);
    // A refusal before MAIL cannot be the message's fault: the server does not want us.
    bool about_us = o->phase == PHASE_GREETING || o->phase == PHASE_EHLO;
    if (o->class == OUTCOME_REFUSED && about_us)
        o->class = OUTCOME_REPUTATION;
    // 421 and any trouble before MAIL close the whole way for a while, not this recipient.
    if (o->code == 421)
        o->scope = gateway->kind == GATEWAY_DIRECT ? SCOPE_DESTINATION : SCOPE_GATEWAY;
}

struct verdict judge_verdict(const struct outcome *o, const struct conf *conf,
                             const struct conf_gateway *gateway)
{
    enum { HOUR = 3600 * 1000 };
    bool whole_way =
        o->scope == SCOPE_GATEWAY || o->scope == SCOPE_ACCOUNT || o->scope == SCOPE_DESTINATION;
    // "This account may not send as that sender" is true of this sender; others may go on.
    bool this_sender =
        o->class == OUTCOME_AUTH && o->scope == SCOPE_ACCOUNT && o->phase >= PHASE_MAIL;
    switch (o->class) {
    case OUTCOME_OK: return (struct verdict){.action = VERDICT_DONE, .counts = true};
    case OUTCOME_OFFLINE: return (struct verdict){.action = VERDICT_NEXT, .rests_gateway = true};
    case OUTCOME_DNS: return (struct verdict){.action = VERDICT_NEXT, .rests_gateway = true};
    case OUTCOME_NET:
    case OUTCOME_TLS:
        return (struct verdict){.action = VERDICT_NEXT, .counts = true, .rests_gateway = whole_way};
    case OUTCOME_AUTH:
    case OUTCOME_QUOTA:
    case OUTCOME_REPUTATION:
        // Nothing of this is the message's fault, so it never returns the message; it waits for
        // another way or better times.
        return (struct verdict){.action = VERDICT_NEXT,
                                .rests_gateway =
                                    !this_sender && (gateway->kind != GATEWAY_DIRECT || whole_way),
                                .rest_ms = o->class == OUTCOME_QUOTA ? HOUR : 0};
    case OUTCOME_BUSY:
        return (struct verdict){.action = VERDICT_NEXT, .counts = true, .rests_gateway = whole_way};
    case OUTCOME_REFUSED: return (struct verdict){.action = VERDICT_FAIL, .counts = true};
    case OUTCOME_DOUBT:
        // A way that loses its last word would put all mail in doubt, one after the other.
        return (struct verdict){.action = VERDICT_DOUBT, .counts = true, .rests_gateway = true};
    case OUTCOME_LOCAL: return (struct verdict){.action = VERDICT_AGAIN};
    }
    return (struct verdict){.action = VERDICT_RETRY};
}

const char *judge_reason(const struct outcome *o)
{
    switch (o->class) {
    case OUTCOME_OK: return o->relayed ? "accepted by the gateway" : "delivered";
    case OUTCOME_OFFLINE: return "this machine has no network";
    case OUTCOME_NET: return "the connection failed";
    case OUTCOME_DNS: return "the name could not be resolved for now";
    case OUTCOME_TLS: return "no safe encryption";
    case OUTCOME_AUTH: return "the login was refused";
    case OUTCOME_QUOTA: return "the sending allowance is used up";
    case OUTCOME_REPUTATION: return "this way out is not welcome there";
    case OUTCOME_BUSY: return "asked to come again later";
    case OUTCOME_REFUSED: return "refused";
    case OUTCOME_DOUBT: return "no answer after the final dot, so it may have been delivered";
    case OUTCOME_LOCAL: return "not tried";
    }
    return "";
}
