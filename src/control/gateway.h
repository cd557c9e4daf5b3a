// SPDX-License-Identifier: ISC
// The gateways as `status`, `gateway list` and `gateway show` tell of them.
#pragma once

#include "control/command.h"

enum { GATEWAYS_SHOWN = 200 };

struct gateways {
    size_t count;
    struct queue_gateway_view *views;
    const char *active;  // ordinary mail would take it now; NULL: none
    char why[QUEUE_WHY]; // why it, or why none
    const char *picked;  // by hand; NULL: none
    int64_t until_ms;    // the pick holds until then; 0: no end by time
};
void gateways_look(struct reply *r, struct gateways *out); // in the reply's arena

void gateways_table(struct reply *r, const struct gateways *g);
void gateways_json(struct reply *r, struct json *j, const struct gateways *g); // several keys
void gateways_send_json(struct reply *r, const struct gateways *g); // as the whole answer

// "until 16:00 or `waypost gateway auto`": how long the pick holds.
const char *gateways_pick_ends(struct reply *r, int64_t until_ms);

unsigned gateway_score(const struct queue_gateway_view *v); // percent

// Does it stay in trouble until somebody does something? (a refused login, a wrong certificate)
bool gateway_needs_person(const struct queue_gateway_view *v);
// Recipients of the whole month, if it goes on as until now.
uint64_t gateway_month_forecast(const struct queue_gateway_view *v, int64_t now_ms);
