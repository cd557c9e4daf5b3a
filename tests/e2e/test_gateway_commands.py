# SPDX-License-Identifier: ISC
"""`waypost gateway` and `waypost status`: what a person sees of the ways out, and does to them."""
import json
import os
import pty
import ssl
import stat
import subprocess
import time

import pytest

from lib.mail import message, name_of
from lib.wait import until


@pytest.fixture
def site(make):
    """Three ways: `first` by priority, `second`, and `far`, which is bound to another network."""
    class Site:
        pass
    s = Site()
    s.one, s.two, s.far = make.peer(), make.peer(), make.peer()
    s.waypost = make.waypost(
        {"first": s.one.gateway(priority="high"), "second": s.two.gateway(),
         "far": s.far.gateway(networks=["office"])},
        networks={"office": {"address": ["203.0.113.0/24"]}})
    return s


def goes_by(site):
    sent = message()
    site.waypost.await_event("relayed", id=site.waypost.send(sent))
    return next(n for n, p in (("first", site.one), ("second", site.two), ("far", site.far)) if p.named(name_of(sent)))


# ---- The choice by hand ----

def test_next_steps_through_the_gateways_in_order_and_goes_round(site):
    w = site.waypost
    assert goes_by(site) == "first"
    assert "now using second (was first)" in w.run("gateway", "next", check=0).out
    assert goes_by(site) == "second"
    round = w.run("gateway", "next", check=0).out
    assert "passed over: far: not on network office" in round and "now using first (was second)" in round
    assert goes_by(site) == "first"
    w.run("gateway", "use", "far", check=0)  # a pick goes before networks
    assert goes_by(site) == "far"


def test_next_says_when_none_is_left(make):
    w = make.waypost({"one": make.peer().gateway(), "two": make.peer().gateway(networks=["office"])},
                     networks={"office": {"address": ["203.0.113.0/24"]}})
    done = w.run("gateway", "next")
    assert done.returncode == 69 and "no other gateway could take mail now" in done.err and "two: not on network" in done.err
    assert w.json("status")["way_out"]["picked"] is None


def test_use_and_auto(site):
    w = site.waypost
    assert "waypost gateway auto" in w.run("gateway", "use", "second", check=0).out
    said = w.json("status")["way_out"]
    assert said["gateway"] == "second" and said["picked"] == "second" and "hand" in said["reason"]
    status = w.run("status", check=0).out
    assert "by hand   second" in status and "(picked by hand)" in status
    assert goes_by(site) == "second"
    assert "automatic: first" in w.run("gateway", "auto", check=0).out
    assert w.json("status")["way_out"]["picked"] is None
    assert goes_by(site) == "first"


def test_it_is_said_how_long_a_pick_holds(make):
    for manual, said in (("10m", "until "), ("network", "until the network changes"), ("forever", "gateway auto")):
        one, two = make.peer(), make.peer()
        w = make.waypost({"one": one.gateway(priority="high"), "two": two.gateway()}, choice={"manual": manual})
        assert said in w.run("gateway", "use", "two", check=0).out
        left = w.json("status")["way_out"]["picked_until_ms"] - time.time() * 1000
        assert 500_000 < left < 700_000 if manual == "10m" else left < 0


def test_a_gateway_that_is_not_there_is_met_with_the_nearest(site):
    for words in (["gateway", "use", "secnd"], ["gateway", "show", "secnd"]):
        done = site.waypost.run(*words)
        assert done.returncode == 64 and "did you mean `second`?" in done.err


# ---- Looking ----

def test_show_tells_all_facts(site):
    w = site.waypost
    goes_by(site)
    said = w.run("gateway", "show", "first", check=0).out
    assert f"127.0.0.1:{site.one.port}" in said and "the way out" in said and "1 went" in said
    far = w.run("gateway", "show", "far", check=0).out
    assert "office (not here)" in far and "not used" in far
    assert w.json("gateway", "show", "far")["gateways"][0]["name"] == "far"


