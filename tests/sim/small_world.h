// SPDX-License-Identifier: ISC
// A daemon and a few scripted servers in the simulated world, for tests of gateways: what they
// took, and when; and what they do to those who come.
#pragma once

#include "conf/conf.h"
#include "queue/queue_view.h"
#include "sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

struct taken {
    int64_t at_ms; // mono
    int64_t wall_ms;
    unsigned rcpts;
    size_t bytes;
};

// Texts with CRLF; NULL: the usual.
struct small_server {
    const char *ip;
    const char *greeting, *ehlo, *mail, *rcpt, *final;
    enum world_fate fate;
    int64_t slow_us;        // latency, one way
    unsigned lost_permille; // connections that break somewhere
    unsigned connections, sessions, logins, mails, rcpts, reports;
    struct taken *taken; // of each mail that is no report
    char last[64];       // recipient
    struct listener *listener;
};
enum { SERVERS = 4 };
extern struct small_server one, two, three, mx; // 10.0.0.1, .2, .3, 10.0.1.1 (for direct)

// Changes what was read, before it is in force.
typedef void small_tune(struct conf *conf);
struct conf_gateway *small_gateway(struct conf *conf, const char *name);

void small_new(uint64_t seed); // world and servers
void small_free(void);         // the daemon is stopped if it runs
void small_start(const char *config, small_tune *tune);
void small_stop(void);
void small_crash(enum world_crash how); // start again with small_restart
void small_restart(void);
bool small_running(void);
void small_pass(int64_t ms); // a crash that comes due is made good by another start
void small_reload(const char *config, small_tune *tune);
void small_send(const char *to, enum envelope_priority priority, size_t rcpts, size_t bytes);
void small_send_one(void);
uint64_t small_waiting(void); // recipients
struct queue *small_queue(void);
struct queue_gateway_view *small_gateway_view(const char *name); // until the next call

#define HEAD "hostname: relay.example.org\nspool: /spool\nrun: /run\nloops: 1\n"
