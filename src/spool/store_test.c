// SPDX-License-Identifier: ISC
// The store against a model in memory: what was committed is what a start hands over, whatever
// was moved, freed, recycled or cut off in between.
#include "base/crc32c.h"
#include "base/map.h"
#include "base/mem.h"
#include "spool/check.h"
#include "spool/index.h"
#include "spool/index_feed.h"
#include "spool/store_int.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEGMENT = 128 * 1024, MODEL_MAX = 20000, COUNT_MAX = 5 };

struct model {
    uint64_t id;
    size_t size, count;
    bool live, held, known; // known: the conductor has it
    int priority;
    int64_t send_ms, deleted_ms;
    struct store_rcpt_state states[COUNT_MAX];
    unsigned told[COUNT_MAX]; // the number in its last trouble's text
    int64_t doubt_ms[COUNT_MAX];
    unsigned why; // number in the reason of the hold
    struct store_body_ref ref;
    struct blob *blob;
};

static struct {
    char dir[256];
    struct store_settings settings;
    struct store *store;
    struct loop *loop;
    struct model *models;
    struct idmap *ids;
    size_t count;
    uint64_t random;
    size_t waiting; // commits not yet answered, arrivals not yet seen
    size_t failed, adopted, repeated, moved;
    int rounds;
    void (*then)(void); // when nothing is waited for any more
} t;

static uint64_t dice(uint64_t below)
{
    t.random = t.random * 6364136223846793005u + 1442695040888963407u;
    return (t.random >> 33) % below;
}

// ---- Files. ----

static void remove_tree(const char *dir)
{
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static char body_byte(uint64_t id, size_t at)
{
    return (char)('a' + (id * 7 + at * (id % 13 + 1)) % 26);
}

// ---- The conductor. ----

static void wait_less(void)
{
    assert_true(t.waiting > 0);
    if (--t.waiting == 0 && t.then != NULL) {
        void (*then)(void) = t.then;
        t.then = NULL;
        then();
    }
}

static struct model *model_of(uint64_t id)
{
    struct model *m = idmap_get(t.ids, id);
    assert_non_null(m);
    return m;
}

struct reading {
    struct model *m;
    struct body_source *src;
    size_t have;
};

static void read_on(void *ctx)
{
    struct reading *r = ctx;
    char bytes[9000];
    ssize_t n;
    while ((n = r->src->ops->read_now(r->src, r->have, bytes, 1 + dice(sizeof(bytes)))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] != body_byte(r->m->id, r->have + (size_t)i))
                fail_msg("message %" PRIu64 ": wrong byte at %zu", r->m->id, r->have + (size_t)i);
        r->have += (size_t)n;
    }
    if (n == -2) {
        r->src->ops->fetch(r->src, r->have, sizeof(bytes), read_on, r);
        return;
    }
    assert_int_equal(n, 0);
    assert_int_equal(r->have, r->m->size);
    r->src->ops->release(r->src);
    xfree(r);
    wait_less();
}