def test_quotas_are_shown_with_their_end(make):
    peer = make.peer()
    w = make.waypost({"small": {**peer.gateway(), "limits": {"per_day": 5000}}})
    sent = message()
    w.send(sent)
    peer.await_message(name_of(sent))
    until("it is counted", lambda: w.json("gateway", "list")["gateways"][0]["quotas"][0]["used"] == 1)
    quota = w.json("gateway", "show", "small")["gateways"][0]["quotas"][0]
    assert (quota["unit"], quota["period"], quota["limit"]) == ("messages", "day", 5000) and quota["reset_ms"] > 0
    assert "1 of 5,000 used today, resets" in w.run("gateway", "show", "small", check=0).out
    assert "1 of 5,000 used today" in w.run("gateway", "list", check=0).out


def test_what_a_month_costs_is_told(make):
    peer = make.peer()
    w = make.waypost({"paid": {**peer.gateway(), "cost": "0.05 EUR/100", "limits": {"cost_per_month": "2.50 EUR"}},
                      "free": make.peer().gateway(priority="low")})
    sent = message()
    w.send(sent, rcpt=["a@x.test", "b@x.test", "c@x.test"])
    peer.await_message(name_of(sent))

    def cost():
        return w.json("gateway", "show", "paid")["gateways"][0]["cost"]
    until("it is counted", lambda: cost()["month_recipients"] == 3)
    told = cost()
    assert (told["currency"], told["month_micros"], told["budget_micros"]) == ("EUR", 1500, 2_500_000)
    assert told["forecast_micros"] >= 1500
    assert "0.05 EUR/100; this month 0.0015 EUR of at most 2.50 EUR, at this pace" in w.run("gateway", "show", "paid").out
    assert w.json("gateway", "show", "free")["gateways"][0]["cost"] is None


def test_that_an_allowance_is_used_up_is_said_once(make):
    peer = make.peer()
    w = make.waypost({"small": {**peer.gateway(), "limits": {"per_day": 1}}})
    w.await_event("relayed", id=w.send(message()))
    w.await_event("quota", "used up")
    for _ in range(2):
        w.run("reload", check=0)
    assert len(w.find("quota", "used up")) == 1


def test_a_learnt_allowance_is_said_to_be_learnt(make):
    peer = make.peer()
    w = make.waypost({"small": peer.gateway()})
    w.await_event("relayed", id=w.send(message()))
    peer.on["DATA"] = "550 5.4.5 Daily user sending quota exceeded"
    w.send(message())
    until("it is learnt", lambda: "(learnt from a refusal)" in w.run("gateway", "list", check=0).out)


def test_status_shows_addresses_with_their_prefixes_and_that_of_the_way_out(site):
    w = site.waypost
    where = w.json("status")["where"]
    status = w.run("status", check=0).out
    for a in where["addresses"][:4]:
        assert f"{a['address']}/{a['prefix']} on {a['link']}" in status
    assert where["addresses"] or "address   N/A" in status
    assert "way out   first 127.0.0.1 (by priority)" in status
    assert next(g for g in w.json("status")["gateways"] if g["name"] == "first")["address"] == "127.0.0.1"


def test_status_names_equals_and_leaves_out_what_is_never_used(make):
    w = make.waypost({"one": make.peer().gateway(), "two": make.peer().gateway()})
    text = w.run("status", check=0).out
    assert "by priority, shared by weight with " in text and "direct" not in text
    assert "direct" in [g["name"] for g in w.json("status")["gateways"]]


def test_status_check_is_for_monitoring(make):
    peer = make.peer()
    w = make.waypost({"only": peer.gateway()})
    done = w.run("status", "--check", check=0)
    assert done.out.startswith("WAYPOST OK: ") and "| messages=0" in done.out
    said = w.json("status", "--check")
    assert (said["check"], said["status"], said["messages"]) == ("OK", 0, 0)
    peer.stop()
    w.send(message())
    w.await_event("resting")
    done = w.run("status", "--check")
    assert done.returncode == 2 and done.out.startswith("WAYPOST CRITICAL: ") and "messages=1" in done.out
    assert done.out.count("only") == 1 and done.out.count("rests") == 1  # each trouble once
    assert w.run("status", "--check", "--warn", "soon").returncode == 64
    w.stop()
    assert w.run("status", "--check").returncode == 2


