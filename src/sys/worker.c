// SPDX-License-Identifier: ISC
// A first-in first-out queue before a few threads, started when first needed; and the one thing
// most of them do, password hashes.
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/worker.h"
#include "sys/thread.h"

#include <assert.h>
#include <crypt.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    pthread_cond_t ended; // some work was posted home
    struct work *first;
    struct work **end; // where the next one is linked, NULL before the first use
    pthread_t threads[WORKER_THREADS];
    const struct work *running[WORKER_THREADS]; // only to be compared
    int thread_count;
    int queued;
    int idle; // includes those that were woken but do not run yet
    bool stopping;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .ready = PTHREAD_COND_INITIALIZER,
          .ended = PTHREAD_COND_INITIALIZER};

static void run_done(struct post *post)
{
    struct work *w = (struct work *)post;
    w->done(w);
}
_Static_assert(offsetof(struct work, post) == 0, "a work is posted as its first member");

static void *thread_main(void *arg)
{
    const struct work **running = arg;
    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.first == NULL && !pool.stopping) {
            pool.idle++;
            pthread_cond_wait(&pool.ready, &pool.lock);
            pool.idle--;
        }
        if (pool.stopping)
            break;
        struct work *w = pool.first;
        pool.first = w->next;
        pool.queued--;
        if (pool.first == NULL)
            pool.end = &pool.first;
        *running = w;
        pthread_mutex_unlock(&pool.lock);
        w->work(w);
        w->post.run = run_done;
        loop_post(w->home, &w->post);
        pthread_mutex_lock(&pool.lock);
        *running = NULL;
        pthread_cond_broadcast(&pool.ended);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void add_thread(void)
{
    int rc = thread_start(&pool.threads[pool.thread_count], thread_main,
                          &pool.running[pool.thread_count]);
    if (rc == 0) {
        pool.thread_count++;
    } else if (pool.thread_count == 0) {
        fprintf(stderr, "waypost: cannot start a worker thread: %s\n", strerrordesc_np(rc));
        abort();
    }
}

void worker_submit(struct work *w)
{
    w->next = NULL;
    pthread_mutex_lock(&pool.lock);
    assert(!pool.stopping);
    if (pool.end == NULL)
        pool.end = &pool.first;
    *pool.end = w;
    pool.end = &w->next;
    pool.queued++;
    if (pool.queued > pool.idle && pool.thread_count < WORKER_THREADS)
        add_thread();
    pthread_cond_signal(&pool.ready);
    pthread_mutex_unlock(&pool.lock);
}

static bool is_running(const struct work *w)
{
    for (int i = 0; i < pool.thread_count; i++)
        if (pool.running[i] == w)
            return true;
    return false;
}

bool worker_cancel(struct work *w)
{
    bool waited = false;
    pthread_mutex_lock(&pool.lock);
    struct work **at = &pool.first;
    while (*at != NULL && *at != w)
        at = &(*at)->next;
    if (*at == w) {
        *at = w->next;
        if (pool.end == &w->next)
            pool.end = at;
        pool.queued--;
        waited = true;
    }
    while (!waited && is_running(w))
        pthread_cond_wait(&pool.ended, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    return waited;
}

void worker_stop_all(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.ready);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.thread_count; i++)
        pthread_join(pool.threads[i], NULL);
    pool.thread_count = 0;
    pool.first = NULL;
    pool.end = NULL;
    pool.queued = 0;
    pool.stopping = false;
}

static bool same_text(const char *a, const char *b)
{
    // The time it takes does not tell how much was right.
    size_t len = strlen(a);
    if (len != strlen(b))
        return false;
    unsigned char differ = 0;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

bool password_verify(const char *password, const char *hash)
{
    // "", "*", "!" and the like stand for "no password fits" in every password file.
    if (hash[0] == '\0' || hash[0] == '*' || hash[0] == '!')
        return false;
    struct crypt_data *data = xcalloc(1, sizeof(*data)); // 32 KiB: too much for a small stack
    const char *made = crypt_r(password, hash, data);
    bool right = made != NULL && made[0] != '*' && same_text(made, hash);
    explicit_bzero(data, sizeof(*data));
    xfree(data);
    return right;
}

bool password_hash(const char *password, char out[256])
{
    char seed[32], salt[CRYPT_GENSALT_OUTPUT_SIZE];
    random_bytes(seed, sizeof(seed));
    if (crypt_gensalt_rn("$y$", 0, seed, sizeof(seed), salt, sizeof(salt)) == NULL)
        return false;
    struct crypt_data *data = xcalloc(1, sizeof(*data));
    const char *made = crypt_r(password, salt, data);
    bool good = made != NULL && made[0] != '*' && strlen(made) < 256;
    if (good)
        memcpy(out, made, strlen(made) + 1);
    explicit_bzero(data, sizeof(*data));
    xfree(data);
    return good;
}
