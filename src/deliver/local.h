// SPDX-License-Identifier: ISC
// Delivery on this machine: jobs whose gateway is a maildir or a program (deliver/sink.h). As
// deliver.h says of all jobs; one recipient after the other. One loop, whose thread calls.
//
// A message is given as unix has it: lines end in LF, with Return-Path (RFC 5321 section 4.4) and
// Delivered-To (RFC 9228) in front.
#pragma once

#include "deliver/deliver.h"

struct locals;
struct locals *locals_new(struct loop *loop);
void locals_free(struct locals **locals); // jobs under way end as OUTCOME_LOCAL
void local_submit(struct locals *locals, struct deliver_job *job);

// CRLF as LF, over pieces: `kept` is whether the last piece ended in a CR whose LF may come. Writes
// at most len + 1 bytes and returns how many.
size_t local_unix_lines(bool *kept, const char *in, size_t len, char *out);
