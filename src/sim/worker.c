// SPDX-License-Identifier: ISC
// Work for later, on a loop of its own that stands for the pool's threads.
#include "sim/inside.h"
#include "sys/worker.h"

#include "base/crc32c.h"

static struct loop *pool;

static void work_done(struct post *post)
{
    struct work *w = container_of(post, struct work, post);
    w->done(w);
}

static void work_run(struct post *post)
{
    struct work *w = container_of(post, struct work, post);
    w->work(w);
    w->post.run = work_done;
    loop_post(w->home, &w->post);
}

void worker_submit(struct work *w)
{
    SIM_CALL;
    if (pool == NULL) {
        sim.owner = SIM_CALLER; // the pool is the daemon's
        pool = loop_new("worker");
        loop_start(pool);
        sim.owner = SIM_WORLD;
    }
    w->post.run = work_run;
    loop_post(pool, &w->post);
}

bool worker_cancel(struct work *w)
{
    SIM_CALL;
    return false; // what was posted comes
}

void worker_stop_all(void)
{
    SIM_CALL;
    if (pool == NULL)
        return;
    loop_stop(pool);
    loop_join(pool);
    loop_free(&pool);
}

void worker_crash(void)
{
    pool = NULL; // it goes with the daemon's other loops
}

bool password_hash(const char *password, char out[256])
{
    snprintf(out, 256, "$sim$%08x", crc32c(0, password, strlen(password)));
    return true;
}

bool password_verify(const char *password, const char *hash)
{
    SIM_CALL;
    sim_spend_us(5000 + (int64_t)sim_below(50000));
    char text[256];
    password_hash(password, text);
    return strcmp(text, hash) == 0;
}
