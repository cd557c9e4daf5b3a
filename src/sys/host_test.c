// SPDX-License-Identifier: ISC
// Facts about the host, the service manager's protocols, and the clock's and the random source's
// promises.
#include "sys/clock.h"
#include "sys/host.h"
#include "sys/sockaddr.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static struct net_addr at(const char *text)
{
    struct net_addr addr;
    assert_true(net_addr_parse(str_of(text), 0, &addr));
    return addr;
}

static bool owns(const char *text)
{
    struct net_addr addr = at(text);
    return host_owns(&addr);
}

static void the_host_knows_itself(void **state)
{
    char name[256];
    host_name(name);
    assert_non_null(strchr(name, '.'));
    assert_true(host_cores() >= 1);
    setenv("WAYPOST_TEST", "yes", 1);
    assert_string_equal(host_env("WAYPOST_TEST"), "yes");
    unsetenv("WAYPOST_TEST");
    assert_null(host_env("WAYPOST_TEST"));
}

static void own_addresses_are_known(void **state)
{
    assert_true(owns("127.0.0.1"));
    assert_true(owns("127.9.9.9"));
    assert_true(owns("[::1]"));
    assert_true(owns("0.0.0.0:25"));
    assert_false(owns("192.0.2.1")); // documentation addresses are nobody's
    assert_false(owns("[2001:db8::1]"));
    struct ifaddrs *list;
    assert_int_equal(getifaddrs(&list), 0);
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        struct net_addr addr;
        if (i->ifa_addr != NULL && sockaddr_to(i->ifa_addr, sizeof(struct sockaddr_in6), &addr))
            assert_true(host_owns(&addr));
    }
    freeifaddrs(list);
}

static void addresses_survive_the_way_to_the_kernel_and_back(void **state)
{
    static const char *const texts[] = {"127.0.0.1:25", "[2001:db8::1]:587", "unix:/run/x.sock",
                                        "unix:@abstract"};
    for (size_t i = 0; i < 4; i++) {
        struct net_addr addr = at(texts[i]), back;
        struct sockaddr_storage ss;
        socklen_t len = sockaddr_from(&addr, &ss);
        assert_true(len > 0);
        assert_true(sockaddr_to((struct sockaddr *)&ss, len, &back));
        assert_memory_equal(&addr, &back, sizeof(addr));
    }
    struct sockaddr_storage ss;
    struct net_addr none = {0}, empty = {.family = NET_UNIX};
    assert_int_equal(sockaddr_from(&none, &ss), 0);
    assert_int_equal(sockaddr_from(&empty, &ss), 0);
}

