// SPDX-License-Identifier: ISC
// The routes as sentences, and what is wrong with them.
#include "mail/envelope.h"
#include "route/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { DIRECT, COMPANY, ISP, SES, GATEWAYS };
enum { HOUR = 3600 * 1000 };
static const struct conf_network networks[] = {{.name = "office"}, {.name = "home"}};
static struct conf_gateway gateways[GATEWAYS];
static struct conf conf;

static const char *const to_org[] = {"*@example.org", "*@example.net"};
static const char *const to_one[] = {"boss@example.org"};
static const char *const everyone[] = {"*"};
static const struct conf_step company[] = {{.gateway = COMPANY}}, isp[] = {{.gateway = ISP}};
static const struct conf_step chain[] = {
    {.gateway = COMPANY},
    {.gateway = ISP, .on = 1u << OUTCOME_NET | 1u << OUTCOME_DNS, .after_tries = 3},
    {.gateway = SES, .after_ms = 4 * HOUR, .parallel_ms = 5000}};

static void begin(const struct conf_route *routes, size_t count)
{
    static const char *const names[] = {"direct", "company", "isp", "ses"};
    for (uint32_t i = 0; i < GATEWAYS; i++)
        gateways[i] = (struct conf_gateway){.name = names[i],
                                            .index = i,
                                            .kind = i == DIRECT ? GATEWAY_DIRECT : GATEWAY_SMTP,
                                            .enabled = true,
                                            .line = i,
                                            .priority = i == SES ? 20 : 30,
                                            .weight = 1};
    conf = (struct conf){.gateways = gateways,
                         .gateway_count = GATEWAYS,
                         .routes = routes,
                         .route_count = count,
                         .networks = networks,
                         .network_count = 2,
                         .choice = {.automatic = true}};
}

