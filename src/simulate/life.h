// SPDX-License-Identifier: ISC
// A daemon's life in the simulated world, from the text of its configuration to its orderly end;
// for all who drive it. Linked with --wrap=store_open: its store keeps no index, as SQLite has a
// door of its own to the disk, and what it knows can be rebuilt.
#pragma once

#include "conf/conf.h"
#include "main/daemon.h"
#include "sys/loop.h"

extern uint64_t life_segment_bytes; // of its store; 0: as in earnest

// Reads as the driver would: nothing of it is counted, or comes to harm. `text_only` leaves the
// files alone that it names. NULL when it has mistakes, which stand on standard error then.
struct conf *life_conf(const char *name, struct str text, bool text_only);

// Within world_boot. Takes conf over. False with err; then nothing is left.
bool life_begin(struct conf *conf, struct daemon **daemon_out, struct loop **conductor_out,
                struct err *err);
// From outside. An orderly end, with time for it. False when it does not come to that.
bool life_end(struct daemon **daemon, struct loop **conductor);
