// SPDX-License-Identifier: ISC
// A page and a DNS in the simulated world: what comes of their answers, and over which family the
// page is reached.
#include "sim/world.h"
#include "sys/log.h"
#include "watch/captive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define V4     "198.51.100.1"
#define V6     "2001:db8::1"
#define PORTAL "198.18.0.1"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static struct captive *captive;
static const char *url;
static bool mute[3]; // of V4, V6, PORTAL: takes connections, says nothing
static enum world_fate fate_of_v4;
static unsigned changes;
static char asked[600]; // the request the page heard last

static struct site {
    const char *ip, *says; // NULL: nobody is there
    struct stream *stream;
    char heard[600];
} sites[3];

static size_t on_request(void *ctx, const char *bytes, size_t len)
{
    struct site *site = ctx;
    char line[100];
    snprintf(site->heard + strlen(site->heard), sizeof(site->heard) - strlen(site->heard), "%.*s",
             (int)len, bytes);
    if (strstr(site->heard, "\r\n\r\n") == NULL || mute[site - sites])
        return len;
    snprintf(asked, sizeof(asked), "%s", site->heard);
    snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n\r\n", site->says);
    stream_write(site->stream, line, strlen(line));
    return len;
}

static void on_peer(void *ctx, enum stream_event event)
{
    struct site *site = ctx;
    if (event == STREAM_EOF || event == STREAM_ERROR)
        stream_close(&site->stream, false);
}

static void on_accepted(void *ctx, struct stream *s)
{
    static const struct stream_handler handler = {on_request, on_peer};
    struct site *site = ctx;
    if (site->stream != NULL)
        stream_close(&site->stream, false);
    site->stream = s;
    site->heard[0] = '\0';
    stream_attach(s, &handler, site);
}

static void decide(void *ctx, const struct net_addr *from, const struct net_addr *to,
                   struct world_link *link)
{
    struct net_addr v4;
    assert_true(net_addr_parse(STR(V4), to->port, &v4));
    if (net_addr_same_ip(to, &v4))
        link->fate = fate_of_v4;
}

static int begin(void **state)
{
    static const char *const ips[] = {V4, V6, PORTAL};
    static const char *const own[] = {"192.0.2.10/24", "2001:db8::10/64", NULL};
    world_new(7);
    world_link_set("eth0", "", own, true);
    world_on_connect(decide, NULL);
    memset(mute, 0, sizeof(mute));
    memset(sites, 0, sizeof(sites));
    fate_of_v4 = WORLD_LINK_UP;
    changes = 0;
    asked[0] = '\0';
    url = "http://check.example/204";
    for (size_t i = 0; i < 3; i++)
        sites[i].ip = ips[i];
    return 0;
}

static int end(void **state)
{
    world_free();
    return 0;
}

static void site(const char *ip, const char *says)
{
    struct net_addr at;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(sites[i].ip, ip) != 0)
            continue;
        assert_true(net_addr_parse_ip(str_of(ip), &at));
        at.port = 80;
        if (sites[i].says == NULL)
            assert_non_null(world_listen(&at, on_accepted, &sites[i]));
        sites[i].says = says;
    }
}

static void on_changed(void *ctx)
{
    changes++;
}

static void do_begin(void *ctx)
{
    struct err err;
    struct names_settings settings = {.asks_invalid = true};
    struct loop *loop = loop_new("conductor");
    captive = captive_new(loop, names_new(loop, &settings, &err), url, on_changed, NULL);
    captive_ask(captive, false);
    loop_start(loop);
}

static void pass(int64_t ms)
{
    world_run_until(world_now_ms() + ms, NULL, NULL);
}

static void look(void)
{
    world_boot(do_begin, NULL);
    pass(12 * SECOND);
}

// ---- IPv6 ----

static void a_portal_is_seen_over_ipv6_alone(void **state)
{
    world_name_address("check.example", V6);
    site(V6, "302 Found");
    look();
    assert_true(captive_is(captive));
    assert_non_null(strstr(captive_why(captive), "302"));
    site(V6, "204 No Content");
    pass(90 * SECOND);
    assert_false(captive_is(captive));
    assert_int_equal(changes, 2);
}

static void what_ipv4_does_not_reach_ipv6_does(void **state)
{
    fate_of_v4 = *(enum world_fate *)*state;
    world_name_address("check.example", V4);
    world_name_address("check.example", V6);
    site(V4, "204 No Content");
    site(V6, "302 Found");
    look();
    assert_true(captive_is(captive));
}