def test_list_marks_the_way_out_and_says_why_others_are_not_used(site):
    w = site.waypost
    goes_by(site)
    lines = w.run("gateway", "list", check=0).out.splitlines()
    assert lines[1].startswith("* first")
    far = next(g for g in w.json("gateway", "list")["gateways"] if g["name"] == "far")
    assert far["usable"] is False and "office" in far["why"] and far["networks"] == ["office"]
    assert "office" in next(line for line in lines if line.startswith("  far"))


def test_status_says_where_and_why_mail_waits(site):
    w = site.waypost
    w.conf["routes"] = [{"to": ["*@office.test"], "via": ["far"]}]
    w.write()
    w.run("reload", check=0)
    w.send(message(), rcpt="a@office.test")
    w.await_event("accepted")
    status = until("it waits for its gateway", lambda: (
        lambda t: t if "office" in t and "waits" in t else None)(w.run("status", check=0).out))
    assert "way out   first" in status and "1 message in" in status
    assert "1 for far: not on network office" in status
    assert len(status.splitlines()) <= 24


def test_what_waits_for_one_cause_is_one_line(make):
    peer = make.peer()
    w = make.waypost({"only": peer.gateway()})
    peer.stop()
    for _ in range(3):
        w.send(message())
    w.await_event("resting")
    until("all three wait", lambda: w.json("status")["waits"] and w.json("status")["waits"][0]["recipients"] == 3)
    waits, = w.json("status")["waits"]
    assert waits["why"] == "for only: rests after trouble (the connection failed)"
    assert waits["until_ms"] > 0
    row, = [g for g in w.json("gateway", "list")["gateways"] if g["name"] == "only"]
    assert row["usable"] is False and row["why"].startswith("rests after trouble (the connection failed) for ")
    assert "waits for only: rests after trouble (the connection failed)" in w.run("queue", "list", check=0).out


# ---- Changing the configuration ----

YAML = """# The ways out of this house.
hostname: waypost.test
spool: {spool}
run: {run}
loops: 2
log: {{format: json}}
dns: {{servers: ["127.0.0.1:1"]}}
listeners: {{local: {{address: ["127.0.0.1:{port}"]}}}}

gateways:
  # from the box by the door
  isp: {{url: "smtp://127.0.0.1:{isp}", tls: off}}   # cheap
  backup: {{url: "smtp://127.0.0.1:{backup}", tls: off, priority: low}}
"""


@pytest.fixture
def house(make):
    """With a configuration that a person wrote."""
    class House:
        pass
    h = House()
    h.isp, h.backup, h.more = make.peer(), make.peer(), make.peer()
    h.waypost = w = make.waypost({}, start=False)
    w.file.write_text(YAML.format(spool=w.conf["spool"], run=w.conf["run"], port=w.port, isp=h.isp.port,
                                  backup=h.backup.port))
    w.file.chmod(0o640)
    w.start()
    return h


def test_the_smart_host_has_a_switch(house):
    w = house.waypost
    way = lambda: w.run("route", "explain", "--to", "a@b.test", check=0).out.splitlines()[-1].strip()
    assert "no smart host is named" in w.run("smarthost", check=0).out
    none = w.run("smarthost", "off")
    assert none.returncode == 65 and "waypost smarthost on GATEWAY" in none.err
    assert w.run("smarthost", "on", "ips").returncode != 0
    w.run("smarthost", "on", "isp", check=0)
    w.run("smarthost", "off", check=0)
    assert w.json("smarthost") == {"schema": 1, "gateway": "isp", "on": False, "exclusive": False}
    assert "off: isp, nothing goes through it" in w.run("smarthost", check=0).out
    w.file.write_text(w.file.read_text().replace("enabled: false", "enabled: false, exclusive: true"))
    w.run("reload", check=0)
    assert way() == "so: goes through direct now"
    assert "gateway isp" not in w.run("route", "lint").out
    assert "smarthost.enabled" in w.run("smarthost", "on", "--dry-run", check=0).out
    w.run("smarthost", "on", check=0)
    assert way() == "so: goes through isp now"
    assert "on: isp, everything goes through it" in w.run("smarthost", check=0).out
    assert "# from the box by the door" in w.file.read_text()
    assert w.run("smarthost", "maybe").returncode == 64 and w.run("smarthost", "off", "isp").returncode == 64


def names(w):
    return [g["name"] for g in w.json("gateway", "list")["gateways"] if g["name"] != "direct"]


