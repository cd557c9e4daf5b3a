// SPDX-License-Identifier: ISC
// The servers of a story: one for each gateway of the configuration, one for each mail exchanger.
// They take all mail unless the story says otherwise. Driver's side of the simulated world.
#pragma once

#include "conf/conf.h"
#include "simulate/story.h"

struct server;

// `stored` hears of each mail that a server took: where, for whom, and its number (0: not one of
// the story's own, a report).
typedef void server_stored(void *ctx, const char *server, const char *rcpt, unsigned number,
                           const char *sender);
void servers_new(const struct story *story, server_stored *stored, void *ctx);
void servers_free(void);

// Servers for gateways that have none yet, and names for them in the simulated DNS.
void servers_for_conf(const struct conf *conf);
// The mail exchangers of a domain, unless they are there.
void servers_for_domain(const char *domain);
// The addresses the machine has now: for servers that are only reached from some.
void servers_own_addresses(const struct net_range *own, size_t count);

// What a story does to them. False: no such server.
bool server_change(struct str name, const struct yaml_node *traits);
// A sentence about the change: "isp answers 550 ... to RCPT".
void server_tell(const struct yaml_node *traits, struct buf *out);
void servers_block(const struct yaml_node *what); // ports; NULL: nothing is blocked any more
bool server_counts(struct str name, unsigned *mails_out, unsigned *connections_out);
const char *server_near(struct str name); // the nearest name, NULL: none
