# SPDX-License-Identifier: ISC
"""Folders as views of the queue and of the history, failed addresses, and messages as files."""
import csv
import io

import pytest

from lib.mail import message, name_of
from lib.wait import until


def ids(w, *words):
    said = w.json(*words)
    return {m["id"] for m in (said if isinstance(said, list) else [said])}


@pytest.fixture
def site(make):
    """A gateway that knows some addresses; mail to kept.test that fails is kept."""
    class Site:
        pass
    s = Site()
    s.peer = make.peer()

    def rcpt(_, line):
        if b"nobody" in line:
            return "550 5.1.1 no such user"
        if b"full" in line:
            return "552 5.2.2 mailbox, \"full\""
        return "450 4.2.0 later" if b"later" in line else None
    s.peer.on["RCPT"] = rcpt
    s.waypost = make.waypost({"isp": s.peer.gateway()}, queue={"retry": ["1h"]}, routes=[
        {"to": ["*@kept.test"], "via": ["isp"], "keep_failed": True},
        {"via": ["isp"]}])
    return s


def test_folders(site):
    w = site.waypost
    sent = w.send(message())
    bounced = w.send(message(), rcpt="nobody@sink.test", sender="me@sink.test")
    bad = w.send(message(), rcpt="nobody@kept.test")
    unreturned = w.send(message(), rcpt="nobody@sink.test", sender="")
    waiting = w.send(message(), rcpt="later@sink.test")
    held, deleted = (w.send(message(), rcpt="later@sink.test") for _ in range(2))
    until("all were tried", lambda: len(w.find("deferred")) >= 3 and w.find("held", id=bad) and w.find("relayed", id=sent))
    w.await_event("refused", id=unreturned)
    w.run("queue", "hold", held, "--reason", "ask Bob", check=0)
    w.run("queue", "drop", deleted, check=0)
    until("it is returned", lambda: bounced in ids(w, "log", "--folder", "bounced"))
    assert ids(w, "queue", "list", "--folder", "bad") == {bad}
    assert ids(w, "queue", "list", "--folder", "held") == {held}
    assert ids(w, "queue", "list", "--folder", "outbox") == {waiting}
    assert ids(w, "queue", "list") == {waiting, held, bad}
    until("the log has all", lambda: ids(w, "log", "--folder", "deleted") == {deleted})
    assert sent in ids(w, "log", "--folder", "sent") and bounced not in ids(w, "log", "--folder", "sent")
    assert ids(w, "log", "--folder", "bounced") == {bounced}
    assert ids(w, "log", "--folder", "bad") == {bad, unreturned}  # never returned (PC-26)
    assert ids(w, "log", "--folder", "outbox") == {waiting}
    assert w.run("log", "--folder", "trash").returncode == 64
    assert "log --folder" in w.run("queue", "list", "--folder", "sent").err
    # A bad one is sent again by hand, and comes back here.
    site.peer.on.clear()
    w.run("queue", "release", bad, check=0)
    until("it went", lambda: bad in ids(w, "log", "--folder", "sent"))


def test_send_says_what_was_kept_and_who_was_left_out(site):
    w = site.waypost
    done = w.run("send", "nobody@kept.test", input=b"text\n")
    name = done.out.split()[0]
    assert done.returncode == 75 and f"on hold; `waypost queue release {name}` sends it" in done.out
    assert "-> refused; kept" in done.out and "next way" not in done.out
    done = w.run("send", "-f", "me@sink.test", "nobody@sink.test", "b@sink.test", input=b"text\n")
    assert done.returncode == 69 and "could not be delivered to 1 of 2 recipients; the sender is told" in done.out


def test_failed_addresses_as_a_list(site):
    w = site.waypost
    for rcpt in ("nobody@sink.test", "full@sink.test", "nobody@sink.test", "b@sink.test", "also.nobody@sink.test"):
        w.send(message(), rcpt=rcpt, sender="me@sink.test")
    until("three failed", lambda: len(w.run("log", "--addresses", "failed", check=0).out.split()) == 3)
    # A full mailbox is a failure, but no bad address (PC-36).
    assert sorted(w.run("log", "--addresses", "invalid", check=0).out.split()) == ["also.nobody@sink.test", "nobody@sink.test"]
    rows = list(csv.DictReader(io.StringIO(w.run("log", "--addresses", "failed", "--csv", check=0).out)))
    by_address = {r["address"]: r for r in rows}
    assert by_address["full@sink.test"]["verdict"] == "failed"
    assert by_address["full@sink.test"]["text"].endswith('mailbox, "full"') and by_address["full@sink.test"]["enhanced"] == "5.2.2"
    nobody = by_address["nobody@sink.test"]
    assert (nobody["verdict"], nobody["code"], nobody["class"], nobody["gateway"]) == ("invalid", "550", "refused", "isp")
    said = w.json("log", "--addresses", "invalid")
    assert {a["address"] for a in said} == {"also.nobody@sink.test", "nobody@sink.test"} and all(a["invalid"] for a in said)
    for words in (["--addresses", "none"], ["--csv"], ["--addresses", "failed", "-f"]):
        assert w.run("log", *words).returncode == 64, words


def test_messages_as_files(site, tmp_path):
    w = site.waypost
    small, large = message(), message(body=b"0123456789abcdef\r\n" * 100_000)
    first, second = w.send(small, rcpt="later@sink.test"), w.send(large, rcpt="later@sink.test")
    for mail in (first, second):
        w.await_event("deferred", id=mail)
    w.run("queue", "hold", second, check=0)
    to = tmp_path / "out"
    assert w.run("queue", "export", first, "--to", str(to), check=0).out == f"{to}/{first}.eml\n"
    got = (to / f"{first}.eml").read_bytes()
    assert got.endswith(small) and got.startswith(b"Received:")
    assert (to / f"{first}.eml").stat().st_mode & 0o777 == 0o600
    again = w.run("queue", "export", first, "--to", str(to))
    assert again.returncode == 73 and (to / f"{first}.eml").read_bytes() == got  # nothing is overwritten
    said = w.json("queue", "export", "--all", "--folder", "held", "--to", str(to))
    assert said["files"] == [f"{to}/{second}.eml"]
    assert (to / f"{second}.eml").read_bytes().endswith(large)
    assert first in ids(w, "queue", "list")
    w.run("queue", "drop", first, "--for-good", check=0)
    gone = w.run("queue", "export", first, "--to", str(to))
    assert gone.returncode == 65 and "is gone" in gone.err
    for words in ([], ["nothing!"], ["--all", first], [first, "--folder", "held"]):
        assert w.run("queue", "export", *words).returncode == 64, words


def test_the_dialogues_of_all_sessions_are_kept_on_wish(make):
    peer = make.peer()
    for wish, kept in (("failed", False), ("all", True)):
        w = make.waypost({"isp": peer.gateway()}, log={"format": "json", "transcripts": wish})
        mail = w.send(message())
        until("it went", lambda: mail in ids(w, "log", "--folder", "sent"))
        said = w.run("log", mail, "--transcript", check=0).out
        assert ("RCPT TO:<b@sink.test>" in said and "<- 250" in said and "(body, " in said) == kept, said
        assert "RCPT TO" not in w.run("log", mail, check=0).out
        attempt = next(e for e in w.json("log", mail, "--transcript")["events"] if e.get("gateway") == "isp")
        assert ("transcript" in attempt) == kept
