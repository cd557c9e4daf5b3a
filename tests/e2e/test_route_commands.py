# SPDX-License-Identifier: ISC
"""`waypost route`: which way, and why; for mail that waits, that left, or that nobody has written yet."""
import datetime
import json

import pytest

from lib.mail import message, name_of
from lib.wait import until


@pytest.fixture
def site(make):
    class Site:
        pass
    s = Site()
    s.isp, s.office, s.ses = make.peer(), make.peer(), make.peer()
    s.isp.on["RCPT"] = lambda session, line: "450 4.2.0 come later" if b"slow" in line else None
    s.waypost = make.waypost(
        {"isp": s.isp.gateway(), "office": s.office.gateway(networks=["work"]), "ses": s.ses.gateway(priority="low")},
        networks={"work": {"address": ["203.0.113.0/24"]}},
        routes=[{"to": ["*@partner.test"], "via": ["office"]},
                {"from": ["alerts@*"], "class": "urgent", "via": ["ses", "isp"]},
                {"header": {"x-kind": "bulk*"}, "via": ["ses"]},
                {"larger": "5M", "via": ["ses"]},
                {"client": ["192.0.2.0/24"], "via": ["office"]}])
    return s


def explain(site, *args):
    return site.waypost.run("route", "explain", *args, check=0).out


def so(site, *args):
    return [line for line in explain(site, *args).splitlines() if line.strip().startswith("so:")][-1]


# ---- explain ----

def test_a_made_up_message_is_judged_by_all_that_is_said_of_it(site):
    assert "isp" in so(site, "--to", "x@y.test")
    assert "work" in explain(site, "--to", "a@partner.test") and "waits" in so(site, "--to", "a@partner.test")
    assert "ses" in so(site, "--from", "alerts@me.test", "--class", "urgent", "--to", "x@y.test")
    assert "isp" in so(site, "--from", "alerts@me.test", "--to", "x@y.test")
    assert "ses" in so(site, "--header", "X-Kind: bulk mail", "--to", "x@y.test")
    assert "ses" in so(site, "--size", "6M", "--to", "x@y.test")
    assert "isp" in so(site, "--size", "4M", "--to", "x@y.test")
    assert "office" in so(site, "--client", "192.0.2.7", "--to", "x@y.test")


def test_another_place_and_a_gateway_that_is_down(site):
    assert "office" in so(site, "--to", "a@partner.test", "--on-network", "work")
    assert "waits" not in so(site, "--to", "a@partner.test", "--on-network", "work")
    assert "ses" in so(site, "--to", "x@y.test", "--assume", "isp=down")
    said = so(site, "--to", "x@y.test", "--assume", "isp=down", "--assume", "ses=down", "--assume", "direct=down")
    assert "waits" in said or "no way" in said


def test_another_time(make):
    day, night = make.peer(), make.peer()
    w = make.waypost({"day": day.gateway(), "night": night.gateway()},
                     routes=[{"time": ["Mon-Fri 08:00-18:00"], "via": ["day"]}, {"via": ["night"]}])
    at = lambda when: w.run("route", "explain", "--to", "a@b.test", "--at", when, check=0).out
    monday = datetime.date.today() + datetime.timedelta(days=7 - datetime.date.today().weekday())
    assert "through day then" in at(f"{monday} 12:00") and "through night then" in at(f"{monday} 22:00")
    saturday = monday + datetime.timedelta(days=5)
    assert "through night" in at(f"{saturday} 12:00")
    assert f"assumed: it is Sat {saturday.day} " in at(f"{saturday} 12:00")


