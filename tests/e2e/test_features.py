# SPDX-License-Identifier: ISC
"""What docs/features.md says to work and no other test was written for."""
import base64
import smtplib
import threading
import time

import pytest

from lib import peer as scripted
from lib.mail import message, name_of
from lib.wait import PATIENCE, free_port, until

SOON = {"retry": ["1s"]}


# ---- reaching and being reached ----

@pytest.mark.parametrize("host", ["127.0.0.1", "gate.test"])
def test_a_gateway_is_named_by_name_or_address(make, tmp_path, host):
    (tmp_path / "hosts").write_text("127.0.0.1 gate.test\n")
    p = make.peer()
    w = make.waypost({"p": {"url": f"smtp://{host}:{p.port}", "tls": "off"}}, dns={"hosts": str(tmp_path / "hosts")})
    sent = message()
    w.send(sent)
    p.await_message(name_of(sent))


def test_clients_find_it_by_each_name_of_this_machine(make):
    p, port = make.peer(), free_port()
    w = make.waypost({"p": p.gateway()}, listeners={"local": {"address": [f"127.0.0.1:{port}", f"[::1]:{port}"]}})
    for host in ("localhost", "127.0.0.1", "::1"):
        sent = message()
        with smtplib.SMTP(host, port, timeout=PATIENCE) as client:
            client.sendmail("a@client.test", "b@sink.test", sent)
        p.await_message(name_of(sent))


@pytest.mark.slow
def test_a_gateway_whose_name_is_not_found_waits_for_it(make, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    first, second = make.peer(), make.peer()
    w = make.waypost({"first": {"url": f"smtp://gate.test:{first.port}", "tls": "off", "priority": "high"},
                      "second": second.gateway(priority="low")}, dns={"hosts": str(hosts), "servers": ["127.0.0.1:1"]})
    sent = message()
    w.send(sent)
    second.await_message(name_of(sent))
    assert "gate.test" in w.run("status", check=0).out
    hosts.write_text("127.0.0.1 gate.test\n")

    def once_more():
        w.send(message())
        return first.kept
    until("the name is found", once_more, step=0.3)
    until("it is no longer complained of", lambda: "gate.test" not in w.run("status", check=0).out)


# ---- accounts ----

def accounts(session):
    found = []
    for c in session.commands:
        words = c.split()
        if words[:2] == [b"AUTH", b"PLAIN"]:
            found.append(base64.b64decode(words[2]).split(b"\0")[1].decode())
    return found


def test_two_accounts_on_one_server_are_two_gateways(make):
    p = make.peer(ehlo=["AUTH PLAIN", "PIPELINING"])
    p.on["AUTH"] = "235 2.7.0 welcome"
    one = {"url": f"smtp://127.0.0.1:{p.port}", "tls": "off", "auth_in_clear": True}
    w = make.waypost({"anna": {**one, "user": "anna", "password": "a1"}, "otto": {**one, "user": "otto", "password": "o1"}},
                     routes=[{"from": ["anna@*"], "via": ["anna"]}, {"via": ["otto"]}])
    for _ in range(3):
        for who in ("anna", "otto"):
            sent = message()
            w.send(sent, sender=f"{who}@client.test")
            assert accounts(p.await_message(name_of(sent)).session) == [who]


def test_a_server_that_hangs_up_at_the_login_is_not_asked_on_and_on(make):
    first, second = make.peer(ehlo=["AUTH PLAIN LOGIN"]), make.peer()
    first.on["AUTH"] = scripted.CLOSE
    w = make.waypost({"first": {"url": f"smtp://me@127.0.0.1:{first.port}", "tls": "off", "auth_in_clear": True,
                                "password": "x", "priority": "high"}, "second": second.gateway(priority="low")})
    for _ in range(10):
        sent = message()
        w.send(sent)
        second.await_message(name_of(sent))
    assert len(first.sessions) <= 3 and first.messages == []


# ---- which way ----

def test_five_priorities_in_their_order(make):
    order = ["highest", "high", "normal", "below-normal", "low"]
    peers = {name: make.peer() for name in order}
    w = make.waypost({f"g-{name}": peers[name].gateway(priority=name) for name in (order[i] for i in (3, 0, 4, 2, 1))})
    for name in order:
        sent = message()
        w.send(sent)
        peers[name].await_message(name_of(sent))
        peers[name].stop()


def test_refused_mail_moves_on_only_where_the_route_says_so(make):
    first, second, back = make.peer(), make.peer(), make.peer()
    first.on["RCPT"] = "550 5.1.1 nobody"
    w = make.waypost({"first": first.gateway(), "second": second.gateway(), "back": back.gateway()},
                     routes=[{"to": ["*@client.test"], "via": ["back"]},
                             {"to": ["*@both.test"], "via": ["first", {"gateway": "second", "on": ["refused", "busy"]}]},
                             {"via": ["first", "second"]}])
    one, two = message(), message()
    w.send(one, rcpt="u@both.test")
    second.await_message(name_of(one))
    w.send(two, rcpt="u@other.test")
    assert b"nobody" in back.await_message().data
    assert second.named(name_of(two)) == []


@pytest.mark.slow
def test_after_so_many_tries_the_gateway_then_the_sender(make):
    """First the one way alone, after two attempts the other; when both have failed often enough, a report."""
    first, second, back = make.peer(), make.peer(), make.peer()
    first.on["RCPT"] = "450 4.2.0 not now"
    w = make.waypost({"first": first.gateway(), "second": second.gateway(), "back": back.gateway()},
                     queue={"retry": ["1s"], "expire_tries": 6},
                     routes=[{"to": ["*@client.test"], "via": ["back"]},
                             {"via": ["first", {"gateway": "second", "after": {"tries": 2}}]}])
    sent = message()
    w.send(sent)
    second.await_message(name_of(sent))
    assert sum(c.startswith(b"RCPT") for s in first.sessions for c in s.commands) == 2
    second.on["RCPT"] = "450 4.2.0 not here either"
    w.send(message())
    assert b"not " in back.await_message().data


def test_mail_is_given_up_by_its_age(make):
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = "450 4.2.0 still no room"
    w = make.waypost({"up": up.gateway(), "back": back.gateway()}, queue={"retry": ["1s"], "expire": "2s", "warn": "never"},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["up"]}])
    began = time.monotonic()
    w.send(message())
    assert b"still no room" in back.await_message().data
    assert time.monotonic() - began >= 1.9


