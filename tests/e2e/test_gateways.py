# SPDX-License-Identifier: ISC
"""Which gateway takes the mail when one is in trouble, and that no gateway's trouble returns mail."""
import smtplib
import ssl
import threading

import pytest

from lib import peer as scripted
from lib.mail import from_token, message, name_of, parse
from lib.wait import free_port, until

SOON = {"retry": ["1s"]}


@pytest.fixture
def two(make):
    """The daemon, its first choice, its second choice."""
    first, second = make.peer(), make.peer()
    w = make.waypost({"first": first.gateway(priority="high"), "second": second.gateway(priority="low")}, queue=SOON)
    return w, first, second


# ---- moving on, and coming back ----

def test_the_first_choice_takes_all_while_it_is_well(two):
    w, first, second = two
    for _ in range(20):
        sent = message()
        w.send(sent)
        first.await_message(name_of(sent))
    assert second.messages == []


def test_refused_connection_moves_to_the_second_at_once(two):
    w, first, second = two
    first.stop()
    sent = message()
    w.send(sent)
    assert from_token(second.await_message(name_of(sent)).data) == sent
    w.await_event("resting", "first")


def test_a_silent_death_between_messages_moves_on(two):
    w, first, second = two
    sent = message()
    w.send(sent)
    first.await_message(name_of(sent))
    first.stop()  # the idle connection dies with it
    for _ in range(5):
        sent = message()
        w.send(sent)
        second.await_message(name_of(sent))


def test_mail_goes_back_to_the_first_when_it_is_well_again(two):
    w, first, second = two
    first.stop()
    w.send(message())
    second.await_message()
    first.start()

    def once_more():
        sent = message()
        w.send(sent)
        until("delivery", lambda: first.named(name_of(sent)) or second.named(name_of(sent)))
        return first.messages
    until("the first choice is used again", once_more, step=0.2)
    w.await_event("recovered", "first")


QUOTA = "550 5.4.5 Daily user sending quota exceeded. For more information go to support"
TROUBLE = {
    "quota at MAIL": ("MAIL", QUOTA),
    "quota at RCPT": ("RCPT", QUOTA),
    "quota at DATA": ("DATA", QUOTA),
    "quota after the dot": (".", QUOTA),
    "sending limit": ("RCPT", "550 5.4.5 Daily sending limit reached"),
    "421 greeting": ("banner", "421 4.3.2 too busy"),
    "554 greeting": ("banner", "554 5.7.1 no service for you"),
    "no greeting but the end": ("banner", scripted.CLOSE),
    "reset instead of a greeting": ("banner", scripted.RESET),
    "garbage instead of a greeting": ("banner", b"\x16\x03\x01\x00\xff\r\n"),
    "EHLO and HELO refused": ("EHLO", "550 5.7.1 not you"),
    "EHLO 421": ("EHLO", "421 4.7.0 later"),
    "end at MAIL": ("MAIL", scripted.CLOSE),
    "4xx at MAIL": ("MAIL", "451 4.3.0 later"),
    "4xx at RCPT": ("RCPT", "450 4.2.0 greylisted"),
    "4xx at DATA": ("DATA", "451 4.3.0 later"),
    "4xx after the dot": (".", "452 4.3.1 disk full"),
    "relaying denied": ("RCPT", "554 5.7.1 <b@sink.test>: Relay access denied"),
    "on a block list": ("RCPT", "554 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org"),
    "530 at MAIL": ("MAIL", "530 5.7.0 authentication required"),
    "sender not ours": ("MAIL", "553 5.7.1 sender address rejected: not owned by user carol"),
}


@pytest.mark.parametrize("case", TROUBLE)
def test_trouble_of_the_first_moves_to_the_second(two, case):
    w, first, second = two
    verb, reply = TROUBLE[case]
    first.on[verb] = reply
    first.on["HELO"] = reply if verb == "EHLO" else None
    sent = message()
    w.send(sent)
    assert from_token(second.await_message(name_of(sent)).data) == sent
    assert first.kept == [] and len(second.messages) == 1  # the mail itself, no report