def test_a_time_that_is_over(make):
    w = make.waypost({"only": make.peer().gateway()})
    done = w.run("route", "explain", "--to", "a@b.test", "--at", "2020-02-02 12:00")
    assert done.returncode == 64 and "in the past" in done.err and "waypost log ID" in done.err
    ago = datetime.datetime.now() - datetime.timedelta(minutes=2)  # a clock time comes again tomorrow
    then = ago + datetime.timedelta(days=1)
    said = w.run("route", "explain", "--to", "a@b.test", "--at", f"{ago:%H:%M}", check=0).out
    day = "" if then.date() == datetime.date.today() else "tomorrow "
    assert f"assumed: it is {day}{ago:%H:%M}\n" in said


def test_the_conclusion_names_what_the_steps_name(site):
    site.waypost.conf["gateways"] = {"isp": {**site.isp.gateway(), "senders": ["*@one.test", "*@two.test"]},
                                     "office": site.office.gateway(networks=["work"])}
    site.waypost.conf["routes"] = []
    site.waypost.write()
    site.waypost.run("reload", check=0)
    said = explain(site, "--to", "a@b.test", "--from", "me@three.test")
    assert "no: only for mail from *@one.test, *@two.test" in said
    assert so(site, "--to", "a@b.test", "--from", "me@three.test").strip() == (
        "so: waits for office: not on network work until the network changes")
    assert so(site, "--to", "a@b.test", "--from", "me@one.test", "--assume", "isp=down").strip() == (
        "so: waits for isp: rests after trouble (the connection failed) until it is found well")
    assert "assumed: isp is down" in explain(site, "--to", "a@b.test", "--assume", "isp=down")


def test_a_waiting_message(site):
    w = site.waypost
    mail = w.send(message(), rcpt="slow@y.test")
    w.await_event("deferred", id=mail)
    assert "slow@y.test" in explain(site, mail)
    assert "ses" in so(site, mail, "--assume", "isp=down")


def test_what_waits_behind_the_second_choice_has_passed_nothing(make):
    first, second = make.peer(), make.peer()
    w = make.waypost({"first": {**first.gateway(priority="high"), "senders": ["*@other.test"]}, "second": second.gateway()})
    second.stop()
    w.send(message(), sender="me@here.test")
    w.await_event("resting")
    mail = w.send(message(), sender="me@here.test")  # behind the rest, never tried
    lines = until("it waits", lambda: (lambda t: t if "so: waits" in t else None)(
        w.run("route", "explain", mail, check=0).out)).splitlines()
    assert "  1. first        no: only for mail from *@other.test" in lines
    assert lines[-1].startswith("  so: waits for second: rests after trouble (the connection failed) ")
    assert w.json("status")["waits"][0]["recipients"] == 2


def test_what_the_server_said_it_takes_at_most(make):
    peer = make.peer(ehlo=["PIPELINING", "8BITMIME", "SIZE 10000"])
    w = make.waypost({"only": peer.gateway()})
    sent = message()
    w.send(sent)
    peer.await_message(name_of(sent))
    said = lambda size: w.run("route", "explain", "--to", "a@b.test", "--size", size, check=0).out
    until("it is known", lambda: "10000 octets at most, this is 20000" in said("20000"))
    assert "octets" not in said("9000")
    assert w.json("gateway", "show", "only")["gateways"][0]["server_size"] == 10000
    assert "takes at most 10.0 kB" in w.run("gateway", "show", "only", check=0).out


def test_one_that_left_says_first_what_happened_then(site):
    w = site.waypost
    sent = message()
    mail = w.send(sent, sender="alerts@me.test", rcpt="x@partner.test")  # waits for the office
    gone = w.send(message(), sender="me@me.test", rcpt="x@y.test")
    w.await_event("relayed", id=gone)
    until("the history knows", lambda: w.json("log", gone)["state"] == "relayed")
    lines = explain(site, gone).splitlines()
    assert gone in lines[0] and "relayed" in lines[0] and "by isp" in lines[0]
    assert f"waypost log {gone}" in lines[1]
    assert "me@me.test -> x@y.test" in lines[2] and "isp" in lines[-1]
    assert "ses" in so(site, gone, "--assume", "isp=down")
    said = w.json("route", "explain", gone)
    assert said["ways"][0]["recipient"] == "x@y.test"
    assert "office" in so(site, mail)
    never = w.run("route", "explain", "ZZZZZZ")
    assert never.returncode == 65 and "neither in the queue nor in the history" in never.err


