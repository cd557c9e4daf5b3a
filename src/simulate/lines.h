// SPDX-License-Identifier: ISC
// The lines of a story that a command makes and hangs up: networks with `dial`. Driver's side of
// the simulated world.
#pragma once

#include "conf/yaml.h"
#include "sim/world.h"

void lines_new(void);
void lines_free(void);
// `{links: {ppp0: ...}, exit: 0, says: ..., slow: 5s}`: the links that come and go with it. False:
// there are too many lines.
bool line_change(struct str name, const struct yaml_node *traits);
// The command of a network runs, to make the connection or to end it.
void line_run(struct str name, bool up, struct world_program *out);
bool line_counts(struct str name, unsigned *dialled_out, unsigned *hung_up_out);
