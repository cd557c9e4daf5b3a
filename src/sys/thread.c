// SPDX-License-Identifier: ISC
// How the threads of this process are born.
#include "sys/thread.h"
#include "base/limits.h"

#include <signal.h>
#include <stddef.h>

int thread_start(pthread_t *thread_out, void *(*run)(void *arg), void *arg)
{
    // A thread inherits the mask it is born with.
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, LIMIT_THREAD_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread_out, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc;
}
