// SPDX-License-Identifier: ISC
// The simulated world keeps its own promises: same seed, same run; streams, posts and timers as
// their headers say; a disk that forgets what was not synced and nothing else; a crash that takes
// all of the daemon.
#include "sim/world.h"

#include "base/blob.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/tls.h"
#include "sys/worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_true(net_addr_parse(str_of(text), 25, &a));
    return a;
}

static enum world_went run_for(int64_t ms)
{
    return world_run_until(world_now_ms() + ms, NULL, NULL);
}

// ---- A daemon that echoes what it is sent. ----

struct echo {
    struct stream *s;
};

static size_t echo_data(void *ctx, const char *bytes, size_t len)
{
    struct echo *e = ctx;
    stream_write(e->s, bytes, len);
    return len;
}

static void echo_event(void *ctx, enum stream_event event)
{
    struct echo *e = ctx;
    if (event == STREAM_EOF || event == STREAM_ERROR) {
        stream_close(&e->s, event == STREAM_EOF);
        xfree(e);
    }
}

static const struct stream_handler echo_handler = {echo_data, echo_event};

static void echo_accepted(void *ctx, struct stream *s)
{
    struct echo *e = xcalloc(1, sizeof(*e));
    e->s = s;
    stream_attach(s, &echo_handler, e);
}

static struct loop *daemon_loop;

static void boot_echo(void *ctx)
{
    daemon_loop = loop_new("echo");
    loop_start(daemon_loop);
    struct err err;
    struct net_addr at = addr("0.0.0.0:25");
    assert_non_null(listener_new(daemon_loop, &at, echo_accepted, NULL, &err));
}

// ---- A client that sends and checks. ----

struct client {
    struct stream *s;
    struct buf sent, got;
    unsigned connected, drained, ended, failed, ready;
    bool inside; // one of our own calls is on the stack
    bool lazy;   // takes nothing until it has all
    size_t want;
};

static size_t client_data(void *ctx, const char *bytes, size_t len)
{
    struct client *c = ctx;
    assert_false(c->inside);
    assert_true(c->ended == 0 && c->failed == 0);
    if (c->lazy && len < c->want)
        return 0;
    size_t n = c->lazy ? len : 1 + world_below(len);
    assert_true(buf_append(&c->got, bytes, n));
    return n;
}

static void client_event(void *ctx, enum stream_event event)
{
    struct client *c = ctx;
    assert_false(c->inside);
    assert_int_equal(c->failed, 0);
    switch (event) {
    case STREAM_CONNECTED: c->connected++; break;
    case STREAM_DRAINED:
        c->drained++;
        assert_int_equal(stream_queued(c->s), 0);
        break;
    case STREAM_EOF: c->ended++; break;
    case STREAM_ERROR: c->failed++; break;
    case STREAM_TLS_READY: c->ready++; break;
    }
}

static const struct stream_handler client_handler = {client_data, client_event};

static void client_start(struct client *c, const char *to)
{
    *c = (struct client){0};
    buf_init(&c->sent, 1 << 20);
    buf_init(&c->got, 1 << 20);
    struct net_addr at = addr(to);
    c->inside = true;
    c->s = world_connect(&at, NULL, &client_handler, c);
    c->inside = false;
}

static void client_send(struct client *c, size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_true(buf_putc(&c->sent, (char)world_below(256)));
    c->inside = true;
    stream_write(c->s, c->sent.data + c->sent.len - len, len);
    if (world_chance(300))
        stream_flush(c->s);
    c->inside = false;
}

static void client_end(struct client *c)
{
    stream_close(&c->s, false);
    buf_free(&c->sent);
    buf_free(&c->got);
}