def test_add_writes_it_behind_the_others_and_takes_it_over(house):
    w = house.waypost
    before = w.file.read_text()
    done = w.run("gateway", "add", "more", f"smtp://127.0.0.1:{house.more.port}", "--priority", "highest",
                 "--senders", "*@a.test,*@b.test", "tls=off", check=0)
    assert "+ gateway more" in done.out and "is in force" in done.out
    assert w.file.read_text().startswith(before) and stat.S_IMODE(w.file.stat().st_mode) == 0o640
    assert names(w) == ["isp", "backup", "more"]
    sent = message()
    w.send(sent, sender="me@b.test")
    house.more.await_message(name_of(sent))


def test_add_takes_the_keys_that_edit_takes(house):
    w = house.waypost
    w.run("gateway", "add", "more", f"smtp://127.0.0.1:{house.more.port}", "tls=off", "limits.per_day=500",
          "limits.per_hour=50", "senders=*@a.test,*@b.test", check=0)
    more = w.json("gateway", "show", "more")["gateways"][0]
    assert [(q["period"], q["limit"]) for q in more["quotas"]] == [("hour", 50), ("day", 500)]
    assert more["senders"] == ["*@a.test", "*@b.test"]
    w.run("gateway", "test", "more", "--to", "me@b.test", check=0)  # at once, whatever is still to be written


def test_what_is_remembered_of_a_server_is_shown_and_forgotten(make):
    peer = make.peer()
    w = make.waypost({"isp": {**peer.gateway(), "health": {"probe": "1s", "depth": "ehlo"}}})
    until("it was asked", lambda: w.json("gateway", "show", "isp")["gateways"][0]["remembers"])
    assert "  remembers  greets as " in w.run("gateway", "show", "isp", check=0).out
    seen = len(w.events)
    assert "as it answers now" in w.run("gateway", "forget", "isp", check=0).out
    w.await_event("forgotten", since=seen)
    until("it is known anew", lambda: w.json("gateway", "show", "isp")["gateways"][0]["remembers"])
    assert w.run("gateway", "forget", "ips").returncode == 64


def test_add_refuses_what_would_not_work_and_leaves_the_file(house):
    w = house.waypost
    before = w.file.read_text()
    for args, status, said in ((["isp", "smtp://127.0.0.1:1"], 65, "isp"),
                               (["more", "gopher://127.0.0.1"], None, "gopher"),
                               (["more", "smtp://127.0.0.1:1", "tsl=off"], None, "tls"),
                               (["more", "smtp://127.0.0.1:1", "--networks", "nowhere"], None, "nowhere")):
        done = w.run("gateway", "add", *args)
        assert done.returncode != 0 and said in done.err, done.err
        assert status is None or done.returncode == status
        assert w.file.read_text() == before


@pytest.mark.parametrize("args", [
    ["smtp://me:hush@127.0.0.1:1"], ["smtp://me@127.0.0.1:1", "--password", "hush"],
    ["smtp://me@127.0.0.1:1", "password=hush"]])
def test_a_password_on_the_command_line_is_refused_with_the_right_way(house, args):
    done = house.waypost.run("gateway", "add", "more", *args)
    assert done.returncode == 64 and "--password-file" in done.err and "hush" not in done.err


def test_a_password_is_kept_in_a_file_of_its_own(house):
    w = house.waypost
    w.run("gateway", "add", "more", f"smtp://me@127.0.0.1:{house.more.port}", "tls=off", "auth_in_clear=true",
          "--password-file", "-", input=b"s3cret!\n", check=0)
    file = w.dir / "more.pw"
    assert file.read_text() == "s3cret!\n" and not file.stat().st_mode & 0o007
    assert "s3cret!" not in w.file.read_text() and "more.pw" in w.file.read_text()
    again = w.run("gateway", "add", "more", "smtp://me@127.0.0.1:1", "--password-file", "-", input=b"other\n")
    assert again.returncode != 0 and file.read_text() == "s3cret!\n"


