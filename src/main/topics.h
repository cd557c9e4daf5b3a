// SPDX-License-Identifier: ISC
// `waypost help TOPIC`: what spans several commands, on one screen each, without a network.
#pragma once

struct help_topic {
    const char *name;
    const char *title;
    const char *text; // whole lines
};
extern const struct help_topic help_topics[]; // ends with name NULL
// NULL: there is none.
const struct help_topic *help_topic_find(const char *name);