static uint64_t echo_run(uint64_t seed)
{
    world_new(seed);
    assert_int_equal(world_boot(boot_echo, NULL), WORLD_RAN);
    struct client c[3];
    for (size_t i = 0; i < 3; i++) {
        client_start(&c[i], "127.0.0.1:25");
        client_send(&c[i], 1 + world_below(100000));
    }
    run_for(600000);
    for (size_t i = 0; i < 3; i++) {
        // The last byte offered may be kept: the client takes a random part each time.
        while (stream_kept(c[i].s) > 0) {
            stream_resume(c[i].s);
            run_for(1);
        }
        assert_int_equal(c[i].connected, 1);
        assert_int_equal(c[i].failed, 0);
        assert_int_equal(c[i].got.len, c[i].sent.len);
        assert_memory_equal(c[i].got.data, c[i].sent.data, c[i].sent.len);
        client_end(&c[i]);
    }
    run_for(600000);
    assert_int_equal(world_daemon_streams(), 0);
    uint64_t trace = world_trace();
    world_free();
    return trace;
}

static void test_same_seed_same_run(void **state)
{
    uint64_t first = echo_run(1);
    for (uint64_t seed = 2; seed < 40; seed++)
        assert_int_not_equal(echo_run(seed), first);
    assert_int_equal(echo_run(1), first);
}

static void test_kept_bytes(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        world_new(seed);
        world_boot(boot_echo, NULL);
        struct client c;
        client_start(&c, "127.0.0.1:25");
        c.lazy = true;
        c.want = 5000;
        client_send(&c, 5000);
        run_for(60000);
        assert_int_equal(c.got.len, 5000);
        assert_int_equal(stream_kept(c.s), 0);
        // Never more than STREAM_KEEP, and nothing is lost by the wait.
        c.want = SIZE_MAX;
        client_send(&c, 100000);
        run_for(600000);
        assert_int_equal(stream_kept(c.s), STREAM_KEEP);
        c.lazy = false;
        stream_resume(c.s);
        while (c.got.len < 105000) {
            stream_resume(c.s);
            run_for(10);
        }
        assert_memory_equal(c.got.data, c.sent.data, c.sent.len);
        client_end(&c);
        world_free();
    }
}

static struct world_link wish;

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    link->fate = wish.fate;
    link->reset_after = wish.reset_after;
    link->silent_after = wish.silent_after;
    link->drip_us = wish.drip_us;
    if (wish.drip_us > 0)
        link->chunk_max = 1;
}

static void test_link_faults(void **state)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        world_new(seed);
        world_boot(boot_echo, NULL);
        world_on_connect(decide, NULL);
        wish = (struct world_link){.reset_after = UINT64_MAX, .silent_after = UINT64_MAX};
        struct client c;
        client_start(&c, "10.0.0.9:99"); // nobody listens
        run_for(1000);
        assert_int_equal(c.failed, 1);
        assert_string_equal(stream_error(c.s), "Connection refused");
        client_end(&c);

        wish.fate = WORLD_LINK_BLACKHOLE;
        client_start(&c, "127.0.0.1:25");
        run_for(120000);
        assert_int_equal(c.failed, 0);
        run_for(20000);
        assert_int_equal(c.failed, 1);
        assert_int_equal(stream_errno(c.s), ETIMEDOUT);
        client_end(&c);

        wish.fate = WORLD_LINK_UP;
        wish.reset_after = 3000;
        client_start(&c, "127.0.0.1:25");
        client_send(&c, 10000);
        run_for(60000);
        assert_int_equal(c.failed, 1);
        assert_true(c.got.len < 3000);
        client_end(&c);

        wish.reset_after = UINT64_MAX;
        wish.silent_after = 100;
        client_start(&c, "127.0.0.1:25");
        client_send(&c, 10000);
        run_for(600000);
        assert_int_equal(c.failed + c.ended, 0);
        run_for(600000);
        assert_int_equal(c.failed, 1); // TCP gives up
        client_end(&c);

        wish.silent_after = UINT64_MAX;
        wish.drip_us = 1000000;
        client_start(&c, "127.0.0.1:25");
        client_send(&c, 100);
        run_for(10500);
        assert_in_range(c.got.len, 1, 11);
        client_end(&c);
        world_free();
    }
}

// ---- TLS. ----

struct tls_end {
    struct stream *s;
    struct tls_server *tls;
    size_t got;
    unsigned ready, failed;
    bool with_injection;
};
static struct tls_end server_end;

