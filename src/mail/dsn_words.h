// SPDX-License-Identifier: ISC
// What an outcome is called in a delivery report: its status code (RFC 3463), and in plain words
// what happened and what the sender can do.
#pragma once

#include "mail/dsn.h"

const char *dsn_subject(enum dsn_kind kind); // of the report
enum { DSN_STATUS_MAX = 16 };
const char *dsn_status(enum dsn_kind kind, const struct dsn_rcpt *r, char text[DSN_STATUS_MAX]);
const char *dsn_action(enum dsn_kind kind, const struct dsn_rcpt *r);
// Sentences; the second may be "" (the first says all).
const char *dsn_reason(const struct dsn_rcpt *r);
const char *dsn_detail(const struct dsn_rcpt *r);
const char *dsn_advice(enum dsn_kind kind, const struct dsn_rcpt *r); // "" when there is none
