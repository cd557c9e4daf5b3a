// SPDX-License-Identifier: ISC
// The stage for tests of the conductor: the whole daemon in the simulated world, gateways `one`,
// `two` and `three` at 10.0.0.1 to .3, an exchanger `mx` of direct.example and home.example (the
// senders'), and a dead one of dead.example. Who is not there is silent.
#pragma once

#include "main/daemon.h"
#include "mail/envelope.h"
#include "queue/queue_view.h"
#include "sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, TIMES = 4000 };

struct taken {
    int64_t at_ms; // mono
    int64_t wall_ms;
    unsigned rcpts;
    size_t bytes;
};

// A server that does as it is told. Texts with CRLF; NULL: the usual.
struct server {
    const char *ip;
    const char *greeting, *ehlo, *mail, *rcpt, *final;
    const char *only; // `rcpt` only for addresses with this part
    bool lose_final, down;
    enum world_fate fate;
    int64_t slow_us;        // latency, one way
    unsigned lost_permille; // connections that break somewhere
    unsigned connections, sessions, logins, asked, mails, rcpts, reports, most_at_once, now;
    struct taken *taken; // of each mail that is no report
    int64_t asked_ms[TIMES];
    char last[64]; // recipient of the last mail
    struct listener *listener;
};
extern struct server one, two, three, mx, dead;

// Changes what was read, before it is in force.
typedef void scene_tune(struct conf *conf);
struct conf_gateway *tuned_gateway(struct conf *conf, const char *name);

extern struct scene {
    struct daemon *daemon;
    struct loop *conductor;
    const char *config;
    scene_tune *tune;
    uint64_t last_id; // of the mail sent last
    bool reloaded;
} run;

#define OWN_ADDRESS "192.0.2.10"
#define HEAD        "hostname: relay.example.org\nspool: /spool\nrun: /run\nloops: 1\n"
#define GATEWAYS                                                                                   \
    "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n  two: {url: \"smtp://10.0.0.2\", priority: "   \
    "low}\n"

void scene_new(uint64_t seed);
void scene_free(void);
int setup(void **state);
int teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

void start(const char *config);
void start_tuned(const char *config, scene_tune *tune);
void stop(void); // must come to its end and leave nothing; done by teardown if need be
void crash(enum world_crash how);
void restart(void);
void reload(const char *config);
void reload_tuned(const char *config, scene_tune *tune);
struct conf *scene_conf(void); // run.config, read and tuned
void pass(int64_t ms);         // of virtual time; a crash that comes due is made good by a restart
void send_one(const char *domain);
// To user0@domain, user1@domain, ...; `bytes` 0: few.
void send_mail(const char *domain, enum envelope_priority priority, size_t rcpts, size_t bytes);
uint64_t waiting(void);                                          // recipients
const struct queue_gateway_view *gateway_view(const char *name); // until the next call