static size_t tls_server_data(void *ctx, const char *bytes, size_t len)
{
    struct tls_end *e = ctx;
    if (!stream_is_tls(e->s)) {
        if (memchr(bytes, '\n', len) == NULL)
            return 0;
        stream_write(e->s, e->with_injection ? "go\ninjected\n" : "go\n",
                     e->with_injection ? 12 : 3);
        stream_start_tls_server(e->s, e->tls);
        return len;
    }
    e->got += len;
    return len;
}

static void tls_server_event(void *ctx, enum stream_event event)
{
    struct tls_end *e = ctx;
    e->ready += event == STREAM_TLS_READY;
    e->failed += event == STREAM_ERROR;
}

static const struct stream_handler tls_server_handler = {tls_server_data, tls_server_event};

static void tls_accepted(void *ctx, struct stream *s)
{
    server_end.s = s;
    stream_attach(s, &tls_server_handler, &server_end);
}

static size_t tls_client_data(void *ctx, const char *bytes, size_t len)
{
    struct client *c = ctx;
    if (memchr(bytes, '\n', len) == NULL)
        return 0;
    assert_memory_equal(bytes, "go\n", 3);
    struct tls_client_params params = {
        .server_name = "mx.example", .verify = TLS_VERIFY_FULL, .session_key = "mx"};
    stream_start_tls_client(c->s, &params);
    stream_write(c->s, "secret", 6);
    return 3;
}

static void test_tls(void **state)
{
    static const struct stream_handler handler = {tls_client_data, client_event};
    struct err err;
    for (uint64_t seed = 0; seed < 60; seed++) {
        world_new(seed);
        struct net_addr at = addr("10.0.0.1:25");
        server_end = (struct tls_end){.tls = tls_server_self_signed("x", &err)};
        server_end.with_injection = seed % 3 == 2;
        if (seed % 3 == 1)
            world_set_certificate("mx.example", WORLD_CERT_EXPIRED);
        struct listener *l = world_listen(&at, tls_accepted, NULL);
        struct client c = {0};
        c.s = world_connect(&at, NULL, &handler, &c);
        stream_write(c.s, "STARTTLS\n", 9);
        run_for(60000);
        if (seed % 3 == 0) {
            assert_int_equal(c.ready, 1);
            assert_int_equal(server_end.ready, 1);
            assert_int_equal(server_end.got, 6);
            assert_true(stream_tls_verified(c.s));
            assert_false(stream_tls_reused(c.s));
        } else if (seed % 3 == 1) {
            assert_int_equal(c.failed, 1);
            assert_true(stream_error_is_tls(c.s));
            assert_string_equal(stream_error(c.s), "certificate expired on 2020-01-01");
            assert_int_equal(server_end.got, 0);
        } else {
            // What came in clear behind the "go" is either thrown away unread or ends it.
            assert_int_equal(c.ready + c.failed, 1);
        }
        stream_close(&c.s, false);
        stream_close(&server_end.s, false);
        listener_free(&l);
        tls_server_unref(&server_end.tls);
        world_free();
    }
}

// ---- Loops. ----

struct numbered {
    struct post post;
    unsigned sender, number;
};
static unsigned next_number[3], arrived;
static struct loop *three[3];
static bool kept_order;

static void numbered_run(struct post *post)
{
    struct numbered *n = (struct numbered *)post;
    kept_order = kept_order && next_number[n->sender] == n->number;
    next_number[n->sender]++;
    arrived++;
    xfree(n);
}

static void send_hundred(void *ctx)
{
    unsigned sender = *(unsigned *)ctx;
    for (unsigned i = 0; i < 100; i++) {
        struct numbered *n = xcalloc(1, sizeof(*n));
        n->sender = sender;
        n->number = i;
        n->post.run = numbered_run;
        loop_post(three[0], &n->post);
    }
}

static struct timer kick[3];
static unsigned kick_id[3] = {0, 1, 2};

static void boot_three(void *ctx)
{
    for (unsigned i = 0; i < 3; i++) {
        three[i] = loop_new("numbered");
        loop_start(three[i]);
        timer_init(&kick[i], three[i], send_hundred, &kick_id[i]);
        timer_start(&kick[i], 5);
    }
}

