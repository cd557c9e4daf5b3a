// SPDX-License-Identifier: ISC
// ESMTP parameters: one table row each.
#include "proto/smtp_params.h"

#include "base/limits.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "mail/xtext.h"

// What a row's parser sees. `why` is set when it returns false.
struct param_call {
    struct str value;
    struct smtp_mail_params *mail;
    struct smtp_rcpt_params *rcpt;
    const char *why;
};

struct param {
    const char *name;
    bool (*parse)(struct param_call *call);
    bool needs_value;
};

static bool fail(struct param_call *call, const char *why)
{
    call->why = why;
    return false;
}

// Decodes xtext into a terminated text; controls are refused, because what comes out of here goes
// into reports.
static bool decode(struct param_call *call, struct str in, char *out, size_t size)
{
    struct buf b;
    buf_init(&b, size - 1);
    bool ok = xtext_decode(&b, in) && !b.full;
    for (size_t i = 0; ok && i < b.len; i++)
        ok = (unsigned char)b.data[i] >= 0x20 && b.data[i] != 0x7f;
    ok = ok && utf8_valid(buf_str(&b));
    if (ok && b.len > 0)
        memcpy(out, b.data, b.len);
    out[ok ? b.len : 0] = '\0';
    buf_free(&b);
    return ok || fail(call, "must be xtext (RFC 3461) without control characters, and not so long");
}

static bool parse_size(struct param_call *call)
{
    call->mail->has_size = true;
    // More digits than a number of 64 bits holds: too large for anybody, which the caller says.
    bool digits = call->value.len > 0 && call->value.len <= 20;
    for (size_t i = 0; digits && i < call->value.len; i++)
        digits = ascii_is_digit(call->value.ptr[i]);
    if (!digits)
        return fail(call, "must be a number of octets, at most 20 digits");
    if (!str_u64(call->value, UINT64_MAX, &call->mail->size))
        call->mail->size = UINT64_MAX;
    return true;
}

static bool parse_body(struct param_call *call)
{
    if (str_ieq(call->value, STR("7BIT")))
        call->mail->body = BODY_7BIT;
    else if (str_ieq(call->value, STR("8BITMIME")))
        call->mail->body = BODY_8BITMIME;
    else if (str_ieq(call->value, STR("BINARYMIME")))
        call->mail->body = BODY_BINARYMIME;
    else
        return fail(call, "must be 7BIT, 8BITMIME or BINARYMIME");
    return true;
}

static bool parse_smtputf8(struct param_call *call)
{
    call->mail->smtputf8 = true;
    return call->value.ptr == NULL || fail(call, "takes no value");
}

static bool parse_ret(struct param_call *call)
{
    if (str_ieq(call->value, STR("FULL")))
        call->mail->ret = RET_FULL;
    else if (str_ieq(call->value, STR("HDRS")))
        call->mail->ret = RET_HDRS;
    else
        return fail(call, "must be FULL or HDRS");
    return true;
}

static bool parse_envid(struct param_call *call)
{
    return decode(call, call->value, call->mail->envid, sizeof(call->mail->envid));
}

// Who wrote it first (RFC 4954 section 5). Nobody here trusts it; it is only checked.
static bool parse_auth(struct param_call *call)
{
    char text[LIMIT_PATH + 1];
    return str_eq(call->value, STR("<>")) || decode(call, call->value, text, sizeof(text));
}

static bool parse_priority(struct param_call *call)
{
    struct str digits = call->value;
    bool below = str_starts(digits, STR("-"));
    if (below)
        digits = str_make(digits.ptr + 1, digits.len - 1);
    uint64_t value;
    if (digits.len != 1 || !str_u64(digits, 9, &value))
        return fail(call, "must be -9 to 9");
    if (below && value > 0)
        call->mail->priority = PRIORITY_LOW;
    else
        call->mail->priority = value >= 4 ? PRIORITY_URGENT : PRIORITY_NORMAL;
    return true;
}

static bool holds(struct param_call *call)
{
    return call->mail->hold_s != 0 || call->mail->hold_until_ms != 0;
}

static bool parse_hold_for(struct param_call *call)
{
    uint64_t seconds;
    if (holds(call))
        return fail(call, "and HOLDUNTIL exclude each other");
    if (call->value.len > 9 || !str_u64(call->value, SMTP_HOLD_MAX_S, &seconds) || seconds == 0)
        return fail(call, "must be a number of seconds, 1 to 999999999");
    call->mail->hold_s = (uint32_t)seconds;
    return true;
}

static bool parse_hold_until(struct param_call *call)
{
    if (holds(call))
        return fail(call, "and HOLDFOR exclude each other");
    if (!time_parse_rfc3339(call->value, &call->mail->hold_until_ms))
        return fail(call, "must be a moment such as 2026-12-24T18:00:00Z (RFC 3339)");
    if (call->mail->hold_until_ms <= 0)
        call->mail->hold_until_ms = 1; // long past, as any other moment that is
    return true;
}

