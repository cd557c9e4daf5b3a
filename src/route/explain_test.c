// SPDX-License-Identifier: ISC
// The decision in words: whole texts, as a person reads them.
#include "route/explain.h"
#include "route/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { DIRECT, COMPANY, M365, ISP, GATEWAYS };
enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };

static const struct conf_network networks[] = {{.name = "office"}, {.name = "home"}};
static struct conf_gateway gateways[GATEWAYS];
static struct plan_gateway now[GATEWAYS];
static struct plan_place place;
static struct envelope envelope;
static struct conf conf;

static const char *const to_shop[] = {"*@shop.example"};
static const char *const mx_outlook[] = {"*.outlook.com"};
static const struct conf_header bulk[] = {{"precedence", "bulk"}};
static const struct conf_step via_partners[] = {{.gateway = M365}};
static const struct conf_step via_office[] = {
    {.gateway = COMPANY},
    {.gateway = M365},
    {.gateway = ISP, .on = 1u << OUTCOME_NET | 1u << OUTCOME_DNS}};
static struct conf_route routes[2];

static struct plan_input begin(void)
{
    static const char *const names[] = {"direct", "company", "m365", "isp"};
    for (uint32_t i = 0; i < GATEWAYS; i++)
        gateways[i] = (struct conf_gateway){.name = names[i],
                                            .index = i,
                                            .kind = i == DIRECT ? GATEWAY_DIRECT : GATEWAY_SMTP,
                                            .host = "smtp.example.org",
                                            .enabled = true,
                                            .priority = 30,
                                            .weight = 1};
    gateways[COMPANY].networks = 2;
    gateways[M365].priority = 20;
    gateways[ISP].priority = 40;
    memset(now, 0, sizeof(now));
    routes[0] = (struct conf_route){.name = "partners",
                                    .line = 12,
                                    .to = to_shop,
                                    .to_count = 1,
                                    .via = via_partners,
                                    .via_count = 1};
    routes[1] = (struct conf_route){.line = 14, .networks = 1, .via = via_office, .via_count = 3};
    conf = (struct conf){.gateways = gateways,
                         .gateway_count = GATEWAYS,
                         .routes = routes,
                         .route_count = 2,
                         .networks = networks,
                         .network_count = 2,
                         .choice = {.automatic = true}};
    place = (struct plan_place){.networks = 1, .picked = UINT32_MAX};
    envelope = (struct envelope){.sender = STR("a@x"), .priority = PRIORITY_NORMAL};
    return (struct plan_input){.conf = &conf,
                               .gateways = now,
                               .place = &place,
                               .envelope = &envelope,
                               .rcpt = STR("b@y"),
                               .now_ms = 1000000};
}

static void assert_text(const struct plan_input *in, const char *want)
{
    struct buf out;
    buf_init(&out, 10000);
    explain_text(in, NULL, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
}

static void assert_choice(const struct plan_input *in, const char *want)
{
    struct buf out;
    buf_init(&out, 10000);
    struct plan p = plan_next(in);
    explain_choice(in, &p, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
}

static void each_rule_and_each_gateway_has_its_reason(void **state)
{
    struct plan_input in = begin();
    now[M365].quota_until_ms[QUOTA_OTHERS] = in.now_ms + 2 * HOUR + 5 * MINUTE;
    place.picked = ISP;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network office, picked by hand: isp\n"
                     "  route 1 partners (line 12): to *@shop.example  no (recipient)\n"
                     "  route 2 (line 14): on network office  YES\n"
                     "  1. isp          open (picked by hand)\n"
                     "  2. company      no: not on network home\n"
                     "  3. m365         no: its quota is used up for 2 h 05 min\n"
                     "  -  direct       not named in this route\n"
                     "  so: goes through isp now\n");
    assert_choice(&in, "picked by hand");
    place.picked = UINT32_MAX;
    assert_choice(&in, "route 2, step 3, after company (not on network home), "
                       "m365 (its quota is used up for 2 h 05 min)");
    in.rcpt = STR("b@shop.example");
    assert_text(&in, "a@x -> b@shop.example\n"
                     "  here: on network office\n"
                     "  route 1 partners (line 12): to *@shop.example  YES\n"
                     "  1. m365         no: its quota is used up for 2 h 05 min\n"
                     "  -  direct       not named in this route\n"
                     "  -  company      not named in this route\n"
                     "  -  isp          not named in this route\n"
                     "  so: waits for m365: its quota is used up for 2 h 05 min\n");
    now[M365].quota_until_ms[QUOTA_OTHERS] = 0;
    assert_choice(&in, "route 1 (partners), step 1");
}

static void the_default_chain_says_how_it_was_made(void **state)
{
    struct plan_input in = begin();
    place.networks = 2;
    now[M365].in_subnet = true;
    conf.choice.subnet = true;
    now[COMPANY].rest_until_ms = in.now_ms + 5 * MINUTE;
    now[COMPANY].rest_class = OUTCOME_AUTH;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network home\n"
                     "  route 1 partners (line 12): to *@shop.example  no (recipient)\n"
                     "  route 2 (line 14): on network office  no (network)\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. company      no: rests after trouble (the login was refused) for 5 min\n"
                     "  2. m365         open (in our subnet)\n"
                     "  3. isp          open (by priority)\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  so: goes through m365 now\n");
    assert_choice(&in, "in our subnet, after company (rests after trouble (the login was "
                       "refused) for 5 min)");
    conf.choice.fallback = FALLBACK_DEFAULT;
    gateways[M365].fallback = true;
    place.networks = 0;
    now[M365].in_subnet = false;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on no named network\n"
                     "  route 1 partners (line 12): to *@shop.example  no (recipient)\n"
                     "  route 2 (line 14): on network office  no (network)\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. m365         open (the fallback)\n"
                     "  2. company      no: not on network home\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  -  isp          not the fallback (choice.fallback)\n"
                     "  so: goes through m365 now\n");
}

