// SPDX-License-Identifier: ISC
// Places made by hand: which networks hold and why, what lies in our subnets, what is told and
// learnt.
#include "watch/watch.h"
#include "watch/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct link_facts links[8];
static struct link_address addresses[8];
static struct link_route routes[8];
static struct manager_connection connections[4];
static struct watch_snapshot here;
static struct arena *arena;
static const char *why;

static struct net_addr ip(const char *text)
{
    struct net_addr a;
    assert_true(net_addr_parse_ip(str_of(text), &a));
    return a;
}

static int begin(void **state)
{
    arena = arena_new();
    memset(&here, 0, sizeof(here));
    here.links.links = links;
    here.links.addresses = addresses;
    here.links.routes = routes;
    here.manager.connections = connections;
    here.captive_why = "";
    return 0;
}

static int end(void **state)
{
    arena_free(&arena);
    return 0;
}

static uint32_t plug(const char *name, const char *kind)
{
    uint32_t index = (uint32_t)here.links.link_count + 1;
    links[here.links.link_count++] =
        (struct link_facts){.index = index, .name = name, .alias = "", .kind = kind, .up = true};
    return index;
}

static struct link_address *address(uint32_t link, const char *text, unsigned prefix)
{
    struct link_address *a = &addresses[here.links.address_count++];
    *a = (struct link_address){.link = link, .addr = ip(text), .prefix = prefix};
    return a;
}

static struct link_route *route(uint32_t link, const char *to, unsigned prefix)
{
    struct link_route *r = &routes[here.links.route_count++];
    *r = (struct link_route){.link = link, .to = ip(to), .prefix = prefix};
    return r;
}

static void connect(const char *id, const char *interface)
{
    here.manager.present = true;
    connections[here.manager.count++] =
        (struct manager_connection){.id = id,
                                    .uuid = "5f2ee0c6-0000-4000-8000-000000000001",
                                    .type = "802-3-ethernet",
                                    .ssid = "",
                                    .interface = interface,
                                    .apn = "",
                                    .ready = true};
}

static bool holds(const struct conf_network *n)
{
    return watch_holds(n, &here, arena, &why);
}

static void an_address_holds_with_its_reason(void **state)
{
    struct net_range range;
    assert_true(net_range_parse(STR("10.20.0.0/16"), &range));
    struct conf_network n = {.name = "office", .address = &range, .address_count = 1};
    assert_false(holds(&n));
    assert_string_equal(why, "no address in 10.20.0.0/16");
    struct link_address *a = address(plug("eth0", ""), "10.20.3.4", 24);
    assert_true(holds(&n));
    assert_string_equal(why, "address 10.20.3.4 on eth0");
    a->tentative = true;
    assert_false(holds(&n));
    a->tentative = false;
    links[0].up = false;
    assert_false(holds(&n));
}

static void ranges_and_single_addresses_are_inclusive(void **state)
{
    struct net_range r[2];
    assert_true(net_range_parse(STR("192.168.1.40-192.168.1.47"), &r[0]));
    assert_true(net_range_parse(STR("192.0.2.7"), &r[1]));
    struct conf_network n = {.name = "x", .address = r, .address_count = 2};
    static const struct {
        const char *addr;
        bool holds;
    } cases[] = {{"192.168.1.39", false}, {"192.168.1.40", true}, {"192.168.1.47", true},
                 {"192.168.1.48", false}, {"192.0.2.7", true},    {"192.0.2.8", false}};
    uint32_t eth = plug("eth0", "");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        here.links.address_count = 0;
        address(eth, cases[i].addr, 24);
        assert_int_equal(holds(&n), cases[i].holds);
    }
    assert_string_equal(why, "no address in 192.168.1.40/29, 192.0.2.7");
}

static void kinds_of_conditions_must_all_hold(void **state)
{
    static const char *const interfaces[] = {"wl*", "eth*"};
    struct net_range range;
    assert_true(net_range_parse(STR("192.168.0.0/16"), &range));
    struct conf_network n = {.name = "x",
                             .subnet = &range,
                             .subnet_count = 1,
                             .interface = interfaces,
                             .interface_count = 2,
                             .metered = WISH_NO};
    struct conf_network none = {.name = "none"};
    assert_false(holds(&none));
    uint32_t eth = plug("eth0", "");
    address(eth, "192.168.7.3", 24);
    assert_true(holds(&n));
    assert_string_equal(why, "subnet of 192.168.7.3/24 on eth0");
    here.metered = true;
    assert_false(holds(&n));
    assert_string_equal(why, "the connection is metered");
    here.metered = false;
    addresses[0].prefix = 8; // wider than what is named
    assert_false(holds(&n));
    assert_string_equal(why, "no subnet within 192.168.0.0/16");
}

static void names_of_connections_and_links_hold(void **state)
{
    static const char *const office[] = {"Office *", "ppp-isp"}, *const uuid[] = {"5f2ee0c6-*"};
    struct conf_network n = {.name = "x", .connection = office, .connection_count = 2};
    struct conf_network by_uuid = {.name = "x", .connection = uuid, .connection_count = 1};
    assert_false(holds(&n));
    connect("Office LAN", "eth0");
    assert_true(holds(&n));
    assert_true(holds(&by_uuid));
    connections[0].ready = false; // on its way
    assert_false(holds(&n));
    uint32_t ppp = plug("ppp0", "ppp");
    links[0].alias = "ppp-isp";
    assert_false(holds(&n)); // without an address it is no place
    address(ppp, "10.64.0.9", 32);
    assert_true(holds(&n));
    assert_string_equal(why, "link ppp0 stands");
}

