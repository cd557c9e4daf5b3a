// SPDX-License-Identifier: ISC
// MX first; A and then AAAA only where there is none.
#include "accept/origin.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>

struct origin_query {
    struct names *names;
    struct names_query *query;
    enum names_type type; // being asked
    void (*done)(void *ctx, enum origin origin);
    void *ctx;
    char domain[LIMIT_DOMAIN + 1];
};

static void on_answer(void *ctx, const struct names_answer *answer);

static void ask(struct origin_query *q, enum names_type type)
{
    q->type = type;
    q->query = names_lookup(q->names, q->domain, type, on_answer, q);
}

static void on_answer(void *ctx, const struct names_answer *answer)
{
    struct origin_query *q = ctx;
    q->query = NULL;
    if (answer->status == NAMES_NODATA && q->type != NAMES_AAAA) {
        ask(q, q->type == NAMES_MX ? NAMES_A : NAMES_AAAA);
        return;
    }
    enum origin origin = ORIGIN_FINE;
    if (answer->status == NAMES_NXDOMAIN)
        origin = ORIGIN_UNKNOWN;
    else if (answer->status == NAMES_NODATA)
        origin = ORIGIN_NO_HOST;
    else if (answer->status == NAMES_OK && q->type == NAMES_MX && answer->count == 1 &&
             answer->records[0].name[0] == '\0')
        origin = ORIGIN_NULL_MX;
    void (*done)(void *, enum origin) = q->done;
    void *up = q->ctx;
    xfree(q);
    done(up, origin);
}

struct origin_query *origin_ask(struct names *names, const char *domain,
                                void (*done)(void *ctx, enum origin origin), void *ctx)
{
    if (domain[0] == '\0' || domain[0] == '[')
        return NULL;
    struct origin_query *q = xcalloc(1, sizeof(*q));
    q->names = names;
    q->done = done;
    q->ctx = ctx;
    snprintf(q->domain, sizeof(q->domain), "%s", domain);
    ask(q, NAMES_MX);
    return q;
}

void origin_cancel(struct origin_query **query)
{
    if (*query == NULL)
        return;
    names_cancel(&(*query)->query);
    xfree(*query);
    *query = NULL;
}