# ---- how much at once ----

def test_all_gateways_together_send_no_more_at_once_than_said(make):
    peers, busy, most = [make.peer() for _ in range(3)], set(), []

    def begin(s, line):
        busy.add(s)
        most.append(len(busy))
        time.sleep(0.02)
    for p in peers:
        p.on["MAIL"] = begin
        p.on["."] = lambda s, m: busy.discard(s)
    w = make.waypost({f"g{i}": p.gateway() for i, p in enumerate(peers)}, queue={"connections": 2})
    for _ in range(20):
        w.send(message())
    until("all", lambda: sum(len(p.kept) for p in peers) == 20)
    assert max(most) == 2


def test_a_gateway_takes_no_more_than_its_rate(make):
    p, times = make.peer(), []
    w = make.waypost({"p": p.gateway(limits={"rate": "3/s"})})
    p.on["MAIL"] = lambda s, line: times.append(time.monotonic())
    began = time.monotonic()
    for _ in range(8):
        w.send(message())
    p.wait("all", lambda: len(p.kept) == 8)
    # From the beginning, not from each other: any of them may be seen late.
    assert all(at - began > 0.9 * (i // 3) for i, at in enumerate(times))


# ---- what is said ----

def test_relayed_is_not_delivered(make):
    host, gate = make.peer(host="127.0.0.2"), make.peer()
    w = make.waypost({"isp": gate.gateway(), "direct": {"port": host.port, "tls": "off"}},
                     routes=[{"to": ["*@?127.*"], "via": ["direct"]}, {"via": ["isp"]}])
    one = w.send(message(), rcpt="u@[127.0.0.2]")
    two = w.send(message())
    w.await_event("delivered", id=one)
    w.await_event("relayed", id=two)
    said = w.json("status")["since_start"]
    assert (said["delivered"], said["relayed"]) == (1, 1)
    assert "delivered: 250 2.0.0 kept" in w.run("log", one, check=0).out
    assert "relayed: 250 2.0.0 kept" in w.run("log", two, check=0).out


def test_the_transcript_of_a_failure_is_kept_without_the_password(make):
    p = make.peer(ehlo=["AUTH PLAIN"])
    p.on["AUTH"] = "235 2.7.0 welcome"
    p.on["RCPT"] = "450 4.7.1 come back later"
    w = make.waypost({"p": {"url": f"smtp://me@127.0.0.1:{p.port}", "tls": "off", "auth_in_clear": True, "password": "s3cret"}})
    id = w.send(message())
    w.await_event("deferred", id=id)
    text = w.run("log", id, "--transcript", check=0).out
    assert "RCPT TO:<b@sink.test>" in text and "come back later" in text
    assert "s3cret" not in text and base64.b64encode(b"\0me\0s3cret").decode() not in text


def test_who_sees_an_event_finds_it_in_the_log(make):
    """However long the disk takes for the record of it."""
    p = make.peer()
    p.on["RCPT"] = "450 4.7.1 come back later"
    w = make.waypost({"p": p.gateway()})
    w.stop()
    w.wrap = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=500ms"]
    for segment in (w.dir / "spool" / "seg").iterdir():
        w.wrap += ["-P", str(segment)]
    w.start()
    id = w.send(message())
    w.await_event("deferred", id=id)
    assert "come back later" in w.run("log", id, check=0).out


def test_the_queue_says_how_often_it_tried_and_why_not(make):
    p = make.peer()
    p.on["RCPT"] = "450 4.2.0 come later"
    w = make.waypost({"p": p.gateway()}, queue=SOON)
    id = w.send(message())
    w.await_event("deferred", id=id, count=2)
    said = until("two tries", lambda: [r for r in w.json("queue", "show", id)["recipients"] if r["tries"] >= 2])[0]
    assert said["gateway"] == "p" and said["last"]["class"] == "busy" and said["last"]["text"] == "come later"
    assert "tries so far" in w.run("queue", "show", id, check=0).out


def test_urgent_mail_overtakes(make):
    """MT-PRIORITY (RFC 6710), at a gateway that takes one message at a time."""
    p, all_there = make.peer(), threading.Event()
    p.on["MAIL"] = lambda s, line: all_there.wait(PATIENCE) and None
    w = make.waypost({"p": p.gateway(limits={"connections": 1})})
    for _ in range(20):
        w.send(message(name="bulk"), mail="MT-PRIORITY=-4")
    w.send(message(name="urgent"), mail="MT-PRIORITY=4")
    all_there.set()
    p.wait("all", lambda: len(p.kept) == 21)
    assert [m.name for m in p.kept].index("urgent") <= 2
