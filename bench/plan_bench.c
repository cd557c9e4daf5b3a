// SPDX-License-Identifier: ISC
// plan_bench: what one decision costs, with 20 gateways and 200 rules of which none, the first or
// the last applies. Prints the median of many rounds, in nanoseconds a recipient. A round is short,
// so that on a busy machine few are interrupted.
#include "conf/conf.h"
#include "route/plan.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { GATEWAYS = 21, RULES = 200, ROUNDS = 1001, PER_ROUND = 200 };

static struct conf_gateway gateways[GATEWAYS]; // the first is direct
static struct conf_network networks[8];
static struct conf_route rules[RULES];
static struct plan_gateway states[GATEWAYS];
static char names[GATEWAYS + RULES][2][64];
static const char *globs[RULES];
static const struct conf_step via[] = {{.gateway = 1}, {.gateway = 2}, {.gateway = 3}};

static void fill(struct conf *conf)
{
    for (uint32_t i = 0; i < GATEWAYS; i++) {
        snprintf(names[i][0], sizeof(names[i][0]), "gateway%u", i);
        gateways[i] = (struct conf_gateway){.name = names[i][0],
                                            .index = i,
                                            .kind = i == 0 ? GATEWAY_DIRECT : GATEWAY_SMTP,
                                            .host = "smtp.example.org",
                                            .enabled = true,
                                            .priority = 10 * (1 + (int)(i * 7 % 5)),
                                            .weight = 1 + i % 3,
                                            .networks = i % 3 == 0 ? 1u << i % 8 : 0};
    }
    for (unsigned i = 0; i < RULES; i++) {
        char *name = names[GATEWAYS + i][0];
        snprintf(name, sizeof(names[0][0]), "*@customer%u.example.org", i);
        globs[i] = name;
        rules[i] = (struct conf_route){
            .to = &globs[i], .to_count = 1, .via = via, .via_count = 3, .line = i + 1};
        // Every tenth asks for something else as well.
        if (i % 10 == 9)
            rules[i].networks = 1u << i % 8;
        if (i % 10 == 4)
            rules[i].larger = 1 << 20;
    }
    *conf = (struct conf){.gateways = gateways,
                          .gateway_count = GATEWAYS,
                          .routes = rules,
                          .route_count = RULES,
                          .networks = networks,
                          .network_count = 8,
                          .choice = {.automatic = true, .subnet = true}};
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int64_t measure(struct plan_input *in)
{
    static int64_t took[ROUNDS];
    uint64_t sum = 0;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t begin = clock_mono_us();
        for (int i = 0; i < PER_ROUND; i++) {
            in->share = (uint64_t)(r * PER_ROUND + i);
            sum += plan_next(in).gateway;
        }
        took[r] = clock_mono_us() - begin;
    }
    qsort(took, ROUNDS, sizeof(took[0]), by_value);
    return sum == 0 ? 0 : took[ROUNDS / 2] * 1000 / PER_ROUND;
}

int main(void)
{
    struct conf conf;
    fill(&conf);
    struct envelope envelope = {.sender = STR("sender@home.example.org"),
                                .client = STR("192.0.2.7"),
                                .priority = PRIORITY_NORMAL};
    struct plan_place place = {.networks = 5, .picked = UINT32_MAX};
    static const struct {
        const char *what, *rcpt;
    } cases[] = {{"no rule, another domain", "someone@elsewhere.example.com"},
                 {"no rule, a like domain", "someone@client.example.org"},
                 {"the first rule", "someone@customer0.example.org"},
                 {"the last rule but some", "someone@customer198.example.org"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan_input in = {.conf = &conf,
                                .gateways = states,
                                .place = &place,
                                .envelope = &envelope,
                                .rcpt = str_of(cases[i].rcpt),
                                .size = 4096,
                                .now_ms = 1000000};
        printf("plan  %-26s %6lld ns\n", cases[i].what, (long long)measure(&in));
    }
    return 0;
}
