// SPDX-License-Identifier: ISC
// Where a message's content is read from, whoever keeps it. The content is in canonical form: lines
// end in CRLF, no dot-stuffing, no bare CR or LF unless the body is BINARYMIME.
#pragma once

#include "base/blob.h"
#include "base/str.h"

#include <sys/types.h>

struct body_source;
struct body_ops {
    // Bytes at offset without waiting: count, 0 at the end, -1 on an error (the disk), -2 when it
    // would have to wait.
    ssize_t (*read_now)(struct body_source *src, uint64_t offset, void *out, size_t len);
    // After -2: makes the range readable, then calls ready(ctx) on the loop this source was made
    // for. At most one at a time.
    void (*fetch)(struct body_source *src, uint64_t offset, size_t len, void (*ready)(void *ctx),
                  void *ctx);
    void (*release)(struct body_source *src); // frees it; a fetch under way is forgotten
};
struct body_source {
    const struct body_ops *ops;
    uint64_t size;
    struct str whole; // all bytes when they are in memory (ptr not NULL), valid until release
};
