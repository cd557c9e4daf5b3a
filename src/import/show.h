// SPDX-License-Identifier: ISC
// What was found, for people and for programs. No password is ever in it.
#pragma once

#include "base/json.h"
#include "import/write.h"

// The list: each gateway, what was left out and why, what could not be read.
void import_show(struct import *im, const struct import_layout *layout, struct buf *out);
// The fields of an object: gateways, left_out, routes, notes, yaml.
void import_json(struct import *im, const struct import_layout *layout, struct json *j);