static void test_posts_keep_order(void **state)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        world_new(seed);
        memset(next_number, 0, sizeof(next_number));
        arrived = 0;
        kept_order = true;
        world_boot(boot_three, NULL);
        run_for(2000);
        assert_int_equal(arrived, 300);
        assert_true(kept_order);
        world_free();
        assert_int_equal(world_daemon_bytes(), 0);
    }
}

static struct timer ticks[2];
static int64_t fired_at[2];
static struct defer later;
static unsigned defers_run;

static void tick(void *ctx)
{
    fired_at[ctx == &ticks[1]] = loop_now_ms(world_loop());
}

static void run_defer(void *ctx)
{
    defers_run++;
}

static void test_timers_and_clocks(void **state)
{
    world_new(7);
    int64_t start = world_now_ms(), wall = clock_wall_ms();
    timer_init(&ticks[0], world_loop(), tick, &ticks[0]);
    timer_init(&ticks[1], world_loop(), tick, &ticks[1]);
    timer_start(&ticks[0], 10);
    timer_start(&ticks[0], 86400000);
    timer_start(&ticks[1], 20);
    timer_stop(&ticks[1]);
    assert_false(timer_running(&ticks[1]));
    world_jump_clock(-3600000);
    loop_defer(world_loop(), &later, run_defer, NULL);
    loop_defer(world_loop(), &later, run_defer, NULL);
    fired_at[0] = fired_at[1] = defers_run = 0;
    assert_int_equal(world_run_until(start + 90000000, NULL, NULL), WORLD_IDLE);
    assert_int_equal(fired_at[0], start + 86400000);
    assert_int_equal(fired_at[1], 0);
    assert_int_equal(defers_run, 1);
    assert_int_equal(clock_wall_ms() - wall, 90000000 - 3600000);
    world_free();
}

static unsigned joined;

struct work_item {
    struct work work;
    bool worked;
};

static void do_work(struct work *w)
{
    ((struct work_item *)w)->worked = true;
}

static void work_is_done(struct work *w)
{
    assert_true(((struct work_item *)w)->worked);
    joined += 10;
    xfree(w);
}

static void boot_and_join(void *ctx)
{
    struct loop *loop = loop_new("short");
    loop_start(loop);
    three[0] = loop;
    for (unsigned i = 0; i < 3; i++) {
        struct numbered *n = xcalloc(1, sizeof(*n));
        n->number = i;
        n->post.run = numbered_run;
        loop_post(loop, &n->post);
    }
    struct work_item *item = xcalloc(1, sizeof(*item));
    item->work.home = loop;
    item->work.work = do_work;
    item->work.done = work_is_done;
    worker_submit(&item->work);
    worker_stop_all();
    loop_stop(loop);
    loop_join(loop);
    loop_free(&loop);
    joined++;
}

static void test_join(void **state)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        world_new(seed);
        arrived = joined = 0;
        memset(next_number, 0, sizeof(next_number));
        assert_int_equal(world_boot(boot_and_join, NULL), WORLD_RAN);
        assert_int_equal(arrived, 3);
        assert_int_equal(joined, 11);
        assert_int_equal(world_daemon_loops(), 0);
        assert_int_equal(world_daemon_bytes(), 0);
        world_free();
    }
}

// ---- Names. ----

static struct names_answer last_answer;
static char last_name[2][256];

static void answered(void *ctx, const struct names_answer *answer)
{
    last_answer = *answer;
    for (size_t i = 0; i < answer->count && i < 2; i++)
        snprintf(last_name[i], sizeof(last_name[i]), "%s", answer->records[i].name);
}

static enum names_status ask(struct names *names, const char *name, enum names_type type)
{
    names_lookup(names, name, type, answered, NULL);
    run_for(30000);
    return last_answer.status;
}

