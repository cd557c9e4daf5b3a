// SPDX-License-Identifier: ISC
// A small pool of threads for what blocks or burns: password hashes, cold reads, SQL for people.
#pragma once

#include "sys/loop.h"

// `work` runs on some pool thread; then `done` on `home`. The struct is the caller's and must live
// until done ran. At most WORKER_THREADS run at once, the others wait in order. In the simulated
// world: later, on the one thread.
enum { WORKER_THREADS = 4 };
struct work {
    struct post post; // internal
    struct work *next;
    struct loop *home;
    void (*work)(struct work *w);
    void (*done)(struct work *w);
};
void worker_submit(struct work *w);
// Takes back what was submitted, on the thread of `home`. True: it never ran and `done` never
// comes. False: it has run, after a wait if it was under way, and `done` comes as ever.
bool worker_cancel(struct work *w);
// At the end of the process: waits for running work and drops what waits. Call after the loops
// ended and before they are freed.
void worker_stop_all(void);

// Verifies a password against a crypt(3) hash (yescrypt, bcrypt, ...). Blocks for tens of
// milliseconds: workers only.
bool password_verify(const char *password, const char *hash);
// A yescrypt hash; out gets the text. False when the system's libcrypt cannot.
bool password_hash(const char *password, char out[256]);