static void assert_show(const uint64_t *hits, const char *want)
{
    struct buf out;
    buf_init(&out, 10000);
    route_show(&conf, hits, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
}

static void assert_lint(size_t count, const char *want)
{
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(route_lint(&conf, &out), count);
    assert_string_equal(buf_cstr(&out), want);
    buf_clear(&out);
    struct json j = json_to(&out);
    assert_int_equal(route_lint_json(&conf, &j), count);
    buf_free(&out);
}

static void routes_read_as_sentences(void **state)
{
    const struct conf_route routes[] = {{.name = "own",
                                         .to = to_org,
                                         .to_count = 2,
                                         .networks = 1,
                                         .via = chain,
                                         .via_count = 3,
                                         .keep_failed = true},
                                        {.mode = MODE_ALWAYS, .via = isp, .via_count = 1}};
    static const uint64_t hits[] = {123, 4, 0};
    begin(routes, 2);
    gateways[COMPANY].networks = 1;
    gateways[SES].enabled = false;
    assert_show(
        hits, "1. own: Mail to *@example.org,*@example.net on network office goes through company "
              "(on office), then (on net, dns; after 3 attempts) isp, then (after 4 h 00 min; "
              "urgent mail beside it after 5 s) ses (disabled), else waits. What fails is kept "
              "on hold. 123 taken.\n"
              "2. [mode always] All mail goes through isp, else waits. 4 taken.\n"
              "No other mail is left. 0 taken.\n");
}

static void every_condition_is_said(void **state)
{
    static const char *const client[] = {"uid 1000", "user alice"}, *const listener[] = {"scan*"};
    static const char *const mx[] = {"*.outlook.com"};
    static const struct conf_header header[] = {{"precedence", "bulk"}};
    static const struct conf_hours hours[] = {{480, 1080}, {7 * 1440 - 60, 7 * 1440 + 60}};
    struct net_range range;
    assert_true(net_range_parse(STR("10.0.0.0/8"), &range));
    const struct conf_route r = {.from = to_one,
                                 .from_count = 1,
                                 .client = client,
                                 .client_count = 2,
                                 .client_range = &range,
                                 .client_range_count = 1,
                                 .listener = listener,
                                 .listener_count = 1,
                                 .mx = mx,
                                 .mx_count = 1,
                                 .larger = 1000,
                                 .smaller = 5120,
                                 .header = header,
                                 .header_count = 1,
                                 .classes = 1u << PRIORITY_URGENT | 1u << PRIORITY_LOW,
                                 .networks = 3,
                                 .not_networks = 1,
                                 .hours = hours,
                                 .hours_count = 2};
    struct buf out;
    buf_init(&out, 10000);
    begin(&r, 1);
    route_conditions(&conf, &r, &out);
    assert_string_equal(
        buf_cstr(&out),
        "from boss@example.org client uid 1000,user alice,10.0.0.0-10.255.255.255 "
        "listener scan* mx *.outlook.com larger than 1000 B smaller than 5 KiB with header "
        "precedence: bulk of class low,urgent on network office, home not on network "
        "office Mon 08:00-18:00, Sun 23:00-01:00");
    buf_free(&out);
}

static void times_are_said_shortly(void **state)
{
    static const struct {
        struct conf_hours hours[8];
        size_t count;
        const char *want;
    } cases[] = {
        {{{1320, 1800},
          {2760, 3240},
          {4200, 4680},
          {5640, 6120},
          {7080, 7560},
          {8520, 9000},
          {9960, 10440}},
         7,
         "from 22:00 to 06:00"},
        {{{540, 1020}, {1980, 2460}, {3420, 3900}, {4860, 5340}, {6300, 6780}},
         5,
         "Mon-Fri 09:00-17:00"},
        {{{7200, 8640}, {8640, 10080}}, 2, "Sat,Sun"},
        {{{0, 60}, {2880, 2940}, {1440, 1500}, {600, 660}},
         4,
         "Mon-Wed 00:00-01:00, Mon "
         "10:00-11:00"},
    };
    struct buf out;
    buf_init(&out, 10000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct conf_route r = {.hours = cases[i].hours, .hours_count = cases[i].count};
        begin(&r, 1);
        buf_clear(&out);
        route_conditions(&conf, &r, &out);
        assert_string_equal(buf_cstr(&out), cases[i].want);
    }
    buf_free(&out);
    const struct conf_header list[] = {{"list-id", "*"}};
    const struct conf_route routes[] = {
        {.classes = 1u << PRIORITY_URGENT, .via = isp, .via_count = 1},
        {.header = list, .header_count = 1, .larger = 5 << 20, .via = isp, .via_count = 1},
        {.name = "smarthost", .smarthost = true, .via = company, .via_count = 1}};
    begin(routes, 3);
    assert_show(NULL,
                "1. Urgent mail goes through isp, else waits.\n"
                "2. Mail larger than 5 MiB with header list-id goes through isp, else waits.\n"
                "3. smarthost: All mail goes through company, else waits.\n"
                "No other mail is left.\n");
}

static void the_choice_reads_as_a_sentence(void **state)
{
    begin(NULL, 0);
    assert_show(NULL,
                "All mail goes through the gateway picked by hand, then by priority ses, then "
                "company or isp, else waits.\n");
    conf.choice.subnet = true;
    conf.choice.fallback = FALLBACK_DEFAULT;
    gateways[COMPANY].networks = 2;
    gateways[SES].fallback = true;
    assert_show(NULL, "All mail goes through the gateway picked by hand, then what is bound to the "
                      "network of the moment: company (on home), then what is inside one of our "
                      "subnets: isp, ses, then the fallback ses, else waits.\n");
    conf.choice.automatic = false;
    assert_show(NULL, "All mail goes through the gateway picked by hand, or else the fallback ses, "
                      "else waits.\n");
    conf.gateway_count = 1;
    assert_show(NULL, "All mail goes direct to the recipients' own servers.\n");
}

static void the_table_stands_in_json(void **state)
{
    const struct conf_route routes[] = {
        {.name = "own", .line = 7, .to = to_one, .to_count = 1, .via = isp, .via_count = 1}};
    static const uint64_t hits[] = {5, 6};
    struct buf out;
    buf_init(&out, 10000);
    struct json j = json_to(&out);
    begin(routes, 1);
    conf.gateway_count = 3;
    route_show_json(&conf, hits, &j);
    assert_string_equal(
        buf_cstr(&out),
        "{\"routes\":[{\"route\":1,\"name\":\"own\",\"line\":7,\"conditions\":\"to "
        "boss@example.org\",\"mode\":null,\"smarthost\":false,\"keep_failed\":false,\"via\":["
        "{\"gateway\":\"isp\",\"on\":[\"offline\",\"net\",\"dns\",\"tls\",\"auth\",\"quota\","
        "\"reputation\",\"busy\"],\"after_tries\":0,\"after_ms\":0,\"parallel_ms\":0}],\"text\":"
        "\"Mail to boss@example.org goes through isp, else waits.\",\"taken\":5}],\"default\":{"
        "\"text\":\"All other mail goes through the gateway picked by hand, then by priority "
        "company or isp, else waits.\",\"taken\":6}}");
    buf_free(&out);
}

static void a_sound_table_has_no_findings(void **state)
{
    const struct conf_route routes[] = {
        {.line = 3, .to = to_one, .to_count = 1, .via = company, .via_count = 1},
        {.line = 4, .to = to_org, .to_count = 2, .networks = 1, .via = chain, .via_count = 3},
        {.line = 5, .to = to_org, .to_count = 2, .via = isp, .via_count = 1}};
    begin(routes, 3);
    assert_lint(0, "");
}

static void a_rule_behind_a_wider_one_is_found(void **state)
{
    const struct conf_route routes[] = {
        {.line = 3, .to = to_org, .to_count = 2, .via = isp, .via_count = 1},
        {.line = 4, .to = to_one, .to_count = 1, .networks = 1, .via = isp, .via_count = 1},
        {.line = 5, .larger = 10, .smaller = 11, .via = isp, .via_count = 1},
        {.line = 6, .networks = 1, .not_networks = 3, .via = isp, .via_count = 1}};
    begin(routes, 4);
    assert_lint(3, "line 4: route 2: it is never reached: route 1 (line 3) takes all its mail "
                   "before; move it up, narrow the other one, or delete it\n"
                   "line 5: route 3: it never matches: no size is larger and smaller than it asks "
                   "for; mend its conditions, or delete it\n"
                   "line 6: route 4: it never matches: every network it asks for is excluded by "
                   "not_network; mend its conditions, or delete it\n");
}

static void one_mistake_is_said_once(void **state)
{
    const struct conf_route routes[] = {
        {.line = 3, .via = isp, .via_count = 1},
        {.line = 4, .to = to_one, .to_count = 1, .via = company, .via_count = 1},
        {.line = 5, .to = to_org, .to_count = 2, .via = company, .via_count = 1},
        {.line = 6, .larger = 10, .via = company, .via_count = 1}};
    struct buf out;
    buf_init(&out, 10000);
    begin(routes, 4);
    route_lint(&conf, &out);
    const char *said = strstr(buf_cstr(&out), "never reached");
    assert_non_null(said);
    assert_true(
        str_starts(str_of(said), STR("never reached, nor are routes 3, 4: route 1 (line 3)")));
    assert_null(strstr(said + 1, "never reached"));
    buf_free(&out);
}

// One route behind another: is the second one never reached?
static bool shadows(struct conf_route a, struct conf_route b)
{
    struct conf_route routes[] = {a, b};
    for (int i = 0; i < 2; i++) {
        routes[i].via = isp;
        routes[i].via_count = 1;
    }
    begin(routes, 2);
    conf.gateway_count = 3;
    gateways[COMPANY].enabled = false;
    struct buf out;
    buf_init(&out, 10000);
    size_t count = route_lint(&conf, &out);
    buf_free(&out);
    return count > 0;
}

static void only_what_is_surely_covered_is_called_so(void **state)
{
    static const char *const any_at[] = {"?@example.org"}, *const star[] = {"*@example.org"};
    static const char *const alice[] = {"user alice"};
    static const struct conf_hours day[] = {{480, 1080}}, noon[] = {{700, 720}};
    static const struct conf_header bulk[] = {{"precedence", "*"}},
                                    junk[] = {{"precedence", "junk"}};
    struct net_range wide, narrow;
    assert_true(net_range_parse(STR("10.0.0.0/8"), &wide));
    assert_true(net_range_parse(STR("10.1.0.0/16"), &narrow));
    struct conf_route all = {0}, r1, r2;
    assert_true(shadows(all, (struct conf_route){.to = star, .to_count = 1}));
    assert_true(shadows((struct conf_route){.to = everyone, .to_count = 1},
                        (struct conf_route){.to = star, .to_count = 1}));
    assert_false(shadows((struct conf_route){.to = any_at, .to_count = 1},
                         (struct conf_route){.to = star, .to_count = 1}));
    assert_false(shadows((struct conf_route){.to = star, .to_count = 1},
                         (struct conf_route){.to = to_org, .to_count = 2}));
    assert_false(shadows((struct conf_route){.to = star, .to_count = 1}, all));
    r1 = (struct conf_route){.client_range = &wide, .client_range_count = 1};
    r2 = (struct conf_route){.client_range = &narrow, .client_range_count = 1};
    assert_true(shadows(r1, r2));
    assert_false(shadows(r2, r1));
    r2.client = alice;
    r2.client_count = 1;
    assert_false(shadows(r1, r2));
    assert_false(shadows(r1, all));
    assert_true(shadows((struct conf_route){.networks = 3}, (struct conf_route){.networks = 2}));
    assert_false(shadows((struct conf_route){.networks = 2}, (struct conf_route){.networks = 3}));
    assert_true(
        shadows((struct conf_route){.not_networks = 1}, (struct conf_route){.not_networks = 3}));
    assert_false(
        shadows((struct conf_route){.not_networks = 3}, (struct conf_route){.not_networks = 1}));
    r1 = (struct conf_route){.hours = day, .hours_count = 1};
    r2 = (struct conf_route){.hours = noon, .hours_count = 1};
    assert_true(shadows(r1, r2));
    assert_false(shadows(r2, r1));
    assert_false(shadows(r1, all));
    r1 = (struct conf_route){.header = bulk, .header_count = 1};
    r2 = (struct conf_route){.header = junk, .header_count = 1};
    assert_true(shadows(r1, r2));
    assert_false(shadows(r2, r1));
    assert_false(shadows(r1, all));
    assert_true(shadows((struct conf_route){.larger = 5}, (struct conf_route){.larger = 6}));
    assert_false(shadows((struct conf_route){.larger = 5}, (struct conf_route){.smaller = 6}));
    assert_true(shadows((struct conf_route){.classes = 6}, (struct conf_route){.classes = 4}));
    assert_false(shadows((struct conf_route){.classes = 4}, all));
}

static void chains_without_a_way_out_are_found(void **state)
{
    static const struct conf_step two[] = {{.gateway = COMPANY}, {.gateway = SES}};
    const struct conf_route routes[] = {
        {.line = 3, .to = to_one, .to_count = 1, .via = company, .via_count = 1},
        {.line = 4, .networks = 2, .via = two, .via_count = 2},
        {.line = 5, .to = to_org, .to_count = 2, .via = isp, .via_count = 1},
        {.line = 6, .larger = 1 << 20, .via = two, .via_count = 2}};
    begin(routes, 4);
    gateways[COMPANY].enabled = false;
    gateways[SES].networks = gateways[ISP].networks = 1;
    gateways[SES].message_size = 1000;
    assert_lint(
        6, "line 3: route 1: it has no way out: it is disabled; add a gateway that can carry it\n"
           "line 4: route 2: step 2 (ses) is never taken: it is bound to other networks than the "
           "route; take it out, or mend the one or the other\n"
           "line 4: route 2: it has no way out: none of its gateways can be used; add a gateway "
           "that can carry it\n"
           "line 5: route 3: every gateway of it is bound to networks: elsewhere its mail waits; "
           "add one for elsewhere, or a condition `network`\n"
           "line 6: route 4: step 2 (ses) is never taken: its message_size is less than what the "
           "route is for; take it out, or mend the one or the other\n"
           "line 6: route 4: it has no way out: none of its gateways can be used; add a gateway "
           "that can carry it\n");
}

static void steps_that_say_nothing_are_found(void **state)
{
    static const struct conf_step via[] = {
        {.gateway = COMPANY, .on = 1u << OUTCOME_NET, .after_tries = 2, .parallel_ms = 5},
        {.gateway = ISP, .on = 1u << OUTCOME_OK, .parallel_ms = 5},
        {.gateway = ISP, .after_tries = 10},
        {.gateway = SES, .after_ms = 100 * HOUR}};
    const struct conf_route routes[] = {
        {.name = "odd", .line = 3, .classes = 1, .via = via, .via_count = 4}};
    begin(routes, 1);
    conf.queue.expire_ms = 48 * HOUR;
    conf.queue.expire_tries = 10;
    assert_lint(8,
                "line 3: route 1 (odd): `on` of its first step, company, asks for trouble that "
                "nothing has had yet; delete `on` there\n"
                "line 3: route 1 (odd): its first step, company, waits for attempts that nothing "
                "makes; delete `after` there\n"
                "line 3: route 1 (odd): there is nothing beside which its first step, company, "
                "could begin; delete `parallel` there\n"
                "line 3: route 1 (odd): no trouble leads to step 2 (isp): its `on` names only "
                "what ends the round; name classes of trouble, or delete `on`\n"
                "line 3: route 1 (odd): `parallel` of step 2 (isp) is for urgent mail, which the "
                "route does not take; delete `parallel`, or let the route take urgent mail\n"
                "line 3: route 1 (odd): steps 2 and 3 are both isp; delete one of the two\n"
                "line 3: route 1 (odd): step 3 (isp) is never reached: mail is given up after 10 "
                "attempts; lower `after`, or raise queue.expire_tries\n"
                "line 3: route 1 (odd): step 4 (ses) is never reached: mail is given up after 2 "
                "d 0 h; lower `after`, or raise queue.expire\n");
}

static void gateways_never_used_are_found(void **state)
{
    const struct conf_route routes[] = {
        {.line = 9, .to = to_org, .to_count = 2, .via = company, .via_count = 1},
        {.line = 10, .to = to_one, .to_count = 1, .via = isp, .via_count = 1},
        {.line = 11, .via = company, .via_count = 1}};
    begin(routes, 3);
    assert_lint(3,
                "line 10: route 2: it is never reached: route 1 (line 9) takes all its mail "
                "before; move it up, narrow the other one, or delete it\n"
                "line 2: gateway isp: it is never used: the routes that name it are never taken; "
                "see what is said of these routes\n"
                "line 3: gateway ses: it is never used: no route names it, and the routes leave "
                "no mail to the choice; name it in a route, or narrow the route that takes all "
                "mail\n");
    begin(routes, 1);
    conf.choice.fallback = FALLBACK_DEFAULT;
    gateways[SES].fallback = true;
    gateways[SES].reserve_percent = 100;
    gateways[SES].quota[UNIT_MESSAGES][PERIOD_DAY] = 100;
    gateways[COMPANY].reserve_percent = 10;
    assert_lint(3, "line 1: gateway company: a reserve is a part of a quota, and it has none; name "
                   "a quota, or delete `reserve`\n"
                   "line 2: gateway isp: it is used only when it is picked by hand: no route names "
                   "it, and it is not the fallback; name it in a route, or change `choice`\n"
                   "line 3: gateway ses: its reserve of 100 % for urgent mail leaves nothing for "
                   "other mail; lower `reserve`\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_read_as_sentences),
        cmocka_unit_test(every_condition_is_said),
        cmocka_unit_test(times_are_said_shortly),
        cmocka_unit_test(the_choice_reads_as_a_sentence),
        cmocka_unit_test(the_table_stands_in_json),
        cmocka_unit_test(a_sound_table_has_no_findings),
        cmocka_unit_test(a_rule_behind_a_wider_one_is_found),
        cmocka_unit_test(one_mistake_is_said_once),
        cmocka_unit_test(only_what_is_surely_covered_is_called_so),
        cmocka_unit_test(chains_without_a_way_out_are_found),
        cmocka_unit_test(steps_that_say_nothing_are_found),
        cmocka_unit_test(gateways_never_used_are_found),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