@pytest.mark.parametrize("case", TROUBLE)
def test_trouble_of_the_only_gateway_never_returns_mail(make, case):
    only = make.peer()
    w = make.waypost({"only": only.gateway()}, queue=SOON)
    verb, reply = TROUBLE[case]
    only.on[verb] = reply
    only.on["HELO"] = reply if verb == "EHLO" else None
    sent = message()
    id = w.send(sent)
    w.await_event("deferred", id=id)
    assert w.json("queue", "show", id)["id"] == id
    only.on.clear()
    until("delivery after the trouble", lambda: w.run("queue", "retry", "all") and only.kept, step=0.2)
    only.await_message(name_of(sent))
    assert {m.sender for m in only.kept} == {"a@client.test"}
    assert w.find("returned") == []


def test_wrong_password_moves_on_and_is_sent_once_a_connection(make, ca, certificate):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    first, second = make.peer(tls=tls, ehlo=["AUTH PLAIN LOGIN"]), make.peer()
    first.on["AUTH"] = "535 5.7.8 wrong"
    w = make.waypost({
        "first": {"url": f"smtp+starttls://carol@localhost:{first.port}", "password": "s3cret", "ca": str(ca),
                  "priority": "high"},
        "second": second.gateway(priority="low")}, dns={"hosts": "/etc/hosts"})
    sent = message()
    w.send(sent)
    second.await_message(name_of(sent))
    for s in first.sessions:
        assert sum(c.startswith(b"AUTH") for c in s.commands) <= 1
        assert not any(c.startswith(b"MAIL") for c in s.commands)
    assert "s3cret" not in w.tail(10000)


def test_routes_move_on_only_for_the_trouble_they_name(make):
    first, second = make.peer(), make.peer()
    w = make.waypost({"first": first.gateway(), "second": second.gateway()}, queue=SOON,
                     routes=[{"via": ["first", {"gateway": "second", "on": ["net"]}]}])
    first.on["MAIL"] = "451 4.3.0 busy"
    sent = message()
    w.send(sent)
    w.await_event("deferred", "first")
    assert second.messages == []
    first.stop()
    second.await_message(name_of(sent))


def test_routes_choose_by_sender_and_recipient(make):
    a, b, c = make.peer(), make.peer(), make.peer()
    w = make.waypost({"a": a.gateway(), "b": b.gateway(), "c": c.gateway()},
                     routes=[{"from": ["alerts@*"], "via": ["a"]}, {"to": ["*@inside.test"], "via": ["b"]}, {"via": ["c"]}])
    one, two = message(), message()
    w.send(one, sender="alerts@client.test", rcpt="x@inside.test")
    w.send(two, rcpt=["x@inside.test", "x@outside.test"])
    assert a.await_message(name_of(one)).rcpts == ["x@inside.test"]
    assert b.await_message(name_of(two)).rcpts == ["x@inside.test"]
    assert c.await_message(name_of(two)).rcpts == ["x@outside.test"]


def test_mail_waits_while_all_gateways_are_down_and_goes_when_one_is_back(two):
    w, first, second = two
    first.stop()
    second.stop()
    sent = [message() for _ in range(30)]
    for m in sent:
        w.send(m)
    w.await_event("deferred")
    second.start()
    for m in sent:
        until("delivery", lambda: w.run("queue", "retry", "all") and second.named(name_of(m)), step=0.2)
    assert w.find("returned") == []


# ---- in doubt ----

@pytest.mark.parametrize("how", ["CLOSE", "RESET"])
def test_a_lost_250_is_asked_again_at_the_same_gateway_only(two, how):
    w, first, second = two
    lost = []
    first.on["."] = lambda s, m: lost.append(m) or getattr(scripted, how) if not lost else None
    sent = message()
    w.send(sent)
    w.await_event("in-doubt", "first")
    first.await_message(name_of(sent), count=2)
    assert second.messages == []


def test_a_message_in_doubt_does_not_move_when_its_gateway_stays_away(two):
    w, first, second = two
    first.on["."] = scripted.CLOSE
    sent, other = message(), message()
    id = w.send(sent)
    w.await_event("in-doubt", "first")
    first.stop()
    w.run("queue", "retry", "all")
    w.send(other)
    second.await_message(name_of(other))  # the rest is not held up
    assert second.named(name_of(sent)) == []
    assert w.json("queue", "show", id)


