// SPDX-License-Identifier: ISC
// The store alone: accepts with so many outstanding, whole life cycles, and the time and memory to
// open a large backlog.
//
//   spool_bench DIR accept [messages] [bytes] [outstanding]   each one stays in the queue
//   spool_bench DIR life [messages] [bytes] [outstanding]     each one is relayed at once
//   spool_bench DIR open                                      opens what is there
#include "base/mem.h"
#include "spool/store.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct {
    struct store *store;
    struct loop *loop, *conductor;
    uint64_t total, size, outstanding, begun, done, adopted;
    bool life;
    char *text;
    struct waiting {
        struct store_commit commit;
        int64_t begin_us;
    } * slots;
    int64_t *latencies;
} b;

static void on_adopt(void *ctx, struct store_message *m)
{
    b.adopted++;
    store_message_free(&m);
}

static void on_accepted(void *ctx, struct store_message *m)
{
    if (b.life) {
        struct store_rcpt_result r = {.state = RCPT_RELAYED, .tries = 1};
        r.outcome.code = 250;
        snprintf(r.outcome.where, sizeof(r.outcome.where), "relay.example[192.0.2.1]:587");
        snprintf(r.outcome.text, sizeof(r.outcome.text), "250 2.0.0 queued as 4711");
        store_commit_quietly(b.store,
                             &(struct store_op){.kind = STORE_RESULT,
                                                .id = m->id,
                                                .wall_ms = clock_wall_ms(),
                                                .gateway = "relay",
                                                .facts = "TLSv1.3, 12 ms",
                                                .results = &r,
                                                .result_count = 1},
                             1);
    }
    store_message_free(&m);
}

static void on_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
}

static void on_done(struct store_commit *commit);

static void begin(struct waiting *w)
{
    struct err err;
    struct envelope_rcpt rcpt = {.address = STR("someone@recipient.example")};
    struct envelope e = {.sender = STR("sender@example.org"),
                         .client = STR("127.0.0.1"),
                         .helo = STR("client.example"),
                         .listener = STR("local"),
                         .subject = STR("Subject of an ordinary message"),
                         .count = 1,
                         .rcpts = &rcpt};
    struct store_body *body = store_body_begin(b.store, b.loop, b.size);
    store_body_append(body, b.text, b.size, NULL, NULL, &err);
    w->commit = (struct store_commit){.home = b.loop, .done = on_done};
    w->begin_us = clock_mono_us();
    b.begun++;
    struct store_op op = {.kind = STORE_ACCEPT,
                          .id = store_next_id(b.store),
                          .wall_ms = clock_wall_ms(),
                          .envelope = &e,
                          .body = body};
    store_commit(b.store, &w->commit, &op, 1);
}

static void on_done(struct store_commit *commit)
{
    struct waiting *w = (struct waiting *)commit;
    if (!commit->ok) {
        fprintf(stderr, "%s\n", commit->err.text);
        exit(1);
    }
    b.latencies[b.done++] = clock_mono_us() - w->begin_us;
    if (b.begun < b.total)
        begin(w);
    else if (b.done == b.total)
        loop_stop(b.loop);
}

static int by_size(const void *x, const void *y)
{
    int64_t p = *(const int64_t *)x, q = *(const int64_t *)y;
    return p < q ? -1 : p > q;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void say_memory(void)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "RssAnon", 7) == 0 || strncmp(line, "VmHWM", 5) == 0)
            fputs(line, stdout);
    if (f != NULL)
        fclose(f);
}

static void open_it(const char *dir)
{
    struct err err;
    struct store_settings settings = {.dir = dir, .no_index = getenv("NO_INDEX") != NULL};
    int64_t begin_us = clock_mono_us();
    b.store = store_open(&settings, on_adopt, NULL, &err);
    if (b.store == NULL) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    printf("open: %.3f s, %" PRIu64 " messages\n", (double)(clock_mono_us() - begin_us) / 1e6,
           b.adopted);
}

static void run(void)
{
    b.text = xmalloc(b.size + 1);
    for (uint64_t i = 0; i < b.size; i++)
        b.text[i] = (char)('a' + i % 26);
    b.slots = xcalloc(b.outstanding, sizeof(b.slots[0]));
    b.latencies = xcalloc(b.total, sizeof(b.latencies[0]));
    b.loop = loop_new("bench");
    b.conductor = loop_new("conductor");
    store_start(b.store, b.conductor, on_accepted, on_moved, NULL);
    loop_start(b.conductor);
    double cpu = cpu_seconds();
    int64_t begin_us = clock_mono_us();
    for (uint64_t i = 0; i < b.outstanding && i < b.total; i++)
        begin(&b.slots[i]);
    loop_run(b.loop);
    double seconds = (double)(clock_mono_us() - begin_us) / 1e6;
    loop_stop(b.conductor);
    loop_join(b.conductor);
    struct store_stats stats;
    store_stats(b.store, &stats);
    store_close(&b.store);
    qsort(b.latencies, b.total, sizeof(b.latencies[0]), by_size);
    printf("%.0f msg/s; CPU %.1f us a message with the index; p50 %.3f ms, p99 %.3f ms; %" PRIu64
           " groups, %" PRIu64 " syncs, slowest %.1f ms\n",
           (double)b.total / seconds, (cpu_seconds() - cpu) * 1e6 / (double)b.total,
           (double)b.latencies[b.total / 2] / 1e3, (double)b.latencies[b.total * 99 / 100] / 1e3,
           stats.groups, stats.syncs, (double)stats.slowest_sync_us / 1e3);
    loop_free(&b.loop);
    loop_free(&b.conductor);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr,
                "usage: spool_bench DIR accept|life|open [messages] [bytes] [outstanding]\n");
        return 64;
    }
    log_setup(LOG_WARN_LEVEL, LOG_TEXT);
    b.life = strcmp(argv[2], "life") == 0;
    b.total = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    b.size = argc > 4 ? strtoull(argv[4], NULL, 10) : 4096;
    b.outstanding = argc > 5 ? strtoull(argv[5], NULL, 10) : 50;
    open_it(argv[1]);
    if (strcmp(argv[2], "open") != 0)
        run();
    else
        store_close(&b.store);
    say_memory();
    worker_stop_all();
    return 0;
}
