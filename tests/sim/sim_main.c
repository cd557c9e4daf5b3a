// SPDX-License-Identifier: ISC
// waypost-sim: the whole daemon in the simulated world, seed by seed, under everything that can go
// wrong, and the promise checked at the end of each.
//
//   waypost-sim --seeds FROM-TO [--verbose] [--twice] [--keep-going] [--control no-sync]
//
// One seed: a random load, hours of trouble (rude servers, cut and silent links, dead DNS, clock
// jumps, a laptop on the move, picks and reloads, failing disk, kills and power cuts between events
// and inside calls), then all is healed and days go by until every accepted message has arrived or
// was returned. --twice runs each seed
// again and compares the traces. The control run loses all syncs: it must be caught losing mail.
#include "ledger.h"
#include "peer_client.h"
#include "peer_server.h"

#include "base/mem.h"
#include "main/daemon.h"
#include "queue/queue_view.h"
#include "sim/world.h"
#include "simulate/life.h"
#include "spool/store.h"

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
                             "networks:\n"
                             "  office: {address: [10.20.0.0/16]}\n"
                             "  home: {address: [192.0.2.0/24]}\n"
                             "gateways:\n"
                             "  relay1: {url: \"smtp://relay1.example\"}\n"
                             "  relay2: {url: \"smtp://10.0.0.2\", priority: low}\n"
                             "%s"
                             "routes:\n"
                             "  - {to: [\"*.direct.example\"], via: [direct]}\n"
                             "  - {via: [%srelay1, relay2]}\n"
                             "queue: {retry: [1m, 5m, 15m, 1h], warn: 4h, expire: %s}\n";

static struct {
    bool control, twice, verbose, keep_going;
    uint64_t first, last;
} options;

static struct run {
    struct daemon *daemon; // NULL: down
    struct loop *conductor;
    struct err boot_err;
    int64_t boot_at_ms; // while down
    bool trouble;       // still on
    unsigned crashes;
    bool expires; // mail is given up after days; then the clock makes no jumps of days, which would
                  // rightly end reports too, and nobody could tell that from a loss
    int64_t drift_ms;      // sum of all jumps
    bool reloading, other; // the configuration in force has a gateway for the office
} run;

// ---- The daemon. ----

static struct conf *read_conf(void)
{
    char text_of_seed[sizeof(config) + 128];
    snprintf(text_of_seed, sizeof(text_of_seed), config,
             run.other ? "  office: {url: \"smtp://10.0.0.2\", networks: [office]}\n" : "",
             run.other ? "office, " : "", run.expires ? "5d" : "never");
    struct conf *conf = life_conf("sim.yaml", str_of(text_of_seed), false);
    if (conf == NULL)
        exit(2);
    return conf;
}

static void boot(void *ctx)
{
    run.reloading = false;
    life_begin(read_conf(), &run.daemon, &run.conductor, &run.boot_err);
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
        uint64_t left = world_below(300000);
        world_note("trouble: the disk has %llu bytes left", (unsigned long long)left);
        world_disk_limit(world_disk_used() + left);
        return;
    }
    enum world_disk_op op = (enum world_disk_op)world_below(WORLD_DISK_OPS);
    uint64_t nth = 1 + world_below(40);
    int code = op == WORLD_DISK_READ ? EIO : codes[world_below(4)];
    bool on = world_chance(300);
    world_note("trouble: disk operation %d fails with %s at call %llu%s", op, strerror(code),
               (unsigned long long)nth, on ? " and from then on" : "");
    world_disk_fail(op, nth, code, on);
}

static void jump_clock(int64_t by_ms)
{
    // Waits are kept by the date: what went back too far would only wait longer.
    if (run.drift_ms + by_ms < -2 * (int64_t)DAY || (run.expires && by_ms > 2 * (int64_t)HOUR))
        return;
    run.drift_ms += by_ms;
    world_note("trouble: the clock jumps by %lld s", (long long)by_ms / SECOND);
    world_jump_clock(by_ms);
}

static void kill_soon(void)
{
    uint64_t nth = 1 + world_below(2000);
    enum world_crash how = either_way();
    world_note("trouble: %s at call %llu", how == WORLD_KILLED ? "a kill" : "a power cut",
               (unsigned long long)nth);
    world_crash_at_call(nth, how);
}

static void names_trouble(bool dead)
{
    bool slow = world_chance(500);
    world_note("trouble: DNS is %s", dead ? "dead" : "alive");
    world_names_dead(dead, slow);
}

static void cut_links(void)
{
    bool silently = world_chance(500);
    world_note("trouble: all links %s", silently ? "fall silent" : "are reset");
    world_cut_links(silently);
}

static void refuse_memory(void)
{
    uint64_t nth = 1 + world_below(5000);
    world_note("trouble: allocation %llu is refused", (unsigned long long)nth);
    world_fail_allocation(nth);
}

// ---- A laptop on the move, and its owner. ----

static void as_daemon(void (*fn)(void *ctx))
{
    if (run.daemon != NULL && world_boot(fn, NULL) == WORLD_CRASHED)
        died();
}

static void move_laptop(bool offline, bool office)
{
    static const char *const at_home[] = {"192.0.2.10/24", NULL}, *const at_work[] = {
                                                                      "10.20.3.4/16", NULL};
    world_note("the laptop is %s", offline ? "offline" : office ? "in the office" : "at home");
    world_link_set("eth0", "", office ? at_work : at_home, !offline);
}