static void who_takes_his_time_over_ipv4_keeps_it_without_another_way(void **state)
{
    mute[0] = true;
    world_name_address("check.example", V4);
    site(V4, "302 Found");
    world_boot(do_begin, NULL);
    pass(8 * SECOND);
    assert_non_null(sites[0].stream);
    pass(4 * SECOND);
    assert_null(sites[0].stream);
    assert_false(captive_is(captive));
}

static void an_answer_over_ipv4_is_enough(void **state)
{
    world_name_address("check.example", V4);
    world_name_address("check.example", V6);
    site(V4, "204 No Content");
    site(V6, "302 Found");
    look();
    assert_false(captive_is(captive));
}

static void the_page_may_be_a_literal(void **state)
{
    url = "HTTP://[" V6 "]:80/204";
    site(V6, "302 Found");
    look();
    assert_true(captive_is(captive));
    assert_non_null(strstr(asked, "GET /204 HTTP/1.0\r\nHost: [" V6 "]:80\r\n"));
}

// ---- DNS that lies ----

static void a_lie_is_only_told_where_the_page_answers(void **state)
{
    world_name_address("check.example", V4);
    site(V4, "204 No Content");
    world_names_lie(PORTAL);
    look();
    assert_false(captive_is(captive));
    assert_true(captive_dns_lies(captive));
    assert_int_equal(changes, 1);
    pass(HOUR); // told, not asked for ever
    assert_int_equal(changes, 1);
}

static void a_lie_without_the_page_is_captive_until_it_ends(void **state)
{
    world_names_lie(PORTAL);
    look();
    assert_true(captive_is(captive) && captive_dns_lies(captive));
    assert_non_null(strstr(captive_why(captive), "names that do not exist"));
    pass(20 * MINUTE);
    assert_true(captive_is(captive));
    world_names_lie(NULL);
    pass(90 * SECOND);
    assert_false(captive_is(captive) || captive_dns_lies(captive));
}

static void a_lie_without_the_page_is_not_captive_for_ever(void **state)
{
    mute[0] = *(bool *)*state; // silent, or nobody there
    world_name_address("check.example", V4);
    if (mute[0])
        site(V4, "204 No Content");
    world_names_lie(PORTAL);
    look();
    assert_true(captive_is(captive));
    pass(50 * MINUTE);
    assert_true(captive_is(captive));
    pass(40 * MINUTE);
    assert_false(captive_is(captive));
    assert_true(captive_dns_lies(captive));
}

static void the_portal_that_a_lie_leads_to_is_seen(void **state)
{
    world_names_lie(PORTAL);
    site(PORTAL, "200 OK");
    look();
    assert_true(captive_is(captive) && captive_dns_lies(captive));
    assert_non_null(strstr(captive_why(captive), "answered 200"));
}

static void a_dns_that_is_silent_lies_not(void **state)
{
    world_names_dead(true, true);
    look();
    assert_false(captive_is(captive) || captive_dns_lies(captive));
}

int main(void)
{
    static enum world_fate refused = WORLD_LINK_REFUSED, hole = WORLD_LINK_BLACKHOLE;
    static bool yes = true, no = false;
    log_setup(LOG_ERROR_LEVEL, LOG_TEXT);
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_OF(name, of)                                                                          \
    {                                                                                              \
#name " (" #of ")", name, begin, end, &of                                                  \
    }
    const struct CMUnitTest tests[] = {
        TEST(a_portal_is_seen_over_ipv6_alone),
        TEST_OF(what_ipv4_does_not_reach_ipv6_does, refused),
        TEST_OF(what_ipv4_does_not_reach_ipv6_does, hole),
        TEST(who_takes_his_time_over_ipv4_keeps_it_without_another_way),
        TEST(an_answer_over_ipv4_is_enough),
        TEST(the_page_may_be_a_literal),
        TEST(a_lie_is_only_told_where_the_page_answers),
        TEST(a_lie_without_the_page_is_captive_until_it_ends),
        TEST_OF(a_lie_without_the_page_is_not_captive_for_ever, yes),
        TEST_OF(a_lie_without_the_page_is_not_captive_for_ever, no),
        TEST(the_portal_that_a_lie_leads_to_is_seen),
        TEST(a_dns_that_is_silent_lies_not),
    };
    return cmocka_run_group_tests_name("captive", tests, NULL, NULL);
}
