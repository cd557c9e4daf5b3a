// SPDX-License-Identifier: ISC
// Every key of the configuration in one table. The reader, the reference page, the JSON schema and
// `waypost config explain` are made from it.
#pragma once

#include "base/buf.h"
#include "conf/conf.h"

enum conf_type {
    CONF_SECTION,    // keys of its own; the rows below its path
    CONF_NAMED,      // names a person chooses, each with the keys below
    CONF_RECORDS,    // a list of maps with the keys below
    CONF_BOOL,       // bool
    CONF_INT,        // integer of the field's size; a row's words stand for numbers
    CONF_ENUM,       // int, one of the row's words
    CONF_CLASSED,    // int for each priority: one word for all, or a map of them by class
    CONF_SIZE,       // uint64_t bytes
    CONF_TIME,       // int64_t ms; `never` is 0 where 0 is allowed
    CONF_TIMES,      // const int64_t * + size_t
    CONF_RATE,       // uint32_t, and int64_t ms at `more`
    CONF_STRING,     // const char *
    CONF_HOST,       // const char *
    CONF_MAILBOX,    // const char *
    CONF_PATH,       // const char *, relative to the configuration's directory
    CONF_IP,         // struct net_addr
    CONF_ADDRESSES,  // const struct net_addr * + size_t
    CONF_RANGES,     // const struct net_range * + size_t
    CONF_WORDS,      // const char *const * + size_t, as they are
    CONF_GLOBS,      // const char *const * + size_t
    CONF_MAIL_GLOBS, // the same over addresses: a domain alone stands for all in it
    CONF_SERVERS,    // const char *const *, ended by NULL
    CONF_URL,        // a gateway's url; fills several fields
    CONF_SECRET,     // const char *
    CONF_CHAIN,      // a route's via: names, or maps with the keys below
    CONF_GATEWAY,    // uint32_t index of the gateway named
    CONF_GATEWAYS,   // const uint32_t * + size_t
    CONF_SET,        // uint32_t set of 1 << the value of a word
    CONF_PERCENT,    // 32 bits
    CONF_PRICE,      // struct conf_price
    CONF_IPS,        // const struct net_addr * + size_t, without ports
    CONF_ZONE,       // const char *, the name of a time zone
    CONF_ENHANCED,   // const char *
    CONF_STICKY,     // enum conf_sticky, and int64_t ms at `more`
    CONF_SOCKS,      // const struct conf_socks *
    CONF_PLACES,     // uint64_t set of networks; those with ! to `more`, if there is one
    CONF_CLIENTS,    // a route's globs, and ranges, to their own places
    CONF_HEADERS,    // const struct conf_header * + size_t
    CONF_HOURS,      // const struct conf_hours * + size_t
};

struct conf_word {
    const char *word;
    int value;
};

// Lists keep their count at `more`.
struct conf_key {
    const char *path; // "queue.retry", "listeners.NAME.address", "routes[].to"
    enum conf_type type;
    const char *fallback; // the default as it would be written; NULL: none
    const char *unset;    // without a fallback: what holds then, in words; NULL: must be set
    int64_t min, max;
    const struct conf_word *words; // ended by a NULL word
    const char *example;
    const char *help; // whole sentences, for users
    uint16_t offset, size, more;
};

extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;

// Words of the design that come later, and keys that stand elsewhere: refused with this sentence.
struct conf_future {
    const char *path;
    const char *instead; // what to do meanwhile; NULL: nothing to say
    bool moved;          // available, under `limits`
};
extern const struct conf_future conf_futures[];
extern const size_t conf_future_count;

const struct conf_key *conf_key_find(const char *path); // exact; NULL when unknown

// The part of `key`'s path behind `prefix` when it is a key directly there ("queue." for
// "queue.retry"), else NULL.
const char *conf_key_under(const char *path, const char *prefix);

// The key as it stands in the file: the path behind the last NAME or [].
const char *conf_key_name(const struct conf_key *key);

// The nearest of some words to what was typed, or NULL when none is near. Begin with a zeroed one,
// offer each, then ask.
struct conf_nearest {
    const char *word;
    unsigned distance;
};
void conf_nearest_offer(struct conf_nearest *n, struct str typed, const char *word);

const char *conf_type_words(const struct conf_key *key); // "a time such as 90s, 5m, 4h or 5d"