static int listening(const char *text, int type)
{
    struct net_addr addr = at(text);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from(&addr, &ss);
    int fd = socket(ss.ss_family, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void the_service_manager_is_told(void **state)
{
    char name[64], got[64] = "";
    unsetenv("NOTIFY_SOCKET");
    host_notify("READY=1"); // nobody there: nothing happens
    snprintf(name, sizeof(name), "unix:@waypost-test-%d", (int)getpid());
    setenv("NOTIFY_SOCKET", name + 5, 1);
    host_notify("READY=1"); // nobody listens: nothing happens
    int fd = listening(name, SOCK_DGRAM);
    host_notify("READY=1\nSTATUS=fine");
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), 19);
    assert_string_equal(got, "READY=1\nSTATUS=fine");
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

static bool is_another_of(int fd, int of)
{
    struct stat a, b;
    return fd > 5 && fstat(fd, &a) == 0 && fstat(of, &b) == 0 && a.st_ino == b.st_ino &&
           fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

// In a child, where descriptors 3 and 4 can be what is asked for.
static void look_for_passed_sockets(void)
{
    int first = listening("127.0.0.1:0", SOCK_STREAM);
    int second = listening("127.0.0.1:0", SOCK_STREAM);
    int not_listening = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_storage ss;
    struct net_addr addrs[2];
    for (int i = 0; i < 2; i++) {
        socklen_t len = sizeof(ss);
        getsockname(i == 0 ? first : second, (struct sockaddr *)&ss, &len);
        sockaddr_to((struct sockaddr *)&ss, len, &addrs[i]);
    }
    // Out of the way first: any of them may itself be 3 or 4 now.
    int a = dup(first), b = dup(second), c = dup(not_listening);
    a = dup(a), b = dup(b), c = dup(c);
    dup2(a, 3), dup2(b, 4), dup2(c, 5);
    char pid[32];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_PID", "1", 1);
    bool good = host_passed_socket(&addrs[0]) == -1; // meant for another process
    setenv("LISTEN_PID", pid, 1);
    good &= is_another_of(host_passed_socket(&addrs[1]), 4);
    good &= is_another_of(host_passed_socket(&addrs[1]), 4); // for another loop
    good &= is_another_of(host_passed_socket(&addrs[0]), 3);
    struct net_addr other = at("127.0.0.1:1");
    good &= host_passed_socket(&other) == -1;
    _exit(good ? 0 : 1);
}

static void harden_and_look(void)
{
    struct err err;
    bool good = host_harden(false, &err) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
#ifndef __SANITIZE_ADDRESS__
    good = good && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
    _exit(good ? 0 : 1);
}

static void become_somebody(void)
{
    struct err err;
    bool good = host_become(NULL, &err) && !host_become("no-such-user-here", &err) &&
                strstr(err.text, "there is no user \"no-such-user-here\"") != NULL;
    if (geteuid() == 0)
        good = good && host_become("nobody", &err) && geteuid() != 0 && setuid(0) != 0 &&
               host_become("nobody", &err) && !host_become("root", &err);
    _exit(good ? 0 : 1);
}

static void assert_in_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        fn();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void passed_sockets_are_found_by_address(void **state)
{
    assert_in_child(look_for_passed_sockets);
}
static void hardening_holds(void **state)
{
    assert_in_child(harden_and_look);
}
static void root_is_dropped_for_good(void **state)
{
    assert_in_child(become_somebody);
}

static void clocks_go_on(void **state)
{
    int64_t before = clock_mono_us();
    assert_true(clock_mono_us() >= before);
    int64_t off_s = clock_wall_ms() / 1000 - (int64_t)time(NULL);
    assert_true(off_s >= -1 && off_s <= 1);
    setenv("TZ", "Asia/Kolkata", 1);
    tzset();
    int minutes = clock_utc_offset_minutes(1700000000000);
    assert_true(minutes == 330 || minutes == 0); // 0: the zone files are not installed
    setenv("TZ", "XXX-3:30", 1);
    tzset();
    assert_int_equal(clock_utc_offset_minutes(1700000000000), 210);
}

static void random_numbers_stay_below_their_limit(void **state)
{
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t v = random_below(7);
        assert_true(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++)
        assert_true(seen[i] > 700 && seen[i] < 1300); // 10 standard deviations
    assert_int_equal(random_below(1), 0);
    assert_true(random_u64() != random_u64());
    unsigned char bytes[300] = {0}, zeros[300] = {0};
    for (size_t len = 16; len <= 300; len++) {
        memset(bytes, 0, sizeof(bytes));
        random_bytes(bytes, len);
        assert_memory_not_equal(bytes, zeros, len);
        assert_memory_equal(bytes + len, zeros, sizeof(bytes) - len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_knows_itself),
        cmocka_unit_test(own_addresses_are_known),
        cmocka_unit_test(addresses_survive_the_way_to_the_kernel_and_back),
        cmocka_unit_test(the_service_manager_is_told),
        cmocka_unit_test(passed_sockets_are_found_by_address),
        cmocka_unit_test(hardening_holds),
        cmocka_unit_test(root_is_dropped_for_good),
        cmocka_unit_test(clocks_go_on),
        cmocka_unit_test(random_numbers_stay_below_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
