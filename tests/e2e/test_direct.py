# SPDX-License-Identifier: ISC
"""Delivery to the recipients' own servers, by the records of a real name server."""
import socket
import time

import pytest

from lib.mail import from_token, message, name_of, parse
from lib.names import Names
from lib.peer import Peer
from lib.wait import until

ZONES = {
    "two.test": "@ MX 10 a\n@ MX 20 b\na A 127.0.0.2\nb A 127.0.0.3\n",
    "equal.test": "@ MX 10 a\n@ MX 10 b\na A 127.0.0.2\nb A 127.0.0.3\n",
    "deadfirst.test": "@ MX 10 dead\n@ MX 20 b\ndead A 127.0.0.9\nb A 127.0.0.3\n",
    "nameless.test": "@ MX 10 missing\n@ MX 20 b\nb A 127.0.0.3\n",
    "twoaddr.test": "@ MX 10 a\na A 127.0.0.9\na A 127.0.0.8\na A 127.0.0.3\n",
    "null.test": "@ MX 0 .\n",
    "implicit.test": "@ A 127.0.0.2\n",
    "nothing.test": "@ TXT \"no address\"\n",
    "alias.test": "sub CNAME target\ntarget MX 10 a\na A 127.0.0.2\n",
    "xn--bcher-kva.test": "@ MX 10 a\na A 127.0.0.2\n",
    "self.test": "@ MX 10 waypost.test.\n",
    "loop.test": "@ MX 10 a\na A 127.0.0.1\n",
    "crowd.test": "".join(f"@ MX {10 + i} m{i}\nm{i} A 127.0.1.{i % 200 + 1}\n" for i in range(500)),
    "dead.test": "@ MX 10 a\na A 127.0.0.9\n",
    "client.test": "@ MX 10 a\na A 127.0.0.5\n",
}


class Site:
    pass


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    n = Names(tmp_path_factory.mktemp("names") / "nsd", ZONES, broken=["broken.test"]).start()
    yield n
    n.stop()


@pytest.fixture
def site(make, names):
    """Servers at 127.0.0.2 and .3 on one port, where senders live at .5; nobody at .9."""
    s = Site()
    s.a = make.peer(host="127.0.0.2")
    s.b = make.peer(host="127.0.0.3", port=s.a.port)
    s.back = make.peer(host="127.0.0.5", port=s.a.port)
    s.waypost = make.waypost({"direct": {"port": s.a.port, "tls": "off"}}, dns={"servers": [names.server()]},
                             queue={"retry": ["1s"]})
    return s


def report(site):
    m = site.back.await_message()
    return parse(m.data).get_payload()[1].get_payload()[1]


def deliver(site, peer, rcpt):
    sent = message()
    site.waypost.send(sent, rcpt=rcpt)
    m = peer.await_message(name_of(sent))
    assert from_token(m.data) == sent
    return m


def test_the_preferred_exchanger_takes_the_mail(site):
    for _ in range(5):
        deliver(site, site.a, "u@two.test")
    assert site.b.messages == []
    assert site.waypost.find("delivered")


def test_equal_exchangers_share(site):
    for _ in range(40):
        site.waypost.send(message(), rcpt="u@equal.test")
        site.waypost.run("reload")  # forgets idle connections, which would be used again
    until("40 messages", lambda: len(site.a.messages) + len(site.b.messages) == 40)
    assert site.a.messages and site.b.messages


def test_a_dead_first_exchanger_is_passed_over_at_once(site):
    deliver(site, site.b, "u@deadfirst.test")
    assert site.waypost.find("deferred") == []


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "451 4.3.0 later", "554 5.3.2 no service"])
def test_a_first_exchanger_that_will_not_is_passed_over(site, greeting):
    site.a.on["banner"] = greeting
    deliver(site, site.b, "u@two.test")


def test_a_refused_recipient_is_final_at_the_first_exchanger(site):
    site.a.on["RCPT"] = "550 5.1.1 nobody"
    site.waypost.send(message(), rcpt="u@two.test")
    assert report(site)["Status"] == "5.1.1"
    assert site.b.sessions == []


def test_an_exchanger_without_address_is_passed_over(site):
    deliver(site, site.b, "u@nameless.test")


def test_all_addresses_of_an_exchanger_are_tried(site):
    deliver(site, site.b, "u@twoaddr.test")


def test_a_null_mx_returns_at_once(site):
    site.waypost.send(message(), rcpt="u@null.test")
    f = report(site)
    assert f["Action"] == "failed" and f["Status"] == "5.1.10"


def test_a_domain_without_exchanger_is_its_own(site):
    deliver(site, site.a, "u@implicit.test")


def test_a_domain_without_any_address_returns(site):
    site.waypost.send(message(), rcpt="u@nothing.test")
    assert report(site)["Action"] == "failed"


