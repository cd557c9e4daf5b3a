// SPDX-License-Identifier: ISC
// What the sources of this room share while one configuration is read. Not for other rooms.
#pragma once

#include "conf/schema.h"
#include "conf/yaml.h"

struct reader {
    struct conf *conf;   // being filled
    struct arena *arena; // the snapshot's
    struct arena *tree;  // gone when the reading is done
    struct conf_source source;
    struct conf_report *report;
    struct yaml_node *root;
    bool others_may_read;               // the file itself
    const struct yaml_node *plain_text; // the first password that stands in the file as it is
    // The places of what stands in conf, by the same index; NULL for what is built in.
    const struct yaml_node **listener_at, **gateway_at, **route_at;
};

// `at` NULL: the file as a whole.
void reader_error(struct reader *r, const struct yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reader_warn(struct reader *r, const struct yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// "; did you mean `x`?" or "".
const char *reader_suggest(struct reader *r, const struct conf_nearest *nearest);

// `text`, not too long; of a url only the scheme, because a password may stand in it.
const char *reader_quote(struct reader *r, struct str text);

// The path as it is opened: relative ones start at the configuration's directory.
const char *reader_path(struct reader *r, struct str path);

// Reads a value into base + key->offset. False after reader_error.
bool value_read(struct reader *r, const struct conf_key *key, const struct yaml_node *node,
                void *base);
// The row's fallback, if it has one.
void value_default(struct reader *r, const struct conf_key *key, void *base);
// "1h", "20m", "90s": as it would be written.
const char *value_time_text(struct arena *arena, int64_t ms);
const char *value_size_text(struct arena *arena, int64_t bytes); // "50MiB"
bool value_is_host(struct str text);

// The secret a node names. NULL after reader_error.
const char *secret_read(struct reader *r, const struct yaml_node *node);

// Fills in kind, host, port, tls, user and password from the url; what separate keys of the entry
// say goes before it. False after reader_error.
bool url_read(struct reader *r, const struct yaml_node *entry, const struct yaml_node *node,
              struct conf_gateway *g);

// What is wrong only when several keys are seen together.
void check_all(struct reader *r);