static void test_names(void **state)
{
    world_new(3);
    struct err err;
    struct names *names = names_new(world_loop(), &(struct names_settings){0}, &err);
    world_name_mx("Example.org.", 20, "b.example.org");
    world_name_mx("example.org", 10, "A.example.org.");
    world_name_address("a.example.org", "10.0.0.1");
    assert_int_equal(ask(names, "EXAMPLE.org", NAMES_MX), NAMES_OK);
    assert_int_equal(last_answer.count, 2);
    assert_string_equal(last_name[0], "a.example.org");
    assert_int_equal(ask(names, "example.org", NAMES_A), NAMES_NODATA);
    assert_int_equal(ask(names, "nowhere.example", NAMES_A), NAMES_NXDOMAIN);
    world_name_status("a.example.org", NAMES_A, NAMES_BOGUS);
    assert_int_equal(ask(names, "a.example.org", NAMES_A), NAMES_BOGUS);
    world_name_status("a.example.org", NAMES_A, NAMES_OK);
    assert_int_equal(ask(names, "a.example.org", NAMES_A), NAMES_OK);
    world_names_dead(true, true);
    assert_int_equal(ask(names, "example.org", NAMES_MX), NAMES_FAILED);
    last_answer.status = NAMES_OK;
    struct names_query *query = names_lookup(names, "x", NAMES_A, answered, NULL);
    names_cancel(&query);
    run_for(30000);
    assert_int_equal(last_answer.status, NAMES_OK);
    names_free(&names);
    world_free();
}

// ---- Disk. ----

static void write_text(struct file *file, uint64_t offset, const char *text)
{
    struct err err;
    struct file_piece piece = {text, strlen(text)};
    assert_true(file_write(file, offset, &piece, 1, &err));
}

static char found[8192];

static const char *contents(const char *path)
{
    struct buf b;
    buf_init(&b, sizeof(found) - 1);
    if (!world_disk_get(path, &b)) {
        buf_free(&b);
        return NULL;
    }
    snprintf(found, sizeof(found), "%s", buf_cstr(&b));
    buf_free(&b);
    return found;
}

static void boot_writer(void *ctx)
{
    struct err err;
    assert_true(dir_make("/spool", 0700, &err));
    assert_true(dir_sync("/", &err));
    struct file *synced = file_open("/spool/synced", FILE_CREATE, &err);
    write_text(synced, 0, "kept");
    assert_true(file_sync(synced, &err));
    struct file *named = file_open("/spool/old", FILE_CREATE, &err);
    write_text(named, 0, "old name");
    assert_true(file_sync(named, &err));
    assert_true(dir_sync("/spool", &err));
    write_text(synced, 4, "+tail");
    assert_true(path_rename("/spool/old", "/spool/new", &err));
    struct file *nameless = file_open("/spool/nameless", FILE_CREATE, &err);
    write_text(nameless, 0, "synced without its name");
    assert_true(file_sync(nameless, &err));
    assert_true(file_lock(nameless, &err));
}

static void test_disk_power_cut(void **state)
{
    unsigned tails = 0, renamed = 0, appeared = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        world_new(seed);
        assert_int_equal(world_boot(boot_writer, NULL), WORLD_RAN);
        world_crash(seed < 20 ? WORLD_KILLED : WORLD_POWER_CUT);
        const char *text = contents("/spool/synced");
        assert_non_null(text);
        assert_memory_equal(text, "kept", 4);
        bool tail = strcmp(text, "kept+tail") == 0;
        const char *old = contents("/spool/old");
        bool is_new = contents("/spool/new") != NULL;
        assert_true((old != NULL) != is_new); // one of both, never none or two
        assert_string_equal(contents(is_new ? "/spool/new" : "/spool/old"), "old name");
        bool there = contents("/spool/nameless") != NULL;
        if (seed < 20) {
            assert_true(tail && is_new && there);
        } else {
            tails += tail;
            renamed += is_new;
            appeared += there;
        }
        struct err err;
        struct file *file = file_open("/spool/synced", FILE_WRITE, &err);
        assert_true(file_lock(file, &err)); // locks die with their process
        file_close(&file);
        world_free();
    }
    assert_in_range(tails, 50, 230);
    assert_in_range(renamed, 50, 230);
    assert_in_range(appeared, 50, 230);
}

