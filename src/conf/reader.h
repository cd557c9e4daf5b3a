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
    const struct yaml_node **listener_at, **gateway_at, **route_at, **network_at, **reply_at;
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

bool reader_wants_map(struct reader *r, const struct yaml_node *node, const char *what);
// The keys of one map into the struct they belong to. Named entries and records wait: they are read
// in their own order.
void reader_map(struct reader *r, const struct yaml_node *map, const char *prefix, void *base);
void reader_defaults(struct reader *r, const char *prefix, void *base);
// Errors for the keys under `prefix` that must be set and are not.
void reader_require(struct reader *r, const struct yaml_node *map, const char *prefix);
void reader_missing(struct reader *r, const struct yaml_node *at, const struct conf_key *key);
// Is `name` there after all, but misspelt?
bool reader_misspelt(const struct yaml_node *map, const char *prefix, const char *name);
// The items of a CONF_RECORDS list: counted, or NULL when there are none.
const struct yaml_node *reader_records(struct reader *r, const char *key, size_t *count_out);

// Reads a value into base + key->offset. False after reader_error. Names of networks and gateways
// are known only after these were read.
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

// The urls for this machine: maildir, pipe, sendmail. False after reader_error.
bool local_is(struct str url);
bool local_read(struct reader *r, const struct yaml_node *entry, const struct yaml_node *node,
                struct conf_gateway *g);

// A gateway's proxy; NULL after reader_error.
const struct conf_socks *socks_read(struct reader *r, const struct yaml_node *entry,
                                    const struct yaml_node *node, struct conf_gateway *g);

// Names of gateways and networks, once those were read. False after reader_error.
bool value_gateway(struct reader *r, const struct yaml_node *at, uint32_t *index_out);
// Into `set`, or with a ! in front into `not_set` (NULL: not possible).
bool value_network(struct reader *r, const struct yaml_node *at, uint64_t *set, uint64_t *not_set);

// Routes, and what is made into routes.
void routes_read(struct reader *r);
void route_chain(struct reader *r, const struct yaml_node *node, struct conf_route *route);
void route_clients(struct reader *r, const struct yaml_node *node, struct conf_route *route);
void route_headers(struct reader *r, const struct yaml_node *node, struct conf_route *route);
// `mode` and `gateways` into `via`; and errors for what belongs to another mode.
void preset_expand(struct reader *r, const struct yaml_node *at, struct conf_route *route);
// The route that `smarthost` stands for. False when there is none.
bool preset_smarthost(struct reader *r, struct conf_route *route);

// "mon-fri 08:00-18:00": at most 7. 0 when it is not well written.
enum { HOURS_MAX = 7 };
size_t hours_parse(struct str text, struct conf_hours out[HOURS_MAX]);
// As it would be written, for one of them: "mon 08:00-18:00".
const char *hours_text(struct arena *arena, struct conf_hours hours);

// What is wrong only when several keys are seen together.
void check_all(struct reader *r);
void check_ways(struct reader *r); // its part for networks, limits, conditions and replies
