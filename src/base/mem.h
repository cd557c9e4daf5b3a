// SPDX-License-Identifier: ISC
// Memory that is there or ends the process; and, for what a peer can make large, memory that may be
// refused.
#pragma once

#include <stddef.h>

// The functions of the allocator. The simulated world installs its own, so that a simulated crash
// can drop everything the crashed daemon held, and so that the Nth allocation can be made to fail.
// Set before the first allocation; not thread-safe to change.
struct mem_hooks {
    void *(*alloc)(size_t size);
    void *(*resize)(void *old, size_t size);
    void (*release)(void *ptr);
};
void mem_set_hooks(const struct mem_hooks *hooks);

// Never return NULL: when memory is out, one line goes to stderr and the process aborts. What was
// answered with 250 is on disk; the next start goes on from there.
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));

// For sizes an outsider chooses (message bodies): NULL when refused; the caller answers 452.
void *mem_try(size_t size) __attribute__((malloc));

// Frees memory of any of the above; NULL is fine.
void xfree(void *ptr);
