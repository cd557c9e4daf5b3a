// SPDX-License-Identifier: ISC
// Workers: side by side, in order, home again; passwords.
#include "base/mem.h"
#include "sys/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct job {
    struct work work;
    struct jobs *jobs;
    int number;
};
struct jobs {
    struct loop *home;
    pthread_t home_thread;
    pthread_barrier_t together;
    sem_t gate;
    int started, total, done;
    struct job job[1000];
};

static void come_home(struct work *w)
{
    struct jobs *jobs = ((struct job *)w)->jobs;
    assert_true(pthread_equal(pthread_self(), jobs->home_thread));
    if (++jobs->done == jobs->total)
        loop_stop(jobs->home);
}

static void never(void *ctx)
{
    fail_msg("the work did not end in time");
}

static void run_jobs(struct jobs *jobs, int total, void (*work)(struct work *w))
{
    struct timer guard;
    jobs->home = loop_new("home");
    jobs->home_thread = pthread_self();
    jobs->total = total;
    timer_init(&guard, jobs->home, never, NULL);
    timer_start(&guard, 60000);
    for (int i = 0; i < total; i++) {
        struct job *job = &jobs->job[i];
        job->work = (struct work){.home = jobs->home, .work = work, .done = come_home};
        job->jobs = jobs;
        job->number = i;
        worker_submit(&job->work);
    }
    loop_run(jobs->home);
    assert_int_equal(jobs->done, total);
    loop_free(&jobs->home);
}

static void meet(struct work *w)
{
    struct jobs *jobs = ((struct job *)w)->jobs;
    assert_false(pthread_equal(pthread_self(), jobs->home_thread));
    pthread_barrier_wait(&jobs->together);
}

static void as_many_as_there_are_threads_run_at_once(void **state)
{
    struct jobs *jobs = xcalloc(1, sizeof(*jobs));
    // Nobody gets past before all are there; so less than WORKER_THREADS at once would hang.
    pthread_barrier_init(&jobs->together, NULL, WORKER_THREADS);
    run_jobs(jobs, WORKER_THREADS * 50, meet);
    pthread_barrier_destroy(&jobs->together);
    xfree(jobs);
}

// All threads but one wait at the gate until the last work opens it: what that one thread does
// shows the order.
static void start_in_order(struct work *w)
{
    struct job *job = (struct job *)w;
    struct jobs *jobs = job->jobs;
    if (job->number < WORKER_THREADS - 1) {
        sem_wait(&jobs->gate);
        return;
    }
    assert_int_equal(job->number, WORKER_THREADS - 1 + jobs->started++);
    if (job->number == jobs->total - 1)
        for (int i = 0; i < WORKER_THREADS - 1; i++)
            sem_post(&jobs->gate);
}

static void work_starts_in_the_order_it_came(void **state)
{
    struct jobs *jobs = xcalloc(1, sizeof(*jobs));
    sem_init(&jobs->gate, 0, 0);
    run_jobs(jobs, 1000, start_in_order);
    assert_int_equal(jobs->started, 1000 - (WORKER_THREADS - 1));
    sem_destroy(&jobs->gate);
    xfree(jobs);
}

static void the_pool_can_be_stopped_and_used_again(void **state)
{
    worker_stop_all();
    worker_stop_all();
    work_starts_in_the_order_it_came(state);
}

static void passwords_fit_their_hash_only(void **state)
{
    char hash[256], other[256];
    assert_true(password_hash("correct horse", hash));
    assert_memory_equal(hash, "$y$", 3);
    assert_true(password_verify("correct horse", hash));
    assert_false(password_verify("correct horsf", hash));
    assert_false(password_verify("", hash));
    assert_true(password_hash("correct horse", other));
    assert_string_not_equal(hash, other); // salted
    hash[strlen(hash) - 1] ^= 1;
    assert_false(password_verify("correct horse", hash));
}

static void foreign_hashes_are_understood(void **state)
{
    // SHA-512, as "openssl passwd -6" makes it.
    static const char sha512[] = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3"
                                 "uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    assert_true(password_verify("Hello world!", sha512));
    assert_false(password_verify("Hello world?", sha512));
}

static void what_is_no_hash_fits_no_password(void **state)
{
    static const char *const bad[] = {"",  "*", "!",   "!!",        "*0",         "*1",
                                      "x", "$", "$y$", "$nope$a$b", "plain text", "$6$"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(password_verify("", bad[i]));
        assert_false(password_verify(bad[i], bad[i]));
    }
}

static int stop(void **state)
{
    worker_stop_all();
    return 0;
}

static pthread_barrier_t gate;
static unsigned came;

static void hold(struct work *w)
{
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
}

static void count(struct work *w)
{
    came++;
    if (came == WORKER_THREADS)
        loop_stop(w->home);
}

static void *let_go(void *arg)
{
    usleep(20 * 1000);
    pthread_barrier_wait(&gate);
    return NULL;
}

static void what_waits_can_be_taken_back_and_what_runs_is_waited_for(void **state)
{
    struct loop *home = loop_new("home");
    struct work work[WORKER_THREADS + 2];
    pthread_t other;
    came = 0;
    pthread_barrier_init(&gate, NULL, WORKER_THREADS + 1);
    for (int i = 0; i < WORKER_THREADS + 2; i++) {
        work[i] = (struct work){.home = home, .work = hold, .done = count};
        worker_submit(&work[i]);
    }
    pthread_barrier_wait(&gate); // as many as there are threads run
    assert_true(worker_cancel(&work[WORKER_THREADS + 1]));
    assert_true(worker_cancel(&work[WORKER_THREADS]));
    pthread_create(&other, NULL, let_go, NULL);
    assert_false(worker_cancel(&work[0]));
    loop_run(home);
    assert_int_equal(came, WORKER_THREADS);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&gate);
    loop_free(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_can_be_taken_back_and_what_runs_is_waited_for),
        cmocka_unit_test(as_many_as_there_are_threads_run_at_once),
        cmocka_unit_test(work_starts_in_the_order_it_came),
        cmocka_unit_test(the_pool_can_be_stopped_and_used_again),
        cmocka_unit_test(passwords_fit_their_hash_only),
        cmocka_unit_test(foreign_hashes_are_understood),
        cmocka_unit_test(what_is_no_hash_fits_no_password),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
