// SPDX-License-Identifier: ISC
// Tries what was found: each server is asked up to EHLO, or up to the login, as the gateway made of
// it would be. No mail is sent.
#pragma once

#include "base/json.h"
#include "import/write.h"

struct import_try; // the results, in the order of im->found

// `yaml`: the configuration made of it. Passwords in clear are used, and commands for them run,
// only with `login`. NULL with err. All of them at once; as long as the slowest takes.
struct import_try *import_try(struct import *im, struct str yaml, bool login, struct err *err);
void import_try_free(struct import_try **t);

bool import_try_all_work(const struct import_try *t);
void import_try_say(const struct import_try *t, struct buf *out); // lines for people
void import_try_json(const struct import_try *t, struct json *j); // the array `tried`