static void what_is_waited_for_is_said(void **state)
{
    struct plan_input in = begin();
    conf.route_count = 0;
    gateways[M365].enabled = gateways[ISP].enabled = false;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network office\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. m365         no: disabled in the configuration\n"
                     "  2. isp          no: disabled in the configuration\n"
                     "  3. company      no: not on network home\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  so: waits for company: not on network home until the network changes\n");
    gateways[COMPANY].networks = 0;
    place.offline = place.metered = true;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: offline, metered\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. m365         no: disabled in the configuration\n"
                     "  2. company      no: this machine is offline\n"
                     "  3. isp          no: disabled in the configuration\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  so: waits for company: this machine is offline until the network "
                     "changes\n");
    gateways[COMPANY].enabled = false;
    in.place = NULL;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on no named network\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. m365         no: disabled in the configuration\n"
                     "  2. company      no: disabled in the configuration\n"
                     "  3. isp          no: disabled in the configuration\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  so: no way: no gateway of the chain can carry it\n");
}

// The conclusion says of the same gateways the same as the steps do.
static void what_opens_sooner_than_the_first_choice_is_said(void **state)
{
    struct plan_input in = begin();
    conf.route_count = 0;
    now[M365].quota_until_ms[QUOTA_OTHERS] = in.now_ms + 2 * HOUR;
    now[ISP].rest_until_ms = in.now_ms + 5 * MINUTE;
    now[ISP].rest_class = OUTCOME_NET;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network office\n"
                     "  no route matches: the gateways in order of choice\n"
                     "  1. m365         no: its quota is used up for 2 h 00 min\n"
                     "  2. isp          no: rests after trouble (the connection failed) for 5 min\n"
                     "  3. company      no: not on network home\n"
                     "  -  direct       direct delivery is not used beside gateways unless a route "
                     "names it\n"
                     "  so: waits for m365: its quota is used up for 2 h 00 min; or sooner for "
                     "isp: rests after trouble (the connection failed) for 5 min\n");
    struct buf out;
    struct plan p = plan_next(&in);
    buf_init(&out, 1000);
    reason_wait(&in, &p, &out);
    assert_string_equal(buf_cstr(&out), "for m365: its quota is used up; or sooner for isp: rests "
                                        "after trouble (the connection failed)");
    now[ISP].rest_until_ms = in.now_ms + 3 * HOUR;
    p = plan_next(&in);
    buf_clear(&out);
    reason_wait(&in, &p, &out);
    assert_int_equal(p.sooner, 0);
    assert_string_equal(buf_cstr(&out), "for m365: its quota is used up");
    buf_free(&out);
}