static void boot_torn(void *ctx)
{
    struct err err;
    char block[4096];
    world_disk_mkdirs("/d");
    struct file *file = file_open("/d/f", FILE_CREATE, &err);
    for (char c = 'a'; c <= 'b'; c++) {
        memset(block, c, sizeof(block));
        struct file_piece piece = {block, sizeof(block)};
        assert_true(file_write(file, 0, &piece, 1, &err));
        if (c == 'a')
            assert_true(file_sync(file, &err) && dir_sync("/d", &err));
    }
}

static void test_disk_tears_at_sectors(void **state)
{
    unsigned torn = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        world_new(seed);
        world_boot(boot_torn, NULL);
        world_crash(WORLD_POWER_CUT);
        assert_non_null(contents("/d/f"));
        assert_int_equal(strlen(found), 4096);
        for (size_t s = 0; s < 8; s++) {
            for (size_t i = 0; i < 512; i++)
                assert_int_equal(found[s * 512 + i], found[s * 512]);
        }
        torn += memchr(found, 'a', 4096) != NULL && memchr(found, 'b', 4096) != NULL;
        world_free();
    }
    assert_in_range(torn, 20, 90);
}

static void boot_bad_sync(void *ctx)
{
    struct err err;
    char block[4096];
    memset(block, 'x', sizeof(block));
    world_disk_mkdirs("/d");
    struct file *file = file_open("/d/f", FILE_CREATE, &err);
    assert_true(dir_sync("/d", &err));
    struct file_piece piece = {block, sizeof(block)};
    assert_true(file_write(file, 0, &piece, 1, &err));
    world_disk_fail(WORLD_DISK_SYNC, 1, EIO, false);
    assert_false(file_sync(file, &err));
    assert_int_equal(err.code, EIO);
    assert_true(file_sync(file, &err)); // the lie
    assert_int_equal(file_read(file, 0, block, 10, &err), 10);
    assert_int_equal(block[0], 'x');
}

static void test_failed_sync_loses(void **state)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        world_new(seed);
        world_boot(boot_bad_sync, NULL);
        world_crash(WORLD_POWER_CUT);
        assert_non_null(contents("/d/f"));
        size_t count = 0;
        for (size_t i = 0; i < 4096; i++)
            count += found[i] == 'x';
        lost += count < 4096;
        world_free();
    }
    assert_true(lost > 40);
}

static void boot_plain_sync(void *ctx)
{
    struct err err;
    world_disk_mkdirs("/d");
    struct file *file = file_open("/d/f", FILE_CREATE, &err);
    write_text(file, 0, "content");
    assert_true(file_sync(file, &err) && dir_sync("/d", &err));
    world_disk_limit(world_disk_used() + 8192);
    struct file *big = file_open("/d/big", FILE_CREATE, &err);
    assert_false(file_allocate(big, 100000, &err));
    assert_int_equal(err.code, ENOSPC);
    assert_true(file_allocate(big, 8192, &err));
    write_text(big, 8000, "fits");
    assert_true(path_remove("/d/big", &err));
    file_close(&big);
    big = file_open("/d/big2", FILE_CREATE, &err);
    assert_true(file_allocate(big, 8192, &err)); // the space came back
    world_disk_fail(WORLD_DISK_OPEN, 2, EMFILE, true);
    struct file *again = file_open("/d/f", FILE_READ, &err);
    assert_non_null(again);
    assert_null(file_open("/d/f", FILE_READ, &err));
    assert_null(file_open("/d/f", FILE_READ, &err));
    assert_int_equal(err.code, EMFILE);
    char **names = dir_list("/d", &err);
    assert_string_equal(names[0], "big2");
    assert_string_equal(names[1], "f");
    assert_null(names[2]);
    dir_list_free(&names);
}

static void test_lost_syncs_and_limits(void **state)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        world_new(seed);
        world_lose_syncs(seed % 2 == 0);
        assert_int_equal(world_boot(boot_plain_sync, NULL), WORLD_RAN);
        world_crash(WORLD_POWER_CUT);
        const char *text = contents("/d/f");
        bool good = text != NULL && strcmp(text, "content") == 0;
        assert_true(seed % 2 == 0 || good);
        lost += !good;
        world_free();
    }
    assert_true(lost > 15); // the control that must fail
}

