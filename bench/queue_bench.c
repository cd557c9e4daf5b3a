// SPDX-License-Identifier: ISC
// queue_bench: adopts many waiting messages into the conductor, and says what one costs in memory
// and time, then what the orders and views of an administrator cost over all of them.
//
//   queue_bench [MESSAGES] [DOMAINS]
//   queue_bench MESSAGES DOMAINS gateways|direct
//
// The second form moves all of them (the network changes, there is none, a gateway is picked, the
// configuration is another) and says how long it takes until all are planned, and how long the
// conductor's loop was kept at most from its other work. Nothing is sent.
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/read.h"
#include "mail/envelope.h"
#include "queue/queue.h"
#include "queue/queue_view.h"
#include "deliver/deliver.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "watch/watch.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static struct store_message *make(uint64_t i, uint64_t domains, struct buf *packed)
{
    char to[64], from[64];
    snprintf(to, sizeof(to), "user%llu@site%llu.example", (unsigned long long)i,
             (unsigned long long)(i % domains));
    snprintf(from, sizeof(from), "sender%llu@home.example", (unsigned long long)(i % 100));
    struct envelope_rcpt rcpt = {.address = str_of(to)};
    struct envelope e = {.sender = str_of(from),
                         .client = STR("127.0.0.1"),
                         .helo = STR("app1.home.example"),
                         .listener = STR("local"),
                         .subject = STR("Your order has been shipped"),
                         .priority = PRIORITY_NORMAL,
                         .accepted_ms = clock_wall_ms(),
                         .count = 1,
                         .rcpts = &rcpt};
    buf_clear(packed);
    envelope_pack(packed, &e);
    struct store_message *m = xcalloc(1, sizeof(*m) + packed->len);
    m->id = i + 1;
    m->priority = PRIORITY_NORMAL;
    m->body = (struct store_body_ref){.offset = i * 4096, .size = 4096, .place = 1};
    char *at = (char *)(m + 1);
    memcpy(at, packed->data, packed->len);
    m->packed = str_make(at, packed->len);
    m->count = 1;
    return m;
}

// The store's own is not what is measured here.
void __wrap_store_message_free(struct store_message **m);
void __wrap_store_message_free(struct store_message **m)
{
    xfree(*m);
    *m = NULL;
}

// What is dispatched stays on its way for ever.
void __wrap_deliver_submit(struct deliver *d, struct deliver_job *job);
void __wrap_deliver_submit(struct deliver *d, struct deliver_job *job)
{
}
struct body_source *__wrap_store_body_source(struct store *store, struct loop *loop, uint64_t id,
                                             const struct store_body_ref *ref, struct blob *blob,
                                             struct err *err);
struct body_source *__wrap_store_body_source(struct store *store, struct loop *loop, uint64_t id,
                                             const struct store_body_ref *ref, struct blob *blob,
                                             struct err *err)
{
    return xcalloc(1, 64);
}
void __wrap_store_commit_quietly(struct store *store, const struct store_op *ops, size_t count);
void __wrap_store_commit_quietly(struct store *store, const struct store_op *ops, size_t count)
{
}

static struct conf *read_conf(const char *more)
{
    char text[4096];
    struct conf_report report = {0};
    conf_report_init(&report);
    snprintf(text, sizeof(text),
             "hostname: bench.example\nspool: /nonexistent\nrun: /nonexistent\n%s", more);
    struct conf *conf = conf_read_text("bench.yaml", str_of(text), &report);
    if (conf == NULL)
        exit(2);
    conf_report_free(&report);
    return conf;
}

// The machine at place 0 or 1, or offline.
static void move_to(struct queue *q, int place)
{
    struct arena *arena = arena_new();
    struct watch_snapshot *s = arena_alloc(arena, sizeof(*s));
    atomic_init(&s->refs, 1);
    s->arena = arena;
    s->captive_why = "";
    s->offline = place < 0;
    s->network_count = 2;
    s->networks = arena_alloc(arena, 2 * sizeof(*s->networks));
    s->holding = place < 0 ? 0 : UINT64_C(1) << place;
    queue_network(q, s, "moved");
    watch_snapshot_unref(&s);
}

static struct bench {
    struct queue *q;
    struct loop *loop;
    struct timer beat;
    uint64_t n;
    bool direct;
    size_t step, beats;
    int64_t begun_us, beat_us, longest_us;
} bench;

static void to_second(void)
{
    move_to(bench.q, 1);
}
static void to_nowhere(void)
{
    move_to(bench.q, -1);
}
static void to_first(void)
{
    move_to(bench.q, 0);
}
static void by_pick(void)
{
    struct err err;
    queue_pick(bench.q, STR("two"), "bench", &err);
}
static void by_reload(void)
{
    struct conf *conf = read_conf("gateways:\n  one: {url: \"smtp://127.0.0.1:9\"}\n");
    bench.beat_us = clock_mono_us(); // reading it is another's work
    queue_reload(bench.q, conf, NULL);
    conf_unref(&conf);
}

// What is done, and where they all are then; "" neither here nor there.
static const struct step {
    const char *name, *goal;
    void (*begin)(void);
} through_gateways[] =
    {
        {"planned at the start", "one", NULL},
        {"moved to another network", "two", to_second},
        {"offline", "", to_nowhere},
        {"back on the first network", "one", to_first},
        {"picked by hand", "two", by_pick},
        {"a reload without that gateway", "one", by_reload},
        {NULL, NULL, NULL},
},
  directly[] = {
      {"planned at the start", "direct", NULL},
      {"offline", "", to_nowhere},
      {"online", "direct", to_first},
      {NULL, NULL, NULL},
};