def test_a_password_typed_at_a_terminal_is_not_shown(house):
    w = house.waypost
    ours, theirs = pty.openpty()
    p = subprocess.Popen([w.binary, "--config", str(w.file), "gateway", "add", "more", "smtp://me@127.0.0.1:1",
                          "tls=off", "auth_in_clear=true"], stdin=theirs, stdout=theirs, stderr=theirs, env=w.env)
    os.close(theirs)
    said = b""
    while b"password of more: " not in said:
        said += os.read(ours, 1000)
    os.write(ours, b"t0p-secret\n")
    try:
        while True:
            said += os.read(ours, 1000)
    except OSError:
        pass
    assert p.wait(30) == 0, said
    assert b"t0p-secret" not in said and (w.dir / "more.pw").read_text() == "t0p-secret\n"


def test_edit_changes_only_what_was_asked_for(house):
    w = house.waypost
    done = w.run("gateway", "edit", "isp", "priority=lowest")
    assert done.returncode != 0 and "low" in done.err
    done = w.run("gateway", "edit", "backup", "priority=highest", "limits.per_day=100", check=0)
    assert "~ gateway backup" in done.out
    text = w.file.read_text()
    assert "# from the box by the door" in text and "# cheap" in text
    gateway = next(g for g in w.json("gateway", "list")["gateways"] if g["name"] == "backup")
    assert gateway["priority"] == 10 and gateway["quotas"][0]["limit"] == 100
    w.run("gateway", "edit", "backup", "limits.per_day=", check=0)
    assert "per_day" not in w.file.read_text()


def test_disable_and_enable(house):
    w = house.waypost
    w.run("gateway", "disable", "isp", check=0)
    assert w.json("gateway", "show", "isp")["gateways"][0]["state"] == "disabled"
    last = w.run("gateway", "disable", "backup", check=0).out
    assert "no gateway is enabled any more: mail waits until one is" in last
    assert "enabled any more" not in w.run("gateway", "enable", "backup", check=0).out
    assert "waypost gateway enable isp" in w.run("gateway", "show", "isp", check=0).out
    sent = message()
    w.send(sent)
    house.backup.await_message(name_of(sent))
    w.run("gateway", "enable", "isp", check=0)
    assert w.json("gateway", "show", "isp")["gateways"][0]["state"] != "disabled"


def test_move_and_remove(house):
    w = house.waypost
    w.run("gateway", "move", "backup", "--before", "isp", check=0)
    assert names(w) == ["backup", "isp"]
    text = w.file.read_text()
    assert text.index("backup:") < text.index("# from the box") < text.index("isp:")
    w.run("gateway", "move", "backup", "--last", check=0)
    assert names(w) == ["isp", "backup"]
    done = w.run("gateway", "remove", "backup", check=0)
    assert "- gateway backup" in done.out and names(w) == ["isp"]
    assert "did you mean `isp`" in w.run("gateway", "remove", "ips").err


def test_dry_run_writes_nothing(house):
    w = house.waypost
    before = w.file.read_text()
    done = w.run("gateway", "disable", "isp", "--dry-run", check=0)
    assert "gateway isp" in done.out and w.file.read_text() == before
    said = json.loads(w.run("gateway", "disable", "isp", "--dry-run", "--json", check=0).out)
    assert said["schema"] == 1 and said["changes"][0]["change"] == "changed" and w.file.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_who_may_not_write_the_file_is_told_who_may(house):
    w = house.waypost
    w.file.chmod(0o644)
    for parent in (w.dir, *w.dir.parents):
        if str(parent).startswith("/tmp/") and not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    binary = w.dir / "program"
    binary.write_bytes(open(w.binary, "rb").read())
    binary.chmod(0o755)
    done = w.run("--reuid=65534", "--regid=65534", "--clear-groups", str(binary), "--config", str(w.file), "gateway",
                 "disable", "isp", program="/usr/bin/setpriv")
    assert done.returncode == 77 and "root" in done.err and str(w.file) in done.err


def test_without_a_daemon_the_change_waits_for_its_start(house):
    w = house.waypost
    w.stop()
    assert "next start" in w.run("gateway", "disable", "isp", check=0).out
    w.start()
    assert w.json("gateway", "show", "isp")["gateways"][0]["state"] == "disabled"
    last = w.run("gateway", "disable", "backup", check=0).out
    assert "no gateway is enabled any more: mail waits until one is" in last
    assert "enabled any more" not in w.run("gateway", "enable", "backup", check=0).out