def test_a_domain_that_does_not_exist_returns(site):
    site.waypost.send(message(), rcpt="u@missing.two.test")
    assert report(site)["Status"] == "5.1.2"


def test_an_alias_is_followed_and_the_address_kept(site):
    assert deliver(site, site.a, "u@sub.alias.test").rcpts == ["u@sub.alias.test"]


def test_a_domain_outside_ascii_is_asked_for_by_its_a_label(site):
    sent = message()
    with site.waypost.connect() as c:
        c.say("EHLO x")
        c.say("MAIL FROM:<a@client.test> SMTPUTF8")
        assert c.say("RCPT TO:<u@b\u00fccher.test>").startswith(b"250")
        c.say("DATA")
        assert c.say(sent + b".\r\n").startswith(b"250")
    site.a.await_message(name_of(sent))


def test_an_address_literal_needs_no_names(site):
    deliver(site, site.a, "u@[127.0.0.2]")


def test_a_name_server_that_fails_defers_and_never_returns(site):
    id = site.waypost.send(message(), rcpt="u@broken.test")
    for n in (1, 2, 3):
        site.waypost.await_event("deferred", "class dns", id=id, count=n)
        site.waypost.run("queue", "retry", "all")
    assert site.back.messages == []
    assert site.waypost.json("queue", "show", id)["id"] == id


def test_a_dead_name_server_defers_and_its_return_delivers(make, tmp_path):
    n = Names(tmp_path / "nsd", {"two.test": ZONES["two.test"]}).start()
    a = make.peer(host="127.0.0.2")
    w = make.waypost({"direct": {"port": a.port, "tls": "off"}}, dns={"servers": [n.server()]}, queue={"retry": ["1s"]})
    n.stop()
    try:
        sent = message()
        id = w.send(sent, rcpt="u@two.test")
        w.await_event("deferred", "class dns", id=id)
        n.start()
        until("delivery", lambda: w.run("queue", "retry", "all") and a.named(name_of(sent)), seconds=60, step=0.3)
        assert w.find("returned") == []
    finally:
        n.stop()


def test_dns_has_the_time_it_is_given_and_its_silence_never_counts(make):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:  # takes questions, gives no answer
        mute.bind(("127.0.0.1", 0))
        w = make.waypost({"direct": {"tls": "off"}}, queue={"expire_tries": 1, "retry": ["1s"]},
                         dns={"servers": [f"127.0.0.1:{mute.getsockname()[1]}"], "timeout": "1s"})
        began = time.monotonic()
        id = w.send(message(), rcpt="u@two.test")
        for n in (1, 2):
            w.await_event("deferred", "class dns.* within 1 s", id=id, count=n)
            assert time.monotonic() - began > n
            w.run("queue", "retry", id, check=0)
        shown = w.json("queue", "show", id)
        assert [(r["state"], r["tries"]) for r in shown["recipients"]] == [("waiting", 0)]


@pytest.mark.parametrize("domain", ["self.test", "loop.test", "[127.0.0.1]"])
def test_mail_that_would_come_back_to_us_is_returned_without_connecting(make, names, domain):
    back = make.peer()
    w = make.waypost({"direct": {"tls": "off"}, "back": back.gateway()}, dns={"servers": [names.server()]},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["direct"]}])
    w.send(message(), rcpt=f"u@{domain}")
    status = parse(back.await_message().data).get_payload()[1].get_payload()[1]
    assert status["Status"] == "5.4.6"


def test_recipients_of_one_domain_share_a_transaction(site):
    sent = message()
    site.waypost.send(sent, rcpt=["u@two.test", "v@two.test", "w@implicit.test"])
    until("both", lambda: len(site.a.named(name_of(sent))) == 2)
    assert sorted(sorted(m.rcpts) for m in site.a.named(name_of(sent))) == [["u@two.test", "v@two.test"], ["w@implicit.test"]]


def test_500_exchangers_are_not_all_asked(site):
    id = site.waypost.send(message(), rcpt="u@crowd.test")
    site.waypost.await_event("deferred", id=id)


def test_a_dead_destination_does_not_hold_up_others(site):
    for _ in range(200):
        site.waypost.send(message(), rcpt="u@dead.test")
    for _ in range(5):
        deliver(site, site.a, "u@two.test")


def test_direct_falls_back_to_a_gateway(make, names):
    g, back = make.peer(), make.peer(host="127.0.0.5")
    w = make.waypost({"direct": {"port": back.port, "tls": "off"}, "isp": g.gateway()},
                     dns={"servers": [names.server()]}, routes=[{"via": ["direct", {"gateway": "isp", "on": ["net", "dns"]}]}])
    for rcpt in ("u@dead.test", "u@broken.test"):
        sent = message()
        w.send(sent, rcpt=rcpt)
        g.await_message(name_of(sent))
