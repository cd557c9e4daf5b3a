// SPDX-License-Identifier: ISC
// Immutable bytes shared between threads by counted references: a body on its way from a client to
// disk and next hop.
#pragma once

#include "base/str.h"

#include <stdatomic.h>

// Written by its one owner until first shared; after that nobody writes `data` or `len`.
struct blob {
    atomic_uint refs;
    size_t len;
    size_t cap;
    char data[];
};

struct blob *blob_try_new(size_t cap); // one reference, len 0; NULL when memory is refused
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob **blob); // NULL is fine; clears the pointer

// Bytes held by all blobs of the process, for the ceiling LIMIT_BODY_MEMORY.
size_t blob_total(void);
// All blobs went at once with the memory they lay in: the simulated world's crash alone.
void blob_forget_all(void);
