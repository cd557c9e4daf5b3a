// SPDX-License-Identifier: ISC
// Shared immutable bytes.
#include "base/blob.h"
#include "base/mem.h"

static atomic_size_t total;

struct blob *blob_try_new(size_t cap)
{
    struct blob *blob = mem_try(sizeof(*blob) + cap);
    if (blob == NULL)
        return NULL;
    atomic_init(&blob->refs, 1);
    blob->len = 0;
    blob->cap = cap;
    atomic_fetch_add(&total, cap);
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void blob_unref(struct blob **blob)
{
    struct blob *b = *blob;
    *blob = NULL;
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub(&total, b->cap);
    xfree(b);
}

void blob_forget_all(void)
{
    atomic_store(&total, 0);
}

size_t blob_total(void)
{
    return atomic_load(&total);
}
