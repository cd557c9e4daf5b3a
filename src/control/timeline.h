// SPDX-License-Identifier: ISC
// What happened to one message, told to a person or as JSON.
#pragma once

#include "control/command.h"
#include "spool/index.h"

// `states`: what became of each recipient so far.
void timeline_head(struct reply *r, const struct index_message *m, bool states);
// The events from number `first` on; with the dialogues that were kept.
void timeline_events(struct reply *r, const struct index_message *m, size_t first,
                     bool transcripts);
// One object on one line.
void timeline_json(struct reply *r, const struct index_message *m, bool transcripts);

// One message on one line, for lists.
void timeline_list_head(struct reply *r);
void timeline_list_line(struct reply *r, const struct index_message *m);
void timeline_list_json(struct reply *r, const struct index_message *m);