static void types_come_from_the_kernel_or_networkmanager(void **state)
{
    static const struct {
        const char *name, *kind;
        int type;
    } cases[] = {{"wg-work", "wireguard", LINK_WIREGUARD},
                 {"tun0", "tun", LINK_VPN},
                 {"wlp3s0", "", LINK_WIFI},
                 {"wwan0", "", LINK_MODEM},
                 {"ppp0", "ppp", LINK_PPP},
                 {"enp1s0", "", LINK_ETHERNET}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        here.links.link_count = 0;
        plug(cases[i].name, cases[i].kind);
        assert_int_equal(place_type(&here, &links[0]), cases[i].type);
    }
    connect("Modem", "enp1s0");
    connections[0].type = "gsm";
    assert_int_equal(place_type(&here, &links[0]), LINK_MODEM);
}

// AR-3, AR-4
static void host_masks_take_the_route_around_or_what_is_configured(void **state)
{
    struct conf_choice choice = {.host_prefix = {24, 64}};
    struct net_addr near = ip("10.64.0.200"), far = ip("10.64.5.1");
    uint32_t ppp = plug("ppp0", "ppp");
    address(ppp, "10.64.0.9", 32);
    assert_true(watch_in_subnet(&here, &near, &choice));
    assert_false(watch_in_subnet(&here, &far, &choice));
    route(ppp, "0.0.0.0", 0); // the way out is around everything, and says nothing
    assert_false(watch_in_subnet(&here, &far, &choice));
    route(ppp, "10.64.0.0", 16);
    assert_true(watch_in_subnet(&here, &far, &choice));
    here.links.address_count = here.links.route_count = 0;
    address(ppp, "fd00:1::5", 128);
    struct net_addr near6 = ip("fd00:1::ffff"), far6 = ip("fd00:1:0:1::1");
    assert_true(watch_in_subnet(&here, &near6, &choice));
    assert_false(watch_in_subnet(&here, &far6, &choice));
    here.links.address_count = 0;
    address(ppp, "192.0.2.9", 28);
    struct net_addr last = ip("192.0.2.15"), beyond = ip("192.0.2.16");
    assert_true(watch_in_subnet(&here, &last, &choice));
    assert_false(watch_in_subnet(&here, &beyond, &choice));
}

static void a_way_out_needs_an_address_and_a_route_of_its_family(void **state)
{
    uint32_t eth = plug("eth0", "");
    assert_false(place_has_way_out(&here));
    struct link_address *a = address(eth, "fe80::1", 64);
    a->link_local = true;
    route(eth, "::", 0);
    assert_false(place_has_way_out(&here));
    address(eth, "192.0.2.9", 24);
    assert_false(place_has_way_out(&here)); // the route is the other family's
    route(eth, "192.0.2.0", 24);
    assert_true(place_has_way_out(&here));
}

static void only_what_can_matter_is_a_difference(void **state)
{
    struct watch_snapshot before, now;
    struct link_address copies[8];
    uint32_t eth = plug("eth0", "");
    address(eth, "192.0.2.9", 24);
    route(eth, "0.0.0.0", 0);
    before = now = here;
    memcpy(copies, addresses, sizeof(copies));
    now.links.addresses = copies;
    assert_false(place_differs(&before, &now));
    copies[0].deprecated = true; // a lifetime that ends
    assert_false(place_differs(&before, &now));
    copies[0].prefix = 25;
    assert_true(place_differs(&before, &now));
    copies[0].prefix = 24;
    now.links.route_count = 0;
    assert_true(place_differs(&before, &now));
    now = before;
    now.metered = true;
    assert_true(place_differs(&before, &now));
}

static void a_change_is_told_in_words(void **state)
{
    struct conf_network home = {.name = "home"};
    struct conf conf = {.networks = &home, .network_count = 1};
    struct watch_snapshot before = here, now;
    struct buf out;
    before.links.link_count = before.links.address_count = 0;
    before.offline = true;
    before.network_count = 1;
    address(plug("eth0", ""), "192.168.178.20", 24);
    now = here;
    now.network_count = 1;
    now.holding = 1;
    buf_init(&out, 1000);
    place_tell_change(&before, &now, &conf, &out);
    assert_string_equal(buf_cstr(&out), "eth0 has 192.168.178.20/24; network home holds");
    buf_clear(&out);
    place_tell_change(&now, &before, &conf, &out);
    assert_string_equal(buf_cstr(&out), "eth0 has lost 192.168.178.20/24; this machine is offline; "
                                        "network home does not hold any more");
    buf_free(&out);
}

static void the_most_telling_condition_is_learnt(void **state)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_false(watch_learn(&here, "cafe", &out));
    uint32_t eth = plug("eth0", "");
    address(eth, "10.20.3.4", 16);
    route(eth, "0.0.0.0", 0);
    assert_true(watch_learn(&here, "cafe", &out));
    assert_string_equal(buf_cstr(&out),
                        "  cafe:\n    subnet: [\"10.20.0.0/16\"]\n    interface: eth0\n");
    buf_clear(&out);
    connect("Café", "eth0");
    assert_true(watch_learn(&here, "cafe", &out));
    assert_non_null(strstr(buf_cstr(&out), "connection: 5f2ee0c6-0000-4000-8000-000000000001"));
    buf_free(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(an_address_holds_with_its_reason),
        TEST(ranges_and_single_addresses_are_inclusive),
        TEST(kinds_of_conditions_must_all_hold),
        TEST(names_of_connections_and_links_hold),
        TEST(types_come_from_the_kernel_or_networkmanager),
        TEST(host_masks_take_the_route_around_or_what_is_configured),
        TEST(a_way_out_needs_an_address_and_a_route_of_its_family),
        TEST(only_what_can_matter_is_a_difference),
        TEST(a_change_is_told_in_words),
        TEST(the_most_telling_condition_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
