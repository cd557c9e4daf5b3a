// SPDX-License-Identifier: ISC
// waypost-sim: the whole daemon in the simulated world, seed by seed, under everything that can go
// wrong, and the promise checked at the end of each.
//
//   waypost-sim --seeds FROM-TO [--verbose] [--twice] [--control no-sync]
//
// One seed: a random load, hours of trouble (rude servers, cut and silent links, dead DNS, clock
// jumps, failing disk, kills and power cuts between events and inside calls), then all is healed
// and days go by until every accepted message has arrived or was returned. --twice runs each seed
// again and compares the traces. The control run loses all syncs: it must be caught losing mail.
#include "ledger.h"
#include "peer_client.h"
#include "peer_server.h"

#include "base/mem.h"
#include "conf/read.h"
#include "main/daemon.h"
#include "sim/world.h"
#include "spool/store.h"
#include "sys/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const char config[] = "hostname: relay.example.org\n"
                             "spool: /spool\n"
                             "run: /run\n"
                             "loops: 2\n"
                             "listeners:\n"
                             "  local: {address: \"127.0.0.1:25\"}\n"
                             "gateways:\n"
                             "  relay1: {url: \"smtp://relay1.example\"}\n"
                             "  relay2: {url: \"smtp://10.0.0.2\", priority: low}\n"
                             "routes:\n"
                             "  - {to: [\"*.direct.example\"], via: [direct]}\n"
                             "  - {via: [relay1, relay2]}\n"
                             "queue: {retry: [1m, 5m, 15m, 1h], warn: 4h, expire: 5d}\n";

static struct {
    bool control, twice, verbose;
    uint64_t first, last;
} options;

static struct run {
    struct daemon *daemon; // NULL: down
    struct loop *conductor;
    bool stopped;
    struct err boot_err;
    int64_t boot_at_ms; // while down
    bool trouble;       // still on
    unsigned crashes;
} run;

// ---- The daemon. ----

static void boot(void *ctx)
{
    struct conf_report report = {0};
    conf_report_init(&report);
    struct conf *conf = conf_read_text("sim.yaml", str_of(config), &report);
    if (conf == NULL) {
        struct buf text;
        buf_init(&text, 1 << 16);
        conf_report_print(&report, &text);
        fprintf(stderr, "%s", buf_cstr(&text));
        exit(2);
    }
    conf_report_free(&report);
    run.conductor = loop_new("conductor");
    run.daemon = daemon_start(conf, run.conductor, &run.boot_err);
    conf_unref(&conf);
    if (run.daemon != NULL)
        loop_start(run.conductor);
    else
        loop_free(&run.conductor);
}

static void died(void)
{
    run.daemon = NULL;
    run.crashes++;
    run.boot_at_ms = world_now_ms() + 100 + (int64_t)world_below(30 * SECOND);
    ledger_crash();
}

static void crash(enum world_crash how)
{
    world_note("the driver %s the daemon", how == WORLD_KILLED ? "kills" : "cuts the power of");
    world_crash(how);
    died();
}

static void keep_it_up(void)
{
    if (run.daemon != NULL && store_failed(daemon_store(run.daemon))) {
        world_note("the store has failed, the daemon must start anew");
        crash(WORLD_KILLED);
    }
    if (run.daemon != NULL || world_now_ms() < run.boot_at_ms)
        return;
    if (world_boot(boot, NULL) == WORLD_CRASHED) {
        died();
    } else if (run.daemon == NULL) {
        world_note("it does not start: %s", run.boot_err.text);
        run.boot_at_ms = world_now_ms() + 10 * SECOND;
    } else {
        world_note("the daemon runs");
    }
}

// ---- Trouble. ----

