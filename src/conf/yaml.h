// SPDX-License-Identifier: ISC
// A YAML text as a tree of plain values with their places. Only the part of YAML that a person can
// follow is taken: no anchors, aliases, merge keys, duplicate keys, several documents, or keys that
// are not plain text. Scalars keep their text: what `no` means is the schema's business.
#pragma once

#include "conf/report.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    bool plain;      // a scalar without quotes
    struct str text; // of a scalar
    struct str tag;  // "!file"; empty without
    struct conf_place place;
    struct yaml_node *key;          // of a value inside a map: its key
    struct yaml_node *first, *next; // the items, the values; the next beside this one
    size_t count;
};

enum { YAML_MAX_DEPTH = 16 };

// NULL when there were errors, which then stand in the report. An empty text is an empty map. The
// tree lives in the arena and borrows nothing from the text.
struct yaml_node *yaml_parse(struct conf_source *source, struct arena *arena,
                             struct conf_report *report);

// The value of `key`, or NULL; `map` may be NULL or no map.
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

// Nothing stands there: `key:`, `key: ~`, `key: null`.
bool yaml_is_empty(const struct yaml_node *node);
