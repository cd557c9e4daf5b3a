// SPDX-License-Identifier: ISC
// How the threads of this process are born. Not for other rooms.
#pragma once

#include <pthread.h>

// Without signals, which are main's, and with a stack of LIMIT_THREAD_STACK. 0, or an errno value.
int thread_start(pthread_t *thread_out, void *(*run)(void *arg), void *arg);