def test_doubt_and_its_trouble_outlive_the_process(two):
    w, first, second = two
    first.on["."] = scripted.CLOSE
    sent, other = message(), message()
    id = w.send(sent)
    w.await_event("in-doubt", "first")
    first.stop()
    before = w.json("queue", "show", id)["recipients"][0]
    assert before["in_doubt"] and before["last"]["class"] == "doubt"
    # What was handed in later is on disk, so the record of the doubt is.
    w.send(message())
    w.kill()
    w.start()
    after = w.json("queue", "show", id)["recipients"][0]
    assert after["in_doubt"] and after["gateway"] == "first" and after["last"] == before["last"]
    w.run("queue", "retry", "all")
    w.send(other)
    second.await_message(name_of(other))
    assert second.named(name_of(sent)) == []


def test_why_mail_is_held_outlives_the_process(two):
    w, first, _ = two
    first.on["MAIL"] = lambda s, m: until("the mail is held", lambda: held) and "451 4.3.0 busy"
    held = []
    id = w.send(message())
    w.run("queue", "hold", id, "--reason", "ask Bob first", check=0)
    held.append(id)
    w.await_event("deferred", id=id)
    w.stop()
    w.start()
    assert "held: " in w.run("queue", "show", id, check=0).out and "ask Bob first" in w.run("queue", "show", id).out


def test_a_connection_lost_in_the_body_is_not_in_doubt(make):
    first, second = make.peer(receive_buffer=65536), make.peer()
    w = make.waypost({"first": first.gateway(priority="high"), "second": second.gateway(priority="low")}, queue=SOON)

    def cut(s, line):
        s.answer("354 go")
        s.more()
        return scripted.RESET
    first.on["DATA"] = cut
    sent = message(b"x" * 70 + b"\r\n" + b"line\r\n" * 2000000)
    w.send(sent)
    second.await_message(name_of(sent))
    assert w.find("in-doubt") == []


# ---- encryption ----

def test_required_encryption_is_never_done_without(make):
    clear, other = make.peer(), make.peer()
    w = make.waypost({"clear": {"url": clear.url(), "tls": "required", "priority": "high"},
                      "other": other.gateway(priority="low")})
    sent = message()
    w.send(sent)
    other.await_message(name_of(sent))
    assert not any(c.startswith(b"MAIL") for s in clear.sessions for c in s.commands)
    w.await_event("deferred", "class tls")


def test_an_unknown_certificate_gets_no_mail(make, certificate):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    p, other = make.peer(tls=tls), make.peer()
    w = make.waypost({"p": {"url": p.url(), "tls": "required", "priority": "high"}, "other": other.gateway(priority="low")})
    sent = message()
    w.send(sent)
    other.await_message(name_of(sent))
    assert p.messages == []
    w.await_event("deferred", "class tls.*certificate")


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "502 5.5.1 what?"])
def test_wanted_encryption_that_is_refused_goes_in_clear(make, reply):
    p = make.peer(ehlo=["STARTTLS"])
    p.on["STARTTLS"] = reply
    w = make.waypost({"p": {"url": p.url(), "tls": "wanted"}})
    sent = message()
    w.send(sent)
    p.await_message(name_of(sent))


