# SPDX-License-Identifier: ISC
"""Every reading command with --json: objects that parse, with their schema, as docs/manual/json.md says."""
import json
import pathlib
import re

import pytest

from lib.mail import message
from lib.waypost import ROOT

PAGE = (ROOT / "docs" / "manual" / "json.md").read_text()


def documented(title):
    """The fields the page names below a heading."""
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert section, f"json.md has no section {title}"
    return set(re.findall(r"`([a-z_]+)`", section.group(1)))


def names_of(value):
    if isinstance(value, dict):
        return set(value) | set().union(*map(names_of, value.values()), set())
    return set().union(*map(names_of, value), set()) if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def site(make_once):
    class Site:
        pass
    s = Site()
    s.sink = make_once.peer()
    s.sink.on["RCPT"] = lambda session, line: "450 4.2.0 come later" if b"slow" in line else None
    s.waypost = make_once.waypost({"isp": s.sink.gateway()})
    s.went = s.waypost.send(message(subject="=?utf-8?b?w6Q=?= gone"))
    s.slow = s.waypost.send(message(subject="stuck"), rcpt="slow@sink.test")
    s.waypost.await_event("relayed", id=s.went)
    s.waypost.await_event("deferred", id=s.slow)
    s.waypost.run("queue", "hold", s.slow, "--reason", "a reason", check=0)
    return s


def said(site, *args, status=0):
    done = site.waypost.run(*args, "--json")
    assert done.returncode == status, done.out + done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert found and all(type(o) is dict and o["schema"] == 1 for o in found)
    return found


@pytest.mark.parametrize("words", [
    ["status"], ["queue", "list"], ["queue", "show", "SLOW"], ["log"], ["log", "WENT"], ["gateway", "list"], ["listener", "list"],
    ["route", "explain", "SLOW"], ["route", "show"], ["route", "detours"], ["gateway", "show", "isp"], ["gateway", "auto"],
    ["config", "check"], ["config", "explain", "queue.retry"], ["version"],
], ids=lambda words: " ".join(words))
def test_every_field_is_documented(site, words):
    args = [{"SLOW": site.slow, "WENT": site.went}.get(w, w) for w in words]
    title = " ".join(w for w in words if w.islower() and "." not in w and w != "isp").replace("auto", "show")
    if words == ["log", "WENT"]:
        title = "log ID"
    fields = documented(title) | documented("Everywhere")
    if title == "log ID":
        fields |= documented("log")
    if title == "config check":
        fields |= documented("route lint")
    if title == "queue show":
        fields |= documented("queue list")
    if title in ("status", "gateway show"):
        fields |= documented("gateway list")
    if title == "status":
        fields |= documented("listener list")
    for value in said(site, *args):
        assert names_of(value) <= fields, names_of(value) - fields


def test_a_message_of_1000_recipients_is_told_whole(site):
    rcpts = [f"slow.recipient.number{i}@sink.test" for i in range(1000)]
    id = site.waypost.send(message(), rcpt=rcpts)
    site.waypost.await_event("deferred", id=id, count=1000)
    for words in (("queue", "show", id), ("log", id)):
        [told] = said(site, *words)
        assert len(told["recipients"]) == 1000
    [told] = said(site, "route", "explain", id)
    assert len(told["ways"]) > 1
    site.waypost.run("queue", "drop", id, check=0)


def test_subjects_are_decoded(site):
    assert said(site, "log", site.went)[0]["subject"] == "\u00e4 gone"


def test_route_explain(site):
    for args in (["slow@sink.test"], []):
        ask = ["--from", "a@b.test", "--to", args[0]] if args else [site.slow]
        value = said(site, "route", "explain", *ask)[0]
        way = value["ways"][0]
        assert way["recipient"] == "slow@sink.test" and way["rules"] == []
        assert way["steps"][0]["gateway"] == "isp" and "net" in way["steps"][0]["on"]


def test_config_check_names_each_place(site, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text('gateways: {isp: {ulr: "smtp://127.0.0.1:9", password: !file /nonexistent}}\n')
    value = said(site, "config", "check", str(bad), status=78)[0]
    assert value["ok"] is False and value["errors"] == len(value["problems"])
    first = value["problems"][0]
    assert (first["line"], first["column"], first["severity"], first["file"]) == (1, 18, "error", str(bad))
    assert "url" in first["sentence"] and names_of(value) <= documented("config check") | documented("Everywhere")
    assert any("/nonexistent" in p["sentence"] for p in value["problems"])
    value = said(site, "config", "check", str(bad), "--text-only", status=78)[0]
    assert value["text_only"] is True and not any("/nonexistent" in p["sentence"] for p in value["problems"])


def test_config_diff(site, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps(dict(site.waypost.conf, hostname="else.test")))
    other.chmod(0o600)
    value = said(site, "config", "diff", str(site.waypost.file), str(other))[0]
    assert value["same"] is False and [c["change"] for c in value["changes"]] == ["changed"]
    assert names_of(value) <= documented("config diff") | documented("Everywhere")
    assert said(site, "config", "diff", str(other), str(other))[0]["changes"] == []


def test_config_explain(site):
    value = said(site, "config", "explain", "queue")[0]
    assert {"queue.retry", "queue.expire"} <= {k["path"] for k in value["keys"]}
    assert said(site, "config", "explain", "no-such-key", status=64)[0]["found"] is False
    assert len(said(site, "config", "explain")[0]["keys"]) > 50


def test_setup(site):
    done = site.waypost.run("setup", "--json")
    value = json.loads(done.out)
    assert value["done"] == (done.returncode == 0) and any("daemon" in s["what"] for s in value["steps"])
    assert names_of(value) <= documented("setup") | documented("Everywhere")


def test_spool_check(make):
    w = make.waypost({})
    w.send(message(), expect=b"250")
    running = w.run("spool", "check", "--json")
    value = json.loads(running.out)
    assert running.returncode == 69 and value["ok"] is False and value["error"]
    w.stop()
    value = json.loads(w.run("spool", "check", "--json", check=0).out)
    assert value["ok"] is True and value["damages"] == 0 and value["damaged"] == []
    assert names_of(value) <= documented("spool check") | documented("Everywhere")
    segment = max((pathlib.Path(w.conf["spool"])).glob("**/*.wps"), key=lambda p: p.read_bytes().rstrip(b"\0").__len__())
    data = bytearray(segment.read_bytes())
    data[4096 + 200] ^= 0xff
    segment.write_bytes(data)
    done = w.run("spool", "check", "--json")
    value = json.loads(done.out)
    assert done.returncode == 65 and value["damages"] >= 1 and len(value["damaged"]) == value["damages"]


def test_the_dialogue_of_a_refusal_stays_with_returned_mail(make):
    sink = make.peer()
    sink.on["RCPT"] = lambda session, line: "550 5.1.1 nobody of that name" if b"gone" in line else None
    w = make.waypost({"isp": sink.gateway()})
    mail = w.send(message(), rcpt="gone@sink.test")
    w.await_event("returned", id=mail)
    value = said_by(w, "log", mail, "--transcript")
    attempts = [e for e in value["events"] if e["event"] == "attempt"]
    assert attempts[-1]["results"][0]["code"] == 550 and attempts[-1]["facts"]
    assert sum("550" in e.get("transcript", "") for e in attempts) == 1
    assert "RCPT TO:<gone@sink.test>" in w.run("log", mail, "--transcript", check=0).out


def said_by(w, *args):
    return json.loads(w.run(*args, "--json", check=0).out)
