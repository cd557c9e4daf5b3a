// SPDX-License-Identifier: ISC
// The parameters behind the addresses of MAIL and RCPT, and the argument of BDAT.
#pragma once

#include "mail/envelope.h"
#include "proto/smtp_server_reply.h"

enum { SMTP_ENVID_MAX = 100, SMTP_ORCPT_MAX = 500 }; // RFC 3461 sections 4.4 and 4.2, decoded
enum { SMTP_HOLD_MAX_S = 999999999 };                // RFC 4865 section 4: at most nine digits

struct smtp_mail_params {
    bool has_size;
    uint64_t size;                   // RFC 1870
    enum envelope_body body;         // RFC 6152, 3030
    bool smtputf8;                   // RFC 6531
    enum envelope_ret ret;           // RFC 3461
    enum envelope_priority priority; // RFC 6710, in the three steps of its MIXER profile
    char envid[SMTP_ENVID_MAX + 1];  // decoded
    // RFC 4865: HOLDFOR, in seconds, or HOLDUNTIL, wall clock; never both, 0: not given
    uint32_t hold_s;
    int64_t hold_until_ms;
};

struct smtp_rcpt_params {
    uint8_t notify;                 // a set of NOTIFY_*
    char orcpt[SMTP_ORCPT_MAX + 1]; // "rfc822;user@example.org": type as given, address decoded
};

// `in` is what stands behind the address. False: the reply is filled (501 or 555), what was parsed
// is undefined. A parameter given twice is refused.
bool smtp_mail_params_parse(struct str in, struct smtp_mail_params *params_out,
                            struct smtp_server_reply *reply);
bool smtp_rcpt_params_parse(struct str in, struct smtp_rcpt_params *params_out,
                            struct smtp_server_reply *reply);

// "<octets> [LAST]" (RFC 3030). False: nobody can tell where the chunk would end.
bool smtp_bdat_parse(struct str in, uint64_t *octets_out, bool *last_out);