def test_replies_sent_with_the_go_ahead_for_tls_are_not_believed(make, certificate):
    """STARTTLS response injection (CVE-2011-0411's mirror): 250 lines before the handshake."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    p, other = make.peer(tls=tls), make.peer()
    p.on["STARTTLS"] = b"220 go\r\n250-evil\r\n250-AUTH PLAIN\r\n250 SIZE 1\r\n"
    w = make.waypost({"p": {"url": p.url(), "tls": "required", "verify": False, "priority": "high"},
                      "other": other.gateway(priority="low")})
    sent = message()
    w.send(sent)
    until("delivery", lambda: p.named(name_of(sent)) or other.named(name_of(sent)))
    assert not any(s.tls is False and any(c.startswith(b"MAIL") for c in s.commands) for s in p.sessions)


# ---- rude peers ----

def test_an_endless_greeting_is_cut(two):
    w, first, second = two
    first.on["banner"] = b"220-more\r\n" * 100000
    sent = message()
    w.send(sent)
    second.await_message(name_of(sent))


def test_an_endless_reply_line_is_cut(two):
    w, first, second = two
    first.on["MAIL"] = b"250 " + b"x" * 5000000
    sent = message()
    w.send(sent)
    until("delivery", lambda: first.named(name_of(sent)) or second.named(name_of(sent)))


def test_a_reply_to_the_dot_before_the_dot_is_not_believed(two):
    """354 and 250 in one segment."""
    w, first, second = two
    first.on["DATA"] = lambda s, line: b"354 go\r\n250 2.0.0 kept\r\n"
    first.on["."] = scripted.CLOSE
    sent = message(b"line\r\n" * 100000)
    w.send(sent)
    until("delivery", lambda: second.named(name_of(sent)) or first.named(name_of(sent)))
    assert w.find("delivered") + w.find("relayed") == [] or second.named(name_of(sent))


@pytest.mark.parametrize("step", ["banner", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_server_has_the_time_it_is_given(make, step):
    slow, well = make.peer(), make.peer()
    slow.on[step] = scripted.SILENCE if step == "banner" else lambda session, line: scripted.SILENCE
    w = make.waypost({"slow": slow.gateway(priority="high", limits={"timeout": "1s"}), "well": well.gateway()})
    sent = message()
    id = w.send(sent)
    well.await_message(name_of(sent))
    w.await_event("relayed", id=id)
    assert slow.messages == []


def test_a_full_port_of_silence_does_not_hold_up_others(make):
    silent, well = make.peer(), make.peer()
    silent.on["banner"] = scripted.SILENCE
    w = make.waypost({"silent": silent.gateway(), "well": well.gateway()},
                     routes=[{"to": ["*@silent.test"], "via": ["silent"]}, {"via": ["well"]}])
    for _ in range(100):
        w.send(message(), rcpt="x@silent.test")
    sent = message()
    w.send(sent)
    well.await_message(name_of(sent))
    w.kill()  # an orderly end would wait for the silent ones


# ---- a gateway's own limits ----

def test_connections_and_recipients_stay_within_the_gateway_limits(make):
    p = make.peer()
    w = make.waypost({"p": p.gateway(limits={"connections": 2, "recipients": 3})})
    most = []
    p.on["MAIL"] = lambda s, line: most.append(len(p.open))
    for _ in range(20):
        w.send(message(), rcpt=[f"r{i}@sink.test" for i in range(7)])
    p.wait("all", lambda: sum(len(m.rcpts) for m in p.kept) == 140)
    assert max(most) <= 2 and max(len(m.rcpts) for m in p.messages) <= 3
    assert len(p.sessions) <= 4  # used again, not made anew


def test_a_connection_carries_no_more_than_its_messages(make):
    p = make.peer()
    w = make.waypost({"p": p.gateway(limits={"connections": 1, "per_connection": 5})})
    for _ in range(12):
        w.send(message())
    p.wait("all", lambda: len(p.kept) == 12)
    assert max(sum(c.startswith(b"MAIL") for c in s.commands) for s in p.sessions) <= 5


def one_at_a_time(peers):
    """Servers which together take one connection; what was turned away is in the list returned."""
    refused = []

    def greet(s, line):
        if sum(len(p.open) for p in peers) > 1:
            refused.append(s)
            return "421 4.7.0 too many connections"
    for p in peers:
        p.on["banner"] = greet
    return refused


@pytest.mark.parametrize("more", [{}, {"per_connection": 3}])
def test_idle_connections_count_among_those_of_a_gateway(make, more):
    p, port = make.peer(), free_port()
    refused = one_at_a_time([p])
    w = make.waypost({"p": p.gateway(limits={"connections": 1, **more})}, start=False)
    w.conf["listeners"]["through"] = {"address": [f"127.0.0.1:{port}"], "mode": "proxy"}
    w.write()
    w.start()
    faults = []

    def send(to, count):  # each over a connection of its own, served by either loop
        try:
            for _ in range(count):
                with smtplib.SMTP("127.0.0.1", to, timeout=60) as s:
                    s.sendmail("a@client.test", ["b@sink.test"], message())
        except Exception as e:  # noqa: BLE001: told below
            faults.append(e)

    threads = [threading.Thread(target=send, args=(to, 15)) for to in (port, w.port, port, w.port)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults
    p.wait("all", lambda: len(p.kept) == 60)
    assert p.most == 1 and not refused and len(p.messages) == 60


def test_idle_connections_count_among_those_of_all_gateways(make):
    peers = [make.peer() for _ in range(3)]
    refused = one_at_a_time(peers)
    w = make.waypost({"a": peers[0].gateway(), "b": peers[1].gateway(),
                      "direct": {"port": peers[2].port, "tls": "off"}},
                     routes=[{"to": [f"*@{name}.test"], "via": [name]} for name in "ab"] + [{"via": ["direct"]}],
                     queue={"connections": 1, **SOON})
    for _ in range(8):
        for rcpt in ("u@a.test", "u@b.test", "u@[127.0.0.1]"):
            w.send(message(), rcpt=rcpt)
    until("all", lambda: sum(len(p.kept) for p in peers) == 24)
    assert not refused


def test_a_server_that_says_no_goodbye_keeps_nobody_waiting_for_long(make):
    peers, over = [make.peer() for _ in range(2)], threading.Event()
    for p in peers:
        p.on["QUIT"] = lambda s, line: over.wait(120) and None
    w = make.waypost({"a": peers[0].gateway(), "b": peers[1].gateway()},
                     routes=[{"to": [f"*@{name}.test"], "via": [name]} for name in "ab"], queue={"connections": 1})
    for _ in range(4):
        for rcpt in ("u@a.test", "u@b.test"):
            w.send(message(), rcpt=rcpt)
    until("all", lambda: sum(len(p.kept) for p in peers) == 8)
    over.set()


def test_a_kept_connection_is_used_again_and_told_of(make):
    p = make.peer()
    w = make.waypost({"p": p.gateway(limits={"connections": 1})})
    for _ in range(20):
        sent = message()
        w.send(sent)
        p.await_message(name_of(sent))
    assert len(p.sessions) == 1
    shown = until("it is idle", lambda: (g := w.json("gateway", "show", "p"))["gateways"][0]["active"] == 0
                  and g["gateways"][0])
    assert (shown["connections"], shown["idle_connections"]) == (1, 1)
    assert "1 connection, 1 of them idle" in w.run("gateway", "show", "p", check=0).out
    until("it was closed, unused", lambda: w.json("gateway", "show", "p")["gateways"][0]["connections"] == 0, 60)


# ---- replies are data ----

def test_a_reply_with_control_octets_is_escaped_everywhere(make):
    p = make.peer()
    w = make.waypost({"p": p.gateway()}, queue=SOON)
    p.on["RCPT"] = b"450 4.2.0 \x1b[31mred\x07 <script>\r\n"
    id = w.send(message())
    event = w.await_event("deferred", "red", id=id)
    shown = w.run("queue", "show", id, check=0).out + event["text"]
    assert "\x1b" not in shown and "\x07" not in shown


def test_a_thousand_gateways(make):
    """Most of them somewhere else; the one that is here is found. One more is told where the ceiling is."""
    p = make.peer()
    far = {f"g{i}": {"url": f"smtp://10.99.{i // 250}.{i % 250 + 1}", "networks": ["far"], "limits": {"per_day": 5}}
           for i in range(999)}
    w = make.waypost({**far, "here": p.gateway()}, networks={"far": {"address": ["10.99.0.0/16"]}})
    sent = message()
    w.send(sent)
    p.await_message(name_of(sent))
    w.run("reload", check=0)
    assert "and 983 more" in w.run("route", "show", check=0).out
    w.conf["gateways"]["one-more"] = p.gateway()
    w.write()
    refused = w.run("config", "check")
    assert refused.returncode == 78 and "1000" in refused.err + refused.out
