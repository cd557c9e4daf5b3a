// SPDX-License-Identifier: ISC
// Writing JSON (RFC 8259), no tree: each call appends to a buffer; commas are put by themselves.
#pragma once

#include "base/buf.h"

struct json {
    struct buf *out;
    bool comma; // a value already stands before at this level
};

static inline struct json json_to(struct buf *out)
{
    return (struct json){out, false};
}

// The beginning of an answer of a command, {"schema": 1, ...: docs/manual/json.md.
struct json json_answer(struct buf *out);

// `key` is NULL inside arrays and at the top. Bytes that are not UTF-8 become U+FFFD.
void json_open(struct json *j, const char *key);       // {
void json_open_array(struct json *j, const char *key); // [
void json_close(struct json *j);                       // }
void json_close_array(struct json *j);                 // ]
void json_str(struct json *j, const char *key, struct str value);
void json_text(struct json *j, const char *key, const char *value); // NULL writes null
void json_int(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