static void link_trouble(void *ctx, const struct net_addr *from, const struct net_addr *to,
                         struct world_link *link)
{
    if (!run.trouble || world_chance(800))
        return;
    bool local = net_addr_is_loopback(to);
    switch (world_below(local ? 4 : 8)) {
    case 0: link->reset_after = world_below(3000); break;
    case 1: link->reset_after = world_below(50000); break;
    case 2:
        link->chunk_max = 1 + (size_t)world_below(200);
        link->drip_us = (int64_t)world_below(300000);
        break;
    case 3: link->silent_after = world_below(5000); break;
    case 4: link->fate = WORLD_LINK_REFUSED; break;
    case 5: link->fate = WORLD_LINK_BLACKHOLE; break;
    case 6: link->fate = WORLD_LINK_UNREACHABLE; break;
    case 7: link->latency_us = (int64_t)world_below(5000000); break;
    }
}

static enum world_crash either_way(void)
{
    return options.control || world_chance(600) ? WORLD_POWER_CUT : WORLD_KILLED;
}

static void disk_trouble(void)
{
    static const int codes[] = {EIO, ENOSPC, EMFILE, EROFS};
    world_disk_heal();
    ledger_turmoil();
    if (world_chance(200)) {
        world_disk_limit(world_disk_used() + world_below(300000));
        return;
    }
    enum world_disk_op op = (enum world_disk_op)world_below(WORLD_DISK_OPS);
    world_disk_fail(op, 1 + world_below(40), codes[world_below(4)], world_chance(300));
}

static void make_trouble(void)
{
    if (run.daemon != NULL && options.control && world_chance(200)) {
        crash(WORLD_POWER_CUT);
        return;
    }
    switch (world_below(12)) {
    case 0:
    case 1:
        if (run.daemon != NULL)
            crash(either_way());
        break;
    case 2:
    case 3: world_crash_at_call(1 + world_below(2000), either_way()); break;
    case 4: world_jump_clock((int64_t)world_below(4 * HOUR) - 2 * HOUR); break;
    case 5:
        world_jump_clock(world_chance(500) ? 10 * (int64_t)DAY : -(int64_t)world_below(DAY));
        break;
    case 6: world_names_dead(true, world_chance(500)); break;
    case 7: world_names_dead(false, false); break;
    case 8: world_cut_links(world_chance(500)); break;
    case 9: disk_trouble(); break;
    case 10: world_disk_heal(); break;
    case 11: world_fail_allocation(1 + world_below(5000)); break;
    }
}

static void heal(void)
{
    world_note("all is healed");
    run.trouble = false;
    world_crash_at_call(0, WORLD_KILLED);
    world_fail_allocation(0);
    world_names_dead(false, false);
    world_disk_heal();
    servers_behave();
    clients_behave();
}

// ---- One seed. ----

static void spend(int64_t ms)
{
    int64_t until = world_now_ms() + ms;
    while (world_now_ms() < until) {
        keep_it_up();
        int64_t next = world_now_ms() + (run.trouble ? SECOND : MINUTE);
        if (run.daemon == NULL && next > run.boot_at_ms)
            next = run.boot_at_ms > world_now_ms() ? run.boot_at_ms : world_now_ms() + 1;
        if (world_run_until(next < until ? next : until, NULL, NULL) == WORLD_CRASHED)
            died();
    }
}

static void on_stopped(void *ctx)
{
    daemon_free(&run.daemon);
    run.stopped = true;
}

static void stop(void *ctx)
{
    daemon_stop(run.daemon, on_stopped, NULL);
}

static void end_loops(void *ctx)
{
    loop_free(&run.conductor);
    worker_stop_all();
}

static bool is_stopped(void *ctx)
{
    return run.stopped;
}

// An orderly end must come to its end, and leave nothing behind.
static unsigned stop_in_order(void)
{
    if (run.daemon == NULL)
        return 0;
    world_boot(stop, NULL);
    world_run_until(world_now_ms() + 2 * (int64_t)HOUR, is_stopped, NULL);
    if (!run.stopped) {
        fprintf(stderr, "violation: the daemon does not stop\n");
        return 1;
    }
    world_boot(end_loops, NULL);
    if (world_daemon_bytes() == 0)
        return 0;
    fprintf(stderr, "violation: %zu bytes are left after an orderly end\n", world_daemon_bytes());
    return 1;
}