static void what_a_server_said_of_its_size_is_told(void **state)
{
    struct plan_input in = begin();
    struct buf out;
    buf_init(&out, 10000);
    conf.route_count = 0;
    now[M365].server_size = in.size = 100;
    explain_text(&in, NULL, &out);
    assert_null(strstr(buf_cstr(&out), "octets"));
    in.size = 101;
    buf_clear(&out);
    explain_text(&in, NULL, &out);
    assert_non_null(strstr(buf_cstr(&out),
                           "1. m365         open (by priority), but its server says "
                           "it takes 100 octets at most, this is 101\n"));
    assert_non_null(strstr(buf_cstr(&out), "so: goes through m365 now, which will hardly take it "
                                           "for its size; then the next way is tried\n"));
    buf_free(&out);
}

// A step that is closed for two reasons is waited for until the later one has passed.
static void mail_that_is_too_young_as_well_is_said(void **state)
{
    struct plan_input in = begin();
    static const struct conf_step later[] = {{.gateway = ISP, .after_ms = 2 * HOUR}};
    routes[0] = (struct conf_route){.line = 3, .via = later, .via_count = 1};
    conf.route_count = 1;
    now[ISP].rest_until_ms = in.now_ms + 5 * MINUTE;
    now[ISP].rest_class = OUTCOME_NET;
    struct buf out;
    buf_init(&out, 10000);
    explain_text(&in, NULL, &out);
    assert_non_null(strstr(buf_cstr(&out), "so: waits for isp: rests after trouble (the connection "
                                           "failed) for 5 min, and the mail is too young for it "
                                           "for another 2 h 00 min\n"));
    now[ISP].rest_until_ms = 0;
    buf_clear(&out);
    explain_text(&in, NULL, &out);
    assert_non_null(
        strstr(buf_cstr(&out), "not yet: the mail is too young for another 2 h 00 min\n"));
    assert_non_null(strstr(buf_cstr(&out), "so: waits for isp: the mail is too young for another "
                                           "2 h 00 min\n"));
    buf_free(&out);
}

static void what_is_not_known_is_said(void **state)
{
    struct plan_input in = begin();
    routes[0] = (struct conf_route){
        .line = 3, .header = bulk, .header_count = 1, .via = via_partners, .via_count = 1};
    routes[1] = (struct conf_route){
        .line = 4, .mx = mx_outlook, .mx_count = 1, .via = via_partners, .via_count = 1};
    assert_text(&in,
                "a@x -> b@y\n"
                "  here: on network office\n"
                "  route 1 (line 3): with header precedence: bulk  no (header; not kept from this "
                "message: precedence)\n"
                "  route 2 (line 4): mx *.outlook.com  no (mx; not known yet)\n"
                "  so: first the mail exchangers of its domain are looked up\n");
    in.mx_failed = true;
    conf.gateway_count = 2;
    gateways[COMPANY].networks = 0;
    static const char *const senders[] = {"*@example.org"};
    gateways[COMPANY].senders = senders;
    gateways[COMPANY].sender_count = 1;
    assert_text(&in,
                "a@x -> b@y\n"
                "  here: on network office\n"
                "  route 1 (line 3): with header precedence: bulk  no (header; not kept from this "
                "message: precedence)\n"
                "  route 2 (line 4): mx *.outlook.com  no (mx; not to be found out)\n"
                "  no route matches: the gateways in order of choice\n"
                "  1. company      no: only for mail from *@example.org\n"
                "  -  direct       direct delivery is not used beside gateways unless a route "
                "names it\n"
                "  so: no way: no gateway of the chain can carry it\n");
}

static void what_strangers_wrote_is_made_safe_to_show(void **state)
{
    struct plan_input in = begin();
    struct buf out;
    buf_init(&out, 10000);
    envelope.sender = STR("\x1b[2Ja@x");
    explain_text(&in, NULL, &out);
    assert_non_null(strstr(buf_cstr(&out), "\\x1b[2Ja@x -> b@y\n"));
    buf_free(&out);
}

static void a_round_under_way_says_what_was_passed(void **state)
{
    struct plan_input in = begin();
    place.networks = 3;
    in.from_step = 1;
    in.last_class = OUTCOME_BUSY;
    now[M365].rest_until_ms = INT64_MAX;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network office, home\n"
                     "  route 1 partners (line 12): to *@shop.example  no (recipient)\n"
                     "  route 2 (line 14): on network office  YES\n"
                     "  1. company      no: has been passed in this round\n"
                     "  2. m365         no: rests after trouble until it is found well\n"
                     "  3. isp          no: busy does not lead here (on net, dns)\n"
                     "  -  direct       not named in this route\n"
                     "  so: the ways of this round are used up; the next round begins at the "
                     "first\n");
    in.last_class = OUTCOME_NET;
    assert_choice(&in, "route 2, step 3, after company (tried), m365 (rests after trouble)");
}