static unsigned tries_sum;
static void sum_tries(void *ctx)
{
    struct queue *q = daemon_queue(run.daemon);
    uint64_t ids[256], after = 0;
    tries_sum = 0;
    world_spare(true);
    for (size_t n; (n = queue_list(q, after, STR(""), ids, 256)) > 0; after = ids[n - 1]) {
        for (size_t i = 0; i < n; i++) {
            struct arena *arena = arena_new();
            struct queue_message_view view;
            queue_show(q, ids[i], arena, &view);
            for (size_t k = 0; k < view.envelope.count; k++)
                if (!rcpt_state_final(view.rcpts[k].state))
                    tries_sum += view.rcpts[k].tries;
            arena_free(&arena);
        }
    }
    world_spare(false);
}

static void spend(int64_t ms);

// What is still under way comes to its end; from then on nobody is tried.
static unsigned stay_offline(void)
{
    move_laptop(true, false);
    spend(70 * MINUTE);
    unsigned crashes = run.crashes;
    if (run.daemon == NULL || store_failed(daemon_store(run.daemon)))
        return 0;
    world_boot(sum_tries, NULL);
    unsigned before = tries_sum;
    spend(HOUR + (int64_t)world_below(3 * HOUR));
    if (run.daemon == NULL || crashes != run.crashes)
        return 0;
    world_boot(sum_tries, NULL);
    if (tries_sum <= before)
        return 0;
    fprintf(stderr, "violation: attempts were counted offline (%u, then %u)\n", before, tries_sum);
    return 1;
}

static void flap(void)
{
    for (uint64_t i = 0, n = world_below(40); i < n; i++) {
        move_laptop(world_chance(500), world_chance(500));
        spend((int64_t)world_below(2 * SECOND));
    }
    move_laptop(false, world_chance(500));
}

static void do_pick(void *ctx)
{
    static const char *const names[] = {"relay1", "relay2", "office", ""};
    struct err err;
    queue_pick(daemon_queue(run.daemon), str_of(names[world_below(4)]), "the driver", &err);
}
static void do_release(void *ctx)
{
    struct err err;
    queue_pick(daemon_queue(run.daemon), STR(""), "the driver", &err);
}

static void on_reloaded(void *ctx, bool ok, const struct err *err)
{
    run.reloading = false;
}
static void do_reload(void *ctx)
{
    struct conf *conf = read_conf();
    run.reloading = true;
    daemon_reload(run.daemon, conf, on_reloaded, NULL);
    conf_unref(&conf);
}
static void change_conf(void)
{
    if (run.daemon == NULL || run.reloading)
        return;
    run.other = world_chance(500);
    world_note("the configuration is %s", run.other ? "the one with the office" : "the short one");
    as_daemon(do_reload);
}

static unsigned move_about(void)
{
    switch (world_below(6)) {
    case 0: return stay_offline();
    case 1: flap(); break;
    case 2: move_laptop(false, world_chance(500)); break;
    case 3: as_daemon(do_pick); break;
    case 4: change_conf(); break;
    case 5: move_laptop(true, false); break;
    }
    return 0;
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
    case 3: kill_soon(); break;
    case 4: jump_clock((int64_t)world_below(4 * HOUR) - 2 * HOUR); break;
    case 5: jump_clock(world_chance(500) ? 10 * (int64_t)DAY : -(int64_t)world_below(DAY)); break;
    case 6: names_trouble(true); break;
    case 7: names_trouble(false); break;
    case 8: cut_links(); break;
    case 9: disk_trouble(); break;
    case 10: world_disk_heal(); break;
    case 11: refuse_memory(); break;
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
    move_laptop(false, false);
    as_daemon(do_release);
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

// An orderly end must come to its end, and leave nothing behind.
static unsigned stop_in_order(void)
{
    if (run.daemon == NULL)
        return 0;
    if (!life_end(&run.daemon, &run.conductor)) {
        fprintf(stderr, "violation: the daemon does not stop\n");
        return 1;
    }
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
    run.expires = world_chance(500);
    life_segment_bytes = UINT64_C(65536) << world_below(6);
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
    unsigned moving_faults = 0;
    while (world_now_ms() < end) {
        spend(1 + (int64_t)world_below((uint64_t)calm_ms));
        if (world_chance(300))
            moving_faults += move_about();
        else
            make_trouble();
    }
    heal();
    // All clients that still have something get through, then the queue drains.
    for (int64_t days = 0; days < 8 * 24 && !(clients_idle() && ledger_settled()); days++)
        spend(HOUR);
    spend(HOUR); // copies under way, if any, arrive
    clients_stop();
    unsigned faults = ledger_check_all() + moving_faults;
    if (!clients_idle()) {
        fprintf(stderr, "violation: a client was put off for days\n");
        faults++;
    }
    if (faults == 0)
        faults = stop_in_order();
    if (faults > 0 && !options.control && !options.keep_going) {
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
    uint64_t passed = 0, failed = 0;
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
            failed++;
            if (!options.keep_going)
                return 1;
            continue;
        }
        passed++;
    }
    if (options.control) {
        printf("control: no seed lost mail without syncs: the test proves nothing\n");
        return 1;
    }
    printf("stage sim: %llu passed, %llu failed\n", (unsigned long long)passed,
           (unsigned long long)failed);
    return failed > 0;
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
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            options.keep_going = true;
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
    fprintf(stderr, "waypost-sim --seeds FROM-TO [--verbose] [--twice] [--keep-going] "
                    "[--control no-sync]\n");
    return 2;
}