static void hand_in_messages(int64_t within_ms)
{
    uint64_t messages = 3 + world_below(world_chance(100) ? 100 : 25);
    for (uint64_t i = 0; i < messages; i++)
        clients_send(ledger_add(), (int64_t)world_below((uint64_t)within_ms));
}

static unsigned run_seed(uint64_t seed, uint64_t *trace_out)
{
    world_new(seed);
    run = (struct run){.trouble = true};
    world_on_connect(link_trouble, NULL);
    world_lose_syncs(options.control);
    world_disk_mkdirs("/spool");
    world_disk_mkdirs("/run");
    ledger_new();
    servers_new();
    clients_new();
    servers_set_rudeness((unsigned)world_below(600));

    int64_t hours = 1 + (int64_t)world_below(12);
    hand_in_messages(hours * HOUR / 2);
    int64_t calm_ms = world_chance(100) ? hours * HOUR : (int64_t)(10 + world_below(20)) * MINUTE;
    int64_t end = world_now_ms() + hours * HOUR;
    while (world_now_ms() < end) {
        spend(1 + (int64_t)world_below((uint64_t)calm_ms));
        make_trouble();
    }
    heal();
    // All clients that still have something get through, then the queue drains.
    for (int64_t days = 0; days < 8 * 24 && !(clients_idle() && ledger_settled()); days++)
        spend(HOUR);
    spend(HOUR); // copies under way, if any, arrive
    clients_stop();
    unsigned faults = ledger_check_all();
    if (!clients_idle()) {
        fprintf(stderr, "violation: a client was put off for days\n");
        faults++;
    }
    if (faults == 0)
        faults = stop_in_order();
    if (faults > 0 && !options.control) {
        fprintf(stderr, "seed %llu: the history:\n", (unsigned long long)seed);
        world_print_log(stderr);
    }
    if (options.verbose)
        printf("seed %llu: %zu messages, %u crashes, %u violations, trace %016llx\n",
               (unsigned long long)seed, ledger_count(), run.crashes, faults,
               (unsigned long long)world_trace());
    *trace_out = world_trace();
    clients_free();
    servers_free();
    world_free();
    ledger_free();
    return faults;
}

static int run_all(void)
{
    uint64_t passed = 0;
    for (uint64_t seed = options.first; seed <= options.last; seed++) {
        uint64_t trace, again;
        unsigned faults = run_seed(seed, &trace);
        if (faults > 0 && options.control) {
            printf("control: seed %llu lost mail without syncs, as it must\n",
                   (unsigned long long)seed);
            return 0;
        }
        if (faults == 0 && options.twice) {
            run_seed(seed, &again);
            if (trace != again) {
                fprintf(stderr, "violation: two runs of one seed differ\n");
                faults = 1;
            }
        }
        if (faults > 0) {
            printf("seed %llu: %u violations; again: waypost-sim --seeds %llu-%llu\n",
                   (unsigned long long)seed, faults, (unsigned long long)seed,
                   (unsigned long long)seed);
            return 1;
        }
        passed++;
    }
    if (options.control) {
        printf("control: no seed lost mail without syncs: the test proves nothing\n");
        return 1;
    }
    printf("%llu seeds passed\n", (unsigned long long)passed);
    return 0;
}

int main(int argc, char **argv)
{
    options.first = 1;
    options.last = 100;
    for (int i = 1; i < argc; i++) {
        struct str from, to;
        if (strcmp(argv[i], "--verbose") == 0) {
            options.verbose = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            options.twice = true;
        } else if (strcmp(argv[i], "--control") == 0 && i + 1 < argc &&
                   strcmp(argv[i + 1], "no-sync") == 0) {
            options.control = true;
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            to = str_of(argv[++i]);
            str_split(&to, '-', &from);
            if (!str_u64(from, UINT64_MAX, &options.first) ||
                !str_u64(to.len > 0 ? to : from, UINT64_MAX, &options.last))
                goto usage;
        } else {
            goto usage;
        }
    }
    return run_all();
usage:
    fprintf(stderr, "waypost-sim --seeds FROM-TO [--verbose] [--twice] [--control no-sync]\n");
    return 2;
}