// ---- Crashes. ----

static void boot_all(void *ctx)
{
    boot_echo(NULL);
    boot_writer(NULL);
    void *leaked = xmalloc(1000);
    memset(leaked, 1, 1000);
    char *name = xstrdup("x");
    xfree(xrealloc(name, 100));
}

static void test_crash_at_every_call(void **state)
{
    world_new(1);
    assert_int_equal(world_boot(boot_all, NULL), WORLD_RAN);
    uint64_t calls = world_calls(), allocations = world_allocations();
    world_free();
    assert_true(calls > 15 && allocations > 2);
    for (uint64_t n = 1; n <= calls; n++) {
        world_new(1);
        world_crash_at_call(n, WORLD_POWER_CUT);
        assert_int_equal(world_boot(boot_all, NULL), WORLD_CRASHED);
        assert_int_equal(world_daemon_bytes(), 0);
        assert_int_equal(world_daemon_loops(), 0);
        assert_int_equal(world_boot(boot_all, NULL), WORLD_RAN);
        world_free();
        assert_int_equal(world_daemon_bytes(), 0);
    }
}

static void boot_refused(void *ctx)
{
    assert_null(mem_try(10));
    assert_non_null(mem_try(10));
}

static void boot_grow(void *ctx)
{
    char *text = xstrdup("x");
    xrealloc(text, 1000);
}

static void test_allocations_fail(void **state)
{
    world_new(1);
    world_fail_allocation(1);
    assert_int_equal(world_boot(boot_refused, NULL), WORLD_RAN);
    world_crash(WORLD_KILLED);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        world_fail_allocation(nth);
        assert_int_equal(world_boot(boot_grow, NULL), WORLD_CRASHED);
        assert_int_equal(world_daemon_bytes(), 0);
    }
    world_fail_allocation(3);
    assert_int_equal(world_boot(boot_grow, NULL), WORLD_RAN);
    world_free();
}

static void test_peers_outlive_a_crash(void **state)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        world_new(seed);
        world_boot(boot_echo, NULL);
        struct client c;
        client_start(&c, "127.0.0.1:25");
        client_send(&c, 20000);
        if (seed % 3 == 0)
            world_crash_at_call(1 + world_below(20), WORLD_KILLED);
        enum world_went went = run_for(1 + (int64_t)world_below(20));
        if (went != WORLD_CRASHED)
            world_crash(seed % 2 == 0 ? WORLD_KILLED : WORLD_POWER_CUT);
        assert_int_equal(world_daemon_bytes(), 0);
        assert_int_equal(world_daemon_streams(), 0);
        run_for(200000);
        assert_int_equal(c.failed, 1);
        client_end(&c);
        world_boot(boot_echo, NULL);
        client_start(&c, "127.0.0.1:25");
        client_send(&c, 10);
        run_for(60000);
        assert_true(c.got.len > 0);
        client_end(&c);
        world_free();
    }
}

static void boot_blob(void *ctx)
{
    assert_non_null(blob_try_new(1000));
}

static void blobs_are_forgotten_in_a_crash(void **state)
{
    world_new(77);
    assert_int_equal(world_boot(boot_blob, NULL), WORLD_RAN);
    assert_true(blob_total() >= 1000);
    world_crash(WORLD_KILLED);
    assert_int_equal(blob_total(), 0);
    world_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_are_forgotten_in_a_crash),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_kept_bytes),
        cmocka_unit_test(test_link_faults),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_posts_keep_order),
        cmocka_unit_test(test_timers_and_clocks),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_disk_power_cut),
        cmocka_unit_test(test_disk_tears_at_sectors),
        cmocka_unit_test(test_failed_sync_loses),
        cmocka_unit_test(test_lost_syncs_and_limits),
        cmocka_unit_test(test_crash_at_every_call),
        cmocka_unit_test(test_allocations_fail),
        cmocka_unit_test(test_peers_outlive_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
