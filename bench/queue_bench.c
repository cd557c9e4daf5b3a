// SPDX-License-Identifier: ISC
// queue_bench: adopts many waiting messages into the conductor, and says what one costs in memory
// and time, then what the orders and views of an administrator cost over all of them.
//
//   queue_bench [MESSAGES] [DOMAINS]
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/read.h"
#include "mail/envelope.h"
#include "queue/queue.h"
#include "queue/queue_view.h"
#include "sys/clock.h"

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

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t domains = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *conf = conf_read_text("bench.yaml",
                                       STR("hostname: bench.example\nspool: /nonexistent\n"
                                           "run: /nonexistent\n"),
                                       &report);
    if (conf == NULL || n == 0 || domains == 0)
        return 2;
    conf_report_free(&report);
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
