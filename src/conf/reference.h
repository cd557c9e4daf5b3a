// SPDX-License-Identifier: ISC
// Pages made from the schema table: nothing is written by hand twice.
#pragma once

#include "base/buf.h"

void conf_reference_markdown(struct buf *out); // docs/reference.md
void conf_schema_json(struct buf *out);        // JSON Schema (draft 2020-12), for editors

// What a key means, for a terminal: a whole path ("queue.retry"), one with real names in it
// ("gateways.isp.url"), a section ("queue"), or the last word alone ("retry"). False when nothing
// fits; then `out` holds a sentence with the nearest key.
bool conf_explain(struct str key, struct buf *out);
