# SPDX-License-Identifier: ISC
"""Mail for a stated time (RFC 4865): asked for over SMTP, on the command line, by orders."""
import datetime
import smtplib
import time

import pytest

from lib.mail import message, name_of
from lib.wait import until
from test_reports import Report, the_report


def ahead(**span):
    """That moment, whole seconds, as RFC 3339 has it."""
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**span)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def site(make):
    peer = make.peer()
    return make.waypost({"isp": peer.gateway()}, queue={"retry": ["1s"]}), peer


def state(w, ident):
    return {m["id"]: m["state"] for m in w.queue()}.get(ident)


def test_it_is_offered_within_bounds(site):
    w, _ = site
    with w.connect() as c:
        ehlo = c.say("EHLO client.test").decode()
        interval, moment = next(line for line in ehlo.splitlines() if "FUTURERELEASE" in line).split()[1:]
        assert int(interval) == 365 * 86400
        until_ = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
        left = until_ - datetime.datetime.now(datetime.timezone.utc)
        assert abs(left.total_seconds() - int(interval)) < 600
        for wrong in (f"HOLDFOR={int(interval) + 1}", f"HOLDUNTIL={ahead(days=367)}", "HOLDFOR=x", "HOLDUNTIL=tomorrow",
                      f"HOLDFOR=5 HOLDUNTIL={ahead(hours=1)}"):
            assert c.say(f"MAIL FROM:<a@client.test> {wrong}").startswith(b"501 5.5.4"), wrong


def test_a_listener_may_leave_it_out(make):
    peer = make.peer()
    w = make.waypost({"isp": peer.gateway()}, start=False)
    w.conf["listeners"]["local"]["send_later"] = "never"
    w.write()
    w.start()
    with w.connect() as c:
        assert b"FUTURERELEASE" not in c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test> HOLDFOR=5").startswith(b"555 5.5.4")


def test_hold_for_waits_and_then_goes(site):
    w, peer = site
    began = time.time()
    with smtplib.SMTP("127.0.0.1", w.port) as c:
        c.ehlo("client.test")
        assert c.has_extn("futurerelease")
        c.sendmail("a@client.test", ["b@sink.test"], message(), mail_options=["HOLDFOR=4"])
    m = peer.await_message()
    assert time.time() - began >= 4
    assert b"HOLD" not in m.mail_line.upper()  # its time has come: nobody else is to keep it


def test_hold_until_outlives_a_kill_and_a_real_server_gets_it(make, postfix):
    w = make.waypost({"isp": postfix.gateway()})
    sent, moment = message(), ahead(seconds=8)
    ident = w.send(sent, rcpt="box@postfix.test", mail=f"HOLDUNTIL={moment}")
    w.kill()
    w.start()
    assert state(w, ident) == "later" or ahead() >= moment
    assert postfix.await_message(name_of(sent))
    assert ahead() >= moment


def test_queue_shows_it_and_only_now_ends_it(site):
    w, peer = site
    ident = w.send(message(), mail=f"HOLDUNTIL={ahead(hours=30)}")
    until("it waits", lambda: state(w, ident) == "later")
    row = w.json("queue", "show", ident)
    assert abs(row["send_ms"] / 1000 - time.time() - 30 * 3600) < 600
    assert "to be sent " in w.run("queue", "list", check=0).out
    assert "as was wished" in w.run("queue", "show", ident, check=0).out
    assert "it is to be sent at" in w.run("route", "explain", ident, check=0).out
    assert "as the client wished" in w.run("log", ident, check=0).out
    status = w.run("status", check=0).out
    assert "1 for a later time" in status and "for the time that was wished for it" in status
    assert w.json("status")["queue"]["later"] == 1
    assert w.run("log", ident, "--wait", "30").returncode == 75  # at once
    assert w.run("status", "--check", "--warn", "0s").returncode == 0
    w.run("queue", "retry", ident, check=0)
    w.run("queue", "retry", "all", check=0)
    w.run("queue", "hold", ident, check=0)
    w.run("queue", "release", ident, check=0)
    after = w.send(message())
    w.await_event("relayed", id=after)
    assert state(w, ident) == "later" and state(w, after) is None
    w.run("queue", "now", ident, check=0)
    peer.await_message(count=2)
    assert [e["event"] for e in w.json("log", ident)["events"]][:1] == ["accepted"]
    assert "send-at" in [e["event"] for e in w.json("log", ident)["events"]]


def test_orders_set_the_time_and_outlive_a_kill(site):
    w, peer = site
    peer.on["RCPT"] = "450 4.2.0 later"
    ident = w.send(message())
    w.await_event("deferred", id=ident)
    assert "is to be sent" in w.run("queue", "send-at", ident, "+2d", check=0).out
    peer.on.clear()
    w.kill()
    w.start()
    until("it waits", lambda: state(w, ident) == "later")
    w.run("queue", "send-at", ident, ahead(seconds=-5), check=0)
    peer.await_message()
    assert "last word is a moment" in w.run("queue", "send-at", ident, "soon").err
    assert w.run("queue", "send-at", ident, "+400d").returncode == 64
    assert w.run("queue", "send-at", "CZHBYK", "+1h").returncode == 65


def test_the_command_sends_later(site):
    w, peer = site
    said = w.run("send", "--in", "2h", "b@sink.test", input=b"hello\n", check=0).out
    assert "to be sent" in said and "waypost queue now" in said
    w.run("send", "--at", ahead(hours=20), "b@sink.test", input=b"hello\n", check=0)
    assert {m["state"] for m in w.queue()} == {"later"} and len(w.queue()) == 2
    for wrong in (["--at", "soon"], ["--in", "never"], ["--in", "2h", "--at", "08:00"], ["--in", "400d"]):
        assert w.run("send", *wrong, "b@sink.test", input=b"hello\n").returncode == 64, wrong
    assert peer.messages == []
    # What has passed goes at once.
    w.run("send", "--at", ahead(hours=-1), "b@sink.test", input=b"hello\n", check=0)
    peer.await_message()


def test_notices_name_the_wish(make):
    up, back = make.peer(), make.peer()
    up.on["RCPT"] = "550 5.1.1 nobody here"
    w = make.waypost({"up": up.gateway(), "back": back.gateway()},
                     routes=[{"to": ["*@client.test"], "via": ["back"]}, {"via": ["up"]}])
    w.send(message(), mail="HOLDFOR=1")
    assert the_report(back).whole["Future-Release-Request"] == "for;1"
    moment = ahead(seconds=2)
    w.send(message(), mail=f"HOLDUNTIL={moment}")
    assert Report(back.await_message(count=2)).whole["Future-Release-Request"] == f"until;{moment}"
