// SPDX-License-Identifier: ISC
// A story: what happens to a machine and its mail over some hours, as a person writes it down.
//
//   title: the company's relay is only asked at the office
//   config: {...}                      # or by --config: the user's own
//   servers: {isp: {from: [192.168.178.0/24]}}
//   domains: {example.net: [mx1.example.net, mx2.example.net]}
//   story:
//     - at: "08:00"
//       links: {eth0: 10.20.3.4/24}
//       mail: {name: offer, from: me@example.org, to: you@example.net}
//     - after: 1m
//       expect: {mail: offer, is: relayed, via: company}
#pragma once

#include "base/arena.h"
#include "base/netaddr.h"
#include "conf/report.h"
#include "conf/yaml.h"
#include "mail/envelope.h"

enum verb {
    VERB_LINKS,
    VERB_CONNECTION,
    VERB_MAIL,
    VERB_SERVER,
    VERB_LINE,
    VERB_BLOCK,
    VERB_DNS,
    VERB_CLOCK,
    VERB_CRASH,
    VERB_PICK,
    VERB_FORGET,
    VERB_RELOAD,
    VERB_RETRY,
    VERB_HOLD,
    VERB_NOW,
    VERB_SEND_AT,
    VERB_RELEASE,
    VERB_DROP,
    VERB_RESTORE,
    VERB_EXPECT,
    VERB_NOTE,
    VERBS
};

// One thing that happens. The details stay YAML until it does: they are checked when the story is
// read.
struct deed {
    enum verb verb;
    const struct yaml_node *what;
    struct deed *next;
};
struct step {
    int64_t at_ms;    // since the beginning, when no step takes time of its own
    int64_t after_ms; // `after`: from the end of the step before; -1: `at` a time of day
    unsigned line;
    struct deed *deeds;
    struct step *next;
};

struct story_server {
    const char *name;               // of a gateway or a mail exchanger
    const struct yaml_node *traits; // how it is at the beginning
    struct story_server *next;
};
struct story_domain {
    const char *name;
    const struct yaml_node *mx; // list of hosts; empty: has none (null MX); "none": no such domain
    struct story_domain *next;
};

struct story {
    struct arena *arena;
    struct conf_source source;
    const char *file, *title;
    int64_t start_ms; // wall clock
    int zone_minutes;
    struct str config;  // YAML text; empty: by --config
    const char *sender; // of mail that names none
    struct story_server *servers;
    struct story_domain *domains;
    struct step *steps;
    const struct yaml_node *extra_configs; // `configs`: named texts for reload
};

// NULL with everything that is wrong in the report. The text is copied.
struct story *story_read(const char *file, struct str text, struct conf_report *report);
void story_free(struct story **story);

// "08:00", "08:00:30" of a day as ms since midnight. False on anything else.
bool story_clock(struct str text, int64_t *ms_out);

// The text of a scalar below a map, or a default.
struct str story_text(const struct yaml_node *map, const char *key, const char *unset);
// A value as a list: what is no list is a list of one. NULL has nothing in it.
const struct yaml_node *story_first(const struct yaml_node *value);
const struct yaml_node *story_next(const struct yaml_node *value, const struct yaml_node *item);
