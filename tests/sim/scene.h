// SPDX-License-Identifier: ISC
// The stage for tests of the conductor: the whole daemon in the simulated world, gateways `one` and
// `two`, an exchanger `mx` of direct.example and home.example (the senders'), and a dead one.
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

// A server that does as it is told.
struct server {
    const char *ip;
    const char *greeting, *rcpt, *final; // instead of 220, 250, 250
    const char *only;                    // `rcpt` only for addresses with this part
    bool lose_final, down;
    unsigned connections, asked, mails, rcpts, reports, most_at_once, now;
    int64_t mail_ms[TIMES], asked_ms[TIMES];
    char last[64]; // recipient of the last mail
    struct listener *listener;
};
extern struct server one, two, mx, dead;

extern struct scene {
    struct daemon *daemon;
    struct loop *conductor;
    const char *config;
    uint64_t last_id; // of the mail sent last
    bool reloaded;
} run;

#define HEAD "hostname: relay.example.org\nspool: /spool\nrun: /run\nloops: 1\n"
#define GATEWAYS                                                                                   \
    "gateways:\n  one: {url: \"smtp://10.0.0.1\"}\n  two: {url: \"smtp://10.0.0.2\", priority: "   \
    "low}\n"

int setup(void **state);
int teardown(void **state); // the daemon must come to an orderly end and leave nothing
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

void start(const char *config);
void reload(const char *config);
struct conf *scene_conf(void); // run.config, read
void pass(int64_t ms);         // of virtual time
void send_one(const char *domain);
void send_mail(const char *domain, enum envelope_priority priority,
               size_t rcpts); // user0@domain, user1@domain, ...
uint64_t waiting(void);       // recipients