static void a_detour_says_for_whom_and_how_long(void **state)
{
    static const struct conf_step via[] = {{.gateway = DIRECT}};
    static const char *const mx[] = {"y.mail.protection.outlook.com", NULL};
    struct plan_input in = begin();
    struct buf out;
    struct plan_detour detour = {
        .provider = "outlook.com", .gateway = ISP, .until_ms = in.now_ms + 50 * (int64_t)HOUR};
    routes[1] = (struct conf_route){.line = 14, .via = via, .via_count = 1};
    conf.gateway_count = 4;
    in.detours = &detour;
    in.detour_count = 1;
    in.mx = mx;
    assert_text(&in, "a@x -> b@y\n"
                     "  here: on network office\n"
                     "  route 1 partners (line 12): to *@shop.example  no (recipient)\n"
                     "  route 2 (line 14): all mail  YES\n"
                     "  1. isp          open (detour: outlook.com goes via isp for 2 d 2 h)\n"
                     "  2. direct       open\n"
                     "  -  company      not named in this route\n"
                     "  -  m365         not named in this route\n"
                     "  so: goes through isp now\n");
    buf_init(&out, 10000);
    explain_text(&in, "tomorrow", &out);
    assert_non_null(strstr(buf_cstr(&out), "\n  assumed: tomorrow\n  here: "));
    assert_non_null(strstr(buf_cstr(&out), "\n  so: goes through isp then\n"));
    buf_free(&out);
    detour.until_ms = 0;
    assert_choice(&in, "detour: outlook.com goes via isp until it is taken back");
}

static void the_same_facts_stand_in_json(void **state)
{
    struct plan_input in = begin();
    struct buf out;
    buf_init(&out, 10000);
    struct json j = json_to(&out);
    conf.gateway_count = 2;
    conf.route_count = 1;
    in.tries = 1;
    explain_json(&in, NULL, &j);
    assert_string_equal(
        buf_cstr(&out),
        "{\"sender\":\"a@x\",\"recipient\":\"b@y\",\"assumed\":null,"
        "\"place\":{\"networks\":[\"office\"],"
        "\"offline\":false,\"captive\":false,\"metered\":false,\"picked\":null},"
        "\"rules\":[{\"rule\":1,\"name\":\"partners\",\"line\":12,\"conditions\":"
        "\"to *@shop.example\",\"taken\":false,\"reason\":\"recipient\"}],"
        "\"steps\":[{\"gateway\":\"company\",\"state\":\"network\",\"reason\":"
        "\"no: not on network home\",\"rank\":\"by priority\",\"until_ms\":0,\"after_tries\":0,"
        "\"on\":[\"offline\",\"net\",\"dns\",\"tls\",\"auth\",\"quota\",\"reputation\",\"busy\"]}],"
        "\"left_out\":[{\"gateway\":\"direct\",\"reason\":\"direct delivery is not used beside "
        "gateways unless a route names it\"}],"
        "\"decision\":{\"kind\":\"wait\",\"gateway\":\"company\",\"step\":1,\"state\":\"network\","
        "\"until_ms\":0,\"parallel_ms\":0,\"text\":\"waits for company: not on network home "
        "until the network changes\"}}");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_and_each_gateway_has_its_reason),
        cmocka_unit_test(the_default_chain_says_how_it_was_made),
        cmocka_unit_test(what_is_waited_for_is_said),
        cmocka_unit_test(what_opens_sooner_than_the_first_choice_is_said),
        cmocka_unit_test(what_a_server_said_of_its_size_is_told),
        cmocka_unit_test(mail_that_is_too_young_as_well_is_said),
        cmocka_unit_test(what_is_not_known_is_said),
        cmocka_unit_test(what_strangers_wrote_is_made_safe_to_show),
        cmocka_unit_test(a_round_under_way_says_what_was_passed),
        cmocka_unit_test(a_detour_says_for_whom_and_how_long),
        cmocka_unit_test(the_same_facts_stand_in_json),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
