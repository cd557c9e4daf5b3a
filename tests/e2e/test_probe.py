# SPDX-License-Identifier: ISC
"""`waypost probe`: which port lets mail out, and which layer is at fault; with a real Postfix, real packet filters in a
network namespace, and a peer for what no real server says."""
import json
import shutil
import ssl
import subprocess

import pytest

from lib import mta, netns
from lib.mail import message
from lib.names import Names
from lib.peer import CLOSE, SILENCE
from lib.wait import free_port, until


@pytest.fixture
def tool(make, tmp_path):
    """Only the program: no daemon runs."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 mail.isp.test\n127.0.0.1 mx.sink.test\n")
    return make.waypost({}, start=False, dns={"servers": ["127.0.0.1:1"], "hosts": str(hosts)})


@pytest.fixture
def apart():
    """A network where nobody else listens at 25, 465, 587 or 2525."""
    why = netns.missing()
    if why:
        pytest.skip(why)
    space = netns.Netns("apart")
    with space:
        yield
    space.close()


def probe(w, *args, status=0, timeout="20"):
    done = w.run("probe", *args, "--timeout", timeout, "--json")
    assert done.returncode == status, done.out + done.err
    return json.loads(done.out)


def port_of(said, host=0, port=0):
    return said["hosts"][host]["ports"][port]


# ---- What answers ----

def test_a_real_server_works(tool, postfix):
    said = probe(tool, f"127.0.0.1:{postfix.port}")
    port = port_of(said)
    assert port["ok"] and port["fault"] is None and port["banner"] == "220 postfix.test ESMTP Postfix"
    assert port["connect_ms"] >= 0 and port["ehlo_ms"] >= 0 and "works" in said["hosts"][0]["conclusion"]
    text = tool.run("probe", f"127.0.0.1:{postfix.port}", check=0).out
    assert "works" in text and "220 postfix.test" in text and "it offers no TLS" in text


def test_nothing_but_ehlo_and_quit_is_said(tool, make):
    p = make.peer()
    probe(tool, f"127.0.0.1:{p.port}")
    until("it said goodbye", lambda: p.sessions and p.sessions[0].commands[-1:] == [b"QUIT\r\n"])
    assert [c.split()[0] for c in p.sessions[0].commands] == [b"EHLO", b"QUIT"]


def test_without_words_the_gateways_are_asked_and_nobody_else(apart, make):
    p = make.peer()
    w = make.waypost({"isp": p.gateway()}, start=False)
    said = probe(w)
    assert [(h["host"], h["of"]) for h in said["hosts"]] == [("127.0.0.1", "isp")]
    ports = {p["port"]: p for p in said["hosts"][0]["ports"]}
    assert set(ports) == {p.port, 25, 465, 587, 2525} and ports[p.port]["ok"]
    assert f"works on port {p.port}" in said["hosts"][0]["conclusion"]
    empty = make.waypost({}, start=False).run("probe")
    assert empty.returncode == 64 and "nobody else is asked unbidden" in empty.err


def test_the_servers_of_a_domain(apart, make, tmp_path):
    names = Names(tmp_path / "names", {"sink.test": "@ MX 10 mx\nmx A 127.0.0.1\n"}, broken=["broken.test"]).start()
    try:
        w = make.waypost({}, start=False, dns={"servers": [names.server()]})
        said = probe(w, "--domain", "sink.test", status=69)
        assert [(h["host"], h["of"]) for h in said["hosts"]] == [("mx.sink.test", "sink.test")]
        assert port_of(said)["port"] == 25 and port_of(said)["fault"] == "refused at once"
        # DNS that says no, and DNS that says nothing, are two things.
        assert "does not exist" in probe(w, "--domain", "no.sink.test", status=69)["domain_fault"]
        assert "cannot be found for now" in probe(w, "--domain", "broken.test", status=69)["domain_fault"]
        none = port_of(probe(w, "nobody.sink.test:25", status=69))
        assert (none["fault"], none["layer"]) == ("no such name", "dns") and "does not exist" in none["text"]
        mute = port_of(probe(w, "mx.broken.test:25", status=69))
        assert (mute["fault"], mute["layer"]) == ("no answer from DNS", "dns") and "name servers" in mute["next"]
    finally:
        names.stop()


# ---- Each layer at fault ----

def fault(w, where, timeout="20"):
    p = port_of(probe(w, where, status=69, timeout=timeout))
    return p["fault"], p["layer"]


def test_nothing_listens(tool):
    assert fault(tool, f"127.0.0.1:{free_port()}") == ("refused at once", "connect")


def test_the_greeting(tool, make):
    p = make.peer()
    where = f"mail.isp.test:{p.port}"
    p.on["banner"] = "554 5.7.1 your address is on a list"
    said = port_of(probe(tool, where, status=69))
    assert (said["fault"], said["layer"]) == ("refused by policy", "policy")
    assert said["banner"] == "554 5.7.1 your address is on a list"
    p.on["banner"] = "421 4.7.0 come again"
    assert fault(tool, where) == ("not now", "policy")
    p.on["banner"] = CLOSE
    assert fault(tool, where) == ("closed without a greeting", "greeting")
    p.on["banner"] = SILENCE
    assert fault(tool, where, "1") == ("no greeting", "greeting")
    p.on["banner"] = "SSH-2.0-OpenSSH_9.2"
    assert fault(tool, where) == ("not a mail server", "greeting")


def test_the_policy_at_ehlo(tool, make):
    p = make.peer()
    p.on["EHLO"] = p.on["HELO"] = "550 5.7.1 you are not welcome"
    assert fault(tool, f"mail.isp.test:{p.port}") == ("refused by policy", "policy")


def test_a_firewall_that_looks_into_smtp(tool, make):
    p = make.peer(ehlo=["SIZE 1000", "XXXXXXXA"])
    p.on["banner"] = "220 " + "*" * 40
    said = port_of(probe(tool, f"mail.isp.test:{p.port}", status=69))
    assert said["fault"] == "intercepted" and "overwritten" in said["text"] and "465" in said["next"]


def test_another_name_greets(tool, make, certificate):
    p = make.peer()
    p.on["banner"] = "220 proxy.hotel.example ESMTP"
    said = port_of(probe(tool, f"mail.isp.test:{p.port}"))
    assert said["ok"] and "greets as proxy.hotel.example and offers no TLS" in said["remark"]


def test_tls(apart, make, tmp_path, certificate, ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    p = make.peer(tls=context)
    bare = make.peer()
    w = make.waypost({
        "good": {"url": f"smtp+starttls://localhost:{p.port}", "ca": str(ca)},
        "wrong": {"url": f"smtp+starttls://localhost:{p.port}"},
        "bare": {"url": f"smtp+starttls://localhost:{bare.port}"}}, start=False)
    said = {h["of"]: h["ports"][0] for h in probe(w, status=69)["hosts"]}
    assert said["good"]["ok"] and "verified" in said["good"]["facts"]
    assert (said["wrong"]["fault"], said["wrong"]["layer"]) == ("TLS fails", "tls") and "ca:" in said["wrong"]["next"]
    assert (said["bare"]["fault"], said["bare"]["layer"]) == ("no STARTTLS", "tls")


# ---- Packet filters ----

RULES = """table inet t {{
  chain o {{
    type filter hook output priority 0
    {rules}
  }}
}}
"""


@pytest.fixture
def site(tool, tmp_path, certificate):
    """A machine with a network of its own: Postfix at 25 and 2525, and rules."""
    why = netns.missing() or (None if shutil.which("nft") else "nft is not installed (packaging/install-deps)")
    if why:
        pytest.skip(why)

    class Site:
        def __init__(self):
            self.net = netns.Netns("probe")

        def rules(self, *lines):
            subprocess.run(["ip", "netns", "exec", self.net.name, "nft", "flush", "ruleset"], check=True)
            text = RULES.format(rules="\n    ".join(lines))
            subprocess.run(["ip", "netns", "exec", self.net.name, "nft", "-f", "-"], input=text.encode(), check=True)

        def probe(self, *args, **how):
            with self.net:
                return probe(tool, *args, **how)

    s = Site()
    with s.net:
        s.postfix = mta.Postfix(tmp_path / "postfix")
        s.postfix.port = 2525
        s.postfix.start().await_ready()
    yield s
    s.postfix.stop()
    s.net.close()


def test_a_network_that_blocks_mail(site):
    site.rules("tcp dport 25 drop")
    said = site.probe("127.0.0.1:25", "127.0.0.1:2525", timeout="5")
    silent, works = said["hosts"][0]["ports"]
    assert (silent["fault"], silent["layer"]) == ("silence", "filter") and "within 5 s" in silent["text"]
    assert works["ok"]
    assert said["hosts"][0]["conclusion"] == (
        "port 25 is answered by silence while 2525 of the same host works: port 25 is blocked on this network, most "
        "likely by the provider")
    assert "587 or 465" in said["hosts"][0]["next"]


def test_a_filter_that_says_so_is_told_from_a_closed_port(site):
    site.rules("tcp dport 25 reject with icmpx admin-prohibited", "tcp dport 26 reject with tcp reset",
               "tcp dport 28 reject with icmpx host-unreachable")
    said = site.probe("127.0.0.1:25", "127.0.0.1:26", "127.0.0.1:27", "127.0.0.1:28", status=69)
    ports = {p["port"]: p for p in said["hosts"][0]["ports"]}
    assert (ports[25]["fault"], ports[25]["layer"]) == ("administratively prohibited", "filter")
    assert "administratively prohibited by a packet filter at 127.0.0.1" in ports[25]["text"]
    assert ports[26]["fault"] == ports[27]["fault"] == "refused at once"
    assert (ports[28]["fault"], ports[28]["layer"]) == ("no route", "route")


def test_no_route_and_rules_of_this_machine(site):
    site.net.ip("route", "add", "prohibit", "192.0.2.0/24")
    site.net.ip("route", "add", "unreachable", "198.51.100.0/24")
    said = site.probe("192.0.2.1:25", "198.51.100.1:25", "203.0.113.1:25", status=69)
    faults = [h["ports"][0]["fault"] for h in said["hosts"]]
    assert faults == ["administratively prohibited", "no route", "no network"]


def test_all_hosts_are_silent_at_25(site):
    site.rules("tcp dport 25 drop")
    said = site.probe("127.0.0.1:25", "127.0.0.2:25", status=69, timeout="1")
    assert "port 25 is blocked at all 2 hosts asked" in said["conclusion"] and "provider" in said["conclusion"]


# ---- The same causes in the daemon's own words ----

def test_the_timeline_tells_a_filter_from_a_closed_port(site, make):
    site.rules("tcp dport 25 reject with icmpx admin-prohibited")
    with site.net:
        w = make.waypost({"isp": {"url": "smtp://127.0.0.1:25", "tls": "off"}})
        w.send(message())
        w.await_event("deferred", "connections to 127.0.0.1:25 are administratively prohibited by a packet filter")
        w.stop()


def test_the_timeline_tells_no_such_name_from_no_answer(make, tmp_path):
    names = Names(tmp_path / "names", {"sink.test": ""}, broken=["broken.test"]).start()
    try:
        dns = {"servers": [names.server()]}
        w = make.waypost({"isp": {"url": "smtp://nobody.sink.test:25", "tls": "off"}}, dns=dns)
        w.send(message())
        w.await_event("deferred", "nobody.sink.test does not exist")
        w = make.waypost({"isp": {"url": "smtp://mail.broken.test:25", "tls": "off"}}, dns=dns)
        w.send(message())
        w.await_event("deferred", "mail.broken.test has no address for now")
    finally:
        names.stop()


# ---- Words ----

def test_how_to_look_from_outside(tool):
    said = tool.run("probe", "--from-outside", check=0).out
    assert "220 waypost.test" in said and "this machine only" in said and "can be reached from outside" in said


def test_wrong_words(tool):
    for words in (["host:0"], ["host:http"], ["--timeout", "soon"], ["--what"], ["a:b:c"]):
        assert tool.run("probe", *words).returncode == 64, words


def test_help_by_topic(tool):
    whole = tool.run("help", check=0).out
    for topic in ("gateways", "networks", "routes", "passwords", "troubles"):
        said = tool.run("help", topic, check=0).out
        assert f" {topic}" in whole.split("TOPIC`:")[1] and said.startswith(f"{topic}: ")
        for line in said.splitlines():  # every command it names is there
            if line.startswith("  waypost "):
                words = [w for w in line.split()[1:4] if w.isalpha() and w.islower()]
                known = any(tool.run("help", *words[:n]).returncode == 0 for n in (1, 2))
                assert known, line
