// SPDX-License-Identifier: ISC
// Outcomes in words. Everything here is a row of a table.
#include "mail/dsn_words.h"

#include <stdio.h>

// By class of trouble. Subject and detail stand in for a status code the server did not give.
static const struct {
    uint8_t subject, detail;
    const char *reason, *advice;
} classes[OUTCOME_CLASSES] = {
    [OUTCOME_OK] = {0, 0, "No attempt was made.",
                    "Ask the administrator of this system."}, // DSN_FAILURE
    [OUTCOME_OFFLINE] = {4, 1, "This system had no connection to the network.",
                         "Ask the administrator of this system."},
    [OUTCOME_NET] = {4, 1, "The receiving server could not be reached.",
                     "Check the part of the address behind the @. If it is right, try again later, "
                     "or reach the recipient in another way."},
    [OUTCOME_DNS] = {4, 3, "The receiving domain could not be looked up.",
                     "Check the part of the address behind the @. If it is right, try again later, "
                     "or reach the recipient in another way."},
    [OUTCOME_TLS] = {7, 5, "No connection to the receiving server was as secure as it has to be.",
                     "Ask the administrator of this system, or of the recipient's."},
    [OUTCOME_AUTH] = {7, 0, "The mail provider did not let this system log in.",
                      "Ask the administrator of this system; sending again will not help until "
                      "that is put right."},
    [OUTCOME_QUOTA] = {3, 2, "The mail provider's allowance for sending is used up.",
                       "Send it again later, or ask the administrator of this system."},
    [OUTCOME_REPUTATION] = {7, 1, "The receiving server does not take mail from this system.",
                            "Ask the administrator of this system; the fault is not in your "
                            "message."},
    [OUTCOME_BUSY] = {3, 2, "The receiving server was not ready and asked to try later.",
                      "Try again later, or reach the recipient in another way."},
    [OUTCOME_REFUSED] = {0, 0, "The receiving server refused the message.",
                         "What the server says may tell what to change."},
    [OUTCOME_NO_RECORD] = {1, 2, "The receiving domain does not exist, or has no mail server.",
                           "Check the part of the address behind the @."},
    [OUTCOME_DOUBT] = {4, 2,
                       "The connection was lost while the receiving server was confirming the "
                       "message. It may have arrived.",
                       "Ask the recipient whether it arrived before you send it again."},
    [OUTCOME_LOCAL] = {3, 0, "There was trouble on this system.",
                       "Ask the administrator of this system."},
};

// By the detail of an enhanced status code, for refusals and for "come again".
static const struct {
    uint8_t subject, detail;
    const char *what, *advice;
} known[] = {
    {1, 1, "There is no such address at that server.",
     "Check the address for a mistake in writing, or ask the recipient for the right one in "
     "another way."},
    {1, 2, "There is no such domain, or it has no mail server.",
     "Check the part of the address behind the @."},
    {1, 3, "The server holds the address to be wrongly written.",
     "Check how the address is written."},
    {1, 6, "The recipient has moved and left no new address.",
     "Ask the recipient for the new address in another way."},
    {1, 8, "The server does not accept your own address as a sender.",
     "Check the sender address your program uses."},
    {1, 10, "The domain says that it takes no mail at all.",
     "Check the part of the address behind the @."},
    {2, 1, "The mailbox is closed.", "Reach the recipient in another way."},
    {2, 2, "The mailbox is full.", "Try again later, or reach the recipient in another way."},
    {2, 3, "The message is larger than the recipient may get.",
     "Make it smaller, or send a link instead of an attachment."},
    {3, 4, "The message is larger than the server takes.",
     "Make it smaller, or send a link instead of an attachment."},
    {4, 6, "The message went round in a circle between servers.",
     "Only the administrators of the servers named in its header can put that right."},
    {6, 7,
     "The address or the header is written in letters that a server on the way does not take.",
     "Use an address in ASCII, if the recipient has one."},
    {7, 1, "The server says that its rules do not allow it.", ""},
    {7, 26, "The server could not confirm that the message comes from the domain it names.",
     "Ask the administrator of your domain (SPF, DKIM, DMARC)."},
};

const char *dsn_subject(enum dsn_kind kind)
{
    static const char *const subjects[] = {
        "Your message could not be delivered",
        "Your message is delayed",
        "Your message was passed on",
    };
    return subjects[kind];
}

static int row_of(const struct dsn_rcpt *r)
{
    const struct outcome *o = r->outcome;
    if (o->class != OUTCOME_REFUSED && o->class != OUTCOME_NO_RECORD && o->class != OUTCOME_BUSY)
        return -1;
    for (int i = 0; i < (int)(sizeof(known) / sizeof(known[0])); i++)
        if (known[i].subject == o->enhanced[1] && known[i].detail == o->enhanced[2])
            return i;
    return -1;
}

static enum outcome_class class_of(const struct outcome *o)
{
    return (unsigned)o->class < OUTCOME_CLASSES ? o->class : OUTCOME_LOCAL;
}

const char *dsn_reason(const struct dsn_rcpt *r)
{
    return classes[class_of(r->outcome)].reason;
}

const char *dsn_detail(const struct dsn_rcpt *r)
{
    int row = row_of(r);
    return row >= 0 ? known[row].what : "";
}

const char *dsn_advice(enum dsn_kind kind, const struct dsn_rcpt *r)
{
    int row = row_of(r);
    if (kind != DSN_FAILURE)
        return "";
    return row >= 0 && known[row].advice[0] != '\0' ? known[row].advice
                                                    : classes[class_of(r->outcome)].advice;
}

const char *dsn_action(enum dsn_kind kind, const struct dsn_rcpt *r)
{
    return kind == DSN_FAILURE ? "failed"
           : kind == DSN_DELAY ? "delayed"
           : r->delivered      ? "delivered"
                               : "relayed";
}

// The first digit belongs to the report, the other two to the server as far as it gave them. What
// was given up by time is 4.4.7 (RFC 3463 section 3.5).
const char *dsn_status(enum dsn_kind kind, const struct dsn_rcpt *r, char text[DSN_STATUS_MAX])
{
    const struct outcome *o = r->outcome;
    unsigned digit = kind == DSN_FAILURE ? 5 : kind == DSN_DELAY ? 4 : 2;
    unsigned subject = classes[class_of(o)].subject, detail = classes[class_of(o)].detail;
    if (kind == DSN_SUCCESS)
        subject = detail = 0;
    if (o->enhanced[0] != 0 && (kind == DSN_SUCCESS) == (o->enhanced[0] == 2)) {
        subject = o->enhanced[1];
        detail = o->enhanced[2];
    }
    if (kind == DSN_FAILURE && r->expired) {
        digit = 4;
        subject = 4;
        detail = 7;
    }
    snprintf(text, DSN_STATUS_MAX, "%u.%u.%u", digit, subject, detail);
    return text;
}