static const struct step *step_now(void)
{
    return (bench.direct ? directly : through_gateways) + bench.step;
}

// Those on their way stay where they were.
static bool is_there(void)
{
    enum { ON_THEIR_WAY = 1000 };
    struct queue_gateway_view views[8];
    uint64_t in_lanes = 0, at_goal = 0;
    size_t count = queue_gateways(bench.q, views, 8);
    for (size_t i = 0; i < count; i++) {
        in_lanes += views[i].waiting;
        if (strcmp(views[i].name, step_now()->goal) == 0)
            at_goal += views[i].waiting + views[i].active;
    }
    return step_now()->goal[0] == '\0' ? in_lanes <= ON_THEIR_WAY
                                       : at_goal + ON_THEIR_WAY >= bench.n;
}

static void next_step(void)
{
    int64_t now_us = clock_mono_us();
    printf("%s: %.3f s, the loop was kept for %.1f ms at most\n", step_now()->name,
           (double)(now_us - bench.begun_us) / 1e6, (double)bench.longest_us / 1e3);
    bench.step++;
    if (step_now()->name == NULL)
        exit(0);
    bench.longest_us = 0;
    bench.begun_us = bench.beat_us = clock_mono_us();
    step_now()->begin();
}

static void on_beat(void *ctx)
{
    int64_t now_us = clock_mono_us(), gap_us = now_us - bench.beat_us;
    if (gap_us > bench.longest_us)
        bench.longest_us = gap_us;
    // Looking over very many lanes takes a while itself.
    if (++bench.beats % 8 == 0 && is_there())
        next_step();
    bench.beat_us = clock_mono_us();
    timer_start(&bench.beat, 1);
}

static int replan(struct queue *q, uint64_t n, bool direct)
{
    struct loop *loop = loop_new("bench");
    struct loop *loops[] = {loop};
    struct err err;
    struct names *names = names_new(loop, &(struct names_settings){0}, &err);
    struct deliver *delivers[] = {deliver_new(loop, names)};
    log_setup(LOG_ERROR_LEVEL, LOG_TEXT);
    bench =
        (struct bench){.q = q, .loop = loop, .n = n, .direct = direct, .begun_us = clock_mono_us()};
    bench.beat_us = bench.begun_us;
    timer_init(&bench.beat, loop, on_beat, NULL);
    timer_start(&bench.beat, 1);
    move_to(q, 0);
    queue_start(q, &(struct queue_parts){
                       .loop = loop, .delivers = delivers, .loops = loops, .loop_count = 1});
    loop_run(loop);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t domains = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    bool direct = argc > 3 && strcmp(argv[3], "direct") == 0;
    bool gateways = argc > 3 && strcmp(argv[3], "gateways") == 0;
    const char *text = "networks:\n  a: {address: [10.1.0.0/16]}\n  b: {address: [10.2.0.0/16]}\n";
    if (gateways)
        text = "networks:\n  a: {address: [10.1.0.0/16]}\n  b: {address: [10.2.0.0/16]}\n"
               "gateways:\n  one: {url: \"smtp://127.0.0.1:9\", networks: [a]}\n"
               "  two: {url: \"smtp://127.0.0.1:9\", networks: [b]}\n";
    struct conf *conf = read_conf(text);
    if (n == 0 || domains == 0)
        return 2;
    struct queue *q = queue_new(conf);
    struct buf packed;
    buf_init(&packed, 4096);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    int64_t adopting_us = 0;
    for (uint64_t i = 0; i < n;) {
        struct store_message *batch[1000];
        size_t k = 0;
        for (; k < 1000 && i < n; k++, i++)
            batch[k] = make(i, domains, &packed);
        int64_t from_us = clock_mono_us();
        for (size_t j = 0; j < k; j++)
            queue_adopt(q, batch[j]);
        adopting_us += clock_mono_us() - from_us;
    }
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    printf(
        "%llu messages: %.1f bytes of heap each (packed envelope %zu), adopted in %.3f us each\n",
        (unsigned long long)n, (double)bytes / (double)n, packed.len,
        (double)adopting_us / (double)n);
    if (gateways || direct)
        return replan(q, n, direct);
    struct queue_counts counts;
    int64_t from_us = clock_mono_us();
    queue_counts(q, &counts);
    int64_t first_us = clock_mono_us() - from_us;
    from_us = clock_mono_us();
    queue_counts(q, &counts);
    printf("counts: %lld us the first time, then %lld us\n", (long long)first_us,
           (long long)(clock_mono_us() - from_us));
    uint64_t ids[100], after = 0, pages = 0;
    int64_t slowest_us = 0;
    for (size_t got; (got = queue_list(q, after, STR(""), ids, 100)) > 0 && pages < 100; pages++) {
        int64_t now_us = clock_mono_us();
        slowest_us = pages == 0 ? now_us - from_us : slowest_us;
        after = ids[got - 1];
    }
    printf("list: %lld us for the first page of 100, %lld us for %llu pages\n",
           (long long)slowest_us, (long long)(clock_mono_us() - from_us),
           (unsigned long long)pages);
    buf_free(&packed);
    queue_free(&q);
    conf_unref(&conf);
    return 0;
}
