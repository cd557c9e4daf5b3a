// SPDX-License-Identifier: ISC
// The judge: whatever a server says, the verdict is defined, judging is the same before and after,
// and no fault of a gateway returns a message.
#include "route/judge.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What stands in a record is cut and escaped before the judge sees it, but never trusted.
static void fill(struct outcome *o, const uint8_t *data, size_t size)
{
    o->code = (uint16_t)(400 + data[1] % 200);
    o->phase = (enum outcome_phase)(PHASE_GREETING + data[2] % (PHASE_FINAL - PHASE_GREETING + 1));
    o->class = o->phase == PHASE_AUTH ? OUTCOME_AUTH
               : o->code < 500        ? OUTCOME_BUSY
                                      : OUTCOME_REFUSED;
    memcpy(o->enhanced, data + 3, sizeof(o->enhanced));
    size_t len = size - 6 < sizeof(o->text) - 1 ? size - 6 : sizeof(o->text) - 1;
    memcpy(o->text, data + 6, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct conf_gateway gateways[] = {{.name = "direct", .kind = GATEWAY_DIRECT},
                                                   {.name = "company", .kind = GATEWAY_SMTP},
                                                   {.name = "boxes", .kind = GATEWAY_LMTP}};
    static const struct conf_reply replies[] = {
        {.gateway = "c*", .enhanced = "5.7.600-", .text = "*a*b*", .class = OUTCOME_QUOTA},
        {.code = 5, .enhanced = "*.*", .text = "*?*?*", .class = OUTCOME_BUSY}};
    static const struct conf conf = {.replies = replies, .reply_count = 2};
    if (size < 6)
        return 0;
    struct outcome o = {0};
    fill(&o, data, size);
    const struct conf_gateway *gateway = &gateways[data[0] % 3];
    const struct conf *rows = data[0] & 0x80 ? &conf : NULL;
    struct judge_rule before, after;
    bool known = judge_known(&o, rows, gateway, &before);
    judge_classify(&o, rows, gateway);
    assert(o.scope >= SCOPE_NETWORK && o.scope <= SCOPE_MESSAGE);
    assert(judge_known(&o, rows, gateway, &after) == known);
    assert(!known || (before.class == after.class && before.scope == after.scope));
    struct verdict v = judge_verdict(&o, rows, gateway);
    assert(v.action == VERDICT_NEXT || v.action == VERDICT_RETRY || v.action == VERDICT_FAIL);
    assert(v.action != VERDICT_FAIL || (o.class == OUTCOME_REFUSED && o.scope >= SCOPE_RECIPIENT));
    assert(v.rest_ms >= 0);
    struct judge_quota_hint hint;
    if (judge_quota_hint(&o, &hint))
        assert(hint.period_ms >= 0 && hint.retry_ms >= 0);
    return 0;
}