static bool parse_notify(struct param_call *call)
{
    static const struct {
        const char *name;
        uint8_t bit;
    } names[] = {{"NEVER", NOTIFY_NEVER},
                 {"SUCCESS", NOTIFY_SUCCESS},
                 {"FAILURE", NOTIFY_FAILURE},
                 {"DELAY", NOTIFY_DELAY}};
    struct str rest = call->value, word;
    uint8_t set = 0;
    while (str_split(&rest, ',', &word)) {
        uint8_t bit = 0;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (str_ieq(word, str_of(names[i].name)))
                bit = names[i].bit;
        }
        if (bit == 0)
            return fail(call, "must be NEVER, or of SUCCESS,FAILURE,DELAY");
        set |= bit;
    }
    if (set == 0 || ((set & NOTIFY_NEVER) != 0 && set != NOTIFY_NEVER))
        return fail(call, "must be NEVER alone, or of SUCCESS,FAILURE,DELAY");
    call->rcpt->notify = set;
    return true;
}

static bool parse_orcpt(struct param_call *call)
{
    struct str address = call->value, type;
    if (!str_split(&address, ';', &type) || type.len == 0 || type.len > 32 || address.len == 0)
        return fail(call, "must be TYPE;ADDRESS");
    for (size_t i = 0; i < type.len; i++) {
        if (!ascii_is_alnum(type.ptr[i]) && type.ptr[i] != '-')
            return fail(call, "must be TYPE;ADDRESS");
    }
    char *out = call->rcpt->orcpt;
    memcpy(out, type.ptr, type.len);
    out[type.len] = ';';
    size_t used = type.len + 1;
    return decode(call, address, out + used, sizeof(call->rcpt->orcpt) - used);
}

static const struct param mail_params[] = {{"SIZE", parse_size, true},
                                           {"BODY", parse_body, true},
                                           {"SMTPUTF8", parse_smtputf8, false},
                                           {"RET", parse_ret, true},
                                           {"ENVID", parse_envid, true},
                                           {"AUTH", parse_auth, true},
                                           {"MT-PRIORITY", parse_priority, true},
                                           {"HOLDFOR", parse_hold_for, true},
                                           {"HOLDUNTIL", parse_hold_until, true}};

static const struct param rcpt_params[] = {{"NOTIFY", parse_notify, true},
                                           {"ORCPT", parse_orcpt, true}};

static bool parse_one(struct str word, const struct param *table, size_t count, unsigned *seen,
                      struct param_call *call, struct smtp_server_reply *reply)
{
    size_t at = str_find(word, '=');
    struct str name = str_make(word.ptr, at);
    call->value = at < word.len ? str_make(word.ptr + at + 1, word.len - at - 1) : (struct str){0};
    for (size_t i = 0; i < count; i++) {
        if (!str_ieq(name, str_of(table[i].name)))
            continue;
        bool ok = (*seen & 1U << i) == 0 || fail(call, "is given twice");
        ok = ok && (!table[i].needs_value || call->value.len > 0 || fail(call, "needs a value"));
        *seen |= 1U << i;
        if (!ok || !table[i].parse(call)) {
            smtp_server_reply_set(reply, 501, "5.5.4", "parameter %s %s", table[i].name, call->why);
            return false;
        }
        return true;
    }
    smtp_server_reply_set(reply, 555, "5.5.4", "parameter %.*s is not known here; leave it out",
                          (int)(name.len < 64 ? name.len : 64), name.ptr);
    return false;
}

static bool parse_all(struct str in, const struct param *table, size_t count,
                      struct param_call *call, struct smtp_server_reply *reply)
{
    unsigned seen = 0;
    struct str word;
    while (str_split(&in, ' ', &word)) {
        if (word.len > 0 && !parse_one(word, table, count, &seen, call, reply))
            return false;
    }
    return true;
}

bool smtp_mail_params_parse(struct str in, struct smtp_mail_params *params_out,
                            struct smtp_server_reply *reply)
{
    *params_out = (struct smtp_mail_params){.priority = PRIORITY_NORMAL};
    struct param_call call = {.mail = params_out};
    return parse_all(in, mail_params, sizeof(mail_params) / sizeof(mail_params[0]), &call, reply);
}

bool smtp_rcpt_params_parse(struct str in, struct smtp_rcpt_params *params_out,
                            struct smtp_server_reply *reply)
{
    params_out->notify = 0;
    params_out->orcpt[0] = '\0';
    struct param_call call = {.rcpt = params_out};
    return parse_all(in, rcpt_params, sizeof(rcpt_params) / sizeof(rcpt_params[0]), &call, reply);
}

bool smtp_bdat_parse(struct str in, uint64_t *octets_out, bool *last_out)
{
    struct str rest = str_trim(in), word;
    if (!str_split(&rest, ' ', &word) || !str_u64(word, UINT64_MAX, octets_out))
        return false;
    rest = str_trim(rest);
    *last_out = str_ieq(rest, STR("LAST"));
    return *last_out || rest.len == 0;
}
