// SPDX-License-Identifier: ISC
// Plays a story: the whole daemon with a configuration, in the simulated world.
#pragma once

#include "base/json.h"
#include "simulate/story.h"

struct play_options {
    uint64_t seed;
    bool follow;  // print everything as it happens
    bool details; // the daemon's own log, too
};

// What was not as the story expects, a line each, with its place in the file.
struct play_result {
    unsigned expectations, failures;
    struct buf faults;
    struct buf tales; // as text, or one JSON object
};

// `config` is YAML; `name` stands for it in messages. False with err: it could not be played at all
// (a mistake in the configuration, an unknown name).
bool play(const struct story *story, const char *config_name, struct str config,
          const struct play_options *options, bool json, struct play_result *result,
          struct err *err);
