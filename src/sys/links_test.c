// SPDX-License-Identifier: ISC
// The links of the machine the tests run on, as another program of the system sees them. What
// changes is tested with namespaces (tests/e2e/test_networks.py).
#include "sys/links.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct arena *arena;
static struct links now;

static int begin(void **state)
{
    struct err err;
    arena = arena_new();
    return links_read(arena, &now, &err) ? 0 : -1;
}

static int end(void **state)
{
    arena_free(&arena);
    return 0;
}

static void loopback_is_known_as_such(void **state)
{
    bool found = false;
    for (size_t i = 0; i < now.link_count; i++)
        if (now.links[i].loopback) {
            found = true;
            assert_string_equal(now.links[i].name, "lo");
            assert_int_equal(now.links[i].index, if_nametoindex("lo"));
        }
    assert_true(found);
}

static bool has(const struct ifaddrs *i)
{
    for (size_t k = 0; k < now.address_count; k++) {
        const struct link_address *a = &now.addresses[k];
        const void *theirs = i->ifa_addr->sa_family == AF_INET
                                 ? (const void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr
                                 : (const void *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
        bool same = (a->addr.family == NET_IPV4) == (i->ifa_addr->sa_family == AF_INET) &&
                    memcmp(a->addr.bytes, theirs, a->addr.family == NET_IPV4 ? 4 : 16) == 0;
        if (same && a->link == if_nametoindex(i->ifa_name))
            return true;
    }
    return false;
}

static void all_addresses_are_there_and_no_others(void **state)
{
    struct ifaddrs *list;
    size_t count = 0;
    assert_int_equal(getifaddrs(&list), 0);
    for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        count++;
        assert_true(has(i));
    }
    freeifaddrs(list);
    assert_int_equal(count, now.address_count);
}

static void routes_lead_over_links_that_exist(void **state)
{
    for (size_t i = 0; i < now.route_count; i++) {
        bool found = now.routes[i].link == 0; // unreachable by decree
        for (size_t k = 0; k < now.link_count; k++)
            found = found || now.links[k].index == now.routes[i].link;
        assert_true(found);
        assert_true(now.routes[i].to.family == NET_IPV4 || now.routes[i].to.family == NET_IPV6);
    }
}

static void on_change(void *ctx)
{
}

static void a_watch_comes_and_goes(void **state)
{
    struct err err;
    struct loop *loop = loop_new("test");
    struct links_watch *watch = links_watch_new(loop, on_change, NULL, &err);
    assert_non_null(watch);
    links_watch_free(&watch);
    assert_null(watch);
    links_watch_free(&watch);
    loop_free(&loop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(loopback_is_known_as_such),
        TEST(all_addresses_are_there_and_no_others),
        TEST(routes_lead_over_links_that_exist),
        TEST(a_watch_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