def test_where_the_daemon_refuses_the_file_is_put_back(house):
    w = house.waypost
    before = w.file.read_text()
    other = w.dir / "other.yaml"
    other.write_text(before.replace("loops: 2", "loops: 3"))
    done = w.run("config", "apply", str(other))
    assert done.returncode == 78 and "restart" in done.err and w.file.read_text() == before


# ---- Trying one ----

def test_test_shows_the_dialogue_and_sends_nothing(site):
    w = site.waypost
    done = w.run("gateway", "test", "first", check=0)
    assert "<- 220 peer.test" in done.out and "-> EHLO" in done.out and "OK: first" in done.out
    assert not site.one.messages
    said = json.loads(w.run("gateway", "test", "first", "--json", check=0).out)
    assert said["ok"] is True and "EHLO" in said["transcript"]


def test_test_sends_a_real_message_when_asked(site):
    w = site.waypost
    done = w.run("gateway", "test", "first", "--to", "you@example.test", "--from", "me@example.test", check=0)
    m = site.one.await_message()
    assert (m.sender, m.rcpts) == ("me@example.test", ["you@example.test"]) and b"Subject: " in m.data
    assert "RCPT TO:<you@example.test>" in done.out and "took the test message" in done.out
    assert w.queue() == []


@pytest.mark.parametrize("what,status,said", [
    ("gone", 69, "connect"), ("auth", 77, "login"), ("busy", 75, "4.3.2"), ("name", 68, "name")])
def test_test_ends_with_a_verdict_and_a_status(make, what, status, said):
    peer = make.peer(ehlo=["PIPELINING", "AUTH PLAIN"])
    gateway = peer.gateway()
    if what == "auth":
        peer.on["AUTH"] = "535 5.7.8 no such user"
        gateway = {"url": f"smtp://me@127.0.0.1:{peer.port}", "tls": "off", "password": "hush-hush",
                   "auth_in_clear": True}
    if what == "busy":
        peer.on["banner"] = "432 4.3.2 too many at once"
    if what == "name":
        gateway = {"url": "smtp://nowhere.invalid:2525", "tls": "off"}
    if what == "gone":
        peer.stop()
    w = make.waypost({"it": gateway})
    done = w.run("gateway", "test", "it")
    assert done.returncode == status, done.out + done.err
    assert "FAILED" in done.out and said in done.out
    assert "hush-hush" not in done.out and "aHVzaC1odXNo" not in done.out


def test_test_names_the_key_that_trusts_a_certificate(make, certificate, ca):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    w = make.waypost({"it": {"url": f"smtp+starttls://127.0.0.1:{make.peer(tls=tls).port}"}})
    done = w.run("gateway", "test", "it", check=76)
    assert "name its file in `ca`" in done.out
    w.run("gateway", "edit", "it", f"ca={ca}", check=0)
    w.run("gateway", "test", "it", check=0)


def test_test_through_real_servers(make, postfix, exim):
    w = make.waypost({"postfix": postfix.gateway(), "exim": exim.gateway()})
    for name in ("postfix", "exim"):
        assert f"OK: {name}" in w.run("gateway", "test", name, check=0).out
    assert "took the test message" in w.run("gateway", "test", "postfix", "--to", "b@example.test", check=0).out
    until("it is there", lambda: any(b"b@example.test" in data for found in postfix.messages().values() for data in found))


def test_test_refuses_what_it_cannot_read(site):
    w = site.waypost
    assert "did you mean `--depth`" in w.run("gateway", "test", "first", "--dept", "tcp").err
    assert w.run("gateway", "test", "first", "--depth", "deep").returncode == 64
    assert w.run("gateway", "test", "first", "--to", "nobody").returncode == 64
    assert w.run("gateway", "test").returncode == 64


def test_changes_at_once_are_all_kept(site):
    w = site.waypost
    argv = [w.binary, "--config", str(w.file), "gateway", "add"]
    adding = [subprocess.Popen(argv + [f"new{i}", f"smtp://host{i}.test"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE) for i in range(12)]
    said = [one.communicate(timeout=120)[1] for one in adding]
    assert [one.returncode for one in adding] == [0] * 12, said
    assert {g["name"] for g in w.json("gateway", "list")["gateways"]} >= {f"new{i}" for i in range(12)}
