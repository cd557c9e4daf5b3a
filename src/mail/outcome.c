// SPDX-License-Identifier: ISC
// Names of outcomes.
#include "mail/outcome.h"

static const char *const class_names[OUTCOME_CLASSES] = {
    "ok",         "offline", "net",     "dns",   "tls",   "auth",      "quota",
    "reputation", "busy",    "refused", "doubt", "local", "no-record",
};

const char *outcome_class_name(enum outcome_class class)
{
    return (unsigned)class < OUTCOME_CLASSES ? class_names[class] : "unknown";
}

bool outcome_class_parse(struct str name, enum outcome_class *class_out)
{
    for (unsigned i = 0; i < OUTCOME_CLASSES; i++) {
        if (str_ieq(name, str_of(class_names[i]))) {
            *class_out = (enum outcome_class)i;
            return true;
        }
    }
    return false;
}

const char *outcome_phase_name(enum outcome_phase phase)
{
    static const char *const names[] = {
        "",     "resolving",     "connecting",   "waiting for the greeting",
        "EHLO", "TLS handshake", "logging in",   "MAIL",
        "RCPT", "DATA",          "sending body", "after the final dot",
    };
    return (unsigned)phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "";
}
