// SPDX-License-Identifier: ISC
// A loop with what it takes to ask servers, for commands that ask by themselves.
#pragma once

#include "deliver/probe.h"

struct probing {
    struct loop *loop;
    struct names *names;
    struct deliver *deliver;
};

// `names_ms`: how long a look-up may take. False with err, and nothing is open.
bool probing_open(struct probing *p, const struct conf *conf, int64_t names_ms, struct err *err);
void probing_close(struct probing *p);