def test_several_recipients(site):
    said = site.waypost.json("route", "explain", "--to", "x@y.test", "--to", "a@partner.test")
    assert [way["recipient"] for way in said["ways"]] == ["x@y.test", "a@partner.test"]


@pytest.mark.parametrize("args,said", [
    (["--to", "x@y.test", "--on-network", "wrok"], "did you mean `work`"),
    (["--to", "x@y.test", "--assume", "sse=down"], "did you mean `ses`"),
    (["--to", "x@y.test", "--assume", "ses"], "GATEWAY=down"),
    (["--to", "x@y.test", "--at", "soon"], "2026-12-01 08:00"),
    (["--to", "x@y.test", "--size", "big"], "10M"),
    (["--to", "x@y.test", "--class", "vip"], "urgent"),
    (["--to", "x@y.test", "--header", "x"], "X-Class"),
    (["--to", "x@y.test", "--form", "a@b.test"], "did you mean `--from`"),
    (["--to", "nonsense"], "`nonsense` is no address: it has no @ and domain"),
    (["--to", "a b@"], "is no address"),
    (["--to"], "takes a value"),
    ([], "usage"),
    (["??"], "no message id"),
    (["-"], "no message id"),
])
def test_what_cannot_be_read_is_refused_with_the_right_way(site, args, said):
    done = site.waypost.run("route", "explain", *args)
    assert done.returncode == 64 and said in done.err, done.err


def test_the_postmaster_needs_no_domain(site):
    assert "-> postmaster@" in site.waypost.run("route", "explain", "--to", "postmaster", check=0).out


# ---- show, lint ----

def test_show_tells_the_routes_and_how_often_they_were_taken(site):
    w = site.waypost
    sent = message()
    w.send(sent)
    site.isp.await_message(name_of(sent))
    text = w.run("route", "show", check=0).out
    assert "partner.test" in text and "office" in text
    said = w.json("route", "show")
    assert len(said["routes"]) == 5 and said["schema"] == 1
    until("it is counted", lambda: w.json("route", "show")["default"]["taken"] == 1)


def test_lint_finds_what_can_never_happen(site):
    w = site.waypost
    bad = dict(w.conf, routes=[{"via": ["isp"]}, {"to": ["*@never.test"], "via": ["ses"]}])
    file = w.dir / "bad.yaml"
    file.write_text(json.dumps(bad, indent=1))
    file.chmod(0o600)
    done = w.run("route", "lint", str(file))
    assert done.returncode == 1 and "never" in done.out
    said = json.loads(w.run("route", "lint", str(file), "--json").out)
    assert said["schema"] == 1 and said["findings"]
    checked = w.run("config", "check", str(file), check=0)
    assert "warning" in checked.err and "never" in checked.err


# ---- Detours ----

def test_a_provider_can_be_pinned_to_a_gateway(make):
    peer = make.peer()
    w = make.waypost({"relay": peer.gateway()})
    assert "no detours" in w.run("route", "detours", check=0).out
    w.run("route", "pin", "outlook.com", "relay", check=0)
    assert "outlook.com" in w.run("route", "detours", check=0).out
    said = w.json("route", "detours")["detours"]
    assert [(d["provider"], d["gateway"], d["pinned"]) for d in said] == [("outlook.com", "relay", True)]
    assert "did you mean" in w.run("route", "pin", "outlook.com", "rely").err
    w.run("route", "unpin", "outlook.com", check=0)
    assert w.json("route", "detours")["detours"] == []
    assert w.run("route", "unpin", "nowhere.test").returncode in (0, 65)
    assert w.run("route", "pin", "outlook.com").returncode == 64