static void check_body(struct model *m)
{
    struct err err;
    struct reading *r = xcalloc(1, sizeof(*r));
    r->m = m;
    r->src = store_body_source(t.store, t.loop, m->id, &m->ref, m->blob, &err);
    if (r->src == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(r->src->size, m->size);
    t.waiting++;
    read_on(r);
}

static void on_accepted(void *ctx, struct store_message *m)
{
    struct model *model = model_of(m->id);
    model->known = true;
    model->ref = m->body;
    if (m->blob != NULL)
        model->blob = blob_ref(m->blob);
    assert_int_equal(m->count, model->count);
    check_body(model);
    blob_unref(&model->blob); // the source has its own reference
    store_message_free(&m);
    wait_less();
}

static void on_moved(void *ctx, uint64_t id, struct store_body_ref to)
{
    struct model *m = model_of(id);
    assert_int_equal(to.size, m->size);
    m->ref = to;
    t.moved++;
}

static void check_trouble(const struct trouble *trouble, const struct model *model, size_t i)
{
    char text[32];
    if (rcpt_state_final(model->states[i].state) || model->states[i].tries == 0) {
        assert_null(trouble);
        return;
    }
    snprintf(text, sizeof(text), "come again %u", model->told[i]);
    assert_string_equal(trouble->gateway, "backup");
    assert_string_equal(trouble->outcome.text, text);
    assert_int_equal(trouble->outcome.code, 451);
    assert_int_equal(trouble->doubt_ms, model->doubt_ms[i]);
}

static void on_adopt(void *ctx, struct store_message *m)
{
    struct model *model = model_of(m->id);
    assert_true(model->live);
    assert_false(model->known); // handed over once
    model->known = true;
    assert_int_equal(m->count, model->count);
    assert_int_equal(m->held, model->held);
    assert_int_equal(m->priority, model->priority);
    assert_int_equal(m->send_ms, model->send_ms);
    assert_int_equal(m->deleted_ms, model->deleted_ms);
    assert_int_equal(m->body.size, model->size);
    for (size_t i = 0; i < m->count; i++) {
        struct store_rcpt_state none = {0}, *have = m->rcpts != NULL ? &m->rcpts[i] : &none;
        assert_int_equal(have->state, model->states[i].state);
        assert_int_equal(have->tries, model->states[i].tries);
        assert_int_equal(have->next_ms, model->states[i].next_ms);
        check_trouble(have->trouble, model, i);
    }
    if (m->held) {
        char reason[32];
        snprintf(reason, sizeof(reason), "so %u", model->why);
        assert_string_equal(m->hold_reason, reason);
    }
    struct arena *arena = arena_new();
    struct envelope e;
    assert_true(envelope_unpack(m->packed, arena, &e));
    assert_int_equal(e.count, m->count);
    arena_free(&arena);
    model->ref = m->body;
    t.adopted++;
    t.repeated += m->maybe_repeated;
    store_message_free(&m);
}

static size_t live_models(void)
{
    size_t n = 0;
    for (size_t i = 0; i < t.count; i++)
        n += t.models[i].live;
    return n;
}

static void open_store(void)
{
    struct err err;
    t.adopted = t.repeated = 0;
    for (size_t i = 0; i < t.count; i++)
        t.models[i].known = false;
    t.settings.dir = t.dir;
    if (t.settings.segment_bytes == 0)
        t.settings.segment_bytes = SEGMENT;
    t.settings.disk_floor = 1;
    t.store = store_open(&t.settings, on_adopt, NULL, &err);
    if (t.store == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(t.adopted, live_models());
}

// Starts the store and runs `begin`, then the loop until stop() was called.
static void run(void (*begin)(void *ctx))
{
    struct timer timer;
    t.loop = loop_new("test");
    store_start(t.store, t.loop, on_accepted, on_moved, NULL);
    timer_init(&timer, t.loop, begin, NULL);
    timer_start(&timer, 0);
    loop_run(t.loop);
}

static void stop(void)
{
    loop_stop(t.loop);
}

// Ends without the end mark, as a crash would.
static void crash_store(void)
{
    t.store->maintenance = true;
    t.store->was_clean = false;
    store_close(&t.store);
    loop_free(&t.loop);
}

static void close_store(void)
{
    store_close(&t.store);
    loop_free(&t.loop);
}

// ---- Operations. ----

static void on_done(struct store_commit *commit)
{
    t.failed += !commit->ok;
    xfree(commit);
    wait_less();
}

static void commit(const struct store_op *ops, size_t count)
{
    struct store_commit *c = xcalloc(1, sizeof(*c));
    c->home = t.loop;
    c->done = on_done;
    t.waiting++;
    store_commit(t.store, c, ops, count);
}

static struct store_body *make_body(uint64_t id, size_t size)
{
    struct store_body *body = store_body_begin(t.store, t.loop, dice(2) ? size : 0);
    struct err err;
    char piece[4096];
    for (size_t at = 0; at < size;) {
        size_t len = 1 + dice(sizeof(piece));
        if (len > size - at)
            len = size - at;
        for (size_t i = 0; i < len; i++)
            piece[i] = body_byte(id, at + i);
        assert_int_not_equal(store_body_append(body, piece, len, NULL, NULL, &err), -1);
        at += len;
    }
    assert_int_equal(store_body_size(body), size);
    return body;
}

static struct model *new_model(size_t size, size_t count)
{
    assert_true(t.count < MODEL_MAX);
    struct model *m = &t.models[t.count++];
    *m = (struct model){.id = store_next_id(t.store), .size = size, .count = count, .live = true};
    assert_null(idmap_put(t.ids, m->id, m)); // never given twice
    return m;
}

static void accept_op(struct store_op *op, struct envelope *e, struct envelope_rcpt *rcpts,
                      size_t size, size_t count)
{
    struct model *m = new_model(size, count);
    m->priority = (int)dice(3);
    for (size_t i = 0; i < count; i++)
        rcpts[i] = (struct envelope_rcpt){.address = STR("someone@example.org")};
    *e = (struct envelope){.sender = STR("me@example.net"),
                           .subject = STR("a subject"),
                           .priority = (enum envelope_priority)m->priority,
                           .count = count,
                           .rcpts = rcpts};
    *op = (struct store_op){.kind = STORE_ACCEPT,
                            .id = m->id,
                            .wall_ms = clock_wall_ms(),
                            .envelope = e,
                            .body = make_body(m->id, size)};
    t.waiting++; // for its arrival
}

static void accept_one(size_t size, size_t count)
{
    struct store_op op;
    struct envelope e;
    struct envelope_rcpt rcpts[COUNT_MAX];
    accept_op(&op, &e, rcpts, size, count);
    commit(&op, 1);
}

static void accept_two(void)
{
    struct store_op ops[2];
    struct envelope e[2];
    struct envelope_rcpt rcpts[2][COUNT_MAX];
    accept_op(&ops[0], &e[0], rcpts[0], dice(5000), 1);
    accept_op(&ops[1], &e[1], rcpts[1], dice(50000), 2);
    commit(ops, 2);
}

static void result(struct model *m, size_t index, enum rcpt_state state, int64_t next_ms)
{
    struct store_rcpt_state *s = &m->states[index];
    s->state = (uint8_t)state;
    s->tries++;
    s->next_ms = next_ms;
    struct store_rcpt_result r = {.index = (uint32_t)index,
                                  .state = state,
                                  .tries = s->tries,
                                  .next_ms = next_ms,
                                  .outcome = {.class = OUTCOME_BUSY, .code = 451}};
    unsigned number = (unsigned)dice(50);
    r.same_trouble = state == RCPT_WAITING && s->tries > 1 && dice(4) == 0;
    r.in_doubt = state == RCPT_WAITING && dice(3) == 0;
    m->told[index] = r.same_trouble ? m->told[index] : number;
    m->doubt_ms[index] = r.in_doubt ? (int64_t)(1 + dice(5)) : 0;
    snprintf(r.outcome.text, sizeof(r.outcome.text), "come again %u", number);
    struct store_op op = {.kind = STORE_RESULT,
                          .id = m->id,
                          .wall_ms = clock_wall_ms(),
                          .gateway = "backup",
                          .transcript = STR("C: EHLO\nS: 250\n"),
                          .results = &r,
                          .result_count = 1,
                          .doubt_ms = m->doubt_ms[index]};
    if (dice(2))
        commit(&op, 1);
    else
        store_commit_quietly(t.store, &op, 1);
    m->live = false;
    for (size_t i = 0; i < m->count; i++)
        m->live = m->live || !rcpt_state_final(m->states[i].state);
}

static void random_result(struct model *m)
{
    size_t index = dice(m->count);
    if (rcpt_state_final(m->states[index].state))
        return;
    if (dice(4) == 0)
        result(m, index, RCPT_WAITING, (int64_t)dice(1000000));
    else
        result(m, index, 1 + dice(RCPT_DROPPED), 0);
}

static void random_op(void)
{
    struct model *m = NULL;
    uint64_t what = dice(12);
    for (int i = 0; i < 20 && t.count > 0; i++) {
        m = &t.models[dice(t.count)];
        if (m->live && m->known) // nobody can know of it before it was accepted
            break;
        m = NULL;
    }
    if (what < 3) {
        size_t size = dice(20) == 0 ? 33000 + dice(400000) : dice(9000);
        accept_one(size, 1 + dice(COUNT_MAX));
    } else if (what == 3) {
        accept_two();
    } else if (m == NULL) {
        return;
    } else if (what == 4) {
        char reason[32];
        m->held = dice(2);
        m->why = (unsigned)dice(100);
        snprintf(reason, sizeof(reason), "so %u", m->why);
        commit(&(struct store_op){.kind = STORE_HOLD, .id = m->id, .flag = m->held, .text = reason},
               1);
    } else if (what == 5) {
        m->priority = (int)dice(3);
        commit(&(struct store_op){.kind = STORE_PRIORITY, .id = m->id, .value = m->priority}, 1);
    } else if (what == 6) {
        m->send_ms = 1 + (int64_t)dice(1000000);
        commit(&(struct store_op){.kind = STORE_SEND_AT, .id = m->id, .at_ms = m->send_ms}, 1);
    } else if (what == 7) { // whether it is held or not
        int64_t now = 1 + (int64_t)dice(1000000);
        bool in = m->deleted_ms == 0;
        m->deleted_ms = in ? now : 0;
        commit(&(struct store_op){.kind = STORE_HOLD,
                                  .id = m->id,
                                  .wall_ms = now,
                                  .flag = in,
                                  .value = STORE_HOLD_BIN,
                                  .text = "so"},
               1);
    } else if (m->deleted_ms == 0) {
        random_result(m);
    }
}

static void check_all_bodies(void)
{
    t.then = stop;
    t.waiting++;
    for (size_t i = 0; i < t.count; i++)
        if (t.models[i].live)
            check_body(&t.models[i]);
    wait_less();
}

// Files of ended messages must go, and nothing else.
static void check_body_files(void)
{
    char path[300];
    struct err err;
    snprintf(path, sizeof(path), "%s/bodies", t.dir);
    char **names = dir_list(path, &err);
    assert_non_null(names);
    for (size_t i = 0; names[i] != NULL; i++) {
        uint64_t id;
        if (strncmp(names[i], "spare-", 6) == 0)
            continue;
        assert_true(str_u64(str_of(names[i]), UINT64_MAX, &id));
        assert_true(model_of(id)->live);
    }
    dir_list_free(&names);
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    snprintf(t.dir, sizeof(t.dir), "/tmp/waypost-store-test.%d", (int)getpid());
    remove_tree(t.dir);
    t.models = xcalloc(MODEL_MAX, sizeof(t.models[0]));
    t.ids = idmap_new();
    t.random = 12345;
    t.settings.no_index = true;
    return 0;
}

static int teardown(void **state)
{
    remove_tree(t.dir);
    xfree(t.models);
    idmap_free(&t.ids);
    return 0;
}

// ---- Tests. ----

static void begin_few(void *ctx)
{
    t.then = check_all_bodies;
    for (int i = 0; i < 20; i++)
        accept_one((size_t)i * 3000, 1 + (size_t)i % COUNT_MAX);
}

static void test_commit_and_adopt(void **state)
{
    open_store();
    run(begin_few);
    close_store();
    open_store();
    assert_int_equal(t.adopted, 20);
    assert_int_equal(t.repeated, 0); // it ended in order
    close_store();
}

static struct timer after_close;

static void stop_after_close(void *ctx)
{
    stop();
}

// What the committer posted to the conductor meanwhile arrives when the store is gone.
static void begin_close(void *ctx)
{
    t.then = NULL;
    accept_one(1000, 1);
    t.waiting--; // nobody sees it arrive
    store_close(&t.store);
    timer_init(&after_close, t.loop, stop_after_close, NULL);
    timer_start(&after_close, 1);
}

static void test_close_with_arrivals_on_their_way(void **state)
{
    open_store();
    run(begin_close);
    assert_int_equal(t.waiting, 0);
    loop_free(&t.loop);
    open_store();
    assert_int_equal(t.adopted, 1); // it is not lost
    close_store();
}

static void test_unclean_end_marks_what_was_due(void **state)
{
    open_store();
    run(begin_few);
    uint64_t highest = store_next_id(t.store);
    crash_store();
    open_store();
    assert_int_equal(t.adopted, 20);
    assert_int_equal(t.repeated, 20);
    assert_true(store_next_id(t.store) > highest);
    close_store(); // never started: no end mark of a run that was none
    open_store();
    assert_int_equal(t.repeated, 20);
    close_store();
}

static void (*at_last)(void);

static void next_round(void)
{
    t.then = --t.rounds > 0 ? next_round : at_last;
    t.waiting++;
    for (int i = 0; i < 70; i++)
        random_op();
    wait_less();
}

static void rounds(int count, void (*then)(void))
{
    t.rounds = count;
    at_last = then;
    next_round();
}

static void begin_random(void *ctx)
{
    rounds(4, check_all_bodies);
}

static void model_runs(int runs, bool crash)
{
    for (int i = 0; i < runs; i++) {
        open_store();
        check_body_files();
        run(begin_random);
        if (crash)
            crash_store();
        else
            close_store();
    }
    open_store();
    close_store();
    assert_int_equal(t.failed, 0);
    struct buf report;
    struct err err;
    uint64_t damages;
    buf_init(&report, 1 << 20);
    assert_true(spool_check(t.dir, &report, &damages, &err));
    if (damages != 0)
        fail_msg("%s", buf_cstr(&report));
    buf_free(&report);
}

static void test_model(void **state)
{
    model_runs(14, false);
}

static void test_model_with_crashes(void **state)
{
    t.random = 99;
    model_runs(8, true);
}

static struct timer look;

static void begin_one_stays(void *ctx)
{
    // One message stays, thousands pass: the first segment must not be kept for its sake.
    t.then = stop;
    t.waiting++;
    if (t.count == 0)
        accept_one(1000, 1);
    for (int i = 0; i < 200; i++)
        accept_one(4000, 1);
    wait_less();
}

static void begin_end_all(void *ctx)
{
    t.then = stop;
    t.waiting++;
    for (size_t i = 1; i < t.count; i++)
        if (t.models[i].live)
            result(&t.models[i], 0, RCPT_RELAYED, 0);
    wait_less();
}

// 1200 messages of 4 KiB came and went: 4.8 MiB. Tolerated garbage is four segments.
static bool has_few_segments(void)
{
    struct store_stats stats;
    store_stats(t.store, &stats);
    return stats.segments < 20;
}

static void look_for_few(void *ctx)
{
    static int looks;
    if (has_few_segments() || ++looks == 60000)
        stop();
    else
        timer_start(&look, 1);
}

// The keeper does its work beside, and has as much time for it as it needs.
static void begin_wait_for_few(void *ctx)
{
    t.then = NULL;
    timer_init(&look, t.loop, look_for_few, NULL);
    timer_start(&look, 0);
}

static void test_segments_are_recycled(void **state)
{
    for (int i = 0; i < 12; i++) {
        open_store();
        run(i % 2 == 0 ? begin_one_stays : begin_end_all);
        close_store();
    }
    open_store();
    run(begin_wait_for_few);
    assert_true(has_few_segments());
    close_store();
    assert_true(t.moved > 0);
    open_store();
    assert_int_equal(t.adopted, 1);
    close_store();
}

static void begin_abort(void *ctx)
{
    struct store_body *a = make_body(1, 1000), *b = make_body(2, 900000);
    store_body_abort(&a);
    store_body_abort(&b);
    t.then = stop;
    accept_one(10, 1);
}

static void test_abort(void **state)
{
    open_store();
    run(begin_abort);
    close_store();
    check_body_files(); // the aborted one's is gone
}

static void test_lock(void **state)
{
    struct err err;
    struct store_settings settings = t.settings;
    open_store();
    settings.dir = t.dir;
    assert_null(store_open(&settings, on_adopt, NULL, &err));
    assert_non_null(strstr(err.text, "another process"));
    close_store();
}

static void test_damaged_segment(void **state)
{
    // A hole in a sealed segment: what is readable is handed over, and moved out by a rebuild.
    open_store();
    run(begin_one_stays);
    close_store();
    char path[300];
    snprintf(path, sizeof(path), "%s/seg/0000000002.sum", t.dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/seg/0000000002.wps", t.dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, 40000, SEEK_SET);
    fputs("rust", f);
    fclose(f);
    struct buf report;
    struct err err;
    uint64_t damages;
    buf_init(&report, 1 << 20);
    assert_true(spool_check(t.dir, &report, &damages, &err));
    assert_int_equal(damages, 1);
    assert_non_null(strstr(buf_cstr(&report), "0000000002.wps"));
    buf_clear(&report);
    assert_true(spool_rebuild(t.dir, &report, &err));
    buf_clear(&report);
    assert_true(spool_check(t.dir, &report, &damages, &err));
    // The message stays, its body in a file of its own, still known to be damaged.
    assert_int_equal(damages, 1);
    assert_non_null(strstr(buf_cstr(&report), "damage: body of message"));
    assert_non_null(strstr(buf_cstr(&report), "201 messages waiting"));
    snprintf(path, sizeof(path), "%s/seg/0000000002.wps", t.dir);
    assert_int_not_equal(access(path, F_OK), 0); // moved out of, and given back
    buf_free(&report);
}

// ---- The index. ----

static struct index *reader;

static void find_all(void)
{
    struct arena *arena = arena_new();
    struct index_message *list;
    struct index_filter filter = INDEX_FILTER_ALL;
    size_t count, seen = 0;
    struct err err;
    if (reader == NULL)
        reader = index_open(t.dir, &err);
    if (reader == NULL)
        fail_msg("%s", err.text);
    uint64_t last = UINT64_MAX;
    do {
        assert_true(index_find(reader, &filter, arena, &list, &count, &err));
        for (size_t i = 0; i < count; i++) {
            struct model *m = model_of(list[i].id);
            assert_true(list[i].id < last);
            last = list[i].id;
            assert_int_equal(list[i].state == RCPT_WAITING, m->live && m->deleted_ms == 0);
            assert_int_equal(list[i].size, m->size);
            assert_int_equal(list[i].held, m->held && m->live && m->deleted_ms == 0);
            assert_true(str_eq(list[i].sender, STR("me@example.net")));
            struct index_message full;
            assert_int_equal(index_get(reader, m->id, arena, &full, &err), 1);
            assert_int_equal(full.envelope.count, m->count);
            assert_int_equal(full.events[0].kind, INDEX_ACCEPTED);
            for (size_t k = 0; k < m->count; k++)
                assert_int_equal(full.states[k], m->states[k].state);
            seen++;
        }
        filter.before_id = last;
    } while (count > 0);
    assert_int_equal(seen, t.count);
    filter = INDEX_FILTER_ALL;
    filter.recipient = STR("*@example.org");
    filter.sender = STR("ME@exam");
    filter.limit = MODEL_MAX;
    assert_true(index_find(reader, &filter, arena, &list, &count, &err));
    assert_int_equal(count, t.count);
    filter.text = STR("100%");
    assert_true(index_find(reader, &filter, arena, &list, &count, &err));
    assert_int_equal(count, 0);
    arena_free(&arena);
}

// One record, and every second message has the note in its own history.
static size_t notes_of(struct index *index, uint64_t id)
{
    struct arena *arena = arena_new();
    struct index_message m;
    struct err err;
    size_t n = 0;
    assert_int_equal(index_get(index, id, arena, &m, &err), 1);
    for (size_t i = 0; i < m.event_count; i++)
        n += m.events[i].kind == INDEX_NOTE && str_eq(m.events[i].text, STR("to many"));
    assert_int_equal(m.events[0].kind, INDEX_ACCEPTED);
    arena_free(&arena);
    return n;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t noted[MODEL_MAX];
static size_t noted_count;

static struct store_commit note_commit;

static void on_noted(void *ctx)
{
    struct err err;
    reader = index_open(t.dir, &err);
    assert_non_null(reader);
    assert_true(noted_count > 10);
    for (size_t i = 0; i < noted_count; i++)
        assert_int_equal(notes_of(reader, noted[i]), i % 2 == 0);
    stop();
}

static void on_note_committed(struct store_commit *commit)
{
    assert_true(commit->ok);
    store_index_barrier(t.store, t.loop, on_noted, NULL);
}

static void note_every_second(void)
{
    uint64_t half[MODEL_MAX];
    size_t n = 0;
    noted_count = t.count;
    for (size_t i = 0; i < t.count; i++)
        noted[i] = t.models[i].id;
    qsort(noted, t.count, sizeof(noted[0]), by_id);
    for (size_t i = 0; i < t.count; i += 2)
        half[n++] = noted[i];
    struct store_op op = {.kind = STORE_NOTES,
                          .id = half[0],
                          .more = half + 1,
                          .more_count = n - 1,
                          .wall_ms = clock_wall_ms(),
                          .text = "to many"};
    note_commit = (struct store_commit){.home = t.loop, .done = on_note_committed};
    store_commit(t.store, &note_commit, &op, 1);
}

static void begin_noted(void *ctx)
{
    rounds(2, note_every_second);
}

static void test_note_on_many(void **state)
{
    t.settings.no_index = false;
    open_store();
    run(begin_noted);
    index_close(&reader);
    close_store();
}

static void note_quietly(void);

static void on_quiet_note(void *ctx)
{
    struct err err;
    reader = index_open(t.dir, &err);
    assert_non_null(reader);
    assert_int_equal(notes_of(reader, t.models[0].id), ++noted_count);
    index_close(&reader);
    if (noted_count < 20)
        note_quietly();
    else
        stop();
}

static void note_quietly(void)
{
    struct store_op op = {
        .kind = STORE_NOTE, .id = t.models[0].id, .wall_ms = clock_wall_ms(), .text = "to many"};
    store_commit_quietly(t.store, &op, 1);
    store_index_barrier(t.store, t.loop, on_quiet_note, NULL);
}

static void begin_quiet_notes(void *ctx)
{
    noted_count = 0;
    t.then = note_quietly;
    accept_one(1000, 1);
}

// What was committed is seen behind a barrier though nobody waited for its answer.
static void test_barrier_behind_what_is_under_way(void **state)
{
    t.settings.no_index = false;
    open_store();
    run(begin_quiet_notes);
    close_store();
}

// A look before the first frame is on disk finds nothing, and still finds the next.
static void test_index_looks_too_early(void **state)
{
    struct err err;
    t.settings.no_index = false;
    open_store();
    assert_true(keep_prepare(t.store, 2, &err));
    t.store->prepared = 2;
    index_feed_catch_up(t.store->feed);
    run(begin_quiet_notes);
    close_store();
}

static void on_indexed(void *ctx)
{
    find_all();
    stop();
}

static void wait_for_index(void)
{
    store_index_barrier(t.store, t.loop, on_indexed, NULL);
}

static void begin_indexed(void *ctx)
{
    rounds(4, wait_for_index);
}

static void test_index(void **state)
{
    t.settings.no_index = false;
    for (int i = 0; i < 4; i++) {
        open_store();
        run(begin_indexed);
        index_close(&reader);
        crash_store();
    }
}

static void test_rebuild(void **state)
{
    struct buf report;
    struct err err;
    open_store();
    run(begin_random);
    close_store();
    buf_init(&report, 1 << 20);
    assert_true(spool_rebuild(t.dir, &report, &err));
    buf_free(&report);
    find_all();
    index_close(&reader);
    open_store();
    close_store();
}

// ---- Spare files of bodies. ----

static void put_spare(const char *name, size_t size)
{
    char path[300], bytes[9000];
    struct err err;
    struct file_piece piece = {bytes, size};
    memset(bytes, 'x', sizeof(bytes));
    snprintf(path, sizeof(path), "%s/bodies/%s", t.dir, name);
    struct file *file = file_open(path, FILE_CREATE_NEW, &err);
    assert_non_null(file);
    assert_true(file_write(file, 0, &piece, 1, &err));
    file_close(&file);
    uint64_t id = 0;
    str_u64(str_of(name), UINT64_MAX, &id);
    assert_true(spare_put(t.store, path, id, &err));
    assert_false(path_exists(path));
}

static uint64_t take_spare(uint64_t size)
{
    char path[300];
    struct err err;
    struct path_facts facts = {0};
    snprintf(path, sizeof(path), "%s/bodies/taken", t.dir);
    if (spare_take(t.store, path, size)) {
        assert_true(path_stat(path, &facts, &err));
        assert_true(path_remove(path, &err));
    }
    return facts.size;
}

static void test_spares(void **state)
{
    open_store();
    assert_int_equal(take_spare(1), 0);
    put_spare("tmp-1", 5000);
    put_spare("tmp-2", 9000);
    put_spare("tmp-3", 7000);
    put_spare("tmp-4", 100); // not worth it
    assert_int_equal(take_spare(6000), 7000);
    assert_int_equal(take_spare(20000), 9000);
    assert_int_equal(take_spare(1), 5000);
    assert_int_equal(take_spare(1), 0);
    // More than there may be.
    for (int i = 0; i <= LIMIT_SPARE_BODIES; i++)
        put_spare("tmp-1", 5000);
    for (int i = 0; i < LIMIT_SPARE_BODIES; i++)
        assert_int_equal(take_spare(1), 5000);
    assert_int_equal(take_spare(1), 0);
    assert_int_equal(atomic_load(&t.store->spares.bytes), 0);
    // None while the disk is nearly full; those there are can be given up.
    atomic_store(&t.store->disk_low, true);
    put_spare("tmp-1", 5000);
    assert_int_equal(take_spare(1), 0);
    atomic_store(&t.store->disk_low, false);
    put_spare("tmp-1", 5000);
    spare_remove_all(t.store);
    assert_int_equal(take_spare(1), 0);
    check_body_files();
    // A start cannot know who else has it.
    put_spare("tmp-1", 5000);
    close_store();
    char path[300];
    snprintf(path, sizeof(path), "%s/bodies/spare-0", t.dir);
    assert_true(path_exists(path));
    open_store();
    assert_int_equal(take_spare(1), 0);
    assert_false(path_exists(path));
    close_store();
}

// A delivery that still reads a message that has ended never gets the bytes of another.
static void test_spare_waits_for_its_reader(void **state)
{
    open_store();
    spare_reader_enter(t.store, 77);
    put_spare("77", 5000);
    put_spare("78", 4500);
    assert_int_equal(take_spare(5000), 4500);
    assert_int_equal(take_spare(1), 0);
    spare_reader_leave(t.store, 77);
    assert_int_equal(take_spare(1), 5000);
    close_store();
}

// What an ended message left behind the end of the new one is never given out.
static void test_body_in_a_longer_file(void **state)
{
    char path[300], out[100];
    struct err err;
    struct file_piece piece = {"new", 3};
    open_store();
    put_spare("5", 9000);
    snprintf(path, sizeof(path), "%s/bodies/6", t.dir);
    assert_true(spare_take(t.store, path, 3));
    struct file *file = file_open(path, FILE_WRITE, &err);
    assert_true(file_write(file, 0, &piece, 1, &err));
    file_close(&file);
    struct store_body_ref ref = {.size = 3, .crc = crc32c(0, "new", 3)};
    struct body_source *src = store_body_source(t.store, t.loop, 6, &ref, NULL, &err);
    assert_non_null(src);
    assert_int_equal(src->ops->read_now(src, 0, out, sizeof(out)), 3);
    assert_memory_equal(out, "new", 3);
    assert_int_equal(src->ops->read_now(src, 3, out, sizeof(out)), 0);
    assert_int_equal(src->ops->read_now(src, 5000, out, sizeof(out)), 0);
    src->ops->release(src);
    close_store();
}

// ---- Mail that goes through without being kept. ----

enum { PASSED_SIZE = 700 * 1000, PASSED_ID = 77 };

static struct passing {
    struct store_body *body;
    struct body_source *source;
    uint64_t sent, read;
    struct store_commit commit;
} passing;

static void on_passed(void *ctx)
{
    struct arena *arena = arena_new();
    struct index_message m;
    struct err err;
    struct index *index = index_open(t.dir, &err);
    assert_non_null(index);
    assert_int_equal(index_get(index, PASSED_ID, arena, &m, &err), 1);
    assert_int_equal(m.size, PASSED_SIZE);
    assert_int_equal(m.state, RCPT_RETURNED); // the worse of the two
    assert_int_equal(m.states[0], RCPT_RELAYED);
    assert_true(str_eq(m.gateway, STR("up")) && m.ended_ms != 0);
    assert_int_equal(m.event_count, 2);
    index_close(&index);
    arena_free(&arena);
    stop();
}

static void on_passed_committed(struct store_commit *commit)
{
    assert_true(commit->ok);
    store_index_barrier(t.store, t.loop, on_passed, NULL);
}

static void record_passed(void)
{
    struct envelope_rcpt rcpts[] = {{.address = STR("a@example.org")},
                                    {.address = STR("b@example.org")}};
    struct envelope e = {.sender = STR("me@example.net"), .count = 2, .rcpts = rcpts};
    struct store_rcpt_result results[] = {
        {.index = 0, .state = RCPT_RELAYED},
        {.index = 1, .state = RCPT_RETURNED, .outcome = {.class = OUTCOME_REFUSED, .code = 550}}};
    struct store_op ops[] = {{.kind = STORE_ACCEPT,
                              .id = PASSED_ID,
                              .wall_ms = clock_wall_ms(),
                              .envelope = &e,
                              .size = PASSED_SIZE,
                              .results = results,
                              .result_count = 2},
                             {.kind = STORE_RESULT,
                              .id = PASSED_ID,
                              .wall_ms = clock_wall_ms(),
                              .gateway = "up",
                              .results = results,
                              .result_count = 2}};
    passing.commit = (struct store_commit){.home = t.loop, .done = on_passed_committed};
    store_commit(t.store, &passing.commit, ops, 2);
}

static void read_passed(void *ctx)
{
    char bytes[9000];
    ssize_t n;
    while ((n = passing.source->ops->read_now(passing.source, passing.read, bytes, sizeof(bytes))) >
           0) {
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(bytes[i], body_byte(PASSED_ID, passing.read + (size_t)i));
        passing.read += (size_t)n;
    }
    if (n == -2) {
        passing.source->ops->fetch(passing.source, passing.read, sizeof(bytes), read_passed, NULL);
        return;
    }
    assert_int_equal(n, 0);
    assert_int_equal(passing.read, PASSED_SIZE);
    passing.source->ops->release(passing.source);
    store_body_abort(&passing.body);
    record_passed();
}

static void open_passed(void *ctx)
{
    struct err err;
    passing.source = store_body_read(passing.body, &err);
    if (passing.source == NULL)
        fail_msg("%s", err.text);
    read_passed(NULL);
}

static void send_passed(void *ctx)
{
    char bytes[10 * 1000];
    struct err err;
    if (passing.body == NULL)
        passing.body = store_body_begin(t.store, t.loop, 0);
    while (passing.sent < PASSED_SIZE) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = body_byte(PASSED_ID, passing.sent + i);
        passing.sent += sizeof(bytes);
        if (store_body_append(passing.body, bytes, sizeof(bytes), send_passed, NULL, &err) == 0)
            return;
    }
    if (store_body_end(passing.body, open_passed, NULL) == 1)
        open_passed(NULL);
}

// Its body can be read, its record is history, and nobody is given anything to do.
static void test_passed(void **state)
{
    t.settings.no_index = false;
    open_store();
    run(send_passed);
    close_store();
    open_store();
    assert_int_equal(t.adopted, 0);
    store_close(&t.store);
    struct buf report;
    struct err err;
    uint64_t damages;
    buf_init(&report, 1 << 20);
    assert_true(spool_check(t.dir, &report, &damages, &err));
    assert_int_equal(damages, 0);
    buf_free(&report);
}

int main(void)
{
    log_setup(LOG_ERROR_LEVEL, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commit_and_adopt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_with_arrivals_on_their_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unclean_end_marks_what_was_due, setup, teardown),
        cmocka_unit_test_setup_teardown(test_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_model_with_crashes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments_are_recycled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_note_on_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_barrier_behind_what_is_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_looks_too_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebuild, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spare_waits_for_its_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_in_a_longer_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed, setup, teardown),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    worker_stop_all();
    return rc;
}
